/* Shapes: one table a noun says its fields, and reading, writing and "did you mean" follow from it; private to the
 * room.
 *
 * A row is a field's JSON name, its kind, where it lies in the struct, its range and the value that means "not
 * given". What no kind covers (people, vectors, preferences) has functions of its own. JSON null is the same as
 * leaving the field out. */
#ifndef MODEL_SHAPE_H
#define MODEL_SHAPE_H

#include "model/read.h"

typedef enum shape_kind {
    SHAPE_NAME,    /* const char *: 1..255 bytes; "" is not given */
    SHAPE_TEXT,    /* const char *: up to 64 KiB */
    SHAPE_INT,     /* int32_t */
    SHAPE_REAL,    /* double */
    SHAPE_BOOL,    /* bool; false is not given */
    SHAPE_INSTANT, /* int64_t wall ms; TIME_NONE is not given */
    SHAPE_NAMES,   /* string_list of names; max: most values */
    SHAPE_PART,    /* an object whose fields lie in the same struct: `part` */
    SHAPE_OTHER    /* read, write, given */
} shape_kind;

enum { SHAPE_REQUIRED = 1, SHAPE_ALWAYS = 2 /* written even with the absent value */ };

typedef struct shape {
    const struct shape_row *rows;
    size_t count;
} shape;

typedef struct shape_row {
    const char *name;
    shape_kind kind;
    size_t offset;
    unsigned flags;
    double min, max, absent; /* absent: of INT and REAL (NAN allowed) */
    const char *absent_text; /* of NAME; NULL is "" */
    const shape *part;
    int (*read)(const reading *r, const place *at, const json_t *json, void *noun);
    bool (*given)(const void *noun);
    bool (*write)(const void *noun, buf *out);
} shape_row;

#define SHAPE_OF(rows)                                                                                                 \
    { (rows), sizeof(rows) / sizeof(rows)[0] }

/* Sets every field to "not given". The struct must be zeroed before. */
void model_shape_clear(const shape *s, void *noun);
/* Reads `json` (an object) into the cleared struct. */
int model_shape_read(const shape *s, const reading *r, const place *at, const json_t *json, void *noun);
/* Writes the fields that are given as an object, in the order of the table. */
bool model_shape_write(const shape *s, const void *noun, buf *out);

#endif
