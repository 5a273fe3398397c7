/* Reading what models have learned of items: a scan in pages by number, as the other scans; what was removed is an
 * empty list, which no statement here gives out. */
#include <stdlib.h>

#include "record/neighbours.h"
#include "record/record_postgres.h"

/* Hands on the rows of an answer with the columns num, model, at, version, list. *go_on false: the caller has enough.
 * */
static int rows_each(const PGresult *r, record_neighbour *list, record_neighbours_fn *each, void *ctx, uint32_t *last,
                     bool *go_on, braid_error *err) {
    for (int i = 0; *go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        size_t len = 0;
        int64_t num = pg_int8(&row, 0);
        record_neighbours n = {.num = (uint32_t)num,
                               .model = pg_text(&row, 1, NULL),
                               .at = pg_int8(&row, 2),
                               .version = (uint64_t)pg_int8(&row, 3),
                               .list = list};
        const void *bytes = pg_bytes(&row, 4, &len);
        if (row.bad || num <= 0 || num > UINT32_MAX || !record_neighbours_read(bytes, len, list, &n.count))
            return record_postgres_corrupt("reading neighbours", err);
        *last = n.num;
        *go_on = each(ctx, &n);
    }
    return BRAID_OK;
}

int record_postgres_scan_neighbours(void *self, const char *model, uint32_t after_num, record_neighbours_fn *each,
                                    void *ctx, braid_error *err) {
    pg_params p;
    bool go_on = true;
    record_neighbour *list = malloc(RECORD_NEIGHBOURS_MAX * sizeof *list);
    int code = list != NULL ? BRAID_OK : record_postgres_no_memory(err);
    pg_params_init(&p);
    for (int got = RECORD_POSTGRES_PAGE; code == BRAID_OK && go_on && got == RECORD_POSTGRES_PAGE;) {
        PGresult *r = NULL;
        pg_params_reset(&p);
        pg_bind_text(&p, model);
        pg_bind_int8(&p, after_num);
        pg_bind_int8(&p, RECORD_POSTGRES_PAGE);
        code = record_postgres_read(self, SQL_NEIGHBOURS_SCAN, &p, 0, "reading neighbours", &r, err);
        got = code == BRAID_OK ? pg_rows(r) : 0;
        if (code == BRAID_OK) code = rows_each(r, list, each, ctx, &after_num, &go_on, err);
        PQclear(r);
    }
    pg_params_free(&p);
    free(list);
    return code;
}

int record_postgres_item_neighbours(void *self, uint32_t num, record_neighbours_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    bool go_on = true;
    record_neighbour *list = malloc(RECORD_NEIGHBOURS_MAX * sizeof *list);
    if (list == NULL) return record_postgres_no_memory(err);
    pg_params_init(&p);
    pg_bind_int8(&p, num);
    int code = record_postgres_read(self, SQL_ITEM_NEIGHBOURS, &p, 0, "reading neighbours", &r, err);
    if (code == BRAID_OK) code = rows_each(r, list, each, ctx, &num, &go_on, err);
    PQclear(r);
    pg_params_free(&p);
    free(list);
    return code;
}
