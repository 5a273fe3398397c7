/* Looking at the in-memory graph without walking it: neighbours, what two items share, everything, and whether it is
 * sound. */
#include "graph/graph_adjacency.h"

#include <stdlib.h>
#include <string.h>

#define STORE "graph/adjacency"

/* The names that these edges have in any graph store. */
static const char *membership_type(graph_node_kind kind) {
    static const char *const names[] = {
        [GRAPH_ITEM] = "",         [GRAPH_GENRE] = "BELONGS_TO",   [GRAPH_THEME] = "HAS_THEME",
        [GRAPH_MOOD] = "HAS_MOOD", [GRAPH_CONTEXT] = "IN_CONTEXT", [GRAPH_PERSON] = "HAS_PERSON"};
    return names[kind];
}

static graph_neighbour neighbour_of_link(const adjacency *g, const adjacency_link *l) {
    const adjacency_item *other = &g->items[l->other];
    return (graph_neighbour){.kind = GRAPH_ITEM,
                             .num = l->other,
                             .label = "",
                             .type = g->types[l->type],
                             .strength = l->strength,
                             .outgoing = l->out != 0,
                             .degree = other->links_count + other->facets_count};
}

static graph_neighbour neighbour_of_facet(const adjacency *g, uint32_t facet) {
    const adjacency_facet *f = &g->facets[facet];
    return (graph_neighbour){.kind = f->kind,
                             .num = facet,
                             .label = f->value,
                             .type = membership_type(f->kind),
                             .strength = 1,
                             .outgoing = true,
                             .degree = f->count};
}

static bool enrich(const adjacency *g, const adjacency_item *it, size_t which, graph_enrich_fn *each, void *ctx) {
    bool more = true;
    for (uint32_t i = 0; more && i < it->links_count; i++) {
        graph_neighbour n = neighbour_of_link(g, &it->links[i]);
        more = each(ctx, which, &n);
    }
    for (uint32_t i = 0; more && i < it->facets_count; i++) {
        graph_neighbour n = neighbour_of_facet(g, it->facets[i].facet);
        more = each(ctx, which, &n);
    }
    return more;
}

int adjacency_enrich_batch(void *self, const uint32_t *nums, size_t n, deadline until, graph_enrich_fn *each, void *ctx,
                           bool *found, braid_error *err) {
    (void)until;
    (void)err;
    adjacency *g = self;
    bool more = true;
    pthread_rwlock_rdlock(&g->lock);
    for (size_t i = 0; i < n; i++) {
        const adjacency_item *it = adjacency_node(g, nums[i]);
        found[i] = it != NULL;
        if (it != NULL && more) more = enrich(g, it, i, each, ctx);
    }
    pthread_rwlock_unlock(&g->lock);
    return BRAID_OK;
}

/* ---- what two items share ---- */

typedef struct shared_list {
    const adjacency *g;
    graph_neighbour *out;
    size_t count, max;
} shared_list;

static bool shared_before(const shared_list *l, const graph_neighbour *a, const graph_neighbour *b) {
    if ((a->kind == GRAPH_ITEM) != (b->kind == GRAPH_ITEM)) return a->kind == GRAPH_ITEM;
    if (a->kind != GRAPH_ITEM) return adjacency_facet_order(l->g, a->num, b->num) < 0;
    if (a->strength > b->strength || a->strength < b->strength) return a->strength > b->strength;
    int order = strcmp(a->type, b->type);
    return order != 0 ? order < 0 : a->outgoing && !b->outgoing;
}

/* Insertion into the best `max`. */
static void shared_add(shared_list *l, graph_neighbour n) {
    if (l->max == 0 || (l->count == l->max && !shared_before(l, &n, &l->out[l->max - 1]))) return;
    size_t at = l->count < l->max ? l->count++ : l->max - 1;
    for (; at > 0 && shared_before(l, &n, &l->out[at - 1]); at--) l->out[at] = l->out[at - 1];
    l->out[at] = n;
}

static bool has_facet(const adjacency_item *it, uint32_t facet) {
    for (uint32_t i = 0; i < it->facets_count; i++)
        if (it->facets[i].facet == facet) return true;
    return false;
}

static void shared_by_pair(shared_list *l, graph_pair pair) {
    const adjacency *g = l->g;
    const adjacency_item *x = adjacency_node(g, pair.a), *y = adjacency_node(g, pair.b);
    if (x == NULL || y == NULL || pair.a == pair.b) return;
    for (uint32_t i = 0; i < x->links_count; i++)
        if (x->links[i].other == pair.b) shared_add(l, neighbour_of_link(g, &x->links[i]));
    for (uint32_t i = 0; i < x->facets_count; i++)
        if (has_facet(y, x->facets[i].facet)) shared_add(l, neighbour_of_facet(g, x->facets[i].facet));
}

/* The names are the graph's own and may go when the lock is given back. */
static bool shared_keep(const shared_list *l, arena *mem) {
    for (size_t i = 0; i < l->count; i++) {
        l->out[i].label = arena_strdup(mem, l->out[i].label);
        l->out[i].type = arena_strdup(mem, l->out[i].type);
        if (l->out[i].label == NULL || l->out[i].type == NULL) return false;
    }
    return true;
}

int adjacency_shared(void *self, const graph_pair *pairs, size_t n, size_t max, deadline until, graph_neighbour *out,
                     size_t *counts, arena *mem, braid_error *err) {
    (void)until;
    adjacency *g = self;
    bool kept = true;
    pthread_rwlock_rdlock(&g->lock);
    for (size_t i = 0; kept && i < n; i++) {
        shared_list l = {.g = g, .out = out + i * max, .max = max};
        shared_by_pair(&l, pairs[i]);
        kept = shared_keep(&l, mem);
        counts[i] = l.count;
    }
    pthread_rwlock_unlock(&g->lock);
    return kept ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, STORE, "no memory to say what items share");
}

/* ---- everything ---- */

int adjacency_scan(void *self, graph_node_fn *item_fn, bool (*edge_fn)(void *ctx, const graph_edge *e), void *ctx,
                   braid_error *err) {
    (void)err;
    adjacency *g = self;
    pthread_rwlock_rdlock(&g->lock);
    for (uint32_t num = 0; item_fn != NULL && num < g->items_cap; num++)
        if (g->items[num].known && !item_fn(ctx, num, 0, g->items[num].facets_count)) break;
    bool more = edge_fn != NULL;
    for (uint32_t num = 0; more && num < g->items_cap; num++) {
        const adjacency_item *it = &g->items[num];
        for (uint32_t i = 0; more && i < it->links_count; i++) {
            const adjacency_link *l = &it->links[i];
            graph_edge e = {.from = num, .to = l->other, .type = g->types[l->type], .strength = l->strength};
            if (l->out) more = edge_fn(ctx, &e);
        }
    }
    pthread_rwlock_unlock(&g->lock);
    return BRAID_OK;
}

/* ---- is it sound? ---- */

enum { PROBLEMS_MAX = 100 };

typedef struct checker {
    const adjacency *g;
    buf *out;
    unsigned problems;
    uint64_t known, outgoing, incoming, memberships;
} checker;

static void problem(checker *c, const char *text, uint32_t num, uint32_t other) {
    if (c->problems++ < PROBLEMS_MAX) buf_printf(c->out, "item %u: %s %u\n", num, text, other);
}

static bool mirrored(const adjacency *g, uint32_t num, const adjacency_link *l) {
    const adjacency_item *it = &g->items[l->other];
    for (uint32_t i = 0; i < it->links_count; i++) {
        const adjacency_link *m = &it->links[i];
        if (m->other == num && m->type == l->type && m->out != l->out && m->strength == l->strength) return true;
    }
    return false;
}

static void check_item(checker *c, uint32_t num) {
    const adjacency *g = c->g;
    const adjacency_item *it = &g->items[num];
    c->known += it->known;
    c->memberships += it->facets_count;
    if (!it->known && it->facets_count > 0) problem(c, "is not known and yet has facets:", num, it->facets_count);
    for (uint32_t i = 0; i < it->facets_count; i++) {
        uint32_t facet = it->facets[i].facet, at = it->facets[i].at;
        if (facet >= g->facets_count)
            problem(c, "belongs to a facet that does not exist:", num, facet);
        else if (at >= g->facets[facet].count || g->facets[facet].members[at] != num)
            problem(c, "is not among the members of its facet", num, facet);
    }
    for (uint32_t i = 0; i < it->links_count; i++) {
        const adjacency_link *l = &it->links[i];
        if (l->other >= g->items_cap || l->type >= g->types_count)
            problem(c, "has a relation to a node or of a type that does not exist:", num, l->other);
        else if (!mirrored(g, num, l))
            problem(c, "has a relation that the other end does not know:", num, l->other);
        if (i > 0 && it->links[i - 1].other > l->other) problem(c, "has relations out of order at", num, i);
        if (l->out)
            c->outgoing++;
        else
            c->incoming++;
    }
}

int adjacency_check(void *self, buf *problems, braid_error *err) {
    adjacency *g = self;
    checker c = {.g = g, .out = problems};
    uint64_t members = 0;
    pthread_rwlock_rdlock(&g->lock);
    for (uint32_t num = 0; num < g->items_cap; num++) check_item(&c, num);
    for (uint32_t i = 0; i < g->facets_count; i++) members += g->facets[i].count;
    if (c.outgoing != c.incoming || c.outgoing != g->relations || c.memberships != members ||
        c.memberships != g->memberships || c.known != g->known)
        buf_printf(problems, "the counters disagree with what is stored\n");
    pthread_rwlock_unlock(&g->lock);
    if (c.problems > PROBLEMS_MAX) buf_printf(problems, "and %u more\n", c.problems - PROBLEMS_MAX);
    return problems->failed ? error_set(err, BRAID_E_NO_MEMORY, STORE, "no memory to list the graph's problems")
                            : BRAID_OK;
}
