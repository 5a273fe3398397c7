/* braid eval: how well it recommends, as figures over data that everybody can get (eval.h has the protocols). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "eval.h"

static const char default_rankers[] = "learned,popular,neighbours,ease,thompson";

static const struct {
    const char *name;
    int (*run)(eval *e, json_t *out);
} protocols[] = {{"p1", eval_p1}, {"p2", eval_p2}, {"p3", eval_p3}, {"p4", eval_p4}};
enum { PROTOCOLS = sizeof protocols / sizeof protocols[0] };

typedef struct asked {
    const char *splits, *content, *lines, *keep;
    bool wanted[PROTOCOLS], both;
    char *rankers; /* cut at its commas */
} asked;

/* ---- flags ---- */

static int read_protocols(const cli *c, asked *a, bool validation) {
    const char *text = cli_flag_text(c, "protocol");
    if (!text) text = validation ? "p1,p2,p3" : "p1,p2,p3,p4";
    while (*text) {
        size_t len = strcspn(text, ","), i = 0;
        while (i < PROTOCOLS && (strlen(protocols[i].name) != len || strncmp(protocols[i].name, text, len) != 0)) i++;
        if (i == PROTOCOLS)
            return cli_fail(c, CLI_USAGE, "--protocol: \"%.*s\" is none of p1, p2, p3, p4", (int)(len < 20 ? len : 20),
                            text);
        a->wanted[i] = true;
        text += len + (text[len] == ',');
    }
    if (validation && a->wanted[3])
        return cli_fail(c, CLI_USAGE, "--on validation: p4 is a stream and has no validation part");
    return CLI_OK;
}

static int read_rankers(cli *c, asked *a, eval *e) {
    const char *text = cli_flag_text(c, "rankers");
    a->rankers = cli_copy(text ? text : default_rankers);
    for (char *at = a->rankers; *at;) {
        size_t len = strcspn(at, ",");
        bool last = at[len] == '\0';
        at[len] = '\0';
        if (len == 0 || strspn(at, "abcdefghijklmnopqrstuvwxyz_") != len)
            return cli_fail(c, CLI_USAGE, "--rankers wants names separated by commas, as \"learned,popular\"");
        if (e->ranker_count == EVAL_RANKERS_MAX)
            return cli_fail(c, CLI_USAGE, "--rankers: %d at the most", EVAL_RANKERS_MAX);
        e->rankers[e->ranker_count++] = at;
        at += len + !last;
    }
    return e->ranker_count
               ? CLI_OK
               : cli_fail(c, CLI_USAGE, "--rankers wants names separated by commas, as \"learned,popular\"");
}

static int read_flags(cli *c, asked *a, eval *e) {
    const char *on = cli_flag_text(c, "on");
    int rc = cli_words_between(c, 2, 2, "movielens DIR");
    if (rc != CLI_OK) return rc;
    if (strcmp(c->words[0], "movielens") != 0)
        return cli_fail(c, CLI_USAGE, "%s: this layout is not known; there is \"movielens\"", c->words[0]);
    if (cli_flag_on(c, "db"))
        return cli_fail(c, CLI_USAGE, "--db: eval makes databases of its own; --keep FOLDER keeps them");
    if (on && strcmp(on, "test") != 0 && strcmp(on, "validation") != 0)
        return cli_fail(c, CLI_USAGE, "--on must be test or validation, not \"%.40s\"", on);
    if (strcmp(braid_options_get(c->options, "record.store"), "sqlite") != 0)
        return cli_fail(c, CLI_USAGE, "eval makes files of its own, but the settings keep the records in %s",
                        braid_options_get(c->options, "record.store"));
    e->validation = on && strcmp(on, "validation") == 0;
    a->splits = cli_flag_text(c, "splits");
    a->content = cli_flag_text(c, "content");
    a->lines = cli_flag_text(c, "content-items");
    a->keep = cli_flag_text(c, "keep");
    a->both = cli_flag_on(c, "both");
    if (a->both && !a->content) return cli_fail(c, CLI_USAGE, "--both needs --content: with and without the vectors");
    if (a->content && !a->lines)
        return cli_fail(c, CLI_USAGE, "--content needs --content-items, whose lines say which film each row is");
    if ((rc = read_protocols(c, a, e->validation))) return rc;
    if ((rc = read_rankers(c, a, e))) return rc;
    if ((rc = cli_flag_int(c, "limit-users", 1, 1000000000, &e->users_max))) return rc;
    if ((rc = cli_flag_int(c, "relearn", 1, 1000000000, &e->relearn))) return rc;
    const char *slates = cli_flag_text(c, "slates");
    e->only_uniform = slates && strcmp(slates, "uniform") == 0;
    e->only_popular = slates && strcmp(slates, "popular") == 0;
    if (slates && !e->only_uniform && !e->only_popular)
        return cli_fail(c, CLI_USAGE, "--slates: \"%s\" is neither uniform nor popular", slates);
    return cli_flag_int(c, "events", 1, 1000000000, &e->events_max);
}

/* ---- the folder of the databases ---- */

static int make_folder(const cli *c, const asked *a, char **folder) {
    const char *temporary = getenv("TMPDIR");
    if (a->keep) {
        *folder = cli_copy(a->keep);
        if (mkdir(*folder, 0777) == 0 || errno == EEXIST) return CLI_OK;
    } else {
        *folder = cli_format("%s/braid-eval-XXXXXX", temporary && *temporary ? temporary : "/tmp");
        if (mkdtemp(*folder)) return CLI_OK;
    }
    return cli_fail(c, CLI_FAILED, "%s: %s; name a folder that can be written with %s", *folder, strerror(errno),
                    a->keep ? "--keep" : "TMPDIR");
}

/* ---- running ---- */

static int read_data(cli *c, const asked *a, eval *e) {
    cli_note(c, "reading %s ...", c->words[1]);
    int rc = eval_data_read(c, c->words[1], &e->data);
    if (rc == CLI_OK && a->lines) rc = eval_content_read(c, a->lines, a->content, &e->data);
    if (rc == CLI_OK) eval_data_finish(&e->data);
    for (size_t i = 0; rc == CLI_OK && a->splits && i + 1 < PROTOCOLS; i++)
        if (a->wanted[i]) rc = eval_splits_check(c, &e->data, a->splits, protocols[i].name);
    if (rc == CLI_OK && a->splits && a->wanted[PROTOCOLS - 1]) rc = eval_slates_check(c, &e->data, a->splits);
    return rc;
}

/* The same without the vectors: its rows stand beside those of the results that the protocol gave last. */
static int run_bare(eval *e, const char *name, int (*protocol)(eval *e, json_t *out), json_t *out) {
    json_t *bare = json_array();
    cli_note(e->c, "%s without the vectors ...", name);
    e->bare = true;
    int rc = protocol(e, bare);
    e->bare = false;
    size_t n = json_array_size(bare), first = json_array_size(out) - n;
    for (size_t i = 0; rc == CLI_OK && i < n; i++)
        json_object_set(json_array_get(out, first + i), "without_vectors",
                        json_object_get(json_array_get(bare, i), "rankers"));
    json_decref(bare);
    return rc;
}

static int run_protocols(eval *e, const asked *a, json_t *results) {
    double began = cli_now();
    int rc = CLI_OK;
    size_t shown = 0;
    json_t *out = json_array();
    for (size_t i = 0; rc == CLI_OK && i < PROTOCOLS; i++) {
        if (!a->wanted[i]) continue;
        cli_note(e->c, "%s ...", protocols[i].name);
        rc = protocols[i].run(e, out);
        if (rc == CLI_OK && a->both) rc = run_bare(e, protocols[i].name, protocols[i].run, out);
        for (; rc == CLI_OK && !e->c->json && shown < json_array_size(out); shown++)
            eval_print(json_array_get(out, shown), e->validation ? "validation" : "test");
    }
    json_object_set_new(results, "films", json_integer(e->data.film_count));
    json_object_set_new(results, "people", json_integer(e->data.user_count));
    json_object_set_new(results, "ratings", json_integer((json_int_t)e->data.rating_count));
    json_object_set_new(results, "vectors", json_integer(e->data.dimension));
    json_object_set_new(results, "on", json_string(e->validation ? "validation" : "test"));
    json_object_set_new(results, "protocols", out);
    json_object_set_new(results, "seconds", json_real(cli_now() - began));
    return rc;
}

static int run(cli *c) {
    eval e = {.c = c};
    asked a = {0};
    char *folder = NULL;
    json_t *results = json_object();
    int rc = read_flags(c, &a, &e);
    cli_stop_catch();
    if (rc == CLI_OK) rc = read_data(c, &a, &e);
    if (rc == CLI_OK) rc = make_folder(c, &a, &folder);
    if (rc == CLI_OK) {
        e.folder = folder;
        snprintf(e.dimension, sizeof e.dimension, "%s", braid_options_get(c->options, "vector.dimension"));
        e.keep = a.keep != NULL;
        rc = run_protocols(&e, &a, results);
        if (!e.keep) rmdir(folder);
    }
    if (rc == CLI_OK && c->json) cli_print_json(results);
    json_decref(results);
    eval_data_free(&e.data);
    free(a.rankers);
    free(folder);
    return rc;
}

static const cli_flag flags[] = {
    {"protocol", "LIST", "of p1 (next), p2 (random), p3 (new films), p4 (stream); all of them"},
    {"rankers", "LIST", "what is compared (learned,popular,neighbours,ease,thompson)"},
    {"content", "FILE", "vectors of the films: a matrix of numpy, float16 or float32"},
    {"content-items", "FILE", "lines {\"movieId\":..,\"cast\":[..]}: its rows in order, and people"},
    {"both", NULL, "with --content: without the vectors too, in a column of its own"},
    {"on", "PART", "test, or validation: what settings may be chosen by (test)"},
    {"splits", "FOLDER", "stop unless its p1.csv, p2.csv, p3_items.csv, p4_head_*.csv say the same"},
    {"limit-users", "N", "p1 to p3: ask for the first N people only"},
    {"events", "N", "p4: the first N events only"},
    {"slates", "KIND", "p4: uniform or popular, who the others in a slate are (both, one after the other)"},
    {"relearn", "N", "p4: learn again after every N events (else once, before the first)"},
    {"keep", "FOLDER", "make the databases there and leave them (else: temporary)"},
    {0},
};

const cli_command cmd_eval = {
    .name = "eval",
    .summary = "measure how well it recommends, on MovieLens data",
    .usage = "braid eval movielens DIR [flags]",
    .about =
        "Reads movies.csv, ratings.csv and tags.csv of DIR, holds a part of the ratings back, learns from the rest\n"
        "and asks what each person should watch next: NDCG@10, recall, hits, coverage, mean rank by popularity\n"
        "and novelty of the lists, or reward and MRR of a stream, each a line a ranker, with 95 % intervals over\n"
        "people and the times of learning and asking. Nothing of a database of yours is touched.",
    .examples =
        "braid eval movielens ml-latest-small\n"
        "braid eval movielens ml-latest-small --protocol p1,p2 --content vectors.npy --content-items films.ndjson\n"
        "braid eval movielens ml-latest-small --protocol p4 --events 2000 --rankers learned,popular --json",
    .flags = {flags},
    .need = CLI_NEEDS_FILE,
    .run = run,
};
