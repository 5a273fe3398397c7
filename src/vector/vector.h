/* vector: "what is like it". Nearest neighbours of a vector among the items, under any filter.
 *
 * A vector store is derived: it is fed by idempotent upserts and removals in LSN order and may be thrown away and
 * rebuilt. Items are known by their number (uint32, given by the record store, never used again after a delete).
 * Similarity is the inner product of L2-normalised vectors (cosine), so scores are in -1..1 and larger is nearer.
 *
 * Concurrency: searches from any number of threads while ONE feed thread upserts and removes; a search sees every batch
 * that was complete before it began and never a half-written vector.
 *
 * Filters reach a store as a set of allowed numbers (bitset): exact membership, whatever made the set (filter, rights,
 * 100,000 exclusions, seen list). A store must fill k from the set if the set and the index hold k items: the walk
 * continues until it has k or has used its budget, and falls back to exact scoring of the set when that is cheaper (the
 * set's size is known). */
#ifndef VECTOR_H
#define VECTOR_H

#include "base/base.h"
#include "model/model.h"

typedef enum vector_caps {
    VECTOR_CAP_ALLOW = 1,     /* takes a bitset of allowed numbers */
    VECTOR_CAP_EXACT = 2,     /* results are exact */
    VECTOR_CAP_SNAPSHOT = 4,  /* can save and load a file */
    VECTOR_CAP_REMOTE = 8,    /* another process: keeps what it holds between our starts, and may be down */
    VECTOR_CAP_FIELDS = 16,   /* keeps the items' fields beside the vectors and filters by them itself */
    VECTOR_CAP_VERSIONS = 32, /* keeps each item's version; an older one never replaces a newer */
    VECTOR_CAP_LATE = 64      /* a search that is not `fresh` may miss what was applied in the last VECTOR_LATE_MS */
} vector_caps;

enum { VECTOR_LATE_MS = 6000 };

typedef struct vector_options {
    uint32_t dim;
    unsigned m;                   /* HNSW M, 4..64, default 16: links a level, twice that on level 0 */
    unsigned ef_construction;     /* default 200 */
    unsigned ef_search;           /* default 64; a search may ask for another */
    uint64_t seed;                /* of the level generator: same order of inserts, same graph */
    const char *kernel;           /* "auto", "avx512", "avx2", "scalar" */
    const remote_options *remote; /* VECTOR_CAP_REMOTE: where it is */
    const clock_ops *clock;
    metrics *metrics;
    const logger *log;
} vector_options;

typedef struct vector_entry {
    uint32_t num;
    const float *values; /* dim floats, finite; need not be normalised, not all zero */
    uint64_t version; /* the item's; 0 where nobody keeps versions, or for a repair: it is applied whatever is held */
    const item *it;   /* the item, for VECTOR_CAP_FIELDS; may be NULL for others */
} vector_entry;

/* What a search may use; zero means the default. */
typedef struct vector_query {
    const float *values;  /* dim floats; normalised inside */
    size_t k;             /* 1..100,000 */
    unsigned ef;          /* >= k is enforced */
    const bitset *allow;  /* NULL: everything */
    uint64_t allow_count; /* members of allow (ignored when NULL) */
    /* A condition that every allowed item fulfils (allow may be narrower): a store with VECTOR_CAP_FIELDS searches
     * under it and then drops what is not in allow. NULL: none. */
    const filter *where;
    deadline until;
    bool fresh; /* sees what other processes wrote before it began, too; it may wait for that. Local stores always do */
    bool bounded; /* may miss what was written in the last seconds, so that a remote store need not wait for it */
} vector_query;

typedef enum vector_stop {
    VECTOR_STOP_DONE,
    VECTOR_STOP_DEADLINE,
    VECTOR_STOP_EXHAUSTED
} vector_stop; /* EXHAUSTED: the set holds fewer than k */
typedef struct vector_stats {
    uint64_t distances, hops;
    vector_stop stopped;
    const char *method; /* "hnsw", "exact" */
} vector_stats;

/* What a search will cost now, from live histograms and the set's size. */
typedef struct vector_cost {
    double microseconds;
    double rows;
    const char *method;
} vector_cost;

typedef struct vector_info {
    uint64_t count, deleted, bytes, max_level;
    const char *kernel;
} vector_info;

/* What differs between what a store holds and what it should hold; filled by check. */
typedef struct vector_check_report {
    uint64_t checked, problems;
    char first[160];
} vector_check_report;

typedef bool vector_scan_fn(void *ctx, uint32_t num, uint64_t version, const float *values);

typedef struct vector_ops {
    unsigned version; /* 1 */
    const char *name; /* "hnsw", "flat" */
    unsigned caps;
    int (*open)(const vector_options *options, void **self, braid_error *err);
    void (*close)(void *self);
    int (*upsert)(void *self, const vector_entry *entries, size_t n,
                  braid_error *err);                                             /* all or an error; feed thread only */
    int (*remove)(void *self, const uint32_t *nums, size_t n, braid_error *err); /* unknown numbers are ignored */
    int (*search)(void *self, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                  braid_error *err);
    /* Copies the stored (normalised) vector; NOT_FOUND. */
    int (*fetch)(void *self, uint32_t num, deadline until, float *out, braid_error *err);
    /* The same for n numbers (which may repeat) at once: the i-th vector at out + i * dim and found[i] true, or
     * found[i] false and nothing written for it. A remote store is asked once a thousand, not once a number. */
    int (*fetch_many)(void *self, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                      braid_error *err);
    /* Cosine of `query` with each of n items; SIMILARITY_NONE where an item has no vector. For enriching candidates of
     * other strands. */
    int (*score)(void *self, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                 braid_error *err);
    void (*estimate)(void *self, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out);
    /* Every item once, in any order; version 0 where none is kept. */
    int (*scan)(void *self, vector_scan_fn *each, void *ctx, braid_error *err);
    int (*clear)(void *self, braid_error *err); /* forgets everything: it will be fed anew */
    void (*resume)(void *self); /* others may have written since this process last did. NULL: that is nothing to it */
    void (*rest)(void *self);   /* nothing was written for a while: what was put off may be done. NULL: nothing is */
    int (*check)(void *self, vector_check_report *out,
                 braid_error *err); /* O(n): invariants of the structure; never modifies */
    void (*info)(void *self, vector_info *out);
    /* Snapshot (VECTOR_CAP_SNAPSHOT): written to a temporary file, fsynced, renamed, directory fsynced; carries magic,
     * format, dim, count, `lsn`, `epoch` and a checksum a section. load refuses anything that is not whole and of this
     * epoch, with CORRUPT or NOT_FOUND, leaving the store empty: the caller rebuilds. */
    int (*save)(void *self, const char *path, uint64_t epoch, uint64_t lsn, braid_error *err);
    int (*load)(void *self, const char *path, uint64_t epoch, uint64_t *lsn, braid_error *err);
} vector_ops;

typedef struct vector_store vector_store;

/* The stores that are compiled in, by name; NULL past the end / for an unknown name. */
const vector_ops *vector_registry(size_t i);
const vector_ops *vector_find(const char *name);

/* The thin forwarder (vector.c): checks arguments, carries the deadline, times every call into the metrics
 * (vector_search_duration_seconds{store=..} ...), asks and feeds the breaker of a remote store (one for reads, one for
 * writes), then calls the table. Contracts are as above. */
int vector_open(const vector_ops *ops, const vector_options *options, vector_store **out, braid_error *err);
void vector_close(vector_store *s);
const char *vector_name(const vector_store *s);
unsigned vector_caps_of(const vector_store *s);
int vector_upsert(vector_store *s, const vector_entry *entries, size_t n, braid_error *err);
int vector_remove(vector_store *s, const uint32_t *nums, size_t n, braid_error *err);
int vector_search(vector_store *s, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                  braid_error *err);
int vector_fetch(vector_store *s, uint32_t num, deadline until, float *out, braid_error *err);
int vector_fetch_many(vector_store *s, const uint32_t *nums, size_t n, deadline until, float *out, bool *found,
                      braid_error *err);
int vector_score(vector_store *s, const float *query, const uint32_t *nums, size_t n, deadline until, float *out,
                 braid_error *err);
void vector_estimate(vector_store *s, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out);
int vector_scan(vector_store *s, vector_scan_fn *each, void *ctx, braid_error *err);
int vector_clear(vector_store *s, braid_error *err);
void vector_resume(vector_store *s); /* like a write: not beside one */
void vector_rest(vector_store *s);   /* like a write: not beside one */
int vector_check(vector_store *s, vector_check_report *out, braid_error *err);
void vector_get_info(vector_store *s, vector_info *out);
int vector_save(vector_store *s, const char *path, uint64_t epoch, uint64_t lsn, braid_error *err);
int vector_load(vector_store *s, const char *path, uint64_t epoch, uint64_t *lsn, braid_error *err);

/* Of a remote store, vectors that scoring fetched are kept here, in at most `bytes` (kept.c). `applied` says up to
 * which LSN the store holds the log. Nothing for stores in this process. */
int vector_keep(vector_store *s, size_t bytes, uint64_t (*applied)(void *ctx), void *ctx, braid_error *err);
/* The log changed these items, up to `lsn`: what is kept of them is no longer good. vector_touched_all: of all. */
void vector_touched(vector_store *s, const uint32_t *nums, size_t n, uint64_t lsn);
void vector_touched_all(vector_store *s, uint64_t lsn);

/* Scales to unit length; false (untouched) when the length is 0 or a value is not finite. */
bool vector_normalise(float *values, uint32_t dim);

/* Distance kernels, chosen once when a store opens; scalar is the reference the others are tested against. */
typedef float vector_dot_fn(const float *a, const float *b, uint32_t dim);
typedef struct vector_kernel {
    const char *name;
    bool (*supported)(void);
    vector_dot_fn *dot;
} vector_kernel;
const vector_kernel *vector_kernel_at(size_t i); /* fastest first, "scalar" last; NULL past the end */
const vector_kernel *vector_kernel_find(
    const char *name); /* "auto": the fastest that this CPU supports; NULL if unknown or unsupported */

#endif
