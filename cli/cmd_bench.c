/* braid bench: how fast this database answers on this machine, in process, without a network.
 *
 * Each query is what a caller pays: parse, run, free; the result cache is off. Items and people are drawn at random
 * from the database itself, by a fixed seed. (bench/ holds the benchmarks behind the documents' numbers; this one is
 * for your own data.) */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { USERS_MAX = 10000, ITEMS_MAX = 100000, K = 10 };

typedef enum workload { SEARCH_TEXT, SEARCH_LIKE, RECOMMEND, WORKLOADS } workload;
static const char *const workload_names[WORKLOADS] = {"search, words", "search, like", "recommend"};

typedef struct names {
    char **ids, **titles;
    size_t count, cap, max;
} names;

typedef struct worker {
    braid_db *db;
    const names *items, *users;
    workload what;
    uint64_t state;
    size_t queries, failed, degraded;
    double *took_us;
    char why[256];
} worker;

static bool add_name(void *ctx, const json_t *thing) {
    names *n = ctx;
    if (n->count == n->cap) {
        n->cap = n->cap ? n->cap * 2 : 512;
        n->ids = cli_grow(n->ids, n->cap * sizeof *n->ids);
        n->titles = cli_grow(n->titles, n->cap * sizeof *n->titles);
    }
    n->ids[n->count] = cli_copy(cli_json_str(thing, "id"));
    n->titles[n->count++] = cli_copy(cli_json_str(thing, "title"));
    return n->count < n->max && !cli_stop_asked();
}

static void free_names(names *n) {
    for (size_t i = 0; i < n->count; i++) {
        free(n->ids[i]);
        free(n->titles[i]);
    }
    free(n->ids);
    free(n->titles);
}

static size_t draw(worker *w, size_t n) { /* splitmix64 */
    uint64_t z = w->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (size_t)((z ^ (z >> 31)) % n);
}

static char *question(worker *w) {
    size_t i = draw(w, w->items->count);
    json_t *q = json_pack("{s:i, s:b}", "k", K, "cache", 0);
    if (w->what == SEARCH_TEXT)
        json_object_set_new(q, "text", json_string(w->items->titles[i]));
    else if (w->what == SEARCH_LIKE)
        json_object_set_new(q, "like", json_string(w->items->ids[i]));
    else
        json_object_set_new(q, "user",
                            json_string(w->users->count ? w->users->ids[draw(w, w->users->count)] : "someone"));
    char *text = json_dumps(q, JSON_COMPACT);
    json_decref(q);
    return text;
}

static void *work(void *ctx) {
    worker *w = ctx;
    for (size_t i = 0; i < w->queries && !cli_stop_asked(); i++) {
        braid_query *q = NULL;
        braid_result *r = NULL;
        braid_error err = {0};
        char *text = question(w);
        double began = cli_now();
        int rc = braid_query_new(w->db, w->what == RECOMMEND ? BRAID_RECOMMEND : BRAID_SEARCH, text, 0, &q, &err);
        if (rc == BRAID_OK) rc = braid_run(w->db, q, &r, &err);
        if (rc == BRAID_OK && *braid_result_degraded(r)) w->degraded++;
        braid_result_free(r);
        braid_query_free(q);
        w->took_us[i] = (cli_now() - began) * 1e6;
        if (rc != BRAID_OK && w->failed++ == 0) snprintf(w->why, sizeof w->why, "%s", err.message);
        free(text);
    }
    return NULL;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double at_share(const double *sorted, size_t n, double share) {
    size_t i = (size_t)(share * (double)n);
    return sorted[i < n ? i : n - 1];
}

/* Runs one workload on all threads; the row is its figures. */
static json_t *measure(cli *c, workload what, const names *items, const names *users, size_t queries, size_t threads) {
    worker *workers = cli_alloc(threads * sizeof *workers);
    pthread_t *ids = cli_alloc(threads * sizeof *ids);
    size_t each = (queries + threads - 1) / threads, all = each * threads, failed = 0, degraded = 0, started = 0;
    double *took = cli_alloc(all * sizeof *took), began = cli_now();
    for (; started < threads; started++) {
        workers[started] = (worker){.db = cli_db(c),
                                    .items = items,
                                    .users = users,
                                    .what = what,
                                    .state = 20261121 + started * 7919 + (uint64_t)what,
                                    .queries = each,
                                    .took_us = took + started * each};
        if (pthread_create(&ids[started], NULL, work, &workers[started])) break;
    }
    for (size_t t = 0; t < started; t++) {
        pthread_join(ids[t], NULL);
        failed += workers[t].failed;
        degraded += workers[t].degraded;
        if (workers[t].why[0]) cli_note(c, "braid: %s: %s", workload_names[what], workers[t].why);
    }
    double seconds = cli_now() - began;
    all = each * started;
    qsort(took, all, sizeof *took, ascending);
    json_t *row = json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:I, s:I}", "what", workload_names[what], "queries",
                            (json_int_t)all, "p50_us", all ? at_share(took, all, 0.5) : 0.0, "p99_us",
                            all ? at_share(took, all, 0.99) : 0.0, "max_us", all ? took[all - 1] : 0.0, "qps",
                            (double)all / seconds, "failed", (json_int_t)failed, "degraded", (json_int_t)degraded);
    free(took);
    free(ids);
    free(workers);
    return row;
}

static void print_rows(const json_t *rows, size_t items, size_t threads) {
    char text[CLI_SHORT];
    size_t i;
    const json_t *row;
    printf("%s items, k %d, %zu thread%s, cache off\n", cli_count_text(text, items), K, threads,
           threads == 1 ? "" : "s");
    cli_table *t = cli_table_new("what|>queries|>p50|>p99|>slowest|>a second|>failed|>degraded");
    json_array_foreach (rows, i, row) {
        cli_table_cell(t, cli_json_str(row, "what"));
        cli_table_cell(t, cli_count_text(text, (uint64_t)cli_json_num(row, "queries")));
        cli_table_cell(t, cli_us_text(text, cli_json_num(row, "p50_us")));
        cli_table_cell(t, cli_us_text(text, cli_json_num(row, "p99_us")));
        cli_table_cell(t, cli_us_text(text, cli_json_num(row, "max_us")));
        cli_table_cell(t, cli_count_text(text, (uint64_t)cli_json_num(row, "qps")));
        cli_table_cellf(t, "%.0f", cli_json_num(row, "failed"));
        cli_table_cellf(t, "%.0f", cli_json_num(row, "degraded"));
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static int run_all(cli *c, const names *items, const names *users, size_t queries, size_t threads) {
    json_t *rows = json_array(), *row;
    size_t i;
    int rc = CLI_OK;
    for (int what = 0; what < WORKLOADS && !cli_stop_asked(); what++) {
        cli_note(c, "%s ...", workload_names[what]);
        json_array_append_new(rows, measure(c, (workload)what, items, users, queries, threads));
    }
    if (cli_stop_asked())
        rc = cli_fail(c, CLI_FAILED, "stopped; what was measured until then is not shown");
    else if (c->json) {
        json_t *all = json_pack("{s:I, s:I, s:I, s:i, s:O}", "items", (json_int_t)items->count, "users",
                                (json_int_t)users->count, "threads", (json_int_t)threads, "k", K, "rows", rows);
        cli_print_json(all);
        json_decref(all);
    } else {
        print_rows(rows, items->count, threads);
    }
    json_array_foreach (rows, i, row) {
        if (cli_json_num(row, "failed") > 0) rc = CLI_FAILED;
    }
    json_decref(rows);
    return rc;
}

static int run(cli *c) {
    int64_t queries = 2000, threads = 1;
    names items = {.max = ITEMS_MAX}, users = {.max = USERS_MAX};
    int rc = cli_words_between(c, 0, 0, "no further word");
    if (rc == CLI_OK) rc = cli_flag_int(c, "queries", 1, 10000000, &queries);
    if (rc == CLI_OK) rc = cli_flag_int(c, "threads", 1, 256, &threads);
    cli_stop_catch();
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc == CLI_OK) rc = cli_each_item(c, add_name, &items);
    if (rc == CLI_OK) rc = cli_each_user(c, add_name, &users);
    if (rc == CLI_OK && items.count == 0)
        rc = cli_fail(c, CLI_FAILED, "the database holds no items; load a catalogue first: braid load FILE...");
    if (rc == CLI_OK) rc = run_all(c, &items, &users, (size_t)queries, (size_t)threads);
    free_names(&items);
    free_names(&users);
    return rc;
}

static const cli_flag flags[] = {
    {"queries", "N", "queries of each kind (2000)"},
    {"threads", "N", "threads that ask at once (1)"},
    {0},
};

const cli_command cmd_bench = {
    .name = "bench",
    .summary = "measure how fast this database answers on this machine",
    .usage = "braid bench [flags]",
    .about = "Asks for random titles, items and people of the database, in process, with the result cache off,\n"
             "and prints the median, the 99th percentile, the slowest and the queries a second. Changes\n"
             "nothing.",
    .examples = "braid bench --db films.db\n"
                "braid bench --db films.db --queries 20000 --threads 4 --json",
    .flags = {flags},
    .need = CLI_NEEDS_FILE,
    .run = run,
};
