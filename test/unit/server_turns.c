/* Turns: no more than so many at once, in the order of coming, and nobody who left stands in the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "server/turns.h"
#include "test/support/timing.h"

enum { THREADS = 8, ROUNDS = 2000, AT_ONCE = 3 };

typedef struct crowd {
    turns *t;
    atomic_int inside, most, done;
    atomic_int order[THREADS];
} crowd;

typedef struct member {
    crowd *c;
    int number;
    bool got;
    atomic_int tid;
} member;

static void *churn(void *arg) {
    crowd *c = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (!turns_take(c->t)) continue;
        int inside = ++c->inside, most = c->most;
        while (inside > most && !atomic_compare_exchange_weak(&c->most, &most, inside)) {}
        c->inside--;
        turns_give(c->t);
        c->done++;
    }
    return NULL;
}

static void no_more_than_so_many_are_in_at_once_and_all_get_in(void **state) {
    (void)state;
    crowd c = {.t = turns_new(AT_ONCE)};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, churn, &c), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(c.done, THREADS * ROUNDS);
    assert_in_range(c.most, 1, AT_ONCE);
    turns_free(c.t);
}

static void *wait_in_line(void *arg) {
    member *m = arg;
    m->tid = gettid();
    m->got = turns_take(m->c->t);
    if (m->got) {
        m->c->order[m->c->done++] = m->number;
        turns_give(m->c->t);
    }
    return NULL;
}

static void those_who_wait_come_in_the_order_of_coming(void **state) {
    (void)state;
    crowd c = {.t = turns_new(1)};
    member members[THREADS];
    pthread_t threads[THREADS];
    assert_true(turns_take(c.t));
    for (int i = 0; i < THREADS; i++) {
        members[i] = (member){&c, i, false, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_in_line, &members[i]), 0);
        assert_true(COMES_TRUE(thread_sleeps(&members[i].tid)));
    }
    assert_int_equal(c.done, 0);
    turns_give(c.t);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) assert_int_equal(c.order[i], i);
    turns_free(c.t);
}

static void whoever_waits_too_long_leaves_and_the_turn_is_not_lost(void **state) {
    (void)state;
    crowd c = {.t = turns_new(1)};
    bool handed_on = false;
    /* again, if the machine let the second wait too long as well */
    for (int round = 0; round < 10 && !handed_on; round++) {
        assert_true(turns_take(c.t));
        c.done = 0;
        member first = {&c, 0, true, 0}, second = {&c, 1, false, 0};
        pthread_t a, b;
        assert_int_equal(pthread_create(&a, NULL, wait_in_line, &first), 0);
        sleep_ms(1500);
        assert_int_equal(pthread_create(&b, NULL, wait_in_line, &second), 0);
        pthread_join(a, NULL);
        assert_false(first.got);
        turns_give(c.t);
        pthread_join(b, NULL);
        handed_on = second.got;
    }
    assert_true(handed_on);
    assert_true(turns_take(c.t)); /* the one there is */
    turns_give(c.t);
    turns_free(c.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_than_so_many_are_in_at_once_and_all_get_in),
        cmocka_unit_test(those_who_wait_come_in_the_order_of_coming),
        cmocka_unit_test(whoever_waits_too_long_leaves_and_the_turn_is_not_lost),
    };
    return cmocka_run_group_tests_name("server: turns", tests, NULL, NULL);
}
