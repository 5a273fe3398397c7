/* The thin forwarder in front of every vector store, and the list of the stores that are compiled in.
 *
 * What holds for all stores is done once, here: arguments are checked, an expired deadline is answered without
 * asking, every call is timed into the metrics, and a store in another process is asked only while its breaker lets
 * calls pass. Reads and writes have a breaker each, since a server that refuses to write may well answer questions. A
 * store's file then holds only its own work. A new store is one file and one row of vector_rows. */
#include "vector/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector/kept.h"
#include "vector/stores.h"

enum { VECTOR_K_MAX = 100000 };

static const vector_ops *const vector_rows[] = {
    &vector_hnsw,     &vector_flat,
#ifdef BRAID_HAVE_POSTGRES
    &vector_pgvector,
#endif
#ifdef BRAID_HAVE_MILVUS
    &vector_milvus,
#endif
    &vector_neo4j,
};

struct vector_store {
    const vector_ops *ops;
    void *self;
    uint32_t dim;
    const clock_ops *clock;
    breaker *reads, *writes; /* NULL for a store in this process */
    vector_kept *kept;       /* NULL: nothing is kept */
    metrics *metrics;
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
    s->fetch_us =
        metrics_histogram(m, "vector_fetch_duration_seconds", labels, "Time to copy vectors by their numbers.");
    s->score_us = metrics_histogram(m, "vector_score_duration_seconds", labels, "Time to score given items.");
    s->save_us = metrics_histogram(m, "vector_save_duration_seconds", labels, "Time to save a snapshot.");
    s->load_us = metrics_histogram(m, "vector_load_duration_seconds", labels, "Time to load a snapshot.");
    s->distances = metrics_counter(m, "vector_distances", labels, "Vectors compared with a query.");
    s->errors = metrics_counter(m, "vector_errors", labels, "Calls that failed.");
    s->deadlines = metrics_counter(m, "vector_deadlines", labels, "Searches that a deadline cut short.");
}

static int make_breakers(vector_store *s, const vector_options *options, braid_error *err) {
    breaker_options o = {.store = s->ops->name, .calls = "read", .clock = s->clock, .metrics = options->metrics};
    int code = breaker_new(&o, &s->reads, err);
    o.calls = "write";
    return code != BRAID_OK ? code : breaker_new(&o, &s->writes, err);
}

int vector_open(const vector_ops *ops, const vector_options *options, vector_store **out, braid_error *err) {
    *out = NULL;
    BRAID_ASSERT(ops != NULL && ops->version == 1);
    vector_store *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(err, BRAID_E_NO_MEMORY, "vector", "memory ran out");
    s->ops = ops;
    s->dim = options->dim;
    s->metrics = options->metrics;
    s->clock = options->clock != NULL ? options->clock : &clock_system;
    int code = ops->caps & VECTOR_CAP_REMOTE ? make_breakers(s, options, err) : BRAID_OK;
    if (code == BRAID_OK) code = ops->open(options, &s->self, err);
    if (code != BRAID_OK) {
        breaker_free(s->reads);
        breaker_free(s->writes);
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
    breaker_free(s->reads);
    breaker_free(s->writes);
    vector_kept_free(s->kept);
    free(s);
}

int vector_keep(vector_store *s, size_t bytes, uint64_t (*applied)(void *ctx), void *ctx, braid_error *err) {
    if (!(s->ops->caps & VECTOR_CAP_REMOTE) || bytes == 0 || s->kept != NULL) return BRAID_OK;
    s->kept = vector_kept_new(&(vector_kept_options){s->dim, bytes, applied, ctx, s->ops->name, s->clock, s->metrics});
    return s->kept != NULL ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "vector", "memory ran out");
}

void vector_touched(vector_store *s, const uint32_t *nums, size_t n, uint64_t lsn) {
    for (size_t i = 0; s->kept != NULL && i < n; i++) vector_kept_drop(s->kept, nums[i], lsn);
}

void vector_touched_all(vector_store *s, uint64_t lsn) {
    if (s->kept != NULL) vector_kept_drop_all(s->kept, lsn);
}

const char *vector_name(const vector_store *s) {
    return s->ops->name;
}

unsigned vector_caps_of(const vector_store *s) {
    return s->ops->caps;
}

/* One call on its way: what it is booked under. */
typedef struct call {
    vector_store *s;
    breaker *gate;
    metric_histogram *time; /* NULL: not timed */
    breaker_ticket ticket;
    int64_t start;
} call;

/* Not BRAID_OK: the store must not be asked; there is nothing to end. */
static int call_begin(call *c, vector_store *s, breaker *gate, metric_histogram *time, deadline until,
                      braid_error *err) {
    *c = (call){.s = s, .gate = gate, .time = time, .start = clock_mono_ns(s->clock)};
    int code = BRAID_OK;
    if (gate != NULL && until != 0 && c->start >= until)
        code = error_set(err, BRAID_E_DEADLINE, s->ops->name, "no time was left to ask");
    else if (gate != NULL)
        code = breaker_enter_until(gate, until, &c->ticket, err);
    if (code != BRAID_OK) metric_add(s->errors, 1);
    return code;
}

/* Books the call and hands its code through. */
static int call_end(call *c, int code) {
    if (c->gate != NULL) breaker_done(c->gate, c->ticket, code);
    metric_observe_us(c->time, (double)(clock_mono_ns(c->s->clock) - c->start) / 1000.0);
    if (code != BRAID_OK && code != BRAID_E_NOT_FOUND) metric_add(c->s->errors, 1);
    return code;
}

int vector_upsert(vector_store *s, const vector_entry *entries, size_t n, braid_error *err) {
    if (n == 0) return BRAID_OK;
    BRAID_ASSERT(entries != NULL);
    call c;
    int code = call_begin(&c, s, s->writes, s->upsert_us, 0, err);
    if (code != BRAID_OK) return code;
    code = s->ops->upsert(s->self, entries, n, err);
    for (size_t i = 0; s->kept != NULL && i < n; i++) vector_kept_written(s->kept, entries[i].num);
    return call_end(&c, code);
}

int vector_remove(vector_store *s, const uint32_t *nums, size_t n, braid_error *err) {
    if (n == 0) return BRAID_OK;
    BRAID_ASSERT(nums != NULL);
    call c;
    int code = call_begin(&c, s, s->writes, s->remove_us, 0, err);
    if (code != BRAID_OK) return code;
    code = s->ops->remove(s->self, nums, n, err);
    for (size_t i = 0; s->kept != NULL && i < n; i++) vector_kept_written(s->kept, nums[i]);
    return call_end(&c, code);
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
    if (q->until != 0 && clock_mono_ns(s->clock) >= q->until) {
        stats->stopped = VECTOR_STOP_DEADLINE;
        metric_add(s->deadlines, 1);
        return BRAID_OK;
    }
    call c;
    int code = call_begin(&c, s, s->reads, s->search_us, 0, err);
    if (code != BRAID_OK) return code;
    code = s->ops->search(s->self, q, out, count, stats, err);
    BRAID_ASSERT(*count <= q->k);
    metric_add(s->distances, stats->distances);
    if (stats->stopped == VECTOR_STOP_DEADLINE || code == BRAID_E_DEADLINE) metric_add(s->deadlines, 1);
    return call_end(&c, code);
}

int vector_fetch(vector_store *s, uint32_t num, deadline until, float *out, braid_error *err) {
    call c;
    int code = call_begin(&c, s, s->reads, s->fetch_us, until, err);
    return code != BRAID_OK ? code : call_end(&c, s->ops->fetch(s->self, num, until, out, err));
}

int vector_fetch_many(vector_store *s, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                      braid_error *err) {
    if (n == 0) return BRAID_OK;
    BRAID_ASSERT(nums != NULL && out != NULL && found != NULL);
    memset(found, 0, n * sizeof *found);
    call c;
    int code = call_begin(&c, s, s->reads, s->fetch_us, until, err);
    if (code != BRAID_OK) return code;
    return call_end(&c, s->ops->fetch_many(s->self, nums, n, until, out, found, err));
}

/* Scores what is kept, and fetches the rest to score and to keep it. */
static int score_kept(vector_store *s, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                      braid_error *err) {
    struct missing {
        uint32_t num, mark, at;
    } *missing = malloc(n * sizeof *missing);
    float *unit = malloc(s->dim * sizeof *unit), *fetched = NULL;
    uint32_t *wanted = malloc(n * sizeof *wanted);
    bool *found = calloc(n, sizeof *found);
    size_t some = 0;
    int code = BRAID_OK;
    const vector_kernel *kernel = vector_kernel_find("auto");
    if (missing == NULL || unit == NULL || wanted == NULL || found == NULL) goto no_memory;
    memcpy(unit, query, s->dim * sizeof *unit);
    if (!vector_normalise(unit, s->dim)) {
        code = error_set(err, BRAID_E_NOT_FINITE, "vector", "the query vector is all zero or not finite");
        goto cleanup;
    }
    vector_kept_look look = vector_kept_begin(s->kept);
    for (size_t i = 0; i < n; i++) {
        uint32_t mark;
        out[i] = SIMILARITY_NONE;
        if (vector_kept_score(s->kept, nums[i], unit, &out[i], &mark)) continue;
        wanted[some] = nums[i];
        missing[some++] = (struct missing){nums[i], mark, (uint32_t)i};
    }
    if (some > 0 && (fetched = malloc(some * s->dim * sizeof *fetched)) == NULL) goto no_memory;
    if (some > 0) code = s->ops->fetch_many(s->self, wanted, some, until, fetched, found, err);
    for (size_t i = 0; code == BRAID_OK && i < some; i++) {
        const float *v = fetched + i * s->dim;
        if (!found[i]) continue;
        out[missing[i].at] = kernel->dot(unit, v, s->dim);
        vector_kept_put(s->kept, look, missing[i].num, missing[i].mark, v);
    }
    goto cleanup;
no_memory:
    code = error_set(err, BRAID_E_NO_MEMORY, "vector", "memory ran out");
cleanup:
    free(missing);
    free(unit);
    free(wanted);
    free(found);
    free(fetched);
    return code;
}

int vector_score(vector_store *s, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                 braid_error *err) {
    if (n == 0) return BRAID_OK;
    BRAID_ASSERT(query != NULL && nums != NULL && out != NULL);
    call c;
    int code = call_begin(&c, s, s->reads, s->score_us, until, err);
    if (code != BRAID_OK) return code;
    return call_end(&c, s->kept != NULL ? score_kept(s, query, nums, n, until, out, err)
                                        : s->ops->score(s->self, query, nums, n, until, out, err));
}

void vector_estimate(vector_store *s, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out) {
    s->ops->estimate(s->self, k, ef, allow_count, filtered, out);
}

int vector_scan(vector_store *s, vector_scan_fn *each, void *ctx, braid_error *err) {
    call c;
    int code = call_begin(&c, s, s->reads, NULL, 0, err);
    return code != BRAID_OK ? code : call_end(&c, s->ops->scan(s->self, each, ctx, err));
}

int vector_clear(vector_store *s, braid_error *err) {
    call c;
    int code = call_begin(&c, s, s->writes, NULL, 0, err);
    if (code != BRAID_OK) return code;
    code = s->ops->clear(s->self, err);
    vector_touched_all(s, 0);
    return call_end(&c, code);
}

void vector_resume(vector_store *s) {
    if (s->ops->resume != NULL) s->ops->resume(s->self);
}

void vector_rest(vector_store *s) {
    if (s->ops->rest != NULL) s->ops->rest(s->self);
}

int vector_check(vector_store *s, vector_check_report *out, braid_error *err) {
    *out = (vector_check_report){0};
    call c;
    int code = call_begin(&c, s, s->reads, NULL, 0, err);
    return code != BRAID_OK ? code : call_end(&c, s->ops->check(s->self, out, err));
}

void vector_get_info(vector_store *s, vector_info *out) {
    *out = (vector_info){0};
    s->ops->info(s->self, out);
}

int vector_save(vector_store *s, const char *path, uint64_t epoch, uint64_t lsn, braid_error *err) {
    if (!(s->ops->caps & VECTOR_CAP_SNAPSHOT)) {
        return error_set(err, BRAID_E_INVALID, "vector", "store %s has no snapshots", s->ops->name);
    }
    call c;
    int code = call_begin(&c, s, s->reads, s->save_us, 0, err);
    return code != BRAID_OK ? code : call_end(&c, s->ops->save(s->self, path, epoch, lsn, err));
}

int vector_load(vector_store *s, const char *path, uint64_t epoch, uint64_t *lsn, braid_error *err) {
    *lsn = 0;
    if (!(s->ops->caps & VECTOR_CAP_SNAPSHOT)) {
        return error_set(err, BRAID_E_INVALID, "vector", "store %s has no snapshots", s->ops->name);
    }
    call c;
    int code = call_begin(&c, s, s->writes, s->load_us, 0, err);
    return code != BRAID_OK ? code : call_end(&c, s->ops->load(s->self, path, epoch, lsn, err));
}
