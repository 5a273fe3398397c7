/* The gRPC channel against a server that does what the test says: what is tried again and what is not, how many
 * calls are in flight, that none is later than its deadline and no answer reaches another call, who may ask, and
 * TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifdef BRAID_HAVE_MILVUS
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <grpc/status.h>

#include "test/support/grpc_stub.h"
#include "test/support/timing.h"
#include "wire/grpc_channel.h"

enum { SPARE_MS = LONG_MS / 10 /* how coarse grpc-timeout is */ };

#define METHOD "/test.Service/Echo"

static remote_options remote_to(const char *address) {
    return (remote_options){.address = address,
                            .user = "",
                            .password = "",
                            .token = "",
                            .tls_ca = "",
                            .database = "",
                            .connections = 32,
                            .timeout_ms = LONG_MS,
                            .retries = 3};
}

static rpc_channel *open_channel(const remote_options *remote, metrics *m) {
    braid_error err = {0};
    rpc_channel *c = NULL;
    rpc_options o = {
        .remote = remote, .store = "vector/test", .answer_bytes_max = 1 << 20, .clock = &clock_system, .metrics = m};
    if (rpc_open(&o, &c, &err) != BRAID_OK) fail_msg("%s", err.message);
    return c;
}

static rpc_message message_of(const char *text) {
    rpc_message m = {malloc(strlen(text) + 1), strlen(text)};
    memcpy(m.data, text, m.len + 1);
    return m;
}

/* One that is connected: an attempt to connect has two seconds, which a machine may need. */
static rpc_channel *connect_channel(const remote_options *remote, metrics *m) {
    rpc_channel *c = open_channel(remote, m);
    buf answer;
    buf_init(&answer, 0);
    assert_true(COMES_TRUE(rpc_call(c, GRPC_STUB_HELLO, message_of(""), 0, NULL, NULL, &answer, NULL) == BRAID_OK));
    buf_free(&answer);
    return c;
}

/* One call; its answer, if any, in `answer`. */
static int ask(rpc_channel *c, const char *text, deadline until, buf *answer, braid_error *err) {
    error_clear(err);
    return rpc_call(c, METHOD, message_of(text), until, NULL, NULL, answer, err);
}

/* ---- what is tried again ---- */

typedef struct script {
    int statuses[8]; /* of the first calls; then well */
    const char *_Atomic details;
    _Atomic int always; /* not 0: of all */
    _Atomic unsigned wait_ms;
    atomic_bool hold;          /* for LONG_MS at most */
    _Atomic unsigned together; /* wait until that many were here at once; then for wait_ms, in case that more come */
    _Atomic int64_t left_ms;
    pthread_mutex_t lock; /* for what follows */
    char authorization[600];
} script;
#define SCRIPT .lock = PTHREAD_MUTEX_INITIALIZER

static void play(grpc_stub_call *c) {
    script *s = c->ctx;
    pthread_mutex_lock(&s->lock);
    snprintf(s->authorization, sizeof s->authorization, "%s", c->authorization);
    pthread_mutex_unlock(&s->lock);
    s->left_ms = c->left_ms;
    for (int ms = 0; ms < LONG_MS && grpc_stub_most_at_once(c->stub) < s->together && grpc_stub_sleep_ms(c, 5);
         ms += 5) {}
    if (s->wait_ms > 0) grpc_stub_sleep_ms(c, s->wait_ms);
    for (int ms = 0; ms < LONG_MS && s->hold && grpc_stub_sleep_ms(c, 5); ms += 5) {}
    c->status = s->always != 0 ? s->always : c->number <= 8 ? s->statuses[c->number - 1] : 0;
    c->details = s->details;
    c->answer = c->request;
    c->answer_len = c->request_len;
}

static void last_authorization(script *s, char out[600]) {
    pthread_mutex_lock(&s->lock);
    memcpy(out, s->authorization, sizeof s->authorization);
    s->authorization[0] = '\0';
    pthread_mutex_unlock(&s->lock);
}

static void only_what_may_be_repeated_is_tried_again(void **state) {
    (void)state;
    static const struct {
        int statuses[4];
        const char *details;
        unsigned retries;
        int code;
        unsigned calls;
    } rows[] = {
        {{GRPC_STATUS_UNAVAILABLE}, "busy", 3, BRAID_OK, 2},
        {{GRPC_STATUS_UNAVAILABLE, GRPC_STATUS_UNAVAILABLE, GRPC_STATUS_UNAVAILABLE}, "busy", 3, BRAID_OK, 4},
        {{GRPC_STATUS_UNAVAILABLE, GRPC_STATUS_UNAVAILABLE, GRPC_STATUS_UNAVAILABLE, GRPC_STATUS_UNAVAILABLE},
         "busy",
         3,
         BRAID_E_UNAVAILABLE,
         4},
        {{GRPC_STATUS_UNAVAILABLE}, "busy", 0, BRAID_E_UNAVAILABLE, 1},
        {{GRPC_STATUS_RESOURCE_EXHAUSTED, GRPC_STATUS_UNAVAILABLE}, "rate limit", 3, BRAID_OK, 3},
        {{GRPC_STATUS_RESOURCE_EXHAUSTED}, "message larger than max", 3, BRAID_E_TOO_LARGE, 1},
        {{GRPC_STATUS_UNAUTHENTICATED}, "who", 3, BRAID_E_INVALID, 1},
        {{GRPC_STATUS_PERMISSION_DENIED}, "no", 3, BRAID_E_INVALID, 1},
        {{GRPC_STATUS_UNIMPLEMENTED}, "what", 3, BRAID_E_INVALID, 1},
        {{GRPC_STATUS_DEADLINE_EXCEEDED}, "slow", 3, BRAID_E_DEADLINE, 1},
        {{GRPC_STATUS_INTERNAL}, "boom", 3, BRAID_E_UNAVAILABLE, 1}, /* it may have been done */
        {{GRPC_STATUS_UNKNOWN}, "boom", 3, BRAID_E_UNAVAILABLE, 1},
        {{GRPC_STATUS_ABORTED}, "boom", 3, BRAID_E_UNAVAILABLE, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        script s = {SCRIPT, .details = rows[i].details};
        memcpy(s.statuses, rows[i].statuses, sizeof rows[i].statuses);
        grpc_stub *stub = grpc_stub_start(play, &s, 2);
        remote_options remote = remote_to(grpc_stub_address(stub));
        remote.retries = rows[i].retries;
        rpc_channel *c = connect_channel(&remote, NULL);
        braid_error err = {0};
        buf answer;
        buf_init(&answer, 0);
        int code = ask(c, "hello", 0, &answer, &err);
        if (code != rows[i].code || grpc_stub_calls(stub) != rows[i].calls)
            fail_msg("row %zu: %s after %u calls: %s", i, error_name(code), grpc_stub_calls(stub), err.message);
        if (code == BRAID_OK) {
            assert_int_equal(answer.len, 5);
            assert_memory_equal(answer.data, "hello", 5);
        } else {
            assert_string_equal(err.store, "vector/test");
            assert_non_null(strstr(err.message, rows[i].code == BRAID_E_INVALID ? "" : grpc_stub_address(stub)));
        }
        buf_free(&answer);
        rpc_close(c);
        grpc_stub_stop(stub);
    }
}

/* What the judge of answers says counts like a status. */
static int judge_thrice(void *ctx, const buf *answer, bool *again, braid_error *err) {
    (void)answer;
    unsigned *looks = ctx;
    if (++*looks == 3) return BRAID_OK;
    *again = *looks < 3;
    return error_set(err, BRAID_E_UNAVAILABLE, "vector/test", "look %u", *looks);
}

static void an_answer_that_is_judged_bad_is_asked_for_again(void **state) {
    (void)state;
    script s = {SCRIPT};
    grpc_stub *stub = grpc_stub_start(play, &s, 2);
    remote_options remote = remote_to(grpc_stub_address(stub));
    rpc_channel *c = connect_channel(&remote, NULL);
    braid_error err = {0};
    buf answer;
    unsigned looks = 0;
    buf_init(&answer, 0);
    assert_int_equal(rpc_call(c, METHOD, message_of("x"), 0, judge_thrice, &looks, &answer, &err), BRAID_OK);
    assert_int_equal(grpc_stub_calls(stub), 3);
    assert_int_equal(err.code, 0); /* of the tries that failed nothing is left */
    looks = 3;
    assert_int_equal(rpc_call(c, METHOD, message_of("x"), 0, judge_thrice, &looks, &answer, &err), BRAID_E_UNAVAILABLE);
    assert_int_equal(grpc_stub_calls(stub), 4);
    buf_free(&answer);
    rpc_close(c);
    grpc_stub_stop(stub);
}

static long counted(metrics *m, const char *name) {
    buf text;
    char line[80];
    buf_init(&text, 0);
    metrics_print(m, &text);
    snprintf(line, sizeof line, "%s{store=\"vector/test\"} ", name);
    const char *at = strstr(text.data, line);
    if (at == NULL) fail_msg("no %s", name);
    long n = atol(at + strlen(line));
    buf_free(&text);
    return n;
}

/* A server in trouble is not given three times the work. */
static void retries_are_a_fifth_of_the_calls_at_most(void **state) {
    (void)state;
    enum { CALLS = 400, SAVED = 20 };
    script s = {SCRIPT, .always = GRPC_STATUS_UNAVAILABLE};
    grpc_stub *stub = grpc_stub_start(play, &s, 2);
    remote_options remote = remote_to(grpc_stub_address(stub));
    metrics *m = metrics_new();
    rpc_channel *c = connect_channel(&remote, m);
    braid_error err = {0};
    buf answer;
    buf_init(&answer, 0);
    long before = counted(m, "rpc_calls_total"), before_retries = counted(m, "rpc_retries_total");
    for (int i = 0; i < CALLS; i++) assert_int_equal(ask(c, "x", 0, &answer, &err), BRAID_E_UNAVAILABLE);
    unsigned calls = grpc_stub_calls(stub);
    print_message("%u tries of %d calls\n", calls, CALLS);
    assert_true(calls > CALLS + CALLS / 10 && calls <= CALLS + CALLS / 5 + SAVED + 1);
    assert_int_equal(counted(m, "rpc_calls_total") - before, calls);
    assert_int_equal(counted(m, "rpc_retries_total") - before_retries, calls - CALLS);
    assert_int_equal(counted(m, "rpc_in_flight"), 0);
    buf_free(&answer);
    rpc_close(c);
    metrics_free(m);
    grpc_stub_stop(stub);
}

/* ---- time ---- */

static void a_silent_server_costs_the_deadline_and_no_more(void **state) {
    (void)state;
    enum { TRIES = 5 };
    script s = {SCRIPT, .hold = true};
    grpc_stub *stub = grpc_stub_start(play, &s, 3 * TRIES + 1);
    remote_options remote = remote_to(grpc_stub_address(stub));
    remote.timeout_ms = 3 * LONG_MS;
    rpc_channel *c = connect_channel(&remote, NULL);
    braid_error err = {0};
    buf answer;
    buf_init(&answer, 0);
    for (int ms = 20; ms <= 180; ms += 80) {
        int64_t took = 0;
        /* Not the first time always: a gRPC server has the deadline too and counts it from when its thread last
         * looked at the clock, so that one which was kept waiting says "too late" early. */
        for (int i = 0; i < TRIES && took < ms - 2; i++) {
            int64_t begun = now_ns();
            assert_int_equal(ask(c, "x", in_ms(ms), &answer, &err), BRAID_E_DEADLINE);
            took = elapsed_ms(begun);
        }
        if (took < ms - 2 || took > SOON_MS) fail_msg("%d ms were allowed, %lld taken", ms, (long long)took);
    }
    s.hold = false;
    assert_int_equal(ask(c, "well", in_ms(2 * LONG_MS), &answer, &err),
                     BRAID_OK); /* the channel is as good as before */
    assert_memory_equal(answer.data, "well", 4);
    assert_true(s.left_ms > LONG_MS && s.left_ms <= 2 * LONG_MS + SPARE_MS); /* the server knows how long we wait */
    assert_int_equal(ask(c, "x", now_ns() - 1, &answer, &err), BRAID_E_DEADLINE);
    unsigned calls = grpc_stub_calls(stub);
    assert_int_equal(ask(c, "own", 0, &answer, &err), BRAID_OK); /* 0: the channel's own time-out */
    assert_int_equal(grpc_stub_calls(stub), calls + 1);
    assert_true(s.left_ms > 2 * LONG_MS + SPARE_MS && s.left_ms <= 3 * LONG_MS + SPARE_MS);
    buf_free(&answer);
    rpc_close(c);
    grpc_stub_stop(stub);
}

/* Retries share the deadline: as many as fit, although a thousand were allowed and the budget has twenty. */
static void retries_end_with_the_deadline(void **state) {
    (void)state;
    enum { ALLOWED_MS = 100, ANSWER_MS = 20 };
    for (int round = 0; round < 5; round++) {
        script s = {SCRIPT, .always = GRPC_STATUS_UNAVAILABLE, .wait_ms = ANSWER_MS};
        grpc_stub *stub = grpc_stub_start(play, &s, 4);
        remote_options remote = remote_to(grpc_stub_address(stub));
        remote.retries = 1000;
        rpc_channel *c = connect_channel(&remote, NULL);
        buf answer;
        buf_init(&answer, 0);
        braid_error err = {0};
        int64_t begun = now_ns();
        int code = ask(c, "x", in_ms(ALLOWED_MS), &answer, &err);
        assert_true(code == BRAID_E_UNAVAILABLE || code == BRAID_E_DEADLINE);
        assert_true(elapsed_ms(begun) < SOON_MS);
        assert_in_range(grpc_stub_calls(stub), 0, ALLOWED_MS / ANSWER_MS + 1);
        buf_free(&answer);
        rpc_close(c);
        grpc_stub_stop(stub);
    }
}

static void nothing(stub_conn *c) {
    stub_sleep_ms(c, LONG_MS);
}

static void another_protocol(stub_conn *c) {
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    stub_write(c, text, sizeof text - 1);
    stub_sleep_ms(c, 50);
}

/* A port that takes connections and says nothing, one that speaks something else, one where nobody listens. */
static void what_is_no_grpc_server_is_told_in_time(void **state) {
    (void)state;
    void (*const handlers[])(stub_conn *) = {nothing, another_protocol, NULL};
    for (size_t i = 0; i < 3; i++) {
        stub_server *stub = stub_start(handlers[i] != NULL ? handlers[i] : nothing, NULL, NULL);
        char address[64];
        snprintf(address, sizeof address, "%s", stub_address(stub));
        if (handlers[i] == NULL) {
            stub_stop(stub);
            stub = NULL;
        }
        remote_options remote = remote_to(address);
        rpc_channel *c = open_channel(&remote, NULL);
        buf answer;
        buf_init(&answer, 0);
        for (int round = 0; round < 3; round++) {
            braid_error err = {0};
            int64_t begun = now_ns();
            int code = ask(c, "x", in_ms(300), &answer, &err);
            if (code != BRAID_E_UNAVAILABLE && code != BRAID_E_DEADLINE) fail_msg("%s", error_name(code));
            assert_true(elapsed_ms(begun) < SOON_MS);
            assert_non_null(strstr(err.message, address));
        }
        buf_free(&answer);
        rpc_close(c);
        if (stub != NULL) stub_stop(stub);
    }
}

/* ---- many at once ---- */

typedef struct counts {
    _Atomic unsigned good, late, full, wrong;
} counts;

/* How long a call may take, by what it asks. */
typedef int allowed_ms(const char *text);
static int plenty(const char *text) {
    return (void)text, LONG_MS;
}
static int little(const char *text) {
    return (void)text, 100;
}

typedef struct asker {
    rpc_channel *c;
    unsigned number, calls;
    allowed_ms *allowed;
    counts *n;
    pthread_t thread;
} asker;

static void *ask_on(void *ctx) {
    asker *a = ctx;
    buf answer;
    buf_init(&answer, 0);
    for (unsigned i = 0; i < a->calls; i++) {
        braid_error err = {0};
        char text[64];
        snprintf(text, sizeof text, "secret of %u, call %u", a->number, i);
        int code = ask(a->c, text, in_ms(a->allowed(text)), &answer, &err);
        if (code == BRAID_E_DEADLINE)
            atomic_fetch_add(strstr(err.message, "in flight") != NULL ? &a->n->full : &a->n->late, 1);
        else if (code != BRAID_OK || answer.len != strlen(text) || memcmp(answer.data, text, answer.len) != 0)
            atomic_fetch_add(&a->n->wrong, 1);
        else
            atomic_fetch_add(&a->n->good, 1);
    }
    buf_free(&answer);
    return NULL;
}

static void start_asking(asker *a, unsigned threads, rpc_channel *c, unsigned calls, allowed_ms *allowed, counts *n) {
    for (unsigned i = 0; i < threads; i++) {
        a[i] = (asker){.c = c, .number = i, .calls = calls, .allowed = allowed, .n = n};
        assert_int_equal(pthread_create(&a[i].thread, NULL, ask_on, &a[i]), 0);
    }
}

static void end_asking(asker *a, unsigned threads) {
    for (unsigned i = 0; i < threads; i++) pthread_join(a[i].thread, NULL);
}

static void no_more_are_in_flight_than_were_asked_for(void **state) {
    (void)state;
    enum { SLOTS = 4, THREADS = 16 };
    script s = {SCRIPT, .together = SLOTS, .wait_ms = 30};
    asker a[THREADS];
    grpc_stub *stub = grpc_stub_start(play, &s, 32);
    remote_options remote = remote_to(grpc_stub_address(stub));
    remote.connections = SLOTS;
    rpc_channel *c = connect_channel(&remote, NULL);
    counts n = {0};
    start_asking(a, THREADS, c, 4, plenty, &n);
    end_asking(a, THREADS);
    assert_int_equal(grpc_stub_most_at_once(stub), SLOTS);
    assert_int_equal(n.good, 4 * THREADS);
    /* While all slots are held, those that wait too long are told why. */
    s.hold = true;
    counts held = {0}, late = {0};
    unsigned calls = grpc_stub_calls(stub);
    start_asking(a, SLOTS, c, 1, plenty, &held);
    assert_true(COMES_TRUE(grpc_stub_calls(stub) == calls + SLOTS));
    start_asking(a + SLOTS, THREADS - SLOTS, c, 1, little, &late);
    end_asking(a + SLOTS, THREADS - SLOTS);
    s.hold = false;
    end_asking(a, SLOTS);
    assert_int_equal(late.full, THREADS - SLOTS);
    assert_int_equal(held.good, SLOTS);
    rpc_close(c);
    remote.connections = 2000;
    braid_error err = {0};
    rpc_options o = {.remote = &remote, .store = "vector/test", .answer_bytes_max = 1000, .clock = &clock_system};
    assert_int_equal(rpc_open(&o, &c, &err), BRAID_E_INVALID);
    assert_null(c);
    grpc_stub_stop(stub);
}

/* R14: half of the answers come after their call has given up; each call still sees its own answer or none. */
static bool is_slow(const void *request, size_t len) {
    const unsigned char *p = request;
    unsigned char hash = 0;
    for (size_t i = 0; i < len; i++) hash = (unsigned char)(hash * 31 + p[i]);
    return (hash & 1) != 0;
}

static int allowed_by_half(const char *text) {
    return is_slow(text, strlen(text)) ? 25 : LONG_MS;
}

static void answer_half_late(grpc_stub_call *c) {
    if (is_slow(c->request, c->request_len)) grpc_stub_sleep_ms(c, 30);
    c->answer = c->request;
    c->answer_len = c->request_len;
}

static void no_answer_reaches_another_call(void **state) {
    (void)state;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    enum { THREADS = 16, CALLS = 20 };
#else
    enum { THREADS = 48, CALLS = 100 };
#endif
    asker a[THREADS];
    unsigned quick = 0;
    for (unsigned i = 0; i < THREADS * CALLS; i++) {
        char text[64];
        snprintf(text, sizeof text, "secret of %u, call %u", i / CALLS, i % CALLS);
        quick += !is_slow(text, strlen(text));
    }
    grpc_stub *stub = grpc_stub_start(answer_half_late, NULL, THREADS + THREADS / 4);
    remote_options remote = remote_to(grpc_stub_address(stub));
    rpc_channel *c = connect_channel(&remote, NULL);
    counts n = {0};
    start_asking(a, THREADS, c, CALLS, allowed_by_half, &n);
    end_asking(a, THREADS);
    print_message("%u answered, %u too late, %u found no slot; %u had time\n", n.good, n.late, n.full, quick);
    assert_int_equal(n.wrong, 0);
    assert_true(n.good >= quick && quick > THREADS && n.late > 0);
    rpc_close(c);
    grpc_stub_stop(stub);
}

/* ---- sizes ---- */

static void answer_large(grpc_stub_call *c) {
    static char large[1 << 21];
    c->answer = large;
    c->answer_len = atomic_load((_Atomic size_t *)c->ctx);
    c->no_answer = c->answer_len == 0;
}

static void an_answer_too_large_or_none_is_refused(void **state) {
    (void)state;
    _Atomic size_t len = 1 << 20;
    grpc_stub *stub = grpc_stub_start(answer_large, &len, 2);
    remote_options remote = remote_to(grpc_stub_address(stub));
    rpc_channel *c = connect_channel(&remote, NULL);
    braid_error err = {0};
    buf answer;
    buf_init(&answer, 0);
    assert_int_equal(ask(c, "x", 0, &answer, &err), BRAID_OK);
    assert_int_equal(answer.len, len);
    len++;
    assert_int_equal(ask(c, "x", 0, &answer, &err), BRAID_E_TOO_LARGE);
    len = 0;
    int code = ask(c, "x", 0, &answer, &err);
    assert_true(code == BRAID_E_CORRUPT || code == BRAID_E_UNAVAILABLE);
    buf_free(&answer);
    rpc_close(c);
    grpc_stub_stop(stub);
}

/* ---- who may ask ---- */

static void assert_sends(const char *user, const char *password, const char *token, const char *wanted) {
    script s = {SCRIPT};
    unsigned char encoded[600] = "";
    char got[600];
    grpc_stub *stub = grpc_stub_start(play, &s, 2);
    remote_options remote = remote_to(grpc_stub_address(stub));
    remote.user = user;
    remote.password = password;
    remote.token = token;
    rpc_channel *c = connect_channel(&remote, NULL);
    braid_error err = {0};
    buf answer;
    buf_init(&answer, 0);
    if (wanted[0] != '\0') EVP_EncodeBlock(encoded, (const unsigned char *)wanted, (int)strlen(wanted));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(c, "x", 0, &answer, &err), BRAID_OK);
        last_authorization(&s, got);
        assert_string_equal(got, (const char *)encoded);
    }
    s.always = GRPC_STATUS_UNAUTHENTICATED;
    s.details = "auth check failure";
    assert_int_equal(ask(c, "x", 0, &answer, &err), BRAID_E_INVALID);
    assert_non_null(strstr(err.message, "check user, password and token"));
    if (password[0] != '\0') assert_null(strstr(err.message, password));
    if (token[0] != '\0') assert_null(strstr(err.message, token));
    buf_free(&answer);
    rpc_close(c);
    grpc_stub_stop(stub);
}

static void who_asks_is_said_with_every_call(void **state) {
    (void)state;
    assert_sends("", "", "", "");
    assert_sends("root", "Milvus:1 é", "", "root:Milvus:1 é");
    assert_sends("only", "", "", "only:");
    assert_sends("root", "Xk9!z", "a-tk", "a-tk"); /* the token goes first */
    char longer[400];
    memset(longer, 'k', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_sends("", "", longer, longer);
}

/* ---- TLS ---- */

static int ask_over_tls(const char *address, const char *ca, bool insecure, char *said, script *s, char *sent) {
    remote_options remote = remote_to(address);
    remote.tls = true;
    remote.tls_ca = ca;
    remote.tls_insecure = insecure;
    remote.user = "root";
    remote.password = "pass";
    braid_error err = {0};
    rpc_channel *c = NULL;
    buf answer;
    buf_init(&answer, 0);
    last_authorization(s, sent);
    rpc_options o = {.remote = &remote, .store = "vector/test", .answer_bytes_max = 1 << 20, .clock = &clock_system};
    int code = rpc_open(&o, &c, &err);
    if (code == BRAID_OK) code = ask(c, "hello", in_ms(LONG_MS), &answer, &err);
    if (code == BRAID_OK) assert_memory_equal(answer.data, "hello", 5);
    snprintf(said, 300, "%s", err.message);
    last_authorization(s, sent);
    buf_free(&answer);
    rpc_close(c);
    return code;
}

static void tls_is_verified_by_authority_and_name(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    print_message("left out: OpenSSL on gRPC's threads is not instrumented\n");
    skip();
#endif
    script s = {SCRIPT};
    grpc_stub *stub = grpc_stub_start(play, &s, 4);
    char ca[64], other[64], said[300], sent[600];
    SSL_CTX *good = stub_tls("127.0.0.1", ca), *misnamed = stub_tls("db.example.org", other);
    stub_server *door = grpc_stub_tls(grpc_stub_address(stub), good);
    stub_server *wrong = grpc_stub_tls(grpc_stub_address(stub), misnamed);
    /* What is to be let in is asked for until it is: one attempt to connect has two seconds, which a machine may
     * need. */
    assert_true(COMES_TRUE(ask_over_tls(stub_address(door), ca, false, said, &s, sent) == BRAID_OK));
    assert_string_equal(sent, "cm9vdDpwYXNz");
    /* not its authority */
    assert_int_not_equal(ask_over_tls(stub_address(door), other, false, said, &s, sent), BRAID_OK);
    assert_string_equal(sent, "");
    assert_int_not_equal(ask_over_tls(stub_address(door), "", false, said, &s, sent),
                         BRAID_OK); /* nor one of the system's */
    assert_int_not_equal(ask_over_tls(stub_address(wrong), other, false, said, &s, sent), BRAID_OK); /* not its name */
    assert_string_equal(sent, "");
    assert_true(
        COMES_TRUE(ask_over_tls(stub_address(wrong), "", true, said, &s, sent) == BRAID_OK)); /* told to look away */
    /* A server without TLS is not spoken to in the clear. */
    assert_int_not_equal(ask_over_tls(grpc_stub_address(stub), ca, false, said, &s, sent), BRAID_OK);
    assert_string_equal(sent, "");
    assert_int_equal(ask_over_tls(stub_address(door), "/nowhere/ca.pem", false, said, &s, sent), BRAID_E_INVALID);
    assert_non_null(strstr(said, "/nowhere/ca.pem"));
    assert_int_equal(ask_over_tls(stub_address(door), "/proc/self/status", false, said, &s, sent), BRAID_E_INVALID);
    assert_non_null(strstr(said, "PEM"));
    stub_stop(door);
    stub_stop(wrong);
    grpc_stub_stop(stub);
    SSL_CTX_free(good);
    SSL_CTX_free(misnamed);
    unlink(ca);
    unlink(other);
}

static void addresses_that_are_none_are_refused_at_once(void **state) {
    (void)state;
    static const char *const bad[] = {"", "nohost", "host:", "host:0", "host:99999", ":19530", "[::1:19530", NULL};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        braid_error err = {0};
        rpc_channel *c = (rpc_channel *)&err;
        remote_options remote = remote_to(bad[i]);
        rpc_options o = {.remote = &remote, .store = "vector/test", .answer_bytes_max = 1000, .clock = &clock_system};
        assert_int_equal(rpc_open(&o, &c, &err), BRAID_E_INVALID);
        assert_null(c);
        assert_non_null(strstr(err.message, "HOST:PORT"));
    }
}

/* gRPC's threads end a moment after it was shut down, and what OpenSSL keeps for each of them goes with it: a
 * checker of leaks that came earlier would take it for lost. */
static int wait_for_threads(void **state) {
    (void)state;
#ifndef __SANITIZE_THREAD__ /* looks for no leaks, and has a thread of its own that never ends */
    struct stat tasks;
    (void)COMES_TRUE(stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink == 3); /* ".", ".." and this one */
#endif
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_may_be_repeated_is_tried_again),
        cmocka_unit_test(an_answer_that_is_judged_bad_is_asked_for_again),
        cmocka_unit_test(retries_are_a_fifth_of_the_calls_at_most),
        cmocka_unit_test(a_silent_server_costs_the_deadline_and_no_more),
        cmocka_unit_test(retries_end_with_the_deadline),
        cmocka_unit_test(what_is_no_grpc_server_is_told_in_time),
        cmocka_unit_test(no_more_are_in_flight_than_were_asked_for),
        cmocka_unit_test(no_answer_reaches_another_call),
        cmocka_unit_test(an_answer_too_large_or_none_is_refused),
        cmocka_unit_test(who_asks_is_said_with_every_call),
        cmocka_unit_test(tls_is_verified_by_authority_and_name),
        cmocka_unit_test(addresses_that_are_none_are_refused_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, wait_for_threads);
}
#else
int main(void) {
    printf("skipped: built without Milvus (gRPC and protobuf-c)\n");
    return 0;
}
#endif
