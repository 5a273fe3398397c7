/* braid learn: learns from what people did, and ranks by it from then on; lists the patterns that it found. In a
 * file the work is done here, under a progress bar; a server does it while it goes on answering. */
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

static void print_kinds(const json_t *kinds) {
    size_t i;
    const json_t *kind;
    char a[CLI_SHORT];
    if (json_array_size(kinds) == 0) return;
    cli_table *t = cli_table_new("patterns|>found|>tested");
    json_array_foreach (kinds, i, kind) {
        cli_table_cell(t, cli_json_str(kind, "kind"));
        cli_table_cellf(t, "%.0f", cli_json_num(kind, "found"));
        cli_table_cell(t, cli_count_text(a, (uint64_t)cli_json_num(kind, "tested")));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
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
    print_kinds(json_object_get(json_object_get(answer, "patterns"), "kinds"));
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
        printf("under way: %s, %s of %s\n", cli_json_str(answer, "phase"),
               cli_count_text(a, (uint64_t)cli_json_num(answer, "done")),
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

/* ---- patterns ---- */
static void when_cell(cli_table *t, const json_t *p) {
    static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
    size_t month = (size_t)cli_json_num(p, "month");
    if (month >= 1 && month <= 12)
        cli_table_cellf(t, "in %s", months[month - 1]);
    else if (json_object_get(p, "with"))
        cli_table_cellf(t, "by who likes %s", cli_json_str(p, "with"));
    else if (json_object_get(p, "mood"))
        cli_table_cellf(t, "in mood %s", cli_json_str(p, "mood"));
    else
        cli_table_cell(t, "");
}

static void print_patterns(const json_t *answer) {
    const json_t *list = json_object_get(answer, "patterns"), *learned = json_object_get(answer, "learned"), *p;
    char people[CLI_SHORT], likings[CLI_SHORT];
    size_t i;
    if (json_is_object(learned))
        printf("%s: from %s likings of %s people\n", cli_json_str(learned, "at"),
               cli_count_text(likings, (uint64_t)cli_json_num(learned, "likings")),
               cli_count_text(people, (uint64_t)cli_json_num(learned, "people")));
    else
        puts("no patterns were looked for yet: braid learn patterns");
    if (json_array_size(list) == 0) return;
    cli_table *t = cli_table_new("kind|*liked more|*when|>times|>at least|>confidence|>people|>likings");
    json_array_foreach (list, i, p) {
        cli_table_cell(t, cli_json_str(p, "kind"));
        cli_table_cell(t, cli_json_str(p, "facet"));
        when_cell(t, p);
        cli_table_cellf(t, "%.2f", cli_json_num(p, "lift"));
        cli_table_cellf(t, "%.2f", cli_json_num(p, "low"));
        cli_table_cellf(t, "%.2f", cli_json_num(p, "confidence"));
        cli_table_cell(t, cli_count_text(people, (uint64_t)cli_json_num(p, "people")));
        cli_table_cell(t, cli_count_text(likings, (uint64_t)cli_json_num(p, "evidence")));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static int list_patterns(cli *c) {
    const char *kind = cli_flag_text(c, "kind"), *user = cli_flag_text(c, "user");
    int64_t limit = 100;
    json_t *answer = NULL;
    if (c->word_count != 1 || strcmp(c->words[0], "patterns") != 0)
        return cli_fail(c, CLI_USAGE, "--list is of patterns: braid learn patterns --list");
    int rc = cli_flag_int(c, "limit", 1, 1000, &limit);
    if (rc != CLI_OK) return rc;
    char count[CLI_SHORT];
    snprintf(count, sizeof count, "%lld", (long long)limit);
    char *query = cli_query("kind", kind, "user", user, "limit", count, NULL);
    cli_request q = {.method = "GET", .path = "/v1/patterns", .query = query};
    rc = cli_target_open(c);
    if (rc == CLI_OK) rc = c->json ? cli_call_print(c, &q) : cli_call_json(c, &q, &answer);
    if (answer) print_patterns(answer);
    json_decref(answer);
    free(query);
    return rc;
}

static int run(cli *c) {
    if (cli_flag_on(c, "status")) return status(c);
    if (cli_flag_on(c, "list")) return list_patterns(c);
    if (cli_flag_text(c, "kind") || cli_flag_text(c, "user") || cli_flag_text(c, "limit"))
        return cli_fail(c, CLI_USAGE, "--kind, --user and --limit go with --list");
    const char *what = c->word_count ? c->words[0] : "all";
    json_t *answer = NULL;
    int rc = cli_words_between(c, 0, 1, "similar, refresh, patterns or all");
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
    {"list", NULL, "patterns: do not learn; list those that were found"},
    {"kind", "K", "--list: genre_affinity, user_preference, seasonal_trend or mood_correlation"},
    {"user", "ID", "--list: what this person prefers"},
    {"limit", "N", "--list: how many, 1 to 1000 (100)"},
    {0},
};

const cli_command cmd_learn = {
    .name = "learn",
    .summary = "learn from what people did, and rank by it from then on",
    .usage = "braid learn [similar|refresh|patterns|all] [flags]",
    .about =
        "similar: which items speak for which; refresh: the same, only of items whose counts have moved since\n"
        "then; patterns: what many people do more often than chance has it (facets that are liked together, in a\n"
        "month, in a mood); all, or no word: all of it and the weights of the ranking, from what each person chose\n"
        "last. What is learned is written to the record store and ranks from then on; doing it again replaces it.\n"
        "Answers go on meanwhile. Ctrl-C stops it and leaves what was there. A server learns by itself when learn.after or\n"
        "learn.hours say so.",
    .examples = "braid learn --db films.db\n"
                "braid learn similar --url http://127.0.0.1:8080 --json\n"
                "braid learn patterns --list --kind seasonal_trend --db films.db\n"
                "braid learn --status --db films.db",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
