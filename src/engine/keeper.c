/* The housekeeping thread: saves the vector index now and then, trims the change log behind the slowest reader, keeps
 * remote stores warm (warm.c) and tells them when they may rest, lets histograms forget, once an hour rolls up what was
 * done and forgets what is old, and reads again how often items are watched and what speaks for them when another
 * server has learned.
 *
 * A row of the log may go when every feed has applied it, the learner's stored cursor is past it, and the saved index
 * holds it: then nobody can ask for it again. */
#include <time.h>

#include "engine/db.h"

enum {
    KEEPER_TICK_S = 1,
    KEEPER_PERIOD_S = 10,
    STATS_PERIOD_S = 30,
    HOURLY_FIRST_S = 2, /* who is restarted every night forgets too */
    HOURLY_PERIOD_S = 3600,
    DECAY_PERIOD_S = 60, /* so old is what the planner believes half of */
    WARM_WAIT_S = 3      /* at most, for the first answers to find the stores ready */
};

int keeper_snapshot(braid_db *db, braid_error *err) {
    if (!db->snapshot_path || !(vector_caps_of(db->vector) & VECTOR_CAP_SNAPSHOT)) return BRAID_OK;
    pthread_rwlock_wrlock(&db->vector_writer);
    /* Under the writer's lock the feed cannot be inside a batch, so what it reports as applied is what the store
     * holds. */
    uint64_t lsn = db->feeds[FEED_VECTOR] ? feed_applied(db->feeds[FEED_VECTOR]) : db->vector_stopped_at;
    int rc = BRAID_OK;
    if (lsn != db->snapshot_lsn || lsn == 0) rc = vector_save(db->vector, db->snapshot_path, db->epoch, lsn, err);
    if (rc == BRAID_OK) db->snapshot_lsn = lsn;
    pthread_rwlock_unlock(&db->vector_writer);
    return rc;
}

/* The learner stores its cursor only now and then when there is nothing to learn; before trimming it is brought up to
 * what was applied, so that the log can go that far. (A cursor never goes back, so this cannot undo what the learner
 * writes meanwhile.) */
static int settle_cursor(braid_db *db, uint64_t *learned, braid_error *err) {
    int rc = record_cursor_get(db->record, POLICY_LEARNER_NAME, learned, err);
    uint64_t applied = db->feeds[FEED_POLICY] ? feed_applied(db->feeds[FEED_POLICY]) : 0;
    if (rc || applied <= *learned) return rc;
    record_cursor cursor = {POLICY_LEARNER_NAME, applied};
    record_change change = {.kind = RECORD_CURSOR, .cursor = &cursor};
    rc = record_write(db->record, &change, 1, (record_write_flags){true}, err);
    if (rc == BRAID_OK && change.code == BRAID_OK) *learned = applied;
    return rc;
}

int keeper_trim(braid_db *db, braid_error *err) {
    uint64_t upto = indexer_applied(db), learned = 0;
    int rc = settle_cursor(db, &learned, err);
    if (rc) return rc;
    if (learned < upto) upto = learned;
    pthread_rwlock_wrlock(&db->vector_writer);
    if (db->snapshot_path && (vector_caps_of(db->vector) & VECTOR_CAP_SNAPSHOT) && db->snapshot_lsn < upto)
        upto = db->snapshot_lsn;
    pthread_rwlock_unlock(&db->vector_writer);
    return upto ? record_log_trim(db->record, upto, err) : BRAID_OK;
}

int braid_checkpoint(braid_db *db, braid_error *err) {
    int rc = keeper_snapshot(db, err);
    if (rc == BRAID_OK) rc = keeper_trim(db, err);
    return rc ? rc : record_checkpoint(db->record, err);
}

/* A vector store that nothing was written to since the last look may rest; not one that only cannot keep up. */
static void rest(braid_db *db, uint64_t *seen) {
    if (!(vector_caps_of(db->vector) & VECTOR_CAP_REMOTE) || !db->feeds[FEED_VECTOR]) return;
    uint64_t applied = feed_applied(db->feeds[FEED_VECTOR]);
    pthread_rwlock_wrlock(&db->vector_writer);
    if (applied == *seen && indexer_lag(db, db->feeds[FEED_VECTOR]) == 0) vector_rest(db->vector);
    pthread_rwlock_unlock(&db->vector_writer);
    *seen = applied;
}

static void keep(braid_db *db) {
    uint64_t every = (uint64_t)option_get_int(db->options, "feed.snapshot_changes");
    pthread_rwlock_wrlock(&db->vector_writer);
    uint64_t saved = db->snapshot_lsn;
    pthread_rwlock_unlock(&db->vector_writer);
    braid_error err = {0};
    uint64_t applied = feed_applied(db->feeds[FEED_VECTOR]);
    if (applied < saved + every) return;
    int rc = keeper_snapshot(db, &err);
    if (rc == BRAID_OK) rc = keeper_trim(db, &err);
    if (rc) log_write(&db->log, LOG_WARN, err.store, "housekeeping: %s", err.message);
}

/* Every `period` ticks. */
static bool due(uint64_t tick, uint64_t period) {
    return tick % (period / KEEPER_TICK_S) == 0;
}

/* Warmed all over when the database was opened, and when a store is back; one that is not is asked once. */
static void keep_warm(braid_db *db, uint64_t tick, bool *well) {
    if (!warm_wanted(db) || (*well && !due(tick, KEEPER_PERIOD_S))) return;
    bool was_well = *well;
    *well = warm_stores(db, false) && (was_well || warm_stores(db, true));
    if (was_well && !*well)
        log_write(&db->log, LOG_INFO, "engine", "a remote store does not answer; it is asked again every second");
}

/* What another server has learned. While it still writes, what is read is part old and part new, and it is read
 * again. */
static void keep_models(braid_db *db) {
    braid_error err = {0};
    if (!atomic_exchange(&db->models_moved, false)) return;
    if (policy_models_load(db->models, &err) == BRAID_OK) return;
    atomic_store(&db->models_moved, true);
    log_write(&db->log, LOG_WARN, err.store, "what another server learned could not be read, and is tried again: %s",
              err.message);
}

static void keep_patterns(braid_db *db) {
    braid_error err = {0};
    if (!atomic_exchange(&db->patterns_moved, false)) return;
    int rc = policy_patterns_load(db->patterns, &err);
    if (rc == BRAID_OK) return;
    atomic_store(&db->patterns_moved, rc != BRAID_E_CORRUPT); /* which another reading would not mend */
    log_write(&db->log, LOG_WARN, err.store, "the patterns that another server found could not be read: %s",
              err.message);
}

/* Rules and experiments that another server has written. */
static void keep_programme(braid_db *db) {
    braid_error err = {0};
    if (!atomic_exchange(&db->programme_moved, false)) return;
    policy_agents_changed(db->agents);
    if (query_programme_load(db->programme, &err) == BRAID_OK) return;
    atomic_store(&db->programme_moved, true);
    log_write(&db->log, LOG_WARN, err.store, "rules and experiments could not be read, and are tried again: %s",
              err.message);
}

static void roll_up(braid_db *db) {
    braid_error err = {0};
    if (engine_roll_up(db, &err) != BRAID_OK)
        log_write(&db->log, LOG_WARN, err.store, "the last hours could not be rolled up: %s", err.message);
}

static void tend(braid_db *db, uint64_t tick) {
    bool writes = !option_get_bool(db->options, "record.read_only");
    if (due(tick, KEEPER_PERIOD_S) && tick > 0 && writes) keep(db);
    if (due(tick, KEEPER_PERIOD_S) && tick > 0) keep_models(db);
    if (tick > 0) keep_patterns(db);
    if (tick > 0) keep_programme(db);
    engine_settled(db, catalogue_changed(db->catalogue)); /* for its clock: answers are kept some time after this */
    if (writes && (tick == HOURLY_FIRST_S / KEEPER_TICK_S || (due(tick, HOURLY_PERIOD_S) && tick > 0))) {
        roll_up(db); /* first: what is forgotten was counted */
        engine_forget(db);
    }
    if (due(tick, DECAY_PERIOD_S) && tick > 0) metrics_decay(db->metrics);
    if (due(tick, STATS_PERIOD_S) && tick > 0 && atomic_exchange(&db->stats_moved, false)) indexer_load_stats(db);
}

static void *keeper_main(void *ctx) {
    braid_db *db = ctx;
    bool well = false; /* nobody has looked yet */
    uint64_t seen = 0;
    pthread_mutex_lock(&db->keeper_lock);
    for (uint64_t tick = 0; !db->closing; tick++) {
        struct timespec until;
        pthread_mutex_unlock(&db->keeper_lock);
        keep_warm(db, tick, &well);
        tend(db, tick);
        if (due(tick, KEEPER_PERIOD_S) && tick > 0) rest(db, &seen);
        pthread_mutex_lock(&db->keeper_lock);
        db->warmed = true;
        pthread_cond_broadcast(&db->keeper_wake);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += KEEPER_TICK_S;
        while (!db->closing && pthread_cond_timedwait(&db->keeper_wake, &db->keeper_lock, &until) == 0) {}
    }
    pthread_mutex_unlock(&db->keeper_lock);
    return NULL;
}

/* The first answers are to find the stores ready, though not at any price. */
static void await_warmth(braid_db *db) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WARM_WAIT_S;
    pthread_mutex_lock(&db->keeper_lock);
    while (!db->warmed && pthread_cond_timedwait(&db->keeper_wake, &db->keeper_lock, &until) == 0) {}
    pthread_mutex_unlock(&db->keeper_lock);
}

int keeper_start(braid_db *db, braid_error *err) {
    if (pthread_create(&db->keeper, NULL, keeper_main, db) != 0)
        return error_set(err, BRAID_E_NO_MEMORY, "engine", "the housekeeping thread could not be started");
    db->keeper_runs = true;
    if (warm_wanted(db)) await_warmth(db);
    return BRAID_OK;
}

void keeper_stop(braid_db *db) {
    if (!db->keeper_runs) return;
    pthread_mutex_lock(&db->keeper_lock);
    db->closing = true;
    pthread_cond_broadcast(&db->keeper_wake);
    pthread_mutex_unlock(&db->keeper_lock);
    pthread_join(db->keeper, NULL);
    db->keeper_runs = false;
}
