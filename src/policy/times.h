/* When everything was chosen. Private to the room but for the type. */
#ifndef POLICY_TIMES_H
#define POLICY_TIMES_H

#include "policy/policy_private.h"

typedef struct policy_time {
    uint32_t num;
    float reward;
    int64_t at;
} policy_time;

/* Takes the events as they come, and puts them in order; *out is immutable. */
int policy_times_make(policy_time *events, size_t n, uint32_t items, policy_times **out, braid_error *err);
void policy_times_free(policy_times *t);
/* What time leaves of an event that is that many ms old. */
double policy_trend_left(int64_t age_ms);

#endif
