/* Many episodes of their own at once: one question, two COPYs.
 *
 *     admit_episodes     a verdict for each, and the numbers of its person, its item and itself
 *     COPY               straight into agent_episodes, and the states into episode_states
 *     keep_user_states   the situation in which each person was met last
 *
 * Nothing is staged: the states are most of the bytes, and are written once. */
#include <stdlib.h>
#include <string.h>

#include "record/record_postgres.h"

/* What the question answered, for change i. */
typedef struct admitted {
    int64_t episode, person, item, at;
    bool write;
} admitted;

static const char doing[] = "writing episodes";

static void ask_texts(pg_params *p, const record_postgres_request *r, size_t n,
                      const char *(*text)(const record_episode *e)) {
    pg_array_begin(p, 't', n);
    for (size_t i = 0; i < r->n; i++)
        if (r->changes[i].code == BRAID_OK) pg_add_text(p, text(r->changes[i].episode));
    pg_array_end(p);
}

static const char *user_of(const record_episode *e) {
    return e->user;
}
static const char *item_of(const record_episode *e) {
    return e->action;
}
static const char *key_of(const record_episode *e) {
    return e->key != NULL && e->key[0] != '\0' ? e->key : NULL;
}

static int ask(record_postgres_writer *w, record_postgres_request *r, deadline until, admitted *out, braid_error *err) {
    pg_params *p = &w->params;
    PGresult *answer = NULL;
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) n += r->changes[i].code == BRAID_OK;
    pg_params_reset(p);
    pg_array_begin(p, 'i', n);
    for (size_t i = 0; i < r->n; i++)
        if (r->changes[i].code == BRAID_OK) pg_add_int4(p, (int32_t)i + 1);
    pg_array_end(p);
    ask_texts(p, r, n, user_of);
    ask_texts(p, r, n, item_of);
    ask_texts(p, r, n, key_of);
    int code = pg_run(w->session, SQL_ADMIT_EPISODES, p, until, doing, &answer, err);
    if (code == BRAID_OK && (size_t)pg_rows(answer) != n) code = record_postgres_corrupt(doing, err);
    for (int i = 0; code == BRAID_OK && i < pg_rows(answer); i++) {
        pg_row row = {.r = answer, .row = i};
        int32_t number = pg_int4(&row, 0);
        int verdict = pg_int2(&row, 1);
        admitted a = {
            .episode = pg_int8(&row, 2), .person = pg_int8(&row, 3), .item = pg_int8(&row, 4), .write = verdict == 0};
        bool good = !row.bad && number >= 1 && (size_t)number <= r->n && a.item >= 0 && a.item <= UINT32_MAX &&
                    (!a.write || (a.episode > 0 && a.person > 0 && a.item > 0));
        record_change *c = good ? &r->changes[number - 1] : NULL;
        if (c == NULL || !record_postgres_judge(c, verdict, a.episode)) {
            code = record_postgres_corrupt(doing, err);
            break;
        }
        c->num = (uint32_t)a.item;
        out[number - 1] = a;
    }
    PQclear(answer);
    return code;
}

static void some_text(pg_copy *k, const char *text) {
    pg_copy_text(k, text != NULL && text[0] != '\0' ? text : NULL);
}

static void episode_row(pg_copy *k, const record_episode *e, const admitted *a) {
    pg_copy_row(k, 13);
    pg_copy_int8(k, a->episode);
    pg_copy_int8(k, pg_time(a->at));
    pg_copy_int8(k, a->person);
    pg_copy_text(k, record_postgres_agent(e));
    some_text(k, e->session);
    pg_copy_text(k, e->state_hash);
    some_text(k, e->state);
    some_text(k, e->next_state_hash);
    pg_copy_int8(k, a->item);
    pg_copy_text(k, e->action);
    pg_copy_double(k, e->reward);
    pg_copy_bool(k, e->done);
    pg_copy_bool(k, true);
}

static void state_row(pg_copy *k, const record_episode *e, const admitted *a) {
    pg_copy_row(k, 4);
    pg_copy_int8(k, a->episode);
    pg_copy_int8(k, pg_time(a->at));
    pg_copy_text(k, record_postgres_agent(e));
    pg_copy_vector(k, e->vector, e->dim);
}

static int copy_rows(record_postgres_writer *w, record_postgres_request *r, const admitted *list, bool states,
                     deadline until, braid_error *err) {
    pg_copy k;
    uint64_t copied = 0, rows = 0;
    size_t first = 0;
    while (first < r->n && !(list[first].write && (!states || r->changes[first].episode->vector != NULL))) first++;
    if (first == r->n) return BRAID_OK;
    int code = pg_copy_begin(&k, w->session,
                             states ? "COPY episode_states (episode, at, agent, state) FROM STDIN (FORMAT binary)"
                                    : "COPY agent_episodes (interaction, at, person, agent, session, state_hash, state,"
                                      " next_state_hash, item, action, reward, done, own) FROM STDIN (FORMAT binary)",
                             until, err);
    if (code != BRAID_OK) return code;
    for (size_t i = first; code == BRAID_OK && i < r->n; i++) {
        const record_episode *e = r->changes[i].episode;
        if (!list[i].write || (states && e->vector == NULL)) continue;
        states ? state_row(&k, e, &list[i]) : episode_row(&k, e, &list[i]);
        rows++;
        code = pg_copy_push(&k, err);
    }
    int ended = pg_copy_end(&k, &copied, code == BRAID_OK ? err : NULL);
    if (code == BRAID_OK) code = ended;
    return code == BRAID_OK && copied != rows ? record_postgres_corrupt(doing, err) : code;
}

int record_postgres_bulk_episodes(record_postgres_writer *w, record_postgres_request *r, deadline until,
                                  braid_error *err) {
    admitted *list = calloc(r->n, sizeof *list);
    if (list == NULL) return record_postgres_no_memory(err);
    int code = ask(w, r, until, list, err);
    for (size_t i = 0; i < r->n; i++)
        if (list[i].write) list[i].at = record_postgres_at(w->s, r->changes[i].episode->at);
    if (code == BRAID_OK) code = copy_rows(w, r, list, false, until, err);
    if (code == BRAID_OK) code = copy_rows(w, r, list, true, until, err);
    pg_params_reset(&w->params);
    pg_bind_int4(&w->params, (int32_t)r->n);
    if (code == BRAID_OK) code = pg_run(w->session, SQL_KEEP_USER_STATES, &w->params, until, doing, NULL, err);
    free(list);
    return code;
}
