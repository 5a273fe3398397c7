/* Roll-ups hour by hour and agent by agent: what was shown, how much of it to learn, what came of it.
 *
 * Episodes have no order by time here, only by number, and what was imported is old and has new numbers. So they are
 * added up as they come: two cursors in meta (episodes of interactions, and those of their own) say which numbers are
 * in the table, and move in the transaction that adds the next slice. Rolling up again finds nothing new; a late row is
 * counted in its own hour, however long ago that was; what is forgotten or deleted later stays counted. Numbers of
 * people would not add up that way, so they are not kept. Slates have an index by time and are counted anew from an
 * hour on; an hour never shrinks, since slates are forgotten before it is.
 *
 * Each slice is a transaction of its own behind the writers that wait, as forgetting is. */
#include "record/record_sqlite.h"

enum { HOURS_SLICE = 2000 };
#define HOUR_MS INT64_C(3600000)

typedef enum hours_stage { HOURS_LEARNED, HOURS_GIVEN, HOURS_SLATES, HOURS_DONE } hours_stage;

typedef struct hours_work {
    hours_stage stage;
    int64_t from; /* of slates: the time that is looked at next */
} hours_work;

static int64_t hour_of(int64_t at) {
    int64_t over = at % HOUR_MS;
    return at - (over < 0 ? over + HOUR_MS : over);
}

/* The next numbers after the cursor. */
static int hours_episodes(record_sqlite *s, hours_work *w) {
    bool learned = w->stage == HOURS_LEARNED, found = false;
    const char *cursor = learned ? "hours_learned" : "hours_given";
    int64_t from = 0, upto = 0;
    int rc = record_sqlite_number(&s->writer, SQL_META_GET, cursor, 0, &from);
    sqlite3_stmt *last = record_sqlite_stmt(&s->writer, learned ? SQL_EPISODES_UPTO : SQL_GIVEN_UPTO);
    sqlite3_stmt *add = record_sqlite_stmt(&s->writer, learned ? SQL_HOURS_ADD_LEARNED : SQL_HOURS_ADD_GIVEN);
    if (last == NULL || add == NULL) return record_sqlite_lost(s);
    if (rc == SQLITE_OK) rc = sqlite3_bind_int64(last, 1, from) | sqlite3_bind_int(last, 2, HOURS_SLICE);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(last, &found, &upto, NULL);
    if (rc != SQLITE_OK || upto == 0) {
        w->stage++;
        return rc;
    }
    rc = sqlite3_bind_int64(add, 1, from) | sqlite3_bind_int64(add, 2, upto);
    if (rc == SQLITE_OK) rc = record_sqlite_run(add);
    return rc == SQLITE_OK ? record_sqlite_meta_put(&s->writer, cursor, upto) : rc;
}

/* The next hour in which anything was shown. */
static int hours_slates(record_sqlite *s, hours_work *w) {
    bool found = false;
    int64_t at = 0;
    sqlite3_stmt *next = record_sqlite_stmt(&s->writer, SQL_SLATES_NEXT),
                 *count = record_sqlite_stmt(&s->writer, SQL_HOURS_COUNT_SLATES);
    if (next == NULL || count == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_int64(next, 1, w->from);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(next, &found, &at, NULL);
    if (rc != SQLITE_OK || !found) {
        w->stage++;
        return rc;
    }
    int64_t hour = hour_of(at);
    rc = sqlite3_bind_int64(count, 1, hour) | sqlite3_bind_int64(count, 2, hour + HOUR_MS);
    w->from = hour + HOUR_MS;
    return rc == SQLITE_OK ? record_sqlite_run(count) : rc;
}

static int hours_run(record_sqlite *s, record_sqlite_request *r, braid_error *err) {
    hours_work next = *(hours_work *)r->ctx;
    int rc = record_sqlite_exec(&s->writer, SQL_BEGIN);
    if (rc == SQLITE_OK) rc = next.stage == HOURS_SLATES ? hours_slates(s, &next) : hours_episodes(s, &next);
    if (rc == SQLITE_OK) rc = record_sqlite_exec(&s->writer, SQL_COMMIT);
    r->more = rc == SQLITE_OK && next.stage < HOURS_DONE;
    if (rc == SQLITE_OK) {
        *(hours_work *)r->ctx = next;
        return BRAID_OK;
    }
    int code = record_sqlite_fail(s->writer.db, rc, "rolling up", err);
    record_sqlite_undo(s, code, rc, err);
    return code;
}

int record_sqlite_roll_up(void *self, int64_t since, braid_error *err) {
    hours_work work = {.from = since == TIME_NONE ? INT64_MIN : hour_of(since)};
    int code;
    record_sqlite_request r;
    do {
        r = (record_sqlite_request){.admin = hours_run, .ctx = &work};
        code = record_sqlite_submit(self, &r, true, err);
    } while (code == BRAID_OK && r.more);
    return code;
}

int record_sqlite_scan_hours(void *self, const char *agent, int64_t from, int64_t until_at, size_t limit,
                             record_hour_fn *each, void *ctx, braid_error *err) {
    record_sqlite *s = self;
    record_sqlite_conn *c;
    int code = record_sqlite_reader_take(s, &c, err);
    if (code != BRAID_OK) return code;
    sqlite3_stmt *st = record_sqlite_stmt(c, SQL_HOURS_SCAN);
    int rc = st != NULL ? SQLITE_OK : sqlite3_extended_errcode(c->db);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 1, from) | sqlite3_bind_int64(st, 2, until_at) |
             sqlite3_bind_int64(st, 4, limit > INT64_MAX ? INT64_MAX : (int64_t)limit) |
             (agent != NULL ? sqlite3_bind_text(st, 3, agent, -1, SQLITE_STATIC) : sqlite3_bind_null(st, 3));
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        record_hour row = {.hour = sqlite3_column_int64(st, 0),
                           .agent = record_sqlite_text(st, 1),
                           .slates = (uint64_t)sqlite3_column_int64(st, 2),
                           .episodes = (uint64_t)sqlite3_column_int64(st, 3),
                           .finished = (uint64_t)sqlite3_column_int64(st, 4),
                           .reward_sum = sqlite3_column_double(st, 5),
                           .places = (uint64_t)sqlite3_column_int64(st, 6),
                           .explored = (uint64_t)sqlite3_column_int64(st, 7)};
        rc = SQLITE_OK;
        if (!each(ctx, &row)) break;
    }
    if (st != NULL) sqlite3_reset(st);
    if (rc != SQLITE_OK && rc != SQLITE_DONE) code = record_sqlite_fail(c->db, rc, "reading roll-ups", err);
    record_sqlite_reader_give(s, c);
    return code;
}
