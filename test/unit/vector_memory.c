/* Each allocation fails once: the call says NO_MEMORY or does its work, a batch is in as a whole or not at all, and
 * the index stays whole.
 *
 * The allocator is replaced by one that counts and fails the n-th call (glibc lets a program define malloc);
 * sanitisers bring their own, so there it is skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vector/vector.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

static _Atomic long allocations_left = -1; /* -1: all succeed */

static bool allowed(void) {
    if (allocations_left < 0) return true;
    if (allocations_left > 0) {
        allocations_left--;
        return true;
    }
    allocations_left = -1; /* one fails, the next succeed again */
    errno = ENOMEM;
    return false;
}

void *malloc(size_t size) {
    return allowed() ? __libc_malloc(size) : NULL;
}

void *calloc(size_t count, size_t size) {
    return allowed() ? __libc_calloc(count, size) : NULL;
}

void *realloc(void *p, size_t size) {
    return allowed() ? __libc_realloc(p, size) : NULL;
}

void *aligned_alloc(size_t align, size_t size) {
    return allowed() ? __libc_memalign(align, size) : NULL;
}

enum { DIM = 8, BATCH = 60, ROUNDS = 400 };

static vector_store *try_open(const vector_ops *ops, braid_error *err) {
    vector_options options = {.dim = DIM, .m = 4, .seed = 2};
    vector_store *s = NULL;
    int code = vector_open(ops, &options, &s, err);
    assert_true((code == BRAID_OK) == (s != NULL));
    if (code != BRAID_OK) assert_int_equal(code, BRAID_E_NO_MEMORY);
    return s;
}

static uint64_t count_whole(vector_store *s) {
    braid_error err = {0};
    vector_check_report report;
    vector_info info;
    assert_int_equal(vector_check(s, &report, &err), BRAID_OK);
    if (report.problems > 0) fail_msg("%" PRIu64 " problems, first: %s", report.problems, report.first);
    vector_get_info(s, &info);
    return info.count;
}

static void draw(rng *r, float values[BATCH][DIM], vector_entry entries[BATCH], uint32_t first) {
    for (uint32_t i = 0; i < BATCH; i++) {
        for (int j = 0; j < DIM; j++) values[i][j] = (float)rng_normal(r);
        entries[i] = (vector_entry){.num = first + i, .values = values[i]};
    }
}

static void opening_fails_or_works(void **state) {
    braid_error err;
    unsigned failures = 0;
    for (long n = 0; n < 20; n++) {
        err = (braid_error){0};
        allocations_left = n;
        vector_store *s = try_open(*state, &err);
        allocations_left = -1;
        failures += s == NULL;
        vector_close(s);
    }
    assert_in_range(failures, 3, 19);
}

static void a_batch_is_in_as_a_whole_or_not_at_all(void **state) {
    rng r;
    rng_seed(&r, 77);
    braid_error err = {0};
    float values[BATCH][DIM];
    vector_entry entries[BATCH];
    vector_store *s = try_open(*state, &err);
    uint64_t count = 0;
    unsigned failures = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        /* New numbers and, every other round, replacements too. */
        draw(&r, values, entries, round * BATCH / 2);
        err = (braid_error){0};
        static const uint64_t reaches[] = {4, 60, 1500};
        allocations_left = (long)rng_below(&r, reaches[round % 3]);
        int code = vector_upsert(s, entries, BATCH, &err);
        allocations_left = -1;
        uint64_t now = count_whole(s);
        if (code == BRAID_OK) {
            assert_true(now > count);
        } else {
            assert_int_equal(code, BRAID_E_NO_MEMORY);
            assert_int_equal(now, count);
            failures++;
        }
        count = now;
        float got[DIM];
        assert_int_equal(vector_fetch(s, entries[BATCH - 1].num, 0, got, &err),
                         code == BRAID_OK ? BRAID_OK : BRAID_E_NOT_FOUND);
    }
    print_message("%u of %d batches found no memory\n", failures, ROUNDS);
    assert_in_range(failures, 2, ROUNDS - 20);
    vector_close(s);
}

static void removals_are_never_half_done(void **state) {
    rng r;
    rng_seed(&r, 78);
    braid_error err = {0};
    float values[BATCH][DIM];
    vector_entry entries[BATCH];
    vector_store *s = try_open(*state, &err);
    for (uint32_t i = 0; i < 50; i++) {
        draw(&r, values, entries, i * BATCH);
        assert_int_equal(vector_upsert(s, entries, BATCH, &err), BRAID_OK);
    }
    for (uint32_t i = 0; i < 50 * BATCH; i += 7) {
        uint32_t nums[7] = {i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6};
        float got[DIM];
        err = (braid_error){0};
        allocations_left = (long)rng_below(&r, 4);
        int code = vector_remove(s, nums, 7, &err);
        allocations_left = -1;
        vector_check_report report;
        /* may wait for memory to link past the removed, no more */
        assert_int_equal(vector_check(s, &report, &err), BRAID_OK);
        err = (braid_error){0};
        assert_int_equal(vector_fetch(s, i, 0, got, &err), code == BRAID_OK ? BRAID_E_NOT_FOUND : BRAID_OK);
        assert_int_equal(vector_remove(s, nums, 7, &err), BRAID_OK);
        count_whole(s);
    }
    vector_info info;
    vector_get_info(s, &info);
    assert_int_equal(info.count + info.deleted, 0);
    vector_close(s);
}

static void searching_fails_or_works(void **state) {
    rng r;
    rng_seed(&r, 79);
    float values[BATCH][DIM];
    vector_entry entries[BATCH];
    unsigned failures = 0;
    for (long n = 0; n < 12; n++) {
        braid_error err = {0};
        vector_store *s = try_open(*state, &err);
        for (uint32_t i = 0; i < 20; i++) {
            draw(&r, values, entries, i * BATCH);
            assert_int_equal(vector_upsert(s, entries, BATCH, &err), BRAID_OK);
        }
        candidate out[10];
        size_t count;
        vector_query q = {.values = values[0], .k = 10, .ef = 10};
        allocations_left = n;
        int code = vector_search(s, &q, out, &count, NULL, &err);
        allocations_left = -1;
        assert_true(code == BRAID_OK ? count == 10 : code == BRAID_E_NO_MEMORY && count == 0);
        failures += code != BRAID_OK;
        assert_int_equal(vector_search(s, &q, out, &count, NULL, &err), BRAID_OK);
        assert_int_equal(count, 10);
        allocations_left = 0; /* and from now on it allocates nothing */
        assert_int_equal(vector_search(s, &q, out, &count, NULL, &err), BRAID_OK);
        assert_int_equal(allocations_left, 0);
        allocations_left = -1;
        vector_close(s);
    }
    assert_in_range(failures, 2, 11);
}

static void a_snapshot_fails_or_works(void **state) {
    rng r;
    rng_seed(&r, 80);
    braid_error err = {0};
    float values[BATCH][DIM];
    vector_entry entries[BATCH];
    vector_store *s = try_open(*state, &err);
    if (!(vector_caps_of(s) & VECTOR_CAP_SNAPSHOT)) {
        vector_close(s);
        skip();
    }
    char path[] = "/tmp/vector_memory.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (uint32_t i = 0; i < 5; i++) {
        draw(&r, values, entries, i * BATCH);
        assert_int_equal(vector_upsert(s, entries, BATCH, &err), BRAID_OK);
    }
    for (long n = 0; n < 8; n++) {
        err = (braid_error){0};
        allocations_left = n;
        int code = vector_save(s, path, 1, 1, &err);
        allocations_left = -1;
        assert_true(code == BRAID_OK || code == BRAID_E_NO_MEMORY);
    }
    err = (braid_error){0};
    assert_int_equal(vector_save(s, path, 1, 1, &err), BRAID_OK);
    unsigned loaded = 0;
    for (long n = 0; n < 900; n += 1 + n / 20) {
        uint64_t lsn;
        vector_store *again = try_open(*state, &err);
        err = (braid_error){0};
        allocations_left = n;
        int code = vector_load(again, path, 1, &lsn, &err);
        allocations_left = -1;
        assert_true(code == BRAID_OK || code == BRAID_E_NO_MEMORY || code == BRAID_E_CORRUPT);
        assert_int_equal(count_whole(again), code == BRAID_OK ? 5 * BATCH : 0);
        loaded += code == BRAID_OK;
        vector_close(again);
    }
    assert_true(loaded > 0);
    unlink(path);
    vector_close(s);
}

int main(void) {
    int failed = 0;
    const vector_ops *ops;
    for (size_t i = 0; (ops = vector_registry(i)) != NULL; i++) {
        if (ops->caps & VECTOR_CAP_REMOTE) continue; /* a server's client library has allocations of its own */
        void *state = (void *)(uintptr_t)ops;
        struct CMUnitTest tests[] = {
#define CLAIM(f) {#f, f, NULL, NULL, state}
            CLAIM(opening_fails_or_works),       CLAIM(a_batch_is_in_as_a_whole_or_not_at_all),
            CLAIM(removals_are_never_half_done), CLAIM(searching_fails_or_works),
            CLAIM(a_snapshot_fails_or_works),
        };
        failed += cmocka_run_group_tests_name(ops->name, tests, NULL, NULL);
    }
    return failed;
}

#else

static void allocations_that_fail(void **state) {
    (void)state;
    print_message("SKIP: the sanitiser has an allocator of its own\n");
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(allocations_that_fail)};
    return cmocka_run_group_tests_name("vector_memory", tests, NULL, NULL);
}

#endif
