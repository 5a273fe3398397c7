/* Rights are one rule, declared once an item: regions x window x age x tier. It holds on every path, cached answers
 * included, to the second. */
#include <time.h>

#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "32", "query.deadline_ms", "20000", NULL};

static void stamp(char out[32], time_t at) {
    struct tm t;
    gmtime_r(&at, &t);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &t);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    fixture_start(f, settings);
    put_all(
        f,
        "{\"id\":\"free\",\"title\":\"Libre partout\",\"genres\":[\"drame\"]}\n"
        "{\"id\":\"ca\",\"title\":\"Libre au Canada\",\"genres\":[\"drame\"],\"regions\":[\"CA\"]}\n"
        "{\"id\":\"adult\",\"title\":\"Libre aux adultes\",\"genres\":[\"drame\"],\"age_rating\":18}\n"
        "{\"id\":\"premium\",\"title\":\"Libre aux abonnés\",\"genres\":[\"drame\"],\"tier\":2}\n"
        "{\"id\":\"past\",\"title\":\"Libre autrefois\",\"genres\":[\"drame\"],\"available_until\":\"2020-01-01T00:00:00Z\"}\n"
        "{\"id\":\"future\",\"title\":\"Libre un jour\",\"genres\":[\"drame\"],\"available_from\":\"2999-01-01T00:00:00Z\"}\n"
        "{\"user\":{\"id\":\"kid\",\"name\":\"Kid\",\"constraints\":{\"region\":\"CA\",\"age\":10,\"tier\":0}}}\n"
        "{\"user\":{\"id\":\"mum\",\"name\":\"Mum\",\"constraints\":{\"region\":\"CA\",\"tier\":2,\"exclude\":{\"genres\":[\"horreur\"]},\"block\":[\"free\"]}}}\n"
        "{\"relation\":{\"from\":\"ca\",\"to\":\"past\",\"type\":\"RELATED_TO\"}}\n{\"relation\":{\"from\":\"ca\",\"to\":\"future\",\"type\":\"RELATED_TO\"}}\n");
    settle(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_end(*state);
    free(*state);
    return 0;
}

static void expect(fixture *f, braid_question q, const char *request, const char *wanted) {
    json_t *a = ask(f, q, request);
    char got[200] = "";
    static const char *const ids[] = {"adult", "ca", "free", "future", "past", "premium"};
    for (size_t i = 0; i < 6; i++)
        if (has_result(a, ids[i])) snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", ids[i]);
    if (strcmp(got, wanted)) fail_msg("%s: expected [%s], got [%s]", request, wanted, got);
    json_decref(a);
}

static void an_unknown_region_sees_only_what_is_free_everywhere(void **state) {
    expect(*state, BRAID_SEARCH, "{\"text\":\"libre\"}", "adult free premium ");
    json_t *a = ask(*state, BRAID_SEARCH, "{\"text\":\"libre\"}");
    assert_non_null(strstr(json_string_value(json_array_get(json_object_get(a, "notes"), 0)), "region"));
    json_decref(a);
}

static void region_age_and_tier_hold_on_every_strategy(void **state) {
    static const char *const strategies[] = {"vector_only", "hybrid_parallel", "hybrid_sequential", "cached_only"};
    for (size_t i = 0; i < 4; i++) {
        char request[200];
        snprintf(request, sizeof request,
                 "{\"text\":\"libre\",\"strategy\":\"%s\",\"context\":{\"region\":\"CA\",\"age\":12,\"tier\":0}}",
                 strategies[i]);
        expect(*state, BRAID_SEARCH, request, "ca free ");
    }
    expect(*state, BRAID_SEARCH, "{\"text\":\"libre\",\"context\":{\"region\":\"CA\",\"age\":18,\"tier\":2}}",
           "adult ca free premium ");
}

static void the_request_narrows_the_persons_rights_and_never_widens_them(void **state) {
    expect(*state, BRAID_RECOMMEND, "{\"user\":\"kid\"}", "ca free ");
    expect(*state, BRAID_RECOMMEND, "{\"user\":\"kid\",\"context\":{\"age\":18,\"tier\":2}}", "ca free ");
    expect(*state, BRAID_RECOMMEND, "{\"user\":\"mum\",\"context\":{\"age\":12}}", "ca premium ");
}

static void blocked_items_never_come(void **state) {
    expect(*state, BRAID_RECOMMEND, "{\"user\":\"mum\"}", "adult ca premium ");
}

static void the_neighbourhood_keeps_to_rights_too(void **state) {
    fixture *f = *state;
    char *json;
    braid_error err = {0};
    assert_int_equal(braid_similar(f->db, "free", 10, 3, &json, &err), BRAID_OK);
    assert_null(strstr(json, "\"past\""));
    assert_null(strstr(json, "\"future\""));
    braid_free(json);
}

/* A window that closes while an answer lies in the cache. */
static void a_title_is_in_no_answer_from_the_second_its_window_ends(void **state) {
    fixture *f = *state;
    char until[32], text[300];
    time_t end = time(NULL) + 3;
    stamp(until, end);
    snprintf(text, sizeof text,
             "{\"id\":\"soon\",\"title\":\"Bientôt parti zigzag\",\"genres\":[\"western\"],\"available_until\":\"%s\"}",
             until);
    put_all(f, text);
    settle(f);
    bool seen_before = false;
    for (int i = 0; i < 500; i++) {
        struct timespec before, after;
        clock_gettime(CLOCK_REALTIME, &before);
        json_t *a = ask(f, BRAID_SEARCH, "{\"text\":\"bientôt parti zigzag\",\"k\":1}");
        clock_gettime(CLOCK_REALTIME, &after);
        bool shown = has_result(a, "soon");
        json_decref(a);
        if (after.tv_sec < end) {
            assert_true(shown);
            seen_before = true;
        } else if (before.tv_sec >= end) {
            assert_false(shown);
            assert_true(seen_before);
            return;
        }
        usleep(20000);
    }
    fail_msg("the window never ended");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_region_sees_only_what_is_free_everywhere),
        cmocka_unit_test(region_age_and_tier_hold_on_every_strategy),
        cmocka_unit_test(the_request_narrows_the_persons_rights_and_never_widens_them),
        cmocka_unit_test(blocked_items_never_come),
        cmocka_unit_test(the_neighbourhood_keeps_to_rights_too),
        cmocka_unit_test(a_title_is_in_no_answer_from_the_second_its_window_ends),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
