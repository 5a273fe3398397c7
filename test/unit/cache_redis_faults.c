/* cache: Redis, with a proxy in between that misbehaves (BRAID_TEST_REDIS and BRAID_TEST_TOXIPROXY). Whatever happens
 * on the way, a get is in time, an error is a miss, no value is another's, and hits come back.
 *
 * Lateness is measured against what the machine itself held up at that time: a thread that only sleeps notes by how
 * much it overslept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#ifndef BRAID_HAVE_REDIS
int main(void) {
    printf("cache: redis faults skipped: built without hiredis\n");
    return 0;
}
#else

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/cache_redis.h"
#include "test/support/toxiproxy.h"

enum { SLACK_MS = 50 };

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

/* ---- what the machine holds up ---- */

typedef struct hiccups {
    pthread_t thread;
    atomic_bool stop;
    atomic_int_least64_t worst_ms;
} hiccups;

static void *hiccups_run(void *arg) {
    hiccups *h = arg;
    while (!h->stop) {
        int64_t begun = clock_mono_ns(&clock_system);
        sleep_ms(2);
        int64_t over = elapsed_ms(begun) - 2;
        if (over > h->worst_ms) h->worst_ms = over;
    }
    return NULL;
}

static void hiccups_begin(hiccups *h) {
    h->stop = false;
    h->worst_ms = 0;
    assert_int_equal(pthread_create(&h->thread, NULL, hiccups_run, h), 0);
}

static int64_t hiccups_end(hiccups *h) {
    h->stop = true;
    pthread_join(h->thread, NULL);
    return h->worst_ms;
}

/* ---- a cache behind a proxy ---- */

typedef struct place {
    toxiproxy proxy;
    char prefix[48];
    cache *c;
} place;

static void place_open(place *p, const cache_ops *ops, unsigned connections) {
    static int number;
    if (getenv("BRAID_TEST_REDIS") == NULL || !toxiproxy_there()) {
        print_message("skipped: BRAID_TEST_REDIS or BRAID_TEST_TOXIPROXY is not set\n");
        skip();
    }
    assert_true(toxiproxy_create(&p->proxy, "braid-redis", getenv("BRAID_TEST_REDIS")));
    snprintf(p->prefix, sizeof p->prefix, "faults-%d-%d:", (int)getpid(), number++);
    remote_options r = {.address = p->proxy.address,
                        .database = p->prefix,
                        .connections = connections,
                        .timeout_ms = 1000,
                        .retries = 1};
    cache_options o = {.remote = &r, .clock = &clock_system};
    braid_error err = {0};
    if (cache_open(ops, &o, &p->c, &err) != BRAID_OK) fail_msg("%s", err.message);
}

static void place_close(place *p) {
    toxiproxy_heal(&p->proxy);
    cache_clear(p->c, NULL);
    cache_close(p->c);
    toxiproxy_delete(&p->proxy);
}

static int get(cache *c, const char *key, deadline until, char text[64], braid_error *err) {
    buf out;
    bool found;
    buf_init(&out, 0);
    int rc = cache_get(c, key, strlen(key), 0, until, &out, NULL, &found, err);
    if (found && rc != BRAID_OK) rc = BRAID_E_INTERNAL; /* an error is a miss: both at once is neither */
    snprintf(text, 64, "%s", found ? out.data : "");
    buf_free(&out);
    return rc;
}

static bool put(cache *c, const char *key, uint64_t version, const char *value, deadline until) {
    return cache_put_until(c, key, strlen(key), version, value, strlen(value), 60000, until, NULL) == BRAID_OK;
}

/* ---- R13: F1 to F19 ---- */

enum { FAULT_MS = 600, GET_MS = 100, READERS = 3, HEAL_MS = 10000 };

typedef struct readers {
    cache *c;
    atomic_bool stop;
    atomic_int calls, hits, errors, wrong, broken;
    atomic_int_least64_t worst_ms;
} readers;

static void *reader_run(void *arg) {
    readers *r = arg;
    char text[64];
    while (!r->stop) {
        int64_t begun = clock_mono_ns(&clock_system);
        int rc = get(r->c, "k", in_ms(GET_MS), text, NULL);
        int64_t took = elapsed_ms(begun);
        if (took > r->worst_ms) r->worst_ms = took;
        r->calls++;
        r->hits += text[0] != '\0';
        r->errors += rc != BRAID_OK;
        r->broken += rc == BRAID_E_INTERNAL;
        r->wrong += text[0] != '\0' && strcmp(text, "the value") != 0;
        sleep_ms(2);
    }
    return NULL;
}

/* One fault: hits before, nothing late or wrong during, hits after. */
static void suffer(const toxiproxy_fault *fault) {
    place p = {0};
    char text[64];
    place_open(&p, &cache_redis_ops, 4);
    readers r = {.c = p.c};
    hiccups h = {0};
    pthread_t threads[READERS];
    assert_true(put(p.c, "k", CACHE_FIXED, "the value", 0));
    assert_int_equal(get(p.c, "k", in_ms(1000), text, NULL), BRAID_OK);
    assert_string_equal(text, "the value");
    assert_true(toxiproxy_inflict(&p.proxy, fault));
    hiccups_begin(&h);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, reader_run, &r), 0);
    sleep_ms(FAULT_MS);
    r.stop = true;
    for (int i = 0; i < READERS; i++) pthread_join(threads[i], NULL);
    int64_t machine = hiccups_end(&h);
    assert_true(toxiproxy_heal(&p.proxy));
    int64_t begun = clock_mono_ns(&clock_system);
    while ((get(p.c, "k", in_ms(GET_MS), text, NULL) != BRAID_OK || text[0] == '\0') && elapsed_ms(begun) < HEAL_MS)
        sleep_ms(5);
    print_message(
        "%-30s %5d gets, %5d hits, %5d errors, the longest %lld ms (the machine %lld), hits again after %lld ms\n",
        fault->name, (int)r.calls, (int)r.hits, (int)r.errors, (long long)r.worst_ms, (long long)machine,
        (long long)elapsed_ms(begun));
    assert_true(r.calls > 0);
    assert_int_equal(r.wrong, 0);
    assert_int_equal(r.broken, 0);
    assert_true(r.worst_ms <= GET_MS + SLACK_MS + machine);
    assert_true(elapsed_ms(begun) < HEAL_MS);
    assert_string_equal(text, "the value");
    place_close(&p);
}

static void in_each_fault_a_get_is_in_time_and_an_error_is_a_miss(void **state) {
    (void)state;
    for (size_t i = 0; i < TOXIPROXY_FAULTS; i++) suffer(toxiproxy_fault_at(i));
}

/* An invalidation during the fault holds after it, also against what the server still has. */
static void an_invalidation_during_a_fault_is_never_lost(void **state) {
    (void)state;
    place p = {0};
    char text[64];
    place_open(&p, &cache_redis_ops, 4);
    assert_true(put(p.c, "k", 5, "five", 0));
    assert_int_equal(get(p.c, "k", in_ms(1000), text, NULL), BRAID_OK);
    assert_string_equal(text, "five");
    assert_true(toxiproxy_enable(&p.proxy, false));
    assert_int_not_equal(cache_invalidate(p.c, "k", 1, 7, NULL), BRAID_OK);
    assert_true(toxiproxy_heal(&p.proxy));
    int64_t begun = clock_mono_ns(&clock_system);
    while (get(p.c, "k", in_ms(GET_MS), text, NULL) != BRAID_OK && elapsed_ms(begun) < HEAL_MS) {
        assert_string_equal(text, "");
        sleep_ms(5);
    }
    assert_true(elapsed_ms(begun) < HEAL_MS);
    for (int i = 0; i < 20; i++) {
        put(p.c, "k", 5, "five", 0);
        assert_int_equal(get(p.c, "k", in_ms(1000), text, NULL), BRAID_OK);
        assert_string_equal(text, "");
        sleep_ms(5);
    }
    place_close(&p);
}

/* ---- R14: whose reply is it? ---- */

enum {
    OWNERS = 64,
    OWNED_CALLS = 10000,
    IMPATIENT_MS = 4, /* every second call: its reply takes ten */
    PATIENT_MS = 2000,
    OWNED_LIMIT_MS = 120000,
    CANARIES = 8,
    CANARY_CALLS = 60,
    CANARY_MS = 30
};

typedef struct owners {
    cache *c;
    const char *address, *prefix;
    atomic_int numbers, right, late, wrong, other;
    int64_t begun;
} owners;

static void *owner_run(void *arg) {
    owners *o = arg;
    char key[32], text[64];
    snprintf(key, sizeof key, "user-%d", ++o->numbers);
    for (int i = 0; o->right + o->late < OWNED_CALLS && elapsed_ms(o->begun) < OWNED_LIMIT_MS; i++) {
        int rc = get(o->c, key, in_ms(i % 2 ? IMPATIENT_MS : PATIENT_MS), text, NULL);
        o->right += rc == BRAID_OK && strcmp(text, key) == 0;
        o->late += rc == BRAID_E_DEADLINE;
        o->other += rc != BRAID_OK && rc != BRAID_E_DEADLINE;
        o->wrong += (rc == BRAID_OK || text[0] != '\0') && strcmp(text, key) != 0;
        if (rc != BRAID_OK) sleep_ms(1);
    }
    return NULL;
}

/* What people do: the connection is used again after its time-out. */
static void *canary_run(void *arg) {
    owners *o = arg;
    char host[64], key[32];
    int me = ++o->numbers;
    snprintf(host, sizeof host, "%.*s", (int)strcspn(o->address, ":"), o->address);
    redisContext *c = redisConnectWithTimeout(host, atoi(strchr(o->address, ':') + 1), (struct timeval){.tv_sec = 2});
    if (c == NULL || c->err != 0) {
        redisFree(c);
        return NULL;
    }
    redisSetTimeout(c, (struct timeval){.tv_usec = CANARY_MS * 1000});
    for (int i = 0; i < CANARY_CALLS; i++) {
        snprintf(key, sizeof key, "user-%d-%d", me, i);
        redisReply *r = redisCommand(c, "ECHO %s", key);
        o->late += r == NULL;
        o->right += r != NULL && r->type == REDIS_REPLY_STRING && strcmp(r->str, key) == 0;
        o->wrong += r != NULL && r->type == REDIS_REPLY_STRING && strcmp(r->str, key) != 0;
        if (r != NULL) freeReplyObject(r);
        c->err = 0; /* "it was only a time-out" */
        c->errstr[0] = '\0';
        c->reader->err = 0;
    }
    redisFree(c);
    return NULL;
}

static void run_owners(owners *o, void *(*run)(void *), int n) {
    pthread_t threads[OWNERS];
    o->begun = clock_mono_ns(&clock_system);
    for (int i = 0; i < n; i++) assert_int_equal(pthread_create(&threads[i], NULL, run, o), 0);
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
}

static void a_late_reply_never_reaches_another_user(void **state) {
    (void)state;
    place p = {0};
    cache_ops unbroken = cache_redis_ops;
    unbroken.caps = 0; /* the forwarder then has no breaker, which would spare the server most of it */
    place_open(&p, &unbroken, OWNERS);
    for (int i = 1; i <= OWNERS; i++) {
        char key[32];
        snprintf(key, sizeof key, "user-%d", i);
        assert_true(put(p.c, key, CACHE_FIXED, key, 0));
    }
    owners o = {.c = p.c}, canary = {.address = p.proxy.address};
    assert_true(toxiproxy_toxic(&p.proxy, "latency", false, 1.0, "\"latency\":10"));
    run_owners(&o, owner_run, OWNERS);
    print_message("%d right, %d late, %d not connected, %d wrong\n", (int)o.right, (int)o.late, (int)o.other,
                  (int)o.wrong);
    assert_int_equal(o.wrong, 0);
    assert_true(o.right + o.late >= OWNED_CALLS);
    assert_true(o.right > OWNED_CALLS / 5 && o.late > OWNED_CALLS / 5);
    assert_true(toxiproxy_toxic(&p.proxy, "latency", false, 1.0, "\"latency\":20,\"jitter\":20"));
    run_owners(&canary, canary_run, CANARIES);
    print_message("the canary: %d right, %d late, %d wrong\n", (int)canary.right, (int)canary.late, (int)canary.wrong);
    assert_true(canary.wrong > 0);
    place_close(&p);
}

/* ---- R15: the breaker ---- */

enum { BREAKER_THREADS = 8, BREAKER_FAULT_MS = 3000, BREAKER_VOLUME = 5, BREAKER_PROBES_MAX = 4, OPEN_MS_MAX = 4000 };

static struct counted { /* what gets past the breaker */
    cache *_Atomic c;
    atomic_int calls, probing, most_probing;
} counted;

static int counted_get(void *self, const void *key, size_t key_len, uint64_t min_version, deadline until, buf *out,
                       uint64_t *version, bool *found, braid_error *err) {
    cache *c = counted.c;
    bool probe = c != NULL && cache_breaker(c, false) == BREAKER_HALF_OPEN;
    counted.calls++;
    if (probe) {
        int now = ++counted.probing, most = counted.most_probing;
        while (now > most && !atomic_compare_exchange_weak(&counted.most_probing, &most, now)) {}
    }
    int rc = cache_redis_ops.get(self, key, key_len, min_version, until, out, version, found, err);
    counted.probing -= probe;
    return rc;
}

static void the_breaker_spares_a_server_that_does_not_answer_and_closes_soon_after(void **state) {
    (void)state;
    place p = {0};
    cache_ops ops = cache_redis_ops;
    char text[64];
    ops.get = counted_get;
    place_open(&p, &ops, 8);
    counted.c = p.c;
    assert_true(put(p.c, "k", CACHE_FIXED, "the value", 0));
    assert_int_equal(get(p.c, "k", in_ms(1000), text, NULL), BRAID_OK);
    for (int i = 0; i < 1000; i++) { /* what a caller does wrong */
        bool found;
        buf out;
        buf_init(&out, 0);
        assert_int_equal(cache_get(p.c, "k", 0, 0, 0, &out, NULL, &found, NULL), BRAID_E_INVALID);
        buf_free(&out);
    }
    assert_int_equal(cache_breaker(p.c, false), BREAKER_CLOSED);
    assert_true(toxiproxy_toxic(&p.proxy, "timeout", false, 1.0, "\"timeout\":0")); /* probes hang as well */
    readers r = {.c = p.c};
    pthread_t threads[BREAKER_THREADS];
    counted.calls = 0;
    for (int i = 0; i < BREAKER_THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, reader_run, &r), 0);
    sleep_ms(BREAKER_FAULT_MS);
    int reached = counted.calls, tried = r.calls;
    assert_true(toxiproxy_heal(&p.proxy));
    int64_t begun = clock_mono_ns(&clock_system);
    while (cache_breaker(p.c, false) != BREAKER_CLOSED && elapsed_ms(begun) < 2 * OPEN_MS_MAX) sleep_ms(5);
    int64_t closed = elapsed_ms(begun);
    r.stop = true;
    for (int i = 0; i < BREAKER_THREADS; i++) pthread_join(threads[i], NULL);
    counted.c = NULL;
    print_message("%d tried, %d reached the server, at most %d probed at once; closed %lld ms after it was healed\n",
                  tried, reached, (int)counted.most_probing, (long long)closed);
    assert_true(tried > 100);
    assert_in_range(reached, BREAKER_VOLUME, BREAKER_VOLUME + BREAKER_THREADS + BREAKER_PROBES_MAX);
    assert_int_equal(counted.most_probing, 1);
    assert_in_range(closed, 0, OPEN_MS_MAX + 1000);
    assert_int_equal(r.wrong, 0);
    place_close(&p);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); /* of the plain client; ours raises none */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_each_fault_a_get_is_in_time_and_an_error_is_a_miss),
        cmocka_unit_test(an_invalidation_during_a_fault_is_never_lost),
        cmocka_unit_test(a_late_reply_never_reaches_another_user),
        cmocka_unit_test(the_breaker_spares_a_server_that_does_not_answer_and_closes_soon_after),
    };
    return cmocka_run_group_tests_name("cache: redis faults", tests, NULL, NULL);
}
#endif
