/* wire: pg. Against a server that is scripted (hangs, trickles, lies, answers too late) and, where
 * BRAID_TEST_POSTGRES names one, against the real one: deadlines, whose answer reaches whom, what errors mean,
 * values in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifndef BRAID_HAVE_POSTGRES
int main(void) {
    printf("wire: pg skipped: built without libpq\n");
    return 0;
}
#else

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <time.h>

#include "record_postgres_test.h"
#include "test/support/stub_server.h"
#include "test/support/timing.h"
#include "wire/pg_private.h"

/* ---- without any server ---- */

static void each_sqlstate_has_a_meaning(void **state) {
    (void)state;
    static const struct {
        const char *sqlstate;
        int code;
    } rows[] = {
        {"08006", BRAID_E_UNAVAILABLE}, {"57P01", BRAID_E_UNAVAILABLE}, {"57P03", BRAID_E_UNAVAILABLE},
        {"53300", BRAID_E_UNAVAILABLE}, {"53200", BRAID_E_UNAVAILABLE}, {"53100", BRAID_E_DISK_FULL},
        {"57014", BRAID_E_DEADLINE},    {"40001", BRAID_E_BUSY},        {"40P01", BRAID_E_BUSY},
        {"22021", BRAID_E_INVALID},     {"22P02", BRAID_E_INVALID},     {"23505", BRAID_E_CONFLICT},
        {"23503", BRAID_E_CONFLICT},    {"25006", BRAID_E_UNAVAILABLE}, {"25P03", BRAID_E_UNAVAILABLE},
        {"28P01", BRAID_E_UNAVAILABLE}, {"3D000", BRAID_E_UNAVAILABLE}, {"54000", BRAID_E_TOO_LARGE},
        {"55P03", BRAID_E_BUSY},        {"XX001", BRAID_E_CORRUPT},     {"42P01", BRAID_E_INTERNAL},
        {"42601", BRAID_E_INTERNAL},    {"ZZZZZ", BRAID_E_INTERNAL},    {"", BRAID_E_INTERNAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (pg_code(rows[i].sqlstate) != rows[i].code) fail_msg("%s: %d", rows[i].sqlstate, pg_code(rows[i].sqlstate));
}

static void only_plain_names_get_into_a_statement(void **state) {
    (void)state;
    char name[64], schema[64], longest[65];
    static const char *const bad[] = {"", "a b", "a\"b", "A", "1a", "a;b", "a-b", "é", "a.b", "a'b"};
    memset(longest, 'a', sizeof longest);
    longest[63] = '\0';
    assert_true(pg_name_valid("braid_1") && pg_name_valid("_") && pg_name_valid(longest));
    longest[63] = 'a';
    longest[64] = '\0';
    assert_false(pg_name_valid(longest));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(pg_name_valid(bad[i]));
    assert_true(pg_split_database("braid", name, schema));
    assert_string_equal(schema, "public");
    assert_true(pg_split_database("My Data/test_1", name, schema)); /* a database's name is a parameter, not text */
    assert_string_equal(name, "My Data");
    assert_string_equal(schema, "test_1");
    assert_false(pg_split_database("braid/x;y", name, schema));
    assert_false(pg_split_database("braid/", name, schema));
}

static void times_survive_the_way_there_and_back(void **state) {
    (void)state;
    static const int64_t times[] = {0, 1, -1, 946684800000, 1763740800123, -62135596800000, 253402300799999};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        assert_int_equal(pg_wall_ms(pg_time(times[i])), times[i]);
    assert_true(pg_time(INT64_MAX) > pg_time(0) && pg_time(INT64_MIN) < pg_time(0)); /* clamped, not wrapped */
}

/* ---- a scripted server ---- */

typedef enum mood { MUTE, TRICKLE, GARBAGE, CLOSES, WELL, LATE_ONCE, SILENT, SHORT_VALUE, BREAKS_OFF } mood;
typedef struct script {
    mood mood;
    atomic_uint asked;
} script;

static bool send_message(stub_conn *c, char type, const void *body, uint32_t len) {
    char head[5] = {type};
    pg_put32(head + 1, len + 4);
    return stub_write(c, head, 5) && (len == 0 || stub_write(c, body, len));
}

/* The start-up packet, or any message after it; its type in *type. */
static bool read_message(stub_conn *c, bool first, char *type) {
    char head[5] = {0}, body[4096];
    if (!stub_read(c, head, first ? 4 : 5)) return false;
    uint32_t len = pg_get32(first ? head : head + 1) - 4;
    *type = first ? 0 : head[0];
    return len <= sizeof body && stub_read(c, body, len);
}

/* One row, one int8 column: the value, of `len` bytes. */
static bool send_answer(stub_conn *c, uint64_t value, uint32_t len) {
    static const char columns[] = "\0\1v\0\0\0\0\0\0\0\0\0\0\24\0\10\377\377\377\377\0\1"; /* oid 20, 8 bytes, binary */
    char row[6 + 8] = {0, 1};
    pg_put32(row + 2, len);
    pg_put64(row + 6, value);
    return send_message(c, '1', NULL, 0) && send_message(c, '2', NULL, 0) &&
           send_message(c, 'T', columns, sizeof columns - 1) && send_message(c, 'D', row, 6 + len) &&
           send_message(c, 'C', "SELECT 1", 9) && send_message(c, 'Z', "I", 1);
}

static void serve(stub_conn *c) {
    script *s = c->ctx;
    char type;
    static const char ok[4] = {0};
    if (s->mood == CLOSES || !read_message(c, true, &type)) return;
    if (s->mood == MUTE)
        while (stub_sleep_ms(c, 50)) {}
    if (s->mood == TRICKLE) { /* a long message, a byte at a time: always something to read, never an end */
        char head[5] = {'E'};
        pg_put32(head + 1, 20000);
        for (bool go_on = stub_write(c, head, 5); go_on;) go_on = stub_write(c, "x", 1) && stub_sleep_ms(c, 10);
    }
    if (s->mood == GARBAGE) {
        stub_write(c, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
        return;
    }
    if (!send_message(c, 'R', ok, 4) || !send_message(c, 'Z', "I", 1)) return;
    while (read_message(c, false, &type)) {
        if (type != 'S') continue;
        unsigned number = atomic_fetch_add(&s->asked, 1) + 1;
        if (s->mood == SILENT) continue;
        if (s->mood == LATE_ONCE && number == 1 && !stub_sleep_ms(c, 300)) return;
        if (s->mood == BREAKS_OFF) {
            send_message(c, '1', NULL, 0);
            return;
        }
        if (!send_answer(c, number, s->mood == SHORT_VALUE ? 3 : 8)) return;
    }
}

typedef struct stage {
    script script;
    stub_server *server;
    remote_options remote;
    pg_options options;
} stage;

static stage *begin(mood m) {
    static stage s;
    memset(&s, 0, sizeof s);
    s.script.mood = m;
    s.server = stub_start(serve, &s.script, NULL);
    assert_non_null(s.server);
    s.remote = (remote_options){
        .address = stub_address(s.server), .database = "x", .user = "u", .password = "s3cret", .timeout_ms = LONG_MS};
    s.options = (pg_options){.store = "test", .remote = &s.remote};
    return &s;
}

static int ask(pg_session *c, deadline until, int64_t *value, braid_error *err) {
    PGresult *r = NULL;
    pg_params none;
    pg_params_init(&none);
    int code = pg_exec(c, "SELECT v", "", &none, until, "asking", &r, err);
    pg_row row = {.r = r};
    if (code == BRAID_OK) *value = pg_int8(&row, 0);
    if (row.bad) code = BRAID_E_CORRUPT;
    PQclear(r);
    return code;
}

static void connecting_ends_at_its_deadline_whatever_the_server_does(void **state) {
    (void)state;
    static const struct {
        mood mood;
        int code;
    } rows[] = {{MUTE, BRAID_E_DEADLINE},
                {TRICKLE, BRAID_E_DEADLINE},
                {GARBAGE, BRAID_E_UNAVAILABLE},
                {CLOSES, BRAID_E_UNAVAILABLE}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        stage *s = begin(rows[i].mood);
        pg_session *c = NULL;
        braid_error err = {0};
        int64_t begun = now_ms();
        assert_int_equal(pg_open(&s->options, in_ms(rows[i].code == BRAID_E_DEADLINE ? 200 : LONG_MS), &c, &err),
                         rows[i].code);
        assert_null(c);
        assert_true(now_ms() - begun < SOON_MS);
        assert_non_null(strstr(err.message, s->remote.address));
        assert_null(strstr(err.message, "s3cret"));
        stub_stop(s->server);
    }
}

static void a_question_ends_at_its_deadline_and_spoils_its_session(void **state) {
    (void)state;
    stage *s = begin(SILENT);
    pg_session *c = NULL;
    int64_t value = 0, begun = now_ms();
    assert_int_equal(pg_open(&s->options, in_ms(LONG_MS), &c, NULL), BRAID_OK);
    begun = now_ms();
    assert_int_equal(ask(c, in_ms(100), &value, NULL), BRAID_E_DEADLINE);
    assert_true(now_ms() - begun < SOON_MS);
    assert_true(pg_broken(c) && !pg_idle(c));
    pg_close(c);
    stub_stop(s->server);
}

static void a_deadline_that_has_passed_asks_nothing(void **state) {
    (void)state;
    stage *s = begin(WELL);
    pg_session *c = NULL;
    int64_t value = 0;
    assert_int_equal(pg_open(&s->options, in_ms(LONG_MS), &c, NULL), BRAID_OK);
    assert_int_equal(ask(c, in_ms(-1), &value, NULL), BRAID_E_DEADLINE);
    pg_close(c);
    assert_int_equal(pg_open(&s->options, in_ms(-1), &c, NULL), BRAID_E_DEADLINE);
    stub_stop(s->server);
}

/* R14: the first answer comes when its caller has gone; who asks next must not get it. */
static void a_late_answer_reaches_nobody_else(void **state) {
    (void)state;
    stage *s = begin(LATE_ONCE);
    conn_pool *lender = NULL;
    int64_t value = 0;
    assert_int_equal(conn_pool_new(&pg_pool_ops, &s->options,
                                   &(conn_pool_options){.name = "pg", .max = 1, .clock = &clock_system}, &lender, NULL),
                     BRAID_OK);
    for (int i = 1; i <= 3; i++) {
        void *c = NULL;
        assert_int_equal(conn_pool_take(lender, in_ms(LONG_MS), &c, NULL), BRAID_OK);
        int code = ask(c, in_ms(i == 1 ? 100 : LONG_MS), &value, NULL);
        assert_int_equal(code, i == 1 ? BRAID_E_DEADLINE : BRAID_OK);
        if (i > 1) assert_int_equal(value, i); /* its own, not 1 */
        conn_pool_give(lender, c, pg_idle(c));
    }
    assert_int_equal(stub_connections(s->server), 2);
    conn_pool_free(lender);
    stub_stop(s->server);
}

static void a_value_of_another_size_is_not_believed(void **state) {
    (void)state;
    stage *s = begin(SHORT_VALUE);
    pg_session *c = NULL;
    int64_t value = 0;
    assert_int_equal(pg_open(&s->options, in_ms(LONG_MS), &c, NULL), BRAID_OK);
    assert_int_equal(ask(c, in_ms(LONG_MS), &value, NULL), BRAID_E_CORRUPT);
    pg_close(c);
    stub_stop(s->server);
}

static void a_connection_that_breaks_off_is_an_error_and_never_lent_again(void **state) {
    (void)state;
    stage *s = begin(BREAKS_OFF);
    pg_session *c = NULL;
    braid_error err = {0};
    int64_t value = 0;
    assert_int_equal(pg_open(&s->options, in_ms(LONG_MS), &c, NULL), BRAID_OK);
    assert_int_equal(ask(c, in_ms(LONG_MS), &value, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, s->remote.address));
    assert_false(pg_idle(c));
    pg_close(c);
    stub_stop(s->server);
}

/* ---- the real one ---- */

enum { ECHO, RAISE, NAP, ONE, BROKEN, ARRAYS, STATEMENTS };
static const pg_statement statements[STATEMENTS] = {
    [ECHO] = {"bhilfdtyxzj", "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11"},
    [RAISE] = {"t", "SELECT pg_temp.fail($1)"},
    [NAP] = {"d", "SELECT pg_sleep($1)"},
    [ONE] = {"l", "SELECT $1"},
    [BROKEN] = {"", "SELECT nothing FROM nowhere"},
    [ARRAYS] = {"LDTY", "SELECT $1, $2, $3, $4"},
};
typedef struct real {
    postgres_place place;
    pg_options options;
    pg_session *s;
} real;

static int arrive(void **state) {
    real *x = calloc(1, sizeof *x);
    *state = x;
    if (!postgres_there()) return 0;
    postgres_place_make(&x->place, NULL);
    x->options = x->place.options;
    x->options.statements = statements;
    x->options.statement_count = STATEMENTS;
    postgres_must(pg_open(&x->options, 0, &x->s, NULL) == BRAID_OK, "not connected");
    postgres_run(x->s, "CREATE FUNCTION pg_temp.fail(state text) RETURNS bigint LANGUAGE plpgsql AS"
                       " $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = state; END $$");
    return 0;
}

static int leave(void **state) {
    real *x = *state;
    pg_close(x->s);
    free(x);
    return 0;
}

static real *there(void **state) {
    if (!postgres_there()) {
        print_message("BRAID_TEST_POSTGRES is not set\n");
        skip();
    }
    return *state;
}

static int64_t one(real *x, int64_t value) {
    PGresult *r = NULL;
    pg_params p;
    pg_params_init(&p);
    pg_bind_int8(&p, value);
    if (pg_run(x->s, ONE, &p, in_ms(LONG_MS), "asking", &r, NULL) != BRAID_OK) return -1;
    pg_row row = {.r = r};
    int64_t got = pg_int8(&row, 0);
    PQclear(r);
    pg_params_free(&p);
    return got;
}

static void every_type_comes_back_as_it_went(void **state) {
    real *x = there(state);
    static const char bytes[] = "\0\1\377'\\";
    pg_params p;
    PGresult *r = NULL;
    size_t len = 0;
    pg_params_init(&p);
    pg_bind_bool(&p, true);
    pg_bind_int2(&p, INT16_MIN);
    pg_bind_int4(&p, INT32_MIN);
    pg_bind_int8(&p, INT64_MIN);
    pg_bind_float(&p, FLT_TRUE_MIN);
    pg_bind_double(&p, -DBL_MAX);
    pg_bind_text(&p, "é'\"\\ $1");
    pg_bind_bytes(&p, bytes, 5);
    pg_bind_int8(&p, INT64_C(1) << 40);
    pg_bind_int8(&p, pg_time(1763740800123));
    pg_bind_json(&p, "{\"a\": [1, \"x\"]}", 15);
    assert_int_equal(pg_run(x->s, ECHO, &p, 0, "echo", &r, NULL), BRAID_OK);
    pg_row row = {.r = r};
    assert_true(pg_bool(&row, 0));
    assert_int_equal(pg_int2(&row, 1), INT16_MIN);
    assert_int_equal(pg_int4(&row, 2), INT32_MIN);
    assert_true(pg_int8(&row, 3) == INT64_MIN);
    assert_true(pg_float(&row, 4) == FLT_TRUE_MIN);
    assert_true(pg_double(&row, 5) == -DBL_MAX);
    assert_string_equal(pg_text(&row, 6, NULL), "é'\"\\ $1");
    assert_memory_equal(pg_bytes(&row, 7, &len), bytes, 5);
    assert_int_equal(len, 5);
    assert_true(pg_int8(&row, 8) == INT64_C(1) << 40);
    assert_true(pg_wall_ms(pg_int8(&row, 9)) == 1763740800123);
    assert_string_equal(pg_json(&row, 10, &len), "{\"a\": [1, \"x\"]}");
    assert_false(row.bad);
    pg_int8(&row, 0); /* a bool is no int8 */
    assert_true(row.bad);
    PQclear(r);
    pg_params_free(&p);
}

static void arrays_are_read_element_by_element_and_no_further(void **state) {
    real *x = there(state);
    pg_params p;
    PGresult *r = NULL;
    pg_elements e;
    size_t len = 0;
    pg_params_init(&p);
    pg_array_begin(&p, 'l', 2);
    pg_add_int8(&p, 7);
    pg_add_int8(&p, -7);
    pg_array_end(&p);
    pg_array_begin(&p, 'd', 0);
    pg_array_end(&p);
    pg_array_begin(&p, 't', 2);
    pg_add_text(&p, "{,}");
    pg_add_text(&p, "");
    pg_array_end(&p);
    pg_bind_null(&p);
    assert_int_equal(pg_run(x->s, ARRAYS, &p, 0, "echo", &r, NULL), BRAID_OK);
    pg_row row = {.r = r};
    assert_int_equal(pg_elements_open(&e, &row, 0, 'l'), 2);
    assert_int_equal(pg_element_int8(&e), 7);
    assert_int_equal(pg_element_int8(&e), -7);
    assert_int_equal(pg_elements_open(&e, &row, 1, 'd'), 0);
    assert_int_equal(pg_elements_open(&e, &row, 2, 't'), 2);
    assert_memory_equal(pg_element_text(&e, &len), "{,}", 3);
    assert_int_equal(pg_elements_open(&e, &row, 3, 'y'), 0);
    assert_false(row.bad);
    pg_elements_open(&e, &row, 1, 'd');
    pg_element_double(&e); /* there is none */
    assert_true(row.bad);
    PQclear(r);
    pg_params_free(&p);
}

static void an_error_says_its_state_and_whether_the_session_goes_on(void **state) {
    static const struct {
        const char *sqlstate;
        int code;
        bool retriable, broken;
    } rows[] = {{"22012", BRAID_E_INVALID, false, false},    {"40001", BRAID_E_BUSY, true, false},
                {"40P01", BRAID_E_BUSY, true, false},        {"57014", BRAID_E_DEADLINE, false, false},
                {"57P01", BRAID_E_UNAVAILABLE, false, true}, {"25006", BRAID_E_UNAVAILABLE, false, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        real *x = there(state);
        pg_params p;
        braid_error err = {0};
        pg_params_init(&p);
        pg_bind_text(&p, rows[i].sqlstate);
        assert_int_equal(pg_run(x->s, RAISE, &p, 0, "trying", NULL, &err), rows[i].code);
        assert_string_equal(pg_sqlstate(x->s), rows[i].sqlstate);
        assert_true(strstr(err.message, "trying: as asked") == err.message);
        assert_true(pg_retriable(x->s) == rows[i].retriable && pg_broken(x->s) == rows[i].broken);
        if (!rows[i].broken) assert_int_equal(one(x, 5), 5);
        pg_params_free(&p);
        if (rows[i].broken) {
            leave(state);
            arrive(state);
        }
    }
}

static void what_was_asked_too_long_ends_in_the_server_too(void **state) {
    real *x = there(state);
    pg_params p;
    pg_session *watch = postgres_session(&x->place);
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE pid = %d", PQbackendPID(pg_raw(x->s)));
    pg_params_init(&p);
    pg_bind_double(&p, 30);
    int64_t begun = now_ms();
    assert_int_equal(pg_run(x->s, NAP, &p, in_ms(100), "sleeping", NULL, NULL), BRAID_E_DEADLINE);
    assert_true(now_ms() - begun < SOON_MS);
    assert_int_equal(postgres_number(watch, sql), 1);
    pg_close(x->s);
    x->s = NULL;
    assert_true(COMES_TRUE(postgres_number(watch, sql) == 0));
    pg_close(watch);
    pg_params_free(&p);
}

static void a_pipeline_stops_at_an_error_and_the_session_goes_on(void **state) {
    real *x = there(state);
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    pg_bind_int8(&p, 3);
    assert_int_equal(pg_pipeline_begin(x->s, NULL), BRAID_OK);
    assert_int_equal(pg_pipeline_add(x->s, ONE, &p, NULL), BRAID_OK);
    assert_int_equal(pg_pipeline_add(x->s, BROKEN, NULL, NULL), BRAID_OK);
    assert_int_equal(pg_pipeline_add(x->s, ONE, &p, NULL), BRAID_OK);
    assert_int_equal(pg_pipeline_sync(x->s, in_ms(LONG_MS), NULL), BRAID_OK);
    assert_int_equal(pg_pipeline_next(x->s, in_ms(LONG_MS), "one", &r, NULL), BRAID_OK);
    pg_row row = {.r = r};
    assert_int_equal(pg_int8(&row, 0), 3);
    PQclear(r);
    assert_int_equal(pg_pipeline_next(x->s, in_ms(LONG_MS), "broken", &r, NULL), BRAID_E_INTERNAL);
    assert_string_equal(pg_sqlstate(x->s), "42P01");
    assert_int_equal(pg_pipeline_next(x->s, in_ms(LONG_MS), "skipped", &r, NULL), PG_SKIPPED);
    assert_int_equal(pg_pipeline_end(x->s, in_ms(LONG_MS), NULL), BRAID_OK);
    assert_true(pg_idle(x->s));
    assert_int_equal(one(x, 9), 9);
    pg_params_free(&p);
}

static void a_pipeline_with_answers_still_to_come_is_not_lent(void **state) {
    real *x = there(state);
    pg_params p;
    pg_params_init(&p);
    pg_bind_double(&p, 30);
    assert_int_equal(pg_pipeline_begin(x->s, NULL), BRAID_OK);
    assert_int_equal(pg_pipeline_add(x->s, NAP, &p, NULL), BRAID_OK);
    assert_int_equal(pg_pipeline_sync(x->s, in_ms(LONG_MS), NULL), BRAID_OK);
    assert_false(pg_idle(x->s));
    assert_int_equal(pg_pipeline_next(x->s, in_ms(50), "sleeping", NULL, NULL), BRAID_E_DEADLINE);
    assert_int_not_equal(pg_pipeline_end(x->s, in_ms(50), NULL), BRAID_OK);
    assert_false(pg_idle(x->s));
    pg_params_free(&p);
}

static void an_open_transaction_is_not_lent(void **state) {
    real *x = there(state);
    postgres_run(x->s, "BEGIN");
    assert_false(pg_idle(x->s));
    postgres_run(x->s, "ROLLBACK");
    assert_true(pg_idle(x->s));
}

static void copied_rows_are_counted_and_an_abandoned_copy_leaves_nothing(void **state) {
    real *x = there(state);
    pg_copy k;
    uint64_t rows = 0;
    postgres_run(x->s, "CREATE TEMP TABLE copied (n integer, t text, y bytea)");
    assert_int_equal(pg_copy_begin(&k, x->s, "COPY copied FROM STDIN (FORMAT binary)", in_ms(LONG_MS), NULL), BRAID_OK);
    for (int i = 0; i < 20000; i++) { /* more than a part of the buffer */
        pg_copy_row(&k, 3);
        pg_copy_int4(&k, i);
        pg_copy_text(&k, i % 2 ? NULL : "text");
        pg_copy_bytes(&k, "\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16", 15);
        assert_int_equal(pg_copy_push(&k, NULL), BRAID_OK);
    }
    assert_int_equal(pg_copy_end(&k, &rows, NULL), BRAID_OK);
    assert_int_equal(rows, 20000);
    assert_int_equal(postgres_number(x->s, "SELECT sum(n)::bigint + count(t) FROM copied WHERE octet_length(y) = 15"),
                     199990000 + 10000);
    assert_int_equal(pg_copy_begin(&k, x->s, "COPY copied FROM STDIN (FORMAT binary)", in_ms(LONG_MS), NULL), BRAID_OK);
    pg_copy_row(&k, 3);
    pg_copy_abandon(&k);
    assert_false(pg_idle(x->s));
}

int main(void) {
#define REAL(f) cmocka_unit_test_setup_teardown(f, arrive, leave)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sqlstate_has_a_meaning),
        cmocka_unit_test(only_plain_names_get_into_a_statement),
        cmocka_unit_test(times_survive_the_way_there_and_back),
        cmocka_unit_test(connecting_ends_at_its_deadline_whatever_the_server_does),
        cmocka_unit_test(a_question_ends_at_its_deadline_and_spoils_its_session),
        cmocka_unit_test(a_deadline_that_has_passed_asks_nothing),
        cmocka_unit_test(a_late_answer_reaches_nobody_else),
        cmocka_unit_test(a_value_of_another_size_is_not_believed),
        cmocka_unit_test(a_connection_that_breaks_off_is_an_error_and_never_lent_again),
        REAL(every_type_comes_back_as_it_went),
        REAL(arrays_are_read_element_by_element_and_no_further),
        REAL(an_error_says_its_state_and_whether_the_session_goes_on),
        REAL(what_was_asked_too_long_ends_in_the_server_too),
        REAL(a_pipeline_stops_at_an_error_and_the_session_goes_on),
        REAL(a_pipeline_with_answers_still_to_come_is_not_lent),
        REAL(an_open_transaction_is_not_lent),
        REAL(copied_rows_are_counted_and_an_abandoned_copy_leaves_nothing),
    };
    return cmocka_run_group_tests_name("wire: PostgreSQL", tests, NULL, NULL);
}

#endif
