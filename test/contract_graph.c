/* The contract of a graph store, run over every one that is compiled in. The oracle is the definition in
 * src/graph/graph.h, computed without any cleverness: distances by relaxation over a list of all edges, connections by
 * counting. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "graph/graph.h"
#include "support/neo4j.h"
#include "support/neo4j_wipe.h"

enum { ITEMS = 24, FACETS = 12, NODES = ITEMS + FACETS, EDGES_MAX = 800, FAR = 99 };

static const graph_ops *ops; /* of the present round: set by main before the tests run */
static remote_options server;

static bool is_remote(void) {
    return ops->caps & GRAPH_CAP_REMOTE;
}

/* What is kept of a remote store has to be dropped by our own writes alone here: there is no log. */
static uint64_t all_applied(void *ctx) {
    (void)ctx;
    return UINT64_MAX;
}

/* A remote store keeps what the test before wrote: it begins empty. */
static graph_store *open_graph(uint32_t hub_max, uint32_t visits_max) {
    graph_options o = {.hub_max = hub_max, .visits_max = visits_max, .clock = &clock_system};
    graph_store *s;
    braid_error err = {0};
    if (is_remote()) {
        o.remote = &server;
        o.kept_bytes = 1 << 20;
        o.applied = all_applied;
        assert_true(test_neo4j_wipe(&server));
    }
    if (graph_open(ops, &o, &s, &err) != BRAID_OK) fail_msg("%s", err.message);
    return s;
}

/* Batches of one, since most tests write one thing at a time. */
static int put_item(graph_store *s, uint32_t num, const item *it) {
    return graph_upsert_items(s, &(graph_item){.num = num, .it = it}, 1, NULL);
}
static int drop_item(graph_store *s, uint32_t num) {
    return graph_remove_items(s, &num, 1, NULL);
}
static int put_edge(graph_store *s, const graph_edge *e) {
    return graph_upsert_relations(s, e, 1, NULL);
}
static int drop_edge(graph_store *s, uint32_t from, uint32_t to, const char *type) {
    return graph_remove_relations(s, &(graph_edge){.from = from, .to = to, .type = type}, 1, NULL);
}

static void assert_sound(graph_store *s) {
    buf problems;
    buf_init(&problems, 0);
    assert_int_equal(graph_check(s, &problems, NULL), BRAID_OK);
    if (problems.len > 0) fail_msg("%s", problems.data);
    buf_free(&problems);
}

/* ---- the model: a list of edges ---- */

typedef struct model_edge {
    uint32_t from, to;
    unsigned type;
    float strength;
} model_edge; /* to >= ITEMS: facet */
typedef struct model_graph {
    model_edge edges[EDGES_MAX];
    size_t count;
} model_graph;

static const char *const type_names[] = {"SEQUEL_OF", "REMAKE_OF", "SIMILAR_TO"};
/* Two facets of each kind, and of equal names, so that kinds are told apart. */
static const char *facet_name(uint32_t f) {
    return f % 2 ? "one" : "two";
}
static graph_node_kind facet_kind(uint32_t f) {
    return (graph_node_kind)(GRAPH_GENRE + (f / 2) % 5);
}

static void model_drop(model_graph *m, uint32_t from, uint32_t to, int type, bool facets_only, bool any_end) {
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++) {
        const model_edge *e = &m->edges[i];
        bool facet = e->to >= ITEMS;
        bool hit = any_end       ? e->from == from || (!facet && e->to == from)
                   : facets_only ? facet && e->from == from
                                 : !facet && e->from == from && e->to == to && (int)e->type == type;
        if (!hit) m->edges[kept++] = *e;
    }
    m->count = kept;
}

static void add_item(graph_store *s, model_graph *m, rng *r, uint32_t num) {
    const char *names[5][4];
    size_t counts[5] = {0};
    item_person people[4];
    char id[16];
    model_drop(m, num, 0, 0, true, false);
    for (uint32_t f = 0; f < 10; f++) {
        if (rng_below(r, 4) != 0 && !(f == 0 && num % 2)) continue;
        unsigned kind = (unsigned)facet_kind(f) - GRAPH_GENRE;
        names[kind][counts[kind]++] = facet_name(f);
        m->edges[m->count++] = (model_edge){num, ITEMS + f, 0, 1};
    }
    for (size_t i = 0; i < counts[4]; i++) people[i] = (item_person){names[4][i], "cast"};
    if (counts[4] > 0) /* twice the same person is one membership */
        people[counts[4]++] = (item_person){names[4][0], "director"};
    snprintf(id, sizeof id, "i%u", num);
    item it = {.id = id,
               .title = "x",
               .genres = {names[0], counts[0]},
               .themes = {names[1], counts[1]},
               .moods = {names[2], counts[2]},
               .contexts = {names[3], counts[3]},
               .people = people,
               .people_count = counts[4]};
    assert_int_equal(put_item(s, num, &it), BRAID_OK);
}

static void add_relation(graph_store *s, model_graph *m, rng *r) {
    uint32_t from = 1 + (uint32_t)rng_below(r, ITEMS - 1), to = 1 + (uint32_t)rng_below(r, ITEMS - 1);
    unsigned type = (unsigned)rng_below(r, 3);
    graph_edge e = {.from = from, .to = to, .type = type_names[type], .strength = (float)rng_below(r, 9) / 8};
    assert_int_equal(put_edge(s, &e), BRAID_OK);
    model_drop(m, from, to, (int)type, false, false);
    m->edges[m->count++] = (model_edge){from, to, type, e.strength};
}

static void change(graph_store *s, model_graph *m, rng *r) {
    uint32_t num = 1 + (uint32_t)rng_below(r, ITEMS - 1);
    size_t what = (size_t)rng_below(r, 10);
    if (what < 4) {
        add_item(s, m, r, num);
    } else if (what < 8) {
        add_relation(s, m, r);
    } else if (what == 8 && m->count > 0) {
        model_edge e = m->edges[rng_below(r, m->count)];
        if (e.to < ITEMS) {
            assert_int_equal(drop_edge(s, e.from, e.to, type_names[e.type]), BRAID_OK);
            model_drop(m, e.from, e.to, (int)e.type, false, false);
        }
    } else {
        assert_int_equal(drop_item(s, num), BRAID_OK);
        model_drop(m, num, 0, 0, false, true);
    }
}

/* ---- the oracle ---- */

typedef struct oracle_hit {
    bool found;
    double score, best;
    unsigned depth, connections;
    uint32_t seed;
    double strength;
    graph_node_kind via_kind;
    uint32_t via_num;
    const char *via;
} oracle_hit;

static size_t members(const model_graph *m, uint32_t facet) {
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) n += m->edges[i].to == facet;
    return n;
}

static bool closed(const model_graph *m, uint32_t node, uint32_t hub_max) {
    return node >= ITEMS && members(m, node) > hub_max;
}

static void distances(const model_graph *m, uint32_t seed, uint32_t hub_max, unsigned dist[NODES]) {
    for (int i = 0; i < NODES; i++) dist[i] = FAR;
    dist[seed] = 0;
    for (int round = 0; round < 4; round++)
        for (size_t i = 0; i < m->count; i++) {
            uint32_t a = m->edges[i].from, b = m->edges[i].to;
            if (!closed(m, b, hub_max) && dist[a] + 1 < dist[b]) dist[b] = dist[a] + 1;
            if (dist[b] + 1 < dist[a]) dist[a] = dist[b] + 1;
        }
}

/* The lowest item one step nearer than the facet. */
static uint32_t behind(const model_graph *m, const unsigned dist[NODES], uint32_t facet) {
    uint32_t low = UINT32_MAX;
    for (size_t i = 0; i < m->count; i++)
        if (m->edges[i].to == facet && dist[m->edges[i].from] + 1 == dist[facet] && m->edges[i].from < low)
            low = m->edges[i].from;
    return low;
}

static bool facet_rarer(const model_graph *m, uint32_t a, uint32_t b) {
    size_t x = members(m, a), y = members(m, b);
    if (x != y) return x < y;
    if (facet_kind(a - ITEMS) != facet_kind(b - ITEMS)) return facet_kind(a - ITEMS) < facet_kind(b - ITEMS);
    return strcmp(facet_name(a - ITEMS), facet_name(b - ITEMS)) < 0;
}

/* What arrives at item `at` from one step nearer: how many edges, how strong, and the best of them. */
static void arrivals(const model_graph *m, const unsigned dist[NODES], uint32_t at, oracle_hit *out) {
    const model_edge *best = NULL;
    uint32_t best_near = 0;
    double sum = 0;
    for (size_t i = 0; i < m->count; i++) {
        const model_edge *e = &m->edges[i];
        uint32_t near = e->from == at ? e->to : e->to == at ? e->from : UINT32_MAX;
        if (near == UINT32_MAX || dist[near] == FAR || dist[near] + 1 != dist[at]) continue;
        out->connections++;
        sum += (double)e->strength;
        bool better = best == NULL;
        if (best != NULL && (near < ITEMS) != (best_near < ITEMS))
            better = near < ITEMS;
        else if (best != NULL && near >= ITEMS)
            better = facet_rarer(m, near, best_near);
        else if (best != NULL && e->strength != best->strength)
            better = e->strength > best->strength;
        else if (best != NULL)
            better = near != best_near ? near < best_near : strcmp(type_names[e->type], type_names[best->type]) < 0;
        if (better) {
            best = e;
            best_near = near;
        }
    }
    out->strength = sum / out->connections;
    bool direct = best_near < ITEMS;
    out->via_kind = direct ? GRAPH_ITEM : facet_kind(best_near - ITEMS);
    out->via_num = direct ? best_near : behind(m, dist, best_near);
    out->via = direct ? type_names[best->type] : facet_name(best_near - ITEMS);
}

static void oracle_walk(const model_graph *m, const graph_walk *w, uint32_t hub_max, oracle_hit out[ITEMS]) {
    memset(out, 0, ITEMS * sizeof *out);
    for (size_t s = 0; s < w->seed_count; s++) {
        unsigned dist[NODES];
        if (w->seeds[s] >= ITEMS) continue;
        distances(m, w->seeds[s], hub_max, dist);
        for (uint32_t i = 1; i < ITEMS; i++) {
            if (dist[i] == 0 || dist[i] > w->depth) continue;
            oracle_hit one = {0};
            arrivals(m, dist, i, &one);
            double weight = w->seed_weights != NULL ? (double)w->seed_weights[s] : 1.0;
            double gain = weight * one.connections / dist[i], score = out[i].score + gain;
            unsigned depth = out[i].found && out[i].depth < dist[i] ? out[i].depth : dist[i];
            if (!out[i].found || gain > out[i].best) {
                out[i] = one;
                out[i].best = gain;
                out[i].seed = w->seeds[s];
            }
            out[i].found = true;
            out[i].score = score;
            out[i].depth = depth;
        }
    }
    for (size_t s = 0; s < w->seed_count; s++)
        if (w->seeds[s] < ITEMS) out[w->seeds[s]].found = false;
    for (uint32_t i = 0; w->allow != NULL && i < ITEMS; i++) out[i].found = out[i].found && bitset_has(w->allow, i);
}

/* The best of what is left of the oracle's hits, or 0. */
static uint32_t oracle_next(const oracle_hit hits[ITEMS]) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < ITEMS; i++) {
        if (!hits[i].found) continue;
        float a = (float)hits[i].score, b = (float)hits[best].score;
        float x = (float)hits[i].strength, y = (float)hits[best].strength;
        if (best == 0 || a > b || (a == b && x > y)) best = i;
    }
    return best;
}

static void compare_walk(graph_store *s, const model_graph *m, const graph_walk *w, uint32_t hub_max) {
    oracle_hit want[ITEMS];
    graph_hit got[ITEMS];
    graph_stats stats;
    size_t count;
    braid_error err = {0};
    oracle_walk(m, w, hub_max, want);
    assert_int_equal(graph_walk_from(s, w, got, &count, &stats, &err), BRAID_OK);
    assert_false(stats.truncated || stats.deadline);
    for (size_t i = 0; i < count; i++) {
        uint32_t num = oracle_next(want);
        const oracle_hit *o = &want[num];
        const graph_hit *h = &got[i];
        if (h->num != num)
            fail_msg("place %zu is %u (%g, strength %g), not %u (%g, %g)", i, h->num, (double)h->score,
                     (double)h->strength, num, o->score, o->strength);
        assert_true(h->score == (float)o->score);
        assert_int_equal(h->depth, o->depth);
        assert_int_equal(h->connections, o->connections);
        assert_int_equal(h->seed, o->seed);
        assert_true(h->strength == (float)o->strength);
        assert_int_equal(h->via_kind, o->via_kind);
        assert_int_equal(h->via_num, o->via_num);
        assert_string_equal(h->via, o->via);
        want[num].found = false;
    }
    assert_true(count == w->k || oracle_next(want) == 0);
}

static void a_walk_gives_exactly_what_the_definition_says(void **state) {
    (void)state;
    const char *replay = getenv("GRAPH_SEED");
    uint64_t seed = replay != NULL ? strtoull(replay, NULL, 10) : (uint64_t)clock_wall_ms(&clock_system);
    print_message("GRAPH_SEED=%llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    int rounds = is_remote() ? 8 : 150;
    for (int round = 0; round < rounds; round++) {
        uint32_t hub_max = round % 3 == 0 ? 4 : 50;
        graph_store *s = open_graph(hub_max, 1000000);
        model_graph m = {.count = 0};
        for (int i = 0; i < 20; i++) change(s, &m, &r);
        for (int i = 0; i < 30; i++) {
            change(s, &m, &r);
            uint32_t seeds[3];
            float weights[3];
            bitset allow;
            for (int j = 0; j < 3; j++) {
                seeds[j] = 1 + (uint32_t)rng_below(&r, ITEMS + 2); /* at times unknown, at times twice */
                weights[j] = (float)rng_below(&r, 9) / 4 - 1;
            }
            assert_true(bitset_init(&allow, ITEMS));
            for (uint32_t n = 0; n < ITEMS; n++)
                if (rng_below(&r, 2)) bitset_set(&allow, n);
            graph_walk w = {.seeds = seeds,
                            .seed_weights = i % 2 ? weights : NULL,
                            .seed_count = 1 + rng_below(&r, 3),
                            .depth = 1 + (unsigned)rng_below(&r, 3),
                            .k = 1 + rng_below(&r, ITEMS),
                            .allow = rng_below(&r, 3) == 0 ? &allow : NULL};
            compare_walk(s, &m, &w, hub_max);
            bitset_free(&allow);
        }
        assert_sound(s);
        graph_info info;
        size_t relations = 0;
        for (size_t i = 0; i < m.count; i++) relations += m.edges[i].to < ITEMS;
        graph_get_info(s, &info);
        assert_int_equal(info.relations, relations);
        assert_int_equal(info.memberships, m.count - relations);
        graph_close(s);
    }
}

/* ---- examples ---- */

/* Numbers 1..n, in one batch; those above `rare` have a genre of their own. */
static void put_many(graph_store *s, uint32_t n, uint32_t rare) {
    item *its = calloc(n, sizeof *its);
    graph_item *rows = calloc(n, sizeof *rows);
    char(*ids)[16] = calloc(n, sizeof *ids);
    const char *names[] = {"drame", "rare"};
    for (uint32_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "i%u", i + 1);
        its[i] = (item){.id = ids[i], .title = "x", .genres = {&names[i + 1 > rare], 1}};
        rows[i] = (graph_item){.num = i + 1, .it = &its[i]};
    }
    assert_int_equal(graph_upsert_items(s, rows, n, NULL), BRAID_OK);
    free(its);
    free(rows);
    free(ids);
}

static void put(graph_store *s, uint32_t num, const char *genre, const char *theme1, const char *theme2,
                const char *theme3) {
    const char *genres[] = {genre}, *themes[] = {theme1, theme2, theme3};
    size_t n = theme1 == NULL ? 0 : theme2 == NULL ? 1 : theme3 == NULL ? 2 : 3;
    char id[16];
    snprintf(id, sizeof id, "i%u", num);
    item it = {.id = id, .title = "x", .genres = {genres, genre != NULL}, .themes = {themes, n}};
    assert_int_equal(put_item(s, num, &it), BRAID_OK);
}

static size_t walk(graph_store *s, uint32_t seed, unsigned depth, size_t k, graph_hit *out) {
    size_t count;
    graph_walk w = {.seeds = &seed, .seed_count = 1, .depth = depth, .k = k};
    assert_int_equal(graph_walk_from(s, &w, out, &count, NULL, NULL), BRAID_OK);
    return count;
}

static void three_shared_themes_score_one_and_a_half_and_a_relation_one(void **state) {
    (void)state;
    graph_store *s = open_graph(0, 0);
    graph_hit hits[10];
    put(s, 1, NULL, "exile", "sea", "war");
    put(s, 2, NULL, "war", "sea", "exile");
    put(s, 3, NULL, NULL, NULL, NULL);
    graph_edge e = {.from = 3, .to = 1, .type = "SEQUEL_OF", .strength = 0.5f};
    assert_int_equal(put_edge(s, &e), BRAID_OK);
    assert_int_equal(walk(s, 1, 3, 10, hits), 2);
    assert_int_equal(hits[0].num, 2);
    assert_true(hits[0].score == 1.5f);
    assert_int_equal(hits[0].depth, 2);
    assert_int_equal(hits[0].connections, 3);
    assert_int_equal(hits[0].via_kind, GRAPH_THEME);
    assert_string_equal(hits[0].via, "exile");
    assert_int_equal(hits[0].via_num, 1);
    assert_int_equal(hits[1].num, 3);
    assert_true(hits[1].score == 1.0f && hits[1].strength == 0.5f);
    assert_string_equal(hits[1].via, "SEQUEL_OF");
    assert_int_equal(walk(s, 1, 1, 10, hits), 1);
    assert_int_equal(walk(s, 1, 3, 1, hits), 1);
    assert_int_equal(hits[0].num, 2);
    assert_int_equal(walk(s, 77, 3, 10, hits), 0);
    graph_close(s);
}

static bool count_neighbours(void *ctx, const graph_neighbour *n) {
    graph_neighbour *seen = ctx;
    *seen = *n;
    return false;
}

/* "which:type:label-or-number:strength ", in the order of coming. */
static bool note_enriched(void *ctx, size_t which, const graph_neighbour *n) {
    buf *b = ctx;
    if (n->kind == GRAPH_ITEM) return buf_printf(b, "%zu:%s:%u:%.2f ", which, n->type, n->num, (double)n->strength);
    return buf_printf(b, "%zu:%s:%s ", which, n->type, n->label);
}

static bool note_one(void *ctx, size_t which, const graph_neighbour *n) {
    (void)which;
    (void)n;
    ++*(int *)ctx;
    return false;
}

static void many_items_are_enriched_by_one_request(void **state) {
    (void)state;
    graph_store *s = open_graph(0, 0);
    const char *genre[] = {"drame"}, *theme[] = {"exil"}, *mood[] = {"sombre"}, *context[] = {"quebec"};
    item first = {.id = "i1",
                  .title = "x",
                  .genres = {genre, 1},
                  .themes = {theme, 1},
                  .moods = {mood, 1},
                  .contexts = {context, 1}};
    assert_int_equal(put_item(s, 1, &first), BRAID_OK);
    put(s, 2, "drame", NULL, NULL, NULL);
    put(s, 4, NULL, "mer", NULL, NULL);
    const graph_edge edges[] = {{.from = 1, .to = 2, .type = "SEQUEL_OF", .strength = 0.5f},
                                {.from = 4, .to = 1, .type = "SIMILAR_TO", .strength = 0.25f}};
    for (size_t i = 0; i < 2; i++) assert_int_equal(put_edge(s, &edges[i]), BRAID_OK);
    const uint32_t nums[] = {4, 77, 1, 2};
    bool found[4];
    buf b;
    buf_init(&b, 0);
    assert_int_equal(graph_enrich_batch(s, nums, 4, 0, note_enriched, &b, found, NULL), BRAID_OK);
    assert_true(found[0] && !found[1] && found[2] && found[3]);
    static const char *const wanted[] = {"0:SIMILAR_TO:1:0.25 ", "0:HAS_THEME:mer ",     "2:SEQUEL_OF:2:0.50 ",
                                         "2:SIMILAR_TO:4:0.25 ", "2:BELONGS_TO:drame ",  "2:HAS_THEME:exil ",
                                         "2:HAS_MOOD:sombre ",   "2:IN_CONTEXT:quebec ", "3:SEQUEL_OF:1:0.50 ",
                                         "3:BELONGS_TO:drame "};
    size_t len = 0;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (strstr(b.data, wanted[i]) == NULL) fail_msg("%s is not in %s", wanted[i], b.data);
        len += strlen(wanted[i]);
    }
    assert_int_equal(b.len, len);                                                   /* and nothing else */
    assert_true(strstr(b.data, "2:SIMILAR_TO:4") < strstr(b.data, "2:BELONGS_TO")); /* relations first */
    int calls = 0;
    assert_int_equal(graph_enrich_batch(s, nums, 4, 0, note_one, &calls, found, NULL), BRAID_OK);
    assert_int_equal(calls, 1);
    assert_int_equal(graph_enrich_batch(s, NULL, 0, 0, note_one, &calls, NULL, NULL), BRAID_OK);
    buf_free(&b);
    graph_close(s);
}

static void a_facet_of_too_many_is_not_walked_through_but_drawn(void **state) {
    (void)state;
    graph_store *s = open_graph(5, 0);
    graph_hit hits[10];
    for (uint32_t num = 1; num <= 5; num++) put(s, num, "drame", NULL, NULL, NULL);
    assert_int_equal(walk(s, 1, 2, 10, hits), 4);
    put(s, 6, "drame", NULL, NULL, NULL);
    assert_int_equal(walk(s, 1, 2, 10, hits), 0);
    graph_neighbour seen = {0};
    assert_int_equal(graph_neighbours(s, 1, 0, count_neighbours, &seen, NULL), BRAID_OK);
    assert_int_equal(seen.kind, GRAPH_GENRE);
    assert_int_equal(seen.degree, 6);
    assert_int_equal(drop_item(s, 6), BRAID_OK);
    assert_int_equal(walk(s, 1, 2, 10, hits), 4);
    graph_close(s);
}

static void a_walk_over_its_bound_or_deadline_says_so_and_keeps_what_it_has(void **state) {
    (void)state;
    graph_store *s = open_graph(100000, 1000);
    graph_hit *hits = calloc(3000, sizeof *hits);
    graph_stats stats;
    size_t count;
    put_many(s, 3000, 2900);
    const uint32_t seeds[] = {1, 2999};
    graph_walk w = {.seeds = seeds, .seed_count = 2, .depth = 2, .k = 3000};
    assert_int_equal(graph_walk_from(s, &w, hits, &count, &stats, NULL), BRAID_OK);
    assert_true(stats.truncated);
    assert_false(stats.deadline);
    assert_true(stats.edges_seen <= 1000);
    bool second = false;
    for (size_t i = 0; i < count; i++) second = second || hits[i].seed == 2999;
    assert_true(second); /* the rich first seed did not silence the other */
    w.until = clock_mono_ns(&clock_system) - 1;
    int rc = graph_walk_from(s, &w, hits, &count, &stats, NULL);
    assert_int_equal(rc, is_remote() ? BRAID_E_DEADLINE : BRAID_OK); /* a server that cannot be asked has no answer */
    assert_true(stats.deadline || is_remote());
    assert_int_equal(count, 0);
    free(hits);
    graph_close(s);
}

static void bad_arguments_are_refused_by_name(void **state) {
    (void)state;
    graph_store *s = open_graph(0, 0);
    graph_hit hit;
    size_t count;
    braid_error err = {0};
    uint32_t seeds[65] = {1};
    graph_walk w = {.seeds = seeds, .seed_count = 0, .depth = 1, .k = 1};
    assert_int_equal(graph_walk_from(s, &w, &hit, &count, NULL, &err), BRAID_E_INVALID);
    assert_non_null(strstr(err.message, "1..64 seeds"));
    w.seed_count = 65;
    assert_int_equal(graph_walk_from(s, &w, &hit, &count, NULL, NULL), BRAID_E_INVALID);
    w = (graph_walk){.seeds = seeds, .seed_count = 1, .depth = 4, .k = 1};
    assert_int_equal(graph_walk_from(s, &w, &hit, &count, NULL, NULL), BRAID_E_INVALID);
    const graph_edge bad[] = {{.from = 0, .to = 1, .type = "A", .strength = 1},
                              {.from = 1, .to = 2, .type = "a b", .strength = 1},
                              {.from = 1, .to = 2, .type = "A", .strength = 1.5f},
                              {.from = 1, .to = 2, .type = "A", .strength = -1},
                              {.from = 1, .to = 2, .type = NULL, .strength = 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_int_equal(put_edge(s, &bad[i]), BRAID_E_INVALID);
    graph_edge far = {.from = 1, .to = UINT32_MAX, .type = "A", .strength = 1};
    assert_int_equal(put_edge(s, &far), BRAID_E_TOO_LARGE);
    assert_int_equal(graph_neighbours(s, 5, 0, count_neighbours, NULL, NULL), BRAID_E_NOT_FOUND);
    assert_int_equal(drop_edge(s, 1, 2, "NEVER"), BRAID_OK);
    assert_int_equal(drop_item(s, 1000), BRAID_OK);
    graph_close(s);
}

/* ---- evidence ---- */

static void what_two_items_share_comes_relations_first_then_the_rarest_facet(void **state) {
    (void)state;
    graph_store *s = open_graph(0, 0);
    arena *a = arena_new(1024);
    graph_neighbour out[8];
    size_t count;
    put(s, 1, "drame", "sea", "exile", "war");
    put(s, 2, "drame", "sea", "exile", NULL);
    put(s, 3, "drame", "sea", NULL, NULL);
    put(s, 4, "drame", NULL, NULL, NULL);
    graph_edge edges[] = {{.from = 1, .to = 2, .type = "SEQUEL_OF", .strength = 0.5f},
                          {.from = 2, .to = 1, .type = "SIMILAR_TO", .strength = 0.9f},
                          {.from = 1, .to = 3, .type = "SIMILAR_TO", .strength = 1}};
    for (size_t i = 0; i < 3; i++) assert_int_equal(put_edge(s, &edges[i]), BRAID_OK);
    assert_int_equal(graph_shared(s, &(graph_pair){1, 2}, 1, 8, 0, out, &count, a, NULL), BRAID_OK);
    assert_int_equal(count, 5);
    assert_string_equal(out[0].type, "SIMILAR_TO");
    assert_false(out[0].outgoing);
    assert_int_equal(out[0].num, 2);
    assert_string_equal(out[1].type, "SEQUEL_OF");
    assert_true(out[1].outgoing);
    const char *const labels[] = {"exile", "sea", "drame"};
    const uint32_t degrees[] = {2, 3, 4};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(out[2 + i].label, labels[i]);
        assert_int_equal(out[2 + i].degree, degrees[i]);
    }
    assert_int_equal(graph_shared(s, &(graph_pair){1, 2}, 1, 3, 0, out, &count, a, NULL), BRAID_OK);
    assert_int_equal(count, 3);
    assert_string_equal(out[2].label, "exile");
    assert_int_equal(graph_shared(s, &(graph_pair){1, 99}, 1, 3, 0, out, &count, a, NULL), BRAID_OK);
    assert_int_equal(count, 0);
    arena_free(a);
    graph_close(s);
}

static void many_pairs_are_answered_at_once_each_in_its_place(void **state) {
    (void)state;
    graph_store *s = open_graph(0, 0);
    arena *a = arena_new(1024);
    graph_neighbour out[4 * 2];
    size_t counts[4] = {9, 9, 9, 9};
    put(s, 1, "drame", "sea", "exile", "war");
    put(s, 2, "drame", "sea", "exile", NULL);
    put(s, 3, "noir", "war", NULL, NULL);
    const graph_pair pairs[] = {{1, 3}, {2, 3}, {1, 1}, {2, 1}};
    assert_int_equal(graph_shared(s, pairs, 4, 2, 0, out, counts, a, NULL), BRAID_OK);
    assert_int_equal(counts[0], 1);
    assert_string_equal(out[0].label, "war");
    assert_int_equal(counts[1], 0);
    assert_int_equal(counts[2], 0); /* an item with itself */
    assert_int_equal(counts[3], 2);
    assert_string_equal(out[6].label, "drame"); /* all three are held by two; genres come first */
    assert_string_equal(out[7].label, "exile");
    assert_int_equal(graph_shared(s, pairs, 0, 2, 0, out, counts, a, NULL), BRAID_OK);
    arena_free(a);
    graph_close(s);
}

static void a_batch_is_written_whole_and_a_bad_one_not_at_all(void **state) {
    (void)state;
    graph_store *s = open_graph(0, 0);
    const char *genres[] = {"drame"};
    item it = {.id = "x", .title = "x", .genres = {genres, 1}};
    graph_item items[40];
    graph_edge edges[39];
    uint32_t nums[20];
    graph_info info;
    for (uint32_t i = 0; i < 40; i++) items[i] = (graph_item){.num = i + 1, .version = i + 1, .it = &it};
    for (uint32_t i = 0; i < 39; i++)
        edges[i] = (graph_edge){.from = i + 1, .to = i + 2, .type = "SEQUEL_OF", .strength = 1, .version = 100 + i};
    for (uint32_t i = 0; i < 20; i++) nums[i] = 2 * i + 2;
    edges[38].strength = 2;
    items[39].num = 0;
    assert_int_equal(graph_upsert_items(s, items, 40, NULL), BRAID_E_INVALID);
    assert_int_equal(graph_upsert_relations(s, edges, 39, NULL), BRAID_E_INVALID);
    graph_get_info(s, &info);
    assert_int_equal(info.items + info.relations, 0);
    items[39].num = 40;
    edges[38].strength = 1;
    assert_int_equal(graph_upsert_items(s, items, 40, NULL), BRAID_OK);
    assert_int_equal(graph_upsert_relations(s, edges, 39, NULL), BRAID_OK);
    graph_get_info(s, &info);
    assert_int_equal(info.items, 40);
    assert_int_equal(info.memberships, 40);
    assert_int_equal(info.relations, 39);
    for (size_t i = 0; i < 39; i++) edges[i].version += 100;
    assert_int_equal(graph_remove_relations(s, edges + 10, 29, NULL), BRAID_OK);
    assert_int_equal(graph_remove_items(s, nums, 20, NULL), BRAID_OK);
    graph_get_info(s, &info);
    assert_int_equal(info.items, 20);
    assert_int_equal(info.relations, 0); /* every edge had an even end */
    assert_sound(s);
    graph_close(s);
}

static void a_cleared_graph_is_empty_and_takes_everything_again(void **state) {
    (void)state;
    graph_store *s = open_graph(0, 0);
    graph_hit hits[4];
    graph_info info;
    graph_edge e = {.from = 1, .to = 3, .type = "SEQUEL_OF", .strength = 1};
    for (int round = 0; round < 2; round++) {
        put(s, 1, "drame", "sea", NULL, NULL);
        put(s, 2, "drame", NULL, NULL, NULL);
        assert_int_equal(put_edge(s, &e), BRAID_OK);
        assert_int_equal(walk(s, 1, 2, 4, hits), 2);
        assert_int_equal(graph_clear(s, NULL), BRAID_OK);
        graph_get_info(s, &info);
        assert_int_equal(info.items + info.relations + info.memberships + info.facets, 0);
        assert_int_equal(walk(s, 1, 2, 4, hits), 0);
        assert_sound(s);
    }
    graph_close(s);
}

typedef struct scanned {
    unsigned items, edges, facets;
    uint32_t last;
} scanned;
static bool scan_item(void *ctx, uint32_t num, uint64_t version, uint32_t facets) {
    (void)version;
    ((scanned *)ctx)->facets += facets;
    ((scanned *)ctx)->items++;
    ((scanned *)ctx)->last = num;
    return true;
}
static bool scan_edge(void *ctx, const graph_edge *e) {
    ((scanned *)ctx)->edges += e->strength > 0;
    return true;
}

static void an_end_that_is_not_known_yet_is_no_item_and_keeps_its_relations(void **state) {
    (void)state;
    graph_store *s = open_graph(0, 0);
    graph_hit hits[4];
    scanned seen = {0};
    graph_edge e = {.from = 1, .to = 2, .type = "SEQUEL_OF", .strength = 1},
               loop = {.from = 3, .to = 3, .type = "REMAKE_OF", .strength = 1};
    assert_int_equal(put_edge(s, &e), BRAID_OK);
    assert_int_equal(put_edge(s, &loop), BRAID_OK);
    put(s, 1, "drame", NULL, NULL, NULL);
    assert_int_equal(graph_scan(s, scan_item, scan_edge, &seen, NULL), BRAID_OK);
    assert_int_equal(seen.items, 1);
    assert_int_equal(seen.last, 1);
    assert_int_equal(seen.edges, 2);
    assert_int_equal(seen.facets, 1);
    put(s, 2, NULL, NULL, NULL, NULL);
    put(s, 2, NULL, NULL, NULL, NULL);
    assert_int_equal(put_edge(s, &e), BRAID_OK); /* again: the same edge */
    assert_int_equal(walk(s, 2, 1, 4, hits), 1);
    graph_info info;
    graph_get_info(s, &info);
    assert_int_equal(info.relations, 2);
    assert_int_equal(info.items, 2);
    assert_int_equal(drop_item(s, 1), BRAID_OK);
    assert_int_equal(drop_item(s, 3), BRAID_OK);
    assert_int_equal(walk(s, 2, 3, 4, hits), 0);
    graph_get_info(s, &info);
    assert_int_equal(info.relations, 0);
    assert_int_equal(info.facets, 0);
    assert_sound(s);
    graph_close(s);
}

static void an_estimate_follows_what_walks_cost(void **state) {
    (void)state;
    graph_store *s = open_graph(0, 0);
    graph_hit hits[200];
    graph_cost before, after;
    put_many(s, 150, 150);
    graph_estimate(s, 1, 2, &before);
    assert_true(before.microseconds > 0 && before.rows > 0);
    walk(s, 1, 2, 200, hits);
    graph_estimate(s, 1, 2, &after);
    assert_true(after.rows >= 149 && after.rows <= 150);
    graph_close(s);
}

/* ---- walkers beside the feed ---- */

typedef struct together {
    graph_store *s;
    atomic_bool done;
    atomic_int wrong;
} together;

static void *walk_on(void *arg) {
    together *t = arg;
    graph_hit hits[50];
    arena *a = arena_new(4096);
    for (uint32_t n = 0; !t->done; n++) {
        uint32_t seeds[] = {1 + n % 60, 1 + (n * 7) % 60};
        size_t count, shared;
        graph_walk w = {.seeds = seeds, .seed_count = 2, .depth = 3, .k = 50};
        graph_neighbour common[4];
        braid_error err = {0};
        if (graph_walk_from(t->s, &w, hits, &count, NULL, &err) != BRAID_OK && t->wrong++ == 0)
            fprintf(stderr, "%s\n", err.message);
        for (size_t i = 0; i < count; i++)
            t->wrong += hits[i].num == seeds[0] || hits[i].num == seeds[1] || hits[i].connections == 0 ||
                        (i > 0 && hits[i].score > hits[i - 1].score);
        graph_shared(t->s, &(graph_pair){seeds[0], seeds[1]}, 1, 4, 0, common, &shared, a, NULL);
        arena_reset(a);
    }
    arena_free(a);
    return NULL;
}

static void walkers_and_the_feed_do_not_disturb_each_other(void **state) {
    (void)state;
    together t = {.s = open_graph(0, 0)};
    pthread_t threads[3];
    rng r;
    rng_seed(&r, 5);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, walk_on, &t), 0);
    char theme[32];
    uint32_t changes = is_remote() ? 200 : 4000;
    for (uint32_t i = 0; i < changes; i++) {
        uint32_t num = 1 + (uint32_t)rng_below(&r, 60);
        snprintf(theme, sizeof theme, "t%u", i % 500);
        graph_edge e = {
            .from = num, .to = 1 + (uint32_t)rng_below(&r, 3000), .type = type_names[i % 3], .strength = 0.5f};
        if (i % 5 == 0)
            drop_item(t.s, num);
        else
            put(t.s, num, i % 2 ? "drame" : "noir", theme, "sea", NULL);
        put_edge(t.s, &e);
    }
    t.done = true;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    assert_int_equal(t.wrong, 0);
    assert_sound(t.s);
    graph_close(t.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_walk_gives_exactly_what_the_definition_says),
        cmocka_unit_test(three_shared_themes_score_one_and_a_half_and_a_relation_one),
        cmocka_unit_test(many_items_are_enriched_by_one_request),
        cmocka_unit_test(a_facet_of_too_many_is_not_walked_through_but_drawn),
        cmocka_unit_test(a_walk_over_its_bound_or_deadline_says_so_and_keeps_what_it_has),
        cmocka_unit_test(bad_arguments_are_refused_by_name),
        cmocka_unit_test(what_two_items_share_comes_relations_first_then_the_rarest_facet),
        cmocka_unit_test(many_pairs_are_answered_at_once_each_in_its_place),
        cmocka_unit_test(a_batch_is_written_whole_and_a_bad_one_not_at_all),
        cmocka_unit_test(a_cleared_graph_is_empty_and_takes_everything_again),
        cmocka_unit_test(an_end_that_is_not_known_yet_is_no_item_and_keeps_its_relations),
        cmocka_unit_test(an_estimate_follows_what_walks_cost),
        cmocka_unit_test(walkers_and_the_feed_do_not_disturb_each_other),
    };
    int failed = 0;
    for (size_t i = 0; (ops = graph_registry(i)) != NULL; i++) {
        char name[64];
        if (is_remote() && !test_neo4j(&server)) continue;
        snprintf(name, sizeof name, "contract: graph/%s", ops->name);
        failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
    }
    return failed;
}
