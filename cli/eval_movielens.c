/* MovieLens as numbers for the protocols: films and people by ascending id, ratings by person and film.
 *
 * Unlike an import, which leaves a bad row out and goes on, this stops at the first: a figure is only comparable
 * when it was computed over exactly the same rows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "eval.h"
#include "movielens.h"

enum { COLUMNS = 4 };

typedef struct loader loader;
typedef int take_row(loader *l, const int *column);

struct loader {
    const cli *c;
    eval_data *d;
    const char *path;
    csv_reader r;
    size_t rating_cap, tag_cap, film_cap;
    int64_t *rating_user; /* ids, until people have numbers */
};

static int bad_row(const loader *l, const char *why) {
    return cli_fail(l->c, CLI_FAILED, "%s:%zu: %s", l->path, l->r.line, why);
}

static const char *field(const loader *l, int column) {
    return l->r.field[column];
}

static int read_rows(loader *l, take_row *take, const char *const *wanted) {
    int column[COLUMNS], rc = CLI_OK;
    bool headed = csv_next(&l->r) && !l->r.wrong;
    for (size_t i = 0; rc == CLI_OK && i < COLUMNS && wanted[i]; i++) {
        column[i] = headed ? csv_column(&l->r, wanted[i]) : -1;
        if (column[i] < 0)
            rc = cli_fail(l->c, CLI_FAILED,
                          "%s:1: the column \"%s\" is missing in the header; is this the MovieLens layout?", l->path,
                          wanted[i]);
    }
    size_t columns = l->r.count;
    while (rc == CLI_OK && csv_next(&l->r)) {
        if (l->r.wrong)
            rc = bad_row(l, l->r.wrong);
        else if (l->r.count != columns)
            rc = bad_row(l, "the row does not have as many fields as the header");
        else
            rc = take(l, column);
    }
    if (rc == CLI_OK && ferror(l->r.in)) rc = cli_fail(l->c, CLI_FAILED, "%s: %s", l->path, strerror(errno));
    return rc;
}

static int read_csv(loader *l, const char *folder, const char *name, bool optional, take_row *take,
                    const char *const *wanted) {
    char *path = cli_format("%s/%s", folder, name);
    int rc = CLI_OK;
    l->path = path;
    if (csv_open(&l->r, path)) {
        rc = read_rows(l, take, wanted);
        csv_close(&l->r);
    } else if (!optional || errno != ENOENT) {
        rc = cli_fail(l->c, CLI_FAILED, "%s: %s; give the folder that holds movies.csv and ratings.csv", path,
                      strerror(errno));
    }
    free(path);
    return rc;
}

/* ---- numbers for ids ---- */

static int by_id(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t number_of(const int64_t *ids, uint32_t n, int64_t id) {
    const int64_t *found = n ? bsearch(&id, ids, n, sizeof *ids, by_id) : NULL;
    return found ? (uint32_t)(found - ids) : UINT32_MAX;
}

uint32_t eval_film(const eval_data *d, int64_t id) {
    return number_of(d->films, d->film_count, id);
}

uint32_t eval_user(const eval_data *d, int64_t id) {
    return number_of(d->users, d->user_count, id);
}

/* ---- movies ---- */

static int take_movie(loader *l, const int *column) {
    eval_data *d = l->d;
    long long id;
    int year;
    if (!movielens_id(field(l, column[0]), &id)) return bad_row(l, "movieId is not a number");
    json_t *title = movielens_title(field(l, column[1]), &year);
    if (!title) return bad_row(l, "the title is not valid UTF-8");
    if (d->film_count == l->film_cap) {
        l->film_cap = l->film_cap ? l->film_cap * 2 : 4096;
        d->films = cli_grow(d->films, l->film_cap * sizeof *d->films);
        d->items = cli_grow(d->items, l->film_cap * sizeof *d->items);
    }
    char *name = cli_format("ml-%lld", id);
    json_t *item = json_pack("{s:s, s:o, s:s, s:o}", "id", name, "title", title, "kind", "film", "genres",
                             movielens_genres(field(l, column[2])));
    free(name);
    if (year) json_object_set_new(item, "year", json_integer(year));
    d->films[d->film_count] = id;
    d->items[d->film_count++] = item;
    if (d->film_count > 1 && id <= d->films[d->film_count - 2])
        return bad_row(l, "films must come by ascending movieId, each once");
    return CLI_OK;
}

/* ---- ratings and tags ---- */

static int take_rating(loader *l, const int *column) {
    eval_data *d = l->d;
    long long user, film, at;
    char *end;
    const char *text = field(l, column[2]);
    double value = strtod(text, &end); /* the program never leaves the C locale */
    if (!movielens_id(field(l, column[0]), &user)) return bad_row(l, "userId is not a number");
    if (!movielens_id(field(l, column[1]), &film)) return bad_row(l, "movieId is not a number");
    if (end == text || *end || !(value >= 0.5 && value <= 5))
        return bad_row(l, "the rating is not a number from 0.5 to 5");
    if (!movielens_id(field(l, column[3]), &at) || at > INT64_C(253402300799))
        return bad_row(l, "the timestamp is not a number of seconds");
    uint32_t number = eval_film(d, film);
    if (number == UINT32_MAX) return bad_row(l, "movies.csv does not have this film");
    if (d->rating_count == l->rating_cap) {
        l->rating_cap = l->rating_cap ? l->rating_cap * 2 : 65536;
        d->ratings = cli_grow(d->ratings, l->rating_cap * sizeof *d->ratings);
        l->rating_user = cli_grow(l->rating_user, l->rating_cap * sizeof *l->rating_user);
    }
    l->rating_user[d->rating_count] = user;
    d->ratings[d->rating_count++] = (eval_rating){.film = number, .value = (float)value, .at = at};
    return CLI_OK;
}

/* A tag of somebody who rates nothing, or of a film that is not there, can never be known. */
static int take_tag(loader *l, const int *column) {
    eval_data *d = l->d;
    long long user, film, at;
    const char *text = field(l, column[2]);
    if (!movielens_id(field(l, column[0]), &user)) return bad_row(l, "userId is not a number");
    if (!movielens_id(field(l, column[1]), &film)) return bad_row(l, "movieId is not a number");
    if (!movielens_id(field(l, column[3]), &at)) return bad_row(l, "the timestamp is not a number of seconds");
    while (*text == ' ') text++;
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == ' ') len--;
    uint32_t u = eval_user(d, user), f = eval_film(d, film);
    if (u == UINT32_MAX || f == UINT32_MAX || len == 0 || len > 255) return CLI_OK;
    if (d->tag_count == l->tag_cap)
        d->tags = cli_grow(d->tags, sizeof *d->tags * (l->tag_cap = l->tag_cap ? l->tag_cap * 2 : 1024));
    d->tags[d->tag_count++] = (eval_tag){u, f, at, movielens_lower(text, len)};
    return CLI_OK;
}

static int by_user_film(const void *a, const void *b) {
    const eval_rating *x = a, *y = b;
    if (x->user != y->user) return x->user < y->user ? -1 : 1;
    return x->film < y->film ? -1 : x->film > y->film;
}

static int by_film_text(const void *a, const void *b) {
    const eval_tag *x = a, *y = b;
    if (x->film != y->film) return x->film < y->film ? -1 : 1;
    return strcmp(x->text, y->text);
}

/* People get their numbers, ratings their order; a film that somebody rated twice is refused. */
static int number_people(loader *l, const char *folder) {
    eval_data *d = l->d;
    d->users = cli_alloc(d->rating_count * sizeof *d->users);
    memcpy(d->users, l->rating_user, d->rating_count * sizeof *d->users);
    qsort(d->users, d->rating_count, sizeof *d->users, by_id);
    for (size_t i = 0; i < d->rating_count; i++)
        if (i == 0 || d->users[i] != d->users[d->user_count - 1]) d->users[d->user_count++] = d->users[i];
    for (size_t i = 0; i < d->rating_count; i++) d->ratings[i].user = eval_user(d, l->rating_user[i]);
    qsort(d->ratings, d->rating_count, sizeof *d->ratings, by_user_film);
    for (size_t i = 1; i < d->rating_count; i++)
        if (by_user_film(&d->ratings[i - 1], &d->ratings[i]) == 0)
            return cli_fail(l->c, CLI_FAILED, "%s/ratings.csv: user %lld has rated film %lld twice", folder,
                            (long long)d->users[d->ratings[i].user], (long long)d->films[d->ratings[i].film]);
    return CLI_OK;
}

/* ---- all of it ---- */

int eval_data_read(const cli *c, const char *folder, eval_data *d) {
    loader l = {.c = c, .d = d};
    *d = (eval_data){0};
    int rc = read_csv(&l, folder, "movies.csv", false, take_movie,
                      (const char *const[]){"movieId", "title", "genres", NULL});
    if (rc == CLI_OK)
        rc = read_csv(&l, folder, "ratings.csv", false, take_rating,
                      (const char *const[]){"userId", "movieId", "rating", "timestamp"});
    if (rc == CLI_OK && d->rating_count == 0) rc = cli_fail(c, CLI_FAILED, "%s/ratings.csv holds no ratings", folder);
    if (rc == CLI_OK) rc = number_people(&l, folder);
    if (rc == CLI_OK)
        rc = read_csv(&l, folder, "tags.csv", true, take_tag,
                      (const char *const[]){"userId", "movieId", "tag", "timestamp"});
    if (d->tag_count) qsort(d->tags, d->tag_count, sizeof *d->tags, by_film_text);
    free(l.rating_user);
    if (rc != CLI_OK) eval_data_free(d);
    return rc;
}

void eval_data_free(eval_data *d) {
    for (uint32_t i = 0; i < d->film_count; i++) {
        if (d->items) json_decref(d->items[i]);
        if (d->lines) free(d->lines[i]);
        if (d->vectors) free(d->vectors[i]);
    }
    for (size_t i = 0; i < d->tag_count; i++) free(d->tags[i].text);
    free(d->films);
    free(d->users);
    free(d->items);
    free(d->lines);
    free(d->vectors);
    free(d->ratings);
    free(d->tags);
    *d = (eval_data){0};
}
