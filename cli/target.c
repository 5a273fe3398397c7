/* The target: where a request goes. With a file, the database is opened here and the request handed to the table of
 * routes in this process; with a URL the same request goes over HTTP. A command cannot tell the difference, and neither
 * can its tests. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../server/api.h"
#include "cli.h"
#include "client.h"

enum { CALL_MS = 60000 };

struct cli_target {
    braid_db *db;
    client *http;
    char *url;
    unsigned timeout_ms; /* 0: the usual */
};

bool cli_is_remote(const cli *c) {
    return c->target && c->target->http;
}

braid_db *cli_db(const cli *c) {
    return c->target ? c->target->db : NULL;
}

/* ---- opening ---- */

int cli_target_file(cli *c, const char **path) {
    const char *store = braid_options_get(c->options, "record.store");
    *path = strcmp(store, "sqlite") == 0 ? cli_db_path(c) : NULL;
    if (!*path && cli_flag_text(c, "db"))
        return cli_fail(c, CLI_USAGE,
                        "--db names a file, but the settings keep the records in %s: leave one of them out", store);
    if (!*path || c->command->creates || access(*path, F_OK) == 0) return CLI_OK;
    return cli_fail(
        c, CLI_FAILED,
        "%s: there is no such database; make one with `braid load --db %s FILE...`, or name another with --db", *path,
        *path);
}

static int open_here(cli *c) {
    const char *path;
    braid_error err = {0};
    int rc = cli_target_file(c, &path);
    if (rc != CLI_OK) return rc;
    if (!c->command->creates && (rc = braid_options_set(c->options, "record.create", "false", &err)))
        return cli_fail(c, CLI_FAILED, "%s", err.message);
    /* A server's log is its voice; a command speaks for itself. Another level than the usual one was asked for. */
    if (!c->command->settings && strcmp(braid_options_get(c->options, "log.level"), "info") == 0)
        braid_options_set(c->options, "log.level", "error", NULL);
    rc = braid_open(path, c->options, &c->target->db, &err);
    if (rc == BRAID_OK) return CLI_OK;
    bool named = !path || strstr(err.message, path);
    const char *mend = rc == BRAID_E_LOCKED && !strstr(err.message, "--url")
                           ? "; if `braid serve` has it open, ask that with --url URL"
                           : "";
    return cli_fail(c, braid_error_exit_code(rc) == CLI_USAGE ? CLI_USAGE : CLI_FAILED, "%s%s%s%s", named ? "" : path,
                    named ? "" : ": ", err.message, mend);
}

int cli_target_open(cli *c) {
    const char *url = cli_flag_text(c, "url");
    int64_t timeout_s = 0;
    int rc = cli_flag_int(c, "timeout", 1, 86400, &timeout_s);
    if (rc != CLI_OK) return rc;
    c->target = cli_alloc(sizeof *c->target);
    if (!url) return open_here(c);
    c->target->timeout_ms = (unsigned)timeout_s * 1000;
    char why[CLIENT_WHY];
    c->target->url = cli_copy(url);
    c->target->http = client_new(url, why);
    return c->target->http ? CLI_OK : cli_fail(c, CLI_USAGE, "--url %s: %s", url, why);
}

void cli_target_close(cli *c) {
    if (!c->target) return;
    braid_close(c->target->db);
    client_free(c->target->http);
    free(c->target->url);
    free(c->target);
    c->target = NULL;
}

/* ---- calling ---- */

static int call_here(cli *c, const cli_request *q, cli_answer *out) {
    api_request request = {q->method, q->path, q->query ? q->query : "", NULL, q->body, q->len, q->first_line};
    api_response response = {0};
    api_handle(c->target->db, &request, &response);
    out->status = response.status;
    out->len = response.len;
    out->body = cli_alloc(response.len + 1);
    if (response.len) memcpy(out->body, response.body, response.len);
    out->next = response.next ? cli_copy(response.next) : NULL;
    api_response_free(&response);
    return CLI_OK;
}

static int call_there(cli *c, const cli_request *q, cli_answer *out) {
    unsigned usual_ms = q->wait_ms ? q->wait_ms : CALL_MS;
    client_request request = {
        .method = q->method,
        .path = q->path,
        .query = q->query,
        .content_type = q->first_line ? "application/x-ndjson" : "application/json",
        .body = q->body,
        .len = q->len,
        .timeout_ms = c->target->timeout_ms ? c->target->timeout_ms : usual_ms,
    };
    client_answer answer;
    char why[CLIENT_WHY];
    if (!client_call(c->target->http, &request, &answer, why)) {
        bool reached = strncmp(why, "connecting", 10) != 0;
        return cli_fail(c, CLI_FAILED, "%s: %s%s", c->target->url, why,
                        reached ? "" : "; is `braid serve` running there?");
    }
    *out = (cli_answer){answer.status, answer.body, answer.len, answer.next};
    return CLI_OK;
}

/* The exit code of a problem's code: a refusal of what was asked is wrong usage, the rest has failed. */
static int exit_code_of(const char *name) {
    static const int codes[] = {
#define CODE_ROW(row_name, number, http, exit, text) number,
        BRAID_ERROR_MAP(CODE_ROW)
#undef CODE_ROW
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (strcmp(braid_error_name(codes[i]), name) == 0) return braid_error_exit_code(codes[i]);
    return CLI_FAILED;
}

static int say_refusal(const cli *c, const cli_request *q, const cli_answer *a) {
    json_t *problem = json_loadb(a->body, a->len, JSON_DECODE_ANY, NULL);
    const char *detail = cli_json_str(problem, "detail"), *title = cli_json_str(problem, "title");
    int rc = exit_code_of(cli_json_str(problem, "code"));
    if (*detail || *title)
        rc = cli_fail(c, rc, "%s", *detail ? detail : title);
    else
        rc = cli_fail(c, CLI_FAILED,
                      "%s %s was answered with status %d and no explanation; is a Braid server at that address?",
                      q->method, q->path, a->status);
    json_decref(problem);
    return rc;
}

int cli_call(cli *c, const cli_request *q, cli_answer *out) {
    *out = (cli_answer){0};
    int rc = c->target->http ? call_there(c, q, out) : call_here(c, q, out);
    if (rc == CLI_OK && (out->status < 200 || out->status > 299)) rc = say_refusal(c, q, out);
    if (rc != CLI_OK) cli_answer_free(out);
    return rc;
}

int cli_call_json(cli *c, const cli_request *q, json_t **out) {
    cli_answer a;
    json_error_t where;
    *out = NULL;
    int rc = cli_call(c, q, &a);
    if (rc != CLI_OK) return rc;
    *out = json_loadb(a.body, a.len, JSON_DECODE_ANY, &where);
    if (!*out) rc = cli_fail(c, CLI_FAILED, "%s %s: the answer is not JSON (%s)", q->method, q->path, where.text);
    cli_answer_free(&a);
    return rc;
}

int cli_report_check(const cli *c, const json_t *report) {
    const json_t *first = json_array_get(json_object_get(report, "rejected"), 0);
    return first ? cli_fail(c, exit_code_of(cli_json_str(first, "code")), "%s", cli_json_str(first, "error")) : CLI_OK;
}

void cli_answer_free(cli_answer *a) {
    free(a->body);
    free(a->next);
    *a = (cli_answer){0};
}

int cli_call_print(cli *c, const cli_request *q) {
    cli_answer a;
    int rc = cli_call(c, q, &a);
    if (rc != CLI_OK) return rc;
    fwrite(a.body, 1, a.len, stdout);
    if (a.len == 0 || a.body[a.len - 1] != '\n') putchar('\n');
    cli_answer_free(&a);
    return CLI_OK;
}

/* ---- page by page ---- */

static int each_page(cli *c, const char *path, const char *key, cli_each_json *each, void *ctx) {
    char *after = NULL;
    int rc = CLI_OK;
    bool going = true;
    while (going && rc == CLI_OK) {
        char *query = cli_query("limit", "1000", "after", after, NULL);
        json_t *page = NULL, *element;
        size_t i;
        rc = cli_call_json(c, &(cli_request){.method = "GET", .path = path, .query = query}, &page);
        json_array_foreach (json_object_get(page, key), i, element) {
            if (going) going = each(ctx, element);
        }
        const char *next = cli_json_str(page, "next");
        free(after);
        after = cli_copy(next);
        if (!*next) going = false;
        json_decref(page);
        free(query);
    }
    free(after);
    return rc;
}

int cli_each_item(cli *c, cli_each_json *each, void *ctx) {
    return each_page(c, "/v1/items", "items", each, ctx);
}

int cli_each_user(cli *c, cli_each_json *each, void *ctx) {
    return each_page(c, "/v1/users", "users", each, ctx);
}
