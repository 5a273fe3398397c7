/* What models learn of items on PostgreSQL, beyond the contract: two servers that learn the same rows at once, and
 * bytes in the database that are no list. Needs a server: see record_postgres_test.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifndef BRAID_HAVE_POSTGRES
int main(void) {
    printf("record: neighbours on postgres skipped: built without libpq\n");
    return 0;
}
#else

#include <pthread.h>
#include <stdatomic.h>

#include "record_postgres_test.h"
#include "record_test.h"

typedef struct scene {
    postgres_place place;
    record_store *servers[2];
    pg_session *raw;
} scene;

static record_store *server_open(scene *s) {
    record_store *store = NULL;
    braid_error err = {0};
    record_options o = postgres_record_options(&s->place);
    postgres_must(record_open(record_find("postgres"), &o, &store, &err) == BRAID_OK, err.message);
    return store;
}

static int setup(void **state) {
    scene *s = calloc(1, sizeof *s);
    *state = s;
    given_lsns.count = 0;
    if (!postgres_there()) return 0;
    postgres_place_make(&s->place, NULL);
    s->raw = postgres_session(&s->place);
    for (int i = 0; i < 2; i++) s->servers[i] = server_open(s);
    return 0;
}

static int teardown(void **state) {
    scene *s = *state;
    pg_close(s->raw);
    for (int i = 0; i < 2; i++) record_close(s->servers[i]);
    if (postgres_there()) postgres_place_remove(&s->place);
    free(s);
    return 0;
}

static scene *there(void **state) {
    if (!postgres_there()) {
        print_message("BRAID_TEST_POSTGRES is not set\n");
        skip();
    }
    return *state;
}

/* The items 1 .. n. */
static void put_items(record_store *s, uint32_t n) {
    static char ids[512][16];
    static item items[512];
    static record_change c[512];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "i%u", i + 1);
        items[i] = plain_item(ids[i], "A film");
        c[i] = (record_change){.kind = RECORD_ITEM, .item = &items[i]};
    }
    assert_int_equal(record_write(s, c, n, (record_write_flags){0}, NULL), BRAID_OK);
}

/* ---- several servers on the same rows ---- */

enum { ITEMS = 300, LEARNERS = 3, CALLS = 15, FEW = 7 };

typedef struct learner {
    record_store *store;
    uint64_t seed;
    atomic_uint *written;
    record_neighbour lists[ITEMS];
    record_neighbours rows[ITEMS];
    record_change changes[ITEMS];
    pthread_t thread;
} learner;

/* All the rows at once, or a few; in an order of its own; a third of them to say that nothing was learned. */
static void *learn(void *arg) {
    learner *l = arg;
    rng dice;
    rng_seed(&dice, l->seed);
    for (int call = 0; call < CALLS; call++) {
        size_t n = call % 2 == 0 ? ITEMS : FEW;
        uint32_t start = (uint32_t)rng_below(&dice, ITEMS);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t num = (start + i * 7) % ITEMS + 1; /* 7 and 300 have no divisor in common */
            l->lists[i] = (record_neighbour){num + 1, (float)l->seed};
            l->rows[i] = (record_neighbours){.num = num,
                                             .model = "slim",
                                             .at = (int64_t)l->seed,
                                             .list = &l->lists[i],
                                             .count = rng_below(&dice, 3) != 0};
            l->changes[i] = (record_change){.kind = RECORD_NEIGHBOURS, .neighbours = &l->rows[i]};
        }
        int code = BRAID_E_BUSY; /* others change the same rows all the time: nothing was written, try again */
        for (int tries = 0; tries < 100 && code == BRAID_E_BUSY; tries++)
            code = record_write(l->store, l->changes, n, (record_write_flags){.background = call % 3 == 0}, NULL);
        postgres_must(code == BRAID_OK, error_sentence(code));
        for (size_t i = 0; i < n; i++) atomic_fetch_add(l->written, l->changes[i].lsn != 0);
    }
    return NULL;
}

typedef struct truth {
    uint64_t lsn; /* of the row in the log that was last */
    bool removed;
    uint64_t version; /* of the row that is there; 0: none */
} truth;

static bool see_version(void *ctx, const record_neighbours *row) {
    truth *all = ctx;
    assert_true(row->num >= 1 && row->num <= ITEMS && row->count == 1 && row->list[0].num == row->num + 1);
    all[row->num].version = row->version;
    return true;
}

/* Everything of the log into `all`; how many rows it has. */
static unsigned read_log(record_store *s, truth *all) {
    arena *a = arena_new(4096);
    uint64_t after = 0, upto = 0;
    unsigned rows_seen = 0;
    record_log_entry *rows = NULL;
    for (size_t n = 1; n > 0; after = upto) {
        braid_error err = {0};
        assert_int_equal(record_log_read(s, after, RECORD_MASK(RECORD_NEIGHBOURS), 1000, a, &rows, &n, &upto, &err),
                         BRAID_OK);
        for (size_t i = 0; i < n; i++) {
            assert_true(rows[i].kind == RECORD_NEIGHBOURS && rows[i].num >= 1 && rows[i].num <= ITEMS);
            assert_string_equal(rows[i].key, "slim");
            all[rows[i].num] = (truth){.lsn = rows[i].lsn, .removed = rows[i].remove};
            rows_seen++;
        }
        arena_reset(a);
    }
    arena_free(a);
    return rows_seen;
}

static void of_two_servers_that_learn_the_same_rows_the_later_is_kept(void **state) {
    scene *s = there(state);
    static truth all[ITEMS + 1];
    atomic_uint written = 0;
    unsigned gone = 0;
    uint64_t last = 0;
    learner *learners = calloc(LEARNERS, sizeof *learners);
    put_items(s->servers[0], ITEMS);
    for (unsigned i = 0; i < LEARNERS; i++) {
        learners[i].store = s->servers[i % 2];
        learners[i].seed = i + 1;
        learners[i].written = &written;
        assert_int_equal(pthread_create(&learners[i].thread, NULL, learn, &learners[i]), 0);
    }
    for (unsigned i = 0; i < LEARNERS; i++) pthread_join(learners[i].thread, NULL);
    assert_int_equal(put_item(s->servers[1], "last", "To wait for", NULL, &last), BRAID_OK);
    record_log_wait(s->servers[1], last - 1, clock_mono_ns(&clock_system) + INT64_C(10000000000));
    assert_int_equal(read_log(s->servers[1], all), atomic_load(&written));
    assert_int_equal(record_scan_neighbours(s->servers[0], "slim", 0, see_version, all, NULL), BRAID_OK);
    for (unsigned i = 1; i <= ITEMS; i++) {
        assert_int_equal(all[i].version, all[i].removed ? 0 : all[i].lsn);
        gone += all[i].removed;
    }
    assert_true(gone > 0 && gone < ITEMS);
    free(learners);
    char *text = integrity_text(s->servers[0], true);
    assert_string_equal(text, "ok");
    free(text);
}

/* The rare event of the claim above, made to happen: a transaction takes its number, another one writes and commits,
 * and only then the first one writes. It must begin again, and leave the row alone. */
static void a_transaction_that_began_earlier_does_not_overwrite_a_later_one(void **state) {
    static const char *const late[] = {
        "SELECT put_neighbours(1, 1, 'slim', 7, '\\x0900000000000000')", "SELECT put_neighbours(1, 1, 'slim', 7, '')",
        "INSERT INTO staged_neighbours VALUES (1, 1, 'slim', 7, '\\x0900000000000000'); SELECT put_staged_neighbours()",
        "INSERT INTO staged_neighbours VALUES (1, 1, 'slim', 7, ''); SELECT put_staged_neighbours()"};
    scene *s = there(state);
    record_neighbour list = {2, 0.5f};
    record_neighbours row = {.num = 1, .model = "slim", .at = 5, .list = &list, .count = 1};
    put_items(s->servers[0], 1);
    postgres_run(s->raw, "CREATE TEMP TABLE staged_neighbours (n integer, num bigint, model text COLLATE \"C\","
                         " at bigint, list bytea)");
    for (size_t i = 0; i < sizeof late / sizeof late[0]; i++) {
        braid_error err = {0};
        record_change c = {.kind = RECORD_NEIGHBOURS, .neighbours = &row};
        postgres_run(s->raw, "BEGIN; SELECT pg_current_xact_id()");
        assert_int_equal(write_one(s->servers[0], &c, NULL), BRAID_OK);
        assert_int_not_equal(pg_exec(s->raw, late[i], NULL, NULL, 0, "writing late", NULL, &err), BRAID_OK);
        assert_string_equal(pg_sqlstate(s->raw), "40001");
        postgres_run(s->raw, "ROLLBACK");
        assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM neighbours WHERE at = 5 AND list <> ''"), 1);
    }
}

/* ---- what is not believed ---- */

static bool count_rows(void *ctx, const record_neighbours *row) {
    (void)row;
    ++*(int *)ctx;
    return true;
}

static void bytes_that_are_no_list_are_corrupt_and_the_others_are_read(void **state) {
    static const struct {
        const char *bytes;
        bool found;
    } damages[] = {{"'\\x01'", true},
                   {"substr(list, 1, 7)", true},
                   {"decode(repeat('01', 8 * 4097), 'hex')", true},
                   {"substr(list, 1, 4) || '\\x0000c07f'", false},
                   {"'\\x0000000000000000'", false}};
    scene *s = there(state);
    record_neighbour list = {1, 0.5f};
    put_items(s->servers[0], 3);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        int rows = 0;
        char sql[160];
        for (uint32_t num = 1; num <= 3; num++) {
            record_neighbours row = {.num = num, .model = "slim", .list = &list, .count = 1};
            record_change c = {.kind = RECORD_NEIGHBOURS, .neighbours = &row};
            assert_int_equal(write_one(s->servers[0], &c, NULL), BRAID_OK);
        }
        snprintf(sql, sizeof sql, "UPDATE neighbours SET list = %s WHERE num = 2", damages[i].bytes);
        postgres_run(s->raw, sql);
        assert_int_equal(record_scan_neighbours(s->servers[0], "slim", 0, count_rows, &rows, NULL), BRAID_E_CORRUPT);
        assert_int_equal(rows, 1);
        assert_int_equal(record_item_neighbours(s->servers[0], 2, count_rows, &rows, NULL), BRAID_E_CORRUPT);
        assert_int_equal(record_scan_neighbours(s->servers[0], "slim", 2, count_rows, &rows, NULL), BRAID_OK);
        assert_int_equal(rows, 2);
        char *text = integrity_text(s->servers[0], false);
        assert_true((strstr(text, "neighbours of item number 2 by slim are wrong") != NULL) == damages[i].found);
        free(text);
    }
    postgres_run(s->raw, "UPDATE neighbours SET version = 1 + (SELECT trimmed FROM meta) WHERE num = 3");
    char *text = integrity_text(s->servers[0], false);
    assert_non_null(strstr(text, "neighbours of item number 3 by slim have no log row"));
    free(text);
}

static void a_large_list_is_kept_as_it_is(void **state) {
    scene *s = there(state);
    static record_neighbour list[RECORD_NEIGHBOURS_MAX];
    int rows = 0;
    put_items(s->servers[0], 1);
    for (uint32_t i = 0; i < RECORD_NEIGHBOURS_MAX; i++) list[i] = (record_neighbour){i + 1, 1.0f / (float)(i + 1)};
    record_neighbours row = {.num = 1, .model = "slim", .list = list, .count = RECORD_NEIGHBOURS_MAX};
    record_change c = {.kind = RECORD_NEIGHBOURS, .neighbours = &row};
    assert_int_equal(write_one(s->servers[0], &c, NULL), BRAID_OK);
    assert_int_equal(record_item_neighbours(s->servers[1], 1, count_rows, &rows, NULL), BRAID_OK);
    assert_int_equal(rows, 1);
    assert_int_equal(postgres_number(s->raw, "SELECT octet_length(list)::bigint FROM neighbours"), sizeof list);
}

int main(void) {
#define T(claim) cmocka_unit_test_setup_teardown(claim, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(of_two_servers_that_learn_the_same_rows_the_later_is_kept),
        T(a_transaction_that_began_earlier_does_not_overwrite_a_later_one),
        T(bytes_that_are_no_list_are_corrupt_and_the_others_are_read),
        T(a_large_list_is_kept_as_it_is),
    };
    return cmocka_run_group_tests_name("record: neighbours on PostgreSQL", tests, NULL, NULL);
}

#endif
