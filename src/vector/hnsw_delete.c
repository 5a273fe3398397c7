/* Taking a removed node out of the graph, so that recall does not wear out under deletes.
 *
 * Each node that linked to it gets the best of its neighbours instead, by the same heuristic as on insertion, so a
 * hole is closed from its rim. The two rules of reachability (hnsw.h) hold at each step: who would lose the last link
 * to a lower rank gets one of the removed node's own links to a lower rank; whom the removed node alone held is held
 * by another. If it was the node of lowest rank, one of its neighbours takes over its rank. When memory runs out the
 * work stops where it is, the graph being whole, and is taken up again later. */
#include <string.h>

#include "vector/hnsw.h"

static bool alive(const hnsw *h, uint32_t slot) {
    return atomic_load_explicit(&slots_meta(&h->s, slot)->died, memory_order_relaxed) == SLOT_ALIVE;
}

/* ---- the entry point ---- */

static uint32_t highest_but(const hnsw *h, uint32_t but) {
    uint32_t used = atomic_load_explicit(&h->s.used, memory_order_relaxed), best = SLOT_NONE;
    for (uint32_t slot = 0; slot < used; slot++) {
        const hnsw_node *n = hnsw_node_of(h, slot);
        if (slot != but && n->linked && (best == SLOT_NONE || n->level > hnsw_node_of(h, best)->level)) best = slot;
    }
    return best;
}

static void move_entry(hnsw *h, uint32_t from) {
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
    if ((uint32_t)entry != from) return;
    unsigned top = (unsigned)(entry >> 32);
    uint32_t links[HNSW_LINKS_MAX];
    uint32_t to = hnsw_copy_links(h, from, top, links) > 0 ? links[0] : highest_but(h, from);
    uint64_t level = hnsw_node_of(h, to)->level;
    atomic_store_explicit(&h->entry, level << 32 | to, memory_order_release);
}

/* ---- the node of lowest rank ---- */

/* A neighbour of the root changes ranks with it, and the counts that depend on either rank are made again. */
static void move_root(hnsw *h, uint32_t from) {
    uint32_t links[HNSW_LINKS_MAX], more[HNSW_LINKS_MAX];
    unsigned n = hnsw_copy_links(h, from, 0, links), to = 0;
    BRAID_ASSERT(n > 0);
    while (to < n - 1 && !alive(h, links[to])) to++;
    uint32_t root = links[to];
    uint64_t rank = hnsw_node_of(h, root)->rank;
    hnsw_node_of(h, root)->rank = hnsw_node_of(h, from)->rank;
    hnsw_node_of(h, from)->rank = rank;
    unsigned more_n = hnsw_copy_links(h, root, 0, more);
    for (unsigned i = 0; i < n; i++) hnsw_count_lower_in(h, links[i]);
    for (unsigned i = 0; i < more_n; i++) hnsw_count_lower_in(h, more[i]);
    hnsw_count_lower_in(h, from);
    h->root = root;
}

/* ---- linking past the node ---- */

static bool contains(const uint32_t *items, unsigned n, uint32_t item_slot) {
    for (unsigned i = 0; i < n; i++) {
        if (items[i] == item_slot) return true;
    }
    return false;
}

static bool has_lower(const hnsw *h, uint32_t base, const uint32_t *links, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (hnsw_lower(h, links[i], base)) return true;
    }
    return false;
}

static bool diverse(const hnsw *h, uint32_t slot, float sim, const uint32_t *links, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (hnsw_sim(h, slot, links[i]) > sim) return false;
    }
    return true;
}

/* What `base` shall link to instead of the removed node: of `around` (the removed node's links) the nearest that is
 * alive and not nearer to a present link than to the base; any alive one if few links are left; SLOT_NONE if there is
 * nothing to gain. */
static uint32_t successor(const hnsw *h, unsigned level, uint32_t base, const uint32_t *links, unsigned n,
                          const uint32_t *around, unsigned around_n) {
    heap_item order[HNSW_LINKS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < around_n; i++) {
        if (around[i] == base || !alive(h, around[i]) || contains(links, n, around[i])) continue;
        heap_item rated = {hnsw_sim(h, base, around[i]), around[i]};
        unsigned at = count++;
        for (; at > 0 && order[at - 1].key < rated.key; at--) order[at] = order[at - 1];
        order[at] = rated;
    }
    for (unsigned i = 0; i < count; i++) {
        if (diverse(h, order[i].slot, order[i].key, links, n)) return order[i].slot;
    }
    return count > 0 && n < hnsw_capacity(h, level) / 4 ? order[0].slot : SLOT_NONE;
}

static uint32_t lower_successor(const hnsw *h, uint32_t base, const uint32_t *around, unsigned around_n) {
    uint32_t best = h->root;
    float best_sim = -2;
    for (unsigned i = 0; i < around_n; i++) {
        if (!hnsw_lower(h, around[i], base)) continue;
        float sim = hnsw_sim(h, base, around[i]);
        if (sim > best_sim) best = around[i], best_sim = sim;
    }
    return best;
}

/* Ends the link base -> gone. */
static bool link_past(hnsw *h, unsigned level, uint32_t base, uint32_t gone, const uint32_t *around,
                      unsigned around_n) {
    uint32_t links[HNSW_LINKS_MAX], next = SLOT_NONE;
    unsigned all = hnsw_copy_links(h, base, level, links), n = 0;
    for (unsigned i = 0; i < all; i++) {
        if (links[i] != gone) links[n++] = links[i];
    }
    if (level == 0 && base != h->root && !has_lower(h, base, links, n)) {
        next = lower_successor(h, base, around, around_n);
        return hnsw_replace_link(h, level, base, gone, next);
    }
    if (alive(h, base)) next = successor(h, level, base, links, n, around, around_n);
    if (next != SLOT_NONE && hnsw_replace_link(h, level, base, gone, next)) return true;
    hnsw_remove_link(h, level, base, gone);
    return true;
}

static bool unlink_level(hnsw *h, unsigned level, uint32_t gone) {
    uint32_t around[HNSW_LINKS_MAX];
    unsigned n = hnsw_copy_links(h, gone, level, around);
    hnsw_in *in = hnsw_in_of(h, gone, level);
    while (in->count > 0) {
        if (!link_past(h, level, in->items[in->count - 1], gone, around, n)) return false;
    }
    for (unsigned i = 0; i < n; i++) {
        hnsw_remove_link(h, level, gone, around[i]);
        if (level > 0 || around[i] == h->root || hnsw_node_of(h, around[i])->lower_in > 0) continue;
        if (!hnsw_hold(h, around[i])) return false;
    }
    return true;
}

bool hnsw_unlink(void *ctx, uint32_t slot) {
    hnsw *h = ctx;
    hnsw_node *n = hnsw_node_of(h, slot);
    if (!n->linked) return true;
    if (!hnsw_mend(h)) return false;
    if (h->linked == 1) {
        h->root = SLOT_NONE;
        atomic_store_explicit(&h->entry, HNSW_NO_ENTRY, memory_order_release);
    } else {
        move_entry(h, slot);
        if (h->root == slot) move_root(h, slot);
        for (unsigned level = n->level + 1u; level-- > 0;) {
            if (!unlink_level(h, level, slot)) return false;
        }
    }
    n->linked = false;
    h->linked--;
    return true;
}

void hnsw_release(void *ctx, uint32_t slot) {
    hnsw *h = ctx;
    hnsw_node *n = hnsw_node_of(h, slot);
    for (unsigned level = 0; level <= n->level; level++) free(hnsw_in_of(h, slot, level)->items);
    free(n->upper);
    memset(n, 0, sizeof *n);
}
