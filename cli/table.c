/* Tables for people: columns as wide as their widest cell, counted in columns of the terminal. On a terminal that is
 * too narrow the column marked '*' is cut; in a pipe nothing is. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { COLUMNS_MAX = 12, GAP = 2, NARROWEST = 8 };

struct cli_table {
    size_t columns, count, cap;
    char *names[COLUMNS_MAX];
    bool right[COLUMNS_MAX], gives[COLUMNS_MAX];
    char **cells;
};

cli_table *cli_table_new(const char *columns) {
    cli_table *t = cli_alloc(sizeof *t);
    while (t->columns < COLUMNS_MAX) {
        size_t i = t->columns++;
        for (; *columns == '>' || *columns == '*'; columns++) {
            t->right[i] |= *columns == '>';
            t->gives[i] |= *columns == '*';
        }
        size_t len = strcspn(columns, "|");
        t->names[i] = cli_format("%.*s", (int)len, columns);
        columns += len;
        if (*columns++ != '|') break;
    }
    return t;
}

static void add(cli_table *t, char *owned) {
    if (t->count == t->cap) t->cells = cli_grow(t->cells, sizeof *t->cells * (t->cap = t->cap ? t->cap * 2 : 64));
    t->cells[t->count++] = owned;
}

void cli_table_cell(cli_table *t, const char *text) {
    add(t, cli_copy(text));
}

void cli_table_cellf(cli_table *t, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    add(t, n < 0 ? cli_copy("") : text);
}

static void fit(const cli_table *t, size_t widths[COLUMNS_MAX]) {
    size_t total = 0, room = cli_columns(), giving = COLUMNS_MAX;
    for (size_t i = 0; i < t->columns; i++) {
        widths[i] = cli_width(t->names[i]);
        if (t->gives[i]) giving = i;
    }
    for (size_t i = 0; i < t->count; i++) {
        size_t w = cli_width(t->cells[i]);
        if (w > widths[i % t->columns]) widths[i % t->columns] = w;
    }
    for (size_t i = 0; i < t->columns; i++) total += widths[i] + (i ? GAP : 0);
    if (room == 0 || total <= room || giving == COLUMNS_MAX) return;
    size_t over = total - room, least = widths[giving] < NARROWEST ? widths[giving] : NARROWEST;
    widths[giving] = widths[giving] > over + least ? widths[giving] - over : least;
}

static void print_row(const cli_table *t, char *const *cells, const size_t *widths, FILE *out) {
    for (size_t i = 0; i < t->columns; i++) {
        size_t wide = cli_width(cells[i]) < widths[i] ? cli_width(cells[i]) : widths[i], pad = widths[i] - wide;
        if (i) fprintf(out, "%*s", GAP, "");
        if (t->right[i]) fprintf(out, "%*s", (int)pad, "");
        cli_put(out, cells[i], widths[i]);
        if (!t->right[i] && i + 1 < t->columns) fprintf(out, "%*s", (int)pad, "");
    }
    fputc('\n', out);
}

void cli_table_print(cli_table *t, FILE *out) {
    size_t widths[COLUMNS_MAX] = {0};
    fit(t, widths);
    fputs(cli_dim(), out);
    print_row(t, t->names, widths, out);
    fputs(cli_plain(), out);
    for (size_t i = 0; i + t->columns <= t->count; i += t->columns) print_row(t, t->cells + i, widths, out);
}

void cli_table_free(cli_table *t) {
    if (!t) return;
    for (size_t i = 0; i < t->columns; i++) free(t->names[i]);
    for (size_t i = 0; i < t->count; i++) free(t->cells[i]);
    free(t->cells);
    free(t);
}
