/* The dense linear item-item model in closed form (EASE: Steck 2019), by its dual.
 *
 * The primal wants the inverse of an items x items matrix. With fewer people than items the same scores come out of a
 * people x people one: with M = (XX' + lI)^-1, P = (X'X + lI)^-1 = (I - X'MX)/l and B_ij = -P_ij / P_jj, so the score
 * of j for a history h is (X' M X h)_j / (1 - x_j' M x_j). Nothing of items x items is ever held; an answer costs
 * people^2.
 *
 * It is here to compare with: cut to a few edges it loses more than the sparse model does (slim.c), and its many small
 * negative weights are part of it, so it is not kept as edges at all. */
#include <math.h>
#include <stdlib.h>

#include "learn/learn.h"

struct learn_ease {
    learn_matrix *m;
    double *inverse; /* M: users x users, symmetric */
    double *rest;    /* by item: 1 - x_j' M x_j */
};

/* XX' + lI, lower triangle: sparse rows against a dense one. */
static bool gram_of_people(const learn_matrix *m, double lambda, double *g) {
    double *row = calloc((size_t)m->items + 1, sizeof *row);
    if (!row) return false;
    size_t n = m->users;
    for (size_t u = 0; u < n; u++) {
        for (uint64_t i = m->user_at[u]; i < m->user_at[u + 1]; i++) row[m->user_item[i]] = m->user_value[i];
        for (size_t v = 0; v <= u; v++) {
            double sum = u == v ? lambda : 0;
            for (uint64_t i = m->user_at[v]; i < m->user_at[v + 1]; i++) sum += row[m->user_item[i]] * m->user_value[i];
            g[u * n + v] = sum;
        }
        for (uint64_t i = m->user_at[u]; i < m->user_at[u + 1]; i++) row[m->user_item[i]] = 0;
    }
    free(row);
    return true;
}

/* Cholesky, the triangle's inverse, and its product with itself: all in place. lambda > 0 makes the matrix definite. */
static void invert(double *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++) sum -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    for (size_t j = 0; j < n; j++) { /* L -> L^-1, column by column, kept transposed above the diagonal */
        a[j * n + j] = 1 / a[j * n + j];
        for (size_t i = j + 1; i < n; i++) {
            double sum = a[i * n + j] * a[j * n + j];
            for (size_t k = j + 1; k < i; k++) sum += a[i * n + k] * a[j * n + k];
            a[j * n + i] = -sum / a[i * n + i];
        }
    }
    for (size_t i = 0; i < n; i++) /* M = L^-T L^-1, from the rows above the diagonal */
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t k = i; k < n; k++) sum += a[i * n + k] * a[j * n + k];
            a[i * n + j] = sum;
        }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) a[j * n + i] = a[i * n + j];
}

/* ---- fit and score ---- */
static double value_at(const learn_matrix *m, uint64_t i) {
    return m->user_value[m->user_at[m->item_user[i]] + m->item_pos[i]];
}

void learn_ease_free(learn_ease *e) {
    if (!e) return;
    learn_matrix_free(e->m);
    free(e->inverse);
    free(e->rest);
    free(e);
}

static void fill_rest(learn_ease *e) {
    const learn_matrix *m = e->m;
    for (uint32_t j = 0; j < m->items; j++) {
        double sum = 0;
        for (uint64_t a = m->item_at[j]; a < m->item_at[j + 1]; a++) {
            const double *row = e->inverse + (size_t)m->item_user[a] * m->users;
            double inner = 0;
            for (uint64_t b = m->item_at[j]; b < m->item_at[j + 1]; b++) inner += row[m->item_user[b]] * value_at(m, b);
            sum += inner * value_at(m, a);
        }
        e->rest[j] = 1 - sum;
    }
}

int learn_ease_fit(learn_matrix *m, double lambda, learn_ease **out, braid_error *err) {
    *out = NULL;
    if (m->users > LEARN_EASE_USERS_MAX) {
        int rc = error_set(err, BRAID_E_TOO_LARGE, "learn/ease", "%u people; the exact model takes at most %d",
                           m->users, LEARN_EASE_USERS_MAX);
        learn_matrix_free(m);
        return rc;
    }
    learn_ease *e = calloc(1, sizeof *e);
    if (e) {
        e->m = m;
        e->inverse = malloc(((size_t)m->users * m->users + 1) * sizeof *e->inverse);
        e->rest = malloc(((size_t)m->items + 1) * sizeof *e->rest);
    } else {
        learn_matrix_free(m);
    }
    if (!e || !e->inverse || !e->rest || !gram_of_people(m, lambda, e->inverse)) {
        learn_ease_free(e);
        return error_set(err, BRAID_E_NO_MEMORY, "learn/ease", "no memory for a matrix of people");
    }
    invert(e->inverse, m->users);
    fill_rest(e);
    *out = e;
    return BRAID_OK;
}

int learn_ease_score(const learn_ease *e, const learn_edge *history, size_t n, uint32_t items, float *scores,
                     braid_error *err) {
    const learn_matrix *m = e->m;
    double *people = calloc(2 * (size_t)m->users + 1, sizeof *people), *spread = people + m->users;
    double *sum = calloc((size_t)m->items + 1, sizeof *sum);
    if (!people || !sum) {
        free(people);
        free(sum);
        return error_set(err, BRAID_E_NO_MEMORY, "learn/ease", "no memory for scores");
    }
    for (size_t h = 0; h < n; h++) {
        uint32_t item = history[h].item;
        for (uint64_t i = item < m->items ? m->item_at[item] : 0; item < m->items && i < m->item_at[item + 1]; i++)
            people[m->item_user[i]] += history[h].weight * value_at(m, i);
    }
    for (uint32_t u = 0; u < m->users; u++)
        for (uint32_t v = 0; people[u] != 0 && v < m->users; v++)
            spread[v] += people[u] * e->inverse[(size_t)u * m->users + v];
    for (uint32_t u = 0; u < m->users; u++)
        for (uint64_t i = m->user_at[u]; i < m->user_at[u + 1]; i++)
            sum[m->user_item[i]] += spread[u] * m->user_value[i];
    for (uint32_t j = 0; j < items; j++) scores[j] = j < m->items ? (float)(sum[j] / e->rest[j]) : 0;
    free(people);
    free(sum);
    return BRAID_OK;
}
