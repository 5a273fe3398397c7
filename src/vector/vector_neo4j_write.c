/* Writing vectors to Neo4j, in batches of `batch` rows, each one transaction and one round trip. Everything is checked
 * before the first is sent; after an error of the server the batches that went before stay, and the feed does the call
 * again. Rows go in the order of their numbers, as those of a graph store on the same server do, so that the two do not
 * wait for each other in a circle; should they all the same, the server picks one and it is done again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vector/vector_neo4j.h"

int vector_neo4j_unit(const vector_neo4j_self *v, const float *values, const char *of, float *out, braid_error *err) {
    memcpy(out, values, v->options.dim * sizeof *out);
    if (vector_normalise(out, v->options.dim)) return BRAID_OK;
    return error_set(err, BRAID_E_NOT_FINITE, VECTOR_NEO4J_STORE,
                     "the vector of %s is all zero, or holds a value that is NaN or infinite", of);
}

typedef struct row {
    uint32_t num;
    uint64_t version;
    size_t at;
} row;

static int compare_row(const void *a, const void *b) {
    const row *x = a, *y = b;
    if (x->num != y->num) return x->num < y->num ? -1 : 1;
    if (x->version != y->version) return x->version < y->version ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Of each number the newest, the last of equals; all of them checked. */
static int sort_rows(const vector_neo4j_self *v, const vector_entry *entries, row *rows, size_t *n, float *unit,
                     braid_error *err) {
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        char of[32];
        snprintf(of, sizeof of, "item %u", entries[i].num);
        int rc = vector_neo4j_unit(v, entries[i].values, of, unit, err);
        if (rc == BRAID_OK && entries[i].version > INT64_MAX)
            rc = error_set(err, BRAID_E_TOO_LARGE, VECTOR_NEO4J_STORE, "the version of %s is over 2^63-1", of);
        if (rc != BRAID_OK) return rc;
        rows[i] = (row){entries[i].num, entries[i].version, i};
    }
    qsort(rows, *n, sizeof *rows, compare_row);
    for (size_t i = 0; i < *n; i++)
        if (i + 1 == *n || rows[i + 1].num != rows[i].num) rows[kept++] = rows[i];
    *n = kept;
    return BRAID_OK;
}

static int upsert_batch(vector_neo4j_self *v, const vector_entry *entries, const row *rows, size_t n, float *unit,
                        braid_error *err) {
    buf p;
    bolt_call call = vector_neo4j_write_call(v);
    bolt_parameters_begin(&p);
    ps_put_map(&p, 1);
    ps_put_str(&p, "rows");
    ps_put_list(&p, n);
    for (size_t i = 0; i < n; i++) {
        vector_neo4j_unit(v, entries[rows[i].at].values, "", unit, NULL); /* was checked */
        ps_put_list(&p, 3);
        ps_put_int(&p, rows[i].num);
        ps_put_int(&p, (int64_t)rows[i].version);
        ps_put_floats(&p, unit, v->options.dim);
    }
    return vector_neo4j_run(v, &call, vector_neo4j_statements.upsert, &p, NULL, NULL, err);
}

int vector_neo4j_upsert(void *self, const vector_entry *entries, size_t n, braid_error *err) {
    vector_neo4j_self *v = self;
    row *rows = malloc(n * sizeof *rows);
    float *unit = malloc(v->options.dim * sizeof *unit);
    int rc = rows != NULL && unit != NULL ? sort_rows(v, entries, rows, &n, unit, err) : vector_neo4j_no_memory(err);
    for (size_t at = 0; rc == BRAID_OK && at < n; at += v->batch)
        rc = upsert_batch(v, entries, rows + at, n - at < v->batch ? n - at : v->batch, unit, err);
    free(rows);
    free(unit);
    return rc;
}

/* ---- removing ---- */

static void put_nums(buf *p, int64_t now, const uint32_t *nums, size_t n) {
    bolt_parameters_begin(p);
    ps_put_map(p, 3);
    ps_put_str(p, "now");
    ps_put_int(p, now);
    ps_put_str(p, "before");
    ps_put_int(p, now - VECTOR_NEO4J_REMEMBER_MS);
    ps_put_str(p, "nums");
    ps_put_list(p, n);
    for (size_t i = 0; i < n; i++) ps_put_int(p, nums[i]);
}

/* The removal is remembered, and those that are old enough are forgotten, in the same transaction. */
static int remove_batch(vector_neo4j_self *v, const uint32_t *nums, size_t n, braid_error *err) {
    const vector_neo4j_cypher *c = &vector_neo4j_statements;
    const char *const texts[] = {c->remember, c->remove, c->forget};
    bolt_statement s[3];
    bolt_call call = vector_neo4j_write_call(v);
    buf p;
    put_nums(&p, clock_wall_ms(v->clock), nums, n);
    for (size_t i = 0; i < 3; i++)
        s[i] = (bolt_statement){.text = texts[i], .parameters = p.data, .parameters_len = p.len};
    int rc = p.failed ? vector_neo4j_no_memory(err) : bolt_transact(v->bolt, &call, s, 3, err);
    buf_free(&p);
    return rc;
}

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int vector_neo4j_remove(void *self, const uint32_t *nums, size_t n, braid_error *err) {
    vector_neo4j_self *v = self;
    uint32_t *sorted = malloc(n * sizeof *sorted);
    size_t kept = 0;
    if (sorted == NULL) return vector_neo4j_no_memory(err);
    memcpy(sorted, nums, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_u32);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || sorted[kept - 1] != sorted[i]) sorted[kept++] = sorted[i];
    int rc = BRAID_OK;
    for (size_t at = 0; rc == BRAID_OK && at < kept; at += v->batch)
        rc = remove_batch(v, sorted + at, kept - at < v->batch ? kept - at : v->batch, err);
    free(sorted);
    return rc;
}
