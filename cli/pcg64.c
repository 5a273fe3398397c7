/* The generator of numpy (pcg64.h). Its parts, in numpy's names: SeedSequence(seed).generate_state(4, uint64), PCG64,
 * random_interval and Generator.shuffle. The tests hold numbers that numpy 2.4 drew. */
#include "pcg64.h"

enum { POOL = 4, WORDS = 8 }; /* words of 32 bits: of the pool, and of the state it makes */

/* ---- SeedSequence: O'Neill's seed_seq_fe, a hash whose multiplier moves on with every word ---- */

static uint32_t hash(uint32_t value, uint32_t *multiplier) {
    value ^= *multiplier;
    *multiplier *= UINT32_C(0x931e8875);
    value *= *multiplier;
    return value ^ (value >> 16);
}

static uint32_t mix(uint32_t x, uint32_t y) {
    uint32_t mixed = x * UINT32_C(0xca01f9dd) - y * UINT32_C(0x4973f715);
    return mixed ^ (mixed >> 16);
}

static void spread(uint64_t seed, uint32_t out[WORDS]) {
    uint32_t pool[POOL], multiplier = UINT32_C(0x43b0d7e5);
    for (unsigned i = 0; i < POOL; i++) /* the seed is as many words as it needs; the rest of the pool hashes zeros */
        pool[i] = hash(i < 2 ? (uint32_t)(seed >> (32 * i)) : 0, &multiplier);
    for (unsigned from = 0; from < POOL; from++)
        for (unsigned to = 0; to < POOL; to++)
            if (from != to) pool[to] = mix(pool[to], hash(pool[from], &multiplier));
    multiplier = UINT32_C(0x8b51f9dd);
    for (unsigned i = 0; i < WORDS; i++) {
        uint32_t value = pool[i % POOL] ^ multiplier;
        multiplier *= UINT32_C(0x58f38ded);
        value *= multiplier;
        out[i] = value ^ (value >> 16);
    }
}

/* ---- PCG64 ---- */

static void advance(pcg64 *g) {
    static const uint64_t high = UINT64_C(0x2360ed051fc65da4), low = UINT64_C(0x4385df649fccf645);
    g->state = g->state * ((pcg64_wide)high << 64 | low) + g->step;
}

void pcg64_seed(pcg64 *g, uint64_t seed) {
    uint32_t words[WORDS];
    uint64_t v[WORDS / 2];
    spread(seed, words);
    for (unsigned i = 0; i < WORDS / 2; i++) v[i] = words[2 * i] | (uint64_t)words[2 * i + 1] << 32;
    *g = (pcg64){.step = ((pcg64_wide)v[2] << 64 | v[3]) << 1 | 1};
    advance(g);
    g->state += (pcg64_wide)v[0] << 64 | v[1];
    advance(g);
}

uint64_t pcg64_next(pcg64 *g) {
    advance(g);
    uint64_t folded = (uint64_t)(g->state >> 64) ^ (uint64_t)g->state;
    unsigned turn = (unsigned)(g->state >> 122);
    return folded >> turn | folded << (-turn & 63);
}

/* ---- permutations ---- */

static uint32_t next_half(pcg64 *g) {
    if (g->has_half) {
        g->has_half = false;
        return g->half;
    }
    uint64_t whole = pcg64_next(g);
    g->half = (uint32_t)(whole >> 32);
    g->has_half = true;
    return (uint32_t)whole;
}

/* 0..last, every number equally likely: as many low bits as `last` has, drawn again while they are more. */
static uint32_t at_most(pcg64 *g, uint32_t last) {
    uint32_t mask = last, drawn;
    for (unsigned shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    do drawn = next_half(g) & mask;
    while (drawn > last);
    return drawn;
}

void pcg64_permutation(pcg64 *g, uint32_t *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) out[i] = i;
    for (uint32_t i = n; i-- > 1;) {
        uint32_t j = at_most(g, i), held = out[i];
        out[i] = out[j];
        out[j] = held;
    }
}
