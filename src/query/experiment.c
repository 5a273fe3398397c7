/* One experiment from its JSON, and what it makes of a request.
 *
 *   {"status":"draft|running|stopped","agent":"default","share":0.5,"salt":0,"scale":0.1,"interleave":false,"from":..,"until":..,
 *    "note":"..","arms":[{"name":"control","share":1},{"name":"new","share":1,"agent":"..","ranker":"..","weights":{..},
 *    "diversity":0.3,"explore":true}]}
 *
 * A person is in an arm by a hash (judge_assign), for as long as the experiment runs; nothing is stored. A request
 * takes part in one experiment at most, the first by id that runs for its agent and has the person: so arms of two
 * experiments never mix in one answer, and each compares people who differ in nothing else. An interleaved one shows
 * everybody both of its arms in one list. Rules may name an experiment's arms. */
#include <string.h>

#include "judge/judge.h"
#include "query/programme.h"

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for an experiment");
}

static int read_ranker(const char *id, const char *name, experiment_arm *arm, braid_error *err) {
    for (int r = 0; r < RANKER_COUNT; r++)
        if (strcmp(query_ranker_name((query_ranker)r), name) == 0) {
            arm->ranker = (query_ranker)r;
            arm->has_ranker = true;
            return BRAID_OK;
        }
    return programme_fail(err, id, "arm \"%.40s\": there is no ranker \"%.40s\"", arm->name, name);
}

static int read_weights(const char *id, const json_t *json, experiment_arm *arm, braid_error *err) {
    double *w = arm->weights, sum = 0;
    int rc = programme_unpack(id, json, err, "{s?F, s?F, s?F}", "vector", &w[STRAND_VECTOR], "graph", &w[STRAND_GRAPH],
                              "policy", &w[STRAND_POLICY]);
    if (rc != BRAID_OK) return rc;
    for (int s = 0; s < STRAND_COUNT; s++) {
        if (!(w[s] >= 0 && w[s] <= 1))
            return programme_fail(err, id, "arm \"%.40s\": weights are from 0 to 1", arm->name);
        sum += w[s];
    }
    arm->has_weights = true;
    return sum > 0 ? BRAID_OK : programme_fail(err, id, "arm \"%.40s\": all weights are 0", arm->name);
}

static int read_arm(const char *id, const json_t *json, arena *a, experiment_arm *arm, braid_error *err) {
    const char *name, *agent = NULL, *ranker = NULL;
    json_t *weights = NULL, *explore = NULL;
    arm->share = 1;
    arm->diversity = -1;
    int rc = programme_unpack(id, json, err, "{s:s, s?F, s?s, s?s, s?o, s?F, s?o}", "name", &name, "share", &arm->share,
                              "agent", &agent, "ranker", &ranker, "weights", &weights, "diversity", &arm->diversity,
                              "explore", &explore);
    if (rc == BRAID_OK) rc = model_check_id(name, strlen(name), "arm.name", err);
    if (rc == BRAID_OK && agent) rc = model_check_id(agent, strlen(agent), "arm.agent", err);
    if (rc != BRAID_OK) return rc;
    arm->name = arena_strdup(a, name);
    arm->agent = agent ? arena_strdup(a, agent) : NULL;
    if (!arm->name || (agent && !arm->agent)) return no_memory(err);
    if (!(arm->share > 0 && arm->share <= 1000))
        return programme_fail(err, id, "arm \"%.40s\": \"share\" is above 0 and at most 1000", name);
    arm->has_diversity = json_object_get(json, "diversity") != NULL;
    if (arm->has_diversity && !(arm->diversity >= 0 && arm->diversity <= 1))
        return programme_fail(err, id, "arm \"%.40s\": \"diversity\" is from 0 to 1", name);
    if (explore && !json_is_boolean(explore))
        return programme_fail(err, id, "arm \"%.40s\": \"explore\" wants true or false", name);
    arm->has_explore = explore != NULL;
    arm->explore = json_is_true(explore);
    if (ranker) rc = read_ranker(id, ranker, arm, err);
    if (rc == BRAID_OK && weights) rc = read_weights(id, weights, arm, err);
    return rc;
}

static int read_arms(const char *id, const json_t *json, arena *a, experiment *e, braid_error *err) {
    size_t n = json_array_size(json);
    if (!json_is_array(json) || n < 2 || n > ARMS_MAX)
        return programme_fail(err, id, "\"arms\" wants a list of 2 to %d", (int)ARMS_MAX);
    if (e->interleave && n != 2) return programme_fail(err, id, "two arms can be interleaved, not %zu", n);
    for (size_t i = 0; i < n; i++) {
        int rc = read_arm(id, json_array_get(json, i), a, &e->arms[i], err);
        if (rc != BRAID_OK) return rc;
        for (size_t k = 0; k < i; k++)
            if (strcmp(e->arms[k].name, e->arms[i].name) == 0)
                return programme_fail(err, id, "two arms are named \"%.40s\"", e->arms[i].name);
    }
    e->arm_count = n;
    return BRAID_OK;
}

static int read_status(const char *id, const char *status, experiment *e, braid_error *err) {
    e->running = strcmp(status, "running") == 0;
    if (e->running || strcmp(status, "draft") == 0 || strcmp(status, "stopped") == 0) return BRAID_OK;
    return programme_fail(err, id, "\"status\" is draft, running or stopped, not \"%.40s\"", status);
}

int experiment_parse(const char *id, const json_t *json, uint64_t version, arena *a, experiment *out,
                     braid_error *err) {
    const char *status = "draft", *agent = "default", *note = "";
    json_t *from = NULL, *until = NULL, *arms;
    json_int_t salt = 0;
    int interleave = 0;
    *out = (experiment){.version = version, .id = arena_strdup(a, id), .share = 1, .scale = 0.1};
    int rc = programme_unpack(id, json, err, "{s?s, s?s, s?F, s?I, s?F, s?b, s?o, s?o, s?s, s:o}", "status", &status,
                              "agent", &agent, "share", &out->share, "salt", &salt, "scale", &out->scale, "interleave",
                              &interleave, "from", &from, "until", &until, "note", &note, "arms", &arms);
    if (rc == BRAID_OK) rc = model_check_id(agent, strlen(agent), "agent", err);
    if (rc == BRAID_OK) rc = read_status(id, status, out, err);
    if (rc != BRAID_OK) return rc;
    out->agent = arena_strdup(a, agent);
    out->note = arena_strdup(a, note);
    out->salt = (uint64_t)salt;
    out->interleave = interleave;
    if (!out->id || !out->agent || !out->note) return no_memory(err);
    if (!(out->share > 0 && out->share <= 1)) return programme_fail(err, id, "\"share\" is above 0 and at most 1");
    if (!(out->scale > 0 && out->scale <= 1000))
        return programme_fail(err, id, "\"scale\" is above 0 and at most 1000");
    rc = read_arms(id, arms, a, out, err);
    if (rc == BRAID_OK) rc = programme_time(id, from, "from", &out->from, err);
    if (rc == BRAID_OK) rc = programme_time(id, until, "until", &out->until, err);
    return rc;
}

/* ---- at work ---- */
static bool takes_part(const experiment *e, const query_request *rq, int64_t now) {
    if (!e->running || strcmp(e->agent, rq->agent) != 0 || !programme_open_at(e->from, e->until, now)) return false;
    /* Another salt than the arms': who takes part and where they stand are independent. */
    return e->share >= 1 || judge_place(e->id, ~e->salt, rq->user) < e->share;
}

bool experiment_of(const programme *set, const query_request *rq, int64_t now, experiment_place *out) {
    if (!set || !rq->recommend || !rq->user[0] || !rq->experiments || rq->as_of != TIME_NONE) return false;
    for (size_t i = 0; i < set->experiment_count; i++) {
        const experiment *e = &set->experiments[i];
        double shares[ARMS_MAX];
        if (!takes_part(e, rq, now)) continue;
        for (size_t k = 0; k < e->arm_count; k++) shares[k] = e->arms[k].share;
        *out = (experiment_place){e, e->interleave ? 0 : judge_assign(e->id, e->salt, rq->user, shares, e->arm_count)};
        return true;
    }
    return false;
}

const query_request *experiment_request(const experiment *e, size_t arm, const query_request *rq, arena *a) {
    const experiment_arm *x = &e->arms[arm];
    query_request *own = arena_alloc(a, sizeof *own);
    if (!own) return NULL;
    *own = *rq;
    if (x->agent) own->agent = x->agent;
    if (x->has_ranker) own->ranker = x->ranker;
    if (x->has_explore) own->explore = x->explore;
    if (x->has_diversity) own->diversity = x->diversity;
    if (x->has_weights) memcpy(own->weights, x->weights, sizeof own->weights);
    /* An answer is kept for those of the same arm only. */
    own->canonical =
        arena_printf(a, "%s|%zu:%s|%llu|%zu", rq->canonical, strlen(e->id), e->id, (unsigned long long)e->version, arm);
    return own->canonical ? own : NULL;
}
