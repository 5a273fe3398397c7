/* Terms: (field, value) -> small id -> posting list; and (attribute path, type, value) likewise.
 *
 * Ids are given in order of appearance and never used again, so that inner loops can hold arrays by id. A facet keeps
 * its text, for sentences; an attribute's value is only ever looked up, so its key is all there is, and long texts are
 * keyed by a 128-bit hash. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "catalogue/catalogue_state.h"

enum { KEY_SMALL = 512, KEY_VALUE_MAX = 1024, KEY_OVERHEAD = 24 };

bool catalogue_field_is_facet(filter_field f) {
    switch (f) {
    case FIELD_KIND:
    case FIELD_LANGUAGE:
    case FIELD_COUNTRIES:
    case FIELD_GENRES:
    case FIELD_THEMES:
    case FIELD_MOODS:
    case FIELD_CONTEXTS:
    case FIELD_PEOPLE:
    case FIELD_REGIONS: return true;
    default: return false;
    }
}

bool terms_open(catalogue_terms *t) {
    t->ids = map_new(0);
    return t->ids != NULL;
}

void terms_free(catalogue_terms *t) {
    for (uint32_t i = 0; i < t->count; i++) {
        posting_free(&t->rows[i].items);
        free(t->rows[i].value);
    }
    free(t->rows);
    map_free(t->ids);
    *t = (catalogue_terms){0};
}

/* kind, length of the path in two digits of base 128 (never 0), path, value: no two differ and agree here. */
static char *term_key(char small[KEY_SMALL], uint8_t kind, const char *path, const char *value) {
    size_t path_len = strlen(path), len = strlen(value);
    char hash[40];
    if (len > KEY_VALUE_MAX) {
        XXH128_hash_t h = XXH3_128bits(value, len);
        len = (size_t)snprintf(hash, sizeof hash, "\x01%016llx%016llx", (unsigned long long)h.high64,
                               (unsigned long long)h.low64);
        value = hash; /* the control character keeps it apart from short texts that look like it */
    }
    char *key = 3 + path_len + len + 1 <= KEY_SMALL ? small : malloc(3 + path_len + len + 1);
    if (key == NULL) return NULL;
    key[0] = (char)(kind + 1);
    key[1] = (char)(1 + (path_len & 0x3f));
    key[2] = (char)(1 + ((path_len >> 6) & 0x3f));
    memcpy(key + 3, path, path_len);
    memcpy(key + 3 + path_len, value, len);
    key[3 + path_len + len] = '\0';
    return key;
}

uint32_t terms_find(const catalogue_terms *t, uint8_t kind, const char *path, const char *value) {
    char small[KEY_SMALL], *key = term_key(small, kind, path, value);
    uint64_t id = CATALOGUE_NONE;
    if (key != NULL) map_get(t->ids, key, &id);
    if (key != small) free(key);
    return (uint32_t)id;
}

static bool terms_grow(catalogue_terms *t) {
    if (t->count < t->cap) return true;
    if (t->count >= CATALOGUE_TERMS_MAX) return false;
    uint32_t cap = t->cap == 0 ? 256 : t->cap + t->cap / 2;
    catalogue_term *rows = realloc(t->rows, cap * sizeof *rows);
    if (rows == NULL) return false;
    t->rows = rows;
    t->cap = cap;
    return true;
}

uint32_t terms_intern(catalogue_terms *t, uint8_t kind, const char *path, const char *value) {
    char small[KEY_SMALL], *key = term_key(small, kind, path, value), *text = NULL;
    uint64_t id = CATALOGUE_NONE;
    if (key == NULL || map_get(t->ids, key, &id)) goto cleanup;
    if (!terms_grow(t)) goto cleanup;
    if (kind < FIELD_COUNT) {
        text = strdup(value);
        if (text == NULL) goto cleanup;
    }
    if (!map_put(t->ids, key, t->count)) goto cleanup;
    t->rows[t->count] = (catalogue_term){.value = text, .field = kind};
    t->bytes += text != NULL ? strlen(text) + KEY_OVERHEAD : 0;
    text = NULL;
    id = t->count++;
cleanup:
    if (key != small) free(key);
    free(text);
    return (uint32_t)id;
}

uint64_t terms_bytes(const catalogue_terms *t) {
    uint64_t bytes = t->bytes + map_bytes(t->ids) + t->cap * sizeof *t->rows;
    for (uint32_t i = 0; i < t->count; i++) bytes += posting_bytes(&t->rows[i].items);
    return bytes;
}
