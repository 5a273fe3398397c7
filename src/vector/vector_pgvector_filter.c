/* A filter as a condition of SQL.
 *
 * The text of the condition is made of the constant fragments below and of whole numbers; every name and value that
 * came from outside is an element of one of two arrays, a list of texts and a list of numbers, which are parameters.
 * So two parameters carry any filter, and nothing can be injected. The server folds `array[a:b]` into a constant when
 * it plans, so a list of 10,000 values is hashed once.
 *
 * The meaning is filter_matches's: what is missing matches no condition, and NOT of it does; therefore every fragment
 * is true or false and never NULL. A path into the attributes is a chain of `->` with text, which descends into objects
 * alone.
 *
 * A filter of more than VALUES_MAX values is not said in full: in an "all", such a part may be left out (the condition
 * then lets more through, and the caller drops it); below "any" and "not" it takes the whole with it.
 *
 * Rejected: a parameter a value (libpq and the plan cache both suffer), jsonpath (a second language to escape into). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector/vector_pgvector.h"

enum { VALUES_MAX = 10000, TEXT_MAX = 256 * 1024 };

const pgv_column pgv_columns[] = {
    {"id", "text", FIELD_ID},
    {"title", "text", FIELD_TITLE},
    {"original_title", "text", FIELD_ORIGINAL_TITLE},
    {"kind", "text", FIELD_KIND},
    {"language", "text", FIELD_LANGUAGE},
    {"synopsis", "text", FIELD_SYNOPSIS},
    {"year", "integer", FIELD_YEAR},
    {"duration_s", "integer", FIELD_DURATION_S},
    {"countries", "text[]", FIELD_COUNTRIES},
    {"genres", "text[]", FIELD_GENRES},
    {"themes", "text[]", FIELD_THEMES},
    {"moods", "text[]", FIELD_MOODS},
    {"contexts", "text[]", FIELD_CONTEXTS},
    {"people", "text[]", FIELD_PEOPLE},
    {"regions", "text[]", FIELD_REGIONS},
    {"available_from", "bigint", FIELD_AVAILABLE_FROM},
    {"available_until", "bigint", FIELD_AVAILABLE_UNTIL},
    {"age_rating", "integer", FIELD_AGE_RATING},
    {"tier", "integer", FIELD_TIER},
    {"attributes", "jsonb", FIELD_ATTRIBUTE},
};
const size_t pgv_columns_count = sizeof pgv_columns / sizeof pgv_columns[0];

const char *pgv_column_of(filter_field field) {
    for (size_t i = 0; i < pgv_columns_count; i++)
        if (pgv_columns[i].field == field) return pgv_columns[i].name;
    return NULL;
}

/* ---- the two arrays ---- */

static bool room(void **list, size_t *cap, size_t wanted, size_t size, buf *sql) {
    if (wanted <= *cap) return true;
    size_t more = *cap == 0 ? 64 : *cap * 2;
    while (more < wanted) more *= 2;
    void *moved = realloc(*list, more * size);
    if (moved == NULL) {
        sql->failed = true;
        return false;
    }
    *list = moved;
    *cap = more;
    return true;
}

/* The place of the new element, from 1; 0 when memory ran out. */
static size_t add_string(pgv_filter *c, const char *text) {
    void *list = c->strings;
    if (!room(&list, &c->strings_room, c->strings_count + 1, sizeof *c->strings, &c->sql)) return 0;
    c->strings = list;
    c->strings[c->strings_count++] = text;
    return c->strings_count;
}

static size_t add_number(pgv_filter *c, double value) {
    void *list = c->numbers;
    if (!room(&list, &c->numbers_room, c->numbers_count + 1, sizeof *c->numbers, &c->sql)) return 0;
    c->numbers = list;
    c->numbers[c->numbers_count++] = value;
    return c->numbers_count;
}

/* ---- conditions on a value ---- */

/* "LEFT = ANY(those of the filter's values that are texts)"; false if there is none. */
static bool say_strings(pgv_filter *c, const filter *f, const char *left) {
    size_t first = c->strings_count + 1;
    for (size_t i = 0; i < f->values_count; i++)
        if (f->values[i].type == VALUE_STRING) add_string(c, f->values[i].string);
    if (c->strings_count < first) return false;
    buf_printf(&c->sql, "%s = ANY((%s::text[])[%zu:%zu])", left, c->strings_at, first, c->strings_count);
    return true;
}

static bool say_numbers(pgv_filter *c, const filter *f, const char *left) {
    size_t first = c->numbers_count + 1;
    for (size_t i = 0; i < f->values_count; i++)
        if (f->values[i].type == VALUE_NUMBER) add_number(c, f->values[i].number);
    if (c->numbers_count < first) return false;
    buf_printf(&c->sql, "%s = ANY((%s::float8[])[%zu:%zu])", left, c->numbers_at, first, c->numbers_count);
    return true;
}

static void say_bound(pgv_filter *c, const char *left, const char *operator, double bound) {
    if (isinf(bound)) {
        buf_puts(&c->sql, (bound > 0) == (operator[0] == '<') ? "true" : "false");
        return;
    }
    buf_printf(&c->sql, "%s %s (%s::float8[])[%zu]", left, operator, c->numbers_at, add_number(c, bound));
}

static void say_range(pgv_filter *c, const filter *f, const char *left) {
    say_bound(c, left, f->low_open ? ">" : ">=", f->low);
    buf_puts(&c->sql, " AND ");
    say_bound(c, left, f->high_open ? "<" : "<=", f->high);
}

/* ---- attributes ---- */

/* The value at the path, or NULL: an object's member by name, and never an element of a list by its place. */
static void say_path(pgv_filter *c, const char *path) {
    buf_puts(&c->sql, "attributes");
    while (*path != '\0') {
        size_t len = strcspn(path, ".");
        const char *name = arena_strndup(c->mem, path, len);
        if (name == NULL) c->sql.failed = true;
        buf_printf(&c->sql, " -> (%s::text[])[%zu]", c->strings_at, add_string(c, name != NULL ? name : ""));
        path += len + (path[len] == '.');
    }
}

static bool has_bool(const filter *f, bool value) {
    for (size_t i = 0; i < f->values_count; i++)
        if (f->values[i].type == VALUE_BOOL && (f->values[i].number != 0) == value) return true;
    return false;
}

/* Of one scalar, `e.v`. */
static void say_scalar(pgv_filter *c, const filter *f) {
    if (f->kind == FILTER_RANGE) {
        buf_puts(&c->sql, "CASE jsonb_typeof(e.v) WHEN 'number' THEN ");
        say_range(c, f, "e.v::float8");
        buf_puts(&c->sql, " ELSE false END");
        return;
    }
    buf_puts(&c->sql, "CASE jsonb_typeof(e.v) WHEN 'string' THEN ");
    if (!say_strings(c, f, "e.v #>> '{}'")) buf_puts(&c->sql, "false");
    buf_puts(&c->sql, " WHEN 'number' THEN ");
    if (!say_numbers(c, f, "e.v::float8")) buf_puts(&c->sql, "false");
    buf_printf(&c->sql, " WHEN 'boolean' THEN %s ELSE false END",
               has_bool(f, true) ? (has_bool(f, false) ? "true" : "e.v::boolean")
                                 : (has_bool(f, false) ? "NOT e.v::boolean" : "false"));
}

/* A list matches when one of its elements does. */
static void say_attribute(pgv_filter *c, const filter *f) {
    buf_puts(&c->sql, "EXISTS (SELECT FROM (SELECT ");
    say_path(c, f->attribute);
    buf_puts(&c->sql, " AS j) p, jsonb_array_elements(CASE jsonb_typeof(p.j) WHEN 'array' THEN p.j ELSE "
                      "jsonb_build_array(p.j) END) AS e(v) WHERE ");
    say_scalar(c, f);
    buf_putc(&c->sql, ')');
}

/* ---- conditions on a field ---- */

static void say_in(pgv_filter *c, const filter *f, const char *column) {
    if (filter_field_is_list(f->field)) {
        size_t first = c->strings_count + 1;
        for (size_t i = 0; i < f->values_count; i++)
            if (f->values[i].type == VALUE_STRING) add_string(c, f->values[i].string);
        buf_printf(&c->sql, "%s && (%s::text[])[%zu:%zu]", column, c->strings_at, first, c->strings_count);
        return;
    }
    char left[64];
    bool number = filter_field_is_number(f->field);
    snprintf(left, sizeof left, number ? "%s::float8" : "%s", column);
    buf_printf(&c->sql, "(%s IS NOT NULL AND ", column);
    if (!(number ? say_numbers(c, f, left) : say_strings(c, f, left))) buf_puts(&c->sql, "false");
    buf_putc(&c->sql, ')');
}

static void say_leaf(pgv_filter *c, const filter *f) {
    const char *column = pgv_column_of(f->field);
    char left[64];
    if (f->kind == FILTER_EXISTS && f->field == FIELD_ATTRIBUTE) {
        buf_puts(&c->sql, "coalesce(jsonb_typeof(");
        say_path(c, f->attribute);
        buf_puts(&c->sql, ") <> 'null', false)");
    } else if (f->field == FIELD_ATTRIBUTE) {
        say_attribute(c, f);
    } else if (f->kind == FILTER_EXISTS) {
        buf_printf(&c->sql, filter_field_is_list(f->field) ? "%s <> '{}'" : "%s IS NOT NULL", column);
    } else if (f->kind == FILTER_IN) {
        say_in(c, f, column);
    } else {
        snprintf(left, sizeof left, "%s::float8", column);
        buf_printf(&c->sql, "(%s IS NOT NULL AND ", column);
        say_range(c, f, left);
        buf_putc(&c->sql, ')');
    }
}

/* ---- the tree ---- */

static void cut(buf *b, size_t len) {
    if (len >= b->len) return;
    b->len = len;
    b->data[len] = '\0';
}

/* False when the part is too large to be said; the text is then as it was. `whole`: nothing may be left out below. */
static bool say(pgv_filter *c, const filter *f, bool whole) {
    size_t text = c->sql.len, strings = c->strings_count, numbers = c->numbers_count, said = 0;
    bool fits = true, all = f->kind == FILTER_ALL;
    switch (f->kind) {
    case FILTER_TRUE: buf_puts(&c->sql, "true"); break;
    case FILTER_ALL:
    case FILTER_ANY:
        buf_putc(&c->sql, '(');
        for (size_t i = 0; i < f->children_count && fits; i++) {
            size_t before = c->sql.len;
            if (said > 0) buf_puts(&c->sql, all ? " AND " : " OR ");
            if (say(c, f->children[i], whole)) {
                said++;
                continue;
            }
            fits = all && !whole;
            cut(&c->sql, before);
        }
        if (said == 0) buf_puts(&c->sql, f->children_count == 0 && !all ? "false" : "true");
        buf_putc(&c->sql, ')');
        break;
    case FILTER_NOT:
        buf_puts(&c->sql, "(NOT ");
        fits = say(c, f->children[0], true);
        buf_putc(&c->sql, ')');
        break;
    default: say_leaf(c, f); break;
    }
    if (fits && c->strings_count + c->numbers_count <= VALUES_MAX && c->sql.len <= TEXT_MAX) return true;
    cut(&c->sql, text);
    c->strings_count = strings;
    c->numbers_count = numbers;
    return false;
}

bool pgv_filter_compile(const filter *f, const char *strings_at, const char *numbers_at, pgv_filter *out) {
    *out = (pgv_filter){.strings_at = strings_at, .numbers_at = numbers_at};
    buf_init(&out->sql, 64 * 1024 * 1024);
    out->mem = arena_new(1024);
    if (out->mem == NULL) return false;
    if (f == NULL || !say(out, f, false)) buf_puts(&out->sql, "true");
    return !out->sql.failed;
}

void pgv_filter_free(pgv_filter *c) {
    buf_free(&c->sql);
    free(c->strings);
    free(c->numbers);
    arena_free(c->mem);
    *c = (pgv_filter){0};
}
