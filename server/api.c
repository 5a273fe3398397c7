/* The way of a request: method and path -> a row of the table -> checked parameters -> the row's handler -> an answer.
 *
 * A refusal is an answer like any other, application/problem+json (RFC 9457), made here and only here. Every body that
 * leaves is malloc'ed text of its own: text that the library lends or that braid_free() owns is copied, so that one
 * rule (free) holds for the transports above. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api_private.h"

/* ---- answers ---- */
static void set_body(api_response *r, int status, const char *type, char *body, size_t len) {
    free(r->body);
    r->status = body ? status : 503;
    r->content_type = type;
    r->body = body;
    r->len = body ? len : 0;
}

/* Text that may hold anything -> JSON text: what is not UTF-8 becomes '?' rather than no message at all. */
static json_t *safe_string(const char *text) {
    json_t *s = json_string(text);
    if (s) return s;
    char copy[API_DETAIL_MAX];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    return json_string(copy);
}

void api_problem(api_response *response, int status, int code, const char *store, const char *detail) {
    json_t *problem = json_pack("{s:s, s:s, s:i, s:s, s:o, s:o}", "type", "about:blank", "title",
                                braid_error_sentence(code), "status", status, "code", braid_error_name(code), "detail",
                                safe_string(detail), "store", safe_string(store && *store ? store : "request"));
    char *body = problem ? json_dumps(problem, JSON_COMPACT) : NULL;
    json_decref(problem);
    set_body(response, status, "application/problem+json", body, body ? strlen(body) : 0);
}

void api_answer(api_call *call, const char *text, size_t len) {
    char *copy = malloc(len + 1);
    if (copy) {
        if (len) memcpy(copy, text, len);
        copy[len] = 0;
    }
    set_body(call->response, 200, call->row->type, copy, len);
}

void api_refuse(api_call *call, int rc, const braid_error *err) {
    api_problem(call->response, braid_error_http_status(rc), rc, err->store,
                err->message[0] ? err->message : braid_error_sentence(rc));
}

void api_refuse_invalid(api_call *call, const char *format, ...) {
    char detail[API_DETAIL_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    api_problem(call->response, 400, BRAID_E_INVALID, "request", detail);
}

void api_answer_text(api_call *call, int rc, char *text, const braid_error *err) {
    if (rc) {
        api_refuse(call, rc, err);
        return;
    }
    api_answer(call, text, strlen(text));
    braid_free(text);
}

void api_response_free(api_response *response) {
    free(response->body);
    free(response->next);
    *response = (api_response){0};
}

/* ---- the table ---- */
const api_route *api_route_at(size_t i) {
    return i < api_row_count ? &api_rows[i].route : NULL;
}

enum { GET = 1, POST = 2, PUT = 4, DELETE = 8 };

static unsigned method_bit(const char *method) {
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"GET", GET}, {"HEAD", GET}, {"POST", POST}, {"PUT", PUT}, {"DELETE", DELETE}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, method) == 0) return known[i].bit;
    return 0;
}

/* The Allow header for a set of methods; static text, since a response may outlive the call that made it. */
static const char *allow_text(unsigned methods) {
    static const char *const texts[16] = {
        "OPTIONS",
        "GET, HEAD, OPTIONS",
        "POST, OPTIONS",
        "GET, HEAD, POST, OPTIONS",
        "PUT, OPTIONS",
        "GET, HEAD, PUT, OPTIONS",
        "POST, PUT, OPTIONS",
        "GET, HEAD, POST, PUT, OPTIONS",
        "DELETE, OPTIONS",
        "GET, HEAD, DELETE, OPTIONS",
        "POST, DELETE, OPTIONS",
        "GET, HEAD, POST, DELETE, OPTIONS",
        "PUT, DELETE, OPTIONS",
        "GET, HEAD, PUT, DELETE, OPTIONS",
        "POST, PUT, DELETE, OPTIONS",
        "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    };
    return texts[methods & 15];
}

/* The row for the method, or NULL; *methods is what the path would take (0: there is no such path), *pattern any row's
 * pattern. */
static const api_row *find_row(unsigned method, const char *const *segments, int count, unsigned *methods,
                               const char **pattern, const char **id) {
    const api_row *found = NULL;
    *methods = 0;
    *pattern = NULL;
    *id = NULL;
    for (size_t i = 0; i < api_row_count; i++) {
        const char *here;
        if (!api_match(api_rows[i].route.pattern, segments, count, &here)) continue;
        unsigned bit = method_bit(api_rows[i].route.method);
        *methods |= bit;
        *pattern = api_rows[i].route.pattern;
        if (bit == method && !found) {
            found = &api_rows[i];
            *id = here;
        }
    }
    return found;
}

const api_route *api_find_route(const char *method, const char *path) {
    const char *segments[API_SEGMENTS_MAX], *pattern, *id;
    unsigned methods;
    char *copy = strdup(path);
    int count = copy ? api_split_path(copy, segments) : -1;
    const api_row *row = count > 0 ? find_row(method_bit(method), segments, count, &methods, &pattern, &id) : NULL;
    free(copy);
    return row ? &row->route : NULL;
}

/* ---- dispatch ---- */
static void run_row(api_call *call, char *query) {
    char why[API_DETAIL_MAX];
    const api_request *q = call->request;
    if (!api_parse_query(call->row, query, call->values, why, sizeof why)) {
        api_refuse_invalid(call, "%s", why);
        return;
    }
    call->text = q->body && q->len ? q->body : ""; /* braid.h takes a length of 0 as NUL-terminated */
    call->len = q->body ? q->len : 0;
    if (call->row->handle)
        call->row->handle(call);
    else
        api_problem(call->response, 404, BRAID_E_NOT_FOUND, "request", "the page has no such file");
}

static void refuse_method(const api_request *q, unsigned methods, api_response *r) {
    char detail[API_DETAIL_MAX];
    r->allow = allow_text(methods);
    if (strcmp(q->method, "OPTIONS") == 0) {
        r->status = 204;
        r->content_type = NULL;
        return;
    }
    snprintf(detail, sizeof detail, "%.16s is not a method of %.200s; it takes %s", q->method, q->path, r->allow);
    api_problem(r, 405, BRAID_E_METHOD, "request", detail);
}

static void dispatch(braid_db *db, const api_request *q, char *path, char *query, api_response *r) {
    const char *segments[API_SEGMENTS_MAX], *id;
    unsigned methods = 0;
    int count = api_split_path(path, segments);
    if (count == -1) {
        api_problem(
            r, 400, BRAID_E_INVALID, "request",
            "the path holds a broken escape, %00 or broken UTF-8; write every byte outside A-Z a-z 0-9 - . _ ~ as %XX");
        return;
    }
    const api_row *row = count > 0 ? find_row(method_bit(q->method), segments, count, &methods, &r->route, &id) : NULL;
    if (!row && methods) {
        refuse_method(q, methods, r);
        return;
    }
    if (!row) {
        char detail[API_DETAIL_MAX];
        snprintf(detail, sizeof detail, "there is nothing at %.200s; GET /openapi.json lists what is there", q->path);
        api_problem(r, 404, BRAID_E_NOT_FOUND, "request", detail);
        return;
    }
    api_call call = {.db = db, .request = q, .row = row, .id = id, .response = r};
    run_row(&call, query);
}

void api_handle(braid_db *db, const api_request *request, api_response *response) {
    *response = (api_response){0};
    char *path = strdup(request->path ? request->path : ""), *query = strdup(request->query ? request->query : "");
    if (!path || !query)
        api_problem(response, 503, BRAID_E_NO_MEMORY, "request", braid_error_sentence(BRAID_E_NO_MEMORY));
    else
        dispatch(db, request, path, query, response);
    free(path);
    free(query);
}
