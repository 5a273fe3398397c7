/* cache: answers and state that can be lost, never wrong.
 *
 * Every value has a version; put keeps the higher version, so a slow filler never overwrites a newer value, and
 * invalidate leaves a tombstone of its version for as long as any fill may take, so that an invalidation is never lost.
 * A miss is always an allowed answer. Keys are bytes: join parts with cache_key(), which prefixes each with its length,
 * so that no two keys collide. Thread-safe.
 *
 * A filler takes the version before it reads what it computes from, and puts with that version: then a write that came
 * in between refuses it. ttl_ms 0 means "until evicted". What has expired or was evicted has no version any more; a
 * tombstone lives CACHE_TOMBSTONE_MS, whatever is put over it. */
#ifndef CACHE_H
#define CACHE_H

#include "base/base.h"

enum { CACHE_TOMBSTONE_MS = 60 * 1000 };

typedef struct cache_options {
    uint64_t bytes_max;     /* evicts the least recently used beyond it (per shard) */
    const clock_ops *clock; /* expiry runs on its monotonic side */
    metrics *metrics;       /* cache_hits_total, cache_misses_total, cache_evictions_total, cache_bytes */
} cache_options;

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
    int (*get)(void *self, const void *key, size_t key_len, uint64_t min_version, buf *out, uint64_t *version,
               bool *found, braid_error *err);
    /* Keeps it if no value or tombstone of a higher version is there. */
    int (*put)(void *self, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
               unsigned ttl_ms, braid_error *err);
    /* Drops a value of this version or a lower one, and refuses fills of lower versions from now on. */
    int (*invalidate)(void *self, const void *key, size_t key_len, uint64_t version, braid_error *err);
    int (*clear)(void *self, braid_error *err);
    void (*stats)(void *self, cache_stats *out);
} cache_ops;

typedef struct cache cache;
const cache_ops *cache_registry(size_t i);
const cache_ops *cache_find(const char *name); /* "local" */
int cache_open(const cache_ops *ops, const cache_options *options, cache **out, braid_error *err);
void cache_close(cache *c);
const char *cache_name(const cache *c);
int cache_get(cache *c, const void *key, size_t key_len, uint64_t min_version, buf *out, uint64_t *version, bool *found,
              braid_error *err);
int cache_put(cache *c, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
              unsigned ttl_ms, braid_error *err);
int cache_invalidate(cache *c, const void *key, size_t key_len, uint64_t version, braid_error *err);
int cache_clear(cache *c, braid_error *err);
void cache_get_stats(cache *c, cache_stats *out);

/* Appends a part with its length, so that ("a:b","c") and ("a","b:c") differ. */
bool cache_key(buf *key, const void *part, size_t len);

#endif
