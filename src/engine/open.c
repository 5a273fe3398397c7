/* Opening and closing: the record store first, the derived stores from it, the feeds last; closing in reverse.
 *
 * After any failure braid_close() on what there is leaves nothing behind: every destroyer accepts what was never
 * made. */
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"
#include "engine/slate_log.h"
#include "engine/write_queue.h"

enum { REMOTE_WORKERS = 32 };

const char *braid_version(void) {
    return BRAID_VERSION;
}

void braid_free(void *text) {
    free(text);
}

const char *braid_error_name(int code) {
    return error_name(code);
}

const char *braid_error_sentence(int code) {
    return error_sentence(code);
}

int braid_error_http_status(int code) {
    return error_http_status(code);
}

int braid_error_exit_code(int code) {
    return error_exit_code(code);
}

uint32_t braid_dimension(const braid_db *db) {
    return db->dim;
}

int engine_text(buf *b, char **out, braid_error *err) {
    *out = buf_steal(b);
    return *out ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for the answer's text");
}

static log_level level_of(const char *name) {
    static const char *const names[] = {"debug", "info", "warn", "error", "off"};
    for (int i = 0; i < 5; i++)
        if (strcmp(names[i], name) == 0) return (log_level)i;
    return LOG_INFO;
}

int engine_record_open(braid_db *db, record_step_fn *on_step, void *ctx, braid_error *err) {
    option_set *o = db->options;
    record_options r = {
        .path = db->path,
        .dim = (uint32_t)option_get_int(o, "vector.dimension"),
        .create = option_get_bool(o, "record.create"),
        .read_only = option_get_bool(o, "record.read_only"),
        .readers = (unsigned)option_get_int(o, "record.readers"),
        .group_max = (size_t)option_get_int(o, "record.group_max"),
        .wal_bytes_checkpoint = (uint64_t)option_get_int(o, "record.wal_bytes"),
        .clock = &clock_system,
        .metrics = db->metrics,
        .log = &db->log,
        .on_step = on_step,
        .on_step_ctx = ctx,
    };
    const char *store = option_get(o, "record.store");
    const record_ops *ops = record_find(store);
    if (!ops) return engine_not_built("record.store", store, err);
    int rc = engine_remote_of(db, ROLE_RECORD, store, &r.remote, err);
    if (rc) return rc;
    if (!r.remote && !db->path) return error_set(err, BRAID_E_INVALID, "engine", "no database file was named");
    rc = record_open(ops, &r, &db->record, err);
    /* A dimension that nobody asked for must not stand in the way of a file that has another. */
    if (rc == BRAID_E_DIMENSION && option_is_default(o, "vector.dimension")) {
        error_clear(err);
        r.dim = 0;
        rc = record_open(ops, &r, &db->record, err);
    }
    if (rc) return rc;
    record_info info;
    if ((rc = record_get_info(db->record, &info, err))) return rc;
    db->dim = info.dim;
    db->epoch = info.epoch;
    db->limits = (model_limits){(size_t)option_get_int(o, "limits.json_bytes"),
                                (unsigned)option_get_int(o, "limits.json_depth"), info.dim};
    db->rooms.vectors_are_given = info.items > 0 && info.vectors_given * 2 > info.items;
    return BRAID_OK;
}

/* A store that outlives this process is known by where it is; another address is another store, to be filled anew. */
static void cursor_name(braid_db *db, engine_role role, const char *what, const char *store, const remote_options *r) {
    if (r)
        snprintf(db->cursors[role], sizeof db->cursors[role], "%s:%s:%.200s:%.60s", what, store, r->address,
                 r->database);
}

static uint64_t vector_applied(void *ctx) {
    const braid_db *db = ctx;
    return db->feeds[FEED_VECTOR] ? feed_applied(db->feeds[FEED_VECTOR]) : 0;
}

int engine_vector_open(braid_db *db, braid_error *err) {
    option_set *o = db->options;
    vector_options v = {
        .dim = db->dim,
        .m = (unsigned)option_get_int(o, "vector.m"),
        .ef_construction = (unsigned)option_get_int(o, "vector.ef_construction"),
        .ef_search = (unsigned)option_get_int(o, "vector.ef_search"),
        .seed = 20261121,
        .kernel = option_get(o, "vector.kernel"),
        .clock = &clock_system,
        .metrics = db->metrics,
        .log = &db->log,
    };
    vector_close(db->vector);
    db->vector = NULL;
    const char *store = option_get(o, "vector.store");
    const vector_ops *ops = vector_find(store);
    if (!ops) return engine_not_built("vector.store", store, err);
    int rc = engine_remote_of(db, ROLE_VECTOR, store, &v.remote, err);
    if (rc == BRAID_OK) rc = vector_open(ops, &v, &db->vector, err);
    if (rc == BRAID_OK)
        rc = vector_keep(db->vector, (size_t)option_get_int(o, "vector.kept_bytes"), vector_applied, db, err);
    if (rc == BRAID_OK) cursor_name(db, ROLE_VECTOR, "vector", store, v.remote);
    db->rooms.vector = db->vector;
    return rc;
}

static uint64_t graph_applied(void *ctx) {
    const braid_db *db = ctx;
    return db->feeds[FEED_GRAPH] ? feed_applied(db->feeds[FEED_GRAPH]) : 0;
}

static int open_graph(braid_db *db, braid_error *err) {
    option_set *o = db->options;
    graph_options g = {.hub_max = (uint32_t)option_get_int(o, "graph.hub_max"),
                       .visits_max = (uint32_t)option_get_int(o, "graph.visits_max"),
                       .kept_bytes = (size_t)option_get_int(o, "graph.kept_bytes"),
                       .applied = graph_applied,
                       .applied_ctx = db,
                       .clock = &clock_system,
                       .metrics = db->metrics,
                       .log = &db->log};
    const char *store = option_get(o, "graph.store");
    const graph_ops *ops = graph_find(store);
    if (!ops) return engine_not_built("graph.store", store, err);
    int rc = engine_remote_of(db, ROLE_GRAPH, store, &g.remote, err);
    if (rc == BRAID_OK) rc = graph_open(ops, &g, &db->graph, err);
    if (rc == BRAID_OK) cursor_name(db, ROLE_GRAPH, "graph", store, g.remote);
    return rc;
}

static int open_cache(braid_db *db, braid_error *err) {
    option_set *o = db->options;
    cache_options c = {.bytes_max = (uint64_t)option_get_int(o, "cache.bytes"),
                       .clock = &clock_system,
                       .metrics = db->metrics,
                       .log = &db->log};
    const char *store = option_get(o, "cache.store");
    const cache_ops *ops = cache_find(store);
    if (!ops) return engine_not_built("cache.store", store, err);
    int rc = engine_remote_of(db, ROLE_CACHE, store, &c.remote, err);
    return rc == BRAID_OK ? cache_open(ops, &c, &db->cache, err) : rc;
}

static bool remote_roles(const braid_db *db) {
    return *db->cursors[ROLE_VECTOR] || *db->cursors[ROLE_GRAPH] || record_caps_of(db->record) & RECORD_CAP_REMOTE;
}

/* Patterns that nobody can read, as those of a later program may be, are none: answers do without, and the next
 * learning replaces them. */
static int load_patterns(braid_db *db, braid_error *err) {
    braid_error unread = {0};
    int rc = policy_patterns_load(db->patterns, &unread);
    if (rc == BRAID_E_CORRUPT)
        log_write(&db->log, LOG_WARN, unread.store, "%s", unread.message);
    else if (rc != BRAID_OK)
        return error_set(err, rc, unread.store, "%s", unread.message);
    return BRAID_OK;
}

static int open_derived(braid_db *db, braid_error *err) {
    option_set *o = db->options;
    int rc;
    if ((rc = catalogue_open(&clock_system, db->metrics, &db->catalogue, err))) return rc;
    if ((rc = engine_vector_open(db, err))) return rc;
    if ((rc = open_graph(db, err))) return rc;
    if ((rc = open_cache(db, err))) return rc;
    if ((rc = embed_open(embed_find(option_get(o, "embed.store")), db->dim, &db->embedder, err))) return rc;
    /* In front of a local file a cache in another process would be the longer way. */
    cache *in_front = record_caps_of(db->record) & RECORD_CAP_REMOTE ? db->cache : NULL;
    unsigned ttl_ms = (unsigned)option_get_int(o, "cache.policy_ttl_ms");
    if ((rc = policy_people_open(db->record, in_front, ttl_ms, &db->people, err))) return rc;
    if ((rc = policy_profiles_open(db->record, db->people, db->catalogue, &db->limits,
                                   (size_t)option_get_int(o, "policy.profiles_max"), &clock_system, db->metrics,
                                   &db->profiles, err)))
        return rc;
    if ((rc = policy_rows_open(db->record, in_front, ttl_ms, db->metrics, &db->policies, err))) return rc;
    if ((rc = policy_agents_open(db->record, &db->agents, err))) return rc;
    if ((rc = policy_models_open(db->record, db->metrics, &db->models, err))) return rc;
    if ((rc = policy_models_load(db->models, err))) return rc;
    if ((rc = policy_patterns_open(db->record, db->catalogue, db->metrics, &db->patterns, err))) return rc;
    if ((rc = load_patterns(db, err))) return rc;
    if ((rc = policy_learner_open(db->record, db->policies, db->catalogue, &db->log, db->metrics, &db->learner, err)))
        return rc;
    if ((rc = policy_state_parse(option_get(o, "policy.state"), &db->rooms.state_parts, err))) return rc;
    policy_learner_states(db->learner, db->rooms.state_parts);
    if ((rc = query_programme_open(db->record, db->metrics, &db->log, &db->programme, err))) return rc;
    double share = option_get_bool(o, "record.read_only") ? 0 : option_get_real(o, "slates.share");
    if ((rc = slate_log_open(db->record, share, (size_t)option_get_int(o, "slates.queue"), db->metrics, &db->log,
                             &db->slates, err)))
        return rc;
    if ((rc = write_queue_open(db, (size_t)option_get_int(o, "record.queue"), db->metrics, &db->log, &db->queue, err)))
        return rc;
    unsigned workers = (unsigned)option_get_int(o, "query.workers");
    if (remote_roles(db) && workers < REMOTE_WORKERS) workers = REMOTE_WORKERS; /* they wait more than they work */
    db->pool = pool_new(workers, 1024, &clock_system);
    return db->pool ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "engine", "the worker threads could not be started");
}

static void fill_rooms(braid_db *db) {
    option_set *o = db->options;
    db->rooms = (query_rooms){
        .record = db->record,
        .vector = db->vector,
        .graph = db->graph,
        .cache = db->cache,
        .catalogue = db->catalogue,
        .profiles = db->profiles,
        .policies = db->policies,
        .agents = db->agents,
        .state_parts = db->rooms.state_parts,
        .models = db->models,
        .patterns = option_get_bool(o, "learn.patterns") ? db->patterns : NULL,
        .people = db->people,
        .embedder = db->embedder,
        .programme = db->programme,
        .pool = db->pool,
        .clock = &clock_system,
        .metrics = db->metrics,
        .log = &db->log,
        .limits = db->limits,
        .epoch = db->epoch,
        .default_region = option_get(o, "rights.region"),
        .default_lang = option_get(o, "query.lang"),
        .default_deadline_ms = (unsigned)option_get_int(o, "query.deadline_ms"),
        .result_ttl_ms = (unsigned)option_get_int(o, "cache.result_ttl_ms"),
        .personal_ttl_ms = (unsigned)option_get_int(o, "cache.personal_ttl_ms"),
        .slate_ttl_ms = (unsigned)option_get_int(o, "cache.slate_ttl_ms"),
        .ef_search = (unsigned)option_get_int(o, "vector.ef_search"),
        .weights = {{option_get_real(o, "query.search_weight_vector"), option_get_real(o, "query.search_weight_graph"),
                     option_get_real(o, "query.search_weight_policy")},
                    {option_get_real(o, "query.weight_vector"), option_get_real(o, "query.weight_graph"),
                     option_get_real(o, "query.weight_policy")}},
        .vectors_are_given = db->rooms.vectors_are_given,
        .wait = indexer_wait,
        .near = indexer_near,
        .applied = indexer_applied,
        .settled = engine_settled,
        .caught_up_ns = &db->caught_up_ns,
        .ctx = db,
    };
}

int engine_db_new(const char *path, const braid_options *options, braid_db **out, braid_error *err) {
    braid_db *db = calloc(1, sizeof *db);
    *out = db;
    if (path && !*path) path = NULL;
    if (!db) return error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory to open a database");
    pthread_condattr_t monotonic;
    pthread_rwlock_init(&db->vector_writer, NULL);
    pthread_rwlock_init(&db->graph_writer, NULL);
    pthread_mutex_init(&db->learning, NULL);
    pthread_mutex_init(&db->keeper_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&db->keeper_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    db->opened_ns = clock_mono_ns(&clock_system);
    db->opened_ms = clock_wall_ms(&clock_system);
    size_t len = path ? strlen(path) + sizeof "-hnsw" : 0;
    db->path = path ? strdup(path) : NULL;
    db->snapshot_path = path ? malloc(len) : NULL;
    db->metrics = metrics_new();
    if ((path && (!db->path || !db->snapshot_path)) || !db->metrics)
        return error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory to open a database");
    if (path) snprintf(db->snapshot_path, len, "%s-hnsw", path);
    int rc = engine_options_copy(options, &db->options, err);
    if (rc == BRAID_OK) db->log = (logger){level_of(option_get(db->options, "log.level")), 2};
    return rc;
}

int braid_open(const char *path, const braid_options *options, braid_db **out, braid_error *err) {
    *out = NULL;
    braid_db *db = NULL;
    uint64_t start = 0, vector_start = 0;
    int rc = engine_db_new(path, options, &db, err);
    if (rc == BRAID_OK) rc = engine_record_open(db, NULL, NULL, err);
    if (rc == BRAID_OK) rc = open_derived(db, err);
    if (rc == BRAID_OK) rc = indexer_load(db, &start, &vector_start, err);
    if (rc == BRAID_OK) rc = indexer_start(db, start, vector_start, err);
    if (rc == BRAID_OK) {
        fill_rooms(db);
        rc = keeper_start(db, err);
    }
    if (rc == BRAID_OK) rc = teacher_start(db, err);
    if (rc) {
        braid_close(db);
        return rc;
    }
    /* What the last run left in the log is applied before the first answer. */
    indexer_wait(db, record_head(db->record), clock_mono_ns(&clock_system) + INT64_C(5000000000));
    db->open_seconds = (double)(clock_mono_ns(&clock_system) - db->opened_ns) / 1e9;
    *out = db;
    return BRAID_OK;
}

void braid_close(braid_db *db) {
    if (!db) return;
    bool complete = db->keeper_runs;
    write_queue_close(db->queue);
    slate_log_close(db->slates);
    keeper_stop(db);
    teacher_stop(db);
    indexer_stop(db);
    if (complete && !option_get_bool(db->options, "record.read_only")) {
        braid_error err = {0};
        if (keeper_snapshot(db, &err) != BRAID_OK)
            log_write(&db->log, LOG_WARN, err.store, "the index was not saved (%s); the next start builds it again",
                      err.message);
    }
    pool_free(db->pool);
    query_programme_close(db->programme);
    policy_learner_close(db->learner);
    policy_patterns_close(db->patterns);
    policy_models_close(db->models);
    policy_agents_close(db->agents);
    policy_rows_close(db->policies);
    policy_profiles_close(db->profiles);
    policy_people_close(db->people);
    embed_close(db->embedder);
    cache_close(db->cache);
    graph_close(db->graph);
    vector_close(db->vector);
    catalogue_close(db->catalogue);
    record_close(db->record);
    metrics_free(db->metrics);
    option_set_free(db->options);
    pthread_cond_destroy(&db->keeper_wake);
    pthread_mutex_destroy(&db->keeper_lock);
    pthread_rwlock_destroy(&db->vector_writer);
    pthread_rwlock_destroy(&db->graph_writer);
    pthread_mutex_destroy(&db->learning);
    for (size_t i = 0; i < ROLE_COUNT; i++) engine_secret_free(db->secrets[i]);
    free(db->snapshot_path);
    free(db->path);
    free(db);
}
