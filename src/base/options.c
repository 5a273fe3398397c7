/* The option table's machinery: holding, checking, finding and printing values; the YAML reader is
 * options_yaml.c.
 *
 * A value is checked when it is set and kept both as canonical text (true/false, 384) and as a number, so that
 * reading it is free and independent of the locale. A load from a file or the environment is applied to a copy
 * that replaces the set only when all of it was good: half a configuration is never in force. An unknown key is
 * an error that names the nearest known one, since a typing slip that is silently ignored costs its author an
 * afternoon. Text values are not repeated in messages: one of them may be a password. */
#include "options.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "options_private.h"
#include "utf8.h"

static const char option_store[] = "options";

typedef struct option_value {
    char *text;
    double real; /* INT, REAL; BOOL as 0 or 1 */
    int64_t integer;
    bool set; /* by somebody, even if to the default */
} option_value;

struct option_set {
    const option_row *rows;
    size_t count;
    char **keys; /* "section.name" of each row */
    map *index;  /* key -> row */
    option_value *values;
};

/* ---- checking ---- */

static bool option_parse_bool(const char *text, bool *value) {
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *value = strcasecmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static bool option_parse_int(const char *text, int64_t *value) {
    size_t digits = text[0] == '-' || text[0] == '+';
    if (text[digits] < '0' || text[digits] > '9') return false;
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

/* By the C locale whatever the host program has set; no hexadecimal, infinity or NaN. */
static bool option_parse_real(const char *text, double *value) {
    if (text[0] == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0') return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
    if (c == NULL) return false;
    char *end;
    *value = strtod_l(text, &end, c);
    freelocale(c);
    return end != text && *end == '\0' && isfinite(*value);
}

static bool option_is_choice(const char *choices, const char *text) {
    size_t len = strlen(text);
    if (len == 0 || strchr(text, '|') != NULL) return false;
    for (const char *at = choices; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, text, len) == 0 && (at[len] == '|' || at[len] == '\0')) return true;
    }
    return false;
}

/* Paths, addresses, names: UTF-8 in one line, so that it can be printed and logged. */
static bool option_is_line(const char *text) {
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return false;
    return utf8_valid(text, len);
}

static bool option_in_range(const option_row *row, double value) {
    return row->min >= row->max || (value >= row->min && value <= row->max);
}

/* Fills everything of `out` but the text; false if the value does not fit the row. */
static bool option_parse(const option_row *row, const char *text, option_value *out) {
    bool flag = false;
    switch (row->type) {
    case OPTION_INT:
        if (!option_parse_int(text, &out->integer)) return false;
        out->real = (double)out->integer;
        return option_in_range(row, out->real);
    case OPTION_REAL: return option_parse_real(text, &out->real) && option_in_range(row, out->real);
    case OPTION_BOOL:
        if (!option_parse_bool(text, &flag)) return false;
        out->integer = flag;
        return true;
    case OPTION_ENUM: return option_is_choice(row->choices, text);
    case OPTION_STRING:
    case OPTION_SECRET: return option_is_line(text);
    }
    return false;
}

/* "must be a whole number from 1 to 4096, not "abc"" */
static void option_describe(const option_row *row, const char *text, buf *out) {
    if (row->type == OPTION_STRING || row->type == OPTION_SECRET) {
        buf_puts(out, "must be one line of UTF-8 text without control characters");
        return;
    }
    if (row->type == OPTION_BOOL) buf_puts(out, "must be true or false");
    if (row->type == OPTION_ENUM) {
        buf_puts(out, "must be one of ");
        for (const char *at = row->choices; *at != '\0'; at++) buf_add(out, *at == '|' ? ", " : at, *at == '|' ? 2 : 1);
    }
    if (row->type == OPTION_INT || row->type == OPTION_REAL) {
        buf_puts(out, row->type == OPTION_INT ? "must be a whole number" : "must be a number");
        if (row->min < row->max) {
            buf_puts(out, " from ");
            buf_json_real(out, row->min);
            buf_puts(out, " to ");
            buf_json_real(out, row->max);
        }
    }
    buf_printf(out, ", not \"%.40s\"", text);
}

static int option_refuse(const option_set *set, size_t i, const char *where, const char *value, braid_error *err) {
    buf why;
    buf_init(&why, OPTION_VALUE_BYTES_MAX);
    option_describe(&set->rows[i], value, &why);
    error_set(err, BRAID_E_INVALID, option_store, "%s%s %s", where, set->keys[i], why.data);
    buf_free(&why);
    return BRAID_E_INVALID;
}

static char *option_canonical(const option_row *row, const option_value *v, const char *text) {
    buf out;
    buf_init(&out, OPTION_VALUE_BYTES_MAX);
    if (row->type == OPTION_INT)
        buf_printf(&out, "%" PRId64, v->integer);
    else if (row->type == OPTION_BOOL)
        buf_puts(&out, v->integer != 0 ? "true" : "false");
    else
        buf_puts(&out, text);
    return buf_steal(&out);
}

int option_set_row(option_set *set, size_t i, const char *where, const char *value, braid_error *err) {
    if (strlen(value) > OPTION_VALUE_BYTES_MAX)
        return error_set(err, BRAID_E_TOO_LARGE, option_store, "%s%s is longer than %d bytes", where, set->keys[i],
                         OPTION_VALUE_BYTES_MAX);
    option_value next = {.set = true};
    if (!option_parse(&set->rows[i], value, &next)) return option_refuse(set, i, where, value, err);
    next.text = option_canonical(&set->rows[i], &next, value);
    if (next.text == NULL) return error_set(err, BRAID_E_NO_MEMORY, option_store, "no memory for %s", set->keys[i]);
    free(set->values[i].text);
    set->values[i] = next;
    return BRAID_OK;
}

/* ---- life cycle ---- */

static int option_set_index(option_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        const option_row *row = &set->rows[i];
        buf key;
        buf_init(&key, OPTION_KEY_BYTES_MAX);
        buf_printf(&key, "%s.%s", row->section, row->name);
        set->keys[i] = buf_steal(&key);
        if (set->keys[i] == NULL) return BRAID_E_NO_MEMORY;
        BRAID_ASSERT(!map_get(set->index, set->keys[i], NULL)); /* no row twice */
        if (!map_put(set->index, set->keys[i], i)) return BRAID_E_NO_MEMORY;
    }
    return BRAID_OK;
}

static int option_set_defaults(option_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        braid_error why = {0};
        int code = option_set_row(set, i, "", set->rows[i].default_value, &why);
        BRAID_ASSERT(code == BRAID_OK || code == BRAID_E_NO_MEMORY); /* a default must fit its own row */
        if (code != BRAID_OK) return code;
        set->values[i].set = false;
    }
    return BRAID_OK;
}

int option_set_new(const option_row *rows, size_t count, option_set **out, braid_error *err) {
    *out = NULL;
    option_set *set = calloc(1, sizeof *set);
    if (set == NULL) return error_set(err, BRAID_E_NO_MEMORY, option_store, "no memory for the options");
    set->rows = rows;
    set->count = count;
    set->keys = calloc(count + 1, sizeof *set->keys);
    set->values = calloc(count + 1, sizeof *set->values);
    set->index = map_new(count);
    int code = set->keys == NULL || set->values == NULL || set->index == NULL ? BRAID_E_NO_MEMORY : BRAID_OK;
    if (code == BRAID_OK) code = option_set_index(set);
    if (code == BRAID_OK) code = option_set_defaults(set);
    if (code != BRAID_OK) {
        option_set_free(set);
        return error_set(err, code, option_store, "no memory for the options");
    }
    *out = set;
    return BRAID_OK;
}

int option_set_copy(const option_set *from, option_set **out, braid_error *err) {
    *out = NULL;
    option_set *set;
    int code = option_set_new(from->rows, from->count, &set, err);
    for (size_t i = 0; code == BRAID_OK && i < from->count; i++) {
        code = option_set_row(set, i, "", from->values[i].text, err);
        set->values[i].set = from->values[i].set;
    }
    if (code != BRAID_OK)
        option_set_free(set);
    else
        *out = set;
    return code;
}

void option_set_free(option_set *set) {
    if (set == NULL) return;
    for (size_t i = 0; i < set->count; i++) {
        if (set->keys != NULL) free(set->keys[i]);
        if (set->values != NULL) free(set->values[i].text);
    }
    free(set->keys);
    free(set->values);
    map_free(set->index);
    free(set);
}

void option_set_replace(option_set *to, option_set *from) {
    option_value *values = to->values;
    to->values = from->values;
    from->values = values;
    option_set_free(from);
}

/* ---- finding ---- */

const option_row *option_rows(const option_set *set, size_t *count) {
    *count = set->count;
    return set->rows;
}

size_t option_find(const option_set *set, const char *key) {
    uint64_t i;
    return map_get(set->index, key, &i) ? (size_t)i : SIZE_MAX;
}

/* Edit distance with neighbours swapped counting as one (optimal string alignment), over at most
 * OPTION_KEY_BYTES_MAX bytes. */
static size_t option_distance(const char *a, const char *b) {
    size_t rows[3][OPTION_KEY_BYTES_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];
    size_t a_len = strnlen(a, OPTION_KEY_BYTES_MAX), b_len = strnlen(b, OPTION_KEY_BYTES_MAX);
    for (size_t j = 0; j <= b_len; j++) last[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b_len];
}

/* How far `key` is from row i. A key without a dot may be the bare name; the right name in the wrong section is one
 * slip. */
static size_t option_row_distance(const option_set *set, size_t i, const char *key) {
    const char *dot = strchr(key, '.');
    size_t whole = option_distance(key, set->keys[i]);
    size_t name = option_distance(dot != NULL ? dot + 1 : key, set->rows[i].name);
    if (name == 0) return whole < 1 ? whole : 1;
    return dot == NULL && name < whole ? name : whole;
}

const char *option_nearest(const option_set *set, const char *key, bool sections_too) {
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < set->count; i++) {
        size_t distance = option_row_distance(set, i, key);
        size_t section = sections_too ? option_distance(key, set->rows[i].section) : SIZE_MAX;
        if (distance < best_distance && distance <= section) {
            best_distance = distance;
            best = set->keys[i];
        } else if (section < best_distance) {
            best_distance = section;
            best = set->rows[i].section;
        }
    }
    return best;
}

static size_t option_at(const option_set *set, const char *key) {
    size_t i = option_find(set, key);
    BRAID_ASSERT(i != SIZE_MAX); /* asked for by Braid's own code: the key must be in the table */
    return i;
}

/* ---- setting ---- */

static int option_set_named(option_set *set, const char *where, const char *key, const char *value, braid_error *err) {
    size_t i = option_find(set, key);
    if (i != SIZE_MAX) return option_set_row(set, i, where, value, err);
    const char *nearest = option_nearest(set, key, false);
    return error_set(err, BRAID_E_UNKNOWN_FIELD, option_store, "%sthere is no option \"%.60s\"; the nearest is \"%s\"",
                     where, key, nearest != NULL ? nearest : "");
}

int option_set_value(option_set *set, const char *key, const char *value, braid_error *err) {
    return option_set_named(set, "", key, value, err);
}

/* ASCII only: tolower() follows the host's locale, and Turkish has its own idea of I. */
static char option_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* `name` is "VECTOR__EF_SEARCH=64", the prefix already gone; `assignment` has it still. */
static int option_load_variable(option_set *set, const char *name, const char *assignment, braid_error *err) {
    const char *end = strchr(name, '='), *gap = strstr(name, "__"); /* the caller saw the '=' */
    char key[OPTION_KEY_BYTES_MAX + 1], where[OPTION_KEY_BYTES_MAX + 4];
    size_t used = 0;
    for (const char *at = name; at < end && used < OPTION_KEY_BYTES_MAX; at++) {
        bool here = at == gap;
        key[used++] = here ? '.' : option_lower(*at);
        at += here; /* the second underscore of the gap */
    }
    key[used] = '\0';
    ptrdiff_t shown = end - assignment < OPTION_KEY_BYTES_MAX ? end - assignment : OPTION_KEY_BYTES_MAX;
    snprintf(where, sizeof where, "%.*s: ", (int)shown, assignment);
    return option_set_named(set, where, key, end + 1, err);
}

int option_set_load_env(option_set *set, char *const *environment, const char *prefix, braid_error *err) {
    option_set *next;
    int code = option_set_copy(set, &next, err);
    if (code != BRAID_OK) return code;
    size_t prefix_len = strlen(prefix);
    for (char *const *at = environment; code == BRAID_OK && *at != NULL; at++) {
        if (strncmp(*at, prefix, prefix_len) == 0 && strchr(*at + prefix_len, '=') != NULL)
            code = option_load_variable(next, *at + prefix_len, *at, err);
    }
    if (code == BRAID_OK)
        option_set_replace(set, next);
    else
        option_set_free(next);
    return code;
}

/* ---- reading ---- */

const char *option_get(const option_set *set, const char *key) {
    return set->values[option_at(set, key)].text;
}

int64_t option_get_int(const option_set *set, const char *key) {
    size_t i = option_at(set, key);
    BRAID_ASSERT(set->rows[i].type == OPTION_INT);
    return set->values[i].integer;
}

double option_get_real(const option_set *set, const char *key) {
    size_t i = option_at(set, key);
    BRAID_ASSERT(set->rows[i].type == OPTION_REAL || set->rows[i].type == OPTION_INT);
    return set->values[i].real;
}

bool option_get_bool(const option_set *set, const char *key) {
    size_t i = option_at(set, key);
    BRAID_ASSERT(set->rows[i].type == OPTION_BOOL);
    return set->values[i].integer != 0;
}

bool option_is_default(const option_set *set, const char *key) {
    return !set->values[option_at(set, key)].set;
}

/* ---- printing ---- */

static void option_print_bounds(const option_row *row, buf *out) {
    if (row->type == OPTION_ENUM) {
        buf_puts(out, " (");
        for (const char *at = row->choices; *at != '\0'; at++)
            buf_add(out, *at == '|' ? " | " : at, *at == '|' ? 3 : 1);
        buf_putc(out, ')');
    } else if ((row->type == OPTION_INT || row->type == OPTION_REAL) && row->min < row->max) {
        buf_puts(out, " (");
        buf_json_real(out, row->min);
        buf_puts(out, " to ");
        buf_json_real(out, row->max);
        buf_putc(out, ')');
    }
}

/* A double-quoted YAML scalar. JSON's rules are not enough: YAML refuses C1, DEL and byte order marks, and folds the
 * line separators, unless they are escaped. */
static void option_print_text(const char *text, buf *out) {
    size_t left = strlen(text);
    buf_putc(out, '"');
    while (left > 0) {
        uint32_t point = 0xFFFD;
        size_t len = utf8_decode(text, left, &point), step = len > 0 ? len : 1;
        if (point == '"' || point == '\\')
            buf_printf(out, "\\%c", (int)point);
        else if (len == 0 || utf8_is_control(point) || point == 0xFEFF || point == 0xFFFE || point == 0xFFFF)
            buf_printf(out, "\\u%04x", (unsigned)point);
        else
            buf_add(out, text, len);
        text += step;
        left -= step;
    }
    buf_putc(out, '"');
}

/* A value nobody set is printed as a comment, so that the file does not pin today's defaults. */
static void option_print_row(const option_set *set, size_t i, buf *out) {
    const option_row *row = &set->rows[i];
    buf_printf(out, "  # %s", row->help);
    option_print_bounds(row, out);
    bool secret = row->type == OPTION_SECRET;
    buf_printf(out, "\n  %s%s: ", set->values[i].set && !secret ? "" : "#", row->name);
    if (secret)
        buf_puts(out, set->values[i].set ? "\"...\"" : "\"\"");
    else if (row->type == OPTION_STRING)
        option_print_text(set->values[i].text, out);
    else
        buf_puts(out, set->values[i].text);
    buf_putc(out, '\n');
}

/* Rows of one section need not be neighbours in the table; in the file they must be, as a section may appear once. */
void option_set_print_yaml(const option_set *set, buf *out) {
    buf_puts(out, "# Braid's options. A line beginning with #name shows a default; remove the # to change it.\n"
                  "# Each can also be given in the environment (BRAID__SECTION__NAME=value), which overrides this\n"
                  "# file, and as a flag, which overrides both.\n");
    for (size_t i = 0; i < set->count; i++) {
        const char *section = set->rows[i].section;
        bool printed = false;
        for (size_t j = 0; j < i && !printed; j++) printed = strcmp(set->rows[j].section, section) == 0;
        if (printed) continue;
        buf_printf(out, "\n%s:\n", section);
        for (size_t j = i; j < set->count; j++)
            if (strcmp(set->rows[j].section, section) == 0) option_print_row(set, j, out);
    }
}
