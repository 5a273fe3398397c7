/* The protocols that rank for each person once: p1, p2 and p3 (eval.h).
 *
 * All three are one thing: a database that knows some ratings, people of whom other ratings are held back, and a
 * list of ten a person and ranker. They differ in what is known and in which films may be shown. What a person has
 * seen is left out by the engine, not here; an answer that holds it all the same is counted and said ("seen"). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval.h"

/* What is asked of one database. */
typedef struct task {
    eval_base *base;
    const unsigned char *known; /* per rating: it was written */
    const unsigned char *held;  /* per rating: it is what is looked for, if it is a like */
    const unsigned char *shown; /* per film: it may be shown; NULL: all */
    const char *candidates;     /* the same for the question */
    size_t films;               /* that may be shown */
    bool popularity;            /* the films have ratings, so that theirs is a figure */
} task;

/* One ranker's figures. */
typedef struct tally {
    size_t people, slots, few, seen, degraded;
    double *ndcg, *recall, *hit, *took_us; /* a person each */
    unsigned char *covered;
    double rank_sum, novelty_sum;
} tally;

static void tally_begin(tally *t, const eval_data *d) {
    *t = (tally){0};
    t->ndcg = cli_alloc(d->user_count * sizeof *t->ndcg);
    t->recall = cli_alloc(d->user_count * sizeof *t->recall);
    t->hit = cli_alloc(d->user_count * sizeof *t->hit);
    t->took_us = cli_alloc(d->user_count * sizeof *t->took_us);
    t->covered = cli_alloc(d->film_count);
}

static void tally_end(tally *t) {
    free(t->ndcg);
    free(t->recall);
    free(t->hit);
    free(t->took_us);
    free(t->covered);
}

/* ---- one person ---- */

typedef struct person {
    uint32_t user;
    size_t begin, end; /* of the ratings */
    size_t goods;
    int64_t first; /* time of the first rating */
} person;

/* Marks what is looked for, and what was seen, of this person; `mark` false takes it back. */
static void mark_person(const task *t, person *p, unsigned char *good, unsigned char *seen, bool mark) {
    const eval_data *d = &t->base->e->data;
    p->goods = 0;
    p->first = INT64_MAX;
    for (size_t i = p->begin; i < p->end; i++) {
        const eval_rating *r = &d->ratings[i];
        if (r->at < p->first) p->first = r->at;
        seen[r->film] = mark && t->known[i];
        good[r->film] = mark && t->held[i] && r->value >= EVAL_LIKED;
        p->goods += good[r->film];
    }
}

static int take_answer(const task *t, const eval_answer *a, const uint32_t *ranks, const unsigned char *seen,
                       tally *y) {
    const eval_base *b = t->base;
    for (size_t i = 0; i < a->count; i++) {
        uint32_t film = a->films[i];
        if (t->shown && !t->shown[film])
            return cli_fail(b->e->c, CLI_FAILED, "%s: ml-%lld was answered, which is none of the candidates", b->name,
                            (long long)b->e->data.films[film]);
        y->covered[film] = 1;
        y->seen += seen[film];
        y->rank_sum += ranks[film];
        y->novelty_sum -= log2((b->counts[film] + 1.0) / (double)(b->ratings + b->films));
    }
    y->slots += a->count;
    y->few += a->count < EVAL_K;
    y->degraded += a->degraded;
    return CLI_OK;
}

/* ---- all people, one ranker ---- */

static int ask_all(const task *t, const char *ranker, const uint32_t *ranks, tally *y, uint64_t *goods) {
    eval *e = t->base->e;
    const eval_data *d = &e->data;
    unsigned char *good = cli_alloc(d->film_count), *seen = cli_alloc(d->film_count);
    eval_answer *a = cli_alloc(sizeof *a);
    cli_progress bar;
    int rc = CLI_OK;
    *goods = 0;
    cli_progress_begin(&bar, e->c, ranker, "people", d->user_count);
    for (person p = {0}; rc == CLI_OK && p.begin < d->rating_count; p.begin = p.end) {
        p.user = d->ratings[p.begin].user;
        for (p.end = p.begin; p.end < d->rating_count && d->ratings[p.end].user == p.user;) p.end++;
        mark_person(t, &p, good, seen, true);
        if (p.goods && (e->users_max == 0 || (int64_t)y->people < e->users_max)) {
            int64_t last = t->base->last[p.user];
            eval_question q = {.user = p.user,
                               .at = last == INT64_MIN ? p.first : last + 1,
                               .k = EVAL_K,
                               .ranker = ranker,
                               .candidates = t->candidates};
            rc = eval_ask(t->base, &q, a);
            if (rc == CLI_OK) rc = take_answer(t, a, ranks, seen, y);
            eval_score s = eval_score_of(a->films, rc == CLI_OK ? a->count : 0, good, p.goods, EVAL_K);
            y->ndcg[y->people] = s.ndcg;
            y->recall[y->people] = s.recall;
            y->hit[y->people] = s.hit;
            y->took_us[y->people++] = a->took_us;
            *goods += p.goods;
        }
        mark_person(t, &p, good, seen, false);
        cli_progress_to(&bar, p.user + 1, y->people);
    }
    cli_progress_end(&bar);
    free(a);
    free(good);
    free(seen);
    return rc;
}

static void put_figure(json_t *row, const char *name, const double *values, size_t n) {
    double low, high;
    char *interval = cli_format("%s_95", name);
    eval_interval(values, NULL, n, EVAL_ROUNDS, &low, &high);
    json_object_set_new(row, name, json_real(eval_mean(values, n)));
    json_object_set_new(row, interval, json_pack("[f, f]", low, high));
    free(interval);
}

static json_t *row_of(const task *t, const char *ranker, tally *y) {
    size_t covered = 0;
    for (uint32_t f = 0; f < t->base->e->data.film_count; f++) covered += y->covered[f];
    json_t *row = json_pack("{s:s}", "ranker", ranker);
    put_figure(row, "ndcg", y->ndcg, y->people);
    put_figure(row, "recall", y->recall, y->people);
    put_figure(row, "hit", y->hit, y->people);
    json_object_set_new(row, "coverage", json_real((double)covered / (double)t->films));
    if (t->popularity && y->slots) {
        json_object_set_new(row, "popularity_rank", json_real(y->rank_sum / (double)y->slots));
        json_object_set_new(row, "novelty_bits", json_real(y->novelty_sum / (double)y->slots));
    }
    json_object_set_new(row, "ask_p50_us", json_real(eval_quantile(y->took_us, y->people, 0.5)));
    json_object_set_new(row, "ask_p99_us", json_real(eval_quantile(y->took_us, y->people, 0.99)));
    json_object_set_new(row, "short", json_integer((json_int_t)y->few));
    json_object_set_new(row, "seen", json_integer((json_int_t)y->seen));
    json_object_set_new(row, "degraded", json_integer((json_int_t)y->degraded));
    return row;
}

/* Asks every ranker; *out gets the figures of this database. */
static int run_task(const task *t, json_t **out) {
    eval_base *b = t->base;
    uint32_t *ranks = cli_alloc(b->e->data.film_count * sizeof *ranks);
    json_t *rows = json_array();
    uint64_t goods = 0;
    size_t people = 0;
    int rc = CLI_OK;
    eval_ranks(b->counts, b->e->data.film_count, ranks);
    for (size_t i = 0; rc == CLI_OK && i < b->e->ranker_count; i++) {
        tally y;
        tally_begin(&y, &b->e->data);
        rc = ask_all(t, b->e->rankers[i], ranks, &y, &goods);
        if (rc == CLI_OK && y.people == 0)
            rc = cli_fail(b->e->c, CLI_FAILED, "%s: nobody has a like among what is held back; is the data too small?",
                          b->name);
        if (rc == CLI_OK) json_array_append_new(rows, row_of(t, b->e->rankers[i], &y));
        people = y.people;
        tally_end(&y);
    }
    free(ranks);
    *out = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:O?, s:o}", "protocol", b->name, "users", (json_int_t)people,
                     "liked", (json_int_t)goods, "fit", (json_int_t)b->ratings, "candidates", (json_int_t)t->films,
                     "write_s", b->write_s, "learn_s", b->learn_s, "learned", b->learned, "rankers", rows);
    if (rc == CLI_OK) return CLI_OK;
    json_decref(*out);
    *out = NULL;
    return rc;
}

/* ---- p1, p2 ---- */

/* What is known and what is looked for, from the sets of ratings. */
static void choose(const eval *e, const unsigned char *sets, unsigned char *known, unsigned char *held) {
    for (size_t i = 0; i < e->data.rating_count; i++) {
        known[i] = sets[i] == EVAL_TRAIN || (sets[i] == EVAL_VALIDATION && !e->validation);
        held[i] = sets[i] == (e->validation ? EVAL_VALIDATION : EVAL_TEST);
    }
}

/* `core`: only the films of the split are there. */
static int run_split(eval *e, const char *name, unsigned char *sets, bool core, json_t *out) {
    const eval_data *d = &e->data;
    unsigned char *known = cli_alloc(d->rating_count), *held = cli_alloc(d->rating_count),
                  *films = core ? cli_alloc(d->film_count) : NULL;
    eval_base b;
    json_t *figures = NULL;
    choose(e, sets, known, held);
    for (size_t i = 0; core && i < d->rating_count; i++) films[d->ratings[i].film] |= sets[i] != EVAL_OUT;
    int rc = eval_base_make(e, name, &(eval_fit){films, known, true, INT64_MAX, core}, &b);
    if (rc == CLI_OK) {
        rc = run_task(&(task){&b, known, held, films, NULL, b.films, true}, &figures);
        eval_base_close(&b);
    }
    if (rc == CLI_OK) json_array_append_new(out, figures);
    free(known);
    free(held);
    free(films);
    return rc;
}

int eval_p1(eval *e, json_t *out) {
    unsigned char *sets = cli_alloc(e->data.rating_count);
    eval_split_time(&e->data, sets);
    int rc = run_split(e, "p1", sets, false, out);
    free(sets);
    return rc;
}

int eval_p2(eval *e, json_t *out) {
    unsigned char *sets = cli_alloc(e->data.rating_count);
    eval_split_random(&e->data, sets);
    int rc = run_split(e, "p2", sets, true, out);
    free(sets);
    return rc;
}

/* ---- p3 ---- */

static int run_fold(eval *e, unsigned fold, json_t *folds) {
    const eval_data *d = &e->data;
    unsigned char *sets = cli_alloc(d->film_count), *known = cli_alloc(d->rating_count),
                  *held = cli_alloc(d->rating_count);
    uint32_t *cold = cli_alloc(d->film_count * sizeof *cold);
    eval_base b;
    json_t *figures = NULL;
    size_t n = 0;
    eval_set wanted = e->validation ? EVAL_VALIDATION : EVAL_TEST;
    eval_split_films(d, fold, sets);
    for (uint32_t f = 0; f < d->film_count; f++)
        if (sets[f] == wanted) cold[n++] = f;
    for (size_t i = 0; i < d->rating_count; i++) {
        eval_set set = sets[d->ratings[i].film];
        known[i] = set == EVAL_TRAIN || (set == EVAL_VALIDATION && !e->validation);
        held[i] = set == wanted;
    }
    for (uint32_t f = 0; f < d->film_count; f++) sets[f] = sets[f] == wanted;
    char *candidates = eval_candidates(d, cold, n), *name = cli_format("p3-%u", fold);
    int rc = eval_base_make(e, name, &(eval_fit){NULL, known, false, 0, true}, &b);
    if (rc == CLI_OK) {
        rc = run_task(&(task){&b, known, held, sets, candidates, n, false}, &figures);
        eval_base_close(&b);
    }
    if (rc == CLI_OK) json_array_append_new(folds, figures);
    free(name);
    free(candidates);
    free(cold);
    free(sets);
    free(known);
    free(held);
    return rc;
}

/* A figure's mean over the folds, and how far they lie apart. */
static void put_mean(json_t *row, const json_t *folds, size_t ranker, const char *name, bool apart) {
    double values[EVAL_FOLDS];
    size_t n = json_array_size(folds);
    for (size_t f = 0; f < n; f++)
        values[f] = cli_json_num(json_array_get(json_object_get(json_array_get(folds, f), "rankers"), ranker), name);
    json_object_set_new(row, name, json_real(eval_mean(values, n)));
    if (!apart || n < 2) return;
    char *deviation = cli_format("%s_sd", name);
    json_object_set_new(row, deviation, json_real(eval_deviation(values, n)));
    free(deviation);
}

static void put_sum(json_t *row, const json_t *folds, size_t ranker, const char *name) {
    const json_t *fold;
    size_t i;
    double sum = 0;
    json_array_foreach (folds, i, fold) {
        sum += cli_json_num(json_array_get(json_object_get(fold, "rankers"), ranker), name);
    }
    json_object_set_new(row, name, json_integer((json_int_t)sum));
}

int eval_p3(eval *e, json_t *out) {
    json_t *folds = json_array(), *rows = json_array();
    int rc = CLI_OK;
    if (e->data.film_count < EVAL_FOLD_SHARE)
        rc = cli_fail(e->c, CLI_FAILED, "p3 holds a tenth of the films back; %u films are too few", e->data.film_count);
    for (unsigned fold = 0; rc == CLI_OK && fold < (e->validation ? 1u : EVAL_FOLDS); fold++)
        rc = run_fold(e, fold, folds);
    for (size_t i = 0; rc == CLI_OK && i < e->ranker_count; i++) {
        json_t *row = json_pack("{s:s}", "ranker", e->rankers[i]);
        put_mean(row, folds, i, "ndcg", true);
        put_mean(row, folds, i, "recall", true);
        put_mean(row, folds, i, "hit", true);
        put_mean(row, folds, i, "coverage", false);
        put_mean(row, folds, i, "ask_p50_us", false);
        put_mean(row, folds, i, "ask_p99_us", false);
        put_sum(row, folds, i, "short");
        put_sum(row, folds, i, "seen");
        put_sum(row, folds, i, "degraded");
        json_array_append_new(rows, row);
    }
    if (rc == CLI_OK) {
        const json_t *first = json_array_get(folds, 0);
        double learn_s = 0, write_s = 0;
        for (size_t f = 0; f < json_array_size(folds); f++) {
            learn_s += cli_json_num(json_array_get(folds, f), "learn_s") / (double)json_array_size(folds);
            write_s += cli_json_num(json_array_get(folds, f), "write_s") / (double)json_array_size(folds);
        }
        json_array_append_new(out, json_pack("{s:s, s:O, s:O, s:O, s:O, s:f, s:f, s:O, s:O}", "protocol", "p3", "users",
                                             json_object_get(first, "users"), "liked", json_object_get(first, "liked"),
                                             "fit", json_object_get(first, "fit"), "candidates",
                                             json_object_get(first, "candidates"), "write_s", write_s, "learn_s",
                                             learn_s, "rankers", rows, "folds", folds));
    }
    json_decref(rows);
    json_decref(folds);
    return rc;
}
