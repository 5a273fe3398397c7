/* The audience that an item had at any moment: its events in the order of time, with running sums.
 *
 * An answer needs only the audience of now, which the learner keeps (catalogue). Fitting a ranking from the past,
 * and evaluating it there, must not see what came later: popularity from the future is the commonest leak of offline
 * figures. */
#include "policy/times.h"

#include <math.h>
#include <stdlib.h>

struct policy_times {
    uint32_t items;
    uint64_t *begin; /* items + 1 */
    int64_t *at;
    int64_t newest;
    double *reward_sum; /* up to and with this event */
    double *recent;     /* the trend at this event, itself included */
};

double policy_trend_left(int64_t age_ms) {
    const double day = 86400000.0;
    return age_ms > 0 ? exp2(-(double)age_ms / (POLICY_TREND_DAYS * day)) : 1;
}

void policy_times_free(policy_times *t) {
    if (!t) return;
    free(t->begin);
    free(t->at);
    free(t->reward_sum);
    free(t->recent);
    free(t);
}

static int by_item_and_time(const void *a, const void *b) {
    const policy_time *x = a, *y = b;
    if (x->num != y->num) return x->num < y->num ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

int policy_times_make(policy_time *events, size_t n, uint32_t items, policy_times **out, braid_error *err) {
    policy_times *t = *out = calloc(1, sizeof *t);
    if (t) {
        t->items = items;
        t->begin = calloc((size_t)items + 2, sizeof *t->begin);
        t->at = malloc((n + 1) * sizeof *t->at);
        t->reward_sum = malloc((n + 1) * sizeof *t->reward_sum);
        t->recent = malloc((n + 1) * sizeof *t->recent);
    }
    if (!t || !t->begin || !t->at || !t->reward_sum || !t->recent) {
        policy_times_free(t);
        *out = NULL;
        return error_set(err, BRAID_E_NO_MEMORY, "policy/times", "no memory for when items were chosen");
    }
    qsort(events, n, sizeof *events, by_item_and_time);
    for (size_t i = 0; i < n; i++) {
        bool first = i == 0 || events[i - 1].num != events[i].num;
        t->begin[events[i].num + 1]++;
        t->at[i] = events[i].at;
        if (i == 0 || events[i].at > t->newest) t->newest = events[i].at;
        t->reward_sum[i] = events[i].reward + (first ? 0 : t->reward_sum[i - 1]);
        t->recent[i] = 1 + (first ? 0 : t->recent[i - 1] * policy_trend_left(events[i].at - events[i - 1].at));
    }
    for (uint32_t i = 0; i < items; i++) t->begin[i + 1] += t->begin[i];
    return BRAID_OK;
}

bool policy_times_know(const policy_times *t, int64_t at) {
    return at < t->newest;
}

policy_audience policy_times_at(const policy_times *t, uint32_t num, int64_t at) {
    if (num >= t->items) return (policy_audience){0};
    uint64_t begin = t->begin[num], low = begin, high = t->begin[num + 1];
    while (low < high) { /* the first event after `at` */
        uint64_t mid = low + (high - low) / 2;
        if (t->at[mid] <= at)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == begin) return (policy_audience){0};
    return (policy_audience){(double)(low - begin), t->reward_sum[low - 1],
                             t->recent[low - 1] * policy_trend_left(at - t->at[low - 1])};
}
