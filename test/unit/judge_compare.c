/* Arms and rankings compared: the error rate holds however often somebody looks, differences are found, drafts and
 * assignments are fair. Bounds are those of the binomial distribution, four deviations wide, under fixed seeds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "judge/judge.h"

enum { RUNS = 400, PEOPLE = 1500, LOOK_EVERY = 25 };

static double four_deviations(double p, double n) {
    return 4 * sqrt(p * (1 - p) / n);
}

/* A person of an arm: a few slates, rewards that hang together within the person. */
static void add_person(judge_arm *arm, rng *r, double lift) {
    double taste = 0.2 * rng_normal(r), reward = 0;
    size_t slates = 1 + rng_below(r, 6);
    for (size_t s = 0; s < slates; s++) reward += rng_uniform(r) < 0.3 + taste + lift;
    judge_arm_add(arm, reward, (double)slates);
}

/* Shares of runs in which some look decided: by the always valid test, and by one that was made for a single look. */
static void run_experiments(double lift, double *valid, double *naive, double *covered) {
    size_t decided = 0, fooled = 0, held = 0;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        rng r;
        judge_arm a = {0}, b = {0};
        bool any = false, any_naive = false, all = true;
        rng_seed(&r, seed);
        for (size_t i = 1; i <= PEOPLE; i++) {
            add_person(&a, &r, 0);
            add_person(&b, &r, lift);
            if (i % LOOK_EVERY) continue;
            judge_comparison c = judge_compare(&a, &b, 0.1);
            double z = c.difference.value / sqrt(judge_arm_variance(&a) + judge_arm_variance(&b));
            any = any || c.decided;
            if (i >= JUDGE_PEOPLE_MIN) {
                any_naive = any_naive || fabs(z) > 1.96;
                all = all && c.difference.low <= lift && lift <= c.difference.high;
                assert_true((c.p < 0.05) == (c.difference.low > 0 || c.difference.high < 0));
            }
        }
        decided += any;
        fooled += any_naive;
        held += all;
    }
    *valid = (double)decided / RUNS;
    *naive = (double)fooled / RUNS;
    *covered = (double)held / RUNS;
}

static void looking_often_does_not_find_what_is_not_there(void **state) {
    (void)state;
    double valid, naive, covered;
    run_experiments(0, &valid, &naive, &covered);
    print_message(
        "no difference, %d looks: the always valid test errs in %.1f %% of %d runs, one for a single look in %.1f %%; "
        "all intervals of a run hold in %.1f %%\n",
        PEOPLE / LOOK_EVERY, valid * 100, RUNS, naive * 100, covered * 100);
    assert_true(valid <= 0.05 + four_deviations(0.05, RUNS));
    assert_true(covered >= 0.95 - four_deviations(0.05, RUNS));
    assert_true(naive > 0.15); /* else the looks would not have been a temptation */
}

static void a_difference_is_found(void **state) {
    (void)state;
    double valid, naive, covered;
    run_experiments(0.06, &valid, &naive, &covered);
    print_message("a difference of 0.06 on 0.3: found in %.1f %% of %d runs of %d people an arm\n", valid * 100, RUNS,
                  PEOPLE);
    assert_true(valid >= 0.95);
    assert_true(covered >= 0.95 - four_deviations(0.05, RUNS));
}

static void a_handful_of_people_decides_nothing(void **state) {
    (void)state;
    judge_arm a = {0}, b = {0};
    judge_comparison c = judge_compare(&a, &b, 0.1);
    assert_true(!c.decided && c.p == 1 && isinf(c.difference.high));
    for (int i = 0; i < JUDGE_PEOPLE_MIN - 1; i++) judge_arm_add(&a, 0, 1), judge_arm_add(&b, 1, 1);
    c = judge_compare(&a, &b, 0.1);
    assert_true(!c.decided && c.p < 0.05);
    judge_arm_add(&a, 0, 1);
    judge_arm_add(&b, 1, 1);
    assert_true(judge_compare(&a, &b, 0.1).decided);
}

/* ---- team draft ---- */
enum { DRAFT = 6, DRAFTS = 20000 };
static const uint32_t one[] = {1, 2, 3, 4, 5, 6, 7, 8}, two[] = {3, 9, 1, 10, 2, 11, 12, 13};

static void a_draft_is_fair_and_repeats_nothing(void **state) {
    (void)state;
    rng r;
    size_t of_second[DRAFT] = {0}, first_item[14] = {0};
    rng_seed(&r, 1);
    for (int i = 0; i < DRAFTS; i++) {
        uint32_t out[DRAFT];
        uint8_t team[DRAFT];
        assert_int_equal(judge_team_draft(one, 8, two, 8, DRAFT, &r, out, team), DRAFT);
        first_item[out[0]]++;
        size_t second = 0;
        for (size_t j = 0; j < DRAFT; j++) {
            for (size_t k = 0; k < j; k++) assert_int_not_equal(out[j], out[k]);
            of_second[j] += team[j];
            second += team[j];
        }
        assert_int_equal(second, DRAFT / 2); /* an even list: as many of each */
    }
    for (size_t j = 0; j < DRAFT; j++)
        assert_true(fabs((double)of_second[j] / DRAFTS - 0.5) < four_deviations(0.5, DRAFTS));
    assert_int_equal(first_item[1] + first_item[3], DRAFTS); /* somebody's best is first */
}

static void the_same_ranking_twice_is_itself(void **state) {
    (void)state;
    rng r;
    uint32_t out[8];
    uint8_t team[8];
    rng_seed(&r, 2);
    assert_int_equal(judge_team_draft(one, 8, one, 8, 8, &r, out, team), 8);
    assert_memory_equal(out, one, sizeof one);
    assert_int_equal(judge_team_draft(one, 2, two, 1, 8, &r, out, team), 3); /* short lists end */
    assert_int_equal(judge_team_draft(one, 0, two, 0, 8, &r, out, team), 0);
}

static void a_duel_of_equals_is_undecided_at_every_look(void **state) {
    (void)state;
    size_t decided = 0, held = 0, won = 0;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        rng r;
        uint64_t first = 0, second = 0, a = 0, b = 0;
        bool any = false, all = true;
        rng_seed(&r, seed + 1000);
        for (int i = 0; i < 600; i++) {
            if (rng_below(&r, 2))
                second++;
            else
                first++;
            judge_duel d = judge_duel_of(first, second);
            any = any || d.decided;
            all = all && d.share.low <= 0.5 && 0.5 <= d.share.high;
            assert_true(d.decided == (d.share.low > 0.5 || d.share.high < 0.5));
            if (rng_uniform(&r) < 0.62)
                b++;
            else
                a++;
        }
        decided += any;
        held += all;
        won += judge_duel_of(a, b).decided;
    }
    print_message("equals: decided at some look of 600 in %.1f %% of %d runs; 62 %% against 38 %%: in %.1f %%\n",
                  100.0 * (double)decided / RUNS, RUNS, 100.0 * (double)won / RUNS);
    assert_true((double)decided / RUNS <= 0.05 + four_deviations(0.05, RUNS) && held == RUNS - decided);
    assert_true((double)won / RUNS > 0.95);
}

/* ---- assignment ---- */
enum { ASSIGNED = 40000 };

static void people_stay_in_their_arm_and_shares_hold(void **state) {
    (void)state;
    const double shares[] = {2, 0, 1, 1};
    size_t count[4] = {0}, both[4][4] = {{0}};
    for (int i = 0; i < ASSIGNED; i++) {
        char person[32];
        snprintf(person, sizeof person, "viewer-%d", i);
        size_t arm = judge_assign("ranking", 7, person, shares, 4), other = judge_assign("rules", 7, person, shares, 4);
        assert_int_equal(arm, judge_assign("ranking", 7, person, shares, 4));
        count[arm]++;
        both[arm][other]++;
    }
    for (size_t a = 0; a < 4; a++) {
        double p = shares[a] / 4;
        assert_true(fabs((double)count[a] / ASSIGNED - p) <= four_deviations(p, ASSIGNED));
        for (size_t b = 0; b < 4; b++) {
            double q = p * shares[b] / 4;
            assert_true(fabs((double)both[a][b] / ASSIGNED - q) <= four_deviations(q, ASSIGNED));
        }
    }
    size_t moved = 0;
    for (int i = 0; i < 1000; i++) {
        char person[32];
        snprintf(person, sizeof person, "viewer-%d", i);
        moved += judge_assign("ranking", 7, person, shares, 4) != judge_assign("ranking", 8, person, shares, 4);
    }
    assert_true(moved > 500); /* another salt is another draw: 5/8 are expected to move */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looking_often_does_not_find_what_is_not_there),
        cmocka_unit_test(a_difference_is_found),
        cmocka_unit_test(a_handful_of_people_decides_nothing),
        cmocka_unit_test(a_draft_is_fair_and_repeats_nothing),
        cmocka_unit_test(the_same_ranking_twice_is_itself),
        cmocka_unit_test(a_duel_of_equals_is_undecided_at_every_look),
        cmocka_unit_test(people_stay_in_their_arm_and_shares_hold),
    };
    return cmocka_run_group_tests_name("arms and rankings compared", tests, NULL, NULL);
}
