/* The table of commands. A new command is one file and one row. */
#include <string.h>

#include "commands.h"

static const cli_command *const commands[] = {
    &cmd_serve,   &cmd_load,  &cmd_export,     &cmd_import,   &cmd_search,  &cmd_recommend,      &cmd_record,
    &cmd_similar, &cmd_item,  &cmd_user,       &cmd_explain,  &cmd_info,    &cmd_migrate_schema, &cmd_agent,
    &cmd_policy,  &cmd_rule,  &cmd_experiment, &cmd_evaluate, &cmd_episode, &cmd_doctor,         &cmd_verify,
    &cmd_rebuild, &cmd_learn, &cmd_simulate,   &cmd_bench,    &cmd_eval,    &cmd_version,        &cmd_help,
};

const cli_flag cli_common_flags[] = {
    {"db", "FILE", "the database file (default: $BRAID_DB, else ./braid.db)"},
    {"url", "URL", "ask a running server instead, as http://127.0.0.1:8080"},
    {"timeout", "SECONDS", "with --url: longest wait for an answer, connecting included (60)"},
    {"config", "FILE", "settings in YAML (default: ./braid.yaml if it is there)"},
    {"json", NULL, "print the answer as JSON"},
    {"quiet", NULL, "no progress and no remarks on stderr; errors still"},
    {"help", NULL, "this text"},
    {0},
};

const cli_command *cli_command_at(size_t i) {
    return i < sizeof commands / sizeof commands[0] ? commands[i] : NULL;
}

const cli_command *cli_command_find(const char *name) {
    const cli_command *command;
    for (size_t i = 0; (command = cli_command_at(i)); i++)
        if (strcmp(command->name, name) == 0) return command;
    return NULL;
}
