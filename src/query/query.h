/* query: request -> plan -> gather -> fuse -> personalise -> shape -> explain.
 *
 * The plan is read-only once made; what a run finds out (times, rows, which strand failed) lives in the run beside it,
 * so that EXPLAIN can print estimate next to actual. The planner asks stores for capabilities and prices, never for
 * names.
 *
 *   request.c      JSON -> query_request, with everything checked
 *   planner.c      five strategies priced, one chosen, with the reason
 *   executor.c     runs the plan's steps, in parallel where the plan says so, each with its share of the deadline
 *   fusion.c       normalises each strand and combines (weighted sum or reciprocal ranks)
 *   shaping.c      rights, seen, exclusions, diversity (MMR), k filled
 *   explanation.c  sentences from evidence, French and English
 *   answer.c       the answer as JSON
 *   programme.c    what editors and experimenters decided: rules.c, experiment.c
 *   slate_log.c    what an answer leaves behind for judging
 *   slate.c        what was shown under a recommendation_id: next pages and attribution */
#ifndef QUERY_H
#define QUERY_H

#include "base/base.h"
#include "cache/cache.h"
#include "catalogue/catalogue.h"
#include "embed/embed.h"
#include "graph/graph.h"
#include "judge/judge.h"
#include "model/model.h"
#include "policy/policy.h"
#include "record/record.h"
#include "vector/vector.h"

enum {
    QUERY_K_MAX = 1000,
    QUERY_EXCLUDE_MAX = 200000,
    QUERY_CANDIDATES_MAX = 10000,
    QUERY_DEADLINE_MS_MAX = 60000,
    QUERY_SLATE_MAX = 10000, /* items remembered under one recommendation_id over all its pages */
    QUERY_SEEDS_MAX = 16
};

typedef enum query_strategy {
    STRATEGY_AUTO,
    STRATEGY_VECTOR_ONLY,
    STRATEGY_GRAPH_ONLY,
    STRATEGY_HYBRID_PARALLEL,
    STRATEGY_HYBRID_SEQUENTIAL,
    STRATEGY_CACHED_ONLY,
    STRATEGY_COUNT
} query_strategy;
/* Who puts candidates in order. AUTO: the learned model where there is one and the person has a history, else the
 * strands as fused. The others are there to compare with. */
typedef enum query_ranker {
    RANKER_AUTO,
    RANKER_LEARNED,
    RANKER_TASTE, /* the learned one by what it knows of the person alone: nothing of audiences and ages */
    RANKER_FUSED,
    RANKER_POPULAR,    /* what most people chose */
    RANKER_NEIGHBOURS, /* cosine neighbours of the history */
    RANKER_EASE,       /* the exact dense item-item model */
    RANKER_THOMPSON,   /* posteriors of genres */
    RANKER_COUNT
} query_ranker;
const char *query_ranker_name(query_ranker r);
typedef enum query_fusion { FUSION_WEIGHTED, FUSION_RRF } query_fusion;
enum { STRAND_VECTOR, STRAND_GRAPH, STRAND_POLICY, STRAND_COUNT };

const char *query_strategy_name(query_strategy s);
const char *query_strand_name(int strand);

/* Rules of the editors and experiments, from their documents, held for answers to ask (programme.c). Thread-safe. */
typedef struct query_programme query_programme;
#define QUERY_RULE       "rule"
#define QUERY_EXPERIMENT "experiment"
/* Loads. On failure *out is to be closed all the same. */
int query_programme_open(record_store *record, metrics *m, const logger *log, query_programme **out, braid_error *err);
void query_programme_close(query_programme *p);
int query_programme_load(query_programme *p, braid_error *err); /* reads the documents anew */
/* Whether a document of that kind may be written. */
int query_document_check(const char *kind, const char *id, const json_t *json, braid_error *err);

/* The rooms that a query enters; borrowed. Lives as long as the database. */
typedef struct query_rooms {
    record_store *record;
    vector_store *vector;
    graph_store *graph;
    cache *cache;
    catalogue *catalogue;
    policy_profiles *profiles;
    policy_rows *policies;
    policy_agents *agents;
    policy_models *models;
    policy_patterns *patterns; /* NULL: answers lean on none */
    policy_people *people;
    embedder *embedder;
    query_programme *programme; /* NULL: none */
    pool *pool;
    const clock_ops *clock;
    metrics *metrics;
    const logger *log;
    model_limits limits;
    uint64_t epoch;
    const char *default_region; /* option rights.region; "" none */
    const char *default_lang;   /* "fr" or "en" */
    unsigned default_deadline_ms, slate_ttl_ms;
    unsigned result_ttl_ms, personal_ttl_ms; /* of answers for nobody in particular, and for a person; 0: not kept */
    unsigned ef_search;
    unsigned state_parts;            /* of a person's state, policy.h */
    double weights[2][STRAND_COUNT]; /* of a search, of a recommendation */
    bool
        /* most items carry the caller's own vectors: a lexical query text is of another space (noted in answers) */
        vectors_are_given;
    /* Waits until the derived stores hold the LSN; false if not in time. */
    bool (*wait)(void *ctx, uint64_t lsn, deadline until);
    bool (*near)(void *ctx, uint64_t lsn);    /* a wait for that LSN would be a short one */
    uint64_t (*applied)(void *ctx);           /* LSN that all derived stores hold */
    bool (*settled)(void *ctx, uint64_t lsn); /* every search that begins now sees what that LSN says */
    /* when a wait for the derived stores last succeeded (monotonic), 0 never; may be NULL */
    const _Atomic int64_t *caught_up_ns;
    void *ctx;
} query_rooms;

/* A question, parsed and checked. Memory belongs to its arena. */
typedef struct query_request {
    bool recommend;
    const char *text, *like;  /* NULL if absent */
    float *vector;            /* dim floats or NULL */
    const char *user, *agent; /* user "" if absent */
    const char *region, *device, *daypart, *mood, *session;
    int32_t age, tier; /* from context; "" / -1 if absent */
    int64_t at;        /* TIME_NONE: now */
    size_t k;
    const filter *filter;
    const char *filter_text; /* canonical */
    const char **exclude;
    size_t exclude_count;
    const char **candidates; /* NULL: every item; else only these */
    size_t candidate_count;
    query_ranker ranker;
    int64_t as_of; /* TIME_NONE: now; the moment whose popularity and ages rank. Rights are those of `at` */
    bool explore;  /* sample posteriors, or take their means */
    bool include_seen, use_cache, diversity_given, deadline_given;
    bool experiments, rules; /* false: take part in none; show what no editor has touched */
    query_strategy strategy;
    query_fusion fusion;
    double weights[STRAND_COUNT];
    bool weights_given;
    double diversity;
    unsigned deadline_ms;
    uint64_t min_lsn;
    const char *after; /* recommendation_id or NULL */
    const char *lang;
    bool seed_given;
    uint64_t seed;
    const char *canonical; /* the whole request but user and vector, in canonical form: the cache key's middle */
} query_request;

int query_request_parse(const query_rooms *rooms, bool recommend, const char *json, size_t len, arena *a,
                        query_request **out, braid_error *err);

typedef struct query_item { /* one line of an answer */
    const char *id, *title;
    uint32_t num;
    double score, strand[STRAND_COUNT];
    bool explored; /* stands here to learn, where another would have stood by its score */
    /* How likely this agent was to put this item at this place, given those above it (and what it knew); 1: certain.
     * 0: not known, which only ranker thompson brings. */
    double propensity;
    unsigned team; /* of an interleaved list: whose it is, 0 or 1 */
    bool forced;   /* a rule of the editors filled its place */
    const char **because;
    size_t because_count;
} query_item;

/* What one place of a list held and how it came about, for who judges policies by what followed. */
typedef struct query_place {
    uint32_t num;
    uint32_t position; /* 1.. over all pages of the answer */
    double propensity; /* as above */
    bool explored;
    double score; /* what the draw was made from */
    /* POLICY_FEATURE_COUNT of them, as it was ranked; NULL: it was not ranked by features, or is cached */
    const float *features;
} query_place;

typedef struct query_answer { /* memory belongs to the arena it was made in */
    const char *recommendation_id, *strategy, *degraded, *json;
    query_item *items;
    query_place *places; /* one an item */
    size_t count;
    const char *agent;    /* that answered: an experiment may have named another than the request */
    const judge_log *log; /* what is to be kept for judging; NULL: nothing */
} query_answer;

/* Runs a request. `a` belongs to the caller, is used by one thread, and holds the answer. */
int query_run(const query_rooms *rooms, const query_request *request, arena *a, query_answer **out, braid_error *err);
/* The plan alone, as JSON {"plan":{..}}. */
int query_explain(const query_rooms *rooms, const query_request *request, buf *out, braid_error *err);
/* JSON of the place an item had in a slate, for attribution, appended to `out`; false if the slate is not known (any
 * more) or was another person's. */
bool query_slate_attribution(const query_rooms *rooms, const char *recommendation_id, const char *user,
                             const char *item, buf *out);

/* LSN tokens: "EPOCH-LSN" in hex. Parsing refuses tokens of another database. */
void query_lsn_token(uint64_t epoch, uint64_t lsn, char out[40]);
int query_lsn_parse(uint64_t epoch, const char *token, uint64_t *lsn, braid_error *err);

#endif
