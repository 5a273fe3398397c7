/* The writer's side of slots (slots.h holds the essay): batches, versions, reclamation. Memory is reserved before a
 * batch begins, so that what follows cannot fail half way for want of it. */
#include "vector/slots.h"

#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

int slots_open(slots *s, const vector_options *options, const char *store, slots_hooks hooks, braid_error *err) {
    memset(s, 0, sizeof *s);
    if (options->dim == 0 || options->dim > MODEL_DIM_MAX) {
        return error_set(err, BRAID_E_DIMENSION, store, "dimension %u is not in 1..%d", options->dim, MODEL_DIM_MAX);
    }
    s->kernel = vector_kernel_find(options->kernel);
    if (s->kernel == NULL) {
        return error_set(err, BRAID_E_INVALID, store, "kernel \"%s\" is unknown or this CPU lacks it; use \"auto\"",
                         options->kernel);
    }
    s->dot4 = vector_kernel_dot4(s->kernel);
    s->dim = options->dim;
    s->stride = (options->dim + SLOTS_LINE_FLOATS - 1) / SLOTS_LINE_FLOATS * SLOTS_LINE_FLOATS;
    s->clock = options->clock != NULL ? options->clock : &clock_system;
    s->hooks = hooks;
    atomic_store(&s->epoch, 1);
    s->rows = calloc(SLOTS_CHUNKS_MAX, sizeof *s->rows);
    s->metas = calloc(SLOTS_CHUNKS_MAX, sizeof *s->metas);
    s->map = calloc(SLOTS_MAP_CHUNKS, sizeof *s->map);
    s->readers = aligned_alloc(_Alignof(reader), SLOTS_READERS_MAX * sizeof *s->readers);
    s->normalised = aligned_alloc(SLOTS_LINE, s->stride * sizeof(float));
    if (s->readers != NULL) memset(s->readers, 0, SLOTS_READERS_MAX * sizeof *s->readers);
    if (s->rows == NULL || s->metas == NULL || s->map == NULL || s->readers == NULL || s->normalised == NULL) {
        slots_close(s);
        return error_set(err, BRAID_E_NO_MEMORY, store, "memory ran out");
    }
    memset(s->normalised, 0, s->stride * sizeof(float));
    return BRAID_OK;
}

static void map_clear(slots *s) {
    for (size_t i = 0; i < s->map_end; i++) {
        _Atomic uint32_t *chunk = atomic_load_explicit(&s->map[i], memory_order_relaxed);
        if (chunk == NULL) continue;
        atomic_store_explicit(&s->map[i], NULL, memory_order_relaxed);
        free((void *)chunk);
    }
}

void slots_close(slots *s) {
    for (size_t i = 0; i < s->allocated / SLOTS_CHUNK; i++) {
        free(s->rows[i]);
        free(s->metas[i]);
    }
    map_clear(s);
    for (size_t i = 0; s->readers != NULL && i < SLOTS_READERS_MAX; i++) scratch_free(&s->readers[i].scratch);
    free(s->rows);
    free(s->metas);
    free((void *)s->map);
    free(s->readers);
    free(s->normalised);
    free(s->dying.items);
    free(s->limbo.items);
    free(s->free_slots);
    free(s->pending);
    memset(s, 0, sizeof *s);
}

void slots_clear(slots *s) {
    for (size_t i = 0; i < s->allocated / SLOTS_CHUNK; i++) {
        memset((void *)s->metas[i], 0, SLOTS_CHUNK * sizeof(slot_meta));
    }
    map_clear(s);
    atomic_store(&s->used, 0);
    atomic_store(&s->count, 0);
    atomic_store(&s->waiting, 0);
    s->dying.head = s->dying.count = s->limbo.head = s->limbo.count = 0;
    s->free_count = s->pending_count = 0;
    s->count_delta = 0;
}

/* ---- memory ---- */

static bool grow_array(uint32_t **items, size_t *cap, size_t wanted) {
    if (wanted <= *cap) return true;
    size_t grown = *cap < 256 ? 256 : *cap;
    while (grown < wanted) grown *= 2;
    uint32_t *moved = realloc(*items, grown * sizeof **items);
    if (moved == NULL) return false;
    *items = moved;
    *cap = grown;
    return true;
}

/* Room for `more` behind what waits; what was taken from the front is given back. */
static bool queue_reserve(slot_queue *q, size_t more) {
    if (q->head > 0) {
        memmove(q->items, q->items + q->head, q->count * sizeof *q->items);
        q->head = 0;
    }
    if (q->count + more <= q->cap) return true;
    size_t grown = q->cap < 256 ? 256 : q->cap;
    while (grown < q->count + more) grown *= 2;
    slot_wait *items = realloc(q->items, grown * sizeof *items);
    if (items == NULL) return false;
    q->items = items;
    q->cap = grown;
    return true;
}

static void queue_push(slot_queue *q, uint32_t slot, uint64_t epoch) {
    BRAID_ASSERT(q->head + q->count < q->cap);
    q->items[q->head + q->count++] = (slot_wait){epoch, slot};
}

/* Large chunks lie on huge pages where the system gives them: a random row then costs no page walk. */
static float *rows_alloc(size_t bytes) {
    size_t align = bytes >= 2 * (size_t)HUGE_PAGE ? HUGE_PAGE : SLOTS_LINE;
    bytes = (bytes + align - 1) / align * align;
    float *rows = aligned_alloc(align, bytes);
    if (rows != NULL && align == HUGE_PAGE) (void)madvise(rows, bytes, MADV_HUGEPAGE);
    return rows;
}

bool slots_grow(slots *s, size_t n) {
    if (n > SLOTS_MAX) return false;
    while (s->allocated < n) {
        size_t chunk = s->allocated / SLOTS_CHUNK;
        float *rows = rows_alloc((size_t)SLOTS_CHUNK * s->stride * sizeof *rows);
        slot_meta *metas = aligned_alloc(SLOTS_LINE, SLOTS_CHUNK * sizeof *metas);
        if (rows == NULL || metas == NULL) {
            free(rows);
            free(metas);
            return false;
        }
        memset((void *)metas, 0, SLOTS_CHUNK * sizeof *metas);
        s->rows[chunk] = rows;
        s->metas[chunk] = metas;
        s->allocated += SLOTS_CHUNK;
    }
    return grow_array(&s->free_slots, &s->free_cap, s->allocated);
}

static bool map_reserve(slots *s, uint32_t num) {
    size_t at = num >> SLOTS_MAP_SHIFT;
    if (atomic_load_explicit(&s->map[at], memory_order_relaxed) != NULL) return true;
    _Atomic uint32_t *chunk = malloc(SLOTS_MAP_CHUNK * sizeof *chunk);
    if (chunk == NULL) return false;
    for (size_t i = 0; i < SLOTS_MAP_CHUNK; i++) atomic_init(&chunk[i], SLOT_NONE);
    atomic_store_explicit(&s->map[at], chunk, memory_order_release);
    if (at >= s->map_end) s->map_end = at + 1;
    return true;
}

static _Atomic uint32_t *map_place(const slots *s, uint32_t num) {
    _Atomic uint32_t *chunk = atomic_load_explicit(&s->map[num >> SLOTS_MAP_SHIFT], memory_order_relaxed);
    return chunk == NULL ? NULL : &chunk[num & (SLOTS_MAP_CHUNK - 1)];
}

int slots_reserve_kills(slots *s, size_t n, const char *store, braid_error *err) {
    if (queue_reserve(&s->dying, n) && queue_reserve(&s->limbo, s->dying.count + n)) return BRAID_OK;
    return error_set(err, BRAID_E_NO_MEMORY, store, "memory ran out");
}

int slots_reserve(slots *s, const vector_entry *entries, size_t n, const char *store, braid_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (entries[i].num == SLOT_NONE) {
            return error_set(err, BRAID_E_INVALID, store, "item number %u is reserved", SLOT_NONE);
        }
        memcpy(s->normalised, entries[i].values, s->dim * sizeof(float));
        if (!vector_normalise(s->normalised, s->dim)) {
            return error_set(err, BRAID_E_NOT_FINITE, store, "vector %zu (item number %u) is all zero or not finite", i,
                             entries[i].num);
        }
    }
    size_t fresh = n > s->free_count ? n - s->free_count : 0;
    size_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
    if (used + fresh > SLOTS_MAX) return error_set(err, BRAID_E_TOO_LARGE, store, "more than %d vectors", SLOTS_MAX);
    bool enough = slots_grow(s, used + fresh) && grow_array(&s->pending, &s->pending_cap, n);
    for (size_t i = 0; enough && i < n; i++) enough = map_reserve(s, entries[i].num);
    if (!enough) return error_set(err, BRAID_E_NO_MEMORY, store, "memory ran out with %zu vectors", used);
    return slots_reserve_kills(s, 2 * n, store, err);
}

/* ---- a batch ---- */

static uint64_t next_epoch(const slots *s) {
    return atomic_load_explicit(&s->epoch, memory_order_relaxed) + 1;
}

void slots_begin(slots *s) {
    s->pending_count = 0;
    s->dying_before = s->dying.count;
    s->count_delta = 0;
}

void slots_commit(slots *s) {
    uint64_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    atomic_store_explicit(&s->count, count + (uint64_t)s->count_delta, memory_order_relaxed);
    atomic_store_explicit(&s->epoch, next_epoch(s), memory_order_release);
    s->pending_count = 0;
}

static bool kill_slot(slots *s, uint32_t slot) {
    slot_meta *m = slots_meta(s, slot);
    if (atomic_load_explicit(&m->died, memory_order_relaxed) != SLOT_ALIVE) return false;
    atomic_store_explicit(&m->died, next_epoch(s), memory_order_release);
    queue_push(&s->dying, slot, next_epoch(s));
    atomic_fetch_add_explicit(&s->waiting, 1, memory_order_relaxed);
    s->count_delta--;
    return true;
}

bool slots_kill(slots *s, uint32_t num) {
    _Atomic uint32_t *place = map_place(s, num);
    uint32_t slot = place == NULL ? SLOT_NONE : atomic_load_explicit(place, memory_order_relaxed);
    return slot != SLOT_NONE && kill_slot(s, slot);
}

int slots_kill_all(slots *s, const char *store, braid_error *err) {
    slots_reclaim(s, false);
    int code = slots_reserve_kills(s, atomic_load_explicit(&s->count, memory_order_relaxed), store, err);
    if (code != BRAID_OK) return code;
    uint32_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
    slots_begin(s);
    for (uint32_t slot = 0; slot < used; slot++) kill_slot(s, slot);
    slots_commit(s);
    slots_reclaim(s, false);
    return BRAID_OK;
}

uint32_t slots_put(slots *s, const vector_entry *entry) {
    _Atomic uint32_t *place = map_place(s, entry->num);
    uint32_t old = atomic_load_explicit(place, memory_order_relaxed);
    memcpy(s->normalised, entry->values, s->dim * sizeof(float));
    BRAID_ASSERT(vector_normalise(s->normalised, s->dim));
    if (old != SLOT_NONE && atomic_load_explicit(&slots_meta(s, old)->died, memory_order_relaxed) == SLOT_ALIVE &&
        memcmp(slots_row(s, old), s->normalised, s->dim * sizeof(float)) == 0) {
        return SLOT_NONE;
    }
    uint32_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
    uint32_t slot = s->free_count > 0 ? s->free_slots[--s->free_count] : used;
    BRAID_ASSERT(slot < s->allocated);
    slot_meta *m = slots_meta(s, slot);
    memcpy(slots_row(s, slot), s->normalised, s->stride * sizeof(float));
    m->num = entry->num;
    atomic_store_explicit(&m->prev, old, memory_order_relaxed);
    atomic_store_explicit(&m->born, next_epoch(s), memory_order_release);
    atomic_store_explicit(&m->died, SLOT_ALIVE, memory_order_release);
    if (slot == used) atomic_store_explicit(&s->used, used + 1, memory_order_release);
    s->pending[s->pending_count++] = slot;
    s->count_delta++;
    if (old != SLOT_NONE) kill_slot(s, old);
    atomic_store_explicit(place, slot, memory_order_release);
    return slot;
}

/* Nothing of the batch was visible, so its slots die in the epoch they were born in and the killed ones live on. */
void slots_abort(slots *s) {
    for (size_t i = s->dying_before; i < s->dying.count; i++) {
        uint32_t slot = s->dying.items[s->dying.head + i].slot;
        atomic_store_explicit(&slots_meta(s, slot)->died, SLOT_ALIVE, memory_order_release);
    }
    atomic_fetch_sub_explicit(&s->waiting, s->dying.count - s->dying_before, memory_order_relaxed);
    s->dying.count = s->dying_before;
    while (s->pending_count > 0) {
        uint32_t slot = s->pending[--s->pending_count];
        slot_meta *m = slots_meta(s, slot);
        uint32_t prev = atomic_load_explicit(&m->prev, memory_order_relaxed);
        atomic_store_explicit(map_place(s, m->num), prev, memory_order_release);
        kill_slot(s, slot);
    }
    s->count_delta = 0;
    atomic_store_explicit(&s->epoch, next_epoch(s), memory_order_release); /* nothing lives in it; the dead can go */
}

bool slots_adopt(slots *s, uint32_t slot, uint32_t num, uint64_t epoch) {
    if (!map_reserve(s, num) || atomic_load_explicit(map_place(s, num), memory_order_relaxed) != SLOT_NONE) {
        return false;
    }
    slot_meta *m = slots_meta(s, slot);
    m->num = num;
    atomic_store_explicit(&m->prev, SLOT_NONE, memory_order_relaxed);
    atomic_store_explicit(&m->born, epoch, memory_order_release);
    atomic_store_explicit(&m->died, SLOT_ALIVE, memory_order_release);
    atomic_store_explicit(map_place(s, num), slot, memory_order_release);
    return true;
}

/* ---- reclamation ---- */

/* The oldest epoch that a reader may still be looking at. */
static uint64_t oldest_epoch(slots *s) {
    uint64_t oldest = atomic_load_explicit(&s->epoch, memory_order_relaxed);
    for (size_t i = 0; i < SLOTS_READERS_MAX; i++) {
        uint64_t seen = atomic_fetch_add_explicit(&s->readers[i].announced, 0, memory_order_acq_rel);
        if (seen != 0 && seen < oldest) oldest = seen;
    }
    return oldest;
}

/* Takes `slot` out of its number's chain of versions. */
static void map_cut(slots *s, uint32_t slot) {
    _Atomic uint32_t *place = map_place(s, slots_meta(s, slot)->num);
    for (uint32_t at; (at = atomic_load_explicit(place, memory_order_relaxed)) != SLOT_NONE;) {
        if (at == slot) {
            atomic_store_explicit(place, SLOT_NONE, memory_order_release);
            return;
        }
        place = &slots_meta(s, at)->prev;
    }
}

static bool unlink_dead(slots *s, uint64_t oldest) {
    bool any = false;
    uint64_t epoch = atomic_load_explicit(&s->epoch, memory_order_relaxed);
    while (s->dying.count > 0) {
        slot_wait first = s->dying.items[s->dying.head];
        if (first.epoch > oldest) break;
        if (s->hooks.unlink != NULL && !s->hooks.unlink(s->hooks.ctx, first.slot)) break;
        map_cut(s, first.slot);
        s->dying.head++;
        s->dying.count--;
        queue_push(&s->limbo, first.slot, epoch);
        any = true;
    }
    return any;
}

void slots_reclaim(slots *s, bool force) {
    if (s->dying.count == 0 && s->limbo.count == 0) return;
    uint64_t epoch = atomic_load_explicit(&s->epoch, memory_order_relaxed);
    if (unlink_dead(s, force ? epoch : oldest_epoch(s))) {
        /* Readers that come from now on announce an epoch in which these slots cannot be met. */
        atomic_store_explicit(&s->epoch, epoch + 1, memory_order_release);
    }
    uint64_t oldest = oldest_epoch(s);
    while (s->limbo.count > 0 && s->limbo.items[s->limbo.head].epoch < oldest) {
        uint32_t slot = s->limbo.items[s->limbo.head].slot;
        s->limbo.head++;
        s->limbo.count--;
        if (s->hooks.release != NULL) s->hooks.release(s->hooks.ctx, slot);
        s->free_slots[s->free_count++] = slot;
        atomic_fetch_sub_explicit(&s->waiting, 1, memory_order_relaxed);
    }
}
