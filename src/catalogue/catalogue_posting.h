/* A posting list: the set of items that hold one value.
 *
 * Most values are rare (a person in three films, an external id in one), a few are very common (a genre in a third of
 * the catalogue). So up to POSTING_SMALL_MAX items are a sorted array of 4 bytes each, more are a CRoaring bitmap. One
 * writer or many readers. */
#ifndef CATALOGUE_POSTING_H
#define CATALOGUE_POSTING_H

#include <roaring/roaring.h>

#include "base/base.h"

enum { POSTING_SMALL_MAX = 64 };

typedef struct posting {
    uint32_t count, cap;
    uint32_t *small; /* while big is NULL */
    roaring_bitmap_t *big;
} posting;

bool posting_add(posting *p, uint32_t num); /* false when memory ran out; adding twice is adding once */
void posting_remove(posting *p, uint32_t num);
bool posting_has(const posting *p, uint32_t num);
void posting_or_into(const posting *p, bitset *out);
/* The first at most `max` members, ascending. */
size_t posting_list(const posting *p, uint32_t *out, size_t max);
size_t posting_bytes(const posting *p); /* besides the struct itself */
void posting_free(posting *p);

#endif
