/* One transaction of the learner.
 *
 *   scan     interactions -> rows; users, agents, sessions and states become small numbers
 *   resolve  items -> duration and actions; rewards
 *   key      the taste in a state, where it has one; every (agent, user, state) whose policy will move, each once, at
 *            five levels of back-off
 *   load     their present rows, in one read an agent
 *   learn    in LSN order, in memory
 *   write    episodes and policies a slice at a time; then counters and the cursor, absolute values, at once
 *
 * So the store is read and written once a policy and not once an observation: the more interactions a batch holds,
 * the fewer rows each costs. Nothing in the learner changes before the last write has succeeded: a batch that
 * failed, or died half-way, is simply run again. That is harmless because an episode is known by its interaction,
 * and a posterior's version is the LSN that moved it last: an interaction that is not above it is not learned twice,
 * whatever the cursor says. The counters have no such mark; they go with the cursor. Slices let acknowledged writers
 * in between. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "policy/learner_batch.h"

int batch_no_memory(const batch *b) {
    return error_set(b->err, BRAID_E_NO_MEMORY, "policy/learner", "no memory for a batch of interactions");
}

/* The number 0 of users and states stands for everybody and any state. */
static int batch_open(batch *b, policy_learner *l, size_t expected, braid_error *err) {
    *b = (batch){
        .l = l, .a = l->scratch, .err = err, .rows_max = expected < LEARNER_ROWS_MAX ? expected : LEARNER_ROWS_MAX};
    policy_intern *tables[] = {&b->users, &b->agents,  &b->sessions, &b->states,
                               &b->nums,  &b->actions, &b->triples,  &b->judged};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) policy_intern_init(tables[i], b->a);
    b->rows = arena_alloc(b->a, b->rows_max * sizeof *b->rows);
    b->items = arena_calloc(b->a, b->rows_max, sizeof *b->items);
    b->state_list = arena_calloc(b->a, 3 * b->rows_max + 1 + CHOICES, sizeof *b->state_list);
    b->policies = arena_calloc(b->a, (LEVELS + CHOICES) * b->rows_max, sizeof *b->policies);
    bool ok = b->rows && b->items && b->state_list && b->policies && policy_intern_text(&b->users, "") == 0 &&
              policy_intern_text(&b->states, "") == 0 && policy_intern_text(&b->sessions, "") == 0;
    static const policy_state choices[CHOICES] = {
        [CHOICE_RANKING] = {.text = "the ranking", .hash = POLICY_RANKING_STATE},
        [CHOICE_LINEAR] = {.text = "the ranking and how surely it is known", .hash = POLICY_LINEAR_STATE},
        [CHOICE_OFFSET] = {.text = "the person's own of the ranking", .hash = POLICY_OFFSET_STATE}};
    for (int i = 0; ok && i < CHOICES; i++) {
        b->choice_states[i] = policy_intern_text(&b->states, choices[i].hash);
        ok = b->choice_states[i] != POLICY_INTERN_NONE;
        if (ok) b->state_list[b->choice_states[i]] = choices[i];
    }
    return ok ? BRAID_OK : batch_no_memory(b);
}

/* ---- scan ---- */
/* A list of which something was liked; others teach the ranking nothing. */
static const policy_shown *scan_shown(batch *b, const record_interaction *row) {
    policy_shown *s = row->attribution ? arena_alloc(b->a, sizeof *s) : NULL;
    return s && policy_shown_read(row->attribution, b->a, s) ? s : NULL;
}

static bool scan_row(void *ctx, const record_interaction *row) {
    batch *b = ctx;
    BRAID_ASSERT(b->count < b->rows_max && (b->count == 0 || b->rows[b->count - 1].lsn < row->lsn));
    policy_state state;
    policy_state_make(b->l->state_parts, row->in.daypart, row->in.device, row->in.mood, row->in.region, row->in.at,
                      &state);
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
    r->shown = scan_shown(b, row);
    r->item = policy_intern_add(&b->nums, &r->item_num, sizeof r->item_num);
    b->no_memory = r->user == POLICY_INTERN_NONE || r->agent == POLICY_INTERN_NONE ||
                   r->session == POLICY_INTERN_NONE || r->state == POLICY_INTERN_NONE || r->item == POLICY_INTERN_NONE;
    if (b->no_memory) return false;
    b->state_list[r->state] = state;
    if (*state.cohort) {
        r->cohort = policy_intern_text(&b->states, state.cohort_text);
        if ((b->no_memory = r->cohort == POLICY_INTERN_NONE)) return false;
        policy_state *cohort = &b->state_list[r->cohort];
        memcpy(cohort->text, state.cohort_text, sizeof state.cohort_text);
        memcpy(cohort->hash, state.cohort, sizeof state.cohort);
    }
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
static bool key_row(batch *b, batch_row *r) {
    const triple levels[LEVELS] = {{r->agent, 0, 0},
                                   {r->agent, 0, r->state},
                                   {r->agent, r->user, 0},
                                   {r->agent, r->user, r->state},
                                   {r->agent, 0, r->cohort}};
    r->levels = r->cohort ? LEVELS : LEVELS - 1;
    for (uint32_t level = 0; level < r->levels; level++) {
        r->policies[level] = policy_intern_add(&b->triples, &levels[level], sizeof levels[level]);
        if (r->policies[level] == POLICY_INTERN_NONE) return false;
    }
    if (r->reward < POLICY_LIKED) r->shown = NULL;
    for (int i = 0; r->shown && i < CHOICES; i++) {
        const triple choice = {r->agent, i == CHOICE_OFFSET ? r->user : 0, b->choice_states[i]};
        r->choices[i] = policy_intern_add(&b->triples, &choice, sizeof choice);
        if (r->choices[i] == POLICY_INTERN_NONE) return false;
    }
    return true;
}

/* Cuts the batch where one transaction would become too large. */
static int key_rows(batch *b) {
    bool tastes = b->l->state_parts & 1u << POLICY_TASTE;
    for (size_t i = 0; i < b->count; i++) {
        bool gone = b->items[b->rows[i].item].gone;
        if (i > 0 && !gone && b->triples.count + LEVELS + CHOICES + 2 * (i + 1) + 1 > LEARNER_CHANGES_MAX) {
            b->count = i;
            break;
        }
        int rc = tastes ? batch_taste(b, &b->rows[i]) : BRAID_OK;
        if (rc != BRAID_OK) return rc;
        if (gone) continue;
        if (!key_row(b, &b->rows[i])) return batch_no_memory(b);
    }
    return BRAID_OK;
}

/* ---- load ---- */
typedef struct load {
    batch *b;
    const uint32_t *triples; /* by index of the key */
} load;

static bool load_row(void *ctx, size_t which, const record_policy *row) {
    load *x = ctx;
    batch_policy *p = &x->b->policies[x->triples[which]];
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *from = &row->actions[i];
        uint32_t action = policy_intern_text(&x->b->actions, from->action);
        batch_action *to = action == POLICY_INTERN_NONE ? NULL : batch_action_of(x->b, p, action);
        if (!to) {
            x->b->no_memory = true;
            return false;
        }
        to->p = (policy_posterior){from->mean, from->variance, from->count};
        to->version = from->version;
    }
    return true;
}

static triple triple_at(const batch *b, uint32_t i) {
    triple t;
    memcpy(&t, b->triples.entries[i].key, sizeof t);
    return t;
}

static int load_policies(batch *b) {
    record_policy_key *keys = arena_alloc(b->a, (b->triples.count + 1) * sizeof *keys);
    uint32_t *triples = arena_alloc(b->a, (b->triples.count + 1) * sizeof *triples);
    if (!keys || !triples) return batch_no_memory(b);
    for (uint32_t agent = 0; agent < b->agents.count; agent++) {
        size_t n = 0;
        for (uint32_t i = 0; i < b->triples.count; i++) {
            triple t = triple_at(b, i);
            if (t.agent != agent) continue;
            keys[n] = (record_policy_key){policy_intern_name(&b->users, t.user), b->state_list[t.state].hash};
            triples[n++] = i;
        }
        load x = {b, triples};
        int rc =
            record_get_policies(b->l->record, policy_intern_name(&b->agents, agent), keys, n, 0, load_row, &x, b->err);
        if (rc == BRAID_OK && b->no_memory) rc = batch_no_memory(b);
        if (rc != BRAID_OK) return rc;
    }
    return BRAID_OK;
}

static bool load_base_row(void *ctx, size_t which, const record_policy *row) {
    (void)which;
    return policy_weights_read(row, ctx);
}

/* What agents' weights begin with, wherever a list was chosen from. */
static int load_base(batch *b) {
    const record_policy_key key = {"", POLICY_RANKING_STATE};
    bool any = false;
    for (size_t i = 0; i < b->count && !any; i++) any = b->rows[i].shown != NULL;
    b->base = policy_weights_default();
    if (!any) return BRAID_OK;
    return record_get_policies(b->l->record, POLICY_RANKING_AGENT, &key, 1, 0, load_base_row, &b->base, b->err);
}

/* ---- write ---- */
typedef struct changes {
    record_change *list;
    record_policy *policies;
    record_episode *episodes;
    size_t count, last; /* from `last` on they belong together */
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

static bool write_policy(const batch *b, uint32_t index, changes *c, record_policy *row) {
    triple t = triple_at(b, index);
    const batch_policy *p = &b->policies[index];
    record_action *actions = arena_alloc(b->a, p->count * sizeof *actions);
    if (!actions) return false;
    uint64_t version = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        const batch_action *from = &p->actions[i];
        actions[i] = (record_action){.action = policy_intern_name(&b->actions, from->action),
                                     .mean = from->p.mean,
                                     .variance = from->p.variance,
                                     .count = from->p.count,
                                     .version = from->version};
        if (from->version > version) version = from->version;
    }
    *row = (record_policy){.agent = policy_intern_name(&b->agents, t.agent),
                           .user = policy_intern_name(&b->users, t.user),
                           .state_hash = b->state_list[t.state].hash,
                           .state = b->state_list[t.state].text,
                           .actions = actions,
                           .action_count = p->count,
                           .version = version};
    c->list[c->count++] = (record_change){.kind = RECORD_POLICY, .policy = row};
    return true;
}

/* A person's rows one after the other, so that they share a row of the log. */
typedef struct policy_order {
    uint32_t user, index;
} policy_order;

static int by_user(const void *a, const void *b) {
    const policy_order *x = a, *y = b;
    if (x->user != y->user) return x->user < y->user ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool write_policies(const batch *b, changes *c) {
    policy_order *order = arena_alloc(b->a, (b->triples.count + 1) * sizeof *order);
    if (!order) return false;
    size_t n = 0;
    for (uint32_t i = 0; i < b->triples.count; i++)
        if (b->policies[i].moved) order[n++] = (policy_order){triple_at(b, i).user, i};
    qsort(order, n, sizeof *order, by_user);
    for (size_t i = 0; i < n; i++)
        if (!write_policy(b, order[i].index, c, &c->policies[i])) return false;
    return true;
}

static bool write_changes(const batch *b, const record_cursor *cursor, changes *c) {
    size_t most = b->count + b->triples.count + b->nums.count + 1;
    c->list = arena_alloc(b->a, most * sizeof *c->list);
    c->episodes = arena_alloc(b->a, b->count * sizeof *c->episodes);
    c->policies = arena_alloc(b->a, (b->triples.count + 1) * sizeof *c->policies);
    if (!c->list || !c->episodes || !c->policies) return false;
    for (size_t i = 0; i < b->count; i++) {
        const batch_item *it = &b->items[b->rows[i].item];
        if (!it->gone) write_episode(b, &b->rows[i], it, c, &c->episodes[i]);
    }
    if (!write_policies(b, c)) return false;
    c->last = c->count;
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
        if (x->code == BRAID_OK && x->kind == RECORD_POLICY) policy_rows_put(b->l->rows, x->policy);
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
        catalogue_set_stats(b->l->cat, s->num, s->interactions, s->reward_sum, s->recent, s->last_at);
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
    int rc = BRAID_OK;
    for (size_t i = 0; i < c.last; i++)
        if (c.list[i].kind == RECORD_POLICY) policy_rows_changing(b->l->rows, c.list[i].policy);
    for (size_t at = 0; at < c.last && rc == BRAID_OK; at += LEARNER_SLICE) {
        size_t n = c.last - at < LEARNER_SLICE ? c.last - at : LEARNER_SLICE;
        rc = record_write(b->l->record, c.list + at, n, (record_write_flags){.background = true}, b->err);
    }
    if (rc == BRAID_OK)
        rc = record_write(b->l->record, c.list + c.last, c.count - c.last, (record_write_flags){.background = true},
                          b->err);
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
    if (rc == BRAID_OK) rc = load_policies(&b);
    if (rc == BRAID_OK) rc = load_base(&b);
    if (rc == BRAID_OK) rc = batch_learn(&b);
    uint64_t last = b.count < found || found == b.rows_max ? b.rows[b.count - 1].lsn : upto;
    if (rc == BRAID_OK) rc = batch_write(&b, last);
    if (rc != BRAID_OK) {
        learner_recent_clear(&l->recent); /* it has heard of rows that come again */
        return rc;
    }
    *rows = b.count;
    *done = last;
    metric_add(l->learned, b.count);
    return BRAID_OK;
}
