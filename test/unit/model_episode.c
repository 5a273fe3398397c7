/* Episodes as JSON. */
#include <math.h>

#include "model_test.h"

static int read_one(const char *text, arena *a, given_episode **out, braid_error *err) {
    json_t *json = parse(text);
    int rc = episode_from_json(json, a, out, err);
    json_decref(json);
    return rc;
}

static void what_is_not_said_has_its_absent_value(void **state) {
    (void)state;
    arena *a = arena_new(4096);
    given_episode *e = NULL;
    assert_int_equal(read_one("{\"user\":\"u\",\"item\":\"m\",\"reward\":0.5}", a, &e, NULL), BRAID_OK);
    assert_string_equal(e->agent, "default");
    assert_true(e->session[0] == '\0' && e->state[0] == '\0' && e->next_state[0] == '\0' &&
                e->idempotency_key[0] == '\0');
    assert_true(e->at == TIME_NONE && !e->done && e->vector == NULL && e->dim == 0 && e->reward == 0.5);
    arena_free(a);
}

static void what_is_read_is_written_again(void **state) {
    (void)state;
    const char *text =
        "{\"user\":\"u\",\"item\":\"m\",\"reward\":-2,\"done\":true,\"at\":\"2026-01-02T03:04:05Z\",\"agent\":\"x\","
        "\"session\":\"s\",\"state\":\"a=1\",\"next_state\":\"a=2\",\"state_vector\":[1,0.5,-3],"
        "\"idempotency_key\":\"k\"}";
    arena *a = arena_new(4096);
    given_episode *e = NULL;
    buf out;
    buf_init(&out, 0);
    assert_int_equal(read_one(text, a, &e, NULL), BRAID_OK);
    assert_true(e->dim == 3 && e->vector[2] == -3);
    assert_true(episode_to_json(e, &out));
    assert_string_equal(out.data, text);
    buf_free(&out);
    arena_free(a);
}

static void what_is_no_episode_is_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
        int code;
    } bad[] = {{"{\"item\":\"m\",\"reward\":1}", "user", BRAID_E_INVALID},
               {"{\"user\":\"u\",\"reward\":1}", "item", BRAID_E_INVALID},
               {"{\"user\":\"u\",\"item\":\"m\"}", "reward", BRAID_E_INVALID},
               {"{\"user\":\"u\",\"item\":\"m\",\"reward\":1e7}", "reward", BRAID_E_INVALID},
               {"{\"user\":\"u\",\"item\":\"m\",\"reward\":1,\"rewards\":1}", "reward", BRAID_E_UNKNOWN_FIELD},
               {"{\"user\":\"u\",\"item\":\"m\",\"reward\":1,\"state_vector\":[]}", "state_vector", BRAID_E_DIMENSION}};
    arena *a = arena_new(4096);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        braid_error err = {0};
        given_episode *e = (given_episode *)&err;
        int rc = read_one(bad[i].text, a, &e, &err);
        assert_refused(rc, &err, bad[i].code, bad[i].part);
        assert_null(e);
    }
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_not_said_has_its_absent_value),
                                       cmocka_unit_test(what_is_read_is_written_again),
                                       cmocka_unit_test(what_is_no_episode_is_refused_by_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
