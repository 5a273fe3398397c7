/* The weights of the ranking, from what people chose last.
 *
 * The latest fifth of each person's events is held out; models are fitted on the rest; each person is then asked about as an
 * answer would ask, at the moment of their last kept event, and the weights are those under which what they went on to like
 * was the likeliest of the candidates (learn_listwise_fit). So the weights learn what each feature is worth in this
 * service, for the task that answers have: what comes next.
 *
 * Holding out at random instead fits the weights for filling gaps in a past; it is there for data whose times mean
 * nothing. People are taken in the order of their numbers up to PEOPLE_MAX: a few thousand lists pin down two dozen weights.
 */
#include "policy/fit_private.h"

enum { JUDGED_MIN = 10, PEOPLE_MAX = 3000, WIDTH = 200 };
static const double HELD_OUT = 0.2, PENALTY = 0.03;

static void hold_out(fit *f, size_t begin, size_t end, rng *r) {
    size_t judged = 0, at = 0;
    for (size_t i = begin; i < end; i++) judged += f->events[i].judged;
    size_t kept = judged - (size_t)(HELD_OUT * (double)judged);
    for (size_t i = begin; judged >= JUDGED_MIN && i < end; i++) {
        fit_event *e = &f->events[i];
        if (f->options->random_hold_out)
            e->held_out = e->judged && rng_uniform(r) < HELD_OUT;
        else
            e->held_out = e->judged ? at++ >= kept : at >= kept;
    }
}

static bool was_kept(const void *ctx, const fit_event *e) {
    (void)ctx;
    return !e->held_out;
}

static bool was_held_out(const void *ctx, const fit_event *e) {
    (void)ctx;
    return e->held_out;
}

static int make_lists(fit *f, const policy_model_set *set, const policy_times *times, fit_lists *l) {
    bitset allow = {0}, untried = {0};
    arena *a = arena_new(1 << 20);
    policy_question q = {
        .models = set, .cat = f->cat, .vectors = f->vectors, .dim = f->dim, .times = times, .width = WIDTH};
    int rc = a ? fit_present(f, times, 1, &allow, &untried) : fit_no_memory(f->err);
    for (uint32_t i = 0; rc == BRAID_OK && (i = bitset_next(&untried, i)) != UINT32_MAX; i++) bitset_set(&allow, i);
    f->phase = "ranking";
    for (size_t begin = 0, end; rc == BRAID_OK && begin < f->count && !fit_lists_full(l); begin = end) {
        end = fit_person_end(f, begin);
        rc = fit_lists_add(l, f, &q, &allow, begin, end, was_kept, was_held_out, NULL, a);
        arena_reset(a);
        if (rc == BRAID_OK && !fit_tell(f, begin, f->count))
            rc = error_set(f->err, BRAID_E_CLOSED, "policy/fit", "stopped before the end; nothing was changed");
    }
    bitset_free(&allow);
    bitset_free(&untried);
    arena_free(a);
    return rc;
}

int fit_weights(fit *f, policy_weights *w, bool *found) {
    fit_models rest = {0};
    policy_model_set set = {.items = f->items};
    learn_edges *from[POLICY_MODEL_COUNT] = {NULL};
    fit_lists *l = fit_lists_new(PEOPLE_MAX);
    rng r;
    rng_seed(&r, 20261121);
    *w = policy_weights_default();
    *found = false;
    int64_t begun = clock_mono_ns(f->clock);
    for (size_t begin = 0, end; begin < f->count; begin = end) {
        end = fit_person_end(f, begin);
        hold_out(f, begin, end, &r);
    }
    int rc = l ? fit_models_make(f, true, false, &rest) : fit_no_memory(f->err);
    for (int m = 0; rc == BRAID_OK && m < POLICY_MODEL_CONTENT; m++) {
        rc = learn_edges_transpose(rest.by_target[m], &from[m], f->err);
        set.from[m] = from[m];
    }
    if (rc == BRAID_OK) rc = make_lists(f, &set, rest.times, l);
    if (rc == BRAID_OK) rc = fit_lists_weigh(l, PENALTY, w->mean, &w->lists, f->err);
    *found = rc == BRAID_OK && w->lists > 0;
    if (*found) fit_note(f, "ranking", w->lists, begun);
    for (int m = 0; m < POLICY_MODEL_CONTENT; m++) learn_edges_free(from[m]);
    fit_models_free(&rest);
    fit_lists_free(l);
    return rc;
}
