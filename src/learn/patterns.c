/* Patterns: what many people do more often than chance would have it, from what each of them liked.
 *
 * All are one question. A cell is a facet under a condition - beside another facet, in a month, in a mood - and every
 * person tells it two numbers: how many of their likings lie in it, k, and how many would if the condition made no
 * difference to them, e:
 *
 *   genre_affinity   of those who like A clearly more than everybody: likings of B that are not A. Expected: their
 *                    likings without those of A alone, by everybody's share. An item that is both speaks for neither,
 *                    or labels that are given together would find each other
 *   seasonal_trend   a person's likings of a month with the facet. Expected: by the person's own share of it over all
 *                    months. Who did everything in one month says nothing, and a busy December is no season
 *   mood_correlation the same with the mood that the person named
 *
 * lift = sum k / sum e. Its error is taken over people (a ratio estimate: the residuals k - lift e), so that one person
 * with a thousand likings is one witness. What is told with it is the bound below which it lies with one chance in
 * twenty, and the confidence is the part of the effect that this bound leaves: little evidence, little confidence.
 *
 * A thousand cells tested at one in twenty find fifty patterns in noise. So a cell must stand with all others of its
 * kind (Benjamini & Hochberg 1995, false discoveries one in a hundred), be an effect worth telling (LIFT_MIN), and be
 * shared by PEOPLE_MIN people, which also keeps anybody's own habits out; and a season must have come back in another
 * year.
 *
 * user_preference is of one person, with Wilson's bound on their share of a facet against everybody's; here it is
 * counted in how many people there is one.
 *
 * Rejected: correlations of rewards (a service where people only finish films has none), tables of people by facets
 * (whoever does much has everything, so everything goes with everything), chi-square over likings (a weekend of one
 * person is a season). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "learn/learn.h"

enum { LIKINGS_MIN = 5 /* of a person who is asked */, PEOPLE_MIN = 10, WITNESSES_MIN = 20, TELL = 4096, MONTHS = 12 };
static const double EXPECTED_MIN = 3, LIFT_MIN = 1.2, FALSE_SHARE = 0.01, ONE_IN_TWENTY = 1.645;
/* One false preference in two thousand: over LEARN_FACETS_MAX facets, one person in twenty has one. */
static const double PREFERENCE_Z = 3.29, PREFERENCE_CHANCE = 0.0005;
static const double CLEARLY = 1.5; /* as many as everybody has: "likes A" */

typedef struct cell {
    double k, e, kk, ke, ee;
    uint32_t witnesses, people; /* who could have, who did */
    uint32_t years;             /* in which anybody did, a bit a year */
} cell;

typedef struct finding {
    const learn_facets *facets;
    cell affinity[LEARN_FACETS_MAX][LEARN_FACETS_MAX]; /* [A][B] */
    cell season[LEARN_FACETS_MAX][MONTHS];
    cell mood[LEARN_FACETS_MAX][LEARN_MOODS_MAX + 1];
    /* everybody's likings: counts, then shares */
    double all, share[LEARN_FACETS_MAX], both[LEARN_FACETS_MAX][LEARN_FACETS_MAX];
    struct {
        double lift, low;
        uint64_t likings;
        uint32_t people;
    } preferred[LEARN_FACETS_MAX];
    uint32_t asked;
    /* of one person */
    double own, has[LEARN_FACETS_MAX], has_both[LEARN_FACETS_MAX][LEARN_FACETS_MAX];
    double months[MONTHS], in_month[MONTHS][LEARN_FACETS_MAX];
    double moods[LEARN_MOODS_MAX + 1], in_mood[LEARN_MOODS_MAX + 1][LEARN_FACETS_MAX];
} finding;

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "learn/patterns", "no memory to look for patterns");
}

/* ---- likings ---- */
static int by_person_and_item(const void *a, const void *b) {
    const learn_liking *x = a, *y = b;
    if (x->person != y->person) return x->person < y->person ? -1 : 1;
    if (x->item != y->item) return x->item < y->item ? -1 : 1;
    if (x->year != y->year) return x->year > y->year ? -1 : 1;
    return x->month > y->month ? -1 : x->month < y->month;
}

/* An item once a person: its latest liking. */
static size_t once_each(learn_liking *l, size_t n) {
    size_t kept = 0;
    qsort(l, n, sizeof *l, by_person_and_item);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || l[kept - 1].person != l[i].person || l[kept - 1].item != l[i].item) l[kept++] = l[i];
    return kept;
}

static size_t person_end(const learn_liking *l, size_t n, size_t begin) {
    size_t end = begin;
    while (end < n && l[end].person == l[begin].person) end++;
    return end;
}

static size_t facets_of(const learn_facets *f, uint32_t item, const uint8_t **out) {
    if (item >= f->items) return 0;
    *out = f->facet + f->at[item];
    return f->at[item + 1] - f->at[item];
}

static void everybody(finding *f, const learn_liking *l, size_t n) {
    const uint8_t *facet = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t many = facets_of(f->facets, l[i].item, &facet);
        f->all++;
        for (size_t a = 0; a < many; a++) {
            f->share[facet[a]]++;
            for (size_t b = 0; b < many; b++) f->both[facet[a]][facet[b]]++;
        }
    }
    for (uint32_t a = 0; a < f->facets->count && f->all > 0; a++) {
        f->share[a] /= f->all;
        for (uint32_t b = 0; b < f->facets->count; b++) f->both[a][b] /= f->all;
    }
}

/* ---- one person ---- */
static void cell_add(cell *c, double k, double e) {
    c->k += k;
    c->e += e;
    c->kk += k * k;
    c->ke += k * e;
    c->ee += e * e;
    c->witnesses++;
    c->people += k > 0;
}

static void person_read(finding *f, const learn_liking *l, size_t n) {
    const uint8_t *facet = NULL;
    memset(&f->own, 0, sizeof *f - offsetof(finding, own));
    f->own = (double)n;
    for (size_t i = 0; i < n; i++) {
        size_t many = facets_of(f->facets, l[i].item, &facet);
        uint8_t month = l[i].month % MONTHS, mood = l[i].mood <= LEARN_MOODS_MAX ? l[i].mood : 0;
        f->months[month]++;
        f->moods[mood]++;
        for (size_t a = 0; a < many; a++) {
            f->has[facet[a]]++;
            f->in_month[month][facet[a]]++;
            f->in_mood[mood][facet[a]]++;
            f->season[facet[a]][month].years |= UINT32_C(1) << (l[i].year % 32);
            for (size_t b = 0; b < many; b++) f->has_both[facet[a]][facet[b]]++;
        }
    }
}

/* The likings that are A without B say who likes A; of the others, B's are counted against everybody's share of B
 * among them. Given the first, chance leaves the second alone, however much a person does. */
static void person_affinities(finding *f) {
    for (uint32_t a = 0; a < f->facets->count; a++) {
        if (f->has[a] < 2) continue;
        for (uint32_t b = 0; b < f->facets->count; b++) {
            double only_a = f->has[a] - f->has_both[a][b], only_b = f->has[b] - f->has_both[a][b];
            double share_a = f->share[a] - f->both[a][b], share_b = f->share[b] - f->both[a][b];
            if (a == b || only_a < 2 || share_a >= 1 || only_a < CLEARLY * f->own * share_a) continue;
            cell_add(&f->affinity[a][b], only_b, (f->own - only_a) * share_b / (1 - share_a));
        }
    }
}

static void person_moments(finding *f) {
    for (uint32_t a = 0; a < f->facets->count; a++) {
        if (f->has[a] == 0) continue;
        for (int m = 0; m < MONTHS; m++)
            if (f->months[m] > 0 && f->months[m] < f->own)
                cell_add(&f->season[a][m], f->in_month[m][a], f->months[m] * f->has[a] / f->own);
        for (int m = 1; m <= LEARN_MOODS_MAX; m++)
            if (f->moods[m] > 0 && f->moods[m] < f->own)
                cell_add(&f->mood[a][m], f->in_mood[m][a], f->moods[m] * f->has[a] / f->own);
    }
}

bool learn_preference(double likings, double all, double share, double *lift, double *low) {
    *lift = *low = 0;
    if (all < LIKINGS_MIN || likings < 3 || share <= 0 || share >= 1) return false;
    double p = likings / all, z2 = PREFERENCE_Z * PREFERENCE_Z;
    double bound =
        (p + z2 / (2 * all) - PREFERENCE_Z * sqrt(p * (1 - p) / all + z2 / (4 * all * all))) / (1 + z2 / all);
    *lift = p / share;
    *low = bound / share;
    return *low > 1;
}

static void person_preferences(finding *f) {
    f->asked++;
    for (uint32_t a = 0; a < f->facets->count; a++) {
        double lift, low;
        if (!learn_preference(f->has[a], f->own, f->share[a], &lift, &low)) continue;
        f->preferred[a].lift += lift;
        f->preferred[a].low += low;
        f->preferred[a].likings += (uint64_t)f->has[a];
        f->preferred[a].people++;
    }
}

/* ---- what stands ---- */
typedef struct tested {
    double p;
    learn_pattern pattern;
} tested;

typedef struct testing {
    tested *list;
    size_t count;
} testing;

static void test(testing *t, learn_pattern_kind kind, uint32_t facet, uint32_t given, const cell *c) {
    if (c->witnesses < WITNESSES_MIN || c->e < EXPECTED_MIN) return;
    double lift = c->k / c->e, n = c->witnesses;
    double square = (c->kk - 2 * lift * c->ke + lift * lift * c->ee) * n / (n - 1);
    double error = sqrt(fmax(square, 0)) / c->e,
           p = lift > 1 && error > 0 ? 0.5 * erfc((lift - 1) / error / sqrt(2)) : 1;
    double low = lift - ONE_IN_TWENTY * error;
    t->list[t->count++] = (tested){p,
                                   {.kind = kind,
                                    .facet = (uint8_t)facet,
                                    .given = (uint8_t)given,
                                    .lift = lift,
                                    .low = low,
                                    .people = c->people,
                                    .likings = (uint64_t)c->k,
                                    .years = (uint32_t)__builtin_popcount(c->years)}};
}

static int by_p(const void *a, const void *b) {
    const tested *x = a, *y = b;
    return x->p < y->p ? -1 : x->p > y->p;
}

static int by_low(const void *a, const void *b) {
    const tested *x = a, *y = b;
    return x->pattern.low > y->pattern.low ? -1 : x->pattern.low < y->pattern.low;
}

static bool worth_telling(const learn_pattern *p) {
    return p->lift >= LIFT_MIN && p->low > 1 && p->people >= PEOPLE_MIN &&
           (p->kind != LEARN_SEASONAL_TREND || p->years > 1);
}

/* Benjamini & Hochberg: the longest beginning of the list by p in which the last is still below its part of the
 * share. */
static void keep(testing *t, learn_pattern_kind kind, learn_patterns *out) {
    size_t stand = 0, told = 0;
    qsort(t->list, t->count, sizeof *t->list, by_p);
    for (size_t i = 0; i < t->count; i++)
        if (t->list[i].p <= FALSE_SHARE * (double)(i + 1) / (double)t->count) stand = i + 1;
    qsort(t->list, stand, sizeof *t->list, by_low);
    for (size_t i = 0; i < stand && told < LEARN_PATTERNS_MAX; i++)
        if (worth_telling(&t->list[i].pattern)) out->list[out->count + told++] = t->list[i].pattern;
    out->count += told;
    out->tested[kind] = t->count;
    t->count = 0;
}

static void keep_preferences(const finding *f, learn_patterns *out) {
    /* As many have one by chance; four deviations more, and ten, are not chance. */
    double chance = f->asked * PREFERENCE_CHANCE, least = chance + 4 * sqrt(chance) + PEOPLE_MIN;
    out->tested[LEARN_USER_PREFERENCE] = f->facets->count;
    for (uint32_t a = 0; a < f->facets->count; a++) {
        double people = f->preferred[a].people;
        if (people < least) continue;
        out->list[out->count++] = (learn_pattern){.kind = LEARN_USER_PREFERENCE,
                                                  .facet = (uint8_t)a,
                                                  .lift = f->preferred[a].lift / people,
                                                  .low = f->preferred[a].low / people,
                                                  .people = f->preferred[a].people,
                                                  .likings = f->preferred[a].likings};
    }
}

static int keep_all(const finding *f, learn_patterns *out, braid_error *err) {
    uint32_t n = f->facets->count;
    testing t = {.list = malloc(((size_t)n * (n + MONTHS + LEARN_MOODS_MAX) + 1) * sizeof *t.list)};
    out->list = malloc(((size_t)LEARN_PATTERNS_MAX * LEARN_PATTERN_KINDS) * sizeof *out->list);
    if (!t.list || !out->list) {
        free(t.list);
        return no_memory(err);
    }
    for (uint32_t a = 0; a < n; a++)
        for (uint32_t b = 0; b < n; b++) test(&t, LEARN_GENRE_AFFINITY, b, a, &f->affinity[a][b]);
    keep(&t, LEARN_GENRE_AFFINITY, out);
    keep_preferences(f, out);
    for (uint32_t a = 0; a < n; a++)
        for (uint32_t m = 0; m < MONTHS; m++) test(&t, LEARN_SEASONAL_TREND, a, m, &f->season[a][m]);
    keep(&t, LEARN_SEASONAL_TREND, out);
    for (uint32_t a = 0; a < n; a++)
        for (uint32_t m = 1; m <= LEARN_MOODS_MAX; m++) test(&t, LEARN_MOOD_CORRELATION, a, m, &f->mood[a][m]);
    keep(&t, LEARN_MOOD_CORRELATION, out);
    memcpy(out->share, f->share, sizeof out->share);
    out->people = f->asked;
    free(t.list);
    return BRAID_OK;
}

int learn_patterns_find(learn_liking *likings, size_t n, const learn_facets *facets, const learn_work *work,
                        learn_patterns **out, braid_error *err) {
    finding *f = calloc(1, sizeof *f);
    *out = calloc(1, sizeof **out);
    int rc = f && *out ? BRAID_OK : no_memory(err);
    if (rc == BRAID_OK && facets->count > LEARN_FACETS_MAX)
        rc = error_set(err, BRAID_E_INVALID, "learn/patterns", "there are at most %d facets", (int)LEARN_FACETS_MAX);
    if (rc == BRAID_OK) {
        f->facets = facets;
        n = once_each(likings, n);
        everybody(f, likings, n);
        (*out)->likings = n;
    }
    for (size_t begin = 0, end, told = 0; rc == BRAID_OK && begin < n; begin = end) {
        end = person_end(likings, n, begin);
        if (begin >= told && work->progress && !work->progress(work->ctx, begin, n))
            rc = error_set(err, BRAID_E_CLOSED, "learn/patterns", "stopped before the end; nothing was changed");
        if (begin >= told) told = begin + TELL;
        if (end - begin < LIKINGS_MIN) continue;
        person_read(f, likings + begin, end - begin);
        person_affinities(f);
        person_moments(f);
        person_preferences(f);
    }
    if (rc == BRAID_OK) rc = keep_all(f, *out, err);
    free(f);
    if (rc != BRAID_OK) {
        learn_patterns_free(*out);
        *out = NULL;
    }
    return rc;
}

void learn_patterns_free(learn_patterns *p) {
    if (!p) return;
    free(p->list);
    free(p);
}
