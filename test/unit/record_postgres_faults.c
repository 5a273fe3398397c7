/* PostgreSQL as the record store on bad days: connections that are cut in the middle of a commit, a network that is
 * slow, silent or gone, a server that is down (one that crashes is in record_postgres_crash.c). Needs a server (see
 * record_postgres_test.h), and Toxiproxy (BRAID_TEST_TOXIPROXY) where the network is to blame. The tests work in a
 * database of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifndef BRAID_HAVE_POSTGRES
int main(void) {
    printf("record: postgres faults skipped: built without libpq\n");
    return 0;
}
#else

#include "record_postgres_test.h"
#include "record_postgres_load.h"
#include "test/support/toxiproxy.h"

enum { LATE_MS = 50, LATE_MS_MAX = 500 /* a machine under load */, USERS = 64 };

typedef struct scene {
    postgres_place place;
    remote_options proxied;
    toxiproxy proxy;
    record_store *store;
    metrics *measures;
    pg_session *raw; /* not through the proxy */
} scene;

static bool possible(void) {
    return postgres_there() && toxiproxy_there();
}

static void open_through_proxy(scene *s, unsigned timeout_ms) {
    braid_error err = {0};
    s->proxied = s->place.remote;
    s->proxied.address = s->proxy.address;
    s->proxied.timeout_ms = timeout_ms;
    record_options o = {.remote = &s->proxied, .dim = 4, .create = true, .metrics = s->measures};
    int code = BRAID_E_DEADLINE;
    for (int64_t until = now_ms() + 20000; code == BRAID_E_DEADLINE && now_ms() < until;) { /* a machine under load */
        err = (braid_error){0};
        code = record_open(record_find("postgres"), &o, &s->store, &err);
    }
    check(code == BRAID_OK, err.message);
}

static int setup(void **state) {
    scene *s = calloc(1, sizeof *s);
    *state = s;
    given_lsns.count = 0;
    if (!possible()) return 0;
    postgres_place_make(&s->place, NULL);
    check(toxiproxy_create(&s->proxy, "record-postgres", s->place.remote.address), "no proxy");
    s->measures = metrics_new();
    open_through_proxy(s, 10000);
    s->raw = postgres_session(&s->place);
    check(put_item(s->store, "film", "Film", NULL, NULL) == BRAID_OK, "no item");
    return 0;
}

static int teardown(void **state) {
    scene *s = *state;
    if (possible()) toxiproxy_heal(&s->proxy);
    record_close(s->store);
    pg_close(s->raw);
    if (possible()) {
        toxiproxy_delete(&s->proxy);
        postgres_place_remove(&s->place);
    }
    metrics_free(s->measures);
    free(s);
    return 0;
}

static scene *there(void **state) {
    if (!possible()) {
        print_message("BRAID_TEST_POSTGRES or BRAID_TEST_TOXIPROXY is not set\n");
        skip();
    }
    return *state;
}

/* ---- the ambiguous commit ---- */

/* What the server does at each commit of an interaction. */
static void at_commit(scene *s, const char *doing) {
    char sql[512];
    snprintf(sql, sizeof sql,
             "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM %s; RETURN NULL; END $$;"
             "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON interactions DEFERRABLE INITIALLY DEFERRED"
             " FOR EACH ROW EXECUTE FUNCTION at_commit()",
             doing);
    postgres_run(s->raw, sql);
}

static void end_sessions(scene *s) {
    postgres_number(s->raw,
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND application_name = 'braid'");
}

static double unsure(scene *s) {
    return metric_value(metrics_counter(s->measures, "record_unsure_total", "", ""));
}

static void what_was_acknowledged_is_there_once_whatever_is_cut(void **state) {
    scene *s = there(state);
    static load l;
    pthread_t threads[8];
    rng random;
    uint64_t seed = (uint64_t)clock_mono_ns(&clock_system);
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&random, seed);
    memset(&l, 0, sizeof l);
    l.store = s->store;
    at_commit(s, "pg_sleep(random() * 0.1)");
    for (size_t i = 0; i < 8; i++) assert_int_equal(pthread_create(&threads[i], NULL, load_main, &l), 0);
    int64_t begun = now_ms();
    for (bool enough = false; !enough && now_ms() - begun < 30000;) {
        enough = now_ms() - begun > 5000 && unsure(s) > 0 && atomic_load(&l.done) > 10;
        sleep_ms(100 + (int64_t)rng_below(&random, 200));
        if (rng_below(&random, 2) == 0) {
            end_sessions(s);
        } else {
            assert_true(toxiproxy_enable(&s->proxy, false));
            sleep_ms((int64_t)rng_below(&random, 30));
            assert_true(toxiproxy_enable(&s->proxy, true));
        }
    }
    atomic_store(&l.stop, true);
    for (size_t i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    assert_true(honest(&l, s->raw));
    assert_true(atomic_load(&l.done) > 10);
    assert_true(unsure(s) > 0); /* else nothing was tried */
}

typedef struct one {
    record_store *s;
    int code;
    braid_error err;
    pthread_t thread;
} one;
static void *write_it(void *ctx) {
    one *o = ctx;
    interaction in = plain_interaction("ana", "film");
    in.at = 1;
    record_change c = {.kind = RECORD_INTERACTION, .interaction = &in};
    o->code = record_write(o->s, &c, 1, (record_write_flags){0}, &o->err);
    return NULL;
}

/* A write is cut from its server in the middle of its COMMIT, which waits for a lock that the test holds: until the
 * proxy has been closed for closed_ms, and held_ms more. closed_ms 0: until the write was answered. */
static one cut_within_commit(scene *s, int64_t closed_ms, int64_t held_ms) {
    static const char waiting[] =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 8888 AND NOT granted";
    one o = {.s = s->store};
    at_commit(s, "pg_advisory_xact_lock_shared(8888)");
    postgres_run(s->raw, "SELECT pg_advisory_lock(8888)");
    assert_int_equal(pthread_create(&o.thread, NULL, write_it, &o), 0);
    for (int64_t until = now_ms() + 10000; postgres_number(s->raw, waiting) == 0 && now_ms() < until;) sleep_ms(2);
    assert_int_equal(postgres_number(s->raw, waiting), 1);
    assert_true(toxiproxy_enable(&s->proxy, false));
    if (closed_ms == 0) pthread_join(o.thread, NULL);
    sleep_ms(closed_ms);
    assert_true(toxiproxy_enable(&s->proxy, true));
    sleep_ms(held_ms);
    postgres_run(s->raw, "SELECT pg_advisory_unlock(8888)");
    if (closed_ms != 0) pthread_join(o.thread, NULL);
    return o;
}

static void a_commit_whose_answer_was_lost_is_asked_for(void **state) {
    scene *s = there(state);
    assert_int_equal(cut_within_commit(s, 10, 0).code, BRAID_OK); /* it goes on before it notices that we are gone */
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM interactions"), 1);
    assert_true(unsure(s) == 1);
}

static void a_commit_that_did_not_happen_is_written_again(void **state) {
    scene *s = there(state);
    assert_int_equal(cut_within_commit(s, 10, 1500).code, BRAID_OK); /* after 500 ms it notices, and rolls back */
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM interactions"), 1);
    assert_true(unsure(s) == 1);
}

static void a_commit_of_which_nobody_knows_is_said_to_be_unsure(void **state) {
    scene *s = there(state);
    record_close(s->store);
    open_through_proxy(s, 1500);
    for (int i = 0; i < 4; i++) /* both writers are connected */
        assert_int_equal(put_item(s->store, "film", "again", NULL, NULL), BRAID_OK);
    int64_t begun = now_ms();
    one o = cut_within_commit(s, 0, 0);
    assert_int_equal(o.code, BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(o.err.message, "may be there"));
    assert_true(now_ms() - begun < 2 * 1500 + LATE_MS_MAX);
    int code = BRAID_E_UNAVAILABLE;
    for (int64_t until = now_ms() + 5000; code != BRAID_OK && now_ms() < until; sleep_ms(20))
        code = put_item(s->store, "film", "again", NULL, NULL);
    assert_int_equal(code, BRAID_OK);
}

/* ---- deadlines ---- */

static bool see_nothing(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    (void)ctx, (void)id, (void)body, (void)len, (void)version;
    return true;
}

/* Milliseconds by which the answer came after the deadline; at most 0 when it was in time. */
static int64_t late_by(scene *s, int64_t allowed_ms, int *code) {
    deadline until = in_ms(allowed_ms);
    *code = record_get_user(s->store, "ana", until, see_nothing, NULL, NULL);
    return (clock_mono_ns(&clock_system) - until) / 1000000;
}

static void no_fault_of_the_network_delays_an_answer(void **state) {
    scene *s = there(state);
    unsigned late = 0, asked = 0;
    assert_int_equal(put_user(s->store, "ana", "Ana"), BRAID_OK);
    for (size_t i = 0; i < TOXIPROXY_FAULTS; i++) {
        const toxiproxy_fault *fault = toxiproxy_fault_at(i);
        int code = BRAID_OK, failed = 0;
        assert_true(toxiproxy_inflict(&s->proxy, fault));
        for (int k = 0; k < 3; k++) {
            int64_t ms = late_by(s, 120, &code);
            if (ms > LATE_MS_MAX) fail_msg("%s: answered %lld ms after the deadline", fault->name, (long long)ms);
            late += ms > LATE_MS;
            asked++;
            failed += code != BRAID_OK;
            if (code != BRAID_OK && code != BRAID_E_DEADLINE && code != BRAID_E_UNAVAILABLE)
                fail_msg("%s: code %d", fault->name, code);
        }
        if (failed == 0 && fault->type != NULL && strcmp(fault->type, "latency") == 0)
            fail_msg("%s: was not felt", fault->name);
        assert_true(toxiproxy_heal(&s->proxy));
        code = BRAID_E_DEADLINE;
        for (int64_t until = now_ms() + 5000; code != BRAID_OK && now_ms() < until;) late_by(s, 1000, &code);
        if (code != BRAID_OK) fail_msg("%s: did not recover", fault->name);
    }
    assert_true(late * 10 <= asked); /* the machine's own hiccups */
}

static void a_write_through_a_dead_network_ends_in_time(void **state) {
    scene *s = there(state);
    record_close(s->store);
    open_through_proxy(s, 400);
    assert_true(toxiproxy_toxic(&s->proxy, "latency", false, 1.0, "\"latency\":3000"));
    int64_t begun = now_ms();
    int code = put_item(s->store, "other", "Other", NULL, NULL);
    assert_true(code == BRAID_E_DEADLINE || code == BRAID_E_UNAVAILABLE);
    assert_true(now_ms() - begun < 2 * 400 + LATE_MS_MAX);
    assert_true(toxiproxy_heal(&s->proxy));
}

/* ---- no answer reaches another question (R14) ---- */

typedef struct asker {
    scene *s;
    rng random;
    atomic_uint *right, *wrong, *late;
    pthread_t thread;
} asker;

static bool see_owner(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    const char **want = ctx;
    (void)len, (void)version;
    if (strcmp(id, *want) != 0 || strstr(body, *want) == NULL) *want = NULL;
    return true;
}

static void *ask_on(void *ctx) {
    asker *a = ctx;
    for (int i = 0; i < 80; i++) {
        char id[32];
        snprintf(id, sizeof id, "user-%03u", (unsigned)rng_below(&a->random, USERS));
        const char *want = id;
        int code = record_get_user(a->s->store, id, in_ms(5 + (int64_t)rng_below(&a->random, i % 4 == 0 ? 400 : 80)),
                                   see_owner, (void *)&want, NULL);
        atomic_fetch_add(code != BRAID_OK ? a->late : want == NULL ? a->wrong : a->right, 1);
    }
    return NULL;
}

/* Canary: without the breaker each of them waits for the time-out. */
static void writes_during_an_outage_fail_fast_but_for_the_first_two_and_go_on_when_it_ends(void **state) {
    scene *s = there(state);
    enum { TIMEOUT_MS = 700, WRITES = 12 };
    char id[16];
    record_close(s->store);
    open_through_proxy(s, TIMEOUT_MS);
    check(put_item(s->store, "before", "Before", NULL, NULL) == BRAID_OK, "no item");
    check(toxiproxy_toxic(&s->proxy, "timeout", false, 1.0, "\"timeout\":0"), "no toxic");
    int slow = 0;
    int64_t begun = now_ms();
    for (int i = 0; i < WRITES; i++) {
        int64_t at = now_ms();
        snprintf(id, sizeof id, "out%d", i);
        int code = put_item(s->store, id, "Out", NULL, NULL);
        check(code != BRAID_OK, "acknowledged");
        slow += now_ms() - at > LATE_MS;
    }
    print_message("%d writes, %d of them slow, %lld ms in all\n", WRITES, slow, (long long)(now_ms() - begun));
    assert_in_range(slow, 1, 3); /* the two that open it; a machine under load may come to a probe */
    check(toxiproxy_heal(&s->proxy), "not healed");
    int64_t healed = now_ms();
    while (put_item(s->store, "after", "After", NULL, NULL) != BRAID_OK && now_ms() - healed < 10000) {}
    print_message("written again %lld ms after it ended\n", (long long)(now_ms() - healed));
    assert_true(now_ms() - healed < 4000);
}

static void an_answer_that_comes_late_reaches_nobody_else(void **state) {
    scene *s = there(state);
    asker askers[8];
    atomic_uint right = 0, wrong = 0, late = 0;
    for (unsigned i = 0; i < USERS; i++) {
        char id[32];
        snprintf(id, sizeof id, "user-%03u", i);
        assert_int_equal(put_user(s->store, id, id), BRAID_OK);
    }
    assert_true(toxiproxy_toxic(&s->proxy, "latency", false, 1.0, "\"latency\":12,\"jitter\":10"));
    for (unsigned i = 0; i < 8; i++) {
        askers[i] = (asker){.s = s, .right = &right, .wrong = &wrong, .late = &late};
        rng_seed(&askers[i].random, 99 + i);
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_on, &askers[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) pthread_join(askers[i].thread, NULL);
    print_message("%u right, %u late, %u wrong\n", atomic_load(&right), atomic_load(&late), atomic_load(&wrong));
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(atomic_load(&right) > 0 && atomic_load(&late) > 20);
}

/* ---- servers that are not there ---- */

static int open_fails(const remote_options *remote, braid_error *err) {
    record_store *store = NULL;
    record_options o = {.remote = remote, .dim = 4, .create = true};
    int code = record_open(record_find("postgres"), &o, &store, err);
    assert_null(store);
    return code;
}

static void a_server_that_is_not_there_is_named_and_no_secret_told(void **state) {
    (void)state;
    char address[32];
    braid_error err = {0};
    free_port(address);
    remote_options remote = {
        .address = address, .database = "braid", .user = "braid", .password = "s3cret-word", .timeout_ms = 2000};
    assert_int_equal(open_fails(&remote, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, address));
    assert_non_null(strstr(err.message, "PostgreSQL"));
    assert_null(strstr(err.message, "s3cret"));
    remote.address = "nonsense";
    assert_int_equal(open_fails(&remote, &err), BRAID_E_INVALID);
    remote.address = address;
    remote.database = "braid/Robert'); DROP TABLE";
    assert_int_equal(open_fails(&remote, &err), BRAID_E_INVALID);
}

static void a_server_that_does_not_let_us_in_says_so(void **state) {
    scene *s = there(state);
    braid_error err = {0};
    remote_options remote = s->place.remote;
    remote.password = "wr0ng-word";
    assert_int_equal(open_fails(&remote, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "password"));
    assert_null(strstr(err.message, "wr0ng"));
    remote = s->place.remote;
    err = (braid_error){0}; /* the first error is kept */
    remote.database = "there_is_no_such_database";
    assert_int_equal(open_fails(&remote, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "there_is_no_such_database"));
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
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_acknowledged_is_there_once_whatever_is_cut),
        T(a_commit_whose_answer_was_lost_is_asked_for),
        T(a_commit_that_did_not_happen_is_written_again),
        T(a_commit_of_which_nobody_knows_is_said_to_be_unsure),
        T(no_fault_of_the_network_delays_an_answer),
        T(a_write_through_a_dead_network_ends_in_time),
        T(writes_during_an_outage_fail_fast_but_for_the_first_two_and_go_on_when_it_ends),
        T(an_answer_that_comes_late_reaches_nobody_else),
        cmocka_unit_test(a_server_that_is_not_there_is_named_and_no_secret_told),
        T(a_server_that_does_not_let_us_in_says_so),
    };
    if (postgres_there()) {
        snprintf(own, sizeof own, "braid_test_%d", (int)getpid());
        database_statement("CREATE DATABASE %s");
        setenv("BRAID_TEST_POSTGRES_DATABASE", own, 1);
    }
    int failed = cmocka_run_group_tests_name("record: PostgreSQL's bad days", tests, NULL, NULL);
    if (postgres_there()) database_statement("DROP DATABASE %s WITH (FORCE)");
    return failed;
}

#endif
