/* The table of the graph store: opens and closes it, makes batches of inserts and removals, and hands the rest to its
 * files. hnsw.h holds the essay. */
#include <string.h>

#include "vector/hnsw.h"
#include "vector/stores.h"

static unsigned default_to(unsigned value, unsigned standard) {
    return value != 0 ? value : standard;
}

static void hnsw_close(void *self) {
    hnsw *h = self;
    hnsw_reset(h);
    for (uint32_t i = 0; i < h->chunks; i++) {
        free((void *)h->links0[i]);
        free(h->nodes[i]);
    }
    free(h->links0);
    free(h->nodes);
    h->scratch.query = NULL; /* lent by the slots */
    scratch_free(&h->scratch);
    slots_close(&h->s);
    pthread_mutex_destroy(&h->write_lock);
    free(h);
}

static int hnsw_open(const vector_options *options, void **self, braid_error *err) {
    *self = NULL;
    unsigned m = default_to(options->m, HNSW_M_DEFAULT);
    if (m < HNSW_M_MIN || m > HNSW_M_MAX) {
        return error_set(err, BRAID_E_INVALID, HNSW_STORE, "M = %u is not in %d..%d", m, HNSW_M_MIN, HNSW_M_MAX);
    }
    hnsw *h = calloc(1, sizeof *h);
    if (h == NULL) return error_set(err, BRAID_E_NO_MEMORY, HNSW_STORE, "memory ran out");
    int code = slots_open(&h->s, options, HNSW_STORE, (slots_hooks){hnsw_unlink, hnsw_release, h}, err);
    if (code != BRAID_OK) {
        free(h);
        return code;
    }
    h->m = m;
    h->m0 = 2 * m;
    h->ef_construction = default_to(options->ef_construction, HNSW_EF_CONSTRUCTION_DEFAULT);
    h->ef_search = default_to(options->ef_search, HNSW_EF_SEARCH_DEFAULT);
    h->seed = options->seed;
    h->root = h->orphan = SLOT_NONE;
    atomic_store(&h->entry, HNSW_NO_ENTRY);
    pthread_mutex_init(&h->write_lock, NULL);
    h->links0 = calloc(SLOTS_CHUNKS_MAX, sizeof *h->links0);
    h->nodes = calloc(SLOTS_CHUNKS_MAX, sizeof *h->nodes);
    if (h->links0 == NULL || h->nodes == NULL) {
        hnsw_close(h);
        return error_set(err, BRAID_E_NO_MEMORY, HNSW_STORE, "memory ran out");
    }
    *self = h;
    return BRAID_OK;
}

void hnsw_reset(hnsw *h) {
    for (uint32_t slot = 0; slot < h->chunks * (uint32_t)SLOTS_CHUNK; slot++) hnsw_release(h, slot);
    slots_clear(&h->s);
    atomic_store(&h->entry, HNSW_NO_ENTRY);
    h->root = h->orphan = SLOT_NONE;
    h->ranks = h->linked = 0;
}

/* ---- writing ---- */

static int upsert_all(hnsw *h, const vector_entry *entries, size_t n, braid_error *err) {
    int code = slots_reserve(&h->s, entries, n, HNSW_STORE, err);
    if (code != BRAID_OK) return code;
    bool done = hnsw_grow(h, h->s.allocated);
    slots_begin(&h->s);
    for (size_t i = 0; done && i < n; i++) {
        uint32_t slot = slots_put(&h->s, &entries[i]);
        done = slot == SLOT_NONE || hnsw_insert(h, slot);
    }
    if (done) {
        slots_commit(&h->s);
        return BRAID_OK;
    }
    slots_abort(&h->s);
    return error_set(err, BRAID_E_NO_MEMORY, HNSW_STORE, "memory ran out while inserting %zu vectors", n);
}

static int hnsw_upsert(void *self, const vector_entry *entries, size_t n, braid_error *err) {
    hnsw *h = self;
    pthread_mutex_lock(&h->write_lock);
    slots_reclaim(&h->s, false);
    int code = upsert_all(h, entries, n, err);
    slots_reclaim(&h->s, false);
    pthread_mutex_unlock(&h->write_lock);
    return code;
}

static int hnsw_remove(void *self, const uint32_t *nums, size_t n, braid_error *err) {
    hnsw *h = self;
    pthread_mutex_lock(&h->write_lock);
    slots_reclaim(&h->s, false);
    int code = slots_reserve_kills(&h->s, n, HNSW_STORE, err);
    if (code == BRAID_OK) {
        slots_begin(&h->s);
        for (size_t i = 0; i < n; i++) slots_kill(&h->s, nums[i]);
        slots_commit(&h->s);
        slots_reclaim(&h->s, false);
    }
    pthread_mutex_unlock(&h->write_lock);
    return code;
}

static int hnsw_clear(void *self, braid_error *err) {
    hnsw *h = self;
    pthread_mutex_lock(&h->write_lock);
    int code = slots_kill_all(&h->s, HNSW_STORE, err);
    pthread_mutex_unlock(&h->write_lock);
    return code;
}

/* ---- the rest of the table ---- */

static int hnsw_search_op(void *self, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                          braid_error *err) {
    return hnsw_search(self, q, out, count, stats, err);
}

static int hnsw_fetch(void *self, uint32_t num, deadline until, float *out, braid_error *err) {
    (void)until;
    hnsw *h = self;
    return slots_fetch(&h->s, num, out, HNSW_STORE, err);
}

static int hnsw_fetch_many(void *self, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                           braid_error *err) {
    (void)until, (void)err;
    hnsw *h = self;
    slots_fetch_many(&h->s, nums, n, out, found);
    return BRAID_OK;
}

static int hnsw_score(void *self, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                      braid_error *err) {
    (void)until;
    hnsw *h = self;
    return slots_score(&h->s, query, nums, n, out, HNSW_STORE, err);
}

static void hnsw_estimate_op(void *self, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out) {
    hnsw_estimate(self, k, ef, allow_count, filtered, out);
}

static int hnsw_scan(void *self, vector_scan_fn *each, void *ctx, braid_error *err) {
    hnsw *h = self;
    return slots_scan(&h->s, each, ctx, err);
}

static int hnsw_check_op(void *self, vector_check_report *out, braid_error *err) {
    hnsw *h = self;
    pthread_mutex_lock(&h->write_lock);
    bool enough = hnsw_check(h, out);
    pthread_mutex_unlock(&h->write_lock);
    return enough ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, HNSW_STORE, "no memory to check the graph");
}

static void hnsw_info(void *self, vector_info *out) {
    hnsw *h = self;
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
    uint64_t used = atomic_load_explicit(&h->s.used, memory_order_relaxed);
    out->count = atomic_load_explicit(&h->s.count, memory_order_relaxed);
    out->deleted = atomic_load_explicit(&h->s.waiting, memory_order_relaxed);
    /* Links, in-links (as many, in arrays that double) and the node; upper levels are a few per cent. */
    out->bytes = sizeof *h + slots_bytes(&h->s) + used * (sizeof(hnsw_node) + 2 * h->m0 * sizeof(uint32_t));
    out->max_level = entry == HNSW_NO_ENTRY ? 0 : entry >> 32;
    out->kernel = h->s.kernel->name;
}

static int hnsw_save_op(void *self, const char *path, uint64_t epoch, uint64_t lsn, braid_error *err) {
    hnsw *h = self;
    pthread_mutex_lock(&h->write_lock);
    int code = hnsw_save(h, path, epoch, lsn, err);
    pthread_mutex_unlock(&h->write_lock);
    return code;
}

static int hnsw_load_op(void *self, const char *path, uint64_t epoch, uint64_t *lsn, braid_error *err) {
    hnsw *h = self;
    pthread_mutex_lock(&h->write_lock);
    int code = hnsw_load(h, path, epoch, lsn, err);
    pthread_mutex_unlock(&h->write_lock);
    return code;
}

const vector_ops vector_hnsw = {
    .version = 1,
    .name = "hnsw",
    .caps = VECTOR_CAP_ALLOW | VECTOR_CAP_SNAPSHOT,
    .open = hnsw_open,
    .close = hnsw_close,
    .upsert = hnsw_upsert,
    .remove = hnsw_remove,
    .search = hnsw_search_op,
    .fetch = hnsw_fetch,
    .fetch_many = hnsw_fetch_many,
    .score = hnsw_score,
    .estimate = hnsw_estimate_op,
    .scan = hnsw_scan,
    .clear = hnsw_clear,
    .check = hnsw_check_op,
    .info = hnsw_info,
    .save = hnsw_save_op,
    .load = hnsw_load_op,
};
