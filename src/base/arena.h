/* Arenas: memory with the lifetime of a query or a batch, released in one call instead of piece by piece.
 *
 * A chunked bump allocator; blocks double up to 1 MiB. Reset keeps the first block, so that a steady stream of
 * queries allocates nothing. One thread at a time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct arena arena;

arena *arena_new(size_t first_block); /* NULL when memory ran out */
void arena_free(arena *a);            /* NULL allowed */
void arena_reset(arena *a);           /* everything handed out is gone */

/* 16-byte aligned; NULL when memory ran out (the caller says NO_MEMORY). Not zeroed / zeroed. */
void *arena_alloc(arena *a, size_t size);
void *arena_calloc(arena *a, size_t count, size_t size);
char *arena_strdup(arena *a, const char *text);
char *arena_strndup(arena *a, const char *text, size_t len);
char *arena_printf(arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
