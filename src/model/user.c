/* The user: tastes, limits and present state of a person.
 *
 * Preferences and exclusions are lists of (field, value) sorted by the order of `facet_fields` and then by value, so
 * that a user has one canonical text whatever the order of keys was. */
#include <stdlib.h>
#include <string.h>

#include "model/shape.h"

enum { USER_AGE_MAX = 150, USER_TIER_MAX = 255 };

/* The item fields that a taste can speak of. */
static const char *const facet_fields[] = {"genres", "themes",    "moods", "contexts",
                                           "people", "countries", "kind",  "language"};
enum { FACETS = sizeof facet_fields / sizeof facet_fields[0] };

/* The library's own spelling of a facet's name (static), or NULL. */
static const char *facet_name(const char *name) {
    for (size_t i = 0; i < FACETS; i++) {
        if (strcmp(facet_fields[i], name) == 0) {
            return facet_fields[i];
        }
    }
    return NULL;
}

/* An object whose keys are facets; every value must be an object or list of at most MODEL_LIST_MAX. Sums the sizes
 * up. */
static int check_facets(const reading *r, const place *at, const json_t *json, bool lists, size_t *total) {
    *total = 0;
    int rc = model_read_object(r, at, json);
    if (rc) {
        return rc;
    }
    for (void *it = json_object_iter((json_t *)json); it && !rc; it = json_object_iter_next((json_t *)json, it)) {
        const json_t *value = json_object_iter_value(it);
        place here = {at, json_object_iter_key(it), 0};
        if (!facet_name(here.name)) {
            return model_read_unknown(r, at, here.name, facet_fields, FACETS);
        }
        if (json_is_null(value)) {
            continue;
        }
        rc = lists ? model_read_list(r, &here, value, MODEL_LIST_MAX) : model_read_object(r, &here, value);
        size_t n = lists ? json_array_size(value) : json_object_size(value);
        if (!rc && n > MODEL_LIST_MAX) {
            return model_read_fail(r, &here, BRAID_E_TOO_LARGE, "has %zu values; at most %d are allowed", n,
                                   MODEL_LIST_MAX);
        }
        *total += n;
    }
    return rc;
}

/* ---- preferences: {"genres":{"drame":0.8}} ---- */

static int by_value(const void *a, const void *b) {
    return strcmp(((const user_preference *)a)->value, ((const user_preference *)b)->value);
}

static int read_weights(const reading *r, const place *at, const json_t *json, user_preference *out, size_t *count) {
    user_preference *first = out + *count;
    size_t n = 0;
    for (void *it = json_object_iter((json_t *)json); it; it = json_object_iter_next((json_t *)json, it)) {
        const char *value = json_object_iter_key(it);
        place here = {at, value, 0};
        int rc = model_read_check_name(r, &here, value, strlen(value));
        rc = rc ? rc : model_read_real(r, &here, json_object_iter_value(it), -1, 1, &first[n].weight);
        if (rc) {
            return rc;
        }
        first[n].field = at->name;
        if (!(first[n++].value = arena_strdup(r->a, value))) {
            return model_read_no_memory(r);
        }
    }
    qsort(first, n, sizeof *first, by_value);
    *count += n;
    return BRAID_OK;
}

static int read_preferences(const reading *r, const place *at, const json_t *json, void *noun) {
    user *u = noun;
    size_t total, count = 0;
    int rc = check_facets(r, at, json, false, &total);
    if (rc) {
        return rc;
    }
    user_preference *list = arena_calloc(r->a, total + 1, sizeof *list);
    if (!list) {
        return model_read_no_memory(r);
    }
    for (size_t i = 0; i < FACETS && !rc; i++) {
        const json_t *values = json_object_get(json, facet_fields[i]);
        if (json_is_object(values)) {
            rc = read_weights(r, &(place){at, facet_fields[i], 0}, values, list, &count);
        }
    }
    u->preferences = list;
    u->preferences_count = count;
    return rc;
}

static bool preferences_given(const void *noun) {
    return ((const user *)noun)->preferences_count > 0;
}

static bool write_preferences(const void *noun, buf *out) {
    const user *u = noun;
    const char *field = "";
    for (size_t i = 0; i < u->preferences_count; i++) {
        const user_preference *p = &u->preferences[i];
        if (strcmp(field, p->field) != 0) {
            buf_puts(out, i ? "}," : "{");
            buf_json_string(out, field = p->field);
            buf_puts(out, ":{");
        } else {
            buf_putc(out, ',');
        }
        buf_json_string(out, p->value);
        buf_putc(out, ':');
        buf_json_real(out, p->weight);
    }
    return buf_puts(out, "}}");
}

/* ---- exclusions: {"genres":["horreur"]} ---- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int read_exclusions(const reading *r, const place *at, const json_t *json, void *noun) {
    user *u = noun;
    size_t total, count = 0;
    int rc = check_facets(r, at, json, true, &total);
    if (rc) {
        return rc;
    }
    user_exclusion *list = arena_calloc(r->a, total + 1, sizeof *list);
    if (!list) {
        return model_read_no_memory(r);
    }
    for (size_t i = 0; i < FACETS; i++) {
        const json_t *json_values = json_object_get(json, facet_fields[i]);
        string_list values = {0};
        if (json_is_array(json_values)) {
            rc = model_read_names(r, &(place){at, facet_fields[i], 0}, json_values, MODEL_LIST_MAX, &values);
            if (rc) {
                return rc;
            }
        }
        if (values.count > 0) {
            qsort(values.values, values.count, sizeof *values.values, by_text);
        }
        for (size_t j = 0; j < values.count; j++) {
            list[count++] = (user_exclusion){facet_fields[i], values.values[j]};
        }
    }
    u->exclusions = list;
    u->exclusions_count = count;
    return BRAID_OK;
}

static bool exclusions_given(const void *noun) {
    return ((const user *)noun)->exclusions_count > 0;
}

static bool write_exclusions(const void *noun, buf *out) {
    const user *u = noun;
    const char *field = "";
    for (size_t i = 0; i < u->exclusions_count; i++) {
        const user_exclusion *e = &u->exclusions[i];
        if (strcmp(field, e->field) != 0) {
            buf_puts(out, i ? "]," : "{");
            buf_json_string(out, field = e->field);
            buf_puts(out, ":[");
        } else {
            buf_putc(out, ',');
        }
        buf_json_string(out, e->value);
    }
    return buf_puts(out, "]}");
}

/* ---- state vector, attributes ---- */

static int read_state_vector(const reading *r, const place *at, const json_t *json, void *noun) {
    user *u = noun;
    return model_read_vector(r, at, json, &u->state_vector, &u->state_dim);
}

static bool state_vector_given(const void *noun) {
    return ((const user *)noun)->state_dim > 0;
}

static bool write_state_vector(const void *noun, buf *out) {
    const user *u = noun;
    return model_write_vector(u->state_vector, u->state_dim, out);
}

static int read_attributes(const reading *r, const place *at, const json_t *json, void *noun) {
    int rc = model_read_attributes(r, at, json);
    if (rc == BRAID_OK && json_object_size(json) > 0) {
        ((user *)noun)->attributes = (json_t *)json;
    }
    return rc;
}

static bool attributes_given(const void *noun) {
    return ((const user *)noun)->attributes != NULL;
}

static bool write_attributes(const void *noun, buf *out) {
    return model_write_json(((const user *)noun)->attributes, out);
}

/* ---- the user ---- */

static const shape_row constraint_rows[] = {
    {"region", SHAPE_NAME, .offset = offsetof(user, region)},
    {"age", SHAPE_INT, .offset = offsetof(user, age), .min = 0, .max = USER_AGE_MAX, .absent = -1},
    {"tier", SHAPE_INT, .offset = offsetof(user, tier), .min = 0, .max = USER_TIER_MAX, .absent = -1},
    {"languages", SHAPE_NAMES, .offset = offsetof(user, languages)},
    {"exclude", SHAPE_OTHER, .read = read_exclusions, .given = exclusions_given, .write = write_exclusions},
    {"block", SHAPE_NAMES, .offset = offsetof(user, block), .max = MODEL_BLOCK_MAX},
};
static const shape constraint_shape = SHAPE_OF(constraint_rows);

static const shape_row state_rows[] = {
    {"mood", SHAPE_NAME, .offset = offsetof(user, mood)},
    {"context", SHAPE_NAME, .offset = offsetof(user, context)},
    {"vector", SHAPE_OTHER, .read = read_state_vector, .given = state_vector_given, .write = write_state_vector},
};
static const shape state_shape = SHAPE_OF(state_rows);

static const shape_row user_rows[] = {
    {"id", SHAPE_NAME, .offset = offsetof(user, id), .flags = SHAPE_REQUIRED},
    {"name", SHAPE_NAME, .offset = offsetof(user, name)},
    {"description", SHAPE_TEXT, .offset = offsetof(user, description)},
    {"simulated", SHAPE_BOOL, .offset = offsetof(user, simulated)},
    {"preferences", SHAPE_OTHER, .read = read_preferences, .given = preferences_given, .write = write_preferences},
    {"constraints", SHAPE_PART, .part = &constraint_shape},
    {"state", SHAPE_PART, .part = &state_shape},
    {"attributes", SHAPE_OTHER, .read = read_attributes, .given = attributes_given, .write = write_attributes},
};
static const shape user_shape = SHAPE_OF(user_rows);

int user_from_json(const json_t *json, const model_limits *limits, arena *a, user **out, braid_error *err) {
    reading r = {a, limits, err};
    place at = {NULL, "user", 0};
    *out = NULL;
    user *u = arena_calloc(a, 1, sizeof *u);
    if (!u) {
        return model_read_no_memory(&r);
    }
    model_shape_clear(&user_shape, u);
    int rc = model_shape_read(&user_shape, &r, &at, json, u);
    if (rc) {
        return rc;
    }
    json_incref(u->attributes);
    *out = u;
    return BRAID_OK;
}

bool user_to_json(const user *u, buf *out) {
    return model_shape_write(&user_shape, u, out);
}

void user_release(user *u) {
    if (u) {
        json_decref(u->attributes);
        u->attributes = NULL;
    }
}
