/* What the stages of one run share. Private to src/query. */
#ifndef QUERY_RUN_H
#define QUERY_RUN_H

#include "query/query.h"

enum { OVERFETCH = 3, GRAPH_WIDTH = 10, GRAPH_K_MAX = 4000, REASONS_MAX = 3, NOTES_MAX = 8, STEPS_MAX = 8 };

/* One strategy as the planner weighed it. */
typedef struct plan_option {
    query_strategy strategy;
    bool possible;
    double estimate_us;
    const char *why;
} plan_option;

/* Read-only once planned. */
typedef struct query_plan {
    query_strategy strategy;
    const char *reason;
    plan_option options[STRATEGY_COUNT];
    double estimate_us, vector_us, graph_us, policy_us;
    double vector_rows, graph_rows;
    const char *vector_method;
    size_t fetch;        /* candidates wanted from each strand */
    bool overlap;        /* the graph walk goes to a worker */
    bool overlap_policy; /* so does the loading of posteriors */
} query_plan;

/* A step as it went. */
typedef struct run_step {
    const char *name, *method;
    double estimate_us, actual_us, estimate_rows, rows;
} run_step;

/* A candidate on its way to the answer. */
typedef struct scored {
    uint32_t num;
    float raw[STRAND_COUNT]; /* each strand's own scale */
    bool has[STRAND_COUNT];
    double strand[STRAND_COUNT]; /* normalised */
    double fused, score;
    double affinity;
    uint32_t affinity_facet;
    const catalogue_card *card;
    const graph_hit *hit; /* NULL if the graph did not reach it */
    policy_score policy;
    const policy_leaning *leaning; /* a pattern that speaks for it; NULL: none */
    bool popular;                  /* came from the popular list */
    bool ranked; /* by what was learned, with this score; `because` spoke most for it, UINT32_MAX: none did */
    double learned;
    uint32_t because;
    const policy_candidate *described; /* what it was ranked by; NULL: nothing */
    double propensity;                 /* of standing where it stands (exploring.c) */
    bool explored;
    uint32_t draw;           /* its number in the draw */
    const struct rule *rule; /* of the editors, that speaks for it; NULL: none */
    bool forced;             /* a rule filled its place */
} scored;

/* The experiment that a request takes part in, and its arm (programme.h); experiment NULL: none. */
typedef struct experiment_place {
    const struct experiment *experiment;
    size_t arm;
} experiment_place;

typedef struct query_run_state {
    const query_rooms *rooms;
    const query_request *rq;
    arena *a;
    int64_t started_ns, now_ms;
    deadline until;        /* of the answer */
    deadline gather_until; /* of the stores: what is left is for fusing, shaping and explaining */
    char recommendation_id[40];
    uint64_t seed;

    const policy_profile *profile;  /* NULL without a user */
    const policy_model_set *models; /* NULL: nothing was learned */
    policy_lean *lean;              /* what patterns add to facets; NULL: nothing */
    bool ranked;                    /* candidates are in the order of a ranker, not of the fused strands */
    viewer_rights rights;
    policy_state state;
    agent_settings agent;              /* how it ranks and explores */
    const policy_belief *belief;       /* what candidates were ranked by; NULL: they were not ranked by features */
    const struct programme *programme; /* of editors and experimenters; NULL: none */
    const char *asked_agent;           /* of the request, whatever an experiment makes of it */
    experiment_place experiment;
    bool interleaved;        /* the list is one of two rankings */
    struct rules_run *rules; /* that concern this run; NULL: none */
    bool cold;
    policy_session_item *session; /* what they did in it, newest first */
    size_t session_count;

    const filter *where; /* of the request and the person, NULL: none; `allow` is that and more */
    bitset allow;
    uint64_t total, filter_matches, rights_left, allow_count;
    bool filtered;

    float *vector;           /* what to search near, or NULL */
    const char *vector_from; /* "text", "vector", "like", "taste" */
    uint32_t *seeds;
    float *seed_weights;
    size_t seed_count;
    uint32_t like_num; /* UINT32_MAX: none */

    query_plan plan;
    struct policy_load *policy_load; /* under way, or done; NULL: not begun */
    run_step steps[STEPS_MAX];
    size_t step_count;
    double us_plan, us_gather, us_vector, us_graph, us_policy, us_fuse, us_personalise, us_shape, us_explain, us_total;

    scored *items;
    size_t count, cap;
    size_t considered;          /* candidates in order, of which the first `count` are shown */
    uint32_t *slots, slot_mask; /* positions of candidates + 1, by hashed number */
    const char *notes[NOTES_MAX];
    size_t note_count;
    const char *degraded[8];
    size_t degraded_count;
    const char *unfilled; /* why fewer than k */
    const uint32_t *shown;
    size_t shown_count; /* by the pages before */
    bool cached;
    uint64_t content;  /* fingerprint of the catalogue when the run began */
    bool settled;      /* every store held that then */
    bool cache_leased; /* others wait for this answer */
} query_run_state;

void run_note(query_run_state *q, const char *text);
void run_degraded(query_run_state *q, const char *what);
run_step *run_step_add(query_run_state *q, const char *name, const char *method, double estimate_us,
                       double estimate_rows);
double run_elapsed_us(const query_run_state *q, int64_t since_ns);

/* scope.c: who asks, what may be shown, where to start from */
int scope_make(query_run_state *q, braid_error *err);
void scope_release(query_run_state *q);
/* planner.c */
int planner_choose(query_run_state *q, braid_error *err);
/* executor.c */
int executor_gather(query_run_state *q, braid_error *err);
/* The candidate of that number, added if it is not there; NULL when there is no more room. */
scored *candidate_of(query_run_state *q, uint32_t num);
/* The same, without adding: NULL if it is not there. */
const scored *candidate_find(const query_run_state *q, uint32_t num);
/* Sets `ranked` of all candidates; drops those that are not. */
void candidates_mark(query_run_state *q, bool ranked);
void candidates_keep_ranked(query_run_state *q);
/* learned.c */
bool learned_wanted(const query_run_state *q);
size_t learned_room(const query_run_state *q); /* candidates that it may add */
int learned_gather(query_run_state *q, braid_error *err);
/* executor_policy.c: the posteriors of one answer, loaded on a worker where that pays */
bool policy_load_begin(query_run_state *q, bool on_worker); /* false: no memory */
/* Waits for it; the scorer, or NULL and the answer goes without that strand. */
policy_scorer *policy_load_take(query_run_state *q, int *rc);
void policy_load_release(query_run_state *q);
/* fusion.c */
void fusion_combine(query_run_state *q);
/* shaping.c */
int shaping_personalise(query_run_state *q, braid_error *err);
int shaping_select(query_run_state *q, braid_error *err);
/* exploring.c: the places of a list that are given away to learn */
typedef struct exploring exploring;
/* Over all candidates, in their order; *out NULL: this answer does not explore. */
int exploring_begin(query_run_state *q, size_t slots, exploring **out, braid_error *err);
/* Who takes the place: an index into the candidates from `picked` on, of which `best` would have it by score. Sets its
 * propensity. */
size_t exploring_pick(query_run_state *q, exploring *x, size_t picked, size_t best);
/* The candidate at that index takes a place without a draw. */
void exploring_take(const query_run_state *q, exploring *x, size_t at);
/* explanation.c */
int explanation_write(query_run_state *q, query_item *items, braid_error *err);
/* answer.c */
int answer_print(query_run_state *q, const query_item *items, size_t count, uint64_t lsn, buf *out);
void plan_print(const query_run_state *q, buf *out);
/* slate.c */
int slate_load(query_run_state *q, braid_error *err);
void slate_keep(query_run_state *q, const query_item *items, size_t count);
/* slate_log.c: NULL where nothing is to be kept for judging */
const judge_log *slate_log_of(query_run_state *q, const query_item *items, size_t count);
/* result_cache.c */
bool result_cache_get(query_run_state *q, query_item **items, size_t *count);
void result_cache_put(query_run_state *q, const query_item *items, size_t count);
/* A cache is asked to save time: a call to it gets a small share of what is left of the run. */
deadline result_cache_until(const query_run_state *q);

#endif
