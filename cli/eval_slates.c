/* The stream of p4: at each event, the film that was rated stands among nineteen others that the person has not rated
 * yet.
 *
 * One splitmix64 runs through the whole stream, so a slate depends on all before it and the stream cannot be entered
 * in the middle. Its place is next() % 20; the others are drawn in the order of their places until one fits:
 * uniformly over the films, or - popular - as the film of an earlier event drawn uniformly, which is in proportion
 * to the ratings so far. Films that were rated are remembered as a set of (person, film), open addressing, half full
 * at the most. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "eval.h"
#include "movielens.h"

enum { SEED_UNIFORM = 42, SEED_POPULAR = 43, DRAWS_MAX = 1 << 24 };

struct eval_slates {
    eval_rating *events;
    size_t count, first, next;
    uint32_t films;
    bool popular;
    uint64_t state;
    uint64_t *rated; /* 0: free; else 1 + user * films + film */
    size_t mask;
};

static uint64_t draw(eval_slates *s) {
    uint64_t z = s->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* The place of the key in the set, or the free one where it belongs. */
static uint64_t *place_of(const eval_slates *s, uint32_t user, uint32_t film) {
    uint64_t key = 1 + (uint64_t)user * s->films + film;
    size_t i = (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 20) & s->mask;
    while (s->rated[i] && s->rated[i] != key) i = (i + 1) & s->mask;
    return &s->rated[i];
}

static void mark(eval_slates *s, const eval_rating *event) {
    *place_of(s, event->user, event->film) = 1 + (uint64_t)event->user * s->films + event->film;
}

static int by_time(const void *a, const void *b) {
    const eval_rating *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    if (x->user != y->user) return x->user < y->user ? -1 : 1;
    return x->film < y->film ? -1 : x->film > y->film;
}

eval_slates *eval_slates_new(const eval_data *d, bool popular) {
    eval_slates *s = cli_alloc(sizeof *s);
    *s = (eval_slates){.count = d->rating_count,
                       .first = d->rating_count / 2,
                       .films = d->film_count,
                       .popular = popular,
                       .state = popular ? SEED_POPULAR : SEED_UNIFORM,
                       .mask = 1};
    s->next = s->first;
    s->events = cli_alloc(s->count * sizeof *s->events);
    memcpy(s->events, d->ratings, s->count * sizeof *s->events);
    qsort(s->events, s->count, sizeof *s->events, by_time);
    while (s->mask < s->count * 2) s->mask *= 2;
    s->rated = cli_alloc(s->mask-- * sizeof *s->rated);
    for (size_t t = 0; t < s->first; t++) mark(s, &s->events[t]);
    return s;
}

void eval_slates_free(eval_slates *s) {
    if (!s) return;
    free(s->events);
    free(s->rated);
    free(s);
}

size_t eval_slates_first(const eval_slates *s) {
    return s->first;
}

const eval_rating *eval_slates_event(const eval_slates *s, size_t t) {
    return t < s->count ? &s->events[t] : NULL;
}

static bool fits(const eval_slates *s, const eval_rating *event, const uint32_t *films, unsigned place, uint32_t film) {
    if (film == event->film) return false;
    for (unsigned i = 0; i < place; i++)
        if (films[i] == film) return false;
    return *place_of(s, event->user, film) == 0;
}

bool eval_slates_next(eval_slates *s, const eval_rating **event, uint32_t films[EVAL_SLATE]) {
    if (s->next >= s->count || s->next == 0) return false;
    const eval_rating *now = &s->events[s->next];
    unsigned truth = (unsigned)(draw(s) % EVAL_SLATE);
    films[truth] = now->film;
    for (unsigned place = 0, draws = 0; place < EVAL_SLATE; place++) {
        if (place == truth) continue;
        do {
            if (draws++ == DRAWS_MAX) return false;
            films[place] = s->popular ? s->events[draw(s) % s->next].film : (uint32_t)(draw(s) % s->films);
        } while (!fits(s, now, films, place, films[place]));
    }
    mark(s, now);
    s->next++;
    *event = now;
    return true;
}

/* ---- against files ---- */

enum { FIRST_FILM = 2 }; /* columns: event, truepos, c0 .. c19 */

static int compare_rows(const cli *c, const eval_data *d, eval_slates *s, csv_reader *r, const char *path) {
    uint32_t films[EVAL_SLATE];
    const eval_rating *event;
    bool headed = csv_next(r) && !r->wrong && r->count == FIRST_FILM + EVAL_SLATE;
    if (!headed) return cli_fail(c, CLI_FAILED, "%s:1: the columns event, truepos, c0 to c19 are wanted", path);
    while (csv_next(r)) {
        bool same = !r->wrong && r->count == FIRST_FILM + EVAL_SLATE && eval_slates_next(s, &event, films);
        for (size_t i = 0; same && i < EVAL_SLATE; i++) {
            long long id;
            same = movielens_id(r->field[FIRST_FILM + i], &id) && id == d->films[films[i]];
        }
        if (!same)
            return cli_fail(c, CLI_FAILED,
                            "%s:%zu: the slate made here is another one; are these the files of this data?", path,
                            r->line);
    }
    return CLI_OK;
}

int eval_slates_check(const cli *c, const eval_data *d, const char *folder) {
    int rc = CLI_OK;
    for (int popular = 0; rc == CLI_OK && popular < 2; popular++) {
        char *path = cli_format("%s/p4_head_%s.csv", folder, popular ? "pop" : "uni");
        eval_slates *s = eval_slates_new(d, popular);
        csv_reader r;
        if (csv_open(&r, path)) {
            rc = compare_rows(c, d, s, &r, path);
            csv_close(&r);
        } else {
            rc = cli_fail(c, CLI_FAILED, "%s: %s; give the folder that holds p4_head_uni.csv and p4_head_pop.csv", path,
                          strerror(errno));
        }
        eval_slates_free(s);
        free(path);
    }
    return rc;
}
