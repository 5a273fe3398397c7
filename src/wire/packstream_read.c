/* packstream, reading what is wanted: whole values, kinds, lists of numbers, and views for texts.
 *
 * All of it stands on ps_next. A caller that knows the shape of an answer asks for kinds and looks once, at the end,
 * whether the reader is still content. */
#include "packstream.h"

#include <string.h>

const char *ps_kind_name(ps_kind k) {
    static const char *const names[] = {"null",     "a boolean", "an integer", "a number",   "bytes",
                                        "a string", "a list",    "a map",      "a structure"};
    return (size_t)k < sizeof names / sizeof names[0] ? names[k] : "nothing";
}

bool ps_text_is(ps_text t, const char *text) {
    size_t len = strlen(text);
    return t.len == len && memcmp(t.data, text, len) == 0;
}

bool ps_text_copy(ps_text t, char *out, size_t cap) {
    if (cap == 0) return false;
    size_t len = t.len < cap ? t.len : utf8_prefix(t.data, t.len, cap - 1);
    if (len > 0) memcpy(out, t.data, len);
    out[len] = '\0';
    return len == t.len;
}

bool ps_skip(ps_reader *r, ps_raw *raw) {
    const uint8_t *from = r->at;
    unsigned depth = r->depth;
    ps_value v;
    if (!ps_next(r, &v)) return false;
    while (r->depth > depth)
        if (!ps_next(r, &v)) return false;
    if (raw != NULL) *raw = (ps_raw){.data = from, .len = (size_t)(r->at - from)};
    return true;
}

bool ps_leave(ps_reader *r) {
    if (r->problem != NULL) return false;
    if (r->depth == 0) return ps_refuse(r, "there is no container to leave");
    unsigned outside = r->depth - 1;
    ps_value v;
    while (r->depth > outside)
        if (!ps_next(r, &v)) return false;
    return true;
}

/* ---- kinds ---- */

/* Like ps_next, but a value must be there. */
static bool ps_want(ps_reader *r, ps_value *v) {
    return ps_next(r, v) || ps_refuse(r, "a value is missing");
}

bool ps_read_null(ps_reader *r, bool *was_null) {
    ps_value v;
    *was_null = r->problem == NULL && r->at < r->end && *r->at == 0xC0;
    if (*was_null) return ps_want(r, &v);
    if (r->problem != NULL) return false;
    return r->at < r->end && (r->owed > 0 || r->many) ? true : ps_refuse(r, "a value is missing");
}

bool ps_read_bool(ps_reader *r, bool *out) {
    ps_value v;
    if (!ps_want(r, &v)) return false;
    if (v.kind != PS_BOOL) return ps_refuse(r, "wanted a boolean");
    *out = v.boolean;
    return true;
}

bool ps_read_int(ps_reader *r, int64_t *out) {
    ps_value v;
    if (!ps_want(r, &v)) return false;
    if (v.kind != PS_INT) return ps_refuse(r, "wanted an integer");
    *out = v.integer;
    return true;
}

bool ps_read_real(ps_reader *r, double *out) {
    ps_value v;
    if (!ps_want(r, &v)) return false;
    if (v.kind != PS_INT && v.kind != PS_FLOAT) return ps_refuse(r, "wanted a number");
    *out = v.kind == PS_INT ? (double)v.integer : v.real;
    return true;
}

bool ps_read_text(ps_reader *r, ps_text *out) {
    ps_value v;
    if (!ps_want(r, &v)) return false;
    if (v.kind != PS_STRING) return ps_refuse(r, "wanted a string");
    *out = v.text;
    return true;
}

bool ps_read_bytes(ps_reader *r, ps_text *out) {
    ps_value v;
    if (!ps_want(r, &v)) return false;
    if (v.kind != PS_BYTES) return ps_refuse(r, "wanted bytes");
    *out = v.text;
    return true;
}

bool ps_read_list(ps_reader *r, uint32_t *count) {
    ps_value v;
    if (!ps_want(r, &v)) return false;
    if (v.kind != PS_LIST) return ps_refuse(r, "wanted a list");
    *count = v.count;
    return true;
}

bool ps_read_map(ps_reader *r, uint32_t *pairs) {
    ps_value v;
    if (!ps_want(r, &v)) return false;
    if (v.kind != PS_MAP) return ps_refuse(r, "wanted a map");
    *pairs = v.count;
    return true;
}

/* The floats that stand next to each other at the cursor, at most `count`: what vectors consist of. They are taken from
 * the books together; the last of the list is left to ps_next, which closes the list. */
static uint32_t ps_read_run(ps_reader *r, float *out, uint32_t count) {
    uint32_t n = 0;
    for (; n + 1 < count && (size_t)(r->end - r->at) >= 9 && *r->at == 0xC1; n++, r->at += 9) {
        uint64_t bits;
        double value;
        memcpy(&bits, r->at + 1, 8);
        bits = __builtin_bswap64(bits);
        memcpy(&value, &bits, 8);
        out[n] = (float)value;
    }
    r->owed -= n;
    if (n > 0) r->frames[r->depth - 1].left -= n;
    return n;
}

bool ps_read_floats(ps_reader *r, float *out, size_t cap, size_t *count) {
    uint32_t n = 0;
    if (!ps_read_list(r, &n)) return false;
    if (n > cap) return ps_refuse(r, "a list of numbers is longer than wanted");
    for (uint32_t i = n > 0 ? ps_read_run(r, out, n) : 0; i < n; i++) {
        double value;
        if (!ps_read_real(r, &value)) return false;
        out[i] = (float)value;
    }
    *count = n;
    return true;
}
