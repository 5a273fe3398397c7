/* What the files of the Milvus store share; private to it.
 *
 * vector_milvus.c          the table; opening, being ready, what it says of itself
 * vector_milvus_schema.c   the collection: made, compared with what it should be, loaded, dropped
 * vector_milvus_write.c    upserts and removals
 * vector_milvus_versions.c which version of an item was written last
 * vector_milvus_read.c     vectors by number, pages, counts, check
 * vector_milvus_search.c   nearest neighbours
 * vector_milvus_filter.c   filter -> expression */
#ifndef VECTOR_MILVUS_H
#define VECTOR_MILVUS_H

#include <pthread.h>
#include <stdatomic.h>

#include "vector/meter.h"
#include "vector/stores.h"
#include "wire/milvus.h"

#define MILVUS_STORE "vector/milvus"

enum {
    MILVUS_COLLECTION_BYTES = 256,
    MILVUS_ROWS_BATCH = 1000,          /* rows a write, unless remote.batch says otherwise */
    MILVUS_BATCH_BYTES_MAX = 16 << 20, /* of one write's message */
    MILVUS_PAGE_BYTES = 4 << 20,       /* of vectors in one page */
    MILVUS_NUMS_PER_QUERY = 1000,      /* numbers in one expression */
    MILVUS_LIMIT_MAX = 16384,          /* rows that one search or query gives */
    MILVUS_RECENT = 1 << 14,           /* remainders of numbers by which recent writes are known */
    MILVUS_BOUNDED_MS = VECTOR_LATE_MS /* by then "bounded" covers a write; the server's grace is 5,000 */
};

typedef enum milvus_state { MILVUS_UNREADY, MILVUS_GETTING_READY, MILVUS_READY } milvus_state;

typedef struct milvus_versions milvus_versions;

typedef struct milvus {
    rpc_channel *channel;
    char collection[MILVUS_COLLECTION_BYTES];
    uint32_t dim;
    unsigned m, ef_construction, ef_search;
    size_t batch;
    int64_t write_ns; /* of one batch that is written */
    const clock_ops *clock;
    const logger *log;
    const vector_kernel *kernel;

    pthread_mutex_t lock; /* guards state */
    pthread_cond_t changed;
    milvus_state state;
    _Atomic bool ready; /* state == MILVUS_READY, for a look without the lock */

    /* The promise that what this store wrote is seen: the newest timestamp of our own writes, and when it came. */
    _Atomic uint64_t wrote_ts;
    _Atomic int64_t wrote_ns;
    /* When, in ms since opening + 1, a number with this remainder was written last: which vectors "bounded" may
     * miss. */
    _Atomic uint32_t wrote_ms[MILVUS_RECENT];
    int64_t opened_ns;

    milvus_versions *versions; /* the feed thread's, with the next two */
    bool looked;               /* milvus_first_look is done */
    _Atomic bool made;         /* the collection is of this process' making: no number is in it that we did not send */
    uint64_t unflushed;        /* rows written since the last flush */
    _Atomic uint64_t count;    /* rows, as last counted */
    _Atomic bool counted;      /* nothing was written since */
    meter search_ns;           /* a search's time by round trips */
} milvus;

/* ---- asking ---- */

/* Makes sure that the collection is there, is ours and is loaded. `create`: makes it when it is missing. */
int milvus_ready(milvus *s, bool create, deadline until, braid_error *err);
int milvus_first_look(milvus *s, deadline until, braid_error *err);
/* It is no longer what it was: the next call looks again. */
void milvus_unready(milvus *s);
/* One call; `what` for messages. Notices a collection that is gone or no longer loaded. */
int milvus_call(milvus *s, const char *method, const char *what, bool bare, rpc_message request, deadline until,
                buf *answer, braid_error *err);
/* Never sent twice, whatever became of it. */
int milvus_call_once(milvus *s, const char *method, const char *what, rpc_message request, deadline until, buf *answer,
                     braid_error *err);
deadline milvus_write_until(const milvus *s); /* of a batch that is sent now */
int milvus_no_memory(braid_error *err);
/* What a question must see: our own writes, or (fresh) anybody's. */
milvus_view milvus_view_now(milvus *s, bool fresh);
/* The same for a question about these numbers: what was not written lately need not be waited for. */
milvus_view milvus_view_of(milvus *s, const uint32_t *nums, size_t n);
/* Before their write is sent. */
void milvus_note_nums(milvus *s, const uint32_t *nums, size_t n);

/* ---- schema ---- */

/* Creates, indexes and loads, or checks and loads. UNAVAILABLE when it is missing and `create` is false. */
int milvus_schema_ensure(milvus *s, bool create, deadline until, braid_error *err);
int milvus_schema_drop(milvus *s, deadline until, braid_error *err);
int milvus_schema_index(milvus *s, deadline until, milvus_index *out, bool *found, braid_error *err);

/* ---- writing ---- */

int milvus_upsert(void *self, const vector_entry *entries, size_t n, braid_error *err);
int milvus_remove(void *self, const uint32_t *nums, size_t n, braid_error *err);
void milvus_rest(void *self);
int milvus_flush(milvus *s, deadline until, braid_error *err);

milvus_versions *milvus_versions_new(void);
void milvus_versions_free(milvus_versions *v);
/* Nothing is known any more; `empty`: the collection holds nothing, so that what is not known is not there. */
void milvus_versions_reset(milvus_versions *v, bool empty);
/* What is known of an item: nothing, that it is not there (or has no version), the version that is there, or
 * (MILVUS_REMOVED or-ed in) the one that was removed. */
#define MILVUS_UNKNOWN UINT64_C(0)
#define MILVUS_ABSENT  UINT64_MAX
#define MILVUS_REMOVED (UINT64_C(1) << 63)
uint64_t milvus_versions_get(const milvus_versions *v, uint32_t num);
/* nothing was ever put for it since an `empty` reset */
bool milvus_versions_untouched(const milvus_versions *v, uint32_t num);
bool milvus_versions_put(milvus_versions *v, uint32_t num, uint64_t known); /* false when memory ran out */
/* Whether `version` (not 0) is older than what is there, or no newer than what was removed. */
bool milvus_versions_stale(const milvus_versions *v, uint32_t num, uint64_t version);

/* ---- reading ---- */

int milvus_ask_rows(milvus *s, const milvus_query *q, bool versions, uint32_t dim, deadline until, milvus_rows *out,
                    braid_error *err);
int milvus_count(milvus *s, milvus_view view, deadline until, uint64_t *out, braid_error *err);
/* Appends "num in [...]". */
bool milvus_nums_expr(const uint32_t *nums, size_t n, buf *out);
int milvus_fetch(void *self, uint32_t num, deadline until, float *out, braid_error *err);
int milvus_fetch_many(void *self, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                      braid_error *err);
int milvus_score(void *self, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                 braid_error *err);
int milvus_scan(void *self, vector_scan_fn *each, void *ctx, braid_error *err);
int milvus_check(void *self, vector_check_report *out, braid_error *err);
int milvus_search_items(void *self, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                        braid_error *err);
/* Pages in the order of the numbers, from `from` on, at most `rows` a page (0: what fits), until `page` says no. */
typedef int milvus_page_fn(void *ctx, const milvus_rows *rows, bool *more, braid_error *err);
typedef struct milvus_pages {
    const char *where; /* "" or an expression */
    bool versions, vectors;
    milvus_view view;
    deadline until;
} milvus_pages;
int milvus_each_page(milvus *s, const milvus_pages *p, milvus_page_fn *page, void *ctx, braid_error *err);

#endif
