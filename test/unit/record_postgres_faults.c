/* PostgreSQL as the record store on bad days: connections that are cut in the middle of a commit, a network that is slow,
 * silent or gone, a server that is down, restarted or killed. Needs a server (see record_postgres_test.h), and Toxiproxy
 * (BRAID_TEST_TOXIPROXY) where the network is to blame. The tests work in a database of their own. */
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

#include <arpa/inet.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

#include "record_postgres_test.h"
#include "record_test.h"
#include "test/support/toxiproxy.h"

enum { LATE_MS = 50, LATE_MS_MAX = 500 /* a machine under load */, USERS = 64, WRITES_MAX = 4000 };

typedef struct scene {
    postgres_place place;
    remote_options proxied;
    toxiproxy proxy;
    record_store *store;
    metrics *measures;
    pg_session *raw; /* not through the proxy */
} scene;

static deadline in_ms(int64_t ms) { return clock_mono_ns(&clock_system) + ms * 1000000; }
static int64_t now_ms(void) { return clock_mono_ns(&clock_system) / 1000000; }
static void sleep_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static bool possible(void) { return postgres_there() && toxiproxy_there(); }

static void open_through_proxy(scene *s, unsigned timeout_ms) {
    braid_error err = {0};
    s->proxied = s->place.remote;
    s->proxied.address = s->proxy.address;
    s->proxied.timeout_ms = timeout_ms;
    record_options o = {.remote = &s->proxied, .dim = 4, .create = true, .metrics = s->measures};
    check(record_open(record_find("postgres"), &o, &s->store, &err) == BRAID_OK, err.message);
}

static int setup(void **state) {
    scene *s = calloc(1, sizeof *s);
    *state = s;
    given_lsns.count = 0;
    if (!possible())
        return 0;
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
    if (possible())
        toxiproxy_heal(&s->proxy);
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

/* ---- many writers, and what each was told ---- */

typedef enum told { TOLD_NOTHING, TOLD_DONE, TOLD_FAILED, TOLD_UNSURE } told;
typedef struct load {
    record_store *store;
    atomic_bool stop;
    atomic_uint next;
    _Atomic unsigned char outcome[WRITES_MAX]; /* of interaction number i, whose time is i */
    atomic_uint done, failed, unsure;
} load;

static void *load_main(void *ctx) {
    load *l = ctx;
    while (!atomic_load(&l->stop)) {
        unsigned i = atomic_fetch_add(&l->next, 1);
        if (i >= WRITES_MAX)
            break;
        braid_error err = {0};
        interaction in = plain_interaction("ana", "film");
        in.at = (int64_t)i;
        record_change c = {.kind = RECORD_INTERACTION, .interaction = &in};
        int code = record_write(l->store, &c, 1, (record_write_flags){0}, &err);
        bool unsure = code != BRAID_OK && strstr(err.message, "may be there") != NULL;
        told t = code == BRAID_OK && c.code == BRAID_OK ? TOLD_DONE : unsure ? TOLD_UNSURE : TOLD_FAILED;
        atomic_store(&l->outcome[i], (unsigned char)t);
        atomic_fetch_add(t == TOLD_DONE ? &l->done : t == TOLD_UNSURE ? &l->unsure : &l->failed, 1);
        if (t != TOLD_DONE)
            sleep_ms(20);
    }
    return NULL;
}

/* Compares what was told with what is there: whoever was told that it is done finds it, once; whoever was told that it
 * failed may repeat it. Prints what is wrong. */
static bool honest(load *l, pg_session *raw) {
    braid_error err = {0};
    PGresult *r = NULL;
    pg_params none;
    unsigned count[WRITES_MAX] = {0}, lost = 0, doubled = 0, denied = 0;
    pg_params_init(&none);
    postgres_must(pg_exec(raw, "SELECT (extract(epoch FROM at) * 1000)::bigint FROM interactions", "", &none, 0, "judging", &r, &err)
                      == BRAID_OK, err.message);
    for (int i = 0; i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        int64_t at = pg_int8(&row, 0);
        check(at >= 0 && at < WRITES_MAX, "a time that nobody wrote");
        count[at]++;
    }
    PQclear(r);
    for (unsigned i = 0; i < WRITES_MAX; i++) {
        told t = (told)atomic_load(&l->outcome[i]);
        lost += t == TOLD_DONE && count[i] == 0;
        doubled += count[i] > 1;
        denied += t == TOLD_FAILED && count[i] > 0;
    }
    print_message("told: %u done, %u failed, %u unsure; lost %u, doubled %u, denied %u\n", atomic_load(&l->done),
                  atomic_load(&l->failed), atomic_load(&l->unsure), lost, doubled, denied);
    return lost == 0 && doubled == 0 && denied == 0;
}

/* ---- the ambiguous commit ---- */

/* What the server does at each commit of an interaction. */
static void at_commit(scene *s, const char *doing) {
    char sql[512];
    snprintf(sql, sizeof sql, "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM %s; RETURN NULL; END $$;"
                              "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON interactions DEFERRABLE INITIALLY DEFERRED"
                              " FOR EACH ROW EXECUTE FUNCTION at_commit()", doing);
    postgres_run(s->raw, sql);
}

static void end_sessions(scene *s) {
    postgres_number(s->raw, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
                            " AND pid <> pg_backend_pid() AND application_name = 'braid'");
}

static double unsure(scene *s) { return metric_value(metrics_counter(s->measures, "record_unsure_total", "", "")); }

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
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load_main, &l), 0);
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
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_true(honest(&l, s->raw));
    assert_true(atomic_load(&l.done) > 10);
    assert_true(unsure(s) > 0); /* else nothing was tried */
}

typedef struct one { record_store *s; int code; braid_error err; pthread_t thread; } one;
static void *write_it(void *ctx) {
    one *o = ctx;
    interaction in = plain_interaction("ana", "film");
    in.at = 1;
    record_change c = {.kind = RECORD_INTERACTION, .interaction = &in};
    o->code = record_write(o->s, &c, 1, (record_write_flags){0}, &o->err);
    return NULL;
}

/* A write is cut from its server in the middle of its COMMIT, which waits for a lock that the test holds: until the proxy
 * has been closed for closed_ms, and held_ms more. closed_ms 0: until the write was answered. */
static one cut_within_commit(scene *s, int64_t closed_ms, int64_t held_ms) {
    static const char waiting[] = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 8888 AND NOT granted";
    one o = {.s = s->store};
    at_commit(s, "pg_advisory_xact_lock_shared(8888)");
    postgres_run(s->raw, "SELECT pg_advisory_lock(8888)");
    assert_int_equal(pthread_create(&o.thread, NULL, write_it, &o), 0);
    for (int64_t until = now_ms() + 10000; postgres_number(s->raw, waiting) == 0 && now_ms() < until;)
        sleep_ms(2);
    assert_int_equal(postgres_number(s->raw, waiting), 1);
    assert_true(toxiproxy_enable(&s->proxy, false));
    if (closed_ms == 0)
        pthread_join(o.thread, NULL);
    sleep_ms(closed_ms);
    assert_true(toxiproxy_enable(&s->proxy, true));
    sleep_ms(held_ms);
    postgres_run(s->raw, "SELECT pg_advisory_unlock(8888)");
    if (closed_ms != 0)
        pthread_join(o.thread, NULL);
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
            if (ms > LATE_MS_MAX)
                fail_msg("%s: answered %lld ms after the deadline", fault->name, (long long)ms);
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
        for (int64_t until = now_ms() + 5000; code != BRAID_OK && now_ms() < until;)
            late_by(s, 1000, &code);
        if (code != BRAID_OK)
            fail_msg("%s: did not recover", fault->name);
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

typedef struct asker { scene *s; rng random; atomic_uint *right, *wrong, *late; pthread_t thread; } asker;

static bool see_owner(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    const char **want = ctx;
    (void)len, (void)version;
    if (strcmp(id, *want) != 0 || strstr(body, *want) == NULL)
        *want = NULL;
    return true;
}

static void *ask_on(void *ctx) {
    asker *a = ctx;
    for (int i = 0; i < 80; i++) {
        char id[32];
        snprintf(id, sizeof id, "user-%03u", (unsigned)rng_below(&a->random, USERS));
        const char *want = id;
        int code = record_get_user(a->s->store, id, in_ms(5 + (int64_t)rng_below(&a->random, i % 4 == 0 ? 400 : 80)), see_owner, (void *)&want, NULL);
        atomic_fetch_add(code != BRAID_OK ? a->late : want == NULL ? a->wrong : a->right, 1);
    }
    return NULL;
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
    for (unsigned i = 0; i < 8; i++)
        pthread_join(askers[i].thread, NULL);
    print_message("%u right, %u late, %u wrong\n", atomic_load(&right), atomic_load(&late), atomic_load(&wrong));
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(atomic_load(&right) > 0 && atomic_load(&late) > 20);
}

/* ---- servers that are not there ---- */

static void free_port(char address[32]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    getsockname(fd, (struct sockaddr *)&at, &size);
    close(fd);
    snprintf(address, 32, "127.0.0.1:%u", ntohs(at.sin_port));
}

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
    remote_options remote = {.address = address, .database = "braid", .user = "braid", .password = "s3cret-word", .timeout_ms = 2000};
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

/* ---- a server of our own that is restarted and killed ---- */

static bool installed(void) {
    char pattern[256];
    glob_t found;
    const char *folder = getenv("BRAID_ENGINES_INSTALL"), *home = getenv("HOME");
    if (folder != NULL)
        snprintf(pattern, sizeof pattern, "%s/postgres-*", folder);
    else
        snprintf(pattern, sizeof pattern, "%s/.cache/braid-engines/postgres-*", home != NULL ? home : "/root");
    bool there_is = access("scripts/engines.sh", X_OK) == 0 && glob(pattern, 0, NULL, &found) == 0;
    if (there_is)
        globfree(&found);
    return there_is;
}

/* A PostgreSQL of this test's own. */
typedef struct server {
    char folder[64], address[32], *password_file, *database; /* the last two: what the environment said before */
    bool up;
    postgres_place place;
} server;

static bool engines(const server *v, const char *words) {
    char command[512];
    snprintf(command, sizeof command, "BRAID_ENGINES_DIR='%s' BRAID_ENGINES_POSTGRES_PORT=%s scripts/engines.sh %s >'%s/out' 2>&1",
             v->folder, strchr(v->address, ':') + 1, words, v->folder);
    return system(command) == 0;
}

static char *environment(const char *name) {
    const char *value = getenv(name);
    return strdup(value != NULL ? value : "");
}

static int server_make(void **state) {
    server *v = calloc(1, sizeof *v);
    char file[128];
    *state = v;
    given_lsns.count = 0;
    if (!postgres_there() || !installed())
        return 0;
    snprintf(v->folder, sizeof v->folder, "/tmp/braid-engines-XXXXXX");
    check(mkdtemp(v->folder) != NULL, "no temporary folder");
    free_port(v->address);
    v->password_file = environment("BRAID_TEST_POSTGRES_PASSWORD_FILE");
    v->database = environment("BRAID_TEST_POSTGRES_DATABASE");
    v->up = engines(v, "up postgres");
    snprintf(file, sizeof file, "%s/postgres/password", v->folder);
    setenv("BRAID_TEST_POSTGRES_PASSWORD_FILE", file, 1);
    setenv("BRAID_TEST_POSTGRES_DATABASE", "braid", 1);
    if (v->up)
        postgres_place_make(&v->place, v->address);
    return 0;
}

static int server_remove(void **state) {
    server *v = *state;
    char command[128];
    if (v->folder[0] != '\0') {
        engines(v, "wipe postgres");
        setenv("BRAID_TEST_POSTGRES_PASSWORD_FILE", v->password_file, 1);
        setenv("BRAID_TEST_POSTGRES_DATABASE", v->database, 1);
        snprintf(command, sizeof command, "rm -rf '%s'", v->folder);
        check(system(command) == 0, "the server's folder cannot be removed");
    }
    free(v->password_file);
    free(v->database);
    free(v);
    return 0;
}

static server *own_server(void **state) {
    server *v = *state;
    if (v->folder[0] == '\0') {
        print_message("BRAID_TEST_POSTGRES is not set, or scripts/engines.sh has no PostgreSQL installed\n");
        skip();
    }
    assert_true(v->up);
    return v;
}

static record_store *open_own(server *v) {
    braid_error err = {0};
    record_store *store = NULL;
    v->place.remote.timeout_ms = 3000;
    record_options o = postgres_record_options(&v->place);
    if (record_open(record_find("postgres"), &o, &store, &err) != BRAID_OK)
        fail_msg("%s", err.message);
    assert_int_equal(put_item(store, "film", "Film", NULL, NULL), BRAID_OK);
    return store;
}

static bool more_is_written(load *l) {
    unsigned before = atomic_load(&l->done);
    int64_t until = now_ms() + 15000;
    while (atomic_load(&l->done) < before + 20 && now_ms() < until)
        sleep_ms(20);
    return atomic_load(&l->done) >= before + 20;
}

static void writes_go_on_when_the_server_is_back(void **state) {
    server *v = own_server(state);
    static load l;
    pthread_t threads[8];
    memset(&l, 0, sizeof l);
    l.store = open_own(v);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load_main, &l), 0);
    sleep_ms(100);
    bool restarted = engines(v, "restart postgres"), went_on = more_is_written(&l);
    bool killed = engines(v, "kill postgres") && engines(v, "up postgres"), went_on_again = more_is_written(&l);
    atomic_store(&l.stop, true);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    pg_session *raw = postgres_session(&v->place);
    bool truth = honest(&l, raw);
    char *text = integrity_text(l.store, true);
    pg_close(raw);
    record_close(l.store);
    assert_true(restarted && killed && went_on && went_on_again);
    assert_true(truth);
    assert_string_equal(text, "ok");
    free(text);
}

/* The transactions' numbers of the last moments before a crash are given again. */
static void a_crash_hides_no_row_from_a_consumer(void **state) {
    server *v = own_server(state);
    char file[128];
    int pid = 0;
    uint64_t upto = 0, later = 0, lsn = 0, moved = 0;
    size_t n = 0;
    record_log_entry *rows = NULL;
    record_store *store = open_own(v);
    arena *a = arena_new(4096);
    snprintf(file, sizeof file, "%s/postgres/pid", v->folder);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    fclose(f);
    pg_session *raw = postgres_session(&v->place);
    for (int i = 0; i < 100; i++) /* numbers that leave nothing on disk, for a moment */
        postgres_run(raw, "BEGIN; SELECT pg_current_xact_id(); ROLLBACK");
    int64_t before = postgres_number(raw, "SELECT pg_current_xact_id()::text::bigint");
    assert_int_equal(record_log_read(store, 0, RECORD_MASK_ALL, 100, a, &rows, &n, &upto, NULL), BRAID_OK);
    assert_int_equal(kill(pid, SIGKILL), 0);
    pg_close(raw);
    assert_int_equal(n, 1);
    engines(v, "kill postgres"); /* the rest of its family */
    assert_true(engines(v, "up postgres"));
    raw = postgres_session(&v->place);
    moved = (uint64_t)(before - postgres_number(raw, "SELECT pg_current_xact_id()::text::bigint"));
    pg_close(raw);
    int code = BRAID_E_UNAVAILABLE;
    for (int64_t until = now_ms() + 10000; code != BRAID_OK && now_ms() < until; sleep_ms(20))
        code = put_item(store, "after", "After", NULL, &lsn);
    assert_int_equal(code, BRAID_OK);
    record_log_wait(store, lsn - 1, in_ms(5000));
    later = upto;
    assert_int_equal(record_log_read(store, upto, RECORD_MASK_ALL, 100, a, &rows, &n, &later, NULL), BRAID_OK);
    print_message("numbers went back by %lld\n", (long long)moved);
    assert_true(n == 1 && rows[0].lsn == lsn && later >= lsn);
    assert_true(record_head(store) >= lsn);
    arena_free(a);
    record_close(store);
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
        T(an_answer_that_comes_late_reaches_nobody_else),
        cmocka_unit_test(a_server_that_is_not_there_is_named_and_no_secret_told),
        T(a_server_that_does_not_let_us_in_says_so),
        cmocka_unit_test_setup_teardown(writes_go_on_when_the_server_is_back, server_make, server_remove),
        cmocka_unit_test_setup_teardown(a_crash_hides_no_row_from_a_consumer, server_make, server_remove),
    };
    if (postgres_there()) {
        snprintf(own, sizeof own, "braid_test_%d", (int)getpid());
        database_statement("CREATE DATABASE %s");
        setenv("BRAID_TEST_POSTGRES_DATABASE", own, 1);
    }
    int failed = cmocka_run_group_tests_name("record: PostgreSQL's bad days", tests, NULL, NULL);
    if (postgres_there())
        database_statement("DROP DATABASE %s WITH (FORCE)");
    return failed;
}

#endif
