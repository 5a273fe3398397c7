/* Reading options from a YAML file.
 *
 * The file is a mapping of sections, each a mapping of scalars. It is read with libyaml's event interface: at
 * every scalar the parser knows its line, so an unknown key, a key given twice and a value out of range are all
 * reported as "file:line: ...". libcyaml, which stands on the same parser, was rejected: it loads a value
 * without its line, so that a bound broken in line 7 could not be located, and its schema errors reach the
 * program only as text for a log. Values stay text here; the row decides what the text means ("no" is a fine
 * name for a host).
 *
 * Refused: anchors used by an alias, sequences, nesting deeper than two, a second document, files over
 * OPTION_FILE_BYTES_MAX. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "options_private.h"

enum { OPTIONS_YAML_PATH_SHOWN = 90, OPTIONS_YAML_WHERE_BYTES = 160 };

typedef struct options_yaml {
    option_set *set;
    const char *path;
    FILE *file;
    size_t bytes_read;
    int read_errno;
    bool too_large;
    yaml_parser_t parser;
    size_t *section_lines; /* by first row of the section: where it was opened, 0 if it was not */
    size_t *row_lines;     /* where the row was given, 0 if it was not */
    braid_error *err;
} options_yaml;

/* ---- errors ---- */

/* "braid.yaml:7: "; a long path shows its end. */
static const char *options_yaml_where(const options_yaml *y, size_t line, char out[OPTIONS_YAML_WHERE_BYTES]) {
    size_t len = strlen(y->path);
    bool cut = len > OPTIONS_YAML_PATH_SHOWN;
    const char *shown = cut ? y->path + len - OPTIONS_YAML_PATH_SHOWN : y->path;
    snprintf(out, OPTIONS_YAML_WHERE_BYTES, "%s%s:%zu: ", cut ? "..." : "", shown, line);
    return out;
}

static int options_yaml_fail(options_yaml *y, int code, size_t line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int options_yaml_fail(options_yaml *y, int code, size_t line, const char *format, ...) {
    char where[OPTIONS_YAML_WHERE_BYTES], what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return error_set(y->err, code, "options", "%s%s", options_yaml_where(y, line, where), what);
}

static int options_yaml_syntax(options_yaml *y) {
    const yaml_parser_t *p = &y->parser;
    if (y->read_errno != 0)
        return error_set(y->err, BRAID_E_IO, "options", "reading %s failed: %s", y->path, strerror(y->read_errno));
    if (y->too_large)
        return error_set(y->err, BRAID_E_TOO_LARGE, "options", "%s is larger than %d bytes", y->path,
                         OPTION_FILE_BYTES_MAX);
    if (p->error == YAML_MEMORY_ERROR)
        return error_set(y->err, BRAID_E_NO_MEMORY, "options", "no memory to read %s", y->path);
    if (p->error == YAML_READER_ERROR)
        return error_set(y->err, BRAID_E_UTF8, "options", "%s: %s at byte %zu", y->path, p->problem, p->problem_offset);
    const char *problem = p->problem != NULL ? p->problem : "this is not YAML";
    const char *context = p->context != NULL ? p->context : "";
    return options_yaml_fail(y, BRAID_E_INVALID, p->problem_mark.line + 1, "%s%s%s", problem,
                             context[0] != '\0' ? " " : "", context);
}

/* ---- reading ---- */

static int options_yaml_read(void *data, unsigned char *out, size_t size, size_t *size_read) {
    options_yaml *y = data;
    errno = 0;
    *size_read = fread(out, 1, size, y->file);
    if (ferror(y->file)) {
        y->read_errno = errno != 0 ? errno : EIO;
        return 0;
    }
    y->bytes_read += *size_read;
    y->too_large = y->bytes_read > OPTION_FILE_BYTES_MAX;
    return !y->too_large;
}

static int options_yaml_next(options_yaml *y, yaml_event_t *event) {
    return yaml_parser_parse(&y->parser, event) ? BRAID_OK : options_yaml_syntax(y);
}

static size_t options_yaml_line(const yaml_event_t *event) {
    return event->start_mark.line + 1;
}

static const char *options_yaml_text(const yaml_event_t *scalar) {
    return (const char *)scalar->data.scalar.value;
}

/* `name:` with nothing after it, or a null in plain style. */
static bool options_yaml_is_null(const yaml_event_t *event) {
    if (event->type != YAML_SCALAR_EVENT || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    const char *text = options_yaml_text(event);
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

/* The next event must be a scalar without a NUL inside; it belongs to the caller, also after a failure. */
static int options_yaml_scalar(options_yaml *y, yaml_event_t *event, const char *what) {
    size_t line = options_yaml_line(event);
    if (event->type == YAML_ALIAS_EVENT)
        return options_yaml_fail(y, BRAID_E_INVALID, line, "%s is an alias; aliases are not supported", what);
    if (event->type != YAML_SCALAR_EVENT)
        return options_yaml_fail(y, BRAID_E_INVALID, line, "%s must be one plain value, not a list or a mapping", what);
    if (strlen(options_yaml_text(event)) != event->data.scalar.length)
        return options_yaml_fail(y, BRAID_E_INVALID, line, "%s has a NUL character in it", what);
    return BRAID_OK;
}

/* ---- the two levels ---- */

/* The value of row i. */
static int options_yaml_value(options_yaml *y, size_t i, const char *key) {
    yaml_event_t event;
    int code = options_yaml_next(y, &event);
    if (code != BRAID_OK) return code;
    size_t line = options_yaml_line(&event);
    char where[OPTIONS_YAML_WHERE_BYTES];
    code = options_yaml_scalar(y, &event, key);
    if (code == BRAID_OK && options_yaml_is_null(&event))
        code = options_yaml_fail(y, BRAID_E_INVALID, line,
                                 "%s has no value; remove the line, or write \"\" for an empty text", key);
    if (code == BRAID_OK)
        code = option_set_row(y->set, i, options_yaml_where(y, line, where), options_yaml_text(&event), y->err);
    yaml_event_delete(&event);
    return code;
}

static int options_yaml_unknown(options_yaml *y, size_t line, bool section, const char *key) {
    const char *nearest = option_nearest(y->set, key, section);
    return options_yaml_fail(y, BRAID_E_UNKNOWN_FIELD, line, "there is no %s \"%.40s\"; the nearest is \"%s\"",
                             section ? "section" : "option", key, nearest != NULL ? nearest : "");
}

/* One `name: value` of a section; `name` is the event of the name. */
static int options_yaml_entry(options_yaml *y, const char *section, yaml_event_t *name) {
    int code = options_yaml_scalar(y, name, "a name");
    if (code != BRAID_OK) return code;
    char key[2 * OPTION_KEY_BYTES_MAX]; /* a longer one is cut, and no row's key is so long */
    snprintf(key, sizeof key, "%s.%s", section, options_yaml_text(name));
    size_t line = options_yaml_line(name), i = option_find(y->set, key);
    if (i == SIZE_MAX) return options_yaml_unknown(y, line, false, key);
    if (y->row_lines[i] != 0)
        return options_yaml_fail(y, BRAID_E_INVALID, line, "%s is given twice, first in line %zu", key,
                                 y->row_lines[i]);
    y->row_lines[i] = line;
    return options_yaml_value(y, i, key);
}

/* What follows `section:`, a mapping or nothing. */
static int options_yaml_section(options_yaml *y, const char *section) {
    yaml_event_t event;
    int code = options_yaml_next(y, &event);
    if (code != BRAID_OK) return code;
    bool mapping = event.type == YAML_MAPPING_START_EVENT;
    if (!mapping && !options_yaml_is_null(&event))
        code = options_yaml_fail(y, BRAID_E_INVALID, options_yaml_line(&event),
                                 "section \"%s\" must hold lines of \"  name: value\"", section);
    yaml_event_delete(&event);
    for (bool more = mapping; code == BRAID_OK && more;) {
        code = options_yaml_next(y, &event);
        if (code != BRAID_OK) break;
        more = event.type != YAML_MAPPING_END_EVENT;
        if (more) code = options_yaml_entry(y, section, &event);
        yaml_event_delete(&event);
    }
    return code;
}

/* The first row of a section, or SIZE_MAX. */
static size_t options_yaml_find_section(const options_yaml *y, const char *name) {
    size_t count;
    const option_row *rows = option_rows(y->set, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].section, name) == 0) return i;
    return SIZE_MAX;
}

static int options_yaml_top(options_yaml *y, yaml_event_t *name) {
    int code = options_yaml_scalar(y, name, "a section's name");
    if (code != BRAID_OK) return code;
    const char *section = options_yaml_text(name);
    size_t line = options_yaml_line(name), first = options_yaml_find_section(y, section);
    if (first == SIZE_MAX) return options_yaml_unknown(y, line, true, section);
    if (y->section_lines[first] != 0)
        return options_yaml_fail(y, BRAID_E_INVALID, line, "section \"%s\" is given twice, first in line %zu", section,
                                 y->section_lines[first]);
    y->section_lines[first] = line;
    return options_yaml_section(y, section);
}

/* Runs over the stream. Start and end events of stream, document and outer mapping may come in one order only,
 * libyaml sees to it. */
static int options_yaml_stream(options_yaml *y) {
    bool in_mapping = false, done = false;
    size_t documents = 0;
    int code = BRAID_OK;
    while (code == BRAID_OK && !done) {
        yaml_event_t event;
        code = options_yaml_next(y, &event);
        if (code != BRAID_OK) break;
        bool frame = event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT;
        if (event.type == YAML_STREAM_END_EVENT)
            done = true;
        else if (event.type == YAML_DOCUMENT_START_EVENT && documents++ > 0)
            code = options_yaml_fail(y, BRAID_E_INVALID, options_yaml_line(&event), "a second document begins here");
        else if (event.type == YAML_MAPPING_END_EVENT)
            in_mapping = false;
        else if (in_mapping)
            code = options_yaml_top(y, &event);
        else if (event.type == YAML_MAPPING_START_EVENT)
            in_mapping = true;
        else if (!frame && event.type != YAML_DOCUMENT_START_EVENT && !options_yaml_is_null(&event))
            code = options_yaml_fail(y, BRAID_E_INVALID, options_yaml_line(&event),
                                     "the file must hold sections (\"name:\")");
        yaml_event_delete(&event);
    }
    return code;
}

static int options_yaml_run(options_yaml *y) {
    if (!yaml_parser_initialize(&y->parser))
        return error_set(y->err, BRAID_E_NO_MEMORY, "options", "no memory to read %s", y->path);
    yaml_parser_set_input(&y->parser, options_yaml_read, y);
    int code = options_yaml_stream(y);
    yaml_parser_delete(&y->parser);
    return code;
}

int option_set_load_yaml(option_set *set, const char *path, braid_error *err) {
    options_yaml y = {.path = path, .err = err};
    size_t count;
    option_rows(set, &count);
    int code = option_set_copy(set, &y.set, err);
    if (code != BRAID_OK) return code;
    y.section_lines = calloc(count + 1, sizeof *y.section_lines);
    y.row_lines = calloc(count + 1, sizeof *y.row_lines);
    if (y.section_lines == NULL || y.row_lines == NULL) {
        code = error_set(err, BRAID_E_NO_MEMORY, "options", "no memory to read %s", path);
        goto cleanup;
    }
    y.file = fopen(path, "re");
    if (y.file == NULL) {
        code = errno == ENOENT ? BRAID_E_NOT_FOUND : errno == ENOMEM ? BRAID_E_NO_MEMORY : BRAID_E_IO;
        error_set(err, code, "options", "cannot open %s: %s", path, strerror(errno));
        goto cleanup;
    }
    code = options_yaml_run(&y);
    if (code == BRAID_OK) {
        option_set_replace(set, y.set);
        y.set = NULL;
    }
cleanup:
    if (y.file != NULL) fclose(y.file);
    free(y.section_lines);
    free(y.row_lines);
    option_set_free(y.set);
    return code;
}
