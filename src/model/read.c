/* Reading scalars, lists and vectors out of JSON, with errors that say where.
 *
 * Every reader takes the place it reads from and either fills its output or fails with a sentence like
 * "item.genres[3]: must be a string, not a number". Texts are copied into the arena, so the JSON may be dropped
 * afterwards. */
#include "model/read.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PLACE_BYTES_MAX = 120, QUOTE_BYTES_MAX = 48, NAMES_SCANNED_MAX = 32 };

static size_t place_print(const place *at, char *out, size_t cap, size_t used) {
    if (at->up) {
        used = place_print(at->up, out, cap, used);
    }
    int n;
    if (at->name) {
        n = snprintf(out + used, cap - used, "%s%.*s", at->up ? "." : "", model_read_quotable(at->name), at->name);
    } else {
        n = snprintf(out + used, cap - used, "[%zu]", at->index);
    }
    used += n > 0 ? (size_t)n : 0;
    return used < cap ? used : cap - 1;
}

int model_read_quotable(const char *text) {
    return (int)utf8_prefix(text, strnlen(text, QUOTE_BYTES_MAX + 4), QUOTE_BYTES_MAX);
}

int model_read_fail(const reading *r, const place *at, int code, const char *format, ...) {
    char where[PLACE_BYTES_MAX], what[sizeof((braid_error *)0)->message];
    size_t used = place_print(at, where, sizeof where, 0);
    where[utf8_prefix(where, used, used)] = '\0';
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return error_set(r->err, code, "request", "%s: %s", where, what);
}

int model_read_no_memory(const reading *r) {
    return error_set(r->err, BRAID_E_NO_MEMORY, "model", "no memory to hold what was read");
}

const char *model_read_type_name(const json_t *json) {
    switch (json ? json_typeof(json) : JSON_NULL) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    default: return "null";
    }
}

static int wrong_type(const reading *r, const place *at, const char *wanted, const json_t *json) {
    return model_read_fail(r, at, BRAID_E_INVALID, "must be %s, not %s", wanted, model_read_type_name(json));
}

/* C0, DEL and C1, the last as their two bytes of UTF-8. */
static bool has_control(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7F) {
            return true;
        }
        if (c == 0xC2 && i + 1 < len && (unsigned char)text[i + 1] < 0xA0) {
            return true;
        }
    }
    return false;
}

int model_read_check_name(const reading *r, const place *at, const char *text, size_t len) {
    if (len == 0) {
        return model_read_fail(r, at, BRAID_E_INVALID, "must not be empty (1..%d bytes)", MODEL_NAME_BYTES_MAX);
    }
    if (len > MODEL_NAME_BYTES_MAX) {
        return model_read_fail(r, at, BRAID_E_TOO_LARGE, "has %zu bytes; at most %d are allowed", len,
                               MODEL_NAME_BYTES_MAX);
    }
    if (!utf8_valid(text, len)) {
        return model_read_fail(r, at, BRAID_E_UTF8, "is not valid UTF-8");
    }
    if (has_control(text, len)) {
        return model_read_fail(r, at, BRAID_E_INVALID, "must not hold control characters");
    }
    return BRAID_OK;
}

int model_check_id(const char *id, size_t len, const char *what, braid_error *err) {
    _Static_assert((int)MODEL_ID_BYTES_MAX == (int)MODEL_NAME_BYTES_MAX, "ids and names are checked alike");
    return model_read_check_name(&(reading){.err = err}, &(place){.name = what}, id, len);
}

static int copy_string(const reading *r, const json_t *json, const char **out) {
    const char *copy = arena_strndup(r->a, json_string_value(json), json_string_length(json));
    if (!copy) {
        return model_read_no_memory(r);
    }
    *out = copy;
    return BRAID_OK;
}

int model_read_name(const reading *r, const place *at, const json_t *json, const char **out) {
    if (!json_is_string(json)) {
        return wrong_type(r, at, "a string", json);
    }
    int rc = model_read_check_name(r, at, json_string_value(json), json_string_length(json));
    return rc ? rc : copy_string(r, json, out);
}

int model_read_text(const reading *r, const place *at, const json_t *json, const char **out) {
    if (!json_is_string(json)) {
        return wrong_type(r, at, "a string", json);
    }
    const char *text = json_string_value(json);
    size_t len = json_string_length(json);
    if (len > MODEL_TEXT_BYTES_MAX) {
        return model_read_fail(r, at, BRAID_E_TOO_LARGE, "has %zu bytes; at most %d are allowed", len,
                               MODEL_TEXT_BYTES_MAX);
    }
    if (!utf8_valid(text, len)) {
        return model_read_fail(r, at, BRAID_E_UTF8, "is not valid UTF-8");
    }
    if (strlen(text) != len) {
        return model_read_fail(r, at, BRAID_E_INVALID, "must not hold \\u0000");
    }
    return copy_string(r, json, out);
}

int model_read_int(const reading *r, const place *at, const json_t *json, int64_t min, int64_t max, int64_t *out) {
    int64_t value;
    if (json_is_integer(json)) {
        value = json_integer_value(json);
    } else if (json_is_real(json)) {
        /* 1990.0 is what languages with one number type print for 1990. */
        double real = json_real_value(json);
        if (!(real >= -9007199254740992.0 && real <= 9007199254740992.0) || real != trunc(real)) {
            return model_read_fail(r, at, BRAID_E_INVALID, "must be a whole number from %lld to %lld", (long long)min,
                                   (long long)max);
        }
        value = (int64_t)real;
    } else {
        return wrong_type(r, at, "a whole number", json);
    }
    if (value < min || value > max) {
        return model_read_fail(r, at, BRAID_E_INVALID, "is %lld; must be from %lld to %lld", (long long)value,
                               (long long)min, (long long)max);
    }
    *out = value;
    return BRAID_OK;
}

int model_read_real(const reading *r, const place *at, const json_t *json, double min, double max, double *out) {
    if (!json_is_number(json)) {
        return wrong_type(r, at, "a number", json);
    }
    double value = json_number_value(json);
    if (!isfinite(value)) {
        return model_read_fail(r, at, BRAID_E_NOT_FINITE, "must be finite");
    }
    if (value < min || value > max) {
        return model_read_fail(r, at, BRAID_E_INVALID, "is %g; must be from %g to %g", value, min, max);
    }
    *out = value + 0.0; /* -0 becomes 0 */
    return BRAID_OK;
}

int model_read_bool(const reading *r, const place *at, const json_t *json, bool *out) {
    if (!json_is_boolean(json)) {
        return wrong_type(r, at, "true or false", json);
    }
    *out = json_is_true(json);
    return BRAID_OK;
}

int model_read_instant(const reading *r, const place *at, const json_t *json, int64_t *out) {
    if (!json_is_string(json)) {
        return wrong_type(r, at, "a time such as \"2026-11-21T20:15:00Z\"", json);
    }
    const char *text = json_string_value(json);
    if (strlen(text) != json_string_length(json) || !clock_parse_rfc3339(text, out)) {
        return model_read_fail(r, at, BRAID_E_INVALID, "\"%.*s\" is not an RFC 3339 time such as 2026-11-21T20:15:00Z",
                               model_read_quotable(text), text);
    }
    return BRAID_OK;
}

int model_read_object(const reading *r, const place *at, const json_t *json) {
    return json_is_object(json) ? BRAID_OK : wrong_type(r, at, "an object", json);
}

int model_read_list(const reading *r, const place *at, const json_t *json, size_t max) {
    if (!json_is_array(json)) {
        return wrong_type(r, at, "a list", json);
    }
    if (json_array_size(json) > max) {
        return model_read_fail(r, at, BRAID_E_TOO_LARGE, "has %zu values; at most %zu are allowed",
                               json_array_size(json), max);
    }
    return BRAID_OK;
}

/* Drops doubles; the first of each stays in its place. Short lists are scanned, long ones hashed. */
static bool drop_doubles(string_list *list) {
    size_t kept = 0;
    if (list->count <= NAMES_SCANNED_MAX) {
        for (size_t i = 0; i < list->count; i++) {
            size_t j = 0;
            while (j < kept && strcmp(list->values[j], list->values[i]) != 0) {
                j++;
            }
            if (j == kept) {
                list->values[kept++] = list->values[i];
            }
        }
        list->count = kept;
        return true;
    }
    map *seen = map_new(list->count);
    if (!seen) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < list->count; i++) {
        if (!map_get(seen, list->values[i], NULL)) {
            ok = map_put(seen, list->values[i], 1);
            list->values[kept++] = list->values[i];
        }
    }
    list->count = kept;
    map_free(seen);
    return ok;
}

int model_read_names(const reading *r, const place *at, const json_t *json, size_t max, string_list *out) {
    int rc = model_read_list(r, at, json, max);
    if (rc) {
        return rc;
    }
    size_t count = json_array_size(json);
    string_list list = {NULL, count};
    if (count > 0 && !(list.values = arena_calloc(r->a, count, sizeof *list.values))) {
        return model_read_no_memory(r);
    }
    for (size_t i = 0; i < count; i++) {
        rc = model_read_name(r, &(place){at, NULL, i}, json_array_get(json, i), &list.values[i]);
        if (rc) {
            return rc;
        }
    }
    if (!drop_doubles(&list)) {
        return model_read_no_memory(r);
    }
    *out = list;
    return BRAID_OK;
}

static int check_dimension(const reading *r, const place *at, const json_t *json) {
    if (!json_is_array(json)) {
        return wrong_type(r, at, "a list of numbers", json);
    }
    size_t count = json_array_size(json);
    uint32_t wanted = r->limits ? r->limits->dim : 0;
    if (wanted != 0 && count != wanted) {
        return model_read_fail(r, at, BRAID_E_DIMENSION, "the vector has %zu numbers, the database's dimension is %u",
                               count, (unsigned)wanted);
    }
    if (count == 0 || count > MODEL_DIM_MAX) {
        return model_read_fail(r, at, BRAID_E_DIMENSION, "the vector has %zu numbers; 1..%d are allowed", count,
                               MODEL_DIM_MAX);
    }
    return BRAID_OK;
}

int model_read_vector(const reading *r, const place *at, const json_t *json, float **values, uint32_t *dim) {
    int rc = check_dimension(r, at, json);
    if (rc) {
        return rc;
    }
    size_t count = json_array_size(json);
    float *v = arena_alloc(r->a, count * sizeof *v);
    if (!v) {
        return model_read_no_memory(r);
    }
    double square = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *number = json_array_get(json, i);
        if (!json_is_number(number)) {
            return wrong_type(r, &(place){at, NULL, i}, "a number", number);
        }
        double x = json_number_value(number);
        if (!(fabs(x) <= FLT_MAX)) {
            return model_read_fail(r, &(place){at, NULL, i}, BRAID_E_NOT_FINITE, "is not finite as a 32-bit float");
        }
        v[i] = (float)x + 0.0f; /* -0 becomes 0, so that a vector has one text */
        square += (double)v[i] * v[i];
    }
    /* The distance kernels square and sum in 32 bits; outside of this range a length would be 0 or infinite there. */
    if (square < FLT_MIN) {
        return model_read_fail(r, at, BRAID_E_INVALID, "the vector is all zeros (or too short to have a direction)");
    }
    if (square > FLT_MAX) {
        return model_read_fail(r, at, BRAID_E_NOT_FINITE, "the vector's length is not finite in 32-bit floats");
    }
    *values = v;
    *dim = (uint32_t)count;
    return BRAID_OK;
}
