/* Thompson sampling: one draw an action and answer.
 *
 * An action is a genre. Its posterior is shrunk from the broadest level down: everybody, everybody in this state, the
 * person's cohort, the person in any state, the person in this state. An answer draws each action once, so that all
 * items of a genre rise or fall together, as one try of that genre; drawing per item would average the noise out over a
 * genre and explore nothing.
 *
 * The draw depends on the seed and the action's name alone: neither the order of items nor which other items were
 * scored changes an answer, so a seed replays it. Actions are drawn when first met. Facets are known by number; what
 * each facet number is (an action or not) is remembered in a small hash, so scoring an item costs one probe a facet.
 * If memory for remembering runs out, the draw is simply made again: same seed, same result. */
#include <string.h>
#include <xxhash.h>

#include "policy/intern.h"
#include "policy/policy_private.h"

enum { LEVEL_ALL, LEVEL_STATE, LEVEL_COHORT, LEVEL_USER, LEVEL_USER_STATE, LEVELS };

static const double explored_above_mean = 0.15;
static const float explored_count_max = 3;

/* What is known of one facet number. */
typedef struct scorer_action {
    policy_posterior levels[LEVELS];
    bool present[LEVELS];
    bool is_action, resolved; /* resolved: looked up, and drawn if it is an action */
    float sampled, mean, count;
} scorer_action;

struct policy_scorer {
    catalogue *cat;
    uint64_t seed;
    policy_intern facets; /* facet number -> index into actions */
    scorer_action *actions;
    size_t actions_cap;
    arena *a;
};

/* The facet's entry, a zeroed one if it was not there; NULL when memory ran out. */
static scorer_action *scorer_find(policy_scorer *s, uint32_t facet) {
    uint32_t i = policy_intern_add(&s->facets, &facet, sizeof facet);
    if (i == POLICY_INTERN_NONE) return NULL;
    if (i >= s->actions_cap) {
        size_t cap = s->actions_cap ? s->actions_cap * 2 : 64;
        scorer_action *actions = arena_alloc(s->a, cap * sizeof *actions);
        if (!actions) return NULL; /* the number stays interned without an entry, so the next call comes here again */
        if (s->actions_cap) memcpy(actions, s->actions, s->actions_cap * sizeof *actions);
        memset(actions + s->actions_cap, 0, (cap - s->actions_cap) * sizeof *actions);
        s->actions = actions;
        s->actions_cap = cap;
    }
    return &s->actions[i];
}

/* ---- loading ---- */
typedef struct scorer_load {
    policy_scorer *s;
    const int *levels; /* by index of the key */
    bool no_memory;
} scorer_load;

static bool scorer_load_row(void *ctx, size_t which, const record_policy *row) {
    scorer_load *x = ctx;
    int level = x->levels[which];
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *from = &row->actions[i];
        const char *genre = policy_action_genre(from->action);
        uint32_t facet;
        if (!genre || !catalogue_facet_id(x->s->cat, POLICY_ACTION_FIELD, genre, &facet)) continue; /* no item has it */
        scorer_action *act = scorer_find(x->s, facet);
        if (!act) {
            x->no_memory = true;
            return false;
        }
        act->is_action = true;
        act->present[level] = true;
        act->levels[level] = (policy_posterior){from->mean, from->variance, from->count};
    }
    return true;
}

/* All levels in one read. */
static int scorer_load_levels(policy_scorer *s, policy_rows *rows, const char *agent, const char *user_id,
                              const policy_state *state, deadline until, braid_error *err) {
    const char *hash = state ? state->hash : NULL, *cohort = state ? state->cohort : "";
    record_policy_key keys[LEVELS];
    int levels[LEVELS];
    size_t n = 0;
    bool person = user_id && *user_id;
    const struct {
        bool wanted;
        int level;
        record_policy_key key;
    } all[] = {{true, LEVEL_ALL, {"", ""}},
               {hash != NULL, LEVEL_STATE, {"", hash}},
               {*cohort != '\0', LEVEL_COHORT, {"", cohort}},
               {person, LEVEL_USER, {user_id, ""}},
               {person && hash, LEVEL_USER_STATE, {user_id, hash}}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!all[i].wanted) continue;
        levels[n] = all[i].level;
        keys[n++] = all[i].key;
    }
    scorer_load x = {s, levels, false};
    int rc = policy_rows_get(rows, agent, keys, n, until, scorer_load_row, &x, err);
    if (rc == BRAID_OK && x.no_memory)
        rc = error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for the policy of an answer");
    return rc;
}

int policy_scorer_new(policy_rows *rows, catalogue *cat, const char *agent, const char *user_id,
                      const policy_state *state, uint64_t seed, deadline until, arena *a, policy_scorer **out,
                      braid_error *err) {
    *out = NULL;
    policy_scorer *s = arena_calloc(a, 1, sizeof *s);
    if (!s) return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for the policy of an answer");
    s->cat = cat;
    s->seed = seed;
    s->a = a;
    policy_intern_init(&s->facets, a);
    if (!agent || !*agent) agent = "default";
    int rc = scorer_load_levels(s, rows, agent, user_id, state, until, err);
    if (rc == BRAID_OK) *out = s;
    return rc;
}

/* ---- drawing ---- */
static void scorer_draw(const policy_scorer *s, scorer_action *act, const char *name, size_t len) {
    policy_posterior p = policy_prior();
    for (int i = 0; i < LEVELS; i++)
        if (act->present[i]) p = policy_shrink(act->levels[i], p, POLICY_N0);
    rng r;
    rng_seed(&r, XXH3_64bits_withSeed(name, len, s->seed));
    act->sampled = (float)policy_sample(p, POLICY_N0, &r);
    act->mean = (float)p.mean;
    act->count = act->present[LEVEL_USER] ? (float)act->levels[LEVEL_USER].count : 0;
}

/* The facet's entry, resolved. */
static const scorer_action *scorer_get(policy_scorer *s, uint32_t facet, scorer_action *spare) {
    scorer_action *act = scorer_find(s, facet);
    if (!act) {
        *spare = (scorer_action){0};
        act = spare;
    }
    if (act->resolved) return act;
    act->resolved = true;
    filter_field field = FIELD_COUNT;
    const char *name = catalogue_facet_name(s->cat, facet, &field);
    act->is_action = name && field == POLICY_ACTION_FIELD;
    if (act->is_action) scorer_draw(s, act, name, strlen(name));
    return act;
}

/* An item without an action gets a draw from the prior, the same for all of them. */
static policy_score scorer_prior(const policy_scorer *s) {
    scorer_action none = {0};
    scorer_draw(s, &none, "", 0);
    return (policy_score){.sampled = none.sampled, .mean = none.mean, .best = UINT32_MAX};
}

policy_score policy_score_item(policy_scorer *s, const catalogue_card *card) {
    policy_score out = {.best = UINT32_MAX};
    float best = -1;
    unsigned actions = 0;
    for (size_t i = 0; i < card->facet_count; i++) {
        scorer_action spare;
        const scorer_action *act = scorer_get(s, card->facets[i], &spare);
        if (!act->is_action) continue;
        actions++;
        out.sampled += act->sampled;
        out.mean += act->mean;
        out.count += act->count;
        if (act->sampled > best) {
            best = act->sampled;
            out.best = card->facets[i];
        }
    }
    if (actions) {
        out.sampled /= (float)actions;
        out.mean /= (float)actions;
        out.count /= (float)actions;
    } else {
        out = scorer_prior(s);
    }
    out.explored = out.sampled - out.mean > explored_above_mean && out.count < explored_count_max;
    return out;
}
