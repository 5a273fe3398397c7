/* pcg64: the random numbers of numpy.random.default_rng, so that a split that was described by a seed can be made
 * again.
 *
 * A SeedSequence spreads the seed over the state, PCG64 (XSL-RR, 128 bits of state) draws, and a permutation is
 * numpy's: Fisher-Yates from the end, with bounded numbers made of masked halves of the draws. Not for secrets. */
#ifndef CLI_PCG64_H
#define CLI_PCG64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

__extension__ typedef unsigned __int128 pcg64_wide;

typedef struct pcg64 {
    pcg64_wide state, step;
    uint32_t half; /* the upper half of a draw whose lower half is used */
    bool has_half;
} pcg64;

void pcg64_seed(pcg64 *g, uint64_t seed);
uint64_t pcg64_next(pcg64 *g);
/* default_rng(seed).permutation(n): the numbers 0..n-1 in a random order. */
void pcg64_permutation(pcg64 *g, uint32_t *out, uint32_t n);

#endif
