/* MovieLens -> Braid.
 *
 *   movies.csv   an item "ml-<movieId>": title without the year, year, genres in lower case
 *   tags.csv     its themes: the most frequent distinct tags, in lower case
 *   links.csv    its attributes imdb_id and tmdb_id
 *   ratings.csv  an interaction "rate" of "ml-user-<userId>", with a key, so that importing twice changes nothing
 *
 * Tags and links are small beside ratings and are held, sorted by film; ratings stream through. Bad rows are named by
 * FILE:LINE. */
#include "movielens.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "csv.h"

enum { THEMES_MAX = 10, FILES_HEAD = 4 };

typedef struct tag {
    long long movie;
    char *text;
    unsigned count;
} tag;

typedef struct movie_link {
    long long movie;
    char *imdb, *tmdb;
} movie_link;

typedef struct importer {
    cli *c;
    const char *folder;
    cli_stream stream;
    cli_progress progress;
    uint64_t rows, bytes; /* of the files before the one in hand */
    tag *tags;
    size_t tag_count, tag_cap;
    movie_link *links;
    size_t link_count, link_cap;
    json_t *users; /* set of those that were written */
} importer;

typedef int take_row(importer *m, const csv_reader *r, const int *column);

/* ---- fields ---- */

bool movielens_id(const char *text, long long *out) {
    size_t len = strlen(text);
    if (len == 0 || len > 15 || strspn(text, "0123456789") != len) return false;
    *out = strtoll(text, NULL, 10);
    return true;
}

static int reject(importer *m, const csv_reader *r, const char *why) {
    cli_stream_reject(&m->stream, r->line, "INVALID", why);
    return CLI_OK;
}

/* Latin letters of ASCII only: tags are English, and a wrong fold is worse than none. */
char *movielens_lower(const char *text, size_t len) {
    char *out = cli_format("%.*s", (int)len, text);
    for (char *s = out; *s; s++) *s = (char)tolower((unsigned char)*s);
    return out;
}

/* "Toy Story (1995)" -> "Toy Story", 1995; a title without a year keeps all of its text. */
json_t *movielens_title(const char *title, int *year) {
    size_t len = strlen(title);
    *year = 0;
    while (len > 0 && title[len - 1] == ' ') len--;
    const char *open = len >= 6 ? title + len - 6 : "";
    if (*open == '(' && open[5] == ')' && strspn(open + 1, "0123456789") == 4) {
        *year = (int)strtol(open + 1, NULL, 10); /* four digits, as was checked */
        len -= 6;
        while (len > 0 && title[len - 1] == ' ') len--;
    }
    return json_stringn(title, len);
}

/* ---- files ---- */

/* Reads one file whose header must hold the columns of `wanted` (NULL at the end) and hands its rows out. A file that
 * may be missing is skipped. */
static int read_csv(importer *m, const char *name, bool optional, const char *const *wanted, take_row *take) {
    char *path = cli_format("%s/%s", m->folder, name);
    csv_reader r;
    int column[FILES_HEAD], rc = CLI_OK;
    if (!csv_open(&r, path)) {
        bool skip = optional && errno == ENOENT;
        if (!skip)
            rc = cli_fail(m->c, CLI_FAILED, "%s: %s; give the folder that holds movies.csv and ratings.csv", path,
                          strerror(errno));
        else
            cli_note(m->c, "%s is not there; going on without it", path);
        free(path);
        return rc;
    }
    cli_stream_source(&m->stream, "/v1/items", path);
    bool headed = csv_next(&r) && !r.wrong;
    for (size_t i = 0; rc == CLI_OK && i < FILES_HEAD && wanted[i]; i++) {
        column[i] = headed ? csv_column(&r, wanted[i]) : -1;
        if (column[i] < 0)
            rc = cli_fail(m->c, CLI_FAILED,
                          "%s:1: the column \"%s\" is missing in the header; is this the MovieLens layout?", path,
                          wanted[i]);
    }
    size_t columns = r.count;
    while (rc == CLI_OK && !cli_stop_asked() && csv_next(&r)) {
        if (r.wrong)
            reject(m, &r, r.wrong);
        else if (r.count != columns)
            reject(m, &r, "the row does not have as many fields as the header");
        else
            rc = take(m, &r, column);
        m->rows++;
        cli_progress_to(&m->progress, m->bytes + r.bytes, m->rows);
    }
    if (rc == CLI_OK && ferror(r.in)) rc = cli_fail(m->c, CLI_FAILED, "%s: %s", path, strerror(errno));
    if (rc == CLI_OK) rc = cli_stream_flush(&m->stream);
    if (rc != CLI_OK || cli_stop_asked())
        cli_note(m->c,
                 "braid: %s: stopped after line %zu; what was written stays, and importing again changes nothing twice",
                 path, m->stream.acknowledged);
    m->bytes += r.bytes;
    csv_close(&r);
    free(path);
    return rc;
}

/* ---- tags and links ---- */

static int take_tag(importer *m, const csv_reader *r, const int *column) {
    long long movie;
    const char *text = r->field[column[1]];
    if (!movielens_id(r->field[column[0]], &movie)) return reject(m, r, "movieId is not a number");
    while (*text == ' ') text++;
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == ' ') len--;
    if (len == 0 || len > 255) return reject(m, r, "the tag is empty or longer than 255 bytes");
    if (m->tag_count == m->tag_cap)
        m->tags = cli_grow(m->tags, sizeof *m->tags * (m->tag_cap = m->tag_cap ? m->tag_cap * 2 : 1024));
    m->tags[m->tag_count++] = (tag){movie, movielens_lower(text, len), 1};
    return CLI_OK;
}

static int take_link(importer *m, const csv_reader *r, const int *column) {
    long long movie;
    if (!movielens_id(r->field[column[0]], &movie)) return reject(m, r, "movieId is not a number");
    if (m->link_count == m->link_cap)
        m->links = cli_grow(m->links, sizeof *m->links * (m->link_cap = m->link_cap ? m->link_cap * 2 : 1024));
    m->links[m->link_count++] = (movie_link){movie, cli_copy(r->field[column[1]]), cli_copy(r->field[column[2]])};
    return CLI_OK;
}

static int by_movie_text(const void *a, const void *b) {
    const tag *x = a, *y = b;
    return x->movie != y->movie ? (x->movie < y->movie ? -1 : 1) : strcmp(x->text, y->text);
}

static int by_movie_count(const void *a, const void *b) {
    const tag *x = a, *y = b;
    if (x->movie != y->movie) return x->movie < y->movie ? -1 : 1;
    return x->count != y->count ? (x->count > y->count ? -1 : 1) : strcmp(x->text, y->text);
}

static int by_link(const void *a, const void *b) {
    const movie_link *x = a, *y = b;
    return x->movie < y->movie ? -1 : x->movie > y->movie;
}

/* Equal tags of a film become one with a count; then the most frequent come first. */
static void sort_tags(importer *m) {
    size_t kept = 0;
    if (m->tag_count) qsort(m->tags, m->tag_count, sizeof *m->tags, by_movie_text);
    for (size_t i = 0; i < m->tag_count; i++) {
        if (kept && by_movie_text(&m->tags[kept - 1], &m->tags[i]) == 0) {
            m->tags[kept - 1].count++;
            free(m->tags[i].text);
        } else {
            m->tags[kept++] = m->tags[i];
        }
    }
    m->tag_count = kept;
    if (kept) qsort(m->tags, kept, sizeof *m->tags, by_movie_count);
    if (m->link_count) qsort(m->links, m->link_count, sizeof *m->links, by_link);
}

/* ---- movies ---- */

json_t *movielens_genres(const char *text) {
    json_t *genres = json_array();
    if (text[0] == '(') return genres; /* "(no genres listed)" */
    while (*text) {
        size_t len = strcspn(text, "|");
        char *genre = movielens_lower(text, len);
        if (*genre) json_array_append_new(genres, json_string(genre));
        free(genre);
        text += len + (text[len] == '|');
    }
    return genres;
}

static json_t *themes_of(const importer *m, long long movie) {
    json_t *themes = json_array();
    size_t low = 0, high = m->tag_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->tags[middle].movie < movie)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i < m->tag_count && i < low + THEMES_MAX && m->tags[i].movie == movie; i++)
        json_array_append_new(themes,
                              json_string(m->tags[i].text)); /* a tag that is not UTF-8 gives NULL and is left out */
    return themes;
}

static json_t *attributes_of(const importer *m, long long movie) {
    json_t *attributes = json_object();
    movie_link key = {.movie = movie},
               *found = m->link_count ? bsearch(&key, m->links, m->link_count, sizeof key, by_link) : NULL;
    if (found && *found->imdb) json_object_set_new(attributes, "imdb_id", json_string(found->imdb));
    if (found && *found->tmdb) json_object_set_new(attributes, "tmdb_id", json_string(found->tmdb));
    return attributes;
}

static int take_movie(importer *m, const csv_reader *r, const int *column) {
    long long movie;
    int year;
    if (!movielens_id(r->field[column[0]], &movie)) return reject(m, r, "movieId is not a number");
    json_t *title = movielens_title(r->field[column[1]], &year);
    if (!title) return reject(m, r, "the title is not valid UTF-8");
    char *id = cli_format("ml-%lld", movie);
    json_t *item = json_pack("{s:s, s:o, s:s, s:o, s:o, s:o}", "id", id, "title", title, "kind", "film", "genres",
                             movielens_genres(r->field[column[2]]), "themes", themes_of(m, movie), "attributes",
                             attributes_of(m, movie));
    free(id);
    if (year) json_object_set_new(item, "year", json_integer(year));
    return cli_stream_add_json(&m->stream, json_pack("{s:o}", "item", item), r->line);
}

/* ---- ratings ---- */

static int write_user(importer *m, long long user, size_t line) {
    char id[40], name[48];
    snprintf(id, sizeof id, "ml-user-%lld", user);
    snprintf(name, sizeof name, "MovieLens %lld", user);
    if (json_object_get(m->users, id)) return CLI_OK;
    json_object_set_new(m->users, id, json_true());
    return cli_stream_add_json(&m->stream, json_pack("{s:{s:s, s:s}}", "user", "id", id, "name", name), line);
}

static int take_rating(importer *m, const csv_reader *r, const int *column) {
    long long user, movie, when;
    char *end, at[32], item[40], person[40], key[64];
    double rating = strtod(r->field[column[2]], &end);
    if (!movielens_id(r->field[column[0]], &user)) return reject(m, r, "userId is not a number");
    if (!movielens_id(r->field[column[1]], &movie)) return reject(m, r, "movieId is not a number");
    if (end == r->field[column[2]] || *end || !(rating >= 0.5 && rating <= 5))
        return reject(m, r, "the rating is not a number from 0.5 to 5");
    struct tm utc;
    if (!movielens_id(r->field[column[3]], &when) || when > 253402300799 || !gmtime_r(&(time_t){when}, &utc))
        return reject(m, r, "the timestamp is not a number of seconds");
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &utc);
    snprintf(item, sizeof item, "ml-%lld", movie);
    snprintf(person, sizeof person, "ml-user-%lld", user);
    snprintf(key, sizeof key, "ml-%lld-%lld", user, movie);
    int rc = write_user(m, user, r->line);
    if (rc != CLI_OK) return rc;
    json_t *in = json_pack("{s:{s:s, s:s, s:s, s:f, s:s, s:s}}", "interaction", "user", person, "item", item, "type",
                           "rate", "rating", rating, "at", at, "idempotency_key", key);
    return cli_stream_add_json(&m->stream, in, r->line);
}

/* ---- all of it ---- */

static void forget(importer *m) {
    for (size_t i = 0; i < m->tag_count; i++) free(m->tags[i].text);
    for (size_t i = 0; i < m->link_count; i++) {
        free(m->links[i].imdb);
        free(m->links[i].tmdb);
    }
    free(m->tags);
    free(m->links);
    json_decref(m->users);
    cli_stream_free(&m->stream);
}

static uint64_t size_of(const char *folder) {
    static const char *const names[] = {"tags.csv", "links.csv", "movies.csv", "ratings.csv"};
    uint64_t total = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = cli_format("%s/%s", folder, names[i]);
        FILE *in = fopen(path, "rb");
        if (in && fseek(in, 0, SEEK_END) == 0) total += (uint64_t)ftell(in);
        if (in) fclose(in);
        free(path);
    }
    return total;
}

int movielens_import(cli *c, const char *folder) {
    importer *m = cli_alloc(sizeof *m);
    double began = cli_now();
    m->c = c;
    m->folder = folder;
    m->users = json_object();
    cli_stream_begin(&m->stream, c, "/v1/items", "");
    cli_progress_begin(&m->progress, c, "importing", "rows", size_of(folder));
    int rc = read_csv(m, "tags.csv", true, (const char *const[]){"movieId", "tag", NULL}, take_tag);
    if (rc == CLI_OK)
        rc = read_csv(m, "links.csv", true, (const char *const[]){"movieId", "imdbId", "tmdbId", NULL}, take_link);
    sort_tags(m);
    if (rc == CLI_OK && !cli_stop_asked())
        rc = read_csv(m, "movies.csv", false, (const char *const[]){"movieId", "title", "genres", NULL}, take_movie);
    if (rc == CLI_OK && !cli_stop_asked())
        rc = read_csv(m, "ratings.csv", true, (const char *const[]){"userId", "movieId", "rating", "timestamp"},
                      take_rating);
    cli_progress_end(&m->progress);
    int report = cli_stream_print(&m->stream, cli_now() - began);
    forget(m);
    free(m);
    return rc != CLI_OK ? rc : cli_stop_asked() ? CLI_FAILED : report;
}
