/* Statements: one at a time, or many in a pipeline.
 *
 * A statement of the table is prepared on first use under the name of its number. In a pipeline the preparation is sent
 * just before the first use, so that it costs no round trip; whether it succeeded is known when its answer is read. The
 * queue of expected answers says what comes next, since libpq does not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/pg_private.h"

void pg_statement_name(char name[16], unsigned which) {
    snprintf(name, 16, "b%u", which);
}

/* ---- one at a time ---- */

int pg_finish(pg_session *s, deadline until, const char *doing, PGresult **out, braid_error *err) {
    PGresult *last = NULL;
    int code = BRAID_OK;
    *out = NULL;
    for (;;) {
        PGresult *r = NULL;
        int taken = pg_take(s, until, doing, &r, err);
        if (taken != BRAID_OK || r == NULL) {
            code = taken != BRAID_OK ? taken : code;
            break;
        }
        ExecStatusType status = PQresultStatus(r);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            PQclear(last);
            *out = r; /* nothing more comes until the copying is done */
            return BRAID_OK;
        }
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY && code == BRAID_OK)
            code = pg_fail(s, r, doing, err);
        PQclear(last);
        last = r;
    }
    if (code == BRAID_OK)
        *out = last;
    else
        PQclear(last);
    return code;
}

static int pg_ready(pg_session *s, const char *doing, braid_error *err) {
    s->sqlstate[0] = '\0';
    s->retriable = false;
    if (!s->broken && !s->piping) return BRAID_OK;
    return error_set(err, BRAID_E_INTERNAL, s->o->store, "%s: the connection is in use", doing);
}

static int pg_prepare(pg_session *s, unsigned which, const pg_sending *p, deadline until, const char *doing,
                      braid_error *err) {
    char name[16];
    PGresult *r = NULL;
    pg_statement_name(name, which);
    if (PQsendPrepare(s->c, name, s->o->statements[which].sql, p->count, p->types) == 0)
        return pg_fail(s, NULL, doing, err);
    int code = pg_finish(s, until, doing, &r, err);
    PQclear(r);
    if (code == BRAID_OK) s->prepared[which] = PG_PREPARED;
    return code;
}

static int pg_give(PGresult *r, PGresult **out) {
    if (out != NULL)
        *out = r;
    else
        PQclear(r);
    return BRAID_OK;
}

int pg_run(pg_session *s, unsigned which, const pg_params *p, deadline until, const char *doing, PGresult **out,
           braid_error *err) {
    pg_sending sending;
    PGresult *r = NULL;
    char name[16];
    if (out != NULL) *out = NULL;
    BRAID_ASSERT(which < s->o->statement_count);
    until = pg_deadline(s->o, until);
    int code = pg_ready(s, doing, err);
    if (code == BRAID_OK) code = pg_sending_fill(s, &sending, s->o->statements[which].types, p, err);
    if (code == BRAID_OK && s->prepared[which] != PG_PREPARED) code = pg_prepare(s, which, &sending, until, doing, err);
    if (code != BRAID_OK) return code;
    pg_statement_name(name, which);
    if (PQsendQueryPrepared(s->c, name, sending.count, sending.values, sending.lengths, sending.formats, 1) == 0)
        return pg_fail(s, NULL, doing, err);
    code = pg_finish(s, until, doing, &r, err);
    return code == BRAID_OK ? pg_give(r, out) : code;
}

int pg_exec(pg_session *s, const char *sql, const char *types, const pg_params *p, deadline until, const char *doing,
            PGresult **out, braid_error *err) {
    pg_sending sending;
    PGresult *r = NULL;
    if (out != NULL) *out = NULL;
    until = pg_deadline(s->o, until);
    int code = pg_ready(s, doing, err);
    if (code == BRAID_OK && p != NULL) code = pg_sending_fill(s, &sending, types, p, err);
    if (code != BRAID_OK) return code;
    int sent = p == NULL ? PQsendQuery(s->c, sql)
                         : PQsendQueryParams(s->c, sql, sending.count, sending.types, sending.values, sending.lengths,
                                             sending.formats, 1);
    if (sent == 0) return pg_fail(s, NULL, doing, err);
    code = pg_finish(s, until, doing, &r, err);
    return code == BRAID_OK ? pg_give(r, out) : code;
}

uint64_t pg_touched(const PGresult *r) {
    const char *text = PQcmdTuples((PGresult *)(uintptr_t)r); /* libpq forgot the const */
    return strtoull(text, NULL, 10);
}

/* ---- many in a pipeline ---- */

static int pg_expect(pg_session *s, char what, unsigned which, braid_error *err) {
    if (s->expected_first == s->expected_end) s->expected_first = s->expected_end = 0;
    if (s->expected_end == s->expected_room) {
        size_t room = s->expected_room == 0 ? 64 : s->expected_room * 2;
        pg_expected *more = realloc(s->expected, room * sizeof *more);
        if (more == NULL) return pg_no_memory(s, err);
        s->expected = more;
        s->expected_room = room;
    }
    s->expected[s->expected_end++] = (pg_expected){.what = what, .which = (uint16_t)which};
    return BRAID_OK;
}

int pg_pipeline_begin(pg_session *s, braid_error *err) {
    int code = pg_ready(s, "beginning a pipeline", err);
    if (code != BRAID_OK) return code;
    if (PQenterPipelineMode(s->c) == 0) return pg_fail(s, NULL, "beginning a pipeline", err);
    s->piping = true;
    s->unsynced = false;
    s->expected_first = s->expected_end = 0;
    return BRAID_OK;
}

int pg_pipeline_add(pg_session *s, unsigned which, const pg_params *p, braid_error *err) {
    pg_sending sending;
    char name[16];
    BRAID_ASSERT(s->piping && which < s->o->statement_count);
    int code = pg_sending_fill(s, &sending, s->o->statements[which].types, p, err);
    if (code != BRAID_OK) return code;
    pg_statement_name(name, which);
    if (s->prepared[which] == PG_NOT_PREPARED) {
        code = pg_expect(s, 'p', which, err);
        if (code != BRAID_OK) return code;
        if (PQsendPrepare(s->c, name, s->o->statements[which].sql, sending.count, sending.types) == 0)
            return pg_fail(s, NULL, "preparing a statement", err);
        s->prepared[which] = PG_PREPARING;
    }
    code = pg_expect(s, 'q', which, err);
    if (code != BRAID_OK) return code;
    s->unsynced = true;
    if (PQsendQueryPrepared(s->c, name, sending.count, sending.values, sending.lengths, sending.formats, 1) == 0)
        return pg_fail(s, NULL, "sending a statement", err);
    return BRAID_OK;
}

int pg_pipeline_sync(pg_session *s, deadline until, braid_error *err) {
    int code = pg_expect(s, 's', 0, err);
    if (code != BRAID_OK) return code;
    if (PQpipelineSync(s->c) == 0) return pg_fail(s, NULL, "sending statements", err);
    s->unsynced = false;
    return pg_send_all(s, pg_deadline(s->o, until), "sending statements", err);
}

int pg_pipeline_flush(pg_session *s, deadline until, braid_error *err) {
    if (PQsendFlushRequest(s->c) == 0) return pg_fail(s, NULL, "sending statements", err);
    return pg_send_all(s, pg_deadline(s->o, until), "sending statements", err);
}

/* One statement's only result, and the NULL that ends it. */
static int pg_piped(pg_session *s, deadline until, const char *doing, PGresult **out, braid_error *err) {
    PGresult *end = NULL;
    int code = pg_take(s, until, doing, out, err);
    if (code == BRAID_OK && *out == NULL) {
        s->broken = true;
        return error_set(err, BRAID_E_CORRUPT, s->o->store, "%s: PostgreSQL left an answer out", doing);
    }
    if (code == BRAID_OK) code = pg_take(s, until, doing, &end, err);
    if (code == BRAID_OK && end != NULL) {
        s->broken = true;
        code = error_set(err, BRAID_E_CORRUPT, s->o->store, "%s: PostgreSQL answered twice", doing);
    }
    PQclear(end);
    if (code != BRAID_OK) {
        PQclear(*out);
        *out = NULL;
    }
    return code;
}

static int pg_judge(pg_session *s, PGresult **r, const char *doing, braid_error *err) {
    ExecStatusType status = PQresultStatus(*r);
    int code = BRAID_OK;
    if (status == PGRES_PIPELINE_ABORTED)
        code = PG_SKIPPED;
    else if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY)
        code = pg_fail(s, *r, doing, err);
    if (code != BRAID_OK) {
        PQclear(*r);
        *r = NULL;
    }
    return code;
}

static int pg_synced(pg_session *s, deadline until, const char *doing, braid_error *err) {
    PGresult *r = NULL;
    int code = pg_take(s, until, doing, &r, err);
    if (code == BRAID_OK && PQresultStatus(r) != PGRES_PIPELINE_SYNC) {
        s->broken = true;
        code = error_set(err, BRAID_E_CORRUPT, s->o->store, "%s: PostgreSQL answered out of order", doing);
    }
    PQclear(r);
    return code;
}

/* Reads answers up to that of the next statement. With `drain`, that of nothing: up to the end. */
int pg_pipeline_next(pg_session *s, deadline until, const char *doing, PGresult **out, braid_error *err) {
    int first = BRAID_OK; /* what the statement's preparation said */
    PGresult *r = NULL;
    if (out != NULL) *out = NULL;
    until = pg_deadline(s->o, until);
    while (!s->broken && s->expected_first < s->expected_end) {
        pg_expected e = s->expected[s->expected_first++];
        if (e.what == 's') {
            int code = pg_synced(s, until, doing, err);
            if (code != BRAID_OK) return code;
            continue;
        }
        int code = pg_piped(s, until, doing, &r, err);
        if (code != BRAID_OK) return code;
        code = pg_judge(s, &r, doing, err);
        if (e.what == 'p') {
            s->prepared[e.which] = code == BRAID_OK ? PG_PREPARED : PG_NOT_PREPARED;
            PQclear(r);
            r = NULL;
            first = code;
            continue;
        }
        if (first != BRAID_OK) code = first;
        return code == BRAID_OK ? pg_give(r, out) : code;
    }
    if (first != BRAID_OK) return first; /* the connection went while the statement was being prepared */
    return error_set(err, BRAID_E_INTERNAL, s->o->store, "%s: no answer is expected", doing);
}

int pg_pipeline_end(pg_session *s, deadline until, braid_error *err) {
    int code = BRAID_OK;
    until = pg_deadline(s->o, until);
    if (!s->piping) return BRAID_OK;
    if (s->unsynced && !s->broken) code = pg_pipeline_sync(s, until, err);
    while (code == BRAID_OK && !s->broken && s->expected_first < s->expected_end) {
        if (s->expected[s->expected_first].what == 's') {
            s->expected_first++;
            code = pg_synced(s, until, "ending a pipeline", err);
            continue;
        }
        int skipped = pg_pipeline_next(s, until, "ending a pipeline", NULL, NULL);
        if (s->broken) code = skipped;
    }
    s->piping = false;
    for (unsigned i = 0; i < s->o->statement_count; i++)
        if (s->prepared[i] == PG_PREPARING) s->prepared[i] = PG_NOT_PREPARED;
    if (code == BRAID_OK && !s->broken && PQexitPipelineMode(s->c) == 0)
        code = pg_fail(s, NULL, "ending a pipeline", err);
    if (code == BRAID_OK && s->broken)
        code = error_set(err, BRAID_E_UNAVAILABLE, s->o->store, "ending a pipeline: the connection was lost");
    return code;
}
