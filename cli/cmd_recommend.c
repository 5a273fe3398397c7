/* braid recommend: what should this person watch next, and why. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int run(cli *c) {
    json_t *question = NULL, *answer = NULL;
    int rc = cli_question_build(c, true, &question);
    if (rc == CLI_OK) rc = cli_target_open(c);
    char *body = rc == CLI_OK ? json_dumps(question, JSON_COMPACT) : NULL;
    cli_request q = {.method = "POST", .path = "/v1/recommend", .body = body, .len = body ? strlen(body) : 0};
    if (rc == CLI_OK && c->json) {
        rc = cli_call_print(c, &q);
    } else if (rc == CLI_OK) {
        rc = cli_call_json(c, &q, &answer);
        if (rc == CLI_OK) cli_answer_print(c, answer, c->words[0]);
    }
    free(body);
    json_decref(answer);
    json_decref(question);
    return rc;
}

static const cli_flag flags[] = {
    {"explain", NULL, "print the plan too, estimate beside actual"},
    {0},
};

const cli_command cmd_recommend = {
    .name = "recommend",
    .summary = "say what a person should watch next, and why",
    .usage = "braid recommend [flags] USER",
    .about = "Weaves what is like the person's history (vector), what is connected to it (graph) and what has\n"
             "worked for this person (policy) into one ranked list, each item with its reasons. Nobody needs\n"
             "to be known: a stranger gets a varied, popular start and is told so. Tell what happened with\n"
             "`braid record`, and the next answer changes.",
    .examples = "braid recommend --db films.db ana -k 5 --daypart evening --explain\n"
                "braid recommend --url http://127.0.0.1:8080 ana --filter '{\"kind\":\"documentary\"}' --lang en",
    .flags = {flags, cli_question_flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
