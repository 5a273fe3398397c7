/* cache: the thin forwarder in front of every cache store, the registry, and the one way to make keys.
 *
 * Arguments are checked and hits and misses counted here once, so that an adapter holds only its own work. Nothing
 * here waits or locks. */
#include "cache/cache.h"

#include <stdlib.h>
#include <string.h>

#include "cache/cache_local.h"

enum { CACHE_KEY_BYTES_MAX = 1 << 20 };

struct cache {
    const cache_ops *ops;
    void *self;
    metric_counter *hits, *misses;
};

const cache_ops *cache_registry(size_t i) {
    static const cache_ops *const rows[] = {&cache_local_ops};
    return i < sizeof rows / sizeof rows[0] ? rows[i] : NULL;
}

const cache_ops *cache_find(const char *name) {
    for (size_t i = 0; cache_registry(i) != NULL; i++)
        if (strcmp(cache_registry(i)->name, name) == 0) return cache_registry(i);
    return NULL;
}

int cache_open(const cache_ops *ops, const cache_options *options, cache **out, braid_error *err) {
    BRAID_ASSERT(ops != NULL && options != NULL && options->clock != NULL && out != NULL);
    *out = NULL;
    cache *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(err, BRAID_E_NO_MEMORY, "cache", "no memory to open the cache");
    c->ops = ops;
    int rc = ops->open(options, &c->self, err);
    if (rc != BRAID_OK) {
        free(c);
        return rc;
    }
    if (options->metrics != NULL) {
        c->hits = metrics_counter(options->metrics, "cache_hits_total", "", "Answers found in the cache");
        c->misses = metrics_counter(options->metrics, "cache_misses_total", "", "Answers not found in the cache");
    }
    *out = c;
    return BRAID_OK;
}

void cache_close(cache *c) {
    if (c == NULL) return;
    c->ops->close(c->self);
    free(c);
}

const char *cache_name(const cache *c) {
    return c->ops->name;
}

static int cache_check_key(const void *key, size_t key_len, braid_error *err) {
    if (key == NULL || key_len == 0) return error_set(err, BRAID_E_INVALID, "cache", "the cache key is empty");
    if (key_len > CACHE_KEY_BYTES_MAX)
        return error_set(err, BRAID_E_TOO_LARGE, "cache", "the cache key has %zu bytes; at most %d are allowed",
                         key_len, CACHE_KEY_BYTES_MAX);
    return BRAID_OK;
}

int cache_get(cache *c, const void *key, size_t key_len, uint64_t min_version, buf *out, uint64_t *version, bool *found,
              braid_error *err) {
    *found = false;
    int rc = cache_check_key(key, key_len, err);
    if (rc != BRAID_OK) return rc;
    uint64_t ignored;
    rc = c->ops->get(c->self, key, key_len, min_version, out, version != NULL ? version : &ignored, found, err);
    metric_add(*found ? c->hits : c->misses, 1);
    return rc;
}

int cache_put(cache *c, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
              unsigned ttl_ms, braid_error *err) {
    int rc = cache_check_key(key, key_len, err);
    return rc != BRAID_OK ? rc : c->ops->put(c->self, key, key_len, version, value, len, ttl_ms, err);
}

int cache_invalidate(cache *c, const void *key, size_t key_len, uint64_t version, braid_error *err) {
    int rc = cache_check_key(key, key_len, err);
    return rc != BRAID_OK ? rc : c->ops->invalidate(c->self, key, key_len, version, err);
}

int cache_clear(cache *c, braid_error *err) {
    return c->ops->clear(c->self, err);
}

void cache_get_stats(cache *c, cache_stats *out) {
    *out = (cache_stats){0};
    c->ops->stats(c->self, out);
}

bool cache_key(buf *key, const void *part, size_t len) {
    unsigned char prefix[8];
    for (size_t i = 0; i < sizeof prefix; i++) prefix[i] = (unsigned char)((uint64_t)len >> (8 * i));
    return buf_add(key, prefix, sizeof prefix) && (len == 0 || buf_add(key, part, len));
}
