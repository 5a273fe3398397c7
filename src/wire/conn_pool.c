/* The connection pool.
 *
 * Idle connections are a stack: the last one given back is lent first, the bottom ages and is closed. Whoever finds
 * nothing waits in a queue, each on a condition of its own, and is served in order: with one condition for all, a
 * newcomer would overtake those who wait, and the slowest tenth of the calls would pay for it.
 *
 * Opening, closing and looking at a connection are system calls (opening is several round trips) and happen outside of
 * the lock; `open` counts a connection from before it is opened until after it is closed, so that there are never more
 * than `max`.
 *
 * After a failed opening, those who come by get the same error at once until retry_ns; but where connections are lent
 * out, the server evidently lives (it may have met its limit of clients), so they wait for one of those.
 *
 * Rejected: a thread that opens and closes (the pool would have a life of its own to stop), and a check of an idle
 * connection by a round trip (it costs as much as the call, and proves nothing about the next millisecond). */
#include "wire/conn_pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CONN_MAX = 1024,
    CONN_IDLE_MS = 60000,
    CONN_BACK_OFF_MS = 10, /* after the first failed opening */
    CONN_BACK_OFF_MS_MAX = 1000,
    CONN_REAP_MAX = 16,   /* aged connections that one caller closes */
    CONN_NAP_NS = 2000000 /* between looks at a test's clock */
};

typedef struct conn_idle {
    void *conn;
    int64_t since_ns;
} conn_idle;

typedef struct conn_waiter {
    struct conn_waiter *next;
    pthread_cond_t wake;
} conn_waiter;

struct conn_pool {
    pthread_mutex_t lock; /* guards all down to `idle` */
    size_t open, lent, opening, idle_count;
    conn_waiter *first, *last;
    unsigned back_off_ms; /* 0: the last opening went well */
    int64_t retry_ns;
    braid_error failure; /* of the last opening */
    conn_idle *idle;     /* room for max; the oldest first */

    const conn_ops *ops;
    void *ctx;
    char name[64], who[224];
    size_t max;
    int64_t idle_ns;
    const clock_ops *clock;
    metric_counter *open_metric, *opened_metric, *failed_metric;
    metric_histogram *wait_metric;
};

int conn_pool_new(const conn_ops *ops, void *ctx, const conn_pool_options *options, conn_pool **out, braid_error *err) {
    BRAID_ASSERT(ops != NULL && options->clock != NULL && options->name != NULL);
    *out = NULL;
    if (options->max < 1 || options->max > CONN_MAX)
        return error_set(err, BRAID_E_INVALID, options->name, "%zu connections were asked for; 1 to %d are possible",
                         options->max, CONN_MAX);
    conn_pool *p = calloc(1, sizeof *p);
    conn_idle *idle = calloc(options->max, sizeof *idle);
    if (p == NULL || idle == NULL) {
        free(p);
        free(idle);
        return error_set(err, BRAID_E_NO_MEMORY, options->name, "no memory for a pool of connections");
    }
    pthread_mutex_init(&p->lock, NULL);
    p->idle = idle;
    p->ops = ops;
    p->ctx = ctx;
    p->max = options->max;
    p->idle_ns = (int64_t)(options->idle_ms != 0 ? options->idle_ms : CONN_IDLE_MS) * 1000000;
    p->clock = options->clock;
    snprintf(p->name, sizeof p->name, "%s", options->name);
    snprintf(p->who, sizeof p->who, "%s%s%.128s", options->name, options->address != NULL ? " at " : "",
             options->address != NULL ? options->address : "");
    char labels[96];
    snprintf(labels, sizeof labels, "pool=\"%s\"", p->name);
    p->open_metric = metrics_gauge(options->metrics, "conn_open", labels, "Connections to a store, lent or idle");
    p->opened_metric = metrics_counter(options->metrics, "conn_opened_total", labels, "Connections opened to a store");
    p->failed_metric = metrics_counter(options->metrics, "conn_failed_total", labels,
                                       "Connections to a store that could not be opened");
    p->wait_metric = metrics_histogram(options->metrics, "conn_wait_duration_seconds", labels,
                                       "Time that a call waited for a connection, or for its opening");
    *out = p;
    return BRAID_OK;
}

void conn_pool_free(conn_pool *p) {
    if (p == NULL) return;
    BRAID_ASSERT(p->lent == 0 && p->first == NULL);
    for (size_t i = 0; i < p->idle_count; i++) p->ops->close(p->ctx, p->idle[i].conn);
    metric_set(p->open_metric, 0);
    pthread_mutex_destroy(&p->lock);
    free(p->idle);
    free(p);
}

/* ---- the queue ---- */

static void pool_wake_first(conn_pool *p) {
    if (p->first != NULL) pthread_cond_signal(&p->first->wake);
}

static void pool_enter(conn_pool *p, conn_waiter *w) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    w->next = NULL;
    if (p->last != NULL)
        p->last->next = w;
    else
        p->first = w;
    p->last = w;
}

static void pool_leave(conn_pool *p, conn_waiter *w) {
    conn_waiter **at = &p->first, *before = NULL;
    while (*at != w) {
        before = *at;
        at = &before->next;
    }
    *at = w->next;
    if (p->last == w) p->last = before;
    pthread_cond_destroy(&w->wake);
    pool_wake_first(p); /* there may be something for the next one too */
}

/* Sleeps until woken, or until `at` on the pool's clock (0: for ever) may have come. */
static void pool_doze(conn_pool *p, conn_waiter *w, int64_t at) {
    if (at == 0) {
        pthread_cond_wait(&w->wake, &p->lock);
        return;
    }
    if (p->clock->mono_ns != clock_system.mono_ns) at = clock_mono_ns(&clock_system) + CONN_NAP_NS;
    struct timespec t = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
    pthread_cond_timedwait(&w->wake, &p->lock, &t);
}

/* ---- taking ---- */

static bool pool_may_open(const conn_pool *p, int64_t now) {
    if (p->back_off_ms != 0 && p->opening > 0) return false; /* one tries whether the server is back, the rest wait */
    return p->open < p->max && now >= p->retry_ns;
}

static bool pool_has(const conn_pool *p, int64_t now) {
    return p->idle_count > 0 || pool_may_open(p, now);
}

static bool pool_is_down(const conn_pool *p, int64_t now) {
    return p->idle_count == 0 && now < p->retry_ns && p->lent == 0;
}

/* Waits, in order, until there is something to take. The lock is held. */
static int pool_await(conn_pool *p, deadline until, braid_error *err) {
    int64_t now = clock_mono_ns(p->clock);
    if (p->first == NULL && pool_has(p, now)) return BRAID_OK;
    conn_waiter w;
    int rc = BRAID_OK;
    pool_enter(p, &w);
    for (;; now = clock_mono_ns(p->clock)) {
        if (p->first == &w && pool_has(p, now)) break;
        if (pool_is_down(p, now)) {
            rc = error_set(err, BRAID_E_UNAVAILABLE, p->failure.store, "%s", p->failure.message);
            break;
        }
        if (until != 0 && now >= until) {
            rc = error_set(err, BRAID_E_DEADLINE, p->name, "%s: all %zu connections were in use for too long", p->who,
                           p->max);
            break;
        }
        int64_t at = until;
        if (p->open < p->max && now < p->retry_ns && (at == 0 || p->retry_ns < at)) at = p->retry_ns;
        pool_doze(p, &w, at);
    }
    pool_leave(p, &w);
    return rc;
}

/* Takes idle connections from the bottom that are too old; the lock is held. They are closed by pool_close_all. */
static size_t pool_reap(conn_pool *p, int64_t now, void *aged[CONN_REAP_MAX]) {
    size_t n = 0;
    while (n < p->idle_count && n < CONN_REAP_MAX && now - p->idle[n].since_ns > p->idle_ns) {
        aged[n] = p->idle[n].conn;
        n++;
    }
    if (n > 0) memmove(p->idle, p->idle + n, (p->idle_count - n) * sizeof *p->idle);
    p->idle_count -= n;
    return n;
}

static void pool_count_closed(conn_pool *p, size_t n) {
    if (n == 0) return;
    p->open -= n;
    metric_set(p->open_metric, (double)p->open);
    pool_wake_first(p);
}

/* Closes without the lock and counts with it; the lock is held before and after. */
static void pool_close_all(conn_pool *p, void *const *conns, size_t n) {
    if (n == 0) return;
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < n; i++) p->ops->close(p->ctx, conns[i]);
    pthread_mutex_lock(&p->lock);
    pool_count_closed(p, n);
}

static void pool_note_failure(conn_pool *p, int code, const braid_error *cause) {
    p->failure = *cause;
    if (cause->code == BRAID_OK) error_set(&p->failure, code, p->name, "%s: a connection could not be opened", p->who);
    /* A deadline says as much about the caller as about the server: it does not double the wait of the others. */
    p->back_off_ms = p->back_off_ms == 0 || code == BRAID_E_DEADLINE ? CONN_BACK_OFF_MS : p->back_off_ms * 2;
    if (p->back_off_ms > CONN_BACK_OFF_MS_MAX) p->back_off_ms = CONN_BACK_OFF_MS_MAX;
    p->retry_ns = clock_mono_ns(p->clock) + (int64_t)p->back_off_ms * 1000000;
    metric_add(p->failed_metric, 1);
}

/* Opens one; the lock is held before and after. */
static int pool_open(conn_pool *p, deadline until, void **conn, braid_error *err) {
    braid_error cause = {0};
    p->open++;
    p->opening++;
    pthread_mutex_unlock(&p->lock);
    *conn = NULL;
    int rc = p->ops->open(p->ctx, until, conn, &cause);
    pthread_mutex_lock(&p->lock);
    p->opening--;
    if (rc == BRAID_OK) {
        p->back_off_ms = 0;
        p->retry_ns = 0;
        p->lent++;
        metric_add(p->opened_metric, 1);
        metric_set(p->open_metric, (double)p->open);
        pool_wake_first(p); /* who waited for the back-off to end need not any longer */
        return BRAID_OK;
    }
    pool_note_failure(p, rc, &cause);
    pool_count_closed(p, 1);
    return error_set(err, rc, p->failure.store, "%s", p->failure.message);
}

/* The idle connection on top if it is still good, else *conn NULL; the lock is held before and after. */
static void pool_take_idle(conn_pool *p, void **conn) {
    conn_idle top = p->idle[--p->idle_count];
    *conn = NULL;
    p->lent++; /* while it is looked at */
    pthread_mutex_unlock(&p->lock);
    bool good = p->ops->good == NULL || p->ops->good(p->ctx, top.conn);
    if (!good) p->ops->close(p->ctx, top.conn);
    pthread_mutex_lock(&p->lock);
    if (good) {
        *conn = top.conn;
        return;
    }
    p->lent--;
    pool_count_closed(p, 1);
}

int conn_pool_take(conn_pool *p, deadline until, void **conn, braid_error *err) {
    *conn = NULL;
    void *aged[CONN_REAP_MAX];
    int64_t begun = clock_mono_ns(p->clock);
    int rc = BRAID_OK;
    pthread_mutex_lock(&p->lock);
    pool_close_all(p, aged, pool_reap(p, begun, aged));
    while (rc == BRAID_OK && *conn == NULL) {
        rc = pool_await(p, until, err);
        if (rc != BRAID_OK) break;
        if (p->idle_count > 0)
            pool_take_idle(p, conn);
        else
            rc = pool_open(p, until, conn, err);
    }
    pthread_mutex_unlock(&p->lock);
    metric_observe_us(p->wait_metric, (double)(clock_mono_ns(p->clock) - begun) / 1000.0);
    return rc;
}

void conn_pool_give(conn_pool *p, void *conn, bool reusable) {
    if (conn == NULL) return;
    void *aged[CONN_REAP_MAX];
    int64_t now = clock_mono_ns(p->clock);
    if (!reusable) p->ops->close(p->ctx, conn);
    pthread_mutex_lock(&p->lock);
    BRAID_ASSERT(p->lent > 0);
    p->lent--;
    if (reusable) {
        p->idle[p->idle_count++] = (conn_idle){conn, now};
        pool_wake_first(p);
    } else {
        pool_count_closed(p, 1);
    }
    pool_close_all(p, aged, pool_reap(p, now, aged));
    pthread_mutex_unlock(&p->lock);
}

size_t conn_pool_open_count(conn_pool *p) {
    pthread_mutex_lock(&p->lock);
    size_t n = p->open;
    pthread_mutex_unlock(&p->lock);
    return n;
}
