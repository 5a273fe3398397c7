/* Every distance kernel against the scalar one, at every length from 1 to 260, and the choice among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector/kernels.h"

enum { LENGTH_MAX = 260 };

static double exact_dot(const float *a, const float *b, uint32_t dim, double *size) {
    double sum = 0;
    *size = 0;
    for (uint32_t i = 0; i < dim; i++) {
        sum += (double)a[i] * b[i];
        *size += fabs((double)a[i] * b[i]);
    }
    return sum;
}

/* Rows end at the end of their allocation, so that a sanitiser sees a read past it; and start off any alignment. */
static float *draw_row(rng *r, uint32_t dim) {
    float *row = malloc(dim * sizeof *row);
    assert_non_null(row);
    for (uint32_t i = 0; i < dim; i++) row[i] = (float)rng_normal(r);
    return row;
}

static void check_length(const vector_kernel *k, rng *r, uint32_t dim) {
    float *query = draw_row(r, dim), *rows[4], out[4];
    double size;
    for (int i = 0; i < 4; i++) rows[i] = draw_row(r, dim);
    vector_kernel_dot4(k)(query, (const float *const *)rows, dim, out);
    for (int i = 0; i < 4; i++) {
        double want = exact_dot(query, rows[i], dim, &size);
        double slack = 1e-6 * (size + 1e-3);
        float one = k->dot(query, rows[i], dim);
        if (fabs(one - want) > slack) fail_msg("%s, length %u: %g instead of %g", k->name, dim, (double)one, want);
        if (fabs(out[i] - want) > slack) {
            fail_msg("%s, length %u, row %d: %g instead of %g", k->name, dim, i, (double)out[i], want);
        }
    }
    free(query);
    for (int i = 0; i < 4; i++) free(rows[i]);
}

static void a_kernel_gives_the_inner_product_at_every_length(void **state) {
    const vector_kernel *k = *state;
    if (!k->supported()) {
        print_message("SKIP: this CPU has no %s\n", k->name);
        skip();
    }
    rng r;
    rng_seed(&r, 20261121);
    for (uint32_t dim = 1; dim <= LENGTH_MAX; dim++) check_length(k, &r, dim);
    check_length(k, &r, 384);
    check_length(k, &r, 768);
    check_length(k, &r, 4096);
}

static void auto_is_the_first_that_the_cpu_supports(void **state) {
    (void)state;
    const vector_kernel *k, *want = NULL;
    size_t n = 0;
    for (; (k = vector_kernel_at(n)) != NULL; n++) {
        if (want == NULL && k->supported()) want = k;
        if (!k->supported())
            assert_null(vector_kernel_find(k->name));
        else
            assert_ptr_equal(vector_kernel_find(k->name), k);
    }
    assert_string_equal(vector_kernel_at(n - 1)->name, "scalar");
    assert_ptr_equal(vector_kernel_find("auto"), want);
    assert_ptr_equal(vector_kernel_find(NULL), want);
    assert_null(vector_kernel_find("abacus"));
}

static void normalising_gives_length_one_or_leaves_the_vector_alone(void **state) {
    (void)state;
    float fine[3] = {3e30f, 0, 4e30f}, tiny[2] = {3e-38f, 4e-38f};
    assert_true(vector_normalise(fine, 3));
    assert_true(fabsf(fine[0] - 0.6f) < 1e-6f && fabsf(fine[2] - 0.8f) < 1e-6f);
    assert_true(vector_normalise(tiny, 2));
    assert_true(fabsf(tiny[0] - 0.6f) < 1e-3f && fabsf(tiny[1] - 0.8f) < 1e-3f);
    float bad[][2] = {{0, 0}, {NAN, 1}, {1, INFINITY}, {-INFINITY, NAN}};
    for (size_t i = 0; i < 4; i++) {
        float copy[2];
        memcpy(copy, bad[i], sizeof copy);
        assert_false(vector_normalise(bad[i], 2));
        assert_memory_equal(copy, bad[i], sizeof copy);
    }
}

int main(void) {
    struct CMUnitTest tests[8] = {cmocka_unit_test(auto_is_the_first_that_the_cpu_supports),
                                  cmocka_unit_test(normalising_gives_length_one_or_leaves_the_vector_alone)};
    size_t n = 2;
    const vector_kernel *k;
    for (size_t i = 0; (k = vector_kernel_at(i)) != NULL; i++) {
        tests[n++] = (struct CMUnitTest){k->name, a_kernel_gives_the_inner_product_at_every_length, NULL, NULL,
                                         (void *)(uintptr_t)k};
    }
    return _cmocka_run_group_tests("vector_kernels", tests, n, NULL, NULL);
}
