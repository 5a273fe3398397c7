/* What one transaction of the learner learns, in memory: from every interaction the posteriors of its item's genres at
 * five levels and the item's counters; from what was liked of a list that was shown also how to rank (learner_batch.h,
 * CHOICE_..).
 *
 * Everything is learned whatever an agent's settings are, so a setting takes effect with all the evidence. Each row
 * knows the LSN that moved it last, and what is not above it is not learned twice; and a row is moved by nothing but
 * its own past, the interaction and the fitted base. So a batch may come again, whole or in part, cut anywhere. */
#include <string.h>

#include "policy/learner_batch.h"
#include "policy/times.h"

batch_action *batch_action_of(batch *b, batch_policy *p, uint32_t action) {
    for (uint32_t i = 0; i < p->count; i++)
        if (p->actions[i].action == action) return &p->actions[i];
    if (p->count == p->cap) {
        uint32_t cap = p->cap ? p->cap * 2 : 8;
        batch_action *grown = arena_alloc(b->a, cap * sizeof *grown);
        if (!grown) return NULL;
        if (p->count) memcpy(grown, p->actions, p->count * sizeof *grown);
        p->actions = grown;
        p->cap = cap;
    }
    p->actions[p->count] = (batch_action){.action = action, .p = policy_prior()};
    return &p->actions[p->count++];
}

/* Where the numbers of a row are among its actions. */
typedef struct columns {
    uint32_t features[POLICY_FEATURE_COUNT], covariance[POLICY_LINEAR_CELLS];
    batch_action *base; /* whose version is that of the last choice, whose count that of the weights it began with */
} columns;

static bool find_column(batch *b, batch_policy *p, const char *name, uint32_t *at) {
    uint32_t action = policy_intern_text(&b->actions, name);
    batch_action *act = action == POLICY_INTERN_NONE ? NULL : batch_action_of(b, p, action);
    if (act) *at = (uint32_t)(act - p->actions);
    return act != NULL;
}

static bool find_columns(batch *b, batch_policy *p, bool covariance, columns *c) {
    uint32_t base;
    if (!find_column(b, p, POLICY_RANKING_BASE, &base)) return false;
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++)
        if (!find_column(b, p, policy_feature_name((policy_feature)f), &c->features[f])) return false;
    for (int i = 0; covariance && i < POLICY_LINEAR_CELLS; i++) {
        char name[POLICY_LINEAR_NAME_BYTES];
        policy_linear_cell_name(i, name);
        if (!find_column(b, p, name, &c->covariance[i])) return false;
    }
    c->base = &p->actions[base];
    return true;
}

/* Whether the row is to begin anew: it was not there, or came from an older base. */
static bool begins(const batch *b, const columns *c) {
    return c->base->version == 0 || c->base->p.count != (double)b->base.version;
}

static void moved(batch_policy *p, columns *c, double base, uint64_t lsn) {
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) p->actions[c->features[f]].version = lsn;
    c->base->p = (policy_posterior){0, 0, base};
    c->base->version = lsn;
    p->moved = true;
}

/* The agent's weights: a step of AdaGrad. */
static bool learn_ranking(batch *b, const batch_row *r) {
    batch_policy *p = &b->policies[r->choices[CHOICE_RANKING]];
    double mean[POLICY_FEATURE_COUNT], squares[POLICY_FEATURE_COUNT];
    columns c;
    if (!find_columns(b, p, false, &c)) return false;
    if (c.base->version >= r->lsn) return true;
    bool fresh = begins(b, &c);
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) {
        policy_posterior *at = &p->actions[c.features[f]].p;
        if (fresh) *at = (policy_posterior){b->base.mean[f], 0, 0};
        mean[f] = at->mean;
        squares[f] = at->variance;
    }
    policy_online_step(r->shown, mean, squares);
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) {
        policy_posterior *at = &p->actions[c.features[f]].p;
        *at = (policy_posterior){mean[f], squares[f], at->count + 1};
    }
    moved(p, &c, (double)b->base.version, r->lsn);
    return true;
}

/* The agent's posterior over the weights. */
static bool learn_linear(batch *b, const batch_row *r) {
    batch_policy *p = &b->policies[r->choices[CHOICE_LINEAR]];
    policy_linear l;
    columns c;
    if (!find_columns(b, p, true, &c)) return false;
    if (c.base->version >= r->lsn) return true;
    if (begins(b, &c)) {
        policy_linear_begin(&l, b->base.mean);
    } else {
        for (int f = 0; f < POLICY_FEATURE_COUNT; f++) l.mean[f] = p->actions[c.features[f]].p.mean;
        for (int i = 0; i < POLICY_LINEAR_CELLS; i++) {
            const policy_posterior *at = &p->actions[c.covariance[i]].p;
            policy_linear_cell_set(&l, i, (double[]){at->mean, at->variance, at->count});
        }
        l.count = p->actions[c.features[0]].p.count;
    }
    policy_linear_step(&l, r->shown);
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++)
        p->actions[c.features[f]].p = (policy_posterior){l.mean[f], policy_linear_variance(&l, f), l.count};
    for (int i = 0; i < POLICY_LINEAR_CELLS; i++) {
        double three[3];
        policy_linear_cell_get(&l, i, three);
        p->actions[c.covariance[i]].p = (policy_posterior){three[0], three[1], three[2]};
        p->actions[c.covariance[i]].version = r->lsn;
    }
    moved(p, &c, (double)b->base.version, r->lsn);
    return true;
}

/* What is particular to the person: how they choose beyond the weights that all agents begin with. Not beyond the
 * agent's own, which others move as well: what is learned of a person would then depend on how the log was cut into
 * transactions. */
static bool learn_offset(batch *b, const batch_row *r) {
    batch_policy *p = &b->policies[r->choices[CHOICE_OFFSET]];
    double mean[POLICY_FEATURE_COUNT], squares[POLICY_FEATURE_COUNT];
    columns c;
    if (r->user == 0) return true; /* nobody in particular */
    if (!find_columns(b, p, false, &c)) return false;
    if (c.base->version >= r->lsn) return true;
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) {
        policy_posterior *at = &p->actions[c.features[f]].p;
        if (c.base->version == 0) *at = (policy_posterior){0, 0, 0};
        mean[f] = b->base.mean[f] + at->mean * policy_offset_share(at->count);
        squares[f] = at->variance;
    }
    double before[POLICY_FEATURE_COUNT];
    memcpy(before, mean, sizeof before);
    policy_online_step(r->shown, mean, squares);
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) {
        policy_posterior *at = &p->actions[c.features[f]].p;
        *at = (policy_posterior){at->mean + (mean[f] - before[f]), squares[f], at->count + 1};
    }
    moved(p, &c, 0, r->lsn);
    return true;
}

static bool learn_choice(batch *b, const batch_row *r) {
    return learn_ranking(b, r) && learn_linear(b, r) && learn_offset(b, r);
}

static bool learn_policy(batch *b, batch_policy *p, const batch_row *r, const batch_item *it) {
    for (uint32_t i = 0; i < it->action_count; i++) {
        batch_action *act = batch_action_of(b, p, it->actions[i]);
        if (!act) return false;
        if (act->version >= r->lsn) continue; /* a genre named twice, too, counts once */
        policy_update(&act->p, r->reward);
        act->version = r->lsn;
        p->moved = true;
    }
    return true;
}

static bool learn_row(batch *b, const batch_row *r, batch_item *it) {
    for (uint32_t level = 0; level < r->levels; level++)
        if (!learn_policy(b, &b->policies[r->policies[level]], r, it)) return false;
    if (r->shown && !learn_choice(b, r)) return false;
    it->stats.interactions += 1;
    it->stats.reward_sum += r->reward;
    if (r->at >= it->stats.last_at) {
        bool first = it->stats.last_at == INT64_MIN;
        it->stats.recent = 1 + (first ? 0 : it->stats.recent * policy_trend_left(r->at - it->stats.last_at));
        it->stats.last_at = r->at;
    } else {
        it->stats.recent += policy_trend_left(it->stats.last_at - r->at);
    }
    return true;
}

/* From the last row to the first, each session's latest state is at hand. */
static bool learn_next_states(batch *b) {
    policy_intern sessions;
    policy_intern_init(&sessions, b->a);
    uint32_t *states = arena_alloc(b->a, b->count * sizeof *states);
    if (!states) return false;
    for (size_t i = b->count; i-- > 0;) {
        batch_row *r = &b->rows[i];
        if (r->session == 0) continue; /* no session, no next */
        uint32_t key[2] = {r->user, r->session};
        size_t before = sessions.count;
        uint32_t s = policy_intern_add(&sessions, key, sizeof key);
        if (s == POLICY_INTERN_NONE) return false;
        if (s < before) r->next_state = states[s];
        states[s] = r->state;
    }
    return true;
}

int batch_learn(batch *b) {
    if (!learn_next_states(b)) return batch_no_memory(b);
    for (size_t i = 0; i < b->count; i++) {
        batch_item *it = &b->items[b->rows[i].item];
        if (!it->gone && !learn_row(b, &b->rows[i], it)) return batch_no_memory(b);
    }
    return BRAID_OK;
}
