/* The scorer: levels of back-off, one draw an action and answer, and what it costs. */
#include "policy_test.h"

static policy_state here(void) {
    policy_state s;
    policy_state_make(POLICY_STATE_MOMENT, "evening", "", "", "CA", 0, &s);
    return s;
}

static policy_scorer *scorer(room *r, const char *user_id, uint64_t seed) {
    policy_state s = here();
    policy_scorer *out = NULL;
    must(policy_scorer_new(r->rows, r->cat, "default", user_id, &s, seed, 0, r->a, &out, err));
    return out;
}

static catalogue_card card_of(room *r, uint32_t num) {
    catalogue_card card;
    assert_true(catalogue_get_card(r->cat, num, r->a, &card));
    return card;
}

/* What the row holds already: a policy is written as a whole. */
enum { KNOWN_MAX = 64 };
typedef struct known_actions {
    record_action list[KNOWN_MAX];
    size_t count;
} known_actions;
static bool keep_actions(void *ctx, size_t which, const record_policy *row) {
    known_actions *k = ctx;
    assert_int_equal(which, 0);
    for (size_t i = 0; i < row->action_count && k->count < KNOWN_MAX; i++) {
        k->list[k->count] = row->actions[i];
        k->list[k->count++].action = strdup(row->actions[i].action);
    }
    return true;
}

/* Adds an action to a policy. */
static void put_policy(room *r, const char *user_id, const char *hash, const char *action, double mean, double variance,
                       double count) {
    known_actions known = {0};
    record_policy_key key = {user_id, hash};
    must(record_get_policies(r->record, "default", &key, 1, 0, keep_actions, &known, err));
    assert_true(known.count < KNOWN_MAX);
    known.list[known.count++] = (record_action){action, mean, variance, count, UINT64_C(1) << 40};
    record_policy row = {.agent = "default",
                         .user = user_id,
                         .state_hash = hash,
                         .state = "",
                         .actions = known.list,
                         .action_count = known.count,
                         .version = UINT64_C(1) << 40};
    record_change c = {.kind = RECORD_POLICY, .policy = &row};
    room_write(r, &c);
    for (size_t i = 0; i + 1 < known.count; i++) free((char *)known.list[i].action);
}

static void neither_order_nor_company_changes_a_score(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t nums[40];
    for (int i = 0; i < 40; i++) {
        char id[16], fields[100];
        snprintf(id, sizeof id, "i%d", i);
        snprintf(fields, sizeof fields, "\"genres\":[\"g%d\",\"g%d\"],\"people\":[\"p%d\"]", i % 9, (i * 5) % 11, i);
        nums[i] = room_item(&r, id, fields);
    }
    put_policy(&r, "", "", "genres=g1", 0.9, 0.02, 100);
    policy_scorer *a = scorer(&r, "ann", 42), *b = scorer(&r, "ann", 42), *c = scorer(&r, "ann", 43);
    float scores[40];
    bool differs = false;
    for (int i = 0; i < 40; i++) {
        catalogue_card card = card_of(&r, nums[i]);
        scores[i] = policy_score_item(a, &card).sampled;
        assert_true(scores[i] >= 0 && scores[i] <= 1);
    }
    for (int i = 39; i >= 0; i -= 2) {
        catalogue_card card = card_of(&r, nums[i]);
        assert_true(policy_score_item(b, &card).sampled == scores[i]);
        assert_true(policy_score_item(b, &card).sampled == scores[i]); /* the second time too */
        differs |= policy_score_item(c, &card).sampled != scores[i];
    }
    assert_true(differs);
    room_close(&r);
}

static void the_person_outweighs_the_crowd_and_the_state_the_person(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t num = room_item(&r, "a", "\"genres\":[\"drame\"]");
    interaction in = did("ann", "a", INTERACTION_VIEW, 1); /* so that the store knows her */
    room_did(&r, &in, NULL);
    catalogue_card card = card_of(&r, num);
    policy_state s = here();
    assert_true(fabsf(policy_score_item(scorer(&r, "ann", 1), &card).mean - 0.5f) < 1e-6f);
    put_policy(&r, "", "", "genres=drame", 0.9, 0.01, 1000);
    policy_score crowd = policy_score_item(scorer(&r, "ann", 1), &card);
    assert_true(crowd.mean > 0.89f && crowd.count == 0);
    put_policy(&r, "", s.hash, "genres=drame", 0.7, 0.01, 1000);
    assert_true(fabsf(policy_score_item(scorer(&r, "ann", 1), &card).mean - 0.7f) < 0.01f);
    put_policy(&r, "", s.cohort, "genres=drame", 0.6, 0.01, 1000); /* the people of the region */
    assert_true(fabsf(policy_score_item(scorer(&r, "ann", 1), &card).mean - 0.6f) < 0.01f);
    put_policy(&r, "ann", "", "genres=drame", 0.3, 0.01, 100);
    policy_score person = policy_score_item(scorer(&r, "ann", 1), &card);
    assert_true(person.mean > 0.3f && person.mean < 0.35f && person.count == 100);
    put_policy(&r, "ann", s.hash, "genres=drame", 0.1, 0.01, 100);
    assert_true(policy_score_item(scorer(&r, "ann", 1), &card).mean < 0.15f);
    assert_int_equal(policy_score_item(scorer(&r, "ann", 1), &card).best, room_facet(&r, FIELD_GENRES, "drame"));
    assert_true(fabsf(policy_score_item(scorer(&r, "bob", 1), &card).mean - 0.6f) < 0.01f); /* not his */
    assert_true(fabsf(policy_score_item(scorer(&r, "", 1), &card).mean - 0.6f) < 0.01f);
    room_close(&r);
}

static void draws_over_seeds_follow_the_posterior(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t known = room_item(&r, "known", "\"genres\":[\"drame\"]"),
             none = room_item(&r, "none", "\"themes\":[\"exil\"]");
    put_policy(&r, "", "", "genres=drame", 0.45, 0.01, 1000);
    catalogue_card known_card = card_of(&r, known), none_card = card_of(&r, none);
    enum { N = 2000 };
    double sum = 0, squares = 0, none_sum = 0, none_squares = 0;
    unsigned explored = 0, explored_known = 0;
    for (uint64_t seed = 0; seed < N; seed++) {
        policy_scorer *s = scorer(&r, "", seed);
        policy_score k = policy_score_item(s, &known_card), n = policy_score_item(s, &none_card);
        sum += k.sampled;
        squares += (double)k.sampled * k.sampled;
        none_sum += n.sampled;
        none_squares += (double)n.sampled * n.sampled;
        explored += n.explored;
        explored_known += k.explored;
        assert_int_equal(n.best, UINT32_MAX);
        assert_true(n.explored == (n.sampled - n.mean > 0.15f));
        arena_reset(r.a);
        known_card = card_of(&r, known);
        none_card = card_of(&r, none);
    }
    double mean = sum / N, deviation = sqrt(squares / N - mean * mean), none_mean = none_sum / N;
    double none_deviation = sqrt(none_squares / N - none_mean * none_mean);
    assert_true(fabs(mean - 0.45) < 0.005 && fabs(deviation - sqrt(0.01 / 1008)) < 0.001);
    assert_true(fabs(none_mean - 0.5) < 0.02 && fabs(none_deviation - sqrt(0.08 / 4)) < 0.01); /* the prior */
    assert_true(explored > N / 10 && explored < N / 5 && explored_known == 0);
    room_close(&r);
}

/* The whole loop: recommend the best of two, see what happens, learn, again. */
static void a_person_comes_to_get_what_works_for_them(void **state) {
    (void)state;
    room r;
    room_open(&r);
    uint32_t nums[2] = {room_item(&r, "a", "\"genres\":[\"drame\"]"), room_item(&r, "b", "\"genres\":[\"western\"]")};
    const char *const ids[2] = {"a", "b"};
    policy_learner *l = NULL;
    must(policy_learner_open(r.record, r.rows, r.cat, NULL, r.m, &l, err));
    rng x;
    rng_seed(&x, 1);
    unsigned late = 0;
    uint64_t at = 0;
    for (int i = 0; i < 60; i++) {
        float best = -1;
        int choice = 0;
        policy_scorer *s = scorer(&r, "ann", rng_next(&x));
        for (int j = 0; j < 2; j++) {
            catalogue_card card = card_of(&r, nums[j]);
            float v = policy_score_item(s, &card).sampled;
            if (v > best) {
                best = v;
                choice = j;
            }
        }
        interaction in = did("ann", ids[choice],
                             rng_uniform(&x) < (choice ? 0.9 : 0.2) ? INTERACTION_COMPLETE : INTERACTION_SKIP, i);
        room_did(&r, &in, NULL);
        at = room_learn(&r, l, at, 100, record_head(r.record));
        late += i >= 30 && choice == 1;
        arena_reset(r.a);
    }
    print_message("the better genre in %u of the last 30 answers\n", late);
    assert_true(late >= 25);
    policy_learner_close(l);
    room_close(&r);
}

static void what_it_costs(void **state) {
    (void)state;
    room r;
    room_open(&r);
    enum { ITEMS = 1000, ROUNDS = 100 };
    uint32_t nums[ITEMS];
    for (int i = 0; i < 100; i++) {
        char id[16], fields[300];
        snprintf(id, sizeof id, "i%d", i);
        snprintf(fields, sizeof fields,
                 "\"genres\":[\"g%d\",\"g%d\"],\"themes\":[\"t%d\",\"t%d\"],"
                 "\"people\":[\"p%d\",\"p%d\",\"p%d\",\"p%d\"]",
                 i % 20, (i * 7) % 20, i % 30, i % 31, i, i + 1, i + 2, i + 3);
        nums[i] = room_item(&r, id, fields);
    }
    for (int i = 0; i < 20; i++) {
        char action[32];
        snprintf(action, sizeof action, "genres=g%d", i);
        put_policy(&r, "", "", action, 0.5, 0.05, 10);
        put_policy(&r, "", here().hash, action, 0.5, 0.05, 10);
    }
    double open = 0, score = 0;
    for (int round = 0; round < ROUNDS; round++) {
        arena_reset(r.a);
        catalogue_card cards[100];
        for (int i = 0; i < 100; i++) cards[i] = card_of(&r, nums[i]);
        double start = test_ms();
        policy_scorer *s = scorer(&r, "ann", (uint64_t)round);
        double opened = test_ms();
        for (int i = 0; i < ITEMS; i++) policy_score_item(s, &cards[i % 100]);
        open += opened - start;
        score += test_ms() - opened;
    }
    print_message("scorer: %.1f us to open, %.3f us an item of 8 facets\n", open / ROUNDS * 1000,
                  score / ROUNDS / ITEMS * 1000);
    room_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neither_order_nor_company_changes_a_score),
        cmocka_unit_test(the_person_outweighs_the_crowd_and_the_state_the_person),
        cmocka_unit_test(draws_over_seeds_follow_the_posterior),
        cmocka_unit_test(a_person_comes_to_get_what_works_for_them),
        cmocka_unit_test(what_it_costs),
    };
    return cmocka_run_group_tests_name("policy scorer", tests, NULL, NULL);
}
