/* Interactions and relations. */
#include <math.h>

#include "model_test.h"

static arena *a;

static int with_arena(void **state) {
    (void)state;
    a = arena_new(4096);
    return a ? 0 : -1;
}

static int without_arena(void **state) {
    (void)state;
    arena_free(a);
    return 0;
}

static interaction *read_interaction(const char *text) {
    braid_error err = {0};
    json_t *json = parse(text);
    interaction *in = NULL;
    if (interaction_from_json(json, a, &in, &err)) {
        fail_msg("%s\n%s", err.message, text);
    }
    json_decref(json);
    return in;
}

static void refused(const char *text, int code, const char *part) {
    braid_error err = {0};
    json_t *json = parse(text);
    interaction *in = (interaction *)&err;
    int rc = interaction_from_json(json, a, &in, &err);
    assert_refused(rc, &err, code, part);
    assert_null(in);
    json_decref(json);
}

static void written_is(const interaction *in, const char *expected) {
    buf out;
    buf_init(&out, 0);
    assert_true(interaction_to_json(in, &out));
    assert_string_equal(out.data, expected);
    buf_free(&out);
}

static void what_is_not_said_has_its_absent_value(void **state) {
    (void)state;
    const char *text = "{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\"}";
    interaction *in = read_interaction(text);
    assert_string_equal(in->agent, "default");
    assert_string_equal(in->session, "");
    assert_string_equal(in->device, "");
    assert_int_equal(in->watch_s, -1);
    assert_true(isnan(in->rating));
    assert_true(in->at == TIME_NONE);
    assert_false(in->simulated);
    written_is(in, text);
    written_is(read_interaction("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"agent\":\"default\","
                                "\"context\":{},\"session\":\"\"}"),
               text);
}

static void all_fields_survive(void **state) {
    (void)state;
    const char *text =
        "{\"user\":\"u\",\"item\":\"m\",\"type\":\"rate\",\"watch_s\":0,\"rating\":4.5,"
        "\"at\":\"2026-11-21T20:15:00.123Z\",\"context\":"
        "{\"device\":\"tv\",\"daypart\":\"soir\",\"region\":\"FR\",\"mood\":\"calme\",\"simulated\":true},"
        "\"agent\":\"home\",\"session\":"
        "\"s\",\"recommendation_id\":\"r\",\"idempotency_key\":\"k\"}";
    interaction *in = read_interaction(text);
    assert_int_equal(in->type, INTERACTION_RATE);
    assert_int_equal(in->watch_s, 0);
    assert_true(in->simulated);
    assert_true(in->at == INT64_C(1795292100123));
    written_is(in, text);
}

static void every_type_has_a_name_that_reads_back(void **state) {
    (void)state;
    for (int t = 0; t < INTERACTION_TYPES; t++) {
        const char *name = interaction_type_name((interaction_type)t);
        interaction *in =
            read_interaction(arena_printf(a, "{\"user\":\"u\",\"item\":\"m\",\"type\":\"%s\",\"rating\":3}", name));
        assert_int_equal(in->type, t);
    }
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    refused("{\"item\":\"m\",\"type\":\"view\"}", BRAID_E_INVALID, "\"user\" is missing");
    refused("{\"user\":\"u\",\"type\":\"view\"}", BRAID_E_INVALID, "\"item\" is missing");
    refused("{\"user\":\"u\",\"item\":\"m\"}", BRAID_E_INVALID, "\"type\" is missing");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":null}", BRAID_E_INVALID, "\"type\" is missing");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"viewed\"}", BRAID_E_INVALID, "must be one of view, click");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":7}", BRAID_E_INVALID, "must be one of view, click");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"rate\"}", BRAID_E_INVALID, "needs a \"rating\"");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"rating\":0}", BRAID_E_INVALID, "0.5 to 5");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"rating\":5.01}", BRAID_E_INVALID, "0.5 to 5");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"watch_s\":604801}", BRAID_E_INVALID, "0 to 604800");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"watch_s\":-1}", BRAID_E_INVALID, "0 to 604800");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"watch_s\":1.5}", BRAID_E_INVALID, "whole number");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"at\":\"yesterday\"}", BRAID_E_INVALID, "RFC 3339");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"context\":{\"devise\":\"tv\"}}", BRAID_E_UNKNOWN_FIELD,
            "interaction.context: unknown field \"devise\"; did you mean \"device\"?");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"wach_s\":1}", BRAID_E_UNKNOWN_FIELD,
            "did you mean \"watch_s\"?");
    refused("{\"user\":\"u\",\"item\":\"m\",\"type\":\"view\",\"context\":{\"device\":1}}", BRAID_E_INVALID,
            "context.device");
}

/* ---- relations ---- */

static int relation_of(const char *text, relation **out, braid_error *err) {
    json_t *json = parse(text);
    *err = (braid_error){0};
    int rc = relation_from_json(json, a, out, err);
    json_decref(json);
    return rc;
}

static void relation_refused(const char *text, int code, const char *part) {
    braid_error err;
    relation *r = (relation *)&err;
    assert_refused(relation_of(text, &r, &err), &err, code, part);
    assert_null(r);
}

static void a_relation_reads_back_with_strength_1_by_default(void **state) {
    (void)state;
    braid_error err;
    relation *r;
    assert_int_equal(relation_of("{\"to\":\"b\",\"from\":\"a\",\"type\":\"SEQUEL_OF\"}", &r, &err), BRAID_OK);
    assert_true(r->strength == 1);
    buf out;
    buf_init(&out, 0);
    assert_true(relation_to_json(r, &out));
    assert_string_equal(out.data, "{\"from\":\"a\",\"to\":\"b\",\"type\":\"SEQUEL_OF\",\"strength\":1}");
    assert_int_equal(relation_of("{\"to\":\"b\",\"from\":\"a\",\"type\":\"T\",\"strength\":0.125}", &r, &err),
                     BRAID_OK);
    buf_reset(&out);
    assert_true(relation_to_json(r, &out));
    assert_string_equal(out.data, "{\"from\":\"a\",\"to\":\"b\",\"type\":\"T\",\"strength\":0.125}");
    buf_free(&out);
}

static void relation_types_are_upper_case_words(void **state) {
    (void)state;
    char type[66];
    memset(type, 'A', sizeof type);
    type[64] = '\0';
    assert_true(relation_type_valid(type));
    type[64] = 'A';
    type[65] = '\0';
    assert_false(relation_type_valid(type));
    assert_true(relation_type_valid("A_1"));
    const char *bad[] = {"", "a", "1A", "_A", "A-B", "A B", "É", "SEQUEL_of"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(relation_type_valid(bad[i]));
    }
}

static void a_relation_that_makes_no_sense_is_refused(void **state) {
    (void)state;
    relation_refused("{\"from\":\"a\",\"to\":\"b\"}", BRAID_E_INVALID, "\"type\" is missing");
    relation_refused("{\"from\":\"a\",\"to\":\"b\",\"type\":\"sequel\"}", BRAID_E_INVALID,
                     "\"sequel\" must be 1..64 of A-Z");
    relation_refused("{\"from\":\"a\",\"to\":\"a\",\"type\":\"T\"}", BRAID_E_INVALID, "the same item");
    relation_refused("{\"from\":\"a\",\"to\":\"b\",\"type\":\"T\",\"strength\":1.1}", BRAID_E_INVALID, "from 0 to 1");
    relation_refused("{\"from\":\"a\",\"to\":\"b\",\"type\":\"T\",\"strengh\":1}", BRAID_E_UNKNOWN_FIELD,
                     "\"strength\"?");
}

static void random_interactions_read_back_the_same(void **state) {
    (void)state;
    rng r = test_rng("interactions");
    for (int round = 0; round < 500; round++) {
        arena_reset(a);
        interaction in = {
            .user = random_text(&r, a, 1, 255, false),
            .item = random_text(&r, a, 1, 255, false),
            .agent = random_text(&r, a, 1, 255, false),
            .session = random_text(&r, a, 0, 255, false),
            .recommendation_id = random_text(&r, a, 0, 255, false),
            .idempotency_key = random_text(&r, a, 0, 255, false),
            .type = (interaction_type)rng_below(&r, INTERACTION_RATE),
            .watch_s = (int32_t)rng_below(&r, 604802) - 1,
            .rating = rng_below(&r, 2) ? NAN : 0.5 + 4.5 * rng_uniform(&r),
            .at = rng_below(&r, 2) ? TIME_NONE : (int64_t)rng_below(&r, UINT64_C(4000000000000)),
            .device = random_text(&r, a, 0, 255, false),
            .daypart = random_text(&r, a, 0, 255, false),
            .region = random_text(&r, a, 0, 255, false),
            .mood = random_text(&r, a, 0, 255, false),
            .simulated = rng_below(&r, 2),
        };
        buf text;
        buf_init(&text, 0);
        assert_true(interaction_to_json(&in, &text));
        interaction *again = read_interaction(text.data);
        assert_string_equal(again->user, in.user);
        assert_string_equal(again->mood, in.mood);
        assert_true(again->rating == in.rating || (isnan(again->rating) && isnan(in.rating)));
        assert_true(again->at == in.at && again->type == in.type && again->simulated == in.simulated);
        assert_int_equal(again->watch_s, in.watch_s);
        written_is(again, text.data);
        buf_free(&text);
    }
}

int main(void) {
#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, with_arena, without_arena)
    const struct CMUnitTest tests[] = {
        WITH_ARENA(what_is_not_said_has_its_absent_value),
        WITH_ARENA(all_fields_survive),
        WITH_ARENA(every_type_has_a_name_that_reads_back),
        WITH_ARENA(what_makes_no_sense_is_refused),
        WITH_ARENA(a_relation_reads_back_with_strength_1_by_default),
        WITH_ARENA(relation_types_are_upper_case_words),
        WITH_ARENA(a_relation_that_makes_no_sense_is_refused),
        WITH_ARENA(random_interactions_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
