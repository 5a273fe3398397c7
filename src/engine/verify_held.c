/* Reading what the derived stores hold, in bulk (verify_held.h). */
#include "engine/verify_held.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

uint64_t held_hash(const float *values, size_t bytes) {
    return XXH3_64bits(values, bytes);
}

static bool held_room(void **rows, size_t size, size_t count, size_t *cap) {
    if (count < *cap) return true;
    size_t more = *cap ? *cap * 2 : 1024;
    void *grown = realloc(*rows, more * size);
    if (!grown) return false;
    *rows = grown;
    *cap = more;
    return true;
}

static bool see_vector(void *ctx, uint32_t num, uint64_t version, const float *values) {
    (void)version;
    held *h = ctx;
    if (!held_room((void **)&h->vectors, sizeof *h->vectors, h->vector_count, &h->vector_cap))
        return !(h->failed = true);
    h->vectors[h->vector_count++] = (held_vector){num, held_hash(values, h->row_bytes)};
    return true;
}

static bool see_node(void *ctx, uint32_t num, uint64_t version, uint32_t facets) {
    held *h = ctx;
    if (!held_room((void **)&h->nodes, sizeof *h->nodes, h->node_count, &h->node_cap)) return !(h->failed = true);
    h->nodes[h->node_count++] = (held_node){num, facets, version};
    return true;
}

static bool see_edge(void *ctx, const graph_edge *e) {
    held *h = ctx;
    const char *type = arena_strdup(h->names, e->type);
    if (!type || !held_room((void **)&h->edges, sizeof *h->edges, h->edge_count, &h->edge_cap))
        return !(h->failed = true);
    h->edges[h->edge_count++] = (held_edge){e->from, e->to, type, e->strength, false};
    return true;
}

/* ---- order, and looking up in it ---- */
static int order(uint32_t a, uint32_t b) {
    return a < b ? -1 : a > b;
}

static int order_vectors(const void *a, const void *b) {
    return order(((const held_vector *)a)->num, ((const held_vector *)b)->num);
}

static int order_nodes(const void *a, const void *b) {
    return order(((const held_node *)a)->num, ((const held_node *)b)->num);
}

static int order_edges(const void *a, const void *b) {
    const held_edge *x = a, *y = b;
    int by_from = order(x->from, y->from), by_to = order(x->to, y->to);
    return by_from ? by_from : by_to ? by_to : strcmp(x->type, y->type);
}

static void *find(const void *key, void *rows, size_t count, size_t size, int (*compare)(const void *, const void *)) {
    return count ? bsearch(key, rows, count, size, compare) : NULL;
}

const held_vector *held_vector_of(const held *h, uint32_t num) {
    return find(&(held_vector){.num = num}, h->vectors, h->vector_count, sizeof *h->vectors, order_vectors);
}

const held_node *held_node_of(const held *h, uint32_t num) {
    return find(&(held_node){.num = num}, h->nodes, h->node_count, sizeof *h->nodes, order_nodes);
}

held_edge *held_edge_of(const held *h, uint32_t from, uint32_t to, const char *type) {
    return find(&(held_edge){.from = from, .to = to, .type = type}, h->edges, h->edge_count, sizeof *h->edges,
                order_edges);
}

int held_read(braid_db *db, held *h, braid_error *err) {
    *h = (held){.row_bytes = sizeof(float) * db->dim, .names = arena_new(65536)};
    int rc = h->names ? vector_scan(db->vector, see_vector, h, err) : BRAID_OK;
    if (rc == BRAID_OK && h->names && !h->failed) rc = graph_scan(db->graph, see_node, see_edge, h, err);
    if (rc == BRAID_OK && (h->failed || !h->names))
        rc = error_set(err, BRAID_E_NO_MEMORY, "engine/verify", "no memory to compare the stores");
    if (rc) return rc;
    if (h->vector_count) qsort(h->vectors, h->vector_count, sizeof *h->vectors, order_vectors);
    if (h->node_count) qsort(h->nodes, h->node_count, sizeof *h->nodes, order_nodes);
    if (h->edge_count) qsort(h->edges, h->edge_count, sizeof *h->edges, order_edges);
    return BRAID_OK;
}

void held_free(held *h) {
    free(h->vectors);
    free(h->nodes);
    free(h->edges);
    arena_free(h->names);
    *h = (held){0};
}
