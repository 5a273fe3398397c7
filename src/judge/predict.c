/* Rewards predicted from features by ridge regression: normal equations, solved by Cholesky with the constant
 * unpenalised.
 *
 * A prediction need not be right for a doubly robust estimate to be: it only has to explain some of the rewards, and
 * not to have seen the slates that it is asked about (the caller fits it on other people). */
#include <math.h>
#include <string.h>

#include "judge/judge.h"

void judge_ridge_begin(judge_ridge *r, size_t features) {
    BRAID_ASSERT(features <= JUDGE_FEATURES_MAX);
    memset(r, 0, sizeof *r);
    r->features = features;
}

void judge_ridge_add(judge_ridge *r, const float *x, double y) {
    size_t n = r->features;
    for (size_t i = 0; i <= n; i++) {
        double xi = i < n ? x[i] : 1;
        r->right[i] += xi * y;
        for (size_t j = 0; j <= i; j++) r->gram[i][j] += xi * (j < n ? x[j] : 1);
    }
    r->seen++;
}

void judge_ridge_solve(judge_ridge *r, double penalty) {
    enum { SIZE = JUDGE_FEATURES_MAX + 1 };
    static const double TINY = 1e-9;
    double l[SIZE][SIZE], y[SIZE];
    size_t n = r->features + 1;
    memset(r->weight, 0, sizeof r->weight);
    if (r->seen == 0) return;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = r->gram[i][j] + (i == j ? (i + 1 < n ? penalty : TINY) : 0);
            for (size_t k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
            l[i][j] = i == j ? sqrt(fmax(sum, TINY)) : sum / l[j][j];
        }
    for (size_t i = 0; i < n; i++) {
        double sum = r->right[i];
        for (size_t k = 0; k < i; k++) sum -= l[i][k] * y[k];
        y[i] = sum / l[i][i];
    }
    for (size_t i = n; i-- > 0;) {
        double sum = y[i];
        for (size_t k = i + 1; k < n; k++) sum -= l[k][i] * r->weight[k];
        r->weight[i] = sum / l[i][i];
    }
}

double judge_ridge_predict(const judge_ridge *r, const float *x) {
    double sum = r->weight[r->features];
    for (size_t i = 0; i < r->features; i++) sum += r->weight[i] * x[i];
    return sum;
}
