/* feed: one thread that carries the change log into one derived store.
 *
 * It reads the rows after its cursor, gives them to `apply`, and moves on only when that succeeded, so delivery is at
 * least once and in LSN order. When apply or the log fails, the same place is tried again after 10, 20, 40 ms ... 1 s
 * (or up to a quarter less), no longer, since a breaker in front of the store may refuse the first tries after it is
 * back, and both waits add up; a success resets the pause. Batches are read anew each time, since rows of a deleted
 * person may have left the log meanwhile.
 *
 * No wake-up is lost: the thread looks at the head under the log's own lock before it sleeps (record_log_wait), and
 * feed_wait looks at `applied` under the feed's. Rows of kinds that the consumer does not want are not read at all: the
 * log says how far it has looked, and the cursor moves there.
 *
 * A store that outlives this process keeps its cursor in the record store: moved after apply has succeeded, never
 * before. Several processes may run a feed of that name; the one that holds the lease feeds, the others watch the
 * cursor, so that their feed_wait tells the truth about the store all the same.
 *
 * A batch is as large as the store takes in BATCH_MS: twice as many rows after a full one that took less than half of
 * that, fewer after one that took longer. Large batches are cheap a row, small ones let a waiter go on soon, and a cold
 * or busy store is not given more than it can answer in its time.
 *
 * Under a stream of small commits, a feed that ran for each of them would eat the processor that the writers need.
 * So when nobody waits in feed_wait, it lets pace_ms pass between two reads, also when a read found nothing that it
 * wants: three feeds of items would otherwise wake for every commit of interactions. One that waits ends the pause
 * at once. And as nobody waits for the processor time of a feed, its thread gives way to all others (base/turn.h),
 * the more so the `nicer` it was made. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "record/record.h"

enum {
    FEED_BATCH_DEFAULT = 1000,
    FEED_BATCH_LEAST = 250,
    FEED_BATCH_MS = 500,
    FEED_NAME_BYTES = 64,
    FEED_BACKOFF_FIRST_MS = 10,
    FEED_BACKOFF_MAX_MS = 1000,
    FEED_PACE_MS = 2,
    FEED_IDLE_MS = 1000, /* looks again although nothing woke it */
    FEED_WATCH_MS = 50,  /* between two looks at a cursor that another process moves */
    FEED_CURSOR_LAG = 1000,
    FEED_STOP_MS = 5 /* between two attempts to wake a feed that is to stop */
};

struct feed {
    record_store *store;
    feed_options options;
    char name[FEED_NAME_BYTES];
    arena *arena;
    pthread_t thread;
    _Atomic uint64_t applied;
    pthread_mutex_t mutex;  /* of what follows */
    pthread_cond_t changed; /* applied, stop or waiters changed */
    unsigned waiters;
    bool stop, done;
    rng random;      /* the thread's own */
    bool mine;       /* the thread's own: it held the lease at the last look */
    uint64_t stored; /* the thread's own: the cursor in the record store */
    size_t limit;    /* the thread's own: rows of the next batch */
    braid_error last;
    metric_counter *lag, *applied_total, *errors_total;
};

static void feed_until(struct timespec *t, int64_t ms) {
    clock_gettime(CLOCK_MONOTONIC, t);
    t->tv_sec += (time_t)(ms / 1000);
    t->tv_nsec += (long)(ms % 1000) * 1000000;
    if (t->tv_nsec >= 1000000000) {
        t->tv_sec++;
        t->tv_nsec -= 1000000000;
    }
}

static bool feed_stopping(feed *f) {
    pthread_mutex_lock(&f->mutex);
    bool stop = f->stop;
    pthread_mutex_unlock(&f->mutex);
    return stop;
}

/* Sleeps; a stop ends it, and a waiter too if `for_waiters`. */
static void feed_pause(feed *f, int64_t ms, bool for_waiters) {
    struct timespec until;
    feed_until(&until, ms);
    pthread_mutex_lock(&f->mutex);
    while (!f->stop && !(for_waiters && f->waiters > 0))
        if (pthread_cond_timedwait(&f->changed, &f->mutex, &until) == ETIMEDOUT) break;
    pthread_mutex_unlock(&f->mutex);
}

static void feed_report(feed *f, uint64_t upto, size_t rows, const braid_error *err) {
    pthread_mutex_lock(&f->mutex);
    bool was_failing = f->last.code != BRAID_OK;
    f->last = *err;
    atomic_store_explicit(&f->applied, upto, memory_order_release);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mutex);
    metric_add(f->applied_total, rows);
    metric_set(f->lag, (double)record_lag(f->store, upto));
    if (err->code != BRAID_OK) metric_add(f->errors_total, 1);
    if (f->options.log == NULL || was_failing == (err->code != BRAID_OK)) return;
    if (was_failing)
        log_write(f->options.log, LOG_INFO, "feed", "%s applies changes again", f->name);
    else
        log_write(f->options.log, LOG_WARN, "feed", "%s cannot apply changes after %llu and will try again: %s",
                  f->name, (unsigned long long)upto, err->message);
}

/* Moves the stored cursor, though not for rows that the store does not care for, unless it lags far behind: a
 * database at rest stays at rest. */
static int feed_cursor_keep(feed *f, uint64_t upto, bool applied, braid_error *err) {
    if (!applied && record_lag(f->store, f->stored) < FEED_CURSOR_LAG) return BRAID_OK;
    record_cursor cursor = {f->options.cursor, upto};
    record_change change = {.kind = RECORD_CURSOR, .cursor = &cursor};
    int code = record_write(f->store, &change, 1, (record_write_flags){.background = true}, err);
    if (code == BRAID_OK && change.code != BRAID_OK)
        code = error_set(err, change.code, f->name, "the cursor was refused: %s", change.message);
    if (code == BRAID_OK) f->stored = upto;
    return code;
}

/* The next pause after a failure: doubled, and a random part less, so that servers that lost the same store do not
 * all come back to it at once. */
static int64_t feed_back_off(feed *f, int64_t *most, int64_t first) {
    int64_t ms = *most < first ? first : *most;
    *most = ms * 2 < FEED_BACKOFF_MAX_MS ? ms * 2 : FEED_BACKOFF_MAX_MS;
    return ms - (int64_t)rng_below(&f->random, (uint64_t)ms / 4 + 1);
}

/* Whether this process is to feed; if it comes to, begins where the cursor says; if not, follows what the one that
 * does has stored. */
static bool feed_mine(feed *f, bool *failed) {
    bool held = false;
    uint64_t lsn = 0;
    braid_error err = {0};
    if (f->options.cursor == NULL) return true;
    *failed = true;
    if (record_lease(f->store, f->options.cursor, &held, &err) != BRAID_OK) return false;
    *failed = false;
    if (held && f->mine) return true;
    /* somebody else may have fed since: the stored cursor is where to go on from */
    *failed = record_cursor_get(f->store, f->options.cursor, &lsn, &err) != BRAID_OK;
    if (*failed) return false;
    if (held && f->options.begin != NULL) {
        int code = f->options.begin(f->options.ctx, lsn, &lsn, &err);
        *failed = code != BRAID_OK;
        if (*failed) { /* tried again; the lease is kept */
            if (err.code == BRAID_OK) error_set(&err, code, f->name, "%s", error_sentence(code));
            feed_report(f, atomic_load(&f->applied), 0, &err);
            return false;
        }
    }
    f->mine = held;
    f->stored = lsn;
    if (lsn != atomic_load(&f->applied)) feed_report(f, lsn, 0, &err);
    return held;
}

/* The rows after `applied` are gone from the log: what they said is in the records. */
static int feed_anew(feed *f, uint64_t applied, uint64_t *upto, braid_error *err) {
    braid_error lost = *err;
    if (f->options.log != NULL)
        log_write(f->options.log, LOG_WARN, "feed",
                  "%s: the change log does not reach back to %llu any more; the store is made anew", f->name,
                  (unsigned long long)applied);
    error_clear(err);
    int code = f->options.anew(f->options.ctx, upto, err);
    if (code != BRAID_OK && err->code == BRAID_OK) error_set(err, code, lost.store, "%s", lost.message);
    return code;
}

/* Rows of the next batch, after one of `n` that took this long. */
static void feed_adapt(feed *f, size_t n, int64_t ns) {
    int64_t wanted = FEED_BATCH_MS * INT64_C(1000000);
    if (n == f->limit && ns < wanted / 2) f->limit *= 2;
    if (ns > wanted) f->limit = (size_t)((double)n * (double)wanted / (double)ns);
    if (f->limit < FEED_BATCH_LEAST) f->limit = FEED_BATCH_LEAST;
    if (f->limit > f->options.batch_max) f->limit = f->options.batch_max;
}

/* One batch. Returns the number of rows, 0 if there was none; *full: there may be more at once; *failed says whether
 * it has to be tried again. */
static size_t feed_step(feed *f, bool *full, bool *failed) {
    braid_error err = {0};
    record_log_entry *rows = NULL;
    size_t n = 0;
    uint64_t applied = atomic_load(&f->applied), upto = applied;
    arena_reset(f->arena);
    int code = record_log_read(f->store, applied, f->options.kinds, f->limit, f->arena, &rows, &n, &upto, &err);
    if (code == BRAID_E_NOT_FOUND && f->options.anew != NULL) code = feed_anew(f, applied, &upto, &err);
    int64_t begun = clock_mono_ns(&clock_system);
    if (code == BRAID_OK && n > 0) code = f->options.apply(f->options.ctx, rows, n, upto, f->arena, &err);
    if (code == BRAID_OK && f->options.cursor != NULL && !f->options.own_cursor)
        code = feed_cursor_keep(f, upto, n > 0, &err);
    *failed = code != BRAID_OK;
    *full = n >= f->limit;
    if (n > 0) feed_adapt(f, n, clock_mono_ns(&clock_system) - begun);
    if (*failed && err.code == BRAID_OK) /* apply gave a code and no words */
        error_set(&err, code, f->name, "%s", error_sentence(code));
    if (*failed || upto != applied || n > 0) feed_report(f, *failed ? applied : upto, *failed ? 0 : n, &err);
    return n;
}

static void *feed_main(void *arg) {
    feed *f = arg;
    int64_t backoff = 0;
    prctl(PR_SET_NAME, "braid-feed");
    turn_give_way(f->options.nicer);
    while (!feed_stopping(f)) {
        bool failed = false, full = false;
        size_t n = 0;
        if (!feed_mine(f, &failed)) {
            if (!failed) backoff = 0;
            feed_pause(f, failed ? feed_back_off(f, &backoff, FEED_WATCH_MS) : FEED_WATCH_MS, false);
            continue;
        }
        uint64_t before = atomic_load(&f->applied);
        if (record_head(f->store) > before) n = feed_step(f, &full, &failed);
        if (failed) {
            feed_pause(f, feed_back_off(f, &backoff, FEED_BACKOFF_FIRST_MS), false);
            continue;
        }
        backoff = 0;
        if (full || feed_stopping(f)) continue;
        if (n > 0 || atomic_load(&f->applied) > before) feed_pause(f, f->options.pace_ms, true);
        if (!feed_stopping(f))
            record_log_wait(f->store, atomic_load(&f->applied),
                            clock_mono_ns(f->options.clock) + FEED_IDLE_MS * INT64_C(1000000));
    }
    pthread_mutex_lock(&f->mutex);
    f->done = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mutex);
    return NULL;
}

static void feed_free(feed *f) {
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->mutex);
    arena_free(f->arena);
    free(f);
}

static feed *feed_new(record_store *s, const feed_options *options) {
    feed *f = calloc(1, sizeof *f);
    pthread_condattr_t attr;
    if (f == NULL) return NULL;
    f->store = s;
    f->options = *options;
    snprintf(f->name, sizeof f->name, "%s", options->name);
    f->options.name = f->name;
    f->options.batch_max = options->batch_max == 0 ? FEED_BATCH_DEFAULT : options->batch_max;
    f->limit = f->options.batch_max < FEED_BATCH_DEFAULT ? f->options.batch_max : FEED_BATCH_DEFAULT;
    if (f->options.kinds == 0) f->options.kinds = RECORD_MASK_ALL;
    if (f->options.pace_ms == 0) f->options.pace_ms = FEED_PACE_MS;
    f->options.clock = options->clock != NULL ? options->clock : &clock_system;
    rng_seed(&f->random, (uint64_t)clock_mono_ns(&clock_system) ^ (uint64_t)(uintptr_t)f);
    atomic_init(&f->applied, options->start);
    pthread_mutex_init(&f->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &attr);
    pthread_condattr_destroy(&attr);
    f->arena = arena_new(64 * 1024);
    if (f->arena == NULL) {
        feed_free(f);
        return NULL;
    }
    if (options->metrics != NULL) {
        char labels[FEED_NAME_BYTES + 16];
        snprintf(labels, sizeof labels, "consumer=\"%s\"", f->name);
        f->lag =
            metrics_gauge(options->metrics, "feed_lag", labels, "Changes that a derived store has not applied yet.");
        f->applied_total =
            metrics_counter(options->metrics, "feed_applied_total", labels, "Log rows applied to a derived store.");
        f->errors_total =
            metrics_counter(options->metrics, "feed_errors_total", labels, "Batches that a derived store refused.");
    }
    return f;
}

int feed_start(record_store *s, const feed_options *options, feed **out, braid_error *err) {
    *out = NULL;
    if (options->name == NULL || options->name[0] == '\0' || strlen(options->name) >= FEED_NAME_BYTES ||
        options->apply == NULL)
        return error_set(err, BRAID_E_INVALID, "feed", "a feed has a name of 1..%d bytes and something to apply",
                         FEED_NAME_BYTES - 1);
    feed *f = feed_new(s, options);
    if (f == NULL) return error_set(err, BRAID_E_NO_MEMORY, "feed", "no memory for the feed %s", options->name);
    int rc = pthread_create(&f->thread, NULL, feed_main, f);
    if (rc != 0) {
        feed_free(f);
        return error_set(err, BRAID_E_NO_MEMORY, "feed", "cannot start the feed %s: %s", options->name, strerror(rc));
    }
    *out = f;
    return BRAID_OK;
}

void feed_stop(feed *f) {
    if (f == NULL) return;
    pthread_mutex_lock(&f->mutex);
    f->stop = true;
    pthread_cond_broadcast(&f->changed);
    while (!f->done) { /* the thread may be about to sleep in the log, where only the log can wake it */
        struct timespec until;
        pthread_mutex_unlock(&f->mutex);
        record_log_wake(f->store);
        feed_until(&until, FEED_STOP_MS);
        pthread_mutex_lock(&f->mutex);
        if (!f->done) pthread_cond_timedwait(&f->changed, &f->mutex, &until);
    }
    pthread_mutex_unlock(&f->mutex);
    pthread_join(f->thread, NULL);
    feed_free(f);
}

uint64_t feed_applied(const feed *f) {
    return atomic_load_explicit(&f->applied, memory_order_acquire);
}

bool feed_wait(feed *f, uint64_t lsn, deadline until) {
    if (feed_applied(f) >= lsn) return true;
    pthread_mutex_lock(&f->mutex);
    f->waiters++;
    pthread_cond_broadcast(&f->changed);
    while (atomic_load(&f->applied) < lsn && !f->stop) {
        struct timespec t;
        int64_t left = until == 0 ? INT64_C(1000000000) : until - clock_mono_ns(f->options.clock);
        if (left <= 0) break;
        clock_gettime(CLOCK_MONOTONIC, &t);
        int64_t at = (int64_t)t.tv_nsec + left % 1000000000;
        t.tv_sec += (time_t)(left / 1000000000 + at / 1000000000);
        t.tv_nsec = (long)(at % 1000000000);
        pthread_cond_timedwait(&f->changed, &f->mutex, &t);
    }
    f->waiters--;
    pthread_mutex_unlock(&f->mutex);
    return feed_applied(f) >= lsn;
}

const char *feed_name(const feed *f) {
    return f->name;
}

int feed_last_error(feed *f, braid_error *out) {
    pthread_mutex_lock(&f->mutex);
    if (out != NULL) *out = f->last;
    int code = f->last.code;
    pthread_mutex_unlock(&f->mutex);
    return code;
}
