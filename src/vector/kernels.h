/* The private side of the kernels: besides one row at a time (vector.h), four rows at a time.
 *
 * A search is bound by memory, not by arithmetic: a row of 768 floats is 48 cache lines from somewhere random. Four
 * rows in one loop keep four streams of misses in flight and load each piece of the query once instead of four times.
 *
 * All scores that leave the room are made by the four-row kernel (a short batch repeats its last row), so the same
 * query and the same row give the same bits in every store and on every path. */
#ifndef VECTOR_KERNELS_H
#define VECTOR_KERNELS_H

#include "vector/vector.h"

/* out[i] = <query, rows[i]> */
typedef void vector_dot4_fn(const float *query, const float *const rows[4], uint32_t dim, float out[4]);

/* The four-row sister of a kernel of the table. */
vector_dot4_fn *vector_kernel_dot4(const vector_kernel *kernel);

#endif
