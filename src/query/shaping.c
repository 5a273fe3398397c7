/* Personalising and shaping: from fused scores to the k that are shown.
 *
 * Personalising adds the person's affinity to the item's facets, a little for what is new and, for somebody unknown,
 * for what is popular. In a recommendation what many people do (policy's patterns) leans it by a twentieth at most:
 * enough to decide between likes, not to bring back what the ranking left out. Shaping checks the one rule of rights
 * again on every item (the set was made a moment ago; a window may have closed), and picks by maximal marginal
 * relevance (Carbonell & Goldstein 1998): score against likeness to what is already picked, likeness being the
 * Jaccard overlap of facets, which an editor can see, unlike a distance of vectors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "query/programme.h"

static const double AFFINITY_WEIGHT = 0.2, POPULAR_WEIGHT = 0.03, POPULAR_COLD_WEIGHT = 0.5, RECENCY_WEIGHT = 0.02;
static const double PATTERN_WEIGHT = 0.05;
/* For somebody unknown the popular list, which is spread over genres, leads; strands that grew from a guess follow. */
static const double START_WEIGHT = 0.4;
enum { DIVERSE_MAX = 100, RECENT_YEARS = 20 };

static double popularity(const catalogue_card *c) {
    double mean = (c->reward_sum + 1) / (c->interactions + 2);
    double volume = log1p(c->interactions) / log(1000);
    return mean * (volume < 1 ? volume : 1);
}

static double recency(const query_run_state *q, const catalogue_card *c) {
    double year = 1970 + (double)q->now_ms / (365.2425 * 86400000.0);
    double age = year - c->year;
    return c->year == 0 || age > RECENT_YEARS ? 0 : age < 0 ? 1 : 1 - age / RECENT_YEARS;
}

static void drop_gone(query_run_state *q) {
    size_t kept = 0;
    for (size_t i = 0; i < q->count; i++) {
        scored *s = &q->items[i];
        if (s->card && catalogue_may_show(q->rooms->catalogue, &q->rights, s->num) && bitset_has(&q->allow, s->num))
            q->items[kept++] = *s;
    }
    q->count = kept;
}

/* Not where strands or rankers are there to be compared. */
static int lean_begin(query_run_state *q, braid_error *err) {
    const query_request *rq = q->rq;
    bool plain = q->plan.strategy == STRATEGY_VECTOR_ONLY || q->plan.strategy == STRATEGY_GRAPH_ONLY;
    bool ours = rq->ranker == RANKER_AUTO || rq->ranker == RANKER_LEARNED || rq->ranker == RANKER_TASTE ||
                rq->ranker == RANKER_FUSED;
    if (!q->rooms->patterns || !rq->recommend || plain || !ours) return BRAID_OK;
    const char *mood = rq->mood[0] || !q->profile || !q->profile->person ? rq->mood : q->profile->person->mood;
    int rc = policy_lean_make(q->rooms->patterns, q->profile, q->now_ms, mood, q->a, &q->lean);
    return rc == BRAID_OK ? rc : error_set(err, rc, "query", "no memory for patterns");
}

static void lean_on(query_run_state *q, scored *s) {
    s->leaning = policy_lean_of(q->lean, s->card);
    if (s->leaning) s->score += PATTERN_WEIGHT * s->leaning->weight;
}

/* The order is the ranker's; the scale 0..1, so that diversity weighs as much as elsewhere. */
static void score_ranked(query_run_state *q) {
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < q->count; i++) {
        low = fmin(low, q->items[i].learned);
        high = fmax(high, q->items[i].learned);
    }
    for (size_t i = 0; i < q->count; i++) {
        scored *s = &q->items[i];
        s->score = high > low ? (s->learned - low) / (high - low) : 1;
        if (q->profile) s->affinity = policy_affinity_score(q->profile, s->card, &s->affinity_facet);
        lean_on(q, s);
    }
}

int shaping_personalise(query_run_state *q, braid_error *err) {
    int rc = lean_begin(q, err);
    if (rc != BRAID_OK) return rc;
    drop_gone(q);
    int64_t begun = clock_mono_ns(q->rooms->clock);
    fusion_combine(q);
    q->us_fuse = run_elapsed_us(q, begun);
    if (q->ranked) {
        score_ranked(q);
        return BRAID_OK;
    }
    bool plain = q->plan.strategy == STRATEGY_VECTOR_ONLY || q->plan.strategy == STRATEGY_GRAPH_ONLY;
    for (size_t i = 0; i < q->count; i++) {
        scored *s = &q->items[i];
        s->score = s->fused;
        if (q->profile) {
            s->affinity = policy_affinity_score(q->profile, s->card, &s->affinity_facet);
            s->score += AFFINITY_WEIGHT * s->affinity;
        }
        if (plain) continue;
        bool cold = q->cold || q->plan.strategy == STRATEGY_CACHED_ONLY;
        if (q->cold && s->popular) s->score += START_WEIGHT;
        s->score += (cold ? POPULAR_COLD_WEIGHT : q->rq->recommend ? POPULAR_WEIGHT : 0) * popularity(s->card);
        if (q->rq->recommend) s->score += RECENCY_WEIGHT * recency(q, s->card);
        lean_on(q, s);
    }
    return BRAID_OK;
}

/* ---- picking ---- */
static int by_score(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->num < y->num ? -1 : x->num > y->num;
}

static int compare_facets(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Facets in order, so that overlap is one merge. */
static const uint32_t *sorted_facets(query_run_state *q, const catalogue_card *c) {
    uint32_t *copy = arena_alloc(q->a, (c->facet_count + 1) * sizeof *copy);
    if (!copy) return NULL;
    memcpy(copy, c->facets, c->facet_count * sizeof *copy);
    qsort(copy, c->facet_count, sizeof *copy, compare_facets);
    return copy;
}

static double overlap(const uint32_t *a, size_t na, const uint32_t *b, size_t nb) {
    size_t i = 0, j = 0, both = 0;
    while (i < na && j < nb) {
        if (a[i] == b[j])
            both++, i++, j++;
        else if (a[i] < b[j])
            i++;
        else
            j++;
    }
    size_t all = na + nb - both;
    return all ? (double)both / (double)all : 0;
}

/* Moves those that are shown to the front: at each place the best by marginal relevance, or who takes it to be
 * explored. Each pick updates every other's nearest likeness: k x n merges. Without diversity there is nothing to
 * update, and the best is the first that is left. */
typedef struct picking {
    const uint32_t **facets; /* NULL: no diversity */
    double *nearest;
    size_t width; /* the best is looked for among as many */
} picking;

static int begin_picking(query_run_state *q, size_t k, picking *p, braid_error *err) {
    *p = (picking){.width = q->count < k * OVERFETCH ? q->count : k * OVERFETCH};
    if (q->rq->diversity <= 0) return BRAID_OK;
    size_t room = q->count + rules_room(q) + 1; /* the pinned come back one by one */
    p->facets = arena_calloc(q->a, room, sizeof *p->facets);
    p->nearest = arena_calloc(q->a, room, sizeof *p->nearest);
    if (!p->facets || !p->nearest) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for diversity");
    for (size_t i = 0; i < p->width; i++)
        if (!(p->facets[i] = sorted_facets(q, q->items[i].card)))
            return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for diversity");
    return BRAID_OK;
}

static size_t best_left(const query_run_state *q, const picking *p, size_t picked) {
    size_t best = picked;
    double best_value = -INFINITY, lambda = q->rq->diversity;
    for (size_t i = picked; p->facets && i < p->width; i++) {
        double value = (1 - lambda) * q->items[i].score - lambda * p->nearest[i];
        if (value > best_value) best = i, best_value = value;
    }
    return best;
}

/* Shifts, not swaps: what is left keeps its order by score. What comes from beyond the width moves its end on. */
static bool take(query_run_state *q, picking *p, size_t picked, size_t at) {
    scored s = q->items[at];
    if (p->facets && !p->facets[at] && !(p->facets[at] = sorted_facets(q, s.card))) return false;
    memmove(&q->items[picked + 1], &q->items[picked], (at - picked) * sizeof s);
    q->items[picked] = s;
    p->width += at >= p->width;
    if (!p->facets) return true;
    const uint32_t *f = p->facets[at];
    double n = p->nearest[at];
    memmove(&p->facets[picked + 1], &p->facets[picked], (at - picked) * sizeof f);
    memmove(&p->nearest[picked + 1], &p->nearest[picked], (at - picked) * sizeof n);
    p->facets[picked] = f;
    p->nearest[picked] = n;
    for (size_t i = picked + 1; i < p->width; i++) {
        double like = overlap(f, s.card->facet_count, p->facets[i], q->items[i].card->facet_count);
        if (like > p->nearest[i]) p->nearest[i] = like;
    }
    return true;
}

static int pick(query_run_state *q, size_t k, braid_error *err) {
    exploring *x;
    picking p;
    int rc = exploring_begin(q, k, &x, err);
    if (rc == BRAID_OK) rc = begin_picking(q, k, &p, err);
    if (rc != BRAID_OK || (!x && !p.facets && !q->rules)) return rc;
    for (size_t picked = 0; picked < k; picked++) {
        bool drawn = true;
        size_t at = rules_place(q, picked, &drawn);
        if (at == SIZE_MAX && picked >= q->count) break;
        if (at != SIZE_MAX) {
            if (x && drawn) exploring_take(q, x, at);
        } else {
            at = best_left(q, &p, picked);
            if (x) at = exploring_pick(q, x, picked, at);
        }
        if (!take(q, &p, picked, at)) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for diversity");
    }
    return BRAID_OK;
}

/* Why an answer is shorter than what was asked for. */
static const char *why_unfilled(query_run_state *q) {
    arena *a = q->a;
    if (q->plan.strategy == STRATEGY_GRAPH_ONLY && q->count < q->allow_count)
        return arena_printf(
            a, "the graph reaches only %zu of the %llu items that may be shown; another strategy fills the rest",
            q->count, (unsigned long long)q->allow_count);
    if (q->plan.strategy == STRATEGY_VECTOR_ONLY && q->count < q->allow_count)
        return arena_printf(a, "only %zu of the %llu items that may be shown were found by vector", q->count,
                            (unsigned long long)q->allow_count);
    return arena_printf(a,
                        "of %llu items %llu match the filter, %llu of these may be shown to this viewer now, "
                        "and %llu are left after exclusions, what was seen and earlier pages",
                        (unsigned long long)q->total, (unsigned long long)q->filter_matches,
                        (unsigned long long)q->rights_left, (unsigned long long)q->allow_count);
}

int shaping_select(query_run_state *q, braid_error *err) {
    size_t k = q->rq->k;
    rules_boost(q);
    qsort(q->items, q->count, sizeof *q->items, by_score);
    rules_reserve(q);
    int rc = pick(q, k < DIVERSE_MAX ? k : DIVERSE_MAX, err);
    if (rc) return rc;
    q->considered = q->count;
    if (q->count > k) q->count = k;
    if (q->count < k) q->unfilled = why_unfilled(q);
    if (q->cold)
        run_note(q, q->profile && q->profile->known ? "little is known of this person yet: a diverse, popular start"
                                                    : "this person is not known yet: a diverse, popular start");
    return BRAID_OK;
}
