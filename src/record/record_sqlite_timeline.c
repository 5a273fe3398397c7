/* The timeline: who did what when, kept a little behind.
 *
 * Reading a person's history wants an index by person. Writing that index with every interaction costs as much as all
 * else together: eight callers in one commit touch eight leaves far apart, so the commit writes eight pages more. So an
 * interaction is acknowledged with the append of its row alone, and the timeline (person, at, lsn) is filled afterwards
 * by the writer, TIMELINE_BATCH rows at a time and sorted, so that neighbours share a page. This is the memtable of an
 * LSM tree, with the change log as the table: up to a few thousand rows that are not in the timeline yet are found by
 * looking through the log's tail, in the same statement and therefore the same snapshot. A reader never sees the seam,
 * and a crash loses nothing, since meta.timeline moves in the transaction that fills.
 *
 * Rejected: the index itself (15,500 acknowledged interactions/s with eight callers against 19,000 without it), and the
 * tail in memory, which a second process that reads the file could not see. */
#include "record/record_sqlite.h"

enum { TIMELINE_BATCH = 2048 };

int record_sqlite_timeline_open(record_sqlite *s) {
    int64_t left = 0;
    int rc = record_sqlite_number(&s->writer, SQL_TIMELINE_LEFT, NULL, 0, &left);
    s->timeline_left = (uint64_t)left;
    return rc;
}

static int timeline_fill(record_sqlite *s, uint64_t upto) {
    int rc = record_sqlite_exec(&s->writer, SQL_BEGIN);
    sqlite3_stmt *st = rc == SQLITE_OK ? record_sqlite_stmt(&s->writer, SQL_TIMELINE_FILL) : NULL;
    if (st == NULL) return rc != SQLITE_OK ? rc : sqlite3_extended_errcode(s->writer.db);
    rc = sqlite3_bind_int64(st, 1, (int64_t)upto);
    if (rc == SQLITE_OK) rc = record_sqlite_run(st);
    if (rc == SQLITE_OK) rc = record_sqlite_meta_put(&s->writer, "timeline", (int64_t)upto);
    return rc == SQLITE_OK ? record_sqlite_exec(&s->writer, SQL_COMMIT) : rc;
}

/* Nobody waits for this. A failure that leaves the file unsure ends writing, as any other; a full disk is met again by
 * the next batch. */
void record_sqlite_timeline_keep(record_sqlite *s) {
    if (s->timeline_left < TIMELINE_BATCH) return;
    int rc = timeline_fill(s, record_sqlite_head(s));
    if (rc == SQLITE_OK) {
        s->timeline_left = 0;
        return;
    }
    braid_error err = {0};
    int code = record_sqlite_fail(s->writer.db, rc, "filling the timeline", &err);
    record_sqlite_undo(s, code, rc, &err);
}
