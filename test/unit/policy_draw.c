/* Drawing lists: the chances that are told are those that hold, by chi-square with fixed seeds; the budget and the
 * replay. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/policy.h"

enum { N = 12, DRAWS = 40000 };

/* The value that a chi-square of `df` degrees of freedom stays below but for one time in 100,000 (Wilson & Hilferty
 * 1931). */
static double chi_square_bound(double df) {
    double z = 4.265, t = 1 - 2 / (9 * df) + z * sqrt(2 / (9 * df));
    return df * t * t * t;
}

/* Counts against what is expected, classes of fewer than five put together. */
static void assert_as_expected(const double *seen, const double *expected, size_t n) {
    double sum = 0, rest_seen = 0, rest_expected = 0, df = -1;
    for (size_t i = 0; i < n; i++) {
        if (expected[i] < 5) {
            rest_seen += seen[i], rest_expected += expected[i];
            continue;
        }
        sum += (seen[i] - expected[i]) * (seen[i] - expected[i]) / expected[i], df++;
    }
    if (rest_expected >= 5) sum += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected, df++;
    assert_true(df >= 1);
    if (sum >= chi_square_bound(df)) fail_msg("chi-square %.1f of %.0f degrees of freedom", sum, df);
}

typedef struct world {
    double value[3 * N];
    bool may[N];
    policy_draw_options o;
} world;

/* Values fall with the number, so the best that is left is the lowest number that is left. */
static void make(world *w, size_t opinions) {
    for (size_t i = 0; i < 3 * N; i++) w->value[i] = -(double)i / 3;
    for (size_t i = 0; i < N; i++) w->may[i] = i != 4;
    for (size_t i = 0; i < N; i++) w->value[N + i] = (double)(i % 5), w->value[2 * N + i] = (double)((i * 7) % N);
    w->o = (policy_draw_options){
        .n = N, .may = w->may, .value = w->value, .opinions = opinions, .temperature = 1, .share = 0.4, .most = N};
}

/* Draws a list of `k`; *chance is that of the list. */
static void draw(const world *w, uint64_t seed, size_t k, arena *a, policy_drawn *out, double *chance) {
    policy_draw *d;
    policy_draw_options o = w->o;
    bool taken[N] = {false};
    o.seed = seed;
    assert_int_equal(policy_draw_new(&o, a, &d, NULL), BRAID_OK);
    *chance = 1;
    for (size_t p = 0; p < k; p++) {
        size_t best = 0;
        while (taken[best]) best++;
        out[p] = policy_draw_next(d, best);
        assert_true(out[p].which < N && !taken[out[p].which]);
        assert_true(out[p].explored == (out[p].which != best));
        assert_true(out[p].propensity > 0 && out[p].propensity <= 1);
        taken[out[p].which] = true;
        *chance *= out[p].propensity;
    }
}

/* Every list of two places has one chance, whichever way it is drawn: seen as often as told, and all of them sum up
 * to 1. */
static void lists_of_two_come_as_often_as_told(size_t opinions) {
    world w;
    arena *a = arena_new(1 << 16);
    double seen[N * N] = {0}, expected[N * N] = {0}, told[N * N] = {0}, all = 0;
    make(&w, opinions);
    for (uint64_t seed = 1; seed <= DRAWS; seed++) {
        policy_drawn at[2];
        double chance;
        draw(&w, seed, 2, a, at, &chance);
        size_t list = at[0].which * N + at[1].which;
        assert_true(told[list] == 0 || fabs(told[list] - chance) < 1e-12);
        told[list] = chance;
        seen[list]++;
        arena_reset(a);
    }
    for (size_t i = 0; i < N * N; i++) expected[i] = told[i] * DRAWS, all += told[i];
    assert_true(all > 0.999 && all < 1 + 1e-9); /* what never came had hardly a chance */
    assert_as_expected(seen, expected, N * N);
    arena_free(a);
}

static void a_softmax_draws_as_it_says(void **state) {
    (void)state;
    lists_of_two_come_as_often_as_told(0);
}

static void an_upper_bound_draws_as_it_says(void **state) {
    (void)state;
    lists_of_two_come_as_often_as_told(1);
}

static void samples_draw_as_they_say(void **state) {
    (void)state;
    lists_of_two_come_as_often_as_told(3);
}

/* Plackett & Luce: with a share of 1 the first two are those of the largest value + Gumbel noise. */
static void a_softmax_is_gumbel_noise_over_the_values(void **state) {
    (void)state;
    world w;
    arena *a = arena_new(1 << 16);
    double seen[N * N] = {0}, expected[N * N] = {0}, mean = 0, m2 = 0, weight[N], sum = 0;
    make(&w, 0);
    w.o.share = 1;
    for (size_t i = 0; i < N; i++) mean += w.may[i] ? w.value[i] / (N - 1) : 0;
    for (size_t i = 0; i < N; i++) m2 += w.may[i] ? (w.value[i] - mean) * (w.value[i] - mean) / (N - 1) : 0;
    for (size_t i = 0; i < N; i++) sum += weight[i] = w.may[i] ? exp(w.value[i] / sqrt(m2)) : 0;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            expected[i * N + j] = i == j ? 0 : DRAWS * weight[i] / sum * weight[j] / (sum - weight[i]);
    for (uint64_t seed = 1; seed <= DRAWS; seed++) {
        policy_drawn at[2];
        double chance;
        draw(&w, seed, 2, a, at, &chance);
        seen[at[0].which * N + at[1].which]++;
        arena_reset(a);
    }
    assert_as_expected(seen, expected, N * N);
    arena_free(a);
}

static void a_budget_is_never_exceeded_and_none_is_certain(void **state) {
    (void)state;
    world w;
    arena *a = arena_new(1 << 16);
    unsigned full = 0;
    make(&w, 0);
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        policy_drawn at[N];
        double chance;
        w.o.most = 2;
        draw(&w, seed, N, a, at, &chance);
        size_t explored = 0;
        for (size_t p = 0; p < N; p++) {
            if (explored == 2) assert_true(at[p].propensity == 1 && !at[p].explored);
            explored += at[p].explored;
        }
        assert_true(explored <= 2);
        full += explored == 2;
        w.o.most = 0;
        draw(&w, seed, N, a, at, &chance);
        for (size_t p = 0; p < N; p++) assert_true(at[p].which == p && at[p].propensity == 1);
        arena_reset(a);
    }
    assert_true(full > 1000); /* so the bound was what held it back */
    arena_free(a);
}

static void a_seed_replays_a_list(void **state) {
    (void)state;
    world w;
    arena *a = arena_new(1 << 16);
    make(&w, 3);
    unsigned other = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        policy_drawn x[N], y[N], z[N];
        double chance;
        draw(&w, seed, N, a, x, &chance);
        draw(&w, seed, N, a, y, &chance);
        draw(&w, seed + 1000, N, a, z, &chance);
        bool same = true;
        for (size_t p = 0; p < N; p++) {
            assert_true(x[p].which == y[p].which && x[p].propensity == y[p].propensity);
            same = same && x[p].which == z[p].which;
        }
        other += !same;
        arena_reset(a);
    }
    assert_true(other > 100);
    arena_free(a);
}

static void what_may_not_be_explored_only_comes_as_the_best(void **state) {
    (void)state;
    world w;
    arena *a = arena_new(1 << 16);
    make(&w, 0);
    w.o.share = 1;
    for (size_t i = 0; i < N; i++) w.may[i] = i == 7 || i == 9;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        policy_drawn at[N];
        double chance;
        draw(&w, seed, N, a, at, &chance);
        for (size_t p = 0; p < N; p++) assert_true(!at[p].explored || w.may[at[p].which]);
        arena_reset(a);
    }
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_softmax_draws_as_it_says),
        cmocka_unit_test(an_upper_bound_draws_as_it_says),
        cmocka_unit_test(samples_draw_as_they_say),
        cmocka_unit_test(a_softmax_is_gumbel_noise_over_the_values),
        cmocka_unit_test(a_budget_is_never_exceeded_and_none_is_certain),
        cmocka_unit_test(a_seed_replays_a_list),
        cmocka_unit_test(what_may_not_be_explored_only_comes_as_the_best),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
