/* Lists in which some were chosen: people asked about as an answer would ask, in their own past. */
#include <stdlib.h>
#include <string.h>

#include "policy/fit_private.h"

enum { TELLING_MIN = 20, HISTORY_MAX = 1000 };

struct fit_lists {
    size_t *at;
    float *rows;
    bool *chosen;
    size_t count, max, row_count, row_cap;
};

fit_lists *fit_lists_new(size_t max) {
    fit_lists *l = calloc(1, sizeof *l);
    if (l) l->at = calloc(max + 1, sizeof *l->at);
    if (!l || !l->at) {
        free(l);
        return NULL;
    }
    l->max = max;
    return l;
}

void fit_lists_free(fit_lists *l) {
    if (!l) return;
    free(l->at);
    free(l->rows);
    free(l->chosen);
    free(l);
}

size_t fit_lists_count(const fit_lists *l) {
    return l->count;
}

bool fit_lists_full(const fit_lists *l) {
    return l->count == l->max;
}

size_t fit_person_end(const fit *f, size_t begin) {
    size_t end = begin;
    while (end < f->count && f->events[end].user == f->events[begin].user) end++;
    return end;
}

static bool lists_room(fit_lists *l, size_t more) {
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
static size_t history_of(const fit *f, size_t begin, size_t end, fit_choose_fn *kept, const void *ctx, bitset *met,
                         policy_seen *out) {
    size_t n = 0;
    for (size_t i = end; i-- > begin && n < HISTORY_MAX;) {
        const fit_event *e = &f->events[i];
        if (!e->judged || !kept(ctx, e) || bitset_has(met, e->num)) continue;
        bitset_set(met, e->num);
        out[n++] = (policy_seen){.num = e->num, .reward = e->reward, .at = e->at};
    }
    return n;
}

static int by_num(const void *key, const void *element) {
    uint32_t x = *(const uint32_t *)key, y = ((const policy_candidate *)element)->num;
    return x < y ? -1 : x > y;
}

static void add_rows(fit_lists *l, const fit *f, size_t begin, size_t end, fit_choose_fn *wanted, const void *ctx,
                     const policy_candidate *c, size_t n) {
    for (size_t k = 0; k < n; k++) {
        memcpy(l->rows + (l->row_count + k) * POLICY_FEATURE_COUNT, c[k].x, sizeof c[k].x);
        l->chosen[l->row_count + k] = false;
    }
    for (size_t i = begin; i < end; i++) {
        const fit_event *e = &f->events[i];
        if (e->reward < POLICY_LIKED || !wanted(ctx, e)) continue;
        const policy_candidate *at = bsearch(&e->num, c, n, sizeof *c, by_num);
        if (at) l->chosen[l->row_count + (size_t)(at - c)] = true;
    }
    l->row_count += n;
    l->at[++l->count] = l->row_count;
}

int fit_lists_add(fit_lists *l, fit *f, policy_question *q, bitset *allow, size_t begin, size_t end,
                  fit_choose_fn *kept, fit_choose_fn *wanted, const void *ctx, arena *a) {
    bool any = false;
    for (size_t i = begin; i < end && !any; i++)
        any = f->events[i].reward >= POLICY_LIKED && wanted(ctx, &f->events[i]);
    policy_seen *history = any ? arena_alloc(a, HISTORY_MAX * sizeof *history) : NULL;
    bitset met = {0};
    if (!any) return BRAID_OK;
    if (!history || !bitset_init(&met, f->items)) return fit_no_memory(f->err);
    size_t n = history_of(f, begin, end, kept, ctx, &met, history), count = 0;
    policy_candidate *c = NULL;
    bool missing = false;
    int rc = BRAID_OK;
    bitset_clear(&met);
    for (size_t i = 0; i < n; i++)
        if (bitset_has(allow, history[i].num)) {
            bitset_unset(allow, history[i].num);
            bitset_set(&met, history[i].num);
        }
    q->history = history;
    q->count = n;
    q->as_of = n ? history[0].at : 0;
    q->allow = allow;
    if (n) rc = policy_candidates(q, a, &c, &count, &missing, f->err);
    if (rc == BRAID_OK && count && !lists_room(l, count)) rc = fit_no_memory(f->err);
    if (rc == BRAID_OK && count) add_rows(l, f, begin, end, wanted, ctx, c, count);
    for (uint32_t i = 0; (i = bitset_next(&met, i)) != UINT32_MAX; i++) bitset_set(allow, i);
    bitset_free(&met);
    return rc;
}

int fit_lists_weigh(const fit_lists *l, double penalty, double *weights, uint64_t *used, braid_error *err) {
    double made[POLICY_FEATURE_COUNT];
    size_t told = 0;
    const learn_lists all = {POLICY_FEATURE_COUNT, l->count, l->at, l->rows, l->chosen};
    int rc = l->count ? learn_listwise_fit(&all, penalty, made, &told, err) : BRAID_OK;
    if (rc != BRAID_OK || told < TELLING_MIN) return rc;
    memcpy(weights, made, sizeof made);
    *used = told;
    return BRAID_OK;
}
