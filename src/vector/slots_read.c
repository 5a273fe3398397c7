/* The readers' side of slots (slots.h holds the essay): announcing, finding, fetching, scoring. Nothing here locks
 * or, in a steady stream, allocates. */
#include <sched.h>
#include <string.h>

#include "vector/slots.h"

/* The search for a free place starts at the CPU's own, so that scratch memory stays in its cache. */
reader *slots_enter(slots *s, uint64_t *epoch) {
    int cpu = sched_getcpu();
    size_t start = cpu < 0 ? 0 : (size_t)cpu;
    for (size_t i = 0;; i++) {
        reader *r = &s->readers[(start + i) % SLOTS_READERS_MAX];
        uint64_t free_place = 0, seen = atomic_load_explicit(&s->epoch, memory_order_acquire);
        if (atomic_load_explicit(&r->announced, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&r->announced, &free_place, seen, memory_order_acq_rel,
                                                    memory_order_relaxed)) {
            /* Read again: the writer may have moved on before it could see the announcement. */
            *epoch = atomic_load_explicit(&s->epoch, memory_order_acquire);
            return r;
        }
        if (i % SLOTS_READERS_MAX == SLOTS_READERS_MAX - 1) sched_yield();
    }
}

void slots_leave(reader *r) {
    atomic_store_explicit(&r->announced, 0, memory_order_release);
}

void scratch_free(scratch *sc) {
    free(sc->query);
    free(sc->results.items);
    free(sc->candidates.items);
    free(sc->visited);
    memset(sc, 0, sizeof *sc);
}

int slots_query(const slots *s, scratch *sc, const float *values, const char *store, braid_error *err) {
    if (sc->query == NULL) {
        sc->query = aligned_alloc(SLOTS_LINE, s->stride * sizeof(float));
        if (sc->query == NULL) return error_set(err, BRAID_E_NO_MEMORY, store, "memory ran out");
        memset(sc->query, 0, s->stride * sizeof(float));
    }
    memcpy(sc->query, values, s->dim * sizeof(float));
    if (vector_normalise(sc->query, s->dim)) return BRAID_OK;
    return error_set(err, BRAID_E_NOT_FINITE, store, "the query vector is all zero or not finite");
}

uint32_t slots_find(const slots *s, uint32_t num, uint64_t epoch) {
    _Atomic uint32_t *chunk = atomic_load_explicit(&s->map[num >> SLOTS_MAP_SHIFT], memory_order_acquire);
    if (chunk == NULL) return SLOT_NONE;
    uint32_t slot = atomic_load_explicit(&chunk[num & (SLOTS_MAP_CHUNK - 1)], memory_order_acquire);
    while (slot != SLOT_NONE) {
        slot_meta *m = slots_meta(s, slot);
        if (atomic_load_explicit(&m->died, memory_order_acquire) <= epoch) return SLOT_NONE;
        if (atomic_load_explicit(&m->born, memory_order_acquire) <= epoch) return slot;
        slot = atomic_load_explicit(&m->prev, memory_order_acquire);
    }
    return SLOT_NONE;
}

int slots_fetch(slots *s, uint32_t num, float *out, const char *store, braid_error *err) {
    uint64_t epoch;
    reader *r = slots_enter(s, &epoch);
    uint32_t slot = slots_find(s, num, epoch);
    if (slot != SLOT_NONE) memcpy(out, slots_row(s, slot), s->dim * sizeof(float));
    slots_leave(r);
    if (slot != SLOT_NONE) return BRAID_OK;
    return error_set(err, BRAID_E_NOT_FOUND, store, "item number %u has no vector", num);
}

void slots_fetch_many(slots *s, const uint32_t *nums, size_t n, float *out, bool *found) {
    uint64_t epoch;
    reader *r = slots_enter(s, &epoch);
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = slots_find(s, nums[i], epoch);
        found[i] = slot != SLOT_NONE;
        if (found[i]) memcpy(out + i * s->dim, slots_row(s, slot), s->dim * sizeof(float));
    }
    slots_leave(r);
}

int slots_score(slots *s, const float *query, const uint32_t *nums, size_t n, float *out, const char *store,
                braid_error *err) {
    uint64_t epoch;
    reader *r = slots_enter(s, &epoch);
    int code = slots_query(s, &r->scratch, query, store, err);
    for (size_t i = 0; code == BRAID_OK && i < n; i += 4) {
        const float *rows[4];
        uint32_t found[4];
        float sims[4];
        size_t some = n - i < 4 ? n - i : 4;
        for (size_t j = 0; j < 4; j++) {
            found[j] = j < some ? slots_find(s, nums[i + j], epoch) : SLOT_NONE;
            rows[j] = found[j] == SLOT_NONE ? r->scratch.query : slots_row(s, found[j]);
        }
        s->dot4(r->scratch.query, rows, s->stride, sims);
        for (size_t j = 0; j < some; j++) out[i + j] = found[j] == SLOT_NONE ? SIMILARITY_NONE : sims[j];
    }
    slots_leave(r);
    return code;
}

int slots_scan(slots *s, vector_scan_fn *each, void *ctx, braid_error *err) {
    (void)err;
    uint64_t epoch;
    reader *r = slots_enter(s, &epoch);
    uint32_t used = atomic_load_explicit(&s->used, memory_order_acquire);
    for (uint32_t slot = 0; slot < used; slot++) {
        slot_meta *m = slots_meta(s, slot);
        if (slots_visible(m, epoch) && !each(ctx, m->num, 0, slots_row(s, slot))) break;
    }
    slots_leave(r);
    return BRAID_OK;
}
