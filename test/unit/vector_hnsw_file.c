/* Snapshots of the graph store: a round trip changes nothing; whatever is wrong with a file, it is refused and the
 * store is empty and usable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "vector/hnsw_file.h"
#include "vector/vector.h"

#if defined(__SANITIZE_THREAD__)
enum { FLIPS = 60, CUTS = 30, FORGED = 30 }; /* one thread: the other builds judge these */
#else
enum { FLIPS = 500, CUTS = 200, FORGED = 600 };
#endif
enum { DIM = 19, N = 700, K = 10, EPOCH = 42, LSN = 777 };

typedef struct files {
    char dir[64], path[96], other[96];
    uint8_t *bytes;
    size_t size;
    vector_store *s;
} files;

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK) fail_msg("%s", err->message);
}

static uint64_t test_seed(void) {
    const char *text = getenv("BRAID_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)clock_mono_ns(&clock_system);
    print_message("seed %" PRIu64 "\n", seed);
    return seed;
}

static vector_store *open_store(uint32_t dim, unsigned m) {
    braid_error err = {0};
    vector_options options = {.dim = dim, .m = m, .seed = 3};
    vector_store *s = NULL;
    must(vector_open(vector_find("hnsw"), &options, &s, &err), &err);
    return s;
}

static void put_random(vector_store *s, rng *r, uint32_t num) {
    braid_error err = {0};
    float row[DIM];
    for (int j = 0; j < DIM; j++) row[j] = (float)rng_normal(r);
    must(vector_upsert(s, &(vector_entry){.num = num, .values = row}, 1, &err), &err);
}

static void write_file(const char *path, const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

static int make_files(void **state) {
    files *f = calloc(1, sizeof *f);
    braid_error err = {0};
    rng r;
    rng_seed(&r, 99);
    snprintf(f->dir, sizeof f->dir, "/tmp/vector_hnsw_file.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/db-hnsw", f->dir);
    snprintf(f->other, sizeof f->other, "%s/other", f->dir);
    f->s = open_store(DIM, 4); /* a small M makes many levels */
    for (uint32_t i = 0; i < N + 100; i++) put_random(f->s, &r, i * 3);
    for (uint32_t i = 0; i < 100; i++) must(vector_remove(f->s, &(uint32_t){i * 21}, 1, &err), &err);
    for (uint32_t i = 0; i < N; i += 10) put_random(f->s, &r, i * 3 + 2400);
    must(vector_save(f->s, f->path, EPOCH, LSN, &err), &err);
    f->bytes = read_file(f->path, &f->size);
    *state = f;
    return 0;
}

static int end_files(void **state) {
    files *f = *state;
    char temporary[120];
    snprintf(temporary, sizeof temporary, "%s.tmp", f->path);
    assert_int_not_equal(access(temporary, F_OK), 0);
    unlink(f->path);
    unlink(f->other);
    assert_int_equal(rmdir(f->dir), 0);
    vector_close(f->s);
    free(f->bytes);
    free(f);
    return 0;
}

static void check_whole(vector_store *s, uint64_t count) {
    braid_error err = {0};
    vector_check_report report;
    must(vector_check(s, &report, &err), &err);
    if (report.problems > 0) fail_msg("%" PRIu64 " problems, first: %s", report.problems, report.first);
    assert_int_equal(report.checked, count);
}

static uint64_t count_of(vector_store *s) {
    vector_info info;
    vector_get_info(s, &info);
    return info.count;
}

/* Loads `path` into `s`, which is empty, must refuse it with `code`, and stay so. */
static void must_refuse(vector_store *s, const char *path, uint64_t epoch, int code, const char *what, size_t where) {
    braid_error err = {0};
    uint64_t lsn = 5;
    int got = vector_load(s, path, epoch, &lsn, &err);
    if (got != code) fail_msg("%s %zu: code %d (%s) instead of %d", what, where, got, err.message, code);
    assert_int_equal(lsn, 0);
    assert_true(err.message[0] != '\0');
    check_whole(s, 0);
}

/* What was refused has left nothing behind: the good file and new vectors go in. */
static void must_be_usable(vector_store *s, const files *f) {
    braid_error err = {0};
    uint64_t lsn;
    rng r;
    rng_seed(&r, 1);
    must(vector_load(s, f->path, EPOCH, &lsn, &err), &err);
    check_whole(s, count_of(f->s));
    for (uint32_t i = 0; i < 3; i++) put_random(s, &r, 50000 + i);
    check_whole(s, count_of(f->s) + 3);
    vector_close(s);
}

static void a_round_trip_changes_no_answer(void **state) {
    files *f = *state;
    braid_error err = {0};
    uint64_t lsn;
    rng r;
    rng_seed(&r, test_seed());
    vector_store *s = open_store(DIM, 4);
    must(vector_load(s, f->path, EPOCH, &lsn, &err), &err);
    assert_int_equal(lsn, LSN);
    check_whole(s, count_of(f->s));
    for (unsigned i = 0; i < 100; i++) {
        float query[DIM];
        candidate a[K], b[K];
        size_t an, bn;
        for (int j = 0; j < DIM; j++) query[j] = (float)rng_normal(&r);
        vector_query q = {.values = query, .k = K, .ef = i % 2 == 0 ? K : N};
        must(vector_search(f->s, &q, a, &an, NULL, &err), &err);
        must(vector_search(s, &q, b, &bn, NULL, &err), &err);
        assert_int_equal(an, K);
        assert_int_equal(bn, K);
        for (int j = 0; j < K && i % 2 == 1; j++) assert_true(a[j].num == b[j].num && a[j].score == b[j].score);
    }
    /* And it goes on living: what is removed and added after a load leaves it whole. */
    for (uint32_t i = 0; i < 300; i++) must(vector_remove(s, &i, 1, &err), &err);
    for (uint32_t i = 0; i < 300; i++) put_random(s, &r, 100000 + i);
    check_whole(s, count_of(s));
    vector_close(s);
}

static void saving_what_was_loaded_gives_the_same_file(void **state) {
    files *f = *state;
    braid_error err = {0};
    uint64_t lsn;
    size_t size;
    vector_store *s = open_store(DIM, 4);
    must(vector_load(s, f->path, EPOCH, &lsn, &err), &err);
    must(vector_save(s, f->other, EPOCH, LSN, &err), &err);
    uint8_t *again = read_file(f->other, &size);
    assert_int_equal(size, f->size);
    assert_memory_equal(again, f->bytes, size);
    free(again);
    assert_int_equal(vector_load(s, f->path, EPOCH, &lsn, &err), BRAID_E_CONFLICT); /* not empty any more */
    check_whole(s, count_of(f->s));
    vector_close(s);
}

static void an_empty_index_can_be_saved_and_loaded(void **state) {
    files *f = *state;
    braid_error err = {0};
    uint64_t lsn;
    vector_store *s = open_store(DIM, 4);
    must(vector_save(s, f->other, 1, 2, &err), &err);
    must(vector_load(s, f->other, 1, &lsn, &err), &err);
    assert_int_equal(lsn, 2);
    check_whole(s, 0);
    vector_close(s);
}

static void every_flipped_bit_is_refused(void **state) {
    files *f = *state;
    rng r;
    rng_seed(&r, test_seed());
    vector_store *s = open_store(DIM, 4);
    for (size_t i = 0; i < FLIPS; i++) {
        /* A third in the head, a third in the small sections behind it. */
        size_t reach = i % 3 == 0 ? sizeof(hnsw_file_head) : i % 3 == 1 ? f->size / 4 : f->size;
        size_t at = rng_below(&r, reach);
        uint8_t mask = (uint8_t)(1u << rng_below(&r, 8));
        f->bytes[at] ^= mask;
        write_file(f->other, f->bytes, f->size);
        f->bytes[at] ^= mask;
        must_refuse(s, f->other, EPOCH, BRAID_E_CORRUPT, "flip at", at);
    }
    must_be_usable(s, f);
}

static void every_cut_and_every_tail_is_refused(void **state) {
    files *f = *state;
    rng r;
    rng_seed(&r, test_seed());
    vector_store *s = open_store(DIM, 4);
    for (size_t i = 0; i < CUTS; i++) {
        size_t len = i < 10 ? i * 30 : rng_below(&r, f->size);
        write_file(f->other, f->bytes, len);
        must_refuse(s, f->other, EPOCH, BRAID_E_CORRUPT, "cut at", len);
    }
    f->bytes[f->size] = 0;
    write_file(f->other, f->bytes, f->size + 1);
    must_refuse(s, f->other, EPOCH, BRAID_E_CORRUPT, "tail after", f->size);
    must_be_usable(s, f);
}

static void another_epoch_dimension_or_m_is_refused(void **state) {
    files *f = *state;
    braid_error err = {0};
    uint64_t lsn;
    vector_store *s = open_store(DIM, 4);
    must_refuse(s, f->path, EPOCH + 1, BRAID_E_NOT_FOUND, "epoch", EPOCH + 1);
    must_refuse(s, "/tmp/there/is/no/such/file", EPOCH, BRAID_E_NOT_FOUND, "missing", 0);
    must_be_usable(s, f);
    s = open_store(DIM + 1, 4);
    assert_int_equal(vector_load(s, f->path, EPOCH, &lsn, &err), BRAID_E_CORRUPT);
    vector_close(s);
    error_clear(&err);
    s = open_store(DIM, 5);
    assert_int_equal(vector_load(s, f->path, EPOCH, &lsn, &err), BRAID_E_CORRUPT);
    vector_close(s);
}

/* ---- files that lie with right checksums ---- */

static void seal(uint8_t *bytes) {
    hnsw_file_head head;
    memcpy(&head, bytes, sizeof head);
    for (int i = 0; i < SECTIONS; i++) {
        head.sections[i].xxh3 = XXH3_64bits(bytes + head.sections[i].offset, head.sections[i].bytes);
    }
    head.xxh3 = XXH3_64bits(&head, offsetof(hnsw_file_head, xxh3));
    memcpy(bytes, &head, sizeof head);
}

/* Random words and whole random values where they hurt, checksums made right again: refused, or loaded into a graph
 * that is whole. */
static void a_forged_file_never_harms(void **state) {
    static const uint32_t words[] = {0,           1,           N - 1, N, N + 60, UINT32_MAX, UINT32_MAX - 1,
                                     0x80000000u, 0x7fc00000u, 15,    16};
    files *f = *state;
    rng r;
    rng_seed(&r, test_seed());
    uint8_t *forged = malloc(f->size);
    unsigned refused = 0;
    for (unsigned round = 0; round < FORGED; round++) {
        braid_error err = {0};
        uint64_t lsn;
        hnsw_file_head head;
        memcpy(forged, f->bytes, f->size);
        memcpy(&head, forged, sizeof head);
        for (uint64_t n = 1 + rng_below(&r, 3); n > 0; n--) {
            const hnsw_file_section *s = &head.sections[rng_below(&r, SECTIONS)];
            size_t at = round % 5 == 0 ? 24 + 4 * rng_below(&r, 37) : s->offset + 4 * rng_below(&r, s->bytes / 4);
            uint32_t word = words[rng_below(&r, sizeof words / sizeof *words)];
            if (rng_below(&r, 3) == 0) word = (uint32_t)rng_below(&r, N);
            memcpy(forged + at, &word, 4);
        }
        if (round % 5 != 0)
            seal(forged);
        else {
            uint64_t xxh3 = XXH3_64bits(forged, offsetof(hnsw_file_head, xxh3));
            memcpy(forged + offsetof(hnsw_file_head, xxh3), &xxh3, sizeof xxh3);
        }
        write_file(f->other, forged, f->size);
        vector_store *s = open_store(DIM, 4);
        int code = vector_load(s, f->other, EPOCH, &lsn, &err);
        assert_true(code == BRAID_OK || code == BRAID_E_CORRUPT || code == BRAID_E_NOT_FOUND);
        refused += code != BRAID_OK;
        check_whole(s, count_of(s));
        for (uint32_t i = 0; i < 30; i++) put_random(s, &r, (uint32_t)rng_below(&r, 3 * N));
        for (uint32_t i = 0; i < 30; i++) {
            must(vector_remove(s, &(uint32_t){(uint32_t)rng_below(&r, 3 * N)}, 1, &err), &err);
        }
        check_whole(s, count_of(s));
        vector_close(s);
    }
    print_message("%u of %d forged files refused\n", refused, FORGED);
    assert_true(refused > FORGED / 3);
    free(forged);
}

/* ---- saving ---- */

static void a_save_that_fails_says_so_and_leaves_the_old_file(void **state) {
    files *f = *state;
    braid_error err = {0};
    size_t size;
    assert_int_equal(vector_save(f->s, "/tmp/there/is/no/such/folder", EPOCH, LSN, &err), BRAID_E_IO);
    assert_non_null(strstr(err.message, "folder"));
    error_clear(&err);
    if (access("/dev/full", W_OK) == 0) {
        char path[120];
        snprintf(path, sizeof path, "%s/full", f->dir);
        char temporary[130];
        snprintf(temporary, sizeof temporary, "%s.tmp", path);
        assert_int_equal(symlink("/dev/full", temporary), 0);
        assert_int_equal(vector_save(f->s, path, EPOCH, LSN, &err), BRAID_E_DISK_FULL);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    uint8_t *still = read_file(f->path, &size);
    assert_int_equal(size, f->size);
    assert_memory_equal(still, f->bytes, size);
    free(still);
}

typedef struct searcher {
    vector_store *s;
    _Atomic bool stop;
    _Atomic unsigned searches, failed;
} searcher;

static void *search_on(void *ctx) {
    searcher *x = ctx;
    rng r;
    rng_seed(&r, 4);
    while (!atomic_load(&x->stop)) {
        braid_error err = {0};
        float query[DIM];
        candidate out[K];
        size_t n;
        for (int j = 0; j < DIM; j++) query[j] = (float)rng_normal(&r);
        vector_query q = {.values = query, .k = K, .ef = K};
        if (vector_search(x->s, &q, out, &n, NULL, &err) != BRAID_OK || n != K) atomic_fetch_add(&x->failed, 1);
        atomic_fetch_add(&x->searches, 1);
    }
    return NULL;
}

static void searches_go_on_while_it_is_saved(void **state) {
    files *f = *state;
    braid_error err = {0};
    searcher x = {.s = f->s};
    pthread_t thread;
    rng r;
    rng_seed(&r, 12);
    assert_int_equal(pthread_create(&thread, NULL, search_on, &x), 0);
    while (atomic_load(&x.searches) == 0) usleep(100);
    for (int i = 0; i < 10; i++) {
        put_random(f->s, &r, 9);
        must(vector_save(f->s, f->other, EPOCH, LSN, &err), &err);
        uint64_t lsn;
        vector_store *s = open_store(DIM, 4);
        must(vector_load(s, f->other, EPOCH, &lsn, &err), &err);
        check_whole(s, count_of(f->s));
        vector_close(s);
    }
    atomic_store(&x.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&x.failed), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_trip_changes_no_answer),
        cmocka_unit_test(saving_what_was_loaded_gives_the_same_file),
        cmocka_unit_test(an_empty_index_can_be_saved_and_loaded),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(every_cut_and_every_tail_is_refused),
        cmocka_unit_test(another_epoch_dimension_or_m_is_refused),
        cmocka_unit_test(a_forged_file_never_harms),
        cmocka_unit_test(a_save_that_fails_says_so_and_leaves_the_old_file),
        cmocka_unit_test(searches_go_on_while_it_is_saved),
    };
    return cmocka_run_group_tests_name("vector_hnsw_file", tests, make_files, end_files);
}
