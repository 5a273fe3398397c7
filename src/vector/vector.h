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
    VECTOR_CAP_ALLOW = 1,    /* takes a bitset of allowed numbers */
    VECTOR_CAP_EXACT = 2,    /* results are exact */
    VECTOR_CAP_SNAPSHOT = 4, /* can save and load a file */
    VECTOR_CAP_REMOTE = 8
} vector_caps;

typedef struct vector_options {
    uint32_t dim;
    unsigned m;               /* HNSW M, 4..64, default 16: links a level, twice that on level 0 */
    unsigned ef_construction; /* default 200 */
    unsigned ef_search;       /* default 64; a search may ask for another */
    uint64_t seed;            /* of the level generator: same order of inserts, same graph */
    const char *kernel;       /* "auto", "avx512", "avx2", "scalar" */
    const clock_ops *clock;
    metrics *metrics;
} vector_options;

typedef struct vector_entry {
    uint32_t num;
    const float *values;
} vector_entry; /* dim floats, finite; need not be normalised, not all zero */

/* What a search may use; zero means the default. */
typedef struct vector_query {
    const float *values;  /* dim floats; normalised inside */
    size_t k;             /* 1..100,000 */
    unsigned ef;          /* >= k is enforced */
    const bitset *allow;  /* NULL: everything */
    uint64_t allow_count; /* members of allow (ignored when NULL) */
    deadline until;
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
    int (*fetch)(void *self, uint32_t num, float *out, braid_error *err);
    /* Cosine of `query` with each of n items; SIMILARITY_NONE where an item has no vector. For enriching candidates of
     * other strands. */
    int (*score)(void *self, const float *query, const uint32_t *nums, size_t n, float *out, braid_error *err);
    void (*estimate)(void *self, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out);
    int (*scan)(void *self, bool (*each)(void *ctx, uint32_t num, const float *values), void *ctx, braid_error *err);
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
 * (vector_search_duration_seconds{store=..} ...), then calls the table. Contracts are as above. */
int vector_open(const vector_ops *ops, const vector_options *options, vector_store **out, braid_error *err);
void vector_close(vector_store *s);
const char *vector_name(const vector_store *s);
unsigned vector_caps_of(const vector_store *s);
int vector_upsert(vector_store *s, const vector_entry *entries, size_t n, braid_error *err);
int vector_remove(vector_store *s, const uint32_t *nums, size_t n, braid_error *err);
int vector_search(vector_store *s, const vector_query *q, candidate *out, size_t *count, vector_stats *stats,
                  braid_error *err);
int vector_fetch(vector_store *s, uint32_t num, float *out, braid_error *err);
int vector_score(vector_store *s, const float *query, const uint32_t *nums, size_t n, float *out, braid_error *err);
void vector_estimate(vector_store *s, size_t k, unsigned ef, uint64_t allow_count, bool filtered, vector_cost *out);
int vector_scan(vector_store *s, bool (*each)(void *ctx, uint32_t num, const float *values), void *ctx,
                braid_error *err);
int vector_check(vector_store *s, vector_check_report *out, braid_error *err);
void vector_get_info(vector_store *s, vector_info *out);
int vector_save(vector_store *s, const char *path, uint64_t epoch, uint64_t lsn, braid_error *err);
int vector_load(vector_store *s, const char *path, uint64_t epoch, uint64_t *lsn, braid_error *err);

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
