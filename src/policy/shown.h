/* A list that was shown, and what was chosen of it, for the ranking to learn from. Private to the room but for the two
 * functions in policy.h that write it. */
#ifndef POLICY_SHOWN_H
#define POLICY_SHOWN_H

#include "policy/policy_private.h"

typedef struct policy_shown {
    const int16_t *rows; /* POLICY_FEATURE_COUNT a row */
    size_t count, chosen;
} policy_shown;

/* False: there is no list in it, or not one that this program can learn from, or no memory. */
bool policy_shown_read(const char *attribution, arena *a, policy_shown *out);
void policy_shown_row(const policy_shown *s, size_t i, float x[POLICY_FEATURE_COUNT]);

/* online.c: one step of learning from it. `count` steps were taken before; `squares` are the sums of squared
 * gradients. */
void policy_online_step(const policy_shown *s, double mean[POLICY_FEATURE_COUNT], double squares[POLICY_FEATURE_COUNT]);
/* linear.c: the same of a posterior. */
void policy_linear_step(policy_linear *l, const policy_shown *s);

#endif
