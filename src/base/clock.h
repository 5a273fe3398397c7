/* Time, passed in. Deadlines, time-outs and latencies run on the monotonic clock only, so that a step of the wall clock
 * (±1 h, 2038) harms none; the wall clock stamps events and decides rights windows. Tests pass a clock of their own. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct clock_ops {
    int64_t (*mono_ns)(void *ctx); /* never goes back */
    int64_t (*wall_ms)(void *ctx); /* milliseconds since 1970-01-01 UTC */
    void *ctx;
} clock_ops;

extern const clock_ops clock_system;

static inline int64_t clock_mono_ns(const clock_ops *c) {
    return c->mono_ns(c->ctx);
}
static inline int64_t clock_wall_ms(const clock_ops *c) {
    return c->wall_ms(c->ctx);
}

/* An absolute monotonic instant in ns; 0 means none. */
typedef int64_t deadline;
static inline bool deadline_passed(const clock_ops *c, deadline d) {
    return d != 0 && clock_mono_ns(c) >= d;
}

/* RFC 3339 <-> milliseconds. Reads "2026-11-21", "2026-11-21T20:15:00Z", with fraction and offset; false if it is none
 * of them. Writes "2026-11-21T20:15:00Z", with ".123" only when there are milliseconds; `out` holds 32 bytes. Years
 * 0001..9999. */
bool clock_parse_rfc3339(const char *text, int64_t *wall_ms);
void clock_format_rfc3339(int64_t wall_ms, char out[32]);

#endif
