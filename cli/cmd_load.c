/* braid load: files of NDJSON (or one JSON array) into the database, in pieces of whole lines.
 *
 * A bad line is named and harms no other; what was loaded before a failure or Ctrl-C stays. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

enum { READ_BYTES = 256 * 1024 };
#define LINE_BYTES_MAX     ((size_t)64 << 20)
#define DOCUMENT_BYTES_MAX ((size_t)256 << 20)

typedef struct loader {
    cli *c;
    cli_stream stream;
    cli_progress progress;
    bool wrap_users;       /* there is no route that takes bare users: they are wrapped */
    uint64_t bytes, lines; /* over all files, for the progress */
    char *line;            /* the line in hand */
    size_t len, cap, number;
    bool too_long;
} loader;

static int send_line(loader *l) {
    size_t number = ++l->number;
    while (l->len > 0 && strchr(" \t\r", l->line[l->len - 1])) l->len--;
    bool blank = l->len == 0;
    l->lines++;
    if (l->too_long) {
        l->too_long = false;
        cli_stream_reject(&l->stream, number, "TOO_LARGE", "the line is longer than 64 MiB");
        return CLI_OK;
    }
    if (blank) return CLI_OK;
    if (!l->wrap_users) return cli_stream_add(&l->stream, l->line, l->len, number);
    json_t *json = json_loadb(l->line, l->len, 0, NULL);
    bool wrapped =
        !json || (json_object_size(json) == 1 && json_is_object(json_object_iter_value(json_object_iter(json))));
    if (!wrapped) return cli_stream_add_json(&l->stream, json_pack("{s:o}", "user", json), number);
    json_decref(json);
    return cli_stream_add(&l->stream, l->line, l->len, number); /* a line that is no JSON is refused with its reason */
}

static void keep(loader *l, const char *bytes, size_t n) {
    if (l->len + n > LINE_BYTES_MAX) {
        l->too_long = true;
        l->len = 0;
        return;
    }
    if (l->too_long) return;
    if (l->len + n + 1 > l->cap) l->line = cli_grow(l->line, l->cap = (l->len + n + 1) * 2);
    memcpy(l->line + l->len, bytes, n);
    l->len += n;
}

/* Cuts what was read into lines; the rest of the last one waits for more. */
static int take_bytes(loader *l, const char *bytes, size_t n) {
    int rc = CLI_OK;
    while (n > 0 && rc == CLI_OK) {
        const char *end = memchr(bytes, '\n', n);
        size_t part = end ? (size_t)(end - bytes) : n, step = part + (end != NULL);
        keep(l, bytes, part);
        if (end) {
            rc = send_line(l);
            l->len = 0;
        }
        bytes += step;
        n -= step;
        l->bytes += step;
        cli_progress_to(&l->progress, l->bytes, l->lines);
        if (cli_stop_asked()) break;
    }
    return rc;
}

static int read_lines(loader *l, int fd, const char *name, const char *begun, size_t begun_len) {
    char *bytes = cli_alloc(READ_BYTES);
    int rc = take_bytes(l, begun, begun_len);
    bool ended = false;
    while (rc == CLI_OK && !ended && !cli_stop_asked()) {
        ssize_t n = read(fd, bytes, READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = cli_fail(l->c, CLI_FAILED, "%s: %s", name, strerror(errno));
        ended = n <= 0;
        if (n > 0) rc = take_bytes(l, bytes, (size_t)n);
    }
    if (rc == CLI_OK && ended && !cli_stop_asked() && (l->len > 0 || l->too_long))
        rc = send_line(l); /* a last line without newline */
    free(bytes);
    return rc;
}

/* A file that begins with '[' is one array; its elements are the lines. */
static int read_array(loader *l, int fd, const char *name, const char *begun, size_t begun_len) {
    size_t len = begun_len, cap = begun_len + READ_BYTES;
    char *text = cli_alloc(cap);
    memcpy(text, begun, begun_len);
    ssize_t n = 1;
    while (n > 0 && len <= DOCUMENT_BYTES_MAX && !cli_stop_asked()) {
        if (len == cap) text = cli_grow(text, cap *= 2);
        n = read(fd, text + len, cap - len);
        if (n > 0)
            len += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    json_error_t where;
    json_t *array = len <= DOCUMENT_BYTES_MAX ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &where) : NULL, *element;
    free(text);
    if (len > DOCUMENT_BYTES_MAX)
        return cli_fail(l->c, CLI_FAILED,
                        "%s: an array of more than 256 MiB is not taken whole; write one object a line instead", name);
    if (!array) return cli_fail(l->c, CLI_FAILED, "%s:%d: not valid JSON: %s", name, where.line, where.text);
    size_t i;
    int rc = CLI_OK;
    json_array_foreach (array, i, element) {
        if (rc != CLI_OK || cli_stop_asked()) break;
        char *line = json_dumps(element, JSON_COMPACT | JSON_ENCODE_ANY);
        l->len = 0;
        keep(l, line ? line : "", line ? strlen(line) : 0);
        free(line);
        rc = send_line(l);
        l->len = 0;
    }
    json_decref(array);
    l->bytes += len;
    return rc;
}

static int load_file(loader *l, const char *name, const char *path) {
    bool is_stdin = strcmp(name, "-") == 0;
    const char *shown = is_stdin ? "stdin" : name;
    int fd = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cli_fail(l->c, CLI_FAILED, "%s: %s; give the path of an NDJSON file, or - for the standard input", name,
                        strerror(errno));
    l->len = l->number = 0;
    cli_stream_source(&l->stream, path, shown);
    char *begun = cli_alloc(READ_BYTES);
    ssize_t n;
    do n = read(fd, begun, READ_BYTES);
    while (n < 0 && errno == EINTR && !cli_stop_asked());
    size_t blank = 0;
    while (n > 0 && blank < (size_t)n && strchr(" \t\r\n", begun[blank]) && begun[blank]) blank++;
    int rc = CLI_OK;
    if (n < 0 && !cli_stop_asked())
        rc = cli_fail(l->c, CLI_FAILED, "%s: %s", shown, strerror(errno));
    else if (n > 0 && blank < (size_t)n && begun[blank] == '[')
        rc = read_array(l, fd, shown, begun, (size_t)n);
    else if (n > 0)
        rc = read_lines(l, fd, shown, begun, (size_t)n);
    if (rc == CLI_OK) rc = cli_stream_flush(&l->stream);
    if (!is_stdin) close(fd);
    free(begun);
    return rc;
}

static uint64_t size_of(const cli *c) {
    uint64_t total = 0;
    for (size_t i = 0; i < c->word_count; i++) {
        struct stat st;
        if (stat(c->words[i], &st) || !S_ISREG(st.st_mode)) return 0; /* a pipe: not known */
        total += (uint64_t)st.st_size;
    }
    return total;
}

static int load_all(loader *l, const char *path) {
    cli *c = l->c;
    double began = cli_now();
    int rc = CLI_OK;
    cli_progress_begin(&l->progress, c, "loading", "lines", size_of(c));
    size_t i = 0;
    while (i < c->word_count && rc == CLI_OK && !cli_stop_asked()) rc = load_file(l, c->words[i++], path);
    cli_progress_end(&l->progress);
    int report = cli_stream_print(&l->stream, cli_now() - began);
    bool stopped = cli_stop_asked();
    if (rc == CLI_OK && !stopped) return report;
    cli_fail(c, CLI_FAILED,
             "%s: %s after line %zu; everything up to it is stored, and the file may be loaded again"
             " (only interactions without an idempotency_key would count twice)",
             l->stream.source, stopped ? "stopped" : "failed", l->stream.acknowledged);
    return rc == CLI_OK ? CLI_FAILED : rc;
}

static int run(cli *c) {
    static const struct {
        const char *kind, *path;
    } routes[] = {{"item", "/v1/items"},
                  {"relation", "/v1/relations"},
                  {"user", "/v1/items"},
                  {"interaction", "/v1/interactions"}};
    int rc = cli_words_between(c, 1, SIZE_MAX, "a FILE (or - for the standard input)");
    if (rc) return rc;
    const char *kind = cli_flag_text(c, "kind"), *path = kind ? NULL : "/v1/items";
    for (size_t i = 0; !path && i < sizeof routes / sizeof routes[0]; i++)
        if (strcmp(kind, routes[i].kind) == 0) path = routes[i].path;
    if (!path)
        return cli_fail(c, CLI_USAGE, "--kind must be one of item, relation, user, interaction, not \"%s\"", kind);
    for (size_t i = 0; i < c->word_count; i++) /* before a database is made for nothing */
        if (strcmp(c->words[i], "-") != 0 && access(c->words[i], R_OK) != 0)
            return cli_fail(c, CLI_FAILED, "%s: %s; give the path of an NDJSON file, or - for the standard input",
                            c->words[i], strerror(errno));
    cli_stop_catch();
    if ((rc = cli_target_open(c))) return rc;
    loader *l = cli_alloc(sizeof *l);
    l->c = c;
    l->wrap_users = kind && strcmp(kind, "user") == 0;
    cli_stream_begin(&l->stream, c, path, "");
    rc = load_all(l, path);
    cli_stream_free(&l->stream);
    free(l->line);
    free(l);
    return rc;
}

static const cli_flag flags[] = {
    {"kind", "KIND", "what a bare object is: item (default), relation, user, interaction"},
    {0},
};

const cli_command cmd_load = {
    .name = "load",
    .summary = "put items, relations, users and interactions from NDJSON files into the database",
    .usage = "braid load [flags] FILE...",
    .about = "Reads one JSON object a line (or one JSON array) from each FILE, or from the standard input for\n"
             "\"-\". A line is a bare item, or wrapped: {\"item\":{}}, {\"relation\":{}}, {\"user\":{}},\n"
             "{\"interaction\":{}}, {\"delete\":{\"item\":\"ID\"}}. A put replaces the whole thing, so a file\n"
             "may be loaded again. Bad lines are named by FILE:LINE and left out; the others are stored,\n"
             "durably, piece by piece. Exit 1 if any line was rejected. Makes the database if it is not there.",
    .examples = "braid load --db films.db data/catalogue-1.ndjson data/relations-1.ndjson\n"
                "zcat history.ndjson.gz | braid load --url http://127.0.0.1:8080 --kind interaction -",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .creates = true,
    .run = run,
};
