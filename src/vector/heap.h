/* A binary heap of (key, slot), smallest key on top; of equal keys the larger slot is on top.
 *
 * One heap serves both ends of a search: kept results have key = similarity (the worst is on top, ready to be
 * replaced), open candidates key = -similarity (the best is on top). Memory is kept from search to search. One thread
 * at a time. */
#ifndef VECTOR_HEAP_H
#define VECTOR_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct heap_item {
    float key;
    uint32_t slot;
} heap_item;
typedef struct heap {
    heap_item *items;
    size_t count, cap;
} heap;

static inline bool heap_above(heap_item a, heap_item b) {
    return a.key < b.key || (a.key == b.key && a.slot > b.slot);
}

static inline bool heap_reserve(heap *h, size_t cap) {
    if (cap <= h->cap) return true;
    size_t grown = h->cap < 256 ? 256 : h->cap;
    while (grown < cap) grown *= 2;
    heap_item *items = realloc(h->items, grown * sizeof *items);
    if (items == NULL) return false;
    h->items = items;
    h->cap = grown;
    return true;
}

/* Puts `item` into the hole at `i`, sifting it down. */
static inline void heap_sink(heap *h, size_t i, heap_item item) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count && heap_above(h->items[child + 1], h->items[child])) child++;
        if (!heap_above(h->items[child], item)) break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = item;
}

/* The caller has reserved room. */
static inline void heap_push(heap *h, float key, uint32_t slot) {
    heap_item item = {key, slot};
    size_t i = h->count++;
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!heap_above(item, h->items[parent])) break;
        h->items[i] = h->items[parent];
        i = parent;
    }
    h->items[i] = item;
}

static inline heap_item heap_pop(heap *h) {
    heap_item top = h->items[0], last = h->items[--h->count];
    if (h->count > 0) heap_sink(h, 0, last);
    return top;
}

static inline void heap_replace_top(heap *h, float key, uint32_t slot) {
    heap_sink(h, 0, (heap_item){key, slot});
}

/* Keeps the `max` largest keys; room for one more than is there, or for `max`, is reserved. */
static inline void heap_offer(heap *h, size_t max, float key, uint32_t slot) {
    if (h->count < max)
        heap_push(h, key, slot);
    else if (heap_above(h->items[0], (heap_item){key, slot}))
        heap_replace_top(h, key, slot);
}

/* Sorts the items in place, largest key first, and returns their count; the heap is empty afterwards. */
static inline size_t heap_sort(heap *h) {
    size_t n = h->count;
    while (h->count > 0) {
        heap_item top = heap_pop(h);
        h->items[h->count] = top;
    }
    return n;
}

#endif
