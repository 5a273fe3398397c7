/* slots: where vectors live, and how one writer and many readers share them without a lock. Private to src/vector; both
 * local stores (flat, hnsw) stand on it.
 *
 * Storage. A vector lies in a slot. Slots come in chunks of 4,096 that are allocated once and never move, so that
 * growth disturbs no reader; rows are padded with zeros to whole cache lines (`stride` floats), so that kernels have
 * no tail. A map from item number to slot, in chunks too, is dense: numbers are given out in order.
 *
 * Versions. The store has an epoch, a counter that moves when a batch is complete. A slot is stamped with the epoch
 * that it is `born` in and the one that it `died` in; a reader takes the epoch g once, when it begins, and sees
 * exactly the slots with born <= g < died:
 *
 *      epoch        7         8         9        10
 *      slot 3   ----+ born 8  |=========|  died 9             a search that began at 8 sees slot 3,
 *      slot 9       .         .         |==================   one that began at 9 or later sees slot 9
 *                                                              nobody sees both or neither
 *
 * So a batch becomes visible as a whole, an upsert is a new slot and the death of the old one in the same epoch, and
 * answers need no duplicate check. A batch that fails half way has never been seen.
 *
 * Reclamation. A reader announces g in a padded place of its own (which also holds its scratch memory) and clears it
 * at the end. A dead slot waits until no reader with g < died is left, is then taken out of the structure around it
 * (hook `unlink`), and waits once more until the readers that could have met it on their way are gone; then it may
 * hold another vector.
 *
 * Why this is safe: a reader announces by a read-modify-write and the writer looks by a read-modify-write of the same
 * word, so one of the two comes first. If the reader's does, the writer sees it and waits. If the writer's does, it
 * happens before everything the reader does, so the reader reads an epoch, links and stamps that no longer lead to
 * what was taken out. (Fences would be cheaper on the writer's side by nothing that can be measured, and
 * ThreadSanitizer does not understand them.)
 *
 * Rejected: reader-writer locks (one long insert stalls every search), reference counts per slot (a shared write for
 * each hop), tombstones for good (recall and memory wear out under churn). */
#ifndef VECTOR_SLOTS_H
#define VECTOR_SLOTS_H

#include <stdatomic.h>

#include "vector/heap.h"
#include "vector/kernels.h"

#define SLOT_NONE  UINT32_MAX
#define SLOT_ALIVE UINT64_MAX /* died: not yet */

enum {
    SLOTS_CHUNK_SHIFT = 12,
    SLOTS_CHUNK = 1 << SLOTS_CHUNK_SHIFT,
    SLOTS_MAX = 1 << 28,
    SLOTS_CHUNKS_MAX = SLOTS_MAX / SLOTS_CHUNK,
    SLOTS_MAP_SHIFT = 11,
    SLOTS_MAP_CHUNK = 1 << SLOTS_MAP_SHIFT,
    SLOTS_MAP_CHUNKS = 1 << (32 - SLOTS_MAP_SHIFT),
    SLOTS_READERS_MAX = 128, /* searches that run at the same moment; more wait their turn */
    SCRATCH_EQUALS_BITS = 10,
    SLOTS_LINE = 64, /* bytes of a cache line */
    SLOTS_LINE_FLOATS = SLOTS_LINE / sizeof(float)
};

/* 0 for born and died: never held a vector. `num` is fixed while the slot can be seen. */
typedef struct slot_meta {
    _Alignas(32) _Atomic uint64_t born;
    _Atomic uint64_t died;
    uint32_t num;
    _Atomic uint32_t prev; /* the slot that held this number before, while a reader may still want it */
} slot_meta;

/* What a search needs besides the store; kept from search to search, so that a steady stream allocates nothing. */
typedef struct scratch {
    float *query; /* stride floats, normalised, padded */
    heap results, candidates;
    uint8_t *visited; /* a slot was met if its byte equals tag */
    size_t visited_cap;
    uint8_t tag;
    uint8_t equals[1 << SCRATCH_EQUALS_BITS]; /* how often a similarity was met, by its hash */
} scratch;

typedef struct reader {
    _Alignas(128) _Atomic uint64_t announced; /* 0: free */
    scratch scratch;
} reader;

typedef struct slot_wait {
    uint64_t epoch;
    uint32_t slot;
} slot_wait;
typedef struct slot_queue {
    slot_wait *items;
    size_t head, count, cap;
} slot_queue;

/* How the structure around the slots takes part in reclamation; all may be NULL. */
typedef struct slots_hooks {
    bool (*unlink)(void *ctx, uint32_t slot);  /* false: memory ran out, ask again later */
    void (*release)(void *ctx, uint32_t slot); /* nobody can reach it any more */
    void *ctx;
} slots_hooks;

typedef struct slots {
    uint32_t dim, stride;
    const vector_kernel *kernel;
    vector_dot4_fn *dot4;
    const clock_ops *clock;
    slots_hooks hooks;

    float **rows;                     /* [SLOTS_CHUNKS_MAX] */
    slot_meta **metas;                /* [SLOTS_CHUNKS_MAX] */
    _Atomic(_Atomic uint32_t *) *map; /* [SLOTS_MAP_CHUNKS] */
    _Atomic uint64_t epoch;
    _Atomic uint64_t count; /* items that a new search sees */
    _Atomic uint32_t used;  /* slots 0..used-1 have held something */
    _Atomic uint64_t waiting;
    reader *readers;

    /* The writer's. */
    uint32_t allocated;      /* slots that have memory */
    size_t map_end;          /* chunks of the map that may have memory */
    slot_queue dying, limbo; /* waiting to be unlinked; waiting to be released */
    uint32_t *free_slots;
    size_t free_count, free_cap;
    uint32_t *pending;
    size_t pending_count, pending_cap; /* born in the batch under way */
    size_t dying_before;               /* dying.count when the batch began */
    int64_t count_delta;
    float *normalised; /* one row */
} slots;

int slots_open(slots *s, const vector_options *options, const char *store, slots_hooks hooks, braid_error *err);
void slots_close(slots *s); /* also after a failed open */

static inline float *slots_row(const slots *s, uint32_t slot) {
    return s->rows[slot >> SLOTS_CHUNK_SHIFT] + (size_t)(slot & (SLOTS_CHUNK - 1)) * s->stride;
}
static inline slot_meta *slots_meta(const slots *s, uint32_t slot) {
    return &s->metas[slot >> SLOTS_CHUNK_SHIFT][slot & (SLOTS_CHUNK - 1)];
}
/* `died` first: it is the last to be written when a slot is used again. */
static inline bool slots_visible(slot_meta *m, uint64_t epoch) {
    return atomic_load_explicit(&m->died, memory_order_acquire) > epoch &&
           atomic_load_explicit(&m->born, memory_order_acquire) <= epoch;
}

/* ---- readers ---- */
reader *slots_enter(slots *s, uint64_t *epoch); /* waits while SLOTS_READERS_MAX searches run */
void slots_leave(reader *r);
/* Normalises `values` into the scratch's query; DIMENSION does not arise (dim is the store's), NOT_FINITE or INVALID
 * do. */
int slots_query(const slots *s, scratch *sc, const float *values, const char *store, braid_error *err);
/* The slot that holds `num` at `epoch`, or SLOT_NONE. */
uint32_t slots_find(const slots *s, uint32_t num, uint64_t epoch);
int slots_fetch(slots *s, uint32_t num, float *out, const char *store, braid_error *err);
void slots_fetch_many(slots *s, const uint32_t *nums, size_t n, float *out, bool *found);
int slots_score(slots *s, const float *query, const uint32_t *nums, size_t n, float *out, const char *store,
                braid_error *err);
int slots_scan(slots *s, vector_scan_fn *each, void *ctx, braid_error *err);
void scratch_free(scratch *sc);

/* ---- the writer ---- */
/* Checks a batch and gets all the memory that the slots of `n` more items want, so that slots_put and slots_kill
 * cannot fail. */
int slots_reserve(slots *s, const vector_entry *entries, size_t n, const char *store, braid_error *err);
int slots_reserve_kills(slots *s, size_t n, const char *store, braid_error *err);
/* Begins, ends or takes back a batch. */
void slots_begin(slots *s);
void slots_commit(slots *s);
void slots_abort(slots *s);
/* Stores the vector in a slot born in this batch; the number's old slot dies. SLOT_NONE if the very same vector is
 * there already. */
uint32_t slots_put(slots *s, const vector_entry *entry);
bool slots_kill(slots *s, uint32_t num);
/* Every item dies, in a batch of its own; searches go on meanwhile. */
int slots_kill_all(slots *s, const char *store, braid_error *err);
/* Moves what has waited long enough: dying -> limbo -> free. `force` does not wait for the readers before unlinking. */
void slots_reclaim(slots *s, bool force);
/* Memory for slots up to `n` of them. */
bool slots_grow(slots *s, size_t n);
/* For loading: a slot that is filled by the caller, visible from `epoch` on. Memory for number's map is got here. */
bool slots_adopt(slots *s, uint32_t slot, uint32_t num, uint64_t epoch);
/* Forgets everything; no reader may be under way. */
void slots_clear(slots *s);

/* ---- looking it over ---- */
/* Counts a problem; the first one is kept as text. */
void check_problem(vector_check_report *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Map, stamps, counts and rows agree; the writer must be idle. */
void slots_check(slots *s, vector_check_report *out);
uint64_t slots_bytes(const slots *s); /* memory of the slots in use */

/* ---- exact search ---- */
typedef struct exact_request {
    size_t k;
    const bitset *allow;
    uint64_t allow_count, epoch;
    deadline until;
} exact_request;
/* The k nearest of the set by looking at each; the scratch holds the query, and the answer, in its results. */
int exact_search(slots *s, scratch *sc, const exact_request *rq, vector_stats *stats);
/* Empties the results into `out`, nearest first. */
size_t exact_answer(const slots *s, scratch *sc, size_t k, candidate *out);

#endif
