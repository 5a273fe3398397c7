/* The figures of a ranking. Gain is 1 for a film that was liked and 0 for any other, discounted by log2(place + 1);
 * the ideal list has min(k, likes) of them on top. Intervals are percentiles of the mean over people drawn with
 * replacement, from a fixed seed: they hold what other people would have given, not what another split or another
 * year would have. */
#include <math.h>
#include <stdlib.h>

#include "eval.h"

static const uint64_t bootstrap_seed = 20261121;

eval_score eval_score_of(const uint32_t *list, size_t n, const unsigned char *good, size_t goods, size_t k) {
    double gain = 0, ideal = 0;
    size_t hits = 0;
    for (size_t i = 0; i < k; i++) {
        double at_place = 1 / log2((double)i + 2);
        if (i < goods) ideal += at_place;
        if (i < n && good[list[i]]) {
            gain += at_place;
            hits++;
        }
    }
    return (eval_score){gain / ideal, (double)hits / (double)goods, hits > 0};
}

/* ---- popularity ---- */

typedef struct counted {
    uint32_t film, count;
} counted;

static int by_count(const void *a, const void *b) {
    const counted *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return x->film < y->film ? -1 : x->film > y->film;
}

void eval_ranks(const uint32_t *counts, uint32_t n, uint32_t *ranks) {
    counted *order = cli_alloc(n * sizeof *order);
    for (uint32_t i = 0; i < n; i++) order[i] = (counted){i, counts[i]};
    qsort(order, n, sizeof *order, by_count);
    for (uint32_t i = 0; i < n; i++) ranks[order[i].film] = i + 1;
    free(order);
}

/* ---- means and intervals ---- */

double eval_mean(const double *values, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    return n ? sum / (double)n : 0;
}

double eval_deviation(const double *values, size_t n) {
    double mean = eval_mean(values, n), sum = 0;
    for (size_t i = 0; i < n; i++) sum += (values[i] - mean) * (values[i] - mean);
    return n > 1 ? sqrt(sum / (double)(n - 1)) : 0;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Between two neighbours in proportion. */
static double quantile_of_sorted(const double *values, size_t n, double share) {
    double place = share * (double)(n - 1);
    size_t below = (size_t)place, above = below + 1 < n ? below + 1 : below;
    return values[below] + (values[above] - values[below]) * (place - (double)below);
}

double eval_quantile(double *values, size_t n, double share) {
    if (n == 0) return 0;
    qsort(values, n, sizeof *values, ascending);
    return quantile_of_sorted(values, n, share);
}

static uint64_t draw(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void eval_interval(const double *values, const double *weights, size_t n, unsigned rounds, double *low, double *high) {
    *low = *high = 0;
    if (n == 0 || rounds == 0) return;
    double *means = cli_alloc(rounds * sizeof *means);
    uint64_t state = bootstrap_seed;
    for (unsigned r = 0; r < rounds; r++) {
        double sum = 0, weight = 0;
        for (size_t i = 0; i < n; i++) {
            size_t one = (size_t)(draw(&state) % n);
            sum += values[one];
            weight += weights ? weights[one] : 1;
        }
        means[r] = weight > 0 ? sum / weight : 0;
    }
    qsort(means, rounds, sizeof *means, ascending);
    *low = quantile_of_sorted(means, rounds, 0.025);
    *high = quantile_of_sorted(means, rounds, 0.975);
    free(means);
}
