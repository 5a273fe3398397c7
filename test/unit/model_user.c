/* Users: tastes, limits, state; one canonical text whatever the order of keys. */
#include "model_test.h"

static arena *a;

static int with_arena(void **state) {
    (void)state;
    a = arena_new(4096);
    return a ? 0 : -1;
}

static int without_arena(void **state) {
    (void)state;
    arena_free(a);
    return 0;
}

static user *read_user(const char *text) {
    braid_error err = {0};
    json_t *json = parse(text);
    user *u = NULL;
    if (user_from_json(json, &test_limits, a, &u, &err)) {
        fail_msg("%s\n%s", err.message, text);
    }
    json_decref(json);
    return u;
}

static void refused(const char *text, int code, const char *part) {
    braid_error err = {0};
    model_limits limits = test_limits;
    limits.dim = 2;
    json_t *json = parse(text);
    user *u = (user *)&err;
    int rc = user_from_json(json, &limits, a, &u, &err);
    assert_refused(rc, &err, code, part);
    assert_null(u);
    json_decref(json);
}

static void written_is(const user *u, const char *expected) {
    buf out;
    buf_init(&out, 0);
    assert_true(user_to_json(u, &out));
    assert_string_equal(out.data, expected);
    buf_free(&out);
}

static void a_user_needs_only_an_id(void **state) {
    (void)state;
    user *u = read_user("{\"id\":\"ana\"}");
    assert_int_equal(u->age, -1);
    assert_int_equal(u->tier, -1);
    assert_string_equal(u->region, "");
    assert_string_equal(u->mood, "");
    assert_false(u->simulated);
    assert_null(u->state_vector);
    written_is(u, "{\"id\":\"ana\"}");
    user_release(u);
    user_release(NULL);
}

static const char canonical[] =
    "{\"id\":\"ana\",\"name\":\"Ana\",\"description\":\"Aime le noir.\",\"simulated\":true,"
    "\"preferences\":{\"genres\":{\"drame\":0.8,"
    "\"horreur\":-1},\"themes\":{\"exil\":0.25},\"language\":{\"fr\":0}},\"constraints\":{\"region\":\"CA\","
    "\"age\":0,\"tier\":0,"
    "\"languages\":[\"fr\",\"en\"],\"exclude\":{\"genres\":[\"horreur\",\"western\"],\"people\":[\"X\"]},"
    "\"block\":[\"m2\",\"m1\"]},"
    "\"state\":{\"mood\":\"calme\",\"context\":\"soir\",\"vector\":[0.5,-0.25]},\"attributes\":{\"a\":1}}";

static void all_fields_survive_in_canonical_form(void **state) {
    (void)state;
    user *u = read_user(canonical);
    assert_true(u->simulated);
    assert_int_equal(u->age, 0);
    assert_int_equal(u->preferences_count, 4);
    assert_string_equal(u->preferences[0].field, "genres");
    assert_true(u->preferences[1].weight == -1);
    assert_int_equal(u->exclusions_count, 3);
    assert_string_equal(u->exclusions[2].field, "people");
    assert_string_equal(u->block.values[0], "m2");
    assert_int_equal(u->state_dim, 2);
    written_is(u, canonical);
    user_release(u);
}

static void the_order_of_keys_and_doubles_do_not_matter(void **state) {
    (void)state;
    user *u = read_user(
        "{\"attributes\":{\"a\":1},\"state\":{\"vector\":[0.5,-0.25],\"context\":\"soir\",\"mood\":\"calme\"},"
        "\"constraints\":{\"block\":"
        "[\"m2\",\"m1\",\"m2\"],\"exclude\":{\"people\":[\"X\"],\"genres\":[\"western\",\"horreur\",\"western\"],"
        "\"moods\":null},"
        "\"languages\":[\"fr\",\"en\"],\"tier\":0,\"age\":0,\"region\":\"CA\"},"
        "\"preferences\":{\"language\":{\"fr\":-0.0},\"themes\":"
        "{\"exil\":0.25},\"genres\":{\"horreur\":-1,\"drame\":0.8},\"people\":{}},\"simulated\":true,"
        "\"description\":\"Aime le noir.\","
        "\"name\":\"Ana\",\"id\":\"ana\"}");
    written_is(u, canonical);
    user_release(u);
}

static void a_block_list_may_be_long(void **state) {
    (void)state;
    json_t *list = json_array();
    for (int i = 0; i < MODEL_BLOCK_MAX; i++) {
        json_array_append_new(list, json_sprintf("m%d", i % 7000));
    }
    json_t *json = json_pack("{sss{so}}", "id", "ana", "constraints", "block", list);
    user *u = NULL;
    assert_int_equal(user_from_json(json, &test_limits, a, &u, NULL), BRAID_OK);
    assert_int_equal(u->block.count, 7000);
    assert_string_equal(u->block.values[6999], "m6999");
    user_release(u);
    json_array_append_new(list, json_string("one more"));
    braid_error err = {0};
    assert_refused(user_from_json(json, &test_limits, a, &u, &err), &err, BRAID_E_TOO_LARGE,
                   "user.constraints.block: has 10001");
    json_decref(json);
}

static void what_does_not_fit_is_refused_with_its_place(void **state) {
    (void)state;
    refused("{}", BRAID_E_INVALID, "\"id\" is missing");
    refused("{\"id\":\"u\",\"simulated\":1}", BRAID_E_INVALID, "user.simulated: must be true or false");
    refused("{\"id\":\"u\",\"preference\":{}}", BRAID_E_UNKNOWN_FIELD, "did you mean \"preferences\"?");
    refused("{\"id\":\"u\",\"preferences\":{\"genre\":{}}}", BRAID_E_UNKNOWN_FIELD,
            "user.preferences: unknown field \"genre\"; did you");
    refused("{\"id\":\"u\",\"preferences\":{\"genres\":[\"a\"]}}", BRAID_E_INVALID,
            "user.preferences.genres: must be an object");
    refused("{\"id\":\"u\",\"preferences\":{\"genres\":{\"a\":1.5}}}", BRAID_E_INVALID, "is 1.5; must be from -1 to 1");
    refused("{\"id\":\"u\",\"preferences\":{\"genres\":{\"a\":null}}}", BRAID_E_INVALID, "must be a number, not null");
    refused("{\"id\":\"u\",\"preferences\":{\"genres\":{\"\":1}}}", BRAID_E_INVALID, "must not be empty");
    refused("{\"id\":\"u\",\"constraints\":{\"ages\":1}}", BRAID_E_UNKNOWN_FIELD, "did you mean \"age\"?");
    refused("{\"id\":\"u\",\"constraints\":{\"age\":151}}", BRAID_E_INVALID, "0 to 150");
    refused("{\"id\":\"u\",\"constraints\":{\"tier\":-1}}", BRAID_E_INVALID, "0 to 255");
    refused("{\"id\":\"u\",\"constraints\":{\"exclude\":{\"genres\":\"a\"}}}", BRAID_E_INVALID,
            "exclude.genres: must be a list");
    refused("{\"id\":\"u\",\"constraints\":{\"exclude\":{\"genres\":[1]}}}", BRAID_E_INVALID, "exclude.genres[0]");
    refused("{\"id\":\"u\",\"state\":{\"vector\":[1,2,3]}}", BRAID_E_DIMENSION,
            "3 numbers, the database's dimension is 2");
    refused("{\"id\":\"u\",\"state\":{\"vector\":[0,0]}}", BRAID_E_INVALID, "all zeros");
    refused("{\"id\":\"u\",\"state\":[]}", BRAID_E_INVALID, "user.state: must be an object");
}

static void random_users_read_back_the_same(void **state) {
    (void)state;
    static const char *const facets[] = {"genres", "themes",    "moods", "contexts",
                                         "people", "countries", "kind",  "language"};
    rng r = test_rng("users");
    for (int round = 0; round < 200; round++) {
        arena_reset(a);
        json_t *preferences = json_object(), *exclude = json_object();
        for (size_t f = 0; f < 8; f++) {
            json_t *weights = json_object(), *values = json_array();
            for (uint64_t n = rng_below(&r, 4); n > 0; n--) {
                json_object_set_new(weights, random_text(&r, a, 1, 255, false), json_real(2 * rng_uniform(&r) - 1));
                json_array_append_new(values, json_string(random_text(&r, a, 1, 255, false)));
            }
            json_object_set_new(preferences, facets[7 - f], weights);
            json_object_set_new(exclude, facets[7 - f], values);
        }
        json_t *json = json_object();
        json_object_set_new(json, "id", json_string(random_text(&r, a, 1, 255, false)));
        json_object_set_new(json, "name", json_string(random_text(&r, a, 1, 255, false)));
        json_object_set_new(json, "description", json_string(random_text(&r, a, 0, 999, true)));
        json_object_set_new(json, "preferences", preferences);
        json_object_set_new(json, "constraints",
                            json_pack("{sosi}", "exclude", exclude, "age", (int)rng_below(&r, 100)));
        user *u = NULL;
        braid_error err = {0};
        if (user_from_json(json, &test_limits, a, &u, &err)) {
            fail_msg("%s", err.message);
        }
        buf text;
        buf_init(&text, 0);
        assert_true(user_to_json(u, &text));
        user *again = read_user(text.data);
        assert_int_equal(again->preferences_count, u->preferences_count);
        for (size_t i = 0; i < u->preferences_count; i++) {
            assert_string_equal(again->preferences[i].value, u->preferences[i].value);
            assert_true(again->preferences[i].weight == u->preferences[i].weight);
        }
        written_is(again, text.data);
        buf_free(&text);
        user_release(again);
        user_release(u);
        json_decref(json);
    }
}

int main(void) {
#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, with_arena, without_arena)
    const struct CMUnitTest tests[] = {
        WITH_ARENA(a_user_needs_only_an_id),
        WITH_ARENA(all_fields_survive_in_canonical_form),
        WITH_ARENA(the_order_of_keys_and_doubles_do_not_matter),
        WITH_ARENA(a_block_list_may_be_long),
        WITH_ARENA(what_does_not_fit_is_refused_with_its_place),
        WITH_ARENA(random_users_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
