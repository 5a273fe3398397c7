/* braid record: one interaction, by flags. (Many: braid load --kind interaction.) */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* text flags -> fields of the interaction */
static const char *const fields[][2] = {
    {"at", "at"},
    {"agent", "agent"},
    {"session", "session"},
    {"recommendation-id", "recommendation_id"},
    {"idempotency-key", "idempotency_key"},
};
static const char *const contexts[] = {"device", "daypart", "region", "mood"};

static int build(const cli *c, json_t **out) {
    int64_t watch_s = 0;
    double rating = 0;
    *out = NULL;
    int rc = cli_words_between(c, 3, 3, "USER ITEM TYPE");
    if (rc == CLI_OK) rc = cli_flag_int(c, "watch-s", 0, 7 * 24 * 3600, &watch_s);
    if (rc == CLI_OK) rc = cli_flag_real(c, "rating", 0.5, 5, &rating);
    if (rc != CLI_OK) return rc;
    json_t *in = json_pack("{s:s, s:s, s:s}", "user", c->words[0], "item", c->words[1], "type", c->words[2]),
           *context = json_object();
    if (!in) {
        json_decref(context);
        return cli_fail(c, CLI_USAGE, "USER, ITEM and TYPE must be UTF-8");
    }
    if (cli_flag_on(c, "watch-s")) json_object_set_new(in, "watch_s", json_integer(watch_s));
    if (cli_flag_on(c, "rating")) json_object_set_new(in, "rating", json_real(rating));
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (cli_flag_on(c, fields[i][0]))
            json_object_set_new(in, fields[i][1], json_string(cli_flag_text(c, fields[i][0])));
    for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++)
        if (cli_flag_on(c, contexts[i]))
            json_object_set_new(context, contexts[i], json_string(cli_flag_text(c, contexts[i])));
    if (json_object_size(context)) json_object_set(in, "context", context);
    json_decref(context);
    *out = in;
    return CLI_OK;
}

static int run(cli *c) {
    json_t *interaction, *report = NULL;
    int rc = build(c, &interaction);
    if (rc == CLI_OK) rc = cli_target_open(c);
    char *body = rc == CLI_OK ? json_dumps(interaction, JSON_COMPACT) : NULL;
    if (rc == CLI_OK)
        rc = cli_call_json(
            c,
            &(cli_request){.method = "POST", .path = "/v1/interactions", .body = body, .len = body ? strlen(body) : 0},
            &report);
    if (rc == CLI_OK) rc = cli_report_check(c, report);
    if (rc == CLI_OK && c->json) {
        cli_print_json(report);
    } else if (rc == CLI_OK) {
        bool again = cli_json_num(report, "duplicates") > 0;
        printf("%s: ", again ? "recorded before, nothing changed" : "recorded");
        for (size_t i = 0; i < 3; i++) {
            cli_put(stdout, c->words[i], 0);
            putchar(i < 2 ? ' ' : '\n');
        }
    }
    free(body);
    json_decref(report);
    json_decref(interaction);
    return rc;
}

static const cli_flag flags[] = {
    {"watch-s", "N", "seconds watched"},
    {"rating", "X", "0.5 to 5; with the type rate"},
    {"at", "TIME", "when, RFC 3339 (now)"},
    {"device", "NAME", "tv, mobile, tablet, ..."},
    {"daypart", "NAME", "morning, afternoon, evening, night"},
    {"region", "CODE", "where: FR, BE, ..."},
    {"mood", "NAME", "in which mood"},
    {"agent", "NAME", "the policy that learns from it (default)"},
    {"session", "ID", "the sitting it belongs to"},
    {"recommendation-id", "ID", "the answer it came from, so that the reward finds its slate"},
    {"idempotency-key", "KEY", "a repeat with the same key changes nothing"},
    {0},
};

const cli_command cmd_record = {
    .name = "record",
    .summary = "tell what a person did with an item, so that the next answer is better",
    .usage = "braid record [flags] USER ITEM TYPE",
    .about = "TYPE is view, click, watch, complete, skip, like, dislike or rate. It becomes a reward between 0\n"
             "and 1 and moves that person's policy at once. It is on stable storage when the command returns.",
    .examples = "braid record --db films.db ana la-regle-du-jeu-1939 complete --device tv --daypart evening\n"
                "braid record --url http://127.0.0.1:8080 ana toni-1935 rate --rating 4.5 --idempotency-key ana-toni-1",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
