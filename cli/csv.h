/* csv: a reader of RFC 4180, row by row, from files of any size.
 *
 * Fields may be quoted, and quoted fields may hold commas, doubled quotes and line ends; rows end in LF or CRLF; a byte
 * order mark is skipped. A row that breaks the rules is reported with its line and the reader goes on after it. */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { CSV_FIELDS_MAX = 64, CSV_ROW_BYTES_MAX = 1 << 20 };

typedef struct csv_reader {
    FILE *in;
    size_t line; /* of the row in hand: where it begins */
    size_t next_line;
    uint64_t bytes; /* read so far */
    char *text;     /* the row's fields, one after another */
    size_t len, cap;
    char *field[CSV_FIELDS_MAX];
    size_t count;
    const char *wrong; /* what is wrong with the row, or NULL */
} csv_reader;

/* False if the file cannot be opened (errno says why). */
bool csv_open(csv_reader *r, const char *path);
void csv_close(csv_reader *r);
/* Reads a row: false at the end. A row with `wrong` set has no fields. Empty lines are skipped. */
bool csv_next(csv_reader *r);
/* The column of that name in the row in hand (the header), or -1. */
int csv_column(const csv_reader *r, const char *name);

#endif
