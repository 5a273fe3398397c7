/* Fuzzing of the Bolt machine: any requests in any order, and any bytes as the server's answers.
 *
 * The input is a list of steps. A byte below C0 asks for something (its remainder by 14 says what); one from C0 on is
 * followed by a length of two bytes and as many bytes that the server sends. Two machines get the same, one in whole
 * pieces, one byte by byte: they must come to the same replies and states. What a machine sends is always whole
 * messages, and it never waits for more replies than it has requests. */
#include "wire/bolt_machine.h"

#include "fuzz.h"
#include "wire/bolt_chunk.h"

enum { STEPS = 200 };

typedef struct side {
    bolt_machine *m;
    bolt_inbox sent; /* what it sent, as a server would read it */
    bool greeted;
    uint64_t requests, answered, trace;
} side;

static void note(side *s, uint64_t what) {
    s->trace = (s->trace ^ what) * UINT64_C(0x100000001b3);
}

static void check_output(side *s) {
    size_t len, room, size;
    const uint8_t *out = bolt_machine_output(s->m, &len), *message;
    for (size_t done = 0; done < len;) {
        uint8_t *at = bolt_inbox_room(&s->sent, &room);
        if (at == NULL) abort();
        size_t n = len - done < room ? len - done : room;
        memcpy(at, out + done, n);
        bolt_inbox_fed(&s->sent, n);
        done += n;
        if (!s->greeted) s->greeted = bolt_inbox_take(&s->sent, 20) != NULL;
        for (;;) {
            ps_reader r;
            ps_value head;
            if (!bolt_inbox_next(&s->sent, &message, &size)) fuzz_fail("a request is not too large", "");
            if (message == NULL) break;
            ps_reader_init(&r, message, size);
            if (!ps_next(&r, &head) || head.kind != PS_STRUCT) fuzz_fail("a request is a structure", "");
            while (ps_next(&r, &head)) continue;
            if (!ps_finished(&r)) fuzz_fail("a request is PackStream", "");
        }
    }
    bolt_machine_sent(s->m, len);
    if (!bolt_inbox_empty(&s->sent)) fuzz_fail("only whole requests are sent", "");
}

static void read_reply(side *s, bolt_reply *reply) {
    ps_value v;
    note(s, (uint64_t)reply->kind << 40 | (uint64_t)reply->request << 32 | reply->count);
    ps_reader r = reply->body;
    if (reply->kind == BOLT_RECORD || reply->kind == BOLT_SUCCESS)
        while (ps_next(&r, &v)) note(s, v.kind);
    if (reply->kind == BOLT_SUCCESS && !ps_finished(&r)) fuzz_fail("what a SUCCESS holds is sound", "");
    if (reply->kind == BOLT_FAILURE) note(s, bolt_machine_failure(s->m)->code[0]);
    if (reply->kind != BOLT_RECORD && reply->kind != BOLT_VERSION) s->answered++;
    if (bolt_machine_columns(s->m).len > 0) {
        ps_raw columns = bolt_machine_columns(s->m);
        ps_reader_init(&r, columns.data, columns.len);
        if (!ps_skip(&r, NULL) || !ps_finished(&r)) fuzz_fail("columns are a list", "");
    }
}

static void drain(side *s) {
    bolt_reply reply;
    braid_error err = {0};
    for (;;) {
        int code = bolt_machine_next(s->m, &reply, &err);
        if (code != BRAID_OK) {
            if (code != err.code || !err.message[0]) fuzz_fail("a refusal says why", "");
            if (bolt_machine_state(s->m) != BOLT_DEFUNCT)
                fuzz_fail("after nonsense there is only closing", err.message);
            note(s, 99);
            return;
        }
        if (reply.kind == BOLT_NOTHING) return;
        read_reply(s, &reply);
    }
}

static void feed(side *s, const uint8_t *data, size_t len, size_t piece) {
    braid_error err = {0};
    for (size_t at = 0; at < len; at += piece) {
        if (bolt_machine_state(s->m) == BOLT_DEFUNCT) return;
        if (bolt_machine_feed(s->m, data + at, len - at < piece ? len - at : piece, &err)) abort();
        drain(s);
    }
}

static int ask(bolt_machine *m, unsigned what, braid_error *err) {
    const bolt_auth auth = {.user = "u", .password = "p"};
    const bolt_begin how = {
        .access = what % 2 ? BOLT_READ : BOLT_WRITE, .timeout_ms = what, .bookmarks = "\x90", .bookmarks_len = 1};
    switch (what % 14) {
    case 0: return bolt_machine_hello(m, "fuzz", &auth, what % 3 == 0, err);
    case 1: return bolt_machine_logon(m, &auth, err);
    case 2: return bolt_machine_logoff(m, err);
    case 3: return bolt_machine_run(m, "RETURN 1", NULL, 0, &how, err);
    case 4: return bolt_machine_run(m, "RETURN 1", "\xA0", 1, NULL, err);
    case 5: return bolt_machine_pull(m, 2, err);
    case 6: return bolt_machine_pull(m, -1, err);
    case 7: return bolt_machine_discard(m, -1, err);
    case 8: return bolt_machine_begin(m, &how, err);
    case 9: return bolt_machine_commit(m, err);
    case 10: return bolt_machine_rollback(m, err);
    case 11: return bolt_machine_reset(m, err);
    case 12: return bolt_machine_route(m, "a:1", "db", NULL, 0, err);
    default: return what < 28 ? bolt_machine_goodbye(m, err) : bolt_machine_reset(m, err);
    }
}

static void request(side *s, unsigned what) {
    size_t before = bolt_machine_pending(s->m);
    int code = ask(s->m, what, NULL);
    if (code != BRAID_OK && code != BRAID_E_INTERNAL) fuzz_fail("a request is possible or out of order", "");
    note(s, (uint64_t)code);
    s->requests += bolt_machine_pending(s->m) - before;
    check_output(s);
}

static void begin(side *s, size_t message_max) {
    bolt_machine_options o = {.message_max = message_max, .request_max = 1 << 20};
    bolt_inbox kept = s->sent; /* its memory serves every run */
    memset(s, 0, sizeof *s);
    s->sent = kept;
    if (s->sent.data == NULL) bolt_inbox_init(&s->sent, 1 << 20);
    s->sent.raw = s->sent.end = s->sent.joined = 0;
    if (bolt_machine_new(&o, &s->m, NULL)) abort();
    check_output(s);
}

static void end(side *s) {
    bolt_machine_shrink(s->m);
    bolt_machine_free(s->m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static side a, b;
    begin(&a, 2000);
    begin(&b, 2000);
    for (size_t at = 0, steps = 0; at < size && steps < STEPS; steps++) {
        unsigned step = data[at++];
        if (step < 0xC0) {
            request(&a, step);
            request(&b, step);
        } else if (size - at >= 2) {
            size_t len = (size_t)data[at] << 8 | data[at + 1];
            at += 2;
            if (len > size - at) len = size - at;
            feed(&a, data + at, len, len > 0 ? len : 1);
            feed(&b, data + at, len, 1);
            at += len;
        }
        if (a.trace != b.trace) fuzz_fail("how bytes are cut into pieces changes nothing", "");
        if (bolt_machine_state(a.m) != bolt_machine_state(b.m)) fuzz_fail("both come to the same state", "");
        if (a.requests - a.answered != bolt_machine_pending(a.m) && bolt_machine_state(a.m) != BOLT_DEFUNCT)
            fuzz_fail("every request has one reply", "");
    }
    end(&a);
    end(&b);
    return 0;
}
