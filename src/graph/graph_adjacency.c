/* The in-memory graph store: opening and writing. The layout is drawn in graph_adjacency.h.
 *
 * Every item and every relation is written whole or not at all: whatever needs memory is reserved before the first
 * change, so that a failed upsert leaves the node as it was. Upserts are idempotent; the feed delivers them in LSN
 * order. A batch takes the write lock for each of its rows, so that a walk waits for one row and not for a thousand;
 * one that fails may have written its first rows, and the feed brings it again. */
#include "graph/graph_adjacency.h"

#include <stdlib.h>
#include <string.h>

#define STORE "graph/adjacency"

enum { ALLOC_OVERHEAD = 16 };

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, STORE, "no memory to change the graph");
}

/* ---- opening ---- */

static void adjacency_close(void *self) {
    adjacency *g = self;
    if (g == NULL) return;
    adjacency_pool_free(g);
    for (uint32_t i = 0; i < g->items_cap; i++) {
        free(g->items[i].facets);
        free(g->items[i].links);
    }
    for (uint32_t i = 0; i < g->facets_count; i++) {
        free(g->facets[i].members);
        free(g->facets[i].value);
    }
    for (uint32_t i = 0; i < g->types_count; i++) free(g->types[i]);
    free(g->items);
    free(g->facets);
    free(g->types);
    map_free(g->facet_ids);
    map_free(g->type_ids);
    pthread_rwlock_destroy(&g->lock);
    pthread_mutex_destroy(&g->pool_lock);
    free(g);
}

static int adjacency_open(const graph_options *options, void **self, braid_error *err) {
    *self = NULL;
    adjacency *g = calloc(1, sizeof *g);
    if (g == NULL) return no_memory(err);
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&g->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&g->pool_lock, NULL);
    g->options = *options;
    g->facet_ids = map_new(0);
    g->type_ids = map_new(0);
    if (g->facet_ids == NULL || g->type_ids == NULL) {
        adjacency_close(g);
        return no_memory(err);
    }
    *self = g;
    return BRAID_OK;
}

/* ---- growing ---- */

/* Makes room for `need` elements of `size` bytes; false when memory ran out. New room is zeroed. */
static bool grow(void **data, uint32_t *cap, uint32_t need, size_t size, uint32_t first, uint64_t *bytes) {
    if (need <= *cap) return true;
    uint32_t wanted = *cap < first ? first : *cap + *cap / 2;
    if (wanted < need) wanted = need;
    char *more = realloc(*data, (size_t)wanted * size);
    if (more == NULL) return false;
    memset(more + (size_t)*cap * size, 0, (size_t)(wanted - *cap) * size);
    *bytes += (size_t)(wanted - *cap) * size + (*cap == 0 ? ALLOC_OVERHEAD : 0);
    *data = more;
    *cap = wanted;
    return true;
}

static bool node_reserve(adjacency *g, uint32_t num) {
    void *items = g->items;
    bool ok = grow(&items, &g->items_cap, num + 1, sizeof *g->items, 1024, &g->bytes);
    g->items = items;
    return ok;
}

static bool links_reserve(adjacency *g, adjacency_item *it, uint32_t more) {
    void *links = it->links;
    bool ok = grow(&links, &it->links_cap, it->links_count + more, sizeof *it->links, 2, &g->bytes);
    it->links = links;
    return ok;
}

static bool members_reserve(adjacency *g, adjacency_facet *f, uint32_t more) {
    void *members = f->members;
    bool ok = grow(&members, &f->cap, f->count + more, sizeof *f->members, 2, &g->bytes);
    f->members = members;
    return ok;
}

/* ---- tables of names ---- */

/* The facet's id, made if it is new; false when memory ran out. */
static bool facet_intern(adjacency *g, graph_node_kind kind, const char *value, uint32_t *facet) {
    size_t len = strlen(value);
    char small[320], *key = len + 2 <= sizeof small ? small : malloc(len + 2);
    if (key == NULL) return false;
    key[0] = (char)('A' + (int)kind);
    memcpy(key + 1, value, len + 1);
    bool ok = true;
    uint64_t id = 0;
    if (!map_get(g->facet_ids, key, &id)) {
        void *facets = g->facets;
        ok = g->facets_count < GRAPH_FACETS_MAX &&
             grow(&facets, &g->facets_cap, g->facets_count + 1, sizeof *g->facets, 256, &g->bytes);
        g->facets = facets;
        char *copy = ok ? strdup(value) : NULL;
        ok = copy != NULL && map_put(g->facet_ids, key, g->facets_count);
        if (ok) {
            id = g->facets_count++;
            g->facets[id] = (adjacency_facet){.kind = kind, .value = copy};
            g->bytes += len + 1 + ALLOC_OVERHEAD;
        } else {
            free(copy);
        }
    }
    *facet = (uint32_t)id;
    if (key != small) free(key);
    return ok;
}

static int type_intern(adjacency *g, const char *type, uint16_t *id, braid_error *err) {
    uint64_t found;
    if (map_get(g->type_ids, type, &found)) {
        *id = (uint16_t)found;
        return BRAID_OK;
    }
    if (g->types_count >= GRAPH_TYPES_MAX)
        return error_set(err, BRAID_E_TOO_LARGE, STORE,
                         "there are %d relation types already; \"%.64s\" is one too many", GRAPH_TYPES_MAX, type);
    void *types = g->types;
    bool ok = grow(&types, &g->types_cap, g->types_count + 1, sizeof *g->types, 16, &g->bytes);
    g->types = types;
    char *copy = ok ? strdup(type) : NULL;
    if (copy == NULL || !map_put(g->type_ids, type, g->types_count)) {
        free(copy);
        return no_memory(err);
    }
    g->types[g->types_count] = copy;
    *id = (uint16_t)g->types_count++;
    return BRAID_OK;
}

const adjacency_item *adjacency_node(const adjacency *g, uint32_t num) {
    if (num >= g->items_cap) return NULL;
    const adjacency_item *it = &g->items[num];
    return it->known || it->links_count > 0 ? it : NULL;
}

int adjacency_facet_order(const adjacency *g, uint32_t a, uint32_t b) {
    const adjacency_facet *x = &g->facets[a], *y = &g->facets[b];
    if (x->count != y->count) return x->count < y->count ? -1 : 1;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    return strcmp(x->value, y->value);
}

/* ---- memberships ---- */

static void member_remove(adjacency *g, uint32_t facet, uint32_t at) {
    adjacency_facet *f = &g->facets[facet];
    uint32_t moved = f->members[--f->count];
    if (at == f->count) return;
    f->members[at] = moved;
    adjacency_item *it = &g->items[moved];
    for (uint32_t i = 0; i < it->facets_count; i++)
        if (it->facets[i].facet == facet) it->facets[i].at = at;
}

static void memberships_clear(adjacency *g, uint32_t num) {
    adjacency_item *it = &g->items[num];
    for (uint32_t i = 0; i < it->facets_count; i++) member_remove(g, it->facets[i].facet, it->facets[i].at);
    g->memberships -= it->facets_count;
    if (it->facets != NULL) g->bytes -= it->facets_count * sizeof *it->facets + ALLOC_OVERHEAD;
    free(it->facets);
    it->facets = NULL;
    it->facets_count = 0;
}

static bool membership_add(adjacency *g, graph_node_kind kind, const char *value, adjacency_membership *list,
                           uint32_t *count) {
    uint32_t facet;
    if (!facet_intern(g, kind, value, &facet)) return false;
    for (uint32_t i = 0; i < *count; i++)
        if (list[i].facet == facet) return true; /* a director who also acts */
    if (!members_reserve(g, &g->facets[facet], 1)) return false;
    list[(*count)++].facet = facet;
    return true;
}

/* Reads the item's facets into a new list and makes room for them on the facets' side; NULL when memory ran out. */
static adjacency_membership *memberships_read(adjacency *g, const item *it, uint32_t *count) {
    const struct {
        graph_node_kind kind;
        const string_list *list;
    } lists[] = {{GRAPH_GENRE, &it->genres},
                 {GRAPH_THEME, &it->themes},
                 {GRAPH_MOOD, &it->moods},
                 {GRAPH_CONTEXT, &it->contexts}};
    size_t most = it->people_count;
    for (size_t l = 0; l < 4; l++) most += lists[l].list->count;
    adjacency_membership *list = calloc(most > 0 ? most : 1, sizeof *list);
    bool ok = list != NULL;
    *count = 0;
    for (size_t l = 0; l < 4; l++)
        for (size_t i = 0; ok && i < lists[l].list->count; i++)
            ok = membership_add(g, lists[l].kind, lists[l].list->values[i], list, count);
    for (size_t i = 0; ok && i < it->people_count; i++)
        ok = membership_add(g, GRAPH_PERSON, it->people[i].name, list, count);
    if (!ok) {
        free(list);
        return NULL;
    }
    return list;
}

static bool memberships_equal(const adjacency_item *it, const adjacency_membership *list, uint32_t count) {
    bool equal = it->facets_count == count;
    for (uint32_t i = 0; equal && i < count; i++) equal = it->facets[i].facet == list[i].facet;
    return equal;
}

static int upsert_item(adjacency *g, uint32_t num, const item *it, braid_error *err) {
    int rc = BRAID_OK;
    uint32_t count = 0;
    pthread_rwlock_wrlock(&g->lock);
    adjacency_membership *list = node_reserve(g, num) ? memberships_read(g, it, &count) : NULL;
    if (list == NULL) {
        rc = no_memory(err);
        goto cleanup;
    }
    adjacency_item *node = &g->items[num];
    if (!node->known) {
        node->known = true;
        g->known++;
    }
    if (memberships_equal(node, list, count)) goto cleanup;
    memberships_clear(g, num);
    if (count == 0) goto cleanup;
    for (uint32_t i = 0; i < count; i++) {
        adjacency_facet *f = &g->facets[list[i].facet];
        list[i].at = f->count;
        f->members[f->count++] = num;
    }
    node->facets = list;
    node->facets_count = count;
    g->memberships += count;
    g->bytes += count * sizeof *list + ALLOC_OVERHEAD;
    list = NULL;
cleanup:
    pthread_rwlock_unlock(&g->lock);
    free(list);
    return rc;
}

static int adjacency_upsert_items(void *self, const graph_item *items, size_t n, braid_error *err) {
    int rc = BRAID_OK;
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) rc = upsert_item(self, items[i].num, items[i].it, err);
    return rc;
}

/* ---- relations ---- */

static int link_compare(const adjacency_link *a, const adjacency_link *b) {
    if (a->other != b->other) return a->other < b->other ? -1 : 1;
    if (a->type != b->type) return a->type < b->type ? -1 : 1;
    return (int)a->out - (int)b->out;
}

/* The place of `key` in the sorted links, or where it belongs. */
static uint32_t link_find(const adjacency_item *it, const adjacency_link *key, bool *found) {
    uint32_t low = 0, high = it->links_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (link_compare(&it->links[mid], key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *found = low < it->links_count && link_compare(&it->links[low], key) == 0;
    return low;
}

/* Sets or inserts; there is room. True if it is new. */
static bool link_put(adjacency_item *it, const adjacency_link *link) {
    bool found;
    uint32_t at = link_find(it, link, &found);
    if (!found) {
        memmove(&it->links[at + 1], &it->links[at], (it->links_count - at) * sizeof *it->links);
        it->links_count++;
    }
    it->links[at] = *link;
    return !found;
}

static bool link_take(adjacency_item *it, const adjacency_link *key) {
    bool found;
    uint32_t at = link_find(it, key, &found);
    if (found) {
        it->links_count--;
        memmove(&it->links[at], &it->links[at + 1], (it->links_count - at) * sizeof *it->links);
    }
    return found;
}

static int upsert_relation(adjacency *g, const graph_edge *e, braid_error *err) {
    uint16_t type = 0;
    pthread_rwlock_wrlock(&g->lock);
    int rc = type_intern(g, e->type, &type, err);
    if (rc != BRAID_OK) goto cleanup;
    if (!node_reserve(g, e->from > e->to ? e->from : e->to) || !links_reserve(g, &g->items[e->from], 2) ||
        !links_reserve(g, &g->items[e->to], 2)) { /* two: both ends may be the same item */
        rc = no_memory(err);
        goto cleanup;
    }
    adjacency_link out = {.other = e->to, .type = type, .out = 1, .strength = e->strength};
    adjacency_link in = {.other = e->from, .type = type, .out = 0, .strength = e->strength};
    if (link_put(&g->items[e->from], &out)) g->relations++;
    link_put(&g->items[e->to], &in);
cleanup:
    pthread_rwlock_unlock(&g->lock);
    return rc;
}

static int adjacency_upsert_relations(void *self, const graph_edge *edges, size_t n, braid_error *err) {
    int rc = BRAID_OK;
    for (size_t i = 0; rc == BRAID_OK && i < n; i++) rc = upsert_relation(self, &edges[i], err);
    return rc;
}

static int adjacency_remove_relations(void *self, const graph_edge *edges, size_t n, braid_error *err) {
    (void)err;
    adjacency *g = self;
    uint64_t id;
    for (size_t i = 0; i < n; i++) {
        uint32_t from = edges[i].from, to = edges[i].to;
        pthread_rwlock_wrlock(&g->lock);
        if (from < g->items_cap && to < g->items_cap && map_get(g->type_ids, edges[i].type, &id)) {
            adjacency_link out = {.other = to, .type = (uint16_t)id, .out = 1};
            adjacency_link in = {.other = from, .type = (uint16_t)id, .out = 0};
            if (link_take(&g->items[from], &out)) g->relations--;
            link_take(&g->items[to], &in);
        }
        pthread_rwlock_unlock(&g->lock);
    }
    return BRAID_OK;
}

static void links_clear(adjacency *g, uint32_t num) {
    adjacency_item *it = &g->items[num];
    for (uint32_t i = 0; i < it->links_count; i++) {
        const adjacency_link *l = &it->links[i];
        bool loop = l->other == num; /* stored twice, here */
        adjacency_link mirror = {.other = num, .type = l->type, .out = !l->out};
        if (!loop) link_take(&g->items[l->other], &mirror);
        if (!loop || l->out) g->relations--;
    }
    if (it->links != NULL) g->bytes -= it->links_cap * sizeof *it->links + ALLOC_OVERHEAD;
    free(it->links);
    it->links = NULL;
    it->links_count = it->links_cap = 0;
}

static void remove_item(adjacency *g, uint32_t num) {
    memberships_clear(g, num);
    links_clear(g, num);
    if (g->items[num].known) g->known--;
    g->items[num].known = false;
}

static int adjacency_remove_items(void *self, const uint32_t *nums, size_t n, braid_error *err) {
    (void)err;
    adjacency *g = self;
    for (size_t i = 0; i < n; i++) {
        pthread_rwlock_wrlock(&g->lock);
        if (nums[i] < g->items_cap) remove_item(g, nums[i]);
        pthread_rwlock_unlock(&g->lock);
    }
    return BRAID_OK;
}

/* Names of facets and types stay: their numbers are never used again for others. */
static int adjacency_clear(void *self, braid_error *err) {
    (void)err;
    adjacency *g = self;
    pthread_rwlock_wrlock(&g->lock);
    for (uint32_t num = 0; num < g->items_cap; num++) remove_item(g, num);
    pthread_rwlock_unlock(&g->lock);
    return BRAID_OK;
}

static void adjacency_info(void *self, graph_info *out) {
    adjacency *g = self;
    pthread_rwlock_rdlock(&g->lock);
    *out = (graph_info){.items = g->known,
                        .relations = g->relations,
                        .memberships = g->memberships,
                        .bytes = g->bytes + sizeof *g + map_bytes(g->facet_ids) + map_bytes(g->type_ids)};
    for (uint32_t i = 0; i < g->facets_count; i++) out->facets += g->facets[i].count > 0;
    pthread_rwlock_unlock(&g->lock);
}

const graph_ops graph_adjacency_ops = {
    .version = 1,
    .name = "adjacency",
    .caps = GRAPH_CAP_INSPECT,
    .open = adjacency_open,
    .close = adjacency_close,
    .upsert_items = adjacency_upsert_items,
    .remove_items = adjacency_remove_items,
    .upsert_relations = adjacency_upsert_relations,
    .remove_relations = adjacency_remove_relations,
    .walk = adjacency_walk,
    .estimate = adjacency_estimate,
    .enrich_batch = adjacency_enrich_batch,
    .shared = adjacency_shared,
    .scan = adjacency_scan,
    .clear = adjacency_clear,
    .check = adjacency_check,
    .info = adjacency_info,
};
