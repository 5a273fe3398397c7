/* Sparse linear weights between items (SLIM: Ning & Karypis 2011), each target restricted to its nearest neighbours.
 *
 * Cosine counts a popular pair twice over: three sequels that everybody saw each vote with their full weight. A linear
 * model asks how much each neighbour adds to what the others have said already; the penalties make most weights exactly
 * zero, so that the result is a graph of a few dozen edges an item and not a dense matrix that is cut afterwards
 * (cutting the dense least-squares model to twenty edges loses what it had won).
 *
 * Two passes. The first makes a row of co-counts for every item, chooses its candidates by cosine, and keeps the row.
 * The second gathers, for each target, the co-counts among its candidates from their rows into a small dense matrix,
 * and runs coordinate descent on it: with G = X'X,  w_i = max(0, (G_ij - sum over k != i of G_ik w_k - l1) / (G_ii +
 * l2)). The inner sums are kept up to date, so a sweep over c candidates costs c steps, plus c for every weight that
 * moved.
 *
 * Rejected: descent on residuals over people (no rows to keep, but 20 sweeps x the people of 100 popular items is a
 * hundred times the work), and a hash of all pairs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "learn/counts.h"
#include "learn/parallel.h"

static const float STILL = 1e-5f; /* a sweep in which no weight moves by more is the last one */

learn_slim learn_slim_default(void) {
    return (learn_slim){
        .candidates = 100, .shrink = 10, .l1 = 1, .l2 = 100, .sweeps = 20, .keep = 50, .gram_row_max = 4096};
}

typedef struct gram_row {
    learn_edge *counts; /* strongest first where the row was cut, else in the order of meeting; without itself */
    uint32_t *candidates;
    uint32_t count, candidate_count;
    float self;
} gram_row;

typedef struct fit {
    const learn_matrix *m;
    const learn_slim *how;
    double *norms;
    gram_row *rows;
    learn_edges_draft *draft;
} fit;

/* ---- first pass: rows of co-counts and candidates ---- */
static void *row_scratch(void *ctx) {
    return learn_counts_new(((fit *)ctx)->m->items);
}

static bool choose_candidates(const fit *f, gram_row *row, uint32_t item, learn_counts *c) {
    size_t n = 0;
    for (size_t i = 0; i < c->met_count; i++) {
        uint32_t other = c->met[i];
        float cosine = (float)(c->sum[other] / (f->norms[item] * f->norms[other] + f->how->shrink));
        if (other != item && cosine > 0) c->edges[n++] = (learn_edge){other, cosine};
    }
    n = learn_edges_strongest(c->edges, n, f->how->candidates);
    row->candidates = malloc((n + 1) * sizeof *row->candidates);
    if (!row->candidates) return false;
    for (size_t i = 0; i < n; i++) row->candidates[i] = c->edges[i].item;
    row->candidate_count = (uint32_t)n;
    return true;
}

static bool make_row(void *ctx, void *scratch, uint32_t item) {
    fit *f = ctx;
    learn_counts *c = scratch;
    gram_row *row = &f->rows[item];
    learn_counts_add(c, f->m, item, NULL, UINT32_MAX, UINT32_MAX);
    bool ok = choose_candidates(f, row, item, c);
    row->self = c->sum[item];
    size_t n = 0;
    for (size_t i = 0; i < c->met_count; i++)
        if (c->met[i] != item) c->edges[n++] = (learn_edge){c->met[i], c->sum[c->met[i]]};
    learn_counts_clear(c);
    if (f->how->gram_row_max && n > f->how->gram_row_max) n = learn_edges_strongest(c->edges, n, f->how->gram_row_max);
    row->counts = malloc((n + 1) * sizeof *row->counts);
    if (!ok || !row->counts) return false;
    memcpy(row->counts, c->edges, n * sizeof *row->counts);
    row->count = (uint32_t)n;
    return true;
}

/* ---- second pass: descent ---- */
typedef struct descent {
    uint16_t *place; /* by item: its place among the candidates + 1; half the width, so that more of it stays near */
    float *gram;     /* candidates x (1 + candidates): the first of a row takes what is of no candidate */
    float *towards, *weight, *inner;
    learn_edge *edges;
} descent;

static void descent_free(void *scratch) {
    descent *d = scratch;
    if (!d) return;
    free(d->place);
    free(d->gram);
    free(d->towards);
    free(d->weight);
    free(d->inner);
    free(d->edges);
    free(d);
}

static void *descent_new(void *ctx) {
    const fit *f = ctx;
    size_t c = f->how->candidates;
    descent *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->place = calloc((size_t)f->m->items + 1, sizeof *d->place);
    d->gram = malloc((c * (c + 1) + 1) * sizeof *d->gram);
    d->towards = malloc((c + 2) * sizeof *d->towards);
    d->weight = malloc((c + 1) * sizeof *d->weight);
    d->inner = malloc((c + 1) * sizeof *d->inner);
    d->edges = malloc((c + 1) * sizeof *d->edges);
    if (d->place && d->gram && d->towards && d->weight && d->inner && d->edges) return d;
    descent_free(d);
    return NULL;
}

/* Most of the time of a fit goes here: co-counts of a hundred items are run through for the few that are among the
 * candidates. What is of no candidate is stored as well, where nobody looks: a branch that is guessed wrong costs
 * more than a store. */
static void gather_gram(const fit *f, descent *d, const gram_row *target) {
    size_t c = target->candidate_count;
    memset(d->gram, 0, c * (c + 1) * sizeof *d->gram);
    memset(d->towards, 0, (c + 1) * sizeof *d->towards);
    for (size_t i = 0; i < c; i++) d->place[target->candidates[i]] = (uint16_t)(i + 1);
    for (size_t i = 0; i < target->count; i++) d->towards[d->place[target->counts[i].item]] = target->counts[i].weight;
    for (size_t i = 0; i < c; i++) {
        const gram_row *row = &f->rows[target->candidates[i]];
        float *to = d->gram + i * (c + 1);
        for (size_t k = 0; k < row->count; k++) to[d->place[row->counts[k].item]] = row->counts[k].weight;
        to[i + 1] = row->self;
    }
    for (size_t i = 0; i < c; i++) d->place[target->candidates[i]] = 0;
}

static void descend(const fit *f, descent *d, size_t c) {
    float l1 = (float)f->how->l1, l2 = (float)f->how->l2;
    memset(d->weight, 0, c * sizeof *d->weight);
    memset(d->inner, 0, c * sizeof *d->inner); /* inner[i] = sum over k of G_ik w_k */
    for (unsigned sweep = 0; sweep < f->how->sweeps; sweep++) {
        float most = 0;
        for (size_t i = 0; i < c; i++) {
            const float *row = d->gram + i * (c + 1) + 1;
            float others = d->inner[i] - row[i] * d->weight[i];
            float w = (d->towards[i + 1] - others - l1) / (row[i] + l2);
            if (w < 0) w = 0;
            float move = w - d->weight[i];
            if (move == 0) continue;
            d->weight[i] = w;
            /* G is symmetric where neither row was cut; where one was, what it has is used. */
            for (size_t k = 0; k < c; k++) d->inner[k] += row[k] * move;
            if (fabsf(move) > most) most = fabsf(move);
        }
        if (most < STILL) break;
    }
}

static bool fit_item(void *ctx, void *scratch, uint32_t target) {
    fit *f = ctx;
    descent *d = scratch;
    const gram_row *row = &f->rows[target];
    size_t c = row->candidate_count, n = 0;
    gather_gram(f, d, row);
    descend(f, d, c);
    for (size_t i = 0; i < c; i++)
        if (d->weight[i] > 0) d->edges[n++] = (learn_edge){row->candidates[i], d->weight[i]};
    n = learn_edges_strongest(d->edges, n, f->how->keep);
    return learn_edges_draft_set(f->draft, target, d->edges, n);
}

/* With only some targets, rows are made of them, and then of what became their candidates. */
static int make_rows(fit *f, const learn_work *work, braid_error *err) {
    int rc = learn_each(f->m->items, work, make_row, row_scratch, learn_counts_free, f, err);
    if (rc != BRAID_OK || !work->only) return rc;
    bitset more = {0};
    learn_work then = *work;
    if (!bitset_init(&more, f->m->items))
        return error_set(err, BRAID_E_NO_MEMORY, "learn/slim", "no memory for neighbours of %u items", f->m->items);
    for (uint32_t i = 0; i < f->m->items; i++)
        for (uint32_t k = 0; k < f->rows[i].candidate_count; k++)
            if (!bitset_has(work->only, f->rows[i].candidates[k])) bitset_set(&more, f->rows[i].candidates[k]);
    then.only = &more;
    rc = learn_each(f->m->items, &then, make_row, row_scratch, learn_counts_free, f, err);
    bitset_free(&more);
    return rc;
}

int learn_slim_fit(const learn_matrix *m, const learn_slim *how, const learn_work *work, learn_edges **out,
                   braid_error *err) {
    *out = NULL;
    fit f = {.m = m, .how = how};
    int rc = BRAID_OK;
    BRAID_ASSERT(how->candidates < UINT16_MAX);
    f.norms = learn_norms(m);
    f.rows = calloc((size_t)m->items + 1, sizeof *f.rows);
    f.draft = learn_edges_draft_new(m->items);
    if (!f.norms || !f.rows || !f.draft) {
        rc = error_set(err, BRAID_E_NO_MEMORY, "learn/slim", "no memory for neighbours of %u items", m->items);
        goto cleanup;
    }
    rc = make_rows(&f, work, err);
    if (rc == BRAID_OK) rc = learn_each(m->items, work, fit_item, descent_new, descent_free, &f, err);
    if (rc != BRAID_OK) goto cleanup;
    rc = learn_edges_draft_finish(f.draft, out, err);
    f.draft = NULL;
cleanup:
    learn_edges_draft_free(f.draft);
    for (uint32_t i = 0; f.rows && i < m->items; i++) {
        free(f.rows[i].counts);
        free(f.rows[i].candidates);
    }
    free(f.rows);
    free(f.norms);
    return rc;
}
