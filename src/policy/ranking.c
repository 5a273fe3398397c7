/* The ranking: a line through standardised features.
 *
 * A line is enough: on public data trees over the same features did not beat it, and each weight can be read aloud. The
 * default weights were fitted on the validation part of MovieLens (docs/quality.md) and serve until a service has
 * choices of its own to fit on. */
#include <string.h>

#include "policy/policy_private.h"

policy_weights policy_weights_default(void) {
    return (policy_weights){.mean = {[POLICY_FEATURE_SLIM] = 0.31,
                                     [POLICY_FEATURE_TOGETHER] = 0.19,
                                     [POLICY_FEATURE_FOLLOWS] = 0.58,
                                     [POLICY_FEATURE_NEXT] = 0.28,
                                     [POLICY_FEATURE_CONTENT] = 0.18,
                                     [POLICY_FEATURE_CONTENT_RECENT] = 0.15,
                                     [POLICY_FEATURE_GENRES] = 0.19,
                                     [POLICY_FEATURE_GENRES_AGAINST] = -0.07,
                                     [POLICY_FEATURE_PEOPLE] = 0.06,
                                     [POLICY_FEATURE_VALUE] = 0.22,
                                     [POLICY_FEATURE_POPULAR] = -0.13,
                                     [POLICY_FEATURE_TREND] = 0.07,
                                     [POLICY_FEATURE_UNTRIED] = -0.43,
                                     [POLICY_FEATURE_AGE] = -0.08},
                            .fresh = {[POLICY_FEATURE_CONTENT] = 0.5,
                                      [POLICY_FEATURE_ALIKE] = 0.3,
                                      [POLICY_FEATURE_NEIGHBOURS] = 0.5,
                                      [POLICY_FEATURE_LINEAR] = 0.27,
                                      [POLICY_FEATURE_EXPECTED] = 0.39,
                                      [POLICY_FEATURE_GENRES] = 0.2,
                                      [POLICY_FEATURE_PEOPLE] = 0.2,
                                      [POLICY_FEATURE_YEAR] = 0.1}};
}

double policy_rank(const policy_weights *w, bool fresh, const policy_candidate *c) {
    const double *weight = fresh ? w->fresh : w->mean;
    double sum = 0;
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) sum += weight[f] * c->x[f];
    return sum;
}

bool policy_all_fresh(const policy_candidate *c, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (c[i].tried) return false;
    return true;
}

/* ---- rows of weights ---- */
bool policy_weights_read(const record_policy *row, policy_weights *w) {
    *w = (policy_weights){.learned = true};
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *from = &row->actions[i];
        if (strcmp(from->action, POLICY_RANKING_BASE) == 0) w->version = (uint64_t)from->count;
        size_t skip = sizeof POLICY_RANKING_FRESH - 1;
        bool fresh = strncmp(from->action, POLICY_RANKING_FRESH, skip) == 0;
        for (int f = 0; fresh && f < POLICY_FEATURE_COUNT; f++)
            if (strcmp(from->action + skip, policy_feature_name((policy_feature)f)) == 0) w->fresh[f] = from->mean;
        for (int f = 0; !fresh && f < POLICY_FEATURE_COUNT; f++)
            if (strcmp(from->action, policy_feature_name((policy_feature)f)) == 0) {
                w->mean[f] = from->mean;
                w->lists = (uint64_t)from->count;
            }
    }
    return true;
}

static bool read_row(void *ctx, size_t which, const record_policy *row) {
    (void)which;
    return policy_weights_read(row, ctx);
}

int policy_weights_of(policy_rows *rows, const char *agent, const policy_weights *base, deadline until,
                      policy_weights *out, braid_error *err) {
    const record_policy_key key = {"", POLICY_RANKING_STATE};
    policy_weights own = {0};
    int rc = policy_rows_get(rows, agent, &key, 1, until, read_row, &own, err);
    *out = *base;
    if (rc == BRAID_OK && own.learned && own.version == base->version) {
        memcpy(out->mean, own.mean, sizeof out->mean);
        out->lists = own.lists;
    }
    return rc;
}
