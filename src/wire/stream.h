/* stream: bytes to and from a server, over TCP, a Unix socket or TLS, with absolute deadlines.
 *
 * The socket is non-blocking; every wait is a poll() for what is left of the deadline on the monotonic clock, so a
 * server that trickles a byte at a time cannot hold a caller longer (SO_RCVTIMEO is per read and can). Connecting tries
 * each address of the name in turn within the same deadline. TLS 1.2 or newer by OpenSSL; the server's certificate and
 * name are verified unless tls_insecure. TCP_NODELAY and keep-alive are on.
 *
 * After any error the stream is broken: only stream_close is allowed. One thread at a time. */
#ifndef WIRE_STREAM_H
#define WIRE_STREAM_H

#include "base/base.h"

typedef struct stream stream;

/* Uses address, tls, tls_insecure and tls_ca of `remote`. UNAVAILABLE (refused, unknown host, no trust), DEADLINE. */
int stream_open(const remote_options *remote, const clock_ops *clock, deadline until, stream **out, braid_error *err);
void stream_close(stream *s);                                                                /* NULL allowed */
int stream_write(stream *s, const void *data, size_t len, deadline until, braid_error *err); /* all of it */
/* At least one byte, at most cap. The other side's end is UNAVAILABLE. */
int stream_read(stream *s, void *data, size_t cap, size_t *got, deadline until, braid_error *err);
/* True while nothing is waiting to be read and the other side has not closed: fit to be lent again. No round trip. */
bool stream_quiet(stream *s);
const char *stream_peer(const stream *s); /* "127.0.0.1:7687", for messages */

#endif
