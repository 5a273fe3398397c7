/* Reading one HTTP/1.1 answer from anything that gives bytes: status line, the few headers that matter, the body by
 * Content-Length, in chunks, or until the end. Knows nothing of sockets. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli.h"
#include "client.h"

enum { READ_BYTES = 16 * 1024, LINE_BYTES_MAX = 8 * 1024 };

typedef struct reader {
    client_read *fill;
    void *ctx;
    char *why;
    char bytes[READ_BYTES];
    size_t at, have, head_bytes;
} reader;

typedef struct head {
    int status;
    bool chunked, has_length, close;
    size_t length;
    char *next;
} head;

static bool fail(reader *r, const char *text) {
    snprintf(r->why, CLIENT_WHY, "the server's answer: %s", text);
    return false;
}

/* 1: there are bytes, 0: the end, -1: failed. */
static int more(reader *r) {
    if (r->at < r->have) return 1;
    long n = r->fill(r->ctx, r->bytes, sizeof r->bytes, r->why);
    r->at = 0;
    r->have = n > 0 ? (size_t)n : 0;
    return n > 0 ? 1 : n == 0 ? 0 : -1;
}

/* One line without CR LF. */
static bool read_line(reader *r, char line[LINE_BYTES_MAX]) {
    size_t len = 0;
    for (;;) {
        int got = more(r);
        if (got <= 0) return got < 0 ? false : fail(r, "it ended early");
        char byte = r->bytes[r->at++];
        if (++r->head_bytes > CLIENT_HEAD_BYTES_MAX) return fail(r, "its head is too long");
        if (byte == '\n') break;
        if (byte == '\0' || len + 1 >= LINE_BYTES_MAX) return fail(r, "a line of its head is malformed or too long");
        line[len++] = byte;
    }
    if (len > 0 && line[len - 1] == '\r') len--;
    line[len] = '\0';
    return true;
}

/* Digits in a base, all of the text; false if it is not a number or over the limit. */
static bool read_size(const char *text, size_t len, unsigned base, size_t *out) {
    size_t value = 0;
    for (size_t i = 0; i < len; i++) {
        char ch = text[i] | 0x20;
        unsigned digit = ch >= '0' && ch <= '9'   ? (unsigned)(ch - '0')
                         : ch >= 'a' && ch <= 'f' ? (unsigned)(ch - 'a') + 10
                                                  : 99;
        if (digit >= base || (value = value * base + digit) > CLIENT_BODY_BYTES_MAX) return false;
    }
    *out = value;
    return len > 0;
}

static bool take_header(reader *r, head *h, char *line) {
    char *value = strchr(line, ':');
    if (!value || value == line) return fail(r, "a line of its head is malformed");
    *value++ = '\0';
    value += strspn(value, " \t");
    for (size_t n = strlen(value); n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t');) value[--n] = '\0';
    if (strcasecmp(line, "Content-Length") == 0) {
        size_t length;
        if (!read_size(value, strlen(value), 10, &length)) return fail(r, "its length is malformed or over the limit");
        if (h->has_length && length != h->length) return fail(r, "it has two lengths");
        h->has_length = true;
        h->length = length;
    } else if (strcasecmp(line, "Transfer-Encoding") == 0) {
        if (strcasecmp(value, "chunked") != 0) return fail(r, "it comes in an unknown transfer encoding");
        h->chunked = true;
    } else if (strcasecmp(line, "Connection") == 0) {
        h->close = h->close || strcasestr(value, "close") != NULL;
    } else if (strcasecmp(line, "Braid-Next") == 0 && !h->next) {
        h->next = cli_copy(value);
    }
    return true;
}

static bool read_head(reader *r, head *h) {
    char line[LINE_BYTES_MAX];
    *h = (head){0};
    r->head_bytes = 0;
    if (!read_line(r, line)) return false;
    size_t status = 0;
    if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12 || line[8] != ' ' ||
        !read_size(line + 9, 3, 10, &status) || status < 100)
        return fail(r, "this is not HTTP/1.1; is the address right?");
    h->status = (int)status;
    h->close = line[7] == '0';
    for (;;) {
        if (!read_line(r, line)) return false;
        if (!line[0]) break;
        if (!take_header(r, h, line)) return false;
    }
    return h->chunked && h->has_length ? fail(r, "it says its length twice, in two ways") : true;
}

typedef struct body {
    char *text;
    size_t len, cap;
} body;

static void append(body *b, const char *data, size_t len) {
    if (b->len + len + 1 > b->cap) {
        b->cap = (b->len + len + 1) * 2;
        b->text = cli_grow(b->text, b->cap);
    }
    memcpy(b->text + b->len, data, len);
    b->len += len;
    b->text[b->len] = '\0';
}

/* Exactly `len` bytes, or with `to_end` all there are. */
static bool read_bytes(reader *r, body *b, size_t len, bool to_end) {
    while (to_end || len > 0) {
        int got = more(r);
        if (got < 0) return false;
        if (got == 0) return to_end ? true : fail(r, "it ended early");
        size_t n = r->have - r->at;
        if (!to_end && n > len) n = len;
        if (b->len + n > CLIENT_BODY_BYTES_MAX) return fail(r, "it is larger than a gigabyte");
        append(b, r->bytes + r->at, n);
        r->at += n;
        len -= to_end ? 0 : n;
    }
    return true;
}

static bool read_chunks(reader *r, body *b) {
    char line[LINE_BYTES_MAX];
    for (;;) {
        size_t size;
        r->head_bytes = 0;
        if (!read_line(r, line)) return false;
        size_t digits = strcspn(line, "; \t");
        if (!read_size(line, digits, 16, &size)) return fail(r, "the size of a chunk is malformed");
        if (size == 0) break;
        if (!read_bytes(r, b, size, false) || !read_line(r, line)) return false;
        if (line[0]) return fail(r, "a chunk is longer than it says");
    }
    do {
        if (!read_line(r, line)) return false;
    } while (line[0]); /* trailers say nothing that matters here */
    return true;
}

bool client_answer_read(client_read *source, void *ctx, client_answer *answer, bool *keep, char why[CLIENT_WHY]) {
    reader *r = cli_alloc(sizeof *r);
    *r = (reader){.fill = source, .ctx = ctx, .why = why};
    head h;
    body b = {0};
    bool good;
    do {
        good = read_head(r, &h);
        if (good && h.status >= 200) break;
        free(h.next);
        h.next = NULL;
    } while (good);
    bool bodyless = h.status == 204 || h.status == 304, to_end = !h.chunked && !h.has_length;
    append(&b, "", 0);
    if (good && !bodyless) good = h.chunked ? read_chunks(r, &b) : read_bytes(r, &b, h.length, to_end);
    *keep = good && !h.close && (bodyless || !to_end) && r->at == r->have;
    free(r);
    if (!good) {
        free(b.text);
        free(h.next);
        return false;
    }
    *answer = (client_answer){h.status, b.text, b.len, h.next};
    return true;
}
