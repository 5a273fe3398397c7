/* base: pool. Jobs are held at a gate where an order of events matters; no test relies on sleeping long enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/base.h"

/* A door that jobs wait at, with a count of those who wait. */
typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool open;
    int waiting, waiting_max;
} gate;

static void gate_init(gate *g) {
    *g = (gate){0};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->change, NULL);
}

static void gate_pass(gate *g) {
    pthread_mutex_lock(&g->lock);
    g->waiting++;
    if (g->waiting > g->waiting_max) g->waiting_max = g->waiting;
    pthread_cond_broadcast(&g->change);
    while (!g->open) pthread_cond_wait(&g->change, &g->lock);
    g->waiting--;
    pthread_mutex_unlock(&g->lock);
}

static void gate_await(gate *g, int waiting) {
    pthread_mutex_lock(&g->lock);
    while (g->waiting < waiting) pthread_cond_wait(&g->change, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void gate_open(gate *g) {
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->change);
    pthread_mutex_unlock(&g->lock);
}

static void gate_destroy(gate *g) {
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->change);
}

typedef struct test_job {
    pool_job job;
    gate *gate;
    int ran; /* not atomic: the pool itself must order the write before the waiter's read */
} test_job;

static void run(pool_job *job) {
    test_job *t = (test_job *)job;
    if (t->gate != NULL) gate_pass(t->gate);
    t->ran++;
}

static test_job job_at(gate *g) {
    return (test_job){.job = {.run = run}, .gate = g};
}

static void every_job_runs_once(void **state) {
    (void)state;
    pool *p = pool_new(4, 1000, &clock_system);
    assert_non_null(p);
    static test_job jobs[1000];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1000; i++) {
            jobs[i] = job_at(NULL);
            assert_true(pool_submit(p, &jobs[i].job, i % 3 ? POOL_FAST : POOL_SLOW));
        }
        for (int i = 0; i < 1000; i++) {
            assert_true(pool_wait(p, &jobs[i].job, 0));
            assert_int_equal(jobs[i].ran, 1);
        }
    }
    pool_free(p);
    pool_free(NULL);
}

static void a_done_job_may_be_submitted_again(void **state) {
    (void)state;
    pool *p = pool_new(2, 4, &clock_system);
    test_job t = job_at(NULL);
    for (int i = 1; i <= 50; i++) {
        assert_true(pool_submit(p, &t.job, POOL_FAST));
        assert_true(pool_wait(p, &t.job, 0));
        assert_int_equal(t.ran, i);
    }
    pool_free(p);
}

static void a_stalled_slow_lane_does_not_starve_the_fast_one(void **state) {
    (void)state;
    gate g;
    gate_init(&g);
    pool *p = pool_new(4, 100, &clock_system);
    static test_job slow[20], fast[50];
    for (int i = 0; i < 20; i++) {
        slow[i] = job_at(&g);
        assert_true(pool_submit(p, &slow[i].job, POOL_SLOW));
    }
    gate_await(&g, 2); /* half of the workers are stuck now */
    for (int i = 0; i < 50; i++) {
        fast[i] = job_at(NULL);
        assert_true(pool_submit(p, &fast[i].job, POOL_FAST));
    }
    for (int i = 0; i < 50; i++) assert_true(pool_wait(p, &fast[i].job, 0));
    assert_false(pool_wait(p, &slow[19].job, clock_mono_ns(&clock_system) + 1000000));
    gate_open(&g);
    for (int i = 0; i < 20; i++) assert_true(pool_wait(p, &slow[i].job, 0));
    assert_int_equal(g.waiting_max, 2); /* never more than half */
    pool_free(p);
    gate_destroy(&g);
}

static void one_worker_is_made_two(void **state) {
    (void)state;
    gate g;
    gate_init(&g);
    pool *p = pool_new(0, 10, &clock_system);
    test_job slow = job_at(&g), fast = job_at(NULL);
    assert_true(pool_submit(p, &slow.job, POOL_SLOW));
    gate_await(&g, 1);
    assert_true(pool_submit(p, &fast.job, POOL_FAST));
    assert_true(pool_wait(p, &fast.job, 0));
    gate_open(&g);
    assert_true(pool_wait(p, &slow.job, 0));
    pool_free(p);
    gate_destroy(&g);
}

static void a_full_queue_refuses_at_once(void **state) {
    (void)state;
    gate g;
    gate_init(&g);
    pool *p = pool_new(2, 3, &clock_system);
    test_job held[2] = {job_at(&g), job_at(&g)}, queued[3], extra = job_at(NULL), slow = job_at(NULL);
    for (int i = 0; i < 2; i++) assert_true(pool_submit(p, &held[i].job, POOL_FAST));
    gate_await(&g, 2);
    for (int i = 0; i < 3; i++) {
        queued[i] = job_at(NULL);
        assert_true(pool_submit(p, &queued[i].job, POOL_FAST));
    }
    assert_false(pool_submit(p, &extra.job, POOL_FAST));
    assert_true(pool_submit(p, &slow.job, POOL_SLOW)); /* the lanes have a bound each */
    gate_open(&g);
    for (int i = 0; i < 3; i++) assert_true(pool_wait(p, &queued[i].job, 0));
    assert_int_equal(extra.ran, 0);
    assert_true(pool_submit(p, &extra.job, POOL_FAST));
    assert_true(pool_wait(p, &extra.job, 0));
    assert_true(pool_wait(p, &slow.job, 0));
    pool_free(p);
    gate_destroy(&g);
}

static void a_job_that_has_not_started_can_be_taken_back(void **state) {
    (void)state;
    for (int victim = 0; victim < 3; victim++) { /* first, middle and last of the queue */
        gate g;
        gate_init(&g);
        pool *p = pool_new(2, 10, &clock_system);
        test_job held[2] = {job_at(&g), job_at(&g)}, queued[3];
        for (int i = 0; i < 2; i++) assert_true(pool_submit(p, &held[i].job, POOL_FAST));
        gate_await(&g, 2);
        for (int i = 0; i < 3; i++) {
            queued[i] = job_at(NULL);
            assert_true(pool_submit(p, &queued[i].job, POOL_FAST));
        }
        assert_true(pool_cancel(p, &queued[victim].job));
        assert_false(pool_cancel(p, &queued[victim].job)); /* it is no longer there */
        assert_false(pool_cancel(p, &held[0].job));        /* it runs */
        test_job late = job_at(NULL);
        assert_true(pool_submit(p, &late.job, POOL_FAST)); /* the queue is whole */
        gate_open(&g);
        for (int i = 0; i < 3; i++)
            if (i != victim) assert_true(pool_wait(p, &queued[i].job, 0));
        assert_true(pool_wait(p, &late.job, 0));
        assert_true(pool_wait(p, &held[0].job, 0));
        assert_false(pool_cancel(p, &held[0].job)); /* it has run */
        pool_free(p);
        assert_int_equal(queued[victim].ran, 0);
        gate_destroy(&g);
    }
}

static void waiting_ends_at_the_deadline(void **state) {
    (void)state;
    gate g;
    gate_init(&g);
    pool *p = pool_new(2, 10, &clock_system);
    test_job t = job_at(&g);
    assert_true(pool_submit(p, &t.job, POOL_FAST));
    int64_t start = clock_mono_ns(&clock_system), until = start + 20000000;
    assert_false(pool_wait(p, &t.job, until));
    int64_t end = clock_mono_ns(&clock_system);
    assert_true(end >= until);
    assert_true(end < until + INT64_C(2000000000)); /* generous: the machine may be busy */
    assert_false(pool_wait(p, &t.job, 1));          /* long past */
    gate_open(&g);
    assert_true(pool_wait(p, &t.job, 0));
    assert_true(pool_wait(p, &t.job, 1)); /* done is done, whatever the time */
    pool_free(p);
    gate_destroy(&g);
}

static int64_t test_now(void *ctx) {
    return atomic_load((_Atomic int64_t *)ctx);
}

static void *wait_in_a_thread(void *arg) {
    void **both = arg;
    return pool_wait(both[0], both[1], INT64_MAX - 10) ? both : NULL; /* in 300 years, by the system's clock */
}

static void deadlines_run_on_the_clock_that_is_passed(void **state) {
    (void)state;
    _Atomic int64_t now = INT64_MAX - 1000;
    clock_ops c = {.mono_ns = test_now, .wall_ms = test_now, .ctx = &now};
    gate g;
    gate_init(&g);
    pool *p = pool_new(2, 10, &c);
    test_job t = job_at(&g);
    assert_true(pool_submit(p, &t.job, POOL_FAST));
    pthread_t waiter;
    void *both[2] = {p, &t.job}, *done = both;
    assert_int_equal(pthread_create(&waiter, NULL, wait_in_a_thread, both), 0);
    struct timespec brief = {.tv_nsec = 10000000};
    nanosleep(&brief, NULL);
    atomic_store(&now, INT64_MAX - 10); /* only this ends the wait */
    pthread_join(waiter, &done);
    assert_null(done);
    gate_open(&g);
    assert_true(pool_wait(p, &t.job, 0));
    pool_free(p);
    gate_destroy(&g);
}

static void freeing_runs_what_is_queued(void **state) {
    (void)state;
    static test_job jobs[200];
    for (int round = 0; round < 20; round++) {
        pool *p = pool_new(3, 200, &clock_system);
        for (int i = 0; i < 200; i++) {
            jobs[i] = job_at(NULL);
            assert_true(pool_submit(p, &jobs[i].job, i % 2 ? POOL_SLOW : POOL_FAST));
        }
        pool_free(p);
        for (int i = 0; i < 200; i++) assert_int_equal(jobs[i].ran, 1);
    }
}

static _Atomic int signal_blocked;

static void look_at_signals(pool_job *job) {
    (void)job;
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    atomic_store(&signal_blocked, sigismember(&set, SIGINT) && sigismember(&set, SIGTERM));
}

static void workers_leave_signals_to_the_program(void **state) {
    (void)state;
    pool *p = pool_new(2, 10, &clock_system);
    pool_job job = {.run = look_at_signals};
    assert_true(pool_submit(p, &job, POOL_FAST));
    assert_true(pool_wait(p, &job, 0));
    assert_int_equal(atomic_load(&signal_blocked), 1);
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    assert_false(sigismember(&set, SIGINT)); /* and the caller's mask is as it was */
    pool_free(p);
}

/* Many submitters, each with jobs on its own stack that it frees as soon as the pool says so. */
enum { SUBMITTERS = 4, ROUNDS = 500, BATCH = 8 };

typedef struct submitter {
    pool *pool;
    uint64_t seed;
    long ran, cancelled, refused;
} submitter;

static void submit_round(submitter *s, rng *r) {
    test_job *jobs = calloc(BATCH, sizeof *jobs);
    bool taken[BATCH];
    for (int i = 0; i < BATCH; i++) {
        jobs[i] = job_at(NULL);
        taken[i] = pool_submit(s->pool, &jobs[i].job, rng_below(r, 2) ? POOL_FAST : POOL_SLOW);
        s->refused += !taken[i];
    }
    for (int i = BATCH - 1; i >= 0; i--) {
        if (!taken[i]) continue;
        deadline until = rng_below(r, 2) ? 0 : clock_mono_ns(&clock_system) + (int64_t)rng_below(r, 20000);
        bool done = pool_wait(s->pool, &jobs[i].job, until);
        if (!done && pool_cancel(s->pool, &jobs[i].job)) {
            s->cancelled++;
            continue;
        }
        if (!done) pool_wait(s->pool, &jobs[i].job, 0);
        s->ran += jobs[i].ran;
    }
    free(jobs);
}

static void *submit_from_a_thread(void *arg) {
    submitter *s = arg;
    rng r;
    rng_seed(&r, s->seed);
    for (int i = 0; i < ROUNDS; i++) submit_round(s, &r);
    return NULL;
}

static void submitting_waiting_and_cancelling_race_safely(void **state) {
    (void)state;
    pool *p = pool_new(3, 6, &clock_system); /* a small queue, so that refusing is part of it */
    pthread_t threads[SUBMITTERS];
    submitter s[SUBMITTERS];
    for (int i = 0; i < SUBMITTERS; i++) {
        s[i] = (submitter){.pool = p, .seed = (uint64_t)i};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_from_a_thread, &s[i]), 0);
    }
    long total = 0, refused = 0;
    for (int i = 0; i < SUBMITTERS; i++) {
        pthread_join(threads[i], NULL);
        total += s[i].ran + s[i].cancelled + s[i].refused;
        refused += s[i].refused;
    }
    assert_int_equal(total, (long)SUBMITTERS * ROUNDS * BATCH);
    assert_true(refused < total);
    pool_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_job_runs_once),
        cmocka_unit_test(a_done_job_may_be_submitted_again),
        cmocka_unit_test(a_stalled_slow_lane_does_not_starve_the_fast_one),
        cmocka_unit_test(one_worker_is_made_two),
        cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(a_job_that_has_not_started_can_be_taken_back),
        cmocka_unit_test(waiting_ends_at_the_deadline),
        cmocka_unit_test(deadlines_run_on_the_clock_that_is_passed),
        cmocka_unit_test(freeing_runs_what_is_queued),
        cmocka_unit_test(workers_leave_signals_to_the_program),
        cmocka_unit_test(submitting_waiting_and_cancelling_race_safely),
    };
    return cmocka_run_group_tests_name("base_pool", tests, NULL, NULL);
}
