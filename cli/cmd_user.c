/* braid user: one person, or the list of them; what is known and what was learned. */
#include <stdlib.h>

#include "things.h"

static cli_table *table(void) {
    return cli_table_new("id|name|*description|simulated");
}

static void row(cli_table *t, const json_t *user) {
    cli_table_cell(t, cli_json_str(user, "id"));
    cli_table_cell(t, cli_json_str(user, "name"));
    cli_table_cell(t, cli_json_str(user, "description"));
    cli_table_cell(t, json_is_true(json_object_get(user, "simulated")) ? "simulated" : "");
}

static const thing_kind user_kind = {"user", "/v1/users", "users", table, row};

static void print_policy(const json_t *answer) {
    const json_t *policies = json_object_get(answer, "policies"), *policy, *action;
    size_t i, j;
    if (!json_array_size(policies)) printf("nothing was learned of %s yet\n", cli_json_str(answer, "user"));
    json_array_foreach (policies, i, policy) {
        char *state = cli_json_text(json_object_get(policy, "state"));
        printf("%s%sagent %s, state ", i ? "\n" : "", cli_bold(), cli_json_str(policy, "agent"));
        cli_put(stdout, *state ? state : "any", 0);
        printf("%s\n", cli_plain());
        free(state);
        cli_table *t = cli_table_new("*action|>mean|>variance|>count");
        json_array_foreach (json_object_get(policy, "actions"), j, action) {
            cli_table_cell(t, cli_json_str(action, "action"));
            cli_table_cellf(t, "%.3f", cli_json_num(action, "mean"));
            cli_table_cellf(t, "%.4f", cli_json_num(action, "variance"));
            cli_table_cellf(t, "%.6g", cli_json_num(action, "count"));
        }
        cli_table_print(t, stdout);
        cli_table_free(t);
    }
}

static void print_export(const json_t *answer) {
    cli_print_json(answer);
}

static int get(cli *c) {
    return thing_get(c, &user_kind, "", NULL);
}
static int put(cli *c) {
    return thing_put(c, &user_kind);
}
static int delete (cli *c) {
    return thing_delete(c, &user_kind);
}
static int list(cli *c) {
    return thing_list(c, &user_kind, false);
}
static int policy(cli *c) {
    return thing_get(c, &user_kind, "/policy", print_policy);
}
static int export(cli *c) {
    return thing_get(c, &user_kind, "/export", print_export);
}

static int run(cli *c) {
    static const thing_verb verbs[] = {
        {"get", get}, {"put", put}, {"delete", delete}, {"list", list}, {"policy", policy}, {"export", export}, {0}};
    return thing_run(c, verbs);
}

static const cli_flag flags[] = {
    {"limit", "N", "list: how many, 1 to 1000 (50)"},
    {"after", "ID", "list: go on after this id"},
    {0},
};

const cli_command cmd_user = {
    .name = "user",
    .summary = "get, put, delete or list people; what was learned; everything known of one",
    .usage = "braid user get ID\n"
             "braid user put [ID] FILE\n"
             "braid user delete ID\n"
             "braid user list\n"
             "braid user policy ID\n"
             "braid user export ID",
    .about = "put replaces the whole person by the JSON object in FILE (\"-\": the standard input):\n"
             "preferences, constraints, state. policy prints what was learned, export everything that is known\n"
             "(JSON). delete removes the person and the whole history from every store.",
    .examples =
        "echo '{\"id\":\"ana\",\"preferences\":{\"genres\":{\"drame\":0.8}}}' | braid user put --db films.db -\n"
        "braid user policy ana --url http://127.0.0.1:8080",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
