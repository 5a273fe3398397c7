/* One connection to a Redis server: hiredis formats commands and reads replies, stream carries the bytes.
 *
 * hiredis' own sockets are not used: their time-outs are per read, so a server that trickles holds a caller for ever,
 * and this version of it has no TLS. Its reader allocates what the server announces, so two limits stand before it: the
 * bytes of one reply, and the elements of all arrays in one reply (eight bytes of protocol can announce half a megabyte
 * of pointers, and arrays nest).
 *
 * The handshake is one round trip: AUTH, CLIENT SETNAME, INFO server. INFO tells the run of the server (it changes with
 * every start) and whether it is part of a cluster. A server that forbids INFO is used without: then a restart cannot
 * be seen, which the log says once.
 *
 * An answer of another shape than the command's makes no sense: CORRUPT, and the connection is closed. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "cache/cache_redis_private.h"

enum { REDIS_READ_BYTES = 16 << 10 };

struct redis_conn {
    redis_node *node;
    stream *stream;
    redisReader *reader;
    redis_guard guard;
    buf out;
    uint64_t run;
};

/* ---- the reader, with limits ---- */

static void *redis_guarded_array(const redisReadTask *task, int elements) {
    redis_guard *g = task->privdata;
    if (elements < 0 || g->elements + (size_t)elements > REDIS_REPLY_ELEMENTS_MAX) return NULL;
    g->elements += (size_t)elements;
    redisReply *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->type = REDIS_REPLY_ARRAY;
    r->elements = (size_t)elements;
    r->element = elements > 0 ? calloc((size_t)elements, sizeof *r->element) : NULL;
    if (elements > 0 && r->element == NULL) {
        free(r);
        return NULL;
    }
    if (task->parent != NULL) ((redisReply *)task->parent->obj)->element[task->idx] = r;
    return r;
}

redisReader *redis_reader_new(redis_guard *guard) {
    redisReader *r = redisReaderCreate();
    redisReplyObjectFunctions *own = malloc(sizeof *own);
    if (r == NULL || own == NULL) {
        if (r != NULL) redisReaderFree(r);
        free(own);
        return NULL;
    }
    *own = *r->fn; /* hiredis' own, but for arrays */
    own->createArray = redis_guarded_array;
    r->fn = own;
    *guard = (redis_guard){0};
    r->privdata = guard;
    return r;
}

void redis_reader_free(redisReader *r) {
    if (r == NULL) return;
    redisReplyObjectFunctions *own = r->fn;
    redisReaderFree(r);
    free(own);
}

int redis_reader_take(redisReader *r, redis_guard *guard, const char *data, size_t len, redisReply **reply,
                      braid_error *err) {
    void *got = NULL;
    *reply = NULL;
    guard->bytes += len;
    if (guard->bytes > REDIS_REPLY_BYTES_MAX)
        return error_set(err, BRAID_E_CORRUPT, REDIS_STORE, "the reply is longer than %d bytes", REDIS_REPLY_BYTES_MAX);
    if ((len > 0 && redisReaderFeed(r, data, len) != REDIS_OK) || redisReaderGetReply(r, &got) != REDIS_OK)
        return error_set(err, BRAID_E_CORRUPT, REDIS_STORE, "the reply makes no sense: %s", r->errstr);
    if (got == NULL) return BRAID_OK;
    *guard = (redis_guard){.bytes = r->len - r->pos}; /* of the next one */
    *reply = got;
    return BRAID_OK;
}

/* ---- commands and replies ---- */

void redis_command_add(redis_command *cmd, const void *arg, size_t len) {
    BRAID_ASSERT(cmd->argc < REDIS_ARGS_MAX);
    cmd->argv[cmd->argc] = arg;
    cmd->len[cmd->argc] = len;
    cmd->argc++;
}

static int redis_lost(int rc, const braid_error *cause, braid_error *err) {
    return error_set(err, rc, REDIS_STORE, "%s", cause->message);
}

int redis_conn_send(redis_conn *c, const redis_command *const *cmds, size_t n, deadline until, braid_error *err) {
    buf_reset(&c->out);
    for (size_t i = 0; i < n; i++) {
        const redis_command *cmd = cmds[i];
        char *text = NULL;
        if (cmd->head != NULL) redis_head_set_run(cmd->head, c->run);
        int len = redisFormatCommandArgv(&text, cmd->argc, (const char **)cmd->argv, cmd->len);
        bool ok = len > 0 && buf_add(&c->out, text, (size_t)len);
        if (len > 0) redisFreeCommand(text);
        if (!ok) return error_set(err, BRAID_E_NO_MEMORY, REDIS_STORE, "no memory for a command");
    }
    braid_error cause = {0};
    int rc = stream_write(c->stream, c->out.data, c->out.len, until, &cause);
    return rc == BRAID_OK ? BRAID_OK : redis_lost(rc, &cause, err);
}

static unsigned redis_shape_of(const redisReply *r) {
    switch (r->type) {
    case REDIS_REPLY_STATUS: return REDIS_STATUS;
    case REDIS_REPLY_INTEGER: return REDIS_INTEGER;
    case REDIS_REPLY_STRING: return REDIS_STRING;
    case REDIS_REPLY_NIL: return REDIS_NIL;
    case REDIS_REPLY_ARRAY: return REDIS_ARRAY;
    default: return 0;
    }
}

static bool redis_fits(const redis_command *cmd, const redisReply *r) {
    if (r->type == REDIS_REPLY_ERROR) return true;
    if (!(redis_shape_of(r) & cmd->shape)) return false;
    if (r->type != REDIS_REPLY_ARRAY || cmd->elements == 0) return true;
    if (r->elements != cmd->elements) return false;
    for (size_t i = 0; i < r->elements; i++)
        if (!(redis_shape_of(r->element[i]) & (REDIS_STRING | REDIS_NIL))) return false;
    return true;
}

int redis_conn_receive(redis_conn *c, const redis_command *cmd, deadline until, redisReply **reply, braid_error *err) {
    char data[REDIS_READ_BYTES];
    size_t got = 0;
    braid_error cause = {0};
    for (;;) {
        int rc = redis_reader_take(c->reader, &c->guard, data, got, reply, &cause);
        if (rc == BRAID_OK && *reply == NULL) rc = stream_read(c->stream, data, sizeof data, &got, until, &cause);
        if (rc == BRAID_E_CORRUPT)
            return error_set(err, rc, REDIS_STORE, "%s does not speak as Redis does: %s", c->node->address,
                             cause.message);
        if (rc != BRAID_OK) return redis_lost(rc, &cause, err);
        if (*reply != NULL) break;
    }
    if (redis_fits(cmd, *reply)) return BRAID_OK;
    freeReplyObject(*reply);
    *reply = NULL;
    return error_set(err, BRAID_E_CORRUPT, REDIS_STORE, "%s gave an answer that makes no sense to %.20s",
                     c->node->address, cmd->argv[0]);
}

int redis_refusal(const char *address, const redisReply *reply, braid_error *err) {
    static const struct refusal {
        const char *word;
        int code;
        const char *mend;
    } rows[] = {
        {"NOAUTH", BRAID_E_UNAVAILABLE, "; set redis.password"},
        {"WRONGPASS", BRAID_E_UNAVAILABLE, "; check redis.user and redis.password"},
        {"NOPERM", BRAID_E_UNAVAILABLE, "; the user needs more rights"},
        {"WRONGTYPE", BRAID_E_CORRUPT, "; another program uses our keys: choose another redis.database"},
        {"OOM", BRAID_E_UNAVAILABLE, "; raise maxmemory or set an eviction policy"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strncmp(reply->str, rows[i].word, strlen(rows[i].word)) == 0)
            return error_set(err, rows[i].code, REDIS_STORE, "%s refuses: %.120s%s", address, reply->str, rows[i].mend);
    /* LOADING, BUSY, CLUSTERDOWN, MASTERDOWN, TRYAGAIN, READONLY, MISCONF, max number of clients, ... */
    return error_set(err, BRAID_E_UNAVAILABLE, REDIS_STORE, "%s refuses: %.160s", address, reply->str);
}

/* ---- opening ---- */

static const char *redis_info_field(const redisReply *r, const char *name) {
    const char *at = strstr(r->str, name);
    return at != NULL ? at + strlen(name) : NULL;
}

static void redis_note_info(redis_conn *c, const redisReply *r) {
    const char *run = NULL, *mode = NULL;
    if (r->type == REDIS_REPLY_STRING) {
        run = redis_info_field(r, "\nrun_id:");
        mode = redis_info_field(r, "\nredis_mode:");
        if (mode == NULL) mode = redis_info_field(r, "\nserver_mode:"); /* Valkey */
    }
    if (run != NULL) c->run = XXH3_64bits(run, strcspn(run, "\r\n"));
    redis_cluster_saw_run(c->node, c->run, mode != NULL && strncmp(mode, "cluster", 7) == 0);
}

static void redis_add_words(redis_command *cmd, const char *a, const char *b, const char *d) {
    const char *const words[] = {a, b, d};
    for (int i = 0; i < 3 && words[i] != NULL; i++) redis_command_add(cmd, words[i], strlen(words[i]));
}

/* AUTH is the only one whose failure matters here: what follows tells whether the server lets us in without. */
static int redis_shake_hands(redis_conn *c, deadline until, braid_error *err) {
    const remote_options *o = &c->node->remote;
    bool password = o->password != NULL && o->password[0] != '\0', user = o->user != NULL && o->user[0] != '\0';
    redis_command cmds[3] = {{0}};
    const redis_command *list[3];
    size_t n = 0;
    if (password) {
        cmds[n].shape = REDIS_STATUS;
        redis_add_words(&cmds[n++], "AUTH", user ? o->user : o->password, user ? o->password : NULL);
    }
    cmds[n].shape = REDIS_STATUS;
    redis_add_words(&cmds[n++], "CLIENT", "SETNAME", "braid");
    cmds[n].shape = REDIS_STRING;
    redis_add_words(&cmds[n++], "INFO", "server", NULL);
    for (size_t i = 0; i < n; i++) list[i] = &cmds[i];
    int rc = redis_conn_send(c, list, n, until, err);
    if (c->out.data != NULL) explicit_bzero(c->out.data, c->out.len); /* it held the password */
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) {
        redisReply *r = NULL;
        rc = redis_conn_receive(c, list[i], until, &r, err);
        if (rc != BRAID_OK) break;
        bool refused = r->type == REDIS_REPLY_ERROR;
        bool fatal = refused && ((password && i == 0) || strncmp(r->str, "NOAUTH", 6) == 0 ||
                                 strncmp(r->str, "LOADING", 7) == 0 || strstr(r->str, "max number of clients") != NULL);
        if (fatal) rc = redis_refusal(c->node->address, r, err);
        if (rc == BRAID_OK && i == n - 1) redis_note_info(c, r);
        freeReplyObject(r);
    }
    return rc;
}

int redis_conn_open(redis_node *node, deadline until, redis_conn **out, braid_error *err) {
    *out = NULL;
    redis_conn *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(err, BRAID_E_NO_MEMORY, REDIS_STORE, "no memory for a connection");
    c->node = node;
    buf_init(&c->out, 0);
    braid_error cause = {0};
    int rc = stream_open(&node->remote, node->cluster->clock, until, &c->stream, &cause);
    if (rc != BRAID_OK) {
        rc = redis_lost(rc, &cause, err);
    } else if ((c->reader = redis_reader_new(&c->guard)) == NULL) {
        rc = error_set(err, BRAID_E_NO_MEMORY, REDIS_STORE, "no memory for a connection");
    } else {
        rc = redis_shake_hands(c, until, err);
    }
    if (rc != BRAID_OK) {
        redis_conn_close(c);
        return rc;
    }
    *out = c;
    return BRAID_OK;
}

void redis_conn_close(redis_conn *c) {
    if (c == NULL) return;
    redis_reader_free(c->reader);
    stream_close(c->stream);
    buf_free(&c->out);
    free(c);
}

bool redis_conn_spent(const redis_conn *c) {
    return c->reader->len == c->reader->pos;
}

bool redis_conn_quiet(redis_conn *c) {
    return redis_conn_spent(c) && stream_quiet(c->stream);
}

uint64_t redis_conn_run(const redis_conn *c) {
    return c->run;
}
