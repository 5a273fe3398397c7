/* braid version. */
#include "cli.h"

static int run(cli *c) {
    int rc = cli_words_between(c, 0, 0, "no further word");
    if (rc) return rc;
    if (c->json)
        printf("{\"version\":\"%s\"}\n", braid_version());
    else
        printf("braid %s\n", braid_version());
    return CLI_OK;
}

const cli_command cmd_version = {
    .name = "version",
    .summary = "print the version",
    .usage = "braid version",
    .about = "Prints the version of this program; `braid info server --url URL` tells that of a server.",
    .examples = "braid version\nbraid version --json",
    .need = CLI_NEEDS_NOTHING,
    .run = run,
};
