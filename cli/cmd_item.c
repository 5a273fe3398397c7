/* braid item: one item, or the list of them. */
#include <stdlib.h>

#include "things.h"

static cli_table *table(void) {
    return cli_table_new("id|*title|>year|kind|genres");
}

static void row(cli_table *t, const json_t *item) {
    const json_t *genres = json_object_get(item, "genres"), *year = json_object_get(item, "year");
    const char *first = json_string_value(json_array_get(genres, 0)),
               *second = json_string_value(json_array_get(genres, 1));
    cli_table_cell(t, cli_json_str(item, "id"));
    cli_table_cell(t, cli_json_str(item, "title"));
    if (json_is_integer(year))
        cli_table_cellf(t, "%lld", (long long)json_integer_value(year));
    else
        cli_table_cell(t, "");
    cli_table_cell(t, cli_json_str(item, "kind"));
    cli_table_cellf(t, "%s%s%s", first ? first : "", second ? ", " : "", second ? second : "");
}

static const thing_kind item_kind = {"item", "/v1/items", "items", table, row};

static void print_graph(const json_t *graph) {
    const json_t *edges = json_object_get(graph, "edges"), *nodes = json_object_get(graph, "nodes"), *edge, *node;
    size_t i;
    printf("%zu nodes around %s\n", json_array_size(nodes), cli_json_str(graph, "center"));
    cli_table *t = cli_table_new("*label|kind|id");
    json_array_foreach (nodes, i, node) {
        cli_table_cell(t, cli_json_str(node, "label"));
        cli_table_cell(t, cli_json_str(node, "kind"));
        cli_table_cell(t, cli_json_str(node, "id"));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
    putchar('\n');
    t = cli_table_new("from|type|to|>strength");
    json_array_foreach (edges, i, edge) {
        cli_table_cell(t, cli_json_str(edge, "from"));
        cli_table_cell(t, cli_json_str(edge, "type"));
        cli_table_cell(t, cli_json_str(edge, "to"));
        cli_table_cellf(t, "%.2f", cli_json_num(edge, "strength"));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static int get(cli *c) {
    return thing_get(c, &item_kind, "", NULL);
}
static int put(cli *c) {
    return thing_put(c, &item_kind);
}
static int delete (cli *c) {
    return thing_delete(c, &item_kind);
}
static int list(cli *c) {
    return thing_list(c, &item_kind, true);
}
static int graph(cli *c) {
    return thing_get(c, &item_kind, "/graph", print_graph);
}

static int run(cli *c) {
    static const thing_verb verbs[] = {{"get", get},   {"put", put},     {"delete", delete},
                                       {"list", list}, {"graph", graph}, {0}};
    return thing_run(c, verbs);
}

static const cli_flag flags[] = {
    {"limit", "N", "list: how many, 1 to 1000 (50)"},
    {"after", "ID", "list: go on after this id"},
    {0},
};

const cli_command cmd_item = {
    .name = "item",
    .summary = "get, put, delete or list items; show an item's neighbourhood",
    .usage = "braid item get ID\n"
             "braid item put [ID] FILE\n"
             "braid item delete ID\n"
             "braid item list [WORDS]\n"
             "braid item graph ID",
    .about = "put replaces the whole item by the JSON object in FILE (\"-\": the standard input). list finds\n"
             "by words of the title, accents and case folded. graph prints the nodes and edges around an item.",
    .examples = "braid item list --db films.db \"regle du jeu\"\n"
                "braid item get la-regle-du-jeu-1939 --url http://127.0.0.1:8080 --json",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
