/* Learning patterns over a record store: memory bounded by asking fewer people, a document that is whole or refused,
 * memory that runs out anywhere, and leaning only while they are valid. */
#include "policy_test.h"

#include "../support/failing_memory.h"

/* Enough interactions for the record store to fill its timeline by itself: memory may run out there too, and writing goes
 * on afterwards. */
enum { GENRES = 6, ITEMS = 120, PEOPLE = 100, EACH = 24, HORROR = 3 };
static const int64_t JUNE_2024 = INT64_C(1717243200000), YEAR_MS = INT64_C(31557600000), DAY = 86400000;
static uint32_t nums[ITEMS];

/* In a gloomy mood half of what people like is horror. */
static void fill(room *r) {
    static char people[PEOPLE][16], items[ITEMS][16];
    interaction *list = calloc((size_t)PEOPLE * EACH, sizeof *list);
    rng dice;
    rng_seed(&dice, 11);
    for (int i = 0; i < ITEMS; i++) {
        char fields[80];
        snprintf(items[i], sizeof items[i], "f%d", i);
        snprintf(fields, sizeof fields, "\"genres\":[\"g%d\"]", i % GENRES);
        nums[i] = room_item(r, items[i], fields);
    }
    for (int p = 0; p < PEOPLE; p++)
        for (int i = 0; i < EACH; i++) {
            bool gloomy = rng_below(&dice, 3) == 0, horror = gloomy && rng_below(&dice, 2);
            int what =
                (int)rng_below(&dice, ITEMS / GENRES) * GENRES + (horror ? HORROR : (int)rng_below(&dice, GENRES));
            snprintf(people[p], sizeof people[p], "p%d", p);
            list[p * EACH + i] =
                did(people[p], items[what], INTERACTION_LIKE, JUNE_2024 + (int64_t)rng_below(&dice, (uint64_t)YEAR_MS));
            list[p * EACH + i].mood = gloomy ? "Gloomy" : "calm";
        }
    room_did_many(r, list, (size_t)PEOPLE * EACH);
    free(list);
}

static int begin(void **state) {
    room *r = calloc(1, sizeof *r);
    room_open(r);
    fill(r);
    *state = r;
    return 0;
}

static int end(void **state) {
    room_close(*state);
    free(*state);
    return 0;
}

static policy_patterns *opened(room *r) {
    policy_patterns *p = NULL;
    must(policy_patterns_open(r->record, r->cat, NULL, &p, err));
    return p;
}

/* How much an item of the genre is leant on by somebody of whom nothing is known. */
static float leaning(room *r, policy_patterns *p, int genre, const char *mood, int64_t at) {
    policy_lean *l = NULL;
    catalogue_card card;
    assert_int_equal(policy_lean_make(p, NULL, at, mood, r->a, &l), BRAID_OK);
    assert_true(catalogue_get_card(r->cat, nums[genre], r->a, &card));
    const policy_leaning *to = policy_lean_of(l, &card);
    return to ? to->weight : 0;
}

static void a_mood_is_leant_on_while_it_is_valid(void **state) {
    room *r = *state;
    policy_patterns *p = opened(r);
    policy_patterns_report report;
    int64_t now = clock_wall_ms(&clock_system);
    assert_true(leaning(r, p, HORROR, "gloomy", now) == 0 && policy_patterns_version(p) == 0);
    must(policy_patterns_learn(p, 0, &clock_system, NULL, NULL, &report, err));
    /* the rest, when calm */
    assert_true(report.interactions == PEOPLE * EACH && report.sample == 1 &&
                report.found[LEARN_MOOD_CORRELATION] >= 1);
    assert_true(report.people == PEOPLE && policy_patterns_version(p) > 0);
    float weight = leaning(r, p, HORROR, "gloomy", now);
    assert_true(weight > 0.1f && weight < 1);
    assert_true(leaning(r, p, HORROR, "GLOOMY", now) == weight); /* a name as people write it */
    assert_true(leaning(r, p, HORROR, "calm", now) == 0 && leaning(r, p, HORROR, NULL, now) == 0 &&
                leaning(r, p, HORROR + 1, "gloomy", now) == 0);
    assert_true(leaning(r, p, HORROR, "gloomy", now + 170 * DAY) == weight &&
                leaning(r, p, HORROR, "gloomy", now + 190 * DAY) == 0);
    policy_patterns *other = opened(r); /* another server */
    must(policy_patterns_load(other, err));
    assert_true(leaning(r, other, HORROR, "gloomy", now) == weight &&
                policy_patterns_version(other) == policy_patterns_version(p));
    policy_patterns_close(other);
    policy_patterns_close(p);
}

static void what_does_not_fit_is_a_smaller_sample_of_people_asked_whole(void **state) {
    room *r = *state;
    policy_patterns *p = opened(r);
    policy_patterns_report report, again;
    must(policy_patterns_learn(p, (size_t)PEOPLE * EACH / 3, &clock_system, NULL, NULL, &report, err));
    assert_true(report.sample == 0.25 || report.sample == 0.125);
    assert_true(report.interactions == PEOPLE * EACH && report.people > PEOPLE / 16 && report.people < PEOPLE / 2);
    must(policy_patterns_learn(p, (size_t)PEOPLE * EACH / 3, &clock_system, NULL, NULL, &again, err));
    assert_true(again.people == report.people &&
                again.tested[LEARN_MOOD_CORRELATION] == report.tested[LEARN_MOOD_CORRELATION]);
    policy_patterns_close(p);
}

static void write_body(room *r, const char *body) {
    record_document row = {
        .kind = "learner", .id = "patterns", .body = body, .body_len = strlen(body), .expect = RECORD_ANY_VERSION};
    record_change c = {.kind = RECORD_DOCUMENT, .document = &row};
    room_write(r, &c);
}

static void a_document_that_cannot_be_read_is_refused_and_what_is_held_stays(void **state) {
    room *r = *state;
    policy_patterns *p = opened(r);
    policy_patterns_report report;
    braid_error why = {0};
    int64_t now = clock_wall_ms(&clock_system);
    must(policy_patterns_learn(p, 0, &clock_system, NULL, NULL, &report, err));
    float weight = leaning(r, p, HORROR, "gloomy", now);
    static const char head[] =
        "\"at\":\"2026-01-01T00:00:00Z\",\"from\":\"2026-01-01T00:00:00Z\",\"until\":\"2026-01-01T00:00:00Z\",\"interactions\":1,"
        "\"likings\":1,\"people\":1,\"sample\":1,\"tested\":[0,0,0,0],\"facets\":[[\"genres\",\"g0\",0.5]],\"moods\":[\"calm\"]";
    static const char *const bad[][2] = {
        /* the method, and what follows the head */
        {"ratio-2", ",\"patterns\":[]"},
        {"ratio-1", ""},
        {"ratio-1", ",\"patterns\":[[\"seasonal_trend\",0,12,2,1.5,20,50,2]]"},
        {"ratio-1", ",\"patterns\":[[\"seasonal_trend\",1,11,2,1.5,20,50,2]]"},
        {"ratio-1", ",\"patterns\":[[\"mood_correlation\",0,2,2,1.5,20,50,1]]"},
        {"ratio-1", ",\"patterns\":[[\"genre_affinity\",0,1,2,1.5,20,50,1]]"},
        {"ratio-1", ",\"patterns\":[[\"weather\",0,0,2,1.5,20,50,1]]"},
        {"ratio-1", ",\"patterns\":[[\"seasonal_trend\",0,11,2,0.5,20,50,1]]"},
        {"ratio-1", ",\"patterns\":[7]"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char body[700];
        snprintf(body, sizeof body, "{\"method\":\"%s\",%s%s}", bad[i][0], head, bad[i][1]);
        write_body(r, body);
        if (policy_patterns_load(p, &why) != BRAID_E_CORRUPT) fail_msg("taken: %s", body);
        assert_true(leaning(r, p, HORROR, "gloomy", now) == weight);
    }
    must(policy_patterns_learn(p, 0, &clock_system, NULL, NULL, &report, err)); /* replaces it */
    assert_true(leaning(r, p, HORROR, "gloomy", now) > 0);
    policy_patterns_close(p);
}

/* The n-th request for memory fails, for every n until none is asked for: NO_MEMORY, and what was there is there. */
static void memory_may_run_out_anywhere(void **state) {
    room *r = *state;
    policy_patterns *p = opened(r);
    policy_patterns_report report;
    int64_t now = clock_wall_ms(&clock_system);
    if (!MEMORY_CAN_FAIL) skip();
    must(policy_patterns_learn(p, 0, &clock_system, NULL, NULL, &report, err));
    float weight = leaning(r, p, HORROR, "gloomy", now);
    memory_prepare();
    long refused = 0;
    for (long n = 1;; n += n < 40 ? 1 : n / 8) {
        braid_error err = {0};
        buf b;
        buf_init(&b, 0);
        memory_fail_at(n, true);
        int rc = policy_patterns_learn(p, 0, &clock_system, NULL, NULL, &report, &err);
        int listed = rc == BRAID_OK ? policy_patterns_print(p, NULL, NULL, 100, &b) : BRAID_OK;
        long none = memory_recover();
        buf_free(&b);
        assert_true(leaning(r, p, HORROR, "gloomy", now) == weight);
        if (none == 0) break;
        if (rc != BRAID_OK && rc != BRAID_E_NO_MEMORY)
            fail_msg("request %ld: %s: %s: %s", n, error_name(rc), err.store, err.message);
        assert_true(listed == BRAID_OK || listed == BRAID_E_NO_MEMORY);
        if (rc != BRAID_OK && !err.message[0]) fail_msg("request %ld: no word of why", n);
        refused += rc != BRAID_OK;
    }
    assert_true(refused > 10);
    policy_patterns_close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_mood_is_leant_on_while_it_is_valid, begin, end),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_a_smaller_sample_of_people_asked_whole, begin, end),
        cmocka_unit_test_setup_teardown(a_document_that_cannot_be_read_is_refused_and_what_is_held_stays, begin, end),
        cmocka_unit_test_setup_teardown(memory_may_run_out_anywhere, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
