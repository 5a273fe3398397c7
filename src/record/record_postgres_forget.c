/* Forgetting what is old: by whole months, and by rows where agents keep theirs for different times.
 *
 *     kept longest      |---- months that have ended for everybody: dropped, in one cheap step each
 *     kept for less     |----------- rows of these agents, found by an index: slices of a transaction each
 *
 * So an agent that keeps its episodes longer than the rest costs everybody else the dropping of months, and one that
 * keeps them for ever costs it for ever; nobody else's rows stay a day longer for that. What is kept longest goes with
 * its month, when the whole of it is old: up to a month late, as everything does while all keep equally long.
 *
 * Agents are taken from the rows, one after the other by the index over (agent, at), and not from what people
 * described: the rest is whoever has no time of their own. Two servers that forget at once wait for each
 * other: each step takes the lock that dropping months takes, and a row is counted by the one that deleted it.
 *
 * A slice finds its rows by their keys because the transaction says so (SQL_FORGET_LOCK). Left to itself the planner
 * reads every month for each slice.
 *
 * Rejected: a month of its own for each agent (as many tables as agents times months), and one DELETE of everything
 * old (a transaction of hours, which holds up vacuum and the learners' cursors). */
#include <stdlib.h>
#include <string.h>

#include "record/record_postgres.h"

enum { FORGET_MS = 60000, FORGET_SLICE = 2000 };
static const char doing[] = "forgetting";

/* The first column of the only row, a number. */
static int add_count(PGresult *r, uint64_t *removed, uint64_t *count, braid_error *err) {
    pg_row row = {.r = r};
    *count = pg_rows(r) == 1 ? (uint64_t)pg_int8(&row, 0) : 0;
    if (pg_rows(r) != 1 || row.bad) return record_postgres_corrupt(doing, err);
    *removed += *count;
    return BRAID_OK;
}

/* Dropping a month waits for those who read it. */
static int forget_months(record_postgres *s, const record_old *old, int64_t before, uint64_t *removed,
                         braid_error *err) {
    PGresult *r = NULL;
    uint64_t count;
    record_postgres_sql which = old->kind == RECORD_SLATE ? SQL_FORGET_SLATES : SQL_FORGET_EPISODES;
    int code = record_postgres_tend(s, which, before, FORGET_MS, doing, &r, err);
    if (code == BRAID_OK) code = add_count(r, removed, &count, err);
    PQclear(r);
    return code;
}

/* One slice of an agent's rows, in a transaction of its own. The lock comes with a statement of its own, so that the
 * next one sees what the server that held it has done. */
static int forget_slice(record_postgres *s, pg_session *session, const pg_params *p, uint64_t *removed, bool *more,
                        braid_error *err) {
    deadline until = record_postgres_now(s) + FORGET_MS * INT64_C(1000000);
    PGresult *r = NULL;
    uint64_t count = 0;
    int code = pg_run(session, SQL_BEGIN, NULL, until, doing, NULL, err);
    if (code == BRAID_OK) code = pg_run(session, SQL_FORGET_LOCK, NULL, until, doing, NULL, err);
    if (code == BRAID_OK) code = pg_run(session, SQL_FORGET_OF_AGENT, p, until, doing, &r, err);
    if (code == BRAID_OK) code = pg_run(session, SQL_COMMIT, NULL, until, doing, NULL, err);
    if (code == BRAID_OK) code = add_count(r, removed, &count, err);
    *more = count > 0;
    PQclear(r);
    return code;
}

/* The name after `agent` in the rows, into its place; *found false: there is none. */
static int next_agent(record_postgres *s, pg_session *session, char **agent, bool *found, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    pg_bind_text(&p, *agent != NULL ? *agent : "");
    int code =
        pg_run(session, SQL_NEXT_AGENT, &p, record_postgres_now(s) + FORGET_MS * INT64_C(1000000), doing, &r, err);
    *found = code == BRAID_OK && pg_rows(r) == 1;
    if (*found) {
        pg_row row = {.r = r};
        char *name = strdup(pg_text(&row, 0, NULL));
        free(*agent);
        *agent = name;
        if (name == NULL) code = record_postgres_no_memory(err);
    }
    PQclear(r);
    pg_params_free(&p);
    return code;
}

/* What is kept for less than the longest: `longest` is of when that is old. */
static int forget_rows(record_postgres *s, const record_old *old, int64_t longest, uint64_t *removed,
                       braid_error *err) {
    pg_session *session = NULL;
    char *agent = NULL;
    bool found = true, more = true;
    pg_params p;
    pg_params_init(&p);
    int code = record_postgres_tend_open(s, &session, err);
    while (code == BRAID_OK && (code = next_agent(s, session, &agent, &found, err)) == BRAID_OK && found) {
        int64_t before = record_old_before(old, agent);
        pg_params_reset(&p);
        pg_bind_text(&p, agent);
        pg_bind_int8(&p, pg_time(before));
        pg_bind_int8(&p, FORGET_SLICE);
        more = before > longest;
        while (code == BRAID_OK && more) code = forget_slice(s, session, &p, removed, &more, err);
    }
    pg_params_free(&p);
    free(agent);
    pg_close(session);
    return code;
}

int record_postgres_forget(void *self, const record_old *old, uint64_t *removed, braid_error *err) {
    int64_t longest = old->before;
    bool differ = false;
    for (size_t i = 0; i < old->agent_count; i++) {
        differ |= old->agents[i].before != old->before;
        if (old->agents[i].before < longest) longest = old->agents[i].before;
    }
    int code = longest == TIME_NONE ? BRAID_OK : forget_months(self, old, longest, removed, err);
    return code == BRAID_OK && differ ? forget_rows(self, old, longest, removed, err) : code;
}
