/* Filling a derived store from the record store (indexer_fill.h), and braid_rebuild, which does it on request.
 *
 * A store that several servers share is filled by the one that feeds it: who does not hold its lease is told so.
 * While a store is being filled it answers from what is there already; the other stores are not touched. */
#include "engine/indexer_fill.h"

#include <string.h>

#include "engine/indexer_batch.h"

enum { TELL_EVERY = 256 };

static bool went_by(fill_watch *w, const char *phase) {
    if (!w || !w->each || ++w->done % TELL_EVERY != 0) return true;
    w->stopped = !w->each(w->ctx, phase, w->done, w->total);
    return !w->stopped;
}

static int stopped(const fill_watch *w, int rc, braid_error *err) {
    if (rc != BRAID_OK || !w || !w->stopped) return rc;
    return error_set(err, BRAID_E_CLOSED, "engine/rebuild",
                     "stopped by request: the store is not complete; `braid rebuild` again");
}

/* ---- relations ---- */
typedef struct relation_filling {
    relation_batch *batch;
    fill_watch *watch;
} relation_filling;

static bool fill_relation(void *ctx, const record_relation *row) {
    relation_filling *x = ctx;
    return relation_batch_add(x->batch, row) && went_by(x->watch, "relations");
}

int fill_relations(braid_db *db, fill_watch *w, braid_error *err) {
    relation_batch *b = relation_batch_new(db, err);
    if (!b) return BRAID_E_NO_MEMORY;
    int rc = record_scan_relations(db->record, fill_relation, &(relation_filling){b, w}, err);
    if (rc == BRAID_OK) rc = b->rc;
    if (rc == BRAID_OK) rc = relation_batch_flush(b);
    relation_batch_free(b);
    return stopped(w, rc, err);
}

/* ---- items of the graph ---- */
typedef struct item_filling {
    item_batch *batch;
    fill_watch *watch;
} item_filling;

static bool fill_item(void *ctx, const record_item *row) {
    item_filling *x = ctx;
    return item_batch_add(x->batch, row) && went_by(x->watch, "items");
}

static int fill_graph(braid_db *db, fill_watch *w, braid_error *err) {
    int rc = graph_clear(db->graph, err);
    item_batch *x = rc == BRAID_OK ? item_batch_new(db, false, true, err) : NULL;
    if (!x) return rc != BRAID_OK ? rc : BRAID_E_NO_MEMORY;
    rc = record_scan_items(db->record, 0, false, fill_item, &(item_filling){x, w}, err);
    if (rc == BRAID_OK) rc = x->rc;
    if (rc == BRAID_OK) rc = item_batch_flush(x);
    item_batch_free(x);
    rc = stopped(w, rc, err);
    return rc == BRAID_OK ? fill_relations(db, w, err) : rc;
}

int fill_graph_anew(braid_db *db, fill_watch *w, braid_error *err) {
    pthread_rwlock_wrlock(&db->graph_writer);
    int rc = fill_graph(db, w, err);
    pthread_rwlock_unlock(&db->graph_writer);
    return rc;
}

/* ---- vectors ---- */
typedef struct vector_filling {
    vector_batch *batch;
    fill_watch *watch;
} vector_filling;

static bool fill_vector(void *ctx, const record_item *row) {
    vector_filling *x = ctx;
    return vector_batch_add(x->batch, row) && went_by(x->watch, "vectors");
}

int fill_vectors(braid_db *db, fill_watch *w, braid_error *err) {
    vector_batch *b = vector_batch_new(db, err);
    if (!b) return BRAID_E_NO_MEMORY;
    int rc = record_scan_items(db->record, 0, true, fill_vector, &(vector_filling){b, w}, err);
    if (rc == BRAID_OK) rc = b->rc;
    if (rc == BRAID_OK) rc = vector_batch_flush(b);
    vector_batch_free(b);
    return stopped(w, rc, err);
}

int fill_vectors_anew(braid_db *db, fill_watch *w, braid_error *err) {
    pthread_rwlock_wrlock(&db->vector_writer);
    int rc = vector_clear(db->vector, err);
    if (rc == BRAID_OK) rc = fill_vectors(db, w, err);
    pthread_rwlock_unlock(&db->vector_writer);
    return rc;
}

/* ---- on request ---- */
static int take_lease(braid_db *db, engine_role role, braid_error *err) {
    bool held = true;
    int rc = *db->cursors[role] ? record_lease(db->record, db->cursors[role], &held, err) : BRAID_OK;
    if (rc != BRAID_OK || held) return rc;
    return error_set(err, BRAID_E_LOCKED, "engine/rebuild",
                     "another server feeds this store: ask that one, with --url or POST /v1/rebuild");
}

int braid_rebuild(braid_db *db, const char *store, braid_progress *progress, void *ctx, char **json, braid_error *err) {
    *json = NULL;
    record_info info;
    int64_t begun = clock_mono_ns(&clock_system);
    int rc = record_get_info(db->record, &info, err);
    if (rc) return rc;
    fill_watch w = {.each = progress, .ctx = ctx, .total = info.items};
    if (option_get_bool(db->options, "record.read_only"))
        return error_set(err, BRAID_E_READ_ONLY, "engine/rebuild",
                         "the database was opened without the right to write");
    if (strcmp(store, "vector") == 0) {
        if ((rc = take_lease(db, ROLE_VECTOR, err)) == BRAID_OK) rc = fill_vectors_anew(db, &w, err);
    } else if (strcmp(store, "graph") == 0) {
        w.total += info.relations;
        if ((rc = take_lease(db, ROLE_GRAPH, err)) == BRAID_OK) rc = fill_graph_anew(db, &w, err);
    } else if (strcmp(store, "cache") == 0) {
        rc = cache_clear(db->cache, err);
    } else {
        rc = error_set(err, BRAID_E_INVALID, "request",
                       "store \"%.40s\" cannot be made anew; there are vector, graph, cache", store);
    }
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    buf_puts(&b, "{\"store\":");
    buf_json_string(&b, store);
    buf_printf(&b, ",\"items\":%llu,\"relations\":%llu,\"seconds\":%.3f}", (unsigned long long)info.items,
               (unsigned long long)info.relations, (double)(clock_mono_ns(&clock_system) - begun) / 1e9);
    return engine_text(&b, json, err);
}
