/* Exact search: look at every member of the set, keep the k nearest.
 *
 * It is the whole of the flat store, the oracle of the tests, and the plan of the graph store when the set is small
 * or the graph did not fill k. Rows are gathered in blocks so that their first cache lines are on the way while
 * earlier rows are scored; the hardware's prefetcher brings the rest of a row.
 *
 * Two ways through a filter: by its members (number -> slot), or, if it has more members than the store has slots, by
 * slots in memory order with a membership test. */
#include "vector/slots.h"

enum {
    BLOCK = 32,           /* rows gathered at a time */
    DEADLINE_EVERY = 256, /* rows between two looks at the clock */
    AHEAD_LINES = 6       /* cache lines of a row fetched ahead */
};

typedef struct exact_walk {
    slots *s;
    const exact_request *rq;
    uint32_t used, next; /* the next slot or number to look at */
    bool by_member;
} exact_walk;

static void prefetch_row(const slots *s, uint32_t slot) {
    const char *row = (const char *)slots_row(s, slot);
    size_t lines = s->stride / SLOTS_LINE_FLOATS;
    for (size_t i = 0; i < lines && i < AHEAD_LINES; i++) __builtin_prefetch(row + i * SLOTS_LINE);
}

static uint32_t next_slot(exact_walk *w) {
    const exact_request *rq = w->rq;
    if (w->by_member) {
        for (uint32_t num; (num = bitset_next(rq->allow, w->next)) != UINT32_MAX;) {
            w->next = num + 1;
            uint32_t slot = slots_find(w->s, num, rq->epoch);
            if (slot != SLOT_NONE) return slot;
        }
        return SLOT_NONE;
    }
    while (w->next < w->used) {
        uint32_t slot = w->next++;
        slot_meta *m = slots_meta(w->s, slot);
        if (slots_visible(m, rq->epoch) && (rq->allow == NULL || bitset_has(rq->allow, m->num))) return slot;
    }
    return SLOT_NONE;
}

static size_t gather(exact_walk *w, uint32_t block[BLOCK]) {
    size_t n = 0;
    while (n < BLOCK && (block[n] = next_slot(w)) != SLOT_NONE) prefetch_row(w->s, block[n++]);
    return n;
}

static void score_block(const slots *s, scratch *sc, const uint32_t *block, size_t n, size_t k) {
    for (size_t i = 0; i < n; i += 4) {
        const float *rows[4];
        float sims[4];
        size_t some = n - i < 4 ? n - i : 4;
        for (size_t j = 0; j < 4; j++) rows[j] = slots_row(s, block[i + (j < some ? j : some - 1)]);
        s->dot4(sc->query, rows, s->stride, sims);
        for (size_t j = 0; j < some; j++) heap_offer(&sc->results, k, sims[j], block[i + j]);
    }
}

int exact_search(slots *s, scratch *sc, const exact_request *rq, vector_stats *stats) {
    exact_walk w = {.s = s, .rq = rq, .used = atomic_load_explicit(&s->used, memory_order_acquire)};
    w.by_member = rq->allow != NULL && rq->allow_count < w.used;
    size_t k = rq->k < w.used ? rq->k : w.used;
    uint64_t seen = 0, look = DEADLINE_EVERY;
    sc->results.count = 0;
    stats->method = "exact";
    stats->stopped = VECTOR_STOP_DONE;
    if (!heap_reserve(&sc->results, k + 1)) return BRAID_E_NO_MEMORY;
    for (uint32_t block[BLOCK];;) {
        size_t n = k == 0 ? 0 : gather(&w, block);
        if (n == 0) break;
        score_block(s, sc, block, n, k);
        seen += n;
        if (seen < look) continue;
        look = seen + DEADLINE_EVERY;
        if (!deadline_passed(s->clock, rq->until)) continue;
        stats->stopped = VECTOR_STOP_DEADLINE;
        break;
    }
    stats->distances += seen;
    if (stats->stopped == VECTOR_STOP_DONE && sc->results.count < rq->k) stats->stopped = VECTOR_STOP_EXHAUSTED;
    return BRAID_OK;
}

size_t exact_answer(const slots *s, scratch *sc, size_t k, candidate *out) {
    size_t n = heap_sort(&sc->results);
    if (n > k) n = k;
    for (size_t i = 0; i < n; i++) {
        heap_item hit = sc->results.items[i];
        out[i] = (candidate){slots_meta(s, hit.slot)->num, hit.key};
    }
    return n;
}
