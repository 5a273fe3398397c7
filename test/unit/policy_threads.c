/* Profiles under many threads: readers, movers, droppers and a small cache at once; run under TSan too. */
#include <pthread.h>
#include <stdatomic.h>

#include "policy_test.h"

enum { PEOPLE = 8, ITEMS = 40, WRITES = 150, READERS = 3, WRITERS = 3 };

typedef struct shared {
    room r;
    policy_profiles *p;
    char items[ITEMS][16], people[PEOPLE][16];
    atomic_bool stop;
    atomic_uint reads;
} shared;

typedef struct worker {
    shared *s;
    uint64_t seed;
    unsigned written;
} worker;

static void *reader(void *arg) {
    worker *w = arg;
    rng x;
    rng_seed(&x, w->seed);
    uint64_t newest[PEOPLE] = {0};
    while (!atomic_load(&w->s->stop)) {
        size_t who = rng_below(&x, PEOPLE);
        const policy_profile *p = NULL;
        must(policy_profile_get(w->s->p, w->s->people[who], 0, &p, err));
        assert_true(p->version >= newest[who]); /* never back */
        newest[who] = p->version;
        for (size_t i = 1; i < p->seen_count; i++) assert_true(p->seen[i - 1] < p->seen[i]);
        for (size_t i = 1; i < p->recent_count; i++) assert_true(p->recent[i - 1].at >= p->recent[i].at);
        policy_profile_release(p);
        atomic_fetch_add(&w->s->reads, 1);
    }
    return NULL;
}

/* Each writer has its people for itself, so that it can tell what must be there. */
static void *writer(void *arg) {
    worker *w = arg;
    rng x;
    rng_seed(&x, w->seed);
    for (unsigned i = 0; i < WRITES; i++) {
        const char *who = w->s->people[w->seed - 1];
        interaction in = did(who, w->s->items[rng_below(&x, ITEMS)], INTERACTION_LIKE, (int64_t)i);
        record_change c = {.kind = RECORD_INTERACTION, .interaction = &in};
        must(record_write(w->s->r.record, &c, 1, (record_write_flags){0}, err));
        policy_profile_moved(w->s->p, &in, c.num, c.lsn);
        w->written++;
        if (rng_below(&x, 10) == 0) policy_profile_drop(w->s->p, who, c.lsn);
        const policy_profile *p = NULL;
        must(policy_profile_get(w->s->p, who, 0, &p, err));
        bool seen = false;
        for (size_t j = 0; j < p->seen_count; j++) seen |= p->seen[j] == c.num;
        assert_true(seen); /* what was acknowledged is in the next answer */
        assert_true(p->version >= c.lsn && p->interactions == w->written);
        policy_profile_release(p);
        assert_true(policy_profile_last_write(w->s->p, who) == c.lsn);
    }
    return NULL;
}

/* The catalogue changes under the readers' feet. */
static void *feeder(void *arg) {
    worker *w = arg;
    const char *genres[] = {"drame", "essai"};
    for (uint32_t i = 0; !atomic_load(&w->s->stop); i++) {
        item it = {.id = w->s->items[i % ITEMS],
                   .title = "t",
                   .original_title = "",
                   .kind = "",
                   .language = "",
                   .synopsis = "",
                   .available_from = TIME_NONE,
                   .available_until = TIME_NONE,
                   .genres = {genres, 1 + i % 2}};
        uint32_t num;
        if (catalogue_num(w->s->r.cat, it.id, &num)) must(catalogue_upsert(w->s->r.cat, num, 1000000 + i, &it, err));
        usleep(1000);
    }
    return NULL;
}

static void readers_writers_and_droppers_agree(void **state) {
    (void)state;
    static shared s;
    room_open(&s.r);
    for (int i = 0; i < ITEMS; i++) {
        snprintf(s.items[i], sizeof s.items[i], "i%d", i);
        room_item(&s.r, s.items[i], "\"genres\":[\"drame\"]");
    }
    for (int i = 0; i < PEOPLE; i++) snprintf(s.people[i], sizeof s.people[i], "u%d", i);
    must(policy_profiles_open(s.r.record, s.r.people, s.r.cat, &test_limits, PEOPLE / 2, &clock_system, s.r.m, &s.p,
                              err));
    pthread_t threads[READERS + WRITERS + 1];
    worker workers[READERS + WRITERS + 1];
    for (int i = 0; i < READERS + WRITERS + 1; i++) {
        workers[i] = (worker){&s, (uint64_t)i + 1, 0};
        void *(*run)(void *) = i < WRITERS ? writer : i < WRITERS + READERS ? reader : feeder;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &workers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    atomic_store(&s.stop, true);
    for (int i = WRITERS; i < READERS + WRITERS + 1; i++) pthread_join(threads[i], NULL);
    print_message("%u reads beside %d writes\n", atomic_load(&s.reads), WRITERS * WRITES);
    assert_true(atomic_load(&s.reads) > 100);
    policy_profiles_close(s.p);
    room_close(&s.r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_writers_and_droppers_agree)};
    return cmocka_run_group_tests_name("policy threads", tests, NULL, NULL);
}
