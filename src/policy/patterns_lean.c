/* What patterns add to the facets of one answer: a lean.
 *
 * Each pattern that holds now and concerns this person or this moment gives its facet a weight, 1 - 1/low: what surely
 * exceeds chance, and below 1 however strong.
 *
 *   genre_affinity   times the person's affinity for the facet that it starts from; not for a facet that they are
 *                    averse to
 *   user_preference  as the person's recent likings show
 *   seasonal_trend   in its month
 *   mood_correlation in its mood
 *
 * The strongest is the facet's, and the strongest of an item's facets is the item's: patterns of one liking are not
 * several reasons, and an item with many labels has no advantage. */
#include "policy/patterns_private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const float AFFINITY_MIN = 0.2f; /* from which on a person likes what an affinity starts from */

struct policy_lean {
    size_t count;
    policy_leaning list[LEARN_FACETS_MAX]; /* by facet, ascending, each once */
};

typedef struct leaning_maker {
    policy_patterns *p;
    pattern_set *s;
    const policy_profile *who; /* NULL: nobody in particular */
    int64_t at;
    int month;
    const char *mood;
    policy_lean *out;
} leaning_maker;

static float affinity(const policy_profile *who, uint32_t facet) {
    const policy_affinity *a = who ? policy_affinity_of(who, facet) : NULL;
    return a ? a->weight : 0;
}

static void lean(policy_lean *l, policy_leaning to) {
    for (size_t i = 0; i < l->count; i++)
        if (l->list[i].facet == to.facet) {
            if (to.weight > l->list[i].weight) l->list[i] = to;
            return;
        }
    if (l->count < LEARN_FACETS_MAX) l->list[l->count++] = to;
}

static float strength(const learn_pattern *p) {
    return (float)(1 - 1 / p->low);
}

static void lean_by_pattern(leaning_maker *m, const learn_pattern *p) {
    policy_leaning to = {.kind = p->kind, .given = UINT32_MAX, .weight = strength(p), .lift = (float)p->lift};
    if (!patterns_facet(m->p, m->s, p->facet, &to.facet)) return;
    if (p->kind == LEARN_USER_PREFERENCE) return; /* of how many; the person's own is lean_by_preferences' */
    if (p->kind == LEARN_SEASONAL_TREND && p->given != m->month) return;
    if (p->kind == LEARN_MOOD_CORRELATION && strcasecmp(m->s->moods[p->given - 1], m->mood) != 0) return;
    if (p->kind == LEARN_GENRE_AFFINITY) {
        if (!m->who || !patterns_facet(m->p, m->s, p->given, &to.given)) return;
        float from = affinity(m->who, to.given);
        if (from < AFFINITY_MIN) return;
        to.weight *= from;
    }
    if (affinity(m->who, to.facet) < 0) return;
    lean(m->out, to);
}

static void lean_by_preferences(leaning_maker *m) {
    for (size_t f = 0; m->who && f < m->s->facet_count; f++) {
        uint32_t num;
        learn_pattern own;
        if (patterns_preferred(m->p, m->s, f, m->who, &num, &own))
            lean(m->out, (policy_leaning){.kind = own.kind,
                                          .facet = num,
                                          .given = UINT32_MAX,
                                          .weight = strength(&own),
                                          .lift = (float)own.lift});
    }
}

static int by_facet(const void *a, const void *b) {
    const policy_leaning *x = a, *y = b;
    return x->facet < y->facet ? -1 : x->facet > y->facet;
}

int policy_lean_make(policy_patterns *p, const policy_profile *who, int64_t at, const char *mood, arena *a,
                     policy_lean **out) {
    *out = NULL;
    pattern_set *s = patterns_get(p);
    if (!s) return BRAID_OK;
    policy_lean *l = arena_alloc(a, sizeof *l);
    if (l) {
        leaning_maker m = {p, s, who, at, patterns_month(at, NULL), mood ? mood : "", l};
        l->count = 0;
        for (size_t i = 0; i < s->count; i++)
            if (at <= patterns_valid_until(s, s->list[i].kind)) lean_by_pattern(&m, &s->list[i]);
        if (at <= patterns_valid_until(s, LEARN_USER_PREFERENCE)) lean_by_preferences(&m);
        qsort(l->list, l->count, sizeof *l->list, by_facet);
        if (l->count) *out = l;
    }
    patterns_release(s);
    return l ? BRAID_OK : BRAID_E_NO_MEMORY;
}

const policy_leaning *policy_lean_of(const policy_lean *l, const catalogue_card *card) {
    const policy_leaning *most = NULL;
    for (size_t i = 0; l && i < card->facet_count; i++) {
        const policy_leaning key = {.facet = card->facets[i]};
        const policy_leaning *found = bsearch(&key, l->list, l->count, sizeof *l->list, by_facet);
        if (found && (!most || found->weight > most->weight)) most = found;
    }
    return most;
}
