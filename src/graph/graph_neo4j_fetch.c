/* Fetching what a walk needs from Neo4j: one round trip for each level, whatever the number of seeds.
 *
 *     level 1     relations of the seeds, and the facets that they belong to (where a step through one can still end
 *                 within the depth)
 *     level d     the same of the items found at level d - 1, and the members of the facets found there
 *
 * After that every node that a walk may pass through is here with all of its edges; a facet of more than hub_max
 * members is not fetched at all. What a seed sees at distance d has been fetched by level d, since the level of a node
 * is its distance from the nearest seed.
 *
 * Bounds. The members of facets are asked for up to what is left of visits_max: their degrees are known by then, and
 * when they are too many, the small facets are taken whole and the large ones share what remains. How many relations an
 * item has is known when they come: each may bring an equal share, and the few that have more are asked once more with
 * what the others left over. Whatever is cut is reported as `truncated`.
 *
 * Rejected: the whole walk as one statement with variable-length paths (the server counts paths, not the edges that
 * arrive, and a path of 3 steps through three facets of 200 is 8 million of them); one statement a level with the
 * score summed there (it needs the distances of the level before, which then have to be sent). Measured at 10,000
 * items, a walk of depth 2 spends more time in the server's expansion than on the wire. */
#include <stdlib.h>
#include <string.h>

#include "graph/graph_neo4j.h"

enum { RELATIONS_LEAST = 8, RELATIONS_MOST = 256 };

/* ---- growing ---- */

static bool grow(void **data, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t wanted = *cap * 2 > need ? *cap * 2 : need + 64;
    void *more = realloc(*data, wanted * size);
    if (more == NULL) return false;
    *data = more;
    *cap = wanted;
    return true;
}

#define GROW(field, cap)                                                                                               \
    ({                                                                                                                 \
        void *data_ = (f->field);                                                                                      \
        bool ok_ = grow(&data_, &f->cap, f->field##_count + 1, sizeof *f->field);                                      \
        f->field = data_;                                                                                              \
        ok_;                                                                                                           \
    })

static uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= UINT64_C(0x9E3779B97F4A7C15);
    return x ^ x >> 29;
}

static bool places_grow(graph_neo4j_places *p) {
    if (p->count * 2 < p->cap) return true;
    graph_neo4j_places bigger = {.cap = p->cap > 0 ? p->cap * 2 : 1024, .count = p->count};
    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (bigger.slots == NULL) return false;
    for (size_t i = 0; i < p->cap; i++) {
        if (p->slots[i].at == 0) continue;
        size_t at = mix(p->slots[i].key) & (bigger.cap - 1);
        while (bigger.slots[at].at != 0) at = (at + 1) & (bigger.cap - 1);
        bigger.slots[at] = p->slots[i];
    }
    free(p->slots);
    *p = bigger;
    return true;
}

/* The slot of `key`, empty if it is new; NULL when memory ran out. */
static graph_neo4j_place *places_find(graph_neo4j_places *p, uint64_t key) {
    if (!places_grow(p)) return NULL;
    size_t at = mix(key) & (p->cap - 1);
    while (p->slots[at].at != 0 && p->slots[at].key != key) at = (at + 1) & (p->cap - 1);
    p->slots[at].key = key;
    return &p->slots[at];
}

/* The item's place, made if it is new; UINT32_MAX when memory ran out. */
static uint32_t item_place(graph_neo4j_fetch *f, uint32_t num) {
    graph_neo4j_place *slot = places_find(&f->item_places, num);
    if (slot == NULL) return UINT32_MAX;
    if (slot->at == 0) {
        if (!GROW(items, items_cap)) return UINT32_MAX;
        f->items[f->items_count++] = num;
        f->item_places.count++;
        slot->at = (uint32_t)f->items_count;
    }
    return slot->at - 1;
}

static bool add_member(graph_neo4j_fetch *f, uint32_t place, uint32_t facet) {
    if (!GROW(members, members_cap)) return false;
    f->members[f->members_count++] = (graph_neo4j_member){.item = place, .facet = facet, .kind = f->facets[facet].kind};
    return true;
}

/* The place of a relation type's name; UINT32_MAX when memory ran out. There are few, and the last is met again. */
static uint32_t type_place(graph_neo4j_fetch *f, ps_text type) {
    if (f->type < f->types_count && ps_text_is(type, f->types[f->type])) return f->type;
    for (f->type = 0; f->type < f->types_count; f->type++)
        if (ps_text_is(type, f->types[f->type])) return f->type;
    char *name = GROW(types, types_cap) ? arena_strndup(f->mem, type.data, type.len) : NULL;
    if (name == NULL) return UINT32_MAX;
    f->types[f->types_count] = name;
    return (uint32_t)f->types_count++;
}

/* ---- rows ---- */

static int bad_row(bolt_row *row, braid_error *err) {
    return ps_error(&row->values, GRAPH_NEO4J_STORE, err);
}

static bool read_num(ps_reader *r, uint32_t *out) {
    int64_t value;
    if (!ps_read_int(r, &value)) return false;
    if (value < 0 || value > UINT32_MAX) return ps_refuse(r, "a number is not in 0..2^32-1");
    *out = (uint32_t)value;
    return true;
}

static int see_relation(graph_neo4j_fetch *f, bolt_row *row, uint32_t place, braid_error *err) {
    uint32_t fields, num = 0;
    ps_text type;
    double strength = 0;
    bool none, out;
    if (!ps_read_list(&row->values, &fields) || !read_num(&row->values, &num) || !ps_read_text(&row->values, &type) ||
        !ps_read_null(&row->values, &none) || (!none && !ps_read_real(&row->values, &strength)) ||
        !ps_read_bool(&row->values, &out))
        return bad_row(row, err);
    uint32_t other = item_place(f, num), name = type_place(f, type);
    if (other == UINT32_MAX || name == UINT32_MAX || !GROW(links, links_cap)) return graph_neo4j_no_memory(err);
    f->links[f->links_count++] = (graph_neo4j_link){
        .from = out ? place : other, .to = out ? other : place, .type = name, .strength = (float)strength};
    return BRAID_OK;
}

static int see_relations(void *ctx, bolt_row *row, braid_error *err) {
    graph_neo4j_fetch *f = ctx;
    uint32_t num = 0, count = 0;
    if (!read_num(&row->values, &num) || !ps_read_list(&row->values, &count)) return bad_row(row, err);
    uint32_t place = item_place(f, num);
    if (place == UINT32_MAX) return graph_neo4j_no_memory(err);
    if (count > f->relations_most) {
        if (!GROW(cut, cut_cap)) return graph_neo4j_no_memory(err);
        f->cut[f->cut_count++] = place;
    }
    f->edges += count;
    int rc = BRAID_OK;
    for (uint32_t i = 0; rc == BRAID_OK && i < count; i++) rc = see_relation(f, row, place, err);
    return rc;
}

static int see_facet(void *ctx, bolt_row *row, braid_error *err) {
    graph_neo4j_fetch *f = ctx;
    int64_t id;
    ps_text type, value;
    uint32_t degree = 0, holders = 0;
    if (!ps_read_int(&row->values, &id) || !ps_read_text(&row->values, &type) || !ps_read_text(&row->values, &value) ||
        !read_num(&row->values, &degree) || !ps_read_list(&row->values, &holders))
        return bad_row(row, err);
    graph_node_kind kind = graph_neo4j_kind_of(type);
    if (kind == GRAPH_ITEM) return BRAID_OK;
    graph_neo4j_place *slot = places_find(&f->facet_places, (uint64_t)id);
    if (slot == NULL) return graph_neo4j_no_memory(err);
    if (slot->at == 0) {
        char *name = GROW(facets, facets_cap) ? arena_strndup(f->mem, value.data, value.len) : NULL;
        if (name == NULL) return graph_neo4j_no_memory(err);
        f->facets[f->facets_count++] = (graph_neo4j_facet){.id = id, .kind = kind, .value = name, .degree = degree};
        f->facet_places.count++;
        slot->at = (uint32_t)f->facets_count;
    }
    uint32_t facet = slot->at - 1;
    f->edges += holders;
    for (uint32_t i = 0; i < holders; i++) {
        uint32_t num = 0;
        if (!read_num(&row->values, &num)) return bad_row(row, err);
        uint32_t place = item_place(f, num);
        if (place == UINT32_MAX || !add_member(f, place, facet)) return graph_neo4j_no_memory(err);
    }
    return BRAID_OK;
}

static graph_neo4j_kept_facet kept_form(const graph_neo4j_facet *facet) {
    return (graph_neo4j_kept_facet){facet->id, facet->kind, facet->value, facet->degree};
}

static int see_members(void *ctx, bolt_row *row, braid_error *err) {
    graph_neo4j_fetch *f = ctx;
    int64_t id;
    uint32_t count;
    if (!ps_read_int(&row->values, &id) || !ps_read_list(&row->values, &count)) return bad_row(row, err);
    graph_neo4j_place *slot = places_find(&f->facet_places, (uint64_t)id);
    if (slot == NULL) return graph_neo4j_no_memory(err);
    if (slot->at == 0) {
        ps_refuse(&row->values, "the server names a facet that was not asked for");
        return bad_row(row, err);
    }
    uint32_t facet = slot->at - 1;
    uint32_t *nums = f->g->kept != NULL ? arena_alloc(f->mem, (count + 1) * sizeof *nums) : NULL;
    f->edges += count;
    if (f->facets[facet].degree > f->members_most) f->truncated = true;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t num = 0;
        if (!read_num(&row->values, &num)) return bad_row(row, err);
        uint32_t place = item_place(f, num);
        if (place == UINT32_MAX || !add_member(f, place, facet)) return graph_neo4j_no_memory(err);
        if (nums != NULL) nums[i] = num;
    }
    graph_neo4j_kept_facet known = kept_form(&f->facets[facet]);
    if (nums != NULL) graph_neo4j_kept_put(f->g->kept, f->look, &known, nums, count);
    return BRAID_OK;
}

/* ---- members that are kept ---- */

typedef struct kept_reading {
    graph_neo4j_fetch *f;
    uint32_t facet;
} kept_reading;

static bool see_kept(void *ctx, uint32_t num) {
    kept_reading *x = ctx;
    uint32_t place = item_place(x->f, num);
    return place != UINT32_MAX && add_member(x->f, place, x->facet);
}

/* *here: the members of this facet are in, and need not be asked for. */
static int take_kept(graph_neo4j_fetch *f, uint32_t facet, bool *here, braid_error *err) {
    bool ended;
    graph_neo4j_kept_facet known = kept_form(&f->facets[facet]);
    *here = f->g->kept != NULL && known.degree <= f->members_most &&
            graph_neo4j_kept_get(f->g->kept, &known, see_kept, &(kept_reading){f, facet}, &ended);
    if (!*here) return BRAID_OK;
    f->edges += known.degree;
    return ended ? graph_neo4j_no_memory(err) : BRAID_OK;
}

/* ---- a level ---- */

/* Items and facets that were found last and are to be looked at now: ranges of places. */
typedef struct level {
    size_t items, items_end, facets, facets_end;
    unsigned depth;
    bool facets_too;
} level;

static uint64_t edges_left(const graph_neo4j_fetch *f) {
    uint64_t most = f->g->options.visits_max;
    return f->edges < most ? most - f->edges : 0;
}

static uint32_t members_fit(const graph_neo4j_fetch *f, const level *l, uint32_t most) {
    uint64_t sum = 0;
    for (size_t i = l->facets; i < l->facets_end; i++) sum += f->facets[i].degree < most ? f->facets[i].degree : most;
    return sum <= edges_left(f);
}

/* The most members of one facet so that all facets together stay within what is left. */
static uint32_t members_most(const graph_neo4j_fetch *f, const level *l) {
    uint32_t low = 0, high = f->g->options.hub_max;
    while (low < high) {
        uint32_t mid = low + (high - low + 1) / 2;
        if (members_fit(f, l, mid))
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

static void ask_nums(graph_neo4j_fetch *f, graph_neo4j_request *rq, const char *text, bolt_each each, const char *bound,
                     uint32_t most, const uint32_t *places, size_t first, size_t n) {
    buf *p = graph_neo4j_ask(rq, text, each, f);
    ps_put_map(p, 2);
    ps_put_str(p, bound);
    ps_put_int(p, most);
    ps_put_str(p, "nums");
    ps_put_list(p, n);
    for (size_t i = 0; i < n; i++) ps_put_int(p, f->items[places != NULL ? places[i] : first + i]);
}

static int ask_members(graph_neo4j_fetch *f, graph_neo4j_request *rq, const level *l, braid_error *err) {
    int64_t *ids = arena_alloc(f->mem, (l->facets_end - l->facets) * sizeof *ids);
    size_t n = 0;
    if (ids == NULL) return graph_neo4j_no_memory(err);
    for (size_t i = l->facets; i < l->facets_end; i++) {
        bool here;
        int rc = take_kept(f, (uint32_t)i, &here, err);
        if (rc != BRAID_OK) return rc;
        if (!here) ids[n++] = f->facets[i].id;
    }
    if (n == 0) return BRAID_OK;
    buf *p = graph_neo4j_ask(rq, graph_neo4j_statements.members_of, see_members, f);
    ps_put_map(p, 2);
    ps_put_str(p, "most");
    ps_put_int(p, f->members_most);
    ps_put_str(p, "ids");
    ps_put_list(p, n);
    for (size_t i = 0; i < n; i++) ps_put_int(p, ids[i]);
    return BRAID_OK;
}

/* Those with more relations than their share, once more, with what is left. */
static int fetch_cut(graph_neo4j_fetch *f, const bolt_call *call, braid_error *err) {
    const graph_neo4j_cypher *c = &graph_neo4j_statements;
    size_t n = f->cut_count;
    if (n == 0) return BRAID_OK;
    uint64_t share = edges_left(f) / n;
    if (share <= f->relations_most) {
        f->truncated = true;
        return BRAID_OK;
    }
    f->edges -= (uint64_t)n * (f->relations_most + 1); /* they come again */
    f->relations_most = (uint32_t)(share < UINT32_MAX / 2 ? share : UINT32_MAX / 2);
    graph_neo4j_request rq = {0};
    ask_nums(f, &rq, c->relations_of, see_relations, "most", f->relations_most + 1, f->cut, 0, n);
    int rc = graph_neo4j_run(f->g, &rq, call, err);
    graph_neo4j_request_free(&rq);
    if (f->cut_count > n) f->truncated = true;
    return rc;
}

static int fetch_level(graph_neo4j_fetch *f, const level *l, deadline until, braid_error *err) {
    const graph_neo4j_cypher *c = &graph_neo4j_statements;
    graph_neo4j_request rq = {0};
    bolt_call call = {.access = BOLT_READ, .until = until};
    size_t items = l->items_end - l->items, facets = l->facets_end - l->facets;
    uint64_t share = items > 0 ? edges_left(f) / items : 0;
    f->cut_count = 0;
    f->relations_most = share < RELATIONS_LEAST  ? RELATIONS_LEAST
                        : share > RELATIONS_MOST ? RELATIONS_MOST
                                                 : (uint32_t)share;
    f->members_most = facets > 0 ? members_most(f, l) : 0;
    if (items > 0)
        ask_nums(f, &rq, c->relations_of, see_relations, "most", f->relations_most + 1, NULL, l->items, items);
    if (items > 0 && l->facets_too)
        ask_nums(f, &rq, c->facets_of, see_facet, "hub_max", f->g->options.hub_max, NULL, l->items, items);
    int rc = facets > 0 ? ask_members(f, &rq, l, err) : BRAID_OK;
    if (rc == BRAID_OK) rc = graph_neo4j_run(f->g, &rq, &call, err);
    graph_neo4j_request_free(&rq);
    return rc == BRAID_OK ? fetch_cut(f, &call, err) : rc;
}

int graph_neo4j_fetch_around(graph_neo4j_fetch *f, const graph_walk *w, braid_error *err) {
    level l = {0};
    f->mem = arena_new(16384);
    if (f->mem == NULL) return graph_neo4j_no_memory(err);
    if (f->g->kept != NULL)
        f->look = graph_neo4j_kept_begin(f->g->kept, f->g->options.applied(f->g->options.applied_ctx));
    for (size_t i = 0; i < w->seed_count; i++)
        if (item_place(f, w->seeds[i]) == UINT32_MAX) return graph_neo4j_no_memory(err);
    l.items_end = f->items_count;
    for (l.depth = 1; l.depth <= w->depth && (l.items < l.items_end || l.facets < l.facets_end); l.depth++) {
        if (edges_left(f) == 0) {
            f->truncated = true;
            break;
        }
        braid_error why = {0};
        l.facets_too = l.depth < w->depth;
        int rc = fetch_level(f, &l, w->until, &why);
        if (rc == BRAID_E_DEADLINE && l.depth > 1) { /* what came before is worth an answer */
            f->deadline = true;
            break;
        }
        if (rc != BRAID_OK) return error_set(err, rc, why.store, "%s", why.message);
        l = (level){.items = l.items_end,
                    .items_end = f->items_count,
                    .facets = l.facets_end,
                    .facets_end = f->facets_count,
                    .depth = l.depth};
    }
    return BRAID_OK;
}

void graph_neo4j_fetch_free(graph_neo4j_fetch *f) {
    arena_free(f->mem);
    free(f->items);
    free(f->facets);
    free(f->links);
    free(f->members);
    free(f->types);
    free(f->cut);
    free(f->item_places.slots);
    free(f->facet_places.slots);
    *f = (graph_neo4j_fetch){.g = f->g};
}
