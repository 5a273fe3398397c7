/* Recent taste, as a part of a state: the genre that a person liked most lately.
 *
 * Of the ten newest items that they judged (each with its latest judgement, a view or a click being none), those that
 * they liked vote for their genres, an item nine tenths as much as the one after it; the most votes win, and of two
 * with as many the first in byte order. Who liked none of the ten has no taste.
 *
 * The value is a word of the items themselves, so it means the same in every process, after a restart and after any
 * learning: nothing has to be numbered, kept or matched. The learner (learner_recent.c) takes the ten as of each
 * interaction, an answer (profile_taste.c) as of now; both vote here, in whole numbers, so that they meet.
 *
 * Rejected: spherical k-means over genre vectors, which separates a little better and would have to be learned,
 * versioned and matched (docs/adr/0014-taste-is-a-genre.md has the figures); weighing rare genres more, since how rare
 * one is depends on when the learner looks. */
#include <string.h>

#include "policy/policy.h"

/* 1000 x 0.9^place */
static const uint32_t taste_weights[POLICY_TASTE_ITEMS] = {1000, 900, 810, 729, 656, 590, 531, 478, 430, 387};

bool policy_judges(interaction_type type) {
    return type != INTERACTION_VIEW && type != INTERACTION_CLICK;
}

void policy_taste_vote(policy_taste *t, size_t place, const char *genre) {
    BRAID_ASSERT(place < POLICY_TASTE_ITEMS);
    struct policy_taste_vote *v = t->of, *end = t->of + t->count;
    while (v < end && strcmp(v->genre, genre) != 0) v++;
    if (v == end) {
        if (t->count == POLICY_TASTE_GENRES) return; /* of this many words none says anything */
        *v = (struct policy_taste_vote){genre, 0, UINT32_MAX};
        t->count++;
    }
    if (v->place == place) return;
    v->votes += taste_weights[place];
    v->place = (uint32_t)place;
}

const char *policy_taste_winner(const policy_taste *t) {
    const struct policy_taste_vote *best = NULL;
    for (const struct policy_taste_vote *v = t->of; v < t->of + t->count; v++)
        if (!best || v->votes > best->votes || (v->votes == best->votes && strcmp(v->genre, best->genre) < 0)) best = v;
    return best ? best->genre : "";
}
