/* Vectors of a remote store that are kept here for scoring; private to the room (vector_keep of vector.h). */
#ifndef VECTOR_KEPT_H
#define VECTOR_KEPT_H

#include "vector/vector.h"

typedef struct vector_kept vector_kept;

typedef struct vector_kept_options {
    uint32_t dim;
    size_t bytes; /* at most; at least one row is kept */
    uint64_t (*applied)(void *ctx);
    void *ctx;
    const char *store;
    const clock_ops *clock;
    metrics *metrics; /* NULL allowed */
} vector_kept_options;

vector_kept *vector_kept_new(const vector_kept_options *options); /* NULL: no memory */
void vector_kept_free(vector_kept *k);                            /* NULL allowed */

/* What is to be known before the store is asked, so that nothing is kept that was read too early. */
typedef struct vector_kept_look {
    uint64_t applied;
} vector_kept_look;
vector_kept_look vector_kept_begin(vector_kept *k);
/* True: *score is that of the kept vector with `unit`. False: it is to be fetched, and may be put with *mark. */
bool vector_kept_score(vector_kept *k, uint32_t num, const float *unit, float *score, uint32_t *mark);
void vector_kept_put(vector_kept *k, vector_kept_look look, uint32_t num, uint32_t mark, const float *vector);
void vector_kept_drop(vector_kept *k, uint32_t num, uint64_t lsn); /* the log changed it */
void vector_kept_written(vector_kept *k, uint32_t num);            /* we wrote it to the store */
void vector_kept_drop_all(vector_kept *k, uint64_t lsn);

#endif
