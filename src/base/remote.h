/* remote: how a server is reached. One form for every engine, so that an adapter's options are a handful of words and
 * not a dialect: the engine fills it from the section of the store's name (milvus, neo4j, postgres, redis).
 *
 * Strings are borrowed and outlive the store. Empty strings mean "not given". Secrets come from a file or the
 * environment, never from the command line, and are never printed. */
#ifndef BASE_REMOTE_H
#define BASE_REMOTE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct remote_options {
    const char *address;  /* HOST:PORT; an IPv6 host in brackets; a path for a Unix socket where the engine has one */
    const char *database; /* database, collection or key prefix: what is ours on that server */
    const char *user, *password, *token;
    bool tls, tls_insecure; /* tls_insecure: the server's certificate is not verified. For tests only */
    const char *tls_ca;     /* file of certificates to trust; "": those of the system */
    unsigned connections;   /* most connections or requests in flight, 1..1024 */
    unsigned timeout_ms;    /* of one call that carries no deadline of its own, and of connecting */
    /* of a batch written to a derived store, for which nobody waits; 0: REMOTE_WRITE_TIMEOUT_MS */
    unsigned write_timeout_ms;
    unsigned retries; /* of what may be retried */
    size_t batch;     /* rows a write call */
    /* of the engine, for messages: "neo4j at 127.0.0.1:7687 ..."; NULL: they have the address alone */
    const char *name;
} remote_options;

/* The time of a batch of writes: never less than that of any other call. A batch that is given up too early is sent
 * again while the server is still at work on it, which makes a busy server slower yet. */
enum { REMOTE_WRITE_TIMEOUT_MS = 10000 };
unsigned remote_write_ms(const remote_options *o);

/* A copy of HOST of "HOST:PORT" (without brackets) in `host`, and the port; false if it is no such thing. */
bool remote_split(const char *address, char *host, size_t host_cap, unsigned *port);

#endif
