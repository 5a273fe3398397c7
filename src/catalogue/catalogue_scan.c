/* The loops over columns: 64 comparisons give 64 bytes of 0 and 1, which a multiplication a byte octet gathers into
 * one word.
 *
 * Written so that the compiler makes vector code of the comparisons without being told the machine: fixed trip count,
 * no branch, no call, and one comparison for both bounds (low <= v <= high is v - low <= high - low without signs).
 * Numbers of 64 bits have no vector comparison on every machine; for them the same without branches, one at a time. */
#include "catalogue/catalogue_state.h"

#include <string.h>

/* Bit i of the result is byte i of `flags` (each 0 or 1). */
static inline uint64_t gather_bits(const uint8_t flags[64]) {
    uint64_t word = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t octet;
        memcpy(&octet, flags + 8 * i, 8);
        word |= ((octet * UINT64_C(0x0102040810204080)) >> 56) << (8 * i);
    }
    return word;
}

static int32_t clamp32(int64_t v) {
    return v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

__attribute__((optimize("O3"))) void scan_int32(const int32_t *column, uint32_t bits, int64_t low, int64_t high,
                                                bitset *out) {
    if (low > high || low > INT32_MAX || high < INT32_MIN) return;
    int32_t least = clamp32(low);
    uint32_t span = (uint32_t)clamp32(high) - (uint32_t)least;
    uint32_t whole = bits / 64;
    uint8_t flags[64];
    for (uint32_t w = 0; w < whole; w++) {
        const int32_t *v = column + (size_t)w * 64;
        for (unsigned i = 0; i < 64; i++) flags[i] = (uint32_t)v[i] - (uint32_t)least <= span;
        out->words[w] |= gather_bits(flags);
    }
    for (uint32_t n = whole * 64; n < bits; n++)
        if ((uint32_t)column[n] - (uint32_t)least <= span) bitset_set(out, n);
}

void scan_int64(const int64_t *column, uint32_t bits, int64_t low, int64_t high, bitset *out) {
    if (low > high) return;
    uint64_t span = (uint64_t)high - (uint64_t)low;
    for (uint32_t first = 0; first < bits; first += 64) {
        uint64_t word = 0;
        for (uint32_t n = first, end = bits - first < 64 ? bits : first + 64; n < end; n++)
            word |= (uint64_t)((uint64_t)column[n] - (uint64_t)low <= span) << (n & 63);
        out->words[first >> 6] |= word;
    }
}

void scan_fields(const uint32_t *column, uint32_t bits, unsigned field, bitset *out) {
    for (uint32_t first = 0; first < bits; first += 64) {
        uint64_t word = 0;
        for (uint32_t n = first, end = bits - first < 64 ? bits : first + 64; n < end; n++)
            word |= (uint64_t)(column[n] >> field & 1) << (n & 63);
        out->words[first >> 6] |= word;
    }
}

void catalogue_or(bitset *out, const bitset *other) {
    uint32_t bits = out->bits < other->bits ? out->bits : other->bits;
    for (size_t i = 0, words = ((size_t)bits + 63) / 64; i < words; i++) out->words[i] |= other->words[i];
}
