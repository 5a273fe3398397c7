/* What another policy would have earned on past traffic, from the slates that were kept: braid evaluate.
 *
 * The policy in question is a line through the features by which answers are ranked (an agent's weights, a ranker's, or
 * a file's) with a share of exploring: at each place it takes the best that is left, or, `explore` of the time, draws
 * by a softmax. It is tried on the very candidates of each moment. A place that a rule of the editors filled stays as
 * it was under any policy; diversity is not tried, so where it was strong an estimate of the very policy that was
 * logged differs from what was earned, which is printed beside it.
 *
 * The reward model of the doubly robust estimate is fitted on one half of the people and asked about the other, both
 * ways. Slates are read three times: for their places and what followed, for the model, for the estimate; a slate's
 * features are never held. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/outcomes.h"
#include "engine/slate_log.h"

enum { PLACES_MAX = 20, PLACES = 5, ROWS_MAX = 2 * JUDGE_SLOTS_MAX, FOLDS = 2 };
static const double PENALTY = 10;

typedef struct tried {
    double weight[POLICY_FEATURE_COUNT];
    double explore, temperature;
} tried;

typedef struct evaluation {
    braid_db *db;
    const char *agent;
    int64_t from, until;
    size_t places;
    judge_model model;
    tried policy;
    outcomes o;
    size_t cached, unranked, unknown; /* left out, and why */
    judge_ridge *fold;                /* FOLDS */
    judge_slot *slots;
    judge_slate *slates;
    arena *a;
    bool fitting;
} evaluation;

/* ---- what was asked ---- */
static int bad(braid_error *err, const char *what) {
    return error_set(err, BRAID_E_INVALID, "request", "%s", what);
}

static policy_weights weights_fitted(const evaluation *e) {
    const policy_model_set *set = policy_models_get(e->db->models);
    policy_weights w = set ? *set->weights : policy_weights_default();
    policy_models_release(set);
    return w;
}

/* As it is now, and without what is particular to a person. */
static int weights_of_agent(evaluation *e, const char *agent, braid_error *err) {
    policy_weights base = weights_fitted(e);
    policy_belief belief;
    agent_settings who;
    int rc = policy_agents_get(e->db->agents, agent, &who, err);
    who.personal = false;
    if (rc == BRAID_OK) rc = policy_belief_of(e->db->policies, &who, agent, "", &base, 0, &belief, err);
    if (rc != BRAID_OK) return rc;
    memcpy(e->policy.weight, who.learner == AGENT_SOFTMAX ? belief.weights.mean : belief.linear.mean,
           sizeof e->policy.weight);
    return BRAID_OK;
}

static bool impersonal(int f) {
    return f == POLICY_FEATURE_POPULAR || f == POLICY_FEATURE_TREND || f == POLICY_FEATURE_VALUE ||
           f == POLICY_FEATURE_UNTRIED || f == POLICY_FEATURE_AGE || f == POLICY_FEATURE_AHEAD;
}

static int weights_of_ranker(evaluation *e, const char *name, braid_error *err) {
    if (strcmp(name, "popular") == 0) {
        e->policy.weight[POLICY_FEATURE_POPULAR] = 1;
        return BRAID_OK;
    }
    bool taste = strcmp(name, "taste") == 0;
    if (!taste && strcmp(name, "learned") != 0)
        return bad(err, "\"policy\" is learned, taste, popular, {\"agent\":..} or {\"weights\":{..}}");
    policy_weights w = weights_fitted(e);
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) e->policy.weight[f] = taste && impersonal(f) ? 0 : w.mean[f];
    return BRAID_OK;
}

static int weights_given(evaluation *e, const json_t *json, braid_error *err) {
    const char *key;
    json_t *w;
    if (!json_is_object(json) || json_object_size(json) == 0)
        return bad(err, "\"weights\" wants {\"FEATURE\":NUMBER, ..}");
    json_object_foreach ((json_t *)json, key, w) {
        int f = 0;
        while (f < POLICY_FEATURE_COUNT && strcmp(policy_feature_name((policy_feature)f), key) != 0) f++;
        if (f == POLICY_FEATURE_COUNT)
            return error_set(err, BRAID_E_UNKNOWN_FIELD, "request", "\"weights\": there is no feature \"%.40s\"", key);
        if (!json_is_number(w)) return bad(err, "\"weights\" wants numbers");
        e->policy.weight[f] = json_number_value(w);
    }
    return BRAID_OK;
}

static int read_policy(evaluation *e, const json_t *json, braid_error *err) {
    const char *agent = NULL, *ranker = NULL;
    json_t *weights = NULL;
    e->policy.temperature = 1;
    if (json_is_string(json)) return weights_of_ranker(e, json_string_value(json), err);
    int rc =
        model_json_unpack(json, "\"policy\"", err, "{s?s, s?s, s?o, s?F, s?F}", "agent", &agent, "ranker", &ranker,
                          "weights", &weights, "explore", &e->policy.explore, "temperature", &e->policy.temperature);
    if (rc) return rc;
    if (!agent + !ranker + !weights != 2)
        return bad(err, "\"policy\" has one of \"agent\", \"ranker\" and \"weights\"");
    if (!(e->policy.explore >= 0 && e->policy.explore <= 1)) return bad(err, "\"policy.explore\" is from 0 to 1");
    if (!(e->policy.temperature > 0)) return bad(err, "\"policy.temperature\" is above 0");
    return agent    ? weights_of_agent(e, agent, err)
           : ranker ? weights_of_ranker(e, ranker, err)
                    : weights_given(e, weights, err);
}

static int read_time(const char *text, const char *name, int64_t *out, braid_error *err) {
    if (!text || clock_parse_rfc3339(text, out)) return BRAID_OK;
    return error_set(err, BRAID_E_INVALID, "request", "\"%s\" wants a time, RFC 3339", name);
}

static int read_request(evaluation *e, const json_t *json, braid_error *err) {
    const char *from = NULL, *until = NULL, *model = "cascade";
    json_t *policy;
    json_int_t places = PLACES;
    e->agent = "default";
    int rc = model_json_unpack(json, "the evaluation", err, "{s?s, s?s, s?s, s?s, s?I, s:o}", "agent", &e->agent,
                               "from", &from, "until", &until, "model", &model, "places", &places, "policy", &policy);
    if (rc) return rc;
    e->until = INT64_MAX;
    e->places = (size_t)places;
    e->model = strcmp(model, "position") == 0 ? JUDGE_POSITION : JUDGE_CASCADE;
    if (e->model == JUDGE_CASCADE && strcmp(model, "cascade") != 0) return bad(err, "\"model\" is cascade or position");
    if (places < 1 || places > PLACES_MAX)
        return error_set(err, BRAID_E_INVALID, "request", "\"places\" is from 1 to %d", (int)PLACES_MAX);
    rc = read_time(from, "from", &e->from, err);
    if (rc == BRAID_OK) rc = read_time(until, "until", &e->until, err);
    return rc == BRAID_OK ? read_policy(e, policy, err) : rc;
}

/* ---- slates ---- */
static size_t usable(void *ctx, const record_slate *row, const judge_log *shown, uint32_t *tag) {
    evaluation *e = ctx;
    size_t n = shown->place_count < e->places ? shown->place_count : e->places;
    (void)row;
    (void)tag;
    if (shown->cached) return e->cached++, 0;
    if (shown->feature_count != POLICY_FEATURE_COUNT) return e->unranked++, 0;
    for (size_t i = 0; i < n; i++)
        if (!(shown->places[i].propensity > 0)) return e->unknown++, 0;
    return n;
}

/* The features, and which place it is: what is higher up is seen more. */
static void describe(const evaluation *e, const judge_log *shown, size_t row, size_t place, float *x) {
    memcpy(x, shown->features + row * POLICY_FEATURE_COUNT, POLICY_FEATURE_COUNT * sizeof *x);
    for (size_t i = 0; i < e->places; i++) x[POLICY_FEATURE_COUNT + i] = i == place;
}

static void learn_rewards(evaluation *e, const judge_log *shown, const outcome *x, size_t half) {
    float row[POLICY_FEATURE_COUNT + PLACES_MAX];
    for (size_t i = 0; i < x->count; i++) {
        describe(e, shown, i, i, row);
        judge_ridge_add(&e->fold[half], row, e->o.rewards[x->first + i]);
    }
}

/* How likely the policy in question is to put each row at a place, given that those `gone` stand above. */
static void chances(const tried *t, const double *score, const bool *gone, size_t rows, double *p) {
    size_t best = SIZE_MAX;
    double sum = 0;
    for (size_t i = 0; i < rows; i++)
        if (!gone[i] && (best == SIZE_MAX || score[i] > score[best])) best = i;
    for (size_t i = 0; i < rows; i++) sum += p[i] = gone[i] ? 0 : exp((score[i] - score[best]) / t->temperature);
    for (size_t i = 0; i < rows; i++) p[i] = t->explore * p[i] / sum + (i == best ? 1 - t->explore : 0);
}

static bool try_slate(evaluation *e, const judge_log *shown, const outcome *x, size_t which, size_t half) {
    size_t rows = shown->place_count + shown->pool_count;
    double *score = arena_alloc(e->a, rows * sizeof *score), *p = arena_alloc(e->a, rows * sizeof *p);
    bool *gone = arena_calloc(e->a, rows, sizeof *gone);
    float row[POLICY_FEATURE_COUNT + PLACES_MAX];
    const judge_ridge *model = &e->fold[!half];
    if (!score || !p || !gone) return false;
    for (size_t i = 0; i < rows; i++) {
        score[i] = 0;
        for (int f = 0; f < POLICY_FEATURE_COUNT; f++)
            score[i] += e->policy.weight[f] * shown->features[i * POLICY_FEATURE_COUNT + (size_t)f];
    }
    for (size_t j = 0; j < x->count; j++) {
        judge_slot *s = &e->slots[x->first + j];
        chances(&e->policy, score, gone, rows, p);
        describe(e, shown, j, j, row);
        double propensity = shown->places[j].propensity;
        if (shown->places[j].forced) { /* by a rule, and so it would have been under any policy */
            double reward = judge_ridge_predict(model, row);
            *s = (judge_slot){e->o.rewards[x->first + j], 1, 1, reward, reward};
            gone[j] = true;
            continue;
        }
        *s = (judge_slot){.reward = e->o.rewards[x->first + j],
                          .logged = propensity < 1 ? propensity : 1,
                          .target = p[j] < 1 ? p[j] : 1,
                          .predicted = judge_ridge_predict(model, row)};
        for (size_t i = 0; i < rows; i++) {
            if (p[i] == 0) continue;
            describe(e, shown, i, j, row);
            s->expected += p[i] * judge_ridge_predict(model, row);
        }
        gone[j] = true;
    }
    e->slates[which] = (judge_slate){x->person, e->slots + x->first, x->count};
    return true;
}

typedef struct passing {
    evaluation *e;
    int rc;
} passing;

static bool pass_slate(void *ctx, const record_slate *row) {
    passing *pass = ctx;
    evaluation *e = pass->e;
    uint64_t which;
    judge_log shown;
    braid_error unreadable = {0};
    if (!map_get(e->o.ids, row->id, &which)) return true;
    arena_reset(e->a);
    if (judge_log_read(row->body, row->body_len, e->a, &shown, &unreadable) != BRAID_OK) {
        pass->rc = BRAID_E_NO_MEMORY; /* it could be read before */
        return false;
    }
    const outcome *x = &e->o.list[which];
    size_t half = x->person & 1;
    if (e->fitting)
        learn_rewards(e, &shown, x, half);
    else if (!try_slate(e, &shown, x, which, half))
        pass->rc = BRAID_E_NO_MEMORY;
    return pass->rc == BRAID_OK;
}

static int pass_slates(evaluation *e, bool fitting, braid_error *err) {
    passing pass = {.e = e};
    e->fitting = fitting;
    int rc = record_scan_slates(e->db->record, e->agent, e->from, e->until, pass_slate, &pass, err);
    if (rc == BRAID_OK && pass.rc != BRAID_OK) rc = error_set(err, pass.rc, "engine", "no memory for an estimate");
    return rc;
}

/* Slates that went between two readings (their person was removed) are not counted. */
static size_t drop_gone(evaluation *e) {
    size_t kept = 0;
    for (size_t i = 0; i < e->o.count; i++)
        if (e->slates[i].slots) e->slates[kept++] = e->slates[i];
    return kept;
}

static int estimate(evaluation *e, judge_estimate *out, braid_error *err) {
    e->a = arena_new(64 * 1024);
    e->fold = calloc(FOLDS, sizeof *e->fold);
    e->slots = calloc(e->o.place_count + 1, sizeof *e->slots);
    e->slates = calloc(e->o.count + 1, sizeof *e->slates);
    if (!e->a || !e->fold || !e->slots || !e->slates)
        return error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for an estimate");
    for (size_t i = 0; i < FOLDS; i++) judge_ridge_begin(&e->fold[i], POLICY_FEATURE_COUNT + e->places);
    int rc = pass_slates(e, true, err);
    for (size_t i = 0; i < FOLDS; i++) judge_ridge_solve(&e->fold[i], PENALTY);
    if (rc == BRAID_OK) rc = pass_slates(e, false, err);
    return rc == BRAID_OK ? judge_estimate_value(e->model, e->slates, drop_gone(e), out, err) : rc;
}

/* ---- what came out ---- */
static json_t *real(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *interval(judge_value v) {
    return json_pack("{s:o, s:o, s:o}", "value", real(v.value), "low", real(v.low), "high", real(v.high));
}

/* All of them, or NULL: an estimate without its warning is another one. */
static json_t *warnings_json(const evaluation *e, const judge_estimate *j) {
    const struct {
        bool holds;
        const char *text;
    } rows[] = {
        {j->warnings & JUDGE_FEW, "the weights leave too few slates' worth of evidence (effective)"},
        {j->warnings & JUDGE_EXPLODED, "single slates carry more than a twentieth of all weight"},
        {j->warnings & JUDGE_UNSUPPORTED,
         "the policy would show what the log had no chance to show: only the doubly robust estimate says "
         "anything of that, by its model alone; let agents explore (budget) before judging"},
        {j->warnings & JUDGE_CLIPPED, "weights were cut: estimates are too low"},
        {e->o.full, "there are more slates than are looked at once: the first ones count; narrow from and until"},
    };
    json_t *list = json_array();
    for (size_t i = 0; list && i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].holds && json_array_append_new(list, json_string(rows[i].text)) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static int print(const evaluation *e, const judge_estimate *j, char **json, braid_error *err) {
    json_t *all =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:{s:I, s:I, s:I}, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o}, s:o}", "agent",
                  e->agent, "model", e->model == JUDGE_CASCADE ? "cascade" : "position", "places",
                  (json_int_t)e->places, "slates", (json_int_t)j->slates, "people", (json_int_t)j->people, "skipped",
                  "cached", (json_int_t)e->cached, "unranked", (json_int_t)e->unranked, "unknown",
                  (json_int_t)e->unknown, "logged", interval(j->logged), "ips", interval(j->ips), "snips",
                  interval(j->snips), "dr", interval(j->doubly_robust), "effective", real(j->effective), "weight",
                  "mean", real(j->weight_mean), "max", real(j->weight_max), "warnings", warnings_json(e, j));
    *json = all ? model_json_text(all, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(all);
    return *json ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for an estimate");
}

int braid_evaluate(braid_db *db, const char *request, size_t len, char **json, braid_error *err) {
    evaluation e = {.db = db};
    judge_estimate j = {0};
    json_t *asked = NULL;
    *json = NULL;
    int rc = model_json_parse(request, len ? len : strlen(request), &db->limits, &asked, err);
    if (rc == BRAID_OK && !json_is_object(asked)) rc = bad(err, "an evaluation is a JSON object");
    if (rc == BRAID_OK) rc = read_request(&e, asked, err);
    slate_log_wait(db->slates);
    if (rc == BRAID_OK) rc = outcomes_load(db, e.agent, e.from, e.until, usable, &e, &e.o, err);
    if (rc == BRAID_OK) rc = estimate(&e, &j, err);
    if (rc == BRAID_OK) rc = print(&e, &j, json, err);
    outcomes_free(&e.o);
    arena_free(e.a);
    free(e.fold);
    free(e.slots);
    free(e.slates);
    json_decref(asked);
    return rc;
}
