/* Members of facets that are kept on this side of Neo4j; private to the adapter. */
#ifndef GRAPH_NEO4J_KEPT_H
#define GRAPH_NEO4J_KEPT_H

#include "graph/graph.h"

typedef struct graph_neo4j_kept graph_neo4j_kept;

graph_neo4j_kept *graph_neo4j_kept_new(size_t bytes, metrics *m); /* NULL: no memory */
void graph_neo4j_kept_free(graph_neo4j_kept *k);                  /* NULL allowed */

/* What is to be noted before the server is asked, so that nothing is kept that was read too early. */
typedef struct graph_neo4j_kept_look {
    uint64_t applied, drops;
} graph_neo4j_kept_look;
graph_neo4j_kept_look graph_neo4j_kept_begin(graph_neo4j_kept *k, uint64_t applied);

typedef struct graph_neo4j_kept_facet {
    int64_t id; /* the server's, who may give it to another facet later */
    graph_node_kind kind;
    const char *value;
    uint32_t degree; /* as the server just told */
} graph_neo4j_kept_facet;

/* True: `each` got every member. A false of `each` ends it, and is told by *ended. */
bool graph_neo4j_kept_get(graph_neo4j_kept *k, const graph_neo4j_kept_facet *f, bool (*each)(void *ctx, uint32_t num),
                          void *ctx, bool *ended);
/* Sorts the numbers. */
void graph_neo4j_kept_put(graph_neo4j_kept *k, graph_neo4j_kept_look look, const graph_neo4j_kept_facet *f,
                          uint32_t *nums, size_t n);
/* These items changed: by the log, or (lsn 0) by a write of ours. */
void graph_neo4j_kept_touched(graph_neo4j_kept *k, const uint32_t *nums, size_t n, uint64_t lsn);
void graph_neo4j_kept_clear(graph_neo4j_kept *k, uint64_t lsn);

#endif
