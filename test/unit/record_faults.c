/* R5 and R6: a disk that fails and memory that runs out cost an error, never an acknowledgement, a crash or a
 * damaged file.
 *
 * The disk is test/support/powerloss_vfs.h: the i-th write or sync of a scenario (open, three writes, checkpoint,
 * close) fails, for every i; then the power goes, so that what a failed sync left behind shows. Memory: the i-th
 * allocation of SQLite fails, for every i. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/powerloss_vfs.h"
#include "record_test.h"

#if defined(__SANITIZE_THREAD__)
enum { WRITES = 3, STEP = 41 }; /* every STEP-th allocation; 1 to meet them all, in about a minute */
#elif defined(__SANITIZE_ADDRESS__)
enum { WRITES = 3, STEP = 11 };
#else
enum { WRITES = 3, STEP = 5 };
#endif

typedef struct outcome {
    int open, write[WRITES], checkpoint;
    uint64_t lsn[WRITES];
    unsigned acked;
} outcome;

static record_options options(void) {
    return (record_options){.path = "fault.db", .dim = 4, .create = true, .readers = 1, .vfs = "faulty"};
}

/* Item, interaction, item: each acknowledged or not. */
static int write_number(record_store *s, int i, uint64_t *lsn, braid_error *err) {
    static const float vector[4] = {1, 2, 3, 4};
    item it = plain_item(i == 0 ? "film" : "second", "A film");
    interaction in = plain_interaction("ana", "film");
    in.at = 5;
    record_change c = {.kind = RECORD_ITEM, .item = &it, .vector = vector};
    if (i == 1) c = (record_change){.kind = RECORD_INTERACTION, .interaction = &in};
    int code = record_write(s, &c, 1, (record_write_flags){0}, err);
    if (code != BRAID_OK) {
        assert_int_equal(c.code, code);
        assert_int_equal(c.lsn, 0);
    }
    *lsn = c.lsn;
    return code != BRAID_OK ? code : c.code;
}

static void scenario(outcome *o) {
    record_store *s = NULL;
    record_options opts = options();
    braid_error err = {0};
    memset(o, 0, sizeof *o);
    o->open = record_open(record_find("sqlite"), &opts, &s, &err);
    if (o->open != BRAID_OK) {
        assert_null(s);
        assert_int_equal(err.code, o->open);
        assert_true(err.message[0] != '\0');
        return;
    }
    for (int i = 0; i < WRITES; i++) {
        braid_error mine = {0};
        o->write[i] = write_number(s, i, &o->lsn[i], &mine);
        o->acked += o->write[i] == BRAID_OK;
        assert_int_equal(mine.code, o->write[i] == BRAID_E_NOT_FOUND ? BRAID_OK : o->write[i]);
    }
    o->checkpoint = record_checkpoint(s, NULL);
    record_close(s);
}

static bool take_item(void *ctx, const record_item *row) {
    *(uint64_t *)ctx = row->version;
    return true;
}
static bool take_interaction(void *ctx, const record_interaction *row) {
    *(uint64_t *)ctx = row->lsn;
    return true;
}

static void expect_acked(const outcome *o, const char *where, uint64_t point) {
    record_store *s = NULL;
    record_options opts = options();
    braid_error err = {0};
    uint64_t found[WRITES] = {0};
    int code = record_open(record_find("sqlite"), &opts, &s, &err);
    if (code != BRAID_OK) fail_msg("%s %llu: cannot open again: %s", where, (unsigned long long)point, err.message);
    record_get_item(s, "film", take_item, &found[0], NULL);
    record_user_interactions(s, "ana", 1, 0, take_interaction, &found[1], NULL);
    record_get_item(s, "second", take_item, &found[2], NULL);
    char *text = integrity_text(s, true);
    for (int i = 0; i < WRITES; i++)
        if (o->open == BRAID_OK && o->write[i] == BRAID_OK && found[i] != o->lsn[i])
            fail_msg("%s %llu: acknowledged write %d is lost", where, (unsigned long long)point, i);
    if (strcmp(text, "ok") != 0) fail_msg("%s %llu: %s", where, (unsigned long long)point, text);
    free(text);
    record_close(s);
}

/* Runs the scenario with its n-th operation failing, for every n until none fails. */
static void every_operation(int code, bool writes, bool syncs, int wanted, bool final, unsigned *points) {
    powerloss *disk = powerloss_new("faulty", 99);
    for (uint64_t n = 1;; n++) {
        outcome o;
        powerloss_erase(disk);
        powerloss_fail_at(disk, n, code, writes, syncs);
        scenario(&o);
        bool failed = powerloss_failed(disk);
        powerloss_reboot(disk);
        if (failed && o.open != BRAID_OK) assert_int_equal(o.open, wanted);
        bool broken = false;
        for (int i = 0; o.open == BRAID_OK && i < WRITES; i++) {
            if (broken && final) /* never acknowledged again until it is opened anew */
                assert_int_equal(o.write[i], BRAID_E_UNAVAILABLE);
            else if (o.write[i] != BRAID_OK && o.write[i] != BRAID_E_NOT_FOUND && o.write[i] != BRAID_E_UNAVAILABLE)
                assert_int_equal(o.write[i], wanted);
            broken |= o.write[i] != BRAID_OK && o.write[i] != BRAID_E_NOT_FOUND;
        }
        expect_acked(&o, "operation", n);
        *points += failed;
        if (!failed) {
            assert_int_equal(o.acked, WRITES);
            break;
        }
    }
    powerloss_free(disk);
}

static void a_failed_sync_is_reported_and_final(void **state) {
    unsigned points = 0;
    (void)state;
    every_operation(SQLITE_IOERR, false, true, BRAID_E_IO, true, &points);
    assert_true(points >= 6);
    printf("%u points\n", points);
}

static void a_failed_write_is_reported_and_final(void **state) {
    unsigned points = 0;
    (void)state;
    every_operation(SQLITE_IOERR, true, false, BRAID_E_IO, true, &points);
    assert_true(points >= 20);
    printf("%u points\n", points);
}

static void a_full_disk_is_reported_and_can_be_mended(void **state) {
    unsigned points = 0;
    (void)state;
    every_operation(SQLITE_FULL, true, false, BRAID_E_DISK_FULL, false, &points);
    assert_true(points >= 20);
    printf("%u points\n", points);
}

static void after_a_failed_sync_reading_goes_on_and_opening_again_mends(void **state) {
    (void)state;
    powerloss *disk = powerloss_new("faulty", 5);
    record_store *s = NULL;
    record_options opts = options();
    braid_error err = {0};
    uint64_t lsn = 0, seen = 0;
    assert_int_equal(record_open(record_find("sqlite"), &opts, &s, &err), BRAID_OK);
    assert_int_equal(write_number(s, 0, &lsn, &err), BRAID_OK);
    powerloss_fail_at(disk, 1, SQLITE_IOERR, false, true);
    assert_int_equal(write_number(s, 1, &lsn, &err), BRAID_E_IO);
    error_clear(&err);
    assert_int_equal(write_number(s, 1, &lsn, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "open it again"));
    assert_int_equal(record_get_item(s, "film", take_item, &seen, NULL), BRAID_OK);
    assert_int_equal(record_head(s), 1);
    error_clear(&err);
    assert_int_equal(record_log_trim(s, 1, &err), BRAID_E_UNAVAILABLE);
    record_close(s);
    error_clear(&err);
    assert_int_equal(record_open(record_find("sqlite"), &opts, &s, &err), BRAID_OK);
    assert_int_equal(write_number(s, 1, &lsn, &err), BRAID_OK);
    record_close(s);
    powerloss_free(disk);
}

/* ---- memory ---- */

static sqlite3_mem_methods real_memory;
static atomic_long allocation, failing; /* the number that fails, and all after it if `for_ever` */
static atomic_bool for_ever, did_fail;

static bool denied(void) {
    long n = atomic_fetch_add(&allocation, 1) + 1, bad = atomic_load(&failing);
    bool no = bad != 0 && (n == bad || (n > bad && atomic_load(&for_ever)));
    if (no) atomic_store(&did_fail, true);
    return no;
}

static void *try_malloc(int size) {
    return denied() ? NULL : real_memory.xMalloc(size);
}
static void *try_realloc(void *p, int size) {
    return denied() ? NULL : real_memory.xRealloc(p, size);
}

static int wrap_memory(void **state) {
    (void)state;
    if (sqlite3_shutdown() != SQLITE_OK || sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory) != SQLITE_OK)
        return -1;
    sqlite3_mem_methods mine = real_memory;
    mine.xMalloc = try_malloc;
    mine.xRealloc = try_realloc;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &mine) == SQLITE_OK && sqlite3_initialize() == SQLITE_OK ? 0 : -1;
}

static int unwrap_memory(void **state) {
    (void)state;
    sqlite3_shutdown();
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &real_memory) == SQLITE_OK ? 0 : -1;
}

static void deny(long n, bool ever) {
    atomic_store(&allocation, 0);
    atomic_store(&for_ever, ever);
    atomic_store(&did_fail, false);
    atomic_store(&failing, n);
}

static void each_allocation(bool ever, long step) {
    powerloss *disk = powerloss_new("faulty", 99);
    unsigned points = 0;
    for (long n = 1;; n += step) {
        outcome o;
        powerloss_erase(disk);
        deny(n, ever);
        scenario(&o);
        bool failed = atomic_load(&did_fail);
        deny(0, false);
        if (o.open != BRAID_OK) assert_int_equal(o.open, BRAID_E_NO_MEMORY);
        for (int i = 0; o.open == BRAID_OK && i < WRITES; i++)
            if (o.write[i] != BRAID_OK && o.write[i] != BRAID_E_NOT_FOUND && o.write[i] != BRAID_E_UNAVAILABLE)
                assert_int_equal(o.write[i], BRAID_E_NO_MEMORY);
        expect_acked(&o, "allocation", (uint64_t)n);
        points += failed;
        if (!failed) break;
    }
    assert_true(points > 1000 / (unsigned)step);
    printf("%u points\n", points);
    powerloss_free(disk);
}

static void one_allocation_that_fails_is_an_error_and_nothing_more(void **state) {
    (void)state;
    each_allocation(false, STEP);
}

static void memory_that_has_run_out_is_an_error_and_nothing_more(void **state) {
    (void)state;
    each_allocation(true, 7 * STEP);
}

static void reading_without_memory_is_an_error_and_works_again_afterwards(void **state) {
    (void)state;
    powerloss *disk = powerloss_new("faulty", 99);
    record_store *s = NULL;
    record_options opts = options();
    uint64_t lsn = 0;
    assert_int_equal(record_open(record_find("sqlite"), &opts, &s, NULL), BRAID_OK);
    for (int i = 0; i < WRITES; i++) write_number(s, i, &lsn, NULL);
    for (long n = 1;; n++) {
        uint64_t seen = 0, upto = 0;
        arena *a = arena_new(1024);
        record_log_entry *rows;
        size_t count;
        record_info info;
        deny(n, false);
        int codes[] = {record_get_item(s, "film", take_item, &seen, NULL),
                       record_scan_items(s, 0, true, take_item, &seen, NULL),
                       record_user_interactions(s, "ana", 10, 0, take_interaction, &seen, NULL),
                       record_log_read(s, 0, RECORD_MASK_ALL, 100, a, &rows, &count, &upto, NULL),
                       record_get_info(s, &info, NULL)};
        bool failed = atomic_load(&did_fail);
        deny(0, false);
        arena_free(a);
        unsigned errors = 0;
        for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
            assert_true(codes[i] == BRAID_OK || codes[i] == BRAID_E_NO_MEMORY);
            errors += codes[i] != BRAID_OK;
        }
        assert_true(errors <= 1);
        if (!failed) {
            assert_int_equal(count, WRITES);
            break;
        }
    }
    record_close(s);
    powerloss_free(disk);
}

int main(void) {
    const struct CMUnitTest disk[] = {
        cmocka_unit_test(a_failed_sync_is_reported_and_final),
        cmocka_unit_test(a_failed_write_is_reported_and_final),
        cmocka_unit_test(a_full_disk_is_reported_and_can_be_mended),
        cmocka_unit_test(after_a_failed_sync_reading_goes_on_and_opening_again_mends),
    };
    const struct CMUnitTest memory[] = {
        cmocka_unit_test(one_allocation_that_fails_is_an_error_and_nothing_more),
        cmocka_unit_test(memory_that_has_run_out_is_an_error_and_nothing_more),
        cmocka_unit_test(reading_without_memory_is_an_error_and_works_again_afterwards),
    };
    int failed = cmocka_run_group_tests(disk, NULL, NULL);
    return failed + cmocka_run_group_tests(memory, wrap_memory, unwrap_memory);
}
