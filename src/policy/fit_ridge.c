/* Ridge regression on vectors: what would the people and the audience of an item be, if its vector were all that is known?
 *
 * With Z the centred vectors of the sources, y a person's opinions of them, and A = (Z'Z + lI)^-1, the prediction for a target
 * z is z'A Z'y: a weighted sum of opinions, the weights z'A z_i being the same for everybody. So the model is kept like all
 * others, as weights of sources at a target, and one solve a target gives them; the audience, log(1 + count) of the
 * sources, is one number. The weights are spread thin over all sources: the WEIGHTS_MAX largest in magnitude are kept. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy/fit_private.h"

enum { WEIGHTS_MAX = RECORD_NEIGHBOURS_MAX - 1, AT_ONCE = 256 };
static const double PENALTY = 30;

struct fit_ridge {
    uint32_t dim;
    const uint32_t *sources;
    size_t count;
    float *z;       /* count x dim, centred; zero where there is no vector */
    double *mean;   /* dim */
    double *factor; /* dim x dim: Cholesky of Z'Z + l, lower */
    float *direction; /* of one target, solved */
    vector_dot_fn *dot;
    double *expect; /* dim: A Z' log(1 + audience), centred */
    double *solved; /* of one target */
    learn_edge *strong;
};

void fit_ridge_free(fit_ridge *r) {
    if (!r) return;
    free(r->z);
    free(r->mean);
    free(r->factor);
    free(r->direction);
    free(r->expect);
    free(r->solved);
    free(r->strong);
    free(r);
}

static bool read_vectors(fit_ridge *r, fit *f) {
    bool found[AT_ONCE];
    size_t have = 0;
    for (size_t at = 0; at < r->count; at += AT_ONCE) {
        size_t n = r->count - at < AT_ONCE ? r->count - at : AT_ONCE;
        float *to = r->z + at * r->dim;
        if (vector_fetch_many(f->vectors, r->sources + at, n, 0, to, found, f->err) != BRAID_OK) return false;
        for (size_t i = 0; i < n; i++) {
            if (!found[i]) memset(to + i * r->dim, 0, r->dim * sizeof *to);
            for (uint32_t d = 0; d < r->dim; d++) r->mean[d] += to[i * r->dim + d];
            have += found[i];
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

fit_ridge *fit_ridge_new(fit *f, const uint32_t *sources, size_t n, const policy_times *times) {
    fit_ridge *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    *r = (fit_ridge){.dim = f->dim, .sources = sources, .count = n};
    r->z = malloc(n * f->dim * sizeof *r->z);
    r->mean = calloc(f->dim, sizeof *r->mean);
    r->factor = calloc((size_t)f->dim * f->dim, sizeof *r->factor);
    r->expect = calloc(f->dim, sizeof *r->expect);
    r->solved = calloc(f->dim, sizeof *r->solved);
    r->strong = malloc((n + 1) * sizeof *r->strong);
    r->direction = malloc(f->dim * sizeof *r->direction);
    const vector_kernel *kernel = vector_kernel_find("auto");
    r->dot = kernel->dot;
    if (!r->z || !r->mean || !r->factor || !r->expect || !r->solved || !r->strong || !r->direction || !read_vectors(r, f) ||
        !add_products(r)) {
        fit_ridge_free(r);
        return NULL;
    }
    factorise(r);
    expect_audience(r, times);
    return r;
}

size_t fit_ridge_weigh(fit_ridge *r, uint32_t target, const float *vector, learn_edge *list) {
    double audience = 0;
    for (uint32_t d = 0; d < r->dim; d++) {
        r->solved[d] = vector[d] - r->mean[d];
        audience += r->solved[d] * r->expect[d];
    }
    solve(r, r->solved);
    for (uint32_t d = 0; d < r->dim; d++) r->direction[d] = (float)r->solved[d];
    /* The strongest are chosen by magnitude and named by their place; numbers and signs come back afterwards. */
    for (size_t i = 0; i < r->count; i++) {
        float weight = r->dot(r->direction, r->z + i * r->dim, r->dim);
        list[i].weight = weight;
        r->strong[i] = (learn_edge){(uint32_t)i, fabsf(weight)};
    }
    size_t n = learn_edges_strongest(r->strong, r->count, WEIGHTS_MAX);
    for (size_t i = 0; i < n; i++)
        r->strong[i] = (learn_edge){r->sources[r->strong[i].item], list[r->strong[i].item].weight};
    list[0] = (learn_edge){target, (float)audience};
    memcpy(list + 1, r->strong, n * sizeof *list);
    return n + 1;
}
