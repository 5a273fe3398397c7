/* Every call of braid.h that reads, for engine_memory.c: each a function that asks once and hands out what must be the
 * same each time. */
#ifndef ENGINE_MEMORY_CALLS_H
#define ENGINE_MEMORY_CALLS_H

#include "engine_test.h"

#include "../support/failing_memory.h"

/* One call. `n` makes it different each time where that matters; *answer is what must be the same each time, or
 * NULL. */
typedef int call_fn(fixture *f, long n, char **answer, braid_error *err);

typedef struct claim {
    const char *name;
    call_fn *call;
    long slow; /* every slow-th of the sampled requests only */
} claim;

/* ---- calls ---- */
static int call_get_item(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_get_item(f->db, "i07", answer, err);
}

static int call_list(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_list_items(f->db, NULL, 10, NULL, answer, err);
}

static int call_list_matching(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_list_items(f->db, NULL, 10, "bateau", answer, err);
}

static int call_similar(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_similar(f->db, "i07", 10, 3, answer, err);
}

static int call_graph(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_graph(f->db, "i07", answer, err);
}

static int call_get_user(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_get_user(f->db, "ana", answer, err);
}

static int call_list_users(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_list_users(f->db, NULL, 10, answer, err);
}

static int call_policy(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_user_policy(f->db, "ana", answer, err);
}

static int call_user_export(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_user_export(f->db, "ana", answer, err);
}

static int call_export_items(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    char *next = NULL;
    int rc = braid_export(f->db, "items:", 20, answer, &next, err);
    braid_free(next);
    return rc;
}

static int call_export_interactions(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    char *next = NULL;
    int rc = braid_export(f->db, "interactions:", 20, answer, &next, err);
    braid_free(next);
    return rc;
}

static int call_verify(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_verify(f->db, false, NULL, NULL, answer, err);
}

/* What is different each time: that it is there is enough. */
static int unlike(int rc, char **text) {
    braid_free(*text);
    return rc;
}

static int call_info(fixture *f, long n, char **answer, braid_error *err) {
    (void)n, (void)answer;
    char *text = NULL;
    return unlike(braid_info(f->db, NULL, &text, err), &text);
}

static int call_metrics(fixture *f, long n, char **answer, braid_error *err) {
    (void)n, (void)answer;
    char *text = NULL;
    return unlike(braid_metrics(f->db, &text, err), &text);
}

static int call_doctor(fixture *f, long n, char **answer, braid_error *err) {
    (void)n, (void)answer;
    char *text = NULL;
    return unlike(braid_doctor(f->db, &text, err), &text);
}

static int call_sample(fixture *f, long n, char **answer, braid_error *err) {
    (void)f, (void)n;
    return braid_options_sample(NULL, answer, err);
}

static int call_observe(fixture *f, long n, char **answer, braid_error *err) {
    (void)answer, (void)err;
    char labels[48];
    snprintf(labels, sizeof labels, "route=\"/%ld\"", n % 8);
    braid_observe(f->db, "http_requests", labels, 12);
    return BRAID_OK;
}

static int call_checkpoint(fixture *f, long n, char **answer, braid_error *err) {
    (void)n, (void)answer;
    return braid_checkpoint(f->db, err);
}

static int call_explain(fixture *f, long n, char **answer, braid_error *err) {
    (void)n, (void)answer;
    braid_query *q = NULL;
    char *text = NULL;
    int rc =
        braid_query_new(f->db, BRAID_RECOMMEND, "{\"user\":\"ana\",\"filter\":{\"year\":{\"gte\":1960}}}", 0, &q, err);
    if (rc == BRAID_OK) rc = braid_explain(f->db, q, &text, err);
    braid_free(text);
    if (q) braid_query_free(q);
    return rc;
}

/* The ids in order; an answer that lacks a strand and says so answers with nothing to compare. */
static int answer_of(const braid_result *r, char **answer) {
    enum { ROOM = 4096 };
    if (braid_result_degraded(r)[0]) return BRAID_OK;
    memory_recover(); /* what follows is the test's own memory */
    size_t len = 0;
    char *ids = malloc(ROOM);
    ids[0] = '\0';
    for (size_t i = 0; i < braid_result_count(r); i++) {
        braid_hit h;
        braid_result_hit(r, i, &h);
        len += (size_t)snprintf(ids + len, ROOM - len, "%s,", h.id);
    }
    *answer = ids;
    return BRAID_OK;
}

static int run_question(fixture *f, braid_question question, const char *request, char **answer, braid_error *err) {
    braid_query *q = NULL;
    braid_result *r = NULL;
    int rc = braid_query_new(f->db, question, request, 0, &q, err);
    if (rc == BRAID_OK) rc = braid_run(f->db, q, &r, err);
    if (rc == BRAID_OK) rc = answer_of(r, answer);
    if (r) braid_result_free(r);
    if (q) braid_query_free(q);
    return rc;
}

static int call_search(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return run_question(f, BRAID_SEARCH,
                        "{\"text\":\"bateau sur la mer\",\"k\":8,\"strategy\":\"hybrid_sequential\",\"cache\":false}",
                        answer, err);
}

static int call_search_like(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return run_question(
        f, BRAID_SEARCH,
        "{\"like\":\"i07\",\"k\":8,\"strategy\":\"hybrid_parallel\",\"cache\":false,\"exclude\":[\"i09\",\"nobody\"],"
        "\"filter\":{\"any\":[{\"genres\":{\"in\":[\"g1\",\"g2\"]}},{\"not\":{\"language\":\"en\"}}]}}",
        answer, err);
}

static int call_search_vector(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    float v[32] = {1, 0.5f, 0.25f};
    braid_query *q = NULL;
    braid_result *r = NULL;
    int rc = braid_query_new(f->db, BRAID_SEARCH,
                             "{\"text\":\"x\",\"k\":8,\"strategy\":\"vector_only\",\"cache\":false}", 0, &q, err);
    if (rc == BRAID_OK) rc = braid_query_bind_vector(q, v, 32, err);
    if (rc == BRAID_OK) rc = braid_run(f->db, q, &r, err);
    if (rc == BRAID_OK) rc = answer_of(r, answer);
    if (r) braid_result_free(r);
    if (q) braid_query_free(q);
    return rc;
}

static int call_recommend(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return run_question(f, BRAID_RECOMMEND,
                        "{\"user\":\"ana\",\"k\":8,\"seed\":7,\"strategy\":\"hybrid_parallel\",\"cache\":false}",
                        answer, err);
}

/* With the cache: the first fills it, the second reads it. Neither a cut nor a wrong answer may stay in it. */
static int call_cached(fixture *f, long n, char **answer, braid_error *err) {
    char request[160], *first = NULL;
    snprintf(request, sizeof request,
             "{\"text\":\"montagne\",\"k\":8,\"strategy\":\"hybrid_sequential\",\"context\":{\"mood\":\"m%ld\"}}", n);
    int rc = run_question(f, BRAID_SEARCH, request, &first, err);
    free(first);
    return rc ? rc : run_question(f, BRAID_SEARCH, request, answer, err);
}

static int call_similar_episodes(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_similar_episodes(f->db, "{\"vector\":[1,2]}", 0, answer, err);
}

static int call_user_episodes(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_user_episodes(f->db, "ana", 10, answer, err);
}

static int call_hours(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_hours(f->db, NULL, "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z", answer, err);
}

static int call_evaluate(fixture *f, long n, char **answer, braid_error *err) {
    (void)n;
    return braid_evaluate(
        f->db,
        "{\"agent\":\"default\",\"from\":\"2026-01-01T00:00:00Z\",\"model\":\"position\",\"places\":3,"
        "\"policy\":{\"weights\":{\"popular\":1},\"explore\":0.1,\"temperature\":2}}",
        0, answer, err);
}

/* Each time another version, which is not compared. */
static int put_document(fixture *f, const char *kind, const char *json, braid_error *err) {
    char *report = NULL;
    int rc = braid_put_document(f->db, kind, "memory", json, 0, &report, err);
    braid_free(report);
    return rc;
}

static int call_put_rule(fixture *f, long n, char **answer, braid_error *err) {
    (void)n, (void)answer;
    return put_document(
        f, "rule",
        "{\"pin\":{\"item\":\"i07\",\"position\":2},\"from\":\"2030-01-01T00:00:00Z\",\"for\":{\"agents\":[\"x\"]}}",
        err);
}

static int call_put_experiment(fixture *f, long n, char **answer, braid_error *err) {
    (void)n, (void)answer;
    return put_document(
        f, "experiment",
        "{\"status\":\"draft\",\"arms\":[{\"name\":\"a\",\"share\":0.5},{\"name\":\"b\",\"ranker\":\"popular\"}]}",
        err);
}

static const claim claims[] = {
    {"get item", call_get_item, 1},
    {"list items", call_list, 1},
    {"list matching", call_list_matching, 1},
    {"similar", call_similar, 1},
    {"graph", call_graph, 1},
    {"get user", call_get_user, 1},
    {"list users", call_list_users, 1},
    {"policy", call_policy, 1},
    {"user export", call_user_export, 1},
    {"export items", call_export_items, 1},
    {"export interactions", call_export_interactions, 1},
    {"similar episodes", call_similar_episodes, 1},
    {"user episodes", call_user_episodes, 1},
    {"hours", call_hours, 1},
    {"evaluate", call_evaluate, 1},
    {"put rule", call_put_rule, 1},
    {"put experiment", call_put_experiment, 1},
    {"info", call_info, 1},
    {"metrics", call_metrics, 1},
    {"doctor", call_doctor, 2},
    {"sample", call_sample, 1},
    {"observe", call_observe, 1},
    {"explain", call_explain, 1},
    {"search words", call_search, 1},
    {"search like", call_search_like, 1},
    {"search vector", call_search_vector, 1},
    {"recommend", call_recommend, 1},
    {"cached", call_cached, 1},
    {"verify", call_verify, 2},
    {"checkpoint", call_checkpoint, 2},
};

#endif
