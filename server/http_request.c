/* A request from its first line to its answer, as libmicrohttpd calls: http_begin with the raw address, http_handle
 * once after the headers, again for each read of the body, again at its end, http_completed in every case.
 *
 *     READ    the body is held until it is complete (up to limits.json_bytes), then one call of the API
 *     STREAM  NDJSON for a route that takes it: pieces are written as they come
 *     REFUSED the refusal is known, but libmicrohttpd can send it only after the body: the rest is read and dropped, for two seconds at most
 *
 * The client's deadline runs while the client is to act; while the library works it stands still, and a stream earns
 * time by progress. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/http_private.h"

typedef enum stage { FRESH, READ, STREAM, REFUSED, DONE } stage;

typedef struct request {
    server *s;
    reaper_connection *connection;
    stage stage;
    char *path, *query; /* path owns both */
    char method[16];    /* for a stream's pieces */
    framing head;
    const char *key;
    char *body;
    size_t len, cap;
    bool maybe_array; /* NDJSON by name, but nothing but blanks came yet: an array would be held */
    stream *stream;
    api_response refusal;
    uint64_t received;
    int64_t worked_us; /* the library's time: the client's deadline is later by this */
    int64_t due_us;    /* the deadline that the headers had */
    int64_t begun_us;
    bool waits_for_nobody; /* who asks whether the server lives wants to know it from a busy one, too */
    const char *route;
    int status;
} request;

/* ---- begin and end ---- */
/* "http://host/path" -> "/path": the form for proxies, which RFC 9112 wants every server to take. */
static const char *origin_form(const char *uri) {
    const char *rest = strncmp(uri, "http://", 7) == 0 ? uri + 7 : strncmp(uri, "https://", 8) == 0 ? uri + 8 : NULL;
    if (!rest) return uri;
    rest += strcspn(rest, "/?");
    return *rest ? rest : "/";
}

void *http_begin(void *cls, const char *uri, struct MHD_Connection *connection) {
    (void)connection;
    request *q = calloc(1, sizeof *q);
    if (!q) return NULL;
    q->s = cls;
    q->path = strdup(origin_form(uri));
    if (!q->path) {
        free(q);
        return NULL;
    }
    q->query = q->path + strcspn(q->path, "?");
    if (*q->query) *q->query++ = 0;
    q->path[strcspn(q->path, "#")] = 0;
    return q;
}

static void body_free(request *q) {
    atomic_fetch_sub(&q->s->held, q->cap);
    free(q->body);
    q->body = NULL;
    q->len = q->cap = 0;
}

static void observe(request *q) {
    char labels[128];
    double us = (double)(reaper_now_us() - q->begun_us);
    snprintf(labels, sizeof labels, "route=\"%s\",status=\"%d\"", q->route ? q->route : "other", q->status);
    braid_observe(q->s->db, "http_requests", labels, us);
    if (q->s->log_requests) http_log("debug", "%s %s %d %.0f us", q->method, q->path, q->status, us);
}

void http_completed(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why) {
    server *s = cls;
    request *q = *context;
    (void)connection;
    (void)why;
    *context = NULL;
    if (!q) return;
    if (q->stage != FRESH && q->status == 0) { /* the client left before there was an answer; what was written stays */
        q->status = 499;
        observe(q);
    }
    if (q->connection) {
        reaper_busy(s->reaper, q->connection, false);
        reaper_set(s->reaper, q->connection, reaper_now_us() + s->request_us);
    }
    stream_free(q->stream);
    api_response_free(&q->refusal);
    body_free(q);
    free(q->path);
    free(q);
}

void http_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                     enum MHD_ConnectionNotificationCode what) {
    server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_context = info ? reaper_add(s->reaper, info->connect_fd) : NULL;
    } else if (*socket_context) {
        reaper_remove(s->reaper, *socket_context);
        *socket_context = NULL;
    }
}

/* ---- answers ---- */
/* The time in which the client must have taken an answer of `len` bytes. */
static void allow_answer(request *q, size_t len) {
    server *s = q->s;
    reaper_set_answering(s->reaper, q->connection,
                         reaper_now_us() + s->request_us + (int64_t)(len / HTTP_RATE) * 1000000);
}

static enum MHD_Result send_answer(request *q, struct MHD_Connection *connection, api_response *r) {
    server *s = q->s;
    size_t len = r->len;
    if (r->route) q->route = r->route;
    q->status = r->status ? r->status : 503;
    q->stage = DONE;
    observe(q);
    enum MHD_Result result = http_send(s, connection, r);
    allow_answer(q, len);
    return result;
}

static enum MHD_Result send_early(request *q, struct MHD_Connection *connection, int status, int code,
                                  const char *why) {
    api_response r = {0};
    api_problem(&r, status, code, "request", why);
    return send_answer(q, connection, &r);
}

/* From here on the body is only read to its end, and not for long. */
static void linger(request *q) {
    int64_t until = reaper_now_us() + HTTP_LINGER_US, at = reaper_deadline(q->s->reaper, q->connection);
    if (at == 0 || until < at) reaper_set(q->s->reaper, q->connection, until);
    q->stage = REFUSED;
}

static void refuse(request *q, int status, int code, const char *why) {
    api_response r = {0};
    api_problem(&r, status, code, "request", why);
    if (q->stream)
        stream_refuse(q->stream, &r);
    else
        q->refusal = r;
    linger(q);
    body_free(q);
}

static void refuse_length(request *q, uint64_t max, const char *option) {
    char why[256];
    snprintf(why, sizeof why, "the body is larger than %s, %llu bytes; send less at once%s", option,
             (unsigned long long)max,
             max == q->s->json_max && max < q->s->body_max
                 ? ", or JSON lines as Content-Type: application/x-ndjson, which are not held whole"
                 : "");
    refuse(q, 413, BRAID_E_TOO_LARGE, why);
}

/* ---- work: the client's deadline stands still ---- */
static void call_api(request *q, const char *body, size_t len, size_t first_line, api_response *answer) {
    server *s = q->s;
    int64_t start = reaper_now_us();
    reaper_set(s->reaper, q->connection, 0);
    api_request a = {q->method, q->path, q->query, q->key, body, len, first_line};
    if (q->waits_for_nobody) {
        api_handle(s->db, &a, answer);
    } else if (turns_take(s->turns)) {
        api_handle(s->db, &a, answer);
        turns_give(s->turns);
    } else {
        api_problem(answer, 503, BRAID_E_BUSY, "request", "more requests came than the server gets through; try again");
    }
    q->worked_us += reaper_now_us() - start;
}

static void write_piece(void *ctx, const char *lines, size_t len, size_t first_line, api_response *answer) {
    call_api(ctx, lines, len, first_line, answer);
}

static void renew_deadline(request *q) {
    int64_t earned = (int64_t)(q->received * 1000000 / HTTP_RATE);
    reaper_set(q->s->reaper, q->connection, q->due_us + earned + q->worked_us);
}

/* ---- the body ---- */
/* The address of the option that is broken, or NULL. Room doubles; all held bodies together have a ceiling. */
static bool body_grow(request *q, size_t want) {
    server *s = q->s;
    size_t cap = q->cap ? q->cap : 4096;
    while (cap < want) cap *= 2;
    if (cap == q->cap) return true;
    size_t more = cap - q->cap;
    if (atomic_fetch_add(&s->held, more) + more > s->held_max) {
        atomic_fetch_sub(&s->held, more);
        refuse(
            q, 503, BRAID_E_BUSY,
            "too many large bodies are being received at once; try again, or send JSON lines as application/x-ndjson");
        return false;
    }
    char *body = realloc(q->body, cap);
    if (!body) {
        atomic_fetch_sub(&s->held, more);
        refuse(q, 503, BRAID_E_NO_MEMORY, braid_error_sentence(BRAID_E_NO_MEMORY));
        return false;
    }
    q->body = body;
    q->cap = cap;
    return true;
}

static void read_some(request *q, const char *data, size_t len) {
    if (q->len + len > q->s->json_max) {
        refuse_length(q, q->s->json_max, "limits.json_bytes");
        return;
    }
    if (!body_grow(q, q->len + len + 1)) return;
    memcpy(q->body + q->len, data, len);
    q->len += len;
    q->body[q->len] = 0;
}

static void stream_some(request *q, const char *data, size_t len) {
    if (q->maybe_array) {
        size_t blanks = 0;
        while (blanks < len && strchr(" \t\r\n", data[blanks]) && data[blanks]) blanks++;
        q->maybe_array = blanks == len;
        if (blanks < len &&
            data[blanks] == '[') { /* blanks before it are dropped; an array counts elements, not lines */
            q->stage = READ;
            stream_free(q->stream);
            q->stream = NULL;
            read_some(q, data, len);
            return;
        }
    }
    stream_feed(q->stream, data, len);
    renew_deadline(q);
    if (stream_refused(q->stream)) linger(q);
}

static enum MHD_Result take_body(request *q, const char *data, size_t len) {
    q->received += len;
    if (q->stage == REFUSED) return q->received > q->s->body_max + HTTP_DISCARD_MAX ? MHD_NO : MHD_YES;
    if (q->received > q->s->body_max)
        refuse_length(q, q->s->body_max, "limits.body_bytes");
    else if (q->stage == READ)
        read_some(q, data, len);
    else
        stream_some(q, data, len);
    return MHD_YES;
}

static enum MHD_Result finish(request *q, struct MHD_Connection *connection) {
    api_response r = {0};
    int status;
    size_t sent;
    enum MHD_Result result;
    if (q->stream) {
        stream_finish(q->stream, &r);
    } else if (q->stage == REFUSED) {
        r = q->refusal;
        q->refusal = (api_response){0};
    } else if (http_send_asset(q->s, connection, q->method, q->path, q->head.if_none_match, &status, &sent, &result)) {
        q->route = strcmp(q->path, "/") == 0 ? "/" : "/assets/{name}";
        q->status = status;
        q->stage = DONE;
        observe(q);
        allow_answer(q, sent);
        return result;
    } else {
        call_api(q, q->body, q->len, 1, &r);
    }
    body_free(q);
    return send_answer(q, connection, &r);
}

/* ---- the headers ---- */
static enum MHD_Result one_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value) {
    (void)kind;
    framing_add(cls, name, value);
    return MHD_YES;
}

static enum MHD_Result begin(request *q, struct MHD_Connection *connection, const char *method, const char *version) {
    char why[256];
    int64_t length;
    server *s = q->s;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    q->connection = info ? info->socket_context : NULL;
    if (!q->connection) return MHD_NO; /* no memory for a deadline: no service */
    q->begun_us = reaper_now_us();
    q->due_us = reaper_deadline(s->reaper, q->connection);
    reaper_busy(s->reaper, q->connection, true);
    snprintf(q->method, sizeof q->method, "%s", method);
    MHD_get_connection_values(connection, MHD_HEADER_KIND, one_header, &q->head);
    q->key = q->head.idempotency_key;
    q->stage = READ;
    int status = framing_check(&q->head, method, version, &length, why, sizeof why);
    if (status) return send_early(q, connection, status, BRAID_E_INVALID, why);
    const api_route *route = api_find_route(method, q->path);
    bool streams = route && route->streams && framing_is_ndjson(&q->head);
    q->route = route ? route->pattern : NULL;
    q->waits_for_nobody = route && strncmp(route->pattern, "/v1/", 4) != 0;
    uint64_t max = streams || s->json_max > s->body_max ? s->body_max : s->json_max;
    if (length > 0 && (uint64_t)length > max) {
        refuse_length(q, max, max == s->body_max ? "limits.body_bytes" : "limits.json_bytes");
        if (q->head.expect || (uint64_t)length > max + HTTP_DISCARD_MAX) return finish(q, connection);
        return MHD_YES;
    }
    if (streams) {
        q->stream = stream_new(HTTP_PIECE, s->json_max, write_piece, q);
        if (!q->stream)
            return send_early(q, connection, 503, BRAID_E_NO_MEMORY, braid_error_sentence(BRAID_E_NO_MEMORY));
        q->stage = STREAM;
        q->maybe_array = true;
    }
    return MHD_YES;
}

enum MHD_Result http_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                            const char *version, const char *data, size_t *size, void **context) {
    request *q = *context;
    (void)cls;
    (void)url;
    if (!q) return MHD_NO; /* http_begin found no memory */
    if (q->stage == FRESH) return begin(q, connection, method, version);
    if (*size == 0) return q->stage == DONE ? MHD_YES : finish(q, connection);
    size_t len = *size;
    *size = 0;
    return take_body(q, data, len);
}
