/* The posteriors of one answer, loaded beside the other strands.
 *
 * Five rows are read in one round trip. With a local record store that costs less than handing a job to a worker;
 * with a remote one it is a call as long as the others, so the plan starts it first and takes it last. The job owns
 * its arena, since the run's is the caller's alone. It carries the deadline, so waiting for one that has begun is
 * bounded. */
#include <string.h>

#include "query/run.h"

enum { POLICY_ARENA_BYTES = 4096 };

struct policy_load {
    pool_job job; /* first: the pool hands this back */
    const query_rooms *rooms;
    const query_request *rq;
    const policy_state *state;
    uint64_t seed;
    deadline until;
    arena *a;
    policy_scorer *scorer;
    int rc;
    bool on_worker, done;
};

static void policy_load_run(pool_job *job) {
    struct policy_load *l = (struct policy_load *)job;
    int64_t begun = clock_mono_ns(l->rooms->clock);
    braid_error missing = {0};
    l->rc = policy_scorer_new(l->rooms->policies, l->rooms->catalogue, l->rq->agent, l->rq->user, l->state, l->seed,
                              l->until, l->a, &l->scorer, &missing);
    double us = (double)(clock_mono_ns(l->rooms->clock) - begun) / 1000.0;
    metric_observe_us(metrics_histogram(l->rooms->metrics, "policy_load_duration_seconds", "",
                                        "Time to load the posteriors of one answer."),
                      us);
}

bool policy_load_begin(query_run_state *q, bool on_worker) {
    struct policy_load *l = arena_calloc(q->a, 1, sizeof *l);
    arena *a = l ? arena_new(POLICY_ARENA_BYTES) : NULL;
    if (!a) return false;
    *l = (struct policy_load){.job.run = policy_load_run,
                              .rooms = q->rooms,
                              .rq = q->rq,
                              .state = &q->state,
                              .seed = q->seed,
                              .until = q->gather_until,
                              .a = a};
    l->on_worker = on_worker && pool_submit(q->rooms->pool, &l->job, POOL_SLOW);
    q->policy_load = l;
    return true;
}

policy_scorer *policy_load_take(query_run_state *q, int *rc) {
    struct policy_load *l = q->policy_load;
    if (!l) {
        *rc = BRAID_E_NO_MEMORY;
        return NULL;
    }
    if (!l->on_worker)
        policy_load_run(&l->job);
    else if (!pool_wait(q->rooms->pool, &l->job, l->until) && pool_cancel(q->rooms->pool, &l->job))
        l->rc = BRAID_E_DEADLINE;
    else
        pool_wait(q->rooms->pool, &l->job, 0);
    l->done = true;
    *rc = l->rc;
    return l->rc == BRAID_OK ? l->scorer : NULL;
}

void policy_load_release(query_run_state *q) {
    struct policy_load *l = q->policy_load;
    if (!l) return;
    /* A run that failed on its way here may have left the job on a worker. */
    if (l->on_worker && !l->done && !pool_cancel(q->rooms->pool, &l->job)) pool_wait(q->rooms->pool, &l->job, 0);
    arena_free(l->a);
    q->policy_load = NULL;
}
