/* Time in tests.
 *
 * No verdict may depend on how fast a machine is: it may be asked to do ten other things at once, under a sanitizer.
 * So a claim about time is made by what happens first, by counts, or by a clock that the test holds; how late things
 * are is measured in bench/. Where a wait must end by itself ("the deadline, and no more"), the test arranges that
 * every other end it could have - a server's answer, a time-out of another layer, the pause before a retry - is
 * LONG_MS away or never comes, and asks that it ended within SOON_MS: no machine is twenty seconds late, and who
 * waited for the wrong thing is found all the same. What must succeed may take LONG_MS. Lower bounds ("not before")
 * hold on every machine. */
#ifndef TIMING_H
#define TIMING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define TIMING_MAYBE static inline __attribute__((unused))

enum { SOON_MS = 20000, LONG_MS = 60000 };

TIMING_MAYBE int64_t now_ns(void) {
    return clock_mono_ns(&clock_system);
}
TIMING_MAYBE int64_t now_ms(void) {
    return now_ns() / 1000000;
}
TIMING_MAYBE int64_t in_ms(int64_t ms) {
    return now_ns() + ms * 1000000;
} /* a deadline */
TIMING_MAYBE int64_t elapsed_ms(int64_t begun_ns) {
    return (now_ns() - begun_ns) / 1000000;
} /* since now_ns() was begun_ns */

TIMING_MAYBE void sleep_ms(int64_t ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) != 0) {}
}

/* Asks again every few milliseconds until `done` holds, for LONG_MS at most: whether it came to hold. */
#define COMES_TRUE(done)                                                                                               \
    __extension__({                                                                                                    \
        int64_t comes_true_begun = now_ns();                                                                           \
        bool comes_true;                                                                                               \
        while (!(comes_true = (done)) && elapsed_ms(comes_true_begun) < LONG_MS) sleep_ms(2);                          \
        comes_true;                                                                                                    \
    })

/* Whether a thread of this process sleeps, as one does that waits in a line: `tid` is what gettid() told it just
 * before, 0 until then. */
TIMING_MAYBE bool thread_sleeps(const atomic_int *tid) {
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(tid));
    FILE *f = atomic_load(tid) != 0 ? fopen(path, "r") : NULL;
    if (f == NULL) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] == 'S';
}
#endif
