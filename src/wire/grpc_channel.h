/* grpc_channel: unary calls to one server over HTTP/2, by the gRPC C core.
 *
 * A channel carries any number of calls at once over one connection; here at most remote.connections of them are in
 * flight, and those beyond wait, up to their deadline. The calling thread itself waits for its answer (it plucks from
 * the completion queue of its slot), so there is no thread of ours. Every call has one absolute deadline on the
 * monotonic clock, which waiting for a slot, all tries and all pauses share; it travels to the server as grpc-timeout,
 * and a call that is late is cancelled. An answer belongs to the one call that asked (its own batch of operations, its
 * own buffer), so a late one can reach nobody else.
 *
 * Tried again, remote.retries times at most, is only what the server did not do or may do twice: UNAVAILABLE, and what
 * the caller's judge says. Pauses double from 10 ms with full jitter. A budget (a fifth of the calls) bounds all tries
 * of a channel, so that a server in trouble is not given more to do.
 *
 * Broken connections are made anew by gRPC: at once, then after 100 ms to 1 s; pings find the silent ones.
 * Thread-safe. */
#ifndef WIRE_GRPC_CHANNEL_H
#define WIRE_GRPC_CHANNEL_H

#include "base/base.h"

typedef struct rpc_channel rpc_channel;

typedef struct rpc_options {
    const remote_options *remote; /* address, user, password, token, tls*, connections, timeout_ms, retries */
    const char *store;            /* who is blamed in errors: "vector/milvus". Borrowed */
    size_t answer_bytes_max;      /* a longer answer is refused */
    const clock_ops *clock;
    metrics *metrics; /* rpc_in_flight, rpc_calls_total, rpc_retries_total, each with {store} */
} rpc_options;

/* No server is asked yet: a channel can be opened to one that is down. INVALID: the options make no sense. */
int rpc_open(const rpc_options *options, rpc_channel **out, braid_error *err);
void rpc_close(rpc_channel *c); /* no call is under way. NULL allowed */
const char *rpc_address(const rpc_channel *c);

/* `until` as it is given, or the channel's own time-out from now. */
deadline rpc_deadline(const rpc_channel *c, deadline until);

/* A packed message, in memory from malloc(). */
typedef struct rpc_message {
    uint8_t *data;
    size_t len;
} rpc_message;

/* Looks at an answer that came whole: BRAID_OK, or what the server says is wrong; *again: worth another try. */
typedef int rpc_judge(void *ctx, const buf *answer, bool *again, braid_error *err);

/* Calls `method` ("/package.Service/Method", a string literal) and puts the answer's bytes into `answer`. Takes
 * `request` over in any case. DEADLINE, UNAVAILABLE (down, refused, overloaded), INVALID (not allowed, no such method),
 * TOO_LARGE (the answer), or what the judge said. */
int rpc_call(rpc_channel *c, const char *method, rpc_message request, deadline until, rpc_judge *judge, void *ctx,
             buf *answer, braid_error *err);
/* The same, never sent a second time: for what must not happen twice. */
int rpc_call_once(rpc_channel *c, const char *method, rpc_message request, deadline until, rpc_judge *judge, void *ctx,
                  buf *answer, braid_error *err);

#endif
