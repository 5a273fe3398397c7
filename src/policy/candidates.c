/* Candidates of a history, and what the learned ranking knows of each.
 *
 *   add up   every model's edges over the history: a dense number an item, and who spoke most
 *   gather   the strongest of each source and what other strands brought, or everything when few are named
 *   describe facets, vectors, audience
 *   standardise each feature over the candidates, so that one set of weights serves short and long histories
 *
 * What nobody has chosen yet is described in candidates_fresh.c.
 *
 * Sums of edges are taken to their square root, with the sign kept: the first few that speak for an item say most.
 * What is the same for all candidates becomes zero: it cannot order them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy/candidates.h"
#include "policy/facets.h"
#include "policy/times.h"

enum { CONTENT_ITEMS_MAX = 100 /* of a history whose vectors are fetched */ };
static const double VALUE_PRIOR = 5, VALUE_PRIOR_MEAN = 0.7, MS_A_YEAR = 365.2425 * 86400000.0;

const char *policy_feature_name(policy_feature f) {
    static const char *const names[POLICY_FEATURE_COUNT] = {
        "slim",           "together",       "together_ever", "follows", "next",    "content",
        "content_recent", "alike",          "neighbours",    "around",  "linear",  "expected",
        "genres",         "genres_against", "themes",        "people",  "popular", "trend",
        "value",          "untried",        "age",           "ahead",   "year"};
    return names[f];
}

/* ---- add up ---- */
static const struct {
    policy_model model;
    policy_feature feature;
    bool source; /* its strongest are candidates */
} asks[ASK_COUNT] = {
    [ASK_SLIM] = {POLICY_MODEL_SLIM, POLICY_FEATURE_SLIM, true},
    [ASK_TOGETHER] = {POLICY_MODEL_TOGETHER, POLICY_FEATURE_TOGETHER, false},
    [ASK_TOGETHER_EVER] = {POLICY_MODEL_TOGETHER, POLICY_FEATURE_TOGETHER_EVER, true},
    [ASK_FOLLOWS] = {POLICY_MODEL_FOLLOWS, POLICY_FEATURE_FOLLOWS, true},
    [ASK_NEXT] = {POLICY_MODEL_NEXT, POLICY_FEATURE_NEXT, false},
};

typedef struct spoken {
    uint32_t items;
    float *sum[ASK_COUNT];
    float *most; /* the largest single contribution of the linear weights */
    uint32_t *because;
} spoken;

static bool spoken_new(spoken *s, uint32_t items, arena *a) {
    s->items = items;
    for (int k = 0; k < ASK_COUNT; k++)
        if (!(s->sum[k] = arena_calloc(a, (size_t)items + 1, sizeof(float)))) return false;
    s->most = arena_calloc(a, (size_t)items + 1, sizeof(float));
    s->because = arena_alloc(a, ((size_t)items + 1) * sizeof(uint32_t));
    return s->most && s->because;
}

static void add_up(spoken *s, const policy_model_set *set, const history_weights *h) {
    for (int ask = 0; ask < ASK_COUNT; ask++) {
        const learn_edges *e = set->from[asks[ask].model];
        float *sum = s->sum[ask];
        for (size_t i = 0; e && i < h->count; i++) {
            float weight = h->ask[ask][i];
            uint32_t from = h->nums[i];
            if (weight == 0 || from >= e->items) continue;
            for (uint64_t k = e->at[from]; k < e->at[from + 1]; k++) {
                float say = weight * e->weight[k];
                sum[e->item[k]] += say;
                /* The reason is told from linear weights, or, where they are silent, from what is liked together. */
                if (ask <= ASK_TOGETHER && say > s->most[e->item[k]] * (ask == ASK_SLIM ? 1 : 4)) {
                    s->most[e->item[k]] = say;
                    s->because[e->item[k]] = from;
                }
            }
        }
    }
}

/* ---- gather ---- */
typedef struct gathering {
    const policy_question *q;
    bitset chosen;
    learn_edge *list; /* room for every item */
} gathering;

static void gather_strongest(gathering *g, const float *sum, uint32_t items, size_t width) {
    size_t n = 0;
    for (uint32_t i = bitset_next(g->q->allow, 0); i < items; i = bitset_next(g->q->allow, i + 1))
        if (sum[i] > 0) g->list[n++] = (learn_edge){i, sum[i]};
    n = learn_edges_strongest(g->list, n, width);
    for (size_t i = 0; i < n; i++) bitset_set(&g->chosen, g->list[i].item);
}

static bool gather(gathering *g, const spoken *s, arena *a) {
    const policy_question *q = g->q;
    if (q->all) {
        for (uint32_t i = bitset_next(q->allow, 0); i != UINT32_MAX; i = bitset_next(q->allow, i + 1))
            bitset_set(&g->chosen, i);
        return true;
    }
    size_t popular_width = q->width / 2;
    candidate *popular = arena_alloc(a, (popular_width + 1) * sizeof *popular);
    g->list = arena_alloc(a, ((size_t)s->items + 1) * sizeof *g->list);
    if (!popular || !g->list) return false;
    for (int k = 0; k < ASK_COUNT; k++)
        if (asks[k].source) gather_strongest(g, s->sum[k], s->items, q->width);
    for (size_t i = 0; i < q->more_count; i++)
        if (bitset_has(q->allow, q->more[i])) bitset_set(&g->chosen, q->more[i]);
    size_t n = catalogue_popular(q->cat, q->allow, popular_width, 0, popular);
    for (size_t i = 0; i < n; i++) bitset_set(&g->chosen, popular[i].num);
    return true;
}

/* ---- describe ---- */
static void describe_edges(const spoken *s, policy_candidate *c, size_t n) {
    for (size_t i = 0; i < n; i++) {
        c[i].because = UINT32_MAX;
        if (c[i].num >= s->items) continue;
        for (int k = 0; k < ASK_COUNT; k++) c[i].x[asks[k].feature] = candidates_root(s->sum[k][c[i].num]);
        if (s->most[c[i].num] > 0) c[i].because = s->because[c[i].num];
    }
}

static double year_of(int64_t ms) {
    return 1970 + (double)ms / MS_A_YEAR;
}

/* The mean year of what was chosen last; 0: unknown. */
static double year_lately(const policy_question *q, const history_weights *h, arena *a) {
    enum { LOOK = 8 };
    catalogue_card *cards = NULL;
    size_t n = h->count < LOOK ? h->count : LOOK;
    double sum = 0, known = 0;
    if (catalogue_get_cards(q->cat, h->nums, n, a, &cards, NULL) != BRAID_OK) return 0;
    for (size_t i = 0; i < n; i++)
        if (h->lately[i] > 0 && cards[i].num && cards[i].year) sum += cards[i].year, known++;
    return known > 0 ? sum / known : 0;
}

static policy_audience audience_of(const policy_question *q, const catalogue_card *card) {
    if (q->times) return policy_times_at(q->times, card->num, q->as_of);
    double left = card->interactions > 0 ? policy_trend_left(q->as_of - card->last_at) : 0;
    return (policy_audience){card->interactions, card->reward_sum, card->recent * left};
}

static int describe_cards(const policy_question *q, const history_weights *h, policy_candidate *c, size_t n, arena *a,
                          braid_error *err) {
    uint32_t *nums = arena_alloc(a, (n + 1) * sizeof *nums);
    facet_profile *facets = facet_profile_make(q->cat, h, a);
    catalogue_card *cards = NULL;
    if (!nums || !facets) return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for candidates");
    for (size_t i = 0; i < n; i++) nums[i] = c[i].num;
    int rc = catalogue_get_cards(q->cat, nums, n, a, &cards, err);
    double lately = year_lately(q, h, a), now = year_of(q->as_of);
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) {
        const catalogue_card *card = &cards[i];
        float *x = c[i].x;
        facet_likeness like;
        if (!card->num) continue;
        if (!facet_profile_score(facets, card, &like))
            return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for candidates");
        policy_audience seen = audience_of(q, card);
        c[i].tried = seen.count > 0;
        double year = card->year ? card->year : lately ? lately : now;
        x[POLICY_FEATURE_GENRES] = candidates_root(like.liked[FACETS_GENRES]);
        x[POLICY_FEATURE_GENRES_AGAINST] = candidates_root(like.against[FACETS_GENRES]);
        x[POLICY_FEATURE_THEMES] = candidates_root(like.liked[FACETS_THEMES]);
        x[POLICY_FEATURE_PEOPLE] = candidates_root(like.liked[FACETS_PEOPLE]);
        x[POLICY_FEATURE_POPULAR] = (float)log1p(seen.count);
        x[POLICY_FEATURE_TREND] = (float)log1p(seen.recent);
        x[POLICY_FEATURE_VALUE] =
            (float)((seen.reward_sum + VALUE_PRIOR * VALUE_PRIOR_MEAN) / (seen.count + VALUE_PRIOR));
        x[POLICY_FEATURE_UNTRIED] = seen.count == 0;
        x[POLICY_FEATURE_AGE] = (float)log1p(fmax(now - year, 0));
        x[POLICY_FEATURE_AHEAD] = year > now + 0.5;
        x[POLICY_FEATURE_YEAR] = lately > 0 ? (float)-fabs(year - lately) : 0;
    }
    return rc;
}

/* The weighted mean of the vectors of a history; false: there is none. */
static bool direction(const float *vectors, const bool *found, const float *weights, const size_t *at, size_t n,
                      uint32_t dim, float *out) {
    memset(out, 0, dim * sizeof *out);
    for (size_t i = 0; i < n; i++)
        for (uint32_t d = 0; found[i] && d < dim; d++) out[d] += weights[at[i]] * vectors[i * dim + d];
    return vector_normalise(out, dim);
}

/* False: the store did not answer. */
static bool describe_vectors(const policy_question *q, const history_weights *h, policy_candidate *c, size_t n,
                             arena *a) {
    uint32_t dim = q->dim, nums[CONTENT_ITEMS_MAX];
    size_t at[CONTENT_ITEMS_MAX], liked = 0;
    for (size_t i = 0; i < h->count && liked < CONTENT_ITEMS_MAX; i++)
        if (h->liked[i] > 0) {
            at[liked] = i;
            nums[liked++] = h->nums[i];
        }
    if (liked == 0 || n == 0) return true;
    float *vectors = arena_alloc(a, liked * dim * sizeof *vectors), *to = arena_alloc(a, dim * sizeof *to);
    float *score = arena_alloc(a, n * sizeof *score);
    uint32_t *ask = arena_alloc(a, n * sizeof *ask);
    bool found[CONTENT_ITEMS_MAX] = {false};
    if (!vectors || !to || !score || !ask) return false;
    if (vector_fetch_many(q->vectors, nums, liked, q->until, vectors, found, NULL) != BRAID_OK) return false;
    for (size_t i = 0; i < n; i++) ask[i] = c[i].num;
    const float *const weights[] = {h->liked, h->liked_lately};
    const policy_feature feature[] = {POLICY_FEATURE_CONTENT, POLICY_FEATURE_CONTENT_RECENT};
    for (int k = 0; k < 2; k++) {
        if (!direction(vectors, found, weights[k], at, liked, dim, to)) continue;
        if (vector_score(q->vectors, to, ask, n, q->until, score, NULL) != BRAID_OK) return false;
        for (size_t i = 0; i < n; i++) c[i].x[feature[k]] = score[i] == SIMILARITY_NONE ? 0 : score[i];
    }
    return true;
}

/* ---- standardise ---- */
static bool impersonal(int feature) {
    return feature == POLICY_FEATURE_POPULAR || feature == POLICY_FEATURE_TREND || feature == POLICY_FEATURE_VALUE ||
           feature == POLICY_FEATURE_UNTRIED || feature == POLICY_FEATURE_AGE || feature == POLICY_FEATURE_AHEAD;
}

static void standardise(policy_candidate *c, size_t n, bool taste_only) {
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < n; i++) sum += c[i].x[f];
        double mean = sum / (double)n;
        for (size_t i = 0; i < n; i++) square += (c[i].x[f] - mean) * (c[i].x[f] - mean);
        double deviation = sqrt(square / (double)n);
        if (taste_only && impersonal(f)) deviation = 0;
        for (size_t i = 0; i < n; i++) c[i].x[f] = deviation > 1e-6 ? (float)((c[i].x[f] - mean) / deviation) : 0;
    }
}

int policy_candidates(const policy_question *q, arena *a, policy_candidate **out, size_t *count, bool *missing,
                      braid_error *err) {
    *out = NULL;
    *count = 0;
    *missing = false;
    gathering g = {.q = q};
    spoken s = {0};
    int rc = BRAID_OK;
    history_weights *h = history_weights_make(q->history, q->count, a);
    if (!h || !spoken_new(&s, q->models ? q->models->items : 0, a) || !bitset_init(&g.chosen, q->allow->bits)) {
        rc = error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for candidates");
        goto cleanup;
    }
    if (q->models) add_up(&s, q->models, h);
    if (!gather(&g, &s, a)) {
        rc = error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for candidates");
        goto cleanup;
    }
    size_t n = (size_t)bitset_count(&g.chosen), i = 0;
    policy_candidate *c = arena_calloc(a, n + 1, sizeof *c);
    if (!c) {
        rc = error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for candidates");
        goto cleanup;
    }
    for (uint32_t num = bitset_next(&g.chosen, 0); num != UINT32_MAX; num = bitset_next(&g.chosen, num + 1))
        c[i++].num = num;
    describe_edges(&s, c, n);
    rc = describe_cards(q, h, c, n, a, err);
    if (rc != BRAID_OK) goto cleanup;
    if (q->vectors && !describe_vectors(q, h, c, n, a)) *missing = true;
    if (q->models && policy_all_fresh(c, n)) {
        rc = candidates_describe_fresh(q, h, c, n, a, err);
        if (rc != BRAID_OK) goto cleanup;
    }
    standardise(c, n, q->taste_only);
    *out = c;
    *count = n;
cleanup:
    bitset_free(&g.chosen);
    return rc;
}
