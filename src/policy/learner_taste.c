/* The taste in a row's state: what its person liked most just before it.
 *
 * The row's own item has no vote: what somebody thinks of a film is learned under the state in which they chose it.
 * An item is read once a batch, however many people judged it. */
#include <string.h>

#include "policy/learner_batch.h"

static bool taste_room(batch *b, uint32_t i) {
    if (i < b->tastes_cap) return true;
    size_t cap = b->tastes_cap ? b->tastes_cap * 2 : 256;
    batch_judged *grown = arena_calloc(b->a, cap, sizeof *grown);
    if (!grown) return false;
    if (b->tastes_cap) memcpy(grown, b->tastes, b->tastes_cap * sizeof *grown);
    b->tastes = grown;
    b->tastes_cap = cap;
    return true;
}

static bool taste_fill(batch *b, batch_judged *to, const learner_item *it) {
    const char *genre = it->text + strlen(it->text) + 1;
    to->genres = arena_alloc(b->a, (it->genres + 1) * sizeof *to->genres);
    for (uint32_t i = 0; to->genres && i < it->genres; i++, genre += strlen(genre) + 1)
        if (!(to->genres[to->genre_count++] = arena_strdup(b->a, genre))) return false;
    to->duration_s = it->duration_s;
    to->known = true;
    return to->genres != NULL;
}

/* What the batch knows of an item, read when it is met first. */
static int taste_item(batch *b, uint32_t num, const batch_judged **out) {
    uint32_t i = policy_intern_add(&b->judged, &num, sizeof num);
    if (i == POLICY_INTERN_NONE || !taste_room(b, i)) return batch_no_memory(b);
    *out = &b->tastes[i];
    if (b->tastes[i].known) return BRAID_OK;
    const learner_item *it;
    int rc = learner_items_get(&b->l->items, b->l->record, num, &it, b->err);
    return rc == BRAID_OK && !taste_fill(b, &b->tastes[i], it) ? batch_no_memory(b) : rc;
}

static int taste_of(batch *b, const learner_person *p, policy_taste *votes) {
    for (size_t place = 0; place < p->count; place++) {
        const learner_judged *j = &p->items[place];
        const batch_judged *it = NULL;
        interaction in = {.type = j->type, .watch_s = j->watch_s, .rating = j->rating};
        int rc = taste_item(b, j->num, &it);
        if (rc != BRAID_OK) return rc;
        if (policy_reward(&in, it->duration_s) < POLICY_LIKED) continue;
        for (uint32_t g = 0; g < it->genre_count; g++) policy_taste_vote(votes, place, it->genres[g]);
    }
    return BRAID_OK;
}

static bool taste_state(batch *b, batch_row *r, const char *taste) {
    policy_state state = b->state_list[r->state];
    policy_state_taste(&state, taste);
    uint32_t with = policy_intern_text(&b->states, state.text);
    if (with == POLICY_INTERN_NONE) return false;
    b->state_list[with] = state;
    r->state = with;
    return true;
}

int batch_taste(batch *b, batch_row *r) {
    learner_person *p;
    policy_taste votes = {0};
    int rc =
        learner_recent_get(&b->l->recent, b->l->record, policy_intern_name(&b->users, r->user), r->lsn, &p, b->err);
    if (rc == BRAID_OK) rc = taste_of(b, p, &votes);
    if (rc != BRAID_OK) return rc;
    if (!taste_state(b, r, policy_taste_winner(&votes))) return batch_no_memory(b);
    if (policy_judges(r->type))
        learner_recent_add(p, &(learner_judged){r->item_num, r->type, r->watch_s, r->rating, r->at, r->lsn});
    return BRAID_OK;
}
