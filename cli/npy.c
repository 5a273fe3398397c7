/* The reader of .npy (npy.h): six bytes of magic, a version, the length of a header, the header - a literal of
 * Python with the keys descr, fortran_order and shape - and the numbers. The header is searched for its three keys,
 * not parsed as Python: numpy writes exactly these, and what is not found in the expected form is refused. */
#include "npy.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { HEADER_MAX = 65536, CHUNK = 4096, VALUES_MAX = 1 << 30 };

static bool refuse(char why[NPY_WHY], const char *format, ...) CLI_PRINTF(2, 3);
static bool refuse(char why[NPY_WHY], const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, NPY_WHY, format, args);
    va_end(args);
    return false;
}

/* What stands after 'key': in the header, or NULL. */
static const char *after_key(const char *header, const char *key) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    return at ? at + strlen(quoted) + strspn(at + strlen(quoted), " ") : NULL;
}

static bool read_number(const char **text, size_t *out) {
    char *end;
    errno = 0;
    *text += strspn(*text, " ");
    if (**text < '0' || **text > '9') return false;
    unsigned long long n = strtoull(*text, &end, 10);
    if (errno || n > VALUES_MAX) return false;
    *out = (size_t)n;
    *text = end;
    return true;
}

static bool read_shape(const char *header, npy *out) {
    const char *at = after_key(header, "shape");
    if (!at || *at++ != '(' || !read_number(&at, &out->rows) || *at++ != ',') return false;
    return read_number(&at, &out->columns) && at[strspn(at, " ,")] == ')';
}

/* The header as text; owned by the caller. */
static char *read_header(FILE *in, char why[NPY_WHY]) {
    unsigned char lead[12];
    size_t len;
    if (fread(lead, 1, 10, in) != 10 || memcmp(lead, "\x93NUMPY", 6) != 0) {
        refuse(why, "this is not a file of numpy.save (.npy)");
        return NULL;
    }
    if (lead[6] < 1 || lead[6] > 3) {
        refuse(why, "version %u of the format is not known; 1 to 3 are", lead[6]);
        return NULL;
    }
    bool wide = lead[6] > 1;
    if (wide && fread(lead + 10, 1, 2, in) != 2) {
        refuse(why, "the file ends in its header");
        return NULL;
    }
    len = lead[8] | (size_t)lead[9] << 8;
    if (wide) len |= (size_t)lead[10] << 16 | (size_t)lead[11] << 24;
    if (len > HEADER_MAX) {
        refuse(why, "a header of %zu bytes is longer than any of a matrix", len);
        return NULL;
    }
    char *header = cli_alloc(len + 1);
    if (fread(header, 1, len, in) == len) return header;
    free(header);
    refuse(why, "the file ends in its header");
    return NULL;
}

static bool understand(const char *header, npy *out, size_t *width, char why[NPY_WHY]) {
    const char *descr = after_key(header, "descr"), *order = after_key(header, "fortran_order");
    if (!descr || !order) return refuse(why, "the header does not say descr and fortran_order");
    *width = strncmp(descr, "'<f2'", 5) == 0 ? 2 : strncmp(descr, "'<f4'", 5) == 0 ? 4 : 0;
    if (*width == 0)
        return refuse(why, "its numbers are of type %.12s; save them as float16 or float32, little-endian", descr);
    if (strncmp(order, "False", 5) != 0)
        return refuse(why, "it lies column by column (fortran_order); save numpy.ascontiguousarray of it");
    if (!read_shape(header, out)) return refuse(why, "its shape is not two numbers, as (9742, 384)");
    if (out->rows == 0 || out->columns == 0 || out->rows > VALUES_MAX / out->columns)
        return refuse(why, "a matrix of %zu x %zu cannot be used", out->rows, out->columns);
    return true;
}

/* IEEE 754: 1 sign, 5 exponent, 10 fraction. */
static float of_half(unsigned bits) {
    unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                 : exponent     ? ldexpf((float)(1024 + fraction), (int)exponent - 25)
                                : ldexpf((float)fraction, -24);
    return bits & 0x8000 ? -size : size;
}

static bool read_values(FILE *in, npy *out, size_t width, char why[NPY_WHY]) {
    unsigned char raw[CHUNK * 4];
    size_t count = out->rows * out->columns, done = 0;
    while (done < count) {
        size_t want = count - done < CHUNK ? count - done : CHUNK;
        if (fread(raw, width, want, in) != want)
            return refuse(why, "the file is too short for %zu x %zu numbers of %zu bytes", out->rows, out->columns,
                          width);
        for (size_t i = 0; i < want; i++, done++) {
            const unsigned char *b = raw + i * width;
            uint32_t bits = b[0] | (uint32_t)b[1] << 8;
            if (width == 2) {
                out->values[done] = of_half(bits);
            } else {
                bits |= (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
                memcpy(&out->values[done], &bits, sizeof bits);
            }
            if (!isfinite(out->values[done]))
                return refuse(why, "row %zu, column %zu is not a finite number", done / out->columns,
                              done % out->columns);
        }
    }
    return getc(in) == EOF || refuse(why, "the file is longer than its header says");
}

bool npy_read(const char *path, npy *out, char why[NPY_WHY]) {
    *out = (npy){0};
    size_t width = 0;
    FILE *in = fopen(path, "rb");
    if (!in) return refuse(why, "%s", strerror(errno));
    char *header = read_header(in, why);
    bool good = header && understand(header, out, &width, why);
    free(header);
    if (good) {
        out->values = cli_alloc(out->rows * out->columns * sizeof *out->values);
        good = read_values(in, out, width, why);
    }
    fclose(in);
    if (!good) npy_free(out);
    return good;
}

void npy_free(npy *matrix) {
    free(matrix->values);
    *matrix = (npy){0};
}
