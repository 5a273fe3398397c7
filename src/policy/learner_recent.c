/* The learner's people: the newest items that each of them judged, for the taste in their states.
 *
 * What is kept of a person is a fold over their interactions in the order of the log, and reading it from the record
 * store gives the same: the newest ten by (at, lsn) of those below the interaction that is to be learned, each item
 * with its latest judgement. So a state does not depend on what is in memory, on where batches end, or on whether a
 * batch is run for the second time. An entry is only right as long as everything after it was added; so whoever gives
 * a batch up, or hears that a person or an item is gone, forgets.
 *
 * A direct-mapped table like that of items: whoever is here now does several things. At most 32,768 people, 10 MB. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "policy/learner_private.h"

static learner_person **recent_slot(learner_recent *c, const char *person) {
    return &c->slots[XXH3_64bits(person, strlen(person)) & (LEARNER_PEOPLE_CACHED - 1)];
}

static bool newer(const learner_judged *a, const learner_judged *b) {
    return a->at != b->at ? a->at > b->at : a->lsn > b->lsn;
}

void learner_recent_add(learner_person *p, const learner_judged *judged) {
    size_t i = 0, to = 0;
    while (i < p->count && p->items[i].num != judged->num) i++;
    if (i < p->count) {
        if (newer(&p->items[i], judged)) return; /* an older judgement of it comes late */
        memmove(p->items + i, p->items + i + 1, (p->count - i - 1) * sizeof *p->items);
        p->count--;
    }
    while (to < p->count && newer(&p->items[to], judged)) to++;
    if (to == POLICY_TASTE_ITEMS) return;
    if (p->count == POLICY_TASTE_ITEMS) p->count--;
    memmove(p->items + to + 1, p->items + to, (p->count - to) * sizeof *p->items);
    p->items[to] = *judged;
    p->count++;
}

typedef struct recent_read {
    learner_person *made;
    uint64_t before;
} recent_read;

static bool recent_row(void *ctx, const record_interaction *row) {
    recent_read *x = ctx;
    if (row->lsn >= x->before || !policy_judges(row->in.type)) return true;
    learner_judged judged = {row->item_num, row->in.type, row->in.watch_s, row->in.rating, row->in.at, row->lsn};
    learner_recent_add(x->made, &judged);
    return x->made->count < POLICY_TASTE_ITEMS; /* what is older has no place */
}

int learner_recent_get(learner_recent *c, record_store *record, const char *person, uint64_t lsn, learner_person **out,
                       braid_error *err) {
    learner_person **slot = recent_slot(c, person);
    *out = *slot;
    if (*slot && strcmp((*slot)->id, person) == 0) return BRAID_OK;
    *out = NULL;
    size_t bytes = strlen(person) + 1;
    recent_read x = {calloc(1, sizeof *x.made + bytes), lsn};
    if (!x.made) return error_set(err, BRAID_E_NO_MEMORY, "policy/learner", "no memory to read what a person judged");
    memcpy(x.made->id, person, bytes);
    int rc = record_user_interactions(record, person, SIZE_MAX, 0, recent_row, &x, err);
    if (rc != BRAID_OK) {
        free(x.made);
        return rc;
    }
    free(*slot);
    *out = *slot = x.made;
    return BRAID_OK;
}

void learner_recent_forget(learner_recent *c, const char *person) {
    learner_person **slot = recent_slot(c, person);
    if (!*slot || strcmp((*slot)->id, person) != 0) return;
    free(*slot);
    *slot = NULL;
}

void learner_recent_clear(learner_recent *c) {
    for (size_t i = 0; i < LEARNER_PEOPLE_CACHED; i++) {
        free(c->slots[i]);
        c->slots[i] = NULL;
    }
}
