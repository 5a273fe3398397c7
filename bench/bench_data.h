/* The items that the benchmarks load, the same for all of them: clustered vectors, facets from skewed vocabularies.
 *
 * Vectors are clustered like embeddings: 1,000 centres, a point is a centre plus 0.6 noise, dimensions scaled by
 * 1/sqrt(1 + i/32); every item has facets drawn from skewed vocabularies. The sequence is fixed by its seed, so what is
 * measured today and what was measured before are the same data. Each program includes this once; the generator is its
 * own. */
#ifndef BENCH_DATA_H
#define BENCH_DATA_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { CENTRES = 1000 };

static uint64_t state = 20240601;

static inline uint64_t next(void) {
    uint64_t z = (state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static inline double uniform(void) {
    return (double)(next() >> 11) * 0x1p-53;
}

static inline float normal(void) {
    return (float)(sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform()));
}

static float *centres;

static inline void point(float *out, size_t dim) {
    const float *c = centres + (next() % CENTRES) * dim;
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        out[i] = c[i] + 0.6f * normal() / sqrtf(1 + (float)i / 32);
        sum += (double)out[i] * out[i];
    }
    for (size_t i = 0; i < dim; i++) out[i] /= (float)sqrt(sum);
}

static inline void make_centres(size_t dim) {
    centres = malloc(CENTRES * dim * sizeof *centres);
    for (size_t c = 0; c < CENTRES; c++)
        for (size_t i = 0; i < dim; i++) centres[c * dim + i] = normal() / sqrtf(1 + (float)i / 32);
}

/* Zipf-like: low numbers are common. */
static inline unsigned skewed(unsigned n) {
    return (unsigned)((double)n * uniform() * uniform());
}

static inline size_t print_item(char *out, size_t id, const float *v, size_t dim) {
    size_t n = (size_t)sprintf(
        out,
        "{\"item\":{\"id\":\"i%zu\",\"title\":\"Item "
        "%zu\",\"kind\":\"film\",\"year\":%u,\"duration_s\":5400,\"language\":\"%s\",\"genres\":[\"g%u\",\"g%u\"],"
        "\"themes\":[\"t%u\",\"t%u\",\"t%u\"],\"moods\":[\"m%u\"],\"people\":[\"p%u\",\"p%u\"],\"attributes\":{"
        "\"bucket\":%u},\"vectors\":{\"default\":[",
        id, id, 1920 + (unsigned)(next() % 105), next() % 5 < 3 ? "fr" : "en", skewed(30), skewed(30), skewed(300),
        skewed(300), skewed(300), skewed(28), skewed(20000), skewed(20000), (unsigned)(next() % 100));
    for (size_t i = 0; i < dim; i++) n += (size_t)sprintf(out + n, "%s%.6g", i ? "," : "", (double)v[i]);
    return n + (size_t)sprintf(out + n, "]}}}\n");
}

#endif
