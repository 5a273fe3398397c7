/* Two of jansson's calls as they are when memory runs out: taking fields of a flat object by a format, and printing.
 *
 * jansson's own "!" (no field but those of the format) notes the fields that it has taken, and one that it had no memory to note counts as left: a caller
 * would be told that they misspelt what they did not. So the fields that are there are looked up among those of the
 * format here, which asks for no memory. json_dumps overlooks a refusal while it prints a name, and gives an object
 * without it; so what is printed goes to a buffer here that remembers its first failure. */
#include <stdarg.h>
#include <string.h>

#include "model/model.h"

/* Whether the format, read with its arguments, names that field. A value takes one argument, a pointer. */
static bool format_names(const char *format, va_list args, const char *field) {
    bool found = false;
    for (const char *p = format; *p != '\0' && !found; p++) {
        if (*p != 's') continue;
        found = strcmp(va_arg(args, const char *), field) == 0;
        BRAID_ASSERT((p[1] == ':' || p[1] == '?') && strchr("sIFbo", p[2]) != NULL);
        (void)va_arg(args, void *);
        p += 2;
    }
    return found;
}

int model_json_vunpack(const json_t *json, const char *what, braid_error *err, const char *format, va_list args) {
    json_error_t why;
    va_list each;
    va_copy(each, args);
    int rc = json_vunpack_ex((json_t *)json, &why, 0, format, each);
    va_end(each);
    if (rc != 0)
        return json_error_code(&why) == json_error_out_of_memory
                   ? error_set(err, BRAID_E_NO_MEMORY, "model", "no memory for %s", what)
                   : error_set(err, BRAID_E_INVALID, "request", "%s: %s", what, why.text);
    for (void *it = json_object_iter((json_t *)json); it; it = json_object_iter_next((json_t *)json, it)) {
        const char *field = json_object_iter_key(it);
        va_copy(each, args);
        bool named = format_names(format, each, field);
        va_end(each);
        if (!named) return error_set(err, BRAID_E_UNKNOWN_FIELD, "request", "%s has no field \"%.40s\"", what, field);
    }
    return BRAID_OK;
}

int model_json_unpack(const json_t *json, const char *what, braid_error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int rc = model_json_vunpack(json, what, err, format, args);
    va_end(args);
    return rc;
}

static int append(const char *text, size_t len, void *ctx) {
    return buf_add(ctx, text, len) ? 0 : -1;
}

char *model_json_text(const json_t *json, size_t flags) {
    buf b;
    buf_init(&b, 0);
    if (json_dump_callback(json, append, &b, flags) == 0) return buf_steal(&b);
    buf_free(&b);
    return NULL;
}
