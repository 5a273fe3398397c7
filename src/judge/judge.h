/* judge: was one way of choosing better than another? Numbers in, numbers out: no store, no clock, no thread.
 *
 *   estimate.c    what another policy would have earned on traffic that was logged: IPS, SNIPS, doubly robust
 *   predict.c     the reward model that the doubly robust estimate leans on
 *   sequence.c    the difference between two arms, valid however often somebody looks
 *   interleave.c  two rankings in one list, and who of them won
 *   assign.c      which arm a person is in
 *   slate.c       one answer as it is kept for all this
 *
 * Every interval here is of 95 %. Rewards are of any scale; a slate's value is the sum of its slots' rewards. */
#ifndef JUDGE_H
#define JUDGE_H

#include "base/base.h"

typedef struct judge_value {
    double value, low, high;
} judge_value;

/* ---- estimates from logged slates (estimate.c) ---- */
/* How the reward of a slot depends on the list.
 *   CASCADE   on the item and on those above it (people read from the top): the weight of slot j is the product of
 *             the ratios of slots 1..j, and propensities are conditional on what stands above, as a list that is
 *             drawn from the top knows them. Unbiased where that holds; the deeper, the noisier.
 *   POSITION  on the item and its place alone: the weight is the slot's own ratio, and propensities are marginal. */
typedef enum judge_model { JUDGE_CASCADE, JUDGE_POSITION } judge_model;
typedef struct judge_slot {
    double reward;
    double logged;              /* probability with which this item came here, (0, 1] */
    double target;              /* that of the policy in question, 0..1 */
    double predicted, expected; /* of the reward here: of this item, and over what the policy in question would draw */
} judge_slot;
typedef struct judge_slate {
    uint64_t person; /* slates of one person are not independent: intervals count people */
    const judge_slot *slots;
    size_t count;
} judge_slate;

enum {                     /* what to think of before believing an estimate */
       JUDGE_FEW = 1,      /* the effective number of slates is below JUDGE_EFFECTIVE_MIN */
       JUDGE_EXPLODED = 2, /* one slate carries more than a twentieth of all weight at some place */
       /* weights do not average 1: the policy in question shows what the log could not have shown */
       JUDGE_UNSUPPORTED = 4,
       JUDGE_CLIPPED = 8 /* weights were cut at JUDGE_WEIGHT_MAX: estimates are too low, by at most what was cut */
};
enum { JUDGE_EFFECTIVE_MIN = 100, JUDGE_WEIGHT_MAX = 1000, JUDGE_SLOTS_MAX = 1000 };

typedef struct judge_estimate {
    judge_value logged; /* what was earned */
    judge_value ips, snips, doubly_robust;
    double effective;               /* number of slates that the weights are worth at the worst place (Kish 1965) */
    double weight_mean, weight_max; /* mean: at the place where it is farthest from 1 */
    size_t slates, people;
    unsigned warnings;
} judge_estimate;

/* NO_MEMORY; INVALID for a propensity that is none or a figure that is not finite. No slate: all zero, JUDGE_FEW. */
int judge_estimate_value(judge_model model, const judge_slate *slates, size_t n, judge_estimate *out, braid_error *err);

/* ---- rewards predicted (predict.c): ridge regression over up to JUDGE_FEATURES_MAX features ---- */
enum { JUDGE_FEATURES_MAX = 64 };
typedef struct judge_ridge {
    size_t features;
    /* the last is the constant */
    double gram[JUDGE_FEATURES_MAX + 1][JUDGE_FEATURES_MAX + 1], right[JUDGE_FEATURES_MAX + 1];
    double weight[JUDGE_FEATURES_MAX + 1];
    size_t seen;
} judge_ridge;
void judge_ridge_begin(judge_ridge *r, size_t features);
void judge_ridge_add(judge_ridge *r, const float *x, double y);
void judge_ridge_solve(judge_ridge *r, double penalty); /* nothing seen: predicts 0 */
double judge_ridge_predict(const judge_ridge *r, const float *x);

/* ---- arms compared (sequence.c) ---- */
/* What is known of one arm: sums over people, so it takes no memory and can be added to for ever. */
typedef struct judge_arm {
    double people, slates, reward, reward_square, cross, slates_square;
} judge_arm;
/* One person with the sum of their slates' rewards. Once a person, as of the moment of looking. */
void judge_arm_add(judge_arm *a, double reward, double slates);
double judge_arm_mean(const judge_arm *a);     /* reward a slate */
double judge_arm_variance(const judge_arm *a); /* of that mean, people as units */

typedef struct judge_comparison {
    judge_value difference; /* second minus first; the interval holds at all looks together */
    double p;               /* always valid: below 0.05 at any look speaks against "no difference" */
    bool decided;           /* p is that low, and both arms have JUDGE_PEOPLE_MIN people */
} judge_comparison;
enum { JUDGE_PEOPLE_MIN = 50 /* before that a normal limit is only a hope */ };
/* `scale`: the size of differences that are looked for, > 0, fixed before the experiment begins: it costs power to
 * be wrong about it, never validity. */
judge_comparison judge_compare(const judge_arm *first, const judge_arm *second, double scale);

/* ---- two rankings in one list (interleave.c) ---- */
/* Team draft: both put up their next best in turns, a coin says who begins each turn. `out` gets up to k positions into
 * `items`-numbering of the callers (values of a and b), team[i] 0 or 1; returns how many. */
size_t judge_team_draft(const uint32_t *a, size_t na, const uint32_t *b, size_t nb, size_t k, rng *r, uint32_t *out,
                        uint8_t *team);
typedef struct judge_duel {
    judge_value share; /* of the won slates, that the second ranking won; valid at all looks together */
    double p;          /* always valid */
    bool decided;
} judge_duel;
/* How many slates each won (the items of its team earned more); ties tell nothing. */
judge_duel judge_duel_of(uint64_t first, uint64_t second);

/* ---- who is in which arm (assign.c) ---- */
/* The arm of a person: stable while experiment, salt and shares are, and independent from one experiment to another.
 * Shares need not sum to 1; n >= 1, at least one share > 0. */
size_t judge_assign(const char *experiment, uint64_t salt, const char *person, const double *shares, size_t n);
double judge_place(const char *experiment, uint64_t salt, const char *person); /* 0..1, where they stand */

/* ---- one answer as it is kept (slate.c) ---- */
typedef struct judge_place_log {
    uint32_t num;
    double propensity;     /* given what stands above; 0: not known */
    bool explored, forced; /* forced: a rule filled the place, whatever ranked */
    double score;
    int8_t team; /* of an interleaved list: whose; else -1 */
} judge_place_log;
typedef struct judge_log { /* texts are never NULL */
    const char *strategy, *ranker, *state;
    const char *experiment, *arm; /* "": none. Of an interleaved one the arm is "" */
    uint64_t version;             /* of the experiment */
    uint64_t weights;             /* version of what ranked; 0: the default */
    bool cached;
    judge_place_log *places;
    size_t place_count;
    uint32_t *pool; /* candidates that were not shown, in their order */
    size_t pool_count;
    float *features; /* feature_count of each place, then of each of the pool; NULL: it was not ranked by features */
    size_t feature_count;
} judge_log;
bool judge_log_print(const judge_log *l, buf *out); /* at most JUDGE_SLOTS_MAX places, and as many in the pool */
/* INVALID: damaged, or of another form */
int judge_log_read(const char *text, size_t len, arena *a, judge_log *out, braid_error *err);

#endif
