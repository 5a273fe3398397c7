/* Inserting a node (Malkov & Yashunin, Algorithms 1 and 4).
 *
 * The neighbours on all levels are chosen first, the node's own links are written next, and only then do neighbours
 * link back, lowest level first: whoever meets the node, on whatever level, can go on from it.
 *
 * Departures from the paper. A twin (a vector that is there already, within rounding) stays on level 0; the search
 * for neighbours looks at M nodes of the very same similarity only; twins take at most half of a node's links and do
 * not count against the others. Or ten thousand copies of one vector would crowd out all ways to anything else. Links
 * that keep a node reachable are never pruned (hnsw.h). The level is drawn from the seed and the number of the
 * insert, so that a graph is a function of the order of inserts. */
#include <math.h>
#include <string.h>

#include "vector/hnsw.h"

#define TWIN 0.999999f /* similarity above which two vectors are the same */

unsigned hnsw_draw_level(const hnsw *h, uint64_t ordinal) {
    rng r;
    rng_seed(&r, h->seed ^ (ordinal * UINT64_C(0x9E3779B97F4A7C15)));
    double level = -log(1.0 - rng_uniform(&r)) / log(h->m);
    return level < HNSW_LEVEL_MAX ? (unsigned)level : HNSW_LEVEL_MAX;
}

bool hnsw_grow(hnsw *h, size_t slots_wanted) {
    while ((size_t)h->chunks * SLOTS_CHUNK < slots_wanted) {
        size_t words = (size_t)SLOTS_CHUNK * h->m0;
        _Atomic uint32_t *links = aligned_alloc(SLOTS_LINE, words * sizeof *links);
        hnsw_node *nodes = calloc(SLOTS_CHUNK, sizeof *nodes);
        if (links == NULL || nodes == NULL) {
            free((void *)links);
            free(nodes);
            return false;
        }
        for (size_t i = 0; i < words; i++) atomic_init(&links[i], SLOT_NONE);
        h->links0[h->chunks] = links;
        h->nodes[h->chunks++] = nodes;
    }
    return true;
}

bool hnsw_node_init(hnsw *h, uint32_t slot, unsigned level) {
    hnsw_node *n = hnsw_node_of(h, slot);
    *n = (hnsw_node){.level = (uint8_t)level, .rank = h->ranks++};
    for (unsigned i = 0; i < h->m0; i++) {
        atomic_store_explicit(&hnsw_links(h, slot, 0)[i], SLOT_NONE, memory_order_relaxed);
    }
    if (level == 0) return true;
    n->upper = calloc(1, sizeof *n->upper + (size_t)level * h->m * sizeof(uint32_t));
    if (n->upper == NULL) {
        n->level = 0;
        return false;
    }
    for (unsigned i = 0; i < level * h->m; i++) atomic_init(&n->upper->links[i], SLOT_NONE);
    return true;
}

/* ---- choosing neighbours ---- */

/* No chosen node, twins of the base apart, is nearer to `slot` than the base is. */
static bool diverse(const hnsw *h, uint32_t slot, float sim, const uint32_t *chosen, unsigned n) {
    const float *row = slots_row(&h->s, slot);
    for (unsigned i = 0; i < n; i += 4) {
        const float *rows[4];
        float sims[4];
        unsigned some = n - i < 4 ? n - i : 4;
        if (some == 1) {
            if (h->s.kernel->dot(row, slots_row(&h->s, chosen[i]), h->s.stride) > sim) return false;
            continue;
        }
        for (unsigned j = 0; j < 4; j++) rows[j] = slots_row(&h->s, chosen[i + (j < some ? j : some - 1)]);
        h->s.dot4(row, rows, h->s.stride, sims);
        for (unsigned j = 0; j < some; j++) {
            if (sims[j] > sim) return false;
        }
    }
    return true;
}

typedef struct selection {
    uint32_t *out;
    unsigned n, max;
    uint32_t others[HNSW_LINKS_MAX]; /* chosen, without twins of the base */
    unsigned others_n;
} selection;

static void choose(selection *sel, uint32_t slot, float sim) {
    sel->out[sel->n++] = slot;
    if (sim < TWIN) sel->others[sel->others_n++] = slot;
}

static bool worth(const hnsw *h, const selection *sel, uint32_t slot, float sim) {
    unsigned twins = sel->n - sel->others_n;
    if (sim >= TWIN) return twins < sel->max / 2;
    return diverse(h, slot, sim, sel->others, sel->others_n);
}

/* Algorithm 4, SELECT-NEIGHBORS-HEURISTIC. */
unsigned hnsw_select(const hnsw *h, const heap_item *found, size_t n, unsigned max, uint32_t *out) {
    selection sel = {.out = out, .max = max};
    for (size_t i = 0; i < n && sel.n < max; i++) {
        if (worth(h, &sel, found[i].slot, found[i].key)) choose(&sel, found[i].slot, found[i].key);
    }
    return sel.n;
}

/* ---- pruning ---- */

static void rate_links(const hnsw *h, uint32_t base, const uint32_t *links, unsigned n, heap_item *out) {
    const float *row = slots_row(&h->s, base);
    for (unsigned i = 0; i < n; i += 4) {
        const float *rows[4];
        float sims[4];
        unsigned some = n - i < 4 ? n - i : 4;
        for (unsigned j = 0; j < 4; j++) rows[j] = slots_row(&h->s, links[i + (j < some ? j : some - 1)]);
        h->s.dot4(row, rows, h->s.stride, sims);
        for (unsigned j = 0; j < some; j++) {
            unsigned at = i + j;
            for (; at > 0 && out[at - 1].key < sims[j]; at--) out[at] = out[at - 1];
            out[at] = (heap_item){sims[j], links[i + j]};
        }
    }
}

/* Which of the rated links the two rules protect: those that hold a node, and the nearest one to a lower rank.
 * Returns how many. */
static unsigned protect(const hnsw *h, uint32_t base, const heap_item *rated, unsigned n, uint32_t newcomer,
                        bool *must) {
    unsigned count = 0;
    bool lower = false;
    for (unsigned i = 0; i < n; i++) {
        uint32_t slot = rated[i].slot;
        must[i] = slot != newcomer && hnsw_last_lower_in(h, base, slot);
        if (!lower && hnsw_lower(h, slot, base)) must[i] = lower = true;
        count += must[i];
    }
    return count;
}

/* Gives a full list room for `newcomer` by the heuristic of Algorithm 4; the newcomer itself may be left out. */
static bool prune(hnsw *h, unsigned level, uint32_t base, uint32_t newcomer) {
    uint32_t links[HNSW_LINKS_MAX + 1], chosen[HNSW_LINKS_MAX];
    heap_item rated[HNSW_LINKS_MAX + 1];
    bool must[HNSW_LINKS_MAX + 1] = {false}, keep[HNSW_LINKS_MAX + 1] = {false}, newcomer_in = false;
    unsigned cap = hnsw_capacity(h, level), n = hnsw_copy_links(h, base, level, links);
    links[n++] = newcomer;
    rate_links(h, base, links, n, rated);
    unsigned must_left = level == 0 ? protect(h, base, rated, n, newcomer, must) : 0;
    selection sel = {.out = chosen, .max = cap};
    for (unsigned i = 0; i < n && sel.n < cap; i++) {
        uint32_t slot = rated[i].slot;
        if (must[i])
            must_left--;
        else if (sel.n + must_left >= cap || !worth(h, &sel, slot, rated[i].key))
            continue;
        choose(&sel, slot, rated[i].key);
        keep[i] = true;
        newcomer_in |= slot == newcomer;
    }
    for (unsigned i = 0; i < n; i++) {
        if (!keep[i] && rated[i].slot != newcomer) hnsw_remove_link(h, level, base, rated[i].slot);
    }
    return !newcomer_in || hnsw_add_link(h, level, base, newcomer);
}

static bool link_back(hnsw *h, unsigned level, uint32_t from, uint32_t to) {
    uint32_t last =
        atomic_load_explicit(&hnsw_links(h, from, level)[hnsw_capacity(h, level) - 1], memory_order_relaxed);
    return last == SLOT_NONE ? hnsw_add_link(h, level, from, to) : prune(h, level, from, to);
}

/* ---- Algorithm 1, INSERT ---- */

typedef struct plan {
    uint32_t links[HNSW_M_MAX];
    unsigned n;
} plan;

static hnsw_end plan_level(hnsw *h, unsigned level, uint32_t *start, plan *p) {
    vector_stats stats = {0};
    hnsw_walk w = {.level = level,
                   .ef = h->ef_construction,
                   .equals_max = h->m,
                   .epoch = atomic_load_explicit(&h->s.epoch, memory_order_relaxed) + 1};
    hnsw_end end = hnsw_walk_level(h, &h->scratch, &w, *start, &stats);
    if (end == HNSW_END_DONE && h->scratch.results.count == 0) {
        w.epoch = HNSW_ANY; /* only removed nodes are left: better them than an island */
        end = hnsw_walk_level(h, &h->scratch, &w, *start, &stats);
    }
    if (end != HNSW_END_DONE) return end;
    size_t n = heap_sort(&h->scratch.results);
    BRAID_ASSERT(n > 0);
    *start = h->scratch.results.items[0].slot;
    p->n = hnsw_select(h, h->scratch.results.items, n, h->m, p->links);
    return HNSW_END_DONE;
}

static bool connect(hnsw *h, uint32_t slot, unsigned top, const plan *plans) {
    for (unsigned level = 0; level <= top; level++) {
        for (unsigned i = 0; i < plans[level].n; i++) {
            if (!hnsw_add_link(h, level, slot, plans[level].links[i])) return false;
        }
    }
    for (unsigned level = 0; level <= top; level++) {
        for (unsigned i = 0; i < plans[level].n; i++) {
            if (!link_back(h, level, plans[level].links[i], slot)) return false;
        }
    }
    return hnsw_node_of(h, slot)->lower_in > 0 || hnsw_hold(h, slot);
}

static void set_entry(hnsw *h, uint32_t slot, unsigned level) {
    atomic_store_explicit(&h->entry, (uint64_t)level << 32 | slot, memory_order_release);
}

/* Nothing links to the node yet. */
static void stay_on_level_0(hnsw_node *n) {
    free(n->upper);
    n->upper = NULL;
    n->level = 0;
}

bool hnsw_insert(hnsw *h, uint32_t slot) {
    unsigned level = hnsw_draw_level(h, h->ranks);
    if (!hnsw_mend(h) || !hnsw_node_init(h, slot, level)) return false;
    hnsw_node *n = hnsw_node_of(h, slot);
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
    if (entry == HNSW_NO_ENTRY) {
        n->linked = true;
        h->linked++;
        h->root = slot;
        set_entry(h, slot, level);
        return true;
    }
    unsigned top = (unsigned)(entry >> 32), from = top < level ? top : level;
    h->scratch.query = slots_row(&h->s, slot);
    uint32_t start = hnsw_descend(h, h->scratch.query, (uint32_t)entry, top, from, &(vector_stats){0});
    plan plans[HNSW_LEVEL_MAX + 1];
    for (unsigned l = from + 1; l-- > 0;) {
        if (plan_level(h, l, &start, &plans[l]) != HNSW_END_DONE) return false;
    }
    if (level > 0 && h->scratch.results.items[0].key >= TWIN) {
        stay_on_level_0(n);
        level = from = 0;
    }
    n->linked = true;
    h->linked++;
    if (!connect(h, slot, from, plans)) return false;
    if (level > top) set_entry(h, slot, level);
    return true;
}
