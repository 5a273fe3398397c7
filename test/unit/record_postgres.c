/* PostgreSQL as the record store, beyond the contract: several servers on one database, leases, schemas older and
 * newer than the program, another life of the database, hostile texts. Faults of the network are in
 * record_postgres_faults.c. Needs a server: see record_postgres_test.h. The tests work in a database of their own,
 * as some end all its sessions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifndef BRAID_HAVE_POSTGRES
int main(void) {
    printf("record: postgres skipped: built without libpq\n");
    return 0;
}
#else

#include <glob.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "record/record_postgres.h"
#include "record_postgres_test.h"
#include "record_test.h"

typedef struct scene {
    postgres_place place;
    record_store *store, *other;
    pg_session *raw;
} scene;

static int open_store(scene *s, record_store **out, braid_error *err) {
    record_options o = postgres_record_options(&s->place);
    return record_open(record_find("postgres"), &o, out, err);
}

static record_store *must_open(scene *s) {
    braid_error err = {0};
    record_store *store = NULL;
    if (open_store(s, &store, &err) != BRAID_OK) fail_msg("%s", err.message);
    return store;
}

/* Only a place, nothing in it. */
static int setup_bare(void **state) {
    scene *s = calloc(1, sizeof *s);
    *state = s;
    given_lsns.count = 0;
    if (!postgres_there()) return 0;
    postgres_place_make(&s->place, NULL);
    s->raw = postgres_session(&s->place);
    return 0;
}

/* Two stores, as of two servers. */
static int setup(void **state) {
    setup_bare(state);
    scene *s = *state;
    if (!postgres_there()) return 0;
    s->store = must_open(s);
    s->other = must_open(s);
    return 0;
}

static int teardown(void **state) {
    scene *s = *state;
    pg_close(s->raw);
    record_close(s->store);
    record_close(s->other);
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

static deadline in_ms(int64_t ms) {
    return clock_mono_ns(&clock_system) + ms * 1000000;
}
static void sleep_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static bool see_num(void *ctx, const record_item *row) {
    *(uint32_t *)ctx = row->num;
    return true;
}
static uint32_t num_of(record_store *s, const char *id) {
    uint32_t num = 0;
    return record_get_item(s, id, see_num, &num, NULL) == BRAID_OK ? num : 0;
}

/* The log after a place, as "1 2 3", waiting until it is settled. */
static const char *log_of(record_store *s, uint64_t after) {
    static char text[2][1024];
    static unsigned turn;
    char *out = text[turn++ % 2];
    size_t n = 0, len = 0;
    uint64_t upto = 0, last = given_lsns.lsns[given_lsns.count - 1];
    record_log_entry *rows = NULL;
    braid_error err = {0};
    arena *a = arena_new(4096);
    record_log_wait(s, last - 1, in_ms(5000));
    int code = record_log_read(s, lsn_of(after), RECORD_MASK_ALL, 1000, a, &rows, &n, &upto, &err);
    out[0] = '\0';
    if (code != BRAID_OK) snprintf(out, sizeof text[0], "error %d", code);
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, sizeof text[0] - len, "%s%d", i > 0 ? " " : "", (int)lsn_place(rows[i].lsn));
    arena_free(a);
    return out;
}

/* ---- several servers ---- */

static void two_servers_share_numbers_and_one_order(void **state) {
    scene *s = there(state);
    uint64_t last = 0, lsn = 0;
    char id[16];
    for (unsigned i = 0; i < 20; i++) { /* in turn */
        snprintf(id, sizeof id, "item-%u", i);
        assert_int_equal(put_item(i % 2 ? s->other : s->store, id, id, NULL, &lsn), BRAID_OK);
        assert_true(lsn > last);
        last = lsn;
    }
    for (unsigned i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "item-%u", i);
        assert_int_equal(num_of(s->store, id), i + 1);
        assert_int_equal(num_of(s->other, id), i + 1);
    }
    assert_string_equal(log_of(s->store, 15), "16 17 18 19 20");
    assert_string_equal(log_of(s->other, 15), log_of(s->store, 15));
    assert_int_equal(drop_item(s->other, "item-19"), BRAID_OK);
    assert_int_equal(put_item(s->store, "item-19", "again", NULL, NULL), BRAID_OK);
    assert_int_equal(num_of(s->other, "item-19"), 21); /* a number is never used again */
}

static void one_server_hears_of_what_the_other_writes(void **state) {
    scene *s = there(state);
    uint64_t lsn = 0;
    sleep_ms(1500); /* its looks have become rare by now */
    int64_t begun = clock_mono_ns(&clock_system);
    assert_int_equal(put_item(s->store, "a", "A", NULL, &lsn), BRAID_OK);
    record_log_wait(s->other, lsn - 1, in_ms(5000));
    int64_t ms = (clock_mono_ns(&clock_system) - begun) / 1000000;
    assert_true(record_head(s->other) >= lsn);
    assert_true(ms < 600); /* told, not found at the next look */
    assert_int_equal(record_lag(s->other, lsn - 1), 1);
}

typedef struct hand {
    record_store *s;
    unsigned number;
    atomic_uint *given, *doubled;
    uint64_t *lsns;
    atomic_uint *wrong;
    pthread_t thread;
} hand;
enum { HANDS = 8, TAPS = 60 };

static void *tap(void *ctx) {
    hand *h = ctx;
    for (unsigned i = 0; i < TAPS; i++) {
        char key[16];
        interaction in = plain_interaction("ana", "film");
        snprintf(key, sizeof key, "key-%u", i);
        in.idempotency_key = key;
        record_change c = {.kind = RECORD_INTERACTION, .interaction = &in};
        if (record_write(h->s, &c, 1, (record_write_flags){0}, NULL) != BRAID_OK || c.code != BRAID_OK)
            atomic_fetch_add(h->wrong, 1);
        atomic_fetch_add(c.duplicate ? h->doubled : h->given, 1);
        h->lsns[h->number * TAPS + i] = c.lsn;
    }
    return NULL;
}

static void a_key_counts_once_over_all_servers_and_threads(void **state) {
    scene *s = there(state);
    hand hands[HANDS];
    atomic_uint given = 0, doubled = 0, wrong = 0;
    uint64_t lsns[HANDS * TAPS] = {0};
    assert_int_equal(put_item(s->store, "film", "Film", NULL, NULL), BRAID_OK);
    for (unsigned i = 0; i < HANDS; i++) {
        hands[i] = (hand){i % 2 ? s->other : s->store, i, &given, &doubled, lsns, &wrong, 0};
        assert_int_equal(pthread_create(&hands[i].thread, NULL, tap, &hands[i]), 0);
    }
    for (unsigned i = 0; i < HANDS; i++) pthread_join(hands[i].thread, NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(atomic_load(&given), TAPS);
    assert_int_equal(atomic_load(&doubled), TAPS * (HANDS - 1));
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM interactions"), TAPS);
    for (unsigned i = 0; i < TAPS; i++) /* all are told the same number */
        for (unsigned h = 1; h < HANDS; h++) assert_int_equal(lsns[h * TAPS + i], lsns[i]);
}

typedef struct opening {
    scene *s;
    record_store *store;
    int code;
    pthread_t thread;
} opening;
static void *open_it(void *ctx) {
    opening *o = ctx;
    o->code = open_store(o->s, &o->store, NULL);
    return NULL;
}

static void servers_that_start_at_once_make_the_tables_once(void **state) {
    scene *s = there(state);
    opening all[4];
    for (size_t i = 0; i < 4; i++) {
        all[i] = (opening){.s = s};
        assert_int_equal(pthread_create(&all[i].thread, NULL, open_it, &all[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(all[i].thread, NULL);
        assert_int_equal(all[i].code, BRAID_OK);
        record_close(all[i].store);
    }
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM meta"), 1);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM braid_schema"), record_postgres_steps());
}

/* ---- leases ---- */

static bool takes(record_store *s, const char *name) {
    bool held = false;
    assert_int_equal(record_lease(s, name, &held, NULL), BRAID_OK);
    return held;
}

static bool takes_within(record_store *s, const char *name, int64_t ms) {
    for (deadline until = in_ms(ms); clock_mono_ns(&clock_system) < until; sleep_ms(20))
        if (takes(s, name)) return true;
    return false;
}

static void a_lease_is_held_by_one_and_free_when_he_closes(void **state) {
    scene *s = there(state);
    assert_true(takes(s->store, "feed"));
    assert_true(takes(s->store, "feed")); /* keeps it */
    assert_false(takes(s->other, "feed"));
    assert_true(takes(s->other, "another")); /* by name */
    record_close(s->store);
    s->store = NULL;
    assert_true(takes_within(s->other, "feed", 2000));
}

static void a_lease_is_lost_with_its_session(void **state) {
    scene *s = there(state);
    assert_true(takes(s->store, "feed"));
    assert_false(takes(s->other, "feed"));
    assert_int_equal(postgres_number(s->raw,
                                     "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'"
                                     " AND (classid::bigint << 32 | objid::bigint)"
                                     " = hashtextextended('feed', 'log'::regclass::oid::bigint)"),
                     1);
    assert_true(takes_within(s->other, "feed", 2000));
    sleep_ms(600); /* what he remembers is no older than that */
    assert_false(takes(s->store, "feed"));
}

/* ---- the log is trimmed below its readers ---- */

static void put_cursor(scene *s, const char *name, uint64_t lsn) {
    record_cursor cursor = {name, lsn};
    record_change c = {.kind = RECORD_CURSOR, .cursor = &cursor};
    assert_int_equal(write_one(s->store, &c, NULL), BRAID_OK);
}

static uint64_t first_place(record_store *s) {
    record_info info;
    assert_int_equal(record_get_info(s, &info, NULL), BRAID_OK);
    return lsn_place(info.log_first_lsn - 1) + 1;
}

static void a_trim_keeps_what_a_cursor_still_needs(void **state) {
    scene *s = there(state);
    record_close(s->other); /* alone: see the next one */
    s->other = NULL;
    for (char id[2] = "a"; id[0] <= 'e'; id[0]++) put_item(s->store, id, id, NULL, NULL);
    log_of(s->store, 0); /* settled */
    put_cursor(s, "vector/milvus", lsn_of(4));
    put_cursor(s, "graph/neo4j", lsn_of(2));
    assert_int_equal(record_log_trim(s->store, UINT64_MAX, NULL), BRAID_OK);
    assert_int_equal(first_place(s->store), 3);
    put_cursor(s, "graph/neo4j", lsn_of(5));
    assert_int_equal(record_log_trim(s->store, lsn_of(3), NULL), BRAID_OK);
    assert_int_equal(first_place(s->store), 4);
    assert_string_equal(log_of(s->store, 3), "4 5");
    assert_int_equal(record_log_trim(s->store, UINT64_MAX, NULL), BRAID_OK);
    assert_int_equal(first_place(s->store), 5);
    postgres_run(s->raw,
                 "UPDATE cursors SET moved_at = now() - interval '8 days' WHERE name = 'vector/milvus'"); /* dead */
    assert_int_equal(record_log_trim(s->store, UINT64_MAX, NULL), BRAID_OK);
    assert_int_equal(first_place(s->store), 6);
}

static void a_trim_keeps_what_another_server_still_needs(void **state) {
    scene *s = there(state);
    for (char id[2] = "a"; id[0] <= 'e'; id[0]++) put_item(s->store, id, id, NULL, NULL);
    log_of(s->store, 0);
    assert_string_equal(log_of(s->other, 2), "3 4 5");
    assert_int_equal(record_log_trim(s->store, UINT64_MAX, NULL), BRAID_OK);
    assert_int_equal(first_place(s->store), 1); /* the other one has only just opened */
    postgres_run(s->raw, "UPDATE readers SET seen_at = now() - interval '11 minutes'"); /* not heard of */
    assert_int_equal(record_log_trim(s->store, lsn_of(4), NULL), BRAID_OK);
    assert_int_equal(first_place(s->store), 5);
    assert_string_equal(log_of(s->other, 4), "5");
    char want[16];
    snprintf(want, sizeof want, "error %d", BRAID_E_NOT_FOUND);
    assert_string_equal(log_of(s->other, 2), want); /* never as if nothing were missing */
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM readers"), 2);
    record_close(s->other);
    s->other = NULL;
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM readers"), 1);
    assert_int_equal(record_log_trim(s->store, UINT64_MAX, NULL), BRAID_OK);
    assert_int_equal(first_place(s->store), 6);
}

/* ---- schemas ---- */

static void a_newer_schema_is_refused_and_left_alone(void **state) {
    scene *s = there(state);
    braid_error err = {0};
    record_close(s->store);
    s->store = NULL;
    postgres_run(s->raw, "INSERT INTO braid_schema (step, name) VALUES (99, '099_future')");
    assert_int_equal(open_store(s, &s->store, &err), BRAID_E_NEWER_FORMAT);
    assert_non_null(strstr(err.message, "99"));
    assert_non_null(strstr(err.message, "newer Braid"));
    assert_int_equal(postgres_number(s->raw, "SELECT max(step) FROM braid_schema"), 99);
}

/* As an older program would have left it: the first `steps` steps, and an item. */
static void old_database(scene *s, unsigned steps) {
    char sql[512];
    const char *name = NULL;
    snprintf(sql, sizeof sql,
             "CREATE SCHEMA %s; SET search_path = %s,public;"
             "CREATE TABLE braid_schema (step bigint PRIMARY KEY, name text NOT NULL,"
             " run_at timestamptz NOT NULL DEFAULT now())",
             s->place.schema, s->place.schema);
    postgres_run(s->raw, sql);
    for (unsigned i = 0; i < steps; i++) {
        postgres_run(s->raw, record_postgres_step(i, &name));
        snprintf(sql, sizeof sql, "INSERT INTO braid_schema (step, name) VALUES (%u, '%s')", i + 1, name);
        postgres_run(s->raw, sql);
    }
    postgres_run(
        s->raw, "INSERT INTO meta (dim, identity) VALUES (4, 42);"
                "BEGIN; INSERT INTO items VALUES (nextval('item_numbers'), 'old', lsn_of(1), NULL, '{\"id\":\"old\"}');"
                "INSERT INTO log (lsn, kind, removed, num, key) VALUES (lsn_of(1), 1, false, 1, 'old');"
                "INSERT INTO cursors (name, lsn, epoch) VALUES ('policy', lsn_of(1), epoch()); COMMIT");
}

static void every_older_schema_is_upgraded_with_what_is_in_it(void **state) {
    there(state);
    for (unsigned steps = 1; steps < record_postgres_steps(); steps++) {
        setup_bare(state);
        scene *s = *state;
        record_info info;
        uint64_t cursor = 0;
        char *text = NULL;
        old_database(s, steps);
        s->store = must_open(s);
        assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM braid_schema"), record_postgres_steps());
        assert_int_equal(num_of(s->store, "old"), 1);
        assert_int_equal(record_cursor_get(s->store, "policy", &cursor, NULL), BRAID_OK);
        assert_true(cursor > 0);
        assert_int_equal(put_item(s->store, "new", "New", NULL, NULL), BRAID_OK);
        assert_int_equal(num_of(s->store, "new"), 2);
        assert_int_equal(put_interaction(s->store, "ana", "old", NULL, 5, NULL), BRAID_OK);
        assert_int_equal(record_get_info(s->store, &info, NULL), BRAID_OK);
        assert_int_equal(info.schema_version, record_postgres_steps());
        text = integrity_text(s->store, true);
        assert_string_equal(text, "ok");
        free(text);
        teardown(state);
    }
}

static void each_file_of_sql_is_a_step(void **state) {
    (void)state;
    glob_t files;
    if (glob("sql/[0-9]*.sql", 0, NULL, &files) != 0) {
        print_message("not run in the folder of the sources\n");
        skip();
    }
    assert_int_equal(files.gl_pathc, record_postgres_steps());
    for (unsigned i = 0; i < files.gl_pathc; i++) {
        char path[64], text[65536];
        const char *name = NULL, *step = record_postgres_step(i, &name);
        snprintf(path, sizeof path, "sql/%s.sql", name);
        assert_string_equal(path, files.gl_pathv[i]);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        size_t n = fread(text, 1, sizeof text - 1, f);
        text[n] = '\0';
        fclose(f);
        assert_string_equal(text, step);
    }
    globfree(&files);
}

static void a_place_that_holds_nothing_is_not_taken_for_a_database(void **state) {
    scene *s = there(state);
    braid_error err = {0};
    record_options o = postgres_record_options(&s->place);
    o.create = false;
    assert_int_equal(record_open(record_find("postgres"), &o, &s->store, &err), BRAID_E_NOT_FOUND);
    o = postgres_record_options(&s->place);
    o.dim = 0;
    assert_int_equal(record_open(record_find("postgres"), &o, &s->store, &err), BRAID_E_INVALID);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"), 0);
}

/* ---- another life ---- */

static void end_sessions(scene *s) {
    postgres_number(s->raw,
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND application_name = 'braid'");
}

static void a_restored_database_is_another_one(void **state) {
    scene *s = there(state);
    braid_error err = {0};
    record_info before, after;
    uint64_t cursor = 1;
    bool held = false;
    put_item(s->store, "a", "A", NULL, NULL);
    put_cursor(s, "policy", lsn_of(1));
    record_get_info(s->store, &before, NULL);
    postgres_run(s->raw, "SELECT restored()");
    end_sessions(s);
    int code = BRAID_OK;
    for (deadline until = in_ms(5000); code == BRAID_OK && clock_mono_ns(&clock_system) < until; sleep_ms(20))
        code = put_item(s->store, "a", "A", NULL, NULL);
    assert_int_equal(code, BRAID_E_UNAVAILABLE);
    item it = plain_item("a", "A");
    record_change c = {.kind = RECORD_ITEM, .item = &it};
    assert_int_equal(record_write(s->store, &c, 1, (record_write_flags){0}, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "not the one that was opened"));
    assert_int_equal(record_cursor_get(s->store, "policy", &cursor, NULL), BRAID_E_UNAVAILABLE);
    assert_int_equal(record_lease(s->store, "feed", &held, NULL), BRAID_E_UNAVAILABLE);
    assert_int_equal(num_of(s->store, "a"), 0); /* neither does it read */
    record_close(s->store);
    s->store = must_open(s);
    record_get_info(s->store, &after, NULL);
    assert_true(after.epoch != before.epoch);
    assert_int_equal(record_cursor_get(s->store, "policy", &cursor, NULL), BRAID_OK);
    assert_int_equal(cursor, 0); /* a cursor of the other life says nothing */
    assert_int_equal(put_item(s->store, "b", "B", NULL, NULL), BRAID_OK);
}

/* ---- hostile texts (R27) ---- */

static const char *const payloads[] = {
    "'; DROP TABLE items; --",
    "' OR '1'='1",
    "\"; DROP TABLE items; --",
    "$1",
    "$$; DROP TABLE items; $$",
    "%s%n%x",
    "\\'; --",
    "\\x00",
    "E'\\\\x41'",
    "a\tb\nc\r",
    "{\"a\":[1,2}",
    "{NULL,\"x\"}",
    "NULL",
    "null",
    "/* */",
    "-- comment",
    "x') ; COMMIT; --",
    "'||pg_sleep(9)||'",
    "COPY items TO '/tmp/x'",
    "\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xac",
    "\x01\x02\x7f",
    "{}",
    "(1,2)",
    "\\.",
    "\\N",
    "current_setting('x')",
    "''''''",
    "\"\"",
    "';SELECT pg_terminate_backend(pg_backend_pid());--",
    " leading and trailing ",
};
enum { PAYLOADS = sizeof payloads / sizeof payloads[0] };

typedef struct literal {
    const char *want;
    unsigned seen;
} literal;

static bool literal_interaction(void *ctx, const record_interaction *row) {
    literal *l = ctx;
    assert_string_equal(row->in.user, l->want);
    assert_string_equal(row->in.item, l->want);
    assert_string_equal(row->in.agent, l->want);
    assert_string_equal(row->in.session, l->want);
    assert_string_equal(row->in.recommendation_id, l->want);
    assert_string_equal(row->in.idempotency_key, l->want);
    assert_string_equal(row->in.device, l->want);
    assert_string_equal(row->in.daypart, l->want);
    assert_string_equal(row->in.region, l->want);
    assert_string_equal(row->in.mood, l->want);
    assert_string_equal(row->attribution, l->want);
    l->seen++;
    return true;
}

static bool literal_policy(void *ctx, const record_policy *row) {
    literal *l = ctx;
    assert_string_equal(row->agent, l->want);
    assert_string_equal(row->state_hash, l->want);
    assert_string_equal(row->state, l->want);
    assert_string_equal(row->actions[0].action, l->want);
    l->seen++;
    return true;
}

static bool literal_key(void *ctx, size_t which, const record_policy *row) {
    (void)which;
    return literal_policy(ctx, row);
}

static bool literal_episode(void *ctx, const record_episode *row) {
    literal *l = ctx;
    assert_string_equal(row->agent, l->want);
    assert_string_equal(row->session, l->want);
    assert_string_equal(row->state, l->want);
    assert_string_equal(row->next_state_hash, l->want);
    assert_string_equal(row->action, l->want);
    l->seen++;
    return true;
}

static bool literal_item(void *ctx, const record_item *row) {
    literal *l = ctx;
    assert_string_equal(row->id, l->want);
    l->seen++;
    return true;
}

static bool literal_user(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    (void)body, (void)len, (void)version;
    literal *l = ctx;
    assert_string_equal(id, l->want);
    l->seen++;
    return true;
}

static uint64_t write_payload(record_store *s, const char *p) {
    uint64_t lsn = 0;
    interaction in = plain_interaction(p, p);
    in.agent = in.session = in.recommendation_id = in.idempotency_key = in.device = in.daypart = in.region = in.mood =
        p;
    record_change c = {.kind = RECORD_INTERACTION, .interaction = &in, .attribution = p};
    assert_int_equal(put_item(s, p, p, NULL, NULL), BRAID_OK);
    assert_int_equal(put_user(s, p, p), BRAID_OK);
    assert_int_equal(write_one(s, &c, &lsn), BRAID_OK);
    record_action action = {p, 0.5, 0.1, 1, lsn};
    record_policy policy = {p, p, p, p, &action, 1, lsn};
    record_change d = {.kind = RECORD_POLICY, .policy = &policy};
    assert_int_equal(write_one(s, &d, NULL), BRAID_OK);
    record_episode e = {.interaction_lsn = lsn,
                        .agent = p,
                        .user = p,
                        .session = p,
                        .state_hash = p,
                        .state = p,
                        .next_state_hash = p,
                        .item_num = 1,
                        .action = p,
                        .reward = 0.5,
                        .done = true};
    record_change f = {.kind = RECORD_EPISODE, .episode = &e};
    assert_int_equal(write_one(s, &f, NULL), BRAID_OK);
    put_relation(s, p, p, p, 1); /* a type that is no name is refused before it gets there */
    record_cursor cursor = {p, lsn};
    record_change g = {.kind = RECORD_CURSOR, .cursor = &cursor};
    assert_int_equal(write_one(s, &g, NULL), BRAID_OK);
    return lsn;
}

static void hostile_texts_stay_texts(void **state) {
    scene *s = there(state);
    assert_int_equal(put_item(s->store, "canary", "Canary", NULL, NULL), BRAID_OK);
    for (size_t i = 0; i < PAYLOADS; i++) {
        literal l = {.want = payloads[i]};
        uint64_t cursor = 0, lsn = write_payload(s->store, l.want);
        record_policy_key key = {l.want, l.want};
        assert_int_equal(record_get_item(s->other, l.want, literal_item, &l, NULL), BRAID_OK);
        assert_int_equal(record_get_user(s->other, l.want, 0, literal_user, &l, NULL), BRAID_OK);
        assert_int_equal(record_user_interactions(s->other, l.want, 10, 0, literal_interaction, &l, NULL), BRAID_OK);
        assert_int_equal(record_user_policies(s->other, l.want, l.want, literal_policy, &l, NULL), BRAID_OK);
        assert_int_equal(record_get_policies(s->other, l.want, &key, 1, 0, literal_key, &l, NULL), BRAID_OK);
        assert_int_equal(record_user_episodes(s->other, l.want, 10, literal_episode, &l, NULL), BRAID_OK);
        assert_int_equal(record_cursor_get(s->other, l.want, &cursor, NULL), BRAID_OK);
        assert_int_equal(cursor, lsn);
        assert_int_equal(l.seen, 6);
    }
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM items"), PAYLOADS + 1);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM interactions"), PAYLOADS);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM relations WHERE type <> 'NULL'"),
                     0); /* which is a type like any */
    assert_int_equal(num_of(s->store, "canary"), 1);
}

static void a_text_that_the_server_refuses_is_refused_alone(void **state) {
    scene *s = there(state);
    braid_error err = {0};
    put_item(s->store, "film", "Film", NULL, NULL);
    interaction in[3] = {plain_interaction("ana", "film"), plain_interaction("ana", "film"),
                         plain_interaction("ben", "film")};
    in[1].session = "\xff\xfe no UTF-8";
    record_change c[3];
    for (size_t i = 0; i < 3; i++) c[i] = (record_change){.kind = RECORD_INTERACTION, .interaction = &in[i]};
    assert_int_equal(record_write(s->store, c, 3, (record_write_flags){0}, &err), BRAID_OK);
    assert_int_equal(c[0].code, BRAID_OK);
    assert_int_equal(c[1].code, BRAID_E_INVALID);
    assert_int_equal(c[2].code, BRAID_OK);
    assert_int_equal(c[1].lsn, 0);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM interactions"), 2);
}

/* ---- the database of this program ---- */

static char own[64];

static void database_statement(const char *format) {
    char sql[160];
    postgres_place p;
    postgres_place_make(&p, NULL);
    p.remote.database = "postgres";
    pg_session *session = postgres_session(&p);
    snprintf(sql, sizeof sql, format, own);
    postgres_run(session, sql);
    pg_close(session);
}

int main(void) {
#define T(f)    cmocka_unit_test_setup_teardown(f, setup, teardown)
#define BARE(f) cmocka_unit_test_setup_teardown(f, setup_bare, teardown)
    const struct CMUnitTest tests[] = {
        T(two_servers_share_numbers_and_one_order),
        T(one_server_hears_of_what_the_other_writes),
        T(a_key_counts_once_over_all_servers_and_threads),
        BARE(servers_that_start_at_once_make_the_tables_once),
        T(a_lease_is_held_by_one_and_free_when_he_closes),
        T(a_lease_is_lost_with_its_session),
        T(a_trim_keeps_what_a_cursor_still_needs),
        T(a_trim_keeps_what_another_server_still_needs),
        T(a_newer_schema_is_refused_and_left_alone),
        cmocka_unit_test(every_older_schema_is_upgraded_with_what_is_in_it),
        cmocka_unit_test(each_file_of_sql_is_a_step),
        BARE(a_place_that_holds_nothing_is_not_taken_for_a_database),
        T(a_restored_database_is_another_one),
        T(hostile_texts_stay_texts),
        T(a_text_that_the_server_refuses_is_refused_alone),
    };
    if (postgres_there()) {
        snprintf(own, sizeof own, "braid_test_%d", (int)getpid());
        database_statement("CREATE DATABASE %s");
        setenv("BRAID_TEST_POSTGRES_DATABASE", own, 1);
    }
    int failed = cmocka_run_group_tests_name("record: PostgreSQL", tests, NULL, NULL);
    if (postgres_there()) database_statement("DROP DATABASE %s WITH (FORCE)");
    return failed;
}

#endif
