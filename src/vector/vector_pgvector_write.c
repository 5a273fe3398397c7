/* Batches into the table.
 *
 * A batch is copied in binary form into a table of the session and merged from there, in one transaction: COPY takes
 * 20,000 rows of 768 numbers a second where the same rows as parameters of INSERT take a third of that, and the
 * merge is one statement, so that versions are compared under the rows' locks. Of a number that is twice in a batch
 * the newest version counts, and of equal versions the last. A batch larger than the option says is written in
 * parts; what an error leaves undone is brought again by the feed. */
#include <stdlib.h>
#include <string.h>

#include "vector/vector_pgvector.h"

enum { TEXT_OID = 25 };

/* ---- an item's fields, in COPY's form ---- */

static void put32(buf *b, uint32_t n) {
    const char bytes[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
    buf_add(b, bytes, sizeof bytes);
}

static void put_element(buf *b, const char *text) {
    size_t len = strlen(text);
    put32(b, (uint32_t)len);
    buf_add(b, text, len);
}

static void array_head(buf *b, size_t count) {
    buf_reset(b);
    put32(b, count > 0); /* dimensions */
    put32(b, 0);         /* no element is NULL */
    put32(b, TEXT_OID);
    if (count == 0) return;
    put32(b, (uint32_t)count);
    put32(b, 1); /* the first has the number 1 */
}

static const string_list *list_of(const item *it, filter_field field) {
    switch (field) {
    case FIELD_COUNTRIES: return &it->countries;
    case FIELD_GENRES: return &it->genres;
    case FIELD_THEMES: return &it->themes;
    case FIELD_MOODS: return &it->moods;
    case FIELD_CONTEXTS: return &it->contexts;
    default: return &it->regions;
    }
}

static void copy_list(pg_copy *k, const item *it, filter_field field, buf *scratch) {
    if (field == FIELD_PEOPLE) {
        array_head(scratch, it != NULL ? it->people_count : 0);
        for (size_t i = 0; it != NULL && i < it->people_count; i++) put_element(scratch, it->people[i].name);
    } else {
        const string_list *list = it != NULL ? list_of(it, field) : &(string_list){NULL, 0};
        array_head(scratch, list->count);
        for (size_t i = 0; i < list->count; i++) put_element(scratch, list->values[i]);
    }
    if (scratch->failed) k->rows.failed = true;
    pg_copy_bytes(k, scratch->data, scratch->len);
}

static const char *text_of(const item *it, filter_field field) {
    switch (field) {
    case FIELD_ID: return it->id;
    case FIELD_TITLE: return it->title;
    case FIELD_ORIGINAL_TITLE: return it->original_title;
    case FIELD_KIND: return it->kind;
    case FIELD_LANGUAGE: return it->language;
    default: return it->synopsis;
    }
}

/* A text that is empty is one that is not there. */
static void copy_text(pg_copy *k, const char *text) {
    if (text == NULL || text[0] == '\0')
        pg_copy_null(k);
    else
        pg_copy_text(k, text);
}

static int append(const char *data, size_t len, void *ctx) {
    return buf_add(ctx, data, len) ? 0 : -1;
}

static void copy_attributes(pg_copy *k, const json_t *attributes, buf *scratch) {
    if (attributes == NULL) {
        pg_copy_null(k);
        return;
    }
    buf_reset(scratch);
    buf_putc(scratch, 1); /* the version of jsonb's form */
    if (json_dump_callback(attributes, append, scratch, JSON_COMPACT) != 0 || scratch->failed) k->rows.failed = true;
    pg_copy_bytes(k, scratch->data, scratch->len);
}

static void copy_optional(pg_copy *k, int32_t value) {
    if (value == 0)
        pg_copy_null(k);
    else
        pg_copy_int4(k, value);
}

static void copy_instant(pg_copy *k, int64_t at) {
    if (at == TIME_NONE)
        pg_copy_null(k);
    else
        pg_copy_int8(k, at);
}

static void copy_field(pg_copy *k, const item *it, filter_field field, buf *scratch) {
    if (filter_field_is_list(field)) {
        copy_list(k, it, field, scratch);
        return;
    }
    switch (field) {
    case FIELD_YEAR: copy_optional(k, it != NULL ? it->year : 0); break;
    case FIELD_DURATION_S: copy_optional(k, it != NULL ? it->duration_s : 0); break;
    case FIELD_AVAILABLE_FROM: copy_instant(k, it != NULL ? it->available_from : TIME_NONE); break;
    case FIELD_AVAILABLE_UNTIL: copy_instant(k, it != NULL ? it->available_until : TIME_NONE); break;
    case FIELD_AGE_RATING: pg_copy_int4(k, it != NULL ? it->age_rating : 0); break;
    case FIELD_TIER: pg_copy_int4(k, it != NULL ? it->tier : 0); break;
    case FIELD_ATTRIBUTE: copy_attributes(k, it != NULL ? it->attributes : NULL, scratch); break;
    default: copy_text(k, it != NULL ? text_of(it, field) : NULL); break;
    }
}

/* ---- a batch ---- */

static int compare_entries(const void *a, const void *b) {
    const vector_entry *x = *(const vector_entry *const *)a, *y = *(const vector_entry *const *)b;
    if (x->num != y->num) return x->num < y->num ? -1 : 1;
    if (x->version != y->version) return x->version < y->version ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Of each number the entry that counts, in the order of numbers. */
static size_t settle(const vector_entry **list, size_t n) {
    size_t kept = 0;
    qsort(list, n, sizeof *list, compare_entries);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || list[i]->num != list[i + 1]->num) list[kept++] = list[i];
    return kept;
}

typedef struct upserting {
    const vector_entry **list;
    size_t n;
} upserting;

static int copy_rows(pgvector *v, pg_session *s, const upserting *u, deadline until, braid_error *err) {
    float unit[PGV_DIM_MAX];
    pg_copy k;
    buf scratch;
    int code = pg_copy_begin(&k, s, "COPY braid_load FROM STDIN (FORMAT binary)", until, err);
    if (code != BRAID_OK) return code;
    buf_init(&scratch, 0);
    for (size_t i = 0; i < u->n && code == BRAID_OK; i++) {
        const vector_entry *e = u->list[i];
        code = pgv_normalise(v, e->values, unit, "a vector", err); /* it was looked at before */
        if (code != BRAID_OK) break;
        pg_copy_row(&k, (unsigned)pgv_columns_count + 3);
        pg_copy_int8(&k, e->num);
        pg_copy_int8(&k, (int64_t)e->version);
        pg_copy_vector(&k, unit, v->dim);
        for (size_t c = 0; c < pgv_columns_count; c++) copy_field(&k, e->it, pgv_columns[c].field, &scratch);
        code = pg_copy_push(&k, err);
    }
    buf_free(&scratch);
    if (code == BRAID_OK) return pg_copy_end(&k, NULL, err);
    pg_copy_abandon(&k);
    return code;
}

static int begin(pgvector *v, pg_session *s, deadline until, braid_error *err) {
    char sql[384];
    snprintf(
        sql, sizeof sql,
        "BEGIN; SET LOCAL statement_timeout = %lld; CREATE TEMP TABLE IF NOT EXISTS braid_load (LIKE %s.%s INCLUDING"
        " DEFAULTS INCLUDING STORAGE) ON COMMIT DELETE ROWS",
        (long long)pgv_left_ms(v, until), v->schema, v->table);
    return pg_exec(s, sql, NULL, NULL, until, "writing vectors", NULL, err);
}

static int merge(pgvector *v, pg_session *s, deadline until, braid_error *err) {
    pg_params none;
    PGresult *r = NULL;
    pg_params_init(&none);
    int code = pg_pipeline_begin(s, err);
    if (code == BRAID_OK) code = pg_pipeline_add(s, PGV_MERGE, &none, err);
    if (code == BRAID_OK) code = pg_pipeline_add(s, PGV_COMMIT, &none, err);
    if (code == BRAID_OK) code = pg_pipeline_sync(s, until, err);
    if (code == BRAID_OK) code = pg_pipeline_next(s, until, "writing vectors", &r, err);
    pg_row row = {.r = r};
    int64_t fresh = code == BRAID_OK && pg_rows(r) == 1 ? pg_int8(&row, 0) : 0;
    if (code == BRAID_OK) code = pg_pipeline_next(s, until, "writing vectors", NULL, err);
    if (!pg_broken(s)) {
        int ended = pg_pipeline_end(s, until, err);
        if (code == BRAID_OK) code = ended;
    }
    if (code == BRAID_OK) atomic_fetch_add_explicit(&v->count, (uint64_t)fresh, memory_order_relaxed);
    PQclear(r);
    pg_params_free(&none);
    return code;
}

static int upsert_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    const upserting *u = ctx;
    pgv_before_write(v, s, u->n, until);
    int code = begin(v, s, until, err);
    if (code == BRAID_OK) code = copy_rows(v, s, u, until, err);
    if (code == BRAID_OK) code = merge(v, s, until, err);
    return code; /* a transaction that was left open ends with its connection: it is not idle */
}

static int check_entries(const pgvector *v, const vector_entry *entries, size_t n, braid_error *err) {
    float unit[PGV_DIM_MAX];
    for (size_t i = 0; i < n; i++) {
        memcpy(unit, entries[i].values, v->dim * sizeof *unit);
        if (!vector_normalise(unit, v->dim))
            return error_set(err, BRAID_E_NOT_FINITE, PGV_STORE,
                             "vector %zu (item number %u) is all zero or not finite", i, entries[i].num);
        if (entries[i].version > INT64_MAX)
            return error_set(err, BRAID_E_INVALID, PGV_STORE, "the version of item number %u is too large",
                             entries[i].num);
    }
    return BRAID_OK;
}

static size_t batch_of(const pgvector *v) {
    return v->remote.batch != 0 ? v->remote.batch : PGV_BATCH_DEFAULT;
}

/* Nobody waits for a batch but the feed, and one that was given up is done again from its beginning. */
static deadline write_until(const pgvector *v) {
    return clock_mono_ns(v->clock) + (int64_t)remote_write_ms(&v->remote) * 1000000;
}

int pgv_upsert(void *self, const vector_entry *entries, size_t n, braid_error *err) {
    pgvector *v = self;
    int code = check_entries(v, entries, n, err);
    if (code != BRAID_OK) return code;
    const vector_entry **list = malloc(n * sizeof *list);
    if (list == NULL) return error_set(err, BRAID_E_NO_MEMORY, PGV_STORE, "memory ran out");
    for (size_t i = 0; i < n; i++) list[i] = &entries[i];
    n = settle(list, n);
    for (size_t done = 0; done < n && code == BRAID_OK;) {
        upserting u = {.list = list + done, .n = n - done < batch_of(v) ? n - done : batch_of(v)};
        code = pgv_with(v, write_until(v), upsert_work, &u, err);
        done += u.n;
    }
    free((void *)list);
    return code;
}

/* ---- taking out ---- */

typedef struct removing {
    const uint32_t *nums;
    size_t n;
} removing;

static int remove_work(pgvector *v, pg_session *s, void *ctx, deadline until, braid_error *err) {
    const removing *g = ctx;
    pg_params p;
    PGresult *r = NULL;
    pg_params_init(&p);
    pg_array_begin(&p, 'l', g->n);
    for (size_t i = 0; i < g->n; i++) pg_add_int8(&p, g->nums[i]);
    pg_array_end(&p);
    int code = pgv_ask(v, s, PGV_REMOVE, &p, until, "removing vectors", &r, err);
    PQclear(r);
    pg_params_free(&p);
    return code;
}

int pgv_remove(void *self, const uint32_t *nums, size_t n, braid_error *err) {
    pgvector *v = self;
    int code = BRAID_OK;
    for (size_t done = 0; done < n && code == BRAID_OK;) {
        removing g = {.nums = nums + done, .n = n - done < batch_of(v) ? n - done : batch_of(v)};
        code = pgv_with(v, write_until(v), remove_work, &g, err);
        done += g.n;
    }
    return code;
}
