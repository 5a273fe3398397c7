/* Options as braid.h shows them, over the machinery in base/options.h and the table in options_table.h. */
#include "engine/options_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

extern char **environ;

static const option_row rows[] = {
#define ROW(section, name, type, value, min, max, choices, flag, help)                                                 \
    {section, name, OPTION_##type, value, min, max, choices, flag, help},
    ENGINE_OPTIONS(ROW)
#undef ROW
};

static const braid_option_row public_rows[] = {
#define ROW(section, name, type, value, min, max, choices, flag, help)                                                 \
    {section, name, BRAID_OPT_##type, value, min, max, choices, flag, help},
    ENGINE_OPTIONS(ROW)
#undef ROW
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

struct braid_options {
    option_set *set;
};

const braid_option_row *braid_option_at(size_t i) {
    return i < ROW_COUNT ? &public_rows[i] : NULL;
}

int braid_options_new(braid_options **out, braid_error *err) {
    *out = NULL;
    braid_options *o = calloc(1, sizeof *o);
    if (!o) return error_set(err, BRAID_E_NO_MEMORY, "options", "no memory for the options");
    int rc = option_set_new(rows, ROW_COUNT, &o->set, err);
    if (rc) {
        free(o);
        return rc;
    }
    *out = o;
    return BRAID_OK;
}

void braid_options_free(braid_options *options) {
    if (!options) return;
    option_set_free(options->set);
    free(options);
}

int braid_options_load_file(braid_options *options, const char *path, braid_error *err) {
    return option_set_load_yaml(options->set, path, err);
}

int braid_options_load_env(braid_options *options, braid_error *err) {
    return option_set_load_env(options->set, environ, "BRAID__", err);
}

int braid_options_set(braid_options *options, const char *key, const char *value, braid_error *err) {
    return option_set_value(options->set, key, value, err);
}

const char *braid_options_get(const braid_options *options, const char *key) {
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s.%s", rows[i].section, rows[i].name);
        if (strcmp(name, key) == 0) return engine_option_shown(options->set, &rows[i], key);
    }
    return option_get(options->set, key); /* asserts */
}

int64_t braid_options_get_int(const braid_options *options, const char *key) {
    return option_get_int(options->set, key);
}

double braid_options_get_real(const braid_options *options, const char *key) {
    return option_get_real(options->set, key);
}

bool braid_options_get_bool(const braid_options *options, const char *key) {
    return option_get_bool(options->set, key);
}

const char *engine_option_shown(const option_set *set, const option_row *row, const char *key) {
    const char *value = option_get(set, key);
    return row->type == OPTION_SECRET && *value ? "..." : value;
}

int braid_options_sample(const braid_options *options, char **yaml, braid_error *err) {
    *yaml = NULL;
    option_set *defaults = NULL;
    if (!options) {
        int rc = option_set_new(rows, ROW_COUNT, &defaults, err);
        if (rc) return rc;
    }
    buf b;
    buf_init(&b, 0);
    option_set_print_yaml(options ? options->set : defaults, &b);
    option_set_free(defaults);
    return engine_text(&b, yaml, err);
}

int engine_options_copy(const braid_options *from, option_set **out, braid_error *err) {
    return from ? option_set_copy(from->set, out, err) : option_set_new(rows, ROW_COUNT, out, err);
}

const option_row *engine_option_at(size_t i) {
    return i < ROW_COUNT ? &rows[i] : NULL;
}
