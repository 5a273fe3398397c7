/* Patterns: what was planted is found, with its direction; noise gives none; who does much of everything plants
 * nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "learn/learn.h"

enum { FACETS = 20, ITEMS = 400, PEOPLE = 600, EACH = 40, MOODS = 4, SEEDS = 20 };

typedef struct world {
    uint32_t at[ITEMS + 1];
    uint8_t facet[ITEMS * 3];
    learn_facets facets;
    learn_liking *list;
    size_t count;
    rng r;
} world;

/* Two facets an item, the first by its number; facet 0 is on one item in FACETS, as any other. */
static void world_make(world *w, uint64_t seed) {
    rng_seed(&w->r, seed);
    uint32_t n = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        w->at[i] = n;
        w->facet[n++] = (uint8_t)(i % FACETS);
        uint8_t other = (uint8_t)rng_below(&w->r, FACETS);
        if (other != i % FACETS) w->facet[n++] = other;
    }
    w->at[ITEMS] = n;
    w->facets = (learn_facets){FACETS, ITEMS, w->at, w->facet};
    w->list = calloc((size_t)PEOPLE * EACH * 4, sizeof *w->list);
    assert_non_null(w->list);
    w->count = 0;
}

static learn_liking by_chance(world *w, uint64_t person) {
    return (learn_liking){.person = person,
                          .item = (uint32_t)rng_below(&w->r, ITEMS),
                          .year = (uint16_t)(2021 + rng_below(&w->r, 3)),
                          .month = (uint8_t)rng_below(&w->r, 12),
                          .mood = (uint8_t)rng_below(&w->r, MOODS + 1)};
}

static uint32_t item_of(world *w, uint8_t facet) {
    return facet + FACETS * (uint32_t)rng_below(&w->r, ITEMS / FACETS);
}

static learn_patterns *find(world *w) {
    learn_patterns *p = NULL;
    braid_error err = {0};
    const learn_work alone = {.threads = 1};
    assert_int_equal(learn_patterns_find(w->list, w->count, &w->facets, &alone, &p, &err), BRAID_OK);
    free(w->list);
    return p;
}

static const learn_pattern *pattern(const learn_patterns *p, learn_pattern_kind kind, int facet, int given) {
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].kind == kind && p->list[i].facet == facet && p->list[i].given == given) return &p->list[i];
    return NULL;
}

static size_t count_of(const learn_patterns *p, learn_pattern_kind kind) {
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++) n += p->list[i].kind == kind;
    return n;
}

/* Everybody draws from the same hat, some a little and some much: false discoveries are as rare as promised. */
static void noise_gives_next_to_nothing(void **state) {
    (void)state;
    size_t found = 0, tests = 0, worst = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world w;
        world_make(&w, seed);
        for (uint64_t person = 0; person < PEOPLE; person++)
            for (size_t i = 0, n = 5 + rng_below(&w.r, 3 * EACH); i < n; i++) w.list[w.count++] = by_chance(&w, person);
        learn_patterns *p = find(&w);
        found += p->count;
        worst = p->count > worst ? p->count : worst;
        for (int k = 0; k < LEARN_PATTERN_KINDS; k++) tests += p->tested[k];
        assert_true(p->people > PEOPLE * 9 / 10);
        learn_patterns_free(p);
    }
    print_message("%zu patterns in %zu tests of noise, %zu at most in one\n", found, tests, worst);
    assert_true(tests > SEEDS * 500);
    assert_true(found <= 3 && worst <= 2);
}

/* A third of the people like facet 3 and, more than others, facet 7, on items that are not both. */
static void who_likes_one_likes_the_other(void **state) {
    (void)state;
    world w;
    world_make(&w, 77);
    for (uint64_t person = 0; person < PEOPLE; person++)
        for (size_t i = 0; i < EACH; i++) {
            learn_liking l = by_chance(&w, person);
            if (person % 3 == 0 && i % 8 == 0) l.item = item_of(&w, 3);
            if (person % 3 == 0 && i % 8 == 1) l.item = item_of(&w, 7);
            w.list[w.count++] = l;
        }
    learn_patterns *p = find(&w);
    const learn_pattern *there = pattern(p, LEARN_GENRE_AFFINITY, 7, 3), *back = pattern(p, LEARN_GENRE_AFFINITY, 3, 7);
    assert_non_null(there);
    assert_non_null(back);
    assert_true(there->lift > 1.2 && there->low > 1 && there->low < there->lift && there->people >= 20);
    for (size_t i = 0; i < p->count; i++) /* and not with what everybody likes alike */
        if (p->list[i].kind == LEARN_GENRE_AFFINITY)
            assert_true((p->list[i].facet == 7 && p->list[i].given == 3) ||
                        (p->list[i].facet == 3 && p->list[i].given == 7));
    assert_true(count_of(p, LEARN_SEASONAL_TREND) + count_of(p, LEARN_MOOD_CORRELATION) <= 1);
    learn_patterns_free(p);
}

/* Facets 3 and 7 are always on the same items, and nothing is liked more than anything else. */
static void labels_that_are_given_together_are_no_affinity(void **state) {
    (void)state;
    world w;
    world_make(&w, 5);
    uint32_t n = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        w.at[i] = n;
        w.facet[n++] = (uint8_t)(i % FACETS);
        if (i % FACETS == 3) w.facet[n++] = 7;
        if (i % FACETS == 7) w.facet[n++] = 3;
    }
    w.at[ITEMS] = n;
    for (uint64_t person = 0; person < PEOPLE; person++)
        for (size_t i = 0; i < EACH; i++) {
            learn_liking l = by_chance(&w, person);
            if (person % 2 && i % 2) l.item = item_of(&w, 3); /* half of them like what has both */
            w.list[w.count++] = l;
        }
    learn_patterns *p = find(&w);
    assert_null(pattern(p, LEARN_GENRE_AFFINITY, 7, 3));
    assert_null(pattern(p, LEARN_GENRE_AFFINITY, 3, 7));
    learn_patterns_free(p);
}

static void plant_month(world *w, int years, bool everywhere) {
    for (uint64_t person = 0; person < PEOPLE; person++)
        for (size_t i = 0; i < EACH; i++) {
            learn_liking l = by_chance(w, person);
            l.year = (uint16_t)(2021 + rng_below(&w->r, (uint64_t)years));
            if (i % 3 == 0) l.month = 11; /* everybody does more in December */
            if (l.month == 11 && (everywhere || person % 2) && rng_uniform(&w->r) < 0.3) l.item = item_of(w, 2);
            w->list[w->count++] = l;
        }
}

static void a_facet_has_its_month(void **state) {
    (void)state;
    world w;
    world_make(&w, 9);
    plant_month(&w, 3, true);
    learn_patterns *p = find(&w);
    const learn_pattern *season = pattern(p, LEARN_SEASONAL_TREND, 2, 11);
    assert_non_null(season);
    assert_true(season->lift > 1.3 && season->low > 1.2 && season->years == 3);
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i].kind == LEARN_SEASONAL_TREND) assert_true(p->list[i].given == 11);
    learn_patterns_free(p);
}

static void what_came_once_is_no_season(void **state) {
    (void)state;
    world w;
    world_make(&w, 9);
    plant_month(&w, 1, true);
    learn_patterns *p = find(&w);
    assert_int_equal(count_of(p, LEARN_SEASONAL_TREND), 0);
    learn_patterns_free(p);
}

/* Three people who spend every December with one facet are three witnesses, however much they watch. */
static void a_few_who_do_much_are_few(void **state) {
    (void)state;
    world w;
    world_make(&w, 31);
    for (uint64_t person = 0; person < PEOPLE; person++)
        for (size_t i = 0; i < EACH; i++) w.list[w.count++] = by_chance(&w, person);
    for (uint64_t person = 0; person < 3; person++)
        for (uint32_t i = 0; i < ITEMS / FACETS; i++)
            w.list[w.count++] = (learn_liking){
                .person = person, .item = 2 + FACETS * i, .year = (uint16_t)(2021 + i % 3), .month = 11, .mood = 1};
    learn_patterns *p = find(&w);
    assert_null(pattern(p, LEARN_SEASONAL_TREND, 2, 11));
    assert_null(pattern(p, LEARN_MOOD_CORRELATION, 2, 1));
    assert_null(pattern(p, LEARN_USER_PREFERENCE, 2, 0));
    learn_patterns_free(p);
}

static void a_mood_has_its_facet_and_little_evidence_little_confidence(void **state) {
    (void)state;
    double confidence[2];
    for (int little = 0; little < 2; little++) {
        world w;
        world_make(&w, 13);
        for (uint64_t person = 0; person < (little ? 90 : PEOPLE); person++)
            for (size_t i = 0; i < EACH; i++) {
                learn_liking l = by_chance(&w, person);
                if (l.mood == 2 && rng_uniform(&w.r) < 0.3) l.item = item_of(&w, 5);
                w.list[w.count++] = l;
            }
        learn_patterns *p = find(&w);
        const learn_pattern *mood = pattern(p, LEARN_MOOD_CORRELATION, 5, 2);
        assert_non_null(mood);
        confidence[little] = (mood->low - 1) / (mood->lift - 1);
        learn_patterns_free(p);
    }
    assert_true(confidence[1] > 0 && confidence[1] < confidence[0] && confidence[0] < 1);
}

static void a_preference_is_beyond_everybodys_share(void **state) {
    (void)state;
    double lift, low;
    assert_true(learn_preference(12, 20, 0.1, &lift, &low) && fabs(lift - 6) < 1e-9 && low > 2 && low < lift);
    assert_false(learn_preference(2, 2, 0.01, &lift, &low));   /* two say nothing */
    assert_false(learn_preference(4, 20, 0.1, &lift, &low));   /* twice the share, by chance in one of eight */
    assert_false(learn_preference(20, 200, 0.1, &lift, &low)); /* as everybody */
    assert_true(learn_preference(100, 200, 0.2, &lift, &low));
    world w;
    world_make(&w, 3);
    for (uint64_t person = 0; person < PEOPLE; person++)
        for (size_t i = 0; i < EACH; i++) {
            learn_liking l = by_chance(&w, person);
            if (person % 10 == 0 && i % 2) l.item = item_of(&w, 4);
            w.list[w.count++] = l;
        }
    learn_patterns *p = find(&w);
    assert_int_equal(count_of(p, LEARN_USER_PREFERENCE), 1);
    assert_true(pattern(p, LEARN_USER_PREFERENCE, 4, 0)->people >= PEOPLE / 20);
    learn_patterns_free(p);
}

static bool stop(void *ctx, uint64_t done, uint64_t total) {
    (void)total;
    return done == 0 || !*(bool *)ctx;
}

static void it_can_be_stopped_and_nothing_is_nothing(void **state) {
    (void)state;
    world w;
    learn_patterns *p = NULL;
    braid_error err = {0};
    bool yes = true;
    const learn_work work = {.threads = 1, .progress = stop, .ctx = &yes};
    world_make(&w, 1);
    assert_int_equal(learn_patterns_find(w.list, 0, &w.facets, &work, &p, &err), BRAID_OK);
    assert_int_equal(p->count, 0);
    learn_patterns_free(p);
    for (uint64_t person = 0; person < PEOPLE; person++)
        for (size_t i = 0; i < EACH; i++) w.list[w.count++] = by_chance(&w, person);
    assert_int_equal(learn_patterns_find(w.list, w.count, &w.facets, &work, &p, &err), BRAID_E_CLOSED);
    assert_null(p);
    free(w.list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_gives_next_to_nothing),
        cmocka_unit_test(who_likes_one_likes_the_other),
        cmocka_unit_test(labels_that_are_given_together_are_no_affinity),
        cmocka_unit_test(a_facet_has_its_month),
        cmocka_unit_test(what_came_once_is_no_season),
        cmocka_unit_test(a_few_who_do_much_are_few),
        cmocka_unit_test(a_mood_has_its_facet_and_little_evidence_little_confidence),
        cmocka_unit_test(a_preference_is_beyond_everybodys_share),
        cmocka_unit_test(it_can_be_stopped_and_nothing_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
