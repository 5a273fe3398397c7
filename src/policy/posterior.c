/* Posteriors: what is believed of the reward of an action, and how surely.
 *
 * A mean, a variance of single rewards and a count. The mean is the plain average; the variance follows with weight
 * 1/min(n + 1, 50), so that it settles and still follows a taste that changes. Deviations are taken from the mean
 * before the reward was in it: after the first reward that is the distance to the prior, not zero, so nobody is sure
 * after one look.
 *
 * Levels: what is known of few (this person in this state) leans on what is known of more (this person, this state,
 * everybody), as if the level above were n0 rewards of its own (empirical-Bayes shrinkage). Their disagreement adds
 * variance: where a person differs from the crowd, trying is worth more. Of the evidence above, at most n0 counts
 * below.
 *
 * Sampling is Gaussian with the variance of the mean (Thompson 1933; Agrawal & Goyal 2013 for this form). Rejected:
 * Beta posteriors, since rewards are shares and ratings and not coin tosses. */
#include <math.h>

#include "policy/policy.h"

static const double variance_window = 50;

policy_posterior policy_prior(void) {
    return (policy_posterior){.mean = 0.5, .variance = 0.08, .count = 0};
}

void policy_update(policy_posterior *p, double reward) {
    double n = p->count + 1, deviation = reward - p->mean;
    double weight = 1 / fmin(n, variance_window);
    p->variance += weight * (deviation * deviation - p->variance);
    p->mean += deviation / n;
    p->count = n;
}

policy_posterior policy_shrink(policy_posterior own, policy_posterior parent, double n0) {
    double total = own.count + n0;
    if (total <= 0) return parent;
    double w = own.count / total, apart = own.mean - parent.mean;
    return (policy_posterior){.mean = w * own.mean + (1 - w) * parent.mean,
                              .variance = w * own.variance + (1 - w) * parent.variance + w * (1 - w) * apart * apart,
                              .count = own.count + fmin(parent.count, n0)};
}

double policy_spread(policy_posterior p, double n0) {
    double total = p.count + n0;
    return sqrt(p.variance / (total > 0 ? total : 1));
}

double policy_sample(policy_posterior p, double n0, rng *r) {
    double x = p.mean + rng_normal(r) * policy_spread(p, n0);
    return x < 0 ? 0 : x > 1 ? 1 : x;
}
