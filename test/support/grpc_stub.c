/* See grpc_stub.h. Each thread has a completion queue and one call at a time. */
#include "grpc_stub.h"

#ifdef BRAID_HAVE_MILVUS
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

enum { THREADS_MAX = 128 };

typedef struct worker {
    grpc_stub *stub;
    grpc_completion_queue *queue;
    pthread_t thread;
} worker;

struct grpc_stub {
    grpc_stub_handler *handler;
    void *ctx;
    grpc_server *server;
    grpc_completion_queue *ending;
    char address[32];
    unsigned threads;
    worker workers[THREADS_MAX];
    atomic_bool stopping;
    atomic_uint calls, at_once, most;
};

static bool run(worker *w, grpc_call *call, grpc_op *ops, size_t n) {
    if (grpc_call_start_batch(call, ops, n, call, NULL) != GRPC_CALL_OK) return false;
    return grpc_completion_queue_next(w->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).success;
}

static char *header_of(const grpc_metadata_array *headers, const char *name) {
    for (size_t i = 0; i < headers->count; i++)
        if (grpc_slice_str_cmp(headers->metadata[i].key, name) == 0)
            return grpc_slice_to_c_string(headers->metadata[i].value);
    return NULL;
}

static void count_in(grpc_stub *s) {
    unsigned now = atomic_fetch_add(&s->at_once, 1) + 1, most = atomic_load(&s->most);
    while (now > most && !atomic_compare_exchange_weak(&s->most, &most, now)) {}
}

static void answer(worker *w, grpc_call *call, const grpc_stub_call *c) {
    grpc_slice details = grpc_slice_from_copied_string(c->details != NULL ? c->details : "");
    grpc_slice bytes = grpc_slice_from_copied_buffer(c->answer != NULL ? c->answer : "", c->answer_len);
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&bytes, 1);
    int cancelled = 0;
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
                      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER},
                      {.op = GRPC_OP_SEND_MESSAGE}};
    ops[1].data.send_status_from_server.status = (grpc_status_code)c->status;
    ops[1].data.send_status_from_server.status_details = &details;
    ops[2].data.recv_close_on_server.cancelled = &cancelled;
    ops[3].data.send_message.send_message = message;
    run(w, call, ops, c->status == 0 && !c->no_answer ? 4 : 3);
    grpc_byte_buffer_destroy(message);
    grpc_slice_unref(bytes);
    grpc_slice_unref(details);
}

static void handle(worker *w, grpc_call *call, const grpc_call_details *details, const grpc_metadata_array *headers) {
    grpc_stub *s = w->stub;
    grpc_byte_buffer *request = NULL;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &request;
    if (!run(w, call, &op, 1) || request == NULL) return;
    grpc_byte_buffer_reader reader;
    grpc_byte_buffer_reader_init(&reader, request);
    grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
    char *method = grpc_slice_to_c_string(details->method), *authorization = header_of(headers, "authorization");
    gpr_timespec left =
        gpr_time_sub(gpr_convert_clock_type(details->deadline, GPR_CLOCK_MONOTONIC), gpr_now(GPR_CLOCK_MONOTONIC));
    bool hello = strcmp(method, GRPC_STUB_HELLO) == 0;
    grpc_stub_call c = {.stub = s,
                        .ctx = s->ctx,
                        .method = method,
                        .authorization = authorization != NULL ? authorization : "",
                        .left_ms = gpr_time_to_millis(left),
                        .request = GRPC_SLICE_START_PTR(bytes),
                        .request_len = GRPC_SLICE_LENGTH(bytes)};
    if (!hello) {
        count_in(s);
        c.number = atomic_fetch_add(&s->calls, 1) + 1;
        s->handler(&c);
        atomic_fetch_sub(&s->at_once, 1);
    }
    answer(w, call, &c);
    grpc_slice_unref(bytes);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(request);
    gpr_free(method);
    gpr_free(authorization);
}

static void *work(void *ctx) {
    worker *w = ctx;
    for (bool more = true; more;) {
        grpc_call *call = NULL;
        grpc_call_details details;
        grpc_metadata_array headers;
        grpc_call_details_init(&details);
        grpc_metadata_array_init(&headers);
        more = grpc_server_request_call(w->stub->server, &call, &details, &headers, w->queue, w->queue, w) ==
                   GRPC_CALL_OK &&
               grpc_completion_queue_next(w->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).success;
        if (more) handle(w, call, &details, &headers);
        if (call != NULL) grpc_call_unref(call);
        grpc_metadata_array_destroy(&headers);
        grpc_call_details_destroy(&details);
    }
    return NULL;
}

grpc_stub *grpc_stub_start(grpc_stub_handler *handler, void *ctx, unsigned threads) {
    grpc_stub *s = calloc(1, sizeof *s);
    if (s == NULL || threads > THREADS_MAX) abort();
    grpc_init();
    s->handler = handler;
    s->ctx = ctx;
    s->threads = threads;
    /* Milvus lets a client ask every five seconds whether it is there; gRPC's own five minutes would end a slow
     * machine's connections. */
    grpc_arg pings = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)GRPC_ARG_HTTP2_MAX_PING_STRIKES};
    s->server = grpc_server_create(&(grpc_channel_args){1, &pings}, NULL);
    s->ending = grpc_completion_queue_create_for_pluck(NULL);
    grpc_server_register_completion_queue(s->server, s->ending, NULL);
    for (unsigned i = 0; i < threads; i++) {
        s->workers[i] = (worker){.stub = s, .queue = grpc_completion_queue_create_for_next(NULL)};
        grpc_server_register_completion_queue(s->server, s->workers[i].queue, NULL);
    }
    grpc_server_credentials *none = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(s->server, "127.0.0.1:0", none);
    grpc_server_credentials_release(none);
    if (port == 0) abort();
    snprintf(s->address, sizeof s->address, "127.0.0.1:%d", port);
    grpc_server_start(s->server);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&s->workers[i].thread, NULL, work, &s->workers[i]) != 0) abort();
    return s;
}

void grpc_stub_stop(grpc_stub *s) {
    if (s == NULL) return;
    atomic_store(&s->stopping, true);
    grpc_server_shutdown_and_notify(s->server, s->ending, s);
    grpc_server_cancel_all_calls(s->server);
    grpc_completion_queue_pluck(s->ending, s, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    for (unsigned i = 0; i < s->threads; i++) {
        pthread_join(s->workers[i].thread, NULL);
        grpc_completion_queue_shutdown(s->workers[i].queue);
        while (grpc_completion_queue_next(s->workers[i].queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
               GRPC_QUEUE_SHUTDOWN) {}
    }
    grpc_server_destroy(s->server);
    for (unsigned i = 0; i < s->threads; i++) grpc_completion_queue_destroy(s->workers[i].queue);
    grpc_completion_queue_shutdown(s->ending);
    grpc_completion_queue_pluck(s->ending, NULL, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_destroy(s->ending);
    grpc_shutdown_blocking();
    free(s);
}

const char *grpc_stub_address(const grpc_stub *s) {
    return s->address;
}
unsigned grpc_stub_calls(grpc_stub *s) {
    return atomic_load(&s->calls);
}
unsigned grpc_stub_most_at_once(grpc_stub *s) {
    return atomic_load(&s->most);
}

bool grpc_stub_sleep_ms(grpc_stub_call *c, unsigned ms) {
    struct timespec begun, now, nap = {.tv_nsec = ms < 5 ? 1000000 : 5000000};
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        if (atomic_load(&c->stub->stopping)) return false;
        nanosleep(&nap, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000 < (long)ms);
    return true;
}

/* ---- TLS ---- */

/* HTTP/2 is agreed on within the handshake. */
static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned in_len,
                     void *arg) {
    (void)ssl, (void)arg;
    static const unsigned char h2[] = "\x02h2";
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, len, h2, 3, in, in_len) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int connect_to(const char *address) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || (size_t)(colon - address) >= sizeof host) return -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    a.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) return -1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

/* Carries bytes both ways until one side ends; one thread, since an SSL belongs to one. */
static void carry(stub_conn *c) {
    char bytes[16384];
    int to = connect_to(c->ctx);
    while (to >= 0) {
        struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = to, .events = POLLIN}};
        if (SSL_pending(c->ssl) == 0 && poll(p, 2, -1) < 0) break;
        if (SSL_pending(c->ssl) > 0 || p[0].revents != 0) {
            int n = SSL_read(c->ssl, bytes, sizeof bytes);
            if (n <= 0 || send(to, bytes, (size_t)n, MSG_NOSIGNAL) != n) break;
        }
        if (p[1].revents != 0) {
            ssize_t n = recv(to, bytes, sizeof bytes, MSG_DONTWAIT);
            if (n <= 0 || !stub_write(c, bytes, (size_t)n)) break;
        }
    }
    if (to >= 0) close(to);
}

stub_server *grpc_stub_tls(const char *to, SSL_CTX *tls) {
    SSL_CTX_set_alpn_select_cb(tls, choose_h2, NULL);
    return stub_start(carry, (void *)(uintptr_t)to, tls);
}
#endif
