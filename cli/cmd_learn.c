/* braid learn: learns from what people did, and ranks by it from then on. In a file the work is done here, under a progress
 * bar; a server does it while it goes on answering. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { LEARN_MS = 24 * 3600 * 1000 }; /* twenty million interactions take their time */

static int learn_here(cli *c, const char *what, json_t **answer) {
    braid_error err = {0};
    char *json = NULL;
    cli_phases phases = {.c = c};
    cli_stop_catch();
    int rc = braid_learn(cli_db(c), what, cli_phases_show, &phases, &json, &err);
    cli_phases_end(&phases);
    if (rc != BRAID_OK) return cli_fail(c, braid_error_exit_code(rc), "%s", err.message);
    *answer = json_loads(json, 0, NULL);
    braid_free(json);
    return CLI_OK;
}

static int learn_there(cli *c, const char *what, json_t **answer) {
    json_t *body = json_pack("{s:s}", "what", what);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (!text) return cli_fail(c, CLI_USAGE, "the word is not valid UTF-8");
    cli_request q = {.method = "POST", .path = "/v1/learn", .body = text, .len = strlen(text), .wait_ms = LEARN_MS};
    int rc = cli_call_json(c, &q, answer);
    free(text);
    return rc;
}

static void print_learned(const json_t *answer) {
    char a[CLI_SHORT], b[CLI_SHORT], d[CLI_SHORT];
    const json_t *models = json_object_get(answer, "models"), *model;
    size_t i;
    printf("learned from %s interactions of %s people with %s items in %.1f s\n",
           cli_count_text(a, (uint64_t)cli_json_num(answer, "interactions")),
           cli_count_text(b, (uint64_t)cli_json_num(answer, "users")),
           cli_count_text(d, (uint64_t)cli_json_num(answer, "items")), cli_json_num(answer, "seconds"));
    if (cli_json_num(answer, "moved") < cli_json_num(answer, "items"))
        printf("only of %s items that had moved\n", cli_count_text(a, (uint64_t)cli_json_num(answer, "moved")));
    if (json_array_size(models) == 0) return;
    cli_table *t = cli_table_new("model|>edges|>seconds");
    json_array_foreach (models, i, model) {
        cli_table_cell(t, cli_json_str(model, "model"));
        cli_table_cell(t, cli_count_text(b, (uint64_t)cli_json_num(model, "edges")));
        cli_table_cellf(t, "%.2f", cli_json_num(model, "seconds"));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static int status(cli *c) {
    char a[CLI_SHORT], b[CLI_SHORT];
    json_t *answer = NULL;
    cli_request q = {.method = "GET", .path = "/v1/learners"};
    int rc = cli_words_between(c, 0, 0, "no word beside --status");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc == CLI_OK) rc = c->json ? cli_call_print(c, &q) : cli_call_json(c, &q, &answer);
    if (!answer) return rc;
    const json_t *last = json_object_get(answer, "last"), *automatic = json_object_get(answer, "automatic");
    if (json_is_true(json_object_get(answer, "running")))
        printf("under way: %s, %s of %s\n", cli_json_str(answer, "phase"), cli_count_text(a, (uint64_t)cli_json_num(answer, "done")),
               cli_count_text(b, (uint64_t)cli_json_num(answer, "total")));
    if (json_is_object(last)) {
        printf("%s: ", cli_json_str(last, "at"));
        print_learned(last);
    } else {
        puts("nothing was learned yet");
    }
    printf("new since: %s interactions\n", cli_count_text(a, (uint64_t)cli_json_num(answer, "new_interactions")));
    double after = cli_json_num(automatic, "after"), hours = cli_json_num(automatic, "hours");
    if (after > 0) printf("learns by itself after %s interactions\n", cli_count_text(a, (uint64_t)after));
    if (hours > 0) printf("learns by itself after %g hours\n", hours);
    if (after <= 0 && hours <= 0) puts("learns only when asked (settings learn.after, learn.hours)");
    json_decref(answer);
    return rc;
}

static int run(cli *c) {
    if (cli_flag_on(c, "status")) return status(c);
    const char *what = c->word_count ? c->words[0] : "all";
    json_t *answer = NULL;
    int rc = cli_words_between(c, 0, 1, "similar, refresh or all");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc == CLI_OK) rc = cli_is_remote(c) ? learn_there(c, what, &answer) : learn_here(c, what, &answer);
    if (rc == CLI_OK && c->json)
        cli_print_json(answer);
    else if (rc == CLI_OK)
        print_learned(answer);
    json_decref(answer);
    return rc;
}

static const cli_flag flags[] = {
    {"status", NULL, "do not learn; tell what was learned, when, and how far it is under way"},
    {0},
};

const cli_command cmd_learn = {
    .name = "learn",
    .summary = "learn from what people did, and rank by it from then on",
    .usage = "braid learn [similar|refresh|all] [flags]",
    .about = "similar: which items speak for which; refresh: the same, only of items whose counts have moved since\n"
             "then; all, or no word: these and the weights of the ranking, from what each person chose last. What is\n"
             "learned is written to the record store and ranks from then on; doing it again replaces it. Answers go on\n"
             "meanwhile. Ctrl-C stops it and leaves what was there. A server learns by itself when learn.after or\n"
             "learn.hours say so.",
    .examples = "braid learn --db films.db\n"
                "braid learn similar --url http://127.0.0.1:8080 --json\n"
                "braid learn --status --db films.db",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
