/* graph: the thin forwarder in front of every graph store, and the registry.
 *
 * Arguments are checked, calls timed and truncated walks counted here once, and a store in another process is asked
 * only while its breaker lets calls pass (one for reads, one for writes), so that an adapter holds only its own
 * work. */
#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

#include "graph/graph_adjacency.h"
#include "graph/graph_neo4j.h"

enum { GRAPH_SEEDS_MAX = 64, GRAPH_DEPTH_MAX = 3, GRAPH_HUB_DEFAULT = 200, GRAPH_VISITS_DEFAULT = 200000 };

struct graph_store {
    const graph_ops *ops;
    void *self;
    const clock_ops *clock;
    breaker *reads, *writes; /* NULL for a store in this process */
    metric_histogram *walk_time;
    metric_counter *walks_cut;
};

const graph_ops *graph_registry(size_t i) {
    static const graph_ops *const rows[] = {&graph_adjacency_ops, &graph_neo4j_ops};
    return i < sizeof rows / sizeof rows[0] ? rows[i] : NULL;
}

const graph_ops *graph_find(const char *name) {
    for (size_t i = 0; graph_registry(i) != NULL; i++)
        if (strcmp(graph_registry(i)->name, name) == 0) return graph_registry(i);
    return NULL;
}

static int make_breakers(graph_store *s, const graph_options *options, braid_error *err) {
    breaker_options o = {.store = s->ops->name, .calls = "read", .clock = s->clock, .metrics = options->metrics};
    int rc = breaker_new(&o, &s->reads, err);
    o.calls = "write";
    return rc != BRAID_OK ? rc : breaker_new(&o, &s->writes, err);
}

int graph_open(const graph_ops *ops, const graph_options *options, graph_store **out, braid_error *err) {
    BRAID_ASSERT(ops != NULL && options != NULL && options->clock != NULL && out != NULL);
    *out = NULL;
    graph_store *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(err, BRAID_E_NO_MEMORY, "graph", "no memory to open the graph");
    graph_options o = *options;
    if (o.hub_max == 0) o.hub_max = GRAPH_HUB_DEFAULT;
    if (o.visits_max == 0) o.visits_max = GRAPH_VISITS_DEFAULT;
    s->ops = ops;
    s->clock = options->clock;
    int rc = ops->caps & GRAPH_CAP_REMOTE ? make_breakers(s, &o, err) : BRAID_OK;
    if (rc == BRAID_OK) rc = ops->open(&o, &s->self, err);
    if (rc != BRAID_OK) {
        breaker_free(s->reads);
        breaker_free(s->writes);
        free(s);
        return rc;
    }
    if (options->metrics != NULL) {
        s->walk_time =
            metrics_histogram(options->metrics, "graph_walk_duration_seconds", "", "Time of one walk of the graph");
        s->walks_cut = metrics_counter(options->metrics, "graph_walks_cut_total", "",
                                       "Walks that ended at their deadline or at visits_max");
    }
    *out = s;
    return BRAID_OK;
}

void graph_close(graph_store *s) {
    if (s == NULL) return;
    s->ops->close(s->self);
    breaker_free(s->reads);
    breaker_free(s->writes);
    free(s);
}

void graph_touched(graph_store *s, const uint32_t *nums, size_t n, uint64_t lsn) {
    if (s->ops->touched != NULL && n > 0) s->ops->touched(s->self, nums, n, lsn);
}

void graph_touched_all(graph_store *s, uint64_t lsn) {
    if (s->ops->touched != NULL) s->ops->touched(s->self, NULL, 0, lsn);
}

const char *graph_name(const graph_store *s) {
    return s->ops->name;
}

unsigned graph_caps_of(const graph_store *s) {
    return s->ops->caps;
}

/* ---- asking, and telling the breaker how it went ---- */

typedef struct call {
    breaker *gate;
    breaker_ticket ticket;
} call;

/* Not BRAID_OK: the store must not be asked; there is nothing to end. */
static int call_begin(call *c, const graph_store *s, breaker *gate, deadline until, braid_error *err) {
    *c = (call){.gate = gate};
    if (gate == NULL) return BRAID_OK;
    if (deadline_passed(s->clock, until))
        return error_set(err, BRAID_E_DEADLINE, s->ops->name, "no time was left to ask");
    return breaker_enter_until(gate, until, &c->ticket, err);
}

static int call_end(call *c, int rc) {
    if (c->gate != NULL) breaker_done(c->gate, c->ticket, rc);
    return rc;
}

/* ---- writing ---- */

static int graph_check_num(uint32_t num, braid_error *err) {
    if (num == 0) return error_set(err, BRAID_E_INVALID, "graph", "item number 0 is not an item");
    if (num > GRAPH_NUM_MAX)
        return error_set(err, BRAID_E_TOO_LARGE, "graph", "item number %u is over %u", num, (unsigned)GRAPH_NUM_MAX);
    return BRAID_OK;
}

static int graph_check_edge(const graph_edge *e, bool strength, braid_error *err) {
    int rc = graph_check_num(e->from, err);
    if (rc == BRAID_OK) rc = graph_check_num(e->to, err);
    if (rc != BRAID_OK) return rc;
    if (e->type == NULL || !relation_type_valid(e->type))
        return error_set(err, BRAID_E_INVALID, "graph", "the relation type \"%.64s\" is not [A-Z][A-Z0-9_]{0,63}",
                         e->type != NULL ? e->type : "");
    if (strength && !(e->strength >= 0.0f && e->strength <= 1.0f))
        return error_set(err, BRAID_E_INVALID, "graph", "the strength of a relation is 0..1, not %g",
                         (double)e->strength);
    return BRAID_OK;
}

int graph_upsert_items(graph_store *s, const graph_item *items, size_t n, braid_error *err) {
    call c;
    int rc = BRAID_OK;
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) rc = graph_check_num(items[i].num, err);
    if (rc == BRAID_OK && n > 0 && (rc = call_begin(&c, s, s->writes, 0, err)) == BRAID_OK)
        rc = call_end(&c, s->ops->upsert_items(s->self, items, n, err));
    return rc;
}

int graph_remove_items(graph_store *s, const uint32_t *nums, size_t n, braid_error *err) {
    call c;
    int rc = BRAID_OK;
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) rc = graph_check_num(nums[i], err);
    if (rc == BRAID_OK && n > 0 && (rc = call_begin(&c, s, s->writes, 0, err)) == BRAID_OK)
        rc = call_end(&c, s->ops->remove_items(s->self, nums, n, err));
    return rc;
}

int graph_upsert_relations(graph_store *s, const graph_edge *edges, size_t n, braid_error *err) {
    call c;
    int rc = BRAID_OK;
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) rc = graph_check_edge(&edges[i], true, err);
    if (rc == BRAID_OK && n > 0 && (rc = call_begin(&c, s, s->writes, 0, err)) == BRAID_OK)
        rc = call_end(&c, s->ops->upsert_relations(s->self, edges, n, err));
    return rc;
}

int graph_remove_relations(graph_store *s, const graph_edge *edges, size_t n, braid_error *err) {
    call c;
    int rc = BRAID_OK;
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) rc = graph_check_edge(&edges[i], false, err);
    if (rc == BRAID_OK && n > 0 && (rc = call_begin(&c, s, s->writes, 0, err)) == BRAID_OK)
        rc = call_end(&c, s->ops->remove_relations(s->self, edges, n, err));
    return rc;
}

int graph_clear(graph_store *s, braid_error *err) {
    call c;
    int rc = call_begin(&c, s, s->writes, 0, err);
    return rc != BRAID_OK ? rc : call_end(&c, s->ops->clear(s->self, err));
}

/* ---- reading ---- */

int graph_walk_from(graph_store *s, const graph_walk *w, graph_hit *out, size_t *count, graph_stats *stats,
                    braid_error *err) {
    graph_stats unused;
    stats = stats != NULL ? stats : &unused;
    *stats = (graph_stats){0};
    *count = 0;
    if (w->seed_count < 1 || w->seed_count > GRAPH_SEEDS_MAX)
        return error_set(err, BRAID_E_INVALID, "graph", "a walk has 1..%d seeds, not %zu", GRAPH_SEEDS_MAX,
                         w->seed_count);
    if (w->depth < 1 || w->depth > GRAPH_DEPTH_MAX)
        return error_set(err, BRAID_E_INVALID, "graph", "the depth of a walk is 1..%d, not %u", GRAPH_DEPTH_MAX,
                         w->depth);
    if (w->k == 0) return BRAID_OK;
    call c;
    int64_t start = clock_mono_ns(s->clock);
    int rc = call_begin(&c, s, s->reads, w->until, err);
    if (rc != BRAID_OK) return rc;
    rc = call_end(&c, s->ops->walk(s->self, w, out, count, stats, err));
    metric_observe_us(s->walk_time, (double)(clock_mono_ns(s->clock) - start) / 1e3);
    if (stats->truncated || stats->deadline) metric_add(s->walks_cut, 1);
    return rc;
}

int graph_enrich_batch(graph_store *s, const uint32_t *nums, size_t n, deadline until, graph_enrich_fn *each, void *ctx,
                       bool *found, braid_error *err) {
    call c;
    for (size_t i = 0; i < n; i++) found[i] = false;
    if (n == 0) return BRAID_OK;
    int rc = call_begin(&c, s, s->reads, until, err);
    return rc != BRAID_OK ? rc : call_end(&c, s->ops->enrich_batch(s->self, nums, n, until, each, ctx, found, err));
}

typedef struct one_item {
    bool (*each)(void *ctx, const graph_neighbour *n);
    void *ctx;
} one_item;

static bool of_one_item(void *ctx, size_t which, const graph_neighbour *n) {
    one_item *x = ctx;
    (void)which;
    return x->each(x->ctx, n);
}

int graph_neighbours(graph_store *s, uint32_t num, deadline until, bool (*each)(void *ctx, const graph_neighbour *n),
                     void *ctx, braid_error *err) {
    one_item x = {each, ctx};
    bool found;
    int rc = graph_enrich_batch(s, &num, 1, until, of_one_item, &x, &found, err);
    if (rc != BRAID_OK || found) return rc;
    return error_set(err, BRAID_E_NOT_FOUND, s->ops->name, "the graph has no item number %u", num);
}

int graph_shared(graph_store *s, const graph_pair *pairs, size_t n, size_t max, deadline until, graph_neighbour *out,
                 size_t *counts, arena *mem, braid_error *err) {
    call c;
    for (size_t i = 0; i < n; i++) counts[i] = 0;
    if (n == 0 || max == 0) return BRAID_OK;
    int rc = call_begin(&c, s, s->reads, until, err);
    if (rc != BRAID_OK) return rc;
    rc = call_end(&c, s->ops->shared(s->self, pairs, n, max, until, out, counts, mem, err));
    for (size_t i = 0; i < n; i++) {
        if (rc != BRAID_OK) counts[i] = 0;
        BRAID_ASSERT(counts[i] <= max);
    }
    return rc;
}

void graph_estimate(graph_store *s, size_t seeds, unsigned depth, graph_cost *out) {
    *out = (graph_cost){0};
    s->ops->estimate(s->self, seeds, depth, out);
}

int graph_scan(graph_store *s, graph_node_fn *item_fn, bool (*edge_fn)(void *ctx, const graph_edge *e), void *ctx,
               braid_error *err) {
    call c;
    int rc = call_begin(&c, s, s->reads, 0, err);
    return rc != BRAID_OK ? rc : call_end(&c, s->ops->scan(s->self, item_fn, edge_fn, ctx, err));
}

int graph_check(graph_store *s, buf *problems, braid_error *err) {
    call c;
    int rc = call_begin(&c, s, s->reads, 0, err);
    return rc != BRAID_OK ? rc : call_end(&c, s->ops->check(s->self, problems, err));
}

void graph_get_info(graph_store *s, graph_info *out) {
    *out = (graph_info){0};
    s->ops->info(s->self, out);
}
