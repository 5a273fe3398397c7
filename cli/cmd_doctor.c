/* braid doctor: what was measured, what is wrong with it, and what to do. Exit 1 if anything failed. */
#include "cli.h"

#include <string.h>

static void print_findings(const json_t *answer) {
    size_t i;
    const json_t *finding;
    json_array_foreach (json_object_get(answer, "findings"), i, finding) {
        const char *level = cli_json_str(finding, "level"), *mend = cli_json_str(finding, "mend"),
                   *measured = cli_json_str(finding, "measured");
        printf("%s%-4s%s  ", cli_level_colour(level), level, cli_plain());
        cli_put(stdout, cli_json_str(finding, "what"), 0);
        if (*measured) printf(": ");
        cli_put(stdout, measured, 0);
        putchar('\n');
        if (*mend) {
            fputs("      to mend it: ", stdout);
            cli_put(stdout, mend, 0);
            putchar('\n');
        }
    }
}

static int run(cli *c) {
    json_t *answer;
    size_t i;
    const json_t *finding;
    int rc = cli_words_between(c, 0, 0, "no further word");
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc == CLI_OK) rc = cli_call_json(c, &(cli_request){.method = "GET", .path = "/v1/doctor"}, &answer);
    if (rc != CLI_OK) return rc;
    if (c->json)
        cli_print_json(answer);
    else
        print_findings(answer);
    json_array_foreach (json_object_get(answer, "findings"), i, finding) {
        if (strcmp(cli_json_str(finding, "level"), "fail") == 0) rc = CLI_FAILED;
    }
    json_decref(answer);
    return rc;
}

const cli_command cmd_doctor = {
    .name = "doctor",
    .summary = "measure, and say in a sentence what is wrong and how to mend it",
    .usage = "braid doctor [flags]",
    .about = "Checks the lag of the feeds, a sample of the vector index against the exact answer, the disk and\n"
             "more. Changes nothing. Exit 0 if nothing failed (warnings are no failure), else 1.",
    .examples = "braid doctor --db films.db\n"
                "braid doctor --url http://127.0.0.1:8080 --json",
    .need = CLI_NEEDS_TARGET,
    .run = run,
};
