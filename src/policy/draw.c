/* Drawing a list, so that what it shows can teach and its chances can be told.
 *
 * Each place belongs to the item that is best by score among those that are left. With the probability `share` the
 * place explores: it goes to an item drawn from all that may be explored (which the best may be as well), until `most`
 * places of the list have gone to another than the best. So given the places above it, an item's chance of a place is
 *
 *     (1 - share) [it is the best]  +  share q(item)
 *
 * exactly: it needs no simulation, and the chances along a list multiply to that of the list. With share 0, or once the
 * budget is spent, it is 1. Judges of policies (inverse propensities) need that number and need it exact.
 *
 * q is either a softmax over the scores (Plackett & Luce: drawing place after place is what Gumbel noise over the
 * scores would give), its temperature in standard deviations of the scores, so that it means the same on every scale;
 * or that of a set of opinions, each a score of every item: one of them is asked at random, and its best item is taken.
 * One opinion, the upper confidence bound, makes LinUCB; several, drawn from a posterior beforehand, make Thompson
 * sampling, whose chances could not be told otherwise: an item's is the share of opinions that hold it to be best.
 * FLOOR of the exploring is spread evenly in that case, so that nothing which may be shown is without a chance, and
 * every other policy can be judged by what this one showed.
 *
 * Rejected: noise over the whole list (Gumbel or sampled scores), which moves all places to try one, cannot be held
 * to a budget, and whose chances of a place are not of closed form. */
#include <math.h>

#include "policy/policy.h"

static const double FLOOR = 0.1;

struct policy_draw {
    policy_draw_options o;
    double *chance; /* softmax: weights; opinions: scratch */
    bool *may;      /* and is not taken yet */
    size_t left;    /* of them */
    size_t explored;
    rng random;
};

static double spread_of(const policy_draw_options *o) {
    double n = 0, mean = 0, m2 = 0;
    for (size_t i = 0; i < o->n; i++) {
        if (!o->may[i]) continue;
        double away = o->value[i] - mean;
        mean += away / ++n;
        m2 += away * (o->value[i] - mean);
    }
    return n > 0 && m2 > 0 ? sqrt(m2 / n) : 1;
}

static void softmax_weights(policy_draw *d) {
    double most = -INFINITY, scale = d->o.temperature * spread_of(&d->o);
    for (size_t i = 0; i < d->o.n; i++)
        if (d->may[i]) most = fmax(most, d->o.value[i]);
    for (size_t i = 0; i < d->o.n; i++)
        d->chance[i] = !d->may[i] ? 0 : scale > 0 ? exp((d->o.value[i] - most) / scale) : d->o.value[i] == most;
}

int policy_draw_new(const policy_draw_options *o, arena *a, policy_draw **out, braid_error *err) {
    policy_draw *d = *out = arena_calloc(a, 1, sizeof *d);
    if (d) {
        *d = (policy_draw){.o = *o,
                           .chance = arena_calloc(a, o->n + 1, sizeof *d->chance),
                           .may = arena_calloc(a, o->n + 1, sizeof *d->may)};
        rng_seed(&d->random, o->seed);
    }
    if (!d || !d->chance || !d->may) {
        *out = NULL;
        return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for exploring");
    }
    for (size_t i = 0; i < o->n; i++) d->left += d->may[i] = o->may[i];
    if (o->opinions == 0) softmax_weights(d);
    return BRAID_OK;
}

/* Each opinion's best of what is left. */
static void ask_opinions(policy_draw *d) {
    for (size_t i = 0; i < d->o.n; i++) d->chance[i] = d->may[i] ? FLOOR / (double)d->left : 0;
    for (size_t m = 0; m < d->o.opinions; m++) {
        const double *value = d->o.value + m * d->o.n;
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < d->o.n; i++)
            if (d->may[i] && (best == SIZE_MAX || value[i] > value[best])) best = i;
        d->chance[best] += (1 - FLOOR) / (double)d->o.opinions;
    }
}

/* Brings `chance` to sum up to *sum over what is left; false: nothing may be explored. */
static bool chances(policy_draw *d, double *sum) {
    if (d->left == 0) return false;
    if (d->o.opinions) ask_opinions(d);
    *sum = 0;
    for (size_t i = 0; i < d->o.n; i++) *sum += d->chance[i];
    if (*sum > 0) return true;
    /* all that is left is too far below the best to count */
    for (size_t i = 0; i < d->o.n; i++) *sum += d->chance[i] = d->may[i];
    return true;
}

static size_t draw_one(policy_draw *d, double sum) {
    double at = rng_uniform(&d->random) * sum;
    size_t last = SIZE_MAX;
    for (size_t i = 0; i < d->o.n; i++) {
        if (d->chance[i] <= 0) continue;
        last = i;
        if ((at -= d->chance[i]) < 0) break;
    }
    return last;
}

policy_drawn policy_draw_next(policy_draw *d, size_t best) {
    policy_drawn to = {.which = best, .propensity = 1};
    double sum = 0, share = d->explored < d->o.most ? d->o.share : 0;
    BRAID_ASSERT(best < d->o.n);
    if (share > 0 && chances(d, &sum)) {
        if (rng_uniform(&d->random) < share) to.which = draw_one(d, sum);
        to.explored = to.which != best;
        to.propensity = share * d->chance[to.which] / sum + (to.explored ? 0 : 1 - share);
        d->explored += to.explored;
    }
    policy_draw_take(d, to.which);
    return to;
}

void policy_draw_take(policy_draw *d, size_t which) {
    BRAID_ASSERT(which < d->o.n);
    if (d->may[which]) d->left--;
    d->may[which] = false;
    d->chance[which] = 0;
}
