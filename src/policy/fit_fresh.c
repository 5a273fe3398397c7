/* The weights of fresh lists: of which nobody has chosen anything, so that only content speaks.
 *
 * A sixteenth of the items is made to look new: their events are hidden, their neighbours are sought among the
 * others, and each quarter of these is a list for everybody who liked something in it. Four sets and not one: what
 * is the same for all people (the audience of the neighbours) would else be fitted to the chance of one set. No
 * model of what people chose together is needed, so this costs little. */
#include "policy/fit_private.h"

enum { SETS = 4, PARTS = 64, LISTS_MAX = 400, LISTS_A_SET = LISTS_MAX / SETS };
static const double PENALTY = 0.1;

/* Which part an item is of, by a hash of its number: it depends on nothing else. A product alone would do it in
 * steps, and catalogues have their own. */
static unsigned part_of(uint32_t num) {
    uint64_t x = num * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return (unsigned)((x ^ x >> 32) % PARTS);
}

static bool looks_old(const void *ctx, const fit_event *e) {
    (void)ctx;
    return part_of(e->num) >= SETS;
}

static bool in_set(const void *ctx, const fit_event *e) {
    return part_of(e->num) == *(const unsigned *)ctx;
}

/* When things were chosen, without those that look new. */
static int times_of_old(fit *f, policy_times **out) {
    for (size_t i = 0; i < f->count; i++) f->events[i].held_out = part_of(f->events[i].num) < SETS;
    return fit_times_make(f, true, out);
}

static int make_lists(fit *f, policy_question *q, unsigned set, const bitset *items, fit_lists *l, size_t upto) {
    bitset allow = {0};
    arena *a = arena_new(1 << 20);
    int rc = a && bitset_init(&allow, items->bits) ? BRAID_OK : fit_no_memory(f->err);
    for (uint32_t i = 0; rc == BRAID_OK && (i = bitset_next(items, i)) != UINT32_MAX; i++)
        if (part_of(i) == set) bitset_set(&allow, i);
    f->phase = "fresh";
    for (size_t begin = 0, end; rc == BRAID_OK && begin < f->count && fit_lists_count(l) < upto; begin = end) {
        end = fit_person_end(f, begin);
        rc = fit_lists_add(l, f, q, &allow, begin, end, looks_old, in_set, &set, a);
        arena_reset(a);
        if (rc == BRAID_OK && !fit_tell(f, begin, f->count))
            rc = error_set(f->err, BRAID_E_CLOSED, "policy/fit", "stopped before the end; nothing was changed");
    }
    bitset_free(&allow);
    arena_free(a);
    return rc;
}

int fit_fresh(fit *f, policy_weights *w) {
    int64_t begun = clock_mono_ns(f->clock);
    policy_times *times = NULL;
    learn_edges *content = NULL, *linear = NULL;
    bitset tried = {0}, untried = {0}, fresh = {0};
    fit_lists *l = fit_lists_new(LISTS_MAX);
    int rc = l ? times_of_old(f, &times) : fit_no_memory(f->err);
    if (rc == BRAID_OK) rc = fit_present(f, times, FIT_SOURCE_LEAST, &tried, &untried);
    if (rc == BRAID_OK && !bitset_init(&fresh, untried.bits)) rc = fit_no_memory(f->err);
    for (size_t i = 0; rc == BRAID_OK && i < f->count; i++)
        if (bitset_has(&untried, f->events[i].num)) bitset_set(&fresh, f->events[i].num);
    if (rc == BRAID_OK) rc = fit_content(f, &fresh, &tried, times, &content, &linear);
    policy_model_set set = {.items = f->items,
                            .from = {[POLICY_MODEL_CONTENT] = content, [POLICY_MODEL_RIDGE] = linear}};
    policy_question q = {
        .models = &set, .cat = f->cat, .vectors = f->vectors, .dim = f->dim, .times = times, .all = true};
    for (unsigned k = 0; rc == BRAID_OK && k < SETS; k++)
        rc = make_lists(f, &q, k, &fresh, l, (k + 1) * (size_t)LISTS_A_SET);
    if (rc == BRAID_OK) rc = fit_lists_weigh(l, PENALTY, w->fresh, &w->fresh_lists, f->err);
    if (rc == BRAID_OK && w->fresh_lists) fit_note(f, "fresh", w->fresh_lists, begun);
    learn_edges_free(content);
    learn_edges_free(linear);
    policy_times_free(times);
    bitset_free(&tried);
    bitset_free(&untried);
    bitset_free(&fresh);
    fit_lists_free(l);
    return rc;
}
