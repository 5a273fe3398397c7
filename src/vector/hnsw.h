/* hnsw: the graph store. Private to src/vector; hnsw_{insert,search,delete,links,file,check}.c implement it,
 * vector_hnsw.c is its table.
 *
 * The structure is the hierarchical navigable small world of Malkov & Yashunin (2016, arXiv:1603.09320): every item
 * is a node of level 0; one in M of them is also a node of level 1, one in M of those of level 2, and so on. A search
 * walks greedily from the entry point down to level 1 and then widely (ef) on level 0.
 *
 *      level 2      e ------------- .                        M links a node
 *      level 1      e ---- o ------ o ------ o               M links
 *      level 0      e - o - o - o - o - o -- o - o - o       2M links
 *
 * Layout. A node is a slot (slots.h); vector, stamps and links lie in parallel chunks that never move:
 *
 *      slots.rows    [slot] stride floats            huge pages; read once a distance
 *      slots.metas   [slot] born died num prev       read when a node could become a result
 *      links0        [slot] 2M x u32, ended by NONE  two cache lines at M = 16; read once a hop
 *      nodes         [slot] rank, level, in-links    the writer's, except `upper`
 *      upper         level x (M x u32)               allocated with the 1 in M nodes that have it
 *
 * Concurrency. One writer, any number of searches without a lock. Links are atomic words: a release store publishes a
 * node whose vector, stamps and own links were complete before; an acquire load follows it. A search may see a list
 * half old and half new: each entry leads to a node that is whole, and `visited` absorbs repetitions, so the worst is
 * a detour. What a search may RETURN is decided by the stamps alone (slots.h), so its answer is of one epoch whatever
 * it met on its way. A removed node stays as a stepping stone until the searches that may return it are gone; then it
 * is unlinked, its neighbours are linked past it, and its slot waits for the searches that may still stand on it.
 *
 * Reachability. The paper's pruning can drop the last link to a node, and deletes make it worse; then k results are
 * not found though they exist. Here every node has a rank (the order of insertion), and on level 0 each node but the
 * first keeps
 *      (a) a link FROM a node of lower rank, and (b) a link TO a node of lower rank.
 * By induction (a) every node can be reached from the first, and by (b) the first from every node; so every node is
 * reached from everywhere. Both are local: a count of in-links from lower ranks (`lower_in`) says whether a link is
 * the last of its kind and must stay. Pruning leaves such links alone; hnsw_links.c finds room for a new one.
 * Rejected: a spanning tree with parents (re-parenting wants a descent check), and looking for unreachable nodes now
 * and then (wrong in between).
 *
 * In-links are kept beside the links (the writer's, about 80 bytes a node), since a removal must find who points at a
 * node; scanning the graph for them (pgvector's vacuum) makes deletes wait. */
#ifndef VECTOR_HNSW_H
#define VECTOR_HNSW_H

#include <pthread.h>

#include "vector/meter.h"
#include "vector/slots.h"

#define HNSW_STORE "vector/hnsw"

enum {
    HNSW_M_MIN = 4,
    HNSW_M_MAX = 64,
    HNSW_M_DEFAULT = 16,
    HNSW_EF_CONSTRUCTION_DEFAULT = 200,
    HNSW_EF_SEARCH_DEFAULT = 64,
    HNSW_EF_MAX = 200000,
    HNSW_LEVEL_MAX = 15,
    HNSW_LINKS_MAX = 2 * HNSW_M_MAX
};

typedef struct hnsw_in {
    uint32_t *items;
    uint32_t count, cap;
} hnsw_in; /* who points at a node on one level */

typedef struct hnsw_upper {
    hnsw_in in[HNSW_LEVEL_MAX];
    _Atomic uint32_t links[]; /* level x M */
} hnsw_upper;

typedef struct hnsw_node {
    uint64_t rank;
    uint32_t lower_in; /* in-links of level 0 from nodes of lower rank */
    uint8_t level;
    bool linked; /* in the graph */
    hnsw_in in0;
    hnsw_upper *upper; /* NULL on level 0 */
} hnsw_node;

typedef struct hnsw {
    slots s;
    uint32_t m, m0;
    unsigned ef_construction, ef_search;
    uint64_t seed;
    _Atomic(uint32_t) **links0; /* [SLOTS_CHUNKS_MAX] */
    hnsw_node **nodes;          /* [SLOTS_CHUNKS_MAX] */
    _Atomic uint64_t entry;     /* level << 32 | slot, or HNSW_NO_ENTRY: one word, so that they fit each other */

    /* there is one feed thread; the lock keeps save and check apart from it. Searches never take it. */
    pthread_mutex_t write_lock;
    uint32_t chunks; /* chunks of links0 and nodes that have memory */
    uint32_t root;   /* the node of lowest rank, or SLOT_NONE */
    uint32_t orphan; /* a node that nobody of lower rank links to, since memory ran out; or SLOT_NONE */
    uint64_t ranks;  /* the next rank; also counts inserts for the level generator */
    uint64_t linked; /* nodes in the graph, removed ones included */
    scratch scratch;

    meter walk_length;       /* distances for each unit of ef, without a filter */
    meter walk_ns, exact_ns; /* nanoseconds for each distance */
} hnsw;

#define HNSW_NO_ENTRY UINT64_MAX

static inline hnsw_node *hnsw_node_of(const hnsw *h, uint32_t slot) {
    return &h->nodes[slot >> SLOTS_CHUNK_SHIFT][slot & (SLOTS_CHUNK - 1)];
}
static inline unsigned hnsw_capacity(const hnsw *h, unsigned level) {
    return level == 0 ? h->m0 : h->m;
}
/* The links of a node on a level it has: hnsw_capacity words, those in use first, NONE after them. */
static inline _Atomic uint32_t *hnsw_links(const hnsw *h, uint32_t slot, unsigned level) {
    if (level == 0) return h->links0[slot >> SLOTS_CHUNK_SHIFT] + (size_t)(slot & (SLOTS_CHUNK - 1)) * h->m0;
    return hnsw_node_of(h, slot)->upper->links + (size_t)(level - 1) * h->m;
}
static inline hnsw_in *hnsw_in_of(const hnsw *h, uint32_t slot, unsigned level) {
    hnsw_node *n = hnsw_node_of(h, slot);
    return level == 0 ? &n->in0 : &n->upper->in[level - 1];
}
static inline bool hnsw_lower(const hnsw *h, uint32_t a, uint32_t b) {
    return hnsw_node_of(h, a)->rank < hnsw_node_of(h, b)->rank;
}
static inline float hnsw_sim(const hnsw *h, uint32_t a, uint32_t b) {
    return h->s.kernel->dot(slots_row(&h->s, a), slots_row(&h->s, b), h->s.stride);
}

/* ---- hnsw_links.c: single links and the two rules. The writer's. ---- */
/* returns their number */
unsigned hnsw_copy_links(const hnsw *h, uint32_t slot, unsigned level, uint32_t out[HNSW_LINKS_MAX]);
bool hnsw_add_link(hnsw *h, unsigned level, uint32_t from, uint32_t to); /* false: full, or memory ran out */
/* into an empty place; false: no memory */
bool hnsw_set_link(hnsw *h, unsigned level, uint32_t from, unsigned at, uint32_t to);
bool hnsw_replace_link(hnsw *h, unsigned level, uint32_t from, uint32_t old, uint32_t to);
void hnsw_remove_link(hnsw *h, unsigned level, uint32_t from, uint32_t to);
/* `to` would lose its last in-link from a lower rank. */
bool hnsw_last_lower_in(const hnsw *h, uint32_t from, uint32_t to);
/* Gives `slot` an in-link from a lower rank, making room for it if need be. */
bool hnsw_hold(hnsw *h, uint32_t slot);
/* Takes up again what the last hnsw_hold had to leave when memory ran out. */
bool hnsw_mend(hnsw *h);
void hnsw_count_lower_in(hnsw *h, uint32_t slot);

/* ---- hnsw_insert.c ---- */
/* Algorithm 4: of `found` (largest key first) at most `max` that are nearer to the base than to each other. */
unsigned hnsw_select(const hnsw *h, const heap_item *found, size_t n, unsigned max, uint32_t *out);
bool hnsw_insert(hnsw *h, uint32_t slot);     /* false: memory ran out; the node may be linked in part, and dies */
bool hnsw_grow(hnsw *h, size_t slots_wanted); /* memory of links and nodes */
unsigned hnsw_draw_level(const hnsw *h, uint64_t ordinal);
bool hnsw_node_init(hnsw *h, uint32_t slot, unsigned level);

/* ---- hnsw_delete.c: hooks of slots ---- */
bool hnsw_unlink(void *h, uint32_t slot);
void hnsw_release(void *h, uint32_t slot);

/* ---- hnsw_search.c ---- */
typedef struct hnsw_walk {
    unsigned level;
    size_t ef;
    uint64_t epoch; /* what may be a result; HNSW_ANY: every node */
    const bitset *allow;
    unsigned equals_max; /* nodes of the same similarity to go on from, at most; 0: all */
    uint64_t budget;     /* distances; 0: none */
    deadline until;
} hnsw_walk;
#define HNSW_ANY UINT64_MAX
typedef enum hnsw_end { HNSW_END_DONE, HNSW_END_BUDGET, HNSW_END_DEADLINE, HNSW_END_NO_MEMORY } hnsw_end;

/* Algorithm 2 from `start` towards the scratch's query; results are left in its heap. */
hnsw_end hnsw_walk_level(const hnsw *h, scratch *sc, const hnsw_walk *w, uint32_t start, vector_stats *stats);
/* The nearest node of level `to` that greedy steps from the entry point's level `from` reach. */
uint32_t hnsw_descend(const hnsw *h, const float *query, uint32_t start, unsigned from, unsigned to,
                      vector_stats *stats);
int hnsw_search(hnsw *h, const vector_query *q, candidate *out, size_t *count, vector_stats *stats, braid_error *err);
void hnsw_estimate(hnsw *h, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out);

/* ---- hnsw_file.c, hnsw_check.c: the caller holds the write lock ---- */
int hnsw_save(hnsw *h, const char *path, uint64_t epoch, uint64_t lsn, braid_error *err);
int hnsw_load(hnsw *h, const char *path, uint64_t epoch, uint64_t *lsn, braid_error *err);
bool hnsw_check(hnsw *h, vector_check_report *out); /* false when memory ran out */
void hnsw_reset(hnsw *h);                           /* empty; no reader may be under way */

#endif
