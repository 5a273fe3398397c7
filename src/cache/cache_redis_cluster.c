/* Nodes, the map of slots, and redirects. A single server is a cluster of one node that owns everything.
 *
 * The map is learned from what the servers say: nobody knows at first, the entry node is asked, and it answers or names
 * the owner (MOVED). Each node has its own pool of connections. Commands of one call are grouped by node; all groups
 * are sent before the first reply is awaited, so several nodes cost one round trip. MOVED changes the map, ASK does not
 * (the slot is on its way), NOSCRIPT sends the script's text.
 *
 * A node that does not answer is suspect: its slots are asked for at the entry node until it answers again, and the
 * entry moves on to another node, so a failover is followed as soon as the cluster has made it.
 *
 * Fills and lost tombstones. A tombstone that a server has lost (it was killed; a replica took over that had not
 * heard of it) would let a slow filler bring an old value back. Two signs tell: a node whose run changed, and a slot
 * whose owner changed. From then on, for as long as a tombstone lives, puts that an invalidation may have outdated
 * are not sent: a minute of misses for those keys, never a wrong value. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache_redis_private.h"

deadline redis_until(const redis_cluster *c, deadline until) {
    return until != 0 ? until : clock_mono_ns(c->clock) + (int64_t)c->remote.timeout_ms * 1000000;
}

/* ---- nodes ---- */

static int redis_pool_open(void *ctx, deadline until, void **conn, braid_error *err) {
    redis_conn *c = NULL;
    int rc = redis_conn_open(ctx, until, &c, err);
    *conn = c;
    return rc;
}

static void redis_pool_close(void *ctx, void *conn) {
    (void)ctx;
    redis_conn_close(conn);
}

static bool redis_pool_good(void *ctx, void *conn) {
    (void)ctx;
    return redis_conn_quiet(conn);
}

static const conn_ops redis_pool_ops = {redis_pool_open, redis_pool_close, redis_pool_good};

static void redis_node_free(redis_node *node) {
    if (node == NULL) return;
    conn_pool_free(node->pool);
    free(node);
}

/* The first node's metrics carry the store's name, the others' their address as well. */
static redis_node *redis_node_new(redis_cluster *c, const char *address, braid_error *err) {
    char name[sizeof c->nodes[0]->address + 8];
    redis_node *node = calloc(1, sizeof *node);
    if (node == NULL) {
        error_set(err, BRAID_E_NO_MEMORY, REDIS_STORE, "no memory for a node of the cluster");
        return NULL;
    }
    node->cluster = c;
    snprintf(node->address, sizeof node->address, "%s", address);
    node->remote = c->remote;
    node->remote.address = node->address;
    snprintf(name, sizeof name, c->node_count == 0 ? "redis" : "redis/%s", address);
    conn_pool_options o = {
        .name = name, .address = node->address, .max = c->remote.connections, .clock = c->clock, .metrics = c->metrics};
    if (conn_pool_new(&redis_pool_ops, node, &o, &node->pool, err) != BRAID_OK) {
        free(node);
        return NULL;
    }
    return node;
}

/* The node of that address, new if need be; SIZE_MAX if there can be no more. The lock is held. */
static size_t redis_node_index(redis_cluster *c, const char *address, braid_error *err) {
    char host[160];
    unsigned port;
    size_t n = c->node_count;
    for (size_t i = 0; i < n; i++)
        if (strcmp(c->nodes[i]->address, address) == 0) return i;
    if (n == REDIS_NODES_MAX || !remote_split(address, host, sizeof host, &port)) {
        error_set(err, BRAID_E_CORRUPT, REDIS_STORE, "a redirect to \"%.60s\" cannot be followed", address);
        return SIZE_MAX;
    }
    c->nodes[n] = redis_node_new(c, address, err);
    if (c->nodes[n] == NULL) return SIZE_MAX;
    atomic_store(&c->node_count, n + 1);
    return n;
}

int redis_cluster_open(redis_cluster *c, const cache_options *options, braid_error *err) {
    c->clock = options->clock;
    c->log = options->log;
    c->metrics = options->metrics;
    c->remote = *options->remote;
    if (c->remote.timeout_ms == 0) c->remote.timeout_ms = REDIS_TIMEOUT_MS;
    if (c->remote.connections == 0) c->remote.connections = REDIS_CONNECTIONS;
    pthread_mutex_init(&c->lock, NULL);
    braid_error cause = {0};
    c->nodes[0] = redis_node_new(c, options->remote->address != NULL ? options->remote->address : "", &cause);
    if (c->nodes[0] == NULL) return error_set(err, cause.code, REDIS_STORE, "%s", cause.message);
    c->node_count = 1;
    return BRAID_OK;
}

void redis_cluster_close(redis_cluster *c) {
    for (size_t i = 0; i < c->node_count; i++) redis_node_free(c->nodes[i]);
    pthread_mutex_destroy(&c->lock);
}

static void redis_hold_fills(redis_cluster *c, const char *why) {
    int64_t now = clock_mono_ns(c->clock), until = now + (int64_t)CACHE_TOMBSTONE_MS * 1000000;
    int64_t before = atomic_exchange(&c->held_until, until);
    if (c->log != NULL && before <= now) /* a map of slots changes in many places at once */
        log_write(c->log, LOG_INFO, REDIS_STORE, "%s: versioned values are not stored for %d s", why,
                  CACHE_TOMBSTONE_MS / 1000);
}

void redis_cluster_saw_run(redis_node *node, uint64_t run, bool clustered) {
    redis_cluster *c = node->cluster;
    pthread_mutex_lock(&c->lock);
    bool first = !node->seen, blind = run == 0;
    if (!first && run != node->run) redis_hold_fills(c, "the Redis server has started again");
    node->seen = true;
    node->run = run;
    pthread_mutex_unlock(&c->lock);
    if (clustered) atomic_store(&c->clustered, true);
    if (first && blind && c->log != NULL)
        log_write(c->log, LOG_WARN, REDIS_STORE, "%s does not tell its run_id (INFO server): restarts cannot be seen",
                  node->address);
}

/* ---- the map ---- */

static redis_node *redis_node_for(redis_cluster *c, unsigned slot) {
    if (!c->clustered) return c->nodes[0];
    pthread_mutex_lock(&c->lock);
    size_t owner = c->slots[slot % REDIS_SLOTS];
    redis_node *node = owner > 0 && !c->nodes[owner - 1]->suspect ? c->nodes[owner - 1] : c->nodes[c->entry];
    pthread_mutex_unlock(&c->lock);
    return node;
}

static void redis_set_owner(redis_cluster *c, unsigned slot, size_t index) {
    uint16_t before = c->slots[slot], now = (uint16_t)(index + 1);
    c->slots[slot] = now;
    if (before != 0 && before != now) redis_hold_fills(c, "a part of the Redis cluster has another owner now");
}

/* A node did, or did not, answer. */
static void redis_node_told(redis_node *node, int rc) {
    redis_cluster *c = node->cluster;
    bool lost = rc == BRAID_E_UNAVAILABLE || rc == BRAID_E_DEADLINE || rc == BRAID_E_CORRUPT;
    if (rc == BRAID_E_BUSY) return; /* it was not asked */
    if (!lost) {
        if (atomic_load_explicit(&node->suspect, memory_order_relaxed)) atomic_store(&node->suspect, false);
        return;
    }
    atomic_store(&node->suspect, true);
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0, n = c->node_count; i < n && c->nodes[c->entry]->suspect; i++) c->entry = (c->entry + 1) % n;
    pthread_mutex_unlock(&c->lock);
}

/* "MOVED 3999 127.0.0.1:6381" or "ASK ...": the node it names, NULL if it makes no sense. Without a host it is that of
 * the node which says so. */
static redis_node *redis_redirect(redis_node *from, const redisReply *r, bool moved, braid_error *err) {
    redis_cluster *c = from->cluster;
    unsigned slot = 0;
    char target[160], host[160], address[340];
    if (sscanf(r->str, "%*s %5u %159s", &slot, target) != 2 || slot >= REDIS_SLOTS) {
        error_set(err, BRAID_E_CORRUPT, REDIS_STORE, "%s gave the redirect \"%.60s\"", from->address, r->str);
        return NULL;
    }
    const char *colon = strrchr(target, ':');
    size_t host_len = colon != NULL ? (size_t)(colon - target) : 0;
    unsigned port;
    if (host_len == 0 || (host_len == 1 && target[0] == '?')) {
        bool known = colon != NULL && remote_split(from->address, host, sizeof host, &port);
        snprintf(address, sizeof address, known && strchr(host, ':') != NULL ? "[%s]%s" : "%s%s", known ? host : "",
                 known ? colon : target);
    } else if (memchr(target, ':', host_len) != NULL && target[0] != '[') {
        snprintf(address, sizeof address, "[%.*s]%s", (int)host_len, target, colon); /* Redis writes IPv6 bare */
    } else {
        snprintf(address, sizeof address, "%s", target);
    }
    atomic_store(&c->clustered, true);
    pthread_mutex_lock(&c->lock);
    size_t index = redis_node_index(c, address, err);
    if (index != SIZE_MAX && moved) redis_set_owner(c, slot, index);
    redis_node *node = index != SIZE_MAX ? c->nodes[index] : NULL;
    pthread_mutex_unlock(&c->lock);
    return node;
}

/* ---- running commands ---- */

static bool redis_is_held(redis_cluster *c, const redis_command *cmd) {
    return cmd->fill && clock_mono_ns(c->clock) < atomic_load_explicit(&c->held_until, memory_order_acquire);
}

void redis_answer_free(redis_answer *a) {
    if (a->reply != NULL) freeReplyObject(a->reply);
    a->reply = NULL;
}

static void redis_answer_reset(redis_answer *a) {
    redis_answer_free(a);
    *a = (redis_answer){.node = a->node};
}

/* A group: the commands of one node, over one connection. */
typedef struct redis_leg {
    redis_node *node;
    void *conn;
    int rc;
    braid_error err;
} redis_leg;

/* That the pool had no free connection in time is our crowd's doing and nothing against the server: BUSY, where a
 * connection that could not be opened in time is DEADLINE. The pool signs its own errors with its name. */
static int redis_take_verdict(int rc, const braid_error *err) {
    return rc == BRAID_E_DEADLINE && strncmp(err->store, "redis", 5) == 0 ? BRAID_E_BUSY : rc;
}

/* Sends those of the commands that belong to the leg. */
static void redis_leg_send(redis_leg *leg, size_t number, redis_command *cmds, const size_t *leg_of, size_t n,
                           deadline until, redis_answer *answers, const redis_command **list) {
    size_t count = 0;
    leg->rc = redis_take_verdict(conn_pool_take(leg->node->pool, until, &leg->conn, &leg->err), &leg->err);
    if (leg->rc != BRAID_OK) return;
    for (size_t i = 0; i < n; i++) {
        if (leg_of[i] != number) continue;
        answers[i].node = leg->node;
        answers[i].run = redis_conn_run(leg->conn);
        answers[i].held = redis_is_held(leg->node->cluster, &cmds[i]); /* after the handshake, which may find it out */
        if (!answers[i].held) list[count++] = &cmds[i];
    }
    if (count > 0) leg->rc = redis_conn_send(leg->conn, list, count, until, &leg->err);
}

static void redis_leg_receive(redis_leg *leg, size_t number, redis_command *cmds, const size_t *leg_of, size_t n,
                              deadline until, redis_answer *answers) {
    for (size_t i = 0; i < n; i++) {
        if (leg_of[i] != number || answers[i].held) continue;
        if (leg->rc == BRAID_OK) leg->rc = redis_conn_receive(leg->conn, &cmds[i], until, &answers[i].reply, &leg->err);
        answers[i].rc = leg->rc;
        answers[i].err = leg->err;
    }
    if (leg->conn != NULL)
        conn_pool_give(leg->node->pool, leg->conn, leg->rc == BRAID_OK && redis_conn_spent(leg->conn));
    redis_node_told(leg->node, leg->rc);
}

static size_t redis_legs(redis_cluster *c, const redis_command *cmds, size_t n, redis_leg *legs, size_t *leg_of) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        redis_node *node = redis_node_for(c, cmds[i].slot);
        size_t l = 0;
        while (l < count && legs[l].node != node) l++;
        if (l == count) legs[count++] = (redis_leg){.node = node};
        leg_of[i] = l;
    }
    return count;
}

void redis_run_at(redis_node *node, redis_command *cmd, deadline until, redis_answer *answer) {
    redis_leg leg = {.node = node};
    const size_t leg_of = 0;
    const redis_command *list;
    redis_answer_reset(answer);
    answer->node = node;
    redis_leg_send(&leg, 0, cmd, &leg_of, 1, until, answer, &list);
    redis_leg_receive(&leg, 0, cmd, &leg_of, 1, until, answer);
}

/* ASKING and the command, over one connection. */
static void redis_run_asking(redis_node *node, redis_command *cmd, deadline until, redis_answer *answer) {
    redis_command cmds[2] = {{.argc = 1, .argv = {"ASKING"}, .len = {6}, .shape = REDIS_STATUS}, *cmd};
    redis_answer both[2] = {{0}};
    redis_leg leg = {.node = node};
    const size_t leg_of[2] = {0, 0};
    const redis_command *list[2];
    redis_leg_send(&leg, 0, cmds, leg_of, 2, until, both, list);
    redis_leg_receive(&leg, 0, cmds, leg_of, 2, until, both);
    redis_answer_free(&both[0]);
    redis_answer_free(answer);
    *answer = both[1];
    answer->node = node;
}

static bool redis_says(const redis_answer *a, const char *word) {
    return a->rc == BRAID_OK && a->reply != NULL && a->reply->type == REDIS_REPLY_ERROR &&
           strncmp(a->reply->str, word, strlen(word)) == 0;
}

/* Goes where the server sends us, until there is an answer. */
static void redis_follow(redis_command *cmd, deadline until, redis_answer *a) {
    for (int hop = 0; hop < REDIS_REDIRECTS_MAX; hop++) {
        bool moved = redis_says(a, "MOVED "), ask = redis_says(a, "ASK ");
        if (moved || ask) {
            redis_node *node = redis_redirect(a->node, a->reply, moved, &a->err);
            if (node == NULL) {
                a->rc = a->err.code;
                return;
            }
            if (ask)
                redis_run_asking(node, cmd, until, a);
            else
                redis_run_at(node, cmd, until, a);
        } else if (redis_says(a, "NOSCRIPT") && cmd->eval_text != NULL) {
            cmd->argv[0] = "EVAL";
            cmd->len[0] = 4;
            cmd->argv[1] = cmd->eval_text;
            cmd->len[1] = strlen(cmd->eval_text);
            redis_run_at(a->node, cmd, until, a);
        } else {
            return;
        }
    }
}

/* What is left of errors becomes a code. */
static void redis_judge(redis_answer *a) {
    if (a->rc != BRAID_OK || a->reply == NULL || a->reply->type != REDIS_REPLY_ERROR) return;
    if (redis_says(a, "CROSSSLOT")) atomic_store(&a->node->cluster->clustered, true);
    a->rc = redis_refusal(a->node->address, a->reply, &a->err);
    redis_answer_free(a);
}

/* Everything that we send may be sent twice. Worth it when a connection broke (the server may be back, or another
 * node may own the slot by now); a deadline that passed or nonsense is not asked for again. */
static bool redis_try_again(const redis_cluster *c, const redis_answer *a, deadline until) {
    return a->rc == BRAID_E_UNAVAILABLE && c->remote.retries > 0 && !deadline_passed(c->clock, until);
}

int redis_run(redis_cluster *c, redis_command *cmds, size_t n, deadline until, redis_answer *answers,
              braid_error *err) {
    redis_leg one, *legs = n == 1 ? &one : calloc(n, sizeof *legs);
    size_t one_of, *leg_of = n == 1 ? &one_of : calloc(n, sizeof *leg_of);
    const redis_command *one_cmd, **list = n == 1 ? &one_cmd : calloc(n, sizeof *list);
    int rc = BRAID_OK;
    until = redis_until(c, until);
    memset(answers, 0, n * sizeof *answers);
    if (legs == NULL || leg_of == NULL || list == NULL) {
        rc = error_set(err, BRAID_E_NO_MEMORY, REDIS_STORE, "no memory for %zu commands", n);
        for (size_t i = 0; i < n; i++) answers[i].rc = rc;
        goto cleanup;
    }
    size_t count = redis_legs(c, cmds, n, legs, leg_of);
    for (size_t l = 0; l < count; l++) redis_leg_send(&legs[l], l, cmds, leg_of, n, until, answers, list);
    for (size_t l = 0; l < count; l++) redis_leg_receive(&legs[l], l, cmds, leg_of, n, until, answers);
    bool again = true;
    for (size_t i = 0; i < n; i++) {
        redis_answer *a = &answers[i];
        if (again && redis_try_again(c, a, until)) {
            redis_run_at(redis_node_for(c, cmds[i].slot), &cmds[i], until, a);
            again = a->rc == BRAID_OK; /* one failed retry is enough for all */
        }
        redis_follow(&cmds[i], until, a);
        redis_judge(a);
        if (a->rc != BRAID_OK && rc == BRAID_OK) rc = error_set(err, a->rc, a->err.store, "%s", a->err.message);
    }
cleanup:
    if (n != 1) {
        free(legs);
        free(leg_of);
        free(list);
    }
    return rc;
}

/* ---- the whole map ---- */

/* One row of CLUSTER SLOTS: first, last, [host, port, ...] of the master, replicas. */
static bool redis_learn_row(redis_node *from, const redisReply *row) {
    redis_cluster *c = from->cluster;
    if (row->type != REDIS_REPLY_ARRAY || row->elements < 3) return false;
    const redisReply *first = row->element[0], *last = row->element[1], *master = row->element[2];
    if (first->type != REDIS_REPLY_INTEGER || last->type != REDIS_REPLY_INTEGER || first->integer < 0 ||
        last->integer >= REDIS_SLOTS || first->integer > last->integer)
        return false;
    if (master->type != REDIS_REPLY_ARRAY || master->elements < 2 || master->element[1]->type != REDIS_REPLY_INTEGER)
        return false;
    const redisReply *name = master->element[0];
    char host[160], address[200];
    unsigned port;
    bool named = name->type == REDIS_REPLY_STRING && name->len > 0 && strcmp(name->str, "?") != 0;
    if (!named && !remote_split(from->address, host, sizeof host, &port)) return false;
    if (named) snprintf(host, sizeof host, "%s", name->str);
    snprintf(address, sizeof address, strchr(host, ':') != NULL ? "[%s]:%lld" : "%s:%lld", host,
             master->element[1]->integer);
    pthread_mutex_lock(&c->lock);
    size_t index = redis_node_index(c, address, NULL); /* the caller says what is wrong */
    for (long long s = first->integer; index != SIZE_MAX && s <= last->integer; s++)
        redis_set_owner(c, (unsigned)s, index);
    pthread_mutex_unlock(&c->lock);
    return index != SIZE_MAX;
}

int redis_cluster_learn(redis_cluster *c, deadline until, braid_error *err) {
    if (!c->clustered) return BRAID_OK;
    redis_command cmd = {.shape = REDIS_ARRAY};
    redis_answer a = {0};
    redis_command_add(&cmd, "CLUSTER", 7);
    redis_command_add(&cmd, "SLOTS", 5);
    redis_run_at(c->nodes[c->entry], &cmd, redis_until(c, until), &a);
    redis_judge(&a);
    int rc = a.rc;
    if (rc != BRAID_OK) error_set(err, rc, REDIS_STORE, "%s", a.err.message);
    for (size_t i = 0; rc == BRAID_OK && i < a.reply->elements; i++)
        if (!redis_learn_row(a.node, a.reply->element[i]))
            rc = error_set(err, BRAID_E_CORRUPT, REDIS_STORE, "%s describes its cluster in a way that makes no sense",
                           a.node->address);
    redis_answer_free(&a);
    return rc;
}
