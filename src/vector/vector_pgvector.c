/* pgvector: the items' vectors in a table of PostgreSQL, searched by the extension's HNSW index.
 *
 * For a service that has PostgreSQL and wants no further server. The index lives in the database: it is written with
 * the rows, is there after a restart, and every process sees the same.
 *
 * A call borrows a connection from the pool and speaks under its deadline; the server is told a bound of its own a
 * little before it, so that a slow question ends on the server too and the connection stays fit. A connection that
 * turned out to be dead (the server was restarted) costs one more try, since every statement here may be repeated. A
 * server that is down when the store is opened is no error: the table is looked at when it comes.
 *
 * Rejected: the vector in the record store's own table of items (a change of a title would then write a new entry of
 * the index, 5 ms instead of 0.1); half precision (halves the memory, but answers are compared with what callers
 * gave). */
#include "vector/vector_pgvector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector/stores.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a bitset's words are sent as the bytes of its bits");

enum {
    SCAN_ROWS = 1000,
    GATHER_ROWS = 1000,
    POOL_DEFAULT = 16,
    M_DEFAULT = 16,
    EF_CONSTRUCTION_DEFAULT = 200,
    EF_SEARCH_DEFAULT = 64
};
enum { INFO_MS = 2000 };

int pgv_corrupt(const char *what, braid_error *err) {
    return error_set(err, BRAID_E_CORRUPT, PGV_STORE, "%s: PostgreSQL's answer makes no sense", what);
}

/* ---- opening ---- */

static void pgv_close(void *self) {
    pgvector *v = self;
    if (v == NULL) return;
    pgv_keeper_stop(v);
    conn_pool_free(v->pool);
    pthread_mutex_destroy(&v->lock);
    pthread_cond_destroy(&v->wake);
    arena_free(v->text);
    free(v);
}

static int check_options(const vector_options *o, braid_error *err) {
    if (o->dim == 0 || o->dim > PGV_DIM_MAX)
        return error_set(err, BRAID_E_DIMENSION, PGV_STORE, "dimension %u is not in 1..%d, what pgvector can index",
                         o->dim, PGV_DIM_MAX);
    if (o->m != 0 && (o->m < 2 || o->m > 100))
        return error_set(err, BRAID_E_INVALID, PGV_STORE, "M = %u is not in 2..100", o->m);
    if (o->remote == NULL || o->remote->address == NULL || o->remote->address[0] == '\0')
        return error_set(err, BRAID_E_INVALID, PGV_STORE, "the server's address is not given");
    return BRAID_OK;
}

static int look(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    (void)v;
    (void)s;
    (void)ctx;
    (void)until;
    (void)err;
    return BRAID_OK;
}

static int open_all(pgvector *v, braid_error *err) {
    if (!pgv_name(v, v->remote.database, err)) return BRAID_E_INVALID;
    v->remote.database = v->database;
    v->text = arena_new(8192);
    if (v->text == NULL || !pgv_write_statements(v))
        return error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "memory ran out");
    v->pg = (pg_options){.store = PGV_STORE,
                         .remote = &v->remote,
                         .statements = v->statements,
                         .statement_count = PGV_STATEMENTS,
                         .clock = v->clock};
    conn_pool_options lent = {.name = "pgvector",
                              .address = v->remote.address,
                              .max = v->remote.connections != 0 ? v->remote.connections : POOL_DEFAULT,
                              .clock = v->clock};
    return conn_pool_new(&pg_pool_ops, &v->pg, &lent, &v->pool, err);
}

static int pgv_open(const vector_options *options, void **self, braid_error *err) {
    *self = NULL;
    int code = check_options(options, err);
    if (code != BRAID_OK) return code;
    pgvector *v = calloc(1, sizeof *v);
    if (v == NULL) return error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "memory ran out");
    v->dim = options->dim;
    v->m = options->m != 0 ? options->m : M_DEFAULT;
    v->ef_construction = options->ef_construction != 0 ? options->ef_construction : EF_CONSTRUCTION_DEFAULT;
    if (v->ef_construction < 2 * v->m) v->ef_construction = 2 * v->m; /* the extension's own condition */
    if (v->ef_construction > PGV_EF_MAX) v->ef_construction = PGV_EF_MAX;
    v->ef_search = options->ef_search != 0 ? options->ef_search : EF_SEARCH_DEFAULT;
    v->clock = options->clock != NULL ? options->clock : &clock_system;
    v->log = options->log;
    v->remote = *options->remote;
    pthread_mutex_init(&v->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&v->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    code = open_all(v, err);
    if (code == BRAID_OK) {
        braid_error away = {0};
        code = pgv_with(v, 0, look, NULL, &away);
        if (code == BRAID_E_UNAVAILABLE || code == BRAID_E_DEADLINE) {
            if (v->log != NULL) log_write(v->log, LOG_WARN, "vector", "pgvector: %s; it is asked again", away.message);
            code = BRAID_OK;
        } else if (code != BRAID_OK) {
            error_set(err, code, away.store, "%s", away.message);
        }
    }
    if (code == BRAID_OK) code = pgv_keeper_start(v, err);
    if (code != BRAID_OK) {
        pgv_close(v);
        return code;
    }
    *self = v;
    return BRAID_OK;
}

/* ---- asking ---- */

int pgv_with(pgvector *v, deadline until, pgv_work *work, void *ctx, braid_error *err) {
    until = pg_deadline(&v->pg, until);
    for (int attempt = 0;; attempt++) {
        void *conn = NULL;
        braid_error why = {0};
        int code = conn_pool_take(v->pool, until, &conn, err);
        if (code != BRAID_OK) return code;
        if (!atomic_load_explicit(&v->ready, memory_order_acquire)) code = pgv_prepare(v, conn, until, &why);
        if (code == BRAID_OK) code = work(v, conn, ctx, until, &why);
        bool lost = pg_broken(conn) && code == BRAID_E_UNAVAILABLE;
        conn_pool_give(v->pool, conn, pg_idle(conn));
        if (code == BRAID_OK) return code;
        if (attempt > 0 || !lost || deadline_passed(v->clock, until))
            return error_set(err, code, why.store[0] != '\0' ? why.store : PGV_STORE, "%s", why.message);
    }
}

int64_t pgv_left_ms(const pgvector *v, deadline until) {
    int64_t left = (until - clock_mono_ns(v->clock)) / 1000000;
    left -= left / 20 + 1;
    return left < 1 ? 1 : left;
}

int pgv_ask_after(pg_session *s, unsigned first, const pg_params *first_params, unsigned which, const pg_params *p,
                  deadline until, const char *doing, PGresult **out, braid_error *err) {
    PGresult *r = NULL;
    *out = NULL;
    int code = pg_pipeline_begin(s, err);
    if (code != BRAID_OK) return code;
    code = pg_pipeline_add(s, first, first_params, err);
    if (code == BRAID_OK) code = pg_pipeline_add(s, which, p, err);
    if (code == BRAID_OK) code = pg_pipeline_sync(s, until, err);
    if (code == BRAID_OK) code = pg_pipeline_next(s, until, doing, NULL, err);
    if (code == BRAID_OK) code = pg_pipeline_next(s, until, doing, &r, err);
    if (!pg_broken(s)) {
        int ended = pg_pipeline_end(s, until, err);
        if (code == BRAID_OK) code = ended;
    }
    if (code == BRAID_OK)
        *out = r;
    else
        PQclear(r);
    return code;
}

int pgv_ask(pgvector *v, pg_session *s, unsigned which, const pg_params *p, deadline until, const char *doing,
            PGresult **out, braid_error *err) {
    char ms[24];
    pg_params limit;
    snprintf(ms, sizeof ms, "%lld", (long long)pgv_left_ms(v, until));
    pg_params_init(&limit);
    pg_bind_text(&limit, ms);
    int code = pgv_ask_after(s, PGV_LIMIT, &limit, which, p, until, doing, out, err);
    pg_params_free(&limit);
    return code;
}

int pgv_normalise(const pgvector *v, const float *values, float *out, const char *what, braid_error *err) {
    memcpy(out, values, v->dim * sizeof *out);
    if (vector_normalise(out, v->dim)) return BRAID_OK;
    return error_set(err, BRAID_E_NOT_FINITE, PGV_STORE, "%s is all zero or not finite", what);
}

/* ---- one vector, given vectors ---- */

typedef struct fetching {
    uint32_t num;
    float *out;
} fetching;

static int fetch_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    fetching *f = ctx;
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    pg_bind_int8(&p, f->num);
    int code = pgv_ask(v, s, PGV_FETCH, &p, until, "reading a vector", &r, err);
    if (code == BRAID_OK && pg_rows(r) == 0)
        code = error_set(err, BRAID_E_NOT_FOUND, PGV_STORE, "item number %u has no vector", f->num);
    pg_row row = {.r = r};
    if (code == BRAID_OK && !pg_vector(&row, 0, f->out, v->dim)) code = pgv_corrupt("reading a vector", err);
    PQclear(r);
    pg_params_free(&p);
    return code;
}

static int pgv_fetch(void *self, uint32_t num, deadline until, float *out, braid_error *err) {
    return pgv_with(self, until, fetch_work, &(fetching){num, out}, err);
}

/* Numbers that are asked about, in their order, and where in the caller's list each stands. */
typedef struct asked {
    uint32_t num;
    size_t at;
} asked;

static int by_num(const void *a, const void *b) {
    const asked *x = a, *y = b;
    return x->num < y->num ? -1 : x->num > y->num;
}

/* The numbers as a parameter, sorted; NULL when memory ran out. The caller frees the list. */
static asked *ask_numbers(const uint32_t *nums, size_t n, pg_params *p) {
    asked *list = malloc(n * sizeof *list);
    if (list == NULL) return NULL;
    for (size_t i = 0; i < n; i++) list[i] = (asked){nums[i], i};
    qsort(list, n, sizeof *list, by_num);
    pg_array_begin(p, 'l', n);
    for (size_t i = 0; i < n; i++) pg_add_int8(p, list[i].num);
    pg_array_end(p);
    return list;
}

/* Steps on to the places that asked for a row's number: rows come in the order of the distinct numbers, so both
 * lists are walked together. False: nobody asked, which makes no sense. */
static bool find_asked(const asked *list, size_t n, size_t *next, int64_t num) {
    while (*next < n && list[*next].num < num) ++*next;
    return *next < n && list[*next].num == num;
}

typedef struct gathering {
    const uint32_t *nums;
    size_t n;
    float *out;
    bool *found;
} gathering;

static int gather_read(const pgvector *v, const gathering *g, const asked *list, const PGresult *r, braid_error *err) {
    size_t next = 0;
    for (int i = 0; i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        int64_t num = pg_int8(&row, 0);
        if (row.bad || !find_asked(list, g->n, &next, num)) return pgv_corrupt("reading vectors", err);
        for (; next < g->n && list[next].num == num; next++) {
            if (!pg_vector(&row, 1, g->out + list[next].at * v->dim, v->dim))
                return pgv_corrupt("reading vectors", err);
            g->found[list[next].at] = true;
        }
    }
    return BRAID_OK;
}

static int gather_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    const gathering *g = ctx;
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    asked *list = ask_numbers(g->nums, g->n, &p);
    int code = list != NULL ? pgv_ask(v, s, PGV_FETCH_MANY, &p, until, "reading vectors", &r, err)
                            : error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "memory ran out");
    if (code == BRAID_OK) code = gather_read(v, g, list, r, err);
    PQclear(r);
    pg_params_free(&p);
    free(list);
    return code;
}

static int pgv_fetch_many(void *self, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                          braid_error *err) {
    pgvector *v = self;
    int code = BRAID_OK;
    until = pg_deadline(&v->pg, until);
    memset(found, 0, n * sizeof *found);
    for (size_t at = 0; at < n && code == BRAID_OK; at += GATHER_ROWS) {
        gathering g = {.nums = nums + at,
                       .n = n - at < GATHER_ROWS ? n - at : GATHER_ROWS,
                       .out = out + at * v->dim,
                       .found = found + at};
        code = pgv_with(v, until, gather_work, &g, err);
    }
    return code;
}

typedef struct scoring {
    const float *query; /* normalised */
    const uint32_t *nums;
    size_t n;
    float *out;
} scoring;

static int score_read(const scoring *c, const asked *list, const PGresult *r, braid_error *err) {
    size_t next = 0;
    for (size_t i = 0; i < c->n; i++) c->out[i] = SIMILARITY_NONE;
    for (int i = 0; i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        int64_t num = pg_int8(&row, 0);
        double score = pg_double(&row, 1);
        if (row.bad || !(score >= -1.01 && score <= 1.01) || !find_asked(list, c->n, &next, num))
            return pgv_corrupt("scoring items", err);
        for (; next < c->n && list[next].num == num; next++) c->out[list[next].at] = (float)score;
    }
    return BRAID_OK;
}

static int score_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    scoring *c = ctx;
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    pg_bind_vector(&p, c->query, v->dim);
    asked *list = ask_numbers(c->nums, c->n, &p);
    int code = list != NULL ? pgv_ask(v, s, PGV_SCORE, &p, until, "scoring items", &r, err)
                            : error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "memory ran out");
    if (code == BRAID_OK) code = score_read(c, list, r, err);
    PQclear(r);
    pg_params_free(&p);
    free(list);
    return code;
}

static int pgv_score(void *self, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                     braid_error *err) {
    pgvector *v = self;
    float unit[PGV_DIM_MAX];
    int code = pgv_normalise(v, query, unit, "the query vector", err);
    return code != BRAID_OK ? code : pgv_with(v, until, score_work, &(scoring){unit, nums, n, out}, err);
}

/* ---- everything ---- */

typedef struct scanning {
    vector_scan_fn *each;
    void *ctx;
    int64_t after;
    bool more;
} scanning;

/* A page at a time, each under its own time-out, so that a scan holds no snapshot for long. */
static int scan_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    scanning *c = ctx;
    float values[PGV_DIM_MAX];
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    pg_bind_int8(&p, c->after);
    pg_bind_int4(&p, SCAN_ROWS);
    int code = pgv_ask(v, s, PGV_SCAN, &p, until, "reading all vectors", &r, err);
    int rows = code == BRAID_OK ? pg_rows(r) : 0;
    c->more = rows == SCAN_ROWS;
    for (int i = 0; i < rows && code == BRAID_OK; i++) {
        pg_row row = {.r = r, .row = i};
        int64_t num = pg_int8(&row, 0), version = pg_int8(&row, 1);
        if (!pg_vector(&row, 2, values, v->dim) || row.bad || num <= c->after || num > UINT32_MAX) {
            code = pgv_corrupt("reading all vectors", err);
        } else {
            c->after = num;
            if (c->each(c->ctx, (uint32_t)num, (uint64_t)version, values)) continue;
            c->more = false;
            break;
        }
    }
    PQclear(r);
    pg_params_free(&p);
    return code;
}

static int pgv_scan(void *self, vector_scan_fn *each, void *ctx, braid_error *err) {
    scanning c = {.each = each, .ctx = ctx, .after = -1, .more = true};
    int code = BRAID_OK;
    while (code == BRAID_OK && c.more) code = pgv_with(self, 0, scan_work, &c, err);
    return code;
}

/* ---- what it says of itself ---- */

static int counts_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    vector_info *out = ctx;
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    int code = pgv_ask(v, s, PGV_COUNTS, &p, until, "counting vectors", &r, err);
    pg_row row = {.r = r};
    if (code == BRAID_OK && pg_rows(r) == 1) {
        int64_t all = pg_int8(&row, 0), gone = pg_int8(&row, 1), bytes = pg_int8(&row, 2);
        if (row.bad || gone > all) code = pgv_corrupt("counting vectors", err);
        out->count = (uint64_t)(all - gone);
        out->deleted = (uint64_t)gone;
        out->bytes = (uint64_t)bytes;
    }
    if (code == BRAID_OK) atomic_store_explicit(&v->count, out->count, memory_order_relaxed);
    PQclear(r);
    pg_params_free(&p);
    return code;
}

static void pgv_info(void *self, vector_info *out) {
    pgvector *v = self;
    braid_error ignored = {0};
    int code = pgv_with(v, clock_mono_ns(v->clock) + INT64_C(1000000) * INFO_MS, counts_work, out, &ignored);
    if (code != BRAID_OK) *out = (vector_info){.count = atomic_load_explicit(&v->count, memory_order_relaxed)};
    out->kernel = "server";
}

static int check_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    vector_check_report *out = ctx;
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    int code = pgv_ask(v, s, PGV_AUDIT, &p, until, "checking vectors", &r, err);
    if (code == BRAID_OK && pg_rows(r) == 1) {
        pg_row row = {.r = r};
        int64_t checked = pg_int8(&row, 0), long_ones = pg_int8(&row, 1), broken = pg_int8(&row, 2),
                first = pg_int8(&row, 3);
        if (row.bad) code = pgv_corrupt("checking vectors", err);
        out->checked = (uint64_t)checked;
        out->problems = (uint64_t)(long_ones + broken);
        if (long_ones > 0)
            snprintf(out->first, sizeof out->first, "%lld vectors are not of length 1, the first is item number %lld",
                     (long long)long_ones, (long long)first);
        else if (broken > 0)
            snprintf(out->first, sizeof out->first, "the index %s is there but not usable", v->index);
    }
    PQclear(r);
    pg_params_free(&p);
    return code;
}

static int pgv_check(void *self, vector_check_report *out, braid_error *err) {
    return pgv_with(self, 0, check_work, out, err);
}

const vector_ops vector_pgvector = {
    .version = 1,
    .name = "pgvector",
    .caps = VECTOR_CAP_ALLOW | VECTOR_CAP_REMOTE | VECTOR_CAP_FIELDS | VECTOR_CAP_VERSIONS,
    .open = pgv_open,
    .close = pgv_close,
    .upsert = pgv_upsert,
    .remove = pgv_remove,
    .search = pgv_search,
    .fetch = pgv_fetch,
    .fetch_many = pgv_fetch_many,
    .score = pgv_score,
    .estimate = pgv_estimate,
    .scan = pgv_scan,
    .clear = pgv_clear,
    .check = pgv_check,
    .info = pgv_info,
};
