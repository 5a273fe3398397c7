/* Likeness of items by what is written of them. Private to the room. */
#ifndef POLICY_FACETS_H
#define POLICY_FACETS_H

#include "policy/history.h"

typedef enum facet_group { FACETS_GENRES, FACETS_THEMES, FACETS_PEOPLE, FACET_GROUPS } facet_group;
/* The space that a facet is of, and what it weighs in the vector of an item of a catalogue of so many. */
facet_group facet_weigh(const catalogue *cat, double items, uint32_t facet, float *weight);

typedef struct facet_likeness {
    float liked[FACET_GROUPS], against[FACET_GROUPS];
} facet_likeness;

/* A person's facets: per group the weighted mean of the unit vectors over facets of what they liked, and of what
 * they did not. */
typedef struct facet_profile facet_profile;
facet_profile *facet_profile_make(catalogue *cat, const history_weights *h, arena *a); /* NULL: no memory */
/* The item's unit vectors against the profile; false: no memory. */
bool facet_profile_score(facet_profile *p, const catalogue_card *card, facet_likeness *out);

#endif
