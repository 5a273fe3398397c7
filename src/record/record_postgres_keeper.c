/* What has to be done now and then: next months' partitions, the patterns, indexes of states. Once an hour, by one
 * server of many (an advisory lock says whose turn it is), on a connection that lives only for it. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "record/record_postgres.h"

enum { KEEPER_FIRST_S = 60, KEEPER_EVERY_S = 3600, KEEPER_DEADLINE_MS = 120000 };

/* The newest month that has ended and lacks the index of its states; the next one in an hour. Building goes on while
 * others write, and what is half built after a failure is dropped first. */
static int keeper_index(pg_session *session, deadline until, braid_error *err) {
    PGresult *r = NULL;
    char sql[512];
    int code = pg_run(session, SQL_STATES_TO_INDEX, NULL, until, "looking for months without an index", &r, err);
    pg_row row = {.r = r};
    const char *part = code == BRAID_OK && pg_rows(r) > 0 ? pg_text(&row, 0, NULL) : "";
    if (pg_name_valid(part)) {
        snprintf(sql, sizeof sql, "DROP INDEX IF EXISTS %s_nearest", part);
        code = pg_exec(session, sql, NULL, NULL, until, "indexing states", NULL, err);
        int32_t dim = pg_int4(&row, 1);
        snprintf(sql, sizeof sql,
                 "CREATE INDEX CONCURRENTLY %s_nearest ON %s USING hnsw ((state::vector(%d)) vector_cosine_ops)"
                 " WHERE vector_dims(state) = %d",
                 part, part, dim, dim);
        if (code == BRAID_OK) code = pg_exec(session, sql, NULL, NULL, until, "indexing states", NULL, err);
    }
    PQclear(r);
    return code;
}

static int keeper_work(record_postgres *s, braid_error *err) {
    static const record_postgres_sql jobs[] = {SQL_MAKE_PARTITIONS, SQL_LEARN_PATTERNS};
    pg_session *session = NULL;
    pg_params p;
    PGresult *r = NULL;
    bool mine = false;
    deadline until = record_postgres_now(s) + KEEPER_DEADLINE_MS * INT64_C(1000000);
    int code = pg_open(&s->writing, record_postgres_until(s, 0), &session, err);
    if (code == BRAID_OK) code = record_postgres_same(s, session, until, err);
    pg_params_init(&p);
    pg_bind_text(&p, "keeper");
    pg_bind_int8(&p, s->space);
    if (code == BRAID_OK) code = pg_run(session, SQL_LEASE, &p, until, "keeping house", &r, err);
    if (code == BRAID_OK && pg_rows(r) == 1) {
        pg_row row = {.r = r};
        mine = pg_bool(&row, 0);
    }
    for (size_t i = 0; code == BRAID_OK && mine && i < sizeof jobs / sizeof jobs[0]; i++)
        code = pg_run(session, jobs[i], NULL, until, "keeping house", NULL, err);
    if (code == BRAID_OK && mine) code = keeper_index(session, until, err);
    PQclear(r);
    pg_params_free(&p);
    pg_close(session);
    return code;
}

static void *keeper_main(void *arg) {
    record_postgres *s = arg;
    int64_t pause_s = KEEPER_FIRST_S;
    prctl(PR_SET_NAME, "braid-pg-keep");
    pthread_mutex_lock(&s->keeper_mutex);
    while (!s->keeper_stop) {
        if (record_postgres_wait(&s->keeper_cond, &s->keeper_mutex, pause_s * 1000000000)) continue;
        pause_s = KEEPER_EVERY_S;
        pthread_mutex_unlock(&s->keeper_mutex);
        braid_error err = {0};
        if (keeper_work(s, &err) != BRAID_OK && s->options.log != NULL)
            log_write(s->options.log, LOG_WARN, "record", "keeping house: %s", err.message);
        pthread_mutex_lock(&s->keeper_mutex);
    }
    pthread_mutex_unlock(&s->keeper_mutex);
    return NULL;
}

int record_postgres_keeper_start(record_postgres *s, braid_error *err) {
    int rc = pthread_create(&s->keeper, NULL, keeper_main, s);
    if (rc != 0) return error_set(err, BRAID_E_NO_MEMORY, RECORD_POSTGRES, "cannot start the keeper: %s", strerror(rc));
    s->keeper_started = true;
    return BRAID_OK;
}

void record_postgres_keeper_stop(record_postgres *s) {
    if (!s->keeper_started) return;
    pthread_mutex_lock(&s->keeper_mutex);
    s->keeper_stop = true;
    pthread_cond_signal(&s->keeper_cond);
    pthread_mutex_unlock(&s->keeper_mutex);
    pthread_join(s->keeper, NULL);
    s->keeper_started = false;
}

/* ---- what the engine's housekeeping asks for ---- */

int record_postgres_tend_open(record_postgres *s, pg_session **out, braid_error *err) {
    *out = NULL;
    if (s->options.read_only)
        return error_set(err, BRAID_E_READ_ONLY, RECORD_POSTGRES, "the database was opened for reading only");
    int code = record_postgres_alive(s, err);
    if (code == BRAID_OK) code = pg_open(&s->writing, record_postgres_until(s, 0), out, err);
    if (code == BRAID_OK) code = record_postgres_same(s, *out, record_postgres_until(s, 0), err);
    if (code == BRAID_OK) return code;
    pg_close(*out);
    *out = NULL;
    return code;
}

int record_postgres_tend(record_postgres *s, record_postgres_sql which, int64_t at, int64_t ms, const char *doing,
                         PGresult **r, braid_error *err) {
    pg_session *session = NULL;
    pg_params p;
    int code = record_postgres_tend_open(s, &session, err);
    pg_params_init(&p);
    pg_bind_int8(&p, pg_time(at));
    if (code == BRAID_OK)
        code = pg_run(session, which, &p, record_postgres_now(s) + ms * INT64_C(1000000), doing, r, err);
    pg_params_free(&p);
    pg_close(session);
    return code;
}
