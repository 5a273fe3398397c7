/* Reading: items, people, neighbourhoods, as JSON. Items and people come from the record store (the truth), what is
 * near over the graph. */
#include <stdlib.h>
#include <string.h>

#include "engine/db.h"

enum { LIST_MAX = 1000, NEIGHBOURS_MAX = 200, EDGES_MAX = 1000, HISTORY_MAX = 1000000 };

/* ---- small helpers ---- */
static void text_field(buf *out, const char *name, const char *value) {
    buf_printf(out, "\"%s\":", name);
    buf_json_string(out, value);
}

static int finish(int rc, buf *b, char **json, braid_error *err) {
    if (rc == BRAID_OK) return engine_text(b, json, err);
    buf_free(b);
    return rc;
}

static int check_id(const char *id, const char *what, braid_error *err) {
    return id ? model_check_id(id, strlen(id), what, err)
              : error_set(err, BRAID_E_INVALID, "request", "%s is missing", what);
}

static int check_limit(size_t limit, size_t max, braid_error *err) {
    if (limit >= 1 && limit <= max) return BRAID_OK;
    return error_set(err, BRAID_E_INVALID, "request", "the limit is %zu; it goes from 1 to %zu", limit, max);
}

/* ---- items ---- */
typedef struct item_out {
    buf *out;
    size_t count;
    uint32_t num;
    bool vectors;
    braid_db *db;
} item_out;

static bool print_body(void *ctx, const record_item *row) {
    item_out *x = ctx;
    if (x->count++) buf_putc(x->out, ',');
    buf_add(x->out, row->body, row->body_len);
    x->num = row->num;
    return !x->out->failed;
}

int braid_get_item(braid_db *db, const char *id, char **json, braid_error *err) {
    *json = NULL;
    int rc = check_id(id, "the item's id", err);
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    item_out x = {.out = &b};
    rc = record_get_item(db->record, id, print_body, &x, err);
    return finish(rc, &b, json, err);
}

typedef struct id_page {
    braid_db *db;
    buf *out;
    size_t count;
    char last[MODEL_ID_BYTES_MAX + 1];
} id_page;

static bool print_listed(void *ctx, const record_item *row) {
    id_page *p = ctx;
    if (p->count++) buf_putc(p->out, ',');
    buf_add(p->out, row->body, row->body_len);
    snprintf(p->last, sizeof p->last, "%s", row->id);
    return !p->out->failed;
}

static int list_matching(braid_db *db, const char *after, size_t limit, const char *q, id_page *p, braid_error *err) {
    arena *a = arena_new(8192);
    if (!a) return error_set(err, BRAID_E_NO_MEMORY, "engine/read", "no memory for a list");
    const char **ids = NULL;
    size_t n = 0;
    int rc = catalogue_find_title(db->catalogue, q, after, limit, a, &ids, &n, err);
    for (size_t i = 0; i < n && rc == BRAID_OK; i++) {
        braid_error gone = {0};
        rc = record_get_item(db->record, ids[i], print_listed, p, &gone);
        if (rc == BRAID_E_NOT_FOUND)
            rc = BRAID_OK;
        else if (rc)
            error_set(err, rc, gone.store, "%s", gone.message);
        snprintf(p->last, sizeof p->last, "%s", ids[i]);
    }
    if (rc == BRAID_OK) p->count = n;
    arena_free(a);
    return rc;
}

static void close_page(const id_page *p, size_t limit, buf *b) {
    buf_puts(b, "],\"next\":");
    if (p->count == limit)
        buf_json_string(b, p->last);
    else
        buf_puts(b, "null");
    buf_putc(b, '}');
}

int braid_list_items(braid_db *db, const char *after, size_t limit, const char *q, char **json, braid_error *err) {
    *json = NULL;
    int rc = check_limit(limit, LIST_MAX, err);
    if (rc == BRAID_OK && after && *after) rc = check_id(after, "after", err);
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    buf_puts(&b, "{\"items\":[");
    id_page p = {.db = db, .out = &b};
    after = after && *after ? after : NULL;
    rc = q && *q ? list_matching(db, after, limit, q, &p, err)
                 : record_list_items(db->record, after, limit, print_listed, &p, err);
    close_page(&p, limit, &b);
    return finish(rc, &b, json, err);
}

/* A card is missing because the item has just gone (NOT_FOUND: leave it out), or for lack of memory (an answer without
 * it would be a wrong one). */
static int card_of(braid_db *db, uint32_t num, arena *a, catalogue_card *out) {
    catalogue_card *cards = NULL;
    braid_error err = {0};
    int rc = catalogue_get_cards(db->catalogue, &num, 1, a, &cards, &err);
    if (rc) return rc;
    *out = cards[0];
    return cards[0].num ? BRAID_OK : BRAID_E_NOT_FOUND;
}

/* ---- the graph around an item ---- */
static const char *const node_kinds[] = {"item", "genre", "theme", "mood", "context", "person"};

static int find_item(braid_db *db, const char *id, uint32_t *num, braid_error *err) {
    int rc = check_id(id, "the item's id", err);
    if (rc) return rc;
    if (catalogue_num(db->catalogue, id, num)) return BRAID_OK;
    return error_set(err, BRAID_E_NOT_FOUND, "catalogue", "there is no item \"%.120s\"", id);
}

static void print_hit(braid_db *db, arena *a, const graph_hit *h, buf *b, size_t *printed) {
    catalogue_card card, via;
    int rc = card_of(db, h->num, a, &card);
    b->failed |= rc == BRAID_E_NO_MEMORY;
    if (rc) return;
    if ((*printed)++) buf_putc(b, ',');
    buf_putc(b, '{');
    text_field(b, "id", card.id);
    buf_putc(b, ',');
    text_field(b, "title", card.title);
    buf_printf(b, ",\"score\":%.4f,\"depth\":%u,\"connections\":%u,\"via\":{\"kind\":\"%s\",", (double)h->score,
               h->depth, h->connections, node_kinds[h->via_kind]);
    text_field(b, "label", h->via);
    buf_puts(b, ",\"item\":");
    rc = h->via_kind == GRAPH_ITEM ? card_of(db, h->via_num, a, &via) : BRAID_E_NOT_FOUND;
    b->failed |= rc == BRAID_E_NO_MEMORY;
    if (rc == BRAID_OK)
        buf_json_string(b, via.id);
    else
        buf_puts(b, "null");
    buf_puts(b, "}}");
}

/* ---- what was learned of an item ---- */
enum { LEARNED_MAX = 50 };

typedef struct learned_list {
    const char *model; /* wanted */
    record_neighbour list[LEARNED_MAX];
    size_t count;
    int64_t at;
} learned_list;

static bool learned_row(void *ctx, const record_neighbours *row) {
    learned_list *x = ctx;
    if (strcmp(row->model, x->model) != 0) return true;
    x->at = row->at;
    x->count = row->count < LEARNED_MAX ? row->count : LEARNED_MAX;
    memcpy(x->list, row->list, x->count * sizeof row->list[0]);
    return false;
}

/* From the record store, where they lie with their model and time: the models in memory are turned round, for
 * answers. */
static int print_learned(braid_db *db, uint32_t num, const bitset *allow, size_t k, arena *a, buf *b,
                         braid_error *err) {
    static const policy_model models[] = {POLICY_MODEL_SLIM, POLICY_MODEL_CONTENT};
    learned_list x = {0};
    int rc = BRAID_OK;
    for (size_t m = 0; rc == BRAID_OK && x.count == 0 && m < sizeof models / sizeof models[0]; m++) {
        x.model = policy_model_name(models[m]);
        rc = record_item_neighbours(db->record, num, learned_row, &x, err);
    }
    char at[32];
    size_t printed = 0;
    clock_format_rfc3339(x.at, at);
    buf_puts(b, ",\"learned\":[");
    for (size_t i = 0; rc == BRAID_OK && i < x.count && printed < k; i++) {
        catalogue_card card;
        if (!bitset_has(allow, x.list[i].num)) continue;
        int found = card_of(db, x.list[i].num, a, &card);
        b->failed |= found == BRAID_E_NO_MEMORY;
        if (found != BRAID_OK) continue;
        if (printed++) buf_putc(b, ',');
        buf_putc(b, '{');
        text_field(b, "id", card.id);
        buf_putc(b, ',');
        text_field(b, "title", card.title);
        buf_printf(b, ",\"strength\":%.4f,\"model\":\"%s\",\"at\":\"%s\"}", (double)x.list[i].weight, x.model, at);
    }
    buf_putc(b, ']');
    return rc;
}

int braid_similar(braid_db *db, const char *id, size_t k, unsigned depth, char **json, braid_error *err) {
    *json = NULL;
    uint32_t num;
    int rc = find_item(db, id, &num, err);
    if (rc == BRAID_OK && (k < 1 || k > QUERY_K_MAX))
        rc = error_set(err, BRAID_E_INVALID, "request", "k goes from 1 to %d", QUERY_K_MAX);
    if (rc == BRAID_OK && (depth < 1 || depth > 3))
        rc = error_set(err, BRAID_E_INVALID, "request", "depth goes from 1 to 3");
    if (rc) return rc;
    arena *a = arena_new(16 * 1024);
    graph_hit *hits = a ? arena_alloc(a, k * sizeof *hits) : NULL;
    buf b;
    buf_init(&b, 0);
    size_t n = 0, printed = 0;
    graph_stats stats;
    graph_walk walk = {.seeds = &num, .seed_count = 1, .depth = depth, .k = k};
    bitset allow = {0};
    viewer_rights rights = {
        .region = db->rooms.default_region, .age = -1, .tier = -1, .now = clock_wall_ms(&clock_system)};
    if (!hits) rc = error_set(err, BRAID_E_NO_MEMORY, "engine/read", "no memory for neighbours");
    /* Rights hold on every path, on this one too. */
    if (rc == BRAID_OK && bitset_init(&allow, catalogue_bits(db->catalogue))) {
        bitset_fill(&allow);
        catalogue_apply_rights(db->catalogue, &rights, &allow);
        walk.allow = &allow;
        rc = graph_walk_from(db->graph, &walk, hits, &n, &stats, err);
    } else if (rc == BRAID_OK) {
        rc = error_set(err, BRAID_E_NO_MEMORY, "engine/read", "no memory for neighbours");
    }
    buf_puts(&b, "{\"results\":[");
    for (size_t i = 0; i < n && rc == BRAID_OK; i++) print_hit(db, a, &hits[i], &b, &printed);
    buf_putc(&b, ']');
    if (rc == BRAID_OK) rc = print_learned(db, num, &allow, k, a, &b, err);
    buf_putc(&b, '}');
    bitset_free(&allow);
    arena_free(a);
    return finish(rc, &b, json, err);
}

typedef struct drawing {
    braid_db *db;
    arena *a;
    const char *center;
    buf nodes, edges;
    size_t edge_count;
    map *drawn;                    /* ids of the nodes: two relations to one item are two edges, but one node */
    uint32_t nums[NEIGHBOURS_MAX]; /* of the items among them */
    const char *ids[NEIGHBOURS_MAX];
    size_t count;
    bool no_memory;
} drawing;

/* The name of a node in the drawing, and what it is called for people. */
static int node_name(drawing *d, const graph_neighbour *n, char id[320], const char **label) {
    catalogue_card card;
    *label = n->label;
    if (n->kind != GRAPH_ITEM) {
        snprintf(id, 320, "%s:%s", node_kinds[n->kind], n->label);
        return BRAID_OK;
    }
    int rc = card_of(d->db, n->num, d->a, &card);
    if (rc) return rc;
    snprintf(id, 320, "%s", card.id);
    *label = card.title;
    return BRAID_OK;
}

static void draw_edge(drawing *d, const char *from, const char *to, const graph_neighbour *n) {
    if (d->edge_count++) buf_putc(&d->edges, ',');
    buf_putc(&d->edges, '{');
    text_field(&d->edges, "from", n->outgoing ? from : to);
    buf_putc(&d->edges, ',');
    text_field(&d->edges, "to", n->outgoing ? to : from);
    buf_putc(&d->edges, ',');
    text_field(&d->edges, "type", n->type);
    buf_printf(&d->edges, ",\"strength\":%.3f}", (double)n->strength);
}

static bool draw(void *ctx, const graph_neighbour *n) {
    drawing *d = ctx;
    if (d->edge_count == NEIGHBOURS_MAX) return false;
    char id[320];
    const char *label;
    int rc = node_name(d, n, id, &label);
    if (rc == BRAID_E_NOT_FOUND) return true;
    if (rc) return !(d->no_memory = true);
    if (!map_get(d->drawn, id, NULL)) {
        if (n->kind == GRAPH_ITEM) {
            d->ids[d->count] = arena_strdup(d->a, id);
            if (!d->ids[d->count]) return !(d->no_memory = true);
            d->nums[d->count++] = n->num;
        }
        if (!map_put(d->drawn, id, 1)) return !(d->no_memory = true);
        buf_printf(&d->nodes, ",{\"id\":");
        buf_json_string(&d->nodes, id);
        buf_putc(&d->nodes, ',');
        text_field(&d->nodes, "label", label);
        buf_printf(&d->nodes, ",\"kind\":\"%s\",\"degree\":%u}", node_kinds[n->kind], n->degree);
    }
    draw_edge(d, d->center, id, n);
    return true;
}

/* What those around the item share or are tied to among themselves. A relation is met at both ends, and drawn from
 * the one. */
static bool draw_between(void *ctx, size_t which, const graph_neighbour *n) {
    drawing *d = ctx;
    char id[320];
    const char *label;
    if (d->edge_count == EDGES_MAX) return false;
    if (n->kind == GRAPH_ITEM && !n->outgoing) return true;
    int rc = node_name(d, n, id, &label);
    if (rc == BRAID_OK && map_get(d->drawn, id, NULL) && strcmp(id, d->center) != 0) draw_edge(d, d->ids[which], id, n);
    return rc == BRAID_OK || rc == BRAID_E_NOT_FOUND || !(d->no_memory = true);
}

int braid_graph(braid_db *db, const char *id, char **json, braid_error *err) {
    *json = NULL;
    uint32_t num;
    int rc = find_item(db, id, &num, err);
    if (rc) return rc;
    drawing d = {.db = db, .center = id, .a = arena_new(8192), .drawn = map_new(64)};
    if (!d.a || !d.drawn || !map_put(d.drawn, id, 1)) {
        arena_free(d.a);
        map_free(d.drawn);
        return error_set(err, BRAID_E_NO_MEMORY, "engine/read", "no memory for a neighbourhood");
    }
    buf b;
    buf_init(&b, 0);
    buf_init(&d.nodes, 0);
    buf_init(&d.edges, 0);
    catalogue_card card;
    int named = card_of(db, num, d.a, &card);
    const char *title = named == BRAID_OK ? card.title : id;
    d.no_memory = named == BRAID_E_NO_MEMORY;
    rc = graph_neighbours(db->graph, num, 0, draw, &d, err);
    bool found[NEIGHBOURS_MAX];
    if (rc == BRAID_OK) rc = graph_enrich_batch(db->graph, d.nums, d.count, 0, draw_between, &d, found, err);
    buf_putc(&b, '{');
    text_field(&b, "center", id);
    buf_puts(&b, ",\"nodes\":[{");
    text_field(&b, "id", id);
    buf_putc(&b, ',');
    text_field(&b, "label", title);
    buf_puts(&b, ",\"kind\":\"item\"}");
    buf_add(&b, d.nodes.data, d.nodes.len);
    buf_puts(&b, "],\"edges\":[");
    buf_add(&b, d.edges.data, d.edges.len);
    buf_puts(&b, "]}");
    b.failed |= d.nodes.failed || d.edges.failed || d.no_memory;
    buf_free(&d.nodes);
    buf_free(&d.edges);
    arena_free(d.a);
    map_free(d.drawn);
    return finish(rc, &b, json, err);
}

/* ---- people ---- */
typedef struct user_page {
    buf *out;
    size_t count;
    char last[MODEL_ID_BYTES_MAX + 1];
} user_page;

static bool print_user(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    (void)version;
    user_page *p = ctx;
    if (p->count++) buf_putc(p->out, ',');
    buf_add(p->out, body, len);
    snprintf(p->last, sizeof p->last, "%s", id);
    return !p->out->failed;
}

int braid_get_user(braid_db *db, const char *id, char **json, braid_error *err) {
    *json = NULL;
    int rc = check_id(id, "the user's id", err);
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    user_page p = {.out = &b};
    rc = record_get_user(db->record, id, 0, print_user, &p, err);
    return finish(rc, &b, json, err);
}

int braid_list_users(braid_db *db, const char *after, size_t limit, char **json, braid_error *err) {
    *json = NULL;
    int rc = check_limit(limit, LIST_MAX, err);
    if (rc == BRAID_OK && after && *after) rc = check_id(after, "after", err);
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    buf_puts(&b, "{\"users\":[");
    user_page p = {.out = &b};
    rc = record_list_users(db->record, after && *after ? after : NULL, limit, print_user, &p, err);
    buf_puts(&b, "],\"next\":");
    if (p.count == limit)
        buf_json_string(&b, p.last);
    else
        buf_puts(&b, "null");
    buf_putc(&b, '}');
    return finish(rc, &b, json, err);
}

typedef struct policy_out {
    buf *out;
    size_t rows;
} policy_out;

static void print_action(buf *b, const record_action *a) {
    buf_putc(b, '{');
    text_field(b, "action", a->action);
    buf_puts(b, ",\"mean\":");
    buf_json_real(b, a->mean);
    buf_puts(b, ",\"variance\":");
    buf_json_real(b, a->variance);
    buf_puts(b, ",\"count\":");
    buf_json_real(b, a->count);
    buf_puts(b, ",\"spread\":");
    buf_json_real(b, policy_spread((policy_posterior){a->mean, a->variance, a->count}, POLICY_N0));
    buf_putc(b, '}');
}

static bool print_policy(void *ctx, const record_policy *row) {
    policy_out *x = ctx;
    buf_puts(x->out, x->rows++ ? ",{" : "{");
    text_field(x->out, "agent", row->agent);
    buf_putc(x->out, ',');
    text_field(x->out, "state", row->state);
    buf_putc(x->out, ',');
    text_field(x->out, "state_hash", row->state_hash);
    buf_puts(x->out, ",\"actions\":[");
    for (size_t i = 0; i < row->action_count; i++) {
        if (i) buf_putc(x->out, ',');
        print_action(x->out, &row->actions[i]);
    }
    buf_puts(x->out, "]}");
    return !x->out->failed;
}

static int print_policies(braid_db *db, const char *id, buf *b, braid_error *err) {
    policy_out x = {.out = b};
    buf_puts(b, "\"policies\":[");
    int rc = record_user_policies(db->record, NULL, id, print_policy, &x, err);
    buf_puts(b, "]");
    return rc;
}

/* A person exists when there is a record of them or anything that they did. */
static bool found_one(void *ctx, const record_episode *e) {
    (void)e;
    *(bool *)ctx = true;
    return false;
}

static int check_known(braid_db *db, const char *id, braid_error *err) {
    const policy_profile *p;
    int rc = check_id(id, "the user's id", err);
    if (rc == BRAID_OK) rc = policy_profile_get(db->profiles, id, 0, &p, err);
    if (rc) return rc;
    bool known = p->known;
    policy_profile_release(p);
    if (!known) rc = record_user_episodes(db->record, id, 1, found_one, &known, err); /* episodes make no profile */
    if (rc) return rc;
    return known ? BRAID_OK : error_set(err, BRAID_E_NOT_FOUND, "record", "nothing is known of a user \"%.120s\"", id);
}

int braid_user_policy(braid_db *db, const char *id, char **json, braid_error *err) {
    *json = NULL;
    int rc = check_known(db, id, err);
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    buf_putc(&b, '{');
    text_field(&b, "user", id);
    buf_putc(&b, ',');
    rc = print_policies(db, id, &b, err);
    buf_putc(&b, '}');
    return finish(rc, &b, json, err);
}

typedef struct history_out {
    buf *out;
    size_t count;
} history_out;

static bool print_interaction(void *ctx, const record_interaction *row) {
    history_out *x = ctx;
    if (x->count++) buf_putc(x->out, ',');
    interaction_to_json(&row->in, x->out);
    return !x->out->failed;
}

static bool print_episode(void *ctx, const record_episode *e) {
    history_out *x = ctx;
    buf_puts(x->out, x->count++ ? ",{" : "{");
    engine_episode_print(x->out, e);
    buf_putc(x->out, '}');
    return !x->out->failed;
}

int braid_user_export(braid_db *db, const char *id, char **json, braid_error *err) {
    *json = NULL;
    int rc = check_known(db, id, err);
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    buf_puts(&b, "{\"user\":");
    user_page p = {.out = &b};
    braid_error none = {0};
    rc = record_get_user(db->record, id, 0, print_user, &p, &none);
    if (rc == BRAID_E_NOT_FOUND) {
        buf_puts(&b, "null");
        rc = BRAID_OK;
    } else if (rc) {
        error_set(err, rc, none.store, "%s", none.message);
    }
    history_out x = {.out = &b};
    buf_puts(&b, ",\"interactions\":[");
    if (rc == BRAID_OK) rc = record_user_interactions(db->record, id, HISTORY_MAX, 0, print_interaction, &x, err);
    x.count = 0;
    buf_puts(&b, "],\"episodes\":[");
    if (rc == BRAID_OK) rc = record_user_episodes(db->record, id, HISTORY_MAX, print_episode, &x, err);
    buf_puts(&b, "],");
    if (rc == BRAID_OK) rc = print_policies(db, id, &b, err);
    buf_putc(&b, '}');
    return finish(rc, &b, json, err);
}
