/* What else is known of the films: people out of lines of JSON, vectors out of a matrix, and the text of each item
 * that the databases are filled from. A vector is printed once, since nine databases take it. */
#include <stdlib.h>
#include <string.h>

#include "eval.h"
#include "npy.h"

enum { LINES_BYTES_MAX = 1 << 30, PEOPLE_MAX = 50 };

/* Names; a remark in brackets, as "(voices)", is none. */
static json_t *people_of(const json_t *cast) {
    json_t *people = json_array();
    const json_t *name;
    size_t i;
    json_array_foreach (cast, i, name) {
        const char *text = json_string_value(name);
        if (text && *text && *text != '(' && json_array_size(people) < PEOPLE_MAX)
            json_array_append_new(people, json_string(text));
    }
    return people;
}

/* [0.0321,-0.125,..] after the item's other fields; five digits hold a float16, nine a float32. */
static void add_vector(eval_data *d, uint32_t film, const float *vector) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out) return;
    for (uint32_t i = 0; i < d->dimension; i++) fprintf(out, "%s%.9g", i ? "," : "", (double)vector[i]);
    fclose(out);
    free(d->vectors[film]);
    d->vectors[film] = text;
}

typedef struct content {
    const cli *c;
    eval_data *d;
    const char *path;
    npy matrix;
    size_t line, rows;
} content;

static int take_line(content *m, const char *text, size_t len) {
    json_error_t why;
    json_t *film = json_loadb(text, len, 0, &why), *id = json_object_get(film, "movieId");
    int rc = CLI_OK;
    uint32_t number = json_is_integer(id) ? eval_film(m->d, json_integer_value(id)) : UINT32_MAX;
    if (!film)
        rc = cli_fail(m->c, CLI_FAILED, "%s:%zu: this is not JSON: %s", m->path, m->line, why.text);
    else if (!json_is_integer(id))
        rc = cli_fail(m->c, CLI_FAILED, "%s:%zu: there is no \"movieId\" with a number", m->path, m->line);
    else if (m->matrix.values && m->rows >= m->matrix.rows)
        rc = cli_fail(m->c, CLI_FAILED, "%s:%zu: the matrix has only %zu rows, one a line is wanted", m->path, m->line,
                      m->matrix.rows);
    if (rc == CLI_OK && number != UINT32_MAX) {
        json_t *people = people_of(json_object_get(film, "cast"));
        if (json_array_size(people)) json_object_set(m->d->items[number], "people", people);
        json_decref(people);
        if (m->matrix.values) add_vector(m->d, number, m->matrix.values + m->rows * m->matrix.columns);
    }
    m->rows++;
    json_decref(film);
    return rc;
}

int eval_content_read(const cli *c, const char *lines, const char *matrix, eval_data *d) {
    content m = {.c = c, .d = d, .path = lines};
    char why[NPY_WHY], *text = NULL;
    size_t len = 0;
    int rc = CLI_OK;
    if (matrix && !npy_read(matrix, &m.matrix, why)) return cli_fail(c, CLI_FAILED, "%s: %s", matrix, why);
    if (matrix && (m.matrix.columns < 2 || m.matrix.columns > 4096))
        rc =
            cli_fail(c, CLI_FAILED, "%s: a vector has %zu numbers; 2 to 4096 can be indexed", matrix, m.matrix.columns);
    d->dimension = (uint32_t)m.matrix.columns;
    if (matrix) d->vectors = cli_alloc(d->film_count * sizeof *d->vectors);
    if (rc == CLI_OK) rc = cli_read_file(c, lines, LINES_BYTES_MAX, &text, &len);
    for (size_t at = 0; rc == CLI_OK && at < len;) {
        const char *stop = memchr(text + at, '\n', len - at);
        size_t bytes = stop ? (size_t)(stop - text) - at : len - at;
        m.line++;
        if (bytes) rc = take_line(&m, text + at, bytes);
        at += bytes + 1;
    }
    if (rc == CLI_OK && matrix && m.rows != m.matrix.rows)
        rc = cli_fail(c, CLI_FAILED, "%s has %zu rows, but %s %zu lines; they must be in the same order", matrix,
                      m.matrix.rows, lines, m.rows);
    free(text);
    npy_free(&m.matrix);
    return rc;
}

void eval_data_finish(eval_data *d) {
    d->lines = cli_alloc(d->film_count * sizeof *d->lines);
    for (uint32_t i = 0; i < d->film_count; i++) {
        d->lines[i] = json_dumps(d->items[i], JSON_COMPACT);
        if (!d->lines[i]) d->lines[i] = cli_copy("{}"); /* nothing that was read as JSON fails to be written */
        d->lines[i][strlen(d->lines[i]) - 1] = '\0';
        json_decref(d->items[i]);
    }
    free(d->items);
    d->items = NULL;
}
