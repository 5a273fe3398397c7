/* wire: conn_pool, over connections that are only numbers: who holds which, how many there are, who waits how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/timing.h"
#include "wire/conn_pool.h"

typedef struct fake_server {
    atomic_int opened, closed, attempts, opening, opening_most;
    atomic_bool down;
    atomic_int open_takes_ms;
} fake_server;

typedef struct fake_conn {
    int number;
    atomic_int borrowers;
    atomic_bool good;
} fake_conn;

static int fake_open(void *ctx, deadline until, void **conn, braid_error *err) {
    (void)until;
    fake_server *s = ctx;
    int inside = ++s->opening, most = s->opening_most;
    while (inside > most && !atomic_compare_exchange_weak(&s->opening_most, &most, inside)) {}
    s->attempts++;
    if (s->open_takes_ms > 0) sleep_ms(s->open_takes_ms);
    s->opening--;
    if (s->down) return error_set(err, BRAID_E_UNAVAILABLE, "fake", "the server is down");
    fake_conn *c = calloc(1, sizeof *c);
    c->number = ++s->opened;
    c->good = true;
    *conn = c;
    return BRAID_OK;
}

static void fake_close(void *ctx, void *conn) {
    fake_server *s = ctx;
    s->closed++;
    free(conn);
}

static bool fake_good(void *ctx, void *conn) {
    (void)ctx;
    return ((fake_conn *)conn)->good;
}

static const conn_ops fake_ops = {fake_open, fake_close, fake_good};

static conn_pool *new_pool(fake_server *s, size_t max, const clock_ops *clock, metrics *m) {
    conn_pool_options o = {.name = "fake", .max = max, .idle_ms = 1000, .clock = clock, .metrics = m};
    conn_pool *p;
    assert_int_equal(conn_pool_new(&fake_ops, s, &o, &p, NULL), BRAID_OK);
    return p;
}

static fake_conn *take(conn_pool *p) {
    void *c;
    braid_error err = {0};
    if (conn_pool_take(p, in_ms(LONG_MS), &c, &err) != BRAID_OK) fail_msg("%s", err.message);
    return c;
}

static int64_t test_now = 1;
static int64_t test_mono(void *ctx) {
    (void)ctx;
    return test_now;
}
static const clock_ops test_clock = {test_mono, NULL, NULL};

static void the_last_one_given_back_is_lent_first(void **state) {
    (void)state;
    fake_server s = {0};
    conn_pool *p = new_pool(&s, 4, &clock_system, NULL);
    fake_conn *a = take(p), *b = take(p), *c = take(p);
    conn_pool_give(p, a, true);
    conn_pool_give(p, c, true);
    conn_pool_give(p, b, true);
    assert_ptr_equal(take(p), b);
    assert_ptr_equal(take(p), c);
    assert_ptr_equal(take(p), a);
    assert_int_equal(s.opened, 3);
    conn_pool_give(p, a, true);
    conn_pool_give(p, b, true);
    conn_pool_give(p, c, true);
    conn_pool_give(p, NULL, true);
    conn_pool_free(p);
    conn_pool_free(NULL);
    assert_int_equal(s.closed, 3);
}

static void one_with_an_unfinished_reply_is_closed_and_never_lent_again(void **state) {
    (void)state;
    fake_server s = {0};
    conn_pool *p = new_pool(&s, 1, &clock_system, NULL);
    fake_conn *c = take(p);
    assert_int_equal(c->number, 1);
    conn_pool_give(p, c, false);
    assert_int_equal(s.closed, 1);
    assert_int_equal(conn_pool_open_count(p), 0);
    c = take(p);
    assert_int_equal(c->number, 2);
    conn_pool_give(p, c, true);
    conn_pool_free(p);
    assert_int_equal(s.closed, 2);
}

static void an_idle_one_that_went_bad_is_replaced_unseen(void **state) {
    (void)state;
    fake_server s = {0};
    conn_pool *p = new_pool(&s, 3, &clock_system, NULL);
    fake_conn *a = take(p), *b = take(p);
    conn_pool_give(p, a, true);
    conn_pool_give(p, b, true);
    a->good = b->good = false;
    fake_conn *c = take(p);
    assert_int_equal(c->number, 3);
    assert_int_equal(s.closed, 2);
    assert_int_equal(conn_pool_open_count(p), 1);
    conn_pool_give(p, c, true);
    conn_pool_free(p);
}

static void a_borrower_waits_for_one_to_come_free_but_not_beyond_its_deadline(void **state) {
    (void)state;
    fake_server s = {0};
    conn_pool *p = new_pool(&s, 1, &clock_system, NULL);
    fake_conn *c = take(p);
    void *other;
    braid_error err = {0};
    int64_t begun = now_ns();
    assert_int_equal(conn_pool_take(p, in_ms(50), &other, &err), BRAID_E_DEADLINE);
    assert_in_range(elapsed_ms(begun), 49, SOON_MS);
    assert_null(other);
    assert_string_equal(err.store, "fake");
    assert_int_equal(s.attempts, 1);
    conn_pool_give(p, c, true);
    assert_ptr_equal(take(p), c);
    conn_pool_give(p, c, true);
    conn_pool_free(p);
}

static void those_idle_for_too_long_are_closed_by_whoever_comes_by(void **state) {
    (void)state;
    fake_server s = {0};
    conn_pool *p = new_pool(&s, 8, &test_clock, NULL);
    fake_conn *c[8];
    for (int i = 0; i < 8; i++) {
        void *one;
        assert_int_equal(conn_pool_take(p, 0, &one, NULL), BRAID_OK);
        c[i] = one;
    }
    for (int i = 0; i < 8; i++) {
        conn_pool_give(p, c[i], true);
        test_now += 200 * INT64_C(1000000); /* the first will have been idle for 1.6 s, the last for 0.2 s */
    }
    void *one;
    assert_int_equal(conn_pool_take(p, 0, &one, NULL), BRAID_OK);
    assert_ptr_equal(one, c[7]);
    assert_int_equal(s.closed, 3);
    test_now += 5000 * INT64_C(1000000);
    conn_pool_give(p, one, true);
    assert_int_equal(s.closed, 7);
    assert_int_equal(conn_pool_open_count(p), 1);
    conn_pool_free(p);
    assert_int_equal(s.closed, 8);
}

static void a_server_that_is_down_is_not_hammered(void **state) {
    (void)state;
    fake_server s = {.down = true};
    conn_pool *p = new_pool(&s, 8, &test_clock, NULL);
    void *c;
    braid_error err = {0};
    int at_first = 0;
    for (int ms = 0; ms < 10000; ms++) {
        test_now += 1000000;
        error_clear(&err);
        assert_int_equal(conn_pool_take(p, test_now + 1000000, &c, &err), BRAID_E_UNAVAILABLE);
        assert_string_equal(err.message, "the server is down");
        if (ms == 9) at_first = s.attempts;
    }
    assert_int_equal(at_first, 1);
    assert_in_range(s.attempts, 10, 20); /* 10, 20, 40 ... 640 ms, then each second */
    s.down = false;
    test_now += 1000 * INT64_C(1000000);
    assert_int_equal(conn_pool_take(p, 0, &c, NULL), BRAID_OK);
    conn_pool_give(p, c, false);
    s.down = true;
    int before = s.attempts;
    assert_int_equal(conn_pool_take(p, 0, &c, NULL), BRAID_E_UNAVAILABLE);
    test_now += 11 * INT64_C(1000000); /* the wait is short again */
    assert_int_equal(conn_pool_take(p, 0, &c, NULL), BRAID_E_UNAVAILABLE);
    assert_int_equal(s.attempts, before + 2);
    conn_pool_free(p);
}

/* A server at its limit of clients refuses new connections and serves the old ones. */
static void while_some_are_lent_others_wait_for_those_and_not_for_a_refused_opening(void **state) {
    (void)state;
    fake_server s = {0};
    conn_pool *p = new_pool(&s, 2, &test_clock, NULL);
    void *a, *b;
    assert_int_equal(conn_pool_take(p, 0, &a, NULL), BRAID_OK);
    s.down = true;
    assert_int_equal(conn_pool_take(p, test_now + 1, &b, NULL), BRAID_E_UNAVAILABLE);
    conn_pool_give(p, a, true);
    assert_int_equal(conn_pool_take(p, test_now + 1, &b, NULL), BRAID_OK);
    assert_ptr_equal(a, b);
    conn_pool_give(p, b, true);
    conn_pool_free(p);
}

/* ---- many threads ---- */

typedef struct crowd {
    conn_pool *p;
    atomic_int lent, lent_most, errors, calls;
    int rounds;
    bool breaks;
    atomic_int seeds;
} crowd;

static void *crowd_run(void *arg) {
    crowd *c = arg;
    rng r;
    rng_seed(&r, (uint64_t)++c->seeds);
    for (int i = 0; i < c->rounds; i++) {
        void *conn;
        if (conn_pool_take(c->p, in_ms(LONG_MS), &conn, NULL) != BRAID_OK) {
            c->errors++;
            continue;
        }
        fake_conn *f = conn;
        if (f->borrowers++ != 0) c->errors++;
        int lent = ++c->lent, most = c->lent_most;
        while (lent > most && !atomic_compare_exchange_weak(&c->lent_most, &most, lent)) {}
        if (rng_below(&r, 4) == 0) sched_yield();
        c->lent--;
        f->borrowers--;
        if (c->breaks && rng_below(&r, 50) == 0) f->good = false;
        conn_pool_give(c->p, conn, !c->breaks || rng_below(&r, 20) != 0);
        c->calls++;
    }
    return NULL;
}

static void one_borrower_at_a_time_and_never_more_than_max(void **state) {
    (void)state;
    fake_server s = {0};
    crowd c = {.p = new_pool(&s, 5, &clock_system, NULL), .rounds = 2000, .breaks = true};
    pthread_t threads[12];
    for (int i = 0; i < 12; i++) pthread_create(&threads[i], NULL, crowd_run, &c);
    for (int i = 0; i < 12; i++) pthread_join(threads[i], NULL);
    assert_int_equal(c.errors, 0);
    assert_int_equal(c.calls, 24000);
    assert_in_range(c.lent_most, 1, 5);
    assert_true(conn_pool_open_count(c.p) <= 5);
    assert_true(s.opening_most <= 5);
    conn_pool_free(c.p);
    assert_int_equal(s.opened, s.closed);
}

typedef struct queuer {
    conn_pool *p;
    pthread_t thread;
    int place;
    atomic_int *served;
    int order;
    atomic_int tid;
} queuer;

static void *queue_run(void *arg) {
    queuer *q = arg;
    void *c;
    q->tid = gettid();
    if (conn_pool_take(q->p, in_ms(LONG_MS), &c, NULL) == BRAID_OK) {
        q->order = ++*q->served;
        conn_pool_give(q->p, c, true);
    }
    return NULL;
}

static void those_who_wait_are_served_in_order(void **state) {
    (void)state;
    fake_server s = {0};
    atomic_int served = 0;
    conn_pool *p = new_pool(&s, 1, &clock_system, NULL);
    queuer q[10] = {{0}};
    fake_conn *c = take(p);
    for (int i = 0; i < 10; i++) {
        q[i] = (queuer){.p = p, .place = i + 1, .served = &served};
        pthread_create(&q[i].thread, NULL, queue_run, &q[i]);
        assert_true(COMES_TRUE(thread_sleeps(&q[i].tid)));
    }
    conn_pool_give(p, c, true);
    for (int i = 0; i < 10; i++) pthread_join(q[i].thread, NULL);
    for (int i = 0; i < 10; i++) assert_int_equal(q[i].order, i + 1);
    conn_pool_free(p);
}

static void *fail_run(void *arg) {
    crowd *c = arg;
    void *conn;
    if (conn_pool_take(c->p, in_ms(LONG_MS), &conn, NULL) != BRAID_E_UNAVAILABLE) c->errors++;
    return NULL;
}

/* All who wait for an opening that fails hear of it; afterwards one tries, not all. */
static void a_failed_opening_ends_every_wait_and_one_alone_tries_again(void **state) {
    (void)state;
    fake_server s = {.down = true, .open_takes_ms = 50};
    crowd c = {.p = new_pool(&s, 8, &clock_system, NULL)};
    pthread_t threads[8];
    void *conn;
    assert_int_equal(conn_pool_take(c.p, in_ms(LONG_MS), &conn, NULL), BRAID_E_UNAVAILABLE);
    sleep_ms(30);
    int64_t begun = now_ns();
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, fail_run, &c);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    assert_int_equal(c.errors, 0);
    assert_int_equal(s.opening_most, 1);
    assert_true(elapsed_ms(begun) < SOON_MS);
    conn_pool_free(c.p);
}

static void bounds_are_checked_and_numbers_are_told(void **state) {
    (void)state;
    fake_server s = {0};
    conn_pool_options o = {.name = "fake", .max = 0, .clock = &clock_system};
    conn_pool *p;
    assert_int_equal(conn_pool_new(&fake_ops, &s, &o, &p, NULL), BRAID_E_INVALID);
    assert_null(p);
    o.max = 1025;
    assert_int_equal(conn_pool_new(&fake_ops, &s, &o, &p, NULL), BRAID_E_INVALID);
    metrics *m = metrics_new();
    p = new_pool(&s, 2, &clock_system, m);
    fake_conn *a = take(p), *b = take(p);
    conn_pool_give(p, a, true);
    conn_pool_give(p, b, false);
    buf text;
    buf_init(&text, 0);
    metrics_print(m, &text);
    assert_non_null(strstr(text.data, "braid_conn_open{pool=\"fake\"} 1\n"));
    assert_non_null(strstr(text.data, "braid_conn_opened_total{pool=\"fake\"} 2\n"));
    assert_non_null(strstr(text.data, "braid_conn_failed_total{pool=\"fake\"} 0\n"));
    assert_non_null(strstr(text.data, "braid_conn_wait_duration_seconds_count{pool=\"fake\"} 2\n"));
    buf_free(&text);
    conn_pool_free(p);
    metrics_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_one_given_back_is_lent_first),
        cmocka_unit_test(one_with_an_unfinished_reply_is_closed_and_never_lent_again),
        cmocka_unit_test(an_idle_one_that_went_bad_is_replaced_unseen),
        cmocka_unit_test(a_borrower_waits_for_one_to_come_free_but_not_beyond_its_deadline),
        cmocka_unit_test(those_idle_for_too_long_are_closed_by_whoever_comes_by),
        cmocka_unit_test(a_server_that_is_down_is_not_hammered),
        cmocka_unit_test(while_some_are_lent_others_wait_for_those_and_not_for_a_refused_opening),
        cmocka_unit_test(one_borrower_at_a_time_and_never_more_than_max),
        cmocka_unit_test(those_who_wait_are_served_in_order),
        cmocka_unit_test(a_failed_opening_ends_every_wait_and_one_alone_tries_again),
        cmocka_unit_test(bounds_are_checked_and_numbers_are_told),
    };
    return cmocka_run_group_tests_name("wire: conn_pool", tests, NULL, NULL);
}
