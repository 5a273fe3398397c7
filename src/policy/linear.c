/* A posterior over the ranking's weights: their mean, and how surely they are known, together.
 *
 * The model is the one that the softmax steps follow (online.c): of a list the person chooses an item with a
 * probability proportional to exp(w x). Where those steps keep one number a weight, this keeps a Gaussian with its
 * whole covariance, so that an answer can tell which items it knows least of (an upper bound: LinUCB, Li et al. 2010)
 * or draw weights that may just as well be true (Thompson sampling). For choices from lists this is the multinomial
 * logit bandit of Oh & Iyengar 2019.
 *
 * A choice moves it by one step of an extended Kalman filter: the list's information is the sum of p v v' over its
 * items (p the probability of an item, v how far its features are from the list's mean), added to the inverse of the
 * covariance one item at a time by Sherman & Morrison's formula; then the mean moves along the covariance times the
 * gradient. At most twenty rank-one updates of a 23 x 23 triangle: some microseconds, and no matrix is ever inverted.
 * The prior is the fitted base with PRIOR_SD around every weight.
 *
 * Rejected: a regression of rewards (the textbook form of LinUCB). It learns only from what was chosen, not from
 * what was passed over, and its scale has nothing in common with the base that it should begin with. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "policy/shown.h"

static const double PRIOR_SD = 0.3, TINY = 1e-12;

enum { D = POLICY_FEATURE_COUNT };
_Static_assert(sizeof((policy_linear *)0)->covariance / sizeof(double) == POLICY_LINEAR_TRIANGLE,
               "a triangle, row by row");

static size_t cell(int row, int column) {
    return (size_t)row * (size_t)(row + 1) / 2 + (size_t)column;
}

void policy_linear_begin(policy_linear *l, const double mean[POLICY_FEATURE_COUNT]) {
    memset(l, 0, sizeof *l);
    memcpy(l->mean, mean, sizeof l->mean);
    for (int i = 0; i < D; i++) l->covariance[cell(i, i)] = PRIOR_SD * PRIOR_SD;
}

/* out = covariance x v */
static void spread(const policy_linear *l, const double v[D], double out[D]) {
    memset(out, 0, D * sizeof *out);
    for (int i = 0; i < D; i++) {
        const double *row = l->covariance + cell(i, 0);
        for (int j = 0; j < i; j++) {
            out[i] += row[j] * v[j];
            out[j] += row[j] * v[i];
        }
        out[i] += row[i] * v[i];
    }
}

static double dot(const double a[D], const double b[D]) {
    double sum = 0;
    for (int i = 0; i < D; i++) sum += a[i] * b[i];
    return sum;
}

/* Adds weight x v v' to the inverse of the covariance. */
static void add_information(policy_linear *l, const double v[D], double weight) {
    double u[D];
    spread(l, v, u);
    double scale = weight / (1 + weight * dot(v, u));
    for (int i = 0; i < D; i++)
        for (int j = 0; j <= i; j++) l->covariance[cell(i, j)] -= scale * u[i] * u[j];
}

void policy_linear_step(policy_linear *l, const policy_shown *s) {
    double p[POLICY_SHOWN_MAX], x[POLICY_SHOWN_MAX][D], middle[D] = {0}, gradient[D], move[D];
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < s->count; i++) {
        float row[D];
        policy_shown_row(s, i, row);
        for (int f = 0; f < D; f++) x[i][f] = row[f];
        p[i] = dot(l->mean, x[i]);
        most = fmax(most, p[i]);
    }
    for (size_t i = 0; i < s->count; i++) sum += p[i] = exp(p[i] - most);
    for (size_t i = 0; i < s->count; i++)
        for (int f = 0; f < D; f++) middle[f] += p[i] / sum * x[i][f];
    for (int f = 0; f < D; f++) gradient[f] = x[s->chosen][f] - middle[f];
    for (size_t i = 0; i < s->count; i++) {
        double v[D];
        for (int f = 0; f < D; f++) v[f] = x[i][f] - middle[f];
        add_information(l, v, p[i] / sum);
    }
    spread(l, gradient, move);
    for (int f = 0; f < D; f++) l->mean[f] += move[f];
    l->count++;
}

double policy_linear_width(const policy_linear *l, const float features[POLICY_FEATURE_COUNT]) {
    double x[D], u[D];
    for (int f = 0; f < D; f++) x[f] = features[f];
    spread(l, x, u);
    return sqrt(fmax(dot(x, u), 0));
}

/* Cholesky's factor; what rounding made negative counts as certain. */
static void factor(const policy_linear *l, double root[D * (D + 1) / 2]) {
    for (int i = 0; i < D; i++)
        for (int j = 0; j <= i; j++) {
            double sum = l->covariance[cell(i, j)];
            for (int k = 0; k < j; k++) sum -= root[cell(i, k)] * root[cell(j, k)];
            if (i == j)
                root[cell(i, i)] = sum > TINY ? sqrt(sum) : 0;
            else
                root[cell(i, j)] = root[cell(j, j)] > 0 ? sum / root[cell(j, j)] : 0;
        }
}

void policy_linear_samples(const policy_linear *l, double scale, size_t n, uint64_t seed,
                           double (*out)[POLICY_FEATURE_COUNT]) {
    double root[D * (D + 1) / 2], z[D];
    rng random;
    rng_seed(&random, seed);
    factor(l, root);
    for (size_t s = 0; s < n; s++) {
        for (int i = 0; i < D; i++) z[i] = scale * rng_normal(&random);
        for (int i = 0; i < D; i++) {
            out[s][i] = l->mean[i];
            for (int j = 0; j <= i; j++) out[s][i] += root[cell(i, j)] * z[j];
        }
    }
}

/* ---- as a row keeps it ---- */
void policy_linear_cell_name(int i, char out[POLICY_LINEAR_NAME_BYTES]) {
    snprintf(out, POLICY_LINEAR_NAME_BYTES, "covariance_%02d", i);
}

void policy_linear_cell_get(const policy_linear *l, int i, double out[3]) {
    for (int k = 0; k < 3; k++) out[k] = 3 * i + k < POLICY_LINEAR_TRIANGLE ? l->covariance[3 * i + k] : 0;
}

void policy_linear_cell_set(policy_linear *l, int i, const double three[3]) {
    for (int k = 0; k < 3; k++)
        if (3 * i + k < POLICY_LINEAR_TRIANGLE) l->covariance[3 * i + k] = three[k];
}

double policy_linear_variance(const policy_linear *l, int feature) {
    return l->covariance[cell(feature, feature)];
}
