/* Group commit: many callers, one writer, one fsync.
 *
 * A caller checks its changes and writes their JSON on its own thread, queues a request that lives on its stack, and
 * sleeps on the request's semaphore. The writer takes everything that waits (up to group_max changes), applies it in
 * one transaction, commits once, and wakes the callers. A bare fdatasync is what a commit costs; with eight callers
 * it is paid once for eight.
 *
 * After a commit, its callers need a moment to come back with their next write. A writer that committed the first of
 * them at once would let the other seven wait: groups of 1, 7, 1, 7. So it applies requests as they arrive, inside
 * the open transaction, and commits when as many have come as there were callers at the last commit (taken + still
 * waiting), or after half a commit's time. Applying thus overlaps with arriving, and a lone caller is never waited
 * for twice.
 *
 * Waking a caller costs the writer as much as writing its row. So it wakes one, who wakes two more, and so on: a tree
 * over the group, whose work is the callers' own.
 *
 * Everybody waits for the writer, so its thread asks for the next turn on the processor (base/turn.h).
 *
 * Rejected, with figures (docs/adr/0009-one-sync-at-a-time.md): several groups in flight, each with a sync of its own,
 * and callers that lead their group without a writer thread.
 *
 * Background writes (learners) are taken when no foreground write waits, or after 25 ms, a slice at a time.
 *
 * Refusals (unknown item ...) are decided by look-ups before anything is written, so they need no undo. Should
 * SQLite refuse a statement all the same, the transaction is rolled back and the group is written again with a
 * savepoint around every change.
 *
 * A commit, fsync or checkpoint that failed is final: Linux may have marked the pages clean, and a second fsync
 * would "succeed". The callers get the error, and the store refuses writes until it is opened again, which moves the
 * WAL into the file anew. A full disk before the fsync is an ordinary error. The page cache of readers, and reading,
 * are not affected. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "record/record_sqlite.h"

enum {
    GROUP_WAIT_NS_MAX = 1000000,  /* for callers to come back */
    WIPE_RETRY_NS = 200000000,    /* between attempts to empty the WAL after a person was deleted */
    QUIET_NS = 20000000,          /* without a write: time to fill the timeline */
    WAL_FIRST_BYTES = 256 * 1024, /* the WAL's first length */
    WAL_AHEAD_BYTES = 64 * 1024,  /* it grows when less than this is left */
    CHECKPOINT_WAIT_MS = 500      /* for readers, in a checkpoint that somebody asked for */
};

/* ---- the queue ---- */

static void queue_push(record_sqlite_queue *q, record_sqlite_request *r) {
    r->next = NULL;
    if (q->last != NULL)
        q->last->next = r;
    else
        q->first = r;
    q->last = r;
    q->requests++;
    q->changes += r->n;
}

static record_sqlite_request *queue_pop(record_sqlite_queue *q) {
    record_sqlite_request *r = q->first;
    q->first = r->next;
    if (q->first == NULL) q->last = NULL;
    q->requests--;
    q->changes -= r->n;
    r->next = NULL;
    return r;
}

static void record_sqlite_set_failed(record_sqlite *s, int code, const braid_error *err) {
    pthread_mutex_lock(&s->queue_mutex);
    if (s->failed == BRAID_OK) {
        s->failed = code;
        s->failure = *err;
    }
    pthread_mutex_unlock(&s->queue_mutex);
    if (s->options.log != NULL)
        log_write(s->options.log, LOG_ERROR, "record", "writing is off until %s is opened again: %s", s->path,
                  err->message);
}

static int record_sqlite_closed_for_writing(record_sqlite *s, braid_error *err) {
    if (s->failed == BRAID_OK) return error_set(err, BRAID_E_CLOSED, RECORD_SQLITE, "the database is closing");
    return error_set(err, BRAID_E_UNAVAILABLE, RECORD_SQLITE,
                     "a write failed for good (%s): reading goes on; close the database, see to the disk, and open it"
                     " again",
                     s->failure.message);
}

int record_sqlite_submit(record_sqlite *s, record_sqlite_request *r, bool background, braid_error *err) {
    int code = BRAID_OK;
    if (s->options.read_only)
        return error_set(err, BRAID_E_READ_ONLY, RECORD_SQLITE, "'%s' was opened for reading only", s->path);
    if (sem_init(&r->done, 0, 0) != 0)
        return error_set(err, BRAID_E_INTERNAL, RECORD_SQLITE, "sem_init: %s", strerror(errno));
    r->queued_ns = record_sqlite_now(s);
    pthread_mutex_lock(&s->queue_mutex);
    size_t waiting = s->foreground.changes + s->background.changes;
    if (s->closing || s->failed != BRAID_OK)
        code = record_sqlite_closed_for_writing(s, err);
    else if (waiting > 0 && waiting + r->n > s->options.queue_max)
        code = error_set(err, BRAID_E_BUSY, RECORD_SQLITE, "%zu changes are waiting to be written; try again later",
                         waiting);
    else {
        queue_push(background ? &s->background : &s->foreground, r);
        if (s->foreground.requests + s->background.requests >= s->wanted) pthread_cond_signal(&s->queue_cond);
    }
    pthread_mutex_unlock(&s->queue_mutex);
    if (code == BRAID_OK) {
        while (sem_wait(&r->done) != 0) { /* EINTR */
        }
        for (int i = 0; i < 2; i++) /* they sleep until this, so what they lent is still there */
            if (r->wake[i] != NULL) sem_post(&r->wake[i]->done);
        code = r->code;
        if (code != BRAID_OK) error_set(err, code, r->err.store, "%s", r->err.message);
    }
    sem_destroy(&r->done);
    return code;
}

/* ---- a caller ---- */

static int record_sqlite_prepare_all(record_sqlite *s, record_sqlite_request *r, braid_error *err) {
    bool bodies = false;
    for (size_t i = 0; i < r->n; i++)
        bodies |= !r->changes[i].remove && (r->changes[i].kind == RECORD_ITEM || r->changes[i].kind == RECORD_USER ||
                                            r->changes[i].kind == RECORD_POLICY);
    if (bodies && (r->bodies = calloc(r->n, sizeof *r->bodies)) == NULL)
        return error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory for %zu changes", r->n);
    int code = BRAID_OK;
    for (size_t i = 0; code == BRAID_OK && i < r->n; i++) {
        record_change *c = &r->changes[i];
        c->code = BRAID_OK;
        c->message[0] = '\0';
        c->lsn = 0;
        c->num = 0;
        c->duplicate = false;
        code = record_sqlite_prepare(s, c, r->bodies != NULL ? &r->bodies[i] : NULL, err);
    }
    return code;
}

int record_sqlite_write(void *self, record_change *changes, size_t n, record_write_flags flags, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_request r = {.changes = changes, .n = n};
    braid_error mine = {0};
    int code = record_sqlite_prepare_all(s, &r, &mine);
    if (code == BRAID_OK) code = record_sqlite_submit(s, &r, flags.background, &mine);
    for (size_t i = 0; code != BRAID_OK && i < n; i++) {
        changes[i].code = code;
        changes[i].lsn = 0;
        changes[i].duplicate = false;
        sqlite3_snprintf((int)sizeof changes[i].message, changes[i].message, "%s", error_sentence(code));
    }
    if (code != BRAID_OK) error_set(err, code, mine.store, "%s", mine.message);
    for (size_t i = 0; r.bodies != NULL && i < n; i++) free(r.bodies[i].text);
    free(r.bodies);
    return code;
}

static int record_sqlite_checkpoint_asked(record_sqlite *s, record_sqlite_request *r, braid_error *err) {
    (void)r;
    sqlite3_busy_timeout(s->writer.db, CHECKPOINT_WAIT_MS);
    int code = record_sqlite_checkpoint_now(s, true, err);
    sqlite3_busy_timeout(s->writer.db, RECORD_SQLITE_BUSY_MS);
    return code;
}

int record_sqlite_checkpoint(void *self, braid_error *err) {
    record_sqlite_request r = {.admin = record_sqlite_checkpoint_asked};
    return record_sqlite_submit(self, &r, false, err);
}

/* ---- groups ---- */

/* What one commit will hold. */
typedef struct record_sqlite_group {
    record_sqlite_request *first, **tail;
    size_t changes, foreground; /* foreground requests */
    int64_t until;              /* waits for callers to come back until then, on the store's clock */
} record_sqlite_group;

static record_sqlite_request *group_take(record_sqlite_group *g, record_sqlite_queue *q) {
    record_sqlite_request *r = queue_pop(q);
    *g->tail = r;
    g->tail = &r->next;
    g->changes += r->n;
    return r;
}

/* Foreground requests while they fit; an admin request only as a group of its own. The queue's mutex is held, here
 * and below. */
static void record_sqlite_take_foreground(record_sqlite *s, record_sqlite_group *g) {
    while (s->foreground.first != NULL) {
        const record_sqlite_request *next = s->foreground.first;
        if (g->first != NULL && (next->admin != NULL || g->changes + next->n > s->options.group_max)) return;
        g->foreground++;
        if (group_take(g, &s->foreground)->admin != NULL) return;
    }
}

/* A slice of what learners wrote, or one admin request; behind foreground requests only one that has waited too
 * long. */
static void record_sqlite_take_background(record_sqlite *s, record_sqlite_group *g) {
    bool behind = g->foreground > 0 || s->foreground.first != NULL;
    int64_t late = behind ? record_sqlite_now(s) - RECORD_SQLITE_BACKGROUND_WAIT_MS * INT64_C(1000000) : INT64_MAX;
    size_t slice = 0;
    while (s->background.first != NULL && s->background.first->queued_ns <= late) {
        const record_sqlite_request *next = s->background.first;
        bool full = slice > 0 && (behind || slice + next->n > RECORD_SQLITE_BACKGROUND_SLICE);
        if (full || (next->admin != NULL && g->first != NULL)) return;
        slice += next->n;
        if (group_take(g, &s->background)->admin != NULL) return;
    }
}

static void record_sqlite_take(record_sqlite *s, record_sqlite_group *g) {
    int64_t patience = s->commit_ns / 2 < GROUP_WAIT_NS_MAX ? s->commit_ns / 2 : GROUP_WAIT_NS_MAX;
    *g = (record_sqlite_group){.tail = &g->first, .until = record_sqlite_now(s) + patience};
    if (s->background.first != NULL && s->background.first->admin != NULL) record_sqlite_take_background(s, g);
    if (g->first != NULL) return;
    record_sqlite_take_foreground(s, g);
    if (g->first == NULL || g->first->admin == NULL) record_sqlite_take_background(s, g);
    s->wanted = SIZE_MAX; /* nobody need wake a writer at work */
}

/* ---- the writer ---- */

/* Errors after which the file's state on disk is not known. */
static bool record_sqlite_is_final(int code, int rc) {
    if ((rc & 0xff) == SQLITE_IOERR && rc != SQLITE_IOERR_NOMEM) return true;
    return code == BRAID_E_CORRUPT || code == BRAID_E_NOT_A_DATABASE;
}

int record_sqlite_checkpoint_now(record_sqlite *s, bool truncate, braid_error *err) {
    int64_t start = record_sqlite_now(s);
    int frames = 0, done = 0;
    int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    int rc = sqlite3_wal_checkpoint_v2(s->writer.db, "main", mode, &frames, &done);
    int limit = (int)(s->options.wal_bytes_checkpoint / (s->page_bytes != 0 ? s->page_bytes : 4096));
    s->wal_frames_next = limit;
    metric_add(s->checkpoints, 1);
    metric_observe_us(s->checkpoint_time, (double)(record_sqlite_now(s) - start) / 1e3);
    if (rc == SQLITE_OK && frames <= done)
        s->wipe = s->wipe && !truncate;
    else if (rc == SQLITE_OK)
        s->wal_frames_next = s->wal_frames + limit / 4; /* a reader holds it back: not again at once */
    if (truncate && rc == SQLITE_OK) s->wal_frames = 0, s->wal_bytes = 0;
    if (rc == SQLITE_OK) return BRAID_OK;
    if (rc == SQLITE_BUSY)
        return error_set(err, BRAID_E_BUSY, RECORD_SQLITE, "a reader holds the write-ahead log; try again");
    braid_error mine = {0};
    int code = record_sqlite_fail(s->writer.db, rc, "the checkpoint", &mine);
    if (record_sqlite_is_final(code, rc)) record_sqlite_set_failed(s, code, &mine);
    return error_set(err, code, RECORD_SQLITE, "%s", mine.message);
}

/* Makes the WAL longer ahead of need, with zeros, doubling up to the size at which it is checkpointed. A commit that
 * writes into blocks which the file has already costs an fdatasync of data alone; one that appends also waits for
 * the file system's journal, ten times as long. Zeros are no valid frame, so recovery stops before them. A failure
 * is of no consequence: SQLite then appends as it would have done. */
static void record_sqlite_wal_grow(record_sqlite *s) {
    static const char zeros[64 * 1024];
    sqlite3_file *file = NULL;
    sqlite3_int64 size = 0, used = (sqlite3_int64)s->wal_frames * (s->page_bytes + 24) + 32;
    if (s->wal_bytes - used > WAL_AHEAD_BYTES || s->wal_bytes >= (sqlite3_int64)s->options.wal_bytes_checkpoint) return;
    if (sqlite3_file_control(s->writer.db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file) != SQLITE_OK || file == NULL ||
        file->pMethods == NULL || file->pMethods->xFileSize(file, &size) != SQLITE_OK)
        return;
    sqlite3_int64 from = size > used ? size : used, to = from < WAL_FIRST_BYTES / 2 ? WAL_FIRST_BYTES : from * 2;
    while (from < to && file->pMethods->xWrite(file, zeros, (int)sizeof zeros, from) == SQLITE_OK)
        from += (sqlite3_int64)sizeof zeros;
    s->wal_bytes = from < to ? INT64_MAX / 2 : from; /* after a failure not again */
}

static int record_sqlite_wal_hook(void *ctx, sqlite3 *db, const char *name, int frames) {
    record_sqlite *s = ctx;
    (void)db;
    (void)name;
    s->wal_frames = frames;
    return SQLITE_OK;
}

static int record_sqlite_apply_careful(record_sqlite *s, record_change *change, const record_sqlite_body *body) {
    uint64_t lsn = s->next_lsn, num = s->num_max, person = s->person_max, added = s->timeline_new;
    int rc = record_sqlite_exec(&s->writer, SQL_SAVEPOINT);
    if (rc != SQLITE_OK) return rc;
    rc = record_sqlite_apply(s, change, body);
    int why = rc & 0xff;
    if (rc == SQLITE_OK) return record_sqlite_exec(&s->writer, SQL_RELEASE);
    if (why != SQLITE_CONSTRAINT && why != SQLITE_MISMATCH && why != SQLITE_TOOBIG && why != SQLITE_ERROR) return rc;
    change->code = why == SQLITE_TOOBIG ? BRAID_E_TOO_LARGE : BRAID_E_CONFLICT;
    change->lsn = 0;
    sqlite3_snprintf((int)sizeof change->message, change->message, "the record store refused it: %s",
                     sqlite3_errmsg(s->writer.db));
    s->next_lsn = lsn;
    s->num_max = num;
    s->person_max = person;
    s->timeline_new = added;
    s->policy_person = -1;
    record_sqlite_names_forget(s);
    rc = record_sqlite_exec(&s->writer, SQL_UNDO);
    return rc == SQLITE_OK ? record_sqlite_exec(&s->writer, SQL_RELEASE) : rc;
}

static int record_sqlite_apply_all(record_sqlite *s, record_sqlite_request *group, bool careful) {
    for (record_sqlite_request *r = group; r != NULL; r = r->next)
        for (size_t i = 0; i < r->n; i++) {
            record_change *c = &r->changes[i];
            const record_sqlite_body *body = r->bodies != NULL ? &r->bodies[i] : NULL;
            if (c->code != BRAID_OK) continue;
            int rc = careful ? record_sqlite_apply_careful(s, c, body) : record_sqlite_apply(s, c, body);
            if (rc != SQLITE_OK) return rc;
        }
    return SQLITE_OK;
}

/* What the changes of a group were told is untrue once it is rolled back; what was refused without the database
 * stays refused. */
static void record_sqlite_untell(record_sqlite_request *group) {
    for (record_sqlite_request *r = group; r != NULL; r = r->next)
        for (size_t i = 0; i < r->n; i++) {
            record_change *c = &r->changes[i];
            c->lsn = 0;
            c->num = 0;
            c->duplicate = false;
        }
}

/* Takes the foreground requests that have come meanwhile into the open transaction. Waits for those of callers that
 * were there at the last commit, until the group's patience ends; NULL when it is time to commit. */
static record_sqlite_request *record_sqlite_gather(record_sqlite *s, record_sqlite_group *g) {
    record_sqlite_request **tail = g->tail;
    pthread_mutex_lock(&s->queue_mutex);
    s->wanted = 1;
    while (g->foreground < s->expected && s->foreground.requests == 0 && !s->closing) {
        int64_t left = g->until - record_sqlite_now(s);
        if (left <= 0 || !record_sqlite_wait(&s->queue_cond, &s->queue_mutex, left)) break;
    }
    record_sqlite_take_foreground(s, g);
    s->wanted = SIZE_MAX;
    pthread_mutex_unlock(&s->queue_mutex);
    return *tail;
}

static int record_sqlite_transact(record_sqlite *s, record_sqlite_group *g, bool careful, const char **doing) {
    s->next_lsn = atomic_load_explicit(&s->head, memory_order_relaxed) + 1;
    s->num_max = s->committed_num_max;
    s->person_max = s->committed_person_max;
    s->policy_person = -1;
    s->timeline_new = 0;
    *doing = "beginning a transaction";
    int rc = record_sqlite_exec(&s->writer, SQL_BEGIN);
    if (rc == SQLITE_OK) {
        *doing = "writing";
        rc = record_sqlite_apply_all(s, g->first, careful);
    }
    for (record_sqlite_request *more; rc == SQLITE_OK && (more = record_sqlite_gather(s, g)) != NULL;)
        rc = record_sqlite_apply_all(s, more, careful);
    if (rc == SQLITE_OK) {
        *doing = "committing";
        rc = record_sqlite_exec(&s->writer, SQL_COMMIT);
    }
    return rc;
}

void record_sqlite_undo(record_sqlite *s, int code, int rc, const braid_error *why) {
    record_sqlite_names_forget(s);
    if (!sqlite3_get_autocommit(s->writer.db)) record_sqlite_exec(&s->writer, SQL_ROLLBACK);
    if (code != BRAID_OK && (record_sqlite_is_final(code, rc) || !sqlite3_get_autocommit(s->writer.db)))
        record_sqlite_set_failed(s, code, why);
}

static void record_sqlite_commit_group(record_sqlite *s, record_sqlite_group *g) {
    const char *doing = NULL;
    braid_error err = {0};
    int64_t start = record_sqlite_now(s);
    int code = BRAID_OK, rc = record_sqlite_transact(s, g, false, &doing), why = rc & 0xff;
    if (why == SQLITE_CONSTRAINT || why == SQLITE_MISMATCH || why == SQLITE_TOOBIG || why == SQLITE_ERROR) {
        record_sqlite_undo(s, BRAID_OK, rc, NULL);
        record_sqlite_untell(g->first);
        rc = record_sqlite_transact(s, g, true, &doing);
    }
    if (rc != SQLITE_OK) {
        code = record_sqlite_fail(s->writer.db, rc, doing, &err);
        record_sqlite_undo(s, code, rc, &err);
        record_sqlite_untell(g->first);
    } else {
        s->committed_num_max = s->num_max;
        s->committed_person_max = s->person_max;
        s->timeline_left += s->timeline_new;
        record_sqlite_head_publish(s, s->next_lsn - 1);
        int64_t took = record_sqlite_now(s) - start;
        s->commit_ns += (took - s->commit_ns) / 8;
        metric_add(s->commits, 1);
        metric_observe_us(s->commit_time, (double)took / 1e3);
    }
    for (record_sqlite_request *r = g->first; r != NULL; r = r->next) {
        r->code = code;
        r->err = err;
    }
}

/* Waits until there is something to do: a group to write, or only the house to keep. False when the store closes and
 * nothing is left. The mutex is held. */
static bool record_sqlite_await(record_sqlite *s) {
    s->wanted = 1;
    if (s->expected > 0 && s->foreground.requests == 0 && s->background.requests > 0 && !s->closing)
        /* callers are about to come back: background gives way */
        record_sqlite_wait(&s->queue_cond, &s->queue_mutex, GROUP_WAIT_NS_MAX);
    while (s->foreground.requests == 0 && s->background.requests == 0 && !s->closing) {
        bool timeline = s->failed == BRAID_OK && record_sqlite_timeline_due(s, true);
        if (!timeline && !s->wipe)
            pthread_cond_wait(&s->queue_cond, &s->queue_mutex);
        else if (!record_sqlite_wait(&s->queue_cond, &s->queue_mutex, timeline ? QUIET_NS : WIPE_RETRY_NS))
            return true;
    }
    return s->foreground.requests > 0 || s->background.requests > 0;
}

/* What deleting a person left in the WAL is overwritten as soon as no reader needs it. */
static void record_sqlite_wipe(record_sqlite *s) {
    int64_t now = record_sqlite_now(s);
    if (now - s->wipe_tried_ns < WIPE_RETRY_NS) return;
    s->wipe_tried_ns = now;
    sqlite3_busy_timeout(s->writer.db, 0);
    record_sqlite_checkpoint_now(s, true, NULL);
    sqlite3_busy_timeout(s->writer.db, RECORD_SQLITE_BUSY_MS);
}

static void record_sqlite_keep_house(record_sqlite *s, bool quiet) {
    if (s->failed != BRAID_OK) return;
    metric_set(s->wal_gauge, (double)s->wal_frames * (s->page_bytes + 24));
    record_sqlite_timeline_keep(s, quiet);
    if (s->wal_frames > s->wal_frames_next) record_sqlite_checkpoint_now(s, false, NULL);
    record_sqlite_wal_grow(s);
    if (s->wipe) record_sqlite_wipe(s);
}

static void record_sqlite_serve(record_sqlite *s, record_sqlite_group *g) {
    if (s->failed != BRAID_OK) {
        braid_error err = {0};
        int code = record_sqlite_closed_for_writing(s, &err);
        for (record_sqlite_request *r = g->first; r != NULL; r = r->next) {
            r->code = code;
            r->err = err;
        }
    } else if (g->first->admin != NULL) {
        g->first->code = g->first->admin(s, g->first, &g->first->err);
    } else {
        record_sqlite_commit_group(s, g);
    }
}

static void record_sqlite_wake_callers(record_sqlite *s, record_sqlite_request *group) {
    uint64_t changes = 0, refused = 0;
    for (record_sqlite_request *r = group; r != NULL; r = r->next) {
        for (size_t i = 0; r->code == BRAID_OK && i < r->n; i++) r->changes[i].code == BRAID_OK ? changes++ : refused++;
        r->wake[0] = r->wake[1] = NULL;
    }
    record_sqlite_request *parent = group, *child = group != NULL ? group->next : NULL;
    for (int i = 0; child != NULL; child = child->next, i ^= 1) {
        parent->wake[i] = child;
        if (i == 1) parent = parent->next;
    }
    if (group != NULL) sem_post(&group->done); /* from here on the requests are their callers' again */
    metric_add(s->changes, changes);
    metric_add(s->refused, refused);
}

static void *record_sqlite_writer_main(void *arg) {
    record_sqlite *s = arg;
    prctl(PR_SET_NAME, "braid-record");
    turn_first();
    prctl(PR_SET_TIMERSLACK, 1000UL); /* the wait for callers is shorter than the usual 50 us of slack */
    pthread_mutex_lock(&s->queue_mutex);
    while (record_sqlite_await(s)) {
        record_sqlite_group g;
        record_sqlite_take(s, &g);
        pthread_mutex_unlock(&s->queue_mutex);
        if (g.first != NULL) record_sqlite_serve(s, &g);
        pthread_mutex_lock(&s->queue_mutex);
        s->expected = g.foreground + s->foreground.requests;
        size_t waiting = s->foreground.changes + s->background.changes;
        pthread_mutex_unlock(&s->queue_mutex);
        metric_set(s->queue_gauge, (double)waiting);
        record_sqlite_wake_callers(s, g.first);
        record_sqlite_keep_house(s, g.first == NULL);
        pthread_mutex_lock(&s->queue_mutex);
    }
    pthread_mutex_unlock(&s->queue_mutex);
    return NULL;
}

int record_sqlite_writer_start(record_sqlite *s, braid_error *err) {
    s->wanted = 1;
    s->commit_ns = 200000;
    sqlite3_wal_hook(s->writer.db, record_sqlite_wal_hook, s);
    /* Prepared while there is memory: a transaction that cannot be rolled back ends writing. */
    if (record_sqlite_stmt(&s->writer, SQL_ROLLBACK) == NULL)
        return record_sqlite_fail(s->writer.db, sqlite3_extended_errcode(s->writer.db), "preparing to write", err);
    int rc = pthread_create(&s->thread, NULL, record_sqlite_writer_main, s);
    if (rc != 0)
        return error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "cannot start the writer thread: %s", strerror(rc));
    s->thread_started = true;
    return BRAID_OK;
}

void record_sqlite_writer_stop(record_sqlite *s) {
    if (!s->thread_started) return;
    pthread_mutex_lock(&s->queue_mutex);
    s->closing = true;
    pthread_cond_signal(&s->queue_cond);
    pthread_mutex_unlock(&s->queue_mutex);
    pthread_join(s->thread, NULL);
    s->thread_started = false;
}
