/* One row of X'X at a time, in a dense accumulator with a list of what was touched: a row costs what its people did,
 * not what the catalogue holds, and nothing is cleared that was not set. */
#include "learn/counts.h"

#include <math.h>
#include <stdlib.h>

learn_counts *learn_counts_new(uint32_t items) {
    learn_counts *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->sum = calloc((size_t)items + 1, sizeof *c->sum);
    c->met = malloc(((size_t)items + 1) * sizeof *c->met);
    c->edges = malloc(((size_t)items + 1) * sizeof *c->edges);
    if (c->sum && c->met && c->edges) return c;
    learn_counts_free(c);
    return NULL;
}

void learn_counts_free(void *counts) {
    learn_counts *c = counts;
    if (!c) return;
    free(c->sum);
    free(c->met);
    free(c->edges);
    free(c);
}

void learn_counts_clear(learn_counts *c) {
    for (size_t i = 0; i < c->met_count; i++) c->sum[c->met[i]] = 0;
    c->met_count = 0;
}

static inline void add(learn_counts *c, uint32_t item, float value) {
    if (c->sum[item] == 0) c->met[c->met_count++] = item;
    c->sum[item] += value;
}

void learn_counts_add(learn_counts *c, const learn_matrix *m, uint32_t item, const float *fade, size_t before,
                      size_t after) {
    for (uint64_t i = m->item_at[item]; i < m->item_at[item + 1]; i++) {
        uint64_t begin = m->user_at[m->item_user[i]], end = m->user_at[m->item_user[i] + 1];
        uint64_t at = begin + m->item_pos[i];
        float mine = m->user_value[at];
        if (at - begin > before) begin = at - before;
        if (end - at > after + 1) end = at + after + 1;
        for (uint64_t k = begin; k < end; k++) {
            float together = mine * m->user_value[k];
            if (fade) together *= fade[k < at ? at - k : k - at];
            add(c, m->user_item[k], together);
        }
    }
}

double *learn_norms(const learn_matrix *m) {
    double *norms = calloc((size_t)m->items + 1, sizeof *norms);
    if (!norms) return NULL;
    for (uint64_t i = 0; i < m->count; i++) norms[m->user_item[i]] += (double)m->user_value[i] * m->user_value[i];
    for (uint32_t i = 0; i < m->items; i++) norms[i] = sqrt(norms[i]);
    return norms;
}
