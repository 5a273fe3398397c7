/* bolt_client: options, credentials, the pool, and the small questions around.
 *
 * The lock is held for copies only, never over the network. Credentials live in the client, since connections are
 * opened long after bolt_open; they are wiped before they are freed. */
#include "bolt_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BOLT_CONNECTIONS = 32, BOLT_TIMEOUT_MS = 5000, BOLT_FETCH = 1000, BOLT_RESET_MS = 1000 };

/* ---- credentials ---- */

static bool client_copy(char **out, const char *text) {
    *out = NULL;
    if (text == NULL || text[0] == '\0') return true;
    *out = strdup(text);
    return *out != NULL;
}

static void client_wipe(char *secret) {
    if (secret != NULL) explicit_bzero(secret, strlen(secret));
    free(secret);
}

bolt_auth bolt_client_auth(const bolt_client *c) {
    return (bolt_auth){.user = c->user, .password = c->password, .token = c->token};
}

int bolt_reauth(bolt_client *c, const char *user, const char *password, const char *token, braid_error *err) {
    char *copies[3];
    bool all = client_copy(&copies[0], user);
    all = client_copy(&copies[1], password) && all;
    all = client_copy(&copies[2], token) && all;
    if (all) {
        pthread_mutex_lock(&c->lock);
        char *old[3] = {c->user, c->password, c->token};
        c->user = copies[0];
        c->password = copies[1];
        c->token = copies[2];
        c->generation++;
        pthread_mutex_unlock(&c->lock);
        memcpy(copies, old, sizeof copies);
    }
    for (size_t i = 0; i < 3; i++) client_wipe(copies[i]);
    return all ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, c->o.name, "no memory for credentials");
}

/* ---- the pool's view ---- */

static int client_open(void *ctx, deadline until, void **conn, braid_error *err) {
    bolt_conn *n;
    int code = bolt_conn_open(ctx, until, &n, err);
    *conn = n;
    return code;
}

static void client_close(void *ctx, void *conn) {
    (void)ctx;
    bolt_conn_close(conn);
}

static bool client_good(void *ctx, void *conn) {
    (void)ctx;
    bolt_conn *n = conn;
    bool good = bolt_machine_clean(n->m) && stream_quiet(n->s);
    n->broken |= !good; /* no GOODBYE to one that has gone */
    return good;
}

static const conn_ops client_conn_ops = {.open = client_open, .close = client_close, .good = client_good};

/* ---- opening ---- */

static void client_defaults(bolt_client *c, const bolt_options *options) {
    c->o = *options;
    c->remote = *options->remote;
    if (c->o.name == NULL) c->o.name = "neo4j";
    if (c->o.user_agent == NULL) c->o.user_agent = "braid";
    if (c->o.fetch == 0) c->o.fetch = BOLT_FETCH;
    if (c->o.clock == NULL) c->o.clock = &clock_system;
    if (c->remote.address == NULL) c->remote.address = "";
    if (c->remote.connections == 0) c->remote.connections = BOLT_CONNECTIONS;
    if (c->remote.timeout_ms == 0) c->remote.timeout_ms = BOLT_TIMEOUT_MS;
}

int bolt_open(const bolt_options *options, bolt_client **out, braid_error *err) {
    BRAID_ASSERT(options->remote != NULL);
    *out = NULL;
    bolt_client *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(err, BRAID_E_NO_MEMORY, "neo4j", "no memory for a client");
    client_defaults(c, options);
    pthread_mutex_init(&c->lock, NULL);
    bolt_marks_init(&c->marks);
    rng_seed(&c->random, (uint64_t)clock_mono_ns(&clock_system) ^ (uint64_t)getpid() << 32 ^ (uintptr_t)c);
    char labels[96];
    snprintf(labels, sizeof labels, "name=\"%.64s\"", c->o.name);
    c->retried = metrics_counter(c->o.metrics, "bolt_retried_total", labels, "Calls to Neo4j that were tried again");
    c->ambiguous = metrics_counter(c->o.metrics, "bolt_ambiguous_total", labels,
                                   "Transactions of which it is unknown whether they were applied");
    conn_pool_options lending = {.name = c->o.name,
                                 .address = c->remote.address,
                                 .max = c->remote.connections,
                                 .idle_ms = c->o.idle_ms,
                                 .clock = c->o.clock,
                                 .metrics = c->o.metrics};
    int code = bolt_reauth(c, c->remote.user, c->remote.password, c->remote.token, err);
    if (code == BRAID_OK) code = conn_pool_new(&client_conn_ops, c, &lending, &c->pool, err);
    if (code != BRAID_OK) {
        bolt_close(c);
        return code;
    }
    *out = c;
    return BRAID_OK;
}

void bolt_close(bolt_client *c) {
    if (c == NULL) return;
    conn_pool_free(c->pool);
    bolt_marks_free(&c->marks);
    client_wipe(c->user);
    client_wipe(c->password);
    client_wipe(c->token);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- lending ---- */

deadline bolt_client_until(const bolt_client *c, const bolt_call *call) {
    if (call != NULL && call->until != 0) return call->until;
    return clock_mono_ns(c->o.clock) + (int64_t)c->remote.timeout_ms * 1000000;
}

int bolt_client_take(bolt_client *c, deadline until, bolt_conn **out, bolt_attempt *a) {
    for (;;) {
        void *conn;
        int code = conn_pool_take(c->pool, until, &conn, &a->err);
        *out = conn;
        if (code != BRAID_OK) return code;
        bolt_conn *n = conn;
        pthread_mutex_lock(&c->lock);
        bool current = n->generation == c->generation;
        pthread_mutex_unlock(&c->lock);
        if (current) return BRAID_OK;
        bool can = bolt_machine_splits_logon(n->m);
        code = can ? bolt_conn_relog(n, until, a) : BRAID_OK;
        if (can && code == BRAID_OK) return BRAID_OK;
        conn_pool_give(c->pool, n, false); /* with the old credentials it is of no use to anybody */
        *out = NULL;
        if (code != BRAID_OK) return code;
    }
}

void bolt_client_give(bolt_client *c, bolt_conn *n, deadline until) {
    if (!n->broken && !bolt_machine_clean(n->m)) {
        int64_t at = clock_mono_ns(c->o.clock) + (int64_t)BOLT_RESET_MS * 1000000;
        (void)bolt_conn_reset(n, at < until ? at : until, NULL);
    }
    bolt_machine_shrink(n->m);
    conn_pool_give(c->pool, n, !n->broken && bolt_machine_clean(n->m));
}

bolt_begin bolt_client_begin(bolt_client *c, bolt_conn *n, const bolt_call *call, deadline until, uint64_t *number) {
    bolt_begin how = {.access = call->access, .database = call->database != NULL ? call->database : c->remote.database};
    int64_t left = (until - clock_mono_ns(c->o.clock)) / 1000000;
    how.timeout_ms = left > 0 ? left : 1; /* 0 would mean: for ever */
    buf_reset(&n->marks);
    pthread_mutex_lock(&c->lock);
    *number = c->marks.number;
    if (!call->no_bookmarks && c->marks.count > 0) buf_add(&n->marks, c->marks.encoded.data, c->marks.encoded.len);
    pthread_mutex_unlock(&c->lock);
    if (!n->marks.failed && n->marks.len > 0) {
        how.bookmarks = n->marks.data;
        how.bookmarks_len = n->marks.len;
    }
    return how;
}

void bolt_client_learn(bolt_client *c, const bolt_call *call, uint64_t number, const char *bookmark) {
    if (bookmark[0] == '\0' || call->no_bookmarks) return;
    pthread_mutex_lock(&c->lock);
    (void)bolt_marks_replace(&c->marks, number, bookmark);
    pthread_mutex_unlock(&c->lock);
}

/* ---- around ---- */

int bolt_bookmarks(bolt_client *c, void (*each)(void *ctx, const char *bookmark), void *ctx) {
    pthread_mutex_lock(&c->lock);
    int n = (int)c->marks.count;
    for (size_t i = 0; i < c->marks.count; i++) each(ctx, c->marks.marks[i].text);
    pthread_mutex_unlock(&c->lock);
    return n;
}

int bolt_bookmark_add(bolt_client *c, const char *bookmark, braid_error *err) {
    size_t len = strlen(bookmark);
    if (len == 0 || len >= BOLT_BOOKMARK_BYTES || !utf8_valid(bookmark, len))
        return error_set(err, BRAID_E_INVALID, c->o.name, "a bookmark is text of 1 to %d bytes",
                         BOLT_BOOKMARK_BYTES - 1);
    pthread_mutex_lock(&c->lock);
    bool added = bolt_marks_replace(&c->marks, 0, bookmark);
    pthread_mutex_unlock(&c->lock);
    return added ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, c->o.name, "no memory for a bookmark");
}

size_t bolt_connections(bolt_client *c) {
    return conn_pool_open_count(c->pool);
}
