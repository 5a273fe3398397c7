/* Content neighbours: for what nobody has watched yet, the watched items that are most alike.
 *
 * Alike means: vectors point the same way, genres and people are shared, the years are near; each 0..1, the mean of
 * them to the fourth power, so that a few near ones outweigh many far ones. An item's own history takes over with
 * its first viewers, so only those without any have such neighbours: a few at a time in a running service, which is
 * why each may look at thousands. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy/facets.h"
#include "policy/fit_private.h"

enum { LOOK_AT = 10000, KEEP = 400, YEARS_FAR = 128 };
static const float GENRES = 0.5f, PEOPLE = 0.5f, YEARS = 0.5f, VECTORS = 1;
static const double YEARS_NEAR = 5;

/* Facets as numbers: what one weighs in the vector of an item. */
typedef struct content {
    fit *f;
    float *weight; /* by facet id */
    uint8_t *group;
    uint32_t facets;
    float *mark; /* the target's unit vector, by facet id */
    const uint32_t *sources;
    const catalogue_card *source_cards;
    size_t source_count;
    double (*source_lengths)[FACET_GROUPS];
    float *cosine; /* of a batch of targets, by target and source */
    float years[YEARS_FAR];
    learn_edge *edges;
    fit_ridge *ridge;
    arena *a;
} content;

static void content_free(content *c) {
    if (!c) return;
    free(c->weight);
    free(c->group);
    free(c->mark);
    fit_ridge_free(c->ridge);
    free(c->source_lengths);
    free(c->cosine);
    free(c->edges);
    arena_free(c->a);
    free(c);
}

static content *content_new(fit *f) {
    content *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->f = f;
    c->facets = catalogue_facet_ids_max(f->cat);
    c->weight = calloc((size_t)c->facets + 1, sizeof *c->weight);
    c->group = calloc((size_t)c->facets + 1, sizeof *c->group);
    c->mark = calloc((size_t)c->facets + 1, sizeof *c->mark);
    if (!c->weight || !c->group || !c->mark) {
        content_free(c);
        return NULL;
    }
    for (int y = 0; y < YEARS_FAR; y++) c->years[y] = (float)exp(-y / YEARS_NEAR);
    double items = (double)catalogue_count(f->cat);
    for (uint32_t i = 0; i < c->facets; i++) c->group[i] = (uint8_t)facet_weigh(f->cat, items, i, &c->weight[i]);
    return c;
}

/* Lengths of an item's facet vectors. */
static void lengths(const content *c, const catalogue_card *card, double length[FACET_GROUPS]) {
    for (int g = 0; g < FACET_GROUPS; g++) length[g] = 0;
    for (size_t i = 0; i < card->facet_count; i++) {
        uint32_t id = card->facets[i];
        if (id < c->facets) length[c->group[id]] += (double)c->weight[id] * c->weight[id];
    }
    for (int g = 0; g < FACET_GROUPS; g++) length[g] = sqrt(length[g]);
}

static void mark(content *c, const catalogue_card *card, bool on) {
    double length[FACET_GROUPS];
    lengths(c, card, length);
    for (size_t i = 0; i < card->facet_count; i++) {
        uint32_t id = card->facets[i];
        if (id < c->facets) c->mark[id] = on ? (float)(c->weight[id] / length[c->group[id]]) : 0;
    }
}

static float alike(const content *c, const catalogue_card *target, size_t source, float cosine) {
    const catalogue_card *other = &c->source_cards[source];
    const double *length = c->source_lengths[source];
    double dot[FACET_GROUPS] = {0};
    int apart = abs(target->year - other->year);
    for (size_t i = 0; i < other->facet_count; i++) {
        uint32_t id = other->facets[i];
        if (id < c->facets && c->mark[id] > 0) dot[c->group[id]] += c->mark[id] * c->weight[id] / length[c->group[id]];
    }
    double near = target->year && other->year && apart < YEARS_FAR ? c->years[apart] : 0;
    double sum = GENRES * dot[FACETS_GENRES] + PEOPLE * dot[FACETS_PEOPLE] + YEARS * near + VECTORS * fmax(cosine, 0);
    return (float)(sum / (GENRES + PEOPLE + YEARS + VECTORS));
}

/* Numbers and cards of what may be a neighbour; beyond LOOK_AT a sample of every so-manieth. */
static int take_sources(content *c, const bitset *sources) {
    size_t all = (size_t)bitset_count(sources), n = 0, step = all / LOOK_AT + 1;
    uint32_t *nums = arena_alloc(c->a, (all + 1) * sizeof *nums);
    catalogue_card *cards = NULL;
    c->edges = malloc((all + 2) * sizeof *c->edges);
    c->source_lengths = malloc((all + 1) * sizeof *c->source_lengths);
    if (!nums || !c->edges || !c->source_lengths) return fit_no_memory(c->f->err);
    size_t met = 0;
    for (uint32_t i = 0; (i = bitset_next(sources, i)) != UINT32_MAX; i++)
        if (met++ % step == 0) nums[n++] = i;
    int rc = catalogue_get_cards(c->f->cat, nums, n, c->a, &cards, c->f->err);
    c->sources = nums;
    c->source_cards = cards;
    c->source_count = n;
    c->cosine = malloc(((size_t)FIT_BATCH * n + 1) * sizeof *c->cosine);
    if (!c->cosine) return fit_no_memory(c->f->err);
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) lengths(c, &cards[i], c->source_lengths[i]);
    return rc;
}

static bool target_edges(content *c, const catalogue_card *target, const float *cosine, learn_edges_draft *draft) {
    mark(c, target, true);
    size_t n = 0;
    for (size_t i = 0; i < c->source_count; i++) {
        float s = c->source_cards[i].num ? alike(c, target, i, cosine[i]) : 0;
        if (s > 0) c->edges[n++] = (learn_edge){c->sources[i], s * s * s * s};
    }
    mark(c, target, false);
    n = learn_edges_strongest(c->edges, n, KEEP);
    return learn_edges_draft_set(draft, target->num, c->edges, n);
}

/* Those of a batch that have no vector, or are gone, take part with a vector of zeros and are left out in the end. */
static int batch_edges(content *c, const uint32_t *targets, size_t n, arena *a, learn_edges_draft *near,
                       learn_edges_draft *linear) {
    catalogue_card *cards = NULL;
    bool found[FIT_BATCH];
    uint32_t dim = c->f->dim;
    float *vectors = arena_alloc(a, n * dim * sizeof *vectors);
    int rc =
        vectors ? vector_fetch_many(c->f->vectors, targets, n, 0, vectors, found, c->f->err) : fit_no_memory(c->f->err);
    if (rc == BRAID_OK) rc = catalogue_get_cards(c->f->cat, targets, n, a, &cards, c->f->err);
    if (rc != BRAID_OK) return rc;
    for (size_t i = 0; i < n; i++)
        if (!found[i]) memset(vectors + i * dim, 0, dim * sizeof *vectors);
    fit_ridge_batch(c->ridge, vectors, n, c->cosine);
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) {
        if (!found[i] || !cards[i].num) continue;
        bool ok = target_edges(c, &cards[i], c->cosine + i * c->source_count, near);
        size_t weighed = ok ? fit_ridge_weigh(c->ridge, i, targets[i], c->edges) : 0;
        if (!ok || !learn_edges_draft_set(linear, targets[i], c->edges, weighed)) rc = fit_no_memory(c->f->err);
    }
    return rc;
}

int fit_content(fit *f, const bitset *targets, const bitset *sources, const policy_times *times, learn_edges **near,
                learn_edges **linear) {
    content *c = content_new(f);
    learn_edges_draft *draft = learn_edges_draft_new(targets->bits), *weights = learn_edges_draft_new(targets->bits);
    arena *a = arena_new(1 << 18);
    uint32_t batch[FIT_BATCH];
    size_t n = 0;
    *near = *linear = NULL;
    int rc =
        c && draft && weights && a && (c->a = arena_new(1 << 20)) ? take_sources(c, sources) : fit_no_memory(f->err);
    f->phase = "content";
    if (rc == BRAID_OK && bitset_count(targets) && c->source_count) {
        c->ridge = fit_ridge_new(f, c->sources, c->source_count, (size_t)bitset_count(targets), times);
        if (!c->ridge) rc = fit_no_memory(f->err);
    }
    for (uint32_t i = 0; rc == BRAID_OK && c->source_count && (i = bitset_next(targets, i)) != UINT32_MAX; i++) {
        batch[n++] = i;
        if (n < FIT_BATCH) continue;
        rc = batch_edges(c, batch, n, a, draft, weights);
        n = 0;
        arena_reset(a);
        if (rc == BRAID_OK && !fit_tell(f, i, targets->bits))
            rc = error_set(f->err, BRAID_E_CLOSED, "policy/fit", "stopped before the end; nothing was changed");
    }
    if (rc == BRAID_OK && n) rc = batch_edges(c, batch, n, a, draft, weights);
    if (rc == BRAID_OK) {
        rc = learn_edges_draft_finish(draft, near, f->err);
        draft = NULL;
    }
    if (rc == BRAID_OK) {
        rc = learn_edges_draft_finish(weights, linear, f->err);
        weights = NULL;
    }
    learn_edges_draft_free(draft);
    learn_edges_draft_free(weights);
    arena_free(a);
    content_free(c);
    return rc;
}

static bool present(void *ctx, uint32_t num, const char *id, uint64_t version) {
    (void)id;
    (void)version;
    bitset_set(ctx, num);
    return true;
}

int fit_present(fit *f, const policy_times *times, double least, bitset *tried, bitset *untried) {
    uint32_t bits = catalogue_bits(f->cat) > f->items ? catalogue_bits(f->cat) : f->items;
    bool ok = bitset_init(tried, bits) && bitset_init(untried, bits);
    if (!ok) return fit_no_memory(f->err);
    catalogue_scan(f->cat, present, untried);
    for (uint32_t i = 0; (i = bitset_next(untried, i)) != UINT32_MAX; i++) {
        double count = policy_times_at(times, i, INT64_MAX).count;
        if (count > 0) bitset_unset(untried, i);
        if (count >= least) bitset_set(tried, i);
    }
    return BRAID_OK;
}

/* Of a refresh: those that have a list keep it. */
static void leave_listed(fit *f, bitset *untried) {
    const policy_model_set *set = f->only ? policy_models_get(f->models) : NULL;
    const learn_edges *e = set ? set->from[POLICY_MODEL_CONTENT] : NULL;
    for (uint32_t i = 0; e && (i = bitset_next(untried, i)) < e->items; i++)
        if (e->at[i + 1] > e->at[i]) bitset_unset(untried, i);
    if (set) policy_models_release(set);
}

int fit_content_all(fit *f, const policy_times *times, learn_edges **near, learn_edges **linear) {
    bitset tried = {0}, untried = {0};
    int rc = fit_present(f, times, FIT_SOURCE_LEAST, &tried, &untried);
    *near = *linear = NULL;
    if (rc == BRAID_OK) leave_listed(f, &untried);
    if (rc == BRAID_OK) rc = fit_content(f, &untried, &tried, times, near, linear);
    bitset_free(&tried);
    bitset_free(&untried);
    return rc;
}
