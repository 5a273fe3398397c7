/* The readers that every noun shares; private to the room.
 *
 * A `place` is where in the document we are, kept as a chain on the stack and only turned into text
 * ("item.genres[3]") when something is wrong, so that the good case pays nothing for a precise message. */
#ifndef MODEL_READ_H
#define MODEL_READ_H

#include "model/model.h"

typedef struct place {
    const struct place *up;
    const char *name; /* NULL: an element of a list */
    size_t index;
} place;

typedef struct reading {
    arena *a;
    const model_limits *limits; /* may be NULL */
    braid_error *err;
} reading;

/* Fills the error with "PLACE: MESSAGE" and returns `code`. */
int model_read_fail(const reading *r, const place *at, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int model_read_no_memory(const reading *r);
/* UNKNOWN_FIELD for `name`, with the nearest of `known` as a suggestion or, if none is near, the list of them. */
int model_read_unknown(const reading *r, const place *at, const char *name, const char *const *known, size_t count);

/* A cut of user text that is safe to quote in a message: use with "%.*s". */
int model_read_quotable(const char *text);
const char *model_read_type_name(const json_t *json); /* "a string", "a list" ... */

/* 1..MODEL_ID_BYTES_MAX bytes of UTF-8 without control characters. */
int model_read_check_name(const reading *r, const place *at, const char *text, size_t len);

/* Each copies into the arena. A name may not be empty; a text may, and may hold line ends. */
int model_read_name(const reading *r, const place *at, const json_t *json, const char **out);
int model_read_text(const reading *r, const place *at, const json_t *json, const char **out);
int model_read_int(const reading *r, const place *at, const json_t *json, int64_t min, int64_t max, int64_t *out);
int model_read_real(const reading *r, const place *at, const json_t *json, double min, double max, double *out);
int model_read_bool(const reading *r, const place *at, const json_t *json, bool *out);
int model_read_instant(const reading *r, const place *at, const json_t *json, int64_t *out);
/* A list of names, at most `max`; doubles are dropped, the first stays. */
int model_read_names(const reading *r, const place *at, const json_t *json, size_t max, string_list *out);
/* Finite floats of a length that can be normalised; the dimension is checked against the limits. */
int model_read_vector(const reading *r, const place *at, const json_t *json, float **values, uint32_t *dim);
int model_read_object(const reading *r, const place *at, const json_t *json);
int model_read_list(const reading *r, const place *at, const json_t *json, size_t max);

/* Writers. All return false when the buffer failed. */
bool model_write_names(const string_list *list, buf *out);
bool model_write_vector(const float *values, uint32_t dim, buf *out);
/* Canonical: keys sorted by bytes, numbers in their shortest form, no white space. */
bool model_write_json(const json_t *json, buf *out);

/* Free attributes: an object of bounded size whose names are names. Takes no reference. */
int model_read_attributes(const reading *r, const place *at, const json_t *json);

#endif
