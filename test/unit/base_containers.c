/* base: arena, bitset, map. Bitset and map are held against plain arrays under random work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

/* ---- arena ---- */

static void allocations_are_aligned_and_apart(void **state) {
    (void)state;
    const uint64_t seed = 5;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    arena *a = arena_new(100);
    assert_non_null(a);
    for (int round = 0; round < 20; round++) {
        enum { COUNT = 300 };
        unsigned char *at[COUNT];
        size_t sizes[COUNT];
        for (int i = 0; i < COUNT; i++) {
            sizes[i] = rng_below(&r, i % 50 == 0 ? 100000 : 200);
            at[i] = arena_alloc(a, sizes[i]);
            assert_non_null(at[i]);
            assert_int_equal((uintptr_t)at[i] % 16, 0);
            memset(at[i], i & 255, sizes[i]);
        }
        for (int i = 0; i < COUNT; i++)
            for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(at[i][j], i & 255);
        arena_reset(a);
    }
    arena_free(a);
    arena_free(NULL);
}

static void reset_hands_out_the_same_memory_again(void **state) {
    (void)state;
    arena *a = arena_new(4096);
    void *first = arena_alloc(a, 1000);
    for (int i = 0; i < 100; i++) {
        arena_alloc(a, 3000);
        arena_reset(a);
        assert_ptr_equal(arena_alloc(a, 1000), first);
    }
    arena_free(a);
}

static void impossible_sizes_are_refused(void **state) {
    (void)state;
    arena *a = arena_new(0);
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 20));
    assert_null(arena_calloc(a, SIZE_MAX / 2, 3));
    assert_null(arena_strndup(a, "x", SIZE_MAX));
    assert_non_null(arena_alloc(a, 0));
    assert_non_null(arena_alloc(a, 8)); /* still usable */
    arena_free(a);
}

static void arenas_copy_and_print_text(void **state) {
    (void)state;
    arena *a = arena_new(0);
    memset(arena_alloc(a, 500), 0xee, 500);
    arena_reset(a);
    char *zeros = arena_calloc(a, 50, 4);
    for (int i = 0; i < 200; i++) assert_int_equal(zeros[i], 0);
    assert_string_equal(arena_strdup(a, "abc"), "abc");
    assert_string_equal(arena_strndup(a, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(a, NULL, 0), "");
    assert_string_equal(arena_printf(a, "%s-%d", "x", 7), "x-7");
    char *wide = arena_printf(a, "%5000d", 1);
    assert_int_equal(strlen(wide), 5000);
    arena_free(a);
}

static void the_sanitizer_sees_reads_past_an_allocation(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    arena *a = arena_new(0);
    char *at = arena_alloc(a, 20);
    assert_false(__asan_address_is_poisoned(at + 19));
    assert_true(__asan_address_is_poisoned(at + 20));
    arena_reset(a);
    assert_true(__asan_address_is_poisoned(at));
    arena_free(a);
#else
    skip();
#endif
}

/* ---- bitset ---- */

static void assert_same(const bitset *s, const bool *model, uint32_t bits) {
    uint64_t count = 0;
    uint32_t next = bitset_next(s, 0);
    for (uint32_t n = 0; n < bits; n++) {
        assert_int_equal(bitset_has(s, n), model[n]);
        if (!model[n]) continue;
        count++;
        assert_int_equal(next, n);
        next = bitset_next(s, n + 1);
    }
    assert_int_equal(next, UINT32_MAX);
    assert_int_equal(bitset_count(s), count);
    for (uint32_t n = bits; n < bits + 130; n++) assert_false(bitset_has(s, n));
}

static void bitsets_agree_with_a_plain_array(void **state) {
    (void)state;
    const uint64_t seed = 6;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    static const uint32_t sizes[] = {0, 1, 63, 64, 65, 127, 128, 1000};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    static bool x[1000], y[1000];
    for (int i = 0; i < SIZES; i++) {
        for (int j = 0; j < SIZES; j++) {
            bitset a, b;
            assert_true(bitset_init(&a, sizes[i]) && bitset_init(&b, sizes[j]));
            memset(x, 0, sizeof x);
            memset(y, 0, sizeof y);
            assert_same(&a, x, sizes[i]);
            for (uint32_t n = 0; n < 1000; n++) { /* also numbers that do not fit: they change nothing */
                if (rng_below(&r, 2)) {
                    bitset_set(&a, n);
                    x[n] = n < sizes[i];
                }
                if (rng_below(&r, 2)) {
                    bitset_set(&b, n);
                    y[n] = n < sizes[j];
                }
            }
            assert_same(&a, x, sizes[i]);
            bitset_unset(&a, 0);
            bitset_unset(&a, 5000);
            x[0] = false;
            bool minus = rng_below(&r, 2);
            if (minus)
                bitset_and_not(&a, &b);
            else
                bitset_and(&a, &b);
            for (uint32_t n = 0; n < sizes[i]; n++) x[n] = x[n] && (minus ? !y[n] : y[n]);
            assert_same(&a, x, sizes[i]);
            bitset_fill(&a);
            memset(x, 1, sizes[i]);
            assert_same(&a, x, sizes[i]);
            bitset_clear(&a);
            assert_int_equal(bitset_count(&a), 0);
            bitset_free(&a);
            bitset_free(&b);
        }
    }
}

/* ---- map ---- */

static void maps_agree_with_a_plain_array(void **state) {
    (void)state;
    const uint64_t seed = 8;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    enum { KEYS = 3000 };
    static bool there[KEYS];
    static uint64_t values[KEYS];
    memset(there, 0, sizeof there);
    map *m = map_new(0);
    assert_non_null(m);
    size_t count = 0;
    for (int step = 0; step < 100000; step++) {
        /* phases of growing and of shrinking, so that full runs are taken apart */
        bool grow = step / 10000 % 2 == 0;
        size_t k = rng_below(&r, KEYS);
        char key[32];
        snprintf(key, sizeof key, "key-%zu", k);
        uint64_t got = 0;
        if (rng_below(&r, 3) < (grow ? 2u : 1u)) {
            uint64_t value = rng_next(&r);
            assert_true(map_put(m, key, value));
            count += !there[k];
            there[k] = true;
            values[k] = value;
        } else {
            assert_int_equal(map_remove(m, key), there[k]);
            count -= there[k];
            there[k] = false;
        }
        assert_int_equal(map_count(m), count);
        k = rng_below(&r, KEYS);
        snprintf(key, sizeof key, "key-%zu", k);
        assert_int_equal(map_get(m, key, &got), there[k]);
        if (there[k]) assert_true(got == values[k]);
    }
    for (size_t k = 0; k < KEYS; k++) {
        char key[32];
        snprintf(key, sizeof key, "key-%zu", k);
        assert_int_equal(map_get(m, key, NULL), there[k]);
    }
    map_free(m);
    map_free(NULL);
}

static void walking_a_map_meets_every_entry_once(void **state) {
    (void)state;
    map *m = map_new(10);
    static bool met[1000];
    memset(met, 0, sizeof met);
    for (int i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_true(map_put(m, key, (uint64_t)i));
    }
    size_t cursor = 0, seen = 0;
    const char *key;
    uint64_t value;
    while (map_next(m, &cursor, &key, &value)) {
        assert_int_equal(strtoull(key, NULL, 10), value);
        assert_false(met[value]);
        met[value] = true;
        seen++;
    }
    assert_int_equal(seen, 1000);
    assert_false(map_next(m, &cursor, &key, &value));
    map_free(m);
}

static void a_map_copies_its_keys_and_counts_its_bytes(void **state) {
    (void)state;
    map *m = map_new(100);
    size_t empty = map_bytes(m);
    char key[64] = "movable";
    assert_true(map_put(m, key, 1));
    strcpy(key, "changed");
    assert_true(map_get(m, "movable", NULL));
    assert_false(map_get(m, "changed", NULL));
    assert_true(map_put(m, "", 2)); /* the empty key is a key */
    assert_true(map_get(m, "", NULL));
    assert_true(map_bytes(m) > empty);
    assert_true(map_remove(m, "movable") && map_remove(m, ""));
    assert_int_equal(map_bytes(m), empty);
    map_free(m);
}

static void room_for_the_expected_count_is_made_at_once(void **state) {
    (void)state;
    map *m = map_new(5000);
    size_t before = map_bytes(m);
    size_t key_bytes = 0;
    for (int i = 0; i < 5000; i++) {
        char key[16];
        key_bytes += (size_t)snprintf(key, sizeof key, "%d", i) + 1 + 16;
        assert_true(map_put(m, key, 0));
    }
    assert_int_equal(map_bytes(m), before + key_bytes); /* the table itself did not grow */
    map_free(m);
    assert_null(map_new(SIZE_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(reset_hands_out_the_same_memory_again),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(arenas_copy_and_print_text),
        cmocka_unit_test(the_sanitizer_sees_reads_past_an_allocation),
        cmocka_unit_test(bitsets_agree_with_a_plain_array),
        cmocka_unit_test(maps_agree_with_a_plain_array),
        cmocka_unit_test(walking_a_map_meets_every_entry_once),
        cmocka_unit_test(a_map_copies_its_keys_and_counts_its_bytes),
        cmocka_unit_test(room_for_the_expected_count_is_made_at_once),
    };
    return cmocka_run_group_tests_name("base_containers", tests, NULL, NULL);
}
