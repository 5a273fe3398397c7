/* Posting lists in two forms; see the header. A list that has become a bitmap stays one until it is empty, so that a
 * value at the border does not change form with every write. Bitmaps are read in blocks of numbers, which costs two
 * or three nanoseconds a member. */
#include "catalogue/catalogue_posting.h"

#include <stdlib.h>
#include <string.h>

enum { POSTING_BLOCK = 512 };

static uint32_t small_find(const posting *p, uint32_t num) {
    uint32_t low = 0, high = p->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (p->small[mid] < num)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool small_grow(posting *p) {
    uint32_t cap = p->cap == 0 ? 1 : p->cap * 2;
    uint32_t *small = realloc(p->small, cap * sizeof *small);
    if (small == NULL) return false;
    p->small = small;
    p->cap = cap;
    return true;
}

static bool posting_to_big(posting *p) {
    roaring_bitmap_t *big = roaring_bitmap_of_ptr(p->count, p->small);
    if (big == NULL) return false;
    free(p->small);
    *p = (posting){.count = p->count, .big = big};
    return true;
}

bool posting_add(posting *p, uint32_t num) {
    if (p->big == NULL && p->count == POSTING_SMALL_MAX && !posting_has(p, num) && !posting_to_big(p)) return false;
    if (p->big != NULL) {
        p->count += roaring_bitmap_add_checked(p->big, num);
        return true;
    }
    uint32_t at = small_find(p, num);
    if (at < p->count && p->small[at] == num) return true;
    if (p->count == p->cap && !small_grow(p)) return false;
    memmove(&p->small[at + 1], &p->small[at], (p->count - at) * sizeof *p->small);
    p->small[at] = num;
    p->count++;
    return true;
}

void posting_remove(posting *p, uint32_t num) {
    if (p->big != NULL) {
        p->count -= roaring_bitmap_remove_checked(p->big, num);
        if (p->count == 0) posting_free(p);
        return;
    }
    uint32_t at = small_find(p, num);
    if (at == p->count || p->small[at] != num) return;
    p->count--;
    memmove(&p->small[at], &p->small[at + 1], (p->count - at) * sizeof *p->small);
    if (p->count == 0) posting_free(p);
}

bool posting_has(const posting *p, uint32_t num) {
    if (p->big != NULL) return roaring_bitmap_contains(p->big, num);
    uint32_t at = small_find(p, num);
    return at < p->count && p->small[at] == num;
}

/* Ascending numbers: those of one word are gathered in a register, so that no store waits for the one before. */
static void block_or_into(const uint32_t *block, uint32_t count, bitset *out) {
    uint32_t at = block[0] >> 6;
    uint64_t word = 0;
    for (uint32_t i = 0; i < count && block[i] < out->bits; i++) {
        if (block[i] >> 6 != at) {
            out->words[at] |= word;
            at = block[i] >> 6;
            word = 0;
        }
        word |= UINT64_C(1) << (block[i] & 63);
    }
    if (word != 0) out->words[at] |= word;
}

void posting_or_into(const posting *p, bitset *out) {
    for (uint32_t i = 0; p->big == NULL && i < p->count; i++) bitset_set(out, p->small[i]);
    if (p->big == NULL) return;
    uint32_t block[POSTING_BLOCK], got;
    roaring_uint32_iterator_t it;
    roaring_init_iterator(p->big, &it);
    while ((got = roaring_read_uint32_iterator(&it, block, POSTING_BLOCK)) > 0) block_or_into(block, got, out);
}

size_t posting_list(const posting *p, uint32_t *out, size_t max) {
    size_t want = max < p->count ? max : p->count;
    if (want == 0) return 0;
    if (p->big == NULL) {
        memcpy(out, p->small, want * sizeof *out);
        return want;
    }
    roaring_uint32_iterator_t it;
    roaring_init_iterator(p->big, &it);
    return roaring_read_uint32_iterator(&it, out, (uint32_t)want);
}

size_t posting_bytes(const posting *p) {
    return p->cap * sizeof *p->small + (p->big != NULL ? sizeof *p->big + roaring_bitmap_size_in_bytes(p->big) : 0);
}

void posting_free(posting *p) {
    free(p->small);
    if (p->big != NULL) roaring_bitmap_free(p->big);
    *p = (posting){0};
}
