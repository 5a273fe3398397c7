/* Taste: from what a person did lately to a weight for every facet (genre, theme, mood, context, person).
 *
 * Each of the recent items gives its facets (reward - 0.4) x 0.98^rank: more than lukewarm speaks for a facet, less
 * speaks against it, and the last few dozen items count most. A facet that a third of the catalogue has is met by
 * chance, one that ten items have is not; so the sum is divided by sqrt(1 + 10 x share of the catalogue), which
 * leaves rare facets alone and more than halves the commonest. x / (1 + |x|) then squashes it: a single "like" is
 * felt at once, and no pile of evidence reaches 1 (200 likes of one facet: 0.97). What the person states is added
 * afterwards, so a stated -1 stays negative whatever was watched.
 *
 * The catalogue is derived and may be behind: an item or facet that it does not know yet is left out, and the
 * snapshot says that it is incomplete, so that it is made again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy/intern.h"
#include "policy/profile_private.h"

static const double taste_neutral = 0.4, taste_decay = 0.98, taste_share_factor = 10;
static const double taste_of_state = 0.5;
static const double taste_least = 0.01; /* weaker affinities are not kept */

typedef struct taste_of {
    double sum;
    uint32_t liked;
} taste_of;

typedef struct taste {
    catalogue *cat;
    arena *a;
    policy_intern facets;
    taste_of *sums; /* by the facet's place in `facets` */
    size_t cap;
} taste;

static int taste_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for a taste profile");
}

/* The sum of a facet; NULL when memory ran out. */
static taste_of *taste_sum(taste *t, uint32_t facet) {
    uint32_t i = policy_intern_add(&t->facets, &facet, sizeof facet);
    if (i == POLICY_INTERN_NONE) return NULL;
    if (i >= t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 256;
        taste_of *sums = arena_calloc(t->a, cap, sizeof *sums);
        if (!sums) return NULL;
        if (t->cap) memcpy(sums, t->sums, t->cap * sizeof *sums);
        t->sums = sums;
        t->cap = cap;
    }
    return &t->sums[i];
}

static uint32_t taste_facet(const taste *t, size_t i) {
    uint32_t facet;
    memcpy(&facet, t->facets.entries[i].key, sizeof facet);
    return facet;
}

/* ---- what was learned ---- */
static bool taste_item(taste *t, const catalogue_card *card, double weight, bool liked) {
    for (size_t i = 0; i < card->facet_count; i++) {
        taste_of *of = taste_sum(t, card->facets[i]);
        if (!of) return false;
        of->sum += weight;
        of->liked += liked;
    }
    return true;
}

/* The genres of a liked item vote for the recent taste. */
static void taste_vote(const taste *t, policy_taste *votes, size_t place, const catalogue_card *card) {
    for (size_t i = 0; i < card->facet_count; i++) {
        filter_field field;
        const char *name = catalogue_facet_name(t->cat, card->facets[i], &field);
        if (name && field == POLICY_ACTION_FIELD) policy_taste_vote(votes, place, name);
    }
}

static int taste_recent(taste *t, profile_snapshot *s, braid_error *err) {
    policy_taste votes = {0};
    size_t place = 0;
    size_t n = s->event_count, near = n < PROFILE_TASTE_MAX ? n : PROFILE_TASTE_MAX;
    s->shown.liked = 0;
    s->shown.taste = "";
    if (n == 0) return BRAID_OK;
    uint32_t *nums = arena_alloc(t->a, n * sizeof *nums);
    int32_t *durations = arena_alloc(t->a, n * sizeof *durations);
    s->recent = malloc(n * sizeof *s->recent);
    if (!nums || !durations || !s->recent) return taste_no_memory(err);
    for (size_t i = 0; i < n; i++) nums[i] = s->events[i].num;
    catalogue_card *cards = NULL;
    int rc = catalogue_get_cards(t->cat, nums, near, t->a, &cards, err);
    if (rc != BRAID_OK) return rc;
    catalogue_durations(t->cat, nums, n, durations);
    double weight = 1;
    for (size_t i = 0; i < n; i++, weight *= taste_decay) {
        const profile_event *e = &s->events[i];
        interaction in = {.type = e->type, .watch_s = e->watch_s, .rating = e->rating};
        double reward = policy_reward(&in, durations[i]);
        s->recent[i] = (policy_seen){.num = e->num, .reward = (float)reward, .at = e->at, .type = e->type};
        if (i >= near) continue;
        if (cards[i].num == 0)
            s->incomplete = true;
        else if (!taste_item(t, &cards[i], (reward - taste_neutral) * weight, reward >= POLICY_LIKED))
            return taste_no_memory(err);
        s->shown.liked += cards[i].num != 0 && reward >= POLICY_LIKED;
        if (!policy_judges(e->type) || place == POLICY_TASTE_ITEMS) continue;
        if (cards[i].num != 0 && reward >= POLICY_LIKED) taste_vote(t, &votes, place, &cards[i]);
        place++;
    }
    s->shown.taste = policy_taste_winner(&votes);
    return BRAID_OK;
}

static void taste_normalise(taste *t) {
    double items = (double)catalogue_count(t->cat);
    for (size_t i = 0; i < t->facets.count; i++) {
        filter_field field;
        const char *name = catalogue_facet_name(t->cat, taste_facet(t, i), &field);
        double having = name ? (double)catalogue_facet_count(t->cat, field, name) : 0;
        double share = items > 0 ? fmin(having / items, 1) : 0;
        double x = t->sums[i].sum / sqrt(1 + taste_share_factor * share);
        t->sums[i].sum = x / (1 + fabs(x));
    }
}

/* ---- what was stated ---- */
static bool taste_field(const char *name, filter_field *field) {
    static const filter_field fields[] = {FIELD_GENRES, FIELD_THEMES, FIELD_MOODS, FIELD_CONTEXTS, FIELD_PEOPLE};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(filter_field_name(fields[i]), name) == 0) {
            *field = fields[i];
            return true;
        }
    }
    return false;
}

static int taste_add(taste *t, profile_snapshot *s, filter_field field, const char *value, double weight,
                     braid_error *err) {
    uint32_t facet;
    if (!catalogue_facet_id(t->cat, field, value, &facet)) {
        s->incomplete = true;
        return BRAID_OK;
    }
    taste_of *of = taste_sum(t, facet);
    if (!of) return taste_no_memory(err);
    of->sum += weight;
    return BRAID_OK;
}

/* The mood and the cultural context that their state names count as half a preference: true of now, not of them. */
static int taste_state(taste *t, profile_snapshot *s, braid_error *err) {
    const user *u = s->shown.person;
    int rc = BRAID_OK;
    if (u && u->mood[0]) rc = taste_add(t, s, FIELD_MOODS, u->mood, taste_of_state, err);
    if (u && u->context[0] && rc == BRAID_OK) rc = taste_add(t, s, FIELD_CONTEXTS, u->context, taste_of_state, err);
    return rc;
}

static int taste_stated(taste *t, profile_snapshot *s, braid_error *err) {
    const user *u = s->shown.person;
    int rc = BRAID_OK;
    for (size_t i = 0; u && rc == BRAID_OK && i < u->preferences_count; i++) {
        const user_preference *p = &u->preferences[i];
        filter_field field;
        if (!taste_field(p->field, &field)) continue; /* kind, language, countries: not facets of a card */
        rc = taste_add(t, s, field, p->value, p->weight, err);
    }
    return rc == BRAID_OK ? taste_state(t, s, err) : rc;
}

/* ---- the list ---- */
static int by_strength(const void *a, const void *b) { /* strongest first */
    const policy_affinity *x = a, *y = b;
    float p = fabsf(x->weight), q = fabsf(y->weight);
    if (p != q) return p > q ? -1 : 1;
    return x->facet < y->facet ? -1 : x->facet > y->facet;
}

static int by_facet(const void *a, const void *b) {
    const policy_affinity *x = a, *y = b;
    return x->facet < y->facet ? -1 : x->facet > y->facet;
}

static int taste_list(const taste *t, profile_snapshot *s, braid_error *err) {
    size_t count = 0;
    if (t->facets.count == 0) return BRAID_OK;
    policy_affinity *list = malloc(t->facets.count * sizeof *list);
    if (!list) return taste_no_memory(err);
    for (size_t i = 0; i < t->facets.count; i++) {
        double w = fmax(-1, fmin(1, t->sums[i].sum));
        if (fabs(w) >= taste_least) list[count++] = (policy_affinity){taste_facet(t, i), t->sums[i].liked, (float)w};
    }
    if (count > PROFILE_AFFINITIES_MAX) {
        qsort(list, count, sizeof *list, by_strength);
        count = PROFILE_AFFINITIES_MAX;
    }
    qsort(list, count, sizeof *list, by_facet);
    policy_affinity *fitting = realloc(list, (count ? count : 1) * sizeof *list);
    s->affinities = fitting ? fitting : list;
    s->shown.affinities = s->affinities;
    s->shown.affinity_count = count;
    return BRAID_OK;
}

int profile_taste_make(profile_snapshot *s, catalogue *cat, braid_error *err) {
    taste t = {.cat = cat, .a = arena_new(64 * 1024)};
    if (!t.a) return taste_no_memory(err);
    policy_intern_init(&t.facets, t.a);
    s->catalogue_version = catalogue_version(cat); /* before reading: what changes meanwhile is looked at again */
    s->incomplete = false;
    int rc = taste_recent(&t, s, err);
    if (rc == BRAID_OK) {
        taste_normalise(&t);
        rc = taste_stated(&t, s, err);
    }
    if (rc == BRAID_OK) rc = taste_list(&t, s, err);
    s->shown.recent = s->recent;
    s->shown.recent_count = s->recent ? s->event_count : 0;
    arena_free(t.a);
    return rc;
}

/* ---- reading it ---- */
const policy_affinity *policy_affinity_of(const policy_profile *p, uint32_t facet) {
    size_t low = 0, high = p->affinity_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p->affinities[mid].facet < facet)
            low = mid + 1;
        else
            high = mid;
    }
    return low < p->affinity_count && p->affinities[low].facet == facet ? &p->affinities[low] : NULL;
}

/* The mean of the facets' weights, each with its own strength as its say, and one neutral facet of strength one half
 * beside them: what the person does not care about does not dilute, and one weak match is not a strong one. */
float policy_affinity_score(const policy_profile *p, const catalogue_card *card, uint32_t *best) {
    const float neutral = 0.5f;
    float sum = 0, say = neutral, most = 0;
    uint32_t facet = UINT32_MAX;
    for (size_t i = 0; p->affinity_count && i < card->facet_count; i++) {
        const policy_affinity *of = policy_affinity_of(p, card->facets[i]);
        float w = of ? of->weight : 0;
        sum += w * fabsf(w);
        say += fabsf(w);
        if (w > most) {
            most = w;
            facet = card->facets[i];
        }
    }
    if (best) *best = facet;
    return sum / say;
}
