/* Weights of a linear ranking, from lists in which some rows were chosen.
 *
 * The likelihood of a choice is the softmax of the scores over its list (Luce 1959; McFadden 1974), so only differences
 * within a list matter, and a feature that is the same in all of it says nothing. A list with several choices counts
 * once, however many they are: heavy viewers do not own the model.
 *
 * With a few dozen features the Hessian is small, and Newton's method with a backtracking step converges in about ten
 * passes; nothing needs a learning rate. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "learn/learn.h"

enum { PASSES_MAX = 25 };
static const double CONVERGED = 1e-7, STEP_MIN = 1e-4, SUFFICIENT = 1e-4;

typedef struct point {
    double loss, gradient[LEARN_FEATURES_MAX], hessian[LEARN_FEATURES_MAX * LEARN_FEATURES_MAX];
} point;

typedef struct fit {
    const learn_lists *l;
    double l2;
    double *score; /* of the longest list */
    size_t used;
    double expected[LEARN_FEATURES_MAX], second[LEARN_FEATURES_MAX * LEARN_FEATURES_MAX];
} fit;

static size_t choices(const learn_lists *l, size_t list) {
    size_t n = 0;
    for (size_t i = l->at[list]; i < l->at[list + 1]; i++) n += l->chosen[i];
    return n;
}

/* A list says something if some of it was chosen and some was not. */
static bool tells(const learn_lists *l, size_t list, size_t chosen) {
    return chosen > 0 && chosen < l->at[list + 1] - l->at[list];
}

static double softmax(const learn_lists *l, size_t list, const double *w, double *p) {
    size_t begin = l->at[list], n = l->at[list + 1] - begin;
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) {
        const float *x = l->rows + (begin + i) * l->features;
        p[i] = 0;
        for (unsigned f = 0; f < l->features; f++) p[i] += w[f] * x[f];
        if (p[i] > most) most = p[i];
    }
    for (size_t i = 0; i < n; i++) sum += exp(p[i] - most);
    double log_sum = most + log(sum);
    for (size_t i = 0; i < n; i++) p[i] -= log_sum; /* log probabilities */
    return log_sum;
}

static void add_list(fit *f, size_t list, size_t chosen, const double *w, point *to) {
    const learn_lists *l = f->l;
    unsigned d = l->features;
    size_t begin = l->at[list], n = l->at[list + 1] - begin;
    softmax(l, list, w, f->score);
    memset(f->expected, 0, sizeof f->expected);
    memset(f->second, 0, sizeof f->second);
    for (size_t i = 0; i < n; i++) {
        const float *x = l->rows + (begin + i) * d;
        double p = exp(f->score[i]);
        if (l->chosen[begin + i]) {
            to->loss -= f->score[i] / (double)chosen;
            for (unsigned a = 0; a < d; a++) to->gradient[a] -= x[a] / (double)chosen;
        }
        for (unsigned a = 0; a < d; a++) {
            double px = p * x[a];
            f->expected[a] += px;
            for (unsigned b = 0; b <= a; b++) f->second[a * d + b] += px * x[b];
        }
    }
    for (unsigned a = 0; a < d; a++) {
        to->gradient[a] += f->expected[a];
        for (unsigned b = 0; b <= a; b++)
            to->hessian[a * d + b] += f->second[a * d + b] - f->expected[a] * f->expected[b];
    }
}

static void evaluate(fit *f, const double *w, point *to) {
    unsigned d = f->l->features;
    memset(to, 0, sizeof *to);
    f->used = 0;
    for (size_t list = 0; list < f->l->lists; list++) {
        size_t chosen = choices(f->l, list);
        if (!tells(f->l, list, chosen)) continue;
        add_list(f, list, chosen, w, to);
        f->used++;
    }
    double n = f->used ? (double)f->used : 1;
    to->loss /= n;
    for (unsigned a = 0; a < d; a++) {
        to->loss += f->l2 * w[a] * w[a] / 2;
        to->gradient[a] = to->gradient[a] / n + f->l2 * w[a];
        for (unsigned b = 0; b <= a; b++) to->hessian[a * d + b] /= n;
        to->hessian[a * d + a] += f->l2 + 1e-9;
    }
}

/* Solves H step = gradient by Cholesky, in place of H's lower triangle. */
static void newton_step(point *at, unsigned d, double *step) {
    double *h = at->hessian;
    for (unsigned i = 0; i < d; i++) {
        for (unsigned j = 0; j <= i; j++) {
            double sum = h[i * d + j];
            for (unsigned k = 0; k < j; k++) sum -= h[i * d + k] * h[j * d + k];
            h[i * d + j] = i == j ? sqrt(fmax(sum, 1e-12)) : sum / h[j * d + j];
        }
        step[i] = at->gradient[i];
        for (unsigned k = 0; k < i; k++) step[i] -= h[i * d + k] * step[k];
        step[i] /= h[i * d + i];
    }
    for (unsigned i = d; i-- > 0;) {
        for (unsigned k = i + 1; k < d; k++) step[i] -= h[k * d + i] * step[k];
        step[i] /= h[i * d + i];
    }
}

static bool move(fit *f, double *w, point *here, point *there) {
    unsigned d = f->l->features;
    double step[LEARN_FEATURES_MAX], tried[LEARN_FEATURES_MAX], slope = 0;
    newton_step(here, d, step);
    for (unsigned a = 0; a < d; a++) slope += here->gradient[a] * step[a];
    for (double size = 1; size >= STEP_MIN; size /= 2) {
        for (unsigned a = 0; a < d; a++) tried[a] = w[a] - size * step[a];
        evaluate(f, tried, there);
        if (there->loss > here->loss - SUFFICIENT * size * slope) continue;
        bool more = here->loss - there->loss > CONVERGED;
        memcpy(w, tried, d * sizeof *w);
        *here = *there;
        return more;
    }
    return false;
}

int learn_listwise_fit(const learn_lists *l, double l2, double *weights, size_t *lists_used, braid_error *err) {
    BRAID_ASSERT(l->features > 0 && l->features <= LEARN_FEATURES_MAX);
    fit f = {.l = l, .l2 = l2};
    size_t longest = 0;
    for (size_t i = 0; i < l->lists; i++)
        if (l->at[i + 1] - l->at[i] > longest) longest = l->at[i + 1] - l->at[i];
    f.score = malloc((longest + 1) * sizeof *f.score);
    point *here = malloc(2 * sizeof *here);
    if (!f.score || !here) {
        free(f.score);
        free(here);
        return error_set(err, BRAID_E_NO_MEMORY, "learn/listwise", "no memory for weights of %u features", l->features);
    }
    memset(weights, 0, l->features * sizeof *weights);
    evaluate(&f, weights, here);
    for (int pass = 0; pass < PASSES_MAX && f.used && move(&f, weights, here, here + 1); pass++) {}
    if (lists_used) *lists_used = f.used;
    free(f.score);
    free(here);
    return BRAID_OK;
}
