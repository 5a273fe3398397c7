/* How far the log is settled, known without asking: head(), and who waits for more.
 *
 * Three numbers: `head`, the horizon (nothing at or below it can appear any more); `newest`, the last row that was seen
 * or written; `tip`, the last row that is settled. Only the tip is told: a crash of the server takes back the numbers
 * of transactions that have left nothing on disk, and with them the horizon, but never a row that was seen.
 *
 * A writer asks for the horizon in the same round trip as its COMMIT, so that after most commits the head has passed
 * them already. Where it has not (another transaction is still open), and for what other servers write, there is the
 * watcher: a thread with a connection of its own that LISTENs, and looks by itself every 10 ms while rows are
 * unsettled, else every 50 ms .. 1 s.
 *
 * Waiters wait for a row (tip), not for the horizon, which moves with every transaction of the whole server.
 *
 * Notifications are a hint; one that is lost costs the pause to the next look. The watcher sends ours, at most every
 * 20 ms: within the writing transactions they would take a lock of the whole server at every commit. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "record/record_postgres.h"

enum {
    LOOK_UNSETTLED_MS = 10,
    LOOK_FIRST_MS = 50,
    LOOK_MAX_MS = 1000,
    TELL_MS = 20, /* between two notifications */
    RECONNECT_FIRST_MS = 100
};

static void watcher_wake(record_postgres *s) {
    uint64_t one = 1;
    ssize_t n = write(s->wake_fd, &one, sizeof one);
    (void)n; /* full: it is awake */
}

static void raise_to(_Atomic uint64_t *number, uint64_t value) {
    uint64_t now = atomic_load_explicit(number, memory_order_relaxed);
    while (now < value && !atomic_compare_exchange_weak(number, &now, value)) {}
}

/* All callers hold the head's mutex, so that a waiter cannot miss a step. */
static void head_publish(record_postgres *s, uint64_t horizon, uint64_t tip, uint64_t newest) {
    raise_to(&s->newest, newest > tip ? newest : tip);
    raise_to(&s->head, horizon);
    if (atomic_load(&s->head) >= atomic_load(&s->newest)) tip = atomic_load(&s->newest);
    uint64_t before = atomic_load(&s->tip);
    raise_to(&s->tip, tip);
    if (atomic_load(&s->tip) > before) pthread_cond_broadcast(&s->head_cond);
}

void record_postgres_committed(record_postgres *s, uint64_t horizon, uint64_t last) {
    pthread_mutex_lock(&s->head_mutex);
    head_publish(s, horizon, 0, last);
    bool unsettled = last > horizon, wake = (unsettled && !s->look) || (last > 0 && !s->tell);
    s->look = s->look || unsettled;
    s->tell = s->tell || last > 0;
    pthread_mutex_unlock(&s->head_mutex);
    if (wake) watcher_wake(s);
}

void record_postgres_settled(record_postgres *s, uint64_t lsn) {
    pthread_mutex_lock(&s->head_mutex);
    head_publish(s, lsn, lsn, lsn);
    pthread_mutex_unlock(&s->head_mutex);
}

uint64_t record_postgres_head(void *self) {
    return atomic_load_explicit(&((record_postgres *)self)->tip, memory_order_acquire);
}

void record_postgres_log_wake(void *self) {
    record_postgres *s = self;
    pthread_mutex_lock(&s->head_mutex);
    s->wakes++;
    pthread_cond_broadcast(&s->head_cond);
    pthread_mutex_unlock(&s->head_mutex);
}

void record_postgres_log_wait(void *self, uint64_t after, deadline until) {
    record_postgres *s = self;
    record_postgres_reading(s, after);
    pthread_mutex_lock(&s->head_mutex);
    uint64_t wakes = s->wakes;
    while (atomic_load_explicit(&s->tip, memory_order_relaxed) <= after && s->wakes == wakes) {
        int64_t left = until != 0 ? until - record_postgres_now(s) : -1;
        if (until != 0 && left <= 0) break;
        record_postgres_wait(&s->head_cond, &s->head_mutex, left);
    }
    pthread_mutex_unlock(&s->head_mutex);
}

/* ---- the watcher ---- */

typedef struct watch {
    record_postgres *s;
    pg_session *session;
    int64_t next_look, told; /* ns */
    int64_t pause_ms;        /* between looks, or between attempts to connect */
    int64_t stuck_since;     /* when `stuck` was first seen above the horizon; 0: nothing is stuck */
    uint64_t stuck;
} watch;

static int watch_connect(watch *w) {
    record_postgres *s = w->s;
    char sql[160];
    deadline until = record_postgres_until(s, 0);
    if (w->session != NULL && !pg_broken(w->session)) return BRAID_OK;
    pg_close(w->session);
    w->session = NULL;
    int code = pg_open(&s->reading, until, &w->session, NULL);
    if (code == BRAID_OK) code = record_postgres_same(s, w->session, until, NULL);
    /* the channel's name is ours: braid_ and a number */
    snprintf(sql, sizeof sql, "SET synchronous_commit = off; LISTEN %s", s->channel);
    if (code == BRAID_OK) code = pg_exec(w->session, sql, NULL, NULL, until, "listening", NULL, NULL);
    if (code == BRAID_OK) {
        w->pause_ms = LOOK_FIRST_MS;
        atomic_store(&s->head, 0); /* after a crash of the server its numbers go on from lower ones */
        return BRAID_OK;
    }
    pg_close(w->session);
    w->session = NULL;
    return code;
}

/* How long the oldest row that was seen above the horizon has been there: something keeps a transaction open. */
static void watch_measure(watch *w, uint64_t horizon, uint64_t newest) {
    int64_t now = record_postgres_now(w->s);
    if (w->stuck_since != 0 && horizon >= w->stuck) w->stuck_since = 0;
    if (w->stuck_since == 0 && newest > horizon) {
        w->stuck_since = now;
        w->stuck = newest;
    }
    metric_set(w->s->horizon_gauge, w->stuck_since != 0 ? (double)(now - w->stuck_since) / 1e9 : 0);
}

static void watch_look(watch *w) {
    record_postgres *s = w->s;
    PGresult *r = NULL;
    uint64_t before = atomic_load(&s->newest), newest = before, horizon = 0;
    pthread_mutex_lock(&s->head_mutex);
    s->look = false;
    pthread_mutex_unlock(&s->head_mutex);
    if (pg_run(w->session, SQL_HEAD, NULL, 0, "looking at the log", &r, NULL) == BRAID_OK && pg_rows(r) == 1) {
        pg_row row = {.r = r};
        horizon = (uint64_t)pg_int8(&row, 0);
        uint64_t tip = (uint64_t)pg_int8(&row, 1);
        newest = (uint64_t)pg_int8(&row, 2);
        if (!row.bad) {
            pthread_mutex_lock(&s->head_mutex);
            head_publish(s, horizon, tip, newest);
            pthread_mutex_unlock(&s->head_mutex);
            newest = atomic_load(&s->newest);
            watch_measure(w, horizon, newest);
        }
    }
    PQclear(r);
    if (newest > horizon)
        w->pause_ms = LOOK_UNSETTLED_MS;
    else if (newest > before || w->pause_ms < LOOK_FIRST_MS)
        w->pause_ms = LOOK_FIRST_MS;
    else
        w->pause_ms = w->pause_ms * 2 < LOOK_MAX_MS ? w->pause_ms * 2 : LOOK_MAX_MS;
    w->next_look = record_postgres_now(s) + w->pause_ms * 1000000;
}

static void watch_tell(watch *w) {
    record_postgres *s = w->s;
    pg_params p;
    pthread_mutex_lock(&s->head_mutex);
    s->tell = false;
    pthread_mutex_unlock(&s->head_mutex);
    pg_params_init(&p);
    pg_bind_text(&p, s->channel);
    (void)pg_run(w->session, SQL_NOTIFY, &p, 0, "telling others", NULL, NULL);
    pg_params_free(&p);
    w->told = record_postgres_now(s);
}

static void watch_sleep(watch *w, int64_t until) {
    record_postgres *s = w->s;
    uint64_t drained;
    if (w->session == NULL) { /* not connected: nothing but a stop or the time is worth waking for */
        pthread_mutex_lock(&s->head_mutex);
        int64_t left = until - record_postgres_now(s);
        if (!s->stop && left > 0) record_postgres_wait(&s->head_cond, &s->head_mutex, left);
        pthread_mutex_unlock(&s->head_mutex);
    } else if (pg_notified(w->session, s->wake_fd, until)) {
        w->next_look = 0;
    }
    ssize_t n = read(s->wake_fd, &drained, sizeof drained);
    (void)n; /* nothing to read is as good */
}

static void *watcher_main(void *arg) {
    watch w = {.s = arg, .pause_ms = LOOK_FIRST_MS};
    record_postgres *s = arg;
    prctl(PR_SET_NAME, "braid-pg-watch");
    for (;;) {
        pthread_mutex_lock(&s->head_mutex);
        bool stop = s->stop, look = s->look, tell = s->tell;
        pthread_mutex_unlock(&s->head_mutex);
        int64_t now = record_postgres_now(s);
        if (stop) break;
        if (watch_connect(&w) != BRAID_OK) {
            w.pause_ms = w.pause_ms < RECONNECT_FIRST_MS ? RECONNECT_FIRST_MS : w.pause_ms;
            watch_sleep(&w, record_postgres_now(s) + w.pause_ms * 1000000);
            w.pause_ms = w.pause_ms * 2 < LOOK_MAX_MS ? w.pause_ms * 2 : LOOK_MAX_MS;
            continue;
        }
        if (look && w.next_look - now > LOOK_UNSETTLED_MS * INT64_C(1000000)) w.next_look = now;
        if (now >= w.next_look) watch_look(&w);
        record_postgres_readers_tell(s, w.session);
        int64_t tell_at = w.told + TELL_MS * INT64_C(1000000);
        if (tell && now >= tell_at) watch_tell(&w);
        watch_sleep(&w, tell && now < tell_at && tell_at < w.next_look ? tell_at : w.next_look);
    }
    pg_close(w.session);
    return NULL;
}

int record_postgres_watcher_start(record_postgres *s, braid_error *err) {
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = s->wake_fd < 0 ? errno : pthread_create(&s->watcher, NULL, watcher_main, s);
    if (rc != 0)
        return error_set(err, BRAID_E_NO_MEMORY, RECORD_POSTGRES, "cannot start the watcher: %s", strerror(rc));
    s->watcher_started = true;
    return BRAID_OK;
}

void record_postgres_watcher_stop(record_postgres *s) {
    if (s->watcher_started) {
        pthread_mutex_lock(&s->head_mutex);
        s->stop = true;
        pthread_cond_broadcast(&s->head_cond);
        pthread_mutex_unlock(&s->head_mutex);
        watcher_wake(s);
        pthread_join(s->watcher, NULL);
        s->watcher_started = false;
    }
    if (s->wake_fd >= 0) close(s->wake_fd);
    s->wake_fd = -1;
}
