/* What the tests of src/policy share: a room with a real record store (a temporary SQLite file) and a real catalogue,
 * and short ways to fill them. */
#ifndef POLICY_TEST_H
#define POLICY_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/policy.h"

static const model_limits test_limits = {4 << 20, 64, 0};
enum { TEST_DIM = 4 };

typedef struct room {
    char dir[80], path[96];
    record_store *record;
    policy_rows *rows;
    policy_people *people;
    catalogue *cat;
    metrics *m;
    arena *a;
} room;

#define must(call)                                                                                                     \
    do {                                                                                                               \
        braid_error e_ = {0}, *err = &e_;                                                                              \
        int rc_ = (call);                                                                                              \
        if (rc_ != BRAID_OK) fail_msg("%s: %s: %s", #call, error_name(rc_), err->message);                             \
    } while (0)

static inline void room_open_record(room *r) {
    record_options o = {
        .path = r->path, .dim = TEST_DIM, .create = true, .readers = 3, .clock = &clock_system, .metrics = r->m};
    must(record_open(record_find("sqlite"), &o, &r->record, err));
    policy_people_close(r->people);
    must(policy_people_open(r->record, NULL, 0, &r->people, err));
    policy_rows_close(r->rows);
    must(policy_rows_open(r->record, NULL, 0, r->m, &r->rows, err));
}

static inline void room_open(room *r) {
    const char *tmp = getenv("TMPDIR");
    memset(r, 0, sizeof *r);
    snprintf(r->dir, sizeof r->dir, "%.40s/braid-policy-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->path, sizeof r->path, "%s/test.db", r->dir);
    r->m = metrics_new();
    r->a = arena_new(1 << 16);
    assert_non_null(r->m);
    assert_non_null(r->a);
    room_open_record(r);
    must(catalogue_open(&clock_system, r->m, &r->cat, err));
}

static inline void room_close(room *r) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".lock", "-lock"};
    policy_people_close(r->people);
    policy_rows_close(r->rows);
    catalogue_close(r->cat);
    record_close(r->record);
    metrics_free(r->m);
    arena_free(r->a);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", r->path, suffixes[i]);
        unlink(path);
    }
    if (rmdir(r->dir) != 0) print_message("left behind: %s\n", r->dir);
}

static inline uint64_t room_write(room *r, record_change *c) {
    must(record_write(r->record, c, 1, (record_write_flags){0}, err));
    if (c->code != BRAID_OK) fail_msg("refused: %s", c->message);
    return c->lsn;
}

/* Writes the item into the record store and, if `known`, the catalogue; returns its number. `fields` is the rest of
 * its JSON. */
static inline uint32_t room_item_in(room *r, const char *id, const char *fields, bool known) {
    char text[4096];
    snprintf(text, sizeof text, "{\"id\":\"%s\",\"title\":\"%s\"%s%s}", id, id, *fields ? "," : "", fields);
    json_t *json = NULL;
    item *it = NULL;
    must(model_json_parse(text, strlen(text), &test_limits, &json, err));
    must(item_from_json(json, &test_limits, r->a, &it, err));
    record_change c = {.kind = RECORD_ITEM, .item = it};
    uint64_t lsn = room_write(r, &c);
    if (known) must(catalogue_upsert(r->cat, c.num, lsn, it, err));
    item_release(it);
    json_decref(json);
    return c.num;
}

static inline uint32_t room_item(room *r, const char *id, const char *fields) {
    return room_item_in(r, id, fields, true);
}

static inline uint64_t room_user(room *r, const char *id, const char *fields) {
    char text[4096];
    snprintf(text, sizeof text, "{\"id\":\"%s\"%s%s}", id, *fields ? "," : "", fields);
    json_t *json = NULL;
    user *u = NULL;
    must(model_json_parse(text, strlen(text), &test_limits, &json, err));
    must(user_from_json(json, &test_limits, r->a, &u, err));
    record_change c = {.kind = RECORD_USER, .user = u};
    uint64_t lsn = room_write(r, &c);
    user_release(u);
    json_decref(json);
    return lsn;
}

static inline uint64_t room_remove_user(room *r, const char *id) {
    user u = {.id = id};
    record_change c = {.kind = RECORD_USER, .remove = true, .user = &u};
    return room_write(r, &c);
}

/* An interaction with everything absent but what is named. */
static inline interaction did(const char *user_id, const char *item_id, interaction_type type, int64_t at) {
    return (interaction){.user = user_id,
                         .item = item_id,
                         .agent = "default",
                         .session = "",
                         .recommendation_id = "",
                         .idempotency_key = "",
                         .type = type,
                         .watch_s = -1,
                         .rating = NAN,
                         .at = at,
                         .device = "",
                         .daypart = "evening",
                         .region = "",
                         .mood = ""};
}

static inline uint64_t room_did(room *r, const interaction *in, uint32_t *num) {
    record_change c = {.kind = RECORD_INTERACTION, .interaction = in};
    uint64_t lsn = room_write(r, &c);
    if (num) *num = c.num;
    return lsn;
}

/* Many at once, in transactions of a thousand; `attributions` of each, or NULL. */
static inline void room_did_from(room *r, const interaction *list, char *const *attributions, size_t n) {
    record_change *changes = calloc(1000, sizeof *changes);
    assert_non_null(changes);
    for (size_t i = 0; i < n;) {
        size_t count = n - i < 1000 ? n - i : 1000;
        for (size_t j = 0; j < count; j++, i++)
            changes[j] = (record_change){.kind = RECORD_INTERACTION,
                                         .interaction = &list[i],
                                         .attribution = attributions ? attributions[i] : NULL};
        must(record_write(r->record, changes, count, (record_write_flags){0}, err));
        for (size_t j = 0; j < count; j++) assert_int_equal(changes[j].code, BRAID_OK);
    }
    free(changes);
}

static inline void room_did_many(room *r, const interaction *list, size_t n) {
    room_did_from(r, list, NULL, n);
}

static inline uint32_t room_facet(room *r, filter_field field, const char *value) {
    uint32_t facet = UINT32_MAX;
    if (!catalogue_facet_id(r->cat, field, value, &facet)) fail_msg("no facet %s", value);
    return facet;
}

/* ---- posteriors by key ---- */
typedef struct found_policy {
    const char *action;
    bool there;
    record_action row;
} found_policy;
static inline bool found_policy_row(void *ctx, size_t which, const record_policy *row) {
    found_policy *x = ctx;
    (void)which;
    for (size_t i = 0; i < row->action_count; i++) {
        if (strcmp(row->actions[i].action, x->action) != 0) continue;
        x->there = true;
        x->row = row->actions[i]; /* its name is not used after the call */
    }
    return true;
}

static inline found_policy room_policy(room *r, const char *user_id, const char *hash, const char *action) {
    found_policy x = {.action = action};
    record_policy_key key = {user_id, hash};
    must(record_get_policies(r->record, "default", &key, 1, 0, found_policy_row, &x, err));
    return x;
}

/* Hands the learner everything after `after`, in batches of `limit`; stops above `stop`. Returns the LSN it got to. */
static inline uint64_t room_learn(room *r, policy_learner *l, uint64_t after, size_t limit, uint64_t stop) {
    arena *a = arena_new(1 << 16);
    for (size_t n = 1; n && after < stop;) {
        record_log_entry *entries = NULL;
        arena_reset(a);
        uint64_t upto = 0;
        must(record_log_read(r->record, after, RECORD_MASK_ALL, limit, a, &entries, &n, &upto, err));
        while (n && entries[n - 1].lsn > stop) n--;
        if (n == 0) break;
        after = entries[n - 1].lsn;
        must(policy_learner_apply(l, entries, n, after, a, err));
    }
    arena_free(a);
    return after;
}

static inline uint64_t test_seed(const char *what) {
    const char *given = getenv("BRAID_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("%s: BRAID_TEST_SEED=%llu\n", what, (unsigned long long)seed);
    return seed;
}

static inline double test_ms(void) {
    return (double)clock_mono_ns(&clock_system) / 1e6;
}

#endif
