/* R7 of the reliability plan: the change log of PostgreSQL skips nothing, whatever commits late.
 *
 * Eight writers work on the tables by transactions of their own (plain SQL on connections of their own, not the store's
 * writer), with random pauses between number and commit, and roll one in ten back. In the middle a ninth hangs for some
 * seconds with rows in hand, and a transaction is open in another database of the same server. Two consumers follow:
 * ours, by record_log_read, and a naive one that goes on after the highest number it has seen. What was committed is
 * compared with what each has seen.
 *
 * The naive one is the canary: it must lose rows, or the load proves nothing. BRAID_TEST_LONG=1 for 200,000 rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifndef BRAID_HAVE_POSTGRES
int main(void) {
    printf("record: postgres feed skipped: built without libpq\n");
    return 0;
}
#else

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "record_postgres_test.h"
#include "record_test.h"

enum {
    WRITERS = 8,
    KEYS = 16,      /* items that all writers fight for */
    BURST_MAX = 24, /* interactions in one transaction */
    ROWS = 40000,
    ROWS_LONG = 200000,
    HANG_AFTER_MS = 1000,
    HANG_MS = 2500,
    RUN_MS_MAX = 60000,
    RUN_MS_MAX_LONG = 240000,
    BATCH = 1000
};

typedef enum statement { BEGIN, BEGIN_WRITE, PUT_ITEM, NOTE, BURST, COMMIT, ROLLBACK, NAIVE, STATEMENTS } statement;
static const pg_statement statements[STATEMENTS] = {
    [BEGIN] = {"", "BEGIN"},
    [BEGIN_WRITE] = {"", "SELECT begin_write('log'::regclass::oid::bigint, false)"},
    [PUT_ITEM] = {"t", "SELECT o_lsn FROM put_item(1, $1, '{}', NULL, NULL, NULL, NULL)"},
    /* under the lock of the item's row, so `turn` counts in the order of the commits */
    [NOTE] = {"tl", "WITH t AS (UPDATE turns SET turn = turn + 1 WHERE id = $1 RETURNING turn)"
                    " INSERT INTO history (id, turn, lsn) SELECT $1, turn, $2 FROM t"},
    [BURST] =
        {"iit",
         "SELECT o_lsn FROM generate_series($1, $2) n, LATERAL put_interaction(n, $3, 'key-0', now(), 1::smallint,"
         " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"},
    [COMMIT] = {"", "COMMIT"},
    [ROLLBACK] = {"", "ROLLBACK"},
    [NAIVE] =
        {"l",
         "SELECT lsn FROM (SELECT lsn FROM interactions WHERE lsn > $1 UNION ALL SELECT lsn FROM log WHERE lsn > $1) r"
         " ORDER BY 1"},
};

typedef struct lsns {
    uint64_t *list;
    size_t count, room;
} lsns;

typedef struct scene {
    postgres_place place;
    pg_options raw;
    record_store *store;
    metrics *measures;
    uint64_t start; /* what is above was written by the test's writers */
    atomic_bool stop, quiet;
    atomic_size_t rows;
    atomic_uint overtaken, failures, out_of_order, stale, mirrored;
    lsns seen, naive;
    _Atomic uint64_t reached;
} scene;

typedef struct writer {
    scene *s;
    unsigned number;
    lsns committed;
    unsigned rolled_back;
    pthread_t thread;
} writer;

static void keep(lsns *l, uint64_t lsn) {
    if (l->count == l->room) {
        l->room = l->room == 0 ? 4096 : l->room * 2;
        l->list = realloc(l->list, l->room * sizeof *l->list);
        check(l->list != NULL, "no memory");
    }
    l->list[l->count++] = lsn;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* How many of `wanted` are not in `got`; both are sorted by it. */
static size_t missing(lsns *wanted, lsns *got) {
    size_t lost = 0, j = 0;
    if (wanted->count > 0) qsort(wanted->list, wanted->count, sizeof *wanted->list, by_number);
    if (got->count > 0) qsort(got->list, got->count, sizeof *got->list, by_number);
    for (size_t i = 0; i < wanted->count; i++) {
        while (j < got->count && got->list[j] < wanted->list[i]) j++;
        lost += j == got->count || got->list[j] != wanted->list[i];
    }
    return lost;
}

static int64_t now_ms(void) {
    return clock_mono_ns(&clock_system) / 1000000;
}
static void sleep_us(uint64_t us) {
    struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}
static bool long_run(void) {
    const char *text = getenv("BRAID_TEST_LONG");
    return text != NULL && strcmp(text, "1") == 0;
}

/* ---- writers ---- */

static int ask(pg_session *s, statement which, const pg_params *p, PGresult **out) {
    return pg_run(s, which, p, 0, "writing", out, NULL);
}

static uint64_t lsn_at(const PGresult *r, int i) {
    pg_row row = {.r = r, .row = i};
    return (uint64_t)pg_int8(&row, 0);
}

/* A pause now and then, so that transactions finish in another order than they began. */
static void dawdle(rng *random) {
    if (rng_below(random, 2) == 0) sleep_us(rng_below(random, 3000));
}

/* One transaction; its rows are noted when COMMIT was answered. False: it was overtaken. */
static bool write_some(writer *w, pg_session *s, rng *random) {
    char id[32], person[32];
    uint64_t mine[BURST_MAX + 1];
    size_t n = 0, burst = 1 + rng_below(random, BURST_MAX);
    bool item_too = rng_below(random, 2) == 0;
    pg_params p;
    PGresult *r = NULL;
    snprintf(id, sizeof id, "key-%u", (unsigned)rng_below(random, KEYS));
    snprintf(person, sizeof person, "person-%u", w->number);
    pg_params_init(&p);
    int code = ask(s, BEGIN, NULL, NULL);
    if (code == BRAID_OK) code = ask(s, BEGIN_WRITE, NULL, NULL);
    dawdle(random);
    if (code == BRAID_OK && item_too) {
        pg_bind_text(&p, id);
        code = ask(s, PUT_ITEM, &p, &r);
        if (code == BRAID_OK) {
            mine[n++] = lsn_at(r, 0);
            pg_bind_int8(&p, (int64_t)mine[0]);
            code = ask(s, NOTE, &p, NULL);
        }
        PQclear(r);
        r = NULL;
    }
    pg_params_reset(&p);
    pg_bind_int4(&p, 2);
    pg_bind_int4(&p, (int32_t)burst + 1);
    pg_bind_text(&p, person);
    if (code == BRAID_OK) code = ask(s, BURST, &p, &r);
    for (int i = 0; code == BRAID_OK && i < pg_rows(r); i++) mine[n++] = lsn_at(r, i);
    PQclear(r);
    pg_params_free(&p);
    dawdle(random);
    bool overtaken = code != BRAID_OK && pg_retriable(s), back = code != BRAID_OK || rng_below(random, 10) == 0;
    if (code != BRAID_OK && !overtaken) atomic_fetch_add(&w->s->failures, 1);
    if (ask(s, back ? ROLLBACK : COMMIT, NULL, NULL) != BRAID_OK) atomic_fetch_add(&w->s->failures, 1);
    w->rolled_back += back && !overtaken;
    for (size_t i = 0; !back && i < n; i++) keep(&w->committed, mine[i]);
    atomic_fetch_add(&w->s->rows, back ? 0 : n);
    return !overtaken;
}

static void *writer_main(void *ctx) {
    writer *w = ctx;
    pg_session *s = NULL;
    rng random;
    rng_seed(&random, 7000 + w->number);
    if (pg_open(&w->s->raw, 0, &s, NULL) != BRAID_OK) {
        atomic_fetch_add(&w->s->failures, 1);
        return NULL;
    }
    while (!atomic_load(&w->s->stop) && !pg_broken(s))
        if (!write_some(w, s, &random)) atomic_fetch_add(&w->s->overtaken, 1);
    pg_close(s);
    return NULL;
}

/* ---- the two consumers ---- */

static bool see_version(void *ctx, const record_item *row) {
    *(uint64_t *)ctx = row->version;
    return true;
}

/* A derived store in small: it fetches the present row of each key that the log names. */
static void mirror(scene *s, uint64_t versions[KEYS], const record_log_entry *e) {
    uint64_t version = 0;
    unsigned key = 0;
    if (sscanf(e->key, "key-%u", &key) != 1 || key >= KEYS ||
        record_get_item_num(s->store, e->num, see_version, &version, NULL) != BRAID_OK || version < e->lsn) {
        atomic_fetch_add(&s->stale, 1);
        return;
    }
    versions[key] = version;
}

static void *consumer_main(void *ctx) {
    scene *s = ctx;
    uint64_t after = s->start, last = s->start, versions[KEYS] = {0};
    arena *a = arena_new(65536);
    while (!atomic_load(&s->quiet)) {
        record_log_entry *rows = NULL;
        size_t n = 0;
        arena_reset(a);
        if (record_log_read(s->store, after, RECORD_MASK_ALL, BATCH, a, &rows, &n, &after, NULL) != BRAID_OK)
            atomic_fetch_add(&s->failures, 1);
        for (size_t i = 0; i < n; i++) {
            if (rows[i].lsn <= last || rows[i].lsn > after) atomic_fetch_add(&s->out_of_order, 1);
            last = rows[i].lsn;
            keep(&s->seen, last);
            if (rows[i].kind == RECORD_ITEM) mirror(s, versions, &rows[i]);
        }
        atomic_store(&s->reached, after);
        if (n < BATCH) record_log_wait(s->store, after, clock_mono_ns(&clock_system) + 20000000);
    }
    for (unsigned key = 0; key < KEYS; key++) {
        char id[32];
        uint64_t version = 0;
        snprintf(id, sizeof id, "key-%u", key);
        if (record_get_item(s->store, id, see_version, &version, NULL) == BRAID_OK && version == versions[key])
            atomic_fetch_add(&s->mirrored, 1);
    }
    arena_free(a);
    return NULL;
}

/* "What is above the highest number I have seen", as one would write it first. */
static void *naive_main(void *ctx) {
    scene *s = ctx;
    uint64_t after = s->start;
    pg_session *session = NULL;
    pg_params p;
    if (pg_open(&s->raw, 0, &session, NULL) != BRAID_OK) return NULL;
    pg_params_init(&p);
    while (!atomic_load(&s->quiet)) {
        PGresult *r = NULL;
        pg_params_reset(&p);
        pg_bind_int8(&p, (int64_t)after);
        if (ask(session, NAIVE, &p, &r) == BRAID_OK)
            for (int i = 0; i < pg_rows(r); i++) keep(&s->naive, after = lsn_at(r, i));
        PQclear(r);
        sleep_us(2000);
    }
    pg_params_free(&p);
    pg_close(session);
    return NULL;
}

/* ---- the scene ---- */

static int setup(void **state) {
    scene *s = calloc(1, sizeof *s);
    braid_error err = {0};
    *state = s;
    if (!postgres_there()) return 0;
    postgres_place_make(&s->place, NULL);
    s->raw = s->place.options;
    s->raw.statements = statements;
    s->raw.statement_count = STATEMENTS;
    s->measures = metrics_new();
    record_options o = postgres_record_options(&s->place);
    o.metrics = s->measures;
    check(record_open(record_find("postgres"), &o, &s->store, &err) == BRAID_OK, err.message);
    pg_session *raw = postgres_session(&s->place);
    postgres_run(raw, "CREATE TABLE turns (id text PRIMARY KEY, turn bigint NOT NULL);"
                      "CREATE TABLE history (id text NOT NULL, turn bigint NOT NULL, lsn bigint NOT NULL);");
    for (unsigned i = 0; i < KEYS; i++) {
        char id[32], sql[96];
        snprintf(id, sizeof id, "key-%u", i);
        snprintf(sql, sizeof sql, "INSERT INTO turns VALUES ('%s', 0)", id);
        postgres_run(raw, sql);
        check(put_item(s->store, id, id, NULL, NULL) == BRAID_OK, "no item");
    }
    for (unsigned i = 0; i <= WRITERS; i++) {
        char id[32];
        snprintf(id, sizeof id, "person-%u", i);
        check(put_user(s->store, id, id) == BRAID_OK, "no user");
    }
    s->start = (uint64_t)postgres_number(raw, "SELECT max(lsn) FROM log");
    pg_close(raw);
    return 0;
}

static int teardown(void **state) {
    scene *s = *state;
    record_close(s->store);
    if (postgres_there()) postgres_place_remove(&s->place);
    metrics_free(s->measures);
    free(s->seen.list);
    free(s->naive.list);
    free(s);
    return 0;
}

static double horizon_seconds(scene *s) {
    return metric_value(metrics_gauge(s->measures, "record_horizon_seconds", "", ""));
}

/* Seconds that the gauge rose to while something hung. */
static double watch_gauge(scene *s, int64_t ms) {
    double most = 0;
    for (int64_t until = now_ms() + ms; now_ms() < until; sleep_us(20000)) {
        double value = horizon_seconds(s);
        most = value > most ? value : most;
    }
    return most;
}

/* A writer that has its number and a row, and then hangs; beside it a transaction of another database. */
static void hang(scene *s, lsns *committed, double *by_writer, double *by_stranger) {
    pg_options stranger = s->raw;
    remote_options elsewhere = s->place.remote;
    pg_session *slow = NULL, *other = NULL;
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    pg_bind_int4(&p, 1);
    pg_bind_int4(&p, 1);
    pg_bind_text(&p, "person-8");
    assert_int_equal(pg_open(&s->raw, 0, &slow, NULL), BRAID_OK);
    assert_int_equal(ask(slow, BEGIN, NULL, NULL), BRAID_OK);
    assert_int_equal(ask(slow, BEGIN_WRITE, NULL, NULL), BRAID_OK);
    assert_int_equal(ask(slow, BURST, &p, &r), BRAID_OK);
    uint64_t late = lsn_at(r, 0);
    PQclear(r);
    *by_writer = watch_gauge(s, HANG_MS);
    assert_true(atomic_load(&s->reached) < late);
    assert_int_equal(ask(slow, COMMIT, NULL, NULL), BRAID_OK);
    keep(committed, late);
    pg_params_free(&p);
    pg_close(slow);
    elsewhere.database = "postgres";
    stranger.remote = &elsewhere;
    assert_int_equal(pg_open(&stranger, 0, &other, NULL), BRAID_OK);
    postgres_run(other, "BEGIN; SELECT pg_current_xact_id()");
    sleep_us(300000); /* what the first held back goes through */
    *by_stranger = watch_gauge(s, HANG_MS);
    postgres_run(other, "ROLLBACK");
    pg_close(other);
}

static void a_consumer_sees_every_committed_row_once_and_in_order(void **state) {
    scene *s = *state;
    writer writers[WRITERS] = {0};
    lsns committed = {0};
    pthread_t consumer, naive;
    double by_writer = 0, by_stranger = 0;
    size_t target = long_run() ? ROWS_LONG : ROWS;
    if (!postgres_there()) {
        print_message("BRAID_TEST_POSTGRES is not set\n");
        skip();
    }
    int64_t begun = now_ms(), until = begun + (long_run() ? RUN_MS_MAX_LONG : RUN_MS_MAX);
    assert_int_equal(pthread_create(&consumer, NULL, consumer_main, s), 0);
    assert_int_equal(pthread_create(&naive, NULL, naive_main, s), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (writer){.s = s, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]), 0);
    }
    sleep_us(HANG_AFTER_MS * 1000);
    hang(s, &committed, &by_writer, &by_stranger);
    while (atomic_load(&s->rows) < target && now_ms() < until) sleep_us(20000);
    atomic_store(&s->stop, true);
    unsigned rolled_back = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        rolled_back += writers[i].rolled_back;
        for (size_t k = 0; k < writers[i].committed.count; k++) keep(&committed, writers[i].committed.list[k]);
        free(writers[i].committed.list);
    }
    int64_t wrote = now_ms() - begun;
    uint64_t last = 0;
    for (size_t i = 0; i < committed.count; i++) last = committed.list[i] > last ? committed.list[i] : last;
    for (int64_t late = now_ms() + 30000; atomic_load(&s->reached) < last && now_ms() < late;) sleep_us(5000);
    int64_t recovered = now_ms() + 10000;
    while (horizon_seconds(s) > 0.5 && now_ms() < recovered) sleep_us(20000);
    double after = horizon_seconds(s);
    atomic_store(&s->quiet, true);
    record_log_wake(s->store);
    pthread_join(consumer, NULL);
    pthread_join(naive, NULL);

    size_t lost = missing(&committed, &s->seen), extra = missing(&s->seen, &committed),
           naive_lost = missing(&committed, &s->naive);
    print_message(
        "%zu rows in %.1f s (%.0f/s), %u transactions rolled back, %u overtaken; never seen: %zu, by the naive reader"
        " %zu (%.1f %%); seconds behind: %.1f for a writer that hangs, %.1f for another database, %.1f after\n",
        committed.count, (double)wrote / 1000, (double)committed.count * 1000 / (double)wrote, rolled_back,
        atomic_load(&s->overtaken), lost, naive_lost, 100.0 * (double)naive_lost / (double)committed.count, by_writer,
        by_stranger, after);
    assert_int_equal(atomic_load(&s->failures), 0);
    assert_true(committed.count >= target);
    assert_int_equal(lost, 0);
    assert_int_equal(extra, 0);
    assert_int_equal(s->seen.count, committed.count); /* each once */
    assert_int_equal(atomic_load(&s->out_of_order), 0);
    assert_true(naive_lost > 0); /* the canary */
    assert_true(rolled_back > 0);

    /* Per key: the order of numbers is the order of commits, and the mirror ends where the table does. */
    pg_session *raw = postgres_session(&s->place);
    assert_true(postgres_number(raw, "SELECT count(*) FROM history") > 1000);
    assert_int_equal(
        postgres_number(raw, "SELECT count(*) FROM (SELECT lsn - lag(lsn) OVER (PARTITION BY id ORDER BY turn) AS step"
                             " FROM history) h WHERE step <= 0"),
        0);
    pg_close(raw);
    assert_true(atomic_load(&s->overtaken) > 0);
    assert_int_equal(atomic_load(&s->stale), 0);
    assert_int_equal(atomic_load(&s->mirrored), KEYS);

    /* The gauge rose by about the time that it hung, and came down again. */
    assert_true(by_writer > 0.6 * HANG_MS / 1000 && by_stranger > 0.6 * HANG_MS / 1000);
    assert_true(after <= 0.5);
    free(committed.list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_consumer_sees_every_committed_row_once_and_in_order, setup, teardown)};
    return cmocka_run_group_tests_name("record: the change feed over PostgreSQL", tests, NULL, NULL);
}

#endif
