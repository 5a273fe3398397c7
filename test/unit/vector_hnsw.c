/* The graph store against the exact one: recall, filtered recall, recall after deletes, twins, and the shape of the
 * graph. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vector/vector.h"

#if defined(__SANITIZE_THREAD__)
enum { N = 1000, QUERIES = 20 }; /* one thread: the other builds judge recall */
#elif defined(__SANITIZE_ADDRESS__)
enum { N = 2000, QUERIES = 40 };
#else
enum { N = 10000, QUERIES = 200 };
#endif
enum { DIM = 64, K = 10, CENTRES = N / 100 };

typedef struct world {
    rng r;
    float *centres, *points, *queries;
    uint32_t *centre_of;
    vector_store *hnsw, *flat;
} world;

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK) fail_msg("%s", err->message);
}

static void check_whole(vector_store *s) {
    braid_error err = {0};
    vector_check_report report;
    must(vector_check(s, &report, &err), &err);
    if (report.problems > 0) fail_msg("%" PRIu64 " problems, first: %s", report.problems, report.first);
}

static uint32_t draw_point(world *w, float *out) {
    uint32_t c = (uint32_t)rng_below(&w->r, CENTRES);
    for (uint32_t j = 0; j < DIM; j++) out[j] = w->centres[(size_t)c * DIM + j] + 0.6f * (float)rng_normal(&w->r);
    return c;
}

static vector_store *open_store(const char *name) {
    braid_error err = {0};
    vector_options options = {.dim = DIM, .seed = 11};
    vector_store *s = NULL;
    must(vector_open(vector_find(name), &options, &s, &err), &err);
    return s;
}

static void put(world *w, uint32_t first, uint32_t n) {
    braid_error err = {0};
    vector_entry *entries = malloc(n * sizeof *entries);
    for (uint32_t i = 0; i < n; i++)
        entries[i] = (vector_entry){.num = first + i, .values = w->points + (size_t)(first + i) * DIM};
    must(vector_upsert(w->hnsw, entries, n, &err), &err);
    must(vector_upsert(w->flat, entries, n, &err), &err);
    free(entries);
}

static int make_world(void **state) {
    world *w = calloc(1, sizeof *w);
    rng_seed(&w->r, 20240601);
    w->centres = malloc(sizeof(float) * CENTRES * DIM);
    w->points = malloc(sizeof(float) * N * DIM);
    w->queries = malloc(sizeof(float) * QUERIES * DIM);
    w->centre_of = malloc(sizeof(uint32_t) * N);
    for (size_t i = 0; i < (size_t)CENTRES * DIM; i++) w->centres[i] = (float)rng_normal(&w->r);
    for (uint32_t i = 0; i < N; i++) w->centre_of[i] = draw_point(w, w->points + (size_t)i * DIM);
    for (uint32_t i = 0; i < QUERIES; i++) draw_point(w, w->queries + (size_t)i * DIM);
    w->hnsw = open_store("hnsw");
    w->flat = open_store("flat");
    put(w, 0, N);
    *state = w;
    return 0;
}

static int end_world(void **state) {
    world *w = *state;
    vector_close(w->hnsw);
    vector_close(w->flat);
    free(w->centres);
    free(w->points);
    free(w->queries);
    free(w->centre_of);
    free(w);
    return 0;
}

typedef struct outcome {
    double recall, distances, exact;
} outcome;

static outcome compare(world *w, unsigned ef, const bitset *allow) {
    outcome o = {0};
    size_t wanted = 0, found = 0;
    for (uint32_t i = 0; i < QUERIES; i++) {
        braid_error err = {0};
        candidate got[K], truth[K];
        size_t got_n, truth_n;
        vector_stats stats;
        vector_query q = {.values = w->queries + (size_t)i * DIM,
                          .k = K,
                          .ef = ef,
                          .allow = allow,
                          .allow_count = allow == NULL ? 0 : bitset_count(allow)};
        must(vector_search(w->hnsw, &q, got, &got_n, &stats, &err), &err);
        o.distances += (double)stats.distances / QUERIES;
        o.exact += (double)(strcmp(stats.method, "exact") == 0) / QUERIES;
        must(vector_search(w->flat, &q, truth, &truth_n, NULL, &err), &err);
        assert_int_equal(got_n, truth_n);
        for (size_t a = 0; a < got_n; a++) {
            for (size_t b = 0; b < truth_n; b++) found += got[a].num == truth[b].num;
        }
        wanted += truth_n;
    }
    o.recall = (double)found / (double)wanted;
    return o;
}

static void tell(const char *what, outcome o) {
    print_message("%s: recall@10 %.4f, %.0f distances, %.0f %% exact\n", what, o.recall, o.distances, 100 * o.exact);
}

static void recall_is_above_its_floor_at_the_default_ef(void **state) {
    outcome o = compare(*state, 0, NULL);
    tell("no filter", o);
    assert_true(o.recall >= 0.95);
    if (N >= 2000) assert_true(o.exact == 0 && o.distances < N / 2.0); /* the graph was asked */
    check_whole(((world *)*state)->hnsw);
}

static void recall_holds_under_filters_at_50_10_and_1_percent(void **state) {
    static const unsigned percents[] = {50, 10, 1};
    world *w = *state;
    for (size_t p = 0; p < 3; p++) {
        bitset allow;
        assert_true(bitset_init(&allow, N));
        for (uint32_t i = 0; i < N; i++) {
            if (rng_below(&w->r, 100) < percents[p]) bitset_set(&allow, i);
        }
        outcome o = compare(w, 0, &allow);
        tell("random filter", o);
        assert_true(o.recall >= 0.95);
        bitset_free(&allow);
    }
}

/* Whole clusters are in or out, so most queries start far from the set. */
static void recall_holds_when_the_filter_follows_the_vectors(void **state) {
    static const unsigned in_of_100[] = {50, 10, 1};
    world *w = *state;
    for (size_t p = 0; p < 3; p++) {
        bitset allow;
        assert_true(bitset_init(&allow, N));
        uint32_t centres_in = CENTRES * in_of_100[p] / 100;
        if (centres_in == 0) centres_in = 1;
        for (uint32_t i = 0; i < N; i++) {
            if (w->centre_of[i] < centres_in) bitset_set(&allow, i);
        }
        outcome o = compare(w, 0, &allow);
        tell("clustered filter", o);
        assert_true(o.recall >= 0.95);
        bitset_free(&allow);
    }
}

static void k_is_filled_when_999_of_1000_are_excluded(void **state) {
    world *w = *state;
    bitset allow;
    assert_true(bitset_init(&allow, N));
    for (uint32_t i = 0; i < N; i += 1000) bitset_set(&allow, i);
    outcome o = compare(w, 0, &allow);
    assert_true(o.recall == 1.0);
    /* A count that is not the set's must not cost members: it is for the plan only. */
    braid_error err = {0};
    candidate out[N / 1000];
    size_t n;
    vector_query q = {.values = w->queries, .k = N / 1000, .allow = &allow, .allow_count = N};
    must(vector_search(w->hnsw, &q, out, &n, NULL, &err), &err);
    assert_int_equal(n, N / 1000);
    bitset_free(&allow);
}

static void recall_survives_deleting_half_and_putting_it_back(void **state) {
    world *w = *state;
    braid_error err = {0};
    outcome before = compare(w, 0, NULL);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t num = i;
        if (i % 2 == 0) continue;
        must(vector_remove(w->hnsw, &num, 1, &err), &err);
        must(vector_remove(w->flat, &num, 1, &err), &err);
    }
    check_whole(w->hnsw);
    outcome half = compare(w, 0, NULL);
    tell("half of it", half);
    assert_true(half.recall >= before.recall - 0.01);
    for (uint32_t i = 1; i < N; i += 2) put(w, i, 1);
    check_whole(w->hnsw);
    outcome after = compare(w, 0, NULL);
    tell("whole again", after);
    assert_true(after.recall >= before.recall - 0.01);
}

static void recall_survives_replacing_every_vector(void **state) {
    world *w = *state;
    for (uint32_t i = 0; i < N; i++) draw_point(w, w->points + (size_t)i * DIM);
    for (uint32_t i = 0; i < N; i += 100) put(w, i, 100);
    check_whole(w->hnsw);
    outcome o = compare(w, 0, NULL);
    tell("replaced", o);
    assert_true(o.recall >= 0.95);
    vector_info info;
    vector_get_info(w->hnsw, &info);
    assert_int_equal(info.count, N);
    assert_int_equal(info.deleted, 0);
}

/* ---- graphs of their own ---- */

static void ten_thousand_twins_neither_hang_nor_hide_the_others(void **state) {
    (void)state;
    braid_error err = {0};
    rng r;
    rng_seed(&r, 5);
    vector_store *s = open_store("hnsw");
    float twin[DIM], other[DIM];
    for (int j = 0; j < DIM; j++) twin[j] = (float)rng_normal(&r);
    for (uint32_t i = 0; i < N; i++) {
        bool lone = i % 50 == 25;
        for (int j = 0; j < DIM; j++) other[j] = (float)rng_normal(&r);
        must(vector_upsert(s, &(vector_entry){.num = i, .values = lone ? other : twin}, 1, &err), &err);
    }
    check_whole(s);
    candidate *out = malloc(N * sizeof *out);
    size_t n;
    vector_query q = {.values = twin, .k = 500};
    must(vector_search(s, &q, out, &n, NULL, &err), &err);
    assert_int_equal(n, 500);
    for (size_t i = 0; i < n; i++) assert_true(out[i].score > 0.9999f);
    size_t met = 0;
    for (uint32_t i = 25; i < N; i += 50) { /* the lone ones are found among the crowd */
        must(vector_fetch(s, i, 0, other, &err), &err);
        q = (vector_query){.values = other, .k = 1};
        must(vector_search(s, &q, out, &n, NULL, &err), &err);
        met += n == 1 && out[0].num == i;
    }
    print_message("%zu of %d lone ones found\n", met, N / 50);
    assert_true(met >= N / 50 * 95 / 100);
    for (uint32_t i = 0; i < N; i++) {
        if (i % 7 != 0) must(vector_remove(s, &i, 1, &err), &err);
    }
    check_whole(s);
    vector_close(s);
    free(out);
}

static void a_store_that_is_emptied_starts_anew(void **state) {
    (void)state;
    braid_error err = {0};
    rng r;
    rng_seed(&r, 6);
    vector_store *s = open_store("hnsw");
    float row[DIM];
    vector_info info;
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 300; i++) {
            for (int j = 0; j < DIM; j++) row[j] = (float)rng_normal(&r);
            must(vector_upsert(s, &(vector_entry){.num = i, .values = row}, 1, &err), &err);
        }
        /* Oldest first, newest first, and in one batch. */
        uint32_t nums[300];
        for (uint32_t i = 0; i < 300; i++) nums[i] = round == 0 ? i : 299 - i;
        for (uint32_t i = 0; round < 2 && i < 300; i++) {
            must(vector_remove(s, &nums[i], 1, &err), &err);
            if (i % 8 == 0 || i > 280) check_whole(s);
        }
        must(vector_remove(s, nums, 300, &err), &err);
        check_whole(s);
        vector_get_info(s, &info);
        assert_int_equal(info.count + info.deleted, 0);
    }
    candidate out[1];
    size_t n;
    must(vector_search(s, &(vector_query){.values = row, .k = 1}, out, &n, NULL, &err), &err);
    assert_int_equal(n, 0);
    vector_close(s);
}

static void the_same_order_of_inserts_gives_the_same_answers(void **state) {
    (void)state;
    enum { SOME = 600 };
    rng r;
    rng_seed(&r, 8);
    float *points = malloc(sizeof(float) * SOME * DIM);
    for (size_t i = 0; i < (size_t)SOME * DIM; i++) points[i] = (float)rng_normal(&r);
    vector_store *stores[2];
    for (int t = 0; t < 2; t++) {
        stores[t] = open_store("hnsw");
        for (uint32_t i = 0; i < SOME; i++) {
            braid_error err = {0};
            must(vector_upsert(stores[t], &(vector_entry){.num = i, .values = points + (size_t)i * DIM}, 1, &err),
                 &err);
        }
    }
    for (uint32_t i = 0; i < 50; i++) {
        candidate out[2][K];
        vector_stats stats[2];
        for (int t = 0; t < 2; t++) {
            braid_error err = {0};
            size_t n;
            float query[DIM];
            for (int j = 0; j < DIM; j++) query[j] = points[(size_t)i * DIM + j] - points[(size_t)(i + 1) * DIM + j];
            vector_query q = {.values = query, .k = K, .ef = K};
            must(vector_search(stores[t], &q, out[t], &n, &stats[t], &err), &err);
            assert_int_equal(n, K);
        }
        assert_int_equal(stats[0].distances, stats[1].distances);
        for (int j = 0; j < K; j++) assert_true(out[0][j].num == out[1][j].num && out[0][j].score == out[1][j].score);
    }
    vector_close(stores[0]);
    vector_close(stores[1]);
    free(points);
}

int main(void) {
    const struct CMUnitTest shared[] = {
        cmocka_unit_test(recall_is_above_its_floor_at_the_default_ef),
        cmocka_unit_test(recall_holds_under_filters_at_50_10_and_1_percent),
        cmocka_unit_test(recall_holds_when_the_filter_follows_the_vectors),
        cmocka_unit_test(k_is_filled_when_999_of_1000_are_excluded),
        cmocka_unit_test(recall_survives_deleting_half_and_putting_it_back),
        cmocka_unit_test(recall_survives_replacing_every_vector),
    };
    const struct CMUnitTest own[] = {
        cmocka_unit_test(ten_thousand_twins_neither_hang_nor_hide_the_others),
        cmocka_unit_test(a_store_that_is_emptied_starts_anew),
        cmocka_unit_test(the_same_order_of_inserts_gives_the_same_answers),
    };
    int failed = cmocka_run_group_tests_name("one index", shared, make_world, end_world);
    return failed + cmocka_run_group_tests_name("small indexes", own, NULL, NULL);
}
