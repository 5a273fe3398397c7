/* The consumers of the change log: catalogue, graph and vector store each follow it at their own pace.
 *
 * A batch names keys, not values: for every key the present row is fetched and upserted, and a key that is gone is
 * removed. So applying a batch twice, or late, ends in the same state, and a row that a later one overtakes costs
 * nothing. */
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

/* Under a stream of writes a batch is worth gathering: every batch of the learner is a commit of its own, and every store
 * looks at every row of the log. Whoever waits for a change wakes the feed at once, so this costs nobody's answer
 * anything. */
enum { VECTOR_BATCH = 256, WAIT_LOOK_NS = 100000000, STORE_PACE_MS = 20, LEARNER_PACE_MS = 250 };

/* ---- which items a batch touches, each once ---- */
typedef struct touched {
    uint32_t *nums;
    size_t count;
} touched;

static int compare_nums(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static bool touched_items(const record_log_entry *entries, size_t n, arena *a, touched *out) {
    out->nums = arena_alloc(a, (n ? n : 1) * sizeof *out->nums);
    out->count = 0;
    if (!out->nums) return false;
    for (size_t i = 0; i < n; i++)
        if (entries[i].kind == RECORD_ITEM) out->nums[out->count++] = entries[i].num;
    qsort(out->nums, out->count, sizeof *out->nums, compare_nums);
    size_t kept = 0;
    for (size_t i = 0; i < out->count; i++)
        if (kept == 0 || out->nums[kept - 1] != out->nums[i]) out->nums[kept++] = out->nums[i];
    out->count = kept;
    return true;
}

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

typedef struct item_apply {
    braid_db *db;
    arena *a;
    braid_error *err;
    int rc;
    bool to_catalogue, to_graph;
} item_apply;

static bool apply_item(void *ctx, const record_item *row) {
    item_apply *x = ctx;
    item *it = NULL;
    x->rc = parse_body(x->db, row, x->a, &it, x->err);
    if (x->rc) return false;
    if (x->to_catalogue) x->rc = catalogue_upsert(x->db->catalogue, row->num, row->version, it, x->err);
    if (x->rc == BRAID_OK && x->to_graph) x->rc = graph_upsert_item(x->db->graph, row->num, it, x->err);
    item_release(it);
    arena_reset(x->a);
    return x->rc == BRAID_OK;
}

static int apply_items(braid_db *db, const touched *t, uint64_t upto, bool to_catalogue, bool to_graph,
                       braid_error *err) {
    arena *a = arena_new(16 * 1024);
    if (!a) return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory to read items");
    int rc = BRAID_OK;
    for (size_t i = 0; i < t->count && rc == BRAID_OK; i++) {
        item_apply x = {.db = db, .a = a, .err = err, .to_catalogue = to_catalogue, .to_graph = to_graph};
        braid_error missing = {0};
        rc = record_get_item_num(db->record, t->nums[i], apply_item, &x, &missing);
        if (rc == BRAID_E_NOT_FOUND) {
            rc = to_catalogue ? catalogue_remove(db->catalogue, t->nums[i], upto, err) : BRAID_OK;
            if (rc == BRAID_OK && to_graph) rc = graph_remove_item(db->graph, t->nums[i], err);
        } else if (rc != BRAID_OK) {
            error_set(err, rc, missing.store, "%s", missing.message);
        } else {
            rc = x.rc;
        }
    }
    arena_free(a);
    return rc;
}

static int catalogue_apply(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                           braid_error *err) {
    touched t;
    if (!touched_items(entries, n, a, &t))
        return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch");
    return apply_items(ctx, &t, upto, true, false, err);
}

/* ---- graph: items, then relations ---- */
typedef struct relation_apply {
    braid_db *db;
    const record_log_entry *entry;
    braid_error *err;
    int rc;
    bool found;
} relation_apply;

static bool apply_relation(void *ctx, const record_relation *row) {
    relation_apply *x = ctx;
    if (row->from_num != x->entry->num || row->to_num != x->entry->num2 || strcmp(row->r.type, x->entry->key) != 0)
        return true;
    graph_edge e = {row->from_num, row->to_num, row->r.type, (float)row->r.strength};
    x->found = true;
    x->rc = graph_upsert_relation(x->db->graph, &e, x->err);
    return false;
}

static int graph_apply(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                       braid_error *err) {
    braid_db *db = ctx;
    touched t;
    if (!touched_items(entries, n, a, &t))
        return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch");
    int rc = apply_items(db, &t, upto, false, true, err);
    for (size_t i = 0; i < n && rc == BRAID_OK; i++) {
        if (entries[i].kind != RECORD_RELATION) continue;
        relation_apply x = {.db = db, .entry = &entries[i], .err = err};
        rc = record_item_relations(db->record, entries[i].num, apply_relation, &x, err);
        if (rc == BRAID_E_NOT_FOUND) {
            rc = BRAID_OK;
            error_clear(err);
        }
        if (rc == BRAID_OK) rc = x.rc;
        if (rc == BRAID_OK && !x.found)
            rc = graph_remove_relation(db->graph, entries[i].num, entries[i].num2, entries[i].key, err);
    }
    return rc;
}

/* ---- vector ---- */
typedef struct vector_batch {
    braid_db *db;
    vector_entry entries[VECTOR_BATCH];
    float *values; /* VECTOR_BATCH x dim */
    size_t count;
    int rc;
    braid_error *err;
    uint64_t done;
} vector_batch;

static int vector_batch_open(vector_batch *b, braid_db *db, braid_error *err) {
    memset(b, 0, sizeof *b);
    b->db = db;
    b->err = err;
    b->values = malloc(sizeof(float) * VECTOR_BATCH * db->dim);
    return b->values ? BRAID_OK
                     : error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch of vectors");
}

static int vector_batch_flush(vector_batch *b) {
    if (b->count == 0) return BRAID_OK;
    int rc = vector_upsert(b->db->vector, b->entries, b->count, b->err);
    b->done += b->count;
    b->count = 0;
    return rc;
}

static bool vector_batch_add(void *ctx, const record_item *row) {
    vector_batch *b = ctx;
    if (!row->vector) {
        b->rc = vector_remove(b->db->vector, &row->num, 1, b->err);
        return b->rc == BRAID_OK;
    }
    float *copy = b->values + b->count * b->db->dim;
    memcpy(copy, row->vector, sizeof(float) * b->db->dim);
    b->entries[b->count++] = (vector_entry){row->num, copy};
    if (b->count == VECTOR_BATCH) b->rc = vector_batch_flush(b);
    return b->rc == BRAID_OK;
}

static int vector_apply_nums(braid_db *db, const touched *t, braid_error *err) {
    vector_batch *b = malloc(sizeof *b);
    if (!b) return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch of vectors");
    int rc = vector_batch_open(b, db, err);
    for (size_t i = 0; i < t->count && rc == BRAID_OK; i++) {
        braid_error missing = {0};
        rc = record_get_item_num(db->record, t->nums[i], vector_batch_add, b, &missing);
        if (rc == BRAID_E_NOT_FOUND)
            rc = vector_remove(db->vector, &t->nums[i], 1, err);
        else if (rc != BRAID_OK)
            error_set(err, rc, missing.store, "%s", missing.message);
        else
            rc = b->rc;
    }
    if (rc == BRAID_OK) rc = vector_batch_flush(b);
    free(b->values);
    free(b);
    return rc;
}

static int vector_apply(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                        braid_error *err) {
    (void)upto;
    braid_db *db = ctx;
    touched t;
    if (!touched_items(entries, n, a, &t))
        return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch");
    pthread_mutex_lock(&db->vector_writer);
    int rc = vector_apply_nums(db, &t, err);
    pthread_mutex_unlock(&db->vector_writer);
    return rc;
}

int indexer_repair_item(braid_db *db, uint32_t num, braid_error *err) {
    touched t = {&num, 1};
    int rc = apply_items(db, &t, record_head(db->record), true, true, err);
    if (rc) return rc;
    pthread_mutex_lock(&db->vector_writer);
    rc = vector_apply_nums(db, &t, err);
    pthread_mutex_unlock(&db->vector_writer);
    return rc;
}

/* ---- filling the stores at start ---- */
static bool load_relation(void *ctx, const record_relation *row) {
    relation_apply *x = ctx;
    graph_edge e = {row->from_num, row->to_num, row->r.type, (float)row->r.strength};
    x->rc = graph_upsert_relation(x->db->graph, &e, x->err);
    return x->rc == BRAID_OK;
}

static bool load_stats(void *ctx, const record_stats *row) {
    catalogue_set_stats(((braid_db *)ctx)->catalogue, row->num, row->interactions, row->reward_sum, row->last_at);
    return true;
}

static int load_items(braid_db *db, braid_error *err) {
    arena *a = arena_new(16 * 1024);
    if (!a) return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory to read items");
    item_apply x = {.db = db, .a = a, .err = err, .to_catalogue = true, .to_graph = true};
    int rc = record_scan_items(db->record, 0, false, apply_item, &x, err);
    arena_free(a);
    return rc ? rc : x.rc;
}

static int rebuild_vectors(braid_db *db, uint64_t items, braid_error *err) {
    vector_batch *b = malloc(sizeof *b);
    if (!b) return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch of vectors");
    int rc = vector_batch_open(b, db, err);
    if (rc == BRAID_OK && items > 1000)
        log_write(&db->log, LOG_INFO, "vector", "building the index of %llu items; later starts read it from a file",
                  (unsigned long long)items);
    if (rc == BRAID_OK) rc = record_scan_items(db->record, 0, true, vector_batch_add, b, err);
    if (rc == BRAID_OK) rc = b->rc;
    if (rc == BRAID_OK) rc = vector_batch_flush(b);
    free(b->values);
    free(b);
    return rc;
}

int indexer_load(braid_db *db, uint64_t *start, uint64_t *vector_start, braid_error *err) {
    record_info info;
    int rc = record_get_info(db->record, &info, err);
    if (rc) return rc;
    *start = *vector_start = info.head_lsn;
    if ((rc = load_items(db, err))) return rc;
    relation_apply x = {.db = db, .err = err};
    if ((rc = record_scan_relations(db->record, load_relation, &x, err)) || (rc = x.rc)) return rc;
    if ((rc = record_scan_stats(db->record, load_stats, db, err))) return rc;

    uint64_t saved = 0;
    braid_error why = {0};
    if (vector_caps_of(db->vector) & VECTOR_CAP_SNAPSHOT)
        rc = vector_load(db->vector, db->snapshot_path, db->epoch, &saved, &why);
    else
        rc = BRAID_E_NOT_FOUND;
    if (rc == BRAID_OK && saved <= info.head_lsn && saved + 1 >= info.log_first_lsn) {
        db->vector_origin = "snapshot";
        db->snapshot_lsn = *vector_start = saved;
        return BRAID_OK;
    }
    if (rc == BRAID_OK) { /* whole, but the log no longer reaches back to it */
        log_write(&db->log, LOG_WARN, "vector",
                  "the saved index is not of this state of the database; building it again");
        if ((rc = engine_vector_open(db, err))) return rc;
        rc = BRAID_E_NOT_FOUND;
    }
    if (rc != BRAID_E_NOT_FOUND)
        log_write(&db->log, LOG_WARN, "vector", "the saved index is not usable (%s); building it again", why.message);
    db->vector_origin = info.items ? "rebuilt" : "empty";
    return rebuild_vectors(db, info.items, err);
}

/* ---- following the log ---- */
int indexer_start(braid_db *db, uint64_t start, uint64_t vector_start, braid_error *err) {
    uint64_t learned = 0;
    int rc = record_cursor_get(db->record, POLICY_LEARNER_NAME, &learned, err);
    if (rc) return rc;
    const struct {
        const char *name;
        uint64_t start;
        int (*apply)(void *, const record_log_entry *, size_t, uint64_t, arena *, braid_error *);
        void *ctx;
        unsigned pace_ms;
    } consumers[FEED_COUNT] = {
        [FEED_CATALOGUE] = {"catalogue", start, catalogue_apply, db, STORE_PACE_MS},
        [FEED_GRAPH] = {"graph", start, graph_apply, db, STORE_PACE_MS},
        [FEED_VECTOR] = {"vector", vector_start, vector_apply, db, STORE_PACE_MS},
        [FEED_POLICY] = {POLICY_LEARNER_NAME, learned, policy_learner_apply, db->learner, LEARNER_PACE_MS},
    };
    for (size_t i = 0; i < FEED_COUNT; i++) {
        if (i == FEED_POLICY && option_get_bool(db->options, "record.read_only")) break;
        feed_options o = {
            .name = consumers[i].name,
            .start = consumers[i].start,
            .apply = consumers[i].apply,
            .ctx = consumers[i].ctx,
            .batch_max = (size_t)option_get_int(db->options, "feed.batch"),
            .pace_ms = consumers[i].pace_ms,
            .clock = &clock_system,
            .metrics = db->metrics,
            .log = &db->log,
        };
        if ((rc = feed_start(db->record, &o, &db->feeds[i], err))) return rc;
    }
    return BRAID_OK;
}

void indexer_stop(braid_db *db) {
    if (db->feeds[FEED_VECTOR]) {
        /* What the batch in hand applies after this is applied once more by the next start, which does no harm. */
        pthread_mutex_lock(&db->vector_writer);
        db->vector_stopped_at = feed_applied(db->feeds[FEED_VECTOR]);
        pthread_mutex_unlock(&db->vector_writer);
    }
    for (size_t i = 0; i < FEED_COUNT; i++) {
        feed_stop(db->feeds[i]);
        db->feeds[i] = NULL;
    }
}

/* A feed that reads a damaged file will not get further, however long one waits. */
int indexer_stuck(braid_db *db, braid_error *err) {
    for (size_t i = 0; i < FEED_COUNT; i++) {
        braid_error last = {0};
        if (db->feeds[i] && feed_last_error(db->feeds[i], &last) == BRAID_E_CORRUPT)
            return error_set(err, last.code, last.store, "%s", last.message);
    }
    return BRAID_OK;
}

bool indexer_wait(void *ctx, uint64_t lsn, deadline until) {
    braid_db *db = ctx;
    for (size_t i = 0; i < FEED_COUNT; i++) {
        bool there = !db->feeds[i];
        while (!there) {
            int64_t look = clock_mono_ns(&clock_system) + WAIT_LOOK_NS;
            there = feed_wait(db->feeds[i], lsn, until != 0 && until < look ? until : look);
            if (!there && (deadline_passed(&clock_system, until) || indexer_stuck(db, NULL))) return false;
        }
    }
    return true;
}

uint64_t indexer_applied(void *ctx) {
    braid_db *db = ctx;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < FEED_COUNT; i++) {
        if (!db->feeds[i]) continue;
        uint64_t applied = feed_applied(db->feeds[i]);
        if (applied < least) least = applied;
    }
    return least;
}
