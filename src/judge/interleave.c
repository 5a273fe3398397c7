/* Two rankings in one list: team draft (Radlinski, Kurup & Joachims 2008), which needs a tenth of the traffic that two
 * arms need, since every person judges both.
 *
 * If the rankings are equally good, each slate that is won was won by the toss of a fair coin, whatever people are
 * like and however often they come back. So the number of wins is tested against that coin, by the mixture of all
 * other coins (uniform prior: Robbins 1970): its ratio B(a + 1, b + 1) 2^(a + b) is a martingale under the fair
 * coin, and one over it a p-value at every look at once. Exact, at any number of slates. */
#include <math.h>

#include "judge/judge.h"

static const double ALPHA = 0.05;

static bool drafted(const uint32_t *out, size_t n, uint32_t num) {
    for (size_t i = 0; i < n; i++)
        if (out[i] == num) return true;
    return false;
}

/* The next of a list that is not there yet; false at its end. */
static bool draft_one(const uint32_t *list, size_t n, size_t *at, uint32_t *out, uint8_t *team, size_t *count,
                      uint8_t who) {
    while (*at < n && drafted(out, *count, list[*at])) ++*at;
    if (*at == n) return false;
    out[*count] = list[(*at)++];
    team[(*count)++] = who;
    return true;
}

size_t judge_team_draft(const uint32_t *a, size_t na, const uint32_t *b, size_t nb, size_t k, rng *r, uint32_t *out,
                        uint8_t *team) {
    size_t at[2] = {0, 0}, count = 0;
    const uint32_t *const list[2] = {a, b};
    const size_t len[2] = {na, nb};
    while (count < k) {
        uint8_t begins = (uint8_t)rng_below(r, 2);
        bool one = draft_one(list[begins], len[begins], &at[begins], out, team, &count, begins), other = false;
        if (count < k) other = draft_one(list[!begins], len[!begins], &at[!begins], out, team, &count, !begins);
        if (!one && !other) break;
    }
    return count;
}

/* log of the mixture's ratio against a coin that falls on the second's side with probability p. */
static double log_ratio(double a, double b, double p) {
    return lgamma(a + 1) + lgamma(b + 1) - lgamma(a + b + 2) - a * log1p(-p) - b * log(p);
}

/* The bound of the share on one side: where the ratio reaches 1 / ALPHA. It grows with the distance from b / (a +
 * b). */
static double bound(double a, double b, double inside, double outside) {
    for (int i = 0; i < 60; i++) {
        double mid = (inside + outside) / 2;
        if (log_ratio(a, b, mid) < -log(ALPHA))
            inside = mid;
        else
            outside = mid;
    }
    return inside;
}

judge_duel judge_duel_of(uint64_t first, uint64_t second) {
    double a = (double)first, b = (double)second, n = a + b;
    judge_duel d = {.share = {0.5, 0, 1}, .p = 1};
    if (n == 0) return d;
    double share = b / n, log_p = -log_ratio(a, b, 0.5);
    d.share = (judge_value){share, b > 0 ? bound(a, b, share, 0) : 0, a > 0 ? bound(a, b, share, 1) : 1};
    d.p = log_p < 0 ? exp(log_p) : 1;
    d.decided = d.p < ALPHA;
    return d;
}
