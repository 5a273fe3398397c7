/* Filters: canonical form, refusals, limits, and the meaning of every operator. */
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

static filter *filter_of(const json_t *json) {
    braid_error err = {0};
    filter *f = NULL;
    if (filter_from_json(json, a, &f, &err)) {
        fail_msg("%s", err.message);
    }
    return f;
}

/* The canonical text, in the arena. */
static const char *printed(const json_t *json) {
    buf out;
    buf_init(&out, 0);
    assert_true(filter_print(filter_of(json), &out));
    const char *text = arena_strdup(a, out.data);
    buf_free(&out);
    return text;
}

static const char *canonical(const char *text) {
    json_t *json = parse(text);
    const char *out = printed(json);
    json_decref(json);
    return out;
}

static item *item_of(const json_t *json) {
    braid_error err = {0};
    item *it = NULL;
    if (item_from_json(json, &test_limits, a, &it, &err)) {
        fail_msg("%s", err.message);
    }
    return it;
}

static bool matches(const char *filter_text, const char *item_text) {
    json_t *fj = parse(filter_text), *ij = parse(item_text);
    item *it = item_of(ij);
    bool yes = filter_matches(filter_of(fj), it);
    item_release(it);
    json_decref(fj);
    json_decref(ij);
    return yes;
}

static void refused_json(const json_t *json, int code, const char *part) {
    braid_error err = {0};
    filter *f = (filter *)&err;
    int rc = filter_from_json(json, a, &f, &err);
    assert_refused(rc, &err, code, part);
    assert_null(f);
}

static void refused(const char *text, int code, const char *part) {
    json_t *json = parse(text);
    refused_json(json, code, part);
    json_decref(json);
}

static void the_same_meaning_has_the_same_text(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "{}"},
        {"{\"all\":[]}", "{}"},
        {"{\"any\":[]}", "{\"not\":{}}"},
        {"{\"genres\":{\"in\":[]}}", "{\"not\":{}}"},
        {"{\"genres\":{\"nin\":[]}}", "{}"},
        {"{\"not\":{\"not\":{\"kind\":\"film\"}}}", "{\"kind\":{\"in\":[\"film\"]}}"},
        {"{\"kind\":\"film\"}", "{\"kind\":{\"in\":[\"film\"]}}"},
        {"{\"kind\":{\"eq\":\"film\"}}", "{\"kind\":{\"in\":[\"film\"]}}"},
        {"{\"kind\":{\"ne\":\"film\"}}", "{\"not\":{\"kind\":{\"in\":[\"film\"]}}}"},
        {"{\"kind\":{\"in\":[\"b\",\"a\",\"b\"]}}", "{\"kind\":{\"in\":[\"a\",\"b\"]}}"},
        {"{\"kind\":{\"exists\":true}}", "{\"kind\":{\"exists\":true}}"},
        {"{\"kind\":{\"exists\":false}}", "{\"not\":{\"kind\":{\"exists\":true}}}"},
        {"{\"year\":{\"lt\":2000,\"gte\":1990}}", "{\"year\":{\"gte\":1990,\"lt\":2000}}"},
        {"{\"year\":{\"gt\":1990}}", "{\"year\":{\"gt\":1990}}"},
        {"{\"any\":[{\"year\":{\"gte\":1}},{\"year\":{\"gt\":1}},{\"year\":{\"gte\":1}}]}",
         "{\"any\":[{\"year\":{\"gte\":1}},{\"year\":{\"gt\":1}}]}"},
        {"{\"any\":[{\"year\":{\"lt\":1}},{\"year\":{\"lte\":1}}]}", "{\"any\":[{\"year\":{\"lte\":1}},"
                                                                     "{\"year\":{\"lt\":1}}]}"},
        {"{\"year\":{\"lte\":1990.0}}", "{\"year\":{\"lte\":1990}}"},
        {"{\"available_until\":{\"gt\":\"2026-01-01T01:00:00+01:00\"}}",
         "{\"available_until\":{\"gt\":\"2026-01-01T00:00:00Z\"}}"},
        {"{\"all\":[{\"kind\":\"b\"},{\"all\":[{\"year\":1},{\"kind\":\"b\"}]},{}]}",
         "{\"all\":[{\"kind\":{\"in\":[\"b\"]}},{\"year\":{\"in\":[1]}}]}"},
        {"{\"year\":1,\"kind\":\"b\"}", "{\"all\":[{\"kind\":{\"in\":[\"b\"]}},{\"year\":{\"in\":[1]}}]}"},
        {"{\"any\":[{\"kind\":\"b\"},{\"any\":[]}]}", "{\"kind\":{\"in\":[\"b\"]}}"},
        {"{\"any\":[{\"kind\":\"b\"},{}]}", "{}"},
        {"{\"kind\":\"b\",\"any\":[]}", "{\"not\":{}}"},
        {"{\"not\":{\"any\":[{\"not\":{\"kind\":\"b\"}},{\"kind\":{\"ne\":\"b\"}}]}}", "{\"kind\":{\"in\":[\"b\"]}}"},
        {"{\"attributes.a.b\":{\"in\":[true,2,\"x\",1,\"\"]}}", "{\"attributes.a.b\":{\"in\":[\"\",\"x\",1,2,true]}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(canonical(cases[i][0]), cases[i][1]);
        assert_string_equal(canonical(cases[i][1]), cases[i][1]);
    }
    assert_string_equal(printed(NULL), "{}");
}

static void what_cannot_be_meant_is_refused_with_its_place(void **state) {
    (void)state;
    refused("[]", BRAID_E_INVALID, "filter: must be an object, not a list");
    refused("{\"genre\":\"x\"}", BRAID_E_UNKNOWN_FIELD, "filter: unknown field \"genre\"; did you mean \"genres\"?");
    refused("{\"al\":[]}", BRAID_E_UNKNOWN_FIELD, "did you mean \"all\"?");
    refused("{\"attributes\":{\"x\":1}}", BRAID_E_UNKNOWN_FIELD, "unknown field \"attributes\"");
    refused("{\"attributes.\":1}", BRAID_E_INVALID, "must not be empty");
    refused("{\"attributes.a..b\":1}", BRAID_E_INVALID, "between two dots");
    refused("{\"vectors\":1}", BRAID_E_UNKNOWN_FIELD, "vectors");
    refused("{\"all\":{}}", BRAID_E_INVALID, "filter.all: must be a list");
    refused("{\"any\":[1]}", BRAID_E_INVALID, "filter.any[0]: must be an object, not a number");
    refused("{\"not\":[]}", BRAID_E_INVALID, "filter.not: must be an object");
    refused("{\"year\":\"1990\"}", BRAID_E_INVALID, "filter.year: must be a number, not a string");
    refused("{\"year\":{\"in\":[1,\"2\"]}}", BRAID_E_INVALID, "filter.year.in[1]: must be a number");
    refused("{\"year\":{}}", BRAID_E_INVALID, "needs an operator");
    refused("{\"year\":{\"ge\":1}}", BRAID_E_UNKNOWN_FIELD, "filter.year: unknown field \"ge\"; did you mean");
    refused("{\"year\":{\"gt\":1,\"gte\":1}}", BRAID_E_INVALID, "one of \"gt\" and \"gte\"");
    refused("{\"year\":null}", BRAID_E_INVALID, "{\"exists\":false}");
    refused("{\"year\":{\"exists\":1}}", BRAID_E_INVALID, "true or false");
    refused("{\"genres\":[\"a\"]}", BRAID_E_INVALID, "write {\"in\":[...]}");
    refused("{\"genres\":{\"in\":\"a\"}}", BRAID_E_INVALID, "filter.genres.in: must be a list");
    refused("{\"genres\":{\"gt\":\"a\"}}", BRAID_E_INVALID, "a range works on numbers and times only");
    refused("{\"title\":\"\"}", BRAID_E_INVALID, "an empty text is no value");
    refused("{\"title\":true}", BRAID_E_INVALID, "must be a string");
    refused("{\"available_from\":{\"gt\":5}}", BRAID_E_INVALID, "must be a time");
    refused("{\"attributes.x\":{\"gt\":\"a\"}}", BRAID_E_INVALID, "must be a number");
    refused("{\"attributes.x\":{\"in\":[[1]]}}", BRAID_E_INVALID, "attributes.x.in[0]: must be a string, a number");
    refused("{\"all\":[{\"kind\":\"a\"},{\"not\":{\"knid\":\"b\"}}]}", BRAID_E_UNKNOWN_FIELD,
            "filter.all[1].not: unknown field");
}

static void nodes_depth_and_values_are_bounded(void **state) {
    (void)state;
    json_t *deep = json_object();
    for (int i = 1; i < MODEL_FILTER_DEPTH_MAX; i++) {
        deep = json_pack("{so}", "not", deep);
    }
    filter_of(deep);
    deep = json_pack("{so}", "not", deep);
    refused_json(deep, BRAID_E_TOO_LARGE, "deeper than 32");
    json_decref(deep);

    json_t *wide = json_array();
    for (int i = 0; i < MODEL_FILTER_NODES_MAX - 1; i++) {
        json_array_append_new(wide, json_pack("{si}", "year", i));
    }
    json_t *any = json_pack("{so}", "any", wide);
    assert_int_equal(filter_of(any)->children_count, MODEL_FILTER_NODES_MAX - 1);
    json_array_append_new(wide, json_pack("{si}", "year", -1));
    refused_json(any, BRAID_E_TOO_LARGE, "more than 4096 conditions");
    json_decref(any);

    json_t *ids = json_array();
    for (int i = 0; i < MODEL_FILTER_VALUES_MAX; i++) {
        json_array_append_new(ids, json_sprintf("m%d", i % 150000));
    }
    json_t *in = json_pack("{s{so}}", "id", "in", ids);
    assert_int_equal(filter_of(in)->values_count, 150000);
    json_array_append_new(ids, json_string("x"));
    refused_json(in, BRAID_E_TOO_LARGE, "200001 values; at most 200000");
    json_decref(in);
}

static void a_missing_value_matches_no_in_and_no_range_but_its_opposite(void **state) {
    (void)state;
    static const char *const conditions[] = {
        "{\"title\":\"a\"}",
        "{\"kind\":{\"in\":[\"a\",\"b\"]}}",
        "{\"year\":0}",
        "{\"year\":{\"gte\":-9999}}",
        "{\"year\":{\"lt\":1}}",
        "{\"duration_s\":{\"lte\":10}}",
        "{\"genres\":\"a\"}",
        "{\"people\":\"a\"}",
        "{\"regions\":\"FR\"}",
        "{\"available_from\":{\"lt\":\"2030-01-01\"}}",
        "{\"available_until\":{\"gt\":\"1970-01-01\"}}",
        "{\"attributes.a\":1}",
        "{\"attributes.n\":0}",
        "{\"attributes.a.b\":{\"gte\":0}}",
        "{\"title\":{\"exists\":true}}",
        "{\"year\":{\"exists\":true}}",
        "{\"people\":{\"exists\":true}}",
        "{\"available_from\":{\"exists\":true}}",
        "{\"attributes.n\":{\"exists\":true}}",
    };
    const char *bare = "{\"id\":\"x\",\"attributes\":{\"n\":null}}";
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        assert_false(matches(conditions[i], bare));
        assert_true(matches(arena_printf(a, "{\"not\":%s}", conditions[i]), bare));
    }
    assert_true(matches("{\"year\":{\"ne\":1990}}", bare));
    assert_true(matches("{\"genres\":{\"nin\":[\"a\"]}}", bare));
    assert_true(matches("{\"age_rating\":0,\"tier\":{\"lte\":0}}", bare));
    assert_true(matches("{\"tier\":{\"exists\":true}}", bare));
}

static void every_operator_means_what_it_says(void **state) {
    (void)state;
    const char *it = "{\"id\":\"m1\",\"title\":\"Été\",\"year\":1990,\"genres\":[\"drame\",\"noir\"],"
                     "\"people\":[{\"name\":\"Ana\",\"role\":"
                     "\"cast\"}],\"available_until\":\"2026-01-01\",\"attributes\":{\"n\":[1,5],\"b\":true,"
                     "\"s\":\"1\",\"o\":{\"p\":2.5}}}";
    static const char *const yes[] = {
        "{}",
        "{\"id\":\"m1\"}",
        "{\"title\":\"Été\"}",
        "{\"year\":{\"gte\":1990,\"lte\":1990}}",
        "{\"year\":{\"gt\":1989.5}}",
        "{\"genres\":\"noir\"}",
        "{\"genres\":{\"in\":[\"x\",\"drame\"]}}",
        "{\"people\":\"Ana\"}",
        "{\"available_until\":\"2026-01-01T01:00:00+01:00\"}",
        "{\"available_until\":{\"lte\":\"2026-01-01\"}}",
        "{\"attributes.n\":5}",
        "{\"attributes.n\":{\"gt\":4}}",
        "{\"attributes.b\":true}",
        "{\"attributes.s\":\"1\"}",
        "{\"attributes.o.p\":{\"in\":[2.5]}}",
        "{\"attributes.o\":{\"exists\":true}}",
        "{\"any\":[{\"year\":1},{\"id\":\"m1\"}]}",
    };
    static const char *const no[] = {
        "{\"not\":{}}",
        "{\"id\":\"M1\"}",
        "{\"title\":\"été\"}",
        "{\"year\":{\"gt\":1990}}",
        "{\"year\":{\"lt\":1990}}",
        "{\"genres\":\"dram\"}",
        "{\"people\":\"cast\"}",
        "{\"available_until\":{\"lt\":\"2026-01-01\"}}",
        "{\"attributes.n\":{\"gt\":5}}",
        "{\"attributes.n\":{\"gt\":1,\"lt\":5}}",
        "{\"attributes.b\":1}",
        "{\"attributes.s\":1}",
        "{\"attributes.s\":{\"gte\":0}}",
        "{\"attributes.o\":2.5}",
        "{\"attributes.o.p.q\":2.5}",
        "{\"attributes.n.x\":1}",
        "{\"year\":1990,\"id\":\"m2\"}",
    };
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        assert_true(matches(yes[i], it) || (print_message("%s\n", yes[i]), false));
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        assert_false(matches(no[i], it) && (print_message("%s\n", no[i]), true));
    }
    const char *issue = "{\"all\":[{\"genres\":{\"in\":[\"drame\"]}},{\"year\":{\"gte\":1990,\"lt\":2000}},"
                        "{\"not\":{\"language\":\"en\"}}]}";
    assert_true(matches(issue, it));
    assert_false(matches(issue, "{\"id\":\"x\",\"genres\":[\"drame\"],\"year\":1995,\"language\":\"en\"}"));
}

static void a_full_buffer_is_reported_when_printing(void **state) {
    (void)state;
    json_t *json = parse("{\"kind\":{\"in\":[\"a\",\"b\"]},\"year\":{\"gt\":1},\"not\":{\"title\":\"x\"}}");
    for (size_t max = 1; max < 80; max++) {
        buf out;
        buf_init(&out, max);
        assert_false(filter_print(filter_of(json), &out));
        buf_free(&out);
    }
    json_decref(json);
}

int main(void) {
#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, with_arena, without_arena)
    const struct CMUnitTest tests[] = {
        WITH_ARENA(the_same_meaning_has_the_same_text),
        WITH_ARENA(what_cannot_be_meant_is_refused_with_its_place),
        WITH_ARENA(nodes_depth_and_values_are_bounded),
        WITH_ARENA(a_missing_value_matches_no_in_and_no_range_but_its_opposite),
        WITH_ARENA(every_operator_means_what_it_says),
        WITH_ARENA(a_full_buffer_is_reported_when_printing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
