/* The episode: a step of an agent with a person, given from outside rather than made of an interaction. */
#include <math.h>

#include "model/shape.h"

#define REWARD_MAX 1e6

static int read_state_vector(const reading *r, const place *at, const json_t *json, void *noun) {
    given_episode *e = noun;
    return model_read_vector(r, at, json, &e->vector, &e->dim);
}

static bool state_vector_given(const void *noun) {
    return ((const given_episode *)noun)->vector != NULL;
}

static bool write_state_vector(const void *noun, buf *out) {
    const given_episode *e = noun;
    return model_write_vector(e->vector, e->dim, out);
}

static const shape_row episode_rows[] = {
    {"user", SHAPE_NAME, .offset = offsetof(given_episode, user), .flags = SHAPE_REQUIRED},
    {"item", SHAPE_NAME, .offset = offsetof(given_episode, item), .flags = SHAPE_REQUIRED},
    {"reward", SHAPE_REAL, .offset = offsetof(given_episode, reward), .min = -REWARD_MAX, .max = REWARD_MAX,
     .absent = NAN},
    {"done", SHAPE_BOOL, .offset = offsetof(given_episode, done)},
    {"at", SHAPE_INSTANT, .offset = offsetof(given_episode, at)},
    {"agent", SHAPE_NAME, .offset = offsetof(given_episode, agent), .absent_text = "default"},
    {"session", SHAPE_NAME, .offset = offsetof(given_episode, session)},
    {"state", SHAPE_NAME, .offset = offsetof(given_episode, state)},
    {"next_state", SHAPE_NAME, .offset = offsetof(given_episode, next_state)},
    {"state_vector", SHAPE_OTHER, .read = read_state_vector, .given = state_vector_given, .write = write_state_vector},
    {"idempotency_key", SHAPE_NAME, .offset = offsetof(given_episode, idempotency_key)},
};
static const shape episode_shape = SHAPE_OF(episode_rows);

int episode_from_json(const json_t *json, arena *a, given_episode **out, braid_error *err) {
    reading r = {a, NULL, err};
    place at = {NULL, "episode", 0};
    *out = NULL;
    given_episode *e = arena_calloc(a, 1, sizeof *e);
    if (!e) return model_read_no_memory(&r);
    model_shape_clear(&episode_shape, e);
    int rc = model_shape_read(&episode_shape, &r, &at, json, e);
    if (rc == BRAID_OK && isnan(e->reward))
        return model_read_fail(&r, &at, BRAID_E_INVALID, "the field \"reward\" is missing");
    if (rc == BRAID_OK) *out = e;
    return rc;
}

bool episode_to_json(const given_episode *e, buf *out) {
    return model_shape_write(&episode_shape, e, out);
}
