/* The cache in Redis: can be lost, never wrong, and never in the way.
 *
 *     get         GET of the value's key (several: MGET); a header tells version and run
 *     put         a script: set, unless a tombstone or a value of a higher version is there
 *     invalidate  a script: a tombstone for CACHE_TOMBSTONE_MS, and the value goes if its version is not higher
 *     lease       SET NX PX
 *     clear       SCAN for values below our prefix, UNLINK; tombstones stay, as they may still be needed
 *
 * A value counts only within the run of the server that it was put into: what a restart read back from disk may have
 * been invalidated after the last write to disk, and what a replica took over may be behind. Values of CACHE_FIXED are
 * exempt, since nothing invalidates them. Fills are held back for a while after such an event (cache_redis_cluster.c).
 *
 * Times to live are shortened by up to a sixteenth, at random, so that what was stored together does not expire
 * together. Opening does not need the server: only a wrong password or a wrong option is an error then.
 *
 * What is not promised: with an eviction policy that takes tombstones before their minute is over, a filler that is
 * slow at the same time can bring an old value back; so maxmemory must be large enough for a minute of writes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cache/cache_redis_private.h"

enum { REDIS_JITTER = 16 /* up to one part in so many is taken off a time to live */ };

typedef struct redis_cache {
    redis_cluster cluster;
    char prefix[REDIS_PREFIX_BYTES_MAX + 1];
    char owner[17]; /* of leases: this handle */
    char sha[REDIS_SCRIPTS][41];
    char tombstone_ms[16];
    _Atomic uint64_t random, hits, misses, stale_refused;
} redis_cache;

/* ---- open and close ---- */

static void redis_close(void *self) {
    redis_cache *c = self;
    if (c == NULL) return;
    redis_cluster_close(&c->cluster);
    free(c);
}

static int redis_check_prefix(const char *prefix, braid_error *err) {
    size_t len = strlen(prefix);
    if (len > REDIS_PREFIX_BYTES_MAX)
        return error_set(err, BRAID_E_INVALID, REDIS_STORE, "redis.database is a prefix of keys of at most %d bytes",
                         REDIS_PREFIX_BYTES_MAX);
    for (const char *at = prefix; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~' || *at == '{' || *at == '}')
            return error_set(err, BRAID_E_INVALID, REDIS_STORE,
                             "redis.database is a prefix of keys: printable ASCII without spaces and braces");
    return BRAID_OK;
}

/* The first look at the server: learns its run. Being down is no reason not to start, being shut out is. */
static int redis_first_look(redis_cache *c, const cache_options *options, braid_error *err) {
    redis_command cmd = {.shape = REDIS_STATUS};
    redis_answer a = {0};
    braid_error cause = {0};
    redis_command_add(&cmd, "PING", 4);
    int rc = redis_run(&c->cluster, &cmd, 1, 0, &a, &cause);
    if (rc == BRAID_OK) rc = redis_cluster_learn(&c->cluster, 0, &cause);
    redis_answer_free(&a);
    if (rc == BRAID_OK) return BRAID_OK;
    bool shut_out = strstr(cause.message, "WRONGPASS") != NULL || strstr(cause.message, "NOAUTH") != NULL ||
                    strstr(cause.message, "AUTH <password> called") != NULL;
    if (shut_out || rc == BRAID_E_INVALID) return error_set(err, BRAID_E_INVALID, REDIS_STORE, "%s", cause.message);
    /* What it was before we first see it is not known: as after a restart. */
    c->cluster.nodes[0]->seen = true;
    if (options->log != NULL)
        log_write(options->log, LOG_WARN, REDIS_STORE, "the cache is not there yet, which makes answers slower: %s",
                  cause.message);
    return BRAID_OK;
}

static int redis_open(const cache_options *options, void **self, braid_error *err) {
    *self = NULL;
    const char *prefix = options->remote->database;
    if (prefix == NULL || prefix[0] == '\0') prefix = "braid:";
    int rc = redis_check_prefix(prefix, err);
    if (rc != BRAID_OK) return rc;
    redis_cache *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(err, BRAID_E_NO_MEMORY, REDIS_STORE, "no memory to open the cache");
    snprintf(c->prefix, sizeof c->prefix, "%s", prefix);
    snprintf(c->tombstone_ms, sizeof c->tombstone_ms, "%d", CACHE_TOMBSTONE_MS);
    uint64_t random[2] = {0};
    if (getrandom(random, sizeof random, GRND_NONBLOCK) != sizeof random) random[0] = (uint64_t)(uintptr_t)c;
    snprintf(c->owner, sizeof c->owner, "%016" PRIx64, random[0]);
    c->random = random[1];
    for (redis_script s = 0; s < REDIS_SCRIPTS; s++)
        if (!redis_script_sha(s, c->sha[s])) c->sha[s][0] = '\0'; /* unknown to any server: the text is sent */
    rc = redis_cluster_open(&c->cluster, options, err);
    if (rc == BRAID_OK) rc = redis_first_look(c, options, err);
    if (rc != BRAID_OK) {
        redis_close(c);
        return rc;
    }
    *self = c;
    return BRAID_OK;
}

/* ---- helpers ---- */

static int redis_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, REDIS_STORE, "no memory for a call");
}

static void redis_add_key(redis_command *cmd, const buf *key) {
    if (cmd->argc <= 1) cmd->slot = redis_slot(key->data, key->len);
    redis_command_add(cmd, key->data, key->len);
}

/* Starts a call of a script on `keys` keys, the first of which names the slot. */
static redis_command redis_script_call(const redis_cache *c, redis_script s, const buf *keys, size_t n) {
    static const char *const counts[] = {"0", "1", "2", "3"};
    redis_command cmd = {.shape = REDIS_INTEGER, .eval_text = redis_script_text(s)};
    redis_command_add(&cmd, "EVALSHA", 7);
    redis_command_add(&cmd, c->sha[s], strlen(c->sha[s]));
    redis_command_add(&cmd, counts[n], 1);
    for (size_t i = 0; i < n; i++) redis_command_add(&cmd, keys[i].data, keys[i].len);
    cmd.slot = redis_slot(keys[0].data, keys[0].len);
    return cmd;
}

/* splitmix64 over a shared counter. */
static uint64_t redis_random(redis_cache *c) {
    uint64_t z = atomic_fetch_add_explicit(&c->random, UINT64_C(0x9e3779b97f4a7c15), memory_order_relaxed);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A value as it came: is there one that may be handed out? */
static bool redis_usable(const redisReply *r, uint64_t run, uint64_t min_version, uint64_t *version) {
    uint64_t of_run, of_version;
    if (r->type != REDIS_REPLY_STRING || !redis_head_read(r->str, r->len, &of_run, &of_version)) return false;
    if (of_version < min_version || (of_run != run && of_version != CACHE_FIXED)) return false;
    *version = of_version;
    return true;
}

static int redis_copy(const redisReply *r, buf *out, braid_error *err) {
    size_t before = out->len;
    if (buf_add(out, r->str + REDIS_HEAD_BYTES, r->len - REDIS_HEAD_BYTES)) return BRAID_OK;
    out->len = before;
    return error_set(err, BRAID_E_NO_MEMORY, REDIS_STORE, "no room to copy a cached value out");
}

static void redis_count(redis_cache *c, uint64_t hits, uint64_t misses) {
    atomic_fetch_add_explicit(&c->hits, hits, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->misses, misses, memory_order_relaxed);
}

/* ---- reading ---- */

static int redis_get(void *self, const void *key, size_t key_len, uint64_t min_version, deadline until, buf *out,
                     uint64_t *version, bool *found, braid_error *err) {
    redis_cache *c = self;
    redis_command cmd = {.shape = REDIS_STRING | REDIS_NIL};
    redis_answer a = {0};
    buf name;
    *found = false;
    buf_init(&name, 0);
    int rc = redis_key(&name, c->prefix, 'v', key, key_len) ? BRAID_OK : redis_no_memory(err);
    if (rc == BRAID_OK) {
        redis_command_add(&cmd, "GET", 3);
        redis_add_key(&cmd, &name);
        rc = redis_run(&c->cluster, &cmd, 1, until, &a, err);
    }
    if (rc == BRAID_OK && redis_usable(a.reply, a.run, min_version, version)) {
        rc = redis_copy(a.reply, out, err);
        *found = rc == BRAID_OK;
    }
    redis_count(c, *found, !*found);
    redis_answer_free(&a);
    buf_free(&name);
    return rc;
}

/* Lookups in groups that one MGET may ask for: up to REDIS_MGET_KEYS, in a cluster of one slot only. */
typedef struct redis_batch {
    redis_command *cmds;
    redis_answer *answers;
    buf *names;
    size_t *order; /* lookups by slot */
    size_t *first; /* of each command in `order`; one more at the end */
    unsigned *slots;
    size_t count;
} redis_batch;

static void redis_batch_free(redis_batch *b, size_t n) {
    for (size_t i = 0; b->names != NULL && i < n; i++) buf_free(&b->names[i]);
    for (size_t i = 0; b->answers != NULL && i < b->count; i++) redis_answer_free(&b->answers[i]);
    free(b->cmds);
    free(b->answers);
    free(b->names);
    free(b->order);
    free(b->first);
    free(b->slots);
}

static int redis_by_slot(const void *x, const void *y, void *slots) {
    const unsigned *s = slots;
    size_t a = *(const size_t *)x, b = *(const size_t *)y;
    return s[a] != s[b] ? (s[a] > s[b] ? 1 : -1) : (a > b) - (a < b);
}

static bool redis_batch_make(redis_cache *c, redis_batch *b, const cache_lookup *lookups, size_t n) {
    *b = (redis_batch){calloc(n, sizeof *b->cmds),
                       calloc(n, sizeof *b->answers),
                       calloc(n, sizeof *b->names),
                       calloc(n, sizeof *b->order),
                       calloc(n + 1, sizeof *b->first),
                       calloc(n, sizeof *b->slots),
                       0};
    if (!b->cmds || !b->answers || !b->names || !b->order || !b->first || !b->slots) return false;
    bool clustered = c->cluster.clustered;
    for (size_t i = 0; i < n; i++) buf_init(&b->names[i], 0);
    for (size_t i = 0; i < n; i++) {
        if (!redis_key(&b->names[i], c->prefix, 'v', lookups[i].key, lookups[i].key_len)) return false;
        b->slots[i] = clustered ? redis_slot(b->names[i].data, b->names[i].len) : 0;
        b->order[i] = i;
    }
    if (clustered) qsort_r(b->order, n, sizeof *b->order, redis_by_slot, b->slots);
    for (size_t i = 0; i < n; i++) {
        size_t l = b->order[i];
        redis_command *cmd = b->count > 0 ? &b->cmds[b->count - 1] : NULL;
        if (cmd == NULL || cmd->elements == REDIS_MGET_KEYS || cmd->slot != b->slots[l]) {
            b->first[b->count] = i;
            cmd = &b->cmds[b->count++];
            *cmd = (redis_command){.shape = REDIS_ARRAY, .slot = b->slots[l]};
            redis_command_add(cmd, "MGET", 4);
        }
        redis_command_add(cmd, b->names[l].data, b->names[l].len);
        cmd->elements++;
    }
    b->first[b->count] = n;
    return true;
}

static int redis_get_many(void *self, cache_lookup *lookups, size_t n, deadline until, buf *out, braid_error *err) {
    redis_cache *c = self;
    redis_batch b;
    size_t hits = 0;
    if (!redis_batch_make(c, &b, lookups, n)) {
        redis_batch_free(&b, n);
        return redis_no_memory(err);
    }
    int rc = redis_run(&c->cluster, b.cmds, b.count, until, b.answers, err);
    for (size_t g = 0; g < b.count; g++) { /* what did come is handed out, whatever happened to the rest */
        const redisReply *r = b.answers[g].reply;
        for (size_t i = b.first[g]; r != NULL && i < b.first[g + 1]; i++) {
            cache_lookup *l = &lookups[b.order[i]];
            const redisReply *one = r->element[i - b.first[g]];
            if (!redis_usable(one, b.answers[g].run, l->min_version, &l->version)) continue;
            l->at = out->len;
            l->len = one->len - REDIS_HEAD_BYTES;
            int copied = redis_copy(one, out, err);
            l->found = copied == BRAID_OK;
            hits += l->found;
            if (copied != BRAID_OK) rc = copied;
        }
    }
    redis_count(c, hits, n - hits);
    redis_batch_free(&b, n);
    return rc;
}

/* ---- writing ---- */

static void redis_keys_free(buf *keys, size_t n) {
    for (size_t i = 0; i < n; i++) buf_free(&keys[i]);
}

static bool redis_keys(const redis_cache *c, buf *keys, const char *kinds, const void *key, size_t key_len) {
    bool ok = true;
    for (size_t i = 0; kinds[i] != '\0'; i++) {
        buf_init(&keys[i], 0);
        ok = redis_key(&keys[i], c->prefix, kinds[i], key, key_len) && ok;
    }
    return ok;
}

static int redis_put(void *self, const void *key, size_t key_len, uint64_t version, const void *value, size_t len,
                     unsigned ttl_ms, deadline until, braid_error *err) {
    redis_cache *c = self;
    char head[REDIS_HEAD_BYTES], text[21], ttl[16] = "drop";
    bool fits = len <= REDIS_VALUE_BYTES_MAX;
    buf keys[3], body;
    redis_answer a = {0};
    buf_init(&body, 0);
    redis_head_write(head, 0, version);
    redis_version_text(version, text);
    unsigned jitter = ttl_ms / REDIS_JITTER;
    if (jitter > 0) ttl_ms -= (unsigned)(redis_random(c) % (jitter + 1));
    if (fits) snprintf(ttl, sizeof ttl, "%u", ttl_ms);
    int rc = BRAID_OK;
    bool ok = redis_keys(c, keys, "vtl", key, key_len) && buf_add(&body, head, sizeof head);
    if (ok && fits && len > 0) ok = buf_add(&body, value, len);
    if (!ok) {
        rc = redis_no_memory(err);
        goto cleanup;
    }
    redis_command cmd = redis_script_call(c, REDIS_SCRIPT_PUT, keys, 3);
    redis_command_add(&cmd, text, 20);
    redis_command_add(&cmd, body.data, body.len);
    redis_command_add(&cmd, ttl, strlen(ttl));
    cmd.head = body.data;
    cmd.fill = fits && version != CACHE_FIXED;
    rc = redis_run(&c->cluster, &cmd, 1, until, &a, err);
    if (rc == BRAID_OK && (a.held || a.reply->integer == 0))
        atomic_fetch_add_explicit(&c->stale_refused, 1, memory_order_relaxed);
cleanup:
    redis_answer_free(&a);
    redis_keys_free(keys, 3);
    buf_free(&body);
    return rc;
}

static int redis_invalidate(void *self, const void *key, size_t key_len, uint64_t version, deadline until,
                            braid_error *err) {
    redis_cache *c = self;
    char text[21];
    buf keys[2];
    redis_answer a = {0};
    redis_version_text(version, text);
    int rc = redis_keys(c, keys, "vt", key, key_len) ? BRAID_OK : redis_no_memory(err);
    if (rc == BRAID_OK) {
        redis_command cmd = redis_script_call(c, REDIS_SCRIPT_INVALIDATE, keys, 2);
        redis_command_add(&cmd, text, 20);
        redis_command_add(&cmd, c->tombstone_ms, strlen(c->tombstone_ms));
        rc = redis_run(&c->cluster, &cmd, 1, until, &a, err);
    }
    redis_answer_free(&a);
    redis_keys_free(keys, 2);
    return rc;
}

static int redis_lease(void *self, const void *key, size_t key_len, unsigned ms, deadline until, bool *mine,
                       braid_error *err) {
    redis_cache *c = self;
    char text[16];
    buf name;
    redis_answer a = {0};
    redis_command cmd = {.shape = REDIS_STATUS | REDIS_NIL};
    buf_init(&name, 0);
    int rc = redis_key(&name, c->prefix, 'l', key, key_len) ? BRAID_OK : redis_no_memory(err);
    if (rc != BRAID_OK) goto cleanup;
    if (ms == 0) {
        cmd = redis_script_call(c, REDIS_SCRIPT_RELEASE, &name, 1);
        redis_command_add(&cmd, c->owner, strlen(c->owner));
    } else {
        snprintf(text, sizeof text, "%u", ms);
        redis_command_add(&cmd, "SET", 3);
        redis_add_key(&cmd, &name);
        redis_command_add(&cmd, c->owner, strlen(c->owner));
        redis_command_add(&cmd, "NX", 2);
        redis_command_add(&cmd, "PX", 2);
        redis_command_add(&cmd, text, strlen(text));
    }
    rc = redis_run(&c->cluster, &cmd, 1, until, &a, err);
    if (rc == BRAID_OK) *mine = ms > 0 && a.reply->type == REDIS_REPLY_STATUS;
cleanup:
    redis_answer_free(&a);
    buf_free(&name);
    return rc;
}

/* ---- the rest ---- */

static int redis_clear(void *self, braid_error *err) {
    redis_cache *c = self;
    return redis_clear_values(&c->cluster, c->prefix, err);
}

/* What Redis holds is not counted: it may be shared, and counting would walk all of it. */
static void redis_stats(void *self, cache_stats *out) {
    redis_cache *c = self;
    out->hits = atomic_load_explicit(&c->hits, memory_order_relaxed);
    out->misses = atomic_load_explicit(&c->misses, memory_order_relaxed);
    out->stale_refused = atomic_load_explicit(&c->stale_refused, memory_order_relaxed);
}

const cache_ops cache_redis_ops = {
    .version = 1,
    .name = "redis",
    .caps = CACHE_CAP_REMOTE,
    .open = redis_open,
    .close = redis_close,
    .get = redis_get,
    .get_many = redis_get_many,
    .put = redis_put,
    .invalidate = redis_invalidate,
    .lease = redis_lease,
    .clear = redis_clear,
    .stats = redis_stats,
};
