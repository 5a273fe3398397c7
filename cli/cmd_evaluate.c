/* braid evaluate: what another policy would have earned on past recommendations. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { EVALUATE_MS = 3600 * 1000, POLICY_BYTES_MAX = 1 << 20 };

/* A file holds the policy's JSON; a ranker is named as it is; any other word is an agent. */
static int read_policy(cli *c, const char *word, json_t **out) {
    static const char *const rankers[] = {"learned", "taste", "popular"};
    for (size_t i = 0; i < sizeof rankers / sizeof rankers[0]; i++)
        if (strcmp(word, rankers[i]) == 0) {
            *out = json_string(word);
            return CLI_OK;
        }
    if (strcmp(word, "-") != 0 && access(word, R_OK) != 0) {
        *out = json_pack("{s:s}", "agent", word);
        return *out ? CLI_OK : cli_fail(c, CLI_USAGE, "the word is not valid UTF-8");
    }
    return cli_read_json(c, word, POLICY_BYTES_MAX, out);
}

static int build(cli *c, json_t **out) {
    static const char *const texts[] = {"agent", "from", "until", "model"};
    const char *word = cli_flag_text(c, "policy");
    int64_t places = 5;
    json_t *policy = NULL;
    int rc = cli_words_between(c, 0, 0, "no word");
    if (rc == CLI_OK && !word)
        rc = cli_fail(c, CLI_USAGE, "which policy? --policy learned, taste, popular, an agent's name, or a file");
    if (rc == CLI_OK) rc = cli_flag_int(c, "places", 1, 20, &places);
    if (rc == CLI_OK) rc = read_policy(c, word, &policy);
    if (rc != CLI_OK) return rc;
    *out = json_pack("{s:o, s:I}", "policy", policy, "places", (json_int_t)places);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (cli_flag_text(c, texts[i])) json_object_set_new(*out, texts[i], json_string(cli_flag_text(c, texts[i])));
    return CLI_OK;
}

static void row(cli_table *t, const char *what, const json_t *v) {
    cli_table_cell(t, what);
    cli_table_cellf(t, "%.4f", cli_json_num(v, "value"));
    if (json_is_number(json_object_get(v, "low")))
        cli_table_cellf(t, "%.4f..%.4f", cli_json_num(v, "low"), cli_json_num(v, "high"));
    else
        cli_table_cell(t, "unknown");
}

static void print_estimate(const json_t *e) {
    const json_t *skipped = json_object_get(e, "skipped"), *weight = json_object_get(e, "weight"), *warning;
    size_t i;
    printf("%.0f recommendations of %.0f people; reward of their first %.0f places\n", cli_json_num(e, "slates"),
           cli_json_num(e, "people"), cli_json_num(e, "places"));
    cli_table *t = cli_table_new("estimate|>reward|>95 %");
    row(t, "as it was", json_object_get(e, "logged"));
    row(t, "IPS", json_object_get(e, "ips"));
    row(t, "SNIPS", json_object_get(e, "snips"));
    row(t, "doubly robust", json_object_get(e, "dr"));
    cli_table_print(t, stdout);
    cli_table_free(t);
    printf(
        "worth %.0f recommendations; mean weight %.2f, largest %.1f; left out: %.0f cached, %.0f not ranked by features, %.0f of unknown chances\n",
        cli_json_num(e, "effective"), cli_json_num(weight, "mean"), cli_json_num(weight, "max"),
        cli_json_num(skipped, "cached"), cli_json_num(skipped, "unranked"), cli_json_num(skipped, "unknown"));
    json_array_foreach (json_object_get(e, "warnings"), i, warning)
        printf("%swarning:%s %s\n", cli_yellow(), cli_plain(), json_string_value(warning));
}

static int run(cli *c) {
    json_t *request = NULL, *answer = NULL;
    int rc = build(c, &request);
    char *body = rc == CLI_OK ? json_dumps(request, JSON_COMPACT) : NULL;
    if (rc == CLI_OK && !body) rc = cli_fail(c, CLI_USAGE, "a word is not valid UTF-8");
    if (rc == CLI_OK) rc = cli_target_open(c);
    cli_request q = {
        .method = "POST", .path = "/v1/evaluate", .body = body, .len = body ? strlen(body) : 0, .wait_ms = EVALUATE_MS};
    if (rc == CLI_OK) rc = c->json ? cli_call_print(c, &q) : cli_call_json(c, &q, &answer);
    if (answer) print_estimate(answer);
    json_decref(answer);
    json_decref(request);
    free(body);
    return rc;
}

static const cli_flag flags[] = {
    {"policy", "WHAT", "learned, taste, popular, an agent's name, or a file of JSON (\"-\": the standard input)"},
    {"agent", "NAME", "whose recommendations (default)"},
    {"from", "TIME", "those from then on, RFC 3339"},
    {"until", "TIME", "those before then, RFC 3339"},
    {"places", "N", "how many places from the top are judged, 1 to 20 (5)"},
    {"model", "NAME", "cascade: people read from the top; position: each place by itself (cascade)"},
    {0},
};

const cli_command cmd_evaluate = {
    .name = "evaluate",
    .summary = "what another policy would have earned on past recommendations, with intervals",
    .usage = "braid evaluate --policy WHAT [--agent NAME] [--from TIME] [--until TIME] [flags]",
    .about =
        "Estimates from what was kept of past recommendations and what people then did: inverse propensities\n"
        "(IPS), self-normalised (SNIPS), and doubly robust, each with a 95 % interval, beside what was really\n"
        "earned. A file holds {\"weights\":{\"slim\":0.3,..},\"explore\":0.1,\"temperature\":1}, or an agent or\n"
        "ranker in place of the weights. Agents must explore (their budget) for others to be judged by it; warnings\n"
        "say when the evidence is thin.",
    .examples = "braid evaluate --policy popular --db films.db\n"
                "braid evaluate --policy weights.json --from 2026-11-01T00:00:00Z --url http://127.0.0.1:8080 --json",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
