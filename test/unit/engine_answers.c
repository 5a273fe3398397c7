/* Answers, as a caller sees them: strategies that differ, filters that are exact, k that is filled, pages that do
 * not repeat, reasons that are true. */
#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "64", "query.deadline_ms", "20000", NULL};
enum { ITEMS = 600 };

/* 600 items in ten topics; every tenth is rare; a chain of relations; ana has a history. */
static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    fixture_start(f, settings);
    static const char *const words[] = {"mer bateau île",      "montagne neige sommet", "ville nuit taxi",
                                        "désert sable soleil", "forêt loup arbre",      "guerre soldat front",
                                        "cuisine repas chef",  "musique piano scène",   "école enfant cour",
                                        "train voyage gare"};
    char *text = malloc(ITEMS * 600);
    size_t n = 0;
    for (int i = 0; i < ITEMS; i++)
        n += (size_t)sprintf(
            text + n,
            "{\"id\":\"i%03d\",\"title\":\"Film %d %s\",\"kind\":\"%s\",\"year\":%d,\"duration_s\":6000,\"language\":\"%s\",\"genres\":[\"g%d\"],\"themes\":[\"t%d\",\"t%d\"],"
            "\"synopsis\":\"%s, histoire numéro %d.\",\"attributes\":{\"bucket\":%d,\"rare\":%s}}\n",
            i, i, words[i % 10], i % 7 ? "film" : "documentary", 1950 + i % 70, i % 3 ? "fr" : "en", i % 5, i % 11,
            i % 13, words[i % 10], i, i % 100, i % 100 == 0 ? "true" : "false");
    for (int i = 0; i + 10 < ITEMS; i += 10)
        n += (size_t)sprintf(
            text + n, "{\"relation\":{\"from\":\"i%03d\",\"to\":\"i%03d\",\"type\":\"SEQUEL_OF\",\"strength\":0.9}}\n",
            i + 10, i);
    for (int i = 0; i < 5; i++)
        n += (size_t)sprintf(text + n,
                             "{\"interaction\":{\"user\":\"ana\",\"item\":\"i%03d\",\"type\":\"complete\"}}\n", i * 10);
    put_all(f, text);
    free(text);
    settle(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_end(*state);
    free(*state);
    return 0;
}

static void a_search_finds_its_words_and_says_why(void **state) {
    json_t *a = ask(*state, BRAID_SEARCH, "{\"text\":\"bateau sur la mer\",\"k\":5}");
    assert_int_equal(result_count(a), 5);
    for (size_t i = 0; i < 5; i++) {
        json_t *r = json_array_get(json_object_get(a, "results"), i);
        assert_int_equal(atoi(result_id(a, i) + 1) % 10, 0); /* the topic of the sea */
        assert_true(json_array_size(json_object_get(r, "because")) >= 1);
    }
    json_decref(a);
}

static void a_recommendation_weaves_three_strands(void **state) {
    json_t *a = ask(*state, BRAID_RECOMMEND, "{\"user\":\"ana\",\"k\":5,\"diversity\":0}");
    assert_int_equal(result_count(a), 5);
    assert_true(strand_of(a, 0, "vector") > 0 && strand_of(a, 0, "graph") > 0 && strand_of(a, 0, "policy") > 0);
    assert_false(json_is_true(json_object_get(a, "cold_start")));
    bool history = false;
    size_t i;
    json_t *why;
    json_array_foreach (json_object_get(json_array_get(json_object_get(a, "results"), 0), "because"), i, why)
        history |= strstr(json_string_value(why), "Film ") != NULL;
    assert_true(history);
    json_decref(a);
}

/* Where the topic of the session stands among the first ten. */
static int of_topic(const json_t *a, int topic) {
    int n = 0;
    for (size_t i = 0; i < result_count(a) && i < 10; i++) n += atoi(result_id(a, i) + 1) % 10 == topic;
    return n;
}

static void what_a_session_liked_leads_its_next_answer_and_is_not_shown_again(void **state) {
    fixture *f = *state;
    put_all(
        f,
        "{\"interaction\":{\"user\":\"zoe\",\"item\":\"i020\",\"type\":\"complete\"}}\n{\"interaction\":{\"user\":\"zoe\",\"item\":\"i030\",\"type\":\"complete\"}}\n"
        "{\"interaction\":{\"user\":\"zoe\",\"item\":\"i040\",\"type\":\"complete\"}}\n"
        "{\"interaction\":{\"user\":\"zoe\",\"item\":\"i007\",\"type\":\"complete\",\"session\":\"tonight\"}}");
    json_t *any = ask(f, BRAID_RECOMMEND, "{\"user\":\"zoe\",\"k\":10,\"diversity\":0,\"seed\":1}");
    json_t *now = ask(f, BRAID_RECOMMEND,
                      "{\"user\":\"zoe\",\"k\":10,\"diversity\":0,\"seed\":1,\"context\":{\"session\":\"tonight\"}}");
    json_t *other = ask(f, BRAID_RECOMMEND,
                        "{\"user\":\"zoe\",\"k\":10,\"diversity\":0,\"seed\":1,\"context\":{\"session\":\"another\"}}");
    print_message("of the session's topic: %d of 10 without it, %d with it\n", of_topic(any, 7), of_topic(now, 7));
    assert_true(of_topic(now, 7) > of_topic(any, 7));
    assert_int_equal(of_topic(other, 7), of_topic(any, 7));
    assert_false(has_result(now, "i007"));
    json_decref(any);
    json_decref(now);
    json_decref(other);
}

static void the_mood_and_context_of_a_persons_state_move_their_answers(void **state) {
    fixture *f = *state;
    put_all(
        f,
        "{\"id\":\"mood-film\",\"title\":\"Un soir\",\"genres\":[\"g1\"],\"moods\":[\"wistful\"],\"contexts\":[\"acadie\"]}");
    settle(f);
    double score[2];
    for (int i = 0; i < 2; i++) {
        put_all(
            f,
            i ? "{\"user\":{\"id\":\"leo\",\"preferences\":{\"genres\":{\"g1\":0.6}},\"state\":{\"mood\":\"wistful\",\"context\":\"acadie\"}}}"
              : "{\"user\":{\"id\":\"leo\",\"preferences\":{\"genres\":{\"g1\":0.6}}}}");
        json_t *a = ask(f, BRAID_SEARCH, "{\"text\":\"un soir\",\"user\":\"leo\",\"k\":3,\"seed\":1}");
        assert_string_equal(result_id(a, 0), "mood-film");
        score[i] = json_number_value(json_object_get(json_array_get(json_object_get(a, "results"), 0), "score"));
        json_decref(a);
    }
    print_message("score %.3f without, %.3f with them\n", score[0], score[1]);
    assert_true(score[1] > score[0]);
    put_all(f, "{\"delete\":{\"item\":\"mood-film\"}}");
    settle(f);
}

static void strategies_differ_in_what_they_run(void **state) {
    const struct {
        const char *name;
        bool vector, graph, policy;
    } want[] = {{"vector_only", true, false, false},
                {"graph_only", false, true, false},
                {"hybrid_parallel", true, true, true},
                {"hybrid_sequential", true, true, true},
                {"cached_only", false, false, true}};
    for (size_t i = 0; i < 5; i++) {
        char request[160];
        snprintf(request, sizeof request,
                 "{\"like\":\"i010\",\"user\":\"ana\",\"k\":5,\"strategy\":\"%s\",\"cache\":false}", want[i].name);
        json_t *a = ask(*state, BRAID_SEARCH, request);
        assert_string_equal(text_at(a, "strategy"), want[i].name);
        assert_int_equal(has_step(a, "vector"), want[i].vector);
        assert_int_equal(has_step(a, "graph"), want[i].graph);
        assert_int_equal(has_step(a, "policy"), want[i].policy);
        json_t *step = json_array_get(json_object_get(json_object_get(a, "plan"), "steps"), 0);
        assert_true(json_is_number(json_object_get(step, "estimate_us")) &&
                    json_is_number(json_object_get(step, "actual_us")));
        json_decref(a);
    }
}

static void the_plan_says_what_was_weighed(void **state) {
    fixture *f = *state;
    braid_error err = {0};
    braid_query *q;
    char *text;
    assert_int_equal(braid_query_new(f->db, BRAID_RECOMMEND, "{\"user\":\"ana\",\"filter\":{\"attributes.rare\":true}}",
                                     0, &q, &err),
                     BRAID_OK);
    assert_int_equal(braid_explain(f->db, q, &text, &err), BRAID_OK);
    json_t *whole = json_loads(text, 0, NULL), *plan = json_object_get(whole, "plan");
    assert_int_equal(json_array_size(json_object_get(plan, "candidates")), 5);
    assert_true(strlen(text_at(plan, "reason")) > 10);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(plan, "filter"), "matches")), 6);
    assert_int_equal(json_array_size(json_object_get(plan, "steps")), 0);
    json_decref(whole);
    braid_free(text);
    braid_query_free(q);
}

static void a_short_deadline_takes_a_single_strand(void **state) {
    json_t *a = ask(*state, BRAID_RECOMMEND, "{\"user\":\"ana\",\"k\":5,\"deadline_ms\":1,\"cache\":false}");
    if (((fixture *)*state)->mix) /* no server answers within a millisecond: the answer says what it lacks */
        assert_true(result_count(a) == 5 || json_array_size(json_object_get(a, "degraded")) > 0);
    else
        assert_int_equal(result_count(a), 5);
    json_decref(a);
}

/* ---- filters and k ---- */
static void filters_are_exact_in_membership(void **state) {
    json_t *a = ask(
        *state, BRAID_SEARCH,
        "{\"text\":\"ville nuit\",\"k\":50,\"filter\":{\"all\":[{\"genres\":{\"in\":[\"g2\"]}},{\"year\":{\"gte\":1990,\"lt\":2000}},{\"not\":{\"language\":\"en\"}}]}}");
    size_t expected = 0;
    for (int i = 0; i < ITEMS; i++)
        expected += i % 5 == 2 && 1950 + i % 70 >= 1990 && 1950 + i % 70 < 2000 && i % 3 != 0;
    assert_int_equal(result_count(a), expected < 50 ? expected : 50);
    for (size_t r = 0; r < result_count(a); r++) {
        int i = atoi(result_id(a, r) + 1);
        assert_true(i % 5 == 2 && 1950 + i % 70 >= 1990 && 1950 + i % 70 < 2000 && i % 3 != 0);
    }
    json_decref(a);
}

static void k_is_filled_under_a_one_percent_filter(void **state) {
    json_t *a = ask(*state, BRAID_RECOMMEND,
                    "{\"user\":\"ana\",\"k\":6,\"include_seen\":true,\"filter\":{\"attributes.rare\":true}}");
    assert_int_equal(result_count(a), 6);
    json_decref(a);
}

static void an_answer_that_is_short_says_why(void **state) {
    json_t *a = ask(*state, BRAID_SEARCH, "{\"text\":\"mer\",\"k\":10,\"filter\":{\"attributes.rare\":true}}");
    json_t *filled = json_object_get(a, "filled");
    assert_int_equal(json_integer_value(json_object_get(filled, "returned")), 6);
    assert_non_null(strstr(text_at(filled, "reason"), "6 match the filter"));
    json_decref(a);
}

static void k_is_filled_under_long_exclusion_lists(void **state) {
    char *request = malloc(ITEMS * 16 + 200);
    size_t n = (size_t)sprintf(request, "{\"text\":\"mer bateau\",\"k\":10,\"exclude\":[");
    for (int i = 0; i < ITEMS - 12; i++) n += (size_t)sprintf(request + n, "%s\"i%03d\"", i ? "," : "", i);
    sprintf(request + n, "]}");
    json_t *a = ask(*state, BRAID_SEARCH, request);
    assert_int_equal(result_count(a), 10);
    for (size_t i = 0; i < 10; i++) assert_true(atoi(result_id(a, i) + 1) >= ITEMS - 12);
    json_decref(a);
    free(request);
}

static void what_was_seen_is_not_shown_again_unless_asked(void **state) {
    json_t *a = ask(*state, BRAID_RECOMMEND, "{\"user\":\"ana\",\"k\":600}");
    assert_int_equal(result_count(a), ITEMS - 5);
    for (int i = 0; i < 5; i++) {
        char id[8];
        snprintf(id, sizeof id, "i%03d", i * 10);
        assert_false(has_result(a, id));
    }
    json_decref(a);
    a = ask(*state, BRAID_RECOMMEND, "{\"user\":\"ana\",\"k\":600,\"include_seen\":true}");
    assert_int_equal(result_count(a), ITEMS);
    json_decref(a);
}

/* ---- pages ---- */
static void the_next_page_repeats_nothing(void **state) {
    bool shown[ITEMS] = {false};
    char after[64] = "";
    for (int page = 0; page < 4; page++) {
        char request[200];
        snprintf(request, sizeof request, "{\"user\":\"ana\",\"k\":20%s%s%s}", page ? ",\"after\":\"" : "", after,
                 page ? "\"" : "");
        json_t *a = ask(*state, BRAID_RECOMMEND, request);
        assert_int_equal(result_count(a), 20);
        for (size_t i = 0; i < 20; i++) {
            int n = atoi(result_id(a, i) + 1);
            assert_false(shown[n]);
            shown[n] = true;
        }
        snprintf(after, sizeof after, "%s", text_at(a, "recommendation_id"));
        json_decref(a);
    }
    refuses(*state, BRAID_RECOMMEND, "{\"user\":\"ben\",\"after\":\"rdeadbeef\"}", BRAID_E_NOT_FOUND, "not known");
    char request[200];
    snprintf(request, sizeof request, "{\"user\":\"ben\",\"after\":\"%s\"}", after);
    refuses(*state, BRAID_RECOMMEND, request, BRAID_E_NOT_FOUND, "another person");
}

static void a_cached_answer_is_the_same_but_has_an_id_of_its_own(void **state) {
    json_t *a = ask(*state, BRAID_SEARCH, "{\"text\":\"piano et musique\",\"k\":7}"), *b = NULL;
    assert_false(json_is_true(json_object_get(a, "cached")));
    /* over a store that may be late, answers are not kept until it has caught up for sure */
    for (int tries = 0; tries < 200; tries++) {
        b = ask(*state, BRAID_SEARCH, "{\"k\":7,\"text\":\"piano et musique\"}");
        if (json_is_true(json_object_get(b, "cached"))) break;
        json_decref(a);
        a = b;
        usleep(100000);
    }
    assert_true(json_is_true(json_object_get(b, "cached")));
    assert_true(json_equal(json_object_get(a, "results"), json_object_get(b, "results")));
    assert_string_not_equal(text_at(a, "recommendation_id"), text_at(b, "recommendation_id"));
    json_decref(a);
    json_decref(b);
    a = ask(*state, BRAID_SEARCH, "{\"text\":\"piano et musique\",\"k\":7,\"filter\":{\"language\":\"fr\"}}");
    assert_false(json_is_true(json_object_get(a, "cached")));
    json_decref(a);
    a = ask(*state, BRAID_SEARCH, "{\"text\":\"piano et musique\",\"k\":7,\"strategy\":\"cached_only\"}");
    assert_true(json_is_true(json_object_get(a, "cached")));
    json_decref(a);
}

/* ---- somebody unknown ---- */
static void a_cold_user_gets_a_diverse_start_and_is_told(void **state) {
    json_t *a = ask(*state, BRAID_RECOMMEND, "{\"user\":\"nobody-knows\",\"k\":10}");
    assert_int_equal(result_count(a), 10);
    assert_true(json_is_true(json_object_get(a, "cold_start")));
    assert_true(json_array_size(json_object_get(a, "notes")) >= 1);
    unsigned genres = 0;
    for (size_t i = 0; i < 10; i++) genres |= 1u << (atoi(result_id(a, i) + 1) % 5);
    assert_true(__builtin_popcount(genres) >= 3);
    json_decref(a);
}

static void reciprocal_ranks_and_weights_change_the_order(void **state) {
    json_t *a = ask(*state, BRAID_SEARCH,
                    "{\"like\":\"i010\",\"k\":20,\"fusion\":{\"method\":\"weighted\",\"weights\":{\"vector\":1}}}");
    json_t *b = ask(*state, BRAID_SEARCH,
                    "{\"like\":\"i010\",\"k\":20,\"fusion\":{\"method\":\"weighted\",\"weights\":{\"graph\":1}}}");
    json_t *c = ask(*state, BRAID_SEARCH, "{\"like\":\"i010\",\"k\":20,\"fusion\":\"rrf\"}");
    assert_string_not_equal(result_id(a, 0), result_id(b, 0));
    assert_int_equal(result_count(c), 20);
    for (size_t i = 0; i + 1 < 20; i++) assert_true(strand_of(a, i, "vector") >= strand_of(a, i + 1, "vector"));
    json_decref(a);
    json_decref(b);
    json_decref(c);
}

static void diversity_spreads_genres(void **state) {
    unsigned spread[2] = {0, 0};
    for (int d = 0; d < 2; d++) {
        char request[120];
        snprintf(request, sizeof request, "{\"like\":\"i010\",\"k\":10,\"diversity\":%s}", d ? "0.9" : "0");
        json_t *a = ask(*state, BRAID_SEARCH, request);
        unsigned genres = 0;
        for (size_t i = 0; i < result_count(a); i++) genres |= 1u << (atoi(result_id(a, i) + 1) % 5);
        spread[d] = (unsigned)__builtin_popcount(genres);
        json_decref(a);
    }
    assert_true(spread[1] >= spread[0]);
}

static void english_is_spoken_on_request(void **state) {
    json_t *a = ask(*state, BRAID_SEARCH, "{\"like\":\"i010\",\"k\":3,\"lang\":\"en\"}");
    json_t *why = json_object_get(json_array_get(json_object_get(a, "results"), 0), "because");
    char *text = json_dumps(why, JSON_ENCODE_ANY);
    assert_true(strstr(text, "shares") || strstr(text, "sequel") || strstr(text, "close") ||
                strstr(text, "comes before"));
    free(text);
    json_decref(a);
}

/* ---- refusals ---- */
static bool connects(fixture *f, const char *id, const char *with) {
    char *json, quoted[64];
    braid_error err = {0};
    assert_int_equal(braid_similar(f->db, id, 10, 2, &json, &err), BRAID_OK);
    snprintf(quoted, sizeof quoted, "\"%s\"", with);
    bool there = strstr(json, quoted) != NULL;
    braid_free(json);
    return there;
}

/* What is kept of a remote graph is as new as what was waited for: a theme goes from one film to another, so that the
 * number of its members stays. */
static void a_theme_that_moves_is_seen_by_the_next_walk(void **state) {
    fixture *f = *state;
    put_all(f, "{\"item\":{\"id\":\"hub\",\"title\":\"Hub\",\"themes\":[\"wanders\"]}}\n"
               "{\"item\":{\"id\":\"here\",\"title\":\"Here\",\"themes\":[\"wanders\"]}}\n"
               "{\"item\":{\"id\":\"there\",\"title\":\"There\",\"themes\":[\"stays\"]}}");
    settle(f);
    for (int round = 0; round < 4; round++) {
        bool swapped = round % 2 == 1;
        assert_true(connects(f, "hub", swapped ? "there" : "here"));
        assert_false(connects(f, "hub", swapped ? "here" : "there"));
        put_all(f, swapped ? "{\"item\":{\"id\":\"here\",\"title\":\"Here\",\"themes\":[\"wanders\"]}}\n"
                             "{\"item\":{\"id\":\"there\",\"title\":\"There\",\"themes\":[\"stays\"]}}"
                           : "{\"item\":{\"id\":\"here\",\"title\":\"Here\",\"themes\":[\"stays\"]}}\n"
                             "{\"item\":{\"id\":\"there\",\"title\":\"There\",\"themes\":[\"wanders\"]}}");
        settle(f);
    }
}

static void bad_questions_are_refused_with_what_is_wrong(void **state) {
    const struct {
        braid_question question;
        const char *request;
        int code;
        const char *word;
    } bad[] = {
        {BRAID_SEARCH, "{", BRAID_E_INVALID, ""},
        {BRAID_SEARCH, "[]", BRAID_E_INVALID, "object"},
        {BRAID_SEARCH, "{}", BRAID_E_INVALID, "\"text\""},
        {BRAID_RECOMMEND, "{}", BRAID_E_INVALID, "\"user\""},
        {BRAID_RECOMMEND, "{\"user\":\"\"}", BRAID_E_INVALID, "user"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"k\":0}", BRAID_E_INVALID, "1 to 1000"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"k\":1000000000}", BRAID_E_INVALID, "1 to 1000"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"k\":2147483648}", BRAID_E_INVALID, "1 to 1000"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"top\":3}", BRAID_E_UNKNOWN_FIELD, "top"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"like\":\"i000\"}", BRAID_E_INVALID, "one of"},
        {BRAID_SEARCH, "{\"like\":\"i999\"}", BRAID_E_NOT_FOUND, "i999"},
        {BRAID_SEARCH, "{\"vector\":[1,2,3]}", BRAID_E_DIMENSION, "64"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"filter\":{\"gender\":\"x\"}}", BRAID_E_UNKNOWN_FIELD, "gender"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"strategy\":\"magic\"}", BRAID_E_INVALID, "hybrid_parallel"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"diversity\":2}", BRAID_E_INVALID, "0 to 1"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"context\":{\"planet\":\"x\"}}", BRAID_E_UNKNOWN_FIELD, "planet"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"min_lsn\":\"zzz\"}", BRAID_E_INVALID, "min_lsn"},
        {BRAID_SEARCH, "{\"text\":\"a\",\"min_lsn\":\"00000000-1\"}", BRAID_E_CONFLICT, "another database"},
        {BRAID_SEARCH, "{\"text\":\"\xff\xfe\"}", BRAID_E_UTF8, ""},
        {BRAID_RECOMMEND, "{\"user\":\"ana\",\"text\":\"a\"}", BRAID_E_UNKNOWN_FIELD, "text"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(*state, bad[i].question, bad[i].request, bad[i].code, bad[i].word);
    char *deep = malloc(200100);
    memset(deep, '[', 200000);
    deep[200000] = 0;
    refuses(*state, BRAID_SEARCH, deep, BRAID_E_TOO_LARGE, "deep");
    free(deep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_search_finds_its_words_and_says_why),
        cmocka_unit_test(a_recommendation_weaves_three_strands),
        cmocka_unit_test(what_a_session_liked_leads_its_next_answer_and_is_not_shown_again),
        cmocka_unit_test(the_mood_and_context_of_a_persons_state_move_their_answers),
        cmocka_unit_test(strategies_differ_in_what_they_run),
        cmocka_unit_test(the_plan_says_what_was_weighed),
        cmocka_unit_test(a_short_deadline_takes_a_single_strand),
        cmocka_unit_test(filters_are_exact_in_membership),
        cmocka_unit_test(k_is_filled_under_a_one_percent_filter),
        cmocka_unit_test(an_answer_that_is_short_says_why),
        cmocka_unit_test(k_is_filled_under_long_exclusion_lists),
        cmocka_unit_test(what_was_seen_is_not_shown_again_unless_asked),
        cmocka_unit_test(the_next_page_repeats_nothing),
        cmocka_unit_test(a_cached_answer_is_the_same_but_has_an_id_of_its_own),
        cmocka_unit_test(a_cold_user_gets_a_diverse_start_and_is_told),
        cmocka_unit_test(reciprocal_ranks_and_weights_change_the_order),
        cmocka_unit_test(diversity_spreads_genres),
        cmocka_unit_test(english_is_spoken_on_request),
        cmocka_unit_test(a_theme_that_moves_is_seen_by_the_next_walk),
        cmocka_unit_test(bad_questions_are_refused_with_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
