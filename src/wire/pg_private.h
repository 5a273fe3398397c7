/* Private to pg*.c: one connection, and what its files lend each other. */
#ifndef WIRE_PG_PRIVATE_H
#define WIRE_PG_PRIVATE_H

#include "wire/pg.h"

enum {
    PG_TIMEOUT_MS_DEFAULT = 5000,
    PG_DISCONNECT_CHECK_MS = 500, /* how soon the server notices that we are gone */
    PG_TYPE_TEXT = 25
};

/* What the server will answer next, in pipeline mode. */
typedef struct pg_expected {
    char what; /* 'p' a preparation, 'q' a statement, 's' a sync */
    uint16_t which;
} pg_expected;

typedef enum pg_prepared { PG_NOT_PREPARED, PG_PREPARING, PG_PREPARED } pg_prepared;

struct pg_session {
    PGconn *c;
    const pg_options *o;
    const clock_ops *clock;
    bool broken, retriable, piping, unsynced;
    char sqlstate[6];
    uint8_t prepared[PG_STATEMENTS_MAX];
    pg_expected *expected; /* a queue: [expected_first, expected_end) */
    size_t expected_first, expected_end, expected_room;
};

/* Waits until the socket can be read (or written, while something waits to be sent). DEADLINE breaks the session. */
int pg_wait(pg_session *s, bool write, deadline until, const char *doing, braid_error *err);
/* Sends what waits; reads meanwhile, since a server that waits for us to read does not read. */
int pg_send_all(pg_session *s, deadline until, const char *doing, braid_error *err);
/* PQgetResult within the deadline. BRAID_OK with *out NULL: the statement's results are over. */
int pg_take(pg_session *s, deadline until, const char *doing, PGresult **out, braid_error *err);
/* The last of the results of a statement outside of pipeline mode; an error among them wins. */
int pg_finish(pg_session *s, deadline until, const char *doing, PGresult **out, braid_error *err);
/* Turns a failed result (or, NULL, a failed connection) into an error, and judges the session. */
int pg_fail(pg_session *s, const PGresult *r, const char *doing, braid_error *err);
int pg_no_memory(const pg_session *s, braid_error *err);

/* Parameters as libpq wants them. */
typedef struct pg_sending {
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX], formats[PG_PARAMS_MAX];
    Oid types[PG_PARAMS_MAX];
    int count;
} pg_sending;
int pg_sending_fill(const pg_session *s, pg_sending *out, const char *types, const pg_params *p, braid_error *err);
Oid pg_type_of(char letter); /* 0: the server decides */
void pg_statement_name(char name[16], unsigned which);

/* Numbers in network order. */
static inline void pg_put16(char *to, uint16_t v) {
    to[0] = (char)(v >> 8);
    to[1] = (char)v;
}
static inline void pg_put32(char *to, uint32_t v) {
    pg_put16(to, (uint16_t)(v >> 16));
    pg_put16(to + 2, (uint16_t)v);
}
static inline void pg_put64(char *to, uint64_t v) {
    pg_put32(to, (uint32_t)(v >> 32));
    pg_put32(to + 4, (uint32_t)v);
}
static inline uint32_t pg_get32(const char *from) {
    const unsigned char *b = (const unsigned char *)from;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}
static inline uint16_t pg_get16(const char *from) {
    const unsigned char *b = (const unsigned char *)from;
    return (uint16_t)(b[0] << 8 | b[1]);
}
static inline uint64_t pg_get64(const char *from) {
    return (uint64_t)pg_get32(from) << 32 | pg_get32(from + 4);
}
bool pg_add_floats(buf *b, const float *values, size_t n);                  /* each in network order */
bool pg_put_vector(buf *b, const float *values, uint32_t dim);              /* pgvector's form */
bool pg_put_float_array(buf *b, const float *values, size_t n, bool sized); /* sized: each with its length before it */

#endif
