/* Searching the graph (Malkov & Yashunin, Algorithms 2 and 5), and choosing between the graph and the exact plan.
 *
 * A hop reads the links of the nearest open candidate, gathers those not yet visited, and scores them four at a time
 * while the rows of the next four are on their way: the walk is bound by misses, so several are kept in flight.
 *
 * Under a filter every node is a stepping stone but only members are results, and since the walk ends when `ef`
 * results are full and no candidate is nearer than the worst of them, it widens by itself until k members are found.
 * Where that would cost more than looking at each member - a small set, or one that lies far from the query - the
 * exact plan is taken: from the start if the sizes say so, or when the walk has spent what the exact plan would have
 * cost. So a filtered search costs at most about twice the better plan, and k is always filled. */
#include <string.h>

#include "vector/hnsw.h"

enum {
    LOOK_EVERY = 16, /* hops between two looks at budget and clock */
    AHEAD_LINES = 8, /* cache lines of a row fetched ahead */
    EQUALS_K_MAX = UINT8_MAX
};

/* Measured on 100,000 x 768: what a walk's distances cost in units of ef before the first walks were seen, and what a
 * row costs the exact plan (neighbours in memory, no links to read) in units of the walk's. */
static const double walk_length_guess = 12.0, exact_row_cost = 0.6;

static inline void prefetch_row(const hnsw *h, uint32_t slot, uint32_t lines) {
    const char *row = (const char *)slots_row(&h->s, slot);
    for (uint32_t i = 0; i < lines; i++) __builtin_prefetch(row + (size_t)i * SLOTS_LINE);
}

static inline void prefetch_links(const hnsw *h, uint32_t slot) {
    const char *links = (const char *)hnsw_links(h, slot, 0);
    for (uint32_t i = 0; i < h->m0 * sizeof(uint32_t); i += SLOTS_LINE) __builtin_prefetch(links + i);
}

/* ---- Algorithm 5, the upper levels ---- */

static uint32_t greedy(const hnsw *h, const float *query, uint32_t at, unsigned level, vector_stats *stats) {
    float best = h->s.kernel->dot(query, slots_row(&h->s, at), h->s.stride);
    for (uint32_t from = SLOT_NONE; from != at;) {
        uint32_t links[HNSW_LINKS_MAX];
        from = at;
        unsigned n = 0, cap = h->m;
        _Atomic uint32_t *list = hnsw_links(h, from, level);
        while (n < cap && (links[n] = atomic_load_explicit(&list[n], memory_order_acquire)) != SLOT_NONE) {
            prefetch_row(h, links[n++], 2);
        }
        for (unsigned i = 0; i < n; i += 4) {
            const float *rows[4];
            float sims[4];
            unsigned some = n - i < 4 ? n - i : 4;
            for (unsigned j = 0; j < 4; j++) rows[j] = slots_row(&h->s, links[i + (j < some ? j : some - 1)]);
            h->s.dot4(query, rows, h->s.stride, sims);
            for (unsigned j = 0; j < some; j++) {
                if (sims[j] > best) best = sims[j], at = links[i + j];
            }
        }
        stats->distances += n;
        stats->hops++;
    }
    return at;
}

uint32_t hnsw_descend(const hnsw *h, const float *query, uint32_t start, unsigned from, unsigned to,
                      vector_stats *stats) {
    for (unsigned level = from; level > to; level--) start = greedy(h, query, start, level, stats);
    return start;
}

/* ---- Algorithm 2, SEARCH-LAYER ---- */

static bool visited_begin(const hnsw *h, scratch *sc) {
    size_t used = atomic_load_explicit(&h->s.used, memory_order_acquire);
    if (used > sc->visited_cap) {
        size_t cap = (used / SLOTS_CHUNK + 2) * SLOTS_CHUNK; /* nodes that come while it runs have room too */
        uint8_t *visited = realloc(sc->visited, cap);
        if (visited == NULL) return false;
        sc->visited = visited;
        sc->visited_cap = cap;
        sc->tag = UINT8_MAX;
    }
    if (sc->tag == UINT8_MAX) {
        memset(sc->visited, 0, sc->visited_cap);
        sc->tag = 0;
    }
    sc->tag++;
    return true;
}

static inline bool may_return(const hnsw *h, const hnsw_walk *w, uint32_t slot) {
    if (w->epoch == HNSW_ANY) return true;
    slot_meta *m = slots_meta(&h->s, slot);
    return slots_visible(m, w->epoch) && (w->allow == NULL || bitset_has(w->allow, m->num));
}

/* Nodes of the very same similarity are mostly copies of one vector. The first k of them, or M, speak for all, so
 * that a crowd of copies does not take all of the ef places and end the walk. */
static inline bool crowded(scratch *sc, unsigned max, float sim) {
    uint32_t bits;
    memcpy(&bits, &sim, sizeof bits);
    uint8_t *met = &sc->equals[(bits * UINT32_C(2654435769)) >> (32 - SCRATCH_EQUALS_BITS)];
    if (*met >= max) return true;
    ++*met;
    return false;
}

/* The caller has reserved room for both. */
static inline void offer(const hnsw *h, scratch *sc, const hnsw_walk *w, uint32_t slot, float sim) {
    heap *results = &sc->results;
    bool full = results->count >= w->ef;
    if (full && sim <= results->items[0].key) return;
    bool returned = may_return(h, w, slot);
    if (returned && w->equals_max != 0 && crowded(sc, w->equals_max, sim)) return;
    heap_push(&sc->candidates, -sim, slot);
    if (!returned) return;
    if (full)
        heap_replace_top(results, sim, slot);
    else
        heap_push(results, sim, slot);
}

/* The neighbours that were not visited yet; marks them. */
static unsigned gather(const hnsw *h, scratch *sc, unsigned level, uint32_t at, uint32_t *out) {
    _Atomic uint32_t *list = hnsw_links(h, at, level);
    unsigned n = 0, cap = hnsw_capacity(h, level);
    for (unsigned i = 0; i < cap; i++) {
        uint32_t slot = atomic_load_explicit(&list[i], memory_order_acquire);
        if (slot == SLOT_NONE) break;
        if (slot >= sc->visited_cap || sc->visited[slot] == sc->tag) continue;
        sc->visited[slot] = sc->tag;
        out[n++] = slot;
    }
    return n;
}

static void score(const hnsw *h, scratch *sc, const hnsw_walk *w, const uint32_t *slots_found, unsigned n) {
    uint32_t lines = h->s.stride / SLOTS_LINE_FLOATS;
    if (lines > AHEAD_LINES) lines = AHEAD_LINES;
    for (unsigned i = 0; i < n && i < 4; i++) prefetch_row(h, slots_found[i], lines);
    for (unsigned i = 0; i < n; i += 4) {
        const float *rows[4];
        float sims[4];
        unsigned some = n - i < 4 ? n - i : 4;
        for (unsigned j = i + 4; j < n && j < i + 8; j++) prefetch_row(h, slots_found[j], lines);
        for (unsigned j = 0; j < 4; j++) rows[j] = slots_row(&h->s, slots_found[i + (j < some ? j : some - 1)]);
        h->s.dot4(sc->query, rows, h->s.stride, sims);
        for (unsigned j = 0; j < some; j++) offer(h, sc, w, slots_found[i + j], sims[j]);
    }
}

hnsw_end hnsw_walk_level(const hnsw *h, scratch *sc, const hnsw_walk *w, uint32_t start, vector_stats *stats) {
    uint32_t near[HNSW_LINKS_MAX];
    uint64_t begun = stats->distances;
    sc->results.count = sc->candidates.count = 0;
    if (!visited_begin(h, sc) || !heap_reserve(&sc->results, w->ef + 1) ||
        !heap_reserve(&sc->candidates, HNSW_LINKS_MAX)) {
        return HNSW_END_NO_MEMORY;
    }
    if (w->equals_max != 0) memset(sc->equals, 0, sizeof sc->equals);
    if (start < sc->visited_cap) sc->visited[start] = sc->tag;
    score(h, sc, w, &start, 1);
    for (unsigned hops = 1; sc->candidates.count > 0; hops++) {
        heap_item nearest = heap_pop(&sc->candidates);
        if (sc->results.count >= w->ef && -nearest.key < sc->results.items[0].key) break;
        if (!heap_reserve(&sc->candidates, sc->candidates.count + HNSW_LINKS_MAX)) return HNSW_END_NO_MEMORY;
        unsigned n = gather(h, sc, w->level, nearest.slot, near);
        if (w->level == 0 && sc->candidates.count > 0) prefetch_links(h, sc->candidates.items[0].slot);
        score(h, sc, w, near, n);
        stats->distances += n;
        stats->hops++;
        if (hops % LOOK_EVERY != 0) continue;
        if (w->budget != 0 && stats->distances - begun > w->budget) return HNSW_END_BUDGET;
        if (deadline_passed(h->s.clock, w->until)) return HNSW_END_DEADLINE;
    }
    return HNSW_END_DONE;
}

/* ---- the plan ---- */

typedef struct search_plan {
    size_t ef;
    uint64_t set;       /* items that can be results, at most */
    double walk, exact; /* costs in distances of a walk */
} search_plan;

static search_plan make_plan(hnsw *h, size_t k, unsigned ef, uint64_t allow_count, bool filtered) {
    uint64_t count = atomic_load_explicit(&h->s.count, memory_order_relaxed);
    search_plan p = {.ef = ef != 0 ? ef : h->ef_search, .set = filtered && allow_count < count ? allow_count : count};
    if (p.ef > HNSW_EF_MAX) p.ef = HNSW_EF_MAX;
    if (p.ef < k) p.ef = k;
    p.exact = exact_row_cost * (double)p.set;
    p.walk = meter_unit(&h->walk_length, 10000, walk_length_guess) * (double)p.ef;
    if (p.set > 0) p.walk *= (double)count / (double)p.set;
    return p;
}

static int search_exactly(hnsw *h, scratch *sc, const vector_query *q, uint64_t epoch, vector_stats *stats) {
    exact_request rq = {.k = q->k, .allow = q->allow, .allow_count = q->allow_count, .epoch = epoch, .until = q->until};
    int64_t start = clock_mono_ns(h->s.clock);
    uint64_t before = stats->distances;
    int code = exact_search(&h->s, sc, &rq, stats);
    uint64_t rows = stats->distances - before;
    if (rows > 0) meter_add(&h->exact_ns, rows, (uint64_t)(clock_mono_ns(h->s.clock) - start));
    return code;
}

static hnsw_end search_graph(hnsw *h, scratch *sc, const vector_query *q, const search_plan *p, uint64_t epoch,
                             vector_stats *stats) {
    hnsw_walk w = {.level = 0, .ef = p->ef, .epoch = epoch, .allow = q->allow, .until = q->until};
    uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
    if (q->k <= EQUALS_K_MAX) w.equals_max = q->k > h->m ? (unsigned)q->k : h->m;
    sc->results.count = 0;
    if (entry == HNSW_NO_ENTRY) return HNSW_END_DONE;
    if (q->allow != NULL) w.budget = (uint64_t)(p->exact > 1000 ? p->exact : 1000);
    int64_t begun = clock_mono_ns(h->s.clock);
    uint32_t start = hnsw_descend(h, sc->query, (uint32_t)entry, (unsigned)(entry >> 32), 0, stats);
    hnsw_end end = hnsw_walk_level(h, sc, &w, start, stats);
    if (q->allow == NULL && end == HNSW_END_DONE) meter_add(&h->walk_length, p->ef, stats->distances);
    meter_add(&h->walk_ns, stats->distances + 1, (uint64_t)(clock_mono_ns(h->s.clock) - begun));
    return end;
}

/* Fills the scratch's results by the better plan. */
static int search_by_plan(hnsw *h, scratch *sc, const vector_query *q, uint64_t epoch, vector_stats *stats) {
    search_plan p = make_plan(h, q->k, q->ef, q->allow_count, q->allow != NULL);
    if (p.exact <= p.walk) return search_exactly(h, sc, q, epoch, stats);
    stats->method = "hnsw";
    switch (search_graph(h, sc, q, &p, epoch, stats)) {
    case HNSW_END_NO_MEMORY: return BRAID_E_NO_MEMORY;
    case HNSW_END_DEADLINE: stats->stopped = VECTOR_STOP_DEADLINE; return BRAID_OK;
    case HNSW_END_BUDGET: return search_exactly(h, sc, q, epoch, stats);
    case HNSW_END_DONE: break;
    }
    return sc->results.count >= q->k ? BRAID_OK : search_exactly(h, sc, q, epoch, stats);
}

int hnsw_search(hnsw *h, const vector_query *q, candidate *out, size_t *count, vector_stats *stats, braid_error *err) {
    uint64_t epoch;
    reader *r = slots_enter(&h->s, &epoch);
    int code = slots_query(&h->s, &r->scratch, q->values, HNSW_STORE, err);
    if (code == BRAID_OK) {
        code = search_by_plan(h, &r->scratch, q, epoch, stats);
        if (code == BRAID_OK)
            *count = exact_answer(&h->s, &r->scratch, q->k, out);
        else
            error_set(err, code, HNSW_STORE, "memory ran out");
    }
    slots_leave(r);
    return code;
}

void hnsw_estimate(hnsw *h, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out) {
    search_plan p = make_plan(h, k, ef, allow_count, filtered);
    double guess_ns = 20.0 + h->s.dim / 8.0;
    bool exact = p.exact <= p.walk;
    double us = exact ? (double)p.set * meter_unit(&h->exact_ns, 1000, guess_ns * exact_row_cost) / 1000.0
                      : p.walk * meter_unit(&h->walk_ns, 1000, guess_ns) / 1000.0;
    *out = (vector_cost){
        .microseconds = 1.0 + us, .rows = (double)(p.set < k ? p.set : k), .method = exact ? "exact" : "hnsw"};
}
