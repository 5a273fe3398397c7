/* Who loads what, within this process; only cache_local.c uses it. */
#ifndef CACHE_LEASES_H
#define CACHE_LEASES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct cache_leases cache_leases;

cache_leases *cache_leases_new(void); /* NULL when memory ran out */
void cache_leases_free(cache_leases *l);
/* True if the caller got the lease of the key with that hash; ms 0 gives it back. */
bool cache_leases_take(cache_leases *l, uint64_t hash, unsigned ms, int64_t now_ns);

#endif
