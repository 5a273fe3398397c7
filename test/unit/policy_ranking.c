/* What the ranking learns from: lists that were shown, and audiences of the past. */
#include "policy/shown.h"
#include "policy/times.h"
#include "policy_test.h"

/* ---- lists that were shown ---- */
static void row_of(float x[POLICY_FEATURE_COUNT], float first) {
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) x[f] = f == 0 ? first : 0.25f * (float)(f % 5) - 0.5f;
}

/* Three rows that differ in their first feature only; the text as an interaction bears it. */
static void print_list(size_t chosen, buf *out) {
    int16_t rows[3 * POLICY_FEATURE_COUNT];
    float x[POLICY_FEATURE_COUNT];
    for (size_t i = 0; i < 3; i++) {
        row_of(x, (float)i - 1);
        policy_shown_pack(x, rows + i * POLICY_FEATURE_COUNT);
    }
    buf_init(out, 0);
    buf_puts(out, "{\"recommendation_id\":\"r1\",\"position\":1");
    assert_true(policy_shown_print(rows, 3, chosen, out));
    buf_putc(out, '}');
    assert_false(out->failed);
}

static void a_list_that_was_shown_reads_as_it_was_written(void **state) {
    (void)state;
    buf text;
    policy_shown s;
    arena *a = arena_new(4096);
    print_list(2, &text);
    assert_true(policy_shown_read(text.data, a, &s));
    assert_true(s.count == 3 && s.chosen == 2);
    for (size_t i = 0; i < 3; i++) {
        float wanted[POLICY_FEATURE_COUNT], got[POLICY_FEATURE_COUNT];
        row_of(wanted, (float)i - 1);
        policy_shown_row(&s, i, got);
        for (int f = 0; f < POLICY_FEATURE_COUNT; f++) assert_float_equal(got[f], wanted[f], 1.0 / 2000);
    }
    buf_free(&text);
    arena_free(a);
}

static void a_feature_beyond_all_bounds_is_cut_and_not_wrapped(void **state) {
    (void)state;
    float x[POLICY_FEATURE_COUNT] = {1e9f, -1e9f};
    int16_t row[POLICY_FEATURE_COUNT];
    policy_shown_pack(x, row);
    assert_true(row[0] == 32000 && row[1] == -32000);
}

/* Whatever the text has become, reading it says no or gives a list that is whole; memory checkers see the rest. */
static void a_damaged_list_is_refused_or_whole(void **state) {
    (void)state;
    buf text;
    rng r;
    rng_seed(&r, 5);
    print_list(1, &text);
    unsigned refused = 0;
    for (int round = 0; round < 20000; round++) {
        arena *a = arena_new(4096);
        char *copy = strndup(text.data, text.len);
        policy_shown s;
        size_t cut = rng_below(&r, 4) == 0 ? (size_t)rng_below(&r, text.len) : text.len;
        copy[cut] = '\0';
        for (uint64_t k = rng_below(&r, 4); cut && k-- > 0;) copy[rng_below(&r, cut)] = (char)(1 + rng_below(&r, 126));
        if (policy_shown_read(copy, a, &s))
            assert_true(s.count >= 2 && s.count <= POLICY_SHOWN_MAX && s.chosen < s.count);
        else
            refused++;
        free(copy);
        arena_free(a);
    }
    assert_true(refused > 1000 && refused < 20000);
    assert_false(policy_shown_read(NULL, NULL, &(policy_shown){0}));
    buf_free(&text);
}

static double chance_of(const policy_shown *s, const double *mean) {
    double sum = 0, score[3];
    for (size_t i = 0; i < 3; i++) {
        float x[POLICY_FEATURE_COUNT];
        policy_shown_row(s, i, x);
        score[i] = 0;
        for (int f = 0; f < POLICY_FEATURE_COUNT; f++) score[i] += mean[f] * x[f];
        sum += exp(score[i]);
    }
    return exp(score[s->chosen]) / sum;
}

static void each_step_makes_the_choice_likelier_and_what_all_share_teaches_nothing(void **state) {
    (void)state;
    buf text;
    policy_shown s;
    arena *a = arena_new(4096);
    double mean[POLICY_FEATURE_COUNT] = {0}, squares[POLICY_FEATURE_COUNT] = {0}, before;
    print_list(2, &text);
    assert_true(policy_shown_read(text.data, a, &s));
    before = chance_of(&s, mean);
    assert_float_equal(before, 1.0 / 3, 1e-9);
    for (int step = 0; step < 5; step++) {
        policy_online_step(&s, mean, squares);
        double now = chance_of(&s, mean);
        assert_true(now > before);
        before = now;
    }
    for (int f = 1; f < POLICY_FEATURE_COUNT; f++) assert_float_equal(mean[f], 0, 1e-3);
    buf_free(&text);
    arena_free(a);
}

/* ---- audiences of the past ---- */
static void an_audience_is_that_of_its_moment(void **state) {
    (void)state;
    const int64_t day = 86400000, half = POLICY_TREND_DAYS * day;
    policy_time events[] = {{2, 1, 5 * day}, {1, 0.5f, 3 * day}, {2, 0.5f, 5 * day + half}, {2, 0, 9 * day + 2 * half}};
    policy_times *t;
    braid_error err = {0};
    assert_int_equal(policy_times_make(events, 4, 3, &t, &err), BRAID_OK);
    policy_audience before = policy_times_at(t, 2, 5 * day - 1), first = policy_times_at(t, 2, 5 * day);
    policy_audience second = policy_times_at(t, 2, 5 * day + half), later = policy_times_at(t, 2, 5 * day + 2 * half);
    assert_true(before.count == 0 && before.reward_sum == 0 && before.recent == 0);
    assert_true(first.count == 1 && first.reward_sum == 1 && first.recent == 1);
    assert_true(second.count == 2 && second.reward_sum == 1.5);
    assert_float_equal(second.recent, 1.5, 1e-9); /* the first is half as much after that time */
    assert_float_equal(later.recent, 0.75, 1e-9);
    assert_true(policy_times_at(t, 0, INT64_MAX).count == 0 && policy_times_at(t, 77, INT64_MAX).count == 0);
    assert_true(policy_times_know(t, 5 * day) && !policy_times_know(t, 9 * day + 2 * half));
    policy_times_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_that_was_shown_reads_as_it_was_written),
        cmocka_unit_test(a_feature_beyond_all_bounds_is_cut_and_not_wrapped),
        cmocka_unit_test(a_damaged_list_is_refused_or_whole),
        cmocka_unit_test(each_step_makes_the_choice_likelier_and_what_all_share_teaches_nothing),
        cmocka_unit_test(an_audience_is_that_of_its_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
