/* Exploring: places of a list that are given away to learn, so many as the agent's budget allows.
 *
 * Only recommendations explore, by the agent's setting and unless the request says no; a ranker that is there to
 * compare with never does. The draw (policy/draw.c) takes place while the list is picked, place after place, so it is
 * held to the same rights and comes before nothing that could undo it; the propensity that it gives is that of what is
 * shown. A request's seed replays it. What is older than the agent's cut-off is not explored, nor what nobody knows the
 * age of; an item is as old as its window here, or else as the year it was made in.
 *
 * Whom a place goes to depends on the agent's learner: softmax draws by the final score; linucb and thompson by what
 * the model of the weights knows least of, so only from items that were ranked by features, and like softmax where
 * none were. */
#include <math.h>

#include "query/run.h"

static const uint64_t OWN_SEED = UINT64_C(0x6578706c6f726521); /* apart from what else the answer's seed draws */

/* of the weights, of which each answer draws anew; a chance is a multiple of what is left of 1 / SAMPLES */
enum { SAMPLES = 32 };

struct exploring {
    policy_draw *draw;
};

static bool wanted(const query_run_state *q) {
    const query_request *rq = q->rq;
    bool ours = rq->ranker == RANKER_AUTO || rq->ranker == RANKER_LEARNED || rq->ranker == RANKER_TASTE ||
                rq->ranker == RANKER_FUSED;
    return rq->recommend && rq->explore && ours && q->agent.budget > 0 && q->agent.strength > 0 && q->count > 1;
}

/* January 1st of a year is what a title of that year is at most as old as. */
static bool young(const query_run_state *q, const catalogue_card *c) {
    const double day_ms = 86400000.0;
    if (q->agent.age_days_max == 0) return true;
    if (c->available_from != TIME_NONE)
        return ((double)q->now_ms - (double)c->available_from) / day_ms <= q->agent.age_days_max;
    return c->year != 0 && (double)q->now_ms / day_ms - (c->year - 1970) * 365.2425 <= q->agent.age_days_max;
}

/* What each opinion makes of each candidate; 0 of them: the learner has none here. */
static size_t make_opinions(query_run_state *q, bool *may, double **value) {
    const policy_belief *b = q->belief;
    size_t described = 0, n = q->count, opinions = q->agent.learner == AGENT_THOMPSON ? SAMPLES : 1;
    for (size_t i = 0; i < n; i++) described += q->items[i].described != NULL;
    if (!b || described == 0 || q->agent.learner == AGENT_SOFTMAX) return 0;
    double *out = arena_calloc(q->a, opinions * n, sizeof *out), (*weights)[POLICY_FEATURE_COUNT] = NULL;
    if (q->agent.learner == AGENT_THOMPSON) {
        weights = arena_alloc(q->a, SAMPLES * sizeof *weights);
        if (weights) policy_linear_samples(&b->linear, q->agent.strength, SAMPLES, q->seed, weights);
    }
    if (!out || (q->agent.learner == AGENT_THOMPSON && !weights)) return 0; /* no memory: explore by score */
    for (size_t i = 0; i < n; i++) {
        const policy_candidate *c = q->items[i].described;
        may[i] = may[i] && c;
        for (size_t o = 0; c && o < opinions; o++) {
            double *to = &out[o * n + i];
            *to = q->items[i].learned;
            if (!weights) *to += q->agent.strength * policy_linear_width(&b->linear, c->x);
            /* The person's own part of the score is no sample: only the agent's weights are uncertain. */
            for (int f = 0; weights && f < POLICY_FEATURE_COUNT; f++)
                *to += (weights[o][f] - b->linear.mean[f]) * c->x[f];
        }
    }
    *value = out;
    return opinions;
}

int exploring_begin(query_run_state *q, size_t slots, exploring **out, braid_error *err) {
    *out = NULL;
    for (size_t i = 0; i < q->count; i++) q->items[i].propensity = 1;
    if (!wanted(q)) return BRAID_OK;
    exploring *x = arena_calloc(q->a, 1, sizeof *x);
    bool *may = arena_calloc(q->a, q->count, sizeof *may);
    double *value = arena_alloc(q->a, q->count * sizeof *value);
    if (!x || !may || !value) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for exploring");
    for (size_t i = 0; i < q->count; i++) {
        q->items[i].draw = (uint32_t)i;
        may[i] = young(q, q->items[i].card);
        value[i] = q->items[i].score;
    }
    size_t opinions = make_opinions(q, may, &value);
    policy_draw_options o = {.n = q->count,
                             .may = may,
                             .value = value,
                             .opinions = opinions,
                             .temperature = q->agent.strength,
                             .share = q->agent.budget,
                             .most = (size_t)lrint(q->agent.budget * (double)slots),
                             .seed = q->seed ^ OWN_SEED};
    int rc = policy_draw_new(&o, q->a, &x->draw, err);
    if (rc == BRAID_OK) *out = x;
    return rc;
}

void exploring_take(const query_run_state *q, exploring *x, size_t at) {
    policy_draw_take(x->draw, q->items[at].draw);
}

size_t exploring_pick(query_run_state *q, exploring *x, size_t picked, size_t best) {
    policy_drawn to = policy_draw_next(x->draw, q->items[best].draw);
    size_t at = best;
    for (size_t i = picked; to.explored && i < q->count; i++)
        if (q->items[i].draw == to.which) at = i;
    q->items[at].propensity = to.propensity;
    q->items[at].explored = to.explored;
    return at;
}
