/* Who is in which arm: a hash of (experiment, salt, person) says where on a line of length 1 they stand, and the
 * shares cut the line. Nothing is stored, every server agrees, and two experiments part the people independently. */
#include <string.h>
#include <xxhash.h>

#include "judge/judge.h"

double judge_place(const char *experiment, uint64_t salt, const char *person) {
    uint64_t seed = XXH3_64bits_withSeed(experiment, strlen(experiment), salt);
    return (double)(XXH3_64bits_withSeed(person, strlen(person), seed) >> 11) * 0x1p-53;
}

size_t judge_assign(const char *experiment, uint64_t salt, const char *person, const double *shares, size_t n) {
    double all = 0, at = 0, place = judge_place(experiment, salt, person);
    size_t last = 0;
    for (size_t i = 0; i < n; i++) all += shares[i];
    for (size_t i = 0; i < n; i++) {
        if (shares[i] <= 0) continue;
        last = i;
        at += shares[i] / all;
        if (place < at) return i;
    }
    return last; /* the shares' sum fell short of 1 by rounding */
}
