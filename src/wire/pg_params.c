/* Parameters in the server's binary form.
 *
 * Texts and bytes are borrowed; numbers and arrays are written into one scratch buffer, and referred to by offset since
 * it may move. The buffer keeps its memory from one statement to the next. */
#include <string.h>

#include "wire/pg_private.h"

/* The server's own numbers of its types (pg_type.dat); fixed for ever. */
typedef struct pg_letter {
    char letter;
    Oid element, array;
} pg_letter;

static const pg_letter pg_letters[] = {
    {'b', 16, 1000}, {'h', 21, 1005}, {'i', 23, 1007},  {'l', 20, 1016},   {'f', 700, 1021},  {'d', 701, 1022},
    {'t', 25, 1009}, {'y', 17, 1001}, {'x', 5069, 271}, {'z', 1184, 1185}, {'j', 3802, 3807},
};

static const pg_letter *pg_letter_of(char letter) {
    for (size_t i = 0; i < sizeof pg_letters / sizeof pg_letters[0]; i++)
        if (pg_letters[i].letter == letter) return &pg_letters[i];
    return NULL;
}

Oid pg_type_of(char letter) {
    if (letter == 'v') return 0;
    bool array = letter >= 'A' && letter <= 'Z';
    const pg_letter *l = pg_letter_of(array ? (char)(letter - 'A' + 'a') : letter);
    BRAID_ASSERT(l != NULL);
    return array ? l->array : l->element;
}

void pg_params_init(pg_params *p) {
    memset(p, 0, sizeof *p);
    buf_init(&p->scratch, 0);
}

void pg_params_reset(pg_params *p) {
    p->count = 0;
    p->failed = false;
    buf_reset(&p->scratch);
}

void pg_params_free(pg_params *p) {
    buf_free(&p->scratch);
    p->count = 0;
}

static pg_param *pg_param_next(pg_params *p) {
    if (p->count == PG_PARAMS_MAX) {
        p->failed = true;
        return NULL;
    }
    pg_param *next = &p->list[p->count++];
    *next = (pg_param){0};
    return next;
}

static void pg_bind_scratch(pg_params *p, const char *data, size_t len) {
    pg_param *next = pg_param_next(p);
    if (next == NULL) return;
    next->scratch = true;
    next->offset = p->scratch.len;
    next->len = (int)len;
    if (!buf_add(&p->scratch, data, len)) p->failed = true;
}

void pg_bind_null(pg_params *p) {
    pg_param_next(p);
}

void pg_bind_bool(pg_params *p, bool value) {
    char bytes = value ? 1 : 0;
    pg_bind_scratch(p, &bytes, 1);
}

void pg_bind_int2(pg_params *p, int16_t value) {
    char bytes[2];
    pg_put16(bytes, (uint16_t)value);
    pg_bind_scratch(p, bytes, sizeof bytes);
}

void pg_bind_int4(pg_params *p, int32_t value) {
    char bytes[4];
    pg_put32(bytes, (uint32_t)value);
    pg_bind_scratch(p, bytes, sizeof bytes);
}

void pg_bind_int8(pg_params *p, int64_t value) {
    char bytes[8];
    pg_put64(bytes, (uint64_t)value);
    pg_bind_scratch(p, bytes, sizeof bytes);
}

void pg_bind_float(pg_params *p, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    pg_bind_int4(p, (int32_t)bits);
}

void pg_bind_double(pg_params *p, double value) {
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    pg_bind_int8(p, bits);
}

void pg_bind_text(pg_params *p, const char *text) {
    pg_bind_bytes(p, text, text != NULL ? strlen(text) : 0);
}

void pg_bind_text_len(pg_params *p, const char *text, size_t len) {
    pg_bind_bytes(p, text, len);
}

void pg_bind_some_text(pg_params *p, const char *text) {
    pg_bind_text(p, text != NULL && text[0] != '\0' ? text : NULL);
}

void pg_bind_bytes(pg_params *p, const void *data, size_t len) {
    pg_param *next = pg_param_next(p);
    if (next == NULL) return;
    if (len > INT32_MAX) p->failed = true;
    next->data = data;
    next->len = (int)len;
}

void pg_bind_json(pg_params *p, const char *text, size_t len) {
    if (text == NULL) {
        pg_bind_null(p);
        return;
    }
    size_t at = p->scratch.len;
    if (!buf_putc(&p->scratch, 1) || !buf_add(&p->scratch, text, len)) p->failed = true;
    pg_param *next = pg_param_next(p);
    if (next != NULL) *next = (pg_param){.scratch = true, .offset = at, .len = (int)(len + 1)};
}

/* ---- floats ---- */

bool pg_add_floats(buf *b, const float *values, size_t n) {
    char block[256];
    while (n > 0) {
        size_t part = n < sizeof block / 4 ? n : sizeof block / 4;
        for (size_t i = 0; i < part; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            pg_put32(block + 4 * i, bits);
        }
        if (!buf_add(b, block, 4 * part)) return false;
        values += part;
        n -= part;
    }
    return true;
}

bool pg_put_vector(buf *b, const float *values, uint32_t dim) {
    char head[4];
    pg_put16(head, (uint16_t)dim);
    pg_put16(head + 2, 0);
    return dim <= UINT16_MAX && buf_add(b, head, sizeof head) && pg_add_floats(b, values, dim);
}

bool pg_put_float_array(buf *b, const float *values, size_t n, bool sized) {
    char head[24];
    size_t bytes = 20 + 8 * n;
    pg_put32(head, (uint32_t)bytes);
    pg_put32(head + 4, 1);
    pg_put32(head + 8, 0);
    pg_put32(head + 12, 700);
    pg_put32(head + 16, (uint32_t)n);
    pg_put32(head + 20, 1);
    if (!buf_add(b, sized ? head : head + 4, sized ? 24 : 20)) return false;
    for (size_t i = 0; i < n; i++) {
        char element[8];
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        pg_put32(element, 4);
        pg_put32(element + 4, bits);
        if (!buf_add(b, element, sizeof element)) return false;
    }
    return true;
}

void pg_bind_vector(pg_params *p, const float *values, uint32_t dim) {
    size_t at = p->scratch.len;
    if (values == NULL) {
        pg_bind_null(p);
        return;
    }
    if (!pg_put_vector(&p->scratch, values, dim)) p->failed = true;
    pg_param *next = pg_param_next(p);
    if (next != NULL) *next = (pg_param){.scratch = true, .offset = at, .len = (int)(4 + 4 * dim)};
}

void pg_bind_floats(pg_params *p, const float *values, size_t n) {
    size_t at = p->scratch.len;
    if (values == NULL) {
        pg_bind_null(p);
        return;
    }
    if (!pg_put_float_array(&p->scratch, values, n, false)) p->failed = true;
    pg_param *next = pg_param_next(p);
    if (next != NULL) *next = (pg_param){.scratch = true, .offset = at, .len = (int)(20 + 8 * n)};
}

/* ---- arrays ---- */

void pg_array_begin(pg_params *p, char letter, size_t n) {
    char head[20];
    pg_param *next = pg_param_next(p);
    if (next == NULL) return;
    p->array_open = p->scratch.len;
    next->scratch = true;
    next->offset = p->scratch.len;
    pg_put32(head, n > 0 ? 1 : 0); /* an empty array has no dimension */
    pg_put32(head + 4, 1);         /* may hold NULLs */
    pg_put32(head + 8, (uint32_t)pg_type_of(letter));
    pg_put32(head + 12, (uint32_t)n);
    pg_put32(head + 16, 1);
    if (n > INT32_MAX || !buf_add(&p->scratch, head, n > 0 ? 20 : 12)) p->failed = true;
}

static void pg_add(pg_params *p, const void *data, size_t len) {
    char head[4];
    pg_put32(head, (uint32_t)len);
    if (len > INT32_MAX || !buf_add(&p->scratch, head, 4) || !buf_add(&p->scratch, data, len)) p->failed = true;
}

void pg_add_null(pg_params *p) {
    char head[4];
    pg_put32(head, UINT32_MAX);
    if (!buf_add(&p->scratch, head, 4)) p->failed = true;
}

void pg_add_bool(pg_params *p, bool value) {
    char bytes = value ? 1 : 0;
    pg_add(p, &bytes, 1);
}

void pg_add_int2(pg_params *p, int16_t value) {
    char bytes[2];
    pg_put16(bytes, (uint16_t)value);
    pg_add(p, bytes, sizeof bytes);
}

void pg_add_int4(pg_params *p, int32_t value) {
    char bytes[4];
    pg_put32(bytes, (uint32_t)value);
    pg_add(p, bytes, sizeof bytes);
}

void pg_add_int8(pg_params *p, int64_t value) {
    char bytes[8];
    pg_put64(bytes, (uint64_t)value);
    pg_add(p, bytes, sizeof bytes);
}

void pg_add_float(pg_params *p, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    pg_add_int4(p, (int32_t)bits);
}

void pg_add_double(pg_params *p, double value) {
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    pg_add_int8(p, bits);
}

void pg_add_text(pg_params *p, const char *text) {
    if (text == NULL)
        pg_add_null(p);
    else
        pg_add(p, text, strlen(text));
}

void pg_add_bytes(pg_params *p, const void *data, size_t len) {
    if (data == NULL)
        pg_add_null(p);
    else
        pg_add(p, data, len);
}

void pg_array_end(pg_params *p) {
    if (p->count == 0) return;
    size_t len = p->scratch.len - p->array_open;
    if (len > INT32_MAX) p->failed = true;
    p->list[p->count - 1].len = (int)len;
}

/* ---- to libpq ---- */

int pg_sending_fill(const pg_session *s, pg_sending *out, const char *types, const pg_params *p, braid_error *err) {
    size_t count = p != NULL ? p->count : 0;
    if (p != NULL && (p->failed || p->scratch.failed)) return pg_no_memory(s, err);
    BRAID_ASSERT(strlen(types) == count);
    for (size_t i = 0; i < count; i++) {
        const pg_param *one = &p->list[i];
        out->values[i] = one->scratch ? p->scratch.data + one->offset : one->data;
        out->lengths[i] = one->len;
        out->formats[i] = 1;
        out->types[i] = pg_type_of(types[i]);
    }
    out->count = (int)count;
    return BRAID_OK;
}

/* ---- time: 2000-01-01 is 10,957 days after 1970-01-01 ---- */

#define PG_EPOCH_MS    INT64_C(946684800000)
#define PG_TIME_MIN_MS INT64_C(-210866803200000) /* 4714-11-24 BC */
#define PG_TIME_MAX_MS INT64_C(9223371331199999) /* 294276 AD, less what the type cannot hold */

int64_t pg_time(int64_t wall_ms) {
    if (wall_ms < PG_TIME_MIN_MS) wall_ms = PG_TIME_MIN_MS;
    if (wall_ms > PG_TIME_MAX_MS) wall_ms = PG_TIME_MAX_MS;
    return (wall_ms - PG_EPOCH_MS) * 1000;
}

int64_t pg_wall_ms(int64_t us) {
    int64_t ms = us / 1000;
    if (us % 1000 < 0) ms--;
    return ms + PG_EPOCH_MS;
}
