/* bench_vector N DIM [QUERIES [FILE]]: what the graph index does on N vectors of DIM dimensions, one thread.
 *
 * The data has the shape of sentence embeddings: N / 100 centres drawn from a normal distribution whose scale falls
 * with the dimension as 1/sqrt(1 + i/32); a point is a random centre plus 0.6 times noise of the same shape,
 * normalised; queries are fresh points. Prints build rate, then QPS, p50, p99, recall@10 and distances a query for
 * several ef, without a filter and at 50, 10 and 1 % selectivity, then the times to save and load. FILE is kept, and
 * loaded instead of building when it is there: for tuning the search. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vector/vector.h"

enum { K = 10, BATCH = 1000, REPEAT = 3 };

typedef struct bench {
    uint32_t n, dim, queries;
    float *points, *asks, *centres;
    float *scale;
    uint32_t centres_n;
    rng r;
    vector_store *hnsw, *flat;
    candidate *truth; /* queries x K */
    double *us;
} bench;

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(void) {
    return (double)clock_mono_ns(&clock_system) / 1e9;
}

_Noreturn static void fail(const char *what, const braid_error *err) {
    fprintf(stderr, "bench_vector: %s: %s\n", what, err->message);
    exit(1);
}

static void *need(size_t count, size_t size) {
    void *p = calloc(count, size);
    if (p == NULL) {
        fputs("bench_vector: memory ran out\n", stderr);
        exit(1);
    }
    return p;
}

static void draw_points(bench *b, float *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        float *p = out + (size_t)i * b->dim;
        const float *c = b->centres + (size_t)rng_below(&b->r, b->centres_n) * b->dim;
        for (uint32_t j = 0; j < b->dim; j++) p[j] = c[j] + 0.6f * b->scale[j] * (float)rng_normal(&b->r);
        vector_normalise(p, b->dim);
    }
}

static void draw(bench *b) {
    rng_seed(&b->r, 20240601);
    b->centres_n = b->n / 100 > 0 ? b->n / 100 : 1;
    b->centres = need((size_t)b->centres_n * b->dim, sizeof(float));
    b->scale = need(b->dim, sizeof(float));
    b->points = need((size_t)b->n * b->dim, sizeof(float));
    b->asks = need((size_t)b->queries * b->dim, sizeof(float));
    for (uint32_t j = 0; j < b->dim; j++) b->scale[j] = 1.0f / sqrtf(1.0f + (float)j / 32.0f);
    for (uint32_t i = 0; i < b->centres_n; i++) {
        for (uint32_t j = 0; j < b->dim; j++) {
            b->centres[(size_t)i * b->dim + j] = b->scale[j] * (float)rng_normal(&b->r);
        }
    }
    draw_points(b, b->points, b->n);
    draw_points(b, b->asks, b->queries);
}

static vector_store *open_store(const bench *b, const char *name) {
    braid_error err = {0};
    vector_options options = {.dim = b->dim, .kernel = "auto", .seed = 1};
    vector_store *s;
    if (vector_open(vector_find(name), &options, &s, &err) != BRAID_OK) fail("open", &err);
    return s;
}

static void fill(const bench *b, vector_store *s, bool tell) {
    braid_error err = {0};
    vector_entry entries[BATCH];
    double cpu = cpu_seconds(), wall = seconds();
    for (uint32_t i = 0; i < b->n; i += BATCH) {
        uint32_t some = b->n - i < BATCH ? b->n - i : BATCH;
        for (uint32_t j = 0; j < some; j++)
            entries[j] = (vector_entry){.num = i + j, .values = b->points + (size_t)(i + j) * b->dim};
        if (vector_upsert(s, entries, some, &err) != BRAID_OK) fail("upsert", &err);
    }
    cpu = cpu_seconds() - cpu;
    if (tell) printf("build: %.1f s CPU, %.1f s, %.0f vectors/s\n", cpu, seconds() - wall, b->n / cpu);
}

static size_t ask(const bench *b, vector_store *s, uint32_t i, unsigned ef, const bitset *allow, uint64_t members,
                  candidate *out, vector_stats *stats) {
    braid_error err = {0};
    size_t count;
    vector_query q = {.values = b->asks + (size_t)i * b->dim, .k = K, .ef = ef, .allow = allow, .allow_count = members};
    if (vector_search(s, &q, out, &count, stats, &err) != BRAID_OK) fail("search", &err);
    return count;
}

static void find_truth(bench *b, const bitset *allow, uint64_t members) {
    vector_stats stats;
    for (uint32_t i = 0; i < b->queries; i++) ask(b, b->flat, i, 0, allow, members, b->truth + (size_t)i * K, &stats);
}

static unsigned hits(const candidate *truth, const candidate *out, size_t count) {
    unsigned n = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < K; j++) n += truth[j].num == out[i].num;
    }
    return n;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(bench *b, unsigned ef, const bitset *allow, uint64_t members) {
    uint64_t distances = 0, found = 0;
    size_t n = 0, exact = 0;
    double cpu = cpu_seconds();
    for (unsigned round = 0; round < REPEAT; round++) {
        for (uint32_t i = 0; i < b->queries; i++) {
            candidate out[K];
            vector_stats stats;
            double start = seconds();
            size_t count = ask(b, b->hnsw, i, ef, allow, members, out, &stats);
            b->us[n++] = (seconds() - start) * 1e6;
            distances += stats.distances;
            exact += stats.method[0] == 'e';
            found += hits(b->truth + (size_t)i * K, out, count);
        }
    }
    cpu = cpu_seconds() - cpu;
    qsort(b->us, n, sizeof *b->us, by_value);
    printf("  ef %4u: %7.0f QPS, p50 %7.0f us, p99 %7.0f us, recall@10 %.4f, %6.0f distances, %3.0f %% exact\n", ef,
           (double)n / cpu, b->us[n / 2], b->us[n * 99 / 100], (double)found / (double)(n * K),
           (double)distances / (double)n, 100.0 * (double)exact / (double)n);
}

static void measure_filter(bench *b, unsigned percent) {
    bitset allow;
    if (!bitset_init(&allow, b->n)) exit(1);
    for (uint32_t i = 0; i < b->n; i++) {
        if (rng_below(&b->r, 100) < percent) bitset_set(&allow, i);
    }
    uint64_t members = bitset_count(&allow);
    printf("filter %u %%:\n", percent);
    find_truth(b, &allow, members);
    measure(b, 64, &allow, members);
    measure(b, 128, &allow, members);
    bitset_free(&allow);
}

static void measure_file(bench *b, const char *path) {
    braid_error err = {0};
    uint64_t lsn;
    double start = seconds();
    if (vector_save(b->hnsw, path, 1, 1, &err) != BRAID_OK) fail("save", &err);
    double saved = seconds() - start;
    vector_store *again = open_store(b, "hnsw");
    start = seconds();
    if (vector_load(again, path, 1, &lsn, &err) != BRAID_OK) fail("load", &err);
    printf("save %.3f s, load %.3f s\n", saved, seconds() - start);
    vector_close(again);
}

int main(int argc, char **argv) {
    static const unsigned efs[] = {10, 16, 24, 32, 48, 64, 96, 128, 200};
    bench b = {.n = argc > 1 ? (uint32_t)atoi(argv[1]) : 10000,
               .dim = argc > 2 ? (uint32_t)atoi(argv[2]) : 384,
               .queries = argc > 3 ? (uint32_t)atoi(argv[3]) : 200};
    const char *path = argc > 4 ? argv[4] : "bench_vector.tmp";
    if (b.n == 0 || b.dim == 0 || b.queries == 0) {
        fputs("usage: bench_vector N DIM [QUERIES [FILE]]\n", stderr);
        return 2;
    }
    draw(&b);
    b.truth = need((size_t)b.queries * K, sizeof *b.truth);
    b.us = need((size_t)b.queries * REPEAT, sizeof *b.us);
    b.hnsw = open_store(&b, "hnsw");
    b.flat = open_store(&b, "flat");
    fill(&b, b.flat, false);
    if (argc <= 4 || vector_load(b.hnsw, path, 1, &(uint64_t){0}, &(braid_error){0}) != BRAID_OK) {
        fill(&b, b.hnsw, true);
    }
    vector_info info;
    vector_get_info(b.hnsw, &info);
    printf("%u x %u, kernel %s, %.0f MB, %" PRIu64 " levels\n", b.n, b.dim, info.kernel, (double)info.bytes / 1e6,
           info.max_level + 1);
    double start = seconds();
    find_truth(&b, NULL, 0);
    printf("exact: %.0f us a query\nno filter:\n", (seconds() - start) * 1e6 / b.queries);
    for (size_t i = 0; i < sizeof efs / sizeof efs[0]; i++) measure(&b, efs[i], NULL, 0);
    measure_filter(&b, 50);
    measure_filter(&b, 10);
    measure_filter(&b, 1);
    measure_file(&b, path);
    if (argc <= 4) unlink(path);
    vector_close(b.hnsw);
    vector_close(b.flat);
    free(b.points);
    free(b.asks);
    free(b.centres);
    free(b.scale);
    free(b.truth);
    free(b.us);
    return 0;
}
