/* A server that a test scripts: it listens on a free port of 127.0.0.1, and each connection is handed to a function of
 * the test on a thread of its own. It does what real servers do on bad days: trickle, hang, reset, lie.
 *
 * Thread-safe. stub_stop() breaks all connections and waits for their handlers. */
#ifndef STUB_SERVER_H
#define STUB_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

typedef struct stub_server stub_server;
typedef struct stub_conn {
    stub_server *server;
    int fd;
    SSL *ssl;        /* NULL: plain */
    unsigned number; /* 1, 2, ... in order of arrival */
    void *ctx;
} stub_conn;

/* `tls` NULL: plain; borrowed. */
stub_server *stub_start(void (*handler)(stub_conn *c), void *ctx, SSL_CTX *tls);
void stub_stop(stub_server *s);
const char *stub_address(const stub_server *s); /* "127.0.0.1:PORT" */
unsigned stub_connections(stub_server *s);      /* accepted so far */

/* False at the end, or when the server stops. stub_read fills all of it. */
bool stub_read(stub_conn *c, void *data, size_t len);
bool stub_write(stub_conn *c, const void *data, size_t len);
void stub_reset(stub_conn *c); /* RST instead of a polite end */
/* Sleeps, but not longer than the server lives; false if it stops. */
bool stub_sleep_ms(stub_conn *c, unsigned ms);
/* Reads one RESP command (an array of bulk strings) as its words joined by blanks into `text`; false at the end. */
bool stub_read_command(stub_conn *c, char *text, size_t cap);

/* A certificate authority that lives in memory: ctx for a server whose certificate is valid for `host` (a name, or
 * an IP address), and the authority's own certificate as a file, removed by the caller. */
SSL_CTX *stub_tls(const char *host, char ca_path[64]);

#endif
