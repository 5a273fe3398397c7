/* braid rebuild: makes a derived store anew from the record store. */
#include <stdlib.h>

#include "cli.h"

enum { REBUILD_MS = 24 * 3600 * 1000 }; /* a large catalogue into a far store takes its time */

static int run(cli *c) {
    json_t *answer;
    int rc = cli_words_between(c, 1, 1, "one STORE: vector, graph or cache");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    char *query = cli_query("store", c->words[0], NULL);
    cli_request q = {.method = "POST", .path = "/v1/rebuild", .query = query, .wait_ms = REBUILD_MS};
    rc = cli_call_json(c, &q, &answer);
    free(query);
    if (rc != CLI_OK) return rc;
    if (c->json)
        cli_print_json(answer);
    else
        printf("%s: made anew from %.0f items and %.0f relations in %.1f s\n", cli_json_str(answer, "store"),
               cli_json_num(answer, "items"), cli_json_num(answer, "relations"), cli_json_num(answer, "seconds"));
    json_decref(answer);
    return CLI_OK;
}

const cli_command cmd_rebuild = {
    .name = "rebuild",
    .summary = "make a derived store anew from the record store",
    .usage = "braid rebuild STORE [flags]",
    .about = "STORE is vector, graph or cache. The record store holds the truth, so nothing can be lost: the store\n"
             "is emptied and filled again, and answers from what is there meanwhile. When only some rows differ,\n"
             "`braid verify --repair` is quicker.",
    .examples = "braid rebuild vector --db films.db\n"
                "braid rebuild graph --url http://127.0.0.1:8080 --json",
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
