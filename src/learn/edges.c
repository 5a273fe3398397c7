/* Tables of edges: per target the few sources that speak for it.
 *
 * Fitting cuts per target, because a target that keeps its best speakers is scored well whatever those speakers say of
 * others (cutting per source loses a tenth of the quality of cosine neighbours). Answering starts from a history, so
 * the table is turned round once: per source the targets, and a score is a sum over a few dozen short rows.
 *
 * A draft holds one list a target, filled by several threads; finishing lays them end to end. */
#include <stdlib.h>
#include <string.h>

#include "learn/learn.h"

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "learn/edges", "no memory for edges between items");
}

void learn_edges_free(learn_edges *e) {
    if (!e) return;
    free(e->at);
    free(e->item);
    free(e->weight);
    free(e);
}

static learn_edges *edges_new(uint32_t items, uint64_t count) {
    learn_edges *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->items = items;
    e->count = count;
    e->at = calloc((size_t)items + 2, sizeof *e->at);
    e->item = malloc((count + 1) * sizeof *e->item);
    e->weight = malloc((count + 1) * sizeof *e->weight);
    if (e->at && e->item && e->weight) return e;
    learn_edges_free(e);
    return NULL;
}

int learn_edges_of(uint32_t items, const uint32_t *target, const learn_edge *edge, size_t n, learn_edges **out,
                   braid_error *err) {
    learn_edges *e = *out = edges_new(items, n);
    if (!e) return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        BRAID_ASSERT(target[i] < items && edge[i].item < items && (i == 0 || target[i - 1] <= target[i]));
        e->at[target[i] + 1]++;
        e->item[i] = edge[i].item;
        e->weight[i] = edge[i].weight;
    }
    for (uint32_t i = 0; i < items; i++) e->at[i + 1] += e->at[i];
    return BRAID_OK;
}

int learn_edges_transpose(const learn_edges *e, learn_edges **out, braid_error *err) {
    learn_edges *t = *out = edges_new(e->items, e->count);
    if (!t) return no_memory(err);
    for (uint64_t i = 0; i < e->count; i++) t->at[e->item[i] + 1]++;
    for (uint32_t i = 0; i < e->items; i++) t->at[i + 1] += t->at[i];
    for (uint32_t target = 0; target < e->items; target++)
        for (uint64_t i = e->at[target]; i < e->at[target + 1]; i++) {
            uint64_t to = t->at[e->item[i]]++;
            t->item[to] = target;
            t->weight[to] = e->weight[i];
        }
    memmove(t->at + 1, t->at, e->items * sizeof *t->at);
    t->at[0] = 0;
    return BRAID_OK;
}

/* ---- the strongest of a list ---- */
/* An edge as one number that is the smaller the stronger it is: the weight's bits turned so that they order as
 * weights do, then the item. So an order is one comparison of integers, made in place of the edges, and no two are
 * equal. */
typedef union ranked {
    learn_edge edge;
    uint64_t key;
} ranked;
_Static_assert(sizeof(ranked) == sizeof(learn_edge), "keys are made in place");

static uint64_t key_of(learn_edge e) {
    uint32_t bits;
    float weight = e.weight + 0.0f; /* -0 is 0 */
    memcpy(&bits, &weight, sizeof bits);
    bits ^= bits >> 31 ? UINT32_MAX : UINT32_C(1) << 31;
    return (uint64_t)~bits << 32 | e.item;
}

static learn_edge edge_of(uint64_t key) {
    learn_edge e = {.item = (uint32_t)key};
    uint32_t bits = ~(uint32_t)(key >> 32);
    bits ^= bits >> 31 ? UINT32_C(1) << 31 : UINT32_MAX;
    memcpy(&e.weight, &bits, sizeof bits);
    return e;
}

static inline uint64_t key_at(const learn_edge *list, size_t i) {
    ranked r = {.edge = list[i]};
    return r.key;
}

static inline void key_put(learn_edge *list, size_t i, uint64_t key) {
    ranked r = {.key = key};
    list[i] = r.edge;
}

/* Short lists, and short parts of long ones. */
static void insert_all(learn_edge *list, size_t begin, size_t end) {
    for (size_t i = begin + 1; i < end; i++) {
        uint64_t key = key_at(list, i);
        size_t to = i;
        for (; to > begin && key_at(list, to - 1) > key; to--) list[to] = list[to - 1];
        key_put(list, to, key);
    }
}

/* Quicksort of [begin, end) that leaves alone what lies wholly beyond `keep`: select and sort in one. The pivot's
 * place comes from a generator and not from the data, which decides its speed but never the outcome. */
static void arrange(learn_edge *list, size_t begin, size_t end, size_t keep, uint64_t *seed) {
    enum { SHORT = 16 };
    while (end - begin > SHORT) {
        *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint64_t pivot = key_at(list, begin + (size_t)((*seed >> 33) % (end - begin)));
        size_t low = begin, high = end - 1;
        for (;;) {
            while (key_at(list, low) < pivot) low++;
            while (key_at(list, high) > pivot) high--;
            if (low >= high) break;
            learn_edge swap = list[low];
            list[low++] = list[high];
            list[high--] = swap;
        }
        /* what is before it <= pivot <= the rest; begin: the pivot was the first */
        size_t cut = low > begin ? low : begin + 1;
        if (cut < keep) arrange(list, cut, end, keep, seed);
        end = cut;
    }
    insert_all(list, begin, end);
}

size_t learn_edges_strongest(learn_edge *list, size_t n, size_t keep) {
    uint64_t seed = n;
    if (keep > n) keep = n;
    if (keep == 0) return 0;
    for (size_t i = 0; i < n; i++) key_put(list, i, key_of(list[i]));
    arrange(list, 0, n, keep, &seed);
    for (size_t i = 0; i < n; i++) list[i] = edge_of(key_at(list, i));
    return keep;
}

/* ---- drafts ---- */
struct learn_edges_draft {
    uint32_t items;
    struct draft_list {
        learn_edge *edges;
        size_t count;
    } list[];
};

learn_edges_draft *learn_edges_draft_new(uint32_t items) {
    learn_edges_draft *d = calloc(1, sizeof *d + (size_t)items * sizeof d->list[0]);
    if (d) d->items = items;
    return d;
}

void learn_edges_draft_free(learn_edges_draft *d) {
    if (!d) return;
    for (uint32_t i = 0; i < d->items; i++) free(d->list[i].edges);
    free(d);
}

bool learn_edges_draft_set(learn_edges_draft *d, uint32_t target, const learn_edge *list, size_t n) {
    BRAID_ASSERT(target < d->items && !d->list[target].edges);
    if (n == 0) return true;
    learn_edge *copy = malloc(n * sizeof *copy);
    if (!copy) return false;
    memcpy(copy, list, n * sizeof *copy);
    d->list[target].edges = copy;
    d->list[target].count = n;
    return true;
}

int learn_edges_draft_finish(learn_edges_draft *d, learn_edges **out, braid_error *err) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < d->items; i++) count += d->list[i].count;
    learn_edges *e = *out = edges_new(d->items, count);
    for (uint32_t i = 0; e && i < d->items; i++) {
        uint64_t to = e->at[i];
        for (size_t k = 0; k < d->list[i].count; k++, to++) {
            e->item[to] = d->list[i].edges[k].item;
            e->weight[to] = d->list[i].edges[k].weight;
        }
        e->at[i + 1] = to;
    }
    learn_edges_draft_free(d);
    return e ? BRAID_OK : no_memory(err);
}
