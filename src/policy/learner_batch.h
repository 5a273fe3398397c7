/* One transaction of the learner as its files share it (learner_batch.c reads and writes, learner_learn.c learns);
 * nobody else includes it. */
#ifndef POLICY_LEARNER_BATCH_H
#define POLICY_LEARNER_BATCH_H

#include "policy/learner_private.h"
#include "policy/shown.h"

enum { LEVELS = 5 };
/* What a choice from a list that was shown teaches: the agent's weights, the agent's posterior over them, and what is
 * particular to the person. */
enum { CHOICE_RANKING, CHOICE_LINEAR, CHOICE_OFFSET, CHOICES };

/* An item that a person judged before, as much of it as their taste needs. */
typedef struct batch_judged {
    bool known;
    int32_t duration_s;
    const char **genres; /* genre_count of them */
    uint32_t genre_count;
} batch_judged;

typedef struct batch_item {
    bool gone;
    int32_t duration_s;
    const char *id;
    uint32_t *actions;
    uint32_t action_count;
    record_stats stats; /* as they will be */
} batch_item;

typedef struct batch_row {
    uint64_t lsn;
    int64_t at;
    uint32_t item_num, item;                                  /* number; index into items */
    uint32_t user, agent, session, state, next_state, cohort; /* cohort 0: none */
    interaction_type type;
    int32_t watch_s;
    double rating, reward;
    uint32_t policies[LEVELS]; /* indices into policies, those that there are */
    uint32_t levels;
    uint32_t choices[CHOICES]; /* the same, of what its choice teaches */
    const policy_shown *shown; /* the list that it was chosen from; NULL: not known */
} batch_row;

typedef struct triple {
    uint32_t agent, user, state;
} triple;
typedef struct batch_action {
    uint32_t action;
    policy_posterior p;
    uint64_t version;
} batch_action;
/* Of one triple: every action that is known, as it will be. */
typedef struct batch_policy {
    batch_action *actions;
    uint32_t count, cap;
    bool moved;
} batch_policy;

typedef struct batch {
    policy_learner *l;
    arena *a;
    braid_error *err;
    bool no_memory;
    batch_row *rows;
    size_t count, rows_max;
    policy_intern users, agents, sessions, states, nums, actions, triples;
    policy_state *state_list; /* by number in `states` */
    uint32_t choice_states[CHOICES];
    policy_weights base;  /* what an agent's weights begin with */
    batch_item *items;    /* by number in `nums`; rows_max */
    policy_intern judged; /* items by number that people judged before */
    batch_judged *tastes; /* by number in `judged` */
    size_t tastes_cap;
    batch_policy *policies; /* by number in `triples`; LEVELS + CHOICES a row */
} batch;

int batch_no_memory(const batch *b);
/* The action's entry, made with the prior if it was not there; NULL when memory ran out. A policy has as many
 * actions as there are genres: a few dozen, looked through in order. */
batch_action *batch_action_of(batch *b, batch_policy *p, uint32_t action);
/* All rows, in LSN order. */
int batch_learn(batch *b);
/* learner_taste.c: completes the row's state by the taste that its person had before it, and takes note of it. Rows
 * come in LSN order, each once. */
int batch_taste(batch *b, batch_row *r);

#endif
