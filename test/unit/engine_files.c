/* R33: what braid_open makes of the files it is given: what is not ours, newer or cut short is refused and left as it
 * is to the byte, without anything beside it; what is derived (FILE-hnsw) is built again whenever it is not exactly
 * right, and the answers are the same. Refusals of rights are tried with the rights of nobody, since root is refused
 * nothing. */
#include <sqlite3.h>

#include "engine_disk.h"

enum { USER_VERSION_AT = 60, APPLICATION_AT = 68, NOBODY = 65534 };

/* Refused with a code and words; nothing is open. */
static void refused(fixture *f, const char *const *with, int wanted) {
    braid_error err = {0};
    int rc = fixture_open(f, with, &err);
    assert_null(f->db);
    if (rc != wanted) fail_msg("%s instead of %s: %s", braid_error_name(rc), braid_error_name(wanted), err.message);
    assert_int_equal(err.code, rc);
    assert_true(err.message[0] != '\0');
}

/* Refused, and the file is as it was, alone in its folder (the index of the base beside it). */
static void refused_untouched(fixture *f, const void *data, size_t len, int wanted) {
    file_write(f->path, data, len);
    size_t before = names_in(f->folder);
    refused(f, settings, wanted);
    assert_int_equal(names_in(f->folder), before);
    bytes now = file_read(f->path);
    assert_int_equal(now.len, len);
    assert_int_equal(memcmp(now.at, data, len), 0);
    free(now.at);
}

/* ---- what is not ours ---- */
static void a_file_of_something_else_is_refused_untouched(void **state) {
    fixture *f = *state;
    unsigned char random[5000];
    static const char text[] = "not a database, but a letter that somebody would miss\n";
    for (size_t i = 0; i < sizeof random; i++) random[i] = (unsigned char)(i * 2654435761U >> 13);
    refused_untouched(f, random, sizeof random, BRAID_E_NOT_A_DATABASE);
    refused_untouched(f, text, sizeof text - 1, BRAID_E_NOT_A_DATABASE);
    refused_untouched(f, "x", 1, BRAID_E_NOT_A_DATABASE);
    refused_untouched(f, "SQLite format 3", 16, BRAID_E_NOT_A_DATABASE);
    memcpy(random, "SQLite format 3", 16);
    refused_untouched(f, random, sizeof random, BRAID_E_NOT_A_DATABASE);
}

static void a_database_of_another_application_is_refused_untouched(void **state) {
    fixture *f = *state;
    sqlite3 *other;
    unlink(f->path);
    assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "CREATE TABLE diary(day, text); INSERT INTO diary VALUES('monday', 'rain')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(other);
    bytes b = file_read(f->path);
    refused_untouched(f, b.at, b.len, BRAID_E_NOT_A_DATABASE);
    free(b.at);
}

static void a_newer_database_is_refused_untouched(void **state) {
    fixture *f = *state;
    bytes b = file_read(f->path);
    assert_true(b.at[USER_VERSION_AT + 3] >= 1);
    b.at[USER_VERSION_AT + 3]++;
    refused_untouched(f, b.at, b.len, BRAID_E_NEWER_FORMAT);
    b.at[USER_VERSION_AT] = 0x7f;
    refused_untouched(f, b.at, b.len, BRAID_E_NEWER_FORMAT);
    b.at[USER_VERSION_AT] = 0;
    b.at[USER_VERSION_AT + 3]--; /* as it was: it opens, so that was why */
    file_write(f->path, b.at, b.len);
    open_db(f);
    shut(f);
    b.at[APPLICATION_AT] ^= 1;
    refused_untouched(f, b.at, b.len, BRAID_E_NOT_A_DATABASE);
    free(b.at);
}

static void a_file_that_is_cut_short_is_refused_untouched(void **state) {
    fixture *f = *state;
    bytes b = file_read(f->path);
    const size_t cuts[] = {b.len - 1, b.len - 4096, b.len / 2, b.len / 3, 4096, 4095, 512, 100};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) refused_untouched(f, b.at, cuts[i], BRAID_E_CORRUPT);
    for (size_t len = 2; len < 100; len += 7) refused_untouched(f, b.at, len, BRAID_E_NOT_A_DATABASE);
    free(b.at);
}

/* A page that was overwritten is an error, or is found by verify, or nobody needed it; but never a crash. */
static void damage_in_the_middle_is_an_error_or_is_found(void **state) {
    fixture *f = *state;
    bytes b = file_read(f->path);
    unsigned refusals = 0, found = 0;
    for (size_t page = 1; page * 4096 < b.len; page += b.len / 4096 > 24 ? 2 : 1) {
        unsigned char kept[4096];
        braid_error err = {0};
        memcpy(kept, b.at + page * 4096, sizeof kept);
        memset(b.at + page * 4096, 0xa5, sizeof kept);
        file_write(f->path, b.at, b.len);
        int rc = fixture_open(f, settings, &err);
        if (rc == BRAID_OK) {
            char *json = NULL;
            rc = braid_verify(f->db, false, NULL, NULL, &json, &err);
            found += rc != BRAID_OK || strncmp(json, "{\"ok\":true", 10) != 0;
            braid_free(json);
        } else if (rc == BRAID_E_CORRUPT || rc == BRAID_E_NOT_A_DATABASE) {
            refusals++;
        } else {
            fail_msg("page %zu: %s: %s", page, braid_error_name(rc), err.message);
        }
        shut(f);
        memcpy(b.at + page * 4096, kept, sizeof kept);
    }
    if (refusals + found < 5) fail_msg("only %u refused and %u found", refusals, found);
    file_write(f->path, b.at, b.len);
    free(b.at);
}

static void an_empty_file_becomes_a_new_database(void **state) {
    fixture *f = *state;
    file_write(f->path, "", 0);
    open_db(f);
    assert_int_equal(braid_dimension(f->db), 32);
    put_all(f, "{\"id\":\"first\",\"title\":\"Le premier\"}");
    shut(f);
    open_db(f);
    char *json;
    assert_int_equal(braid_get_item(f->db, "first", &json, NULL), BRAID_OK);
    braid_free(json);
    assert_int_equal(braid_get_item(f->db, "i003", &json, NULL), BRAID_E_NOT_FOUND);
}

/* ---- paths and options ---- */
static void a_missing_file_is_made_only_if_wanted(void **state) {
    fixture *f = *state;
    static const char *const no_create[] = {"record.create", "false", NULL};
    char side[128];
    name_beside(f, "-hnsw", side);
    unlink(f->path);
    unlink(side);
    refused(f, no_create, BRAID_E_NOT_FOUND);
    assert_int_equal(names_in(f->folder), 0);
    static const char *const read_only[] = {"record.read_only", "true", NULL};
    refused(f, read_only, BRAID_E_NOT_FOUND);
    assert_int_equal(names_in(f->folder), 0);
}

static void paths_that_lead_nowhere_are_named(void **state) {
    fixture *f = *state;
    char kept[sizeof f->path], longest[5000];
    braid_db *db = NULL;
    braid_error err = {0};
    memcpy(kept, f->path, sizeof kept);
    memcpy(f->path, f->folder, sizeof f->folder); /* a folder */
    refused(f, settings, BRAID_E_NOT_A_DATABASE);
    snprintf(f->path, sizeof f->path, "%s/no/such.db", f->folder);
    refused(f, settings, BRAID_E_NOT_FOUND);
    snprintf(f->path, sizeof f->path, "%.80s/x.db", kept); /* below a file */
    refused(f, settings, BRAID_E_NOT_FOUND);
    memcpy(f->path, kept, sizeof kept);
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    const char *const bad[] = {"", NULL, longest, "/dev/null"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        db = (braid_db *)&err;
        assert_int_not_equal(braid_open(bad[i], NULL, &db, &err), BRAID_OK);
        assert_null(db);
        assert_true(err.message[0] != '\0');
        err = (braid_error){0};
    }
}

static void another_dimension_is_refused_and_none_takes_the_files(void **state) {
    fixture *f = *state;
    static const char *const other[] = {"vector.dimension", "64", NULL}, *const none[] = {NULL};
    bytes before = file_read(f->path);
    refused(f, other, BRAID_E_DIMENSION);
    bytes after = file_read(f->path);
    assert_int_equal(after.len, before.len);
    free(before.at);
    free(after.at);
    braid_error err = {0};
    assert_int_equal(fixture_open(f, none, &err), BRAID_OK);
    assert_int_equal(braid_dimension(f->db), 32);
}

static void a_second_open_is_refused_and_told_by_whom(void **state) {
    fixture *f = *state;
    char pid[24];
    open_db(f);
    fixture second = *f;
    second.db = NULL;
    braid_error err = {0};
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_int_equal(fixture_open(&second, settings, &err), BRAID_E_LOCKED);
    assert_null(second.db);
    assert_non_null(strstr(err.message, pid));
    put_all(f, "{\"id\":\"still\",\"title\":\"Le premier écrit toujours\"}");
    shut(f);
    open_db(f); /* closing lets go */
}

/* ---- rights ---- */
static void one_may_read_what_may_not_be_written(void **state) {
    fixture *f = *state;
    static const char *const read_only[] = {"record.read_only", "true", "query.deadline_ms", "20000", NULL};
    braid_error err = {0};
    braid_report *report;
    bytes before = file_read(f->path);
    if (fixture_open(f, read_only, &err)) fail_msg("%s", err.message);
    json_t *a = ask(f, BRAID_SEARCH, "{\"text\":\"film\",\"k\":5}");
    assert_int_equal(result_count(a), 5);
    json_decref(a);
    a = ask(f, BRAID_RECOMMEND, "{\"user\":\"ana\",\"k\":5}");
    assert_int_equal(result_count(a), 5);
    json_decref(a);
    assert_int_equal(braid_write(f->db, "{\"id\":\"x\",\"title\":\"X\"}", 0, NULL, &report, &err), BRAID_E_READ_ONLY);
    assert_null(report);
    char *json;
    assert_int_equal(braid_verify(f->db, false, NULL, NULL, &json, &err), BRAID_OK);
    assert_int_equal(strncmp(json, "{\"ok\":true", 10), 0);
    braid_free(json);
    shut(f);
    bytes after = file_read(f->path);
    assert_true(after.len == before.len && memcmp(after.at, before.at, after.len) == 0);
    free(before.at);
    free(after.at);
}

/* Takes the rights of nobody while `work` runs; as somebody else already, only the modes decide. */
static void as_nobody(fixture *f, void (*work)(fixture *f)) {
    bool root = geteuid() == 0;
    if (root && seteuid(NOBODY) != 0) skip();
    work(f);
    if (root) assert_int_equal(seteuid(0), 0);
}

static int rights_rc[3];
static size_t rights_results;

/* No assert in here: it would leave the test without root's rights. */
static void open_as_nobody(fixture *f) {
    static const char *const read_only[] = {"record.read_only", "true", NULL};
    braid_error err = {0};
    rights_rc[0] = fixture_open(f, settings, &err);
    shut(f);
    err = (braid_error){0};
    rights_rc[1] = fixture_open(f, read_only, &err);
    braid_query *q = NULL;
    braid_result *r = NULL;
    if (rights_rc[1] == BRAID_OK &&
        (rights_rc[2] = braid_query_new(f->db, BRAID_SEARCH, "{\"text\":\"film\",\"k\":5,\"deadline_ms\":20000}", 0, &q,
                                        &err)) == BRAID_OK)
        rights_rc[2] = braid_run(f->db, q, &r, &err);
    rights_results = r ? braid_result_count(r) : 0;
    if (r) braid_result_free(r);
    if (q) braid_query_free(q);
    shut(f);
}

static void refused_for_writing_and_read(fixture *f, size_t names) {
    as_nobody(f, open_as_nobody);
    assert_int_equal(rights_rc[0], BRAID_E_READ_ONLY);
    assert_int_equal(rights_rc[1], BRAID_OK);
    assert_int_equal(rights_rc[2], BRAID_OK);
    assert_int_equal(rights_results, 5);
    assert_int_equal(names_in(f->folder), names);
}

static void a_folder_that_may_not_be_written_is_told_and_can_be_read(void **state) {
    fixture *f = *state;
    assert_int_equal(chmod(f->folder, 0555), 0);
    assert_int_equal(chmod(f->path, 0666), 0);
    refused_for_writing_and_read(f, 2); /* file and index, nothing else */
    assert_int_equal(chmod(f->folder, 0755), 0);
}

static void a_file_that_may_not_be_written_is_told_and_can_be_read(void **state) {
    fixture *f = *state;
    assert_int_equal(chmod(f->folder, 0777), 0);
    assert_int_equal(chmod(f->path, 0444), 0);
    refused_for_writing_and_read(
        f, 4); /* a reader of SQLite's WAL leaves an empty -wal and a -shm where it may make them */
    assert_int_equal(chmod(f->path, 0644), 0);
    open_db(f); /* which are in nobody's way */
    put_all(f, "{\"id\":\"after\",\"title\":\"Après\"}");
}

int main(void) {
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(a_file_of_something_else_is_refused_untouched),
        CLAIM(a_database_of_another_application_is_refused_untouched),
        CLAIM(a_newer_database_is_refused_untouched),
        CLAIM(a_file_that_is_cut_short_is_refused_untouched),
        CLAIM(damage_in_the_middle_is_an_error_or_is_found),
        CLAIM(an_empty_file_becomes_a_new_database),
        CLAIM(a_missing_file_is_made_only_if_wanted),
        CLAIM(paths_that_lead_nowhere_are_named),
        CLAIM(another_dimension_is_refused_and_none_takes_the_files),
        CLAIM(a_second_open_is_refused_and_told_by_whom),
        CLAIM(one_may_read_what_may_not_be_written),
        CLAIM(a_folder_that_may_not_be_written_is_told_and_can_be_read),
        CLAIM(a_file_that_may_not_be_written_is_told_and_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
