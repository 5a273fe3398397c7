/* The checker of the in-memory graph sees damage: each kind is done by hand here, behind the store's back, and must be
 * named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "graph/graph_adjacency.h"

static adjacency *open_sample(void) {
    graph_options o = {.hub_max = 200, .visits_max = 1000, .clock = &clock_system};
    void *self;
    const char *genres[] = {"drame", "noir"};
    item it = {.id = "x", .title = "x", .genres = {genres, 2}};
    graph_edge e = {.from = 1, .to = 2, .type = "SEQUEL_OF", .strength = 0.5f},
               f = {.from = 1, .to = 3, .type = "SEQUEL_OF", .strength = 0.5f};
    assert_int_equal(graph_adjacency_ops.open(&o, &self, NULL), BRAID_OK);
    for (uint32_t num = 1; num <= 3; num++)
        assert_int_equal(graph_adjacency_ops.upsert_items(self, &(graph_item){.num = num, .it = &it}, 1, NULL),
                         BRAID_OK);
    assert_int_equal(graph_adjacency_ops.upsert_relations(self, &e, 1, NULL), BRAID_OK);
    assert_int_equal(graph_adjacency_ops.upsert_relations(self, &f, 1, NULL), BRAID_OK);
    return self;
}

static void assert_problem(adjacency *g, const char *wanted) {
    buf problems;
    buf_init(&problems, 0);
    assert_int_equal(graph_adjacency_ops.check(g, &problems, NULL), BRAID_OK);
    if (wanted == NULL ? problems.len != 0 : strstr(problems.data, wanted) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", problems.data, wanted != NULL ? wanted : "");
    buf_free(&problems);
}

static void a_sound_graph_has_no_problem(void **state) {
    (void)state;
    adjacency *g = open_sample();
    assert_problem(g, NULL);
    graph_adjacency_ops.close(g);
}

static void a_relation_that_only_one_end_knows_is_named(void **state) {
    (void)state;
    adjacency *g = open_sample();
    g->items[2].links_count = 0;
    assert_problem(g, "item 1: has a relation that the other end does not know: 2");
    graph_adjacency_ops.close(g);
}

static void a_dangling_end_is_named(void **state) {
    (void)state;
    adjacency *g = open_sample();
    g->items[1].links[1].other = 1u << 25;
    assert_problem(g, "item 1: has a relation to a node or of a type that does not exist");
    g->items[1].links[1].other = 3;
    assert_problem(g, NULL);
    graph_adjacency_ops.close(g);
}

static void a_membership_that_the_facet_does_not_know_is_named(void **state) {
    (void)state;
    adjacency *g = open_sample();
    g->items[2].facets[0].at = 2;
    assert_problem(g, "item 2: is not among the members of its facet 0");
    g->items[2].facets[0].at = 1;
    assert_problem(g, NULL);
    graph_adjacency_ops.close(g);
}

static void a_wrong_counter_is_named(void **state) {
    (void)state;
    adjacency *g = open_sample();
    g->relations++;
    assert_problem(g, "the counters disagree");
    graph_adjacency_ops.close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_graph_has_no_problem),
        cmocka_unit_test(a_relation_that_only_one_end_knows_is_named),
        cmocka_unit_test(a_dangling_end_is_named),
        cmocka_unit_test(a_membership_that_the_facet_does_not_know_is_named),
        cmocka_unit_test(a_wrong_counter_is_named),
    };
    return cmocka_run_group_tests_name("graph: check", tests, NULL, NULL);
}
