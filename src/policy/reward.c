/* Rewards: one number in 0..1 for what a person did with an item.
 *
 * The scale is fixed, so that rewards of different kinds add up: 1 is "just what they wanted", 0 "not this". What a
 * person says (like, rate) and what a person does to the end (complete) count in full; what they merely open counts
 * little. Watching nearly to the end is watching to the end: credits are not the film. Rejected: a learned scale,
 * since it would make yesterday's posteriors mean something else today. */
#include <math.h>

#include "policy/policy.h"

static const double reward_click = 0.3, reward_view = 0.15, reward_unknown = 0.5;
static const double reward_full_share = 0.9; /* of the duration: from here on it was watched */
static const double rating_min = 0.5, rating_max = 5;

static double reward_rating(double rating) {
    double r = (rating - rating_min) / (rating_max - rating_min);
    return r < 0 ? 0 : r > 1 ? 1 : r;
}

static double reward_watch(const interaction *in, int32_t duration_s) {
    double r = reward_unknown;
    if (duration_s > 0 && in->watch_s >= 0) {
        r = (double)in->watch_s / duration_s;
        if (r >= reward_full_share) r = 1;
    }
    return isnan(in->rating) ? r : (r + reward_rating(in->rating)) / 2;
}

double policy_reward(const interaction *in, int32_t duration_s) {
    switch (in->type) {
    case INTERACTION_COMPLETE:
    case INTERACTION_LIKE: return 1;
    case INTERACTION_DISLIKE:
    case INTERACTION_SKIP: return 0;
    case INTERACTION_RATE: return isnan(in->rating) ? reward_unknown : reward_rating(in->rating);
    case INTERACTION_WATCH: return reward_watch(in, duration_s);
    case INTERACTION_CLICK: return reward_click;
    case INTERACTION_VIEW: return reward_view;
    case INTERACTION_TYPES: break;
    }
    BRAID_ASSERT(!"an interaction's type is one of the enum");
    return 0;
}
