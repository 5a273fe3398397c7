/* The weights of the ranking, from what people chose last; and of fresh lists, from items that are made to look new.
 *
 * The latest fifth of each person's events is held out; models are fitted on the rest; each person is then asked about as an
 * answer would ask, at the moment of their last kept event, and the weights are those under which what they went on to like
 * was the likeliest of the candidates (learn_listwise_fit). So the weights learn what each feature is worth in this
 * service, for the task that answers have: what comes next.
 *
 * Holding out at random instead fits the weights for filling gaps in a past; it is there for data whose times mean
 * nothing. One item in NEW_SHARE is taken out of the models altogether; who liked what among these gives the weights for lists
 * of which nothing was chosen before, where only content speaks. People are taken in the order of their numbers up to PEOPLE_MAX: a few thousand lists pin down sixteen weights.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/fit_private.h"

enum { JUDGED_MIN = 10, PEOPLE_MAX = 3000, LISTS_MIN = 20, WIDTH = 200, HISTORY_MAX = 1000 };
enum { NEW_SHARE = 10 };
static const double HELD_OUT = 0.2, PENALTY = 0.03;

/* ---- hold out ---- */
/* Every tenth item by a hash of its number: which ones depends on nothing else. */
static bool looks_new(uint32_t num) {
    return (num * UINT32_C(2654435769) >> 16) % NEW_SHARE == 0;
}

static void hold_out(fit *f, size_t begin, size_t end, rng *r) {
    size_t judged = 0, at = 0;
    for (size_t i = begin; i < end; i++) judged += f->events[i].judged && !looks_new(f->events[i].num);
    size_t kept = judged - (size_t)(HELD_OUT * (double)judged);
    for (size_t i = begin; i < end; i++) {
        fit_event *e = &f->events[i];
        if ((e->new_item = looks_new(e->num))) e->held_out = true;
    }
    for (size_t i = begin; judged >= JUDGED_MIN && i < end; i++) {
        fit_event *e = &f->events[i];
        if (e->new_item) continue;
        if (f->options->random_hold_out)
            e->held_out = e->judged && rng_uniform(r) < HELD_OUT;
        else
            e->held_out = e->judged ? at++ >= kept : at >= kept;
    }
}

static size_t person_end(const fit *f, size_t begin) {
    size_t end = begin;
    while (end < f->count && f->events[end].user == f->events[begin].user) end++;
    return end;
}

/* ---- lists ---- */
typedef struct lists {
    size_t *at;
    float *rows;
    bool *chosen;
    size_t count, row_count, row_cap;
} lists;

static bool lists_room(lists *l, size_t more) {
    if (l->row_cap - l->row_count >= more) return true;
    size_t cap = 2 * l->row_cap + more + 1024;
    float *rows = realloc(l->rows, cap * POLICY_FEATURE_COUNT * sizeof *rows);
    if (rows) l->rows = rows;
    bool *chosen = rows ? realloc(l->chosen, cap * sizeof *chosen) : NULL;
    if (!chosen) return false;
    l->chosen = chosen;
    l->row_cap = cap;
    return true;
}

/* The kept events of a person as a history: newest first, an item once. */
static size_t history_of(const fit *f, size_t begin, size_t end, bitset *met, policy_seen *out) {
    size_t n = 0;
    for (size_t i = end; i-- > begin && n < HISTORY_MAX;) {
        const fit_event *e = &f->events[i];
        if (e->held_out || !e->judged || bitset_has(met, e->num)) continue;
        bitset_set(met, e->num);
        out[n++] = (policy_seen){.num = e->num, .reward = e->reward, .at = e->at};
    }
    return n;
}

static void mark_chosen(const fit *f, size_t begin, size_t end, bool fresh, lists *l, const policy_candidate *c, size_t n) {
    for (size_t k = 0; k < n; k++) {
        memcpy(l->rows + (l->row_count + k) * POLICY_FEATURE_COUNT, c[k].x, sizeof c[k].x);
        l->chosen[l->row_count + k] = false;
    }
    for (size_t i = begin; i < end; i++) {
        const fit_event *e = &f->events[i];
        if (!e->held_out || e->new_item != fresh || e->reward < POLICY_LIKED) continue;
        for (size_t k = 0; k < n; k++)
            if (c[k].num == e->num) l->chosen[l->row_count + k] = true;
    }
    l->row_count += n;
    l->at[++l->count] = l->row_count;
}

static int list_of(fit *f, const policy_model_set *set, const policy_times *times, size_t begin, size_t end,
                   bitset *allow, bool fresh, arena *a, lists *l) {
    policy_seen *history = arena_alloc(a, HISTORY_MAX * sizeof *history);
    bitset met;
    bool liked = false;
    for (size_t i = begin; i < end; i++) liked |= f->events[i].held_out && f->events[i].new_item == fresh && f->events[i].reward >= POLICY_LIKED;
    if (!liked) return BRAID_OK;
    if (!history || !bitset_init(&met, f->items)) return fit_no_memory(f->err);
    size_t n = history_of(f, begin, end, &met, history), count = 0;
    bitset_free(&met);
    for (size_t i = 0; i < n; i++) bitset_unset(allow, history[i].num);
    policy_question q = {.models = set, .cat = f->cat, .vectors = f->vectors, .dim = f->dim, .times = times,
                         .history = history, .count = n, .as_of = n ? history[0].at : 0, .allow = allow,
                         .all = fresh, .width = WIDTH};
    policy_candidate *c = NULL;
    bool missing = false;
    int rc = n ? policy_candidates(&q, a, &c, &count, &missing, f->err) : BRAID_OK;
    if (rc == BRAID_OK && count && !lists_room(l, count)) rc = fit_no_memory(f->err);
    if (rc == BRAID_OK && count) mark_chosen(f, begin, end, fresh, l, c, count);
    for (size_t i = 0; i < n; i++)
        if (looks_new(history[i].num) == fresh) bitset_set(allow, history[i].num);
    return rc;
}

static bool allow_item(void *ctx, uint32_t num, const char *id, uint64_t version) {
    (void)id;
    (void)version;
    bitset_set(ctx, num);
    return true;
}

static int make_lists(fit *f, const policy_model_set *set, const policy_times *times, bool fresh, lists *l) {
    bitset allow = {0};
    arena *a = arena_new(1 << 20);
    int rc = BRAID_OK;
    uint32_t bits = catalogue_bits(f->cat) > f->items ? catalogue_bits(f->cat) : f->items;
    l->at = calloc(PEOPLE_MAX + 1, sizeof *l->at);
    if (!a || !l->at || !bitset_init(&allow, bits)) {
        rc = fit_no_memory(f->err);
        goto cleanup;
    }
    catalogue_scan(f->cat, allow_item, &allow);
    for (uint32_t i = 0; (i = bitset_next(&allow, i)) != UINT32_MAX; i++)
        if (looks_new(i) != fresh) bitset_unset(&allow, i);
    f->phase = "ranking";
    for (size_t begin = 0, end; rc == BRAID_OK && begin < f->count && l->count < PEOPLE_MAX; begin = end) {
        end = person_end(f, begin);
        rc = list_of(f, set, times, begin, end, &allow, fresh, a, l);
        arena_reset(a);
        if (rc == BRAID_OK && !fit_tell(f, begin, f->count))
            rc = error_set(f->err, BRAID_E_CLOSED, "policy/fit", "stopped before the end; nothing was changed");
    }
cleanup:
    bitset_free(&allow);
    arena_free(a);
    return rc;
}

static void lists_free(lists *l) {
    free(l->at);
    free(l->rows);
    free(l->chosen);
}

/* Weights of one kind of list; *used how many were of use. */
static int fit_lists(fit *f, const policy_model_set *set, const policy_times *times, bool fresh, double *weights,
                     uint64_t *used) {
    lists l = {0};
    size_t told = 0;
    double made[POLICY_FEATURE_COUNT];
    int rc = make_lists(f, set, times, fresh, &l);
    learn_lists all = {POLICY_FEATURE_COUNT, l.count, l.at, l.rows, l.chosen};
    if (rc == BRAID_OK && l.count) rc = learn_listwise_fit(&all, PENALTY, made, &told, f->err);
    if (rc == BRAID_OK && told >= LISTS_MIN) {
        memcpy(weights, made, sizeof made);
        *used = told;
    }
    lists_free(&l);
    return rc;
}

int fit_weights(fit *f, policy_weights *w, bool *found) {
    fit_models rest = {0};
    policy_model_set set = {.items = f->items};
    learn_edges *from[POLICY_MODEL_COUNT] = {NULL};
    rng r;
    rng_seed(&r, 20261121);
    *w = policy_weights_default();
    int64_t begun = clock_mono_ns(f->clock);
    for (size_t begin = 0, end; begin < f->count; begin = end) {
        end = person_end(f, begin);
        hold_out(f, begin, end, &r);
    }
    int rc = fit_models_make(f, true, false, &rest);
    for (int m = 0; rc == BRAID_OK && m < POLICY_MODEL_CONTENT; m++) {
        rc = learn_edges_transpose(rest.by_target[m], &from[m], f->err);
        set.from[m] = from[m];
    }
    set.from[POLICY_MODEL_CONTENT] = rest.by_target[POLICY_MODEL_CONTENT];
    if (rc == BRAID_OK) rc = fit_lists(f, &set, rest.times, false, w->mean, &w->lists);
    if (rc == BRAID_OK) rc = fit_lists(f, &set, rest.times, true, w->fresh, &w->fresh_lists);
    *found = rc == BRAID_OK && (w->lists || w->fresh_lists);
    if (*found) fit_note(f, "ranking", w->lists + w->fresh_lists, begun);
    for (int m = 0; m < POLICY_MODEL_CONTENT; m++) learn_edges_free(from[m]);
    fit_models_free(&rest);
    return rc;
}
