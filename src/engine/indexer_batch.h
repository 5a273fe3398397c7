/* The batches in which the consumers of the change log write to the stores; private to indexer.c.
 *
 * Each is filled from a scan's or a look-up's callback (`..._add` is one), writes itself when it is full and when it is
 * flushed, and keeps the first error in `rc`. */
#ifndef ENGINE_INDEXER_BATCH_H
#define ENGINE_INDEXER_BATCH_H

#include "engine/db.h"

/* Rows of a batch: a remote store pays for each request, and some of them (Neo4j) far more than for a row in it.
 * Vectors are bounded by their bytes as well. */
enum { INDEXER_BATCH = 4096, INDEXER_BATCH_BYTES = 16 << 20 };

/* Items on their way to the catalogue, one by one, and to the graph, in batches: a graph may be a round trip away. */
typedef struct item_batch {
    braid_db *db;
    arena *a; /* of the items that wait */
    braid_error *err;
    int rc;
    bool to_catalogue, to_graph;
    bool force; /* the graph takes the rows whatever versions it remembers: a repair */
    graph_item waiting[INDEXER_BATCH];
    size_t count;
} item_batch;
item_batch *item_batch_new(braid_db *db, bool to_catalogue, bool to_graph, braid_error *err); /* NULL: no memory */
void item_batch_free(item_batch *b); /* what was not flushed is forgotten; NULL allowed */
bool item_batch_add(void *batch, const record_item *row);
int item_batch_flush(item_batch *b);

typedef struct relation_batch {
    braid_db *db;
    arena *a; /* the types of the edges that wait */
    braid_error *err;
    int rc;
    graph_edge waiting[INDEXER_BATCH];
    size_t count;
} relation_batch;
relation_batch *relation_batch_new(braid_db *db, braid_error *err);
void relation_batch_free(relation_batch *b);
bool relation_batch_add(void *batch, const record_relation *row);
int relation_batch_flush(relation_batch *b);

typedef struct vector_batch {
    braid_db *db;
    arena *a; /* of the items that wait; NULL: the store wants none */
    braid_error *err;
    int rc;
    vector_entry entries[INDEXER_BATCH];
    uint32_t gone[INDEXER_BATCH]; /* they have no vector */
    float *values;                /* room x dim */
    size_t room;                  /* rows: at most INDEXER_BATCH */
    bool force;                   /* the store takes the rows whatever versions it remembers: a repair */
    size_t count, gone_count;
} vector_batch;
vector_batch *vector_batch_new(braid_db *db, braid_error *err);
void vector_batch_free(vector_batch *b);
bool vector_batch_add(void *batch, const record_item *row);
int vector_batch_remove(vector_batch *b, uint32_t num);
int vector_batch_flush(vector_batch *b);

#endif
