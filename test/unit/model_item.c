/* Items: every field checked, one canonical text, and reading what was written gives the same item. */
#include <math.h>

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

static item *read_item(const char *text) {
    braid_error err = {0};
    json_t *json = parse(text);
    item *it = NULL;
    if (item_from_json(json, &test_limits, a, &it, &err)) {
        fail_msg("%s\n%s", err.message, text);
    }
    json_decref(json);
    return it;
}

static void refused_by(const model_limits *limits, const char *text, int code, const char *part) {
    braid_error err = {0};
    json_t *json = parse(text);
    item *it = (item *)&err;
    int rc = item_from_json(json, limits, a, &it, &err);
    assert_refused(rc, &err, code, part);
    assert_null(it);
    json_decref(json);
}

static void refused(const char *text, int code, const char *part) {
    refused_by(&test_limits, text, code, part);
}

static void written_is(const item *it, bool with_vectors, const char *expected) {
    buf out;
    buf_init(&out, 0);
    assert_true(item_to_json(it, with_vectors, &out));
    assert_string_equal(out.data, expected);
    buf_free(&out);
}

static void an_item_needs_only_an_id(void **state) {
    (void)state;
    item *it = read_item("{\"id\":\"x\"}");
    assert_string_equal(it->id, "x");
    assert_string_equal(it->title, "");
    assert_string_equal(it->language, "");
    assert_int_equal(it->year, 0);
    assert_true(it->available_from == TIME_NONE && it->available_until == TIME_NONE);
    assert_null(it->attributes);
    assert_null(item_default_vector(it));
    written_is(it, true, "{\"id\":\"x\"}");
    item_release(it);
    item_release(NULL);
}

static void all_fields_arrive_and_leave_in_one_order(void **state) {
    (void)state;
    item *it = read_item(
        "{\"vectors\":{\"poster\":[1],\"default\":[0.5,-0.25]},\"attributes\":{\"z\":1.50,\"b\":{\"y\":2,"
        "\"x\":[true,null]}},\"tier\":2,"
        "\"age_rating\":12.0,\"available_until\":\"2030-01-01T02:00:00.5+02:00\",\"available_from\":\"2020-01-01\","
        "\"regions\":[\"FR\"],"
        "\"synopsis\":\"Deux\\nlignes.\",\"people\":[{\"role\":\"director\",\"name\":\"Ana\"},\"Bob\","
        "{\"name\":\"Bob\"},{\"name\":\"Bob\","
        "\"role\":\"cast\"}],\"contexts\":[\"france\"],\"moods\":[\"gai\"],\"themes\":[\"exil\"],"
        "\"genres\":[\"drame\",\"noir\",\"drame\"],"
        "\"countries\":[\"FR\",\"IT\"],\"language\":\"fr\",\"duration_s\":5400,\"year\":1968,\"kind\":\"film\","
        "\"original_title\":\"T0\","
        "\"title\":\"T\",\"id\":\"m1\"}");
    assert_int_equal(it->genres.count, 2);
    assert_int_equal(it->people_count, 3);
    assert_true(it->available_until == INT64_C(1893456000500));
    assert_int_equal(item_default_vector(it)->dim, 2);
    const char *without =
        "{\"id\":\"m1\",\"title\":\"T\",\"original_title\":\"T0\",\"kind\":\"film\",\"year\":1968,"
        "\"duration_s\":5400,\"language\":\"fr\","
        "\"countries\":[\"FR\",\"IT\"],\"genres\":[\"drame\",\"noir\"],\"themes\":[\"exil\"],\"moods\":[\"gai\"],"
        "\"contexts\":[\"france\"],"
        "\"people\":[{\"name\":\"Ana\",\"role\":\"director\"},\"Bob\",{\"name\":\"Bob\",\"role\":\"cast\"}],"
        "\"synopsis\":\"Deux\\nlignes.\","
        "\"regions\":[\"FR\"],\"available_from\":\"2020-01-01T00:00:00Z\","
        "\"available_until\":\"2030-01-01T00:00:00.500Z\","
        "\"age_rating\":12,\"tier\":2,\"attributes\":{\"b\":{\"x\":[true,null],\"y\":2},\"z\":1.5}";
    buf expected;
    buf_init(&expected, 0);
    buf_printf(&expected, "%s}", without);
    written_is(it, false, expected.data);
    buf_reset(&expected);
    buf_printf(&expected, "%s,\"vectors\":{\"default\":[0.5,-0.25],\"poster\":[1]}}", without);
    written_is(it, true, expected.data);
    buf_free(&expected);
    item_release(it);
    assert_null(it->attributes);
}

static void null_and_empty_text_mean_not_given(void **state) {
    (void)state;
    item *it = read_item("{\"id\":\"x\",\"title\":null,\"kind\":\"\",\"year\":null,\"genres\":null,\"people\":null,"
                         "\"attributes\":{},"
                         "\"available_until\":null,\"vectors\":{}}");
    written_is(it, true, "{\"id\":\"x\"}");
    item_release(it);
    refused("{\"id\":null}", BRAID_E_INVALID, "\"id\" is missing");
    refused("{\"id\":\"\"}", BRAID_E_INVALID, "item.id: must not be empty");
}

static void unknown_fields_are_refused_with_the_nearest_name(void **state) {
    (void)state;
    refused("{\"id\":\"x\",\"genre\":[]}", BRAID_E_UNKNOWN_FIELD, "\"genre\"; did you mean \"genres\"?");
    refused("{\"id\":\"x\",\"Title\":\"\"}", BRAID_E_UNKNOWN_FIELD, "did you mean \"title\"?");
    refused("{\"id\":\"x\",\"duraiton_s\":1}", BRAID_E_UNKNOWN_FIELD, "did you mean \"duration_s\"?");
    refused("{\"id\":\"x\",\"vector\":[1]}", BRAID_E_UNKNOWN_FIELD, "did you mean \"vectors\"?");
    refused("{\"id\":\"x\",\"zzzzzz\":1}", BRAID_E_UNKNOWN_FIELD, "known are id, title");
    refused("{\"id\":\"x\",\"people\":[{\"name\":\"a\",\"rôle\":\"b\"}]}", BRAID_E_UNKNOWN_FIELD,
            "item.people[0]: unknown");
    refused("{\"id\":\"x\",\"people\":[{\"role\":\"b\"}]}", BRAID_E_INVALID,
            "item.people[0]: the field \"name\" is missing");
}

static void wrong_types_are_named_with_their_place(void **state) {
    (void)state;
    refused("[]", BRAID_E_INVALID, "item: must be an object, not a list");
    refused("{\"id\":5}", BRAID_E_INVALID, "item.id: must be a string, not a number");
    refused("{\"id\":\"x\",\"genres\":\"drame\"}", BRAID_E_INVALID, "item.genres: must be a list, not a string");
    refused("{\"id\":\"x\",\"genres\":[\"a\",7]}", BRAID_E_INVALID, "item.genres[1]: must be a string, not a number");
    refused("{\"id\":\"x\",\"genres\":[\"\"]}", BRAID_E_INVALID, "item.genres[0]: must not be empty");
    refused("{\"id\":\"x\",\"year\":\"1990\"}", BRAID_E_INVALID, "item.year: must be a whole number");
    refused("{\"id\":\"x\",\"year\":1990.5}", BRAID_E_INVALID, "whole number from -9999 to 9999");
    refused("{\"id\":\"x\",\"year\":10000}", BRAID_E_INVALID, "is 10000; must be from -9999 to 9999");
    refused("{\"id\":\"x\",\"year\":1e300}", BRAID_E_INVALID, "whole number");
    refused("{\"id\":\"x\",\"duration_s\":-1}", BRAID_E_INVALID, "duration_s");
    refused("{\"id\":\"x\",\"age_rating\":100}", BRAID_E_INVALID, "0 to 99");
    refused("{\"id\":\"x\",\"tier\":256}", BRAID_E_INVALID, "0 to 255");
    refused("{\"id\":\"x\",\"attributes\":[]}", BRAID_E_INVALID, "item.attributes: must be an object");
    refused("{\"id\":\"x\",\"attributes\":{\"a\":{\"\":1}}}", BRAID_E_INVALID, "must not be empty");
    refused("{\"id\":\"x\",\"available_from\":1}", BRAID_E_INVALID, "must be a time such as");
    refused("{\"id\":\"x\",\"available_from\":\"2020-13-01\"}", BRAID_E_INVALID,
            "\"2020-13-01\" is not an RFC 3339 time");
}

static void ids_and_names_are_bounded_utf8_without_control_characters(void **state) {
    (void)state;
    char id[300];
    memset(id, 'a', sizeof id);
    braid_error err = {0};
    assert_int_equal(model_check_id(id, 255, "user", &err), BRAID_OK);
    assert_refused(model_check_id(id, 256, "user", &err), &err, BRAID_E_TOO_LARGE, "user: has 256 bytes; at most 255");
    struct {
        const char *id;
        int code;
    } bad[] = {
        {"", BRAID_E_INVALID},          {"a\n", BRAID_E_INVALID}, {"\x7f", BRAID_E_INVALID},
        {"a\xc2\x85", BRAID_E_INVALID}, {"\xc3", BRAID_E_UTF8},   {"\xed\xa0\x80", BRAID_E_UTF8},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (braid_error){0};
        assert_int_equal(model_check_id(bad[i].id, strlen(bad[i].id), "id", &err), bad[i].code);
    }
    assert_int_equal(model_check_id("a\0b", 3, "id", NULL), BRAID_E_INVALID);
    assert_int_equal(model_check_id("é \xc2\xa0 🎬", strlen("é \xc2\xa0 🎬"), "id", NULL), BRAID_OK);
    refused("{\"id\":\"x\",\"genres\":[\"a\\u0007\"]}", BRAID_E_INVALID, "control characters");
}

static void lists_texts_and_attributes_are_bounded(void **state) {
    (void)state;
    buf text;
    buf_init(&text, 0);
    buf_puts(&text, "{\"id\":\"x\",\"themes\":[\"t\"");
    for (int i = 1; i < 257; i++) {
        buf_puts(&text, ",\"t\"");
    }
    buf_puts(&text, "]}");
    refused(text.data, BRAID_E_TOO_LARGE, "257 values; at most 256");

    buf_reset(&text);
    buf_puts(&text, "{\"id\":\"x\",\"synopsis\":\"");
    for (int i = 0; i < MODEL_TEXT_BYTES_MAX; i++) {
        buf_putc(&text, 's');
    }
    buf_puts(&text, "\"}");
    item_release(read_item(text.data));
    text.len -= 2;
    buf_puts(&text, "s\"}");
    refused(text.data, BRAID_E_TOO_LARGE, "item.synopsis: has 65537 bytes; at most 65536");

    buf_reset(&text);
    buf_puts(&text, "{\"id\":\"x\",\"attributes\":{\"a\":\"");
    for (int i = 0; i < MODEL_ATTRIBUTES_BYTES_MAX; i++) {
        buf_putc(&text, 's');
    }
    buf_puts(&text, "\"}}");
    refused(text.data, BRAID_E_TOO_LARGE, "bytes of JSON; at most 65536");
    buf_free(&text);
}

static void the_window_of_rights_must_not_be_empty(void **state) {
    (void)state;
    refused("{\"id\":\"x\",\"available_from\":\"2021-01-01\",\"available_until\":\"2021-01-01T00:00:00Z\"}",
            BRAID_E_INVALID, "available_until must be after available_from");
    item_release(read_item("{\"id\":\"x\",\"available_from\":\"2021-01-01\","
                           "\"available_until\":\"2021-01-01T00:00:00.001Z\"}"));
}

static void vectors_are_finite_have_a_direction_and_the_right_dimension(void **state) {
    (void)state;
    model_limits three = test_limits;
    three.dim = 3;
    refused_by(&three, "{\"id\":\"x\",\"vectors\":{\"default\":[1,2]}}", BRAID_E_DIMENSION,
               "item.vectors.default: the vector has 2 numbers, the database's dimension is 3");
    refused("{\"id\":\"x\",\"vectors\":{\"default\":[]}}", BRAID_E_DIMENSION, "0 numbers");
    refused("{\"id\":\"x\",\"vectors\":{\"default\":[1,1e39]}}", BRAID_E_NOT_FINITE, "vectors.default[1]");
    refused("{\"id\":\"x\",\"vectors\":{\"default\":[1,\"2\"]}}", BRAID_E_INVALID, "default[1]: must be a number");
    refused("{\"id\":\"x\",\"vectors\":{\"default\":[0,0.0,-0.0]}}", BRAID_E_INVALID, "all zeros");
    refused("{\"id\":\"x\",\"vectors\":{\"default\":[1e-300]}}", BRAID_E_INVALID, "all zeros");
    refused("{\"id\":\"x\",\"vectors\":{\"default\":[3e38,3e38]}}", BRAID_E_NOT_FINITE, "length");
    refused("{\"id\":\"x\",\"vectors\":[1]}", BRAID_E_INVALID, "vectors: must be an object");
    refused("{\"id\":\"x\",\"vectors\":{\"\":[1]}}", BRAID_E_INVALID, "must not be empty");
    refused("{\"id\":\"x\",\"vectors\":{\"1\":[1],\"2\":[1],\"3\":[1],\"4\":[1],\"5\":[1],\"6\":[1],\"7\":[1],"
            "\"8\":[1],\"9\":[1]}}",
            BRAID_E_TOO_LARGE, "at most 8");
    json_t *json = json_pack("{sss{so}}", "id", "x", "vectors", "default", json_array());
    for (int i = 0; i < MODEL_DIM_MAX + 1; i++) {
        json_array_append_new(json_object_get(json_object_get(json, "vectors"), "default"), json_integer(1));
    }
    braid_error err = {0};
    item *it;
    assert_refused(item_from_json(json, &test_limits, a, &it, &err), &err, BRAID_E_DIMENSION, "4097 numbers; 1..4096");
    json_decref(json);
}

static void minus_zero_is_zero(void **state) {
    (void)state;
    item *it = read_item("{\"id\":\"x\",\"attributes\":{\"n\":-0.0},\"vectors\":{\"default\":[1,-0.0,-1e-60]}}");
    static const float expected[] = {1, 0, 0};
    assert_memory_equal(item_default_vector(it)->values, expected, sizeof expected);
    written_is(it, true, "{\"id\":\"x\",\"attributes\":{\"n\":0},\"vectors\":{\"default\":[1,0,0]}}");
    item_release(it);
}

static void attributes_live_as_long_as_their_item(void **state) {
    (void)state;
    json_t *json = parse("{\"id\":\"x\",\"attributes\":{\"a\":1}}");
    item *it;
    assert_int_equal(item_from_json(json, &test_limits, a, &it, NULL), BRAID_OK);
    json_decref(json);
    assert_int_equal(json_integer_value(json_object_get(it->attributes, "a")), 1);
    item_release(it);
}

static void a_full_buffer_is_reported(void **state) {
    (void)state;
    item *it = read_item("{\"id\":\"x\",\"title\":\"a longer title than fits\",\"attributes\":{\"a\":[1,2,"
                         "{\"b\":3}]}}");
    for (size_t max = 1; max < 60; max++) {
        buf out;
        buf_init(&out, max);
        assert_false(item_to_json(it, true, &out));
        buf_free(&out);
    }
    item_release(it);
}

/* ---- a random item, written and read, is the same item ---- */

static string_list random_list(rng *r) {
    string_list list = {arena_calloc(a, 8, sizeof *list.values), rng_below(r, 5)};
    for (size_t i = 0; i < list.count; i++) {
        /* The index in front keeps the values distinct. */
        list.values[i] = arena_printf(a, "%zu%s", i, random_text(r, a, 0, 200, false));
    }
    return list;
}

static json_t *random_json(rng *r, int depth) {
    switch (rng_below(r, depth > 3 ? 6 : 8)) {
    case 0: return json_string(random_text(r, a, 0, 40, true));
    case 1: return json_integer((json_int_t)rng_next(r));
    case 2: return json_real((rng_uniform(r) - 0.5) * pow(10, (double)rng_below(r, 500) - 250));
    case 3: return json_boolean(rng_below(r, 2));
    case 4: return json_null();
    case 5: return json_real((double)(int64_t)rng_below(r, 1000));
    case 6: {
        json_t *list = json_array();
        for (uint64_t n = rng_below(r, 4); n > 0; n--) {
            json_array_append_new(list, random_json(r, depth + 1));
        }
        return list;
    }
    default: {
        json_t *object = json_object();
        for (uint64_t n = rng_below(r, 4); n > 0; n--) {
            json_object_set_new(object, random_text(r, a, 1, 30, false), random_json(r, depth + 1));
        }
        return object;
    }
    }
}

static float random_float(rng *r) {
    return (float)((rng_uniform(r) - 0.5) * pow(10, (double)rng_below(r, 30) - 15));
}

static void random_vectors(rng *r, item *it) {
    static const char *const names[] = {"audio", "default", "poster"};
    it->vectors = arena_calloc(a, 3, sizeof *it->vectors);
    it->vectors_count = rng_below(r, 4);
    for (size_t i = 0; i < it->vectors_count; i++) {
        uint32_t dim = 1 + (uint32_t)rng_below(r, 20);
        float *values = arena_alloc(a, dim * sizeof *values);
        for (uint32_t j = 0; j < dim; j++) {
            values[j] = random_float(r);
        }
        values[0] = 1.0f + (float)rng_uniform(r);
        it->vectors[i] = (item_vector){names[i], dim, values};
    }
}

static void random_people(rng *r, item *it) {
    it->people = arena_calloc(a, 4, sizeof *it->people);
    it->people_count = rng_below(r, 5);
    for (size_t i = 0; i < it->people_count; i++) {
        const char *name = arena_printf(a, "%s%zu", random_text(r, a, 0, 100, false), i);
        it->people[i] = (item_person){name, rng_below(r, 2) ? "" : random_text(r, a, 1, 20, false)};
    }
}

static item *random_item(rng *r) {
    item *it = arena_calloc(a, 1, sizeof *it);
    it->id = random_text(r, a, 1, 255, false);
    it->title = random_text(r, a, 0, 500, true);
    it->original_title = random_text(r, a, 0, 50, true);
    it->kind = random_text(r, a, 0, 20, false);
    it->language = random_text(r, a, 0, 20, false);
    it->synopsis = random_text(r, a, 0, 2000, true);
    it->year = (int32_t)rng_below(r, 19999) - 9999;
    it->duration_s = (int32_t)rng_below(r, 100000);
    it->countries = random_list(r);
    it->genres = random_list(r);
    it->themes = random_list(r);
    it->moods = random_list(r);
    it->contexts = random_list(r);
    it->regions = random_list(r);
    it->available_from = it->available_until = TIME_NONE;
    if (rng_below(r, 2)) {
        it->available_from = (int64_t)rng_below(r, UINT64_C(200000000000000)) - INT64_C(50000000000000);
        it->available_until = it->available_from + 1 + (int64_t)rng_below(r, 1000000);
    }
    it->age_rating = (int32_t)rng_below(r, 100);
    it->tier = (int32_t)rng_below(r, 256);
    random_people(r, it);
    random_vectors(r, it);
    json_t *attributes = json_object();
    for (uint64_t n = rng_below(r, 4); n > 0; n--) {
        json_object_set_new(attributes, random_text(r, a, 1, 255, false), random_json(r, 0));
    }
    if (json_object_size(attributes) > 0) {
        it->attributes = attributes;
    } else {
        json_decref(attributes);
    }
    return it;
}

static void same_list(const string_list *x, const string_list *y) {
    assert_int_equal(x->count, y->count);
    for (size_t i = 0; i < x->count; i++) {
        assert_string_equal(x->values[i], y->values[i]);
    }
}

static void same_item(const item *x, const item *y) {
    assert_string_equal(x->id, y->id);
    assert_string_equal(x->title, y->title);
    assert_string_equal(x->original_title, y->original_title);
    assert_string_equal(x->kind, y->kind);
    assert_string_equal(x->language, y->language);
    assert_string_equal(x->synopsis, y->synopsis);
    assert_int_equal(x->year, y->year);
    assert_int_equal(x->duration_s, y->duration_s);
    same_list(&x->countries, &y->countries);
    same_list(&x->genres, &y->genres);
    same_list(&x->themes, &y->themes);
    same_list(&x->moods, &y->moods);
    same_list(&x->contexts, &y->contexts);
    same_list(&x->regions, &y->regions);
    assert_true(x->available_from == y->available_from && x->available_until == y->available_until);
    assert_int_equal(x->age_rating, y->age_rating);
    assert_int_equal(x->tier, y->tier);
    assert_int_equal(x->people_count, y->people_count);
    for (size_t i = 0; i < x->people_count; i++) {
        assert_string_equal(x->people[i].name, y->people[i].name);
        assert_string_equal(x->people[i].role, y->people[i].role);
    }
    assert_int_equal(x->vectors_count, y->vectors_count);
    for (size_t i = 0; i < x->vectors_count; i++) {
        assert_string_equal(x->vectors[i].name, y->vectors[i].name);
        assert_int_equal(x->vectors[i].dim, y->vectors[i].dim);
        assert_memory_equal(x->vectors[i].values, y->vectors[i].values, x->vectors[i].dim * sizeof(float));
    }
}

static void what_was_written_reads_back_the_same(void **state) {
    (void)state;
    rng r = test_rng("items");
    buf first, second;
    buf_init(&first, 0);
    buf_init(&second, 0);
    for (int round = 0; round < 300; round++) {
        arena_reset(a);
        buf_reset(&first);
        buf_reset(&second);
        item *it = random_item(&r);
        assert_true(item_to_json(it, true, &first));
        item *again = read_item(first.data);
        same_item(it, again);
        assert_true(item_to_json(again, true, &second));
        assert_string_equal(first.data, second.data);
        item_release(again);
        item_release(it);
    }
    buf_free(&first);
    buf_free(&second);
}

int main(void) {
#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, with_arena, without_arena)
    const struct CMUnitTest tests[] = {
        WITH_ARENA(an_item_needs_only_an_id),
        WITH_ARENA(all_fields_arrive_and_leave_in_one_order),
        WITH_ARENA(null_and_empty_text_mean_not_given),
        WITH_ARENA(unknown_fields_are_refused_with_the_nearest_name),
        WITH_ARENA(wrong_types_are_named_with_their_place),
        WITH_ARENA(ids_and_names_are_bounded_utf8_without_control_characters),
        WITH_ARENA(lists_texts_and_attributes_are_bounded),
        WITH_ARENA(the_window_of_rights_must_not_be_empty),
        WITH_ARENA(vectors_are_finite_have_a_direction_and_the_right_dimension),
        WITH_ARENA(minus_zero_is_zero),
        WITH_ARENA(attributes_live_as_long_as_their_item),
        WITH_ARENA(a_full_buffer_is_reported),
        WITH_ARENA(what_was_written_reads_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
