/* p4: a stream of choices (eval.h). The first half of the ratings is known; then, at each rating, every ranker orders
 * the slate, and the choice is told under the recommendation of the first ranker, so that what learns on line learns
 * from it before the next question. All rankers look at one database and so at the same past. A reward is 1 when the
 * film that was chosen stands on top and was liked.
 *
 * Two kinds of slate, two streams. With popular ones the others have all been rated before, so that a film without
 * ratings is the chosen one: the column "rated before" leaves these events out. */
#include <stdlib.h>

#include "eval.h"

enum { ROUNDS = 1000, HEAD = 5000, TAIL = 10000 };

/* One ranker's figures over the stream. */
typedef struct tally {
    double *reward, *asked; /* by person */
    double *took_us;        /* by event */
    double reciprocal, tops, known_reward, head_reward, tail_reward;
    size_t few, degraded;
} tally;

/* What the events were, whoever ranked. */
typedef struct course {
    size_t total, events, liked, known, head, tail, learned;
    double write_us;
} course;

static double place_in(const eval_answer *a, uint32_t film) {
    for (size_t i = 0; i < a->count; i++)
        if (a->films[i] == film) return (double)i + 1;
    return 0;
}

static int in_slate(const eval_base *b, const eval_answer *a, const uint32_t *slate) {
    for (size_t i = 0; i < a->count; i++) {
        size_t at = 0;
        while (at < EVAL_SLATE && slate[at] != a->films[i]) at++;
        if (at == EVAL_SLATE)
            return cli_fail(b->e->c, CLI_FAILED, "%s: ml-%lld was answered, which is none of the candidates", b->name,
                            (long long)b->e->data.films[a->films[i]]);
    }
    return CLI_OK;
}

static void take_answer(tally *y, const course *k, const eval_rating *event, const eval_answer *a, bool known) {
    bool liked = event->value >= EVAL_LIKED;
    double place = place_in(a, event->film), reward = liked && place == 1 ? 1 : 0;
    y->reward[event->user] += reward;
    y->asked[event->user]++;
    y->took_us[k->events] = a->took_us;
    if (liked && place > 0) y->reciprocal += 1 / place;
    y->tops += reward;
    if (known) y->known_reward += reward;
    if (k->events < HEAD) y->head_reward += reward;
    if (k->events + TAIL >= k->total) y->tail_reward += reward;
    y->few += a->count < EVAL_SLATE;
    y->degraded += a->degraded;
}

static int run_event(eval_base *b, const eval_rating *event, const uint32_t *slate, tally *ys, course *k,
                     eval_answer *a) {
    char *candidates = eval_candidates(&b->e->data, slate, EVAL_SLATE), first[sizeof a->id] = "";
    bool known = b->counts[event->film] > 0;
    int rc = CLI_OK;
    for (size_t i = 0; rc == CLI_OK && i < b->e->ranker_count; i++) {
        eval_question q = {event->user, event->at, EVAL_SLATE, b->e->rankers[i], candidates};
        rc = eval_ask(b, &q, a);
        if (rc == CLI_OK) rc = in_slate(b, a, slate);
        if (rc == CLI_OK) take_answer(&ys[i], k, event, a, known);
        if (i == 0) snprintf(first, sizeof first, "%s", a->id);
    }
    free(candidates);
    double began = cli_now();
    if (rc == CLI_OK) rc = eval_tell(b, event, first);
    k->write_us += (cli_now() - began) * 1e6;
    k->events++;
    k->liked += event->value >= EVAL_LIKED;
    k->known += known;
    k->head += k->events <= HEAD;
    k->tail += k->events + TAIL > k->total;
    return rc;
}

static int run_stream(eval_base *b, eval_slates *s, tally *ys, course *k) {
    uint32_t slate[EVAL_SLATE];
    const eval_rating *event;
    eval_answer *a = cli_alloc(sizeof *a);
    cli_progress bar;
    int rc = CLI_OK;
    cli_progress_begin(&bar, b->e->c, b->name, "events", k->total);
    while (rc == CLI_OK && k->events < k->total && eval_slates_next(s, &event, slate)) {
        rc = run_event(b, event, slate, ys, k, a);
        bool again = b->e->relearn && k->events < k->total && k->events % (size_t)b->e->relearn == 0;
        if (rc == CLI_OK && again) {
            rc = eval_base_learn(b);
            k->learned++;
        }
        cli_progress_to(&bar, k->events, k->events);
    }
    cli_progress_end(&bar);
    free(a);
    if (rc == CLI_OK && k->events < k->total)
        rc = cli_fail(b->e->c, CLI_FAILED,
                      "%s: %d films that a person has not rated are not to be found; the data is too small", b->name,
                      EVAL_SLATE);
    return rc;
}

/* ---- figures ---- */

static double share(double part, size_t whole) {
    return whole ? part / (double)whole : 0;
}

static json_t *row_of(const eval *e, const char *ranker, tally *y, const course *k) {
    double low, high, reward = 0;
    size_t people = 0;
    for (uint32_t u = 0; u < e->data.user_count; u++) {
        if (y->asked[u] == 0) continue; /* the bootstrap draws from those who were asked for */
        reward += y->reward[u];
        y->reward[people] = y->reward[u];
        y->asked[people++] = y->asked[u];
    }
    eval_interval(y->reward, y->asked, people, ROUNDS, &low, &high);
    return json_pack("{s:s, s:f, s:[f, f], s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I}", "ranker", ranker, "reward",
                     share(reward, k->events), "reward_95", low, high, "reward_rated_before",
                     share(y->known_reward, k->known), "mrr_liked", share(y->reciprocal, k->liked), "hit1_liked",
                     share(y->tops, k->liked), "reward_first_5000", share(y->head_reward, k->head), "reward_last_10000",
                     share(y->tail_reward, k->tail), "ask_p50_us", eval_quantile(y->took_us, k->events, 0.5),
                     "ask_p99_us", eval_quantile(y->took_us, k->events, 0.99), "short", (json_int_t)y->few, "degraded",
                     (json_int_t)y->degraded);
}

static void put_figures(eval_base *b, tally *ys, const course *k, const char *negatives, json_t *out) {
    json_t *rows = json_array();
    size_t people = 0;
    for (uint32_t u = 0; u < b->e->data.user_count; u++) people += ys[0].asked[u] > 0;
    for (size_t i = 0; i < b->e->ranker_count; i++)
        json_array_append_new(rows, row_of(b->e, b->e->rankers[i], &ys[i], k));
    json_array_append_new(out,
                          json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:f, s:O?, s:o}", "protocol",
                                    "p4", "negatives", negatives, "users", (json_int_t)people, "events",
                                    (json_int_t)k->events, "liked", (json_int_t)k->liked, "rated_before",
                                    (json_int_t)k->known, "fit", (json_int_t)(b->ratings - k->events), "write_s",
                                    b->write_s, "learn_s", b->learn_s, "lessons", (json_int_t)k->learned, "tell_us",
                                    share(k->write_us, k->events), "learned", b->learned, "rankers", rows));
}

/* ---- one stream ---- */

static int run_kind(eval *e, bool popular, json_t *out) {
    const eval_data *d = &e->data;
    eval_slates *s = eval_slates_new(d, popular);
    size_t first = eval_slates_first(s);
    course k = {.total = d->rating_count - first, .learned = 1};
    if (e->events_max && (size_t)e->events_max < k.total) k.total = (size_t)e->events_max;
    unsigned char *known = cli_alloc(d->rating_count);
    eval_base b;
    /* What is known is what comes before the first event, in the order of the stream. */
    const eval_rating *edge = eval_slates_event(s, first);
    for (size_t i = 0; i < d->rating_count; i++) {
        const eval_rating *r = &d->ratings[i];
        known[i] = r->at != edge->at       ? r->at < edge->at
                   : r->user != edge->user ? r->user < edge->user
                                           : r->film < edge->film;
    }
    int rc =
        eval_base_make(e, popular ? "p4-popular" : "p4-uniform", &(eval_fit){NULL, known, true, edge->at, false}, &b);
    if (rc == CLI_OK) {
        tally *ys = cli_alloc(e->ranker_count * sizeof *ys);
        for (size_t i = 0; i < e->ranker_count; i++)
            ys[i] = (tally){.reward = cli_alloc(d->user_count * sizeof(double)),
                            .asked = cli_alloc(d->user_count * sizeof(double)),
                            .took_us = cli_alloc(k.total * sizeof(double))};
        rc = run_stream(&b, s, ys, &k);
        if (rc == CLI_OK) put_figures(&b, ys, &k, popular ? "popular" : "uniform", out);
        for (size_t i = 0; i < e->ranker_count; i++) {
            free(ys[i].reward);
            free(ys[i].asked);
            free(ys[i].took_us);
        }
        free(ys);
        eval_base_close(&b);
    }
    free(known);
    eval_slates_free(s);
    return rc;
}

int eval_p4(eval *e, json_t *out) {
    if (e->data.rating_count < 2 || e->data.film_count < 2 * EVAL_SLATE)
        return cli_fail(e->c, CLI_FAILED, "p4 wants slates of %d films; %u films are too few", EVAL_SLATE,
                        e->data.film_count);
    int rc = e->only_popular ? CLI_OK : run_kind(e, false, out);
    return rc == CLI_OK && !e->only_uniform ? run_kind(e, true, out) : rc;
}
