/* See turn.h. The C library has no wrapper for these calls, and the kernel's header clashes with its own. */
#include "turn.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SHORT_SLICE_NS = 100000, LONG_SLICE_NS = 100000000, NICE_MAX = 19 }; /* the bounds that the kernel allows */

/* struct sched_attr in its first version. */
typedef struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} attributes;
_Static_assert(sizeof(attributes) == 48, "the kernel knows this size");

static void take(uint32_t policy, uint64_t slice, int nicer) {
    attributes a = {.size = sizeof a};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) != 0 || (a.policy != SCHED_OTHER && a.policy != SCHED_BATCH))
        return;
    a.size = sizeof a;
    a.flags = 0;
    a.policy = policy;
    a.runtime = slice;
    a.nice = a.nice + nicer < NICE_MAX ? a.nice + nicer : NICE_MAX;
    (void)syscall(SYS_sched_setattr, 0, &a, 0); /* an older kernel refuses or ignores it, which costs latency alone */
}

void turn_first(void) {
    take(SCHED_OTHER, SHORT_SLICE_NS, 0);
}

void turn_give_way(int nicer) {
    take(SCHED_BATCH, LONG_SLICE_NS, nicer);
}
