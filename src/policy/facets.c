/* Facets as vectors: genres, themes (with moods and contexts) and people are three spaces; in each an item is the unit
 * vector of its facets, a rare one weighing more than a common one, and a person the weighted mean of the items that they
 * liked. A likeness is a dot product, which an editor can take apart.
 *
 * Weights: 1 / sqrt(items that have it) for genres, which are few and all common; log(items / items that have it) for the
 * open vocabularies. The number of items that have a facet is looked up once a facet and answer. */
#include "policy/facets.h"

#include <math.h>
#include <string.h>

#include "policy/intern.h"

enum { ITEMS_MAX = 300 /* the newest that carry weight: what is older says little that they do not */ };

typedef struct facet_entry {
    float weight; /* in an item's vector, before it is made a unit */
    float sum;    /* in the person's */
    uint8_t group;
} facet_entry;

struct facet_profile {
    catalogue *cat;
    double items;
    policy_intern ids; /* facet id -> entry */
    facet_entry *entries;
    size_t cap;
    arena *a;
};

static facet_group group_of(filter_field field) {
    return field == FIELD_GENRES ? FACETS_GENRES : field == FIELD_PEOPLE ? FACETS_PEOPLE : FACETS_THEMES;
}

static void entry_fill(facet_profile *p, uint32_t facet, facet_entry *e) {
    filter_field field;
    const char *name = catalogue_facet_name(p->cat, facet, &field);
    double having = name ? (double)catalogue_facet_count(p->cat, field, name) : 1;
    if (having < 1) having = 1;
    e->group = (uint8_t)group_of(field);
    e->weight = (float)(e->group == FACETS_GENRES ? 1 / sqrt(having) : log(1 + p->items / having));
    e->sum = 0;
}

/* The facet's entry, filled when it is met first; NULL: no memory. */
static facet_entry *entry_of(facet_profile *p, uint32_t facet) {
    size_t known = p->ids.count;
    uint32_t i = policy_intern_add(&p->ids, &facet, sizeof facet);
    if (i == POLICY_INTERN_NONE) return NULL;
    if (i >= p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 128;
        facet_entry *grown = arena_alloc(p->a, cap * sizeof *grown);
        if (!grown) return NULL;
        if (p->cap) memcpy(grown, p->entries, p->cap * sizeof *grown);
        p->entries = grown;
        p->cap = cap;
    }
    if (i >= known) entry_fill(p, facet, &p->entries[i]);
    return &p->entries[i];
}

static bool add_item(facet_profile *p, const catalogue_card *card, float weight) {
    double square[FACET_GROUPS] = {0};
    for (size_t i = 0; i < card->facet_count; i++) {
        const facet_entry *e = entry_of(p, card->facets[i]);
        if (!e) return false;
        square[e->group] += (double)e->weight * e->weight;
    }
    for (size_t i = 0; i < card->facet_count; i++) {
        facet_entry *e = entry_of(p, card->facets[i]);
        e->sum += (float)(weight * e->weight / sqrt(square[e->group]));
    }
    return true;
}

facet_profile *facet_profile_make(catalogue *cat, const uint32_t *nums, const float *weights, size_t n, arena *a) {
    facet_profile *p = arena_calloc(a, 1, sizeof *p);
    uint32_t *kept = arena_alloc(a, ITEMS_MAX * sizeof *kept);
    float *kept_weights = arena_alloc(a, ITEMS_MAX * sizeof *kept_weights);
    if (!p || !kept || !kept_weights) return NULL;
    *p = (facet_profile){.cat = cat, .items = (double)catalogue_count(cat), .a = a};
    policy_intern_init(&p->ids, a);
    size_t count = 0;
    for (size_t i = 0; i < n && count < ITEMS_MAX; i++)
        if (weights[i] != 0) {
            kept[count] = nums[i];
            kept_weights[count++] = weights[i];
        }
    catalogue_card *cards = NULL;
    if (catalogue_get_cards(cat, kept, count, a, &cards, NULL) != BRAID_OK) return NULL;
    for (size_t i = 0; i < count; i++)
        if (cards[i].num && !add_item(p, &cards[i], kept_weights[i])) return NULL;
    return p;
}

void facet_profile_score(facet_profile *p, const catalogue_card *card, float out[FACET_GROUPS]) {
    double square[FACET_GROUPS] = {0}, dot[FACET_GROUPS] = {0};
    for (size_t i = 0; i < card->facet_count; i++) {
        const facet_entry *e = entry_of(p, card->facets[i]);
        if (!e) continue;
        square[e->group] += (double)e->weight * e->weight;
        dot[e->group] += (double)e->weight * e->sum;
    }
    for (int g = 0; g < FACET_GROUPS; g++) out[g] = square[g] > 0 ? (float)(dot[g] / sqrt(square[g])) : 0;
}
