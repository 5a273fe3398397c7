/* braid similar: what the graph connects with an item, and what was learned to speak for it. */
#include <stdlib.h>

#include "cli.h"

static void print_results(const json_t *results) {
    size_t i;
    const json_t *one;
    cli_table *t = cli_table_new("*title|id|>score|>depth|>connections|via");
    json_array_foreach (results, i, one) {
        const json_t *via = json_object_get(one, "via");
        const char *label = cli_json_str(via, "label");
        cli_table_cell(t, cli_json_str(one, "title"));
        cli_table_cell(t, cli_json_str(one, "id"));
        cli_table_cellf(t, "%.2f", cli_json_num(one, "score"));
        cli_table_cellf(t, "%.0f", cli_json_num(one, "depth"));
        cli_table_cellf(t, "%.0f", cli_json_num(one, "connections"));
        cli_table_cellf(t, "%s%s%s", cli_json_str(via, "kind"), *label ? " " : "", label);
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static void print_learned(const json_t *learned) {
    size_t i;
    const json_t *one;
    cli_table *t = cli_table_new("*learned from people|id|>strength|model|at");
    json_array_foreach (learned, i, one) {
        cli_table_cell(t, cli_json_str(one, "title"));
        cli_table_cell(t, cli_json_str(one, "id"));
        cli_table_cellf(t, "%.3f", cli_json_num(one, "strength"));
        cli_table_cell(t, cli_json_str(one, "model"));
        cli_table_cell(t, cli_json_str(one, "at"));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static int run(cli *c) {
    int64_t k = 10, depth = 2;
    json_t *answer = NULL;
    char k_text[24], depth_text[24];
    int rc = cli_words_between(c, 1, 1, "the ID of an item");
    if (rc == CLI_OK) rc = cli_flag_int(c, "k", 1, 1000, &k);
    if (rc == CLI_OK) rc = cli_flag_int(c, "depth", 1, 3, &depth);
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    snprintf(k_text, sizeof k_text, "%lld", (long long)k);
    snprintf(depth_text, sizeof depth_text, "%lld", (long long)depth);
    char *path = cli_path("/v1/items/", c->words[0], "/similar"),
         *query = cli_query("k", k_text, "depth", depth_text, NULL);
    cli_request q = {.method = "GET", .path = path, .query = query};
    rc = c->json ? cli_call_print(c, &q) : cli_call_json(c, &q, &answer);
    const json_t *results = json_object_get(answer, "results");
    if (answer && json_array_size(results))
        print_results(results);
    else if (answer)
        printf("nothing is connected with %s within %s steps\n", c->words[0], depth_text);
    const json_t *learned = json_object_get(answer, "learned");
    if (json_array_size(learned)) print_learned(learned);
    json_decref(answer);
    free(path);
    free(query);
    return rc;
}

static const cli_flag flags[] = {
    {"k", "N", "how many, 1 to 1000 (10)"},
    {"depth", "N", "how many steps away, 1 to 3 (2)"},
    {0},
};

const cli_command cmd_similar = {
    .name = "similar",
    .summary = "list what the graph connects with an item",
    .usage = "braid similar [flags] ID",
    .about = "Walks the graph from an item over relations and shared facets (genres, themes, moods, contexts,\n"
             "people). The score is (1/depth) x the number of connections. After `braid learn` also the items that\n"
             "speak for it in what people chose, with their strength. For likeness of content use `braid search\n"
             "--like ID`.",
    .examples = "braid similar --db films.db la-regle-du-jeu-1939\n"
                "braid similar --url http://127.0.0.1:8080 toni-1935 --depth 3 -k 20",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
