/* R3: what was acknowledged is there after the power went, wherever it went.
 *
 * A cycle opens the database on a disk in memory (test/support/powerloss_vfs.h), checks that every acknowledged
 * interaction is there and that the file is sound, writes some more, and loses the power at a random operation: in a
 * write, a checkpoint, an opening or a closing. The canaries run the same cycles with PRAGMA synchronous=NORMAL and
 * OFF and must see losses, or this test sees nothing.
 *
 *     record_powerloss [CYCLES] [SEED]      default 5,000 cycles */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../support/powerloss_vfs.h"
#include "record/record_sqlite.h"
#include "record_test.h"

enum { LIFE = 50 /* cycles before a new database */, WRITES_MAX = 6, PER_LIFE_MAX = LIFE * WRITES_MAX * 4 + 2 };

typedef struct world {
    powerloss *disk;
    rng dice;
    const char *synchronous;
    void *store;
    uint64_t acked_lsn[PER_LIFE_MAX]; /* serial -> LSN, 0: never acknowledged */
    unsigned serial;
    bool item_acked;
    unsigned cycles, acked, lost, damaged, opened, cuts;
} world;

static const record_ops *ops(void) {
    return record_find("sqlite");
}

static int open_store(world *w) {
    record_options o = {.path = "power.db",
                        .dim = 4,
                        .create = true,
                        .readers = 1,
                        .vfs = "powerloss",
                        .wal_bytes_checkpoint = 64 * 1024};
    braid_error err = {0};
    w->store = NULL;
    return record_sqlite_open_with(&o, w->synchronous, &w->store, &err);
}

typedef struct found {
    world *w;
    bool there[PER_LIFE_MAX];
    unsigned wrong;
} found;

static bool find_interaction(void *ctx, const record_interaction *row) {
    found *f = ctx;
    unsigned serial = (unsigned)strtoul(row->in.session, NULL, 10);
    if (serial >= PER_LIFE_MAX || f->there[serial] ||
        (f->w->acked_lsn[serial] != 0 && f->w->acked_lsn[serial] != row->lsn))
        f->wrong++; /* twice, or under another number than was acknowledged */
    else
        f->there[serial] = true;
    return true;
}

static bool ignore_item(void *ctx, const record_item *row) {
    (void)ctx;
    return row->vector != NULL;
}

static void verify(world *w) {
    found f = {.w = w};
    braid_error err = {0};
    buf report;
    buf_init(&report, 0);
    bool sound = true; /* opening after an unclean stop has already run quick_check; the whole check is dear */
    if (w->cycles % 4 == 0)
        sound = ops()->integrity(w->store, false, &report, &err) == BRAID_OK && strcmp(report.data, "ok") == 0;
    sound = sound &&
            ops()->scan_interactions(w->store, 0, UINT64_MAX, SIZE_MAX, find_interaction, &f, &err) == BRAID_OK &&
            f.wrong == 0;
    if (!sound) {
        w->damaged++;
        if (strcmp(w->synchronous, "FULL") == 0)
            fprintf(stderr, "cycle %u: %s %s, %u wrong\n", w->cycles, report.data, err.message, f.wrong);
    }
    buf_free(&report);
    if (w->item_acked && ops()->get_item(w->store, "film", ignore_item, NULL, NULL) != BRAID_OK) w->lost++;
    for (unsigned i = 0; i < w->serial; i++) {
        if (w->acked_lsn[i] != 0 && !f.there[i]) {
            w->lost++;
            w->acked_lsn[i] = 0; /* counted once */
        }
    }
}

static bool write_item(world *w) {
    static const float vector[4] = {1, 2, 3, 4};
    item it = plain_item("film", "A film");
    record_change c = {.kind = RECORD_ITEM, .item = &it, .vector = vector, .vector_given = true};
    bool ok = ops()->write(w->store, &c, 1, (record_write_flags){0}, NULL) == BRAID_OK && c.code == BRAID_OK;
    w->item_acked |= ok;
    return ok;
}

/* One request of 1..4 interactions. False when it was not acknowledged. */
static bool write_interactions(world *w) {
    record_change c[4];
    interaction in[4];
    char names[4][2][16];
    unsigned n = 1 + (unsigned)rng_below(&w->dice, 4);
    for (unsigned i = 0; i < n; i++) {
        snprintf(names[i][0], 16, "p%u", (unsigned)rng_below(&w->dice, 40));
        snprintf(names[i][1], 16, "%u", w->serial + i);
        in[i] = plain_interaction(names[i][0], "film");
        in[i].session = names[i][1];
        in[i].at = (int64_t)rng_below(&w->dice, 1000);
        c[i] = (record_change){.kind = RECORD_INTERACTION, .interaction = &in[i]};
    }
    bool ok = ops()->write(w->store, c, n, (record_write_flags){0}, NULL) == BRAID_OK;
    for (unsigned i = 0; i < n; i++, w->serial++) {
        w->acked_lsn[w->serial] = ok && c[i].code == BRAID_OK ? c[i].lsn : 0;
        w->acked += w->acked_lsn[w->serial] != 0;
    }
    return ok;
}

static void new_life(world *w) {
    powerloss_erase(w->disk);
    memset(w->acked_lsn, 0, sizeof w->acked_lsn);
    w->serial = 0;
    w->item_acked = false;
}

static void cycle(world *w) {
    w->cycles++;
    if (w->cycles % LIFE == 1) new_life(w);
    if (rng_below(&w->dice, 4) == 0) { /* the power goes while it opens, perhaps */
        powerloss_cut_at(w->disk, 1 + rng_below(&w->dice, 60));
        if (open_store(w) == BRAID_OK) ops()->close(w->store);
        powerloss_reboot(w->disk);
    }
    if (open_store(w) != BRAID_OK) {
        w->damaged++;
        new_life(w);
        return;
    }
    w->opened++;
    verify(w);
    if (rng_below(&w->dice, 8) != 0) powerloss_cut_at(w->disk, 1 + rng_below(&w->dice, 80));
    unsigned writes = 1 + (unsigned)rng_below(&w->dice, WRITES_MAX);
    bool ok = write_item(w);
    for (unsigned i = 0; ok && i < writes; i++) ok = write_interactions(w);
    w->cuts += !ok;
    if (ok && rng_below(&w->dice, 4) == 0) powerloss_cut_at(w->disk, 1); /* it never gets to close */
    ops()->close(w->store);
    powerloss_reboot(w->disk);
}

#if defined(__SANITIZE_THREAD__)
static unsigned cycles_wanted = 150; /* the same paths; the release build does the counting */
#elif defined(__SANITIZE_ADDRESS__)
static unsigned cycles_wanted = 500;
#else
static unsigned cycles_wanted = 5000;
#endif
static uint64_t seed;

static world *run(const char *synchronous, unsigned cycles) {
    world *w = calloc(1, sizeof *w);
    struct timespec a, b;
    assert_non_null(w);
    w->synchronous = synchronous;
    w->disk = powerloss_new("powerloss", seed);
    rng_seed(&w->dice, seed);
    clock_gettime(CLOCK_MONOTONIC, &a);
    while (w->cycles < cycles) cycle(w);
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("synchronous=%s, seed %llu: %u cycles, %u cut while writing, %u acknowledged, %u lost, %u damaged, %.1f s\n",
           synchronous, (unsigned long long)seed, w->cycles, w->cuts, w->acked, w->lost, w->damaged,
           (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
    powerloss_free(w->disk);
    return w;
}

static void nothing_acknowledged_is_lost_and_nothing_is_damaged(void **state) {
    (void)state;
    world *w = run("FULL", cycles_wanted);
    assert_int_equal(w->lost, 0);
    assert_int_equal(w->damaged, 0);
    assert_int_equal(w->opened, w->cycles);
    assert_true(w->acked > w->cycles && w->cuts > w->cycles / 10);
    free(w);
}

static void canary_with_synchronous_normal_acknowledged_writes_are_lost(void **state) {
    (void)state;
    world *w = run("NORMAL", cycles_wanted / 20 + 50);
    assert_true(w->lost > 0);
    free(w);
}

static void canary_with_synchronous_off_the_file_is_damaged(void **state) {
    (void)state;
    world *w = run("OFF", cycles_wanted / 20 + 50);
    assert_true(w->damaged > 0);
    assert_true(w->lost > 0);
    free(w);
}

int main(int argc, char **argv) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    cycles_wanted = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : cycles_wanted;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)t.tv_nsec;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_and_nothing_is_damaged),
        cmocka_unit_test(canary_with_synchronous_normal_acknowledged_writes_are_lost),
        cmocka_unit_test(canary_with_synchronous_off_the_file_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
