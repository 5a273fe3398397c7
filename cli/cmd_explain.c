/* braid explain: the plan that a question would get, with its estimates; nothing is run. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int run(cli *c) {
    const char *kind = c->word_count ? c->words[0] : "";
    bool recommend = strcmp(kind, "recommend") == 0;
    if (!recommend && strcmp(kind, "search") != 0)
        return cli_fail(c, CLI_USAGE, "what is to be explained is missing: search ... or recommend USER");
    c->words++;
    c->word_count--;
    json_t *question = NULL, *answer = NULL;
    int rc = cli_question_build(c, recommend, &question);
    c->words--;
    c->word_count++;
    if (rc == CLI_OK) rc = cli_target_open(c);
    char *body = rc == CLI_OK ? json_dumps(question, JSON_COMPACT) : NULL;
    cli_request q = {.method = "POST", .path = "/v1/explain", .body = body, .len = body ? strlen(body) : 0};
    if (rc == CLI_OK && c->json) {
        rc = cli_call_print(c, &q);
    } else if (rc == CLI_OK) {
        rc = cli_call_json(c, &q, &answer);
        if (rc == CLI_OK) cli_plan_print(json_object_get(answer, "plan"));
    }
    free(body);
    json_decref(answer);
    json_decref(question);
    return rc;
}

static const cli_flag flags[] = {
    {"like", "ID", "search: what is like this item"},
    {"vector", "FILE|JSON", "search: by this vector"},
    {"user", "ID", "search: for this person"},
    {0},
};

const cli_command cmd_explain = {
    .name = "explain",
    .summary = "show the plan of a question without running it",
    .usage = "braid explain [flags] search WORDS...\n"
             "braid explain [flags] recommend USER",
    .about = "Prints the strategies that were weighed, what each is estimated to cost, which was chosen and\n"
             "why, and the steps of the chosen one. `braid search --explain` and `braid recommend --explain`\n"
             "run the question and put the actual times beside the estimates.",
    .examples = "braid explain --db films.db recommend ana\n"
                "braid explain --url http://127.0.0.1:8080 search la mer --filter '{\"year\":{\"lt\":1950}}'",
    .flags = {flags, cli_question_flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
