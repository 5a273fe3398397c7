/* record: the truth, and the change log that everything else is derived from.
 *
 * Every change is written in one transaction together with its row in the change log, numbered by a growing LSN; a call
 * returns when that transaction is on stable storage. Callers on many threads share one commit (group commit). Serving
 * stores are derived: each has a consumer (feed.c) that reads the log after its cursor and applies it by idempotent
 * upsert and delete. Per key the row's version (the LSN of its last change) decides, never arrival; so a consumer
 * fetches the present row of a key and may skip log rows that a later one overtakes.
 *
 * Items get a number (uint32, from 1, never used again) by which the derived stores know them.
 *
 * Thread-safety: every function may be called from any thread unless said otherwise. Reads see a committed state. */
#ifndef RECORD_H
#define RECORD_H

#include "base/base.h"
#include "model/model.h"

/* Of the file: "BRAD" in SQLite's application_id, and the schema step in user_version. */
#define RECORD_APPLICATION_ID 0x42524144
#define RECORD_SCHEMA_VERSION 7

/* A step of the schema that opening made: its number from 1, and what it is called. */
typedef void record_step_fn(void *ctx, unsigned step, const char *name);

typedef struct record_options {
    const char *path;             /* of a local store's file */
    const remote_options *remote; /* RECORD_CAP_REMOTE: where it is; `database` names the database */
    uint32_t dim;                 /* of a new database; of an existing one: 0 or equal, else DIMENSION */
    bool create;                  /* make the file if it is not there, else NOT_FOUND */
    bool read_only;
    const char *vfs;               /* SQLite VFS by name, NULL: the default; for tests of power loss */
    unsigned readers;              /* read connections, 1..64 */
    size_t group_max;              /* most changes in one commit, default 1,000 */
    size_t queue_max;              /* changes waiting to be written before BUSY, default 100,000 */
    uint64_t wal_bytes_checkpoint; /* checkpoint when the WAL is larger, default 16 MiB */
    const clock_ops *clock;
    metrics *metrics;
    const logger *log;
    record_step_fn *on_step; /* NULL, or called for each step, in order, once it is there for good */
    void *on_step_ctx;
} record_options;

typedef enum record_kind {
    RECORD_ITEM = 1,
    RECORD_RELATION = 2,
    RECORD_USER = 3,
    RECORD_INTERACTION = 4,
    RECORD_POLICY = 5, /* logged */
    RECORD_EPISODE = 6,
    RECORD_STATS = 7,
    RECORD_CURSOR = 8,     /* consequences of a logged interaction; not logged themselves */
    RECORD_NEIGHBOURS = 9, /* logged */
    RECORD_DOCUMENT = 10,  /* logged */
    RECORD_SLATE = 11      /* what was shown; not logged, and forgotten after a while */
} record_kind;
#define RECORD_MASK(kind) (1u << (kind))
#define RECORD_MASK_ALL   0xffffffffu

/* ---- learned rows ---- */
#define RECORD_HASH_BYTES 65 /* SHA-256 in hex and NUL */
typedef struct record_action {
    const char *action; /* "genres=drame" ... */
    double mean, variance;
    double count;
    uint64_t version; /* LSN of the last interaction that moved it */
} record_action;
/* Everything that is believed of one (agent, user, state): one row, replaced as a whole. */
typedef struct record_policy {
    const char *agent, *user, *state_hash; /* user "" : the population; state_hash "" : any state */
    const char *state;                     /* canonical text of the state, for people */
    const record_action *actions;
    size_t action_count;
    uint64_t version; /* of the newest action; a lower one than the stored row's is refused as CONFLICT */
} record_policy;
typedef struct record_relation_key {
    uint32_t from, to;
    const char *type;
} record_relation_key;
typedef struct record_policy_key {
    const char *user, *state_hash;
} record_policy_key;
/* A step of an agent with a person. Of an interaction (the learner writes these), or an episode of its own, given
 * from outside. */
enum { RECORD_STATE_DIM_MAX = 4096, RECORD_SIMILAR_MAX = 10000 };
typedef struct record_episode {
    /* Unique: applying twice changes nothing. Agent, session, item and time are the interaction's. Writing 0: an
     * episode of its own. It gets a number from the same series (change.lsn), by which it is read; the item is the
     * one that `action` names; it is not logged */
    uint64_t interaction_lsn;
    const char *agent, *user, *session, *state_hash, *state, *next_state_hash;
    uint32_t item_num;
    const char *action; /* the item's id */
    double reward;
    bool done;
    int64_t at; /* of its own: TIME_NONE is stamped */
    /* of its own: a key known of that person makes it a duplicate; "" or NULL: none. Not read back */
    const char *key;
    const float *vector; /* the state as a vector, for record_similar_episodes; NULL: none */
    uint32_t dim;        /* of `vector`, 1..RECORD_STATE_DIM_MAX */
} record_episode;
typedef struct record_stats {
    uint32_t num;
    double interactions, reward_sum;
    double recent; /* interactions, each worth less the older it is, as of last_at */
    int64_t last_at;
} record_stats; /* absolute values, not increments */
typedef struct record_cursor {
    const char *name;
    uint64_t lsn;
} record_cursor; /* never goes back: a lower one changes nothing */

/* What one model has learned of one item: the items that speak for it, strongest first. One row an (item, model),
 * replaced as a whole. It goes with its item; others that it names may be gone. */
enum { RECORD_NEIGHBOURS_MAX = 4096, RECORD_MODEL_BYTES_MAX = 32 };
typedef struct record_neighbour {
    uint32_t num; /* of an item, never 0, once a list */
    float weight; /* finite */
} record_neighbour;
typedef struct record_neighbours {
    uint32_t num;
    const char *model; /* "slim", "sequence" ..: 1..RECORD_MODEL_BYTES_MAX bytes of a-z 0-9 _ - */
    int64_t at;        /* when it was learned, wall ms */
    uint64_t version;  /* reading: LSN of the change */
    const record_neighbour *list;
    size_t count; /* writing: 0 removes the row; that there was none is no error: `duplicate`, and no LSN */
} record_neighbours;

/* A small JSON object with a name, for the rooms above: agents, experiments, rules, patterns. One row a (kind, id),
 * replaced as a whole; who read it first and writes it back says which version it read, so that no change is lost. */
enum { RECORD_DOCUMENT_KIND_MAX = 32, RECORD_DOCUMENT_BYTES_MAX = 1 << 20 };
#define RECORD_ANY_VERSION UINT64_MAX
typedef struct record_document {
    const char *kind; /* "agent", "experiment" ..: 1..RECORD_DOCUMENT_KIND_MAX bytes of a-z 0-9 _ - */
    const char *id;   /* 1..255 bytes of UTF-8 */
    const char *body; /* a JSON object in UTF-8, of body_len bytes; kept as it is */
    size_t body_len;
    /* Writing: the version that is replaced, 0: there is none yet, RECORD_ANY_VERSION: whichever. CONFLICT when it
     * is another one; NOT_FOUND when there is none to remove */
    uint64_t expect;
    uint64_t version; /* reading: LSN of the last change */
} record_document;

/* What one answer showed, for judging policies by what followed. One row a recommendation_id, written once; it goes
 * with its person. Who reads it knows the body's form (policy.h). */
enum { RECORD_SLATE_PLACES_MAX = 100000 };
typedef struct record_slate {
    const char *id;           /* the recommendation_id */
    const char *agent, *user; /* user "": nobody in particular */
    int64_t at;               /* wall ms */
    const char *body;         /* any bytes */
    size_t body_len;          /* 1..RECORD_DOCUMENT_BYTES_MAX */
    uint32_t places;          /* of it, for roll-ups; 0: not known */
    uint32_t explored;        /* of these, those that were given away to learn */
} record_slate;

/* What one agent did in one hour. */
typedef struct record_hour {
    int64_t hour; /* wall ms at which it begins, UTC */
    const char *agent;
    uint64_t slates, episodes, finished; /* finished: episodes that ended their session */
    double reward_sum;                   /* of the episodes */
    uint64_t places, explored;           /* of the slates */
} record_hour;

/* ---- writing ---- */
typedef struct record_change {
    record_kind kind;
    bool remove; /* ITEM, RELATION, USER, DOCUMENT; NEIGHBOURS, like a count of 0 */
    union {
        const item *item; /* remove: only id is read. The text vectors other than "default" are stored from the item */
        const relation *relation;
        const user *user;               /* remove: only id; interactions, episodes and policies of the person go too */
        const interaction *interaction; /* `at` TIME_NONE is stamped; a known idempotency key makes it a duplicate */
        const record_policy *policy;
        const record_episode *episode;
        const record_stats *stats;
        const record_cursor *cursor;
        const record_neighbours *neighbours; /* NOT_FOUND for an item that is not there */
        const record_document *document;     /* remove: kind, id and expect are read */
        const record_slate *slate;           /* a known id makes it a duplicate */
    };
    const float *vector;     /* ITEM put: dim floats that are indexed */
    bool vector_given;       /* by the caller; false: made by the embedder */
    const char *attribution; /* INTERACTION: JSON text of the slate it belongs to, or NULL */
    /* set by the call */
    int code; /* BRAID_OK, or why this one was refused: NOT_FOUND (unknown item or thing to remove), CONFLICT ... */
    char message[160];
    uint64_t lsn;
    uint32_t num; /* ITEM: its number; INTERACTION, NEIGHBOURS: the item's */
    bool duplicate;
} record_change;

typedef struct record_write_flags {
    bool background; /* learners: give way to writers that somebody waits for */
} record_write_flags;

/* ---- reading ---- */
/* An item as the derived stores need it. Everything is borrowed for the duration of the callback. */
typedef struct record_item {
    uint32_t num;
    uint64_t version;
    const char *id, *body;
    size_t body_len;     /* canonical JSON without vectors */
    const float *vector; /* dim floats, or NULL if there is none */
    bool vector_given;
} record_item;
typedef struct record_relation {
    relation r;
    uint32_t from_num, to_num;
    uint64_t version;
} record_relation;
typedef struct record_interaction {
    interaction in;
    uint64_t lsn;
    uint32_t item_num;
    const char *attribution;
} record_interaction;
typedef bool record_item_fn(void *ctx, const record_item *row); /* false stops */
typedef bool record_relation_fn(void *ctx, const record_relation *row);
typedef bool record_relation_key_fn(void *ctx, size_t which, const record_relation *row);
typedef bool record_text_fn(void *ctx, const char *id, const char *body, size_t len, uint64_t version);
typedef bool record_interaction_fn(void *ctx, const record_interaction *row);
typedef bool record_policy_fn(void *ctx, const record_policy *row);
typedef bool record_policy_key_fn(void *ctx, size_t which, const record_policy *row);
typedef bool record_episode_fn(void *ctx, const record_episode *row);
typedef bool record_stats_fn(void *ctx, const record_stats *row);
typedef bool record_neighbours_fn(void *ctx, const record_neighbours *row);
typedef bool record_document_fn(void *ctx, const record_document *row);
typedef bool record_slate_fn(void *ctx, const record_slate *row);
typedef bool record_hour_fn(void *ctx, const record_hour *row);
typedef bool record_similar_fn(void *ctx, const record_episode *row, float similarity); /* cosine, -1..1 */

typedef struct record_log_entry {
    uint64_t lsn;
    record_kind kind;
    bool remove;
    uint32_t num, num2; /* ITEM: number. RELATION: from and to. INTERACTION, NEIGHBOURS: the item's number */
    char *key; /* ITEM: id. RELATION: type. NEIGHBOURS: model. USER, POLICY: the person. INTERACTION: the person, or ""
                * where one process writes all. DOCUMENT: "kind/id". Owned by the batch's arena */
} record_log_entry;

typedef struct record_info {
    uint32_t dim;
    uint64_t epoch; /* epoch: random at creation, so that a snapshot of another file is not taken for ours */
    uint64_t head_lsn, log_first_lsn; /* log_first_lsn: the oldest row still there (head+1 when empty) */
    uint64_t items, relations, users, interactions, episodes, policies, neighbours, documents, slates, log_rows;
    uint64_t vectors_given; /* items whose vector came from the caller */
    /* version of the newest relation, 0: none. With their number it tells two states of them apart */
    uint64_t relations_newest;
    uint64_t file_bytes, wal_bytes;
    int schema_version;
} record_info;

/* What is old enough to be forgotten. */
typedef struct record_agent_before {
    const char *agent;
    int64_t before;
} record_agent_before;
typedef struct record_old {
    record_kind kind; /* EPISODE or SLATE */
    int64_t before;   /* what is of before then; TIME_NONE: nothing */
    /* EPISODE: agents for whom another time holds, in the order of their names' bytes, each once */
    const record_agent_before *agents;
    size_t agent_count;
} record_old;
/* Of when the rows of an agent are old. */
int64_t record_old_before(const record_old *old, const char *agent);

typedef enum record_caps { RECORD_CAP_SINGLE_PROCESS = 1, RECORD_CAP_REMOTE = 2 } record_caps;

typedef struct record_ops {
    unsigned version; /* 1 */
    const char *name; /* "sqlite" */
    unsigned caps;
    int (*open)(const record_options *options, void **self, braid_error *err);
    void (*close)(void *self);
    /* Writes n changes in order in one transaction (possibly with those of other callers) and returns when it is
     * durable. One that is refused has its `code`; the others are written. An error return means that none was
     * acknowledged. */
    int (*write)(void *self, record_change *changes, size_t n, record_write_flags flags, braid_error *err);
    int (*get_item)(void *self, const char *id, record_item_fn *each, void *ctx,
                    braid_error *err); /* NOT_FOUND; calls each once */
    int (*get_item_num)(void *self, uint32_t num, record_item_fn *each, void *ctx, braid_error *err);
    /* Those of the `n` numbers (ascending, each once) that are there, in their order; few round trips for any `n`. */
    int (*get_items)(void *self, const uint32_t *nums, size_t n, bool with_vectors, record_item_fn *each, void *ctx,
                     braid_error *err);
    int (*scan_items)(void *self, uint32_t after_num, bool with_vectors, record_item_fn *each, void *ctx,
                      braid_error *err); /* in num order */
    int (*list_items)(void *self, const char *after_id, size_t limit, record_item_fn *each, void *ctx,
                      braid_error *err); /* in id order */
    int (*item_vectors)(void *self, uint32_t num,
                        bool (*each)(void *ctx, const char *name, const float *values, uint32_t dim), void *ctx,
                        braid_error *err);
    int (*scan_relations)(void *self, record_relation_fn *each, void *ctx, braid_error *err);
    int (*item_relations)(void *self, uint32_t num, record_relation_fn *each, void *ctx,
                          braid_error *err); /* in and out */
    /* Those of the `n` keys that are there, in any order; `which` is the key's index. */
    int (*get_relations)(void *self, const record_relation_key *keys, size_t n, record_relation_key_fn *each, void *ctx,
                         braid_error *err);
    int (*list_relations)(void *self, const char *after_key, size_t limit, record_relation_fn *each, void *ctx,
                          char **last_key, braid_error *err);
    int (*get_user)(void *self, const char *id, deadline until, record_text_fn *each, void *ctx, braid_error *err);
    int (*list_users)(void *self, const char *after_id, size_t limit, record_text_fn *each, void *ctx,
                      braid_error *err);
    /* Newest (by at, then lsn) first. */
    int (*user_interactions)(void *self, const char *user, size_t limit, deadline until, record_interaction_fn *each,
                             void *ctx, braid_error *err);
    int (*scan_interactions)(void *self, uint64_t after_lsn, uint64_t upto_lsn, size_t limit,
                             record_interaction_fn *each, void *ctx, braid_error *err);
    int (*user_policies)(void *self, const char *agent, const char *user, record_policy_fn *each, void *ctx,
                         braid_error *err); /* agent NULL: all */
    /* The rows that are there of `n` keys of one agent, in any order, in one round trip; `which` is the key's index. */
    int (*get_policies)(void *self, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                        record_policy_key_fn *each, void *ctx, braid_error *err);
    /* Newest (by at, then number) first. */
    int (*user_episodes)(void *self, const char *user, size_t limit, record_episode_fn *each, void *ctx,
                         braid_error *err);
    /* The `k` episodes of an agent (NULL: all) whose state vectors, of `dim` floats, are nearest by cosine, best
     * first; of those at or after `since` (TIME_NONE: all). A vector of zeros is near to nothing. A store in this
     * process looks through them from the newest back, and at the deadline gives the best of those that it has seen. */
    int (*similar_episodes)(void *self, const char *agent, const float *vector, uint32_t dim, size_t k, int64_t since,
                            deadline until, record_similar_fn *each, void *ctx, braid_error *err);
    int (*get_document)(void *self, const char *kind, const char *id, record_document_fn *each, void *ctx,
                        braid_error *err); /* NOT_FOUND; calls each once */
    int (*list_documents)(void *self, const char *kind, const char *after_id, size_t limit, record_document_fn *each,
                          void *ctx, braid_error *err);                                               /* in id order */
    int (*get_slate)(void *self, const char *id, record_slate_fn *each, void *ctx, braid_error *err); /* NOT_FOUND */
    /* Of an agent (NULL: all), from <= at < until_at, in order of (at, id). */
    int (*scan_slates)(void *self, const char *agent, int64_t from, int64_t until_at, record_slate_fn *each, void *ctx,
                       braid_error *err);
    /* Forgets what is old; *removed rows. Where a store keeps months apart, those that are old for everybody go whole,
     * and with them goes what is kept longest; rows of agents that keep less go one by one, in slices. */
    int (*forget)(void *self, const record_old *old, uint64_t *removed, braid_error *err);
    /* Counts episodes and slates into their hours: all of those from the hour of `since` on (TIME_NONE: of ever),
     * late ones too; a store may also count what came late for earlier hours. Doing it again changes nothing. What
     * is forgotten or deleted later need not leave its hour. */
    int (*roll_up)(void *self, int64_t since, braid_error *err);
    /* Hours of an agent (NULL: all), from <= hour < until_at, in order of (hour, agent). */
    int (*scan_hours)(void *self, const char *agent, int64_t from, int64_t until_at, size_t limit, record_hour_fn *each,
                      void *ctx, braid_error *err);
    int (*scan_stats)(void *self, record_stats_fn *each, void *ctx, braid_error *err);
    /* Rows of one model, by item number, after `after_num`. */
    int (*scan_neighbours)(void *self, const char *model, uint32_t after_num, record_neighbours_fn *each, void *ctx,
                           braid_error *err);
    /* All models' rows of one item; none is no error. */
    int (*item_neighbours)(void *self, uint32_t num, record_neighbours_fn *each, void *ctx, braid_error *err);
    /* Log rows after `after` whose kind is in `kinds` (RECORD_MASK(kind) or-ed), at most `limit`, in LSN order; keys
     * live in `a`. *upto is how far the log has been read: every row of those kinds in (after, *upto] is in the
     * answer, and no row at or below *upto will ever appear later. */
    int (*log_read)(void *self, uint64_t after, unsigned kinds, size_t limit, arena *a, record_log_entry **out,
                    size_t *count, uint64_t *upto, braid_error *err);
    /* Returns when the head is above `after` or the deadline passed; a hint, the log is the mechanism. */
    void (*log_wait)(void *self, uint64_t after, deadline until);
    void (*log_wake)(void *self); /* every log_wait that is under way returns now: a consumer wants to stop */
    int (*log_trim)(void *self, uint64_t upto, braid_error *err); /* forgets rows <= upto, but for what others need */
    /* The highest LSN that is settled: no row at or below it can appear any more. */
    uint64_t (*head)(void *self);
    /* How many log rows a consumer at `after` has before it (a remote store may answer of a moment ago). */
    uint64_t (*lag)(void *self, uint64_t after);
    /* One feeder at a time for what several processes could feed: takes, or keeps, the lease of that name. *held
     * false: another has it. A local store that one process owns always grants it. Released by close, or when the
     * process dies. */
    int (*lease)(void *self, const char *name, bool *held, braid_error *err);
    /* 0 if never set, or if set in another life of this database (restored, failed over: another epoch). */
    int (*cursor_get)(void *self, const char *name, uint64_t *lsn, braid_error *err);
    int (*info)(void *self, record_info *out, braid_error *err);
    /* "ok" or what is wrong. deep: integrity_check, else quick_check; also: every row has its log row's LSN order,
     * every relation's ends exist, every list of neighbours has the size of one. */
    int (*integrity)(void *self, bool deep, buf *out, braid_error *err);
    int (*checkpoint)(void *self, braid_error *err);
} record_ops;

typedef struct record_store record_store;

const record_ops *record_registry(size_t i);
const record_ops *record_find(const char *name);

/* The thin forwarder (record.c): argument checks, timing into the metrics, then the table; contracts as above. */
int record_open(const record_ops *ops, const record_options *options, record_store **out, braid_error *err);
void record_close(record_store *s);
const char *record_name(const record_store *s);
int record_write(record_store *s, record_change *changes, size_t n, record_write_flags flags, braid_error *err);
int record_get_item(record_store *s, const char *id, record_item_fn *each, void *ctx, braid_error *err);
int record_get_item_num(record_store *s, uint32_t num, record_item_fn *each, void *ctx, braid_error *err);
int record_get_items(record_store *s, const uint32_t *nums, size_t n, bool with_vectors, record_item_fn *each,
                     void *ctx, braid_error *err);
int record_scan_items(record_store *s, uint32_t after_num, bool with_vectors, record_item_fn *each, void *ctx,
                      braid_error *err);
int record_list_items(record_store *s, const char *after_id, size_t limit, record_item_fn *each, void *ctx,
                      braid_error *err);
int record_item_vectors(record_store *s, uint32_t num,
                        bool (*each)(void *ctx, const char *name, const float *values, uint32_t dim), void *ctx,
                        braid_error *err);
int record_scan_relations(record_store *s, record_relation_fn *each, void *ctx, braid_error *err);
int record_item_relations(record_store *s, uint32_t num, record_relation_fn *each, void *ctx, braid_error *err);
int record_get_relations(record_store *s, const record_relation_key *keys, size_t n, record_relation_key_fn *each,
                         void *ctx, braid_error *err);
int record_list_relations(record_store *s, const char *after_key, size_t limit, record_relation_fn *each, void *ctx,
                          char **last_key, braid_error *err);
int record_get_user(record_store *s, const char *id, deadline until, record_text_fn *each, void *ctx, braid_error *err);
int record_list_users(record_store *s, const char *after_id, size_t limit, record_text_fn *each, void *ctx,
                      braid_error *err);
int record_user_interactions(record_store *s, const char *user, size_t limit, deadline until,
                             record_interaction_fn *each, void *ctx, braid_error *err);
int record_scan_interactions(record_store *s, uint64_t after_lsn, uint64_t upto_lsn, size_t limit,
                             record_interaction_fn *each, void *ctx, braid_error *err);
int record_user_policies(record_store *s, const char *agent, const char *user, record_policy_fn *each, void *ctx,
                         braid_error *err);
int record_get_policies(record_store *s, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                        record_policy_key_fn *each, void *ctx, braid_error *err);
int record_user_episodes(record_store *s, const char *user, size_t limit, record_episode_fn *each, void *ctx,
                         braid_error *err);
int record_similar_episodes(record_store *s, const char *agent, const float *vector, uint32_t dim, size_t k,
                            int64_t since, deadline until, record_similar_fn *each, void *ctx, braid_error *err);
int record_forget(record_store *s, const record_old *old, uint64_t *removed, braid_error *err);
int record_get_document(record_store *s, const char *kind, const char *id, record_document_fn *each, void *ctx,
                        braid_error *err);
int record_list_documents(record_store *s, const char *kind, const char *after_id, size_t limit,
                          record_document_fn *each, void *ctx, braid_error *err);
int record_get_slate(record_store *s, const char *id, record_slate_fn *each, void *ctx, braid_error *err);
int record_scan_slates(record_store *s, const char *agent, int64_t from, int64_t until_at, record_slate_fn *each,
                       void *ctx, braid_error *err);
int record_roll_up(record_store *s, int64_t since, braid_error *err);
int record_scan_hours(record_store *s, const char *agent, int64_t from, int64_t until_at, size_t limit,
                      record_hour_fn *each, void *ctx, braid_error *err);
int record_scan_stats(record_store *s, record_stats_fn *each, void *ctx, braid_error *err);
int record_scan_neighbours(record_store *s, const char *model, uint32_t after_num, record_neighbours_fn *each,
                           void *ctx, braid_error *err);
int record_item_neighbours(record_store *s, uint32_t num, record_neighbours_fn *each, void *ctx, braid_error *err);
int record_log_read(record_store *s, uint64_t after, unsigned kinds, size_t limit, arena *a, record_log_entry **out,
                    size_t *count, uint64_t *upto, braid_error *err);
void record_log_wait(record_store *s, uint64_t after, deadline until);
void record_log_wake(record_store *s);
int record_log_trim(record_store *s, uint64_t upto, braid_error *err);
uint64_t record_head(record_store *s);
uint64_t record_lag(record_store *s, uint64_t after);
int record_lease(record_store *s, const char *name, bool *held, braid_error *err);
unsigned record_caps_of(const record_store *s);
int record_cursor_get(record_store *s, const char *name, uint64_t *lsn, braid_error *err);
int record_get_info(record_store *s, record_info *out, braid_error *err);
int record_integrity(record_store *s, bool deep, buf *out, braid_error *err);
int record_checkpoint(record_store *s, braid_error *err);

/* ---- feed: one consumer of the change log (feed.c) ----
 * A thread that reads the log after its cursor, hands batches to `apply`, and moves on when apply has succeeded; after
 * an error it tries the same batch again with growing pauses (10 ms .. 1 s). Delivery is at least once and in LSN
 * order, so apply must be idempotent. */
typedef struct feed feed;
typedef struct feed_options {
    const char *name; /* of the consumer: a label in metrics and the name of its cursor */
    uint64_t start;   /* first LSN applied is start + 1 */
    unsigned pace_ms; /* pause after a batch while nobody waits, so that changes gather; default 2 */
    int nicer;        /* 0..19: a smaller share of a busy processor (base/turn.h) */
    size_t batch_max; /* log rows a batch, default 1,000 */
    unsigned kinds;   /* RECORD_MASK(...) of the rows that it wants; default all */
    /* Of a store that outlives this process: its cursor's name. The feed starts there, moves it after every batch,
     * and takes the lease of that name first. NULL: it starts at `start` */
    const char *cursor;
    bool own_cursor; /* apply moves the cursor itself, in one transaction with what it writes */
    /* With a cursor: called each time the lease is taken, with where the cursor stands; sets *start to where the
     * feed is to go on, having filled the store anew if the log does not reach back that far. NULL: goes on at the
     * cursor. */
    int (*begin)(void *ctx, uint64_t stored, uint64_t *start, braid_error *err);
    /* The log no longer reaches back to where the feed stands (others trimmed it, and this process was away for
     * long): makes the store anew from the records and sets *start to where the feed is to go on. NULL: it goes on
     * failing. */
    int (*anew)(void *ctx, uint64_t *start, braid_error *err);
    int (*apply)(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a, braid_error *err);
    void *ctx;
    const clock_ops *clock;
    metrics *metrics; /* feed_lag{consumer}, feed_applied_total, feed_errors_total */
    const logger *log;
} feed_options;
int feed_start(record_store *s, const feed_options *options, feed **out, braid_error *err);
void feed_stop(feed *f);                               /* after the batch in hand; NULL allowed */
uint64_t feed_applied(const feed *f);                  /* LSN up to which everything is applied */
bool feed_wait(feed *f, uint64_t lsn, deadline until); /* true once applied >= lsn */
const char *feed_name(const feed *f);
/* The last error of apply, BRAID_OK if the last batch succeeded. */
int feed_last_error(feed *f, braid_error *out);

#endif
