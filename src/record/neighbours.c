/* Lists of neighbours: what may be written, and their bytes.
 *
 * A list is written and read as a whole, by the ten thousand when a model has been learned or a server starts. So it
 * is one value of packed pairs, number and weight, four bytes each and little-endian, in the order in which it was
 * given: the array in memory is the value on disk. A table with a row for every pair was rejected: fifty times the
 * rows, each with a key to keep in order, for reading single pairs, which nobody asks for.
 *
 * What comes from a disk is not believed: a length that is no whole number of pairs, or a number or weight that could
 * not have been written, makes the row corrupt. */
#include "record/neighbours.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "lists are stored little-endian; swap them here");
_Static_assert(sizeof(record_neighbour) == 8 && offsetof(record_neighbour, weight) == 4,
               "a neighbour is its bytes on disk");

enum { PLACES_LEAST = 16, PLACES = 2 * RECORD_NEIGHBOURS_MAX };
_Static_assert((RECORD_NEIGHBOURS_MAX & (RECORD_NEIGHBOURS_MAX - 1)) == 0, "places are found by masking");
_Static_assert(RECORD_MODEL_BYTES_MAX == 32 && RECORD_NEIGHBOURS_MAX == 4096, "the sentences of refusal say so");

bool record_neighbours_model_valid(const char *model) {
    if (model == NULL) return false;
    size_t len = strspn(model, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return len > 0 && len <= RECORD_MODEL_BYTES_MAX && model[len] == '\0';
}

static bool finite_weights(const record_neighbour *list, size_t n) {
    bool good = true;
    for (size_t i = 0; i < n; i++) good &= isfinite(list[i].weight);
    return good;
}

static bool item_numbers(const record_neighbour *list, size_t n) {
    bool good = true;
    for (size_t i = 0; i < n; i++) good &= list[i].num != 0;
    return good;
}

/* By a hash table that is half empty at least; 0 marks an empty place. */
static bool each_once(const record_neighbour *list, size_t n) {
    uint32_t seen[PLACES], mask = PLACES_LEAST - 1;
    while (mask + 1 < 2 * n) mask = mask * 2 + 1;
    memset(seen, 0, (mask + 1) * sizeof seen[0]);
    for (size_t i = 0; i < n; i++) {
        uint32_t at = list[i].num * UINT32_C(2654435769) >> 16 & mask;
        while (seen[at] != 0 && seen[at] != list[i].num) at = (at + 1) & mask;
        if (seen[at] != 0) return false;
        seen[at] = list[i].num;
    }
    return true;
}

int record_neighbours_check(const record_neighbours *row, bool remove, const char **why) {
    *why = "a model's name has 1..32 letters a-z, digits, _ or -";
    if (!record_neighbours_model_valid(row->model)) return BRAID_E_INVALID;
    if (remove) return BRAID_OK;
    *why = "an item has at most 4096 neighbours by one model";
    if (row->count > RECORD_NEIGHBOURS_MAX) return BRAID_E_TOO_LARGE;
    *why = "a list of neighbours is not there";
    if (row->count > 0 && row->list == NULL) return BRAID_E_INVALID;
    *why = "a neighbour's weight is NaN or infinite";
    if (!finite_weights(row->list, row->count)) return BRAID_E_NOT_FINITE;
    *why = "a neighbour is the number of an item, from 1";
    if (!item_numbers(row->list, row->count)) return BRAID_E_INVALID;
    *why = "a list of neighbours names an item twice";
    return each_once(row->list, row->count) ? BRAID_OK : BRAID_E_INVALID;
}

bool record_neighbours_read(const void *bytes, size_t len, record_neighbour *list, size_t *count) {
    *count = len / sizeof *list;
    if (bytes == NULL || len == 0 || len % sizeof *list != 0 || *count > RECORD_NEIGHBOURS_MAX) return false;
    memcpy(list, bytes, len);
    return item_numbers(list, *count) && finite_weights(list, *count);
}
