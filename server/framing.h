/* framing: where one request ends and the next begins must not be a matter of opinion. */
#ifndef SERVER_FRAMING_H
#define SERVER_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the headers of one request say; fill with framing_add, then ask framing_check. Text is borrowed. */
typedef struct framing {
    const char *content_length, *transfer_encoding, *content_encoding, *content_type;
    const char *host, *expect, *idempotency_key, *if_none_match, *fetch_site;
    bool repeated;     /* one of those of which there may be one came twice */
    const char *which; /* its name */
    bool bad_name;     /* a header's name holds what no name may hold */
} framing;

void framing_add(framing *f, const char *name, const char *value);
/* 0, or the HTTP status of the refusal with a sentence in `why`. *length: the Content-Length, or -1 if there is
 * none. */
int framing_check(const framing *f, const char *method, const char *version, int64_t *length, char *why,
                  size_t why_size);
/* Whether the body is declared as JSON lines. */
bool framing_is_ndjson(const framing *f);

#endif
