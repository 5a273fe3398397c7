/* Estimates of another policy cover what it really earns, say so when they cannot, and gain by a prediction.
 *
 * The world is small enough to know the truth exactly: four kinds of moments, eight items, lists of three drawn without
 * replacement in proportion to exp(score). People read from the top and go when something was good. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "judge/judge.h"

enum { KINDS = 4, ITEMS = 8, DEPTH = 3, SLATES = 1500, SEEDS = 200, A_PERSON = 5 };

/* How likely an item is liked at that moment, where it is looked at. */
static double liked(size_t kind, size_t item) {
    return 0.1 + 0.7 * (double)((item * 5 + kind * 3) % ITEMS) / ITEMS;
}

static double logging_score(size_t kind, size_t item) {
    return 1.2 * cos((double)(item + 2 * kind));
}

static double target_score(size_t kind, size_t item) {
    return 0.5 * logging_score(kind, item) + 1.5 * liked(kind, item);
}

typedef double score_fn(size_t kind, size_t item);

static double choice(score_fn *score, size_t kind, const bool *gone, size_t item) {
    double all = 0;
    for (size_t i = 0; i < ITEMS; i++)
        if (!gone[i]) all += exp(score(kind, i));
    return exp(score(kind, item)) / all;
}

/* What is earned from place `depth` on, exactly, if the person has got that far. `cascade`: they go with half a
 * chance after something they liked. */
static double value_from(score_fn *score, size_t kind, bool *gone, size_t depth, bool cascade) {
    double sum = 0;
    if (depth == DEPTH) return 0;
    for (size_t i = 0; i < ITEMS; i++) {
        if (gone[i]) continue;
        double p = choice(score, kind, gone, i), like = liked(kind, i) / (double)(depth + 1);
        gone[i] = true;
        sum += p * (like + (cascade ? 1 - like / 2 : 1) * value_from(score, kind, gone, depth + 1, cascade));
        gone[i] = false;
    }
    return sum;
}

static double true_value(score_fn *score, bool cascade) {
    double sum = 0;
    for (size_t kind = 0; kind < KINDS; kind++) {
        bool gone[ITEMS] = {false};
        sum += value_from(score, kind, gone, 0, cascade) / KINDS;
    }
    return sum;
}

/* The chance that a list drawn by `score` has the item at that place, whatever is above. */
static double marginal(score_fn *score, size_t kind, bool *gone, size_t depth, size_t item) {
    double sum = 0;
    if (depth == 0) return gone[item] ? 0 : choice(score, kind, gone, item);
    for (size_t i = 0; i < ITEMS; i++) {
        if (gone[i] || i == item) continue;
        double p = choice(score, kind, gone, i);
        gone[i] = true;
        sum += p * marginal(score, kind, gone, depth - 1, item);
        gone[i] = false;
    }
    return sum;
}

typedef struct world {
    judge_slate slates[SLATES];
    judge_slot slots[SLATES][DEPTH];
    double logging[KINDS][DEPTH][ITEMS], target[KINDS][DEPTH][ITEMS]; /* marginals */
} world;

static void know_marginals(world *w) {
    for (size_t kind = 0; kind < KINDS; kind++)
        for (size_t d = 0; d < DEPTH; d++)
            for (size_t i = 0; i < ITEMS; i++) {
                bool gone[ITEMS] = {false};
                w->logging[kind][d][i] = marginal(logging_score, kind, gone, d, i);
                w->target[kind][d][i] = marginal(target_score, kind, gone, d, i);
            }
}

/* A prediction that is wrong by a factor and a shift: it need not be right. */
static double predicted(size_t kind, size_t item, size_t depth) {
    return 0.8 * liked(kind, item) / (double)(depth + 1) + 0.05;
}

static void draw_slate(world *w, size_t i, judge_model model, rng *r) {
    size_t kind = rng_below(r, KINDS);
    bool gone[ITEMS] = {false}, here = true;
    for (size_t d = 0; d < DEPTH; d++) {
        double u = rng_uniform(r), at = 0;
        size_t item = 0;
        for (size_t k = 0; k < ITEMS && at <= u; k++)
            if (!gone[k]) at += choice(logging_score, kind, gone, item = k);
        judge_slot *s = &w->slots[i][d];
        *s = (judge_slot){.predicted = predicted(kind, item, d)};
        for (size_t k = 0; k < ITEMS; k++) {
            double p = model == JUDGE_POSITION ? w->target[kind][d][k]
                       : gone[k]               ? 0
                                               : choice(target_score, kind, gone, k);
            s->expected += p * predicted(kind, k, d);
        }
        s->logged = model == JUDGE_POSITION ? w->logging[kind][d][item] : choice(logging_score, kind, gone, item);
        s->target = model == JUDGE_POSITION ? w->target[kind][d][item] : choice(target_score, kind, gone, item);
        s->reward = here && rng_uniform(r) < liked(kind, item) / (double)(d + 1);
        if (model == JUDGE_CASCADE && s->reward > 0 && rng_uniform(r) < 0.5) here = false;
        gone[item] = true;
    }
    w->slates[i] = (judge_slate){i / A_PERSON, w->slots[i], DEPTH};
}

static bool holds(judge_value v, double truth) {
    return v.low <= truth && truth <= v.high;
}

static void assert_covers(judge_model model) {
    world *w = calloc(1, sizeof *w);
    know_marginals(w);
    double truth = true_value(target_score, model == JUDGE_CASCADE),
           logged = true_value(logging_score, model == JUDGE_CASCADE);
    size_t by_ips = 0, by_snips = 0, by_dr = 0, by_logged = 0;
    double ips_width = 0, dr_width = 0, effective = 0;
    assert_true(truth > logged * 1.05); /* else it would be no test */
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        rng r;
        judge_estimate e;
        rng_seed(&r, seed);
        for (size_t i = 0; i < SLATES; i++) draw_slate(w, i, model, &r);
        assert_int_equal(judge_estimate_value(model, w->slates, SLATES, &e, NULL), BRAID_OK);
        by_logged += holds(e.logged, logged);
        by_ips += holds(e.ips, truth);
        by_snips += holds(e.snips, truth);
        by_dr += holds(e.doubly_robust, truth);
        ips_width += e.ips.high - e.ips.low;
        dr_width += e.doubly_robust.high - e.doubly_robust.low;
        effective += e.effective / SEEDS;
        assert_int_equal(e.people, SLATES / A_PERSON);
        assert_int_equal(e.warnings & ~JUDGE_EXPLODED, 0);
    }
    print_message(
        "model %d: true value %.4f (logged %.4f); of %d intervals cover: logged %zu, IPS %zu, SNIPS %zu, DR %zu; width of DR %.2f of "
        "IPS; effective %.0f of %d\n",
        (int)model, truth, logged, SEEDS, by_logged, by_ips, by_snips, by_dr, dr_width / ips_width, effective, SLATES);
    assert_true(by_logged >= SEEDS * 9 / 10 && by_ips >= SEEDS * 9 / 10 && by_snips >= SEEDS * 9 / 10 &&
                by_dr >= SEEDS * 9 / 10);
    assert_true(dr_width < ips_width);
    free(w);
}

static void of_lists_read_from_the_top_cover_the_truth(void **state) {
    (void)state;
    assert_covers(JUDGE_CASCADE);
}

static void of_places_alone_cover_the_truth(void **state) {
    (void)state;
    assert_covers(JUDGE_POSITION);
}

/* Without the weights the logged mean would be the answer: a policy that is the same is estimated as exactly that. */
static void of_the_same_policy_is_what_was_earned(void **state) {
    (void)state;
    judge_slot slots[4] = {
        {1, 0.5, 0.5, 0.3, 0.3}, {0, 0.2, 0.2, 0.3, 0.3}, {1, 0.1, 0.1, 0.3, 0.3}, {1, 0.9, 0.9, 0.3, 0.3}};
    judge_slate slates[2] = {{1, slots, 2}, {2, slots + 2, 2}};
    judge_estimate e;
    assert_int_equal(judge_estimate_value(JUDGE_CASCADE, slates, 2, &e, NULL), BRAID_OK);
    assert_true(fabs(e.logged.value - 1.5) < 1e-12 && fabs(e.ips.value - 1.5) < 1e-12 &&
                fabs(e.snips.value - 1.5) < 1e-12);
    assert_true(fabs(e.doubly_robust.value - 1.5) < 1e-12 && e.effective == 2);
}

/* People who come back make it no surer: thirty slates of each of ten people are ten observations. */
static void count_people_and_not_slates(void **state) {
    (void)state;
    judge_slot slots[300];
    judge_slate slates[300], alone[300];
    for (size_t i = 0; i < 300; i++) {
        slots[i] = (judge_slot){(double)(i / 30 % 2), 1, 1, 0, 0};
        slates[i] = (judge_slate){i / 30, &slots[i], 1};
        alone[i] = (judge_slate){i, &slots[i], 1};
    }
    judge_estimate by_people, by_slates;
    assert_int_equal(judge_estimate_value(JUDGE_CASCADE, slates, 300, &by_people, NULL), BRAID_OK);
    assert_int_equal(judge_estimate_value(JUDGE_CASCADE, alone, 300, &by_slates, NULL), BRAID_OK);
    assert_true(by_people.logged.high - by_people.logged.low > 5 * (by_slates.logged.high - by_slates.logged.low));
}

static void say_what_is_wrong_with_them(void **state) {
    (void)state;
    judge_slot slots[400];
    judge_slate slates[400];
    judge_estimate e;
    for (size_t i = 0; i < 400; i++) slates[i] = (judge_slate){i, &slots[i], 1};
    /* The log never showed what the target shows nine times of ten. */
    for (size_t i = 0; i < 400; i++) slots[i] = (judge_slot){(double)(i % 2), 1, 0.1, 0, 0};
    assert_int_equal(judge_estimate_value(JUDGE_CASCADE, slates, 400, &e, NULL), BRAID_OK);
    assert_int_equal(e.warnings, JUDGE_UNSUPPORTED);
    assert_true(fabs(e.weight_mean - 0.1) < 1e-9);
    /* One slate stands for all. */
    for (size_t i = 0; i < 400; i++) slots[i] = (judge_slot){1, 0.999, i == 7 ? 0.999 : 0.9, 0, 0};
    slots[7].logged = 0.005;
    assert_int_equal(judge_estimate_value(JUDGE_CASCADE, slates, 400, &e, NULL), BRAID_OK);
    assert_int_equal(e.warnings, JUDGE_EXPLODED | JUDGE_FEW);
    slots[7].logged = 1e-6;
    assert_int_equal(judge_estimate_value(JUDGE_CASCADE, slates, 400, &e, NULL), BRAID_OK);
    assert_true(e.warnings & JUDGE_CLIPPED);
    assert_true(e.weight_max == JUDGE_WEIGHT_MAX);
    assert_int_equal(judge_estimate_value(JUDGE_CASCADE, slates, 0, &e, NULL), BRAID_OK);
    assert_int_equal(e.warnings, JUDGE_FEW);
}

static void refuse_what_is_no_propensity(void **state) {
    (void)state;
    const judge_slot bad[] = {
        {1, 0, 0.5, 0, 0}, {1, 1.5, 0.5, 0, 0}, {1, 0.5, -0.1, 0, 0}, {1, NAN, 0.5, 0, 0}, {NAN, 0.5, 0.5, 0, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        judge_slate s = {1, &bad[i], 1};
        judge_estimate e;
        braid_error err = {0};
        assert_true(judge_estimate_value(JUDGE_CASCADE, &s, 1, &e, &err) != BRAID_OK);
        assert_string_equal(err.store, "judge");
    }
}

static void predictions_find_the_line(void **state) {
    (void)state;
    static judge_ridge r;
    rng random;
    rng_seed(&random, 5);
    judge_ridge_begin(&r, 3);
    for (int i = 0; i < 5000; i++) {
        float x[3] = {(float)rng_normal(&random), (float)rng_normal(&random), 0}; /* the third says nothing */
        judge_ridge_add(&r, x, 2 + 0.5 * x[0] - x[1] + 0.1 * rng_normal(&random));
    }
    judge_ridge_solve(&r, 1);
    const float at[3] = {1, -1, 4};
    assert_true(fabs(judge_ridge_predict(&r, at) - 3.5) < 0.02);
    judge_ridge_begin(&r, 3);
    judge_ridge_solve(&r, 1);
    assert_true(judge_ridge_predict(&r, at) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_lists_read_from_the_top_cover_the_truth),
        cmocka_unit_test(of_places_alone_cover_the_truth),
        cmocka_unit_test(of_the_same_policy_is_what_was_earned),
        cmocka_unit_test(count_people_and_not_slates),
        cmocka_unit_test(say_what_is_wrong_with_them),
        cmocka_unit_test(refuse_what_is_no_propensity),
        cmocka_unit_test(predictions_find_the_line),
    };
    return cmocka_run_group_tests_name("estimates of another policy", tests, NULL, NULL);
}
