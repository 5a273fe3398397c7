/* The record store on SQLite: opening, closing, errors, and its row of functions.
 *
 * What it promises: an acknowledged change is on stable storage (WAL, synchronous=FULL); after any crash the file
 * opens to a state that some whole number of commits made; nothing else ever writes into it. One connection on one
 * thread writes and checkpoints, a bounded pool of read-only connections reads. See record_sqlite.h for the picture
 * and record_sqlite_write.c for the group commit.
 *
 * Opening, in this order: lock, look at the header (refuse before anything is written), open, let SQLite recover,
 * look again, create or upgrade, check if the last stop was unclean, move the whole WAL into the file (pages that a
 * failed fsync may have left only in the page cache are written again), take the clean mark away, start the writer. */
#include "record/record_sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int record_sqlite_code(sqlite3 *db, int rc) {
    if (rc == SQLITE_IOERR_NOMEM) return BRAID_E_NO_MEMORY;
    switch (rc & 0xff) {
    case SQLITE_NOMEM: return BRAID_E_NO_MEMORY;
    case SQLITE_FULL: return BRAID_E_DISK_FULL;
    case SQLITE_IOERR: {
        int cause = db != NULL ? sqlite3_system_errno(db) : 0;
        return cause == ENOSPC || cause == EDQUOT ? BRAID_E_DISK_FULL : BRAID_E_IO;
    }
    case SQLITE_CORRUPT: return BRAID_E_CORRUPT;
    case SQLITE_NOTADB: return BRAID_E_NOT_A_DATABASE;
    case SQLITE_READONLY: return BRAID_E_READ_ONLY;
    case SQLITE_PERM: return BRAID_E_READ_ONLY;
    case SQLITE_CANTOPEN: return BRAID_E_IO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return BRAID_E_BUSY;
    case SQLITE_TOOBIG: return BRAID_E_TOO_LARGE;
    default: return BRAID_E_INTERNAL;
    }
}

static const char *record_sqlite_mend(int code) {
    switch (code) {
    case BRAID_E_DISK_FULL: return ": free some space and try again";
    case BRAID_E_CORRUPT: return ": run braid verify, or restore the file from a copy";
    case BRAID_E_READ_ONLY: return ": make the file and its folder writable for this user";
    case BRAID_E_BUSY: return ": another program holds the file; close it";
    default: return "";
    }
}

int record_sqlite_fail(sqlite3 *db, int rc, const char *doing, braid_error *err) {
    int code = record_sqlite_code(db, rc);
    const char *said =
        db != NULL && (sqlite3_errcode(db) & 0xff) == (rc & 0xff) ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    return error_set(err, code, RECORD_SQLITE, "%s failed: %s (SQLite %d)%s", doing, said, rc,
                     record_sqlite_mend(code));
}

int64_t record_sqlite_now(const record_sqlite *s) {
    return clock_mono_ns(s->options.clock);
}

/* The real monotonic clock, whatever clock the caller handed in: a wait has to end in real time. */
bool record_sqlite_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec += (long)(ns % 1000000000);
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return pthread_cond_timedwait(cond, mutex, &until) != ETIMEDOUT;
}

int record_sqlite_conditions(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);
    if (rc != 0) return rc;
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    rc = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return rc;
}

static void record_sqlite_free(record_sqlite *s) {
    record_sqlite_readers_close(s);
    record_sqlite_conn_close(&s->writer);
    record_sqlite_names_close(s);
    record_sqlite_unlock(s);
    pthread_cond_destroy(&s->queue_cond);
    pthread_cond_destroy(&s->head_cond);
    pthread_cond_destroy(&s->readers_cond);
    pthread_mutex_destroy(&s->queue_mutex);
    pthread_mutex_destroy(&s->head_mutex);
    pthread_mutex_destroy(&s->readers_mutex);
    free(s->path);
    free((char *)s->options.vfs);
    free(s);
}

static void record_sqlite_measure(record_sqlite *s) {
    metrics *m = s->options.metrics;
    if (m == NULL) return;
    s->commits = metrics_counter(m, "record_commits_total", "", "Commits of the record store.");
    s->changes = metrics_counter(m, "record_changes_total", "", "Changes written to the record store.");
    s->refused = metrics_counter(m, "record_refused_total", "", "Changes that the record store refused.");
    s->checkpoints = metrics_counter(m, "record_checkpoints_total", "", "Checkpoints of the write-ahead log.");
    s->queue_gauge = metrics_gauge(m, "record_queue_changes", "", "Changes waiting to be written.");
    s->wal_gauge = metrics_gauge(m, "record_wal_bytes", "", "Bytes in the write-ahead log.");
    s->commit_time = metrics_histogram(m, "record_commit_duration_seconds", "", "Time of one group commit.");
    s->checkpoint_time = metrics_histogram(m, "record_checkpoint_duration_seconds", "", "Time of one checkpoint.");
}

static record_sqlite *record_sqlite_new(const record_options *options, const char *synchronous) {
    record_sqlite *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->options = *options;
    s->lock_fd = -1;
    s->synchronous = synchronous;
    s->path = strdup(options->path);
    s->options.path = s->path;
    s->options.vfs = options->vfs != NULL ? strdup(options->vfs) : NULL;
    s->options.clock = options->clock != NULL ? options->clock : &clock_system;
    s->options.readers = options->readers == 0 ? 1 : options->readers;
    s->options.group_max = options->group_max == 0 ? 1000 : options->group_max;
    s->options.queue_max = options->queue_max == 0 ? 100000 : options->queue_max;
    s->options.wal_bytes_checkpoint = options->wal_bytes_checkpoint == 0 ? 16 << 20 : options->wal_bytes_checkpoint;
    pthread_mutex_init(&s->queue_mutex, NULL); /* cannot fail with default attributes on Linux */
    pthread_mutex_init(&s->head_mutex, NULL);
    pthread_mutex_init(&s->readers_mutex, NULL);
    record_sqlite_conditions(&s->queue_cond);
    record_sqlite_conditions(&s->head_cond);
    record_sqlite_conditions(&s->readers_cond);
    if (s->path == NULL || (options->vfs != NULL && s->options.vfs == NULL) ||
        record_sqlite_names_open(s) != BRAID_OK) {
        record_sqlite_free(s);
        return NULL;
    }
    record_sqlite_measure(s);
    return s;
}

/* After an unclean stop: are the pages sound? Whatever it finds, nothing is changed. */
static int record_sqlite_check_unclean(record_sqlite *s, braid_error *err) {
    int64_t clean = 0;
    int rc = record_sqlite_number(&s->writer, SQL_META_GET, "clean", 0, &clean);
    if (rc != SQLITE_OK) return record_sqlite_fail(s->writer.db, rc, "reading the clean mark", err);
    if (clean == 1) return BRAID_OK;
    if (s->options.log != NULL)
        log_write(s->options.log, LOG_INFO, "record", "%s was not closed cleanly; checking it", s->path);
    sqlite3_stmt *st = record_sqlite_stmt(&s->writer, SQL_QUICK_CHECK);
    rc = st == NULL ? sqlite3_extended_errcode(s->writer.db) : sqlite3_step(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return record_sqlite_fail(s->writer.db, rc, "checking the database", err);
    int code = BRAID_OK, why = rc == SQLITE_ROW ? record_sqlite_finding(record_sqlite_text(st, 0)) : SQLITE_OK;
    if (why != SQLITE_OK)
        code = record_sqlite_fail(s->writer.db, why, "checking the database", err);
    else if (rc == SQLITE_ROW && strcmp(record_sqlite_text(st, 0), "ok") != 0)
        code = error_set(err, BRAID_E_CORRUPT, RECORD_SQLITE, "'%s' is damaged (%s): restore it from a copy", s->path,
                         record_sqlite_text(st, 0));
    sqlite3_reset(st);
    return code;
}

static int record_sqlite_clean_mark(record_sqlite *s, int value, braid_error *err) {
    int rc = record_sqlite_meta_put(&s->writer, "clean", value);
    return rc == SQLITE_OK ? BRAID_OK : record_sqlite_fail(s->writer.db, rc, "marking the database", err);
}

static int record_sqlite_wal_mode(record_sqlite *s, braid_error *err) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->writer.db, "PRAGMA journal_mode=WAL", -1, &st, NULL);
    bool wal = false;
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(st);
        wal = rc == SQLITE_ROW && sqlite3_stricmp(record_sqlite_text(st, 0), "wal") == 0;
        rc = rc == SQLITE_ROW ? SQLITE_OK : rc;
    }
    int end = sqlite3_finalize(st);
    if (rc != SQLITE_OK || end != SQLITE_OK)
        return record_sqlite_fail(s->writer.db, rc != SQLITE_OK ? rc : end, "switching to a write-ahead log", err);
    return wal ? BRAID_OK
               : error_set(err, BRAID_E_IO, RECORD_SQLITE, "the file system of '%s' does not allow a write-ahead log",
                           s->path);
}

static int record_sqlite_open_writer(record_sqlite *s, braid_error *err) {
    bool empty = false;
    int code = record_sqlite_conn_open(s, &s->writer, true, err);
    if (code == BRAID_OK) code = record_sqlite_schema_check(s, &s->writer, &empty, err);
    if (code == BRAID_OK && empty && (s->options.dim == 0 || s->options.dim > MODEL_DIM_MAX))
        code = error_set(err, BRAID_E_INVALID, RECORD_SQLITE, "a new database wants a vector dimension of 1..%d",
                         MODEL_DIM_MAX);
    if (code == BRAID_OK && empty) code = record_sqlite_schema_create(s, err);
    if (code == BRAID_OK) code = record_sqlite_schema_load(s, &s->writer, err);
    if (code == BRAID_OK) code = record_sqlite_check_unclean(s, err);
    if (code == BRAID_OK) code = record_sqlite_wal_mode(s, err);
    if (code == BRAID_OK) code = record_sqlite_checkpoint_now(s, true, err);
    if (code == BRAID_OK) code = record_sqlite_schema_upgrade(s, err);
    if (code == BRAID_OK) code = record_sqlite_clean_mark(s, 0, err);
    int rc = code == BRAID_OK ? record_sqlite_timeline_open(s) : SQLITE_OK;
    if (rc != SQLITE_OK) code = record_sqlite_fail(s->writer.db, rc, "counting interactions", err);
    if (code == BRAID_OK) code = record_sqlite_writer_start(s, err);
    return code;
}

static int record_sqlite_open_reader(record_sqlite *s, braid_error *err) {
    bool empty = false;
    record_sqlite_conn probe; /* its own, as the pool's are made with the dimension that is read here */
    int code = record_sqlite_conn_open(s, &probe, false, err);
    if (code != BRAID_OK) return code;
    code = record_sqlite_schema_check(s, &probe, &empty, err);
    if (code == BRAID_OK && empty)
        code = error_set(err, BRAID_E_NOT_A_DATABASE, RECORD_SQLITE, "'%s' is empty", s->path);
    if (code == BRAID_OK) code = record_sqlite_schema_load(s, &probe, err);
    record_sqlite_conn_close(&probe);
    return code;
}

int record_sqlite_open_with(const record_options *options, const char *synchronous, void **self, braid_error *err) {
    bool fresh = false;
    *self = NULL;
    record_sqlite *s = record_sqlite_new(options, synchronous);
    if (s == NULL) return error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory to open '%s'", options->path);
    int rc = sqlite3_initialize();
    int code = rc == SQLITE_OK ? BRAID_OK : record_sqlite_fail(NULL, rc, "starting SQLite", err);
    if (code == BRAID_OK) code = record_sqlite_lock(s, err);
    if (code == BRAID_OK) code = record_sqlite_peek(s, &fresh, err);
    if (code == BRAID_OK && fresh && (options->dim == 0 || options->dim > MODEL_DIM_MAX))
        code = error_set(err, BRAID_E_INVALID, RECORD_SQLITE,
                         "a new database wants a vector dimension of 1..%d, not %u", MODEL_DIM_MAX, options->dim);
    if (code == BRAID_OK)
        code = s->options.read_only ? record_sqlite_open_reader(s, err) : record_sqlite_open_writer(s, err);
    if (code != BRAID_OK) {
        record_sqlite_free(s);
        return code;
    }
    *self = s;
    return BRAID_OK;
}

static int record_sqlite_open(const record_options *options, void **self, braid_error *err) {
    return record_sqlite_open_with(options, "FULL", self, err);
}

static void record_sqlite_close(void *self) {
    record_sqlite *s = self;
    if (s == NULL) return;
    record_sqlite_writer_stop(s);
    record_sqlite_readers_close(s);
    if (s->writer.db != NULL && s->failed == BRAID_OK) {
        braid_error err = {0};
        int code = record_sqlite_clean_mark(s, 1, &err);
        if (code == BRAID_OK) code = record_sqlite_checkpoint_now(s, true, &err);
        if (code == BRAID_OK) /* nothing is left in the WAL: SQLite may delete it */
            sqlite3_db_config(s->writer.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        else if (s->options.log != NULL)
            log_write(s->options.log, LOG_WARN, "record", "closing %s: %s", s->path, err.message);
    }
    record_sqlite_free(s);
}

const record_ops record_ops_sqlite = {
    .version = 1,
    .name = "sqlite",
    .caps = RECORD_CAP_SINGLE_PROCESS,
    .open = record_sqlite_open,
    .close = record_sqlite_close,
    .write = record_sqlite_write,
    .get_item = record_sqlite_get_item,
    .get_item_num = record_sqlite_get_item_num,
    .get_items = record_sqlite_get_items,
    .scan_items = record_sqlite_scan_items,
    .list_items = record_sqlite_list_items,
    .item_vectors = record_sqlite_item_vectors,
    .scan_relations = record_sqlite_scan_relations,
    .item_relations = record_sqlite_item_relations,
    .get_relations = record_sqlite_get_relations,
    .list_relations = record_sqlite_list_relations,
    .get_user = record_sqlite_get_user,
    .list_users = record_sqlite_list_users,
    .user_interactions = record_sqlite_user_interactions,
    .scan_interactions = record_sqlite_scan_interactions,
    .user_policies = record_sqlite_user_policies,
    .get_policies = record_sqlite_get_policies,
    .user_episodes = record_sqlite_user_episodes,
    .scan_stats = record_sqlite_scan_stats,
    .scan_neighbours = record_sqlite_scan_neighbours,
    .item_neighbours = record_sqlite_item_neighbours,
    .similar_episodes = record_sqlite_similar_episodes,
    .get_document = record_sqlite_get_document,
    .list_documents = record_sqlite_list_documents,
    .get_slate = record_sqlite_get_slate,
    .scan_slates = record_sqlite_scan_slates,
    .forget = record_sqlite_forget,
    .roll_up = record_sqlite_roll_up,
    .scan_hours = record_sqlite_scan_hours,
    .log_read = record_sqlite_log_read,
    .log_wait = record_sqlite_log_wait,
    .log_wake = record_sqlite_log_wake,
    .log_trim = record_sqlite_log_trim,
    .head = record_sqlite_head,
    .lag = record_sqlite_lag,
    .lease = record_sqlite_lease,
    .cursor_get = record_sqlite_cursor_get,
    .info = record_sqlite_info,
    .integrity = record_sqlite_integrity,
    .checkpoint = record_sqlite_checkpoint,
};
