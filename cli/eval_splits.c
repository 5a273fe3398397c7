/* The splits of the protocols (eval.h): what is known and what is held back.
 *
 * By time: of each person with ten ratings or more, in the order of (time, film), the last fifth is the test and the
 * last fifth of the rest the validation. At random: likes alone, people and films with fewer than five left out
 * until all have five; then numpy's default_rng(42) draws a fifth of each person's films, people and films
 * ascending, and default_rng(43) a fifth of the rest. By film: default_rng(42) puts the films in an order that is
 * cut into tenths, default_rng(43) draws as many of the others for validation. Shares are rounded down. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "eval.h"
#include "movielens.h"
#include "pcg64.h"

enum { HISTORY_MIN = 10, CORE_MIN = 5, SHARE = 5, SEED_TEST = 42, SEED_VALIDATION = 43 };

/* The first rating after those of the person of `begin`. */
static size_t history_end(const eval_data *d, size_t begin) {
    size_t end = begin;
    while (end < d->rating_count && d->ratings[end].user == d->ratings[begin].user) end++;
    return end;
}

/* ---- by time ---- */

typedef struct moment {
    int64_t at;
    size_t rating; /* ratings are by film, so this breaks ties by film */
} moment;

static int by_moment(const void *a, const void *b) {
    const moment *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->rating < y->rating ? -1 : x->rating > y->rating;
}

void eval_split_time(const eval_data *d, unsigned char *sets) {
    moment *order = cli_alloc(d->rating_count * sizeof *order);
    for (size_t begin = 0, end; begin < d->rating_count; begin = end) {
        end = history_end(d, begin);
        size_t n = end - begin, tests = n / SHARE, validations = (n - tests) / SHARE;
        for (size_t i = begin; i < end; i++) order[i] = (moment){d->ratings[i].at, i};
        qsort(order + begin, n, sizeof *order, by_moment);
        for (size_t i = 0; i < n; i++) {
            eval_set set = i >= n - tests ? EVAL_TEST : i >= n - tests - validations ? EVAL_VALIDATION : EVAL_TRAIN;
            sets[order[begin + i].rating] = n < HISTORY_MIN ? EVAL_OUT : set;
        }
    }
    free(order);
}

/* ---- at random ---- */

/* Leaves out people and films with fewer than CORE_MIN likes, again and again, as each that goes takes likes of
 * others along. */
static void keep_core(const eval_data *d, unsigned char *sets) {
    uint32_t *of_user = cli_alloc(d->user_count * sizeof *of_user),
             *of_film = cli_alloc(d->film_count * sizeof *of_film);
    for (size_t i = 0; i < d->rating_count; i++) {
        sets[i] = d->ratings[i].value >= EVAL_LIKED ? EVAL_TRAIN : EVAL_OUT;
        of_user[d->ratings[i].user] += sets[i] != EVAL_OUT;
        of_film[d->ratings[i].film] += sets[i] != EVAL_OUT;
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < d->rating_count; i++) {
            uint32_t *user = &of_user[d->ratings[i].user], *film = &of_film[d->ratings[i].film];
            if (sets[i] == EVAL_OUT || (*user >= CORE_MIN && *film >= CORE_MIN)) continue;
            sets[i] = EVAL_OUT;
            --*user;
            --*film;
            changed = true;
        }
    }
    free(of_user);
    free(of_film);
}

/* A fifth of each person's EVAL_TRAIN becomes `set`. */
static void draw_share(const eval_data *d, unsigned char *sets, uint64_t seed, eval_set set) {
    size_t *left = cli_alloc(d->film_count * sizeof *left);
    uint32_t *order = cli_alloc(d->film_count * sizeof *order);
    pcg64 g;
    pcg64_seed(&g, seed);
    for (size_t begin = 0, end; begin < d->rating_count; begin = end) {
        uint32_t n = 0;
        end = history_end(d, begin);
        for (size_t i = begin; i < end; i++)
            if (sets[i] == EVAL_TRAIN) left[n++] = i;
        pcg64_permutation(&g, order, n);
        for (uint32_t i = 0; i < n / SHARE; i++) sets[left[order[i]]] = (unsigned char)set;
    }
    free(left);
    free(order);
}

void eval_split_random(const eval_data *d, unsigned char *sets) {
    keep_core(d, sets);
    draw_share(d, sets, SEED_TEST, EVAL_TEST);
    draw_share(d, sets, SEED_VALIDATION, EVAL_VALIDATION);
}

/* ---- by film ---- */

void eval_split_films(const eval_data *d, unsigned fold, unsigned char *sets) {
    uint32_t n = d->film_count, size = n / EVAL_FOLD_SHARE, rest = 0;
    uint32_t *order = cli_alloc(n * sizeof *order), *others = cli_alloc(n * sizeof *others);
    pcg64 g;
    pcg64_seed(&g, SEED_TEST);
    pcg64_permutation(&g, order, n);
    memset(sets, EVAL_TRAIN, n);
    for (uint32_t i = 0; i < size; i++) sets[order[fold * size + i]] = EVAL_TEST;
    for (uint32_t i = 0; i < n; i++)
        if (sets[i] == EVAL_TRAIN) others[rest++] = i;
    pcg64_seed(&g, SEED_VALIDATION);
    pcg64_permutation(&g, order, rest);
    for (uint32_t i = 0; fold == 0 && i < size; i++) sets[others[order[i]]] = EVAL_VALIDATION;
    free(order);
    free(others);
}

/* ---- against files ---- */

static const char *const set_names[][4] = {{"out", "train", "val", "test"}, {"out", "warm", "val_cold", "cold"}};

typedef struct comparison {
    const cli *c;
    const eval_data *d;
    const char *path;
    unsigned char *sets;
    bool films;
} comparison;

static size_t find_rating(const eval_data *d, uint32_t user, uint32_t film) {
    size_t low = 0, high = d->rating_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const eval_rating *r = &d->ratings[middle];
        if (r->user < user || (r->user == user && r->film < film))
            low = middle + 1;
        else
            high = middle;
    }
    return low < d->rating_count && d->ratings[low].user == user && d->ratings[low].film == film ? low : SIZE_MAX;
}

/* Each row must name a set that was given here; what was matched becomes EVAL_OUT, so that what is left was not
 * named. */
static int compare_row(const comparison *m, const csv_reader *r, const int *column) {
    long long film = 0, user = 0;
    size_t at = SIZE_MAX;
    bool read = movielens_id(r->field[column[1]], &film) && (m->films || movielens_id(r->field[column[0]], &user));
    uint32_t f = read ? eval_film(m->d, film) : UINT32_MAX, u = read && !m->films ? eval_user(m->d, user) : UINT32_MAX;
    if (m->films && f != UINT32_MAX) at = f;
    if (!m->films && f != UINT32_MAX && u != UINT32_MAX) at = find_rating(m->d, u, f);
    if (at == SIZE_MAX) return cli_fail(m->c, CLI_FAILED, "%s:%zu: the data has no such row", m->path, r->line);
    const char *here = set_names[m->films][m->sets[at]], *there = r->field[column[2]];
    if (m->sets[at] == EVAL_OUT || strcmp(here, there) != 0)
        return cli_fail(m->c, CLI_FAILED,
                        "%s:%zu: this is \"%.20s\" there and \"%s\" here; are these the files of this data?", m->path,
                        r->line, there, here);
    m->sets[at] = EVAL_OUT;
    return CLI_OK;
}

static int compare_file(const comparison *m, csv_reader *r) {
    const char *const columns[] = {m->films ? "movieId" : "userId", "movieId", "set"};
    int column[3], rc = CLI_OK;
    bool headed = csv_next(r) && !r->wrong;
    for (size_t i = 0; i < 3; i++) {
        column[i] = headed ? csv_column(r, columns[i]) : -1;
        if (column[i] < 0)
            return cli_fail(m->c, CLI_FAILED, "%s:1: the column \"%s\" is missing in the header", m->path, columns[i]);
    }
    size_t count = r->count;
    while (rc == CLI_OK && csv_next(r))
        rc = r->wrong || r->count != count
                 ? cli_fail(m->c, CLI_FAILED, "%s:%zu: the row cannot be read", m->path, r->line)
                 : compare_row(m, r, column);
    size_t n = m->films ? m->d->film_count : m->d->rating_count;
    for (size_t i = 0; rc == CLI_OK && i < n; i++)
        if (m->sets[i] != EVAL_OUT)
            rc =
                cli_fail(m->c, CLI_FAILED, "%s lacks rows: film %lld is \"%s\" here", m->path,
                         (long long)m->d->films[m->films ? i : m->d->ratings[i].film], set_names[m->films][m->sets[i]]);
    return rc;
}

int eval_splits_check(const cli *c, const eval_data *d, const char *folder, const char *protocol) {
    bool films = strcmp(protocol, "p3") == 0;
    char *path = cli_format("%s/%s%s.csv", folder, protocol, films ? "_items" : "");
    comparison m = {c, d, path, cli_alloc(films ? d->film_count : d->rating_count), films};
    csv_reader r;
    int rc = CLI_OK;
    if (films)
        eval_split_films(d, 0, m.sets);
    else if (strcmp(protocol, "p2") == 0)
        eval_split_random(d, m.sets);
    else
        eval_split_time(d, m.sets);
    if (csv_open(&r, path)) {
        rc = compare_file(&m, &r);
        csv_close(&r);
    } else {
        rc = cli_fail(c, CLI_FAILED, "%s: %s; give the folder that holds p1.csv, p2.csv and p3_items.csv", path,
                      strerror(errno));
    }
    free(m.sets);
    free(path);
    return rc;
}
