/* COPY ... FROM STDIN (FORMAT binary): the fastest way in for many rows, one statement and no parsing a row.
 *
 * Rows gather in a buffer and go to libpq in parts of about PG_COPY_PART; libpq hands on what the socket takes, and the
 * rest waits under the deadline. */
#include <string.h>

#include "wire/pg_private.h"

enum { PG_COPY_PART = 256 * 1024 };

int pg_copy_begin(pg_copy *k, pg_session *s, const char *sql, deadline until, braid_error *err) {
    static const char head[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
    PGresult *r = NULL;
    memset(k, 0, sizeof *k);
    k->s = s;
    k->until = pg_deadline(s->o, until);
    int code = pg_exec(s, sql, NULL, NULL, k->until, "copying rows in", &r, err);
    if (code == BRAID_OK && PQresultStatus(r) != PGRES_COPY_IN)
        code = error_set(err, BRAID_E_INTERNAL, s->o->store, "copying rows in: not a COPY");
    PQclear(r);
    if (code != BRAID_OK) return code;
    buf_init(&k->rows, 0);
    buf_add(&k->rows, head, sizeof head);
    return BRAID_OK;
}

void pg_copy_row(pg_copy *k, unsigned columns) {
    char head[2];
    pg_put16(head, (uint16_t)columns);
    buf_add(&k->rows, head, sizeof head);
}

static void pg_copy_field(pg_copy *k, const void *data, size_t len) {
    char head[4];
    pg_put32(head, (uint32_t)len);
    buf_add(&k->rows, head, sizeof head);
    buf_add(&k->rows, data, len);
    if (len > INT32_MAX) k->rows.failed = true;
}

void pg_copy_null(pg_copy *k) {
    char head[4];
    pg_put32(head, UINT32_MAX);
    buf_add(&k->rows, head, sizeof head);
}

void pg_copy_bool(pg_copy *k, bool value) {
    char byte = value ? 1 : 0;
    pg_copy_field(k, &byte, 1);
}

void pg_copy_int2(pg_copy *k, int16_t value) {
    char bytes[2];
    pg_put16(bytes, (uint16_t)value);
    pg_copy_field(k, bytes, sizeof bytes);
}

void pg_copy_int4(pg_copy *k, int32_t value) {
    char bytes[4];
    pg_put32(bytes, (uint32_t)value);
    pg_copy_field(k, bytes, sizeof bytes);
}

void pg_copy_int8(pg_copy *k, int64_t value) {
    char bytes[8];
    pg_put64(bytes, (uint64_t)value);
    pg_copy_field(k, bytes, sizeof bytes);
}

void pg_copy_double(pg_copy *k, double value) {
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    pg_copy_int8(k, bits);
}

void pg_copy_text(pg_copy *k, const char *text) {
    if (text == NULL)
        pg_copy_null(k);
    else
        pg_copy_field(k, text, strlen(text));
}

void pg_copy_bytes(pg_copy *k, const void *data, size_t len) {
    if (data == NULL)
        pg_copy_null(k);
    else
        pg_copy_field(k, data, len);
}

void pg_copy_vector(pg_copy *k, const float *values, uint32_t dim) {
    char head[4];
    pg_put32(head, 4 + 4 * dim);
    buf_add(&k->rows, head, sizeof head);
    if (!pg_put_vector(&k->rows, values, dim)) k->rows.failed = true;
}

void pg_copy_floats(pg_copy *k, const float *values, size_t n) {
    if (!pg_put_float_array(&k->rows, values, n, true)) k->rows.failed = true;
}

static int pg_copy_send(pg_copy *k, braid_error *err) {
    if (k->rows.failed) return pg_no_memory(k->s, err);
    for (;;) {
        int taken = PQputCopyData(k->s->c, k->rows.data, (int)k->rows.len);
        if (taken < 0) return pg_fail(k->s, NULL, "copying rows in", err);
        if (taken > 0) break;
        int code = pg_wait(k->s, true, k->until, "copying rows in", err);
        if (code != BRAID_OK) return code;
        if (PQconsumeInput(k->s->c) == 0) return pg_fail(k->s, NULL, "copying rows in", err);
    }
    buf_reset(&k->rows);
    return pg_send_all(k->s, k->until, "copying rows in", err);
}

int pg_copy_push(pg_copy *k, braid_error *err) {
    if (k->failed) return BRAID_E_INTERNAL;
    if (k->rows.len < PG_COPY_PART && !k->rows.failed) return BRAID_OK;
    int code = pg_copy_send(k, err);
    k->failed = code != BRAID_OK;
    return code;
}

int pg_copy_end(pg_copy *k, uint64_t *rows, braid_error *err) {
    static const char end[2] = {'\377', '\377'};
    PGresult *r = NULL;
    if (rows != NULL) *rows = 0;
    if (k->failed) {
        pg_copy_abandon(k);
        return error_set(err, BRAID_E_UNAVAILABLE, k->s->o->store, "copying rows in was given up");
    }
    buf_add(&k->rows, end, sizeof end);
    int code = pg_copy_send(k, err);
    while (code == BRAID_OK) {
        int ended = PQputCopyEnd(k->s->c, NULL);
        if (ended > 0) break;
        code = ended < 0 ? pg_fail(k->s, NULL, "copying rows in", err)
                         : pg_wait(k->s, true, k->until, "copying rows in", err);
    }
    if (code == BRAID_OK) code = pg_finish(k->s, k->until, "copying rows in", &r, err);
    if (code == BRAID_OK && rows != NULL) *rows = pg_touched(r);
    PQclear(r);
    buf_free(&k->rows);
    return code;
}

void pg_copy_abandon(pg_copy *k) {
    k->s->broken = true; /* the server waits for rows: only closing the connection ends it */
    buf_free(&k->rows);
}
