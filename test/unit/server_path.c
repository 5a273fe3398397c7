/* Addresses: what strangers write into a request line is decoded, cut, matched and range-checked, or refused with a
 * reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "server/api_private.h"

static const api_row *row_of(const char *method, const char *path) {
    return (const api_row *)api_find_route(method, path); /* the route is the row's first member */
}

static void percent_escapes_are_decoded(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
        bool plus;
    } good[] = {
        {"a%20b", "a b", false}, {"%C3%A9t%c3%a9", "été", false},
        {"a%2Fb", "a/b", false}, {"a+b", "a+b", false},
        {"a+b", "a b", true},    {"", "", false},
        {"%25", "%", false},     {"%F0%9F%8E%AC", "\xF0\x9F\x8E\xAC", false},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", good[i].in);
        assert_true(api_decode(text, good[i].plus));
        assert_string_equal(text, good[i].out);
    }
}

static void broken_escapes_nul_and_broken_utf8_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "%",      "%4",     "%zz",       "a%0",       "%00",          "a%00b",        "%ff",  "%C3",
        "%C3%28", "%C0%AF", "%E0%80%80", "%ED%A0%80", "%F5%80%80%80", "%F4%90%80%80", "\xff", "%80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", bad[i]);
        if (api_decode(text, false)) fail_msg("\"%s\" was taken", bad[i]);
    }
}

static void a_path_is_cut_before_it_is_decoded(void **state) {
    (void)state;
    const char *segments[API_SEGMENTS_MAX], *id;
    char path[] = "/v1/items/a%2Fb%20c/similar";
    int n = api_split_path(path, segments);
    assert_int_equal(n, 4);
    assert_true(api_match("/v1/items/{id}/similar", segments, n, &id));
    assert_string_equal(id, "a/b c");
    assert_false(api_match("/v1/items/{id}", segments, n, &id));
    assert_false(api_match("/v1/items/{id}/graph", segments, n, &id));
    assert_false(api_match("/v1/items/{id}/similar/x", segments, n, &id));
}

static void an_empty_id_is_no_id(void **state) {
    (void)state;
    assert_null(row_of("GET", "/v1/items/"));
    assert_null(row_of("GET", "/v1/items//similar"));
    assert_null(row_of("GET", ""));
    assert_null(row_of("GET", "v1/items"));
    assert_null(row_of("GET", "*"));
    assert_null(row_of("GET", "//v1/items"));
    assert_null(row_of("GET", "/a/b/c/d/e/f/g/h/i/j"));
    assert_non_null(row_of("GET", "/"));
}

static void every_route_is_found_by_its_own_pattern(void **state) {
    (void)state;
    assert_true(api_row_count > 20);
    for (size_t i = 0; api_route_at(i); i++) {
        /* "{id}" is an id like any other */
        const api_route *r = api_route_at(i), *found = api_find_route(r->method, r->pattern);
        assert_ptr_equal(r, found);
    }
    assert_null(api_route_at(api_row_count));
    assert_ptr_equal(row_of("HEAD", "/v1/items"), row_of("GET", "/v1/items"));
    assert_null(row_of("PATCH", "/v1/items"));
}

static bool parse(const char *query, api_value *values, char *why) {
    char copy[512];
    snprintf(copy, sizeof copy, "%s", query);
    return api_parse_query(row_of("GET", "/v1/items/x/similar"), copy, values, why, API_DETAIL_MAX);
}

static void parameters_have_defaults_and_ranges(void **state) {
    (void)state;
    api_value v[API_PARAMS_MAX];
    char why[API_DETAIL_MAX];
    assert_true(parse("", v, why));
    assert_int_equal(v[0].number, 10);
    assert_int_equal(v[1].number, 2);
    assert_true(parse("depth=3&k=1000", v, why));
    assert_int_equal(v[0].number, 1000);
    assert_int_equal(v[1].number, 3);
    assert_true(parse("&&k=&depth", v, why)); /* empty is the same as absent */
    assert_int_equal(v[0].number, 10);
    static const char *const bad[] = {"k=0",     "k=1001", "k=-1",       "k=2147483648", "k=99999999999999999999999",
                                      "k=1.5",   "k=%201", "k=0x10",     "k=ten",        "depth=4",
                                      "k=1&k=2", "K=1",    "q=x",        "=5",           "k=%zz",
                                      "k=%00",   "%ff=1",  "k=5;depth=1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why[0] = 0;
        if (parse(bad[i], v, why)) fail_msg("\"%s\" was taken", bad[i]);
        assert_true(strlen(why) > 10);
    }
}

static void a_refused_parameter_is_named_with_its_range(void **state) {
    (void)state;
    api_value v[API_PARAMS_MAX];
    char why[API_DETAIL_MAX];
    assert_false(parse("k=0", v, why));
    assert_non_null(strstr(why, "\"k\""));
    assert_non_null(strstr(why, "1..1000"));
    assert_false(parse("colour=red", v, why));
    assert_non_null(strstr(why, "colour"));
    assert_non_null(strstr(why, "known: k depth"));
}

static void no_row_has_more_parameters_than_there_is_room_for(void **state) {
    (void)state;
    for (size_t i = 0; i < api_row_count; i++) {
        size_t n = 0;
        for (const api_param *p = api_rows[i].params; p && p->name; p++) n++;
        assert_true(n <= API_PARAMS_MAX);
    }
}

static void random_addresses_do_no_harm(void **state) {
    (void)state;
    static const char alphabet[] = "/%{}?&=+.abckv1items02F\xC3\xA9\xFF";
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    for (int round = 0; round < 20000; round++) {
        char path[64], query[64], why[API_DETAIL_MAX];
        int n = rand_r(&seed) % 60, m = rand_r(&seed) % 60;
        for (int i = 0; i < n; i++) path[i] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
        for (int i = 0; i < m; i++) query[i] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
        path[0] = '/';
        path[n ? n : 1] = query[m] = 0;
        api_find_route("GET", path);
        api_value v[API_PARAMS_MAX];
        const api_row *row = &api_rows[(size_t)rand_r(&seed) % api_row_count];
        if (!api_parse_query(row, query, v, why, sizeof why)) assert_true(why[0] != 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percent_escapes_are_decoded),
        cmocka_unit_test(broken_escapes_nul_and_broken_utf8_are_refused),
        cmocka_unit_test(a_path_is_cut_before_it_is_decoded),
        cmocka_unit_test(an_empty_id_is_no_id),
        cmocka_unit_test(every_route_is_found_by_its_own_pattern),
        cmocka_unit_test(parameters_have_defaults_and_ranges),
        cmocka_unit_test(a_refused_parameter_is_named_with_its_range),
        cmocka_unit_test(no_row_has_more_parameters_than_there_is_room_for),
        cmocka_unit_test(random_addresses_do_no_harm),
    };
    return cmocka_run_group_tests_name("server_path", tests, NULL, NULL);
}
