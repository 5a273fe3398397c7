/* What an answer leaves behind for judging: its places, the candidates that it did not show, and by what they were
 * ranked.
 *
 * Only a recommendation for a person at the present moment is kept: a search is asked for, and a question put in the
 * past or about named candidates is somebody's measurement. Of somebody who is not known nothing is kept, unless
 * they are in an experiment: a name that was only asked about, or has been deleted, leaves no trace. */
#include <math.h>
#include <string.h>

#include "query/programme.h"

enum { POOL_MAX = 60 };

static bool worth_it(const query_run_state *q, size_t count) {
    bool somebody = q->rq->user[0] && ((q->profile && q->profile->known) || q->experiment.experiment);
    return q->rq->recommend && somebody && q->rq->as_of == TIME_NONE && !q->rq->candidates && count > 0 &&
           count <= JUDGE_SLOTS_MAX;
}

static const float *features_of(const query_run_state *q, uint32_t num) {
    for (size_t i = 0; i < q->considered; i++)
        if (q->items[i].num == num) return q->items[i].described ? q->items[i].described->x : NULL;
    return NULL;
}

/* All or nothing, but for the places that rules filled: a list of which others have no features was not ranked by
 * them. */
static void add_features(query_run_state *q, judge_log *l) {
    size_t rows = l->place_count + l->pool_count, width = POLICY_FEATURE_COUNT;
    float *x = arena_calloc(q->a, (rows + 1) * width, sizeof *x);
    for (size_t i = 0; x && i < rows; i++) {
        const float *from = features_of(q, i < l->place_count ? l->places[i].num : l->pool[i - l->place_count]);
        bool forced = i < l->place_count && l->places[i].forced;
        if (!from && !forced) return;
        if (from) memcpy(x + i * width, from, width * sizeof *x);
    }
    l->features = x;
    l->feature_count = x ? width : 0;
}

static void add_pool(query_run_state *q, judge_log *l) {
    size_t n = q->considered > q->count ? q->considered - q->count : 0;
    if (n > POOL_MAX) n = POOL_MAX;
    if (q->cached || q->interleaved || !(l->pool = arena_alloc(q->a, (n + 1) * sizeof *l->pool))) return;
    for (size_t i = 0; i < n; i++)
        if (q->items[q->count + i].card && (!q->ranked || q->items[q->count + i].described))
            l->pool[l->pool_count++] = q->items[q->count + i].num;
}

const judge_log *slate_log_of(query_run_state *q, const query_item *items, size_t count) {
    if (!worth_it(q, count)) return NULL;
    const experiment_place *e = &q->experiment;
    judge_log *l = arena_calloc(q->a, 1, sizeof *l);
    if (!l || !(l->places = arena_calloc(q->a, count, sizeof *l->places))) return NULL; /* the answer matters more */
    l->strategy = query_strategy_name(q->plan.strategy);
    l->ranker = query_ranker_name(q->rq->ranker);
    /* Copies: the log outlives the run and the set of experiments that it held. */
    l->state = arena_strdup(q->a, q->state.text);
    l->experiment = arena_strdup(q->a, e->experiment ? e->experiment->id : "");
    l->arm = arena_strdup(q->a, e->experiment && !q->interleaved ? e->experiment->arms[e->arm].name : "");
    if (!l->state || !l->experiment || !l->arm) return NULL;
    l->version = e->experiment ? e->experiment->version : 0;
    l->weights = q->models ? q->models->weights->version : 0;
    l->cached = q->cached;
    l->place_count = count;
    for (size_t i = 0; i < count; i++)
        l->places[i] = (judge_place_log){.num = items[i].num,
                                         .propensity = q->interleaved ? 0 : items[i].propensity,
                                         .explored = items[i].explored,
                                         .forced = items[i].forced,
                                         .score = items[i].score,
                                         .team = q->interleaved ? (int8_t)items[i].team : -1};
    add_pool(q, l);
    if (q->ranked && !q->cached && !q->interleaved) add_features(q, l);
    return l;
}
