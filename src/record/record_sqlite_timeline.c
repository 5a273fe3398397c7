/* The timeline: who did what when, kept a little behind.
 *
 * Reading a person's history wants an index by person. Writing that index with every interaction costs as much as all
 * else together: eight callers in one commit touch eight leaves far apart, so the commit writes eight pages more. So an
 * interaction is acknowledged with the append of its row alone, and the timeline (person, at, lsn) is filled afterwards
 * by the writer, thousands of rows at a time and sorted, so that neighbours share a page. This is the memtable of an
 * LSM tree, with the change log as the table: up to a few thousand rows that are not in the timeline yet are found by
 * looking through the log's tail, in the same statement and therefore the same snapshot. A reader never sees the seam,
 * and a crash loses nothing, since meta.timeline moves in the transaction that fills.
 *
 * How far behind is a bargain. A batch touches a page for nearly every person in it, so the fewer batches, the less is
 * written; but each history that is read looks through the rest, at 34 ns a row. So a batch is TIMELINE_QUIET rows as
 * soon as no write has come for a moment, and up to TIMELINE_BUSY rows while writes keep coming.
 *
 * Episodes of their own have a timeline of their own, kept the same way under the same mark.
 *
 * Rejected: the index itself (15,500 acknowledged interactions/s with eight callers against 19,000 without it), and the
 * tail in memory, which a second process that reads the file could not see. */
#include "record/record_sqlite.h"

enum { TIMELINE_QUIET = 2048, TIMELINE_BUSY = 16384 };

int record_sqlite_timeline_open(record_sqlite *s) {
    int64_t left = 0;
    int rc = record_sqlite_number(&s->writer, SQL_TIMELINE_LEFT, NULL, 0, &left);
    s->timeline_left = (uint64_t)left;
    s->timeline_next = TIMELINE_QUIET;
    return rc;
}

bool record_sqlite_timeline_due(const record_sqlite *s, bool quiet) {
    return s->timeline_left >= s->timeline_next + (quiet ? 0 : TIMELINE_BUSY - TIMELINE_QUIET);
}

static int timeline_fill(record_sqlite *s, uint64_t upto) {
    int rc = record_sqlite_exec(&s->writer, SQL_BEGIN);
    static const record_sqlite_sql fills[] = {SQL_TIMELINE_FILL, SQL_GIVEN_TIMELINE_FILL};
    for (int i = 0; i < 2 && rc == SQLITE_OK; i++) {
        sqlite3_stmt *st = record_sqlite_stmt(&s->writer, fills[i]);
        if (st == NULL) return sqlite3_extended_errcode(s->writer.db);
        rc = sqlite3_bind_int64(st, 1, (int64_t)upto);
        if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    }
    if (rc == SQLITE_OK) rc = record_sqlite_meta_put(&s->writer, "timeline", (int64_t)upto);
    return rc == SQLITE_OK ? record_sqlite_exec(&s->writer, SQL_COMMIT) : rc;
}

/* Nobody waits for this. A failure that leaves the file unsure ends writing, as any other; a full disk is met again
 * when as many rows more have come. */
void record_sqlite_timeline_keep(record_sqlite *s, bool quiet) {
    if (!record_sqlite_timeline_due(s, quiet)) return;
    int rc = timeline_fill(s, record_sqlite_head(s));
    if (rc == SQLITE_OK) {
        s->timeline_left = 0;
        s->timeline_next = TIMELINE_QUIET;
        return;
    }
    s->timeline_next = s->timeline_left + TIMELINE_QUIET;
    braid_error err = {0};
    int code = record_sqlite_fail(s->writer.db, rc, "filling the timeline", &err);
    record_sqlite_undo(s, code, rc, &err);
}
