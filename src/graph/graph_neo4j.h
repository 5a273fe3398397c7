/* The graph store in a Neo4j server, as its own files see it: graph_neo4j.c (opening, counting, clearing),
 * graph_neo4j_cypher.c (every statement), graph_neo4j_request.c (several statements in one round trip),
 * graph_neo4j_write.c, graph_neo4j_read.c, graph_neo4j_fetch.c, graph_neo4j_walk.c and graph_neo4j_kept.c
 * (members of facets that are kept on this side).
 *
 *     (:MediaContent {num, id, title, kind, language, year, version, updated_at})
 *         -[:BELONGS_TO]-> (:Genre {name})         -[:IN_CONTEXT]-> (:CulturalContext {region})
 *         -[:HAS_THEME]--> (:Theme {name})         -[:HAS_PERSON]-> (:Person {name})
 *         -[:HAS_MOOD]---> (:Mood {name})
 *         -[:SIMILAR_TO | RELATED_TO | ... {strength, version}]-> (:MediaContent)
 *     (:Removed {num, version, at})   (:RemovedRelation {from, to, type, version, at})
 *
 * A :MediaContent without `version` is no item of this store: it is the end of a relation that came before its item, or
 * carries nothing but the vector of a vector store that shares the server. So an item and its vector live on one node,
 * and either store may forget its part without touching the other's. */
#ifndef GRAPH_NEO4J_H
#define GRAPH_NEO4J_H

#include <pthread.h>

#include "graph/graph.h"
#include "graph/graph_neo4j_kept.h"
#include "wire/bolt.h"

#define GRAPH_NEO4J_STORE "graph/neo4j"

enum {
    GRAPH_NEO4J_KINDS = 5,                      /* GRAPH_GENRE .. GRAPH_PERSON */
    GRAPH_NEO4J_REMEMBER_MS = 24 * 3600 * 1000, /* how long a removal is remembered */
    GRAPH_NEO4J_PAGE = 1000                     /* nodes a page of a scan or of clearing */
};

/* What walks of one depth have cost lately: moving averages, 0 before the first. */
typedef struct graph_neo4j_cost {
    double rows_per_seed, microseconds;
    int64_t at_ns; /* of the last walk */
} graph_neo4j_cost;

typedef struct graph_neo4j {
    graph_options options;
    bolt_client *bolt;
    graph_neo4j_kept *kept;    /* NULL: nothing is kept */
    size_t batch;              /* rows of one transaction */
    unsigned write_ms;         /* of one transaction */
    _Atomic bool schema_kept;  /* the constraints were seen: it may be written to */
    pthread_mutex_t lock;      /* for the costs */
    graph_neo4j_cost costs[3]; /* by depth - 1 */
} graph_neo4j;

/* ---- statements ---- */

typedef struct graph_neo4j_kind {
    const char *label, *property, *type; /* "Genre", "name", "BELONGS_TO" */
    const char *add[2];                  /* statements that add memberships of this kind: of new items, of known ones */
} graph_neo4j_kind;
extern const graph_neo4j_kind graph_neo4j_kinds[GRAPH_NEO4J_KINDS]; /* by graph_node_kind - GRAPH_GENRE */

typedef struct graph_neo4j_cypher {
    const char *release_ids, *put_items, *drop_memberships;
    const char *remember_items, *remove_memberships, *remove_relations_of, *remove_items, *forget_items,
        *forget_relations;
    const char *remember_relations;
    const char *relations_of, *facets_of, *members_of;
    const char *shared_facets, *shared_relations;
    const char *enrich;
    const char *scan;
    const char *info, *constraints;
    const char *clear[6], *check[5];
} graph_neo4j_cypher;
extern const graph_neo4j_cypher graph_neo4j_statements;

/* What the server must have, in the words of cypher/00*_graph_*.cypher; NULL past the end. */
typedef struct graph_neo4j_rule {
    const char *create;
    const char *label, *properties; /* of a uniqueness constraint: "RemovedRelation", "from,to,type"; NULL: an index */
} graph_neo4j_rule;
const graph_neo4j_rule *graph_neo4j_schema(size_t i);

/* The one place where a name becomes part of a statement. False, and nothing written, if it is no relation type. */
bool graph_neo4j_put_relations_text(const char *type, buf *out);
bool graph_neo4j_remove_relations_text(const char *type, buf *out);

/* The kind whose edges have this type, or GRAPH_ITEM. */
graph_node_kind graph_neo4j_kind_of(ps_text type);

/* ---- several statements in one round trip ---- */

typedef struct graph_neo4j_request {
    bolt_statement *statements;
    buf *parameters;
    char **texts; /* those that were built for this request */
    size_t count, cap;
    buf nowhere; /* takes nothing: handed out after memory ran out */
    bool failed; /* memory ran out: run() says so */
} graph_neo4j_request;

/* Adds a statement; its parameters (one map) are to be appended to the buf that is returned, before the next is added.
 * Never NULL: after a failure it is a buf that takes nothing. `text` is borrowed. */
buf *graph_neo4j_ask(graph_neo4j_request *rq, const char *text, bolt_each each, void *ctx);
/* The same with a text of its own, which it frees (NULL: memory ran out). */
buf *graph_neo4j_ask_owned(graph_neo4j_request *rq, char *text, bolt_each each, void *ctx);
int graph_neo4j_run(graph_neo4j *g, graph_neo4j_request *rq, const bolt_call *call, braid_error *err);
int graph_neo4j_run_in(bolt_tx *tx, graph_neo4j_request *rq, braid_error *err);
void graph_neo4j_request_free(graph_neo4j_request *rq); /* may be used again */
int graph_neo4j_no_memory(braid_error *err);
bolt_call graph_neo4j_write_call(const graph_neo4j *g, bolt_failure *failure);

/* ---- writing ---- */

int graph_neo4j_upsert_items(void *self, const graph_item *items, size_t n, braid_error *err);
int graph_neo4j_remove_items(void *self, const uint32_t *nums, size_t n, braid_error *err);
int graph_neo4j_upsert_relations(void *self, const graph_edge *edges, size_t n, braid_error *err);
int graph_neo4j_remove_relations(void *self, const graph_edge *edges, size_t n, braid_error *err);

/* ---- reading ---- */

int graph_neo4j_enrich_batch(void *self, const uint32_t *nums, size_t n, deadline until, graph_enrich_fn *each,
                             void *ctx, bool *found, braid_error *err);
int graph_neo4j_shared(void *self, const graph_pair *pairs, size_t n, size_t max, deadline until, graph_neighbour *out,
                       size_t *counts, arena *mem, braid_error *err);
int graph_neo4j_scan(void *self, graph_node_fn *item_fn, bool (*edge_fn)(void *ctx, const graph_edge *e), void *ctx,
                     braid_error *err);
int graph_neo4j_check(void *self, buf *problems, braid_error *err);

/* ---- walking ---- */

/* What a walk has fetched: every node that it may pass through, with all its edges. Items and facets are known by their
 * place here. */
typedef struct graph_neo4j_facet {
    int64_t id; /* the server's */
    graph_node_kind kind;
    char *value;
    uint32_t degree;
} graph_neo4j_facet;
typedef struct graph_neo4j_link {
    uint32_t from, to, type;
    float strength;
} graph_neo4j_link; /* places of items; place of the type's name */
typedef struct graph_neo4j_member {
    uint32_t item, facet;
    graph_node_kind kind;
} graph_neo4j_member;

typedef struct graph_neo4j_place { /* open addressing; 0 in `at` is empty, else place + 1 */
    uint64_t key;
    uint32_t at;
} graph_neo4j_place;
typedef struct graph_neo4j_places {
    graph_neo4j_place *slots;
    size_t cap, count;
} graph_neo4j_places;

typedef struct graph_neo4j_fetch {
    graph_neo4j *g;
    arena *mem;      /* strings */
    uint32_t *items; /* numbers */
    graph_neo4j_facet *facets;
    graph_neo4j_link *links;     /* each at least once */
    graph_neo4j_member *members; /* each at least once */
    char **types;
    size_t items_count, items_cap, facets_count, facets_cap, links_count, links_cap, members_count, members_cap,
        types_count, types_cap;
    graph_neo4j_places item_places, facet_places;
    /* the present request */
    uint32_t relations_most, members_most; /* of one node; what is more is cut */
    uint32_t *cut;                         /* places of items with more */
    size_t cut_count, cut_cap;
    uint64_t edges;
    uint32_t type; /* the one met last */
    bool truncated, deadline;
    graph_neo4j_kept_look look; /* before the first question */
} graph_neo4j_fetch;

/* Brings in what a walk needs, level by level. BRAID_OK also when the deadline cut it short after the first level. */
int graph_neo4j_fetch_around(graph_neo4j_fetch *f, const graph_walk *w, braid_error *err);
void graph_neo4j_fetch_free(graph_neo4j_fetch *f);

int graph_neo4j_walk(void *self, const graph_walk *w, graph_hit *out, size_t *count, graph_stats *stats,
                     braid_error *err);
void graph_neo4j_estimate(void *self, size_t seeds, unsigned depth, graph_cost *out);

extern const graph_ops graph_neo4j_ops;

#endif
