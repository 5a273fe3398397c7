/* One rule of the editors from its JSON.
 *
 *   {"pin":{"item":"ID","position":1}}               the item stands at that place
 *   {"boost":{"filter":{..},"factor":1.5}}           scores under the filter are multiplied; below 1 they sink
 *   {"quota":{"filter":{..},"least":3,"within":10}}  at least so many of the first so many
 *
 * and beside it "for":{"agents","users","regions","devices","dayparts","moods":
 * lists,"experiment":"ID","arms":[..]}, "from", "until", "enabled", "note". A rule has one deed: two deeds are two
 * rules, so that each can be varied, ended and explained by itself. */
#include <math.h>
#include <string.h>

#include "query/programme.h"

enum { WITHIN_MAX = 100 };
static const double FACTOR_MAX = 100;

static int read_pin(const json_t *json, arena *a, rule *r, braid_error *err) {
    const char *id;
    json_int_t position = 1;
    int rc = programme_unpack(r->id, json, err, "{s:s, s?I}", "item", &id, "position", &position);
    if (rc == BRAID_OK) rc = model_check_id(id, strlen(id), "pin.item", err);
    if (rc != BRAID_OK) return rc;
    if (position < 1 || position > WITHIN_MAX)
        return programme_fail(err, r->id, "\"pin.position\" is from 1 to %d", (int)WITHIN_MAX);
    r->kind = RULE_PIN;
    r->position = (size_t)position;
    r->item = arena_strdup(a, id);
    return r->item ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for a rule");
}

static int read_filter(const json_t *json, arena *a, rule *r, braid_error *err) {
    filter *f = NULL;
    int rc = filter_from_json(json, a, &f, err);
    if (rc != BRAID_OK) return rc;
    if (f->kind == FILTER_TRUE)
        return programme_fail(err, r->id, "\"filter\" holds for every item, so the rule changes nothing");
    r->where = f;
    return BRAID_OK;
}

static int read_boost(const json_t *json, arena *a, rule *r, braid_error *err) {
    json_t *where;
    int rc = programme_unpack(r->id, json, err, "{s:o, s:F}", "filter", &where, "factor", &r->factor);
    if (rc != BRAID_OK) return rc;
    if (!(r->factor >= 0 && r->factor <= FACTOR_MAX))
        return programme_fail(err, r->id, "\"boost.factor\" is from 0 to %.0f", FACTOR_MAX);
    r->kind = RULE_BOOST;
    return read_filter(where, a, r, err);
}

static int read_quota(const json_t *json, arena *a, rule *r, braid_error *err) {
    json_t *where;
    json_int_t least, within = 10;
    int rc =
        programme_unpack(r->id, json, err, "{s:o, s:I, s?I}", "filter", &where, "least", &least, "within", &within);
    if (rc != BRAID_OK) return rc;
    if (within < 1 || within > WITHIN_MAX)
        return programme_fail(err, r->id, "\"quota.within\" is from 1 to %d", (int)WITHIN_MAX);
    if (least < 1 || least > within) return programme_fail(err, r->id, "\"quota.least\" is from 1 to \"within\"");
    r->kind = RULE_QUOTA;
    r->least = (size_t)least;
    r->within = (size_t)within;
    return read_filter(where, a, r, err);
}

static int read_for(const json_t *json, arena *a, rule *r, braid_error *err) {
    json_t *lists[7] = {0};
    rule_list *const to[7] = {&r->agents, &r->users, &r->regions, &r->devices, &r->dayparts, &r->moods, &r->arms};
    static const char *const names[7] = {"agents", "users", "regions", "devices", "dayparts", "moods", "arms"};
    const char *whose = "";
    int rc = programme_unpack(r->id, json, err, "{s?o, s?o, s?o, s?o, s?o, s?o, s?o, s?s}", names[0], &lists[0],
                              names[1], &lists[1], names[2], &lists[2], names[3], &lists[3], names[4], &lists[4],
                              names[5], &lists[5], names[6], &lists[6], "experiment", &whose);
    for (size_t i = 0; i < 7 && rc == BRAID_OK; i++) rc = programme_names(r->id, lists[i], names[i], a, to[i], err);
    if (rc != BRAID_OK) return rc;
    if (r->arms.count && !*whose) return programme_fail(err, r->id, "\"arms\" are of an \"experiment\": name it");
    r->experiment = arena_strdup(a, whose);
    return r->experiment ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for a rule");
}

int rule_parse(const char *id, const json_t *json, uint64_t version, arena *a, rule *out, braid_error *err) {
    json_t *pin = NULL, *boost = NULL, *quota = NULL, *whom = NULL, *from = NULL, *until = NULL;
    const char *note = "";
    int enabled = 1;
    *out = (rule){.version = version, .id = arena_strdup(a, id), .experiment = ""};
    if (!out->id) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for a rule");
    int rc = programme_unpack(id, json, err, "{s?o, s?o, s?o, s?o, s?o, s?o, s?b, s?s}", "pin", &pin, "boost", &boost,
                              "quota", &quota, "for", &whom, "from", &from, "until", &until, "enabled", &enabled,
                              "note", &note);
    if (rc != BRAID_OK) return rc;
    if (!pin + !boost + !quota != 2)
        return programme_fail(err, id, "a rule has one of \"pin\", \"boost\" and \"quota\"");
    out->enabled = enabled;
    out->note = arena_strdup(a, note);
    if (!out->note) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for a rule");
    rc = pin ? read_pin(pin, a, out, err) : boost ? read_boost(boost, a, out, err) : read_quota(quota, a, out, err);
    if (rc == BRAID_OK && whom) rc = read_for(whom, a, out, err);
    if (rc == BRAID_OK) rc = programme_time(id, from, "from", &out->from, err);
    if (rc == BRAID_OK) rc = programme_time(id, until, "until", &out->until, err);
    if (rc == BRAID_OK && out->from != TIME_NONE && out->until != TIME_NONE && out->from >= out->until)
        rc = programme_fail(err, id, "\"until\" is not after \"from\"");
    return rc;
}
