/* The vector store in a Neo4j server, as its own files see it: vector_neo4j.c (opening, counting, clearing),
 * vector_neo4j_cypher.c (every statement), vector_neo4j_write.c, vector_neo4j_read.c and vector_neo4j_search.c.
 *
 *     (:MediaContent {num, embedding, embedding_version})      vector index on embedding, cosine
 *     (:Removed {num, embedding_version, at})
 *
 * The node is the one that a graph store in the same server keeps its part of the item on (src/graph/graph_neo4j.h).
 * Each touches its own properties only, and whoever takes the last of them deletes the node. */
#ifndef VECTOR_NEO4J_H
#define VECTOR_NEO4J_H

#include <pthread.h>

#include "vector/vector.h"
#include "wire/bolt.h"

#define VECTOR_NEO4J_STORE "vector/neo4j"

enum {
    VECTOR_NEO4J_ONLINE_S = 300,                 /* how long opening waits for the index to be built */
    VECTOR_NEO4J_REMEMBER_MS = 24 * 3600 * 1000, /* how long a removal is remembered */
    VECTOR_NEO4J_PAGE = 500                      /* vectors a page of a scan or of clearing */
};

typedef struct vector_neo4j_self {
    vector_options options;
    const clock_ops *clock;
    bolt_client *bolt;
    size_t batch;
    unsigned write_ms;
    char index[128];      /* its name on the server */
    pthread_mutex_t lock; /* for what follows */
    uint64_t total;       /* vectors, at most: counted at total_at */
    int64_t total_at;
    double trip_us, walk_us, row_us; /* what calls have cost lately; 0 before the first */
} vector_neo4j_self;

typedef struct vector_neo4j_cypher {
    const char *upsert, *remember, *remove, *forget;
    const char *fetch, *fetch_many, *score, *scan;
    const char *walk, *nearest_of, *nearest_of_all, *total;
    const char *count, *check, *clear, *clear_removed;
    const char *constraints, *indexes, *create_constraints[2], *create_index, *drop_index, *await_index;
} vector_neo4j_cypher;
extern const vector_neo4j_cypher vector_neo4j_statements;

/* The one index that is ours to drop. */
#define VECTOR_NEO4J_INDEX "braid_media_embedding"

/* ---- calls ---- */

/* One statement with its parameters; frees `p`. */
int vector_neo4j_run(vector_neo4j_self *v, const bolt_call *call, const char *text, buf *p, bolt_each each, void *ctx,
                     braid_error *err);
int vector_neo4j_no_memory(braid_error *err);
int vector_neo4j_bad_row(bolt_row *row, braid_error *err);
bool vector_neo4j_read_num(ps_reader *r, uint32_t *out);
bolt_call vector_neo4j_write_call(const vector_neo4j_self *v);
/* A unit vector from `values`; NOT_FINITE if there is none. `of` says whose: "item 7" or "the query". */
int vector_neo4j_unit(const vector_neo4j_self *v, const float *values, const char *of, float *out, braid_error *err);
/* Rows of one integer each: adds them up in *ctx (uint64_t). */
int vector_neo4j_see_count(void *ctx, bolt_row *row, braid_error *err);

int vector_neo4j_upsert(void *self, const vector_entry *entries, size_t n, braid_error *err);
int vector_neo4j_remove(void *self, const uint32_t *nums, size_t n, braid_error *err);
int vector_neo4j_fetch(void *self, uint32_t num, deadline until, float *out, braid_error *err);
int vector_neo4j_fetch_many(void *self, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                            braid_error *err);
int vector_neo4j_score(void *self, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                       braid_error *err);
int vector_neo4j_scan(void *self, vector_scan_fn *each, void *ctx, braid_error *err);
int vector_neo4j_search(void *self, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                        braid_error *err);
void vector_neo4j_estimate(void *self, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out);

#endif
