/* The log of what was shown: answers go into a bounded queue, and a thread of its own writes them to the record store.
 *
 * No answer ever waits for it: who finds the queue full drops the slate and counts it. What a crash takes is what
 * was in the queue, at most a moment's worth: a slate is evidence for judging, no acknowledged write. A share of the
 * answers can be logged instead of all (by the random bits of the recommendation_id, so that what is logged is a
 * fair sample); those in an experiment always are, since their standing counts every one. The writes give way to
 * writers that somebody waits for. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/slate_log.h"

enum { BATCH = 256, PAUSE_MS = 200 };

typedef struct kept_slate {
    char *id, *agent, *user, *body; /* one block */
    size_t body_len;
    int64_t at;
    uint32_t places, explored;
} kept_slate;

struct slate_log {
    record_store *record;
    const logger *log;
    double share;
    size_t room;
    metric_counter *logged, *dropped, *failed, *waiting;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    pthread_t writer;
    kept_slate *ring;
    size_t first, count; /* under lock; `count` includes what the writer has in hand */
    bool closing, runs, complaint;
    unsigned waiters; /* somebody waits for the queue to be empty */
};

static bool in_sample(const slate_log *s, const char *id) {
    return s->share >= 1 || (double)(strtoull(id + strlen(id) - 13, NULL, 16) & 0xfffffffffffffull) < s->share * 0x1p52;
}

static bool copy(kept_slate *k, const char *id, const char *agent, const char *person, const char *body,
                 size_t body_len) {
    size_t i = strlen(id) + 1, g = strlen(agent) + 1, p = strlen(person) + 1;
    if (!(k->id = malloc(i + g + p + body_len))) return false;
    k->agent = memcpy(k->id + i, agent, g);
    k->user = memcpy(k->agent + g, person, p);
    k->body = memcpy(k->user + p, body, body_len);
    memcpy(k->id, id, i);
    k->body_len = body_len;
    return true;
}

void slate_log_offer(slate_log *s, const char *id, const char *agent, const char *person, int64_t at,
                     const judge_log *shown) {
    if (!s || !shown || s->share <= 0 || (!shown->experiment[0] && !in_sample(s, id))) return;
    kept_slate k = {.at = at, .places = (uint32_t)shown->place_count};
    for (size_t i = 0; i < shown->place_count; i++) k.explored += shown->places[i].explored && !shown->places[i].forced;
    bool taken = false;
    buf body;
    buf_init(&body, RECORD_DOCUMENT_BYTES_MAX);
    if (judge_log_print(shown, &body) && copy(&k, id, agent, person, body.data, body.len)) {
        pthread_mutex_lock(&s->lock);
        taken = s->count < s->room;
        if (taken) s->ring[(s->first + s->count++) % s->room] = k;
        if (taken && (s->count == 1 || s->count == BATCH)) pthread_cond_signal(&s->wake);
        metric_set(s->waiting, (double)s->count);
        pthread_mutex_unlock(&s->lock);
        if (!taken) free(k.id);
    }
    buf_free(&body);
    if (!taken) metric_add(s->dropped, 1);
}

/* ---- the writer ---- */
static void write_batch(slate_log *s, const kept_slate *batch, size_t n) {
    record_slate rows[BATCH];
    record_change changes[BATCH];
    braid_error err = {0};
    size_t refused = 0;
    for (size_t i = 0; i < n; i++) {
        const kept_slate *k = &batch[i];
        rows[i] = (record_slate){.id = k->id,
                                 .agent = k->agent,
                                 .user = k->user,
                                 .at = k->at,
                                 .body = k->body,
                                 .body_len = k->body_len,
                                 .places = k->places,
                                 .explored = k->explored};
        changes[i] = (record_change){.kind = RECORD_SLATE, .slate = &rows[i]};
    }
    int rc = record_write(s->record, changes, n, (record_write_flags){.background = true}, &err);
    for (size_t i = 0; i < n; i++) refused += rc != BRAID_OK || changes[i].code != BRAID_OK;
    metric_add(s->logged, n - refused);
    metric_add(s->failed, refused);
    if (rc != BRAID_OK && !s->complaint)
        log_write(s->log, LOG_WARN, err.store, "slates are not logged: %s", err.message);
    s->complaint = rc != BRAID_OK; /* once, until it goes again */
}

static void await_work(slate_log *s) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PAUSE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (!s->closing && !s->waiters && s->count < BATCH && pthread_cond_timedwait(&s->wake, &s->lock, &until) == 0) {}
}

static void *writer_main(void *ctx) {
    slate_log *s = ctx;
    pthread_mutex_lock(&s->lock);
    while (!s->closing || s->count > 0) {
        kept_slate batch[BATCH];
        if (s->count == 0 && s->waiters == 0 && !s->closing) pthread_cond_wait(&s->wake, &s->lock);
        if (s->count < BATCH) await_work(s);
        size_t n = s->count < BATCH ? s->count : BATCH;
        for (size_t i = 0; i < n; i++) batch[i] = s->ring[(s->first + i) % s->room];
        pthread_mutex_unlock(&s->lock);
        if (n > 0) write_batch(s, batch, n);
        for (size_t i = 0; i < n; i++) free(batch[i].id);
        pthread_mutex_lock(&s->lock);
        s->first = (s->first + n) % s->room;
        s->count -= n;
        metric_set(s->waiting, (double)s->count);
        if (s->count == 0) pthread_cond_broadcast(&s->done);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void slate_log_wait(slate_log *s) {
    if (!s || !s->runs) return;
    pthread_mutex_lock(&s->lock);
    s->waiters++;
    pthread_cond_signal(&s->wake);
    while (s->count > 0) pthread_cond_wait(&s->done, &s->lock);
    s->waiters--;
    pthread_mutex_unlock(&s->lock);
}

int slate_log_open(record_store *record, double share, size_t room, metrics *m, const logger *log, slate_log **out,
                   braid_error *err) {
    slate_log *s = *out = calloc(1, sizeof *s);
    pthread_condattr_t monotonic;
    if (!s) return error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for the log of slates");
    *s = (slate_log){.record = record, .log = log, .share = share, .room = room};
    s->logged = metrics_counter(m, "slates_logged_total", "", "Answers whose places were kept for judging.");
    s->dropped =
        metrics_counter(m, "slates_dropped_total", "reason=\"full\"", "Answers that were not kept for judging.");
    s->failed =
        metrics_counter(m, "slates_dropped_total", "reason=\"store\"", "Answers that were not kept for judging.");
    s->waiting = metrics_gauge(m, "slates_waiting", "", "Answers that wait to be kept for judging.");
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_cond_init(&s->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->ring = calloc(room, sizeof *s->ring);
    if (!s->ring) return error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for the log of slates");
    s->runs = pthread_create(&s->writer, NULL, writer_main, s) == 0;
    return s->runs ? BRAID_OK
                   : error_set(err, BRAID_E_NO_MEMORY, "engine", "the thread that logs slates could not be started");
}

void slate_log_close(slate_log *s) {
    if (!s) return;
    if (s->runs) {
        pthread_mutex_lock(&s->lock);
        s->closing = true;
        pthread_cond_broadcast(&s->wake);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->writer, NULL);
    }
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->done);
    pthread_mutex_destroy(&s->lock);
    free(s->ring);
    free(s);
}
