/* cache: the thin forwarder in front of every cache store, the registry, and the one way to make keys.
 *
 * Arguments are checked, hits and misses counted, calls timed and breakers kept here once, so that an adapter holds
 * only its own work. A remote cache has a breaker for reads and one for writes; an invalidation that does not get
 * through is owed (cache_owed.c).
 *
 * A server that accepts what it is sent and never answers costs every call its whole share of a deadline, and an answer
 * makes several. So no call on the way to an answer waits longer than the cache's own time-out, and after one that came
 * to its end the next ones get LATE_MS, until one succeeds or the breaker opens: five calls cost one share and 40 ms. A
 * probe gets its whole share, so that a cache that is merely slow is found again.
 *
 * A crowd in this process is no crowd at the remote cache: of those who miss a key one asks for its lease, the
 * others are told from here that somebody has it, and what is then put is also kept here for a moment (`near`), if
 * nothing can outdate it. So a stampede is one load also when the cache is slow or gone, which a crowd itself can
 * bring about. */
#include "cache/cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "cache/cache_leases.h"
#include "cache/cache_local.h"
#include "cache/cache_owed.h"
#ifdef BRAID_HAVE_REDIS
#include "cache/cache_redis.h"
#endif

enum { CACHE_KEY_BYTES_MAX = 1 << 20, NEAR_MS = 1000, NEAR_BYTES_MAX = 4 << 20, LATE_MS = 10 };

struct cache {
    const cache_ops *ops;
    void *self;
    const clock_ops *clock;
    breaker *reads, *writes; /* NULL for a cache in this process */
    int64_t timeout_ns;      /* of a call on the way to an answer; 0: as the caller says */
    atomic_bool late;        /* the last call came to its end without an answer */
    cache_owed *owed;        /* the same */
    cache_leases *leases;    /* the same: of this process's callers one asks the remote cache, not all */
    void *near;              /* the same, a local cache: what those wait for who did not get a lease */
    metric_counter *hits, *misses;
    metric_histogram *read_time, *write_time;
};

const cache_ops *cache_registry(size_t i) {
    static const cache_ops *const rows[] = {
        &cache_local_ops,
#ifdef BRAID_HAVE_REDIS
        &cache_redis_ops,
#endif
    };
    return i < sizeof rows / sizeof rows[0] ? rows[i] : NULL;
}

const cache_ops *cache_find(const char *name) {
    for (size_t i = 0; cache_registry(i) != NULL; i++)
        if (strcmp(cache_registry(i)->name, name) == 0) return cache_registry(i);
    return NULL;
}

static int cache_open_remote(cache *c, const cache_options *options, braid_error *err) {
    breaker_options b = {.store = c->ops->name, .calls = "read", .clock = options->clock, .metrics = options->metrics};
    int rc = breaker_new(&b, &c->reads, err);
    b.calls = "write";
    c->timeout_ns = (int64_t)options->remote->timeout_ms * 1000000;
    if (rc == BRAID_OK) rc = breaker_new(&b, &c->writes, err);
    c->owed = cache_owed_new();
    c->leases = cache_leases_new();
    if (rc == BRAID_OK && (c->owed == NULL || c->leases == NULL))
        rc = error_set(err, BRAID_E_NO_MEMORY, "cache", "no memory to open the cache");
    cache_options near = {.clock = options->clock, .bytes_max = NEAR_BYTES_MAX};
    if (rc == BRAID_OK) rc = cache_local_ops.open(&near, &c->near, err);
    c->read_time = metrics_histogram(options->metrics, "cache_call_duration_seconds", "calls=\"read\"",
                                     "Time of a call to the remote cache");
    c->write_time = metrics_histogram(options->metrics, "cache_call_duration_seconds", "calls=\"write\"",
                                      "Time of a call to the remote cache");
    return rc;
}

int cache_open(const cache_ops *ops, const cache_options *options, cache **out, braid_error *err) {
    BRAID_ASSERT(ops != NULL && options != NULL && options->clock != NULL && out != NULL);
    *out = NULL;
    bool remote = ops->caps & CACHE_CAP_REMOTE;
    if (remote && options->remote == NULL)
        return error_set(err, BRAID_E_INVALID, "cache", "the cache %s needs an address", ops->name);
    cache *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(err, BRAID_E_NO_MEMORY, "cache", "no memory to open the cache");
    c->ops = ops;
    c->clock = options->clock;
    int rc = remote ? cache_open_remote(c, options, err) : BRAID_OK;
    if (rc == BRAID_OK) rc = ops->open(options, &c->self, err);
    if (rc != BRAID_OK) {
        cache_close(c);
        return rc;
    }
    c->hits = metrics_counter(options->metrics, "cache_hits_total", "", "Answers found in the cache");
    c->misses = metrics_counter(options->metrics, "cache_misses_total", "", "Answers not found in the cache");
    *out = c;
    return BRAID_OK;
}

void cache_close(cache *c) {
    if (c == NULL) return;
    if (c->self != NULL) c->ops->close(c->self);
    breaker_free(c->reads);
    breaker_free(c->writes);
    cache_owed_free(c->owed);
    cache_leases_free(c->leases);
    if (c->near != NULL) cache_local_ops.close(c->near);
    free(c);
}

const char *cache_name(const cache *c) {
    return c->ops->name;
}

bool cache_is_remote(const cache *c) {
    return c->ops->caps & CACHE_CAP_REMOTE;
}

breaker_state cache_breaker(const cache *c, bool writes) {
    return breaker_now(writes ? c->writes : c->reads);
}

/* ---- calls ---- */

static int cache_check_key(const void *key, size_t key_len, braid_error *err) {
    if (key == NULL || key_len == 0) return error_set(err, BRAID_E_INVALID, "cache", "the cache key is empty");
    if (key_len > CACHE_KEY_BYTES_MAX)
        return error_set(err, BRAID_E_TOO_LARGE, "cache", "the cache key has %zu bytes; at most %d are allowed",
                         key_len, CACHE_KEY_BYTES_MAX);
    return BRAID_OK;
}

/* When a call is to end that passed the breaker, is on the way to an answer and may last until `until`. */
static deadline cache_until(const cache *c, breaker_ticket ticket, deadline until) {
    if (c->timeout_ns == 0 || until == 0) return until;
    bool late = atomic_load(&c->late) && ticket.probe == 0;
    int64_t most = clock_mono_ns(c->clock) + (late ? LATE_MS * INT64_C(1000000) : c->timeout_ns);
    return until < most ? until : most;
}

/* After a call that passed the breaker: told to it and to the metrics; a success is the moment to pay what is owed. */
static int cache_done(cache *c, breaker *b, breaker_ticket ticket, metric_histogram *time, int rc) {
    if (b == NULL) return rc;
    if (rc != BRAID_E_BUSY) atomic_store(&c->late, rc == BRAID_E_DEADLINE);
    if (rc == BRAID_E_BUSY)
        breaker_skip(b, ticket); /* a crowd of ours: no reason to leave the store alone */
    else
        breaker_done(b, ticket, rc);
    metric_observe_us(time, (double)(clock_mono_ns(c->clock) - ticket.begun_ns) / 1000.0);
    return rc;
}

/* What a lease was taken for a moment ago. */
static bool cache_get_near(cache *c, const void *key, size_t key_len, buf *out, uint64_t *version) {
    bool found = false;
    if (c->near != NULL) cache_local_ops.get(c->near, key, key_len, 0, 0, out, version, &found, NULL);
    return found;
}

static void cache_put_near(cache *c, uint64_t hash, const void *key, size_t key_len, uint64_t version,
                           const void *value, size_t len, unsigned ttl_ms) {
    if (c->near == NULL || version != CACHE_FIXED) return;
    if (!cache_leases_active(c->leases, hash, clock_mono_ns(c->clock))) return;
    if (ttl_ms == 0 || ttl_ms > NEAR_MS) ttl_ms = NEAR_MS;
    cache_local_ops.put(c->near, key, key_len, version, value, len, ttl_ms, 0, NULL);
}

/* Whether the remote cache is worth asking: not by all of a crowd at once. */
static bool cache_may_look(cache *c, uint64_t hash) {
    return c->leases == NULL || cache_leases_may_look(c->leases, hash, clock_mono_ns(c->clock));
}

static int cache_get_far(cache *c, const void *key, size_t key_len, uint64_t min_version, deadline until, buf *out,
                         uint64_t *version, bool *found, braid_error *err) {
    breaker_ticket ticket;
    int rc = breaker_enter(c->reads, &ticket, err);
    if (rc != BRAID_OK) return rc;
    until = cache_until(c, ticket, until);
    cache_owed_settle(c->owed, c->ops, c->self, until, false);
    uint64_t floor = cache_owed_floor(c->owed, key, key_len);
    if (floor > min_version) min_version = floor;
    rc = c->ops->get(c->self, key, key_len, min_version, until, out, version, found, err);
    return cache_done(c, c->reads, ticket, c->read_time, rc);
}

int cache_get(cache *c, const void *key, size_t key_len, uint64_t min_version, deadline until, buf *out,
              uint64_t *version, bool *found, braid_error *err) {
    uint64_t ignored;
    *found = false;
    if (version == NULL) version = &ignored;
    int rc = cache_check_key(key, key_len, err);
    if (rc != BRAID_OK) return rc;
    uint64_t hash = c->leases != NULL ? XXH3_64bits(key, key_len) : 0;
    *found = cache_get_near(c, key, key_len, out, version);
    if (!*found && !cache_may_look(c, hash)) return BRAID_OK; /* it waits: neither a hit nor a miss yet */
    if (!*found) rc = cache_get_far(c, key, key_len, min_version, until, out, version, found, err);
    if (*found && c->leases != NULL) cache_leases_end(c->leases, hash, true, clock_mono_ns(c->clock));
    metric_add(*found ? c->hits : c->misses, 1);
    return rc;
}

int cache_get_many(cache *c, cache_lookup *lookups, size_t n, deadline until, buf *out, braid_error *err) {
    breaker_ticket ticket;
    int rc = BRAID_OK;
    uint64_t hits = 0;
    for (size_t i = 0; i < n; i++) {
        lookups[i].found = false;
        lookups[i].version = 0;
        lookups[i].at = lookups[i].len = 0;
        if (rc == BRAID_OK) rc = cache_check_key(lookups[i].key, lookups[i].key_len, err);
    }
    if (rc != BRAID_OK || n == 0) return rc;
    rc = breaker_enter(c->reads, &ticket, err);
    if (rc == BRAID_OK) {
        until = cache_until(c, ticket, until);
        cache_owed_settle(c->owed, c->ops, c->self, until, false);
        for (size_t i = 0; i < n; i++) {
            uint64_t floor = cache_owed_floor(c->owed, lookups[i].key, lookups[i].key_len);
            if (floor > lookups[i].min_version) lookups[i].min_version = floor;
        }
        rc = c->ops->get_many(c->self, lookups, n, until, out, err);
        cache_done(c, c->reads, ticket, c->read_time, rc);
    }
    for (size_t i = 0; i < n; i++) hits += lookups[i].found;
    metric_add(c->hits, hits);
    metric_add(c->misses, n - hits);
    return rc;
}

int cache_put_until(cache *c, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
                    unsigned ttl_ms, deadline until, braid_error *err) {
    breaker_ticket ticket;
    int rc = cache_check_key(key, key_len, err);
    if (rc == BRAID_OK && version < cache_owed_floor(c->owed, key, key_len)) return BRAID_OK; /* late: refused here */
    if (rc != BRAID_OK) return rc;
    uint64_t hash = c->leases != NULL ? XXH3_64bits(key, key_len) : 0;
    cache_put_near(c, hash, key, key_len, version, value, len, ttl_ms);
    rc = breaker_enter(c->writes, &ticket, err);
    if (rc == BRAID_OK) {
        rc = c->ops->put(c->self, key, key_len, version, value, len, ttl_ms, cache_until(c, ticket, until), err);
        cache_done(c, c->writes, ticket, c->write_time, rc);
    }
    bool stored = rc == BRAID_OK || version == CACHE_FIXED;
    if (stored && c->leases != NULL) cache_leases_end(c->leases, hash, true, clock_mono_ns(c->clock));
    return rc;
}

int cache_put(cache *c, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
              unsigned ttl_ms, braid_error *err) {
    return cache_put_until(c, key, key_len, version, value, len, ttl_ms, 0, err);
}

int cache_invalidate(cache *c, const void *key, size_t key_len, uint64_t version, braid_error *err) {
    breaker_ticket ticket;
    int rc = cache_check_key(key, key_len, err);
    if (rc != BRAID_OK) return rc;
    rc = breaker_enter(c->writes, &ticket, err);
    if (rc == BRAID_OK) {
        rc = c->ops->invalidate(c->self, key, key_len, version, 0, err);
        cache_done(c, c->writes, ticket, c->write_time, rc);
    }
    if (c->owed == NULL) return rc;
    if (version == CACHE_FIXED) cache_local_ops.invalidate(c->near, key, key_len, version, 0, NULL);
    if (rc == BRAID_OK)
        cache_owed_settle(c->owed, c->ops, c->self, 0, true);
    else
        cache_owed_note(c->owed, key, key_len, version);
    return rc;
}

/* The lease among the callers of this process, which is asked for first. True: the remote one is to be asked as
 * well. */
static bool cache_lease_here(cache *c, uint64_t hash, unsigned ms, bool *mine) {
    int64_t now = clock_mono_ns(c->clock);
    if (ms == 0) {
        cache_leases_end(c->leases, hash, false, now);
        return true;
    }
    cache_turn turn = cache_leases_take(c->leases, hash, ms, now);
    *mine = turn != CACHE_TURN_THEIRS;
    return turn == CACHE_TURN_OURS;
}

int cache_lease(cache *c, const void *key, size_t key_len, unsigned ms, deadline until, bool *mine, braid_error *err) {
    breaker_ticket ticket;
    *mine = ms > 0;
    int rc = cache_check_key(key, key_len, err);
    if (rc != BRAID_OK) return rc;
    uint64_t hash = c->leases != NULL ? XXH3_64bits(key, key_len) : 0;
    if (c->leases != NULL && !cache_lease_here(c, hash, ms, mine)) return BRAID_OK;
    rc = breaker_enter(c->writes, &ticket, err);
    if (rc != BRAID_OK) return rc;
    rc = c->ops->lease(c->self, key, key_len, ms, cache_until(c, ticket, until), mine, err);
    if (rc != BRAID_OK) *mine = ms > 0;
    if (ms > 0 && !*mine && c->leases != NULL) cache_leases_defer(c->leases, hash, clock_mono_ns(c->clock));
    return cache_done(c, c->writes, ticket, c->write_time, rc);
}

int cache_clear(cache *c, braid_error *err) {
    breaker_ticket ticket;
    if (c->near != NULL) cache_local_ops.clear(c->near, NULL);
    int rc = breaker_enter(c->writes, &ticket, err);
    if (rc != BRAID_OK) return rc;
    rc = c->ops->clear(c->self, err);
    breaker_done(c->writes, ticket, rc);
    return rc;
}

void cache_get_stats(cache *c, cache_stats *out) {
    cache_stats near = {0};
    *out = (cache_stats){0};
    c->ops->stats(c->self, out);
    if (c->near != NULL) cache_local_ops.stats(c->near, &near);
    out->hits += near.hits;
}

bool cache_key(buf *key, const void *part, size_t len) {
    unsigned char prefix[8];
    for (size_t i = 0; i < sizeof prefix; i++) prefix[i] = (unsigned char)((uint64_t)len >> (8 * i));
    return buf_add(key, prefix, sizeof prefix) && (len == 0 || buf_add(key, part, len));
}
