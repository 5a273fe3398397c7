/* The connection: URL, connecting, sending, reading, all before one deadline. The BIO never blocks; poll() waits with
 * the time that is left. */
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cli.h"

struct client {
    char *host, *port, *prefix; /* host without brackets; prefix "" or "/braid" */
    bool tls;
    SSL_CTX *context;
    BIO *bio;
    double deadline; /* of the call in hand */
};

/* ---- the address ---- */

static bool refuse(char why[CLIENT_WHY], const char *text) {
    snprintf(why, CLIENT_WHY, "%s", text);
    return false;
}

/* client://HOST[:PORT][/PREFIX], HOST possibly [IPv6]. */
static bool parse_url(client *h, const char *url, char why[CLIENT_WHY]) {
    if (strncmp(url, "https://", 8) == 0)
        h->tls = true;
    else if (strncmp(url, "http://", 7) != 0)
        return refuse(why, "a server's address begins with http:// or https://");
    const char *host = url + (h->tls ? 8 : 7);
    size_t len = strcspn(host, "/?#");
    if (memchr(host, '@', len)) return refuse(why, "a name and password in the address are not supported");
    if (strpbrk(host + len, "?#")) return refuse(why, "a server's address has no ? and no #");
    const char *end = host[0] == '[' ? memchr(host, ']', len) : NULL;
    if (host[0] == '[' && !end) return refuse(why, "the bracket of the IPv6 address is not closed");
    const char *colon = memchr(end ? end : host, ':', len - (size_t)((end ? end : host) - host));
    size_t host_len = colon ? (size_t)(colon - host) : len;
    h->host = end ? cli_format("%.*s", (int)(end - host - 1), host + 1) : cli_format("%.*s", (int)host_len, host);
    h->port = colon ? cli_format("%.*s", (int)(len - host_len - 1), colon + 1) : cli_copy(h->tls ? "443" : "80");
    h->prefix = cli_copy(host + len);
    size_t tail = strlen(h->prefix);
    while (tail > 0 && h->prefix[tail - 1] == '/') h->prefix[--tail] = '\0';
    for (const char *s = url; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7F)
            return refuse(why, "a server's address has no blanks and no control characters");
    if (!h->host[0]) return refuse(why, "the host is missing in the address");
    if (!h->port[0] || strspn(h->port, "0123456789") != strlen(h->port))
        return refuse(why, "the port in the address is not a number");
    return true;
}

static bool make_context(client *h, char why[CLIENT_WHY]) {
    h->context = SSL_CTX_new(TLS_client_method());
    if (!h->context || SSL_CTX_set_default_verify_paths(h->context) != 1) return refuse(why, "TLS could not be set up");
    SSL_CTX_set_min_proto_version(h->context, TLS1_2_VERSION);
    SSL_CTX_set_verify(h->context, SSL_VERIFY_PEER, NULL);
    return true;
}

client *client_new(const char *url, char why[CLIENT_WHY]) {
    client *h = cli_alloc(sizeof *h);
    if (parse_url(h, url, why) && (!h->tls || make_context(h, why))) return h;
    client_free(h);
    return NULL;
}

static void hang_up(client *h) {
    BIO_free_all(h->bio);
    h->bio = NULL;
}

void client_free(client *h) {
    if (!h) return;
    hang_up(h);
    SSL_CTX_free(h->context);
    free(h->host);
    free(h->port);
    free(h->prefix);
    free(h);
}

/* ---- waiting ---- */

/* The first error that OpenSSL noted, in words. */
static void explain(const client *h, const char *doing, char why[CLIENT_WHY]) {
    unsigned long code = ERR_get_error();
    const char *text = code == 0                ? strerror(errno)
                       : ERR_SYSTEM_ERROR(code) ? strerror((int)ERR_GET_REASON(code))
                                                : ERR_reason_error_string(code);
    SSL *ssl = NULL;
    if (h->tls && h->bio) BIO_get_ssl(h->bio, &ssl);
    long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    if (verify != X509_V_OK) text = X509_verify_cert_error_string(verify);
    snprintf(why, CLIENT_WHY, "%s: %s", doing, text ? text : "the connection failed");
    ERR_clear_error();
}

/* Waits until the BIO can go on; false with `why` when time has run out. A signal does not end the wait: the piece in
 * hand is finished. */
static bool wait_for(client *h, const char *doing, char why[CLIENT_WHY]) {
    double left = h->deadline - cli_now();
    if (left <= 0) {
        snprintf(why, CLIENT_WHY, "%s: no answer in time (see --timeout)", doing);
        return false;
    }
    int fd = -1;
    BIO_get_fd(h->bio, &fd);
    struct pollfd p = {.fd = fd, .events = BIO_should_read(h->bio) ? POLLIN : POLLOUT};
    /* Without a descriptor yet (between two addresses of a host), look again soon. */
    poll(&p, 1, fd < 0 ? 10 : (int)(left * 1000) + 1);
    return true;
}

/* ---- connecting ---- */

static bool name_peer(client *h, char why[CLIENT_WHY]) {
    SSL *ssl = NULL;
    BIO_get_ssl(h->bio, &ssl);
    if (!ssl) return refuse(why, "TLS could not be set up");
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, h->host) == 1) return true;
    ERR_clear_error();
    return (SSL_set1_host(ssl, h->host) == 1 && SSL_set_tlsext_host_name(ssl, h->host) == 1) ||
           refuse(why, "the host's name does not suit TLS");
}

static bool connect_to(client *h, char why[CLIENT_WHY]) {
    bool six = strchr(h->host, ':') != NULL;
    char *address = cli_format("%s%s%s:%s", six ? "[" : "", h->host, six ? "]" : "", h->port),
         *doing = cli_format("connecting to %s", address);
    ERR_clear_error();
    h->bio = h->tls ? BIO_new_ssl_connect(h->context) : BIO_new(BIO_s_connect());
    bool good = h->bio && BIO_set_conn_hostname(h->bio, address) == 1;
    if (!good) explain(h, doing, why);
    if (good) BIO_set_nbio(h->bio, 1);
    if (good && h->tls) good = name_peer(h, why);
    while (good && BIO_do_connect(h->bio) <= 0) {
        good = BIO_should_retry(h->bio);
        if (good)
            good = wait_for(h, doing, why);
        else
            explain(h, doing, why);
    }
    free(address);
    free(doing);
    /* Head and body are two writes; without this the second may wait for the peer's delayed acknowledgement. */
    int fd = -1, on = 1;
    if (good && BIO_get_fd(h->bio, &fd) >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!good) hang_up(h);
    return good;
}

/* A kept connection that has become readable was closed by the server, or worse; it is not used again. */
static bool still_good(client *h) {
    int fd = -1;
    if (!h->bio || BIO_get_fd(h->bio, &fd) < 0) return false;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

/* ---- one call ---- */

static bool send_all(client *h, const char *data, size_t len, char why[CLIENT_WHY]) {
    while (len > 0) {
        int n = BIO_write(h->bio, data, len > 65536 ? 65536 : (int)len);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (!BIO_should_retry(h->bio)) {
            explain(h, "sending", why);
            return false;
        } else if (!wait_for(h, "sending", why)) {
            return false;
        }
    }
    return true;
}

static long fill(void *ctx, char *into, size_t cap, char why[CLIENT_WHY]) {
    client *h = ctx;
    for (;;) {
        int n = BIO_read(h->bio, into, cap > 65536 ? 65536 : (int)cap);
        if (n > 0) return n;
        if (!BIO_should_retry(h->bio)) {
            bool ended = n == 0 || (ERR_peek_error() == 0 && errno == 0);
            if (!ended) explain(h, "reading the answer", why);
            return ended ? 0 : -1;
        }
        if (!wait_for(h, "reading the answer", why)) return -1;
    }
}

static char *make_head(const client *h, const client_request *r, size_t *len) {
    bool six = strchr(h->host, ':') != NULL, usual = strcmp(h->port, h->tls ? "443" : "80") == 0;
    char *head = NULL;
    FILE *out = open_memstream(&head, len);
    if (!out) return NULL;
    fprintf(out, "%s %s%s%s%s HTTP/1.1\r\n", r->method, h->prefix, r->path, r->query && *r->query ? "?" : "",
            r->query ? r->query : "");
    fprintf(out, "Host: %s%s%s%s%s\r\n", six ? "[" : "", h->host, six ? "]" : "", usual ? "" : ":",
            usual ? "" : h->port);
    fprintf(out, "User-Agent: braid/%s\r\nAccept: */*\r\n", BRAID_VERSION);
    if (r->body) fprintf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", r->content_type, r->len);
    fputs("\r\n", out);
    if (fclose(out) == 0) return head;
    free(head);
    return NULL;
}

bool client_call(client *h, const client_request *r, client_answer *answer, char why[CLIENT_WHY]) {
    *answer = (client_answer){0};
    why[0] = '\0';
    h->deadline = cli_now() + r->timeout_ms / 1000.0;
    if (h->bio && !still_good(h)) hang_up(h);
    if (!h->bio && !connect_to(h, why)) return false;
    size_t head_len;
    char *head = make_head(h, r, &head_len), sending[CLIENT_WHY] = "";
    if (!head) return refuse(why, "no memory for a request");
    ERR_clear_error();
    bool sent = send_all(h, head, head_len, sending) && (!r->body || send_all(h, r->body, r->len, sending));
    free(head);
    /* A server that refuses a body may answer and close before all of it was sent: its answer says more than the broken
     * pipe. */
    bool keep = false;
    errno = 0;
    bool good = client_answer_read(fill, h, answer, &keep, why);
    if (!good && !sent) snprintf(why, CLIENT_WHY, "%s", sending);
    if (!good || !keep || !sent) hang_up(h);
    return good;
}
