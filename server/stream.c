/* A body of NDJSON is cut into pieces of whole lines, each written (and durable) before the next; the reports become
 * one.
 *
 * Where a cut falls depends on the bytes only, never on how they arrived: the last line end within the first `piece`
 * bytes, or the first one after them. So the same body sent again after a broken connection is cut in the same places.
 * Lines keep the numbers they have in the body. The buffer holds one piece, or one line if that is longer; no more than
 * `line_max`.
 *
 * Rejected: holding the body whole (a 10 GB load would need 10 GB), and one transaction for all of it (the first line
 * would be durable only after the last, and a broken connection would lose everything). */
#include "server/stream.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REJECTIONS_KEPT = 1000, SLICE = 64 * 1024 };

struct stream {
    size_t piece, line_max;
    stream_write *write;
    void *ctx;
    char *data;
    size_t len, cap;
    size_t scanned; /* bytes from the front known to hold no line end */
    size_t line;    /* number of the line that data begins with */
    bool skipping;  /* within a line that is too long */
    bool called;    /* at least one piece was written */
    json_int_t accepted, duplicates, rejected;
    json_t *rejections;
    char lsn[128];
    api_response refusal; /* status 0: none */
    const char *route;
};

stream *stream_new(size_t piece, size_t line_max, stream_write *write, void *ctx) {
    stream *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    *s = (stream){.piece = piece,
                  .line_max = line_max > piece ? line_max : piece,
                  .write = write,
                  .ctx = ctx,
                  .line = 1,
                  .rejections = json_array()};
    if (!s->rejections) {
        free(s);
        return NULL;
    }
    return s;
}

void stream_free(stream *s) {
    if (!s) return;
    json_decref(s->rejections);
    api_response_free(&s->refusal);
    free(s->data);
    free(s);
}

bool stream_refused(const stream *s) {
    return s->refusal.status != 0;
}

void stream_refuse(stream *s, api_response *refusal) {
    if (stream_refused(s)) {
        api_response_free(refusal);
        return;
    }
    s->refusal = *refusal;
    *refusal = (api_response){0};
}

static void refuse_memory(stream *s) {
    api_response r = {0};
    api_problem(&r, 503, BRAID_E_NO_MEMORY, "request", braid_error_sentence(BRAID_E_NO_MEMORY));
    stream_refuse(s, &r);
}

/* ---- reports ---- */
static void reject_line(stream *s, size_t line, int code, const char *why) {
    s->rejected++;
    if (json_array_size(s->rejections) == REJECTIONS_KEPT) return;
    json_t *row = json_pack("{s:I, s:s, s:s}", "line", (json_int_t)line, "code", braid_error_name(code), "error", why);
    if (json_array_append_new(s->rejections, row) != 0) refuse_memory(s);
}

static void merge(stream *s, const api_response *answer) {
    json_t *report = json_loadb(answer->body, answer->len, 0, NULL);
    json_t *list = json_object_get(report, "rejected"), *total = json_object_get(report, "rejected_total"), *row;
    const char *lsn = json_string_value(json_object_get(report, "lsn"));
    size_t i;
    s->accepted += json_integer_value(json_object_get(report, "accepted"));
    s->duplicates += json_integer_value(json_object_get(report, "duplicates"));
    s->rejected += total ? json_integer_value(total) : (json_int_t)json_array_size(list);
    json_array_foreach (list, i, row) {
        if (json_array_size(s->rejections) == REJECTIONS_KEPT) break;
        if (json_array_append(s->rejections, row) != 0) refuse_memory(s);
    }
    if (lsn) snprintf(s->lsn, sizeof s->lsn, "%s", lsn);
    if (!report) refuse_memory(s);
    json_decref(report);
}

static json_t *merged(const stream *s) {
    json_t *report =
        json_pack("{s:I, s:I, s:O}", "accepted", s->accepted, "duplicates", s->duplicates, "rejected", s->rejections);
    if (report && s->rejected > (json_int_t)json_array_size(s->rejections))
        json_object_set_new(report, "rejected_total", json_integer(s->rejected));
    if (report && s->lsn[0]) json_object_set_new(report, "lsn", json_string(s->lsn));
    return report;
}

/* ---- pieces ---- */
static size_t count_lines(const char *text, size_t len) {
    size_t n = 0;
    for (const char *end = text + len; (text = memchr(text, '\n', (size_t)(end - text))) != NULL; text++) n++;
    return n;
}

static size_t blank_prefix(const char *text, size_t len) {
    size_t n = 0;
    while (n < len && (text[n] == ' ' || text[n] == '\t' || text[n] == '\r' || text[n] == '\n')) n++;
    return n;
}

/* Writes `len` bytes of whole lines. A piece must not begin with '[': the library would take all of it for one
 * array. */
static void write_piece(stream *s, const char *text, size_t len) {
    for (;;) {
        size_t skip = blank_prefix(text, len);
        s->line += count_lines(text, skip);
        text += skip;
        len -= skip;
        if (len == 0 || *text != '[') break;
        reject_line(s, s->line, BRAID_E_INVALID, "an object is wanted here");
        const char *end = memchr(text, '\n', len);
        size_t line = end ? (size_t)(end - text) : len;
        text += line;
        len -= line;
    }
    if (len == 0) return;
    api_response answer = {0};
    s->write(s->ctx, text, len, s->line, &answer);
    s->called = true;
    s->route = answer.route;
    s->line += count_lines(text, len);
    if (answer.status == 200 && answer.body)
        merge(s, &answer);
    else
        stream_refuse(s, &answer);
    api_response_free(&answer);
}

static void drop_front(stream *s, size_t n) {
    s->len -= n;
    s->scanned = 0;
    memmove(s->data, s->data + n, s->len);
}

static void reject_long_line(stream *s) {
    char why[128];
    snprintf(why, sizeof why, "the line is longer than limits.json_bytes, %zu bytes", s->line_max);
    reject_line(s, s->line, BRAID_E_TOO_LARGE, why);
}

/* Cuts off what is a piece by now. */
static void cut(stream *s) {
    while (s->len >= s->piece && !stream_refused(s)) {
        char *end = memrchr(s->data, '\n', s->piece);
        size_t from = s->scanned > s->piece ? s->scanned : s->piece;
        if (!end) end = memchr(s->data + from, '\n', s->len - from);
        if (!end) {
            s->scanned = s->len;
            if (s->len <= s->line_max) return;
            reject_long_line(s); /* its beginning is forgotten, and so will be the rest up to its end */
            s->len = s->scanned = 0;
            s->skipping = true;
            return;
        }
        size_t n = (size_t)(end - s->data) + 1;
        if (n - 1 > s->line_max) { /* a piece is no longer than that, so this is one line that came with its end */
            reject_long_line(s);
            s->line++;
        } else {
            write_piece(s, s->data, n);
        }
        drop_front(s, n);
    }
}

static bool append(stream *s, const char *data, size_t len) {
    if (s->len + len + 1 > s->cap) {
        size_t cap = s->cap ? s->cap : s->piece + SLICE + 1;
        while (cap < s->len + len + 1) cap *= 2;
        char *more = realloc(s->data, cap);
        if (!more) return false;
        s->data = more;
        s->cap = cap;
    }
    memcpy(s->data + s->len, data, len);
    s->len += len;
    s->data[s->len] = 0;
    return true;
}

void stream_feed(stream *s, const char *data, size_t len) {
    while (len > 0 && !stream_refused(s)) {
        size_t n = len < SLICE ? len : SLICE;
        if (s->skipping) {
            const char *end = memchr(data, '\n', n);
            if (end) {
                n = (size_t)(end - data) + 1;
                s->skipping = false;
                s->line++;
            }
        } else if (append(s, data, n)) {
            cut(s);
        } else {
            refuse_memory(s);
        }
        data += n;
        len -= n;
    }
}

/* The refusal, with the report of what had been written before it. */
static void answer_refusal(stream *s, api_response *answer) {
    *answer = s->refusal;
    s->refusal = (api_response){0};
    json_t *problem = answer->body ? json_loadb(answer->body, answer->len, 0, NULL) : NULL;
    char *body = NULL;
    if (problem && s->called && json_object_set_new(problem, "written", merged(s)) == 0)
        body = json_dumps(problem, JSON_COMPACT);
    json_decref(problem);
    if (!body) return; /* the bare refusal will do */
    free(answer->body);
    answer->body = body;
    answer->len = strlen(body);
}

void stream_finish(stream *s, api_response *answer) {
    *answer = (api_response){0};
    if (!stream_refused(s) && s->len > 0) write_piece(s, s->data, s->len);
    if (!stream_refused(s) &&
        !s->lsn[0]) { /* nothing was written: the library's own report of nothing, for its token */
        api_response empty = {0};
        s->write(s->ctx, "", 0, s->line, &empty);
        s->route = empty.route;
        if (empty.status == 200 && empty.body)
            merge(s, &empty);
        else
            stream_refuse(s, &empty);
        api_response_free(&empty);
    }
    if (!stream_refused(s)) {
        json_t *report = merged(s);
        answer->body = report ? json_dumps(report, JSON_COMPACT) : NULL;
        json_decref(report);
        if (!answer->body) refuse_memory(s);
    }
    if (stream_refused(s)) {
        answer_refusal(s, answer);
    } else {
        answer->status = 200;
        answer->content_type = "application/json";
        answer->len = strlen(answer->body);
    }
    answer->route = s->route;
}
