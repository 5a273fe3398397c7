/* cache: Redis, real servers that ask who we are, that speak TLS, and a cluster of two whose slots move. Runs where
 * BRAID_TEST_REDIS is set (that Redis is there at all) and redis-server is in the PATH; its servers are its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#ifndef BRAID_HAVE_REDIS
int main(void) {
    printf("cache: redis secure skipped: built without hiredis\n");
    return 0;
}
#else

#include <arpa/inet.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cache/cache_redis_private.h"
#include "test/support/stub_server.h"

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

/* ---- servers of our own ---- */

enum { SERVERS_MAX = 2 };
static pid_t running[SERVERS_MAX]; /* a test that failed leaves none behind */
static void end_running(void) {
    for (int i = 0; i < SERVERS_MAX; i++)
        if (running[i] != 0) kill(running[i], SIGKILL);
}

typedef struct server {
    int number; /* 0 or 1 */
    char folder[64], port[8], tls_port[8], bus[8], address[32], tls_address[32];
    bool cluster, tls;
    char ca[64];
    redisContext *raw; /* a plain client beside ours, to look behind the curtain */
} server;

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

static void raw_do(server *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    redisReply *r = redisvCommand(s->raw, format, args);
    va_end(args);
    if (r == NULL || r->type == REDIS_REPLY_ERROR) fail_msg("%s: %s", format, r != NULL ? r->str : s->raw->errstr);
    freeReplyObject(r);
}

/* A certificate for `host`, signed by an authority of this server alone, whose own goes to s->ca. */
static void write_certificate(server *s, const char *host, char cert[96], char key[96]) {
    SSL_CTX *ctx = stub_tls(host, s->ca);
    snprintf(cert, 96, "%s/cert.pem", s->folder);
    snprintf(key, 96, "%s/key.pem", s->folder);
    FILE *c = fopen(cert, "w"), *k = fopen(key, "w");
    assert_true(c != NULL && k != NULL);
    assert_int_equal(PEM_write_X509(c, SSL_CTX_get0_certificate(ctx)), 1);
    assert_int_equal(PEM_write_PrivateKey(k, SSL_CTX_get0_privatekey(ctx), NULL, NULL, 0, NULL, NULL), 1);
    fclose(c);
    fclose(k);
    SSL_CTX_free(ctx);
}

static void server_start(server *s, const char *host) {
    char cert[96], key[96];
    if (getenv("BRAID_TEST_REDIS") == NULL) {
        print_message("skipped: BRAID_TEST_REDIS is not set\n");
        skip();
    }
    snprintf(s->folder, sizeof s->folder, "/tmp/braid-redis-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    free_port(s->port);
    free_port(s->tls_port);
    free_port(s->bus);
    snprintf(s->address, sizeof s->address, "127.0.0.1:%s", s->port);
    snprintf(s->tls_address, sizeof s->tls_address, "127.0.0.1:%s", s->tls_port);
    const char *argv[40] = {"redis-server", "--port", s->port,     "--bind", "127.0.0.1",    "--dir", s->folder,
                            "--save",       "",       "--logfile", "log",    "--appendonly", "no"};
    int n = 13;
    if (s->tls) {
        write_certificate(s, host, cert, key);
        const char *const more[] = {"--tls-port",         s->tls_port, "--tls-cert-file",    cert,
                                    "--tls-key-file",     key,         "--tls-ca-cert-file", s->ca,
                                    "--tls-auth-clients", "no"};
        for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) argv[n++] = more[i];
    }
    if (s->cluster) {
        argv[n++] = "--cluster-enabled", argv[n++] = "yes", argv[n++] = "--cluster-port", argv[n++] = s->bus;
    }
    pid_t pid;
    posix_spawn_file_actions_t silent; /* it must not hold our output open */
    posix_spawn_file_actions_init(&silent);
    posix_spawn_file_actions_addopen(&silent, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&silent, 2, "/dev/null", O_WRONLY, 0);
    int spawned = posix_spawnp(&pid, "redis-server", &silent, NULL, (char **)argv, environ);
    posix_spawn_file_actions_destroy(&silent);
    if (spawned != 0) skip();
    if (running[s->number] != 0) kill(running[s->number], SIGKILL); /* of a test that failed */
    running[s->number] = pid;
    int64_t begun = clock_mono_ns(&clock_system);
    for (bool up = false; !up;) {
        if (s->raw != NULL) redisFree(s->raw);
        s->raw = redisConnect("127.0.0.1", atoi(s->port));
        redisReply *r = s->raw->err == 0 ? redisCommand(s->raw, "PING") : NULL;
        up = r != NULL && r->type == REDIS_REPLY_STATUS;
        if (r != NULL) freeReplyObject(r);
        if (elapsed_ms(begun) > 10000) fail_msg("redis-server on port %s does not answer", s->port);
        if (!up) sleep_ms(20);
    }
}

static void server_end(server *s) {
    static const char *const files[] = {"log", "dump.rdb", "nodes.conf", "cert.pem", "key.pem"};
    char path[128];
    kill(running[s->number], SIGKILL);
    waitpid(running[s->number], NULL, 0);
    running[s->number] = 0;
    redisFree(s->raw);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", s->folder, files[i]);
        unlink(path);
    }
    if (s->ca[0] != '\0') unlink(s->ca);
    rmdir(s->folder);
}

static int open_with(remote_options r, cache **out, braid_error *err) {
    cache_options o = {.remote = &r, .clock = &clock_system};
    r.connections = 4;
    r.timeout_ms = 2000;
    r.retries = 1;
    return cache_open(&cache_redis_ops, &o, out, err);
}

static cache *must_open(remote_options r) {
    cache *c;
    braid_error err = {0};
    if (open_with(r, &c, &err) != BRAID_OK) fail_msg("%s", err.message);
    return c;
}

static int get(cache *c, const char *key, char text[64], braid_error *err) {
    buf out;
    bool found;
    buf_init(&out, 0);
    int rc = cache_get(c, key, strlen(key), 0, in_ms(2000), &out, NULL, &found, err);
    snprintf(text, 64, "%s", found ? out.data : "");
    buf_free(&out);
    return rc;
}

static void put(cache *c, const char *key, const char *value) {
    braid_error err = {0};
    if (cache_put(c, key, strlen(key), CACHE_FIXED, value, strlen(value), 60000, &err) != BRAID_OK)
        fail_msg("%s", err.message);
}

static void serves(cache *c) {
    char text[64];
    braid_error err = {0};
    put(c, "k", "v");
    if (get(c, "k", text, &err) != BRAID_OK) fail_msg("%s", err.message);
    assert_string_equal(text, "v");
}

/* Opens, or says why not; either way nothing is served, and the words are there. */
static void refused(remote_options r, const char *word) {
    cache *c = NULL;
    char text[64];
    braid_error err = {0};
    int64_t begun = clock_mono_ns(&clock_system);
    int rc = open_with(r, &c, &err);
    if (rc == BRAID_OK) rc = get(c, "k", text, &err);
    assert_int_not_equal(rc, BRAID_OK);
    if (strstr(err.message, word) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.message, word);
    if (r.password != NULL) assert_null(strstr(err.message, r.password));
    assert_true(elapsed_ms(begun) < 10000);
    cache_close(c);
}

/* ---- who are you? ---- */

static void a_user_and_a_password_are_used_and_wrong_ones_told(void **state) {
    (void)state;
    server s = {0};
    server_start(&s, NULL);
    raw_do(&s, "ACL SETUSER ann on >%s ~* &* +@all", "correct-horse");
    raw_do(&s, "ACL SETUSER guest on >%s ~* &* +ping +info +client", "let-me-in");
    raw_do(&s, "CONFIG SET requirepass %s", "default-secret");
    cache *c = must_open((remote_options){.address = s.address, .user = "ann", .password = "correct-horse"});
    serves(c);
    cache_close(c);
    c = must_open((remote_options){.address = s.address, .password = "default-secret"});
    serves(c);
    cache_close(c);
    refused((remote_options){.address = s.address, .user = "ann", .password = "battery-staple"},
            "check redis.user and redis.password");
    refused((remote_options){.address = s.address, .user = "bob", .password = "correct-horse"},
            "check redis.user and redis.password");
    refused((remote_options){.address = s.address}, "set redis.password");
    refused((remote_options){.address = s.address, .user = "guest", .password = "let-me-in"}, "needs more rights");
    server_end(&s);
}

/* ---- TLS ---- */

static void tls_is_spoken_with_the_servers_authority_and_with_no_other(void **state) {
    (void)state;
    server s = {.tls = true}, other = {.tls = true, .number = 1};
    server_start(&s, "127.0.0.1");
    server_start(&other, "127.0.0.1");
    raw_do(&s, "ACL SETUSER ann on >%s ~* &* +@all", "correct-horse");
    cache *c = must_open((remote_options){
        .address = s.tls_address, .tls = true, .tls_ca = s.ca, .user = "ann", .password = "correct-horse"});
    for (int i = 0; i < 50; i++) serves(c);
    cache_close(c);
    redisReply *r = raw(&s, "INFO stats");
    const char *at = strstr(r->str, "total_connections_received:");
    assert_true(at != NULL && atoi(at + strlen("total_connections_received:")) < 10); /* one connection served it all */
    freeReplyObject(r);
    refused((remote_options){.address = s.tls_address, .tls = true, .tls_ca = other.ca}, "certificate");
    refused((remote_options){.address = s.tls_address, .tls = true}, "certificate"); /* the system's know it not */
    c = must_open((remote_options){.address = s.tls_address, .tls = true, .tls_insecure = true});
    serves(c);
    cache_close(c);
    server_end(&s);
    server_end(&other);
}

static void a_certificate_for_another_name_is_refused(void **state) {
    (void)state;
    server s = {.tls = true};
    server_start(&s, "redis.example");
    refused((remote_options){.address = s.tls_address, .tls = true, .tls_ca = s.ca}, "mismatch");
    server_end(&s);
}

static void tls_where_there_is_none_and_none_where_there_is_end_in_an_error(void **state) {
    (void)state;
    server s = {.tls = true};
    server_start(&s, "127.0.0.1");
    refused((remote_options){.address = s.address, .tls = true, .tls_ca = s.ca}, s.address);
    refused((remote_options){.address = s.tls_address}, s.tls_address);
    server_end(&s);
}

/* ---- a cluster of two ---- */

static void node_id(server *s, char id[64]) {
    redisReply *r = raw(s, "CLUSTER MYID");
    snprintf(id, 64, "%s", r->str);
    freeReplyObject(r);
}

static void cluster_start(server nodes[2]) {
    for (int i = 0; i < 2; i++) {
        nodes[i] = (server){.number = i, .cluster = true};
        server_start(&nodes[i], NULL);
    }
    raw_do(&nodes[0], "CLUSTER ADDSLOTSRANGE 0 8191");
    raw_do(&nodes[1], "CLUSTER ADDSLOTSRANGE 8192 16383");
    raw_do(&nodes[0], "CLUSTER MEET 127.0.0.1 %s %s", nodes[1].port, nodes[1].bus);
    int64_t begun = clock_mono_ns(&clock_system);
    for (int up = 0; up < 2; sleep_ms(20)) {
        up = 0;
        for (int i = 0; i < 2; i++) {
            redisReply *r = raw(&nodes[i], "CLUSTER INFO");
            up += strstr(r->str, "cluster_state:ok") != NULL && strstr(r->str, "cluster_slots_assigned:16384") != NULL;
            freeReplyObject(r);
        }
        if (elapsed_ms(begun) > 20000) fail_msg("the two nodes do not find each other");
    }
}

static unsigned slot_of(const char *key) {
    buf name;
    buf_init(&name, 0);
    assert_true(redis_key(&name, "braid:", 'v', key, strlen(key)));
    unsigned slot = redis_slot(name.data, name.len);
    buf_free(&name);
    return slot;
}

/* The next key, from "k0" on, whose slot is on the side of the first or of the second node. */
static void key_on(int node, int *number, char key[16]) {
    do snprintf(key, 16, "k%d", (*number)++);
    while ((slot_of(key) >= 8192) != node);
}

static void what_is_moved_is_followed_to_the_other_node(void **state) {
    (void)state;
    server nodes[2];
    cluster_start(nodes);
    cache *c = must_open((remote_options){.address = nodes[0].address});
    enum { N = 60 };
    char keys[N][16], text[64];
    cache_lookup l[N];
    buf out;
    int number = 0;
    buf_init(&out, 0);
    for (int i = 0; i < N; i++) {
        key_on(i % 2, &number, keys[i]);
        put(c, keys[i], keys[i]);
        l[i] = (cache_lookup){.key = keys[i], .key_len = strlen(keys[i])};
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(get(c, keys[i], text, NULL), BRAID_OK);
        assert_string_equal(text, keys[i]);
    }
    assert_int_equal(cache_get_many(c, l, N, in_ms(2000), &out, NULL), BRAID_OK);
    for (int i = 0; i < N; i++)
        assert_true(l[i].found && l[i].len == strlen(keys[i]) && memcmp(out.data + l[i].at, keys[i], l[i].len) == 0);
    buf_free(&out);
    for (int i = 0; i < 2; i++) { /* both hold some of it */
        redisReply *r = raw(&nodes[i], "DBSIZE");
        assert_in_range(r->integer, N / 2, N);
        freeReplyObject(r);
    }
    assert_int_equal(cache_clear(c, NULL), BRAID_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(get(c, keys[i], text, NULL), BRAID_OK);
        assert_string_equal(text, "");
    }
    cache_close(c);
    server_end(&nodes[0]);
    server_end(&nodes[1]);
}

static void a_slot_on_its_way_is_asked_for_at_both_nodes_and_then_at_the_new_one(void **state) {
    (void)state;
    server nodes[2];
    char ids[2][64], text[64], key[16];
    int number = 0;
    cluster_start(nodes);
    cache *c = must_open((remote_options){.address = nodes[1].address});
    key_on(0, &number, key);
    unsigned slot = slot_of(key);
    for (int i = 0; i < 2; i++) node_id(&nodes[i], ids[i]);
    put(c, key, "before");
    raw_do(&nodes[1], "CLUSTER SETSLOT %u IMPORTING %s", slot, ids[0]);
    raw_do(&nodes[0], "CLUSTER SETSLOT %u MIGRATING %s", slot, ids[1]);
    assert_int_equal(get(c, key, text, NULL), BRAID_OK); /* still where it was */
    assert_string_equal(text, "before");
    buf name;
    buf_init(&name, 0);
    assert_true(redis_key(&name, "braid:", 'v', key, strlen(key)));
    raw_do(&nodes[0], "MIGRATE 127.0.0.1 %s %b 0 2000", nodes[1].port, name.data, name.len);
    buf_free(&name);
    assert_int_equal(get(c, key, text, NULL), BRAID_OK); /* gone over: ASK */
    assert_string_equal(text, "before");
    braid_error err = {0}; /* a script of several keys has to wait until all of them are there */
    assert_int_equal(cache_put(c, key, strlen(key), CACHE_FIXED, "meanwhile", 9, 60000, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "TRYAGAIN"));
    for (int i = 1; i >= 0; i--) raw_do(&nodes[i], "CLUSTER SETSLOT %u NODE %s", slot, ids[1]);
    put(c, key, "meanwhile");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(get(c, key, text, NULL), BRAID_OK); /* MOVED, once */
        assert_string_equal(text, "meanwhile");
    }
    cache_close(c);
    server_end(&nodes[0]);
    server_end(&nodes[1]);
}

int main(void) {
    atexit(end_running);
    signal(SIGPIPE, SIG_IGN); /* of the plain client; ours raises none */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_and_a_password_are_used_and_wrong_ones_told),
        cmocka_unit_test(tls_is_spoken_with_the_servers_authority_and_with_no_other),
        cmocka_unit_test(a_certificate_for_another_name_is_refused),
        cmocka_unit_test(tls_where_there_is_none_and_none_where_there_is_end_in_an_error),
        cmocka_unit_test(what_is_moved_is_followed_to_the_other_node),
        cmocka_unit_test(a_slot_on_its_way_is_asked_for_at_both_nodes_and_then_at_the_new_one),
    };
    return cmocka_run_group_tests_name("cache: redis secure", tests, NULL, NULL);
}
#endif
