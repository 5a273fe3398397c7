/* Reading documents and slates; slates in pages by (at, id), as the other scans. */
#include <stdio.h>

#include "record/record_postgres.h"

static bool document_row(pg_row *row, record_document *out) {
    *out = (record_document){.kind = pg_text(row, 0, NULL), .id = pg_text(row, 1, NULL), .expect = RECORD_ANY_VERSION};
    out->body = pg_text(row, 2, &out->body_len);
    out->version = (uint64_t)pg_int8(row, 3);
    return !row->bad && out->kind[0] != '\0' && out->id[0] != '\0' && out->body_len > 0;
}

static int documents_each(const PGresult *r, record_document_fn *each, void *ctx, bool *go_on, braid_error *err) {
    for (int i = 0; *go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        record_document d;
        if (!document_row(&row, &d)) return record_postgres_corrupt("reading documents", err);
        *go_on = each(ctx, &d);
    }
    return BRAID_OK;
}

int record_postgres_get_document(void *self, const char *kind, const char *id, record_document_fn *each, void *ctx,
                                 braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    bool go_on = true;
    pg_params_init(&p);
    pg_bind_text(&p, kind);
    pg_bind_text(&p, id);
    int code = record_postgres_read(self, SQL_DOCUMENT_GET, &p, 0, "reading a document", &r, err);
    if (code == BRAID_OK && pg_rows(r) == 0)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_POSTGRES, "there is no document '%s/%s'", kind, id);
    if (code == BRAID_OK) code = documents_each(r, each, ctx, &go_on, err);
    PQclear(r);
    pg_params_free(&p);
    return code;
}

/* In pages, since a limit may be anything and a document large. */
int record_postgres_list_documents(void *self, const char *kind, const char *after_id, size_t limit,
                                   record_document_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    char id[MODEL_ID_BYTES_MAX + 1];
    bool go_on = true;
    int code = BRAID_OK;
    int n = snprintf(id, sizeof id, "%s", after_id != NULL ? after_id : "");
    if (n < 0 || (size_t)n >= sizeof id)
        return error_set(err, BRAID_E_INVALID, RECORD_POSTGRES, "a document's id has 1..%d bytes", MODEL_ID_BYTES_MAX);
    pg_params_init(&p);
    for (size_t got = 1; code == BRAID_OK && go_on && limit > 0 && got > 0;) {
        PGresult *r = NULL;
        size_t page = limit < RECORD_POSTGRES_PAGE_VECTORS ? limit : RECORD_POSTGRES_PAGE_VECTORS;
        pg_params_reset(&p);
        pg_bind_text(&p, kind);
        pg_bind_text(&p, id);
        pg_bind_int8(&p, (int64_t)page);
        code = record_postgres_read(self, SQL_DOCUMENTS_LIST, &p, 0, "listing documents", &r, err);
        if (code == BRAID_OK) code = documents_each(r, each, ctx, &go_on, err);
        got = code == BRAID_OK ? (size_t)pg_rows(r) : 0;
        limit -= got < limit ? got : limit;
        if (got > 0) {
            pg_row row = {.r = r, .row = (int)got - 1};
            snprintf(id, sizeof id, "%s", pg_text(&row, 1, NULL));
        }
        if (got < page) got = 0;
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}

static bool slate_row(pg_row *row, record_slate *out) {
    *out = (record_slate){.id = pg_text(row, 0, NULL),
                          .user = pg_text(row, 1, NULL),
                          .agent = pg_text(row, 2, NULL),
                          .at = pg_wall_ms(pg_int8(row, 3))};
    out->body = pg_bytes(row, 4, &out->body_len);
    out->places = (uint32_t)pg_int4(row, 5);
    out->explored = (uint32_t)pg_int4(row, 6);
    return !row->bad && out->id[0] != '\0' && out->agent[0] != '\0' && out->body != NULL && out->body_len > 0;
}

int record_postgres_get_slate(void *self, const char *id, record_slate_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    record_slate slate;
    pg_params_init(&p);
    pg_bind_text(&p, id);
    int code = record_postgres_read(self, SQL_SLATE_GET, &p, 0, "reading a slate", &r, err);
    pg_row row = {.r = r};
    if (code == BRAID_OK && pg_rows(r) == 0)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_POSTGRES, "there is no slate '%s'", id);
    else if (code == BRAID_OK && !slate_row(&row, &slate))
        code = record_postgres_corrupt("reading a slate", err);
    else if (code == BRAID_OK)
        each(ctx, &slate);
    PQclear(r);
    pg_params_free(&p);
    return code;
}

int record_postgres_scan_slates(void *self, const char *agent, int64_t from, int64_t until_at, record_slate_fn *each,
                                void *ctx, braid_error *err) {
    pg_params p;
    char after[MODEL_ID_BYTES_MAX + 1] = "";
    bool go_on = true;
    int code = BRAID_OK;
    pg_params_init(&p);
    for (int got = RECORD_POSTGRES_PAGE_VECTORS; code == BRAID_OK && go_on && got == RECORD_POSTGRES_PAGE_VECTORS;) {
        PGresult *r = NULL;
        pg_params_reset(&p);
        pg_bind_text(&p, agent);
        pg_bind_int8(&p, pg_time(until_at));
        pg_bind_int8(&p, pg_time(from));
        pg_bind_text(&p, after);
        pg_bind_int8(&p, RECORD_POSTGRES_PAGE_VECTORS);
        code = record_postgres_read(self, SQL_SLATES_SCAN, &p, 0, "reading slates", &r, err);
        got = code == BRAID_OK ? pg_rows(r) : 0;
        for (int i = 0; go_on && i < got; i++) {
            pg_row row = {.r = r, .row = i};
            record_slate slate;
            if (!slate_row(&row, &slate)) {
                code = record_postgres_corrupt("reading slates", err);
                break;
            }
            from = slate.at;
            snprintf(after, sizeof after, "%s", slate.id);
            go_on = each(ctx, &slate);
        }
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}
