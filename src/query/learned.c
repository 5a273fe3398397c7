/* Ranking by what was learned.
 *
 * Where models were fitted and the person has a history, the order comes from them and not from the fused strands: the
 * models' own candidates join those that the strands brought, all are described and ranked (policy_candidates), and the
 * best go on to be enriched, explained and shaped like any others. The strands' scores stay beside them: they are
 * evidence, and what an answer shows.
 *
 * When a request names candidates, these are ranked and no others, whatever the history.
 *
 * The simple rankers (popular, neighbours, ease, thompson) are there to compare with, over the same set and through the
 * same rules of rights and of what was seen. */
#include <stdlib.h>
#include <string.h>

#include "query/run.h"

enum { WIDTH = 200, KEEP = 5, KEEP_MIN = 60 };

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for candidates");
}

static bool has_history(const query_run_state *q) {
    return q->profile && q->profile->recent_count > 0;
}

static bool by_what_was_learned(const query_run_state *q) {
    return q->rq->ranker == RANKER_AUTO || q->rq->ranker == RANKER_LEARNED || q->rq->ranker == RANKER_TASTE;
}

bool learned_wanted(const query_run_state *q) {
    const query_request *rq = q->rq;
    bool woven = q->plan.strategy == STRATEGY_HYBRID_PARALLEL || q->plan.strategy == STRATEGY_HYBRID_SEQUENTIAL;
    if (!rq->recommend || !woven || q->allow_count == 0) return false;
    if (by_what_was_learned(q)) return q->models && (has_history(q) || rq->candidates);
    return rq->ranker != RANKER_FUSED;
}

/* ---- learned ---- */
static size_t room_for(const query_run_state *q) {
    size_t keep = q->rq->k * KEEP > KEEP_MIN ? q->rq->k * KEEP : KEEP_MIN;
    return q->rq->candidates && q->rq->candidate_count > keep ? q->rq->candidate_count : keep;
}

size_t learned_room(const query_run_state *q) {
    return learned_wanted(q) ? room_for(q) : 0;
}

static const policy_times *times_of(const query_run_state *q) {
    const policy_times *times = q->models && q->models->baselines ? q->models->baselines->times : NULL;
    return times && q->rq->as_of != TIME_NONE && policy_times_know(times, q->rq->as_of) ? times : NULL;
}

typedef struct placed {
    double score;
    const policy_candidate *c;
} placed;

static int by_score(const void *a, const void *b) {
    const placed *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->c->num < y->c->num ? -1 : x->c->num > y->c->num;
}

static int place(query_run_state *q, const policy_candidate *c, size_t n, placed **out) {
    placed *list = *out = arena_alloc(q->a, (n + 1) * sizeof *list);
    if (!list) return BRAID_E_NO_MEMORY;
    policy_belief *belief = arena_alloc(q->a, sizeof *belief);
    if (!belief) return BRAID_E_NO_MEMORY;
    policy_weights base = policy_weights_default();
    braid_error lost = {0};
    if (q->models) base = *q->models->weights;
    if (policy_belief_of(q->rooms->policies, &q->agent, q->rq->agent, q->rq->user, &base, q->gather_until, belief,
                         &lost) != BRAID_OK)
        run_degraded(q, record_name(q->rooms->record));
    q->belief = belief;
    bool fresh = policy_all_fresh(c, n);
    for (size_t i = 0; i < n; i++) list[i] = (placed){policy_rank(&belief->weights, fresh, &c[i]), &c[i]};
    qsort(list, n, sizeof *list, by_score);
    return BRAID_OK;
}

static int gather_learned(query_run_state *q, braid_error *err) {
    uint32_t *more = arena_alloc(q->a, (q->count + 1) * sizeof *more);
    if (!more) return no_memory(err);
    for (size_t i = 0; i < q->count; i++) more[i] = q->items[i].num;
    policy_question ask = {.models = q->models,
                           .cat = q->rooms->catalogue,
                           .vectors = q->rooms->vector,
                           .dim = q->rooms->limits.dim,
                           .times = times_of(q),
                           .history = q->profile ? q->profile->recent : NULL,
                           .count = q->profile ? q->profile->recent_count : 0,
                           .as_of = q->rq->as_of != TIME_NONE ? q->rq->as_of : q->now_ms,
                           .allow = &q->allow,
                           .all = q->rq->candidates != NULL,
                           .taste_only = q->rq->ranker == RANKER_TASTE,
                           .width = WIDTH,
                           .more = more,
                           .more_count = q->count,
                           .until = q->gather_until};
    policy_candidate *c = NULL;
    placed *best = NULL;
    size_t n = 0;
    bool missing = false;
    int rc = policy_candidates(&ask, q->a, &c, &n, &missing, err);
    if (rc != BRAID_OK) return rc;
    if (missing) run_degraded(q, vector_name(q->rooms->vector));
    if (place(q, c, n, &best) != BRAID_OK) return no_memory(err);
    size_t keep = room_for(q);
    bool fresh = policy_all_fresh(c, n);
    if (n > keep) n = keep;
    candidates_mark(q, false);
    for (size_t i = 0; i < n; i++) {
        scored *s = candidate_of(q, best[i].c->num);
        if (!s) break;
        s->ranked = true;
        s->learned = best[i].score;
        s->because = best[i].c->because;
        s->described = fresh ? NULL : best[i].c; /* weights of fresh lists are fitted, not learned on line */
    }
    candidates_keep_ranked(q);
    return BRAID_OK;
}

/* ---- to compare with ---- */
static void scores_of_neighbours(query_run_state *q, uint32_t bits, float *score) {
    const learn_edges *e = q->models && q->models->baselines ? q->models->baselines->cosine : NULL;
    for (size_t i = 0; e && has_history(q) && i < q->profile->recent_count; i++) {
        const policy_seen *s = &q->profile->recent[i];
        if (s->reward < POLICY_LIKED || s->num >= e->items) continue;
        for (uint64_t k = e->at[s->num]; k < e->at[s->num + 1]; k++)
            if (e->item[k] < bits) score[e->item[k]] += e->weight[k];
    }
}

static int scores_of_ease(query_run_state *q, uint32_t bits, float *score, braid_error *err) {
    const learn_ease *e = q->models && q->models->baselines ? q->models->baselines->ease : NULL;
    if (!e || !has_history(q)) return BRAID_OK;
    learn_edge *history = arena_alloc(q->a, q->profile->recent_count * sizeof *history);
    size_t n = 0;
    if (!history) return no_memory(err);
    for (size_t i = 0; i < q->profile->recent_count; i++)
        if (q->profile->recent[i].reward >= POLICY_LIKED) history[n++] = (learn_edge){q->profile->recent[i].num, 1};
    return learn_ease_score(e, history, n, bits, score, err);
}

/* Popularity at the moment asked about, or posteriors of genres: both want every card. */
static int scores_of_cards(query_run_state *q, uint32_t bits, float *score, braid_error *err) {
    uint32_t *nums = arena_alloc(q->a, ((size_t)q->allow_count + 1) * sizeof *nums);
    catalogue_card *cards = NULL;
    size_t n = 0;
    policy_scorer *scorer = NULL;
    int rc = nums ? BRAID_OK : no_memory(err);
    for (uint32_t i = 0; rc == BRAID_OK && (i = bitset_next(&q->allow, i)) < bits; i++) nums[n++] = i;
    if (rc == BRAID_OK) rc = catalogue_get_cards(q->rooms->catalogue, nums, n, q->a, &cards, err);
    if (rc == BRAID_OK && q->rq->ranker == RANKER_THOMPSON)
        rc = policy_scorer_new(q->rooms->policies, q->rooms->catalogue, q->rq->agent, q->rq->user, &q->state, q->seed,
                               q->gather_until, q->a, &scorer, err);
    const policy_times *times = times_of(q);
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) {
        if (cards[i].num == 0) continue;
        if (scorer)
            score[nums[i]] = q->rq->explore ? policy_score_item(scorer, &cards[i]).sampled
                                            : policy_score_item(scorer, &cards[i]).mean;
        else
            score[nums[i]] =
                (float)(times ? policy_times_at(times, nums[i], q->rq->as_of).reward_sum : cards[i].reward_sum);
    }
    return rc;
}

static int gather_baseline(query_run_state *q, braid_error *err) {
    uint32_t bits = q->allow.bits;
    float *score = arena_calloc(q->a, (size_t)bits + 1, sizeof *score);
    learn_edge *list = arena_alloc(q->a, ((size_t)q->allow_count + 1) * sizeof *list);
    size_t n = 0;
    int rc = score && list ? BRAID_OK : no_memory(err);
    if (rc == BRAID_OK && q->rq->ranker == RANKER_NEIGHBOURS) scores_of_neighbours(q, bits, score);
    if (rc == BRAID_OK && q->rq->ranker == RANKER_EASE) rc = scores_of_ease(q, bits, score, err);
    if (rc == BRAID_OK && (q->rq->ranker == RANKER_POPULAR || q->rq->ranker == RANKER_THOMPSON))
        rc = scores_of_cards(q, bits, score, err);
    if (rc != BRAID_OK) return rc;
    for (uint32_t i = 0; (i = bitset_next(&q->allow, i)) < bits; i++) list[n++] = (learn_edge){i, score[i]};
    n = learn_edges_strongest(list, n, room_for(q));
    candidates_mark(q, false);
    for (size_t i = 0; i < n; i++) {
        scored *s = candidate_of(q, list[i].item);
        if (!s) break;
        s->ranked = true;
        s->learned = list[i].weight;
        s->because = UINT32_MAX;
    }
    candidates_keep_ranked(q);
    return BRAID_OK;
}

int learned_gather(query_run_state *q, braid_error *err) {
    bool learned = by_what_was_learned(q);
    run_step *step =
        run_step_add(q, "rank", learned ? "learned" : query_ranker_name(q->rq->ranker), 500, (double)room_for(q));
    int64_t begun = clock_mono_ns(q->rooms->clock);
    int rc = learned ? gather_learned(q, err) : gather_baseline(q, err);
    q->ranked = rc == BRAID_OK;
    step->rows = (double)q->count;
    step->actual_us = run_elapsed_us(q, begun);
    return rc;
}
