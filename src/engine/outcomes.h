/* What followed from what was shown: slates of a time with the rewards that their places earned. Private to the
 * engine. */
#ifndef ENGINE_OUTCOMES_H
#define ENGINE_OUTCOMES_H

#include "engine/db.h"
#include "judge/judge.h"

enum { OUTCOMES_MAX = 500000 /* slates looked at once */ };

typedef struct outcome {
    uint64_t person;       /* a hash */
    uint32_t first, count; /* its places: nums, teams and rewards from `first` on */
    uint32_t tag;
} outcome;
typedef struct outcomes {
    map *ids; /* recommendation_id -> index */
    outcome *list;
    size_t count, cap;
    uint32_t *nums;
    int8_t *teams;
    float *rewards;
    size_t place_count, place_cap;
    bool full; /* there were more than OUTCOMES_MAX */
} outcomes;

/* How many places of a slate are wanted, 0: leave it out; *tag is kept with it. */
typedef size_t outcomes_want(void *ctx, const record_slate *row, const judge_log *shown, uint32_t *tag);
/* Slates of an agent (NULL: all) from <= at < until, and what people did with what they showed. Free it in any case. */
int outcomes_load(braid_db *db, const char *agent, int64_t from, int64_t until, outcomes_want *want, void *ctx,
                  outcomes *out, braid_error *err);
void outcomes_free(outcomes *o);

#endif
