/* Walking: per seed a breadth-first search by levels, and the sum over seeds.
 *
 *     level d          items and facets at least distance d from the seed
 *     edge x -> y      y unseen: y joins level d + 1 with one connection; y already in level d + 1: one connection more
 *     score of y       sum over seeds of weight x connections / depth
 *
 * Every edge that arrives at y from one step nearer is seen exactly once, from its nearer end; that is why both ends
 * store it. Facets are entered only where a step from them can still end within the depth.
 *
 * What the bounds do. hub_max keeps one genre of 30,000 films out: it would bring 30,000 equal candidates and hide the
 * rest. With hub_max 200, depth 2 looks at no more than 200 edges a facet, about 2,000 a seed with ten facets.
 * visits_max bounds the rest (depth 3 through items of many relations): each seed may use an equal share of what is
 * left, so a rich first seed does not silence the others. A walk that meets a bound or its deadline keeps what it has
 * found, whose connections may then be too few, and says so.
 *
 * Scratch memory is pooled. Item numbers lead through `places` to a dense record; a tag of the walk's epoch says
 * whether a place is of this walk, so nothing is cleared between walks and a walk in steady state allocates nothing.
 * Results do not depend on the order in which edges are stored: strengths are summed in fixed point, and every choice
 * between ways has a total order.
 *
 * Rejected: one search from all seeds at once (it loses which seed gave what), hash tables instead of places
 * (a probe an edge, where a place is one load). */
#include "graph/graph_adjacency.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STORE "graph/adjacency"

enum {
    POOL_MAX = 64,         /* scratches kept */
    DEADLINE_EDGES = 4096, /* edges between two looks at the clock */
    STRENGTH_ONE = 1 << 24 /* 1.0 in fixed point */
};

typedef struct walk_way { /* the strongest way to an item */
    bool relation;
    uint16_t type;
    float strength;
    uint32_t node; /* relation: the nearer item; else the facet */
    uint32_t num;  /* the nearer item, also behind a facet */
} walk_way;

typedef struct walk_record {
    uint32_t num;
    bool is_seed;
    uint8_t depth;       /* least over seeds; 0 while none has arrived */
    uint8_t seed_depth;  /* of the present seed */
    uint32_t seed_epoch; /* tag of the present seed */
    uint32_t seed_connections;
    uint64_t seed_strength;
    walk_way seed_way;
    /* over all seeds so far */
    double score, best;
    uint32_t connections, seed;
    uint64_t strength;
    walk_way way;
} walk_record;

typedef struct walk_place {
    uint32_t epoch, record;
} walk_place;
/* parent: the lowest item that leads here */
typedef struct walk_facet {
    uint32_t epoch, parent;
    unsigned depth;
} walk_facet;
typedef struct walk_rank {
    float score, strength;
    uint32_t num, record;
} walk_rank;
typedef struct walk_list {
    uint32_t *values;
    size_t count, cap;
} walk_list;

struct adjacency_scratch {
    adjacency_scratch *next;
    walk_place *places;
    walk_facet *facet_marks;
    walk_record *records;
    walk_rank *ranks;
    size_t places_cap, facets_cap, records_count, records_cap, ranks_cap;
    walk_list items, items_next, facets, facets_next, touched; /* items, touched: record indexes */
    uint32_t epoch;
};

typedef struct walker {
    const adjacency *g;
    adjacency_scratch *s;
    const graph_walk *w;
    graph_stats *stats;
    uint32_t walk_epoch, seed_epoch;
    uint64_t edges_until; /* the present seed's bound */
    uint64_t clock_at;    /* edges at which the clock is looked at next */
    unsigned level;       /* depth of what arrives now */
    bool stop, no_memory;
} walker;

/* ---- scratch ---- */

static bool scratch_grow(void **data, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t wanted = *cap * 2 > need ? *cap * 2 : need + 64;
    char *more = realloc(*data, wanted * size);
    if (more == NULL) return false;
    memset(more + *cap * size, 0, (wanted - *cap) * size);
    *data = more;
    *cap = wanted;
    return true;
}

#define SCRATCH_GROW(field, cap, need)                                                                                 \
    __extension__({                                                                                                    \
        void *data_ = (field);                                                                                         \
        bool ok_ = scratch_grow(&data_, &(cap), (need), sizeof *(field));                                              \
        (field) = data_;                                                                                               \
        ok_;                                                                                                           \
    })

static void scratch_free(adjacency_scratch *s) {
    if (s == NULL) return;
    free(s->places);
    free(s->facet_marks);
    free(s->records);
    free(s->ranks);
    walk_list *lists[] = {&s->items, &s->items_next, &s->facets, &s->facets_next, &s->touched};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) free(lists[i]->values);
    free(s);
}

void adjacency_pool_free(adjacency *g) {
    for (adjacency_scratch *s = g->pool, *next; s != NULL; s = next) {
        next = s->next;
        scratch_free(s);
    }
    g->pool = NULL;
}

static adjacency_scratch *scratch_take(adjacency *g, size_t seeds) {
    pthread_mutex_lock(&g->pool_lock);
    adjacency_scratch *s = g->pool;
    if (s != NULL) {
        g->pool = s->next;
        g->pool_count--;
    }
    pthread_mutex_unlock(&g->pool_lock);
    if (s == NULL) s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    if (!SCRATCH_GROW(s->places, s->places_cap, g->items_cap) ||
        !SCRATCH_GROW(s->facet_marks, s->facets_cap, g->facets_count)) {
        scratch_free(s);
        return NULL;
    }
    if (s->epoch > UINT32_MAX - seeds - 2) { /* once in four billion: tags start over */
        memset(s->places, 0, s->places_cap * sizeof *s->places);
        memset(s->facet_marks, 0, s->facets_cap * sizeof *s->facet_marks);
        if (s->records != NULL) memset(s->records, 0, s->records_cap * sizeof *s->records);
        s->epoch = 0;
    }
    s->records_count = 0;
    return s;
}

static void scratch_give(adjacency *g, adjacency_scratch *s) {
    pthread_mutex_lock(&g->pool_lock);
    bool keep = g->pool_count < POOL_MAX;
    if (keep) {
        s->next = g->pool;
        g->pool = s;
        g->pool_count++;
    }
    pthread_mutex_unlock(&g->pool_lock);
    if (!keep) scratch_free(s);
}

static bool list_push(walk_list *l, uint32_t value) {
    if (l->count == l->cap && !SCRATCH_GROW(l->values, l->cap, l->count + 1)) return false;
    l->values[l->count++] = value;
    return true;
}

/* ---- one seed ---- */

/* The item's record of this walk; UINT32_MAX when memory ran out. */
static uint32_t walk_record_of(walker *k, uint32_t num) {
    adjacency_scratch *s = k->s;
    walk_place *p = &s->places[num];
    if (p->epoch == k->walk_epoch) return p->record;
    if (s->records_count == s->records_cap && !SCRATCH_GROW(s->records, s->records_cap, s->records_count + 1)) {
        k->no_memory = k->stop = true;
        return UINT32_MAX;
    }
    uint32_t at = (uint32_t)s->records_count++;
    s->records[at] = (walk_record){.num = num};
    *p = (walk_place){.epoch = k->walk_epoch, .record = at};
    return at;
}

/* Is way `a` a better reason than `b`? Relations before facets; the stronger relation, the rarer facet; then names and
 * numbers. */
static bool way_better(const adjacency *g, const walk_way *a, const walk_way *b) {
    if (a->relation != b->relation) return a->relation;
    if (!a->relation) return a->node != b->node && adjacency_facet_order(g, a->node, b->node) < 0;
    if (a->strength > b->strength || a->strength < b->strength) return a->strength > b->strength;
    if (a->node != b->node) return a->node < b->node;
    return a->type != b->type && strcmp(g->types[a->type], g->types[b->type]) < 0;
}

static void arrive_item(walker *k, uint32_t num, const walk_way *way) {
    uint32_t at = walk_record_of(k, num);
    if (at == UINT32_MAX) return;
    walk_record *r = &k->s->records[at];
    if (r->seed_epoch != k->seed_epoch) {
        r->seed_epoch = k->seed_epoch;
        r->seed_depth = (uint8_t)k->level;
        r->seed_connections = 0;
        r->seed_strength = 0;
        r->seed_way = *way;
        if (!list_push(&k->s->items_next, at) || !list_push(&k->s->touched, at)) {
            k->no_memory = k->stop = true;
            return;
        }
    } else if (r->seed_depth != k->level) {
        return;
    } else if (way_better(k->g, way, &r->seed_way)) {
        r->seed_way = *way;
    }
    r->seed_connections++;
    r->seed_strength += way->relation ? (uint64_t)lrintf(way->strength * (float)STRENGTH_ONE) : STRENGTH_ONE;
}

static void arrive_facet(walker *k, uint32_t facet, uint32_t from) {
    walk_facet *m = &k->s->facet_marks[facet];
    if (m->epoch != k->seed_epoch) {
        *m = (walk_facet){.epoch = k->seed_epoch, .parent = from, .depth = k->level};
        if (!list_push(&k->s->facets_next, facet)) k->no_memory = k->stop = true;
    } else if (m->depth == k->level && from < m->parent) {
        m->parent = from;
    }
}

/* How many of `edges` may still be looked at; sets `stop` when the bound or the deadline is met. */
static uint32_t walk_budget(walker *k, uint32_t edges) {
    graph_stats *st = k->stats;
    if (st->edges_seen >= k->clock_at) {
        k->clock_at = st->edges_seen + DEADLINE_EDGES;
        if (deadline_passed(k->g->options.clock, k->w->until)) {
            st->deadline = k->stop = true;
            return 0;
        }
    }
    uint64_t left = k->edges_until - st->edges_seen;
    if (edges > left) {
        edges = (uint32_t)left;
        st->truncated = k->stop = true;
    }
    st->edges_seen += edges;
    return edges;
}

static void walk_from_item(walker *k, uint32_t num) {
    const adjacency_item *it = &k->g->items[num];
    uint32_t links = walk_budget(k, it->links_count);
    for (uint32_t i = 0; i < links; i++) {
        const adjacency_link *l = &it->links[i];
        walk_way way = {.relation = true, .type = l->type, .strength = l->strength, .node = num, .num = num};
        arrive_item(k, l->other, &way);
    }
    if (k->stop || k->level + 1 > k->w->depth) return;
    uint32_t facets = walk_budget(k, it->facets_count);
    for (uint32_t i = 0; i < facets; i++)
        if (k->g->facets[it->facets[i].facet].count <= k->g->options.hub_max) arrive_facet(k, it->facets[i].facet, num);
}

static void walk_from_facet(walker *k, uint32_t facet) {
    const adjacency_facet *f = &k->g->facets[facet];
    walk_way way = {.node = facet, .num = k->s->facet_marks[facet].parent};
    uint32_t members = walk_budget(k, f->count);
    for (uint32_t i = 0; i < members; i++) {
        if (i + 8 < members) __builtin_prefetch(&k->s->places[f->members[i + 8]]);
        arrive_item(k, f->members[i], &way);
    }
}

static void list_swap(walk_list *a, walk_list *b) {
    walk_list t = *a;
    *a = *b;
    *b = t;
    b->count = 0;
}

static void walk_levels(walker *k, uint32_t seed_record) {
    adjacency_scratch *s = k->s;
    s->items.count = s->items_next.count = s->facets.count = s->facets_next.count = s->touched.count = 0;
    if (!list_push(&s->items, seed_record)) {
        k->no_memory = true;
        return;
    }
    for (k->level = 1; k->level <= k->w->depth && !k->stop; k->level++) {
        for (size_t i = 0; i < s->items.count && !k->stop; i++) walk_from_item(k, s->records[s->items.values[i]].num);
        for (size_t i = 0; i < s->facets.count && !k->stop; i++) walk_from_facet(k, s->facets.values[i]);
        list_swap(&s->items, &s->items_next);
        list_swap(&s->facets, &s->facets_next);
    }
}

/* Adds what the present seed found to the sum over seeds. */
static void walk_merge(walker *k, uint32_t seed, double weight) {
    for (size_t i = 0; i < k->s->touched.count; i++) {
        walk_record *r = &k->s->records[k->s->touched.values[i]];
        double gain = weight * (double)r->seed_connections / (double)r->seed_depth;
        if (r->depth == 0 || gain > r->best) {
            r->best = gain;
            r->seed = seed;
            r->connections = r->seed_connections;
            r->strength = r->seed_strength;
            r->way = r->seed_way;
        }
        if (r->depth == 0 || r->seed_depth < r->depth) r->depth = r->seed_depth;
        r->score += gain;
    }
}

static void walk_seed(walker *k, size_t i) {
    uint32_t seed = k->w->seeds[i];
    uint64_t left = k->g->options.visits_max - k->stats->edges_seen;
    k->seed_epoch = ++k->s->epoch;
    k->edges_until = k->stats->edges_seen + left / (k->w->seed_count - i);
    k->stop = k->no_memory || k->stats->deadline;
    if (k->stop || adjacency_node(k->g, seed) == NULL) return;
    uint32_t at = walk_record_of(k, seed);
    if (at == UINT32_MAX) return;
    k->s->records[at].seed_epoch = k->seed_epoch;
    k->s->records[at].seed_depth = 0;
    walk_levels(k, at);
    walk_merge(k, seed, k->w->seed_weights != NULL ? (double)k->w->seed_weights[i] : 1.0);
}

/* ---- the best k ---- */

static bool rank_before(const walk_rank *a, const walk_rank *b) {
    if (a->score > b->score || a->score < b->score) return a->score > b->score;
    if (a->strength > b->strength || a->strength < b->strength) return a->strength > b->strength;
    return a->num < b->num;
}

static int rank_compare(const void *a, const void *b) {
    return rank_before(a, b) ? -1 : 1; /* numbers are distinct: never equal */
}

/* Heap with the worst of the kept at the root. */
static void rank_sift(walk_rank *heap, size_t count, size_t at) {
    for (;;) {
        size_t worst = at, left = 2 * at + 1;
        for (size_t c = left; c < left + 2 && c < count; c++)
            if (rank_before(&heap[worst], &heap[c])) worst = c;
        if (worst == at) return;
        walk_rank t = heap[at];
        heap[at] = heap[worst];
        heap[worst] = t;
        at = worst;
    }
}

static bool walk_rank_all(walker *k, size_t *count) {
    adjacency_scratch *s = k->s;
    size_t most = k->w->k < s->records_count ? k->w->k : s->records_count, kept = 0;
    if (!SCRATCH_GROW(s->ranks, s->ranks_cap, most)) return false;
    for (size_t i = 0; i < s->records_count; i++) {
        const walk_record *r = &s->records[i];
        if (r->is_seed || r->depth == 0 || (k->w->allow != NULL && !bitset_has(k->w->allow, r->num))) continue;
        walk_rank rank = {.score = (float)r->score,
                          .num = r->num,
                          .record = (uint32_t)i,
                          .strength = (float)((double)r->strength / STRENGTH_ONE / r->connections)};
        if (kept < most) {
            s->ranks[kept++] = rank;
            if (kept == most)
                for (size_t at = kept / 2; at-- > 0;) rank_sift(s->ranks, kept, at);
        } else if (rank_before(&rank, &s->ranks[0])) {
            s->ranks[0] = rank;
            rank_sift(s->ranks, kept, 0);
        }
    }
    if (kept > 0) qsort(s->ranks, kept, sizeof *s->ranks, rank_compare);
    *count = kept;
    return true;
}

static void hit_fill(const adjacency *g, const walk_rank *rank, const walk_record *r, graph_hit *out) {
    const char *via = r->way.relation ? g->types[r->way.type] : g->facets[r->way.node].value;
    *out = (graph_hit){
        .num = r->num,
        .score = rank->score,
        .depth = r->depth,
        .connections = r->connections,
        .seed = r->seed,
        .strength = rank->strength,
        .via_num = r->way.num,
        .via_kind = r->way.relation ? GRAPH_ITEM : g->facets[r->way.node].kind,
    };
    size_t len = utf8_prefix(via, strlen(via), sizeof out->via - 1);
    memcpy(out->via, via, len);
    out->via[len] = '\0';
}

/* ---- cost ---- */

static void cost_follow(double *average, double value) {
    *average = *average > 0 ? *average * 0.95 + value * 0.05 : value;
}

static void cost_learn(adjacency *g, const graph_walk *w, const graph_stats *stats, size_t rows, int64_t ns) {
    pthread_mutex_lock(&g->pool_lock);
    adjacency_cost *c = &g->costs[w->depth - 1];
    cost_follow(&c->edges_per_seed, (double)stats->edges_seen / (double)w->seed_count);
    cost_follow(&c->rows_per_seed, (double)rows / (double)w->seed_count);
    if (stats->edges_seen > 0) cost_follow(&c->ns_per_edge, (double)ns / (double)stats->edges_seen);
    pthread_mutex_unlock(&g->pool_lock);
}

void adjacency_estimate(void *self, size_t seeds, unsigned depth, graph_cost *out) {
    adjacency *g = self;
    depth = depth < 1 ? 1 : depth > 3 ? 3 : depth;
    pthread_rwlock_rdlock(&g->lock);
    double known = (double)g->known, n = known > 0 ? known : 1, most = (double)g->options.visits_max;
    double links = 2.0 * (double)g->relations / n, facets = (double)g->memberships / n;
    double members = g->facets_count > 0 ? (double)g->memberships / (double)g->facets_count : 0;
    pthread_rwlock_unlock(&g->lock);
    double hub = (double)g->options.hub_max;
    members = members < hub ? members : hub;
    pthread_mutex_lock(&g->pool_lock);
    adjacency_cost c = g->costs[depth - 1];
    pthread_mutex_unlock(&g->pool_lock);
    if (c.edges_per_seed <= 0) { /* no walk yet: from the graph's averages */
        double reach = links, edges = links;
        for (unsigned d = 2; d <= depth; d++) {
            reach = reach * links + facets * members;
            edges += reach + facets;
        }
        c = (adjacency_cost){.edges_per_seed = edges, .rows_per_seed = reach, .ns_per_edge = 20};
    }
    double edges = c.edges_per_seed * (double)seeds;
    out->rows = c.rows_per_seed * (double)seeds < known ? c.rows_per_seed * (double)seeds : known;
    out->microseconds = 1 + (edges < most ? edges : most) * c.ns_per_edge / 1e3;
}

/* ---- the call ---- */

int adjacency_walk(void *self, const graph_walk *w, graph_hit *out, size_t *count, graph_stats *stats,
                   braid_error *err) {
    adjacency *g = self;
    int64_t start = clock_mono_ns(g->options.clock);
    int rc = BRAID_OK;
    *count = 0;
    pthread_rwlock_rdlock(&g->lock);
    adjacency_scratch *s = scratch_take(g, w->seed_count);
    if (s == NULL) {
        pthread_rwlock_unlock(&g->lock);
        return error_set(err, BRAID_E_NO_MEMORY, STORE, "no memory to walk the graph");
    }
    walker k = {.g = g, .s = s, .w = w, .stats = stats, .walk_epoch = ++s->epoch};
    for (size_t i = 0; i < w->seed_count; i++) walk_seed(&k, i);
    size_t reached = s->records_count;
    for (size_t i = 0; i < w->seed_count; i++)
        if (w->seeds[i] < g->items_cap && s->places[w->seeds[i]].epoch == k.walk_epoch)
            s->records[s->places[w->seeds[i]].record].is_seed = true;
    if (k.no_memory || !walk_rank_all(&k, count))
        rc = error_set(err, BRAID_E_NO_MEMORY, STORE, "no memory to walk the graph");
    for (size_t i = 0; i < *count; i++) hit_fill(g, &s->ranks[i], &s->records[s->ranks[i].record], &out[i]);
    scratch_give(g, s);
    pthread_rwlock_unlock(&g->lock);
    if (rc == BRAID_OK) cost_learn(g, w, stats, reached, clock_mono_ns(g->options.clock) - start);
    return rc;
}
