/* jansson's parser, made safe for want of memory; private to the room. */
#ifndef MODEL_PARSE_GUARD_H
#define MODEL_PARSE_GUARD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* json_loadb(text, len, flags, e); NULL with *no_memory set, and with nothing left behind, when memory ran out. */
json_t *model_parse_guarded(const char *text, size_t len, size_t flags, json_error_t *e, bool *no_memory);

#endif
