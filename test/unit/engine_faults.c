/* R5 inside one process: the i-th system call on a file, counted over all threads, fails, and with it what the caller
 * is told; test/fault/syscalls.py does the same from outside with strace.
 *
 * The program's pwrite, fdatasync, fsync, ftruncate, rename, unlink and open are replaced (SQLite, which calls them
 * through the dynamic linker, meets the same ones). Scenario: open, three writes, checkpoint, one more write, close.
 * After each fault: nothing crashed, every acknowledged write is there when the file is opened again, braid_verify is
 * content, and after a write that failed in a sync no later one was acknowledged. A write that was cut short or
 * interrupted is no fault at all: it is continued, and everything succeeds. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "engine_test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { PWRITE_STEP = 12, STEP = 3 }; /* every n-th point, from a start that the seed gives (BRAID_SEED repeats it) */
#else
enum { PWRITE_STEP = 6, STEP = 1 };
#endif
enum { WRITES = 4, SHORT = -1 };
static uint64_t seed;

/* ---- the calls ---- */
typedef enum call { CALL_PWRITE, CALL_SYNC, CALL_FTRUNCATE, CALL_RENAME, CALL_UNLINK, CALL_OPEN, CALLS } call;
static const char *const call_names[CALLS] = {"pwrite", "fsync", "ftruncate", "rename", "unlink", "open"};

static _Atomic int faulty = CALLS;    /* which call fails; CALLS: none */
static _Atomic long calls, fail_from; /* made so far; the first that fails */
static atomic_bool fail_on, felt;     /* all after it, too */
static _Atomic int fail_errno;        /* or SHORT */

static bool struck(call which) {
    if (atomic_load(&faulty) != (int)which) return false;
    long n = atomic_fetch_add(&calls, 1) + 1, from = atomic_load(&fail_from);
    if (n != from && !(atomic_load(&fail_on) && n > from)) return false;
    atomic_store(&felt, true);
    if (atomic_load(&fail_errno) != SHORT) errno = atomic_load(&fail_errno);
    return true;
}

#define REPLACED __attribute__((visibility("default")))

static ssize_t write_at(int fd, const void *data, size_t len, off_t at) {
    if (struck(CALL_PWRITE)) {
        if (atomic_load(&fail_errno) != SHORT) return -1;
        len = len > 1 ? len / 2 : len;
    }
    return syscall(SYS_pwrite64, fd, data, len, at);
}

REPLACED ssize_t pwrite(int fd, const void *data, size_t len, off_t at) {
    return write_at(fd, data, len, at);
}

REPLACED ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) {
    return write_at(fd, data, len, at);
}

/* The machine does not die here, so a sync that succeeds has nothing to do; a disk that is shared would make this
 * slow. */
REPLACED int fdatasync(int fd) {
    (void)fd;
    return struck(CALL_SYNC) ? -1 : 0;
}

REPLACED int fsync(int fd) {
    (void)fd;
    return struck(CALL_SYNC) ? -1 : 0;
}

REPLACED int ftruncate(int fd, off_t len) {
    return struck(CALL_FTRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

REPLACED int ftruncate64(int fd, off64_t len) {
    return struck(CALL_FTRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

REPLACED int rename(const char *from, const char *to) {
    return struck(CALL_RENAME) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

REPLACED int unlink(const char *name) {
    return struck(CALL_UNLINK) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, name, 0);
}

static int open_at(const char *name, int flags, mode_t mode) {
    return struck(CALL_OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode);
}

REPLACED int open(const char *name, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_at(name, flags, mode);
}

REPLACED int open64(const char *name, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_at(name, flags, mode);
}

static void arm(call which, long from, bool on, int error) {
    atomic_store(&calls, 0);
    atomic_store(&fail_from, from);
    atomic_store(&fail_on, on);
    atomic_store(&fail_errno, error);
    atomic_store(&felt, false);
    atomic_store(&faulty, (int)which);
}

static void disarm(void) {
    atomic_store(&faulty, CALLS);
}

/* ---- the scenario ---- */
static const char *const settings[] = {
    "vector.dimension", "32", "record.readers", "2", "query.deadline_ms", "20000", NULL};

typedef struct outcome {
    int open, write[WRITES + 1], checkpoint;
    char said[256]; /* of the first refusal */
} outcome;

static void note(outcome *o, int rc, const braid_error *err) {
    if (rc && !o->said[0]) snprintf(o->said, sizeof o->said, "%s %.200s", braid_error_name(rc), err->message);
}

static int write_number(fixture *f, int n, braid_error *err) {
    char text[300];
    braid_report *report = NULL;
    snprintf(text, sizeof text,
             "{\"item\":{\"id\":\"w%d\",\"title\":\"Write %d\",\"genres\":[\"g%d\"]}}\n"
             "{\"interaction\":{\"user\":\"ana\",\"item\":\"w%d\",\"type\":\"like\",\"idempotency_key\":\"k%d\"}}\n",
             n, n, n % 2, n, n);
    int rc = braid_write(f->db, text, 0, NULL, &report, err);
    if (rc == BRAID_OK && braid_report_rejected(report)) rc = BRAID_E_INTERNAL;
    if (report) braid_report_free(report);
    return rc;
}

static outcome run(fixture *f) {
    outcome o = {.open = BRAID_OK};
    braid_error err = {0};
    for (int n = 1; n <= WRITES; n++) o.write[n] = BRAID_E_CLOSED;
    o.open = fixture_open(f, settings, &err);
    note(&o, o.open, &err);
    for (int n = 1; o.open == BRAID_OK && n <= WRITES; n++) {
        if (n == WRITES) {
            err = (braid_error){0};
            braid_wait(f->db, NULL, 300, NULL);
            o.checkpoint = braid_checkpoint(f->db, &err);
            note(&o, o.checkpoint, &err);
        }
        err = (braid_error){0};
        o.write[n] = write_number(f, n, &err);
        note(&o, o.write[n], &err);
    }
    braid_close(f->db);
    f->db = NULL;
    return o;
}

/* ---- a fresh copy of the base each time ---- */
static char *base;
static size_t base_len;

static void remove_all(fixture *f) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-hnsw", "-lock", "-hnsw.tmp"};
    char name[128];
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        snprintf(name, sizeof name, "%s%s", f->path, suffixes[i]);
        unlink(name);
    }
}

static void put_base(fixture *f) {
    remove_all(f);
    FILE *out = fopen(f->path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(base, 1, base_len, out), base_len);
    assert_int_equal(fclose(out), 0);
}

static int setup(void **state) {
    const char *given = getenv("BRAID_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("seed %" PRIu64 "\n", seed);
    fixture *f = calloc(1, sizeof *f);
    fixture_start(f, settings);
    put_all(f, "{\"id\":\"b1\",\"title\":\"Base un\",\"genres\":[\"g0\"]}\n{\"id\":\"b2\",\"title\":\"Base "
               "deux\",\"genres\":[\"g1\"]}\n"
               "{\"relation\":{\"from\":\"b1\",\"to\":\"b2\",\"type\":\"RELATED_TO\"}}\n{\"user\":{\"id\":\"ana\","
               "\"name\":\"Ana\"}}\n");
    settle(f);
    braid_close(f->db);
    f->db = NULL;
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    base_len = (size_t)st.st_size;
    base = malloc(base_len);
    FILE *in = fopen(f->path, "rb");
    assert_int_equal(fread(base, 1, base_len, in), base_len);
    fclose(in);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    disarm();
    fixture_end(*state);
    free(*state);
    free(base);
    return 0;
}

/* ---- the judge ---- */
static bool item_is_there(fixture *f, const char *id) {
    char *json = NULL;
    int rc = braid_get_item(f->db, id, &json, NULL);
    braid_free(json);
    return rc == BRAID_OK;
}

static void judge(fixture *f, const outcome *o, const char *where) {
    char id[16], key[16], *json = NULL;
    braid_error err = {0};
    if (fixture_open(f, settings, &err)) fail_msg("%s: opening again: %s: %s", where, err.store, err.message);
    if (!item_is_there(f, "b1") || !item_is_there(f, "b2")) fail_msg("%s: the base is lost", where);
    assert_int_equal(braid_user_export(f->db, "ana", &json, &err), BRAID_OK);
    bool failed_in_sync = false;
    for (int n = 1; n <= WRITES; n++) {
        snprintf(id, sizeof id, "w%d", n);
        snprintf(key, sizeof key, "\"k%d\"", n);
        if (o->write[n] == BRAID_OK && (!item_is_there(f, id) || !strstr(json, key)))
            fail_msg("%s: acknowledged write %d is lost", where, n);
        if (o->write[n] == BRAID_OK && failed_in_sync)
            fail_msg("%s: write %d was acknowledged after a sync had failed", where, n);
        failed_in_sync |= o->open == BRAID_OK && o->write[n] == BRAID_E_UNAVAILABLE;
    }
    braid_free(json);
    if (braid_verify(f->db, false, NULL, NULL, &json, &err)) fail_msg("%s: verify: %s", where, err.message);
    if (strncmp(json, "{\"ok\":true", 10) != 0) fail_msg("%s: %s", where, json);
    braid_free(json);
    if (write_number(f, 99, &err)) fail_msg("%s: writing after opening again: %s", where, err.message);
    braid_close(f->db);
    f->db = NULL;
}

typedef struct tally {
    unsigned points, refusals;
} tally;

/* `error` at each i-th `which`, once or for good, until there is no i-th. */
static void each_call(fixture *f, call which, int error, bool on, bool harmless, tally *t) {
    long step = which == CALL_PWRITE ? PWRITE_STEP : which == CALL_SYNC || which == CALL_OPEN ? STEP : 1;
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    for (long i = 1 + (long)((seed >> 33) % (uint64_t)step);; i += step) {
        char where[96];
        snprintf(where, sizeof where, "%s %ld%s fails with %s", call_names[which], i, on ? " and all after it" : "",
                 error == SHORT ? "half of it done" : strerror(error));
        put_base(f);
        arm(which, i, on, error);
        outcome o = run(f);
        bool was_felt = atomic_load(&felt);
        disarm();
        if (harmless && o.said[0]) fail_msg("%s: %s", where, o.said);
        if (!was_felt && o.said[0]) fail_msg("without a fault: %s", o.said);
        judge(f, &o, where);
        if (!was_felt) break;
        t->points++;
        t->refusals += o.said[0] != '\0';
        assert_true(i < 10000);
    }
}

static void faults(fixture *f, call which, int error, bool wants_refusals) {
    tally t = {0};
    each_call(f, which, error, false, false, &t);
    each_call(f, which, error, true, false, &t);
    print_message("%s: %u points, %u with a refusal\n", call_names[which], t.points, t.refusals);
    assert_true(t.points > 0);
    if (wants_refusals) assert_true(t.refusals > 0);
}

/* ---- claims ---- */
static void a_write_that_fails_is_not_acknowledged(void **state) {
    faults(*state, CALL_PWRITE, EIO, true);
}

static void a_disk_that_is_full_is_told_and_loses_nothing(void **state) {
    faults(*state, CALL_PWRITE, ENOSPC, true);
}

static void a_sync_that_fails_is_final(void **state) {
    faults(*state, CALL_SYNC, EIO, true);
    faults(*state, CALL_SYNC, ENOSPC, true);
}

static void files_that_cannot_be_cut_named_or_removed_lose_nothing(void **state) {
    faults(*state, CALL_FTRUNCATE, EIO, false);
    faults(*state, CALL_RENAME, EIO, true);
    faults(*state, CALL_UNLINK, EIO, false);
}

static void running_out_of_descriptors_is_told(void **state) {
    faults(*state, CALL_OPEN, EMFILE, true);
}

static void a_write_that_is_cut_short_or_interrupted_is_continued(void **state) {
    tally t = {0};
    each_call(*state, CALL_PWRITE, SHORT, false, true, &t);
    each_call(*state, CALL_PWRITE, EINTR, false, true, &t);
    print_message("pwrite: %u points\n", t.points);
    assert_true(t.points > 5);
}

/* The canary: told of a write that was not made, the judge of this file would object. */
static void what_was_not_written_is_missed(void **state) {
    fixture *f = *state;
    braid_error err = {0};
    put_base(f);
    assert_int_equal(fixture_open(f, settings, &err), BRAID_OK);
    assert_false(item_is_there(f, "w1"));
    braid_close(f->db);
    f->db = NULL;
    arm(CALL_SYNC, 1, true, EIO);
    outcome o = run(f);
    assert_true(atomic_load(&felt));
    disarm();
    for (int n = 1; n <= WRITES; n++) assert_int_not_equal(o.write[n], BRAID_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_written_is_missed),
        cmocka_unit_test(a_write_that_fails_is_not_acknowledged),
        cmocka_unit_test(a_disk_that_is_full_is_told_and_loses_nothing),
        cmocka_unit_test(a_sync_that_fails_is_final),
        cmocka_unit_test(files_that_cannot_be_cut_named_or_removed_lose_nothing),
        cmocka_unit_test(running_out_of_descriptors_is_told),
        cmocka_unit_test(a_write_that_is_cut_short_or_interrupted_is_continued),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
