/* Members of facets kept of a remote graph: never others than those that the server has, once the feeds are past a
 * change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "graph/graph_neo4j_kept.h"

enum { ROOM = 1 << 20 };

typedef struct sum {
    uint32_t nums[64];
    size_t count, most;
} sum;

static bool see(void *ctx, uint32_t num) {
    sum *s = ctx;
    s->nums[s->count++] = num;
    return s->count != s->most;
}

static graph_neo4j_kept_facet theme(uint32_t degree) {
    return (graph_neo4j_kept_facet){11, GRAPH_THEME, "exile", degree};
}

static bool kept(graph_neo4j_kept *k, uint32_t degree) {
    sum s = {0};
    bool ended;
    graph_neo4j_kept_facet f = theme(degree);
    return graph_neo4j_kept_get(k, &f, see, &s, &ended);
}

/* As a walk does it: the server has applied so much, and gives these. */
static void walk(graph_neo4j_kept *k, uint64_t applied, const uint32_t *nums, size_t n) {
    uint32_t copy[64];
    memcpy(copy, nums, n * sizeof *copy);
    graph_neo4j_kept_facet f = theme((uint32_t)n);
    graph_neo4j_kept_put(k, graph_neo4j_kept_begin(k, applied), &f, copy, n);
}

static const uint32_t three[] = {9, 5, 7};

static void members_come_back_in_order(void **state) {
    (void)state;
    graph_neo4j_kept *k = graph_neo4j_kept_new(ROOM, NULL);
    sum s = {0}, one = {.most = 1};
    bool ended;
    graph_neo4j_kept_facet f = theme(3);
    assert_false(kept(k, 3));
    walk(k, 0, three, 3);
    assert_true(graph_neo4j_kept_get(k, &f, see, &s, &ended));
    assert_false(ended);
    assert_int_equal(s.count, 3);
    assert_memory_equal(s.nums, ((uint32_t[]){5, 7, 9}), 3 * sizeof(uint32_t));
    assert_true(graph_neo4j_kept_get(k, &f, see, &one, &ended));
    assert_true(ended);
    graph_neo4j_kept_free(k);
}

static void a_member_that_changes_takes_its_facets_along(void **state) {
    (void)state;
    graph_neo4j_kept *k = graph_neo4j_kept_new(ROOM, NULL);
    walk(k, 0, three, 3);
    graph_neo4j_kept_touched(k, (uint32_t[]){4, 6, 10}, 3, 90); /* others */
    assert_true(kept(k, 3));
    graph_neo4j_kept_touched(k, (uint32_t[]){7}, 1, 100);
    assert_false(kept(k, 3));
    walk(k, 99, three, 3); /* the server is still to take it away */
    assert_false(kept(k, 3));
    walk(k, 100, three, 3);
    assert_true(kept(k, 3));
    uint32_t many[40];
    for (uint32_t i = 0; i < 40; i++) many[i] = 1000 + i;
    graph_neo4j_kept_touched(k, many, 40, 101); /* a bulk load: everything goes */
    assert_false(kept(k, 3));
    graph_neo4j_kept_free(k);
}

static void a_facet_that_somebody_joined_is_known_by_its_count(void **state) {
    (void)state;
    graph_neo4j_kept *k = graph_neo4j_kept_new(ROOM, NULL);
    walk(k, 0, three, 3);
    assert_false(kept(k, 4));
    graph_neo4j_kept_facet other = theme(3), mood = theme(3), cut = theme(5);
    sum s = {0};
    bool ended;
    other.value = "return";
    mood.kind = GRAPH_MOOD;
    assert_false(graph_neo4j_kept_get(k, &other, see, &s, &ended)); /* the id was given anew */
    assert_false(graph_neo4j_kept_get(k, &mood, see, &s, &ended));
    uint32_t some[] = {1, 2};
    graph_neo4j_kept_put(k, graph_neo4j_kept_begin(k, 0), &cut, some, 2); /* not all of them came */
    assert_false(kept(k, 5));
    assert_false(kept(k, 2));
    assert_true(kept(k, 3));
    graph_neo4j_kept_free(k);
}

static void what_was_read_before_a_write_is_not_kept_after_it(void **state) {
    (void)state;
    graph_neo4j_kept *k = graph_neo4j_kept_new(ROOM, NULL);
    graph_neo4j_kept_look before = graph_neo4j_kept_begin(k, 1000);
    uint32_t nums[] = {5, 7, 9};
    graph_neo4j_kept_facet f = theme(3);
    graph_neo4j_kept_touched(k, (uint32_t[]){3}, 1, 0); /* of anybody, meanwhile */
    graph_neo4j_kept_put(k, before, &f, nums, 3);
    assert_false(kept(k, 3));
    before = graph_neo4j_kept_begin(k, 1000);
    graph_neo4j_kept_clear(k, 0);
    graph_neo4j_kept_put(k, before, &f, nums, 3);
    assert_false(kept(k, 3));
    graph_neo4j_kept_clear(k, 2000); /* older than our start: the server may be behind */
    walk(k, 1999, three, 3);
    assert_false(kept(k, 3));
    walk(k, 2000, three, 3);
    assert_true(kept(k, 3));
    graph_neo4j_kept_free(k);
}

static void room_is_bounded(void **state) {
    (void)state;
    graph_neo4j_kept *k = graph_neo4j_kept_new(200, NULL);
    size_t there = 0;
    for (int64_t id = 1; id <= 100; id++) {
        uint32_t nums[] = {1, 2, 3, 4, 5};
        graph_neo4j_kept_facet f = {id, GRAPH_GENRE, "g", 5};
        graph_neo4j_kept_put(k, graph_neo4j_kept_begin(k, 0), &f, nums, 5);
    }
    for (int64_t id = 1; id <= 100; id++) {
        sum s = {0};
        bool ended;
        graph_neo4j_kept_facet f = {id, GRAPH_GENRE, "g", 5};
        there += graph_neo4j_kept_get(k, &f, see, &s, &ended);
    }
    assert_in_range(there, 1, 200 / 22);
    graph_neo4j_kept_free(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_back_in_order),
        cmocka_unit_test(a_member_that_changes_takes_its_facets_along),
        cmocka_unit_test(a_facet_that_somebody_joined_is_known_by_its_count),
        cmocka_unit_test(what_was_read_before_a_write_is_not_kept_after_it),
        cmocka_unit_test(room_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
