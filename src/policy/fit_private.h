/* What the files of fitting share. Private to the room. */
#ifndef POLICY_FIT_PRIVATE_H
#define POLICY_FIT_PRIVATE_H

#include "policy/policy_private.h"
#include "policy/times.h"

typedef struct fit_event {
    uint32_t user, num;
    float reward;
    uint32_t order; /* among events of one moment */
    int64_t at;
    bool judged;   /* says what they think of it: not a view or a click */
    bool newer;    /* a refresh has not seen it */
    bool held_out; /* kept from the models, to fit the ranking on */
} fit_event;

typedef struct fit {
    policy_models *models;
    record_store *record;
    catalogue *cat;
    vector_store *vectors;
    uint32_t dim;
    const policy_fit_options *options;
    policy_fit_progress *progress;
    void *ctx;
    const char *phase;
    policy_fit_report *report;
    const clock_ops *clock;
    braid_error *err;

    map *users;
    fit_event *events; /* by person and time */
    size_t count, cap;
    uint32_t items;
    uint64_t last_lsn;
    uint64_t newer;     /* events that a refresh has not seen */
    const bitset *only; /* items to be learned of; NULL: all */
    int rc;
} fit;

/* The models of one part of the events, and when its items were chosen. */
typedef struct fit_models {
    learn_edges *by_target[POLICY_MODEL_COUNT];
    policy_times *times;
} fit_models;

int fit_no_memory(braid_error *err);
bool fit_tell(void *ctx, uint64_t done, uint64_t total);
/* Of everything, or of what is not held out. `note`: for the report. */
int fit_models_make(fit *f, bool without_held_out, bool note, fit_models *out);
void fit_models_free(fit_models *m);
int fit_times_make(fit *f, bool without_held_out, policy_times **out);
void fit_note(fit *f, const char *name, uint64_t edges, int64_t begun);
/* fit_content.c */
int fit_content(fit *f, const bitset *targets, const bitset *sources, const policy_times *times, learn_edges **near,
                learn_edges **linear);
/* Of everything that nobody has chosen. */
int fit_content_all(fit *f, const policy_times *times, learn_edges **near, learn_edges **linear);
/* fit_ridge.c: the linear model of vectors. NULL: no memory, or no vectors. */
typedef struct fit_ridge fit_ridge;
fit_ridge *fit_ridge_new(fit *f, const uint32_t *sources, size_t n, size_t targets, const policy_times *times);
void fit_ridge_free(fit_ridge *r);
/* Looks at the vectors (unit length) of up to FIT_BATCH targets: near[t * sources + s] is the cosine, 0 where a
 * source has none. */
enum { FIT_BATCH = 32 };
void fit_ridge_batch(fit_ridge *r, const float *vectors, size_t n, float *near);
/* The weights of the sources for the target at place `which` of that batch, strongest first, in `list` (room for one
 * more than sources); how many. The first is the target itself with the audience that is expected. */
size_t fit_ridge_weigh(fit_ridge *r, size_t which, uint32_t target, learn_edge *list);
/* What a content neighbour has behind it, so that it has something to say of others. */
enum { FIT_SOURCE_LEAST = 1 };
/* What is in the catalogue: chosen at least so often, and never; both are freed by the caller. */
int fit_present(fit *f, const policy_times *times, double least, bitset *tried, bitset *untried);
/* fit_write.c */
int fit_write(fit *f, policy_model model, const learn_edges *edges);
int fit_write_weights(fit *f, const policy_weights *w);
/* fit_lists.c: lists in which some were chosen, as the ranking would have seen them. */
typedef struct fit_lists fit_lists;
fit_lists *fit_lists_new(size_t max); /* NULL: no memory */
void fit_lists_free(fit_lists *l);
size_t fit_lists_count(const fit_lists *l);
bool fit_lists_full(const fit_lists *l);
/* A list for the person whose events are [begin, end): candidates of `q` (history and as_of are filled in here, from
 * the events that `kept` says), chosen what `wanted` says. None is added when nothing was wanted. `allow` is left as
 * it was. */
typedef bool fit_choose_fn(const void *ctx, const fit_event *e);
int fit_lists_add(fit_lists *l, fit *f, policy_question *q, bitset *allow, size_t begin, size_t end,
                  fit_choose_fn *kept, fit_choose_fn *wanted, const void *ctx, arena *a);
/* False in *enough: too few of them tell anything, and the weights are left as they are. */
int fit_lists_weigh(const fit_lists *l, double penalty, double *weights, uint64_t *used, braid_error *err);
size_t fit_person_end(const fit *f, size_t begin);
/* fit_weights.c: the weights of the ranking, from what each person chose last. *found false: too few choices. */
int fit_weights(fit *f, policy_weights *w, bool *found);
/* fit_fresh.c: its weights for lists of which nobody has chosen anything. */
int fit_fresh(fit *f, policy_weights *w);

#endif
