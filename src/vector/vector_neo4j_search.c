/* Searching in Neo4j. Its index cannot take a filter, and gives the nearest n of everything. So within a set:
 *
 *     small set         the vectors of the set are scored one by one on the server ("exact")
 *     large set         the index is asked for more than k, as many as should hold k of the set, and what is not in the
 *                       set is dropped; when too few are left, it is asked for eight times as many ("hnsw")
 *     set far away      when the index would have to give more than the set has members, or more than WALK_MOST, the
 *                       set is scored after all
 *
 * An index may also give fewer than it holds; then everything is scored. So k is filled whenever the set and the store
 * have k, and what is in the answer is in the set.
 *
 * A request that does not end within the deadline gives nothing: the call fails with DEADLINE, and the caller goes on
 * without this strand. The server's score is (1 + cosine) / 2. Equal scores are ordered by lower number. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector/vector_neo4j.h"

enum {
    EXACT_MOST = 2000,   /* sets up to this are scored without asking the index */
    WALK_MOST = 10000,   /* most that the index is asked for */
    EXACT_BATCH = 20000, /* numbers of a set in one request */
    EF_DEFAULT = 64,
    TOTAL_AGE_S = 10, /* how old the count of vectors may be that the first guess is made from */
    WALK_US = 3000,   /* before the first calls */
    ROW_US = 10
};

typedef struct finder {
    vector_neo4j_self *v;
    const vector_query *q;
    const float *unit;
    candidate *out;
    size_t count;
    uint64_t rows; /* of the present request */
    uint64_t looked_at;
} finder;

static bool before(const candidate *a, const candidate *b) {
    if (a->score > b->score || a->score < b->score) return a->score > b->score;
    return a->num < b->num;
}

/* Rows of one request come best first, so that this hardly ever moves anything; those of several are merged by it. */
static void keep(finder *x, candidate c) {
    size_t k = x->q->k;
    if (x->count == k && !before(&c, &x->out[k - 1])) return;
    size_t at = x->count < k ? x->count++ : k - 1;
    for (; at > 0 && before(&c, &x->out[at - 1]); at--) x->out[at] = x->out[at - 1];
    x->out[at] = c;
}

static int see_nearest(void *ctx, bolt_row *row, braid_error *err) {
    finder *x = ctx;
    uint32_t num;
    double score;
    if (!vector_neo4j_read_num(&row->values, &num) || !ps_read_real(&row->values, &score))
        return vector_neo4j_bad_row(row, err);
    x->rows++;
    if (x->q->allow == NULL || bitset_has(x->q->allow, num))
        keep(x, (candidate){.num = num, .score = (float)(2 * score - 1)});
    return BRAID_OK;
}

/* To be put behind buf_init, or behind bolt_parameters_begin. */
static void put_query(const finder *x, buf *p, size_t pairs, size_t most) {
    ps_put_map(p, pairs);
    ps_put_str(p, "vector");
    ps_put_floats(p, x->unit, x->v->options.dim);
    ps_put_str(p, "most");
    ps_put_int(p, (int64_t)most);
}

static void follow(double *average, double value) {
    *average = *average > 0 ? *average * 0.9 + value * 0.1 : value;
}

/* ---- the three ways ---- */

static int walk(finder *x, size_t most, braid_error *err) {
    vector_neo4j_self *v = x->v;
    buf p;
    bolt_call call = {.access = BOLT_READ, .until = x->q->until};
    int64_t start = clock_mono_ns(v->clock);
    buf_init(&p, 0);
    put_query(x, &p, 3, most);
    ps_put_str(&p, "index");
    ps_put_str(&p, v->index);
    x->count = 0;
    x->rows = 0;
    int rc = vector_neo4j_run(v, &call, vector_neo4j_statements.walk, &p, see_nearest, x, err);
    x->looked_at += x->rows;
    pthread_mutex_lock(&v->lock);
    if (rc == BRAID_OK) follow(&v->walk_us, (double)(clock_mono_ns(v->clock) - start) / 1e3);
    pthread_mutex_unlock(&v->lock);
    return rc;
}

static int score_all(finder *x, braid_error *err) {
    buf p;
    bolt_call call = {.access = BOLT_READ, .until = x->q->until};
    buf_init(&p, 0);
    put_query(x, &p, 2, x->q->k);
    x->count = 0;
    x->rows = 0;
    int rc = vector_neo4j_run(x->v, &call, vector_neo4j_statements.nearest_of_all, &p, see_nearest, x, err);
    x->looked_at += x->rows;
    return rc;
}

/* Scores the next members of the set from *from on. */
static int score_some(finder *x, uint32_t *from, uint64_t *members, braid_error *err) {
    buf p;
    bolt_call call = {.access = BOLT_READ, .until = x->q->until};
    bolt_parameters_begin(&p);
    put_query(x, &p, 3, x->q->k);
    ps_put_str(&p, "nums");
    size_t at = ps_open_list(&p), n = 0;
    for (; *from != UINT32_MAX && n < EXACT_BATCH; n++) {
        ps_put_int(&p, *from);
        *from = bitset_next(x->q->allow, *from + 1);
    }
    ps_close(&p, at, n);
    *members += n;
    return vector_neo4j_run(x->v, &call, vector_neo4j_statements.nearest_of, &p, see_nearest, x, err);
}

static int score_set(finder *x, braid_error *err) {
    vector_neo4j_self *v = x->v;
    int64_t start = clock_mono_ns(v->clock);
    uint64_t members = 0;
    int rc = BRAID_OK;
    x->count = 0;
    for (uint32_t from = bitset_next(x->q->allow, 0); rc == BRAID_OK && from != UINT32_MAX;)
        rc = score_some(x, &from, &members, err);
    x->looked_at += members;
    double us = (double)(clock_mono_ns(v->clock) - start) / 1e3;
    pthread_mutex_lock(&v->lock);
    if (rc == BRAID_OK && members < 32) follow(&v->trip_us, us);
    if (rc == BRAID_OK && members >= 256) follow(&v->row_us, us / (double)members);
    pthread_mutex_unlock(&v->lock);
    return rc;
}

/* ---- which way ---- */

/* Vectors in the store, roughly: good for a first guess. */
static uint64_t total(vector_neo4j_self *v, deadline until) {
    int64_t now = clock_mono_ns(v->clock);
    pthread_mutex_lock(&v->lock);
    uint64_t known = v->total;
    bool fresh = v->total_at != 0 && now - v->total_at < (int64_t)TOTAL_AGE_S * 1000000000;
    if (!fresh) v->total_at = now; /* the others use the old one meanwhile */
    pthread_mutex_unlock(&v->lock);
    if (fresh) return known;
    bolt_call call = {.access = BOLT_READ, .until = until};
    uint64_t counted = 0;
    if (vector_neo4j_run(v, &call, vector_neo4j_statements.total, NULL, vector_neo4j_see_count, &counted, NULL) !=
        BRAID_OK)
        return known;
    pthread_mutex_lock(&v->lock);
    v->total = counted;
    pthread_mutex_unlock(&v->lock);
    return counted;
}

/* How many the index should be asked for, so that k of them are in the set if it lies evenly. The server looks no
 * further than what it is asked for: that is its ef, and asking for k alone would find poor ones. */
static size_t first_guess(finder *x) {
    const vector_query *q = x->q;
    size_t least = q->ef > 0 ? q->ef : x->v->options.ef_search > 0 ? x->v->options.ef_search : EF_DEFAULT;
    if (least < q->k) least = q->k;
    if (q->allow == NULL) return least;
    double share = (double)q->allow_count / ((double)total(x->v, q->until) + 1);
    double guess = (double)q->k * 1.5 / (share < 1 ? share : 1) + 32;
    if (guess < (double)least) return least;
    return guess < (double)WALK_MOST * 10 ? (size_t)guess : (size_t)WALK_MOST * 10;
}

static int find(finder *x, vector_stats *stats, braid_error *err) {
    const vector_query *q = x->q;
    int rc = BRAID_OK;
    bool set = q->allow != NULL;
    stats->method = "hnsw";
    if (!set || q->allow_count > EXACT_MOST) {
        size_t most = first_guess(x), limit = set && q->allow_count < WALK_MOST ? (size_t)q->allow_count : WALK_MOST;
        for (; most <= limit; most *= 8) {
            rc = walk(x, most, err);
            if (rc != BRAID_OK || x->count == q->k) return rc;
            if (x->rows < most || !set) break; /* it has no more to give */
        }
    }
    stats->method = "exact";
    return set ? score_set(x, err) : score_all(x, err);
}

int vector_neo4j_search(void *self, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                        braid_error *err) {
    vector_neo4j_self *v = self;
    float *unit = malloc(v->options.dim * sizeof *unit);
    finder x = {.v = v, .q = q, .unit = unit, .out = out};
    *count = 0;
    int rc = unit != NULL ? vector_neo4j_unit(v, q->values, "the query", unit, err) : vector_neo4j_no_memory(err);
    if (rc == BRAID_OK) rc = find(&x, stats, err);
    stats->distances = x.looked_at;
    if (rc == BRAID_OK) {
        stats->stopped = x.count < q->k ? VECTOR_STOP_EXHAUSTED : VECTOR_STOP_DONE;
        *count = x.count;
    }
    free(unit);
    return rc;
}

void vector_neo4j_estimate(void *self, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out) {
    vector_neo4j_self *v = self;
    (void)ef;
    pthread_mutex_lock(&v->lock);
    double walk_us = v->walk_us > 0 ? v->walk_us : WALK_US, row_us = v->row_us > 0 ? v->row_us : ROW_US;
    double trip_us = v->trip_us > 0 ? v->trip_us : walk_us / 3;
    pthread_mutex_unlock(&v->lock);
    bool exact = filtered && allow_count <= EXACT_MOST;
    *out = (vector_cost){.microseconds = exact ? trip_us + row_us * (double)allow_count : walk_us,
                         .rows = (double)(filtered && allow_count < k ? allow_count : k),
                         .method = exact ? "exact" : "hnsw"};
}
