/* braid search: what is like these words, this item or this vector. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int run(cli *c) {
    json_t *question = NULL, *answer = NULL;
    int rc = cli_question_build(c, false, &question);
    if (rc == CLI_OK) rc = cli_target_open(c);
    char *body = rc == CLI_OK ? json_dumps(question, JSON_COMPACT) : NULL;
    cli_request q = {.method = "POST", .path = "/v1/search", .body = body, .len = body ? strlen(body) : 0};
    if (rc == CLI_OK && c->json) {
        rc = cli_call_print(c, &q);
    } else if (rc == CLI_OK) {
        rc = cli_call_json(c, &q, &answer);
        const char *like = cli_json_str(question, "like"), *text = cli_json_str(question, "text");
        char *title = *like   ? cli_format("what is like %s", like)
                      : *text ? cli_format("\"%s\"", text)
                              : cli_copy("a vector");
        if (rc == CLI_OK) cli_answer_print(c, answer, title);
        free(title);
    }
    free(body);
    json_decref(answer);
    json_decref(question);
    return rc;
}

static const cli_flag flags[] = {
    {"like", "ID", "search what is like this item, instead of words"},
    {"vector", "FILE|JSON", "search by a vector of your own encoder: [0.1,...] or a file that holds it"},
    {"user", "ID", "whose taste, constraints and seen list apply"},
    {"explain", NULL, "print the plan too, estimate beside actual"},
    {0},
};

const cli_command cmd_search = {
    .name = "search",
    .summary = "find items by words, by likeness to an item, or by a vector",
    .usage = "braid search [flags] WORDS...\n"
             "braid search [flags] --like ID\n"
             "braid search [flags] --vector FILE",
    .about = "Ranks items by three strands: vector (what is like it), graph (what is connected to it), policy\n"
             "(what works for this person, with --user). Words are matched lexically - words and parts of\n"
             "words, accents folded - not by meaning.",
    .examples = "braid search --db films.db exil et mémoire --filter '{\"countries\":\"FR\"}'\n"
                "braid search --url http://127.0.0.1:8080 --like la-regle-du-jeu-1939 -k 5 --explain",
    .flags = {flags, cli_question_flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
