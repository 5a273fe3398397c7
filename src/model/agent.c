/* The agent: who answers and learns under a name, and how it may.
 *
 * Everything has a default that serves, so an agent that nobody described answers like an empty object. */
#include <string.h>

#include "model/shape.h"

static const char *const learners[AGENT_LEARNERS] = {"softmax", "linucb", "thompson"};

const char *agent_learner_name(agent_learner l) {
    return learners[l];
}

static int read_learner(const reading *r, const place *at, const json_t *json, void *noun) {
    const char *name;
    int rc = model_read_name(r, at, json, &name);
    if (rc) return rc;
    for (int i = 0; i < AGENT_LEARNERS; i++)
        if (strcmp(learners[i], name) == 0) {
            ((agent_settings *)noun)->learner = (agent_learner)i;
            return BRAID_OK;
        }
    return model_read_fail(r, at, BRAID_E_INVALID, "is \"%.*s\"; softmax, linucb or thompson is wanted",
                           model_read_quotable(name), name);
}

static bool always(const void *noun) {
    (void)noun;
    return true;
}

static bool write_learner(const void *noun, buf *out) {
    return buf_json_string(out, learners[((const agent_settings *)noun)->learner]);
}

static int read_personal(const reading *r, const place *at, const json_t *json, void *noun) {
    return model_read_bool(r, at, json, &((agent_settings *)noun)->personal);
}

static bool write_personal(const void *noun, buf *out) {
    return buf_puts(out, ((const agent_settings *)noun)->personal ? "true" : "false");
}

static const shape_row exploration_rows[] = {
    {"strength", SHAPE_REAL, .offset = offsetof(agent_settings, strength), .flags = SHAPE_ALWAYS, .min = 0, .max = 100,
     .absent = 1},
    {"budget", SHAPE_REAL, .offset = offsetof(agent_settings, budget), .flags = SHAPE_ALWAYS, .min = 0, .max = 1,
     .absent = 0.1},
    {"age_days_max", SHAPE_INT, .offset = offsetof(agent_settings, age_days_max), .flags = SHAPE_ALWAYS, .min = 0,
     .max = 100000, .absent = 0},
};
static const shape exploration_shape = SHAPE_OF(exploration_rows);

static const shape_row agent_rows[] = {
    {"id", SHAPE_NAME, .offset = offsetof(agent_settings, id), .flags = SHAPE_REQUIRED},
    {"description", SHAPE_TEXT, .offset = offsetof(agent_settings, description)},
    {"learner", SHAPE_OTHER, .read = read_learner, .given = always, .write = write_learner},
    {"exploration", SHAPE_PART, .part = &exploration_shape},
    {"personal", SHAPE_OTHER, .read = read_personal, .given = always, .write = write_personal},
    {"episodes_days", SHAPE_INT, .offset = offsetof(agent_settings, episodes_days), .min = 0, .max = 3650,
     .absent = -1},
};
static const shape agent_shape = SHAPE_OF(agent_rows);

void agent_default(const char *id, agent_settings *out) {
    memset(out, 0, sizeof *out);
    model_shape_clear(&agent_shape, out);
    out->id = id;
    out->personal = true;
}

int agent_from_json(const json_t *json, arena *a, agent_settings *out, braid_error *err) {
    reading r = {a, NULL, err};
    place at = {NULL, "agent", 0};
    agent_default("", out);
    return model_shape_read(&agent_shape, &r, &at, json, out);
}

bool agent_to_json(const agent_settings *a, buf *out) {
    return model_shape_write(&agent_shape, a, out);
}
