/* The strict parser: what it lets through and what it says of the rest. */
#include "model_test.h"

#include <math.h>

static int try_parse(const char *text, size_t len, const model_limits *limits, braid_error *err) {
    json_t *json = (json_t *)err;
    *err = (braid_error){0};
    int rc = model_json_parse(text, len, limits, &json, err);
    if (rc) {
        assert_null(json);
    }
    json_decref(json);
    return rc;
}

static void refused(const char *text, int code, const char *part) {
    braid_error err;
    int rc = try_parse(text, strlen(text), &test_limits, &err);
    assert_refused(rc, &err, code, part);
}

static void objects_and_arrays_are_taken(void **state) {
    (void)state;
    braid_error err;
    const char *good[] = {"{}", "[]", " {\"a\":[1,2.5,\"x\",true,null]} \n", "[\"\\ud83c\\udfac\"]", "[\"[[[[{{{{\"]"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(try_parse(good[i], strlen(good[i]), &test_limits, &err), BRAID_OK);
    }
}

static void everything_else_is_refused_with_line_and_column(void **state) {
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

static void duplicate_keys_are_refused(void **state) {
    (void)state;
    refused("{\"id\":1,\"id\":2}", BRAID_E_INVALID, "same key twice");
    refused("{\"a\":{\"b\":1,\"\\u0062\":2}}", BRAID_E_INVALID, "same key twice");
}

static void broken_utf8_is_refused_as_such(void **state) {
    (void)state;
    refused("[\"\xff\"]", BRAID_E_UTF8, "line 1, column");
    refused("[\"\xed\xa0\x80\"]", BRAID_E_UTF8, "UTF-8");
    refused("[\"\xc0\xaf\"]", BRAID_E_UTF8, "UTF-8");
    refused("[\"\xf4\x90\x80\x80\"]", BRAID_E_UTF8, "UTF-8");
    refused("[\"\xe2\x82\"]", BRAID_E_UTF8, "UTF-8");
    refused("[\"\\ud800\"]", BRAID_E_INVALID, "line 1");
}

static void the_character_0_is_refused(void **state) {
    (void)state;
    refused("[\"a\\u0000b\"]", BRAID_E_INVALID, "\\u0000 is not allowed");
    refused("{\"a\\u0000b\":1}", BRAID_E_INVALID, "u0000 is not allowed");
    braid_error err;
    int rc = try_parse("[\"a\0b\"]", 7, &test_limits, &err);
    assert_refused(rc, &err, BRAID_E_INVALID, "line 1");
}

static void numbers_beyond_a_double_are_not_finite(void **state) {
    (void)state;
    refused("[1e999]", BRAID_E_NOT_FINITE, "64-bit float");
    refused("[-1e999]", BRAID_E_NOT_FINITE, "64-bit float");
    refused("[99999999999999999999]", BRAID_E_INVALID, "beyond 64 bits");
}

static void depth_is_bounded_before_parsing(void **state) {
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

static void depth_never_exceeds_512_whatever_the_option_says(void **state) {
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

static void size_is_bounded(void **state) {
    (void)state;
    model_limits small = {10, 8, 0};
    braid_error err;
    assert_int_equal(try_parse("[1,2,3,4] ", 10, &small, &err), BRAID_OK);
    int rc = try_parse("[1,2,3,4]  ", 11, &small, &err);
    assert_refused(rc, &err, BRAID_E_TOO_LARGE, "11 bytes; at most 10");
}

static void a_quoted_piece_of_the_text_is_cut_at_a_character(void **state) {
    (void)state;
    char text[400] = "[x";
    for (size_t i = 0; i < 100; i++) {
        strcat(text, "é");
    }
    refused(text, BRAID_E_INVALID, "line 1");
}

/* ---- every allocation of the parser fails once ---- */

static long allocations_left;

/* Digits, points and exponents as they come: 0.25, -17, 1.0e-7, 12345678901234567890.5, 9007199254740993.0 ... */
static size_t print_number(char *out, rng *r) {
    static const char *const odd[] = {"0",
                                      "-0",
                                      "-0.0",
                                      "0.1",
                                      "1e22",
                                      "1e23",
                                      "9007199254740993.0",
                                      "4.9e-324",
                                      "1e-400",
                                      "9007199254740993",
                                      "-9223372036854775808",
                                      "123456789012345678901234567890.5",
                                      "2.2250738585072011e-308",
                                      "1E5",
                                      "0.30000000000000004"};
    switch (rng_below(r, 4)) {
    case 0: return (size_t)sprintf(out, "%s", odd[rng_below(r, sizeof odd / sizeof odd[0])]);
    case 1: return (size_t)sprintf(out, "%.6g", (double)rng_next(r) / 1e22 - 0.5);
    case 2: return (size_t)sprintf(out, "%.17g", ((double)rng_next(r) / 1e19 - 0.5) * 1e3);
    default: return (size_t)sprintf(out, "%d", (int)rng_below(r, 2000000) - 1000000);
    }
}

/* What comes out is what jansson alone makes of the text, to the last bit and in the same order. */
static void long_arrays_of_numbers_are_read_as_jansson_reads_them(void **state) {
    (void)state;
    static const char *const around[] = {"{\"a\":%s,\"b\":[[],[1],%s],\"c\":\"[1,2]\\\"[\"}",
                                         "[%s,{\"x\":{\"y\":[%s]}},[]]",
                                         "{\"long\":[[[%s]],{},\"]\"],\"s\":[\"a\",%s,0]}"};
    static char one[2][64 * 1024], text[200 * 1024];
    rng r;
    rng_seed(&r, 20240607);
    size_t whole = 0;
    for (int round = 0; round < 300; round++) {
        for (int side = 0; side < 2; side++) {
            size_t n = 1 + rng_below(&r, 900), len = (size_t)sprintf(one[side], "[");
            for (size_t i = 0; i < n; i++) {
                len += (size_t)sprintf(one[side] + len, "%s", i ? rng_below(&r, 5) ? "," : " ,\n " : "");
                len += print_number(one[side] + len, &r);
            }
            sprintf(one[side] + len, "]");
        }
        size_t len = (size_t)sprintf(text, around[round % 3], one[0], one[1]);
        json_t *alone = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL), *ours = NULL;
        braid_error err = {0};
        assert_non_null(alone);
        assert_int_equal(model_json_parse(text, len, &test_limits, &ours, &err), BRAID_OK);
        char *expected = json_dumps(alone, JSON_REAL_PRECISION(17)), *got = json_dumps(ours, JSON_REAL_PRECISION(17));
        assert_string_equal(got, expected);
        whole += strlen(expected);
        free(expected);
        free(got);
        json_decref(alone);
        json_decref(ours);
    }
    assert_true(whole > 100000);
}

static void what_is_wrong_in_a_long_array_is_told_with_its_place(void **state) {
    (void)state;
    static char text[16 * 1024];
    static const char *const bad[] = {"01", "1.", ".5", "+1", "1e", "nan", "0x10", "--1", "1e999", "\"x", "1 2", "]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = (size_t)sprintf(text, "{\"a\":[");
        for (int n = 0; n < 400; n++) len += (size_t)sprintf(text + len, "0.5,");
        sprintf(text + len, "%s],\n\"b\":1}", bad[i]);
        braid_error err;
        json_error_t alone;
        assert_null(json_loads(text, JSON_REJECT_DUPLICATES, &alone));
        assert_int_not_equal(try_parse(text, strlen(text), &test_limits, &err), BRAID_OK);
        char place[64];
        snprintf(place, sizeof place, "line %d, column %d", alone.line, alone.column);
        assert_non_null(strstr(err.message, place));
    }
}

/* Against strtod (the C library's, in its own locale): doubles written in full, decimals of any length near the place
 * where two doubles meet, and exact halves. */
static void a_number_is_the_nearest_double(void **state) {
    (void)state;
    rng r;
    char text[64];
    rng_seed(&r, 20240611);
    for (int i = 0; i < 400000; i++) {
        model_number n;
        if (i % 4 == 0) { /* a double in full */
            double x = ldexp(rng_uniform(&r), (int)rng_below(&r, 120) - 80);
            snprintf(text, sizeof text, "%s%.17g,", i % 8 ? "-" : "", x);
        } else if (i % 4 == 1) { /* digits */
            snprintf(text, sizeof text, "0.%0*llu,", 1 + (int)rng_below(&r, 24),
                     (unsigned long long)(rng_next(&r) >> rng_below(&r, 64)));
        } else if (i % 4 == 2) { /* half-way between two doubles, to the digit: m + 1/2 with m of 53 bits */
            uint64_t m = UINT64_C(1) << 52 | rng_next(&r) >> 12;
            snprintf(text, sizeof text, "%llu.%d,", (unsigned long long)m, i % 8 == 2 ? 5 : 4 + (int)rng_below(&r, 3));
        } else { /* with an exponent */
            snprintf(text, sizeof text, "%llu.%lluE%d,", (unsigned long long)rng_below(&r, 10),
                     (unsigned long long)(rng_next(&r) >> rng_below(&r, 40)), 20 - (int)rng_below(&r, 60));
        }
        const char *end = text + strlen(text), *after = model_read_number(text, end, &n);
        if (after != end - 1 || n.value != strtod(text, NULL))
            fail_msg("%s is %.17g, read as %.17g", text, strtod(text, NULL), n.value);
    }
}

static void *failing_malloc(size_t size) {
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void memory_that_runs_out_is_an_error_not_a_crash(void **state) {
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

int main(void) {
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
        cmocka_unit_test(long_arrays_of_numbers_are_read_as_jansson_reads_them),
        cmocka_unit_test(what_is_wrong_in_a_long_array_is_told_with_its_place),
        cmocka_unit_test(a_number_is_the_nearest_double),
        cmocka_unit_test(memory_that_runs_out_is_an_error_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
