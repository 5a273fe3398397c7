/* Sums over the people of one item: who else they met, and how much the two say together. Private to src/learn. */
#ifndef LEARN_COUNTS_H
#define LEARN_COUNTS_H

#include "learn/learn.h"

typedef struct learn_counts {
    float *sum;    /* by item; zero but for those in `met` */
    uint32_t *met; /* the items that were met, in the order of meeting */
    size_t met_count;
    learn_edge *edges; /* room for as many as there are items */
} learn_counts;

learn_counts *learn_counts_new(uint32_t items); /* NULL: no memory */
void learn_counts_free(void *counts);
void learn_counts_clear(learn_counts *c);
/* Adds the value products of `item` with what its people did, from `before` events before it to `after` events after
 * it in that person's row, itself included; each discounted by fade[distance], NULL: none is. */
void learn_counts_add(learn_counts *c, const learn_matrix *m, uint32_t item, const float *fade, size_t before,
                      size_t after);
/* norms[i] = sqrt of the sum of squared values of item i. The caller frees. */
double *learn_norms(const learn_matrix *m);

#endif
