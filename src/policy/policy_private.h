/* What the files of the room share; nobody else includes it. */
#ifndef POLICY_PRIVATE_H
#define POLICY_PRIVATE_H

#include "policy/policy.h"

/* Where the weights of the ranking lie among the policies: of all agents, of everybody. */
#define POLICY_RANKING_AGENT "*"
#define POLICY_RANKING_STATE "ranking"
/* The same with a covariance (linear.c), and what is a person's own of it. */
#define POLICY_LINEAR_STATE "linear"
#define POLICY_OFFSET_STATE "offset"
/* The action whose count is the version of the weights that a row began with. */
#define POLICY_RANKING_BASE "base"
/* What the names of the weights of fresh lists begin with. */
#define POLICY_RANKING_FRESH "fresh_"

/* The covariance of a linear model as a row keeps it: three numbers an action, in the places of mean, variance and
 * count. */
enum {
    POLICY_LINEAR_TRIANGLE = POLICY_FEATURE_COUNT * (POLICY_FEATURE_COUNT + 1) / 2,
    POLICY_LINEAR_CELLS = (POLICY_LINEAR_TRIANGLE + 2) / 3,
    POLICY_LINEAR_NAME_BYTES = 24
};
void policy_linear_cell_name(int i, char out[POLICY_LINEAR_NAME_BYTES]);
void policy_linear_cell_get(const policy_linear *l, int i, double out[3]);
void policy_linear_cell_set(policy_linear *l, int i, const double three[3]);
double policy_linear_variance(const policy_linear *l, int feature);
/* How much of a person's own counts after so many choices. */
double policy_offset_share(double count);

bool policy_weights_read(const record_policy *row, policy_weights *w);

/* ---- rows_form.c: a row as a value of the cache ---- */
/* packed: for this process alone, else JSON. */
bool policy_row_write(const record_policy *row, bool packed, buf *out);
/* Hands the row of a cached value on. False: it makes no sense, read the store instead. packed: it may be in that form.
 * An empty row is handed to nobody. */
bool policy_row_read(const char *text, size_t len, bool packed, const char *agent, const record_policy_key *key,
                     size_t which, record_policy_key_fn *each, void *ctx, bool *more);

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
