/* client: a small HTTP/1.1 client for `--url`.
 *
 * One connection, kept open from call to call, plain or TLS through an OpenSSL BIO. Every call has one absolute
 * deadline that covers connecting, sending and the whole answer: a server that sends a byte now and then does not hold
 * the caller for ever. What the server says is not trusted: head and body have limits, and a message whose length is
 * ambiguous is refused. Not libcurl: the command line needs one verb, one host and no redirects, and `make run` should
 * need few packages. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

enum { CLIENT_HEAD_BYTES_MAX = 64 * 1024, CLIENT_WHY = 256 };
#define CLIENT_BODY_BYTES_MAX ((size_t)1 << 30)

typedef struct client client;

typedef struct client_request {
    const char *method, *path, *query; /* percent-encoded; query NULL: none */
    const char *content_type, *body;   /* body NULL: none */
    size_t len;
    unsigned timeout_ms;
} client_request;

typedef struct client_answer {
    int status;
    char *body; /* NUL-terminated; freed by the caller */
    size_t len;
    char *next; /* Braid-Next or NULL; freed by the caller */
} client_answer;

/* `why` says what is wrong with the URL when NULL is returned. */
client *client_new(const char *url, char why[CLIENT_WHY]);
void client_free(client *h);
/* False, with `why`, when there was no whole answer. */
bool client_call(client *h, const client_request *request, client_answer *answer, char why[CLIENT_WHY]);

/* ---- between client.c and client_answer.c ---- */

/* Reads up to `cap` bytes before the deadline: the count, 0 at the end, -1 with `why`. */
typedef long client_read(void *ctx, char *into, size_t cap, char why[CLIENT_WHY]);
/* Reads one answer, 1xx skipped; `*keep` says whether the connection may be used again. */
bool client_answer_read(client_read *fill, void *ctx, client_answer *answer, bool *keep, char why[CLIENT_WHY]);

#endif
