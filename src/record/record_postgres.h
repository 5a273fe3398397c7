/* Private to record_postgres*.c: one open PostgreSQL record store and what its files lend each other.
 *
 *     callers --- enqueue ---> [foreground | background] ---> writers, each with its own connection --+
 *        ^------------- woken when their group is committed -------'                                  |
 *     readers <--- pool of connections <--------------------------------------------------------- database
 *     log_wait, head <--- watcher, with a connection of its own: LISTEN, and a look now and then -----+
 *     lease ------------- a connection of its own, as an advisory lock lives as long as its session --+
 *
 * Several Braids work on one database: whatever is decided, is decided in the database (sql/004_write.sql).
 *
 * Lock order: none of the mutexes is ever held while another is taken, nor (but for the lease's) while the server is
 * asked. */
#ifndef RECORD_POSTGRES_H
#define RECORD_POSTGRES_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "record/record.h"
#include "record/record_postgres_sql.h"
#include "wire/pg.h"

#define RECORD_POSTGRES "record/postgres" /* the store's name in errors */

enum {
    RECORD_POSTGRES_WRITERS = 2,                 /* one commits while the other's group gathers */
    RECORD_POSTGRES_CONNECTIONS = 16,            /* for reading, unless the options say otherwise */
    RECORD_POSTGRES_TIMEOUT_MS = 5000,           /* unless the options say otherwise */
    RECORD_POSTGRES_SCHEMA_MS = 60000,           /* for making or upgrading the tables */
    RECORD_POSTGRES_BACKGROUND_WAIT_MS = 200,    /* a background write waits at most this long behind foreground ones */
    RECORD_POSTGRES_BACKGROUND_SLICE = 256,      /* changes of background writes in one commit */
    RECORD_POSTGRES_PAGE = 1000,                 /* rows of a scan in one round trip */
    RECORD_POSTGRES_PAGE_VECTORS = 256,          /* the same, with vectors */
    RECORD_POSTGRES_TRIM_SLICE = 5000,           /* log rows forgotten in one statement */
    RECORD_POSTGRES_BULK_MIN = 256,              /* items, lists of neighbours, slates: from here on COPY is quicker */
    RECORD_POSTGRES_BULK_EPISODES = 48,          /* the same of episodes of their own */
    RECORD_POSTGRES_CHANGES_MAX = (1 << 20) - 2, /* of one transaction: 20 bits of an LSN */
    RECORD_POSTGRES_LEASES_MAX = 64
};

typedef struct record_postgres record_postgres;

/* What a caller's own thread made of a change: its JSON, or a refusal that needs no database. */
typedef struct record_postgres_body {
    char *text;
    size_t len;
    bool refused;
} record_postgres_body;

/* One caller's write, on the caller's stack until `done` is posted. */
typedef struct record_postgres_request {
    record_change *changes;
    size_t n;
    record_postgres_body *bodies; /* one a change */
    bool alone, bulk;             /* removes something; COPY is the way */
    bool episodes;                /* a bulk request that may share a group with others of its kind */
    int64_t queued_ns;
    int code;
    braid_error err;
    sem_t done;
    struct record_postgres_request *next;
} record_postgres_request;

typedef struct record_postgres_queue {
    record_postgres_request *first, *last;
    size_t requests, changes;
} record_postgres_queue;

/* What one commit will hold. */
typedef struct record_postgres_group {
    record_postgres_request *first, **tail;
    size_t changes, foreground;
    bool alone, bulk, episodes;
} record_postgres_group;

typedef struct record_postgres_writer {
    record_postgres *s;
    pg_session *session; /* NULL: not connected */
    bool staging;        /* the session has its tables staged_* */
    char name[40];       /* of its row in `writers` */
    uint64_t token;      /* of the transaction in hand; never used again */
    pg_params params;
    rng random;
    pthread_t thread;
    bool started;
} record_postgres_writer;

struct record_postgres {
    record_options options;
    pg_options reading, writing;
    conn_pool *pool;
    uint32_t dim;
    uint64_t epoch;
    int64_t space; /* of advisory locks: the oid of our table `log` */
    char channel[96];

    /* The queue. */
    pthread_mutex_t queue_mutex;
    pthread_cond_t queue_cond; /* a writer waits */
    record_postgres_queue foreground, background;
    bool closing, pool_ready, mutexes_ready;
    record_postgres_writer writers[RECORD_POSTGRES_WRITERS];

    /* The log's head; log_wait. */
    _Atomic uint64_t head;   /* nothing can appear up to here, while the server does not crash */
    _Atomic uint64_t tip;    /* the last settled row: what is told */
    _Atomic uint64_t newest; /* the last row that was seen or written, settled or not */
    _Atomic int gone;        /* not 0: the database is in another life; see record_postgres_alive */
    pthread_mutex_t head_mutex;
    pthread_cond_t head_cond;
    uint64_t wakes;
    bool look, tell, stop; /* for the watcher: look now; tell other servers; end */
    int wake_fd;
    pthread_t watcher;
    bool watcher_started;
    uint64_t lag_after, lag_count; /* of the last count */
    int64_t lag_ns;

    /* Readers of the log; but for reading_low the watcher's own. */
    char reader[24];              /* our name among them; "": we do not count (read only) */
    _Atomic uint64_t reading_low; /* the lowest place asked from in this window of time */
    uint64_t reading_before;      /* in the window before */
    uint64_t reading_told;        /* to the others */
    int64_t reading_told_ns, reading_window_ns;

    /* Leases. */
    pthread_mutex_t lease_mutex;
    pg_session *lease_session;
    char *leases[RECORD_POSTGRES_LEASES_MAX];
    unsigned lease_count;
    int64_t lease_seen_ns;

    /* Housekeeping. */
    pthread_t keeper;
    bool keeper_started;
    pthread_mutex_t keeper_mutex;
    pthread_cond_t keeper_cond;
    bool keeper_stop;

    metric_counter *commits, *changes, *refused, *again, *unsure, *queue_gauge, *horizon_gauge;
    metric_histogram *commit_time;
};

/* ---- record_postgres.c ---- */
extern const pg_statement record_postgres_statements[SQL_COUNT];
int64_t record_postgres_now(const record_postgres *s);
deadline record_postgres_until(const record_postgres *s, deadline until); /* 0: the store's own time-out from now */
int64_t record_postgres_timeout_ns(const record_postgres *s);
int record_postgres_no_memory(braid_error *err);
/* UNAVAILABLE once the database has been found in another life than the one that was opened. */
int record_postgres_alive(record_postgres *s, braid_error *err);
void record_postgres_condition(pthread_cond_t *cond);
/* Waits until it is signalled or `ns` from now have passed (ns < 0: for ever); false when they have. */
bool record_postgres_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ns);
/* Whether a fresh session leads to the database that was opened: epoch and dimension. */
int record_postgres_same(record_postgres *s, pg_session *session, deadline until, braid_error *err);

/* ---- record_postgres_schema.c ---- */
/* The text of step i (from 0) of sql/, NULL after the last. */
const char *record_postgres_step(unsigned i, const char **name);
unsigned record_postgres_steps(void);
int record_postgres_schema_open(record_postgres *s, braid_error *err);

/* ---- record_postgres_prepare.c: on the caller's thread ---- */
int record_postgres_prepare(record_postgres *s, record_change *change, record_postgres_body *body, braid_error *err);
void record_postgres_refuse(record_change *change, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- record_postgres_apply.c: one change as a statement, and its answer ---- */
/* Binds change number n (counted from 1 in its transaction); *which is the statement. `since`: the number of the first
 * of the policies of that person that stand side by side. */
void record_postgres_bind(record_postgres *s, pg_params *p, const record_change *change,
                          const record_postgres_body *body, uint32_t n, uint32_t since, record_postgres_sql *which);
const char *record_postgres_agent(const record_episode *e);
int64_t record_postgres_at(const record_postgres *s, int64_t at); /* TIME_NONE: now */
/* Reads the verdict into the change; false if the answer makes no sense. */
bool record_postgres_verdict(record_change *change, const PGresult *r);
bool record_postgres_judge(record_change *change, int verdict, int64_t lsn);

/* ---- record_postgres_write.c: the queue and the writers ---- */
int record_postgres_writers_start(record_postgres *s, braid_error *err);
void record_postgres_writers_stop(record_postgres *s); /* writes what is queued first */
int record_postgres_write(void *self, record_change *changes, size_t n, record_write_flags flags, braid_error *err);

/* ---- record_postgres_commit.c: one group, one transaction ---- */
void record_postgres_commit(record_postgres_writer *w, record_postgres_group *g);

/* ---- record_postgres_bulk.c, record_postgres_bulk_episodes.c ---- */
bool record_postgres_is_bulk(const record_change *changes, size_t n);
/* The parameters of SQL_ADMIT_EPISODES for a group of episodes. */
void record_postgres_ask_episodes(pg_params *p, const record_postgres_group *g);
/* The statements between BEGIN and COMMIT for a bulk group; the session is not in pipeline mode. answer: what was asked
 * of episodes, else NULL. */
int record_postgres_bulk(record_postgres_writer *w, record_postgres_group *g, const PGresult *answer, deadline until,
                         braid_error *err);
int record_postgres_bulk_episodes(record_postgres_writer *w, const record_postgres_group *g, const PGresult *answer,
                                  deadline until, braid_error *err);

/* ---- record_postgres_conn.c: reading ---- */
/* Runs a read on a connection of the pool and gives the connection back. Tried once more on a fresh connection when the
 * first turned out to be lost. */
int record_postgres_read(record_postgres *s, record_postgres_sql which, const pg_params *p, deadline until,
                         const char *doing, PGresult **out, braid_error *err);
int record_postgres_corrupt(const char *doing, braid_error *err);
void record_postgres_bind_limit(pg_params *p, size_t limit);

/* ---- record_postgres_read.c: items, relations, users ---- */
int record_postgres_get_item(void *self, const char *id, record_item_fn *each, void *ctx, braid_error *err);
int record_postgres_get_item_num(void *self, uint32_t num, record_item_fn *each, void *ctx, braid_error *err);
int record_postgres_get_items(void *self, const uint32_t *nums, size_t n, bool with_vectors, record_item_fn *each,
                              void *ctx, braid_error *err);
int record_postgres_scan_items(void *self, uint32_t after_num, bool with_vectors, record_item_fn *each, void *ctx,
                               braid_error *err);
int record_postgres_list_items(void *self, const char *after_id, size_t limit, record_item_fn *each, void *ctx,
                               braid_error *err);
int record_postgres_item_vectors(void *self, uint32_t num,
                                 bool (*each)(void *ctx, const char *name, const float *values, uint32_t dim),
                                 void *ctx, braid_error *err);
int record_postgres_scan_relations(void *self, record_relation_fn *each, void *ctx, braid_error *err);
int record_postgres_item_relations(void *self, uint32_t num, record_relation_fn *each, void *ctx, braid_error *err);
int record_postgres_get_relations(void *self, const record_relation_key *keys, size_t n, record_relation_key_fn *each,
                                  void *ctx, braid_error *err);
int record_postgres_list_relations(void *self, const char *after_key, size_t limit, record_relation_fn *each, void *ctx,
                                   char **last_key, braid_error *err);
int record_postgres_get_user(void *self, const char *id, deadline until, record_text_fn *each, void *ctx,
                             braid_error *err);
int record_postgres_list_users(void *self, const char *after_id, size_t limit, record_text_fn *each, void *ctx,
                               braid_error *err);

/* ---- record_postgres_events.c: interactions, policies, stats ---- */
int record_postgres_user_interactions(void *self, const char *user, size_t limit, deadline until,
                                      record_interaction_fn *each, void *ctx, braid_error *err);
int record_postgres_scan_interactions(void *self, uint64_t after_lsn, uint64_t upto_lsn, size_t limit,
                                      record_interaction_fn *each, void *ctx, braid_error *err);
int record_postgres_user_policies(void *self, const char *agent, const char *user, record_policy_fn *each, void *ctx,
                                  braid_error *err);
int record_postgres_get_policies(void *self, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                                 record_policy_key_fn *each, void *ctx, braid_error *err);
int record_postgres_scan_stats(void *self, record_stats_fn *each, void *ctx, braid_error *err);

/* ---- record_postgres_neighbours.c: what models have learned of items ---- */
int record_postgres_scan_neighbours(void *self, const char *model, uint32_t after_num, record_neighbours_fn *each,
                                    void *ctx, braid_error *err);
int record_postgres_item_neighbours(void *self, uint32_t num, record_neighbours_fn *each, void *ctx, braid_error *err);

/* ---- record_postgres_episodes.c ---- */
int record_postgres_user_episodes(void *self, const char *user, size_t limit, record_episode_fn *each, void *ctx,
                                  braid_error *err);
int record_postgres_similar_episodes(void *self, const char *agent, const float *vector, uint32_t dim, size_t k,
                                     int64_t since, deadline until, record_similar_fn *each, void *ctx,
                                     braid_error *err);
int record_postgres_roll_up(void *self, int64_t since, braid_error *err);
int record_postgres_scan_hours(void *self, const char *agent, int64_t from, int64_t until_at, size_t limit,
                               record_hour_fn *each, void *ctx, braid_error *err);

/* ---- record_postgres_forget.c ---- */
int record_postgres_forget(void *self, const record_old *old, uint64_t *removed, braid_error *err);

/* ---- record_postgres_documents.c: documents and slates ---- */
int record_postgres_get_document(void *self, const char *kind, const char *id, record_document_fn *each, void *ctx,
                                 braid_error *err);
int record_postgres_list_documents(void *self, const char *kind, const char *after_id, size_t limit,
                                   record_document_fn *each, void *ctx, braid_error *err);
int record_postgres_get_slate(void *self, const char *id, record_slate_fn *each, void *ctx, braid_error *err);
int record_postgres_scan_slates(void *self, const char *agent, int64_t from, int64_t until_at, record_slate_fn *each,
                                void *ctx, braid_error *err);

/* ---- record_postgres_log.c: the log, cursors, facts, checks ---- */
int record_postgres_log_read(void *self, uint64_t after, unsigned kinds, size_t limit, arena *a, record_log_entry **out,
                             size_t *count, uint64_t *upto, braid_error *err);
int record_postgres_log_trim(void *self, uint64_t upto, braid_error *err);
uint64_t record_postgres_lag(void *self, uint64_t after);
int record_postgres_cursor_get(void *self, const char *name, uint64_t *lsn, braid_error *err);
int record_postgres_info(void *self, record_info *out, braid_error *err);
int record_postgres_integrity(void *self, bool deep, buf *out, braid_error *err);
int record_postgres_checkpoint(void *self, braid_error *err);

/* ---- record_postgres_head.c: how far the log is settled ---- */
int record_postgres_watcher_start(record_postgres *s, braid_error *err);
void record_postgres_watcher_stop(record_postgres *s);
void record_postgres_log_wait(void *self, uint64_t after, deadline until);
void record_postgres_log_wake(void *self);
uint64_t record_postgres_head(void *self);
/* After a commit: `horizon` as seen just after it, `last` its last row (0: it made no log row). */
void record_postgres_committed(record_postgres *s, uint64_t horizon, uint64_t last);
void record_postgres_settled(record_postgres *s, uint64_t lsn); /* the last settled row, as log_read saw it */

/* ---- record_postgres_readers.c: what must not be trimmed ---- */
void record_postgres_reading(record_postgres *s, uint64_t after); /* somebody goes on from there */
/* While nothing else runs: from now on we count among the readers. */
int record_postgres_readers_begin(record_postgres *s, pg_session *session, braid_error *err);
void record_postgres_readers_tell(record_postgres *s, pg_session *session); /* by the watcher, now and then */
void record_postgres_readers_end(record_postgres *s);

/* ---- record_postgres_lease.c ---- */
int record_postgres_lease(void *self, const char *name, bool *held, braid_error *err);
void record_postgres_lease_end(record_postgres *s);

/* ---- record_postgres_keeper.c: partitions and patterns, once an hour; what the engine's housekeeping asks for ---- */
int record_postgres_keeper_start(record_postgres *s, braid_error *err);
void record_postgres_keeper_stop(record_postgres *s);
/* A connection of its own for what may take long, for as long as it is wanted: pg_close. */
int record_postgres_tend_open(record_postgres *s, pg_session **out, braid_error *err);
/* A statement of one time, `at`, on such a connection; it may take up to `ms`. r: as pg_run() has it. */
int record_postgres_tend(record_postgres *s, record_postgres_sql which, int64_t at, int64_t ms, const char *doing,
                         PGresult **r, braid_error *err);

#endif
