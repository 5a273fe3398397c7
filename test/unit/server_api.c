/* The routes without a socket, on a real database: what each answers, and that a refusal is a problem that says what
 * to mend. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/api.h"

static char folder[] = "/tmp/braid_api_XXXXXX";

static int open_db(void **state) {
    char path[64];
    braid_db *db;
    braid_options *options;
    braid_error err = {0};
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/t.db", folder);
    if (braid_options_new(&options, &err) || braid_options_set(options, "vector.dimension", "32", &err)) return -1;
    int rc = braid_open(path, options, &db, &err);
    if (rc) print_error("%s\n", err.message);
    braid_options_free(options);
    *state = db;
    return rc;
}

static int close_db(void **state) {
    char command[64];
    braid_close(*state);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* Asks and gives the answer's JSON (NULL if it is none), its status in *status. */
static json_t *ask(braid_db *db, const char *method, const char *target, const char *body, int *status) {
    char path[512];
    snprintf(path, sizeof path, "%s", target);
    char *query = strchr(path, '?');
    if (query) *query++ = 0;
    api_request q = {
        .method = method, .path = path, .query = query ? query : "", .body = body, .len = body ? strlen(body) : 0};
    api_response r;
    api_handle(db, &q, &r);
    *status = r.status;
    json_t *json = r.body ? json_loadb(r.body, r.len, 0, NULL) : NULL;
    if (r.status >= 400) {
        assert_string_equal(r.content_type, "application/problem+json");
        assert_int_equal(json_integer_value(json_object_get(json, "status")), r.status);
        static const char *const members[] = {"type", "title", "code", "detail", "store"};
        for (size_t i = 0; i < 5; i++) assert_true(json_string_length(json_object_get(json, members[i])) > 0);
    }
    assert_true((r.allow != NULL) == (r.status == 405 || r.status == 204));
    api_response_free(&r);
    return json;
}

static int status_of(braid_db *db, const char *method, const char *target, const char *body) {
    int status;
    json_decref(ask(db, method, target, body, &status));
    return status;
}

static void what_was_put_is_read_back(void **state) {
    int status;
    json_t *a = ask(*state, "PUT", "/v1/items/a%2Fb%20%C3%A9", "{\"title\":\"Toni\",\n\"year\":1935}", &status);
    assert_int_equal(status, 200);
    assert_int_equal(json_integer_value(json_object_get(a, "accepted")), 1);
    json_decref(a);
    a = ask(*state, "GET", "/v1/items/a%2fb%20%c3%a9", NULL, &status);
    assert_int_equal(status, 200);
    assert_string_equal(json_string_value(json_object_get(a, "id")), "a/b é");
    json_decref(a);
    assert_int_equal(status_of(*state, "DELETE", "/v1/items/a%2Fb%20%C3%A9", NULL), 200);
    assert_int_equal(status_of(*state, "GET", "/v1/items/a%2Fb%20%C3%A9", NULL), 404);
    assert_int_equal(status_of(*state, "DELETE", "/v1/items/a%2Fb%20%C3%A9", NULL), 404);
}

static void a_put_about_one_thing_is_refused_as_a_whole(void **state) {
    static const char *const bodies[] = {"",
                                         "[]",
                                         "{",
                                         "{}",
                                         "{\"title\":7}",
                                         "{\"title\":\"x\",\"colour\":\"red\"}",
                                         "{\"title\":\"x\",\"id\":\"other\"}",
                                         "{\"title\":\"x\"} {}",
                                         "{\"item\":{\"id\":\"b\",\"title\":\"x\"}}",
                                         "{\"title\":\"x\",\"vectors\":{\"default\":[1,2]}}",
                                         "{\"title\":\"x\",\"title\":\"y\"}",
                                         "{\"delete\":{\"item\":\"b\"}}"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        if (status_of(*state, "PUT", "/v1/items/one", bodies[i]) != 400)
            fail_msg("%s was not refused with 400", bodies[i]);
    assert_int_equal(status_of(*state, "GET", "/v1/items/one", NULL), 404);
    assert_int_equal(status_of(*state, "PUT", "/v1/items/one", "{\"title\":\"x\",\"id\":\"one\"}"), 200);
}

static void a_stream_names_its_bad_lines_by_number(void **state) {
    api_request q = {.method = "POST", .path = "/v1/items", .query = "", .first_line = 101};
    q.body = "{\"id\":\"s1\",\"title\":\"x\"}\n{\"id\":\"s2\"\n{\"id\":\"s3\",\"title\":\"x\"}\n";
    q.len = strlen(q.body);
    api_response r;
    api_handle(*state, &q, &r);
    assert_int_equal(r.status, 200);
    json_t *report = json_loadb(r.body, r.len, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(report, "accepted")), 2);
    json_t *row = json_array_get(json_object_get(report, "rejected"), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "line")), 102);
    json_decref(report);
    api_response_free(&r);
}

static void a_repeated_key_changes_nothing(void **state) {
    assert_int_equal(status_of(*state, "PUT", "/v1/items/k", "{\"title\":\"x\"}"), 200);
    assert_int_equal(status_of(*state, "PUT", "/v1/users/ana", "{\"name\":\"Ana\"}"), 200);
    for (int i = 0; i < 2; i++) {
        api_request q = {.method = "POST",
                         .path = "/v1/interactions",
                         .query = "",
                         .idempotency_key = "once",
                         .body = "{\"user\":\"ana\",\"item\":\"k\",\"type\":\"like\"}"};
        q.len = strlen(q.body);
        api_response r;
        api_handle(*state, &q, &r);
        json_t *report = json_loadb(r.body, r.len, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(report, "accepted")), 1);
        assert_int_equal(json_integer_value(json_object_get(report, "duplicates")), i);
        json_decref(report);
        api_response_free(&r);
    }
    static const char *const bad[] = {"", "\xff"};
    for (size_t i = 0; i < 2; i++) {
        api_request q = {.method = "POST",
                         .path = "/v1/interactions",
                         .query = "",
                         .idempotency_key = bad[i],
                         .body = "{}",
                         .len = 2};
        api_response r;
        api_handle(*state, &q, &r);
        assert_int_equal(r.status, 400);
        api_response_free(&r);
    }
}

static void every_read_of_what_is_not_there_is_404(void **state) {
    static const char *const targets[] = {"/v1/items/none",
                                          "/v1/items/none/similar",
                                          "/v1/items/none/graph",
                                          "/v1/users/none",
                                          "/v1/users/none/policy",
                                          "/v1/users/none/export",
                                          "/v1/nothing",
                                          "/",
                                          "/assets/none.js",
                                          "/v1/items/",
                                          "/v1"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        if (status_of(*state, "GET", targets[i], NULL) != 404) fail_msg("%s is not 404", targets[i]);
}

static void a_method_that_is_not_there_is_405_with_allow(void **state) {
    static const char *const calls[][2] = {
        {"PATCH", "/v1/items/a"}, {"DELETE", "/v1/items"}, {"PUT", "/v1/search"},
        {"GET", "/v1/recommend"}, {"POST", "/healthz"},    {"TRACE", "/"},
        {"get", "/v1/items"},     {"", "/v1/items"},       {"OPTIONS!", "/v1/items"}};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (status_of(*state, calls[i][0], calls[i][1], NULL) != 405)
            fail_msg("%s %s is not 405", calls[i][0], calls[i][1]);
    assert_int_equal(status_of(*state, "OPTIONS", "/v1/items/a", NULL), 204);
    assert_int_equal(status_of(*state, "OPTIONS", "/nowhere", NULL), 404);
}

static void malformed_calls_are_400(void **state) {
    static const char *const calls[][3] = {
        {"GET", "/v1/items/a%00b", NULL},
        {"GET", "/v1/items/%ff", NULL},
        {"GET", "/v1/items/%", NULL},
        {"GET", "/v1/items?limit=0", NULL},
        {"GET", "/v1/items?limit=1001", NULL},
        {"GET", "/v1/items?page=2", NULL},
        {"GET", "/v1/export?cursor=nonsense", NULL},
        {"POST", "/v1/verify?repair=2", NULL},
        {"GET", "/healthz?x=1", NULL},
        {"POST", "/v1/search", ""},
        {"POST", "/v1/search", "{}"},
        {"POST", "/v1/search", "{\"text\":\"x\",\"k\":0}"},
        {"POST", "/v1/search", "{\"text\":\"x\",\"k\":2147483648}"},
        {"POST", "/v1/search", "{\"text\":\"x\",\"like\":\"y\"}"},
        {"POST", "/v1/search", "{\"vector\":[1,2]}"},
        {"POST", "/v1/search", "{\"vector\":[NaN]}"},
        {"POST", "/v1/search", "{\"text\":\"\xff\"}"},
        {"POST", "/v1/recommend", "{}"},
        {"POST", "/v1/recommend", "[1]"},
        {"POST", "/v1/recommend", "{\"user\":\"a\",\"colour\":1}"},
        {"POST", "/v1/explain", "nonsense"},
        {"POST", "/v1/search", "{\"text\":\"x\",\"filter\":{\"colour\":\"red\"}}"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        int status = status_of(*state, calls[i][0], calls[i][1], calls[i][2]);
        if (status != 400) fail_msg("%s %s %s is %d", calls[i][0], calls[i][1], calls[i][2] ? calls[i][2] : "", status);
    }
}

static void deep_nesting_is_refused_by_every_route_with_a_body(void **state) {
    enum { DEPTH = 100000 };
    char *deep = malloc(DEPTH + 1);
    memset(deep, '[', DEPTH);
    deep[DEPTH] = 0;
    static const char *const calls[][2] = {
        {"POST", "/v1/search"}, {"POST", "/v1/recommend"}, {"POST", "/v1/explain"},   {"PUT", "/v1/items/x"},
        {"PUT", "/v1/users/x"}, {"POST", "/v1/items"},     {"POST", "/v1/relations"}, {"POST", "/v1/interactions"}};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        int status = status_of(*state, calls[i][0], calls[i][1], deep);
        if (status != 400 && status != 413) fail_msg("%s is %d", calls[i][1], status);
    }
    free(deep);
}

static void states_and_lists_answer(void **state) {
    static const char *const targets[] = {"/v1/items",
                                          "/v1/items?q=x&limit=5&after=",
                                          "/v1/users",
                                          "/v1/info",
                                          "/v1/info?section=vector",
                                          "/v1/doctor",
                                          "/healthz",
                                          "/readyz",
                                          "/v1/items/one",
                                          "/v1/items/one/similar?k=3&depth=1",
                                          "/v1/items/one/graph",
                                          "/v1/users/ana",
                                          "/v1/users/ana/policy",
                                          "/v1/users/ana/export"};
    braid_error err = {0};
    assert_int_equal(braid_wait(*state, NULL, 5000, &err), BRAID_OK);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        int status;
        json_t *json = ask(*state, "GET", targets[i], NULL, &status);
        if (status != 200 || !json_is_object(json)) fail_msg("%s is %d", targets[i], status);
        json_decref(json);
    }
    assert_int_equal(status_of(*state, "POST", "/v1/verify?repair=1", NULL), 200);
    assert_int_equal(status_of(*state, "POST", "/v1/recommend", "{\"user\":\"ana\"}"), 200);
    assert_int_equal(status_of(*state, "POST", "/v1/search", "{\"text\":\"x\"}"), 200);
    assert_int_equal(status_of(*state, "POST", "/v1/explain", "{\"text\":\"x\"}"), 200);
    assert_int_equal(status_of(*state, "POST", "/v1/explain", "{\"user\":\"ana\"}"), 200);
}

static void an_export_is_taken_back(void **state) {
    char cursor[512] = "";
    size_t lines = 0, pages = 0;
    for (bool more = true; more; pages++) {
        char query[600];
        snprintf(query, sizeof query, "limit=2%s%s", *cursor ? "&cursor=" : "", cursor);
        api_request q = {.method = "GET", .path = "/v1/export", .query = query};
        api_response r;
        api_handle(*state, &q, &r);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.content_type, "application/x-ndjson");
        for (size_t i = 0; i < r.len; i++) lines += r.body[i] == '\n';
        if (r.len) assert_int_equal(status_of(*state, "POST", "/v1/items", r.body), 200);
        more = r.next != NULL;
        size_t n = 0; /* a cursor is opaque: everything in it is escaped */
        for (const char *p = more ? r.next : ""; *p && n + 4 < sizeof cursor; p++)
            n += (size_t)snprintf(cursor + n, 4, "%%%02X", (unsigned char)*p);
        cursor[n] = 0;
        api_response_free(&r);
        assert_true(pages < 1000);
    }
    assert_true(lines >= 5);
}

static bool refs_resolve(const json_t *node, const json_t *schemas) {
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_array(node)) {
        json_array_foreach (node, i, value)
            if (!refs_resolve(value, schemas)) return false;
        return true;
    }
    json_object_foreach ((json_t *)node, key, value) {
        const char *ref = strcmp(key, "$ref") == 0 ? json_string_value(value) : NULL;
        if (ref && (strncmp(ref, "#/components/schemas/", 21) != 0 || !json_object_get(schemas, ref + 21))) {
            print_error("%s\n", ref);
            return false;
        }
        if (!refs_resolve(value, schemas)) return false;
    }
    return true;
}

static void the_specification_holds_every_route_and_resolves(void **state) {
    int status;
    json_t *spec = ask(*state, "GET", "/openapi.json", NULL, &status);
    assert_int_equal(status, 200);
    json_t *paths = json_object_get(spec, "paths"),
           *schemas = json_object_get(json_object_get(spec, "components"), "schemas");
    assert_true(refs_resolve(spec, schemas));
    for (size_t i = 0; api_route_at(i); i++) {
        const api_route *r = api_route_at(i);
        if (strcmp(r->pattern, "/") == 0 || strncmp(r->pattern, "/assets/", 8) == 0) continue;
        char method[16] = "";
        for (size_t n = 0; r->method[n] && n < sizeof method - 1; n++) method[n] = (char)(r->method[n] | 0x20);
        json_t *op = json_object_get(json_object_get(paths, r->pattern), method);
        if (!op) fail_msg("%s %s is not in the specification", r->method, r->pattern);
        assert_string_equal(json_string_value(json_object_get(op, "summary")), r->summary);
    }
    json_decref(spec);
}

static void a_refusals_text_is_always_valid_json(void **state) {
    (void)state;
    api_response r = {0};
    api_problem(&r, 400, BRAID_E_INVALID, NULL, "quote \" and \xff byte\n");
    json_t *json = json_loadb(r.body, r.len, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "store")), "request");
    json_decref(json);
    api_response_free(&r);
    assert_null(r.body);
    api_response_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_read_back),
        cmocka_unit_test(a_put_about_one_thing_is_refused_as_a_whole),
        cmocka_unit_test(a_stream_names_its_bad_lines_by_number),
        cmocka_unit_test(a_repeated_key_changes_nothing),
        cmocka_unit_test(every_read_of_what_is_not_there_is_404),
        cmocka_unit_test(a_method_that_is_not_there_is_405_with_allow),
        cmocka_unit_test(malformed_calls_are_400),
        cmocka_unit_test(deep_nesting_is_refused_by_every_route_with_a_body),
        cmocka_unit_test(states_and_lists_answer),
        cmocka_unit_test(an_export_is_taken_back),
        cmocka_unit_test(the_specification_holds_every_route_and_resolves),
        cmocka_unit_test(a_refusals_text_is_always_valid_json),
    };
    return cmocka_run_group_tests_name("server_api", tests, open_db, close_db);
}
