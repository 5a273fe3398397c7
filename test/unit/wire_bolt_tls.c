/* Bolt over TLS: who is trusted is decided before the first byte of Bolt, and so before any password is sent. The
 * server is a few lines here; where BRAID_TEST_NEO4J is set, TLS also ends here and goes on to the real one. */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "test/support/neo4j.h"
#include "test/support/stub_server.h"
#include "wire/bolt.h"
#include "wire/bolt_chunk.h"
#include "wire/bolt_machine.h"

typedef struct seen {
    atomic_int messages, bytes, passwords;
} seen;

static void answer(stub_conn *c, uint8_t tag, bool row) {
    buf b;
    buf_init(&b, 0);
    size_t at = bolt_chunk_open(&b);
    ps_put_struct(&b, tag, 1);
    if (row) {
        ps_put_list(&b, 1);
        ps_put_int(&b, 42);
    } else {
        ps_put_map(&b, 0);
    }
    bolt_chunk_close(&b, at);
    stub_write(c, b.data, b.len);
    buf_free(&b);
}

/* One message, of one chunk; its length, or 0 at the end. */
static size_t read_message(stub_conn *c, uint8_t *out, size_t cap) {
    uint8_t head[2];
    size_t len = 0;
    while (stub_read(c, head, 2)) {
        size_t n = (size_t)head[0] << 8 | head[1];
        if (n == 0 && len > 0) return len;
        if (len + n > cap || !stub_read(c, out + len, n)) return 0;
        len += n;
    }
    return 0;
}

/* Bolt 5.4: every statement has one row, 42. */
static void handle_bolt(stub_conn *c) {
    seen *s = c->ctx;
    uint8_t data[1024], hands[20];
    if (!stub_read(c, hands, sizeof hands)) return;
    s->bytes += (int)sizeof hands;
    stub_write(c, "\0\0\4\5", 4);
    for (size_t len; (len = read_message(c, data, sizeof data)) > 1 && data[1] != BOLT_GOODBYE;) {
        s->messages++;
        s->passwords += memmem(data, len, "s3cret-word", 11) != NULL;
        if (data[1] == BOLT_PULL) answer(c, 0x71, true);
        answer(c, 0x70, false);
    }
}

static int take_int(void *ctx, bolt_row *row, braid_error *err) {
    return ps_read_int(&row->values, ctx) ? BRAID_OK : ps_error(&row->values, "test", err);
}

static int ask(const remote_options *remote, int64_t *value, braid_error *err) {
    bolt_client *c;
    *value = -1;
    int rc = bolt_open(&(bolt_options){.remote = remote}, &c, err);
    if (rc != BRAID_OK) return rc;
    rc = bolt_run(c, &(bolt_call){.access = BOLT_READ},
                  &(bolt_statement){.text = "RETURN 42", .each = take_int, .ctx = value}, err);
    bolt_close(c);
    return rc;
}

static remote_options options_of(const char *address) {
    return (remote_options){
        .address = address, .user = "ana", .password = "s3cret-word", .tls = true, .tls_ca = "", .timeout_ms = 60000};
}

static void rows_come_over_tls_from_one_who_is_trusted(void **state) {
    (void)state;
    char ca[64];
    seen s = {0};
    SSL_CTX *tls = stub_tls("127.0.0.1", ca);
    stub_server *server = stub_start(handle_bolt, &s, tls);
    remote_options o = options_of(stub_address(server));
    braid_error err = {0};
    int64_t value;
    o.tls_ca = ca;
    assert_int_equal(ask(&o, &value, &err), BRAID_OK);
    assert_int_equal(value, 42);
    assert_int_equal(s.passwords, 1);
    stub_stop(server);
    SSL_CTX_free(tls);
    unlink(ca);
}

static void a_stranger_gets_neither_a_byte_of_bolt_nor_the_password(void **state) {
    (void)state;
    char ca[64], other_ca[64];
    seen s = {0};
    SSL_CTX *tls = stub_tls("127.0.0.1", ca), *other = stub_tls("elsewhere.example", other_ca);
    stub_server *server = stub_start(handle_bolt, &s, tls), *stranger = stub_start(handle_bolt, &s, other);
    const struct {
        const char *address, *ca, *why;
    } cases[] = {
        {stub_address(server), "", "certificate"},       /* verification is on without being asked for */
        {stub_address(server), other_ca, "certificate"}, /* another authority */
        {stub_address(stranger), other_ca, "mismatch"},  /* the right authority, a wrong name */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        remote_options o = options_of(cases[i].address);
        braid_error err = {0};
        int64_t value;
        o.tls_ca = cases[i].ca;
        assert_int_equal(ask(&o, &value, &err), BRAID_E_UNAVAILABLE);
        if (strstr(err.message, cases[i].why) == NULL || strstr(err.message, cases[i].address) == NULL)
            fail_msg("case %zu: %s", i, err.message);
        assert_null(strstr(err.message, "s3cret-word"));
        assert_int_equal(value, -1);
    }
    assert_int_equal(s.bytes, 0);
    assert_int_equal(s.passwords, 0);
    stub_stop(server);
    stub_stop(stranger);
    SSL_CTX_free(tls);
    SSL_CTX_free(other);
    unlink(ca);
    unlink(other_ca);
}

static void tls_and_plain_do_not_meet(void **state) {
    (void)state;
    char ca[64];
    seen s = {0};
    SSL_CTX *tls = stub_tls("127.0.0.1", ca);
    stub_server *server = stub_start(handle_bolt, &s, tls), *plain = stub_start(handle_bolt, &s, NULL);
    remote_options o = options_of(stub_address(plain));
    braid_error err = {0};
    int64_t value;
    o.tls_ca = ca;
    assert_int_not_equal(ask(&o, &value, &err), BRAID_OK); /* never falls back to plain text */
    o = options_of(stub_address(server));
    o.tls = false;
    assert_int_not_equal(ask(&o, &value, NULL), BRAID_OK);
    assert_int_equal(s.passwords, 0);
    stub_stop(server);
    stub_stop(plain);
    SSL_CTX_free(tls);
    unlink(ca);
}

/* ---- on to the real server ---- */

static int connect_to(const char *address) {
    char host[64];
    unsigned port;
    struct sockaddr_in a = {.sin_family = AF_INET};
    if (!remote_split(address, host, sizeof host, &port) || inet_pton(AF_INET, host, &a.sin_addr) != 1) return -1;
    a.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

static void handle_forward(stub_conn *c) {
    char data[16384];
    int fd = connect_to(c->ctx);
    for (bool open = fd >= 0; open;) {
        struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        if (SSL_pending(c->ssl) == 0 && poll(p, 2, 5000) <= 0) break;
        if (SSL_pending(c->ssl) > 0 || p[0].revents != 0) { /* a record at a time: the client writes whole requests */
            int n = SSL_read(c->ssl, data, sizeof data);
            open = n > 0 && send(fd, data, (size_t)n, MSG_NOSIGNAL) == n;
        }
        if (open && p[1].revents != 0) {
            ssize_t n = recv(fd, data, sizeof data, 0);
            open = n > 0 && stub_write(c, data, (size_t)n);
        }
    }
    if (fd >= 0) close(fd);
}

static int take_size(void *ctx, bolt_row *row, braid_error *err) {
    ps_text text;
    if (!ps_read_text(&row->values, &text)) return ps_error(&row->values, "test", err);
    *(size_t *)ctx = text.len;
    return BRAID_OK;
}

static void a_real_server_is_asked_over_tls(void **state) {
    (void)state;
    enum { LONG = 300000 };
    char ca[64];
    remote_options real;
    if (!test_neo4j(&real)) skip();
    SSL_CTX *tls = stub_tls("127.0.0.1", ca);
    stub_server *server = stub_start(handle_forward, (void *)(uintptr_t)real.address, tls);
    remote_options o = real;
    braid_error err = {0};
    bolt_client *c;
    size_t len = 0;
    buf p;
    o.address = stub_address(server);
    o.tls = true;
    o.tls_ca = ca;
    char *text = calloc(1, LONG + 1);
    memset(text, 'x', LONG);
    buf_init(&p, 0);
    ps_put_map(&p, 1);
    ps_put_str(&p, "text");
    ps_put_str(&p, text);
    assert_int_equal(bolt_open(&(bolt_options){.remote = &o}, &c, &err), BRAID_OK);
    bolt_statement s = {
        .text = "RETURN $text + 'y'", .parameters = p.data, .parameters_len = p.len, .each = take_size, .ctx = &len};
    if (bolt_run(c, &(bolt_call){.access = BOLT_READ}, &s, &err) != BRAID_OK) fail_msg("%s", err.message);
    assert_int_equal(len, LONG + 1);
    bolt_close(c);
    buf_free(&p);
    free(text);
    stub_stop(server);
    SSL_CTX_free(tls);
    unlink(ca);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_over_tls_from_one_who_is_trusted),
        cmocka_unit_test(a_stranger_gets_neither_a_byte_of_bolt_nor_the_password),
        cmocka_unit_test(tls_and_plain_do_not_meet),
        cmocka_unit_test(a_real_server_is_asked_over_tls),
    };
    return cmocka_run_group_tests_name("wire_bolt_tls", tests, NULL, NULL);
}
