/* Two servers that disagree on the length of a body can be made to disagree on whose request comes next (request
 * smuggling), so what RFC 9112 calls ambiguous is refused here instead of interpreted; libmicrohttpd 0.9 takes the
 * first Content-Length and lets Transfer-Encoding win in silence.
 *
 * Refused: Content-Length with Transfer-Encoding, either of them twice, a length that is not digits, a coding that is
 * not "chunked", no or two Host on HTTP/1.1, names with spaces. Also refused: a compressed body (nothing here unpacks
 * one) and a write that a browser sends on behalf of another site's page. */
#include "server/framing.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_token(const char *name) {
    if (!*name) return false;
    for (const char *p = name; *p; p++) {
        bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (!letter && !strchr("!#$%&'*+-.^_`|~", *p)) return false;
    }
    return true;
}

void framing_add(framing *f, const char *name, const char *value) {
    const struct {
        const char *name;
        const char **slot;
        bool once;
    } known[] = {
        {"Content-Length", &f->content_length, true},
        {"Transfer-Encoding", &f->transfer_encoding, true},
        {"Host", &f->host, true},
        {"Content-Encoding", &f->content_encoding, false},
        {"Content-Type", &f->content_type, true},
        {"Expect", &f->expect, false},
        {"Idempotency-Key", &f->idempotency_key, true},
        {"If-None-Match", &f->if_none_match, false},
        {"Sec-Fetch-Site", &f->fetch_site, false},
    };
    if (!is_token(name)) {
        f->bad_name = true;
        return;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcasecmp(name, known[i].name) != 0) continue;
        if (*known[i].slot && known[i].once) {
            f->repeated = true;
            f->which = known[i].name;
        }
        if (!*known[i].slot) *known[i].slot = value ? value : "";
    }
}

static bool read_length(const char *text, int64_t *length) {
    size_t n = strlen(text);
    if (n == 0 || n > 18 || strspn(text, "0123456789") != n) return false;
    *length = 0;
    for (size_t i = 0; i < n; i++) *length = *length * 10 + (text[i] - '0');
    return true;
}

static bool reads_only(const char *method) {
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
}

int framing_check(const framing *f, const char *method, const char *version, int64_t *length, char *why,
                  size_t why_size) {
    bool old = strcmp(version, "HTTP/1.1") != 0;
    *length = -1;
    why[0] = 0;
    if (f->bad_name) {
        snprintf(why, why_size, "the name of a header holds a space or another byte that no name may hold");
    } else if (f->repeated) {
        snprintf(why, why_size, "the header %s is there twice", f->which);
    } else if (f->content_length && f->transfer_encoding) {
        snprintf(why, why_size, "Content-Length and Transfer-Encoding exclude each other; send one of them");
    } else if (f->content_length && !read_length(f->content_length, length)) {
        snprintf(why, why_size, "the header Content-Length wants decimal digits");
    } else if (f->transfer_encoding && old) {
        snprintf(why, why_size, "Transfer-Encoding needs HTTP/1.1");
    } else if (!old && (!f->host || !*f->host)) {
        snprintf(why, why_size, "HTTP/1.1 wants the header Host");
    }
    if (why[0]) return 400;
    if (f->transfer_encoding && strcasecmp(f->transfer_encoding, "chunked") != 0) {
        snprintf(why, why_size, "the only Transfer-Encoding that is read here is chunked");
        return 501;
    }
    if (f->content_encoding && *f->content_encoding && strcasecmp(f->content_encoding, "identity") != 0) {
        snprintf(why, why_size, "a body with Content-Encoding is not read here; send it plain");
        return 415;
    }
    if (f->fetch_site && strcasecmp(f->fetch_site, "cross-site") == 0 && !reads_only(method)) {
        snprintf(why, why_size, "a page of another site may not write here");
        return 403;
    }
    return 0;
}

bool framing_is_ndjson(const framing *f) {
    static const char *const types[] = {"application/x-ndjson", "application/ndjson", "application/jsonl",
                                        "application/x-jsonlines"};
    if (!f->content_type) return false;
    size_t len = strcspn(f->content_type, "; \t");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strlen(types[i]) == len && strncasecmp(types[i], f->content_type, len) == 0) return true;
    return false;
}
