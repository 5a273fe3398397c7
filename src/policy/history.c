/* How much each item of a history says, for each purpose.
 *
 * Whole-history weights know no time: what was liked speaks with 1, what was disliked against with 0.3. The others
 * fall off with the rank, not with the date: somebody who comes back after a year goes on where they were. Ranks
 * count only what the weight is about: the fifth last thing liked, not the fifth last thing seen. */
#include "policy/history.h"

#include <math.h>

static const float AGAINST = 0.3f;
static const double TOGETHER_RANKS = 10, FOLLOWS_RANKS = 10, NEXT_RANKS = 3, LATELY_RANKS = 5;
enum { LATELY_ITEMS = 5 };

static void to_one(float *w, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += w[i];
    for (size_t i = 0; sum > 0 && i < n; i++) w[i] = (float)(w[i] / sum);
}

history_weights *history_weights_make(const policy_seen *history, size_t n, arena *a) {
    history_weights *h = arena_calloc(a, 1, sizeof *h);
    enum { ARRAYS = ASK_COUNT + 4 };
    float *all = arena_calloc(a, n * ARRAYS + 1, sizeof *all);
    uint32_t *nums = arena_alloc(a, (n + 1) * sizeof *nums);
    if (!h || !all || !nums) return NULL;
    h->count = n;
    h->nums = nums;
    for (size_t k = 0; k < ASK_COUNT; k++) h->ask[k] = all + k * n;
    h->liked = all + ASK_COUNT * n;
    h->liked_lately = h->liked + n;
    h->against = h->liked_lately + n;
    h->lately = h->against + n;
    size_t likes = 0;
    for (size_t i = 0; i < n; i++) {
        bool liked = history[i].reward >= POLICY_LIKED, low = history[i].reward < POLICY_DISLIKED;
        nums[i] = history[i].num;
        h->ask[ASK_SLIM][i] = liked ? 1 : low ? -AGAINST : 0;
        h->ask[ASK_TOGETHER][i] = liked ? (float)exp(-(double)likes / TOGETHER_RANKS) : 0;
        h->ask[ASK_TOGETHER_EVER][i] = liked;
        h->ask[ASK_FOLLOWS][i] = (float)exp(-(double)i / FOLLOWS_RANKS);
        h->ask[ASK_NEXT][i] = (float)exp(-(double)i / NEXT_RANKS);
        h->liked[i] = liked;
        h->liked_lately[i] = liked ? (float)exp(-(double)likes / LATELY_RANKS) : 0;
        h->against[i] = low;
        h->lately[i] = i < LATELY_ITEMS;
        likes += liked;
    }
    to_one(h->liked, n);
    to_one(h->liked_lately, n);
    to_one(h->against, n);
    to_one(h->lately, n);
    return h;
}
