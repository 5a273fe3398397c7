/* PostgreSQL as the record store when its server is restarted, killed, and comes back with numbers of transactions
 * that it had given before. Each test runs a server of its own by scripts/engines.sh; skipped where that has none
 * installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifndef BRAID_HAVE_POSTGRES
int main(void) {
    printf("record: postgres crash skipped: built without libpq\n");
    return 0;
}
#else

#include <glob.h>
#include <signal.h>

#include "record_postgres_load.h"

/* ---- a server of our own ---- */

static bool installed(void) {
    char pattern[256];
    glob_t found;
    const char *folder = getenv("BRAID_ENGINES_INSTALL"), *home = getenv("HOME");
    if (folder != NULL)
        snprintf(pattern, sizeof pattern, "%s/postgres-*", folder);
    else
        snprintf(pattern, sizeof pattern, "%s/.cache/braid-engines/postgres-*", home != NULL ? home : "/root");
    bool there_is = access("scripts/engines.sh", X_OK) == 0 && glob(pattern, 0, NULL, &found) == 0;
    if (there_is) globfree(&found);
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
    snprintf(command, sizeof command,
             "BRAID_ENGINES_DIR='%s' BRAID_ENGINES_POSTGRES_PORT=%s scripts/engines.sh %s >'%s/out' 2>&1", v->folder,
             strchr(v->address, ':') + 1, words, v->folder);
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
    if (!postgres_there() || !installed()) return 0;
    snprintf(v->folder, sizeof v->folder, "/tmp/braid-engines-XXXXXX");
    check(mkdtemp(v->folder) != NULL, "no temporary folder");
    free_port(v->address);
    v->password_file = environment("BRAID_TEST_POSTGRES_PASSWORD_FILE");
    v->database = environment("BRAID_TEST_POSTGRES_DATABASE");
    v->up = engines(v, "up postgres");
    snprintf(file, sizeof file, "%s/postgres/password", v->folder);
    setenv("BRAID_TEST_POSTGRES_PASSWORD_FILE", file, 1);
    setenv("BRAID_TEST_POSTGRES_DATABASE", "braid", 1);
    if (v->up) postgres_place_make(&v->place, v->address);
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
    if (record_open(record_find("postgres"), &o, &store, &err) != BRAID_OK) fail_msg("%s", err.message);
    assert_int_equal(put_item(store, "film", "Film", NULL, NULL), BRAID_OK);
    return store;
}

static bool more_is_written(load *l) {
    unsigned before = atomic_load(&l->done);
    int64_t until = now_ms() + 15000;
    while (atomic_load(&l->done) < before + 20 && now_ms() < until) sleep_ms(20);
    return atomic_load(&l->done) >= before + 20;
}

static void writes_go_on_when_the_server_is_back(void **state) {
    server *v = own_server(state);
    static load l;
    pthread_t threads[8];
    memset(&l, 0, sizeof l);
    l.store = open_own(v);
    for (size_t i = 0; i < 8; i++) assert_int_equal(pthread_create(&threads[i], NULL, load_main, &l), 0);
    sleep_ms(100);
    bool restarted = engines(v, "restart postgres"), went_on = more_is_written(&l);
    bool killed = engines(v, "kill postgres") && engines(v, "up postgres"), went_on_again = more_is_written(&l);
    atomic_store(&l.stop, true);
    for (size_t i = 0; i < 8; i++) pthread_join(threads[i], NULL);
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

/* ---- numbers that are given again ---- */

/* The next transaction's number; does not take it. */
static int64_t next_number(pg_session *raw) {
    return postgres_number(raw, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint");
}

/* What transactions leave behind without waiting stays in memory for long, as if the crash came at once. */
static void write_late(const server *v) {
    char command[512];
    snprintf(
        command, sizeof command,
        "PGPASSWORD=\"$(cat '%s/postgres/superuser_password')\" psql -XqAt -h 127.0.0.1 -p %s -U postgres"
        " -d postgres -c \"ALTER SYSTEM SET wal_writer_delay = '10s'\" -c 'SELECT pg_reload_conf()' >'%s/out' 2>&1",
        v->folder, strchr(v->address, ':') + 1, v->folder);
    check(system(command) == 0, "the server's settings cannot be changed");
}

static int server_pid(const server *v) {
    char file[128];
    int pid = 0;
    snprintf(file, sizeof file, "%s/postgres/pid", v->folder);
    FILE *f = fopen(file, "r");
    check(f != NULL && fscanf(f, "%d", &pid) == 1 && pid > 1, "the server has no pid");
    fclose(f);
    return pid;
}

/* Numbers are used up that leave nothing on disk; a consumer reads all there is; the server crashes; a row is written,
 * under a number that was used before. The consumer must see it. Gives how far the numbers went back. */
static int64_t crash_once(server *v, record_store *store, const char *id) {
    uint64_t upto = 0, later, lsn = 0;
    size_t n = 0;
    record_log_entry *rows = NULL;
    arena *a = arena_new(4096);
    int pid = server_pid(v), code = BRAID_E_UNAVAILABLE;
    pg_session *raw = postgres_session(&v->place);
    for (int i = 0; i < 100; i++) postgres_run(raw, "BEGIN; SELECT pg_current_xact_id(); ROLLBACK");
    int64_t before = next_number(raw);
    assert_int_equal(record_log_read(store, 0, RECORD_MASK_ALL, 100, a, &rows, &n, &upto, NULL), BRAID_OK);
    assert_int_equal(kill(pid, SIGKILL), 0);
    pg_close(raw);
    engines(v, "kill postgres"); /* what is left of its family */
    assert_true(engines(v, "up postgres"));
    raw = postgres_session(&v->place);
    int64_t back = before - next_number(raw);
    pg_close(raw);
    for (int64_t until = now_ms() + 10000; code != BRAID_OK && now_ms() < until; sleep_ms(20))
        code = put_item(store, id, id, NULL, &lsn);
    assert_int_equal(code, BRAID_OK);
    record_log_wait(store, lsn - 1, in_ms(5000));
    later = upto;
    assert_int_equal(record_log_read(store, upto, RECORD_MASK_ALL, 100, a, &rows, &n, &later, NULL), BRAID_OK);
    print_message("numbers went back by %lld; the row's is %s what the consumer would have been told by the horizon\n",
                  (long long)back, lsn >> 20 < (uint64_t)before ? "below" : "above");
    assert_true(n > 0 && rows[n - 1].lsn == lsn && later >= lsn && record_head(store) >= lsn);
    arena_free(a);
    return lsn >> 20 < (uint64_t)before ? back : 0;
}

static void a_crash_hides_no_row_from_a_consumer(void **state) {
    server *v = own_server(state);
    char id[32];
    int64_t back = 0;
    if (system("command -v psql >/dev/null") != 0) {
        print_message("there is no psql\n");
        skip();
    }
    write_late(v);
    record_store *store = open_own(v);
    sleep_ms(300);
    for (int i = 0; i < 3 && back <= 0; i++) {
        snprintf(id, sizeof id, "after-%d", i);
        back = crash_once(v, store, id);
    }
    record_close(store);
    assert_true(back > 0); /* the canary: else the crash took nothing back */
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, server_make, server_remove)
    const struct CMUnitTest tests[] = {
        T(writes_go_on_when_the_server_is_back),
        T(a_crash_hides_no_row_from_a_consumer),
    };
    return cmocka_run_group_tests_name("record: PostgreSQL that crashes", tests, NULL, NULL);
}

#endif
