/* commands: every command's description, each in its own file cmd_NAME.c. Only commands.c reads this. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli.h"

extern const cli_command cmd_serve, cmd_load, cmd_export, cmd_import, cmd_search, cmd_recommend, cmd_record,
    cmd_similar, cmd_item, cmd_user, cmd_explain, cmd_info, cmd_doctor, cmd_verify, cmd_rebuild, cmd_learn,
    cmd_simulate, cmd_bench, cmd_eval, cmd_version, cmd_help, cmd_migrate_schema, cmd_agent, cmd_policy, cmd_rule,
    cmd_experiment, cmd_evaluate, cmd_episode;

#endif
