/* Strict parsing of one JSON document.
 *
 * jansson does the parsing; this file decides what is let through to it and turns its findings into Braid's errors.
 * Depth is counted beforehand in one pass over the bytes, because jansson recurses up to 2,048 levels and names no
 * limit of ours: 100,000 '[' cost one scan and no stack. The scan knows only strings and brackets; whatever else is
 * wrong is jansson's to say.
 *
 * Refused on purpose: duplicate keys (which of the two was meant?), \u0000 (our strings are C strings), numbers
 * beyond a double or a 64-bit integer, a byte order mark, text after the document. */
#include <string.h>

#include "model/json_numbers.h"
#include "model/model.h"
#include "model/parse_guard.h"

enum { JSON_DEPTH_MAX = 512, QUOTED_MAX = 120 };

static void json_position(const char *text, size_t offset, size_t *line, size_t *column) {
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            ++*column;
        }
    }
}

/* The offset of the bracket that is one too deep, or `len`. */
static size_t json_too_deep(const char *text, size_t len, unsigned depth_max) {
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > depth_max) {
                return i;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return len;
}

static int json_refused(const json_error_t *e, braid_error *err) {
    int code = BRAID_E_INVALID;
    const char *hint = "";
    switch (json_error_code(e)) {
    case json_error_out_of_memory: return error_set(err, BRAID_E_NO_MEMORY, "model", "no memory to parse the JSON");
    case json_error_invalid_utf8:
        code = BRAID_E_UTF8;
        hint = "not valid UTF-8: ";
        break;
    case json_error_null_character:
    case json_error_null_byte_in_key: hint = "\\u0000 is not allowed in text: "; break;
    case json_error_duplicate_key: hint = "the same key twice in one object: "; break;
    case json_error_numeric_overflow:
        if (strncmp(e->text, "real", 4) == 0) {
            code = BRAID_E_NOT_FINITE;
            hint = "the number is beyond a 64-bit float: ";
        } else {
            hint = "the integer is beyond 64 bits: ";
        }
        break;
    default: break;
    }
    /* jansson may cut its text inside a character. */
    size_t cut = utf8_prefix(e->text, strlen(e->text), QUOTED_MAX);
    return error_set(err, code, "request", "JSON, line %d, column %d: %s%.*s", e->line, e->column, hint, (int)cut,
                     e->text);
}

/* With long arrays of numbers read aside; NULL: there are none, or something is wrong that the whole text will tell. */
static json_t *parse_without_numbers(const char *text, size_t len) {
    const char *rest;
    size_t rest_len;
    json_error_t e;
    bool no_memory;
    json_numbers *numbers = json_numbers_take(text, len, &rest, &rest_len);
    if (!numbers) return NULL;
    json_t *json = model_parse_guarded(rest, rest_len, JSON_REJECT_DUPLICATES, &e, &no_memory);
    if (json && !json_numbers_put(numbers, json)) {
        json_decref(json);
        json = NULL;
    }
    json_numbers_free(numbers);
    return json;
}

int model_json_parse(const char *text, size_t len, const model_limits *limits, json_t **out, braid_error *err) {
    *out = NULL;
    if (len > limits->json_bytes_max) {
        return error_set(err, BRAID_E_TOO_LARGE, "request",
                         "the JSON has %zu bytes; at most %zu are allowed "
                         "(limits.json_bytes)",
                         len, limits->json_bytes_max);
    }
    if (len == 0) {
        return error_set(err, BRAID_E_INVALID, "request", "JSON, line 1, column 1: the document is empty");
    }
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        return error_set(err, BRAID_E_INVALID, "request",
                         "JSON, line 1, column 1: the text begins with a byte order mark; save it as UTF-8 without "
                         "one");
    }
    unsigned depth_max = limits->json_depth_max < JSON_DEPTH_MAX ? limits->json_depth_max : JSON_DEPTH_MAX;
    size_t deep = json_too_deep(text, len, depth_max);
    if (deep < len) {
        size_t line, column;
        json_position(text, deep, &line, &column);
        return error_set(err, BRAID_E_TOO_LARGE, "request",
                         "JSON, line %zu, column %zu: nested deeper than %u levels (limits.json_depth)", line, column,
                         depth_max);
    }
    json_error_t e;
    bool no_memory;
    if ((*out = parse_without_numbers(text, len)) != NULL) return BRAID_OK;
    json_t *json = model_parse_guarded(text, len, JSON_REJECT_DUPLICATES, &e, &no_memory);
    if (no_memory) {
        return error_set(err, BRAID_E_NO_MEMORY, "model", "no memory to parse the JSON");
    }
    if (!json) {
        return json_refused(&e, err);
    }
    *out = json;
    return BRAID_OK;
}
