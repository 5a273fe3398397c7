/* Fuzzing of what a Redis server may answer: any bytes through the reply reader and its limits, in pieces of any size.
 *
 * A reply is the same however the bytes were cut; what is not Redis' protocol is refused as CORRUPT with a reason;
 * no reply has more elements than the limit; a value's header is taken or it is not, without reading past it. The
 * first byte says how the input is cut. */
#include "fuzz.h"

#include "cache/cache_redis_private.h"

enum { REPLIES_MAX = 64 };

static size_t printed(const redisReply *r, buf *out) {
    size_t elements = 0;
    switch (r->type) {
    case REDIS_REPLY_ARRAY:
        buf_printf(out, "*%zu[", r->elements);
        for (size_t i = 0; i < r->elements; i++) elements += 1 + printed(r->element[i], out);
        buf_putc(out, ']');
        break;
    case REDIS_REPLY_INTEGER: buf_printf(out, ":%lld;", r->integer); break;
    case REDIS_REPLY_NIL: buf_puts(out, "nil;"); break;
    default:
        if (r->str[r->len] != '\0') fuzz_fail("a string ends with NUL", "");
        buf_printf(out, "%d$%zu", r->type, r->len);
        buf_add(out, r->str, r->len);
    }
    return elements;
}

static void look_inside(const redisReply *r) {
    uint64_t run, version;
    braid_error err = {0};
    if (r->type == REDIS_REPLY_ERROR && redis_refusal("127.0.0.1:6379", r, &err) == BRAID_OK)
        fuzz_fail("an error is no success", r->str);
    if (r->type == REDIS_REPLY_ERROR && (!err.message[0] || !err.store[0])) fuzz_fail("an error has a reason", r->str);
    if (r->type != REDIS_REPLY_STRING || !redis_head_read(r->str, r->len, &run, &version)) return;
    char head[REDIS_HEAD_BYTES];
    redis_head_write(head, run, version);
    if (memcmp(head, r->str, sizeof head) != 0) fuzz_fail("a header reads back as it was written", r->str);
}

/* Feeds the input in pieces of `step` bytes; everything that came out of it goes to `out`. */
static void feed(const char *data, size_t size, size_t step, buf *out) {
    redis_guard guard;
    redisReader *r = redis_reader_new(&guard);
    if (r == NULL) abort();
    int rc = BRAID_OK;
    size_t replies = 0;
    for (size_t at = 0; rc == BRAID_OK && at < size && replies < REPLIES_MAX; at += step) {
        size_t len = size - at < step ? size - at : step;
        for (bool more = true; rc == BRAID_OK && more && replies < REPLIES_MAX; len = 0) {
            redisReply *reply;
            braid_error err = {0};
            rc = redis_reader_take(r, &guard, data + at, len, &reply, &err);
            more = reply != NULL;
            if (rc != BRAID_OK && (rc != BRAID_E_CORRUPT || !err.message[0]))
                fuzz_fail("a refusal has a reason", err.message);
            if (rc != BRAID_OK && more) fuzz_fail("what is refused gives no reply", err.message);
            if (!more) continue;
            if (printed(reply, out) > REDIS_REPLY_ELEMENTS_MAX) fuzz_fail("the limit of elements holds", "");
            look_inside(reply);
            freeReplyObject(reply);
            replies++;
        }
    }
    buf_puts(out, rc == BRAID_OK ? "." : "!");
    redis_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    char *copy = fuzz_copy(data + 1, size - 1, false);
    buf whole, cut;
    buf_init(&whole, 0);
    buf_init(&cut, 0);
    feed(copy, size - 1, size - 1, &whole);
    feed(copy, size - 1, 1 + data[0] % 8, &cut);
    /* A refusal that comes early or late may leave out the reply before it, never change one. */
    if (whole.len != cut.len || memcmp(whole.data, cut.data, whole.len) != 0)
        fuzz_fail("a reply is the same however its bytes were cut", whole.data);
    buf_free(&whole);
    buf_free(&cut);
    free(copy);
    return 0;
}
