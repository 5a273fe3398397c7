/* The item: its table of fields, and the three of them that need code: people, vectors, attributes. */
#include <string.h>

#include "model/shape.h"

enum { YEAR_MAX = 9999, DURATION_S_MAX = 366 * 24 * 3600, AGE_MAX = 99, TIER_MAX = 255 };

/* ---- people: {"name","role"}, or a bare name ---- */

static const shape_row person_rows[] = {
    {"name", SHAPE_NAME, .offset = offsetof(item_person, name), .flags = SHAPE_REQUIRED},
    {"role", SHAPE_NAME, .offset = offsetof(item_person, role)},
};
static const shape person_shape = SHAPE_OF(person_rows);

static bool same_person(const item_person *a, const item_person *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->role, b->role) == 0;
}

static int read_people(const reading *r, const place *at, const json_t *json, void *noun) {
    item *it = noun;
    int rc = model_read_list(r, at, json, MODEL_LIST_MAX);
    if (rc) {
        return rc;
    }
    size_t count = json_array_size(json), kept = 0;
    item_person *people = arena_calloc(r->a, count + 1, sizeof *people);
    if (!people) {
        return model_read_no_memory(r);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(json, i);
        place here = {at, NULL, i};
        item_person *p = &people[kept];
        model_shape_clear(&person_shape, p);
        rc = json_is_object(value) ? model_shape_read(&person_shape, r, &here, value, p)
                                   : model_read_name(r, &here, value, &p->name);
        if (rc) {
            return rc;
        }
        size_t j = 0;
        while (j < kept && !same_person(&people[j], p)) {
            j++;
        }
        kept += j == kept;
    }
    it->people = people;
    it->people_count = kept;
    return BRAID_OK;
}

static bool people_given(const void *noun) {
    return ((const item *)noun)->people_count > 0;
}

static bool write_people(const void *noun, buf *out) {
    const item *it = noun;
    buf_putc(out, '[');
    for (size_t i = 0; i < it->people_count; i++) {
        const item_person *p = &it->people[i];
        if (i) {
            buf_putc(out, ',');
        }
        if (*p->role) {
            model_shape_write(&person_shape, p, out);
        } else {
            buf_json_string(out, p->name);
        }
    }
    return buf_putc(out, ']');
}

/* ---- vectors: {"default":[..], "NAME":[..]}, kept sorted by name ---- */

static void insert_by_name(item_vector *vectors, size_t count, item_vector v) {
    while (count > 0 && strcmp(vectors[count - 1].name, v.name) > 0) {
        vectors[count] = vectors[count - 1];
        count--;
    }
    vectors[count] = v;
}

static int read_vectors(const reading *r, const place *at, const json_t *json, void *noun) {
    item *it = noun;
    int rc = model_read_object(r, at, json);
    if (rc) {
        return rc;
    }
    if (json_object_size(json) > MODEL_VECTORS_MAX) {
        return model_read_fail(r, at, BRAID_E_TOO_LARGE, "has %zu vectors; at most %d are allowed",
                               json_object_size(json), MODEL_VECTORS_MAX);
    }
    item_vector *vectors = arena_calloc(r->a, MODEL_VECTORS_MAX, sizeof *vectors);
    if (!vectors) {
        return model_read_no_memory(r);
    }
    size_t count = 0;
    for (void *i = json_object_iter((json_t *)json); i; i = json_object_iter_next((json_t *)json, i)) {
        const char *name = json_object_iter_key(i);
        place here = {at, name, 0};
        item_vector v = {.name = arena_strdup(r->a, name)};
        if (!v.name) {
            return model_read_no_memory(r);
        }
        rc = model_read_check_name(r, &here, name, strlen(name));
        rc = rc ? rc : model_read_vector(r, &here, json_object_iter_value(i), &v.values, &v.dim);
        if (rc) {
            return rc;
        }
        insert_by_name(vectors, count++, v);
    }
    it->vectors = vectors;
    it->vectors_count = count;
    return BRAID_OK;
}

static bool vectors_given(const void *noun) {
    return ((const item *)noun)->vectors_count > 0;
}

static bool write_vectors(const void *noun, buf *out) {
    const item *it = noun;
    buf_putc(out, '{');
    for (size_t i = 0; i < it->vectors_count; i++) {
        if (i) {
            buf_putc(out, ',');
        }
        buf_json_string(out, it->vectors[i].name);
        buf_putc(out, ':');
        model_write_vector(it->vectors[i].values, it->vectors[i].dim, out);
    }
    return buf_putc(out, '}');
}

/* ---- attributes: borrowed while reading; item_from_json takes the reference at the very end ---- */

static int read_attributes(const reading *r, const place *at, const json_t *json, void *noun) {
    int rc = model_read_attributes(r, at, json);
    if (rc == BRAID_OK && json_object_size(json) > 0) {
        ((item *)noun)->attributes = (json_t *)json;
    }
    return rc;
}

static bool attributes_given(const void *noun) {
    return ((const item *)noun)->attributes != NULL;
}

static bool write_attributes(const void *noun, buf *out) {
    return model_write_json(((const item *)noun)->attributes, out);
}

/* ---- the item ---- */

/* The last row is "vectors", so that a shape without them is one shorter. */
static const shape_row item_rows[] = {
    {"id", SHAPE_NAME, .offset = offsetof(item, id), .flags = SHAPE_REQUIRED},
    {"title", SHAPE_TEXT, .offset = offsetof(item, title)},
    {"original_title", SHAPE_TEXT, .offset = offsetof(item, original_title)},
    {"kind", SHAPE_NAME, .offset = offsetof(item, kind)},
    {"year", SHAPE_INT, .offset = offsetof(item, year), .min = -YEAR_MAX, .max = YEAR_MAX},
    {"duration_s", SHAPE_INT, .offset = offsetof(item, duration_s), .min = 0, .max = DURATION_S_MAX},
    {"language", SHAPE_NAME, .offset = offsetof(item, language)},
    {"countries", SHAPE_NAMES, .offset = offsetof(item, countries)},
    {"genres", SHAPE_NAMES, .offset = offsetof(item, genres)},
    {"themes", SHAPE_NAMES, .offset = offsetof(item, themes)},
    {"moods", SHAPE_NAMES, .offset = offsetof(item, moods)},
    {"contexts", SHAPE_NAMES, .offset = offsetof(item, contexts)},
    {"people", SHAPE_OTHER, .read = read_people, .given = people_given, .write = write_people},
    {"synopsis", SHAPE_TEXT, .offset = offsetof(item, synopsis)},
    {"regions", SHAPE_NAMES, .offset = offsetof(item, regions)},
    {"available_from", SHAPE_INSTANT, .offset = offsetof(item, available_from)},
    {"available_until", SHAPE_INSTANT, .offset = offsetof(item, available_until)},
    {"age_rating", SHAPE_INT, .offset = offsetof(item, age_rating), .min = 0, .max = AGE_MAX},
    {"tier", SHAPE_INT, .offset = offsetof(item, tier), .min = 0, .max = TIER_MAX},
    {"attributes", SHAPE_OTHER, .read = read_attributes, .given = attributes_given, .write = write_attributes},
    {"vectors", SHAPE_OTHER, .read = read_vectors, .given = vectors_given, .write = write_vectors},
};
static const shape item_shape = SHAPE_OF(item_rows);
static const shape item_shape_without_vectors = {item_rows, sizeof item_rows / sizeof item_rows[0] - 1};

static int check_window(const reading *r, const place *at, const item *it) {
    if (it->available_from != TIME_NONE && it->available_until != TIME_NONE &&
        it->available_until <= it->available_from) {
        return model_read_fail(r, at, BRAID_E_INVALID, "available_until must be after available_from");
    }
    return BRAID_OK;
}

int item_from_json(const json_t *json, const model_limits *limits, arena *a, item **out, braid_error *err) {
    reading r = {a, limits, err};
    place at = {NULL, "item", 0};
    *out = NULL;
    item *it = arena_calloc(a, 1, sizeof *it);
    if (!it) {
        return model_read_no_memory(&r);
    }
    model_shape_clear(&item_shape, it);
    int rc = model_shape_read(&item_shape, &r, &at, json, it);
    rc = rc ? rc : check_window(&r, &at, it);
    if (rc) {
        return rc;
    }
    json_incref(it->attributes);
    *out = it;
    return BRAID_OK;
}

bool item_to_json(const item *it, bool with_vectors, buf *out) {
    return model_shape_write(with_vectors ? &item_shape : &item_shape_without_vectors, it, out);
}

void item_release(item *it) {
    if (it) {
        json_decref(it->attributes);
        it->attributes = NULL;
    }
}

const item_vector *item_default_vector(const item *it) {
    for (size_t i = 0; i < it->vectors_count; i++) {
        if (strcmp(it->vectors[i].name, "default") == 0) {
            return &it->vectors[i];
        }
    }
    return NULL;
}
