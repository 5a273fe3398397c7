/* The vector store in a Neo4j server (5.15 and later): opening, counting, checking and clearing. What it keeps is drawn
 * in vector_neo4j.h, the statements stand in vector_neo4j_cypher.c.
 *
 * Opening makes the constraints and the vector index where they are missing, with the dimension of the database, and
 * waits until the index answers. An index of another dimension is made anew when no vector is stored; otherwise opening
 * fails, since nothing here may throw away what somebody stored. */
#include "vector/vector_neo4j.h"

#include <stdlib.h>
#include <string.h>

#include "vector/stores.h"

enum { BATCH_DEFAULT = 1000, BATCH_MAX = 10000, CONSTRAINTS = 2 };

/* ---- calls ---- */

int vector_neo4j_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, VECTOR_NEO4J_STORE, "no memory for a request");
}

int vector_neo4j_bad_row(bolt_row *row, braid_error *err) {
    return ps_error(&row->values, VECTOR_NEO4J_STORE, err);
}

bool vector_neo4j_read_num(ps_reader *r, uint32_t *out) {
    int64_t value;
    if (!ps_read_int(r, &value)) return false;
    if (value < 0 || value > UINT32_MAX) return ps_refuse(r, "a number is not in 0..2^32-1");
    *out = (uint32_t)value;
    return true;
}

int vector_neo4j_run(vector_neo4j_self *v, const bolt_call *call, const char *text, buf *p, bolt_each each, void *ctx,
                     braid_error *err) {
    bolt_statement s = {.text = text, .each = each, .ctx = ctx};
    int rc = BRAID_OK;
    if (p != NULL) {
        s.parameters = p->data;
        s.parameters_len = p->len;
        if (p->failed) rc = vector_neo4j_no_memory(err);
    }
    if (rc == BRAID_OK) rc = bolt_run(v->bolt, call, &s, err);
    if (p != NULL) buf_free(p);
    return rc;
}

bolt_call vector_neo4j_write_call(const vector_neo4j_self *v) {
    return (bolt_call){
        .access = BOLT_WRITE, .until = clock_mono_ns(v->clock) + (int64_t)v->write_ms * 1000000, .idempotent = true};
}

int vector_neo4j_see_count(void *ctx, bolt_row *row, braid_error *err) {
    int64_t value;
    if (!ps_read_int(&row->values, &value)) return vector_neo4j_bad_row(row, err);
    *(uint64_t *)ctx += value > 0 ? (uint64_t)value : 0;
    return BRAID_OK;
}

static int count(vector_neo4j_self *v, const char *text, uint64_t *out, braid_error *err) {
    bolt_call call = {.access = BOLT_READ, .until = vector_neo4j_write_call(v).until};
    *out = 0;
    return vector_neo4j_run(v, &call, text, NULL, vector_neo4j_see_count, out, err);
}

/* ---- constraints and the index ---- */

static int keep_constraints(vector_neo4j_self *v, braid_error *err) {
    uint64_t there;
    int rc = count(v, vector_neo4j_statements.constraints, &there, err);
    for (size_t i = 0; rc == BRAID_OK && there < CONSTRAINTS && i < CONSTRAINTS; i++) {
        bolt_call call = vector_neo4j_write_call(v);
        rc = vector_neo4j_run(v, &call, vector_neo4j_statements.create_constraints[i], NULL, NULL, NULL, err);
    }
    if (rc == BRAID_OK) rc = count(v, vector_neo4j_statements.constraints, &there, err);
    if (rc == BRAID_OK && there < CONSTRAINTS)
        rc = error_set(
            err, BRAID_E_UNAVAILABLE, VECTOR_NEO4J_STORE,
            "%s has no uniqueness constraints on MediaContent.num and Removed.num; without them nodes double: "
            "create them as in cypher/003_vector_index.cypher",
            v->options.remote->address);
    return rc;
}

typedef struct found_index {
    bool there, cosine;
    uint32_t dim;
    char name[128];
} found_index;

static int see_index(void *ctx, bolt_row *row, braid_error *err) {
    found_index *x = ctx;
    ps_text name, measure;
    if (!ps_read_text(&row->values, &name) || !vector_neo4j_read_num(&row->values, &x->dim) ||
        !ps_read_text(&row->values, &measure))
        return vector_neo4j_bad_row(row, err);
    x->there = true;
    x->cosine = ps_text_is(measure, "COSINE") || ps_text_is(measure, "cosine");
    ps_text_copy(name, x->name, sizeof x->name);
    return BRAID_OK;
}

static int find_index(vector_neo4j_self *v, found_index *x, braid_error *err) {
    bolt_call call = {.access = BOLT_READ};
    *x = (found_index){.there = false};
    return vector_neo4j_run(v, &call, vector_neo4j_statements.indexes, NULL, see_index, x, err);
}

/* `whole` needs a server of 5.23; older ones never quantise and have fixed parameters of the graph. */
static int create_index(vector_neo4j_self *v, bool whole, braid_error *err) {
    buf p;
    bolt_call call = vector_neo4j_write_call(v);
    buf_init(&p, 0);
    ps_put_map(&p, 1);
    ps_put_str(&p, "options");
    ps_put_map(&p, 1);
    ps_put_str(&p, "indexConfig");
    ps_put_map(&p, whole ? 5 : 2);
    ps_put_str(&p, "vector.dimensions");
    ps_put_int(&p, v->options.dim);
    ps_put_str(&p, "vector.similarity_function");
    ps_put_str(&p, "cosine");
    if (whole) {
        ps_put_str(&p, "vector.quantization.enabled");
        ps_put_bool(&p, false);
        ps_put_str(&p, "vector.hnsw.m");
        ps_put_int(&p, v->options.m > 0 ? v->options.m : 16);
        ps_put_str(&p, "vector.hnsw.ef_construction");
        ps_put_int(&p, v->options.ef_construction > 0 ? v->options.ef_construction : 200);
    }
    return vector_neo4j_run(v, &call, vector_neo4j_statements.create_index, &p, NULL, NULL, err);
}

static int make_index(vector_neo4j_self *v, braid_error *err) {
    braid_error why = {0};
    int rc = create_index(v, true, &why);
    if (rc == BRAID_E_INVALID || rc == BRAID_E_CONFLICT) return create_index(v, false, err);
    return rc == BRAID_OK ? rc : error_set(err, rc, why.store, "%s", why.message);
}

/* An index of another dimension goes if it is ours and no vector is stored. */
static int replace_index(vector_neo4j_self *v, const found_index *x, braid_error *err) {
    uint64_t stored;
    int rc = count(v, vector_neo4j_statements.count, &stored, err);
    if (rc != BRAID_OK) return rc;
    if (stored > 0 || strcmp(x->name, VECTOR_NEO4J_INDEX) != 0)
        return error_set(err, BRAID_E_CONFLICT, VECTOR_NEO4J_STORE,
                         "%s has the vector index %.60s of %u dimensions (%s) and %llu vectors, not %u by cosine: use "
                         "another database there, or remove them",
                         v->options.remote->address, x->name, x->dim, x->cosine ? "cosine" : "not cosine",
                         (unsigned long long)stored, v->options.dim);
    bolt_call call = vector_neo4j_write_call(v);
    rc = vector_neo4j_run(v, &call, vector_neo4j_statements.drop_index, NULL, NULL, NULL, err);
    return rc == BRAID_OK ? make_index(v, err) : rc;
}

static int await_index(vector_neo4j_self *v, braid_error *err) {
    buf p;
    bolt_call call = {.access = BOLT_READ,
                      .until = clock_mono_ns(v->clock) + (int64_t)(VECTOR_NEO4J_ONLINE_S + 5) * 1000000000};
    buf_init(&p, 0);
    ps_put_map(&p, 2);
    ps_put_str(&p, "index");
    ps_put_str(&p, v->index);
    ps_put_str(&p, "seconds");
    ps_put_int(&p, VECTOR_NEO4J_ONLINE_S);
    return vector_neo4j_run(v, &call, vector_neo4j_statements.await_index, &p, NULL, NULL, err);
}

static int keep_index(vector_neo4j_self *v, braid_error *err) {
    found_index x;
    int rc = find_index(v, &x, err);
    if (rc == BRAID_OK && !x.there)
        rc = make_index(v, err);
    else if (rc == BRAID_OK && (x.dim != v->options.dim || !x.cosine))
        rc = replace_index(v, &x, err);
    if (rc == BRAID_OK) rc = find_index(v, &x, err);
    if (rc == BRAID_OK && (!x.there || x.dim != v->options.dim || !x.cosine))
        rc = error_set(err, BRAID_E_UNAVAILABLE, VECTOR_NEO4J_STORE,
                       "%s did not make the vector index of %u dimensions; Neo4j 5.15 or later is needed",
                       v->options.remote->address, v->options.dim);
    if (rc != BRAID_OK) return rc;
    memcpy(v->index, x.name, sizeof v->index);
    return await_index(v, err);
}

/* ---- opening ---- */

static void vector_neo4j_close(void *self) {
    vector_neo4j_self *v = self;
    if (v == NULL) return;
    bolt_close(v->bolt);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

static int check_options(const vector_options *o, braid_error *err) {
    const remote_options *r = o->remote;
    if (o->dim == 0 || o->dim > MODEL_DIM_MAX)
        return error_set(err, BRAID_E_DIMENSION, VECTOR_NEO4J_STORE, "dimension %u is not in 1..%d", o->dim,
                         MODEL_DIM_MAX);
    if (r == NULL || r->address == NULL || r->address[0] == '\0')
        return error_set(err, BRAID_E_INVALID, VECTOR_NEO4J_STORE,
                         "the address of the server is not given: neo4j.address");
    return BRAID_OK;
}

static int vector_neo4j_open(const vector_options *options, void **self, braid_error *err) {
    *self = NULL;
    int rc = check_options(options, err);
    if (rc != BRAID_OK) return rc;
    const remote_options *r = options->remote;
    vector_neo4j_self *v = calloc(1, sizeof *v);
    if (v == NULL) return vector_neo4j_no_memory(err);
    pthread_mutex_init(&v->lock, NULL);
    v->options = *options;
    v->clock = options->clock != NULL ? options->clock : &clock_system;
    v->batch = r->batch == 0 ? BATCH_DEFAULT : r->batch < BATCH_MAX ? r->batch : BATCH_MAX;
    v->write_ms = remote_write_ms(r);
    bolt_options o = {.remote = r, .name = VECTOR_NEO4J_STORE, .clock = v->clock, .metrics = options->metrics};
    rc = bolt_open(&o, &v->bolt, err);
    if (rc == BRAID_OK) rc = keep_constraints(v, err);
    if (rc == BRAID_OK) rc = keep_index(v, err);
    if (rc != BRAID_OK) {
        vector_neo4j_close(v);
        return rc;
    }
    *self = v;
    return BRAID_OK;
}

/* ---- counting, checking, clearing ---- */

static void vector_neo4j_info(void *self, vector_info *out) {
    vector_neo4j_self *v = self;
    braid_error err = {0};
    if (count(v, vector_neo4j_statements.count, &out->count, &err) != BRAID_OK)
        log_write(v->options.log, LOG_WARN, "vector", "cannot count what %s holds: %s", v->options.remote->address,
                  err.message);
    out->kernel = "the server's";
}

static int see_check(void *ctx, bolt_row *row, braid_error *err) {
    vector_check_report *out = ctx;
    int64_t checked, problems, first = 0;
    bool none;
    if (!ps_read_int(&row->values, &checked) || !ps_read_int(&row->values, &problems) ||
        !ps_read_null(&row->values, &none) || (!none && !ps_read_int(&row->values, &first)))
        return vector_neo4j_bad_row(row, err);
    out->checked = (uint64_t)checked;
    out->problems = (uint64_t)problems;
    if (problems > 0)
        snprintf(out->first, sizeof out->first,
                 "item %lld has a vector of another dimension, not of unit length, or without a version",
                 (long long)first);
    return BRAID_OK;
}

static int vector_neo4j_check(void *self, vector_check_report *out, braid_error *err) {
    vector_neo4j_self *v = self;
    found_index x;
    buf p;
    bolt_call call = vector_neo4j_write_call(v);
    call.access = BOLT_READ;
    buf_init(&p, 0);
    ps_put_map(&p, 1);
    ps_put_str(&p, "dim");
    ps_put_int(&p, v->options.dim);
    int rc = vector_neo4j_run(v, &call, vector_neo4j_statements.check, &p, see_check, out, err);
    if (rc == BRAID_OK) rc = find_index(v, &x, err);
    if (rc == BRAID_OK && (!x.there || x.dim != v->options.dim)) {
        if (out->problems++ == 0) snprintf(out->first, sizeof out->first, "the vector index is gone");
    }
    return rc;
}

static int clear_all(vector_neo4j_self *v, const char *text, braid_error *err) {
    uint64_t done = VECTOR_NEO4J_PAGE;
    int rc = BRAID_OK;
    while (rc == BRAID_OK && done >= VECTOR_NEO4J_PAGE) {
        buf p;
        bolt_call call = vector_neo4j_write_call(v);
        buf_init(&p, 0);
        ps_put_map(&p, 1);
        ps_put_str(&p, "most");
        ps_put_int(&p, VECTOR_NEO4J_PAGE);
        done = 0;
        rc = vector_neo4j_run(v, &call, text, &p, vector_neo4j_see_count, &done, err);
    }
    return rc;
}

static int vector_neo4j_clear(void *self, braid_error *err) {
    int rc = clear_all(self, vector_neo4j_statements.clear, err);
    return rc == BRAID_OK ? clear_all(self, vector_neo4j_statements.clear_removed, err) : rc;
}

const vector_ops vector_neo4j = {
    .version = 1,
    .name = "neo4j",
    .caps = VECTOR_CAP_ALLOW | VECTOR_CAP_REMOTE | VECTOR_CAP_VERSIONS,
    .open = vector_neo4j_open,
    .close = vector_neo4j_close,
    .upsert = vector_neo4j_upsert,
    .remove = vector_neo4j_remove,
    .search = vector_neo4j_search,
    .fetch = vector_neo4j_fetch,
    .fetch_many = vector_neo4j_fetch_many,
    .score = vector_neo4j_score,
    .estimate = vector_neo4j_estimate,
    .scan = vector_neo4j_scan,
    .clear = vector_neo4j_clear,
    .check = vector_neo4j_check,
    .info = vector_neo4j_info,
};
