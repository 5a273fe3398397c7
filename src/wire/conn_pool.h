/* conn_pool: connections that are lent out, one borrower at a time.
 *
 * A connection is opened when none is idle and fewer than `max` exist; a borrower waits otherwise, up to its deadline.
 * The last one given back is lent first, so that idle ones age; those idle for longer than idle_ms are closed by
 * whoever comes by. A connection with an unfinished reply is never lent again: its borrower gives it back with reusable
 * false (redis-py's defect of March 2023 handed one user's reply to the next). After a failed opening nobody tries
 * again for a moment (back_off_ms, doubled up to 1 s): a server that is down is not hammered.
 *
 * Thread-safe. */
#ifndef WIRE_CONN_POOL_H
#define WIRE_CONN_POOL_H

#include "base/base.h"

typedef struct conn_pool conn_pool;

typedef struct conn_ops {
    int (*open)(void *ctx, deadline until, void **conn, braid_error *err);
    void (*close)(void *ctx, void *conn);
    /* Looks, without a round trip, whether an idle connection is still good (not closed by the other side, no stray
     * bytes). NULL: always. */
    bool (*good)(void *ctx, void *conn);
} conn_ops;

typedef struct conn_pool_options {
    const char *name;    /* label in metrics and errors: "redis" */
    const char *address; /* of the server, for messages; NULL: unknown */
    size_t max;          /* 1..1024 */
    unsigned idle_ms;    /* default 60,000 */
    const clock_ops *clock;
    metrics *metrics; /* conn_open{pool}, conn_opened_total, conn_failed_total, conn_wait_duration_seconds */
} conn_pool_options;

int conn_pool_new(const conn_ops *ops, void *ctx, const conn_pool_options *options, conn_pool **out, braid_error *err);
void conn_pool_free(conn_pool *p); /* all connections must have been given back; closes them */

/* DEADLINE when none came free in time, UNAVAILABLE when none could be opened. */
int conn_pool_take(conn_pool *p, deadline until, void **conn, braid_error *err);
void conn_pool_give(conn_pool *p, void *conn, bool reusable);
size_t conn_pool_open_count(conn_pool *p);

#endif
