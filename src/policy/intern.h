/* Interning, private to the room: byte keys -> 0, 1, 2 ... in the order of arrival.
 *
 * Everything lies in one arena and goes with it. Keys that were text are then compared as numbers, and a key made of
 * such numbers is again a byte key. One thread. */
#ifndef POLICY_INTERN_H
#define POLICY_INTERN_H

#include "base/base.h"

#define POLICY_INTERN_NONE UINT32_MAX

typedef struct policy_intern_entry {
    const void *key;
    size_t len;
    uint64_t hash;
} policy_intern_entry;

typedef struct policy_intern {
    arena *a;
    uint32_t *slots;  /* index + 1; 0: free */
    size_t slots_cap; /* a power of two */
    policy_intern_entry *entries;
    size_t count, entries_cap;
} policy_intern;

void policy_intern_init(policy_intern *t, arena *a);
/* The key's number, a new one if it was not there (the key is copied); POLICY_INTERN_NONE when memory ran out. */
uint32_t policy_intern_add(policy_intern *t, const void *key, size_t len);
/* The key's number, or POLICY_INTERN_NONE. */
uint32_t policy_intern_find(const policy_intern *t, const void *key, size_t len);
/* For text keys (interned with their NUL). */
uint32_t policy_intern_text(policy_intern *t, const char *text);
static inline const char *policy_intern_name(const policy_intern *t, uint32_t i) {
    return t->entries[i].key;
}

#endif
