/* Reading: a connection of the pool, one statement, one round trip.
 *
 * The whole answer is taken before a row is handed to the caller, so that no connection is held while callbacks run;
 * what could be long is read in pages by key. A connection that was lent from the pool may have been lost without a
 * sign (the server restarted): reads change nothing, so one is tried again on another connection within its
 * deadline. */
#include "record/record_postgres.h"

int record_postgres_corrupt(const char *doing, braid_error *err) {
    return error_set(err, BRAID_E_CORRUPT, RECORD_POSTGRES, "%s: PostgreSQL's answer makes no sense", doing);
}

void record_postgres_bind_limit(pg_params *p, size_t limit) {
    pg_bind_int8(p, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
}

int record_postgres_read(record_postgres *s, record_postgres_sql which, const pg_params *p, deadline until,
                         const char *doing, PGresult **out, braid_error *err) {
    int code = record_postgres_alive(s, err);
    *out = NULL;
    if (code != BRAID_OK) return code;
    until = record_postgres_until(s, until);
    for (int left = 1;; left--) {
        braid_error mine = {0};
        void *conn = NULL;
        code = conn_pool_take(s->pool, until, &conn, &mine);
        if (code == BRAID_OK) {
            code = pg_run(conn, which, p, until, doing, out, &mine);
            conn_pool_give(s->pool, conn, pg_idle(conn));
            if (code == BRAID_E_UNAVAILABLE && left > 0 && record_postgres_now(s) < until) continue;
        }
        if (code != BRAID_OK) error_set(err, code, mine.store, "%s", mine.message);
        return code;
    }
}
