/* What the files of the learner share (learner.c, learner_batch.c, learner_items.c, learner_recent.c); nobody else
 * includes it. */
#ifndef POLICY_LEARNER_PRIVATE_H
#define POLICY_LEARNER_PRIVATE_H

#include "policy/intern.h"
#include "policy/policy_private.h"

enum {
    LEARNER_ROWS_MAX = 20000,     /* interactions in one batch */
    LEARNER_CHANGES_MAX = 60000,  /* rows written by one batch; one interaction alone is always allowed */
    LEARNER_SLICE = 512,          /* rows in one of its transactions: others wait for no longer than that */
    LEARNER_ITEMS_CACHED = 4096,  /* a power of two */
    LEARNER_PEOPLE_CACHED = 32768 /* a power of two */
};

/* ---- learner_items.c: what the learner must know of an item, kept between batches ---- */
typedef struct learner_item {
    uint32_t num;
    bool gone;
    int32_t duration_s;
    uint32_t genres;
    char text[]; /* id NUL genre NUL genre NUL ... */
} learner_item;

typedef struct learner_items {
    learner_item *slots[LEARNER_ITEMS_CACHED];
} learner_items;

/* The item, valid until the next call; one that is not in the record has gone == true. */
int learner_items_get(learner_items *c, record_store *record, uint32_t num, const learner_item **out, braid_error *err);
void learner_items_forget(learner_items *c, uint32_t num);
void learner_items_clear(learner_items *c);

/* ---- learner_recent.c: what people judged last, kept between batches where taste is a part of states ---- */
typedef struct learner_judged {
    uint32_t num;
    interaction_type type;
    int32_t watch_s;
    double rating;
    int64_t at;
    uint64_t lsn;
} learner_judged;

typedef struct learner_person {
    size_t count;
    learner_judged items[POLICY_TASTE_ITEMS]; /* newest (by at, then lsn) first, each item once */
    char id[];
} learner_person;

typedef struct learner_recent {
    learner_person *slots[LEARNER_PEOPLE_CACHED];
} learner_recent;

/* As it was before interaction `lsn`, which is the next of theirs; valid until the next call. */
int learner_recent_get(learner_recent *c, record_store *record, const char *person, uint64_t lsn, learner_person **out,
                       braid_error *err);
void learner_recent_add(learner_person *p, const learner_judged *judged);
void learner_recent_forget(learner_recent *c, const char *person);
void learner_recent_clear(learner_recent *c);

/* ---- learner.c ---- */
struct policy_learner {
    record_store *record;
    policy_rows *rows;
    catalogue *cat;
    const logger *log;
    unsigned state_parts;
    uint64_t position;   /* everything up to here is done */
    uint64_t stored;     /* the cursor in the record store; <= position */
    record_stats *stats; /* by item number; num 0: none yet */
    size_t stats_count;
    learner_items items;
    learner_recent recent;
    arena *scratch; /* of one transaction */
    metric_counter *learned, *refused;
};

/* Makes room for the counters of item `num`; false when memory ran out. */
bool learner_stats_room(policy_learner *l, uint32_t num);

/* ---- learner_batch.c: one transaction ---- */
/* Learns from the interactions in (after, upto], or from as many of the first as one transaction may hold. *done gets
 * the LSN up to which it is now learned and stored, *rows how many interactions were found; with 0 nothing was
 * written. */
int learner_batch_run(policy_learner *l, uint64_t after, uint64_t upto, size_t expected, uint64_t *done, size_t *rows,
                      braid_error *err);

#endif
