/* catalogue: every item in memory in the form that filtering, rights, explaining and the planner need: columns, posting
 * lists and counts.
 *
 * Derived like any serving store (fed by upserts in LSN order), but always local: it answers "which items match this
 * filter" exactly, and "how many" before anything is run. Posting lists are CRoaring bitmaps per facet value; numbers
 * and times are columns; titles and facets are there for sentences; popularity counters come from record_stats.
 * Attributes are indexed by path and value as they appear.
 *
 * Per item the version decides, never arrival: an upsert or removal older than what is there changes nothing. A
 * synopsis is not kept; filters on it compare a 64-bit hash and the length.
 *
 * Readers take a shared lock for the length of one call (microseconds); the feed thread takes it exclusively for a
 * batch. */
#ifndef CATALOGUE_H
#define CATALOGUE_H

#include "base/base.h"
#include "model/model.h"

typedef struct catalogue catalogue;

/* Who asks, for rights and constraints. */
typedef struct viewer_rights {
    const char *region; /* "" unknown: only items without a region list may be shown */
    int32_t age;        /* -1: no limit known -> no age check */
    int32_t tier;       /* -1: no tier known -> no tier check */
    int64_t now;        /* wall ms */
} viewer_rights;

int catalogue_open(const clock_ops *clock, metrics *m, catalogue **out, braid_error *err);
void catalogue_close(catalogue *c);

/* ---- feed side: one thread ---- */
int catalogue_upsert(catalogue *c, uint32_t num, uint64_t version, const item *it, braid_error *err);
int catalogue_remove(catalogue *c, uint32_t num, uint64_t version, braid_error *err);
/* The catalogue holds no relations, but the fingerprint covers them. At start: how many there are and the newest's
 * version, which is one state of theirs only, since a relation that is written gets a higher version than any other.
 * Later: 0 and the LSN of a change. The two name one state differently; that costs a shared cache a miss, and no
 * more. */
void catalogue_note_relations(catalogue *c, uint64_t count, uint64_t lsn);
void catalogue_set_stats(catalogue *c, uint32_t num, double interactions, double reward_sum, double recent,
                         int64_t last_at);

/* ---- reading ---- */
uint64_t catalogue_version(
    const catalogue *c); /* grows with every change of an item, not of its counters: part of cache keys */
/* A fingerprint of which items there are, in which version, and of the relations between them: the same in every
 * process and after every restart that holds the same items, so that a cache that several servers share can be asked
 * with it. */
uint64_t catalogue_content(const catalogue *c);
/* LSN of the last change of that: a store that has applied it holds what the fingerprint says. */
uint64_t catalogue_changed(const catalogue *c);
uint64_t catalogue_count(const catalogue *c);
uint32_t catalogue_bits(const catalogue *c); /* highest number + 1 */
bool catalogue_num(const catalogue *c, const char *id, uint32_t *num);

/* Adds to nothing: *out is initialised here to the items that match the filter, and freed by the caller. */
int catalogue_filter(catalogue *c, const filter *f, bitset *out, braid_error *err);
/* Exact number of matches where that is cheap (one list, or all), else the same by running it. */
int catalogue_filter_count(catalogue *c, const filter *f, uint64_t *count, braid_error *err);
/* Takes out of `set` what the viewer may not see now: window, region, age, tier. */
void catalogue_apply_rights(catalogue *c, const viewer_rights *r, bitset *set);
/* The one rule, for a single item: used again on every item of every answer, cached ones too. False also for an item
 * that is gone. */
bool catalogue_may_show(catalogue *c, const viewer_rights *r, uint32_t num);
/* The next instant (wall ms) after `now` at which some item's window opens or closes; INT64_MAX if none: bounds a
 * cached answer's life. */
int64_t catalogue_next_window_edge(catalogue *c, int64_t now);

/* The items that hold a facet value, as numbers; field FIELD_GENRES .. FIELD_PEOPLE etc. At most max; returns how many
 * there are. */
uint64_t catalogue_facet_members(catalogue *c, filter_field field, const char *value, uint32_t *out, size_t max);
uint64_t catalogue_facet_count(catalogue *c, filter_field field, const char *value);
/* Facet values by falling number of items. Copied into `a`. */
typedef struct facet_count {
    const char *value;
    uint64_t count;
} facet_count;
int catalogue_facets(catalogue *c, filter_field field, size_t max, arena *a, facet_count **out, size_t *count,
                     braid_error *err);

/* Facets as small integers, stable for the life of the catalogue: what the inner loops of personalising use instead of
 * strings. */
typedef struct facet_ref {
    uint8_t field;
    uint32_t facet;
} facet_ref;                                                                               /* field: filter_field */
const char *catalogue_facet_name(const catalogue *c, uint32_t facet, filter_field *field); /* valid until close */
/* items that have it; 0: no such facet */
uint64_t catalogue_facet_size(const catalogue *c, uint32_t facet, filter_field *field);
bool catalogue_facet_id(const catalogue *c, filter_field field, const char *value, uint32_t *facet);
uint32_t catalogue_facet_ids_max(const catalogue *c); /* ids are below this */

/* What an answer says of an item, and what scoring reads; strings and arrays are copied into `a`. False if the item is
 * gone. */
typedef struct catalogue_card {
    uint32_t num;
    uint64_t version;
    const char *id, *title, *original_title, *kind, *language;
    int32_t year, duration_s, age_rating, tier;
    int64_t available_from, available_until;
    const uint32_t *facets;
    size_t facet_count;                      /* facet ids of genres, themes, moods, contexts, people */
    double interactions, reward_sum, recent; /* recent: each worth less the older it is, as of last_at */
    int64_t last_at;
} catalogue_card;
bool catalogue_get_card(catalogue *c, uint32_t num, arena *a, catalogue_card *out);
/* For many at once under one lock; cards of items that are gone have num 0. */
int catalogue_get_cards(catalogue *c, const uint32_t *nums, size_t n, arena *a, catalogue_card **out, braid_error *err);
/* How often it was chosen, 0 if it is gone. */
double catalogue_interactions(catalogue *c, uint32_t num);
/* Durations in seconds of many items, 0 where unknown or gone. */
void catalogue_durations(catalogue *c, const uint32_t *nums, size_t n, int32_t *out);
/* The k best by smoothed popularity (reward_sum + prior) / (interactions + prior weight) x log(1 + interactions), among
 * `allow` (NULL: all); `spread` > 0 takes at most that many of one main genre, so that a cold start is diverse. Returns
 * how many. Ties: most recent year, then lower number. */
size_t catalogue_popular(catalogue *c, const bitset *allow, size_t k, size_t spread, candidate *out);
/* Ids of items whose title or original title holds every word of q (folded prefix match), in id order after `after`.
 * Copied into a. */
int catalogue_find_title(catalogue *c, const char *q, const char *after, size_t limit, arena *a, const char ***ids,
                         size_t *count, braid_error *err);
/* Walks num, id and version of all items; for verify. */
void catalogue_scan(catalogue *c, bool (*each)(void *ctx, uint32_t num, const char *id, uint64_t version), void *ctx);
uint64_t catalogue_bytes(const catalogue *c);

#endif
