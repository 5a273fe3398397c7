/* The editors' rules at work in one answer.
 *
 *   choose   those that concern this person, moment and agent
 *   gather   what they want shown joins the candidates, if it may be shown at all
 *   boost    scores under a filter are multiplied
 *   reserve  the pinned leave the candidates, and come back at their places
 *   place    at each place: the pinned one, or, where quotas have no more room to wait, the best that they count
 *
 * Everything that decides membership was settled before (scope.c): a rule moves and adds only what is in `allow`, so
 * it is never against rights, a person's constraints, the request's filter, or what was seen. Quotas take the best
 * that they count as late as they can, the nearest window first: what is better on its own merits stands above. What
 * a rule places is no draw: its propensity is 1. */
#include <stdlib.h>
#include <string.h>

#include "query/programme.h"

struct rules_run {
    const rule *list[RULES_MAX];
    bitset where[RULES_MAX]; /* of boosts and quotas; words NULL: none */
    uint32_t num[RULES_MAX]; /* of pins; UINT32_MAX: not to be shown */
    size_t count;
    scored *pinned; /* one a rule; num 0: none */
};

/* ---- choose ---- */
static bool names(const rule_list *list, const char *value) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->values[i], value) == 0) return true;
    return list->count == 0;
}

/* What the state says of the moment, when the request left it open. */
static const char *daypart_of(query_run_state *q) {
    if (q->rq->daypart[0]) return q->rq->daypart;
    const char *at = strstr(q->state.text, "daypart=");
    return at ? arena_strndup(q->a, at + 8, strcspn(at + 8, ";")) : "";
}

static bool in_experiment(const query_run_state *q, const rule *r) {
    const experiment_place *p = &q->experiment;
    if (!r->experiment[0]) return true;
    return p->experiment && strcmp(p->experiment->id, r->experiment) == 0 &&
           names(&r->arms, p->experiment->arms[p->arm].name);
}

static bool concerns(query_run_state *q, const rule *r, const char *daypart) {
    const query_request *rq = q->rq;
    return r->enabled && programme_open_at(r->from, r->until, q->now_ms) && names(&r->agents, q->asked_agent) &&
           names(&r->users, rq->user) && names(&r->regions, q->rights.region) && names(&r->devices, rq->device) &&
           names(&r->moods, rq->mood) && names(&r->dayparts, daypart) && in_experiment(q, r);
}

static int resolve(query_run_state *q, struct rules_run *x, const rule *r, braid_error *err) {
    size_t i = x->count;
    x->num[i] = UINT32_MAX;
    if (r->kind == RULE_PIN) {
        if (!catalogue_num(q->rooms->catalogue, r->item, &x->num[i]) || !bitset_has(&q->allow, x->num[i]))
            return BRAID_OK;
        if (r->position > q->rq->k) return BRAID_OK; /* the list ends above it */
        for (size_t k = 0; k < i; k++) /* one item, one place; one place, one item: the first rule by id has it */
            if (x->list[k]->kind == RULE_PIN && (x->num[k] == x->num[i] || x->list[k]->position == r->position))
                return BRAID_OK;
    } else {
        int rc = catalogue_filter(q->rooms->catalogue, r->where, &x->where[i], err);
        if (rc != BRAID_OK) return rc;
        bitset_and(&x->where[i], &q->allow);
    }
    x->list[x->count++] = r;
    return BRAID_OK;
}

/* Pins belong to the first page: on the next ones they were shown already, or the person went past them. */
int rules_choose(query_run_state *q, braid_error *err) {
    const programme *set = q->programme;
    if (!set || set->rule_count == 0 || !q->rq->recommend || q->rq->candidates || q->rq->as_of != TIME_NONE ||
        !q->rq->rules)
        return BRAID_OK;
    const char *daypart = daypart_of(q);
    int rc = daypart ? BRAID_OK : BRAID_E_NO_MEMORY;
    for (size_t i = 0; rc == BRAID_OK && i < set->rule_count; i++) {
        const rule *r = &set->rules[i];
        if (!concerns(q, r, daypart) || (q->rq->after && r->kind != RULE_BOOST)) continue;
        if (!q->rules && !(q->rules = arena_calloc(q->a, 1, sizeof *q->rules))) rc = BRAID_E_NO_MEMORY;
        if (rc == BRAID_OK) rc = resolve(q, q->rules, r, err);
    }
    if (rc == BRAID_OK && q->rules && !(q->rules->pinned = arena_calloc(q->a, q->rules->count + 1, sizeof(scored))))
        rc = BRAID_E_NO_MEMORY;
    return rc == BRAID_E_NO_MEMORY ? error_set(err, rc, "query", "no memory for the editors' rules") : rc;
}

void rules_release(query_run_state *q) {
    for (size_t i = 0; q->rules && i < q->rules->count; i++) bitset_free(&q->rules->where[i]);
}

/* ---- gather ---- */
size_t rules_room(const query_run_state *q) {
    size_t room = 0;
    for (size_t i = 0; q->rules && i < q->rules->count; i++)
        room += q->rules->list[i]->kind == RULE_PIN     ? 1
                : q->rules->list[i]->kind == RULE_QUOTA ? q->rules->list[i]->least
                                                        : 0;
    return room;
}

static void gather_one(query_run_state *q, uint32_t num, double lowest) {
    const scored *there = candidate_find(q, num);
    scored *s = there ? NULL : candidate_of(q, num);
    if (!s) return;
    s->ranked = q->ranked;
    s->learned = lowest; /* nothing but the rule speaks for it */
}

int rules_gather(query_run_state *q, braid_error *err) {
    struct rules_run *x = q->rules;
    double lowest = 0;
    for (size_t i = 0; i < q->count; i++)
        if (i == 0 || q->items[i].learned < lowest) lowest = q->items[i].learned;
    for (size_t i = 0; x && i < x->count; i++) {
        const rule *r = x->list[i];
        if (r->kind == RULE_PIN) gather_one(q, x->num[i], lowest);
        if (r->kind != RULE_QUOTA) continue;
        size_t there = 0;
        for (size_t k = 0; k < q->count; k++) there += bitset_has(&x->where[i], q->items[k].num);
        if (there >= r->least) continue;
        candidate *more = arena_alloc(q->a, r->least * sizeof *more);
        if (!more) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for the editors' rules");
        size_t n = catalogue_popular(q->rooms->catalogue, &x->where[i], r->least, 0, more);
        for (size_t k = 0; k < n; k++) gather_one(q, more[k].num, lowest);
    }
    return BRAID_OK;
}

/* ---- boost ---- */
void rules_boost(query_run_state *q) {
    struct rules_run *x = q->rules;
    for (size_t r = 0; x && r < x->count; r++) {
        if (x->list[r]->kind != RULE_BOOST) continue;
        double factor = x->list[r]->factor;
        for (size_t i = 0; i < q->count; i++) {
            scored *s = &q->items[i];
            if (!bitset_has(&x->where[r], s->num)) continue;
            s->score = s->score >= 0 ? s->score * factor : factor > 0 ? s->score / factor : s->score;
            if (factor > 1) s->rule = x->list[r];
        }
    }
}

/* ---- pins and quotas ---- */
void rules_reserve(query_run_state *q) {
    struct rules_run *x = q->rules;
    for (size_t r = 0; x && r < x->count; r++) {
        if (x->list[r]->kind != RULE_PIN) continue;
        for (size_t i = 0; i < q->count; i++) {
            if (q->items[i].num != x->num[r]) continue;
            x->pinned[r] = q->items[i];
            memmove(&q->items[i], &q->items[i + 1], (q->count - i - 1) * sizeof *q->items);
            q->count--;
            break;
        }
    }
}

/* The pinned one comes back at the end of the candidates, from where it is taken. Of a list that is shorter than its
 * place it is the end. */
static size_t pinned_at(query_run_state *q, size_t place) {
    struct rules_run *x = q->rules;
    bool at_end = place >= q->count;
    size_t next = SIZE_MAX;
    for (size_t r = 0; r < x->count; r++) {
        if (x->list[r]->kind != RULE_PIN || !x->pinned[r].num || (x->list[r]->position != place + 1 && !at_end))
            continue;
        if (next == SIZE_MAX || x->list[r]->position < x->list[next]->position) next = r;
    }
    if (next == SIZE_MAX) return SIZE_MAX;
    scored *s = &q->items[q->count];
    *s = x->pinned[next];
    s->rule = x->list[next];
    s->forced = true;
    s->propensity = 1;
    x->pinned[next].num = 0;
    return q->count++;
}

static size_t window_of(const query_run_state *q, const rule *quota) {
    return quota->within < q->rq->k ? quota->within : q->rq->k;
}

/* How many a quota still lacks; a pin further down may be one of its own. */
static size_t lacking(const query_run_state *q, size_t r, size_t picked) {
    const struct rules_run *x = q->rules;
    const rule *quota = x->list[r];
    size_t within = window_of(q, quota), have = 0;
    if (quota->kind != RULE_QUOTA || picked >= within) return 0;
    for (size_t i = 0; i < picked; i++) have += bitset_has(&x->where[r], q->items[i].num);
    for (size_t p = 0; p < x->count; p++)
        if (x->list[p]->kind == RULE_PIN && x->pinned[p].num && x->list[p]->position <= within)
            have += bitset_has(&x->where[r], x->pinned[p].num);
    return have < quota->least ? quota->least - have : 0;
}

/* Places from `picked` up to `end` that no pin has. */
static size_t room_until(const query_run_state *q, size_t picked, size_t end) {
    const struct rules_run *x = q->rules;
    size_t room = end > picked ? end - picked : 0;
    for (size_t p = 0; p < x->count; p++)
        room -= x->list[p]->kind == RULE_PIN && x->pinned[p].num && x->list[p]->position > picked &&
                x->list[p]->position <= end;
    return room;
}

/* The nearest place by which quotas together need all the room that is left before it; 0: there is none. An item
 * that counts for two is reckoned twice: a quota may come a little early for that, never too late. */
static size_t tight_window(const query_run_state *q, const size_t *lack, size_t picked) {
    const struct rules_run *x = q->rules;
    size_t nearest = 0;
    for (size_t r = 0; r < x->count; r++) {
        if (lack[r] == 0) continue;
        size_t end = window_of(q, x->list[r]), wanted = 0;
        for (size_t s = 0; s < x->count; s++)
            if (lack[s] > 0 && window_of(q, x->list[s]) <= end) wanted += lack[s];
        if (wanted >= room_until(q, picked, end) && (nearest == 0 || end < nearest)) nearest = end;
    }
    return nearest;
}

size_t rules_place(query_run_state *q, size_t picked, bool *drawn) {
    struct rules_run *x = q->rules;
    if (!x) return SIZE_MAX;
    size_t pinned = pinned_at(q, picked);
    *drawn = pinned == SIZE_MAX;
    if (pinned != SIZE_MAX) return pinned;
    size_t lack[RULES_MAX];
    for (size_t r = 0; r < x->count; r++) lack[r] = lacking(q, r, picked);
    size_t end = tight_window(q, lack, picked), best = SIZE_MAX, most = 0;
    const rule *by = NULL;
    /* whom most of these quotas count; of those the best by score */
    for (size_t i = picked; end && i < q->count; i++) {
        size_t counted = 0;
        const rule *first = NULL;
        for (size_t r = 0; r < x->count; r++)
            if (lack[r] > 0 && window_of(q, x->list[r]) <= end && bitset_has(&x->where[r], q->items[i].num)) {
                counted++;
                if (!first) first = x->list[r];
            }
        if (counted > most) most = counted, best = i, by = first;
    }
    if (best == SIZE_MAX) return best;
    q->items[best].forced = true;
    q->items[best].propensity = 1;
    if (best != picked) q->items[best].rule = by; /* it would not have stood here otherwise */
    return best;
}
