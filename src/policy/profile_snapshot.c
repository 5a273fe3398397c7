/* Snapshots of a person: read from the record store, or moved on from the one before.
 *
 * Views do not count as seen and say nothing of taste: an item that was on the screen is not an item that was judged.
 * A click marks an item as seen, and stands for the item only as long as there is nothing better: a person who liked
 * a film and opens its page again still likes it. Otherwise the latest interaction with an item stands for it.
 *
 * Reading goes newest first, so the first judgement met is the one that stands, and two bitsets (judged, clicked) are
 * all that must be remembered for 100,000 interactions; walking them afterwards gives the seen list in order. Moving
 * on copies the recent list and, only if an item is new, merges the seen list: 400 KB for 100,000 items, some 20 us.
 * Rejected: a tree or an unsorted tail that readers would have to know of. */
#include <stdlib.h>
#include <string.h>

#include "policy/profile_private.h"

static int snapshot_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "policy", "no memory for a taste profile");
}

/* ---- ownership ---- */
static void person_release(profile_person *p) {
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1) return;
    user_release(p->person);
    arena_free(p->memory);
    free(p);
}

static void seen_release(profile_seen *s) {
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) free(s);
}

static profile_seen *seen_new(size_t count) {
    profile_seen *s = malloc(sizeof *s + count * sizeof s->nums[0]);
    if (!s) return NULL;
    atomic_init(&s->refs, 1);
    s->count = count;
    return s;
}

void profile_snapshot_release(profile_snapshot *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    person_release(s->person);
    seen_release(s->seen);
    free(s->events);
    free(s->recent);
    free(s->affinities);
    free(s);
}

static profile_snapshot *snapshot_new(void) {
    profile_snapshot *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    atomic_init(&s->refs, 1);
    s->shown.owner = s;
    return s;
}

/* What follows from the parts. */
static void snapshot_show(profile_snapshot *s) {
    s->shown.person = s->person ? s->person->person : NULL;
    s->shown.seen = s->seen ? s->seen->nums : NULL;
    s->shown.seen_count = s->seen ? s->seen->count : 0;
    s->shown.known = s->person != NULL || s->shown.interactions > 0;
}

/* ---- reading: the person's record ---- */
typedef struct person_read {
    const model_limits *limits;
    profile_person *person;
    uint64_t version;
    int rc;
    braid_error *err;
} person_read;

static bool person_read_row(void *ctx, const char *id, const char *body, size_t len, uint64_t version) {
    (void)id;
    person_read *x = ctx;
    x->version = version;
    x->person = calloc(1, sizeof *x->person);
    if (x->person) x->person->memory = arena_new(2 * len + 512);
    if (!x->person || !x->person->memory) {
        free(x->person);
        x->person = NULL;
        x->rc = snapshot_no_memory(x->err);
        return false;
    }
    atomic_init(&x->person->refs, 1);
    model_limits limits = *x->limits;
    limits.json_bytes_max = len + 1; /* it was let in once; a lower limit today does not lock the person out */
    json_t *json = NULL;
    x->rc = model_json_parse(body, len, &limits, &json, x->err);
    if (x->rc == BRAID_OK) x->rc = user_from_json(json, &limits, x->person->memory, &x->person->person, x->err);
    json_decref(json);
    return false;
}

static int person_load(policy_people *people, const model_limits *limits, const char *id, uint64_t floor_lsn,
                       deadline until, profile_snapshot *s, braid_error *err) {
    person_read x = {.limits = limits, .err = err};
    braid_error missing = {0};
    int rc = policy_people_state(people, id, floor_lsn, until, person_read_row, &x, &missing);
    s->person = x.person;
    s->shown.version = x.version;
    if (rc == BRAID_E_NOT_FOUND) return BRAID_OK;
    if (rc != BRAID_OK) return error_set(err, rc, missing.store, "%s", missing.message);
    return x.rc;
}

/* ---- reading: interactions, newest first ---- */
typedef struct history {
    bitset judged, clicked;
    profile_event *events; /* at most one judgement and one click an item */
    size_t count, cap, judgements;
    uint64_t total, newest_lsn;
    bool no_memory;
} history;

static bool history_mark(bitset *set, uint32_t num) {
    if (num >= set->bits) {
        uint64_t bits = set->bits < 512 ? 1024 : (uint64_t)set->bits * 2;
        if (bits <= num) bits = (uint64_t)num + 1;
        bitset grown;
        if (bits > UINT32_MAX) bits = UINT32_MAX;
        if (bits <= num || !bitset_init(&grown, (uint32_t)bits)) return false;
        if (set->bits) memcpy(grown.words, set->words, (set->bits + 63) / 64 * sizeof *set->words);
        bitset_free(set);
        *set = grown;
    }
    bitset_set(set, num);
    return true;
}

static bool history_add(history *h, const profile_event *e) {
    if (h->count == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 256;
        profile_event *events = realloc(h->events, cap * sizeof *events);
        if (!events) return false;
        h->events = events;
        h->cap = cap;
    }
    h->events[h->count++] = *e;
    return true;
}

static bool history_row(void *ctx, const record_interaction *row) {
    history *h = ctx;
    h->total++;
    if (row->lsn > h->newest_lsn) h->newest_lsn = row->lsn;
    if (row->in.type == INTERACTION_VIEW) return true;
    bool click = row->in.type == INTERACTION_CLICK;
    bitset *set = click ? &h->clicked : &h->judged;
    if (bitset_has(&h->judged, row->item_num) || bitset_has(set, row->item_num)) return true;
    bool ok = history_mark(set, row->item_num);
    if (ok && h->judgements < PROFILE_HISTORY_MAX) { /* then the newest are settled, whatever is older */
        profile_event e = profile_event_of(&row->in, row->item_num, row->lsn);
        ok = history_add(h, &e);
        if (!click) h->judgements++;
    }
    h->no_memory = !ok;
    return ok;
}

/* Both bitsets as one ascending list. */
static bool history_seen(const history *h, profile_snapshot *s) {
    size_t count = (size_t)bitset_count(&h->judged), at = 0;
    for (uint32_t n = bitset_next(&h->clicked, 0); n != UINT32_MAX; n = bitset_next(&h->clicked, n + 1))
        count += !bitset_has(&h->judged, n);
    if (count == 0) return true;
    s->seen = seen_new(count);
    if (!s->seen) return false;
    uint32_t a = bitset_next(&h->judged, 0), b = bitset_next(&h->clicked, 0);
    while (at < count) {
        uint32_t n = a < b ? a : b;
        s->seen->nums[at++] = n;
        if (a == n) a = bitset_next(&h->judged, n + 1);
        if (b == n) b = bitset_next(&h->clicked, n + 1);
    }
    return true;
}

static bool history_recent(const history *h, profile_snapshot *s) {
    s->events = malloc((h->count + 1) * sizeof *s->events);
    if (!s->events) return false;
    for (size_t i = 0; i < h->count && s->event_count < PROFILE_HISTORY_MAX; i++) {
        const profile_event *e = &h->events[i];
        if (e->type == INTERACTION_CLICK && bitset_has(&h->judged, e->num)) continue; /* an older judgement stands */
        s->events[s->event_count++] = *e;
    }
    return true;
}

static int history_load(record_store *record, const char *id, deadline until, profile_snapshot *s, braid_error *err) {
    history h = {0};
    bool marked = bitset_init(&h.judged, 0) && bitset_init(&h.clicked, 0);
    int rc =
        marked ? record_user_interactions(record, id, SIZE_MAX, until, history_row, &h, err) : snapshot_no_memory(err);
    if (rc == BRAID_OK && (h.no_memory || !history_seen(&h, s) || !history_recent(&h, s))) rc = snapshot_no_memory(err);
    s->shown.interactions = h.total;
    if (h.newest_lsn > s->shown.version) s->shown.version = h.newest_lsn;
    bitset_free(&h.judged);
    bitset_free(&h.clicked);
    free(h.events);
    return rc;
}

int profile_snapshot_load(record_store *record, policy_people *people, const model_limits *limits, const char *id,
                          uint64_t floor_lsn, deadline until, profile_snapshot **out, braid_error *err) {
    *out = NULL;
    profile_snapshot *s = snapshot_new();
    if (!s) return snapshot_no_memory(err);
    /* The record first: what is read after it is not older, so that every interaction up to the highest LSN met is
     * in. */
    int rc = person_load(people, limits, id, floor_lsn, until, s, err);
    if (rc == BRAID_OK) rc = history_load(record, id, until, s, err);
    if (rc != BRAID_OK) {
        profile_snapshot_release(s);
        return rc;
    }
    if (floor_lsn > s->shown.version) s->shown.version = floor_lsn;
    s->loaded_lsn = s->shown.version;
    snapshot_show(s);
    *out = s;
    return BRAID_OK;
}

/* ---- moving on ---- */
static size_t seen_find(const profile_seen *s, uint32_t num) { /* the first place whose number is not below */
    size_t low = 0, high = s ? s->count : 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->nums[mid] < num)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int compare_nums(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Reading has not found it already (or found it removed). */
static bool event_counts(const profile_snapshot *s, const profile_event *e) {
    return e->lsn > s->loaded_lsn;
}

/* The old list and the numbers of the events that are not in it. */
static bool seen_advance(profile_snapshot *s, profile_seen *old, const profile_event *events, size_t n) {
    uint32_t *added = malloc((n ? n : 1) * sizeof *added);
    size_t count = 0, kept = 0, old_count = old ? old->count : 0;
    if (!added) return false;
    for (size_t i = 0; i < n; i++) {
        size_t at = seen_find(old, events[i].num);
        bool there = at < old_count && old->nums[at] == events[i].num;
        if (!there && event_counts(s, &events[i]) && events[i].type != INTERACTION_VIEW) added[count++] = events[i].num;
    }
    qsort(added, count, sizeof *added, compare_nums);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || added[kept - 1] != added[i]) added[kept++] = added[i];
    if (kept == 0) {
        if (old) atomic_fetch_add_explicit(&old->refs, 1, memory_order_relaxed);
        s->seen = old;
        free(added);
        return true;
    }
    s->seen = seen_new(old_count + kept);
    if (s->seen) {
        uint32_t *to = s->seen->nums;
        size_t from = 0;
        for (size_t i = 0; i < kept; i++) {
            size_t upto = seen_find(old, added[i]);
            if (upto > from) memcpy(to, old->nums + from, (upto - from) * sizeof *to);
            to += upto - from;
            from = upto;
            *to++ = added[i];
        }
        if (old_count > from) memcpy(to, old->nums + from, (old_count - from) * sizeof *to);
    }
    free(added);
    return s->seen != NULL;
}

static void events_remove(profile_snapshot *s, size_t i) {
    memmove(s->events + i, s->events + i + 1, (s->event_count - i - 1) * sizeof *s->events);
    s->event_count--;
}

/* Puts one interaction where it belongs among the recent ones, or leaves it out. */
static void events_place(profile_snapshot *s, const profile_event *e) {
    bool click = e->type == INTERACTION_CLICK;
    size_t i = 0;
    while (i < s->event_count && s->events[i].num != e->num) i++;
    if (i < s->event_count) {
        bool was_click = s->events[i].type == INTERACTION_CLICK;
        if (click && !was_click) return;
        if (click == was_click && e->at < s->events[i].at) return;
        events_remove(s, i);
    }
    for (i = 0; i < s->event_count && s->events[i].at > e->at;) i++;
    if (i == PROFILE_HISTORY_MAX) return;
    if (s->event_count == PROFILE_HISTORY_MAX) s->event_count--;
    memmove(s->events + i + 1, s->events + i, (s->event_count - i) * sizeof *s->events);
    s->events[i] = *e;
    s->event_count++;
}

int profile_snapshot_advance(const profile_snapshot *old, const profile_event *events, size_t n, profile_snapshot **out,
                             braid_error *err) {
    *out = NULL;
    profile_snapshot *s = snapshot_new();
    if (!s) return snapshot_no_memory(err);
    s->shown.interactions = old->shown.interactions;
    s->shown.version = old->shown.version;
    s->loaded_lsn = old->loaded_lsn;
    s->person = old->person;
    if (s->person) atomic_fetch_add_explicit(&s->person->refs, 1, memory_order_relaxed);
    size_t room = old->event_count + n < PROFILE_HISTORY_MAX ? old->event_count + n : PROFILE_HISTORY_MAX;
    s->events = malloc((room + 1) * sizeof *s->events);
    if (!s->events || !seen_advance(s, old->seen, events, n)) {
        profile_snapshot_release(s);
        return snapshot_no_memory(err);
    }
    if (old->event_count) memcpy(s->events, old->events, old->event_count * sizeof *s->events);
    s->event_count = old->event_count;
    for (size_t i = 0; i < n; i++) {
        if (!event_counts(s, &events[i])) continue;
        s->shown.interactions++;
        if (events[i].lsn > s->shown.version) s->shown.version = events[i].lsn;
        if (events[i].type != INTERACTION_VIEW) events_place(s, &events[i]);
    }
    snapshot_show(s);
    *out = s;
    return BRAID_OK;
}
