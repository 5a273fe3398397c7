/* What the files of the room share; nobody else includes it. */
#ifndef POLICY_PRIVATE_H
#define POLICY_PRIVATE_H

#include "policy/policy.h"

/* Where the weights of the ranking lie among the policies: of all agents, of everybody. */
#define POLICY_RANKING_AGENT "*"
#define POLICY_RANKING_STATE "ranking"
/* The action whose count is the version of the weights that a row began with. */
#define POLICY_RANKING_BASE "base"
/* What the names of the weights of fresh lists begin with. */
#define POLICY_RANKING_FRESH "fresh_"

bool policy_weights_read(const record_policy *row, policy_weights *w);

/* Actions are genres: their text is this and the genre's name. */
#define POLICY_ACTION_PREFIX "genres="
#define POLICY_ACTION_FIELD  FIELD_GENRES

/* The genre of an action's text, or NULL if it is an action of another kind. */
static inline const char *policy_action_genre(const char *action) {
    size_t n = sizeof POLICY_ACTION_PREFIX - 1;
    for (size_t i = 0; i < n; i++)
        if (action[i] != POLICY_ACTION_PREFIX[i]) return NULL;
    return action + n;
}

#endif
