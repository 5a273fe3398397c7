/* The same work for every item, on several threads. Private to src/learn. */
#ifndef LEARN_PARALLEL_H
#define LEARN_PARALLEL_H

#include "learn/learn.h"

/* One thread's share: `scratch` is its own; false: no memory. */
typedef bool learn_each_fn(void *ctx, void *scratch, uint32_t item);

/* Calls `each` once for every item, or for those of work->only. Each thread makes its scratch by `make` (NULL: no
 * memory) and frees it by `drop`. NO_MEMORY, or CLOSED when the progress function says stop. */
int learn_each(uint32_t items, const learn_work *work, learn_each_fn *each, void *(*make)(void *ctx),
               void (*drop)(void *scratch), void *ctx, braid_error *err);

#endif
