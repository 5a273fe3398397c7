/* One group, one transaction, two round trips:
 *
 *     BEGIN, begin_write, a call a change          the answers are the verdicts
 *     COMMIT, horizon                              the acknowledgement, and how far the log is settled
 *
 * (with COPYs in between, when there are many changes of one kind: record_postgres_bulk.c).
 *
 * COMMIT is sent when all verdicts are known, and with them the transaction's number. So there is one place only where
 * it can be unclear what became of a group: the connection is lost, or is silent, after COMMIT was sent. The server
 * then knows, and is asked on a new connection before anybody is answered: each transaction leaves a token of its own
 * in the writer's row (sql/007_crash.sql). Not pg_xact_status(): a server that crashes before the COMMIT is on disk
 * gives the transaction's number to somebody else. What was lost before is not committed and is written again.
 *
 * Another server may have been quicker with a key (serialization_failure, unique_violation) or cross our way
 * (deadlock): the group begins again under a higher number. Should the server refuse a statement for what is in a
 * change, the group is written again one change at a time behind savepoints, and the bad one is refused alone. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "record/record_postgres.h"

enum {
    COMMIT_TRIES = 10,
    COMMIT_NAP_MAX_US = 50000,
    COMMIT_CHANGE_US = 2000, /* more time for a group, a change */
    UNSURE_NAP_MS = 20
};

/* What is known of one attempt. */
typedef struct attempt {
    deadline until;
    uint64_t xid, horizon, last; /* last: the highest LSN it gave */
    bool sent, committed;        /* COMMIT was sent; it was acknowledged */
    bool lost;                   /* the connection is to be closed */
    char sqlstate[6];
} attempt;

static void commit_hang_up(record_postgres_writer *w) {
    pg_close(w->session);
    w->session = NULL;
    w->staging = false;
}

static int commit_connect(record_postgres_writer *w, deadline until, braid_error *err) {
    record_postgres *s = w->s;
    if (w->session != NULL && !pg_idle(w->session)) commit_hang_up(w);
    if (w->session != NULL) return BRAID_OK;
    int code = pg_open(&s->writing, until, &w->session, err);
    if (code == BRAID_OK) code = record_postgres_same(s, w->session, until, err);
    pg_params_reset(&w->params);
    pg_bind_text(&w->params, w->name);
    if (code == BRAID_OK) code = pg_run(w->session, SQL_KEEP_WRITER, &w->params, until, "connecting", NULL, err);
    if (code != BRAID_OK) commit_hang_up(w);
    return code;
}

static void commit_bind_begin(record_postgres_writer *w, const record_postgres_group *g) {
    pg_params *p = &w->params;
    w->token++;
    pg_params_reset(p);
    pg_bind_int8(p, w->s->space);
    pg_bind_bool(p, g->alone);
    pg_bind_text(p, w->name);
    pg_bind_int8(p, (int64_t)w->token);
}

/* What the changes were told is untrue once the transaction is rolled back; what was refused without the database stays
 * refused. */
static void commit_forget(record_postgres_group *g) {
    for (record_postgres_request *r = g->first; r != NULL; r = r->next)
        for (size_t i = 0; i < r->n; i++) {
            record_change *c = &r->changes[i];
            if (r->bodies[i].refused) continue;
            c->code = BRAID_OK;
            c->message[0] = '\0';
            c->lsn = 0;
            c->num = 0;
            c->duplicate = false;
        }
}

/* Walks the changes that are to be written, numbering them; `since` is the first of the policies of one person that
 * stand side by side. */
typedef struct walk {
    record_postgres_request *r;
    size_t i;
    uint32_t n, since;
    const char *person; /* of the policy before */
} walk;

static record_change *walk_next(walk *k, record_postgres_body **body) {
    while (k->r != NULL) {
        if (k->i == k->r->n) {
            k->r = k->r->next;
            k->i = 0;
            continue;
        }
        size_t i = k->i++;
        if (k->r->bodies[i].refused) continue;
        record_change *c = &k->r->changes[i];
        const char *person = c->kind == RECORD_POLICY ? c->policy->user : NULL;
        k->n++;
        if (person == NULL || k->person == NULL || strcmp(person, k->person) != 0) k->since = k->n;
        k->person = person;
        *body = &k->r->bodies[i];
        return c;
    }
    return NULL;
}

static bool commit_xid(const PGresult *r, uint64_t *xid) {
    pg_row row = {.r = r};
    if (pg_rows(r) != 1) return false;
    *xid = (uint64_t)pg_int8(&row, 0);
    return !row.bad && *xid != 0 && *xid < UINT64_C(1) << 43;
}

/* An LSN of this transaction, a duplicate's older one, or none. */
static bool commit_lsn(attempt *t, const record_change *c) {
    if (c->code != BRAID_OK || c->lsn == 0 || c->duplicate) return true;
    if (c->lsn > t->last && c->kind != RECORD_EPISODE) t->last = c->lsn; /* an episode's number is no row of the log */
    return c->lsn >> 20 == t->xid;
}

/* ---- in a pipeline ---- */

static int piped_send(record_postgres_writer *w, record_postgres_group *g, attempt *t, braid_error *err) {
    pg_params *p = &w->params;
    walk k = {.r = g->first};
    record_postgres_body *body = NULL;
    int code = pg_pipeline_add(w->session, SQL_BEGIN, NULL, err);
    commit_bind_begin(w, g);
    if (code == BRAID_OK) code = pg_pipeline_add(w->session, SQL_BEGIN_WRITE, p, err);
    for (record_change *c; code == BRAID_OK && (c = walk_next(&k, &body)) != NULL;) {
        record_postgres_sql which;
        record_postgres_bind(w->s, p, c, body, k.n, k.since, &which);
        code = pg_pipeline_add(w->session, which, p, err);
    }
    return code == BRAID_OK ? pg_pipeline_flush(w->session, t->until, err) : code;
}

static int piped_answers(record_postgres_writer *w, record_postgres_group *g, attempt *t, braid_error *err) {
    walk k = {.r = g->first};
    record_postgres_body *body = NULL;
    PGresult *r = NULL;
    int code = pg_pipeline_next(w->session, t->until, "beginning a transaction", NULL, err);
    if (code == BRAID_OK) code = pg_pipeline_next(w->session, t->until, "beginning a transaction", &r, err);
    if (code == BRAID_OK && !commit_xid(r, &t->xid)) code = record_postgres_corrupt("beginning a transaction", err);
    PQclear(r);
    for (record_change *c; code == BRAID_OK && (c = walk_next(&k, &body)) != NULL;) {
        code = pg_pipeline_next(w->session, t->until, "writing", &r, err);
        if (code == BRAID_OK && (!record_postgres_verdict(c, r) || !commit_lsn(t, c)))
            code = record_postgres_corrupt("writing", err);
        if (code == BRAID_OK) PQclear(r);
        r = code == BRAID_OK ? NULL : r;
    }
    if (code == BRAID_E_CORRUPT) PQclear(r);
    return code;
}

/* COMMIT's own answer: ROLLBACK when the transaction had failed, which cannot be. */
static bool commit_said(const PGresult *r) {
    return strcmp(PQcmdStatus((PGresult *)(uintptr_t)r), "COMMIT") == 0;
}

static int piped_commit(record_postgres_writer *w, attempt *t, braid_error *err) {
    PGresult *r = NULL;
    int code = pg_pipeline_add(w->session, SQL_COMMIT, NULL, err);
    if (code == BRAID_OK) code = pg_pipeline_add(w->session, SQL_HORIZON, NULL, err);
    if (code != BRAID_OK) return code;
    t->sent = true;
    code = pg_pipeline_sync(w->session, t->until, err);
    if (code == BRAID_OK) code = pg_pipeline_next(w->session, t->until, "committing", &r, err);
    if (code == BRAID_OK) {
        t->committed = commit_said(r);
        if (!t->committed) code = record_postgres_corrupt("committing", err);
    }
    PQclear(r);
    r = NULL;
    if (t->committed && pg_pipeline_next(w->session, t->until, "looking at the log", &r, NULL) == BRAID_OK) {
        pg_row row = {.r = r};
        t->horizon = pg_rows(r) == 1 ? (uint64_t)pg_int8(&row, 0) : 0;
    }
    PQclear(r);
    return code;
}

/* Leaves pipeline mode, if the session is in it, and keeps what went wrong. */
static int pipe_end(record_postgres_writer *w, attempt *t, int code, braid_error *err) {
    snprintf(t->sqlstate, sizeof t->sqlstate, "%s", pg_sqlstate(w->session));
    int ended = pg_pipeline_end(w->session, t->until, code == BRAID_OK ? err : NULL);
    t->lost = t->lost || ended != BRAID_OK;
    return code == BRAID_OK ? ended : code;
}

static int commit_piped(record_postgres_writer *w, record_postgres_group *g, attempt *t, braid_error *err) {
    int code = pg_pipeline_begin(w->session, err);
    if (code == BRAID_OK) code = piped_send(w, g, t, err);
    if (code == BRAID_OK) code = piped_answers(w, g, t, err);
    if (code == BRAID_OK) code = piped_commit(w, t, err);
    return pipe_end(w, t, code, err);
}

/* ---- by COPY ---- */

static int commit_stage(record_postgres_writer *w, attempt *t, braid_error *err) {
    static const char sql[] =
        "CREATE TEMP TABLE IF NOT EXISTS staged_items (n integer NOT NULL, id text COLLATE \"C\" NOT NULL,"
        " body text NOT NULL, given boolean, vector bytea) ON COMMIT DELETE ROWS;"
        "CREATE TEMP TABLE IF NOT EXISTS staged_neighbours (n integer NOT NULL, num bigint NOT NULL,"
        " model text COLLATE \"C\" NOT NULL, at bigint NOT NULL, list bytea NOT NULL) ON COMMIT DELETE ROWS;"
        "CREATE TEMP TABLE IF NOT EXISTS staged_slates (n integer NOT NULL, id text COLLATE \"C\" NOT NULL,"
        " person text COLLATE \"C\" NOT NULL, agent text COLLATE \"C\" NOT NULL, at timestamptz NOT NULL,"
        " body bytea NOT NULL, places integer NOT NULL, explored integer NOT NULL) ON COMMIT DELETE ROWS";
    if (w->staging) return BRAID_OK;
    int code = pg_exec(w->session, sql, NULL, NULL, t->until, "making room for many changes", NULL, err);
    w->staging = code == BRAID_OK;
    return code;
}

/* BEGIN, begin_write and, for episodes, what is to become of each: one round trip. */
static int bulk_begin(record_postgres_writer *w, record_postgres_group *g, attempt *t, PGresult **admitted,
                      braid_error *err) {
    static const char beginning[] = "beginning a transaction";
    PGresult *r = NULL;
    int code = pg_pipeline_begin(w->session, err);
    if (code == BRAID_OK) code = pg_pipeline_add(w->session, SQL_BEGIN, NULL, err);
    commit_bind_begin(w, g);
    if (code == BRAID_OK) code = pg_pipeline_add(w->session, SQL_BEGIN_WRITE, &w->params, err);
    if (g->episodes) record_postgres_ask_episodes(&w->params, g);
    if (code == BRAID_OK && g->episodes) code = pg_pipeline_add(w->session, SQL_ADMIT_EPISODES, &w->params, err);
    if (code == BRAID_OK) code = pg_pipeline_sync(w->session, t->until, err);
    if (code == BRAID_OK) code = pg_pipeline_next(w->session, t->until, beginning, NULL, err);
    if (code == BRAID_OK) code = pg_pipeline_next(w->session, t->until, beginning, &r, err);
    if (code == BRAID_OK && !commit_xid(r, &t->xid)) code = record_postgres_corrupt(beginning, err);
    PQclear(r);
    if (code == BRAID_OK && g->episodes)
        code = pg_pipeline_next(w->session, t->until, "writing episodes", admitted, err);
    return pipe_end(w, t, code, err);
}

static int commit_bulk(record_postgres_writer *w, record_postgres_group *g, attempt *t, braid_error *err) {
    walk k = {.r = g->first};
    record_postgres_body *body = NULL;
    PGresult *admitted = NULL;
    int code = g->episodes ? BRAID_OK : commit_stage(w, t, err);
    if (code == BRAID_OK) code = bulk_begin(w, g, t, &admitted, err);
    if (code == BRAID_OK) code = record_postgres_bulk(w, g, admitted, t->until, err);
    PQclear(admitted);
    for (record_change *c; code == BRAID_OK && (c = walk_next(&k, &body)) != NULL;)
        if (!commit_lsn(t, c)) code = record_postgres_corrupt("writing many changes", err);
    if (code == BRAID_OK) code = pg_pipeline_begin(w->session, err);
    if (code == BRAID_OK) code = piped_commit(w, t, err);
    return pipe_end(w, t, code, err);
}

/* ---- one change at a time, behind savepoints ---- */

static int careful_change(record_postgres_writer *w, record_change *c, record_postgres_body *body, const walk *k,
                          attempt *t, braid_error *err) {
    record_postgres_sql which;
    braid_error why = {0};
    PGresult *r = NULL;
    int code = pg_run(w->session, SQL_SAVEPOINT, NULL, t->until, "writing", NULL, err);
    if (code != BRAID_OK) return code;
    record_postgres_bind(w->s, &w->params, c, body, k->n, k->since, &which);
    code = pg_run(w->session, which, &w->params, t->until, "writing", &r, &why);
    if (code == BRAID_OK && (!record_postgres_verdict(c, r) || !commit_lsn(t, c)))
        code = record_postgres_corrupt("writing", err);
    else if (code != BRAID_OK && !pg_broken(w->session) && !pg_retriable(w->session)) {
        record_postgres_refuse(c, code == BRAID_E_INTERNAL ? BRAID_E_CONFLICT : code, "the record store refused it: %s",
                               why.message);
        code = pg_run(w->session, SQL_UNDO, NULL, t->until, "writing", NULL, err);
    } else if (code != BRAID_OK) {
        error_set(err, code, why.store, "%s", why.message);
    }
    PQclear(r);
    return code == BRAID_OK ? pg_run(w->session, SQL_RELEASE, NULL, t->until, "writing", NULL, err) : code;
}

static int commit_slowly(record_postgres_writer *w, record_postgres_group *g, attempt *t, braid_error *err) {
    walk k = {.r = g->first};
    record_postgres_body *body = NULL;
    PGresult *r = NULL;
    int code = pg_run(w->session, SQL_BEGIN, NULL, t->until, "beginning a transaction", NULL, err);
    commit_bind_begin(w, g);
    if (code == BRAID_OK)
        code = pg_run(w->session, SQL_BEGIN_WRITE, &w->params, t->until, "beginning a transaction", &r, err);
    if (code == BRAID_OK && !commit_xid(r, &t->xid)) code = record_postgres_corrupt("beginning a transaction", err);
    PQclear(r);
    r = NULL;
    for (record_change *c; code == BRAID_OK && (c = walk_next(&k, &body)) != NULL;)
        code = careful_change(w, c, body, &k, t, err);
    if (code == BRAID_OK) {
        t->sent = true;
        code = pg_run(w->session, SQL_COMMIT, NULL, t->until, "committing", &r, err);
        t->committed = code == BRAID_OK && commit_said(r);
        if (code == BRAID_OK && !t->committed) code = record_postgres_corrupt("committing", err);
    }
    PQclear(r);
    snprintf(t->sqlstate, sizeof t->sqlstate, "%s", pg_sqlstate(w->session));
    r = NULL;
    if (t->committed && pg_run(w->session, SQL_HORIZON, NULL, t->until, "looking at the log", &r, NULL) == BRAID_OK) {
        pg_row row = {.r = r};
        t->horizon = pg_rows(r) == 1 ? (uint64_t)pg_int8(&row, 0) : 0;
    }
    PQclear(r);
    return code;
}

/* ---- what became of it ---- */

/* Asks the server what became of the transaction whose COMMIT was sent and not answered. BRAID_OK: *committed is
 * true or false; else nobody knows within the deadline. */
static int commit_resolve(record_postgres_writer *w, deadline until, bool *committed, braid_error *err) {
    const record_postgres *s = w->s;
    struct timespec nap = {.tv_nsec = UNSURE_NAP_MS * 1000000L};
    uint64_t token = w->token;
    metric_add(s->unsure, 1);
    commit_hang_up(w);
    while (!deadline_passed(s->options.clock, until)) {
        PGresult *r = NULL;
        int code = commit_connect(w, until, NULL);
        pg_params_reset(&w->params);
        pg_bind_text(&w->params, w->name);
        if (code == BRAID_OK)
            code = pg_run(w->session, SQL_WRITER_TOKEN, &w->params, until, "asking what became of a commit", &r, NULL);
        pg_row row = {.r = r};
        bool known = code == BRAID_OK && pg_rows(r) == 1;
        if (known) *committed = (uint64_t)pg_int8(&row, 0) == token;
        PQclear(r);
        if (known && !row.bad) return BRAID_OK;
        nanosleep(&nap, NULL);
    }
    return error_set(err, BRAID_E_UNAVAILABLE, RECORD_POSTGRES,
                     "PostgreSQL was lost while it committed, and cannot be asked what became of it: the change may be"
                     " there; look before you repeat it, or repeat it with its idempotency key");
}

/* Another transaction was quicker: begin again. */
static bool commit_overtaken(const attempt *t) {
    return strcmp(t->sqlstate, "40001") == 0 || strcmp(t->sqlstate, "40P01") == 0 || strcmp(t->sqlstate, "23505") == 0;
}

/* The server did not like what is in a change. */
static bool commit_disliked(const attempt *t) {
    return strncmp(t->sqlstate, "22", 2) == 0 || strncmp(t->sqlstate, "23", 2) == 0 ||
           strncmp(t->sqlstate, "54", 2) == 0;
}

static void commit_nap(record_postgres_writer *w, int tries) {
    uint64_t most = UINT64_C(500) << (tries < 7 ? tries : 7);
    uint64_t us = rng_below(&w->random, most < COMMIT_NAP_MAX_US ? most : COMMIT_NAP_MAX_US);
    struct timespec nap = {.tv_nsec = (long)us * 1000};
    nanosleep(&nap, NULL);
}

/* One attempt; the session is fit for the next one, or closed. */
static int commit_attempt(record_postgres_writer *w, record_postgres_group *g, bool careful, attempt *t,
                          braid_error *err) {
    int code = commit_connect(w, t->until, err);
    if (code != BRAID_OK) return code;
    code = careful ? commit_slowly(w, g, t, err) : g->bulk ? commit_bulk(w, g, t, err) : commit_piped(w, g, t, err);
    if (t->committed) code = BRAID_OK;
    if (!t->committed && !t->lost && !pg_broken(w->session) && PQtransactionStatus(pg_raw(w->session)) != PQTRANS_IDLE)
        (void)pg_run(w->session, SQL_ROLLBACK, NULL, t->until, "rolling back", NULL, NULL);
    t->lost = t->lost || pg_broken(w->session) || !pg_idle(w->session);
    if (t->lost) commit_hang_up(w);
    return code;
}

static int commit_until_done(record_postgres_writer *w, record_postgres_group *g, attempt *t, braid_error *err) {
    record_postgres *s = w->s;
    bool careful = false;
    int code = BRAID_E_UNAVAILABLE, reconnects = 1;
    deadline until = record_postgres_until(s, 0) + (int64_t)g->changes * COMMIT_CHANGE_US * 1000;
    for (int tries = 1; tries <= COMMIT_TRIES; tries++) {
        braid_error mine = {0};
        *t = (attempt){.until = until};
        code = commit_attempt(w, g, careful, t, &mine);
        if (code == BRAID_OK) return code;
        if (t->sent && t->lost) { /* even with an error: it may be about what came after the commit */
            bool committed = false;
            code = commit_resolve(w, until + record_postgres_timeout_ns(s), &committed, err);
            if (code != BRAID_OK || committed) return code;
            code = BRAID_E_UNAVAILABLE;
        }
        commit_forget(g);
        bool late = deadline_passed(s->options.clock, until);
        if (!late && commit_overtaken(t)) {
            metric_add(s->again, 1);
            careful = careful || (tries >= COMMIT_TRIES / 2 && !g->bulk && strcmp(t->sqlstate, "23505") == 0);
            commit_nap(w, tries);
            continue;
        }
        if (!late && commit_disliked(t) && !careful) {
            careful = true;
            continue;
        }
        if (!late && t->lost && code == BRAID_E_UNAVAILABLE && reconnects-- > 0) continue;
        error_set(err, code, mine.store, "%s", mine.message);
        return code;
    }
    return error_set(err, BRAID_E_BUSY, RECORD_POSTGRES, "other servers change the same rows all the time; try again");
}

void record_postgres_commit(record_postgres_writer *w, record_postgres_group *g) {
    record_postgres *s = w->s;
    braid_error err = {0};
    attempt t;
    int64_t start = record_postgres_now(s);
    int code = record_postgres_alive(s, &err);
    if (code == BRAID_OK) code = commit_until_done(w, g, &t, &err);
    if (code == BRAID_OK) {
        record_postgres_committed(s, t.horizon, t.last);
        metric_add(s->commits, 1);
        metric_observe_us(s->commit_time, (double)(record_postgres_now(s) - start) / 1e3);
    } else {
        commit_forget(g);
    }
    for (record_postgres_request *r = g->first; r != NULL; r = r->next) {
        r->code = code;
        r->err = err;
    }
}
