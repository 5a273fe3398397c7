/* pg: PostgreSQL by libpq, with absolute deadlines.
 *
 * A session is one connection. Everything is sent and received without blocking; every wait is a poll() for what is
 * left of the deadline on the monotonic clock. A session whose deadline passed, or whose connection broke, is `broken`:
 * only pg_close is allowed, so that no late reply reaches the next question. libpq's PQcancel opens a blocking
 * connection of its own without a time limit, so it is not used; the server notices a closed connection within a
 * fraction of a second (client_connection_check_interval) and stops the query by itself, and statement_timeout bounds
 * it besides.
 *
 * Values are parameters in binary form, never text of a statement. The statements of an adapter are one const table;
 * each connection prepares an entry when it is first used. Replies are read by typed functions that check lengths.
 *
 * In pipeline mode many statements are one round trip:
 *
 *     pg_pipeline_begin(s);
 *     pg_pipeline_add(s, FIRST, &p, &err); pg_pipeline_add(s, SECOND, &q, &err);
 *     pg_pipeline_sync(s, until, &err);               sends
 *     pg_pipeline_next(s, until, &r, &err) x 2        their results, in order
 *     pg_pipeline_end(s, until, &err);
 *
 * Between two syncs all is one transaction unless BEGIN is among the statements, and after an error the rest up to the
 * sync is skipped by the server.
 *
 * One thread at a time a session. Reading a PGresult needs no session. */
#ifndef WIRE_PG_H
#define WIRE_PG_H

#include <libpq-fe.h>

#include "base/base.h"
#include "wire/conn_pool.h"

enum {
    PG_PARAMS_MAX = 32,      /* parameters of one statement */
    PG_STATEMENTS_MAX = 256, /* entries of an adapter's table */
    PG_NAME_BYTES_MAX = 63   /* of an identifier, as the server counts */
};

/* Types of parameters, a letter each:
 *     b bool   h int2   i int4   l int8   f float4   d float8   t text   y bytea   x xid8   z timestamptz   j jsonb
 *     v: decided by the server from the statement's text (write the cast: $1::vector)
 *     B I L F D T Y X: arrays of those */
typedef struct pg_statement {
    const char *types;
    const char *sql;
} pg_statement;

typedef struct pg_options {
    const char *store;            /* in errors: "record/postgres" */
    const remote_options *remote; /* address HOST:PORT, or the folder of a Unix socket as /FOLDER[:PORT];
                                   * database "NAME" or "NAME/SCHEMA" (schema: [a-z_][a-z0-9_]*, default public) */
    const pg_statement *statements;
    unsigned statement_count;
    const clock_ops *clock;        /* NULL: the system's */
    unsigned statement_timeout_ms; /* the server's own bound; 0: remote's timeout_ms */
    bool read_only;                /* default_transaction_read_only */
} pg_options;                      /* borrowed for the life of the session or pool */

typedef struct pg_session pg_session;

/* ---- connecting ---- */
int pg_open(const pg_options *options, deadline until, pg_session **out, braid_error *err);
void pg_close(pg_session *s); /* NULL allowed */
/* No unfinished reply, no transaction open, the other side has not closed: fit to be lent again. No round trip. */
bool pg_idle(pg_session *s);
bool pg_broken(const pg_session *s);
PGconn *pg_raw(pg_session *s);
/* For conn_pool_new; ctx is a pg_options. conn_pool_give(p, s, pg_idle(s)) is always right. */
extern const conn_ops pg_pool_ops;
/* `until`, or the store's own timeout_ms from now when it is 0. */
deadline pg_deadline(const pg_options *options, deadline until);
/* The two halves of remote->database; false when the schema's name is not allowed. */
bool pg_split_database(const char *database, char name[64], char schema[64]);
/* Whether it can be written as an identifier without quotes: [a-z_][a-z0-9_]{0,62}. The only way by which anything but
 * a constant may get into the text of a statement. */
bool pg_name_valid(const char *name);

/* ---- parameters: filled in order, borrowed texts and bytes must live until the statement has been sent ---- */
typedef struct pg_param {
    const char *data; /* NULL: SQL NULL, or in the scratch at `offset` */
    size_t offset;
    int len;
    bool scratch;
} pg_param;
typedef struct pg_params {
    pg_param list[PG_PARAMS_MAX];
    unsigned count;
    buf scratch;       /* numbers and arrays in wire form */
    size_t array_open; /* where the array in hand begins; its size is mended at the end */
    bool failed;       /* no memory, or too many: sending says so */
} pg_params;
void pg_params_init(pg_params *p);
void pg_params_reset(pg_params *p); /* for the next statement; keeps memory */
void pg_params_free(pg_params *p);
void pg_bind_null(pg_params *p);
void pg_bind_bool(pg_params *p, bool value);
void pg_bind_int2(pg_params *p, int16_t value);
void pg_bind_int4(pg_params *p, int32_t value);
void pg_bind_int8(pg_params *p, int64_t value); /* also xid8, timestamptz in microseconds since 2000-01-01 UTC */
void pg_bind_float(pg_params *p, float value);
void pg_bind_double(pg_params *p, double value);
void pg_bind_text(pg_params *p, const char *text); /* NULL: SQL NULL */
void pg_bind_text_len(pg_params *p, const char *text, size_t len);
void pg_bind_some_text(pg_params *p, const char *text); /* "" and NULL: SQL NULL */
void pg_bind_bytes(pg_params *p, const void *data, size_t len);
void pg_bind_json(pg_params *p, const char *text, size_t len);        /* jsonb */
void pg_bind_vector(pg_params *p, const float *values, uint32_t dim); /* pgvector's `vector` */
void pg_bind_floats(pg_params *p, const float *values, size_t n);     /* float4[] */
/* An array of n elements of the element type `letter` (b i l f d t y x): begin, n times one of pg_add_*, end. */
void pg_array_begin(pg_params *p, char letter, size_t n);
void pg_add_null(pg_params *p);
void pg_add_bool(pg_params *p, bool value);
void pg_add_int2(pg_params *p, int16_t value);
void pg_add_int4(pg_params *p, int32_t value);
void pg_add_int8(pg_params *p, int64_t value);
void pg_add_float(pg_params *p, float value);
void pg_add_double(pg_params *p, double value);
void pg_add_text(pg_params *p, const char *text); /* NULL: a NULL element */
void pg_add_bytes(pg_params *p, const void *data, size_t len);
/* vector has no array type of its own number: pass an array of bytea or text, or use COPY. */
void pg_array_end(pg_params *p);

/* Milliseconds since 1970 <-> timestamptz's microseconds since 2000, clamped to what the type holds. */
int64_t pg_time(int64_t wall_ms);
int64_t pg_wall_ms(int64_t pg_us);

/* ---- one statement, one round trip ---- */
/* Runs entry `which` of the table. *out (may be NULL) is the caller's: PQclear. `doing` begins the error's message
 * ("reading an item"). */
int pg_run(pg_session *s, unsigned which, const pg_params *p, deadline until, const char *doing, PGresult **out,
           braid_error *err);
/* Text that is not in the table; it must be a constant, or names that passed pg_name_valid. Binary results. p NULL: no
 * parameters; then several statements separated by ';' are allowed, and the last result is given, in text. */
int pg_exec(pg_session *s, const char *sql, const char *types, const pg_params *p, deadline until, const char *doing,
            PGresult **out, braid_error *err);
/* Rows that the last statement touched ("INSERT 0 5" -> 5). */
uint64_t pg_touched(const PGresult *r);

/* ---- pipeline mode ---- */
int pg_pipeline_begin(pg_session *s, braid_error *err);
int pg_pipeline_add(pg_session *s, unsigned which, const pg_params *p, braid_error *err);
int pg_pipeline_sync(pg_session *s, deadline until, braid_error *err);  /* ends the part and sends what is waiting */
int pg_pipeline_flush(pg_session *s, deadline until, braid_error *err); /* sends what is waiting, and asks the server to
                                                                         * answer before the sync */
/* The next statement's result, in order. Its own error is returned (and *out NULL); the statements after it, up to the
 * sync, give PG_SKIPPED. */
int pg_pipeline_next(pg_session *s, deadline until, const char *doing, PGresult **out, braid_error *err);
#define PG_SKIPPED (-30799) /* not an error of ours: never leaves an adapter */
/* Discards what is still to come and leaves the mode. */
int pg_pipeline_end(pg_session *s, deadline until, braid_error *err);

/* ---- errors ---- */
/* SQLSTATE of the session's last failure, "" if it came from the connection or there was none. */
const char *pg_sqlstate(const pg_session *s);
/* The last failure was a serialization failure or a deadlock: the whole transaction may be tried again. */
bool pg_retriable(const pg_session *s);
/* Code of ours for an SQLSTATE. */
int pg_code(const char *sqlstate);

/* ---- reading a row; `bad` sticks: check it once, after the columns ---- */
typedef struct pg_row {
    const PGresult *r;
    int row;
    bool bad; /* a value had another size than its type has, or was NULL where it may not be */
} pg_row;
int pg_rows(const PGresult *r);
bool pg_null(const pg_row *row, int column);
bool pg_bool(pg_row *row, int column);
int16_t pg_int2(pg_row *row, int column);
int32_t pg_int4(pg_row *row, int column);
int64_t pg_int8(pg_row *row, int column); /* also xid8, timestamptz */
float pg_float(pg_row *row, int column);
double pg_double(pg_row *row, int column);
const char *pg_text(pg_row *row, int column, size_t *len);  /* len may be NULL. SQL NULL: "" */
const void *pg_bytes(pg_row *row, int column, size_t *len); /* SQL NULL: NULL */
const char *pg_json(pg_row *row, int column, size_t *len);  /* jsonb's text */
/* Copies a `vector`, float4[] or nothing into `out`, host byte order; false (and bad) unless it has exactly dim. */
bool pg_vector(pg_row *row, int column, float *out, uint32_t dim);
bool pg_floats(pg_row *row, int column, float *out, uint32_t dim);

/* The elements of an array, in order. Every read past the last, or of another size, makes the row bad. */
typedef struct pg_elements {
    pg_row *row;
    const char *at, *end;
    uint32_t count, left;
} pg_elements;
uint32_t pg_elements_open(pg_elements *e, pg_row *row, int column, char letter); /* their number; SQL NULL: 0 */
int64_t pg_element_int8(pg_elements *e);
double pg_element_double(pg_elements *e);
const char *pg_element_text(pg_elements *e, size_t *len); /* not NUL-terminated; NULL: bad */

/* ---- COPY ... FROM STDIN (FORMAT binary) ---- */
typedef struct pg_copy {
    pg_session *s;
    deadline until;
    buf rows;
    bool failed;
} pg_copy;
/* `sql` is a constant, or names that passed pg_name_valid. */
int pg_copy_begin(pg_copy *k, pg_session *s, const char *sql, deadline until, braid_error *err);
/* A row of n columns, then n times one of: */
void pg_copy_row(pg_copy *k, unsigned columns);
void pg_copy_null(pg_copy *k);
void pg_copy_bool(pg_copy *k, bool value);
void pg_copy_int2(pg_copy *k, int16_t value);
void pg_copy_int4(pg_copy *k, int32_t value);
void pg_copy_int8(pg_copy *k, int64_t value);
void pg_copy_double(pg_copy *k, double value);
void pg_copy_text(pg_copy *k, const char *text); /* NULL: SQL NULL */
void pg_copy_bytes(pg_copy *k, const void *data, size_t len);
void pg_copy_vector(pg_copy *k, const float *values, uint32_t dim);
void pg_copy_floats(pg_copy *k, const float *values, size_t n);
/* Sends what has gathered when it is much; call it after every row. */
int pg_copy_push(pg_copy *k, braid_error *err);
/* Ends it; *rows (may be NULL): how many were taken. After an error of an earlier call it only cleans up. */
int pg_copy_end(pg_copy *k, uint64_t *rows, braid_error *err);
void pg_copy_abandon(pg_copy *k); /* instead of pg_copy_end: nothing is copied, the session is to be closed */

/* ---- notifications ---- */
/* Waits until one of another session came in (true), the deadline passed, fd `wake` (or -1) became readable, or the
 * connection broke (false; see pg_broken). Takes all that have come. Only while nothing else is under way. */
bool pg_notified(pg_session *s, int wake, deadline until);

#endif
