/* flat: the exact store. A search looks at every vector of the set (exact.c), so its answers are right by
 * construction: the oracle of tests and of recall measurements, and the better store for a few thousand items. All
 * sharing of memory between threads is in slots. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vector/meter.h"
#include "vector/slots.h"
#include "vector/stores.h"

#define STORE "vector/flat"

typedef struct flat {
    slots s;
    /* there is one feed thread; the lock also keeps check apart from it. Searches never take it. */
    pthread_mutex_t write_lock;
    meter row_ns;
} flat;

static int flat_open(const vector_options *options, void **self, braid_error *err) {
    *self = NULL;
    flat *f = calloc(1, sizeof *f);
    if (f == NULL) return error_set(err, BRAID_E_NO_MEMORY, STORE, "memory ran out");
    int code = slots_open(&f->s, options, STORE, (slots_hooks){NULL, NULL, NULL}, err);
    if (code != BRAID_OK) {
        free(f);
        return code;
    }
    pthread_mutex_init(&f->write_lock, NULL);
    *self = f;
    return BRAID_OK;
}

static void flat_close(void *self) {
    flat *f = self;
    slots_close(&f->s);
    pthread_mutex_destroy(&f->write_lock);
    free(f);
}

static int flat_upsert(void *self, const vector_entry *entries, size_t n, braid_error *err) {
    flat *f = self;
    pthread_mutex_lock(&f->write_lock);
    slots_reclaim(&f->s, false);
    int code = slots_reserve(&f->s, entries, n, STORE, err);
    if (code == BRAID_OK) {
        slots_begin(&f->s);
        for (size_t i = 0; i < n; i++) slots_put(&f->s, &entries[i]);
        slots_commit(&f->s);
        slots_reclaim(&f->s, false);
    }
    pthread_mutex_unlock(&f->write_lock);
    return code;
}

static int flat_remove(void *self, const uint32_t *nums, size_t n, braid_error *err) {
    flat *f = self;
    pthread_mutex_lock(&f->write_lock);
    slots_reclaim(&f->s, false);
    int code = slots_reserve_kills(&f->s, n, STORE, err);
    if (code == BRAID_OK) {
        slots_begin(&f->s);
        for (size_t i = 0; i < n; i++) slots_kill(&f->s, nums[i]);
        slots_commit(&f->s);
        slots_reclaim(&f->s, false);
    }
    pthread_mutex_unlock(&f->write_lock);
    return code;
}

static int flat_clear(void *self, braid_error *err) {
    flat *f = self;
    pthread_mutex_lock(&f->write_lock);
    int code = slots_kill_all(&f->s, STORE, err);
    pthread_mutex_unlock(&f->write_lock);
    return code;
}

static int flat_search(void *self, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                       braid_error *err) {
    flat *f = self;
    exact_request rq = {.k = q->k, .allow = q->allow, .allow_count = q->allow_count, .until = q->until};
    int64_t start = clock_mono_ns(f->s.clock);
    reader *r = slots_enter(&f->s, &rq.epoch);
    int code = slots_query(&f->s, &r->scratch, q->values, STORE, err);
    if (code == BRAID_OK) {
        code = exact_search(&f->s, &r->scratch, &rq, stats);
        if (code == BRAID_OK)
            *count = exact_answer(&f->s, &r->scratch, q->k, out);
        else
            error_set(err, code, STORE, "memory ran out");
    }
    slots_leave(r);
    if (stats->distances > 0) meter_add(&f->row_ns, stats->distances, (uint64_t)(clock_mono_ns(f->s.clock) - start));
    return code;
}

static int flat_fetch(void *self, uint32_t num, deadline until, float *out, braid_error *err) {
    (void)until;
    flat *f = self;
    return slots_fetch(&f->s, num, out, STORE, err);
}

static int flat_fetch_many(void *self, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                           braid_error *err) {
    (void)until, (void)err;
    flat *f = self;
    slots_fetch_many(&f->s, nums, n, out, found);
    return BRAID_OK;
}

static int flat_score(void *self, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                      braid_error *err) {
    (void)until;
    flat *f = self;
    return slots_score(&f->s, query, nums, n, out, STORE, err);
}

static void flat_estimate(void *self, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out) {
    flat *f = self;
    (void)ef;
    uint64_t count = atomic_load_explicit(&f->s.count, memory_order_relaxed);
    uint64_t seen = filtered && allow_count < count ? allow_count : count;
    double row_ns = meter_unit(&f->row_ns, 1000, 2.0 + f->s.dim / 16.0);
    *out = (vector_cost){
        .microseconds = 1.0 + (double)seen * row_ns / 1000.0, .rows = (double)(seen < k ? seen : k), .method = "exact"};
}

static int flat_scan(void *self, vector_scan_fn *each, void *ctx, braid_error *err) {
    flat *f = self;
    return slots_scan(&f->s, each, ctx, err);
}

static int flat_check(void *self, vector_check_report *out, braid_error *err) {
    flat *f = self;
    (void)err;
    pthread_mutex_lock(&f->write_lock);
    slots_check(&f->s, out);
    pthread_mutex_unlock(&f->write_lock);
    return BRAID_OK;
}

static void flat_info(void *self, vector_info *out) {
    flat *f = self;
    out->count = atomic_load_explicit(&f->s.count, memory_order_relaxed);
    out->deleted = atomic_load_explicit(&f->s.waiting, memory_order_relaxed);
    out->bytes = sizeof *f + slots_bytes(&f->s);
    out->kernel = f->s.kernel->name;
}

const vector_ops vector_flat = {
    .version = 1,
    .name = "flat",
    .caps = VECTOR_CAP_ALLOW | VECTOR_CAP_EXACT,
    .open = flat_open,
    .close = flat_close,
    .upsert = flat_upsert,
    .remove = flat_remove,
    .search = flat_search,
    .fetch = flat_fetch,
    .fetch_many = flat_fetch_many,
    .score = flat_score,
    .estimate = flat_estimate,
    .scan = flat_scan,
    .clear = flat_clear,
    .check = flat_check,
    .info = flat_info,
};
