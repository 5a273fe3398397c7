/* Writing to the Neo4j graph store. A batch of items is one transaction of two round trips: the items, of which the
 * server says what became of each; then the memberships of each kind, and, of items that were there before, those that
 * are no more. Every other batch is one round trip. The guards by version are in the statements.
 *
 * A call of more than `batch` rows is several transactions; after an error those that went before stay, and the feed
 * does the call again. Of rows for the same key the newest counts, the last one of equals: the server would otherwise
 * mix them, since every statement looks at all rows. */
#include <stdlib.h>
#include <string.h>

#include "graph/graph_neo4j.h"

/* ---- of each key one row ---- */

typedef struct keyed {
    uint64_t key;
    uint64_t version;
    size_t at;
} keyed;

static int keyed_compare(const void *a, const void *b) {
    const keyed *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    if (x->version != y->version) return x->version < y->version ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The newest row of each key, by key: `rows` is sorted and shortened. */
static size_t keep_newest(keyed *rows, size_t n) {
    qsort(rows, n, sizeof *rows, keyed_compare);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || rows[i + 1].key != rows[i].key) rows[kept++] = rows[i];
    return kept;
}

static void put_now(const graph_neo4j *g, buf *b) {
    ps_put_str(b, "now");
    ps_put_int(b, clock_wall_ms(g->options.clock));
}

static int version_fits(uint64_t version, braid_error *err) {
    if (version <= INT64_MAX) return BRAID_OK;
    return error_set(err, BRAID_E_TOO_LARGE, GRAPH_NEO4J_STORE, "the version %llu is over 2^63-1",
                     (unsigned long long)version);
}

/* ---- items ---- */

/* The names of one kind: a list, or the people's. */
static size_t kind_count(const item *it, size_t kind) {
    const string_list *lists[] = {&it->genres, &it->themes, &it->moods, &it->contexts};
    return kind < 4 ? lists[kind]->count : it->people_count;
}

static const char *kind_value(const item *it, size_t kind, size_t i) {
    const string_list *lists[] = {&it->genres, &it->themes, &it->moods, &it->contexts};
    return kind < 4 ? lists[kind]->values[i] : it->people[i].name;
}

/* A director who also acts is one membership. */
static bool named_before(const item *it, size_t kind, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (strcmp(kind_value(it, kind, j), kind_value(it, kind, i)) == 0) return true;
    return false;
}

static size_t put_values(const item *it, size_t kind, buf *b) {
    size_t at = ps_open_list(b), count = 0;
    for (size_t i = 0; i < kind_count(it, kind); i++) {
        if (named_before(it, kind, i)) continue;
        ps_put_str(b, kind_value(it, kind, i));
        count++;
    }
    ps_close(b, at, count);
    return count;
}

static void put_text(buf *b, const char *key, const char *text) {
    ps_put_str(b, key);
    ps_put_str(b, text != NULL && text[0] != '\0' ? text : NULL); /* null takes the property away */
}

static void put_item(const graph_item *row, bool with_id, buf *b) {
    ps_put_list(b, 3);
    ps_put_int(b, row->num);
    ps_put_int(b, (int64_t)row->version);
    ps_put_map(b, 5);
    put_text(b, "id", with_id ? row->it->id : NULL);
    put_text(b, "title", row->it->title);
    put_text(b, "kind", row->it->kind);
    put_text(b, "language", row->it->language);
    ps_put_str(b, "year");
    if (row->it->year != 0)
        ps_put_int(b, row->it->year);
    else
        ps_put_null(b);
}

/* What the server said of a row. */
typedef enum fate { OVERTAKEN, NEW, KNOWN } fate;

typedef struct item_batch {
    graph_neo4j *g;
    const graph_item *items;
    keyed *rows; /* by number */
    size_t n;
    fate *fates;
    bool *without_id; /* NULL: all ids are sent */
    bool release;     /* take the ids from whoever has them first */
} item_batch;

static void ask_items(graph_neo4j_request *rq, const item_batch *b, const char *text, bolt_each each, void *ctx) {
    buf *p = graph_neo4j_ask(rq, text, each, ctx);
    ps_put_map(p, 2);
    put_now(b->g, p);
    ps_put_str(p, "rows");
    ps_put_list(p, b->n);
    for (size_t i = 0; i < b->n; i++) put_item(&b->items[b->rows[i].at], b->without_id == NULL || !b->without_id[i], p);
}

static int see_fate(void *ctx, bolt_row *row, braid_error *err) {
    item_batch *b = ctx;
    int64_t num;
    bool known;
    if (!ps_read_int(&row->values, &num) || !ps_read_bool(&row->values, &known))
        return ps_error(&row->values, GRAPH_NEO4J_STORE, err);
    size_t low = 0, high = b->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (b->rows[mid].key < (uint64_t)num)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < b->n && b->rows[low].key == (uint64_t)num) b->fates[low] = known ? KNOWN : NEW;
    return BRAID_OK;
}

/* ---- memberships, by the names ---- */

typedef struct membership {
    const char *name;
    uint32_t num;
} membership;

static int membership_compare(const void *a, const void *b) {
    const membership *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : x->num < y->num ? -1 : x->num > y->num;
}

/* Every name with its items, in the order of the names; each pair once. */
static void put_memberships(buf *p, membership *list, size_t n) {
    qsort(list, n, sizeof *list, membership_compare);
    size_t at = ps_open_list(p), names = 0;
    for (size_t i = 0, end; i < n; i = end, names++) {
        size_t count = 0;
        ps_put_list(p, 2);
        ps_put_str(p, list[i].name);
        size_t nums = ps_open_list(p);
        for (end = i; end < n && strcmp(list[end].name, list[i].name) == 0; end++) {
            if (end > i && list[end].num == list[end - 1].num) continue;
            ps_put_int(p, list[end].num);
            count++;
        }
        ps_close(p, nums, count);
    }
    ps_close(p, at, names);
}

static void ask_kind(graph_neo4j_request *rq, const item_batch *b, size_t kind, fate of, membership *room) {
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        const graph_item *row = &b->items[b->rows[i].at];
        for (size_t j = 0; b->fates[i] == of && j < kind_count(row->it, kind); j++)
            room[n++] = (membership){kind_value(row->it, kind, j), row->num};
    }
    if (n == 0) return;
    buf *p = graph_neo4j_ask(rq, graph_neo4j_kinds[kind].add[of == KNOWN], NULL, NULL);
    ps_put_map(p, 1);
    ps_put_str(p, "rows");
    put_memberships(p, room, n);
}

/* Of items that were there before: what they no longer have. */
static void ask_drop(graph_neo4j_request *rq, const item_batch *b) {
    size_t known = 0;
    for (size_t i = 0; i < b->n; i++) known += b->fates[i] == KNOWN;
    if (known == 0) return;
    buf *p = graph_neo4j_ask(rq, graph_neo4j_statements.drop_memberships, NULL, NULL);
    ps_put_map(p, 1);
    ps_put_str(p, "rows");
    ps_put_list(p, known);
    for (size_t i = 0; i < b->n; i++) {
        const graph_item *row = &b->items[b->rows[i].at];
        size_t count = 0;
        if (b->fates[i] != KNOWN) continue;
        ps_put_map(p, 2 + GRAPH_NEO4J_KINDS);
        ps_put_str(p, "num");
        ps_put_int(p, row->num);
        for (size_t kind = 0; kind < GRAPH_NEO4J_KINDS; kind++) {
            ps_put_str(p, graph_neo4j_kinds[kind].type);
            count += put_values(row->it, kind, p);
        }
        ps_put_str(p, "count");
        ps_put_int(p, (int64_t)count);
    }
}

static int ask_memberships(graph_neo4j_request *rq, const item_batch *b, braid_error *err) {
    size_t most = 1;
    for (size_t i = 0; i < b->n; i++)
        for (size_t kind = 0; kind < GRAPH_NEO4J_KINDS; kind++) most += kind_count(b->items[b->rows[i].at].it, kind);
    membership *room = malloc(most * sizeof *room);
    if (room == NULL) return graph_neo4j_no_memory(err);
    for (size_t kind = 0; kind < GRAPH_NEO4J_KINDS; kind++) {
        ask_kind(rq, b, kind, NEW, room);
        ask_kind(rq, b, kind, KNOWN, room);
    }
    ask_drop(rq, b);
    free(room);
    return BRAID_OK;
}

/* One transaction; it may be begun anew. */
static int work_items(bolt_tx *tx, void *ctx, braid_error *err) {
    item_batch *b = ctx;
    graph_neo4j_request first = {0}, second = {0};
    memset(b->fates, 0, b->n * sizeof *b->fates);
    if (b->release) ask_items(&first, b, graph_neo4j_statements.release_ids, NULL, NULL);
    ask_items(&first, b, graph_neo4j_statements.put_items, see_fate, b);
    int rc = graph_neo4j_run_in(tx, &first, err);
    if (rc == BRAID_OK) rc = ask_memberships(&second, b, err);
    if (rc == BRAID_OK) rc = graph_neo4j_run_in(tx, &second, err);
    graph_neo4j_request_free(&first);
    graph_neo4j_request_free(&second);
    return rc;
}

static int write_items(item_batch *b, bolt_failure *failure, braid_error *err) {
    bolt_call call = graph_neo4j_write_call(b->g, failure);
    return bolt_managed(b->g->bolt, &call, work_items, b, err);
}

/* Marks every row whose id a later row of the batch has too. */
static int mark_doubles(item_batch *b, braid_error *err) {
    map *last = map_new(b->n);
    b->without_id = calloc(b->n, sizeof *b->without_id);
    int rc = last != NULL && b->without_id != NULL ? BRAID_OK : graph_neo4j_no_memory(err);
    for (size_t i = 0; rc == BRAID_OK && i < b->n; i++) {
        const char *id = b->items[b->rows[i].at].it->id;
        uint64_t before;
        if (map_get(last, id, &before)) b->without_id[before] = true;
        if (!map_put(last, id, i)) rc = graph_neo4j_no_memory(err);
    }
    map_free(last);
    return rc;
}

/* An id belongs to one node. When it is still with another number, since the removal of that one comes later in the
 * log, the batch is done again and takes it first. */
static int put_batch(item_batch *b, braid_error *err) {
    bolt_failure failure = {0};
    braid_error why = {0};
    int rc = write_items(b, &failure, &why);
    if (rc == BRAID_E_CONFLICT) {
        rc = mark_doubles(b, err);
        b->release = true;
        if (rc == BRAID_OK) rc = write_items(b, &failure, err);
        free(b->without_id);
        b->without_id = NULL;
        return rc;
    }
    return rc == BRAID_OK ? rc : error_set(err, rc, why.store, "%s", why.message);
}

int graph_neo4j_upsert_items(void *self, const graph_item *items, size_t n, braid_error *err) {
    graph_neo4j *g = self;
    keyed *rows = malloc(n * sizeof *rows);
    fate *fates = malloc(n * sizeof *fates);
    int rc = rows != NULL && fates != NULL ? BRAID_OK : graph_neo4j_no_memory(err);
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) {
        rc = version_fits(items[i].version, err);
        rows[i] = (keyed){.key = items[i].num, .version = items[i].version, .at = i};
    }
    size_t kept = rc == BRAID_OK ? keep_newest(rows, n) : 0;
    for (size_t at = 0; rc == BRAID_OK && at < kept; at += g->batch) {
        size_t some = kept - at < g->batch ? kept - at : g->batch;
        item_batch b = {.g = g, .items = items, .rows = rows + at, .n = some, .fates = fates};
        rc = put_batch(&b, err);
    }
    free(fates);
    free(rows);
    return rc;
}

static void ask_nums(graph_neo4j_request *rq, const char *text, const graph_neo4j *g, const uint32_t *nums, size_t n) {
    buf *p = graph_neo4j_ask(rq, text, NULL, NULL);
    ps_put_map(p, 2);
    put_now(g, p);
    ps_put_str(p, "nums");
    ps_put_list(p, n);
    for (size_t i = 0; i < n; i++) ps_put_int(p, nums[i]);
}

/* Old removals are cleaned by those who add new ones: they never grow without bound, and nobody else need think of
 * them. */
static void ask_forget(graph_neo4j_request *rq, const char *text, const graph_neo4j *g) {
    buf *p = graph_neo4j_ask(rq, text, NULL, NULL);
    ps_put_map(p, 1);
    ps_put_str(p, "before");
    ps_put_int(p, clock_wall_ms(g->options.clock) - GRAPH_NEO4J_REMEMBER_MS);
}

static int remove_batch(graph_neo4j *g, const uint32_t *nums, size_t n, braid_error *err) {
    const graph_neo4j_cypher *c = &graph_neo4j_statements;
    const char *const texts[] = {c->remember_items, c->remove_memberships, c->remove_relations_of, c->remove_items};
    graph_neo4j_request rq = {0};
    bolt_call call = graph_neo4j_write_call(g, NULL);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) ask_nums(&rq, texts[i], g, nums, n);
    ask_forget(&rq, c->forget_items, g);
    int rc = graph_neo4j_run(g, &rq, &call, err);
    graph_neo4j_request_free(&rq);
    return rc;
}

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* In ascending order, each once; how many are left. */
static size_t sort_once(uint32_t *nums, size_t n) {
    size_t kept = 0;
    qsort(nums, n, sizeof *nums, compare_u32);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || nums[kept - 1] != nums[i]) nums[kept++] = nums[i];
    return kept;
}

/* Each number once: a statement that meets a node which it has deleted fails. */
int graph_neo4j_remove_items(void *self, const uint32_t *nums, size_t n, braid_error *err) {
    graph_neo4j *g = self;
    uint32_t *sorted = malloc(n * sizeof *sorted);
    if (sorted == NULL) return graph_neo4j_no_memory(err);
    memcpy(sorted, nums, n * sizeof *sorted);
    size_t kept = sort_once(sorted, n);
    int rc = BRAID_OK;
    for (size_t at = 0; rc == BRAID_OK && at < kept; at += g->batch)
        rc = remove_batch(g, sorted + at, kept - at < g->batch ? kept - at : g->batch, err);
    free(sorted);
    return rc;
}

/* ---- relations ---- */

/* Edges in the order of type, from, to, version and place: those of a type stand together, and a key's newest is its
 * last. */
typedef struct edge_row {
    const graph_edge *e;
    size_t at;
} edge_row;

static int edge_key_compare(const graph_edge *a, const graph_edge *b) {
    int order = strcmp(a->type, b->type);
    if (order != 0) return order;
    if (a->from != b->from) return a->from < b->from ? -1 : 1;
    return a->to < b->to ? -1 : a->to > b->to;
}

static int edge_row_compare(const void *a, const void *b) {
    const edge_row *x = a, *y = b;
    int order = edge_key_compare(x->e, y->e);
    if (order != 0) return order;
    if (x->e->version != y->e->version) return x->e->version < y->e->version ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

typedef struct edge_batch {
    graph_neo4j *g;
    const edge_row *rows;
    size_t n;
    bool remove;
} edge_batch;

static char *relations_text(const edge_batch *b, const char *type) {
    buf text;
    buf_init(&text, 4096);
    bool ok = b->remove ? graph_neo4j_remove_relations_text(type, &text) : graph_neo4j_put_relations_text(type, &text);
    char *out = ok ? buf_steal(&text) : NULL;
    buf_free(&text);
    return out;
}

static void put_edges(const edge_batch *b, size_t first, size_t n, bool with_type, buf *p) {
    ps_put_str(p, "rows");
    ps_put_list(p, n);
    for (size_t i = first; i < first + n; i++) {
        const graph_edge *e = b->rows[i].e;
        ps_put_list(p, b->remove && !with_type ? 3 : 4);
        ps_put_int(p, e->from);
        ps_put_int(p, e->to);
        if (!b->remove) ps_put_real(p, (double)e->strength);
        ps_put_int(p, (int64_t)e->version);
        if (with_type) ps_put_str(p, e->type);
    }
}

static void ask_type(graph_neo4j_request *rq, const edge_batch *b, size_t first, size_t n) {
    const char *type = b->rows[first].e->type;
    buf *p = graph_neo4j_ask_owned(rq, relations_text(b, type), NULL, NULL);
    ps_put_map(p, 2);
    ps_put_str(p, "type");
    ps_put_str(p, type);
    put_edges(b, first, n, false, p);
}

static int write_edges(const edge_batch *b, braid_error *err) {
    const graph_neo4j_cypher *c = &graph_neo4j_statements;
    graph_neo4j_request rq = {0};
    bolt_call call = graph_neo4j_write_call(b->g, NULL);
    if (b->remove) {
        buf *p = graph_neo4j_ask(&rq, c->remember_relations, NULL, NULL);
        ps_put_map(p, 2);
        put_now(b->g, p);
        put_edges(b, 0, b->n, true, p);
    }
    for (size_t first = 0, end; first < b->n; first = end) {
        for (end = first + 1; end < b->n && strcmp(b->rows[end].e->type, b->rows[first].e->type) == 0;) end++;
        ask_type(&rq, b, first, end - first);
    }
    if (b->remove) ask_forget(&rq, c->forget_relations, b->g);
    int rc = graph_neo4j_run(b->g, &rq, &call, err);
    graph_neo4j_request_free(&rq);
    return rc;
}

static int write_all_edges(graph_neo4j *g, const graph_edge *edges, size_t n, bool remove, braid_error *err) {
    edge_row *rows = malloc(n * sizeof *rows);
    int rc = rows != NULL ? BRAID_OK : graph_neo4j_no_memory(err);
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) {
        rc = version_fits(edges[i].version, err);
        if (rc == BRAID_OK && !relation_type_valid(edges[i].type))
            rc = error_set(err, BRAID_E_INVALID, GRAPH_NEO4J_STORE, "\"%.64s\" is no relation type", edges[i].type);
        rows[i] = (edge_row){&edges[i], i};
    }
    size_t kept = 0;
    if (rc == BRAID_OK) qsort(rows, n, sizeof *rows, edge_row_compare);
    for (size_t i = 0; rc == BRAID_OK && i < n; i++)
        if (i + 1 == n || edge_key_compare(rows[i].e, rows[i + 1].e) != 0) rows[kept++] = rows[i];
    for (size_t at = 0; rc == BRAID_OK && at < kept; at += g->batch) {
        edge_batch b = {.g = g, .rows = rows + at, .n = kept - at < g->batch ? kept - at : g->batch, .remove = remove};
        rc = write_edges(&b, err);
    }
    free(rows);
    return rc;
}

int graph_neo4j_upsert_relations(void *self, const graph_edge *edges, size_t n, braid_error *err) {
    return write_all_edges(self, edges, n, false, err);
}

int graph_neo4j_remove_relations(void *self, const graph_edge *edges, size_t n, braid_error *err) {
    return write_all_edges(self, edges, n, true, err);
}
