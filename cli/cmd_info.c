/* braid info: sections of state, every setting, a sample braid.yaml. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* The settings that this run would use, as braid.yaml, the environment and the flags make them. */
static int print_sample(cli *c) {
    char *yaml = NULL;
    braid_error err = {0};
    int rc = braid_options_sample(c->options, &yaml, &err);
    if (rc) return cli_fail(c, CLI_FAILED, "%s", err.message);
    fputs(yaml, stdout);
    braid_free(yaml);
    return CLI_OK;
}

static void print_local_options_json(const cli *c) {
    const braid_option_row *row;
    json_t *all = json_object();
    for (size_t i = 0; (row = braid_option_at(i)); i++) {
        char *key = cli_format("%s.%s", row->section, row->name);
        json_object_set_new(all, key, json_string(braid_options_get(c->options, key)));
        free(key);
    }
    cli_print_json(all);
    json_decref(all);
}

static int print_local_options(cli *c) {
    const braid_option_row *row;
    if (c->json) {
        print_local_options_json(c);
        return CLI_OK;
    }
    cli_table *t = cli_table_new("setting|value|default|*meaning");
    for (size_t i = 0; (row = braid_option_at(i)); i++) {
        char *key = cli_format("%s.%s", row->section, row->name);
        cli_table_cell(t, key);
        cli_table_cell(t, braid_options_get(c->options, key));
        cli_table_cell(t, row->default_value);
        cli_table_cell(t, row->help);
        free(key);
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
    return CLI_OK;
}

static int run(cli *c) {
    json_t *answer = NULL;
    int rc = cli_words_between(c, 0, 1, "at most one SECTION");
    if (rc) return rc;
    if (cli_flag_on(c, "sample-config")) return print_sample(c);
    const char *section = c->word_count ? c->words[0] : NULL;
    bool options = cli_flag_on(c, "options") || (section && strcmp(section, "options") == 0);
    if (options && !cli_flag_on(c, "url")) return print_local_options(c);
    if (options) section = "options";
    if ((rc = cli_target_open(c))) return rc;
    char *query = cli_query("section", section, NULL);
    cli_request q = {.method = "GET", .path = "/v1/info", .query = query};
    rc = c->json ? cli_call_print(c, &q) : cli_call_json(c, &q, &answer);
    if (answer) cli_tree_print(stdout, answer, 0);
    json_decref(answer);
    free(query);
    return rc;
}

static const cli_flag flags[] = {
    {"options", NULL, "every setting with its value (needs no database)"},
    {"sample-config", NULL, "print a commented braid.yaml with the settings of this run (needs no database)"},
    {0},
};

const cli_command cmd_info = {
    .name = "info",
    .summary = "show the state of a database or server, by sections",
    .usage = "braid info [flags] [SECTION]\n"
             "braid info --options\n"
             "braid info --sample-config > braid.yaml",
    .about = "Sections: server, options, record, feed, vector, graph, catalogue, cache, policy, memory.",
    .examples = "braid info --db films.db record\n"
                "braid info --url http://127.0.0.1:8080 --json",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
