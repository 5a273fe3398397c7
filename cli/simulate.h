/* simulate: invented but plausible viewing histories of described viewers.
 *
 * Everything is drawn from one seed: the same database, viewers and seed give the same interactions with the same keys,
 * so running twice changes nothing. Each viewer has a generator of their own (seed and id), so adding a viewer does not
 * change the others. Whatever comes out is marked `context.simulated`. */
#ifndef CLI_SIMULATE_H
#define CLI_SIMULATE_H

#include "cli.h"

typedef struct simulate_item {
    json_t *json;        /* owned */
    const char *id;      /* borrowed from it */
    double popularity;   /* 0..1 */
    int64_t duration_s;  /* 0: not known */
    int64_t from, until; /* when it may be seen: seconds */
} simulate_item;

typedef struct simulate_world {
    simulate_item *items;
    size_t count, cap;
    uint64_t seed;
    int64_t from, until; /* seconds since 1970 */
    unsigned per_viewer;
} simulate_world;

void simulate_add_item(simulate_world *w, const json_t *item);
void simulate_free(simulate_world *w);
/* "2026-08-01", also with a time after it -> seconds; false if it is not a date. */
bool simulate_date(const char *text, int64_t *seconds);
/* Draws one viewer's history and hands each interaction (owned by the receiver) out in the order of time. Returns the
 * first non-zero `take`. */
typedef int simulate_take(void *ctx, json_t *interaction);
int simulate_viewer(const simulate_world *w, const json_t *user, simulate_take *take, void *ctx);

#endif
