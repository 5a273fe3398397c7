/* bitset: a dense set of item numbers, tested in the innermost loops.
 *
 * One bit a number, 64-bit words. For 100,000 items 12.5 KB, so a test is an L1/L2 hit where a compressed bitmap would
 * search. Compressed bitmaps (CRoaring) hold the long-lived posting lists in src/catalogue; a query's result of
 * combining them is one of these. One writer or many readers. */
#ifndef BASE_BITSET_H
#define BASE_BITSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bitset {
    uint64_t *words;
    uint32_t bits; /* numbers 0..bits-1 may be members */
} bitset;

bool bitset_init(bitset *s, uint32_t bits); /* empty; false when memory ran out */
void bitset_free(bitset *s);
void bitset_clear(bitset *s);
void bitset_fill(bitset *s); /* every number is a member */
uint64_t bitset_count(const bitset *s);
void bitset_and(bitset *s, const bitset *other); /* numbers beyond other->bits leave */
void bitset_and_not(bitset *s, const bitset *other);
/* The first member >= from, or UINT32_MAX. */
uint32_t bitset_next(const bitset *s, uint32_t from);

static inline bool bitset_has(const bitset *s, uint32_t n) {
    return n < s->bits && ((s->words[n >> 6] >> (n & 63)) & 1);
}
static inline void bitset_set(bitset *s, uint32_t n) {
    if (n < s->bits) s->words[n >> 6] |= UINT64_C(1) << (n & 63);
}
static inline void bitset_unset(bitset *s, uint32_t n) {
    if (n < s->bits) s->words[n >> 6] &= ~(UINT64_C(1) << (n & 63));
}

#endif
