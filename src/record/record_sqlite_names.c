/* The numbers of names that the writer has met lately.
 *
 * Every interaction names a person and an item; finding their numbers in the file is a descent through a B-tree of
 * texts for each. One thread does all the writing, so what it has found stays true until it changes it itself: a name
 * is dropped when its row is, and after a rollback everything is forgotten. A name that is not here is looked up in the
 * file, so forgetting costs time only.
 *
 * The table is direct-mapped: a name has one slot, and the last one to want it has it. No list, no eviction, no
 * allocation. Names longer than a slot are not kept. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "record/record_sqlite.h"

enum { NAMES_SLOTS = 8192, NAME_BYTES = 48 };

typedef struct names_slot {
    int64_t num, born;
    char name[NAME_BYTES]; /* "" is an empty slot; the population, whose name is "", is not kept */
} names_slot;

struct record_sqlite_names {
    names_slot slots[NAMES_SLOTS];
};

int record_sqlite_names_open(record_sqlite *s) {
    s->items_by_id = calloc(1, sizeof *s->items_by_id);
    s->persons_by_id = calloc(1, sizeof *s->persons_by_id);
    return s->items_by_id != NULL && s->persons_by_id != NULL ? BRAID_OK : BRAID_E_NO_MEMORY;
}

void record_sqlite_names_close(record_sqlite *s) {
    free(s->items_by_id);
    free(s->persons_by_id);
    s->items_by_id = s->persons_by_id = NULL;
}

void record_sqlite_names_forget(record_sqlite *s) {
    memset(s->items_by_id, 0, sizeof *s->items_by_id);
    memset(s->persons_by_id, 0, sizeof *s->persons_by_id);
}

static names_slot *names_slot_of(record_sqlite_names *n, const char *name, size_t *len) {
    *len = strlen(name);
    if (*len == 0 || *len >= NAME_BYTES) return NULL;
    return &n->slots[XXH3_64bits(name, *len) % NAMES_SLOTS];
}

bool record_sqlite_names_get(record_sqlite_names *n, const char *name, int64_t *num, int64_t *born) {
    size_t len;
    const names_slot *slot = names_slot_of(n, name, &len);
    if (slot == NULL || strcmp(slot->name, name) != 0) return false;
    *num = slot->num;
    *born = slot->born;
    return true;
}

void record_sqlite_names_put(record_sqlite_names *n, const char *name, int64_t num, int64_t born) {
    size_t len;
    names_slot *slot = names_slot_of(n, name, &len);
    if (slot == NULL) return;
    memcpy(slot->name, name, len + 1);
    slot->num = num;
    slot->born = born;
}

void record_sqlite_names_drop(record_sqlite_names *n, const char *name) {
    size_t len;
    names_slot *slot = names_slot_of(n, name, &len);
    if (slot != NULL && strcmp(slot->name, name) == 0) slot->name[0] = '\0';
}
