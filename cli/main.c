/* main: finds the command, reads flags and settings, opens the target, runs, closes. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const char *command_name(const void *ctx, size_t i) {
    (void)ctx;
    const cli_command *command = cli_command_at(i);
    return command ? command->name : NULL;
}

static bool is_common_with_value(const char *word) {
    for (const cli_flag *f = cli_common_flags; f->name; f++)
        if (f->value && strcmp(word, f->name) == 0) return true;
    return false;
}

/* The command may come after flags that all commands share: `braid --db films.db search ...`. Gives its place in argv,
 * 0 if there is none. */
static int find_command(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') return i;
        if (strncmp(argv[i], "--", 2) == 0 && is_common_with_value(argv[i] + 2)) i++;
    }
    return 0;
}

/* braid.yaml, then the environment, then the flags. */
static int read_settings(cli *c) {
    braid_error err = {0};
    const char *file = cli_flag_text(c, "config");
    int rc = braid_options_new(&c->options, &err);
    if (rc == BRAID_OK && (file || access("braid.yaml", F_OK) == 0))
        rc = braid_options_load_file(c->options, file ? file : "braid.yaml", &err);
    if (rc == BRAID_OK) rc = braid_options_load_env(c->options, &err);
    for (size_t i = 0; rc == BRAID_OK && i < c->setting_count; i++)
        rc = braid_options_set(c->options, c->settings[i].name, c->settings[i].value, &err);
    if (rc == BRAID_OK) return CLI_OK;
    /* A setting that is wrong is wrong usage, wherever it was written; a file that cannot be read has failed. */
    bool missing = rc == BRAID_E_NOT_FOUND || rc == BRAID_E_IO || rc == BRAID_E_NO_MEMORY;
    return cli_fail(c, missing ? CLI_FAILED : CLI_USAGE, "%s", err.message);
}

static int run(cli *c) {
    const cli_command *command = c->command;
    int rc = CLI_OK;
    if (cli_flag_on(c, "url") && cli_flag_on(c, "db"))
        return cli_fail(c, CLI_USAGE, "--db and --url exclude each other: a file or a server");
    if (cli_flag_on(c, "url") && command->need == CLI_NEEDS_FILE)
        return cli_fail(c, CLI_USAGE, "--url: %s works on a database file, not on a server", command->name);
    if (cli_flag_on(c, "url") && c->setting_count)
        return cli_fail(c, CLI_USAGE, "%s is a setting of a database that is opened here; a server has its own",
                        c->settings[0].name);
    if (command->need != CLI_NEEDS_NOTHING) rc = read_settings(c);
    if (rc == CLI_OK) rc = command->run(c);
    cli_target_close(c);
    return rc;
}

/* Output that could not be written has failed; a reader that left early (| head) is no error worth a word. */
static int finish_output(int rc) {
    bool broken = fflush(stdout) != 0 || ferror(stdout);
    if (!broken) return rc;
    if (errno != EPIPE) fprintf(stderr, "braid: standard output: %s\n", strerror(errno));
    return rc ? rc : CLI_FAILED;
}

static int no_command(int argc, char **argv) {
    const char *first = argc > 1 ? argv[1] : "";
    if (argc == 1)
        cli_help_overview(stderr);
    else if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        cli_help_overview(stdout);
    else if (strcmp(first, "--version") == 0)
        printf("braid %s\n", braid_version());
    else
        return cli_fail(NULL, CLI_USAGE, "%s: a command is missing", first);
    return argc == 1 ? CLI_USAGE : finish_output(CLI_OK);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    int at = find_command(argc, argv);
    if (at == 0) return no_command(argc, argv);
    cli c = {.command = cli_command_find(argv[at])};
    if (!c.command) {
        const char *near = cli_nearest(argv[at], command_name, NULL);
        return near ? cli_fail(NULL, CLI_USAGE, "%s: there is no such command; did you mean \"%s\"?", argv[at], near)
                    : cli_fail(NULL, CLI_USAGE, "%s: there is no such command", argv[at]);
    }
    char **rest = cli_alloc((size_t)argc * sizeof *rest);
    int count = 0;
    for (int i = 1; i < argc; i++)
        if (i != at) rest[count++] = argv[i];
    int rc = cli_args_parse(&c, count, rest);
    c.json = cli_flag_on(&c, "json");
    c.quiet = cli_flag_on(&c, "quiet");
    if (rc == CLI_OK && cli_flag_on(&c, "help")) {
        cli_help_command(c.command, stdout);
    } else if (rc == CLI_OK) {
        rc = run(&c);
    }
    braid_options_free(c.options);
    cli_args_free(&c);
    free(rest);
    return finish_output(rc);
}
