/* Facets as vectors: genres, themes (with moods and contexts) and people are three spaces; in each an item is the unit
 * vector of its facets, a rare one weighing more than a common one, and a person the weighted mean of the items that
 * they liked, and another of those that they did not. A likeness is a dot product, which an editor can take apart.
 *
 * Weights: 1 / sqrt(items that have it) for genres, which are few and all common; log(items / items that have it)
 * for the open vocabularies. A facet is looked up in the catalogue once an answer; what is known of it then lies in
 * a small open table by its number. */
#include "policy/facets.h"

#include <math.h>
#include <string.h>

enum {
    ITEMS_MAX = 300 /* the newest that carry weight: what is older says little that they do not */,
    TABLE_LEAST = 256
};

typedef struct facet_entry {
    uint32_t facet; /* + 1; 0: free */
    uint8_t group;
    float weight;         /* in an item's vector, before it is made a unit */
    float liked, against; /* in the person's */
} facet_entry;

struct facet_profile {
    catalogue *cat;
    double items;
    facet_entry *table;
    uint32_t mask, count;
    arena *a;
};

facet_group facet_weigh(const catalogue *cat, double items, uint32_t facet, float *weight) {
    filter_field field = FIELD_COUNT;
    double having = fmax((double)catalogue_facet_size(cat, facet, &field), 1);
    *weight = (float)(field == FIELD_GENRES ? 1 / sqrt(having) : log(1 + items / having));
    return field == FIELD_GENRES ? FACETS_GENRES : field == FIELD_PEOPLE ? FACETS_PEOPLE : FACETS_THEMES;
}

static facet_entry *slot_of(const facet_profile *p, uint32_t facet) {
    uint32_t at = facet * UINT32_C(2654435769) & p->mask;
    while (p->table[at].facet != 0 && p->table[at].facet != facet + 1) at = (at + 1) & p->mask;
    return &p->table[at];
}

static bool grow(facet_profile *p) {
    facet_entry *old = p->table;
    uint32_t slots = old ? (p->mask + 1) * 2 : TABLE_LEAST, before = old ? p->mask + 1 : 0;
    facet_entry *table = arena_calloc(p->a, slots, sizeof *table);
    if (!table) return false;
    p->table = table;
    p->mask = slots - 1;
    for (uint32_t i = 0; i < before; i++)
        if (old[i].facet) *slot_of(p, old[i].facet - 1) = old[i];
    return true;
}

/* The facet's entry, filled when it is met first; NULL: no memory. */
static facet_entry *entry_of(facet_profile *p, uint32_t facet) {
    facet_entry *e = slot_of(p, facet);
    if (e->facet) return e;
    if (2 * (p->count + 1) > p->mask) {
        if (!grow(p)) return NULL;
        e = slot_of(p, facet);
    }
    p->count++;
    e->facet = facet + 1;
    e->group = (uint8_t)facet_weigh(p->cat, p->items, facet, &e->weight);
    return e;
}

static bool lengths(facet_profile *p, const catalogue_card *card, double length[FACET_GROUPS]) {
    memset(length, 0, FACET_GROUPS * sizeof *length);
    for (size_t i = 0; i < card->facet_count; i++) {
        const facet_entry *e = entry_of(p, card->facets[i]);
        if (!e) return false;
        length[e->group] += (double)e->weight * e->weight;
    }
    for (int g = 0; g < FACET_GROUPS; g++) length[g] = sqrt(length[g]);
    return true;
}

static bool add_item(facet_profile *p, const catalogue_card *card, float liked, float against) {
    double length[FACET_GROUPS];
    if (!lengths(p, card, length)) return false;
    for (size_t i = 0; i < card->facet_count; i++) {
        facet_entry *e = slot_of(p, card->facets[i]);
        float share = (float)(e->weight / length[e->group]);
        e->liked += liked * share;
        e->against += against * share;
    }
    return true;
}

facet_profile *facet_profile_make(catalogue *cat, const history_weights *h, arena *a) {
    facet_profile *p = arena_calloc(a, 1, sizeof *p);
    uint32_t *nums = arena_alloc(a, ITEMS_MAX * sizeof *nums);
    size_t *at = arena_alloc(a, ITEMS_MAX * sizeof *at), count = 0;
    if (!p || !nums || !at) return NULL;
    *p = (facet_profile){.cat = cat, .items = (double)catalogue_count(cat), .a = a};
    for (size_t i = 0; i < h->count && count < ITEMS_MAX; i++)
        if (h->liked[i] != 0 || h->against[i] != 0) {
            nums[count] = h->nums[i];
            at[count++] = i;
        }
    catalogue_card *cards = NULL;
    if (!grow(p) || catalogue_get_cards(cat, nums, count, a, &cards, NULL) != BRAID_OK) return NULL;
    for (size_t i = 0; i < count; i++)
        if (cards[i].num && !add_item(p, &cards[i], h->liked[at[i]], h->against[at[i]])) return NULL;
    return p;
}

bool facet_profile_score(facet_profile *p, const catalogue_card *card, facet_likeness *out) {
    double length[FACET_GROUPS];
    *out = (facet_likeness){0};
    if (!lengths(p, card, length)) return false;
    for (size_t i = 0; i < card->facet_count; i++) {
        const facet_entry *e = slot_of(p, card->facets[i]);
        float share = (float)(e->weight / length[e->group]);
        out->liked[e->group] += share * e->liked;
        out->against[e->group] += share * e->against;
    }
    return true;
}
