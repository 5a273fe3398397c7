/* packstream, reading: a cursor that never goes past the end and never believes a count.
 *
 * The format is a marker byte, then what it says. Lengths are 4 bits in the marker or 8, 16, 32 bits after it, big-
 * endian. A container only says how many elements follow, so the cursor keeps a small stack of what is still to come:
 *
 *     {"ids": [1, 2]}    A1 | 83 i d s | 92 | 01 | 02        frames: map 2 -> list 2
 *
 * `owed` is the sum over the frames. An element takes a byte at least, so `owed <= bytes left` holds after every step
 * of a good message; a container that would break it is refused where it is announced. With it a list of 2^31 elements
 * in a message of ten bytes dies before anybody allocates for it, and so does a billion laughs of nested counts, which
 * checking each count alone against the bytes left would let through.
 *
 * Rejected: recursion (a stack that a server could make as deep as it likes) and a visitor (callers want to pull). */
#include "packstream.h"

#include <string.h>

/* ---- bytes ---- */

static uint64_t ps_big_endian(const uint8_t *p, unsigned bytes) {
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) v = v << 8 | p[i];
    return v;
}

static size_t ps_left(const ps_reader *r) {
    return (size_t)(r->end - r->at);
}

bool ps_refuse(ps_reader *r, const char *problem) {
    if (r->problem == NULL) r->problem = problem;
    return false;
}

/* ---- cursor ---- */

void ps_reader_init(ps_reader *r, const void *data, size_t len) {
    r->begin = r->at = data != NULL ? data : (const uint8_t *)"";
    r->end = r->begin + (data != NULL ? len : 0);
    r->problem = NULL;
    r->owed = 1;
    r->depth = 0;
    r->many = false;
}

void ps_reader_init_many(ps_reader *r, const void *data, size_t len) {
    ps_reader_init(r, data, len);
    r->owed = 0;
    r->many = true;
}

bool ps_finished(const ps_reader *r) {
    return r->problem == NULL && r->at == r->end && r->owed == 0;
}

int ps_error(const ps_reader *r, const char *store, braid_error *err) {
    const char *problem = r->problem;
    if (problem == NULL) problem = r->owed > 0 ? "the message ends too early" : "bytes follow the value";
    return error_set(err, BRAID_E_CORRUPT, store, "PackStream: %s at byte %zu of %zu", problem,
                     (size_t)(r->at - r->begin), (size_t)(r->end - r->begin));
}

/* Leaves the containers that are complete. The innermost may be the last element of the one around it, so that frame
 * has nothing left either; it stays until here, and depth is the true nesting. */
static void ps_settle(ps_reader *r) {
    while (r->depth > 0 && r->frames[r->depth - 1].left == 0) r->depth--;
}

static void ps_take_element(ps_reader *r) {
    if (r->owed > 0) r->owed--;
    if (r->depth > 0) r->frames[r->depth - 1].left--;
}

static bool ps_affordable(ps_reader *r) {
    return r->owed <= ps_left(r) || ps_refuse(r, "more elements are announced than there are bytes");
}

static bool ps_done(ps_reader *r) {
    ps_take_element(r);
    ps_settle(r);
    return ps_affordable(r);
}

static bool ps_open(ps_reader *r, uint32_t elements, bool is_map) {
    if (r->depth == PS_DEPTH_MAX) return ps_refuse(r, "nested too deeply");
    if (elements == 0) return ps_done(r);
    ps_take_element(r);
    r->owed += elements;
    if (!ps_affordable(r)) return false;
    r->frames[r->depth++] = (ps_frame){.left = elements, .map = is_map};
    return true;
}

/* The length after a marker of 8, 16 or 32 bits (0, 1, 2). */
static bool ps_length(ps_reader *r, unsigned width, uint32_t *out) {
    unsigned bytes = 1u << width;
    if (ps_left(r) < bytes) return ps_refuse(r, "a length is cut off");
    uint64_t v = ps_big_endian(r->at, bytes);
    if (v > PS_LENGTH_MAX) return ps_refuse(r, "a length is above 2^31-1");
    r->at += bytes;
    *out = (uint32_t)v;
    return true;
}

static bool ps_take_text(ps_reader *r, ps_value *out, uint32_t len, ps_kind kind) {
    if (ps_left(r) < len) return ps_refuse(r, kind == PS_STRING ? "a string is cut off" : "bytes are cut off");
    if (kind == PS_STRING && !utf8_valid((const char *)r->at, len)) return ps_refuse(r, "a string is not UTF-8");
    out->kind = kind;
    out->text = (ps_text){.data = (const char *)r->at, .len = len};
    r->at += len;
    return ps_done(r);
}

static bool ps_take_container(ps_reader *r, ps_value *out, uint32_t count, ps_kind kind) {
    out->kind = kind;
    out->count = count;
    if (kind == PS_MAP && count > PS_LENGTH_MAX / 2) return ps_refuse(r, "a map is above 2^30 pairs");
    return ps_open(r, kind == PS_MAP ? 2 * count : count, kind == PS_MAP);
}

static bool ps_take_struct(ps_reader *r, ps_value *out, uint32_t fields) {
    if (ps_left(r) < 1) return ps_refuse(r, "a structure is cut off");
    out->tag = *r->at++;
    return ps_take_container(r, out, fields, PS_STRUCT);
}

static bool ps_take_int(ps_reader *r, ps_value *out, unsigned bytes) {
    if (ps_left(r) < bytes) return ps_refuse(r, "an integer is cut off");
    unsigned shift = 64 - 8 * bytes;
    out->kind = PS_INT;
    out->integer = (int64_t)(ps_big_endian(r->at, bytes) << shift) >> shift;
    r->at += bytes;
    return ps_done(r);
}

static bool ps_take_real(ps_reader *r, ps_value *out) {
    if (ps_left(r) < 8) return ps_refuse(r, "a number is cut off");
    uint64_t bits = ps_big_endian(r->at, 8);
    out->kind = PS_FLOAT;
    memcpy(&out->real, &bits, 8);
    r->at += 8;
    return ps_done(r);
}

static bool ps_take_simple(ps_reader *r, ps_value *out, ps_kind kind, bool value) {
    out->kind = kind;
    out->boolean = value;
    return ps_done(r);
}

/* Markers from 0xC0 to 0xDF: everything that is not small. */
static bool ps_take_marked(ps_reader *r, ps_value *out, uint8_t marker) {
    uint32_t len;
    switch (marker) {
    case 0xC0: return ps_take_simple(r, out, PS_NULL, false);
    case 0xC1: return ps_take_real(r, out);
    case 0xC2: return ps_take_simple(r, out, PS_BOOL, false);
    case 0xC3: return ps_take_simple(r, out, PS_BOOL, true);
    case 0xC8: return ps_take_int(r, out, 1);
    case 0xC9: return ps_take_int(r, out, 2);
    case 0xCA: return ps_take_int(r, out, 4);
    case 0xCB: return ps_take_int(r, out, 8);
    case 0xCC:
    case 0xCD:
    case 0xCE: return ps_length(r, marker - 0xCCu, &len) && ps_take_text(r, out, len, PS_BYTES);
    case 0xD0:
    case 0xD1:
    case 0xD2: return ps_length(r, marker - 0xD0u, &len) && ps_take_text(r, out, len, PS_STRING);
    case 0xD4:
    case 0xD5:
    case 0xD6: return ps_length(r, marker - 0xD4u, &len) && ps_take_container(r, out, len, PS_LIST);
    case 0xD8:
    case 0xD9:
    case 0xDA: return ps_length(r, marker - 0xD8u, &len) && ps_take_container(r, out, len, PS_MAP);
    default: return ps_refuse(r, "no value begins so");
    }
}

static bool ps_is_string_marker(uint8_t marker) {
    return (marker & 0xF0) == 0x80 || (marker >= 0xD0 && marker <= 0xD2);
}

bool ps_next(ps_reader *r, ps_value *out) {
    if (r->problem != NULL) return false;
    if (r->owed == 0 && !r->many) return false;
    if (r->at == r->end) return r->owed == 0 ? false : ps_refuse(r, "the message ends too early");
    uint8_t marker = *r->at;
    if (r->depth > 0) {
        const ps_frame *f = &r->frames[r->depth - 1];
        if (f->map && f->left % 2 == 0 && !ps_is_string_marker(marker)) return ps_refuse(r, "a key is not a string");
    }
    r->at++;
    out->tag = 0;
    out->count = 0;
    switch (marker >> 4) {
    case 0x8: return ps_take_text(r, out, marker & 0x0Fu, PS_STRING);
    case 0x9: return ps_take_container(r, out, marker & 0x0Fu, PS_LIST);
    case 0xA: return ps_take_container(r, out, marker & 0x0Fu, PS_MAP);
    case 0xB: return ps_take_struct(r, out, marker & 0x0Fu);
    case 0xC:
    case 0xD: return ps_take_marked(r, out, marker);
    case 0xE: return ps_refuse(r, "no value begins so");
    default: /* 0x00..0x7F and 0xF0..0xFF: the marker is the number, -16..127 */
        out->integer = (int8_t)marker;
        out->kind = PS_INT;
        return ps_done(r);
    }
}
