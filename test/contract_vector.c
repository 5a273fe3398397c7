/* One specification, run on every vector store that is compiled in and whose server, if it has one, can be found
 * (support/vector_remote.h). A plain array with a naive inner product is the model.
 *
 * Random tests print their seed when they start (BRAID_SEED replays one). Sizes shrink under a sanitiser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/neo4j_wipe.h"
#include "test/support/timing.h"
#include "test/support/vector_remote.h"
#include "vector/vector.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SCALE = 4 };
#else
enum { SCALE = 1 };
#endif

static uint64_t test_seed(void) {
    const char *text = getenv("BRAID_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)clock_mono_ns(&clock_system);
    print_message("seed %" PRIu64 "\n", seed);
    return seed;
}

static const vector_ops *ops_of(void **state) {
    return *state;
}

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK) fail_msg("%s", err->message);
}

static bool is_remote(const vector_ops *ops) {
    return ops->caps & VECTOR_CAP_REMOTE;
}

/* With a collection of its own on the server, if there is one. */
static vector_store *open_with(const vector_ops *ops, vector_options options) {
    braid_error err = {0};
    remote_options remote;
    vector_store *s = NULL;
    if (is_remote(ops)) {
        assert_true(test_vector_remote(ops->name, &remote));
        options.remote = &remote;
        if (strcmp(ops->name, "neo4j") == 0) assert_true(test_neo4j_wipe(&remote));
    }
    must(vector_open(ops, &options, &s, &err), &err);
    return s;
}

static vector_store *open_dim(const vector_ops *ops, uint32_t dim) {
    return open_with(ops, (vector_options){.dim = dim, .kernel = "auto", .seed = 7});
}

/* A remote store may build its index after the load; what is asked about the index waits for that. */
static void settle(vector_store *s) {
    if (!(vector_caps_of(s) & VECTOR_CAP_REMOTE)) return;
    for (int i = 0; i < LONG_MS / 50; i++) {
        vector_cost cost;
        vector_estimate(s, 10, 0, 0, false, &cost);
        if (strcmp(cost.method, "exact") != 0) return;
        usleep(50000);
    }
    fail_msg("no index after a minute");
}

static void upsert_one(vector_store *s, uint32_t num, const float *values) {
    braid_error err = {0};
    must(vector_upsert(s, &(vector_entry){.num = num, .values = values}, 1, &err), &err);
}

static void check_whole(vector_store *s) {
    braid_error err = {0};
    vector_check_report report;
    must(vector_check(s, &report, &err), &err);
    if (report.problems > 0) fail_msg("%" PRIu64 " problems, first: %s", report.problems, report.first);
}

static float *draw(rng *r, uint32_t dim, size_t n) {
    float *values = malloc(n * dim * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < n * dim; i++) values[i] = (float)rng_normal(r);
    return values;
}

static float naive_cosine(const float *a, const float *b, uint32_t dim) {
    double dot = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < dim; i++) {
        dot += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return (float)(dot / sqrt(aa * bb));
}

static void fill(vector_store *s, const float *values, uint32_t dim, uint32_t first, uint32_t n) {
    braid_error err = {0};
    vector_entry *entries = malloc(n * sizeof *entries);
    for (uint32_t i = 0; i < n; i++)
        entries[i] = (vector_entry){.num = first + i, .values = values + (size_t)(first + i) * dim};
    must(vector_upsert(s, entries, n, &err), &err);
    free(entries);
}

static size_t search_ef(vector_store *s, const float *query, size_t k, unsigned ef, const bitset *allow, candidate *out,
                        vector_stats *stats) {
    braid_error err = {0};
    size_t count = 0;
    vector_query q = {
        .values = query, .k = k, .ef = ef, .allow = allow, .allow_count = allow == NULL ? 0 : bitset_count(allow)};
    must(vector_search(s, &q, out, &count, stats, &err), &err);
    for (size_t i = 0; i < count; i++) {
        assert_true(out[i].score >= -1.001f && out[i].score <= 1.001f);
        if (i > 0) assert_true(out[i - 1].score >= out[i].score);
    }
    return count;
}

static size_t search(vector_store *s, const float *query, size_t k, const bitset *allow, candidate *out,
                     vector_stats *stats) {
    return search_ef(s, query, k, 0, allow, out, stats);
}

/* ---- single items ---- */

static void a_stored_vector_is_its_own_nearest(void **state) {
    static const uint32_t dims[] = {1, 3, 17, 384, 768};
    rng r;
    rng_seed(&r, test_seed());
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        uint32_t dim = dims[d], n = dim == 1 ? 2 : 300;
        float *values = dim == 1 ? NULL : draw(&r, dim, n), signs[2] = {3.0f, -0.25f};
        const float *rows = dim == 1 ? signs : values;
        vector_store *s = open_dim(ops_of(state), dim);
        fill(s, rows, dim, 0, n);
        for (uint32_t i = 0; i < n; i += 7) {
            candidate out[1];
            assert_int_equal(search(s, rows + (size_t)i * dim, 1, NULL, out, NULL), 1);
            assert_int_equal(out[0].num, i);
            assert_true(fabsf(out[0].score - 1) < 1e-5f);
        }
        check_whole(s);
        vector_close(s);
        free(values);
    }
}

static void fetch_gives_the_normalised_vector_or_not_found(void **state) {
    vector_store *s = open_dim(ops_of(state), 3);
    braid_error err = {0};
    float out[3];
    upsert_one(s, 5, (float[]){3, 0, 4});
    must(vector_fetch(s, 5, 0, out, &err), &err);
    assert_true(fabsf(out[0] - 0.6f) < 1e-6f && out[1] == 0 && fabsf(out[2] - 0.8f) < 1e-6f);
    assert_int_equal(vector_fetch(s, 6, 0, out, &err), BRAID_E_NOT_FOUND);
    error_clear(&err);
    assert_int_equal(vector_fetch(s, UINT32_MAX - 1, 0, out, &err), BRAID_E_NOT_FOUND);
    vector_close(s);
}

/* Some of them twice, some unknown, and more than a remote store asks for at once. */
static void vectors_fetched_together_are_those_fetched_one_by_one(void **state) {
    enum { DIM = 5, N = 1200, ASKED = 2300 };
    rng r;
    rng_seed(&r, test_seed());
    float *values = draw(&r, DIM, N), *got = malloc(ASKED * DIM * sizeof *got), one[DIM];
    uint32_t *nums = malloc(ASKED * sizeof *nums);
    bool found[ASKED];
    braid_error err = {0};
    vector_store *s = open_dim(ops_of(state), DIM);
    fill(s, values, DIM, 0, N);
    must(vector_remove(s, (uint32_t[]){7, 8, 9}, 3, &err), &err);
    must(vector_fetch_many(s, nums, 0, 0, got, found, &err), &err); /* none at all */
    for (size_t i = 0; i < ASKED; i++) {
        nums[i] = i < N ? (uint32_t)i : (uint32_t)rng_below(&r, 2 * N);
        found[i] = true;
        for (size_t d = 0; d < DIM; d++) got[i * DIM + d] = 42;
    }
    nums[N] = UINT32_MAX - 1;
    for (size_t i = ASKED - 1; i > 0; i--) {
        size_t j = rng_below(&r, i + 1);
        uint32_t num = nums[i];
        nums[i] = nums[j];
        nums[j] = num;
    }
    must(vector_fetch_many(s, nums, ASKED, in_ms(LONG_MS), got, found, &err), &err);
    size_t there = 0;
    for (size_t i = 0; i < ASKED; i++) {
        bool stored = nums[i] < N && (nums[i] < 7 || nums[i] > 9);
        assert_int_equal(found[i], stored);
        there += stored;
        memcpy(one, values + (size_t)(stored ? nums[i] : 0) * DIM, sizeof one);
        assert_true(vector_normalise(one, DIM));
        for (size_t d = 0; d < DIM; d++) assert_true(fabsf(got[i * DIM + d] - (stored ? one[d] : 42)) < 1e-6f);
    }
    assert_true(there > N);
    for (size_t i = 0; i < ASKED; i += 200) {
        braid_error why = {0};
        assert_int_equal(vector_fetch(s, nums[i], 0, one, &why), found[i] ? BRAID_OK : BRAID_E_NOT_FOUND);
        if (found[i]) assert_memory_equal(one, got + i * DIM, sizeof one);
    }
    vector_close(s);
    free(values);
    free(got);
    free(nums);
}

static void an_upsert_replaces_and_a_remove_removes(void **state) {
    vector_store *s = open_dim(ops_of(state), 3);
    braid_error err = {0};
    candidate out[4];
    vector_info info;
    float x[3] = {1, 0, 0}, y[3] = {0, 1, 0}, got[3];
    upsert_one(s, 1, x);
    upsert_one(s, 2, y);
    upsert_one(s, 1, y);
    assert_int_equal(search(s, x, 4, NULL, out, NULL), 2);
    assert_true(fabsf(out[0].score) < 1e-6f);
    must(vector_remove(s, (uint32_t[]){1, 77, 1}, 3, &err), &err);
    assert_int_equal(search(s, y, 4, NULL, out, NULL), 1);
    assert_int_equal(out[0].num, 2);
    assert_int_equal(vector_fetch(s, 1, 0, got, &err), BRAID_E_NOT_FOUND);
    upsert_one(s, 1, x);
    assert_int_equal(search(s, x, 1, NULL, out, NULL), 1);
    assert_int_equal(out[0].num, 1);
    vector_get_info(s, &info);
    assert_int_equal(info.count, 2);
    assert_int_equal(info.deleted, 0);
    check_whole(s);
    vector_close(s);
}

static void the_last_of_a_number_in_a_batch_counts(void **state) {
    vector_store *s = open_dim(ops_of(state), 2);
    braid_error err = {0};
    float x[2] = {1, 0}, y[2] = {0, 1}, got[2];
    vector_entry entries[] = {
        {.num = 9, .values = x}, {.num = 9, .values = y}, {.num = 9, .values = x}, {.num = 9, .values = y}};
    must(vector_upsert(s, entries, 4, &err), &err);
    must(vector_fetch(s, 9, 0, got, &err), &err);
    assert_true(got[1] == 1);
    candidate out[4];
    assert_int_equal(search(s, y, 4, NULL, out, NULL), 1);
    check_whole(s);
    vector_close(s);
}

static void score_is_the_cosine_or_none(void **state) {
    enum { DIM = 17, N = 50 };
    rng r;
    rng_seed(&r, test_seed());
    float *values = draw(&r, DIM, N + 1), *query = values + N * DIM, out[N + 2];
    vector_store *s = open_dim(ops_of(state), DIM);
    braid_error err = {0};
    uint32_t nums[N + 2];
    fill(s, values, DIM, 0, N);
    for (uint32_t i = 0; i < N; i++) nums[i] = N - 1 - i;
    nums[N] = 4000000;
    nums[N + 1] = 3;
    must(vector_score(s, query, nums, N + 2, 0, out, &err), &err);
    for (uint32_t i = 0; i < N; i++) {
        assert_true(fabsf(out[i] - naive_cosine(query, values + nums[i] * DIM, DIM)) < 1e-5f);
    }
    assert_true(out[N] == SIMILARITY_NONE);
    assert_true(out[N + 1] == out[N - 4]);
    vector_close(s);
    free(values);
}

typedef struct scan_seen {
    unsigned char seen[64];
    size_t stop_after, calls;
} scan_seen;

static bool see(void *ctx, uint32_t num, uint64_t version, const float *values) {
    (void)version;
    scan_seen *seen = ctx;
    assert_true(num < sizeof seen->seen && fabsf(values[0] * values[0] + values[1] * values[1] - 1) < 1e-5f);
    seen->seen[num]++;
    return ++seen->calls != seen->stop_after;
}

static void scan_sees_each_item_once_and_stops_when_told(void **state) {
    vector_store *s = open_dim(ops_of(state), 2);
    braid_error err = {0};
    for (uint32_t i = 0; i < 64; i++) upsert_one(s, i, (float[]){1, (float)i});
    for (uint32_t i = 0; i < 64; i += 2) upsert_one(s, i, (float[]){-1, (float)i});
    for (uint32_t i = 0; i < 64; i += 3) must(vector_remove(s, &i, 1, &err), &err);
    scan_seen seen = {0};
    must(vector_scan(s, see, &seen, &err), &err);
    for (uint32_t i = 0; i < 64; i++) assert_int_equal(seen.seen[i], i % 3 != 0);
    scan_seen few = {.stop_after = 5};
    must(vector_scan(s, see, &few, &err), &err);
    assert_int_equal(few.calls, 5);
    vector_close(s);
}

static void a_cleared_store_is_empty_and_takes_everything_again(void **state) {
    enum { DIM = 6, N = 200 };
    rng r;
    rng_seed(&r, test_seed());
    float *values = draw(&r, DIM, N);
    vector_store *s = open_dim(ops_of(state), DIM);
    braid_error err = {0};
    candidate out[N];
    vector_info info;
    scan_seen seen = {0};
    must(vector_clear(s, &err), &err); /* nothing there yet */
    for (int round = 0; round < 3; round++) {
        fill(s, values, DIM, 0, N);
        assert_int_equal(search(s, values, N, NULL, out, NULL), N);
        must(vector_clear(s, &err), &err);
        assert_int_equal(search(s, values, N, NULL, out, NULL), 0);
        must(vector_scan(s, see, &seen, &err), &err);
        assert_int_equal(seen.calls, 0);
        vector_get_info(s, &info);
        assert_int_equal(info.count, 0);
        check_whole(s);
    }
    vector_close(s);
    free(values);
}

/* ---- bad input ---- */

static void nan_infinity_and_zero_never_get_in(void **state) {
    vector_store *s = open_dim(ops_of(state), 3);
    float good[3] = {1, 2, 3}, bad[][3] = {{1, NAN, 0}, {INFINITY, 0, 0}, {0, 0, 0}, {0, -INFINITY, 1}};
    candidate out[2];
    size_t count;
    vector_info info;
    for (size_t i = 0; i < 4; i++) {
        braid_error err = {0};
        vector_entry entries[] = {{.num = 1, .values = good}, {.num = 2, .values = bad[i]}};
        assert_int_equal(vector_upsert(s, entries, 2, &err), BRAID_E_NOT_FINITE);
        assert_int_equal(err.code, BRAID_E_NOT_FINITE);
        assert_non_null(strstr(err.message, "2"));
        vector_get_info(s, &info);
        assert_int_equal(info.count, 0); /* all of a batch or nothing */
        error_clear(&err);
        vector_query q = {.values = bad[i], .k = 1};
        assert_int_equal(vector_search(s, &q, out, &count, NULL, &err), BRAID_E_NOT_FINITE);
    }
    upsert_one(s, 1, (float[]){1e30f, 1e30f, -1e30f});
    upsert_one(s, 2, (float[]){1e-30f, 1e-30f, 1e-30f});
    assert_int_equal(search(s, good, 2, NULL, out, NULL), 2);
    assert_int_equal(out[0].num, 2);
    vector_close(s);
}

static void k_out_of_range_and_bad_options_are_refused(void **state) {
    vector_store *s = open_dim(ops_of(state), 2);
    braid_error err = {0};
    candidate out[1];
    size_t count;
    vector_query q = {.values = (float[]){1, 0}, .k = 0};
    assert_int_equal(vector_search(s, &q, out, &count, NULL, &err), BRAID_E_INVALID);
    q.k = 100001;
    assert_int_equal(vector_search(s, &q, out, &count, NULL, &err), BRAID_E_INVALID);
    vector_close(s);
    vector_options bad[] = {{.dim = 0}, {.dim = 4097}, {.dim = 3, .kernel = "abacus"}};
    for (size_t i = 0; i < 3; i++) {
        s = (vector_store *)&q;
        error_clear(&err);
        assert_int_not_equal(vector_open(ops_of(state), &bad[i], &s, &err), BRAID_OK);
        assert_null(s);
        assert_true(err.message[0] != '\0');
    }
}

/* ---- filling k ---- */

static void k_beyond_the_count_gives_everything_once(void **state) {
    enum { DIM = 8 };
    const uint32_t n = 3000 / SCALE;
    rng r;
    rng_seed(&r, test_seed());
    float *values = draw(&r, DIM, n);
    vector_store *s = open_dim(ops_of(state), DIM);
    candidate *out = malloc(100000 * sizeof *out);
    bool *seen = calloc(n, sizeof *seen);
    vector_stats stats;
    assert_int_equal(search(s, values, 10, NULL, out, &stats), 0);
    assert_int_equal(stats.stopped, VECTOR_STOP_EXHAUSTED);
    fill(s, values, DIM, 0, n);
    assert_int_equal(search(s, values, 100000, NULL, out, &stats), n);
    assert_int_equal(stats.stopped, VECTOR_STOP_EXHAUSTED);
    for (uint32_t i = 0; i < n; i++) {
        assert_false(seen[out[i].num]);
        seen[out[i].num] = true;
    }
    assert_int_equal(search(s, values, n, NULL, out, &stats), n);
    assert_int_equal(stats.stopped, VECTOR_STOP_DONE);
    vector_close(s);
    free(values);
    free(out);
    free(seen);
}

/* Sets of all sizes, near to the query and far from it: members only, and as many as there are. */
static void a_filter_is_exact_and_k_is_filled_from_it(void **state) {
    enum { DIM = 16, K = 20 };
    const uint32_t n = is_remote(ops_of(state)) ? 4000 : 4000 / SCALE; /* a server is not slowed by our sanitiser */
    rng r;
    rng_seed(&r, test_seed());
    float *values = draw(&r, DIM, n);
    for (uint32_t i = 0; i < n; i++) values[(size_t)i * DIM] += i < n / 2 ? 6 : -6; /* two clusters */
    vector_store *s = open_dim(ops_of(state), DIM);
    fill(s, values, DIM, 0, n);
    settle(s);
    unsigned walks = 0;
    for (unsigned round = 0; round < 60; round++) {
        bitset allow;
        candidate out[K];
        vector_stats stats;
        assert_true(bitset_init(&allow, n + 1000)); /* has members that are not in the store */
        uint64_t one_in = UINT64_C(1) << (round % 13);
        bool far = round % 2 == 0;
        for (uint32_t i = far ? n / 2 : 0; i < n; i++) {
            if (rng_below(&r, one_in) == 0) bitset_set(&allow, i);
        }
        uint64_t members = bitset_count(&allow);
        for (uint32_t i = n; round % 3 == 0 && i < n + 1000; i++) bitset_set(&allow, i);
        size_t count = search_ef(s, values + rng_below(&r, n / 2) * DIM, K, K, &allow, out, &stats);
        walks += strcmp(stats.method, "exact") != 0;
        assert_int_equal(count, members < K ? members : K);
        assert_int_equal(stats.stopped, members < K ? VECTOR_STOP_EXHAUSTED : VECTOR_STOP_DONE);
        for (size_t i = 0; i < count; i++) {
            assert_true(out[i].num < n && bitset_has(&allow, out[i].num));
            for (size_t j = 0; j < i; j++) assert_int_not_equal(out[i].num, out[j].num);
        }
        bitset_free(&allow);
    }
    if (!(vector_caps_of(s) & VECTOR_CAP_EXACT)) assert_true(walks > 0);
    vector_close(s);
    free(values);
}

/* ---- time ---- */

static int64_t ticking_ns(void *ctx) {
    return *(int64_t *)ctx += 1000000; /* a millisecond a look */
}

static int64_t standing_ms(void *ctx) {
    (void)ctx;
    return 0;
}

static void a_deadline_stops_a_search_with_what_it_has(void **state) {
    enum { DIM = 8 };
    const uint32_t n = 8000 / SCALE;
    if (is_remote(ops_of(state))) skip(); /* the next one is for those */
    rng r;
    rng_seed(&r, test_seed());
    float *values = draw(&r, DIM, n);
    int64_t now = 0;
    clock_ops ticking = {ticking_ns, standing_ms, &now};
    vector_options options = {.dim = DIM, .seed = 7, .clock = &ticking};
    braid_error err = {0};
    vector_store *s;
    must(vector_open(ops_of(state), &options, &s, &err), &err);
    fill(s, values, DIM, 0, n);
    candidate out[500];
    size_t count = 1;
    vector_stats stats;
    vector_query q = {.values = values, .k = 10, .ef = 500, .until = 1};
    must(vector_search(s, &q, out, &count, &stats, &err), &err); /* passed before it began */
    assert_int_equal(stats.stopped, VECTOR_STOP_DEADLINE);
    assert_int_equal(count, 0);
    q.until = now + 4000000;
    must(vector_search(s, &q, out, &count, &stats, &err), &err);
    assert_int_equal(stats.stopped, VECTOR_STOP_DEADLINE);
    assert_true(stats.distances > 0 && stats.distances < n);
    assert_int_equal(count, 10);
    q.until = now + INT64_C(1000000000000);
    must(vector_search(s, &q, out, &count, &stats, &err), &err);
    assert_int_equal(stats.stopped, VECTOR_STOP_DONE);
    vector_close(s);
    free(values);
}

/* A server may have nothing yet when the time is up; then that is said, in time, and the next question is answered. */
static void a_remote_store_is_never_later_than_its_deadline(void **state) {
    enum { DIM = 64 };
    const uint32_t n = 2000;
    if (!is_remote(ops_of(state))) skip();
    rng r;
    rng_seed(&r, test_seed());
    float *values = draw(&r, DIM, n), got[DIM], score;
    vector_store *s = open_dim(ops_of(state), DIM);
    fill(s, values, DIM, 0, n);
    candidate *out = malloc(n * sizeof *out);
    for (int round = 0; round < 60; round++) {
        braid_error err = {0};
        size_t count = 1;
        vector_stats stats;
        int64_t begun = clock_mono_ns(&clock_system), allowed = (int64_t)rng_below(&r, 4000000);
        vector_query q = {.values = values, .k = n, .until = begun + allowed};
        int code = vector_search(s, &q, out, &count, &stats, &err);
        assert_true(elapsed_ms(begun) < SOON_MS);
        if (code != BRAID_OK) assert_true(code == BRAID_E_DEADLINE || code == BRAID_E_UNAVAILABLE);
        if (code != BRAID_OK || stats.stopped == VECTOR_STOP_DEADLINE) assert_int_equal(count, 0);
        error_clear(&err);
        uint32_t num = 3;
        deadline until = clock_mono_ns(&clock_system) + (int64_t)rng_below(&r, 600000);
        code =
            round % 2 ? vector_fetch(s, num, until, got, &err) : vector_score(s, values, &num, 1, until, &score, &err);
        assert_true(code == BRAID_OK || code == BRAID_E_DEADLINE || code == BRAID_E_UNAVAILABLE);
    }
    /* The breaker may have opened meanwhile; it tries again by itself. */
    int code = BRAID_E_UNAVAILABLE;
    for (int i = 0; i < LONG_MS / 50 && code != BRAID_OK; i++) {
        braid_error err = {0};
        code = vector_fetch(s, 3, 0, got, &err);
        if (code != BRAID_OK) usleep(50000);
    }
    assert_int_equal(code, BRAID_OK);
    vector_close(s);
    free(values);
    free(out);
}

/* ---- versions ---- */

typedef struct versions_seen {
    uint64_t version[8];
    float first[8];
} versions_seen;

static bool see_version(void *ctx, uint32_t num, uint64_t version, const float *values) {
    versions_seen *seen = ctx;
    assert_true(num < 8);
    seen->version[num] = version;
    seen->first[num] = values[0];
    return true;
}

static void an_older_version_neither_replaces_nor_brings_back(void **state) {
    if (!(ops_of(state)->caps & VECTOR_CAP_VERSIONS)) skip();
    vector_store *s = open_dim(ops_of(state), 2);
    braid_error err = {0};
    float x[2] = {1, 0}, y[2] = {0, 1}, got[2];
    versions_seen seen = {0};
    must(vector_upsert(s, &(vector_entry){.num = 1, .values = x, .version = 5}, 1, &err), &err);
    must(vector_upsert(s, &(vector_entry){.num = 1, .values = y, .version = 4}, 1, &err), &err);
    must(vector_fetch(s, 1, 0, got, &err), &err);
    assert_true(got[0] == 1); /* the older one came too late */
    must(vector_upsert(s, &(vector_entry){.num = 1, .values = y, .version = 6}, 1, &err), &err);
    must(vector_fetch(s, 1, 0, got, &err), &err);
    assert_true(got[0] == 0);
    vector_entry mixed[] = {{.num = 2, .values = y, .version = 9}, {.num = 2, .values = x, .version = 8}};
    must(vector_upsert(s, mixed, 2, &err), &err);
    must(vector_scan(s, see_version, &seen, &err), &err);
    assert_int_equal(seen.version[1], 6);
    assert_int_equal(seen.version[2], 9);
    assert_true(seen.first[2] == 0);
    must(vector_remove(s, (uint32_t[]){1}, 1, &err), &err);
    for (uint64_t late = 4; late <= 6; late++)
        must(vector_upsert(s, &(vector_entry){.num = 1, .values = x, .version = late}, 1, &err), &err);
    assert_int_equal(vector_fetch(s, 1, 0, got, &err), BRAID_E_NOT_FOUND);
    error_clear(&err);
    must(vector_upsert(s, &(vector_entry){.num = 1, .values = x, .version = 7}, 1, &err), &err);
    must(vector_fetch(s, 1, 0, got, &err), &err);
    assert_true(got[0] == 1);
    vector_close(s);
}

/* ---- against the model ---- */

/* Random batches of everything; after each, the store holds what the model holds, and finds what is near. */
static void random_batches_agree_with_a_model(void **state) {
    enum { DIM = 12, NUMS = 400 };
    rng r;
    rng_seed(&r, test_seed());
    float *model = calloc(NUMS * DIM, sizeof *model);
    bool *present = calloc(NUMS, sizeof *present);
    vector_store *s = open_dim(ops_of(state), DIM);
    braid_error err = {0};
    unsigned rounds = is_remote(ops_of(state)) ? 60 / SCALE : 300 / SCALE; /* a server may wait for its clock */
    for (unsigned round = 0; round < rounds; round++) {
        uint32_t nums[40];
        size_t n = 1 + rng_below(&r, 40);
        vector_entry entries[40];
        for (size_t i = 0; i < n; i++) nums[i] = (uint32_t)rng_below(&r, NUMS);
        if (rng_below(&r, 2) == 0) {
            must(vector_remove(s, nums, n, &err), &err);
            for (size_t i = 0; i < n; i++) present[nums[i]] = false;
        } else {
            float *fresh = draw(&r, DIM, n);
            for (size_t i = 0; i < n; i++) {
                entries[i] = (vector_entry){.num = nums[i], .values = fresh + i * DIM};
                memcpy(model + nums[i] * DIM, fresh + i * DIM, DIM * sizeof(float));
                present[nums[i]] = true;
            }
            must(vector_upsert(s, entries, n, &err), &err);
            free(fresh);
        }
        size_t live = 0;
        for (size_t i = 0; i < NUMS; i++) live += present[i];
        check_whole(s);
        float *query = draw(&r, DIM, 1);
        candidate out[NUMS];
        assert_int_equal(search(s, query, NUMS, NULL, out, NULL), live);
        for (size_t i = 0; i < live; i++) {
            assert_true(present[out[i].num]);
            assert_true(fabsf(out[i].score - naive_cosine(query, model + out[i].num * DIM, DIM)) < 1e-5f);
        }
        free(query);
    }
    vector_close(s);
    free(model);
    free(present);
}

/* ---- concurrency ---- */

/* The writer moves items 0..MOVERS-1 between two poles and removes and brings back the others, telling in `state_of`
 * what is settled. An item's state is a counter that is odd while a change is under way; searchers check what they
 * got against the states before and after. */
enum { C_DIM = 24, C_NUMS = 600, C_MOVERS = 100, C_SEARCHERS = 3 };

typedef struct churn {
    vector_store *s;
    const float *values;               /* 2 x C_NUMS rows: an item's vector in its even and odd generations */
    _Atomic uint64_t state_of[C_NUMS]; /* generation << 2 | present << 1 | changing */
    _Atomic bool stop;
    _Atomic uint64_t searches, walks, wrong;
    uint64_t seed;
} churn;

static const float *generation_row(const churn *c, uint32_t num, uint64_t generation) {
    return c->values + ((size_t)num * 2 + (generation & 1)) * C_DIM;
}

static void judge(churn *c, const float *query, const uint64_t *before, const candidate *out, size_t count,
                  size_t least) {
    uint64_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t num = out[i].num;
        for (size_t j = 0; j < i; j++) wrong += out[j].num == num;
        if (num >= C_NUMS) {
            wrong++;
            continue;
        }
        uint64_t after = atomic_load(&c->state_of[num]);
        if (before[num] != after || (before[num] & 1)) { /* changed meanwhile: one whole vector or the other */
            float even = naive_cosine(query, generation_row(c, num, 0), C_DIM);
            float odd = naive_cosine(query, generation_row(c, num, 1), C_DIM);
            wrong += fabsf(out[i].score - even) > 1e-4f && fabsf(out[i].score - odd) > 1e-4f;
            continue;
        }
        wrong += !(before[num] & 2); /* it was gone before the search began */
        wrong += fabsf(out[i].score - naive_cosine(query, generation_row(c, num, before[num] >> 2), C_DIM)) > 1e-4f;
    }
    wrong += count < least;
    atomic_fetch_add(&c->wrong, wrong);
}

static void *search_on(void *ctx) {
    churn *c = ctx;
    rng r;
    rng_seed(&r, c->seed + atomic_fetch_add(&c->searches, 1));
    uint64_t before[C_NUMS];
    candidate out[C_NUMS + 10];
    while (!atomic_load(&c->stop)) {
        braid_error err = {0};
        size_t count = 0;
        float query[C_DIM];
        bitset allow;
        bool filtered = rng_below(&r, 3) == 0;
        /* from the graph, from the graph, from either, everything */
        static const size_t ks[] = {10, 10, C_MOVERS, C_NUMS + 10};
        size_t k = ks[rng_below(&r, 4)], least = k < C_MOVERS ? k : C_MOVERS; /* the movers are always there */
        vector_stats stats = {0};
        for (int i = 0; i < C_DIM; i++) query[i] = (float)rng_normal(&r);
        if (!bitset_init(&allow, C_NUMS)) abort();
        bitset_fill(&allow);
        for (uint32_t i = 0; i < C_NUMS; i++) before[i] = atomic_load(&c->state_of[i]);
        vector_query q = {
            .values = query, .k = k, .ef = (unsigned)k, .allow = filtered ? &allow : NULL, .allow_count = C_NUMS};
        if (vector_search(c->s, &q, out, &count, &stats, &err) != BRAID_OK) atomic_fetch_add(&c->wrong, 1);
        judge(c, query, before, out, count, least);
        if (strcmp(stats.method, "exact") != 0) atomic_fetch_add(&c->walks, 1);
        for (uint32_t i = 0; i < C_MOVERS; i += 9) { /* movers are never missing */
            float got[C_DIM], score = 0;
            if (vector_fetch(c->s, i, 0, got, &err) != BRAID_OK) atomic_fetch_add(&c->wrong, 1);
            if (vector_score(c->s, query, &i, 1, 0, &score, &err) != BRAID_OK || score == SIMILARITY_NONE) {
                atomic_fetch_add(&c->wrong, 1);
            }
        }
        bitset_free(&allow);
        atomic_fetch_add(&c->searches, 1);
    }
    return NULL;
}

static void change_one(churn *c, rng *r) {
    braid_error err = {0};
    uint32_t num = (uint32_t)rng_below(r, C_NUMS);
    uint64_t was = atomic_load(&c->state_of[num]), generation = was >> 2;
    atomic_store(&c->state_of[num], was | 1);
    if (num >= C_MOVERS && (was & 2) && rng_below(r, 2) == 0) {
        must(vector_remove(c->s, &num, 1, &err), &err);
        atomic_store(&c->state_of[num], generation << 2);
    } else {
        generation++;
        upsert_one(c->s, num, generation_row(c, num, generation));
        atomic_store(&c->state_of[num], generation << 2 | 2);
    }
}

static void searches_during_writes_see_whole_items_and_no_dead_ones(void **state) {
    churn *c = calloc(1, sizeof *c);
    rng r;
    c->seed = test_seed();
    rng_seed(&r, c->seed);
    float *values = draw(&r, C_DIM, 2 * C_NUMS);
    c->values = values;
    c->s = open_dim(ops_of(state), C_DIM);
    for (uint32_t i = 0; i < C_NUMS; i++) {
        upsert_one(c->s, i, generation_row(c, i, 0));
        atomic_store(&c->state_of[i], 2);
    }
    settle(c->s);
    pthread_t threads[C_SEARCHERS];
    for (int i = 0; i < C_SEARCHERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, search_on, c), 0);
    int64_t end = clock_mono_ns(&clock_system) + (is_remote(ops_of(state)) ? 5 : 1) * INT64_C(1500000000);
    for (unsigned i = 0; clock_mono_ns(&clock_system) < end; i++) {
        change_one(c, &r);
        if (i % 500 == 0) check_whole(c->s);
    }
    atomic_store(&c->stop, true);
    for (int i = 0; i < C_SEARCHERS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&c->wrong), 0);
    assert_true(atomic_load(&c->searches) > 2 * C_SEARCHERS);
    if (!(vector_caps_of(c->s) & VECTOR_CAP_EXACT)) {
        assert_true(atomic_load(&c->walks) > atomic_load(&c->searches) / 10);
    }
    vector_info info;
    upsert_one(c->s, 0, generation_row(c, 0, 0)); /* nobody searches: everything removed is given back */
    upsert_one(c->s, 0, generation_row(c, 0, 1));
    vector_get_info(c->s, &info);
    if (!is_remote(ops_of(state))) assert_int_equal(info.deleted, 0);
    check_whole(c->s);
    vector_close(c->s);
    free(values);
    free(c);
}

/* ---- what it says of itself ---- */

static void estimates_grow_with_the_work_and_metrics_count_it(void **state) {
    enum { DIM = 16 };
    const uint32_t n = 6000 / SCALE;
    rng r;
    rng_seed(&r, 3);
    float *values = draw(&r, DIM, n);
    metrics *m = metrics_new();
    vector_store *s = open_with(ops_of(state), (vector_options){.dim = DIM, .metrics = m});
    fill(s, values, DIM, 0, n);
    settle(s);
    for (uint32_t i = 0; i < 50; i++) search(s, values + i * DIM, 10, NULL, (candidate[10]){{0}}, NULL);
    vector_cost few, all;
    vector_estimate(s, 10, 0, 5, true, &few);
    vector_estimate(s, 10, 0, 0, false, &all);
    assert_true(few.microseconds > 0 && few.microseconds < all.microseconds);
    assert_true(few.rows == 5 && all.rows == 10);
    assert_string_equal(few.method, "exact");
    buf text;
    buf_init(&text, 0);
    metrics_print(m, &text);
    assert_non_null(strstr(text.data, "vector_search_duration"));
    assert_non_null(strstr(text.data, ops_of(state)->name));
    buf_free(&text);
    vector_close(s);
    metrics_free(m);
    free(values);
}

static void the_registry_knows_its_stores(void **state) {
    assert_ptr_equal(vector_find(ops_of(state)->name), ops_of(state));
    assert_null(vector_find("abacus"));
    assert_int_equal(ops_of(state)->version, 1);
}

int main(void) {
    int failed = 0;
    const vector_ops *ops;
    for (size_t i = 0; (ops = vector_registry(i)) != NULL; i++) {
        void *state = (void *)(uintptr_t)ops;
        struct CMUnitTest tests[] = {
#define CLAIM(f) {#f, f, NULL, NULL, state}
            CLAIM(the_registry_knows_its_stores),
            CLAIM(a_stored_vector_is_its_own_nearest),
            CLAIM(fetch_gives_the_normalised_vector_or_not_found),
            CLAIM(vectors_fetched_together_are_those_fetched_one_by_one),
            CLAIM(an_upsert_replaces_and_a_remove_removes),
            CLAIM(the_last_of_a_number_in_a_batch_counts),
            CLAIM(score_is_the_cosine_or_none),
            CLAIM(scan_sees_each_item_once_and_stops_when_told),
            CLAIM(a_cleared_store_is_empty_and_takes_everything_again),
            CLAIM(nan_infinity_and_zero_never_get_in),
            CLAIM(k_out_of_range_and_bad_options_are_refused),
            CLAIM(k_beyond_the_count_gives_everything_once),
            CLAIM(a_filter_is_exact_and_k_is_filled_from_it),
            CLAIM(a_deadline_stops_a_search_with_what_it_has),
            CLAIM(a_remote_store_is_never_later_than_its_deadline),
            CLAIM(an_older_version_neither_replaces_nor_brings_back),
            CLAIM(random_batches_agree_with_a_model),
            CLAIM(searches_during_writes_see_whole_items_and_no_dead_ones),
            CLAIM(estimates_grow_with_the_work_and_metrics_count_it),
        };
        print_message("store %s\n", ops->name);
        remote_options remote;
        if (is_remote(ops) && !test_vector_remote(ops->name, &remote)) continue;
        failed += cmocka_run_group_tests_name(ops->name, tests, NULL, NULL);
    }
    test_vector_remote_end();
    return failed;
}
