/* Sentences from evidence: why this item, in words that an editor could defend.
 *
 * Every sentence names something that can be looked up: an item that the person finished or liked, a relation or facet
 * that two items share, a posterior with its count. Nothing is said that did not contribute. The strongest evidence
 * comes first; at most REASONS_MAX sentences an item. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "query/programme.h"

typedef enum phrase {
    P_LIKED,
    P_FINISHED,
    P_WATCHED,
    P_LIKE_TARGET,
    P_SHARES,
    P_PERSON,
    P_RELATION_TO,
    P_TEXT,
    P_NEAR,
    P_NEAR_TASTE,
    P_AFFINITY,
    P_POLICY,
    P_POLICY_ALL,
    P_EXPLORED,
    P_TRIED,
    P_POPULAR,
    P_NEW,
    P_ALSO,
    P_PINNED,
    P_BOOSTED,
    P_QUOTA,
    P_PATTERN_AFFINITY,
    P_PATTERN_OWN,
    P_PATTERN_SEASON,
    P_PATTERN_MOOD,
    P_COUNT
} phrase;

static const char *const fr[P_COUNT] = {
    [P_LIKED] = "parce que vous avez aimé « %s »",
    [P_FINISHED] = "parce que vous avez terminé « %s »",
    [P_WATCHED] = "parce que vous avez regardé « %s »",
    [P_LIKE_TARGET] = "dans le voisinage de « %s »",
    [P_SHARES] = "partage %s avec « %s »",
    [P_PERSON] = "avec %s, comme « %s »",
    [P_RELATION_TO] = "%s « %s »",
    [P_TEXT] = "ses mots sont proches de « %s » (similarité %s)",
    [P_NEAR] = "proche de ce que vous cherchez (similarité %s)",
    [P_NEAR_TASTE] = "proche de ce que vous avez aimé dernièrement (similarité %s)",
    [P_AFFINITY] = "correspond à votre goût pour %s",
    [P_POLICY] = "%s vous réussit dans ce contexte (moyenne %s sur %.0f)",
    [P_POLICY_ALL] = "%s plaît en général (moyenne %s)",
    [P_EXPLORED] = "proposé pour découvrir %s : nous connaissons encore peu vos goûts ici",
    [P_TRIED] = "proposé à l’essai, pour mieux connaître vos goûts",
    [P_POPULAR] = "souvent regardé et apprécié",
    [P_ALSO] = "aimé par ceux qui ont aimé « %s »",
    [P_NEW] = "fait partie des titres disponibles pour vous",
    [P_PINNED] = "choisi par la rédaction",
    [P_BOOSTED] = "mis en avant par la rédaction",
    [P_QUOTA] = "placé ici par une règle de la rédaction",
    [P_PATTERN_AFFINITY] = "parce que ceux qui aiment %s aiment aussi %s",
    [P_PATTERN_OWN] = "parce que vous aimez %s plus souvent que d’autres (%s fois)",
    [P_PATTERN_SEASON] = "parce que %s est de saison en %s",
    [P_PATTERN_MOOD] = "parce que %s va avec l’humeur « %s »",
};
static const char *const en[P_COUNT] = {
    [P_LIKED] = "because you liked “%s”",
    [P_FINISHED] = "because you finished “%s”",
    [P_WATCHED] = "because you watched “%s”",
    [P_LIKE_TARGET] = "in the neighbourhood of “%s”",
    [P_SHARES] = "shares %s with “%s”",
    [P_PERSON] = "with %s, like “%s”",
    [P_RELATION_TO] = "%s “%s”",
    [P_TEXT] = "its words are close to “%s” (similarity %s)",
    [P_NEAR] = "close to what you look for (similarity %s)",
    [P_NEAR_TASTE] = "close to what you liked lately (similarity %s)",
    [P_AFFINITY] = "matches your taste for %s",
    [P_POLICY] = "%s works for you in this context (mean %s over %.0f)",
    [P_POLICY_ALL] = "%s is generally liked (mean %s)",
    [P_EXPLORED] = "offered to discover %s: we know little of your taste here yet",
    [P_TRIED] = "offered as a try, to know your taste better",
    [P_POPULAR] = "often watched and liked",
    [P_ALSO] = "liked by people who liked “%s”",
    [P_NEW] = "one of the titles available to you",
    [P_PINNED] = "pinned by the editors",
    [P_BOOSTED] = "put forward by the editors",
    [P_QUOTA] = "placed here by a rule of the editors",
    [P_PATTERN_AFFINITY] = "because people who like %s also like %s",
    [P_PATTERN_OWN] = "because you like %s more often than others do (%s times)",
    [P_PATTERN_SEASON] = "because %s is in season in %s",
    [P_PATTERN_MOOD] = "because %s goes with the mood “%s”",
};

/* How a relation reads from the item (outgoing) or towards it. */
static const struct {
    const char *type, *fr_out, *fr_in, *en_out, *en_in;
} relations[] = {
    {"SEQUEL_OF", "est la suite de", "précède", "is the sequel of", "comes before"},
    {"REMAKE_OF", "est une nouvelle version de", "a inspiré la nouvelle version", "is a remake of", "was remade as"},
    {"SAME_DIRECTOR", "de la même réalisation que", "de la même réalisation que", "by the director of",
     "by the director of"},
    {"INSPIRED_BY", "s’inspire de", "a inspiré", "is inspired by", "inspired"},
    {"SAME_SOURCE", "adapte la même œuvre que", "adapte la même œuvre que", "adapts the same work as",
     "adapts the same work as"},
    {"SPIN_OFF_OF", "est dérivé de", "a donné naissance à", "is a spin-off of", "gave birth to"},
    {"SAME_UNIVERSE", "se passe dans l’univers de", "se passe dans l’univers de", "shares the universe of",
     "shares the universe of"},
    {"SIMILAR_TO", "plaît aux mêmes personnes que", "plaît aux mêmes personnes que", "is liked by people who liked",
     "is liked by people who liked"},
};

enum { SHARED_MAX = 3 };            /* what is asked of one pair */
static const float KNOWN_COUNT = 3; /* observations of a facet from which a person's taste for it is known a little */

typedef struct speaker {
    query_run_state *q;
    bool french;
    const char *const *phrases;
    /* What each item shares with the seed that led to it, asked for all at once: item i's are at shared[i *
     * SHARED_MAX]. */
    graph_neighbour *shared;
    size_t *shared_count;
} speaker;

static const char *facet_words(speaker *s, filter_field field, const char *value) {
    static const char *const names[2][FIELD_COUNT] = {
        {[FIELD_GENRES] = "genre",
         [FIELD_THEMES] = "theme",
         [FIELD_MOODS] = "mood",
         [FIELD_CONTEXTS] = "cultural context"},
        {[FIELD_GENRES] = "le genre",
         [FIELD_THEMES] = "le thème",
         [FIELD_MOODS] = "l’ambiance",
         [FIELD_CONTEXTS] = "le contexte culturel"},
    };
    if (field == FIELD_PEOPLE || field >= FIELD_COUNT || !names[s->french][field]) return value;
    return s->french ? arena_printf(s->q->a, "%s « %s »", names[1][field], value)
                     : arena_printf(s->q->a, "the %s “%s”", names[0][field], value);
}

static filter_field field_of_kind(graph_node_kind kind) {
    switch (kind) {
    case GRAPH_GENRE: return FIELD_GENRES;
    case GRAPH_THEME: return FIELD_THEMES;
    case GRAPH_MOOD: return FIELD_MOODS;
    case GRAPH_CONTEXT: return FIELD_CONTEXTS;
    default: return FIELD_PEOPLE;
    }
}

static const char *title_of(speaker *s, uint32_t num) {
    catalogue_card card;
    return catalogue_get_card(s->q->rooms->catalogue, num, s->q->a, &card) ? card.title : NULL;
}

static void say(query_item *it, const char *text) {
    if (!text || it->because_count == REASONS_MAX) return;
    for (size_t i = 0; i < it->because_count; i++)
        if (strcmp(it->because[i], text) == 0) return;
    it->because[it->because_count++] = text;
}

/* A figure as the language writes it: 0,82 in French, 0.82 in English. */
static const char *figure(speaker *s, double value) {
    char *text = arena_printf(s->q->a, "%.2f", value);
    char *point = text && s->french ? strchr(text, '.') : NULL;
    if (point) *point = ',';
    return text ? text : "";
}

#define PHRASE(s, p, ...) arena_printf((s)->q->a, (s)->phrases[p], __VA_ARGS__)

static const char *relation_words(speaker *s, const char *type, bool outgoing) {
    for (size_t i = 0; i < sizeof relations / sizeof relations[0]; i++)
        if (strcmp(relations[i].type, type) == 0)
            return s->french ? (outgoing ? relations[i].fr_out : relations[i].fr_in)
                             : (outgoing ? relations[i].en_out : relations[i].en_in);
    return s->french ? "est apparenté à" : "is related to";
}

/* What the person did with the item that led here. */
static void say_history(speaker *s, query_item *it, uint32_t seed) {
    const policy_profile *p = s->q->profile;
    for (size_t i = 0; p && i < p->recent_count; i++) {
        if (p->recent[i].num != seed) continue;
        const char *title = title_of(s, seed);
        interaction_type t = p->recent[i].type;
        phrase ph = t == INTERACTION_LIKE || t == INTERACTION_RATE ? P_LIKED
                    : t == INTERACTION_COMPLETE                    ? P_FINISHED
                                                                   : P_WATCHED;
        if (title) say(it, PHRASE(s, ph, title));
        return;
    }
    if (seed == s->q->like_num) {
        const char *title = title_of(s, seed);
        if (title) say(it, PHRASE(s, P_LIKE_TARGET, title));
    }
}

/* One request for the evidence of the whole answer: a graph in another process is a round trip away. Without it the
 * items keep their other reasons. */
static int ask_shared(speaker *s, braid_error *err) {
    query_run_state *q = s->q;
    graph_pair *pairs = arena_alloc(q->a, (q->count + 1) * sizeof *pairs);
    size_t *of = arena_alloc(q->a, (q->count + 1) * sizeof *of), n = 0;
    size_t *counts = arena_calloc(q->a, q->count + 1, sizeof *counts);
    graph_neighbour *found = arena_alloc(q->a, (q->count + 1) * SHARED_MAX * sizeof *found);
    s->shared = arena_alloc(q->a, (q->count + 1) * SHARED_MAX * sizeof *s->shared);
    s->shared_count = arena_calloc(q->a, q->count + 1, sizeof *s->shared_count);
    if (!pairs || !of || !counts || !found || !s->shared || !s->shared_count)
        return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for reasons");
    for (size_t i = 0; i < q->count; i++) {
        if (!q->items[i].hit) continue;
        pairs[n] = (graph_pair){q->items[i].num, q->items[i].hit->seed};
        of[n++] = i;
    }
    braid_error lost = {0};
    if (graph_shared(q->rooms->graph, pairs, n, SHARED_MAX, q->until, found, counts, q->a, &lost) != BRAID_OK) {
        run_degraded(q, graph_name(q->rooms->graph));
        return BRAID_OK;
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(s->shared + of[i] * SHARED_MAX, found + i * SHARED_MAX, counts[i] * sizeof *found);
        s->shared_count[of[i]] = counts[i];
    }
    return BRAID_OK;
}

static void say_shared(speaker *s, query_item *it, const scored *c) {
    size_t at = (size_t)(c - s->q->items);
    const graph_neighbour *shared = s->shared + at * SHARED_MAX;
    const char *title = s->shared_count[at] ? title_of(s, c->hit->seed) : NULL;
    for (size_t i = 0; title && i < s->shared_count[at]; i++) {
        if (shared[i].kind == GRAPH_ITEM)
            say(it, PHRASE(s, P_RELATION_TO, relation_words(s, shared[i].type, shared[i].outgoing), title));
        else if (shared[i].kind == GRAPH_PERSON)
            say(it, PHRASE(s, P_PERSON, shared[i].label, title));
        else
            say(it, PHRASE(s, P_SHARES, facet_words(s, field_of_kind(shared[i].kind), shared[i].label), title));
        if (it->because_count >= 2) return;
    }
}

static void say_vector(speaker *s, query_item *it, const scored *c) {
    if (!c->has[STRAND_VECTOR] || c->raw[STRAND_VECTOR] <= 0.05f) return;
    double cosine = c->raw[STRAND_VECTOR];
    if (s->q->rq->text && cosine > 0.1)
        say(it, PHRASE(s, P_TEXT, s->q->rq->text, figure(s, cosine)));
    else if (strcmp(s->q->vector_from ? s->q->vector_from : "", "taste") == 0 && !s->q->cold)
        say(it, PHRASE(s, P_NEAR_TASTE, figure(s, cosine)));
    else if (s->q->rq->vector || s->q->rq->like)
        say(it, PHRASE(s, P_NEAR, figure(s, cosine)));
}

static const char *facet_sentence(speaker *s, uint32_t facet) {
    filter_field field = FIELD_COUNT;
    const char *name = facet == UINT32_MAX ? NULL : catalogue_facet_name(s->q->rooms->catalogue, facet, &field);
    return name ? facet_words(s, field, name) : NULL;
}

static void say_affinity(speaker *s, query_item *it, const scored *c) {
    const char *words = c->affinity > 0.05 ? facet_sentence(s, c->affinity_facet) : NULL;
    if (words) say(it, PHRASE(s, P_AFFINITY, words));
}

static void say_policy(speaker *s, query_item *it, const scored *c) {
    const char *words = c->has[STRAND_POLICY] ? facet_sentence(s, c->policy.best) : NULL;
    if (it->explored && words && c->policy.count < KNOWN_COUNT)
        say(it, PHRASE(s, P_EXPLORED, words));
    else if (it->explored)
        say(it, s->phrases[P_TRIED]);
    if (!words || it->explored) return;
    if (c->policy.count >= 1 && c->policy.mean >= 0.5f)
        say(it, PHRASE(s, P_POLICY, words, figure(s, c->policy.mean), (double)c->policy.count));
    else if (c->policy.mean >= 0.55f)
        say(it, PHRASE(s, P_POLICY_ALL, words, figure(s, c->policy.mean)));
}

static const char *month_words(const speaker *s) {
    static const char *const names[2][12] = {{"January", "February", "March", "April", "May", "June", "July", "August",
                                              "September", "October", "November", "December"},
                                             {"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août",
                                              "septembre", "octobre", "novembre", "décembre"}};
    time_t now = (time_t)(s->q->now_ms / 1000);
    struct tm t = {0};
    gmtime_r(&now, &t);
    return names[s->french][t.tm_mon];
}

/* What many people do, where the answer leaned on it. */
static void say_pattern(speaker *s, query_item *it, const scored *c) {
    const policy_leaning *l = c->leaning;
    const char *words = l ? facet_sentence(s, l->facet) : NULL,
               *from = words && l->given != UINT32_MAX ? facet_sentence(s, l->given) : NULL;
    if (!words) return;
    const char *mood =
        s->q->rq->mood[0] || !s->q->profile || !s->q->profile->person ? s->q->rq->mood : s->q->profile->person->mood;
    switch (l->kind) {
    case LEARN_GENRE_AFFINITY:
        if (from) say(it, PHRASE(s, P_PATTERN_AFFINITY, from, words));
        return;
    case LEARN_USER_PREFERENCE: say(it, PHRASE(s, P_PATTERN_OWN, words, figure(s, l->lift))); return;
    case LEARN_SEASONAL_TREND: say(it, PHRASE(s, P_PATTERN_SEASON, words, month_words(s))); return;
    default: say(it, PHRASE(s, P_PATTERN_MOOD, words, mood));
    }
}

static void say_rule(speaker *s, query_item *it, const scored *c) {
    static const phrase of[] = {[RULE_PIN] = P_PINNED, [RULE_BOOST] = P_BOOSTED, [RULE_QUOTA] = P_QUOTA};
    if (c->rule) say(it, s->phrases[of[c->rule->kind]]);
}

static void explain_item(speaker *s, query_item *it, const scored *c) {
    say_rule(s, it, c);                     /* before all else: it is why the item stands here */
    if (it->explored) say_policy(s, it, c); /* first: it is why the item stands here */
    const char *spoke = c->because != UINT32_MAX ? title_of(s, c->because) : NULL;
    if (spoke) say(it, PHRASE(s, P_ALSO, spoke));
    if (c->hit && !s->q->cold) {
        say_history(s, it, c->hit->seed);
        if (!bitset_has(&s->q->allow, c->hit->seed) || s->q->profile || s->q->rq->like) say_shared(s, it, c);
    }
    say_vector(s, it, c);
    say_pattern(s, it, c);
    say_affinity(s, it, c);
    say_policy(s, it, c);
    if (c->card->interactions >= 5 && c->card->reward_sum / c->card->interactions >= 0.5)
        say(it, s->phrases[P_POPULAR]);
    if (it->because_count == 0 && c->hit) say_shared(s, it, c);
    if (it->because_count == 0) say(it, s->phrases[P_NEW]);
}

int explanation_write(query_run_state *q, query_item *items, braid_error *err) {
    bool french = strcmp(q->rq->lang, "en") != 0;
    speaker s = {.q = q, .french = french, .phrases = french ? fr : en};
    int rc = ask_shared(&s, err);
    if (rc) return rc;
    for (size_t i = 0; i < q->count; i++) {
        const scored *c = &q->items[i];
        query_item *it = &items[i];
        it->num = c->num;
        it->id = c->card->id;
        it->title = c->card->title;
        it->score = c->score;
        for (int k = 0; k < STRAND_COUNT; k++) it->strand[k] = c->strand[k];
        it->because = arena_calloc(q->a, REASONS_MAX, sizeof *it->because);
        if (!it->because) return error_set(err, BRAID_E_NO_MEMORY, "query", "no memory for reasons");
        bool sampled = q->rq->ranker == RANKER_THOMPSON && q->rq->explore; /* whose chances nobody can tell */
        it->forced = c->forced;
        it->explored = sampled ? c->policy.explored : c->explored;
        it->propensity = sampled ? 0 : c->propensity;
        explain_item(&s, it, c);
    }
    return BRAID_OK;
}
