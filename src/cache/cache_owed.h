/* Invalidations that a remote cache could not be told yet; only cache.c uses it. */
#ifndef CACHE_OWED_H
#define CACHE_OWED_H

#include "cache/cache.h"

typedef struct cache_owed cache_owed;

cache_owed *cache_owed_new(void); /* NULL when memory ran out */
void cache_owed_free(cache_owed *o);
void cache_owed_note(cache_owed *o, const void *key, size_t key_len, uint64_t version);
/* The least version that a value of this key must have to be believed; 0: any. One atomic load while nothing is
 * owed. */
uint64_t cache_owed_floor(cache_owed *o, const void *key, size_t key_len);
/* Tells the cache what is owed, some of it; one thread at a time, the others return at once. Stops at the first error.
 * `thorough` allows it to take longer (clear the whole cache after an overflow): never on a request's path. */
void cache_owed_settle(cache_owed *o, const cache_ops *ops, void *self, deadline until, bool thorough);

#endif
