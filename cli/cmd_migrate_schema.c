/* braid migrate-schema: makes the record store's tables, or brings them up to date, and says what it did. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void print_steps(const json_t *answer) {
    const json_t *steps = json_object_get(answer, "steps"), *step;
    size_t i;
    printf("%s at ", cli_json_str(answer, "store"));
    cli_put(stdout, cli_json_str(answer, "where"), 0);
    printf(": schema %d, ", (int)cli_json_num(answer, "schema"));
    if (json_array_size(steps) == 0)
        puts("up to date");
    else
        printf("%zu step%s made\n", json_array_size(steps), json_array_size(steps) == 1 ? "" : "s");
    json_array_foreach (steps, i, step)
        printf("  %3d  %s\n", (int)cli_json_num(step, "step"), cli_json_str(step, "name"));
}

static int run(cli *c) {
    char *text = NULL;
    const char *path = NULL;
    braid_error err = {0};
    int rc = cli_words_between(c, 0, 0, "no further word");
    if (rc == CLI_OK) rc = cli_target_file(c, &path);
    if (rc != CLI_OK) return rc;
    rc = braid_migrate_schema(path, c->options, &text, &err);
    if (rc != BRAID_OK)
        return cli_fail(c, braid_error_exit_code(rc) == CLI_USAGE ? CLI_USAGE : CLI_FAILED, "%s", err.message);
    json_t *answer = json_loads(text, 0, NULL);
    if (c->json)
        puts(text);
    else
        print_steps(answer);
    json_decref(answer);
    braid_free(text);
    return CLI_OK;
}

const cli_command cmd_migrate_schema = {
    .name = "migrate-schema",
    .summary = "make the tables of the record store, or bring them up to date",
    .usage = "braid migrate-schema [flags]",
    .about = "Opens the record store alone: the file, or the server that the settings name (record.store). Makes\n"
             "its tables, or runs the steps that an older version lacks, and prints them. What is there stays.\n"
             "Opening a database does the same by itself; this is for doing it beforehand. A schema newer than\n"
             "this program is refused and left alone. Running it twice changes nothing.",
    .examples = "braid migrate-schema --db films.db\n"
                "braid migrate-schema --record-store postgres --postgres-address 127.0.0.1:5432 --json",
    .need = CLI_NEEDS_FILE,
    .creates = true,
    .run = run,
};
