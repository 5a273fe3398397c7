/* graph: "what is connected to it". Items, the facets they share, and the relations between items.
 *
 * Nodes are items (by number) and facets (a genre, theme, mood, context or person); edges are relations (item - item,
 * typed, with a strength) and membership (item - facet). Walks ignore direction. The score of an item reached from a
 * seed is (1/depth) x connections: depth is the least number of steps (1..3), connections the number of distinct edges
 * that arrive at it from nodes one step nearer. So two films that share three themes (depth 2, three connections) score
 * 1.5, a direct relation scores 1. A facet that more than hub_max items share says little and would flood the walk: it
 * is drawn but not walked through.
 *
 * The bounds: hub_max makes a step through a facet cost at most 200 edges, so a walk of depth 2 from an item of ten
 * facets looks at no more than about 2,000. visits_max bounds what is left (depth 3 through items of many relations);
 * every seed may use an equal share of it. A walk that meets visits_max or its deadline is no error: it returns what it
 * found, whose connections may then be too few, and `stats` says so.
 *
 * Equal scores are ordered by strength, then by lower number. A node is made by an item or by a relation that names it;
 * scan() and info count items only. Callbacks run under the store's lock and must not call it. A walk's hits are the
 * same whatever order the feed wrote in.
 *
 * Derived store: fed by idempotent upserts in LSN order. Many readers, one feed thread. */
#ifndef GRAPH_H
#define GRAPH_H

#include "base/base.h"
#include "model/model.h"

typedef struct graph_options {
    uint32_t hub_max;    /* default 200: facets with more members are not walked through */
    uint32_t visits_max; /* default 200,000 edges looked at in one walk; beyond it the walk stops and says so */
    const remote_options *remote; /* GRAPH_CAP_REMOTE: where it is */
    /* GRAPH_CAP_REMOTE: what was read may be kept, in at most so many bytes (0: nothing is); `applied` says up to
     * which LSN the store holds the log, and graph_touched tells what the log changes. */
    size_t kept_bytes;
    uint64_t (*applied)(void *ctx);
    void *applied_ctx;
    const clock_ops *clock;
    metrics *metrics;
    const logger *log;
} graph_options;

typedef enum graph_caps {
    GRAPH_CAP_REMOTE = 1,   /* another process: keeps what it holds between our starts, and may be down */
    GRAPH_CAP_VERSIONS = 2, /* keeps versions; an older one never replaces a newer */
    GRAPH_CAP_INSPECT = 4   /* check() looks at inner structure */
} graph_caps;

typedef enum graph_node_kind {
    GRAPH_ITEM,
    GRAPH_GENRE,
    GRAPH_THEME,
    GRAPH_MOOD,
    GRAPH_CONTEXT,
    GRAPH_PERSON
} graph_node_kind;
typedef struct graph_edge {
    uint32_t from, to;
    const char *type;
    float strength;
    uint64_t version; /* 0 where nobody keeps versions */
} graph_edge;         /* item - item */

typedef struct graph_item {
    uint32_t num;
    uint64_t version;
    const item *it;
} graph_item;

/* Two items, of which it is asked what they share. */
typedef struct graph_pair {
    uint32_t a, b;
} graph_pair;

typedef struct graph_walk {
    const uint32_t *seeds;
    const float *seed_weights; /* weights NULL: 1 each; a result's score is the weighted sum over seeds */
    size_t seed_count;         /* 1..64 */
    unsigned depth;            /* 1..3 */
    size_t k;
    const bitset *allow; /* results only from here (walks pass through others); NULL: all. Seeds are never results */
    deadline until;
} graph_walk;

typedef struct graph_hit {
    uint32_t num;
    float score;          /* sum over seeds of weight x (1/depth) x connections */
    uint8_t depth;        /* least over seeds */
    uint32_t connections; /* towards the seed that gave most */
    uint32_t seed;        /* that seed's number */
    float strength;       /* mean strength of the relations that arrive (1 for facets); a tie-breaker */
    /* The strongest way: GRAPH_ITEM with via_num and via_type for a relation, else the facet */
    graph_node_kind via_kind;
    uint32_t via_num; /* the item one step nearer */
    char via[64];     /* relation type or facet value, cut at a character boundary */
} graph_hit;

typedef struct graph_stats {
    uint64_t edges_seen;
    bool truncated, deadline;
} graph_stats;
typedef struct graph_cost {
    double microseconds, rows;
} graph_cost;
typedef struct graph_info {
    uint64_t items, facets, relations, memberships, bytes;
} graph_info;

/* What one item shares or is tied to, for drawing and for reasons. Strings are borrowed for the duration of the
 * callback. */
typedef struct graph_neighbour {
    graph_node_kind kind;
    uint32_t num;      /* of an item */
    const char *label; /* facet value */
    const char *type;  /* of the edge */
    float strength;
    bool outgoing;
    uint32_t degree;
} graph_neighbour;

/* `which`: the place of the item among those that were asked for. False ends the call, which is no error. */
typedef bool graph_enrich_fn(void *ctx, size_t which, const graph_neighbour *n);

/* A known item as the store holds it: with the version it was written at (0 where none is kept) and the number of
 * its facets. */
typedef bool graph_node_fn(void *ctx, uint32_t num, uint64_t version, uint32_t facets);

typedef struct graph_ops {
    unsigned version;
    const char *name;
    unsigned caps;
    int (*open)(const graph_options *options, void **self, braid_error *err);
    void (*close)(void *self);
    /* Writing, by the feed's thread alone, in batches; all or an error. An item's memberships are replaced, its
     * relations stay. The ends of a relation may be unknown yet: they are made. */
    int (*upsert_items)(void *self, const graph_item *items, size_t n, braid_error *err);
    int (*remove_items)(void *self, const uint32_t *nums, size_t n, braid_error *err); /* with all their edges */
    int (*upsert_relations)(void *self, const graph_edge *edges, size_t n, braid_error *err);
    int (*remove_relations)(void *self, const graph_edge *edges, size_t n, braid_error *err); /* strength is not read */
    int (*walk)(void *self, const graph_walk *w, graph_hit *out, size_t *count, graph_stats *stats,
                braid_error *err); /* best score first, ties by lower num */
    /* Genres, themes, moods, contexts, people and relations with their strength of every item, in one request: item
     * by item, relations first, by the other's number. found[i] says whether nums[i] is there. */
    int (*enrich_batch)(void *self, const uint32_t *nums, size_t n, deadline until, graph_enrich_fn *each, void *ctx,
                        bool *found, braid_error *err);
    /* Facets and relations that the two items of each pair have in common / between them: the evidence for a sentence.
     * One request for all pairs. Of pair i at most `max` are put at out[i * max], counts[i] says how many; rarest facet
     * first, relations before facets. `num` of a facet is unset; strings live in `mem`. */
    int (*shared)(void *self, const graph_pair *pairs, size_t n, size_t max, deadline until, graph_neighbour *out,
                  size_t *counts, arena *mem, braid_error *err);
    void (*estimate)(void *self, size_t seeds, unsigned depth, graph_cost *out);
    /* Every item and every relation once; either function may be NULL. */
    int (*scan)(void *self, graph_node_fn *item_fn, bool (*edge_fn)(void *ctx, const graph_edge *e), void *ctx,
                braid_error *err);
    int (*clear)(void *self, braid_error *err); /* forgets everything: it will be fed anew */
    /* The log changed these items, up to `lsn`; nums NULL: all. NULL: nothing is kept. */
    void (*touched)(void *self, const uint32_t *nums, size_t n, uint64_t lsn);
    int (*check)(void *self, buf *problems,
                 braid_error *err); /* both directions of every edge agree, no dangling end; "" if well */
    void (*info)(void *self, graph_info *out);
} graph_ops;

typedef struct graph_store graph_store;
const graph_ops *graph_registry(size_t i);
const graph_ops *graph_find(const char *name); /* "adjacency" */
int graph_open(const graph_ops *ops, const graph_options *options, graph_store **out, braid_error *err);
void graph_close(graph_store *s);
const char *graph_name(const graph_store *s);
int graph_upsert_items(graph_store *s, const graph_item *items, size_t n, braid_error *err);
int graph_remove_items(graph_store *s, const uint32_t *nums, size_t n, braid_error *err);
int graph_upsert_relations(graph_store *s, const graph_edge *edges, size_t n, braid_error *err);
int graph_remove_relations(graph_store *s, const graph_edge *edges, size_t n, braid_error *err);
int graph_walk_from(graph_store *s, const graph_walk *w, graph_hit *out, size_t *count, graph_stats *stats,
                    braid_error *err);
int graph_enrich_batch(graph_store *s, const uint32_t *nums, size_t n, deadline until, graph_enrich_fn *each, void *ctx,
                       bool *found, braid_error *err);
/* The same of one item; NOT_FOUND. */
int graph_neighbours(graph_store *s, uint32_t num, deadline until, bool (*each)(void *ctx, const graph_neighbour *n),
                     void *ctx, braid_error *err);
int graph_shared(graph_store *s, const graph_pair *pairs, size_t n, size_t max, deadline until, graph_neighbour *out,
                 size_t *counts, arena *mem, braid_error *err);
void graph_estimate(graph_store *s, size_t seeds, unsigned depth, graph_cost *out);
int graph_scan(graph_store *s, graph_node_fn *item_fn, bool (*edge_fn)(void *ctx, const graph_edge *e), void *ctx,
               braid_error *err);
int graph_clear(graph_store *s, braid_error *err);
void graph_touched(graph_store *s, const uint32_t *nums, size_t n, uint64_t lsn);
void graph_touched_all(graph_store *s, uint64_t lsn);
unsigned graph_caps_of(const graph_store *s);
int graph_check(graph_store *s, buf *problems, braid_error *err);
void graph_get_info(graph_store *s, graph_info *out);

#endif
