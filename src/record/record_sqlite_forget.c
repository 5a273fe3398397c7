/* Forgetting what is old, in slices that give way to writers.
 *
 * Each slice is a transaction of its own behind the writers that wait, as trimming the log is. Slates have an index by
 * time. Episodes have none: their trees are walked by number, a range of them a slice, since time and number need not
 * agree (what was imported is old and has new numbers), and forgetting is rare. Of when an agent's rows are old is asked
 * row by row, by a function of the statement (old_before): so agents that keep theirs longer, or shorter, cost no walk
 * of their own. A table of agents in the file was rejected: it would have to be right in two places.
 *
 * The newest number of all may be among what goes; it must not come again, so each slice writes the head down. */
#include "record/record_sqlite.h"

enum { FORGET_SLICE = 2000 };

typedef struct forget_work {
    const record_old *old;
    int64_t from; /* the last number that was looked at */
    bool given;   /* EPISODE: those of interactions are done */
    uint64_t removed;
} forget_work;

static const char old_pointer[] = "record_old"; /* SQLite tells pointers apart by the address of their type's name */

/* old_before(record_old, agent), for the writer's own statements alone. */
static void old_before(sqlite3_context *ctx, int n, sqlite3_value **given) {
    (void)n;
    const record_old *old = sqlite3_value_pointer(given[0], old_pointer);
    const char *agent = (const char *)sqlite3_value_text(given[1]);
    if (old == NULL)
        sqlite3_result_null(ctx); /* nothing is before that */
    else
        sqlite3_result_int64(ctx, record_old_before(old, agent != NULL ? agent : "default"));
}

int record_sqlite_forget_setup(sqlite3 *db) {
    return sqlite3_create_function(db, "old_before", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, old_before, NULL, NULL);
}

/* Runs one deletion of the range; counts its rows if `counts`. */
static int forget_rows(record_sqlite *s, record_sqlite_sql id, int64_t upto, forget_work *w, bool counts) {
    sqlite3_stmt *st = record_sqlite_stmt(&s->writer, id);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_int64(st, 2, upto);
    if (id == SQL_SLATES_FORGET)
        rc |= sqlite3_bind_int64(st, 3, w->old->before);
    else
        rc |= sqlite3_bind_int64(st, 1, w->from) | sqlite3_bind_pointer(st, 3, (void *)w->old, old_pointer, NULL);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    if (rc == SQLITE_OK && counts) w->removed += (uint64_t)sqlite3_changes(s->writer.db);
    return rc;
}

static int forget_slates(record_sqlite *s, forget_work *w, bool *more) {
    uint64_t before = w->removed;
    int rc = forget_rows(s, SQL_SLATES_FORGET, FORGET_SLICE, w, true);
    *more = w->removed - before == FORGET_SLICE;
    return rc;
}

static int forget_episodes(record_sqlite *s, forget_work *w, bool *more) {
    int64_t upto = 0;
    bool found = false;
    sqlite3_stmt *st = record_sqlite_stmt(&s->writer, w->given ? SQL_GIVEN_UPTO : SQL_EPISODES_UPTO);
    if (st == NULL) return record_sqlite_lost(s);
    int rc = sqlite3_bind_int64(st, 1, w->from) | sqlite3_bind_int(st, 2, FORGET_SLICE);
    if (rc == SQLITE_OK) rc = record_sqlite_look_up(st, &found, &upto, NULL);
    *more = rc == SQLITE_OK && (upto > 0 || !w->given);
    if (rc != SQLITE_OK || upto == 0) { /* the end of this tree */
        w->given = true;
        w->from = 0;
        return rc;
    }
    rc = forget_rows(s, SQL_STATES_FORGET, upto, w, false);
    if (rc == SQLITE_OK && w->given) rc = forget_rows(s, SQL_GIVEN_TIMELINE_FORGET, upto, w, false);
    if (rc == SQLITE_OK) rc = forget_rows(s, w->given ? SQL_GIVEN_FORGET : SQL_EPISODES_FORGET, upto, w, true);
    w->from = upto;
    return rc;
}

static int forget_run(record_sqlite *s, record_sqlite_request *r, braid_error *err) {
    forget_work next = *(forget_work *)r->ctx; /* what is rolled back was not removed */
    int rc = record_sqlite_exec(&s->writer, SQL_BEGIN);
    if (rc == SQLITE_OK) rc = record_sqlite_meta_put(&s->writer, "head", (int64_t)record_sqlite_head(s));
    if (rc == SQLITE_OK)
        rc = next.old->kind == RECORD_SLATE ? forget_slates(s, &next, &r->more) : forget_episodes(s, &next, &r->more);
    if (rc == SQLITE_OK) rc = record_sqlite_exec(&s->writer, SQL_COMMIT);
    if (rc == SQLITE_OK) {
        *(forget_work *)r->ctx = next;
        return BRAID_OK;
    }
    r->more = false;
    int code = record_sqlite_fail(s->writer.db, rc, "forgetting", err);
    record_sqlite_undo(s, code, rc, err);
    return code;
}

int record_sqlite_forget(void *self, const record_old *old, uint64_t *removed, braid_error *err) {
    forget_work work = {.old = old};
    int code;
    record_sqlite_request r;
    do {
        r = (record_sqlite_request){.admin = forget_run, .ctx = &work};
        code = record_sqlite_submit(self, &r, true, err);
    } while (code == BRAID_OK && r.more);
    *removed = work.removed;
    return code;
}
