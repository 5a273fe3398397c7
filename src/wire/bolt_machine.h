/* bolt_machine: the Bolt protocol as the client sees it, without sockets, clocks or threads. Versions 5.0 to 5.8, 4.4.
 *
 * Bytes go in, bytes come out, and the machine knows which messages are allowed and which answers are due:
 *
 *     bolt_machine_new(&options, &m, &err);
 *     loop:
 *         out = bolt_machine_output(m, &len);  write them;  bolt_machine_sent(m, len);
 *         bolt_machine_next(m, &reply, &err);
 *         while reply.kind is BOLT_NOTHING:
 *             at = bolt_machine_room(m, &room, &err);  read at most `room` bytes there;  bolt_machine_fed(m, got);
 *             bolt_machine_next(m, &reply, &err);
 *
 * The first output is the handshake, the first reply BOLT_VERSION. Then HELLO (and LOGON, from 5.1), then what you
 * like. Requests are only put together: several that follow each other (RUN and PULL; BEGIN, RUN, PULL, COMMIT) go out
 * in one write, and their replies come in the same order. A request is checked against the state in which the server
 * will be if all before it succeed; out of order it is refused with BRAID_E_INTERNAL, and nothing is sent.
 *
 *     NEGOTIATION -version-> CONNECTED -HELLO-> AUTHENTICATION -LOGON-> READY    (before 5.1 HELLO -> READY)
 *     READY -RUN-> STREAMING -PULL/DISCARD, no more-> READY                      (auto-commit)
 *     READY -BEGIN-> TX_READY -RUN-> TX_STREAMING -PULL/DISCARD-> TX_READY -COMMIT/ROLLBACK-> READY
 *     any but the first three -FAILURE-> FAILED: all is IGNORED until RESET -> READY
 *     READY -LOGOFF-> AUTHENTICATION
 *
 * One result at a time: a transaction may not RUN while rows are still to be pulled. PULL of everything (n = -1) may be
 * followed by anything in the same write; PULL of n rows only by RESET, since nobody knows yet whether more will
 * follow.
 *
 * Answers are distrusted: one that was not asked for, a RECORD outside of PULL, SUCCESS where IGNORED is due, a message
 * that is no PackStream, or one above message_max is BRAID_E_CORRUPT or BRAID_E_TOO_LARGE, and the machine is DEFUNCT:
 * the connection can only be closed. Chunks of length 0 between messages (NOOP) are passed over.
 *
 * One thread at a time. Memory: the input buffer grows with what has arrived, never with what was announced. */
#ifndef WIRE_BOLT_MACHINE_H
#define WIRE_BOLT_MACHINE_H

#include "bolt.h"

typedef struct bolt_machine bolt_machine;

/* Tags of the messages. */
typedef enum bolt_message {
    BOLT_HELLO = 0x01,
    BOLT_GOODBYE = 0x02,
    BOLT_RESET = 0x0F,
    BOLT_RUN = 0x10,
    BOLT_BEGIN = 0x11,
    BOLT_COMMIT = 0x12,
    BOLT_ROLLBACK = 0x13,
    BOLT_DISCARD = 0x2F,
    BOLT_PULL = 0x3F,
    BOLT_ROUTE = 0x66,
    BOLT_LOGON = 0x6A,
    BOLT_LOGOFF = 0x6B
} bolt_message;
const char *bolt_message_name(bolt_message message); /* "RUN" */

typedef enum bolt_state {
    BOLT_NEGOTIATION,
    BOLT_CONNECTED,
    BOLT_AUTHENTICATION,
    BOLT_READY,
    BOLT_STREAMING,
    BOLT_TX_READY,
    BOLT_TX_STREAMING,
    BOLT_FAILED,
    BOLT_DEFUNCT
} bolt_state;
const char *bolt_state_name(bolt_state state); /* "TX_READY" */

enum { BOLT_PENDING_MAX = 256 }; /* requests whose replies are due */

typedef struct bolt_machine_options {
    size_t message_max; /* default 64 MiB */
    size_t request_max; /* default 256 MiB: bytes put together and not sent yet */
} bolt_machine_options;

int bolt_machine_new(const bolt_machine_options *options, bolt_machine **out, braid_error *err);
void bolt_machine_free(bolt_machine *m); /* NULL allowed */

/* ---- bytes ---- */

const void *bolt_machine_output(const bolt_machine *m, size_t *len);
void bolt_machine_sent(bolt_machine *m, size_t len); /* the first `len` bytes of the output are on their way */
/* Where to read to. Views of an earlier reply end here. NULL when memory ran out. */
void *bolt_machine_room(bolt_machine *m, size_t *room, braid_error *err);
void bolt_machine_fed(bolt_machine *m, size_t len);
/* The same by copying, for those who have the bytes already. */
int bolt_machine_feed(bolt_machine *m, const void *data, size_t len, braid_error *err);
/* Gives back the memory of an unusually large message; only when nothing is pending. */
void bolt_machine_shrink(bolt_machine *m);

/* ---- requests ---- */

typedef struct bolt_auth {
    const char *user, *password; /* basic */
    const char *token;           /* bearer; none of them: scheme none */
} bolt_auth;

/* Of a transaction: with RUN (auto-commit) or BEGIN. */
typedef struct bolt_begin {
    bolt_access access;
    int64_t timeout_ms;    /* 0: the server's */
    const char *database;  /* NULL or "": the home database */
    const void *bookmarks; /* a PackStream list; NULL: none */
    size_t bookmarks_len;
} bolt_begin;

/* HELLO, with everything that this version wants in it. Before 5.1 it holds `auth`; from then on LOGON must follow.
 * `notifications` false: the server is asked to send none. */
int bolt_machine_hello(bolt_machine *m, const char *user_agent, const bolt_auth *auth, bool notifications,
                       braid_error *err);
int bolt_machine_logon(bolt_machine *m, const bolt_auth *auth, braid_error *err);
int bolt_machine_logoff(bolt_machine *m, braid_error *err);
bool bolt_machine_splits_logon(const bolt_machine *m); /* 5.1 or newer: HELLO and LOGON are two */
/* `how` NULL inside of a transaction. `parameters` is a PackStream map, NULL: none. */
int bolt_machine_run(bolt_machine *m, const char *text, const void *parameters, size_t len, const bolt_begin *how,
                     braid_error *err);
int bolt_machine_pull(bolt_machine *m, int64_t rows, braid_error *err);    /* -1: all */
int bolt_machine_discard(bolt_machine *m, int64_t rows, braid_error *err); /* -1: all */
int bolt_machine_begin(bolt_machine *m, const bolt_begin *how, braid_error *err);
int bolt_machine_commit(bolt_machine *m, braid_error *err);
int bolt_machine_rollback(bolt_machine *m, braid_error *err);
int bolt_machine_reset(bolt_machine *m, braid_error *err);
int bolt_machine_goodbye(bolt_machine *m, braid_error *err); /* no reply: close when it was sent */
/* `address` is the one that the client connects to. */
int bolt_machine_route(bolt_machine *m, const char *address, const char *database, const void *bookmarks,
                       size_t bookmarks_len, braid_error *err);

/* ---- replies ---- */

typedef enum bolt_reply_kind {
    BOLT_NOTHING, /* more bytes are needed */
    BOLT_VERSION, /* the handshake is done */
    BOLT_RECORD,
    BOLT_SUCCESS,
    BOLT_FAILURE,
    BOLT_IGNORED
} bolt_reply_kind;

/* Views live until bolt_machine_room, _feed or _next. */
typedef struct bolt_reply {
    bolt_reply_kind kind;
    bolt_message request; /* what it answers */
    ps_reader body;       /* BOLT_RECORD: inside the list; BOLT_SUCCESS: inside the map */
    uint32_t count;       /* values, pairs */
    bool has_more;        /* BOLT_SUCCESS of PULL or DISCARD */
} bolt_reply;

int bolt_machine_next(bolt_machine *m, bolt_reply *out, braid_error *err);
/* Of the last BOLT_FAILURE. */
const bolt_failure *bolt_machine_failure(const bolt_machine *m);
/* The columns of the last RUN that succeeded: a PackStream list, kept until the next one. */
ps_raw bolt_machine_columns(const bolt_machine *m);

bolt_state bolt_machine_state(const bolt_machine *m); /* after the replies that were read */
size_t bolt_machine_pending(const bolt_machine *m);
/* Nothing unsent, nothing due, not a byte left over: the connection can be lent to another. */
bool bolt_machine_clean(const bolt_machine *m);
void bolt_machine_version(const bolt_machine *m, unsigned *major, unsigned *minor);
const char *bolt_machine_agent(const bolt_machine *m);       /* "Neo4j/5.26.0"; "" before HELLO was answered */
unsigned bolt_machine_recv_timeout_s(const bolt_machine *m); /* the server's hint; 0: none */
bool bolt_machine_utc(const bolt_machine *m); /* times are UTC structures: Bolt 5, or the server took the patch */

/* ---- failures ---- */

/* Reads what a code such as "Neo.TransientError.Transaction.DeadlockDetected" means: fills class and retriable (code
 * and message are kept), and gives the braid_code for it. */
int bolt_failure_judge(bolt_failure *f);

#endif
