/* Taste profiles: what they show, that an acknowledged interaction is in the next one, and what they cost. */
#include "policy_test.h"

static policy_profiles *profiles_open(room *r, size_t max) {
    policy_profiles *p = NULL;
    must(policy_profiles_open(r->record, r->people, r->cat, &test_limits, max, &clock_system, r->m, &p, err));
    return p;
}

static const policy_profile *get(policy_profiles *p, const char *id) {
    const policy_profile *out = NULL;
    must(policy_profile_get(p, id, 0, &out, err));
    assert_non_null(out);
    return out;
}

/* Writes it and tells the profiles, as the engine does. */
static uint64_t act(room *r, policy_profiles *p, const char *id, const char *item_id, interaction_type type,
                    int64_t at) {
    interaction in = did(id, item_id, type, at);
    if (type == INTERACTION_RATE) in.rating = 5;
    uint32_t num;
    uint64_t lsn = room_did(r, &in, &num);
    policy_profile_moved(p, &in, num, lsn);
    return lsn;
}

static float weight(room *r, const policy_profile *profile, filter_field field, const char *value) {
    uint32_t facet = room_facet(r, field, value);
    for (size_t i = 0; i < profile->affinity_count; i++)
        if (profile->affinities[i].facet == facet) return profile->affinities[i].weight;
    return 0;
}

static void assert_sound(const policy_profile *p) {
    for (size_t i = 1; i < p->seen_count; i++) assert_true(p->seen[i - 1] < p->seen[i]);
    for (size_t i = 1; i < p->recent_count; i++) assert_true(p->recent[i - 1].at >= p->recent[i].at);
    for (size_t i = 1; i < p->affinity_count; i++) assert_true(p->affinities[i - 1].facet < p->affinities[i].facet);
    for (size_t i = 0; i < p->affinity_count; i++) assert_true(fabsf(p->affinities[i].weight) <= 1);
    assert_true(p->recent_count <= 1000);
}

static void assert_same(const policy_profile *a, const policy_profile *b) {
    assert_sound(a);
    assert_int_equal(a->known, b->known);
    assert_int_equal(a->interactions, b->interactions);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->seen_count, b->seen_count);
    for (size_t i = 0; i < a->seen_count; i++) assert_int_equal(a->seen[i], b->seen[i]);
    assert_int_equal(a->recent_count, b->recent_count);
    for (size_t i = 0; i < a->recent_count; i++) {
        assert_int_equal(a->recent[i].num, b->recent[i].num);
        assert_int_equal(a->recent[i].type, b->recent[i].type);
        assert_int_equal(a->recent[i].at, b->recent[i].at);
        assert_true(a->recent[i].reward == b->recent[i].reward);
    }
    assert_int_equal(a->affinity_count, b->affinity_count);
    for (size_t i = 0; i < a->affinity_count; i++) {
        assert_int_equal(a->affinities[i].facet, b->affinities[i].facet);
        assert_true(fabsf(a->affinities[i].weight - b->affinities[i].weight) < 1e-6f);
    }
}

/* ---- what is shown ---- */
static void a_stranger_is_not_known(void **state) {
    (void)state;
    room r;
    room_open(&r);
    policy_profiles *p = profiles_open(&r, 10);
    const policy_profile *x = get(p, "nobody");
    assert_false(x->known);
    assert_true(x->interactions == 0 && x->seen_count == 0 && x->recent_count == 0 && x->affinity_count == 0 &&
                !x->person && x->version == 0);
    assert_int_equal(policy_profile_last_write(p, "nobody"), 0);
    policy_profile_release(x);
    policy_profiles_close(p);
    room_close(&r);
}

static void an_acknowledged_interaction_is_in_the_next_profile(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t a = room_item(&r, "a", "\"genres\":[\"drame\"],\"people\":[\"Agnès Varda\"]");
    room_item(&r, "b", "\"genres\":[\"western\"]");
    policy_profiles *p = profiles_open(&r, 10);
    const policy_profile *before = get(p, "ann");
    uint64_t lsn = act(&r, p, "ann", "a", INTERACTION_LIKE, 1000);
    const policy_profile *after = get(p, "ann");
    assert_false(before->known); /* what was handed out stays as it was */
    assert_true(after->known && after->interactions == 1 && after->version == lsn);
    assert_true(after->seen_count == 1 && after->seen[0] == a);
    assert_true(after->recent_count == 1 && after->recent[0].num == a && after->recent[0].reward == 1 &&
                after->recent[0].at == 1000);
    assert_true(weight(&r, after, FIELD_GENRES, "drame") > 0.1f);
    assert_true(weight(&r, after, FIELD_PEOPLE, "Agnès Varda") > 0.1f);
    assert_true(weight(&r, after, FIELD_GENRES, "western") == 0);
    assert_int_equal(policy_profile_last_write(p, "ann"), lsn);
    act(&r, p, "ann", "b", INTERACTION_DISLIKE, 2000);
    const policy_profile *third = get(p, "ann");
    assert_true(weight(&r, third, FIELD_GENRES, "western") < -0.1f);
    policy_profile_release(before);
    policy_profile_release(after);
    policy_profile_release(third);
    policy_profiles_close(p);
    room_close(&r);
}

static void a_view_is_not_seen_and_a_click_does_not_unsay_a_like(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t a = room_item(&r, "a", "\"genres\":[\"drame\"]"), b = room_item(&r, "b", "\"genres\":[\"essai\"]");
    room_item(&r, "c", "\"genres\":[\"conte\"]");
    policy_profiles *p = profiles_open(&r, 10), *fresh;
    policy_profile_release(get(p, "ann"));
    act(&r, p, "ann", "c", INTERACTION_VIEW, 1);
    const policy_profile *x = get(p, "ann");
    assert_true(x->known && x->interactions == 1 && x->seen_count == 0 && x->recent_count == 0);
    policy_profile_release(x);
    act(&r, p, "ann", "a", INTERACTION_LIKE, 2);
    act(&r, p, "ann", "a", INTERACTION_CLICK, 3);
    act(&r, p, "ann", "b", INTERACTION_CLICK, 4);
    act(&r, p, "ann", "b", INTERACTION_SKIP, 4);
    act(&r, p, "ann", "b", INTERACTION_VIEW, 5);
    x = get(p, "ann");
    assert_true(x->interactions == 6 && x->seen_count == 2 && x->recent_count == 2);
    assert_true(x->recent[0].num == b && x->recent[0].type == INTERACTION_SKIP);
    assert_true(x->recent[1].num == a && x->recent[1].type == INTERACTION_LIKE);
    fresh = profiles_open(&r, 10);
    const policy_profile *read = get(fresh, "ann");
    assert_same(x, read);
    policy_profile_release(read);
    policy_profile_release(x);
    policy_profiles_close(fresh);
    policy_profiles_close(p);
    room_close(&r);
}

static void what_is_stated_counts_and_a_stated_no_stays_a_no(void **state) {
    (void)state;
    room r;
    room_open(&r);
    char id[16];
    for (int i = 0; i < 60; i++) {
        snprintf(id, sizeof id, "h%d", i);
        room_item(&r, id, "\"genres\":[\"horreur\"],\"themes\":[\"exil\"],\"moods\":[\"sombre\"]");
    }
    uint64_t lsn = room_user(&r, "ann",
                             "\"preferences\":{\"genres\":{\"horreur\":-1,\"jamais vu\":1},"
                             "\"moods\":{\"sombre\":0.5},\"kind\":{\"film\":1}}");
    policy_profiles *p = profiles_open(&r, 10);
    const policy_profile *x = get(p, "ann");
    assert_true(x->known && x->interactions == 0 && x->version == lsn && strcmp(x->person->id, "ann") == 0);
    assert_true(weight(&r, x, FIELD_GENRES, "horreur") == -1);
    assert_true(fabsf(weight(&r, x, FIELD_MOODS, "sombre") - 0.5f) < 1e-6f);
    policy_profile_release(x);
    for (int i = 0; i < 60; i++) {
        snprintf(id, sizeof id, "h%d", i);
        act(&r, p, "ann", id, INTERACTION_LIKE, i);
    }
    x = get(p, "ann");
    assert_sound(x);
    assert_true(weight(&r, x, FIELD_GENRES, "horreur") < 0);
    assert_true(weight(&r, x, FIELD_THEMES, "exil") > 0.5f);
    assert_true(weight(&r, x, FIELD_MOODS, "sombre") == 1);
    policy_profile_release(x);
    policy_profiles_close(p);
    room_close(&r);
}

static void a_rare_facet_says_more_than_a_common_one(void **state) {
    (void)state;
    room r;
    room_open(&r);
    char id[16];
    for (int i = 0; i < 50; i++) {
        snprintf(id, sizeof id, "i%d", i);
        room_item(&r, id, i ? "\"genres\":[\"drame\"]" : "\"genres\":[\"drame\",\"expérimental\"]");
    }
    policy_profiles *p = profiles_open(&r, 10);
    act(&r, p, "ann", "i0", INTERACTION_LIKE, 1);
    const policy_profile *x = get(p, "ann");
    assert_true(weight(&r, x, FIELD_GENRES, "expérimental") > 1.5f * weight(&r, x, FIELD_GENRES, "drame"));
    policy_profile_release(x);
    policy_profiles_close(p);
    room_close(&r);
}

static void affinity_of_an_item_is_within_one_and_names_the_best_facet(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t liked = room_item(&r, "liked", "\"genres\":[\"drame\"],\"themes\":[\"exil\"]"),
             bad = room_item(&r, "bad", "\"genres\":[\"horreur\"]"),
             other = room_item(&r, "other", "\"genres\":[\"essai\"]");
    room_user(&r, "ann", "\"preferences\":{\"genres\":{\"drame\":0.4,\"horreur\":-1},\"themes\":{\"exil\":0.9}}");
    policy_profiles *p = profiles_open(&r, 10);
    const policy_profile *x = get(p, "ann");
    catalogue_card card;
    uint32_t best;
    assert_true(catalogue_get_card(r.cat, liked, r.a, &card));
    float most = policy_affinity_score(x, &card, &best);
    assert_true(most > 0.3f && most <= 1);
    assert_int_equal(best, room_facet(&r, FIELD_THEMES, "exil"));
    assert_true(catalogue_get_card(r.cat, bad, r.a, &card));
    assert_true(policy_affinity_score(x, &card, &best) < -0.5f);
    assert_int_equal(best, UINT32_MAX);
    assert_true(catalogue_get_card(r.cat, other, r.a, &card));
    assert_true(policy_affinity_score(x, &card, NULL) == 0);
    policy_profile_release(x);
    policy_profiles_close(p);
    room_close(&r);
}

/* ---- moving on is reading anew ---- */
static void moving_on_ends_where_reading_anew_does(void **state) {
    (void)state;
    room r;
    room_open(&r);
    rng x;
    rng_seed(&x, test_seed("profile"));
    enum { ITEMS = 150, STEPS = 400 };
    char ids[ITEMS][16];
    static const char *const genres[] = {"drame", "essai", "conte"};
    for (int i = 0; i < ITEMS; i++) {
        char fields[100];
        snprintf(ids[i], sizeof ids[i], "i%d", i);
        snprintf(fields, sizeof fields, "\"genres\":[\"%s\"],\"duration_s\":100,\"people\":[\"p%d\"]", genres[i % 3],
                 i % 40);
        room_item(&r, ids[i], fields);
    }
    policy_profiles *p = profiles_open(&r, 10);
    policy_profile_release(get(p, "ann"));
    for (int step = 0; step < STEPS;) {
        interaction list[20];
        record_change changes[20];
        size_t n = 1 + rng_below(&x, 20);
        for (size_t i = 0; i < n; i++, step++) {
            int64_t at = 1000 * step - (rng_below(&x, 4) ? 0 : (int64_t)rng_below(&x, 50000)); /* some arrive late */
            list[i] = did("ann", ids[rng_below(&x, ITEMS)], (interaction_type)rng_below(&x, INTERACTION_TYPES), at);
            list[i].watch_s = (int32_t)rng_below(&x, 100);
            if (list[i].type == INTERACTION_RATE) list[i].rating = 3;
            changes[i] = (record_change){.kind = RECORD_INTERACTION, .interaction = &list[i]};
        }
        must(record_write(r.record, changes, n, (record_write_flags){0}, err));
        for (size_t i = 0; i < n; i++) policy_profile_moved(p, &list[i], changes[i].num, changes[i].lsn);
        const policy_profile *moved = get(p, "ann");
        policy_profiles *fresh = profiles_open(&r, 10);
        const policy_profile *read = get(fresh, "ann");
        assert_same(moved, read);
        policy_profile_release(read);
        policy_profile_release(moved);
        policy_profiles_close(fresh);
    }
    policy_profiles_close(p);
    room_close(&r);
}

static void only_the_newest_thousand_are_recent(void **state) {
    (void)state;
    room r;
    room_open(&r);
    static char ids[1060][16];
    static interaction list[1060];
    for (int i = 0; i < 1060; i++) {
        snprintf(ids[i], sizeof ids[i], "i%d", i);
        room_item(&r, ids[i], "");
        list[i] = did("ann", ids[i], INTERACTION_COMPLETE, 1000 + i);
    }
    room_did_many(&r, list, 1059);
    policy_profiles *p = profiles_open(&r, 10);
    const policy_profile *x = get(p, "ann");
    assert_true(x->recent_count == 1000 && x->seen_count == 1059 && x->recent[0].at == 2058 &&
                x->recent[999].at == 1059);
    policy_profile_release(x);
    act(&r, p, "ann", "i1059", INTERACTION_LIKE, 5); /* older than all of them */
    x = get(p, "ann");
    assert_true(x->recent_count == 1000 && x->seen_count == 1060 && x->recent[0].at == 2058 && x->interactions == 1060);
    policy_profile_release(x);
    act(&r, p, "ann", "i0", INTERACTION_LIKE, 9000);
    x = get(p, "ann");
    assert_true(x->recent_count == 1000 && x->seen_count == 1060 && x->recent[0].at == 9000 &&
                x->recent[999].at == 1060);
    policy_profile_release(x);
    policy_profiles_close(p);
    room_close(&r);
}

static void a_flood_of_writes_is_read_anew(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t num = room_item(&r, "a", "\"genres\":[\"drame\"]");
    policy_profiles *p = profiles_open(&r, 10);
    policy_profile_release(get(p, "ann"));
    enum { N = 1000 };
    static interaction list[N];
    static record_change changes[N];
    for (int i = 0; i < N; i++) {
        list[i] = did("ann", "a", INTERACTION_LIKE, i);
        changes[i] = (record_change){.kind = RECORD_INTERACTION, .interaction = &list[i]};
    }
    must(record_write(r.record, changes, N, (record_write_flags){0}, err));
    for (int i = 0; i < N; i++) policy_profile_moved(p, &list[i], num, changes[i].lsn);
    const policy_profile *x = get(p, "ann");
    assert_true(x->interactions == N && x->seen_count == 1 && x->version == changes[N - 1].lsn);
    policy_profile_release(x);
    policy_profiles_close(p);
    room_close(&r);
}

static void an_interaction_is_not_counted_twice(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t num = room_item(&r, "a", "");
    policy_profiles *p = profiles_open(&r, 10);
    interaction in = did("ann", "a", INTERACTION_LIKE, 1);
    uint64_t lsn = room_did(&r, &in, NULL);
    policy_profile_release(get(p, "ann")); /* reads it from the record before the writer tells of it */
    policy_profile_moved(p, &in, num, lsn);
    const policy_profile *x = get(p, "ann");
    assert_int_equal(x->interactions, 1);
    policy_profile_release(x);
    policy_profiles_close(p);
    room_close(&r);
}

/* ---- dropping, bounds, catching up ---- */
static void a_dropped_profile_is_read_anew(void **state) {
    (void)state;
    room r;
    room_open(&r);
    room_item(&r, "a", "\"genres\":[\"drame\"]");
    policy_profiles *p = profiles_open(&r, 10);
    act(&r, p, "ann", "a", INTERACTION_LIKE, 1);
    policy_profile_release(get(p, "ann"));
    uint64_t lsn = room_user(&r, "ann", "\"preferences\":{\"genres\":{\"drame\":-1}}");
    policy_profile_drop(p, "ann", lsn);
    const policy_profile *x = get(p, "ann");
    assert_true(weight(&r, x, FIELD_GENRES, "drame") < 0 && x->version == lsn && x->interactions == 1);
    policy_profile_release(x);
    lsn = room_remove_user(&r, "ann");
    policy_profile_drop(p, "ann", lsn);
    x = get(p, "ann");
    assert_true(!x->known && x->seen_count == 0 && x->interactions == 0 && x->version == lsn);
    interaction late = did("ann", "a", INTERACTION_LIKE, 2);
    policy_profile_moved(p, &late, 1, lsn - 1); /* acknowledged before the removal, told after it */
    policy_profile_release(x);
    x = get(p, "ann");
    assert_false(x->known);
    policy_profile_release(x);
    policy_profiles_close(p);
    room_close(&r);
}

static void the_cache_keeps_to_its_bound(void **state) {
    (void)state;
    room r;
    room_open(&r);
    room_item(&r, "a", "");
    policy_profiles *p = profiles_open(&r, 3);
    const policy_profile *held = get(p, "u0");
    for (int i = 0; i < 50; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%d", i);
        policy_profile_release(get(p, id));
    }
    assert_true(metric_value(metrics_gauge(r.m, "profiles_held", "", "")) == 3);
    double loads = metric_value(metrics_counter(r.m, "profile_loads_total", "", ""));
    policy_profile_release(get(p, "u49"));
    assert_true(metric_value(metrics_counter(r.m, "profile_loads_total", "", "")) == loads);
    policy_profile_release(get(p, "u1")); /* long gone: read again */
    assert_true(metric_value(metrics_counter(r.m, "profile_loads_total", "", "")) == loads + 1);
    assert_false(held->known); /* evicted, still ours */
    policy_profile_release(held);
    policy_profiles_close(p);
    room_close(&r);
}

static void last_writes_are_remembered_for_the_latest_people(void **state) {
    (void)state;
    room r;
    room_open(&r);
    policy_profiles *p = profiles_open(&r, 3);
    char id[16];
    for (uint64_t i = 1; i <= 200000; i++) {
        snprintf(id, sizeof id, "u%u", (unsigned)i);
        policy_profile_drop(p, id, i);
    }
    assert_int_equal(policy_profile_last_write(p, "u200000"), 200000);
    assert_int_equal(policy_profile_last_write(p, "u140000"), 140000);
    assert_int_equal(policy_profile_last_write(p, "u1"), 0);
    policy_profile_drop(p, "u200000", 5); /* never back */
    assert_int_equal(policy_profile_last_write(p, "u200000"), 200000);
    policy_profiles_close(p);
    room_close(&r);
}

static _Atomic int64_t test_now_ns;
static int64_t test_mono(void *ctx) {
    (void)ctx;
    return test_now_ns;
}
static int64_t test_wall(void *ctx) {
    (void)ctx;
    return 77;
}

static void taste_is_completed_when_the_catalogue_has_caught_up(void **state) {
    (void)state;
    room r;
    room_open(&r);
    const clock_ops clock = {test_mono, test_wall, NULL};
    policy_profiles *p = NULL;
    must(policy_profiles_open(r.record, r.people, r.cat, &test_limits, 5, &clock, r.m, &p, err));
    room_item_in(&r, "a", "\"genres\":[\"drame\"],\"duration_s\":100", false); /* in the record,
        not yet in the catalogue */
    interaction in = did("ann", "a", INTERACTION_WATCH, TIME_NONE);
    in.watch_s = 100;
    policy_profile_release(get(p, "ann"));
    uint32_t num;
    uint64_t lsn = room_did(&r, &in, &num);
    policy_profile_moved(p, &in, num, lsn);
    const policy_profile *x = get(p, "ann");
    assert_true(x->seen_count == 1 && x->affinity_count == 0 && x->recent[0].at == 77);
    policy_profile_release(x);
    room_item(&r, "a", "\"genres\":[\"drame\"],\"duration_s\":100");
    test_now_ns += INT64_C(2000000000);
    x = get(p, "ann");
    assert_true(weight(&r, x, FIELD_GENRES, "drame") > 0 && x->recent[0].reward == 1);
    policy_profile_release(x);
    policy_profiles_close(p);
    room_close(&r);
}

/* ---- cost: printed ---- */
static void a_person_of_a_hundred_thousand_interactions(void **state) {
    (void)state;
    enum { N = 100000, ITEMS = 2000 };
    room r;
    room_open(&r);
    static char ids[ITEMS][16];
    static item items[ITEMS];
    static record_change changes[ITEMS];
    const char *genres[] = {"drame", "essai"};
    const item_person people[] = {{"p1", "cast"}, {"p2", "cast"}};
    for (int i = 0; i < ITEMS; i++) {
        snprintf(ids[i], sizeof ids[i], "i%d", i);
        items[i] = (item){.id = ids[i],
                          .title = ids[i],
                          .original_title = "",
                          .kind = "",
                          .language = "",
                          .synopsis = "",
                          .available_from = TIME_NONE,
                          .available_until = TIME_NONE,
                          .genres = {genres, 2},
                          .people = (item_person *)people,
                          .people_count = 2};
        changes[i] = (record_change){.kind = RECORD_ITEM, .item = &items[i]};
    }
    must(record_write(r.record, changes, ITEMS, (record_write_flags){0}, err));
    for (int i = 0; i < ITEMS; i++) must(catalogue_upsert(r.cat, changes[i].num, changes[i].lsn, &items[i], err));
    interaction *list = calloc(N, sizeof *list);
    assert_non_null(list);
    for (int i = 0; i < N; i++) list[i] = did("ann", ids[i % ITEMS], INTERACTION_WATCH, i);
    room_did_many(&r, list, N);
    free(list);
    policy_profiles *p = profiles_open(&r, 10);
    double start = test_ms();
    const policy_profile *x = get(p, "ann");
    double load = test_ms() - start;
    assert_true(x->interactions == N && x->seen_count == ITEMS && x->recent_count == (ITEMS < 1000 ? ITEMS : 1000));
    policy_profile_release(x);
    start = test_ms();
    for (int i = 0; i < 10000; i++) policy_profile_release(get(p, "ann"));
    double hit = (test_ms() - start) / 10000;
    interaction in = did("ann", "i1", INTERACTION_LIKE, N);
    start = test_ms();
    for (int i = 0; i < 200; i++) {
        policy_profile_moved(p, &in, changes[1].num, UINT64_C(1) << 40 | (uint64_t)i);
        policy_profile_release(get(p, "ann"));
    }
    double step = (test_ms() - start) / 200;
    print_message("%d interactions: read in %.1f ms, from memory in %.2f us, a step in %.0f us\n", N, load, hit * 1000,
                  step * 1000);
    policy_profiles_close(p);
    room_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stranger_is_not_known),
        cmocka_unit_test(an_acknowledged_interaction_is_in_the_next_profile),
        cmocka_unit_test(a_view_is_not_seen_and_a_click_does_not_unsay_a_like),
        cmocka_unit_test(what_is_stated_counts_and_a_stated_no_stays_a_no),
        cmocka_unit_test(a_rare_facet_says_more_than_a_common_one),
        cmocka_unit_test(affinity_of_an_item_is_within_one_and_names_the_best_facet),
        cmocka_unit_test(moving_on_ends_where_reading_anew_does),
        cmocka_unit_test(only_the_newest_thousand_are_recent),
        cmocka_unit_test(a_flood_of_writes_is_read_anew),
        cmocka_unit_test(an_interaction_is_not_counted_twice),
        cmocka_unit_test(a_dropped_profile_is_read_anew),
        cmocka_unit_test(the_cache_keeps_to_its_bound),
        cmocka_unit_test(last_writes_are_remembered_for_the_latest_people),
        cmocka_unit_test(taste_is_completed_when_the_catalogue_has_caught_up),
        cmocka_unit_test(a_person_of_a_hundred_thousand_interactions),
    };
    return cmocka_run_group_tests_name("policy profile", tests, NULL, NULL);
}
