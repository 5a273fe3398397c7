/* packstream, writing: each value in its shortest form, appended to a buf.
 *
 * A value's head is put together in a few bytes on the stack and appended at once; lists of numbers go in blocks of
 * some dozens, so that a vector of 768 costs a dozen appends and not 1,536. Errors stick in the buf. */
#include "packstream.h"

#include <string.h>

enum { PS_BLOCK = 64, PS_REAL_BYTES = 9, PS_INT_BYTES = 9 };

static void ps_store(uint8_t *p, uint64_t v, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++) p[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
}

/* A length that no reader could take is a failure like any other. */
static bool ps_fail(buf *b) {
    b->failed = true;
    return false;
}

/* `tiny`: marker of the form with the length in its lower half, 0 for none; `sized`: the marker for 8 bits, followed by
 * those for 16 and 32. */
static bool ps_put_head(buf *b, uint8_t tiny, uint8_t sized, size_t len) {
    uint8_t head[5];
    if (len > PS_LENGTH_MAX) return ps_fail(b);
    if (len < 16 && tiny != 0) return buf_putc(b, (char)(tiny | len));
    unsigned width = len <= 0xFF ? 0 : len <= 0xFFFF ? 1 : 2;
    head[0] = (uint8_t)(sized + width);
    ps_store(head + 1, len, 1u << width);
    return buf_add(b, head, 1 + (1u << width));
}

bool ps_put_null(buf *b) {
    return buf_putc(b, (char)0xC0);
}

bool ps_put_bool(buf *b, bool value) {
    return buf_putc(b, (char)(value ? 0xC3 : 0xC2));
}

/* The shortest form at p; returns its length. */
static size_t ps_int_at(uint8_t *p, int64_t v) {
    if (v >= -16 && v <= 127) {
        p[0] = (uint8_t)v;
        return 1;
    }
    unsigned width = v >= INT8_MIN && v <= INT8_MAX     ? 0
                     : v >= INT16_MIN && v <= INT16_MAX ? 1
                     : v >= INT32_MIN && v <= INT32_MAX ? 2
                                                        : 3;
    p[0] = (uint8_t)(0xC8 + width);
    ps_store(p + 1, (uint64_t)v, 1u << width);
    return 1 + ((size_t)1 << width);
}

static void ps_real_at(uint8_t *p, double v) {
    uint64_t bits;
    memcpy(&bits, &v, 8);
    bits = __builtin_bswap64(bits);
    p[0] = 0xC1;
    memcpy(p + 1, &bits, 8);
}

bool ps_put_int(buf *b, int64_t value) {
    uint8_t p[PS_INT_BYTES];
    return buf_add(b, p, ps_int_at(p, value));
}

bool ps_put_real(buf *b, double value) {
    uint8_t p[PS_REAL_BYTES];
    ps_real_at(p, value);
    return buf_add(b, p, sizeof p);
}

bool ps_put_text(buf *b, const char *text, size_t len) {
    uint8_t p[16];
    if (len > 15) return ps_put_head(b, 0x80, 0xD0, len) && buf_add(b, text, len);
    p[0] = (uint8_t)(0x80 | len); /* keys and ids: one append */
    if (len > 0) memcpy(p + 1, text, len);
    return buf_add(b, p, 1 + len);
}

bool ps_put_str(buf *b, const char *text) {
    return text != NULL ? ps_put_text(b, text, strlen(text)) : ps_put_null(b);
}

bool ps_put_bytes(buf *b, const void *data, size_t len) {
    return ps_put_head(b, 0, 0xCC, len) && buf_add(b, data, len);
}

bool ps_put_list(buf *b, size_t count) {
    return ps_put_head(b, 0x90, 0xD4, count);
}

bool ps_put_map(buf *b, size_t pairs) {
    return ps_put_head(b, 0xA0, 0xD8, pairs);
}

bool ps_put_struct(buf *b, uint8_t tag, unsigned fields) {
    if (fields > 15) return ps_fail(b);
    uint8_t p[2] = {(uint8_t)(0xB0 | fields), tag};
    return buf_add(b, p, 2);
}

bool ps_put_raw(buf *b, const void *encoded, size_t len) {
    return buf_add(b, encoded, len);
}

/* ---- containers whose length is known afterwards: the 32-bit form, filled in later ---- */

static size_t ps_open_sized(buf *b, uint8_t marker) {
    const uint8_t head[5] = {marker};
    size_t at = b->len;
    buf_add(b, head, sizeof head);
    return at;
}

size_t ps_open_list(buf *b) {
    return ps_open_sized(b, 0xD6);
}

size_t ps_open_map(buf *b) {
    return ps_open_sized(b, 0xDA);
}

bool ps_close(buf *b, size_t at, size_t count) {
    if (b->failed) return false;
    BRAID_ASSERT(at + 5 <= b->len && ((uint8_t)b->data[at] == 0xD6 || (uint8_t)b->data[at] == 0xDA));
    if (count > PS_LENGTH_MAX) return ps_fail(b);
    ps_store((uint8_t *)b->data + at + 1, count, 4);
    return true;
}

/* ---- lists in one call ---- */

bool ps_put_floats(buf *b, const float *values, size_t count) {
    uint8_t block[PS_BLOCK * PS_REAL_BYTES];
    if (!ps_put_list(b, count)) return false;
    for (size_t i = 0; i < count;) {
        size_t n = 0;
        for (; n < PS_BLOCK && i < count; n++, i++) ps_real_at(block + n * PS_REAL_BYTES, values[i]);
        if (!buf_add(b, block, n * PS_REAL_BYTES)) return false;
    }
    return true;
}

bool ps_put_reals(buf *b, const double *values, size_t count) {
    uint8_t block[PS_BLOCK * PS_REAL_BYTES];
    if (!ps_put_list(b, count)) return false;
    for (size_t i = 0; i < count;) {
        size_t n = 0;
        for (; n < PS_BLOCK && i < count; n++, i++) ps_real_at(block + n * PS_REAL_BYTES, values[i]);
        if (!buf_add(b, block, n * PS_REAL_BYTES)) return false;
    }
    return true;
}

bool ps_put_ints(buf *b, const int64_t *values, size_t count) {
    uint8_t block[PS_BLOCK * PS_INT_BYTES];
    if (!ps_put_list(b, count)) return false;
    for (size_t i = 0; i < count;) {
        size_t n = 0, used = 0;
        for (; n < PS_BLOCK && i < count; n++, i++) used += ps_int_at(block + used, values[i]);
        if (!buf_add(b, block, used)) return false;
    }
    return true;
}

bool ps_put_strs(buf *b, const char *const *texts, size_t count) {
    ps_put_list(b, count);
    for (size_t i = 0; i < count; i++) ps_put_str(b, texts[i]);
    return !b->failed;
}

/* ---- times and points ---- */

static bool ps_put_ints_of(buf *b, ps_tag tag, unsigned fields, const int64_t *values, unsigned count) {
    ps_put_struct(b, (uint8_t)tag, fields);
    for (unsigned i = 0; i < count; i++) ps_put_int(b, values[i]);
    return !b->failed;
}

bool ps_put_date(buf *b, int64_t days) {
    return ps_put_ints_of(b, PS_DATE, 1, &days, 1);
}

bool ps_put_time(buf *b, int64_t nanoseconds, int64_t offset) {
    return ps_put_ints_of(b, PS_TIME, 2, (const int64_t[]){nanoseconds, offset}, 2);
}

bool ps_put_local_time(buf *b, int64_t nanoseconds) {
    return ps_put_ints_of(b, PS_LOCAL_TIME, 1, &nanoseconds, 1);
}

bool ps_put_date_time(buf *b, int64_t seconds, int64_t nanoseconds, int64_t offset) {
    return ps_put_ints_of(b, PS_DATE_TIME, 3, (const int64_t[]){seconds, nanoseconds, offset}, 3);
}

bool ps_put_date_time_zone(buf *b, int64_t seconds, int64_t nanoseconds, const char *zone) {
    ps_put_ints_of(b, PS_DATE_TIME_ZONE_ID, 3, (const int64_t[]){seconds, nanoseconds}, 2);
    return ps_put_str(b, zone);
}

bool ps_put_date_time_legacy(buf *b, int64_t local_seconds, int64_t nanoseconds, int64_t offset) {
    return ps_put_ints_of(b, PS_DATE_TIME_LEGACY, 3, (const int64_t[]){local_seconds, nanoseconds, offset}, 3);
}

bool ps_put_date_time_zone_legacy(buf *b, int64_t local_seconds, int64_t nanoseconds, const char *zone) {
    ps_put_ints_of(b, PS_DATE_TIME_ZONE_ID_LEGACY, 3, (const int64_t[]){local_seconds, nanoseconds}, 2);
    return ps_put_str(b, zone);
}

bool ps_put_local_date_time(buf *b, int64_t seconds, int64_t nanoseconds) {
    return ps_put_ints_of(b, PS_LOCAL_DATE_TIME, 2, (const int64_t[]){seconds, nanoseconds}, 2);
}

bool ps_put_duration(buf *b, int64_t months, int64_t days, int64_t seconds, int64_t nanoseconds) {
    return ps_put_ints_of(b, PS_DURATION, 4, (const int64_t[]){months, days, seconds, nanoseconds}, 4);
}

bool ps_put_point_2d(buf *b, int64_t srid, double x, double y) {
    ps_put_ints_of(b, PS_POINT_2D, 3, &srid, 1);
    ps_put_real(b, x);
    return ps_put_real(b, y);
}

bool ps_put_point_3d(buf *b, int64_t srid, double x, double y, double z) {
    ps_put_ints_of(b, PS_POINT_3D, 4, &srid, 1);
    ps_put_real(b, x);
    ps_put_real(b, y);
    return ps_put_real(b, z);
}
