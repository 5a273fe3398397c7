/* braid.h: what should this person watch next, and why?
 *
 * Braid weaves three strands into one ranked, explained answer: vectors (what is like it), graph (what is connected to
 * it) and policy (what works for this person). This header is the whole public interface and its manual; what is not
 * here is not API. The HTTP server and the command line are written on nothing else.
 *
 * In one breath
 *
 *     braid_db *db; braid_query *q; braid_result *r; braid_report *w; braid_error err = {0};
 *     braid_open("films.db", NULL, &db, &err);
 *     braid_write(db, ndjson, ndjson_len, NULL, &w, &err);                     // items, relations, users, interactions
 *     braid_query_new(db, BRAID_RECOMMEND, "{\"user\":\"ana\",\"k\":5}", 0, &q, &err);
 *     braid_run(db, q, &r, &err);
 *     for (size_t i = 0; i < braid_result_count(r); i++) { braid_hit h; braid_result_hit(r, i, &h); puts(h.title); }
 *     braid_result_free(r); braid_query_free(q); braid_report_free(w); braid_close(db);
 *
 * examples/hello.c is this, complete; the tests build and run it.
 *
 * Words
 *   item         a film, a series, a documentary: what can be recommended.
 *   relation     a typed, directed edge between two items with a strength in 0..1.
 *   interaction  what a person did with an item; it becomes a reward in 0..1 and moves that person's policy.
 *   strand       one source of evidence: vector, graph or policy.
 *   LSN          the number of a change in the change log. Callers see an opaque token ("lsn") that orders writes of one
 *                database: give it back as "min_lsn" to read your own writes.
 *   facet        a value that many items share: a genre, theme, mood, context, person.
 *
 * Requests and answers are JSON text (UTF-8), the same text over C, HTTP and the command line; docs/api.md holds every
 * field. A query is parsed once (braid_query_new) and may be run many times; what changes from run to run can be bound
 * without JSON (braid_query_bind_*). Results have typed accessors besides their JSON.
 *
 * Rules that hold for every function
 *   - Returns BRAID_OK (0) or a negative braid_code, and fills `err` (may be NULL) on failure.
 *   - Failure leaves nothing behind: out-pointers are NULL, nothing needs freeing.
 *   - A braid_db may be used from any number of threads at once. A query, result, report or options object belongs to
 *     one thread at a time; a query may be run by one thread at a time.
 *   - Strings that go in are copied where they are kept. `len` 0 with a non-NULL text means "NUL-terminated".
 *   - Text that comes out through `char **` belongs to the caller: braid_free(). Text inside a result or report is
 *     borrowed and lives until that object is freed.
 *   - An acknowledged write is on stable storage before the call returns; it survives kill -9 and power loss.
 *
 * Caveats, and what to do
 *   - One process at a time opens a database file for writing (a lock file tells a second one BRAID_E_LOCKED). Let others talk to
 *     `braid serve`.
 *   - The vector dimension is fixed when the file is created (option vector.dimension). Another dimension
 *     means another file: braid export | braid load.
 *   - The side files FILE-wal, FILE-shm belong to the database: copy them with it, or copy after braid_close(). FILE-hnsw
 *     is a cache of the vector index and may be deleted at any time; the next start builds it again.
 *   - Text search here is lexical (hashed words and character n-grams), not semantic: give vectors of your own encoder
 *     for meaning.
 */
#ifndef BRAID_H
#define BRAID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "braid_error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BRAID_VERSION "0.1.0"
#define BRAID_API     __attribute__((visibility("default")))

typedef struct braid_options braid_options; /* settings, before open */
typedef struct braid_db braid_db;           /* an open database */
typedef struct braid_report braid_report;   /* what a write did */
typedef struct braid_query braid_query;     /* a parsed question */
typedef struct braid_result braid_result;   /* an answer */

/* The version of the library that is linked (BRAID_VERSION is that of the header). Static text. */
BRAID_API const char *braid_version(void);

/* Frees text that a braid function handed out through `char **`. NULL is allowed. */
BRAID_API void braid_free(void *text);

/* ---------------------------------------------------------------------------------------------------- errors
 * -------- */

/* The name of a code ("NOT_FOUND"; "OK" for 0), its sentence, HTTP status and exit code of the command line. Static
 * text; an unknown code gives those of BRAID_E_INTERNAL. */
BRAID_API const char *braid_error_name(int code);
BRAID_API const char *braid_error_sentence(int code);
BRAID_API int braid_error_http_status(int code);
BRAID_API int braid_error_exit_code(int code);

/* ---------------------------------------------------------------------------------------------------- options
 * ------- */

/* One table of options feeds braid.yaml, the environment (BRAID__SECTION__KEY), the flags, --help, the sample
 * configuration and `braid info`. Later calls override earlier ones; the customary order is file, environment,
 * flags. */

typedef enum braid_option_type {
    BRAID_OPT_STRING,
    BRAID_OPT_INT,
    BRAID_OPT_REAL,
    BRAID_OPT_BOOL,
    BRAID_OPT_ENUM,
    BRAID_OPT_SECRET /* text that is never printed and has no flag */
} braid_option_type;

/* One row of the table; all text is static. */
typedef struct braid_option_row {
    const char *section, *name; /* "server", "listen": server.listen, --listen, BRAID__SERVER__LISTEN */
    braid_option_type type;
    const char *default_value; /* as text */
    double min, max;           /* range of INT and REAL */
    const char *choices;       /* ENUM: "a|b|c"; else NULL */
    /* the command-line flag without dashes, "listen"; unique over the table; "" of a secret */
    const char *flag;
    const char *help; /* one sentence with unit */
} braid_option_row;

/* The i-th row, or NULL past the end. */
BRAID_API const braid_option_row *braid_option_at(size_t i);

BRAID_API int braid_options_new(braid_options **out, braid_error *err); /* all defaults */
BRAID_API void braid_options_free(braid_options *options);
/* Reads a YAML file of sections and scalars. NOT_FOUND if it is not there; UNKNOWN_FIELD names an unknown key with its
 * line. */
BRAID_API int braid_options_load_file(braid_options *options, const char *path, braid_error *err);
/* Reads every BRAID__SECTION__KEY of the environment; an unknown one is an error, so that a typing slip is seen. */
BRAID_API int braid_options_load_env(braid_options *options, braid_error *err);
/* Sets "section.name" from text; INVALID with the permitted range if the value does not fit. */
BRAID_API int braid_options_set(braid_options *options, const char *key, const char *value, braid_error *err);
/* Reads a value back; the key must be in the table. Text is borrowed until the next set. A secret that is set reads as
 * "...". */
BRAID_API const char *braid_options_get(const braid_options *options, const char *key);
BRAID_API int64_t braid_options_get_int(const braid_options *options, const char *key);
BRAID_API double braid_options_get_real(const braid_options *options, const char *key);
BRAID_API bool braid_options_get_bool(const braid_options *options, const char *key);
/* The whole table as a commented braid.yaml with the values of `options` (NULL: the defaults). */
BRAID_API int braid_options_sample(const braid_options *options, char **yaml, braid_error *err);

/* ---------------------------------------------------------------------------------------------------- life cycle
 * ---- */

/* Opens the database file `path`, creating it if it is not there (unless option record.create is false), rebuilds what
 * is missing of the derived stores and returns when they can answer. `options` may be NULL for the defaults; they are
 * copied. Errors: NOT_A_DATABASE, NEWER_FORMAT (the file is left untouched), CORRUPT, READ_ONLY, LOCKED, DISK_FULL, IO,
 * DIMENSION (option given and different from the file's). */
BRAID_API int braid_open(const char *path, const braid_options *options, braid_db **db, braid_error *err);

/* Opens the record store alone (`path` as above; a server, if option record.store names one), creates its schema or
 * brings it up to date, and closes it. *json says what was made, {"store":..,"where":..,"schema":6,"steps":[{"step":6,
 * "name":".."}]}: no steps if it was up to date. braid_open() does the same by itself. Errors: as braid_open. */
BRAID_API int braid_migrate_schema(const char *path, const braid_options *options, char **json, braid_error *err);

/* Stops the feeds, saves the index and closes. No other call may be running on `db`, or begin. NULL is allowed. */
BRAID_API void braid_close(braid_db *db);

/* Dimension of the vectors of this database. */
BRAID_API uint32_t braid_dimension(const braid_db *db);

/* ---------------------------------------------------------------------------------------------------- writing
 * ------- */

/* What a line may be when it does not say so itself. */
typedef enum braid_line_kind {
    BRAID_LINE_ITEM,        /* a bare object is an item */
    BRAID_LINE_INTERACTION, /* a bare object is an interaction */
    BRAID_LINE_RELATION,    /* a bare object is a relation */
    BRAID_LINE_USER,        /* a bare object is a user */
    BRAID_LINE_EPISODE      /* a bare object is an episode */
} braid_line_kind;

typedef struct braid_write_options {
    braid_line_kind bare; /* what an unwrapped object is; default item */
    /* for a whole call of interactions or episodes: a repeat with the same key changes nothing; or NULL */
    const char *idempotency_key;
    size_t first_line; /* number of the first line, for reports of a stream sent in pieces; default 1 */
    /* Interactions alone: acknowledged once they are checked, durable within about 100 ms. A crash takes what waits
     * (metric interactions_waiting), the token covers none of them, the next answer may not know them yet, and a
     * repeated key is told only later. BUSY when too many wait (option record.queue). */
    bool queued;
} braid_write_options;

/* Writes one JSON object, an array of objects, or NDJSON (an object a line): the one stream format. Each element is a
 * bare object (see `bare`) or one of
 *   {"item":{..}} {"relation":{..}} {"user":{..}} {"interaction":{..}} {"episode":{..}}
 *   {"delete":{"item":"ID"}} {"delete":{"user":"ID"}} {"delete":{"relation":{"from":..,"to":..,"type":..}}}
 * Good elements are written, in order, each in the transaction of its change-log row; bad ones are named in the
 * report by line. A put replaces the whole item or user. An interaction makes an episode by itself; one that is
 * given was an agent's own, is kept as it is (nothing is learned from it by itself), and moves no token. Returns
 * BRAID_OK when the call as a whole made sense, even if every element was refused; an error only if nothing could be
 * written (READ_ONLY, DISK_FULL, IO, TOO_LARGE, CLOSED ...), and then it says nothing of earlier calls. Durable on
 * return, but for `queued`. */
BRAID_API int braid_write(braid_db *db, const char *text, size_t len, const braid_write_options *options,
                          braid_report **report, braid_error *err);

typedef struct braid_rejection {
    size_t line;         /* 1-based line of NDJSON or element of an array */
    int code;            /* braid_code */
    const char *message; /* borrowed from the report */
} braid_rejection;

BRAID_API size_t braid_report_accepted(const braid_report *report);   /* written or already there (a repeated key) */
BRAID_API size_t braid_report_duplicates(const braid_report *report); /* of these: repeats that changed nothing */
BRAID_API size_t braid_report_rejected(const braid_report *report);   /* all of them */
/* The i-th rejection; only the first 1,000 are kept in detail. NOT_FOUND past that. */
BRAID_API int braid_report_rejection(const braid_report *report, size_t i, braid_rejection *out);
BRAID_API const char *braid_report_lsn(const braid_report *report); /* token of the last change */
BRAID_API const char *braid_report_json(
    const braid_report *report); /* {accepted, duplicates, rejected:[{line,code,error}], lsn} */
BRAID_API void braid_report_free(braid_report *report);

/* ---------------------------------------------------------------------------------------------------- asking
 * -------- */

typedef enum braid_question { BRAID_SEARCH, BRAID_RECOMMEND } braid_question;

/* Parses a request (docs/api.md). Unknown fields, fields that contradict each other, k = 0, a filter on a field that
 * does not exist, a vector of the wrong dimension or with NaN are refused here. */
BRAID_API int braid_query_new(braid_db *db, braid_question question, const char *json, size_t len, braid_query **query,
                              braid_error *err);
/* Replaces the request's vector (`n` floats, copied) or user before the next run, without JSON. */
BRAID_API int braid_query_bind_vector(braid_query *query, const float *vector, size_t n, braid_error *err);
BRAID_API int braid_query_bind_user(braid_query *query, const char *user, braid_error *err);
BRAID_API void braid_query_free(braid_query *query);

/* Answers. Never later than the request's deadline_ms by more than scheduling noise: a strand that is late or failing
 * is left out and named in `degraded`. */
BRAID_API int braid_run(braid_db *db, braid_query *query, braid_result **result, braid_error *err);

/* The plan that braid_run would choose, with its estimates, as JSON; nothing is run. */
BRAID_API int braid_explain(braid_db *db, braid_query *query, char **json, braid_error *err);

enum { BRAID_STRAND_VECTOR, BRAID_STRAND_GRAPH, BRAID_STRAND_POLICY, BRAID_STRANDS };

typedef struct braid_hit {
    const char *id, *title;       /* borrowed from the result */
    double score;                 /* fused; comparable within one answer only */
    double strand[BRAID_STRANDS]; /* each normalised to 0..1 within the answer; 0 if the strand knew nothing of it */
    size_t because_count;
    const char *const *because; /* sentences from real evidence */
} braid_hit;

BRAID_API size_t braid_result_count(const braid_result *result);
BRAID_API int braid_result_hit(const braid_result *result, size_t i, braid_hit *hit); /* NOT_FOUND past the end */
BRAID_API const char *braid_result_id(const braid_result *result);                    /* recommendation_id */
BRAID_API const char *braid_result_strategy(const braid_result *result);              /* "hybrid_parallel" ... */
BRAID_API const char *braid_result_degraded(const braid_result *result); /* "" or the missing stores, comma-separated */
BRAID_API const char *braid_result_json(const braid_result *result);     /* the whole answer, see docs/api.md */
BRAID_API void braid_result_free(braid_result *result);

/* ---------------------------------------------------------------------------------------------------- reading
 * ------- */

/* Each hands out JSON text to be freed with braid_free(). NOT_FOUND for an id that is not there. */
BRAID_API int braid_get_item(braid_db *db, const char *id, char **json, braid_error *err);
/* Items in id order after `after` (NULL: from the start), at most `limit` (1..1000); with `q`, those whose title or
 * original title holds its words, accents and case folded. {"items":[..],"next":"ID"|null} */
BRAID_API int braid_list_items(braid_db *db, const char *after, size_t limit, const char *q, char **json,
                               braid_error *err);
/* Items reached over the graph: depth 1..3, score (1/depth) x connections. `learned`: those that speak for it in
 * what was learned from people (of an item that nobody has chosen yet: those most like it), strongest first, at most
 * 50. {"results":[{id,title,score,depth,connections,via}],"learned":[{id,title,strength,model,at}]} */
BRAID_API int braid_similar(braid_db *db, const char *id, size_t k, unsigned depth, char **json, braid_error *err);
/* The neighbourhood to draw: {"center":id,"nodes":[{id,label,kind}],"edges":[{from,to,type,strength}]} */
BRAID_API int braid_graph(braid_db *db, const char *id, char **json, braid_error *err);
BRAID_API int braid_get_user(braid_db *db, const char *id, char **json, braid_error *err);
BRAID_API int braid_list_users(braid_db *db, const char *after, size_t limit, char **json, braid_error *err);
/* Posteriors per state and action; answers draw from a normal distribution about the mean, `spread` wide (one standard
 * deviation): {"user":id,"policies":[{agent,state,state_hash,actions:[{action,mean,variance,count,spread}]}]} */
BRAID_API int braid_user_policy(braid_db *db, const char *id, char **json, braid_error *err);
/* What an agent believes of a person (NULL: of everybody) in a situation (JSON {"daypart","device","mood","region",
 * "taste"}; NULL: that of no context; where taste is a part of states and is not named: the person's own), as answers
 * would use it:
 * {"agent","user","state","learner","choices","weights":[{feature,weight,spread,own}],
 * "actions":[{action,mean,variance,count,nearest}]}. `own` is what the person adds to a weight, `spread` how surely
 * it is known (null: learner softmax keeps none), `nearest` the level of which the action's own figures are. */
BRAID_API int braid_policy_show(braid_db *db, const char *agent, const char *user, const char *context, char **json,
                                braid_error *err);
/* The rows behind that, whole, to be kept or put back: {"format","database","agent","user","policies":[..]}. */
BRAID_API int braid_policy_export(braid_db *db, const char *agent, const char *user, char **json, braid_error *err);
/* Puts such rows back: {"written":n,"stale":[states]}. Stale are rows that know less than what is stored (of another
 * database: all of which something is stored); they stay as they are unless `force`. INVALID before anything is
 * written, NOT_FOUND when nothing is known of the person. */
BRAID_API int braid_policy_import(braid_db *db, const char *json, size_t len, bool force, char **report,
                                  braid_error *err);
/* Everything that is known of a person. */
BRAID_API int braid_user_export(braid_db *db, const char *id, char **json, braid_error *err);
/* The latest episodes of a person, newest first, at most `limit` (1..1000):
 * {"user","episodes":[{agent,session,state,action,reward,done,at}]}. Nothing known is an empty list. */
BRAID_API int braid_user_episodes(braid_db *db, const char *id, size_t limit, char **json, braid_error *err);
/* Episodes whose states were like a given one, by cosine, best first. `request`: {"vector":[..]} or {"user"} (the
 * newest state of theirs that has a vector; NOT_FOUND when there is none), "agent" (only its episodes), "k" 1..1000
 * (10), "since" (RFC 3339), "deadline_ms" (1000).
 * {"episodes":[{similarity,user,agent,session,state,action,reward,done,at}],"partial":bool}; partial: the deadline
 * came first, and these are the best of those that were looked at. */
BRAID_API int braid_similar_episodes(braid_db *db, const char *request, size_t len, char **json, braid_error *err);
/* A page of the database as NDJSON that braid_write takes back: users, items, relations, interactions in turn; not what
 * was learned from them, nor documents and slates.
 * `cursor` NULL begins; *next is NULL after the last page, else freed by the caller. A page holds at most `limit`
 * lines. */
BRAID_API int braid_export(braid_db *db, const char *cursor, size_t limit, char **ndjson, char **next,
                           braid_error *err);

/* ---------------------------------------------------------------------------------------------------- deciding
 * ------ */

/* Documents: what people decide about how Braid answers. `kind` is "rule" (pins, boosts and quotas of the editors),
 * "experiment" (arms that people are in, or two rankings in one list) or "agent" (how an agent ranks and explores;
 * one that was never written reads as the defaults, with version 0); docs/api.md shows their fields. Each is one
 * JSON object with a name. Reading gives it with "id" and "version"; writing one that carries a "version" replaces
 * that one and no other, else CONFLICT ("version":0: there must be none yet). What is written is in force when the
 * call returns, here, and within seconds on other servers of the database. A write answers {"id","version","lsn"}. */
BRAID_API int braid_put_document(braid_db *db, const char *kind, const char *id, const char *json, size_t len,
                                 char **report, braid_error *err);
BRAID_API int braid_get_document(braid_db *db, const char *kind, const char *id, char **json, braid_error *err);
/* In id order after `after` (NULL: from the start), at most `limit` (1..1000). {"rules":[..],"next":"ID"|null} */
BRAID_API int braid_list_documents(braid_db *db, const char *kind, const char *after, size_t limit, char **json,
                                   braid_error *err);
BRAID_API int braid_delete_document(braid_db *db, const char *kind, const char *id, char **report, braid_error *err);

/* How an experiment stands: what each arm earned a list, the difference to the first with an interval that holds
 * however often somebody looks, a verdict.
 * {"id","status","slates","arms":[{"arm","people","slates","reward","difference":{value,low,high},"p",
 * "decided","verdict"}]}; of an interleaved one "duel":{ARM: lists won, .., "ties","share","p","decided","verdict"}. */
BRAID_API int braid_experiment_standing(braid_db *db, const char *id, char **json, braid_error *err);

/* What another policy would have earned on past recommendations, from what was kept of them (options slates.*): IPS,
 * SNIPS and doubly robust estimates of the reward of a list's first `places`, with 95 % intervals. `request`:
 * {"policy":"learned"|"taste"|"popular"|{"agent":..}|{"weights":{FEATURE:x},"explore":0.1,"temperature":1},"agent","from","until",
 * "places","model":"cascade"|"position"}.
 * {"slates","people","logged":{value,low,high},"ips","snips","dr","effective","warnings":[..]} */
BRAID_API int braid_evaluate(braid_db *db, const char *request, size_t len, char **json, braid_error *err);

/* ---------------------------------------------------------------------------------------------------- state
 * --------- */

/* Sections "server", "options", "record", "feed", "vector", "graph", "catalogue", "cache", "policy", "learn",
 * "memory"; NULL or "" for all. */
BRAID_API int braid_info(braid_db *db, const char *section, char **json, braid_error *err);
/* Prometheus text exposition 0.0.4. */
BRAID_API int braid_metrics(braid_db *db, char **text, braid_error *err);
/* What agents did hour by hour (`agent` NULL: all), from <= hour < until (RFC 3339; NULL: of the last week, and
 * without end), the first 10,000. A file is counted up to now, a server once an hour and soon after opening; what
 * comes late is counted in its own hour. {"hours":[{hour,agent,slates,episodes,finished,reward_sum,reward_mean,
 * places,explored,explored_share}]}: of the places of the slates, those that were given away to learn;
 * reward_mean null where there was no episode, explored_share where there was no place. */
BRAID_API int braid_hours(braid_db *db, const char *agent, const char *from, const char *until, char **json,
                          braid_error *err);
/* Counts what the faces above see, so that it appears in braid_metrics: name like "http_requests", label text like
 * "route=\"/v1/search\",status=\"200\"" or "", and microseconds for the histogram NAME_duration_seconds (negative: only
 * count). */
BRAID_API void braid_observe(braid_db *db, const char *name, const char *labels, double microseconds);
/* BRAID_OK when every store answers and the feed's lag is below option feed.ready_lag; else UNAVAILABLE with the
 * reason. */
BRAID_API int braid_ready(braid_db *db, braid_error *err);
/* Waits until every derived store has applied `lsn` (a token; NULL: all that is written so far). DEADLINE if not in
 * time, CORRUPT if a store cannot follow because the file is damaged. */
BRAID_API int braid_wait(braid_db *db, const char *lsn, unsigned timeout_ms, braid_error *err);
/* Saves the vector index beside the file and trims the change log. */
BRAID_API int braid_checkpoint(braid_db *db, braid_error *err);

/* Progress of long work: called now and then from the calling thread; return false to stop (the call then returns
 * BRAID_E_CLOSED and has left nothing broken). `total` 0 if unknown. */
typedef bool braid_progress(void *ctx, const char *phase, uint64_t done, uint64_t total);

/* Compares every derived store with the record store, by key and content; with `repair`, feeds again what differs.
 *
 * {"ok":bool,"stores":[{"role":"catalogue|vector|graph","store","missing","extra","different","repaired","examples":[..]}],"record":{"integrity":"ok"}} */
BRAID_API int braid_verify(braid_db *db, bool repair, braid_progress *progress, void *ctx, char **json,
                           braid_error *err);
/* Makes a derived store anew from the record store: "vector", "graph" or "cache" (which is emptied). It answers from
 * what is there while it fills. LOCKED when another server feeds the store. {"store","items","relations","seconds"} */
BRAID_API int braid_rebuild(braid_db *db, const char *store, braid_progress *progress, void *ctx, char **json,
                            braid_error *err);
/* Learns from what people did, and ranks by it from then on; answers go on meanwhile. `what`: "similar" (which items
 * speak for which: the item-item models), "refresh" (these, of the items that anybody with something new has ever
 * chosen, and of new items; all of them when that is more than a quarter, or somebody was deleted), "patterns" (what
 * many people do more often than chance has it, see braid_patterns) or "all" (the models, the weights of the ranking
 * and, with option learn.patterns, patterns). Everything is written to the record store; doing it again replaces it.
 * BUSY while this process learns already, LOCKED while another server of the database does, CLOSED when `progress`
 * stopped it.
 * {"models":[{"model":"slim","edges","seconds"}],"patterns":{"people","sample","kinds":[{"kind","found","tested"}]},
 * "interactions","users","items","moved","seconds","what","at"} */
BRAID_API int braid_learn(braid_db *db, const char *what, braid_progress *progress, void *ctx, char **json,
                          braid_error *err);
/* How learning stands: whether and how far it is under way in this process, what the last one of any server of the
 * database said (null: nothing was learned), how much was done since. It begins by itself when options learn.after
 * or learn.hours say so.
 * {"running","phase":"slim"|null,"done","total","new_interactions","automatic":{"after","hours"},"last":{..as
 * above..}|null} */
BRAID_API int braid_learners(braid_db *db, char **json, braid_error *err);
/* The patterns that were learned; answers lean on them a little and say so. `kind`: "genre_affinity" (people who
 * like "with" like "facet"), "user_preference" (people who like "facet" clearly more than everybody),
 * "seasonal_trend" ("facet" in its "month"), "mood_correlation" ("facet" in a "mood"); NULL: all. `user`: what this
 * person prefers, from their recent likings (NULL: everybody). "lift": times as often as without; "low": the bound
 * that it is above with 19 chances in 20; "confidence": the part of the effect below that bound, 0..1; "evidence":
 * likings, of so many "people". "learned" is null where nothing was looked for. NOT_FOUND for a user of whom nothing
 * is known. `limit`: 1..1000.
 * {"patterns":[{"kind","facet":"genres=drame","with"|"month","years"|"mood","lift","low","confidence","evidence","people","valid_from",
 * "valid_until"}],"learned":{"method","version","interactions","likings","people","sample","tested":{..},"at","from","until"}|null} */
BRAID_API int braid_patterns(braid_db *db, const char *kind, const char *user, size_t limit, char **json,
                             braid_error *err);
/* Measured thresholds turned into sentences: {"findings":[{"level":"ok|warn|fail","what","measured","mend"}]} */
BRAID_API int braid_doctor(braid_db *db, char **json, braid_error *err);

#ifdef __cplusplus
}
#endif
#endif
