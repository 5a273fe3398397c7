/* Ridge regression on vectors: what would the people and the audience of an item be, if its vector were all that is
 * known?
 *
 * With Z the centred vectors of the sources, y a person's opinions of them, and A = (Z'Z + lI)^-1, the prediction for a
 * target z is z'A Z'y: a weighted sum of opinions, the weights z'A z_i being the same for everybody. So the model is
 * kept like all others, as weights of sources at a target; the audience, log(1 + count) of the sources, is one number.
 * The weights are spread thin over all sources: the largest in magnitude are kept, WEIGHTS_MAX, or fewer where that
 * would be more than EDGES_MAX in all.
 *
 * Both products of a target with every source, of its vector (how near they are) and of its direction A z (the
 * weight), come from one pass: some sources at a time stay in the first cache while all targets of a batch go past
 * them. Target by target, each would fetch every vector again from main memory, which then is what all the time goes
 * to. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy/fit_private.h"

enum {
    WEIGHTS_MAX = RECORD_NEIGHBOURS_MAX - 1,
    WEIGHTS_MIN = 64,
    EDGES_MAX = 8 << 20,
    AT_ONCE = 256,
    SOURCES_NEAR = 16
};
static const double PENALTY = 30;

struct fit_ridge {
    uint32_t dim;
    const uint32_t *sources;
    size_t count;
    float *z;       /* count x dim, centred; zero where there is no vector */
    bool *known;    /* by source */
    double *mean;   /* dim */
    double *factor; /* dim x dim: Cholesky of Z'Z + l, lower */
    float *inverse; /* A */
    double *expect; /* dim: A Z' log(1 + audience), centred */
    vector_dot_fn *dot;
    size_t keep;
    learn_edge *strong;
    float *asked;  /* of a batch: vectors, centred; then their directions */
    float *weight; /* of a batch, by target and source */
};

void fit_ridge_free(fit_ridge *r) {
    if (!r) return;
    free(r->z);
    free(r->mean);
    free(r->factor);
    free(r->known);
    free(r->inverse);
    free(r->expect);
    free(r->strong);
    free(r->asked);
    free(r->weight);
    free(r);
}

static bool read_vectors(fit_ridge *r, fit *f) {
    size_t have = 0;
    for (size_t at = 0; at < r->count; at += AT_ONCE) {
        size_t n = r->count - at < AT_ONCE ? r->count - at : AT_ONCE;
        float *to = r->z + at * r->dim;
        if (vector_fetch_many(f->vectors, r->sources + at, n, 0, to, r->known + at, f->err) != BRAID_OK) return false;
        for (size_t i = 0; i < n; i++) {
            if (!r->known[at + i]) memset(to + i * r->dim, 0, r->dim * sizeof *to);
            for (uint32_t d = 0; d < r->dim; d++) r->mean[d] += to[i * r->dim + d];
            have += r->known[at + i];
        }
    }
    for (uint32_t d = 0; have && d < r->dim; d++) r->mean[d] /= (double)have;
    for (size_t i = 0; i < r->count; i++)
        for (uint32_t d = 0; d < r->dim; d++) r->z[i * r->dim + d] -= (float)r->mean[d];
    return true;
}

/* Lower triangle of Z'Z: products of columns, a block of rows turned round at a time so that they lie in a row. */
static bool add_products(fit_ridge *r) {
    enum { ROWS = 1024 };
    uint32_t dim = r->dim;
    float *turned = malloc((size_t)ROWS * dim * sizeof *turned);
    for (size_t at = 0; turned && at < r->count; at += ROWS) {
        size_t n = r->count - at < ROWS ? r->count - at : ROWS;
        for (size_t i = 0; i < n; i++)
            for (uint32_t d = 0; d < dim; d++) turned[d * n + i] = r->z[(at + i) * dim + d];
        for (uint32_t a = 0; a < dim; a++)
            for (uint32_t b = 0; b <= a; b++)
                r->factor[(size_t)a * dim + b] += r->dot(turned + a * n, turned + b * n, (uint32_t)n);
    }
    free(turned);
    return turned != NULL;
}

/* Z'Z + l to its Cholesky factor, in place. */
static void factorise(fit_ridge *r) {
    uint32_t dim = r->dim;
    double *g = r->factor;
    for (uint32_t a = 0; a < dim; a++) g[(size_t)a * dim + a] += PENALTY;
    for (uint32_t i = 0; i < dim; i++)
        for (uint32_t j = 0; j <= i; j++) {
            double sum = g[(size_t)i * dim + j];
            for (uint32_t k = 0; k < j; k++) sum -= g[(size_t)i * dim + k] * g[(size_t)j * dim + k];
            g[(size_t)i * dim + j] = i == j ? sqrt(fmax(sum, 1e-12)) : sum / g[(size_t)j * dim + j];
        }
}

static void solve(const fit_ridge *r, double *x) {
    uint32_t dim = r->dim;
    for (uint32_t i = 0; i < dim; i++) {
        const double *row = r->factor + (size_t)i * dim;
        for (uint32_t k = 0; k < i; k++) x[i] -= row[k] * x[k];
        x[i] /= row[i];
    }
    for (uint32_t i = dim; i-- > 0;) {
        x[i] /= r->factor[(size_t)i * dim + i];
        for (uint32_t k = 0; k < i; k++) x[k] -= r->factor[(size_t)i * dim + k] * x[i];
    }
}

/* Of each unit vector, solved: the directions of targets are then products of rows, many at a time. */
static bool invert(fit_ridge *r) {
    double *column = malloc(r->dim * sizeof *column);
    for (uint32_t i = 0; column && i < r->dim; i++) {
        memset(column, 0, r->dim * sizeof *column);
        column[i] = 1;
        solve(r, column);
        for (uint32_t d = 0; d < r->dim; d++) r->inverse[(size_t)i * r->dim + d] = (float)column[d];
    }
    free(column);
    return column != NULL;
}

static void expect_audience(fit_ridge *r, const policy_times *times) {
    double mean = 0;
    for (size_t i = 0; i < r->count; i++) mean += log1p(policy_times_at(times, r->sources[i], INT64_MAX).count);
    mean /= (double)r->count;
    for (size_t i = 0; i < r->count; i++) {
        double more = log1p(policy_times_at(times, r->sources[i], INT64_MAX).count) - mean;
        for (uint32_t d = 0; d < r->dim; d++) r->expect[d] += more * r->z[i * r->dim + d];
    }
    solve(r, r->expect);
}

fit_ridge *fit_ridge_new(fit *f, const uint32_t *sources, size_t n, size_t targets, const policy_times *times) {
    fit_ridge *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    *r = (fit_ridge){.dim = f->dim, .sources = sources, .count = n, .keep = WEIGHTS_MAX};
    if (targets > EDGES_MAX / WEIGHTS_MAX)
        r->keep = EDGES_MAX / targets > WEIGHTS_MIN ? EDGES_MAX / targets : WEIGHTS_MIN;
    size_t square = (size_t)f->dim * f->dim;
    r->z = malloc(n * f->dim * sizeof *r->z);
    r->known = calloc(n, sizeof *r->known);
    r->mean = calloc(f->dim, sizeof *r->mean);
    r->factor = calloc(square, sizeof *r->factor);
    r->inverse = malloc(square * sizeof *r->inverse);
    r->expect = calloc(f->dim, sizeof *r->expect);
    r->strong = malloc((n + 1) * sizeof *r->strong);
    r->asked = malloc((size_t)2 * FIT_BATCH * f->dim * sizeof *r->asked);
    r->weight = malloc((size_t)FIT_BATCH * n * sizeof *r->weight);
    r->dot = vector_kernel_find("auto")->dot;
    bool ok = r->z && r->known && r->mean && r->factor && r->inverse && r->expect && r->strong && r->asked &&
              r->weight && read_vectors(r, f) && add_products(r);
    if (ok) factorise(r);
    if (!ok || !invert(r)) {
        fit_ridge_free(r);
        return NULL;
    }
    expect_audience(r, times);
    return r;
}

/* Products of a batch with `n` sources from `first`. `level`: what centring took from the product of the vectors. */
static void meet(fit_ridge *r, const float *vectors, size_t targets, size_t first, size_t n, const float *level,
                 float *near) {
    const float *directions = r->asked + (size_t)FIT_BATCH * r->dim;
    for (size_t t = 0; t < targets; t++)
        for (size_t s = first; s < first + n; s++) {
            const float *z = r->z + s * r->dim;
            near[t * r->count + s] = r->known[s] ? r->dot(vectors + t * r->dim, z, r->dim) + level[t] : 0;
            r->weight[t * r->count + s] = r->dot(directions + t * r->dim, z, r->dim);
        }
}

void fit_ridge_batch(fit_ridge *r, const float *vectors, size_t n, float *near) {
    float level[FIT_BATCH], *centred = r->asked, *directions = r->asked + (size_t)FIT_BATCH * r->dim;
    BRAID_ASSERT(n <= FIT_BATCH);
    for (size_t t = 0; t < n; t++) {
        double taken = 0;
        for (uint32_t d = 0; d < r->dim; d++) {
            centred[t * r->dim + d] = vectors[t * r->dim + d] - (float)r->mean[d];
            taken += vectors[t * r->dim + d] * r->mean[d];
        }
        level[t] = (float)taken;
    }
    for (uint32_t d = 0; d < r->dim; d++)
        for (size_t t = 0; t < n; t++)
            directions[t * r->dim + d] = r->dot(r->inverse + (size_t)d * r->dim, centred + t * r->dim, r->dim);
    for (size_t s = 0; s < r->count; s += SOURCES_NEAR)
        meet(r, vectors, n, s, r->count - s < SOURCES_NEAR ? r->count - s : SOURCES_NEAR, level, near);
}

size_t fit_ridge_weigh(fit_ridge *r, size_t which, uint32_t target, learn_edge *list) {
    const float *centred = r->asked + which * r->dim, *weight = r->weight + which * r->count;
    double audience = 0;
    for (uint32_t d = 0; d < r->dim; d++) audience += centred[d] * r->expect[d];
    /* The strongest are chosen by magnitude and named by their place; numbers and signs come back afterwards. */
    for (size_t i = 0; i < r->count; i++) r->strong[i] = (learn_edge){(uint32_t)i, fabsf(weight[i])};
    size_t n = learn_edges_strongest(r->strong, r->count, r->keep);
    list[0] = (learn_edge){target, (float)audience};
    for (size_t i = 0; i < n; i++) list[i + 1] = (learn_edge){r->sources[r->strong[i].item], weight[r->strong[i].item]};
    return n + 1;
}
