/* Fuzzing of what the server reads before a route is reached: header rules, addresses, and bodies cut into pieces.
 *
 * The first byte chooses. Framing: a request that passes has one length only. Addresses: what was decoded is
 * UTF-8, survives encoding and decoding, and a parameter is in its range. Bodies: where a stream is cut must not
 * depend on how its bytes arrived, and no byte of it is lost. */
#include "server/framing.h"
#include "server/stream.h"

#include "fuzz.h"
#include "server/api_private.h"

/* ---- framing: "METHOD VERSION", then lines "Name: value" ---- */
static void framing_of(char *text) {
    framing h = {0};
    int64_t length = -2;
    char why[256] = "", *save = NULL, *method = strtok_r(text, "\n", &save),
         *version = method ? strchr(method, ' ') : NULL;
    if (!version) return;
    *version++ = 0;
    bool length_given = false, coded = false;
    for (char *line; (line = strtok_r(NULL, "\n", &save));) {
        char *value = strchr(line, ':');
        if (!value) continue;
        *value++ = 0;
        if (*value == ' ') value++;
        framing_add(&h, line, value);
        length_given |= strcasecmp(line, "Content-Length") == 0;
        coded |= strcasecmp(line, "Transfer-Encoding") == 0;
    }
    int status = framing_check(&h, method, version, &length, why, sizeof why);
    (void)framing_is_ndjson(&h);
    if (status == 0 && length_given && coded)
        fuzz_fail("a request has one length", "Content-Length and Transfer-Encoding");
    if (status == 0 && (length_given ? length < 0 : length != -1)) fuzz_fail("the length is that of the header", why);
    if (status && (status < 400 || status > 599 || strlen(why) < 10))
        fuzz_fail("a refusal has a status and a reason", why);
}

/* ---- addresses ---- */
static void check_decoded(const char *text) {
    size_t len = strlen(text);
    char *coded = malloc(len * 3 + 1);
    if (!coded) abort();
    coded[0] = 0;
    for (size_t i = 0; i < len; i++) snprintf(coded + i * 3, 4, "%%%02x", (unsigned)(uint8_t)text[i]);
    if (!api_utf8(text, len)) fuzz_fail("what was decoded is UTF-8", text);
    if (!api_decode(coded, true) || strcmp(coded, text) != 0) fuzz_fail("encoding and decoding give the same", text);
    free(coded);
}

static void check_values(const api_row *row, const api_value *values) {
    size_t i = 0;
    for (const api_param *p = row->params; p && p->name; p++, i++) {
        if (p->type == API_INT && values[i].number != p->fallback &&
            (values[i].number < p->min || values[i].number > p->max))
            fuzz_fail("a parameter is in its range", p->name);
        if (p->type == API_TEXT && values[i].text) check_decoded(values[i].text);
    }
}

static void address_of(char *text, size_t size) {
    const char *segments[API_SEGMENTS_MAX], *id;
    (void)api_find_route("GET", text);
    for (size_t i = 0; i < api_row_count; i++) {
        api_value values[API_PARAMS_MAX] = {{0}};
        char why[API_DETAIL_MAX] = "", *query = fuzz_copy((const uint8_t *)text, size, true);
        if (api_parse_query(&api_rows[i], query, values, why, sizeof why))
            check_values(&api_rows[i], values);
        else if (!why[0])
            fuzz_fail("a refusal has a reason", text);
        free(query);
    }
    int count = api_split_path(text, segments);
    for (int i = 0; i < count; i++) check_decoded(segments[i]);
    for (size_t i = 0; count > 0 && i < api_row_count; i++)
        (void)api_match(api_rows[i].route.pattern, segments, count, &id);
}

/* ---- bodies ---- */
typedef struct pieces {
    char *text;        /* every piece as "LINE LENGTH BYTES" */
    size_t len, bytes; /* bytes: those that are not blank */
} pieces;

static size_t not_blank(const char *text, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += text[i] != ' ' && text[i] != '\t' && text[i] != '\r' && text[i] != '\n';
    return n;
}

static void keep(void *ctx, const char *lines, size_t len, size_t first_line, api_response *answer) {
    pieces *p = ctx;
    char head[48];
    int n = snprintf(head, sizeof head, "%zu %zu ", first_line, len);
    p->text = realloc(p->text, p->len + (size_t)n + len);
    if (!p->text) abort();
    memcpy(p->text + p->len, head, (size_t)n);
    if (len) memcpy(p->text + p->len + n, lines, len);
    p->len += (size_t)n + len;
    p->bytes += not_blank(lines, len);
    *answer = (api_response){0};
    if (len && memchr(lines, '!', len)) {
        api_problem(answer, 400, BRAID_E_INVALID, "request", "a piece that is refused");
        return;
    }
    answer->status = 200;
    answer->content_type = "application/json";
    answer->body = strdup("{\"accepted\":1,\"duplicates\":0,\"rejected\":[{\"line\":1,\"code\":\"INVALID\",\"error\":"
                          "\"x\"}],\"lsn\":\"1\"}");
    answer->len = answer->body ? strlen(answer->body) : 0;
}

/* Feeds in steps of `step` bytes and takes the answer. */
static void body_in_steps(const char *body, size_t size, size_t piece, size_t line_max, size_t step, pieces *out,
                          api_response *answer) {
    stream *s = stream_new(piece, line_max, keep, out);
    if (!s) abort();
    for (size_t at = 0; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        char *exact = fuzz_copy((const uint8_t *)body + at, n, false);
        stream_feed(s, exact, n);
        free(exact);
    }
    stream_finish(s, answer);
    stream_free(s);
}

static void body_of(const char *body, size_t size, size_t piece, size_t line_max, size_t step) {
    pieces once = {0}, stepped = {0};
    api_response a = {0}, b = {0};
    body_in_steps(body, size, piece, line_max, size ? size : 1, &once, &a);
    body_in_steps(body, size, piece, line_max, step, &stepped, &b);
    if (once.len != stepped.len || (once.len && memcmp(once.text, stepped.text, once.len) != 0))
        fuzz_fail("a body is cut in the same places however it arrives", "the pieces differ");
    if (a.status != b.status || !a.body || !b.body || strcmp(a.body, b.body) != 0)
        fuzz_fail("and gets the same answer", b.body);
    json_decref(fuzz_json(a.body, a.len, "the answer is JSON"));
    /* Lines that are too long or begin an array are refused by the stream itself. */
    bool whole = a.status == 200 && !strstr(a.body, "TOO_LARGE") && !(size && memchr(body, '[', size));
    if (whole && once.bytes != not_blank(body, size)) fuzz_fail("no line is lost", a.body);
    api_response_free(&a);
    api_response_free(&b);
    free(once.text);
    free(stepped.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) return 0;
    if (data[0] % 3 == 0) {
        char *text = fuzz_copy(data + 1, size - 1, true);
        framing_of(text);
        free(text);
    } else if (data[0] % 3 == 1) {
        char *text = fuzz_copy(data + 1, size - 1, true);
        address_of(text, strlen(text));
        free(text);
    } else {
        body_of((const char *)data + 4, size - 4, data[1] % 64u + 1, data[2] % 96u, data[3] % 32u + 1);
    }
    return 0;
}
