/* "Did you mean": the nearest known name to one that is not known.
 *
 * Optimal string alignment distance (a swap of neighbours counts as one slip), case ignored, on the short ASCII names
 * of fields; at most a third of the letters may differ, or the suggestion would be noise and the list of known names
 * says more. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "model/read.h"

enum { SUGGEST_NAME_MAX = 40, LIST_BYTES_MAX = 180 };

static unsigned min3(unsigned a, unsigned b, unsigned c) {
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

static bool same_letter(char a, char b) {
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static unsigned slips(const char *a, size_t la, const char *b, size_t lb) {
    unsigned d[SUGGEST_NAME_MAX + 1][SUGGEST_NAME_MAX + 1];
    for (size_t i = 0; i <= la; i++) {
        d[i][0] = (unsigned)i;
    }
    for (size_t j = 0; j <= lb; j++) {
        d[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= la; i++) {
        for (size_t j = 1; j <= lb; j++) {
            unsigned other = same_letter(a[i - 1], b[j - 1]) ? 0 : 1;
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + other);
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]) &&
                d[i - 2][j - 2] + 1 < d[i][j]) {
                d[i][j] = d[i - 2][j - 2] + 1;
            }
        }
    }
    return d[la][lb];
}

static const char *nearest(const char *name, const char *const *known, size_t count) {
    size_t len = strlen(name);
    if (len > SUGGEST_NAME_MAX) {
        return NULL;
    }
    const char *best = NULL;
    unsigned best_slips = (unsigned)(len < 3 ? 1 : len / 3) + 1;
    for (size_t i = 0; i < count; i++) {
        size_t known_len = strlen(known[i]);
        if (known_len > SUGGEST_NAME_MAX) {
            continue;
        }
        unsigned n = slips(name, len, known[i], known_len);
        if (n < best_slips && n < known_len) {
            best_slips = n;
            best = known[i];
        }
    }
    return best;
}

int model_read_unknown(const reading *r, const place *at, const char *name, const char *const *known, size_t count) {
    const char *near = nearest(name, known, count);
    if (near) {
        return model_read_fail(r, at, BRAID_E_UNKNOWN_FIELD, "unknown field \"%.*s\"; did you mean \"%s\"?",
                               model_read_quotable(name), name, near);
    }
    char list[LIST_BYTES_MAX] = "";
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        int n = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", known[i]);
        if (n < 0 || used + (size_t)n >= sizeof list) {
            list[used] = '\0';
            break;
        }
        used += (size_t)n;
    }
    return model_read_fail(r, at, BRAID_E_UNKNOWN_FIELD, "unknown field \"%.*s\"; known are %s",
                           model_read_quotable(name), name, list);
}
