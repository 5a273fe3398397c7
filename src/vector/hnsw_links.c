/* Single links, and the two rules that keep level 0 reachable (hnsw.h, "Reachability").
 *
 * Each change of a link keeps three things in step: the list, the target's in-links, and on level 0 its count of
 * in-links from lower ranks. Memory for the in-link is got before anything changes. */
#include <string.h>

#include "vector/hnsw.h"

static bool in_reserve(hnsw_in *in) {
    if (in->count < in->cap) return true;
    uint32_t cap = in->cap == 0 ? 8 : in->cap * 2;
    uint32_t *items = realloc(in->items, cap * sizeof *items);
    if (items == NULL) return false;
    in->items = items;
    in->cap = cap;
    return true;
}

static void in_add(hnsw *h, unsigned level, uint32_t from, uint32_t to) {
    hnsw_in *in = hnsw_in_of(h, to, level);
    BRAID_ASSERT(in->count < in->cap);
    in->items[in->count++] = from;
    if (level == 0 && hnsw_lower(h, from, to)) hnsw_node_of(h, to)->lower_in++;
}

static void in_drop(hnsw *h, unsigned level, uint32_t from, uint32_t to) {
    hnsw_in *in = hnsw_in_of(h, to, level);
    uint32_t i = 0;
    while (i < in->count && in->items[i] != from) i++;
    BRAID_ASSERT(i < in->count);
    in->items[i] = in->items[--in->count];
    if (level == 0 && hnsw_lower(h, from, to)) hnsw_node_of(h, to)->lower_in--;
}

unsigned hnsw_copy_links(const hnsw *h, uint32_t slot, unsigned level, uint32_t out[HNSW_LINKS_MAX]) {
    _Atomic uint32_t *links = hnsw_links(h, slot, level);
    unsigned n = 0, cap = hnsw_capacity(h, level);
    while (n < cap && (out[n] = atomic_load_explicit(&links[n], memory_order_relaxed)) != SLOT_NONE) n++;
    return n;
}

static unsigned find_link(const hnsw *h, unsigned level, uint32_t from, uint32_t to) {
    _Atomic uint32_t *links = hnsw_links(h, from, level);
    unsigned i = 0, cap = hnsw_capacity(h, level);
    while (i < cap && atomic_load_explicit(&links[i], memory_order_relaxed) != to) i++;
    return i;
}

bool hnsw_add_link(hnsw *h, unsigned level, uint32_t from, uint32_t to) {
    unsigned end = find_link(h, level, from, SLOT_NONE);
    return end < hnsw_capacity(h, level) && hnsw_set_link(h, level, from, end, to);
}

bool hnsw_set_link(hnsw *h, unsigned level, uint32_t from, unsigned at, uint32_t to) {
    if (!in_reserve(hnsw_in_of(h, to, level))) return false;
    in_add(h, level, from, to);
    atomic_store_explicit(&hnsw_links(h, from, level)[at], to, memory_order_release);
    return true;
}

bool hnsw_replace_link(hnsw *h, unsigned level, uint32_t from, uint32_t old, uint32_t to) {
    unsigned i = find_link(h, level, from, old);
    BRAID_ASSERT(i < hnsw_capacity(h, level));
    if (!in_reserve(hnsw_in_of(h, to, level))) return false;
    in_drop(h, level, from, old);
    in_add(h, level, from, to);
    atomic_store_explicit(&hnsw_links(h, from, level)[i], to, memory_order_release);
    return true;
}

/* The last link takes the place of the removed one, so that the list stays dense. */
void hnsw_remove_link(hnsw *h, unsigned level, uint32_t from, uint32_t to) {
    _Atomic uint32_t *links = hnsw_links(h, from, level);
    unsigned i = find_link(h, level, from, to), end = find_link(h, level, from, SLOT_NONE);
    BRAID_ASSERT(i < end);
    in_drop(h, level, from, to);
    uint32_t last = atomic_load_explicit(&links[end - 1], memory_order_relaxed);
    if (i != end - 1) atomic_store_explicit(&links[i], last, memory_order_release);
    atomic_store_explicit(&links[end - 1], SLOT_NONE, memory_order_release);
}

bool hnsw_last_lower_in(const hnsw *h, uint32_t from, uint32_t to) {
    return hnsw_lower(h, from, to) && hnsw_node_of(h, to)->lower_in == 1;
}

void hnsw_count_lower_in(hnsw *h, uint32_t slot) {
    hnsw_node *n = hnsw_node_of(h, slot);
    n->lower_in = 0;
    for (uint32_t i = 0; i < n->in0.count; i++) n->lower_in += hnsw_lower(h, n->in0.items[i], slot);
}

/* The link of `from` that can go with least loss: the farthest that no rule protects; SLOT_NONE if all are. */
static uint32_t spare_link(const hnsw *h, uint32_t from) {
    uint32_t links[HNSW_LINKS_MAX], spare = SLOT_NONE;
    unsigned n = hnsw_copy_links(h, from, 0, links), lower = 0;
    for (unsigned i = 0; i < n; i++) lower += hnsw_lower(h, links[i], from);
    float spare_sim = 2;
    for (unsigned i = 0; i < n; i++) {
        if (hnsw_last_lower_in(h, from, links[i]) || (lower == 1 && hnsw_lower(h, links[i], from))) continue;
        float sim = hnsw_sim(h, from, links[i]);
        if (sim < spare_sim) spare = links[i], spare_sim = sim;
    }
    return spare;
}

/* A link from `from`, which is of lower rank, if it has room or a link to spare. */
static bool hold_from(hnsw *h, uint32_t from, uint32_t to) {
    if (hnsw_add_link(h, 0, from, to)) return true;
    uint32_t spare = spare_link(h, from);
    return spare != SLOT_NONE && hnsw_replace_link(h, 0, from, spare, to);
}

/* A child of `from` (a node that it alone holds) that is of higher rank than `than`; or, failing that, any child. */
static uint32_t child_above(const hnsw *h, uint32_t from, uint32_t than, bool *above) {
    uint32_t links[HNSW_LINKS_MAX], any = SLOT_NONE;
    unsigned n = hnsw_copy_links(h, from, 0, links);
    *above = false;
    for (unsigned i = 0; i < n; i++) {
        if (!hnsw_last_lower_in(h, from, links[i])) continue;
        any = links[i];
        *above = hnsw_lower(h, than, any);
        if (*above) break;
    }
    return any;
}

/* The nodes of lower rank that `slot` links to hold it if they can. If all their links are the last of their kind,
 * `slot` takes the place of a child of higher rank, which is then held by `slot` or by others in the same way; or, if
 * all children are of lower rank than `slot`, one of them holds it. Each round goes to a higher rank, so it ends: the
 * newest node holds nobody. */
bool hnsw_hold(hnsw *h, uint32_t slot) {
    uint32_t links[HNSW_LINKS_MAX], hint = SLOT_NONE;
    for (;;) {
        h->orphan = slot; /* until somebody holds it */
        uint32_t from = SLOT_NONE;
        if (hint != SLOT_NONE && hold_from(h, hint, slot)) break;
        unsigned n = hnsw_copy_links(h, slot, 0, links);
        for (unsigned i = 0; i < n; i++) {
            if (!hnsw_lower(h, links[i], slot)) continue;
            if (hold_from(h, links[i], slot)) goto held;
            if (from == SLOT_NONE) from = links[i];
        }
        if (from == SLOT_NONE) from = hint;
        bool above = false;
        while (from != SLOT_NONE && !above) {
            uint32_t child = child_above(h, from, slot, &above);
            if (child == SLOT_NONE) return false; /* there was a link to spare, so memory ran out */
            if (above) {
                if (!hnsw_replace_link(h, 0, from, child, slot)) return false;
                hint = slot;
                slot = child;
            } else {
                from = child;
                if (hold_from(h, from, slot)) goto held;
            }
        }
        if (from == SLOT_NONE) return false;
    }
held:
    h->orphan = SLOT_NONE;
    return true;
}

bool hnsw_mend(hnsw *h) {
    uint32_t slot = h->orphan;
    if (slot == SLOT_NONE) return true;
    h->orphan = SLOT_NONE;
    const hnsw_node *n = hnsw_node_of(h, slot);
    return !n->linked || n->lower_in > 0 || slot == h->root || hnsw_hold(h, slot);
}
