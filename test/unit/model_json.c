/* The strict parser: what it lets through and what it says of the rest. */
#include "model_test.h"

static int try_parse(const char *text, size_t len, const model_limits *limits, braid_error *err)
{
    json_t *json = (json_t *)err;
    *err = (braid_error){0};
    int rc = model_json_parse(text, len, limits, &json, err);
    if (rc) {
        assert_null(json);
    }
    json_decref(json);
    return rc;
}

static void refused(const char *text, int code, const char *part)
{
    braid_error err;
    int rc = try_parse(text, strlen(text), &test_limits, &err);
    assert_refused(rc, &err, code, part);
}

static void objects_and_arrays_are_taken(void **state)
{
    (void)state;
    braid_error err;
    const char *good[] = {"{}", "[]", " {\"a\":[1,2.5,\"x\",true,null]} \n", "[\"\\ud83c\\udfac\"]", "[\"[[[[{{{{\"]"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(try_parse(good[i], strlen(good[i]), &test_limits, &err), BRAID_OK);
    }
}

static void everything_else_is_refused_with_line_and_column(void **state)
{
    (void)state;
    refused("", BRAID_E_INVALID, "empty");
    refused("   ", BRAID_E_INVALID, "line 1");
    refused("42", BRAID_E_INVALID, "line 1");
    refused("\"text\"", BRAID_E_INVALID, "line 1");
    refused("{\"a\":1,}", BRAID_E_INVALID, "line 1, column 8");
    refused("{\n \"a\": 1\n \"b\": 2}", BRAID_E_INVALID, "line 3");
    refused("{\"a\":1} {\"b\":2}", BRAID_E_INVALID, "end of file expected");
    refused("[1,2", BRAID_E_INVALID, "line 1");
    refused("[NaN]", BRAID_E_INVALID, "NaN");
    refused("[Infinity]", BRAID_E_INVALID, "Infinity");
    refused("[01]", BRAID_E_INVALID, "line 1");
    refused("['a']", BRAID_E_INVALID, "line 1");
    refused("\xEF\xBB\xBF{}", BRAID_E_INVALID, "byte order mark");
}

static void duplicate_keys_are_refused(void **state)
{
    (void)state;
    refused("{\"id\":1,\"id\":2}", BRAID_E_INVALID, "same key twice");
    refused("{\"a\":{\"b\":1,\"\\u0062\":2}}", BRAID_E_INVALID, "same key twice");
}

static void broken_utf8_is_refused_as_such(void **state)
{
    (void)state;
    refused("[\"\xff\"]", BRAID_E_UTF8, "line 1, column");
    refused("[\"\xed\xa0\x80\"]", BRAID_E_UTF8, "UTF-8");
    refused("[\"\xc0\xaf\"]", BRAID_E_UTF8, "UTF-8");
    refused("[\"\xf4\x90\x80\x80\"]", BRAID_E_UTF8, "UTF-8");
    refused("[\"\xe2\x82\"]", BRAID_E_UTF8, "UTF-8");
    refused("[\"\\ud800\"]", BRAID_E_INVALID, "line 1");
}

static void the_character_0_is_refused(void **state)
{
    (void)state;
    refused("[\"a\\u0000b\"]", BRAID_E_INVALID, "\\u0000 is not allowed");
    refused("{\"a\\u0000b\":1}", BRAID_E_INVALID, "u0000 is not allowed");
    braid_error err;
    int rc = try_parse("[\"a\0b\"]", 7, &test_limits, &err);
    assert_refused(rc, &err, BRAID_E_INVALID, "line 1");
}

static void numbers_beyond_a_double_are_not_finite(void **state)
{
    (void)state;
    refused("[1e999]", BRAID_E_NOT_FINITE, "64-bit float");
    refused("[-1e999]", BRAID_E_NOT_FINITE, "64-bit float");
    refused("[99999999999999999999]", BRAID_E_INVALID, "beyond 64 bits");
}

static void depth_is_bounded_before_parsing(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *deep = malloc(DEEP);
    braid_error err;
    memset(deep, '[', DEEP);
    int rc = try_parse(deep, DEEP, &test_limits, &err);
    assert_refused(rc, &err, BRAID_E_TOO_LARGE, "line 1, column 65: nested deeper than 64");
    for (size_t i = 0; i < DEEP; i += 5) {
        memcpy(deep + i, "{\"a\":", 5);
    }
    rc = try_parse(deep, DEEP, &test_limits, &err);
    assert_refused(rc, &err, BRAID_E_TOO_LARGE, "nested deeper than 64");
    for (unsigned depth = 62; depth < 68; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        assert_int_equal(try_parse(deep, 2 * depth, &test_limits, &err), depth <= 64 ? BRAID_OK : BRAID_E_TOO_LARGE);
    }
    /* Brackets inside of strings do not count, escaped quotes do not end them. */
    memset(deep, '[', DEEP);
    memcpy(deep, "[\"\\\"", 4);
    memcpy(deep + DEEP - 2, "\"]", 2);
    assert_int_equal(try_parse(deep, DEEP, &test_limits, &err), BRAID_OK);
    free(deep);
}

static void depth_never_exceeds_512_whatever_the_option_says(void **state)
{
    (void)state;
    model_limits wide = {1 << 20, 100000, 0};
    char text[2 * 600];
    braid_error err;
    memset(text, '[', 600);
    memset(text + 600, ']', 600);
    int rc = try_parse(text, sizeof text, &wide, &err);
    assert_refused(rc, &err, BRAID_E_TOO_LARGE, "512");
    assert_int_equal(try_parse(text + 88, 2 * 512, &wide, &err), BRAID_OK);
}

static void size_is_bounded(void **state)
{
    (void)state;
    model_limits small = {10, 8, 0};
    braid_error err;
    assert_int_equal(try_parse("[1,2,3,4] ", 10, &small, &err), BRAID_OK);
    int rc = try_parse("[1,2,3,4]  ", 11, &small, &err);
    assert_refused(rc, &err, BRAID_E_TOO_LARGE, "11 bytes; at most 10");
}

static void a_quoted_piece_of_the_text_is_cut_at_a_character(void **state)
{
    (void)state;
    char text[400] = "[x";
    for (size_t i = 0; i < 100; i++) {
        strcat(text, "é");
    }
    refused(text, BRAID_E_INVALID, "line 1");
}

/* ---- every allocation of the parser fails once ---- */

static long allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void memory_that_runs_out_is_an_error_not_a_crash(void **state)
{
    (void)state;
    const char *text = "{\"a\":[1,2.5,\"x\",{\"b\":\"cccccccccccccccccccccccccccccccccccccccccccccccccc\"}],"
                       "\"d\":null}";
    braid_error err;
    int rc = BRAID_E_NO_MEMORY;
    json_set_alloc_funcs(failing_malloc, free);
    for (long n = 0; rc != BRAID_OK && n < 1000; n++) {
        allocations_left = n;
        rc = try_parse(text, strlen(text), &test_limits, &err);
        /* jansson cannot say of each of its failures that it was memory; none may pass for success. */
        assert_true(rc == BRAID_OK || err.code == rc);
    }
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(rc, BRAID_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_and_arrays_are_taken),
        cmocka_unit_test(everything_else_is_refused_with_line_and_column),
        cmocka_unit_test(duplicate_keys_are_refused),
        cmocka_unit_test(broken_utf8_is_refused_as_such),
        cmocka_unit_test(the_character_0_is_refused),
        cmocka_unit_test(numbers_beyond_a_double_are_not_finite),
        cmocka_unit_test(depth_is_bounded_before_parsing),
        cmocka_unit_test(depth_never_exceeds_512_whatever_the_option_says),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(a_quoted_piece_of_the_text_is_cut_at_a_character),
        cmocka_unit_test(memory_that_runs_out_is_an_error_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
