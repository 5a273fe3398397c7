/* cache: answers and state that can be lost, never wrong.
 *
 * Every value has a version; put keeps the higher version, so a slow filler never overwrites a newer value, and
 * invalidate leaves a tombstone of its version for as long as any fill may take, so that an invalidation is never lost.
 * A miss is always an allowed answer. Keys are bytes: join parts with cache_key(), which prefixes each with its length,
 * so that no two keys collide. Thread-safe.
 *
 * A filler takes the version before it reads what it computes from, and puts with that version: then a write that came
 * in between refuses it. ttl_ms 0 means "until evicted". What has expired or was evicted has no version any more; a
 * tombstone lives CACHE_TOMBSTONE_MS, whatever is put over it. Where the key itself names the content (a fingerprint, a
 * random id), the version is CACHE_FIXED: nothing can outdate such a value.
 *
 * A cache that is not there costs time, never an answer: callers take every error for a miss. */
#ifndef CACHE_H
#define CACHE_H

#include "base/base.h"

enum { CACHE_TOMBSTONE_MS = 60 * 1000 };
#define CACHE_FIXED UINT64_MAX

typedef struct cache_options {
    const remote_options *remote; /* CACHE_CAP_REMOTE: where it is; `database` is a prefix of every key */
    const logger *log;
    uint64_t bytes_max; /* evicts the least recently used beyond it (per shard); a remote cache has limits of its own */
    const clock_ops *clock; /* expiry runs on its monotonic side */
    metrics *metrics;       /* cache_hits_total, cache_misses_total, cache_evictions_total, cache_bytes */
} cache_options;

typedef enum cache_caps { CACHE_CAP_REMOTE = 1 } cache_caps;

/* One of several keys that are asked for at once. */
typedef struct cache_lookup {
    const void *key;
    size_t key_len;
    uint64_t min_version;
    /* set by the call */
    bool found;
    uint64_t version;
    size_t at, len; /* of the value in `out` */
} cache_lookup;

typedef struct cache_stats {
    uint64_t entries, bytes, hits, misses, evictions, stale_refused;
} cache_stats;

typedef struct cache_ops {
    unsigned version;
    const char *name;
    unsigned caps;
    int (*open)(const cache_options *options, void **self, braid_error *err);
    void (*close)(void *self);
    /* Copies the value into `out` (appended) if there is one of at least `min_version`; *found says so. */
    int (*get)(void *self, const void *key, size_t key_len, uint64_t min_version, deadline until, buf *out,
               uint64_t *version, bool *found, braid_error *err);
    /* The same for several keys in one round trip; the values are appended to `out` one after the other. */
    int (*get_many)(void *self, cache_lookup *lookups, size_t n, deadline until, buf *out, braid_error *err);
    /* Keeps it if no value or tombstone of a higher version is there. */
    int (*put)(void *self, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
               unsigned ttl_ms, deadline until, braid_error *err);
    /* Drops a value of this version or a lower one, and refuses fills of lower versions from now on. */
    int (*invalidate)(void *self, const void *key, size_t key_len, uint64_t version, deadline until, braid_error *err);
    int (*lease)(void *self, const void *key, size_t key_len, unsigned ms, deadline until, bool *mine,
                 braid_error *err);
    int (*clear)(void *self, braid_error *err); /* what is ours, nothing else */
    void (*stats)(void *self, cache_stats *out);
} cache_ops;

typedef struct cache cache;
const cache_ops *cache_registry(size_t i);
const cache_ops *cache_find(const char *name); /* "local" */
int cache_open(const cache_ops *ops, const cache_options *options, cache **out, braid_error *err);
void cache_close(cache *c);
const char *cache_name(const cache *c);
int cache_get(cache *c, const void *key, size_t key_len, uint64_t min_version, deadline until, buf *out,
              uint64_t *version, bool *found, braid_error *err);
int cache_get_many(cache *c, cache_lookup *lookups, size_t n, deadline until, buf *out, braid_error *err);
int cache_put(cache *c, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
              unsigned ttl_ms, braid_error *err);
/* The same within a deadline, for the path of a request. */
int cache_put_until(cache *c, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
                    unsigned ttl_ms, deadline until, braid_error *err);
/* A stampede is one load: of those who miss a key, one gets the lease (*mine) for `ms`, looks once more (the holder
 * before may just have stored it) and computes the value; the others look again after a moment. A put gives it back,
 * and so does ms 0. Where nothing was put nobody waits for that key for a moment: what cannot be kept makes no
 * queue. Of a remote cache that cannot be reached, or is slow, the lease is one among the callers of this process,
 * and a value of CACHE_FIXED that is put meanwhile reaches them all the same; the error is returned, and what *mine
 * says holds. A lease is a courtesy: two may hold one after a fault, which costs a load. */
int cache_lease(cache *c, const void *key, size_t key_len, unsigned ms, deadline until, bool *mine, braid_error *err);
/* True for a cache that other processes may use too. */
bool cache_is_remote(const cache *c);
/* BREAKER_CLOSED where there is none. */
breaker_state cache_breaker(const cache *c, bool writes);
int cache_invalidate(cache *c, const void *key, size_t key_len, uint64_t version, braid_error *err);
int cache_clear(cache *c, braid_error *err);
void cache_get_stats(cache *c, cache_stats *out);

/* Appends a part with its length, so that ("a:b","c") and ("a","b:c") differ. */
bool cache_key(buf *key, const void *part, size_t len);

#endif
