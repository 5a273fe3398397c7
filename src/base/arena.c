/* Arenas.
 *
 * A list of blocks, newest last; allocation bumps an offset in the newest one. A request that does not fit
 * opens a block of twice the last size (up to 1 MiB), or of its own size when it is larger; the rest of the old
 * block is given up, which costs at most half the memory. Under AddressSanitizer everything not handed out is
 * poisoned, so that reading past an allocation or after arena_reset is reported as it would be with malloc.
 * Rejected: remembering the largest block over a reset; one odd query would then hold its memory for ever. */
#include "arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define ARENA_HIDE(at, size) ASAN_POISON_MEMORY_REGION((at), (size))
#define ARENA_SHOW(at, size) ASAN_UNPOISON_MEMORY_REGION((at), (size))
#else
#define ARENA_HIDE(at, size) ((void)(at), (void)(size))
#define ARENA_SHOW(at, size) ((void)(at), (void)(size))
#endif

enum { ARENA_ALIGN = 16, ARENA_BLOCK_MIN = 1024, ARENA_BLOCK_MAX = 1 << 20 };

typedef struct arena_block {
    struct arena_block *next;
    size_t cap, used;
    _Alignas(16) char data[];
} arena_block;

struct arena {
    arena_block *first, *last;
};

static arena_block *arena_block_new(size_t cap) {
    if (cap > SIZE_MAX - sizeof(arena_block)) return NULL;
    arena_block *b = malloc(sizeof *b + cap);
    if (b == NULL) return NULL;
    *b = (arena_block){.cap = cap};
    ARENA_HIDE(b->data, cap);
    return b;
}

static void arena_block_free(arena_block *b) {
    ARENA_SHOW(b->data, b->cap);
    free(b);
}

arena *arena_new(size_t first_block) {
    size_t cap = first_block < ARENA_BLOCK_MIN ? ARENA_BLOCK_MIN : first_block;
    arena *a = malloc(sizeof *a);
    if (a == NULL) return NULL;
    a->first = a->last = arena_block_new(cap);
    if (a->first == NULL) {
        free(a);
        return NULL;
    }
    return a;
}

static void arena_drop_after(arena_block *b) {
    arena_block *next;
    for (arena_block *at = b->next; at != NULL; at = next) {
        next = at->next;
        arena_block_free(at);
    }
    b->next = NULL;
}

void arena_free(arena *a) {
    if (a == NULL) return;
    arena_drop_after(a->first);
    arena_block_free(a->first);
    free(a);
}

void arena_reset(arena *a) {
    arena_drop_after(a->first);
    a->last = a->first;
    a->first->used = 0;
    ARENA_HIDE(a->first->data, a->first->cap);
}

/* Opens a block with room for `size`. */
static arena_block *arena_grow(arena *a, size_t size) {
    size_t cap = a->last->cap < ARENA_BLOCK_MAX / 2 ? a->last->cap * 2 : ARENA_BLOCK_MAX;
    arena_block *b = arena_block_new(cap > size ? cap : size);
    if (b == NULL) return NULL;
    a->last->next = b;
    a->last = b;
    return b;
}

void *arena_alloc(arena *a, size_t size) {
    if (size > SIZE_MAX - ARENA_ALIGN) return NULL;
    size_t room = size == 0 ? ARENA_ALIGN : (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    arena_block *b = a->last;
    if (room > b->cap - b->used) {
        b = arena_grow(a, room);
        if (b == NULL) return NULL;
    }
    void *at = b->data + b->used;
    b->used += room;
    ARENA_SHOW(at, size);
    return at;
}

void *arena_calloc(arena *a, size_t count, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) return NULL;
    void *at = arena_alloc(a, total);
    if (at != NULL) memset(at, 0, total);
    return at;
}

char *arena_strndup(arena *a, const char *text, size_t len) {
    if (len == SIZE_MAX) return NULL;
    char *copy = arena_alloc(a, len + 1);
    if (copy == NULL) return NULL;
    if (len > 0) memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *arena_strdup(arena *a, const char *text) {
    return arena_strndup(a, text, strlen(text));
}

char *arena_printf(arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) return NULL;
    char *text = arena_alloc(a, (size_t)len + 1);
    if (text == NULL) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}
