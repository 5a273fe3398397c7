/* Reading what people did (interactions) and what was learned from it (policies, statistics).
 *
 * As in record_sqlite_read.c, rows are borrowed while the statement stands on them. Everything is found by the
 * person's number; a name that nobody bears has no rows, which is no error. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "record/record_sqlite.h"

/* Takes a connection and the statement, and finds the person's number (-1: nobody) if `person` is asked for. */
static int events_open(record_sqlite *s, record_sqlite_sql id, const char *user_id, int64_t *person,
                       record_sqlite_conn **c, sqlite3_stmt **st, braid_error *err) {
    int code = record_sqlite_reader_take(s, c, err);
    if (code != BRAID_OK) return code;
    int rc = SQLITE_OK;
    if (person != NULL) rc = record_sqlite_number(*c, SQL_PERSON, user_id, -1, person);
    *st = rc == SQLITE_OK ? record_sqlite_stmt(*c, id) : NULL;
    if (*st != NULL) return BRAID_OK;
    code = record_sqlite_fail((*c)->db, rc != SQLITE_OK ? rc : sqlite3_extended_errcode((*c)->db), "reading", err);
    record_sqlite_reader_give(s, *c);
    return code;
}

static int events_close(record_sqlite *s, record_sqlite_conn *c, sqlite3_stmt *st, int rc, braid_error *err) {
    int code = BRAID_OK;
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) code = record_sqlite_fail(c->db, rc, "reading", err);
    sqlite3_reset(st);
    record_sqlite_reader_give(s, c);
    return code;
}

static int bind_limit(sqlite3_stmt *st, int at, size_t limit) {
    return sqlite3_bind_int64(st, at, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
}

/* ---- interactions ---- */

static bool interaction_row(sqlite3_stmt *st, record_interaction *row) {
    interaction *in = &row->in;
    memset(row, 0, sizeof *row);
    row->lsn = (uint64_t)sqlite3_column_int64(st, 0);
    row->item_num = (uint32_t)sqlite3_column_int64(st, 1);
    in->item = record_sqlite_text(st, 2);
    in->at = sqlite3_column_int64(st, 3);
    int type = sqlite3_column_int(st, 4);
    in->type = (interaction_type)type;
    in->watch_s = sqlite3_column_type(st, 5) == SQLITE_NULL ? -1 : sqlite3_column_int(st, 5);
    in->rating = sqlite3_column_type(st, 6) == SQLITE_NULL ? NAN : sqlite3_column_double(st, 6);
    in->agent = sqlite3_column_type(st, 7) == SQLITE_NULL ? "default" : record_sqlite_text(st, 7);
    in->session = record_sqlite_text(st, 8);
    in->recommendation_id = record_sqlite_text(st, 9);
    in->idempotency_key = record_sqlite_text(st, 10);
    in->device = record_sqlite_text(st, 11);
    in->daypart = record_sqlite_text(st, 12);
    in->region = record_sqlite_text(st, 13);
    in->mood = record_sqlite_text(st, 14);
    in->simulated = sqlite3_column_int(st, 15) != 0;
    row->attribution = sqlite3_column_type(st, 16) == SQLITE_NULL ? NULL : record_sqlite_text(st, 16);
    in->user = record_sqlite_text(st, 17);
    return type >= 0 && type < (int)INTERACTION_TYPES && in->user[0] != '\0' && in->item[0] != '\0';
}

static int bad_row(record_sqlite_conn *c) {
    return sqlite3_errcode(c->db) == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
}

/* Hands rows on; *last is the LSN of the last one. `until` 0: no slice. Returns true when the slice is over. */
static bool interactions_each(record_sqlite *s, record_sqlite_conn *c, sqlite3_stmt *st, int64_t until,
                              record_interaction_fn *each, void *ctx, uint64_t *last, size_t *left, int *rc) {
    record_interaction row;
    for (unsigned n = 1; *rc == SQLITE_OK || *rc == SQLITE_ROW; n++) {
        *rc = sqlite3_step(st);
        if (*rc == SQLITE_ROW && !interaction_row(st, &row)) *rc = bad_row(c);
        if (*rc != SQLITE_ROW) return false;
        *last = row.lsn;
        --*left;
        if (!each(ctx, &row)) return false;
        if (until != 0 && n % 16 == 0 && record_sqlite_now(s) > until) return true;
    }
    return false;
}

int record_sqlite_user_interactions(void *self, const char *user_id, size_t limit, deadline until,
                                    record_interaction_fn *each, void *ctx, braid_error *err) {
    (void)until; /* a local read is quick */
    record_sqlite *s = self;
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    int64_t person = -1;
    uint64_t last = 0;
    int code = events_open(s, SQL_PERSON_INTERACTIONS, user_id, &person, &c, &st, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_int64(st, 1, person) | sqlite3_bind_text(st, 2, user_id, -1, SQLITE_STATIC) |
             bind_limit(st, 3, limit);
    interactions_each(s, c, st, 0, each, ctx, &last, &limit, &rc);
    return events_close(s, c, st, rc, err);
}

int record_sqlite_scan_interactions(void *self, uint64_t after_lsn, uint64_t upto_lsn, size_t limit,
                                    record_interaction_fn *each, void *ctx, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    bool more = after_lsn < upto_lsn && after_lsn < INT64_MAX;
    if (!more) return BRAID_OK;
    int rc = SQLITE_OK, code = events_open(s, SQL_INTERACTIONS_SCAN, NULL, NULL, &c, &st, err);
    if (code != BRAID_OK) return code;
    while (more && limit > 0) {
        sqlite3_reset(st);
        rc = sqlite3_bind_int64(st, 1, (int64_t)after_lsn) |
             sqlite3_bind_int64(st, 2, upto_lsn > INT64_MAX ? INT64_MAX : (int64_t)upto_lsn) | bind_limit(st, 3, limit);
        int64_t until = record_sqlite_now(s) + RECORD_SQLITE_SLICE_MS * INT64_C(1000000);
        more = interactions_each(s, c, st, until, each, ctx, &after_lsn, &limit, &rc);
    }
    return events_close(s, c, st, rc, err);
}

/* ---- policies ---- */

/* One row on loan: its actions live until the next row. */
typedef struct policy_read {
    record_policy row;
    char hash[RECORD_HASH_BYTES];
    record_action *actions;
    size_t room;
} policy_read;

static int policy_row(record_sqlite_conn *c, sqlite3_stmt *st, policy_read *p) {
    bool no_memory = false;
    p->row.agent = record_sqlite_text(st, 0);
    p->row.state_hash = p->hash;
    p->row.state = record_sqlite_text(st, 2);
    p->row.version = (uint64_t)sqlite3_column_int64(st, 3);
    const void *data = sqlite3_column_blob(st, 4);
    size_t len = (size_t)sqlite3_column_bytes(st, 4);
    if (!record_sqlite_hash(st, 1, p->hash, sizeof p->hash)) return bad_row(c);
    if (!record_sqlite_actions_read(data, len, &p->actions, &p->room, &p->row.action_count, &no_memory))
        return no_memory ? SQLITE_NOMEM : bad_row(c);
    p->row.actions = p->actions;
    return SQLITE_ROW;
}

int record_sqlite_user_policies(void *self, const char *agent, const char *user_id, record_policy_fn *each, void *ctx,
                                braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    int64_t person = -1;
    policy_read p = {.row.user = user_id};
    int code =
        events_open(s, agent != NULL ? SQL_PERSON_POLICIES_OF : SQL_PERSON_POLICIES, user_id, &person, &c, &st, err);
    if (code != BRAID_OK) return code;
    int rc = sqlite3_bind_int64(st, 1, person);
    if (agent != NULL) rc |= sqlite3_bind_text(st, 2, agent, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(st);
        if (rc == SQLITE_ROW) rc = policy_row(c, st, &p);
        if (rc != SQLITE_ROW || !each(ctx, &p.row)) break;
    }
    free(p.actions);
    return events_close(s, c, st, rc, err);
}

/* One key. Returns an SQLite code; *more false when `each` has had enough. */
static int policy_get(record_sqlite_conn *c, sqlite3_stmt *st, const char *agent, const record_policy_key *key,
                      size_t which, policy_read *p, record_policy_key_fn *each, void *ctx, bool *more) {
    p->row.user = key->user;
    int rc = sqlite3_bind_text(st, 1, key->user, -1, SQLITE_STATIC) |
             sqlite3_bind_text(st, 2, agent, -1, SQLITE_STATIC) | record_sqlite_bind_hash(st, 3, key->state_hash);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) rc = policy_row(c, st, p);
    if (rc == SQLITE_ROW) *more = each(ctx, which, &p->row);
    int reset = sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? reset : rc;
}

int record_sqlite_get_policies(void *self, const char *agent, const record_policy_key *keys, size_t n, deadline until,
                               record_policy_key_fn *each, void *ctx, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    policy_read p = {0};
    bool more = true;
    (void)until; /* local reads are quick */
    int code = events_open(s, SQL_POLICY_GET, NULL, NULL, &c, &st, err);
    if (code != BRAID_OK) return code;
    int rc = n > 1 ? record_sqlite_exec(c, SQL_BEGIN_READ) : SQLITE_OK; /* SQLite's locks are taken once, not a key */
    for (size_t i = 0; i < n && more && rc == SQLITE_OK; i++)
        rc = policy_get(c, st, agent, &keys[i], i, &p, each, ctx, &more);
    if (!sqlite3_get_autocommit(c->db)) record_sqlite_exec(c, SQL_COMMIT);
    free(p.actions);
    return events_close(s, c, st, rc, err);
}

/* ---- statistics ---- */

static bool stats_slice(record_sqlite *s, sqlite3_stmt *st, uint32_t *after, record_stats_fn *each, void *ctx,
                        int *rc) {
    int64_t until = record_sqlite_now(s) + RECORD_SQLITE_SLICE_MS * INT64_C(1000000);
    sqlite3_reset(st);
    *rc = sqlite3_bind_int64(st, 1, *after);
    for (unsigned n = 1; *rc == SQLITE_OK || *rc == SQLITE_ROW; n++) {
        *rc = sqlite3_step(st);
        if (*rc != SQLITE_ROW) return false;
        record_stats row = {.num = (uint32_t)sqlite3_column_int64(st, 0),
                            .interactions = sqlite3_column_double(st, 1),
                            .reward_sum = sqlite3_column_double(st, 2),
                            .last_at = sqlite3_column_int64(st, 3),
                            .recent = sqlite3_column_double(st, 4)};
        *after = row.num;
        if (!each(ctx, &row)) return false;
        if (n % 16 == 0 && record_sqlite_now(s) > until) return true;
    }
    return false;
}

int record_sqlite_scan_stats(void *self, record_stats_fn *each, void *ctx, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    sqlite3_stmt *st;
    uint32_t after = 0;
    int rc = SQLITE_OK, code = events_open(s, SQL_STATS_SCAN, NULL, NULL, &c, &st, err);
    if (code != BRAID_OK) return code;
    while (stats_slice(s, st, &after, each, ctx, &rc)) {}
    return events_close(s, c, st, rc, err);
}
