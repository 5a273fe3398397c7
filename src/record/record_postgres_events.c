/* Reading what people did (interactions) and what was learned from it (policies, statistics).
 *
 * Histories and scans go in pages by key. A name that nobody bears has no rows, which is no error. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "record/record_postgres.h"

/* ---- interactions: RECORD_POSTGRES_INTERACTION_COLUMNS ---- */

static bool interaction_row(pg_row *row, record_interaction *out) {
    interaction *in = &out->in;
    int64_t num = pg_int8(row, 1);
    int type = pg_int2(row, 4);
    memset(out, 0, sizeof *out);
    out->lsn = (uint64_t)pg_int8(row, 0);
    out->item_num = (uint32_t)num;
    in->item = pg_text(row, 2, NULL);
    in->at = pg_wall_ms(pg_int8(row, 3));
    in->type = (interaction_type)type;
    in->watch_s = pg_null(row, 5) ? -1 : pg_int4(row, 5);
    in->rating = pg_null(row, 6) ? NAN : pg_double(row, 6);
    in->agent = pg_null(row, 7) ? "default" : pg_text(row, 7, NULL);
    in->session = pg_text(row, 8, NULL);
    in->recommendation_id = pg_text(row, 9, NULL);
    in->idempotency_key = pg_text(row, 10, NULL);
    in->device = pg_text(row, 11, NULL);
    in->daypart = pg_text(row, 12, NULL);
    in->region = pg_text(row, 13, NULL);
    in->mood = pg_text(row, 14, NULL);
    in->simulated = !pg_null(row, 15) && pg_bool(row, 15);
    out->attribution = pg_null(row, 16) ? NULL : pg_text(row, 16, NULL);
    in->user = pg_text(row, 17, NULL);
    return !row->bad && type >= 0 && type < (int)INTERACTION_TYPES && num > 0 && num <= UINT32_MAX &&
           in->user[0] != '\0' && in->item[0] != '\0';
}

/* Where a page of a history begins. */
typedef struct place {
    int64_t at, lsn;
} place;

static int interactions_each(const PGresult *r, record_interaction_fn *each, void *ctx, place *last, bool *go_on,
                             braid_error *err) {
    for (int i = 0; *go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        record_interaction in;
        if (!interaction_row(&row, &in)) return record_postgres_corrupt("reading interactions", err);
        *last = (place){pg_int8(&row, 3), (int64_t)in.lsn};
        *go_on = each(ctx, &in);
    }
    return BRAID_OK;
}

int record_postgres_user_interactions(void *self, const char *user_id, size_t limit, deadline until,
                                      record_interaction_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    place last = {INT64_MAX, INT64_MAX}; /* infinity */
    bool go_on = true;
    int code = BRAID_OK;
    until = record_postgres_until(self, until);
    pg_params_init(&p);
    for (size_t got = 1; code == BRAID_OK && go_on && limit > 0 && got > 0;) {
        PGresult *r = NULL;
        size_t page = limit < RECORD_POSTGRES_PAGE ? limit : RECORD_POSTGRES_PAGE;
        pg_params_reset(&p);
        pg_bind_text(&p, user_id);
        pg_bind_int8(&p, last.at);
        pg_bind_int8(&p, last.lsn);
        pg_bind_int8(&p, (int64_t)page);
        code = record_postgres_read(self, SQL_PERSON_INTERACTIONS, &p, until, "reading a history", &r, err);
        got = code == BRAID_OK ? (size_t)pg_rows(r) : 0;
        limit -= got;
        if (code == BRAID_OK) code = interactions_each(r, each, ctx, &last, &go_on, err);
        if (got < page) got = 0;
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}

int record_postgres_scan_interactions(void *self, uint64_t after_lsn, uint64_t upto_lsn, size_t limit,
                                      record_interaction_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    if (after_lsn >= upto_lsn || after_lsn >= INT64_MAX) return BRAID_OK;
    place last = {0, (int64_t)after_lsn};
    bool go_on = true;
    int code = BRAID_OK;
    pg_params_init(&p);
    for (size_t got = 1; code == BRAID_OK && go_on && limit > 0 && got > 0;) {
        PGresult *r = NULL;
        size_t page = limit < RECORD_POSTGRES_PAGE ? limit : RECORD_POSTGRES_PAGE;
        pg_params_reset(&p);
        pg_bind_int8(&p, last.lsn);
        pg_bind_int8(&p, upto_lsn > INT64_MAX ? INT64_MAX : (int64_t)upto_lsn);
        pg_bind_int8(&p, (int64_t)page);
        code = record_postgres_read(self, SQL_INTERACTIONS_SCAN, &p, 0, "reading interactions", &r, err);
        got = code == BRAID_OK ? (size_t)pg_rows(r) : 0;
        limit -= got;
        if (code == BRAID_OK) code = interactions_each(r, each, ctx, &last, &go_on, err);
        if (got < page) got = 0;
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}

/* ---- policies: RECORD_POSTGRES_POLICY_COLUMNS ---- */

/* Fills `out`; names of actions and their list live in `a`. */
static int policy_row(pg_row *row, const char *user_id, arena *a, record_policy *out, braid_error *err) {
    pg_elements names, means, variances, counts, versions;
    memset(out, 0, sizeof *out);
    out->agent = pg_text(row, 0, NULL);
    out->user = user_id;
    out->state_hash = pg_text(row, 1, NULL);
    out->state = pg_text(row, 2, NULL);
    out->version = (uint64_t)pg_int8(row, 3);
    uint32_t n = pg_elements_open(&names, row, 4, 't');
    if (pg_elements_open(&means, row, 5, 'd') != n || pg_elements_open(&variances, row, 6, 'd') != n ||
        pg_elements_open(&counts, row, 7, 'd') != n || pg_elements_open(&versions, row, 8, 'l') != n)
        row->bad = true;
    record_action *actions = !row->bad ? arena_calloc(a, n + (size_t)1, sizeof *actions) : NULL;
    if (!row->bad && actions == NULL) return record_postgres_no_memory(err);
    for (uint32_t i = 0; !row->bad && i < n; i++) {
        size_t len = 0;
        const char *name = pg_element_text(&names, &len);
        actions[i].action = name != NULL ? arena_strndup(a, name, len) : "";
        if (actions[i].action == NULL) return record_postgres_no_memory(err);
        actions[i].mean = pg_element_double(&means);
        actions[i].variance = pg_element_double(&variances);
        actions[i].count = pg_element_double(&counts);
        actions[i].version = (uint64_t)pg_element_int8(&versions);
    }
    out->actions = actions;
    out->action_count = n;
    return row->bad ? record_postgres_corrupt("reading policies", err) : BRAID_OK;
}

int record_postgres_user_policies(void *self, const char *agent, const char *user_id, record_policy_fn *each, void *ctx,
                                  braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    arena *a = arena_new(4096);
    bool go_on = true;
    if (a == NULL) return record_postgres_no_memory(err);
    pg_params_init(&p);
    pg_bind_text(&p, user_id);
    pg_bind_text(&p, agent);
    int code = record_postgres_read(self, SQL_PERSON_POLICIES, &p, 0, "reading policies", &r, err);
    for (int i = 0; code == BRAID_OK && go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        record_policy policy;
        arena_reset(a);
        code = policy_row(&row, user_id, a, &policy, err);
        if (code == BRAID_OK) go_on = each(ctx, &policy);
    }
    PQclear(r);
    pg_params_free(&p);
    arena_free(a);
    return code;
}

int record_postgres_get_policies(void *self, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                                 record_policy_key_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    bool go_on = true;
    arena *a = n > 0 ? arena_new(4096) : NULL;
    if (n == 0) return BRAID_OK;
    if (a == NULL) return record_postgres_no_memory(err);
    pg_params_init(&p);
    pg_bind_text(&p, agent);
    if (n == 1) {
        pg_bind_text(&p, keys[0].user);
        pg_bind_text(&p, keys[0].state_hash);
    } else {
        pg_array_begin(&p, 't', n);
        for (size_t i = 0; i < n; i++) pg_add_text(&p, keys[i].user);
        pg_array_end(&p);
        pg_array_begin(&p, 't', n);
        for (size_t i = 0; i < n; i++) pg_add_text(&p, keys[i].state_hash);
        pg_array_end(&p);
    }
    int code =
        record_postgres_read(self, n == 1 ? SQL_POLICY_GET : SQL_POLICIES_GET, &p, until, "reading policies", &r, err);
    for (int i = 0; code == BRAID_OK && go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        record_policy policy;
        int64_t which = pg_int8(&row, 9);
        arena_reset(a);
        if (which < 1 || (uint64_t)which > n)
            code = record_postgres_corrupt("reading policies", err);
        else
            code = policy_row(&row, keys[which - 1].user, a, &policy, err);
        if (code == BRAID_OK) go_on = each(ctx, (size_t)which - 1, &policy);
    }
    PQclear(r);
    pg_params_free(&p);
    arena_free(a);
    return code;
}

/* ---- statistics ---- */

int record_postgres_scan_stats(void *self, record_stats_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    bool go_on = true;
    int64_t after = 0;
    int code = BRAID_OK;
    pg_params_init(&p);
    for (int got = RECORD_POSTGRES_PAGE; code == BRAID_OK && go_on && got == RECORD_POSTGRES_PAGE;) {
        PGresult *r = NULL;
        pg_params_reset(&p);
        pg_bind_int8(&p, after);
        pg_bind_int8(&p, RECORD_POSTGRES_PAGE);
        code = record_postgres_read(self, SQL_STATS_SCAN, &p, 0, "reading statistics", &r, err);
        got = code == BRAID_OK ? pg_rows(r) : 0;
        for (int i = 0; go_on && i < got; i++) {
            pg_row row = {.r = r, .row = i};
            after = pg_int8(&row, 0);
            record_stats one = {.num = (uint32_t)after,
                                .interactions = pg_double(&row, 1),
                                .reward_sum = pg_double(&row, 2),
                                .last_at = pg_int8(&row, 3),
                                .recent = pg_double(&row, 4)};
            if (row.bad || after <= 0 || after > UINT32_MAX) {
                code = record_postgres_corrupt("reading statistics", err);
                break;
            }
            go_on = each(ctx, &one);
        }
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}
