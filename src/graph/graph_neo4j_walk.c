/* Walking the Neo4j graph: what the walk may touch is fetched (graph_neo4j_fetch.c), put into a small graph in memory,
 * and walked there by the in-memory store. So there is one definition of the score in the program, and the two stores
 * give the same hits on the same data by construction, ties and the strongest way included.
 *
 * Numbers in the small graph are the ranks of the items' numbers: it stays small whatever the numbers are, and equal
 * scores are ordered as they would be by the numbers themselves. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph_adjacency.h"
#include "graph/graph_neo4j.h"

typedef struct local {
    graph_neo4j_fetch *f;
    uint32_t *nums;  /* sorted: the item of local number i + 1 */
    uint32_t *ranks; /* by place: the local number */
    void *graph;
} local;

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The local number of an item, or 0. */
static uint32_t local_of(const local *l, uint32_t num) {
    const uint32_t *at =
        l->f->items_count > 0 ? bsearch(&num, l->nums, l->f->items_count, sizeof num, compare_u32) : NULL;
    return at != NULL ? (uint32_t)(at - l->nums) + 1 : 0;
}

static bool rank_items(local *l) {
    size_t n = l->f->items_count;
    l->nums = malloc((n + 1) * sizeof *l->nums);
    l->ranks = malloc((n + 1) * sizeof *l->ranks);
    if (l->nums == NULL || l->ranks == NULL) return false;
    memcpy(l->nums, l->f->items, n * sizeof *l->nums);
    qsort(l->nums, n, sizeof *l->nums, compare_u32);
    for (size_t i = 0; i < n; i++) l->ranks[i] = local_of(l, l->f->items[i]);
    return true;
}

/* ---- items with their facets ---- */

static int compare_member(const void *a, const void *b) {
    const graph_neo4j_member *x = a, *y = b;
    if (x->item != y->item) return x->item < y->item ? -1 : 1;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    return x->facet < y->facet ? -1 : x->facet > y->facet;
}

/* The lists of one item from its memberships, which stand together and are sorted by kind. */
static bool fill_item(const local *l, const graph_neo4j_member *m, size_t n, item *it) {
    arena *mem = l->f->mem;
    const char **names = arena_alloc(mem, n * sizeof *names);
    string_list *lists[] = {&it->genres, &it->themes, &it->moods, &it->contexts};
    if (names == NULL) return false;
    for (size_t i = 0; i < n; i++) {
        names[i] = l->f->facets[m[i].facet].value;
        if (m[i].kind == GRAPH_PERSON) {
            if (it->people == NULL) it->people = arena_calloc(mem, n - i, sizeof *it->people);
            if (it->people == NULL) return false;
            it->people[it->people_count++] = (item_person){.name = names[i], .role = ""};
            continue;
        }
        string_list *list = lists[m[i].kind - GRAPH_GENRE];
        if (list->count++ == 0) list->values = &names[i];
    }
    return true;
}

static int put_items(const local *l, braid_error *err) {
    graph_neo4j_member *m = l->f->members;
    size_t n = l->f->members_count, items = 0;
    if (n == 0) return BRAID_OK;
    qsort(m, n, sizeof *m, compare_member);
    item *its = calloc(l->f->items_count, sizeof *its);
    graph_item *rows = calloc(l->f->items_count, sizeof *rows);
    int rc = its != NULL && rows != NULL ? BRAID_OK : graph_neo4j_no_memory(err);
    for (size_t first = 0, end; rc == BRAID_OK && first < n; first = end) {
        for (end = first + 1; end < n && m[end].item == m[first].item;) end++;
        if (!fill_item(l, m + first, end - first, &its[items])) rc = graph_neo4j_no_memory(err);
        rows[items] = (graph_item){.num = l->ranks[m[first].item], .it = &its[items]};
        items++;
    }
    if (rc == BRAID_OK) rc = graph_adjacency_ops.upsert_items(l->graph, rows, items, err);
    free(its);
    free(rows);
    return rc;
}

/* ---- relations ---- */

static int compare_edge(const void *a, const void *b) {
    const graph_edge *x = a, *y = b;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

/* In the order of their ends, so that the in-memory store appends instead of inserting. */
static int put_relations(const local *l, braid_error *err) {
    size_t n = l->f->links_count;
    if (n == 0) return BRAID_OK;
    graph_edge *edges = malloc(n * sizeof *edges);
    if (edges == NULL) return graph_neo4j_no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const graph_neo4j_link *k = &l->f->links[i];
        edges[i] = (graph_edge){
            .from = l->ranks[k->from], .to = l->ranks[k->to], .type = l->f->types[k->type], .strength = k->strength};
    }
    qsort(edges, n, sizeof *edges, compare_edge);
    int rc = graph_adjacency_ops.upsert_relations(l->graph, edges, n, err);
    free(edges);
    return rc;
}

static int local_open(local *l, braid_error *err) {
    graph_options o = {.hub_max = l->f->g->options.hub_max,
                       .visits_max = l->f->g->options.visits_max,
                       .clock = l->f->g->options.clock};
    if (!rank_items(l)) return graph_neo4j_no_memory(err);
    int rc = graph_adjacency_ops.open(&o, &l->graph, err);
    if (rc == BRAID_OK) rc = put_items(l, err);
    return rc == BRAID_OK ? put_relations(l, err) : rc;
}

static void local_close(local *l) {
    if (l->graph != NULL) graph_adjacency_ops.close(l->graph);
    free(l->nums);
    free(l->ranks);
}

/* ---- the walk ---- */

static bool local_allow(const local *l, const bitset *allow, bitset *out) {
    if (!bitset_init(out, (uint32_t)l->f->items_count + 1)) return false;
    for (uint32_t i = 0; i < l->f->items_count; i++)
        if (bitset_has(allow, l->nums[i])) bitset_set(out, i + 1);
    return true;
}

/* The walk over what was fetched. It has no deadline of its own: it takes microseconds, and when fetching has used up
 * the time, what was fetched is what there is. */
static int local_walk(const local *l, const graph_walk *w, graph_hit *out, size_t *count, graph_stats *stats,
                      braid_error *err) {
    uint32_t *seeds = arena_alloc(l->f->mem, w->seed_count * sizeof *seeds);
    bitset allow = {0};
    if (seeds == NULL || (w->allow != NULL && !local_allow(l, w->allow, &allow))) return graph_neo4j_no_memory(err);
    for (size_t i = 0; i < w->seed_count; i++) seeds[i] = local_of(l, w->seeds[i]);
    graph_walk here = *w;
    here.seeds = seeds;
    here.allow = w->allow != NULL ? &allow : NULL;
    here.until = 0;
    int rc = graph_adjacency_ops.walk(l->graph, &here, out, count, stats, err);
    for (size_t i = 0; rc == BRAID_OK && i < *count; i++) {
        out[i].num = l->nums[out[i].num - 1];
        out[i].seed = l->nums[out[i].seed - 1];
        out[i].via_num = l->nums[out[i].via_num - 1];
    }
    bitset_free(&allow);
    return rc;
}

/* ---- cost ---- */

static void follow(double *average, double value) {
    double share = value < *average ? 0.2 : 0.05; /* one slow walk counts little, and is soon forgotten */
    *average = *average > 0 ? *average * (1 - share) + value * share : value;
}

/* A planner that finds walks too dear asks for none, and would never hear that the server has become quick again (it
 * begins slowly): so what was learned is believed by half less for each second without a walk. */
static double cost_now(const graph_neo4j_cost *c, int64_t now) {
    double idle_s = (double)(now - c->at_ns) / 1e9;
    return idle_s > 1 ? c->microseconds * exp2(1 - idle_s) : c->microseconds;
}

static void cost_learn(graph_neo4j *g, const graph_walk *w, size_t reached, int64_t ns) {
    int64_t now = clock_mono_ns(g->options.clock);
    pthread_mutex_lock(&g->lock);
    graph_neo4j_cost *c = &g->costs[w->depth - 1];
    c->microseconds = cost_now(c, now);
    c->at_ns = now;
    follow(&c->rows_per_seed, (double)reached / (double)w->seed_count);
    follow(&c->microseconds, (double)ns / 1e3);
    pthread_mutex_unlock(&g->lock);
}

/* Time hardly depends on the number of seeds: a level is one round trip, and the server's work on it is done in one
 * statement. */
void graph_neo4j_estimate(void *self, size_t seeds, unsigned depth, graph_cost *out) {
    enum { ROUND_TRIP_US = 2000, ROWS = 100 }; /* before the first walk */
    graph_neo4j *g = self;
    depth = depth < 1 ? 1 : depth > 3 ? 3 : depth;
    pthread_mutex_lock(&g->lock);
    graph_neo4j_cost c = g->costs[depth - 1];
    pthread_mutex_unlock(&g->lock);
    double learned = cost_now(&c, clock_mono_ns(g->options.clock)), least = (double)(depth * ROUND_TRIP_US);
    out->microseconds = c.microseconds > least && learned < least ? least : c.microseconds > 0 ? learned : least;
    out->rows = (c.rows_per_seed > 0 ? c.rows_per_seed : ROWS) * (double)seeds;
}

int graph_neo4j_walk(void *self, const graph_walk *w, graph_hit *out, size_t *count, graph_stats *stats,
                     braid_error *err) {
    graph_neo4j *g = self;
    int64_t start = clock_mono_ns(g->options.clock);
    graph_neo4j_fetch f = {.g = g};
    local l = {.f = &f};
    *count = 0;
    int rc = graph_neo4j_fetch_around(&f, w, err);
    size_t reached = f.items_count > w->seed_count ? f.items_count - w->seed_count : 0;
    if (rc == BRAID_OK) rc = local_open(&l, err);
    if (rc == BRAID_OK) rc = local_walk(&l, w, out, count, stats, err);
    if (rc == BRAID_OK) {
        stats->truncated |= f.truncated;
        stats->deadline |= f.deadline;
        cost_learn(g, w, reached, clock_mono_ns(g->options.clock) - start);
    }
    local_close(&l);
    graph_neo4j_fetch_free(&f);
    return rc;
}
