/* The learner's items: duration and genres by number, from the record store.
 *
 * A direct-mapped table: the same few hundred items are watched again and again, and parsing a body costs more than
 * learning from it. The learner sees every change of an item in the log before the interactions after it, and forgets
 * the entry then; so an entry is never older than the log's place. Not from the catalogue: that is another feed's,
 * and may be behind. */
#include <stdlib.h>
#include <string.h>

#include "policy/learner_private.h"

static size_t items_slot(uint32_t num) {
    return num & (LEARNER_ITEMS_CACHED - 1);
}

static learner_item *items_new(uint32_t num, const item *it) {
    size_t bytes = it ? strlen(it->id) + 1 : 1;
    for (size_t i = 0; it && i < it->genres.count; i++) bytes += strlen(it->genres.values[i]) + 1;
    learner_item *made = calloc(1, sizeof *made + bytes);
    if (!made) return NULL;
    made->num = num;
    made->gone = !it;
    if (!it) return made;
    made->duration_s = it->duration_s;
    made->genres = (uint32_t)it->genres.count;
    char *to = stpcpy(made->text, it->id) + 1;
    for (size_t i = 0; i < it->genres.count; i++) to = stpcpy(to, it->genres.values[i]) + 1;
    return made;
}

typedef struct items_read {
    learner_item *made;
    int rc;
    braid_error *err;
} items_read;

static bool items_read_row(void *ctx, const record_item *row) {
    items_read *x = ctx;
    arena *a = arena_new(2 * row->body_len + 512);
    model_limits limits = {.json_bytes_max = row->body_len + 1, .json_depth_max = 512};
    json_t *json = NULL;
    item *it = NULL;
    x->rc = a ? model_json_parse(row->body, row->body_len, &limits, &json, x->err)
              : error_set(x->err, BRAID_E_NO_MEMORY, "policy/learner", "no memory to read an item");
    if (x->rc == BRAID_OK) x->rc = item_from_json(json, &limits, a, &it, x->err);
    if (x->rc == BRAID_OK && !(x->made = items_new(row->num, it)))
        x->rc = error_set(x->err, BRAID_E_NO_MEMORY, "policy/learner", "no memory to read an item");
    item_release(it);
    json_decref(json);
    arena_free(a);
    return false;
}

int learner_items_get(learner_items *c, record_store *record, uint32_t num, const learner_item **out,
                      braid_error *err) {
    learner_item **slot = &c->slots[items_slot(num)];
    *out = *slot;
    if (*slot && (*slot)->num == num) return BRAID_OK;
    *out = NULL;
    items_read x = {.err = err};
    braid_error missing = {0};
    int rc = record_get_item_num(record, num, items_read_row, &x, &missing);
    if (rc == BRAID_E_NOT_FOUND) {
        x.made = items_new(num, NULL); /* numbers are never used again: gone is for ever */
        x.rc = x.made ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "policy/learner", "no memory to read an item");
    } else if (rc != BRAID_OK) {
        return error_set(err, rc, missing.store, "%s", missing.message);
    }
    if (x.rc != BRAID_OK) return x.rc;
    free(*slot);
    *out = *slot = x.made;
    return BRAID_OK;
}

void learner_items_forget(learner_items *c, uint32_t num) {
    learner_item **slot = &c->slots[items_slot(num)];
    if (!*slot || (*slot)->num != num) return;
    free(*slot);
    *slot = NULL;
}

void learner_items_clear(learner_items *c) {
    for (size_t i = 0; i < LEARNER_ITEMS_CACHED; i++) {
        free(c->slots[i]);
        c->slots[i] = NULL;
    }
}
