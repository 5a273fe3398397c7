/* Framing: a request whose end could be read in two ways is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/assets.h"
#include "server/framing.h"

typedef struct header {
    const char *name, *value;
} header;

/* Up to four headers, the first without a name ends them. */
static int check(const header *h, const char *method, const char *version, int64_t *length) {
    framing f = {0};
    char why[256];
    for (; h->name; h++) framing_add(&f, h->name, h->value);
    int status = framing_check(&f, method, version, length, why, sizeof why);
    if (status)
        assert_true(strlen(why) > 10);
    else
        assert_true(why[0] == 0);
    return status;
}

#define CHECK(method, version, ...) check((header[]){__VA_ARGS__, {0}}, method, version, &length)

static void a_plain_request_passes(void **state) {
    (void)state;
    int64_t length;
    assert_int_equal(CHECK("GET", "HTTP/1.1", {"Host", "x"}), 0);
    assert_int_equal(length, -1);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"host", "x"}, {"content-length", "17"}), 0);
    assert_int_equal(length, 17);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Transfer-Encoding", "Chunked"}), 0);
    assert_int_equal(CHECK("GET", "HTTP/1.0", {"Accept", "*/*"}), 0);
}

static void ambiguous_lengths_are_refused(void **state) {
    (void)state;
    int64_t length;
    assert_int_equal(
        CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}), 400);
    assert_int_equal(
        CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Transfer-Encoding", "chunked"}, {"content-length", "5"}), 400);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Content-Length", "5"}, {"Content-Length", "5"}), 400);
    assert_int_equal(
        CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "identity"}),
        400);
    assert_int_equal(CHECK("POST", "HTTP/1.0", {"Transfer-Encoding", "chunked"}), 400);
    static const char *const lengths[] = {"", "-1", "+5", "5, 5", "0x10", " 5", "5 ", "1e3", "9999999999999999999999"};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Content-Length", lengths[i]}), 400);
}

static void codings_that_are_not_read_are_refused(void **state) {
    (void)state;
    int64_t length;
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Transfer-Encoding", "gzip, chunked"}), 501);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Transfer-Encoding", "chunked, identity"}), 501);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Transfer-Encoding", ""}), 501);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Content-Encoding", "gzip"}), 415);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Content-Encoding", "identity"}), 0);
}

static void http_1_1_wants_exactly_one_host(void **state) {
    (void)state;
    int64_t length;
    assert_int_equal(CHECK("GET", "HTTP/1.1", {"Accept", "*/*"}), 400);
    assert_int_equal(CHECK("GET", "HTTP/1.1", {"Host", ""}), 400);
    assert_int_equal(CHECK("GET", "HTTP/1.1", {"Host", "x"}, {"Host", "x"}), 400);
}

static void header_names_are_tokens(void **state) {
    (void)state;
    int64_t length;
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Content-Length ", "5"}), 400);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"", "5"}), 400);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"X\x01", "5"}), 400);
}

static void another_sites_page_may_read_but_not_write(void **state) {
    (void)state;
    int64_t length;
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Sec-Fetch-Site", "cross-site"}), 403);
    assert_int_equal(CHECK("DELETE", "HTTP/1.1", {"Host", "x"}, {"Sec-Fetch-Site", "cross-site"}), 403);
    assert_int_equal(CHECK("GET", "HTTP/1.1", {"Host", "x"}, {"Sec-Fetch-Site", "cross-site"}), 0);
    assert_int_equal(CHECK("POST", "HTTP/1.1", {"Host", "x"}, {"Sec-Fetch-Site", "same-origin"}), 0);
}

static bool ndjson(const char *type) {
    framing f = {.content_type = type};
    return framing_is_ndjson(&f);
}

static void json_lines_go_by_several_names(void **state) {
    (void)state;
    assert_true(ndjson("application/x-ndjson"));
    assert_true(ndjson("Application/NDJSON; charset=utf-8"));
    assert_true(ndjson("application/jsonl"));
    assert_false(ndjson("application/json"));
    assert_false(ndjson("application/x-ndjsonx"));
    assert_false(ndjson(""));
    assert_false(ndjson(NULL));
}

static const char *name_in(const char *path, char copy[256]) {
    snprintf(copy, 256, "%s", path);
    return assets_name(copy);
}

static void no_name_of_a_file_leads_out_of_the_folder(void **state) {
    (void)state;
    char copy[256];
    asset a;
    static const char *const out[] = {"/assets/../Makefile",   "/assets/%2e%2e/Makefile",
                                      "/assets/..%2fMakefile", "/assets//etc/passwd",
                                      "/assets/%2Fetc/passwd", "/assets/",
                                      "/assets/.gitignore",    "/assets/a/../../Makefile",
                                      "/assets/a%00b",         "/assets/a%5c..%5cb",
                                      "/assets/web/",          "/assets/./Makefile"};
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++) {
        const char *name = name_in(out[i], copy);
        if (name && assets_open(".", name, &a)) fail_msg("\"%s\" was served", out[i]);
    }
    assert_true(assets_open(".", name_in("/assets/Makefile", copy),
                            &a)); /* the folder itself is readable: the refusals above mean something */
    assert_true(a.size > 0);
    assets_close(&a);
    assert_false(assets_open(".", "server", &a)); /* a folder is no file */
}

static void a_tag_is_stable_and_matches_itself_only(void **state) {
    (void)state;
    asset a, b;
    assert_true(assets_open("", "server/openapi_schemas.json", &a));
    assert_true(assets_open(".", "server/openapi_schemas.json", &b));
    assert_string_equal(a.etag, b.etag);
    assert_string_equal(a.type, "application/json");
    assert_true(assets_match(a.etag, b.etag));
    assert_true(assets_match("\"x\", \"y\", W/\"z\", *", "\"y\""));
    assert_false(assets_match("\"0000000000000000\"", b.etag));
    assert_false(assets_match(NULL, b.etag));
    assets_close(&a);
    assets_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_request_passes),
        cmocka_unit_test(ambiguous_lengths_are_refused),
        cmocka_unit_test(codings_that_are_not_read_are_refused),
        cmocka_unit_test(http_1_1_wants_exactly_one_host),
        cmocka_unit_test(header_names_are_tokens),
        cmocka_unit_test(another_sites_page_may_read_but_not_write),
        cmocka_unit_test(json_lines_go_by_several_names),
        cmocka_unit_test(no_name_of_a_file_leads_out_of_the_folder),
        cmocka_unit_test(a_tag_is_stable_and_matches_itself_only),
    };
    return cmocka_run_group_tests_name("server_framing", tests, NULL, NULL);
}
