/* What the engine's tests share: a database in a folder of its own, writing and asking in one line, over braid.h
 * alone. */
#ifndef ENGINE_TEST_H
#define ENGINE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "braid.h"
#include "test/support/mix.h"

typedef struct fixture {
    char folder[64], path[96];
    const char *const *mix; /* settings of the stores when they are not the embedded ones */
    braid_db *db;
} fixture;

/* "key=value" pairs, NULL at the end. */
static inline int fixture_open(fixture *f, const char *const *settings, braid_error *err) {
    braid_options *o;
    int rc = braid_options_new(&o, err);
    for (size_t i = 0; rc == BRAID_OK && f->mix && f->mix[i]; i += 2)
        rc = braid_options_set(o, f->mix[i], f->mix[i + 1], err);
    for (size_t i = 0; rc == BRAID_OK && settings && settings[i]; i += 2)
        rc = braid_options_set(o, settings[i], settings[i + 1], err);
    if (rc == BRAID_OK) rc = braid_options_set(o, "log.level", "off", err);
    if (rc == BRAID_OK) rc = braid_open(f->mix && test_mix_has_no_file() ? NULL : f->path, o, &f->db, err);
    braid_options_free(o);
    return rc;
}

static inline void fixture_start(fixture *f, const char *const *settings) {
    braid_error err = {0};
    f->mix = test_mix_begin();
    snprintf(f->folder, sizeof f->folder, "/tmp/braid-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/t.db", f->folder);
    if (fixture_open(f, settings, &err)) fail_msg("open: %s: %s", err.store, err.message);
}

static inline void fixture_end(fixture *f) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-hnsw", "-lock", "-hnsw.tmp"};
    char name[128];
    braid_close(f->db);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        snprintf(name, sizeof name, "%s%s", f->path, suffixes[i]);
        unlink(name);
    }
    rmdir(f->folder);
    if (f->mix) test_mix_end();
}

/* Writes and returns the report, to be freed with json_decref. */
static inline json_t *put_as(fixture *f, braid_line_kind bare, const char *key, const char *text) {
    braid_error err = {0};
    braid_report *report;
    braid_write_options o = {.bare = bare, .idempotency_key = key};
    if (braid_write(f->db, text, strlen(text), &o, &report, &err)) fail_msg("write: %s: %s", err.store, err.message);
    json_t *json = json_loads(braid_report_json(report), 0, NULL);
    braid_report_free(report);
    assert_non_null(json);
    return json;
}

static inline json_t *put(fixture *f, const char *text) {
    return put_as(f, BRAID_LINE_ITEM, NULL, text);
}

/* Writes what must be accepted whole. */
static inline void put_all(fixture *f, const char *text) {
    json_t *report = put(f, text);
    if (json_array_size(json_object_get(report, "rejected")))
        fail_msg("rejected: %s", json_dumps(json_object_get(report, "rejected"), JSON_COMPACT));
    json_decref(report);
}

static inline void settle(fixture *f) {
    braid_error err = {0};
    if (braid_wait(f->db, NULL, 60000, &err)) fail_msg("wait: %s", err.message);
}

/* Asks; on refusal returns NULL with err filled. */
static inline json_t *try_ask(fixture *f, braid_question question, const char *request, braid_error *err) {
    braid_query *q;
    braid_result *r;
    if (braid_query_new(f->db, question, request, 0, &q, err)) return NULL;
    int rc = braid_run(f->db, q, &r, err);
    json_t *json = rc ? NULL : json_loads(braid_result_json(r), 0, NULL);
    if (rc == BRAID_OK) {
        assert_non_null(json);
        assert_int_equal(braid_result_count(r), json_array_size(json_object_get(json, "results")));
        braid_result_free(r);
    }
    braid_query_free(q);
    return json;
}

static inline json_t *ask(fixture *f, braid_question question, const char *request) {
    braid_error err = {0};
    json_t *json = try_ask(f, question, request, &err);
    if (!json) fail_msg("%s: %s: %s", request, err.store, err.message);
    return json;
}

static inline void refuses(fixture *f, braid_question question, const char *request, int code, const char *word) {
    braid_error err = {0};
    json_t *json = try_ask(f, question, request, &err);
    if (json) fail_msg("accepted: %s", request);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, word)) fail_msg("\"%s\" does not say \"%s\"", err.message, word);
}

static inline size_t result_count(const json_t *answer) {
    return json_array_size(json_object_get(answer, "results"));
}

static inline const char *result_id(const json_t *answer, size_t i) {
    return json_string_value(json_object_get(json_array_get(json_object_get(answer, "results"), i), "id"));
}

static inline bool has_result(const json_t *answer, const char *id) {
    for (size_t i = 0; i < result_count(answer); i++)
        if (strcmp(result_id(answer, i), id) == 0) return true;
    return false;
}

static inline double strand_of(const json_t *answer, size_t i, const char *strand) {
    return json_number_value(
        json_object_get(json_object_get(json_array_get(json_object_get(answer, "results"), i), "strands"), strand));
}

static inline const char *text_at(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static inline bool has_step(const json_t *answer, const char *step) {
    size_t i;
    json_t *s;
    json_array_foreach (json_object_get(json_object_get(answer, "plan"), "steps"), i, s)
        if (strcmp(text_at(s, "step"), step) == 0) return true;
    return false;
}

#endif
