/* The in-process cache: sixteen shards, each a hash table with an LRU list, a byte budget and its own mutex.
 *
 * Promise: a value older than an invalidation that was acknowledged is never handed out, however slow its filler was,
 * and the bytes held stay under bytes_max. How: an entry holds a value, a tombstone, or both.
 *
 *     invalidate(v)   drops a value of version <= v and leaves floor = max(floor, v) for CACHE_TOMBSTONE_MS
 *     put(v)          is refused if v < floor, or if the value there has a higher version
 *
 * The floor outlives the value: a fresh value may be put over a tombstone and be evicted at once, and the slow filler
 * must still be refused afterwards. So eviction takes the value and leaves the tombstone. Tombstones too are bounded
 * (a quarter of the shard's budget); the oldest one then goes, but not what it says: its version is folded into a
 * floor for the whole shard, which refuses more than it must for a minute, and that is only a miss. clear() does the
 * same.
 *
 * Lists: `lru` of entries with a value, most recently used first; `tombs` of entries with a floor, oldest first. As
 * every tombstone lives equally long, the oldest is the next to expire. Expiry runs on the monotonic clock, so steps
 * of the wall clock change nothing.
 *
 * Rejected: one lock (all readers of hot answers would queue), versions in the key (dead versions fill the budget),
 * and values handed out by reference (a copy of a few kB costs less than the counting). */
#include "cache/cache_local.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "cache/cache_leases.h"

enum {
    SHARDS = 16,
    BUCKETS_MIN = 64,
    ENTRY_OVERHEAD = 48 /* malloc's headers of entry and value, and the entry's share of the bucket array */
};

typedef struct cache_entry cache_entry;
typedef struct cache_link {
    cache_entry *prev, *next;
} cache_link;
enum { LIST_LRU, LIST_TOMBS, LISTS };

struct cache_entry {
    cache_entry *chain;
    cache_link links[LISTS];
    bool listed[LISTS];
    uint64_t hash;
    char *value; /* NULL: tombstone only */
    size_t len;
    uint64_t version, floor;
    int64_t expires, floor_until; /* monotonic ns; expires 0: never */
    size_t key_len;
    char key[];
};

typedef struct cache_list {
    cache_entry *first, *last;
    size_t bytes;
} cache_list;

typedef struct cache_shard {
    pthread_mutex_t lock;
    cache_entry **buckets;
    size_t buckets_count; /* a power of two */
    size_t entries, values;
    uint64_t bytes, bytes_max, tomb_bytes_max;
    cache_list lists[LISTS];
    uint64_t floor; /* of tombstones that had to go */
    int64_t floor_until;
    uint64_t hits, misses, evictions, stale_refused;
} cache_shard;

typedef struct cache_local {
    cache_shard shards[SHARDS];
    unsigned shards_ready;
    const clock_ops *clock;
    uint64_t seed;
    cache_leases *leases;
    _Atomic uint64_t bytes;
    metric_counter *evictions_metric, *bytes_metric;
} cache_local;

/* ---- lists ---- */

static void list_remove(cache_shard *s, int which, cache_entry *e) {
    if (!e->listed[which]) return;
    cache_list *l = &s->lists[which];
    cache_link *at = &e->links[which];
    if (at->prev != NULL)
        at->prev->links[which].next = at->next;
    else
        l->first = at->next;
    if (at->next != NULL)
        at->next->links[which].prev = at->prev;
    else
        l->last = at->prev;
    *at = (cache_link){0};
    e->listed[which] = false;
}

static void list_add_first(cache_shard *s, int which, cache_entry *e) {
    cache_list *l = &s->lists[which];
    e->links[which] = (cache_link){.next = l->first};
    if (l->first != NULL)
        l->first->links[which].prev = e;
    else
        l->last = e;
    l->first = e;
    e->listed[which] = true;
}

static void list_add_last(cache_shard *s, int which, cache_entry *e) {
    cache_list *l = &s->lists[which];
    e->links[which] = (cache_link){.prev = l->last};
    if (l->last != NULL)
        l->last->links[which].next = e;
    else
        l->first = e;
    l->last = e;
    e->listed[which] = true;
}

/* ---- entries ---- */

static size_t entry_base_bytes(size_t key_len) {
    return sizeof(cache_entry) + key_len + ENTRY_OVERHEAD;
}

static cache_entry *entry_find(const cache_shard *s, uint64_t hash, const void *key, size_t key_len) {
    cache_entry *e = s->buckets[hash & (s->buckets_count - 1)];
    while (e != NULL && (e->hash != hash || e->key_len != key_len || memcmp(e->key, key, key_len) != 0)) e = e->chain;
    return e;
}

/* Doubles the bucket array; without memory the chains just grow longer. */
static void shard_grow(cache_shard *s) {
    size_t count = s->buckets_count * 2;
    cache_entry **buckets = calloc(count, sizeof(cache_entry *));
    if (buckets == NULL) return;
    for (size_t i = 0; i < s->buckets_count; i++) {
        for (cache_entry *e = s->buckets[i], *next; e != NULL; e = next) {
            next = e->chain;
            e->chain = buckets[e->hash & (count - 1)];
            buckets[e->hash & (count - 1)] = e;
        }
    }
    free(s->buckets);
    s->buckets = buckets;
    s->buckets_count = count;
}

static cache_entry *entry_make(cache_shard *s, uint64_t hash, const void *key, size_t key_len) {
    cache_entry *e = calloc(1, sizeof *e + key_len);
    if (e == NULL) return NULL;
    if (s->entries >= s->buckets_count) shard_grow(s);
    e->hash = hash;
    e->key_len = key_len;
    memcpy(e->key, key, key_len);
    cache_entry **bucket = &s->buckets[hash & (s->buckets_count - 1)];
    e->chain = *bucket;
    *bucket = e;
    s->entries++;
    s->bytes += entry_base_bytes(key_len);
    return e;
}

static void entry_unlink(cache_shard *s, cache_entry *e) {
    cache_entry **at = &s->buckets[e->hash & (s->buckets_count - 1)];
    while (*at != e) at = &(*at)->chain;
    *at = e->chain;
    s->entries--;
    s->bytes -= entry_base_bytes(e->key_len);
    free(e);
}

static void entry_drop_value(cache_shard *s, cache_entry *e) {
    if (e->value == NULL) return;
    list_remove(s, LIST_LRU, e);
    s->bytes -= e->len;
    s->values--;
    free(e->value);
    e->value = NULL;
    e->len = 0;
}

static void entry_drop_tomb(cache_shard *s, cache_entry *e) {
    if (!e->listed[LIST_TOMBS]) return;
    list_remove(s, LIST_TOMBS, e);
    s->lists[LIST_TOMBS].bytes -= entry_base_bytes(e->key_len);
    e->floor = 0;
}

/* An entry that holds neither value nor tombstone goes. */
static void entry_settle(cache_shard *s, cache_entry *e) {
    if (e->value == NULL && !e->listed[LIST_TOMBS]) entry_unlink(s, e);
}

/* The tombstone goes, what it says stays: for every key of the shard. */
static void shard_fold_tomb(cache_shard *s, cache_entry *e) {
    if (e->floor > s->floor) s->floor = e->floor;
    if (e->floor_until > s->floor_until) s->floor_until = e->floor_until;
    entry_drop_tomb(s, e);
    entry_settle(s, e);
}

static void shard_expire_tombs(cache_shard *s, int64_t now) {
    for (cache_entry *e; (e = s->lists[LIST_TOMBS].first) != NULL && e->floor_until <= now;) {
        entry_drop_tomb(s, e);
        entry_settle(s, e);
    }
    if (s->floor_until <= now) s->floor = 0;
}

/* Brings the shard under its budget: surplus tombstones, then the least recently used values. */
static uint64_t shard_shrink(cache_shard *s) {
    uint64_t evicted = 0;
    while (s->lists[LIST_TOMBS].bytes > s->tomb_bytes_max && s->lists[LIST_TOMBS].first != NULL)
        shard_fold_tomb(s, s->lists[LIST_TOMBS].first);
    while (s->bytes > s->bytes_max && s->lists[LIST_LRU].last != NULL) {
        cache_entry *e = s->lists[LIST_LRU].last;
        entry_drop_value(s, e);
        entry_settle(s, e);
        evicted++;
    }
    s->evictions += evicted;
    return evicted;
}

/* ---- operations ---- */

static cache_shard *local_lock(cache_local *c, uint64_t hash) {
    cache_shard *s = &c->shards[hash >> 60];
    pthread_mutex_lock(&s->lock);
    return s;
}

/* Unlocks and tells the metrics; `before` is the shard's size at the start of the call. */
static void local_unlock(cache_local *c, cache_shard *s, uint64_t before, uint64_t evicted) {
    uint64_t change = s->bytes - before; /* wraps below zero and back in the sum */
    pthread_mutex_unlock(&s->lock);
    uint64_t bytes = atomic_fetch_add_explicit(&c->bytes, change, memory_order_relaxed) + change;
    if (change != 0) metric_set(c->bytes_metric, (double)bytes);
    if (evicted != 0) metric_add(c->evictions_metric, evicted);
}

static uint64_t local_hash(const cache_local *c, const void *key, size_t key_len) {
    return XXH3_64bits_withSeed(key, key_len, c->seed);
}

static int local_get(void *self, const void *key, size_t key_len, uint64_t min_version, deadline until, buf *out,
                     uint64_t *version, bool *found, braid_error *err) {
    (void)until; /* nothing here waits */
    cache_local *c = self;
    uint64_t hash = local_hash(c, key, key_len);
    int64_t now = clock_mono_ns(c->clock);
    bool copied = true;
    *found = false;
    cache_shard *s = local_lock(c, hash);
    uint64_t before = s->bytes;
    cache_entry *e = entry_find(s, hash, key, key_len);
    if (e != NULL && e->value != NULL && e->expires != 0 && e->expires <= now) {
        entry_drop_value(s, e);
        entry_settle(s, e);
        e = NULL;
    }
    if (e != NULL && e->value != NULL && e->version >= min_version) {
        copied = buf_add(out, e->value, e->len);
        *found = copied;
        *version = e->version;
        list_remove(s, LIST_LRU, e);
        list_add_first(s, LIST_LRU, e);
    }
    if (*found)
        s->hits++;
    else
        s->misses++;
    local_unlock(c, s, before, 0);
    if (!copied) return error_set(err, BRAID_E_NO_MEMORY, "cache/local", "no room to copy a cached value out");
    return BRAID_OK;
}

static int local_get_many(void *self, cache_lookup *lookups, size_t n, deadline until, buf *out, braid_error *err) {
    int rc = BRAID_OK;
    for (size_t i = 0; i < n && rc == BRAID_OK; i++) {
        cache_lookup *l = &lookups[i];
        l->at = out->len;
        rc = local_get(self, l->key, l->key_len, l->min_version, until, out, &l->version, &l->found, err);
        l->len = out->len - l->at;
    }
    return rc;
}

static bool put_refused(const cache_shard *s, const cache_entry *e, uint64_t version, int64_t now) {
    if (s->floor_until > now && version < s->floor) return true;
    if (e == NULL) return false;
    if (e->listed[LIST_TOMBS] && version < e->floor) return true;
    return e->value != NULL && version < e->version && (e->expires == 0 || e->expires > now);
}

static int local_put(void *self, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
                     unsigned ttl_ms, deadline until, braid_error *err) {
    (void)until;
    cache_local *c = self;
    uint64_t hash = local_hash(c, key, key_len);
    int64_t now = clock_mono_ns(c->clock);
    bool fits = len <= c->shards[0].bytes_max && entry_base_bytes(key_len) + len <= c->shards[0].bytes_max;
    char *copy = fits ? malloc(len > 0 ? len : 1) : NULL; /* outside the lock */
    if (fits && copy == NULL)
        return error_set(err, BRAID_E_NO_MEMORY, "cache/local", "no memory for a value of %zu bytes", len);
    if (fits && len > 0) memcpy(copy, value, len);

    uint64_t evicted = 0;
    int rc = BRAID_OK;
    cache_shard *s = local_lock(c, hash);
    uint64_t before = s->bytes;
    shard_expire_tombs(s, now);
    cache_entry *e = entry_find(s, hash, key, key_len);
    if (put_refused(s, e, version, now)) {
        s->stale_refused++;
        goto cleanup;
    }
    if (e != NULL) entry_drop_value(s, e); /* also when the new one is too large to keep: the old one is outdated */
    if (!fits) {
        if (e != NULL) entry_settle(s, e);
        goto cleanup;
    }
    if (e == NULL) e = entry_make(s, hash, key, key_len);
    if (e == NULL) {
        rc = error_set(err, BRAID_E_NO_MEMORY, "cache/local", "no memory for a cache entry");
        goto cleanup;
    }
    e->value = copy;
    copy = NULL;
    e->len = len;
    e->version = version;
    e->expires = ttl_ms == 0 ? 0 : now + (int64_t)ttl_ms * 1000000;
    s->bytes += len;
    s->values++;
    list_add_first(s, LIST_LRU, e);
    evicted = shard_shrink(s);
cleanup:
    local_unlock(c, s, before, evicted);
    cache_leases_end(c->leases, hash, fits, now);
    free(copy);
    return rc;
}

static int local_invalidate(void *self, const void *key, size_t key_len, uint64_t version, deadline within,
                            braid_error *err) {
    (void)within, (void)err;
    cache_local *c = self;
    uint64_t hash = local_hash(c, key, key_len);
    int64_t now = clock_mono_ns(c->clock), until = now + (int64_t)CACHE_TOMBSTONE_MS * 1000000;
    cache_shard *s = local_lock(c, hash);
    uint64_t before = s->bytes;
    shard_expire_tombs(s, now);
    cache_entry *e = entry_find(s, hash, key, key_len);
    if (e != NULL && e->value != NULL && e->version <= version) entry_drop_value(s, e);
    if (e == NULL) e = entry_make(s, hash, key, key_len);
    if (e == NULL) { /* an invalidation is never lost, not even without memory */
        s->floor = version > s->floor ? version : s->floor;
        s->floor_until = until;
    } else {
        uint64_t floor = e->listed[LIST_TOMBS] && e->floor > version ? e->floor : version;
        entry_drop_tomb(s, e);
        e->floor = floor;
        e->floor_until = until;
        list_add_last(s, LIST_TOMBS, e);
        s->lists[LIST_TOMBS].bytes += entry_base_bytes(key_len);
    }
    uint64_t evicted = shard_shrink(s);
    local_unlock(c, s, before, evicted);
    return BRAID_OK;
}

static int local_lease(void *self, const void *key, size_t key_len, unsigned ms, deadline until, bool *mine,
                       braid_error *err) {
    (void)until, (void)err;
    cache_local *c = self;
    uint64_t hash = local_hash(c, key, key_len);
    int64_t now = clock_mono_ns(c->clock);
    *mine = ms > 0 && cache_leases_take(c->leases, hash, ms, now) != CACHE_TURN_THEIRS;
    if (ms == 0) cache_leases_end(c->leases, hash, false, now);
    return BRAID_OK;
}

static void shard_drop_values(cache_shard *s) {
    for (cache_entry *e; (e = s->lists[LIST_LRU].first) != NULL;) {
        entry_drop_value(s, e);
        entry_settle(s, e);
    }
}

static int local_clear(void *self, braid_error *err) {
    (void)err;
    cache_local *c = self;
    for (unsigned i = 0; i < SHARDS; i++) {
        cache_shard *s = local_lock(c, (uint64_t)i << 60);
        uint64_t before = s->bytes;
        shard_expire_tombs(s, clock_mono_ns(c->clock));
        while (s->lists[LIST_TOMBS].first != NULL) shard_fold_tomb(s, s->lists[LIST_TOMBS].first);
        shard_drop_values(s);
        local_unlock(c, s, before, 0);
    }
    return BRAID_OK;
}

static void local_stats(void *self, cache_stats *out) {
    cache_local *c = self;
    for (unsigned i = 0; i < SHARDS; i++) {
        cache_shard *s = local_lock(c, (uint64_t)i << 60);
        out->entries += s->values;
        out->bytes += s->bytes;
        out->hits += s->hits;
        out->misses += s->misses;
        out->evictions += s->evictions;
        out->stale_refused += s->stale_refused;
        pthread_mutex_unlock(&s->lock);
    }
}

static void local_close(void *self) {
    cache_local *c = self;
    if (c == NULL) return;
    for (unsigned i = 0; i < c->shards_ready; i++) {
        cache_shard *s = &c->shards[i];
        while (s->lists[LIST_TOMBS].first != NULL) shard_fold_tomb(s, s->lists[LIST_TOMBS].first);
        shard_drop_values(s);
        free(s->buckets);
        pthread_mutex_destroy(&s->lock);
    }
    cache_leases_free(c->leases);
    free(c);
}

static int local_open(const cache_options *options, void **self, braid_error *err) {
    *self = NULL;
    cache_local *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(err, BRAID_E_NO_MEMORY, "cache/local", "no memory to open the cache");
    c->leases = cache_leases_new();
    if (c->leases == NULL) {
        local_close(c);
        return error_set(err, BRAID_E_NO_MEMORY, "cache/local", "no memory to open the cache");
    }
    c->clock = options->clock;
    /* Not a secret, only different from run to run, so that keys that all fall into one chain cannot be prepared. */
    c->seed = (uint64_t)clock_mono_ns(c->clock) * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)(uintptr_t)c;
    for (unsigned i = 0; i < SHARDS; i++) {
        cache_shard *s = &c->shards[i];
        s->buckets = calloc(BUCKETS_MIN, sizeof(cache_entry *));
        if (s->buckets == NULL || pthread_mutex_init(&s->lock, NULL) != 0) {
            free(s->buckets);
            local_close(c);
            return error_set(err, BRAID_E_NO_MEMORY, "cache/local", "no memory to open the cache");
        }
        s->buckets_count = BUCKETS_MIN;
        s->bytes_max = options->bytes_max / SHARDS;
        s->tomb_bytes_max = s->bytes_max / 4;
        c->shards_ready++;
    }
    if (options->metrics != NULL) {
        c->evictions_metric = metrics_counter(options->metrics, "cache_evictions_total", "",
                                              "Values put out of the cache to keep it under its ceiling");
        c->bytes_metric = metrics_gauge(options->metrics, "cache_bytes", "", "Bytes held by the in-process cache");
    }
    *self = c;
    return BRAID_OK;
}

const cache_ops cache_local_ops = {
    .version = 1,
    .name = "local",
    .open = local_open,
    .close = local_close,
    .get = local_get,
    .get_many = local_get_many,
    .put = local_put,
    .invalidate = local_invalidate,
    .lease = local_lease,
    .clear = local_clear,
    .stats = local_stats,
};
