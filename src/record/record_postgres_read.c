/* Reading items, relations and users.
 *
 * A scan of everything goes in pages by key, each its own statement, so that no snapshot is held for long (it would
 * keep the horizon of the change log back); what changes between two pages has a higher version and comes again
 * through the log. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/record_postgres.h"

/* ---- items: columns num, version, id, body, given[, data] ---- */

static bool item_row(record_postgres *s, pg_row *row, bool vectors, float *room, record_item *out) {
    int64_t num = pg_int8(row, 0);
    size_t bytes = 0;
    memset(out, 0, sizeof *out);
    out->num = (uint32_t)num;
    out->version = (uint64_t)pg_int8(row, 1);
    out->id = pg_text(row, 2, NULL);
    out->body = pg_text(row, 3, &out->body_len);
    out->vector_given = !pg_null(row, 4) && pg_bool(row, 4);
    if (row->bad || num <= 0 || num > UINT32_MAX || out->id[0] == '\0') return false;
    const void *data = vectors ? pg_bytes(row, 5, &bytes) : NULL;
    if (data == NULL) return !row->bad;
    if (bytes != sizeof(float) * s->dim) return false;
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are stored little-endian");
    memcpy(room, data, bytes); /* an answer's bytes are not aligned */
    out->vector = room;
    return true;
}

/* Hands the rows on. *last is the last one's number, *go_on false when the caller has enough. */
static int items_each(record_postgres *s, const PGresult *r, bool vectors, record_item_fn *each, void *ctx,
                      uint32_t *last, bool *go_on, braid_error *err) {
    float *room = malloc(sizeof(float) * (s->dim > 0 ? s->dim : 1));
    int code = room != NULL ? BRAID_OK : record_postgres_no_memory(err);
    for (int i = 0; code == BRAID_OK && *go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        record_item it;
        if (!item_row(s, &row, vectors, room, &it)) {
            code = record_postgres_corrupt("reading items", err);
            break;
        }
        *last = it.num;
        *go_on = each(ctx, &it);
    }
    free(room);
    return code;
}

static int item_one(record_postgres *s, record_postgres_sql which, const pg_params *p, record_item_fn *each, void *ctx,
                    bool *found, braid_error *err) {
    PGresult *r = NULL;
    uint32_t last = 0;
    bool go_on = true;
    int code = record_postgres_read(s, which, p, 0, "reading an item", &r, err);
    *found = code == BRAID_OK && pg_rows(r) > 0;
    if (*found) code = items_each(s, r, true, each, ctx, &last, &go_on, err);
    PQclear(r);
    return code;
}

int record_postgres_get_item(void *self, const char *id, record_item_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    bool found = false;
    pg_params_init(&p);
    pg_bind_text(&p, id);
    int code = item_one(self, SQL_ITEM_BY_ID, &p, each, ctx, &found, err);
    if (code == BRAID_OK && !found)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_POSTGRES, "there is no item '%s'", id);
    pg_params_free(&p);
    return code;
}

int record_postgres_get_item_num(void *self, uint32_t num, record_item_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    bool found = false;
    pg_params_init(&p);
    pg_bind_int8(&p, num);
    int code = item_one(self, SQL_ITEM_BY_NUM, &p, each, ctx, &found, err);
    if (code == BRAID_OK && !found)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_POSTGRES, "there is no item number %u", num);
    pg_params_free(&p);
    return code;
}

int record_postgres_get_items(void *self, const uint32_t *nums, size_t n, bool with_vectors, record_item_fn *each,
                              void *ctx, braid_error *err) {
    record_postgres *s = self;
    pg_params p;
    bool go_on = true;
    uint32_t last = 0;
    int code = BRAID_OK;
    size_t page = with_vectors ? RECORD_POSTGRES_PAGE_VECTORS : RECORD_POSTGRES_PAGE;
    pg_params_init(&p);
    for (size_t at = 0; code == BRAID_OK && go_on && at < n; at += page) {
        PGresult *r = NULL;
        size_t some = n - at < page ? n - at : page;
        pg_params_reset(&p);
        pg_array_begin(&p, 'l', some);
        for (size_t i = at; i < at + some; i++) pg_add_int8(&p, nums[i]);
        pg_array_end(&p);
        code = record_postgres_read(s, with_vectors ? SQL_ITEMS_BY_NUM_VECTORS : SQL_ITEMS_BY_NUM, &p, 0,
                                    "reading items", &r, err);
        if (code == BRAID_OK) code = items_each(s, r, with_vectors, each, ctx, &last, &go_on, err);
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}

int record_postgres_scan_items(void *self, uint32_t after, bool with_vectors, record_item_fn *each, void *ctx,
                               braid_error *err) {
    record_postgres *s = self;
    pg_params p;
    bool go_on = true;
    int code = BRAID_OK, page = with_vectors ? RECORD_POSTGRES_PAGE_VECTORS : RECORD_POSTGRES_PAGE, got = page;
    pg_params_init(&p);
    while (code == BRAID_OK && go_on && got == page) {
        PGresult *r = NULL;
        pg_params_reset(&p);
        pg_bind_int8(&p, after);
        pg_bind_int8(&p, page);
        code = record_postgres_read(s, with_vectors ? SQL_ITEMS_SCAN_VECTORS : SQL_ITEMS_SCAN, &p, 0, "reading items",
                                    &r, err);
        if (code == BRAID_OK) {
            got = pg_rows(r);
            code = items_each(s, r, with_vectors, each, ctx, &after, &go_on, err);
        }
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}

/* In pages too, since a limit may be anything; a page begins after the last one's id. */
int record_postgres_list_items(void *self, const char *after_id, size_t limit, record_item_fn *each, void *ctx,
                               braid_error *err) {
    record_postgres *s = self;
    pg_params p;
    char id[MODEL_ID_BYTES_MAX + 1];
    bool go_on = true;
    uint32_t last = 0;
    int code = BRAID_OK;
    size_t got = 1;
    int n = snprintf(id, sizeof id, "%s", after_id != NULL ? after_id : "");
    if (n < 0 || (size_t)n >= sizeof id)
        return error_set(err, BRAID_E_INVALID, RECORD_POSTGRES, "an item's id has 1..%d bytes", MODEL_ID_BYTES_MAX);
    pg_params_init(&p);
    while (code == BRAID_OK && go_on && limit > 0 && got > 0) {
        PGresult *r = NULL;
        size_t page = limit < RECORD_POSTGRES_PAGE_VECTORS ? limit : RECORD_POSTGRES_PAGE_VECTORS;
        pg_params_reset(&p);
        pg_bind_text(&p, id);
        pg_bind_int8(&p, (int64_t)page);
        code = record_postgres_read(s, SQL_ITEMS_LIST, &p, 0, "listing items", &r, err);
        if (code == BRAID_OK) code = items_each(s, r, true, each, ctx, &last, &go_on, err);
        got = code == BRAID_OK ? (size_t)pg_rows(r) : 0;
        limit -= got < limit ? got : limit;
        if (got > 0) {
            pg_row row = {.r = r, .row = (int)got - 1};
            snprintf(id, sizeof id, "%s", pg_text(&row, 2, NULL));
        }
        if (got < page) got = 0;
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}

int record_postgres_item_vectors(void *self, uint32_t num,
                                 bool (*each)(void *ctx, const char *name, const float *values, uint32_t dim),
                                 void *ctx, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    float *values = malloc(sizeof(float) * MODEL_DIM_MAX);
    if (values == NULL) return record_postgres_no_memory(err);
    pg_params_init(&p);
    pg_bind_int8(&p, num);
    int code = record_postgres_read(self, SQL_NAMED_VECTORS, &p, 0, "reading an item's vectors", &r, err);
    for (int i = 0; code == BRAID_OK && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        size_t bytes = 0;
        const char *name = pg_text(&row, 0, NULL);
        const void *data = pg_bytes(&row, 1, &bytes);
        if (row.bad || data == NULL || bytes > sizeof(float) * MODEL_DIM_MAX || bytes % sizeof(float) != 0) {
            code = record_postgres_corrupt("reading an item's vectors", err);
            break;
        }
        memcpy(values, data, bytes);
        if (!each(ctx, name, values, (uint32_t)(bytes / sizeof(float)))) break;
    }
    PQclear(r);
    pg_params_free(&p);
    free(values);
    return code;
}

/* ---- relations: columns from_num, to_num, type, strength, version, from, to ---- */

static bool relation_row(pg_row *row, record_relation *out) {
    int64_t from = pg_int8(row, 0), to = pg_int8(row, 1);
    out->from_num = (uint32_t)from;
    out->to_num = (uint32_t)to;
    out->r.type = pg_text(row, 2, NULL);
    out->r.strength = pg_double(row, 3);
    out->version = (uint64_t)pg_int8(row, 4);
    out->r.from = pg_text(row, 5, NULL);
    out->r.to = pg_text(row, 6, NULL);
    return !row->bad && from > 0 && from <= UINT32_MAX && to > 0 && to <= UINT32_MAX && out->r.type[0] != '\0' &&
           out->r.from[0] != '\0' && out->r.to[0] != '\0';
}

/* The place in (from, to, type) order. */
typedef struct place {
    uint32_t from, to;
    char type[80];
} place;

/* Up to `limit` relations after the place, in pages. *read counts them. */
static int relations_read(record_postgres *s, place *after, size_t limit, record_relation_fn *each, void *ctx,
                          size_t *read, braid_error *err) {
    pg_params p;
    bool go_on = true;
    int code = BRAID_OK;
    *read = 0;
    pg_params_init(&p);
    for (size_t got = RECORD_POSTGRES_PAGE;
         code == BRAID_OK && go_on && got == RECORD_POSTGRES_PAGE && *read < limit;) {
        PGresult *r = NULL;
        size_t page = limit - *read < RECORD_POSTGRES_PAGE ? limit - *read : RECORD_POSTGRES_PAGE;
        pg_params_reset(&p);
        pg_bind_int8(&p, after->from);
        pg_bind_int8(&p, after->to);
        pg_bind_text(&p, after->type);
        pg_bind_int8(&p, (int64_t)page);
        code = record_postgres_read(s, SQL_RELATIONS_LIST, &p, 0, "reading relations", &r, err);
        got = code == BRAID_OK ? (size_t)pg_rows(r) : 0;
        for (size_t i = 0; go_on && i < got; i++) {
            pg_row row = {.r = r, .row = (int)i};
            record_relation rel;
            if (!relation_row(&row, &rel)) {
                code = record_postgres_corrupt("reading relations", err);
                break;
            }
            after->from = rel.from_num;
            after->to = rel.to_num;
            snprintf(after->type, sizeof after->type, "%s", rel.r.type);
            ++*read;
            go_on = each(ctx, &rel);
        }
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}

int record_postgres_scan_relations(void *self, record_relation_fn *each, void *ctx, braid_error *err) {
    place after = {0};
    size_t read = 0;
    return relations_read(self, &after, SIZE_MAX, each, ctx, &read, err);
}

int record_postgres_item_relations(void *self, uint32_t num, record_relation_fn *each, void *ctx, braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    pg_bind_int8(&p, num);
    int code = record_postgres_read(self, SQL_RELATIONS_OF, &p, 0, "reading relations", &r, err);
    for (int i = 0; code == BRAID_OK && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        record_relation rel;
        if (!relation_row(&row, &rel))
            code = record_postgres_corrupt("reading relations", err);
        else if (!each(ctx, &rel))
            break;
    }
    PQclear(r);
    pg_params_free(&p);
    return code;
}

/* One page of keys; column 7 is the key's place in it. */
static int relations_by_key(record_postgres *s, pg_params *p, const record_relation_key *keys, size_t first, size_t n,
                            record_relation_key_fn *each, void *ctx, bool *go_on, braid_error *err) {
    PGresult *r = NULL;
    pg_params_reset(p);
    pg_array_begin(p, 'l', n);
    for (size_t i = first; i < first + n; i++) pg_add_int8(p, keys[i].from);
    pg_array_end(p);
    pg_array_begin(p, 'l', n);
    for (size_t i = first; i < first + n; i++) pg_add_int8(p, keys[i].to);
    pg_array_end(p);
    pg_array_begin(p, 't', n);
    for (size_t i = first; i < first + n; i++) pg_add_text(p, keys[i].type);
    pg_array_end(p);
    int code = record_postgres_read(s, SQL_RELATIONS_BY_KEY, p, 0, "reading relations", &r, err);
    for (int i = 0; code == BRAID_OK && *go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        record_relation rel;
        int64_t which = pg_int8(&row, 7);
        if (!relation_row(&row, &rel) || which < 1 || (size_t)which > n)
            code = record_postgres_corrupt("reading relations", err);
        else
            *go_on = each(ctx, first + (size_t)which - 1, &rel);
    }
    PQclear(r);
    return code;
}

int record_postgres_get_relations(void *self, const record_relation_key *keys, size_t n, record_relation_key_fn *each,
                                  void *ctx, braid_error *err) {
    pg_params p;
    bool go_on = true;
    int code = BRAID_OK;
    pg_params_init(&p);
    for (size_t at = 0; code == BRAID_OK && go_on && at < n; at += RECORD_POSTGRES_PAGE)
        code = relations_by_key(self, &p, keys, at, n - at < RECORD_POSTGRES_PAGE ? n - at : RECORD_POSTGRES_PAGE, each,
                                ctx, &go_on, err);
    pg_params_free(&p);
    return code;
}

/* The key of a page is "from:to:TYPE" by numbers. */
static bool place_parse(const char *key, place *p) {
    memset(p, 0, sizeof *p);
    if (key == NULL || key[0] == '\0') return true;
    int end = 0;
    if (sscanf(key, "%" SCNu32 ":%" SCNu32 ":%79[A-Z0-9_]%n", &p->from, &p->to, p->type, &end) != 3) return false;
    return key[end] == '\0';
}

int record_postgres_list_relations(void *self, const char *after_key, size_t limit, record_relation_fn *each, void *ctx,
                                   char **last_key, braid_error *err) {
    place after;
    size_t read = 0;
    char text[128];
    if (last_key != NULL) *last_key = NULL;
    if (!place_parse(after_key, &after))
        return error_set(err, BRAID_E_INVALID, RECORD_POSTGRES, "'%s' is not a place in the list of relations",
                         after_key);
    int code = relations_read(self, &after, limit, each, ctx, &read, err);
    if (code != BRAID_OK || read == 0 || last_key == NULL) return code;
    snprintf(text, sizeof text, "%" PRIu32 ":%" PRIu32 ":%s", after.from, after.to, after.type);
    *last_key = strdup(text);
    return *last_key != NULL ? BRAID_OK : record_postgres_no_memory(err);
}

/* ---- users: columns id, body, version ---- */

static int users_each(const PGresult *r, record_text_fn *each, void *ctx, bool *go_on, braid_error *err) {
    for (int i = 0; *go_on && i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        size_t len = 0;
        const char *id = pg_text(&row, 0, NULL), *body = pg_text(&row, 1, &len);
        uint64_t version = (uint64_t)pg_int8(&row, 2);
        if (row.bad || id[0] == '\0' || len == 0) return record_postgres_corrupt("reading users", err);
        *go_on = each(ctx, id, body, len, version);
    }
    return BRAID_OK;
}

int record_postgres_get_user(void *self, const char *id, deadline until, record_text_fn *each, void *ctx,
                             braid_error *err) {
    pg_params p;
    PGresult *r = NULL;
    bool go_on = true;
    pg_params_init(&p);
    pg_bind_text(&p, id);
    int code = record_postgres_read(self, SQL_USER_GET, &p, until, "reading a user", &r, err);
    if (code == BRAID_OK && pg_rows(r) == 0)
        code = error_set(err, BRAID_E_NOT_FOUND, RECORD_POSTGRES, "there is no user '%s'", id);
    if (code == BRAID_OK) code = users_each(r, each, ctx, &go_on, err);
    PQclear(r);
    pg_params_free(&p);
    return code;
}

int record_postgres_list_users(void *self, const char *after_id, size_t limit, record_text_fn *each, void *ctx,
                               braid_error *err) {
    pg_params p;
    char id[MODEL_ID_BYTES_MAX + 1];
    bool go_on = true;
    int code = BRAID_OK;
    size_t got = 1;
    int n = snprintf(id, sizeof id, "%s", after_id != NULL ? after_id : "");
    if (n < 0 || (size_t)n >= sizeof id)
        return error_set(err, BRAID_E_INVALID, RECORD_POSTGRES, "a user's id has 1..%d bytes", MODEL_ID_BYTES_MAX);
    pg_params_init(&p);
    while (code == BRAID_OK && go_on && limit > 0 && got > 0) {
        PGresult *r = NULL;
        size_t page = limit < RECORD_POSTGRES_PAGE ? limit : RECORD_POSTGRES_PAGE;
        pg_params_reset(&p);
        pg_bind_text(&p, id);
        pg_bind_int8(&p, (int64_t)page);
        code = record_postgres_read(self, SQL_USERS_LIST, &p, 0, "listing users", &r, err);
        if (code == BRAID_OK) code = users_each(r, each, ctx, &go_on, err);
        got = code == BRAID_OK ? (size_t)pg_rows(r) : 0;
        limit -= got < limit ? got : limit;
        if (got > 0) {
            pg_row row = {.r = r, .row = (int)got - 1};
            snprintf(id, sizeof id, "%s", pg_text(&row, 0, NULL));
        }
        if (got < page) got = 0;
        PQclear(r);
    }
    pg_params_free(&p);
    return code;
}
