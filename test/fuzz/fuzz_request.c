/* Fuzzing of questions: any bytes as the JSON of a search or a recommendation, against a small open database.
 *
 * The first byte chooses search (even) or recommend (odd) and whether the plan is asked for first; the rest is the
 * text. What parses is run: the answer must be JSON that agrees with the typed accessors, hold no more than k
 * items, none twice, and scores that are numbers. */
#include <math.h>

#include "fuzz.h"

static fuzz_db f;

static void finish(void) {
    fuzz_db_drop(&f);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    fuzz_db_new(&f);
    fuzz_db_fill(f.db);
    atexit(finish);
    return 0;
}

static void check_hits(const braid_result *r, const json_t *results) {
    for (size_t i = 0; i < braid_result_count(r); i++) {
        braid_hit hit, before;
        const char *id = json_string_value(json_object_get(json_array_get(results, i), "id"));
        if (braid_result_hit(r, i, &hit) || !id || strcmp(hit.id, id) != 0)
            fuzz_fail("the accessors say what the JSON says", id);
        if (!isfinite(hit.score)) fuzz_fail("a score is a number", id);
        for (int s = 0; s < BRAID_STRANDS; s++)
            if (!(hit.strand[s] >= 0 && hit.strand[s] <= 1)) fuzz_fail("a strand's score is in 0..1", id);
        for (size_t j = 0; j < i; j++)
            if (braid_result_hit(r, j, &before) == BRAID_OK && strcmp(before.id, hit.id) == 0)
                fuzz_fail("no item is there twice", id);
    }
}

static void run(braid_query *q, const char *text, size_t size) {
    braid_result *r;
    braid_error err = {0};
    int rc = braid_run(f.db, q, &r, &err);
    if (rc) {
        fuzz_check_refusal(rc, &err);
        return;
    }
    const char *answer = braid_result_json(r);
    json_t *json = fuzz_json(answer, strlen(answer), "an answer is JSON"), *asked = json_loadb(text, size, 0, NULL);
    const json_t *results = json_object_get(json, "results"), *k = json_object_get(asked, "k");
    if (json_array_size(results) != braid_result_count(r)) fuzz_fail("the accessors count what the JSON holds", answer);
    if (json_array_size(results) > (k ? (size_t)json_integer_value(k) : FUZZ_ITEMS))
        fuzz_fail("no more than k items", answer);
    check_hits(r, results);
    json_decref(json);
    json_decref(asked);
    braid_result_free(r);
}

static void explain(braid_query *q) {
    char *plan;
    braid_error err = {0};
    int rc = braid_explain(f.db, q, &plan, &err);
    if (rc) {
        fuzz_check_refusal(rc, &err);
        return;
    }
    json_decref(fuzz_json(plan, strlen(plan), "a plan is JSON"));
    braid_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    char *text = fuzz_copy(data + 1, size - 1, false);
    braid_query *q;
    braid_error err = {0};
    int rc = braid_query_new(f.db, data[0] & 1 ? BRAID_RECOMMEND : BRAID_SEARCH, text, size - 1, &q, &err);
    if (rc) {
        fuzz_check_refusal(rc, &err);
    } else {
        if (data[0] & 2) explain(q);
        if (!fuzz_may_wait(text, size - 1)) run(q, text, size - 1);
        braid_query_free(q);
    }
    free(text);
    return 0;
}
