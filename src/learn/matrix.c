/* Events -> one sparse matrix, readable by person (what they did, oldest first) and by item (who did).
 *
 * Two counting sorts, no comparison: the first gathers a person's events in the order they came, the second gathers
 * an item's. A person who meets an item twice has it once, at the place and with the value of the latest event,
 * since a film seen again says no more of its neighbours than before, and positions stay dense. */
#include <stdlib.h>
#include <string.h>

#include "learn/learn.h"

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "learn/matrix", "no memory for the events of people");
}

void learn_matrix_free(learn_matrix *m) {
    if (!m) return;
    free(m->user_at);
    free(m->user_item);
    free(m->user_value);
    free(m->item_at);
    free(m->item_user);
    free(m->item_pos);
    free(m);
}

/* Where each person's events begin, if all were kept. */
static int count_users(learn_matrix *m, const learn_event *events, size_t n, braid_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (events[i].user >= m->users || events[i].item >= m->items)
            return error_set(err, BRAID_E_INVALID, "learn/matrix", "event %zu names user %u of %u, item %u of %u", i,
                             events[i].user, m->users, events[i].item, m->items);
        m->user_at[events[i].user + 1]++;
    }
    for (uint32_t u = 0; u < m->users; u++) m->user_at[u + 1] += m->user_at[u];
    return BRAID_OK;
}

/* Scatters events to their persons: afterwards user_at[u] is where u's row ENDS and the next one's begins. */
static void scatter(learn_matrix *m, const learn_event *events, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint64_t to = m->user_at[events[i].user]++;
        m->user_item[to] = events[i].item;
        m->user_value[to] = events[i].value;
    }
    memmove(m->user_at + 1, m->user_at, m->users * sizeof *m->user_at);
    m->user_at[0] = 0;
}

/* Of each row the latest event of an item, at most `history_max` of them; rows close up. `met[item]` is the last
 * person, plus 1, who was seen with it. */
static void keep_latest(learn_matrix *m, size_t history_max, uint32_t *met) {
    uint64_t to = 0;
    for (uint32_t u = 0; u < m->users; u++) {
        uint64_t begin = m->user_at[u], end = m->user_at[u + 1], from = end, kept = 0;
        while (from > begin && (history_max == 0 || kept < history_max)) {
            from--;
            bool taken = met[m->user_item[from]] != u + 1;
            met[m->user_item[from]] = u + 1;
            if (m->user_value[from] == 0) taken = false; /* a latest event of no weight hides the earlier ones */
            if (taken)
                kept++;
            else
                m->user_item[from] = UINT32_MAX;
        }
        m->user_at[u] = to;
        for (uint64_t i = from; i < end; i++) {
            if (m->user_item[i] == UINT32_MAX) continue;
            m->user_item[to] = m->user_item[i];
            m->user_value[to++] = m->user_value[i];
        }
    }
    m->user_at[m->users] = m->count = to;
}

static void gather_items(learn_matrix *m) {
    for (uint64_t i = 0; i < m->count; i++) m->item_at[m->user_item[i] + 1]++;
    for (uint32_t i = 0; i < m->items; i++) m->item_at[i + 1] += m->item_at[i];
    for (uint32_t u = 0; u < m->users; u++)
        for (uint64_t i = m->user_at[u]; i < m->user_at[u + 1]; i++) {
            uint64_t to = m->item_at[m->user_item[i]]++;
            m->item_user[to] = u;
            m->item_pos[to] = (uint32_t)(i - m->user_at[u]);
        }
    memmove(m->item_at + 1, m->item_at, m->items * sizeof *m->item_at);
    m->item_at[0] = 0;
}

int learn_matrix_build(const learn_event *events, size_t n, uint32_t users, uint32_t items, size_t history_max,
                       learn_matrix **out, braid_error *err) {
    *out = NULL;
    learn_matrix *m = calloc(1, sizeof *m);
    uint32_t *met = calloc((size_t)items + 1, sizeof *met);
    int rc = BRAID_OK;
    if (!m || !met) {
        rc = no_memory(err);
        goto cleanup;
    }
    m->users = users;
    m->items = items;
    m->user_at = calloc((size_t)users + 2, sizeof *m->user_at);
    m->item_at = calloc((size_t)items + 2, sizeof *m->item_at);
    m->user_item = malloc((n + 1) * sizeof *m->user_item);
    m->user_value = malloc((n + 1) * sizeof *m->user_value);
    m->item_user = malloc((n + 1) * sizeof *m->item_user);
    m->item_pos = malloc((n + 1) * sizeof *m->item_pos);
    if (!m->user_at || !m->item_at || !m->user_item || !m->user_value || !m->item_user || !m->item_pos) {
        rc = no_memory(err);
        goto cleanup;
    }
    rc = count_users(m, events, n, err);
    if (rc != BRAID_OK) goto cleanup;
    scatter(m, events, n);
    keep_latest(m, history_max, met);
    gather_items(m);
    *out = m;
    m = NULL;
cleanup:
    free(met);
    learn_matrix_free(m);
    return rc;
}
