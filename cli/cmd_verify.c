/* braid verify: every derived store against the record store; with --deep also the record store against itself.
 *
 * The comparison of the stores runs where the database is. --deep reads the whole export page by page and checks what
 * only the whole shows: every line is JSON, no id comes twice, every relation joins two items that exist, every
 * interaction names an item that exists. (Its person need not be stored: a history may come before a profile.) */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { VERIFY_MS = 600000, EXAMPLES_MAX = 10, DEEP_PAGE_LINES = 5000 };

typedef struct deep {
    json_t *items, *users; /* sets of ids */
    json_t *findings;
    uint64_t lines, wrong;
    uint64_t relations, interactions;
} deep;

static void find(deep *d, const char *what, const char *which) {
    d->wrong++;
    if (json_array_size(d->findings) < EXAMPLES_MAX)
        json_array_append_new(d->findings, json_pack("{s:s, s:s}", "what", what, "which", which));
}

static void once(deep *d, json_t *set, const json_t *thing, const char *what) {
    const char *id = cli_json_str(thing, "id");
    if (json_object_get(set, id)) find(d, what, id);
    json_object_set_new(set, id, json_true());
}

static void named(deep *d, const json_t *thing, const char *key, const char *what) {
    const char *id = cli_json_str(thing, key);
    if (!json_object_get(d->items, id)) find(d, what, id);
}

/* Pages come as users, items, relations, interactions: what is named was read before. */
static void check_line(deep *d, const char *line, size_t len) {
    json_t *json = json_loadb(line, len, 0, NULL), *thing;
    d->lines++;
    if (!json) find(d, "a line of the export is not JSON", "");
    if ((thing = json_object_get(json, "item"))) once(d, d->items, thing, "an item comes twice");
    if ((thing = json_object_get(json, "user"))) once(d, d->users, thing, "a user comes twice");
    if ((thing = json_object_get(json, "relation"))) {
        d->relations++;
        named(d, thing, "from", "a relation begins at an item that does not exist");
        named(d, thing, "to", "a relation ends at an item that does not exist");
    }
    if ((thing = json_object_get(json, "interaction"))) {
        d->interactions++;
        named(d, thing, "item", "an interaction names an item that does not exist");
    }
    json_decref(json);
}

static int read_export(cli *c, deep *d) {
    char *cursor = NULL, limit[24];
    int rc = CLI_OK;
    cli_progress progress;
    snprintf(limit, sizeof limit, "%d", DEEP_PAGE_LINES);
    cli_progress_begin(&progress, c, "reading all", "lines", 0);
    do {
        char *query = cli_query("limit", limit, "cursor", cursor, NULL);
        cli_answer page;
        rc = cli_call(c, &(cli_request){.method = "GET", .path = "/v1/export", .query = query}, &page);
        free(query);
        free(cursor);
        cursor = NULL;
        if (rc != CLI_OK) break;
        for (char *at = page.body, *end = page.body + page.len; at < end;) {
            char *stop = memchr(at, '\n', (size_t)(end - at));
            size_t len = stop ? (size_t)(stop - at) : (size_t)(end - at);
            if (len) check_line(d, at, len);
            at += len + 1;
        }
        cli_progress_to(&progress, 0, d->lines);
        cursor = page.next ? cli_copy(page.next) : NULL;
        cli_answer_free(&page);
    } while (cursor);
    cli_progress_end(&progress);
    return rc;
}

static int read_deep(cli *c, json_t *answer, bool *good) {
    deep d = {.items = json_object(), .users = json_object(), .findings = json_array()};
    int rc = read_export(c, &d);
    *good = *good && d.wrong == 0;
    if (rc == CLI_OK)
        json_object_set_new(answer, "deep",
                            json_pack("{s:b, s:I, s:i, s:i, s:I, s:I, s:I, s:O}", "ok", d.wrong == 0, "lines",
                                      (json_int_t)d.lines, "users", (int)json_object_size(d.users), "items",
                                      (int)json_object_size(d.items), "relations", (json_int_t)d.relations,
                                      "interactions", (json_int_t)d.interactions, "wrong", (json_int_t)d.wrong,
                                      "examples", d.findings));
    json_decref(d.items);
    json_decref(d.users);
    json_decref(d.findings);
    return rc;
}

static void print_verdict(const json_t *answer, bool good) {
    const json_t *stores = json_object_get(answer, "stores"), *store, *deep_part = json_object_get(answer, "deep"),
                 *one;
    size_t i;
    char lines[CLI_SHORT];
    char *record = cli_json_text(json_object_get(json_object_get(answer, "record"), "integrity"));
    printf("record store: %s\n", record);
    free(record);
    cli_table *t = cli_table_new("role|store|>missing|>extra|>different|>repaired|*examples");
    json_array_foreach (stores, i, store) {
        static const char *const counts[] = {"missing", "extra", "different", "repaired"};
        const json_t *first = json_array_get(json_object_get(store, "examples"), 0);
        char *example = cli_json_text(first);
        cli_table_cell(t, cli_json_str(store, "role"));
        cli_table_cell(t, cli_json_str(store, "store"));
        for (size_t n = 0; n < 4; n++) cli_table_cellf(t, "%.0f", cli_json_num(store, counts[n]));
        cli_table_cell(t, example);
        free(example);
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
    if (deep_part)
        printf("whole export: %s lines, %.0f wrong\n",
               cli_count_text(lines, (uint64_t)cli_json_num(deep_part, "lines")), cli_json_num(deep_part, "wrong"));
    json_array_foreach (json_object_get(deep_part, "examples"), i, one) {
        printf("  %s: ", cli_json_str(one, "what"));
        cli_put(stdout, cli_json_str(one, "which"), 0);
        putchar('\n');
    }
    printf("%s%s%s\n", good ? cli_green() : cli_red(), good ? "every store agrees" : "the stores do not agree",
           cli_plain());
}

static int run(cli *c) {
    json_t *answer;
    int rc = cli_words_between(c, 0, 0, "no further word");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    cli_request q = {.method = "POST",
                     .path = "/v1/verify",
                     .query = cli_flag_on(c, "repair") ? "repair=1" : "repair=0",
                     .wait_ms = VERIFY_MS};
    if ((rc = cli_call_json(c, &q, &answer))) return rc;
    bool good = json_is_true(json_object_get(answer, "ok"));
    if (cli_flag_on(c, "deep")) rc = read_deep(c, answer, &good);
    if (rc == CLI_OK && c->json)
        cli_print_json(answer);
    else if (rc == CLI_OK)
        print_verdict(answer, good);
    if (rc == CLI_OK && !good) {
        rc = CLI_FAILED;
        if (!cli_flag_on(c, "repair")) cli_note(c, "`braid verify --repair` feeds again what differs");
    }
    json_decref(answer);
    return rc;
}

static const cli_flag flags[] = {
    {"repair", NULL, "feed again what differs"},
    {"deep", NULL, "also read everything and check that it hangs together"},
    {0},
};

const cli_command cmd_verify = {
    .name = "verify",
    .summary = "compare every store with the record store, and repair",
    .usage = "braid verify [--repair] [--deep] [flags]",
    .about = "Compares what the catalogue, the vector index and the graph hold with the record store, by key\n"
             "and content. Without --repair nothing is changed. Exit 0 if all agree, else 1.",
    .examples = "braid verify --db films.db --deep\n"
                "braid verify --url http://127.0.0.1:8080 --repair --json",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
