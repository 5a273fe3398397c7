/* Weights of a linear ranking from choices. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "learn/learn.h"

enum { FEATURES = 4, LISTS = 3000, LONG = 15 };

typedef struct choices {
    size_t at[LISTS + 1];
    float rows[LISTS * LONG * FEATURES];
    bool chosen[LISTS * LONG];
} choices;

/* Lists in which one row was chosen as the softmax of `truth` says. */
static choices *choices_of(const double *truth, uint64_t seed) {
    choices *c = calloc(1, sizeof *c);
    rng r;
    rng_seed(&r, seed);
    for (size_t l = 0; l < LISTS; l++) {
        double p[LONG], sum = 0, at;
        c->at[l + 1] = (l + 1) * LONG;
        for (size_t i = 0; i < LONG; i++) {
            float *x = c->rows + (l * LONG + i) * FEATURES;
            double score = 0;
            for (int f = 0; f < FEATURES; f++) score += truth[f] * (x[f] = (float)rng_normal(&r));
            sum += p[i] = exp(score);
        }
        at = rng_uniform(&r) * sum;
        size_t pick = 0;
        while (pick + 1 < LONG && (at -= p[pick]) > 0) pick++;
        c->chosen[l * LONG + pick] = true;
    }
    return c;
}

static void weights_that_made_the_choices_are_found(void **state) {
    (void)state;
    const double truth[FEATURES] = {1.2, -0.7, 0.3, 0};
    choices *c = choices_of(truth, 11);
    const learn_lists l = {FEATURES, LISTS, c->at, c->rows, c->chosen};
    double w[FEATURES];
    size_t used = 0;
    braid_error err = {0};
    assert_int_equal(learn_listwise_fit(&l, 1e-6, w, &used, &err), BRAID_OK);
    assert_int_equal(used, LISTS);
    /* four standard errors at 3,000 choices */
    for (int f = 0; f < FEATURES; f++) assert_float_equal(w[f], truth[f], 0.08);
    free(c);
}

static void a_penalty_draws_weights_to_zero(void **state) {
    (void)state;
    const double truth[FEATURES] = {1.2, -0.7, 0.3, 0};
    choices *c = choices_of(truth, 12);
    const learn_lists l = {FEATURES, LISTS, c->at, c->rows, c->chosen};
    double loose[FEATURES], tight[FEATURES];
    braid_error err = {0};
    learn_listwise_fit(&l, 1e-6, loose, NULL, &err);
    learn_listwise_fit(&l, 1, tight, NULL, &err);
    for (int f = 0; f < 3; f++) assert_true(fabs(tight[f]) < fabs(loose[f]) && tight[f] * loose[f] > 0);
    free(c);
}

static void lists_without_a_choice_or_without_an_alternative_say_nothing(void **state) {
    (void)state;
    const size_t at[] = {0, 2, 3, 5};
    const float rows[] = {1, 0, /**/ 1, /**/ 0, 1};
    const bool chosen[] = {false, false, true, true, true};
    const learn_lists l = {1, 3, at, rows, chosen};
    double w[1] = {9};
    size_t used = 7;
    braid_error err = {0};
    assert_int_equal(learn_listwise_fit(&l, 0.1, w, &used, &err), BRAID_OK);
    assert_true(used == 0 && w[0] == 0);
}

static void a_choice_that_a_feature_decides_stays_finite(void **state) {
    (void)state;
    const size_t at[] = {0, 2, 4};
    const float rows[] = {1, 0, 1, 0};
    const bool chosen[] = {true, false, true, false};
    const learn_lists l = {1, 2, at, rows, chosen};
    double w[1];
    braid_error err = {0};
    assert_int_equal(learn_listwise_fit(&l, 0.01, w, NULL, &err), BRAID_OK);
    /* At the optimum the slope of the likelihood equals that of the penalty: 1 / (1 + e^w) = l2 w. */
    assert_float_equal(1 / (1 + exp(w[0])), 0.01 * w[0], 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_that_made_the_choices_are_found),
        cmocka_unit_test(a_penalty_draws_weights_to_zero),
        cmocka_unit_test(lists_without_a_choice_or_without_an_alternative_say_nothing),
        cmocka_unit_test(a_choice_that_a_feature_decides_stays_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
