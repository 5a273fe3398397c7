/* Matrices, edges and the item-item models: what they promise, on data small enough to check by hand or by brute
 * force. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "learn/learn.h"

static const learn_work alone = {.threads = 1};

static uint64_t seed(void) {
    const char *given = getenv("BRAID_TEST_SEED");
    uint64_t s = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("learn: BRAID_TEST_SEED=%llu\n", (unsigned long long)s);
    return s;
}

static learn_matrix *matrix_of(const learn_event *events, size_t n, uint32_t users, uint32_t items, size_t newest) {
    learn_matrix *m = NULL;
    braid_error err = {0};
    assert_int_equal(learn_matrix_build(events, n, users, items, newest, &m, &err), BRAID_OK);
    return m;
}

/* The weight of an edge, 0 if it is not there. */
static double edge(const learn_edges *e, uint32_t target, uint32_t source) {
    for (uint64_t i = e->at[target]; i < e->at[target + 1]; i++)
        if (e->item[i] == source) return e->weight[i];
    return 0;
}

/* ---- matrix ---- */
static void the_latest_event_of_an_item_stands(void **state) {
    (void)state;
    const learn_event events[] = {{0, 1, 1}, {0, 2, 1}, {1, 2, 1}, {0, 1, 3}, {1, 0, 1}, {0, 2, 0}};
    learn_matrix *m = matrix_of(events, 6, 2, 3, 0);
    assert_int_equal(m->count, 3); /* item 2 of person 0: its latest event says nothing, and hides the first */
    assert_int_equal(m->user_at[1] - m->user_at[0], 1);
    assert_true(m->user_item[0] == 1 && m->user_value[0] == 3);
    assert_true(m->user_item[1] == 2 && m->user_item[2] == 0); /* person 1, oldest first */
    assert_int_equal(m->item_at[3] - m->item_at[2], 1);
    assert_true(m->item_user[m->item_at[2]] == 1 && m->item_pos[m->item_at[2]] == 0);
    learn_matrix_free(m);
}

static void only_the_newest_of_a_history_are_kept(void **state) {
    (void)state;
    const learn_event events[] = {{0, 0, 1}, {0, 1, 1}, {0, 2, 1}, {0, 3, 1}};
    learn_matrix *m = matrix_of(events, 4, 1, 4, 2);
    assert_true(m->count == 2 && m->user_item[0] == 2 && m->user_item[1] == 3);
    learn_matrix_free(m);
}

static void a_number_out_of_range_is_refused(void **state) {
    (void)state;
    const learn_event wrong_item = {0, 4, 1}, wrong_user = {1, 0, 1};
    learn_matrix *m = NULL;
    braid_error err = {0};
    assert_int_equal(learn_matrix_build(&wrong_item, 1, 1, 4, 0, &m, &err), BRAID_E_INVALID);
    assert_int_equal(learn_matrix_build(&wrong_user, 1, 1, 4, 0, &m, &err), BRAID_E_INVALID);
    assert_null(m);
}

/* ---- edges ---- */
static int by_weight(const void *a, const void *b) {
    const learn_edge *x = a, *y = b;
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    return x->item < y->item ? -1 : 1;
}

static void the_strongest_are_those_of_a_full_sort(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, seed());
    for (int round = 0; round < 500; round++) {
        learn_edge list[60], sorted[60];
        size_t n = (size_t)rng_below(&r, 60), keep = (size_t)rng_below(&r, 70);
        for (size_t i = 0; i < n; i++) list[i] = sorted[i] = (learn_edge){(uint32_t)i, (float)rng_below(&r, 8)};
        qsort(sorted, n, sizeof *sorted, by_weight);
        size_t kept = learn_edges_strongest(list, n, keep);
        assert_int_equal(kept, keep < n ? keep : n);
        for (size_t i = 0; i < kept; i++) assert_int_equal(list[i].item, sorted[i].item);
    }
}

static void turned_round_twice_a_table_says_the_same(void **state) {
    (void)state;
    const uint32_t targets[] = {0, 0, 2, 3};
    const learn_edge list[] = {{1, 0.5f}, {3, 0.25f}, {0, 1}, {1, 2}};
    learn_edges *e, *t, *back;
    braid_error err = {0};
    assert_int_equal(learn_edges_of(4, targets, list, 4, &e, &err), BRAID_OK);
    assert_int_equal(learn_edges_transpose(e, &t, &err), BRAID_OK);
    assert_true(edge(t, 1, 0) == 0.5 && edge(t, 1, 3) == 2 && edge(t, 3, 0) == 0.25 && edge(t, 0, 2) == 1 &&
                t->count == 4);
    assert_int_equal(learn_edges_transpose(t, &back, &err), BRAID_OK);
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t k = 0; k < 4; k++) assert_true(edge(e, i, k) == edge(back, i, k));
    learn_edges_free(e);
    learn_edges_free(t);
    learn_edges_free(back);
}

/* ---- cooccurrence ---- */
static void neighbours_are_cosines_of_who_chose_them(void **state) {
    (void)state;
    const learn_event events[] = {{0, 0, 1}, {0, 1, 1}, {1, 0, 1}, {1, 1, 1}, {2, 0, 1}, {2, 2, 1}};
    const learn_cooccurrence how = {.shrink = 1, .keep = 10};
    learn_matrix *m = matrix_of(events, 6, 3, 3, 0);
    learn_edges *e;
    braid_error err = {0};
    assert_int_equal(learn_cooccurrence_fit(m, &how, &alone, &e, &err), BRAID_OK);
    assert_float_equal(edge(e, 0, 1), 2 / (sqrt(3) * sqrt(2) + 1), 1e-6);
    assert_float_equal(edge(e, 1, 0), edge(e, 0, 1), 1e-9);
    assert_float_equal(edge(e, 2, 0), 1 / (sqrt(3) + 1), 1e-6);
    assert_true(edge(e, 1, 2) == 0 && edge(e, 0, 0) == 0);
    learn_edges_free(e);
    learn_matrix_free(m);
}

static void what_follows_speaks_forwards_only_and_less_from_afar(void **state) {
    (void)state;
    const learn_event events[] = {{0, 0, 1}, {0, 1, 1}, {0, 2, 1}};
    const learn_cooccurrence how = {.decay = 2, .follows = true, .keep = 10};
    learn_matrix *m = matrix_of(events, 3, 1, 3, 0);
    learn_edges *e;
    braid_error err = {0};
    assert_int_equal(learn_cooccurrence_fit(m, &how, &alone, &e, &err), BRAID_OK);
    assert_float_equal(edge(e, 1, 0), 1, 1e-6);
    assert_float_equal(edge(e, 2, 1), 1, 1e-6);
    assert_float_equal(edge(e, 2, 0), exp(-0.5), 1e-6);
    assert_true(edge(e, 0, 1) == 0 && edge(e, 1, 2) == 0);
    learn_edges_free(e);
    learn_matrix_free(m);
}

/* ---- linear weights ---- */
enum { PEOPLE = 80, ITEMS = 40 };

/* People of four tastes, with some noise: so that there is something to find. */
static learn_matrix *tastes(rng *r) {
    learn_event events[PEOPLE * ITEMS];
    size_t n = 0;
    for (uint32_t u = 0; u < PEOPLE; u++)
        for (uint32_t i = 0; i < ITEMS; i++)
            if (rng_uniform(r) < (i % 4 == u % 4 ? 0.5 : 0.08)) events[n++] = (learn_event){u, i, 1};
    return matrix_of(events, n, PEOPLE, ITEMS, 0);
}

static double *gram(const learn_matrix *m) {
    double *g = calloc((size_t)ITEMS * ITEMS, sizeof *g);
    for (uint32_t u = 0; u < m->users; u++)
        for (uint64_t a = m->user_at[u]; a < m->user_at[u + 1]; a++)
            for (uint64_t b = m->user_at[u]; b < m->user_at[u + 1]; b++)
                g[m->user_item[a] * ITEMS + m->user_item[b]] += (double)m->user_value[a] * m->user_value[b];
    return g;
}

/* The minimum of a convex problem is known by its slope: zero where a weight is positive, not below zero where it is
 * zero. */
static void linear_weights_stand_at_the_minimum(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, seed());
    learn_matrix *m = tastes(&r);
    double *g = gram(m);
    learn_slim how = {.candidates = ITEMS, .shrink = 0, .l1 = 0.5, .l2 = 3, .sweeps = 500, .keep = ITEMS};
    learn_edges *e;
    braid_error err = {0};
    assert_int_equal(learn_slim_fit(m, &how, &alone, &e, &err), BRAID_OK);
    assert_true(e->count > ITEMS); /* there is something to check */
    for (uint32_t j = 0; j < ITEMS; j++)
        for (uint32_t i = 0; i < ITEMS; i++) {
            double w = edge(e, j, i), slope = -g[i * ITEMS + j] + how.l2 * w + how.l1;
            if (i == j || g[i * ITEMS + j] == 0) continue; /* never met: no candidate */
            for (uint32_t k = 0; k < ITEMS; k++) slope += g[i * ITEMS + k] * edge(e, j, k);
            if (w > 0)
                assert_float_equal(slope, 0, 2e-3);
            else
                assert_true(slope > -2e-3);
        }
    free(g);
    learn_edges_free(e);
    learn_matrix_free(m);
}

static void threads_change_nothing_of_the_weights(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, seed());
    learn_matrix *m = tastes(&r);
    learn_slim how = learn_slim_default();
    how.l2 = 3;
    const learn_work many = {.threads = 4};
    learn_edges *one, *four;
    braid_error err = {0};
    assert_int_equal(learn_slim_fit(m, &how, &alone, &one, &err), BRAID_OK);
    assert_int_equal(learn_slim_fit(m, &how, &many, &four, &err), BRAID_OK);
    assert_true(one->count == four->count && one->count > 0);
    assert_memory_equal(one->at, four->at, (ITEMS + 1) * sizeof *one->at);
    assert_memory_equal(one->item, four->item, one->count * sizeof *one->item);
    assert_memory_equal(one->weight, four->weight, one->count * sizeof *one->weight);
    learn_edges_free(one);
    learn_edges_free(four);
    learn_matrix_free(m);
}

static void a_penalty_that_is_large_enough_leaves_no_edge(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, seed());
    learn_matrix *m = tastes(&r);
    learn_slim how = learn_slim_default();
    how.l1 = 1000;
    learn_edges *e;
    braid_error err = {0};
    assert_int_equal(learn_slim_fit(m, &how, &alone, &e, &err), BRAID_OK);
    assert_int_equal(e->count, 0);
    learn_edges_free(e);
    learn_matrix_free(m);
}

static bool stop_at_once(void *ctx, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    ++*(int *)ctx;
    return false;
}

static void work_that_is_stopped_hands_out_nothing(void **state) {
    (void)state;
    rng r;
    rng_seed(&r, seed());
    learn_matrix *m = tastes(&r);
    learn_slim how = learn_slim_default();
    int told = 0;
    const learn_work stopped = {.threads = 2, .progress = stop_at_once, .ctx = &told};
    learn_edges *e = NULL;
    braid_error err = {0};
    assert_int_equal(learn_slim_fit(m, &how, &stopped, &e, &err), BRAID_E_CLOSED);
    assert_true(e == NULL && told == 1);
    learn_matrix_free(m);
}

/* ---- the exact dense model ---- */
/* B of the primal: -P_ij / P_jj with P the inverse of X'X + lambda, by Gauss and Jordan. */
static void primal(const learn_matrix *m, double lambda, double b[ITEMS][ITEMS]) {
    static double a[ITEMS][2 * ITEMS];
    double *g = gram(m);
    for (int i = 0; i < ITEMS; i++)
        for (int j = 0; j < 2 * ITEMS; j++)
            a[i][j] = j < ITEMS ? g[i * ITEMS + j] + (i == j ? lambda : 0) : j - ITEMS == i;
    for (int p = 0; p < ITEMS; p++) {
        double pivot = a[p][p];
        for (int j = 0; j < 2 * ITEMS; j++) a[p][j] /= pivot;
        for (int i = 0; i < ITEMS; i++) {
            double factor = a[i][p];
            for (int j = 0; i != p && j < 2 * ITEMS; j++) a[i][j] -= factor * a[p][j];
        }
    }
    for (int i = 0; i < ITEMS; i++)
        for (int j = 0; j < ITEMS; j++) b[i][j] = i == j ? 0 : -a[i][ITEMS + j] / a[j][ITEMS + j];
    free(g);
}

static void the_dual_scores_as_the_primal_does(void **state) {
    (void)state;
    static double b[ITEMS][ITEMS];
    rng r;
    rng_seed(&r, seed());
    learn_matrix *m = tastes(&r);
    primal(m, 7, b);
    learn_ease *e;
    braid_error err = {0};
    assert_int_equal(learn_ease_fit(m, 7, &e, &err), BRAID_OK);
    const learn_edge history[] = {{3, 1}, {8, 1}, {21, -0.5f}};
    float scores[ITEMS + 3];
    assert_int_equal(learn_ease_score(e, history, 3, ITEMS + 3, scores, &err), BRAID_OK);
    for (int j = 0; j < ITEMS; j++) {
        if (j == 3 || j == 8 || j == 21) continue; /* not for what is in the history */
        assert_float_equal(scores[j], b[3][j] + b[8][j] - 0.5 * b[21][j], 1e-4);
    }
    assert_true(scores[ITEMS] == 0 && scores[ITEMS + 2] == 0); /* items that came later */
    learn_ease_free(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_latest_event_of_an_item_stands),
        cmocka_unit_test(only_the_newest_of_a_history_are_kept),
        cmocka_unit_test(a_number_out_of_range_is_refused),
        cmocka_unit_test(the_strongest_are_those_of_a_full_sort),
        cmocka_unit_test(turned_round_twice_a_table_says_the_same),
        cmocka_unit_test(neighbours_are_cosines_of_who_chose_them),
        cmocka_unit_test(what_follows_speaks_forwards_only_and_less_from_afar),
        cmocka_unit_test(linear_weights_stand_at_the_minimum),
        cmocka_unit_test(threads_change_nothing_of_the_weights),
        cmocka_unit_test(a_penalty_that_is_large_enough_leaves_no_edge),
        cmocka_unit_test(work_that_is_stopped_hands_out_nothing),
        cmocka_unit_test(the_dual_scores_as_the_primal_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
