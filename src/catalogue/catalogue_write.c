/* The feed's side of the catalogue: upsert, remove, popularity counters.
 *
 * An upsert has three parts: read the item into an entry and ids, making new terms as needed (may fail, changes
 * nothing that answers show); take the old state out of every index (cannot fail); put the new one in. If memory runs
 * out in the third part the item is taken out again and its version forgotten, so that the feed's next attempt brings
 * it back whole: absent for a moment, never half there. Versions decide, not arrival; a removal leaves its version
 * behind. Roaring bitmaps do not report failed allocations; everything else here does. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "catalogue/catalogue_state.h"

/* An item on its way in. */
typedef struct incoming {
    attribute_list terms; /* facet ids; the first card_count belong to cards */
    size_t card_count;
    uint32_t kind, language, main_genre;
    attribute_set attributes;
    buf folded;
    catalogue_entry *entry;
} incoming;

static int no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, CATALOGUE_STORE, "no memory to change the catalogue");
}

uint64_t catalogue_text_hash(const char *text, size_t len) {
    if (len == 0) return 0;
    uint64_t hash = XXH3_64bits(text, len);
    return hash != 0 ? hash : 1;
}

/* ---- growing ---- */

bool catalogue_bitset_grow(bitset *s, uint32_t bits) {
    if (bits <= s->bits) return true;
    bitset more;
    if (!bitset_init(&more, bits)) return false;
    catalogue_or(&more, s);
    bitset_free(s);
    *s = more;
    return true;
}

static bool column_grow(void *column, size_t size, uint32_t from, uint32_t to) {
    void **at = column, *more = realloc(*at, (size_t)to * size);
    if (more == NULL) return false;
    memset((char *)more + (size_t)from * size, 0, (size_t)(to - from) * size);
    *at = more;
    return true;
}

/* Bytes of all columns of one item; the rows of reserve() are these. */
enum { COLUMN_BYTES = 8 + 8 + 4 * 4 + 2 * 8 + 3 * 8 + 4 + 4 + 8 + 2 * 8 + 8 + 4 };

static bool reserve(catalogue *c, uint32_t num) {
    if (num < c->cap) return true;
    uint32_t from = c->cap, to = from + from / 2;
    to = to > num ? to : num + 1;
    to = (to + 1023) / 1024 * 1024;
    catalogue_columns *a = &c->at;
    const struct {
        void *column;
        size_t size;
    } rows[] = {{&a->entries, sizeof *a->entries},
                {&a->versions, sizeof *a->versions},
                {&a->year, sizeof *a->year},
                {&a->duration_s, sizeof *a->duration_s},
                {&a->age_rating, sizeof *a->age_rating},
                {&a->tier, sizeof *a->tier},
                {&a->available_from, sizeof *a->available_from},
                {&a->available_until, sizeof *a->available_until},
                {&a->title_hash, sizeof *a->title_hash},
                {&a->original_hash, sizeof *a->original_hash},
                {&a->synopsis_hash, sizeof *a->synopsis_hash},
                {&a->synopsis_len, sizeof *a->synopsis_len},
                {&a->fields, sizeof *a->fields},
                {&a->title_marks, sizeof *a->title_marks},
                {&a->interactions, sizeof *a->interactions},
                {&a->reward_sum, sizeof *a->reward_sum},
                {&a->recent, sizeof *a->recent},
                {&a->last_at, sizeof *a->last_at},
                {&a->popularity, sizeof *a->popularity}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!column_grow(rows[i].column, rows[i].size, from, to)) return false;
    if (!catalogue_bitset_grow(&c->present, to) || !rights_grow(&c->rights, to)) return false;
    for (uint32_t i = from; i < to; i++) {
        a->available_from[i] = TIME_NONE;
        a->available_until[i] = INT64_MAX;
    }
    c->cap = to;
    return true;
}

/* ---- reading an item ---- */

static bool add_term(incoming *in, uint32_t id) {
    attribute_list *l = &in->terms;
    if (id == CATALOGUE_NONE) return false;
    for (size_t i = 0; i < l->count; i++)
        if (l->values[i] == id) return true; /* a director who also acts */
    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 32 : l->cap * 2;
        uint32_t *values = realloc(l->values, cap * sizeof *values);
        if (values == NULL) return false;
        l->values = values;
        l->cap = cap;
    }
    l->values[l->count++] = id;
    return true;
}

static bool add_list(catalogue *c, incoming *in, filter_field field, const string_list *list) {
    for (size_t i = 0; i < list->count; i++)
        if (!add_term(in, terms_intern(&c->facets, (uint8_t)field, "", list->values[i]))) return false;
    return true;
}

/* A single value; absent values are not terms. */
static bool add_text(catalogue *c, incoming *in, filter_field field, const char *value, uint32_t *id) {
    *id = CATALOGUE_NONE;
    if (value[0] == '\0') return true;
    *id = terms_intern(&c->facets, (uint8_t)field, "", value);
    return add_term(in, *id);
}

static bool read_terms(catalogue *c, const item *it, incoming *in) {
    bool ok = add_list(c, in, FIELD_GENRES, &it->genres);
    in->main_genre = in->terms.count > 0 ? in->terms.values[0] : CATALOGUE_NONE;
    ok = ok && add_list(c, in, FIELD_THEMES, &it->themes) && add_list(c, in, FIELD_MOODS, &it->moods) &&
         add_list(c, in, FIELD_CONTEXTS, &it->contexts);
    for (size_t i = 0; ok && i < it->people_count; i++)
        ok = add_term(in, terms_intern(&c->facets, FIELD_PEOPLE, "", it->people[i].name));
    in->card_count = in->terms.count;
    return ok && add_text(c, in, FIELD_KIND, it->kind, &in->kind) &&
           add_text(c, in, FIELD_LANGUAGE, it->language, &in->language) &&
           add_list(c, in, FIELD_COUNTRIES, &it->countries) && add_list(c, in, FIELD_REGIONS, &it->regions);
}

/* " words of the title words of the original title": every word has a space before it, so a word's prefix is a
 * substring. */
static bool fold_titles(const item *it, buf *out) {
    buf_putc(out, ' ');
    utf8_fold(it->title, strlen(it->title), out);
    if (it->original_title[0] != '\0' && strcmp(it->title, it->original_title) != 0) {
        buf_putc(out, ' ');
        utf8_fold(it->original_title, strlen(it->original_title), out);
    }
    return !out->failed;
}

static const char *pack_text(char **at, const char *text, size_t len) {
    char *here = memcpy(*at, text, len + 1);
    *at += len + 1;
    return here;
}

static uint32_t *pack_ids(uint32_t **at, const uint32_t *ids, size_t count) {
    uint32_t *here = *at;
    if (count > 0) memcpy(here, ids, count * sizeof *ids);
    *at += count;
    return here;
}

static catalogue_entry *entry_pack(const item *it, incoming *in) {
    const attribute_set *as = &in->attributes;
    size_t id_len = strlen(it->id), title_len = strlen(it->title), original_len = strlen(it->original_title);
    size_t ids = in->terms.count + as->terms.count + as->numbers.count;
    size_t texts = id_len + title_len + original_len + in->folded.len + 4; /* with their ends */
    size_t bytes = sizeof(catalogue_entry) + ids * sizeof(uint32_t) + texts;
    char *block = malloc(bytes);
    if (block == NULL) return NULL;
    catalogue_entry *e = (catalogue_entry *)(void *)block;
    uint32_t *numbers = (uint32_t *)(void *)(block + sizeof *e);
    char *text = block + sizeof *e + ids * sizeof(uint32_t);
    *e = (catalogue_entry){.terms_count = (uint32_t)in->terms.count,
                           .card_count = (uint32_t)in->card_count,
                           .attributes_count = (uint32_t)as->terms.count,
                           .kind = in->kind,
                           .language = in->language,
                           .main_genre = in->main_genre,
                           .bytes = bytes};
    e->terms = pack_ids(&numbers, in->terms.values, in->terms.count);
    e->attributes = pack_ids(&numbers, as->terms.values, as->terms.count);
    e->numbers = numbers;
    for (size_t i = 0; i < as->numbers.count; i++) /* a list of numbers names its path once: they come in a row */
        if (i == 0 || as->numbers.rows[i].num != as->numbers.rows[i - 1].num)
            numbers[e->numbers_count++] = as->numbers.rows[i].num;
    e->id = pack_text(&text, it->id, id_len);
    e->title = pack_text(&text, it->title, title_len);
    e->original_title = pack_text(&text, it->original_title, original_len);
    e->folded = pack_text(&text, in->folded.data, in->folded.len);
    return e;
}

static bool incoming_read(catalogue *c, const item *it, incoming *in) {
    if (!read_terms(c, it, in) || !attributes_read(c, it->attributes, &in->attributes) ||
        !fold_titles(it, &in->folded) || !rights_reserve(&c->rights, it->age_rating, it->tier, c->cap))
        return false;
    in->entry = entry_pack(it, in);
    return in->entry != NULL;
}

static void incoming_free(incoming *in) {
    free(in->terms.values);
    attribute_set_free(&in->attributes);
    buf_free(&in->folded);
    free(in->entry);
}

/* ---- in and out ---- */

/* Takes every trace of the entry out of the indexes. */
static void unindex(catalogue *c, uint32_t num, const catalogue_entry *e) {
    uint64_t owner;
    for (uint32_t i = 0; i < e->terms_count; i++) posting_remove(&c->facets.rows[e->terms[i]].items, num);
    for (uint32_t i = 0; i < e->attributes_count; i++) posting_remove(&c->attributes.rows[e->attributes[i]].items, num);
    for (uint32_t i = 0; i < e->numbers_count; i++) numbers_remove(&c->numbers[e->numbers[i]], num);
    if (map_get(c->nums, e->id, &owner) && owner == num) map_remove(c->nums, e->id);
    rights_unset(c, num);
}

/* splitmix64's finaliser, twice: what one item (or, as number 0, the relations) adds to the catalogue's fingerprint.
 * A sum, so that order does not matter and an item can be taken out again. */
static uint64_t content_of(uint32_t num, uint64_t version) {
    uint64_t z = (uint64_t)num * UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < 2; i++) {
        z += version + UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
    }
    return z;
}

/* Before `content` moves: whoever reads the new fingerprint and then this sees the LSN that belongs to it, or a
 * later one. */
static void note_change(catalogue *c, uint64_t lsn) {
    if (lsn > c->changed) c->changed = lsn;
}

static void take_out(catalogue *c, uint32_t num) {
    catalogue_entry *e = c->at.entries[num];
    if (e == NULL) return;
    c->content -= content_of(num, c->at.versions[num]);
    unindex(c, num, e);
    c->entry_bytes -= e->bytes;
    free(e);
    c->at.entries[num] = NULL;
    c->at.title_marks[num] = 0;
    c->at.fields[num] = 0;
    c->at.available_from[num] = TIME_NONE; /* no edges */
    c->at.available_until[num] = INT64_MAX;
    c->at.title_hash[num] = c->at.original_hash[num] = c->at.synopsis_hash[num] = 0;
    bitset_unset(&c->present, num);
    c->count--;
}

static bool index_entry(catalogue *c, uint32_t num, const catalogue_entry *e, const attribute_set *as) {
    bool ok = map_put(c->nums, e->id, num);
    for (uint32_t i = 0; ok && i < e->terms_count; i++) ok = posting_add(&c->facets.rows[e->terms[i]].items, num);
    for (uint32_t i = 0; ok && i < e->attributes_count; i++)
        ok = posting_add(&c->attributes.rows[e->attributes[i]].items, num);
    for (size_t i = 0; ok && i < as->numbers.count; i++)
        ok = numbers_add(&c->numbers[as->numbers.rows[i].num], num, as->numbers.rows[i].value);
    return ok;
}

static void set_columns(catalogue *c, uint32_t num, const item *it, const catalogue_entry *e) {
    catalogue_columns *a = &c->at;
    a->year[num] = it->year;
    a->duration_s[num] = it->duration_s;
    a->age_rating[num] = it->age_rating;
    a->tier[num] = it->tier;
    a->available_from[num] = it->available_from;
    a->available_until[num] = it->available_until == TIME_NONE ? INT64_MAX : it->available_until;
    a->title_hash[num] = catalogue_text_hash(it->title, strlen(it->title));
    a->original_hash[num] = catalogue_text_hash(it->original_title, strlen(it->original_title));
    size_t len = strlen(it->synopsis);
    a->synopsis_hash[num] = catalogue_text_hash(it->synopsis, len);
    a->synopsis_len[num] = (uint32_t)len;
    a->title_marks[num] = title_marks(e->folded);
    a->fields[num] = 0;
    for (uint32_t i = 0; i < e->terms_count; i++) a->fields[num] |= 1u << c->facets.rows[e->terms[i]].field;
}

static void put_in(catalogue *c, uint32_t num, const item *it, incoming *in) {
    c->at.entries[num] = in->entry;
    c->entry_bytes += in->entry->bytes;
    set_columns(c, num, it, in->entry);
    bitset_set(&c->present, num);
    rights_set(c, num, it, it->age_rating, it->tier);
    if (num >= c->bits) c->bits = num + 1;
    c->count++;
    in->entry = NULL;
}

static int check_num(uint32_t num, braid_error *err) {
    if (num == 0) return error_set(err, BRAID_E_INVALID, CATALOGUE_STORE, "item number 0 is not an item");
    if (num > CATALOGUE_NUM_MAX)
        return error_set(err, BRAID_E_TOO_LARGE, CATALOGUE_STORE, "item number %u is over %u", num,
                         (unsigned)CATALOGUE_NUM_MAX);
    return BRAID_OK;
}

int catalogue_upsert(catalogue *c, uint32_t num, uint64_t version, const item *it, braid_error *err) {
    int rc = check_num(num, err);
    if (rc != BRAID_OK) return rc;
    incoming in = {0};
    buf_init(&in.folded, 0);
    pthread_rwlock_wrlock(c->lock);
    if (num < c->cap && version < c->at.versions[num]) goto cleanup; /* a later state is here already */
    if (!reserve(c, num) || !incoming_read(c, it, &in)) {
        rc = no_memory(err);
        goto cleanup;
    }
    take_out(c, num);
    c->version++;
    if (!index_entry(c, num, in.entry, &in.attributes)) {
        unindex(c, num, in.entry);
        c->at.versions[num] = 0;
        rc = no_memory(err);
        goto cleanup;
    }
    put_in(c, num, it, &in);
    c->at.versions[num] = version;
    note_change(c, version);
    c->content += content_of(num, version);
    metric_set(c->items_metric, (double)c->count);
cleanup:
    pthread_rwlock_unlock(c->lock);
    incoming_free(&in);
    return rc;
}

int catalogue_remove(catalogue *c, uint32_t num, uint64_t version, braid_error *err) {
    int rc = check_num(num, err);
    if (rc != BRAID_OK) return rc;
    pthread_rwlock_wrlock(c->lock);
    if (!reserve(c, num)) { /* the version must be kept, so that a late upsert is refused */
        rc = no_memory(err);
    } else if (version >= c->at.versions[num]) {
        note_change(c, version);
        take_out(c, num);
        c->at.versions[num] = version;
        c->at.interactions[num] = c->at.reward_sum[num] = c->at.recent[num] = 0;
        c->at.last_at[num] = 0;
        c->at.popularity[num] = 0;
        c->version++;
        metric_set(c->items_metric, (double)c->count);
    }
    pthread_rwlock_unlock(c->lock);
    return rc;
}

void catalogue_note_relations(catalogue *c, uint64_t count, uint64_t lsn) {
    uint64_t now = content_of(0, lsn) + count;
    pthread_rwlock_wrlock(c->lock);
    note_change(c, lsn);
    c->content += now - c->relations;
    c->relations = now;
    pthread_rwlock_unlock(c->lock);
}

void catalogue_set_stats(catalogue *c, uint32_t num, double interactions, double reward_sum, double recent,
                         int64_t last_at) {
    if (num == 0 || num > CATALOGUE_NUM_MAX) return;
    pthread_rwlock_wrlock(c->lock);
    if (reserve(c, num)) {
        c->at.interactions[num] = interactions;
        c->at.reward_sum[num] = reward_sum;
        c->at.recent[num] = recent;
        c->at.last_at[num] = last_at;
        c->at.popularity[num] = popularity(interactions, reward_sum);
    }
    pthread_rwlock_unlock(c->lock);
}

uint64_t catalogue_bytes(const catalogue *c) {
    pthread_rwlock_rdlock(c->lock);
    uint64_t bytes = sizeof *c + c->entry_bytes + c->count * 16 + (uint64_t)c->cap * COLUMN_BYTES + map_bytes(c->nums) +
                     map_bytes(c->number_paths) + terms_bytes(&c->facets) + terms_bytes(&c->attributes) +
                     rights_bytes(&c->rights) + c->cap / 8 + c->numbers_cap * sizeof *c->numbers;
    for (uint32_t i = 0; i < c->numbers_count; i++) bytes += c->numbers[i].cap * sizeof *c->numbers[i].rows;
    pthread_rwlock_unlock(c->lock);
    return bytes;
}
