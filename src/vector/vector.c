/* The thin forwarder in front of every vector store, and the list of the stores that are compiled in.
 *
 * What holds for all stores is done once, here: arguments are checked, an expired deadline is answered without
 * asking, every call is timed into the metrics. A store's file then holds only its own work. A new store is one file
 * and one row of vector_rows. */
#include "vector/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector/stores.h"

enum { VECTOR_K_MAX = 100000 };

static const vector_ops *const vector_rows[] = {&vector_hnsw, &vector_flat};

struct vector_store {
    const vector_ops *ops;
    void *self;
    uint32_t dim;
    const clock_ops *clock;
    metric_histogram *search_us, *upsert_us, *remove_us, *fetch_us, *score_us, *save_us, *load_us;
    metric_counter *distances, *errors, *deadlines;
};

const vector_ops *vector_registry(size_t i) {
    return i < sizeof vector_rows / sizeof vector_rows[0] ? vector_rows[i] : NULL;
}

const vector_ops *vector_find(const char *name) {
    const vector_ops *ops;
    for (size_t i = 0; (ops = vector_registry(i)) != NULL; i++) {
        if (strcmp(ops->name, name) == 0) return ops;
    }
    return NULL;
}

/* The sum of squares is taken in double, so that neither huge nor tiny values leave its range. */
bool vector_normalise(float *values, uint32_t dim) {
    double sum = 0;
    for (uint32_t i = 0; i < dim; i++) sum += (double)values[i] * values[i];
    if (!isfinite(sum) || sum <= 0) return false;
    double scale = 1.0 / sqrt(sum);
    for (uint32_t i = 0; i < dim; i++) values[i] = (float)(values[i] * scale);
    return true;
}

static void register_metrics(vector_store *s, metrics *m) {
    char labels[64] = "";
    buf b;
    buf_init(&b, sizeof labels);
    if (buf_printf(&b, "store=\"%s\"", s->ops->name)) memcpy(labels, b.data, b.len + 1);
    buf_free(&b);
    s->search_us = metrics_histogram(m, "vector_search_duration_seconds", labels, "Time of a nearest-neighbour query.");
    s->upsert_us = metrics_histogram(m, "vector_upsert_duration_seconds", labels, "Time of a batch of upserts.");
    s->remove_us = metrics_histogram(m, "vector_remove_duration_seconds", labels, "Time of a batch of removals.");
    s->fetch_us = metrics_histogram(m, "vector_fetch_duration_seconds", labels, "Time to copy one vector.");
    s->score_us = metrics_histogram(m, "vector_score_duration_seconds", labels, "Time to score given items.");
    s->save_us = metrics_histogram(m, "vector_save_duration_seconds", labels, "Time to save a snapshot.");
    s->load_us = metrics_histogram(m, "vector_load_duration_seconds", labels, "Time to load a snapshot.");
    s->distances = metrics_counter(m, "vector_distances", labels, "Vectors compared with a query.");
    s->errors = metrics_counter(m, "vector_errors", labels, "Calls that failed.");
    s->deadlines = metrics_counter(m, "vector_deadlines", labels, "Searches that a deadline cut short.");
}

int vector_open(const vector_ops *ops, const vector_options *options, vector_store **out, braid_error *err) {
    *out = NULL;
    BRAID_ASSERT(ops != NULL && ops->version == 1);
    vector_store *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(err, BRAID_E_NO_MEMORY, "vector", "memory ran out");
    s->ops = ops;
    s->dim = options->dim;
    s->clock = options->clock != NULL ? options->clock : &clock_system;
    int code = ops->open(options, &s->self, err);
    if (code != BRAID_OK) {
        free(s);
        return code;
    }
    if (options->metrics != NULL) register_metrics(s, options->metrics);
    *out = s;
    return BRAID_OK;
}

void vector_close(vector_store *s) {
    if (s == NULL) return;
    s->ops->close(s->self);
    free(s);
}

const char *vector_name(const vector_store *s) {
    return s->ops->name;
}

unsigned vector_caps_of(const vector_store *s) {
    return s->ops->caps;
}

/* Books a call that began at `start` and hands its code through. */
static int timed(vector_store *s, metric_histogram *h, int64_t start, int code) {
    metric_observe_us(h, (double)(clock_mono_ns(s->clock) - start) / 1000.0);
    if (code != BRAID_OK && code != BRAID_E_NOT_FOUND) metric_add(s->errors, 1);
    return code;
}

int vector_upsert(vector_store *s, const vector_entry *entries, size_t n, braid_error *err) {
    if (n == 0) return BRAID_OK;
    BRAID_ASSERT(entries != NULL);
    int64_t start = clock_mono_ns(s->clock);
    return timed(s, s->upsert_us, start, s->ops->upsert(s->self, entries, n, err));
}

int vector_remove(vector_store *s, const uint32_t *nums, size_t n, braid_error *err) {
    if (n == 0) return BRAID_OK;
    BRAID_ASSERT(nums != NULL);
    int64_t start = clock_mono_ns(s->clock);
    return timed(s, s->remove_us, start, s->ops->remove(s->self, nums, n, err));
}

int vector_search(vector_store *s, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                  braid_error *err) {
    vector_stats none;
    if (stats == NULL) stats = &none;
    *stats = (vector_stats){.stopped = VECTOR_STOP_DONE, .method = "none"};
    *count = 0;
    BRAID_ASSERT(q->values != NULL && out != NULL);
    if (q->k == 0 || q->k > VECTOR_K_MAX) {
        return error_set(err, BRAID_E_INVALID, "vector", "k = %zu is not in 1..%d", q->k, VECTOR_K_MAX);
    }
    if (q->allow != NULL && !(s->ops->caps & VECTOR_CAP_ALLOW)) {
        return error_set(err, BRAID_E_INVALID, "vector", "store %s cannot search within a set", s->ops->name);
    }
    int64_t start = clock_mono_ns(s->clock);
    int code = BRAID_OK;
    if (q->until != 0 && start >= q->until)
        stats->stopped = VECTOR_STOP_DEADLINE;
    else
        code = s->ops->search(s->self, q, out, count, stats, err);
    BRAID_ASSERT(*count <= q->k);
    metric_add(s->distances, stats->distances);
    if (stats->stopped == VECTOR_STOP_DEADLINE) metric_add(s->deadlines, 1);
    return timed(s, s->search_us, start, code);
}

int vector_fetch(vector_store *s, uint32_t num, float *out, braid_error *err) {
    int64_t start = clock_mono_ns(s->clock);
    return timed(s, s->fetch_us, start, s->ops->fetch(s->self, num, out, err));
}

int vector_score(vector_store *s, const float *query, const uint32_t *nums, size_t n, float *out, braid_error *err) {
    if (n == 0) return BRAID_OK;
    BRAID_ASSERT(query != NULL && nums != NULL && out != NULL);
    int64_t start = clock_mono_ns(s->clock);
    return timed(s, s->score_us, start, s->ops->score(s->self, query, nums, n, out, err));
}

void vector_estimate(vector_store *s, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out) {
    s->ops->estimate(s->self, k, ef, allow_count, filtered, out);
}

int vector_scan(vector_store *s, bool (*each)(void *ctx, uint32_t num, const float *values), void *ctx,
                braid_error *err) {
    return s->ops->scan(s->self, each, ctx, err);
}

int vector_check(vector_store *s, vector_check_report *out, braid_error *err) {
    *out = (vector_check_report){0};
    return s->ops->check(s->self, out, err);
}

void vector_get_info(vector_store *s, vector_info *out) {
    *out = (vector_info){0};
    s->ops->info(s->self, out);
}

int vector_save(vector_store *s, const char *path, uint64_t epoch, uint64_t lsn, braid_error *err) {
    if (!(s->ops->caps & VECTOR_CAP_SNAPSHOT)) {
        return error_set(err, BRAID_E_INVALID, "vector", "store %s has no snapshots", s->ops->name);
    }
    int64_t start = clock_mono_ns(s->clock);
    return timed(s, s->save_us, start, s->ops->save(s->self, path, epoch, lsn, err));
}

int vector_load(vector_store *s, const char *path, uint64_t epoch, uint64_t *lsn, braid_error *err) {
    *lsn = 0;
    if (!(s->ops->caps & VECTOR_CAP_SNAPSHOT)) {
        return error_set(err, BRAID_E_INVALID, "vector", "store %s has no snapshots", s->ops->name);
    }
    int64_t start = clock_mono_ns(s->clock);
    return timed(s, s->load_us, start, s->ops->load(s->self, path, epoch, lsn, err));
}
