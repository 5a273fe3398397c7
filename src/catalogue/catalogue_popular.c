/* What to show someone of whom nothing is known: the best by smoothed popularity, spread over genres.
 *
 * popularity = (reward_sum + PRIOR_MEAN x PRIOR_WEIGHT) / (interactions + PRIOR_WEIGHT) x log(1 + interactions): ten imagined interactions of
 * middling reward keep one enthusiast from ruling the list, and the logarithm lets much-seen items win over equally liked rare ones. It is
 * computed when the counters change, so that a call only selects: heapify all allowed items, then pop until k are taken. */
#include <math.h>
#include <stdlib.h>

#include "catalogue/catalogue_state.h"

static const double PRIOR_MEAN = 0.5, PRIOR_WEIGHT = 10;

typedef struct popular { float score; int32_t year; uint32_t num; } popular;
typedef struct genre_taken { uint32_t genre; size_t count; } genre_taken;

float popularity(double interactions, double reward_sum) {
    double n = interactions > 0 ? interactions : 0;
    return (float)((reward_sum + PRIOR_MEAN * PRIOR_WEIGHT) / (n + PRIOR_WEIGHT) * log1p(n));
}

static bool before(const popular *a, const popular *b) {
    if (a->score > b->score || a->score < b->score)
        return a->score > b->score;
    if (a->year != b->year)
        return a->year > b->year;
    return a->num < b->num;
}

/* Heap with the best at the root. */
static void sift(popular *heap, size_t count, size_t at) {
    for (;;) {
        size_t best = at, left = 2 * at + 1;
        for (size_t child = left; child < left + 2 && child < count; child++)
            if (before(&heap[child], &heap[best]))
                best = child;
        if (best == at)
            return;
        popular t = heap[at];
        heap[at] = heap[best];
        heap[best] = t;
        at = best;
    }
}

/* Counts the item against its main genre; false if that genre has had its share. Items without a genre are not limited. */
static bool genre_take(genre_taken *taken, size_t *genres, uint32_t genre, size_t spread) {
    if (spread == 0 || genre == CATALOGUE_NONE)
        return true;
    size_t i = 0;
    while (i < *genres && taken[i].genre != genre)
        i++;
    if (i == *genres)
        taken[(*genres)++] = (genre_taken){.genre = genre};
    if (taken[i].count >= spread)
        return false;
    taken[i].count++;
    return true;
}

static size_t heap_fill(const catalogue *c, const bitset *allow, popular *heap) {
    size_t count = 0;
    const bitset *from = allow != NULL ? allow : &c->present;
    for (uint32_t num = bitset_next(from, 0); num != UINT32_MAX; num = bitset_next(from, num + 1))
        if (bitset_has(&c->present, num))
            heap[count++] = (popular){c->at.popularity[num], c->at.year[num], num};
    for (size_t at = count / 2; at-- > 0;)
        sift(heap, count, at);
    return count;
}

size_t catalogue_popular(catalogue *c, const bitset *allow, size_t k, size_t spread, candidate *out) {
    size_t found = 0, genres = 0;
    pthread_rwlock_rdlock(c->lock);
    size_t most = c->count;
    size_t kept = k < most ? k : most; /* each taken item brings at most one genre */
    popular *heap = malloc((most + 1) * sizeof *heap);
    genre_taken *taken = malloc((kept + 1) * sizeof *taken);
    size_t count = heap != NULL && taken != NULL ? heap_fill(c, allow, heap) : 0;
    while (found < kept && count > 0) {
        popular best = heap[0];
        heap[0] = heap[--count];
        sift(heap, count, 0);
        if (genre_take(taken, &genres, c->at.entries[best.num]->main_genre, spread))
            out[found++] = (candidate){.num = best.num, .score = best.score};
    }
    pthread_rwlock_unlock(c->lock);
    free(heap);
    free(taken);
    return found;
}
