/* Free attributes: indexed by path and value as they appear.
 *
 * For every path that a filter can name ("a.b.c", names without a dot, values that are not null) an item gets a term
 * "exists"; strings and booleans, alone or in a list, get a term of their value; numbers go to the path's column, a
 * sorted array of (item, number), so that ranges and equality are one short scan. That is filter_matches() of
 * src/model turned around; the property test holds the two together. */
#include <stdlib.h>
#include <string.h>

#include "catalogue/catalogue_state.h"

enum { PATH_BYTES_MAX = MODEL_NAME_BYTES_MAX /* of a whole path, as in filters */, DEPTH_MAX = PATH_BYTES_MAX / 2 + 1 };

typedef struct reader {
    catalogue *c;
    attribute_set *out;
    char path[PATH_BYTES_MAX + 1];
} reader;

void attribute_set_free(attribute_set *s) {
    free(s->terms.values);
    free(s->numbers.rows);
    *s = (attribute_set){0};
}

uint32_t attributes_path(const catalogue *c, const char *path) {
    uint64_t at = CATALOGUE_NONE;
    map_get(c->number_paths, path, &at);
    return (uint32_t)at;
}

static uint32_t path_intern(catalogue *c, const char *path) {
    uint32_t at = attributes_path(c, path);
    if (at != CATALOGUE_NONE) return at;
    if (c->numbers_count == c->numbers_cap) {
        uint32_t cap = c->numbers_cap == 0 ? 16 : c->numbers_cap * 2;
        catalogue_numbers *numbers = realloc(c->numbers, cap * sizeof *numbers);
        if (numbers == NULL) return CATALOGUE_NONE;
        c->numbers = numbers;
        c->numbers_cap = cap;
    }
    if (!map_put(c->number_paths, path, c->numbers_count)) return CATALOGUE_NONE;
    c->numbers[c->numbers_count] = (catalogue_numbers){0};
    return c->numbers_count++;
}

static bool add_term(reader *r, uint8_t kind, const char *value) {
    attribute_list *l = &r->out->terms;
    uint32_t id = terms_intern(&r->c->attributes, kind, r->path, value);
    if (id == CATALOGUE_NONE) return false;
    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 16 : l->cap * 2;
        uint32_t *values = realloc(l->values, cap * sizeof *values);
        if (values == NULL) return false;
        l->values = values;
        l->cap = cap;
    }
    l->values[l->count++] = id;
    return true;
}

static bool add_number(reader *r, double value) {
    attribute_numbers *n = &r->out->numbers;
    uint32_t path = path_intern(r->c, r->path);
    if (path == CATALOGUE_NONE) return false;
    if (n->count == n->cap) {
        size_t cap = n->cap == 0 ? 8 : n->cap * 2;
        catalogue_number *rows = realloc(n->rows, cap * sizeof *rows);
        if (rows == NULL) return false;
        n->rows = rows;
        n->cap = cap;
    }
    n->rows[n->count++] = (catalogue_number){.num = path, .value = value};
    return true;
}

static bool read_scalar(reader *r, const json_t *json) {
    if (json_is_string(json)) return add_term(r, TERM_STRING, json_string_value(json));
    if (json_is_boolean(json)) return add_term(r, TERM_BOOL, json_is_true(json) ? "1" : "0");
    return !json_is_number(json) || add_number(r, json_number_value(json));
}

static bool read_object(reader *r, size_t path_len, const json_t *json, unsigned depth);

static bool read_value(reader *r, size_t path_len, const json_t *json, unsigned depth) {
    if (json_is_null(json)) return true;
    if (!add_term(r, TERM_EXISTS, "")) return false;
    if (json_is_object(json)) return read_object(r, path_len, json, depth + 1);
    if (!json_is_array(json)) return read_scalar(r, json);
    for (size_t i = 0; i < json_array_size(json); i++)
        if (!read_scalar(r, json_array_get(json, i))) return false;
    return true;
}

static bool read_object(reader *r, size_t path_len, const json_t *json, unsigned depth) {
    if (depth > DEPTH_MAX) /* a path has two bytes a level: no filter reaches here */
        return true;
    json_t *object = (json_t *)(uintptr_t)json; /* jansson's iterators take no const */
    for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it)) {
        const char *name = json_object_iter_key(it);
        size_t len = strlen(name), dot = path_len > 0;
        if (len == 0 || strchr(name, '.') != NULL || path_len + dot + len > PATH_BYTES_MAX)
            continue; /* no filter can name it */
        if (dot) r->path[path_len] = '.';
        memcpy(r->path + path_len + dot, name, len + 1);
        bool ok = read_value(r, path_len + dot + len, json_object_iter_value(it), depth);
        r->path[path_len] = '\0';
        if (!ok) return false;
    }
    return true;
}

bool attributes_read(catalogue *c, const json_t *json, attribute_set *out) {
    *out = (attribute_set){0};
    if (json == NULL) return true;
    reader r = {.c = c, .out = out};
    if (read_object(&r, 0, json, 1)) return true;
    attribute_set_free(out);
    return false;
}

/* ---- number columns ---- */

/* The first row at or after `num`. */
static size_t numbers_find(const catalogue_numbers *n, uint32_t num) {
    size_t low = 0, high = n->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (n->rows[mid].num < num)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool numbers_add(catalogue_numbers *n, uint32_t num, double value) {
    if (n->count == n->cap) {
        size_t cap = n->cap == 0 ? 4 : n->cap + n->cap / 2;
        catalogue_number *rows = realloc(n->rows, cap * sizeof *rows);
        if (rows == NULL) return false;
        n->rows = rows;
        n->cap = cap;
    }
    size_t at = n->count > 0 && n->rows[n->count - 1].num <= num ? n->count : numbers_find(n, num);
    memmove(&n->rows[at + 1], &n->rows[at], (n->count - at) * sizeof *n->rows);
    n->rows[at] = (catalogue_number){.num = num, .value = value};
    n->count++;
    return true;
}

void numbers_remove(catalogue_numbers *n, uint32_t num) {
    size_t from = numbers_find(n, num), until = from;
    while (until < n->count && n->rows[until].num == num) until++;
    if (until == from) return;
    memmove(&n->rows[from], &n->rows[until], (n->count - until) * sizeof *n->rows);
    n->count -= until - from;
}
