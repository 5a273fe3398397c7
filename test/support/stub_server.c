/* The scripted server: one thread accepts, one thread a connection. A handler that waits wakes when the server stops,
 * since stopping shuts its socket down and sets a flag that sleeps look at. */
#include "stub_server.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STUB_CONNS_MAX = 4096, STUB_STACK_BYTES = 512 << 10 };

typedef struct stub_job {
    stub_conn conn;
    pthread_t thread;
    bool closed; /* under the server's lock: the fd may belong to somebody else by now */
} stub_job;

struct stub_server {
    void (*handler)(stub_conn *c);
    void *ctx;
    SSL_CTX *tls;
    int fd;
    char address[32];
    pthread_t acceptor;
    atomic_bool stopping;
    pthread_mutex_t lock;
    stub_job *jobs[STUB_CONNS_MAX]; /* those not joined yet */
    unsigned count, accepted;
};

static void *stub_run(void *arg) {
    stub_job *j = arg;
    stub_server *s = j->conn.server;
    bool ready = true;
    sigset_t pipe; /* OpenSSL writes with write(2) here; the tests want to see that the client raises no SIGPIPE */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    if (s->tls != NULL) {
        j->conn.ssl = SSL_new(s->tls);
        SSL_set_fd(j->conn.ssl, j->conn.fd);
        ready = SSL_accept(j->conn.ssl) == 1;
    }
    if (ready) s->handler(&j->conn);
    SSL_free(j->conn.ssl);
    pthread_mutex_lock(&s->lock);
    j->closed = true; /* the last thing that needs the lock */
    close(j->conn.fd);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Ends the threads of connections that are over; the lock is held. */
static void stub_reap(stub_server *s) {
    unsigned kept = 0;
    for (unsigned i = 0; i < s->count; i++) {
        stub_job *j = s->jobs[i];
        if (j->closed) {
            pthread_join(j->thread, NULL); /* it only has to unlock and return */
            free(j);
        } else {
            s->jobs[kept++] = j;
        }
    }
    s->count = kept;
}

static void *stub_accept(void *arg) {
    stub_server *s = arg;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STUB_STACK_BYTES);
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0) {
            pthread_attr_destroy(&attr);
            return NULL;
        }
        pthread_mutex_lock(&s->lock);
        if (s->count >= 64) stub_reap(s);
        if (s->stopping || s->count == STUB_CONNS_MAX) {
            close(fd);
        } else {
            stub_job *j = calloc(1, sizeof *j);
            j->conn = (stub_conn){s, fd, NULL, ++s->accepted, s->ctx};
            if (pthread_create(&j->thread, &attr, stub_run, j) == 0) {
                s->jobs[s->count++] = j;
            } else {
                close(fd);
                free(j);
            }
        }
        pthread_mutex_unlock(&s->lock);
    }
}

stub_server *stub_start(void (*handler)(stub_conn *c), void *ctx, SSL_CTX *tls) {
    stub_server *s = calloc(1, sizeof *s);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    s->handler = handler;
    s->ctx = ctx;
    s->tls = tls;
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(s->fd, 1024) != 0 ||
        getsockname(s->fd, (struct sockaddr *)&at, &size) != 0 ||
        pthread_create(&s->acceptor, NULL, stub_accept, s) != 0) {
        perror("stub server");
        abort();
    }
    snprintf(s->address, sizeof s->address, "127.0.0.1:%u", ntohs(at.sin_port));
    return s;
}

void stub_stop(stub_server *s) {
    s->stopping = true;
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->acceptor, NULL);
    close(s->fd);
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->count; i++)
        if (!s->jobs[i]->closed) shutdown(s->jobs[i]->conn.fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->count; i++) {
        pthread_join(s->jobs[i]->thread, NULL);
        free(s->jobs[i]);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

const char *stub_address(const stub_server *s) {
    return s->address;
}

unsigned stub_connections(stub_server *s) {
    pthread_mutex_lock(&s->lock);
    unsigned n = s->accepted;
    pthread_mutex_unlock(&s->lock);
    return n;
}

bool stub_read(stub_conn *c, void *data, size_t len) {
    for (size_t got = 0; got < len;) {
        ssize_t n = c->ssl != NULL ? SSL_read(c->ssl, (char *)data + got, (int)(len - got))
                                   : recv(c->fd, (char *)data + got, len - got, 0);
        if (n <= 0) return false;
        got += (size_t)n;
    }
    return true;
}

bool stub_write(stub_conn *c, const void *data, size_t len) {
    for (size_t sent = 0; sent < len;) {
        ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, (const char *)data + sent, (int)(len - sent))
                                   : send(c->fd, (const char *)data + sent, len - sent, MSG_NOSIGNAL);
        if (n <= 0) return false;
        sent += (size_t)n;
    }
    return true;
}

void stub_reset(stub_conn *c) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

bool stub_sleep_ms(stub_conn *c, unsigned ms) {
    struct timespec begun, now, nap = {.tv_nsec = ms < 5 ? 1000000 : 5000000};
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        if (c->server->stopping) return false;
        nanosleep(&nap, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000 < (long)ms);
    return !c->server->stopping;
}

static bool stub_read_number(stub_conn *c, char kind, long *number) {
    char line[32];
    size_t n = 0;
    do {
        if (n == sizeof line - 1 || !stub_read(c, line + n, 1)) return false;
    } while (line[n++] != '\n');
    line[n] = '\0';
    *number = strtol(line + 1, NULL, 10);
    return line[0] == kind;
}

bool stub_read_command(stub_conn *c, char *text, size_t cap) {
    long words, len;
    size_t used = 0;
    if (!stub_read_number(c, '*', &words)) return false;
    for (long i = 0; i < words; i++) {
        if (!stub_read_number(c, '$', &len) || len < 0 || used + (size_t)len + 3 > cap) return false;
        if (i > 0) text[used++] = ' ';
        if (!stub_read(c, text + used, (size_t)len + 2)) return false;
        used += (size_t)len;
    }
    text[used] = '\0';
    return true;
}

/* ---- a certificate authority ---- */

static X509 *stub_certificate(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key, const char *san) {
    X509 *x = X509_new();
    X509V3_CTX ctx;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), issuer != NULL ? 2 : 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 24 * 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer != NULL ? issuer : x));
    X509_set_pubkey(x, key);
    X509V3_set_ctx(&ctx, issuer != NULL ? issuer : x, x, NULL, NULL, 0);
    X509_EXTENSION *e = issuer != NULL ? X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, san)
                                       : X509V3_EXT_conf_nid(NULL, &ctx, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    X509_sign(x, issuer_key != NULL ? issuer_key : key, EVP_sha256());
    return x;
}

SSL_CTX *stub_tls(const char *host, char ca_path[64]) {
    char san[128];
    unsigned char raw[16];
    bool digits = inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
    snprintf(san, sizeof san, "%s:%s", digits ? "IP" : "DNS", host);
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *ca = stub_certificate(ca_key, "test authority", NULL, NULL, NULL);
    X509 *own = stub_certificate(key, "test server", ca, ca_key, san);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    snprintf(ca_path, 64, "/tmp/braid-ca-XXXXXX");
    int fd = mkstemp(ca_path);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL || PEM_write_X509(f, ca) != 1 || SSL_CTX_use_certificate(ctx, own) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, key) != 1) {
        fprintf(stderr, "stub server: no certificate\n");
        abort();
    }
    fclose(f);
    X509_free(ca);
    X509_free(own);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return ctx;
}
