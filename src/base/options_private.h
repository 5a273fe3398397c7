/* What options.c and options_yaml.c share; nobody else includes it. */
#ifndef BASE_OPTIONS_PRIVATE_H
#define BASE_OPTIONS_PRIVATE_H

#include "options.h"

/* Longest key "section.name", longest value as text, largest YAML file. */
enum { OPTION_KEY_BYTES_MAX = 128, OPTION_VALUE_BYTES_MAX = 4096, OPTION_FILE_BYTES_MAX = 1 << 20 };

/* The index of the row "section.name", or SIZE_MAX. */
size_t option_find(const option_set *set, const char *key);
/* The known key most like `key` by edit distance, where a bare name counts as well as the whole key, or, on request,
 * the section most like it; NULL for an empty table. */
const char *option_nearest(const option_set *set, const char *key, bool sections_too);
/* Sets row i; `where` ("braid.yaml:7: ", "") opens the message if the value does not fit. */
int option_set_row(option_set *set, size_t i, const char *where, const char *value, braid_error *err);
/* Gives `to` the values of `from` and frees `from`: how a load takes effect as a whole. */
void option_set_replace(option_set *to, option_set *from);

const option_row *option_rows(const option_set *set, size_t *count);

#endif
