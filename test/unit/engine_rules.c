/* The editors' rules as a caller sees them: pins stand where they should, boosts move, quotas hold; never against
 * rights or what was seen; from the next answer on, kept answers included. */
#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "16", "query.deadline_ms", "20000", NULL};
enum { FILMS = 60 };

/* Every sixth film is in French; the popular ones are the first; f50 is for CA alone, f51 is over, f52 for adults. */
static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    char *text = malloc(64 * 1024);
    size_t n = 0, room = 64 * 1024;
    fixture_start(f, settings);
    for (int i = 0; i < FILMS; i++)
        n += (size_t)snprintf(
            text + n, room - n,
            "{\"id\":\"f%02d\",\"title\":\"Film %d\",\"year\":%d,\"language\":\"%s\",\"genres\":[\"%s\"]%s}\n", i, i,
            2000 + i % 20, i % 6 == 0 ? "fr" : "en", i % 2 ? "drame" : "western",
            i == 50   ? ",\"regions\":[\"CA\"]"
            : i == 51 ? ",\"available_until\":\"2020-01-01T00:00:00Z\""
            : i == 52 ? ",\"age_rating\":18"
                      : "");
    for (int i = 0; i < 20; i++)
        for (int u = 0; u < 10; u++)
            n += (size_t)snprintf(text + n, room - n,
                                  "{\"interaction\":{\"user\":\"w%d\",\"item\":\"f%02d\",\"type\":\"like\"}}\n", u, i);
    put_all(f, text);
    free(text);
    settle(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_end(*state);
    free(*state);
    return 0;
}

/* The rules of one test are gone before the next. */
static int no_rules(void **state) {
    fixture *f = *state;
    char *text;
    braid_error err = {0};
    assert_int_equal(braid_list_documents(f->db, "rule", NULL, 1000, &text, &err), BRAID_OK);
    json_t *all = json_loads(text, 0, NULL), *r;
    size_t i;
    braid_free(text);
    json_array_foreach (json_object_get(all, "rules"), i, r) {
        assert_int_equal(braid_delete_document(f->db, "rule", text_at(r, "id"), &text, &err), BRAID_OK);
        braid_free(text);
    }
    json_decref(all);
    return 0;
}

static void rule(fixture *f, const char *id, const char *body) {
    char *report;
    braid_error err = {0};
    if (braid_put_document(f->db, "rule", id, body, 0, &report, &err)) fail_msg("%s: %s", body, err.message);
    braid_free(report);
}

static void refused(fixture *f, const char *kind, const char *body, int code, const char *word) {
    char *report;
    braid_error err = {0};
    if (braid_put_document(f->db, kind, "bad", body, 0, &report, &err) == BRAID_OK) fail_msg("accepted: %s", body);
    if (err.code != code || !strstr(err.message, word))
        fail_msg("%s: %d \"%s\" does not say \"%s\"", body, err.code, err.message, word);
}

static json_t *recommend(fixture *f, const char *user, const char *more) {
    char text[400];
    snprintf(text, sizeof text, "{\"user\":\"%s\",\"k\":10,\"explore\":false,\"lang\":\"en\"%s}", user, more);
    return ask(f, BRAID_RECOMMEND, text);
}

static size_t place_of(const json_t *answer, const char *id) {
    for (size_t i = 0; i < result_count(answer); i++)
        if (strcmp(result_id(answer, i), id) == 0) return i + 1;
    return 0;
}

static size_t place(fixture *f, const char *user, const char *more, const char *id) {
    json_t *a = recommend(f, user, more);
    size_t at = place_of(a, id);
    assert_int_equal(result_count(a), 10);
    for (size_t i = 0; i < 10; i++) /* nothing comes twice */
        for (size_t k = 0; k < i; k++) assert_string_not_equal(result_id(a, i), result_id(a, k));
    json_decref(a);
    return at;
}

static const char *first_reason(const json_t *answer, size_t at) {
    return json_string_value(
        json_array_get(json_object_get(json_array_get(json_object_get(answer, "results"), at), "because"), 0));
}

static void a_pin_stands_at_its_place_and_says_so(void **state) {
    fixture *f = *state;
    assert_int_equal(place(f, "ana", "", "f45"), 0); /* nobody has watched it */
    rule(f, "p1", "{\"pin\":{\"item\":\"f45\",\"position\":3}}");
    rule(f, "p2", "{\"pin\":{\"item\":\"f47\"}}");
    rule(f, "p3", "{\"pin\":{\"item\":\"f48\",\"position\":10}}");
    json_t *a = recommend(f, "ana", "");
    assert_int_equal(place_of(a, "f45"), 3);
    assert_int_equal(place_of(a, "f47"), 1);
    assert_int_equal(place_of(a, "f48"), 10);
    assert_string_equal(first_reason(a, 2), "pinned by the editors");
    assert_true(json_number_value(json_object_get(json_array_get(json_object_get(a, "results"), 2), "propensity")) ==
                1);
    json_decref(a);
    assert_int_equal(place(f, "ana", ",\"diversity\":0", "f45"), 3);
    assert_int_equal(place(f, "ana", ",\"strategy\":\"hybrid_sequential\"", "f45"), 3);
    assert_int_equal(place(f, "ana", ",\"rules\":false", "f45"), 0);
    a = ask(f, BRAID_RECOMMEND,
            "{\"user\":\"ana\",\"k\":2,\"lang\":\"fr\"}"); /* a list that ends above the other pins */
    assert_int_equal(place_of(a, "f47"), 1);
    assert_int_equal(place_of(a, "f45"), 0);
    assert_string_equal(first_reason(a, 0), "choisi par la rédaction");
    json_decref(a);
    a = ask(f, BRAID_SEARCH, "{\"text\":\"film\",\"k\":10}"); /* who searches has said what they want */
    assert_int_not_equal(place_of(a, "f47"), 1);
    json_decref(a);
}

/* Exploring gives places away, but never those of the editors. */
static void what_is_explored_stands_around_the_pins(void **state) {
    fixture *f = *state;
    rule(f, "p1", "{\"pin\":{\"item\":\"f45\",\"position\":3}}");
    rule(f, "q", "{\"quota\":{\"filter\":{\"language\":\"fr\"},\"least\":5,\"within\":10}}");
    for (int seed = 0; seed < 60; seed++) {
        char text[200];
        size_t french = 0;
        snprintf(text, sizeof text, "{\"user\":\"seeds\",\"k\":10,\"seed\":%d,\"cache\":false}", seed);
        json_t *a = ask(f, BRAID_RECOMMEND, text);
        assert_int_equal(place_of(a, "f45"), 3);
        for (size_t i = 0; i < 10; i++) {
            french += atoi(result_id(a, i) + 1) % 6 == 0;
            for (size_t k = 0; k < i; k++) assert_string_not_equal(result_id(a, i), result_id(a, k));
            double p =
                json_number_value(json_object_get(json_array_get(json_object_get(a, "results"), i), "propensity"));
            assert_true(p > 0 && p <= 1);
        }
        assert_true(french >= 5);
        json_decref(a);
    }
}

static void a_pin_is_never_against_rights_or_what_was_seen(void **state) {
    fixture *f = *state;
    rule(f, "region", "{\"pin\":{\"item\":\"f50\",\"position\":1}}");
    rule(f, "window", "{\"pin\":{\"item\":\"f51\",\"position\":2}}");
    rule(f, "age", "{\"pin\":{\"item\":\"f52\",\"position\":3}}");
    rule(f, "seen", "{\"pin\":{\"item\":\"f00\",\"position\":4}}");
    rule(f, "unknown", "{\"pin\":{\"item\":\"nothing\",\"position\":5}}");
    assert_int_equal(place(f, "bob", "", "f50"), 0);
    assert_int_equal(place(f, "bob", ",\"context\":{\"region\":\"CA\"}", "f50"), 1);
    assert_int_equal(place(f, "bob", "", "f51"), 0);
    assert_int_equal(place(f, "bob", ",\"context\":{\"age\":12}", "f52"), 0);
    assert_int_equal(place(f, "bob", ",\"context\":{\"age\":18}", "f52"), 3);
    assert_int_equal(place(f, "w1", "", "f00"), 0);
    assert_int_equal(place(f, "bob", "", "f00"), 4);
    assert_int_equal(place(f, "bob", ",\"exclude\":[\"f00\"]", "f00"), 0);
    assert_int_equal(place(f, "bob", ",\"filter\":{\"language\":\"en\"}", "f00"), 0);
}

static void a_boost_moves_and_a_factor_below_one_sinks(void **state) {
    fixture *f = *state;
    json_t *plain = recommend(f, "eva", ",\"diversity\":0");
    char last[8], first[8], body[160];
    snprintf(last, sizeof last, "%s", result_id(plain, 9));
    snprintf(first, sizeof first, "%s", result_id(plain, 0));
    json_decref(plain);
    snprintf(body, sizeof body, "{\"boost\":{\"filter\":{\"id\":\"%s\"},\"factor\":50}}", last);
    rule(f, "up", body);
    snprintf(body, sizeof body, "{\"boost\":{\"filter\":{\"id\":\"%s\"},\"factor\":0}}", first);
    rule(f, "down", body);
    json_t *a = recommend(f, "eva", ",\"diversity\":0");
    assert_int_equal(place_of(a, last), 1);
    assert_string_equal(first_reason(a, 0), "put forward by the editors");
    assert_int_equal(place_of(a, first), 0);
    json_decref(a);
}

static size_t french_of(fixture *f, const char *more, size_t within) {
    json_t *a = recommend(f, "zoe", more);
    size_t n = 0;
    for (size_t i = 0; i < within; i++) n += atoi(result_id(a, i) + 1) % 6 == 0;
    json_decref(a);
    return n;
}

static void a_quota_is_filled_as_late_as_it_can_be(void **state) {
    fixture *f = *state;
    size_t before = french_of(f, "", 10);
    assert_true(before < 6);
    json_t *plain = recommend(f, "zoe", "");
    rule(f, "q", "{\"quota\":{\"filter\":{\"language\":\"fr\"},\"least\":6,\"within\":8}}");
    json_t *a = recommend(f, "zoe", "");
    assert_int_equal(french_of(f, "", 8), 6);
    assert_string_equal(result_id(a, 0), result_id(plain, 0)); /* what is best on its merits stands where it stood */
    assert_string_equal(first_reason(a, 7), "placed here by a rule of the editors");
    json_decref(a);
    json_decref(plain);
    rule(f, "p",
         "{\"pin\":{\"item\":\"f47\",\"position\":8}}"); /* takes one of the places: there is room for six of seven */
    assert_int_equal(french_of(f, "", 8), 6);
    rule(f, "p", "{\"pin\":{\"item\":\"f54\",\"position\":8}}"); /* counts itself */
    assert_int_equal(french_of(f, "", 8), 6);
    rule(
        f, "q2",
        "{\"quota\":{\"filter\":{\"genres\":\"drame\"},\"least\":4,\"within\":10}}"); /* together: none of the ten is left to chance */
    assert_int_equal(french_of(f, "", 8), 6);
    json_t *full = recommend(f, "zoe", "");
    size_t dramas = 0;
    for (size_t i = 0; i < 10; i++) dramas += atoi(result_id(full, i) + 1) % 2;
    assert_int_equal(dramas, 4);
    json_decref(full);
    /* More than there are: those that there are, and the list is full all the same. */
    rule(f, "q", "{\"quota\":{\"filter\":{\"id\":{\"in\":[\"f06\",\"f12\"]}},\"least\":6,\"within\":8}}");
    assert_int_equal(place(f, "zoe", "", "f06") != 0, 1);
    assert_int_equal(place(f, "zoe", "", "f12") != 0, 1);
}

static void a_rule_holds_for_whom_and_when_it_says(void **state) {
    fixture *f = *state;
    rule(f, "user", "{\"pin\":{\"item\":\"f40\",\"position\":1},\"for\":{\"users\":[\"ana\",\"eva\"]}}");
    rule(f, "agent", "{\"pin\":{\"item\":\"f41\",\"position\":2},\"for\":{\"agents\":[\"kids\"]}}");
    rule(
        f, "device",
        "{\"pin\":{\"item\":\"f43\",\"position\":3},\"for\":{\"devices\":[\"tv\"],\"dayparts\":[\"evening\"],\"moods\":[\"calm\"]}}");
    rule(f, "past", "{\"pin\":{\"item\":\"f44\",\"position\":4},\"until\":\"2020-01-01T00:00:00Z\"}");
    rule(f, "future", "{\"pin\":{\"item\":\"f46\",\"position\":5},\"from\":\"2999-01-01T00:00:00Z\"}");
    rule(f, "off", "{\"pin\":{\"item\":\"f49\",\"position\":6},\"enabled\":false}");
    rule(
        f, "now",
        "{\"pin\":{\"item\":\"f53\",\"position\":7},\"from\":\"2020-01-01T00:00:00Z\",\"until\":\"2999-01-01T00:00:00Z\",\"for\":{\"regions\":[\"CA\"]}}");
    assert_int_equal(place(f, "ana", "", "f40"), 1);
    assert_int_equal(place(f, "bob", "", "f40"), 0);
    assert_int_equal(place(f, "bob", ",\"agent\":\"kids\"", "f41"), 2);
    assert_int_equal(place(f, "bob", "", "f41"), 0);
    assert_int_equal(
        place(f, "bob", ",\"context\":{\"device\":\"tv\",\"daypart\":\"evening\",\"mood\":\"calm\"}", "f43"), 3);
    assert_int_equal(
        place(f, "bob", ",\"context\":{\"device\":\"tv\",\"daypart\":\"morning\",\"mood\":\"calm\"}", "f43"), 0);
    assert_int_equal(place(f, "bob", "", "f44"), 0);
    assert_int_equal(place(f, "bob", "", "f46"), 0);
    assert_int_equal(place(f, "bob", "", "f49"), 0);
    assert_int_equal(place(f, "bob", ",\"context\":{\"region\":\"CA\"}", "f53"), 7);
    assert_int_equal(place(f, "bob", ",\"context\":{\"region\":\"FR\"}", "f53"), 0);
}

static bool cached(const json_t *answer) {
    return json_is_true(json_object_get(answer, "cached"));
}

static void a_change_ends_the_answers_that_were_kept(void **state) {
    fixture *f = *state;
    json_decref(recommend(f, "kim", ""));
    json_t *a = recommend(f, "kim", "");
    for (int i = 0; i < 200 && !cached(a); i++) { /* the stores may not have settled at once */
        json_decref(a);
        usleep(10000);
        a = recommend(f, "kim", "");
    }
    assert_true(cached(a));
    json_decref(a);
    rule(f, "p", "{\"pin\":{\"item\":\"f45\"}}");
    a = recommend(f, "kim", "");
    assert_false(cached(a));
    assert_int_equal(place_of(a, "f45"), 1);
    json_decref(a);
    a = recommend(f, "kim", ""); /* kept with its reason */
    assert_true(cached(a));
    assert_int_equal(place_of(a, "f45"), 1);
    assert_string_equal(first_reason(a, 0), "pinned by the editors");
    json_decref(a);
    rule(f, "p", "{\"pin\":{\"item\":\"f47\"}}");
    a = recommend(f, "kim", "");
    assert_int_equal(place_of(a, "f47"), 1);
    json_decref(a);
    assert_int_equal(no_rules(state), 0);
    a = recommend(f, "kim", "");
    assert_int_equal(place_of(a, "f47"), 0);
    json_decref(a);
}

static void the_next_page_repeats_no_pin(void **state) {
    fixture *f = *state;
    rule(f, "p", "{\"pin\":{\"item\":\"f45\"}}");
    json_t *a = recommend(f, "lea", "");
    char more[100];
    snprintf(more, sizeof more, ",\"after\":\"%s\"", text_at(a, "recommendation_id"));
    assert_int_equal(place(f, "lea", more, "f45"), 0);
    json_decref(a);
}

static void what_makes_no_sense_is_refused(void **state) {
    fixture *f = *state;
    refused(f, "rule", "{}", BRAID_E_INVALID, "one of");
    refused(f, "rule", "{\"pin\":{\"item\":\"a\"},\"boost\":{\"filter\":{\"year\":1},\"factor\":2}}", BRAID_E_INVALID,
            "one of");
    refused(f, "rule", "{\"pin\":{\"item\":\"a\"},\"colour\":1}", BRAID_E_UNKNOWN_FIELD, "colour");
    refused(f, "rule", "{\"pin\":{\"item\":\"a\",\"position\":0}}", BRAID_E_INVALID, "position");
    refused(f, "rule", "{\"pin\":{\"item\":\"a\",\"place\":1}}", BRAID_E_UNKNOWN_FIELD, "place");
    refused(f, "rule", "{\"pin\":{\"item\":7}}", BRAID_E_INVALID, "string");
    refused(f, "rule", "{\"boost\":{\"filter\":{},\"factor\":2}}", BRAID_E_INVALID, "every item");
    refused(f, "rule", "{\"boost\":{\"filter\":{\"colour\":\"red\"},\"factor\":2}}", BRAID_E_UNKNOWN_FIELD, "colour");
    refused(f, "rule", "{\"boost\":{\"filter\":{\"year\":1990},\"factor\":-1}}", BRAID_E_INVALID, "factor");
    refused(f, "rule", "{\"quota\":{\"filter\":{\"year\":1990},\"least\":5,\"within\":4}}", BRAID_E_INVALID, "least");
    refused(f, "rule", "{\"pin\":{\"item\":\"a\"},\"from\":\"tomorrow\"}", BRAID_E_INVALID, "from");
    refused(f, "rule",
            "{\"pin\":{\"item\":\"a\"},\"from\":\"2026-01-02T00:00:00Z\",\"until\":\"2026-01-01T00:00:00Z\"}",
            BRAID_E_INVALID, "until");
    refused(f, "rule", "{\"pin\":{\"item\":\"a\"},\"for\":{\"arms\":[\"b\"]}}", BRAID_E_INVALID, "experiment");
    refused(f, "rule", "{\"pin\":{\"item\":\"a\"},\"for\":{\"users\":[]}}", BRAID_E_INVALID, "users");
    refused(f, "rule", "[1]", BRAID_E_INVALID, "object");
    refused(f, "rule", "{\"id\":\"other\",\"pin\":{\"item\":\"a\"}}", BRAID_E_INVALID, "address");
    refused(f, "poem", "{}", BRAID_E_INVALID, "poem");
    char *json;
    braid_error err = {0};
    assert_int_equal(braid_get_document(f->db, "rule", "bad", &json, &err), BRAID_E_NOT_FOUND);
    assert_null(json);
}

static void two_editors_never_undo_each_other_unseen(void **state) {
    fixture *f = *state;
    char *text, body[200];
    braid_error err = {0};
    rule(f, "r", "{\"version\":0,\"pin\":{\"item\":\"f45\"}}");
    assert_int_equal(braid_get_document(f->db, "rule", "r", &text, &err), BRAID_OK);
    json_t *read = json_loads(text, 0, NULL);
    braid_free(text);
    assert_string_equal(text_at(read, "id"), "r");
    long long version = json_integer_value(json_object_get(read, "version"));
    json_decref(read);
    snprintf(body, sizeof body, "{\"version\":%lld,\"pin\":{\"item\":\"f46\"}}", version);
    rule(f, "r", body);
    assert_int_equal(braid_put_document(f->db, "rule", "r", body, 0, &text, &err), BRAID_E_CONFLICT);
    err = (braid_error){0};
    assert_int_equal(
        braid_put_document(f->db, "rule", "r", "{\"version\":0,\"pin\":{\"item\":\"f46\"}}", 0, &text, &err),
        BRAID_E_CONFLICT);
    assert_int_equal(braid_delete_document(f->db, "rule", "none", &text, NULL), BRAID_E_NOT_FOUND);
}

static void rules_outlive_the_process(void **state) {
    fixture *f = *state;
    braid_error err = {0};
    rule(f, "p", "{\"pin\":{\"item\":\"f45\"}}");
    braid_close(f->db);
    if (fixture_open(f, settings, &err)) fail_msg("open: %s", err.message);
    settle(f);
    assert_int_equal(place(f, "ana", "", "f45"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_pin_stands_at_its_place_and_says_so, no_rules),
        cmocka_unit_test_teardown(what_is_explored_stands_around_the_pins, no_rules),
        cmocka_unit_test_teardown(a_pin_is_never_against_rights_or_what_was_seen, no_rules),
        cmocka_unit_test_teardown(a_boost_moves_and_a_factor_below_one_sinks, no_rules),
        cmocka_unit_test_teardown(a_quota_is_filled_as_late_as_it_can_be, no_rules),
        cmocka_unit_test_teardown(a_rule_holds_for_whom_and_when_it_says, no_rules),
        cmocka_unit_test_teardown(a_change_ends_the_answers_that_were_kept, no_rules),
        cmocka_unit_test_teardown(the_next_page_repeats_no_pin, no_rules),
        cmocka_unit_test_teardown(what_makes_no_sense_is_refused, no_rules),
        cmocka_unit_test_teardown(two_editors_never_undo_each_other_unseen, no_rules),
        cmocka_unit_test_teardown(rules_outlive_the_process, no_rules),
    };
    return cmocka_run_group_tests_name("rules of the editors", tests, setup, teardown);
}
