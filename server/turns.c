/* turns: how many requests are answered at once.
 *
 * Every connection has a thread of its own, so that a slow question holds up nobody else's answer; but as many
 * questions at once as there may be connections would share two cores, and each would miss its deadline. So a
 * request waits for its turn before it enters the library, in the order of coming, and is told to come again when
 * there are more than the server gets through. Whoever waits costs a sleeping thread and nothing else. A turn that
 * ends goes to the first who waits: it is never free in between, so that nobody who just came overtakes. */
#include "server/turns.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { TURN_WAIT_S = 2 };

typedef struct waiter {
    struct waiter *next;
    pthread_cond_t called;
    bool mine;
} waiter;

struct turns {
    pthread_mutex_t lock;
    unsigned free;
    waiter *first, **end;
};

turns *turns_new(unsigned at_once) {
    turns *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    pthread_mutex_init(&t->lock, NULL);
    t->free = at_once;
    t->end = &t->first;
    return t;
}

void turns_free(turns *t) {
    if (!t) return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void queue_leave(turns *t, waiter *w) {
    waiter **at = &t->first;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
    if (!*at) t->end = at;
}

/* Under the lock. */
static bool queue_wait(turns *t) {
    waiter w = {.next = NULL};
    struct timespec until;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w.called, &monotonic);
    pthread_condattr_destroy(&monotonic);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TURN_WAIT_S;
    *t->end = &w;
    t->end = &w.next;
    while (!w.mine && pthread_cond_timedwait(&w.called, &t->lock, &until) != ETIMEDOUT) {}
    if (!w.mine) queue_leave(t, &w);
    pthread_cond_destroy(&w.called);
    return w.mine;
}

bool turns_take(turns *t) {
    pthread_mutex_lock(&t->lock);
    bool mine = t->free > 0;
    if (mine)
        t->free--;
    else
        mine = queue_wait(t);
    pthread_mutex_unlock(&t->lock);
    return mine;
}

void turns_give(turns *t) {
    pthread_mutex_lock(&t->lock);
    waiter *w = t->first;
    if (w) {
        queue_leave(t, w);
        w->mine = true;
        pthread_cond_signal(&w->called);
    } else {
        t->free++;
    }
    pthread_mutex_unlock(&t->lock);
}
