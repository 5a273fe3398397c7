/* The planner: five strategies, priced from what the stores say now, one chosen, with the reason.
 *
 * Prices come from the stores' own estimates (live histograms, the index's size) and from the exact size of the allowed
 * set, never from constants. The rule is quality first: a strategy that weaves more strands is taken as long as it fits
 * into the deadline; between parallel and sequential the cheaper one wins where the allowed set is small: the
 * sequential walk and its scoring only ever see the few that vectors brought. */
#include <string.h>

#include "query/run.h"

/* Share of the deadline that a plan may be estimated to use: the rest is for fusing, shaping, explaining and bad
 * luck. */
static const double BUDGET_SHARE = 0.6;
/* Handing a job to a worker and back costs about this much; below it overlapping is a loss. */
static const double OVERLAP_US = 60;
/* Sequential asks the graph only about what vectors brought, so it can miss what only the graph would bring. Where less
 * than one in NARROW_SHARE items may be shown, vectors bring most of them anyway. */
enum { NARROW_SHARE = 4 };
/* A learned ranking tells more candidates apart than fused strands do. */
enum { LEARNED_FETCH = 100 };

static size_t fetch_width(const query_run_state *q) {
    size_t fetch = q->rq->k * OVERFETCH;
    if (q->rq->recommend && q->models && fetch < LEARNED_FETCH) fetch = LEARNED_FETCH;
    if (fetch > q->allow_count) fetch = q->allow_count;
    return fetch ? fetch : 1;
}

static void price(query_run_state *q, query_plan *p) {
    vector_cost v = {0};
    graph_cost g = {0};
    if (q->vector) vector_estimate(q->rooms->vector, p->fetch, q->rooms->ef_search, q->allow_count, q->filtered, &v);
    if (q->seed_count) graph_estimate(q->rooms->graph, q->seed_count, 2, &g);
    metric_histogram *h = metrics_histogram(q->rooms->metrics, "policy_load_duration_seconds", "",
                                            "Time to load the posteriors of one answer.");
    p->vector_us = v.microseconds;
    p->vector_rows = v.rows;
    p->vector_method = v.method ? v.method : "none";
    p->graph_us = g.microseconds;
    p->graph_rows = g.rows;
    p->policy_us = metric_quantile_us(h, 0.5, 10, 50);
}

static double max2(double a, double b) {
    return a > b ? a : b;
}

static void weigh(query_run_state *q, query_plan *p) {
    bool has_vector = q->vector != NULL, has_seeds = q->seed_count > 0;
    plan_option *o = p->options;
    double overlap = max2(p->vector_us, p->graph_us) + OVERLAP_US;
    double both = p->overlap ? overlap : p->vector_us + p->graph_us;
    double with_policy = p->overlap_policy ? max2(both, p->policy_us) + OVERLAP_US : both + p->policy_us;
    /* The sequential walk starts from the vector's best and is asked only about what vectors brought. */
    double narrow = q->total ? (double)q->allow_count / (double)q->total : 1;
    double sequential = p->vector_us + max2(p->graph_us, 20) * (0.3 + 0.7 * narrow) + p->policy_us;
    o[STRATEGY_VECTOR_ONLY] =
        (plan_option){STRATEGY_VECTOR_ONLY, has_vector, p->vector_us,
                      has_vector ? "only likeness; no graph, no policy" : "there is no vector to search near"};
    o[STRATEGY_GRAPH_ONLY] =
        (plan_option){STRATEGY_GRAPH_ONLY, has_seeds, p->graph_us,
                      has_seeds ? "only connections; no vector, no policy" : "there is no item to start a walk from"};
    o[STRATEGY_HYBRID_PARALLEL] = (plan_option){STRATEGY_HYBRID_PARALLEL, has_vector || has_seeds, with_policy,
                                                has_vector && has_seeds ? "all strands at once"
                                                : has_seeds             ? "graph and policy; no vector to search near"
                                                : has_vector ? "vector and policy; no item to start a walk from"
                                                             : "nothing to start from"};
    o[STRATEGY_HYBRID_SEQUENTIAL] =
        (plan_option){STRATEGY_HYBRID_SEQUENTIAL, has_vector, sequential,
                      has_vector ? "vectors first, the graph among what they brought, then policy"
                                 : "there is no vector to begin with"};
    o[STRATEGY_CACHED_ONLY] =
        (plan_option){STRATEGY_CACHED_ONLY, true, 5, "no store is asked: a cached answer or what is popular"};
}

static const char *reason_forced(query_run_state *q, query_strategy s) {
    if (!q->plan.options[s].possible) run_note(q, q->plan.options[s].why);
    return "the request asks for this strategy";
}

static query_strategy cheapest(const query_plan *p) {
    query_strategy best = STRATEGY_CACHED_ONLY;
    for (int s = STRATEGY_VECTOR_ONLY; s <= STRATEGY_GRAPH_ONLY; s++)
        if (p->options[s].possible &&
            (best == STRATEGY_CACHED_ONLY || p->options[s].estimate_us < p->options[best].estimate_us))
            best = (query_strategy)s;
    return best;
}

static query_strategy choose(query_run_state *q, query_plan *p, double budget_us) {
    const plan_option *par = &p->options[STRATEGY_HYBRID_PARALLEL], *seq = &p->options[STRATEGY_HYBRID_SEQUENTIAL];
    if (q->allow_count == 0) {
        p->reason = "nothing may be shown under this filter, these rights and exclusions; no store is asked";
        return STRATEGY_CACHED_ONLY;
    }
    if (!par->possible && !seq->possible) {
        p->reason = "there is nothing to search near and nothing to start a walk from";
        return STRATEGY_CACHED_ONLY;
    }
    /* A search of words for nobody in particular: the graph can only start from what the vectors find. */
    if (q->seed_count == 0 && seq->possible && seq->estimate_us <= budget_us) {
        p->reason = "no item to start a walk from, so vectors come first and the graph works on what they bring";
        return STRATEGY_HYBRID_SEQUENTIAL;
    }
    bool narrow = q->allow_count * NARROW_SHARE < q->total;
    if (narrow && seq->possible && seq->estimate_us < par->estimate_us && seq->estimate_us <= budget_us) {
        p->reason = "few items may be shown, so narrowing step by step is cheaper than asking all strands at once";
        return STRATEGY_HYBRID_SEQUENTIAL;
    }
    if (par->possible && par->estimate_us <= budget_us) {
        p->reason = "all strands fit into the deadline; asked at once, each brings candidates of its own";
        return STRATEGY_HYBRID_PARALLEL;
    }
    p->reason = "the deadline is too short for weaving strands; the cheapest single one answers";
    return cheapest(p);
}

int planner_choose(query_run_state *q, braid_error *err) {
    (void)err;
    query_plan *p = &q->plan;
    double left_us = (double)(q->until - clock_mono_ns(q->rooms->clock)) / 1000.0;
    p->fetch = fetch_width(q);
    price(q, p);
    p->overlap = q->vector && q->seed_count && p->graph_us > OVERLAP_US && p->vector_us > OVERLAP_US;
    p->overlap_policy = q->rq->user[0] && p->policy_us > OVERLAP_US;
    weigh(q, p);
    if (q->rq->strategy != STRATEGY_AUTO) {
        p->strategy = q->rq->strategy;
        p->reason = reason_forced(q, p->strategy);
    } else {
        p->strategy = choose(q, p, left_us * BUDGET_SHARE);
    }
    p->estimate_us = p->options[p->strategy].estimate_us;
    return BRAID_OK;
}
