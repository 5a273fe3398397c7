/* libmicrohttpd's time-out counts inactivity, so a client that sends one byte a second holds a connection for ever.
 * Here every connection has a point in time by which its request must be complete, or its answer taken; who misses it
 * is cut off by shutdown(2) from this thread, whereupon libmicrohttpd sees the end of the stream and closes.
 *
 * shutdown must never hit another connection that got the same number after a close. Hence the one rule: a descriptor
 * is touched only while it is registered and under the lock, and it is deregistered (same lock) before it is closed.
 *
 * A client is not to blame when the server is behind: while it has bytes of the client's to read, or has sent nothing
 * that the client did not take, the cut is put off, and it needs two looks in a row that find otherwise. Rejected: a
 * timer wheel (a walk over 1,000 connections every half second costs microseconds). */
#include "server/reaper.h"

#include <linux/sockios.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum { WAIT_MAX_US = 500 * 1000, SECOND_LOOK_US = 50 * 1000, BEHIND_US = 100 * 1000 };

struct reaper_connection {
    reaper_connection *next, **at; /* *at points to this one */
    int fd;
    bool busy, suspect, answering;
    int64_t deadline_us;
};

struct reaper {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    reaper_connection *first;
    int64_t allowed_us;
    bool stopping;
};

int64_t reaper_now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Whether it is the server's turn: unread bytes wait here, or the client has taken all that was sent so far. */
static bool server_is_behind(const reaper_connection *c) {
    int bytes = 0;
    if (c->answering) return ioctl(c->fd, SIOCOUTQ, &bytes) == 0 && bytes == 0;
    return ioctl(c->fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* Past its deadline: cut it off, or look again a little later. */
static void judge(reaper_connection *c, int64_t now) {
    if (server_is_behind(c)) {
        c->suspect = false;
        c->deadline_us = now + BEHIND_US;
    } else if (!c->suspect) {
        c->suspect = true;
        c->deadline_us = now + SECOND_LOOK_US;
    } else {
        c->deadline_us = 0;
        shutdown(c->fd, SHUT_RDWR);
    }
}

/* Judges who is late; returns when to look again. */
static int64_t look(reaper *r) {
    int64_t now = reaper_now_us(), next = now + WAIT_MAX_US;
    for (reaper_connection *c = r->first; c; c = c->next) {
        if (c->deadline_us != 0 && c->deadline_us <= now) judge(c, now);
        if (c->deadline_us != 0 && c->deadline_us < next) next = c->deadline_us;
    }
    return next;
}

static void *run(void *arg) {
    reaper *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        if (!r->first) {
            pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        int64_t at = look(r);
        struct timespec until = {.tv_sec = at / 1000000, .tv_nsec = at % 1000000 * 1000};
        pthread_cond_timedwait(&r->changed, &r->lock, &until);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

reaper *reaper_start(int64_t allowed_us) {
    reaper *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->allowed_us = allowed_us;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&r->thread, NULL, run, r) == 0) return r;
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

void reaper_stop(reaper *r) {
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

reaper_connection *reaper_add(reaper *r, int fd) {
    reaper_connection *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->fd = fd;
    c->deadline_us = reaper_now_us() + r->allowed_us;
    pthread_mutex_lock(&r->lock);
    bool was_empty = r->first == NULL;
    c->next = r->first;
    c->at = &r->first;
    if (c->next) c->next->at = &c->next;
    r->first = c;
    if (was_empty) pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return c;
}

void reaper_remove(reaper *r, reaper_connection *c) {
    pthread_mutex_lock(&r->lock);
    *c->at = c->next;
    if (c->next) c->next->at = c->at;
    pthread_mutex_unlock(&r->lock);
    free(c);
}

static void set(reaper *r, reaper_connection *c, int64_t at_us, bool answering) {
    pthread_mutex_lock(&r->lock);
    c->deadline_us = at_us;
    c->answering = answering;
    c->suspect = false;
    pthread_mutex_unlock(&r->lock);
}

void reaper_set(reaper *r, reaper_connection *c, int64_t at_us) {
    set(r, c, at_us, false);
}

void reaper_set_answering(reaper *r, reaper_connection *c, int64_t at_us) {
    set(r, c, at_us, true);
}

int64_t reaper_deadline(reaper *r, reaper_connection *c) {
    pthread_mutex_lock(&r->lock);
    int64_t at = c->deadline_us;
    pthread_mutex_unlock(&r->lock);
    return at;
}

void reaper_busy(reaper *r, reaper_connection *c, bool busy) {
    pthread_mutex_lock(&r->lock);
    c->busy = busy;
    pthread_mutex_unlock(&r->lock);
}

int reaper_shutdown(reaper *r, bool all) {
    int busy = 0;
    pthread_mutex_lock(&r->lock);
    for (reaper_connection *c = r->first; c; c = c->next) {
        busy += c->busy;
        if (all || !c->busy) shutdown(c->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&r->lock);
    return busy;
}
