/* What the files of stream share: the socket in stream.c, TLS in stream_tls.c, names in stream_name.c. */
#ifndef WIRE_STREAM_PRIVATE_H
#define WIRE_STREAM_PRIVATE_H

#include "wire/stream.h"

struct addrinfo;

enum { STREAM_PEER_BYTES = 160, STREAM_HOST_BYTES = 256 };

typedef struct stream_tls stream_tls;

struct stream {
    int fd;
    const clock_ops *clock;
    int64_t timeout_ns; /* of a call without a deadline; 0: none */
    bool broken;
    bool asked;        /* something was written since the last read: the answer is hardly there yet */
    stream_tls *tls;   /* NULL: plain */
    const char *store; /* in whose name errors are reported; borrowed */
    char peer[STREAM_PEER_BYTES], who[STREAM_PEER_BYTES + 32];
};

/* Waits until the socket is ready for `events` (POLLIN, POLLOUT); DEADLINE, or UNAVAILABLE if poll itself fails. */
int stream_wait(stream *s, short events, deadline until, const char *doing, braid_error *err);
/* The absolute instant at which a call ends that was given `until`. */
deadline stream_until(const stream *s, deadline until);

/* Addresses of host:port, in the system's order; frees with freeaddrinfo. Keeps the deadline although the C library's
 * resolver has none. */
int stream_resolve(const char *host, unsigned port, const clock_ops *clock, deadline until, struct addrinfo **out,
                   braid_error *err);

/* Shakes hands over the connected socket of `s`; `host` is the name that the certificate must carry. */
int stream_tls_open(stream *s, const remote_options *remote, const char *host, deadline until, braid_error *err);
void stream_tls_close(stream_tls *t);
int stream_tls_write(stream *s, const void *data, size_t len, deadline until, braid_error *err);
int stream_tls_read(stream *s, void *data, size_t cap, size_t *got, deadline until, braid_error *err);
bool stream_tls_quiet(stream *s);

#endif
