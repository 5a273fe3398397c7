/* What was fitted -> the record store: one row an item and model, in slices that let acknowledged writers in
 * between. What an earlier fit said and this one does not goes in the same pass. */
#include <stdio.h>
#include <stdlib.h>

#include "policy/fit_private.h"

enum { WRITE_SLICE = 500 };

typedef struct writing {
    fit *f;
    policy_model model;
    record_change changes[WRITE_SLICE];
    record_neighbours rows[WRITE_SLICE];
    record_neighbour *lists;
    size_t count, used, room;
} writing;

static int writing_flush(writing *w) {
    if (w->count == 0) return BRAID_OK;
    int rc = record_write(w->f->record, w->changes, w->count, (record_write_flags){.background = true}, w->f->err);
    /* NOT_FOUND: the item was removed while its neighbours were learned. */
    for (size_t i = 0; rc == BRAID_OK && i < w->count; i++)
        if (w->changes[i].code != BRAID_OK && w->changes[i].code != BRAID_E_NOT_FOUND)
            rc = error_set(w->f->err, w->changes[i].code, "policy/fit", "%s", w->changes[i].message);
    w->count = w->used = 0;
    return rc;
}

static int writing_row(writing *w, uint32_t num, const learn_edges *edges, int64_t at) {
    uint64_t begin = num < edges->items ? edges->at[num] : 0, end = num < edges->items ? edges->at[num + 1] : 0;
    size_t n = (size_t)(end - begin);
    record_neighbour *list = w->lists + w->used;
    for (size_t i = 0; i < n; i++) list[i] = (record_neighbour){edges->item[begin + i], edges->weight[begin + i]};
    w->rows[w->count] =
        (record_neighbours){.num = num, .model = policy_model_name(w->model), .at = at, .list = list, .count = n};
    w->changes[w->count] = (record_change){.kind = RECORD_NEIGHBOURS, .neighbours = &w->rows[w->count]};
    w->used += n;
    return ++w->count == WRITE_SLICE ? writing_flush(w) : BRAID_OK;
}

/* Items of which an earlier fit said something: their rows go, unless they are written anew. */
static bool note_old(void *ctx, const record_neighbours *row) {
    bitset *old = ctx;
    if (row->num < old->bits) bitset_set(old, row->num);
    return true;
}

int fit_write(fit *f, policy_model model, const learn_edges *edges) {
    writing *w = malloc(sizeof *w);
    bitset old = {0};
    uint32_t bits = catalogue_bits(f->cat) > edges->items ? catalogue_bits(f->cat) : edges->items;
    int rc = BRAID_OK;
    if (!w || !bitset_init(&old, bits)) {
        rc = fit_no_memory(f->err);
        goto cleanup;
    }
    *w = (writing){.f = f, .model = model};
    w->lists = malloc((size_t)WRITE_SLICE * RECORD_NEIGHBOURS_MAX * sizeof *w->lists);
    rc = w->lists ? record_scan_neighbours(f->record, policy_model_name(model), 0, note_old, &old, f->err)
                  : fit_no_memory(f->err);
    int64_t at = clock_wall_ms(f->clock);
    for (uint32_t num = 0; rc == BRAID_OK && num < bits; num++) {
        bool any = num < edges->items && edges->at[num + 1] > edges->at[num];
        /* a refresh has nothing to say of it */
        bool kept = f->only && !any && !(num < f->only->bits && bitset_has(f->only, num));
        if (any || (bitset_has(&old, num) && !kept)) rc = writing_row(w, num, edges, at);
        if (rc == BRAID_OK && num % 4096 == 0 && !fit_tell(f, num, bits))
            rc = error_set(f->err, BRAID_E_CLOSED, "policy/fit", "stopped; learning again writes the rest");
    }
    if (rc == BRAID_OK) rc = writing_flush(w);
cleanup:
    bitset_free(&old);
    if (w) free(w->lists);
    free(w);
    return rc;
}

int fit_write_weights(fit *f, const policy_weights *w) {
    enum { ACTIONS = 2 * POLICY_FEATURE_COUNT + 1 };
    record_action actions[ACTIONS];
    char names[POLICY_FEATURE_COUNT][48];
    record_policy row = {.agent = POLICY_RANKING_AGENT,
                         .user = "",
                         .state_hash = POLICY_RANKING_STATE,
                         .state = "the ranking",
                         .actions = actions,
                         .action_count = ACTIONS,
                         .version = f->last_lsn};
    for (int i = 0; i < POLICY_FEATURE_COUNT; i++) {
        const char *name = policy_feature_name((policy_feature)i);
        snprintf(names[i], sizeof names[i], "%s%s", POLICY_RANKING_FRESH, name);
        actions[2 * i] = (record_action){name, w->mean[i], 0, (double)w->lists, f->last_lsn};
        actions[2 * i + 1] = (record_action){names[i], w->fresh[i], 0, (double)w->fresh_lists, f->last_lsn};
    }
    actions[ACTIONS - 1] = (record_action){POLICY_RANKING_BASE, 0, 0, (double)f->last_lsn, f->last_lsn};
    record_change change = {.kind = RECORD_POLICY, .policy = &row};
    int rc = record_write(f->record, &change, 1, (record_write_flags){.background = true}, f->err);
    if (rc == BRAID_OK && change.code != BRAID_OK)
        rc = error_set(f->err, change.code, "policy/fit", "%s", change.message);
    return rc;
}
