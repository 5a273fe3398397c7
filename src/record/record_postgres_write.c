/* Group commit: many callers, few writers, one commit for many.
 *
 * A caller checks its changes and writes their JSON on its own thread, queues a request that lives on its stack, and
 * sleeps on the request's semaphore. A writer takes everything that waits (up to group_max changes), writes it in one
 * transaction, and wakes the callers. While one writer waits for its commit, the next group gathers for the other.
 *
 * Background writes (learners) are taken when no foreground write waits, or after 200 ms, a slice at a time. A bulk
 * request (COPY) is a group of its own, but that several of episodes become one.
 *
 * When the database does not answer, whoever has waited for longer than a call may take is told so together with the
 * group that failed: nobody waits for one time-out after another. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "record/record_postgres.h"

/* ---- the queue; its mutex is held ---- */

static void queue_push(record_postgres_queue *q, record_postgres_request *r) {
    r->next = NULL;
    if (q->last != NULL)
        q->last->next = r;
    else
        q->first = r;
    q->last = r;
    q->requests++;
    q->changes += r->n;
}

static record_postgres_request *queue_pop(record_postgres_queue *q) {
    record_postgres_request *r = q->first;
    q->first = r->next;
    if (q->first == NULL) q->last = NULL;
    q->requests--;
    q->changes -= r->n;
    r->next = NULL;
    return r;
}

static void group_take(record_postgres_group *g, record_postgres_queue *q) {
    record_postgres_request *r = queue_pop(q);
    *g->tail = r;
    g->tail = &r->next;
    g->changes += r->n;
    g->alone |= r->alone;
    g->bulk |= r->bulk;
    g->episodes |= r->episodes;
}

/* Bulk requests are a group of their own, but for episodes, which gather like everything else. */
static bool may_join(const record_postgres *s, const record_postgres_group *g, const record_postgres_request *next) {
    if (g->first == NULL) return true;
    return (g->bulk ? g->episodes && next->episodes : !next->bulk) && g->changes + next->n <= s->options.group_max;
}

static void take_foreground(record_postgres *s, record_postgres_group *g) {
    while (s->foreground.first != NULL && may_join(s, g, s->foreground.first)) {
        g->foreground++;
        group_take(g, &s->foreground);
    }
}

/* A slice of what learners wrote; behind foreground requests only what has waited too long. */
static void take_background(record_postgres *s, record_postgres_group *g) {
    bool behind = g->foreground > 0 || s->foreground.first != NULL;
    int64_t late = behind ? record_postgres_now(s) - RECORD_POSTGRES_BACKGROUND_WAIT_MS * INT64_C(1000000) : INT64_MAX;
    size_t slice = 0;
    while (s->background.first != NULL && s->background.first->queued_ns <= late && !g->bulk) {
        const record_postgres_request *next = s->background.first;
        bool full = slice > 0 && (behind || slice + next->n > RECORD_POSTGRES_BACKGROUND_SLICE);
        if (full || (next->bulk && g->first != NULL) || g->changes + next->n > RECORD_POSTGRES_CHANGES_MAX) return;
        slice += next->n;
        group_take(g, &s->background);
    }
}

/* ---- a caller ---- */

static int submit(record_postgres *s, record_postgres_request *r, bool background, braid_error *err) {
    int code = BRAID_OK;
    if (sem_init(&r->done, 0, 0) != 0)
        return error_set(err, BRAID_E_INTERNAL, RECORD_POSTGRES, "sem_init: %s", strerror(errno));
    r->queued_ns = record_postgres_now(s);
    pthread_mutex_lock(&s->queue_mutex);
    size_t waiting = s->foreground.changes + s->background.changes;
    if (s->closing) {
        code = error_set(err, BRAID_E_CLOSED, RECORD_POSTGRES, "the database is closing");
    } else if (waiting > 0 && waiting + r->n > s->options.queue_max) {
        code = error_set(err, BRAID_E_BUSY, RECORD_POSTGRES, "%zu changes are waiting to be written; try again later",
                         waiting);
    } else {
        queue_push(background ? &s->background : &s->foreground, r);
        pthread_cond_signal(&s->queue_cond);
    }
    pthread_mutex_unlock(&s->queue_mutex);
    if (code == BRAID_OK) {
        while (sem_wait(&r->done) != 0) { /* EINTR */
        }
        code = r->code;
        if (code != BRAID_OK) error_set(err, code, r->err.store, "%s", r->err.message);
    }
    sem_destroy(&r->done);
    return code;
}

static int prepare_all(record_postgres *s, record_postgres_request *r, braid_error *err) {
    if ((r->bodies = calloc(r->n, sizeof *r->bodies)) == NULL) return record_postgres_no_memory(err);
    int code = BRAID_OK;
    for (size_t i = 0; code == BRAID_OK && i < r->n; i++) {
        code = record_postgres_prepare(s, &r->changes[i], &r->bodies[i], err);
        r->bodies[i].refused = r->changes[i].code != BRAID_OK;
        r->alone |= r->changes[i].remove && r->changes[i].kind != RECORD_NEIGHBOURS;
    }
    r->bulk = code == BRAID_OK && record_postgres_is_bulk(r->changes, r->n);
    r->episodes = r->bulk && r->changes[0].kind == RECORD_EPISODE;
    return code;
}

int record_postgres_write(void *self, record_change *changes, size_t n, record_write_flags flags, braid_error *err) {
    record_postgres *s = self;
    record_postgres_request r = {.changes = changes, .n = n};
    braid_error mine = {0};
    int code = record_postgres_alive(s, &mine);
    if (code == BRAID_OK && s->options.read_only)
        code = error_set(&mine, BRAID_E_READ_ONLY, RECORD_POSTGRES, "the database was opened for reading only");
    if (code == BRAID_OK && n > RECORD_POSTGRES_CHANGES_MAX)
        code = error_set(&mine, BRAID_E_TOO_LARGE, RECORD_POSTGRES, "a transaction holds at most %d changes",
                         RECORD_POSTGRES_CHANGES_MAX);
    if (code == BRAID_OK) code = prepare_all(s, &r, &mine);
    if (code == BRAID_OK) code = submit(s, &r, flags.background, &mine);
    for (size_t i = 0; code != BRAID_OK && i < n; i++) {
        record_postgres_refuse(&changes[i], code, "%s", error_sentence(code));
        changes[i].duplicate = false;
    }
    if (code != BRAID_OK) error_set(err, code, mine.store, "%s", mine.message);
    for (size_t i = 0; r.bodies != NULL && i < n; i++) free(r.bodies[i].text);
    free(r.bodies);
    return code;
}

/* ---- the writers ---- */

/* Waits until there is something to do; false when the store closes and nothing is left. The mutex is held. */
static bool await(record_postgres *s) {
    while (s->foreground.requests == 0 && s->background.requests == 0 && !s->closing)
        record_postgres_wait(&s->queue_cond, &s->queue_mutex, -1);
    return s->foreground.requests > 0 || s->background.requests > 0;
}

static void wake_callers(record_postgres *s, record_postgres_request *list) {
    uint64_t changes = 0, refused = 0;
    while (list != NULL) {
        record_postgres_request *next = list->next; /* the request is the caller's again after the post */
        for (size_t i = 0; list->code == BRAID_OK && i < list->n; i++)
            list->changes[i].code == BRAID_OK ? changes++ : refused++;
        sem_post(&list->done);
        list = next;
    }
    metric_add(s->changes, changes);
    metric_add(s->refused, refused);
}

/* After a failure of the database: those that have waited too long fail with it. */
static void give_up_old(record_postgres *s, const record_postgres_request *failed) {
    record_postgres_group old = {.tail = &old.first};
    int64_t limit = record_postgres_now(s) - record_postgres_timeout_ns(s);
    pthread_mutex_lock(&s->queue_mutex);
    while (s->foreground.first != NULL && s->foreground.first->queued_ns <= limit) group_take(&old, &s->foreground);
    while (s->background.first != NULL && s->background.first->queued_ns <= limit) group_take(&old, &s->background);
    pthread_mutex_unlock(&s->queue_mutex);
    for (record_postgres_request *r = old.first; r != NULL; r = r->next) {
        r->code = failed->code;
        r->err = failed->err;
    }
    wake_callers(s, old.first);
}

static void *writer_main(void *arg) {
    record_postgres_writer *w = arg;
    record_postgres *s = w->s;
    prctl(PR_SET_NAME, "braid-pg-write");
    pthread_mutex_lock(&s->queue_mutex);
    while (await(s)) {
        record_postgres_group g = {.tail = &g.first};
        take_foreground(s, &g);
        take_background(s, &g);
        size_t waiting = s->foreground.changes + s->background.changes;
        pthread_mutex_unlock(&s->queue_mutex);
        metric_set(s->queue_gauge, (double)waiting);
        if (g.first != NULL) {
            record_postgres_commit(w, &g);
            if (g.first->code == BRAID_E_UNAVAILABLE || g.first->code == BRAID_E_DEADLINE) give_up_old(s, g.first);
            wake_callers(s, g.first);
        }
        pthread_mutex_lock(&s->queue_mutex);
    }
    pthread_mutex_unlock(&s->queue_mutex);
    pg_close(w->session);
    w->session = NULL;
    return NULL;
}

int record_postgres_writers_start(record_postgres *s, braid_error *err) {
    for (int i = 0; i < RECORD_POSTGRES_WRITERS; i++) {
        record_postgres_writer *w = &s->writers[i];
        w->s = s;
        pg_params_init(&w->params);
        rng_seed(&w->random, (uint64_t)clock_mono_ns(&clock_system) + (uint64_t)i);
        w->token = rng_next(&w->random) >> 2;
        snprintf(w->name, sizeof w->name, "%s/%d", s->reader, i);
        int rc = pthread_create(&w->thread, NULL, writer_main, w);
        if (rc != 0)
            return error_set(err, BRAID_E_NO_MEMORY, RECORD_POSTGRES, "cannot start a writer: %s", strerror(rc));
        w->started = true;
    }
    return BRAID_OK;
}

void record_postgres_writers_stop(record_postgres *s) {
    pthread_mutex_lock(&s->queue_mutex);
    s->closing = true;
    pthread_cond_broadcast(&s->queue_cond);
    pthread_mutex_unlock(&s->queue_mutex);
    for (int i = 0; i < RECORD_POSTGRES_WRITERS; i++) {
        if (s->writers[i].started) pthread_join(s->writers[i].thread, NULL);
        s->writers[i].started = false;
        pg_params_free(&s->writers[i].params);
    }
}
