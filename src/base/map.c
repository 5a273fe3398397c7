/* map: string -> number.
 *
 * A power-of-two array of slots {hash, key, value}; a key's home is its hash masked, and it lies in the first
 * free slot from there on. Keeping the hash in the slot makes growing free of hashing and a mismatch a
 * comparison of two numbers. Removal closes the gap by moving later members of the run back, as long as that
 * does not put one before its home; so a long-lived map never degrades. Rejected: chaining (a cache miss a
 * link) and tombstones (which need a clean-up of their own). */
#include "map.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { MAP_SLOTS_MIN = 16, MAP_KEY_OVERHEAD = 16 /* what malloc adds to a key, about */ };

typedef struct map_slot {
    uint64_t hash;
    char *key; /* NULL: free */
    uint64_t value;
} map_slot;

struct map {
    map_slot *slots;
    size_t cap; /* a power of two */
    size_t count;
    size_t key_bytes;
};

/* The largest count that `cap` slots may hold. */
static size_t map_load_max(size_t cap) {
    return cap - cap / 8;
}

map *map_new(size_t expected) {
    size_t cap = MAP_SLOTS_MIN;
    while (map_load_max(cap) < expected) {
        if (cap > SIZE_MAX / 2 / sizeof(map_slot)) return NULL;
        cap *= 2;
    }
    map *m = calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    m->cap = cap;
    m->slots = calloc(cap, sizeof *m->slots);
    if (m->slots == NULL) {
        free(m);
        return NULL;
    }
    return m;
}

void map_free(map *m) {
    if (m == NULL) return;
    for (size_t i = 0; i < m->cap; i++) free(m->slots[i].key);
    free(m->slots);
    free(m);
}

size_t map_count(const map *m) {
    return m->count;
}

/* The slot that holds `key`, or the free slot where it would go. There is always a free one. */
static size_t map_find(const map *m, const char *key, uint64_t hash) {
    size_t mask = m->cap - 1, i = hash & mask;
    while (m->slots[i].key != NULL && (m->slots[i].hash != hash || strcmp(m->slots[i].key, key) != 0))
        i = (i + 1) & mask;
    return i;
}

static uint64_t map_hash(const char *key, size_t len) {
    return XXH3_64bits(key, len);
}

bool map_get(const map *m, const char *key, uint64_t *value) {
    const map_slot *slot = &m->slots[map_find(m, key, map_hash(key, strlen(key)))];
    if (slot->key == NULL) return false;
    if (value != NULL) *value = slot->value;
    return true;
}

static bool map_grow(map *m) {
    if (m->cap > SIZE_MAX / 2 / sizeof(map_slot)) return false;
    size_t cap = m->cap * 2, mask = cap - 1;
    map_slot *slots = calloc(cap, sizeof *slots);
    if (slots == NULL) return false;
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].key == NULL) continue;
        size_t to = m->slots[i].hash & mask;
        while (slots[to].key != NULL) to = (to + 1) & mask;
        slots[to] = m->slots[i];
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return true;
}

bool map_put(map *m, const char *key, uint64_t value) {
    size_t len = strlen(key);
    uint64_t hash = map_hash(key, len);
    size_t i = map_find(m, key, hash);
    if (m->slots[i].key != NULL) {
        m->slots[i].value = value;
        return true;
    }
    if (m->count + 1 > map_load_max(m->cap)) {
        if (!map_grow(m)) return false;
        i = map_find(m, key, hash);
    }
    char *copy = malloc(len + 1);
    if (copy == NULL) return false;
    memcpy(copy, key, len + 1);
    m->slots[i] = (map_slot){.hash = hash, .key = copy, .value = value};
    m->count++;
    m->key_bytes += len + 1;
    return true;
}

/* Closes the gap at `hole`: a later member of the run moves in if its home is not between the hole and itself. */
static void map_close_gap(map *m, size_t hole) {
    size_t mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->slots[i].key != NULL; i = (i + 1) & mask) {
        size_t from_home = (i - (m->slots[i].hash & mask)) & mask, from_hole = (i - hole) & mask;
        if (from_home < from_hole) continue;
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole] = (map_slot){0};
}

bool map_remove(map *m, const char *key) {
    size_t len = strlen(key), i = map_find(m, key, map_hash(key, len));
    if (m->slots[i].key == NULL) return false;
    free(m->slots[i].key);
    m->count--;
    m->key_bytes -= len + 1;
    map_close_gap(m, i);
    return true;
}

bool map_next(const map *m, size_t *cursor, const char **key, uint64_t *value) {
    size_t i = *cursor;
    while (i < m->cap && m->slots[i].key == NULL) i++;
    if (i >= m->cap) {
        *cursor = m->cap;
        return false;
    }
    if (key != NULL) *key = m->slots[i].key;
    if (value != NULL) *value = m->slots[i].value;
    *cursor = i + 1;
    return true;
}

size_t map_bytes(const map *m) {
    return sizeof *m + m->cap * sizeof *m->slots + m->key_bytes + m->count * MAP_KEY_OVERHEAD;
}
