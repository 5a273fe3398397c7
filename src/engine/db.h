/* engine: the one place where the rooms meet. Implements braid.h; nobody else includes this header.
 *
 *   open.c      opens the stores, rebuilds what is missing, starts the feeds; closes in reverse
 *   remote.c    how servers are reached
 *   indexer.c   the change log's consumers: catalogue, graph, vector (the learner is policy's)
 *   keeper.c    the housekeeping thread: index snapshots, trimming the log, letting histograms age; warm.c what it asks
 *   learn.c     fitting the models on request
 *   write.c     the stream format -> changes -> report
 *   ask.c       queries and results; slate_log.c keeps what was shown
 *   documents.c rules and experiments; outcomes.c what followed, for standing.c and evaluate.c
 *   read.c      items, users, neighbourhoods; export.c the whole database as NDJSON
 *   policies.c  what agents believe, shown, taken out and put back
 *   info.c      sections of state; verify.c comparison and repair; doctor.c sentences from measured thresholds */
#ifndef ENGINE_DB_H
#define ENGINE_DB_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "braid.h"
#include "cache/cache.h"
#include "catalogue/catalogue.h"
#include "embed/embed.h"
#include "graph/graph.h"
#include "model/model.h"
#include "policy/policy.h"
#include "query/query.h"
#include "record/record.h"
#include "vector/vector.h"

/* FEED_PROFILES follows what other processes write about people; only a record store that several share needs it. */
enum { FEED_CATALOGUE, FEED_GRAPH, FEED_VECTOR, FEED_POLICY, FEED_PROFILES, FEED_COUNT };

typedef enum engine_role { ROLE_RECORD, ROLE_VECTOR, ROLE_GRAPH, ROLE_CACHE, ROLE_COUNT } engine_role;

struct braid_db {
    option_set *options;
    logger log;
    metrics *metrics;
    char *path, *snapshot_path; /* NULL where the record store is no file */
    remote_options remotes[ROLE_COUNT];
    char *secrets[ROLE_COUNT];
    char cursors[ROLE_COUNT][320]; /* names of the cursors of stores that outlive this process; "": none */
    uint32_t dim;
    uint64_t epoch;
    model_limits limits;

    record_store *record;
    catalogue *catalogue;
    vector_store *vector;
    graph_store *graph;
    cache *cache;
    embedder *embedder;
    pool *pool;
    policy_profiles *profiles;
    policy_rows *policies;
    policy_agents *agents;
    policy_models *models;
    policy_patterns *patterns;
    pthread_mutex_t learning; /* one at a time */
    struct engine_lesson {    /* the one under way, for who asks how far it is */
        atomic_bool running;
        _Atomic(const char *) phase; /* of the program's text; NULL: not begun */
        _Atomic uint64_t done, total;
    } lesson;
    pthread_t teacher; /* learns by itself (teacher.c) */
    bool teacher_runs;
    policy_people *people;
    policy_learner *learner;
    query_programme *programme;
    struct slate_log *slates;
    struct write_queue *queue; /* of interactions that are acknowledged before they are durable */
    feed *feeds[FEED_COUNT];
    query_rooms rooms;
    _Atomic int64_t caught_up_ns; /* when a wait for the derived stores last succeeded */
    _Atomic uint64_t settled_lsn; /* the first look that found all stores at this LSN ... */
    _Atomic int64_t settled_ns;   /* ... was then */
    _Atomic uint64_t written;     /* the last LSN that was acknowledged here; a shared log may settle a moment later */

    /* one thread at a time changes or saves the vector store: the feed, or a snapshot; who reads only looks whether
     * one does */
    pthread_rwlock_t vector_writer;
    pthread_rwlock_t graph_writer; /* the same for the graph */
    uint64_t snapshot_lsn;         /* under vector_writer: LSN of the snapshot on disk */
    uint64_t vector_stopped_at;    /* what the vector store holds once its feed has ended */
    pthread_t keeper;
    bool keeper_runs;
    pthread_mutex_t keeper_lock;
    pthread_cond_t keeper_wake;
    bool closing, warmed;     /* under keeper_lock; warmed: remote stores were asked once */
    atomic_bool stats_moved;  /* another server may have counted what people did */
    atomic_bool models_moved; /* another server may have learned; the next: patterns */
    atomic_bool patterns_moved;
    atomic_bool programme_moved; /* another server may have changed a rule, an experiment or an agent */
    int64_t opened_ns, opened_ms;
    double open_seconds;
    const char *vector_origin; /* "snapshot", "rebuilt", "empty" */
};

/* open.c: a db with its options, nothing opened yet; and its record store. `on_step` may be NULL. */
int engine_db_new(const char *path, const braid_options *options, braid_db **out, braid_error *err);
int engine_record_open(braid_db *db, record_step_fn *on_step, void *ctx, braid_error *err);

/* Hands a buffer's text to the caller, or says that memory ran out. */
int engine_text(buf *b, char **out, braid_error *err);
int engine_options_copy(const braid_options *from, option_set **out, braid_error *err);
const option_row *engine_option_at(size_t i);
/* The value as it may be printed. */
const char *engine_option_shown(const option_set *set, const option_row *row, const char *key);

/* remote.c: how the store of that name is reached; *out NULL for one in this process. Borrowed from db. */
int engine_remote_of(braid_db *db, engine_role role, const char *store, const remote_options **out, braid_error *err);
void engine_secret_free(char *secret);
int engine_not_built(const char *option, const char *store, braid_error *err);

/* ask.c: whether every search that begins now sees what that LSN says */
bool engine_settled(void *db, uint64_t lsn);

/* Opens an empty vector store, closing the one that is there. */
int engine_vector_open(braid_db *db, braid_error *err);

/* indexer.c */
int indexer_load(braid_db *db, uint64_t *start, uint64_t *vector_start,
                 braid_error *err); /* fills the derived stores from the record store */
int indexer_start(braid_db *db, uint64_t start, uint64_t vector_start, braid_error *err);
void indexer_stop(braid_db *db);
/* Changes that this feed has before it. Counted by the record store: its numbers may have gaps. */
uint64_t indexer_lag(braid_db *db, const feed *f);
bool indexer_wait(void *db, uint64_t lsn, deadline until); /* gives up early when a feed meets a damaged file */
bool indexer_near(void *db, uint64_t lsn);
int indexer_stuck(braid_db *db, braid_error *err);         /* CORRUPT with its words when one has, else OK */
uint64_t indexer_applied(void *db);
/* Feeds one item again to every derived store, whatever it holds; for repair. */
int indexer_repair_item(braid_db *db, uint32_t num, bool force, braid_error *err);

/* How often items are watched, read again from the record store. */
void indexer_load_stats(braid_db *db);

/* warm.c: asks every remote store what answers ask; false: one did not answer. all: several at once, and while it
 * helps. */
bool warm_wanted(const braid_db *db);
bool warm_stores(braid_db *db, bool all);

/* learn.c: what the last learning left, of this server or another. `body`: the document's, in `a`; NULL: nothing was
 * learned. */
typedef struct engine_learned {
    const char *body;
    /* interactions that there were; those of people and items that are gone may not have been learned from */
    uint64_t counted;
    uint64_t head; /* of the log, then */
    int64_t at;    /* wall ms */
} engine_learned;
int engine_learned_get(braid_db *db, arena *a, engine_learned *out, braid_error *err);

/* teacher.c: nothing when the options do not ask for it */
int teacher_start(braid_db *db, braid_error *err);
void teacher_stop(braid_db *db); /* after keeper_stop, which says that the database closes */

/* episodes.c: the members of an episode's JSON object, without the braces */
void engine_episode_print(buf *out, const record_episode *e);

/* hours.c: counts what was done of late into its hours */
int engine_roll_up(braid_db *db, braid_error *err);
void engine_forget(braid_db *db); /* forget.c; what fails is in the log, and tried again an hour later */

/* keeper.c */
int keeper_start(braid_db *db, braid_error *err);
void keeper_stop(braid_db *db);
int keeper_snapshot(braid_db *db, braid_error *err);
int keeper_trim(braid_db *db, braid_error *err);

#endif
