/* The interaction: what a person did with an item. */
enum { WATCH_S_MAX = 7 * 24 * 3600 };
#include <math.h>
#include <string.h>

#include "model/shape.h"

static const char *const type_names[INTERACTION_TYPES] = {"view", "click", "watch",   "complete",
                                                          "skip", "like",  "dislike", "rate"};

const char *interaction_type_name(interaction_type t) {
    BRAID_ASSERT((unsigned)t < INTERACTION_TYPES);
    return type_names[t];
}

static int read_type(const reading *r, const place *at, const json_t *json, void *noun) {
    const char *name = json_string_value(json);
    for (int t = 0; name && t < INTERACTION_TYPES; t++) {
        if (strcmp(name, type_names[t]) == 0) {
            ((interaction *)noun)->type = (interaction_type)t;
            return BRAID_OK;
        }
    }
    return model_read_fail(r, at, BRAID_E_INVALID,
                           "must be one of view, click, watch, complete, skip, like, "
                           "dislike, rate");
}

static bool type_given(const void *noun) {
    (void)noun;
    return true;
}

static bool write_type(const void *noun, buf *out) {
    return buf_json_string(out, interaction_type_name(((const interaction *)noun)->type));
}

static const shape_row context_rows[] = {
    {"device", SHAPE_NAME, .offset = offsetof(interaction, device)},
    {"daypart", SHAPE_NAME, .offset = offsetof(interaction, daypart)},
    {"region", SHAPE_NAME, .offset = offsetof(interaction, region)},
    {"mood", SHAPE_NAME, .offset = offsetof(interaction, mood)},
    {"simulated", SHAPE_BOOL, .offset = offsetof(interaction, simulated)},
};
static const shape context_shape = SHAPE_OF(context_rows);

static const shape_row interaction_rows[] = {
    {"user", SHAPE_NAME, .offset = offsetof(interaction, user), .flags = SHAPE_REQUIRED},
    {"item", SHAPE_NAME, .offset = offsetof(interaction, item), .flags = SHAPE_REQUIRED},
    {"type", SHAPE_OTHER, .flags = SHAPE_REQUIRED, .read = read_type, .given = type_given, .write = write_type},
    {"watch_s", SHAPE_INT, .offset = offsetof(interaction, watch_s), .min = 0, .max = WATCH_S_MAX, .absent = -1},
    {"rating", SHAPE_REAL, .offset = offsetof(interaction, rating), .min = 0.5, .max = 5, .absent = NAN},
    {"at", SHAPE_INSTANT, .offset = offsetof(interaction, at)},
    {"context", SHAPE_PART, .part = &context_shape},
    {"agent", SHAPE_NAME, .offset = offsetof(interaction, agent), .absent_text = "default"},
    {"session", SHAPE_NAME, .offset = offsetof(interaction, session)},
    {"recommendation_id", SHAPE_NAME, .offset = offsetof(interaction, recommendation_id)},
    {"idempotency_key", SHAPE_NAME, .offset = offsetof(interaction, idempotency_key)},
};
static const shape interaction_shape = SHAPE_OF(interaction_rows);

int interaction_from_json(const json_t *json, arena *a, interaction **out, braid_error *err) {
    reading r = {a, NULL, err};
    place at = {NULL, "interaction", 0};
    *out = NULL;
    interaction *in = arena_calloc(a, 1, sizeof *in);
    if (!in) {
        return model_read_no_memory(&r);
    }
    model_shape_clear(&interaction_shape, in);
    int rc = model_shape_read(&interaction_shape, &r, &at, json, in);
    if (rc) {
        return rc;
    }
    if (in->type == INTERACTION_RATE && isnan(in->rating)) {
        return model_read_fail(&r, &at, BRAID_E_INVALID, "the type \"rate\" needs a \"rating\" from 0.5 to 5");
    }
    *out = in;
    return BRAID_OK;
}

bool interaction_to_json(const interaction *in, buf *out) {
    return model_shape_write(&interaction_shape, in, out);
}
