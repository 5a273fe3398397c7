/* The in-memory graph store, as its own files see it: graph_adjacency.c (writing), graph_adjacency_walk.c,
 * graph_adjacency_inspect.c.
 *
 *     item  --memberships-->  facet          item.facets[i] = {facet, at}   <=>   facet.members[at] = item
 *     item  --relation----->  item           from.links holds {to, type, out}  <=>  to.links holds {from, type, in}
 *
 * Both directions of every edge are stored, since walks ignore direction. `at` lets a membership be taken out of a
 * facet of 30,000 members without a search. Links are sorted by (other, type, out), so that an upsert finds its edge
 * by bisection.
 *
 * A node exists while it is known (upserted) or has a relation: the end of a relation may arrive before the item
 * itself. */
#ifndef GRAPH_ADJACENCY_H
#define GRAPH_ADJACENCY_H

#include <pthread.h>

#include "graph/graph.h"

enum { GRAPH_NUM_MAX = 1 << 26, GRAPH_TYPES_MAX = 65535, GRAPH_FACETS_MAX = 1 << 26 };

typedef struct adjacency_link {
    uint32_t other;
    uint16_t type;
    uint8_t out; /* 1: this item is `from` */
    float strength;
} adjacency_link;

typedef struct adjacency_membership {
    uint32_t facet, at;
} adjacency_membership;

typedef struct adjacency_item {
    adjacency_membership *facets; /* in the order of the item's lists, each facet once */
    adjacency_link *links;
    uint32_t facets_count, links_count, links_cap;
    bool known;
} adjacency_item;

typedef struct adjacency_facet {
    graph_node_kind kind;
    char *value;
    uint32_t *members;
    uint32_t count, cap;
} adjacency_facet;

typedef struct adjacency_scratch adjacency_scratch;

/* What walks of one depth have cost lately: moving averages, 0 before the first. */
typedef struct adjacency_cost {
    double edges_per_seed, rows_per_seed, ns_per_edge;
} adjacency_cost;

typedef struct adjacency {
    pthread_rwlock_t lock; /* writers first, so that searches never starve the feed */
    graph_options options;
    adjacency_item *items; /* by number */
    uint32_t items_cap;
    adjacency_facet *facets; /* ids are never used again */
    uint32_t facets_count, facets_cap;
    map *facet_ids; /* kind, value -> id */
    char **types;
    uint32_t types_count, types_cap;
    map *type_ids;
    uint64_t known, relations, memberships, bytes;

    pthread_mutex_t pool_lock; /* taken inside `lock`, for the three below */
    adjacency_scratch *pool;   /* free ones */
    uint32_t pool_count;
    adjacency_cost costs[3]; /* by depth - 1 */
} adjacency;

extern const graph_ops graph_adjacency_ops;

/* NULL if there is no such node. */
const adjacency_item *adjacency_node(const adjacency *g, uint32_t num);
/* Rarest first, then by kind and value; the order of evidence. */
int adjacency_facet_order(const adjacency *g, uint32_t a, uint32_t b);

int adjacency_walk(void *self, const graph_walk *w, graph_hit *out, size_t *count, graph_stats *stats,
                   braid_error *err);
void adjacency_estimate(void *self, size_t seeds, unsigned depth, graph_cost *out);
void adjacency_pool_free(adjacency *g);

int adjacency_enrich_batch(void *self, const uint32_t *nums, size_t n, deadline until, graph_enrich_fn *each, void *ctx,
                           bool *found, braid_error *err);
int adjacency_shared(void *self, const graph_pair *pairs, size_t n, size_t max, deadline until, graph_neighbour *out,
                     size_t *counts, arena *mem, braid_error *err);
int adjacency_scan(void *self, graph_node_fn *item_fn, bool (*edge_fn)(void *ctx, const graph_edge *e), void *ctx,
                   braid_error *err);
int adjacency_check(void *self, buf *problems, braid_error *err);

#endif
