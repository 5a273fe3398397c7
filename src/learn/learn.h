/* learn: the mathematics of learning from what people did. Matrices in, edges and weights out; knows nothing of films,
 * stores or requests.
 *
 *   matrix.c       events of many people -> one sparse matrix, readable by person and by item
 *   edges.c        per item the few others that speak for it: kept, turned round, packed, added up over a history
 *   cooccurrence.c cosine neighbours, over whole histories or discounted by the distance in time
 *   slim.c         sparse linear weights: every item as a non-negative sum of its neighbours
 *   ease.c         the exact dense linear model in its dual form, for few people and many items
 *   listwise.c     weights of a linear ranking from lists in which some were chosen
 *   patterns.c     what goes together more often than chance, with how sure that is
 *   parallel.c     the same work for every item, on several threads
 *
 * Items and people are dense numbers from 0, given by the caller. What is handed out is immutable and may be read by
 * any number of threads; making it belongs to one caller. Every function returns a braid_code. */
#ifndef LEARN_H
#define LEARN_H

#include "base/base.h"

/* ---- parallel.c ---- */
/* Told now and then, from the calling thread, how many of `total` items are done; false stops, and the work returns
 * CLOSED. */
typedef bool learn_progress(void *ctx, uint64_t done, uint64_t total);
typedef struct learn_work {
    unsigned threads;   /* 0 or 1: the calling one alone */
    const bitset *only; /* NULL: lists for every target, else for these; what they are made from is whole in any case */
    learn_progress *progress;
    void *ctx;
} learn_work;

/* ---- matrix.c ---- */
typedef struct learn_event {
    uint32_t user, item;
    float value; /* how much it says, 1 for a plain like; 0 is no event */
} learn_event;

typedef struct learn_matrix {
    uint32_t users, items;
    uint64_t count;
    uint64_t *user_at;   /* users + 1: where a person's row begins */
    uint32_t *user_item; /* oldest first, an item once: its latest event stands */
    float *user_value;
    uint64_t *item_at;   /* items + 1 */
    uint32_t *item_user; /* who, ascending */
    uint32_t *item_pos;  /* and the place in that person's row */
} learn_matrix;

/* Events of a person in the order of time; people in any order. Only the newest `history_max` of each are kept (0:
 * all). INVALID for a number out of range. */
int learn_matrix_build(const learn_event *events, size_t n, uint32_t users, uint32_t items, size_t history_max,
                       learn_matrix **out, braid_error *err);
void learn_matrix_free(learn_matrix *m);

/* ---- edges.c ---- */
/* Per target the sources that speak for it, strongest first; or, turned round, per source its targets. */
typedef struct learn_edges {
    uint32_t items;
    uint64_t count;
    uint64_t *at; /* items + 1 */
    uint32_t *item;
    float *weight;
} learn_edges;
typedef struct learn_edge {
    uint32_t item;
    float weight;
} learn_edge;

void learn_edges_free(learn_edges *e);
/* A table from a flat list in the order of targets. */
int learn_edges_of(uint32_t items, const uint32_t *target, const learn_edge *edge, size_t n, learn_edges **out,
                   braid_error *err);
int learn_edges_transpose(const learn_edges *e, learn_edges **out, braid_error *err);
/* Moves the `keep` strongest of `n` to the front, strongest first, the lower item first among equals; how many there
 * are. */
size_t learn_edges_strongest(learn_edge *list, size_t n, size_t keep);

/* Lists of all targets, filled in any order by several threads, each target by one; then made into one table. */
typedef struct learn_edges_draft learn_edges_draft;
learn_edges_draft *learn_edges_draft_new(uint32_t items);
bool learn_edges_draft_set(learn_edges_draft *d, uint32_t target, const learn_edge *list, size_t n);
/* Frees the draft in any case. */
int learn_edges_draft_finish(learn_edges_draft *d, learn_edges **out, braid_error *err);
void learn_edges_draft_free(learn_edges_draft *d);

/* ---- cooccurrence.c ---- */
typedef struct learn_cooccurrence {
    double decay;  /* a pair that is d events of its person apart counts exp(-(d - 1) / decay); 0: always 1 */
    bool follows;  /* only sources that came before the target */
    double shrink; /* added to the norm, so that what few have seen is not called alike */
    unsigned keep; /* edges a target */
} learn_cooccurrence;
/* co_ij / (|i| |j| + shrink), co the discounted sum of value products, |i|^2 the sum of squared values. */
int learn_cooccurrence_fit(const learn_matrix *m, const learn_cooccurrence *how, const learn_work *work,
                           learn_edges **out, braid_error *err);

/* ---- slim.c ---- */
typedef struct learn_slim {
    unsigned candidates; /* neighbours by cosine that may speak for a target, 100 */
    double shrink;       /* of that cosine, 10 */
    double l1, l2;       /* penalties, 1 and 50 to 100 */
    unsigned sweeps;     /* of coordinate descent at the most, 20 */
    unsigned keep;       /* edges a target, 50 */
    /* co-counts remembered of one item, the largest; 0: all. Bounds memory: items x this x 8 bytes */
    size_t gram_row_max;
} learn_slim;
learn_slim learn_slim_default(void);
/* Ning & Karypis 2011, restricted to neighbours (fsSLIM): for each target j the w >= 0, w_j = 0, that minimises
 * |x_j - X w|^2 / 2 + l2 |w|^2 / 2 + l1 |w|_1. */
int learn_slim_fit(const learn_matrix *m, const learn_slim *how, const learn_work *work, learn_edges **out,
                   braid_error *err);

/* ---- ease.c ---- */
enum { LEARN_EASE_USERS_MAX = 4096 }; /* the inverse of that many people is 128 MiB */
typedef struct learn_ease learn_ease;
/* Steck 2019, in its dual form. Takes `m` over in any case. TOO_LARGE above LEARN_EASE_USERS_MAX people. */
int learn_ease_fit(learn_matrix *m, double lambda, learn_ease **out, braid_error *err);
void learn_ease_free(learn_ease *e);
/* Scores of every item below `items` for the history of anybody, known to the matrix or not; right for items that
 * are not in the history. NO_MEMORY. */
int learn_ease_score(const learn_ease *e, const learn_edge *history, size_t n, uint32_t items, float *scores,
                     braid_error *err);

/* ---- listwise.c ---- */
enum { LEARN_FEATURES_MAX = 32 };
/* Lists of rows with the same features; in each some rows were chosen. */
typedef struct learn_lists {
    unsigned features;
    size_t lists;
    const size_t *at;   /* lists + 1: where a list's rows begin */
    const float *rows;  /* features numbers a row */
    const bool *chosen; /* by row */
} learn_lists;
/* The w that maximises the mean over lists (of those with a choice and without one) of the mean log softmax(w . x)
 * of the chosen, less l2 |w|^2 / 2: a convex problem, by Newton's method. *lists_used may be NULL. */
int learn_listwise_fit(const learn_lists *l, double l2, double *weights, size_t *lists_used, braid_error *err);

/* ---- patterns.c ---- */
enum { LEARN_FACETS_MAX = 96, LEARN_MOODS_MAX = 16, LEARN_PATTERNS_MAX = 200 /* of a kind */ };
typedef struct learn_liking {
    uint64_t person; /* any number that is theirs alone */
    uint32_t item;
    uint16_t year;
    uint8_t month; /* 0..11 */
    uint8_t mood;  /* 1..LEARN_MOODS_MAX; 0: none was named */
} learn_liking;
/* Of item i: facet[at[i]] .. facet[at[i + 1] - 1], each below `count`. */
typedef struct learn_facets {
    uint32_t count, items;
    uint32_t *at;
    uint8_t *facet;
} learn_facets;
typedef enum learn_pattern_kind {
    LEARN_GENRE_AFFINITY,   /* who likes `given`, a facet, likes `facet` */
    LEARN_USER_PREFERENCE,  /* so many people like `facet` clearly more than everybody does */
    LEARN_SEASONAL_TREND,   /* `facet` is liked in month `given`, 0..11 */
    LEARN_MOOD_CORRELATION, /* in mood `given` */
    LEARN_PATTERN_KINDS
} learn_pattern_kind;
typedef struct learn_pattern {
    learn_pattern_kind kind;
    uint8_t facet, given;
    double lift, low; /* times as often as without; the bound that it is above with 19 chances in 20 */
    uint32_t people, years;
    uint64_t likings;
} learn_pattern;
typedef struct learn_patterns {
    learn_pattern *list; /* by kind, surest first */
    size_t count;
    uint64_t tested[LEARN_PATTERN_KINDS];
    double share[LEARN_FACETS_MAX]; /* of everybody's likings that have the facet */
    uint64_t people, likings;       /* that were asked, and of them */
} learn_patterns;
/* Orders `likings` anew. Time: people x facets^2; memory beside it: about 3 MB. CLOSED when the progress stops it. */
int learn_patterns_find(learn_liking *likings, size_t n, const learn_facets *facets, const learn_work *work,
                        learn_patterns **out, braid_error *err);
void learn_patterns_free(learn_patterns *p);
/* Whether `likings` of a person's `all` are clearly more than everybody's share; how many times as many, and
 * Wilson's bound. */
bool learn_preference(double likings, double all, double share, double *lift, double *low);

#endif
