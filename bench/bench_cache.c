/* bench_cache: what a call to the cache costs, beside hiredis' own blocking client on the same server and values.
 *
 *     bench_cache HOST:PORT [CALLS] [BYTES] [THREADS]      default 20,000 calls of each kind, 1,000 bytes, 1 thread
 *
 * One JSON line a figure: microseconds at the 50th and 99th percentile. hiredis here is the least that could be
 * written by hand: one connection a thread, no deadline, no pool, no versions. Each thread alternates between the
 * two, so that both see the same machine. */
#include <stdio.h>
#include <stdlib.h>

#ifndef BRAID_HAVE_REDIS
int main(void) {
    fprintf(stderr, "bench_cache: built without hiredis\n");
    return 0;
}
#else

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <string.h>

#include "cache/cache.h"

enum { KINDS = 7, KEYS = 1000, MGET = 4, THREADS_MAX = 64 };
static const char *const names[KINDS] = {"get",         "get_many 4",     "put",        "invalidate",
                                         "hiredis GET", "hiredis MGET 4", "hiredis SET"};

typedef struct worker {
    cache *c;
    redisContext *raw;
    const char *value;
    size_t len, calls;
    uint64_t seed;
    double *us[KINDS];
} worker;

static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_cache: %s: %s\n", what, why);
    exit(1);
}

static void check(int rc, const braid_error *err) {
    if (rc != BRAID_OK) die("cache", err->message);
}

static void check_raw(worker *w, redisReply *r) {
    if (r == NULL || r->type == REDIS_REPLY_ERROR) die("hiredis", r != NULL ? r->str : w->raw->errstr);
    freeReplyObject(r);
}

static void call(worker *w, int kind, const char *keys[MGET], buf *out) {
    braid_error err = {0};
    cache_lookup l[MGET];
    bool found;
    deadline until = clock_mono_ns(&clock_system) + INT64_C(1000000000);
    buf_reset(out);
    switch (kind) {
    case 0: check(cache_get(w->c, keys[0], strlen(keys[0]), 0, until, out, NULL, &found, &err), &err); break;
    case 1:
        for (int i = 0; i < MGET; i++) l[i] = (cache_lookup){.key = keys[i], .key_len = strlen(keys[i])};
        check(cache_get_many(w->c, l, MGET, until, out, &err), &err);
        break;
    case 2:
        check(cache_put_until(w->c, keys[0], strlen(keys[0]), 1, w->value, w->len, 600000, until, &err), &err);
        break;
    case 3: check(cache_invalidate(w->c, "never there", 11, 1, &err), &err); break;
    case 4: check_raw(w, redisCommand(w->raw, "GET raw-%s", keys[0])); break;
    case 5:
        check_raw(w, redisCommand(w->raw, "MGET raw-%s raw-%s raw-%s raw-%s", keys[0], keys[1], keys[2], keys[3]));
        break;
    default: check_raw(w, redisCommand(w->raw, "SET raw-%s %b EX 600", keys[0], w->value, w->len)); break;
    }
}

static void *work(void *arg) {
    worker *w = arg;
    rng random;
    char text[MGET][24];
    const char *keys[MGET];
    buf out;
    rng_seed(&random, w->seed);
    buf_init(&out, 0);
    for (size_t i = 0; i < w->calls; i++) {
        for (int k = 0; k < MGET; k++) {
            snprintf(text[k], sizeof text[k], "bench-%d", (int)rng_below(&random, KEYS));
            keys[k] = text[k];
        }
        for (int kind = 0; kind < KINDS; kind++) {
            int64_t begun = clock_mono_ns(&clock_system);
            call(w, kind, keys, &out);
            w->us[kind][i] = (double)(clock_mono_ns(&clock_system) - begun) / 1000.0;
        }
    }
    buf_free(&out);
    return NULL;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 2) die("usage", "bench_cache HOST:PORT [CALLS] [BYTES] [THREADS]");
    size_t calls = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000, len = argc > 3 ? strtoul(argv[3], NULL, 10) : 1000;
    size_t threads = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
    char host[64], *value = malloc(len + 1);
    unsigned port;
    if (!remote_split(argv[1], host, sizeof host, &port)) die(argv[1], "is not HOST:PORT");
    if (value == NULL || calls == 0 || threads == 0 || threads > THREADS_MAX) die("arguments", "out of range");
    memset(value, 'v', len);
    remote_options r = {.address = argv[1], .database = "bench:", .connections = THREADS_MAX, .timeout_ms = 1000};
    cache_options o = {.remote = &r, .clock = &clock_system};
    cache *c;
    braid_error err = {0};
    check(cache_open(cache_find("redis"), &o, &c, &err), &err);
    worker w[THREADS_MAX] = {{0}};
    pthread_t ids[THREADS_MAX];
    double *all = malloc(KINDS * calls * threads * sizeof *all);
    if (all == NULL) die("memory", "too many calls");
    for (size_t t = 0; t < threads; t++) {
        w[t] = (worker){
            .c = c, .raw = redisConnect(host, (int)port), .value = value, .len = len, .calls = calls, .seed = t + 1};
        if (w[t].raw->err) die("hiredis", w[t].raw->errstr);
        for (int k = 0; k < KINDS; k++) w[t].us[k] = all + ((size_t)k * threads + t) * calls;
    }
    char key[24];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "bench-%d", i);
        check(cache_put(c, key, strlen(key), 1, value, len, 600000, &err), &err);
        check_raw(&w[0], redisCommand(w[0].raw, "SET raw-%s %b EX 600", key, value, len));
    }
    for (size_t t = 0; t < threads; t++) pthread_create(&ids[t], NULL, work, &w[t]);
    for (size_t t = 0; t < threads; t++) pthread_join(ids[t], NULL);
    for (int k = 0; k < KINDS; k++) {
        double *us = all + (size_t)k * threads * calls;
        size_t n = threads * calls;
        qsort(us, n, sizeof *us, by_size);
        printf("{\"call\":\"%s\",\"bytes\":%zu,\"threads\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", names[k], len,
               threads, us[n / 2], us[n * 99 / 100]);
    }
    check(cache_clear(c, &err), &err);
    cache_close(c);
    for (int i = 0; i < KEYS; i++) {
        redisReply *gone = redisCommand(w[0].raw, "DEL raw-bench-%d", i);
        if (gone != NULL) freeReplyObject(gone);
    }
    for (size_t t = 0; t < threads; t++) redisFree(w[t].raw);
    free(all);
    free(value);
    return 0;
}
#endif
