/* Distance kernels: the inner product, once in plain C and once for each instruction set.
 *
 * Each variant carries its own target attribute, so the binary runs on any x86-64 and picks when a store opens, by
 * CPUID (`supported`). The scalar loop is the reference; tests hold the others against it at every length from 1 to
 * 260.
 *
 * Several accumulators break the chain of dependent additions (latency 4, two FMAs a cycle: eight are wanted).
 * Rejected: compiling for one CPU (-march=native), and function pointers in mutable globals. */
#include "vector/kernels.h"

#include <string.h>

static bool always(void) {
    return true;
}

static float dot_scalar(const float *a, const float *b, uint32_t dim) {
    float sum[4] = {0, 0, 0, 0};
    uint32_t i = 0;
    for (; i + 4 <= dim; i += 4) {
        for (uint32_t j = 0; j < 4; j++) sum[j] += a[i + j] * b[i + j];
    }
    for (; i < dim; i++) sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void dot4_scalar(const float *query, const float *const rows[4], uint32_t dim, float out[4]) {
    for (int r = 0; r < 4; r++) out[r] = dot_scalar(query, rows[r], dim);
}

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET_AVX2   __attribute__((target("avx2,fma")))
#define TARGET_AVX512 __attribute__((target("avx512f")))

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f");
}

TARGET_AVX2 static inline float sum8(__m256 v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

TARGET_AVX2 static float dot_avx2(const float *a, const float *b, uint32_t dim) {
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    uint32_t i = 0;
    for (; i + 32 <= dim; i += 32) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
    }
    for (; i + 8 <= dim; i += 8) s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
    float sum = sum8(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
    for (; i < dim; i++) sum += a[i] * b[i];
    return sum;
}

TARGET_AVX2 static void dot4_avx2(const float *query, const float *const rows[4], uint32_t dim, float out[4]) {
    const float *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    __m256 a0 = _mm256_setzero_ps(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    uint32_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        __m256 q0 = _mm256_loadu_ps(query + i), q1 = _mm256_loadu_ps(query + i + 8);
        a0 = _mm256_fmadd_ps(q0, _mm256_loadu_ps(r0 + i), a0);
        a1 = _mm256_fmadd_ps(q0, _mm256_loadu_ps(r1 + i), a1);
        a2 = _mm256_fmadd_ps(q0, _mm256_loadu_ps(r2 + i), a2);
        a3 = _mm256_fmadd_ps(q0, _mm256_loadu_ps(r3 + i), a3);
        b0 = _mm256_fmadd_ps(q1, _mm256_loadu_ps(r0 + i + 8), b0);
        b1 = _mm256_fmadd_ps(q1, _mm256_loadu_ps(r1 + i + 8), b1);
        b2 = _mm256_fmadd_ps(q1, _mm256_loadu_ps(r2 + i + 8), b2);
        b3 = _mm256_fmadd_ps(q1, _mm256_loadu_ps(r3 + i + 8), b3);
    }
    out[0] = sum8(_mm256_add_ps(a0, b0));
    out[1] = sum8(_mm256_add_ps(a1, b1));
    out[2] = sum8(_mm256_add_ps(a2, b2));
    out[3] = sum8(_mm256_add_ps(a3, b3));
    for (; i < dim; i++) {
        for (int r = 0; r < 4; r++) out[r] += query[i] * rows[r][i];
    }
}

/* The last 1..15 floats are read under a mask: lanes outside are neither read nor added. */
TARGET_AVX512 static float dot_avx512(const float *a, const float *b, uint32_t dim) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    uint32_t i = 0;
    for (; i + 64 <= dim; i += 64) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
    }
    for (; i + 16 <= dim; i += 16) s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
    if (i < dim) {
        __mmask16 rest = (__mmask16)((1u << (dim - i)) - 1);
        s1 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(rest, a + i), _mm512_maskz_loadu_ps(rest, b + i), s1);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

TARGET_AVX512 static void dot4_avx512(const float *query, const float *const rows[4], uint32_t dim, float out[4]) {
    const float *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    __m512 a0 = _mm512_setzero_ps(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    uint32_t i = 0;
    for (; i + 32 <= dim; i += 32) {
        __m512 q0 = _mm512_loadu_ps(query + i), q1 = _mm512_loadu_ps(query + i + 16);
        a0 = _mm512_fmadd_ps(q0, _mm512_loadu_ps(r0 + i), a0);
        a1 = _mm512_fmadd_ps(q0, _mm512_loadu_ps(r1 + i), a1);
        a2 = _mm512_fmadd_ps(q0, _mm512_loadu_ps(r2 + i), a2);
        a3 = _mm512_fmadd_ps(q0, _mm512_loadu_ps(r3 + i), a3);
        b0 = _mm512_fmadd_ps(q1, _mm512_loadu_ps(r0 + i + 16), b0);
        b1 = _mm512_fmadd_ps(q1, _mm512_loadu_ps(r1 + i + 16), b1);
        b2 = _mm512_fmadd_ps(q1, _mm512_loadu_ps(r2 + i + 16), b2);
        b3 = _mm512_fmadd_ps(q1, _mm512_loadu_ps(r3 + i + 16), b3);
    }
    for (; i < dim; i += 16) {
        uint32_t left = dim - i;
        __mmask16 mask = left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1);
        __m512 q = _mm512_maskz_loadu_ps(mask, query + i);
        a0 = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(mask, r0 + i), a0);
        a1 = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(mask, r1 + i), a1);
        a2 = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(mask, r2 + i), a2);
        a3 = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(mask, r3 + i), a3);
    }
    out[0] = _mm512_reduce_add_ps(_mm512_add_ps(a0, b0));
    out[1] = _mm512_reduce_add_ps(_mm512_add_ps(a1, b1));
    out[2] = _mm512_reduce_add_ps(_mm512_add_ps(a2, b2));
    out[3] = _mm512_reduce_add_ps(_mm512_add_ps(a3, b3));
}
#endif

typedef struct kernel_row {
    vector_kernel kernel; /* first: a vector_kernel of the table is a kernel_row */
    vector_dot4_fn *dot4;
} kernel_row;

static const kernel_row kernel_rows[] = {
#if defined(__x86_64__)
    {{"avx512", has_avx512, dot_avx512}, dot4_avx512},
    {{"avx2", has_avx2, dot_avx2}, dot4_avx2},
#endif
    {{"scalar", always, dot_scalar}, dot4_scalar},
};

const vector_kernel *vector_kernel_at(size_t i) {
    return i < sizeof kernel_rows / sizeof kernel_rows[0] ? &kernel_rows[i].kernel : NULL;
}

const vector_kernel *vector_kernel_find(const char *name) {
    bool any = name == NULL || strcmp(name, "auto") == 0;
    const vector_kernel *k;
    for (size_t i = 0; (k = vector_kernel_at(i)) != NULL; i++) {
        if ((any || strcmp(name, k->name) == 0) && k->supported()) return k;
    }
    return NULL;
}

vector_dot4_fn *vector_kernel_dot4(const vector_kernel *kernel) {
    return ((const kernel_row *)kernel)->dot4;
}
