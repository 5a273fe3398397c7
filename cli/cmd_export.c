/* braid export: the whole database as NDJSON, page by page. Into a file it is written beside it and renamed at the end,
 * so that the name never holds half. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { EXPORT_PAGE_LINES = 5000 };

static uint64_t count_lines(const char *text, size_t len) {
    uint64_t lines = 0;
    for (const char *at = text; (at = memchr(at, '\n', len - (size_t)(at - text))); at++) lines++;
    return lines;
}

static int export_to(cli *c, FILE *out, uint64_t *lines) {
    cli_progress progress;
    char *cursor = NULL, limit[24];
    int rc = CLI_OK;
    bool more = true;
    snprintf(limit, sizeof limit, "%d", EXPORT_PAGE_LINES);
    cli_progress_begin(&progress, c, "exporting", "lines", 0);
    while (more && rc == CLI_OK) {
        char *query = cli_query("limit", limit, "cursor", cursor, NULL);
        cli_answer page;
        rc = cli_call(c, &(cli_request){.method = "GET", .path = "/v1/export", .query = query}, &page);
        free(query);
        free(cursor);
        cursor = NULL;
        if (rc != CLI_OK) break;
        *lines += count_lines(page.body, page.len);
        cli_progress_to(&progress, 0, *lines);
        bool written = fwrite(page.body, 1, page.len, out) == page.len;
        cursor = page.next ? cli_copy(page.next) : NULL;
        more = cursor != NULL;
        cli_answer_free(&page);
        if (!written && errno == EPIPE)
            rc = CLI_FAILED; /* the reader had enough */
        else if (!written)
            rc = cli_fail(c, CLI_FAILED, "writing: %s", strerror(errno));
        if (cli_stop_asked() && rc == CLI_OK)
            rc = cli_fail(c, CLI_FAILED, "stopped after %llu lines", (unsigned long long)*lines);
    }
    cli_progress_end(&progress);
    free(cursor);
    return rc;
}

static int export_file(cli *c, const char *path, uint64_t *lines) {
    char *beside = cli_format("%s.part-%ld", path, (long)getpid());
    FILE *out = fopen(beside, "wbx");
    int rc = out ? CLI_OK : cli_fail(c, CLI_FAILED, "%s: %s", beside, strerror(errno));
    if (out) {
        rc = export_to(c, out, lines);
        bool safe = fflush(out) == 0 && fsync(fileno(out)) == 0;
        safe = fclose(out) == 0 && safe;
        if (rc == CLI_OK && !safe) rc = cli_fail(c, CLI_FAILED, "%s: %s", beside, strerror(errno));
        if (rc == CLI_OK && rename(beside, path)) rc = cli_fail(c, CLI_FAILED, "%s: %s", path, strerror(errno));
        if (rc != CLI_OK) unlink(beside);
    }
    free(beside);
    return rc;
}

static int run(cli *c) {
    int rc = cli_words_between(c, 0, 1, "at most one FILE");
    if (rc) return rc;
    cli_stop_catch();
    if ((rc = cli_target_open(c))) return rc;
    const char *path = c->word_count ? c->words[0] : "-";
    uint64_t lines = 0;
    if (strcmp(path, "-") == 0) return export_to(c, stdout, &lines);
    rc = export_file(c, path, &lines);
    if (rc != CLI_OK) return rc;
    char number[CLI_SHORT];
    if (c->json) {
        json_t *sum = json_pack("{s:s, s:I}", "file", path, "lines", (json_int_t)lines);
        cli_print_json(sum);
        json_decref(sum);
    } else {
        printf("%s lines written to %s\n", cli_count_text(number, lines), path);
    }
    return CLI_OK;
}

const cli_command cmd_export = {
    .name = "export",
    .summary = "write the whole database as NDJSON that `braid load` takes back",
    .usage = "braid export [flags] [FILE]",
    .about = "Writes users, items, relations and interactions, one wrapped object a line, to FILE or the\n"
             "standard output. FILE appears under its name only when it is complete. Together with `braid\n"
             "load` this copies a database, also to another vector dimension.",
    .examples = "braid export --db films.db films.ndjson\n"
                "braid export --url http://127.0.0.1:8080 | gzip > films.ndjson.gz",
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
