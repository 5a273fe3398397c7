/* What another policy would have earned on the traffic of the one that was logged.
 *
 *   IPS    weighs what was earned by how much likelier the other policy would have shown it (Horvitz & Thompson 1952)
 *   SNIPS  divides by the sum of weights instead of their number, place by place (Swaminathan & Joachims 2015): a little
 *          bias for much less noise, and never outside of the rewards' range
 *   DR     predicts rewards and lets the weights correct the prediction's error only (Dudik, Langford & Li 2011); for a
 *          list read from the top, place by place with the weight of what stands above (Kiyohara et al. 2022)
 *
 * A list of k is one of too many to weigh as a whole: its places are weighed by themselves, under a model of how
 * people read (Li et al. 2018; McInerney et al. 2020). Intervals are normal ones over sums by person, since what one
 * person does in many slates is hardly more than one observation; SNIPS is linearised for it. No bootstrap: it
 * resamples the same few large weights and is no wider when they are the trouble; the warnings are there for that. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "judge/judge.h"

static const double Z = 1.959963984540054; /* of 95 % */
static const double EXPLODED = 0.05, SUPPORT_SLACK = 0.05;

/* Sums at one place of the list. */
typedef struct place_sums {
    double weight, square, max, weighted; /* weighted: weight x reward */
    size_t there;                         /* slates that have it */
} place_sums;

typedef struct estimating {
    judge_model model;
    const judge_slate *slates;
    size_t n, depth;
    place_sums *places;
    size_t *order; /* slates by person */
    bool clipped;
} estimating;

static int check(const judge_slate *slates, size_t n, size_t *depth, braid_error *err) {
    *depth = 0;
    for (size_t i = 0; i < n; i++) {
        if (slates[i].count > JUDGE_SLOTS_MAX)
            return error_set(err, BRAID_E_TOO_LARGE, "judge", "slate %zu has more than %d slots", i, JUDGE_SLOTS_MAX);
        if (slates[i].count > *depth) *depth = slates[i].count;
        for (size_t j = 0; j < slates[i].count; j++) {
            const judge_slot *s = &slates[i].slots[j];
            if (!(s->logged > 0 && s->logged <= 1) || !(s->target >= 0 && s->target <= 1))
                return error_set(err, BRAID_E_INVALID, "judge", "slot %zu of slate %zu: a propensity is in (0, 1]", j,
                                 i);
            if (!isfinite(s->reward) || !isfinite(s->predicted) || !isfinite(s->expected))
                return error_set(err, BRAID_E_NOT_FINITE, "judge",
                                 "slot %zu of slate %zu has a figure that is not finite", j, i);
        }
    }
    return BRAID_OK;
}

/* The weights of a slate, place by place; `above` is that of what stands over each place. */
typedef struct weights {
    double product;
    bool clipped;
} weights;

static double next_weight(judge_model model, weights *w, const judge_slot *s, double *above) {
    double ratio = s->target / s->logged;
    *above = model == JUDGE_CASCADE ? w->product : 1;
    double weight = *above * ratio;
    if (weight > JUDGE_WEIGHT_MAX) weight = JUDGE_WEIGHT_MAX, w->clipped = true;
    if (model == JUDGE_CASCADE) w->product = weight;
    return weight;
}

static void add_places(estimating *e) {
    for (size_t i = 0; i < e->n; i++) {
        weights w = {1, false};
        for (size_t j = 0; j < e->slates[i].count; j++) {
            double above, weight = next_weight(e->model, &w, &e->slates[i].slots[j], &above);
            place_sums *p = &e->places[j];
            p->there++;
            p->weight += weight;
            p->square += weight * weight;
            p->max = fmax(p->max, weight);
            p->weighted += weight * e->slates[i].slots[j].reward;
        }
        if (w.clipped) e->clipped = true;
    }
}

/* Which figure of a slate is summed. */
typedef enum figure { LOGGED, IPS, DOUBLY_ROBUST, SNIPS_ERROR } figure;

static double of_slate(const estimating *e, const judge_slate *s, figure f) {
    weights w = {1, false};
    double sum = 0;
    for (size_t j = 0; j < s->count; j++) {
        const judge_slot *x = &s->slots[j];
        const place_sums *p = &e->places[j];
        double above, weight = next_weight(e->model, &w, x, &above);
        switch (f) {
        case LOGGED: sum += x->reward; break;
        case IPS: sum += weight * x->reward; break;
        case DOUBLY_ROBUST: sum += above * x->expected + weight * (x->reward - x->predicted); break;
        case SNIPS_ERROR: /* the influence of this slate on the ratio of its place, times those who have it */
            if (p->weight > 0) sum += weight * (x->reward - p->weighted / p->weight) * (double)p->there / p->weight;
            break;
        }
    }
    return sum;
}

static int compare_people(const void *a, const void *b, void *ctx) {
    const judge_slate *slates = ctx;
    uint64_t x = slates[*(const size_t *)a].person, y = slates[*(const size_t *)b].person;
    return x < y ? -1 : x > y;
}

static judge_value mean_by_person(const estimating *e, figure f, size_t *people) {
    double total = 0, squares = 0;
    *people = 0;
    for (size_t i = 0; i < e->n; i++) total += of_slate(e, &e->slates[i], f);
    double mean = total / (double)e->n;
    for (size_t begin = 0, end; begin < e->n; begin = end) {
        double off = 0;
        uint64_t person = e->slates[e->order[begin]].person;
        for (end = begin; end < e->n && e->slates[e->order[end]].person == person; end++)
            off += of_slate(e, &e->slates[e->order[end]], f) - mean;
        squares += off * off;
        ++*people;
    }
    double groups = (double)*people, small = groups > 1 ? groups / (groups - 1) : 1;
    double half = groups > 1 ? Z * sqrt(small * squares) / (double)e->n : INFINITY;
    return (judge_value){mean, mean - half, mean + half};
}

static void judge_places(const estimating *e, judge_estimate *out) {
    out->effective = (double)e->n;
    out->weight_mean = 1;
    for (size_t j = 0; j < e->depth; j++) {
        const place_sums *p = &e->places[j];
        double there = (double)p->there, mean = p->weight / there;
        double effective = p->square > 0 ? p->weight * p->weight / p->square : 0;
        double error = sqrt(fmax(p->square / there - mean * mean, 0) / there);
        if (effective < out->effective) out->effective = effective;
        if (p->max > out->weight_max) out->weight_max = p->max;
        if (fabs(mean - 1) > fabs(out->weight_mean - 1)) out->weight_mean = mean;
        if (p->weight > 0 && p->max > EXPLODED * p->weight) out->warnings |= JUDGE_EXPLODED;
        if (mean < 1 - SUPPORT_SLACK - 3 * error) out->warnings |= JUDGE_UNSUPPORTED;
    }
    if (out->effective < JUDGE_EFFECTIVE_MIN) out->warnings |= JUDGE_FEW;
    if (e->clipped) out->warnings |= JUDGE_CLIPPED;
}

static judge_value snips(const estimating *e) {
    size_t people;
    judge_value v = mean_by_person(e, SNIPS_ERROR, &people); /* around 0: its spread is what is wanted */
    double value = 0, half = v.high - v.value;
    for (size_t j = 0; j < e->depth; j++)
        if (e->places[j].weight > 0)
            value += e->places[j].weighted / e->places[j].weight * (double)e->places[j].there / (double)e->n;
    return (judge_value){value, value - half, value + half};
}

int judge_estimate_value(judge_model model, const judge_slate *slates, size_t n, judge_estimate *out,
                         braid_error *err) {
    *out = (judge_estimate){.slates = n, .warnings = n ? 0 : JUDGE_FEW};
    if (n == 0) return BRAID_OK;
    estimating e = {.model = model, .slates = slates, .n = n};
    int rc = check(slates, n, &e.depth, err);
    if (rc != BRAID_OK) return rc;
    e.places = calloc(e.depth + 1, sizeof *e.places);
    e.order = calloc(n, sizeof *e.order);
    if (!e.places || !e.order) {
        rc = error_set(err, BRAID_E_NO_MEMORY, "judge", "no memory for an estimate");
        goto cleanup;
    }
    for (size_t i = 0; i < n; i++) e.order[i] = i;
    qsort_r(e.order, n, sizeof *e.order, compare_people, (void *)slates);
    add_places(&e);
    out->logged = mean_by_person(&e, LOGGED, &out->people);
    out->ips = mean_by_person(&e, IPS, &out->people);
    out->doubly_robust = mean_by_person(&e, DOUBLY_ROBUST, &out->people);
    out->snips = snips(&e);
    judge_places(&e, out);
cleanup:
    free(e.places);
    free(e.order);
    return rc;
}
