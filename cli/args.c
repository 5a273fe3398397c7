/* Arguments: --flag VALUE, --flag=VALUE, switches, settings of the option table (booleans also as --no-FLAG), words;
 * "--" ends the flags.
 *
 * A command's own flag hides a setting of the same name (--region of a search is that of the request). An unknown flag
 * is refused with the nearest known one. Not getopt: the flags come from two tables, one of them in the library. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* ---- finding ---- */

static const cli_flag *find_in(const cli_flag *flags, const char *name) {
    for (; flags && flags->name; flags++)
        if (strcmp(flags->name, name) == 0) return flags;
    return NULL;
}

const cli_flag *cli_flag_find(const cli_command *command, const char *name) {
    for (size_t i = 0; i < 4 && command->flags[i]; i++) {
        const cli_flag *f = find_in(command->flags[i], name);
        if (f) return f;
    }
    return find_in(cli_common_flags, name);
}

static const braid_option_row *find_setting(const char *name) {
    const braid_option_row *row;
    for (size_t i = 0; (row = braid_option_at(i)); i++)
        if (*row->flag && strcmp(row->flag, name) == 0) return row;
    return NULL;
}

/* All flags that this command would have taken, for the suggestion. */
static const char *known_flag(const void *ctx, size_t i) {
    const cli_command *command = ctx;
    const cli_flag *tables[] = {command->flags[0], command->flags[1], command->flags[2], cli_common_flags};
    for (size_t t = 0; t < 4; t++)
        for (const cli_flag *f = tables[t]; f && f->name; f++)
            if (i-- == 0) return f->name;
    const braid_option_row *row = command->need == CLI_NEEDS_NOTHING ? NULL : braid_option_at(i);
    return row ? row->flag : NULL;
}

/* ---- parsing ---- */

typedef struct parser {
    cli *c;
    char **argv;
    int argc, i;
} parser;

static int unknown_flag(const cli *c, const char *name) {
    const char *near = cli_nearest(name, known_flag, c->command);
    if (near) return cli_fail(c, CLI_USAGE, "--%s: there is no such flag; did you mean --%s?", name, near);
    return cli_fail(c, CLI_USAGE, "--%s: there is no such flag", name);
}

static int take_value(parser *p, const char *name, const char *inlined, const char **value) {
    if (inlined)
        *value = inlined;
    else if (p->i + 1 < p->argc)
        *value = p->argv[++p->i];
    else
        return cli_fail(p->c, CLI_USAGE, "--%s: a value is missing after it", name);
    return CLI_OK;
}

static int take_setting(parser *p, const braid_option_row *row, bool negated, const char *inlined) {
    cli *c = p->c;
    const char *value = NULL;
    if (negated && inlined) return cli_fail(c, CLI_USAGE, "--no-%s takes no value", row->flag);
    if (row->type == BRAID_OPT_BOOL) {
        const char *next = p->i + 1 < p->argc ? p->argv[p->i + 1] : "";
        bool spoken = !negated && !inlined && (strcmp(next, "true") == 0 || strcmp(next, "false") == 0);
        value = negated ? "false" : inlined ? inlined : spoken ? p->argv[++p->i] : "true";
    } else {
        int rc = take_value(p, row->flag, inlined, &value);
        if (rc) return rc;
    }
    char *key = cli_format("%s.%s", row->section, row->name);
    c->setting_keys[c->setting_count] = key;
    c->settings[c->setting_count++] = (cli_given){key, value};
    return CLI_OK;
}

static int take_flag(parser *p, char *name) {
    cli *c = p->c;
    char *inlined = strchr(name, '=');
    if (inlined) *inlined++ = '\0';
    const cli_flag *f = cli_flag_find(c->command, name);
    if (f) {
        const char *value = "";
        if (!f->value && inlined) return cli_fail(c, CLI_USAGE, "--%s takes no value", name);
        int rc = f->value ? take_value(p, name, inlined, &value) : CLI_OK;
        if (rc == CLI_OK) c->given[c->given_count++] = (cli_given){f->name, value};
        return rc;
    }
    bool takes_settings = c->command->need != CLI_NEEDS_NOTHING;
    const braid_option_row *row = takes_settings ? find_setting(name) : NULL;
    if (row) return take_setting(p, row, false, inlined);
    row = takes_settings && strncmp(name, "no-", 3) == 0 ? find_setting(name + 3) : NULL;
    if (row && row->type == BRAID_OPT_BOOL) return take_setting(p, row, true, inlined);
    return unknown_flag(c, name);
}

/* -k 5, -k=5: a flag whose name is one letter may be written with one dash. */
static bool is_letter_flag(const cli_command *command, const char *word) {
    const char name[] = {word[1], '\0'};
    return (word[2] == '\0' || word[2] == '=') && cli_flag_find(command, name);
}

int cli_args_parse(cli *c, int argc, char **argv) {
    size_t room = (size_t)argc + 1;
    c->given = cli_alloc(room * sizeof *c->given);
    c->words = cli_alloc(room * sizeof *c->words);
    c->settings = cli_alloc(room * sizeof *c->settings);
    c->setting_keys = cli_alloc(room * sizeof *c->setting_keys);
    parser p = {c, argv, argc, 0};
    bool flags_end = false;
    int rc = CLI_OK;
    for (; p.i < argc && rc == CLI_OK; p.i++) {
        char *word = argv[p.i];
        if (flags_end || word[0] != '-' || word[1] == '\0')
            c->words[c->word_count++] = word;
        else if (strcmp(word, "--") == 0)
            flags_end = true;
        else if (strcmp(word, "-h") == 0)
            c->given[c->given_count++] = (cli_given){"help", ""};
        else if (word[1] == '-')
            rc = take_flag(&p, word + 2);
        else if (is_letter_flag(c->command, word))
            rc = take_flag(&p, word + 1);
        else
            rc = cli_fail(c, CLI_USAGE,
                          "%s: flags are written with two dashes; a word that begins with a dash comes after --", word);
    }
    return rc;
}

void cli_args_free(cli *c) {
    for (size_t i = 0; i < c->setting_count; i++) free(c->setting_keys[i]);
    free(c->setting_keys);
    free(c->settings);
    free(c->given);
    free(c->words);
}

/* ---- reading ---- */

const char *cli_flag_text(const cli *c, const char *name) {
    for (size_t i = c->given_count; i-- > 0;)
        if (strcmp(c->given[i].name, name) == 0) return c->given[i].value;
    return NULL;
}

bool cli_flag_on(const cli *c, const char *name) {
    return cli_flag_text(c, name) != NULL;
}

const char *cli_flag_each(const cli *c, const char *name, size_t i) {
    for (size_t at = 0; at < c->given_count; at++)
        if (strcmp(c->given[at].name, name) == 0 && i-- == 0) return c->given[at].value;
    return NULL;
}

int cli_flag_int(const cli *c, const char *name, int64_t min, int64_t max, int64_t *out) {
    const char *text = cli_flag_text(c, name);
    if (!text) return CLI_OK;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < min || value > max)
        return cli_fail(c, CLI_USAGE, "--%s must be a whole number from %lld to %lld, not \"%.60s\"", name,
                        (long long)min, (long long)max, text);
    *out = value;
    return CLI_OK;
}

int cli_flag_real(const cli *c, const char *name, double min, double max, double *out) {
    const char *text = cli_flag_text(c, name);
    if (!text) return CLI_OK;
    char *end;
    errno = 0;
    double value = strtod(text, &end); /* the program never leaves the C locale */
    if (errno || end == text || *end || !isfinite(value) || value < min || value > max)
        return cli_fail(c, CLI_USAGE, "--%s must be a number from %g to %g, not \"%.60s\"", name, min, max, text);
    *out = value;
    return CLI_OK;
}

int cli_words_between(const cli *c, size_t min, size_t max, const char *what) {
    if (c->word_count < min) return cli_fail(c, CLI_USAGE, "%s is missing", what);
    if (c->word_count > max)
        return cli_fail(c, CLI_USAGE, "\"%.60s\" is one word too many: %s is wanted", c->words[max], what);
    return CLI_OK;
}

const char *cli_db_path(const cli *c) {
    const char *path = cli_flag_text(c, "db");
    if (!path) path = getenv("BRAID_DB");
    return path && *path ? path : "braid.db";
}

/* ---- saying ---- */

int cli_fail(const cli *c, int status, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    fputs("braid: ", stderr);
    cli_put(stderr, n < 0 ? format : text, 0);
    if (status == CLI_USAGE)
        fprintf(stderr, " (see: braid %s%s--help)", c && c->command ? c->command->name : "",
                c && c->command ? " " : "");
    fputc('\n', stderr);
    if (n >= 0) free(text);
    return status;
}

void cli_note(const cli *c, const char *format, ...) {
    if (c->quiet) return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
