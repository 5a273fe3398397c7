/* Two arms compared, by a test that may be looked at as often as one likes.
 *
 * A test of fixed length that is looked at every day finds a difference where there is none in far more than one case
 * of twenty. The mixture sequential probability ratio test (Robbins 1970; for experiments: Johari, Koomen, Pekelis &
 * Walsh 2022) weighs "no difference" against differences drawn from N(0, scale^2). With d the difference and V its
 * variance,
 *
 *     ratio = sqrt(V / (V + scale^2)) exp(d^2 scale^2 / (2 V (V + scale^2)))
 *
 * and 1 / ratio is a p-value at every look at once; the interval holds what it would not reject. It is exact for normal
 * observations and a limit for others, hence the least number of people before a verdict.
 *
 * People are assigned, not slates: the variance is that of a ratio of sums over people (slates within a person hang
 * together, and their number is itself an outcome). */
#include <math.h>

#include "judge/judge.h"

static const double ALPHA = 0.05;

void judge_arm_add(judge_arm *a, double reward, double slates) {
    a->people++;
    a->slates += slates;
    a->reward += reward;
    a->reward_square += reward * reward;
    a->cross += reward * slates;
    a->slates_square += slates * slates;
}

double judge_arm_mean(const judge_arm *a) {
    return a->slates > 0 ? a->reward / a->slates : 0;
}

double judge_arm_variance(const judge_arm *a) {
    if (a->people < 2 || a->slates <= 0) return INFINITY;
    double mean = judge_arm_mean(a);
    double squares = a->reward_square - 2 * mean * a->cross + mean * mean * a->slates_square;
    return fmax(squares, 0) * a->people / (a->people - 1) / (a->slates * a->slates);
}

judge_comparison judge_compare(const judge_arm *first, const judge_arm *second, double scale) {
    judge_comparison c = {.p = 1, .difference = {0, -INFINITY, INFINITY}};
    double v = judge_arm_variance(first) + judge_arm_variance(second), s = scale * scale;
    double d = judge_arm_mean(second) - judge_arm_mean(first);
    BRAID_ASSERT(scale > 0);
    c.difference.value = d;
    if (!isfinite(v)) return c;
    if (v <= 0) v = 1e-12; /* every person alike: next to no variance */
    double log_ratio = 0.5 * log(v / (v + s)) + d * d * s / (2 * v * (v + s));
    double half = sqrt(v * (v + s) / s * (log((v + s) / v) - 2 * log(ALPHA)));
    c.p = log_ratio > 0 ? exp(-log_ratio) : 1;
    c.difference.low = d - half;
    c.difference.high = d + half;
    c.decided = c.p < ALPHA && first->people >= JUDGE_PEOPLE_MIN && second->people >= JUDGE_PEOPLE_MIN;
    return c;
}
