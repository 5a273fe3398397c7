/* Help: the overview, a command's page, the settings, the completion script and the nearest name - all printed from the
 * tables. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { NAME_COLUMN = 26, NAME_BYTES_MAX = 64, NEAR_MAX = 2 };

/* ---- pages ---- */

void cli_help_overview(FILE *out) {
    fputs("braid: what should this person watch next, and why?\n\nusage: braid COMMAND [flags] ...\n\n", out);
    const cli_command *command;
    for (size_t i = 0; (command = cli_command_at(i)); i++) fprintf(out, "  %-16s%s\n", command->name, command->summary);
    fputs("\nEvery command works on a file (--db FILE) or on a running server (--url URL).\n"
          "A first try:\n"
          "  braid load data/*.ndjson\n"
          "  braid search \"exil et mémoire\"\n"
          "  braid serve\n"
          "\n`braid COMMAND --help` teaches a command; `braid help settings` lists every setting.\n",
          out);
}

static void print_flags(const cli_flag *flags, FILE *out) {
    for (; flags && flags->name; flags++) {
        char left[96];
        int n = snprintf(left, sizeof left, "--%s%s%s", flags->name, flags->value ? " " : "",
                         flags->value ? flags->value : "");
        fprintf(out, "  %-*s%s%s\n", NAME_COLUMN, left, n >= NAME_COLUMN ? "  " : "", flags->help);
    }
}

void cli_help_settings(FILE *out) {
    const braid_option_row *row;
    const char *section = "";
    for (size_t i = 0; (row = braid_option_at(i)); i++) {
        if (strcmp(section, row->section) != 0) fprintf(out, "%s%s:\n", i ? "\n" : "", section = row->section);
        static const char *const kinds[] = {"TEXT", "N", "X", "", "", ""};
        char left[96];
        if (!*row->flag) {
            fprintf(out, "  %-*s%s (%s.%s, default empty)\n", NAME_COLUMN, "(no flag)", row->help, row->section,
                    row->name);
            continue;
        }
        int n = snprintf(left, sizeof left, "--%s%s%s", row->flag, row->type == BRAID_OPT_BOOL ? "" : " ",
                         row->type == BRAID_OPT_ENUM ? row->choices : kinds[row->type]);
        fprintf(out, "  %-*s%s%s (%s.%s, default %s)\n", NAME_COLUMN, left, n >= NAME_COLUMN ? "  " : "", row->help,
                row->section, row->name, *row->default_value ? row->default_value : "empty");
    }
    fputs("\nEach is also a key of braid.yaml and a variable BRAID__SECTION__NAME; the order is file, environment,\n"
          "flags, and the last one wins. "
          "A boolean may be written --FLAG or --no-FLAG.\n"
          "`braid info --sample-config` prints a braid.yaml with all of them.\n",
          out);
}

static void print_indented(const char *lines, FILE *out) {
    while (*lines) {
        size_t len = strcspn(lines, "\n");
        fprintf(out, "  %.*s\n", (int)len, lines);
        lines += len + (lines[len] == '\n');
    }
}

/* Every command accepts all common flags; the page leaves out those that say nothing to it. */
static bool applies(const cli_command *command, const cli_flag *f) {
    bool of_server = strcmp(f->name, "url") == 0 || strcmp(f->name, "timeout") == 0;
    bool of_target = of_server || strcmp(f->name, "db") == 0 || strcmp(f->name, "config") == 0;
    if (command->need == CLI_NEEDS_NOTHING) return !of_target;
    return command->need == CLI_NEEDS_TARGET || !of_server;
}

void cli_help_command(const cli_command *command, FILE *out) {
    fprintf(out, "braid %s: %s\n\nusage:\n", command->name, command->summary);
    print_indented(command->usage, out);
    fprintf(out, "\n%s\n", command->about);
    if (command->flags[0]) fputs("\nflags:\n", out);
    for (size_t i = 0; i < 4 && command->flags[i]; i++) print_flags(command->flags[i], out);
    fputs("\nflags of every command:\n", out);
    for (const cli_flag *f = cli_common_flags; f->name; f++)
        if (applies(command, f)) print_flags((cli_flag[]){*f, {0}}, out);
    if (command->settings) {
        fputs("\nsettings:\n", out);
        cli_help_settings(out);
    } else if (command->need != CLI_NEEDS_NOTHING) {
        fputs("  every setting of `braid help settings` is a flag as well\n", out);
    }
    fputs("\nexamples:\n", out);
    print_indented(command->examples, out);
}

/* ---- completion ---- */

static void completion_flags(const cli_flag *flags, FILE *out) {
    for (; flags && flags->name; flags++) fprintf(out, " --%s", flags->name);
}

void cli_help_completion(FILE *out) {
    const cli_command *command;
    fputs("# bash completion of braid; use: source <(braid help completion)\n_braid() {\n    local flags=\"\" words=\"",
          out);
    for (size_t i = 0; (command = cli_command_at(i)); i++) fprintf(out, "%s%s", i ? " " : "", command->name);
    fputs("\"\n    case \"${COMP_WORDS[1]}\" in\n", out);
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        fprintf(out, "    %s) flags=\"", command->name);
        for (size_t t = 0; t < 4 && command->flags[t]; t++) completion_flags(command->flags[t], out);
        completion_flags(cli_common_flags, out);
        fputs("\" ;;\n", out);
    }
    fputs("    esac\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then COMPREPLY=($(compgen -W \"$words\" -- \"$2\"))\n"
          "    elif [[ \"$2\" == -* ]]; then COMPREPLY=($(compgen -W \"$flags\" -- \"$2\"))\n"
          "    else COMPREPLY=($(compgen -f -- \"$2\")); fi\n"
          "}\ncomplete -o filenames -F _braid braid\n",
          out);
}

/* ---- the nearest name ---- */

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Edits between two short names; neighbours that changed places count as one (optimal string alignment). */
static unsigned distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n > NAME_BYTES_MAX || m > NAME_BYTES_MAX) return NAME_BYTES_MAX;
    unsigned rows[3][NAME_BYTES_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++) last[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = least(last[j], now[j - 1]) + 1;
            best = least(best, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) best = least(best, before[j - 2] + 1);
            now[j] = best;
        }
        unsigned *old = before;
        before = last;
        last = now;
        now = old;
    }
    return last[m];
}

const char *cli_nearest(const char *name, cli_name_at *at, const void *ctx) {
    const char *best = NULL, *candidate;
    unsigned best_distance = strlen(name) <= 3 ? 2 : NEAR_MAX + 1; /* must be below this */
    for (size_t i = 0; (candidate = at(ctx, i)); i++) {
        unsigned d = distance(name, candidate);
        if (d < best_distance) {
            best_distance = d;
            best = candidate;
        }
    }
    for (size_t i = 0; !best && strlen(name) >= 3 && (candidate = at(ctx, i)); i++)
        if (strncmp(candidate, name, strlen(name)) == 0) best = candidate;
    return best;
}
