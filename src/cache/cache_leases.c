/* Leases: a fixed table of slots, one lock, held for some nanoseconds on a miss only.
 *
 * The slots are direct-mapped by hash. Whoever finds the lease of another key in the way just loads: a wait for
 * somebody else's answer would be for nothing, a second load costs one load.
 *
 * What cannot be stored (an answer that is degraded, say) must not make a queue of those who want it, each waiting
 * for the one before: after a lease that was given back without a value nobody waits for that key, for BARREN_MS. */
#include "cache/cache_leases.h"

#include <pthread.h>
#include <stdlib.h>

enum { LEASES = 1024 /* loads under way that are told apart */, BARREN_MS = 250, DEFER_MS = 20, LOOK_MS = 5 };

typedef struct cache_lease_slot {
    uint64_t hash;
    int64_t until, barren_until, looked; /* ns */
    pthread_t holder;
    bool held; /* by a thread of this process */
} cache_lease_slot;

struct cache_leases {
    pthread_mutex_t lock; /* guards the slots */
    cache_lease_slot slots[LEASES];
};

static int64_t leases_ns(int64_t ms) {
    return ms * 1000000;
}

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

static cache_lease_slot *leases_lock(cache_leases *l, uint64_t hash) {
    pthread_mutex_lock(&l->lock);
    return &l->slots[hash % LEASES];
}

static bool slot_is_ours(const cache_lease_slot *slot) {
    return slot->held && pthread_equal(slot->holder, pthread_self());
}

cache_turn cache_leases_take(cache_leases *l, uint64_t hash, unsigned ms, int64_t now_ns) {
    cache_turn turn = CACHE_TURN_OURS;
    cache_lease_slot *slot = leases_lock(l, hash);
    if (slot->hash == hash && now_ns < slot->barren_until) {
        turn = CACHE_TURN_NOBODYS;
    } else if (now_ns >= slot->until) {
        *slot =
            (cache_lease_slot){.hash = hash, .until = now_ns + leases_ns(ms), .holder = pthread_self(), .held = true};
    } else if (slot->hash == hash) {
        turn = CACHE_TURN_THEIRS;
    }
    pthread_mutex_unlock(&l->lock);
    return turn;
}

void cache_leases_end(cache_leases *l, uint64_t hash, bool stored, int64_t now_ns) {
    cache_lease_slot *slot = leases_lock(l, hash);
    bool active = slot->hash == hash && now_ns < slot->until;
    if (active && (stored || slot_is_ours(slot))) {
        slot->until = 0;
        slot->barren_until = stored ? 0 : now_ns + leases_ns(BARREN_MS);
    }
    pthread_mutex_unlock(&l->lock);
}

void cache_leases_defer(cache_leases *l, uint64_t hash, int64_t now_ns) {
    cache_lease_slot *slot = leases_lock(l, hash);
    if (slot->hash == hash && slot_is_ours(slot)) {
        slot->until = now_ns + leases_ns(DEFER_MS);
        slot->held = false;
    }
    pthread_mutex_unlock(&l->lock);
}

bool cache_leases_active(cache_leases *l, uint64_t hash, int64_t now_ns) {
    const cache_lease_slot *slot = leases_lock(l, hash);
    bool active = slot->hash == hash && now_ns < slot->until;
    pthread_mutex_unlock(&l->lock);
    return active;
}

bool cache_leases_may_look(cache_leases *l, uint64_t hash, int64_t now_ns) {
    cache_lease_slot *slot = leases_lock(l, hash);
    bool active = slot->hash == hash && now_ns < slot->until;
    bool may = !active || slot_is_ours(slot) || now_ns - slot->looked >= leases_ns(LOOK_MS);
    if (active && may) slot->looked = now_ns;
    pthread_mutex_unlock(&l->lock);
    return may;
}
