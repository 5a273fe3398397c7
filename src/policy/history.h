/* A history as the models are asked with it. Private to the room. */
#ifndef POLICY_HISTORY_H
#define POLICY_HISTORY_H

#include "policy/policy_private.h"

/* Weights of a history's items, newest first, one array a purpose. */
/* A model asked with one way of weighing the history. */
typedef enum history_ask { ASK_SLIM, ASK_TOGETHER, ASK_TOGETHER_EVER, ASK_FOLLOWS, ASK_NEXT, ASK_COUNT } history_ask;

typedef struct history_weights {
    size_t count;
    const uint32_t *nums;
    float *ask[ASK_COUNT];
    float *liked, *liked_lately, *against; /* each sums to 1, or is all zero */
    float *lately;                         /* what was chosen last, liked or not; sums to 1 */
} history_weights;

/* NULL: no memory. */
history_weights *history_weights_make(const policy_seen *history, size_t n, arena *a);

#endif
