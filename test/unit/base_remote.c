/* base: remote. An address is HOST:PORT or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/base.h"

static void an_address_is_split_into_host_and_port(void **state) {
    (void)state;
    static const struct {
        const char *address, *host;
        unsigned port;
    } good[] = {
        {"127.0.0.1:6379", "127.0.0.1", 6379},           {"localhost:1", "localhost", 1},
        {"db.example:65535", "db.example", 65535},       {"[::1]:7687", "::1", 7687},
        {"[fe80::1%eth0]:19530", "fe80::1%eth0", 19530}, {"x:80", "x", 80},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char host[64];
        unsigned port = 0;
        if (!remote_split(good[i].address, host, sizeof host, &port)) fail_msg("%s was refused", good[i].address);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
}

static void anything_else_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        ":",
        "host",
        "host:",
        ":6379",
        "host:0",
        "host:65536",
        "host:99999999999",
        "host:-1",
        "host:+1",
        "host: 1",
        "host:1 ",
        "host:1x",
        "host:01",
        "::1:6379",
        "fe80::1",
        "[::1]",
        "[::1]6379",
        "[::1",
        "[]:1",
        "[::1]:",
        "a b:1",
        "host:1:2",
        "/run/redis.sock",
        "http://host:1",
        "a]b:1",
        "a\nb:1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char host[64];
        unsigned port;
        if (remote_split(bad[i], host, sizeof host, &port))
            fail_msg("\"%s\" was taken as \"%s\" and %u", bad[i], host, port);
    }
    char host[64];
    unsigned port;
    assert_false(remote_split(NULL, host, sizeof host, &port));
}

static void a_host_that_does_not_fit_is_refused_not_cut(void **state) {
    (void)state;
    char host[5];
    unsigned port;
    assert_true(remote_split("four:1", host, sizeof host, &port));
    assert_false(remote_split("fives:1", host, sizeof host, &port));
}

static void a_batch_has_its_own_time_and_never_less_than_a_call(void **state) {
    (void)state;
    assert_int_equal(remote_write_ms(&(remote_options){.timeout_ms = 2000}), REMOTE_WRITE_TIMEOUT_MS);
    assert_int_equal(remote_write_ms(&(remote_options){.timeout_ms = 2000, .write_timeout_ms = 5000}), 5000);
    assert_int_equal(remote_write_ms(&(remote_options){.timeout_ms = 60000, .write_timeout_ms = 5000}), 60000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_split_into_host_and_port),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(a_host_that_does_not_fit_is_refused_not_cut),
        cmocka_unit_test(a_batch_has_its_own_time_and_never_less_than_a_call),
    };
    return cmocka_run_group_tests_name("base: remote", tests, NULL, NULL);
}
