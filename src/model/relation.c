/* The relation: a typed, directed edge between two items.
 *
 * Types are written like constants (SEQUEL_OF) and checked to the letter, since they become part of queries in stores
 * that cannot take a type as a parameter. */
#include <string.h>

#include "model/shape.h"

enum { RELATION_TYPE_MAX = 64 };

bool relation_type_valid(const char *type) {
    if (type[0] < 'A' || type[0] > 'Z') {
        return false;
    }
    size_t len = 1;
    for (; type[len]; len++) {
        char c = type[len];
        bool good = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!good || len >= RELATION_TYPE_MAX) {
            return false;
        }
    }
    return true;
}

static const shape_row relation_rows[] = {
    {"from", SHAPE_NAME, .offset = offsetof(relation, from), .flags = SHAPE_REQUIRED},
    {"to", SHAPE_NAME, .offset = offsetof(relation, to), .flags = SHAPE_REQUIRED},
    {"type", SHAPE_NAME, .offset = offsetof(relation, type), .flags = SHAPE_REQUIRED},
    {"strength", SHAPE_REAL, .offset = offsetof(relation, strength), .flags = SHAPE_ALWAYS, .min = 0, .max = 1,
     .absent = 1},
};
static const shape relation_shape = SHAPE_OF(relation_rows);

int relation_from_json(const json_t *json, arena *a, relation **out, braid_error *err) {
    reading r = {a, NULL, err};
    place at = {NULL, "relation", 0};
    *out = NULL;
    relation *rel = arena_calloc(a, 1, sizeof *rel);
    if (!rel) {
        return model_read_no_memory(&r);
    }
    model_shape_clear(&relation_shape, rel);
    int rc = model_shape_read(&relation_shape, &r, &at, json, rel);
    if (rc) {
        return rc;
    }
    if (!relation_type_valid(rel->type)) {
        return model_read_fail(&r, &at, BRAID_E_INVALID,
                               "the type \"%.*s\" must be 1..%d of A-Z, 0-9 and _, beginning with a letter, like "
                               "SEQUEL_OF",
                               model_read_quotable(rel->type), rel->type, RELATION_TYPE_MAX);
    }
    if (strcmp(rel->from, rel->to) == 0) {
        return model_read_fail(&r, &at, BRAID_E_INVALID, "\"from\" and \"to\" are the same item");
    }
    *out = rel;
    return BRAID_OK;
}

bool relation_to_json(const relation *r, buf *out) {
    return model_shape_write(&relation_shape, r, out);
}
