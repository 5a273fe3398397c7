/* Who loads what, within this process; only cache.c and cache_local.c use it. Thread-safe. */
#ifndef CACHE_LEASES_H
#define CACHE_LEASES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct cache_leases cache_leases;

typedef enum cache_turn {
    CACHE_TURN_OURS,    /* the caller got the lease */
    CACHE_TURN_THEIRS,  /* somebody has it: look again after a moment */
    CACHE_TURN_NOBODYS, /* nobody need wait: the last one who had it came to nothing a moment ago */
} cache_turn;

cache_leases *cache_leases_new(void); /* NULL when memory ran out */
void cache_leases_free(cache_leases *l);
/* Asks for the lease of the key with that hash, for ms > 0. */
cache_turn cache_leases_take(cache_leases *l, uint64_t hash, unsigned ms, int64_t now_ns);
/* The value was stored (by anybody), or else the holder gives it back without one. */
void cache_leases_end(cache_leases *l, uint64_t hash, bool stored, int64_t now_ns);
/* Another process has it: for a moment nobody here need ask it again. */
void cache_leases_defer(cache_leases *l, uint64_t hash, int64_t now_ns);
bool cache_leases_active(cache_leases *l, uint64_t hash, int64_t now_ns);
/* While a lease is active, a crowd need not all look: false for whoever looks a moment after another did. The holder
 * always may. */
bool cache_leases_may_look(cache_leases *l, uint64_t hash, int64_t now_ns);

#endif
