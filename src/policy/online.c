/* The ranking learns on line: each time something of a list is liked, one step up the likelihood of that choice among
 * everything that the list showed (softmax over the list, AdaGrad steps: Duchi, Hazan & Singer 2011).
 *
 * The contrast with what was shown and passed over is what teaches: learning only from what was chosen costs half of
 * the reward on public data. A step costs microseconds. What was disliked is not learned from here: it says little
 * about the others in the list, and the posteriors of genres hear of it anyway. */
#include <math.h>

#include "policy/shown.h"

static const double RATE = 0.2, TINY = 1e-8;

void policy_online_step(const policy_shown *s, double mean[POLICY_FEATURE_COUNT],
                        double squares[POLICY_FEATURE_COUNT]) {
    double score[POLICY_SHOWN_MAX], most = -INFINITY, sum = 0, gradient[POLICY_FEATURE_COUNT] = {0};
    float x[POLICY_FEATURE_COUNT];
    for (size_t i = 0; i < s->count; i++) {
        score[i] = 0;
        policy_shown_row(s, i, x);
        for (int f = 0; f < POLICY_FEATURE_COUNT; f++) score[i] += mean[f] * x[f];
        if (score[i] > most) most = score[i];
    }
    for (size_t i = 0; i < s->count; i++) sum += score[i] = exp(score[i] - most);
    for (size_t i = 0; i < s->count; i++) {
        double missed = (i == s->chosen) - score[i] / sum;
        policy_shown_row(s, i, x);
        for (int f = 0; f < POLICY_FEATURE_COUNT; f++) gradient[f] += missed * x[f];
    }
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) {
        squares[f] += gradient[f] * gradient[f];
        mean[f] += RATE * gradient[f] / sqrt(squares[f] + TINY);
    }
}
