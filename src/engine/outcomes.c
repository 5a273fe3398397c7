/* Slates joined with what followed.
 *
 * An interaction names the answer that it came from (recommendation_id); it counts for the place at which its item
 * stood. What somebody did several times with an item counts once, at its best: a click that became a film watched
 * to its end is that film. Slates are read once and interactions once, in order; what is held is a few dozen bytes a
 * slate, whatever is in it. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "engine/outcomes.h"

enum { INTERACTIONS_A_READ = 5000 };

typedef struct reading {
    braid_db *db;
    outcomes *o;
    outcomes_want *want;
    void *ctx;
    arena *a;
    int rc;
    braid_error *err;
    uint64_t last_lsn;
    size_t rows;
} reading;

static bool no_memory(reading *r) {
    r->rc = error_set(r->err, BRAID_E_NO_MEMORY, "engine", "no memory for what was shown");
    return false;
}

static bool grow(outcomes *o, size_t places) {
    if (o->count == o->cap) {
        size_t cap = o->cap ? o->cap * 2 : 1024;
        outcome *list = realloc(o->list, cap * sizeof *list);
        if (!list) return false;
        o->list = list;
        o->cap = cap;
    }
    if (o->place_count + places > o->place_cap) {
        size_t cap = o->place_cap ? o->place_cap * 2 : 8192;
        if (cap < o->place_count + places) cap = o->place_count + places;
        uint32_t *nums = realloc(o->nums, cap * sizeof *nums);
        if (nums) o->nums = nums;
        int8_t *teams = nums ? realloc(o->teams, cap * sizeof *teams) : NULL;
        if (teams) o->teams = teams;
        float *rewards = teams ? realloc(o->rewards, cap * sizeof *rewards) : NULL;
        if (!rewards) return false;
        o->rewards = rewards;
        o->place_cap = cap;
    }
    return true;
}

static bool read_slate(void *ctx, const record_slate *row) {
    reading *r = ctx;
    outcomes *o = r->o;
    judge_log shown;
    braid_error unreadable = {0};
    uint32_t tag = 0;
    arena_reset(r->a);
    /* of another form: not evidence */
    if (judge_log_read(row->body, row->body_len, r->a, &shown, &unreadable) != BRAID_OK) return true;
    size_t n = r->want(r->ctx, row, &shown, &tag);
    if (n > shown.place_count) n = shown.place_count;
    if (n == 0) return true;
    o->full = o->count == OUTCOMES_MAX;
    if (o->full) return false;
    if (!grow(o, n) || !map_put(o->ids, row->id, o->count)) return no_memory(r);
    o->list[o->count++] =
        (outcome){XXH3_64bits(row->user, strlen(row->user)), (uint32_t)o->place_count, (uint32_t)n, tag};
    for (size_t i = 0; i < n; i++, o->place_count++) {
        o->nums[o->place_count] = shown.places[i].num;
        o->teams[o->place_count] = shown.places[i].team;
        o->rewards[o->place_count] = 0;
    }
    return true;
}

static bool read_interaction(void *ctx, const record_interaction *row) {
    reading *r = ctx;
    outcomes *o = r->o;
    uint64_t which;
    int32_t duration = 0;
    r->rows++;
    r->last_lsn = row->lsn;
    if (!row->in.recommendation_id[0] || !map_get(o->ids, row->in.recommendation_id, &which)) return true;
    const outcome *x = &o->list[which];
    if (x->person != XXH3_64bits(row->in.user, strlen(row->in.user))) return true;
    catalogue_durations(r->db->catalogue, &row->item_num, 1, &duration);
    float reward = (float)policy_reward(&row->in, duration);
    for (uint32_t i = x->first; i < x->first + x->count; i++)
        if (o->nums[i] == row->item_num && reward > o->rewards[i]) o->rewards[i] = reward;
    return true;
}

int outcomes_load(braid_db *db, const char *agent, int64_t from, int64_t until, outcomes_want *want, void *ctx,
                  outcomes *out, braid_error *err) {
    *out = (outcomes){.ids = map_new(1024)};
    reading r = {.db = db, .o = out, .want = want, .ctx = ctx, .a = arena_new(32 * 1024), .err = err};
    int rc = out->ids && r.a ? BRAID_OK : error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for what was shown");
    if (rc == BRAID_OK) rc = record_scan_slates(db->record, agent, from, until, read_slate, &r, err);
    if (rc == BRAID_OK) rc = r.rc;
    uint64_t head = record_head(db->record);
    do {
        r.rows = 0;
        if (rc == BRAID_OK && out->count > 0)
            rc = record_scan_interactions(db->record, r.last_lsn, head, INTERACTIONS_A_READ, read_interaction, &r, err);
    } while (rc == BRAID_OK && r.rows > 0);
    arena_free(r.a);
    return rc;
}

void outcomes_free(outcomes *o) {
    map_free(o->ids);
    free(o->list);
    free(o->nums);
    free(o->teams);
    free(o->rewards);
    *o = (outcomes){0};
}
