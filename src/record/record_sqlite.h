/* Private to record_sqlite*.c: one open SQLite record store and what its files lend each other.
 *
 *     callers --- enqueue ---> [foreground | background] ---> writer thread --- one connection ---> file + WAL
 *        ^------------- woken when their group is committed -------'
 *     readers <--- pool of read-only connections, each with its prepared statements
 *
 * Lock order: none of the mutexes is ever held while another is taken, nor while SQLite runs. */
#ifndef RECORD_SQLITE_H
#define RECORD_SQLITE_H

#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "record/record.h"
#include "record/record_sqlite_sql.h"

#define RECORD_SQLITE "record/sqlite" /* the store's name in errors */

enum {
    RECORD_SQLITE_READERS_MAX = 64,
    RECORD_SQLITE_BUSY_MS = 5000,          /* waits for another process that holds SQLite's own locks */
    RECORD_SQLITE_READER_WAIT_MS = 5000,   /* waits for a free read connection, then BUSY */
    RECORD_SQLITE_SLICE_MS = 50,           /* longest read transaction of a scan, callbacks included */
    RECORD_SQLITE_BACKGROUND_WAIT_MS = 25, /* a background write waits at most this long behind foreground ones */
    RECORD_SQLITE_BACKGROUND_SLICE = 256,  /* changes of background writes in one commit */
    RECORD_SQLITE_TRIM_SLICE = 5000        /* log rows forgotten in one commit */
};

typedef struct record_sqlite record_sqlite;

typedef struct record_sqlite_conn {
    sqlite3 *db;
    sqlite3_stmt *stmts[SQL_COUNT]; /* prepared on first use */
    float *vector;                  /* dim floats, aligned, little-endian undone */
    struct record_sqlite_conn *next;
} record_sqlite_conn;

typedef struct record_sqlite_body {
    char *text;
    size_t len;
} record_sqlite_body;

/* One caller's write, on the caller's stack until `done` is posted. */
typedef struct record_sqlite_request {
    record_change *changes;
    size_t n;
    record_sqlite_body *bodies; /* one a change, or NULL if no change has one */
    int (*admin)(record_sqlite *s, struct record_sqlite_request *r, braid_error *err); /* instead of changes */
    uint64_t arg;                                                                      /* admin's */
    void *ctx;                                                                         /* admin's */
    bool more;                                                                         /* admin's: call again */
    int64_t queued_ns;
    int code;
    braid_error err;
    sem_t done;
    struct record_sqlite_request *next;
    struct record_sqlite_request *wake[2]; /* those whom this one's caller is to wake */
} record_sqlite_request;

typedef struct record_sqlite_queue {
    record_sqlite_request *first, *last;
    size_t requests, changes;
} record_sqlite_queue;

typedef struct record_sqlite_names record_sqlite_names;

struct record_sqlite {
    char *path;              /* as given */
    record_options options;  /* path, vfs replaced by copies */
    const char *synchronous; /* "FULL", unless a test of power loss proves itself */
    uint32_t dim;
    uint64_t epoch;
    int lock_fd;    /* -1: none */
    bool immutable; /* read-only medium without a WAL */
    bool wal_ready; /* the writer got as far as writing */

    /* The writer thread's own; set up before it starts. */
    record_sqlite_conn writer;
    uint64_t next_lsn, num_max, person_max; /* of the transaction in hand */
    int64_t policy_person;                  /* whose policies the transaction has logged last; -1: nobody's */
    uint64_t policy_lsn;                    /* the number of that log row */
    uint64_t timeline_new;                  /* interactions and episodes that the transaction has added */
    uint64_t timeline_left;                 /* those that are not in a timeline yet */
    uint64_t timeline_next;                 /* fill it when there are so many */
    record_sqlite_names *items_by_id, *persons_by_id;
    uint64_t committed_num_max, committed_person_max;
    bool wipe; /* a person was deleted: empty the WAL soon */
    int64_t wipe_tried_ns;
    int wal_frames;      /* since the last checkpoint that emptied it */
    int64_t wal_bytes;   /* length of the WAL file */
    int wal_frames_next; /* checkpoint when there are more */
    int64_t commit_ns;   /* moving average of a commit */
    uint32_t page_bytes;

    /* The queue. */
    pthread_mutex_t queue_mutex;
    pthread_cond_t queue_cond; /* the writer waits */
    record_sqlite_queue foreground, background;
    size_t wanted;   /* wake the writer when so many requests wait */
    size_t expected; /* callers seen at the last commit */
    bool closing;
    int failed; /* a code, once writing has failed for good */
    braid_error failure;
    pthread_t thread;
    bool thread_started;

    /* The log's head; log_wait. */
    _Atomic uint64_t head;    /* last committed LSN */
    _Atomic uint64_t trimmed; /* log rows up to here are forgotten */
    pthread_mutex_t head_mutex;
    pthread_cond_t head_cond;
    unsigned head_waiters;
    uint64_t wakes;

    /* Read connections. */
    pthread_mutex_t readers_mutex;
    pthread_cond_t readers_cond;
    record_sqlite_conn *readers_free;
    unsigned readers_open;

    metric_counter *commits, *changes, *refused, *checkpoints, *queue_gauge, *wal_gauge;
    metric_histogram *commit_time, *checkpoint_time;
};

/* ---- record_sqlite.c ---- */
/* Turns an SQLite result into an error of ours; `doing` begins the message ("reading an item"). */
int record_sqlite_fail(sqlite3 *db, int rc, const char *doing, braid_error *err);
int record_sqlite_code(sqlite3 *db, int rc);
/* As open in the table of functions, with another level of PRAGMA synchronous: only for tests that must see data
 * lost. */
int record_sqlite_open_with(const record_options *options, const char *synchronous, void **self, braid_error *err);
int64_t record_sqlite_now(const record_sqlite *s);
/* Waits on `cond` until it is signalled or `ns` from now have passed; false when they have. */
bool record_sqlite_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ns);
int record_sqlite_conditions(pthread_cond_t *cond); /* initialises one on the monotonic clock; 0 or errno */

/* ---- record_sqlite_file.c: before SQLite may touch anything ---- */
int record_sqlite_lock(record_sqlite *s, braid_error *err);
void record_sqlite_unlock(record_sqlite *s);
/* Looks at the file's first bytes. *fresh: there is nothing in it yet. Refuses what is not ours or newer, having
 * written nothing. */
int record_sqlite_peek(record_sqlite *s, bool *fresh, braid_error *err);
/* The name to give SQLite: the path, or a file: URI with immutable=1. Caller frees. */
char *record_sqlite_uri(const record_sqlite *s);

/* ---- record_sqlite_conn.c ---- */
int record_sqlite_conn_open(record_sqlite *s, record_sqlite_conn *c, bool writer, braid_error *err);
void record_sqlite_conn_close(record_sqlite_conn *c);
/* The prepared statement, reset and without old bindings' meaning; NULL when it cannot be prepared (then
 * sqlite3_errcode). */
sqlite3_stmt *record_sqlite_stmt(record_sqlite_conn *c, record_sqlite_sql id);
/* Steps a statement that returns nothing, and resets it. SQLITE_DONE is success. */
int record_sqlite_run(sqlite3_stmt *st);
int record_sqlite_exec(record_sqlite_conn *c, record_sqlite_sql id); /* SQLITE_OK or an error */
/* First column of the first row; `fallback` when there is none. */
int record_sqlite_number(record_sqlite_conn *c, record_sqlite_sql id, const char *text_param, int64_t fallback,
                         int64_t *out);
int record_sqlite_reader_take(record_sqlite *s, record_sqlite_conn **out, braid_error *err);
void record_sqlite_reader_give(record_sqlite *s, record_sqlite_conn *c);
void record_sqlite_readers_close(record_sqlite *s);
/* "" is stored as NULL: one byte. */
int record_sqlite_bind_text(sqlite3_stmt *st, int at, const char *text);
int record_sqlite_finding(const char *line); /* why a check could not look, as SQLite's code, or SQLITE_OK: it did */
const char *record_sqlite_text(sqlite3_stmt *st, int column); /* never NULL */
/* A hash of 64 hex digits is stored as 32 bytes, any other text as text. */
int record_sqlite_bind_hash(sqlite3_stmt *st, int at, const char *hash);
bool record_sqlite_hash(sqlite3_stmt *st, int column, char *out, size_t out_size);

/* ---- record_sqlite_schema.c ---- */
int record_sqlite_schema_create(record_sqlite *s, braid_error *err); /* in an empty file, before WAL */
int record_sqlite_schema_upgrade(record_sqlite *s, braid_error *err);
/* ours and not newer */
int record_sqlite_schema_check(record_sqlite *s, record_sqlite_conn *c, bool *empty, braid_error *err);
/* dim, epoch, head, numbers */
int record_sqlite_schema_load(record_sqlite *s, record_sqlite_conn *c, braid_error *err);
int record_sqlite_meta_put(record_sqlite_conn *c, const char *key, int64_t value);

/* ---- record_sqlite_write.c: the queue and the writer thread ---- */
int record_sqlite_writer_start(record_sqlite *s, braid_error *err);
void record_sqlite_writer_stop(record_sqlite *s); /* writes what is queued, then ends the thread */
int record_sqlite_submit(record_sqlite *s, record_sqlite_request *r, bool background, braid_error *err);
int record_sqlite_write(void *self, record_change *changes, size_t n, record_write_flags flags, braid_error *err);
int record_sqlite_checkpoint(void *self, braid_error *err);
/* On the writer's thread (or before it starts, after it ended): all of the WAL into the file. */
int record_sqlite_checkpoint_now(record_sqlite *s, bool truncate, braid_error *err);
/* Rolls a failed transaction back; after an error that leaves the file's state unknown, writing is off. `code`
 * BRAID_OK: only roll back. */
void record_sqlite_undo(record_sqlite *s, int code, int rc, const braid_error *why);

/* ---- record_sqlite_apply.c: what a change means in SQL ---- */
/* Applies one change inside the open transaction. BRAID_OK also when it was refused (see change->code); else an
 * SQLite error code, and the transaction cannot be kept. */
int record_sqlite_apply(record_sqlite *s, record_change *change, const record_sqlite_body *body);
/* What it lends to others that write for the writer. */
int record_sqlite_lost(record_sqlite *s); /* the error after a statement could not be prepared */
/* One row's first two columns; *found says whether there was one. */
int record_sqlite_look_up(sqlite3_stmt *st, bool *found, int64_t *first, int64_t *second);
int record_sqlite_person_make(record_sqlite *s, const char *id, int64_t *num);
int record_sqlite_item_number(record_sqlite *s, const char *id, bool *found, int64_t *num);
int record_sqlite_person_number(record_sqlite *s, const char *id, bool *found, int64_t *num, int64_t *born);
/* Gives the change its LSN and its log row. person 0: none. */
int record_sqlite_log_change(record_sqlite *s, record_change *c, int64_t num, int64_t num2, int64_t person,
                             const char *key);

/* ---- record_sqlite_names.c: numbers of names, kept by the writer ---- */
int record_sqlite_names_open(record_sqlite *s);
void record_sqlite_names_close(record_sqlite *s);
void record_sqlite_names_forget(record_sqlite *s); /* after a rollback: what was learned in it may be untrue */
bool record_sqlite_names_get(record_sqlite_names *n, const char *name, int64_t *num, int64_t *born);
void record_sqlite_names_put(record_sqlite_names *n, const char *name, int64_t num, int64_t born);
void record_sqlite_names_drop(record_sqlite_names *n, const char *name);

/* ---- record_sqlite_timeline.c: who did what when ---- */
int record_sqlite_timeline_open(record_sqlite *s); /* SQLITE_OK or an error */
bool record_sqlite_timeline_due(const record_sqlite *s, bool quiet);
/* between commits; quiet: no write has come for a moment */
void record_sqlite_timeline_keep(record_sqlite *s, bool quiet);

/* ---- record_sqlite_policy.c: the actions of a policy as bytes ---- */
bool record_sqlite_actions_write(const record_policy *p, buf *out);
/* Reads into *list, which grows (free it); false when the bytes make no sense or memory ran out (*no_memory). Names
 * point into the bytes. */
bool record_sqlite_actions_read(const void *data, size_t len, record_action **list, size_t *room, size_t *count,
                                bool *no_memory);

/* ---- record_sqlite_prepare.c: on the caller's thread ---- */
/* Checks what needs no database and writes the canonical JSON into *body. An error is lack of memory; a refusal is
 * in the change. */
int record_sqlite_prepare(record_sqlite *s, record_change *change, record_sqlite_body *body, braid_error *err);
/* Marks a change as refused, with its reason cut between characters. */
void record_sqlite_refuse(record_change *change, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- record_sqlite_read.c: items, relations, users ---- */
int record_sqlite_get_item(void *self, const char *id, record_item_fn *each, void *ctx, braid_error *err);
int record_sqlite_get_item_num(void *self, uint32_t num, record_item_fn *each, void *ctx, braid_error *err);
int record_sqlite_get_items(void *self, const uint32_t *nums, size_t n, bool with_vectors, record_item_fn *each,
                            void *ctx, braid_error *err);
int record_sqlite_scan_items(void *self, uint32_t after_num, bool with_vectors, record_item_fn *each, void *ctx,
                             braid_error *err);
int record_sqlite_list_items(void *self, const char *after_id, size_t limit, record_item_fn *each, void *ctx,
                             braid_error *err);
int record_sqlite_item_vectors(void *self, uint32_t num,
                               bool (*each)(void *ctx, const char *name, const float *values, uint32_t dim), void *ctx,
                               braid_error *err);
int record_sqlite_scan_relations(void *self, record_relation_fn *each, void *ctx, braid_error *err);
int record_sqlite_item_relations(void *self, uint32_t num, record_relation_fn *each, void *ctx, braid_error *err);
int record_sqlite_get_relations(void *self, const record_relation_key *keys, size_t n, record_relation_key_fn *each,
                                void *ctx, braid_error *err);
int record_sqlite_list_relations(void *self, const char *after_key, size_t limit, record_relation_fn *each, void *ctx,
                                 char **last_key, braid_error *err);
int record_sqlite_get_user(void *self, const char *id, deadline until, record_text_fn *each, void *ctx,
                           braid_error *err);
int record_sqlite_list_users(void *self, const char *after_id, size_t limit, record_text_fn *each, void *ctx,
                             braid_error *err);

/* ---- record_sqlite_events.c: interactions, policies, stats ---- */
int record_sqlite_user_interactions(void *self, const char *user, size_t limit, deadline until,
                                    record_interaction_fn *each, void *ctx, braid_error *err);
int record_sqlite_scan_interactions(void *self, uint64_t after_lsn, uint64_t upto_lsn, size_t limit,
                                    record_interaction_fn *each, void *ctx, braid_error *err);
int record_sqlite_user_policies(void *self, const char *agent, const char *user, record_policy_fn *each, void *ctx,
                                braid_error *err);
int record_sqlite_get_policies(void *self, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                               record_policy_key_fn *each, void *ctx, braid_error *err);
int record_sqlite_scan_stats(void *self, record_stats_fn *each, void *ctx, braid_error *err);

/* ---- record_sqlite_neighbours.c: what models have learned of items ---- */
int record_sqlite_scan_neighbours(void *self, const char *model, uint32_t after_num, record_neighbours_fn *each,
                                  void *ctx, braid_error *err);
int record_sqlite_item_neighbours(void *self, uint32_t num, record_neighbours_fn *each, void *ctx, braid_error *err);

/* ---- record_sqlite_episodes.c: writing, reading and forgetting episodes ---- */
int record_sqlite_apply_episode(record_sqlite *s, record_change *change);
int record_sqlite_user_episodes(void *self, const char *user, size_t limit, record_episode_fn *each, void *ctx,
                                braid_error *err);
int record_sqlite_similar_episodes(void *self, const char *agent, const float *vector, uint32_t dim, size_t k,
                                   int64_t since, deadline until, record_similar_fn *each, void *ctx, braid_error *err);

/* ---- record_sqlite_hours.c ---- */
int record_sqlite_roll_up(void *self, int64_t since, braid_error *err);
int record_sqlite_scan_hours(void *self, const char *agent, int64_t from, int64_t until_at, size_t limit,
                             record_hour_fn *each, void *ctx, braid_error *err);

/* ---- record_sqlite_forget.c ---- */
int record_sqlite_forget(void *self, const record_old *old, uint64_t *removed, braid_error *err);
int record_sqlite_forget_setup(sqlite3 *db); /* of the writer: what its statements need. Returns an SQLite code */

/* ---- record_sqlite_documents.c: documents and slates ---- */
int record_sqlite_apply_document(record_sqlite *s, record_change *change);
int record_sqlite_apply_slate(record_sqlite *s, record_change *change);
int record_sqlite_get_document(void *self, const char *kind, const char *id, record_document_fn *each, void *ctx,
                               braid_error *err);
int record_sqlite_list_documents(void *self, const char *kind, const char *after_id, size_t limit,
                                 record_document_fn *each, void *ctx, braid_error *err);
int record_sqlite_get_slate(void *self, const char *id, record_slate_fn *each, void *ctx, braid_error *err);
int record_sqlite_scan_slates(void *self, const char *agent, int64_t from, int64_t until_at, record_slate_fn *each,
                              void *ctx, braid_error *err);

/* ---- record_sqlite_log.c: the log, cursors, facts, checks ---- */
int record_sqlite_log_read(void *self, uint64_t after, unsigned kinds, size_t limit, arena *a, record_log_entry **out,
                           size_t *count, uint64_t *upto, braid_error *err);
void record_sqlite_log_wait(void *self, uint64_t after, deadline until);
void record_sqlite_log_wake(void *self);
void record_sqlite_head_publish(record_sqlite *s, uint64_t head); /* the writer, after a commit */
int record_sqlite_log_trim(void *self, uint64_t upto, braid_error *err);
uint64_t record_sqlite_head(void *self);
uint64_t record_sqlite_lag(void *self, uint64_t after);
int record_sqlite_lease(void *self, const char *name, bool *held, braid_error *err);
int record_sqlite_cursor_get(void *self, const char *name, uint64_t *lsn, braid_error *err);
int record_sqlite_info(void *self, record_info *out, braid_error *err);
int record_sqlite_integrity(void *self, bool deep, buf *out, braid_error *err);

#endif
