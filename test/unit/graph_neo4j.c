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
#include <time.h>

#include <cmocka.h>

#include "graph/graph_adjacency.h"
#include "graph/graph_neo4j.h"
#include "test/support/neo4j.h"
#include "test/support/neo4j_wipe.h"
#include "test/support/timing.h"

static remote_options server;
static bool have_server;

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK) fail_msg("%s: %s", err->store, err->message);
}

/* What is kept of a remote store has to be dropped by our own writes alone here: there is no log. */
static uint64_t all_applied(void *ctx) {
    (void)ctx;
    return UINT64_MAX;
}

static graph_store *open_store(const graph_ops *ops, uint32_t hub_max) {
    braid_error err = {0};
    graph_store *s;
    graph_options o = {
        .hub_max = hub_max, .clock = &clock_system, .remote = &server, .kept_bytes = 1 << 20, .applied = all_applied};
    must(graph_open(ops, &o, &s, &err), &err);
    must(graph_clear(s, &err), &err);
    return s;
}

static graph_store *open_empty(void) {
    if (!have_server) skip();
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
    item it = {.id = id,
               .title = id,
               .kind = "film",
               .language = "fr",
               .year = 1995,
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
    for (size_t f = 0; f < FACETS; f++) snprintf(names[f], sizeof names[f], "name %zu", f);
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
        edges[i] = (graph_edge){.from = 1 + (uint32_t)rng_below(r, NUMS) * 7,
                                .to = 1 + (uint32_t)rng_below(r, NUMS) * 7,
                                .type = types[rng_below(r, 3)],
                                .strength = (float)rng_below(r, 17) / 16,
                                .version = version + NUMS + i};
    /* removed after all of the batch, whatever came twice in it: the store in memory knows no versions */
    graph_edge cut[20];
    for (size_t i = 0; i < 20; i++) {
        cut[i] = edges[i];
        cut[i].version = version + 2 * NUMS;
    }
    uint32_t gone[10];
    for (size_t i = 0; i < 10; i++) gone[i] = 1 + (uint32_t)rng_below(r, NUMS) * 7;
    for (size_t s = 0; s < 2; s++) {
        braid_error err = {0};
        must(graph_upsert_items(stores[s], rows, NUMS, &err), &err);
        must(graph_upsert_relations(stores[s], edges, NUMS, &err), &err);
        must(graph_remove_items(stores[s], gone, 10, &err), &err);
        must(graph_remove_relations(stores[s], cut, 20, &err), &err);
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
        pairs[i] =
            (graph_pair){1 + (uint32_t)rng_below(r, i < 20 ? 2 : NUMS) * 7, 1 + (uint32_t)rng_below(r, NUMS) * 7};
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
    if (!have_server) skip();
    for (int round = 0; round < 3; round++) {
        uint32_t hub_max = round == 0 ? 200 : 25;
        graph_store *stores[2] = {NULL, open_store(&graph_neo4j_ops, hub_max)};
        graph_options o = {.hub_max = hub_max, .clock = &clock_system};
        assert_int_equal(graph_open(&graph_adjacency_ops, &o, &stores[0], NULL), BRAID_OK);
        for (uint64_t change = 0; change < 3; change++) random_items(stores, &r, 1 + change * 1000);
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
                if (rng_below(&r, 2)) bitset_set(&allow, n);
            graph_walk w = {.seeds = seeds,
                            .seed_weights = i % 2 ? weights : NULL,
                            .seed_count = 1 + rng_below(&r, 4),
                            .depth = 1 + (unsigned)i % 3,
                            .k = 1 + rng_below(&r, NUMS),
                            .allow = rng_below(&r, 3) == 0 ? &allow : NULL};
            same_walk(stores, &w);
            bitset_free(&allow);
        }
        same_shared(stores, &r);
        graph_info info[2];
        for (size_t s = 0; s < 2; s++) graph_get_info(stores[s], &info[s]);
        assert_int_equal(info[0].items, info[1].items);
        assert_int_equal(info[0].relations, info[1].relations);
        assert_int_equal(info[0].memberships, info[1].memberships);
        assert_int_equal(info[0].facets, info[1].facets);
        graph_close(stores[0]);
        graph_close(stores[1]);
    }
}

/* ---- versions ---- */

static bool note(void *ctx, const graph_neighbour *n) {
    buf *b = ctx;
    if (n->kind == GRAPH_ITEM)
        buf_printf(b, "%s:%u:%g ", n->type, n->num, (double)n->strength);
    else
        buf_printf(b, "%s:%s ", n->type, n->label);
    return true;
}

static size_t neighbours_of(graph_store *s, uint32_t num, char *out, size_t cap) {
    buf b;
    buf_init(&b, 0);
    int rc = graph_neighbours(s, num, 0, note, &b, NULL);
    snprintf(out, cap, "%s", rc == BRAID_E_NOT_FOUND ? "nothing" : rc == BRAID_OK ? b.data : "failed");
    buf_free(&b);
    return strlen(out);
}

static void assert_neighbours(graph_store *s, uint32_t num, const char *wanted) {
    char got[512];
    neighbours_of(s, num, got, sizeof got);
    assert_string_equal(got, wanted);
}

static void remove_item(graph_store *s, uint32_t num) {
    braid_error err = {0};
    must(graph_remove_items(s, &num, 1, &err), &err);
}

static void an_older_item_neither_replaces_a_newer_one_nor_comes_back(void **state) {
    (void)state;
    graph_store *s = open_empty();
    const char *sea[] = {"sea"}, *war[] = {"war"};
    put(s, 1, 5, sea, 1, NULL, 0);
    put(s, 1, 4, war, 1, NULL, 0);
    assert_neighbours(s, 1, "BELONGS_TO:sea ");
    put(s, 1, 5, war, 1, NULL, 0); /* the same version: a repair */
    assert_neighbours(s, 1, "BELONGS_TO:war ");
    relate(s, 1, 2, "SEQUEL_OF", 1, 9);
    remove_item(s, 1);
    put(s, 1, 5, sea, 1, NULL, 0);
    relate(s, 1, 2, "SEQUEL_OF", 1, 9); /* late, once more */
    assert_neighbours(s, 1, "nothing");
    assert_int_equal(ask("MATCH (m:MediaContent) RETURN count(m)"), 0);
    put(s, 1, 10, sea, 1, NULL, 0);
    assert_neighbours(s, 1, "BELONGS_TO:sea ");
    graph_close(s);
}

static void an_older_relation_neither_replaces_a_newer_one_nor_comes_back(void **state) {
    (void)state;
    graph_store *s = open_empty();
    braid_error err = {0};
    relate(s, 1, 2, "SIMILAR_TO", 0.5f, 5);
    relate(s, 1, 2, "SIMILAR_TO", 0.25f, 4);
    assert_neighbours(s, 1, "SIMILAR_TO:2:0.5 ");
    graph_edge e = {.from = 1, .to = 2, .type = "SIMILAR_TO", .version = 4};
    must(graph_remove_relations(s, &e, 1, &err), &err); /* an old removal */
    assert_neighbours(s, 1, "SIMILAR_TO:2:0.5 ");
    e.version = 7;
    must(graph_remove_relations(s, &e, 1, &err), &err);
    relate(s, 1, 2, "SIMILAR_TO", 0.5f, 6);
    assert_neighbours(s, 1, "nothing");
    assert_int_equal(ask("MATCH (m:MediaContent) RETURN count(m)"), 0); /* ends that nobody knows went with it */
    relate(s, 1, 2, "SIMILAR_TO", 0.75f, 8);
    assert_neighbours(s, 2, "SIMILAR_TO:1:0.75 ");
    graph_close(s);
}

static void a_batch_holds_the_newest_of_each_key(void **state) {
    (void)state;
    graph_store *s = open_empty();
    braid_error err = {0};
    const char *a[] = {"a"}, *b[] = {"b"}, *c[] = {"c"};
    item its[] = {{.id = "i1", .title = "t", .genres = {a, 1}},
                  {.id = "i1", .title = "t", .genres = {b, 1}},
                  {.id = "i1", .title = "t", .genres = {c, 1}}};
    graph_item rows[] = {{1, 7, &its[0]}, {1, 8, &its[1]}, {1, 6, &its[2]}};
    must(graph_upsert_items(s, rows, 3, &err), &err);
    assert_neighbours(s, 1, "BELONGS_TO:b ");
    graph_edge edges[] = {{.from = 1, .to = 2, .type = "R", .strength = 0.5f, .version = 3},
                          {.from = 1, .to = 2, .type = "R", .strength = 1, .version = 2},
                          {.from = 1, .to = 2, .type = "R", .strength = 0.25f, .version = 3}};
    must(graph_upsert_relations(s, edges, 3, &err), &err);
    assert_neighbours(s, 2, "R:1:0.25 ");
    graph_close(s);
}

/* ---- one statement must not swallow another's rows ---- */

static void an_item_without_genres_keeps_its_themes_and_loses_only_what_it_lost(void **state) {
    (void)state;
    graph_store *s = open_empty();
    const char *two[] = {"exile", "sea"}, *drame[] = {"drame"};
    put(s, 1, 1, NULL, 0, two, 2);
    assert_neighbours(s, 1, "HAS_THEME:exile HAS_THEME:sea ");
    put(s, 1, 2, drame, 1, two, 1);
    assert_neighbours(s, 1, "BELONGS_TO:drame HAS_THEME:exile ");
    assert_int_equal(ask("MATCH (f:Theme) RETURN count(f)"), 1); /* the empty facet is gone */
    put(s, 1, 3, NULL, 0, NULL, 0);
    assert_neighbours(s, 1, "");
    assert_int_equal(ask("MATCH (n) RETURN count(n)"), 1);
    graph_close(s);
}

static void an_id_that_was_made_anew_belongs_to_the_new_number(void **state) {
    (void)state;
    graph_store *s = open_empty();
    braid_error err = {0};
    item it = {.id = "same", .title = "t"};
    graph_item rows[] = {{1, 5, &it}, {2, 6, &it}, {3, 7, &it}};
    must(graph_upsert_items(s, rows, 1, &err), &err);
    must(graph_upsert_items(s, rows + 1, 2, &err), &err);
    assert_int_equal(ask("MATCH (m:MediaContent {id: 'same'}) RETURN m.num"), 3);
    assert_int_equal(ask("MATCH (m:MediaContent) RETURN count(m)"), 3);
    must(graph_upsert_items(s, &(graph_item){1, 4, &it}, 1, &err), &err); /* old: it takes nothing */
    assert_int_equal(ask("MATCH (m:MediaContent {id: 'same'}) RETURN m.num"), 3);
    graph_close(s);
}

static void an_item_and_its_vector_leave_one_node_each_in_its_time(void **state) {
    (void)state;
    graph_store *s = open_empty();
    braid_error err = {0};
    const char *drame[] = {"drame"};
    put(s, 1, 1, drame, 1, NULL, 0);
    put(s, 2, 2, drame, 1, NULL, 0);
    ask("MATCH (m:MediaContent {num: 1}) SET m.embedding = [1.0, 0.0], m.embedding_version = 1 RETURN 1");
    remove_item(s, 1);
    assert_int_equal(ask("MATCH (m:MediaContent {num: 1}) WHERE m.embedding IS NOT NULL AND m.version IS NULL AND "
                         "m.id IS NULL RETURN count(m)"),
                     1);
    assert_neighbours(s, 1, "nothing");
    must(graph_clear(s, &err), &err);
    assert_int_equal(ask("MATCH (n) RETURN count(n)"), 1);
    ask("MATCH (m:MediaContent) DELETE m RETURN 1");
    graph_close(s);
}

/* ---- many at once ---- */

enum { WRITERS = 8 };

typedef struct writer {
    graph_store *s;
    int wrong;
} writer;

static void *write_the_same(void *arg) {
    writer *w = arg;
    const char *genres[] = {"drame", "noir"};
    item it = {.id = "one", .title = "t", .genres = {genres, 2}};
    for (uint64_t version = 1; version <= 10; version++) {
        braid_error err = {0};
        graph_edge e = {.from = 1, .to = 2, .type = "SIMILAR_TO", .strength = 1, .version = version};
        if (graph_upsert_items(w->s, &(graph_item){1, version, &it}, 1, &err) != BRAID_OK ||
            graph_upsert_relations(w->s, &e, 1, &err) != BRAID_OK) {
            w->wrong++;
            fprintf(stderr, "%s\n", err.message);
        }
    }
    return NULL;
}

static void eight_threads_that_make_one_node_leave_one(void **state) {
    (void)state;
    graph_store *s = open_empty();
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (writer){.s = s};
        assert_int_equal(pthread_create(&threads[i], NULL, write_the_same, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writers[i].wrong, 0);
    }
    assert_int_equal(ask("MATCH (m:MediaContent) RETURN count(m)"), 2);
    assert_int_equal(ask("MATCH (f:Genre) RETURN count(f)"), 2);
    assert_int_equal(ask("MATCH (:MediaContent)-[r]->(:Genre) RETURN count(r)"), 2);
    assert_int_equal(ask("MATCH ()-[r:SIMILAR_TO]->() RETURN count(r)"), 1);
    graph_close(s);
}

/* Each relates the same few items, in an order of its own. */
static void *relate_the_same(void *arg) {
    enum { ROUNDS = 12, EDGES = 40, ENDS = 20 };
    writer *w = arg;
    rng r;
    rng_seed(&r, (uint64_t)(uintptr_t)w);
    for (uint64_t version = 1; version <= ROUNDS; version++) {
        graph_edge edges[EDGES];
        braid_error err = {0};
        for (size_t i = 0; i < EDGES; i++)
            edges[i] = (graph_edge){.from = 1 + (uint32_t)rng_below(&r, ENDS),
                                    .to = 1 + (uint32_t)rng_below(&r, ENDS),
                                    .type = rng_below(&r, 2) ? "SIMILAR_TO" : "RELATED_TO",
                                    .strength = 1,
                                    .version = version};
        if (graph_upsert_relations(w->s, edges, EDGES, &err) != BRAID_OK && w->wrong++ == 0)
            fprintf(stderr, "%s\n", err.message);
    }
    return NULL;
}

static void relations_made_by_many_at_once_stay_single(void **state) {
    (void)state;
    graph_store *s = open_empty(), *patient;
    braid_error err = {0};
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    remote_options again = server;
    again.retries = 20; /* they may wait for each other in a circle: the server refuses one, and it is done again */
    graph_options o = {.clock = &clock_system, .remote = &again};
    must(graph_open(&graph_neo4j_ops, &o, &patient, &err), &err);
    for (uint32_t num = 1; num <= 20; num++) put(s, num, num, NULL, 0, NULL, 0);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (writer){.s = patient};
        assert_int_equal(pthread_create(&threads[i], NULL, relate_the_same, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writers[i].wrong, 0);
    }
    assert_int_equal(
        ask("MATCH (a:MediaContent)-[r]->(b:MediaContent) WITH a, b, type(r) AS type, count(*) AS c WHERE c > 1 RETURN count(*)"),
        0);
    assert_true(ask("MATCH (:MediaContent)-[r]->(:MediaContent) RETURN count(r)") > 0);
    graph_close(patient);
    graph_close(s);
}

/* ---- what comes from outside ---- */

enum { PAYLOAD = 160, PAYLOADS = 200 };

/* Each way out of a literal, a name or a map, with each thing that one would do outside; and oddities. */
static size_t make_payloads(char (*out)[PAYLOAD]) {
    static const char *const ways[] = {"%s",
                                       "X]->(b) %s //",
                                       "A`]->(b) %s //",
                                       "A`]->(b) %s WITH 1 AS x MATCH ()-[:`B",
                                       "'}) %s //",
                                       "\"}) %s //",
                                       "`}) %s //",
                                       "\\' %s //",
                                       "\\u0027}) %s //",
                                       "x' OR 1=1 %s //",
                                       "x\n%s",
                                       "*/ %s /*",
                                       "}) %s UNION ALL RETURN 1 //"};
    static const char *const deeds[] = {"DETACH DELETE b",
                                        "MATCH (n) DETACH DELETE n",
                                        "MATCH (c:Canary) DELETE c",
                                        "MATCH (c:Canary) SET c.alive = false",
                                        "CREATE (:Evil)-[:EVIL]->(:Evil)",
                                        "CALL dbms.shutdown()",
                                        "WITH 1 AS x MATCH (c:Canary) REMOVE c.alive",
                                        "; MATCH (n) DETACH DELETE n;"};
    static const char *const odd[] = {"$rows",
                                      "${num}",
                                      "$($type)",
                                      "`",
                                      "``",
                                      "\\`",
                                      "null",
                                      "{num: 1}",
                                      "x\ny",
                                      "\xE2\x80\xA8",
                                      "A B",
                                      "a",
                                      "_A",
                                      "1A",
                                      "",
                                      "\xEF\xBC\x87",
                                      "A|B",
                                      "A*1..99",
                                      "A {strength: 1}",
                                      "\xCA\xBC OR 1=1",
                                      "A\tB",
                                      "A;B",
                                      "A//",
                                      "A--B",
                                      "A/*",
                                      "\\",
                                      "'",
                                      "\"",
                                      "]",
                                      ")",
                                      "}"};
    size_t n = 0;
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++)
        for (size_t d = 0; d < sizeof deeds / sizeof deeds[0]; d++) {
            const char *at = strstr(ways[w], "%s");
            snprintf(out[n++], PAYLOAD, "%.*s%s%s", (int)(at - ways[w]), ways[w], deeds[d], at + 2);
        }
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) snprintf(out[n++], PAYLOAD, "%s", odd[i]);
    assert_true(n <= PAYLOADS);
    return n;
}

static void nothing_from_outside_becomes_cypher(void **state) {
    (void)state;
    graph_store *s = open_empty();
    char(*payloads)[PAYLOAD] = calloc(PAYLOADS, sizeof *payloads);
    size_t count_of = make_payloads(payloads);
    assert_true(count_of >= 100);
    braid_error err = {0};
    ask("CREATE (:Canary {alive: true}) RETURN 1");
    for (size_t i = 0; i < count_of; i++) {
        const char *p = payloads[i];
        graph_edge e = {.from = 1, .to = 2, .type = p, .strength = 1, .version = 1};
        assert_int_equal(graph_upsert_relations(s, &e, 1, NULL), BRAID_E_INVALID);
        assert_int_equal(graph_remove_relations(s, &e, 1, NULL), BRAID_E_INVALID);
        assert_int_equal(graph_neo4j_upsert_relations(NULL, &e, 1, NULL), BRAID_E_INVALID); /* behind the forwarder */
        buf text;
        buf_init(&text, 0);
        assert_false(graph_neo4j_put_relations_text(p, &text) || graph_neo4j_remove_relations_text(p, &text));
        assert_int_equal(text.len, 0);
        buf_free(&text);
        if (p[0] == '\0') continue;
        const char *list[] = {p};
        item_person people[] = {{p, p}};
        item it = {.id = p,
                   .title = p,
                   .kind = p,
                   .language = p,
                   .genres = {list, 1},
                   .themes = {list, 1},
                   .moods = {list, 1},
                   .contexts = {list, 1},
                   .people = people,
                   .people_count = 1};
        must(graph_upsert_items(s, &(graph_item){1000 + (uint32_t)i, 1, &it}, 1, &err), &err);
        arena *mem = arena_new(1024);
        graph_neighbour out[8];
        size_t count;
        must(graph_upsert_items(s, &(graph_item){200, i + 1, &it}, 1, &err), &err);
        must(graph_shared(s, &(graph_pair){1000 + (uint32_t)i, 200}, 1, 8, 0, out, &count, mem, &err), &err);
        assert_int_equal(count, 5);
        for (size_t j = 0; j < count; j++) assert_string_equal(out[j].label, p); /* it came back as it went in */
        arena_free(mem);
    }
    assert_int_equal(ask("MATCH (c:Canary {alive: true}) RETURN count(c)"), 1);
    assert_int_equal(
        ask("MATCH ()-[r]->() WHERE NOT type(r) IN ['BELONGS_TO', 'HAS_THEME', 'HAS_MOOD', 'IN_CONTEXT', 'HAS_PERSON'] RETURN count(r)"),
        0);
    ask("MATCH (c:Canary) DELETE c RETURN 1");
    free(payloads);
    graph_close(s);
}

static bool count_edge(void *ctx, const graph_edge *e) {
    (void)e;
    ++*(size_t *)ctx;
    return true;
}

/* A list beside the map would be planned for anew at each order of magnitude of its length (graph_neo4j_cypher.c). */
static void every_list_that_a_statement_takes_lies_in_the_map_of_parameters(void **state) {
    (void)state;
    const char *texts[sizeof graph_neo4j_statements / sizeof(char *)];
    size_t seen = 0;
    memcpy(texts, &graph_neo4j_statements, sizeof texts);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (const char *at = strchr(texts[i], '$'); at != NULL; at = strchr(at + 1, '$'), seen++)
            if (strncmp(at, "$p.", 3) != 0 && strncmp(at, "$most ", 6) != 0) fail_msg("%.40s... in %s", at, texts[i]);
    assert_true(seen > 20);
    for (int kind = 0; kind < GRAPH_NEO4J_KINDS; kind++)
        for (int i = 0; i < 2; i++) assert_non_null(strstr(graph_neo4j_kinds[kind].add[i], "UNWIND $p.rows"));
}

static void what_the_server_says_and_makes_no_sense_is_an_error(void **state) {
    (void)state;
    graph_store *s = open_empty();
    braid_error err = {0};
    graph_hit hits[4];
    size_t count;
    uint32_t seed = 1;
    graph_walk w = {.seeds = &seed, .seed_count = 1, .depth = 2, .k = 4};
    relate(s, 1, 2, "SIMILAR_TO", 1, 1);
    ask("MATCH ()-[r:SIMILAR_TO]->() SET r.strength = 'much' RETURN 1");
    assert_int_equal(graph_walk_from(s, &w, hits, &count, NULL, &err), BRAID_E_CORRUPT);
    assert_true(err.message[0] != '\0');
    ask("MATCH (m:MediaContent {num: 2})-[r]-() SET r.strength = 1.0, m.num = -7 RETURN 1");
    assert_int_equal(graph_walk_from(s, &w, hits, &count, NULL, NULL), BRAID_E_CORRUPT);
    ask("MATCH (m:MediaContent {num: -7}) SET m.num = 2 RETURN 1");
    assert_int_equal(graph_walk_from(s, &w, hits, &count, NULL, NULL), BRAID_OK); /* the connections are good */
    assert_int_equal(count, 1);
    graph_close(s);
}

/* A statement that meets what another transaction deletes reads null for its properties: here such nodes simply
 * stand there. */
static void what_goes_while_it_is_looked_at_is_left_out(void **state) {
    (void)state;
    graph_store *s = open_empty();
    braid_error err = {0};
    const char *drame[] = {"drame"};
    graph_hit hits[8];
    graph_neighbour out[8];
    size_t count;
    uint32_t seeds[] = {1, 2};
    arena *mem = arena_new(1024);
    put(s, 1, 1, drame, 1, NULL, 0);
    put(s, 2, 2, drame, 1, NULL, 0);
    relate(s, 1, 2, "SIMILAR_TO", 1, 3);
    ask("MATCH (a:MediaContent {num: 1}), (b:MediaContent {num: 2}) CREATE (f:Theme), (a)-[:HAS_THEME]->(f), (b)-[:HAS_THEME]->(f), "
        "(o:MediaContent), (a)-[:SIMILAR_TO {strength: 0.5}]->(o), (o)-[:SIMILAR_TO {strength: 0.5}]->(b), "
        "(o)-[:BELONGS_TO]->(:Genre {name: 'of nobody'}) WITH o MATCH (g:Genre {name: 'drame'}) CREATE (o)-[:BELONGS_TO]->(g) RETURN 1");
    for (unsigned depth = 1; depth <= 3; depth++) {
        graph_walk w = {.seeds = seeds, .seed_count = 1, .depth = depth, .k = 8};
        must(graph_walk_from(s, &w, hits, &count, NULL, &err), &err);
        assert_int_equal(count, 1);
        assert_int_equal(hits[0].num, 2);
        assert_int_equal(hits[0].connections, 1);
    }
    assert_neighbours(s, 1, "SIMILAR_TO:2:1 BELONGS_TO:drame ");
    must(graph_shared(s, &(graph_pair){1, 2}, 1, 8, 0, out, &count, mem, &err), &err);
    assert_int_equal(count, 2);
    must(graph_scan(s, NULL, count_edge, &count, &err), &err);
    assert_int_equal(count, 3);
    ask("MATCH (n) WHERE n.num IS NULL AND n.name IS NULL DETACH DELETE n RETURN 1");
    arena_free(mem);
    graph_close(s);
}

static void check_names_what_was_damaged_behind_its_back(void **state) {
    (void)state;
    graph_store *s = open_empty();
    braid_error err = {0};
    const char *drame[] = {"drame"};
    buf b;
    buf_init(&b, 0);
    put(s, 1, 1, drame, 1, NULL, 0);
    relate(s, 1, 2, "SIMILAR_TO", 1, 2);
    must(graph_check(s, &b, &err), &err);
    assert_string_equal(b.data, "");
    ask("MATCH (m:MediaContent {num: 1}), (o:MediaContent {num: 2}) CREATE (m)-[:SIMILAR_TO {strength: 3}]->(o) RETURN 1");
    ask("CREATE (:Genre {name: 'empty'}) RETURN 1");
    ask("MATCH (o:MediaContent {num: 2}), (g:Genre {name: 'drame'}) CREATE (o)-[:BELONGS_TO]->(g) RETURN 1");
    ask("CREATE (:MediaContent {title: 'lost'}) RETURN 1");
    must(graph_check(s, &b, &err), &err);
    static const char *const lines[] = {"item 1 has 2 relationships SIMILAR_TO to 2", "facet empty",
                                        "item 2 is not known and yet has facets", "without a number: 1",
                                        "no strength of 0..1"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (strstr(b.data, lines[i]) == NULL) fail_msg("\"%s\" is not told: %s", lines[i], b.data);
    buf_free(&b);
    graph_close(s);
}

/* ---- bounds and time ---- */

static void an_item_of_many_relations_is_fetched_whole_when_there_is_room(void **state) {
    (void)state;
    enum { MANY = 1500 };
    graph_store *s = open_empty();
    braid_error err = {0};
    graph_edge *edges = calloc(MANY, sizeof *edges);
    graph_hit *hits = calloc(MANY, sizeof *hits);
    size_t count;
    graph_stats stats;
    uint32_t seed = 5;
    for (uint32_t i = 0; i < MANY; i++)
        edges[i] = (graph_edge){.from = 10 + i, .to = 5, .type = "SIMILAR_TO", .strength = 1, .version = i + 1};
    must(graph_upsert_relations(s, edges, MANY, &err), &err);
    graph_walk w = {.seeds = &seed, .seed_count = 1, .depth = 1, .k = MANY};
    must(graph_walk_from(s, &w, hits, &count, &stats, &err), &err);
    assert_int_equal(count, MANY);
    assert_false(stats.truncated);
    graph_close(s);
    graph_options o = {.visits_max = 300, .clock = &clock_system, .remote = &server};
    must(graph_open(&graph_neo4j_ops, &o, &s, &err), &err);
    must(graph_walk_from(s, &w, hits, &count, &stats, &err), &err);
    assert_true(stats.truncated && count <= 300 && count > 200);
    free(edges);
    free(hits);
    graph_close(s);
}

static void a_walk_is_never_later_than_its_deadline(void **state) {
    (void)state;
    graph_store *s = open_empty();
    const char *drame[] = {"drame"};
    for (uint32_t i = 1; i <= 100; i++) put(s, i, i, drame, 1, NULL, 0);
    for (int64_t us = 100; us < 20000; us += 400) {
        uint32_t seed = 1 + (uint32_t)us % 100;
        graph_hit hits[100];
        size_t count;
        graph_stats stats;
        braid_error err = {0};
        int64_t start = clock_mono_ns(&clock_system);
        graph_walk w = {.seeds = &seed, .seed_count = 1, .depth = 3, .k = 100, .until = start + us * 1000};
        int rc = graph_walk_from(s, &w, hits, &count, &stats, &err);
        assert_true(elapsed_ms(start) < SOON_MS);
        if (rc != BRAID_OK) assert_true(rc == BRAID_E_DEADLINE || rc == BRAID_E_UNAVAILABLE);
    }
    /* The breaker may be open now; it tries again by itself. */
    int rc = BRAID_E_UNAVAILABLE;
    for (int i = 0; i < LONG_MS / 50 && rc != BRAID_OK; i++) {
        char text[64];
        rc = neighbours_of(s, 1, text, sizeof text) > 0 && strcmp(text, "failed") != 0 ? BRAID_OK : BRAID_E_UNAVAILABLE;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    assert_int_equal(rc, BRAID_OK);
    graph_close(s);
}

static void removals_are_forgotten_after_a_day(void **state) {
    (void)state;
    graph_store *s = open_empty();
    put(s, 1, 1, NULL, 0, NULL, 0);
    put(s, 2, 2, NULL, 0, NULL, 0);
    remove_item(s, 1);
    assert_int_equal(ask("MATCH (t:Removed) RETURN count(t)"), 1);
    ask("MATCH (t:Removed) SET t.at = t.at - 25 * 3600 * 1000 RETURN 1");
    remove_item(s, 2);
    assert_int_equal(ask("MATCH (t:Removed) RETURN t.num"), 2);
    graph_close(s);
}

/* ---- the schema ---- */

static void opening_fails_clearly_when_a_constraint_cannot_be_made(void **state) {
    (void)state;
    graph_store *s = open_empty();
    graph_close(s);
    ask("DROP CONSTRAINT braid_media_num");
    ask("CREATE (:MediaContent {num: 1}), (:MediaContent {num: 1}) RETURN 1");
    braid_error err = {0};
    graph_options o = {.clock = &clock_system, .remote = &server};
    int rc = graph_open(&graph_neo4j_ops, &o, &s, &err);
    ask("MATCH (m:MediaContent {num: 1}) DELETE m RETURN 1");
    assert_int_not_equal(rc, BRAID_OK);
    assert_null(s);
    assert_non_null(strstr(err.message, "braid_media_num"));
    s = open_empty(); /* makes it */
    assert_int_equal(ask("SHOW CONSTRAINTS YIELD name WHERE name = 'braid_media_num' RETURN count(*)"), 1);
    graph_close(s);
}

static void opening_without_a_server_says_where_it_looked(void **state) {
    (void)state;
    braid_error err = {0};
    graph_store *s;
    remote_options nobody = {.address = "127.0.0.1:1",
                             .database = "",
                             .user = "",
                             .password = "",
                             .token = "",
                             .tls_ca = "",
                             .connections = 1,
                             .timeout_ms = 500};
    graph_options o = {.clock = &clock_system, .remote = &nobody};
    uint32_t seed = 1;
    graph_hit hit;
    size_t count;
    graph_walk w = {.seeds = &seed, .seed_count = 1, .depth = 1, .k = 1};
    if (graph_open(&graph_neo4j_ops, &o, &s, &err) == BRAID_OK) { /* it may come back: whoever asks is told */
        assert_int_equal(graph_walk_from(s, &w, &hit, &count, NULL, &err), BRAID_E_UNAVAILABLE);
        assert_int_equal(graph_remove_items(s, &seed, 1, NULL), BRAID_E_UNAVAILABLE);
        graph_close(s);
    }
    assert_non_null(strstr(err.message, "127.0.0.1:1"));
    error_clear(&err);
    o.remote = NULL;
    assert_int_equal(graph_open(&graph_neo4j_ops, &o, &s, &err), BRAID_E_INVALID);
    assert_non_null(strstr(err.message, "neo4j.address"));
}

/* The statements of a file, without comments and with single spaces; ';' ends one. */
static char *statements_of(const char *path) {
    FILE *f = fopen(path, "r");
    if (f == NULL) fail_msg("run this from the root of the sources: no %s", path);
    buf b;
    char line[1024];
    buf_init(&b, 0);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "//", 2) != 0) buf_puts(&b, line);
    fclose(f);
    return buf_steal(&b);
}

static void the_schema_is_the_one_in_the_cypher_files(void **state) {
    (void)state;
    static const char *const paths[] = {"cypher/001_graph_constraints.cypher", "cypher/002_graph_indexes.cypher"};
    size_t rule = 0;
    for (size_t i = 0; i < 2; i++) {
        char *text = statements_of(paths[i]), *rest = text;
        for (char *end; (end = strchr(rest, ';')) != NULL; rest = end + 1) {
            *end = '\0';
            rest += strspn(rest, "\n ");
            assert_non_null(graph_neo4j_schema(rule));
            assert_string_equal(rest, graph_neo4j_schema(rule)->create);
            rule++;
        }
        assert_int_equal(strspn(rest, "\n "), strlen(rest));
        free(text);
    }
    assert_null(graph_neo4j_schema(rule));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_schema_is_the_one_in_the_cypher_files),
        cmocka_unit_test(opening_without_a_server_says_where_it_looked),
        cmocka_unit_test(walks_and_evidence_are_those_of_the_store_in_memory),
        cmocka_unit_test(an_older_item_neither_replaces_a_newer_one_nor_comes_back),
        cmocka_unit_test(an_older_relation_neither_replaces_a_newer_one_nor_comes_back),
        cmocka_unit_test(a_batch_holds_the_newest_of_each_key),
        cmocka_unit_test(an_item_without_genres_keeps_its_themes_and_loses_only_what_it_lost),
        cmocka_unit_test(an_id_that_was_made_anew_belongs_to_the_new_number),
        cmocka_unit_test(an_item_and_its_vector_leave_one_node_each_in_its_time),
        cmocka_unit_test(eight_threads_that_make_one_node_leave_one),
        cmocka_unit_test(relations_made_by_many_at_once_stay_single),
        cmocka_unit_test(nothing_from_outside_becomes_cypher),
        cmocka_unit_test(every_list_that_a_statement_takes_lies_in_the_map_of_parameters),
        cmocka_unit_test(what_the_server_says_and_makes_no_sense_is_an_error),
        cmocka_unit_test(what_goes_while_it_is_looked_at_is_left_out),
        cmocka_unit_test(check_names_what_was_damaged_behind_its_back),
        cmocka_unit_test(an_item_of_many_relations_is_fetched_whole_when_there_is_room),
        cmocka_unit_test(a_walk_is_never_later_than_its_deadline),
        cmocka_unit_test(removals_are_forgotten_after_a_day),
        cmocka_unit_test(opening_fails_clearly_when_a_constraint_cannot_be_made),
    };
    have_server = test_neo4j(&server);
    if (have_server && !test_neo4j_wipe(&server)) return 1;
    return cmocka_run_group_tests_name("graph_neo4j", tests, NULL, NULL);
}
