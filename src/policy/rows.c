/* Policies as answers read them: the record store, with a cache in front of it where that is a round trip away.
 *
 * A row is kept under policy:{agent}:{user}:{state_hash} (in which form: rows_form.c). The parts are escaped (a byte
 * that is not a letter, digit or one of "-_.=" becomes %XX), so that no two keys collide.
 * The cache's version of a value is the row's own (the LSN that moved it last): before it writes a row the learner ends
 * what the cache has of it, and puts the new one afterwards; so a slow reader that fills in an older row is refused,
 * and a learner that dies in between leaves a miss. That there is no row is worth remembering too: an empty one of
 * version 0, for a short while.
 *
 * Everybody asks for the rows of the population. Of those who miss one at the same time, one loads it and the others
 * look again (a lease); whoever waited its share loads as well. A person's rows are asked for by that person: no lease.
 *
 * A cache that fails is a miss, what it says that makes no sense is a miss, and a call to it on the way to an answer
 * gets a small share of what is left: slower, never wrong. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/policy_private.h"

enum {
    ROWS_KEYS_MAX = 16,
    ROWS_NONE_TTL_MS = 60 * 1000,
    ROWS_WAIT_SHARE = 4,  /* those who wait for a lease wait this part of what is left */
    ROWS_CALL_SHARE = 16, /* a call to the cache gets this part: the record store has the same row a moment later */
    ROWS_CALL_MS_MAX = 100,
    ROWS_LEASE_MS = 1000, /* longer than a load takes */
    ROWS_NAP_MS_MAX = 8
};

struct policy_rows {
    record_store *record;
    cache *cache; /* NULL: none in front */
    unsigned ttl_ms;
    metric_counter *hits, *misses;
};

int policy_rows_open(record_store *record, cache *in_front, unsigned ttl_ms, metrics *m, policy_rows **out,
                     braid_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out) return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for the policies");
    (*out)->record = record;
    (*out)->cache = ttl_ms ? in_front : NULL;
    (*out)->ttl_ms = ttl_ms;
    if (m) {
        (*out)->hits = metrics_counter(m, "policy_cache_hits_total", "", "Policies found in the cache.");
        (*out)->misses = metrics_counter(m, "policy_cache_misses_total", "", "Policies read from the record store.");
    }
    return BRAID_OK;
}

void policy_rows_close(policy_rows *p) {
    free(p);
}

/* ---- keys ---- */
static bool key_part(buf *b, const char *text) {
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
                     strchr("-_.=", *at) != NULL;
        if (plain)
            buf_putc(b, (char)*at);
        else
            buf_printf(b, "%%%02X", *at);
    }
    return !b->failed;
}

bool policy_rows_key(const char *agent, const char *user_id, const char *state_hash, buf *out) {
    buf_puts(out, "policy:");
    key_part(out, agent);
    buf_putc(out, ':');
    key_part(out, user_id);
    buf_putc(out, ':');
    return key_part(out, state_hash);
}

/* ---- one row into the cache ---- */
static bool row_put(policy_rows *p, const record_policy *row, unsigned ttl_ms, deadline until) {
    buf key, value;
    bool put = false;
    buf_init(&key, 0);
    buf_init(&value, 0);
    if (policy_rows_key(row->agent, row->user, row->state_hash, &key) &&
        policy_row_write(row, !cache_is_remote(p->cache), &value))
        put = cache_put_until(p->cache, key.data, key.len, row->version, value.data, value.len, ttl_ms, until, NULL) ==
              BRAID_OK;
    buf_free(&key);
    buf_free(&value);
    return put;
}

/* ---- reading ---- */
typedef struct rows_read {
    policy_rows *p;
    const char *agent;
    const record_policy_key *keys;
    deadline until;
    size_t wanted[ROWS_KEYS_MAX]; /* indices into the caller's keys */
    size_t count;                 /* of them */
    bool there[ROWS_KEYS_MAX];    /* by index into `wanted` */
    bool leased[ROWS_KEYS_MAX];   /* by the caller's index */
    record_policy_key_fn *each;
    void *ctx;
    bool more; /* the caller wants to go on */
} rows_read;

static deadline rows_share(deadline until, int64_t part, int64_t most_ms) {
    if (until == 0) return 0; /* the cache's own */
    int64_t now = clock_mono_ns(&clock_system), share = (until - now) / part;
    if (share > most_ms * 1000000) share = most_ms * 1000000;
    return now + (share > 0 ? share : 1);
}

static deadline rows_call(const rows_read *x) {
    return rows_share(x->until, ROWS_CALL_SHARE, ROWS_CALL_MS_MAX);
}

static bool rows_found(void *ctx, size_t which, const record_policy *row) {
    rows_read *x = ctx;
    size_t i = x->wanted[which];
    x->there[which] = true;
    if (row_put(x->p, row, x->p->ttl_ms, rows_call(x))) x->leased[i] = false;
    x->more = x->each(x->ctx, i, row);
    return x->more;
}

static void remember_none(rows_read *x) {
    for (size_t w = 0; w < x->count; w++) {
        size_t i = x->wanted[w];
        const record_policy_key *k = &x->keys[i];
        if (x->there[w]) continue;
        record_policy none = {.agent = x->agent, .user = k->user, .state_hash = k->state_hash, .state = ""};
        if (row_put(x->p, &none, ROWS_NONE_TTL_MS, rows_call(x))) x->leased[i] = false;
    }
}

/* Answers what the cache has; what is left is in x->wanted. */
static void rows_from_cache(rows_read *x, size_t n) {
    cache_lookup lookups[ROWS_KEYS_MAX] = {0};
    buf keys, values;
    size_t at[ROWS_KEYS_MAX + 1];
    buf_init(&keys, 0);
    buf_init(&values, 0);
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        at[i] = keys.len;
        ok = ok && policy_rows_key(x->agent, x->keys[i].user, x->keys[i].state_hash, &keys);
    }
    at[n] = keys.len;
    for (size_t i = 0; ok && i < n; i++)
        lookups[i] = (cache_lookup){.key = keys.data + at[i], .key_len = at[i + 1] - at[i]};
    if (ok) cache_get_many(x->p->cache, lookups, n, rows_call(x), &values, NULL); /* some may be there after an error */
    for (size_t i = 0; i < n; i++) {
        bool hit = ok && lookups[i].found && x->more &&
                   policy_row_read(values.data + lookups[i].at, lookups[i].len, !cache_is_remote(x->p->cache), x->agent,
                                   &x->keys[i], i, x->each, x->ctx, &x->more);
        if (!hit) x->wanted[x->count++] = i;
    }
    metric_add(x->p->hits, n - x->count);
    metric_add(x->p->misses, x->count);
    buf_free(&keys);
    buf_free(&values);
}

/* Loads what is wanted. */
static int rows_load(rows_read *x, braid_error *err) {
    record_policy_key asked[ROWS_KEYS_MAX];
    if (x->count == 0 || !x->more) return BRAID_OK;
    for (size_t w = 0; w < x->count; w++) {
        asked[w] = x->keys[x->wanted[w]];
        x->there[w] = false;
    }
    int rc = record_get_policies(x->p->record, x->agent, asked, x->count, x->until, rows_found, x, err);
    if (rc == BRAID_OK && x->more) remember_none(x);
    return rc;
}

/* ---- a stampede is one load ---- */
static bool rows_lease(rows_read *x, size_t i, unsigned ms) {
    buf key;
    bool mine = true;
    buf_init(&key, 0);
    if (policy_rows_key(x->agent, x->keys[i].user, x->keys[i].state_hash, &key))
        cache_lease(x->p->cache, key.data, key.len, ms, rows_call(x), &mine, NULL);
    buf_free(&key);
    return mine;
}

static bool rows_look(rows_read *x, size_t i) {
    buf key, value;
    bool found = false, hit = false;
    buf_init(&key, 0);
    buf_init(&value, 0);
    if (policy_rows_key(x->agent, x->keys[i].user, x->keys[i].state_hash, &key))
        cache_get(x->p->cache, key.data, key.len, 0, rows_call(x), &value, NULL, &found, NULL);
    if (found)
        hit = policy_row_read(value.data, value.len, !cache_is_remote(x->p->cache), x->agent, &x->keys[i], i, x->each,
                              x->ctx, &x->more);
    buf_free(&key);
    buf_free(&value);
    return hit;
}

static void rows_give_back(rows_read *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (x->leased[i]) rows_lease(x, i, 0);
}

/* Leaves in x->wanted what this call is to load; what others are loading goes to `waits`. */
static size_t rows_share_out(rows_read *x, size_t *waits) {
    size_t waiting = 0, kept = 0;
    for (size_t w = 0; w < x->count; w++) {
        size_t i = x->wanted[w];
        bool shared = x->more && !*x->keys[i].user;
        if (shared && !rows_lease(x, i, ROWS_LEASE_MS)) {
            waits[waiting++] = i;
            continue;
        }
        x->leased[i] = shared;
        if (!shared || !rows_look(x, i)) x->wanted[kept++] = i; /* the holder before may just have put it */
    }
    x->count = kept;
    return waiting;
}

/* What did not come in time is wanted after all. */
static void rows_await(rows_read *x, const size_t *waits, size_t waiting) {
    deadline patience = rows_share(x->until, ROWS_WAIT_SHARE, ROWS_LEASE_MS);
    if (patience == 0) patience = clock_mono_ns(&clock_system) + ROWS_LEASE_MS * INT64_C(1000000);
    x->count = 0;
    for (size_t w = 0; w < waiting && x->more; w++) {
        bool hit = false, mine = false;
        for (long nap_ms = 1; !hit && !mine && !deadline_passed(&clock_system, patience);) {
            struct timespec nap = {.tv_nsec = nap_ms * 1000000};
            nanosleep(&nap, NULL);
            if (nap_ms < ROWS_NAP_MS_MAX) nap_ms *= 2;
            hit = rows_look(x, waits[w]);
            if (!hit) mine = x->leased[waits[w]] = rows_lease(x, waits[w], ROWS_LEASE_MS);
            if (mine) hit = rows_look(x, waits[w]);
        }
        if (!hit) x->wanted[x->count++] = waits[w];
    }
}

int policy_rows_get(policy_rows *p, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                    record_policy_key_fn *each, void *ctx, braid_error *err) {
    if (!p->cache || n > ROWS_KEYS_MAX) return record_get_policies(p->record, agent, keys, n, until, each, ctx, err);
    rows_read x = {.p = p, .agent = agent, .keys = keys, .until = until, .each = each, .ctx = ctx, .more = true};
    size_t waits[ROWS_KEYS_MAX];
    rows_from_cache(&x, n);
    if (x.count == 0 || !x.more) return BRAID_OK;
    size_t waiting = rows_share_out(&x, waits);
    int rc = rows_load(&x, err); /* one's own first: nobody waits for somebody who waits */
    rows_give_back(&x, n);
    if (rc != BRAID_OK || waiting == 0 || !x.more) return rc;
    memset(x.leased, 0, sizeof x.leased);
    rows_await(&x, waits, waiting);
    rc = rows_load(&x, err);
    rows_give_back(&x, n);
    return rc;
}

/* ---- writing ---- */
void policy_rows_changing(policy_rows *p, const record_policy *row) {
    if (!p->cache) return;
    buf key;
    buf_init(&key, 0);
    if (policy_rows_key(row->agent, row->user, row->state_hash, &key))
        cache_invalidate(p->cache, key.data, key.len, row->version, NULL); /* what fails is owed */
    buf_free(&key);
}

void policy_rows_put(policy_rows *p, const record_policy *row) {
    if (p->cache) row_put(p, row, p->ttl_ms, 0);
}

struct policy_rows_key_list {
    buf key; /* of the row in hand */
    arena *a;
    struct key_entry {
        struct key_entry *next;
        size_t len;
        char key[];
    } * first;
    bool no_memory;
};

static bool note_row(void *ctx, const record_policy *row) {
    policy_rows_key_list *x = ctx;
    buf_reset(&x->key);
    bool ok = policy_rows_key(row->agent, row->user, row->state_hash, &x->key);
    struct key_entry *e = ok ? arena_alloc(x->a, sizeof *e + x->key.len) : NULL;
    x->no_memory = !e;
    if (!e) return false;
    e->next = x->first;
    e->len = x->key.len;
    memcpy(e->key, x->key.data, x->key.len);
    x->first = e;
    return true;
}

int policy_rows_note(policy_rows *p, const char *user_id, arena *a, policy_rows_key_list **out, braid_error *err) {
    *out = NULL;
    if (!p->cache) return BRAID_OK;
    policy_rows_key_list *x = arena_calloc(a, 1, sizeof *x);
    if (!x) return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for the keys of a person's policies");
    x->a = a;
    buf_init(&x->key, 0);
    int rc = record_user_policies(p->record, NULL, user_id, note_row, x, err);
    buf_free(&x->key);
    if (rc == BRAID_OK && x->no_memory)
        rc = error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for the keys of a person's policies");
    if (rc == BRAID_OK) *out = x;
    return rc;
}

void policy_rows_forget(policy_rows *p, const policy_rows_key_list *keys, uint64_t lsn) {
    for (const struct key_entry *e = keys ? keys->first : NULL; e; e = e->next)
        cache_invalidate(p->cache, e->key, e->len, lsn, NULL);
}
