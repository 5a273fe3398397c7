/* The graph store in a Neo4j server (5.15 and later): opening, counting and clearing. The model is drawn in
 * graph_neo4j.h, the statements stand in graph_neo4j_cypher.c.
 *
 * Opening makes what is missing of the constraints and indexes of cypher/, then looks whether the constraints are there
 * and fails if they are not: without them two transactions can make the same node twice, and nothing here would notice.
 * A server that is away is no reason not to start: what reads is refused until it is back, and what writes looks for
 * the constraints first.
 *
 * Writes are batches of `batch` rows, each one transaction and one round trip, safe to repeat. Reads are one round
 * trip; a walk takes one for each level.
 *
 * What a facet's members are is kept on this side, and dropped by the change log (graph_neo4j_kept.c). Nothing else is:
 * another process may write, and an answer that was right a second ago is not worth less than a millisecond. */
#include "graph/graph_neo4j.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { RULES_MAX = 32, BATCH_DEFAULT = 1000, BATCH_MAX = 10000, KEPT_TOUCH_MAX = 8 };

/* ---- constraints ---- */

typedef struct constraints_seen {
    bool there[RULES_MAX];
} constraints_seen;

static int see_constraint(void *ctx, bolt_row *row, braid_error *err) {
    constraints_seen *seen = ctx;
    ps_text label, properties;
    if (!ps_read_text(&row->values, &label) || !ps_read_text(&row->values, &properties))
        return ps_error(&row->values, GRAPH_NEO4J_STORE, err);
    const graph_neo4j_rule *rule;
    for (size_t i = 0; (rule = graph_neo4j_schema(i)) != NULL; i++)
        if (rule->label != NULL && ps_text_is(label, rule->label) && ps_text_is(properties, rule->properties))
            seen->there[i] = true;
    return BRAID_OK;
}

static int look_for_constraints(graph_neo4j *g, constraints_seen *seen, braid_error *err) {
    memset(seen, 0, sizeof *seen);
    bolt_call call = {.access = BOLT_READ};
    bolt_statement s = {.text = graph_neo4j_statements.constraints, .each = see_constraint, .ctx = seen};
    return bolt_run(g->bolt, &call, &s, err);
}

static int make_rule(graph_neo4j *g, const graph_neo4j_rule *rule, bool *refused, braid_error *err) {
    bolt_failure failure;
    braid_error why = {0};
    bolt_call call = graph_neo4j_write_call(g, &failure);
    int rc = bolt_run(g->bolt, &call, &(bolt_statement){.text = rule->create}, &why);
    if (rc == BRAID_OK) return rc;
    if (failure.class == BOLT_CLASS_NONE) return error_set(err, rc, why.store, "%s", why.message);
    *refused = !failure.retriable;
    return error_set(err, rc, GRAPH_NEO4J_STORE,
                     "%s refuses \"%.70s...\" (%.90s); mend the data or the rights there, then start again",
                     g->options.remote->address, rule->create, failure.message);
}

/* Makes what is missing, and looks again. *refused: the server was asked, and it is not as it must be. */
static int keep_schema(graph_neo4j *g, bool *refused, braid_error *err) {
    constraints_seen seen;
    const graph_neo4j_rule *rule;
    *refused = false;
    int rc = look_for_constraints(g, &seen, err);
    for (size_t i = 0; rc == BRAID_OK && (rule = graph_neo4j_schema(i)) != NULL; i++)
        if (!seen.there[i]) rc = make_rule(g, rule, refused, err);
    if (rc == BRAID_OK) rc = look_for_constraints(g, &seen, err);
    for (size_t i = 0; rc == BRAID_OK && (rule = graph_neo4j_schema(i)) != NULL; i++)
        if (rule->label != NULL && !seen.there[i]) {
            *refused = true;
            rc = error_set(err, BRAID_E_UNAVAILABLE, GRAPH_NEO4J_STORE,
                           "%s has no uniqueness constraint on %s (%s); without it nodes double: create it as in "
                           "cypher/001_graph_constraints.cypher",
                           g->options.remote->address, rule->label, rule->properties);
        }
    if (rc == BRAID_OK) atomic_store(&g->schema_kept, true);
    return rc;
}

/* Before anything is written: at most once with success. */
static int before_writing(graph_neo4j *g, braid_error *err) {
    bool refused;
    return atomic_load(&g->schema_kept) ? BRAID_OK : keep_schema(g, &refused, err);
}

static void graph_neo4j_touched(void *self, const uint32_t *nums, size_t n, uint64_t lsn) {
    graph_neo4j *g = self;
    if (g->kept == NULL) return;
    if (nums == NULL)
        graph_neo4j_kept_clear(g->kept, lsn);
    else
        graph_neo4j_kept_touched(g->kept, nums, n, lsn);
}

static int write_items(void *self, const graph_item *items, size_t n, braid_error *err) {
    int rc = before_writing(self, err);
    if (rc == BRAID_OK) rc = graph_neo4j_upsert_items(self, items, n, err);
    for (size_t i = 0; i < n && n <= KEPT_TOUCH_MAX; i++) graph_neo4j_touched(self, &items[i].num, 1, 0);
    if (n > KEPT_TOUCH_MAX) graph_neo4j_touched(self, NULL, 0, 0);
    return rc;
}

static int write_removals(void *self, const uint32_t *nums, size_t n, braid_error *err) {
    int rc = before_writing(self, err);
    if (rc == BRAID_OK) rc = graph_neo4j_remove_items(self, nums, n, err);
    graph_neo4j_touched(self, nums, n, 0);
    return rc;
}

static int write_relations(void *self, const graph_edge *edges, size_t n, braid_error *err) {
    int rc = before_writing(self, err);
    return rc != BRAID_OK ? rc : graph_neo4j_upsert_relations(self, edges, n, err);
}

static int write_removed_relations(void *self, const graph_edge *edges, size_t n, braid_error *err) {
    int rc = before_writing(self, err);
    return rc != BRAID_OK ? rc : graph_neo4j_remove_relations(self, edges, n, err);
}

/* ---- opening ---- */

static void graph_neo4j_close(void *self) {
    graph_neo4j *g = self;
    if (g == NULL) return;
    bolt_close(g->bolt);
    graph_neo4j_kept_free(g->kept);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static int graph_neo4j_open(const graph_options *options, void **self, braid_error *err) {
    *self = NULL;
    const remote_options *r = options->remote;
    if (r == NULL || r->address == NULL || r->address[0] == '\0')
        return error_set(err, BRAID_E_INVALID, GRAPH_NEO4J_STORE,
                         "the address of the server is not given: neo4j.address");
    graph_neo4j *g = calloc(1, sizeof *g);
    if (g == NULL) return error_set(err, BRAID_E_NO_MEMORY, GRAPH_NEO4J_STORE, "no memory to open the graph");
    pthread_mutex_init(&g->lock, NULL);
    g->options = *options;
    g->batch = r->batch == 0 ? BATCH_DEFAULT : r->batch < BATCH_MAX ? r->batch : BATCH_MAX;
    g->write_ms = remote_write_ms(r);
    bolt_options o = {.remote = r, .name = GRAPH_NEO4J_STORE, .clock = options->clock, .metrics = options->metrics};
    int rc = bolt_open(&o, &g->bolt, err);
    if (rc == BRAID_OK && options->kept_bytes > 0 && options->applied != NULL &&
        (g->kept = graph_neo4j_kept_new(options->kept_bytes, options->metrics)) == NULL)
        rc = graph_neo4j_no_memory(err);
    bool refused = true;
    braid_error why = {0};
    if (rc == BRAID_OK && (rc = keep_schema(g, &refused, &why)) != BRAID_OK) {
        /* A wrong password comes from the pool as UNAVAILABLE; the server's own code tells it from a server that is
         * away. */
        if (strstr(why.message, "Neo.ClientError.") != NULL) refused = true;
        if (!refused && (rc == BRAID_E_UNAVAILABLE || rc == BRAID_E_DEADLINE)) {
            if (options->log != NULL)
                log_write(options->log, LOG_WARN, GRAPH_NEO4J_STORE,
                          "not ready: %s; it is asked again with the next call", why.message);
            rc = BRAID_OK;
        } else {
            error_set(err, rc, why.store, "%s", why.message);
        }
    }
    if (rc != BRAID_OK) {
        graph_neo4j_close(g);
        return rc;
    }
    *self = g;
    return BRAID_OK;
}

/* ---- counting ---- */

enum { COUNTS = 8 };

typedef struct counts {
    uint64_t values[COUNTS];
    size_t count;
} counts;

static int see_count(void *ctx, bolt_row *row, braid_error *err) {
    counts *c = ctx;
    int64_t value;
    if (!ps_read_int(&row->values, &value)) return ps_error(&row->values, GRAPH_NEO4J_STORE, err);
    if (c->count < COUNTS) c->values[c->count++] = value > 0 ? (uint64_t)value : 0;
    return BRAID_OK;
}

static void graph_neo4j_info(void *self, graph_info *out) {
    graph_neo4j *g = self;
    counts c = {.count = 0};
    bolt_call call = {.access = BOLT_READ};
    bolt_statement s = {.text = graph_neo4j_statements.info, .each = see_count, .ctx = &c};
    braid_error err = {0};
    if (bolt_run(g->bolt, &call, &s, &err) != BRAID_OK || c.count != COUNTS) {
        log_write(g->options.log, LOG_WARN, "graph", "cannot count what %s holds: %s", g->options.remote->address,
                  err.message);
        return;
    }
    out->items = c.values[0];
    for (size_t i = 1; i <= GRAPH_NEO4J_KINDS; i++) out->facets += c.values[i];
    out->relations = c.values[6];
    out->memberships = c.values[7] > c.values[6] ? c.values[7] - c.values[6] : 0;
}

/* ---- clearing ---- */

/* Page by page, so that no transaction holds more than a page in the server's memory. */
static int clear_kind(graph_neo4j *g, const char *text, braid_error *err) {
    buf p;
    buf_init(&p, 0);
    ps_put_map(&p, 1);
    ps_put_str(&p, "most");
    ps_put_int(&p, GRAPH_NEO4J_PAGE);
    int rc = p.failed ? graph_neo4j_no_memory(err) : BRAID_OK;
    for (uint64_t done = GRAPH_NEO4J_PAGE; rc == BRAID_OK && done >= GRAPH_NEO4J_PAGE;) {
        counts c = {.count = 0};
        bolt_call call = graph_neo4j_write_call(g, NULL);
        bolt_statement s = {.text = text, .parameters = p.data, .parameters_len = p.len, .each = see_count, .ctx = &c};
        rc = bolt_run(g->bolt, &call, &s, err);
        done = c.count > 0 ? c.values[0] : 0;
    }
    buf_free(&p);
    return rc;
}

static int graph_neo4j_clear(void *self, braid_error *err) {
    int rc = before_writing(self, err);
    for (size_t i = 0; rc == BRAID_OK && i < sizeof graph_neo4j_statements.clear / sizeof(char *); i++)
        rc = clear_kind(self, graph_neo4j_statements.clear[i], err);
    graph_neo4j_touched(self, NULL, 0, 0);
    return rc;
}

const graph_ops graph_neo4j_ops = {
    .version = 1,
    .name = "neo4j",
    .caps = GRAPH_CAP_REMOTE | GRAPH_CAP_VERSIONS | GRAPH_CAP_INSPECT,
    .open = graph_neo4j_open,
    .close = graph_neo4j_close,
    .upsert_items = write_items,
    .remove_items = write_removals,
    .upsert_relations = write_relations,
    .remove_relations = write_removed_relations,
    .walk = graph_neo4j_walk,
    .estimate = graph_neo4j_estimate,
    .enrich_batch = graph_neo4j_enrich_batch,
    .shared = graph_neo4j_shared,
    .scan = graph_neo4j_scan,
    .clear = graph_neo4j_clear,
    .touched = graph_neo4j_touched,
    .check = graph_neo4j_check,
    .info = graph_neo4j_info,
};
