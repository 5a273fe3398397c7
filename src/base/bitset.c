/* bitset: the loops over whole words; the tests of one number are inline in the header.
 *
 * Invariant: bits at and above `bits` in the last word are zero, so that counting and walking need no mask. */
#include "bitset.h"

#include <stdlib.h>
#include <string.h>

static size_t bitset_words(const bitset *s) {
    return ((size_t)s->bits + 63) / 64;
}

bool bitset_init(bitset *s, uint32_t bits) {
    *s = (bitset){.bits = bits};
    size_t words = bitset_words(s);
    s->words = calloc(words > 0 ? words : 1, sizeof *s->words);
    if (s->words == NULL) s->bits = 0;
    return s->words != NULL;
}

void bitset_free(bitset *s) {
    free(s->words);
    *s = (bitset){0};
}

void bitset_clear(bitset *s) {
    size_t words = bitset_words(s);
    if (words > 0) memset(s->words, 0, words * sizeof *s->words);
}

void bitset_fill(bitset *s) {
    size_t words = bitset_words(s);
    if (words == 0) return;
    memset(s->words, 0xff, words * sizeof *s->words);
    if (s->bits % 64 != 0) s->words[words - 1] = (UINT64_C(1) << (s->bits % 64)) - 1;
}

uint64_t bitset_count(const bitset *s) {
    uint64_t count = 0;
    for (size_t i = 0, words = bitset_words(s); i < words; i++) count += (uint64_t)__builtin_popcountll(s->words[i]);
    return count;
}

void bitset_and(bitset *s, const bitset *other) {
    size_t words = bitset_words(s), shared = bitset_words(other);
    if (shared > words) shared = words;
    for (size_t i = 0; i < shared; i++) s->words[i] &= other->words[i];
    for (size_t i = shared; i < words; i++) s->words[i] = 0;
}

void bitset_and_not(bitset *s, const bitset *other) {
    size_t words = bitset_words(s), shared = bitset_words(other);
    if (shared > words) shared = words;
    for (size_t i = 0; i < shared; i++) s->words[i] &= ~other->words[i];
}

uint32_t bitset_next(const bitset *s, uint32_t from) {
    if (from >= s->bits) return UINT32_MAX;
    size_t words = bitset_words(s), i = from / 64;
    uint64_t word = s->words[i] & (UINT64_MAX << (from % 64));
    while (word == 0) {
        if (++i == words) return UINT32_MAX;
        word = s->words[i];
    }
    return (uint32_t)(i * 64 + (size_t)__builtin_ctzll(word));
}
