/* Canonical JSON text: the same value gives the same bytes, so that texts can be compared, hashed and diffed.
 *
 * Keys are sorted by their bytes, numbers take their shortest form, there is no white space. jansson's own dump is
 * not used because it prints 0.1 as 0.10000000000000001. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/read.h"

enum { WRITE_DEPTH_MAX = 512 };

static bool write_value(const json_t *json, unsigned depth, buf *out);

bool model_write_names(const string_list *list, buf *out) {
    buf_putc(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        if (i) {
            buf_putc(out, ',');
        }
        buf_json_string(out, list->values[i]);
    }
    return buf_putc(out, ']');
}

/* Nine digits name every float; reading them as a double and narrowing gives the same float, since the text is nearer
 * to it than to any midpoint. The decimal point is a point in every locale. */
bool model_write_vector(const float *values, uint32_t dim, buf *out) {
    buf_putc(out, '[');
    for (uint32_t i = 0; i < dim; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "%s%.9g", i ? "," : "", (double)values[i]);
        for (int j = 1; j < n; j++) {
            if (text[j] == ',') {
                text[j] = '.';
            }
        }
        buf_add(out, text, (size_t)n);
    }
    return buf_putc(out, ']');
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool write_object(const json_t *json, unsigned depth, buf *out) {
    size_t count = json_object_size(json), n = 0;
    if (count == 0) {
        return buf_puts(out, "{}");
    }
    const char **keys = malloc(count * sizeof *keys);
    if (!keys) {
        out->failed = true;
        return false;
    }
    /* The iterator changes nothing; its signature only lacks the const. */
    for (void *it = json_object_iter((json_t *)json); it && n < count; it = json_object_iter_next((json_t *)json, it)) {
        keys[n++] = json_object_iter_key(it);
    }
    qsort(keys, n, sizeof *keys, by_bytes);
    for (size_t i = 0; i < n && !out->failed; i++) {
        buf_putc(out, i ? ',' : '{');
        buf_json_string(out, keys[i]);
        buf_putc(out, ':');
        write_value(json_object_get(json, keys[i]), depth + 1, out);
    }
    free(keys);
    return buf_putc(out, '}');
}

static bool write_array(const json_t *json, unsigned depth, buf *out) {
    buf_putc(out, '[');
    for (size_t i = 0; i < json_array_size(json) && !out->failed; i++) {
        if (i) {
            buf_putc(out, ',');
        }
        write_value(json_array_get(json, i), depth + 1, out);
    }
    return buf_putc(out, ']');
}

static bool write_value(const json_t *json, unsigned depth, buf *out) {
    if (depth > WRITE_DEPTH_MAX) {
        out->failed = true;
        return false;
    }
    switch (json ? json_typeof(json) : JSON_NULL) {
    case JSON_OBJECT: return write_object(json, depth, out);
    case JSON_ARRAY: return write_array(json, depth, out);
    case JSON_STRING: return buf_json_string(out, json_string_value(json));
    case JSON_INTEGER: return buf_printf(out, "%lld", (long long)json_integer_value(json));
    case JSON_REAL: return buf_json_real(out, json_real_value(json) + 0.0); /* -0 becomes 0 */
    case JSON_TRUE: return buf_puts(out, "true");
    case JSON_FALSE: return buf_puts(out, "false");
    default: return buf_puts(out, "null");
    }
}

bool model_write_json(const json_t *json, buf *out) {
    return write_value(json, 0, out) && !out->failed;
}
