/* Many changes of one kind at once: COPY into a table of the session, then one set-based statement.
 *
 * Items (put_staged_items gives them their numbers) without named vectors, each id once; the vectors, which are most
 * of the bytes, are then copied straight to where they stay. Lists of neighbours (put_staged_neighbours), each item
 * and model once. Slates (put_staged_lists), each id once. Episodes of their own: record_postgres_bulk_episodes.c.
 * Requests of fewer than RECORD_POSTGRES_BULK_MIN changes, and all others, go the ordinary way. The tables are
 * temporary: they are not logged, and empty themselves at the end of the transaction. */
#include <stdio.h>
#include <string.h>

#include "record/record_postgres.h"

static bool fit_for_bulk(const record_change *c, record_kind kind) {
    if (c->kind != kind || c->item == NULL) return false;
    if (kind == RECORD_NEIGHBOURS || kind == RECORD_SLATE) return true;
    if (kind == RECORD_EPISODE) return c->episode->interaction_lsn == 0;
    if (kind != RECORD_ITEM || c->remove) return false;
    for (size_t v = 0; v < c->item->vectors_count; v++)
        if (strcmp(c->item->vectors[v].name, "default") != 0) return false;
    return true;
}

enum { BULK_KEY_BYTES = MODEL_ID_BYTES_MAX + 16 };

/* What no two changes of a bulk request may share; `room` is for a key that is put together. */
static const char *bulk_key(const record_change *c, char room[BULK_KEY_BYTES]) {
    if (c->kind == RECORD_ITEM) return c->item->id;
    if (c->kind == RECORD_SLATE) return c->slate->id;
    snprintf(room, BULK_KEY_BYTES, "%u/%s", c->neighbours->num, c->neighbours->model);
    return room;
}

static bool bulk_distinct(const record_change *changes, size_t n) {
    char room[BULK_KEY_BYTES];
    map *keys = map_new(n);
    bool distinct = keys != NULL;
    for (size_t i = 0; distinct && i < n; i++) {
        if (changes[i].code != BRAID_OK) continue;
        const char *key = bulk_key(&changes[i], room);
        distinct = !map_get(keys, key, NULL) && map_put(keys, key, i);
    }
    map_free(keys);
    return distinct;
}

bool record_postgres_is_bulk(const record_change *changes, size_t n) {
    bool episodes = n > 0 && changes[0].kind == RECORD_EPISODE;
    if (n < (episodes ? RECORD_POSTGRES_BULK_EPISODES : RECORD_POSTGRES_BULK_MIN)) return false;
    for (size_t i = 0; i < n; i++)
        if (!fit_for_bulk(&changes[i], changes[0].kind)) return false;
    return episodes || bulk_distinct(changes, n);
}

/* ---- items ---- */

static int bulk_items(record_postgres_writer *w, record_postgres_request *r, deadline until, size_t *rows,
                      braid_error *err) {
    pg_copy k;
    uint64_t copied = 0;
    *rows = 0;
    int code =
        pg_copy_begin(&k, w->session, "COPY staged_items (n, id, body, given) FROM STDIN (FORMAT binary)", until, err);
    if (code != BRAID_OK) return code;
    for (size_t i = 0; code == BRAID_OK && i < r->n; i++) {
        const record_change *c = &r->changes[i];
        if (c->code != BRAID_OK) continue;
        pg_copy_row(&k, 4);
        pg_copy_int4(&k, (int32_t)i + 1);
        pg_copy_text(&k, c->item->id);
        pg_copy_bytes(&k, r->bodies[i].text, r->bodies[i].len);
        if (c->vector != NULL)
            pg_copy_bool(&k, c->vector_given);
        else
            pg_copy_null(&k);
        ++*rows;
        code = pg_copy_push(&k, err);
    }
    int ended = pg_copy_end(&k, &copied, code == BRAID_OK ? err : NULL);
    if (code == BRAID_OK) code = ended;
    if (code == BRAID_OK && copied != *rows) code = record_postgres_corrupt("copying items in", err);
    return code;
}

/* When the items have their numbers, and old vectors are gone. */
static int bulk_vectors(record_postgres_writer *w, record_postgres_request *r, deadline until, braid_error *err) {
    pg_copy k;
    uint64_t copied = 0, rows = 0;
    int code = pg_copy_begin(&k, w->session, "COPY vectors (num, data) FROM STDIN (FORMAT binary)", until, err);
    if (code != BRAID_OK) return code;
    for (size_t i = 0; code == BRAID_OK && i < r->n; i++) {
        const record_change *c = &r->changes[i];
        if (c->code != BRAID_OK || c->vector == NULL) continue;
        pg_copy_row(&k, 2);
        pg_copy_int8(&k, c->num);
        pg_copy_bytes(&k, c->vector, sizeof(float) * w->s->dim);
        rows++;
        code = pg_copy_push(&k, err);
    }
    int ended = pg_copy_end(&k, &copied, code == BRAID_OK ? err : NULL);
    if (code == BRAID_OK) code = ended;
    if (code == BRAID_OK && copied != rows) code = record_postgres_corrupt("copying vectors in", err);
    return code;
}

static int bulk_put_items(record_postgres_writer *w, record_postgres_request *r, deadline until, braid_error *err) {
    PGresult *answer = NULL;
    size_t rows = 0;
    int code = bulk_items(w, r, until, &rows, err);
    if (code == BRAID_OK) code = pg_run(w->session, SQL_PUT_STAGED, NULL, until, "writing items", &answer, err);
    if (code == BRAID_OK && (size_t)pg_rows(answer) != rows) code = record_postgres_corrupt("writing items", err);
    for (int i = 0; code == BRAID_OK && i < pg_rows(answer); i++) {
        pg_row row = {.r = answer, .row = i};
        int32_t n = pg_int4(&row, 0);
        int64_t lsn = pg_int8(&row, 1), num = pg_int8(&row, 2);
        if (row.bad || n < 1 || (size_t)n > r->n || lsn <= 0 || num <= 0 || num > UINT32_MAX) {
            code = record_postgres_corrupt("writing items", err);
            break;
        }
        r->changes[n - 1].lsn = (uint64_t)lsn;
        r->changes[n - 1].num = (uint32_t)num;
    }
    PQclear(answer);
    return code == BRAID_OK ? bulk_vectors(w, r, until, err) : code;
}

/* ---- neighbours, slates: rows that are judged one by one ---- */

typedef struct bulk_kind {
    const char *copy;
    unsigned columns;
    record_postgres_sql put; /* answers n, verdict, lsn */
    const char *doing;
    void (*row)(pg_copy *k, const record_change *c); /* all columns but n */
} bulk_kind;

static void bulk_neighbours(pg_copy *k, const record_change *c) {
    const record_neighbours *row = c->neighbours;
    size_t count = c->remove ? 0 : row->count;
    pg_copy_int8(k, row->num);
    pg_copy_text(k, row->model);
    pg_copy_int8(k, row->at);
    pg_copy_bytes(k, count > 0 ? (const void *)row->list : "", count * sizeof *row->list);
}

static void bulk_slate(pg_copy *k, const record_change *c) {
    const record_slate *row = c->slate;
    pg_copy_text(k, row->id);
    pg_copy_text(k, row->user);
    pg_copy_text(k, row->agent);
    pg_copy_int8(k, pg_time(row->at));
    pg_copy_bytes(k, row->body, row->body_len);
    pg_copy_int4(k, (int32_t)row->places);
    pg_copy_int4(k, (int32_t)row->explored);
}

static const bulk_kind bulk_of_neighbours = {
    "COPY staged_neighbours (n, num, model, at, list) FROM STDIN (FORMAT binary)", 5, SQL_PUT_STAGED_NEIGHBOURS,
    "writing neighbours", bulk_neighbours};
static const bulk_kind bulk_of_slates = {
    "COPY staged_slates (n, id, person, agent, at, body, places, explored) FROM STDIN (FORMAT binary)", 8,
    SQL_PUT_STAGED_SLATES, "writing slates", bulk_slate};

static int bulk_rows(record_postgres_writer *w, record_postgres_request *r, const bulk_kind *kind, deadline until,
                     size_t *rows, braid_error *err) {
    pg_copy k;
    uint64_t copied = 0;
    *rows = 0;
    int code = pg_copy_begin(&k, w->session, kind->copy, until, err);
    if (code != BRAID_OK) return code;
    for (size_t i = 0; code == BRAID_OK && i < r->n; i++) {
        if (r->changes[i].code != BRAID_OK) continue;
        pg_copy_row(&k, kind->columns);
        pg_copy_int4(&k, (int32_t)i + 1);
        kind->row(&k, &r->changes[i]);
        ++*rows;
        code = pg_copy_push(&k, err);
    }
    int ended = pg_copy_end(&k, &copied, code == BRAID_OK ? err : NULL);
    if (code == BRAID_OK) code = ended;
    if (code == BRAID_OK && copied != *rows) code = record_postgres_corrupt(kind->doing, err);
    return code;
}

static int bulk_put_rows(record_postgres_writer *w, record_postgres_request *r, const bulk_kind *kind, deadline until,
                         braid_error *err) {
    PGresult *answer = NULL;
    size_t rows = 0;
    int code = bulk_rows(w, r, kind, until, &rows, err);
    if (code == BRAID_OK) code = pg_run(w->session, kind->put, NULL, until, kind->doing, &answer, err);
    if (code == BRAID_OK && (size_t)pg_rows(answer) != rows) code = record_postgres_corrupt(kind->doing, err);
    for (int i = 0; code == BRAID_OK && i < pg_rows(answer); i++) {
        pg_row row = {.r = answer, .row = i};
        int32_t n = pg_int4(&row, 0);
        int verdict = pg_int2(&row, 1);
        int64_t lsn = pg_int8(&row, 2);
        record_change *c = !row.bad && n >= 1 && (size_t)n <= r->n ? &r->changes[n - 1] : NULL;
        if (c == NULL || !record_postgres_judge(c, verdict, lsn))
            code = record_postgres_corrupt(kind->doing, err);
        else if (c->kind == RECORD_NEIGHBOURS)
            c->num = c->neighbours->num;
    }
    PQclear(answer);
    return code;
}

int record_postgres_bulk(record_postgres_writer *w, record_postgres_group *g, const PGresult *answer, deadline until,
                         braid_error *err) {
    switch (g->first->changes[0].kind) {
    case RECORD_NEIGHBOURS: return bulk_put_rows(w, g->first, &bulk_of_neighbours, until, err);
    case RECORD_SLATE: return bulk_put_rows(w, g->first, &bulk_of_slates, until, err);
    case RECORD_EPISODE: return record_postgres_bulk_episodes(w, g, answer, until, err);
    default: return bulk_put_items(w, g->first, until, err);
    }
}
