/* The learner: what it leaves in the record store, and that it leaves it exactly once. */
#include <signal.h>
#include <sys/wait.h>

#include "policy_test.h"

static policy_learner *learner_open(room *r) {
    policy_learner *l = NULL;
    must(policy_learner_open(r->record, r->rows, r->cat, NULL, r->m, &l, err));
    return l;
}

/* Of states with every part, the one that is made of a person's past included. */
static policy_learner *learner_open_all(room *r) {
    policy_learner *l = learner_open(r);
    policy_learner_states(l, POLICY_STATE_MOMENT | 1u << POLICY_TASTE);
    return l;
}

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { SPEED_STREAM = 2000 };
#else
enum { SPEED_STREAM = 20000 };
#endif

/* ---- what is stored, as text ---- */
static bool dump_policy(void *ctx, const record_policy *row) {
    bool ok = true;
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *a = &row->actions[i];
        ok = buf_printf(ctx, "policy %s|%s|%s|%s|%s %.17g %.17g %g @%llu\n", row->agent, row->user, row->state_hash,
                        row->state, a->action, a->mean, a->variance, a->count, (unsigned long long)a->version);
    }
    return ok;
}

static bool dump_episode(void *ctx,
                         const record_episode *row) { /* without next_state_hash: it depends on where batches end */
    return buf_printf(ctx, "episode %llu %s|%s|%s|%s|%s %u %s %.17g %d %lld\n",
                      (unsigned long long)row->interaction_lsn, row->agent, row->user, row->session, row->state_hash,
                      row->state, row->item_num, row->action, row->reward, row->done, (long long)row->at);
}

static bool dump_stats(void *ctx, const record_stats *row) {
    return buf_printf(ctx, "stats %u %g %.17g %lld\n", row->num, row->interactions, row->reward_sum,
                      (long long)row->last_at);
}

static char *dump(room *r, const char *const *users, size_t n) {
    buf b;
    buf_init(&b, 0);
    must(record_user_policies(r->record, NULL, "", dump_policy, &b, err));
    for (size_t i = 0; i < n; i++) {
        must(record_user_policies(r->record, NULL, users[i], dump_policy, &b, err));
        must(record_user_episodes(r->record, users[i], SIZE_MAX, dump_episode, &b, err));
    }
    must(record_scan_stats(r->record, dump_stats, &b, err));
    char *text = buf_steal(&b);
    assert_non_null(text);
    return text;
}

static record_info info_of(room *r) {
    record_info info;
    must(record_get_info(r->record, &info, err));
    return info;
}

static uint64_t cursor_of(room *r) {
    uint64_t lsn = 0;
    must(record_cursor_get(r->record, POLICY_LEARNER_NAME, &lsn, err));
    return lsn;
}

/* ---- one interaction ---- */
static void an_interaction_moves_four_levels_of_each_genre(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t num = room_item(&r, "a", "\"genres\":[\"drame\",\"essai\",\"drame\"],\"duration_s\":100");
    interaction in = did("ann", "a", INTERACTION_WATCH, 1000);
    in.watch_s = 60;
    in.device = "tv";
    uint64_t lsn = room_did(&r, &in, NULL);
    policy_learner *l = learner_open(&r);
    room_learn(&r, l, 0, 100, lsn);

    policy_state s;
    policy_state_make(POLICY_STATE_MOMENT, "evening", "tv", "", "", 1000, &s);
    const struct { const char *user_id, *hash; } levels[] = {{"ann", s.hash}, {"ann", ""}, {"", s.hash}, {"", ""}};
    const char *const actions[] = {"genres=drame", "genres=essai"};
    for (size_t i = 0; i < 8; i++) {
        found_policy p = room_policy(&r, levels[i / 2].user_id, levels[i / 2].hash, actions[i % 2]);
        assert_true(p.there);
        assert_true(p.row.count == 1 && fabs(p.row.mean - 0.6) < 1e-12);
        assert_int_equal(p.row.version, lsn);
    }
    assert_int_equal(info_of(&r).policies, 4); /* a row holds both genres */
    assert_int_equal(info_of(&r).episodes, 1);
    assert_int_equal(cursor_of(&r), lsn);
    catalogue_card card;
    assert_true(catalogue_get_card(r.cat, num, r.a, &card));
    assert_true(card.interactions == 1 && fabs(card.reward_sum - 0.6) < 1e-12 && card.last_at == 1000);
    policy_learner_close(l);
    room_close(&r);
}

static void a_region_is_a_cohort_and_parts_that_are_not_wanted_are_in_no_state(void **state) {
    (void)state;
    room r;
    room_open(&r);
    room_item(&r, "a", "\"genres\":[\"drame\"]");
    interaction in = did("ann", "a", INTERACTION_LIKE, 1000), other = did("bob", "a", INTERACTION_SKIP, 2000);
    in.region = "ca";
    in.device = "tv";
    other.region = "CA";
    other.device = "phone";
    room_did(&r, &in, NULL);
    uint64_t lsn = room_did(&r, &other, NULL);
    policy_learner *l = learner_open(&r);
    policy_learner_states(l, 1u << POLICY_REGION);
    room_learn(&r, l, 0, 100, lsn);
    policy_state s;
    policy_state_make(1u << POLICY_REGION, "evening", "tv", "", "CA", 1000, &s);
    assert_string_equal(s.text, "v1;region=CA");
    assert_string_equal(s.cohort_text, "v1;cohort;region=CA");
    found_policy cohort = room_policy(&r, "", s.cohort, "genres=drame"),
                 here = room_policy(&r, "", s.hash, "genres=drame");
    assert_true(cohort.there && cohort.row.count == 2 && here.there && here.row.count == 2);
    /* everybody, the state, the cohort; each of two in any state and in this */
    assert_int_equal(info_of(&r).policies, 3 + 2 * 2);
    policy_learner_close(l);
    room_close(&r);
}

typedef struct chain {
    uint64_t lsn[8];
    char next[8][RECORD_HASH_BYTES];
    bool done[8];
    size_t n;
} chain;
static bool chain_row(void *ctx, const record_episode *row) {
    chain *c = ctx;
    assert_true(c->n < 8);
    c->lsn[c->n] = row->interaction_lsn;
    c->done[c->n] = row->done;
    snprintf(c->next[c->n++], RECORD_HASH_BYTES, "%s", row->next_state_hash);
    return true;
}

static void an_episode_leads_to_the_next_state_of_its_session(void **state) {
    (void)state;
    room r;
    room_open(&r);
    room_item(&r, "a", "\"genres\":[\"drame\"]");
    interaction first = did("ann", "a", INTERACTION_CLICK, 1), other = did("bob", "a", INTERACTION_CLICK, 2),
                second = did("ann", "a", INTERACTION_SKIP, 3), loose = did("ann", "a", INTERACTION_LIKE, 4);
    first.session = second.session = other.session = "s";
    second.device = "tv";
    other.device = "phone";
    uint64_t lsn[4] = {room_did(&r, &first, NULL), room_did(&r, &other, NULL), room_did(&r, &second, NULL),
                       room_did(&r, &loose, NULL)};
    policy_learner *l = learner_open(&r);
    room_learn(&r, l, 0, 100, lsn[3]);
    chain c = {0};
    must(record_user_episodes(r.record, "ann", 10, chain_row, &c, err));
    policy_state want;
    policy_state_make(POLICY_STATE_MOMENT, "evening", "tv", "", "", 3, &want);
    assert_int_equal(c.n, 3);
    for (size_t i = 0; i < c.n; i++) {
        assert_string_equal(c.next[i], c.lsn[i] == lsn[0] ? want.hash : "");
        assert_int_equal(c.done[i], c.lsn[i] == lsn[2]);
    }
    policy_learner_close(l);
    room_close(&r);
}

/* ---- taste ---- */
typedef struct states {
    char text[64][64];
    uint64_t lsn[64];
    size_t n;
} states;

static bool states_row(void *ctx, const record_episode *row) {
    states *s = ctx;
    s->lsn[s->n] = row->interaction_lsn;
    snprintf(s->text[s->n++], sizeof s->text[0], "%s", row->state);
    return s->n < 64;
}

static const char *state_at(const states *s, uint64_t lsn) {
    for (size_t i = 0; i < s->n; i++)
        if (s->lsn[i] == lsn) return s->text[i];
    return "no episode";
}

/* What answers said of steps, held against what was learned. */
typedef struct chain_states {
    char (*said)[64];
    const uint64_t *lsn;
    size_t count, met, wanted, with;
} chain_states;

static bool chain_states_row(void *ctx, const record_episode *row) {
    chain_states *c = ctx;
    for (size_t i = 0; i < c->count; i++) {
        if (c->lsn[i] != row->interaction_lsn) continue;
        if (strcmp(row->state, c->said[i]) != 0)
            fail_msg("step %zu: answered under %s, learned under %s", i, c->said[i], row->state);
        c->met++;
        c->with += row->state[strlen(row->state) - 1] != '=';
    }
    return true;
}

static void what_is_chosen_is_learned_under_the_taste_before_it(void **state) {
    (void)state;
    room r;
    room_open(&r);
    room_item(&r, "d1", "\"genres\":[\"drame\"]");
    room_item(&r, "d2", "\"genres\":[\"drame\"]");
    room_item(&r, "c1", "\"genres\":[\"conte\"]");
    room_item(&r, "c2", "\"genres\":[\"conte\",\"essai\"]");
    const struct {
        const char *user_id, *item_id;
        interaction_type type;
        int64_t at;
        const char *under;
    } story[] = {{"ann", "c1", INTERACTION_VIEW, 1, "v1;taste="},
                 {"ann", "d1", INTERACTION_LIKE, 10, "v1;taste="},
                 {"bob", "c1", INTERACTION_LIKE, 11, "v1;taste="}, /* another's taste */
                 {"ann", "c1", INTERACTION_CLICK, 12, "v1;taste=drame"},
                 {"ann", "c1", INTERACTION_LIKE, 13, "v1;taste=drame"}, /* a click said nothing */
                 {"ann", "d2", INTERACTION_LIKE, 5, "v1;taste=conte"},  /* comes late: the oldest of three */
                 {"ann", "c2", INTERACTION_SKIP, 20, "v1;taste=drame"}, /* two of drame, one newer of conte */
                 {"ann", "d1", INTERACTION_DISLIKE, 21, "v1;taste=drame"},
                 {"ann", "d2", INTERACTION_VIEW, 22, "v1;taste=conte"}, /* of drame the old one is left */
                 {"ann", "c1", INTERACTION_DISLIKE, 23, "v1;taste=conte"},
                 {"ann", "d2", INTERACTION_DISLIKE, 24, "v1;taste=drame"},
                 {"ann", "d2", INTERACTION_VIEW, 25, "v1;taste="}}; /* nothing of late was liked */
    enum { STEPS = sizeof story / sizeof story[0] };
    uint64_t lsn[STEPS];
    for (size_t i = 0; i < STEPS; i++) {
        interaction in = did(story[i].user_id, story[i].item_id, story[i].type, story[i].at);
        lsn[i] = room_did(&r, &in, NULL);
    }
    policy_learner *l = learner_open(&r);
    policy_learner_states(l, 1u << POLICY_TASTE);
    room_learn(&r, l, 0, 100, lsn[STEPS - 1]);
    states found = {0};
    must(record_user_episodes(r.record, "ann", 64, states_row, &found, err));
    must(record_user_episodes(r.record, "bob", 64, states_row, &found, err));
    for (size_t i = 0; i < STEPS; i++)
        if (strcmp(state_at(&found, lsn[i]), story[i].under) != 0)
            fail_msg("step %zu: %s, not %s", i, state_at(&found, lsn[i]), story[i].under);
    policy_learner_close(l);
    room_close(&r);
}

static void ten_judgements_are_a_taste_and_older_ones_are_forgotten(void **state) {
    (void)state;
    enum { CONTES = POLICY_TASTE_ITEMS + 1 };
    room r;
    room_open(&r);
    room_item(&r, "d", "\"genres\":[\"drame\"]");
    interaction in = did("ann", "d", INTERACTION_LIKE, 1);
    uint64_t lsn[CONTES];
    room_did(&r, &in, NULL);
    for (int i = 0; i < CONTES; i++) { /* nothing of which is liked */
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        room_item(&r, id, "\"genres\":[\"conte\"]");
        in = did("ann", id, INTERACTION_DISLIKE, 10 + i);
        lsn[i] = room_did(&r, &in, NULL);
    }
    policy_learner *l = learner_open(&r);
    policy_learner_states(l, 1u << POLICY_TASTE);
    room_learn(&r, l, 0, 100, lsn[CONTES - 1]);
    states found = {0};
    must(record_user_episodes(r.record, "ann", 64, states_row, &found, err));
    assert_string_equal(state_at(&found, lsn[POLICY_TASTE_ITEMS - 1]), "v1;taste=drame");
    assert_string_equal(state_at(&found, lsn[POLICY_TASTE_ITEMS]), "v1;taste=");
    policy_learner_close(l);
    room_close(&r);
}

/* ---- exactly once ---- */
enum { USERS = 7, ITEMS = 25, STREAM = 6000 };
static const char *const user_ids[USERS] = {"u0", "u1", "u2", "u3", "u4", "u5", "u6"};

/* Where an interaction came from: a list of random features, or nowhere. */
static char *random_list(rng *x) {
    int16_t rows[POLICY_SHOWN_MAX * POLICY_FEATURE_COUNT];
    size_t n = 2 + rng_below(x, POLICY_SHOWN_MAX - 1);
    float features[POLICY_FEATURE_COUNT];
    buf b;
    if (rng_below(x, 2)) return NULL;
    buf_init(&b, 0);
    for (size_t i = 0; i < n; i++) {
        for (int f = 0; f < POLICY_FEATURE_COUNT; f++) features[f] = (float)rng_normal(x);
        policy_shown_pack(features, rows + i * POLICY_FEATURE_COUNT);
    }
    assert_true(buf_puts(&b, "{\"position\":1") && policy_shown_print(rows, n, rng_below(x, n), &b) &&
                buf_putc(&b, '}'));
    return buf_steal(&b);
}

static void fill(room *r, uint64_t seed, size_t n) {
    static const char *const genres[] = {"drame", "essai", "western", "policier", "conte"};
    static const char *const devices[] = {"tv", "phone", ""};
    static const char *const dayparts[] = {"evening", "morning"};
    static const char *const sessions[] = {"", "s1", "s2"}, *const regions[] = {"", "CA", "fr"};
    char ids[ITEMS][8];
    rng x;
    rng_seed(&x, seed);
    for (uint32_t i = 0; i < ITEMS; i++) {
        char fields[160];
        snprintf(ids[i], sizeof ids[i], "i%u", i);
        const char *second = i % 3 ? genres[(i + 2) % 5] : "autre";
        snprintf(fields, sizeof fields, "\"duration_s\":%u,\"genres\":[\"%s\",\"%s\"]", i % 4 ? 600 + i : 1,
                 genres[i % 5], second);
        room_item(r, ids[i], i == 7 ? "" : fields);
    }
    interaction *list = calloc(n, sizeof *list);
    char **lists = calloc(n, sizeof *lists);
    assert_true(list && lists);
    for (size_t i = 0; i < n; i++) {
        lists[i] = random_list(&x);
        list[i] = did(user_ids[rng_below(&x, USERS)], ids[rng_below(&x, ITEMS)],
                      (interaction_type)rng_below(&x, INTERACTION_TYPES),
                      ((int64_t)i - (int64_t)rng_below(&x, 60)) * 1000); /* some arrive late */
        list[i].watch_s = (int32_t)rng_below(&x, 700);
        if (list[i].type == INTERACTION_RATE) list[i].rating = 0.5 * (double)(1 + rng_below(&x, 10));
        list[i].device = devices[rng_below(&x, 3)];
        list[i].daypart = dayparts[rng_below(&x, 2)];
        list[i].session = sessions[rng_below(&x, 3)];
        list[i].region = regions[rng_below(&x, 3)];
        list[i].simulated = rng_below(&x, 2);
    }
    room_did_from(r, list, lists, n);
    for (size_t i = 0; i < n; i++) free(lists[i]);
    free(lists);
    free(list);
}

static char *clean_pass(uint64_t seed, size_t n, size_t batch) {
    room r;
    room_open(&r);
    fill(&r, seed, n);
    uint64_t head = record_head(r.record);
    policy_learner *l = learner_open_all(&r);
    assert_int_equal(room_learn(&r, l, 0, batch, head), head);
    assert_int_equal(cursor_of(&r), head);
    policy_learner_close(l);
    char *text = dump(&r, user_ids, USERS);
    assert_int_equal(info_of(&r).episodes, n);
    room_close(&r);
    return text;
}

static void repeated_delivery_and_reopening_leave_what_one_pass_leaves(void **state) {
    (void)state;
    uint64_t seed = test_seed("learner");
    char *want = clean_pass(seed, STREAM, 1000);
    room r;
    room_open(&r);
    fill(&r, seed, STREAM);
    uint64_t head = record_head(r.record), at = 0;
    rng x;
    rng_seed(&x, seed + 1);
    policy_learner *l = learner_open_all(&r);
    unsigned rounds = 0;
    while (at < head) {
        uint64_t back = rng_below(&x, 300), from = at > back ? at - back : 0; /* delivered again */
        at = room_learn(&r, l, from, 1 + rng_below(&x, 500), from + 1 + rng_below(&x, 900) > head ? head : from + 900);
        if (rng_below(&x, 3) == 0) { /* the process ends and comes back */
            policy_learner_close(l);
            record_close(r.record);
            room_open_record(&r);
            l = learner_open_all(&r);
            if (cursor_of(&r) < at) at = cursor_of(&r);
        }
        rounds++;
    }
    room_learn(&r, l, 0, 777, head); /* and all of it once more */
    policy_learner_close(l);
    char *got = dump(&r, user_ids, USERS);
    assert_true(rounds > 5);
    assert_true(strstr(got, "|ranking|") && strstr(got, "|linear|") && strstr(got, "u3|offset|") &&
                strstr(got, "v1;cohort;region=FR") && strstr(got, ";taste=drame") && strstr(got, ";taste=|"));
    assert_string_equal(got, want);
    free(got);
    free(want);
    room_close(&r);
}

/* A process of its own that learns, and says so after each batch. */
static void learn_until_killed(room *r, int told) {
    r->record = NULL;
    room_open_record(r);
    policy_learner *l = learner_open_all(r);
    uint64_t head = record_head(r->record), at = cursor_of(r);
    while (at < head) {
        at = room_learn(r, l, at, 60, at + 60 < head ? at + 60 : head);
        if (write(told, "x", 1) != 1) break;
    }
    for (;;) pause(); /* whoever is to kill it has not yet */
}

static void killed_anywhere_it_leaves_what_one_pass_leaves(void **state) {
    (void)state;
    enum { KILLS = 12, LIVES = 1500 };
    char *want = clean_pass(9, LIVES, 1000);
    room r;
    room_open(&r);
    fill(&r, 9, LIVES);
    record_close(r.record);
    rng x;
    rng_seed(&x, 9);
    for (int i = 0; i < KILLS; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) learn_until_killed(&r, ends[1]);
        close(ends[1]);
        char told;
        for (uint64_t n = 1 + rng_below(&x, 3); n > 0; n--)
            if (read(ends[0], &told, 1) != 1) break;
        /* so that it dies anywhere in its next batch */
        struct timespec nap = {.tv_nsec = (long)rng_below(&x, 3000000)};
        nanosleep(&nap, NULL);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        close(ends[0]);
    }
    r.record = NULL;
    room_open_record(&r);
    uint64_t head = record_head(r.record), at = cursor_of(&r);
    policy_learner *l = learner_open_all(&r);
    assert_true(at > 0);
    room_learn(&r, l, at > 90 ? at - 90 : 0, 1000, head); /* some of it once more */
    policy_learner_close(l);
    char *got = dump(&r, user_ids, USERS);
    assert_string_equal(got, want);
    free(got);
    free(want);
    room_close(&r);
}

/* A random stream of one person after the other; before each step the state that an answer would have had is noted. */
static void answers_have_the_state_that_is_learned_afterwards(void **state) {
    (void)state;
    enum { STEPS = 700 };
    uint64_t seed = test_seed("taste");
    static const char *const genres[] = {"drame", "essai", "western", "conte"};
    room r;
    room_open(&r);
    rng x;
    rng_seed(&x, seed);
    char ids[ITEMS][8];
    for (uint32_t i = 0; i < ITEMS; i++) {
        char fields[160];
        snprintf(ids[i], sizeof ids[i], "i%u", i);
        snprintf(fields, sizeof fields, "\"duration_s\":600,\"genres\":[\"%s\",\"%s\"],\"themes\":[\"drame\"]",
                 genres[rng_below(&x, 4)], genres[rng_below(&x, 4)]);
        room_item(&r, ids[i], i == 7 ? "" : fields);
    }
    policy_profiles *profiles = NULL;
    must(policy_profiles_open(r.record, r.people, r.cat, &test_limits, 3, &clock_system, r.m, &profiles, err));
    char(*said)[64] = calloc(STEPS, sizeof *said);
    uint64_t lsn[STEPS];
    const char *who[STEPS];
    assert_non_null(said);
    for (int i = 0; i < STEPS; i++) {
        const policy_profile *p = NULL;
        policy_state s;
        uint32_t num;
        interaction in = did(user_ids[rng_below(&x, USERS)], ids[rng_below(&x, ITEMS)],
                             (interaction_type)rng_below(&x, INTERACTION_TYPES), i - (int64_t)rng_below(&x, 30));
        in.watch_s = (int32_t)rng_below(&x, 700);
        if (in.type == INTERACTION_RATE) in.rating = 5;
        must(policy_profile_get(profiles, in.user, 0, &p, err));
        policy_state_make(1u << POLICY_TASTE, "", "", "", "", in.at, &s);
        policy_state_taste(&s, p->taste);
        snprintf(said[i], sizeof said[i], "%.63s", s.text);
        policy_profile_release(p);
        lsn[i] = room_did(&r, &in, &num);
        policy_profile_moved(profiles, &in, num, lsn[i]);
        who[i] = in.user;
    }
    policy_learner *l = learner_open(&r);
    policy_learner_states(l, 1u << POLICY_TASTE);
    room_learn(&r, l, 0, 1 + rng_below(&x, 90), lsn[STEPS - 1]);
    unsigned with = 0;
    for (int u = 0; u < USERS; u++) {
        chain_states c = {.said = said, .lsn = lsn, .count = STEPS};
        must(record_user_episodes(r.record, user_ids[u], SIZE_MAX, chain_states_row, &c, err));
        for (int i = 0; i < STEPS; i++) c.wanted += who[i] == user_ids[u];
        assert_int_equal(c.met, c.wanted);
        with += c.with;
    }
    assert_true(with > STEPS / 2);
    policy_learner_close(l);
    policy_profiles_close(profiles);
    free(said);
    room_close(&r);
}

static void a_batch_of_any_size_gives_the_same(void **state) {
    (void)state;
    char *small = clean_pass(5, 5000, 97), *large = clean_pass(5, 5000, 100000);
    assert_string_equal(small, large);
    free(small);
    free(large);
}

static void posteriors_are_those_of_the_arithmetic(void **state) {
    (void)state;
    room r;
    room_open(&r);
    room_item(&r, "a", "\"genres\":[\"drame\"]");
    room_item(&r, "b", "\"genres\":[\"drame\",\"essai\"]");
    policy_posterior drame = policy_prior(), ann = policy_prior();
    rng x;
    rng_seed(&x, 1);
    interaction list[120];
    for (int i = 0; i < 120; i++) {
        bool b = rng_below(&x, 2), of_ann = rng_below(&x, 2), liked = rng_below(&x, 3) > 0;
        list[i] = did(of_ann ? "ann" : "bob", b ? "b" : "a", liked ? INTERACTION_LIKE : INTERACTION_SKIP, i);
        policy_update(&drame, liked);
        if (of_ann) policy_update(&ann, liked);
    }
    room_did_many(&r, list, 120);
    policy_learner *l = learner_open(&r);
    room_learn(&r, l, 0, 13, record_head(r.record));
    found_policy all = room_policy(&r, "", "", "genres=drame"), hers = room_policy(&r, "ann", "", "genres=drame");
    assert_true(all.row.mean == drame.mean && all.row.variance == drame.variance && all.row.count == 120);
    assert_true(hers.row.mean == ann.mean && hers.row.variance == ann.variance && hers.row.count == ann.count);
    policy_learner_close(l);
    room_close(&r);
}

/* ---- rest ---- */
static void policy_rows_alone_make_it_write_nothing(void **state) {
    (void)state;
    room r;
    room_open(&r);
    fill(&r, 3, 6000);
    uint64_t head = record_head(r.record);
    policy_learner *l = learner_open(&r);
    room_learn(&r, l, 0, 4, head); /* small batches: each logs its people */
    uint64_t learned = record_head(r.record);
    assert_true(learned > head + 2000);     /* more than it lets the cursor lag behind other changes */
    room_learn(&r, l, head, 5000, learned); /* its own rows come back to it */
    assert_int_equal(record_head(r.record), learned);
    assert_int_equal(cursor_of(&r), head);
    policy_learner_close(l);
    room_close(&r);
}

static void other_changes_move_the_stored_cursor_now_and_then(void **state) {
    (void)state;
    room r;
    room_open(&r);
    static user people[1100];
    static char ids[1100][16];
    static record_change changes[1100];
    for (int i = 0; i < 1100; i++) {
        snprintf(ids[i], sizeof ids[i], "u%d", i);
        people[i] = (user){.id = ids[i],
                           .name = "",
                           .description = "",
                           .region = "",
                           .age = -1,
                           .tier = -1,
                           .mood = "",
                           .context = ""};
        changes[i] = (record_change){.kind = RECORD_USER, .user = &people[i]};
    }
    must(record_write(r.record, changes, 1100, (record_write_flags){0}, err));
    policy_learner *l = learner_open(&r);
    uint64_t head = record_head(r.record);
    room_learn(&r, l, 0, 100, 900);
    assert_int_equal(cursor_of(&r), 0);
    room_learn(&r, l, 900, 100, head);
    assert_true(cursor_of(&r) >= 1000 && cursor_of(&r) <= head);
    assert_int_equal(record_head(r.record), head);
    policy_learner_close(l);
    room_close(&r);
}

static void behind_a_feed_it_catches_up_and_comes_to_rest(void **state) {
    (void)state;
    room r;
    room_open(&r);
    policy_learner *l = learner_open(&r);
    feed_options o = {
        .name = POLICY_LEARNER_NAME, .apply = policy_learner_apply, .ctx = l, .clock = &clock_system, .metrics = r.m};
    feed *f = NULL;
    must(feed_start(r.record, &o, &f, err));
    fill(&r, 9, 3000);
    uint64_t head = record_head(r.record);
    assert_true(feed_wait(f, head, clock_mono_ns(&clock_system) + INT64_C(60000000000)));
    uint64_t learned = record_head(r.record);
    assert_true(feed_wait(f, learned, clock_mono_ns(&clock_system) + INT64_C(60000000000)));
    assert_int_equal(record_head(r.record), learned);
    feed_stop(f);
    policy_learner_close(l);
    assert_int_equal(info_of(&r).episodes, 3000);
    room_close(&r);
}

/* ---- what is gone ---- */
static bool count_policy(void *ctx, const record_policy *row) {
    (void)row;
    ++*(size_t *)ctx;
    return true;
}

static void the_removed_are_skipped_without_a_word(void **state) {
    (void)state;
    room r;
    room_open(&r);
    room_item(&r, "a", "\"genres\":[\"drame\"]");
    room_item(&r, "gone", "\"genres\":[\"essai\"]");
    interaction list[] = {did("ann", "a", INTERACTION_LIKE, 1), did("gone", "a", INTERACTION_LIKE, 2),
                          did("ann", "gone", INTERACTION_LIKE, 3)};
    room_did_many(&r, list, 3);
    arena *a = arena_new(4096);
    record_log_entry *entries = NULL;
    size_t n = 0;
    uint64_t upto = 0;
    must(record_log_read(r.record, 0, RECORD_MASK_ALL, 100, a, &entries, &n, &upto, err)); /* read before they go */
    room_remove_user(&r, "gone");
    item gone = {.id = "gone"};
    record_change c = {.kind = RECORD_ITEM, .remove = true, .item = &gone};
    room_write(&r, &c);
    policy_learner *l = learner_open(&r);
    must(policy_learner_apply(l, entries, n, entries[n - 1].lsn, a, err));
    assert_int_equal(info_of(&r).episodes, 1);
    assert_true(room_policy(&r, "", "", "genres=drame").row.count == 1);
    assert_false(room_policy(&r, "", "", "genres=essai").there);
    size_t rows = 0;
    must(record_user_policies(r.record, NULL, "gone", count_policy, &rows, err));
    assert_int_equal(rows, 0);
    assert_int_equal(cursor_of(&r), entries[n - 1].lsn);
    arena_free(a);
    policy_learner_close(l);
    room_close(&r);
}

static void a_changed_item_is_learned_with_its_new_genres(void **state) {
    (void)state;
    room r;
    room_open(&r);
    room_item(&r, "a", "\"genres\":[\"drame\"]");
    interaction in = did("ann", "a", INTERACTION_LIKE, 1);
    uint64_t lsn = room_did(&r, &in, NULL);
    policy_learner *l = learner_open(&r);
    room_learn(&r, l, 0, 100, lsn);
    room_item(&r, "a", "\"genres\":[\"essai\"]");
    uint64_t head = room_did(&r, &in, NULL);
    room_learn(&r, l, lsn, 100, head);
    assert_true(room_policy(&r, "ann", "", "genres=drame").row.count == 1);
    assert_true(room_policy(&r, "ann", "", "genres=essai").row.count == 1);
    policy_learner_close(l);
    room_close(&r);
}

static void an_item_of_very_many_genres_is_learned(void **state) {
    (void)state;
    room r;
    room_open(&r);
    char fields[4000] = "\"genres\":[";
    for (int i = 0; i < 256; i++) snprintf(fields + strlen(fields), 16, "%s\"g%d\"", i ? "," : "", i);
    strcat(fields, "]");
    room_item(&r, "a", fields);
    char ids[300][16];
    interaction list[300];
    for (int i = 0; i < 300; i++) { /* 300 people x 512 keys: more than one transaction may hold */
        snprintf(ids[i], sizeof ids[i], "u%d", i);
        list[i] = did(ids[i], "a", INTERACTION_LIKE, i);
    }
    room_did_many(&r, list, 300);
    policy_learner *l = learner_open(&r);
    uint64_t head = record_head(r.record);
    room_learn(&r, l, 0, 1000, head);
    assert_int_equal(info_of(&r).episodes, 300);
    assert_true(room_policy(&r, "", "", "genres=g255").row.count == 300);
    assert_true(room_policy(&r, "u299", "", "genres=g255").row.count == 1);
    assert_int_equal(cursor_of(&r), head);
    policy_learner_close(l);
    room_close(&r);
}

static void a_batch_that_could_not_be_written_stays_to_be_done(void **state) {
    (void)state;
    room r;
    room_open(&r);
    fill(&r, 2, 50);
    record_close(r.record);
    record_options o = {.path = r.path, .read_only = true, .readers = 2, .clock = &clock_system};
    must(record_open(record_find("sqlite"), &o, &r.record, err));
    policy_rows_close(r.rows);
    must(policy_rows_open(r.record, NULL, 0, r.m, &r.rows, err));
    policy_learner *l = learner_open(&r);
    arena *a = arena_new(4096);
    record_log_entry *entries = NULL;
    size_t n = 0;
    uint64_t upto = 0;
    must(record_log_read(r.record, 0, RECORD_MASK_ALL, 1000, a, &entries, &n, &upto, err));
    for (int i = 0; i < 3; i++) { /* a batch taken for done would succeed the second time */
        braid_error refused = {0};
        assert_int_equal(policy_learner_apply(l, entries, n, entries[n - 1].lsn, a, &refused), BRAID_E_READ_ONLY);
    }
    catalogue_card card;
    assert_true(catalogue_get_card(r.cat, 1, r.a, &card));
    assert_true(card.interactions == 0);
    arena_free(a);
    policy_learner_close(l);
    room_close(&r);
}

/* ---- speed: printed ---- */
static void measure(const char *what, size_t people, size_t items, size_t genres, size_t n, bool taste) {
    room r;
    room_open(&r);
    rng x;
    rng_seed(&x, 4);
    char(*item_ids)[32] = calloc(items, sizeof *item_ids), (*people_ids)[32] = calloc(people, sizeof *people_ids);
    interaction *list = calloc(n, sizeof *list);
    assert_true(item_ids && people_ids && list);
    for (size_t i = 0; i < people; i++) snprintf(people_ids[i], sizeof people_ids[i], "viewer-%04zu", i);
    for (size_t i = 0; i < items; i++) {
        char fields[160];
        snprintf(item_ids[i], sizeof item_ids[i], "i%zu", i);
        snprintf(fields, sizeof fields, "\"duration_s\":6000,\"genres\":[\"g%zu\",\"g%zu\"]", i % genres,
                 (i * 7 + 3) % genres);
        room_item(&r, item_ids[i], fields);
    }
    for (size_t i = 0; i < n; i++) {
        list[i] = did(people_ids[rng_below(&x, people)], item_ids[rng_below(&x, items)],
                      (interaction_type)rng_below(&x, 6), (int64_t)i);
        list[i].daypart = rng_below(&x, 2) ? "evening" : "night";
        list[i].device = rng_below(&x, 4) ? "tv" : "phone";
        list[i].watch_s = 3000;
    }
    room_did_many(&r, list, n);
    uint64_t head = record_head(r.record);
    policy_learner *l = learner_open(&r);
    if (taste) policy_learner_states(l, POLICY_STATE_MOMENT | 1u << POLICY_TASTE);
    double start = test_ms();
    room_learn(&r, l, 0, 10000, head);
    double ms = test_ms() - start;
    print_message("%s: %zu interactions in %.0f ms: %.0f a second; %llu policy rows written\n", what, n, ms,
                  (double)n / ms * 1000, (unsigned long long)(record_head(r.record) - head));
    assert_int_equal(info_of(&r).episodes, n);
    policy_learner_close(l);
    room_close(&r);
    free(list);
    free(item_ids);
    free(people_ids);
}

static void speed_in_large_batches(void **state) {
    (void)state;
    measure("10 people, 100 items, 8 genres", 10, 100, 8, SPEED_STREAM, false);
    measure("120 people, 400 items, 25 genres", 120, 400, 25, SPEED_STREAM, false);
    measure("the same with taste in states", 120, 400, 25, SPEED_STREAM, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interaction_moves_four_levels_of_each_genre),
        cmocka_unit_test(a_region_is_a_cohort_and_parts_that_are_not_wanted_are_in_no_state),
        cmocka_unit_test(an_episode_leads_to_the_next_state_of_its_session),
        cmocka_unit_test(what_is_chosen_is_learned_under_the_taste_before_it),
        cmocka_unit_test(ten_judgements_are_a_taste_and_older_ones_are_forgotten),
        cmocka_unit_test(answers_have_the_state_that_is_learned_afterwards),
        cmocka_unit_test(repeated_delivery_and_reopening_leave_what_one_pass_leaves),
        cmocka_unit_test(killed_anywhere_it_leaves_what_one_pass_leaves),
        cmocka_unit_test(a_batch_of_any_size_gives_the_same),
        cmocka_unit_test(posteriors_are_those_of_the_arithmetic),
        cmocka_unit_test(policy_rows_alone_make_it_write_nothing),
        cmocka_unit_test(other_changes_move_the_stored_cursor_now_and_then),
        cmocka_unit_test(behind_a_feed_it_catches_up_and_comes_to_rest),
        cmocka_unit_test(the_removed_are_skipped_without_a_word),
        cmocka_unit_test(a_changed_item_is_learned_with_its_new_genres),
        cmocka_unit_test(an_item_of_very_many_genres_is_learned),
        cmocka_unit_test(a_batch_that_could_not_be_written_stays_to_be_done),
        cmocka_unit_test(speed_in_large_batches),
    };
    return cmocka_run_group_tests_name("policy learner", tests, NULL, NULL);
}
