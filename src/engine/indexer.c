/* The consumers of the change log: catalogue, graph and vector store each follow it at their own pace.
 *
 * A batch names keys, not values: for every key the present row is fetched and upserted, and a key that is gone is
 * removed. So applying a batch twice, or late, ends in the same state, and a row that a later one overtakes costs
 * nothing. */
#include <stdlib.h>
#include <string.h>

#include "engine/indexer_batch.h"
#include "engine/indexer_fill.h"

/* Under a stream of writes a batch is worth gathering: every batch of the learner is a commit of its own, and every
 * store looks at every row of the log. Whoever waits for a change wakes the feed at once, so this costs nobody's
 * answer anything. */
enum { WAIT_LOOK_NS = 100000000, STORE_PACE_MS = 20, LEARNER_PACE_MS = 500, LEARNER_NICER = 5, LEARNER_BATCH = 20000 };
enum { NEAR_CHANGES = 2000 }; /* that a feed is through with in tenths of a second, if its store is well */

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

/* Reads the rows of what was touched, which come in the order of the numbers: what is passed over is gone. */
typedef struct reading {
    const touched *t;
    size_t at;
    uint32_t *gone;
    size_t gone_count;
    record_item_fn *add;
    void *batch;
} reading;

static bool read_row(void *ctx, const record_item *row) {
    reading *x = ctx;
    while (x->at < x->t->count && x->t->nums[x->at] < row->num) x->gone[x->gone_count++] = x->t->nums[x->at++];
    x->at++;
    return x->add(x->batch, row);
}

/* *gone (free it) are those that are not there; `rc` is the batch's own. */
static int read_touched(braid_db *db, const touched *t, bool with_vectors, record_item_fn *add, void *batch,
                        const int *rc, uint32_t **gone, size_t *gone_count, braid_error *err) {
    *gone_count = 0;
    if (!(*gone = malloc((t->count + 1) * sizeof **gone)))
        return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory to read items");
    reading x = {.t = t, .gone = *gone, .add = add, .batch = batch};
    int code = record_get_items(db->record, t->nums, t->count, with_vectors, read_row, &x, err);
    if (code != BRAID_OK || *rc != BRAID_OK) return code != BRAID_OK ? code : *rc;
    while (x.at < t->count) x.gone[x.gone_count++] = t->nums[x.at++];
    *gone_count = x.gone_count;
    return BRAID_OK;
}

/* Where rows go. force: whatever versions a remote store remembers (0 is no version: always applied). */
typedef struct apply_to {
    bool catalogue, graph, force;
} apply_to;

static int apply_items(braid_db *db, const touched *t, uint64_t upto, apply_to to, braid_error *err) {
    uint32_t *gone = NULL;
    size_t gone_count = 0;
    item_batch *x = item_batch_new(db, to.catalogue, to.graph, err);
    if (!x) return BRAID_E_NO_MEMORY;
    x->force = to.force;
    int rc = read_touched(db, t, false, item_batch_add, x, &x->rc, &gone, &gone_count, err);
    for (size_t i = 0; to.catalogue && rc == BRAID_OK && i < gone_count; i++)
        rc = catalogue_remove(db->catalogue, gone[i], upto, err);
    if (rc == BRAID_OK) rc = item_batch_flush(x);
    if (rc == BRAID_OK && to.graph) rc = graph_remove_items(db->graph, gone, gone_count, err);
    item_batch_free(x);
    free(gone);
    return rc;
}

static int catalogue_apply(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                           braid_error *err) {
    touched t;
    if (!touched_items(entries, n, a, &t))
        return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch");
    /* Here, since this feed runs in every process, whoever feeds the store. */
    vector_touched(((braid_db *)ctx)->vector, t.nums, t.count, upto);
    graph_touched(((braid_db *)ctx)->graph, t.nums, t.count, upto);
    int rc = apply_items(ctx, &t, upto, (apply_to){.catalogue = true}, err);
    for (size_t i = n; rc == BRAID_OK && i-- > 0;)
        if (entries[i].kind == RECORD_RELATION) {
            catalogue_note_relations(((braid_db *)ctx)->catalogue, 0, entries[i].lsn);
            break; /* the last one tells */
        }
    return rc;
}

/* ---- graph: items, then relations ---- */
/* The present row of each key that the batch names; a key without one is gone. */
typedef struct relations_found {
    const record_relation_key *keys;
    graph_edge *edges;
    bool *any;
} relations_found;

static bool find_relation(void *ctx, size_t which, const record_relation *row) {
    relations_found *x = ctx;
    const record_relation_key *key = &x->keys[which];
    x->any[which] = true;
    x->edges[which] = (graph_edge){key->from, key->to, key->type, (float)row->r.strength, row->version};
    return true;
}

static int apply_relations(braid_db *db, const record_log_entry *entries, size_t n, arena *a, braid_error *err) {
    record_relation_key *keys = arena_alloc(a, (n + 1) * sizeof *keys);
    graph_edge *edges = arena_alloc(a, (n + 1) * sizeof *edges), *gone = arena_alloc(a, (n + 1) * sizeof *gone);
    bool *any = arena_calloc(a, n + 1, sizeof *any);
    size_t count = 0, put = 0, gone_count = 0;
    if (!keys || !edges || !gone || !any)
        return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch");
    for (size_t i = 0; i < n; i++) {
        if (entries[i].kind != RECORD_RELATION) continue;
        gone[count] = (graph_edge){
            .from = entries[i].num, .to = entries[i].num2, .type = entries[i].key, .version = entries[i].lsn};
        keys[count++] = (record_relation_key){entries[i].num, entries[i].num2, entries[i].key};
    }
    relations_found x = {keys, edges, any};
    int rc = record_get_relations(db->record, keys, count, find_relation, &x, err);
    for (size_t i = 0; i < count; i++) {
        if (any[i])
            edges[put++] = edges[i];
        else
            gone[gone_count++] = gone[i];
    }
    if (rc == BRAID_OK) rc = graph_upsert_relations(db->graph, edges, put, err);
    return rc != BRAID_OK ? rc : graph_remove_relations(db->graph, gone, gone_count, err);
}

static int graph_apply(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                       braid_error *err) {
    braid_db *db = ctx;
    touched t;
    if (!touched_items(entries, n, a, &t))
        return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch");
    pthread_rwlock_wrlock(&db->graph_writer);
    int rc = apply_items(db, &t, upto, (apply_to){.graph = true}, err);
    if (rc == BRAID_OK) rc = apply_relations(db, entries, n, a, err);
    pthread_rwlock_unlock(&db->graph_writer);
    return rc;
}

/* ---- vector ---- */
static int vector_apply_nums(braid_db *db, const touched *t, bool force, braid_error *err) {
    uint32_t *gone = NULL;
    size_t gone_count = 0;
    vector_batch *b = vector_batch_new(db, err);
    if (!b) return BRAID_E_NO_MEMORY;
    b->force = force;
    int rc = read_touched(db, t, true, vector_batch_add, b, &b->rc, &gone, &gone_count, err);
    for (size_t i = 0; rc == BRAID_OK && i < gone_count; i++) rc = vector_batch_remove(b, gone[i]);
    if (rc == BRAID_OK) rc = vector_batch_flush(b);
    vector_batch_free(b);
    free(gone);
    return rc;
}

static int vector_apply(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                        braid_error *err) {
    (void)upto;
    braid_db *db = ctx;
    touched t;
    if (!touched_items(entries, n, a, &t))
        return error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory for a batch");
    pthread_rwlock_wrlock(&db->vector_writer);
    int rc = vector_apply_nums(db, &t, false, err);
    pthread_rwlock_unlock(&db->vector_writer);
    return rc;
}

int indexer_repair_item(braid_db *db, uint32_t num, bool force, braid_error *err) {
    touched t = {&num, 1};
    pthread_rwlock_wrlock(&db->graph_writer);
    int rc = apply_items(db, &t, record_head(db->record), (apply_to){true, true, force}, err);
    pthread_rwlock_unlock(&db->graph_writer);
    if (rc) return rc;
    pthread_rwlock_wrlock(&db->vector_writer);
    rc = vector_apply_nums(db, &t, force, err);
    pthread_rwlock_unlock(&db->vector_writer);
    return rc;
}

/* ---- filling the stores at start ---- */
static bool load_stats(void *ctx, const record_stats *row) {
    catalogue_set_stats(((braid_db *)ctx)->catalogue, row->num, row->interactions, row->reward_sum, row->recent,
                        row->last_at);
    return true;
}

void indexer_load_stats(braid_db *db) {
    braid_error err = {0};
    if (record_scan_stats(db->record, load_stats, db, &err) == BRAID_OK) return;
    atomic_store(&db->stats_moved, true); /* again, later */
    log_write(&db->log, LOG_DEBUG, err.store, "how often items are watched: %s", err.message);
}

static int load_items(braid_db *db, braid_error *err) {
    item_batch *x = item_batch_new(db, true, !*db->cursors[ROLE_GRAPH], err);
    if (!x) return BRAID_E_NO_MEMORY;
    int rc = record_scan_items(db->record, 0, false, item_batch_add, x, err);
    if (rc == BRAID_OK) rc = x->rc;
    if (rc == BRAID_OK) rc = item_batch_flush(x);
    item_batch_free(x);
    return rc;
}

int indexer_load(braid_db *db, uint64_t *start, uint64_t *vector_start, braid_error *err) {
    record_info info;
    int rc = record_get_info(db->record, &info, err);
    if (rc) return rc;
    *start = *vector_start = info.head_lsn;
    catalogue_note_relations(db->catalogue, info.relations, info.relations_newest);
    if ((rc = load_items(db, err))) return rc;
    if (!*db->cursors[ROLE_GRAPH] && (rc = fill_relations(db, NULL, err))) return rc;
    if ((rc = record_scan_stats(db->record, load_stats, db, err))) return rc;

    uint64_t saved = 0;
    braid_error why = {0};
    db->vector_origin = "remote";
    if (*db->cursors[ROLE_VECTOR]) return BRAID_OK;
    if (db->snapshot_path && vector_caps_of(db->vector) & VECTOR_CAP_SNAPSHOT)
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
    if (info.items > 1000)
        log_write(&db->log, LOG_INFO, "vector", "building the index of %llu items%s", (unsigned long long)info.items,
                  db->snapshot_path ? "; later starts read it from a file" : "");
    return fill_vectors(db, NULL, err);
}

/* ---- a store that outlives this process ---- */
/* Goes on at the cursor when the log reaches back that far; a store that was never fed, or was left behind, is
 * filled from the items themselves. */
static int begin_with(braid_db *db, const char *name, int (*fill)(braid_db *, fill_watch *, braid_error *),
                      uint64_t stored, uint64_t *start, braid_error *err) {
    record_info info;
    int rc = record_get_info(db->record, &info, err);
    *start = stored;
    if (rc != BRAID_OK || (stored > 0 && stored + 1 >= info.log_first_lsn)) return rc;
    uint64_t head = record_head(db->record);
    int64_t begun = clock_mono_ns(&clock_system);
    log_write(&db->log, LOG_INFO, name, "filling the store with %llu items", (unsigned long long)info.items);
    if ((rc = fill(db, NULL, err)) != BRAID_OK) return rc;
    *start = head;
    log_write(&db->log, LOG_INFO, name, "the store is filled, in %.1f s",
              (double)(clock_mono_ns(&clock_system) - begun) / 1e9);
    record_cursor cursor = {db->cursors[fill == fill_graph_anew ? ROLE_GRAPH : ROLE_VECTOR], head};
    if (!*cursor.name) return BRAID_OK; /* of this process alone */
    record_change change = {.kind = RECORD_CURSOR, .cursor = &cursor};
    return record_write(db->record, &change, 1, (record_write_flags){true}, err);
}

static int begin_vector(void *ctx, uint64_t stored, uint64_t *start, braid_error *err) {
    braid_db *db = ctx;
    pthread_rwlock_wrlock(&db->vector_writer);
    vector_resume(db->vector);
    pthread_rwlock_unlock(&db->vector_writer);
    return begin_with(ctx, "vector", fill_vectors_anew, stored, start, err);
}

static int begin_graph(void *ctx, uint64_t stored, uint64_t *start, braid_error *err) {
    return begin_with(ctx, "graph", fill_graph_anew, stored, start, err);
}

/* Another process may have learned since this one last did. */
static int begin_policy(void *ctx, uint64_t stored, uint64_t *start, braid_error *err) {
    *start = stored;
    return policy_learner_begin(ctx, stored, err);
}

/* ---- the log no longer reaches back to where a feed stands ---- */
static int vector_anew(void *ctx, uint64_t *start, braid_error *err) {
    return begin_vector(ctx, 0, start, err);
}

static int graph_anew(void *ctx, uint64_t *start, braid_error *err) {
    return begin_graph(ctx, 0, start, err);
}

typedef struct present_items {
    item_batch *batch;
    bitset nums;
} present_items;

static bool note_present(void *ctx, const record_item *row) {
    present_items *x = ctx;
    if (row->num < x->nums.bits) bitset_set(&x->nums, row->num);
    return item_batch_add(x->batch, row);
}

/* Every item is upserted, which changes what has changed; those that are in no record any more go. */
static int catalogue_anew(void *ctx, uint64_t *start, braid_error *err) {
    braid_db *db = ctx;
    record_info info;
    uint32_t bits = catalogue_bits(db->catalogue);
    present_items x = {.batch = item_batch_new(db, true, false, err)};
    if (!x.batch) return BRAID_E_NO_MEMORY;
    int rc = bitset_init(&x.nums, bits)
                 ? record_get_info(db->record, &info, err)
                 : error_set(err, BRAID_E_NO_MEMORY, "engine/indexer", "no memory to read items");
    if (rc == BRAID_OK) rc = record_scan_items(db->record, 0, false, note_present, &x, err);
    if (rc == BRAID_OK) rc = x.batch->rc;
    if (rc == BRAID_OK) rc = item_batch_flush(x.batch);
    for (uint32_t num = 1; rc == BRAID_OK && num < bits; num++)
        if (!bitset_has(&x.nums, num)) rc = catalogue_remove(db->catalogue, num, info.head_lsn, err);
    if (rc == BRAID_OK) {
        catalogue_note_relations(db->catalogue, info.relations, info.relations_newest);
        indexer_load_stats(db);
        *start = info.head_lsn;
    }
    item_batch_free(x.batch);
    bitset_free(&x.nums);
    return rc;
}

/* Who changed is not known any more: everybody is read anew. */
static int profiles_anew(void *ctx, uint64_t *start, braid_error *err) {
    braid_db *db = ctx;
    (void)err;
    *start = record_head(db->record);
    policy_profiles_forget(db->profiles, *start);
    return BRAID_OK;
}

/* ---- people and models, as other processes change them ---- */
static int profiles_apply(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                          braid_error *err) {
    braid_db *db = ctx;
    (void)upto;
    (void)a;
    (void)err;
    for (size_t i = 0; i < n; i++)
        if (entries[i].kind != RECORD_NEIGHBOURS && entries[i].kind != RECORD_DOCUMENT && entries[i].key[0] &&
            entries[i].lsn > policy_profile_last_write(db->profiles, entries[i].key))
            policy_profile_drop(db->profiles, entries[i].key, entries[i].lsn);
    for (size_t i = 0; i < n; i++)
        if (entries[i].kind == RECORD_INTERACTION)
            atomic_store(&db->stats_moved, true);
        else if (entries[i].kind == RECORD_NEIGHBOURS)
            atomic_store(&db->models_moved, true);
        else if (entries[i].kind == RECORD_DOCUMENT)
            atomic_store(strcmp(entries[i].key, POLICY_PATTERNS_KEY) == 0 ? &db->patterns_moved : &db->programme_moved,
                         true);
    return BRAID_OK;
}

/* ---- following the log ---- */
typedef struct consumer {
    const char *name;
    uint64_t start;
    int (*apply)(void *, const record_log_entry *, size_t, uint64_t, arena *, braid_error *);
    void *ctx;
    unsigned pace_ms, kinds;
    const char *cursor; /* of a store that outlives this process */
    int (*begin)(void *, uint64_t, uint64_t *, braid_error *);
    bool wanted, own_cursor;
    int (*anew)(void *, uint64_t *, braid_error *);
} consumer;

static const char *cursor_of(const braid_db *db, engine_role role) {
    return *db->cursors[role] ? db->cursors[role] : NULL;
}

int indexer_start(braid_db *db, uint64_t start, uint64_t vector_start, braid_error *err) {
    uint64_t learned = 0;
    int rc = record_cursor_get(db->record, POLICY_LEARNER_NAME, &learned, err);
    if (rc) return rc;
    bool writes = !option_get_bool(db->options, "record.read_only");
    bool shared = !(record_caps_of(db->record) & RECORD_CAP_SINGLE_PROCESS);
    const unsigned items = RECORD_MASK(RECORD_ITEM),
                   people = RECORD_MASK(RECORD_USER) | RECORD_MASK(RECORD_INTERACTION);
    const unsigned learned_rows =
        RECORD_MASK(RECORD_POLICY) | RECORD_MASK(RECORD_NEIGHBOURS) | RECORD_MASK(RECORD_DOCUMENT);
    const char *vector = cursor_of(db, ROLE_VECTOR), *graph = cursor_of(db, ROLE_GRAPH);
    const consumer consumers[FEED_COUNT] = {
        [FEED_CATALOGUE] = {"catalogue", start, catalogue_apply, db, STORE_PACE_MS,
                            items | RECORD_MASK(RECORD_RELATION), .wanted = true, .anew = catalogue_anew},
        [FEED_GRAPH] = {"graph", start, graph_apply, db, STORE_PACE_MS, items | RECORD_MASK(RECORD_RELATION), graph,
                        begin_graph, .wanted = writes || !graph, .anew = graph_anew},
        [FEED_VECTOR] = {"vector", vector_start, vector_apply, db, STORE_PACE_MS, items, vector, begin_vector,
                         .wanted = writes || !vector, .anew = vector_anew},
        [FEED_POLICY] = {POLICY_LEARNER_NAME, learned, policy_learner_apply, db->learner, LEARNER_PACE_MS,
                         RECORD_MASK_ALL & ~learned_rows, shared ? POLICY_LEARNER_NAME : NULL, begin_policy,
                         .wanted = writes, .own_cursor = true},
        [FEED_PROFILES] = {"profiles", start, profiles_apply, db, STORE_PACE_MS,
                           people | RECORD_MASK(RECORD_NEIGHBOURS) | RECORD_MASK(RECORD_DOCUMENT), .wanted = shared,
                           .anew = profiles_anew},
    };
    graph_touched_all(db->graph, start);
    vector_touched_all(db->vector, start); /* what is older never comes by the catalogue's feed */
    for (size_t i = 0; i < FEED_COUNT; i++) {
        const consumer *c = &consumers[i];
        if (!c->wanted) continue;
        feed_options o = {
            .name = c->name,
            .start = c->start,
            .apply = c->apply,
            .ctx = c->ctx,
            .batch_max = i == FEED_POLICY ? LEARNER_BATCH : (size_t)option_get_int(db->options, "feed.batch"),
            .pace_ms = c->pace_ms,
            .nicer = i == FEED_POLICY ? LEARNER_NICER : 0,
            .kinds = c->kinds,
            .cursor = c->cursor,
            .own_cursor = c->own_cursor,
            .begin = c->begin,
            .anew = c->anew,
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
        pthread_rwlock_wrlock(&db->vector_writer);
        db->vector_stopped_at = feed_applied(db->feeds[FEED_VECTOR]);
        pthread_rwlock_unlock(&db->vector_writer);
    }
    for (size_t i = 0; i < FEED_COUNT; i++) {
        feed_stop(db->feeds[i]);
        db->feeds[i] = NULL;
    }
}

uint64_t indexer_lag(braid_db *db, const feed *f) {
    uint64_t applied = feed_applied(f);
    return applied < record_head(db->record) ? record_lag(db->record, applied) : 0;
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

bool indexer_near(void *ctx, uint64_t lsn) {
    braid_db *db = ctx;
    for (size_t i = 0; i < FEED_COUNT; i++) {
        uint64_t applied = db->feeds[i] ? feed_applied(db->feeds[i]) : lsn;
        if (applied < lsn && record_lag(db->record, applied) > NEAR_CHANGES + record_lag(db->record, lsn)) return false;
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
