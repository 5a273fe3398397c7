/* braid episode: the steps that were kept of a person, and those whose states were like a given one. */
#include <stdlib.h>
#include <string.h>

#include "things.h"

enum { VECTOR_BYTES_MAX = 1 << 20 };

static void print_episodes(const json_t *episodes, bool alike) {
    const json_t *e;
    size_t i;
    cli_table *t = cli_table_new(alike ? ">similarity|user|agent|*state|action|>reward|done|at"
                                       : "agent|session|*state|action|>reward|done|at");
    json_array_foreach (episodes, i, e) {
        if (alike) cli_table_cellf(t, "%.4f", cli_json_num(e, "similarity"));
        if (alike) cli_table_cell(t, cli_json_str(e, "user"));
        cli_table_cell(t, cli_json_str(e, "agent"));
        if (!alike) cli_table_cell(t, cli_json_str(e, "session"));
        cli_table_cell(t, cli_json_str(e, "state"));
        cli_table_cell(t, cli_json_str(e, "action"));
        cli_table_cellf(t, "%.3f", cli_json_num(e, "reward"));
        cli_table_cell(t, json_is_true(json_object_get(e, "done")) ? "done" : "");
        cli_table_cell(t, cli_json_str(e, "at"));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static int ask(cli *c, const cli_request *q, bool alike) {
    json_t *answer = NULL;
    int rc = c->json ? cli_call_print(c, q) : cli_call_json(c, q, &answer);
    const json_t *episodes = json_object_get(answer, "episodes");
    if (json_array_size(episodes))
        print_episodes(episodes, alike);
    else if (answer)
        printf(alike ? "no episode with such a state\n" : "no episode is kept of that person\n");
    if (json_is_true(json_object_get(answer, "partial"))) cli_note(c, "the deadline came before all were looked at");
    json_decref(answer);
    return rc;
}

static int list(cli *c) {
    int64_t limit = 50;
    char limit_text[24];
    int rc = cli_words_between(c, 2, 2, "the ID of a person");
    if (rc == CLI_OK) rc = cli_flag_int(c, "limit", 1, 1000, &limit);
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    snprintf(limit_text, sizeof limit_text, "%lld", (long long)limit);
    char *path = cli_path("/v1/users/", c->words[1], "/episodes"), *query = cli_query("limit", limit_text, NULL);
    rc = ask(c, &(cli_request){.method = "GET", .path = path, .query = query}, false);
    free(path);
    free(query);
    return rc;
}

static int build(cli *c, json_t **out) {
    const char *file = cli_flag_text(c, "vector"), *agent = cli_flag_text(c, "agent"),
               *since = cli_flag_text(c, "since");
    json_t *vector = NULL;
    int64_t k = 10;
    int rc = cli_words_between(c, file ? 1 : 2, file ? 1 : 2,
                               file ? "no person beside --vector" : "the ID of a person, or --vector FILE");
    if (rc == CLI_OK) rc = cli_flag_int(c, "k", 1, 1000, &k);
    if (rc == CLI_OK && file) rc = cli_read_json(c, file, VECTOR_BYTES_MAX, &vector);
    if (rc != CLI_OK) return rc;
    *out = json_pack("{s:I, s:s*, s:s*}", "k", (json_int_t)k, "agent", agent, "since", since);
    if (vector)
        json_object_set_new(*out, "vector", vector); /* frees it when there is no object */
    else
        json_object_set_new(*out, "user", json_string(c->words[1]));
    return *out ? CLI_OK : cli_fail(c, CLI_USAGE, "a word is not valid UTF-8");
}

static int similar(cli *c) {
    json_t *request = NULL;
    int rc = build(c, &request);
    char *body = rc == CLI_OK ? json_dumps(request, JSON_COMPACT) : NULL;
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc == CLI_OK)
        rc = ask(c,
                 &(cli_request){
                     .method = "POST", .path = "/v1/episodes/similar", .body = body, .len = body ? strlen(body) : 0},
                 true);
    json_decref(request);
    free(body);
    return rc;
}

static int run(cli *c) {
    static const thing_verb verbs[] = {{"list", list}, {"similar", similar}, {0}};
    return thing_run(c, verbs);
}

static const cli_flag flags[] = {
    {"limit", "N", "list: how many, 1 to 1000 (50)"},
    {"k", "N", "similar: how many, 1 to 1000 (10)"},
    {"vector", "FILE", "similar: like this state, a JSON array of numbers (\"-\": the standard input)"},
    {"agent", "NAME", "similar: only episodes of that agent"},
    {"since", "TIME", "similar: only those from then on, RFC 3339"},
    {0},
};

const cli_command cmd_episode = {
    .name = "episode",
    .summary = "list a person's episodes, or find those whose states were alike",
    .usage = "braid episode list ID\n"
             "braid episode similar ID [--agent NAME] [--since TIME] [-k N]\n"
             "braid episode similar --vector FILE [--agent NAME] [--since TIME] [-k N]",
    .about =
        "An episode is a step of an agent with a person: the state, what was chosen, the reward. similar compares\n"
        "the states that were given as vectors (`braid load`, POST /v1/episodes), by cosine, with the newest one of\n"
        "that person, or with a given one.",
    .examples = "braid episode list ana --db films.db\n"
                "braid episode similar ana --agent bandit -k 20 --url http://127.0.0.1:8080\n"
                "echo '[0.1,0.9]' | braid episode similar --vector - --db films.db",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
