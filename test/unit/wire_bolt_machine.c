/* The Bolt machine without a socket: chunks, order of requests, order of replies, and what is no Bolt at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire/bolt_chunk.h"
#include "wire/bolt_machine.h"

/* ---- a server's bytes ---- */

static void chunked(buf *out, const buf *message) {
    size_t at = bolt_chunk_open(out);
    buf_add(out, message->data, message->len);
    assert_true(bolt_chunk_close(out, at));
}

/* SUCCESS or FAILURE with pairs of text; a value that begins with '#' is an integer, '!' a boolean, '[' a list of
 * one. */
static void put_map_message(buf *out, uint8_t tag, const char *const *pairs) {
    buf m;
    size_t n = 0;
    buf_init(&m, 0);
    while (pairs[2 * n] != NULL) n++;
    ps_put_struct(&m, tag, 1);
    ps_put_map(&m, n);
    for (size_t i = 0; i < n; i++) {
        const char *value = pairs[2 * i + 1];
        ps_put_str(&m, pairs[2 * i]);
        if (value[0] == '#')
            ps_put_int(&m, atoi(value + 1));
        else if (value[0] == '!')
            ps_put_bool(&m, value[1] == 't');
        else if (value[0] == '[')
            ps_put_strs(&m, (const char *const[]){value + 1}, 1);
        else
            ps_put_str(&m, value);
    }
    chunked(out, &m);
    buf_free(&m);
}

#define SUCCESS(out, ...) put_map_message(out, 0x70, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define FAILURE(out, failure_code)                                                                                     \
    put_map_message(out, 0x7F, (const char *const[]){"code", failure_code, "message", "no", NULL})

static void IGNORED(buf *out) {
    buf m;
    buf_init(&m, 0);
    ps_put_struct(&m, 0x7E, 0);
    chunked(out, &m);
    buf_free(&m);
}

static void RECORD(buf *out, int64_t value) {
    buf m;
    buf_init(&m, 0);
    ps_put_struct(&m, 0x71, 1);
    ps_put_list(&m, 1);
    ps_put_int(&m, value);
    chunked(out, &m);
    buf_free(&m);
}

/* ---- the client's side ---- */

static const bolt_auth ana = {.user = "ana", .password = "s3cret-word"};
static const bolt_begin reading = {.access = BOLT_READ};

static void sent(bolt_machine *m) {
    size_t len;
    bolt_machine_output(m, &len);
    bolt_machine_sent(m, len);
}

static void feed(bolt_machine *m, buf *bytes) {
    assert_int_equal(bolt_machine_feed(m, bytes->data, bytes->len, NULL), BRAID_OK);
    buf_reset(bytes);
}

static bolt_reply next(bolt_machine *m, bolt_reply_kind kind) {
    bolt_reply reply;
    braid_error err = {0};
    if (bolt_machine_next(m, &reply, &err) != BRAID_OK) fail_msg("%s", err.message);
    assert_int_equal(reply.kind, kind);
    return reply;
}

static void refused(bolt_machine *m, int code, const char *why) {
    bolt_reply reply;
    braid_error err = {0};
    assert_int_equal(bolt_machine_next(m, &reply, &err), code);
    assert_int_equal(reply.kind, BOLT_NOTHING);
    if (strstr(err.message, why) == NULL) fail_msg("expected \"%s\", found \"%s\"", why, err.message);
    assert_int_equal(bolt_machine_state(m), BOLT_DEFUNCT);
    assert_int_equal(bolt_machine_next(m, &reply, NULL), BRAID_E_UNAVAILABLE); /* and it stays so */
}

static bolt_machine *machine_of(uint8_t major, uint8_t minor, size_t message_max) {
    bolt_machine *m;
    assert_int_equal(
        bolt_machine_new(&(bolt_machine_options){.message_max = message_max, .request_max = 1 << 20}, &m, NULL),
        BRAID_OK);
    sent(m);
    bolt_machine_feed(m, (const uint8_t[]){0, 0, minor, major}, 4, NULL);
    next(m, BOLT_VERSION);
    return m;
}

static bolt_machine *ready(void) {
    bolt_machine *m = machine_of(5, 4, 0);
    buf b;
    buf_init(&b, 0);
    bolt_machine_hello(m, "test/1", &ana, false, NULL);
    bolt_machine_logon(m, &ana, NULL);
    sent(m);
    SUCCESS(&b, "server", "Neo4j/5.9.0");
    SUCCESS(&b);
    feed(m, &b);
    next(m, BOLT_SUCCESS);
    next(m, BOLT_SUCCESS);
    assert_true(bolt_machine_clean(m));
    buf_free(&b);
    return m;
}

/* ---- chunks ---- */

static void a_message_of_any_length_survives_its_chunks(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 65534, 65535, 65536, 65537, 131070, 131071, 200000, 700001};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i], pieces[] = {1, 3, 4096, 1 << 20};
        uint8_t *bytes = malloc(n);
        for (size_t k = 0; k < n; k++) bytes[k] = (uint8_t)(k * 31 + k / 257);
        buf out;
        buf_init(&out, 0);
        buf_puts(&out, "before");
        size_t at = bolt_chunk_open(&out);
        buf_add(&out, bytes, n);
        assert_true(bolt_chunk_close(&out, at));
        assert_int_equal(out.len, 6 + n + 2 * ((n + 65534) / 65535) + 2);
        for (size_t p = 0; p < 4; p++) {
            bolt_inbox in;
            const uint8_t *data = NULL;
            size_t len = 0;
            bolt_inbox_init(&in, n);
            for (size_t k = 6; k < out.len; k += pieces[p]) {
                size_t room, piece = out.len - k < pieces[p] ? out.len - k : pieces[p];
                for (size_t done = 0; done < piece;) {
                    uint8_t *to = bolt_inbox_room(&in, &room);
                    size_t take = piece - done < room ? piece - done : room;
                    memcpy(to, out.data + k + done, take);
                    bolt_inbox_fed(&in, take);
                    done += take;
                    assert_null(data);
                    assert_true(bolt_inbox_next(&in, &data, &len));
                }
            }
            assert_non_null(data);
            assert_int_equal(len, n);
            assert_memory_equal(data, bytes, n);
            assert_true(in.cap <= 2 * n + (256 << 10));
            bolt_inbox_free(&in);
        }
        buf_free(&out);
        free(bytes);
    }
}

/* 1,000 chunks of 65,535 are announced, none is sent in full. */
static void an_announced_length_costs_nothing(void **state) {
    (void)state;
    bolt_inbox in;
    const uint8_t *data;
    size_t len, room;
    bolt_inbox_init(&in, 64 << 20);
    uint8_t *to = bolt_inbox_room(&in, &room);
    memcpy(to, "\xFF\xFF", 2);
    bolt_inbox_fed(&in, 2);
    assert_true(bolt_inbox_next(&in, &data, &len));
    assert_null(data);
    assert_true(in.cap <= 64 << 10);
    bolt_inbox_free(&in);
}

static void a_message_over_the_limit_is_refused_before_it_is_there(void **state) {
    (void)state;
    bolt_machine *m = machine_of(5, 4, 100000);
    static const uint8_t zeros[70000];
    bolt_machine_hello(m, "test/1", &ana, false, NULL);
    bolt_machine_feed(m, "\xFF\xFF", 2, NULL);
    bolt_machine_feed(m, zeros, 65535, NULL);
    next(m, BOLT_NOTHING);
    bolt_machine_feed(m, "\xFF\xFF", 2, NULL);
    refused(m, BRAID_E_TOO_LARGE, "over 100000 bytes");
    bolt_machine_free(m);
}

/* ---- the handshake ---- */

static void offers_are_5_8_to_5_0_and_4_4(void **state) {
    (void)state;
    bolt_machine *m;
    size_t len;
    assert_int_equal(bolt_machine_new(&(bolt_machine_options){0}, &m, NULL), BRAID_OK);
    const void *out = bolt_machine_output(m, &len);
    assert_int_equal(len, 20);
    assert_memory_equal(out, "\x60\x60\xB0\x17\0\x08\x08\x05\0\0\x04\x04\0\0\0\0\0\0\0\0", 20);
    bolt_machine_free(m);
}

static void other_servers_are_recognised(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        int code;
        const char *why;
    } rows[] = {{"HTTP", BRAID_E_UNAVAILABLE, "HTTP"},
                {"\0\0\0\0", BRAID_E_UNAVAILABLE, "knows none"},
                {"SSH-", BRAID_E_CORRUPT, "no Bolt server"},
                {"\0\0\x09\x05", BRAID_E_CORRUPT, "no Bolt server"},
                {"\0\0\0\x03", BRAID_E_CORRUPT, "no Bolt server"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bolt_machine *m;
        bolt_machine_new(&(bolt_machine_options){0}, &m, NULL);
        bolt_machine_feed(m, rows[i].bytes, 4, NULL);
        refused(m, rows[i].code, rows[i].why);
        bolt_machine_free(m);
    }
}

static const ps_tree *first_request(bolt_machine *m, arena *mem) {
    size_t len, room, size;
    const uint8_t *data;
    const ps_tree *t;
    bolt_inbox in;
    ps_reader r;
    const void *out = bolt_machine_output(m, &len);
    bolt_inbox_init(&in, 1 << 20);
    memcpy(bolt_inbox_room(&in, &room), out, len);
    bolt_inbox_fed(&in, len);
    assert_true(bolt_inbox_next(&in, &data, &size));
    ps_reader_init(&r, data, size);
    assert_int_equal(ps_tree_read(&r, mem, 0, &t, NULL), BRAID_OK);
    bolt_inbox_free(&in);
    return t;
}

static void hello_holds_what_the_version_wants(void **state) {
    (void)state;
    static const struct {
        uint8_t major, minor;
        bool auth, agent, quiet, patch;
    } rows[] = {{4, 4, true, false, false, true},   {5, 0, true, false, false, false},
                {5, 1, false, false, false, false}, {5, 2, false, false, true, false},
                {5, 3, false, true, true, false},   {5, 8, false, true, true, false}};
    arena *mem = arena_new(4096);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bolt_machine *m = machine_of(rows[i].major, rows[i].minor, 0);
        assert_int_equal(bolt_machine_hello(m, "test/1", &ana, false, NULL), BRAID_OK);
        const ps_tree *hello = first_request(m, mem);
        const ps_tree *extra = &hello->items[0];
        assert_int_equal(hello->v.tag, BOLT_HELLO);
        assert_string_equal(ps_tree_get(extra, "user_agent")->v.text.data, "test/1");
        assert_int_equal(ps_tree_get(extra, "principal") != NULL, rows[i].auth);
        assert_int_equal(ps_tree_get(extra, "bolt_agent") != NULL, rows[i].agent);
        assert_int_equal(ps_tree_get(extra, "notifications_minimum_severity") != NULL, rows[i].quiet);
        assert_int_equal(ps_tree_get(extra, "patch_bolt") != NULL, rows[i].patch);
        assert_int_equal(bolt_machine_splits_logon(m), !rows[i].auth);
        assert_int_equal(bolt_machine_logoff(m, NULL), BRAID_E_INTERNAL);
        bolt_machine_free(m);
    }
    arena_free(mem);
}

static void each_way_to_log_on_has_its_scheme(void **state) {
    (void)state;
    static const struct {
        bolt_auth auth;
        const char *scheme, *credentials;
    } rows[] = {{{0}, "none", NULL},
                {{.user = "", .password = "", .token = ""}, "none", NULL},
                {{.user = "u", .password = "p"}, "basic", "p"},
                {{.user = "u"}, "basic", ""},
                {{.user = "u", .password = "p", .token = "t"}, "bearer", "t"}};
    arena *mem = arena_new(4096);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bolt_machine *m = machine_of(5, 0, 0);
        bolt_machine_hello(m, "test/1", &rows[i].auth, false, NULL);
        const ps_tree *extra = &first_request(m, mem)->items[0], *credentials = ps_tree_get(extra, "credentials");
        assert_string_equal(ps_tree_get(extra, "scheme")->v.text.data, rows[i].scheme);
        if (rows[i].credentials == NULL)
            assert_null(credentials);
        else
            assert_string_equal(credentials->v.text.data, rows[i].credentials);
        bolt_machine_free(m);
    }
    arena_free(mem);
}

static void the_password_is_wiped_when_it_was_sent(void **state) {
    (void)state;
    bolt_machine *m = machine_of(5, 0, 0);
    size_t len;
    bolt_machine_hello(m, "test/1", &ana, false, NULL);
    const char *out = bolt_machine_output(m, &len);
    assert_non_null(memmem(out, len, "s3cret-word", 11));
    bolt_machine_sent(m, len);
    assert_null(memmem(out, len, "s3cret-word", 11)); /* the buffer is kept for the next request */
    bolt_machine_free(m);
}

/* ---- order ---- */

static void requests_out_of_order_are_refused_and_not_sent(void **state) {
    (void)state;
    bolt_machine *m = ready();
    braid_error err = {0};
    size_t len;
    assert_int_equal(bolt_machine_pull(m, -1, &err), BRAID_E_INTERNAL);
    assert_non_null(strstr(err.message, "PULL is not possible in the state READY"));
    assert_int_equal(bolt_machine_commit(m, NULL), BRAID_E_INTERNAL);
    assert_int_equal(bolt_machine_rollback(m, NULL), BRAID_E_INTERNAL);
    assert_int_equal(bolt_machine_logon(m, &ana, NULL), BRAID_E_INTERNAL);
    assert_int_equal(bolt_machine_hello(m, "x", &ana, false, NULL), BRAID_E_INTERNAL);
    bolt_machine_output(m, &len);
    assert_int_equal(len, 0);
    assert_int_equal(bolt_machine_pending(m), 0);
    assert_int_equal(bolt_machine_run(m, "RETURN 1", NULL, 0, &reading, NULL), BRAID_OK);
    assert_int_equal(bolt_machine_run(m, "RETURN 1", NULL, 0, &reading, NULL), BRAID_E_INTERNAL);
    assert_int_equal(bolt_machine_pull(m, 10, NULL), BRAID_OK);
    assert_int_equal(bolt_machine_discard(m, -1, NULL), BRAID_E_INTERNAL); /* nobody knows yet whether more follows */
    assert_int_equal(bolt_machine_reset(m, NULL), BRAID_OK);
    assert_int_equal(bolt_machine_goodbye(m, NULL), BRAID_OK);
    assert_int_equal(bolt_machine_reset(m, NULL), BRAID_E_INTERNAL);
    bolt_machine_free(m);
}

static void a_whole_transaction_goes_out_at_once(void **state) {
    (void)state;
    bolt_machine *m = ready();
    buf b;
    buf_init(&b, 0);
    assert_int_equal(bolt_machine_begin(m, &reading, NULL), BRAID_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bolt_machine_run(m, "RETURN 1", NULL, 0, NULL, NULL), BRAID_OK);
        assert_int_equal(bolt_machine_pull(m, -1, NULL), BRAID_OK);
    }
    assert_int_equal(bolt_machine_commit(m, NULL), BRAID_OK);
    sent(m);
    assert_int_equal(bolt_machine_pending(m), 8);
    SUCCESS(&b);
    for (int i = 0; i < 3; i++) {
        SUCCESS(&b, "fields", "[x");
        RECORD(&b, i);
        SUCCESS(&b);
    }
    SUCCESS(&b, "bookmark", "b1");
    feed(m, &b);
    assert_int_equal(next(m, BOLT_SUCCESS).request, BOLT_BEGIN);
    for (int i = 0; i < 3; i++) {
        int64_t value;
        assert_int_equal(next(m, BOLT_SUCCESS).request, BOLT_RUN);
        bolt_reply row = next(m, BOLT_RECORD);
        assert_true(row.count == 1 && ps_read_int(&row.body, &value) && value == i && ps_finished(&row.body));
        assert_int_equal(next(m, BOLT_SUCCESS).request, BOLT_PULL);
    }
    assert_int_equal(next(m, BOLT_SUCCESS).request, BOLT_COMMIT);
    next(m, BOLT_NOTHING);
    assert_true(bolt_machine_clean(m));
    bolt_machine_free(m);
    buf_free(&b);
}

static void rows_come_in_batches(void **state) {
    (void)state;
    bolt_machine *m = ready();
    buf b;
    buf_init(&b, 0);
    bolt_machine_run(m, "RETURN 1", NULL, 0, &reading, NULL);
    bolt_machine_pull(m, 1, NULL);
    sent(m);
    SUCCESS(&b, "fields", "[x");
    RECORD(&b, 1);
    SUCCESS(&b, "has_more", "!t");
    feed(m, &b);
    next(m, BOLT_SUCCESS);
    next(m, BOLT_RECORD);
    assert_true(next(m, BOLT_SUCCESS).has_more);
    assert_int_equal(bolt_machine_state(m), BOLT_STREAMING);
    assert_int_equal(bolt_machine_discard(m, -1, NULL), BRAID_OK);
    sent(m);
    SUCCESS(&b);
    feed(m, &b);
    assert_false(next(m, BOLT_SUCCESS).has_more);
    assert_true(bolt_machine_clean(m));
    bolt_machine_free(m);
    buf_free(&b);
}

static void after_a_failure_all_is_ignored_until_reset(void **state) {
    (void)state;
    bolt_machine *m = ready();
    buf b;
    buf_init(&b, 0);
    bolt_machine_begin(m, &reading, NULL);
    bolt_machine_run(m, "RETURN", NULL, 0, NULL, NULL);
    bolt_machine_pull(m, -1, NULL);
    bolt_machine_commit(m, NULL);
    sent(m);
    SUCCESS(&b);
    FAILURE(&b, "Neo.TransientError.Transaction.DeadlockDetected");
    IGNORED(&b);
    IGNORED(&b);
    feed(m, &b);
    next(m, BOLT_SUCCESS);
    assert_int_equal(next(m, BOLT_FAILURE).request, BOLT_RUN);
    assert_string_equal(bolt_machine_failure(m)->code, "Neo.TransientError.Transaction.DeadlockDetected");
    assert_true(bolt_machine_failure(m)->retriable);
    next(m, BOLT_IGNORED);
    assert_int_equal(next(m, BOLT_IGNORED).request, BOLT_COMMIT);
    assert_int_equal(bolt_machine_state(m), BOLT_FAILED);
    assert_false(bolt_machine_clean(m));
    assert_int_equal(bolt_machine_run(m, "RETURN 1", NULL, 0, &reading, NULL), BRAID_E_INTERNAL);
    assert_int_equal(bolt_machine_reset(m, NULL), BRAID_OK);
    sent(m);
    SUCCESS(&b);
    feed(m, &b);
    next(m, BOLT_SUCCESS);
    assert_true(bolt_machine_clean(m));
    bolt_machine_free(m);
    buf_free(&b);
}

static void reset_overtakes_what_is_under_way(void **state) {
    (void)state;
    bolt_machine *m = ready();
    buf b;
    buf_init(&b, 0);
    bolt_machine_run(m, "RETURN 1", NULL, 0, &reading, NULL);
    bolt_machine_pull(m, 100, NULL);
    bolt_machine_reset(m, NULL);
    sent(m);
    SUCCESS(&b, "fields", "[x");
    RECORD(&b, 1);
    IGNORED(&b);
    SUCCESS(&b);
    feed(m, &b);
    next(m, BOLT_SUCCESS);
    next(m, BOLT_RECORD);
    next(m, BOLT_IGNORED);
    assert_int_equal(next(m, BOLT_SUCCESS).request, BOLT_RESET);
    assert_true(bolt_machine_clean(m));
    bolt_machine_free(m);
    buf_free(&b);
}

static void noops_are_passed_over(void **state) {
    (void)state;
    bolt_machine *m = ready();
    buf b;
    buf_init(&b, 0);
    bolt_machine_run(m, "RETURN 1", NULL, 0, &reading, NULL);
    bolt_machine_pull(m, -1, NULL);
    sent(m);
    buf_add(&b, "\0\0\0\0\0\0", 6);
    SUCCESS(&b, "fields", "[x");
    buf_add(&b, "\0\0", 2);
    SUCCESS(&b);
    buf_add(&b, "\0\0\0\0", 4);
    feed(m, &b);
    next(m, BOLT_SUCCESS);
    next(m, BOLT_SUCCESS);
    next(m, BOLT_NOTHING);
    assert_true(bolt_machine_clean(m));
    bolt_machine_free(m);
    buf_free(&b);
}

/* ---- nonsense ---- */

enum nonsense {
    UNASKED,
    ROW_FOR_RUN,
    IGNORED_ALONE,
    GOOD_AFTER_BAD,
    BAD_AFTER_BAD,
    MORE_THAN_ALL,
    NO_STRUCT,
    ODD_TAG,
    NO_MAP,
    BAD_FIELDS,
    KINDS
};

static void nonsense_ends_the_connection(void **state) {
    (void)state;
    static const char *const why[KINDS] = {"none is due",
                                           "none was asked for",
                                           "ignored without a failure",
                                           "succeeds after a failure",
                                           "fails after a failure",
                                           "more are said to follow",
                                           "no Bolt message",
                                           "unknown kind",
                                           "wanted a map",
                                           "no names"};
    for (int kind = 0; kind < KINDS; kind++) {
        bolt_machine *m = ready();
        buf b;
        buf_init(&b, 0);
        if (kind != UNASKED) bolt_machine_run(m, "RETURN 1", NULL, 0, &reading, NULL);
        if (kind != UNASKED) bolt_machine_pull(m, -1, NULL);
        switch (kind) {
        case UNASKED: SUCCESS(&b); break;
        case ROW_FOR_RUN: RECORD(&b, 1); break;
        case IGNORED_ALONE: IGNORED(&b); break;
        case GOOD_AFTER_BAD:
        case BAD_AFTER_BAD:
            FAILURE(&b, "Neo.ClientError.Statement.SyntaxError");
            feed(m, &b);
            next(m, BOLT_FAILURE);
            if (kind == GOOD_AFTER_BAD)
                SUCCESS(&b);
            else
                FAILURE(&b, "Neo.ClientError.Statement.SyntaxError");
            break;
        case MORE_THAN_ALL:
            SUCCESS(&b, "fields", "[x");
            feed(m, &b);
            next(m, BOLT_SUCCESS);
            SUCCESS(&b, "has_more", "!t");
            break;
        case NO_STRUCT: buf_add(&b, "\0\x01\x05\0\0", 5); break;
        case ODD_TAG: buf_add(&b, "\0\x03\xB1\x55\x01\0\0", 7); break;
        case NO_MAP: buf_add(&b, "\0\x03\xB1\x70\x01\0\0", 7); break;
        case BAD_FIELDS: SUCCESS(&b, "fields", "x"); break;
        }
        feed(m, &b);
        refused(m, BRAID_E_CORRUPT, why[kind]);
        bolt_machine_free(m);
        buf_free(&b);
    }
}

static void who_is_not_let_in_cannot_go_on(void **state) {
    (void)state;
    bolt_machine *m = machine_of(5, 4, 0);
    buf b;
    buf_init(&b, 0);
    bolt_machine_hello(m, "test/1", &ana, false, NULL);
    bolt_machine_logon(m, &ana, NULL);
    sent(m);
    SUCCESS(&b);
    FAILURE(&b, "Neo.ClientError.Security.Unauthorized");
    feed(m, &b);
    next(m, BOLT_SUCCESS);
    next(m, BOLT_FAILURE);
    assert_int_equal(bolt_machine_state(m), BOLT_DEFUNCT);
    assert_int_equal(bolt_machine_goodbye(m, NULL), BRAID_E_INTERNAL);
    bolt_machine_free(m);
    buf_free(&b);
}

static void what_the_server_says_of_itself_is_kept(void **state) {
    (void)state;
    bolt_machine *m = machine_of(4, 4, 0);
    static const char hello[] = "\0\x45\xB1\x70\xA4\x86server\x8BNeo4j/4.4.9\x85hints\xA1\xD0\x1F"
                                "connection.recv_timeout_seconds\x1E\x8Apatch_bolt\x91\x83utc\x81x\x92\x01\x02\0\0";
    uint8_t bytes[sizeof hello - 1];
    memcpy(bytes, hello, sizeof bytes);
    bytes[1] = (uint8_t)(sizeof bytes - 4);
    bolt_machine_hello(m, "test/1", &ana, false, NULL);
    sent(m);
    assert_false(bolt_machine_utc(m));
    bolt_machine_feed(m, bytes, sizeof bytes, NULL);
    next(m, BOLT_SUCCESS);
    assert_string_equal(bolt_machine_agent(m), "Neo4j/4.4.9");
    assert_int_equal(bolt_machine_recv_timeout_s(m), 30);
    assert_true(bolt_machine_utc(m));
    assert_int_equal(bolt_machine_state(m), BOLT_READY);
    bolt_machine_free(m);
}

static void a_request_that_is_too_large_leaves_the_others_whole(void **state) {
    (void)state;
    bolt_machine *m = ready();
    size_t before, after;
    char *large = calloc(1, 2 << 20);
    bolt_machine_begin(m, &reading, NULL);
    bolt_machine_output(m, &before);
    braid_error err = {0};
    assert_int_equal(bolt_machine_run(m, "RETURN 1", large, 2 << 20, NULL, &err), BRAID_E_TOO_LARGE);
    bolt_machine_output(m, &after);
    assert_int_equal(before, after);
    assert_int_equal(bolt_machine_pending(m), 1);
    assert_int_equal(bolt_machine_run(m, "RETURN 1", NULL, 0, NULL, NULL), BRAID_OK);
    free(large);
    bolt_machine_free(m);
}

static void what_is_pending_is_bounded(void **state) {
    (void)state;
    bolt_machine *m = ready();
    for (int i = 0; i < BOLT_PENDING_MAX; i++) assert_int_equal(bolt_machine_reset(m, NULL), BRAID_OK);
    assert_int_equal(bolt_machine_reset(m, NULL), BRAID_E_INTERNAL);
    bolt_machine_free(m);
}

static void codes_have_their_meaning(void **state) {
    (void)state;
    static const struct {
        const char *code;
        int braid;
        bool retriable;
        bolt_class class;
    } rows[] = {{"Neo.TransientError.Transaction.DeadlockDetected", BRAID_E_UNAVAILABLE, true, BOLT_CLASS_TRANSIENT},
                {"Neo.TransientError.General.DatabaseUnavailable", BRAID_E_UNAVAILABLE, true, BOLT_CLASS_TRANSIENT},
                {"Neo.TransientError.Transaction.Terminated", BRAID_E_UNAVAILABLE, false, BOLT_CLASS_TRANSIENT},
                {"Neo.TransientError.Transaction.LockClientStopped", BRAID_E_DEADLINE, false, BOLT_CLASS_TRANSIENT},
                {"Neo.ClientError.Cluster.NotALeader", BRAID_E_UNAVAILABLE, true, BOLT_CLASS_CLIENT},
                {"Neo.ClientError.General.ForbiddenOnReadOnlyDatabase", BRAID_E_UNAVAILABLE, true, BOLT_CLASS_CLIENT},
                {"Neo.ClientError.Security.AuthorizationExpired", BRAID_E_UNAVAILABLE, true, BOLT_CLASS_CLIENT},
                {"Neo.ClientError.Security.Unauthorized", BRAID_E_UNAVAILABLE, false, BOLT_CLASS_CLIENT},
                {"Neo.ClientError.Transaction.TransactionTimedOut", BRAID_E_DEADLINE, false, BOLT_CLASS_CLIENT},
                {"Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration", BRAID_E_DEADLINE, false,
                 BOLT_CLASS_CLIENT},
                {"Neo.ClientError.Schema.ConstraintValidationFailed", BRAID_E_CONFLICT, false, BOLT_CLASS_CLIENT},
                {"Neo.ClientError.Statement.SyntaxError", BRAID_E_INVALID, false, BOLT_CLASS_CLIENT},
                {"Neo.ClientError.Statement.EntityNotFound", BRAID_E_NOT_FOUND, false, BOLT_CLASS_CLIENT},
                {"Neo.ClientError.Database.DatabaseNotFound", BRAID_E_NOT_FOUND, false, BOLT_CLASS_CLIENT},
                {"Neo.ClientError.Request.Invalid", BRAID_E_INTERNAL, false, BOLT_CLASS_CLIENT},
                {"Neo.DatabaseError.General.UnknownError", BRAID_E_UNAVAILABLE, false, BOLT_CLASS_DATABASE},
                {"", BRAID_E_UNAVAILABLE, false, BOLT_CLASS_DATABASE},
                {"Neo.Clown", BRAID_E_UNAVAILABLE, false, BOLT_CLASS_DATABASE}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bolt_failure f = {0};
        snprintf(f.code, sizeof f.code, "%s", rows[i].code);
        assert_int_equal(bolt_failure_judge(&f), rows[i].braid);
        assert_int_equal(f.retriable, rows[i].retriable);
        assert_int_equal(f.class, rows[i].class);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_of_any_length_survives_its_chunks),
        cmocka_unit_test(an_announced_length_costs_nothing),
        cmocka_unit_test(a_message_over_the_limit_is_refused_before_it_is_there),
        cmocka_unit_test(offers_are_5_8_to_5_0_and_4_4),
        cmocka_unit_test(other_servers_are_recognised),
        cmocka_unit_test(hello_holds_what_the_version_wants),
        cmocka_unit_test(each_way_to_log_on_has_its_scheme),
        cmocka_unit_test(the_password_is_wiped_when_it_was_sent),
        cmocka_unit_test(requests_out_of_order_are_refused_and_not_sent),
        cmocka_unit_test(a_whole_transaction_goes_out_at_once),
        cmocka_unit_test(rows_come_in_batches),
        cmocka_unit_test(after_a_failure_all_is_ignored_until_reset),
        cmocka_unit_test(reset_overtakes_what_is_under_way),
        cmocka_unit_test(noops_are_passed_over),
        cmocka_unit_test(nonsense_ends_the_connection),
        cmocka_unit_test(who_is_not_let_in_cannot_go_on),
        cmocka_unit_test(what_the_server_says_of_itself_is_kept),
        cmocka_unit_test(a_request_that_is_too_large_leaves_the_others_whole),
        cmocka_unit_test(what_is_pending_is_bounded),
        cmocka_unit_test(codes_have_their_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
