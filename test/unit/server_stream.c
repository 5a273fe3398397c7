/* The NDJSON stream: cut in the same places however it arrives, numbered throughout, reports merged, memory bounded. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "server/stream.h"

enum { PIECE = 64, LINE_MAX_BYTES = 200, CALLS_MAX = 4096 };

/* Stands for the library: accepts each line, rejects lines that begin with 'x', and remembers how it was called. */
typedef struct sink {
    size_t calls, bytes, largest, next_line;
    size_t first_lines[CALLS_MAX], lens[CALLS_MAX];
    size_t refuse_at; /* 1-based call that answers 507; 0: none */
} sink;

static void swallow(void *ctx, const char *lines, size_t len, size_t first_line, api_response *answer) {
    sink *k = ctx;
    json_t *rejected = json_array();
    int accepted = 0;
    *answer = (api_response){.route = "/v1/items"};
    assert_true(k->calls < CALLS_MAX);
    k->first_lines[k->calls] = first_line;
    k->lens[k->calls++] = len;
    if (len > k->largest) k->largest = len;
    k->bytes += len;
    if (k->refuse_at == k->calls) {
        json_decref(rejected);
        api_problem(answer, 507, BRAID_E_DISK_FULL, "record/sqlite", "the disk is full");
        return;
    }
    size_t line = first_line;
    for (const char *p = lines, *end = lines + len; p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        if (*p == 'x')
            json_array_append_new(
                rejected, json_pack("{s:I, s:s, s:s}", "line", (json_int_t)line, "code", "INVALID", "error", "no"));
        else if (stop > p)
            accepted++;
        p = stop + 1;
    }
    json_t *report =
        json_pack("{s:i, s:i, s:o, s:s}", "accepted", accepted, "duplicates", 0, "rejected", rejected, "lsn", "t-1");
    answer->status = 200;
    answer->body = json_dumps(report, JSON_COMPACT);
    answer->len = strlen(answer->body);
    json_decref(report);
}

/* Feeds `text` in steps of `step` bytes (0: random ones) and gives the answer as JSON. */
static json_t *run(sink *k, const char *text, size_t len, size_t step, unsigned *seed, int *status) {
    stream *s = stream_new(PIECE, LINE_MAX_BYTES, swallow, k);
    assert_non_null(s);
    while (len > 0) {
        size_t n = step ? step : (size_t)rand_r(seed) % 97 + 1;
        if (n > len) n = len;
        stream_feed(s, text, n);
        text += n;
        len -= n;
    }
    api_response r;
    stream_finish(s, &r);
    stream_free(s);
    *status = r.status;
    json_t *body = json_loadb(r.body, r.len, 0, NULL);
    assert_non_null(body);
    api_response_free(&r);
    return body;
}

static json_int_t number(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static void every_line_arrives_once_with_its_number(void **state) {
    (void)state;
    char text[8192];
    size_t n = 0;
    for (int i = 1; i <= 300; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%d\n", i % 50 == 0 ? "x" : "a", i);
    sink k = {0};
    int status;
    json_t *report = run(&k, text, n, 7, NULL, &status);
    assert_int_equal(status, 200);
    assert_int_equal(number(report, "accepted"), 294);
    json_t *rejected = json_object_get(report, "rejected"), *row;
    size_t i;
    assert_int_equal(json_array_size(rejected), 6);
    json_array_foreach (rejected, i, row) assert_int_equal(number(row, "line"), (json_int_t)(i + 1) * 50);
    assert_string_equal(json_string_value(json_object_get(report, "lsn")), "t-1");
    assert_null(json_object_get(report, "rejected_total"));
    assert_true(k.calls > 10);
    assert_true(k.largest <= PIECE);
    assert_int_equal(k.bytes, n);
    json_decref(report);
}

static void cuts_depend_on_the_bytes_only(void **state) {
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    for (int round = 0; round < 200; round++) {
        char text[4000];
        size_t n = (size_t)rand_r(&seed) % sizeof text;
        for (size_t i = 0; i < n; i++) text[i] = rand_r(&seed) % 12 ? 'a' : '\n';
        sink one = {0}, other = {0};
        int status;
        json_decref(run(&one, text, n, 0, &seed, &status));
        json_decref(run(&other, text, n, n ? n : 1, &seed, &status));
        assert_int_equal(one.calls, other.calls);
        assert_memory_equal(one.first_lines, other.first_lines, sizeof one.first_lines);
        assert_memory_equal(one.lens, other.lens, sizeof one.lens);
    }
}

static void the_last_line_needs_no_end(void **state) {
    (void)state;
    sink k = {0};
    int status;
    json_t *report = run(&k, "a\nb", 3, 1, NULL, &status);
    assert_int_equal(number(report, "accepted"), 2);
    json_decref(report);
}

static void a_line_that_is_too_long_is_named_and_skipped(void **state) {
    (void)state;
    char text[1000];
    memset(text, 'a', sizeof text);
    memcpy(text, "a\nb\n", 4);
    memcpy(text + sizeof text - 5, "\nc\nd\n", 5);
    for (size_t step = 1; step < 50; step += 7) {
        sink k = {0};
        int status;
        json_t *report = run(&k, text, sizeof text, step, NULL, &status);
        assert_int_equal(status, 200);
        assert_int_equal(number(report, "accepted"), 4);
        json_t *row = json_array_get(json_object_get(report, "rejected"), 0);
        assert_int_equal(number(row, "line"), 3);
        assert_string_equal(json_string_value(json_object_get(row, "code")), "TOO_LARGE");
        assert_int_equal(k.first_lines[k.calls - 1], 4);
        json_decref(report);
    }
}

static void a_line_longer_than_a_piece_is_written_whole(void **state) {
    (void)state;
    char text[PIECE * 2 + 2];
    memset(text, 'a', sizeof text);
    text[PIECE * 2] = '\n';
    sink k = {0};
    int status;
    json_t *report = run(&k, text, sizeof text, 5, NULL, &status);
    assert_int_equal(number(report, "accepted"), 2);
    assert_int_equal(k.lens[0], PIECE * 2 + 1);
    json_decref(report);
}

static void a_piece_never_begins_with_a_bracket(void **state) {
    (void)state;
    sink k = {0};
    int status;
    static const char text[] = "a\n\n  [1]\n[2]\nb\n";
    stream *s = stream_new(2, LINE_MAX_BYTES, swallow, &k);
    stream_feed(s, text, sizeof text - 1);
    api_response r;
    stream_finish(s, &r);
    stream_free(s);
    json_t *report = json_loads(r.body, 0, NULL);
    status = r.status;
    api_response_free(&r);
    assert_int_equal(status, 200);
    assert_int_equal(number(report, "accepted"), 2);
    assert_int_equal(json_array_size(json_object_get(report, "rejected")), 2);
    assert_int_equal(number(json_array_get(json_object_get(report, "rejected"), 0), "line"), 3);
    assert_int_equal(k.first_lines[k.calls - 1], 5);
    json_decref(report);
}

static void more_than_a_thousand_rejections_are_counted(void **state) {
    (void)state;
    enum { LINES = 2500 };
    char *text = malloc(LINES * 2);
    for (size_t i = 0; i < LINES; i++) memcpy(text + i * 2, "x\n", 2);
    sink k = {0};
    int status;
    json_t *report = run(&k, text, LINES * 2, 64, NULL, &status);
    assert_int_equal(json_array_size(json_object_get(report, "rejected")), 1000);
    assert_int_equal(number(report, "rejected_total"), LINES);
    json_decref(report);
    free(text);
}

static void a_refusal_says_what_was_written_before(void **state) {
    (void)state;
    char text[1000];
    for (size_t i = 0; i < sizeof text; i += 2) memcpy(text + i, "a\n", 2);
    sink k = {.refuse_at = 3};
    int status;
    json_t *problem = run(&k, text, sizeof text, 11, NULL, &status);
    assert_int_equal(status, 507);
    assert_int_equal(k.calls, 3); /* nothing is written after a refusal */
    assert_string_equal(json_string_value(json_object_get(problem, "code")), "DISK_FULL");
    assert_int_equal(number(json_object_get(problem, "written"), "accepted"), PIECE);
    json_decref(problem);
}

static void an_empty_stream_is_answered_by_the_library(void **state) {
    (void)state;
    sink k = {0};
    int status;
    json_t *report = run(&k, "\n \n", 3, 1, NULL, &status);
    assert_int_equal(status, 200);
    assert_int_equal(k.calls, 1);
    assert_int_equal(number(report, "accepted"), 0);
    json_decref(report);
}

static void a_broken_off_stream_leaks_nothing(void **state) {
    (void)state;
    sink k = {0};
    stream *s = stream_new(PIECE, LINE_MAX_BYTES, swallow, &k);
    char text[500];
    memset(text, '\n', sizeof text);
    memset(text + 100, 'a', 50);
    stream_feed(s, text, sizeof text);
    stream_free(s);
    stream_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_arrives_once_with_its_number),
        cmocka_unit_test(cuts_depend_on_the_bytes_only),
        cmocka_unit_test(the_last_line_needs_no_end),
        cmocka_unit_test(a_line_that_is_too_long_is_named_and_skipped),
        cmocka_unit_test(a_line_longer_than_a_piece_is_written_whole),
        cmocka_unit_test(a_piece_never_begins_with_a_bracket),
        cmocka_unit_test(more_than_a_thousand_rejections_are_counted),
        cmocka_unit_test(a_refusal_says_what_was_written_before),
        cmocka_unit_test(an_empty_stream_is_answered_by_the_library),
        cmocka_unit_test(a_broken_off_stream_leaks_nothing),
    };
    return cmocka_run_group_tests_name("server_stream", tests, NULL, NULL);
}
