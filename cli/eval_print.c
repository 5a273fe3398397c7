/* The results as tables: one a protocol, as soon as it is known; a line a ranker. */
#include <stdlib.h>
#include <string.h>

#include "eval.h"

static void cell_figure(cli_table *t, const json_t *row, const char *name) {
    if (json_object_get(row, name))
        cli_table_cellf(t, "%.4f", cli_json_num(row, name));
    else
        cli_table_cell(t, "-");
}

/* "0.125 to 0.154", or how far folds lie apart. */
static void cell_spread(cli_table *t, const json_t *row, const char *name) {
    char key[48];
    snprintf(key, sizeof key, "%s_95", name);
    const json_t *interval = json_object_get(row, key);
    snprintf(key, sizeof key, "%s_sd", name);
    if (interval)
        cli_table_cellf(t, "%.4f to %.4f", json_number_value(json_array_get(interval, 0)),
                        json_number_value(json_array_get(interval, 1)));
    else if (json_object_get(row, key))
        cli_table_cellf(t, "± %.4f", cli_json_num(row, key));
    else
        cli_table_cell(t, "-");
}

static void cell_us(cli_table *t, const json_t *row, const char *name) {
    char text[CLI_SHORT];
    cli_table_cell(t, cli_us_text(text, cli_json_num(row, name)));
}

static void print_lists(const json_t *rows, const json_t *bare, bool folds) {
    char *columns = cli_format("ranker|>NDCG@10|%s%s|>recall|>hit|>coverage|>pop. rank|>novelty|>p50|>p99",
                               folds ? "folds" : "95 %", bare ? "|>no vectors" : "");
    cli_table *t = cli_table_new(columns);
    const json_t *row;
    size_t i;
    json_array_foreach (rows, i, row) {
        cli_table_cell(t, cli_json_str(row, "ranker"));
        cell_figure(t, row, "ndcg");
        cell_spread(t, row, "ndcg");
        if (bare) cell_figure(t, json_array_get(bare, i), "ndcg");
        cell_figure(t, row, "recall");
        cell_figure(t, row, "hit");
        cell_figure(t, row, "coverage");
        if (json_object_get(row, "popularity_rank")) {
            cli_table_cellf(t, "%.0f", cli_json_num(row, "popularity_rank"));
            cli_table_cellf(t, "%.2f", cli_json_num(row, "novelty_bits"));
        } else {
            cli_table_cell(t, "-");
            cli_table_cell(t, "-");
        }
        cell_us(t, row, "ask_p50_us");
        cell_us(t, row, "ask_p99_us");
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
    free(columns);
}

static void print_stream(const json_t *rows, const json_t *bare) {
    static const char *const figures[] = {"reward_rated_before", "mrr_liked", "hit1_liked", "reward_first_5000",
                                          "reward_last_10000"};
    char *columns = cli_format("ranker|>reward|95 %%%s|>rated before|>MRR|>hit@1|>first 5k|>last 10k|>p50|>p99",
                               bare ? "|>no vectors" : "");
    cli_table *t = cli_table_new(columns);
    const json_t *row;
    size_t i;
    json_array_foreach (rows, i, row) {
        cli_table_cell(t, cli_json_str(row, "ranker"));
        cell_figure(t, row, "reward");
        cell_spread(t, row, "reward");
        if (bare) cell_figure(t, json_array_get(bare, i), "reward");
        for (size_t f = 0; f < sizeof figures / sizeof figures[0]; f++) cell_figure(t, row, figures[f]);
        cell_us(t, row, "ask_p50_us");
        cell_us(t, row, "ask_p99_us");
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
    free(columns);
}

/* What makes a figure doubtful is said under it. */
static void print_doubts(const json_t *rows) {
    static const struct {
        const char *key, *text;
    } doubts[] = {{"short", "answers were shorter than asked for"},
                  {"seen", "results had been rated already"},
                  {"degraded", "answers came without one of the stores"}};
    const json_t *row;
    size_t i;
    char number[CLI_SHORT];
    json_array_foreach (rows, i, row) {
        for (size_t d = 0; d < sizeof doubts / sizeof doubts[0]; d++)
            if (cli_json_num(row, doubts[d].key) > 0)
                printf("%s%s: %s %s%s\n", cli_yellow(), cli_json_str(row, "ranker"),
                       cli_count_text(number, (uint64_t)cli_json_num(row, doubts[d].key)), doubts[d].text, cli_plain());
    }
}

void eval_print(const json_t *p, const char *on) {
    char a[CLI_SHORT], b[CLI_SHORT], c[CLI_SHORT];
    const json_t *rows = json_object_get(p, "rankers"), *folds = json_object_get(p, "folds"),
                 *bare = json_object_get(p, "without_vectors");
    const char *negatives = cli_json_str(p, "negatives");
    bool stream = *negatives != '\0';
    printf("%s%s%s, ", cli_bold(), cli_json_str(p, "protocol"), cli_plain());
    if (json_array_size(folds) > 1) printf("means of %zu folds, of the first: ", json_array_size(folds));
    if (stream)
        printf("%s negatives: %s events of %s people, %s of them likes", negatives,
               cli_count_text(a, (uint64_t)cli_json_num(p, "events")),
               cli_count_text(b, (uint64_t)cli_json_num(p, "users")),
               cli_count_text(c, (uint64_t)cli_json_num(p, "liked")));
    else
        printf("%s: %s people look for %s likes among %s films", on,
               cli_count_text(a, (uint64_t)cli_json_num(p, "users")),
               cli_count_text(b, (uint64_t)cli_json_num(p, "liked")),
               cli_count_text(c, (uint64_t)cli_json_num(p, "candidates")));
    printf("; %s ratings known, written in %.1f s, learned in %.1f s\n",
           cli_count_text(a, (uint64_t)cli_json_num(p, "fit")), cli_json_num(p, "write_s"), cli_json_num(p, "learn_s"));
    if (stream)
        print_stream(rows, bare);
    else
        print_lists(rows, bare, folds != NULL);
    print_doubts(rows);
    putchar('\n');
    fflush(stdout);
}
