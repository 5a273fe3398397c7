/* braid help: the overview, a command's page, the settings, the completion script. */
#include <string.h>

#include "cli.h"

static const char *topic_at(const void *ctx, size_t i) {
    (void)ctx;
    static const char *const extra[] = {"settings", "completion"};
    const cli_command *command = cli_command_at(i);
    if (command) return command->name;
    size_t count = 0;
    while (cli_command_at(count)) count++;
    return i - count < sizeof extra / sizeof extra[0] ? extra[i - count] : NULL;
}

static int run(cli *c) {
    int rc = cli_words_between(c, 0, 1, "at most one COMMAND");
    if (rc) return rc;
    const char *topic = c->word_count ? c->words[0] : "";
    const cli_command *command = cli_command_find(topic);
    if (!*topic)
        cli_help_overview(stdout);
    else if (strcmp(topic, "settings") == 0)
        cli_help_settings(stdout);
    else if (strcmp(topic, "completion") == 0)
        cli_help_completion(stdout);
    else if (command)
        cli_help_command(command, stdout);
    else {
        const char *near = cli_nearest(topic, topic_at, NULL);
        return cli_fail(c, CLI_USAGE, "%s: there is no help on this%s%s%s", topic, near ? "; did you mean \"" : "",
                        near ? near : "", near ? "\"?" : "");
    }
    return CLI_OK;
}

const cli_command cmd_help = {
    .name = "help",
    .summary = "teach: an overview, a command, the settings, a completion for bash",
    .usage = "braid help [COMMAND]\n"
             "braid help settings\n"
             "braid help completion",
    .about = "Without a word: the list of commands. `settings` lists every setting with its flag, its key in\n"
             "braid.yaml and its default; `completion` prints a completion for bash.",
    .examples = "braid help recommend\nsource <(braid help completion)",
    .need = CLI_NEEDS_NOTHING,
    .run = run,
};
