/* What rules and experiments share in reading their JSON. */
#include <stdio.h>

#include "query/programme.h"

int programme_fail(braid_error *err, const char *id, const char *format, ...) {
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(err, BRAID_E_INVALID, "request", "\"%.60s\": %s", id, text);
}

int programme_unpack(const char *id, const json_t *json, braid_error *err, const char *format, ...) {
    char what[64];
    va_list args;
    snprintf(what, sizeof what, "\"%.60s\"", id);
    va_start(args, format);
    int rc = model_json_vunpack(json, what, err, format, args);
    va_end(args);
    return rc;
}

int programme_time(const char *id, const json_t *json, const char *name, int64_t *out, braid_error *err) {
    *out = TIME_NONE;
    if (!json || json_is_null(json)) return BRAID_OK;
    if (json_is_string(json) && clock_parse_rfc3339(json_string_value(json), out)) return BRAID_OK;
    return programme_fail(err, id, "\"%s\" wants a time, RFC 3339", name);
}

int programme_names(const char *id, const json_t *json, const char *name, arena *a, rule_list *out, braid_error *err) {
    *out = (rule_list){0};
    if (!json || json_is_null(json)) return BRAID_OK;
    size_t n = json_array_size(json);
    if (!json_is_array(json) || n == 0 || n > RULE_LIST_MAX)
        return programme_fail(err, id, "\"%s\" wants a list of 1 to %d names", name, (int)RULE_LIST_MAX);
    out->values = arena_calloc(a, n, sizeof *out->values);
    if (!out->values) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for a rule");
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(json, i);
        if (!json_is_string(v)) return programme_fail(err, id, "\"%s\" wants a list of names", name);
        int rc = model_check_id(json_string_value(v), json_string_length(v), name, err);
        if (rc != BRAID_OK) return rc;
        out->values[i] = arena_strdup(a, json_string_value(v));
        if (!out->values[i]) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for a rule");
    }
    out->count = n;
    return BRAID_OK;
}

bool programme_open_at(int64_t from, int64_t until, int64_t now) {
    return (from == TIME_NONE || from <= now) && (until == TIME_NONE || now < until);
}
