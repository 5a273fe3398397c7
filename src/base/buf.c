/* buf: the one growing string of the program.
 *
 * Capacity doubles; the ceiling counts data bytes, without the final NUL. An empty buffer points at a constant
 * "" that nobody writes (cap 0 says so), hence initialising one costs nothing. Bytes appended must not lie
 * inside the buffer itself.
 *
 * Numbers: "%.15g" is the shortest text for every normal double that was written with up to 15 digits, which is
 * nearly all of them in practice; else 16 digits are tried and 17 always do. Subnormal numbers have fewer
 * significant digits and start at one. Rejected: Ryu or Grisu; a thousand lines for a microsecond that JSON
 * answers do not notice. */
#include "buf.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST_BYTES = 64, BUF_REAL_BYTES = 48 };
static const size_t buf_max_default = (size_t)1 << 30;

void buf_init(buf *b, size_t max) {
    *b = (buf){.data = "", .max = max != 0 ? max : buf_max_default};
}

void buf_free(buf *b) {
    if (b->cap > 0) free(b->data);
    buf_init(b, b->max);
}

void buf_reset(buf *b) {
    b->len = 0;
    b->failed = false;
    if (b->cap > 0) b->data[0] = '\0';
}

/* Makes room for `extra` bytes and the NUL. */
static bool buf_reserve(buf *b, size_t extra) {
    if (b->failed) return false;
    if (extra > b->max - b->len) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + extra + 1;
    if (need <= b->cap) return true;
    size_t cap = b->cap < BUF_FIRST_BYTES ? BUF_FIRST_BYTES : b->cap * 2;
    if (cap > b->max + 1) cap = b->max + 1;
    if (cap < need) cap = need;
    char *data = realloc(b->cap > 0 ? b->data : NULL, cap);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    b->data[b->len] = '\0';
    return true;
}

bool buf_add(buf *b, const void *data, size_t len) {
    if (!buf_reserve(b, len)) return false;
    if (len > 0) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return true;
}

bool buf_puts(buf *b, const char *text) {
    return buf_add(b, text, strlen(text));
}

bool buf_putc(buf *b, char c) {
    return buf_add(b, &c, 1);
}

bool buf_printf(buf *b, const char *format, ...) {
    if (b->failed) return false;
    va_list args;
    va_start(args, format);
    size_t room = b->cap > 0 ? b->cap - b->len : 0;
    int n = vsnprintf(room > 0 ? b->data + b->len : NULL, room, format, args);
    va_end(args);
    bool fits = n >= 0 && (size_t)n < room; /* memory never goes beyond the ceiling */
    if (!fits) {
        if (room > 0) b->data[b->len] = '\0'; /* what did not fit is not there */
        if (n < 0) {
            b->failed = true;
            return false;
        }
        if (!buf_reserve(b, (size_t)n)) return false;
        va_start(args, format);
        vsnprintf(b->data + b->len, (size_t)n + 1, format, args);
        va_end(args);
    }
    b->len += (size_t)n;
    return true;
}

/* The letter after the backslash, 'u' for the numeric form, 0 for a byte that stands for itself. */
static char buf_json_escape(unsigned char c) {
    switch (c) {
    case '"':
    case '\\': return (char)c;
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return c < 0x20 ? 'u' : 0;
    }
}

bool buf_json_string(buf *b, const char *text) {
    buf_putc(b, '"');
    const char *run = text, *at = text;
    for (; *at != '\0'; at++) {
        char letter = buf_json_escape((unsigned char)*at);
        if (letter == 0) continue;
        buf_add(b, run, (size_t)(at - run));
        if (letter == 'u')
            buf_printf(b, "\\u%04x", (unsigned)*at);
        else
            buf_add(b, (char[2]){'\\', letter}, 2);
        run = at + 1;
    }
    buf_add(b, run, (size_t)(at - run));
    return buf_putc(b, '"');
}

/* A host program may have set a locale whose decimal point is a comma or several bytes; JSON has one form. */
static void buf_unlocalise(char *text) {
    char *to = text;
    bool in_point = false;
    for (const char *from = text; *from != '\0'; from++) {
        bool number = (*from >= '0' && *from <= '9') || *from == '-' || *from == '+' || *from == 'e';
        if (number)
            *to++ = *from;
        else if (!in_point)
            *to++ = '.';
        in_point = !number;
    }
    *to = '\0';
}

bool buf_json_real(buf *b, double value) {
    if (!isfinite(value)) return buf_puts(b, "null");
    if (value == 0)
        return buf_puts(b, signbit(value) ? "-0.0" : "0"); /* "-0" would be read as an integer and lose its sign */
    if (fabs(value) <= 0x1p53 && value == trunc(value)) return buf_printf(b, "%.0f", value);
    char text[BUF_REAL_BYTES];
    for (int digits = fabs(value) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    buf_unlocalise(text);
    return buf_puts(b, text);
}

char *buf_steal(buf *b) {
    char *data = NULL;
    if (buf_reserve(b, 0)) { /* an empty buffer has no memory to hand over yet */
        data = b->data;
        b->cap = 0;
    }
    buf_free(b);
    return data;
}
