/* What is special about the vector store in Neo4j: the index that it makes and replaces, the node that it shares
 * with a graph store, the scores that it turns back, and that k is filled however far the allowed set lies. What
 * holds for every vector store is in test/contract_vector.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/support/neo4j.h"
#include "test/support/neo4j_wipe.h"
#include "vector/stores.h"
#include "vector/vector_neo4j.h"

static remote_options server;
static bool have_server;

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK) fail_msg("%s: %s", err->store, err->message);
}

static vector_store *open_dim(uint32_t dim) {
    braid_error err = {0};
    vector_store *s;
    vector_options o = {.dim = dim, .remote = &server};
    must(vector_open(&vector_neo4j, &o, &s, &err), &err);
    return s;
}

static vector_store *open_empty(uint32_t dim) {
    if (!have_server) skip();
    assert_true(test_neo4j_wipe(&server));
    return open_dim(dim);
}

static int first_int(void *ctx, bolt_row *row, braid_error *err) {
    return ps_read_int(&row->values, (int64_t *)ctx) ? BRAID_OK : ps_error(&row->values, "test", err);
}

/* Behind the store's back. */
static int64_t ask(const char *text) {
    braid_error err = {0};
    bolt_client *c;
    int64_t value = -1;
    must(bolt_open(&(bolt_options){.remote = &server}, &c, &err), &err);
    must(bolt_run(c, &(bolt_call){0}, &(bolt_statement){.text = text, .each = first_int, .ctx = &value}, &err), &err);
    bolt_close(c);
    return value;
}

static void put(vector_store *s, uint32_t num, const float *values, uint64_t version) {
    braid_error err = {0};
    must(vector_upsert(s, &(vector_entry){.num = num, .values = values, .version = version}, 1, &err), &err);
}

static void drop(vector_store *s, uint32_t num) {
    braid_error err = {0};
    must(vector_remove(s, &num, 1, &err), &err);
}

static size_t search(vector_store *s, const float *query, size_t k, const bitset *allow, candidate *out,
                     vector_stats *stats) {
    braid_error err = {0};
    size_t count;
    vector_query q = {.values = query, .k = k, .allow = allow, .allow_count = allow != NULL ? bitset_count(allow) : 0};
    must(vector_search(s, &q, out, &count, stats, &err), &err);
    return count;
}

/* ---- the index ---- */

static void an_index_of_another_dimension_is_replaced_while_it_is_empty_and_refused_then(void **state) {
    (void)state;
    vector_close(open_empty(3));
    vector_store *s = open_dim(5);
    put(s, 1, (float[]){1, 2, 3, 4, 5}, 1);
    vector_close(s);
    braid_error err = {0};
    vector_options o = {.dim = 3, .remote = &server};
    assert_int_equal(vector_open(&vector_neo4j, &o, &s, &err), BRAID_E_CONFLICT);
    assert_null(s);
    assert_non_null(strstr(err.message, "5 dimensions"));
    s = open_dim(5); /* nothing was lost by the attempt */
    candidate out[1];
    assert_int_equal(search(s, (float[]){1, 2, 3, 4, 5}, 1, NULL, out, NULL), 1);
    vector_close(s);
}

static void an_index_that_is_not_ours_is_used_or_refused_but_never_dropped(void **state) {
    (void)state;
    vector_store *s = open_empty(3);
    vector_close(s);
    ask("DROP INDEX braid_media_embedding");
    ask("CREATE VECTOR INDEX theirs FOR (m:MediaContent) ON (m.embedding) "
        "OPTIONS {indexConfig: {`vector.dimensions`: 3, `vector.similarity_function`: 'cosine'}}");
    s = open_dim(3);
    put(s, 1, (float[]){1, 0, 0}, 1);
    candidate out[1];
    assert_int_equal(search(s, (float[]){1, 0, 0}, 1, NULL, out, NULL), 1);
    drop(s, 1);
    vector_close(s);
    braid_error err = {0};
    vector_options o = {.dim = 4, .remote = &server};
    int rc = vector_open(&vector_neo4j, &o, &s, &err);
    int64_t there = ask("SHOW INDEXES YIELD name WHERE name = 'theirs' RETURN count(*)");
    ask("DROP INDEX theirs");
    assert_int_equal(rc, BRAID_E_CONFLICT);
    assert_non_null(strstr(err.message, "theirs"));
    assert_int_equal(there, 1);
}

static void scores_are_cosines_from_the_index_and_from_the_set(void **state) {
    (void)state;
    vector_store *s = open_empty(2);
    float vectors[][2] = {{1, 0}, {0, 2}, {-3, 0}, {1, 1}};
    const float wanted[] = {1, 0.70710678f, 0, -1};
    const uint32_t order[] = {0, 3, 1, 2};
    for (uint32_t i = 0; i < 4; i++) put(s, i, vectors[i], i + 1);
    for (int exact = 0; exact < 2; exact++) {
        bitset allow;
        candidate out[4];
        vector_stats stats;
        assert_true(bitset_init(&allow, 4));
        bitset_fill(&allow);
        assert_int_equal(search(s, vectors[0], 4, exact ? &allow : NULL, out, &stats), 4);
        assert_string_equal(stats.method, exact ? "exact" : "hnsw");
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(out[i].num, order[i]);
            assert_true(fabsf(out[i].score - wanted[i]) < 1e-6f);
        }
        bitset_free(&allow);
    }
    vector_close(s);
}

/* 6,000 near ones in the way of 3,000 far ones: more than are scored one by one without asking the index. */
static void k_is_filled_from_a_large_set_that_lies_far_away(void **state) {
    (void)state;
    enum { DIM = 8, NEAR = 6000, FAR = 3000, K = 15 };
    vector_store *s = open_empty(DIM);
    braid_error err = {0};
    rng r;
    rng_seed(&r, 11);
    float *values = malloc((NEAR + FAR) * DIM * sizeof *values);
    vector_entry *entries = malloc((NEAR + FAR) * sizeof *entries);
    bitset allow;
    assert_true(bitset_init(&allow, NEAR + FAR));
    for (uint32_t i = 0; i < NEAR + FAR; i++) {
        for (int d = 0; d < DIM; d++)
            values[i * DIM + d] = (float)rng_normal(&r) * 0.3f + (d == 0 ? (i < NEAR ? 1.0f : -1.0f) : 0.0f);
        entries[i] = (vector_entry){.num = i, .values = values + i * DIM, .version = 1};
        if (i >= NEAR) bitset_set(&allow, i);
    }
    must(vector_upsert(s, entries, NEAR + FAR, &err), &err);
    candidate out[K], naive[K] = {{0}};
    float *scores = malloc(FAR * sizeof *scores);
    uint32_t *nums = malloc(FAR * sizeof *nums);
    for (uint32_t i = 0; i < FAR; i++) nums[i] = NEAR + i;
    must(vector_score(s, values, nums, FAR, 0, scores, &err), &err);
    vector_stats stats;
    assert_int_equal(search(s, values, K, &allow, out, &stats), K);
    for (size_t i = 0; i < K; i++) { /* the best of what is left */
        naive[i].score = -2;
        for (uint32_t j = 0; j < FAR; j++)
            if (scores[j] > naive[i].score) naive[i] = (candidate){NEAR + j, scores[j]};
        scores[naive[i].num - NEAR] = -3;
        assert_true(out[i].num >= NEAR);
        assert_true(fabsf(out[i].score - naive[i].score) < 1e-5f);
    }
    bitset_free(&allow);
    free(values);
    free(entries);
    free(scores);
    free(nums);
    vector_close(s);
}

/* ---- versions, and the node that is shared ---- */

static void an_older_vector_neither_replaces_a_newer_one_nor_comes_back(void **state) {
    (void)state;
    vector_store *s = open_empty(2);
    float x[] = {1, 0}, y[] = {0, 1}, got[2];
    braid_error err = {0};
    put(s, 1, x, 5);
    put(s, 1, y, 4);
    must(vector_fetch(s, 1, 0, got, &err), &err);
    assert_true(got[0] == 1);
    drop(s, 1);
    put(s, 1, x, 5);
    assert_int_equal(vector_fetch(s, 1, 0, got, &err), BRAID_E_NOT_FOUND);
    put(s, 1, y, 6);
    error_clear(&err);
    must(vector_fetch(s, 1, 0, got, &err), &err);
    assert_true(got[1] == 1);
    ask("MERGE (t:Removed {num: 2}) SET t.version = 9, t.at = timestamp() RETURN 1"); /* a graph store removed the item */
    put(s, 2, x, 8);
    assert_int_equal(vector_fetch(s, 2, 0, got, &err), BRAID_E_NOT_FOUND);
    vector_close(s);
}

static void what_a_graph_store_keeps_on_the_node_stays(void **state) {
    (void)state;
    vector_store *s = open_empty(2);
    braid_error err = {0};
    vector_info info;
    ask("CREATE (:MediaContent {num: 1, id: 'i1', version: 3})-[:BELONGS_TO]->(:Genre {name: 'drame'}) RETURN 1");
    ask("CREATE (:MediaContent {num: 3})-[:SEQUEL_OF {strength: 1.0}]->(:MediaContent {num: 4}) RETURN 1");
    for (uint32_t i = 1; i <= 3; i++) put(s, i, (float[]){1, (float)i}, 3);
    vector_get_info(s, &info);
    assert_int_equal(info.count, 3);
    drop(s, 1);
    drop(s, 2);
    drop(s, 3);
    assert_int_equal(ask("MATCH (m:MediaContent {num: 1, version: 3})-->(:Genre) RETURN count(m)"), 1);
    assert_int_equal(ask("MATCH (m:MediaContent {num: 2}) RETURN count(m)"), 0);
    assert_int_equal(ask("MATCH (m:MediaContent {num: 3})-->() RETURN count(m)"), 1);
    put(s, 1, (float[]){1, 1}, 4);
    must(vector_clear(s, &err), &err);
    assert_int_equal(ask("MATCH (m:MediaContent {num: 1, version: 3}) WHERE m.embedding IS NULL RETURN count(m)"), 1);
    assert_int_equal(ask("MATCH (m:MediaContent) RETURN count(m)"), 3);
    vector_close(s);
}

/* ---- damage ---- */

static bool count_scanned(void *ctx, uint32_t num, uint64_t version, const float *values) {
    (void)num;
    (void)version;
    (void)values;
    ++*(int *)ctx;
    return true;
}

static void what_was_damaged_behind_its_back_is_told_and_does_no_harm(void **state) {
    (void)state;
    vector_store *s = open_empty(2);
    braid_error err = {0};
    vector_check_report report;
    float got[2], score;
    int scanned = 0;
    for (uint32_t i = 1; i <= 3; i++) put(s, i, (float[]){1, (float)i}, 1);
    must(vector_check(s, &report, &err), &err);
    assert_int_equal(report.problems, 0);
    assert_int_equal(report.checked, 3);
    ask("MATCH (m:MediaContent {num: 2}) SET m.embedding = [1.0] RETURN 1");
    must(vector_check(s, &report, &err), &err);
    assert_int_equal(report.problems, 1);
    assert_non_null(strstr(report.first, "item 2"));
    must(vector_scan(s, count_scanned, &scanned, &err), &err);
    assert_int_equal(scanned, 2);
    assert_int_equal(vector_fetch(s, 2, 0, got, NULL), BRAID_E_NOT_FOUND);
    ask("MATCH (m:MediaContent {num: 2}) SET m.embedding = [1.0, 2.0, 3.0] RETURN 1");
    assert_int_equal(vector_fetch(s, 2, 0, got, NULL), BRAID_E_CORRUPT);
    ask("MATCH (m:MediaContent {num: 2}) SET m.embedding = 'much' RETURN 1");
    assert_int_not_equal(vector_fetch(s, 2, 0, got, NULL), BRAID_OK);
    uint32_t num = 1;
    must(vector_score(s, (float[]){1, 1}, &num, 1, 0, &score, &err), &err); /* the others are well */
    ask("DROP INDEX braid_media_embedding");
    ask("MATCH (m:MediaContent {num: 2}) DETACH DELETE m RETURN 1");
    must(vector_check(s, &report, &err), &err);
    assert_int_equal(report.problems, 1);
    assert_string_equal(report.first, "the vector index is gone");
    vector_close(s);
}

static void opening_without_a_server_says_where_it_looked(void **state) {
    (void)state;
    braid_error err = {0};
    vector_store *s;
    remote_options nobody = {.address = "127.0.0.1:1",
                             .database = "",
                             .user = "",
                             .password = "",
                             .token = "",
                             .tls_ca = "",
                             .connections = 1,
                             .timeout_ms = 500};
    vector_options o = {.dim = 3, .remote = &nobody};
    assert_int_equal(vector_open(&vector_neo4j, &o, &s, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "127.0.0.1:1"));
    error_clear(&err);
    o.remote = NULL;
    assert_int_equal(vector_open(&vector_neo4j, &o, &s, &err), BRAID_E_INVALID);
    assert_non_null(strstr(err.message, "neo4j.address"));
}

static void the_schema_is_the_one_in_the_cypher_file(void **state) {
    (void)state;
    const vector_neo4j_cypher *c = &vector_neo4j_statements;
    const char *const wanted[] = {c->create_constraints[0], c->create_constraints[1], c->create_index};
    FILE *f = fopen("cypher/003_vector_index.cypher", "r");
    if (f == NULL) fail_msg("run this from the root of the sources");
    char line[1024];
    size_t i = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "//", 2) == 0) continue;
        line[strcspn(line, ";\n")] = '\0';
        assert_true(i < 3);
        assert_string_equal(line, wanted[i++]);
    }
    fclose(f);
    assert_int_equal(i, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_schema_is_the_one_in_the_cypher_file),
        cmocka_unit_test(opening_without_a_server_says_where_it_looked),
        cmocka_unit_test(an_index_of_another_dimension_is_replaced_while_it_is_empty_and_refused_then),
        cmocka_unit_test(an_index_that_is_not_ours_is_used_or_refused_but_never_dropped),
        cmocka_unit_test(scores_are_cosines_from_the_index_and_from_the_set),
        cmocka_unit_test(k_is_filled_from_a_large_set_that_lies_far_away),
        cmocka_unit_test(an_older_vector_neither_replaces_a_newer_one_nor_comes_back),
        cmocka_unit_test(what_a_graph_store_keeps_on_the_node_stays),
        cmocka_unit_test(what_was_damaged_behind_its_back_is_told_and_does_no_harm),
    };
    have_server = test_neo4j(&server);
    return cmocka_run_group_tests_name("vector_neo4j", tests, NULL, NULL);
}
