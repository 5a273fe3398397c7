/* wire: stream, against a scripted server. Deadlines are absolute: what the server does cannot move them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "test/support/stub_server.h"
#include "test/support/timing.h"
#include "wire/stream.h"

static remote_options options_of(const char *address) {
    return (remote_options){.address = address, .tls_ca = "", .timeout_ms = LONG_MS};
}

static stream *open_stream(const remote_options *o) {
    stream *s;
    braid_error err = {0};
    if (stream_open(o, &clock_system, in_ms(LONG_MS), &s, &err) != BRAID_OK) fail_msg("%s", err.message);
    return s;
}

/* ---- what the server does ---- */

static void handle_echo(stub_conn *c) {
    char text[64];
    while (stub_read(c, text, 4) && stub_write(c, text, 4)) {}
}

static void handle_trickle(stub_conn *c) {
    while (stub_sleep_ms(c, 10) && stub_write(c, "x", 1)) {}
}

static void handle_flood(stub_conn *c) {
    static const char lots[1 << 16];
    while (stub_write(c, lots, sizeof lots)) {}
}

static void handle_hang(stub_conn *c) {
    while (stub_sleep_ms(c, 20)) {}
}

static void handle_close(stub_conn *c) {
    (void)c;
}

static void handle_reset(stub_conn *c) {
    char text[4];
    stub_read(c, text, 4);
    stub_reset(c);
}

static void handle_greet_and_hang(stub_conn *c) {
    stub_write(c, "stray", 5);
    handle_hang(c);
}

static void handle_greet_and_close(stub_conn *c) {
    stub_write(c, "bye!", 4);
}

/* ---- plain ---- */

static void echo_over(const remote_options *o) {
    stream *s = open_stream(o);
    char back[4];
    size_t got = 0, n;
    assert_int_equal(stream_write(s, "ping", 4, in_ms(LONG_MS), NULL), BRAID_OK);
    while (got < 4) {
        assert_int_equal(stream_read(s, back + got, 4 - got, &n, 0, NULL), BRAID_OK);
        got += n;
    }
    assert_memory_equal(back, "ping", 4);
    assert_true(stream_quiet(s));
    stream_close(s);
}

static void what_is_written_arrives_and_comes_back(void **state) {
    (void)state;
    stub_server *server = stub_start(handle_echo, NULL, NULL);
    remote_options o = options_of(stub_address(server));
    echo_over(&o);
    stream *s = open_stream(&o);
    assert_string_equal(stream_peer(s), stub_address(server));
    stream_close(s);
    stream_close(NULL);
    stub_stop(server);
}

/* The name is looked up by the system: the same server under another name. */
static void a_name_is_resolved_and_an_unknown_one_is_unavailable(void **state) {
    (void)state;
    stub_server *server = stub_start(handle_echo, NULL, NULL);
    char address[64];
    snprintf(address, sizeof address, "localhost%s", strchr(stub_address(server), ':'));
    remote_options o = options_of(address);
    echo_over(&o);
    o.address = "no-such-host.invalid:6379";
    stream *s;
    braid_error err = {0};
    int64_t begun = now_ns();
    int rc = stream_open(&o, &clock_system, in_ms(300), &s, &err);
    assert_true(rc == BRAID_E_UNAVAILABLE || rc == BRAID_E_DEADLINE); /* the resolver may be slower than that */
    assert_non_null(strstr(err.message, "no-such-host.invalid"));
    assert_true(elapsed_ms(begun) < SOON_MS);
    assert_null(s);
    stub_stop(server);
}

/* One byte per 10 ms would hold a per-read time-out of 200 ms for ever. */
static void a_trickling_server_cannot_hold_a_caller_beyond_the_deadline(void **state) {
    (void)state;
    stub_server *server = stub_start(handle_trickle, NULL, NULL);
    remote_options o = options_of(stub_address(server));
    stream *s = open_stream(&o);
    char text[1000];
    size_t n, got = 0;
    int64_t begun = now_ns();
    deadline until = in_ms(150);
    int rc = BRAID_OK;
    while (rc == BRAID_OK && got < sizeof text) {
        rc = stream_read(s, text, sizeof text - got, &n, until, NULL);
        got += n;
    }
    assert_int_equal(rc, BRAID_E_DEADLINE);
    assert_true(got < sizeof text); /* which would take ten seconds */
    assert_true(elapsed_ms(begun) >= 149);
    assert_false(stream_quiet(s)); /* broken: not to be lent again */
    stream_close(s);
    stub_stop(server);
}

static void a_server_whose_next_byte_is_always_there_cannot_either(void **state) {
    (void)state;
    stub_server *server = stub_start(handle_flood, NULL, NULL);
    remote_options o = options_of(stub_address(server));
    stream *s = open_stream(&o);
    char text[100];
    size_t n;
    int64_t begun = now_ns();
    deadline until = in_ms(100);
    int rc;
    while ((rc = stream_read(s, text, sizeof text, &n, until, NULL)) == BRAID_OK) {}
    assert_int_equal(rc, BRAID_E_DEADLINE);
    assert_in_range(elapsed_ms(begun), 99, SOON_MS);
    stream_close(s);
    stub_stop(server);
}

/* A clock that runs a thousand times as fast: deadlines follow it, not the system's. */
static int64_t fast_mono(void *ctx) {
    return (now_ns() - *(int64_t *)ctx) * 1000 + 1;
}

/* Eighty seconds of that clock, which are more than the time-out of who sets none. */
static void a_call_without_a_deadline_ends_by_the_timeout_of_the_options(void **state) {
    (void)state;
    int64_t origin = now_ns();
    const clock_ops fast = {fast_mono, NULL, &origin};
    stub_server *server = stub_start(handle_hang, NULL, NULL);
    remote_options o = options_of(stub_address(server));
    o.timeout_ms = 80000;
    stream *s;
    char c;
    size_t n;
    assert_int_equal(stream_open(&o, &fast, fast_mono(&origin) + LONG_MS * INT64_C(1000000000), &s, NULL), BRAID_OK);
    int64_t begun = now_ns();
    assert_int_equal(stream_read(s, &c, 1, &n, 0, NULL), BRAID_E_DEADLINE);
    assert_in_range(elapsed_ms(begun), 79, SOON_MS);
    stream_close(s);
    stub_stop(server);
}

static void writing_to_one_who_does_not_read_ends_at_the_deadline(void **state) {
    (void)state;
    stub_server *server = stub_start(handle_hang, NULL, NULL);
    remote_options o = options_of(stub_address(server));
    stream *s = open_stream(&o);
    const size_t len = 64 << 20;
    char *lots = calloc(1, len);
    int64_t begun = now_ns();
    assert_int_equal(stream_write(s, lots, len, in_ms(150), NULL), BRAID_E_DEADLINE);
    assert_in_range(elapsed_ms(begun), 149, SOON_MS);
    free(lots);
    stream_close(s);
    stub_stop(server);
}

static void a_closed_or_reset_connection_is_unavailable(void **state) {
    (void)state;
    char c[8];
    size_t n;
    braid_error err = {0};
    stub_server *server = stub_start(handle_close, NULL, NULL);
    remote_options o = options_of(stub_address(server));
    stream *s = open_stream(&o);
    assert_int_equal(stream_read(s, c, 1, &n, in_ms(LONG_MS), &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, stub_address(server)));
    stream_close(s);
    stub_stop(server);

    server = stub_start(handle_reset, NULL, NULL);
    o = options_of(stub_address(server));
    s = open_stream(&o);
    assert_int_equal(stream_write(s, "ping", 4, in_ms(LONG_MS), NULL), BRAID_OK);
    assert_int_equal(stream_read(s, c, 1, &n, in_ms(LONG_MS), NULL), BRAID_E_UNAVAILABLE);
    stream_close(s);
    /* Writing to one that is gone: an error, and no SIGPIPE. */
    s = open_stream(&o);
    assert_int_equal(stream_write(s, "ping", 4, in_ms(LONG_MS), NULL), BRAID_OK);
    int rc = BRAID_OK;
    for (int i = 0; i < 200 && rc == BRAID_OK; i++) {
        rc = stream_write(s, "ping", 4, in_ms(LONG_MS), NULL);
        usleep(1000);
    }
    assert_int_equal(rc, BRAID_E_UNAVAILABLE);
    stream_close(s);
    stub_stop(server);
}

static void nobody_listening_is_unavailable_at_once(void **state) {
    (void)state;
    stub_server *server = stub_start(handle_close, NULL, NULL);
    char address[64];
    snprintf(address, sizeof address, "%s", stub_address(server));
    stub_stop(server);
    remote_options o = options_of(address);
    stream *s;
    braid_error err = {0};
    int64_t begun = now_ns();
    assert_int_equal(stream_open(&o, &clock_system, in_ms(LONG_MS), &s, &err), BRAID_E_UNAVAILABLE);
    assert_true(elapsed_ms(begun) < SOON_MS);
    assert_non_null(strstr(err.message, address));
    o.address = "127.0.0.1";
    error_clear(&err);
    assert_int_equal(stream_open(&o, &clock_system, 0, &s, &err), BRAID_E_INVALID);
}

/* A listen queue of one that nobody empties: the kernel drops further SYNs. */
static void a_full_listen_queue_ends_at_the_deadline(void **state) {
    (void)state;
    struct sockaddr_in {
        unsigned short family, port;
        unsigned addr;
        char zero[8];
    } at = {.family = AF_INET, .addr = 0x0100007f};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0), held[64];
    assert_int_equal(bind(fd, (void *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 0), 0);
    getsockname(fd, (void *)&at, &size);
    unsigned count = 0;
    for (; count < 8; count++) {
        held[count] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(held[count], (void *)&at, sizeof at);
    }
    usleep(20000);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)((at.port >> 8) | (at.port & 0xff) << 8));
    remote_options o = options_of(address);
    stream *s;
    int64_t begun = now_ns();
    int rc = stream_open(&o, &clock_system, in_ms(150), &s, NULL);
    assert_int_equal(rc, BRAID_E_DEADLINE);
    assert_in_range(elapsed_ms(begun), 149, SOON_MS);
    for (unsigned i = 0; i < count; i++) close(held[i]);
    close(fd);
}

static void quiet_sees_stray_bytes_and_a_closed_end(void **state) {
    (void)state;
    stub_server *server = stub_start(handle_greet_and_hang, NULL, NULL);
    remote_options o = options_of(stub_address(server));
    stream *s = open_stream(&o);
    assert_true(COMES_TRUE(!stream_quiet(s)));
    stream_close(s);
    stub_stop(server);
    server = stub_start(handle_close, NULL, NULL);
    o = options_of(stub_address(server));
    s = open_stream(&o);
    assert_true(COMES_TRUE(!stream_quiet(s)));
    stream_close(s);
    stub_stop(server);
    server = stub_start(handle_hang, NULL, NULL);
    o = options_of(stub_address(server));
    s = open_stream(&o);
    usleep(50000);
    assert_true(stream_quiet(s));
    stream_close(s);
    stub_stop(server);
}

static void *echo_once(void *arg) {
    int fd = accept(*(int *)arg, NULL, NULL);
    char text[4];
    ssize_t n = recv(fd, text, 4, MSG_WAITALL);
    send(fd, text, (size_t)n, MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static void a_path_is_a_unix_socket(void **state) {
    (void)state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "/tmp/braid-stream-%d.sock", (int)getpid());
    unlink(at.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    pthread_t thread;
    assert_int_equal(bind(fd, (void *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 4), 0);
    pthread_create(&thread, NULL, echo_once, &fd);
    remote_options o = options_of(at.sun_path);
    stream *s = open_stream(&o);
    char back[4];
    size_t n;
    assert_int_equal(stream_write(s, "unix", 4, in_ms(LONG_MS), NULL), BRAID_OK);
    assert_int_equal(stream_read(s, back, 4, &n, in_ms(LONG_MS), NULL), BRAID_OK);
    assert_memory_equal(back, "unix", n);
    stream_close(s);
    pthread_join(thread, NULL);
    close(fd);
    unlink(at.sun_path);
}

static void deadlines_run_on_the_clock_that_was_passed_in(void **state) {
    (void)state;
    int64_t origin = now_ns();
    const clock_ops fast = {fast_mono, NULL, &origin};
    stub_server *server = stub_start(handle_hang, NULL, NULL);
    remote_options o = options_of(stub_address(server));
    stream *s;
    char c;
    size_t n;
    assert_int_equal(stream_open(&o, &fast, fast_mono(&origin) + LONG_MS * INT64_C(1000000000), &s, NULL), BRAID_OK);
    assert_int_equal(stream_read(s, &c, 1, &n, fast_mono(&origin) + INT64_C(30000000000), NULL), BRAID_E_DEADLINE);
    assert_in_range(elapsed_ms(origin), 20, SOON_MS);
    stream_close(s);
    stub_stop(server);
}

/* ---- TLS ---- */

static void tls_verifies_the_authority_and_the_name(void **state) {
    (void)state;
    char ca[64], other_ca[64];
    SSL_CTX *tls = stub_tls("127.0.0.1", ca), *other = stub_tls("elsewhere.example", other_ca);
    stub_server *server = stub_start(handle_echo, NULL, tls), *stranger = stub_start(handle_echo, NULL, other);
    remote_options o = options_of(stub_address(server));
    stream *s;
    braid_error err = {0};
    o.tls = true;
    o.tls_ca = ca;
    echo_over(&o);
    o.tls_ca = ""; /* the system does not know this authority */
    assert_int_equal(stream_open(&o, &clock_system, in_ms(LONG_MS), &s, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "certificate"));
    o.tls_ca = other_ca;
    assert_int_equal(stream_open(&o, &clock_system, in_ms(LONG_MS), &s, NULL), BRAID_E_UNAVAILABLE);
    o.tls_insecure = true;
    echo_over(&o);
    o.tls_insecure = false;
    o.address = stub_address(stranger); /* the right authority, another name */
    error_clear(&err);
    assert_int_equal(stream_open(&o, &clock_system, in_ms(LONG_MS), &s, &err), BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "mismatch"));
    o.tls_ca = "/no/such/file";
    assert_int_equal(stream_open(&o, &clock_system, in_ms(LONG_MS), &s, NULL), BRAID_E_INVALID);
    stub_stop(server);
    stub_stop(stranger);
    SSL_CTX_free(tls);
    SSL_CTX_free(other);
    unlink(ca);
    unlink(other_ca);
}

static void tls_verifies_a_host_name_too(void **state) {
    (void)state;
    char ca[64], address[64];
    SSL_CTX *tls = stub_tls("localhost", ca);
    stub_server *server = stub_start(handle_echo, NULL, tls);
    snprintf(address, sizeof address, "localhost%s", strchr(stub_address(server), ':'));
    remote_options o = options_of(address);
    o.tls = true;
    o.tls_ca = ca;
    echo_over(&o);
    stub_stop(server);
    SSL_CTX_free(tls);
    unlink(ca);
}

static void the_handshake_keeps_the_deadline_and_refuses_what_is_not_tls(void **state) {
    (void)state;
    char ca[64];
    SSL_CTX *tls = stub_tls("127.0.0.1", ca);
    stub_server *server = stub_start(handle_hang, NULL, NULL);
    remote_options o = options_of(stub_address(server));
    stream *s;
    o.tls = true;
    o.tls_ca = ca;
    int64_t begun = now_ns();
    assert_int_equal(stream_open(&o, &clock_system, in_ms(100), &s, NULL), BRAID_E_DEADLINE);
    assert_in_range(elapsed_ms(begun), 99, SOON_MS);
    stub_stop(server);
    server = stub_start(handle_greet_and_hang, NULL, NULL);
    o.address = stub_address(server);
    assert_int_equal(stream_open(&o, &clock_system, in_ms(LONG_MS), &s, NULL), BRAID_E_UNAVAILABLE);
    stub_stop(server);
    SSL_CTX_free(tls);
    unlink(ca);
}

/* TLS 1.3 sends tickets after the handshake: they make the socket readable and are no stray bytes. */
static void tls_quiet_is_about_the_protocol_above(void **state) {
    (void)state;
    char ca[64], text[8];
    size_t n;
    SSL_CTX *tls = stub_tls("127.0.0.1", ca);
    stub_server *server = stub_start(handle_hang, NULL, tls);
    remote_options o = options_of(stub_address(server));
    o.tls = true;
    o.tls_ca = ca;
    stream *s = open_stream(&o);
    usleep(50000);
    assert_true(stream_quiet(s));
    assert_int_equal(stream_read(s, text, 1, &n, in_ms(50), NULL), BRAID_E_DEADLINE);
    stream_close(s);
    stub_stop(server);
    server = stub_start(handle_greet_and_close, NULL, tls);
    o.address = stub_address(server);
    s = open_stream(&o);
    assert_true(COMES_TRUE(!stream_quiet(s)));
    assert_int_equal(stream_read(s, text, sizeof text, &n, in_ms(LONG_MS), NULL), BRAID_OK);
    assert_memory_equal(text, "bye!", n);
    assert_int_equal(stream_read(s, text, sizeof text, &n, in_ms(LONG_MS), NULL), BRAID_E_UNAVAILABLE);
    stream_close(s);
    stub_stop(server);
    SSL_CTX_free(tls);
    unlink(ca);
}

static void tls_carries_more_than_a_record(void **state) {
    (void)state;
    char ca[64];
    SSL_CTX *tls = stub_tls("127.0.0.1", ca);
    stub_server *server = stub_start(handle_flood, NULL, tls);
    remote_options o = options_of(stub_address(server));
    o.tls = true;
    o.tls_ca = ca;
    stream *s = open_stream(&o);
    char *block = malloc(1 << 20);
    for (size_t got = 0, n; got < 8 << 20; got += n)
        assert_int_equal(stream_read(s, block, 1 << 20, &n, in_ms(LONG_MS), NULL), BRAID_OK);
    free(block);
    stream_close(s);
    stub_stop(server);
    SSL_CTX_free(tls);
    unlink(ca);
}

static void a_message_names_the_store_and_its_address(void **state) {
    (void)state;
    braid_error err = {0};
    stream *s = NULL;
    remote_options o = {.name = "neo4j", .address = "127.0.0.1:1"};
    assert_int_equal(stream_open(&o, &clock_system, in_ms(LONG_MS), &s, &err), BRAID_E_UNAVAILABLE);
    assert_string_equal(err.store, "neo4j");
    assert_non_null(strstr(err.message, "neo4j at 127.0.0.1:1: "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_names_the_store_and_its_address),
        cmocka_unit_test(what_is_written_arrives_and_comes_back),
        cmocka_unit_test(a_name_is_resolved_and_an_unknown_one_is_unavailable),
        cmocka_unit_test(a_trickling_server_cannot_hold_a_caller_beyond_the_deadline),
        cmocka_unit_test(a_server_whose_next_byte_is_always_there_cannot_either),
        cmocka_unit_test(a_call_without_a_deadline_ends_by_the_timeout_of_the_options),
        cmocka_unit_test(writing_to_one_who_does_not_read_ends_at_the_deadline),
        cmocka_unit_test(a_closed_or_reset_connection_is_unavailable),
        cmocka_unit_test(nobody_listening_is_unavailable_at_once),
        cmocka_unit_test(a_full_listen_queue_ends_at_the_deadline),
        cmocka_unit_test(quiet_sees_stray_bytes_and_a_closed_end),
        cmocka_unit_test(a_path_is_a_unix_socket),
        cmocka_unit_test(deadlines_run_on_the_clock_that_was_passed_in),
        cmocka_unit_test(tls_verifies_the_authority_and_the_name),
        cmocka_unit_test(tls_verifies_a_host_name_too),
        cmocka_unit_test(the_handshake_keeps_the_deadline_and_refuses_what_is_not_tls),
        cmocka_unit_test(tls_quiet_is_about_the_protocol_above),
        cmocka_unit_test(tls_carries_more_than_a_record),
    };
    return cmocka_run_group_tests_name("wire: stream", tests, NULL, NULL);
}
