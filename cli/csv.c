/* The CSV reader: a state machine over single bytes. Fields are found as offsets first, since the text may move while
 * it grows. */
#include "csv.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef enum state { FIELD_START, BARE, QUOTED, QUOTE_IN_QUOTED, BROKEN } state;

bool csv_open(csv_reader *r, const char *path) {
    *r = (csv_reader){.next_line = 1, .in = fopen(path, "rb")};
    if (!r->in) return false;
    char mark[3];
    if (fread(mark, 1, 3, r->in) != 3 || memcmp(mark, "\xEF\xBB\xBF", 3) != 0) rewind(r->in);
    return true;
}

void csv_close(csv_reader *r) {
    if (r->in) fclose(r->in);
    free(r->text);
    *r = (csv_reader){0};
}

static int next_byte(csv_reader *r) {
    int byte = getc_unlocked(r->in);
    if (byte != EOF) r->bytes++;
    if (byte == '\n') r->next_line++;
    return byte;
}

static void put(csv_reader *r, int byte) {
    if (r->len >= CSV_ROW_BYTES_MAX) {
        r->wrong = "the row is longer than a megabyte";
        return;
    }
    if (r->len == r->cap) r->text = cli_grow(r->text, r->cap = r->cap ? r->cap * 2 : 512);
    r->text[r->len++] = (char)byte;
}

static void end_field(csv_reader *r, size_t starts[CSV_FIELDS_MAX], size_t *start) {
    put(r, '\0');
    if (r->count == CSV_FIELDS_MAX)
        r->wrong = "the row has too many fields";
    else
        starts[r->count++] = *start;
    *start = r->len;
}

/* One byte inside a row; false when the row has ended. */
static bool take(csv_reader *r, int byte, state *s, size_t starts[CSV_FIELDS_MAX], size_t *start) {
    if (byte == '\0' && !r->wrong) r->wrong = "the row holds a NUL byte";
    if (byte == EOF && *s == QUOTED) r->wrong = "a quoted field is not closed";
    bool ends_line = byte == '\n' && *s != QUOTED;
    if (byte == EOF || ends_line) {
        if (*s == BARE && r->len > *start && r->text[r->len - 1] == '\r') r->len--; /* CRLF after a bare field */
        end_field(r, starts, start);
        return false;
    }
    switch (*s) {
    case FIELD_START:
    case BARE:
        if (byte == '"' && *s == FIELD_START)
            *s = QUOTED;
        else if (byte == '"')
            r->wrong = "a quote stands inside a field that is not quoted", *s = BROKEN;
        else if (byte == ',')
            end_field(r, starts, start), *s = FIELD_START;
        else
            put(r, byte), *s = BARE;
        break;
    case QUOTED:
        if (byte == '"')
            *s = QUOTE_IN_QUOTED;
        else
            put(r, byte);
        break;
    case QUOTE_IN_QUOTED:
        if (byte == '"')
            put(r, '"'), *s = QUOTED;
        else if (byte == ',')
            end_field(r, starts, start), *s = FIELD_START;
        else if (byte != '\r')
            r->wrong = "something follows the closing quote of a field", *s = BROKEN;
        break;
    case BROKEN: break;
    }
    return true;
}

bool csv_next(csv_reader *r) {
    int byte;
    do {
        r->line = r->next_line;
        byte = next_byte(r);
        if (byte == '\r') {
            int after = next_byte(r);
            if (after == '\n')
                byte = '\n';
            else if (after != EOF)
                ungetc(after, r->in), r->bytes--;
        }
    } while (byte == '\n');
    if (byte == EOF) return false;
    size_t starts[CSV_FIELDS_MAX], start = 0;
    state s = FIELD_START;
    r->len = r->count = 0;
    r->wrong = NULL;
    while (take(r, byte, &s, starts, &start)) byte = next_byte(r);
    if (r->wrong) r->count = 0;
    for (size_t i = 0; i < r->count; i++) r->field[i] = r->text + starts[i];
    return true;
}

int csv_column(const csv_reader *r, const char *name) {
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->field[i], name) == 0) return (int)i;
    return -1;
}
