/* TLS over a stream's socket, by OpenSSL.
 *
 * OpenSSL reads and writes through a BIO of ours: its own socket BIO uses write(2), which raises SIGPIPE when the
 * server is gone, and the disposition of a signal is not a library's to change. TLS 1.2 is the oldest version; the
 * certificate must lead to a trusted root and carry the host's name (or address), unless tls_insecure, which tests use.
 * OpenSSL's queue of errors belongs to the thread, so it is emptied before each operation.
 *
 * In TLS 1.3 a server sends session tickets when it likes, so that a readable socket says nothing about stray bytes of
 * the protocol above: stream_tls_quiet lets OpenSSL look. */
#include "wire/stream_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct stream_tls {
    BIO_METHOD *method;
    SSL_CTX *ctx;
    SSL *ssl;
};

/* ---- the socket as OpenSSL sees it ---- */

static int tls_bio_result(BIO *bio, ssize_t n, int retry) {
    BIO_clear_retry_flags(bio);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) BIO_set_flags(bio, retry);
    return (int)n;
}

static int tls_bio_write(BIO *bio, const char *data, int len) {
    const stream *s = BIO_get_data(bio);
    return tls_bio_result(bio, send(s->fd, data, (size_t)len, MSG_NOSIGNAL), BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY);
}

static int tls_bio_read(BIO *bio, char *data, int len) {
    const stream *s = BIO_get_data(bio);
    return tls_bio_result(bio, recv(s->fd, data, (size_t)len, 0), BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
}

static long tls_bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static bool tls_attach(stream_tls *t, stream *s) {
    t->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (t->method == NULL) return false;
    BIO_meth_set_write(t->method, tls_bio_write);
    BIO_meth_set_read(t->method, tls_bio_read);
    BIO_meth_set_ctrl(t->method, tls_bio_ctrl);
    BIO *bio = BIO_new(t->method);
    if (bio == NULL) return false;
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    return true;
}

/* ---- trust ---- */

static int tls_trust(stream_tls *t, const stream *s, const remote_options *remote, braid_error *err) {
    if (remote->tls_insecure) {
        SSL_CTX_set_verify(t->ctx, SSL_VERIFY_NONE, NULL);
        return BRAID_OK;
    }
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    bool own = remote->tls_ca != NULL && remote->tls_ca[0] != '\0';
    if (own && SSL_CTX_load_verify_locations(t->ctx, remote->tls_ca, NULL) != 1)
        return error_set(err, BRAID_E_INVALID, s->store, "%s: no certificates to trust can be read from %s", s->who,
                         remote->tls_ca);
    if (!own && SSL_CTX_set_default_verify_paths(t->ctx) != 1)
        return error_set(err, BRAID_E_UNAVAILABLE, s->store, "%s: the system's trusted certificates cannot be read",
                         s->who);
    return BRAID_OK;
}

/* Says whom we want to talk to: the name in SNI, and what the certificate must carry. */
static bool tls_expect(SSL *ssl, const char *host) {
    unsigned char raw[16];
    bool digits = inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
    if (digits) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* ---- operations ---- */

static int tls_failed(const stream *s, const char *doing, braid_error *err) {
    unsigned long number = ERR_peek_last_error();
    long verified = SSL_get_verify_result(s->tls->ssl);
    const char *why = "the connection was lost";
    if (verified != X509_V_OK && (SSL_get_verify_mode(s->tls->ssl) & SSL_VERIFY_PEER))
        why = X509_verify_cert_error_string(verified);
    else if (number != 0 && ERR_reason_error_string(number) != NULL)
        why = ERR_reason_error_string(number);
    return error_set(err, BRAID_E_UNAVAILABLE, s->store, "TLS with %s failed while %s: %s", s->who, doing, why);
}

/* After an operation that returned `result`: OK means "try again now". */
static int tls_again(stream *s, int result, deadline until, const char *doing, braid_error *err) {
    switch (SSL_get_error(s->tls->ssl, result)) {
    case SSL_ERROR_WANT_READ: return stream_wait(s, POLLIN, until, doing, err);
    case SSL_ERROR_WANT_WRITE: return stream_wait(s, POLLOUT, until, doing, err);
    case SSL_ERROR_ZERO_RETURN:
        return error_set(err, BRAID_E_UNAVAILABLE, s->store, "%s closed the connection", s->who);
    default: return tls_failed(s, doing, err);
    }
}

static int tls_late(const stream *s, const char *doing, braid_error *err) {
    return error_set(err, BRAID_E_DEADLINE, s->store, "%s did not come in time while %s", s->who, doing);
}

static int tls_shake(stream *s, deadline until, braid_error *err) {
    for (;;) {
        if (deadline_passed(s->clock, until)) return tls_late(s, "shaking hands", err);
        ERR_clear_error();
        int result = SSL_connect(s->tls->ssl);
        if (result == 1) return BRAID_OK;
        int rc = tls_again(s, result, until, "shaking hands", err);
        if (rc != BRAID_OK) return rc;
    }
}

int stream_tls_open(stream *s, const remote_options *remote, const char *host, deadline until, braid_error *err) {
    stream_tls *t = s->tls = calloc(1, sizeof *t); /* stream_close frees it, whatever happens */
    if (t == NULL) goto no_memory;
    t->ctx = SSL_CTX_new(TLS_client_method());
    if (t->ctx == NULL) goto no_memory;
    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    int rc = tls_trust(t, s, remote, err);
    if (rc != BRAID_OK) return rc;
    t->ssl = SSL_new(t->ctx);
    if (t->ssl == NULL || !tls_attach(t, s) || !tls_expect(t->ssl, host)) goto no_memory;
    return tls_shake(s, until, err);
no_memory:
    return error_set(err, BRAID_E_NO_MEMORY, s->store, "no memory for TLS with %s", s->who);
}

void stream_tls_close(stream_tls *t) {
    if (t == NULL) return;
    ERR_clear_error();
    if (t->ssl != NULL && SSL_is_init_finished(t->ssl)) SSL_shutdown(t->ssl); /* says goodbye, waits for nothing */
    SSL_free(t->ssl);
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->method);
    ERR_clear_error();
    free(t);
}

int stream_tls_write(stream *s, const void *data, size_t len, deadline until, braid_error *err) {
    for (size_t sent = 0; sent < len;) {
        if (deadline_passed(s->clock, until)) return tls_late(s, "writing", err);
        size_t n = 0;
        ERR_clear_error();
        int result = SSL_write_ex(s->tls->ssl, (const char *)data + sent, len - sent, &n);
        sent += result == 1 ? n : 0;
        int rc = result == 1 ? BRAID_OK : tls_again(s, result, until, "writing", err);
        if (rc != BRAID_OK) return rc;
    }
    return BRAID_OK;
}

int stream_tls_read(stream *s, void *data, size_t cap, size_t *got, deadline until, braid_error *err) {
    for (;;) {
        if (deadline_passed(s->clock, until)) return tls_late(s, "reading", err);
        ERR_clear_error();
        int result = SSL_read_ex(s->tls->ssl, data, cap, got);
        if (result == 1) return BRAID_OK;
        *got = 0;
        int rc = tls_again(s, result, until, "reading", err);
        if (rc != BRAID_OK) return rc;
    }
}

bool stream_tls_quiet(stream *s) {
    char c;
    size_t n;
    ERR_clear_error();
    int result = SSL_peek_ex(s->tls->ssl, &c, 1, &n);
    return result != 1 && SSL_get_error(s->tls->ssl, result) == SSL_ERROR_WANT_READ;
}
