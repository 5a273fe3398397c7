/* An invalidation is never lost, not even when the cache could not be reached: it is owed.
 *
 * Until it has been delivered, this process believes no value of that key whose version the invalidation would have
 * dropped; delivery is tried by whoever next had a successful call. What it cannot give is that other processes see the
 * write before the network is back: for those the value's time to live is the bound, and the version that they ask for.
 *
 * The list is bounded. When it overflows, everything up to the highest version owed is disbelieved, and the whole
 * cache is cleared as soon as it can be reached. Values of CACHE_FIXED are untouched by all this. */
#include "cache/cache_owed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { OWED_MAX = 16384, OWED_BYTES_MAX = 8 << 20, OWED_BUCKETS = 4096, OWED_AT_ONCE = 32 };

typedef struct owed_entry {
    struct owed_entry *next;
    uint64_t version;
    size_t key_len;
    char key[];
} owed_entry;

struct cache_owed {
    pthread_mutex_t lock; /* guards the table */
    pthread_mutex_t settling;
    _Atomic size_t count; /* entries, one more after an overflow */
    size_t bytes;
    bool overflowed;
    uint64_t floor; /* of everything, after an overflow */
    owed_entry *buckets[OWED_BUCKETS];
};

cache_owed *cache_owed_new(void) {
    cache_owed *o = calloc(1, sizeof *o);
    if (o == NULL) return NULL;
    pthread_mutex_init(&o->lock, NULL);
    pthread_mutex_init(&o->settling, NULL);
    return o;
}

static void owed_empty(cache_owed *o) {
    for (size_t i = 0; i < OWED_BUCKETS; i++) {
        for (owed_entry *e = o->buckets[i], *next; e != NULL; e = next) {
            next = e->next;
            free(e);
        }
        o->buckets[i] = NULL;
    }
    o->bytes = 0;
    o->count = 0;
}

void cache_owed_free(cache_owed *o) {
    if (o == NULL) return;
    owed_empty(o);
    pthread_mutex_destroy(&o->lock);
    pthread_mutex_destroy(&o->settling);
    free(o);
}

static owed_entry **owed_find(cache_owed *o, const void *key, size_t key_len) {
    owed_entry **at = &o->buckets[XXH3_64bits(key, key_len) % OWED_BUCKETS];
    while (*at != NULL && ((*at)->key_len != key_len || memcmp((*at)->key, key, key_len) != 0)) at = &(*at)->next;
    return at;
}

static void owed_overflow(cache_owed *o, uint64_t version) {
    for (size_t i = 0; i < OWED_BUCKETS; i++)
        for (const owed_entry *e = o->buckets[i]; e != NULL; e = e->next)
            if (e->version > version) version = e->version;
    owed_empty(o);
    if (version > o->floor) o->floor = version;
    o->overflowed = true;
    o->count = 1;
}

void cache_owed_note(cache_owed *o, const void *key, size_t key_len, uint64_t version) {
    pthread_mutex_lock(&o->lock);
    owed_entry **at = owed_find(o, key, key_len);
    if (*at != NULL) {
        if (version > (*at)->version) (*at)->version = version;
    } else {
        bool room = !o->overflowed && o->count < OWED_MAX && o->bytes + key_len <= OWED_BYTES_MAX;
        owed_entry *e = room ? malloc(sizeof *e + key_len) : NULL;
        if (e == NULL) {
            owed_overflow(o, version);
        } else {
            *e = (owed_entry){.version = version, .key_len = key_len};
            memcpy(e->key, key, key_len);
            *at = e;
            o->bytes += key_len;
            o->count++;
        }
    }
    pthread_mutex_unlock(&o->lock);
}

uint64_t cache_owed_floor(cache_owed *o, const void *key, size_t key_len) {
    if (o == NULL || atomic_load_explicit(&o->count, memory_order_acquire) == 0) return 0;
    pthread_mutex_lock(&o->lock);
    const owed_entry *e = *owed_find(o, key, key_len);
    uint64_t version = e != NULL ? e->version : 0;
    if (o->overflowed && o->floor > version) version = o->floor;
    bool any = e != NULL || o->overflowed;
    pthread_mutex_unlock(&o->lock);
    return any && version < CACHE_FIXED ? version + 1 : any ? CACHE_FIXED : 0;
}

/* A copy of some entry to deliver without the lock; NULL: none, or no memory. */
static owed_entry *owed_peek(cache_owed *o, size_t *bucket) {
    owed_entry *copy = NULL;
    pthread_mutex_lock(&o->lock);
    while (*bucket < OWED_BUCKETS && o->buckets[*bucket] == NULL) (*bucket)++;
    if (*bucket < OWED_BUCKETS) {
        const owed_entry *e = o->buckets[*bucket];
        copy = malloc(sizeof *copy + e->key_len);
        if (copy != NULL) memcpy(copy, e, sizeof *e + e->key_len);
    }
    pthread_mutex_unlock(&o->lock);
    return copy;
}

/* It was delivered, unless a newer one has come meanwhile. */
static void owed_paid(cache_owed *o, const owed_entry *paid) {
    pthread_mutex_lock(&o->lock);
    owed_entry **at = owed_find(o, paid->key, paid->key_len), *e = *at;
    if (e != NULL && e->version == paid->version) {
        *at = e->next;
        o->bytes -= e->key_len;
        o->count--;
        free(e);
    }
    pthread_mutex_unlock(&o->lock);
}

static void owed_clear(cache_owed *o, const cache_ops *ops, void *self) {
    pthread_mutex_lock(&o->lock);
    uint64_t floor = o->floor;
    pthread_mutex_unlock(&o->lock);
    if (ops->clear(self, NULL) != BRAID_OK) return;
    pthread_mutex_lock(&o->lock);
    if (o->floor == floor) {
        o->overflowed = false;
        o->floor = 0;
        o->count--;
    }
    pthread_mutex_unlock(&o->lock);
}

void cache_owed_settle(cache_owed *o, const cache_ops *ops, void *self, deadline until, bool thorough) {
    if (o == NULL || atomic_load_explicit(&o->count, memory_order_acquire) == 0) return;
    if (pthread_mutex_trylock(&o->settling) != 0) return;
    pthread_mutex_lock(&o->lock);
    bool overflowed = o->overflowed;
    pthread_mutex_unlock(&o->lock);
    size_t bucket = 0;
    if (overflowed && thorough) owed_clear(o, ops, self);
    for (int i = 0; i < OWED_AT_ONCE && !overflowed; i++) {
        owed_entry *e = owed_peek(o, &bucket);
        if (e == NULL) break;
        int rc = ops->invalidate(self, e->key, e->key_len, e->version, until, NULL);
        if (rc == BRAID_OK) owed_paid(o, e);
        free(e);
        if (rc != BRAID_OK) break;
    }
    pthread_mutex_unlock(&o->settling);
}
