/* Members of facets that are kept on this side of Neo4j (graph_neo4j_kept.h).
 *
 * Two thirds of the server's work for a walk is to go from some thirty facets to their members, up to 200 each, and to
 * read the number of each. The facets of one person's taste are asked for again and again, so their members are kept.
 * All else of a walk is asked for each time, the number of a facet's members too.
 *
 * Exactly what the server holds, by four rules. An item that changes takes every kept facet with it that it is a member
 * of. A facet that it joins is told by the server's count, which comes with each walk: another count than what is kept
 * is asked for anew. Members are put only if the server had applied the last change of each of them before it was
 * asked: those that a slow feed is still to take away are answered, but not kept. And only if nothing was dropped
 * meanwhile.
 *
 * An id is given anew by the server after its node was deleted; the name and kind must be the same too. When there
 * is no room, everything goes: what is used comes back with the next walks. */
#include "graph/graph_neo4j_kept.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1 << 15, NOTES = 1 << 14, TOUCHED_ONE_BY_ONE = 32 };

typedef struct kept_facet {
    int64_t id;
    graph_node_kind kind;
    uint32_t count;
    uint32_t *nums; /* ascending, the name behind them; NULL: none is kept here */
} kept_facet;

struct graph_neo4j_kept {
    size_t bytes_max;
    pthread_mutex_t lock; /* of all that follows */
    kept_facet *slots;    /* by a hash of the id; one a slot */
    uint64_t *notes;      /* LSN of the last change, by remainders of the number */
    size_t bytes;
    uint64_t drops;
    metric_counter *hits, *misses;
};

graph_neo4j_kept *graph_neo4j_kept_new(size_t bytes, metrics *m) {
    graph_neo4j_kept *k = calloc(1, sizeof *k);
    if (k == NULL) return NULL;
    k->bytes_max = bytes;
    k->slots = calloc(SLOTS, sizeof *k->slots);
    k->notes = calloc(NOTES, sizeof *k->notes);
    pthread_mutex_init(&k->lock, NULL);
    if (k->slots == NULL || k->notes == NULL) {
        graph_neo4j_kept_free(k);
        return NULL;
    }
    if (m != NULL) {
        k->hits = metrics_counter(m, "graph_kept_hits", "", "Facets whose members a walk found kept.");
        k->misses = metrics_counter(m, "graph_kept_misses", "", "Facets whose members a walk had to fetch.");
    }
    return k;
}

void graph_neo4j_kept_free(graph_neo4j_kept *k) {
    if (k == NULL) return;
    for (size_t i = 0; k->slots != NULL && i < SLOTS; i++) free(k->slots[i].nums);
    pthread_mutex_destroy(&k->lock);
    free(k->slots);
    free(k->notes);
    free(k);
}

static kept_facet *slot_of(graph_neo4j_kept *k, int64_t id) {
    return &k->slots[((uint64_t)id * UINT64_C(0x9E3779B97F4A7C15)) >> 49];
}
_Static_assert(SLOTS == 1 << (64 - 49), "the hash fills the slots");

static const char *name_of(const kept_facet *f) {
    return (const char *)(f->nums + f->count);
}

static size_t bytes_of(const kept_facet *f) {
    return f->count * sizeof *f->nums + strlen(name_of(f)) + 1;
}

static void drop(graph_neo4j_kept *k, kept_facet *f) {
    if (f->nums == NULL) return;
    k->bytes -= bytes_of(f);
    free(f->nums);
    *f = (kept_facet){0};
}

static void drop_all(graph_neo4j_kept *k) {
    for (size_t i = 0; i < SLOTS; i++) drop(k, &k->slots[i]);
}

graph_neo4j_kept_look graph_neo4j_kept_begin(graph_neo4j_kept *k, uint64_t applied) {
    pthread_mutex_lock(&k->lock);
    graph_neo4j_kept_look look = {applied, k->drops};
    pthread_mutex_unlock(&k->lock);
    return look;
}

bool graph_neo4j_kept_get(graph_neo4j_kept *k, const graph_neo4j_kept_facet *f, bool (*each)(void *ctx, uint32_t num),
                          void *ctx, bool *ended) {
    *ended = false;
    pthread_mutex_lock(&k->lock);
    const kept_facet *at = slot_of(k, f->id);
    bool found = at->nums != NULL && at->id == f->id && at->kind == f->kind && at->count == f->degree &&
                 strcmp(name_of(at), f->value) == 0;
    for (uint32_t i = 0; found && !*ended && i < at->count; i++) *ended = !each(ctx, at->nums[i]);
    pthread_mutex_unlock(&k->lock);
    metric_add(found ? k->hits : k->misses, 1);
    return found;
}

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void graph_neo4j_kept_put(graph_neo4j_kept *k, graph_neo4j_kept_look look, const graph_neo4j_kept_facet *f,
                          uint32_t *nums, size_t n) {
    size_t name = strlen(f->value) + 1;
    uint32_t *copy = n > 0 && n == f->degree ? malloc(n * sizeof *copy + name) : NULL;
    if (copy == NULL) return; /* not all of them, or no memory: it is asked for again */
    qsort(nums, n, sizeof *nums, compare_u32);
    memcpy(copy, nums, n * sizeof *copy);
    memcpy(copy + n, f->value, name);
    pthread_mutex_lock(&k->lock);
    bool good = k->drops == look.drops;
    for (size_t i = 0; good && i < n; i++) good = k->notes[nums[i] % NOTES] <= look.applied;
    if (good) {
        kept_facet *at = slot_of(k, f->id);
        drop(k, at);
        if (k->bytes + n * sizeof *copy + name > k->bytes_max) drop_all(k);
        *at = (kept_facet){f->id, f->kind, (uint32_t)n, copy};
        k->bytes += bytes_of(at);
    } else {
        free(copy);
    }
    pthread_mutex_unlock(&k->lock);
}

void graph_neo4j_kept_touched(graph_neo4j_kept *k, const uint32_t *nums, size_t n, uint64_t lsn) {
    if (n == 0) return;
    pthread_mutex_lock(&k->lock);
    k->drops++;
    for (size_t i = 0; i < n; i++)
        if (k->notes[nums[i] % NOTES] < lsn) k->notes[nums[i] % NOTES] = lsn;
    if (n > TOUCHED_ONE_BY_ONE) drop_all(k); /* cheaper than to look for them */
    for (size_t s = 0; n <= TOUCHED_ONE_BY_ONE && s < SLOTS; s++) {
        kept_facet *f = &k->slots[s];
        for (size_t i = 0; f->nums != NULL && i < n; i++)
            if (bsearch(&nums[i], f->nums, f->count, sizeof *f->nums, compare_u32) != NULL) drop(k, f);
    }
    pthread_mutex_unlock(&k->lock);
}

void graph_neo4j_kept_clear(graph_neo4j_kept *k, uint64_t lsn) {
    pthread_mutex_lock(&k->lock);
    k->drops++;
    for (size_t i = 0; i < NOTES; i++)
        if (k->notes[i] < lsn) k->notes[i] = lsn;
    drop_all(k);
    pthread_mutex_unlock(&k->lock);
}
