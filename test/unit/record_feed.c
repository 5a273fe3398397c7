/* The consumer of the change log (src/record/feed.c): in order, nothing skipped, tried again after an error, woken
 * at once, stopped promptly; and what the writer promises to background writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "record_test.h"
#include "test/support/timing.h"

typedef struct consumer {
    _Atomic uint64_t rows, last, calls;
    atomic_int refuse;
    atomic_bool out_of_order;
} consumer;

static int apply(void *ctx, const record_log_entry *entries, size_t n, uint64_t upto, arena *a, braid_error *err) {
    consumer *c = ctx;
    atomic_fetch_add(&c->calls, 1);
    if (arena_alloc(a, 10) == NULL || upto < entries[n - 1].lsn) return BRAID_E_INTERNAL;
    if (atomic_load(&c->refuse) > 0) {
        atomic_fetch_sub(&c->refuse, 1);
        return error_set(err, BRAID_E_UNAVAILABLE, "test", "the store is having lunch");
    }
    for (size_t i = 0; i < n; i++) {
        if (entries[i].lsn <= atomic_load(&c->last)) atomic_store(&c->out_of_order, true);
        atomic_store(&c->last, entries[i].lsn);
    }
    atomic_fetch_add(&c->rows, n);
    return BRAID_OK;
}

typedef struct scene {
    fixture f;
    consumer c;
    feed *feed;
} scene;

static int setup(void **state) {
    scene *s = calloc(1, sizeof *s);
    fixture_make(&s->f, record_find("sqlite"));
    fixture_open(&s->f);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    scene *s = *state;
    feed_stop(s->feed);
    fixture_end(&s->f);
    free(s);
    return 0;
}

static void start(scene *s, uint64_t after, size_t batch) {
    feed_options o = {.name = "test", .start = after, .batch_max = batch, .apply = apply, .ctx = &s->c};
    braid_error err = {0};
    assert_int_equal(feed_start(s->f.store, &o, &s->feed, &err), BRAID_OK);
}

static void a_feed_applies_what_was_there_and_what_comes(void **state) {
    scene *s = *state;
    for (int i = 0; i < 10; i++) put_item(s->f.store, "a", "A", NULL, NULL);
    start(s, 3, 2);
    assert_true(feed_wait(s->feed, 10, in_ms(LONG_MS)));
    assert_int_equal(atomic_load(&s->c.rows), 7);
    put_item(s->f.store, "a", "A", NULL, NULL);
    assert_true(feed_wait(s->feed, 11, in_ms(LONG_MS)));
    assert_int_equal(atomic_load(&s->c.rows), 8);
    assert_false(atomic_load(&s->c.out_of_order));
    assert_string_equal(feed_name(s->feed), "test");
    assert_int_equal(feed_applied(s->feed), 11);
}

/* A feed that woke for each commit would read the log about as often as there are commits. */
static void a_feed_that_wants_nothing_of_what_comes_keeps_its_pace_too(void **state) {
    enum { WRITES = 400, PACE_MS = 1000 };
    scene *s = *state;
    put_item(s->f.store, "film", "A film", NULL, NULL);
    feed_options o = {.name = "test",
                      .start = 1,
                      .pace_ms = PACE_MS,
                      .kinds = RECORD_MASK(RECORD_ITEM),
                      .apply = apply,
                      .ctx = &s->c};
    braid_error err = {0};
    assert_int_equal(feed_start(s->f.store, &o, &s->feed, &err), BRAID_OK);
    unsigned moves = 0;
    uint64_t before = feed_applied(s->feed);
    int64_t begun = now_ns();
    for (int i = 0; i < WRITES; i++) {
        put_interaction(s->f.store, "ana", "film", NULL, i, NULL);
        uint64_t now = feed_applied(s->feed);
        moves += now != before;
        before = now;
    }
    int64_t paces = elapsed_ms(begun) / PACE_MS;
    assert_true(moves <= 2 + (unsigned)paces);
    assert_true(feed_wait(s->feed, WRITES + 1, in_ms(LONG_MS))); /* who waits ends the pause */
    assert_int_equal(atomic_load(&s->c.rows), 0);
}

/* A log that others have trimmed up to `trimmed_to`. */
static _Atomic uint64_t trimmed_to;
static const record_ops *whole;

static int trimmed_read(void *self, uint64_t after, unsigned kinds, size_t limit, arena *a, record_log_entry **out,
                        size_t *count, uint64_t *upto, braid_error *err) {
    if (after < trimmed_to) return error_set(err, BRAID_E_NOT_FOUND, "test", "the change log does not reach back");
    return whole->log_read(self, after, kinds, limit, a, out, count, upto, err);
}

static atomic_int made_anew, anew_refuse;

static int make_anew(void *ctx, uint64_t *upto, braid_error *err) {
    (void)ctx;
    if (atomic_load(&anew_refuse) > 0) {
        atomic_fetch_sub(&anew_refuse, 1);
        return error_set(err, BRAID_E_UNAVAILABLE, "test", "the records are away");
    }
    atomic_fetch_add(&made_anew, 1);
    *upto = trimmed_to;
    return BRAID_OK;
}

static void a_feed_that_the_log_has_left_behind_makes_its_store_anew_and_goes_on(void **state) {
    scene *s = *state;
    static record_ops ops; /* the store outlives this function */
    ops = *record_find("sqlite");
    whole = record_find("sqlite");
    ops.log_read = trimmed_read;
    fixture_end(&s->f);
    fixture_make(&s->f, &ops);
    fixture_open(&s->f);
    for (int i = 0; i < 10; i++) put_item(s->f.store, "a", "A", NULL, NULL);
    trimmed_to = 6;
    anew_refuse = 2; /* it is tried again */
    feed_options o = {.name = "test", .start = 3, .apply = apply, .anew = make_anew, .ctx = &s->c};
    braid_error err = {0};
    assert_int_equal(feed_start(s->f.store, &o, &s->feed, &err), BRAID_OK);
    assert_true(feed_wait(s->feed, 10, in_ms(LONG_MS)));
    assert_int_equal(made_anew, 1);
    assert_int_equal(atomic_load(&s->c.rows), 4);
    assert_int_equal(feed_last_error(s->feed, &err), BRAID_OK);
    feed_stop(s->feed); /* canary: without it the feed fails for ever */
    o.anew = NULL;
    assert_int_equal(feed_start(s->f.store, &o, &s->feed, &err), BRAID_OK);
    assert_true(COMES_TRUE(feed_last_error(s->feed, &err) == BRAID_E_NOT_FOUND));
    assert_false(feed_wait(s->feed, 10, in_ms(300)));
    feed_stop(s->feed);
    s->feed = NULL;
    trimmed_to = 0;
}

static void waiting_for_what_never_comes_ends_at_the_deadline(void **state) {
    scene *s = *state;
    start(s, 0, 0);
    int64_t before = now_ns();
    assert_false(feed_wait(s->feed, 1, in_ms(30)));
    assert_true(elapsed_ms(before) >= 30);
}

static void a_batch_that_failed_is_tried_again_and_nothing_is_skipped(void **state) {
    scene *s = *state;
    braid_error err = {0};
    atomic_store(&s->c.refuse, 3);
    put_item(s->f.store, "a", "A", NULL, NULL);
    put_item(s->f.store, "b", "B", NULL, NULL);
    start(s, 0, 1);
    while (feed_last_error(s->feed, &err) == BRAID_OK && atomic_load(&s->c.rows) == 0) usleep(1000);
    assert_int_equal(err.code, BRAID_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "lunch"));
    assert_true(feed_wait(s->feed, 2, in_ms(LONG_MS)));
    assert_int_equal(atomic_load(&s->c.rows), 2);
    assert_int_equal(feed_last_error(s->feed, NULL), BRAID_OK);
    assert_int_equal(atomic_load(&s->c.calls), 5);
}

static void the_rows_of_a_removed_person_are_no_gap_to_wait_for(void **state) {
    scene *s = *state;
    put_item(s->f.store, "a", "A", NULL, NULL);
    put_interaction(s->f.store, "ana", "a", NULL, 1, NULL);
    drop_user(s->f.store, "ana");
    start(s, 0, 0);
    assert_true(feed_wait(s->feed, 3, in_ms(LONG_MS)));
    assert_int_equal(atomic_load(&s->c.rows), 2);
}

/* A log in which a feed that nothing wakes sleeps for ever, and not for the second after which it looks again by
 * itself. */
static void forever_wait(void *self, uint64_t after, deadline until) {
    (void)until;
    whole->log_wait(self, after, in_ms(24 * 3600 * 1000));
}

static void sleep_for_ever(scene *s) {
    static record_ops ops; /* the store outlives this function */
    ops = *record_find("sqlite");
    whole = record_find("sqlite");
    ops.log_wait = forever_wait;
    fixture_end(&s->f);
    fixture_make(&s->f, &ops);
    fixture_open(&s->f);
}

static void stopping_wakes_it_in_the_log_and_in_a_pause(void **state) {
    scene *s = *state;
    sleep_for_ever(s);
    start(s, 0, 0);
    usleep(20000); /* asleep in the log */
    feed_stop(s->feed);
    s->feed = NULL;
    atomic_store(&s->c.refuse, 1000000);
    put_item(s->f.store, "a", "A", NULL, NULL);
    start(s, 0, 0);
    while (atomic_load(&s->c.calls) < 4) usleep(1000); /* now it pauses for 80 ms and more */
    feed_stop(s->feed);
    s->feed = NULL;
    feed_stop(NULL);
}

static void no_wake_up_is_missed(void **state) {
    scene *s = *state;
    sleep_for_ever(s);
    put_item(s->f.store, "a", "A", NULL, NULL);
    start(s, 1, 0);
    for (int i = 0; i < 200; i++) {
        uint64_t lsn = 0;
        put_interaction(s->f.store, "ana", "a", NULL, i, &lsn);
        assert_true(feed_wait(s->feed, lsn, in_ms(LONG_MS)));
    }
    assert_int_equal(atomic_load(&s->c.rows), 200);
}

static void a_feed_without_name_or_purpose_is_refused(void **state) {
    scene *s = *state;
    feed_options nameless = {.name = "", .apply = apply}, idle = {.name = "x"};
    assert_int_equal(feed_start(s->f.store, &nameless, &s->feed, NULL), BRAID_E_INVALID);
    assert_int_equal(feed_start(s->f.store, &idle, &s->feed, NULL), BRAID_E_INVALID);
    assert_null(s->feed);
}

/* ---- background writes ---- */

typedef struct learner {
    record_store *store;
    atomic_bool stop;
    _Atomic uint64_t done;
    uint64_t busy;
} learner;

static void *learn(void *arg) {
    learner *l = arg;
    while (!atomic_load(&l->stop)) {
        record_stats t = {.num = 1, .interactions = 1};
        record_change c[50];
        for (int i = 0; i < 50; i++) c[i] = (record_change){.kind = RECORD_STATS, .stats = &t};
        l->done += record_write(l->store, c, 50, (record_write_flags){.background = true}, NULL) == BRAID_OK;
    }
    return NULL;
}

static void *interact(void *arg) {
    learner *l = arg;
    while (!atomic_load(&l->stop)) l->done += put_interaction(l->store, "ana", "a", NULL, 1, NULL) == BRAID_OK;
    return NULL;
}

/* Who asks more often than the learner is served more often. A machine may keep those four from asking, so it is
 * looked at again. */
static void background_writes_give_way_but_do_not_starve(void **state) {
    scene *s = *state;
    bool more = false;
    put_item(s->f.store, "a", "A", NULL, NULL);
    for (int round = 0; round < 8 && !more; round++) {
        pthread_t ids[5];
        learner ls[5] = {0};
        for (int i = 0; i < 5; i++) {
            ls[i].store = s->f.store;
            pthread_create(&ids[i], NULL, i == 0 ? learn : interact, &ls[i]);
        }
        usleep(700000);
        bool served = COMES_TRUE(ls[0].done >= 1 && ls[1].done + ls[2].done + ls[3].done + ls[4].done >= 1);
        for (int i = 0; i < 5; i++) atomic_store(&ls[i].stop, true);
        for (int i = 0; i < 5; i++) pthread_join(ids[i], NULL);
        assert_true(served);
        more = ls[1].done + ls[2].done + ls[3].done + ls[4].done > ls[0].done;
    }
    assert_true(more);
}

/* ---- a full queue ---- */

static void *crowd_out(void *arg) {
    learner *l = arg;
    interaction in = plain_interaction("ana", "a");
    record_change c[20];
    for (int i = 0; i < 20; i++) c[i] = (record_change){.kind = RECORD_INTERACTION, .interaction = &in};
    for (int n = 0; n < 100; n++) {
        braid_error err = {0};
        int code = record_write(l->store, c, 20, (record_write_flags){0}, &err);
        l->done += code == BRAID_OK;
        l->busy += code == BRAID_E_BUSY;
        if (code != BRAID_OK && (code != BRAID_E_BUSY || c[3].code != BRAID_E_BUSY || c[3].lsn != 0)) abort();
    }
    return NULL;
}

static void a_full_queue_sheds_and_tells(void **state) {
    scene *s = *state;
    record_options o = fixture_options(&s->f);
    pthread_t ids[6];
    learner ls[6] = {0};
    uint64_t done = 0, busy = 0;
    put_item(s->f.store, "a", "A", NULL, NULL);
    record_close(s->f.store);
    o.queue_max = 30;
    o.group_max = 20;
    assert_int_equal(record_open(s->f.ops, &o, &s->f.store, NULL), BRAID_OK);
    for (int i = 0; i < 6; i++) {
        ls[i].store = s->f.store;
        pthread_create(&ids[i], NULL, crowd_out, &ls[i]);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(ids[i], NULL);
        done += ls[i].done;
        busy += ls[i].busy;
    }
    record_info info;
    record_get_info(s->f.store, &info, NULL);
    assert_int_equal(done + busy, 600);
    assert_true(busy > 0 && done > 0);
    assert_int_equal(info.interactions, done * 20);
}

int main(void) {
#define FEED_CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        FEED_CLAIM(a_feed_that_the_log_has_left_behind_makes_its_store_anew_and_goes_on),
        FEED_CLAIM(a_feed_applies_what_was_there_and_what_comes),
        FEED_CLAIM(a_feed_that_wants_nothing_of_what_comes_keeps_its_pace_too),
        FEED_CLAIM(waiting_for_what_never_comes_ends_at_the_deadline),
        FEED_CLAIM(a_batch_that_failed_is_tried_again_and_nothing_is_skipped),
        FEED_CLAIM(the_rows_of_a_removed_person_are_no_gap_to_wait_for),
        FEED_CLAIM(stopping_wakes_it_in_the_log_and_in_a_pause),
        FEED_CLAIM(no_wake_up_is_missed),
        FEED_CLAIM(a_feed_without_name_or_purpose_is_refused),
        FEED_CLAIM(background_writes_give_way_but_do_not_starve),
        FEED_CLAIM(a_full_queue_sheds_and_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
