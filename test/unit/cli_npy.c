/* The reader of matrices: what numpy writes is read to the bit, and whatever it cannot hold as a matrix is refused
 * with the reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/npy.h"

static char path[64];

/* A file as numpy.save writes it: version 1 (or `version`), the header padded with spaces to a multiple of 64. */
static void save(int version, const char *header, const void *values, size_t bytes) {
    FILE *out = fopen(path, "wb");
    size_t lead = version == 1 ? 10 : 12, len = (lead + strlen(header) + 1 + 63) / 64 * 64 - lead;
    assert_non_null(out);
    fprintf(out, "\x93NUMPY%c%c%c%c", version, 0, (int)(len & 255), (int)(len >> 8));
    if (version > 1) fwrite("\0\0", 1, 2, out);
    fprintf(out, "%-*s\n", (int)len - 1, header);
    fwrite(values, 1, bytes, out);
    fclose(out);
}

static const float floats[6] = {1.5f, -2.25f, 0, 3e-20f, 1e20f, -0.1f};
/* 1, -2, 65504 (the largest), 2^-24 (the smallest), 0.333251953125, -0 */
static const uint16_t halves[6] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x3555, 0x8000};
static const float halves_as_floats[6] = {1, -2, 65504, 5.9604644775390625e-8f, 0.333251953125f, -0.0f};
#define GOOD "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }"

static void floats_and_halves_are_read_to_the_bit(void **state) {
    (void)state;
    npy m;
    char why[NPY_WHY];
    for (int version = 1; version <= 3; version++) {
        save(version, GOOD, floats, sizeof floats);
        if (!npy_read(path, &m, why)) fail_msg("%s", why);
        assert_int_equal(m.rows, 3);
        assert_int_equal(m.columns, 2);
        assert_memory_equal(m.values, floats, sizeof floats);
        npy_free(&m);
    }
    save(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }", halves, sizeof halves);
    if (!npy_read(path, &m, why)) fail_msg("%s", why);
    assert_int_equal(m.columns, 3);
    assert_memory_equal(m.values, halves_as_floats, sizeof halves_as_floats);
    npy_free(&m);
}

static void what_is_no_such_matrix_is_refused_with_the_reason(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t bytes;
        const char *says;
    } bad[] = {
        {GOOD, 23, "too short"},
        {GOOD, 0, "too short"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", 24, "longer than its header"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", 24, "fortran_order"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 1), }", 24, "of type '<f8'"},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }", 24, "of type '>f4'"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (3, 2), }", 24, "of type '<i4'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3, 2), }", 24, "of type '|O'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", 24, "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 1), }", 24, "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2), }", 24, "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2), }", 0, "0 x 2"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2), }", 24, "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000), }", 24, "cannot be used"},
        {"{'descr': '<f4', 'fortran_order': False}", 24, "shape"},
        {"{'shape': (3, 2)}", 24, "does not say"},
        {"", 24, "does not say"},
    };
    npy m;
    char why[NPY_WHY];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        save(1, bad[i].header, floats, bad[i].bytes);
        if (npy_read(path, &m, why)) fail_msg("%s was taken", bad[i].header);
        if (!strstr(why, bad[i].says)) fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].header, why, bad[i].says);
        assert_null(m.values);
    }
    assert_false(npy_read("/nowhere.npy", &m, why));
    assert_non_null(strstr(why, "No such file"));
}

static void numbers_that_are_not_finite_are_refused_by_their_place(void **state) {
    (void)state;
    static const uint16_t odd[] = {0x7c00, 0xfc00, 0x7e00, 0xfe01};
    npy m;
    char why[NPY_WHY];
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        uint16_t values[6] = {0};
        values[4] = odd[i];
        save(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }", values, sizeof values);
        assert_false(npy_read(path, &m, why));
        assert_string_equal(why, "row 1, column 1 is not a finite number");
    }
}

static void a_file_cut_at_any_byte_is_refused(void **state) {
    (void)state;
    char whole[512], why[NPY_WHY];
    npy m;
    save(1, GOOD, floats, sizeof floats);
    FILE *in = fopen(path, "rb");
    size_t len = fread(whole, 1, sizeof whole, in);
    fclose(in);
    for (size_t cut = 0; cut < len; cut++) {
        FILE *out = fopen(path, "wb");
        fwrite(whole, 1, cut, out);
        fclose(out);
        if (npy_read(path, &m, why)) fail_msg("%zu bytes of %zu were taken", cut, len);
    }
    whole[6] = 4;
    FILE *out = fopen(path, "wb");
    fwrite(whole, 1, len, out);
    fclose(out);
    assert_false(npy_read(path, &m, why));
    assert_non_null(strstr(why, "version 4"));
}

static int make_place(void **state) {
    (void)state;
    snprintf(path, sizeof path, "/tmp/braid-npy-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int remove_place(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_and_halves_are_read_to_the_bit),
        cmocka_unit_test(what_is_no_such_matrix_is_refused_with_the_reason),
        cmocka_unit_test(numbers_that_are_not_finite_are_refused_by_their_place),
        cmocka_unit_test(a_file_cut_at_any_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
