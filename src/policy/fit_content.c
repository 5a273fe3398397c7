/* Content neighbours: for what few have watched, the fifty watched items that are most alike.
 *
 * Alike means: vectors point the same way, genres and people are shared, the years are near; each 0..1, the mean of them to
 * the fourth power, so that a few near ones outweigh many far ones. The nearest by vector are looked at and no others: what
 * shares genres and nothing else is not alike. Weights of a target sum to 1, so that a score over them is a mean. */
#include <math.h>
#include <stdlib.h>

#include "policy/fit_private.h"

enum { LOOK_AT = 200, KEEP = 50, FEW = 10, BATCH = 64 };
static const float GENRES = 0.5f, PEOPLE = 0.5f, YEARS = 0.5f, VECTORS = 1;
static const double YEARS_NEAR = 5;

/* Facets as numbers: what one weighs in the vector of an item. */
typedef struct content {
    fit *f;
    float *weight; /* by facet id */
    uint8_t *group;
    uint32_t facets;
    float *mark; /* the target's unit vector, by facet id */
    candidate found[LOOK_AT];
    learn_edge edges[LOOK_AT];
} content;

static void content_free(content *c) {
    if (!c) return;
    free(c->weight);
    free(c->group);
    free(c->mark);
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
    double items = (double)catalogue_count(f->cat);
    for (uint32_t i = 0; i < c->facets; i++) {
        filter_field field = FIELD_COUNT;
        const char *name = catalogue_facet_name(f->cat, i, &field);
        double having = name ? fmax((double)catalogue_facet_count(f->cat, field, name), 1) : 1;
        c->group[i] = field == FIELD_GENRES ? 1 : field == FIELD_PEOPLE ? 2 : 0;
        c->weight[i] = (float)(field == FIELD_GENRES ? 1 / sqrt(having) : log(1 + items / having));
    }
    return c;
}

/* Lengths of an item's two facet vectors. */
static void lengths(const content *c, const catalogue_card *card, double length[3]) {
    length[0] = length[1] = length[2] = 0;
    for (size_t i = 0; i < card->facet_count; i++) {
        uint32_t id = card->facets[i];
        if (id < c->facets) length[c->group[id]] += (double)c->weight[id] * c->weight[id];
    }
    for (int g = 0; g < 3; g++) length[g] = sqrt(length[g]);
}

static void mark(content *c, const catalogue_card *card, bool on) {
    double length[3];
    lengths(c, card, length);
    for (size_t i = 0; i < card->facet_count; i++) {
        uint32_t id = card->facets[i];
        if (id < c->facets) c->mark[id] = on ? (float)(c->weight[id] / length[c->group[id]]) : 0;
    }
}

static float alike(const content *c, const catalogue_card *target, const catalogue_card *other, float cosine) {
    double length[3], dot[3] = {0}, apart = fabs((double)target->year - other->year);
    lengths(c, other, length);
    for (size_t i = 0; i < other->facet_count; i++) {
        uint32_t id = other->facets[i];
        if (id < c->facets && c->mark[id] > 0) dot[c->group[id]] += c->mark[id] * c->weight[id] / length[c->group[id]];
    }
    double near = target->year && other->year ? exp(-apart / YEARS_NEAR) : 0;
    double sum = GENRES * dot[1] + PEOPLE * dot[2] + YEARS * near + VECTORS * fmax(cosine, 0);
    return (float)(sum / (GENRES + PEOPLE + YEARS + VECTORS));
}

static int target_edges(content *c, const catalogue_card *target, const float *vector, const bitset *sources,
                        uint64_t source_count, arena *a, learn_edges_draft *draft) {
    uint32_t nums[LOOK_AT];
    catalogue_card *cards = NULL;
    vector_stats stats = {0};
    size_t n = 0;
    vector_query q = {.values = vector, .k = LOOK_AT, .ef = LOOK_AT, .allow = sources, .allow_count = source_count};
    int rc = vector_search(c->f->vectors, &q, c->found, &n, &stats, c->f->err);
    for (size_t i = 0; i < n; i++) nums[i] = c->found[i].num;
    if (rc == BRAID_OK) rc = catalogue_get_cards(c->f->cat, nums, n, a, &cards, c->f->err);
    if (rc != BRAID_OK) return rc;
    mark(c, target, true);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        float s = cards[i].num && nums[i] != target->num ? alike(c, target, &cards[i], c->found[i].score) : 0;
        if (s > 0) c->edges[kept++] = (learn_edge){nums[i], s * s * s * s};
    }
    mark(c, target, false);
    kept = learn_edges_strongest(c->edges, kept, KEEP);
    float sum = 0;
    for (size_t i = 0; i < kept; i++) sum += c->edges[i].weight;
    for (size_t i = 0; i < kept; i++) c->edges[i].weight /= sum;
    return learn_edges_draft_set(draft, target->num, c->edges, kept) ? BRAID_OK : fit_no_memory(c->f->err);
}

/* A batch of targets: one call for their vectors. */
static int batch_edges(content *c, const uint32_t *targets, size_t n, const bitset *sources, uint64_t source_count,
                       arena *a, learn_edges_draft *draft) {
    catalogue_card *cards = NULL;
    bool found[BATCH];
    float *vectors = arena_alloc(a, n * c->f->dim * sizeof *vectors);
    int rc = vectors ? vector_fetch_many(c->f->vectors, targets, n, 0, vectors, found, c->f->err) : fit_no_memory(c->f->err);
    if (rc == BRAID_OK) rc = catalogue_get_cards(c->f->cat, targets, n, a, &cards, c->f->err);
    for (size_t i = 0; rc == BRAID_OK && i < n; i++)
        if (found[i] && cards[i].num)
            rc = target_edges(c, &cards[i], vectors + i * c->f->dim, sources, source_count, a, draft);
    return rc;
}

static bool present(void *ctx, uint32_t num, const char *id, uint64_t version) {
    (void)id;
    (void)version;
    bitset_set(ctx, num);
    return true;
}

int fit_content(fit *f, const policy_times *times, learn_edges **out) {
    uint32_t bits = catalogue_bits(f->cat) > f->items ? catalogue_bits(f->cat) : f->items, targets[BATCH];
    content *c = content_new(f);
    learn_edges_draft *draft = learn_edges_draft_new(bits);
    arena *a = arena_new(1 << 18);
    bitset there = {0}, sources = {0};
    size_t n = 0;
    int rc = c && draft && a && bitset_init(&there, bits) && bitset_init(&sources, bits) ? BRAID_OK : fit_no_memory(f->err);
    *out = NULL;
    if (rc == BRAID_OK) catalogue_scan(f->cat, present, &there);
    for (uint32_t i = 0; rc == BRAID_OK && (i = bitset_next(&there, i)) != UINT32_MAX; i++)
        if (policy_times_at(times, i, INT64_MAX).count > 0) bitset_set(&sources, i);
    uint64_t source_count = rc == BRAID_OK ? bitset_count(&sources) : 0;
    f->phase = "content";
    for (uint32_t i = 0; rc == BRAID_OK && source_count && (i = bitset_next(&there, i)) != UINT32_MAX; i++) {
        if (policy_times_at(times, i, INT64_MAX).count < FEW) targets[n++] = i;
        if (n < BATCH) continue;
        rc = batch_edges(c, targets, n, &sources, source_count, a, draft);
        n = 0;
        arena_reset(a);
        if (rc == BRAID_OK && !fit_tell(f, i, bits))
            rc = error_set(f->err, BRAID_E_CLOSED, "policy/fit", "stopped before the end; nothing was changed");
    }
    if (rc == BRAID_OK && n) rc = batch_edges(c, targets, n, &sources, source_count, a, draft);
    if (rc == BRAID_OK) {
        rc = learn_edges_draft_finish(draft, out, f->err);
        draft = NULL;
    }
    learn_edges_draft_free(draft);
    bitset_free(&there);
    bitset_free(&sources);
    arena_free(a);
    content_free(c);
    return rc;
}
