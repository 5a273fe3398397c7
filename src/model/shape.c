/* The walk over a shape's table, in both directions. */
#include "model/shape.h"

#include <math.h>
#include <string.h>

enum { SHAPE_ROWS_MAX = 32 };

static void *member(void *noun, const shape_row *row) {
    return (char *)noun + row->offset;
}

static const void *const_member(const void *noun, const shape_row *row) {
    return (const char *)noun + row->offset;
}

static const char *absent_text(const shape_row *row) {
    return row->absent_text ? row->absent_text : "";
}

void model_shape_clear(const shape *s, void *noun) {
    for (size_t i = 0; i < s->count; i++) {
        const shape_row *row = &s->rows[i];
        switch (row->kind) {
        case SHAPE_NAME:
        case SHAPE_TEXT: *(const char **)member(noun, row) = absent_text(row); break;
        case SHAPE_INT: *(int32_t *)member(noun, row) = (int32_t)row->absent; break;
        case SHAPE_REAL: *(double *)member(noun, row) = row->absent; break;
        case SHAPE_INSTANT: *(int64_t *)member(noun, row) = TIME_NONE; break;
        case SHAPE_PART: model_shape_clear(row->part, noun); break;
        case SHAPE_BOOL:
        case SHAPE_NAMES:
        case SHAPE_OTHER: break;
        }
    }
}

/* ---- reading ---- */

static int read_row(const shape_row *row, const reading *r, const place *at, const json_t *json, void *noun) {
    void *out = member(noun, row);
    int64_t whole;
    int rc;
    switch (row->kind) {
    case SHAPE_NAME:
        /* Many writers send "" for "I do not know". */
        if (!(row->flags & SHAPE_REQUIRED) && json_is_string(json) && json_string_length(json) == 0) {
            return BRAID_OK;
        }
        return model_read_name(r, at, json, out);
    case SHAPE_TEXT: return model_read_text(r, at, json, out);
    case SHAPE_INT:
        rc = model_read_int(r, at, json, (int64_t)row->min, (int64_t)row->max, &whole);
        if (rc == BRAID_OK) {
            *(int32_t *)out = (int32_t)whole;
        }
        return rc;
    case SHAPE_REAL: return model_read_real(r, at, json, row->min, row->max, out);
    case SHAPE_BOOL: return model_read_bool(r, at, json, out);
    case SHAPE_INSTANT: return model_read_instant(r, at, json, out);
    case SHAPE_NAMES: return model_read_names(r, at, json, row->max > 0 ? (size_t)row->max : MODEL_LIST_MAX, out);
    case SHAPE_PART: return model_shape_read(row->part, r, at, json, noun);
    case SHAPE_OTHER: return row->read(r, at, json, noun);
    }
    return BRAID_OK;
}

static const shape_row *find_row(const shape *s, const char *name) {
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->rows[i].name, name) == 0) {
            return &s->rows[i];
        }
    }
    return NULL;
}

static int unknown_field(const shape *s, const reading *r, const place *at, const char *name) {
    const char *known[SHAPE_ROWS_MAX];
    BRAID_ASSERT(s->count <= SHAPE_ROWS_MAX);
    for (size_t i = 0; i < s->count; i++) {
        known[i] = s->rows[i].name;
    }
    return model_read_unknown(r, at, name, known, s->count);
}

int model_shape_read(const shape *s, const reading *r, const place *at, const json_t *json, void *noun) {
    int rc = model_read_object(r, at, json);
    if (rc) {
        return rc;
    }
    for (void *it = json_object_iter((json_t *)json); it; it = json_object_iter_next((json_t *)json, it)) {
        const char *name = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        const shape_row *row = find_row(s, name);
        if (!row) {
            return unknown_field(s, r, at, name);
        }
        if (json_is_null(value)) {
            continue;
        }
        rc = read_row(row, r, &(place){at, name, 0}, value, noun);
        if (rc) {
            return rc;
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        const shape_row *row = &s->rows[i];
        if ((row->flags & SHAPE_REQUIRED) && !json_is_string(json_object_get(json, row->name))) {
            return model_read_fail(r, at, BRAID_E_INVALID, "the field \"%s\" is missing", row->name);
        }
    }
    return BRAID_OK;
}

/* ---- writing ---- */

static bool row_given(const shape_row *row, const void *noun) {
    const void *in = const_member(noun, row);
    if (row->flags & (SHAPE_REQUIRED | SHAPE_ALWAYS)) {
        return true;
    }
    switch (row->kind) {
    case SHAPE_NAME:
    case SHAPE_TEXT: return strcmp(*(const char *const *)in, absent_text(row)) != 0;
    case SHAPE_INT: return *(const int32_t *)in != (int32_t)row->absent;
    case SHAPE_REAL: {
        double value = *(const double *)in;
        return isnan(row->absent) ? !isnan(value) : value != row->absent;
    }
    case SHAPE_BOOL: return *(const bool *)in;
    case SHAPE_INSTANT: return *(const int64_t *)in != TIME_NONE;
    case SHAPE_NAMES: return ((const string_list *)in)->count > 0;
    case SHAPE_PART:
        for (size_t i = 0; i < row->part->count; i++) {
            if (row_given(&row->part->rows[i], noun)) {
                return true;
            }
        }
        return false;
    case SHAPE_OTHER: return row->given(noun);
    }
    return false;
}

static bool write_instant(int64_t wall_ms, buf *out) {
    char text[32];
    clock_format_rfc3339(wall_ms, text);
    return buf_json_string(out, text);
}

static bool write_row(const shape_row *row, const void *noun, buf *out) {
    const void *in = const_member(noun, row);
    switch (row->kind) {
    case SHAPE_NAME:
    case SHAPE_TEXT: return buf_json_string(out, *(const char *const *)in);
    case SHAPE_INT: return buf_printf(out, "%d", *(const int32_t *)in);
    case SHAPE_REAL: return buf_json_real(out, *(const double *)in);
    case SHAPE_BOOL: return buf_puts(out, *(const bool *)in ? "true" : "false");
    case SHAPE_INSTANT: return write_instant(*(const int64_t *)in, out);
    case SHAPE_NAMES: return model_write_names(in, out);
    case SHAPE_PART: return model_shape_write(row->part, noun, out);
    case SHAPE_OTHER: return row->write(noun, out);
    }
    return false;
}

bool model_shape_write(const shape *s, const void *noun, buf *out) {
    bool first = true;
    buf_putc(out, '{');
    for (size_t i = 0; i < s->count; i++) {
        const shape_row *row = &s->rows[i];
        if (!row_given(row, noun)) {
            continue;
        }
        if (!first) {
            buf_putc(out, ',');
        }
        first = false;
        buf_json_string(out, row->name);
        buf_putc(out, ':');
        write_row(row, noun, out);
    }
    return buf_putc(out, '}') && !out->failed;
}
