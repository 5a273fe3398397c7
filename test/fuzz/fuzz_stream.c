/* Fuzzing of the stream format: any bytes to braid_write, with each kind of bare element.
 *
 * The first byte says what a bare element is (bits 0-1), whether the call has an idempotency key (2) and another
 * first line (3), and whether the database is read afterwards (4). The report must be consistent. Now and then the
 * stores must agree with the record store; and every so many inputs the database is closed and opened again, all
 * of it is exported and loaded into an empty one, which must take every line. */
#include "fuzz.h"

enum { VERIFY_EVERY = 500, RENEW_EVERY = 4000, FIRST_LINE = 1000000, PAGE = 50 };

static fuzz_db f;
static size_t runs;

/* What was accepted can be exported, and what was exported can be loaded. */
static void check_export(void) {
    fuzz_db copy = {0};
    char *cursor = NULL;
    fuzz_db_new(&copy);
    do {
        char *page, *next;
        braid_error err = {0};
        if (braid_export(f.db, cursor, PAGE, &page, &next, &err)) fuzz_fail("everything can be exported", err.message);
        if (*page) fuzz_db_put(copy.db, page, strlen(page));
        braid_free(page);
        braid_free(cursor);
        cursor = next;
    } while (cursor);
    fuzz_db_verify(copy.db);
    fuzz_db_drop(&copy);
}

static void check_all(void) {
    fuzz_db_verify(f.db);
    braid_close(f.db);
    f.db = NULL;
    fuzz_db_open(&f);
    fuzz_db_verify(f.db);
    check_export();
}

static void finish(void) {
    if (f.db) check_all();
    fuzz_db_drop(&f);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    fuzz_db_new(&f);
    fuzz_db_fill(f.db);
    atexit(finish);
    return 0;
}

static void check_report(const braid_report *report, size_t first_line) {
    const char *text = braid_report_json(report);
    json_t *json = fuzz_json(text, strlen(text), "a report is JSON"), *rejected = json_object_get(json, "rejected");
    braid_rejection no;
    if (braid_report_duplicates(report) > braid_report_accepted(report))
        fuzz_fail("duplicates are among the accepted", text);
    if (braid_report_rejected(report) < json_array_size(rejected)) fuzz_fail("rejections are counted", text);
    for (size_t i = 0; braid_report_rejection(report, i, &no) == BRAID_OK; i++) {
        braid_error err = {.code = no.code, .store = "request"};
        snprintf(err.message, sizeof err.message, "%s", no.message);
        fuzz_check_refusal(no.code, &err);
        if (no.line < first_line) fuzz_fail("a rejection names its line", text);
    }
    json_decref(json);
}

/* Reads what may just have been written, by its pages. */
static void read_back(void) {
    char *page = NULL;
    braid_error err = {0};
    if (braid_list_items(f.db, NULL, 20, NULL, &page, &err)) fuzz_fail("items can be listed", err.message);
    json_decref(fuzz_json(page, strlen(page), "a page of items is JSON"));
    braid_free(page);
    if (braid_list_users(f.db, NULL, 20, &page, &err)) fuzz_fail("users can be listed", err.message);
    json_decref(fuzz_json(page, strlen(page), "a page of users is JSON"));
    braid_free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    uint8_t mode = data[0];
    braid_write_options options = {.bare = (braid_line_kind)(mode & 3),
                                   .idempotency_key = mode & 4 ? "a-key" : NULL,
                                   .first_line = mode & 8 ? FIRST_LINE : 1,
                                   .queued = mode & 32};
    char *text = fuzz_copy(data + 1, size - 1, false);
    braid_report *report;
    braid_error err = {0};
    int rc = braid_write(f.db, text, size - 1, &options, &report, &err);
    if (rc) {
        fuzz_check_refusal(rc, &err);
    } else {
        check_report(report, options.first_line);
        braid_report_free(report);
    }
    free(text);
    if (mode & 16) read_back();
    if (++runs % VERIFY_EVERY == 0) fuzz_db_verify(f.db);
    if (runs % RENEW_EVERY == 0) {
        check_all();
        fuzz_db_drop(&f);
        fuzz_db_new(&f);
        fuzz_db_fill(f.db);
    }
    return 0;
}
