/* braid rule: what the editors decide: pins, boosts, quotas. */
#include <stdlib.h>

#include "things.h"

static cli_table *table(void) {
    return cli_table_new("id|does|*for|from|until|*note");
}

static void row(cli_table *t, const json_t *rule) {
    static const char *const deeds[] = {"pin", "boost", "quota"};
    char *whom = json_dumps(json_object_get(rule, "for"), JSON_COMPACT);
    bool off = json_is_false(json_object_get(rule, "enabled"));
    const json_t *deed = NULL;
    cli_table_cell(t, cli_json_str(rule, "id"));
    for (size_t i = 0; i < 3 && !deed; i++)
        if ((deed = json_object_get(rule, deeds[i]))) {
            if (i == 0)
                cli_table_cellf(t, "%spins %s at %.0f", off ? "(off) " : "", cli_json_str(deed, "item"),
                                json_object_get(deed, "position") ? cli_json_num(deed, "position") : 1);
            else if (i == 1)
                cli_table_cellf(t, "%sboosts by %g", off ? "(off) " : "", cli_json_num(deed, "factor"));
            else
                cli_table_cellf(t, "%sat least %.0f of %.0f", off ? "(off) " : "", cli_json_num(deed, "least"),
                                json_object_get(deed, "within") ? cli_json_num(deed, "within") : 10);
        }
    if (!deed) cli_table_cell(t, "");
    cli_table_cell(t, whom ? whom : "everybody");
    cli_table_cell(t, cli_json_str(rule, "from"));
    cli_table_cell(t, cli_json_str(rule, "until"));
    cli_table_cell(t, cli_json_str(rule, "note"));
    free(whom);
}

static const thing_kind rule_kind = {"rule", "/v1/rules", "rules", table, row};

static int get(cli *c) {
    return thing_get(c, &rule_kind, "", NULL);
}
static int put(cli *c) {
    return thing_put(c, &rule_kind);
}
static int delete (cli *c) {
    return thing_delete(c, &rule_kind);
}
static int list(cli *c) {
    return thing_list(c, &rule_kind, false);
}

static int run(cli *c) {
    static const thing_verb verbs[] = {{"list", list}, {"get", get}, {"put", put}, {"delete", delete}, {0}};
    return thing_run(c, verbs);
}

static const cli_flag flags[] = {
    {"limit", "N", "list: how many, 1 to 1000 (50)"},
    {"after", "ID", "list: go on after this id"},
    {0},
};

const cli_command cmd_rule = {
    .name = "rule",
    .summary = "list, get, put or delete rules of the editors: pins, boosts, quotas",
    .usage = "braid rule list\n"
             "braid rule get ID\n"
             "braid rule put [ID] FILE\n"
             "braid rule delete ID",
    .about = "A rule is one JSON object with one deed: \"pin\" {item, position}, \"boost\" {filter, factor} or\n"
             "\"quota\" {filter, least, within}; beside it \"for\" (agents, users, regions, devices, dayparts,\n"
             "moods, experiment and arms), \"from\", \"until\", \"enabled\" and \"note\". It holds for\n"
             "recommendations, from the next one on, and never against rights or what a person excludes.",
    .examples =
        "echo '{\"pin\":{\"item\":\"f7\",\"position\":1},\"for\":{\"regions\":[\"CA\"]}}' | braid rule put gala --db films.db -\n"
        "echo '{\"quota\":{\"filter\":{\"language\":\"fr\"},\"least\":4,\"within\":10}}' | braid rule put fr --db films.db -\n"
        "braid rule list --url http://127.0.0.1:8080",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
