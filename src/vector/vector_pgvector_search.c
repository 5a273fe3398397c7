/* The plans of a search.
 *
 *     numbers   a set of few items: each is scored, found by its key
 *     walk      the index, continued by the server (iterative scan) until k are found that are in the set; the set goes
 *               along as a bitset, so the server drops what is not in it
 *     filter    a set too large to send: the index under the filter that made it, read through a cursor a part at a
 *               time; what is not in the set is dropped here, and more is read until k are found
 *     all       every item is scored: a k that is a good part of the store, and whatever an index could not fill
 *
 * An index that gives fewer than k while the set holds more is not taken at its word: the items are then scored one by
 * one. So k is filled from the set in every plan.
 *
 * The scan is told to be relaxed in order: it gives what it finds a little out of order rather than dropping what comes
 * late, and the answer is sorted here. */
#include <stdlib.h>
#include <string.h>

#include "vector/vector_pgvector.h"

enum {
    CURSOR_ROWS = 256, /* read from a cursor at first; doubled with every part */
    CURSOR_ROWS_MAX = 8192,
    VISITS_MIN = 20000, /* index entries that a walk may look at */
    VISITS_MAX = 2000000
};

typedef enum plan { PLAN_NUMBERS, PLAN_WALK, PLAN_FILTER, PLAN_ALL } plan;

typedef struct searching {
    const vector_query *q;
    const float *unit;
    plan plan;
    candidate *out; /* q->k of them */
    size_t count;
    uint64_t seen;
} searching;

/* ---- choosing ---- */

static uint64_t set_size(const pgvector *v, const vector_query *q) {
    uint64_t count = atomic_load_explicit(&v->count, memory_order_relaxed);
    return q->allow != NULL && q->allow_count < count ? q->allow_count : count;
}

static plan choose(const pgvector *v, size_t k, bool filtered, uint64_t allow_count, size_t bits) {
    uint64_t count = atomic_load_explicit(&v->count, memory_order_relaxed);
    if (filtered && allow_count <= PGV_EXACT_MAX && allow_count * 2 <= count) return PLAN_NUMBERS;
    uint64_t held = filtered && allow_count < count ? allow_count : count;
    if (k > PGV_WALK_MAX || k >= held / 2 + 1)
        return filtered && allow_count <= PGV_EXACT_MAX ? PLAN_NUMBERS : PLAN_ALL;
    return filtered && bits > PGV_BITS_MAX ? PLAN_FILTER : PLAN_WALK;
}

/* ---- parameters ---- */

typedef struct settings {
    char timeout[24], ef[24], visits[24];
    pg_params p;
} settings;

static void settings_make(settings *t, const pgvector *v, const searching *g, deadline until) {
    bool walk = g->plan == PLAN_WALK || g->plan == PLAN_FILTER, indexed = atomic_load(&v->indexed);
    size_t ef = g->q->ef != 0 ? g->q->ef : v->ef_search;
    if (ef < g->q->k) ef = g->q->k;
    if (ef > PGV_EF_MAX) ef = PGV_EF_MAX;
    uint64_t held = set_size(v, g->q), count = atomic_load_explicit(&v->count, memory_order_relaxed);
    uint64_t visits = held > 0 ? 8 * ef * (count / held + 1) : VISITS_MIN;
    if (visits < VISITS_MIN) visits = VISITS_MIN;
    if (visits > VISITS_MAX) visits = VISITS_MAX;
    snprintf(t->timeout, sizeof t->timeout, "%lld", (long long)pgv_left_ms(v, until));
    snprintf(t->ef, sizeof t->ef, "%zu", ef);
    snprintf(t->visits, sizeof t->visits, "%llu", (unsigned long long)visits);
    pg_params_init(&t->p);
    pg_bind_text(&t->p, t->timeout);
    pg_bind_text(&t->p, t->ef);
    pg_bind_text(&t->p, t->visits);
    pg_bind_text(&t->p, walk && indexed ? "off" : "on"); /* other plans than the index's */
    pg_bind_text(&t->p, "relaxed_order");
}

static void bind_numbers(pg_params *p, const bitset *set) {
    size_t n = 0;
    for (uint32_t num = bitset_next(set, 0); num != UINT32_MAX; num = bitset_next(set, num + 1)) n++;
    pg_array_begin(p, 'l', n);
    for (uint32_t num = bitset_next(set, 0); num != UINT32_MAX; num = bitset_next(set, num + 1)) pg_add_int8(p, num);
    pg_array_end(p);
}

/* get_bit() counts from the lowest bit of the first byte, as the words lie in memory here. */
static void bind_bits(pg_params *p, const bitset *set) {
    size_t bytes = ((size_t)set->bits + 7) / 8;
    pg_bind_bytes(p, bytes > 0 ? (const void *)set->words : "", bytes);
    pg_bind_int8(p, set->bits);
}

static unsigned bind(const searching *g, const pgvector *v, pg_params *p) {
    const vector_query *q = g->q;
    pg_bind_vector(p, g->unit, v->dim);
    pg_bind_int4(p, (int32_t)q->k);
    if (g->plan == PLAN_NUMBERS) {
        bind_numbers(p, q->allow);
        return PGV_EXACT_NUMS;
    }
    if (q->allow == NULL) return g->plan == PLAN_WALK ? PGV_NEAR : PGV_EXACT;
    bind_bits(p, q->allow);
    return g->plan == PLAN_WALK ? PGV_NEAR_SET : PGV_EXACT_SET;
}

/* ---- answers ---- */

static int nearer(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->num < y->num ? -1 : x->num > y->num;
}

/* Takes over rows of (num, score) that are in the set, up to k. */
static int take(searching *g, const PGresult *r, braid_error *err) {
    int rows = pg_rows(r);
    for (int i = 0; i < rows && g->count < g->q->k; i++) {
        pg_row row = {.r = r, .row = i};
        int64_t num = pg_int8(&row, 0);
        double score = pg_double(&row, 1);
        if (row.bad || num < 0 || num > UINT32_MAX || !(score >= -1.01 && score <= 1.01))
            return pgv_corrupt("searching", err);
        if (g->q->allow != NULL && !bitset_has(g->q->allow, (uint32_t)num)) continue;
        g->out[g->count++] = (candidate){(uint32_t)num, (float)score};
    }
    g->seen += (uint64_t)rows;
    return BRAID_OK;
}

static int search_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    searching *g = ctx;
    settings t;
    pg_params p;
    PGresult *r = NULL;
    g->count = 0;
    settings_make(&t, v, g, until);
    pg_params_init(&p);
    unsigned which = bind(g, v, &p);
    int code = pgv_ask_after(s, PGV_SETTINGS, &t.p, which, &p, until, "searching", &r, err);
    if (code == BRAID_OK) code = take(g, r, err);
    PQclear(r);
    pg_params_free(&p);
    pg_params_free(&t.p);
    return code;
}

/* ---- under the filter, through a cursor ---- */

static int cursor_open(pgvector *v, pg_session *s, const searching *g, deadline until, braid_error *err) {
    pgv_filter where;
    pg_params p;
    buf sql;
    buf_init(&sql, 0);
    pg_params_init(&p);
    bool said = pgv_filter_compile(g->q->where, "$2", "$3", &where);
    pg_bind_vector(&p, g->unit, v->dim);
    pg_array_begin(&p, 't', where.strings_count);
    for (size_t i = 0; i < where.strings_count; i++) pg_add_text(&p, where.strings[i]);
    pg_array_end(&p);
    pg_array_begin(&p, 'd', where.numbers_count);
    for (size_t i = 0; i < where.numbers_count; i++) pg_add_double(&p, where.numbers[i]);
    pg_array_end(&p);
    buf_printf(&sql,
               "DECLARE braid_near NO SCROLL CURSOR FOR SELECT num, 1 - (embedding <=> $1::vector) FROM %s WHERE"
               " embedding IS NOT NULL AND ($2::text[] IS NOT NULL AND $3::float8[] IS NOT NULL) AND ",
               v->table);
    buf_puts(&sql, said ? where.sql.data : "");
    buf_puts(&sql, " ORDER BY embedding <=> $1::vector");
    int code = said && !sql.failed ? pg_exec(s, sql.data, "vTD", &p, until, "searching", NULL, err)
                                   : error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "no memory for a filter");
    pgv_filter_free(&where);
    buf_free(&sql);
    pg_params_free(&p);
    return code;
}

static int cursor_read(pgvector *v, pg_session *s, searching *g, deadline until, braid_error *err) {
    (void)v;
    int code = BRAID_OK, asked = CURSOR_ROWS, rows = CURSOR_ROWS;
    pg_params none;
    pg_params_init(&none);
    for (; code == BRAID_OK && g->count < g->q->k && rows == asked;
         asked = asked * 2 > CURSOR_ROWS_MAX ? CURSOR_ROWS_MAX : asked * 2) {
        char fetch[64];
        PGresult *r = NULL;
        snprintf(fetch, sizeof fetch, "FETCH %d FROM braid_near", asked);
        code = pg_exec(s, fetch, "", &none, until, "searching", &r, err);
        rows = code == BRAID_OK ? pg_rows(r) : 0;
        if (code == BRAID_OK) code = take(g, r, err);
        PQclear(r);
        if (rows != asked) break;
    }
    pg_params_free(&none);
    return code;
}

static int filter_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    searching *g = ctx;
    settings t;
    PGresult *r = NULL;
    g->count = 0;
    settings_make(&t, v, g, until);
    int code = pg_exec(s, "BEGIN READ ONLY", NULL, NULL, until, "searching", NULL, err);
    if (code == BRAID_OK) code = pg_run(s, PGV_SETTINGS, &t.p, until, "searching", &r, err);
    PQclear(r);
    if (code == BRAID_OK) code = cursor_open(v, s, g, until, err);
    if (code == BRAID_OK) code = cursor_read(v, s, g, until, err);
    if (!pg_broken(s)) pg_exec(s, "ROLLBACK", NULL, NULL, until, "searching", NULL, NULL);
    pg_params_free(&t.p);
    return code;
}

/* ---- the whole ---- */

static const char *method_of(const pgvector *v, plan p) {
    return (p == PLAN_WALK || p == PLAN_FILTER) && atomic_load(&v->indexed) ? "hnsw" : "exact";
}

/* What a call costs at least (the way there and back): the least that was seen, forgotten slowly. */
static void learn(pgvector *v, const searching *g, int64_t ns) {
    uint64_t took = ns > 0 ? (uint64_t)ns : 1, floor_ns = atomic_load_explicit(&v->floor_ns, memory_order_relaxed);
    uint64_t lower = floor_ns == 0 || took < floor_ns ? took : floor_ns + (took - floor_ns) / 256;
    atomic_store_explicit(&v->floor_ns, lower, memory_order_relaxed);
    if (g->plan == PLAN_WALK)
        meter_add(&v->walk_ns, 1, took);
    else if (g->plan != PLAN_FILTER && set_size(v, g->q) > 0)
        meter_add(&v->row_ns, set_size(v, g->q), took - lower);
}

static int run(pgvector *v, searching *g, braid_error *err) {
    int64_t begun = clock_mono_ns(v->clock);
    int code = pgv_with(v, g->q->until, g->plan == PLAN_FILTER ? filter_work : search_work, g, err);
    if (code == BRAID_OK) learn(v, g, clock_mono_ns(v->clock) - begun);
    return code;
}

int pgv_search(void *self, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
               braid_error *err) {
    pgvector *v = self;
    float unit[PGV_DIM_MAX];
    int code = pgv_normalise(v, q->values, unit, "the query vector", err);
    if (code != BRAID_OK) return code;
    searching g = {.q = q, .unit = unit, .out = out};
    g.plan = choose(v, q->k, q->allow != NULL, q->allow_count, q->allow != NULL ? q->allow->bits : 0);
    stats->method = method_of(v, g.plan);
    stats->stopped = VECTOR_STOP_EXHAUSTED;
    if (q->allow != NULL && q->allow_count == 0) return BRAID_OK;
    code = run(v, &g, err);
    bool walked = g.plan == PLAN_WALK || g.plan == PLAN_FILTER;
    uint64_t held = set_size(v, q);
    if (code == BRAID_OK && walked && g.count < q->k && g.count < held) {
        g.plan = q->allow != NULL && q->allow_count <= PGV_EXACT_MAX ? PLAN_NUMBERS : PLAN_ALL;
        stats->method = method_of(v, g.plan);
        code = run(v, &g, err);
    }
    if (code == BRAID_E_DEADLINE) stats->stopped = VECTOR_STOP_DEADLINE;
    if (code != BRAID_OK) return code;
    qsort(out, g.count, sizeof *out, nearer);
    *count = g.count;
    stats->distances = walked && g.plan != PLAN_ALL && g.plan != PLAN_NUMBERS ? g.seen : held;
    if (g.count == q->k) stats->stopped = VECTOR_STOP_DONE;
    return BRAID_OK;
}

void pgv_estimate(void *self, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out) {
    pgvector *v = self;
    (void)ef;
    uint64_t count = atomic_load_explicit(&v->count, memory_order_relaxed);
    uint64_t held = filtered && allow_count < count ? allow_count : count;
    plan p = choose(v, k, filtered, allow_count, 0);
    double floor_us = (double)atomic_load_explicit(&v->floor_ns, memory_order_relaxed) / 1000.0;
    if (floor_us <= 0) floor_us = 300;
    double walk_us = meter_unit(&v->walk_ns, 1, floor_us * 1000 + 700000) / 1000;
    double row_us = meter_unit(&v->row_ns, 1000, 1000 + v->dim * 2.0) / 1000;
    out->microseconds = p == PLAN_WALK || p == PLAN_FILTER ? walk_us : floor_us + row_us * (double)held;
    out->rows = (double)(held < k ? held : k);
    out->method = method_of(v, p);
}
