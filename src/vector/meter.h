/* meter: what a unit of work costs, learnt from the work itself. Private to src/vector.
 *
 * Two running sums, added to by any thread without a lock; when the weight grows large both are halved, so that the
 * quotient follows the present. A sum that is lost between two threads' halvings changes the quotient by nothing that
 * matters. */
#ifndef VECTOR_METER_H
#define VECTOR_METER_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct meter {
    _Atomic uint64_t weight, sum;
} meter;

#define METER_WEIGHT_MAX (UINT64_C(1) << 24)

/* `weight` units of work cost `sum`. */
static inline void meter_add(meter *m, uint64_t weight, uint64_t sum) {
    atomic_fetch_add_explicit(&m->sum, sum, memory_order_relaxed);
    uint64_t total = atomic_fetch_add_explicit(&m->weight, weight, memory_order_relaxed) + weight;
    if (total < METER_WEIGHT_MAX) return;
    atomic_store_explicit(&m->weight, total / 2, memory_order_relaxed);
    atomic_store_explicit(&m->sum, atomic_load_explicit(&m->sum, memory_order_relaxed) / 2, memory_order_relaxed);
}

/* Cost of a unit; `fallback` until `least` units were seen. */
static inline double meter_unit(meter *m, uint64_t least, double fallback) {
    uint64_t weight = atomic_load_explicit(&m->weight, memory_order_relaxed);
    if (weight < least || weight == 0) return fallback;
    return (double)atomic_load_explicit(&m->sum, memory_order_relaxed) / (double)weight;
}

#endif
