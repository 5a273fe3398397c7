/* Clearing: what is ours goes, nothing else, and the server is never held up.
 *
 * SCAN walks each node in pages below our prefix (taken literally, whatever characters it has), UNLINK removes each
 * key for itself, since in a cluster the keys of one page are of many slots; a page goes out as one pipeline. Only
 * values go: tombstones may still be needed, leases end by themselves. FLUSHDB is none of our business in a server
 * that is shared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache_redis_private.h"

enum { REDIS_SCAN_COUNT = 500, REDIS_UNLINK_AT_ONCE = 256, REDIS_CURSOR_DIGITS = 20 };

static int redis_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, REDIS_STORE, "no memory to clear the cache");
}

/* Removes the keys of one page of SCAN, each for itself: in a cluster they are of many slots. */
static int redis_unlink_page(redis_node *node, const redisReply *keys, braid_error *err) {
    redis_cluster *cluster = node->cluster;
    redis_command *cmds = calloc(REDIS_UNLINK_AT_ONCE, sizeof *cmds);
    redis_answer *answers = calloc(REDIS_UNLINK_AT_ONCE, sizeof *answers);
    int rc = cmds != NULL && answers != NULL ? BRAID_OK : redis_no_memory(err);
    for (size_t at = 0; rc == BRAID_OK && at < keys->elements;) {
        size_t n = 0;
        for (; n < REDIS_UNLINK_AT_ONCE && at < keys->elements; at++) {
            const redisReply *k = keys->element[at];
            if (k->type != REDIS_REPLY_STRING) continue;
            redis_command *cmd = &cmds[n++];
            *cmd = (redis_command){.shape = REDIS_INTEGER, .slot = redis_slot(k->str, k->len)};
            redis_command_add(cmd, "UNLINK", 6);
            redis_command_add(cmd, k->str, k->len);
        }
        if (n == 0) break;
        rc = redis_run(cluster, cmds, n, 0, answers, err);
        for (size_t i = 0; i < n; i++) redis_answer_free(&answers[i]);
    }
    free(cmds);
    free(answers);
    return rc;
}

static bool redis_is_page(const redisReply *r) {
    return r->elements == 2 && r->element[0]->type == REDIS_REPLY_STRING && r->element[0]->len > 0 &&
           r->element[0]->len <= REDIS_CURSOR_DIGITS && r->element[1]->type == REDIS_REPLY_ARRAY;
}

/* Everything of ours on one node. */
static int redis_clear_node(redis_node *node, const buf *pattern, braid_error *err) {
    char cursor[REDIS_CURSOR_DIGITS + 1] = "0", count[8];
    snprintf(count, sizeof count, "%d", REDIS_SCAN_COUNT);
    int rc = BRAID_OK;
    do {
        redis_command cmd = {.shape = REDIS_ARRAY};
        redis_answer a = {0};
        redis_command_add(&cmd, "SCAN", 4);
        redis_command_add(&cmd, cursor, strlen(cursor));
        redis_command_add(&cmd, "MATCH", 5);
        redis_command_add(&cmd, pattern->data, pattern->len);
        redis_command_add(&cmd, "COUNT", 5);
        redis_command_add(&cmd, count, strlen(count));
        redis_run_at(node, &cmd, redis_until(node->cluster, 0), &a);
        rc = a.rc;
        if (rc != BRAID_OK) {
            error_set(err, rc, REDIS_STORE, "%s", a.err.message);
        } else if (a.reply->type == REDIS_REPLY_ERROR) {
            rc = redis_refusal(node->address, a.reply, err);
        } else if (!redis_is_page(a.reply)) {
            rc = error_set(err, BRAID_E_CORRUPT, REDIS_STORE, "%s gave an answer that makes no sense to SCAN",
                           node->address);
        } else {
            snprintf(cursor, sizeof cursor, "%s", a.reply->element[0]->str);
            rc = redis_unlink_page(node, a.reply->element[1], err);
        }
        redis_answer_free(&a);
    } while (rc == BRAID_OK && strcmp(cursor, "0") != 0);
    return rc;
}

/* Whether a node of a cluster owns anything: one that was taken over, or left, has nothing and need not be up. */
static bool redis_owns(redis_cluster *c, size_t index) {
    if (!c->clustered) return true;
    bool owns = false;
    pthread_mutex_lock(&c->lock);
    for (size_t s = 0; s < REDIS_SLOTS && !owns; s++) owns = c->slots[s] == index + 1;
    pthread_mutex_unlock(&c->lock);
    return owns;
}

int redis_clear_values(redis_cluster *c, const char *prefix, braid_error *err) {
    buf pattern;
    buf_init(&pattern, 0);
    bool ok = redis_glob_literal(&pattern, prefix) && buf_puts(&pattern, "{????????????????}v*");
    int rc = ok ? redis_cluster_learn(c, 0, err) : redis_no_memory(err);
    for (size_t i = 0; rc == BRAID_OK && i < c->node_count; i++)
        if (redis_owns(c, i)) rc = redis_clear_node(c->nodes[i], &pattern, err);
    buf_free(&pattern);
    return rc;
}
