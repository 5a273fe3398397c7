/* Interactions that are acknowledged before they are durable, for who asks for it (ack "queued"): players that beat by
 * the second, where one heartbeat more or less is nothing and a sync each is a lot.
 *
 * A call checks each interaction as ever and leaves its canonical text here. A thread writes what has come, 100
 * interactions or 100 ms after the first of them, as any caller would: one durable group. What a crash takes is what
 * waits, and the gauge interactions_waiting says at any moment how much that is. A store that cannot be written is
 * tried again until there is no room left; then callers get BUSY, as they would get it from the store. Each interaction
 * gets a key of its own when it has none, so that a group whose outcome is not known can be sent again. What the store
 * refuses after all (the item was removed meanwhile) is counted and logged: nobody waits for it any more.
 *
 * Rejected: to queue inside the record store. It would be the same thread and the same room, once for each store. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/write_queue.h"

enum { GATHER_MS = 100, GATHER = 100, AGAIN_MS = 1000 };

struct write_queue {
    braid_db *db;
    const logger *log;
    size_t room;
    uint64_t stamp; /* of this process, in the keys that it gives */
    metric_counter *queued, *refused, *lost, *waiting;
    pthread_mutex_t lock;
    pthread_cond_t wake, done; /* monotonic */
    pthread_t writer;
    buf lines; /* under lock, from here on */
    size_t gathered, in_hand;
    uint64_t number;
    unsigned waiters;
    bool runs, closing;
};

static void pause_ms(write_queue *q, unsigned ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (!q->closing && (q->waiters == 0 || ms == AGAIN_MS) && (q->gathered < GATHER || ms == AGAIN_MS) &&
           pthread_cond_timedwait(&q->wake, &q->lock, &until) == 0) {}
}

/* True when the store has answered for each of them. */
static bool write_lines(write_queue *q, const buf *lines) {
    braid_report *report = NULL;
    braid_error err = {0};
    int rc = braid_write(q->db, lines->data, lines->len, &(braid_write_options){.bare = BRAID_LINE_INTERACTION},
                         &report, &err);
    if (rc != BRAID_OK) {
        log_write(q->log, LOG_WARN, err.store, "queued interactions wait: %s", err.message);
        return false;
    }
    size_t refused = braid_report_rejected(report);
    braid_rejection first;
    metric_add(q->refused, refused);
    if (braid_report_rejection(report, 0, &first) == BRAID_OK)
        log_write(q->log, LOG_WARN, "engine/write", "%zu queued interactions were refused, the first: %s", refused,
                  first.message);
    braid_report_free(report);
    return true;
}

static void *writer_main(void *ctx) {
    write_queue *q = ctx;
    pthread_mutex_lock(&q->lock);
    while (!q->closing || q->gathered > 0) {
        if (q->gathered == 0) {
            pthread_cond_wait(&q->wake, &q->lock);
            continue;
        }
        pause_ms(q, GATHER_MS);
        buf lines = q->lines;
        q->in_hand = q->gathered;
        q->gathered = 0;
        buf_init(&q->lines, 0);
        pthread_mutex_unlock(&q->lock);
        bool written = write_lines(q, &lines);
        pthread_mutex_lock(&q->lock);
        while (!written && !q->closing) {
            pause_ms(q, AGAIN_MS);
            pthread_mutex_unlock(&q->lock);
            written = write_lines(q, &lines);
            pthread_mutex_lock(&q->lock);
        }
        if (!written) metric_add(q->lost, q->in_hand);
        q->in_hand = 0;
        metric_set(q->waiting, (double)q->gathered);
        buf_free(&lines);
        pthread_cond_broadcast(&q->done);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* The interaction's line, with a key. The lock is held. */
static int add_line(write_queue *q, const interaction *in, braid_error *err) {
    interaction copy = *in;
    char key[48];
    size_t len = q->lines.len;
    snprintf(key, sizeof key, "queued-%016llx-%llu", (unsigned long long)q->stamp, (unsigned long long)q->number++);
    if (!copy.idempotency_key[0]) copy.idempotency_key = key;
    if (interaction_to_json(&copy, &q->lines) && buf_putc(&q->lines, '\n')) return BRAID_OK;
    q->lines.len = len;
    return error_set(err, BRAID_E_NO_MEMORY, "engine/write", "no memory to queue an interaction");
}

int write_queue_push(write_queue *q, const interaction *in, braid_error *err) {
    pthread_mutex_lock(&q->lock);
    int rc = BRAID_OK;
    /* whom nobody asks for needs no thread */
    if (!q->runs) q->runs = pthread_create(&q->writer, NULL, writer_main, q) == 0;
    if (!q->runs)
        rc = error_set(err, BRAID_E_NO_MEMORY, "engine/write",
                       "the thread that writes queued interactions could not be started");
    else if (q->gathered + q->in_hand >= q->room)
        rc = error_set(err, BRAID_E_BUSY, "engine/write", "%zu queued interactions wait to be written; try again later",
                       q->room);
    else
        rc = add_line(q, in, err);
    if (rc == BRAID_OK) {
        q->gathered++;
        metric_add(q->queued, 1);
        metric_set(q->waiting, (double)(q->gathered + q->in_hand));
        if (q->gathered == 1 || q->gathered == GATHER) pthread_cond_signal(&q->wake);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

void write_queue_wait(write_queue *q) {
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->waiters++;
    pthread_cond_signal(&q->wake);
    while (q->gathered + q->in_hand > 0) pthread_cond_wait(&q->done, &q->lock);
    q->waiters--;
    pthread_mutex_unlock(&q->lock);
}

int write_queue_open(braid_db *db, size_t room, metrics *m, const logger *log, write_queue **out, braid_error *err) {
    write_queue *q = *out = calloc(1, sizeof *q);
    pthread_condattr_t monotonic;
    if (!q) return error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for the queue of interactions");
    *q = (write_queue){.db = db, .log = log, .room = room};
    if (getrandom(&q->stamp, sizeof q->stamp, 0) != (ssize_t)sizeof q->stamp)
        q->stamp = (uint64_t)clock_wall_ms(&clock_system);
    q->queued = metrics_counter(m, "interactions_queued_total", "",
                                "Interactions that were acknowledged before they were durable.");
    q->refused = metrics_counter(m, "interactions_queued_refused_total", "",
                                 "Of these: refused by the record store afterwards.");
    q->lost =
        metrics_counter(m, "interactions_queued_lost_total", "", "Of these: could not be written before closing.");
    q->waiting =
        metrics_gauge(m, "interactions_waiting", "", "Acknowledged and not yet durable: what a crash would take now.");
    buf_init(&q->lines, 0);
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&q->wake, &monotonic);
    pthread_cond_init(&q->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return BRAID_OK;
}

void write_queue_close(write_queue *q) {
    if (!q) return;
    if (q->runs) {
        pthread_mutex_lock(&q->lock);
        q->closing = true;
        pthread_cond_broadcast(&q->wake);
        pthread_mutex_unlock(&q->lock);
        pthread_join(q->writer, NULL);
    }
    pthread_cond_destroy(&q->wake);
    pthread_cond_destroy(&q->done);
    pthread_mutex_destroy(&q->lock);
    buf_free(&q->lines);
    free(q);
}
