/* What the files of the Bolt client share: a connection (bolt_conn.c), results (bolt_result.c), bookmarks
 * (bolt_bookmarks.c), attempts (bolt_retry.c), transactions (bolt_tx.c), the client itself (bolt_client.c). */
#ifndef WIRE_BOLT_PRIVATE_H
#define WIRE_BOLT_PRIVATE_H

#include <pthread.h>

#include "bolt.h"
#include "bolt_machine.h"
#include "conn_pool.h"
#include "stream.h"

/* ---- attempts ---- */

/* What one attempt at a call came to. */
typedef struct bolt_attempt {
    bolt_failure failure; /* the server's, if it was that */
    bool lost;            /* the connection broke after it had been lent to us */
    bool uncertain;       /* COMMIT, or a statement with a transaction of its own, was sent and not answered */
    bool rows;            /* were handed out */
    bool rows_final;      /* to somebody who cannot forget them */
    bool foreign;         /* a callback's error: not ours to explain */
    char bookmark[BOLT_BOOKMARK_BYTES];
    braid_error err;
} bolt_attempt;

/* ---- connections ---- */

typedef struct bolt_conn {
    bolt_client *client;
    bolt_machine *m;
    stream *s;
    bool broken;
    uint64_t generation; /* of the credentials it is logged on with */
    buf marks;           /* bookmarks of the request that is being put together */
} bolt_conn;

int bolt_conn_open(bolt_client *c, deadline until, bolt_conn **out, braid_error *err);
void bolt_conn_close(bolt_conn *n);
int bolt_conn_flush(bolt_conn *n, deadline until, braid_error *err);
/* The next reply; never BOLT_NOTHING. */
int bolt_conn_next(bolt_conn *n, deadline until, bolt_reply *reply, braid_error *err);
/* The next reply must be SUCCESS (then *reply, NULL allowed, holds it). FAILURE goes to a->failure and a->err. */
int bolt_conn_expect(bolt_conn *n, deadline until, bolt_reply *reply, bolt_attempt *a);
/* Logs off and on with the client's present credentials. */
int bolt_conn_relog(bolt_conn *n, deadline until, bolt_attempt *a);
/* RESET, and every reply up to its own. */
int bolt_conn_reset(bolt_conn *n, deadline until, braid_error *err);
/* Fills a->err and a->failure from the FAILURE that was just read; returns its code. */
int bolt_conn_failed(bolt_conn *n, bolt_attempt *a);

/* ---- results ---- */

/* Reads the replies of RUN and of the PULL or DISCARD sent with it; asks for `fetch` rows more until there are none. */
int bolt_result_read(bolt_conn *n, const bolt_statement *s, unsigned fetch, deadline until, bolt_attempt *a);
/* The bookmark in a SUCCESS, if there is one; the body of the reply is kept. */
void bolt_result_bookmark(const bolt_reply *reply, char out[BOLT_BOOKMARK_BYTES]);

/* ---- bookmarks ---- */

typedef struct bolt_marks {
    struct {
        uint64_t number; /* in the order in which they were added */
        char *text;
    } marks[BOLT_BOOKMARKS];
    size_t count;
    uint64_t number;
    buf encoded; /* the list, as RUN and BEGIN want it */
} bolt_marks;

void bolt_marks_init(bolt_marks *b);
void bolt_marks_free(bolt_marks *b);
/* Puts `text` in place of all that were there when `number` was the highest. Without memory nothing changes. */
bool bolt_marks_replace(bolt_marks *b, uint64_t number, const char *text);

/* ---- the client ---- */

struct bolt_client {
    bolt_options o;
    remote_options remote;
    conn_pool *pool;
    metric_counter *retried, *ambiguous;
    pthread_mutex_t lock; /* guards the rest */
    char *user, *password, *token;
    uint64_t generation;
    bolt_marks marks;
    rng random;
};

deadline bolt_client_until(const bolt_client *c, const bolt_call *call);
/* Lends a connection, logged on. */
int bolt_client_take(bolt_client *c, deadline until, bolt_conn **out, bolt_attempt *a);
/* Makes it ready for another, or closes it. */
void bolt_client_give(bolt_client *c, bolt_conn *n, deadline until);
/* What RUN or BEGIN carries; *number is for bolt_client_learn. Views live as long as nothing else is asked of `n`. */
bolt_begin bolt_client_begin(bolt_client *c, bolt_conn *n, const bolt_call *call, deadline until, uint64_t *number);
void bolt_client_learn(bolt_client *c, const bolt_call *call, uint64_t number, const char *bookmark);
bolt_auth bolt_client_auth(const bolt_client *c); /* the lock is held */

/* ---- again ---- */

typedef struct bolt_kind {
    bool auto_commit; /* a refusal does not prove that nothing was done */
    const bolt_statement *statements;
    size_t count;
} bolt_kind;
typedef int (*bolt_try)(bolt_client *c, const bolt_call *call, deadline until, void *arg, bolt_attempt *a);

/* Tries until it is done, hopeless or too late; tells the caller. */
int bolt_retry(bolt_client *c, const bolt_call *call, const bolt_kind *kind, bolt_try attempt, void *arg,
               braid_error *err);
/* Puts the last attempt into the caller's words. Returns `code`. */
int bolt_tell(bolt_client *c, const bolt_call *call, const bolt_attempt *a, int code, braid_error *err);

#endif
