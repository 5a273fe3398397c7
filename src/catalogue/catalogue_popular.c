/* What to show someone of whom nothing is known: the best by smoothed popularity, spread over genres.
 *
 * popularity = (reward_sum + PRIOR_MEAN x PRIOR_WEIGHT) / (interactions + PRIOR_WEIGHT) x log(1 + interactions): ten
 * imagined interactions of middling reward keep one enthusiast from ruling the list, and the logarithm lets much-seen
 * items win over equally liked rare ones. It is computed when the counters change, so that a call only selects.
 *
 * Taking in falling order, skipping genres that have had their share, needs the items in order but seldom many of
 * them: the best so many are selected by a bounded heap and sorted; if that does not fill the list, again with eight
 * times as many. */
#include <math.h>
#include <stdlib.h>

#include "catalogue/catalogue_state.h"

static const double PRIOR_MEAN = 0.5, PRIOR_WEIGHT = 10;

typedef struct popular {
    float score;
    int32_t year;
    uint32_t num;
} popular;
typedef struct genre_taken {
    uint32_t genre;
    size_t count;
} genre_taken;

float popularity(double interactions, double reward_sum) {
    double n = interactions > 0 ? interactions : 0;
    return (float)((reward_sum + PRIOR_MEAN * PRIOR_WEIGHT) / (n + PRIOR_WEIGHT) * log1p(n));
}

static bool before(const popular *a, const popular *b) {
    if (a->score > b->score || a->score < b->score) return a->score > b->score;
    if (a->year != b->year) return a->year > b->year;
    return a->num < b->num;
}

static int compare(const void *a, const void *b) {
    return before(a, b) ? -1 : 1; /* numbers are distinct: never equal */
}

/* Heap with the worst at the root. */
static void sift(popular *heap, size_t count, size_t at) {
    for (;;) {
        size_t worst = at, left = 2 * at + 1;
        for (size_t child = left; child < left + 2 && child < count; child++)
            if (before(&heap[worst], &heap[child])) worst = child;
        if (worst == at) return;
        popular t = heap[at];
        heap[at] = heap[worst];
        heap[worst] = t;
        at = worst;
    }
}

/* Counts the item against its main genre; false if that genre has had its share. Items without a genre are not
 * limited. */
static bool genre_take(genre_taken *taken, size_t *genres, uint32_t genre, size_t spread) {
    if (spread == 0 || genre == CATALOGUE_NONE) return true;
    size_t i = 0;
    while (i < *genres && taken[i].genre != genre) i++;
    if (i == *genres) taken[(*genres)++] = (genre_taken){.genre = genre};
    if (taken[i].count >= spread) return false;
    taken[i].count++;
    return true;
}

/* The best `kept` of the allowed items, in order. */
static size_t select_best(const catalogue *c, const bitset *allow, size_t kept, popular *heap) {
    size_t count = 0;
    const bitset *from = allow != NULL ? allow : &c->present;
    for (uint32_t num = bitset_next(from, 0); num != UINT32_MAX; num = bitset_next(from, num + 1)) {
        if (!bitset_has(&c->present, num)) continue;
        popular p = {c->at.popularity[num], c->at.year[num], num};
        if (count < kept) {
            heap[count++] = p;
            for (size_t at = count == kept ? count / 2 : 0; at-- > 0;) sift(heap, count, at);
        } else if (before(&p, &heap[0])) {
            heap[0] = p;
            sift(heap, count, 0);
        }
    }
    if (count > 1) qsort(heap, count, sizeof *heap, compare);
    return count;
}

static size_t take(const catalogue *c, const popular *best, size_t count, size_t k, size_t spread, genre_taken *taken,
                   candidate *out) {
    size_t found = 0, genres = 0;
    for (size_t i = 0; i < count && found < k; i++)
        if (genre_take(taken, &genres, c->at.entries[best[i].num]->main_genre, spread))
            out[found++] = (candidate){.num = best[i].num, .score = best[i].score};
    return found;
}

size_t catalogue_popular(catalogue *c, const bitset *allow, size_t k, size_t spread, candidate *out) {
    enum { KEPT_MIN = 256 };
    pthread_rwlock_rdlock(c->lock);
    size_t most = c->count, found = 0, count = most;
    k = k < most ? k : most;
    genre_taken *taken = malloc((k + 1) * sizeof *taken); /* each taken item brings at most one genre */
    popular *heap = NULL;
    bool ok = taken != NULL && k > 0;
    for (size_t kept = spread > 0 && k + KEPT_MIN < most ? k + KEPT_MIN : k; ok;
         kept = kept < most / 8 ? kept * 8 : most) {
        popular *more = realloc(heap, kept * sizeof *heap);
        ok = more != NULL;
        if (!ok) break;
        heap = more;
        count = select_best(c, allow, kept, heap);
        found = take(c, heap, count, k, spread, taken, out);
        if (found == k || count < kept || kept == most) break;
    }
    pthread_rwlock_unlock(c->lock);
    free(heap);
    free(taken);
    return found;
}
