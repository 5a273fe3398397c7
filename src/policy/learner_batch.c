/* One transaction of the learner.
 *
 *   scan     interactions -> rows; users, agents, sessions and states become small numbers
 *   resolve  items -> duration and actions; rewards
 *   key      every (agent, user, state, action) that will move, each once, at four levels of back-off
 *   load     their present posteriors, one read for each (agent, user, state)
 *   learn    in LSN order, in memory
 *   write    episodes, posteriors, counters and the cursor, absolute values, at once
 *
 * So the store is read and written once a key and not once an observation, and nothing in the learner changes before
 * the write has succeeded: a batch that failed is simply run again. A posterior's version is the LSN that moved it
 * last; an interaction that is not above it is not learned twice, whatever the cursor says. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "policy/learner_private.h"

enum { LEVELS = 4 };

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
    uint32_t item_num, item; /* number; index into items */
    uint32_t user, agent, session, state, next_state;
    interaction_type type;
    int32_t watch_s;
    double rating, reward;
    uint32_t *keys; /* LEVELS an action */
} batch_row;

typedef struct triple {
    uint32_t agent, user, state;
} triple;
typedef struct posterior_key {
    uint32_t triple, action;
} posterior_key;
typedef struct batch_posterior {
    policy_posterior p;
    uint64_t version;
    bool moved;
} batch_posterior;

typedef struct batch {
    policy_learner *l;
    arena *a;
    braid_error *err;
    bool no_memory;
    batch_row *rows;
    size_t count, rows_max;
    policy_intern users, agents, sessions, states, nums, actions, triples, keys;
    policy_state *state_list;    /* by number in `states`; rows_max + 1 */
    batch_item *items;           /* by number in `nums`; rows_max */
    batch_posterior *posteriors; /* by number in `keys` */
    size_t posteriors_cap;
} batch;

static int batch_no_memory(const batch *b) {
    return error_set(b->err, BRAID_E_NO_MEMORY, "policy/learner", "no memory for a batch of interactions");
}

/* The number 0 of users and states stands for everybody and any state. */
static int batch_open(batch *b, policy_learner *l, size_t expected, braid_error *err) {
    *b = (batch){
        .l = l, .a = l->scratch, .err = err, .rows_max = expected < LEARNER_ROWS_MAX ? expected : LEARNER_ROWS_MAX};
    policy_intern *tables[] = {&b->users, &b->agents,  &b->sessions, &b->states,
                               &b->nums,  &b->actions, &b->triples,  &b->keys};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) policy_intern_init(tables[i], b->a);
    b->rows = arena_alloc(b->a, b->rows_max * sizeof *b->rows);
    b->items = arena_calloc(b->a, b->rows_max, sizeof *b->items);
    b->state_list = arena_calloc(b->a, b->rows_max + 1, sizeof *b->state_list);
    bool ok = b->rows && b->items && b->state_list && policy_intern_text(&b->users, "") == 0 &&
              policy_intern_text(&b->states, "") == 0 && policy_intern_text(&b->sessions, "") == 0;
    return ok ? BRAID_OK : batch_no_memory(b);
}

/* ---- scan ---- */
static bool scan_row(void *ctx, const record_interaction *row) {
    batch *b = ctx;
    BRAID_ASSERT(b->count < b->rows_max && (b->count == 0 || b->rows[b->count - 1].lsn < row->lsn));
    policy_state state;
    policy_state_make(row->in.daypart, row->in.device, row->in.mood, row->in.region, row->in.at, &state);
    batch_row *r = &b->rows[b->count];
    *r = (batch_row){.lsn = row->lsn,
                     .at = row->in.at,
                     .item_num = row->item_num,
                     .type = row->in.type,
                     .watch_s = row->in.watch_s,
                     .rating = row->in.rating};
    r->user = policy_intern_text(&b->users, row->in.user);
    r->agent = policy_intern_text(&b->agents, row->in.agent);
    r->session = policy_intern_text(&b->sessions, row->in.session);
    r->state = policy_intern_text(&b->states, state.text);
    r->item = policy_intern_add(&b->nums, &r->item_num, sizeof r->item_num);
    b->no_memory = r->user == POLICY_INTERN_NONE || r->agent == POLICY_INTERN_NONE ||
                   r->session == POLICY_INTERN_NONE || r->state == POLICY_INTERN_NONE || r->item == POLICY_INTERN_NONE;
    if (b->no_memory) return false;
    b->state_list[r->state] = state;
    b->count++;
    return true;
}

/* ---- resolve ---- */
static bool resolve_actions(batch *b, batch_item *to, const learner_item *it) {
    const char *genre = it->text + strlen(it->text) + 1;
    to->actions = arena_alloc(b->a, (it->genres ? it->genres : 1) * sizeof *to->actions);
    if (!to->actions) return false;
    for (uint32_t i = 0; i < it->genres; i++, genre += strlen(genre) + 1) {
        char text[sizeof POLICY_ACTION_PREFIX + MODEL_NAME_BYTES_MAX];
        BRAID_ASSERT(strlen(genre) <= MODEL_NAME_BYTES_MAX);
        snprintf(text, sizeof text, "%s%s", POLICY_ACTION_PREFIX, genre);
        uint32_t action = policy_intern_text(&b->actions, text);
        if (action == POLICY_INTERN_NONE) return false;
        to->actions[to->action_count++] = action;
    }
    return true;
}

static int resolve_items(batch *b) {
    for (size_t i = 0; i < b->nums.count; i++) {
        uint32_t num;
        memcpy(&num, b->nums.entries[i].key, sizeof num);
        const learner_item *it;
        int rc = learner_items_get(&b->l->items, b->l->record, num, &it, b->err);
        if (rc != BRAID_OK) return rc;
        batch_item *to = &b->items[i];
        to->gone = it->gone;
        to->duration_s = it->duration_s;
        to->id = arena_strdup(b->a, it->text);
        if (!to->id || !resolve_actions(b, to, it)) return batch_no_memory(b);
        to->stats = (record_stats){.num = num, .last_at = INT64_MIN};
        if (num < b->l->stats_count && b->l->stats[num].num) to->stats = b->l->stats[num];
    }
    for (batch_row *r = b->rows; r < b->rows + b->count; r++) {
        interaction in = {.type = r->type, .watch_s = r->watch_s, .rating = r->rating};
        r->reward = policy_reward(&in, b->items[r->item].duration_s);
    }
    return BRAID_OK;
}

/* ---- key ---- */
static uint32_t key_of(batch *b, uint32_t in_triple, uint32_t action) {
    posterior_key key = {in_triple, action};
    uint32_t i = policy_intern_add(&b->keys, &key, sizeof key);
    if (i == POLICY_INTERN_NONE) return i;
    if (i >= b->posteriors_cap) {
        size_t cap = b->posteriors_cap ? b->posteriors_cap * 2 : 1024;
        batch_posterior *grown = arena_alloc(b->a, cap * sizeof *grown);
        if (!grown) return POLICY_INTERN_NONE;
        if (b->posteriors_cap) memcpy(grown, b->posteriors, b->posteriors_cap * sizeof *grown);
        for (size_t j = b->posteriors_cap; j < cap; j++) grown[j] = (batch_posterior){.p = policy_prior()};
        b->posteriors = grown;
        b->posteriors_cap = cap;
    }
    return i;
}

static bool key_row(batch *b, batch_row *r, const batch_item *it) {
    const triple levels[LEVELS] = {
        {r->agent, 0, 0}, {r->agent, 0, r->state}, {r->agent, r->user, 0}, {r->agent, r->user, r->state}};
    r->keys = arena_alloc(b->a, LEVELS * (it->action_count + 1) * sizeof *r->keys);
    if (!r->keys) return false;
    for (uint32_t level = 0; level < LEVELS; level++) {
        uint32_t t = policy_intern_add(&b->triples, &levels[level], sizeof levels[level]);
        if (t == POLICY_INTERN_NONE) return false;
        for (uint32_t i = 0; i < it->action_count; i++) {
            uint32_t key = key_of(b, t, it->actions[i]);
            if (key == POLICY_INTERN_NONE) return false;
            r->keys[LEVELS * i + level] = key;
        }
    }
    return true;
}

/* Cuts the batch where one transaction would become too large. */
static int key_rows(batch *b) {
    for (size_t i = 0; i < b->count; i++) {
        const batch_item *it = &b->items[b->rows[i].item];
        if (it->gone) continue;
        if (i > 0 && b->keys.count + LEVELS * (size_t)it->action_count + 2 * (i + 1) + 1 > LEARNER_CHANGES_MAX) {
            b->count = i;
            break;
        }
        if (!key_row(b, &b->rows[i], it)) return batch_no_memory(b);
    }
    return BRAID_OK;
}

/* ---- load ---- */
typedef struct load {
    batch *b;
    uint32_t triple;
} load;

static bool load_row(void *ctx, const record_policy *row) {
    load *x = ctx;
    uint32_t action = policy_intern_find(&x->b->actions, row->action, strlen(row->action) + 1);
    posterior_key key = {x->triple, action};
    uint32_t i = action == POLICY_INTERN_NONE ? action : policy_intern_find(&x->b->keys, &key, sizeof key);
    if (i == POLICY_INTERN_NONE) return true; /* not touched by this batch */
    x->b->posteriors[i] = (batch_posterior){.p = {row->mean, row->variance, row->count}, .version = row->version};
    return true;
}

static triple triple_at(const batch *b, uint32_t i) {
    triple t;
    memcpy(&t, b->triples.entries[i].key, sizeof t);
    return t;
}

static int load_posteriors(batch *b) {
    for (uint32_t i = 0; i < b->triples.count; i++) {
        triple t = triple_at(b, i);
        load x = {b, i};
        const char *agent = policy_intern_name(&b->agents, t.agent), *user_id = policy_intern_name(&b->users, t.user);
        int rc = record_get_policy(b->l->record, agent, user_id, b->state_list[t.state].hash, load_row, &x, b->err);
        if (rc != BRAID_OK) return rc;
    }
    return BRAID_OK;
}

/* ---- learn ---- */
static void learn_row(batch *b, const batch_row *r, batch_item *it) {
    for (uint32_t i = 0; i < LEVELS * it->action_count; i++) {
        batch_posterior *p = &b->posteriors[r->keys[i]];
        if (p->version >= r->lsn) continue; /* a genre named twice, too, counts once */
        policy_update(&p->p, r->reward);
        p->version = r->lsn;
        p->moved = true;
    }
    it->stats.interactions += 1;
    it->stats.reward_sum += r->reward;
    if (r->at > it->stats.last_at) it->stats.last_at = r->at;
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

static int learn(batch *b) {
    if (!learn_next_states(b)) return batch_no_memory(b);
    for (size_t i = 0; i < b->count; i++) {
        batch_item *it = &b->items[b->rows[i].item];
        if (!it->gone) learn_row(b, &b->rows[i], it);
    }
    return BRAID_OK;
}

/* ---- write ---- */
typedef struct changes {
    record_change *list;
    record_policy *policies;
    record_episode *episodes;
    size_t count;
} changes;

static void write_episode(const batch *b, const batch_row *r, const batch_item *it, changes *c, record_episode *e) {
    const policy_state *state = &b->state_list[r->state];
    bool done = r->type == INTERACTION_COMPLETE || r->type == INTERACTION_SKIP || r->type == INTERACTION_DISLIKE;
    *e = (record_episode){.interaction_lsn = r->lsn,
                          .agent = policy_intern_name(&b->agents, r->agent),
                          .user = policy_intern_name(&b->users, r->user),
                          .session = policy_intern_name(&b->sessions, r->session),
                          .state_hash = state->hash,
                          .state = state->text,
                          .next_state_hash = b->state_list[r->next_state].hash,
                          .item_num = r->item_num,
                          .action = it->id,
                          .reward = r->reward,
                          .done = done,
                          .at = r->at};
    c->list[c->count++] = (record_change){.kind = RECORD_EPISODE, .episode = e};
}

static void write_policy(const batch *b, uint32_t key_index, changes *c, record_policy *row) {
    posterior_key key;
    memcpy(&key, b->keys.entries[key_index].key, sizeof key);
    triple t = triple_at(b, key.triple);
    const batch_posterior *p = &b->posteriors[key_index];
    *row = (record_policy){.agent = policy_intern_name(&b->agents, t.agent),
                           .user = policy_intern_name(&b->users, t.user),
                           .state_hash = b->state_list[t.state].hash,
                           .state = b->state_list[t.state].text,
                           .action = policy_intern_name(&b->actions, key.action),
                           .mean = p->p.mean,
                           .variance = p->p.variance,
                           .count = p->p.count,
                           .version = p->version};
    c->list[c->count++] = (record_change){.kind = RECORD_POLICY, .policy = row};
}

static bool write_changes(const batch *b, const record_cursor *cursor, changes *c) {
    size_t most = b->count + b->keys.count + b->nums.count + 1;
    c->list = arena_alloc(b->a, most * sizeof *c->list);
    c->episodes = arena_alloc(b->a, b->count * sizeof *c->episodes);
    c->policies = arena_alloc(b->a, (b->keys.count + 1) * sizeof *c->policies);
    if (!c->list || !c->episodes || !c->policies) return false;
    for (size_t i = 0; i < b->count; i++) {
        const batch_item *it = &b->items[b->rows[i].item];
        if (!it->gone) write_episode(b, &b->rows[i], it, c, &c->episodes[i]);
    }
    for (uint32_t i = 0; i < b->keys.count; i++)
        if (b->posteriors[i].moved) write_policy(b, i, c, &c->policies[i]);
    for (size_t i = 0; i < b->nums.count; i++)
        if (!b->items[i].gone && b->items[i].stats.interactions > 0)
            c->list[c->count++] = (record_change){.kind = RECORD_STATS, .stats = &b->items[i].stats};
    c->list[c->count++] = (record_change){.kind = RECORD_CURSOR, .cursor = cursor};
    return true;
}

/* A person or item may have been removed since the scan; the store refuses what is theirs, and that is right.
 * Other refusals are logged: only that of the cursor leaves something to try again. */
static int write_verdict(batch *b, const changes *c) {
    for (size_t i = 0; i < c->count; i++) {
        const record_change *x = &c->list[i];
        if (x->code == BRAID_OK) continue;
        metric_add(b->l->refused, 1);
        bool removed = x->code == BRAID_E_NOT_FOUND;
        if (x->kind == RECORD_CURSOR)
            return error_set(b->err, x->code, "policy/learner", "the cursor was refused: %s", x->message);
        if (!removed && b->l->log)
            log_write(b->l->log, LOG_WARN, "policy/learner", "a learned row was refused: %s", x->message);
    }
    return BRAID_OK;
}

/* After the write: the counters in memory and in the catalogue. There is room for them. */
static void batch_publish(const batch *b) {
    for (size_t i = 0; i < b->nums.count; i++) {
        const record_stats *s = &b->items[i].stats;
        if (b->items[i].gone || s->interactions <= 0) continue;
        b->l->stats[s->num] = *s;
        catalogue_set_stats(b->l->cat, s->num, s->interactions, s->reward_sum, s->last_at);
    }
}

static bool batch_stats_room(const batch *b) {
    uint32_t highest = 0;
    for (size_t i = 0; i < b->nums.count; i++)
        if (!b->items[i].gone && b->items[i].stats.num > highest) highest = b->items[i].stats.num;
    return learner_stats_room(b->l, highest);
}

static int batch_write(batch *b, uint64_t upto) {
    record_cursor cursor = {POLICY_LEARNER_NAME, upto};
    changes c = {0};
    if (!batch_stats_room(b) || !write_changes(b, &cursor, &c)) return batch_no_memory(b);
    int rc = record_write(b->l->record, c.list, c.count, (record_write_flags){.background = true}, b->err);
    if (rc == BRAID_OK) rc = write_verdict(b, &c);
    if (rc == BRAID_OK) batch_publish(b);
    return rc;
}

int learner_batch_run(policy_learner *l, uint64_t after, uint64_t upto, size_t expected, uint64_t *done, size_t *rows,
                      braid_error *err) {
    batch b;
    *rows = 0;
    *done = after;
    arena_reset(l->scratch);
    int rc = batch_open(&b, l, expected, err);
    if (rc == BRAID_OK) rc = record_scan_interactions(l->record, after, upto, b.rows_max, scan_row, &b, err);
    if (rc == BRAID_OK && b.no_memory) rc = batch_no_memory(&b);
    if (rc != BRAID_OK) return rc;
    size_t found = b.count;
    if (found == 0) {
        *done = upto;
        return BRAID_OK;
    }
    rc = resolve_items(&b);
    if (rc == BRAID_OK) rc = key_rows(&b);
    if (rc == BRAID_OK) rc = load_posteriors(&b);
    if (rc == BRAID_OK) rc = learn(&b);
    uint64_t last = b.count < found || found == b.rows_max ? b.rows[b.count - 1].lsn : upto;
    if (rc == BRAID_OK) rc = batch_write(&b, last);
    if (rc != BRAID_OK) return rc;
    *rows = b.count;
    *done = last;
    metric_add(l->learned, b.count);
    return BRAID_OK;
}
