/* cli: the command line's own parts, shared by its commands.
 *
 * A command is one file, cmd_NAME.c, that describes itself in a cli_command (commands.c lists them all) and does three
 * things: build a path and a body, cli_call(), print. Where the call goes - a database file opened in this process, or
 * a running server - is the target's business (target.c), so every command works both ways. Dispatch, `braid help`,
 * each --help, the completion and the documentation test all read the same table.
 *
 * Rules: results on stdout, everything else on stderr; an error is one line `braid: what, where, how to mend`; exit 0
 * done, 1 failed, 2 wrong usage; colours, bars and progress only on a terminal; never a question. Running out of memory
 * ends the program with a message: what was acknowledged is on stable storage, so there is nothing to unwind. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "braid.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

#define CLI_PRINTF(f, a) __attribute__((format(printf, f, a)))

typedef struct cli cli;

/* ---- commands (commands.c) ---- */

/* One flag of a command. A table of them ends with a row without a name. */
typedef struct cli_flag {
    const char *name;  /* without dashes */
    const char *value; /* what --help calls its value; NULL for a switch */
    const char *help;
} cli_flag;

typedef enum cli_need {
    CLI_NEEDS_NOTHING,
    CLI_NEEDS_TARGET, /* a database file or a server */
    CLI_NEEDS_FILE    /* a database file, opened here */
} cli_need;

typedef struct cli_command {
    const char *name, *summary;
    const char *usage;        /* lines, without "usage:" */
    const char *about;        /* what it does, in paragraphs */
    const char *examples;     /* at least two, a line each */
    const cli_flag *flags[4]; /* tables, the last NULL */
    cli_need need;
    bool creates;       /* makes the database file if it is not there */
    bool settings;      /* --help lists every setting of the option table */
    int (*run)(cli *c); /* gives the exit code */
} cli_command;

/* The i-th command, or NULL past the end; the one of that name, or NULL. */
const cli_command *cli_command_at(size_t i);
const cli_command *cli_command_find(const char *name);
/* The flags that every command takes. */
extern const cli_flag cli_common_flags[];
extern const cli_flag cli_question_flags[];

/* ---- one run (main.c, args.c) ---- */

typedef struct cli_given {
    const char *name, *value;
} cli_given;

typedef struct cli_target cli_target;

struct cli {
    const cli_command *command;
    cli_given *given; /* the command's flags, in order */
    size_t given_count;
    const char **words; /* the rest */
    size_t word_count;
    cli_given *settings; /* flags of the option table: "section.name" and value */
    char **setting_keys;
    size_t setting_count;
    braid_options *options; /* file, environment, flags */
    cli_target *target;
    bool json, quiet;
};

/* Sorts argv (without the program and the command) into flags, settings and words. */
int cli_args_parse(cli *c, int argc, char **argv);
void cli_args_free(cli *c);
/* Finds a flag of the command or one common to all. */
const cli_flag *cli_flag_find(const cli_command *command, const char *name);
/* The flag's value (the last one given), or NULL; a switch's is "". */
const char *cli_flag_text(const cli *c, const char *name);
bool cli_flag_on(const cli *c, const char *name);
/* The i-th value of a flag that may be repeated, or NULL. */
const char *cli_flag_each(const cli *c, const char *name, size_t i);
/* The flag as a number in min..max; `out` is left alone if it was not given. Prints what is wrong and returns
 * CLI_USAGE. */
int cli_flag_int(const cli *c, const char *name, int64_t min, int64_t max, int64_t *out);
int cli_flag_real(const cli *c, const char *name, double min, double max, double *out);
/* Checks the number of words; `what` says what is wanted. */
int cli_words_between(const cli *c, size_t min, size_t max, const char *what);
/* Path of the database file: --db, BRAID_DB, ./braid.db. */
const char *cli_db_path(const cli *c);

/* Prints "braid: ..." and returns `status`; CLI_USAGE adds where to read on. */
int cli_fail(const cli *c, int status, const char *format, ...) CLI_PRINTF(3, 4);
/* A remark to the person, on stderr; nothing with --quiet. */
void cli_note(const cli *c, const char *format, ...) CLI_PRINTF(2, 3);

/* ---- help.c ---- */
void cli_help_overview(FILE *out);
void cli_help_command(const cli_command *command, FILE *out);
void cli_help_settings(FILE *out);
void cli_help_completion(FILE *out);
/* The nearest of the names that are near enough to be a slip of the pen, or NULL. */
typedef const char *cli_name_at(const void *ctx, size_t i); /* NULL past the end */
const char *cli_nearest(const char *name, cli_name_at *at, const void *ctx);

/* ---- the target (target.c) ---- */

typedef struct cli_request {
    const char *method, *path, *query; /* query NULL: none */
    const char *body;
    size_t len;
    size_t first_line; /* of a stream in pieces; 0: the beginning */
    unsigned wait_ms;  /* how long an answer may take; 0: the usual */
} cli_request;

typedef struct cli_answer {
    int status;
    char *body; /* NUL-terminated */
    size_t len;
    char *next; /* header Braid-Next, or NULL */
} cli_answer;

/* Opens what the command needs. Prints the error. */
int cli_target_open(cli *c);
/* The database file that the command is to open, or NULL when the settings keep the records in a server. Prints the
 * error. */
int cli_target_file(cli *c, const char **path);
void cli_target_close(cli *c);
bool cli_is_remote(const cli *c);
braid_db *cli_db(const cli *c); /* NULL for a server */
/* Asks. A refusal is printed and gives its exit code, with nothing in `out`. */
int cli_call(cli *c, const cli_request *request, cli_answer *out);
/* The same, and reads the answer as JSON. */
int cli_call_json(cli *c, const cli_request *request, json_t **out);
void cli_answer_free(cli_answer *answer);
/* A write's report in which something was rejected is a refusal: prints it and gives its exit code; else CLI_OK. */
int cli_report_check(const cli *c, const json_t *report);
/* Asks and prints the answer's JSON as it is: what --json does. */
int cli_call_print(cli *c, const cli_request *request);

/* ---- text.c ---- */
void *cli_alloc(size_t bytes); /* zeroed; never NULL */
void *cli_grow(void *old, size_t bytes);
char *cli_copy(const char *text);
char *cli_format(const char *format, ...) CLI_PRINTF(1, 2);
/* "/v1/items/" + the id, percent-encoded, + suffix. */
char *cli_path(const char *prefix, const char *id, const char *suffix);
/* "k=5&depth=2": pairs of name and value, NULL at the end; pairs with a NULL value are left out. */
char *cli_query(const char *name, ...) __attribute__((sentinel));
/* Columns that the text takes on a terminal. */
size_t cli_width(const char *text);
/* Writes text with control characters replaced, at most `columns` wide (0: all of it; cut with an ellipsis). Returns
 * columns written. */
size_t cli_put(FILE *out, const char *text, size_t columns);
/* "12,340", "1.2 ms", "3.4 MB", "2:05" into a caller's buffer. */
enum { CLI_SHORT = 40 };
const char *cli_count_text(char out[CLI_SHORT], uint64_t n);
const char *cli_us_text(char out[CLI_SHORT], double us);
/* Reads a whole file, or stdin for "-". Prints the error. */
int cli_read_file(const cli *c, const char *path, size_t bytes_max, char **text, size_t *len);
int cli_read_json(const cli *c, const char *path, size_t bytes_max, json_t **out); /* the same, as one JSON value */
double cli_now(void); /* seconds, monotonic */

/* A JSON member as text: strings as they are, numbers and the rest printed; "" for null and absent. Freed by the
 * caller. */
char *cli_json_text(const json_t *value);
const char *cli_json_str(const json_t *object, const char *key); /* "" if it is not text */
double cli_json_num(const json_t *object, const char *key);      /* 0 if it is not a number */
void cli_print_json(const json_t *value);                        /* on one line */

/* ---- the terminal (term.c) ---- */
bool cli_out_is_terminal(void);
size_t cli_columns(void); /* width of the terminal on stdout, or 0 if it is none */
/* Escape sequences, or "" where colours are not wanted. */
const char *cli_bold(void);
const char *cli_dim(void);
const char *cli_red(void);
const char *cli_yellow(void);
const char *cli_green(void);
const char *cli_plain(void);
/* A bar of `cells` for a share of 0..1; blanks where stdout is no terminal. */
void cli_bar(FILE *out, double share, unsigned cells);

typedef struct cli_progress {
    const char *what, *unit;
    uint64_t done, total; /* `total` 0: not known; of bytes, lines, ... whatever the caller counts */
    uint64_t units;       /* what is printed: lines, items */
    double began, drawn;
    bool shown;
} cli_progress;

void cli_progress_begin(cli_progress *p, const cli *c, const char *what, const char *unit, uint64_t total);
void cli_progress_to(cli_progress *p, uint64_t done, uint64_t units);
void cli_progress_end(cli_progress *p);

/* Long work of the library in phases, a bar each: give cli_phases_show and this to it. It goes on until it is asked
 * to stop. */
typedef struct cli_phases {
    const cli *c;
    cli_progress bar;
    char phase[32], what[64]; /* what is going on, and what is said of it */
} cli_phases;
bool cli_phases_show(void *phases, const char *phase, uint64_t done, uint64_t total);
void cli_phases_end(cli_phases *p);

/* ---- tables (table.c) ---- */

/* Cells of text in rows; a column is as wide as its widest cell, and the one marked '*' gives way on a narrow terminal.
 */
typedef struct cli_table cli_table;
/* `columns`: names separated by '|'; a name that begins with '>' is aligned to the right, with '*' may be cut. */
cli_table *cli_table_new(const char *columns);
void cli_table_cell(cli_table *t, const char *text); /* copied; the next cell */
void cli_table_cellf(cli_table *t, const char *format, ...) CLI_PRINTF(2, 3);
void cli_table_print(cli_table *t, FILE *out);
void cli_table_free(cli_table *t);

/* ---- stopping (stop.c) ---- */

/* From here on the first SIGINT or SIGTERM only sets a flag, so that work ends at a good place; the second ends the
 * program at once. */
void cli_stop_catch(void);
bool cli_stop_asked(void);
void cli_stop_wait(void); /* until it is asked for */

/* ---- streams of lines (stream.c) ---- */

/* Collects lines and sends them in pieces of whole lines; sums up the reports. A rejection is named by the source's own
 * line number. */
enum { CLI_PIECE_LINES = 1000, CLI_PIECE_BYTES = 256 * 1024, CLI_REJECTIONS_SHOWN = 20, CLI_REJECTIONS_KEPT = 1000 };

typedef struct cli_stream {
    cli *c;
    const char *path;   /* "/v1/items" ... */
    const char *source; /* the file's name, for messages */
    char *text;         /* the piece */
    size_t len, cap, lines;
    size_t line_of[CLI_PIECE_LINES]; /* number in the source of each line of the piece */
    size_t acknowledged;             /* number in the source of the last line that was answered for */
    uint64_t accepted, duplicates, rejected;
    json_t *rejections; /* the first of them, for --json */
    char *lsn;
} cli_stream;

void cli_stream_begin(cli_stream *s, cli *c, const char *path, const char *source);
/* Adds one line without its newline; `line` is its number in the source. Sends when the piece is full. */
int cli_stream_add(cli_stream *s, const char *text, size_t len, size_t line);
int cli_stream_add_json(cli_stream *s, json_t *value, size_t line); /* steals the reference */
int cli_stream_flush(cli_stream *s);
/* Counts and names a line that was found bad before it was sent. */
void cli_stream_reject(cli_stream *s, size_t line, const char *code, const char *why);
/* Goes on with another source; counts stay. */
void cli_stream_source(cli_stream *s, const char *path, const char *source);
/* The sums, as a sentence or JSON, and the exit code: CLI_FAILED if anything was rejected. */
int cli_stream_print(const cli_stream *s, double seconds);
void cli_stream_free(cli_stream *s);

/* ---- questions and answers (question.c, answer.c) ---- */

/* The question that the flags ask; `recommend` takes the first word as the user, else words are the text. */
int cli_question_build(cli *c, bool recommend, json_t **out);
void cli_answer_print(const cli *c, const json_t *answer, const char *title);
void cli_plan_print(const json_t *plan);
/* Prints any JSON as indented "key  value" lines. */
void cli_tree_print(FILE *out, const json_t *value, unsigned depth);
/* Findings of doctor and verify share the mark: a coloured ok, warn, fail. */
const char *cli_level_colour(const char *level);

/* Reads every item page by page; `each` returns false to stop. */
typedef bool cli_each_json(void *ctx, const json_t *value);
int cli_each_item(cli *c, cli_each_json *each, void *ctx);
int cli_each_user(cli *c, cli_each_json *each, void *ctx);

#endif
