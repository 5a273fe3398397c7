/* The learner: a consumer of the change log that turns interactions into what is believed.
 *
 * Delivery is at least once; the result is that of one pass, because learned rows and the cursor are written in one
 * transaction and what is at or below the cursor is skipped. `position` is the same in memory: it may be ahead of the
 * stored cursor by rows that taught nothing (items, relations, and the learner's own policy rows). Those move the
 * stored cursor only every CURSOR_LAG_MAX changes, and policy rows alone never do, so that a database at rest stays
 * at rest.
 *
 * Counters of items are kept in memory, by item number, and written as absolute values. */
#include <stdlib.h>
#include <string.h>

#include "policy/learner_private.h"

enum { CURSOR_LAG_MAX = 1000, LEARNER_SCRATCH_BYTES = 256 * 1024 };

static int learner_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "policy/learner", "no memory for the learner");
}

/* ---- counters ---- */
bool learner_stats_room(policy_learner *l, uint32_t num) {
    if (num < l->stats_count) return true;
    size_t count = l->stats_count < 512 ? 1024 : l->stats_count * 2;
    if (count <= num) count = (size_t)num + 1;
    record_stats *grown = realloc(l->stats, count * sizeof *grown);
    if (!grown) return false;
    memset(grown + l->stats_count, 0, (count - l->stats_count) * sizeof *grown);
    l->stats = grown;
    l->stats_count = count;
    return true;
}

typedef struct stats_read {
    policy_learner *l;
    bool no_memory;
} stats_read;

static bool stats_read_row(void *ctx, const record_stats *row) {
    stats_read *x = ctx;
    x->no_memory = !learner_stats_room(x->l, row->num);
    if (!x->no_memory) x->l->stats[row->num] = *row;
    return !x->no_memory;
}

/* ---- open, close ---- */
int policy_learner_open(record_store *record, policy_rows *rows, catalogue *cat, const logger *log, metrics *m,
                        policy_learner **out, braid_error *err) {
    *out = NULL;
    policy_learner *l = calloc(1, sizeof *l);
    if (!l) return learner_no_memory(err);
    l->record = record;
    l->rows = rows;
    l->state_parts = POLICY_STATE_MOMENT;
    l->cat = cat;
    l->log = log;
    if (m) {
        l->learned = metrics_counter(m, "learner_interactions_total", "", "Interactions that were learned from.");
        l->refused = metrics_counter(m, "learner_refused_total", "",
                                     "Learned rows that the record store refused, mostly of people removed meanwhile.");
    }
    l->scratch = arena_new(LEARNER_SCRATCH_BYTES);
    stats_read x = {l, false};
    int rc = l->scratch ? record_cursor_get(record, POLICY_LEARNER_NAME, &l->stored, err) : learner_no_memory(err);
    if (rc == BRAID_OK) rc = record_scan_stats(record, stats_read_row, &x, err);
    if (rc == BRAID_OK && x.no_memory) rc = learner_no_memory(err);
    if (rc != BRAID_OK) {
        policy_learner_close(l);
        return rc;
    }
    l->position = l->stored;
    *out = l;
    return BRAID_OK;
}

void policy_learner_close(policy_learner *l) {
    if (!l) return;
    learner_items_clear(&l->items);
    learner_recent_clear(&l->recent);
    arena_free(l->scratch);
    free(l->stats);
    free(l);
}

void policy_learner_states(policy_learner *l, unsigned parts) {
    l->state_parts = parts;
}

int policy_learner_begin(policy_learner *l, uint64_t learned, braid_error *err) {
    stats_read x = {l, false};
    if (l->stats_count) memset(l->stats, 0, l->stats_count * sizeof *l->stats);
    learner_items_clear(&l->items);
    learner_recent_clear(&l->recent);
    int rc = record_scan_stats(l->record, stats_read_row, &x, err);
    if (rc == BRAID_OK && x.no_memory) rc = learner_no_memory(err);
    if (rc == BRAID_OK) l->position = l->stored = learned;
    return rc;
}

/* ---- apply ---- */
/* What a batch holds that is not done yet. */
typedef struct contents {
    size_t interactions;
    bool others; /* anything but policy rows */
} contents;

/* Changed items are read anew; it does no harm to do so for a batch that comes again. */
static contents apply_look(policy_learner *l, const record_log_entry *entries, size_t n) {
    contents c = {0};
    for (size_t i = 0; i < n; i++) {
        if (entries[i].kind == RECORD_ITEM) learner_items_forget(&l->items, entries[i].num);
        if (entries[i].kind == RECORD_ITEM && entries[i].remove) learner_recent_clear(&l->recent);
        if (entries[i].kind == RECORD_USER && entries[i].remove) learner_recent_forget(&l->recent, entries[i].key);
        if (entries[i].lsn <= l->position) continue;
        if (entries[i].kind == RECORD_INTERACTION) c.interactions++;
        if (entries[i].kind != RECORD_POLICY) c.others = true;
    }
    return c;
}

static int apply_cursor(policy_learner *l, uint64_t lsn, braid_error *err) {
    record_cursor cursor = {POLICY_LEARNER_NAME, lsn};
    record_change change = {.kind = RECORD_CURSOR, .cursor = &cursor};
    int rc = record_write(l->record, &change, 1, (record_write_flags){.background = true}, err);
    if (rc != BRAID_OK) return rc;
    if (change.code != BRAID_OK)
        return error_set(err, change.code, "policy/learner", "the cursor was refused: %s", change.message);
    l->stored = lsn;
    return BRAID_OK;
}

int policy_learner_apply(void *learner, const record_log_entry *entries, size_t n, uint64_t upto, arena *a,
                         braid_error *err) {
    (void)a; /* lives as long as the feed's batch; a transaction's memory goes with the transaction */
    policy_learner *l = learner;
    contents c = apply_look(l, entries, n);
    while (c.interactions && l->position < upto) {
        uint64_t done;
        size_t rows;
        int rc = learner_batch_run(l, l->position, upto, c.interactions, &done, &rows, err);
        if (rc != BRAID_OK) return rc;
        l->position = done;
        if (rows) l->stored = done;
    }
    if (l->position < upto) l->position = upto;
    bool lags = l->position >= l->stored + CURSOR_LAG_MAX;
    return lags && c.others ? apply_cursor(l, l->position, err) : BRAID_OK;
}
