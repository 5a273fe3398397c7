/* Many items at once: COPY into a table of the session, one set-based statement (put_staged_items), which gives them their
 * numbers, and COPY of the vectors, which are most of the bytes, straight to where they stay.
 *
 * For requests of at least RECORD_POSTGRES_BULK_MIN items, each id once and without named vectors; anything else goes the
 * ordinary way. The table is temporary: it is not logged, and empties itself at the end of the transaction. */
#include <string.h>

#include "record/record_postgres.h"

bool record_postgres_is_bulk(const record_change *changes, size_t n) {
    if (n < RECORD_POSTGRES_BULK_MIN) return false;
    for (size_t i = 0; i < n; i++) {
        const record_change *c = &changes[i];
        if (c->kind != RECORD_ITEM || c->remove || c->item == NULL) return false;
        for (size_t v = 0; v < c->item->vectors_count; v++)
            if (strcmp(c->item->vectors[v].name, "default") != 0) return false;
    }
    map *ids = map_new(n);
    bool distinct = ids != NULL;
    for (size_t i = 0; distinct && i < n; i++) {
        const char *id = changes[i].item->id;
        distinct = changes[i].code != BRAID_OK || (!map_get(ids, id, NULL) && map_put(ids, id, i));
    }
    map_free(ids);
    return distinct;
}

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

int record_postgres_bulk(record_postgres_writer *w, record_postgres_request *r, deadline until, braid_error *err) {
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
