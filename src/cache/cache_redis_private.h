/* What the files of the Redis cache share.
 *
 *     cache_redis.c          the table of functions: what a get, a put, an invalidation is
 *     cache_redis_clear.c    clearing
 *     cache_redis_key.c      names of keys, the header of a value, hash slots
 *     cache_redis_script.c   the Lua that keeps the higher version
 *     cache_redis_conn.c     one connection: handshake, commands out, replies in, limits
 *     cache_redis_cluster.c  nodes, the map of slots, redirects */
#ifndef CACHE_REDIS_PRIVATE_H
#define CACHE_REDIS_PRIVATE_H

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cache/cache_redis.h"
#include "wire/conn_pool.h"
#include "wire/stream.h"

#define REDIS_STORE "cache/redis"

enum {
    REDIS_NODES_MAX = 256,
    REDIS_SLOTS = 16384,
    REDIS_REDIRECTS_MAX = 5,
    REDIS_PREFIX_BYTES_MAX = 64,
    REDIS_VALUE_BYTES_MAX = 4 << 20, /* a larger value is not kept */
    REDIS_MGET_KEYS = 16,            /* of one command; several go out together */
    REDIS_REPLY_BYTES_MAX = (REDIS_MGET_KEYS + 1) * (REDIS_VALUE_BYTES_MAX + 64),
    REDIS_REPLY_ELEMENTS_MAX = 1 << 17, /* of one reply at all depths: CLUSTER SLOTS of a torn map is the longest */
    REDIS_ARGS_MAX = 2 + REDIS_MGET_KEYS,
    REDIS_TIMEOUT_MS = 1000, /* where the options name none */
    REDIS_CONNECTIONS = 16   /* the same */
};

/* ---- keys and values ---- */

/* The header of a value: mark, run, version, all text of fixed width, so that the scripts compare with "<". */
enum { REDIS_HEAD_RUN = 2, REDIS_HEAD_VERSION = 18, REDIS_HEAD_BYTES = 38 };

/* Appends PREFIX{HASH}KIND KEY: the hash in braces puts all keys of one entry into one slot. kind: v value, t
 * tombstone, l lease. */
bool redis_key(buf *out, const char *prefix, char kind, const void *key, size_t key_len);
unsigned redis_slot(const char *key, size_t len); /* of a key made by redis_key, or any other */
void redis_head_write(char head[REDIS_HEAD_BYTES], uint64_t run, uint64_t version);
void redis_head_set_run(char *head, uint64_t run);
/* False if it is no value of ours. */
bool redis_head_read(const char *value, size_t len, uint64_t *run, uint64_t *version);
void redis_version_text(uint64_t version, char text[21]); /* 20 digits */
/* Appends `text` so that MATCH takes it literally. */
bool redis_glob_literal(buf *out, const char *text);

/* ---- scripts ---- */

typedef enum redis_script {
    REDIS_SCRIPT_PUT,
    REDIS_SCRIPT_INVALIDATE,
    REDIS_SCRIPT_RELEASE,
    REDIS_SCRIPTS
} redis_script;
const char *redis_script_text(redis_script s);
bool redis_script_sha(redis_script s, char hex[41]);

/* ---- commands ---- */

typedef enum redis_shape {
    REDIS_STATUS = 1,
    REDIS_INTEGER = 2,
    REDIS_STRING = 4,
    REDIS_NIL = 8,
    REDIS_ARRAY = 16
} redis_shape;

typedef struct redis_command {
    int argc;
    const char *argv[REDIS_ARGS_MAX];
    size_t len[REDIS_ARGS_MAX];
    unsigned slot;
    unsigned shape;        /* what may come back, besides an error */
    size_t elements;       /* of an array: exactly so many strings or nils; 0: whatever */
    char *head;            /* of the value in it: gets the run of the server that it is sent to */
    bool fill;             /* a put that an invalidation may have outdated: held back for a while after a restart */
    const char *eval_text; /* argv[1] is the SHA of this script */
} redis_command;

void redis_command_add(redis_command *cmd, const void *arg, size_t len);

/* ---- connections ---- */

typedef struct redis_conn redis_conn;
typedef struct redis_node redis_node;

typedef struct redis_guard { /* what one reply may cost */
    size_t elements, bytes;
} redis_guard;

redisReader *redis_reader_new(redis_guard *guard); /* NULL when memory ran out */
void redis_reader_free(redisReader *r);
/* Feeds the bytes and takes a reply if one is complete (NULL: not yet); CORRUPT if this is not Redis' protocol or
 * over the limits. len 0 only looks. */
int redis_reader_take(redisReader *r, redis_guard *guard, const char *data, size_t len, redisReply **reply,
                      braid_error *err);

int redis_conn_open(redis_node *node, deadline until, redis_conn **out, braid_error *err);
void redis_conn_close(redis_conn *c);
bool redis_conn_spent(const redis_conn *c); /* every reply that came was taken: fit to be given back */
bool redis_conn_quiet(redis_conn *c);       /* and nothing waits in the socket: fit to be lent */
uint64_t redis_conn_run(const redis_conn *c);
int redis_conn_send(redis_conn *c, const redis_command *const *cmds, size_t n, deadline until, braid_error *err);
int redis_conn_receive(redis_conn *c, const redis_command *cmd, deadline until, redisReply **reply, braid_error *err);
/* The code that an error reply means. */
int redis_refusal(const char *address, const redisReply *reply, braid_error *err);

/* ---- nodes ---- */

typedef struct redis_cluster {
    const clock_ops *clock;
    const logger *log;
    metrics *metrics;
    remote_options remote; /* of the configured address */
    pthread_mutex_t lock;  /* guards nodes, slots, runs */
    redis_node *nodes[REDIS_NODES_MAX];
    _Atomic size_t node_count;
    uint16_t slots[REDIS_SLOTS]; /* index of the owner + 1; 0: not known */
    _Atomic size_t entry;        /* the node that is asked when nobody knows */
    _Atomic bool clustered;
    _Atomic int64_t held_until; /* fills are held back until then */
} redis_cluster;

struct redis_node {
    redis_cluster *cluster;
    char address[160];
    remote_options remote;
    conn_pool *pool;
    _Atomic bool suspect; /* the last call did not get through */
    uint64_t run;         /* of the server behind it; 0: not known. Under the cluster's lock */
    bool seen;            /* a connection was opened once. Likewise */
};

/* The answer to one command. */
typedef struct redis_answer {
    int rc;
    braid_error err;
    redisReply *reply; /* never an error reply while rc is OK */
    uint64_t run;      /* of the server that gave it */
    redis_node *node;
    bool held; /* a fill that was not sent */
} redis_answer;

int redis_cluster_open(redis_cluster *c, const cache_options *options, braid_error *err);
void redis_cluster_close(redis_cluster *c);
/* A server told its run: a change means that tombstones may be lost, so fills are held back. */
void redis_cluster_saw_run(redis_node *node, uint64_t run, bool clustered);
/* Runs all commands, pipelined per node, all nodes at once; redirects are followed. Answers are freed by
 * redis_answer_free. Returns the first error, but every command is tried. */
int redis_run(redis_cluster *c, redis_command *cmds, size_t n, deadline until, redis_answer *answers, braid_error *err);
/* One command to one node, without redirects. */
void redis_run_at(redis_node *node, redis_command *cmd, deadline until, redis_answer *answer);
void redis_answer_free(redis_answer *a);
/* Learns all masters from CLUSTER SLOTS; nothing to do where there is no cluster. */
int redis_cluster_learn(redis_cluster *c, deadline until, braid_error *err);
deadline redis_until(const redis_cluster *c, deadline until);

int redis_clear_values(redis_cluster *c, const char *prefix, braid_error *err);

#endif
