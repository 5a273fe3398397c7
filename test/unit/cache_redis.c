/* cache: Redis. Against a scripted server, which does what a real one does on bad days; the real one is in
 * cache_redis_server.c and, for everything that any cache promises, in contract_cache.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#ifndef BRAID_HAVE_REDIS
int main(void) {
    printf("cache: redis skipped: built without hiredis\n");
    return 0;
}
#else

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cache/cache_redis_private.h"
#include "test/support/stub_server.h"
#include "test/support/timing.h"

#define FIXED "B1000000000000000018446744073709551615" /* header of a value that no restart outdates */

static int open_at(const char *address, const remote_options *more, cache **out, braid_error *err) {
    remote_options r = more != NULL ? *more : (remote_options){.connections = 16, .timeout_ms = LONG_MS, .retries = 1};
    cache_options o = {.remote = &r, .clock = &clock_system};
    r.address = address;
    return cache_open(&cache_redis_ops, &o, out, err);
}

static cache *open_cache(const char *address) {
    cache *c;
    braid_error err = {0};
    if (open_at(address, NULL, &c, &err) != BRAID_OK) fail_msg("%s", err.message);
    return c;
}

/* The code; what was found in `text` ("" if nothing). */
static int get(cache *c, const char *key, deadline until, char text[64], braid_error *err) {
    buf out;
    bool found;
    buf_init(&out, 0);
    int rc = cache_get(c, key, strlen(key), 0, until, &out, NULL, &found, err);
    snprintf(text, 64, "%s", found ? out.data : "");
    buf_free(&out);
    return rc;
}

/* ---- the scripted server ---- */

typedef struct script {
    const char *_Atomic reply; /* to everything but the handshake; NULL: by key */
    const char *other;         /* address that redirects name */
    atomic_int commands, gets, asking, evals, evalshas;
    atomic_bool redirects, hangs, noscript;
    const char *run_id, *password;
    bool ask, moved_without_host;
    int trickle_ms, late_ms; /* late for keys that end in an odd digit */
} script;

static bool say(stub_conn *c, const char *text) {
    return stub_write(c, text, strlen(text));
}

static bool answer_info(stub_conn *c, const script *s) {
    char info[200], reply[256];
    snprintf(info, sizeof info, "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:%s\r\n",
             s->run_id ? s->run_id : "1");
    snprintf(reply, sizeof reply, "$%zu\r\n%s\r\n", strlen(info), info);
    return say(c, reply);
}

/* The value of a key is the caller's part of the key itself: an answer that went astray shows. */
static bool answer_get(stub_conn *c, script *s, const char *command, bool asked) {
    char reply[512];
    s->gets++;
    const char *key = strchr(command, '}');
    if (s->hangs) return stub_sleep_ms(c, 3600 * 1000);
    if (s->redirects && !asked) {
        unsigned slot = redis_slot(command + 4, strlen(command) - 4);
        const char *to = s->moved_without_host ? strchr(s->other, ':') : s->other;
        snprintf(reply, sizeof reply, "-%s %u %s\r\n", s->ask ? "ASK" : "MOVED", slot, to);
        return say(c, reply);
    }
    snprintf(reply, sizeof reply, "$%zu\r\n" FIXED "%.100s\r\n", strlen(FIXED) + strlen(key + 2), key + 2);
    if (s->late_ms > 0 && command[strlen(command) - 1] % 2 == 1 && !stub_sleep_ms(c, (unsigned)s->late_ms))
        return false;
    for (const char *at = reply; s->trickle_ms > 0 && *at; at++)
        if (!stub_sleep_ms(c, (unsigned)s->trickle_ms) || !stub_write(c, at, 1)) return false;
    return s->trickle_ms > 0 || say(c, reply);
}

static void handle(stub_conn *c) {
    script *s = c->ctx;
    char command[4096];
    bool asked = false, more = true, in = s->password == NULL;
    while (more && stub_read_command(c, command, sizeof command)) {
        char auth[100];
        snprintf(auth, sizeof auth, "AUTH %s", s->password ? s->password : "");
        if (strncmp(command, "AUTH ", 5) == 0) {
            in = s->password != NULL && strcmp(command, auth) == 0;
            more = say(c, in ? "+OK\r\n" : "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
        } else if (!in) {
            more = say(c, "-NOAUTH Authentication required.\r\n");
        } else if (strncmp(command, "CLIENT", 6) == 0) {
            more = say(c, "+OK\r\n");
        } else if (strncmp(command, "INFO", 4) == 0) {
            more = answer_info(c, s);
        } else if (strncmp(command, "PING", 4) == 0) {
            more = say(c, "+PONG\r\n");
        } else if (strcmp(command, "ASKING") == 0) {
            s->asking++;
            more = say(c, "+OK\r\n");
            asked = true;
            continue;
        } else if (s->reply != NULL) {
            s->commands++;
            more = say(c, s->reply);
        } else if (strncmp(command, "GET ", 4) == 0) {
            s->commands++;
            more = answer_get(c, s, command, asked);
        } else if (strncmp(command, "EVALSHA ", 8) == 0) {
            s->evalshas++;
            more = say(c, s->noscript ? "-NOSCRIPT No matching script. Please use EVAL.\r\n" : ":1\r\n");
        } else if (strncmp(command, "EVAL ", 5) == 0) {
            s->evals++;
            more = say(c, ":1\r\n");
        } else {
            more = say(c, "-ERR unknown command\r\n");
        }
        asked = false;
    }
}

/* ---- time ---- */

static void a_trickling_server_costs_the_deadline_and_no_more(void **state) {
    (void)state;
    script s = {.trickle_ms = 200}; /* ten seconds in all */
    stub_server *server = stub_start(handle, &s, NULL);
    cache *c = open_cache(stub_address(server));
    char text[64];
    int64_t begun = now_ns();
    assert_int_equal(get(c, "k", in_ms(100), text, NULL), BRAID_E_DEADLINE);
    assert_true(elapsed_ms(begun) >= 99);
    assert_string_equal(text, "");
    cache_close(c);
    stub_stop(server);
}

static void a_hanging_server_costs_the_timeout_where_no_deadline_is_given(void **state) {
    (void)state;
    script s = {.hangs = true};
    stub_server *server = stub_start(handle, &s, NULL);
    enum { TIMEOUT_MS = 3000 }; /* time enough to connect */
    remote_options o = {.connections = 2, .timeout_ms = TIMEOUT_MS, .retries = 1};
    cache *c;
    char text[64];
    assert_int_equal(open_at(stub_address(server), &o, &c, NULL), BRAID_OK);
    int64_t begun = now_ns();
    assert_int_equal(get(c, "k", 0, text, NULL), BRAID_E_DEADLINE); /* and is not asked a second time */
    assert_in_range(elapsed_ms(begun), TIMEOUT_MS - 1, SOON_MS);
    assert_int_equal(s.gets, 1);
    cache_close(c);
    stub_stop(server);
}

/* ---- R14: whose reply is it? ---- */

enum { LATE_THREADS = 16, LATE_CALLS = 10000, LATE_MS = 40, LATE_DEADLINE_MS = 10 };

typedef struct late {
    cache *c;
    const char *address;
    atomic_int calls, wrong, right, late, numbers;
} late;

static void *late_run(void *arg) {
    late *l = arg;
    int me = ++l->numbers;
    char key[32], text[64];
    for (int i = 0; l->right + l->late < LATE_CALLS && l->calls++ < 20 * LATE_CALLS; i++) {
        snprintf(key, sizeof key, "user-%d-%d", me, i);
        int rc = get(l->c, key, in_ms(i % 2 ? LATE_DEADLINE_MS : LONG_MS), text, NULL);
        l->right += rc == BRAID_OK && strcmp(text, key) == 0;
        l->wrong += text[0] != '\0' && strcmp(text, key) != 0;
        l->late += rc == BRAID_E_DEADLINE;
        if (rc == BRAID_E_UNAVAILABLE) /* no new connection for a moment */
            sleep_ms(1);
    }
    return NULL;
}

/* What people do: a time-out per read, and the connection used again after it. */
static void *late_run_canary(void *arg) {
    late *l = arg;
    int me = ++l->numbers, fd = socket(AF_INET, SOCK_STREAM, 0);
    char key[32], request[128], reply[512];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strchr(l->address, ':') + 1))};
    struct timeval patience = {.tv_usec = LATE_DEADLINE_MS * 1000};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        for (int i = 0; l->calls++ < 400; i++) {
            int len = snprintf(key, sizeof key, "user-%d-%d", me, i);
            len = snprintf(request, sizeof request, "*2\r\n$3\r\nGET\r\n$%d\r\nx{}v%s\r\n", len + 4, key);
            send(fd, request, (size_t)len, MSG_NOSIGNAL);
            ssize_t n = recv(fd, reply, sizeof reply - 1, 0);
            reply[n > 0 ? n : 0] = '\0';
            l->wrong += n > 0 && strstr(reply, key) == NULL;
        }
    }
    close(fd);
    return NULL;
}

static void run_late(late *l, void *(*run)(void *)) {
    pthread_t threads[LATE_THREADS];
    for (int i = 0; i < LATE_THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, run, l), 0);
    for (int i = 0; i < LATE_THREADS; i++) pthread_join(threads[i], NULL);
}

static void a_late_reply_never_reaches_another_request(void **state) {
    (void)state;
    script s = {.late_ms = LATE_MS};
    stub_server *server = stub_start(handle, &s, NULL);
    cache_ops unbroken = cache_redis_ops;
    unbroken.caps = 0; /* the forwarder then has no breaker, which would spare the server most of it */
    remote_options r = {
        .address = stub_address(server), .connections = LATE_THREADS, .timeout_ms = LONG_MS, .retries = 1};
    cache_options o = {.remote = &r, .clock = &clock_system};
    late l = {.address = stub_address(server)};
    assert_int_equal(cache_open(&unbroken, &o, &l.c, NULL), BRAID_OK);
    run_late(&l, late_run);
    print_message("%d right, %d late, %d wrong\n", (int)l.right, (int)l.late, (int)l.wrong);
    assert_int_equal(l.wrong, 0);
    assert_true(l.right > LATE_CALLS / 20 && l.late > LATE_CALLS / 20);
    cache_close(l.c);
    late canary = {.address = stub_address(server)};
    run_late(&canary, late_run_canary);
    print_message("the canary got %d wrong\n", (int)canary.wrong);
    assert_true(canary.wrong > 0);
    stub_stop(server);
}

/* ---- nonsense ---- */

static void an_answer_that_makes_no_sense_is_corrupt_and_closes_the_connection(void **state) {
    (void)state;
    static const char deep[] = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n";
    static const char *const replies[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        ":5\r\n",
        "+OK\r\n",
        "*0\r\n",
        "*-1000\r\n",
        "*2147483647\r\n",
        "*131073\r\n",
        "*2\r\n*131000\r\n*131000\r\n",
        "*99999999999999999999\r\n",
        "$-2\r\n",
        "$x\r\n",
        "*1\r\n$1\r\na\r\n",
        "%1\r\n+a\r\n+b\r\n",
        deep,
        "\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        script s = {.reply = replies[i]};
        stub_server *server = stub_start(handle, &s, NULL);
        cache *c = open_cache(stub_address(server));
        braid_error err = {0};
        char text[64];
        unsigned before = stub_connections(server);
        int rc = get(c, "k", in_ms(LONG_MS), text, &err);
        if (rc != BRAID_E_CORRUPT) fail_msg("\"%.20s\": %s (%s)", replies[i], error_name(rc), err.message);
        assert_non_null(strstr(err.message, stub_address(server)));
        assert_string_equal(err.store, "cache/redis");
        s.reply = "$-1\r\n";
        assert_int_equal(get(c, "k", in_ms(LONG_MS), text, NULL), BRAID_OK);
        assert_int_equal(stub_connections(server), before + 1);
        cache_close(c);
        stub_stop(server);
    }
}

/* More bytes than any reply may have, announced honestly. */
static void handle_flood(stub_conn *c) {
    char command[1024];
    static char lots[1 << 20];
    script s = {0};
    for (int i = 0; i < 2 && stub_read_command(c, command, sizeof command); i++)
        if (i == 0 ? !say(c, "+OK\r\n") : !answer_info(c, &s)) return;
    while (stub_read_command(c, command, sizeof command)) {
        if (strncmp(command, "PING", 4) == 0) {
            say(c, "+PONG\r\n");
            continue;
        }
        say(c, "$4611686018427387904\r\n");
        while (stub_write(c, lots, sizeof lots)) {}
    }
}

static void a_reply_without_end_is_cut(void **state) {
    (void)state;
    stub_server *server = stub_start(handle_flood, NULL, NULL);
    const remote_options patient = {.connections = 2, .timeout_ms = 300000, .retries = 1};
    cache *c = NULL;
    braid_error err = {0};
    char text[64];
    assert_int_equal(open_at(stub_address(server), &patient, &c, &err), BRAID_OK);
    assert_int_equal(get(c, "k", in_ms(300000), text, &err), BRAID_E_CORRUPT); /* bounded by bytes, not by time */
    assert_non_null(strstr(err.message, "longer than"));
    cache_close(c);
    stub_stop(server);
}

static void a_value_that_is_not_ours_is_a_miss(void **state) {
    (void)state;
    static const char *const values[] = {"",
                                         "B1",
                                         "B2000000000000000018446744073709551615x",
                                         "B100000000000000001844674407370955161xy",
                                         "B1000000000000000099999999999999999999x",
                                         "B1zzzzzzzzzzzzzzzz00000000000000000001x"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char reply[100], text[64];
        snprintf(reply, sizeof reply, "$%zu\r\n%s\r\n", strlen(values[i]), values[i]);
        script s = {.reply = reply};
        stub_server *server = stub_start(handle, &s, NULL);
        cache *c = open_cache(stub_address(server));
        assert_int_equal(get(c, "k", in_ms(LONG_MS), text, NULL), BRAID_OK);
        assert_string_equal(text, "");
        cache_close(c);
        stub_stop(server);
    }
}

static void what_the_server_refuses_is_unavailable_and_the_connection_stays(void **state) {
    (void)state;
    static const char *const replies[] = {
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-BUSY Redis is busy running a script\r\n",
        "-CLUSTERDOWN The cluster is down\r\n",
        "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
        "-NOPERM this user has no permissions\r\n",
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    };
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        script s = {.reply = replies[i]};
        stub_server *server = stub_start(handle, &s, NULL);
        cache *c = open_cache(stub_address(server));
        braid_error err = {0};
        char text[64];
        unsigned before = stub_connections(server);
        for (int n = 0; n < 3; n++) assert_int_equal(get(c, "k", in_ms(LONG_MS), text, &err), BRAID_E_UNAVAILABLE);
        assert_non_null(strstr(err.message, "refuses"));
        assert_int_equal(stub_connections(server), before);
        cache_close(c);
        stub_stop(server);
    }
}

/* ---- redirects ---- */

static void moved_is_followed_and_remembered(void **state) {
    (void)state;
    script b = {0}, a = {.redirects = true};
    stub_server *sb = stub_start(handle, &b, NULL);
    a.other = stub_address(sb);
    stub_server *sa = stub_start(handle, &a, NULL);
    cache *c = open_cache(stub_address(sa));
    char text[64];
    for (int i = 0; i < 5; i++) {
        assert_int_equal(get(c, "k", in_ms(LONG_MS), text, NULL), BRAID_OK);
        assert_string_equal(text, "k");
    }
    assert_int_equal(a.gets, 1); /* asked once, then never again for that slot */
    assert_int_equal(b.gets, 5);
    assert_int_equal(b.asking, 0);
    assert_int_equal(get(c, "another slot", in_ms(LONG_MS), text, NULL), BRAID_OK);
    assert_int_equal(a.gets, 2);
    cache_lookup l[3] = {{.key = "k", .key_len = 1}, {.key = "x", .key_len = 1}, {.key = "y", .key_len = 1}};
    buf out; /* the stub does not know MGET: an error for all, not a crash */
    buf_init(&out, 0);
    assert_int_equal(cache_get_many(c, l, 3, in_ms(LONG_MS), &out, NULL), BRAID_E_UNAVAILABLE);
    buf_free(&out);
    cache_close(c);
    stub_stop(sa);
    stub_stop(sb);
}

static void ask_is_followed_once_with_asking_and_not_remembered(void **state) {
    (void)state;
    script b = {.redirects = true}, a = {.redirects = true, .ask = true}; /* b too refuses whoever did not say ASKING */
    stub_server *sb = stub_start(handle, &b, NULL);
    a.other = stub_address(sb);
    stub_server *sa = stub_start(handle, &a, NULL);
    b.other = stub_address(sa);
    cache *c = open_cache(stub_address(sa));
    char text[64];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get(c, "k", in_ms(LONG_MS), text, NULL), BRAID_OK);
        assert_string_equal(text, "k");
    }
    assert_int_equal(a.gets, 3);
    assert_int_equal(b.asking, 3);
    cache_close(c);
    stub_stop(sa);
    stub_stop(sb);
}

static void a_circle_of_redirects_ends(void **state) {
    (void)state;
    script a = {.redirects = true}, b = {.redirects = true};
    stub_server *sa = stub_start(handle, &a, NULL), *sb = stub_start(handle, &b, NULL);
    a.other = stub_address(sb);
    b.other = stub_address(sa);
    cache *c = open_cache(stub_address(sa));
    char text[64];
    assert_int_equal(get(c, "k", in_ms(LONG_MS), text, NULL), BRAID_E_UNAVAILABLE);
    assert_true(a.gets + b.gets <= 1 + REDIS_REDIRECTS_MAX);
    cache_close(c);
    stub_stop(sa);
    stub_stop(sb);
}

static void a_redirect_without_a_host_means_the_same_host_and_a_senseless_one_is_corrupt(void **state) {
    (void)state;
    script b = {0}, a = {.redirects = true, .moved_without_host = true};
    stub_server *sb = stub_start(handle, &b, NULL);
    a.other = stub_address(sb);
    stub_server *sa = stub_start(handle, &a, NULL);
    cache *c = open_cache(stub_address(sa));
    char text[64];
    assert_int_equal(get(c, "k", in_ms(LONG_MS), text, NULL), BRAID_OK);
    assert_string_equal(text, "k");
    cache_close(c);
    stub_stop(sa);
    stub_stop(sb);
    static const char *const replies[] = {"-MOVED 99999 127.0.0.1:1\r\n", "-MOVED x\r\n", "-MOVED 5 nowhere\r\n",
                                          "-ASK 5 127.0.0.1:99999\r\n", "-MOVED \r\n"};
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        script s = {.reply = replies[i]};
        stub_server *server = stub_start(handle, &s, NULL);
        c = open_cache(stub_address(server));
        int rc = get(c, "k", in_ms(LONG_MS), text, NULL);
        if (rc != BRAID_E_CORRUPT) fail_msg("%s: %s", replies[i], error_name(rc));
        cache_close(c);
        stub_stop(server);
    }
}

static void a_node_that_is_gone_is_asked_for_at_the_others(void **state) {
    (void)state;
    script b = {0}, a = {.redirects = true};
    stub_server *sb = stub_start(handle, &b, NULL);
    a.other = stub_address(sb);
    stub_server *sa = stub_start(handle, &a, NULL);
    cache *c = open_cache(stub_address(sa));
    char text[64];
    assert_int_equal(get(c, "k", in_ms(LONG_MS), text, NULL), BRAID_OK);
    stub_stop(sb); /* its slots fail over to a */
    a.redirects = false;
    int rc = BRAID_E_UNAVAILABLE;
    for (int i = 0; i < 3 && rc != BRAID_OK; i++) rc = get(c, "k", in_ms(LONG_MS), text, NULL);
    assert_int_equal(rc, BRAID_OK);
    assert_string_equal(text, "k");
    cache_close(c);
    stub_stop(sa);
}

static void a_script_that_the_server_does_not_know_is_sent(void **state) {
    (void)state;
    script s = {.noscript = true};
    stub_server *server = stub_start(handle, &s, NULL);
    cache *c = open_cache(stub_address(server));
    assert_int_equal(cache_put(c, "k", 1, 1, "v", 1, 0, NULL), BRAID_OK);
    assert_int_equal(s.evals, 1);
    s.noscript = false;
    assert_int_equal(cache_invalidate(c, "k", 1, 1, NULL), BRAID_OK);
    assert_int_equal(s.evals, 1);
    assert_int_equal(s.evalshas, 2);
    cache_close(c);
    stub_stop(server);
}

static void slots_are_those_of_redis(void **state) {
    (void)state;
    assert_int_equal(redis_slot("123456789", 9), 0x31c3 % REDIS_SLOTS);
    assert_int_equal(redis_slot("foo", 3), 12182);
    assert_int_equal(redis_slot("x{foo}y", 7), 12182);
    assert_int_equal(redis_slot("{}foo", 5), redis_slot("{}foo", 5));
    assert_int_not_equal(redis_slot("{}foo", 5), 12182);
    buf v, t;
    buf_init(&v, 0);
    buf_init(&t, 0);
    for (int i = 0; i < 256; i++) { /* whatever bytes a key has, its value and tombstone share a slot */
        char key[4] = {'}', (char)i, '{', (char)(255 - i)};
        buf_reset(&v);
        buf_reset(&t);
        assert_true(redis_key(&v, "p:", 'v', key, 4) && redis_key(&t, "p:", 't', key, 4));
        assert_int_equal(redis_slot(v.data, v.len), redis_slot(t.data, t.len));
    }
    buf_free(&v);
    buf_free(&t);
}

/* ---- who is let in ---- */

static void a_wrong_password_is_told_at_the_start_without_showing_it(void **state) {
    (void)state;
    script s = {.password = "right horse"}, named = {.password = "ann right horse"};
    stub_server *server = stub_start(handle, &s, NULL), *other = stub_start(handle, &named, NULL);
    cache *c;
    char text[64];
    remote_options o = {.connections = 2, .timeout_ms = LONG_MS, .password = "wrong horse"};
    braid_error err = {0};
    assert_int_equal(open_at(stub_address(server), &o, &c, &err), BRAID_E_INVALID);
    assert_null(c);
    assert_non_null(strstr(err.message, "redis.password"));
    assert_null(strstr(err.message, "wrong horse"));
    o.password = "";
    error_clear(&err);
    assert_int_equal(open_at(stub_address(server), &o, &c, &err), BRAID_E_INVALID);
    o.password = "right horse";
    assert_int_equal(open_at(stub_address(server), &o, &c, NULL), BRAID_OK);
    assert_int_equal(get(c, "k", in_ms(LONG_MS), text, NULL), BRAID_OK);
    cache_close(c);
    o.user = "ann";
    assert_int_equal(open_at(stub_address(other), &o, &c, NULL), BRAID_OK);
    cache_close(c);
    stub_stop(server);
    stub_stop(other);
}

static void wrong_options_are_told(void **state) {
    (void)state;
    cache *c;
    braid_error err = {0};
    remote_options o = {.connections = 2, .timeout_ms = LONG_MS, .database = "a{b}"};
    assert_int_equal(open_at("127.0.0.1:1", &o, &c, NULL), BRAID_E_INVALID);
    o.database = "a b";
    assert_int_equal(open_at("127.0.0.1:1", &o, &c, NULL), BRAID_E_INVALID);
    o.database = "0123456789012345678901234567890123456789012345678901234567890123456789";
    assert_int_equal(open_at("127.0.0.1:1", &o, &c, NULL), BRAID_E_INVALID);
    o.database = "";
    assert_int_equal(open_at("no port", &o, &c, &err), BRAID_E_INVALID);
    o.connections = 5000;
    assert_int_equal(open_at("127.0.0.1:1", &o, &c, NULL), BRAID_E_INVALID);
    cache_options none = {.clock = &clock_system};
    assert_int_equal(cache_open(&cache_redis_ops, &none, &c, NULL), BRAID_E_INVALID);
    assert_null(c);
}

static void over_tls_too(void **state) {
    (void)state;
    char ca[64], text[64];
    SSL_CTX *tls = stub_tls("127.0.0.1", ca);
    script s = {0};
    stub_server *server = stub_start(handle, &s, tls);
    remote_options o = {.connections = 2, .timeout_ms = LONG_MS, .tls = true, .tls_ca = ca};
    cache *c;
    assert_int_equal(open_at(stub_address(server), &o, &c, NULL), BRAID_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get(c, "k", in_ms(LONG_MS), text, NULL), BRAID_OK);
        assert_string_equal(text, "k");
    }
    assert_int_equal(stub_connections(server), 1); /* its tickets are no stray bytes */
    cache_close(c);
    stub_stop(server);
    SSL_CTX_free(tls);
    unlink(ca);
}

/* ---- down ---- */

static int64_t stopped_mono(void *ctx) {
    return *(int64_t *)ctx;
}

static void a_server_that_is_down_at_the_start_is_a_miss_and_leases_hold_in_this_process(void **state) {
    (void)state;
    script s = {0};
    stub_server *server = stub_start(handle, &s, NULL);
    char address[40], text[64];
    snprintf(address, sizeof address, "%s", stub_address(server));
    stub_stop(server);
    int64_t now = now_ns(); /* and stays: what this costs is calls, not time */
    const clock_ops clock = {stopped_mono, stopped_mono, &now};
    remote_options r = {.address = address, .connections = 16, .timeout_ms = LONG_MS, .retries = 1};
    cache_options o = {.remote = &r, .clock = &clock, .metrics = metrics_new()};
    cache *c;
    bool mine = false;
    assert_int_equal(cache_open(&cache_redis_ops, &o, &c, NULL), BRAID_OK);
    for (int i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(get(c, key, in_ms(100), text, NULL), BRAID_E_UNAVAILABLE);
        mine = false;
        assert_int_equal(cache_lease(c, key, strlen(key), 1000, in_ms(100), &mine, NULL), BRAID_E_UNAVAILABLE);
        assert_true(mine); /* nobody waits for a cache that is not there */
        cache_lease(c, key, strlen(key), 0, in_ms(100), &mine, NULL);
    }
    assert_int_equal(cache_lease(c, "k", 1, 60000, in_ms(100), &mine, NULL), BRAID_E_UNAVAILABLE);
    assert_true(mine);
    assert_int_equal(cache_lease(c, "k", 1, 60000, in_ms(100), &mine, NULL), BRAID_OK);
    assert_false(mine); /* but for who is at it in this process */
    assert_int_equal(cache_put_until(c, "k", 1, CACHE_FIXED, "found", 5, 0, in_ms(100), NULL), BRAID_E_UNAVAILABLE);
    assert_int_equal(get(c, "k", in_ms(100), text, NULL), BRAID_OK);
    assert_string_equal(text, "found"); /* and gets its answer for a moment */
    assert_int_equal(cache_breaker(c, false), BREAKER_OPEN);
    assert_int_equal(cache_breaker(c, true), BREAKER_OPEN);
    buf text_of_metrics;
    buf_init(&text_of_metrics, 0);
    metrics_print(o.metrics, &text_of_metrics);
    assert_non_null(
        strstr(text_of_metrics.data, "breaker_refused_total{store=\"redis\",calls=\"read\"} 995\n")); /* all but five */
    buf_free(&text_of_metrics);
    cache_stats stats;
    cache_get_stats(c, &stats);
    assert_true(stats.misses > 0 && stats.hits == 1); /* that one */
    cache_close(c);
    metrics_free(o.metrics);
}

static void the_breaker_spares_a_hanging_server_and_closes_when_it_is_back(void **state) {
    (void)state;
    script s = {.hangs = true};
    stub_server *server = stub_start(handle, &s, NULL);
    cache *c = open_cache(stub_address(server));
    char text[64];
    int64_t begun = now_ns();
    for (int i = 0; i < 200; i++) {
        get(c, "k", in_ms(10), text, NULL);
        sleep_ms(1);
    }
    assert_true(s.gets <= 8 + elapsed_ms(begun) / 250); /* those that open it, and a probe now and then */
    assert_int_not_equal(cache_breaker(c, false), BREAKER_CLOSED);
    s.hangs = false;
    assert_true(COMES_TRUE(get(c, "k", in_ms(LONG_MS), text, NULL) == BRAID_OK));
    assert_int_equal(cache_breaker(c, false), BREAKER_CLOSED);
    cache_close(c);
    stub_stop(server);
}

/* The same server at the same address as before, for as long as the address is free. */
static void an_invalidation_that_could_not_be_told_is_owed_and_believed_here_at_once(void **state) {
    (void)state;
    char key[64], text[64];
    script s = {.reply = "-LOADING not now\r\n"};
    stub_server *server = stub_start(handle, &s, NULL);
    cache *c = open_cache(stub_address(server));
    snprintf(key, sizeof key, "k");
    assert_int_equal(cache_invalidate(c, key, 1, 7, NULL), BRAID_E_UNAVAILABLE);
    s.reply =
        "$39\r\nB1000000000000000000000000000000000007x\r\n"; /* what an older fill left; EVALSHA gets it too: refused */
    int rc = get(c, key, in_ms(LONG_MS), text, NULL);
    (void)rc;
    assert_string_equal(text, "");
    s.reply = "$39\r\nB1000000000000000018446744073709551615x\r\n";
    get(c, "other", in_ms(LONG_MS), text, NULL);
    assert_string_equal(text, "x"); /* other keys are as they were */
    s.reply = NULL;
    int before = s.evalshas;
    get(c, "third", in_ms(LONG_MS), text, NULL);
    assert_int_equal(s.evalshas, before + 1); /* told, once */
    get(c, "third", in_ms(LONG_MS), text, NULL);
    assert_int_equal(s.evalshas, before + 1);
    cache_close(c);
    stub_stop(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trickling_server_costs_the_deadline_and_no_more),
        cmocka_unit_test(a_hanging_server_costs_the_timeout_where_no_deadline_is_given),
        cmocka_unit_test(a_late_reply_never_reaches_another_request),
        cmocka_unit_test(an_answer_that_makes_no_sense_is_corrupt_and_closes_the_connection),
        cmocka_unit_test(a_reply_without_end_is_cut),
        cmocka_unit_test(a_value_that_is_not_ours_is_a_miss),
        cmocka_unit_test(what_the_server_refuses_is_unavailable_and_the_connection_stays),
        cmocka_unit_test(moved_is_followed_and_remembered),
        cmocka_unit_test(ask_is_followed_once_with_asking_and_not_remembered),
        cmocka_unit_test(a_circle_of_redirects_ends),
        cmocka_unit_test(a_redirect_without_a_host_means_the_same_host_and_a_senseless_one_is_corrupt),
        cmocka_unit_test(a_node_that_is_gone_is_asked_for_at_the_others),
        cmocka_unit_test(a_script_that_the_server_does_not_know_is_sent),
        cmocka_unit_test(slots_are_those_of_redis),
        cmocka_unit_test(a_wrong_password_is_told_at_the_start_without_showing_it),
        cmocka_unit_test(wrong_options_are_told),
        cmocka_unit_test(over_tls_too),
        cmocka_unit_test(a_server_that_is_down_at_the_start_is_a_miss_and_leases_hold_in_this_process),
        cmocka_unit_test(the_breaker_spares_a_hanging_server_and_closes_when_it_is_back),
        cmocka_unit_test(an_invalidation_that_could_not_be_told_is_owed_and_believed_here_at_once),
    };
    return cmocka_run_group_tests_name("cache: redis", tests, NULL, NULL);
}
#endif
