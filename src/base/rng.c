/* Random numbers.
 *
 * xoshiro256** (Blackman & Vigna 2018) with its state filled by splitmix64, as its authors advise: any seed
 * will do, 0 too. One call costs a nanosecond, which matters to Thompson sampling (one beta or normal draw a
 * candidate and request).
 *
 * Gamma is Marsaglia & Tsang (2000) for shape >= 1 and, below, G(shape + 1) * U^(1/shape). For small shapes
 * that power underflows, so beta compares logarithms there; otherwise a = b = 0.001 would give 0/0. The polar
 * method throws its second normal away rather than keep it, so that a state is four words and can be copied. */
#include "rng.h"

#include <math.h>

#include "error.h"

static uint64_t rng_rotl(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

void rng_seed(rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) { /* splitmix64 never gives four zeros in a row, the one state that is forbidden */
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        r->s[i] = z ^ (z >> 31);
    }
}

uint64_t rng_next(rng *r) {
    uint64_t *s = r->s, result = rng_rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rng_rotl(s[3], 45);
    return result;
}

double rng_uniform(rng *r) {
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

/* (0, 1]: for logarithms. */
static double rng_uniform_positive(rng *r) {
    return 1.0 - rng_uniform(r);
}

/* The high word of a 128-bit product is nearly uniform; drawing again for the few low words that would favour
 * some results makes it exact (Lemire 2019). */
uint64_t rng_below(rng *r, uint64_t bound) {
    BRAID_ASSERT(bound >= 1);
    unsigned __int128 product = (unsigned __int128)rng_next(r) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = -bound % bound;
        while ((uint64_t)product < threshold) product = (unsigned __int128)rng_next(r) * bound;
    }
    return (uint64_t)(product >> 64);
}

double rng_normal(rng *r) {
    double u, v, s;
    do {
        u = 2.0 * rng_uniform(r) - 1.0;
        v = 2.0 * rng_uniform(r) - 1.0;
        s = u * u + v * v;
    } while (s >= 1.0 || s == 0.0);
    return u * sqrt(-2.0 * log(s) / s);
}

/* shape >= 1. */
static double rng_gamma_large(rng *r, double shape) {
    double d = shape - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = rng_normal(r), v = 1.0 + c * x;
        if (v <= 0.0) continue;
        v = v * v * v;
        if (log(rng_uniform_positive(r)) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
}

double rng_gamma(rng *r, double shape) {
    BRAID_ASSERT(shape > 0.0);
    if (shape >= 1.0) return rng_gamma_large(r, shape);
    double g = rng_gamma_large(r, shape + 1.0);
    return g * pow(rng_uniform_positive(r), 1.0 / shape);
}

static double rng_log_gamma(rng *r, double shape) {
    if (shape >= 1.0) return log(rng_gamma_large(r, shape));
    double g = rng_gamma_large(r, shape + 1.0);
    return log(g) + log(rng_uniform_positive(r)) / shape;
}

double rng_beta(rng *r, double a, double b) {
    BRAID_ASSERT(a > 0.0 && b > 0.0);
    if (a >= 1.0 && b >= 1.0) {
        double x = rng_gamma_large(r, a), y = rng_gamma_large(r, b);
        return x / (x + y);
    }
    double log_x = rng_log_gamma(r, a), log_y = rng_log_gamma(r, b);
    return 1.0 / (1.0 + exp(log_y - log_x));
}
