/* Learning, as a caller sees it: the next answer shows what was just done; repeats change nothing; a deleted person
 * is gone. */
#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "32", "query.deadline_ms", "20000", NULL};
enum { ITEMS = 60 };

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    fixture_start(f, settings);
    static const char *const genres[] = {"drame", "western", "comédie", "horreur"};
    char *text = malloc(ITEMS * 300);
    size_t n = 0;
    for (int i = 0; i < ITEMS; i++)
        n += (size_t)sprintf(
            text + n,
            "{\"id\":\"i%02d\",\"title\":\"Film %d\",\"duration_s\":6000,\"genres\":[\"%s\"],\"themes\":[\"t%d\"]}\n",
            i, i, genres[i % 4], i % 6);
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

static json_t *policy_of(fixture *f, const char *user) {
    char *text;
    braid_error err = {0};
    settle(f);
    if (braid_user_policy(f->db, user, &text, &err)) fail_msg("policy: %s", err.message);
    json_t *json = json_loads(text, 0, NULL);
    braid_free(text);
    return json;
}

static double action_count(const json_t *policy, const char *action) {
    size_t i, j;
    json_t *p, *a;
    json_array_foreach (json_object_get(policy, "policies"), i, p) {
        if (text_at(p, "state_hash")[0]) continue;
        json_array_foreach (json_object_get(p, "actions"), j, a)
            if (strcmp(text_at(a, "action"), action) == 0) return json_number_value(json_object_get(a, "count"));
    }
    return 0;
}

static void what_was_watched_is_gone_from_the_next_answer(void **state) {
    json_t *a = ask(*state, BRAID_RECOMMEND, "{\"user\":\"eve\",\"k\":5}");
    char first[16], text[200], id[64];
    snprintf(first, sizeof first, "%s", result_id(a, 0));
    snprintf(id, sizeof id, "%s", text_at(a, "recommendation_id"));
    json_decref(a);
    snprintf(text, sizeof text,
             "{\"interaction\":{\"user\":\"eve\",\"item\":\"%s\",\"type\":\"complete\",\"recommendation_id\":\"%s\"}}",
             first, id);
    put_all(*state, text);
    a = ask(*state, BRAID_RECOMMEND,
            "{\"user\":\"eve\",\"k\":60}"); /* without waiting: the person's own writes are visible */
    assert_false(has_result(a, first));
    assert_int_equal(result_count(a), ITEMS - 1);
    assert_int_equal(json_array_size(json_object_get(a, "degraded")), 0);
    json_decref(a);
}

static void liking_a_genre_brings_more_of_it_and_skipping_less(void **state) {
    fixture *f = *state;
    char text[200];
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof text, "{\"interaction\":{\"user\":\"fan\",\"item\":\"i%02d\",\"type\":\"like\"}}",
                 1 + i * 4);
        put_all(f, text);
        snprintf(text, sizeof text, "{\"interaction\":{\"user\":\"fan\",\"item\":\"i%02d\",\"type\":\"dislike\"}}",
                 3 + i * 4);
        put_all(f, text);
    }
    json_t *a = ask(f, BRAID_RECOMMEND, "{\"user\":\"fan\",\"k\":6,\"diversity\":0,\"seed\":7}");
    int westerns = 0, horrors = 0;
    for (size_t i = 0; i < 6; i++) {
        westerns += atoi(result_id(a, i) + 1) % 4 == 1;
        horrors += atoi(result_id(a, i) + 1) % 4 == 3;
    }
    assert_true(westerns >= 4);
    assert_int_equal(horrors, 0);
    assert_true(strand_of(a, 0, "policy") > 0.5);
    json_decref(a);
    json_t *p = policy_of(f, "fan");
    assert_true(action_count(p, "genres=western") == 6);
    json_decref(p);
}

static void a_repeated_key_changes_nothing(void **state) {
    fixture *f = *state;
    const char *line =
        "{\"user\":\"rep\",\"item\":\"i01\",\"type\":\"like\"}\n{\"user\":\"rep\",\"item\":\"i05\",\"type\":\"like\"}";
    json_t *one = put_as(f, BRAID_LINE_INTERACTION, "call-1", line),
           *two = put_as(f, BRAID_LINE_INTERACTION, "call-1", line);
    assert_int_equal(json_integer_value(json_object_get(one, "accepted")), 2);
    assert_int_equal(json_integer_value(json_object_get(one, "duplicates")), 0);
    assert_int_equal(json_integer_value(json_object_get(two, "accepted")), 2);
    assert_int_equal(json_integer_value(json_object_get(two, "duplicates")), 2);
    json_t *p = policy_of(f, "rep");
    assert_true(action_count(p, "genres=western") == 2);
    json_decref(p);
    json_decref(one);
    json_decref(two);
}

static void a_reward_finds_its_slate(void **state) {
    fixture *f = *state;
    json_t *a = ask(f, BRAID_RECOMMEND, "{\"user\":\"attr\",\"k\":5}");
    char text[300];
    snprintf(text, sizeof text,
             "{\"interaction\":{\"user\":\"attr\",\"item\":\"%s\",\"type\":\"like\",\"recommendation_id\":\"%s\"}}",
             result_id(a, 2), text_at(a, "recommendation_id"));
    put_all(f, text);
    char *json;
    braid_error err = {0};
    settle(f);
    assert_int_equal(braid_user_export(f->db, "attr", &json, &err), BRAID_OK);
    assert_non_null(strstr(json, text_at(a, "recommendation_id")));
    assert_non_null(strstr(json, "\"reward\":1"));
    braid_free(json);
    json_decref(a);
}

static void an_interaction_with_an_unknown_item_is_named_and_the_rest_is_kept(void **state) {
    json_t *r = put_as(
        *state, BRAID_LINE_INTERACTION, NULL,
        "{\"user\":\"x\",\"item\":\"i01\",\"type\":\"like\"}\n{\"user\":\"x\",\"item\":\"nowhere\",\"type\":\"like\"}\n{\"user\":\"x\",\"item\":\"i02\",\"type\":\"bite\"}\n{\"user\":\"x\",\"it");
    assert_int_equal(json_integer_value(json_object_get(r, "accepted")), 1);
    json_t *rejected = json_object_get(r, "rejected");
    assert_int_equal(json_array_size(rejected), 3);
    static const int lines[] = {2, 3, 4};
    for (size_t i = 0; i < 3; i++) {
        bool there = false;
        for (size_t j = 0; j < 3; j++)
            there |= json_integer_value(json_object_get(json_array_get(rejected, j), "line")) == lines[i];
        assert_true(there);
    }
    json_decref(r);
}

static void a_deleted_person_is_gone_from_everywhere(void **state) {
    fixture *f = *state;
    char *json = NULL;
    braid_error err = {0};
    put_all(
        f,
        "{\"user\":{\"id\":\"gone-person\",\"name\":\"Unusualname\"}}\n{\"interaction\":{\"user\":\"gone-person\",\"item\":\"i01\",\"type\":\"like\"}}");
    json_decref(ask(f, BRAID_RECOMMEND, "{\"user\":\"gone-person\"}"));
    settle(f);
    put_all(f, "{\"delete\":{\"user\":\"gone-person\"}}");
    settle(f);
    assert_int_equal(braid_get_user(f->db, "gone-person", &json, &err), BRAID_E_NOT_FOUND);
    assert_int_equal(braid_user_policy(f->db, "gone-person", &json, &err), BRAID_E_NOT_FOUND);
    assert_int_equal(braid_user_export(f->db, "gone-person", &json, &err), BRAID_E_NOT_FOUND);
    json_t *a = ask(f, BRAID_RECOMMEND, "{\"user\":\"gone-person\",\"k\":60}");
    assert_true(json_is_true(json_object_get(a, "cold_start")));
    assert_int_equal(result_count(a), ITEMS);
    json_decref(a);
    if (f->mix && test_mix_has_no_file()) return;
    /* After a checkpoint the name is in no byte of the file. */
    assert_int_equal(braid_checkpoint(f->db, &err), BRAID_OK);
    braid_close(f->db);
    f->db = NULL;
    FILE *file = fopen(f->path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(size);
    assert_int_equal(fread(bytes, 1, size, file), size);
    fclose(file);
    assert_null(memmem(bytes, size, "Unusualname", 11));
    assert_null(memmem(bytes, size, "gone-person", 11));
    free(bytes);
    if (fixture_open(f, settings, &err)) fail_msg("reopen: %s", err.message);
}

static void a_token_makes_a_write_visible_or_says_that_it_is_not(void **state) {
    fixture *f = *state;
    json_t *r = put(f, "{\"id\":\"new1\",\"title\":\"Tout nouveau xylophone\",\"genres\":[\"drame\"]}");
    char request[200];
    snprintf(request, sizeof request, "{\"text\":\"xylophone\",\"k\":1,\"min_lsn\":\"%s\"}", text_at(r, "lsn"));
    json_t *a = ask(f, BRAID_SEARCH, request);
    assert_string_equal(result_id(a, 0), "new1");
    json_decref(a);
    json_decref(r);
    put_all(f, "{\"delete\":{\"item\":\"new1\"}}");
    settle(f);
    a = ask(f, BRAID_SEARCH, "{\"text\":\"xylophone\",\"k\":60}");
    assert_false(has_result(a, "new1"));
    json_decref(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_watched_is_gone_from_the_next_answer),
        cmocka_unit_test(liking_a_genre_brings_more_of_it_and_skipping_less),
        cmocka_unit_test(a_repeated_key_changes_nothing),
        cmocka_unit_test(a_reward_finds_its_slate),
        cmocka_unit_test(an_interaction_with_an_unknown_item_is_named_and_the_rest_is_kept),
        cmocka_unit_test(a_deleted_person_is_gone_from_everywhere),
        cmocka_unit_test(a_token_makes_a_write_visible_or_says_that_it_is_not),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
