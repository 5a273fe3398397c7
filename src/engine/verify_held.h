/* What the derived stores hold, read in bulk for verify.c: a scan a store instead of a round trip an item.
 *
 * Vectors are kept as a hash of their components, so 100,000 items of any dimension cost a few megabytes. Nothing here
 * judges: what looks different may be a write that was under way, and verify.c asks again for each such item. */
#ifndef ENGINE_VERIFY_HELD_H
#define ENGINE_VERIFY_HELD_H

#include "engine/db.h"

typedef struct held_vector {
    uint32_t num;
    uint64_t hash;
} held_vector;
typedef struct held_node {
    uint32_t num, facets;
    uint64_t version;
} held_node;
typedef struct held_edge {
    uint32_t from, to;
    const char *type; /* in the arena of names */
    float strength;
    bool known; /* the record store has it: set by who compares */
} held_edge;

typedef struct held {
    held_vector *vectors;
    held_node *nodes;
    held_edge *edges;
    size_t vector_count, vector_cap, node_count, node_cap, edge_count, edge_cap;
    size_t row_bytes; /* of a vector */
    arena *names;
    bool failed; /* no memory */
} held;

/* Scans both stores; each list is in the order of its keys afterwards. held_free() also after an error. */
int held_read(braid_db *db, held *out, braid_error *err);
void held_free(held *h);
uint64_t held_hash(const float *values, size_t bytes);
/* NULL: the store does not hold it. */
const held_vector *held_vector_of(const held *h, uint32_t num);
const held_node *held_node_of(const held *h, uint32_t num);
held_edge *held_edge_of(const held *h, uint32_t from, uint32_t to, const char *type);

#endif
