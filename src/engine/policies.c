/* What agents believe, shown, taken out and put back.
 *
 * A taken-out policy is JSON: the rows of an agent for one person, or of everybody, with the versions of their
 * numbers. Put back into the database that it came from it never undoes newer learning: a row whose version is below
 * the stored one's is left as it is and named as stale. Another database's versions mean nothing here: there a row
 * is only written where nothing was learned yet, as of now. `force` writes in both cases, as of now: what was
 * learned up to this moment is replaced, what comes after is learned on top. Everything is checked before anything
 * is written. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

enum { ROWS_MAX = 10000, ACTIONS_MAX = 4096, TEXT_MAX = 255, APPLY_MS = 60000, SHOW_MS = 2000 };
static const char FORMAT[] = "braid-policy-1";

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for policies");
}

static int check_names(const char *agent, const char *person, braid_error *err) {
    int rc = model_check_id(agent, strlen(agent), "agent", err);
    return rc == BRAID_OK && *person ? model_check_id(person, strlen(person), "user", err) : rc;
}

static void key(buf *b, const char *name, const char *value) {
    buf_printf(b, "\"%s\":", name);
    buf_json_string(b, value);
}

/* ---- showing ---- */
static const char *text_of(const json_t *context, const char *name) {
    const char *value = json_string_value(json_object_get(context, name));
    return value ? value : "";
}

static int read_context(braid_db *db, const char *json, json_t **out, braid_error *err) {
    static const char *const known[] = {"daypart", "device", "mood", "region", "taste"};
    *out = NULL;
    int rc = json && *json ? model_json_parse(json, strlen(json), &db->limits, out, err) : BRAID_OK;
    if (rc == BRAID_OK && *out && !json_is_object(*out))
        rc = error_set(err, BRAID_E_INVALID, "request", "the context is a JSON object");
    for (void *it = json_object_iter(*out); rc == BRAID_OK && it; it = json_object_iter_next(*out, it)) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found |= strcmp(known[i], json_object_iter_key(it)) == 0;
        if (!found || !json_is_string(json_object_iter_value(it)))
            rc = error_set(err, BRAID_E_UNKNOWN_FIELD, "request",
                           "\"%.40s\" is no part of a state; daypart, device, mood, region and taste are, as text",
                           json_object_iter_key(it));
    }
    return rc;
}

/* The taste that is asked about; not named, the person's own. */
static int show_taste(braid_db *db, const char *person, const json_t *situation, policy_state *state,
                      braid_error *err) {
    const policy_profile *profile = NULL;
    if (json_object_get(situation, "taste") || !*person || !(db->rooms.state_parts & 1u << POLICY_TASTE)) {
        policy_state_taste(state, text_of(situation, "taste"));
        return BRAID_OK;
    }
    int rc = policy_profile_get(db->profiles, person, clock_mono_ns(&clock_system) + SHOW_MS * INT64_C(1000000),
                                &profile, err);
    if (rc == BRAID_OK) policy_state_taste(state, profile->taste);
    policy_profile_release(profile);
    return rc;
}

int braid_policy_show(braid_db *db, const char *agent, const char *person, const char *context, char **json,
                      braid_error *err) {
    json_t *situation = NULL;
    agent_settings who;
    policy_state state;
    buf b;
    *json = NULL;
    if (!person) person = "";
    int rc = check_names(agent, person, err);
    /* what was done a moment ago is in it, unless much is under way */
    if (rc == BRAID_OK) braid_wait(db, NULL, SHOW_MS, NULL);
    if (rc == BRAID_OK) rc = read_context(db, context, &situation, err);
    if (rc == BRAID_OK) rc = policy_agents_get(db->agents, agent, &who, err);
    if (rc == BRAID_OK) {
        const policy_model_set *models = policy_models_get(db->models);
        policy_weights base = models ? *models->weights : policy_weights_default();
        policy_models_release(models);
        policy_state_make(db->rooms.state_parts, text_of(situation, "daypart"), text_of(situation, "device"),
                          text_of(situation, "mood"), text_of(situation, "region"), clock_wall_ms(&clock_system),
                          &state);
        rc = show_taste(db, person, situation, &state, err);
        buf_init(&b, 0);
        buf_putc(&b, '{');
        key(&b, "agent", agent);
        buf_putc(&b, ',');
        key(&b, "user", person);
        buf_putc(&b, ',');
        key(&b, "state", state.text);
        buf_putc(&b, ',');
        key(&b, "learner", agent_learner_name(who.learner));
        buf_putc(&b, ',');
        if (rc == BRAID_OK) rc = policy_show(db->policies, &who, agent, person, &state, &base, 0, &b, err);
        buf_putc(&b, '}');
        if (rc == BRAID_OK)
            rc = engine_text(&b, json, err);
        else
            buf_free(&b);
    }
    json_decref(situation);
    return rc;
}

/* ---- taking out ---- */
static bool print_row(void *ctx, const record_policy *row) {
    buf *b = ctx;
    buf_puts(b, b->len && b->data[b->len - 1] == '[' ? "{" : ",{");
    key(b, "state_hash", row->state_hash);
    buf_putc(b, ',');
    key(b, "state", row->state ? row->state : "");
    buf_puts(b, ",\"actions\":[");
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *a = &row->actions[i];
        buf_puts(b, i ? ",{" : "{");
        key(b, "action", a->action);
        const struct {
            const char *name;
            double value;
        } numbers[] = {{"mean", a->mean}, {"variance", a->variance}, {"count", a->count}};
        for (int n = 0; n < 3; n++) {
            buf_printf(b, ",\"%s\":", numbers[n].name);
            buf_json_real(b, numbers[n].value);
        }
        buf_printf(b, ",\"version\":%llu}", (unsigned long long)a->version);
    }
    return buf_puts(b, "]}");
}

int braid_policy_export(braid_db *db, const char *agent, const char *person, char **json, braid_error *err) {
    buf b;
    *json = NULL;
    if (!person) person = "";
    int rc = check_names(agent, person, err);
    if (rc != BRAID_OK) return rc;
    if ((rc = braid_wait(db, NULL, APPLY_MS, err))) return rc; /* what was done up to now is in it */
    buf_init(&b, 0);
    buf_printf(&b, "{\"format\":\"%s\",\"database\":\"%016llx\",", FORMAT, (unsigned long long)db->epoch);
    key(&b, "agent", agent);
    buf_putc(&b, ',');
    key(&b, "user", person);
    buf_puts(&b, ",\"policies\":[");
    rc = record_user_policies(db->record, agent, person, print_row, &b, err);
    buf_puts(&b, "]}");
    if (rc == BRAID_OK) return engine_text(&b, json, err);
    buf_free(&b);
    return rc;
}

/* ---- putting back ---- */
typedef struct intake {
    braid_db *db;
    json_t *json;
    const char *agent, *person;
    bool ours, force;
    arena *a;
    record_policy *rows;
    record_change *changes;
    bool *there; /* foreign rows: something was learned of that key */
    size_t count;
    braid_error *err;
} intake;

static int refuse(const intake *x, size_t row, const char *what) {
    return error_set(x->err, BRAID_E_INVALID, "request", "policies[%zu]: %s", row, what);
}

static bool short_text(const json_t *json) {
    return json_is_string(json) && json_string_length(json) <= TEXT_MAX &&
           strlen(json_string_value(json)) == json_string_length(json);
}

static bool number(const json_t *json, double *out) {
    *out = json_number_value(json);
    return json_is_number(json) && isfinite(*out);
}

static bool read_action(const json_t *json, record_action *a) {
    const json_t *action = json_object_get(json, "action"), *version = json_object_get(json, "version");
    a->action = json_string_value(action);
    a->version = (uint64_t)json_integer_value(version);
    return short_text(action) && *a->action && json_is_integer(version) && json_integer_value(version) >= 0 &&
           number(json_object_get(json, "mean"), &a->mean) && number(json_object_get(json, "variance"), &a->variance) &&
           number(json_object_get(json, "count"), &a->count);
}

static int read_row(intake *x, size_t i, uint64_t now) {
    const json_t *json = json_array_get(json_object_get(x->json, "policies"), i),
                 *list = json_object_get(json, "actions");
    const json_t *hash = json_object_get(json, "state_hash"), *state = json_object_get(json, "state");
    size_t n = json_array_size(list);
    record_action *actions = arena_calloc(x->a, n + 1, sizeof *actions);
    if (!actions) return no_memory(x->err);
    if (!short_text(hash) || json_string_length(hash) >= RECORD_HASH_BYTES)
        return refuse(x, i, "\"state_hash\" is no hash of a state");
    if (!short_text(state)) return refuse(x, i, "\"state\" is text of at most 255 bytes");
    if (n == 0 || n > ACTIONS_MAX) return refuse(x, i, "\"actions\" is a list of 1 to 4,096");
    x->rows[i] = (record_policy){.agent = x->agent,
                                 .user = x->person,
                                 .state_hash = json_string_value(hash),
                                 .state = json_string_value(state),
                                 .actions = actions,
                                 .action_count = n};
    for (size_t k = 0; k < n; k++) {
        if (!read_action(json_array_get(list, k), &actions[k]))
            return refuse(
                x, i,
                "each action has \"action\", a name, finite \"mean\", \"variance\" and \"count\", and its \"version\"");
        for (size_t before = 0; before < k; before++)
            if (strcmp(actions[before].action, actions[k].action) == 0) return refuse(x, i, "an action is there twice");
        if (!x->ours || x->force) actions[k].version = now;
        if (actions[k].version > now) return refuse(x, i, "a version is ahead of everything that was written here");
        if (actions[k].version > x->rows[i].version) x->rows[i].version = actions[k].version;
    }
    for (size_t before = 0; before < i; before++)
        if (strcmp(x->rows[before].state_hash, x->rows[i].state_hash) == 0)
            return refuse(x, i, "a state is there twice");
    return BRAID_OK;
}

static int read_all(intake *x) {
    const json_t *list = json_object_get(x->json, "policies");
    const char *format = text_of(x->json, "format"), *database = text_of(x->json, "database");
    char own[20];
    snprintf(own, sizeof own, "%016llx", (unsigned long long)x->db->epoch);
    x->ours = strcmp(database, own) == 0;
    x->agent = text_of(x->json, "agent");
    x->person = text_of(x->json, "user");
    x->count = json_array_size(list);
    if (strcmp(format, FORMAT) != 0)
        return error_set(x->err, BRAID_E_INVALID, "request",
                         "this is no policy that was taken out: its \"format\" is not \"%s\"", FORMAT);
    int rc = check_names(x->agent, x->person, x->err);
    if (rc != BRAID_OK) return rc;
    if (!json_is_array(list) || x->count > ROWS_MAX)
        return error_set(x->err, BRAID_E_INVALID, "request", "\"policies\" is a list of at most %d", ROWS_MAX);
    x->rows = arena_calloc(x->a, x->count + 1, sizeof *x->rows);
    x->changes = arena_calloc(x->a, x->count + 1, sizeof *x->changes);
    x->there = arena_calloc(x->a, x->count + 1, sizeof *x->there);
    if (!x->rows || !x->changes || !x->there) return no_memory(x->err);
    /* Everything up to now is learned, so that "as of now" takes nothing from what is under way. */
    if ((rc = braid_wait(x->db, NULL, APPLY_MS, x->err))) return rc;
    uint64_t now = record_head(x->db->record);
    for (size_t i = 0; rc == BRAID_OK && i < x->count; i++) rc = read_row(x, i, now);
    return rc;
}

static bool note_there(void *ctx, const record_policy *row) {
    intake *x = ctx;
    for (size_t i = 0; i < x->count; i++)
        if (strcmp(x->rows[i].state_hash, row->state_hash) == 0) x->there[i] = true;
    return true;
}

static int write_all(intake *x, char **json) {
    size_t written = 0, n = 0;
    int rc = x->ours || x->force ? BRAID_OK
                                 : record_user_policies(x->db->record, x->agent, x->person, note_there, x, x->err);
    buf b;
    buf_init(&b, 0);
    buf_puts(&b, "{\"stale\":[");
    for (size_t i = 0; rc == BRAID_OK && i < x->count; i++)
        if (!x->there[i]) {
            policy_rows_changing(x->db->policies, &x->rows[i]);
            x->changes[n++] = (record_change){.kind = RECORD_POLICY, .policy = &x->rows[i]};
        }
    if (rc == BRAID_OK && n) rc = record_write(x->db->record, x->changes, n, (record_write_flags){0}, x->err);
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) {
        const record_change *c = &x->changes[i];
        if (c->code == BRAID_OK) {
            policy_rows_put(x->db->policies, c->policy);
            written++;
        } else if (c->code == BRAID_E_CONFLICT) {
            x->there[c->policy - x->rows] = true;
        } else {
            rc = error_set(x->err, c->code, "record", "%s", c->message);
        }
    }
    bool first = true;
    for (size_t i = 0; i < x->count; i++) {
        if (!x->there[i]) continue;
        buf_puts(&b, first ? "" : ",");
        buf_json_string(&b, x->rows[i].state[0] ? x->rows[i].state : "any state");
        first = false;
    }
    buf_printf(&b, "],\"written\":%zu}", written);
    if (rc == BRAID_OK) return engine_text(&b, json, x->err);
    buf_free(&b);
    return rc;
}

int braid_policy_import(braid_db *db, const char *text, size_t len, bool force, char **json, braid_error *err) {
    intake x = {.db = db, .force = force, .err = err, .a = arena_new(32 * 1024)};
    *json = NULL;
    int rc = x.a ? model_json_parse(text, len ? len : strlen(text), &db->limits, &x.json, err) : no_memory(err);
    if (rc == BRAID_OK) rc = read_all(&x);
    if (rc == BRAID_OK) rc = write_all(&x, json);
    json_decref(x.json);
    arena_free(x.a);
    return rc;
}
