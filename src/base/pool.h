/* A bounded pool of worker threads with a fast and a slow lane.
 *
 * Jobs in the slow lane (calls to remote stores) occupy at most half of the workers, so that a stalled server cannot
 * starve local search. A job is owned by its submitter: intrusive links, no allocation per job. Submitting to a full
 * queue fails at once, so overload is shed and not stored.
 *
 * Lock order: the pool's one mutex guards both queues and all job states; it is never held while a job runs. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "clock.h"

typedef struct pool pool;
typedef enum pool_lane { POOL_FAST, POOL_SLOW } pool_lane;

/* Starts as {.run = f}, all else zero; a job that is done may be submitted again. */
typedef struct pool_job {
    void (*run)(struct pool_job *job); /* on a worker */
    struct pool_job *next;             /* the pool's */
    int state;                         /* the pool's; read through pool_wait */
    pool_lane lane;                    /* the pool's */
} pool_job;

/* NULL when threads or memory ran out. At least 2 workers are started (half of one would leave the slow lane none);
 * `queue_max` is the bound of each lane, so that waiting slow jobs never turn fast ones away. Workers have all signals
 * blocked. */
pool *pool_new(unsigned workers, size_t queue_max, const clock_ops *clock);
void pool_free(pool *p); /* runs what is queued, then ends the workers */

/* False when the queue is full: the job was not taken. The job must live until pool_wait said done or pool_cancel
 * true. */
bool pool_submit(pool *p, pool_job *job, pool_lane lane);
/* Waits until the job has run or the deadline passed (0: for ever); true if it has run. */
bool pool_wait(pool *p, pool_job *job, deadline until);
/* Takes a job back that has not started; false if it runs or has run (then it must be waited for). */
bool pool_cancel(pool *p, pool_job *job);

#endif
