/* Cosine neighbours: two items are alike as far as the same people chose both.
 *
 * With a decay, pairs count less the further apart they lie in a person's own order: what was watched in the same
 * weeks belongs together more than what is years apart, and the newest end of a history then speaks for what comes
 * next. Pairs beyond REACH decays are not looked at; all of them together would add a fiftieth. */
#include <math.h>
#include <stdlib.h>

#include "learn/counts.h"
#include "learn/parallel.h"

enum { REACH = 4 };

typedef struct fit {
    const learn_matrix *m;
    const learn_cooccurrence *how;
    double *norms;
    float *fade;
    size_t reach;
    learn_edges_draft *draft;
} fit;

static void *fit_scratch(void *ctx) {
    return learn_counts_new(((fit *)ctx)->m->items);
}

static bool fit_item(void *ctx, void *scratch, uint32_t target) {
    fit *f = ctx;
    learn_counts *c = scratch;
    size_t n = 0;
    learn_counts_add(c, f->m, target, f->fade, f->reach, f->how->follows ? 0 : f->reach);
    for (size_t i = 0; i < c->met_count; i++) {
        uint32_t other = c->met[i];
        double norm = f->norms[target] * f->norms[other] + f->how->shrink;
        float weight = (float)(c->sum[other] / norm);
        if (other != target && weight > 0) c->edges[n++] = (learn_edge){other, weight};
    }
    learn_counts_clear(c);
    n = learn_edges_strongest(c->edges, n, f->how->keep);
    return learn_edges_draft_set(f->draft, target, c->edges, n);
}

int learn_cooccurrence_fit(const learn_matrix *m, const learn_cooccurrence *how, const learn_work *work,
                           learn_edges **out, braid_error *err) {
    *out = NULL;
    fit f = {.m = m, .how = how, .reach = UINT32_MAX};
    int rc = BRAID_OK;
    f.norms = learn_norms(m);
    f.draft = learn_edges_draft_new(m->items);
    if (how->decay > 0) {
        f.reach = (size_t)ceil(how->decay * REACH);
        f.fade = malloc((f.reach + 1) * sizeof *f.fade);
        for (size_t d = 0; f.fade && d <= f.reach; d++) f.fade[d] = (float)exp(-((double)d - 1) / how->decay);
    }
    if (!f.norms || !f.draft || (how->decay > 0 && !f.fade)) {
        rc = error_set(err, BRAID_E_NO_MEMORY, "learn/cooccurrence", "no memory for neighbours of %u items", m->items);
        goto cleanup;
    }
    rc = learn_each(m->items, work, fit_item, fit_scratch, learn_counts_free, &f, err);
    if (rc != BRAID_OK) goto cleanup;
    rc = learn_edges_draft_finish(f.draft, out, err);
    f.draft = NULL;
cleanup:
    learn_edges_draft_free(f.draft);
    free(f.fade);
    free(f.norms);
    return rc;
}
