/* The whole database as NDJSON that braid_write takes back, in pages: people, items (with the vectors their owner
 * gave), relations, interactions.
 *
 * A cursor is "SECTION:POSITION"; what changes while an export goes on is in it or not, but no line is broken. The rows
 * of a page are read first and printed after: a read inside another's callback would hold one connection while it waits
 * for a second, and as many exports at once as there are connections would wait for each other. An interaction whose
 * item has since been deleted stays behind: no load could take it. */
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

enum { PAGE_MAX = 10000 };

/* An item or an interaction that was read and is still to be printed. */
typedef struct kept_row {
    struct kept_row *next;
    const char *id, *body; /* of the item; the noun's JSON */
    size_t len;
    uint32_t num;
} kept_row;

typedef struct page {
    braid_db *db;
    buf *out;
    size_t count, limit;
    char last[1024];
    arena *a; /* of the rows */
    kept_row *first, **end;
    braid_error *err;
} page;

static bool keep_row(page *p, const char *id, uint32_t num, const char *body, size_t len) {
    kept_row *r = arena_alloc(p->a, sizeof *r);
    if (!r) return false;
    *r = (kept_row){NULL, arena_strdup(p->a, id), arena_strndup(p->a, body, len), len, num};
    *p->end = r;
    p->end = &r->next;
    return r->id && r->body;
}

static bool user_line(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    (void)version;
    page *p = ctx;
    buf_puts(p->out, "{\"user\":");
    buf_add(p->out, body, len);
    buf_puts(p->out, "}\n");
    snprintf(p->last, sizeof p->last, "%s", id);
    p->count++;
    return !p->out->failed;
}

typedef struct vectors_out {
    buf *out;
    size_t count;
} vectors_out;

static bool vector_field(void *ctx, const char *name, const float *values, uint32_t dim) {
    vectors_out *v = ctx;
    buf_puts(v->out, v->count++ ? "," : ",\"vectors\":{");
    buf_json_string(v->out, name);
    buf_puts(v->out, ":[");
    for (uint32_t i = 0; i < dim; i++) buf_printf(v->out, "%s%.9g", i ? "," : "", (double)values[i]);
    buf_putc(v->out, ']');
    return !v->out->failed;
}

static int print_item(page *p, const kept_row *r) {
    buf_puts(p->out, "{\"item\":");
    buf_add(p->out, r->body, r->len - 1); /* without the closing brace: vectors may follow */
    vectors_out v = {.out = p->out};
    int rc = record_item_vectors(p->db->record, r->num, vector_field, &v, p->err);
    buf_puts(p->out, v.count ? "}}}\n" : "}}\n");
    return rc;
}

static bool item_row(void *ctx, const record_item *it) {
    page *p = ctx;
    snprintf(p->last, sizeof p->last, "%s", it->id);
    p->count++;
    if (keep_row(p, it->id, it->num, it->body, it->body_len)) return true;
    p->out->failed = true;
    return false;
}

static bool relation_line(void *ctx, const record_relation *row) {
    page *p = ctx;
    buf_puts(p->out, "{\"relation\":");
    relation_to_json(&row->r, p->out);
    buf_puts(p->out, "}\n");
    p->count++;
    return !p->out->failed;
}

static bool nothing(void *ctx, const record_item *it) {
    (void)ctx;
    (void)it;
    return true;
}

/* The catalogue knows most items without a read; what it does not know may be too new for it. */
static int print_interaction(page *p, const kept_row *r) {
    uint32_t num;
    braid_error gone = {0};
    int rc = catalogue_num(p->db->catalogue, r->id, &num) ? BRAID_OK
                                                          : record_get_item(p->db->record, r->id, nothing, NULL, &gone);
    if (rc == BRAID_E_NOT_FOUND) return BRAID_OK;
    if (rc) return error_set(p->err, rc, gone.store, "%s", gone.message);
    buf_puts(p->out, "{\"interaction\":");
    buf_add(p->out, r->body, r->len);
    buf_puts(p->out, "}\n");
    return BRAID_OK;
}

static bool interaction_row(void *ctx, const record_interaction *in) {
    page *p = ctx;
    buf text;
    buf_init(&text, 0);
    bool kept = interaction_to_json(&in->in, &text) && keep_row(p, in->in.item, in->item_num, text.data, text.len);
    buf_free(&text);
    snprintf(p->last, sizeof p->last, "%llu", (unsigned long long)in->lsn);
    p->count++;
    if (!kept) p->out->failed = true;
    return kept;
}

static int print_rows(page *p, int (*print)(page *p, const kept_row *r)) {
    int rc = BRAID_OK;
    for (const kept_row *r = p->first; r && rc == BRAID_OK && !p->out->failed; r = r->next) rc = print(p, r);
    return rc;
}

static int page_users(page *p, const char *at) {
    return record_list_users(p->db->record, *at ? at : NULL, p->limit, user_line, p, p->err);
}

static int page_items(page *p, const char *at) {
    int rc = record_list_items(p->db->record, *at ? at : NULL, p->limit, item_row, p, p->err);
    return rc ? rc : print_rows(p, print_item);
}

static int page_relations(page *p, const char *at) {
    char *last = NULL;
    int rc = record_list_relations(p->db->record, *at ? at : NULL, p->limit, relation_line, p, &last, p->err);
    if (last) snprintf(p->last, sizeof p->last, "%s", last);
    free(last);
    return rc;
}

static int page_interactions(page *p, const char *at) {
    uint64_t after = strtoull(at, NULL, 10);
    int rc = record_scan_interactions(p->db->record, after, UINT64_MAX, p->limit, interaction_row, p, p->err);
    return rc ? rc : print_rows(p, print_interaction);
}

static const struct {
    const char *name;
    int (*read)(page *p, const char *at);
} sections[] = {
    {"users", page_users}, {"items", page_items}, {"relations", page_relations}, {"interactions", page_interactions}};
enum { SECTIONS = sizeof sections / sizeof sections[0] };

static int find_section(const char *cursor, size_t *section, const char **at, braid_error *err) {
    *section = 0;
    *at = "";
    if (!cursor || !*cursor) return BRAID_OK;
    const char *colon = strchr(cursor, ':');
    for (size_t i = 0; colon && i < SECTIONS; i++)
        if (strlen(sections[i].name) == (size_t)(colon - cursor) &&
            strncmp(cursor, sections[i].name, (size_t)(colon - cursor)) == 0) {
            *section = i;
            *at = colon + 1;
            return BRAID_OK;
        }
    return error_set(err, BRAID_E_INVALID, "request", "the cursor is not one that an export answered");
}

int braid_export(braid_db *db, const char *cursor, size_t limit, char **ndjson, char **next, braid_error *err) {
    *ndjson = *next = NULL;
    size_t section;
    const char *at;
    int rc = find_section(cursor, &section, &at, err);
    if (rc == BRAID_OK && (limit < 1 || limit > PAGE_MAX))
        rc = error_set(err, BRAID_E_INVALID, "request", "the limit goes from 1 to %d", PAGE_MAX);
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    page p = {.db = db, .out = &b, .limit = limit, .a = arena_new(16 * 1024), .err = err};
    p.end = &p.first;
    rc = p.a ? sections[section].read(&p, at) : error_set(err, BRAID_E_NO_MEMORY, "engine", "no memory for an export");
    arena_free(p.a);
    /* A short page ends its section. */
    bool more = p.count == limit;
    if (rc == BRAID_OK && (more || section + 1 < SECTIONS)) {
        buf n;
        buf_init(&n, 2048);
        buf_printf(&n, "%s:%s", sections[more ? section : section + 1].name, more ? p.last : "");
        rc = engine_text(&n, next, err);
    }
    if (rc == BRAID_OK)
        rc = engine_text(&b, ndjson, err);
    else
        buf_free(&b);
    if (rc) {
        free(*next);
        *next = NULL;
    }
    return rc;
}
