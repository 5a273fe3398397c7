/* braid agent: how agents rank and explore, and what they did hour by hour. */
#include <stdlib.h>
#include <string.h>

#include "things.h"

static cli_table *table(void) {
    return cli_table_new("id|learner|>strength|>budget|>days|own|>keeps|*description");
}

static const json_t *exploration_of(const json_t *agent) {
    return json_object_get(agent, "exploration");
}

static void row(cli_table *t, const json_t *agent) {
    cli_table_cell(t, cli_json_str(agent, "id"));
    cli_table_cell(t, cli_json_str(agent, "learner"));
    cli_table_cellf(t, "%g", cli_json_num(exploration_of(agent), "strength"));
    cli_table_cellf(t, "%g", cli_json_num(exploration_of(agent), "budget"));
    cli_table_cellf(t, "%g", cli_json_num(exploration_of(agent), "age_days_max"));
    cli_table_cell(t, json_is_true(json_object_get(agent, "personal")) ? "yes" : "no");
    if (json_object_get(agent, "episodes_days"))
        cli_table_cellf(t, "%g", cli_json_num(agent, "episodes_days"));
    else
        cli_table_cell(t, "");
    cli_table_cell(t, cli_json_str(agent, "description"));
}

static const thing_kind agent_kind = {"agent", "/v1/agents", "agents", table, row};

static int list(cli *c) {
    return thing_list(c, &agent_kind, false);
}
static int show(cli *c) {
    return thing_get(c, &agent_kind, "", NULL);
}

static int remove_one(cli *c) {
    return thing_delete(c, &agent_kind);
}

/* Days of its own, or none any more. */
static int take_episodes_days(cli *c, json_t *agent) {
    const char *text = cli_flag_text(c, "episodes-days");
    int64_t days = -1;
    int rc = CLI_OK;
    if (text && strcmp(text, "default") == 0)
        json_object_del(agent, "episodes_days");
    else
        rc = cli_flag_int(c, "episodes-days", 0, 3650, &days);
    if (rc == CLI_OK && days >= 0) json_object_set_new(agent, "episodes_days", json_integer(days));
    return rc;
}

/* Whole numbers and shares into the document; what was not given stays. */
static int take_flags(cli *c, json_t *agent) {
    json_t *exploration = json_object_get(agent, "exploration");
    int64_t days = -1;
    double strength = -1, budget = -1;
    const char *learner = cli_flag_text(c, "learner"), *personal = cli_flag_text(c, "personal"),
               *description = cli_flag_text(c, "description");
    int rc = cli_flag_int(c, "age-days-max", 0, 100000, &days);
    if (rc == CLI_OK) rc = cli_flag_real(c, "strength", 0, 100, &strength);
    if (rc == CLI_OK) rc = cli_flag_real(c, "budget", 0, 1, &budget);
    if (rc == CLI_OK && personal && strcmp(personal, "on") != 0 && strcmp(personal, "off") != 0)
        rc = cli_fail(c, CLI_USAGE, "--personal is on or off");
    if (rc == CLI_OK) rc = take_episodes_days(c, agent);
    if (rc != CLI_OK) return rc;
    if (days >= 0) json_object_set_new(exploration, "age_days_max", json_integer(days));
    if (strength >= 0) json_object_set_new(exploration, "strength", json_real(strength));
    if (budget >= 0) json_object_set_new(exploration, "budget", json_real(budget));
    if (personal) json_object_set_new(agent, "personal", json_boolean(strcmp(personal, "on") == 0));
    if (learner) json_object_set_new(agent, "learner", json_string(learner));
    if (description) json_object_set_new(agent, "description", json_string(description));
    return CLI_OK;
}

/* Reads, changes and writes with the version that was read: what somebody else changed meanwhile is not undone
 * unseen. */
static int set(cli *c) {
    json_t *agent = NULL, *report = NULL;
    int rc = cli_words_between(c, 2, 2, "one ID");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    char *path = cli_path("/v1/agents/", c->words[1], "");
    rc = cli_call_json(c, &(cli_request){.method = "GET", .path = path}, &agent);
    if (rc == CLI_OK) rc = take_flags(c, agent);
    if (rc == CLI_OK) {
        char *text = json_dumps(agent, JSON_COMPACT);
        rc = cli_call_json(
            c, &(cli_request){.method = "PUT", .path = path, .body = text, .len = text ? strlen(text) : 0}, &report);
        free(text);
    }
    if (rc == CLI_OK && c->json) cli_print_json(report);
    if (rc == CLI_OK && !c->json) {
        printf("agent ");
        cli_put(stdout, c->words[1], 0);
        printf(" stored\n");
    }
    json_decref(report);
    json_decref(agent);
    free(path);
    return rc;
}

static void print_hours(const json_t *hours) {
    const json_t *h;
    size_t i;
    cli_table *t = cli_table_new("hour|agent|>slates|>explored|>episodes|>finished|>reward|>mean");
    json_array_foreach (hours, i, h) {
        cli_table_cell(t, cli_json_str(h, "hour"));
        cli_table_cell(t, cli_json_str(h, "agent"));
        cli_table_cellf(t, "%.0f", cli_json_num(h, "slates"));
        if (json_is_number(json_object_get(h, "explored_share")))
            cli_table_cellf(t, "%.1f %%", 100 * cli_json_num(h, "explored_share"));
        else
            cli_table_cell(t, "");
        cli_table_cellf(t, "%.0f", cli_json_num(h, "episodes"));
        cli_table_cellf(t, "%.0f", cli_json_num(h, "finished"));
        cli_table_cellf(t, "%.2f", cli_json_num(h, "reward_sum"));
        if (json_is_number(json_object_get(h, "reward_mean")))
            cli_table_cellf(t, "%.3f", cli_json_num(h, "reward_mean"));
        else
            cli_table_cell(t, "");
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static int hours(cli *c) {
    json_t *answer = NULL;
    int rc = cli_words_between(c, 1, 2, "hours [ID]");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    char *query = cli_query("agent", c->word_count == 2 ? c->words[1] : NULL, "from", cli_flag_text(c, "from"), "until",
                            cli_flag_text(c, "until"), NULL);
    cli_request q = {.method = "GET", .path = "/v1/metrics/hourly", .query = query};
    rc = c->json ? cli_call_print(c, &q) : cli_call_json(c, &q, &answer);
    const json_t *list_of = json_object_get(answer, "hours");
    if (json_array_size(list_of))
        print_hours(list_of);
    else if (answer)
        printf("nothing was counted in that time\n");
    json_decref(answer);
    free(query);
    return rc;
}

static int run(cli *c) {
    static const thing_verb verbs[] = {{"list", list},         {"show", show},   {"set", set},
                                       {"remove", remove_one}, {"hours", hours}, {0}};
    return thing_run(c, verbs);
}

static const cli_flag flags[] = {
    {"learner", "NAME", "set: softmax, linucb or thompson (softmax)"},
    {"strength", "X", "set: how strongly it explores, 0 to 100 (1)"},
    {"budget", "SHARE", "set: places of a list that it may give away to learn, 0 to 1 (0.1)"},
    {"age-days-max", "DAYS", "set: older items are not explored; 0: whatever their age (0)"},
    {"personal", "on|off", "set: add what was learned of the person themselves (on)"},
    {"episodes-days", "DAYS", "set: keep its episodes so long; 0: for ever; default: as the option says (default)"},
    {"description", "TEXT", "set: a word for people"},
    {"limit", "N", "list: how many, 1 to 1000 (50)"},
    {"after", "ID", "list: go on after this id"},
    {"from", "TIME", "hours: from then on, RFC 3339 (the last week)"},
    {"until", "TIME", "hours: those before then, RFC 3339"},
    {0},
};

const cli_command cmd_agent = {
    .name = "agent",
    .summary = "how an agent ranks and explores: list, show, set, remove; what it did hour by hour",
    .usage = "braid agent list\n"
             "braid agent show ID\n"
             "braid agent set ID [--learner NAME] [--budget SHARE] [--strength X] ...\n"
             "braid agent remove ID\n"
             "braid agent hours [ID] [--from TIME] [--until TIME]",
    .about =
        "An agent is a name in questions and interactions under which things are learned. set changes what is given\n"
        "and leaves the rest; an agent that was never set has the defaults. remove brings the defaults back; what was\n"
        "learned stays. hours prints what agents did hour by hour (UTC): lists shown, the share\n"
        "of their places that explored, episodes, rewards.",
    .examples = "braid agent set homepage --learner thompson --budget 0.2 --age-days-max 365\n"
                "braid agent hours homepage --db films.db\n"
                "braid agent list --url http://127.0.0.1:8080",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
