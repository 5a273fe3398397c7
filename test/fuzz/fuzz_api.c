/* Fuzzing of the routes without a socket: any method, path, query, key and body must get an answer.
 *
 * An input is a row of requests, separated by the byte 0x1E, so that one can build on another. Of each the first
 * line is "METHOD TARGET [KEY]" and the rest the body. The status must be one that a client can have caused (never
 * 500), the body what its content type says. */
#include "server/api.h"

#include "fuzz.h"

enum { REQUESTS_MAX = 6, RENEW_EVERY = 5000, SEPARATOR = 0x1E };

static fuzz_db f;
static size_t runs;

static void finish(void) {
    if (f.db) fuzz_db_verify(f.db);
    fuzz_db_drop(&f);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    fuzz_db_new(&f);
    fuzz_db_fill(f.db);
    atexit(finish);
    return 0;
}

static void check_lines(const char *text, size_t len) {
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        if (!end) fuzz_fail("every line of NDJSON ends", text);
        json_decref(fuzz_json(text, (size_t)(end - text), "every line of NDJSON is JSON"));
        len -= (size_t)(end - text) + 1;
        text = end + 1;
    }
}

static void check_body(const api_response *r) {
    if (strstr(r->content_type, "ndjson")) {
        check_lines(r->body, r->len);
    } else if (strstr(r->content_type, "json")) {
        json_t *json = fuzz_json(r->body, r->len, "a JSON body is JSON");
        if (r->status >= 400 && json_integer_value(json_object_get(json, "status")) != r->status)
            fuzz_fail("a problem holds its status", r->body);
        if (r->status >= 400 && !json_string_length(json_object_get(json, "detail")))
            fuzz_fail("a problem says what is wrong", r->body);
        json_decref(json);
    } else {
        json_t *text = json_stringn(r->body, r->len);
        if (!text) fuzz_fail("text is UTF-8", r->body);
        json_decref(text);
    }
}

static void check(const api_request *q, const api_response *r) {
    char at[400];
    snprintf(at, sizeof at, "%d for %.40s %.200s?%.80s", r->status, q->method, q->path, q->query);
    if (r->status < 100 || r->status > 599 || r->status == 500 || r->status == 507)
        fuzz_fail("the status is one that a client can cause", at);
    if ((r->allow != NULL) != (r->status == 405 || r->status == 204)) fuzz_fail("405 and OPTIONS name the methods", at);
    if (r->status == 204) return;
    if (!r->body || !r->content_type) fuzz_fail("there is an answer", at);
    if (r->status >= 400 && strcmp(r->content_type, "application/problem+json") != 0)
        fuzz_fail("a refusal is a problem", at);
    check_body(r);
}

/* Cuts the head in place at a byte; the rest, or an empty text. */
static char *cut(char *text, char at) {
    char *rest = strchr(text, at);
    if (!rest) return text + strlen(text);
    *rest = 0;
    return rest + 1;
}

static void ask(const uint8_t *data, size_t size) {
    const uint8_t *end = memchr(data, '\n', size);
    size_t head_size = end ? (size_t)(end - data) : size, len = end ? size - head_size - 1 : 0;
    char *head = fuzz_copy(data, head_size, true), *body = fuzz_copy(end ? end + 1 : data, len, false);
    char *path = cut(head, ' '), *key = cut(path, ' '), *query = cut(path, '?');
    api_request q = {.method = head,
                     .path = path,
                     .query = query,
                     .idempotency_key = *key ? key : NULL,
                     .body = len ? body : NULL,
                     .len = len};
    api_response r;
    if (!fuzz_may_wait(body, len)) {
        api_handle(f.db, &q, &r);
        check(&q, &r);
        api_response_free(&r);
    }
    free(head);
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int i = 0; i < REQUESTS_MAX && size > 0; i++) {
        const uint8_t *end = memchr(data, SEPARATOR, size);
        size_t len = end ? (size_t)(end - data) : size;
        ask(data, len);
        data += end ? len + 1 : len;
        size -= end ? len + 1 : len;
    }
    if (++runs % RENEW_EVERY == 0) {
        fuzz_db_verify(f.db);
        fuzz_db_drop(&f);
        fuzz_db_new(&f);
        fuzz_db_fill(f.db);
    }
    return 0;
}
