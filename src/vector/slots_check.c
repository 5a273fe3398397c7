/* Looks over what slots.h promises: map, stamps, counts and rows agree. Never changes anything. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "vector/slots.h"

#define UNIT_SLACK 1e-3f /* how far a stored vector's squared length may be from 1 */

void check_problem(vector_check_report *out, const char *format, ...) {
    if (out->problems++ > 0) return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(out->first, sizeof out->first, format, args);
    va_end(args);
}

static void check_slot(slots *s, uint32_t slot, uint64_t epoch, vector_check_report *out) {
    slot_meta *m = slots_meta(s, slot);
    const float *row = slots_row(s, slot);
    uint32_t found = slots_find(s, m->num, epoch);
    if (found != slot) check_problem(out, "item number %u is in slot %u, but its map says %u", m->num, slot, found);
    float length = s->kernel->dot(row, row, s->dim);
    if (!(fabsf(length - 1) <= UNIT_SLACK)) {
        check_problem(out, "the vector of item number %u has length %g", m->num, (double)length);
    }
    for (uint32_t i = s->dim; i < s->stride; i++) {
        if (row[i] != 0) check_problem(out, "the padding of item number %u is not zero", m->num);
    }
}

void slots_check(slots *s, vector_check_report *out) {
    uint64_t epoch = atomic_load_explicit(&s->epoch, memory_order_relaxed), live = 0;
    uint32_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
    for (uint32_t slot = 0; slot < used; slot++) {
        if (!slots_visible(slots_meta(s, slot), epoch)) continue;
        check_slot(s, slot, epoch, out);
        live++;
    }
    uint64_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    uint64_t waiting = atomic_load_explicit(&s->waiting, memory_order_relaxed);
    if (live != count) {
        check_problem(out, "%llu vectors are live, the count says %llu", (unsigned long long)live,
                      (unsigned long long)count);
    }
    if (waiting != s->dying.count + s->limbo.count) check_problem(out, "the count of removed vectors is wrong");
    if (live + waiting + s->free_count != used) {
        check_problem(out, "%llu live, %llu removed and %zu free slots are not the %u in use", (unsigned long long)live,
                      (unsigned long long)waiting, s->free_count, used);
    }
    out->checked += live;
}

uint64_t slots_bytes(const slots *s) {
    uint64_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
    return used * (s->stride * sizeof(float) + sizeof(slot_meta) + sizeof(uint32_t));
}
