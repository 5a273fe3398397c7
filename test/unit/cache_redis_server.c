/* cache: Redis, a real one that the test starts, kills and starts again, and a cluster of one node. Runs where
 * BRAID_TEST_REDIS is set (that Redis is there at all) and redis-server is in the PATH; its servers are its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#ifndef BRAID_HAVE_REDIS
int main(void) {
    printf("cache: redis server skipped: built without hiredis\n");
    return 0;
}
#else

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cache/cache_redis_private.h"

extern char **environ;

static deadline in_ms(int64_t ms) {
    return clock_mono_ns(&clock_system) + ms * 1000000;
}
static int64_t elapsed_ms(int64_t since) {
    return (clock_mono_ns(&clock_system) - since) / 1000000;
}
static void sleep_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- a server of our own ---- */

typedef struct server {
    char folder[64], address[32], port[8];
    const char *password; /* or NULL */
    bool cluster;
    pid_t pid;
    redisContext *raw; /* a plain client beside ours, to look behind the curtain */
} server;

static pid_t running; /* one at a time; a test that failed leaves none behind */
static void end_running(void) {
    if (running != 0) kill(running, SIGKILL);
}

static void free_port(char port[8]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    getsockname(fd, (struct sockaddr *)&at, &size);
    close(fd);
    snprintf(port, 8, "%u", ntohs(at.sin_port));
}

static redisReply *raw(server *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *r = redisvCommand(s->raw, format, args);
    va_end(args);
    if (r == NULL || r->type == REDIS_REPLY_ERROR) fail_msg("%s: %s", format, r != NULL ? r->str : s->raw->errstr);
    return r;
}
static void server_run(server *s) {
    char bus[8] = "0";
    const char *argv[32] = {"redis-server", "--port",       s->port,     "--bind", "127.0.0.1",  "--dir", s->folder,
                            "--save",       "3600 1000000", "--logfile", "log",    "--loglevel", "notice"};
    int n = 13;
    if (s->password != NULL) argv[n++] = "--requirepass", argv[n++] = s->password;
    if (s->cluster) {
        free_port(bus);
        argv[n++] = "--cluster-enabled", argv[n++] = "yes", argv[n++] = "--cluster-port", argv[n++] = bus;
    }
    if (posix_spawnp(&s->pid, "redis-server", NULL, NULL, (char **)argv, environ) != 0) skip();
    running = s->pid;
    int64_t begun = clock_mono_ns(&clock_system);
    for (bool up = false; !up;) {
        if (s->raw != NULL) redisFree(s->raw);
        s->raw = redisConnect("127.0.0.1", atoi(s->port));
        redisReply *r = s->raw->err == 0 && s->password != NULL ? redisCommand(s->raw, "AUTH %s", s->password) : NULL;
        if (r != NULL) freeReplyObject(r);
        r = s->raw->err == 0 ? redisCommand(s->raw, "PING") : NULL;
        up = r != NULL && r->type == REDIS_REPLY_STATUS;
        if (r != NULL) freeReplyObject(r);
        if (elapsed_ms(begun) > 10000) fail_msg("redis-server on port %s does not answer", s->port);
        if (!up) sleep_ms(20);
    }
}

static void server_kill(server *s) {
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = running = 0;
}

static void server_start(server *s) {
    if (getenv("BRAID_TEST_REDIS") == NULL) {
        print_message("skipped: BRAID_TEST_REDIS is not set\n");
        skip();
    }
    snprintf(s->folder, sizeof s->folder, "/tmp/braid-redis-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    free_port(s->port);
    snprintf(s->address, sizeof s->address, "127.0.0.1:%s", s->port);
    server_run(s);
    if (s->cluster) {
        freeReplyObject(raw(s, "CLUSTER ADDSLOTSRANGE 0 16383"));
        for (bool up = false; !up; sleep_ms(20)) {
            redisReply *r = raw(s, "CLUSTER INFO");
            up = strstr(r->str, "cluster_state:ok") != NULL;
            freeReplyObject(r);
        }
    }
}

static void server_end(server *s) {
    static const char *const files[] = {"log", "dump.rdb", "nodes.conf"};
    char path[128];
    if (s->pid != 0) server_kill(s);
    redisFree(s->raw);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", s->folder, files[i]);
        unlink(path);
    }
    rmdir(s->folder);
}

static cache *open_cache(const server *s, const char *prefix) {
    remote_options r = {.address = s->address,
                        .database = prefix,
                        .password = s->password,
                        .connections = 16,
                        .timeout_ms = 1000,
                        .retries = 1};
    cache_options o = {.remote = &r, .clock = &clock_system};
    cache *c;
    braid_error err = {0};
    if (cache_open(&cache_redis_ops, &o, &c, &err) != BRAID_OK) fail_msg("%s", err.message);
    return c;
}

static void put(cache *c, const char *key, uint64_t version, const char *value, unsigned ttl_ms) {
    braid_error err = {0};
    if (cache_put(c, key, strlen(key), version, value, strlen(value), ttl_ms, &err) != BRAID_OK)
        fail_msg("%s", err.message);
}

/* "" for a miss, "!" for an error. */
static const char *get(cache *c, const char *key, char text[64]) {
    buf out;
    bool found;
    buf_init(&out, 0);
    int rc = cache_get(c, key, strlen(key), 0, in_ms(500), &out, NULL, &found, NULL);
    snprintf(text, 64, "%s", rc != BRAID_OK ? "!" : found ? out.data : "");
    buf_free(&out);
    return text;
}

/* ---- what is behind the curtain ---- */

static long long ttl_of(server *s, const char *prefix, char kind, const char *key) {
    buf name;
    buf_init(&name, 0);
    assert_true(redis_key(&name, prefix, kind, key, strlen(key)));
    redisReply *r = raw(s, "PTTL %b", name.data, name.len);
    long long ttl = r->integer;
    freeReplyObject(r);
    buf_free(&name);
    return ttl;
}

static void a_tombstone_lives_a_minute_and_lifetimes_are_spread_a_little(void **state) {
    (void)state;
    server s = {0};
    server_start(&s);
    cache *c = open_cache(&s, "");
    char key[16];
    long long least = 1000000, most = 0;
    assert_int_equal(cache_invalidate(c, "k", 1, 5, NULL), BRAID_OK);
    assert_in_range(ttl_of(&s, "braid:", 't', "k"), CACHE_TOMBSTONE_MS - 2000, CACHE_TOMBSTONE_MS);
    put(c, "k", 6, "six", 0);
    assert_int_equal(ttl_of(&s, "braid:", 'v', "k"), -1);
    assert_in_range(ttl_of(&s, "braid:", 't', "k"), CACHE_TOMBSTONE_MS - 2000, CACHE_TOMBSTONE_MS);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(c, key, 1, "v", 160000);
        long long ttl = ttl_of(&s, "braid:", 'v', key);
        least = ttl < least ? ttl : least;
        most = ttl > most ? ttl : most;
    }
    assert_true(least >= 150000 - 2000 && most <= 160000 && most - least > 4000);
    cache_close(c);
    server_end(&s);
}

static void clear_takes_what_is_ours_and_nothing_else(void **state) {
    (void)state;
    server s = {0};
    server_start(&s);
    static const char *const prefixes[] = {"a*", "ab", "a?[x]", "a\\", "^", "-"};
    cache *caches[6];
    char text[64], key[16];
    for (int i = 0; i < 6; i++) caches[i] = open_cache(&s, prefixes[i]);
    freeReplyObject(raw(&s, "SET a*foreign 1"));
    freeReplyObject(raw(&s, "SET a*{0123456789abcdef} 1"));
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 6; i++)
            for (int k = 0; k < 300; k++) {
                snprintf(key, sizeof key, "k%d", k);
                put(caches[i], key, 1, prefixes[i], 0);
            }
        assert_int_equal(cache_clear(caches[round], NULL), BRAID_OK);
        for (int i = 0; i < 6; i++)
            for (int k = 0; k < 300; k += 50) {
                snprintf(key, sizeof key, "k%d", k);
                assert_string_equal(get(caches[i], key, text), i == round ? "" : prefixes[i]);
            }
    }
    redisReply *r = raw(&s, "EXISTS a*foreign a*{0123456789abcdef}");
    assert_int_equal(r->integer, 2);
    freeReplyObject(r);
    for (int i = 0; i < 6; i++) cache_close(caches[i]);
    server_end(&s);
}

static void another_programs_key_in_our_place_is_told(void **state) {
    (void)state;
    server s = {0};
    server_start(&s);
    cache *c = open_cache(&s, "");
    buf name;
    braid_error err = {0};
    char text[64];
    buf_init(&name, 0);
    assert_true(redis_key(&name, "braid:", 'v', "k", 1));
    freeReplyObject(raw(&s, "LPUSH %b x", name.data, name.len));
    assert_string_equal(get(c, "k", text), "!");
    assert_int_equal(cache_put(c, "k", 1, 1, "v", 1, 0, &err), BRAID_E_CORRUPT);
    assert_non_null(strstr(err.message, "redis.database"));
    freeReplyObject(raw(&s, "SET %b foreign", name.data, name.len));
    assert_string_equal(get(c, "k", text), "");
    put(c, "k", 1, "ours", 0);
    assert_string_equal(get(c, "k", text), "ours");
    buf_free(&name);
    cache_close(c);
    server_end(&s);
}

static void a_password_is_used(void **state) {
    (void)state;
    server s = {.password = "correct-horse"};
    server_start(&s);
    char text[64];
    cache *c = open_cache(&s, ""), *none;
    put(c, "k", 1, "v", 0);
    assert_string_equal(get(c, "k", text), "v");
    cache_close(c);
    remote_options r = {.address = s.address, .password = "battery-staple", .timeout_ms = 1000};
    cache_options o = {.remote = &r, .clock = &clock_system};
    assert_int_equal(cache_open(&cache_redis_ops, &o, &none, NULL), BRAID_E_INVALID);
    r.password = "";
    assert_int_equal(cache_open(&cache_redis_ops, &o, &none, NULL), BRAID_E_INVALID);
    server_end(&s);
}

/* ---- killed ---- */

/* The disk brings back a value whose invalidation it had not heard of, and the slow filler of that time comes as
 * well. */
static void what_a_restart_brings_back_from_disk_is_not_believed(void **state) {
    (void)state;
    server s = {0};
    server_start(&s);
    cache *c = open_cache(&s, "");
    char text[64];
    put(c, "k", 6, "six", 0);
    put(c, "fixed", CACHE_FIXED, "for ever true", 0);
    freeReplyObject(raw(&s, "SAVE"));
    assert_int_equal(cache_invalidate(c, "k", 1, 7, NULL), BRAID_OK);
    server_kill(&s);
    assert_string_equal(get(c, "k", text), "!");
    server_run(&s);
    buf name;
    buf_init(&name, 0);
    assert_true(redis_key(&name, "braid:", 'v', "k", 1));
    redisReply *r = raw(&s, "GET %b", name.data, name.len); /* the canary: it is there again */
    assert_true(r->type == REDIS_REPLY_STRING && strcmp(r->str + REDIS_HEAD_BYTES, "six") == 0);
    freeReplyObject(r);
    buf_free(&name);
    sleep_ms(20); /* the pool's moment after a refused connection */
    assert_string_equal(get(c, "k", text), "");
    put(c, "k", 6, "six", 0); /* the slow filler: its tombstone is lost, so versioned values wait for a minute */
    assert_string_equal(get(c, "k", text), "");
    assert_string_equal(get(c, "fixed", text), "for ever true");
    put(c, "new", CACHE_FIXED, "new", 0);
    assert_string_equal(get(c, "new", text), "new");
    cache *later = open_cache(&s, ""); /* a process that starts only now has no fills from before */
    put(later, "j", 1, "one", 0);
    assert_string_equal(get(later, "j", text), "one");
    assert_string_equal(get(c, "j", text), "one");
    cache_close(later);
    cache_close(c);
    server_end(&s);
}

typedef struct user_load {
    cache *c;
    atomic_bool stop;
    atomic_int numbers, hits, wrong, late, errors, calls;
} user_load;

static void *load_run(void *arg) {
    user_load *l = arg;
    rng random;
    int me = ++l->numbers;
    rng_seed(&random, (uint64_t)me);
    char key[32], text[64];
    while (!l->stop) {
        snprintf(key, sizeof key, "user-%d-%d", me, (int)rng_below(&random, 50));
        int64_t begun = clock_mono_ns(&clock_system);
        buf out;
        bool found;
        buf_init(&out, 0);
        int rc = cache_get(l->c, key, strlen(key), 0, in_ms(100), &out, NULL, &found, NULL);
        snprintf(text, sizeof text, "%s", found ? out.data : "");
        buf_free(&out);
        if (!found) cache_put_until(l->c, key, strlen(key), CACHE_FIXED, key, strlen(key), 60000, in_ms(100), NULL);
        l->late += elapsed_ms(begun) > 2 * (100 + 50);
        l->hits += found;
        l->wrong += found && strcmp(text, key) != 0;
        l->errors += rc != BRAID_OK;
        l->calls++;
        if (rc != BRAID_OK) sleep_ms(1);
    }
    return NULL;
}

static void killed_and_started_again_during_use_nothing_is_wrong_or_late_and_hits_come_back(void **state) {
    (void)state;
    server s = {0};
    server_start(&s);
    user_load l = {.c = open_cache(&s, "")};
    pthread_t threads[6];
    for (int i = 0; i < 6; i++) pthread_create(&threads[i], NULL, load_run, &l);
    for (int round = 0; round < 4; round++) {
        sleep_ms(300);
        if (round == 3)
            kill(s.pid, SIGSTOP); /* there, and does not answer */
        else
            server_kill(&s);
        sleep_ms(500);
        if (round == 3)
            kill(s.pid, SIGCONT);
        else
            server_run(&s);
        int hits = l.hits;
        int64_t begun = clock_mono_ns(&clock_system);
        while (l.hits < hits + 100 && elapsed_ms(begun) < 10000) sleep_ms(5);
        print_message("hits again after %lld ms\n", (long long)elapsed_ms(begun));
        assert_true(elapsed_ms(begun) < 5000);
    }
    l.stop = true;
    for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
    print_message("%d calls, %d hits, %d errors, %d wrong, %d late\n", (int)l.calls, (int)l.hits, (int)l.errors,
                  (int)l.wrong, (int)l.late);
    assert_true(l.errors > 0); /* the test saw the server down */
    assert_int_equal(l.wrong, 0);
    assert_int_equal(l.late, 0);
    cache_close(l.c);
    redisReply *r = raw(&s, "CLIENT LIST");
    int clients = 0;
    for (const char *at = r->str; (at = strstr(at, "name=braid")) != NULL; at++) clients++;
    freeReplyObject(r);
    assert_int_equal(clients, 0); /* no connection is left behind */
    server_end(&s);
}

/* ---- a cluster ---- */

static void a_cluster_of_one_node_works_in_every_call(void **state) {
    (void)state;
    server s = {.cluster = true};
    server_start(&s);
    cache *c = open_cache(&s, "");
    enum { N = 100 };
    char keys[N][16], text[64];
    cache_lookup l[N];
    buf out;
    bool mine;
    buf_init(&out, 0);
    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "key-%d", i);
        if (i % 4 != 0) put(c, keys[i], 1, keys[i], 0);
        l[i] = (cache_lookup){.key = keys[i], .key_len = strlen(keys[i])};
    }
    braid_error err = {0};
    if (cache_get_many(c, l, N, in_ms(1000), &out, &err) != BRAID_OK) fail_msg("%s", err.message);
    for (int i = 0; i < N; i++) {
        assert_int_equal(l[i].found, i % 4 != 0);
        assert_true(!l[i].found || (l[i].len == strlen(keys[i]) && memcmp(out.data + l[i].at, keys[i], l[i].len) == 0));
    }
    assert_int_equal(cache_invalidate(c, keys[1], strlen(keys[1]), 5, NULL), BRAID_OK);
    put(c, keys[1], 4, "late", 0);
    assert_string_equal(get(c, keys[1], text), "");
    assert_string_equal(get(c, keys[2], text), keys[2]);
    assert_int_equal(cache_lease(c, "k", 1, 1000, 0, &mine, NULL), BRAID_OK);
    assert_true(mine);
    assert_int_equal(cache_lease(c, "k", 1, 1000, 0, &mine, NULL), BRAID_OK);
    assert_false(mine);
    assert_int_equal(cache_clear(c, NULL), BRAID_OK);
    assert_string_equal(get(c, keys[2], text), "");
    freeReplyObject(raw(&s, "SCRIPT FLUSH"));
    put(c, keys[3], 1, "after a script flush", 0);
    assert_string_equal(get(c, keys[3], text), "after a script flush");
    buf_free(&out);
    cache_close(c);
    server_end(&s);
}

int main(void) {
    atexit(end_running);
    signal(SIGPIPE, SIG_IGN); /* of the plain client; ours raises none */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tombstone_lives_a_minute_and_lifetimes_are_spread_a_little),
        cmocka_unit_test(clear_takes_what_is_ours_and_nothing_else),
        cmocka_unit_test(another_programs_key_in_our_place_is_told),
        cmocka_unit_test(a_password_is_used),
        cmocka_unit_test(what_a_restart_brings_back_from_disk_is_not_believed),
        cmocka_unit_test(killed_and_started_again_during_use_nothing_is_wrong_or_late_and_hits_come_back),
        cmocka_unit_test(a_cluster_of_one_node_works_in_every_call),
    };
    return cmocka_run_group_tests_name("cache: redis server", tests, NULL, NULL);
}
#endif
