/* Free attributes: what a catalogue knows beyond Braid's fields, kept as the JSON it came as.
 *
 * Checked are the size of the canonical text, the names (they end up in filters as "attributes.NAME") and the
 * strings' UTF-8; the rest is the owner's business. */
#include <string.h>

#include "model/read.h"

enum { ATTRIBUTES_DEPTH_MAX = 512 };

static int check_value(const reading *r, const place *at, const json_t *json, unsigned depth) {
    if (depth > ATTRIBUTES_DEPTH_MAX) {
        return error_set(r->err, BRAID_E_TOO_LARGE, "request", "attributes: nested deeper than %d levels",
                         ATTRIBUTES_DEPTH_MAX);
    }
    int rc = BRAID_OK;
    if (json_is_object(json)) {
        for (void *it = json_object_iter((json_t *)json); it && !rc; it = json_object_iter_next((json_t *)json, it)) {
            const char *name = json_object_iter_key(it);
            place here = {at, name, 0};
            rc = model_read_check_name(r, &here, name, strlen(name));
            rc = rc ? rc : check_value(r, &here, json_object_iter_value(it), depth + 1);
        }
    } else if (json_is_array(json)) {
        for (size_t i = 0; i < json_array_size(json) && !rc; i++) {
            rc = check_value(r, &(place){at, NULL, i}, json_array_get(json, i), depth + 1);
        }
    } else if (json_is_string(json)) {
        const char *text = json_string_value(json);
        size_t len = json_string_length(json);
        if (!utf8_valid(text, len)) {
            rc = model_read_fail(r, at, BRAID_E_UTF8, "is not valid UTF-8");
        } else if (strlen(text) != len) {
            rc = model_read_fail(r, at, BRAID_E_INVALID, "must not hold \\u0000");
        }
    }
    return rc;
}

int model_read_attributes(const reading *r, const place *at, const json_t *json) {
    int rc = model_read_object(r, at, json);
    rc = rc ? rc : check_value(r, at, json, 0);
    if (rc) {
        return rc;
    }
    /* Without a ceiling of its own (the document has one), so that "too large" and "no memory" can be told apart. */
    buf text;
    buf_init(&text, 0);
    bool written = model_write_json(json, &text);
    size_t len = text.len;
    buf_free(&text);
    if (written && len > MODEL_ATTRIBUTES_BYTES_MAX) {
        return model_read_fail(r, at, BRAID_E_TOO_LARGE, "%zu bytes of JSON; at most %d are allowed", len,
                               MODEL_ATTRIBUTES_BYTES_MAX);
    }
    return written ? BRAID_OK : model_read_no_memory(r);
}
