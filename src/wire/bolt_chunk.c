/* bolt_chunk: see bolt_chunk.h for the format.
 *
 * Outgoing, a message is written behind two spare bytes; up to 65,535 bytes they become the length and nothing moves. A
 * longer one is spread apart afterwards, from its end, each byte moved once.
 *
 * Incoming, the usual message is one chunk and is handed out where it was read to. Of one in several chunks the later
 * ones are moved down over the lengths between them. The buffer doubles when it is full of bytes that have arrived, so
 * an announced length costs nothing; whatever is not needed any more is moved away before it grows.
 *
 *        message      joined -->|          raw            end
 *     ...|__________message_____|..........|_2_|__chunk__..|  room
 */
#include "bolt_chunk.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_MAX = 0xFFFF,
    CHUNK_HEAD = 2,
    INBOX_FIRST = 32 << 10,
    INBOX_ROOM = 4 << 10, /* at least, for a read */
    INBOX_KEEP = 1 << 20  /* a larger buffer is given back */
};

/* ---- outgoing ---- */

static void chunk_store(char *at, size_t len) {
    at[0] = (char)(len >> 8);
    at[1] = (char)(len & 0xFF);
}

size_t bolt_chunk_open(buf *out) {
    size_t at = out->len;
    buf_add(out, "\0\0", CHUNK_HEAD);
    return at;
}

/* Makes place for the lengths of the chunks after the first, moving from the end. */
static bool chunk_spread(buf *out, size_t at, size_t len) {
    static const char lengths[CHUNK_HEAD * 64];
    size_t chunks = (len + CHUNK_MAX - 1) / CHUNK_MAX;
    for (size_t need = (chunks - 1) * CHUNK_HEAD; need > 0;) {
        size_t n = need < sizeof lengths ? need : sizeof lengths;
        if (!buf_add(out, lengths, n)) return false;
        need -= n;
    }
    char *first = out->data + at + CHUNK_HEAD;
    for (size_t i = chunks; i-- > 0;) {
        size_t from = i * CHUNK_MAX, n = len - from < CHUNK_MAX ? len - from : CHUNK_MAX;
        char *to = first + from + i * CHUNK_HEAD;
        if (i > 0) memmove(to, first + from, n);
        chunk_store(to - CHUNK_HEAD, n);
    }
    return true;
}

bool bolt_chunk_close(buf *out, size_t at) {
    if (out->failed) return false;
    size_t len = out->len - at - CHUNK_HEAD;
    if (len <= CHUNK_MAX)
        chunk_store(out->data + at, len);
    else if (!chunk_spread(out, at, len))
        return false;
    return buf_add(out, "\0\0", CHUNK_HEAD);
}

/* ---- incoming ---- */

void bolt_inbox_init(bolt_inbox *in, size_t max) {
    *in = (bolt_inbox){.max = max};
}

void bolt_inbox_free(bolt_inbox *in) {
    free(in->data);
    bolt_inbox_init(in, in->max);
}

bool bolt_inbox_empty(const bolt_inbox *in) {
    return in->raw == in->end && in->joined == 0;
}

void bolt_inbox_shrink(bolt_inbox *in) {
    if (bolt_inbox_empty(in) && in->cap > INBOX_KEEP) bolt_inbox_free(in);
}

/* Moves what is still needed to the front, if that frees anything: first the message so far, then what is unread. */
static void inbox_compact(bolt_inbox *in) {
    size_t unread = in->end - in->raw;
    if (in->joined > 0 && in->message > 0) memmove(in->data, in->data + in->message, in->joined);
    in->message = 0;
    if (in->raw > in->joined && unread > 0) memmove(in->data + in->joined, in->data + in->raw, unread);
    in->raw = in->joined;
    in->end = in->joined + unread;
}

uint8_t *bolt_inbox_room(bolt_inbox *in, size_t *room) {
    if (in->cap - in->end < INBOX_ROOM) {
        inbox_compact(in);
        if (in->cap - in->end < INBOX_ROOM) {
            size_t cap = in->cap > 0 ? in->cap * 2 : INBOX_FIRST;
            uint8_t *data = realloc(in->data, cap);
            if (data == NULL) return NULL;
            in->data = data;
            in->cap = cap;
        }
    }
    *room = in->cap - in->end;
    return in->data + in->end;
}

void bolt_inbox_fed(bolt_inbox *in, size_t len) {
    BRAID_ASSERT(len <= in->cap - in->end);
    in->end += len;
}

bool bolt_inbox_next(bolt_inbox *in, const uint8_t **data, size_t *len) {
    *data = NULL;
    while (in->end - in->raw >= CHUNK_HEAD) {
        size_t n = (size_t)in->data[in->raw] << 8 | in->data[in->raw + 1];
        if (n == 0) {
            in->raw += CHUNK_HEAD;
            if (in->joined == 0) continue; /* NOOP */
            *data = in->data + in->message;
            *len = in->joined;
            in->joined = 0;
            return true;
        }
        if (n > in->max - in->joined) return false;
        if (in->end - in->raw - CHUNK_HEAD < n) break;
        size_t body = in->raw + CHUNK_HEAD;
        if (in->joined == 0)
            in->message = body;
        else
            memmove(in->data + in->message + in->joined, in->data + body, n);
        in->joined += n;
        in->raw = body + n;
    }
    return true;
}

const uint8_t *bolt_inbox_take(bolt_inbox *in, size_t len) {
    if (in->end - in->raw < len) return NULL;
    const uint8_t *at = in->data + in->raw;
    in->raw += len;
    return at;
}
