/* Candidates that nobody has chosen yet: no edge of what people chose together leads to them, so their content
 * neighbours and the linear model of vectors speak instead, each with what the person thought of the items that it
 * names. */
#include "policy/candidates.h"

#include <math.h>

#include "policy/times.h"

static void describe_linear(const learn_edges *e, const float *thought, uint32_t items, policy_candidate *c, size_t n) {
    for (size_t i = 0; e && i < n; i++) {
        float say = 0;
        if (c[i].num >= e->items) continue;
        for (uint64_t k = e->at[c[i].num]; k < e->at[c[i].num + 1]; k++) {
            if (e->item[k] == c[i].num)
                c[i].x[POLICY_FEATURE_EXPECTED] = e->weight[k];
            else if (e->item[k] < items)
                say += e->weight[k] * thought[e->item[k]];
        }
        c[i].x[POLICY_FEATURE_LINEAR] = candidates_root(say);
    }
}

/* From the content neighbours: what the person thought of them, how near the nearest liked ones are, how many chose
 * them. */
int candidates_describe_fresh(const policy_question *q, const history_weights *h, policy_candidate *c, size_t n,
                              arena *a, braid_error *err) {
    const learn_edges *e = q->models->from[POLICY_MODEL_CONTENT];
    uint32_t items = e ? e->items : 0;
    float *thought = arena_calloc(a, (size_t)items + 1, sizeof *thought);
    float *liked = arena_calloc(a, (size_t)items + 1, sizeof *liked);
    float *audience = arena_alloc(a, ((size_t)items + 1) * sizeof *audience); /* looked up once, NAN before */
    if (!thought || !liked || !audience) return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for candidates");
    for (uint32_t i = 0; i < items; i++) audience[i] = NAN;
    for (size_t i = 0; i < h->count; i++) {
        if (h->nums[i] >= items) continue;
        thought[h->nums[i]] = h->ask[ASK_SLIM][i];
        liked[h->nums[i]] = h->liked[i];
    }
    for (size_t i = 0; i < n; i++) {
        if (c[i].num >= items) continue;
        float say = 0, near = 0, seen = 0, all = 0;
        for (uint64_t k = e->at[c[i].num]; k < e->at[c[i].num + 1]; k++) {
            uint32_t other = e->item[k];
            if (isnan(audience[other]))
                audience[other] = (float)log1p(q->times ? policy_times_at(q->times, other, q->as_of).count
                                                        : catalogue_interactions(q->cat, other));
            all += e->weight[k];
            say += e->weight[k] * thought[other];
            near += e->weight[k] * liked[other];
            seen += e->weight[k] * audience[other];
        }
        c[i].x[POLICY_FEATURE_NEIGHBOURS] = all > 0 ? candidates_root(say / all) : 0;
        c[i].x[POLICY_FEATURE_ALIKE] = candidates_root(near);
        c[i].x[POLICY_FEATURE_AROUND] = all > 0 ? seen / all : 0;
    }
    describe_linear(q->models->from[POLICY_MODEL_RIDGE], thought, items, c, n);
    return BRAID_OK;
}
