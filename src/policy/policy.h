/* policy: what works for this person. Rewards, states, posteriors, Thompson sampling, taste profiles, and the learner
 * behind the change log.
 *
 * An interaction becomes a reward in 0..1 and an episode; it moves the posteriors of the item's actions (its genres) at
 * five levels of back-off: the person in this state, the person in any state, their cohort (the people of their
 * region), everybody in this state, everybody. A state is discretised (daypart, device, mood, region, recent taste: what
 * of these the option policy.state names) and hashed by SHA-256 of its canonical form, so that states do recur. Scoring
 * samples each action once an answer (Thompson 1933): what is uncertain is tried, what is known to fail is not.
 *
 * The learner runs behind the log, never in a request; it writes episodes, posteriors, counters and its cursor in one
 * transaction, so delivery at least once leaves exactly what one clean pass would. The taste profile of a person (seen
 * list, affinities, liked items) is made from the record store on first use, kept in a bounded cache, and moved at once
 * by each acknowledged interaction: the next answer shows it. */
#ifndef POLICY_H
#define POLICY_H

#include "base/base.h"
#include "cache/cache.h"
#include "catalogue/catalogue.h"
#include "learn/learn.h"
#include "model/model.h"
#include "record/record.h"
#include "vector/vector.h"

/* ---- reward (reward.c) ----
 * complete 1; like 1; dislike 0; skip 0; rate (rating - 0.5) / 4.5; watch: the watched share of the duration (a rating,
 * if also there, has half the say), raised to 1 from a share of 0.9 on; without a known duration 0.5; click 0.3; view
 * 0.15. */
double policy_reward(const interaction *in, int32_t duration_s);
/* A reward from here on says that the person liked it: four stars of five, nearly all of it watched. */
#define POLICY_LIKED 0.75f
/* A reward below this says that they did not: fewer than three stars, a skip. */
#define POLICY_DISLIKED 0.55f

/* ---- state (state.c) ---- */
/* The parts that a state is made of; which of them is configuration (option policy.state). */
typedef enum policy_state_part {
    POLICY_DAYPART,
    POLICY_DEVICE,
    POLICY_MOOD,
    POLICY_REGION,
    POLICY_TASTE, /* of the person, not of the moment: the genre that they liked most lately */
    POLICY_STATE_PARTS
} policy_state_part;
#define POLICY_STATE_MOMENT ((1u << POLICY_TASTE) - 1) /* what a request or an interaction says of its moment */
/* "daypart,device,mood,region,taste" in any order, -> a bit a part; "" is none: every moment is like any other.
 * INVALID names what is no part. */
int policy_state_parse(const char *list, unsigned *parts, braid_error *err);
typedef struct policy_state {
    char text[240];
    char hash[RECORD_HASH_BYTES];
    char cohort_text[64], cohort[RECORD_HASH_BYTES]; /* of the person's region, in any state; "": no region is known */
} policy_state;
/* Canonical form "v1;daypart=evening;device=tv;mood=;region=CA", of the parts that are in `parts`: values
 * lower-cased, unknown ones empty. Daypart, if not given, from the hour of `at` (UTC): 5-11 morning, 12-17
 * afternoon, 18-22 evening, else night. */
/* SHA-256 of a canonical text, in hex. */
void policy_state_hash(const char *text, char out[RECORD_HASH_BYTES]);
void policy_state_make(unsigned parts, const char *daypart, const char *device, const char *mood, const char *region,
                       int64_t at, policy_state *out);
/* Gives a state that was just made its taste, "": none is known. Nothing where taste is no part of states. */
void policy_state_taste(policy_state *s, const char *taste);

/* ---- recent taste (taste.c): votes for genres by the newest things that a person judged ---- */
enum { POLICY_TASTE_ITEMS = 10, POLICY_TASTE_GENRES = 128 };
typedef struct policy_taste {
    size_t count;
    struct policy_taste_vote {
        const char *genre; /* borrowed */
        uint32_t votes, place;
    } of[POLICY_TASTE_GENRES];
} policy_taste;
/* Whether a type says what the person thinks of an item: not a view or a click. */
bool policy_judges(interaction_type type);
/* An item that was liked has this genre; `place` 0..POLICY_TASTE_ITEMS - 1 among what was judged, newest first.
 * Places come in that order; a genre that an item names twice has one vote. */
void policy_taste_vote(policy_taste *t, size_t place, const char *genre);
const char *policy_taste_winner(const policy_taste *t); /* "": nothing was liked */

/* ---- posterior (posterior.c) ---- */
typedef struct policy_posterior {
    double mean, variance, count;
} policy_posterior;
policy_posterior policy_prior(void); /* mean 0.5, variance 0.08, count 0 */
void policy_update(
    policy_posterior *p,
    double reward); /* mean (mean n + r)/(n + 1); variance smoothed exponentially with 1/min(n + 1, 50) */
/* The level below leans on the level above with the weight of n0 pseudo-observations. */
policy_posterior policy_shrink(policy_posterior own, policy_posterior parent, double n0);
/* sqrt(variance / (count + n0)): how far draws lie from the mean */
double policy_spread(policy_posterior p, double n0);
double policy_sample(policy_posterior p, double n0, rng *r); /* N(mean, spread), cut to 0..1 */
#define POLICY_N0 4.0 /* pseudo-observations with which a level leans on the one above it, and a sample is drawn */

/* ---- people (people.c): what they state of themselves and their session, with a cache in front of a remote record
 * store ---- */
typedef struct policy_people policy_people; /* thread-safe */
typedef struct policy_session_item {
    uint32_t num;
    interaction_type type;
    int32_t watch_s;
    float rating;
    int64_t at;
    uint64_t lsn;
} policy_session_item;
/* in_front NULL or ttl_ms 0: every read goes to the record store. */
int policy_people_open(record_store *record, cache *in_front, unsigned ttl_ms, policy_people **out, braid_error *err);
void policy_people_close(policy_people *p);
/* As record_get_user. `known`: an LSN of a change of this person that the caller knows of, 0 none; the answer is not
 * older. */
int policy_people_state(policy_people *p, const char *user, uint64_t known, deadline until, record_text_fn *each,
                        void *ctx, braid_error *err);
/* Up to `max` of the person's latest interactions in that session, newest first. */
int policy_people_session(policy_people *p, const char *user, const char *session, uint64_t known, deadline until,
                          policy_session_item *out, size_t max, size_t *count, braid_error *err);
/* After a write, before it is acknowledged: of the person's record (or its removal), or of an interaction in a
 * session. */
void policy_people_changed(policy_people *p, const char *user, bool record, uint64_t lsn);

/* ---- profile (profile.c) ---- */
typedef struct policy_seen {
    uint32_t num;
    float reward;
    int64_t at;
    interaction_type type;
} policy_seen;
typedef struct policy_affinity {
    uint32_t facet;
    uint32_t liked; /* of the newest items, those that were liked and have it */
    float weight;   /* -1..1 */
} policy_affinity;

typedef struct policy_profile { /* immutable once handed out; reference-counted */
    bool known;                 /* a user record or an interaction exists */
    uint64_t interactions;
    uint64_t version; /* LSN of the newest thing in it: part of cache keys */
    const uint32_t *seen;
    size_t seen_count; /* every item interacted with (any type but view), ascending numbers */
    const policy_seen *recent;
    size_t recent_count; /* newest first, at most 1,000, one entry an item (its latest) */
    const policy_affinity *affinities;
    size_t affinity_count; /* by facet id, ascending; learned + stated preferences */
    uint32_t liked;        /* of the newest items, those that were liked */
    const char *taste;     /* the genre that they liked most lately, taste.c; "": none. Lives as the catalogue does */
    const user *person;    /* NULL if there is no user record */
    /* how it is kept: private to profile.c */
    void *owner;
} policy_profile;

typedef struct policy_profiles policy_profiles; /* the bounded cache; thread-safe */
int policy_profiles_open(record_store *record, policy_people *people, catalogue *cat, const model_limits *limits,
                         size_t max_profiles, const clock_ops *clock, metrics *m, policy_profiles **out,
                         braid_error *err);
void policy_profiles_close(policy_profiles *p);
/* Never NULL on success; an unknown person has known == false and empty lists. Release when done. */
int policy_profile_get(policy_profiles *p, const char *user, deadline until, const policy_profile **out,
                       braid_error *err);
void policy_profile_release(const policy_profile *profile);
/* After an acknowledged write: the profile, if it is cached, moves on (or is dropped, when the interaction is older
 * than what it holds). */
void policy_profile_moved(policy_profiles *p, const interaction *in, uint32_t item_num, uint64_t lsn);
void policy_profile_drop(policy_profiles *p, const char *user, uint64_t lsn);
/* Everybody's profile is read anew when it is next asked for; what the cache has of anybody from before `lsn` is not
 * believed. */
void policy_profiles_forget(policy_profiles *p, uint64_t lsn);
/* LSN of the person's last write through this process; 0 if none. */
uint64_t policy_profile_last_write(policy_profiles *p, const char *user);

/* ---- rows (rows.c): policies as answers read them, with a cache in front of a remote record store ---- */
typedef struct policy_rows policy_rows; /* thread-safe */
/* in_front NULL or ttl_ms 0: every read goes to the record store. */
int policy_rows_open(record_store *record, cache *in_front, unsigned ttl_ms, metrics *m, policy_rows **out,
                     braid_error *err);
void policy_rows_close(policy_rows *p);
/* As record_get_policies; what the cache has is not asked for again. */
int policy_rows_get(policy_rows *p, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                    record_policy_key_fn *each, void *ctx, braid_error *err);
/* Before the row is written to the record store, and after it was: between the two the cache has nothing of it. */
void policy_rows_changing(policy_rows *p, const record_policy *row);
void policy_rows_put(policy_rows *p, const record_policy *row);
/* A person is about to be removed: notes the keys of their rows (in `a`) before, and forgets them after. *out NULL:
 * there is no cache to tell. */
typedef struct policy_rows_key_list policy_rows_key_list;
int policy_rows_note(policy_rows *p, const char *user_id, arena *a, policy_rows_key_list **out, braid_error *err);
void policy_rows_forget(policy_rows *p, const policy_rows_key_list *keys, uint64_t lsn);
/* "policy:{agent}:{user}:{state_hash}" with its parts escaped, appended. */
bool policy_rows_key(const char *agent, const char *user_id, const char *state_hash, buf *out);

/* ---- scoring (thompson.c) ---- */
typedef struct policy_scorer policy_scorer; /* one answer's sample of every action; belongs to one thread */
/* Loads the posteriors of (agent, user) and the population's; draws nothing yet. */
int policy_scorer_new(policy_rows *rows, catalogue *cat, const char *agent, const char *user, const policy_state *state,
                      uint64_t seed, deadline until, arena *a, policy_scorer **out, braid_error *err);
typedef struct policy_score {
    float sampled; /* mean over the item's actions of the sampled value, 0..1 */
    float mean;    /* the same of the posterior means */
    float count;   /* observations of this person behind it */
    uint32_t best; /* facet id of the action that gave most; UINT32_MAX if the item has none */
    bool explored; /* sampled well above the mean on little evidence */
} policy_score;
policy_score policy_score_item(policy_scorer *s, const catalogue_card *card);
/* Affinity of a profile to an item: weighted mean over its facets, -1..1; *best gets the facet that gave most
 * (UINT32_MAX: none). */
float policy_affinity_score(const policy_profile *p, const catalogue_card *card, uint32_t *best);
const policy_affinity *policy_affinity_of(const policy_profile *p, uint32_t facet); /* NULL: none */

/* ---- agents (agents.c): how answers use what was learned, as documents say and a small cache remembers ---- */
#define POLICY_AGENT_KIND "agent"
agent_settings policy_agent_default(void);  /* of nobody in particular */
typedef struct policy_agents policy_agents; /* thread-safe */
int policy_agents_open(record_store *record, policy_agents **out, braid_error *err);
void policy_agents_close(policy_agents *p);
/* The agent of that name, the default where nobody described it; without its id and description. After an error,
 * too, the default is in *out. */
int policy_agents_get(policy_agents *p, const char *name, agent_settings *out, braid_error *err);
/* Every agent that is described, in the order of their names' bytes, as the record store has them now; each() may stop
 * it. Strings last until it returns. */
typedef bool policy_agent_fn(void *ctx, const char *name, const agent_settings *a);
int policy_agents_each(policy_agents *p, policy_agent_fn *each, void *ctx, braid_error *err);
/* After a document changed: what is remembered ends. */
void policy_agents_changed(policy_agents *p);

/* ---- drawing a list (draw.c) ---- */
typedef struct policy_draw_options {
    size_t n;            /* candidates, known by their index */
    const bool *may;     /* which may be explored */
    const double *value; /* of each; or, one after the other, every opinion's of each */
    size_t opinions;     /* 0: a softmax over the values */
    double temperature;  /* of the softmax, in standard deviations of the values */
    double share;        /* how likely a place is to explore, 0..1 */
    size_t most;         /* places that may go to another than the best */
    uint64_t seed;
} policy_draw_options;
typedef struct policy_draw policy_draw; /* of one list; borrows `value` */
int policy_draw_new(const policy_draw_options *options, arena *a, policy_draw **out, braid_error *err);
typedef struct policy_drawn {
    size_t which;
    double propensity; /* of this candidate at this place, given those above it */
    bool explored;     /* it is not the best by score */
} policy_drawn;
/* Who takes the next place, which by score belongs to `best` (not taken yet). */
policy_drawn policy_draw_next(policy_draw *d, size_t best);
/* One takes a place without a draw: it is left to no other. */
void policy_draw_take(policy_draw *d, size_t which);

/* ---- the learner (learner.c) ---- */
typedef struct policy_learner policy_learner;
#define POLICY_LEARNER_NAME "policy"
int policy_learner_open(record_store *record, policy_rows *rows, catalogue *cat, const logger *log, metrics *m,
                        policy_learner **out, braid_error *err);
void policy_learner_close(policy_learner *l);
/* What states are made of, before it learns; otherwise of POLICY_STATE_MOMENT. */
void policy_learner_states(policy_learner *l, unsigned parts);
/* Starts over at `learned`: another process may have learned, and counted, since. */
int policy_learner_begin(policy_learner *l, uint64_t learned, braid_error *err);
/* The apply function of a feed: interactions with lsn in (cursor, upto] -> episodes, posteriors, counters and the
 * cursor, one transaction (background). It looks items up in the record store, not in the catalogue, so that it does
 * not depend on another feed's progress; counters also go to catalogue_set_stats. */
int policy_learner_apply(void *learner, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                         braid_error *err);

/* ---- item-item models in memory (models.c) ---- */
typedef enum policy_model {
    POLICY_MODEL_SLIM,     /* sparse linear weights between what people liked */
    POLICY_MODEL_TOGETHER, /* liked by the same people at about the same time */
    POLICY_MODEL_FOLLOWS,  /* chosen some time after */
    POLICY_MODEL_NEXT,     /* chosen right after */
    /* alike by what is written of them: for what nobody has watched yet. Kept per target, as is: */
    POLICY_MODEL_CONTENT,
    POLICY_MODEL_RIDGE, /* the linear weights of vectors, and at the item itself the audience that they expect */
    POLICY_MODEL_COUNT
} policy_model;
const char *policy_model_name(policy_model m); /* "slim" ...: as the record store knows it */

typedef struct policy_weights policy_weights;
/* When everything was chosen: audiences of any past moment. In memory only; for evaluation and for fitting. */
typedef struct policy_times policy_times;

/* What is fitted only to compare with, and lives in this process alone. */
typedef struct policy_baselines {
    const learn_edges *cosine; /* per source its targets */
    const learn_ease *ease;    /* NULL: too many people */
    const policy_times *times; /* so that a question may be put in the past */
} policy_baselines;

/* Immutable, reference-counted. Items are their numbers. */
typedef struct policy_model_set {
    uint32_t items; /* numbers are below this */
    /* per source its targets (CONTENT, RIDGE: per target its sources); NULL: not learned */
    const learn_edges *from[POLICY_MODEL_COUNT];
    int64_t at;                        /* when the newest was learned, wall ms */
    const policy_weights *weights;     /* of the ranking: learned, or the default */
    const policy_baselines *baselines; /* NULL: not asked for */
} policy_model_set;

typedef struct policy_models policy_models; /* thread-safe */
int policy_models_open(record_store *record, metrics *m, policy_models **out, braid_error *err);
void policy_models_close(policy_models *p);
/* Reads every model anew from the record store; what answers hold meanwhile stays as it is. */
int policy_models_load(policy_models *p, braid_error *err);
/* Takes all over in any case; they are shown from the next load on. */
int policy_models_compare(policy_models *p, learn_edges *cosine, learn_ease *ease, policy_times *times,
                          braid_error *err);
/* NULL while nothing was learned. Release when done. */
const policy_model_set *policy_models_get(policy_models *p);
void policy_models_release(const policy_model_set *set);

/* ---- learned ranking (history.c, features.c, candidates.c, ranking.c) ---- */
typedef enum policy_feature {
    POLICY_FEATURE_SLIM,
    POLICY_FEATURE_TOGETHER,      /* with what was liked last */
    POLICY_FEATURE_TOGETHER_EVER, /* with anything that was liked */
    POLICY_FEATURE_FOLLOWS,
    POLICY_FEATURE_NEXT,
    POLICY_FEATURE_CONTENT,        /* likeness of vectors to everything that was liked */
    POLICY_FEATURE_CONTENT_RECENT, /* to what was liked last */
    POLICY_FEATURE_ALIKE,          /* content neighbours that were liked (these five in fresh lists only) */
    POLICY_FEATURE_NEIGHBOURS,     /* what was thought of the content neighbours */
    POLICY_FEATURE_AROUND,         /* their audience */
    POLICY_FEATURE_LINEAR,         /* what a linear model of vectors makes of the history */
    POLICY_FEATURE_EXPECTED,       /* the audience that it expects */
    POLICY_FEATURE_GENRES,         /* shared with what was liked */
    POLICY_FEATURE_GENRES_AGAINST, /* shared with what was not */
    POLICY_FEATURE_THEMES,
    POLICY_FEATURE_PEOPLE,
    POLICY_FEATURE_POPULAR, /* how many chose it, up to the moment */
    POLICY_FEATURE_TREND,   /* lately */
    POLICY_FEATURE_VALUE,   /* mean reward, shrunk */
    POLICY_FEATURE_UNTRIED, /* nobody chose it yet */
    POLICY_FEATURE_AGE,     /* years since it was made */
    POLICY_FEATURE_AHEAD,   /* made later than the moment asked about: only the past has such */
    POLICY_FEATURE_YEAR,    /* nearness to the years of what was chosen last */
    POLICY_FEATURE_COUNT
} policy_feature;
const char *policy_feature_name(policy_feature f);

/* What is known of an item's audience at one moment. */
typedef struct policy_audience {
    double count, reward_sum; /* of all interactions but views and clicks */
    double recent;            /* the count, each halved for every POLICY_TREND_DAYS it is old */
} policy_audience;
enum { POLICY_TREND_DAYS = 60 };

typedef struct policy_question {
    const policy_model_set *models; /* NULL: nothing learned; features of edges are zero */
    catalogue *cat;
    vector_store *vectors;      /* NULL: no features of content */
    uint32_t dim;               /* of its vectors */
    const policy_times *times;  /* NULL: audiences are those of the catalogue, now */
    const policy_seen *history; /* newest first */
    size_t count;
    int64_t as_of;        /* wall ms */
    const bitset *allow;  /* what may be a candidate */
    bool taste_only;      /* without the features that say nothing of the person: audiences and ages */
    bool all;             /* everything in `allow` is one; else the strongest of each source */
    size_t width;         /* from each source, 200 */
    const uint32_t *more; /* candidates that other strands brought, in `allow` */
    size_t more_count;
    deadline until;
} policy_question;
typedef struct policy_candidate {
    uint32_t num;
    bool tried;                    /* somebody chose it */
    uint32_t because;              /* the item of the history that spoke most for it; UINT32_MAX: none did */
    float x[POLICY_FEATURE_COUNT]; /* standardised over the candidates */
} policy_candidate;
/* Memory in `a`; in the order of item numbers. A vector store that fails costs its features: *missing says so. */
int policy_candidates(const policy_question *q, arena *a, policy_candidate **out, size_t *count, bool *missing,
                      braid_error *err);

/* Weights of the ranking of one agent. */
struct policy_weights {
    double mean[POLICY_FEATURE_COUNT];
    double fresh[POLICY_FEATURE_COUNT]; /* among candidates that nobody has chosen yet */
    bool learned;
    uint64_t lists, fresh_lists; /* choices that they were fitted on */
    uint64_t version;            /* LSN up to which interactions were known when they were fitted; 0: the default */
};
policy_weights policy_weights_default(void); /* fitted on public data; where nothing was learned here */
/* `fresh`: none of the candidates has been chosen by anybody. */
double policy_rank(const policy_weights *w, bool fresh, const policy_candidate *c);
bool policy_all_fresh(const policy_candidate *c, size_t n);
/* A posterior over the weights (linear.c). */
typedef struct policy_linear {
    double mean[POLICY_FEATURE_COUNT];
    double covariance[POLICY_FEATURE_COUNT * (POLICY_FEATURE_COUNT + 1) / 2]; /* the lower triangle, row by row */
    double count;                                                             /* choices that moved it */
} policy_linear;
void policy_linear_begin(policy_linear *l, const double mean[POLICY_FEATURE_COUNT]);
/* One standard deviation of an item's score. */
double policy_linear_width(const policy_linear *l, const float features[POLICY_FEATURE_COUNT]);
/* `n` weights that may just as well be true; `scale` times as far from the mean. */
void policy_linear_samples(const policy_linear *l, double scale, size_t n, uint64_t seed,
                           double (*out)[POLICY_FEATURE_COUNT]);

/* What an agent ranks by for one person: learned on line from its own lists; `base` where it has not yet, or since
 * `base` was fitted anew. */
typedef struct policy_belief {
    policy_weights weights; /* with the person's own, where the agent wants it */
    policy_linear linear;   /* of learners linucb and thompson; without the person's own */
} policy_belief;
int policy_belief_of(policy_rows *rows, const agent_settings *who, const char *name, const char *person,
                     const policy_weights *base, deadline until, policy_belief *out, braid_error *err);
/* The same for people to read (show.c): JSON fields "choices", "weights" and "actions", appended. */
int policy_show(policy_rows *rows, const agent_settings *who, const char *name, const char *person,
                const policy_state *state, const policy_weights *base, deadline until, buf *out, braid_error *err);
/* A list that was shown, for the interaction that chooses from it (shown.c): the features of an item packed, and n
 * rows of them as JSON fields (",\"features\":.."), appended. */
enum { POLICY_SHOWN_MAX = 20 };
void policy_shown_pack(const float x[POLICY_FEATURE_COUNT], int16_t out[POLICY_FEATURE_COUNT]);
bool policy_shown_print(const int16_t *rows, size_t n, size_t chosen, buf *out);
policy_audience policy_times_at(const policy_times *t, uint32_t num, int64_t at);
/* Whether the moment is within what they cover: later ones have an audience that they have not seen. */
bool policy_times_know(const policy_times *t, int64_t at);

/* ---- fitting them (fit.c) ---- */
typedef struct policy_fit_report {
    uint64_t interactions, users, items;
    uint64_t head, counted; /* of the log, and interactions in the store, when reading began: what a refresh is told */
    bool refreshed;         /* only some items were learned of: `moved` */
    uint64_t moved;
    struct policy_fit_model {
        const char *name;
        uint64_t edges;
        double seconds;
    } models[POLICY_MODEL_COUNT + 4];
    size_t model_count;
    double seconds;
} policy_fit_report;
typedef struct policy_fit_options {
    unsigned threads;   /* 1.. */
    size_t history_max; /* newest interactions of a person that are learned from */
    bool ranking;       /* also the weights of the ranking */
    bool baselines;     /* also what is only there to compare with */
    /* only what moved since `head`, when `counted` interactions were there; everything if that is too much */
    bool refresh;
    uint64_t head, counted; /* or does not add up: somebody was deleted, or wrote out of order. Not `ranking` then */
    bool random_hold_out;   /* weights from events that are held out at random, not the latest */
} policy_fit_options;
typedef bool policy_fit_progress(void *ctx, const char *phase, uint64_t done, uint64_t total);
typedef struct policy_fit_rooms {
    policy_models *models;
    record_store *record;
    catalogue *catalogue;
    vector_store *vectors;
    uint32_t dim;
    const clock_ops *clock;
} policy_fit_rooms;
/* Reads every interaction, fits the item-item models and the ranking, writes them to the record store and loads them
 * into `models`. It holds no lock while it works. CLOSED when `progress` stops it: before writing began nothing was
 * changed, after that learning again writes the rest. */
int policy_fit(const policy_fit_rooms *rooms, const policy_fit_options *options, policy_fit_progress *progress,
               void *ctx, policy_fit_report *report, braid_error *err);

/* ---- patterns (patterns.c, patterns_learn.c, patterns_lean.c): what many people do more often than chance, and how
 * answers lean on it ---- */
#define POLICY_PATTERNS_KEY "learner/patterns"  /* their document, as the log names it */
typedef struct policy_patterns policy_patterns; /* thread-safe */
int policy_patterns_open(record_store *record, catalogue *cat, metrics *m, policy_patterns **out, braid_error *err);
void policy_patterns_close(policy_patterns *p);
/* Reads them anew from the record store; what answers hold meanwhile stays as it is. */
int policy_patterns_load(policy_patterns *p, braid_error *err);
uint64_t policy_patterns_version(policy_patterns *p);          /* 0: none; part of cache keys */
const char *policy_pattern_kind_name(learn_pattern_kind kind); /* "genre_affinity" ... */
bool policy_pattern_kind_of(const char *name, learn_pattern_kind *out);
typedef struct policy_patterns_report {
    uint64_t interactions, people, found[LEARN_PATTERN_KINDS], tested[LEARN_PATTERN_KINDS];
    double sample; /* share of the people that were asked */
    double seconds;
} policy_patterns_report;
/* Reads every interaction, looks for patterns, writes them as one document and loads it. At most likings_max (0: 4
 * million, 64 MB) are held; where there are more, fewer people are asked. CLOSED when `progress` stops it: nothing
 * was changed. */
int policy_patterns_learn(policy_patterns *p, size_t likings_max, const clock_ops *clock, policy_fit_progress *progress,
                          void *ctx, policy_patterns_report *report, braid_error *err);
/* {"patterns":[..],"learned":{..}|null}, appended: of a kind or all (NULL), of everybody or what one person prefers. */
int policy_patterns_print(policy_patterns *p, const learn_pattern_kind *kind, const policy_profile *who, size_t limit,
                          buf *b);

typedef struct policy_lean policy_lean; /* of one answer; in its arena */
typedef struct policy_leaning {
    learn_pattern_kind kind;
    uint32_t facet, given; /* facets of the catalogue; given: what an affinity starts from, else UINT32_MAX */
    float weight;          /* 0..1 */
    float lift;
} policy_leaning;
/* Of a person (NULL: nobody) at a moment in a mood ("" or NULL: none). *out NULL: nothing leans. NO_MEMORY. */
int policy_lean_make(policy_patterns *p, const policy_profile *who, int64_t at, const char *mood, arena *a,
                     policy_lean **out);
/* NULL: nothing, or l is NULL */
const policy_leaning *policy_lean_of(const policy_lean *l, const catalogue_card *card);

#endif
