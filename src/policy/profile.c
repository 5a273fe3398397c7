/* The cache of taste profiles: user -> snapshot, bounded, least recently used first out.
 *
 *   moved, drop    O(1) under the cache's lock: a write only notes what happened, in the entry's `pending`, or that
 *                  the entry is stale
 *   get            takes the entry, and under the entry's own lock brings its snapshot up to date: reads the record
 *                  store if there is none or it is stale, else applies what is pending, all of it at once
 *
 * So an acknowledged write is in the next profile, a flood of writes costs nobody anything until somebody asks, and a
 * slow read of one person holds up neither other people nor writers. A person of whom more than PENDING_MAX writes
 * wait is read anew instead.
 *
 * What a reading found is told from what is pending by LSN: reading starts after `last_write` was noted, so every
 * write up to that is in it, or was removed. A drop during a reading leaves the entry stale: that reading's result
 * goes to those who asked before the drop returned.
 *
 * Lock order: an entry's `building`, then the cache's `lock`; never two entries. Entries in use are not evicted, so
 * the bound may be exceeded by the number of threads. `last_write` remembers between LAST_WRITES_MAX and twice as
 * many people: two maps, the older is forgotten as a whole. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "policy/profile_private.h"

enum { PENDING_MAX = 256, LAST_WRITES_MAX = 65536 };
static const int64_t remake_pause_ns = 1000000000; /* between two attempts to complete an incomplete taste */

typedef struct profile_entry {
    struct profile_entry *newer, *older;
    unsigned users; /* threads between enter and leave; guarded by the cache's lock, as are: */
    bool stale;
    profile_event *pending;
    size_t pending_count, pending_cap;
    pthread_mutex_t building;   /* guards: */
    profile_snapshot *snapshot; /* NULL: to be read */
    char id[];
} profile_entry;

struct policy_profiles {
    record_store *record;
    policy_people *people;
    catalogue *cat;
    model_limits limits;
    const clock_ops *clock;
    size_t max;
    metric_counter *hits, *loads, *held;
    pthread_mutex_t lock;
    map *entries; /* user -> profile_entry * */
    profile_entry *newest, *oldest;
    map *writes, *writes_before; /* user -> LSN */
    uint64_t writes_floor;       /* of everybody */
};

/* ---- entries (under the lock) ---- */
static void entry_unlink(policy_profiles *p, profile_entry *e) {
    *(e->newer ? &e->newer->older : &p->newest) = e->older;
    *(e->older ? &e->older->newer : &p->oldest) = e->newer;
}

static void entry_link(policy_profiles *p, profile_entry *e) {
    e->newer = NULL;
    e->older = p->newest;
    *(p->newest ? &p->newest->newer : &p->oldest) = e;
    p->newest = e;
}

static void entry_free(profile_entry *e) {
    profile_snapshot_release(e->snapshot);
    free(e->pending);
    pthread_mutex_destroy(&e->building);
    free(e);
}

static void entry_forget_pending(profile_entry *e) {
    free(e->pending);
    e->pending = NULL;
    e->pending_count = e->pending_cap = 0;
}

static profile_entry *entry_find(const policy_profiles *p, const char *id) {
    uint64_t value = 0;
    return map_get(p->entries, id, &value) ? (profile_entry *)(uintptr_t)value : NULL;
}

static profile_entry *entry_add(policy_profiles *p, const char *id) {
    size_t len = strlen(id) + 1;
    profile_entry *e = calloc(1, sizeof *e + len);
    if (!e) return NULL;
    memcpy(e->id, id, len);
    if (pthread_mutex_init(&e->building, NULL) != 0) {
        free(e);
        return NULL;
    }
    if (!map_put(p->entries, id, (uint64_t)(uintptr_t)e)) {
        entry_free(e);
        return NULL;
    }
    entry_link(p, e);
    return e;
}

static void entries_evict(policy_profiles *p) {
    for (profile_entry *e = p->oldest, *next; e && map_count(p->entries) > p->max; e = next) {
        next = e->newer;
        if (e->users) continue;
        entry_unlink(p, e);
        map_remove(p->entries, e->id);
        entry_free(e);
    }
    metric_set(p->held, (double)map_count(p->entries));
}

static profile_entry *entry_enter(policy_profiles *p, const char *id) {
    pthread_mutex_lock(&p->lock);
    profile_entry *e = entry_find(p, id);
    if (e) {
        entry_unlink(p, e);
        entry_link(p, e);
    } else {
        e = entry_add(p, id);
    }
    if (e) {
        e->users++;
        entries_evict(p);
    }
    pthread_mutex_unlock(&p->lock);
    return e;
}

static void entry_leave(policy_profiles *p, profile_entry *e) {
    pthread_mutex_lock(&p->lock);
    e->users--;
    entries_evict(p);
    pthread_mutex_unlock(&p->lock);
}

static void entry_stale(policy_profiles *p, profile_entry *e) {
    pthread_mutex_lock(&p->lock);
    e->stale = true;
    entry_forget_pending(e);
    pthread_mutex_unlock(&p->lock);
}

/* ---- last writes (under the lock) ---- */
static uint64_t writes_get(const policy_profiles *p, const char *id) {
    uint64_t lsn = 0;
    if (!map_get(p->writes, id, &lsn)) map_get(p->writes_before, id, &lsn);
    return lsn > p->writes_floor ? lsn : p->writes_floor;
}

static void writes_note(policy_profiles *p, const char *id, uint64_t lsn) {
    if (lsn <= writes_get(p, id)) return;
    if (map_count(p->writes) >= LAST_WRITES_MAX) {
        map *empty = map_new(0);
        if (empty) { /* else the old one grows on: better than to forget */
            map_free(p->writes_before);
            p->writes_before = p->writes;
            p->writes = empty;
        }
    }
    map_put(p->writes, id, lsn); /* without memory: the person's next read may not wait for this write */
}

/* ---- open, close ---- */
int policy_profiles_open(record_store *record, policy_people *people, catalogue *cat, const model_limits *limits,
                         size_t max_profiles, const clock_ops *clock, metrics *m, policy_profiles **out,
                         braid_error *err) {
    *out = NULL;
    policy_profiles *p = calloc(1, sizeof *p);
    if (!p || pthread_mutex_init(&p->lock, NULL) != 0) {
        free(p);
        return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for the taste profiles");
    }
    p->record = record;
    p->people = people;
    p->cat = cat;
    p->limits = *limits;
    p->clock = clock;
    p->max = max_profiles ? max_profiles : 1;
    p->entries = map_new(0);
    p->writes = map_new(0);
    p->writes_before = map_new(0);
    if (!p->entries || !p->writes || !p->writes_before) {
        policy_profiles_close(p);
        return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for the taste profiles");
    }
    if (m) {
        p->hits = metrics_counter(m, "profile_hits_total", "", "Taste profiles that were in memory.");
        p->loads = metrics_counter(m, "profile_loads_total", "", "Taste profiles read from the record store.");
        p->held = metrics_gauge(m, "profiles_held", "", "Taste profiles in memory.");
    }
    *out = p;
    return BRAID_OK;
}

void policy_profiles_close(policy_profiles *p) {
    if (!p) return;
    for (profile_entry *e = p->oldest, *next; e; e = next) {
        BRAID_ASSERT(e->users == 0);
        next = e->newer;
        entry_free(e);
    }
    if (p->entries) map_free(p->entries);
    if (p->writes) map_free(p->writes);
    if (p->writes_before) map_free(p->writes_before);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- get ---- */
/* Gives a new snapshot its taste and the entry the snapshot (under `building`). */
static int entry_install(policy_profiles *p, profile_entry *e, profile_snapshot *made, braid_error *err) {
    int rc = profile_taste_make(made, p->cat, err);
    if (rc != BRAID_OK) {
        profile_snapshot_release(made);
        return rc;
    }
    made->made_ns = clock_mono_ns(p->clock);
    profile_snapshot_release(e->snapshot);
    e->snapshot = made;
    return BRAID_OK;
}

/* The catalogue has moved on since it did not know something. */
static bool entry_wants_remake(const policy_profiles *p, const profile_snapshot *s) {
    return s->incomplete && clock_mono_ns(p->clock) - s->made_ns >= remake_pause_ns &&
           catalogue_version(p->cat) != s->catalogue_version;
}

/* Brings the entry's snapshot up to date (under `building`). */
static int entry_refresh(policy_profiles *p, profile_entry *e, deadline until, braid_error *err) {
    pthread_mutex_lock(&p->lock);
    bool read = e->stale || !e->snapshot;
    uint64_t floor_lsn = writes_get(p, e->id);
    profile_event *events = e->pending;
    size_t n = e->pending_count;
    e->pending = NULL;
    e->pending_count = e->pending_cap = 0;
    e->stale = false;
    pthread_mutex_unlock(&p->lock);

    int rc = BRAID_OK;
    profile_snapshot *made = NULL;
    if (read) {
        metric_add(p->loads, 1);
        rc = profile_snapshot_load(p->record, p->people, &p->limits, e->id, floor_lsn, until, &made, err);
    } else if (n || entry_wants_remake(p, e->snapshot)) {
        rc = profile_snapshot_advance(e->snapshot, events, n, &made, err);
    } else {
        metric_add(p->hits, 1);
    }
    if (rc == BRAID_OK && made) rc = entry_install(p, e, made, err);
    if (rc != BRAID_OK) entry_stale(p, e); /* what was pending is lost: read anew next time */
    free(events);
    return rc;
}

int policy_profile_get(policy_profiles *p, const char *user_id, deadline until, const policy_profile **out,
                       braid_error *err) {
    *out = NULL;
    profile_entry *e = entry_enter(p, user_id ? user_id : "");
    if (!e) return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for a taste profile");
    pthread_mutex_lock(&e->building);
    int rc = entry_refresh(p, e, until, err);
    if (rc == BRAID_OK) {
        atomic_fetch_add_explicit(&e->snapshot->refs, 1, memory_order_relaxed);
        *out = &e->snapshot->shown;
    }
    pthread_mutex_unlock(&e->building);
    entry_leave(p, e);
    return rc;
}

void policy_profile_release(const policy_profile *profile) {
    if (profile) profile_snapshot_release(profile->owner);
}

/* ---- writes ---- */
static bool entry_push(profile_entry *e, const profile_event *event) {
    if (e->pending_count == PENDING_MAX) return false;
    if (e->pending_count == e->pending_cap) {
        size_t cap = e->pending_cap ? e->pending_cap * 2 : 4;
        profile_event *pending = realloc(e->pending, cap * sizeof *pending);
        if (!pending) return false;
        e->pending = pending;
        e->pending_cap = cap;
    }
    e->pending[e->pending_count++] = *event;
    return true;
}

void policy_profile_moved(policy_profiles *p, const interaction *in, uint32_t item_num, uint64_t lsn) {
    profile_event event = profile_event_of(in, item_num, lsn);
    if (in->at == TIME_NONE) event.at = clock_wall_ms(p->clock); /* as the writer has just done */
    pthread_mutex_lock(&p->lock);
    writes_note(p, in->user, lsn);
    profile_entry *e = entry_find(p, in->user);
    if (e && !e->stale && !entry_push(e, &event)) {
        e->stale = true;
        entry_forget_pending(e);
    }
    pthread_mutex_unlock(&p->lock);
}

void policy_profile_drop(policy_profiles *p, const char *user_id, uint64_t lsn) {
    pthread_mutex_lock(&p->lock);
    writes_note(p, user_id, lsn);
    profile_entry *e = entry_find(p, user_id);
    if (e) {
        e->stale = true;
        entry_forget_pending(e);
    }
    pthread_mutex_unlock(&p->lock);
}

void policy_profiles_forget(policy_profiles *p, uint64_t lsn) {
    pthread_mutex_lock(&p->lock);
    p->writes_floor = lsn;
    for (profile_entry *e = p->newest; e; e = e->older) {
        e->stale = true;
        entry_forget_pending(e);
    }
    pthread_mutex_unlock(&p->lock);
}

uint64_t policy_profile_last_write(policy_profiles *p, const char *user_id) {
    pthread_mutex_lock(&p->lock);
    uint64_t lsn = writes_get(p, user_id);
    pthread_mutex_unlock(&p->lock);
    return lsn;
}
