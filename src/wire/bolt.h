/* bolt: a client of Neo4j (5.x and 4.4) over the Bolt protocol, versions 5.8 down to 5.0, and 4.4.
 *
 *     bolt_client *c;
 *     bolt_options o = {.remote = &remote};
 *     bolt_open(&o, &c, &err);                       nothing is connected yet
 *
 *     buf p;                                         parameters: one map, in PackStream
 *     buf_init(&p, 0);
 *     ps_put_map(&p, 1); ps_put_str(&p, "id"); ps_put_str(&p, "m1");
 *     bolt_statement s = {.text = "MATCH (m {id: $id}) RETURN m.title", .parameters = p.data, .parameters_len = p.len,
 *                         .each = print_row};
 *     bolt_run(c, &(bolt_call){.access = BOLT_READ, .until = deadline}, &s, &err);
 *
 * Three ways to ask, from the plainest to the most general:
 *   bolt_run        one statement in a transaction of its own (auto-commit). RUN and PULL go out in one write.
 *   bolt_transact   several statements in one transaction, known beforehand: BEGIN, all RUN and PULL, and COMMIT go out
 *                   in one write. One round trip whatever their number (in windows of BOLT_WINDOW statements). Atomic:
 *                   after a failure the server ignores the rest, COMMIT too. (A write whose rows are read sends COMMIT
 *                   by itself, when its readers have agreed.)
 *   bolt_managed    a function that runs statements, looks at rows and decides on more: BEGIN travels with the first
 *                   statement, COMMIT is sent when the function returns BRAID_OK, ROLLBACK when it does not.
 * Underneath, bolt_tx_begin ... bolt_tx_commit for those who hold the transaction themselves (never retried).
 *
 * Time. Every call holds one absolute deadline over everything: waiting for a connection, connecting, TLS, log-on,
 * writing, every read, waiting between attempts. 0 means remote->timeout_ms from now. What is left of it goes along as
 * the transaction's time-out, so that the server stops too. The server's hint connection.recv_timeout_seconds is kept:
 * a connection that is silent for longer is given up.
 *
 * Again. An attempt is repeated, at most remote->retries times, after a jittered pause that doubles from 10 ms, within
 * the same deadline, when that is known to be harmless:
 *                              bolt_run   bolt_run, bolt_transact,    bolt_transact,
 *                              of writes  bolt_managed of reads       bolt_managed of writes
 *   the server refuses for now     no           yes                      yes   (Neo.TransientError.*, not a leader)
 *   the connection is lost         no           yes                      only if COMMIT was not sent yet
 *   the deadline has passed        no           no                       no
 * and always only while no row was handed to a bolt_statement.each without .restart (a managed function begins anew
 * by itself). A call whose statements are idempotent may say so (bolt_call.idempotent): then writes are as reads.
 * Otherwise a connection that is lost after COMMIT was sent leaves it unknown whether the transaction is there: the
 * code is BRAID_E_UNAVAILABLE or BRAID_E_DEADLINE, the message says so and bolt_failure.ambiguous is true; read before
 * you write again. Failing to connect is not repeated here: the pool waits a moment by itself, and a breaker above
 * knows better.
 *
 * Errors (err->store is options->name, the message names the server's address):
 *   BRAID_E_DEADLINE      too late, here or there (Neo.ClientError.Transaction.TransactionTimedOut*)
 *   BRAID_E_UNAVAILABLE   refused, lost, overloaded, not a leader, a database error; the user or password is wrong
 *   BRAID_E_INVALID       the statement or its parameters (Neo.ClientError.Statement.*)
 *   BRAID_E_CONFLICT      a constraint (Neo.ClientError.Schema.*)
 *   BRAID_E_NOT_FOUND     no such database, entity
 *   BRAID_E_TOO_LARGE     a message over message_max, a request over request_max
 *   BRAID_E_CORRUPT       an answer that makes no sense; the connection is closed
 *   BRAID_E_NO_MEMORY
 *   or what a callback of yours returned.
 * The server's own words are in bolt_failure, for those who must know them (bolt_call.failure).
 *
 * A connection is lent by a pool to one call at a time, and goes back only when every reply that is due has been read;
 * any other is closed. After a failure RESET is sent and answered before it goes back.
 *
 * Bookmarks. Every transaction begins after all that this client has seen committed, on any member of a cluster; the
 * newest bookmarks are kept (at most BOLT_BOOKMARKS) and can be carried to another process.
 *
 * The client is thread-safe. A bolt_tx and the rows of a call belong to the thread that has them. There are no threads
 * inside. The protocol without sockets is in bolt_machine.h. */
#ifndef WIRE_BOLT_H
#define WIRE_BOLT_H

#include "base/base.h"
#include "packstream.h"

enum {
    BOLT_WINDOW = 64,     /* statements of bolt_transact in one write */
    BOLT_BOOKMARKS = 128, /* kept at most; the oldest go */
    BOLT_BOOKMARK_BYTES = 1024
};

typedef struct bolt_client bolt_client;
typedef struct bolt_tx bolt_tx;

typedef struct bolt_options {
    /* Strings and struct are borrowed until bolt_close. Used: address, database ("": the user's home database), user
     * and password (basic), token (bearer), none of them (none), tls*, connections (default 32), timeout_ms (default
     * 5,000), retries (as given). */
    const remote_options *remote;
    const char *name;       /* in errors and metrics; default "neo4j" */
    const char *user_agent; /* PRODUCT/VERSION; default "braid" */
    unsigned fetch;         /* rows asked for at a time; default 1,000 */
    size_t message_max;     /* bytes of one answer; default 64 MiB */
    size_t request_max;     /* bytes of one write; default 256 MiB */
    unsigned idle_ms;       /* default 60,000: connections idle for longer are closed */
    bool notifications;     /* let the server send its notes on statements; off, since nobody reads them */
    const clock_ops *clock; /* default the system's */
    metrics *metrics;       /* bolt_retried_total{name}, bolt_ambiguous_total{name}, and the pool's; NULL allowed */
} bolt_options;

int bolt_open(const bolt_options *options, bolt_client **out, braid_error *err);
void bolt_close(bolt_client *c); /* NULL allowed; no call may be running */

/* ---- asking ---- */

typedef enum bolt_access { BOLT_WRITE, BOLT_READ } bolt_access;

typedef enum bolt_class {
    BOLT_CLASS_NONE, /* no answer of the server was the cause */
    BOLT_CLASS_TRANSIENT,
    BOLT_CLASS_CLIENT,
    BOLT_CLASS_DATABASE
} bolt_class;

typedef struct bolt_failure {
    bolt_class class;
    bool retriable;    /* the same transaction may succeed later */
    bool ambiguous;    /* the transaction may have been applied */
    char code[96];     /* "Neo.ClientError.Schema.ConstraintValidationFailed"; "" */
    char message[512]; /* the server's words; "" */
} bolt_failure;

/* How a call is made. All zero: a write, in the client's database, within the client's own time. */
typedef struct bolt_call {
    bolt_access access;
    deadline until;
    const char *database;  /* NULL: the client's */
    bool idempotent;       /* doing it twice does no harm */
    bool no_bookmarks;     /* begin without waiting for earlier transactions, and keep no bookmark */
    bolt_failure *failure; /* NULL allowed; filled when the call fails, zeroed else */
} bolt_call;

/* A row: `count` values that are read from `values` with ps_next or ps_read_*, in order; what is not read is passed
 * over. Views live until the function returns. */
typedef struct bolt_row {
    ps_reader values; /* inside the row's list */
    uint32_t count;
    ps_raw columns, list; /* list of their names; the row itself */
} bolt_row;
int bolt_column(const bolt_row *row, const char *name); /* its place from 0, or -1 */
bool bolt_column_name(const bolt_row *row, uint32_t place, ps_text *name);
/* A reader of its own that stands at the value of `place` (from 0): for those who want columns by name. */
bool bolt_row_at(const bolt_row *row, uint32_t place, ps_reader *value);

enum { BOLT_ENOUGH = 1 };
/* BRAID_OK: go on. BOLT_ENOUGH: no more rows are wanted (no error). Any other code: stop; the call fails with it,
 * and its transaction is rolled back (that of bolt_run may be complete by then). If the row made no sense: `return
 * ps_error(&row->values, "store", err)`. */
typedef int (*bolt_each)(void *ctx, bolt_row *row, braid_error *err);

typedef struct bolt_summary {
    uint64_t rows; /* handed out */
    int64_t nodes_created, nodes_deleted, relationships_created, relationships_deleted, properties_set, labels_added,
        labels_removed, indexes_added, indexes_removed, constraints_added, constraints_removed, system_updates;
    int64_t first_ms, last_ms; /* the server's: until the first row was there, until the last was */
    char type[4];              /* "r", "w", "rw", "s" */
    char database[64];
    char bookmark[BOLT_BOOKMARK_BYTES]; /* of bolt_run only; "" */
} bolt_summary;

typedef struct bolt_statement {
    const char *text;       /* Cypher */
    const void *parameters; /* a PackStream map; NULL: no parameters */
    size_t parameters_len;
    bolt_each each; /* NULL: the server keeps the rows for itself */
    void *ctx;
    /* Called when the call is repeated after rows were handed out: forget them. NULL: then it is not repeated. */
    void (*restart)(void *ctx);
    bolt_summary *summary; /* NULL allowed */
} bolt_statement;

/* Begins parameters that all lie in one map: what follows is that map, and the text says $p.name. For statements
 * with lists: a server plans a statement anew for each order of magnitude of a list's length, but not of one in a
 * map. */
void bolt_parameters_begin(buf *parameters);

int bolt_run(bolt_client *c, const bolt_call *call, const bolt_statement *s, braid_error *err);
int bolt_transact(bolt_client *c, const bolt_call *call, const bolt_statement *s, size_t count, braid_error *err);

/* Called once or more, each time in a transaction of its own: must not keep what it learned from an earlier time. */
typedef int (*bolt_work)(bolt_tx *tx, void *ctx, braid_error *err);
int bolt_managed(bolt_client *c, const bolt_call *call, bolt_work work, void *ctx, braid_error *err);

/* ---- transactions in hand ---- */

/* BEGIN is sent with the first statement. On an error there is no tx. */
int bolt_tx_begin(bolt_client *c, const bolt_call *call, bolt_tx **out, braid_error *err);
/* Not from inside a row. After an error the transaction is dead: only rollback. */
int bolt_tx_run(bolt_tx *tx, const bolt_statement *s, braid_error *err);
/* Several, in one write. The first failure is what is told. */
int bolt_tx_run_many(bolt_tx *tx, const bolt_statement *s, size_t count, braid_error *err);
int bolt_tx_commit(bolt_tx *tx, braid_error *err); /* tx is gone either way */
void bolt_tx_rollback(bolt_tx *tx);                /* tx is gone; NULL allowed */

/* ---- around ---- */

typedef struct bolt_server {
    unsigned major, minor; /* of the protocol: 5, 8 */
    char agent[64];        /* "Neo4j/5.26.0" */
    char address[128];
} bolt_server;
/* Asks for nothing, but asks (RESET): UNAVAILABLE, DEADLINE if there is no good answer. `out` may be NULL. */
int bolt_ping(bolt_client *c, deadline until, bolt_server *out, braid_error *err);

/* Who does what in a cluster, for a database. `each` is called with "READ", "WRITE" or "ROUTE" and an address. */
int bolt_route(bolt_client *c, const bolt_call *call, int64_t *ttl_s,
               void (*each)(void *ctx, const char *role, const char *address), void *ctx, braid_error *err);

/* New credentials: used by connections from now on; those that are open log off and on again before their next use
 * (Bolt 5.1), or are replaced. The strings are copied. */
int bolt_reauth(bolt_client *c, const char *user, const char *password, const char *token, braid_error *err);

int bolt_bookmarks(bolt_client *c, void (*each)(void *ctx, const char *bookmark), void *ctx);
int bolt_bookmark_add(bolt_client *c, const char *bookmark, braid_error *err); /* INVALID if longer than its bound */
size_t bolt_connections(bolt_client *c);                                       /* open now */

#endif
