/* Fusion: each strand's scale -> 0..1 within the answer -> one number.
 *
 * Normalising is min-max with a floor: the weakest candidate that a strand knows gets FLOOR, the strongest 1, and 0
 * means that the strand knew nothing. Without the floor the weakest known one would look like an unknown one. Cosines
 * of near neighbours differ in the third digit, so their order would drown in the other strands without stretching.
 *
 * Weighted sum: weights are scaled to those strands that took part, so a missing strand does not shrink every score.
 * Reciprocal rank fusion (Cormack, Clarke & Buettcher 2009): sum of weight / (60 + rank), rank 1 best, unknown
 * contributes nothing; scaled so that the first of every strand scores 1. */
#include <stdlib.h>

#include "query/run.h"

static const double FLOOR = 0.1;
enum { RRF_K = 60 };

static void normalise(query_run_state *q, int strand) {
    double low = 0, high = 0;
    bool any = false;
    for (size_t i = 0; i < q->count; i++) {
        const scored *s = &q->items[i];
        if (!s->has[strand]) continue;
        double x = s->raw[strand];
        if (!any || x < low) low = x;
        if (!any || x > high) high = x;
        any = true;
    }
    for (size_t i = 0; i < q->count; i++) {
        scored *s = &q->items[i];
        if (!s->has[strand])
            s->strand[strand] = 0;
        else
            s->strand[strand] = high > low ? FLOOR + (1 - FLOOR) * ((s->raw[strand] - low) / (high - low)) : 1;
    }
}

static double weight_sum(const query_run_state *q, const bool *present) {
    double sum = 0;
    for (int s = 0; s < STRAND_COUNT; s++)
        if (present[s]) sum += q->rq->weights[s];
    return sum > 0 ? sum : 1;
}

typedef struct ranked {
    double value;
    uint32_t num;
    size_t at;
} ranked;

static int by_value(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->num < y->num ? -1 : x->num > y->num;
}

static void add_reciprocal_ranks(query_run_state *q, int strand, double weight, ranked *order) {
    size_t n = 0;
    for (size_t i = 0; i < q->count; i++)
        if (q->items[i].has[strand]) order[n++] = (ranked){q->items[i].raw[strand], q->items[i].num, i};
    qsort(order, n, sizeof *order, by_value);
    for (size_t r = 0; r < n; r++) q->items[order[r].at].fused += weight * (RRF_K + 1) / (double)(RRF_K + 1 + r);
}

void fusion_combine(query_run_state *q) {
    bool present[STRAND_COUNT] = {false};
    for (int s = 0; s < STRAND_COUNT; s++) {
        normalise(q, s);
        for (size_t i = 0; i < q->count && !present[s]; i++) present[s] = q->items[i].has[s];
    }
    double sum = weight_sum(q, present);
    ranked *order = q->rq->fusion == FUSION_RRF ? arena_alloc(q->a, (q->count + 1) * sizeof *order) : NULL;
    for (size_t i = 0; i < q->count; i++) q->items[i].fused = 0;
    for (int s = 0; s < STRAND_COUNT; s++) {
        double w = q->rq->weights[s] / sum;
        if (!present[s]) continue;
        if (order) {
            add_reciprocal_ranks(q, s, w, order);
            continue;
        }
        for (size_t i = 0; i < q->count; i++) q->items[i].fused += w * q->items[i].strand[s];
    }
}
