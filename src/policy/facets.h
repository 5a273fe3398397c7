/* Likeness of items by what is written of them. Private to the room. */
#ifndef POLICY_FACETS_H
#define POLICY_FACETS_H

#include "policy/history.h"

typedef enum facet_group { FACETS_GENRES, FACETS_THEMES, FACETS_PEOPLE, FACET_GROUPS } facet_group;

/* A person's facets: per group the weighted mean of the items' unit vectors over facets. */
typedef struct facet_profile facet_profile;
/* NULL: no memory. `weights` by item of the history; those that are 0 are not looked up. */
facet_profile *facet_profile_make(catalogue *cat, const uint32_t *nums, const float *weights, size_t n, arena *a);
/* The item's unit vectors against the profile. */
void facet_profile_score(facet_profile *p, const catalogue_card *card, float out[FACET_GROUPS]);

#endif
