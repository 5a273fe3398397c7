/* What the evaluation rests on: numpy's permutations, the splits, the slates, the figures. Expected values come from
 * numpy 2.4 and from programs in Python that were written from the protocols' text alone; small ones are computed by
 * hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/eval.h"
#include "cli/pcg64.h"

/* ---- pcg64 ---- */

static void draws_are_those_of_numpy(void **state) {
    (void)state;
    static const uint64_t of_42[] = {UINT64_C(14276969152011380360), UINT64_C(8095878257575067585),
                                     UINT64_C(15838336090824644132), UINT64_C(12864169557245331597)};
    pcg64 g;
    pcg64_seed(&g, 42);
    for (size_t i = 0; i < 4; i++) assert_true(pcg64_next(&g) == of_42[i]);
    pcg64_seed(&g, UINT64_C(123456789012345)); /* two words of seed */
    assert_true(pcg64_next(&g) == UINT64_C(9776902893865078502));
    assert_true(pcg64_next(&g) == UINT64_C(819811936507288463));
}

static void permutations_are_those_of_numpy(void **state) {
    (void)state;
    static const uint32_t ten_of_42[] = {5, 6, 0, 7, 3, 2, 4, 9, 1, 8}, ten_of_43[] = {2, 8, 9, 5, 7, 1, 4, 6, 0, 3},
                          five_of_0[] = {2, 4, 3, 0, 1},
                          head[] = {1261, 7677, 7184, 3048, 6958, 6257, 3089, 7939, 3717, 2890, 3896, 4479};
    uint32_t *p = calloc(9742, sizeof *p);
    pcg64 g;
    assert_non_null(p);
    pcg64_seed(&g, 42);
    pcg64_permutation(&g, p, 10);
    assert_memory_equal(p, ten_of_42, sizeof ten_of_42);
    pcg64_seed(&g, 43);
    pcg64_permutation(&g, p, 10);
    assert_memory_equal(p, ten_of_43, sizeof ten_of_43);
    pcg64_seed(&g, 0);
    pcg64_permutation(&g, p, 5);
    assert_memory_equal(p, five_of_0, sizeof five_of_0);
    pcg64_seed(&g, 42);
    pcg64_permutation(&g, p, 9742);
    assert_memory_equal(p, head, sizeof head);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 9742; i++) sum += (uint64_t)p[i] * (i + 1);
    assert_true(sum == UINT64_C(231147026554));
    free(p);
}

static void one_generator_goes_on_from_permutation_to_permutation(void **state) {
    (void)state;
    static const uint32_t sizes[] = {3, 1, 0, 2, 5, 4}, wanted[] = {2, 1, 0, 0, 0, 1, 3, 4, 2, 0, 1, 3, 0, 1, 2};
    uint32_t p[5];
    size_t at = 0;
    pcg64 g;
    pcg64_seed(&g, 42);
    for (size_t i = 0; i < 6; i++) {
        pcg64_permutation(&g, p, sizes[i]);
        assert_memory_equal(p, wanted + at, sizes[i] * sizeof *p);
        at += sizes[i];
    }
}

/* ---- splits and slates over invented data ---- */

enum { USERS = 16, FILMS = 90, RATINGS = 908 };

/* People rate about two films in three; the last person only a few, too few for a split by time. */
static eval_data invent(void) {
    eval_data d = {.film_count = FILMS, .user_count = USERS};
    d.ratings = calloc(RATINGS, sizeof *d.ratings);
    assert_non_null(d.ratings);
    for (uint32_t u = 0; u < USERS; u++)
        for (uint32_t f = 0; f < FILMS; f++)
            if ((u * 7 + f * 5) % 3 != 1 && (u < USERS - 1 || f < 12)) {
                assert_true(d.rating_count < RATINGS);
                d.ratings[d.rating_count++] =
                    (eval_rating){u, f, 3 + 0.5f * (float)((u * 3 + f * 11) % 5), 1000 + (u * 131 + f * 37) % 50};
            }
    assert_int_equal(d.rating_count, RATINGS);
    return d;
}

static uint64_t digest(uint64_t seed, uint32_t value) { /* FNV-1a over whole numbers */
    return (seed ^ value) * UINT64_C(0x100000001b3);
}

static uint64_t digest_of(const unsigned char *sets, size_t n) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++) h = digest(h, sets[i]);
    return h;
}

static size_t count_of(const unsigned char *sets, size_t n, eval_set set) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += sets[i] == set;
    return count;
}

static void splits_are_as_the_protocols_say(void **state) {
    (void)state;
    eval_data d = invent();
    unsigned char sets[RATINGS];
    eval_split_time(&d, sets);
    assert_int_equal(count_of(sets, RATINGS, EVAL_OUT), 8);
    assert_int_equal(count_of(sets, RATINGS, EVAL_TEST), 180);
    assert_int_equal(count_of(sets, RATINGS, EVAL_VALIDATION), 135);
    assert_true(digest_of(sets, RATINGS) == UINT64_C(0xf420431c4427ae2a));
    eval_split_random(&d, sets);
    assert_int_equal(count_of(sets, RATINGS, EVAL_OUT), 368);
    assert_int_equal(count_of(sets, RATINGS, EVAL_TEST), 105);
    assert_int_equal(count_of(sets, RATINGS, EVAL_VALIDATION), 75);
    assert_true(digest_of(sets, RATINGS) == UINT64_C(0xf772f4175a0328a8));
    eval_split_films(&d, 0, sets);
    assert_int_equal(count_of(sets, FILMS, EVAL_TEST), 9);
    assert_int_equal(count_of(sets, FILMS, EVAL_VALIDATION), 9);
    assert_true(digest_of(sets, FILMS) == UINT64_C(0xeaae1100c229f7f4));
    eval_split_films(&d, 4, sets);
    assert_int_equal(count_of(sets, FILMS, EVAL_VALIDATION), 0);
    assert_true(digest_of(sets, FILMS) == UINT64_C(0xc7327ab8417f7d31));
    free(d.ratings);
}

static void folds_of_films_do_not_overlap(void **state) {
    (void)state;
    eval_data d = {.film_count = FILMS};
    unsigned char sets[FILMS], held[FILMS] = {0};
    for (unsigned fold = 0; fold < EVAL_FOLDS; fold++) {
        eval_split_films(&d, fold, sets);
        for (size_t f = 0; f < FILMS; f++) held[f] += sets[f] == EVAL_TEST;
    }
    for (size_t f = 0; f < FILMS; f++) assert_true(held[f] <= 1);
    assert_int_equal(count_of(held, FILMS, 1), EVAL_FOLDS * (FILMS / EVAL_FOLD_SHARE));
}

static void slates_are_as_the_protocol_says(void **state) {
    (void)state;
    static const uint32_t firsts[2][EVAL_SLATE] = {
        {1, 54, 70, 55, 68, 74, 17, 16, 26, 20, 59, 81, 31, 75, 2, 43, 21, 23, 58, 83},
        {75, 40, 24, 5, 1, 67, 4, 54, 59, 28, 82, 63, 68, 8, 85, 31, 78, 38, 17, 55}};
    static const uint64_t digests[2] = {UINT64_C(0x287e580462a858f7), UINT64_C(0x61a766111a6bc8b4)};
    eval_data d = invent();
    for (int popular = 0; popular < 2; popular++) {
        eval_slates *s = eval_slates_new(&d, popular);
        uint32_t films[EVAL_SLATE];
        const eval_rating *event;
        size_t events = 0;
        uint64_t h = UINT64_C(0xcbf29ce484222325);
        assert_int_equal(eval_slates_first(s), RATINGS / 2);
        while (eval_slates_next(s, &event, films)) {
            if (events++ == 0) assert_memory_equal(films, firsts[popular], sizeof films);
            for (size_t i = 0; i < EVAL_SLATE; i++) h = digest(h, films[i]);
        }
        assert_int_equal(events, RATINGS - RATINGS / 2);
        assert_true(h == digests[popular]);
        eval_slates_free(s);
    }
    free(d.ratings);
}

static void a_person_who_has_rated_nearly_all_ends_the_stream(void **state) {
    (void)state;
    eval_rating ratings[24];
    for (uint32_t f = 0; f < 24; f++) ratings[f] = (eval_rating){0, f, 4, f};
    eval_data d = {.film_count = 30, .user_count = 1, .ratings = ratings, .rating_count = 24};
    eval_slates *s = eval_slates_new(&d, false);
    uint32_t films[EVAL_SLATE];
    const eval_rating *event;
    assert_false(eval_slates_next(s, &event, films)); /* 12 rated, 17 others: nineteen are wanted */
    eval_slates_free(s);
}

/* ---- figures ---- */

static void gains_are_discounted_by_place_and_compared_with_the_ideal(void **state) {
    (void)state;
    const uint32_t list[] = {7, 3, 5, 1};
    unsigned char good[10] = {0};
    good[3] = good[1] = 1;
    eval_score s = eval_score_of(list, 4, good, 2, 10);
    /* places 2 and 4 of an ideal 1 and 2: (0.63093 + 0.43068) / (1 + 0.63093) */
    assert_true(fabs(s.ndcg - 0.650921) < 1e-6);
    assert_true(s.recall == 1 && s.hit == 1);
    s = eval_score_of(list, 4, good, 2, 3);
    assert_true(fabs(s.ndcg - 0.386853) < 1e-6); /* place 2 alone: 0.63093 / 1.63093 */
    assert_true(s.recall == 0.5 && s.hit == 1);
    good[3] = good[1] = 0;
    good[9] = 1;
    s = eval_score_of(list, 4, good, 1, 10);
    assert_true(s.ndcg == 0 && s.recall == 0 && s.hit == 0);
    s = eval_score_of(list, 0, good, 1, 10); /* an empty answer */
    assert_true(s.ndcg == 0 && s.hit == 0);
    for (size_t i = 0; i < 10; i++) good[i] = 1;
    s = eval_score_of(list, 4, good, 10, 4); /* more likes than places: the best list is perfect */
    assert_true(fabs(s.ndcg - 1) < 1e-12 && s.recall == 0.4);
}

static void ranks_go_by_count_and_then_by_number(void **state) {
    (void)state;
    const uint32_t counts[] = {3, 9, 3, 0, 9}, wanted[] = {3, 1, 4, 5, 2};
    uint32_t ranks[5];
    eval_ranks(counts, 5, ranks);
    assert_memory_equal(ranks, wanted, sizeof wanted);
}

static void quantiles_lie_between_their_neighbours(void **state) {
    (void)state;
    double values[] = {4, 1, 3, 2};
    assert_true(eval_quantile(values, 4, 0.5) == 2.5);
    assert_true(eval_quantile(values, 4, 0) == 1 && eval_quantile(values, 4, 1) == 4);
    assert_true(fabs(eval_quantile(values, 4, 0.99) - 3.97) < 1e-12);
    assert_true(eval_quantile(values, 0, 0.5) == 0 && eval_quantile(values, 1, 0.99) == 1);
    assert_true(eval_mean(values, 4) == 2.5);
    assert_true(fabs(eval_deviation(values, 4) - 1.2909944487) < 1e-9);
    assert_true(eval_deviation(values, 1) == 0);
}

static void intervals_hold_the_mean_and_are_the_same_every_time(void **state) {
    (void)state;
    double constant[50], mixed[400], weights[400], low, high, low_again, high_again;
    for (size_t i = 0; i < 50; i++) constant[i] = 0.25;
    eval_interval(constant, NULL, 50, 2000, &low, &high);
    assert_true(fabs(low - 0.25) < 1e-12 && fabs(high - 0.25) < 1e-12);
    for (size_t i = 0; i < 400; i++) {
        mixed[i] = i % 4 == 0;
        weights[i] = 2;
    }
    eval_interval(mixed, NULL, 400, 2000, &low, &high);
    /* of 400 draws with chance 1/4 the mean has a deviation of 0.02165: 0.2076 to 0.2924 */
    assert_true(fabs(low - 0.2076) < 0.005 && fabs(high - 0.2924) < 0.005);
    eval_interval(mixed, NULL, 400, 2000, &low_again, &high_again);
    assert_true(low == low_again && high == high_again);
    eval_interval(mixed, weights, 400, 2000, &low_again, &high_again); /* everybody counts twice: half the share */
    assert_true(fabs(low_again - low / 2) < 1e-12 && fabs(high_again - high / 2) < 1e-12);
    eval_interval(mixed, NULL, 0, 2000, &low, &high);
    assert_true(low == 0 && high == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_those_of_numpy),
        cmocka_unit_test(permutations_are_those_of_numpy),
        cmocka_unit_test(one_generator_goes_on_from_permutation_to_permutation),
        cmocka_unit_test(splits_are_as_the_protocols_say),
        cmocka_unit_test(folds_of_films_do_not_overlap),
        cmocka_unit_test(slates_are_as_the_protocol_says),
        cmocka_unit_test(a_person_who_has_rated_nearly_all_ends_the_stream),
        cmocka_unit_test(gains_are_discounted_by_place_and_compared_with_the_ideal),
        cmocka_unit_test(ranks_go_by_count_and_then_by_number),
        cmocka_unit_test(quantiles_lie_between_their_neighbours),
        cmocka_unit_test(intervals_hold_the_mean_and_are_the_same_every_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
