/* Answers for people: results with their strands and reasons, plans with estimate beside actual, trees of state. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { STRAND_CELLS = 8, REASONS_SHOWN = 3, TREE_DEPTH_MAX = 8 };

static const char *const strands[] = {"vector", "graph", "policy"};

/* ---- results ---- */

static void print_strands(const json_t *hit) {
    const json_t *values = json_object_get(hit, "strands");
    for (size_t i = 0; i < sizeof strands / sizeof strands[0]; i++) {
        double share = cli_json_num(values, strands[i]);
        printf("  %s%s%s ", cli_dim(), strands[i], cli_plain());
        cli_bar(stdout, share, STRAND_CELLS);
        printf("%s%.2f", cli_out_is_terminal() ? " " : "", share);
    }
}

static char *full_title(const json_t *hit) {
    const json_t *year = json_object_get(hit, "year");
    if (json_is_integer(year))
        return cli_format("%s (%lld)", cli_json_str(hit, "title"), (long long)json_integer_value(year));
    return cli_copy(cli_json_str(hit, "title"));
}

static void print_hit(const json_t *hit, size_t rank, size_t title_columns) {
    char *title = full_title(hit);
    const json_t *because = json_object_get(hit, "because"), *reason;
    printf("%3zu  %s", rank, cli_bold());
    size_t used = cli_put(stdout, title, title_columns);
    printf("%s%*s  %.3f", cli_plain(), (int)(title_columns - used), "", cli_json_num(hit, "score"));
    print_strands(hit);
    printf("\n     %s", cli_dim());
    cli_put(stdout, cli_json_str(hit, "id"), 0);
    printf("%s%s\n", json_is_true(json_object_get(hit, "explored")) ? "  (a try: little is known here yet)" : "",
           cli_plain());
    size_t i;
    json_array_foreach (because, i, reason) {
        if (i == REASONS_SHOWN) break;
        fputs("     - ", stdout);
        cli_put(stdout, json_string_value(reason) ? json_string_value(reason) : "", 0);
        putchar('\n');
    }
    free(title);
}

static size_t widest_title(const json_t *results) {
    size_t i, widest = 1, columns = cli_columns(), rest = 70; /* what stands beside the title */
    size_t most = columns == 0 || columns > rest + 60 ? 60 : columns > rest + 20 ? columns - rest : 20;
    json_t *hit;
    json_array_foreach (results, i, hit) {
        char *title = full_title(hit);
        size_t width = cli_width(title);
        if (width > widest) widest = width;
        free(title);
    }
    return widest < most ? widest : most;
}

static void print_lines(const char *mark, const char *colour, const json_t *lines) {
    size_t i;
    json_t *line;
    json_array_foreach (lines, i, line) {
        char *text = cli_json_text(line);
        printf("%s%s: ", colour, mark);
        cli_put(stdout, text, 0);
        printf("%s\n", cli_plain());
        free(text);
    }
}

static void print_header(const json_t *answer, size_t count, const char *title) {
    char took[CLI_SHORT];
    printf("%zu result%s for ", count, count == 1 ? "" : "s");
    cli_put(stdout, title, 0);
    printf("  %s%s", cli_dim(), cli_json_str(answer, "strategy"));
    printf(", %s%s", cli_us_text(took, cli_json_num(json_object_get(answer, "timing_us"), "total")),
           json_is_true(json_object_get(answer, "cached")) ? ", from the cache" : "");
    printf("%s%s\n", json_is_true(json_object_get(answer, "cold_start")) ? ", cold start" : "", cli_plain());
}

void cli_answer_print(const cli *c, const json_t *answer, const char *title) {
    const json_t *results = json_object_get(answer, "results"), *filled = json_object_get(answer, "filled");
    size_t count = json_array_size(results), i, columns = widest_title(results);
    json_t *hit;
    print_header(answer, count, title);
    print_lines("note", cli_yellow(), json_object_get(answer, "notes"));
    print_lines("missing from this answer", cli_red(), json_object_get(answer, "degraded"));
    if (count) putchar('\n');
    json_array_foreach (results, i, hit) print_hit(hit, i + 1, columns);
    const char *reason = cli_json_str(filled, "reason");
    if (*reason) printf("\nfewer than %.0f: %s\n", cli_json_num(filled, "asked"), reason);
    const char *id = cli_json_str(answer, "recommendation_id");
    if (count && *id) cli_note(c, "recommendation_id %s", id);
    if (cli_flag_on(c, "explain")) {
        putchar('\n');
        cli_plan_print(json_object_get(answer, "plan"));
    }
}

/* ---- plans ---- */

static void cell_us(cli_table *t, const json_t *object, const char *key) {
    char text[CLI_SHORT];
    const json_t *value = json_object_get(object, key);
    cli_table_cell(t, json_is_number(value) ? cli_us_text(text, json_number_value(value)) : "-");
}

static void cell_any(cli_table *t, const json_t *object, const char *key) {
    char *text = cli_json_text(json_object_get(object, key));
    cli_table_cell(t, *text ? text : "-");
    free(text);
}

static void print_steps(const json_t *plan) {
    const json_t *steps = json_object_get(plan, "steps"), *step;
    size_t i;
    if (!json_array_size(steps)) return;
    cli_table *t = cli_table_new("step|*method|>estimate|>actual|>rows estimated|>rows");
    json_array_foreach (steps, i, step) {
        cell_any(t, step, "step");
        cell_any(t, step, "method");
        cell_us(t, step, "estimate_us");
        cell_us(t, step, "actual_us");
        cell_any(t, step, "estimate_rows");
        cell_any(t, step, "rows");
    }
    cli_table_cell(t, "all");
    cli_table_cell(t, "");
    cell_us(t, plan, "estimate_us");
    cell_us(t, plan, "actual_us");
    cli_table_cell(t, "");
    cli_table_cell(t, "");
    cli_table_print(t, stdout);
    cli_table_free(t);
}

static void print_candidates(const json_t *plan) {
    const json_t *candidates = json_object_get(plan, "candidates"), *one;
    size_t i;
    if (!json_array_size(candidates)) return;
    cli_table *t = cli_table_new("|candidate|>estimate|*why");
    json_array_foreach (candidates, i, one) {
        cli_table_cell(t, json_is_true(json_object_get(one, "chosen")) ? ">" : "");
        cell_any(t, one, "strategy");
        cell_us(t, one, "estimate_us");
        cell_any(t, one, "why");
    }
    cli_table_print(t, stdout);
    cli_table_free(t);
}

void cli_plan_print(const json_t *plan) {
    const json_t *filter = json_object_get(plan, "filter");
    char matches[CLI_SHORT], of[CLI_SHORT];
    printf("%splan: %s%s", cli_bold(), cli_json_str(plan, "strategy"), cli_plain());
    if (*cli_json_str(plan, "reason")) fputs(", ", stdout);
    cli_put(stdout, cli_json_str(plan, "reason"), 0);
    putchar('\n');
    if (json_is_object(filter))
        printf("filter: %s of %s items match", cli_count_text(matches, (uint64_t)cli_json_num(filter, "matches")),
               cli_count_text(of, (uint64_t)cli_json_num(filter, "of")));
    if (json_is_object(filter) && json_object_get(filter, "left"))
        printf(", %s of them may be shown to this person",
               cli_count_text(matches, (uint64_t)cli_json_num(filter, "left")));
    if (json_is_object(filter)) putchar('\n');
    print_steps(plan);
    putchar('\n');
    print_candidates(plan);
}

/* ---- trees ---- */

const char *cli_level_colour(const char *level) {
    return strcmp(level, "fail") == 0 ? cli_red() : strcmp(level, "warn") == 0 ? cli_yellow() : cli_green();
}

static bool is_flat(const json_t *value) {
    size_t i;
    const json_t *element;
    if (!json_is_array(value)) return !json_is_object(value) || json_object_size(value) == 0;
    json_array_foreach (value, i, element) {
        if (json_is_object(element) || json_is_array(element)) return false;
    }
    return true;
}

static void print_flat(FILE *out, const json_t *value) {
    size_t i;
    json_t *element;
    if (json_is_array(value)) {
        json_array_foreach (value, i, element) {
            if (i) fputs(", ", out);
            print_flat(out, element);
        }
        if (i == 0) fputs("none", out);
        return;
    }
    char *text = cli_json_text(value);
    cli_put(out, *text ? text : "-", 0);
    free(text);
}

/* An element of a list on its own line, if it is simple enough for that: "- name Renoir, role director". */
static bool print_members(FILE *out, const json_t *value) {
    const char *key;
    json_t *member;
    size_t printed = 0;
    json_object_foreach ((json_t *)value, key, member) {
        if (!is_flat(member)) return false;
    }
    if (!json_is_object(value) && !is_flat(value)) return false;
    json_object_foreach ((json_t *)value, key, member) {
        fputs(printed++ ? ", " : " ", out);
        cli_put(out, key, 0);
        fputc(' ', out);
        print_flat(out, member);
    }
    if (!json_is_object(value)) {
        fputc(' ', out);
        print_flat(out, value);
    }
    return true;
}

void cli_tree_print(FILE *out, const json_t *value, unsigned depth) {
    if (depth > TREE_DEPTH_MAX || is_flat(value)) {
        fprintf(out, "%*s", (int)depth * 2, "");
        print_flat(out, value);
        fputc('\n', out);
        return;
    }
    const char *key;
    json_t *member;
    size_t i, widest = 0;
    json_object_foreach ((json_t *)value, key, member) {
        size_t width = is_flat(member) ? cli_width(key) : 0;
        if (width > widest) widest = width;
    }
    json_object_foreach ((json_t *)value, key, member) {
        fprintf(out, "%*s%s", (int)depth * 2, "", is_flat(member) ? "" : cli_bold());
        size_t used = cli_put(out, key, 0);
        fputs(is_flat(member) ? "" : cli_plain(), out);
        if (is_flat(member)) {
            fprintf(out, "%*s", (int)(widest - used) + 2, "");
            print_flat(out, member);
        }
        fputc('\n', out);
        if (!is_flat(member)) cli_tree_print(out, member, depth + 1);
    }
    json_array_foreach (value, i, member) {
        fprintf(out, "%*s-", (int)depth * 2, "");
        bool on_one_line = print_members(out, member);
        fputc('\n', out);
        if (!on_one_line) cli_tree_print(out, member, depth + 1);
    }
}
