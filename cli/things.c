/* The verbs that items and users share. */
#include "things.h"

#include <stdlib.h>
#include <string.h>

enum { THING_BYTES_MAX = 64 << 20 };

static const char *verb_name(const void *ctx, size_t i) {
    return ((const thing_verb *)ctx)[i].name;
}

int thing_run(cli *c, const thing_verb *verbs) {
    char all[128] = "";
    for (const thing_verb *v = verbs; v->name; v++) {
        if (c->word_count && strcmp(v->name, c->words[0]) == 0) return v->run(c);
        if (v != verbs) strncat(all, ", ", sizeof all - strlen(all) - 1);
        strncat(all, v->name, sizeof all - strlen(all) - 1);
    }
    if (!c->word_count) return cli_fail(c, CLI_USAGE, "what to do is missing: %s", all);
    const char *near = cli_nearest(c->words[0], verb_name, verbs);
    return near ? cli_fail(c, CLI_USAGE, "%s: did you mean \"%s\"? There are %s", c->words[0], near, all)
                : cli_fail(c, CLI_USAGE, "%s: there is no such thing to do; there are %s", c->words[0], all);
}

int thing_get(cli *c, const thing_kind *kind, const char *suffix, void (*print)(const json_t *answer)) {
    json_t *answer = NULL;
    int rc = cli_words_between(c, 2, 2, "one ID");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    char *prefix = cli_format("%s/", kind->path), *path = cli_path(prefix, c->words[1], suffix);
    cli_request q = {.method = "GET", .path = path};
    rc = c->json ? cli_call_print(c, &q) : cli_call_json(c, &q, &answer);
    if (answer && print)
        print(answer);
    else if (answer)
        cli_tree_print(stdout, answer, 0);
    json_decref(answer);
    free(path);
    free(prefix);
    return rc;
}

static int say_written(cli *c, const thing_kind *kind, const cli_request *q, const char *id, const char *done) {
    json_t *report;
    int rc = cli_call_json(c, q, &report);
    if (rc == CLI_OK) rc = cli_report_check(c, report);
    if (rc == CLI_OK && c->json)
        cli_print_json(report);
    else if (rc == CLI_OK) {
        printf("%s ", kind->name);
        cli_put(stdout, id, 0);
        printf(" %s\n", done);
    }
    json_decref(report);
    return rc;
}

/* The id is in the file, or is the word before it. */
int thing_put(cli *c, const thing_kind *kind) {
    char *text = NULL;
    size_t len;
    json_error_t where;
    int rc = cli_words_between(c, 2, 3, "[ID] FILE (or - for the standard input)");
    if (rc != CLI_OK) return rc;
    const char *file = c->words[c->word_count - 1];
    if ((rc = cli_read_file(c, file, THING_BYTES_MAX, &text, &len))) return rc;
    json_t *thing = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    free(text);
    if (!json_is_object(thing)) {
        json_decref(thing);
        return thing ? cli_fail(c, CLI_USAGE, "%s: one JSON object is wanted; load many with `braid load`", file)
                     : cli_fail(c, CLI_USAGE, "%s:%d: not valid JSON: %s", file, where.line, where.text);
    }
    const char *inner_key = json_object_size(thing) == 1 ? kind->name : ""; /* the wrapped form is welcome too */
    json_t *inner = json_object_get(thing, inner_key), *body = json_is_object(inner) ? inner : thing;
    const char *id = c->word_count == 3 ? c->words[1] : cli_json_str(body, "id");
    if (!*id) rc = cli_fail(c, CLI_USAGE, "%s: there is no \"id\" in it; put it there or before the file", file);
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc == CLI_OK) {
        char *json = json_dumps(body, JSON_COMPACT), *prefix = cli_format("%s/", kind->path),
             *path = cli_path(prefix, id, "");
        rc = say_written(c, kind,
                         &(cli_request){.method = "PUT", .path = path, .body = json, .len = json ? strlen(json) : 0},
                         id, "stored");
        free(json);
        free(path);
        free(prefix);
    }
    json_decref(thing);
    return rc;
}

int thing_delete(cli *c, const thing_kind *kind) {
    int rc = cli_words_between(c, 2, 2, "one ID");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    char *prefix = cli_format("%s/", kind->path), *path = cli_path(prefix, c->words[1], "");
    rc = say_written(c, kind, &(cli_request){.method = "DELETE", .path = path}, c->words[1], "deleted");
    free(path);
    free(prefix);
    return rc;
}

int thing_list(cli *c, const thing_kind *kind, bool with_q) {
    int64_t limit = 50;
    char limit_text[24];
    json_t *answer = NULL;
    int rc = cli_words_between(c, 1, with_q ? 2 : 1, with_q ? "list [WORDS]" : "list");
    if (rc == CLI_OK) rc = cli_flag_int(c, "limit", 1, 1000, &limit);
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc != CLI_OK) return rc;
    snprintf(limit_text, sizeof limit_text, "%lld", (long long)limit);
    char *query = cli_query("limit", limit_text, "after", cli_flag_text(c, "after"), "q",
                            c->word_count == 2 ? c->words[1] : NULL, NULL);
    cli_request q = {.method = "GET", .path = kind->path, .query = query};
    rc = c->json ? cli_call_print(c, &q) : cli_call_json(c, &q, &answer);
    const json_t *list = json_object_get(answer, kind->list_key), *thing;
    size_t i;
    if (answer && json_array_size(list)) {
        cli_table *t = kind->table();
        json_array_foreach (list, i, thing) kind->row(t, thing);
        cli_table_print(t, stdout);
        cli_table_free(t);
    } else if (answer) {
        printf("no %s\n", kind->list_key);
    }
    if (*cli_json_str(answer, "next")) cli_note(c, "there are more: --after %s", cli_json_str(answer, "next"));
    json_decref(answer);
    free(query);
    return rc;
}
