/* The ranking: a line through standardised features.
 *
 * A line is enough: on public data trees over the same features did not beat it, and each weight can be read aloud. The
 * default weights were fitted on the validation part of MovieLens (docs/quality.md) and serve until a service has
 * choices of its own to fit on. */
#include <stdio.h>
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

/* ---- what an answer ranks by ---- */
/* A person's own counts as much as the agent's after so many choices: before, most of what looks particular is
 * chance. */
static const double OWN_N0 = 10;

double policy_offset_share(double count) {
    return count / (count + OWN_N0);
}

typedef struct belief_load {
    const policy_weights *base;
    policy_belief *out;
    double own[POLICY_FEATURE_COUNT]; /* the person's */
} belief_load;

static bool read_linear(const record_policy *row, const policy_weights *base, policy_linear *l) {
    policy_linear there = {0};
    double version = -1;
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *from = &row->actions[i];
        int cell = 0;
        if (strcmp(from->action, POLICY_RANKING_BASE) == 0) version = from->count;
        if (sscanf(from->action, "covariance_%d", &cell) == 1 && cell >= 0 && cell < POLICY_LINEAR_CELLS)
            policy_linear_cell_set(&there, cell, (double[]){from->mean, from->variance, from->count});
        for (int f = 0; f < POLICY_FEATURE_COUNT; f++)
            if (strcmp(from->action, policy_feature_name((policy_feature)f)) == 0) {
                there.mean[f] = from->mean;
                there.count = from->count;
            }
    }
    if (version != (double)base->version) return false;
    *l = there;
    return true;
}

enum { BELIEF_AGENT, BELIEF_OWN, BELIEFS };

static void read_agent(belief_load *x, const record_policy *row) {
    policy_weights own = {0};
    policy_weights *w = &x->out->weights;
    if (strcmp(row->state_hash, POLICY_LINEAR_STATE) == 0) {
        if (!read_linear(row, x->base, &x->out->linear)) return;
        memcpy(w->mean, x->out->linear.mean, sizeof w->mean);
        w->lists = (uint64_t)x->out->linear.count;
    } else if (policy_weights_read(row, &own) && own.version == x->base->version) {
        memcpy(w->mean, own.mean, sizeof w->mean);
        w->lists = own.lists;
    }
}

static bool read_belief(void *ctx, size_t which, const record_policy *row) {
    belief_load *x = ctx;
    if (which == BELIEF_AGENT) read_agent(x, row);
    for (size_t i = 0; which == BELIEF_OWN && i < row->action_count; i++)
        for (int f = 0; f < POLICY_FEATURE_COUNT; f++)
            if (strcmp(row->actions[i].action, policy_feature_name((policy_feature)f)) == 0)
                x->own[f] = row->actions[i].mean * policy_offset_share(row->actions[i].count);
    return true;
}

int policy_belief_of(policy_rows *rows, const agent_settings *who, const char *name, const char *person,
                     const policy_weights *base, deadline until, policy_belief *out, braid_error *err) {
    bool softmax = who->learner == AGENT_SOFTMAX;
    const record_policy_key keys[BELIEFS] = {
        [BELIEF_AGENT] = {"", softmax ? POLICY_RANKING_STATE : POLICY_LINEAR_STATE},
        [BELIEF_OWN] = {person, POLICY_OFFSET_STATE}};
    belief_load x = {.base = base, .out = out};
    out->weights = *base;
    policy_linear_begin(&out->linear, base->mean);
    size_t n = who->personal && *person ? BELIEFS : BELIEF_OWN;
    int rc = policy_rows_get(rows, name, keys, n, until, read_belief, &x, err);
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) out->weights.mean[f] += x.own[f];
    return rc;
}
