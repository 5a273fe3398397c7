/* Items are handed out in blocks from one counter: some cost a thousand times what others do, so that shares cut
 * beforehand would leave threads idle. The calling thread works too and is the one that reports progress. Which thread
 * does an item changes nothing of what comes out. */
#include "learn/parallel.h"

#include <pthread.h>
#include <stdatomic.h>

enum { BLOCK = 64, THREADS_MAX = 64 };

typedef struct each_state {
    uint32_t items;
    const learn_work *work;
    learn_each_fn *each;
    void *(*make)(void *ctx);
    void (*drop)(void *scratch);
    void *ctx;
    _Atomic uint64_t next;
    _Atomic int failed; /* braid_code */
} each_state;

static void each_work(each_state *s, bool reports) {
    void *scratch = s->make(s->ctx);
    if (!scratch) atomic_store(&s->failed, BRAID_E_NO_MEMORY);
    while (scratch && atomic_load(&s->failed) == BRAID_OK) {
        uint64_t begin = atomic_fetch_add(&s->next, BLOCK);
        if (begin >= s->items) break;
        uint64_t end = begin + BLOCK < s->items ? begin + BLOCK : s->items;
        for (uint64_t i = begin; i < end; i++)
            if ((!s->work->only || bitset_has(s->work->only, (uint32_t)i)) && !s->each(s->ctx, scratch, (uint32_t)i))
                atomic_store(&s->failed, BRAID_E_NO_MEMORY);
        if (reports && s->work->progress && !s->work->progress(s->work->ctx, end, s->items))
            atomic_store(&s->failed, BRAID_E_CLOSED);
    }
    if (scratch) s->drop(scratch);
}

static void *each_thread(void *arg) {
    each_work(arg, false);
    return NULL;
}

int learn_each(uint32_t items, const learn_work *work, learn_each_fn *each, void *(*make)(void *ctx),
               void (*drop)(void *scratch), void *ctx, braid_error *err) {
    each_state s = {.items = items, .work = work, .each = each, .make = make, .drop = drop, .ctx = ctx};
    pthread_t threads[THREADS_MAX];
    unsigned more = work->threads > 1 ? work->threads - 1 : 0, started = 0;
    if (more > THREADS_MAX) more = THREADS_MAX;
    if (work->progress && !work->progress(work->ctx, 0, items))
        return error_set(err, BRAID_E_CLOSED, "learn", "stopped before the end; nothing was changed");
    while (started < more && pthread_create(&threads[started], NULL, each_thread, &s) == 0) started++;
    each_work(&s, true);
    for (unsigned i = 0; i < started; i++) pthread_join(threads[i], NULL);
    switch (atomic_load(&s.failed)) {
    case BRAID_OK: return BRAID_OK;
    case BRAID_E_CLOSED: return error_set(err, BRAID_E_CLOSED, "learn", "stopped before the end; nothing was changed");
    default: return error_set(err, BRAID_E_NO_MEMORY, "learn", "no memory to learn from what people did");
    }
}
