/* Addresses: percent-decoding, cutting a path into segments, matching a pattern, reading the query by a row's
 * parameters.
 *
 * Pure text, no database: everything a stranger can put into a request line passes through here first. A path is cut at
 * its raw slashes and only then decoded, so that an id may hold "/" as %2F. %00 and broken UTF-8 are refused rather
 * than passed on, since the ids of the engine are NUL-terminated UTF-8. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_private.h"

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Length of the UTF-8 sequence at p (1..4), or 0 if it is broken, overlong, a surrogate or past U+10FFFF. */
static size_t utf8_step(const unsigned char *p, size_t left) {
    if (p[0] < 0x80) return 1;
    size_t n = p[0] >= 0xC2 && p[0] <= 0xDF ? 2 : (p[0] & 0xF0) == 0xE0 ? 3 : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    if (p[0] == 0xE0 && p[1] < 0xA0) return 0;
    if (p[0] == 0xED && p[1] > 0x9F) return 0;
    if (p[0] == 0xF0 && p[1] < 0x90) return 0;
    if (p[0] == 0xF4 && p[1] > 0x8F) return 0;
    return n;
}

bool api_utf8(const char *text, size_t len) {
    const unsigned char *p = (const unsigned char *)text;
    while (len > 0) {
        size_t n = utf8_step(p, len);
        if (n == 0) return false;
        p += n;
        len -= n;
    }
    return true;
}

bool api_decode(char *text, bool plus) {
    char *to = text;
    for (const char *from = text; *from; from++) {
        char c = *from;
        if (c == '%') {
            int high = hex(from[1]), low = high < 0 ? -1 : hex(from[2]);
            if (low < 0 || (high == 0 && low == 0)) return false;
            c = (char)(high * 16 + low);
            from += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        *to++ = c;
    }
    *to = 0;
    return api_utf8(text, (size_t)(to - text));
}

int api_split_path(char *path, const char *segments[API_SEGMENTS_MAX]) {
    if (*path != '/') return -2;
    int count = 0;
    for (char *at = path; at;) {
        char *segment = at + 1;
        at = strchr(segment, '/');
        if (at) *at = 0;
        if (count == API_SEGMENTS_MAX) return -2;
        if (!api_decode(segment, false)) return -1;
        segments[count++] = segment;
    }
    return count;
}

bool api_match(const char *pattern, const char *const *segments, int count, const char **id) {
    *id = NULL;
    int i = 0;
    for (; *pattern == '/'; i++) {
        const char *start = pattern + 1;
        size_t len = strcspn(start, "/");
        pattern = start + len;
        if (i == count) return false;
        if (*start == '{') {
            if (!*segments[i]) return false;
            *id = segments[i];
        } else if (strlen(segments[i]) != len || memcmp(segments[i], start, len) != 0) {
            return false;
        }
    }
    return i == count;
}

static const api_param *find_param(const api_row *row, const char *name, size_t *index) {
    *index = 0;
    for (const api_param *p = row->params; p && p->name; p++, (*index)++)
        if (strcmp(p->name, name) == 0) return p;
    return NULL;
}

static void refuse_unknown(const api_row *row, const char *name, char *why, size_t size) {
    int n = snprintf(why, size, "there is no query parameter \"%.64s\" here; ", name);
    if (!row->params) {
        snprintf(why + n, size - (size_t)n, "%s %s takes none", row->route.method, row->route.pattern);
        return;
    }
    n += snprintf(why + n, size - (size_t)n, "known:");
    for (const api_param *p = row->params; p->name && (size_t)n < size; p++)
        n += snprintf(why + n, size - (size_t)n, " %s", p->name);
}

static bool read_int(const api_param *p, const char *text, int64_t *out) {
    bool minus = *text == '-';
    const char *digits = text + minus;
    size_t len = strlen(digits);
    if (len == 0 || len > 18 || strspn(digits, "0123456789") != len) return false;
    *out = strtoll(text, NULL, 10);
    return *out >= p->min && *out <= p->max;
}

static bool read_bool(const char *text, int64_t *out) {
    *out = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
    return *out || strcmp(text, "0") == 0 || strcmp(text, "false") == 0;
}

static bool read_value(const api_param *p, const char *text, api_value *v, char *why, size_t size) {
    switch (p->type) {
    case API_TEXT: v->text = text; return true;
    case API_INT:
        if (read_int(p, text, &v->number)) return true;
        snprintf(why, size, "the query parameter \"%s\" wants an integer in %" PRId64 "..%" PRId64, p->name, p->min,
                 p->max);
        return false;
    default:
        if (read_bool(text, &v->number)) return true;
        snprintf(why, size, "the query parameter \"%s\" wants 0 or 1", p->name);
        return false;
    }
}

bool api_parse_query(const api_row *row, char *query, api_value values[API_PARAMS_MAX], char *why, size_t why_size) {
    size_t i = 0;
    for (const api_param *p = row->params; p && p->name; p++) values[i++] = (api_value){NULL, p->fallback};
    bool seen[API_PARAMS_MAX] = {false};
    for (char *next = query; next && *next;) {
        char *name = next;
        next = strchr(name, '&');
        if (next) *next++ = 0;
        if (!*name) continue;
        char *text = strchr(name, '=');
        if (text)
            *text++ = 0;
        else
            text = name + strlen(name);
        if (!api_decode(name, true) || !api_decode(text, true)) {
            snprintf(why, why_size,
                     "the query holds a broken escape, %%00 or broken UTF-8; write every byte outside A-Z a-z 0-9 - . "
                     "_ ~ as %%XX");
            return false;
        }
        const api_param *p = find_param(row, name, &i);
        if (!p) {
            refuse_unknown(row, name, why, why_size);
            return false;
        }
        if (seen[i]) {
            snprintf(why, why_size, "the query parameter \"%s\" is given twice", p->name);
            return false;
        }
        seen[i] = true;
        if (*text && !read_value(p, text, &values[i], why, why_size)) return false; /* "after=" is the same as none */
    }
    return true;
}
