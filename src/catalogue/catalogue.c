/* catalogue: opening, numbers and counts, facets by name, cards. catalogue_state.h says what lies in the other files.
 *
 * Promise: a reader sees the catalogue between two changes, never within one. Every call takes the lock shared for its
 * own length, the feed exclusively for one item; writers go first. Callbacks run under the lock and must not call the
 * catalogue. */
#include "catalogue/catalogue.h"

#include <stdlib.h>
#include <string.h>

#include "catalogue/catalogue_state.h"

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, CATALOGUE_STORE, "no memory to read the catalogue");
}

/* ---- opening ---- */

static pthread_rwlock_t *lock_new(void) {
    pthread_rwlock_t *lock = malloc(sizeof *lock);
    pthread_rwlockattr_t attr;
    if (lock == NULL) return NULL;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return lock;
}

int catalogue_open(const clock_ops *clock, metrics *m, catalogue **out, braid_error *err) {
    *out = NULL;
    catalogue *c = calloc(1, sizeof *c);
    if (c == NULL) return no_memory(err);
    if (!rights_open(&c->rights)) {
        free(c);
        return no_memory(err);
    }
    c->clock = clock;
    c->lock = lock_new();
    c->nums = map_new(0);
    c->number_paths = map_new(0);
    bool terms = terms_open(&c->facets);
    terms = terms_open(&c->attributes) && terms;
    if (c->lock == NULL || c->nums == NULL || c->number_paths == NULL || !terms) {
        catalogue_close(c);
        return no_memory(err);
    }
    if (m != NULL) c->items_metric = metrics_gauge(m, "catalogue_items", "", "Items in the catalogue");
    *out = c;
    return BRAID_OK;
}

static void columns_free(catalogue_columns *a) {
    void *columns[] = {a->entries,    a->versions,      a->year,           a->duration_s,
                       a->age_rating, a->tier,          a->available_from, a->available_until,
                       a->title_hash, a->original_hash, a->synopsis_hash,  a->synopsis_len,
                       a->fields,     a->title_marks,   a->interactions,   a->reward_sum,
                       a->recent,     a->last_at,       a->popularity};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) free(columns[i]);
}

void catalogue_close(catalogue *c) {
    if (c == NULL) return;
    for (uint32_t num = 0; num < c->bits; num++) free(c->at.entries[num]);
    columns_free(&c->at);
    bitset_free(&c->present);
    map_free(c->nums);
    map_free(c->number_paths);
    terms_free(&c->facets);
    terms_free(&c->attributes);
    for (uint32_t i = 0; i < c->numbers_count; i++) free(c->numbers[i].rows);
    free(c->numbers);
    rights_free(&c->rights);
    if (c->lock != NULL) pthread_rwlock_destroy(c->lock);
    free(c->lock);
    free(c);
}

/* ---- numbers and counts ---- */

uint64_t catalogue_version(const catalogue *c) {
    return c->version;
}

uint64_t catalogue_content(const catalogue *c) {
    return c->content;
}

uint64_t catalogue_changed(const catalogue *c) {
    return c->changed;
}

uint64_t catalogue_count(const catalogue *c) {
    return c->count;
}

uint32_t catalogue_bits(const catalogue *c) {
    return c->bits;
}

bool catalogue_num(const catalogue *c, const char *id, uint32_t *num) {
    uint64_t found = 0;
    pthread_rwlock_rdlock(c->lock);
    bool there = map_get(c->nums, id, &found);
    pthread_rwlock_unlock(c->lock);
    if (there) *num = (uint32_t)found;
    return there;
}

void catalogue_scan(catalogue *c, bool (*each)(void *ctx, uint32_t num, const char *id, uint64_t version), void *ctx) {
    pthread_rwlock_rdlock(c->lock);
    for (uint32_t num = 0, bits = c->bits; num < bits; num++) {
        const catalogue_entry *e = c->at.entries[num];
        if (e != NULL && !each(ctx, num, e->id, c->at.versions[num])) break;
    }
    pthread_rwlock_unlock(c->lock);
}

/* ---- facets ---- */

bool catalogue_facet_id(const catalogue *c, filter_field field, const char *value, uint32_t *facet) {
    pthread_rwlock_rdlock(c->lock);
    uint32_t id = catalogue_field_is_facet(field) ? terms_find(&c->facets, (uint8_t)field, "", value) : CATALOGUE_NONE;
    pthread_rwlock_unlock(c->lock);
    if (id != CATALOGUE_NONE) *facet = id;
    return id != CATALOGUE_NONE;
}

const char *catalogue_facet_name(const catalogue *c, uint32_t facet, filter_field *field) {
    const char *name = NULL;
    pthread_rwlock_rdlock(c->lock);
    if (facet < c->facets.count) {
        name = c->facets.rows[facet].value;
        if (field != NULL) *field = (filter_field)c->facets.rows[facet].field;
    }
    pthread_rwlock_unlock(c->lock);
    return name;
}

uint64_t catalogue_facet_size(const catalogue *c, uint32_t facet, filter_field *field) {
    uint64_t items = 0;
    pthread_rwlock_rdlock(c->lock);
    if (facet < c->facets.count) {
        items = c->facets.rows[facet].items.count;
        *field = (filter_field)c->facets.rows[facet].field;
    }
    pthread_rwlock_unlock(c->lock);
    return items;
}

uint32_t catalogue_facet_ids_max(const catalogue *c) {
    pthread_rwlock_rdlock(c->lock);
    uint32_t max = c->facets.count;
    pthread_rwlock_unlock(c->lock);
    return max;
}

uint64_t catalogue_facet_members(catalogue *c, filter_field field, const char *value, uint32_t *out, size_t max) {
    uint64_t count = 0;
    pthread_rwlock_rdlock(c->lock);
    uint32_t id = catalogue_field_is_facet(field) ? terms_find(&c->facets, (uint8_t)field, "", value) : CATALOGUE_NONE;
    if (id != CATALOGUE_NONE) {
        count = c->facets.rows[id].items.count;
        posting_list(&c->facets.rows[id].items, out, max);
    }
    pthread_rwlock_unlock(c->lock);
    return count;
}

uint64_t catalogue_facet_count(catalogue *c, filter_field field, const char *value) {
    return catalogue_facet_members(c, field, value, NULL, 0);
}

static int by_count(const void *a, const void *b) {
    const facet_count *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return strcmp(x->value, y->value);
}

/* Heap with the last in order at the root. */
static void facet_sift(facet_count *heap, size_t count, size_t at) {
    for (;;) {
        size_t last = at, left = 2 * at + 1;
        for (size_t child = left; child < left + 2 && child < count; child++)
            if (by_count(&heap[child], &heap[last]) > 0) last = child;
        if (last == at) return;
        facet_count t = heap[at];
        heap[at] = heap[last];
        heap[last] = t;
        at = last;
    }
}

/* The first `max` of the field in order: there may be a hundred thousand people and ten wanted. */
static size_t facet_select(const catalogue *c, filter_field field, size_t max, facet_count *heap) {
    size_t n = 0;
    for (uint32_t i = 0; max > 0 && i < c->facets.count; i++) {
        const catalogue_term *t = &c->facets.rows[i];
        facet_count one = {.value = t->value, .count = t->items.count};
        if (t->field != field || one.count == 0) continue;
        if (n < max) {
            heap[n++] = one;
            for (size_t at = n == max ? n / 2 : 0; at-- > 0;) facet_sift(heap, n, at);
        } else if (by_count(&one, &heap[0]) < 0) {
            heap[0] = one;
            facet_sift(heap, n, 0);
        }
    }
    if (n > 1) qsort(heap, n, sizeof *heap, by_count);
    return n;
}

int catalogue_facets(catalogue *c, filter_field field, size_t max, arena *a, facet_count **out, size_t *count,
                     braid_error *err) {
    *out = NULL;
    *count = 0;
    if (!catalogue_field_is_facet(field))
        return error_set(err, BRAID_E_INVALID, CATALOGUE_STORE, "\"%s\" is not a facet", filter_field_name(field));
    pthread_rwlock_rdlock(c->lock);
    max = max < c->facets.count ? max : c->facets.count;
    facet_count *best = arena_alloc(a, (max + 1) * sizeof *best);
    size_t n = best != NULL ? facet_select(c, field, max, best) : 0;
    bool ok = best != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        best[i].value = arena_strdup(a, best[i].value);
        ok = best[i].value != NULL;
    }
    pthread_rwlock_unlock(c->lock);
    if (!ok) return no_memory(err);
    *out = best;
    *count = n;
    return BRAID_OK;
}

/* ---- cards ---- */

static const char *term_text(const catalogue *c, uint32_t term) {
    return term != CATALOGUE_NONE ? c->facets.rows[term].value : "";
}

static const char *card_text(char **at, const char *text, size_t len) {
    char *here = memcpy(*at, text, len + 1);
    *at += len + 1;
    return here;
}

/* One allocation a card: the facet ids, then the texts. False when memory ran out. */
static bool card_fill(const catalogue *c, uint32_t num, arena *a, catalogue_card *out) {
    const catalogue_columns *col = &c->at;
    const catalogue_entry *e = col->entries[num];
    const char *texts[] = {e->id, e->title, e->original_title, term_text(c, e->kind), term_text(c, e->language)};
    size_t lens[5], ids = e->card_count * sizeof(uint32_t), bytes = ids + 5;
    for (size_t i = 0; i < 5; i++) bytes += lens[i] = strlen(texts[i]);
    char *block = arena_alloc(a, bytes);
    if (block == NULL) return false;
    memcpy(block, e->terms, ids);
    char *at = block + ids;
    for (size_t i = 0; i < 5; i++) texts[i] = card_text(&at, texts[i], lens[i]);
    int64_t until = col->available_until[num];
    *out = (catalogue_card){.num = num,
                            .version = col->versions[num],
                            .id = texts[0],
                            .title = texts[1],
                            .original_title = texts[2],
                            .kind = texts[3],
                            .language = texts[4],
                            .year = col->year[num],
                            .duration_s = col->duration_s[num],
                            .age_rating = col->age_rating[num],
                            .tier = col->tier[num],
                            .available_from = col->available_from[num],
                            .available_until = until == INT64_MAX ? TIME_NONE : until,
                            .facets = (const uint32_t *)(const void *)block,
                            .facet_count = e->card_count,
                            .interactions = col->interactions[num],
                            .reward_sum = col->reward_sum[num],
                            .recent = col->recent[num],
                            .last_at = col->last_at[num]};
    return true;
}

bool catalogue_get_card(catalogue *c, uint32_t num, arena *a, catalogue_card *out) {
    *out = (catalogue_card){.id = "", .title = "", .original_title = "", .kind = "", .language = ""};
    pthread_rwlock_rdlock(c->lock);
    bool there = bitset_has(&c->present, num) && card_fill(c, num, a, out);
    pthread_rwlock_unlock(c->lock);
    return there;
}

int catalogue_get_cards(catalogue *c, const uint32_t *nums, size_t n, arena *a, catalogue_card **out,
                        braid_error *err) {
    *out = NULL;
    catalogue_card *cards = arena_alloc(a, (n + 1) * sizeof *cards);
    bool ok = cards != NULL;
    pthread_rwlock_rdlock(c->lock);
    for (size_t i = 0; ok && i < n; i++) {
        cards[i] = (catalogue_card){.id = "", .title = "", .original_title = "", .kind = "", .language = ""};
        if (bitset_has(&c->present, nums[i])) ok = card_fill(c, nums[i], a, &cards[i]);
    }
    pthread_rwlock_unlock(c->lock);
    if (!ok) return no_memory(err);
    *out = cards;
    return BRAID_OK;
}

void catalogue_durations(catalogue *c, const uint32_t *nums, size_t n, int32_t *out) {
    pthread_rwlock_rdlock(c->lock);
    for (size_t i = 0; i < n; i++) out[i] = bitset_has(&c->present, nums[i]) ? c->at.duration_s[nums[i]] : 0;
    pthread_rwlock_unlock(c->lock);
}

double catalogue_interactions(catalogue *c, uint32_t num) {
    pthread_rwlock_rdlock(c->lock);
    double count = bitset_has(&c->present, num) ? c->at.interactions[num] : 0;
    pthread_rwlock_unlock(c->lock);
    return count;
}
