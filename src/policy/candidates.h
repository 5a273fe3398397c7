/* What describing candidates takes in several files; nobody else includes it. */
#ifndef POLICY_CANDIDATES_H
#define POLICY_CANDIDATES_H

#include <math.h>

#include "policy/history.h"

/* Keeps the sign. */
static inline float candidates_root(float x) {
    return x < 0 ? -sqrtf(-x) : sqrtf(x);
}

/* The features that the content models give; NO_MEMORY. */
int candidates_describe_fresh(const policy_question *q, const history_weights *h, policy_candidate *c, size_t n,
                              arena *a, braid_error *err);

#endif
