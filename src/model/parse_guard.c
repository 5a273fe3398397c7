/* A parse ends at the first request for memory that is refused.
 *
 * jansson 2.14's lexer goes on when its buffer cannot grow: the character is dropped. So "la mer" is read as "la er"
 * and stored, and when it is the closing quote that was dropped, the lexer runs past its buffer and writes behind
 * another (found by test/unit/engine_memory.c). Its allocator is therefore watched: during a parse every block is
 * noted, and a refusal leaves the parser by longjmp, which then is given back all it held. What the parser frees is
 * kept until the parse is over, so that the list of blocks needs no look-ups: buffers double, so that is at most about
 * as much again.
 *
 * jansson has one allocator a process. The watch is set once, hands on to the allocator that was there, does nothing
 * outside of a parse of ours, and is taken off with the library. Rejected: looking at a flag afterwards (the damage is
 * done by then), and a parser of our own (jansson's is well tested with memory). */
#include "model/parse_guard.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>

enum { BLOCKS_FIRST = 128 };

typedef struct block_list {
    void **at;
    size_t count, cap;
} block_list;

/* The parse that this thread is in; not on the stack, since longjmp leaves changed variables there undefined. */
static _Thread_local struct {
    bool active;
    jmp_buf leave;
    block_list held, freed; /* freed is a part of held */
} guard;

static json_malloc_t host_malloc;
static json_free_t host_free;

static bool block_list_reserve(block_list *l) {
    if (l->count < l->cap) return true;
    size_t cap = l->cap ? l->cap * 2 : BLOCKS_FIRST;
    void **at = realloc(l->at, cap * sizeof *at);
    if (!at) return false;
    l->at = at;
    l->cap = cap;
    return true;
}

static void block_list_free_blocks(const block_list *l) {
    for (size_t i = 0; i < l->count; i++) host_free(l->at[i]);
}

static void block_list_free(block_list *l) {
    free(l->at);
    *l = (block_list){0};
}

static void *guard_malloc(size_t size) {
    if (!guard.active) return host_malloc(size);
    void *at = block_list_reserve(&guard.held) ? host_malloc(size) : NULL;
    if (!at) longjmp(guard.leave, 1);
    guard.held.at[guard.held.count++] = at;
    return at;
}

static void guard_free(void *at) {
    if (!guard.active) {
        host_free(at);
        return;
    }
    if (!block_list_reserve(&guard.freed)) longjmp(guard.leave, 1);
    guard.freed.at[guard.freed.count++] = at;
}

static void guard_set(void) {
    json_get_alloc_funcs(&host_malloc, &host_free);
    json_set_alloc_funcs(guard_malloc, guard_free);
}

__attribute__((destructor)) static void guard_take_off(void) {
    json_malloc_t current;
    json_free_t current_free;
    json_get_alloc_funcs(&current, &current_free);
    if (current == guard_malloc) json_set_alloc_funcs(host_malloc, host_free);
}

json_t *model_parse_guarded(const char *text, size_t len, size_t flags, json_error_t *e, bool *no_memory) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_t *json = NULL;
    pthread_once(&once, guard_set);
    guard.active = true;
    if (setjmp(guard.leave) == 0) {
        json = json_loadb(text, len, flags, e);
        guard.active = false;
        block_list_free_blocks(json ? &guard.freed : &guard.held);
        *no_memory = false;
    } else {
        guard.active = false;
        block_list_free_blocks(&guard.held);
        json = NULL;
        *no_memory = true;
    }
    block_list_free(&guard.held);
    block_list_free(&guard.freed);
    return json;
}
