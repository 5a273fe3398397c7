/* The reaper: a connection is cut off after its deadline and not before, and never when the server is to blame. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/listen.h"
#include "server/reaper.h"

enum { ALLOWED_US = 200 * 1000, LATE_MS = 60000 /* a cut that is due comes by then on any machine */ };

static void pair(int fds[2]) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* Microseconds until the other side sees the end, or -1 after `most_ms`. */
static int64_t end_after(int fd, int most_ms) {
    int64_t start = reaper_now_us();
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char byte;
    if (poll(&p, 1, most_ms) != 1) return -1;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0 ? reaper_now_us() - start : -1;
}

/* A new connection of which was said, while its first time lasted, that the server is at work (0) or that an answer
 * is due by then. Where the machine took longer to say so, another one. */
static reaper_connection *add_in_time(reaper *r, int fds[2], int64_t answer_us) {
    for (;;) {
        pair(fds);
        int64_t begun = reaper_now_us();
        reaper_connection *c = reaper_add(r, fds[0]);
        if (answer_us == 0)
            reaper_set(r, c, 0);
        else
            reaper_set_answering(r, c, begun + answer_us);
        if (reaper_now_us() - begun < ALLOWED_US) return c;
        reaper_remove(r, c);
        close(fds[0]);
        close(fds[1]);
    }
}

static void a_silent_connection_is_cut_at_its_deadline(void **state) {
    (void)state;
    int fds[2];
    pair(fds);
    reaper *r = reaper_start(ALLOWED_US);
    int64_t begun = reaper_now_us();
    reaper_connection *c = reaper_add(r, fds[0]);
    assert_true(end_after(fds[1], LATE_MS) >= 0);
    assert_true(reaper_now_us() - begun >= ALLOWED_US);
    reaper_remove(r, c);
    reaper_stop(r);
    close(fds[0]);
    close(fds[1]);
}

static void work_of_the_server_is_not_counted(void **state) {
    (void)state;
    int fds[2];
    reaper *r = reaper_start(ALLOWED_US);
    reaper_connection *c = add_in_time(r, fds, 0);
    assert_int_equal(end_after(fds[1], 600), -1);
    reaper_set(r, c, reaper_now_us() + 1);
    assert_true(end_after(fds[1], LATE_MS) >= 0);
    reaper_remove(r, c);
    reaper_stop(r);
    close(fds[0]);
    close(fds[1]);
}

static void bytes_that_wait_unread_put_the_cut_off(void **state) {
    (void)state;
    int fds[2];
    char byte = 'x';
    pair(fds);
    reaper *r = reaper_start(ALLOWED_US);
    assert_int_equal(send(fds[1], &byte, 1, 0), 1);
    reaper_connection *c = reaper_add(r, fds[0]);
    assert_int_equal(end_after(fds[1], 800), -1); /* four deadlines long */
    assert_int_equal(recv(fds[0], &byte, 1, 0), 1);
    assert_true(end_after(fds[1], LATE_MS) >= 0);
    reaper_remove(r, c);
    reaper_stop(r);
    close(fds[0]);
    close(fds[1]);
}

static void an_answer_that_is_not_taken_is_cut_though_bytes_wait(void **state) {
    (void)state;
    int fds[2];
    char data[4096] = "x";
    pair(fds);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    reaper *r = reaper_start(ALLOWED_US);
    reaper_connection *c = reaper_add(r, fds[0]);
    assert_int_equal(send(fds[1], data, 1, 0), 1); /* the client's next request waits unread */
    while (send(fds[0], data, sizeof data, 0) > 0) {}
    reaper_set_answering(r, c, reaper_now_us() + ALLOWED_US);
    nanosleep(&(struct timespec){.tv_nsec = ALLOWED_US * 2000}, NULL);
    ssize_t n;
    while ((n = recv(fds[1], data, sizeof data, 0)) > 0) {} /* would wait for ever if it were not cut */
    assert_int_equal(n, 0);
    reaper_remove(r, c);
    reaper_stop(r);
    close(fds[0]);
    close(fds[1]);
}

static void an_answer_that_was_taken_is_the_servers_turn(void **state) {
    (void)state;
    int fds[2];
    reaper *r = reaper_start(ALLOWED_US);
    reaper_connection *c = add_in_time(r, fds, 1);
    assert_int_equal(end_after(fds[1], 600), -1);
    reaper_remove(r, c);
    reaper_stop(r);
    close(fds[0]);
    close(fds[1]);
}

static void a_removed_connection_is_never_touched(void **state) {
    (void)state;
    int fds[2];
    reaper *r = reaper_start(ALLOWED_US);
    reaper_remove(r, add_in_time(r, fds, ALLOWED_US));
    assert_int_equal(end_after(fds[1], 600), -1);
    reaper_stop(r);
    close(fds[0]);
    close(fds[1]);
}

static void a_shutdown_spares_those_with_a_request_in_hand(void **state) {
    (void)state;
    int idle[2], busy[2];
    pair(idle);
    pair(busy);
    reaper *r = reaper_start(60 * 1000 * 1000);
    reaper_connection *a = reaper_add(r, idle[0]), *b = reaper_add(r, busy[0]);
    reaper_busy(r, b, true);
    assert_int_equal(reaper_shutdown(r, false), 1);
    assert_true(end_after(idle[1], LATE_MS) >= 0);
    assert_int_equal(end_after(busy[1], 100), -1);
    reaper_shutdown(r, true);
    assert_true(end_after(busy[1], LATE_MS) >= 0);
    reaper_remove(r, a);
    reaper_remove(r, b);
    reaper_stop(r);
    close(idle[0]);
    close(idle[1]);
    close(busy[0]);
    close(busy[1]);
}

/* Opens and closes connections that reuse each other's numbers; none is cut, for none lives as long as its deadline. */
static void *churn(void *arg) {
    reaper *r = arg;
    for (int i = 0; i < 3000; i++) {
        int fds[2];
        char byte = 'x';
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return "socketpair";
        reaper_connection *c = reaper_add(r, fds[0]);
        reaper_set(r, c, reaper_now_us() + (i % 5 == 0 ? 0 : ALLOWED_US * 1000)); /* every fifth is late at once */
        bool sent = send(fds[1], &byte, 1, MSG_NOSIGNAL) == 1;
        reaper_remove(r, c);
        bool alive = sent && send(fds[0], &byte, 1, MSG_NOSIGNAL) == 1;
        close(fds[0]);
        close(fds[1]);
        if (i % 5 != 0 && !alive) return "cut off too early";
    }
    return NULL;
}

static void a_reused_number_is_not_cut_for_its_predecessor(void **state) {
    (void)state;
    pthread_t threads[4];
    reaper *r = reaper_start(ALLOWED_US * 1000);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, churn, r), 0);
    for (int i = 0; i < 4; i++) {
        void *why;
        pthread_join(threads[i], &why);
        assert_null(why);
    }
    reaper_stop(r);
}

static void an_address_to_listen_on_is_checked(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "8080",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:x",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "::1:80",
                                      "no.such.host.invalid:1",
                                      "1:2:3"};
    char url[LISTEN_URL_MAX];
    int fd, other;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        braid_error err = {0};
        if (listen_open(bad[i], &fd, url, &err) != BRAID_E_INVALID) fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(fd, -1);
        assert_true(strlen(err.message) > 10);
    }
    braid_error err = {0};
    assert_int_equal(listen_open("127.0.0.1:0", &fd, url, &err), BRAID_OK);
    assert_memory_equal(url, "http://127.0.0.1:", 17);
    assert_int_equal(listen_open(url + 7, &other, url, &err), BRAID_E_IO);
    assert_non_null(strstr(err.message, "is taken"));
    assert_int_equal(listen_open("203.0.113.7:0", &other, url, NULL), BRAID_E_IO);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_connection_is_cut_at_its_deadline),
        cmocka_unit_test(work_of_the_server_is_not_counted),
        cmocka_unit_test(bytes_that_wait_unread_put_the_cut_off),
        cmocka_unit_test(an_answer_that_is_not_taken_is_cut_though_bytes_wait),
        cmocka_unit_test(an_answer_that_was_taken_is_the_servers_turn),
        cmocka_unit_test(a_removed_connection_is_never_touched),
        cmocka_unit_test(a_shutdown_spares_those_with_a_request_in_hand),
        cmocka_unit_test(a_reused_number_is_not_cut_for_its_predecessor),
        cmocka_unit_test(an_address_to_listen_on_is_checked),
    };
    return cmocka_run_group_tests_name("server_reaper", tests, NULL, NULL);
}
