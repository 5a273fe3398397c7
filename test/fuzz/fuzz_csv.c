/* Fuzzing of the CSV reader that imports MovieLens: any bytes as a file.
 *
 * Rows that are right, written again with every field quoted, must be read as the same rows; a row that is wrong
 * has no fields; line numbers grow. */
#include "cli/csv.h"

#include "cli/cli.h"
#include "fuzz.h"

/* The one function that the reader borrows from the rest of the command line. */
void *cli_grow(void *old, size_t bytes) {
    void *p = realloc(old, bytes);
    if (!p) abort();
    return p;
}

typedef struct text {
    char *data;
    size_t len, cap;
} text;

static void put(text *t, const char *bytes, size_t n) {
    if (t->len + n > t->cap) t->data = realloc(t->data, t->cap = (t->len + n) * 2);
    if (!t->data) abort();
    memcpy(t->data + t->len, bytes, n);
    t->len += n;
}

static void put_quoted(text *t, const char *field) {
    put(t, "\"", 1);
    for (; *field; field++) put(t, *field == '"' ? "\"\"" : field, *field == '"' ? 2 : 1);
    put(t, "\"", 1);
}

/* Reads a file and writes its good rows, quoted. */
static void rows_of(fuzz_file *file, const char *data, size_t size, text *out, size_t *wrong) {
    csv_reader r;
    size_t line = 0;
    if (!csv_open(&r, fuzz_file_put(file, data, size))) abort();
    while (csv_next(&r)) {
        if (r.line <= line) fuzz_fail("line numbers grow", r.wrong);
        line = r.line;
        if (r.wrong) {
            ++*wrong;
            if (r.count) fuzz_fail("a wrong row has no fields", r.wrong);
            continue;
        }
        if (r.count == 0 || r.count > CSV_FIELDS_MAX) fuzz_fail("a row has fields", "");
        (void)csv_column(&r, "movieId");
        for (size_t i = 0; i < r.count; i++) {
            if (i) put(out, ",", 1);
            put_quoted(out, r.field[i]);
        }
        put(out, "\n", 1);
    }
    if (r.bytes > size) fuzz_fail("no more is read than there is", "");
    csv_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_file file;
    text first = {0}, second = {0};
    size_t wrong = 0, wrong_again = 0;
    rows_of(&file, (const char *)data, size, &first, &wrong);
    rows_of(&file, first.data, first.len, &second, &wrong_again);
    if (wrong_again) fuzz_fail("what was written is right", first.data);
    if (first.len != second.len || (first.len && memcmp(first.data, second.data, first.len) != 0))
        fuzz_fail("rows survive writing and reading", "they differ");
    free(first.data);
    free(second.data);
    return 0;
}
