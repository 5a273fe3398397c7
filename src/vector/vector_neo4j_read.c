/* Reading vectors back from Neo4j: one, the scores of given ones, all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector/vector_neo4j.h"

/* ---- one ---- */

typedef struct fetched {
    float *out;
    uint32_t dim;
    bool found;
} fetched;

static int see_vector(void *ctx, bolt_row *row, braid_error *err) {
    fetched *x = ctx;
    size_t n;
    if (!ps_read_floats(&row->values, x->out, x->dim, &n)) return vector_neo4j_bad_row(row, err);
    x->found = n == x->dim;
    return BRAID_OK;
}

int vector_neo4j_fetch(void *self, uint32_t num, deadline until, float *out, braid_error *err) {
    vector_neo4j_self *v = self;
    fetched x = {.out = out, .dim = v->options.dim};
    bolt_call call = {.access = BOLT_READ, .until = until};
    buf p;
    buf_init(&p, 0);
    ps_put_map(&p, 1);
    ps_put_str(&p, "num");
    ps_put_int(&p, num);
    int rc = vector_neo4j_run(v, &call, vector_neo4j_statements.fetch, &p, see_vector, &x, err);
    if (rc == BRAID_OK && !x.found)
        rc = error_set(err, BRAID_E_NOT_FOUND, VECTOR_NEO4J_STORE, "item number %u has no vector", num);
    return rc;
}

/* ---- given ones ---- */

typedef struct wanted {
    uint32_t num;
    size_t at;
} wanted;

static int compare_wanted(const void *a, const void *b) {
    const wanted *x = a, *y = b;
    if (x->num != y->num) return x->num < y->num ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The first place that asks for `num`, or n. */
static size_t first_wanted(const wanted *list, size_t n, uint32_t num) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (list[mid].num < num)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The numbers, sorted, and each once as the parameter "nums"; NULL when memory ran out. */
static wanted *want(const uint32_t *nums, size_t n, buf *p) {
    wanted *list = malloc(n * sizeof *list);
    if (list == NULL) return NULL;
    for (size_t i = 0; i < n; i++) list[i] = (wanted){nums[i], i};
    qsort(list, n, sizeof *list, compare_wanted);
    ps_put_str(p, "nums");
    size_t at = ps_open_list(p), asked = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && list[i - 1].num == list[i].num) continue;
        ps_put_int(p, list[i].num);
        asked++;
    }
    ps_close(p, at, asked);
    return list;
}

typedef struct gathered {
    wanted *nums; /* sorted by number */
    size_t n;
    float *out, *row;
    bool *found;
    uint32_t dim;
} gathered;

static int see_vectors(void *ctx, bolt_row *row, braid_error *err) {
    gathered *x = ctx;
    uint32_t num;
    size_t len;
    if (!vector_neo4j_read_num(&row->values, &num) || !ps_read_floats(&row->values, x->row, x->dim, &len))
        return vector_neo4j_bad_row(row, err);
    if (len != x->dim) return BRAID_OK; /* somebody else's: check() tells of it */
    for (size_t i = first_wanted(x->nums, x->n, num); i < x->n && x->nums[i].num == num; i++) {
        memcpy(x->out + x->nums[i].at * x->dim, x->row, x->dim * sizeof(float));
        x->found[x->nums[i].at] = true;
    }
    return BRAID_OK;
}

int vector_neo4j_fetch_many(void *self, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                            braid_error *err) {
    vector_neo4j_self *v = self;
    gathered x = {.out = out, .found = found, .dim = v->options.dim, .row = malloc(v->options.dim * sizeof(float))};
    bolt_call call = {.access = BOLT_READ, .until = until};
    int rc = x.row != NULL ? BRAID_OK : vector_neo4j_no_memory(err);
    memset(found, 0, n * sizeof *found);
    for (size_t at = 0; at < n && rc == BRAID_OK; at += VECTOR_NEO4J_PAGE) {
        buf p;
        bolt_parameters_begin(&p);
        ps_put_map(&p, 1);
        x.n = n - at < VECTOR_NEO4J_PAGE ? n - at : VECTOR_NEO4J_PAGE;
        x.out = out + at * x.dim;
        x.found = found + at;
        x.nums = want(nums + at, x.n, &p);
        if (x.nums != NULL) {
            rc = vector_neo4j_run(v, &call, vector_neo4j_statements.fetch_many, &p, see_vectors, &x, err);
        } else {
            buf_free(&p);
            rc = vector_neo4j_no_memory(err);
        }
        free(x.nums);
    }
    free(x.row);
    return rc;
}

/* ---- scores ---- */

typedef struct scores {
    wanted *nums; /* sorted by number */
    size_t n;
    float *out;
} scores;

static int see_score(void *ctx, bolt_row *row, braid_error *err) {
    scores *x = ctx;
    uint32_t num;
    double score;
    if (!vector_neo4j_read_num(&row->values, &num) || !ps_read_real(&row->values, &score))
        return vector_neo4j_bad_row(row, err);
    for (size_t i = first_wanted(x->nums, x->n, num); i < x->n && x->nums[i].num == num; i++)
        x->out[x->nums[i].at] = (float)(2 * score - 1);
    return BRAID_OK;
}

int vector_neo4j_score(void *self, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                       braid_error *err) {
    vector_neo4j_self *v = self;
    scores x = {.n = n, .out = out};
    float *unit = malloc(v->options.dim * sizeof *unit);
    bolt_call call = {.access = BOLT_READ, .until = until};
    int rc = unit != NULL ? vector_neo4j_unit(v, query, "the query", unit, err) : vector_neo4j_no_memory(err);
    if (rc == BRAID_OK) {
        buf p;
        bolt_parameters_begin(&p);
        ps_put_map(&p, 2);
        ps_put_str(&p, "vector");
        ps_put_floats(&p, unit, v->options.dim);
        x.nums = want(nums, n, &p);
        for (size_t i = 0; i < n; i++) out[i] = SIMILARITY_NONE;
        if (x.nums != NULL) {
            rc = vector_neo4j_run(v, &call, vector_neo4j_statements.score, &p, see_score, &x, err);
        } else {
            buf_free(&p);
            rc = vector_neo4j_no_memory(err);
        }
    }
    free(x.nums);
    free(unit);
    return rc;
}

/* ---- all ---- */

typedef struct scanner {
    vector_scan_fn *each;
    void *ctx;
    float *values;
    uint32_t dim;
    int64_t after;
    size_t rows;
    bool enough;
} scanner;

static int see_scanned(void *ctx, bolt_row *row, braid_error *err) {
    scanner *x = ctx;
    uint32_t num;
    int64_t version = 0;
    bool none;
    size_t n;
    if (!vector_neo4j_read_num(&row->values, &num) || !ps_read_null(&row->values, &none) ||
        (!none && !ps_read_int(&row->values, &version)) || !ps_read_floats(&row->values, x->values, x->dim, &n))
        return vector_neo4j_bad_row(row, err);
    x->after = num;
    x->rows++;
    if (n != x->dim) return BRAID_OK; /* somebody else's: check() tells of it */
    x->enough = !x->each(x->ctx, num, version > 0 ? (uint64_t)version : 0, x->values);
    return x->enough ? BOLT_ENOUGH : BRAID_OK;
}

/* Page by page in the order of numbers: each page is a request of its own, with its own time. */
int vector_neo4j_scan(void *self, vector_scan_fn *each, void *ctx, braid_error *err) {
    vector_neo4j_self *v = self;
    scanner x = {.each = each, .ctx = ctx, .dim = v->options.dim, .after = -1, .rows = VECTOR_NEO4J_PAGE};
    x.values = malloc(v->options.dim * sizeof *x.values);
    int rc = x.values != NULL ? BRAID_OK : vector_neo4j_no_memory(err);
    while (rc == BRAID_OK && x.rows == VECTOR_NEO4J_PAGE && !x.enough) {
        bolt_call call = vector_neo4j_write_call(v);
        call.access = BOLT_READ;
        buf p;
        buf_init(&p, 0);
        ps_put_map(&p, 2);
        ps_put_str(&p, "after");
        ps_put_int(&p, x.after);
        ps_put_str(&p, "most");
        ps_put_int(&p, VECTOR_NEO4J_PAGE);
        x.rows = 0;
        rc = vector_neo4j_run(v, &call, vector_neo4j_statements.scan, &p, see_scanned, &x, err);
    }
    free(x.values);
    return rc;
}
