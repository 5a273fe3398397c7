/* Rights: may this viewer see this item, now? region AND window [from, until) AND age AND tier, and nothing else
 * decides.
 *
 * For one item the columns are asked directly. For a set of all items everything is kept as dense sets that only need
 * to be ANDed:
 *
 *     everywhere | region    remembered for the last CATALOGUE_REGIONS_KEPT regions asked for, kept up by every write
 *     open                   whose window is open; see below
 *     ages, tiers            one set a distinct value (there are few); those above the viewer's are taken out
 *
 * `open` is exact to the millisecond without being computed for every call. It is divided into blocks of
 * CATALOGUE_BLOCK items; each block remembers the span [from, until) between the edges of its windows around the
 * instant for which it was computed. While `now` lies in the span no edge has passed, so the bits stand; outside of
 * it, forwards or backwards, the block alone is computed again (a few microseconds). A write makes its block invalid.
 * The least `until` of all blocks is the next edge.
 *
 * Rejected: one sorted list of edges (a write moves megabytes), a set per viewer (any number of viewers), a tolerance
 * of some seconds. */
#include <stdlib.h>
#include <string.h>

#include "catalogue/catalogue_state.h"

bool rights_open(catalogue_rights *r) {
    return pthread_mutex_init(&r->lock, NULL) == 0;
}

static void levels_free(rights_levels *l) {
    for (size_t i = 0; i < l->count; i++) bitset_free(&l->rows[i].items);
    free(l->rows);
}

void rights_free(catalogue_rights *r) {
    for (size_t i = 0; i < CATALOGUE_REGIONS_KEPT; i++) {
        free(r->regions[i].region);
        bitset_free(&r->regions[i].items);
    }
    levels_free(&r->ages);
    levels_free(&r->tiers);
    bitset_free(&r->open);
    bitset_free(&r->everywhere);
    free(r->blocks);
    pthread_mutex_destroy(&r->lock);
}

static bool levels_grow(rights_levels *l, uint32_t cap) {
    bool ok = true;
    for (size_t i = 0; ok && i < l->count; i++) ok = catalogue_bitset_grow(&l->rows[i].items, cap);
    return ok;
}

bool rights_grow(catalogue_rights *r, uint32_t cap) {
    bool ok = catalogue_bitset_grow(&r->open, cap) && catalogue_bitset_grow(&r->everywhere, cap) &&
              levels_grow(&r->ages, cap) && levels_grow(&r->tiers, cap);
    for (size_t i = 0; ok && i < CATALOGUE_REGIONS_KEPT; i++)
        ok = r->regions[i].region == NULL || catalogue_bitset_grow(&r->regions[i].items, cap);
    size_t blocks = ((size_t)cap + CATALOGUE_BLOCK - 1) / CATALOGUE_BLOCK;
    if (ok && blocks > r->blocks_count) {
        rights_block *more = realloc(r->blocks, blocks * sizeof *more);
        if (more == NULL) return false;
        r->blocks = more;
        for (size_t i = r->blocks_count; i < blocks; i++) r->blocks[i] = (rights_block){.from = 1, .until = 0};
        r->blocks_count = blocks;
    }
    return ok;
}

/* ---- writing ---- */

static rights_level *level_find(rights_levels *l, int32_t value) {
    for (size_t i = 0; i < l->count; i++)
        if (l->rows[i].value == value) return &l->rows[i];
    return NULL;
}

static bool level_reserve(rights_levels *l, int32_t value, uint32_t cap) {
    if (level_find(l, value) != NULL) return true;
    rights_level *rows = realloc(l->rows, (l->count + 1) * sizeof *rows);
    if (rows == NULL) return false;
    l->rows = rows;
    rows[l->count] = (rights_level){.value = value};
    if (!bitset_init(&rows[l->count].items, cap)) return false;
    l->count++;
    return true;
}

bool rights_reserve(catalogue_rights *r, int32_t age, int32_t tier, uint32_t cap) {
    return level_reserve(&r->ages, age, cap) && level_reserve(&r->tiers, tier, cap);
}

void rights_unset(catalogue *c, uint32_t num) {
    catalogue_rights *r = &c->rights;
    for (size_t i = 0; i < r->ages.count; i++) bitset_unset(&r->ages.rows[i].items, num);
    for (size_t i = 0; i < r->tiers.count; i++) bitset_unset(&r->tiers.rows[i].items, num);
    for (size_t i = 0; i < CATALOGUE_REGIONS_KEPT; i++)
        if (r->regions[i].region != NULL) bitset_unset(&r->regions[i].items, num);
    bitset_unset(&r->everywhere, num);
    bitset_unset(&r->open, num);
    r->blocks[num / CATALOGUE_BLOCK] = (rights_block){.from = 1, .until = 0};
}

static bool list_holds(const string_list *list, const char *value) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->values[i], value) == 0) return true;
    return false;
}

void rights_set(catalogue *c, uint32_t num, const item *it, int32_t age, int32_t tier) {
    catalogue_rights *r = &c->rights;
    rights_unset(c, num);
    bitset_set(&level_find(&r->ages, age)->items, num);
    bitset_set(&level_find(&r->tiers, tier)->items, num);
    if (it->regions.count == 0) bitset_set(&r->everywhere, num);
    for (size_t i = 0; i < CATALOGUE_REGIONS_KEPT; i++)
        if (r->regions[i].region != NULL && (it->regions.count == 0 || list_holds(&it->regions, r->regions[i].region)))
            bitset_set(&r->regions[i].items, num);
}

/* ---- windows ---- */

/* "Since ever" and "for ever", also of items that are gone, are the ends of time and change nothing here. */
static inline void edge_seen(rights_block *b, int64_t edge, int64_t now) {
    int64_t past = edge <= now ? edge : INT64_MIN, ahead = edge > now ? edge : INT64_MAX;
    b->from = past > b->from ? past : b->from;
    b->until = ahead < b->until ? ahead : b->until;
}

static bool window_open(const catalogue *c, uint32_t num, int64_t now) {
    int64_t until = c->at.available_until[num];
    return (c->at.available_from[num] <= now) & ((now < until) | (until == INT64_MAX));
}

static void block_compute(catalogue *c, size_t block, int64_t now) {
    rights_block b = {.from = INT64_MIN, .until = INT64_MAX};
    uint32_t first = (uint32_t)(block * CATALOGUE_BLOCK), end = first + CATALOGUE_BLOCK, bits = c->bits;
    for (; first < end && first < bits; first += 64) {
        uint64_t word = 0;
        for (uint32_t num = first, last = first + 64 < c->cap ? first + 64 : c->cap; num < last; num++) {
            edge_seen(&b, c->at.available_from[num], now);
            edge_seen(&b, c->at.available_until[num], now);
            word |= (uint64_t)window_open(c, num, now) << (num & 63);
        }
        c->rights.open.words[first >> 6] = word;
    }
    c->rights.blocks[block] = b;
}

/* Makes `open` true for `now` and returns the next edge. With rights.lock. */
static int64_t windows_advance(catalogue *c, int64_t now) {
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < c->rights.blocks_count; i++) {
        rights_block *b = &c->rights.blocks[i];
        if (now < b->from || now >= b->until) block_compute(c, i, now);
        next = b->until < next ? b->until : next;
    }
    return next;
}

int64_t catalogue_next_window_edge(catalogue *c, int64_t now) {
    pthread_rwlock_rdlock(c->lock);
    pthread_mutex_lock(&c->rights.lock);
    int64_t next = windows_advance(c, now);
    pthread_mutex_unlock(&c->rights.lock);
    pthread_rwlock_unlock(c->lock);
    return next;
}

/* ---- regions ---- */

/* The remembered region, or the place of the one unused for longest. */
static rights_region *region_find(catalogue_rights *r, const char *region) {
    rights_region *oldest = &r->regions[0];
    for (size_t i = 0; i < CATALOGUE_REGIONS_KEPT; i++) {
        rights_region *at = &r->regions[i];
        if (at->region != NULL && strcmp(at->region, region) == 0) return at;
        if (at->used < oldest->used) oldest = at;
    }
    return oldest;
}

static bool region_compute(catalogue *c, rights_region *at, const char *region) {
    char *copy = strdup(region);
    bitset items = {0};
    if (copy == NULL || !bitset_init(&items, c->cap)) {
        free(copy);
        return false;
    }
    catalogue_or(&items, &c->rights.everywhere);
    uint32_t term = terms_find(&c->facets, FIELD_REGIONS, "", region);
    if (term != CATALOGUE_NONE) posting_or_into(&c->facets.rows[term].items, &items);
    free(at->region);
    bitset_free(&at->items);
    at->region = copy;
    at->items = items;
    return true;
}

/* With rights.lock. Without memory nobody sees what is bound to a region: a right is never given by mistake. */
static void apply_region(catalogue *c, const char *region, bitset *set) {
    catalogue_rights *r = &c->rights;
    const bitset *allowed = &r->everywhere;
    if (region[0] != '\0') {
        rights_region *at = region_find(r, region);
        if ((at->region != NULL && strcmp(at->region, region) == 0) || region_compute(c, at, region)) {
            at->used = ++r->clock;
            allowed = &at->items;
        }
    }
    bitset_and(set, allowed);
}

/* ---- the rule ---- */

static void apply_level(const rights_levels *l, int32_t most, bitset *set) {
    for (size_t i = 0; most >= 0 && i < l->count; i++)
        if (l->rows[i].value > most) bitset_and_not(set, &l->rows[i].items);
}

void catalogue_apply_rights(catalogue *c, const viewer_rights *r, bitset *set) {
    pthread_rwlock_rdlock(c->lock);
    pthread_mutex_lock(&c->rights.lock);
    windows_advance(c, r->now);
    bitset_and(set, &c->present);
    bitset_and(set, &c->rights.open);
    apply_region(c, r->region != NULL ? r->region : "", set);
    pthread_mutex_unlock(&c->rights.lock);
    apply_level(&c->rights.ages, r->age, set);
    apply_level(&c->rights.tiers, r->tier, set);
    pthread_rwlock_unlock(c->lock);
}

static bool region_allows(const catalogue *c, uint32_t num, const char *region) {
    if (bitset_has(&c->rights.everywhere, num)) return true;
    const catalogue_entry *e = c->at.entries[num];
    for (uint32_t i = e->card_count; region != NULL && region[0] != '\0' && i < e->terms_count; i++) {
        const catalogue_term *t = &c->facets.rows[e->terms[i]];
        if (t->field == FIELD_REGIONS && strcmp(t->value, region) == 0) return true;
    }
    return false;
}

bool catalogue_may_show(catalogue *c, const viewer_rights *r, uint32_t num) {
    pthread_rwlock_rdlock(c->lock);
    bool may = bitset_has(&c->present, num) && window_open(c, num, r->now) &&
               (r->age < 0 || c->at.age_rating[num] <= r->age) && (r->tier < 0 || c->at.tier[num] <= r->tier) &&
               region_allows(c, num, r->region);
    pthread_rwlock_unlock(c->lock);
    return may;
}

uint64_t rights_bytes(const catalogue_rights *r) {
    uint64_t sets = 2 + r->ages.count + r->tiers.count;
    for (size_t i = 0; i < CATALOGUE_REGIONS_KEPT; i++) sets += r->regions[i].region != NULL;
    return sets * (((uint64_t)r->open.bits + 63) / 64 * 8) + r->blocks_count * sizeof *r->blocks;
}
