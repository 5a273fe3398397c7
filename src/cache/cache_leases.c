/* Leases: a fixed table of slots, one lock, held for some nanoseconds on a miss only.
 *
 * The slots are direct-mapped by hash. Whoever finds the lease of another key in the way just loads: a wait for somebody
 * else's answer would be for nothing, a second load costs one load. */
#include "cache/cache_leases.h"

#include <pthread.h>
#include <stdlib.h>

enum { LEASES = 1024 /* loads under way that are told apart */ };

typedef struct cache_lease_slot {
    uint64_t hash;
    int64_t until;
} cache_lease_slot;

struct cache_leases {
    pthread_mutex_t lock; /* guards the slots */
    cache_lease_slot slots[LEASES];
};

cache_leases *cache_leases_new(void) {
    cache_leases *l = calloc(1, sizeof *l);
    if (l != NULL) pthread_mutex_init(&l->lock, NULL);
    return l;
}

void cache_leases_free(cache_leases *l) {
    if (l == NULL) return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

bool cache_leases_take(cache_leases *l, uint64_t hash, unsigned ms, int64_t now_ns) {
    cache_lease_slot *slot = &l->slots[hash % LEASES];
    pthread_mutex_lock(&l->lock);
    bool ours = slot->hash == hash, ended = slot->until <= now_ns;
    if (ms > 0 && ended)
        *slot = (cache_lease_slot){hash, now_ns + (int64_t)ms * 1000000};
    else if (ms == 0 && ours)
        slot->until = 0;
    pthread_mutex_unlock(&l->lock);
    return ms > 0 && (ended || !ours);
}
