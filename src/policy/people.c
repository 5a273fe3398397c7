/* A person's own record and what they did last, as answers read them, with a cache in front of a record store that is a
 * round trip away.
 *
 * Two values a person: `state` is the record as it was written (what they state of themselves: vector, mood, cultural
 * context, preferences, limits), `session` their newest interactions, each with a hash of its session. Both are read
 * from the record store when the cache has nothing new enough, and given to it with the LSN up to which they hold ("as
 * of"), taken before they were read. Whoever asks names an LSN that it knows of (its own writes, and others' as the log
 * told): what is as of less is not believed. A write ends both before it is acknowledged, so that another server, which
 * the log has not told yet, does not see them either; a filler that began before it is refused by the version.
 *
 * One `session` value a person, not one a session: so that a person who is deleted is gone from the cache by two
 * keys. Rejected: to append to the value at each write. Two servers that write would each need the other's entry;
 * reading 64 rows by an index when somebody asks is cheaper than a round trip for each interaction of a load. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "policy/policy_private.h"

enum {
    PEOPLE_NEWEST = 64, /* interactions that are looked at for a session */
    PEOPLE_SHARE = 4,   /* a call to the cache gets this part of what is left */
    PEOPLE_SHARE_MS_MAX = 200
};

struct policy_people {
    record_store *record;
    cache *cache; /* NULL: none in front */
    unsigned ttl_ms;
};

typedef struct session_row {
    uint64_t session, lsn;
    int64_t at;
    uint32_t num;
    int32_t watch_s;
    float rating;
    uint32_t type;
} session_row;

int policy_people_open(record_store *record, cache *in_front, unsigned ttl_ms, policy_people **out, braid_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out) return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for people");
    **out = (policy_people){.record = record, .cache = ttl_ms ? in_front : NULL, .ttl_ms = ttl_ms};
    return BRAID_OK;
}

void policy_people_close(policy_people *p) {
    free(p);
}

/* ---- the cache ---- */
static bool people_key(buf *key, const char *what, const char *user_id) {
    buf_init(key, 0);
    return cache_key(key, "person", 6) && cache_key(key, what, strlen(what)) &&
           cache_key(key, user_id, strlen(user_id));
}

static deadline people_share(deadline until) {
    if (until == 0) return 0; /* the cache's own */
    int64_t now = clock_mono_ns(&clock_system), share = (until - now) / PEOPLE_SHARE;
    if (share > PEOPLE_SHARE_MS_MAX * INT64_C(1000000)) share = PEOPLE_SHARE_MS_MAX * INT64_C(1000000);
    return now + (share > 0 ? share : 1);
}

static bool people_look(policy_people *p, const char *what, const char *user_id, uint64_t known, deadline until,
                        buf *value) {
    buf key;
    bool found = false;
    if (p->cache && people_key(&key, what, user_id)) {
        cache_get(p->cache, key.data, key.len, known, people_share(until), value, NULL, &found, NULL);
        buf_free(&key);
    }
    return found;
}

static void people_keep(policy_people *p, const char *what, const char *user_id, uint64_t as_of, const buf *value,
                        deadline until) {
    buf key;
    if (p->cache == NULL || value->failed) return;
    if (people_key(&key, what, user_id))
        cache_put_until(p->cache, key.data, key.len, as_of, value->data ? value->data : "", value->len, p->ttl_ms,
                        people_share(until), NULL);
    buf_free(&key);
}

void policy_people_changed(policy_people *p, const char *user_id, bool record, uint64_t lsn) {
    static const char *const values[] = {"session", "state"};
    for (size_t i = 0; p->cache && i < (record ? 2 : 1); i++) {
        buf key;
        /* what fails is owed */
        if (people_key(&key, values[i], user_id)) cache_invalidate(p->cache, key.data, key.len, lsn, NULL);
        buf_free(&key);
    }
}

/* Before the read that it is for: what was committed by then is in it. */
static uint64_t people_as_of(policy_people *p, uint64_t known) {
    uint64_t head = record_head(p->record);
    return head > known ? head : known;
}

/* ---- state: the row's version, then its body; nothing at all for nobody ---- */
typedef struct state_read {
    record_text_fn *each;
    void *ctx;
    buf value;
} state_read;

static bool state_row(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    state_read *x = ctx;
    buf_add(&x->value, &version, sizeof version);
    buf_add(&x->value, body, len);
    return x->each(x->ctx, id, body, len, version);
}

int policy_people_state(policy_people *p, const char *user_id, uint64_t known, deadline until, record_text_fn *each,
                        void *ctx, braid_error *err) {
    if (!p->cache) return record_get_user(p->record, user_id, until, each, ctx, err);
    state_read x = {.each = each, .ctx = ctx};
    uint64_t version;
    int rc = BRAID_OK;
    buf_init(&x.value, 0);
    bool found = people_look(p, "state", user_id, known, until, &x.value);
    if (found && x.value.len == 0) {
        rc = error_set(err, BRAID_E_NOT_FOUND, "policy", "there is no user \"%.80s\"", user_id);
    } else if (found && x.value.len > sizeof version) {
        memcpy(&version, x.value.data, sizeof version);
        each(ctx, user_id, x.value.data + sizeof version, x.value.len - sizeof version, version);
    } else {
        uint64_t as_of = people_as_of(p, known);
        buf_reset(&x.value);
        rc = record_get_user(p->record, user_id, until, state_row, &x, err);
        if (rc == BRAID_OK || rc == BRAID_E_NOT_FOUND) people_keep(p, "state", user_id, as_of, &x.value, until);
    }
    buf_free(&x.value);
    return rc;
}

/* ---- session: rows, newest first ---- */
static uint64_t session_hash(const char *session) {
    return session[0] ? XXH3_64bits(session, strlen(session)) : 0;
}

static bool session_add(void *ctx, const record_interaction *row) {
    session_row r = {.session = session_hash(row->in.session),
                     .lsn = row->lsn,
                     .at = row->in.at,
                     .num = row->item_num,
                     .watch_s = row->in.watch_s,
                     .rating = (float)row->in.rating,
                     .type = row->in.type};
    return buf_add(ctx, &r, sizeof r);
}

static size_t session_pick(const buf *value, const char *session, policy_session_item *out, size_t max) {
    uint64_t hash = session_hash(session);
    size_t n = 0;
    for (size_t at = 0; n < max && at + sizeof(session_row) <= value->len; at += sizeof(session_row)) {
        session_row r;
        memcpy(&r, value->data + at, sizeof r);
        if (r.session != hash || r.type >= INTERACTION_TYPES) continue;
        out[n++] = (policy_session_item){.num = r.num,
                                         .lsn = r.lsn,
                                         .at = r.at,
                                         .watch_s = r.watch_s,
                                         .rating = r.rating,
                                         .type = (interaction_type)r.type};
    }
    return n;
}

int policy_people_session(policy_people *p, const char *user_id, const char *session, uint64_t known, deadline until,
                          policy_session_item *out, size_t max, size_t *count, braid_error *err) {
    buf value;
    int rc = BRAID_OK;
    *count = 0;
    buf_init(&value, 0);
    if (!people_look(p, "session", user_id, known, until, &value)) {
        uint64_t as_of = people_as_of(p, known);
        rc = record_user_interactions(p->record, user_id, PEOPLE_NEWEST, until, session_add, &value, err);
        if (rc == BRAID_OK && value.failed) rc = error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for a session");
        if (rc == BRAID_OK) people_keep(p, "session", user_id, as_of, &value, until);
    }
    if (rc == BRAID_OK) *count = session_pick(&value, session, out, max);
    buf_free(&value);
    return rc;
}
