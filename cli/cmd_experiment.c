/* braid experiment: arms that people are in, or two rankings in one list; starting, stopping, and how they stand. */
#include <stdlib.h>
#include <string.h>

#include "things.h"

static cli_table *table(void) {
    return cli_table_new("id|status|agent|*arms|from|until|*note");
}

static void row(cli_table *t, const json_t *e) {
    char arms[256] = "";
    const json_t *arm;
    size_t i;
    json_array_foreach (json_object_get(e, "arms"), i, arm) {
        size_t used = strlen(arms);
        snprintf(arms + used, sizeof arms - used, "%s%s", i ? ", " : "", cli_json_str(arm, "name"));
    }
    cli_table_cell(t, cli_json_str(e, "id"));
    cli_table_cell(t, *cli_json_str(e, "status") ? cli_json_str(e, "status") : "draft");
    cli_table_cell(t, *cli_json_str(e, "agent") ? cli_json_str(e, "agent") : "default");
    cli_table_cellf(t, "%s%s", arms, json_is_true(json_object_get(e, "interleave")) ? " (interleaved)" : "");
    cli_table_cell(t, cli_json_str(e, "from"));
    cli_table_cell(t, cli_json_str(e, "until"));
    cli_table_cell(t, cli_json_str(e, "note"));
}

static const thing_kind experiment_kind = {"experiment", "/v1/experiments", "experiments", table, row};

static int show(cli *c) {
    return thing_get(c, &experiment_kind, "", NULL);
}
static int put(cli *c) {
    return thing_put(c, &experiment_kind);
}
static int delete (cli *c) {
    return thing_delete(c, &experiment_kind);
}
static int list(cli *c) {
    return thing_list(c, &experiment_kind, false);
}

/* Reads it, sets its status, and writes it back over the version that was read. */
static int set_status(cli *c, const char *status, const char *done) {
    json_t *experiment = NULL, *report = NULL;
    int rc = cli_words_between(c, 2, 2, "one ID");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    char *path = cli_path("/v1/experiments/", c->words[1], "");
    rc = cli_call_json(c, &(cli_request){.method = "GET", .path = path}, &experiment);
    if (rc == CLI_OK) {
        json_object_set_new(experiment, "status", json_string(status));
        char *body = json_dumps(experiment, JSON_COMPACT);
        rc = cli_call_json(
            c, &(cli_request){.method = "PUT", .path = path, .body = body, .len = body ? strlen(body) : 0}, &report);
        free(body);
    }
    if (rc == CLI_OK && c->json)
        cli_print_json(report);
    else if (rc == CLI_OK)
        printf("experiment %s %s\n", c->words[1], done);
    json_decref(experiment);
    json_decref(report);
    free(path);
    return rc;
}

static int start(cli *c) {
    return set_status(c, "running", "runs");
}
static int stop(cli *c) {
    return set_status(c, "stopped", "is stopped");
}

static void interval_cell(cli_table *t, const json_t *v) {
    if (!json_is_number(json_object_get(v, "low")))
        cli_table_cell(t, "");
    else
        cli_table_cellf(t, "%+.4f  %+.4f..%+.4f", cli_json_num(v, "value"), cli_json_num(v, "low"),
                        cli_json_num(v, "high"));
}

static void print_arms(const json_t *arms) {
    char a[CLI_SHORT], b[CLI_SHORT];
    const json_t *arm;
    size_t i;
    cli_table *t = cli_table_new("arm|>people|>lists|>reward a list|>difference, 95 %|>p|*verdict");
    json_array_foreach (arms, i, arm) {
        cli_table_cell(t, cli_json_str(arm, "arm"));
        cli_table_cell(t, cli_count_text(a, (uint64_t)cli_json_num(arm, "people")));
        cli_table_cell(t, cli_count_text(b, (uint64_t)cli_json_num(arm, "slates")));
        cli_table_cellf(t, "%.4f", cli_json_num(arm, "reward"));
        interval_cell(t, json_object_get(arm, "difference"));
        if (i)
            cli_table_cellf(t, "%.3g", cli_json_num(arm, "p"));
        else
            cli_table_cell(t, "");
        cli_table_cell(t, cli_json_str(arm, "verdict"));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static void print_duel(const json_t *duel) {
    const json_t *share = json_object_get(duel, "share"), *value;
    const char *key;
    json_object_foreach ((json_t *)duel, key, value)
        if (json_is_integer(value)) printf("%s %lld  ", key, (long long)json_integer_value(value));
    printf("\nshare of the second %.3f (%.3f..%.3f), p %.3g: %s\n", cli_json_num(share, "value"),
           cli_json_num(share, "low"), cli_json_num(share, "high"), cli_json_num(duel, "p"),
           cli_json_str(duel, "verdict"));
}

static void print_standing(const json_t *s) {
    const json_t *duel = json_object_get(s, "duel");
    printf("%s%s%s, %s, %.0f lists; intervals and p hold however often one looks\n", cli_bold(), cli_json_str(s, "id"),
           cli_plain(), cli_json_str(s, "status"), cli_json_num(s, "slates"));
    if (duel)
        print_duel(duel);
    else
        print_arms(json_object_get(s, "arms"));
}

static int standing(cli *c) {
    return thing_get(c, &experiment_kind, "/standing", print_standing);
}

static int run(cli *c) {
    static const thing_verb verbs[] = {{"list", list},   {"show", show}, {"put", put},           {"delete", delete},
                                       {"start", start}, {"stop", stop}, {"standing", standing}, {0}};
    return thing_run(c, verbs);
}

static const cli_flag flags[] = {
    {"limit", "N", "list: how many, 1 to 1000 (50)"},
    {"after", "ID", "list: go on after this id"},
    {0},
};

const cli_command cmd_experiment = {
    .name = "experiment",
    .summary = "list, show, put, start or stop experiments, and how they stand",
    .usage = "braid experiment list\n"
             "braid experiment show ID\n"
             "braid experiment put [ID] FILE\n"
             "braid experiment start ID\n"
             "braid experiment stop ID\n"
             "braid experiment standing ID\n"
             "braid experiment delete ID",
    .about = "An experiment is one JSON object: \"arms\" [{name, share, agent, ranker, weights, diversity, explore}],\n"
             "\"agent\" whose recommendations it concerns, \"share\" of the people in it, \"scale\" of the\n"
             "differences looked for, \"interleave\" to show both of two arms in one list. People stay in their arm.\n"
             "standing may be asked for as often as one likes: its intervals and verdicts hold at every look.\n"
             "What runs is not changed; stop it first.",
    .examples =
        "echo '{\"arms\":[{\"name\":\"as-is\"},{\"name\":\"popular\",\"ranker\":\"popular\"}]}' | braid experiment put pop --db films.db -\n"
        "braid experiment start pop --url http://127.0.0.1:8080\n"
        "braid experiment standing pop --url http://127.0.0.1:8080",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
