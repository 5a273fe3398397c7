/* The catalogue as its own files see it. Which file does what:
 *
 *     catalogue.c            open, close, numbers and counts, facets by name, cards
 *     catalogue_write.c      upsert, remove, popularity counters
 *     catalogue_terms.c      value -> small id -> posting list, for facets and attributes
 *     catalogue_attribute.c  free JSON -> terms and number columns
 *     catalogue_filter.c     filter tree -> set of items
 *     catalogue_scan.c       the loops over columns
 *     catalogue_rights.c     who may see what, now
 *     catalogue_popular.c    the best for those of whom nothing is known
 *     catalogue_title.c      find by title
 *
 * Locks: `lock` (writers first, so that searches never starve the feed) is held by every call for its own length;
 * `rights.lock` guards what readers remember for each other in there and is taken inside `lock`, never the other way
 * round. */
#ifndef CATALOGUE_STATE_H
#define CATALOGUE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "catalogue/catalogue.h"
#include "catalogue/catalogue_posting.h"

#define CATALOGUE_STORE "catalogue"
#define CATALOGUE_NONE  UINT32_MAX /* no term, no column */

enum {
    CATALOGUE_NUM_MAX = 1 << 26,
    CATALOGUE_TERMS_MAX = 1 << 28,
    CATALOGUE_REGIONS_KEPT = 32, /* viewers' regions whose sets are remembered */
    CATALOGUE_BLOCK = 1024       /* items that share one validity of their windows */
};

/* ---- values ---- */

/* value NULL: an attribute's */
typedef struct catalogue_term {
    posting items;
    char *value;
    uint8_t field;
} catalogue_term;

typedef struct catalogue_terms {
    map *ids;
    catalogue_term *rows;
    uint32_t count, cap;
    uint64_t bytes;
} catalogue_terms;

/* The numbers found under one attribute path, sorted by item; an item may have several. */
typedef struct catalogue_number {
    uint32_t num;
    double value;
} catalogue_number;
typedef struct catalogue_numbers {
    catalogue_number *rows;
    size_t count, cap;
} catalogue_numbers;

/* ---- items ---- */

/* One allocation an item: the struct, its ids, its texts. */
typedef struct catalogue_entry {
    const char *id, *title, *original_title;
    const char *folded;    /* " words of the title words of the original title" */
    const uint32_t *terms; /* facet ids: those of cards first, then kind, language, countries, regions */
    uint32_t terms_count, card_count;
    const uint32_t *attributes; /* attribute term ids */
    const uint32_t *numbers;    /* paths with numbers: indexes into catalogue.numbers */
    uint32_t attributes_count, numbers_count;
    uint32_t kind, language, main_genre; /* facet ids or CATALOGUE_NONE */
    size_t bytes;
} catalogue_entry;

typedef struct catalogue_columns {
    catalogue_entry **entries; /* NULL: no such item */
    uint64_t *versions;        /* of the last change, a removal too */
    int32_t *year, *duration_s, *age_rating, *tier;
    int64_t *available_from, *available_until;
    uint64_t *title_hash, *original_hash, *synopsis_hash; /* 0: empty */
    uint32_t *synopsis_len;
    uint32_t *fields;      /* which facet fields have a value: bits by filter_field */
    uint64_t *title_marks; /* which first letters and pairs the words of the titles have */
    double *interactions, *reward_sum, *recent;
    int64_t *last_at;
    float *popularity;
} catalogue_columns;

/* ---- rights ---- */

typedef struct rights_level {
    int32_t value;
    bitset items;
} rights_level;
/* one row a distinct age rating or tier */
typedef struct rights_levels {
    rights_level *rows;
    size_t count;
} rights_levels;
typedef struct rights_region {
    char *region;
    bitset items;
    uint64_t used;
} rights_region;
/* `open` holds for from <= now < until; from > until: never */
typedef struct rights_block {
    int64_t from, until;
} rights_block;

typedef struct catalogue_rights {
    pthread_mutex_t lock;
    bitset open; /* window is open, by blocks */
    rights_block *blocks;
    size_t blocks_count;
    rights_region regions[CATALOGUE_REGIONS_KEPT];
    uint64_t clock;    /* of use, for replacing */
    bitset everywhere; /* items without regions */
    rights_levels ages, tiers;
} catalogue_rights;

struct catalogue {
    pthread_rwlock_t *lock; /* behind a pointer, so that reading calls can take a const catalogue */
    const clock_ops *clock;
    uint32_t cap; /* of columns and sets */
    catalogue_columns at;
    bitset present;
    map *nums; /* id -> number */
    catalogue_terms facets, attributes;
    map *number_paths; /* attribute path -> index into numbers */
    catalogue_numbers *numbers;
    uint32_t numbers_count, numbers_cap;
    catalogue_rights rights;
    uint64_t entry_bytes;
    _Atomic uint64_t version, count;
    _Atomic uint64_t content; /* sum over the items of a hash of number and version, and of one of the relations */
    _Atomic uint64_t changed; /* LSN */
    uint64_t relations;       /* what they add to `content` */
    _Atomic uint32_t bits;
    metric_counter *items_metric;
};

/* catalogue_terms.c */
bool terms_open(catalogue_terms *t);
void terms_free(catalogue_terms *t);
/* `path` is "" for facets. CATALOGUE_NONE if there is none (find) or memory ran out (intern). `kind` is the field of a
 * facet, or one of the attribute kinds below. */
enum { TERM_STRING = FIELD_COUNT, TERM_BOOL, TERM_EXISTS };
uint32_t terms_find(const catalogue_terms *t, uint8_t kind, const char *path, const char *value);
uint32_t terms_intern(catalogue_terms *t, uint8_t kind, const char *path, const char *value);
uint64_t terms_bytes(const catalogue_terms *t);
bool catalogue_field_is_facet(filter_field f);

/* catalogue_attribute.c: what an item's attributes come to. */
typedef struct attribute_list {
    uint32_t *values;
    size_t count, cap;
} attribute_list;
/* num: the path's index */
typedef struct attribute_numbers {
    catalogue_number *rows;
    size_t count, cap;
} attribute_numbers;
typedef struct attribute_set {
    attribute_list terms;
    attribute_numbers numbers;
} attribute_set;
bool attributes_read(catalogue *c, const json_t *json, attribute_set *out); /* false when memory ran out */
void attribute_set_free(attribute_set *s);
uint32_t attributes_path(const catalogue *c, const char *path); /* index into numbers or CATALOGUE_NONE */
bool numbers_add(catalogue_numbers *n, uint32_t num, double value);
void numbers_remove(catalogue_numbers *n, uint32_t num); /* all of the item's */

/* catalogue_scan.c: every matching number among those below `bits` is set in out. */
void scan_int32(const int32_t *column, uint32_t bits, int64_t low, int64_t high, bitset *out);
void scan_int64(const int64_t *column, uint32_t bits, int64_t low, int64_t high, bitset *out);
void scan_fields(const uint32_t *column, uint32_t bits, unsigned field, bitset *out); /* whose bit `field` is set */
void catalogue_or(bitset *out, const bitset *other);

/* catalogue_rights.c; all but the last two under the exclusive lock */
bool rights_open(catalogue_rights *r);
void rights_free(catalogue_rights *r);
bool rights_grow(catalogue_rights *r, uint32_t cap);
bool rights_reserve(catalogue_rights *r, int32_t age, int32_t tier, uint32_t cap);
void rights_set(catalogue *c, uint32_t num, const item *it, int32_t age, int32_t tier); /* after rights_reserve */
void rights_unset(catalogue *c, uint32_t num);
uint64_t rights_bytes(const catalogue_rights *r);

/* catalogue_title.c */
uint64_t title_marks(const char *folded);
/* catalogue_popular.c */
float popularity(double interactions, double reward_sum);
/* A text's hash, never 0 unless it is empty. */
uint64_t catalogue_text_hash(const char *text, size_t len);
/* Makes room for numbers below `bits`. */
bool catalogue_bitset_grow(bitset *s, uint32_t bits);

#endif
