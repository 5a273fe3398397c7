/* The batches in which rows of the record store reach the derived stores (indexer_batch.h). */
#include "engine/indexer_batch.h"

#include <stdlib.h>
#include <string.h>

/* ---- a stored body back into an item ---- */
static int parse_body(braid_db *db, const record_item *row, arena *a, item **out, braid_error *err) {
    json_t *json = NULL;
    model_limits limits = db->limits;
    limits.json_bytes_max = row->body_len + 1;
    int rc = model_json_parse(row->body, row->body_len, &limits, &json, err);
    if (rc == BRAID_OK) rc = item_from_json(json, &limits, a, out, err);
    json_decref(json);
    return rc;
}

/* ---- items ---- */

item_batch *item_batch_new(braid_db *db, bool to_catalogue, bool to_graph, braid_error *err) {
    item_batch *b = calloc(1, sizeof *b);
    arena *a = b ? arena_new(16 * 1024) : NULL;
    if (!a) {
        free(b);
        error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory to read items");
        return NULL;
    }
    b->db = db;
    b->a = a;
    b->err = err;
    b->to_catalogue = to_catalogue;
    b->to_graph = to_graph;
    return b;
}

static void item_batch_drop(item_batch *b) {
    for (size_t i = 0; i < b->count; i++) item_release((item *)b->waiting[i].it);
    b->count = 0;
    arena_reset(b->a);
}

void item_batch_free(item_batch *b) {
    if (!b) return;
    item_batch_drop(b);
    arena_free(b->a);
    free(b);
}

int item_batch_flush(item_batch *b) {
    int rc = b->to_graph ? graph_upsert_items(b->db->graph, b->waiting, b->count, b->err) : BRAID_OK;
    item_batch_drop(b);
    return rc;
}

bool item_batch_add(void *batch, const record_item *row) {
    item_batch *b = batch;
    item *it = NULL;
    b->rc = parse_body(b->db, row, b->a, &it, b->err);
    if (b->rc) return false;
    b->waiting[b->count++] = (graph_item){row->num, b->force ? 0 : row->version, it};
    if (b->to_catalogue) b->rc = catalogue_upsert(b->db->catalogue, row->num, row->version, it, b->err);
    if (b->rc == BRAID_OK && (b->count == INDEXER_BATCH || !b->to_graph)) b->rc = item_batch_flush(b);
    return b->rc == BRAID_OK;
}

/* ---- relations ---- */

relation_batch *relation_batch_new(braid_db *db, braid_error *err) {
    relation_batch *b = calloc(1, sizeof *b);
    arena *a = b ? arena_new(8 * 1024) : NULL;
    if (!a) {
        free(b);
        error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory to read relations");
        return NULL;
    }
    b->db = db;
    b->a = a;
    b->err = err;
    return b;
}

void relation_batch_free(relation_batch *b) {
    if (!b) return;
    arena_free(b->a);
    free(b);
}

int relation_batch_flush(relation_batch *b) {
    int rc = graph_upsert_relations(b->db->graph, b->waiting, b->count, b->err);
    b->count = 0;
    arena_reset(b->a);
    return rc;
}

bool relation_batch_add(void *batch, const record_relation *row) {
    relation_batch *b = batch;
    const char *type = arena_strdup(b->a, row->r.type);
    if (!type) {
        b->rc = error_set(b->err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory to read relations");
        return false;
    }
    b->waiting[b->count++] = (graph_edge){row->from_num, row->to_num, type, (float)row->r.strength, row->version};
    if (b->count == INDEXER_BATCH) b->rc = relation_batch_flush(b);
    return b->rc == BRAID_OK;
}

/* ---- vectors ---- */

static void vector_batch_drop(vector_batch *b) {
    for (size_t i = 0; i < b->count; i++) item_release((item *)b->entries[i].it);
    b->count = b->gone_count = 0;
    if (b->a) arena_reset(b->a);
}

void vector_batch_free(vector_batch *b) {
    if (!b) return;
    vector_batch_drop(b);
    arena_free(b->a);
    free(b->values);
    free(b);
}

vector_batch *vector_batch_new(braid_db *db, braid_error *err) {
    vector_batch *b = calloc(1, sizeof *b);
    bool fields = vector_caps_of(db->vector) & VECTOR_CAP_FIELDS;
    if (b) {
        b->db = db;
        b->err = err;
        b->room = INDEXER_BATCH_BYTES / (sizeof(float) * db->dim);
        if (b->room > INDEXER_BATCH) b->room = INDEXER_BATCH;
        b->values = malloc(sizeof(float) * b->room * db->dim);
        b->a = fields ? arena_new(16 * 1024) : NULL;
    }
    if (b && b->values && (b->a || !fields)) return b;
    vector_batch_free(b);
    error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch of vectors");
    return NULL;
}

int vector_batch_flush(vector_batch *b) {
    int rc = vector_upsert(b->db->vector, b->entries, b->count, b->err);
    if (rc == BRAID_OK) rc = vector_remove(b->db->vector, b->gone, b->gone_count, b->err);
    vector_batch_drop(b);
    return rc;
}

int vector_batch_remove(vector_batch *b, uint32_t num) {
    b->gone[b->gone_count++] = num;
    return b->gone_count == INDEXER_BATCH ? vector_batch_flush(b) : BRAID_OK;
}

bool vector_batch_add(void *batch, const record_item *row) {
    vector_batch *b = batch;
    if (!row->vector) return (b->rc = vector_batch_remove(b, row->num)) == BRAID_OK;
    item *it = NULL;
    if (b->a && (b->rc = parse_body(b->db, row, b->a, &it, b->err)) != BRAID_OK) return false;
    float *copy = b->values + b->count * b->db->dim;
    memcpy(copy, row->vector, sizeof(float) * b->db->dim);
    b->entries[b->count++] = (vector_entry){row->num, copy, b->force ? 0 : row->version, it};
    if (b->count == b->room) b->rc = vector_batch_flush(b);
    return b->rc == BRAID_OK;
}
