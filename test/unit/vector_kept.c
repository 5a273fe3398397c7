/* Vectors kept of a remote store: never older than what the feeds have passed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vector/kept.h"

enum { DIM = 4 };
static const float east[DIM] = {1, 0, 0, 0}, north[DIM] = {0, 1, 0, 0};
static uint64_t applied;
static int64_t now;

static uint64_t see_applied(void *ctx) {
    (void)ctx;
    return applied;
}

static int64_t see_now(void *ctx) {
    (void)ctx;
    return now;
}

static const clock_ops hands = {.mono_ns = see_now};

static vector_kept *make(size_t bytes) {
    applied = 0;
    now = 1;
    vector_kept *k = vector_kept_new(&(vector_kept_options){DIM, bytes, see_applied, NULL, "test", &hands, NULL});
    assert_non_null(k);
    return k;
}

/* The score of `num` with east, as one who has to fetch does: -9 when it is not kept. */
static float look(vector_kept *k, uint32_t num, uint32_t *mark) {
    float score = -9;
    vector_kept_score(k, num, east, &score, mark);
    return score;
}

static void fetch_and_put(vector_kept *k, uint32_t num, const float *vector) {
    uint32_t mark;
    vector_kept_look before = vector_kept_begin(k);
    look(k, num, &mark);
    vector_kept_put(k, before, num, mark, vector);
}

static float score(vector_kept *k, uint32_t num) {
    uint32_t mark;
    return look(k, num, &mark);
}

static void what_was_put_is_scored(void **state) {
    (void)state;
    vector_kept *k = make(1 << 20);
    assert_float_equal(score(k, 7), -9, 0);
    fetch_and_put(k, 7, east);
    fetch_and_put(k, 8, north);
    assert_float_equal(score(k, 7), 1, 0);
    assert_float_equal(score(k, 8), 0, 0);
    vector_kept_free(k);
}

static void a_change_in_the_log_drops_it_until_the_store_has_applied_it(void **state) {
    (void)state;
    vector_kept *k = make(1 << 20);
    fetch_and_put(k, 7, east);
    vector_kept_drop(k, 7, 100);
    assert_float_equal(score(k, 7), -9, 0);
    now += INT64_C(20000000000);
    fetch_and_put(k, 7, east); /* the store still holds what was there before */
    assert_float_equal(score(k, 7), -9, 0);
    applied = 100;
    fetch_and_put(k, 7, north);
    assert_float_equal(score(k, 7), 0, 0);
    vector_kept_free(k);
}

static void what_was_read_before_a_change_is_not_kept_after_it(void **state) {
    (void)state;
    vector_kept *k = make(1 << 20);
    uint32_t mark;
    applied = 100;
    vector_kept_look before = vector_kept_begin(k);
    look(k, 7, &mark);
    vector_kept_written(k, 7); /* meanwhile */
    vector_kept_put(k, before, 7, mark, east);
    assert_float_equal(score(k, 7), -9, 0);
    look(k, 7, &mark);
    vector_kept_drop_all(k, 0);
    vector_kept_put(k, before, 7, mark, east);
    assert_float_equal(score(k, 7), -9, 0);
    vector_kept_free(k);
}

static void what_another_server_wrote_is_kept_when_the_store_shows_it_to_all(void **state) {
    (void)state;
    vector_kept *k = make(1 << 20);
    applied = 100;
    vector_kept_drop(k, 7, 100);
    fetch_and_put(k, 7, east);
    assert_float_equal(score(k, 7), -9, 0);
    now += INT64_C(11000000000);
    fetch_and_put(k, 7, north);
    assert_float_equal(score(k, 7), 0, 0);
    vector_kept_written(k, 7); /* by us: shown to us at once */
    vector_kept_drop(k, 7, 100);
    fetch_and_put(k, 7, east);
    assert_float_equal(score(k, 7), 1, 0);
    vector_kept_free(k);
}

static void what_is_older_than_the_start_waits_for_the_store(void **state) {
    (void)state;
    vector_kept *k = make(1 << 20);
    vector_kept_drop_all(k, 50);
    fetch_and_put(k, 7, east);
    assert_float_equal(score(k, 7), -9, 0);
    applied = 50;
    fetch_and_put(k, 7, east);
    assert_float_equal(score(k, 7), 1, 0);
    vector_kept_free(k);
}

static void room_is_bounded_and_the_longest_unused_makes_room(void **state) {
    (void)state;
    vector_kept *k = make(1); /* one set */
    size_t there = 0;
    for (uint32_t num = 1; num <= 4; num++) fetch_and_put(k, num, east);
    assert_float_equal(score(k, 1), 1, 0); /* used again */
    fetch_and_put(k, 5, east);
    for (uint32_t num = 1; num <= 5; num++) there += score(k, num) > 0;
    assert_int_equal(there, 4);
    assert_float_equal(score(k, 1), 1, 0);
    assert_float_equal(score(k, 2), -9, 0);
    vector_kept_free(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_scored),
        cmocka_unit_test(a_change_in_the_log_drops_it_until_the_store_has_applied_it),
        cmocka_unit_test(what_was_read_before_a_change_is_not_kept_after_it),
        cmocka_unit_test(what_another_server_wrote_is_kept_when_the_store_shows_it_to_all),
        cmocka_unit_test(what_is_older_than_the_start_waits_for_the_store),
        cmocka_unit_test(room_is_bounded_and_the_longest_unused_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
