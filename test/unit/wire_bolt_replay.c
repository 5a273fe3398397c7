/* The machine against recordings: what the official driver said to a real server, and what that answered.
 *
 * Every request of the driver is made again through our functions, and must be the same message (its maps in any
 * order; HELLO names another program). Every byte of the server is fed, cut at random, and must be understood: the
 * same number of rows and answers, the same failures, READY at the end. test/fixtures/bolt/record.py makes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "wire/bolt_chunk.h"
#include "wire/bolt_machine.h"

typedef struct replay {
    bolt_machine *m;
    bolt_inbox theirs, ours; /* requests, joined from their chunks */
    arena *mem;
    rng random;
    bool begun, greeted;
    unsigned version, rows, successes, failures, ignored, requests;
} replay;

/* ---- comparing ---- */

static bool same_tree(const ps_tree *a, const ps_tree *b) {
    if (a->v.kind != b->v.kind || a->v.count != b->v.count || a->v.tag != b->v.tag) return false;
    switch (a->v.kind) {
    case PS_NULL: return true;
    case PS_BOOL: return a->v.boolean == b->v.boolean;
    case PS_INT: return a->v.integer == b->v.integer;
    case PS_FLOAT: return memcmp(&a->v.real, &b->v.real, 8) == 0;
    case PS_STRING:
    case PS_BYTES: return a->v.text.len == b->v.text.len && memcmp(a->v.text.data, b->v.text.data, a->v.text.len) == 0;
    case PS_MAP:
        for (uint32_t i = 0; i < a->v.count; i++) {
            const ps_tree *other = ps_tree_get(b, a->items[2 * i].v.text.data);
            if (other == NULL || !same_tree(&a->items[2 * i + 1], other)) return false;
        }
        return true;
    default:
        for (uint32_t i = 0; i < a->v.count; i++)
            if (!same_tree(&a->items[i], &b->items[i])) return false;
        return true;
    }
}

static const ps_tree *tree_of(replay *r, const void *data, size_t len) {
    ps_reader reader;
    const ps_tree *t;
    braid_error err = {0};
    ps_reader_init(&reader, data, len);
    if (ps_tree_read(&reader, r->mem, 0, &t, &err) != BRAID_OK || !ps_finished(&reader)) fail_msg("%s", err.message);
    return t;
}

static void into(bolt_inbox *in, const void *data, size_t len) {
    const uint8_t *at = data;
    while (len > 0) {
        size_t room;
        uint8_t *to = bolt_inbox_room(in, &room);
        size_t n = len < room ? len : room;
        memcpy(to, at, n);
        bolt_inbox_fed(in, n);
        at += n;
        len -= n;
    }
}

/* ---- asking again ---- */

static const char *text_in(const ps_tree *dict, const char *key) {
    const ps_tree *t = ps_tree_get(dict, key);
    return t != NULL && t->v.kind == PS_STRING ? t->v.text.data : NULL;
}

static int64_t number_in(const ps_tree *dict, const char *key, int64_t otherwise) {
    const ps_tree *t = ps_tree_get(dict, key);
    return t != NULL && t->v.kind == PS_INT ? t->v.integer : otherwise;
}

static bolt_begin begin_of(const ps_tree *dict, buf *bookmarks) {
    const char *mode = text_in(dict, "mode");
    const ps_tree *marks = ps_tree_get(dict, "bookmarks");
    bolt_begin how = {.access = mode != NULL && strcmp(mode, "r") == 0 ? BOLT_READ : BOLT_WRITE,
                      .timeout_ms = number_in(dict, "tx_timeout", 0),
                      .database = text_in(dict, "db")};
    if (marks == NULL) return how;
    ps_put_list(bookmarks, marks->v.count);
    for (uint32_t i = 0; i < marks->v.count; i++) ps_put_str(bookmarks, marks->items[i].v.text.data);
    how.bookmarks = bookmarks->data;
    how.bookmarks_len = bookmarks->len;
    return how;
}

/* The bytes of a RUN's parameters, as they stand. */
static ps_raw parameters_of(const uint8_t *message, size_t len) {
    ps_reader r;
    ps_value v;
    ps_raw raw;
    ps_reader_init(&r, message, len);
    assert_true(ps_next(&r, &v) && ps_skip(&r, NULL) && ps_skip(&r, &raw));
    return raw;
}

static int ask(replay *r, const ps_tree *t, const uint8_t *message, size_t len, buf *marks, braid_error *err) {
    const ps_tree *first = t->v.count > 0 ? &t->items[0] : NULL;
    bolt_auth auth = {0};
    bolt_begin how;
    ps_raw parameters;
    switch (t->v.tag) {
    case BOLT_HELLO:
    case BOLT_LOGON:
        auth = (bolt_auth){.user = text_in(first, "principal"), .password = text_in(first, "credentials")};
        return t->v.tag == BOLT_LOGON ? bolt_machine_logon(r->m, &auth, err)
                                      : bolt_machine_hello(r->m, "replay/1", &auth, true, err);
    case BOLT_RUN:
        parameters = parameters_of(message, len);
        how = begin_of(&t->items[2], marks);
        return bolt_machine_run(r->m, first->v.text.data, parameters.data, parameters.len, &how, err);
    case BOLT_BEGIN: how = begin_of(first, marks); return bolt_machine_begin(r->m, &how, err);
    case BOLT_PULL: return bolt_machine_pull(r->m, number_in(first, "n", 0), err);
    case BOLT_DISCARD: return bolt_machine_discard(r->m, number_in(first, "n", 0), err);
    case BOLT_COMMIT: return bolt_machine_commit(r->m, err);
    case BOLT_ROLLBACK: return bolt_machine_rollback(r->m, err);
    case BOLT_RESET: return bolt_machine_reset(r->m, err);
    case BOLT_GOODBYE: return bolt_machine_goodbye(r->m, err);
    case BOLT_ROUTE: return bolt_machine_route(r->m, text_in(first, "address"), NULL, NULL, 0, err);
    default: fail_msg("the driver sent %02x", t->v.tag);
    }
    return BRAID_E_INTERNAL;
}

static void compare_request(replay *r, const uint8_t *message, size_t len) {
    braid_error err = {0};
    buf marks;
    buf_init(&marks, 0);
    const ps_tree *theirs = tree_of(r, message, len), *ours;
    if (ask(r, theirs, message, len, &marks, &err) != BRAID_OK) fail_msg("%s", err.message);
    buf_free(&marks);
    size_t out_len, size;
    const uint8_t *out = bolt_machine_output(r->m, &out_len), *whole;
    into(&r->ours, out, out_len);
    bolt_machine_sent(r->m, out_len);
    assert_true(bolt_inbox_next(&r->ours, &whole, &size));
    assert_non_null(whole);
    ours = tree_of(r, whole, size);
    assert_true(bolt_inbox_empty(&r->ours));
    r->requests++;
    if (theirs->v.tag != BOLT_HELLO && !same_tree(theirs, ours))
        fail_msg("%s differs from the driver's", bolt_message_name((bolt_message)theirs->v.tag));
}

static void client_says(replay *r, const uint8_t *data, size_t len) {
    const uint8_t *message;
    size_t size;
    if (!r->begun) { /* the handshake */
        bolt_machine_output(r->m, &size);
        assert_int_equal(size, 20);
        bolt_machine_sent(r->m, size);
        r->begun = true;
        data += 20;
        len -= 20;
    }
    into(&r->theirs, data, len);
    for (;;) {
        assert_true(bolt_inbox_next(&r->theirs, &message, &size));
        if (message == NULL) return;
        compare_request(r, message, size);
    }
}

/* ---- listening ---- */

static void take(replay *r, const bolt_reply *reply) {
    ps_reader body = reply->body;
    unsigned major, minor;
    switch (reply->kind) {
    case BOLT_VERSION:
        bolt_machine_version(r->m, &major, &minor);
        assert_int_equal(major * 10 + minor, r->version);
        r->greeted = true;
        break;
    case BOLT_RECORD:
        for (uint32_t i = 0; i < reply->count; i++) { /* every structure that the server sends is one we know */
            ps_value v;
            ps_struct s;
            assert_true(ps_next(&body, &v));
            if (v.kind == PS_STRUCT && !ps_read_struct(&body, &v, &s))
                fail_msg("%s", body.problem);
            else if (v.kind >= PS_LIST && v.kind != PS_STRUCT && v.count > 0)
                assert_true(ps_leave(&body));
        }
        assert_true(ps_finished(&body));
        r->rows++;
        break;
    case BOLT_SUCCESS: r->successes++; break;
    case BOLT_FAILURE:
        assert_non_null(strstr(bolt_machine_failure(r->m)->code, "Neo.ClientError.Statement."));
        assert_true(bolt_machine_failure(r->m)->message[0] != '\0');
        r->failures++;
        break;
    case BOLT_IGNORED: r->ignored++; break;
    default: break;
    }
}

static void server_says(replay *r, const uint8_t *data, size_t len) {
    braid_error err = {0};
    while (len > 0) {
        size_t n = 1 + rng_below(&r->random, rng_below(&r->random, 2) ? 8 : len);
        if (n > len) n = len;
        assert_int_equal(bolt_machine_feed(r->m, data, n, &err), BRAID_OK);
        data += n;
        len -= n;
        for (;;) {
            bolt_reply reply;
            if (bolt_machine_next(r->m, &reply, &err) != BRAID_OK) fail_msg("%s", err.message);
            if (reply.kind == BOLT_NOTHING) break;
            take(r, &reply);
        }
    }
}

/* ---- a file ---- */

static void begin(replay *r) {
    r->begun = r->greeted = false;
    assert_int_equal(bolt_machine_new(&(bolt_machine_options){0}, &r->m, NULL), BRAID_OK);
    bolt_inbox_init(&r->theirs, 1 << 20);
    bolt_inbox_init(&r->ours, 1 << 20);
}

static void end(replay *r) {
    if (r->m == NULL) return;
    assert_true(r->greeted);
    assert_int_equal(bolt_machine_pending(r->m), 0);
    assert_int_equal(bolt_machine_state(r->m), BOLT_READY);
    assert_string_equal(bolt_machine_agent(r->m), "Neo4j/5.26.0");
    assert_int_equal(bolt_machine_recv_timeout_s(r->m), 120);
    assert_true(bolt_machine_utc(r->m));
    bolt_machine_free(r->m);
    bolt_inbox_free(&r->theirs);
    bolt_inbox_free(&r->ours);
    r->m = NULL;
}

static void replay_file(const char *version, uint64_t seed) {
    char path[100], *line = NULL;
    size_t cap = 0;
    ssize_t n;
    replay r = {.mem = arena_new(1 << 16), .version = (unsigned)(version[0] - '0') * 10 + (unsigned)(version[2] - '0')};
    rng_seed(&r.random, seed);
    snprintf(path, sizeof path, "test/fixtures/bolt/%s.txt", version);
    FILE *f = fopen(path, "r");
    if (f == NULL) fail_msg("%s cannot be read: run this in the root of the project", path);
    while ((n = getline(&line, &cap, f)) > 0) {
        if (line[0] == 'c') {
            end(&r);
            begin(&r);
            continue;
        }
        size_t len = ((size_t)n - 3) / 2;
        uint8_t *data = malloc(len);
        for (size_t i = 0; i < len; i++) {
            const char two[3] = {line[2 + 2 * i], line[3 + 2 * i], '\0'};
            data[i] = (uint8_t)strtoul(two, NULL, 16);
        }
        if (line[0] == 'C')
            client_says(&r, data, len);
        else
            server_says(&r, data, len);
        free(data);
    }
    end(&r);
    fclose(f);
    free(line);
    arena_free(r.mem);
    assert_int_equal(r.rows, 1 + 5 + 2 + 1 + 1 + 1 + 1 + 1);
    assert_int_equal(r.failures, 2);
    assert_int_equal(r.ignored, 1);
    assert_int_equal(r.requests, r.version <= 50 ? 39 : 41); /* LOGON, twice */
}

static uint64_t seed_of_test(void) {
    const char *given = getenv("BRAID_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

#define REPLAY(name, version)                                                                                          \
    static void the_talk_of_##name##_is_understood(void **state) {                                                     \
        (void)state;                                                                                                   \
        uint64_t seed = seed_of_test();                                                                                \
        for (int i = 0; i < 20; i++) replay_file(version, seed + (uint64_t)i);                                         \
    }
REPLAY(bolt_4_4, "4.4")
REPLAY(bolt_5_0, "5.0")
REPLAY(bolt_5_1, "5.1")
REPLAY(bolt_5_4, "5.4")
REPLAY(bolt_5_7, "5.7")

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_talk_of_bolt_4_4_is_understood), cmocka_unit_test(the_talk_of_bolt_5_0_is_understood),
        cmocka_unit_test(the_talk_of_bolt_5_1_is_understood), cmocka_unit_test(the_talk_of_bolt_5_4_is_understood),
        cmocka_unit_test(the_talk_of_bolt_5_7_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
