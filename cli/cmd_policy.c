/* braid policy: what an agent believes - shown, compared, taken out into a file and put back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "things.h"

enum { POLICY_BYTES_MAX = 64 << 20 };

static char *path_of(const char *agent, const char *rest) {
    return cli_path("/v1/agents/", agent, rest);
}

/* ---- show ---- */
static void print_shown(const json_t *answer) {
    const json_t *row;
    size_t i;
    bool person = *cli_json_str(answer, "user") != '\0';
    printf("%sagent ", cli_bold());
    cli_put(stdout, cli_json_str(answer, "agent"), 0);
    printf("%s, learner %s, ", cli_plain(), cli_json_str(answer, "learner"));
    cli_put(stdout, person ? cli_json_str(answer, "user") : "everybody", 0);
    printf(", state ");
    cli_put(stdout, cli_json_str(answer, "state"), 0);
    printf("\n%.0f choices from lists moved the weights\n\n", cli_json_num(answer, "choices"));
    cli_table *t = cli_table_new("feature|>weight|>spread|>own");
    json_array_foreach (json_object_get(answer, "weights"), i, row) {
        cli_table_cell(t, cli_json_str(row, "feature"));
        cli_table_cellf(t, "%.3f", cli_json_num(row, "weight"));
        if (json_is_number(json_object_get(row, "spread")))
            cli_table_cellf(t, "%.3f", cli_json_num(row, "spread"));
        else
            cli_table_cell(t, "");
        cli_table_cellf(t, "%+.3f", cli_json_num(row, "own"));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
    if (!json_array_size(json_object_get(answer, "actions"))) return;
    printf("\n");
    t = cli_table_new("*action|>mean|>variance|>count|nearest");
    json_array_foreach (json_object_get(answer, "actions"), i, row) {
        cli_table_cell(t, cli_json_str(row, "action"));
        cli_table_cellf(t, "%.3f", cli_json_num(row, "mean"));
        cli_table_cellf(t, "%.4f", cli_json_num(row, "variance"));
        cli_table_cellf(t, "%.6g", cli_json_num(row, "count"));
        cli_table_cell(t, cli_json_str(row, "nearest"));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static int show(cli *c) {
    json_t *answer = NULL;
    int rc = cli_words_between(c, 2, 2, "one AGENT");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    char *path = path_of(c->words[1], "/policy");
    char *query = cli_query("user", cli_flag_text(c, "user"), "daypart", cli_flag_text(c, "daypart"), "device",
                            cli_flag_text(c, "device"), "mood", cli_flag_text(c, "mood"), "region",
                            cli_flag_text(c, "in-region"), "taste", cli_flag_text(c, "taste"), NULL);
    cli_request q = {.method = "GET", .path = path, .query = query};
    rc = c->json ? cli_call_print(c, &q) : cli_call_json(c, &q, &answer);
    if (answer) print_shown(answer);
    json_decref(answer);
    free(query);
    free(path);
    return rc;
}

/* ---- export, import ---- */
static int take_out(cli *c, const char *agent, json_t **out) {
    char *path = path_of(agent, "/policy/export"), *query = cli_query("user", cli_flag_text(c, "user"), NULL);
    cli_request q = {.method = "GET", .path = path, .query = query};
    int rc = cli_call_json(c, &q, out);
    free(query);
    free(path);
    return rc;
}

static int export(cli *c) {
    json_t *rows = NULL;
    int rc = cli_words_between(c, 2, 2, "one AGENT");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc == CLI_OK) rc = take_out(c, c->words[1], &rows);
    if (rc == CLI_OK) cli_print_json(rows);
    json_decref(rows);
    return rc;
}

static int read_rows(cli *c, const char *file, json_t **out) {
    int rc = cli_read_json(c, file, POLICY_BYTES_MAX, out);
    if (rc != CLI_OK) return rc;
    if (*cli_json_str(*out, "agent")) return CLI_OK;
    return cli_fail(c, CLI_USAGE, "%s: this is no policy that `braid policy export` took out", file);
}

static int import(cli *c) {
    json_t *rows = NULL, *report = NULL, *state;
    size_t i;
    int rc = cli_words_between(c, 2, 2, "one FILE (or - for the standard input)");
    if (rc == CLI_OK) rc = read_rows(c, c->words[1], &rows);
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc == CLI_OK) {
        char *path = path_of(cli_json_str(rows, "agent"), "/policy/import"), *text = json_dumps(rows, JSON_COMPACT);
        char *query = cli_query("force", cli_flag_on(c, "force") ? "1" : NULL, NULL);
        rc = cli_call_json(
            c,
            &(cli_request){.method = "PUT", .path = path, .query = query, .body = text, .len = text ? strlen(text) : 0},
            &report);
        free(query);
        free(text);
        free(path);
    }
    if (rc == CLI_OK && c->json) {
        cli_print_json(report);
    } else if (rc == CLI_OK) {
        printf("%.0f states put back\n", cli_json_num(report, "written"));
        json_array_foreach (json_object_get(report, "stale"), i, state) {
            printf("left as it is, since more is known here: ");
            cli_put(stdout, json_string_value(state), 0);
            printf("\n");
        }
    }
    json_decref(report);
    json_decref(rows);
    return rc;
}

/* ---- diff ---- */
/* "agent" in the file system or in the database: what ends in .json, or is "-", is a file. */
static int side(cli *c, const char *word, json_t **out) {
    size_t len = strlen(word);
    bool file = strcmp(word, "-") == 0 || (len > 5 && strcmp(word + len - 5, ".json") == 0);
    if (file) return read_rows(c, word, out);
    int rc = cli_target_open(c);
    return rc == CLI_OK ? take_out(c, word, out) : rc;
}

static const json_t *find(const json_t *list, const char *key, const char *value) {
    const json_t *one;
    size_t i;
    json_array_foreach (list, i, one)
        if (strcmp(cli_json_str(one, key), value) == 0) return one;
    return NULL;
}

typedef struct difference {
    cli_table *table;
    json_t *json;
    size_t shown, equal;
} difference;

static void compare(difference *d, const char *state, const json_t *a, const json_t *b) {
    const json_t *known = a ? a : b;
    const char *action = cli_json_str(known, "action");
    double before = a ? cli_json_num(a, "mean") : NAN, after = b ? cli_json_num(b, "mean") : NAN;
    if (strncmp(action, "covariance_", 11) == 0 || strcmp(action, "base") == 0) return; /* not for eyes */
    if (a && b && before == after && cli_json_num(a, "count") == cli_json_num(b, "count")) {
        d->equal++;
        return;
    }
    d->shown++;
    json_array_append_new(d->json,
                          json_pack("{s:s,s:s,s:o,s:o,s:f,s:f}", "state", state, "action", action, "before",
                                    a ? json_real(before) : json_null(), "after", b ? json_real(after) : json_null(),
                                    "count_before", a ? cli_json_num(a, "count") : 0.0, "count_after",
                                    b ? cli_json_num(b, "count") : 0.0));
    cli_table_cell(d->table, *state ? state : "any");
    cli_table_cell(d->table, action);
    if (a)
        cli_table_cellf(d->table, "%.3f", before);
    else
        cli_table_cell(d->table, "");
    if (b)
        cli_table_cellf(d->table, "%.3f", after);
    else
        cli_table_cell(d->table, "");
    if (a && b)
        cli_table_cellf(d->table, "%+.3f", after - before);
    else
        cli_table_cell(d->table, a ? "gone" : "new");
    cli_table_cellf(d->table, "%.6g", a ? cli_json_num(a, "count") : 0.0);
    cli_table_cellf(d->table, "%.6g", b ? cli_json_num(b, "count") : 0.0);
}

static void compare_all(difference *d, const json_t *x, const json_t *y) {
    const json_t *rows[2] = {json_object_get(x, "policies"), json_object_get(y, "policies")}, *row, *action;
    size_t i, k;
    for (int turn = 0; turn < 2; turn++)
        json_array_foreach (rows[turn], i, row) {
            const json_t *other = find(rows[!turn], "state_hash", cli_json_str(row, "state_hash"));
            json_array_foreach (json_object_get(row, "actions"), k, action) {
                const json_t *match = find(json_object_get(other, "actions"), "action", cli_json_str(action, "action"));
                if (turn == 0)
                    compare(d, cli_json_str(row, "state"), action, match);
                else if (!match)
                    compare(d, cli_json_str(row, "state"), NULL, action);
            }
        }
}

static int diff(cli *c) {
    json_t *a = NULL, *b = NULL;
    int rc = cli_words_between(c, 3, 3, "two of AGENT and FILE.json");
    if (rc == CLI_OK) rc = side(c, c->words[1], &a);
    if (rc == CLI_OK) rc = side(c, c->words[2], &b);
    if (rc == CLI_OK) {
        difference d = {cli_table_new("state|*action|>before|>after|>change|>count|>then"), json_array(), 0, 0};
        compare_all(&d, a, b);
        if (c->json)
            cli_print_json(d.json);
        else if (d.shown)
            cli_table_print(d.table, stdout);
        if (!c->json) printf("%zu differ, %zu are the same\n", d.shown, d.equal);
        cli_table_free(d.table);
        json_decref(d.json);
    }
    json_decref(a);
    json_decref(b);
    return rc;
}

static int run(cli *c) {
    static const thing_verb verbs[] = {{"show", show}, {"diff", diff}, {"export", export}, {"import", import}, {0}};
    return thing_run(c, verbs);
}

static const cli_flag flags[] = {
    {"user", "ID", "show, export, diff: of this person; otherwise of everybody"},
    {"daypart", "WORD", "show: in this part of the day (now)"},
    {"device", "WORD", "show: on this device"},
    {"mood", "WORD", "show: in this mood"},
    {"in-region", "CODE", "show: in this region"},
    {"taste", "GENRE", "show: having liked this lately, where taste is a part of states (the person's own)"},
    {"force", NULL, "import: also over what knows more"},
    {0},
};

const cli_command cmd_policy = {
    .name = "policy",
    .summary = "what an agent believes: show it, compare, take it out into a file, put it back",
    .usage = "braid policy show AGENT [--user ID] [--device WORD ...]\n"
             "braid policy diff AGENT|FILE.json AGENT|FILE.json [--user ID]\n"
             "braid policy export AGENT [--user ID]\n"
             "braid policy import FILE.json",
    .about =
        "show prints the weights that rank, with what is the person's own of them, and the posteriors of genres as an\n"
        "answer backs them off: the person in this state, the person, their region, the state, everybody. diff\n"
        "compares two agents, two exports, or now with an export. import never undoes newer learning, unless --force:\n"
        "what knows less than what is stored is named and left out.",
    .examples = "braid policy show default --user ana --device tv\n"
                "braid policy export default --user ana > ana.json && braid policy diff ana.json default --user ana",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
