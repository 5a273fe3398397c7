/* Leases: which of many servers feeds a store.
 *
 * A lease is an advisory lock of a connection that is used for nothing else. The server lets it go when the connection
 * ends, so one that is held by a dead process is free again by itself. Whoever asks is answered from memory while the
 * connection was seen alive a moment ago; a connection that is lost takes all its leases with it.
 *
 * Between the loss of a connection and our noticing it, another server may have begun to feed: two may feed for a
 * moment. Feeds are idempotent upserts of present rows, so this costs work, not truth. */
#include <stdlib.h>
#include <string.h>

#include "record/record_postgres.h"

enum { LEASE_SEEN_MS = 500 };

void record_postgres_lease_end(record_postgres *s) {
    pg_close(s->lease_session);
    s->lease_session = NULL;
    for (unsigned i = 0; i < s->lease_count; i++) free(s->leases[i]);
    s->lease_count = 0;
}

static bool lease_known(const record_postgres *s, const char *name) {
    for (unsigned i = 0; i < s->lease_count; i++)
        if (strcmp(s->leases[i], name) == 0) return true;
    return false;
}

/* Makes sure that the connection lives. */
static int lease_connect(record_postgres *s, deadline until, braid_error *err) {
    int64_t now = record_postgres_now(s);
    if (s->lease_session != NULL && !pg_idle(s->lease_session)) record_postgres_lease_end(s);
    if (s->lease_session != NULL) {
        if (now - s->lease_seen_ns < LEASE_SEEN_MS * INT64_C(1000000)) return BRAID_OK;
        s->lease_seen_ns = now;
        if (pg_run(s->lease_session, SQL_ALIVE, NULL, until, "keeping a lease", NULL, NULL) == BRAID_OK)
            return BRAID_OK;
        record_postgres_lease_end(s);
    }
    int code = pg_open(&s->reading, until, &s->lease_session, err);
    if (code == BRAID_OK) code = record_postgres_same(s, s->lease_session, until, err);
    if (code != BRAID_OK) record_postgres_lease_end(s);
    s->lease_seen_ns = now;
    return code;
}

static int lease_take(record_postgres *s, const char *name, deadline until, bool *held, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    if (s->lease_count == RECORD_POSTGRES_LEASES_MAX)
        return error_set(err, BRAID_E_TOO_LARGE, RECORD_POSTGRES, "more than %d leases", RECORD_POSTGRES_LEASES_MAX);
    char *copy = strdup(name);
    if (copy == NULL) return record_postgres_no_memory(err);
    pg_params_init(&p);
    pg_bind_text(&p, name);
    pg_bind_int8(&p, s->space);
    int code = pg_run(s->lease_session, SQL_LEASE, &p, until, "taking a lease", &r, err);
    if (code == BRAID_OK && pg_rows(r) == 1) {
        pg_row row = {.r = r};
        *held = pg_bool(&row, 0);
    }
    if (*held)
        s->leases[s->lease_count++] = copy;
    else
        free(copy);
    PQclear(r);
    pg_params_free(&p);
    return code;
}

int record_postgres_lease(void *self, const char *name, bool *held, braid_error *err) {
    record_postgres *s = self;
    *held = false;
    int code = record_postgres_alive(s, err);
    if (code != BRAID_OK) return code;
    pthread_mutex_lock(&s->lease_mutex);
    deadline until = record_postgres_until(s, 0);
    code = lease_connect(s, until, err);
    if (code == BRAID_OK) *held = lease_known(s, name);
    if (code == BRAID_OK && !*held) code = lease_take(s, name, until, held, err);
    pthread_mutex_unlock(&s->lease_mutex);
    return code;
}
