/* The machinery of the option table: one row an option feeds the YAML file, the environment, the flags, --help and the
 * sample.
 *
 * The rows are a const array elsewhere (src/engine/options_table.c); this file knows only how to hold, check, parse and
 * print values. YAML by libyaml, the parser under libcyaml, since only its events carry the line that an error must
 * name (options_yaml.c). A load that fails changes nothing. One thread at a time. */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include "buf.h"
#include "error.h"

/* A SECRET is text that is never printed, and that no flag sets: the command line of a process is there for all to
 * read. */
typedef enum option_type {
    OPTION_STRING,
    OPTION_INT,
    OPTION_REAL,
    OPTION_BOOL,
    OPTION_ENUM,
    OPTION_SECRET
} option_type;

typedef struct option_row {
    const char *section, *name;
    option_type type;
    const char *default_value;
    double min, max;
    const char *choices; /* "a|b|c" */
    const char *flag;    /* "" of a secret */
    const char *help;
} option_row;

typedef struct option_set option_set;

/* `rows` must outlive the set; every default must fit its own row (asserted). */
int option_set_new(const option_row *rows, size_t count, option_set **out, braid_error *err);
int option_set_copy(const option_set *from, option_set **out, braid_error *err);
void option_set_free(option_set *set);

int option_set_value(option_set *set, const char *key, const char *value, braid_error *err); /* key "section.name" */
int option_set_load_yaml(option_set *set, const char *path, braid_error *err);
int option_set_load_env(option_set *set, char *const *environment, const char *prefix,
                        braid_error *err); /* prefix "BRAID__" */

const char *option_get(const option_set *set, const char *key); /* asserts that the key is in the table */
int64_t option_get_int(const option_set *set, const char *key);
double option_get_real(const option_set *set, const char *key);
bool option_get_bool(const option_set *set, const char *key);
bool option_is_default(const option_set *set, const char *key); /* never set by anybody */

void option_set_print_yaml(const option_set *set, buf *out);

#endif
