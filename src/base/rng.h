/* Random numbers, passed in and replayable: xoshiro256** seeded by splitmix64 (Blackman & Vigna 2018). Not for secrets.
 * One thread at a time per state. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

typedef struct rng {
    uint64_t s[4];
} rng;

void rng_seed(rng *r, uint64_t seed);
uint64_t rng_next(rng *r);
double rng_uniform(rng *r);                 /* [0, 1) */
uint64_t rng_below(rng *r, uint64_t bound); /* 0..bound-1, unbiased; bound >= 1 */
double rng_normal(rng *r);                  /* N(0, 1), polar method */
double rng_gamma(rng *r, double shape);     /* shape > 0, scale 1 (Marsaglia & Tsang 2000) */
double rng_beta(rng *r, double a, double b);

#endif
