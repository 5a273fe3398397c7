/* JSON to a filter tree.
 *
 * Each key becomes a condition, each condition a canonical tree (filter_build.c).
 *
 * Rejected: guessing. {"year":"1990"} or {"genres":["a","b"]} could be given a meaning, and the day it is another
 * one, answers are wrong without a sign. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/filter.h"

static int parse_object(filter_build *p, const place *at, unsigned depth, const json_t *json, filter **out);

/* ---- conditions on a field ---- */

typedef struct subject {
    filter_field field;
    filter_class class;
    const char *attribute;
} subject;

static int new_condition(filter_build *p, const place *at, const subject *s, filter_kind kind, filter **out) {
    int rc = filter_build_node(p, at, kind, out);
    if (rc == BRAID_OK) {
        (*out)->field = s->field;
        (*out)->attribute = s->attribute;
    }
    return rc;
}

static int read_number(filter_build *p, const place *at, const json_t *json, filter_value *out) {
    out->type = VALUE_NUMBER;
    return model_read_real(&p->r, at, json, -INFINITY, INFINITY, &out->number);
}

static int read_time(filter_build *p, const place *at, const json_t *json, filter_value *out) {
    int64_t wall_ms = 0;
    int rc = model_read_instant(&p->r, at, json, &wall_ms);
    *out = (filter_value){VALUE_NUMBER, "", (double)wall_ms};
    return rc;
}

static int read_attribute_value(filter_build *p, const place *at, const json_t *json, filter_value *out) {
    if (json_is_string(json)) {
        out->type = VALUE_STRING;
        return model_read_text(&p->r, at, json, &out->string);
    }
    if (json_is_boolean(json)) {
        *out = (filter_value){VALUE_BOOL, "", json_is_true(json) ? 1 : 0};
        return BRAID_OK;
    }
    if (json_is_number(json)) {
        return read_number(p, at, json, out);
    }
    return model_read_fail(&p->r, at, BRAID_E_INVALID, "must be a string, a number, true or false, not %s",
                           model_read_type_name(json));
}

static int read_value(filter_build *p, const place *at, const subject *s, const json_t *json, filter_value *out) {
    *out = (filter_value){VALUE_STRING, "", 0};
    if (json_is_null(json)) {
        return model_read_fail(&p->r, at, BRAID_E_INVALID,
                               "null is not a value; to ask for absence use "
                               "{\"exists\":false}");
    }
    switch (s->class) {
    case CLASS_NUMBER: return read_number(p, at, json, out);
    case CLASS_TIME: return read_time(p, at, json, out);
    case CLASS_ATTRIBUTE: return read_attribute_value(p, at, json, out);
    default: break;
    }
    if (json_is_array(json)) {
        return model_read_fail(&p->r, at, BRAID_E_INVALID, "for several values write {\"in\":[...]}");
    }
    if (json_is_string(json) && json_string_length(json) == 0) {
        return model_read_fail(&p->r, at, BRAID_E_INVALID,
                               "an empty text is no value; to ask for absence use "
                               "{\"exists\":false}");
    }
    return model_read_text(&p->r, at, json, &out->string);
}

static int by_value(const void *a, const void *b) {
    return model_filter_value_compare(a, b);
}

/* Callers often send ids in order, so a look comes before the sort. */
static size_t sort_values(filter_value *values, size_t count) {
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++) {
        sorted = model_filter_value_compare(&values[i - 1], &values[i]) < 0;
    }
    if (sorted) {
        return count;
    }
    qsort(values, count, sizeof *values, by_value);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (model_filter_value_compare(&values[kept - 1], &values[i]) != 0) {
            values[kept++] = values[i];
        }
    }
    return kept;
}

static int parse_in(filter_build *p, const place *at, const subject *s, const json_t *json, filter **out) {
    int rc = model_read_list(&p->r, at, json, MODEL_FILTER_VALUES_MAX);
    if (rc) {
        return rc;
    }
    size_t count = json_array_size(json);
    if (count == 0) {
        return filter_build_constant(p, at, false, out);
    }
    rc = new_condition(p, at, s, FILTER_IN, out);
    if (rc) {
        return rc;
    }
    filter_value *values = arena_alloc(p->r.a, count * sizeof *values);
    if (!values) {
        return model_read_no_memory(&p->r);
    }
    for (size_t i = 0; i < count && !rc; i++) {
        rc = read_value(p, &(place){at, NULL, i}, s, json_array_get(json, i), &values[i]);
    }
    if (rc) {
        return rc;
    }
    (*out)->values = values;
    (*out)->values_count = sort_values(values, count);
    return BRAID_OK;
}

static int parse_eq(filter_build *p, const place *at, const subject *s, const json_t *json, filter **out) {
    filter_value *value = arena_alloc(p->r.a, sizeof *value);
    if (!value) {
        return model_read_no_memory(&p->r);
    }
    int rc = read_value(p, at, s, json, value);
    rc = rc ? rc : new_condition(p, at, s, FILTER_IN, out);
    if (rc) {
        return rc;
    }
    (*out)->values = value;
    (*out)->values_count = 1;
    return BRAID_OK;
}

static int parse_exists(filter_build *p, const place *at, const subject *s, const json_t *json, filter **out) {
    bool wanted = true;
    int rc = model_read_bool(&p->r, at, json, &wanted);
    rc = rc ? rc : new_condition(p, at, s, FILTER_EXISTS, out);
    return rc || wanted ? rc : filter_build_not(p, at, *out, out);
}

/* One bound of a range; `*range` is made by the first and narrowed by the second. */
static int parse_bound(filter_build *p, const place *at, const subject *s, const json_t *json, filter **range) {
    if (s->class == CLASS_TEXT || s->class == CLASS_LIST) {
        return model_read_fail(&p->r, at, BRAID_E_INVALID, "a range works on numbers and times only");
    }
    filter_value value = {VALUE_NUMBER, "", 0};
    int rc = s->class == CLASS_TIME ? read_time(p, at, json, &value) : read_number(p, at, json, &value);
    if (!rc && !*range) {
        rc = new_condition(p, at, s, FILTER_RANGE, range);
    }
    if (rc) {
        return rc;
    }
    bool low = at->name[0] == 'g', open = at->name[2] == '\0'; /* gt gte lt lte */
    if (isfinite(low ? (*range)->low : (*range)->high)) {
        return model_read_fail(&p->r, at->up, BRAID_E_INVALID, "give one of \"%s\" and \"%s\", not both",
                               low ? "gt" : "lt", low ? "gte" : "lte");
    }
    if (low) {
        (*range)->low = value.number;
        (*range)->low_open = open;
    } else {
        (*range)->high = value.number;
        (*range)->high_open = open;
    }
    return BRAID_OK;
}

static const char *const operators[] = {"eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "exists"};
enum { OP_EQ, OP_NE, OP_GT, OP_GTE, OP_LT, OP_LTE, OP_IN, OP_NIN, OP_EXISTS, OPS };

static int operator_of(const char *name) {
    int op = 0;
    while (op < OPS && strcmp(operators[op], name) != 0) {
        op++;
    }
    return op;
}

static int parse_operator(filter_build *p, const place *at, const subject *s, int op, const json_t *json,
                          filter **out) {
    int rc;
    switch (op) {
    case OP_EQ: return parse_eq(p, at, s, json, out);
    case OP_IN: return parse_in(p, at, s, json, out);
    case OP_EXISTS: return parse_exists(p, at, s, json, out);
    case OP_NE: rc = parse_eq(p, at, s, json, out); break;
    default: rc = parse_in(p, at, s, json, out); break;
    }
    return rc ? rc : filter_build_not(p, at, *out, out);
}

/* {"gte":1990,"lt":2000}: all of them; the bounds become one range. */
static int parse_operators(filter_build *p, const place *at, const subject *s, const json_t *json, filter **out) {
    filter *parts[OPS + 1], *range = NULL;
    size_t n = 0;
    for (void *it = json_object_iter((json_t *)json); it; it = json_object_iter_next((json_t *)json, it)) {
        const char *name = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        place here = {at, name, 0};
        int op = operator_of(name), rc;
        if (op == OPS) {
            return model_read_unknown(&p->r, at, name, operators, OPS);
        }
        if (op >= OP_GT && op <= OP_LTE) {
            rc = parse_bound(p, &here, s, value, &range);
        } else {
            rc = parse_operator(p, &here, s, op, value, &parts[n++]);
        }
        if (rc) {
            return rc;
        }
    }
    if (range) {
        parts[n++] = range;
    }
    if (n == 0) {
        return model_read_fail(&p->r, at, BRAID_E_INVALID,
                               "needs an operator: eq, ne, gt, gte, lt, lte, in, nin or "
                               "exists");
    }
    return filter_build_junction(p, at, FILTER_ALL, parts, n, out);
}

/* ---- fields ---- */

static int unknown_name(filter_build *p, const place *at, const char *name) {
    static const char *const words[] = {"all", "any", "not"};
    const char *known[FIELD_COUNT + 3];
    for (int i = 0; i < FIELD_COUNT; i++) {
        known[i] = i == FIELD_ATTRIBUTE ? "attributes.NAME" : filter_field_name((filter_field)i);
    }
    memcpy(known + FIELD_COUNT, words, sizeof words);
    return model_read_unknown(&p->r, at, name, known, FIELD_COUNT + 3);
}

static int check_path(filter_build *p, const place *at, const char *path) {
    size_t len = strlen(path);
    int rc = model_read_check_name(&p->r, at, path, len);
    if (!rc && (path[0] == '.' || path[len - 1] == '.' || strstr(path, ".."))) {
        rc = model_read_fail(&p->r, at, BRAID_E_INVALID, "a name between two dots is empty");
    }
    return rc;
}

static int find_subject(filter_build *p, const place *at, const char *name, subject *s) {
    static const char prefix[] = "attributes.";
    if (strncmp(name, prefix, sizeof prefix - 1) == 0) {
        const char *path = name + sizeof prefix - 1;
        int rc = check_path(p, &(place){at, name, 0}, path);
        *s = (subject){FIELD_ATTRIBUTE, CLASS_ATTRIBUTE, rc ? "" : arena_strdup(p->r.a, path)};
        return rc || s->attribute ? rc : model_read_no_memory(&p->r);
    }
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (i != FIELD_ATTRIBUTE && strcmp(filter_field_name((filter_field)i), name) == 0) {
            *s = (subject){(filter_field)i, model_filter_class((filter_field)i), ""};
            return BRAID_OK;
        }
    }
    return unknown_name(p, at, name);
}

static int parse_field(filter_build *p, const place *at, const char *name, const json_t *json, filter **out) {
    subject s = {FIELD_ID, CLASS_TEXT, ""};
    int rc = find_subject(p, at, name, &s);
    if (rc) {
        return rc;
    }
    place here = {at, name, 0};
    return json_is_object(json) ? parse_operators(p, &here, &s, json, out) : parse_eq(p, &here, &s, json, out);
}

/* ---- all, any, not ---- */

static int parse_junction(filter_build *p, const place *at, unsigned depth, filter_kind kind, const json_t *json,
                          filter **out) {
    int rc = model_read_list(&p->r, at, json, MODEL_FILTER_NODES_MAX);
    if (rc) {
        return rc;
    }
    size_t count = json_array_size(json);
    filter **children = arena_alloc(p->r.a, (count + 1) * sizeof *children);
    if (!children) {
        return model_read_no_memory(&p->r);
    }
    for (size_t i = 0; i < count && !rc; i++) {
        rc = parse_object(p, &(place){at, NULL, i}, depth + 1, json_array_get(json, i), &children[i]);
    }
    return rc ? rc : filter_build_junction(p, at, kind, children, count, out);
}

static int parse_key(filter_build *p, const place *at, unsigned depth, const char *name, const json_t *json,
                     filter **out) {
    place here = {at, name, 0};
    if (strcmp(name, "all") == 0) {
        return parse_junction(p, &here, depth, FILTER_ALL, json, out);
    }
    if (strcmp(name, "any") == 0) {
        return parse_junction(p, &here, depth, FILTER_ANY, json, out);
    }
    if (strcmp(name, "not") == 0) {
        int rc = parse_object(p, &here, depth + 1, json, out);
        return rc ? rc : filter_build_not(p, &here, *out, out);
    }
    return parse_field(p, at, name, json, out);
}

static int parse_object(filter_build *p, const place *at, unsigned depth, const json_t *json, filter **out) {
    if (depth > MODEL_FILTER_DEPTH_MAX) {
        return model_read_fail(&p->r, at, BRAID_E_TOO_LARGE, "the filter is nested deeper than %d levels",
                               MODEL_FILTER_DEPTH_MAX);
    }
    int rc = model_read_object(&p->r, at, json);
    if (rc) {
        return rc;
    }
    size_t count = json_object_size(json), n = 0;
    if (count > MODEL_FILTER_NODES_MAX) {
        return model_read_fail(&p->r, at, BRAID_E_TOO_LARGE, "has %zu keys; at most %d are allowed", count,
                               MODEL_FILTER_NODES_MAX);
    }
    filter **children = arena_alloc(p->r.a, (count + 1) * sizeof *children);
    if (!children) {
        return model_read_no_memory(&p->r);
    }
    for (void *it = json_object_iter((json_t *)json); it && !rc; it = json_object_iter_next((json_t *)json, it)) {
        rc = parse_key(p, at, depth, json_object_iter_key(it), json_object_iter_value(it), &children[n++]);
    }
    return rc ? rc : filter_build_junction(p, at, FILTER_ALL, children, n, out);
}

int filter_from_json(const json_t *json, arena *a, filter **out, braid_error *err) {
    filter_build p = {{a, NULL, err}, 0};
    place at = {NULL, "filter", 0};
    *out = NULL;
    filter *f = NULL;
    bool everything = !json || json_is_null(json);
    int rc = everything ? filter_build_constant(&p, &at, true, &f) : parse_object(&p, &at, 1, json, &f);
    if (rc == BRAID_OK) {
        *out = f;
    }
    return rc;
}
