/* npy: a reader of matrices of numbers in numpy's file format (.npy, versions 1 to 3).
 *
 * Taken: two dimensions, row by row (C order), little-endian float16 or float32. Everything else is refused with a
 * sentence, as are a file that is too short or too long for its header, and numbers that are not finite. */
#ifndef CLI_NPY_H
#define CLI_NPY_H

#include <stdbool.h>
#include <stddef.h>

enum { NPY_WHY = 200 };

typedef struct npy {
    size_t rows, columns;
    float *values; /* rows x columns */
} npy;

/* False and a sentence in `why`, with nothing to free. */
bool npy_read(const char *path, npy *out, char why[NPY_WHY]);
void npy_free(npy *matrix);

#endif
