/* buf: a growing byte buffer that is born with a ceiling.
 *
 * Always NUL-terminated after the data, so `b.data` is a C string (and "" when empty). Sticky failure: after an append
 * that found no memory or met the ceiling, `failed` is set and further appends do nothing; check once at the end. One
 * thread at a time. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

typedef struct buf {
    char *data;
    size_t len, cap, max;
    bool failed;
} buf;

void buf_init(buf *b, size_t max); /* max 0: 1 GiB */
void buf_free(buf *b);             /* leaves it empty and usable again */
void buf_reset(buf *b);            /* len 0, failure forgotten, memory kept */
bool buf_add(buf *b, const void *data, size_t len);
bool buf_puts(buf *b, const char *text);
bool buf_putc(buf *b, char c);
bool buf_printf(buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends a JSON string with its quotes, escaping what JSON wants escaped; `text` must be UTF-8. */
bool buf_json_string(buf *b, const char *text);
/* Appends a number as JSON: shortest text that reads back the same double; null for NaN or infinity. */
bool buf_json_real(buf *b, double value);
/* Hands the memory to the caller (free()), or NULL if it failed; leaves b empty. */
char *buf_steal(buf *b);

#endif
