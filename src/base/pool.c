/* The worker pool.
 *
 * Two queues of intrusive links under one mutex. A worker takes from the lanes in turn when both have work, so
 * that neither starves the other; a slow job is only taken while fewer than half of the workers run slow ones.
 * After taking a job a worker wakes another one if there is more to take: a job that became takeable because a
 * slow one ended is then never left lying.
 *
 * Waiters sleep on one of POOL_STRIPES condition variables chosen by the job's address: waking costs a
 * broadcast on one stripe instead of waking everyone, and a job needs no condition variable of its own. Waiting
 * uses CLOCK_MONOTONIC; with a test's clock, which no condition variable follows, the wait is cut into short
 * naps.
 *
 * After a job is marked done under the mutex its memory is not touched again: the submitter may free it at
 * once.
 *
 * Rejected: lock-free queues (a job runs 100 us and more, the mutex is held for 100 ns), work stealing, a
 * thread a request. */
#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "error.h"

enum {
    POOL_WORKERS_MIN = 2, /* with one, "at most half" would be none */
    POOL_WORKERS_MAX = 1024,
    POOL_STRIPES = 16,
    POOL_NAP_NS = 2000000 /* between looks at a test's clock */
};

enum { POOL_JOB_IDLE, POOL_JOB_QUEUED, POOL_JOB_RUNNING, POOL_JOB_DONE };

typedef struct pool_queue {
    pool_job *first, *last;
    size_t count;
} pool_queue;

struct pool {
    pthread_mutex_t lock; /* guards all below and the state of every job */
    pthread_cond_t work;
    pthread_cond_t done[POOL_STRIPES];
    pool_queue queues[2]; /* by pool_lane */
    size_t queue_max;     /* of each */
    unsigned slow_running, slow_max;
    pool_lane turn; /* which lane goes first when both have work */
    bool stopping;
    const clock_ops *clock;
    unsigned workers;
    pthread_t threads[];
};

static void pool_push(pool_queue *q, pool_job *job) {
    job->next = NULL;
    if (q->last != NULL)
        q->last->next = job;
    else
        q->first = job;
    q->last = job;
    q->count++;
}

static pool_job *pool_pop(pool_queue *q) {
    pool_job *job = q->first;
    q->first = job->next;
    if (q->first == NULL) q->last = NULL;
    q->count--;
    return job;
}

/* Takes `job` out of the middle; it must be there. Linear, but queues are short and cancelling is rare. */
static void pool_unlink(pool_queue *q, pool_job *job) {
    pool_job *before = NULL, *at = q->first;
    while (at != job) {
        before = at;
        at = at->next;
    }
    if (before != NULL)
        before->next = job->next;
    else
        q->first = job->next;
    if (q->last == job) q->last = before;
    q->count--;
}

static bool pool_takeable(const pool *p, pool_lane lane) {
    return p->queues[lane].first != NULL && (lane == POOL_FAST || p->slow_running < p->slow_max);
}

/* The next job that may run now, or NULL. */
static pool_job *pool_take(pool *p) {
    pool_lane lane = p->turn, other = lane == POOL_FAST ? POOL_SLOW : POOL_FAST;
    if (!pool_takeable(p, lane)) lane = other;
    if (!pool_takeable(p, lane)) return NULL;
    p->turn = lane == POOL_FAST ? POOL_SLOW : POOL_FAST;
    pool_job *job = pool_pop(&p->queues[lane]);
    job->state = POOL_JOB_RUNNING;
    p->slow_running += lane == POOL_SLOW;
    if (pool_takeable(p, POOL_FAST) || pool_takeable(p, POOL_SLOW)) pthread_cond_signal(&p->work);
    return job;
}

static pthread_cond_t *pool_stripe(pool *p, const pool_job *job) {
    uintptr_t address = (uintptr_t)job;
    return &p->done[(address >> 6 ^ address >> 12) % POOL_STRIPES];
}

static void *pool_worker(void *arg) {
    pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        pool_job *job = pool_take(p);
        if (job != NULL) {
            pool_lane lane = job->lane;
            pthread_mutex_unlock(&p->lock);
            job->run(job);
            pthread_mutex_lock(&p->lock);
            p->slow_running -= lane == POOL_SLOW;
            job->state = POOL_JOB_DONE;
            pthread_cond_broadcast(pool_stripe(p, job)); /* computes with the address only: the job is no longer ours */
        } else if (p->stopping) {
            break; /* what is left, if anything, belongs to the workers that run slow jobs now */
        } else {
            pthread_cond_wait(&p->work, &p->lock);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Starts the workers with all signals blocked, so that SIGINT and SIGTERM reach the program's own threads. */
static bool pool_start(pool *p, unsigned workers) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->workers < workers && pthread_create(&p->threads[p->workers], NULL, pool_worker, p) == 0) {
        pthread_setname_np(p->threads[p->workers], "braid-worker");
        p->workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return p->workers == workers;
}

pool *pool_new(unsigned workers, size_t queue_max, const clock_ops *clock) {
    unsigned count = workers < POOL_WORKERS_MAX ? workers : POOL_WORKERS_MAX;
    count = count > POOL_WORKERS_MIN ? count : POOL_WORKERS_MIN;
    pool *p = calloc(1, sizeof *p + count * sizeof p->threads[0]);
    if (p == NULL) return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    for (int i = 0; i < POOL_STRIPES; i++) pthread_cond_init(&p->done[i], NULL);
    p->queue_max = queue_max;
    p->slow_max = count / 2;
    p->clock = clock;
    if (!pool_start(p, count)) {
        pool_free(p); /* ends those that did start */
        return NULL;
    }
    return p;
}

void pool_free(pool *p) {
    if (p == NULL) return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->workers; i++) pthread_join(p->threads[i], NULL);
    for (int i = 0; i < POOL_STRIPES; i++) pthread_cond_destroy(&p->done[i]);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

bool pool_submit(pool *p, pool_job *job, pool_lane lane) {
    pthread_mutex_lock(&p->lock);
    BRAID_ASSERT(job->state != POOL_JOB_QUEUED && job->state != POOL_JOB_RUNNING);
    bool taken = !p->stopping && p->queues[lane].count < p->queue_max;
    if (taken) {
        job->lane = lane;
        job->state = POOL_JOB_QUEUED;
        pool_push(&p->queues[lane], job);
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return taken;
}

/* Sleeps on `cond` until it is signalled or the deadline may have passed. */
static void pool_sleep(pool *p, pthread_cond_t *cond, deadline until) {
    if (until == 0) {
        pthread_cond_wait(cond, &p->lock);
        return;
    }
    int64_t at = until;
    if (p->clock->mono_ns != clock_system.mono_ns) at = clock_mono_ns(&clock_system) + POOL_NAP_NS;
    struct timespec t = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
    pthread_cond_clockwait(cond, &p->lock, CLOCK_MONOTONIC, &t);
}

bool pool_wait(pool *p, pool_job *job, deadline until) {
    pthread_mutex_lock(&p->lock);
    BRAID_ASSERT(job->state != POOL_JOB_IDLE); /* never submitted, or cancelled: it would be waited for in vain */
    while (job->state != POOL_JOB_DONE && !deadline_passed(p->clock, until)) pool_sleep(p, pool_stripe(p, job), until);
    bool done = job->state == POOL_JOB_DONE;
    pthread_mutex_unlock(&p->lock);
    return done;
}

bool pool_cancel(pool *p, pool_job *job) {
    pthread_mutex_lock(&p->lock);
    bool queued = job->state == POOL_JOB_QUEUED;
    if (queued) {
        pool_unlink(&p->queues[job->lane], job);
        job->state = POOL_JOB_IDLE;
    }
    pthread_mutex_unlock(&p->lock);
    return queued;
}
