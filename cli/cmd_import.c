/* braid import: other people's layouts. MovieLens is the one there is. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "movielens.h"

static int run(cli *c) {
    int rc = cli_words_between(c, 2, 2, "movielens DIR");
    if (rc) return rc;
    if (strcmp(c->words[0], "movielens") != 0)
        return cli_fail(c, CLI_USAGE, "%s: this layout is not known; there is \"movielens\"", c->words[0]);
    char *movies = cli_format("%s/movies.csv", c->words[1]);
    if (access(movies, R_OK) != 0)
        rc =
            cli_fail(c, CLI_FAILED, "%s cannot be read; give the folder that holds movies.csv and ratings.csv", movies);
    free(movies);
    cli_stop_catch();
    if (rc == CLI_OK) rc = cli_target_open(c);
    return rc ? rc : movielens_import(c, c->words[1]);
}

const cli_command cmd_import = {
    .name = "import",
    .summary = "read the MovieLens CSV layout",
    .usage = "braid import movielens DIR [flags]",
    .about = "Reads movies.csv, tags.csv, links.csv and ratings.csv from DIR. A film becomes the item\n"
             "ml-<movieId> (title, year, genres, tags as themes, links as attributes), a rating an interaction\n"
             "of the user ml-user-<userId>. Importing twice changes nothing. Bad rows are named by FILE:LINE\n"
             "and left out; exit 1 if there were any.",
    .examples = "braid import movielens ml-latest-small --db movies.db\n"
                "braid import movielens ml-25m --url http://127.0.0.1:8080 --quiet",
    .need = CLI_NEEDS_TARGET,
    .creates = true,
    .run = run,
};
