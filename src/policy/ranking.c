/* The ranking: a line through standardised features.
 *
 * A line is enough: on public data trees over the same features did not beat it, and each weight can be read aloud. The
 * default weights were fitted on the validation part of MovieLens (docs/quality.md) and serve until a service has
 * choices of its own to fit on. */
#include "policy/policy_private.h"

policy_weights policy_weights_default(void) {
    return (policy_weights){.mean = {[POLICY_FEATURE_SLIM] = 0.31,
                                     [POLICY_FEATURE_TOGETHER] = 0.19,
                                     [POLICY_FEATURE_FOLLOWS] = 0.58,
                                     [POLICY_FEATURE_NEXT] = 0.28,
                                     [POLICY_FEATURE_CONTENT] = 0.18,
                                     [POLICY_FEATURE_CONTENT_RECENT] = 0.15,
                                     [POLICY_FEATURE_GENRES] = 0.19,
                                     [POLICY_FEATURE_GENRES_AGAINST] = -0.07,
                                     [POLICY_FEATURE_PEOPLE] = 0.06,
                                     [POLICY_FEATURE_VALUE] = 0.22,
                                     [POLICY_FEATURE_POPULAR] = -0.13,
                                     [POLICY_FEATURE_TREND] = 0.07,
                                     [POLICY_FEATURE_UNTRIED] = -0.43,
                                     [POLICY_FEATURE_AGE] = -0.08}};
}

double policy_rank(const policy_weights *w, const policy_candidate *c) {
    double sum = 0;
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) sum += w->mean[f] * c->x[f];
    return sum;
}
