/* The contract of episodes of their own, of states as vectors and of forgetting, run over every row of the registry.
 * Episodes of interactions have their claims in contract_record.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/record.h"
#include "unit/record_contract.h"

static const char hash_a[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/* ---- writing and seeing ---- */

static record_episode episode_of(const char *person, const char *title, double reward) {
    return (record_episode){.agent = "default",
                            .user = person,
                            .session = "s1",
                            .state_hash = hash_a,
                            .state = "v1;mood=",
                            .next_state_hash = "",
                            .action = title,
                            .reward = reward,
                            .at = 1000};
}

static record_change change_of(const record_episode *e) {
    return (record_change){.kind = RECORD_EPISODE, .episode = e};
}

static int put(record_store *s, const record_episode *e, record_change *out) {
    record_change c = change_of(e);
    int code = write_one(s, &c, NULL);
    if (out != NULL) *out = c;
    return code;
}

static void put_items(record_store *s) {
    put_item(s, "i1", "A film", NULL, NULL);
    put_item(s, "i2", "A film", NULL, NULL);
}

typedef struct seen {
    char text[8192];
    unsigned count, stop_after;
    uint64_t first;
    float best;
} seen;

static bool see(void *ctx, const record_episode *e) {
    seen *s = ctx;
    size_t len = strlen(s->text);
    if (s->count == 0) s->first = e->interaction_lsn;
    snprintf(s->text + len, sizeof s->text - len, "%s/%s/%s/%s=%g%s@%lld/%.4s/%s[%u]%g ", e->agent, e->user, e->session,
             e->action, e->reward, e->done ? "!" : "", (long long)e->at, e->state_hash, e->state, e->dim,
             e->dim > 0 ? (double)e->vector[e->dim - 1] : 0);
    return ++s->count != s->stop_after;
}

static bool see_reward(void *ctx, const record_episode *e, float similarity) {
    seen *s = ctx;
    size_t len = strlen(s->text);
    if (s->count == 0) s->best = similarity;
    snprintf(s->text + len, sizeof s->text - len, "%g:%.3f ", e->reward, (double)similarity);
    return ++s->count != s->stop_after;
}

static void expect_person(record_store *s, const char *person, const char *wanted) {
    seen found = {0};
    assert_int_equal(record_user_episodes(s, person, SIZE_MAX, see, &found, NULL), BRAID_OK);
    assert_string_equal(found.text, wanted);
}

static void expect_similar(record_store *s, const char *agent, const float *vector, uint32_t dim, size_t k,
                           int64_t since, const char *wanted) {
    seen found = {0};
    braid_error err = {0};
    int code = record_similar_episodes(s, agent, vector, dim, k, since, 0, see_reward, &found, &err);
    if (code != BRAID_OK) fprintf(stderr, "%s\n", err.message);
    assert_int_equal(code, BRAID_OK);
    assert_string_equal(found.text, wanted);
}

static uint64_t episodes(record_store *s) {
    record_info info;
    assert_int_equal(record_get_info(s, &info, NULL), BRAID_OK);
    return info.episodes;
}

/* ---- episodes of their own ---- */

static void an_episode_of_its_own_gets_a_number_and_is_read_back(void **state) {
    fixture *f = *state;
    record_change c, other;
    uint64_t after = 0;
    float v[3] = {1, 2, 0.5f};
    record_episode e = episode_of("ana", "i2", 0.25), d = episode_of("ana", "i1", 1);
    put_items(f->store);
    e.vector = v;
    e.dim = 3;
    e.done = true;
    assert_int_equal(put(f->store, &e, &c), BRAID_OK);
    assert_true(c.lsn > 0 && c.num == 2 && !c.duplicate);
    d.agent = "other";
    d.at = 2000;
    assert_int_equal(put(f->store, &d, &other), BRAID_OK);
    assert_true(other.lsn > c.lsn);
    for (int again = 0; again < 2; again++) {
        seen one = {.stop_after = 1};
        expect_person(f->store, "ana",
                      "other/ana/s1/i1=1@2000/0011/v1;mood=[0]0 default/ana/s1/i2=0.25!@1000/0011/v1;mood=[3]0.5 ");
        expect_person(f->store, "eve", "");
        record_user_episodes(f->store, "ana", 9, see, &one, NULL);
        assert_true(one.count == 1 && one.first == other.lsn);
        assert_int_equal(episodes(f->store), 2);
        fixture_reopen(f);
    }
    assert_int_equal(put_interaction(f->store, "ana", "i1", NULL, 5, &after), BRAID_OK);
    assert_true(after > other.lsn); /* no number comes twice, also after opening again */
}

static void it_stands_beside_those_of_interactions(void **state) {
    fixture *f = *state;
    uint64_t lsn = 0;
    float v[2] = {1, 0};
    record_episode own = episode_of("ana", "i1", 0.5), learned = episode_of("ana", "i2", 0.75);
    put_items(f->store);
    put_interaction(f->store, "ana", "i2", NULL, 1500, &lsn);
    learned.interaction_lsn = lsn;
    learned.item_num = 2;
    learned.session = "";
    learned.vector = own.vector = v;
    learned.dim = own.dim = 2;
    assert_int_equal(put(f->store, &learned, NULL), BRAID_OK);
    record_change again;
    assert_int_equal(put(f->store, &learned, &again), BRAID_OK);
    assert_true(again.duplicate);
    put(f->store, &own, NULL);
    assert_int_equal(episodes(f->store), 2);
    expect_similar(f->store, "default", v, 2, 9, TIME_NONE, "0.5:1.000 0.75:1.000 ");
    expect_similar(f->store, "default", v, 2, 9, 1200, "0.75:1.000 ");
    learned.user = "eve";
    assert_int_equal(put(f->store, &learned, NULL), BRAID_E_NOT_FOUND);
    assert_int_equal(drop_user(f->store, "ana"), BRAID_OK);
    assert_int_equal(episodes(f->store), 0);
    expect_similar(f->store, NULL, v, 2, 9, TIME_NONE, "");
}

static void it_is_not_logged(void **state) {
    fixture *f = *state;
    record_episode e = episode_of("ana", "i1", 0.5);
    arena *a = arena_new(4096);
    record_log_entry *rows;
    size_t n;
    uint64_t upto;
    put_items(f->store);
    put(f->store, &e, NULL);
    put_item(f->store, "i3", "A film", NULL, NULL);
    head_place(f->store);
    assert_int_equal(record_log_read(f->store, 0, RECORD_MASK_ALL, 100, a, &rows, &n, &upto, NULL), BRAID_OK);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) assert_int_equal(rows[i].kind, RECORD_ITEM);
    arena_free(a);
}

static void a_known_key_of_the_person_changes_nothing(void **state) {
    fixture *f = *state;
    record_change first, second, third;
    record_episode e = episode_of("ana", "i1", 0.5), other = episode_of("eve", "i1", 0.5);
    put_items(f->store);
    e.key = other.key = "k1";
    assert_int_equal(put(f->store, &e, &first), BRAID_OK);
    e.reward = 9;
    e.at = TIME_NONE;
    assert_int_equal(put(f->store, &e, &second), BRAID_OK);
    assert_true(second.duplicate && second.lsn == first.lsn && second.num == 1);
    assert_int_equal(put(f->store, &other, &third), BRAID_OK);
    assert_false(third.duplicate);
    fixture_reopen(f);
    assert_int_equal(put(f->store, &e, &second), BRAID_OK);
    assert_true(second.duplicate);
    assert_int_equal(episodes(f->store), 2);
    assert_int_equal(drop_user(f->store, "ana"), BRAID_OK);
    assert_int_equal(put(f->store, &e, &second), BRAID_OK); /* somebody else of that name */
    assert_false(second.duplicate);
}

static void what_is_no_episode_is_refused_alone(void **state) {
    fixture *f = *state;
    float v[2] = {1, NAN};
    record_episode good = episode_of("ana", "i1", 0.5), bad[8];
    int wanted[8] = {BRAID_E_NOT_FOUND,  BRAID_E_INVALID, BRAID_E_INVALID, BRAID_E_NOT_FINITE,
                     BRAID_E_NOT_FINITE, BRAID_E_INVALID, BRAID_E_INVALID, BRAID_E_INVALID};
    record_change c[9];
    for (int i = 0; i < 8; i++) bad[i] = good;
    bad[0].action = "none";
    bad[1].action = "";
    bad[2].user = NULL;
    bad[3].reward = INFINITY;
    bad[4].vector = bad[5].vector = bad[6].vector = v;
    bad[4].dim = 2;
    bad[5].dim = 0;
    bad[6].dim = RECORD_STATE_DIM_MAX + 1;
    bad[7].key = "\xff";
    for (int i = 0; i < 8; i++) c[i] = change_of(&bad[i]);
    c[8] = change_of(&good);
    put_items(f->store);
    assert_int_equal(write_all(f->store, c, 9), BRAID_OK);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(c[i].code, wanted[i]);
        assert_true(c[i].lsn == 0 && c[i].message[0] != '\0');
    }
    assert_int_equal(c[8].code, BRAID_OK);
    assert_int_equal(drop_user(f->store, "nobody"), BRAID_E_NOT_FOUND);
    assert_int_equal(episodes(f->store), 1);
}

enum { MANY = 700 };

static void many_in_one_call_meet_the_same_judgement_as_one_by_one(void **state) {
    fixture *f = *state;
    static record_episode rows[MANY];
    static record_change c[MANY];
    static char people[MANY][16], keys[MANY][16];
    static float v[MANY][4];
    uint64_t last = 0;
    put_items(f->store);
    record_episode before = episode_of("p5", "i1", 0);
    before.key = "k5";
    put(f->store, &before, NULL);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(people[i], sizeof people[i], "p%d", i % 40);
            snprintf(keys[i], sizeof keys[i], "k%d", i);
            rows[i] = episode_of(people[i], i == 9 ? "none" : i % 2 ? "i1" : "i2", i);
            rows[i].key = i % 3 == 2 ? keys[i] : NULL;
            rows[i].at = i == 1 ? TIME_NONE : INT64_C(1780272000000) + i;
            for (int d = 0; d < 4; d++) v[i][d] = (float)(d == i % 4) + 0.001f * (float)i;
            rows[i].vector = i % 5 == 0 ? NULL : v[i];
            rows[i].dim = 4;
            c[i] = change_of(&rows[i]);
        }
        rows[7].reward = NAN;
        assert_int_equal(write_all(f->store, c, MANY), BRAID_OK);
        for (int i = 0; i < MANY; i++) {
            bool again = i % 3 == 2 && (round == 1 || i == 5);
            assert_int_equal(c[i].code, i == 7 ? BRAID_E_NOT_FINITE : i == 9 ? BRAID_E_NOT_FOUND : BRAID_OK);
            assert_int_equal(c[i].duplicate, again);
            if (i == 7 || i == 9 || again) continue;
            assert_true(c[i].lsn > last && c[i].num == (i % 2 ? 1u : 2u));
            last = c[i].lsn;
        }
    }
    unsigned with_key = 0;
    for (int i = 0; i < MANY; i++) with_key += i % 3 == 2; /* 7 and 9 have none */
    assert_int_equal(episodes(f->store), (MANY - 2) * 2 - with_key);
    seen found = {0};
    assert_int_equal(record_similar_episodes(f->store, "default", v[698], 4, 2, TIME_NONE, 0, see_reward, &found, NULL),
                     BRAID_OK);
    assert_string_equal(found.text, "698:1.000 694:1.000 "); /* 698 has a key: it is there once */
    rows[8].key = rows[11].key;                              /* twice the same in one call */
    rows[8].user = rows[11].user;
    for (int i = 0; i < MANY; i++) rows[i].vector = NULL;
    assert_int_equal(write_all(f->store, c, MANY), BRAID_OK);
    assert_true(c[8].duplicate && c[11].duplicate && c[8].lsn == c[11].lsn);
    assert_int_equal(drop_user(f->store, "p11"), BRAID_OK);
}

/* ---- similar states ---- */

static void a_key_twice_in_one_call_is_the_first_that_could_be_written(void **state) {
    fixture *f = *state;
    enum { ROWS = 100 };
    record_episode rows[ROWS];
    record_change c[ROWS];
    put_items(f->store);
    for (int i = 0; i < ROWS; i++) {
        rows[i] = episode_of(i % 2 ? "ana" : "eve", "i1", i);
        c[i] = change_of(&rows[i]);
    }
    for (int i = 20; i < 30; i++) rows[i].key = "again"; /* five of ana's, five of eve's */
    rows[20].action = rows[21].action = rows[27].action = "none";
    assert_int_equal(write_all(f->store, c, ROWS), BRAID_OK);
    assert_int_equal(c[20].code, BRAID_E_NOT_FOUND);
    assert_int_equal(c[21].code, BRAID_E_NOT_FOUND);
    assert_true(c[22].code == BRAID_OK && !c[22].duplicate && c[23].code == BRAID_OK && !c[23].duplicate);
    for (int i = 24; i < 30; i++) assert_true(c[i].code == BRAID_OK && c[i].duplicate && c[i].lsn == c[22 + i % 2].lsn);
    assert_int_equal(episodes(f->store), ROWS - 8);
}

enum { CALLERS = 4, CALLS = 5, EPISODES = 60 };

typedef struct caller {
    record_store *store;
    unsigned written, known;
} caller;

static void *write_the_same(void *arg) {
    caller *w = arg;
    for (int call = 0; call < CALLS; call++) {
        record_episode rows[EPISODES];
        record_change c[EPISODES];
        char keys[EPISODES][16];
        for (int i = 0; i < EPISODES; i++) {
            snprintf(keys[i], sizeof keys[i], "k%d", call * EPISODES + i);
            rows[i] = episode_of(i % 2 ? "ana" : "eve", "i1", i);
            rows[i].key = keys[i];
            c[i] = change_of(&rows[i]);
        }
        if (record_write(w->store, c, EPISODES, (record_write_flags){0}, NULL) != BRAID_OK) return arg;
        for (int i = 0; i < EPISODES; i++) *(c[i].duplicate ? &w->known : &w->written) += c[i].code == BRAID_OK;
    }
    return NULL;
}

/* Each caller's failure is its own, so nobody's may hide behind the sum. */
static void what_several_callers_bring_at_once_is_written_once(void **state) {
    fixture *f = *state;
    pthread_t threads[CALLERS];
    caller callers[CALLERS];
    unsigned written = 0;
    put_items(f->store);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){.store = f->store};
        assert_int_equal(pthread_create(&threads[i], NULL, write_the_same, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        assert_int_equal(callers[i].written + callers[i].known, CALLS * EPISODES);
        written += callers[i].written;
    }
    assert_int_equal(written, CALLS * EPISODES);
    assert_int_equal(episodes(f->store), CALLS * EPISODES);
}

static void put_state(record_store *s, const char *agent, double reward, int64_t at, const float *v, uint32_t dim) {
    record_episode e = episode_of("ana", "i1", reward);
    e.agent = agent;
    e.at = at;
    e.vector = v;
    e.dim = dim;
    assert_int_equal(put(s, &e, NULL), BRAID_OK);
}

static void the_nearest_states_come_first_within_agent_time_and_dimension(void **state) {
    fixture *f = *state;
    const float x[2] = {2, 0}, y[2] = {0, 3}, xy[2] = {1, 1}, back[2] = {-1, 0}, zero[2] = {0, 0},
                long_x[3] = {1, 0, 0};
    put_items(f->store);
    put_state(f->store, "default", 1, 1000, x, 2);
    put_state(f->store, "default", 2, 2000, y, 2);
    put_state(f->store, "other", 3, 3000, xy, 2);
    put_state(f->store, "default", 4, 4000, back, 2);
    put_state(f->store, "default", 5, 5000, zero, 2);
    put_state(f->store, "default", 6, 6000, long_x, 3);
    put_state(f->store, "default", 7, 7000, NULL, 0);
    for (int again = 0; again < 2; again++) {
        seen one = {.stop_after = 1};
        expect_similar(f->store, NULL, x, 2, 9, TIME_NONE, "1:1.000 3:0.707 2:0.000 4:-1.000 ");
        expect_similar(f->store, NULL, x, 2, 2, TIME_NONE, "1:1.000 3:0.707 ");
        expect_similar(f->store, "default", xy, 2, 2, TIME_NONE, "2:0.707 1:0.707 ");
        expect_similar(f->store, "other", x, 2, 9, TIME_NONE, "3:0.707 ");
        expect_similar(f->store, NULL, x, 2, 9, 2000, "3:0.707 2:0.000 4:-1.000 ");
        expect_similar(f->store, NULL, long_x, 3, 9, TIME_NONE, "6:1.000 ");
        record_similar_episodes(f->store, NULL, x, 2, 9, TIME_NONE, 0, see_reward, &one, NULL);
        assert_int_equal(one.count, 1);
        fixture_reopen(f);
    }
}

static void a_question_that_makes_no_sense_is_refused(void **state) {
    fixture *f = *state;
    const float x[2] = {1, 0}, zero[2] = {0, 0}, nan[2] = {1, NAN};
    seen s = {0};
    assert_int_equal(record_similar_episodes(f->store, NULL, NULL, 2, 1, 0, 0, see_reward, &s, NULL), BRAID_E_INVALID);
    assert_int_equal(record_similar_episodes(f->store, NULL, x, 0, 1, 0, 0, see_reward, &s, NULL), BRAID_E_INVALID);
    assert_int_equal(record_similar_episodes(f->store, NULL, x, 4097, 1, 0, 0, see_reward, &s, NULL), BRAID_E_INVALID);
    assert_int_equal(record_similar_episodes(f->store, NULL, x, 2, 0, 0, 0, see_reward, &s, NULL), BRAID_E_INVALID);
    assert_int_equal(record_similar_episodes(f->store, NULL, x, 2, SIZE_MAX, 0, 0, see_reward, &s, NULL),
                     BRAID_E_INVALID);
    assert_int_equal(record_similar_episodes(f->store, NULL, zero, 2, 1, 0, 0, see_reward, &s, NULL), BRAID_E_INVALID);
    assert_int_equal(record_similar_episodes(f->store, NULL, nan, 2, 1, 0, 0, see_reward, &s, NULL),
                     BRAID_E_NOT_FINITE);
    assert_int_equal(record_forget(f->store, &(record_old){.kind = RECORD_INTERACTION, .before = 5}, NULL, NULL),
                     BRAID_E_INVALID);
    expect_similar(f->store, NULL, x, 2, 9, TIME_NONE, "");
}

enum { STATES = 500, DIM = 19, ASKED = 25 };

typedef struct world {
    float states[STATES][DIM];
    double wanted[STATES];
    float question[DIM];
    unsigned seen;
    double last;
    bool right;
} world;

static bool compare_one(void *ctx, const record_episode *e, float similarity) {
    world *w = ctx;
    double truth = w->wanted[(int)e->reward];
    unsigned better = 0;
    for (int i = 0; i < STATES; i++) better += w->wanted[i] > truth + 1e-5;
    w->right &= fabs((double)similarity - truth) < 1e-5 && (double)similarity <= w->last + 1e-6 && better <= w->seen;
    w->right &= e->dim == DIM && memcmp(e->vector, w->states[(int)e->reward], sizeof w->states[0]) == 0;
    w->last = similarity;
    w->seen++;
    return true;
}

static void what_is_found_is_what_comparing_all_finds(void **state) {
    fixture *f = *state;
    world *w = calloc(1, sizeof *w);
    static record_episode rows[STATES];
    static record_change c[STATES];
    rng dice;
    rng_seed(&dice, 5);
    put_items(f->store);
    for (int i = 0; i < STATES; i++) {
        for (int d = 0; d < DIM; d++) w->states[i][d] = (float)(rng_uniform(&dice) - 0.5);
        rows[i] = episode_of("ana", "i1", i);
        rows[i].vector = w->states[i];
        rows[i].dim = DIM;
        c[i] = change_of(&rows[i]);
    }
    assert_int_equal(write_all(f->store, c, STATES), BRAID_OK);
    for (int question = 0; question < 20; question++) {
        for (int d = 0; d < DIM; d++) w->question[d] = (float)(rng_uniform(&dice) - 0.5);
        for (int i = 0; i < STATES; i++) {
            double product = 0, a = 0, b = 0;
            for (int d = 0; d < DIM; d++) {
                product += (double)w->question[d] * w->states[i][d];
                a += (double)w->question[d] * w->question[d];
                b += (double)w->states[i][d] * w->states[i][d];
            }
            w->wanted[i] = product / sqrt(a * b);
        }
        w->seen = 0;
        w->last = 2;
        w->right = true;
        assert_int_equal(
            record_similar_episodes(f->store, "default", w->question, DIM, ASKED, TIME_NONE, 0, compare_one, w, NULL),
            BRAID_OK);
        assert_true(w->right && w->seen == ASKED);
    }
    free(w);
}

/* Written before the question began, found by it; whatever others write meanwhile. */
static void *write_states(void *arg) {
    record_store *s = arg;
    for (int i = 0; i < 200; i++) {
        float v[2] = {1, (float)(i + 10)};
        record_episode e = episode_of("eve", "i2", 100 + i);
        e.vector = v;
        e.dim = 2;
        record_change c = change_of(&e);
        if (record_write(s, &c, 1, (record_write_flags){0}, NULL) != BRAID_OK || c.code != BRAID_OK) abort();
    }
    return NULL;
}

static void what_was_acknowledged_is_found_while_others_write(void **state) {
    fixture *f = *state;
    pthread_t threads[2];
    put_items(f->store);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, write_states, f->store), 0);
    for (int i = 0; i < 40; i++) {
        float v[2] = {1, -1.0f - (float)i};
        seen found = {0};
        char wanted[32];
        put_state(f->store, "default", i, 1000, v, 2);
        snprintf(wanted, sizeof wanted, "%d:1.000 ", i);
        assert_int_equal(record_similar_episodes(f->store, "default", v, 2, 1, TIME_NONE, 0, see_reward, &found, NULL),
                         BRAID_OK);
        assert_string_equal(found.text, wanted);
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_int_equal(episodes(f->store), 440);
}

/* ---- forgetting ---- */

#define MS(day) (INT64_C(86400000) * (day))
enum { LONG_AGO = 14610 }; /* days: the first of January 2010; its months have no partition of their own */

static int put_slate(record_store *s, const char *id, int64_t at) {
    record_slate l = {.id = id, .agent = "default", .user = "ana", .at = at, .body = "x", .body_len = 1};
    record_change c = {.kind = RECORD_SLATE, .slate = &l};
    return write_one(s, &c, NULL);
}

static void what_is_old_is_forgotten_and_the_rest_stays(void **state) {
    fixture *f = *state;
    const float v[2] = {1, 0};
    uint64_t removed = 7, lsn[2], next = 0;
    int64_t now = clock_wall_ms(&clock_system);
    record_episode keyed = episode_of("ana", "i1", 5);
    put_items(f->store);
    for (int i = 0; i < 2; i++) {
        put_interaction(f->store, "ana", "i1", NULL, i == 0 ? MS(LONG_AGO) : now, &lsn[i]);
        record_episode e = episode_of("ana", "i1", i);
        e.interaction_lsn = lsn[i];
        e.vector = v;
        e.dim = 2;
        put(f->store, &e, NULL);
    }
    put_state(f->store, "default", 2, MS(LONG_AGO) + 1, v, 2);
    put_state(f->store, "default", 3, MS(LONG_AGO) + 2, v, 2);
    put_state(f->store, "default", 4, now, v, 2);
    keyed.key = "k";
    keyed.at = MS(LONG_AGO);
    put(f->store, &keyed, NULL);
    put_slate(f->store, "old", MS(LONG_AGO));
    put_slate(f->store, "new", now);
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_EPISODE, .before = MS(LONG_AGO) + 2}, &removed, NULL),
        BRAID_OK);
    assert_int_equal(removed, 3); /* 0, 2 and the one with a key */
    expect_similar(f->store, NULL, v, 2, 9, TIME_NONE, "4:1.000 3:1.000 1:1.000 ");
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_EPISODE, .before = MS(LONG_AGO) + 2}, &removed, NULL),
        BRAID_OK);
    assert_int_equal(removed, 0);
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_SLATE, .before = MS(LONG_AGO) + 1}, &removed, NULL),
        BRAID_OK);
    assert_int_equal(removed, 1);
    record_change again;
    assert_int_equal(put(f->store, &keyed, &again), BRAID_OK); /* its key is forgotten too */
    assert_false(again.duplicate);
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_EPISODE, .before = MS(LONG_AGO) + 1}, &removed, NULL),
        BRAID_OK);
    assert_int_equal(removed, 1); /* the newest number of all */
    fixture_reopen(f);
    assert_int_equal(put_interaction(f->store, "ana", "i1", NULL, 5, &next), BRAID_OK);
    assert_true(next > again.lsn); /* and it does not come again */
    record_info info;
    record_get_info(f->store, &info, NULL);
    assert_true(info.episodes == 3 && info.slates == 1 && info.interactions == 3);
}

static void forgetting_goes_on_over_many_rows(void **state) {
    enum { ROWS = 5000, CALL = 1000 };
    fixture *f = *state;
    static record_episode rows[CALL];
    static record_slate slates[CALL];
    static record_change c[CALL];
    static char ids[CALL][16];
    uint64_t removed = 0;
    put_items(f->store);
    for (int i = 0; i < ROWS; i += CALL) {
        for (int k = 0; k < CALL; k++) {
            rows[k] = episode_of("ana", "i1", k);
            rows[k].at = MS(LONG_AGO) + (k % 2);
            c[k] = change_of(&rows[k]);
        }
        assert_int_equal(record_write(f->store, c, CALL, (record_write_flags){0}, NULL), BRAID_OK);
        for (int k = 0; k < CALL; k++) {
            snprintf(ids[k], sizeof ids[k], "%d", i + k);
            slates[k] = (record_slate){
                .id = ids[k], .agent = "x", .user = "ana", .at = MS(LONG_AGO) + (k % 2), .body = "x", .body_len = 1};
            c[k] = (record_change){.kind = RECORD_SLATE, .slate = &slates[k]};
        }
        assert_int_equal(record_write(f->store, c, CALL, (record_write_flags){0}, NULL), BRAID_OK);
    }
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_EPISODE, .before = MS(LONG_AGO) + 1}, &removed, NULL),
        BRAID_OK);
    assert_int_equal(removed, ROWS / 2);
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_SLATE, .before = MS(LONG_AGO) + 1}, &removed, NULL),
        BRAID_OK);
    assert_int_equal(removed, ROWS / 2);
    assert_int_equal(episodes(f->store), ROWS / 2);
}

/* An episode of its own and one of an interaction. */
static void put_two_of_agent(record_store *s, const char *agent, double reward, int64_t at, const float *v) {
    record_episode e = episode_of("ana", "i2", reward + 0.5);
    uint64_t lsn = 0;
    interaction what = {
        .user = "ana", .item = "i2", .type = INTERACTION_LIKE, .watch_s = -1, .rating = NAN, .at = at, .agent = agent};
    record_change c = {.kind = RECORD_INTERACTION, .interaction = &what};
    put_state(s, agent, reward, at, v, 2);
    assert_int_equal(write_one(s, &c, &lsn), BRAID_OK);
    e.interaction_lsn = lsn;
    e.item_num = 2;
    e.agent = agent;
    e.session = "";
    e.vector = v;
    e.dim = 2;
    assert_int_equal(put(s, &e, NULL), BRAID_OK);
}

static void agents_keep_theirs_for_times_of_their_own(void **state) {
    fixture *f = *state;
    const float v[2] = {1, 0};
    const int64_t day = MS(LONG_AGO);
    static const char *const agents[] = {"default", "long", "short", "zeal"};
    const record_agent_before kept[] = {{"long", TIME_NONE}, {"short", day + 3}};
    record_old old = {.kind = RECORD_EPISODE, .before = day + 2, .agents = kept, .agent_count = 2};
    uint64_t removed = 9;
    put_items(f->store);
    for (int i = 0; i < 4; i++)
        for (int at = 1; at < 4; at++) put_two_of_agent(f->store, agents[i], i * 10 + at, day + at, v);
    assert_int_equal(record_forget(f->store, &old, &removed, NULL), BRAID_OK);
    assert_int_equal(removed, 2 * (1 + 2 + 1));
    for (int again = 0; again < 2; again++) {
        assert_int_equal(episodes(f->store), 24 - 8);
        expect_similar(f->store, "default", v, 2, 9, TIME_NONE, "3.5:1.000 3:1.000 2.5:1.000 2:1.000 ");
        expect_similar(f->store, "long", v, 2, 9, TIME_NONE,
                       "13.5:1.000 13:1.000 12.5:1.000 12:1.000 11.5:1.000 11:1.000 ");
        expect_similar(f->store, "short", v, 2, 9, TIME_NONE, "23.5:1.000 23:1.000 ");
        expect_similar(f->store, "zeal", v, 2, 9, TIME_NONE, "33.5:1.000 33:1.000 32.5:1.000 32:1.000 ");
        assert_int_equal(record_forget(f->store, &old, &removed, NULL), BRAID_OK);
        assert_int_equal(removed, 0);
        fixture_reopen(f);
    }
    old.before = TIME_NONE; /* the rest for ever, one agent not */
    old.agents = &(record_agent_before){"zeal", day + 4};
    old.agent_count = 1;
    assert_int_equal(record_forget(f->store, &old, &removed, NULL), BRAID_OK);
    assert_int_equal(removed, 4);
    old.agents = &(record_agent_before){"default", day + 3}; /* the one that nobody named is an agent like any other */
    assert_int_equal(record_forget(f->store, &old, &removed, NULL), BRAID_OK);
    assert_int_equal(removed, 2);
    expect_similar(f->store, "default", v, 2, 9, TIME_NONE, "3.5:1.000 3:1.000 ");
    old = (record_old){.kind = RECORD_EPISODE, .before = day + 9}; /* nobody has a time of their own any more */
    assert_int_equal(record_forget(f->store, &old, &removed, NULL), BRAID_OK);
    assert_int_equal(removed, 10);
    expect_similar(f->store, NULL, v, 2, 9, TIME_NONE, "");
    assert_int_equal(episodes(f->store), 0);
}

static void keys_and_many_rows_of_one_agent_are_forgotten_in_slices(void **state) {
    enum { ROWS = 5000, CALL = 1000 };
    fixture *f = *state;
    static record_episode rows[CALL];
    static record_change c[CALL];
    static char keys[CALL][16];
    const record_agent_before kept[] = {{"short", MS(LONG_AGO) + 1}};
    record_old old = {.kind = RECORD_EPISODE, .before = MS(LONG_AGO) - 1, .agents = kept, .agent_count = 1};
    record_change again;
    uint64_t removed = 0;
    put_items(f->store);
    for (int i = 0; i < ROWS; i += CALL) {
        for (int k = 0; k < CALL; k++) {
            snprintf(keys[k], sizeof keys[k], "%d", i + k);
            rows[k] = episode_of("ana", "i1", i + k);
            rows[k].agent = k % 10 ? "short" : "default";
            rows[k].at = MS(LONG_AGO);
            rows[k].key = keys[k];
            c[k] = change_of(&rows[k]);
        }
        assert_int_equal(record_write(f->store, c, CALL, (record_write_flags){0}, NULL), BRAID_OK);
    }
    assert_int_equal(record_forget(f->store, &old, &removed, NULL), BRAID_OK);
    assert_int_equal(removed, ROWS / 10 * 9);
    assert_int_equal(episodes(f->store), ROWS / 10);
    assert_int_equal(put(f->store, &rows[0], &again), BRAID_OK);
    assert_true(again.duplicate); /* it is kept, and so is its key */
    assert_int_equal(put(f->store, &rows[1], &again), BRAID_OK);
    assert_false(again.duplicate);
}

static void what_cannot_be_forgotten_is_refused(void **state) {
    fixture *f = *state;
    const record_agent_before wrong[] = {{"b", 5}, {"a", 5}}, twice[] = {{"a", 5}, {"a", 6}}, right[] = {{"a", 5}};
    uint64_t removed = 9;
    record_old old = {.kind = RECORD_EPISODE, .before = 5, .agents = wrong, .agent_count = 2};
    assert_int_equal(record_forget(f->store, &old, &removed, NULL), BRAID_E_INVALID);
    old.agents = twice;
    assert_int_equal(record_forget(f->store, &old, &removed, NULL), BRAID_E_INVALID);
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_SLATE, .agents = right, .agent_count = 1}, NULL, NULL),
        BRAID_E_INVALID);
    assert_int_equal(
        record_forget(f->store, &(record_old){.kind = RECORD_EPISODE, .before = TIME_NONE}, &removed, NULL), BRAID_OK);
    assert_int_equal(removed, 0);
}

#define CLAIMS(X)                                                                                                      \
    X(an_episode_of_its_own_gets_a_number_and_is_read_back)                                                            \
    X(it_stands_beside_those_of_interactions)                                                                          \
    X(it_is_not_logged)                                                                                                \
    X(a_known_key_of_the_person_changes_nothing)                                                                       \
    X(what_is_no_episode_is_refused_alone)                                                                             \
    X(many_in_one_call_meet_the_same_judgement_as_one_by_one)                                                          \
    X(a_key_twice_in_one_call_is_the_first_that_could_be_written)                                                      \
    X(what_several_callers_bring_at_once_is_written_once)                                                              \
    X(the_nearest_states_come_first_within_agent_time_and_dimension)                                                   \
    X(a_question_that_makes_no_sense_is_refused)                                                                       \
    X(what_is_found_is_what_comparing_all_finds)                                                                       \
    X(what_was_acknowledged_is_found_while_others_write)                                                               \
    X(what_is_old_is_forgotten_and_the_rest_stays)                                                                     \
    X(forgetting_goes_on_over_many_rows)                                                                               \
    X(agents_keep_theirs_for_times_of_their_own)                                                                       \
    X(keys_and_many_rows_of_one_agent_are_forgotten_in_slices)                                                         \
    X(what_cannot_be_forgotten_is_refused)

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
