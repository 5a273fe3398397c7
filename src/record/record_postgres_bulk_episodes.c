/* Many episodes of their own at once, of one caller or of several: one question, two COPYs.
 *
 *     admit_episodes     a verdict for each, and the numbers of its person, its item and itself
 *     COPY               straight into agent_episodes, and the states into episode_states
 *
 * Nothing is staged: the states are most of the bytes, and are written once. The question travels with BEGIN
 * (record_postgres_commit.c), so that a group waits for the server as often as bare COPYs in a transaction do. Keys may
 * repeat: the question judges the changes in their order. */
#include <stdlib.h>
#include <string.h>

#include "record/record_postgres.h"

/* What the question answered, for a change. */
typedef struct admitted {
    record_change *change;
    int64_t episode, person, item, at;
    bool write;
} admitted;

static const char doing[] = "writing episodes";

/* The changes of a group that are to be written, in order. */
typedef struct each {
    const record_postgres_request *r;
    size_t i;
} each;

static record_change *each_next(each *e) {
    for (; e->r != NULL; e->r = e->r->next, e->i = 0)
        while (e->i < e->r->n) {
            size_t i = e->i++;
            if (!e->r->bodies[i].refused) return &e->r->changes[i];
        }
    return NULL;
}

static void ask_texts(pg_params *p, const record_postgres_group *g, size_t n,
                      const char *(*text)(const record_episode *e)) {
    each all = {.r = g->first};
    pg_array_begin(p, 't', n);
    for (const record_change *c; (c = each_next(&all)) != NULL;) pg_add_text(p, text(c->episode));
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

void record_postgres_ask_episodes(pg_params *p, const record_postgres_group *g) {
    each all = {.r = g->first};
    size_t n = 0;
    while (each_next(&all) != NULL) n++;
    pg_params_reset(p);
    pg_array_begin(p, 'i', n);
    for (size_t i = 0; i < n; i++) pg_add_int4(p, (int32_t)i + 1);
    pg_array_end(p);
    ask_texts(p, g, n, user_of);
    ask_texts(p, g, n, item_of);
    ask_texts(p, g, n, key_of);
}

static int read_admitted(const record_postgres *s, const record_postgres_group *g, const PGresult *answer,
                         admitted *list, size_t *count, braid_error *err) {
    each all = {.r = g->first};
    size_t n = 0;
    for (record_change *c; (c = each_next(&all)) != NULL;) list[n++].change = c;
    *count = n;
    if ((size_t)pg_rows(answer) != n) return record_postgres_corrupt(doing, err);
    for (int i = 0; i < pg_rows(answer); i++) {
        pg_row row = {.r = answer, .row = i};
        int32_t number = pg_int4(&row, 0);
        int verdict = pg_int2(&row, 1);
        admitted a = {
            .episode = pg_int8(&row, 2), .person = pg_int8(&row, 3), .item = pg_int8(&row, 4), .write = verdict == 0};
        bool good = !row.bad && number >= 1 && (size_t)number <= n && a.item >= 0 && a.item <= UINT32_MAX &&
                    (!a.write || (a.episode > 0 && a.person > 0 && a.item > 0));
        if (good) a.change = list[number - 1].change;
        if (!good || !record_postgres_judge(a.change, verdict, a.episode)) return record_postgres_corrupt(doing, err);
        a.change->num = (uint32_t)a.item;
        a.at = record_postgres_at(s, a.change->episode->at);
        list[number - 1] = a;
    }
    return BRAID_OK;
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

static int copy_rows(record_postgres_writer *w, const admitted *list, size_t n, bool states, deadline until,
                     braid_error *err) {
    pg_copy k;
    uint64_t copied = 0, rows = 0;
    size_t first = 0;
    while (first < n && !(list[first].write && (!states || list[first].change->episode->vector != NULL))) first++;
    if (first == n) return BRAID_OK;
    int code = pg_copy_begin(&k, w->session,
                             states ? "COPY episode_states (episode, at, agent, state) FROM STDIN (FORMAT binary)"
                                    : "COPY agent_episodes (interaction, at, person, agent, session, state_hash, state,"
                                      " next_state_hash, item, action, reward, done, own) FROM STDIN (FORMAT binary)",
                             until, err);
    if (code != BRAID_OK) return code;
    for (size_t i = first; code == BRAID_OK && i < n; i++) {
        const record_episode *e = list[i].change->episode;
        if (!list[i].write || (states && e->vector == NULL)) continue;
        states ? state_row(&k, e, &list[i]) : episode_row(&k, e, &list[i]);
        rows++;
        code = pg_copy_push(&k, err);
    }
    int ended = pg_copy_end(&k, &copied, code == BRAID_OK ? err : NULL);
    if (code == BRAID_OK) code = ended;
    return code == BRAID_OK && copied != rows ? record_postgres_corrupt(doing, err) : code;
}

int record_postgres_bulk_episodes(record_postgres_writer *w, const record_postgres_group *g, const PGresult *answer,
                                  deadline until, braid_error *err) {
    admitted *list = calloc(g->changes, sizeof *list);
    size_t n = 0;
    if (list == NULL) return record_postgres_no_memory(err);
    int code = read_admitted(w->s, g, answer, list, &n, err);
    if (code == BRAID_OK) code = copy_rows(w, list, n, false, until, err);
    if (code == BRAID_OK) code = copy_rows(w, list, n, true, until, err);
    free(list);
    return code;
}
