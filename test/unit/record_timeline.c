/* The timeline of the SQLite store (src/record/record_sqlite_timeline.c): filled when writes pause, not before there
 * are enough of them, and without a pause when there are very many; whatever it holds, a history is whole and in
 * order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "record_test.h"

enum { PEOPLE = 7, CALL = 1000, FEW = 1000, MANY = 3000, FLOOD = 17000, BEHIND_MAX = 16384, QUIET_MS = 300 };

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    fixture_make(f, record_find("sqlite"));
    fixture_open(f);
    put_item(f->store, "film", "A film", NULL, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    fixture_end(f);
    free(f);
    return 0;
}

/* `count` interactions, the i-th of person i % PEOPLE at time i, CALL of them a call. */
static void write_from(fixture *f, unsigned from, unsigned count) {
    static char names[CALL][16];
    static interaction in[CALL];
    static record_change c[CALL];
    for (unsigned done = 0; done < count; done += CALL) {
        unsigned n = count - done < CALL ? count - done : CALL;
        for (unsigned i = 0; i < n; i++) {
            snprintf(names[i], sizeof names[i], "p%u", (from + done + i) % PEOPLE);
            in[i] = plain_interaction(names[i], "film");
            in[i].at = from + done + i;
            c[i] = (record_change){.kind = RECORD_INTERACTION, .interaction = &in[i]};
        }
        assert_int_equal(record_write(f->store, c, n, (record_write_flags){0}, NULL), BRAID_OK);
    }
}

/* Up to which LSN the timeline reaches, as another program sees it in the file. */
static int64_t reach(fixture *f) {
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE key = 'timeline'", -1, &st, NULL), SQLITE_OK);
    int64_t lsn = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_finalize(st);
    sqlite3_close(db);
    return lsn;
}

static int64_t reach_within(fixture *f, int64_t wanted, unsigned ms) {
    int64_t lsn = reach(f);
    for (unsigned waited = 0; lsn < wanted && waited < ms; waited += 10, lsn = reach(f)) usleep(10000);
    return lsn;
}

typedef struct history {
    unsigned person, rows;
    int64_t last;
} history;

static bool newest_first(void *ctx, const record_interaction *row) {
    history *h = ctx;
    assert_true(row->in.at < h->last && row->in.at % PEOPLE == (int64_t)h->person);
    h->last = row->in.at;
    h->rows++;
    return true;
}

static void expect_histories(fixture *f, unsigned count) {
    for (unsigned p = 0; p < PEOPLE; p++) {
        history h = {p, 0, INT64_MAX};
        char name[16];
        snprintf(name, sizeof name, "p%u", p);
        assert_int_equal(record_user_interactions(f->store, name, SIZE_MAX, 0, newest_first, &h, NULL), BRAID_OK);
        assert_int_equal(h.rows, count / PEOPLE + (p < count % PEOPLE));
    }
}

static void a_pause_fills_it_once_there_are_enough(void **state) {
    fixture *f = *state;
    write_from(f, 0, FEW);
    assert_int_equal(reach_within(f, 1, QUIET_MS), 0);
    expect_histories(f, FEW);
    write_from(f, FEW, MANY - FEW);
    assert_int_equal(reach_within(f, MANY + 1, 20000), MANY + 1); /* the item took the first LSN */
    expect_histories(f, MANY);
    write_from(f, MANY, FEW);
    expect_histories(f, MANY + FEW); /* part here, part there */
    char *text = integrity_text(f->store, false);
    assert_string_equal(text, "ok");
    free(text);
}

/* One call of the flood follows the other, so that there is no pause before it is looked at. */
static void a_flood_fills_it_without_a_pause(void **state) {
    fixture *f = *state;
    write_from(f, 0, FLOOD);
    put_item(f->store, "film", "A film", NULL, NULL); /* the writer has kept house before it takes this */
    assert_true(reach(f) >= FLOOD - BEHIND_MAX);
    expect_histories(f, FLOOD);
}

static void what_is_left_when_it_closes_is_found_again(void **state) {
    fixture *f = *state;
    write_from(f, 0, MANY);
    fixture_reopen(f);
    expect_histories(f, MANY);
    assert_true(reach_within(f, MANY + 1, 20000) >= MANY + 1);
    expect_histories(f, MANY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pause_fills_it_once_there_are_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_fills_it_without_a_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_left_when_it_closes_is_found_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
