/* What an agent believes, for people to read: its weights, with what is one person's own of them, and the posteriors of
 * its actions as an answer backs them off for that person in that state.
 *
 * The rows are read as answers read them (cache, record store, and where a person has none what is known of more
 * people), so what is shown is what ranks. Whole rows as they are kept are another matter: policy_row_print and
 * policy_row_read. */
#include <math.h>
#include <string.h>

#include "policy/intern.h"
#include "policy/policy_private.h"

enum { LEVELS = 5 };

typedef struct show_action {
    policy_posterior levels[LEVELS];
    bool present[LEVELS];
} show_action;

typedef struct show {
    arena *a;
    policy_intern names;
    show_action *actions;
    size_t room;
    const int *levels; /* by index of the key */
    bool no_memory;
} show;

static bool load_row(void *ctx, size_t which, const record_policy *row) {
    show *s = ctx;
    for (size_t i = 0; i < row->action_count && !s->no_memory; i++) {
        uint32_t at = policy_intern_text(&s->names, row->actions[i].action);
        if (at != POLICY_INTERN_NONE && at >= s->room) {
            size_t room = s->room ? s->room * 2 : 64;
            show_action *more = arena_calloc(s->a, room, sizeof *more);
            if (more && s->room) memcpy(more, s->actions, s->room * sizeof *more);
            if (!(s->no_memory = more == NULL)) s->actions = more, s->room = room;
        }
        s->no_memory = s->no_memory || at == POLICY_INTERN_NONE;
        if (s->no_memory) break;
        s->actions[at].levels[s->levels[which]] =
            (policy_posterior){row->actions[i].mean, row->actions[i].variance, row->actions[i].count};
        s->actions[at].present[s->levels[which]] = true;
    }
    return !s->no_memory;
}

/* Broadest first, as the scorer shrinks them. */
static int load_levels(show *s, policy_rows *rows, const char *name, const char *person, const policy_state *state,
                       deadline until, braid_error *err) {
    const record_policy_key all[LEVELS] = {
        {"", ""}, {"", state->hash}, {"", state->cohort}, {person, ""}, {person, state->hash}};
    record_policy_key keys[LEVELS];
    int levels[LEVELS];
    size_t n = 0;
    for (int i = 0; i < LEVELS; i++) {
        if ((i == 2 && !*state->cohort) || (i > 2 && !*person)) continue;
        levels[n] = i;
        keys[n++] = all[i];
    }
    s->levels = levels;
    int rc = policy_rows_get(rows, name, keys, n, until, load_row, s, err);
    s->levels = NULL;
    return rc == BRAID_OK && s->no_memory ? error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory to show a policy")
                                          : rc;
}

static void print_real(buf *out, const char *name, double value) {
    buf_printf(out, ",\"%s\":", name);
    buf_json_real(out, value);
}

static void print_actions(const show *s, buf *out) {
    static const char *const words[LEVELS] = {"everybody", "state", "cohort", "person", "person and state"};
    buf_puts(out, "\"actions\":[");
    for (size_t i = 0; i < s->names.count; i++) {
        const show_action *a = &s->actions[i];
        policy_posterior p = policy_prior();
        int nearest = 0;
        for (int l = 0; l < LEVELS; l++)
            if (a->present[l]) p = policy_shrink(a->levels[l], p, POLICY_N0), nearest = l;
        buf_puts(out, i ? ",{\"action\":" : "{\"action\":");
        buf_json_string(out, policy_intern_name(&s->names, (uint32_t)i));
        print_real(out, "mean", p.mean);
        print_real(out, "variance", p.variance);
        print_real(out, "count", a->present[3] ? a->levels[3].count : 0);
        buf_printf(out, ",\"nearest\":\"%s\"}", words[nearest]);
    }
    buf_putc(out, ']');
}

static void print_weights(const agent_settings *who, const policy_belief *all, const policy_belief *own, buf *out) {
    buf_printf(out, "\"choices\":%llu,\"weights\":[", (unsigned long long)all->weights.lists);
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) {
        buf_printf(out, "%s{\"feature\":\"%s\"", f ? "," : "", policy_feature_name((policy_feature)f));
        print_real(out, "weight", all->weights.mean[f]);
        if (who->learner == AGENT_SOFTMAX)
            buf_puts(out, ",\"spread\":null");
        else
            print_real(out, "spread", sqrt(policy_linear_variance(&all->linear, f)));
        print_real(out, "own", own->weights.mean[f] - all->weights.mean[f]);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

int policy_show(policy_rows *rows, const agent_settings *who, const char *name, const char *person,
                const policy_state *state, const policy_weights *base, deadline until, buf *out, braid_error *err) {
    show s = {.a = arena_new(8192)};
    policy_belief *b = s.a ? arena_alloc(s.a, 2 * sizeof *b) : NULL;
    agent_settings everybody = *who;
    everybody.personal = false;
    policy_intern_init(&s.names, s.a);
    int rc = b ? load_levels(&s, rows, name, person, state, until, err)
               : error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory to show a policy");
    if (rc == BRAID_OK) rc = policy_belief_of(rows, &everybody, name, person, base, until, &b[0], err);
    if (rc == BRAID_OK) rc = policy_belief_of(rows, who, name, person, base, until, &b[1], err);
    if (rc == BRAID_OK) {
        print_weights(who, &b[0], &b[1], out);
        buf_putc(out, ',');
        print_actions(&s, out);
    }
    arena_free(s.a);
    return rc;
}
