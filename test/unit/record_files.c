/* R33: what the store opens, what it refuses, and that it leaves what it refuses alone to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "record/record_sqlite.h"
#include "record_test.h"

enum { HEADER_USER_VERSION = 60, HEADER_APPLICATION_ID = 68 };

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    fixture_make(f, record_find("sqlite"));
    *state = f;
    return f == NULL ? -1 : 0;
}

static int teardown(void **state) {
    fixture_end(*state);
    free(*state);
    return 0;
}

static int try_open(fixture *f, record_options o, braid_error *err) {
    error_clear(err);
    int code = record_open(f->ops, &o, &f->store, err);
    if (code != BRAID_OK) {
        assert_null(f->store);
        assert_true(err->message[0] != '\0');
    }
    return code;
}

static void make_database(fixture *f) {
    fixture_open(f);
    assert_int_equal(put_item(f->store, "a", "A film", NULL, NULL), BRAID_OK);
    record_close(f->store);
    f->store = NULL;
}

static char *file_read(const char *path, size_t *len) {
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    char *data = malloc(4 << 20);
    *len = fread(data, 1, 4 << 20, in);
    fclose(in);
    return data;
}

static void file_write(const char *path, const void *data, size_t len) {
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, len, out), len);
    fclose(out);
}

static void file_poke(const char *path, long at, const void *data, size_t len) {
    FILE *out = fopen(path, "r+b");
    assert_non_null(out);
    fseek(out, at, SEEK_SET);
    assert_int_equal(fwrite(data, 1, len, out), len);
    fclose(out);
}

static unsigned files_in(const char *folder) {
    DIR *d = opendir(folder);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Opens and expects `wanted`, the same bytes afterwards and no file beside it. */
static void expect_refusal(fixture *f, int wanted) {
    braid_error err;
    size_t before_len, after_len;
    char *before = file_read(f->path, &before_len);
    assert_int_equal(try_open(f, fixture_options(f), &err), wanted);
    char *after = file_read(f->path, &after_len);
    assert_int_equal(after_len, before_len);
    assert_memory_equal(after, before, before_len);
    assert_int_equal(files_in(f->folder), 1);
    free(before);
    free(after);
}

static void a_closed_database_is_one_file(void **state) {
    fixture *f = *state;
    make_database(f);
    assert_int_equal(files_in(f->folder), 1);
}

static void a_file_that_is_not_there_is_made_only_if_wanted(void **state) {
    fixture *f = *state;
    braid_error err;
    record_options o = fixture_options(f);
    o.create = false;
    assert_int_equal(try_open(f, o, &err), BRAID_E_NOT_FOUND);
    o.create = true;
    o.read_only = true;
    assert_int_equal(try_open(f, o, &err), BRAID_E_NOT_FOUND);
    o = fixture_options(f);
    o.path = "/tmp/no such folder/x.db";
    assert_int_equal(try_open(f, o, &err), BRAID_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "folder"));
    o.path = f->folder;
    assert_int_equal(try_open(f, o, &err), BRAID_E_NOT_A_DATABASE);
    assert_int_equal(files_in(f->folder), 0);
}

static void an_empty_file_is_a_new_database(void **state) {
    fixture *f = *state;
    file_write(f->path, "", 0);
    make_database(f);
}

static void a_new_database_wants_a_dimension_and_an_old_one_keeps_it(void **state) {
    fixture *f = *state;
    braid_error err;
    record_info info;
    f->dim = 0;
    assert_int_equal(try_open(f, fixture_options(f), &err), BRAID_E_INVALID);
    assert_int_equal(files_in(f->folder), 0);
    f->dim = 4;
    make_database(f);
    f->dim = 8;
    assert_int_equal(try_open(f, fixture_options(f), &err), BRAID_E_DIMENSION);
    f->dim = 0;
    assert_int_equal(try_open(f, fixture_options(f), &err), BRAID_OK);
    record_get_info(f->store, &info, NULL);
    assert_int_equal(info.dim, 4);
}

static void a_file_of_something_else_is_refused_untouched(void **state) {
    fixture *f = *state;
    char noise[5000];
    memset(noise, 'x', sizeof noise);
    file_write(f->path, noise, sizeof noise);
    expect_refusal(f, BRAID_E_NOT_A_DATABASE);
    file_write(f->path, "SQLite", 6);
    expect_refusal(f, BRAID_E_NOT_A_DATABASE);
    memset(noise, 0, sizeof noise);
    file_write(f->path, noise, sizeof noise);
    expect_refusal(f, BRAID_E_NOT_A_DATABASE);
}

static void a_database_of_another_application_is_refused_untouched(void **state) {
    fixture *f = *state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_refusal(f, BRAID_E_NOT_A_DATABASE);
}

static void a_newer_database_is_refused_untouched(void **state) {
    static const unsigned char newer[4] = {0, 0, 0, RECORD_SCHEMA_VERSION + 1};
    fixture *f = *state;
    make_database(f);
    file_poke(f->path, HEADER_USER_VERSION, newer, sizeof newer);
    expect_refusal(f, BRAID_E_NEWER_FORMAT);
}

/* As schema step `version` left it. */
static void make_old_schema(fixture *f, int version) {
    size_t len;
    char name[64];
    snprintf(name, sizeof name, "test/fixtures/record_v%d.sql", version);
    char *text = file_read(name, &len);
    sqlite3 *db;
    text[len] = '\0';
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    free(text);
}

static bool count_event(void *ctx, const record_interaction *row) {
    char *ids = ctx;
    strcat(ids, row->in.item);
    return true;
}

static bool count_rows(void *ctx, const record_policy *row) {
    (void)row;
    ++*(int *)ctx;
    return true;
}

static void a_database_of_the_first_schema_is_brought_up_to_date(void **state) {
    fixture *f = *state;
    record_info info;
    char ids[8] = "";
    int policies = 0;
    uint64_t learned = 1;
    buf report;
    make_old_schema(f, 1);
    fixture_open(f);
    assert_int_equal(record_get_info(f->store, &info, NULL), BRAID_OK);
    assert_int_equal(info.schema_version, RECORD_SCHEMA_VERSION);
    assert_true(info.items == 2 && info.relations == 1 && info.users == 1 && info.interactions == 3);
    record_user_interactions(f->store, "ana", 10, 0, count_event, ids, NULL);
    assert_string_equal(ids, "ab"); /* the newest first */
    record_user_policies(f->store, NULL, "ana", count_rows, &policies, NULL);
    assert_int_equal(policies, 0); /* to be learned again ... */
    assert_int_equal(record_cursor_get(f->store, "policy", &learned, NULL), BRAID_OK);
    assert_int_equal(learned, 0); /* ... from the beginning */
    buf_init(&report, 0);
    assert_int_equal(record_integrity(f->store, true, &report, NULL), BRAID_OK);
    assert_string_equal(report.data, "ok");
    buf_free(&report);
}

static bool see_neighbours(void *ctx, const record_neighbours *row) {
    (void)row;
    ++*(int *)ctx;
    return true;
}

static int put_neighbours(record_store *s, uint32_t num, uint32_t other) {
    record_neighbour list[] = {{other, 0.5f}, {other + 1, 0.25f}, {other + 2, 0.125f}};
    record_neighbours row = {.num = num, .model = "slim", .at = 1, .list = list, .count = 3};
    record_change c = {.kind = RECORD_NEIGHBOURS, .neighbours = &row};
    return write_one(s, &c, NULL);
}

static void a_database_of_the_second_schema_keeps_everything_and_learns_neighbours(void **state) {
    fixture *f = *state;
    record_info info;
    int policies = 0, rows = 0;
    uint64_t learned = 0;
    make_old_schema(f, 2);
    fixture_open(f);
    assert_int_equal(record_get_info(f->store, &info, NULL), BRAID_OK);
    assert_int_equal(info.schema_version, RECORD_SCHEMA_VERSION);
    assert_true(info.items == 2 && info.relations == 1 && info.users == 1 && info.interactions == 3);
    assert_true(info.episodes == 3 && info.policies == 6 && info.neighbours == 0);
    record_user_policies(f->store, NULL, "ana", count_rows, &policies, NULL);
    assert_int_equal(policies, 2);
    assert_int_equal(record_cursor_get(f->store, "policy", &learned, NULL), BRAID_OK);
    assert_int_equal(learned, 7); /* nothing is learned twice */
    assert_int_equal(put_neighbours(f->store, 2, 1), BRAID_OK);
    fixture_reopen(f);
    record_scan_neighbours(f->store, "slim", 0, see_neighbours, &rows, NULL);
    assert_int_equal(rows, 1);
    char *text = integrity_text(f->store, true);
    assert_string_equal(text, "ok");
    free(text);
}

static bool see_document(void *ctx, const record_document *row) {
    assert_string_equal(row->body, "{}");
    ++*(int *)ctx;
    return true;
}

static bool see_slate(void *ctx, const record_slate *row) {
    assert_string_equal(row->user, "ana");
    ++*(int *)ctx;
    return true;
}

static bool count_hours(void *ctx, const record_hour *row) {
    *(int *)ctx += (int)row->episodes;
    return true;
}

static void a_database_of_the_third_schema_keeps_everything_and_takes_documents_and_slates(void **state) {
    fixture *f = *state;
    record_info info;
    int rows = 0;
    make_old_schema(f, 3);
    fixture_open(f);
    assert_int_equal(record_get_info(f->store, &info, NULL), BRAID_OK);
    assert_int_equal(info.schema_version, RECORD_SCHEMA_VERSION);
    assert_true(info.items == 2 && info.interactions == 3 && info.episodes == 3 && info.policies == 6);
    assert_true(info.neighbours == 1 && info.documents == 0 && info.slates == 0);
    /* what was done before there were roll-ups is in them */
    assert_int_equal(record_roll_up(f->store, TIME_NONE, NULL), BRAID_OK);
    assert_int_equal(record_scan_hours(f->store, NULL, TIME_NONE, INT64_MAX, 10, count_hours, &rows, NULL), BRAID_OK);
    assert_int_equal(rows, 3);
    rows = 0;
    record_document d = {.kind = "agent", .id = "a", .body = "{}", .body_len = 2, .expect = 0};
    record_slate l = {.id = "r1", .agent = "default", .user = "ana", .at = 1, .body = "x", .body_len = 1};
    record_change c[] = {{.kind = RECORD_DOCUMENT, .document = &d}, {.kind = RECORD_SLATE, .slate = &l}};
    assert_int_equal(write_one(f->store, &c[0], NULL), BRAID_OK);
    assert_int_equal(write_one(f->store, &c[1], NULL), BRAID_OK);
    fixture_reopen(f);
    assert_int_equal(record_get_document(f->store, "agent", "a", see_document, &rows, NULL), BRAID_OK);
    assert_int_equal(record_get_slate(f->store, "r1", see_slate, &rows, NULL), BRAID_OK);
    record_scan_neighbours(f->store, "slim", 0, see_neighbours, &rows, NULL);
    assert_int_equal(rows, 3);
    char *text = integrity_text(f->store, true);
    assert_string_equal(text, "ok");
    free(text);
}

/* The file is closed while this writes into it. */
static void file_statement(fixture *f, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_close(db);
}

static void a_damaged_list_of_neighbours_is_corrupt_and_the_others_are_read(void **state) {
    static const struct {
        const char *bytes;
        bool found;
    } damages[] = {{"x''", true},
                   {"x'01'", true},
                   {"substr(list, 1, 7)", true},
                   {"list || x'00'", true},
                   {"zeroblob(32776)", true},
                   {"substr(list, 1, 4) || x'0000c07f'", false},
                   {"substr(list, 1, 4) || x'000080ff'", false},
                   {"zeroblob(8)", false}};
    fixture *f = *state;
    fixture_open(f);
    for (int i = 0; i < 3; i++) put_item(f->store, (const char *const[]){"a", "b", "c"}[i], "A film", NULL, NULL);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        char sql[128];
        int rows = 0;
        braid_error err = {0};
        for (uint32_t num = 1; num <= 3; num++) assert_int_equal(put_neighbours(f->store, num, 1), BRAID_OK);
        record_close(f->store);
        f->store = NULL;
        snprintf(sql, sizeof sql, "UPDATE neighbours SET list = CAST(%s AS BLOB) WHERE num = 2", damages[i].bytes);
        file_statement(f, sql);
        fixture_open(f);
        assert_int_equal(record_scan_neighbours(f->store, "slim", 0, see_neighbours, &rows, &err), BRAID_E_CORRUPT);
        assert_int_equal(rows, 1);
        assert_true(err.message[0] != '\0');
        assert_int_equal(record_item_neighbours(f->store, 2, see_neighbours, &rows, NULL), BRAID_E_CORRUPT);
        assert_int_equal(record_scan_neighbours(f->store, "slim", 2, see_neighbours, &rows, NULL), BRAID_OK);
        assert_int_equal(rows, 2);
        char *text = integrity_text(f->store, false);
        assert_true((strstr(text, "neighbours of item number 2 by slim") != NULL) == damages[i].found);
        free(text);
        assert_int_equal(put_neighbours(f->store, 2, 1), BRAID_OK); /* learning again mends it */
        text = integrity_text(f->store, true);
        assert_string_equal(text, "ok");
        free(text);
    }
}

static void neighbours_without_their_log_row_or_item_are_found(void **state) {
    fixture *f = *state;
    fixture_open(f);
    put_item(f->store, "a", "A film", NULL, NULL);
    assert_int_equal(put_neighbours(f->store, 1, 1), BRAID_OK);
    record_close(f->store);
    f->store = NULL;
    file_statement(f, "UPDATE neighbours SET version = 1");
    fixture_open(f);
    char *text = integrity_text(f->store, false);
    assert_non_null(strstr(text, "neighbours of item number 1 by slim have no log row"));
    free(text);
    record_close(f->store);
    f->store = NULL;
    file_statement(f, "UPDATE neighbours SET num = 7, version = 2");
    fixture_open(f);
    text = integrity_text(f->store, false);
    assert_non_null(strstr(text, "neighbours of item number 7 by slim are wrong"));
    free(text);
}

static void a_database_of_an_older_schema_is_not_read_without_the_right_to_write(void **state) {
    fixture *f = *state;
    braid_error err = {0};
    make_old_schema(f, 1);
    record_options o = fixture_options(f);
    o.read_only = true;
    assert_int_equal(try_open(f, o, &err), BRAID_E_READ_ONLY);
    assert_non_null(strstr(err.message, "older"));
}

static void a_database_that_is_cut_short_is_refused_untouched(void **state) {
    fixture *f = *state;
    size_t len;
    make_database(f);
    char *data = file_read(f->path, &len);
    for (size_t cut = 1; cut < len; cut += 1009) {
        file_write(f->path, data, cut);
        expect_refusal(f, cut < 100 ? BRAID_E_NOT_A_DATABASE : BRAID_E_CORRUPT);
    }
    free(data);
}

static void damage_in_the_middle_is_an_error_and_never_a_crash(void **state) {
    fixture *f = *state;
    size_t len;
    unsigned refused = 0, found = 0;
    rng dice;
    rng_seed(&dice, 11);
    make_database(f);
    char *data = file_read(f->path, &len);
    for (int round = 0; round < 100; round++) {
        unsigned char bytes[64];
        braid_error err;
        file_write(f->path, data, len);
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)rng_next(&dice);
        long at =
            (long)(1 + rng_below(&dice, len / 4096 - 1)) * 4096 + (round % 2 == 0 ? 0 : (long)rng_below(&dice, 4000));
        file_poke(f->path, at, bytes, sizeof bytes); /* half of them over the header of a page */
        int code = try_open(f, fixture_options(f), &err);
        if (code != BRAID_OK) {
            assert_true(code == BRAID_E_CORRUPT || code == BRAID_E_NOT_A_DATABASE || code == BRAID_E_INTERNAL);
            refused++;
            continue;
        }
        put_item(f->store, "b", "B", NULL, NULL);
        char *text = integrity_text(f->store, true);
        assert_non_null(text);
        found += strcmp(text, "ok") != 0;
        free(text);
        record_close(f->store);
        f->store = NULL;
    }
    assert_true(refused > 0 && refused + found >= 50);
    free(data);
}

static void a_second_writer_is_told_who_has_it_open(void **state) {
    fixture *f = *state;
    record_store *second = NULL;
    braid_error err = {0};
    record_options o = fixture_options(f);
    char pid[24];
    fixture_open(f);
    assert_int_equal(record_open(f->ops, &o, &second, &err), BRAID_E_LOCKED);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(err.message, pid));
    assert_non_null(strstr(err.message, "--url"));
    assert_null(second);
    assert_int_equal(put_item(f->store, "a", "A", NULL, NULL), BRAID_OK); /* the first one has not noticed */
}

static void one_may_read_while_another_writes(void **state) {
    fixture *f = *state;
    record_store *reader = NULL;
    braid_error err = {0};
    record_info info;
    record_options o = fixture_options(f);
    fixture_open(f);
    put_item(f->store, "a", "A", NULL, NULL);
    o.read_only = true;
    assert_int_equal(record_open(f->ops, &o, &reader, &err), BRAID_OK);
    assert_int_equal(record_get_info(reader, &info, &err), BRAID_OK);
    assert_int_equal(info.items, 1);
    assert_int_equal(put_item(reader, "b", "B", NULL, NULL), BRAID_E_READ_ONLY);
    record_close(reader);
    assert_int_equal(put_item(f->store, "b", "B", NULL, NULL), BRAID_OK);
}

static void a_folder_that_cannot_be_written_is_named_and_can_be_read(void **state) {
    fixture *f = *state;
    braid_error err;
    record_options o = fixture_options(f);
    record_info info;
    make_database(f);
    chmod(f->folder, 0555);
    chmod(f->path, 0444);
    bool root = geteuid() == 0;
    if (root && (setegid(65534) != 0 || seteuid(65534) != 0)) skip();
    int code = try_open(f, o, &err);
    bool mended = strstr(err.message, "writable") != NULL;
    o.read_only = true;
    int reading = try_open(f, o, &err),
        counting = reading == BRAID_OK ? record_get_info(f->store, &info, &err) : reading;
    record_close(f->store);
    f->store = NULL;
    if (root && (seteuid(0) != 0 || setegid(0) != 0)) abort();
    chmod(f->folder, 0755);
    assert_int_equal(code, BRAID_E_READ_ONLY);
    assert_true(mended);
    assert_int_equal(counting, BRAID_OK);
    assert_int_equal(info.items, 1);
    assert_int_equal(files_in(f->folder), 1);
}

static void a_killed_writer_leaves_a_file_that_opens_with_all_that_was_acknowledged(void **state) {
    fixture *f = *state;
    for (int round = 0; round < 10; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            fixture_open(f);
            for (int i = 0;; i++) {
                char id[32];
                snprintf(id, sizeof id, "%d-%d", round, i);
                if (put_item(f->store, id, "A film", NULL, NULL) != BRAID_OK ||
                    write(pipes[1], &i, sizeof i) != sizeof i)
                    _exit(1);
            }
        }
        close(pipes[1]);
        int last = -1, i;
        while (last < 5 + round * 3 && read(pipes[0], &i, sizeof i) == sizeof i) last = i;
        kill(child, SIGKILL);
        while (read(pipes[0], &i, sizeof i) == sizeof i) last = i;
        waitpid(child, NULL, 0);
        close(pipes[0]);
        fixture_open(f);
        char id[32];
        uint64_t lsn = 0;
        snprintf(id, sizeof id, "%d-%d", round, last);
        record_info info;
        record_get_info(f->store, &info, NULL);
        assert_true(info.items >= (uint64_t)last + 1);
        assert_int_equal(put_item(f->store, id, "again", NULL, &lsn), BRAID_OK);
        assert_true(lsn == info.head_lsn + 1);
        char *text = integrity_text(f->store, true);
        assert_string_equal(text, "ok");
        free(text);
        record_close(f->store);
        f->store = NULL;
    }
}

static bool hold(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    (void)ctx, (void)id, (void)body, (void)len, (void)version;
    return true;
}

static bool bytes_in(const char *path, const char *word) {
    size_t len;
    if (access(path, F_OK) != 0) return false;
    char *data = file_read(path, &len);
    bool there = memmem(data, len, word, strlen(word)) != NULL;
    free(data);
    return there;
}

static void a_removed_person_leaves_no_bytes_behind(void **state) {
    fixture *f = *state;
    char wal[160];
    snprintf(wal, sizeof wal, "%s-wal", f->path);
    fixture_open(f);
    put_item(f->store, "a", "A", NULL, NULL);
    for (int i = 0; i < 300; i++) {
        char id[32];
        snprintf(id, sizeof id, "user-%d", i);
        put_user(f->store, id, i == 150 ? "Zweistein" : "Einstein");
    }
    assert_int_equal(record_checkpoint(f->store, NULL), BRAID_OK);
    assert_true(bytes_in(f->path, "Zweistein"));
    put_user(f->store, "user-150", "Zweistein the second");
    assert_int_equal(record_get_user(f->store, "user-150", 0, hold, NULL, NULL), BRAID_OK);
    assert_int_equal(drop_user(f->store, "user-150"), BRAID_OK);
    for (int i = 0; i < 100 && (bytes_in(f->path, "Zweistein") || bytes_in(wal, "Zweistein")); i++)
        usleep(50000); /* the WAL is emptied soon after */
    assert_false(bytes_in(f->path, "Zweistein"));
    assert_false(bytes_in(wal, "Zweistein"));
    assert_true(bytes_in(f->path, "Einstein"));
}

/* As SQLite words it: "*** in database main ***", then a line a finding. */
static void a_check_that_could_not_look_is_no_damage(void **state) {
    (void)state;
    assert_int_equal(record_sqlite_finding("*** in database main ***\nPage 6: unable to get the page. error code=7"),
                     SQLITE_NOMEM);
    assert_int_equal(record_sqlite_finding("Page 6: unable to get the page. error code=266"), SQLITE_IOERR_READ);
    assert_int_equal(record_sqlite_finding("Page 6: unable to get the page. error code=11"), SQLITE_OK);
    assert_int_equal(record_sqlite_finding("ok"), SQLITE_OK);
}

int main(void) {
#define FILE_CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_check_that_could_not_look_is_no_damage),
        FILE_CLAIM(a_closed_database_is_one_file),
        FILE_CLAIM(a_file_that_is_not_there_is_made_only_if_wanted),
        FILE_CLAIM(an_empty_file_is_a_new_database),
        FILE_CLAIM(a_new_database_wants_a_dimension_and_an_old_one_keeps_it),
        FILE_CLAIM(a_file_of_something_else_is_refused_untouched),
        FILE_CLAIM(a_database_of_another_application_is_refused_untouched),
        FILE_CLAIM(a_newer_database_is_refused_untouched),
        FILE_CLAIM(a_database_of_the_first_schema_is_brought_up_to_date),
        FILE_CLAIM(a_database_of_the_second_schema_keeps_everything_and_learns_neighbours),
        FILE_CLAIM(a_database_of_the_third_schema_keeps_everything_and_takes_documents_and_slates),
        FILE_CLAIM(a_damaged_list_of_neighbours_is_corrupt_and_the_others_are_read),
        FILE_CLAIM(neighbours_without_their_log_row_or_item_are_found),
        FILE_CLAIM(a_database_of_an_older_schema_is_not_read_without_the_right_to_write),
        FILE_CLAIM(a_database_that_is_cut_short_is_refused_untouched),
        FILE_CLAIM(damage_in_the_middle_is_an_error_and_never_a_crash),
        FILE_CLAIM(a_second_writer_is_told_who_has_it_open),
        FILE_CLAIM(one_may_read_while_another_writes),
        FILE_CLAIM(a_folder_that_cannot_be_written_is_named_and_can_be_read),
        FILE_CLAIM(a_killed_writer_leaves_a_file_that_opens_with_all_that_was_acknowledged),
        FILE_CLAIM(a_removed_person_leaves_no_bytes_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
