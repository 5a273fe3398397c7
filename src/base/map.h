/* map: string -> 64-bit value, open addressing with linear probing over xxHash3, keys copied.
 *
 * Grows at 7/8 load; deletion shifts back, so there are no tombstones to clean. One writer or many readers. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct map map;

map *map_new(size_t expected); /* NULL when memory ran out */
void map_free(map *m);
size_t map_count(const map *m);
bool map_get(const map *m, const char *key, uint64_t *value); /* value may be NULL */
bool map_put(map *m, const char *key, uint64_t value);        /* adds or replaces; false when memory ran out */
bool map_remove(map *m, const char *key);                     /* false if it was not there */
/* Walks all entries in no order: start with *cursor = 0, ends with false. Nothing may change meanwhile. */
bool map_next(const map *m, size_t *cursor, const char **key, uint64_t *value);
size_t map_bytes(const map *m); /* memory held, approximately */

#endif
