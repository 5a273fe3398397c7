/* Private to src/record: what a row of neighbours must be, and its list as bytes, the same in every store. */
#ifndef RECORD_NEIGHBOURS_H
#define RECORD_NEIGHBOURS_H

#include "record/record.h"

bool record_neighbours_model_valid(const char *model); /* NULL allowed */
/* BRAID_OK, or why the row must not be written; *why is the sentence for it. */
int record_neighbours_check(const record_neighbours *row, bool remove, const char **why);
/* The bytes of a list are those of the array: row->list, row->count of it. They are read into `list`,
 * which has room for RECORD_NEIGHBOURS_MAX; false when they are no list that the check would have let pass. */
bool record_neighbours_read(const void *bytes, size_t len, record_neighbour *list, size_t *count);

#endif
