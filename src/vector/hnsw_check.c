/* Looks over what hnsw.h promises, and never changes anything: links in range, of the right level, without loops and
 * repetitions; in-links that mirror them; both rules of reachability; every node reached from the entry point on
 * level 0. The writer must be idle. */
#include <string.h>

#include "vector/hnsw.h"

static bool in_graph(const hnsw *h, uint32_t slot) {
    return slot < atomic_load_explicit(&h->s.used, memory_order_relaxed) && hnsw_node_of(h, slot)->linked;
}

static bool has_in(const hnsw *h, uint32_t to, unsigned level, uint32_t from) {
    const hnsw_in *in = hnsw_in_of(h, to, level);
    for (uint32_t i = 0; i < in->count; i++) {
        if (in->items[i] == from) return true;
    }
    return false;
}

/* Returns how many links are whole. */
static unsigned check_links(const hnsw *h, uint32_t slot, unsigned level, vector_check_report *out) {
    uint32_t links[HNSW_LINKS_MAX];
    unsigned n = hnsw_copy_links(h, slot, level, links), cap = hnsw_capacity(h, level);
    for (unsigned i = n; i < cap; i++) {
        if (atomic_load_explicit(&hnsw_links(h, slot, level)[i], memory_order_relaxed) != SLOT_NONE) {
            check_problem(out, "node %u has a link behind the end of its list on level %u", slot, level);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (!in_graph(h, links[i])) {
            check_problem(out, "node %u links to %u, which is not in the graph", slot, links[i]);
            return 0;
        }
        if (links[i] == slot) check_problem(out, "node %u links to itself on level %u", slot, level);
        if (hnsw_node_of(h, links[i])->level < level) {
            check_problem(out, "node %u links on level %u to %u, which is only on %u", slot, level, links[i],
                          hnsw_node_of(h, links[i])->level);
            return 0;
        }
        for (unsigned j = 0; j < i; j++) {
            if (links[j] == links[i]) {
                check_problem(out, "node %u links to %u twice on level %u", slot, links[i], level);
            }
        }
        if (!has_in(h, links[i], level, slot)) {
            check_problem(out, "node %u does not know that %u links to it", links[i], slot);
        }
    }
    return n;
}

static void check_rules(const hnsw *h, uint32_t slot, vector_check_report *out) {
    const hnsw_node *n = hnsw_node_of(h, slot);
    uint32_t lower_in = 0, links[HNSW_LINKS_MAX];
    bool lower_out = false;
    for (uint32_t i = 0; i < n->in0.count; i++) lower_in += hnsw_lower(h, n->in0.items[i], slot);
    unsigned count = hnsw_copy_links(h, slot, 0, links);
    for (unsigned i = 0; i < count; i++) lower_out |= hnsw_lower(h, links[i], slot);
    if (lower_in != n->lower_in) {
        check_problem(out, "node %u counts %u in-links from lower ranks, not %u", slot, n->lower_in, lower_in);
    }
    if (slot == h->root) {
        if (lower_in > 0 || lower_out) check_problem(out, "node %u is the root but not the lowest", slot);
        if (h->linked > 1 && n->in0.count == 0) check_problem(out, "nothing links to the root");
    } else {
        if (lower_in == 0) check_problem(out, "nothing of lower rank links to node %u", slot);
        if (!lower_out) check_problem(out, "node %u links to nothing of lower rank", slot);
    }
}

/* Walks level 0 from the entry point; false when memory ran out. */
static bool check_reach(const hnsw *h, uint32_t start, vector_check_report *out) {
    uint32_t used = atomic_load_explicit(&h->s.used, memory_order_relaxed), *queue = malloc(used * sizeof *queue);
    bool *met = calloc(used, sizeof *met);
    size_t head = 0, count = 0;
    bool enough = queue != NULL && met != NULL;
    if (!enough) goto cleanup;
    queue[count++] = start;
    met[start] = true;
    while (head < count) {
        uint32_t links[HNSW_LINKS_MAX];
        unsigned n = hnsw_copy_links(h, queue[head++], 0, links);
        for (unsigned i = 0; i < n; i++) {
            if (met[links[i]]) continue;
            met[links[i]] = true;
            queue[count++] = links[i];
        }
    }
    if (count != h->linked) {
        check_problem(out, "%zu of %llu nodes can be reached", count, (unsigned long long)h->linked);
    }
cleanup:
    free(queue);
    free(met);
    return enough;
}

static bool check_entry(const hnsw *h, unsigned highest, vector_check_report *out) {
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_relaxed);
    if (h->linked == 0) {
        if (entry != HNSW_NO_ENTRY || h->root != SLOT_NONE) check_problem(out, "an empty graph has an entry point");
        return true;
    }
    uint32_t slot = (uint32_t)entry;
    if (entry == HNSW_NO_ENTRY || !in_graph(h, slot))
        check_problem(out, "the entry point is not in the graph");
    else if (entry >> 32 != highest || hnsw_node_of(h, slot)->level != highest) {
        check_problem(out, "the entry point is not on the highest level, %u", highest);
    } else if (out->problems == 0)
        return check_reach(h, slot, out);
    return true;
}

bool hnsw_check(hnsw *h, vector_check_report *out) {
    uint32_t used = atomic_load_explicit(&h->s.used, memory_order_relaxed);
    uint64_t linked = 0, outs = 0, ins = 0, epoch = atomic_load_explicit(&h->s.epoch, memory_order_relaxed);
    unsigned highest = 0;
    slots_check(&h->s, out);
    for (uint32_t slot = 0; slot < used; slot++) {
        const hnsw_node *n = hnsw_node_of(h, slot);
        if (!n->linked) {
            if (slots_visible(slots_meta(&h->s, slot), epoch)) {
                check_problem(out, "slot %u is live but not in the graph", slot);
            }
            continue;
        }
        linked++;
        if (n->level > highest) highest = n->level;
        for (unsigned level = 0; level <= n->level; level++) {
            outs += check_links(h, slot, level, out);
            ins += hnsw_in_of(h, slot, level)->count;
        }
        check_rules(h, slot, out);
    }
    if (linked != h->linked) {
        check_problem(out, "%llu nodes are linked, the count says %llu", (unsigned long long)linked,
                      (unsigned long long)h->linked);
    }
    if (outs != ins) {
        check_problem(out, "%llu links do not match %llu in-links", (unsigned long long)outs, (unsigned long long)ins);
    }
    return check_entry(h, highest, out);
}
