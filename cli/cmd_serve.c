/* braid serve: the HTTP server over one database file, until it is told to stop. */
#include "../server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Somebody whom this database knows, so that the commands to try answer something; the caller frees it. */
static char *somebody(const cli *c) {
    char *text = NULL;
    json_t *list = braid_list_users(cli_db(c), NULL, 1, &text, NULL) == BRAID_OK ? json_loads(text, 0, NULL) : NULL;
    const char *id = json_string_value(json_object_get(json_array_get(json_object_get(list, "users"), 0), "id"));
    char *copy = strdup(id ? id : "someone");
    json_decref(list);
    braid_free(text);
    return copy;
}

/* The commands are printed as they can be typed: with the program's name as it was called. */
static void say_ready(const cli *c, const char *url) {
    const char *me = program_invocation_name;
    char *who = somebody(c);
    if (c->json) {
        printf("{\"url\":\"%s\"}\n", url);
    } else if (!c->quiet) {
        printf("%sbraid is ready: %s%s\n\n"
               "Open it in a browser, or try:\n"
               "  %s search --url %s \"exil et mémoire\"\n"
               "  %s recommend --url %s %s -k 5\n"
               "  curl -s %s/v1/recommend -d '{\"user\":\"%s\",\"k\":3}'\n\n"
               "Ctrl-C stops it.\n",
               cli_bold(), url, cli_plain(), me, url, me, url, who, url, who);
    }
    free(who);
    fflush(stdout);
}

static int print_sample(cli *c) {
    char *yaml = NULL;
    braid_error err = {0};
    if (braid_options_sample(c->options, &yaml, &err)) return cli_fail(c, CLI_FAILED, "%s", err.message);
    fputs(yaml, stdout);
    braid_free(yaml);
    return CLI_OK;
}

static int run(cli *c) {
    server *s = NULL;
    braid_error err = {0};
    int rc = cli_words_between(c, 0, 0, "no further word");
    if (rc) return rc;
    if (cli_flag_on(c, "sample-config")) return print_sample(c);
    cli_stop_catch();
    if ((rc = cli_target_open(c))) return rc;
    if (cli_stop_asked()) return CLI_OK;
    if (server_start(cli_db(c), c->options, &s, &err)) return cli_fail(c, CLI_FAILED, "%s", err.message);
    say_ready(c, server_url(s));
    cli_stop_wait();
    cli_note(c, "braid: stopping; a second Ctrl-C ends it at once");
    server_stop(s);
    return CLI_OK;
}

static const cli_flag flags[] = {
    {"sample-config", NULL, "print a commented braid.yaml with the settings of this run, and end"},
    {0},
};

const cli_command cmd_serve = {
    .name = "serve",
    .summary = "serve a database over HTTP, with the page",
    .usage = "braid serve [flags]",
    .about = "Opens the database (making it if it is not there), listens on --listen HOST:PORT and answers\n"
             "until SIGINT or SIGTERM. Requests in flight end first; a second signal stops at once, which\n"
             "loses nothing that was acknowledged. Port 0 takes any free port and prints it.",
    .examples = "braid serve --db films.db --listen 127.0.0.1:8080\n"
                "BRAID__SERVER__THREADS=16 braid serve --config braid.yaml",
    .flags = {flags},
    .need = CLI_NEEDS_FILE,
    .creates = true,
    .settings = true,
    .run = run,
};
