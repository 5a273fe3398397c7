/* What the files of the taste profile share (profile.c, profile_snapshot.c, profile_taste.c); nobody else includes
 * it.
 *
 * A snapshot is what policy_profile shows, plus what the next one is made from. Readers hold it by reference count
 * and see it unchanging; the person's record and the seen list are counted on their own, since most steps leave them
 * as they are. */
#ifndef POLICY_PROFILE_PRIVATE_H
#define POLICY_PROFILE_PRIVATE_H

#include <stdatomic.h>

#include "policy/policy_private.h"

enum {
    PROFILE_HISTORY_MAX = 1000,   /* what the item-item models are asked with */
    PROFILE_TASTE_MAX = 200,      /* of these the newest: what facets are read from */
    PROFILE_AFFINITIES_MAX = 4096 /* the strongest are kept */
};

/* One interaction, as much of it as taste needs. */
typedef struct profile_event {
    uint32_t num;
    interaction_type type;
    int32_t watch_s;
    float rating;
    int64_t at;
    uint64_t lsn;
} profile_event;

static inline profile_event profile_event_of(const interaction *in, uint32_t num, uint64_t lsn) {
    return (profile_event){
        .num = num, .type = in->type, .watch_s = in->watch_s, .rating = (float)in->rating, .at = in->at, .lsn = lsn};
}

typedef struct profile_person {
    atomic_uint refs;
    arena *memory;
    user *person;
} profile_person;

typedef struct profile_seen {
    atomic_uint refs;
    size_t count;
    uint32_t nums[]; /* ascending */
} profile_seen;

typedef struct profile_snapshot {
    policy_profile shown;
    atomic_uint refs;
    profile_person *person; /* NULL: no record */
    profile_seen *seen;     /* NULL: nothing */
    profile_event *events;  /* of shown.recent, same order */
    size_t event_count;
    policy_seen *recent;
    policy_affinity *affinities;
    uint64_t loaded_lsn;        /* every interaction of the person up to here was in the record when it was read */
    bool incomplete;            /* the catalogue did not know an item or a preferred facet yet */
    uint64_t catalogue_version; /* when taste was made */
    int64_t made_ns;
} profile_snapshot;

/* Reads the person from the record store; taste is not made yet. `floor_lsn`: an LSN that was acknowledged before
 * this call. */
int profile_snapshot_load(record_store *record, policy_people *people, const model_limits *limits, const char *id,
                          uint64_t floor_lsn, deadline until, profile_snapshot **out, braid_error *err);
/* The old one moved on by n interactions (n may be 0: a copy); taste is not made yet. */
int profile_snapshot_advance(const profile_snapshot *old, const profile_event *events, size_t n, profile_snapshot **out,
                             braid_error *err);
void profile_snapshot_release(profile_snapshot *s); /* NULL allowed */

/* Makes rewards and affinities, once for a snapshot nobody sees yet. */
int profile_taste_make(profile_snapshot *s, catalogue *cat, braid_error *err);

#endif
