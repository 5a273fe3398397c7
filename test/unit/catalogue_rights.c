/* Rights: region and window and age and tier, exact to the millisecond, whichever way the clock goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "catalogue/catalogue.h"

enum { NUMS = 3000 };

/* regions: bits into names */
typedef struct facts {
    bool there;
    int64_t from, until;
    int32_t age, tier;
    unsigned regions;
} facts;

static const char *const names[] = {"FR", "CA", "BE", "JP"};

static item *make_item(const facts *f, uint32_t num, const char *regions[4]) {
    static _Thread_local item it;
    static _Thread_local char id[32];
    size_t n = 0;
    snprintf(id, sizeof id, "i%u", num);
    for (unsigned i = 0; i < 4; i++)
        if (f->regions & (1u << i)) regions[n++] = names[i];
    it = (item){.id = id,
                .title = "t",
                .original_title = "",
                .kind = "film",
                .language = "fr",
                .synopsis = "",
                .available_from = f->from,
                .available_until = f->until,
                .age_rating = f->age,
                .tier = f->tier,
                .regions = {regions, n}};
    return &it;
}

static void put(catalogue *c, const facts *f, uint32_t num, uint64_t version) {
    const char *regions[4];
    assert_int_equal(catalogue_upsert(c, num, version, make_item(f, num, regions), NULL), BRAID_OK);
}

static bool may(const facts *f, const viewer_rights *r) {
    bool region = f->regions == 0;
    for (unsigned i = 0; i < 4; i++) region = region || ((f->regions & (1u << i)) && strcmp(names[i], r->region) == 0);
    return f->there && region && (f->from == TIME_NONE || r->now >= f->from) &&
           (f->until == TIME_NONE || r->now < f->until) && (r->age < 0 || f->age <= r->age) &&
           (r->tier < 0 || f->tier <= r->tier);
}

static facts random_facts(rng *r) {
    facts f = {.there = true,
               .from = TIME_NONE,
               .until = TIME_NONE,
               .age = (int32_t)rng_below(r, 4) * 6,
               .tier = (int32_t)rng_below(r, 3)};
    if (rng_below(r, 2)) f.from = (int64_t)rng_below(r, 2000);
    if (rng_below(r, 2)) f.until = (int64_t)rng_below(r, 2000);
    if (rng_below(r, 2)) f.regions = (unsigned)rng_below(r, 16);
    return f;
}

static void compare(catalogue *c, const facts *all, const viewer_rights *r) {
    bitset set;
    assert_true(bitset_init(&set, catalogue_bits(c)));
    bitset_fill(&set);
    catalogue_apply_rights(c, r, &set);
    for (uint32_t num = 0; num < NUMS; num++) {
        bool want = may(&all[num], r);
        if (bitset_has(&set, num) != want || catalogue_may_show(c, r, num) != want)
            fail_msg("item %u: set %d, single %d, right %d (now %lld region %s age %d tier %d)", num,
                     bitset_has(&set, num), catalogue_may_show(c, r, num), want, (long long)r->now, r->region, r->age,
                     r->tier);
    }
    bitset_free(&set);
}

static int64_t next_edge(const facts *all, int64_t now) {
    int64_t next = INT64_MAX;
    for (uint32_t num = 0; num < NUMS; num++) {
        int64_t edges[2] = {all[num].from, all[num].until};
        for (int i = 0; all[num].there && i < 2; i++)
            if (edges[i] != TIME_NONE && edges[i] > now && edges[i] < next) next = edges[i];
    }
    return next;
}

static void rights_hold_for_every_viewer_while_the_clock_jumps_and_items_change(void **state) {
    (void)state;
    const char *replay = getenv("CATALOGUE_SEED");
    uint64_t seed = replay != NULL ? strtoull(replay, NULL, 10) : (uint64_t)clock_wall_ms(&clock_system), version = 1;
    print_message("CATALOGUE_SEED=%llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    facts *all = calloc(NUMS, sizeof *all);
    catalogue *c;
    assert_int_equal(catalogue_open(&clock_system, NULL, &c, NULL), BRAID_OK);
    for (uint32_t num = 1; num < NUMS; num++) {
        all[num] = random_facts(&r);
        put(c, &all[num], num, version++);
    }
    const char *const regions[] = {"FR", "CA", "BE", "JP", "", "nowhere"};
    for (int i = 0; i < 400; i++) {
        for (size_t n = rng_below(&r, 5); n > 0; n--) {
            uint32_t num = 1 + (uint32_t)rng_below(&r, NUMS - 1);
            if (rng_below(&r, 3) == 0) {
                all[num].there = false;
                assert_int_equal(catalogue_remove(c, num, version++, NULL), BRAID_OK);
            } else {
                all[num] = random_facts(&r);
                put(c, &all[num], num, version++);
            }
        }
        viewer_rights who = {.region = regions[rng_below(&r, 6)],
                             .age = (int32_t)rng_below(&r, 20) - 1,
                             .tier = (int32_t)rng_below(&r, 4) - 1,
                             .now = (int64_t)rng_below(&r, 2100) - 50};
        compare(c, all, &who);
        assert_int_equal(catalogue_next_window_edge(c, who.now), next_edge(all, who.now));
    }
    catalogue_close(c);
    free(all);
}

static bool shown(catalogue *c, int64_t now) {
    viewer_rights who = {.region = "", .age = -1, .tier = -1, .now = now};
    bitset set;
    assert_true(bitset_init(&set, catalogue_bits(c)));
    bitset_fill(&set);
    catalogue_apply_rights(c, &who, &set);
    bool in_set = bitset_has(&set, 7);
    bitset_free(&set);
    assert_int_equal(catalogue_may_show(c, &who, 7), in_set);
    return in_set;
}

static void a_title_is_gone_from_the_very_millisecond_its_window_ends(void **state) {
    (void)state;
    const int64_t from = 1700000000000, until = 1800000000000;
    facts f = {.there = true, .from = from, .until = until};
    catalogue *c;
    assert_int_equal(catalogue_open(&clock_system, NULL, &c, NULL), BRAID_OK);
    put(c, &f, 7, 1);
    const struct {
        int64_t now;
        bool shown;
    } steps[] = {{from - 1, false},  {from, true},   {from - 1, false},  {from, true},
                 {until - 1, true},  {until, false}, {until - 1, true},  {until, false},
                 {INT64_MAX, false}, {from, true},   {INT64_MIN, false}, {until - 1, true}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        assert_int_equal(shown(c, steps[i].now), steps[i].shown);
    assert_int_equal(catalogue_next_window_edge(c, from - 1), from);
    assert_int_equal(catalogue_next_window_edge(c, from), until);
    assert_int_equal(catalogue_next_window_edge(c, until), INT64_MAX);
    f.until = TIME_NONE;
    put(c, &f, 7, 2);
    assert_true(shown(c, until));
    assert_true(shown(c, INT64_MAX));
    catalogue_close(c);
}

static void a_remembered_region_learns_of_new_titles_and_more_regions_than_are_remembered_are_right(void **state) {
    (void)state;
    catalogue *c;
    assert_int_equal(catalogue_open(&clock_system, NULL, &c, NULL), BRAID_OK);
    facts f = {.there = true, .from = TIME_NONE, .until = TIME_NONE, .regions = 1};
    put(c, &f, 1, 1);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            char region[16];
            snprintf(region, sizeof region, "R%d", i);
            const char *one[] = {region};
            char id[32];
            snprintf(id, sizeof id, "r%d-%d", round, i);
            item it = {.id = id,
                       .title = "t",
                       .original_title = "",
                       .kind = "",
                       .language = "",
                       .synopsis = "",
                       .available_from = TIME_NONE,
                       .available_until = TIME_NONE,
                       .regions = {one, 1}};
            uint32_t num = (uint32_t)(10 + round * 100 + i);
            viewer_rights who = {.region = region, .age = -1, .tier = -1};
            bitset set;
            assert_true(bitset_init(&set, 400));
            bitset_fill(&set);
            catalogue_apply_rights(c, &who, &set);
            assert_int_equal(bitset_count(&set), (uint64_t)round);
            assert_int_equal(catalogue_upsert(c, num, num, &it, NULL), BRAID_OK);
            bitset_fill(&set);
            catalogue_apply_rights(c, &who, &set);
            assert_int_equal(bitset_count(&set), (uint64_t)round + 1);
            assert_true(bitset_has(&set, num));
            bitset_free(&set);
        }
    }
    catalogue_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rights_hold_for_every_viewer_while_the_clock_jumps_and_items_change),
        cmocka_unit_test(a_title_is_gone_from_the_very_millisecond_its_window_ends),
        cmocka_unit_test(a_remembered_region_learns_of_new_titles_and_more_regions_than_are_remembered_are_right),
    };
    return cmocka_run_group_tests_name("catalogue: rights", tests, NULL, NULL);
}
