/* Recall as a property of answers: what the index serves against what exact scoring of the same items serves, through
 * braid.h, at no filter and at filters that keep 50, 10 and 1 in a hundred, scattered over the clusters of the data or
 * whole clusters of it (the hard case: a filter that empties the neighbourhood of the query). Membership under a filter
 * is exact, k is filled, and 100,000 exclusions in one request change neither. */
#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "engine_test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { ITEMS = 2000, QUERIES = 20 };
#else
enum { ITEMS = 10000, QUERIES = 60 };
#endif
enum { DIM = 32, CLUSTERS = 100, K = 10, PER_THEME = 20, EXCLUDED = 100000, LEFT = 60 };
static const double RECALL_MIN = 0.95;

typedef struct pair {
    fixture hnsw, flat;
} pair;

static float vectors[ITEMS][DIM], centres[CLUSTERS][DIM];
static uint64_t seed;

static uint64_t draw(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Roughly normal: a sum of twelve. */
static float noise(void) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += (double)(draw() >> 11) / 9007199254740992.0;
    return (float)sum;
}

/* What an item is follows from its number alone, so that an answer can be judged without asking. */
static int cluster_of(int i) {
    return i % CLUSTERS;
}

static int scattered_of(int i) {
    return (int)((uint32_t)i * 2654435761U >> 8) % 100;
}

static void put_items(fixture *f) {
    char *text = malloc((size_t)1000 * (DIM * 14 + 300));
    for (int from = 0; from < ITEMS; from += 1000) {
        size_t n = 0;
        for (int i = from; i < from + 1000 && i < ITEMS; i++) {
            n += (size_t)sprintf(text + n,
                                 "{\"id\":\"i%d\",\"title\":\"T%d\",\"themes\":[\"t%d\"],\"attributes\":{\"cluster\":%"
                                 "d,\"scattered\":%d},\"vectors\":{\"default\":[",
                                 i, i, i / PER_THEME, cluster_of(i), scattered_of(i));
            for (int d = 0; d < DIM; d++) n += (size_t)sprintf(text + n, "%s%.5f", d ? "," : "", (double)vectors[i][d]);
            n += (size_t)sprintf(text + n, "]}}\n");
        }
        put_all(f, text);
    }
    free(text);
    settle(f);
}

static int setup(void **state) {
    static const char *const hnsw[] = {
        "vector.dimension", "32", "query.deadline_ms", "60000", "vector.store", "hnsw", NULL};
    static const char *const flat[] = {
        "vector.dimension", "32", "query.deadline_ms", "60000", "vector.store", "flat", NULL};
    const char *given = getenv("BRAID_SEED");
    pair *p = calloc(1, sizeof *p);
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    seed += seed == 0;
    print_message("seed %" PRIu64 "\n", seed);
    for (int c = 0; c < CLUSTERS; c++)
        for (int d = 0; d < DIM; d++) centres[c][d] = noise();
    for (int i = 0; i < ITEMS; i++)
        for (int d = 0; d < DIM; d++) vectors[i][d] = centres[cluster_of(i)][d] + 0.5f * noise();
    fixture_start(&p->hnsw, hnsw);
    fixture_start(&p->flat, flat);
    put_items(&p->hnsw);
    put_items(&p->flat);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    pair *p = *state;
    fixture_end(&p->hnsw);
    fixture_end(&p->flat);
    free(p);
    return 0;
}

/* ---- asking ---- */
typedef struct found {
    int at[K];
    size_t count;
    char method[16]; /* of the vector step, when the JSON is looked at */
} found;

static found run(fixture *f, const char *request, const float *vector) {
    braid_query *q;
    braid_result *r;
    braid_error err = {0};
    found x = {.count = 0};
    if (braid_query_new(f->db, BRAID_SEARCH, request, 0, &q, &err)) fail_msg("%.200s: %s", request, err.message);
    if (vector && braid_query_bind_vector(q, vector, DIM, &err)) fail_msg("%s", err.message);
    if (braid_run(f->db, q, &r, &err)) fail_msg("%.200s: %s", request, err.message);
    assert_string_equal(braid_result_degraded(r), "");
    for (size_t i = 0; i < braid_result_count(r); i++) {
        braid_hit h;
        assert_int_equal(braid_result_hit(r, i, &h), BRAID_OK);
        assert_true(x.count < K);
        x.at[x.count++] = atoi(h.id + 1);
    }
    const char *step = strstr(braid_result_json(r), "{\"step\":\"vector\",\"method\":\"");
    if (step) sscanf(step, "{\"step\":\"vector\",\"method\":\"%15[^\"]", x.method);
    braid_result_free(r);
    braid_query_free(q);
    return x;
}

static bool in(const found *x, int item) {
    for (size_t i = 0; i < x->count; i++)
        if (x->at[i] == item) return true;
    return false;
}

typedef struct cell {
    const char *filter;
    int cluster_below, scattered_below; /* members: numbers below these; 100: no filter */
} cell;

static const cell cells[] = {
    {"", 100, 100},
    {",\"filter\":{\"attributes.scattered\":{\"lt\":50}}", 100, 50},
    {",\"filter\":{\"attributes.scattered\":{\"lt\":10}}", 100, 10},
    {",\"filter\":{\"attributes.scattered\":0}", 100, 1},
    {",\"filter\":{\"attributes.cluster\":{\"lt\":50}}", 50, 100},
    {",\"filter\":{\"attributes.cluster\":{\"lt\":10}}", 10, 100},
    {",\"filter\":{\"attributes.cluster\":0}", 1, 100},
};

static bool is_member(const cell *c, int i) {
    return cluster_of(i) < c->cluster_below && scattered_of(i) < c->scattered_below;
}

static size_t member_count(const cell *c) {
    size_t n = 0;
    for (int i = 0; i < ITEMS; i++) n += is_member(c, i);
    return n;
}

/* Near an item of any cluster, or between two. */
static void draw_query(float out[DIM]) {
    int a = (int)(draw() % ITEMS), b = draw() % 2 ? a : (int)(draw() % ITEMS);
    for (int d = 0; d < DIM; d++) out[d] = (vectors[a][d] + vectors[b][d]) / 2 + 0.3f * noise();
}

static void expect_members(const found *x, const cell *c, const char *request) {
    size_t members = member_count(c), wanted = members < K ? members : K;
    if (x->count != wanted) fail_msg("%s: %zu came instead of %zu", request, x->count, wanted);
    for (size_t i = 0; i < x->count; i++) {
        if (!is_member(c, x->at[i])) fail_msg("%s: i%d is not a member", request, x->at[i]);
        for (size_t j = 0; j < i; j++) assert_int_not_equal(x->at[i], x->at[j]);
    }
}

/* Recall of a strategy in one cell. `by_item`: asks with "like" instead of a vector. */
static double recall_in(pair *p, const cell *c, const char *strategy, bool by_item, unsigned *by_index) {
    size_t hits = 0, of = 0;
    for (int i = 0; i < QUERIES; i++) {
        char request[300], target[32] = "\"text\":\"x\"";
        float vector[DIM];
        draw_query(vector);
        if (by_item) snprintf(target, sizeof target, "\"like\":\"i%d\"", (int)(draw() % ITEMS));
        snprintf(request, sizeof request, "{%s,\"k\":%d,\"strategy\":\"%s\",\"cache\":false%s}", target, K, strategy,
                 c->filter);
        found near = run(&p->hnsw, request, by_item ? NULL : vector),
              exact = run(&p->flat, request, by_item ? NULL : vector);
        expect_members(&near, c, request);
        expect_members(&exact, c, request);
        *by_index += strstr(near.method, "hnsw") != NULL;
        of += exact.count;
        for (size_t r = 0; r < exact.count; r++) hits += in(&near, exact.at[r]);
    }
    return (double)hits / (double)of;
}

static void expect_recall(pair *p, const char *strategy, bool by_item) {
    unsigned by_index = 0;
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        double recall = recall_in(p, &cells[i], strategy, by_item, &by_index);
        print_message("%-17s %-48s recall@%d %.3f\n", strategy, cells[i].filter[0] ? cells[i].filter + 10 : "no filter",
                      K, recall);
        if (!(recall >= RECALL_MIN)) fail_msg("%s%s: recall@%d is %.3f", strategy, cells[i].filter, K, recall);
    }
    assert_true(by_index > 0); /* else two exact searches were compared */
}

/* ---- claims ---- */
static void the_index_finds_the_true_neighbours_at_every_selectivity(void **state) {
    expect_recall(*state, "vector_only", false);
}

static void weaving_in_the_graph_loses_none_of_them(void **state) {
    expect_recall(*state, "hybrid_parallel", true);
    expect_recall(*state, "hybrid_sequential", true);
}

/* The exact answer is judged itself: by scoring every item here. */
static void the_exact_store_is_exact(void **state) {
    pair *p = *state;
    for (int i = 0; i < QUERIES; i++) {
        float q[DIM];
        double score[ITEMS], norm_q = 0;
        draw_query(q);
        found x = run(&p->flat, "{\"text\":\"x\",\"k\":10,\"strategy\":\"vector_only\",\"cache\":false}", q);
        for (int d = 0; d < DIM; d++) norm_q += (double)q[d] * q[d];
        for (int n = 0; n < ITEMS; n++) {
            double dot = 0, norm = 0;
            for (int d = 0; d < DIM; d++)
                dot += (double)q[d] * vectors[n][d], norm += (double)vectors[n][d] * vectors[n][d];
            score[n] = dot / sqrt(norm * norm_q);
        }
        for (int r = 0; r < K; r++) {
            int better = 0;
            for (int n = 0; n < ITEMS; n++) better += score[n] > score[x.at[r]] + 1e-4;
            assert_true(better <= r);
        }
    }
}

/* Ids that exist and ids that do not; all but LEFT items of the catalogue, spread over it. */
static char *exclusions(bool (*keep)(int i)) {
    char *text = malloc((size_t)EXCLUDED * 16 + 64);
    size_t n = (size_t)sprintf(text, ",\"exclude\":["), count = 0;
    for (int i = 0; i < ITEMS; i++)
        if (!keep(i)) n += (size_t)sprintf(text + n, "%s\"i%d\"", count++ ? "," : "", i);
    for (int i = 0; count < EXCLUDED; i++, count++) n += (size_t)sprintf(text + n, ",\"no-%d\"", i);
    sprintf(text + n, "]");
    return text;
}

static bool keep_few(int i) {
    return i % (ITEMS / LEFT) == 7;
}

static bool keep_all_but_few(int i) {
    return i % (ITEMS / LEFT) != 7;
}

static void ask_without(pair *p, bool (*keep)(int i)) {
    char *list = exclusions(keep), *request = malloc(strlen(list) + 200);
    size_t hits = 0, of = 0;
    double longest = 0;
    sprintf(request, "{\"text\":\"x\",\"k\":%d,\"strategy\":\"vector_only\",\"cache\":false%s}", K, list);
    for (int i = 0; i < 5; i++) {
        float vector[DIM];
        struct timespec a, b;
        draw_query(vector);
        clock_gettime(CLOCK_MONOTONIC, &a);
        found near = run(&p->hnsw, request, vector);
        clock_gettime(CLOCK_MONOTONIC, &b);
        double ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
        found exact = run(&p->flat, request, vector);
        assert_int_equal(near.count, K);
        assert_int_equal(exact.count, K);
        for (size_t r = 0; r < K; r++) {
            assert_true(keep(near.at[r]) && keep(exact.at[r]));
            hits += in(&near, exact.at[r]);
            of++;
        }
        if (ms > longest) longest = ms;
    }
    print_message("%d exclusions: parsed and answered in %.1f ms at most\n", EXCLUDED, longest);
    assert_true((double)hits >= RECALL_MIN * (double)of);
    free(request);
    free(list);
}

static void a_hundred_thousand_exclusions_are_answered_right(void **state) {
    ask_without(*state, keep_few);
    ask_without(*state, keep_all_but_few);
}

/* Deleting what is nearest, and writing it anew, must not cost recall. */
static void recall_survives_deletions_and_reopening(void **state) {
    pair *p = *state;
    braid_error err = {0};
    fixture *both[] = {&p->hnsw, &p->flat};
    for (size_t b = 0; b < 2; b++) {
        char *text = malloc((size_t)ITEMS * 32);
        size_t n = 0;
        for (int i = 3; i < ITEMS; i += 4) n += (size_t)sprintf(text + n, "{\"delete\":{\"item\":\"i%d\"}}\n", i);
        put_all(both[b], text);
        free(text);
        settle(both[b]);
    }
    static const char *const again[] = {"query.deadline_ms", "60000", NULL};
    braid_close(p->hnsw.db);
    if (fixture_open(&p->hnsw, again, &err)) fail_msg("%s", err.message);
    size_t hits = 0, of = 0;
    for (int i = 0; i < QUERIES; i++) {
        static const char request[] = "{\"text\":\"x\",\"k\":10,\"strategy\":\"vector_only\",\"cache\":false}";
        float vector[DIM];
        draw_query(vector);
        found near = run(&p->hnsw, request, vector), exact = run(&p->flat, request, vector);
        assert_int_equal(near.count, K);
        for (size_t r = 0; r < K; r++) {
            assert_int_not_equal(near.at[r] % 4, 3);
            hits += in(&near, exact.at[r]);
            of++;
        }
    }
    print_message("after deleting a quarter and reopening: recall@%d %.3f\n", K, (double)hits / (double)of);
    assert_true((double)hits >= RECALL_MIN * (double)of);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exact_store_is_exact),
        cmocka_unit_test(the_index_finds_the_true_neighbours_at_every_selectivity),
        cmocka_unit_test(weaving_in_the_graph_loses_none_of_them),
        cmocka_unit_test(a_hundred_thousand_exclusions_are_answered_right),
        cmocka_unit_test(recall_survives_deletions_and_reopening),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
