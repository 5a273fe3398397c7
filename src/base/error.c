/* Errors.
 *
 * One list (BRAID_ERROR_MAP) gives every name, sentence and status, so the four functions below are the same
 * switch with another column. A message is built from text that a client may have sent; it must be safe in a
 * terminal, a log line and a JSON answer. Hence everything passes one filter: control characters (C0, DEL, C1)
 * and bytes that are not UTF-8 become '?', and the cut to the field's size is made between characters.
 * Rejected: keeping a stack of causes; one line with the first cause has always been enough to act on, and the
 * struct stays a plain value that the caller owns. */
#include "error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

/* Longer than braid_error.message, so that the filter and not vsnprintf decides where to cut. */
enum { ERROR_FORMAT_BYTES = 1024 };

/* Copies `in` as far as it fits, filtered; a character is taken whole or not at all. */
static void error_copy_clean(char *out, size_t out_size, const char *in) {
    size_t len = strlen(in), used = 0, at = 0;
    while (at < len) {
        uint32_t point;
        size_t step = utf8_decode(in + at, len - at, &point);
        bool clean = step > 0 && !utf8_is_control(point);
        size_t need = clean ? step : 1;
        if (used + need >= out_size) break;
        if (clean)
            memcpy(out + used, in + at, step);
        else
            out[used] = '?';
        used += need;
        at += step > 0 ? step : 1;
    }
    out[used] = '\0';
}

int error_set(braid_error *err, int code, const char *store, const char *format, ...) {
    BRAID_ASSERT(code != BRAID_OK);
    if (err == NULL || err->code != BRAID_OK) return code;
    char text[ERROR_FORMAT_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0)
        snprintf(text, sizeof text, "%s", error_sentence(code));
    else if ((size_t)n >= sizeof text) /* vsnprintf may have cut inside a character */
        text[utf8_prefix(text, sizeof text - 1, sizeof text - 2)] = '\0';
    err->code = code;
    error_copy_clean(err->store, sizeof err->store, store != NULL ? store : "");
    error_copy_clean(err->message, sizeof err->message, text);
    return code;
}

void error_clear(braid_error *err) {
    if (err != NULL) memset(err, 0, sizeof *err);
}

const char *error_name(int code) {
    switch (code) {
    case BRAID_OK: return "OK";
#define ERROR_ROW(name, number, http, exit, text)                                                                      \
    case BRAID_E_##name: return #name;
        BRAID_ERROR_MAP(ERROR_ROW)
#undef ERROR_ROW
    default: return "UNKNOWN";
    }
}

const char *error_sentence(int code) {
    switch (code) {
    case BRAID_OK: return "no error";
#define ERROR_ROW(name, number, http, exit, text)                                                                      \
    case BRAID_E_##name: return text;
        BRAID_ERROR_MAP(ERROR_ROW)
#undef ERROR_ROW
    default: return "an error that this version does not know";
    }
}

int error_http_status(int code) {
    switch (code) {
    case BRAID_OK: return 200;
#define ERROR_ROW(name, number, http, exit, text)                                                                      \
    case BRAID_E_##name: return http;
        BRAID_ERROR_MAP(ERROR_ROW)
#undef ERROR_ROW
    default: return 500;
    }
}

int error_exit_code(int code) {
    switch (code) {
    case BRAID_OK: return 0;
#define ERROR_ROW(name, number, http, exit, text)                                                                      \
    case BRAID_E_##name: return exit;
        BRAID_ERROR_MAP(ERROR_ROW)
#undef ERROR_ROW
    default: return 1;
    }
}

_Noreturn void error_assert_failed(const char *expr, const char *file, int line, const char *function) {
    fprintf(stderr, "braid: assertion failed: %s, at %s:%d in %s; this is a defect in Braid, please report it\n", expr,
            file, line, function);
    fflush(stderr);
    abort();
}
