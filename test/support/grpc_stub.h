/* A gRPC server that a test scripts: every unary call is handed to a function of the test on a thread of the server's
 * own, which says what to answer, when, or not at all. Over TLS it is reached through stub_server.h (grpc_stub_tls).
 *
 * Thread-safe. Only where gRPC is there (BRAID_HAVE_MILVUS). */
#ifndef GRPC_STUB_H
#define GRPC_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test/support/stub_server.h"

typedef struct grpc_stub grpc_stub;

typedef struct grpc_stub_call {
    grpc_stub *stub;
    void *ctx;
    unsigned number;           /* 1, 2, ... in order of arrival */
    const char *method;        /* "/package.Service/Method" */
    const char *authorization; /* the header; "" when it was not sent */
    int64_t left_ms;           /* that grpc-timeout gave it */
    const uint8_t *request;
    size_t request_len;
    /* To be filled: a status (grpc_status_code; 0 is well) and the bytes of the answer. */
    int status;
    const char *details;
    const void *answer; /* copied when the function returns */
    size_t answer_len;
    bool no_answer; /* status 0 without a message */
} grpc_stub_call;

typedef void grpc_stub_handler(grpc_stub_call *c);

/* A method that every server answers with an empty message, asking nobody and counting nothing: whoever hears that
 * is connected. */
#define GRPC_STUB_HELLO "/test.Service/Hello"

/* So many calls are handled at once; others wait. */
grpc_stub *grpc_stub_start(grpc_stub_handler *handler, void *ctx, unsigned threads);
void grpc_stub_stop(grpc_stub *s);
const char *grpc_stub_address(const grpc_stub *s); /* "127.0.0.1:PORT" */
unsigned grpc_stub_calls(grpc_stub *s);            /* handled so far */
unsigned grpc_stub_most_at_once(grpc_stub *s);
/* Sleeps, but not longer than the server lives; false if it stops. */
bool grpc_stub_sleep_ms(grpc_stub_call *c, unsigned ms);

/* A door with TLS in front of any server that speaks gRPC: `to` is "HOST:PORT" and is borrowed. Ends with
 * stub_stop(). */
stub_server *grpc_stub_tls(const char *to, SSL_CTX *tls);

#endif
