/* Rewards, states, posteriors: the arithmetic. */
#include "policy_test.h"

/* ---- rewards ---- */
static double reward_of(interaction_type type, int32_t watch_s, double rating, int32_t duration_s) {
    interaction in = {.type = type, .watch_s = watch_s, .rating = rating};
    return policy_reward(&in, duration_s);
}

static void a_reward_follows_the_table(void **state) {
    (void)state;
    const struct {
        interaction_type type;
        int32_t watch_s;
        double rating;
        int32_t duration_s;
        double reward;
    } rows[] = {
        {INTERACTION_COMPLETE, -1, NAN, 0, 1},  {INTERACTION_LIKE, -1, NAN, 0, 1},
        {INTERACTION_DISLIKE, -1, NAN, 100, 0}, {INTERACTION_SKIP, 90, NAN, 100, 0},
        {INTERACTION_RATE, -1, 5, 0, 1},        {INTERACTION_RATE, -1, 0.5, 0, 0},
        {INTERACTION_RATE, -1, 2.75, 0, 0.5},   {INTERACTION_WATCH, 50, NAN, 100, 0.5},
        {INTERACTION_WATCH, 0, NAN, 100, 0},    {INTERACTION_WATCH, 89, NAN, 100, 0.89},
        {INTERACTION_WATCH, 90, NAN, 100, 1},   {INTERACTION_WATCH, 5000, NAN, 100, 1},
        {INTERACTION_WATCH, 50, NAN, 0, 0.5},   {INTERACTION_WATCH, -1, NAN, 100, 0.5},
        {INTERACTION_WATCH, 50, 5, 100, 0.75},  {INTERACTION_WATCH, 95, 0.5, 100, 0.5},
        {INTERACTION_WATCH, 10, 5, 0, 0.75},    {INTERACTION_CLICK, -1, NAN, 0, 0.3},
        {INTERACTION_VIEW, -1, NAN, 0, 0.15},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double r = reward_of(rows[i].type, rows[i].watch_s, rows[i].rating, rows[i].duration_s);
        if (fabs(r - rows[i].reward) > 1e-12) fail_msg("row %zu: %g, not %g", i, r, rows[i].reward);
    }
}

/* ---- states ---- */
static policy_state state_of(const char *daypart, const char *device, const char *mood, const char *region,
                             int64_t at) {
    policy_state s;
    memset(&s, 0x55, sizeof s);
    policy_state_make(POLICY_STATE_MOMENT, daypart, device, mood, region, at, &s);
    return s;
}

static void a_state_has_its_golden_text_and_hash(void **state) {
    (void)state;
    policy_state s = state_of("evening", "tv", "", "CA", TIME_NONE);
    assert_string_equal(s.text, "v1;daypart=evening;device=tv;mood=;region=CA");
    assert_string_equal(s.hash, "4bdf799ababa351fa0998492c9da37df1eaf22549b943aec4b93fb44f69c450c");
    s = state_of(NULL, NULL, NULL, NULL, TIME_NONE);
    assert_string_equal(s.text, "v1;daypart=;device=;mood=;region=");
    assert_string_equal(s.hash, "a3c5c6450ca9bf0fe4487ead36d349e0a997bce74f2ba780627cc4bae9ba328e");
}

static void a_state_holds_the_parts_that_are_wanted_and_names_them(void **state) {
    (void)state;
    unsigned parts = 0;
    policy_state s;
    braid_error err = {0};
    assert_int_equal(policy_state_parse(" region , daypart", &parts, &err), BRAID_OK);
    policy_state_make(parts, "evening", "tv", "calm", "fr", 0, &s);
    assert_string_equal(s.text, "v1;daypart=evening;region=FR");
    assert_string_equal(s.cohort_text, "v1;cohort;region=FR");
    assert_int_equal(policy_state_parse("", &parts, &err), BRAID_OK);
    policy_state_make(parts, "evening", "tv", "calm", "", 0, &s);
    assert_string_equal(s.text, "v1");
    assert_string_equal(s.cohort, ""); /* a region that is not known is no cohort */
    assert_int_equal(policy_state_parse("daypart,weather", &parts, &err), BRAID_E_INVALID);
    assert_non_null(strstr(err.message, "\"weather\""));
}

static void taste_is_a_part_of_those_states_that_want_it(void **state) {
    (void)state;
    unsigned parts = 0;
    policy_state s;
    braid_error err = {0};
    assert_int_equal(policy_state_parse("taste,device", &parts, &err), BRAID_OK);
    policy_state_make(parts, "evening", "tv", "", "", 0, &s);
    assert_string_equal(s.text, "v1;device=tv;taste="); /* nothing is known of them yet */
    policy_state cold = s;
    policy_state_taste(&s, "");
    assert_memory_equal(&s, &cold, sizeof s);
    policy_state_taste(&s, " Comédie;Noire");
    assert_string_equal(s.text, "v1;device=tv;taste=comédie%3bnoire");
    char hash[RECORD_HASH_BYTES];
    policy_state_hash(s.text, hash);
    assert_string_equal(s.hash, hash);
    policy_state_taste(&s, "drame"); /* one is enough */
    assert_string_equal(s.text, "v1;device=tv;taste=comédie%3bnoire");
    s = state_of("evening", "tv", "", "CA", 0);
    policy_state same = s;
    policy_state_taste(&s, "drame");
    assert_memory_equal(&s, &same, sizeof s);
}

static const char *winner_of(const char *const genres[], size_t n) { /* of items, newest first: "a b" */
    static char words[64][16];
    policy_taste t = {0};
    size_t used = 0;
    for (size_t place = 0; place < n; place++)
        for (const char *at = genres[place]; *at; at += strspn(at, " ")) {
            size_t len = strcspn(at, " ");
            snprintf(words[used], sizeof words[used], "%.*s", (int)len, at);
            policy_taste_vote(&t, place, words[used++]);
            at += len;
        }
    return policy_taste_winner(&t);
}

static void recent_taste_is_the_genre_with_the_most_votes(void **state) {
    (void)state;
    assert_string_equal(winner_of((const char *const[]){""}, 0), "");
    assert_string_equal(winner_of((const char *const[]){"conte", "drame", "drame essai"}, 3), "drame");
    assert_string_equal(winner_of((const char *const[]){"drame", "conte"}, 2), "drame"); /* the newest has more say */
    assert_string_equal(winner_of((const char *const[]){"drame", "conte", "conte"}, 3), "conte");
    assert_string_equal(winner_of((const char *const[]){"", "", "", "", "", "", "", "", "", "conte"}, 10), "conte");
    /* as many votes: byte order, however the item lists them; named twice is once */
    assert_string_equal(winner_of((const char *const[]){"essai conte drame"}, 1), "conte");
    assert_string_equal(winner_of((const char *const[]){"drame essai", "essai essai", "conte", "drame"}, 4), "essai");
}

static void taste_of_very_many_genres_is_still_one(void **state) {
    (void)state;
    char words[2 * POLICY_TASTE_GENRES][8];
    policy_taste t = {0};
    for (size_t i = 0; i < 2 * POLICY_TASTE_GENRES; i++) {
        snprintf(words[i], sizeof words[i], "g%03zu", i);
        policy_taste_vote(&t, 0, words[i]);
    }
    policy_taste_vote(&t, 1, "g005");
    assert_string_equal(policy_taste_winner(&t), "g005");
}

static void spelling_does_not_make_another_state(void **state) {
    (void)state;
    policy_state a = state_of("Evening", " TV ", "Émerveillé", "ca", 0),
                 b = state_of("evening", "tv", "émerveillé", "CA", 1);
    assert_string_equal(a.text, b.text);
    assert_string_equal(a.hash, b.hash);
    assert_string_equal(a.text, "v1;daypart=evening;device=tv;mood=émerveillé;region=CA");
}

static void a_value_cannot_look_like_another_field(void **state) {
    (void)state;
    policy_state a = state_of("", "", "x;region=FR", "", TIME_NONE), b = state_of("", "", "x", "FR", TIME_NONE);
    assert_string_equal(a.text, "v1;daypart=;device=;mood=x%3bregion%3dfr;region=");
    assert_string_not_equal(a.hash, b.hash);
    b = state_of("", "", "x%3bregion%3dfr", "", TIME_NONE);
    assert_string_not_equal(a.hash, b.hash);
}

static void long_values_are_cut_between_characters(void **state) {
    (void)state;
    char value[256];
    for (size_t i = 0; i + 2 < sizeof value; i += 2) memcpy(value + i, "é", 2);
    value[254] = '\0';
    policy_state s = state_of(value, value, value, value, TIME_NONE);
    assert_true(strlen(s.text) < sizeof s.text);
    assert_true(utf8_valid(s.text, strlen(s.text)));
    memset(value, ';', 255);
    value[255] = '\0';
    s = state_of(value, value, value, value, TIME_NONE);
    assert_int_equal(strlen(s.text), strlen("v1;daypart=;device=;mood=;region=") + 4 * 39);
}

static void the_daypart_comes_from_the_hour(void **state) {
    (void)state;
    const char *names[24] = {
        [5] = "morning",  [11] = "morning", [12] = "afternoon", [17] = "afternoon", [18] = "evening",
        [22] = "evening", [23] = "night",   [0] = "night",      [4] = "night"};
    for (int hour = 0; hour < 24; hour++) {
        if (!names[hour]) continue;
        char want[64];
        snprintf(want, sizeof want, "v1;daypart=%s;device=;mood=;region=", names[hour]);
        int64_t at = INT64_C(1700006400000) - INT64_C(1700006400000) % 86400000 + hour * INT64_C(3600000);
        assert_string_equal(state_of("", "", "", "", at).text, want);
        assert_string_equal(state_of("", "", "", "", at + 3599999).text, want);
        at -= 20000 * INT64_C(86400000); /* before 1970 */
        assert_string_equal(state_of("", "", "", "", at).text, want);
    }
}

/* ---- posteriors ---- */
static void a_posterior_holds_mean_and_spread_of_its_rewards(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, 7);
    policy_posterior p = policy_prior();
    double sum = 0;
    for (int i = 0; i < 20000; i++) {
        double reward = rng_uniform(&r);
        sum += reward;
        policy_update(&p, reward);
    }
    assert_true(p.count == 20000);
    assert_true(fabs(p.mean - sum / 20000) < 1e-9);
    assert_true(fabs(p.variance - 1.0 / 12) < 0.03); /* of a uniform reward; the window is 50, so it breathes */
}

static void one_reward_does_not_make_sure(void **state) {
    (void)state;
    policy_posterior p = policy_prior();
    policy_update(&p, 1);
    assert_true(p.mean == 1 && p.count == 1);
    assert_true(p.variance > 0.2);
    for (int i = 0; i < 200; i++) policy_update(&p, 1);
    assert_true(p.variance < 0.01); /* but two hundred do */
}

static void a_taste_that_changes_is_seen_in_the_spread(void **state) {
    (void)state;
    policy_posterior p = policy_prior();
    for (int i = 0; i < 500; i++) policy_update(&p, 0.9);
    double before = p.variance;
    for (int i = 0; i < 20; i++) policy_update(&p, 0.1);
    assert_true(p.variance > before + 0.1);
}

static void little_evidence_leans_on_the_level_above(void **state) {
    (void)state;
    policy_posterior parent = {0.8, 0.05, 1000}, own = {0.2, 0.05, 0};
    policy_posterior none = policy_shrink(own, parent, 4);
    assert_true(none.mean == 0.8 && fabs(none.variance - 0.05) < 1e-12 && none.count == 4);
    own.count = 4;
    policy_posterior half = policy_shrink(own, parent, 4);
    assert_true(fabs(half.mean - 0.5) < 1e-12 && half.count == 8);
    assert_true(half.variance > 0.05); /* they disagree */
    own.count = 4000;
    assert_true(fabs(policy_shrink(own, parent, 4).mean - 0.2) < 0.001);
    parent.count = 1;
    own.count = 0;
    assert_true(policy_shrink(own, parent, 4).count == 1);
    assert_true(policy_shrink(own, parent, 0).mean == 0.8);
}

static void samples_have_the_right_mean_and_variance(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, 11);
    policy_posterior p = {0.5, 0.08, 16};
    enum { N = 200000 };
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        double x = policy_sample(p, 4, &r);
        assert_true(x >= 0 && x <= 1);
        sum += x;
        squares += x * x;
    }
    double mean = sum / N, variance = squares / N - mean * mean;
    assert_true(fabs(mean - 0.5) < 0.001);
    assert_true(fabs(variance - 0.08 / 20) < 0.0001);
    p = (policy_posterior){0.98, 0.08, 0};
    for (int i = 0; i < 1000; i++) {
        double x = policy_sample(p, 0, &r);
        assert_true(x >= 0 && x <= 1);
    }
}

/* Two arms of true mean 0.7 and 0.4, rewards 0 or 1. */
static void sampling_concentrates_on_the_better_arm(void **state) {
    (void)state;
    const double truth[2] = {0.4, 0.7};
    unsigned better_late = 0, worse_early = 0, runs_won = 0;
    enum { RUNS = 50, STEPS = 1000 };
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        rng r;
        rng_seed(&r, seed);
        policy_posterior arms[2] = {policy_prior(), policy_prior()};
        unsigned late = 0;
        for (int i = 0; i < STEPS; i++) {
            double a = policy_sample(arms[0], 4, &r), b = policy_sample(arms[1], 4, &r);
            int arm = b > a;
            policy_update(&arms[arm], rng_uniform(&r) < truth[arm] ? 1 : 0);
            if (i >= STEPS / 2) late += arm == 1;
            if (i < 50) worse_early += arm == 0;
        }
        better_late += late;
        runs_won += late > STEPS / 2 * 9 / 10;
    }
    print_message("better arm in the second half: %.1f %%; runs that settled on it: %u of %d\n",
                  100.0 * better_late / (RUNS * STEPS / 2), runs_won, RUNS);
    assert_true(better_late > RUNS * STEPS / 2 * 0.9);
    assert_true(runs_won >= RUNS * 9 / 10);
    assert_true(worse_early > RUNS * 50 / 20); /* and the other one was tried */
}

static void the_unknown_is_tried_before_the_known_mediocre(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, 3);
    policy_posterior mediocre = {0.45, 0.05, 500}, unknown = policy_prior();
    unsigned tried = 0;
    for (int i = 0; i < 10000; i++) tried += policy_sample(unknown, 4, &r) > policy_sample(mediocre, 4, &r);
    assert_true(tried > 6000 && tried < 7200); /* P(N(.5, .02) > N(.45, .0001)) = 0.64 */
    policy_posterior bad = {0.05, 0.03, 200};
    tried = 0;
    for (int i = 0; i < 10000; i++) tried += policy_sample(bad, 4, &r) > policy_sample(mediocre, 4, &r);
    assert_int_equal(tried, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reward_follows_the_table),
        cmocka_unit_test(a_state_has_its_golden_text_and_hash),
        cmocka_unit_test(a_state_holds_the_parts_that_are_wanted_and_names_them),
        cmocka_unit_test(taste_is_a_part_of_those_states_that_want_it),
        cmocka_unit_test(recent_taste_is_the_genre_with_the_most_votes),
        cmocka_unit_test(taste_of_very_many_genres_is_still_one),
        cmocka_unit_test(spelling_does_not_make_another_state),
        cmocka_unit_test(a_value_cannot_look_like_another_field),
        cmocka_unit_test(long_values_are_cut_between_characters),
        cmocka_unit_test(the_daypart_comes_from_the_hour),
        cmocka_unit_test(a_posterior_holds_mean_and_spread_of_its_rewards),
        cmocka_unit_test(one_reward_does_not_make_sure),
        cmocka_unit_test(a_taste_that_changes_is_seen_in_the_spread),
        cmocka_unit_test(little_evidence_leans_on_the_level_above),
        cmocka_unit_test(samples_have_the_right_mean_and_variance),
        cmocka_unit_test(sampling_concentrates_on_the_better_arm),
        cmocka_unit_test(the_unknown_is_tried_before_the_known_mediocre),
    };
    return cmocka_run_group_tests_name("policy basics", tests, NULL, NULL);
}
