/* Interning: open addressing over xxHash3, linear probing, at most three quarters full. Growing leaves the old arrays
 * to the arena, which costs at most as much again. base/map is not used, since it copies every key to the heap and is
 * made for long lives. */
#include "policy/intern.h"

#include <string.h>
#include <xxhash.h>

enum { INTERN_SLOTS_MIN = 64 };

void policy_intern_init(policy_intern *t, arena *a) {
    *t = (policy_intern){.a = a};
}

/* The slot that holds the key, or the free one where it would go. */
static size_t intern_slot(const policy_intern *t, const void *key, size_t len, uint64_t hash) {
    size_t mask = t->slots_cap - 1, i = hash & mask;
    for (; t->slots[i]; i = (i + 1) & mask) {
        const policy_intern_entry *e = &t->entries[t->slots[i] - 1];
        if (e->hash == hash && e->len == len && memcmp(e->key, key, len) == 0) break;
    }
    return i;
}

static bool intern_grow(policy_intern *t) {
    size_t cap = t->slots_cap ? t->slots_cap * 2 : INTERN_SLOTS_MIN, mask = cap - 1;
    uint32_t *slots = arena_calloc(t->a, cap, sizeof *slots);
    policy_intern_entry *entries = arena_alloc(t->a, cap * sizeof *entries);
    if (!slots || !entries) return false;
    for (size_t n = 0; n < t->count; n++) {
        size_t i = t->entries[n].hash & mask;
        while (slots[i]) i = (i + 1) & mask;
        slots[i] = (uint32_t)n + 1;
        entries[n] = t->entries[n];
    }
    t->slots = slots;
    t->slots_cap = cap;
    t->entries = entries;
    t->entries_cap = cap / 4 * 3;
    return true;
}

uint32_t policy_intern_add(policy_intern *t, const void *key, size_t len) {
    if (t->count == t->entries_cap && (t->count >= UINT32_MAX / 4 || !intern_grow(t))) return POLICY_INTERN_NONE;
    uint64_t hash = XXH3_64bits(key, len);
    size_t i = intern_slot(t, key, len, hash);
    if (t->slots[i]) return t->slots[i] - 1;
    void *copy = arena_alloc(t->a, len ? len : 1);
    if (!copy) return POLICY_INTERN_NONE;
    memcpy(copy, key, len);
    t->entries[t->count] = (policy_intern_entry){copy, len, hash};
    t->slots[i] = (uint32_t)++t->count;
    return (uint32_t)t->count - 1;
}

uint32_t policy_intern_find(const policy_intern *t, const void *key, size_t len) {
    if (!t->count) return POLICY_INTERN_NONE;
    size_t i = intern_slot(t, key, len, XXH3_64bits(key, len));
    return t->slots[i] ? t->slots[i] - 1 : POLICY_INTERN_NONE;
}

uint32_t policy_intern_text(policy_intern *t, const char *text) {
    return policy_intern_add(t, text, strlen(text) + 1);
}
