/* Long arrays of numbers, read beside jansson; private to the room. */
#ifndef MODEL_JSON_NUMBERS_H
#define MODEL_JSON_NUMBERS_H

#include <jansson.h>

#include "model/model.h"

typedef struct json_numbers json_numbers;

/* What was taken out of a text, and the text without it (*rest, *rest_len; they live as long as the result). NULL:
 * nothing was, or memory ran out: the text is to be parsed as it is. */
json_numbers *json_numbers_take(const char *text, size_t len, const char **rest, size_t *rest_len);
/* Puts the arrays back where they were. False, and the value is to be forgotten, when it is not what was parsed from
 * the rest, or memory ran out. */
bool json_numbers_put(const json_numbers *n, json_t *json);
void json_numbers_free(json_numbers *n); /* NULL allowed */

#endif
