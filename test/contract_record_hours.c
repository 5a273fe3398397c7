/* The contract of roll-ups and of the order in which a person's episodes are read, run over every row of the
 * registry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/record.h"
#include "unit/record_contract.h"

#define HOUR INT64_C(3600000)
static const int64_t NOON = INT64_C(446232) * HOUR; /* 2020-11-27T00:00:00Z */

static void put_given(record_store *s, const char *agent, int64_t at, double reward, bool done) {
    record_episode e = {.agent = agent,
                        .user = "ana",
                        .session = "s",
                        .state_hash = "",
                        .state = "",
                        .next_state_hash = "",
                        .action = "i1",
                        .reward = reward,
                        .done = done,
                        .at = at};
    record_change c = {.kind = RECORD_EPISODE, .episode = &e};
    assert_int_equal(write_one(s, &c, NULL), BRAID_OK);
}

static void put_learned(record_store *s, int64_t at, double reward) {
    uint64_t lsn = 0;
    assert_int_equal(put_interaction(s, "ana", "i1", NULL, at, &lsn), BRAID_OK);
    record_episode e = {.interaction_lsn = lsn,
                        .agent = "default",
                        .user = "ana",
                        .session = "",
                        .state_hash = "",
                        .state = "v1",
                        .next_state_hash = "",
                        .action = "i1",
                        .reward = reward,
                        .at = at};
    record_change c = {.kind = RECORD_EPISODE, .episode = &e};
    assert_int_equal(write_one(s, &c, NULL), BRAID_OK);
}

static void put_slate(record_store *s, const char *id, const char *agent, int64_t at) {
    record_slate l = {.id = id, .agent = agent, .user = "ana", .at = at, .body = "x", .body_len = 1};
    record_change c = {.kind = RECORD_SLATE, .slate = &l};
    assert_int_equal(write_one(s, &c, NULL), BRAID_OK);
}

static record_change list_of(record_slate *l, const char *id, int64_t at, uint32_t places, uint32_t explored) {
    *l = (record_slate){.id = id,
                        .agent = "default",
                        .user = "ana",
                        .at = at,
                        .body = "x",
                        .body_len = 1,
                        .places = places,
                        .explored = explored};
    return (record_change){.kind = RECORD_SLATE, .slate = l};
}

typedef struct seen {
    char text[4096];
    size_t count, stop_after;
} seen;

/* "hour agent slates/episodes/finished/reward", where there are places "explored of places", hours counted from
 * NOON. */
static bool see(void *ctx, const record_hour *h) {
    seen *s = ctx;
    size_t n = strlen(s->text);
    assert_int_equal(h->hour % HOUR, 0);
    snprintf(s->text + n, sizeof s->text - n, "%lld %s %llu/%llu/%llu/%g, ", (long long)((h->hour - NOON) / HOUR),
             h->agent, (unsigned long long)h->slates, (unsigned long long)h->episodes, (unsigned long long)h->finished,
             h->reward_sum);
    n = strlen(s->text);
    if (h->places > 0)
        snprintf(s->text + n - 2, sizeof s->text - n + 2, " %llu of %llu, ", (unsigned long long)h->explored,
                 (unsigned long long)h->places);
    return ++s->count != s->stop_after;
}

static void expect_of(record_store *s, const char *agent, int64_t from, int64_t until_at, size_t limit,
                      const char *wanted) {
    seen found = {0};
    assert_int_equal(record_scan_hours(s, agent, from, until_at, limit, see, &found, NULL), BRAID_OK);
    assert_string_equal(found.text, wanted);
}

static void expect(record_store *s, const char *wanted) {
    expect_of(s, NULL, TIME_NONE, INT64_MAX, 1000, wanted);
}

static void roll_up(record_store *s, int64_t since) {
    braid_error err = {0};
    if (record_roll_up(s, since, &err) != BRAID_OK) fail_msg("roll up: %s", err.message);
}

static void an_hour_is_rolled_up_once_however_often_it_is_done(void **state) {
    fixture *f = *state;
    put_item(f->store, "i1", "A film", NULL, NULL);
    roll_up(f->store, TIME_NONE);
    expect(f->store, "");
    put_learned(f->store, NOON, 0.5);
    put_learned(f->store, NOON + HOUR - 1, 0.25);
    put_given(f->store, "default", NOON + 1, -2, true);
    put_given(f->store, "bandit", NOON + HOUR, 1, false);
    put_slate(f->store, "r1", "default", NOON + 5);
    put_slate(f->store, "r2", "default", NOON + 6);
    put_slate(f->store, "r3", "quiet", NOON + 3 * HOUR); /* shown, and nothing came of it */
    expect(f->store, "");
    static const char all[] = "0 default 2/3/1/-1.25, 1 bandit 0/1/0/1, 3 quiet 1/0/0/0, ";
    for (int i = 0; i < 3; i++) {
        roll_up(f->store, TIME_NONE);
        expect(f->store, all);
    }
    roll_up(f->store, NOON);
    fixture_reopen(f);
    roll_up(f->store, NOON + HOUR + 1);
    expect(f->store, all);
}

static void what_comes_late_is_counted_in_its_hour(void **state) {
    fixture *f = *state;
    put_item(f->store, "i1", "A film", NULL, NULL);
    put_given(f->store, "default", NOON + 2 * HOUR, 1, false);
    put_slate(f->store, "r1", "default", NOON + 2 * HOUR);
    roll_up(f->store, TIME_NONE);
    put_given(f->store, "default", NOON + 2 * HOUR + 1, 0.5, true);
    put_learned(f->store, NOON + HOUR, 0.25); /* before all that was known */
    put_learned(f->store, -HOUR / 2, 1);      /* before 1970 */
    put_slate(f->store, "r2", "default", NOON + 2 * HOUR + 1);
    put_slate(f->store, "r3", "default", NOON);
    roll_up(f->store, TIME_NONE);
    seen found = {0};
    assert_int_equal(record_scan_hours(f->store, "default", -HOUR, 0, 9, see, &found, NULL), BRAID_OK);
    assert_int_equal(found.count, 1);
    expect_of(f->store, NULL, NOON, INT64_MAX, 9, "0 default 1/0/0/0, 1 default 0/1/0/0.25, 2 default 2/2/1/1.5, ");
}

static void hours_are_read_by_agent_and_time_and_some_at_once(void **state) {
    fixture *f = *state;
    put_item(f->store, "i1", "A film", NULL, NULL);
    for (int i = 0; i < 4; i++) {
        put_given(f->store, "b", NOON + i * HOUR, i, false);
        put_given(f->store, "a", NOON + i * HOUR, i, false);
    }
    roll_up(f->store, NOON);
    expect_of(f->store, "b", NOON + HOUR, NOON + 3 * HOUR, 9, "1 b 0/1/0/1, 2 b 0/1/0/2, ");
    expect_of(f->store, NULL, NOON + 3 * HOUR, INT64_MAX, 9, "3 a 0/1/0/3, 3 b 0/1/0/3, ");
    expect_of(f->store, NULL, TIME_NONE, INT64_MAX, 3, "0 a 0/1/0/0, 0 b 0/1/0/0, 1 a 0/1/0/1, ");
    expect_of(f->store, "c", TIME_NONE, INT64_MAX, 9, "");
    expect_of(f->store, NULL, NOON + HOUR, NOON + HOUR, 9, "");
    seen found = {.stop_after = 2};
    assert_int_equal(record_scan_hours(f->store, NULL, TIME_NONE, INT64_MAX, 9, see, &found, NULL), BRAID_OK);
    assert_int_equal(found.count, 2);
}

static void many_episodes_are_rolled_up_and_stay_counted_when_they_are_forgotten(void **state) {
    enum { MANY = 4500 };
    fixture *f = *state;
    record_change *c = calloc(MANY, sizeof *c);
    record_episode *e = calloc(MANY, sizeof *e);
    put_item(f->store, "i1", "A film", NULL, NULL);
    for (int i = 0; i < MANY; i++) {
        e[i] = (record_episode){.agent = "default",
                                .user = "ana",
                                .session = "",
                                .state_hash = "",
                                .state = "",
                                .next_state_hash = "",
                                .action = "i1",
                                .reward = 1,
                                .at = NOON + i % 2 * HOUR};
        c[i] = (record_change){.kind = RECORD_EPISODE, .episode = &e[i]};
    }
    assert_int_equal(write_all(f->store, c, MANY), BRAID_OK);
    free(c);
    free(e);
    put_slate(f->store, "r1", "default", NOON);
    roll_up(f->store, TIME_NONE);
    static const char all[] = "0 default 1/2250/0/2250, 1 default 0/2250/0/2250, ";
    expect(f->store, all);
    uint64_t removed = 0;
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_EPISODE, .before = NOON + 5 * HOUR}, &removed, NULL),
        BRAID_OK);
    assert_int_equal(removed, MANY);
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_SLATE, .before = NOON + 5 * HOUR}, &removed, NULL),
        BRAID_OK);
    roll_up(f->store, TIME_NONE);
    expect(f->store, all);
}

static bool see_time(void *ctx, const record_episode *e) {
    seen *s = ctx;
    size_t n = strlen(s->text);
    snprintf(s->text + n, sizeof s->text - n, "%lld:%g ", (long long)((e->at - NOON) / HOUR), e->reward);
    return true;
}

static void episodes_of_a_person_are_read_newest_first_whenever_they_came(void **state) {
    fixture *f = *state;
    seen found = {0};
    put_item(f->store, "i1", "A film", NULL, NULL);
    put_given(f->store, "default", NOON + 2 * HOUR, 1, false);
    put_learned(f->store, NOON + 3 * HOUR, 2);
    put_given(f->store, "default", NOON, 3, false);
    put_learned(f->store, NOON + 2 * HOUR, 4);
    assert_int_equal(record_user_episodes(f->store, "ana", 9, see_time, &found, NULL), BRAID_OK);
    assert_string_equal(found.text, "3:2 2:4 2:1 0:3 ");
    found = (seen){0};
    assert_int_equal(record_user_episodes(f->store, "ana", 2, see_time, &found, NULL), BRAID_OK);
    assert_string_equal(found.text, "3:2 2:4 ");
}

static bool see_places(void *ctx, const record_slate *row) {
    snprintf(ctx, 64, "%s %u of %u", row->id, row->explored, row->places);
    return true;
}

static void an_hour_says_how_many_of_its_places_were_explored(void **state) {
    enum { MANY = 400 };
    fixture *f = *state;
    record_slate l, *lists = calloc(MANY, sizeof *lists);
    record_change c = list_of(&l, "r1", NOON + 1, 10, 2), *changes = calloc(MANY, sizeof *changes);
    char(*ids)[16] = calloc(MANY, sizeof *ids), text[64] = "";
    uint64_t removed = 0;
    assert_true(lists && changes && ids);
    assert_int_equal(write_one(f->store, &c, NULL), BRAID_OK);
    c = list_of(&l, "r1", NOON + 1, 10, 9); /* the first word stands */
    assert_int_equal(write_one(f->store, &c, NULL), BRAID_OK);
    assert_true(c.duplicate);
    put_slate(f->store, "r2", "default", NOON + 2); /* says nothing of places */
    put_slate(f->store, "r3", "quiet", NOON + 3);
    c = list_of(&l, "r4", NOON + 4, 3, 4);
    assert_int_equal(write_one(f->store, &c, NULL), BRAID_E_INVALID);
    roll_up(f->store, TIME_NONE);
    expect(f->store, "0 default 2/0/0/0 2 of 10, 0 quiet 1/0/0/0, ");
    for (int i = 0; i < MANY; i++) { /* many at once */
        snprintf(ids[i], sizeof ids[i], "m%d", i);
        changes[i] = list_of(&lists[i], ids[i], NOON + HOUR + i, 8, i % 4 == 0);
    }
    assert_int_equal(record_write(f->store, changes, MANY, (record_write_flags){.background = true}, NULL), BRAID_OK);
    for (int i = 0; i < MANY; i++) assert_int_equal(changes[i].code, BRAID_OK);
    static const char all[] = "0 default 2/0/0/0 2 of 10, 0 quiet 1/0/0/0, 1 default 400/0/0/0 100 of 3200, ";
    for (int i = 0; i < 2; i++) {
        roll_up(f->store, NOON);
        expect(f->store, all);
    }
    assert_int_equal(record_get_slate(f->store, "m4", see_places, text, NULL), BRAID_OK);
    assert_string_equal(text, "m4 1 of 8");
    assert_int_equal(record_scan_slates(f->store, NULL, NOON + 1, NOON + 2, see_places, text, NULL), BRAID_OK);
    assert_string_equal(text, "r1 2 of 10");
    /* what is forgotten stays counted */
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_SLATE, .before = NOON + 3 * HOUR}, &removed, NULL),
        BRAID_OK);
    roll_up(f->store, TIME_NONE);
    expect(f->store, all);
    free(lists);
    free(changes);
    free(ids);
}

#define CLAIMS(X)                                                                                                      \
    X(an_hour_is_rolled_up_once_however_often_it_is_done)                                                              \
    X(what_comes_late_is_counted_in_its_hour)                                                                          \
    X(hours_are_read_by_agent_and_time_and_some_at_once)                                                               \
    X(an_hour_says_how_many_of_its_places_were_explored)                                                               \
    X(many_episodes_are_rolled_up_and_stay_counted_when_they_are_forgotten)                                            \
    X(episodes_of_a_person_are_read_newest_first_whenever_they_came)

int main(void) {
    int failed = 0;
    for (size_t i = 0; record_registry(i) != NULL; i++) {
        const record_ops *row = record_registry(i);
        if (!contract_can_ask(row)) continue;
        const struct CMUnitTest tests[] = {
#define CONTRACT_CLAIM(name) CLAIM(name, row),
            CLAIMS(CONTRACT_CLAIM)
#undef CONTRACT_CLAIM
        };
        printf("record store %s\n", row->name);
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
