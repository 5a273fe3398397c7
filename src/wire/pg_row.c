/* Reading a row in binary form. The server's word on a value's length is checked against what its type has. */
#include <string.h>

#include "wire/pg_private.h"

int pg_rows(const PGresult *r) {
    return PQntuples(r);
}

bool pg_null(const pg_row *row, int column) {
    return PQgetisnull(row->r, row->row, column) != 0;
}

/* The value if it is there and has `len` bytes; else NULL, and the row is bad. */
static const char *pg_fixed(pg_row *row, int column, int len) {
    if (column >= PQnfields(row->r) || pg_null(row, column) || PQgetlength(row->r, row->row, column) != len ||
        PQfformat(row->r, column) != 1) {
        row->bad = true;
        return NULL;
    }
    return PQgetvalue(row->r, row->row, column);
}

bool pg_bool(pg_row *row, int column) {
    const char *v = pg_fixed(row, column, 1);
    return v != NULL && v[0] != 0;
}

int16_t pg_int2(pg_row *row, int column) {
    const char *v = pg_fixed(row, column, 2);
    return v != NULL ? (int16_t)pg_get16(v) : 0;
}

int32_t pg_int4(pg_row *row, int column) {
    const char *v = pg_fixed(row, column, 4);
    return v != NULL ? (int32_t)pg_get32(v) : 0;
}

int64_t pg_int8(pg_row *row, int column) {
    const char *v = pg_fixed(row, column, 8);
    return v != NULL ? (int64_t)pg_get64(v) : 0;
}

float pg_float(pg_row *row, int column) {
    const char *v = pg_fixed(row, column, 4);
    float value = 0;
    uint32_t bits = v != NULL ? pg_get32(v) : 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double pg_double(pg_row *row, int column) {
    int64_t bits = pg_int8(row, column);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

const char *pg_text(pg_row *row, int column, size_t *len) {
    if (len != NULL) *len = 0;
    if (column >= PQnfields(row->r)) {
        row->bad = true;
        return "";
    }
    if (pg_null(row, column)) return "";
    const char *text = PQgetvalue(row->r, row->row, column);
    size_t n = (size_t)PQgetlength(row->r, row->row, column);
    if (memchr(text, '\0', n) != NULL) row->bad = true; /* no text of PostgreSQL holds one */
    if (len != NULL) *len = n;
    return text;
}

const void *pg_bytes(pg_row *row, int column, size_t *len) {
    *len = 0;
    if (column >= PQnfields(row->r)) row->bad = true;
    if (row->bad || pg_null(row, column)) return NULL;
    *len = (size_t)PQgetlength(row->r, row->row, column);
    return PQgetvalue(row->r, row->row, column);
}

const char *pg_json(pg_row *row, int column, size_t *len) {
    size_t n = 0;
    const char *bytes = pg_bytes(row, column, &n);
    if (len != NULL) *len = 0;
    if (bytes == NULL) return "";
    if (n < 1 || bytes[0] != 1) {
        row->bad = true;
        return "";
    }
    if (len != NULL) *len = n - 1;
    return bytes + 1;
}

bool pg_vector(pg_row *row, int column, float *out, uint32_t dim) {
    const char *v = pg_fixed(row, column, (int)(4 + 4 * dim));
    if (v == NULL || pg_get16(v) != dim) {
        row->bad = true;
        return false;
    }
    for (uint32_t i = 0; i < dim; i++) {
        uint32_t bits = pg_get32(v + 4 + 4 * (size_t)i);
        memcpy(&out[i], &bits, sizeof bits);
    }
    return true;
}

bool pg_floats(pg_row *row, int column, float *out, uint32_t dim) {
    const char *v = pg_fixed(row, column, (int)(20 + 8 * dim));
    if (v == NULL || pg_get32(v) != 1 || pg_get32(v + 8) != 700 || pg_get32(v + 12) != dim) {
        row->bad = true;
        return false;
    }
    for (uint32_t i = 0; i < dim; i++) {
        const char *element = v + 20 + 8 * (size_t)i;
        uint32_t bits = pg_get32(element + 4);
        if (pg_get32(element) != 4) row->bad = true;
        memcpy(&out[i], &bits, sizeof bits);
    }
    return !row->bad;
}

/* ---- arrays: dimensions, has NULLs, element type; each dimension's length and lower bound; elements ---- */

uint32_t pg_elements_open(pg_elements *e, pg_row *row, int column, char letter) {
    size_t len = 0;
    memset(e, 0, sizeof *e);
    e->row = row;
    const char *v = pg_bytes(row, column, &len);
    if (v == NULL) return 0;
    uint32_t dimensions = len >= 12 ? pg_get32(v) : 2;
    if (dimensions > 1 || len < 12 + 8 * (size_t)dimensions || pg_get32(v + 8) != pg_type_of(letter)) {
        row->bad = true;
        return 0;
    }
    uint32_t count = dimensions == 1 ? pg_get32(v + 12) : 0;
    if (count > (len - 12) / 4) { /* each element has at least its length */
        row->bad = true;
        return 0;
    }
    e->at = v + 12 + 8 * (size_t)dimensions;
    e->end = v + len;
    e->count = e->left = count;
    return count;
}

/* The next element's bytes; `want` SIZE_MAX: of any length. */
static const char *pg_element(pg_elements *e, size_t want, size_t *len) {
    *len = 0;
    if (e->row->bad || e->left == 0 || e->end - e->at < 4) {
        e->row->bad = true;
        return NULL;
    }
    uint32_t size = pg_get32(e->at);
    if (size > INT32_MAX || size > (size_t)(e->end - e->at - 4) || (want != SIZE_MAX && size != want)) {
        e->row->bad = true; /* NULL is size -1, and not expected either */
        return NULL;
    }
    const char *data = e->at + 4;
    e->at += 4 + size;
    e->left--;
    *len = size;
    return data;
}

int64_t pg_element_int8(pg_elements *e) {
    size_t len;
    const char *v = pg_element(e, 8, &len);
    return v != NULL ? (int64_t)pg_get64(v) : 0;
}

double pg_element_double(pg_elements *e) {
    int64_t bits = pg_element_int8(e);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

const char *pg_element_text(pg_elements *e, size_t *len) {
    return pg_element(e, SIZE_MAX, len);
}
