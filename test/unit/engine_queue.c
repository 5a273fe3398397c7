/* ack=queued: what is acknowledged before it is durable, when it is durable, and what can be lost. */
#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "16", "record.queue", "50", NULL};

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    fixture_start(f, settings);
    put_all(f, "{\"id\":\"f1\",\"title\":\"One\"}\n{\"id\":\"f2\",\"title\":\"Two\"}\n");
    settle(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_end(*state);
    free(*state);
    return 0;
}

static json_t *queue(fixture *f, const char *key, const char *text) {
    braid_error err = {0};
    braid_report *report;
    braid_write_options o = {.bare = BRAID_LINE_INTERACTION, .idempotency_key = key, .queued = true};
    if (braid_write(f->db, text, strlen(text), &o, &report, &err)) fail_msg("write: %s: %s", err.store, err.message);
    json_t *json = json_loads(braid_report_json(report), 0, NULL);
    braid_report_free(report);
    return json;
}

static json_int_t number(const json_t *report, const char *name) {
    return json_integer_value(json_object_get(report, name));
}

static size_t known_of(fixture *f, const char *person) {
    braid_error err = {0};
    char *text = NULL;
    int rc = braid_user_export(f->db, person, &text, &err);
    if (rc == BRAID_E_NOT_FOUND) return 0;
    if (rc) fail_msg("%s", err.message);
    json_t *json = json_loads(text, 0, NULL);
    size_t n = json_array_size(json_object_get(json, "interactions"));
    json_decref(json);
    braid_free(text);
    return n;
}

static void until_known(fixture *f, const char *person, size_t wanted) {
    for (int i = 0; i < 6000 && known_of(f, person) < wanted; i++) usleep(10000);
    assert_int_equal(known_of(f, person), wanted);
}

static double metric(fixture *f, const char *name) {
    char *text = NULL, *at;
    braid_error err = {0};
    assert_int_equal(braid_metrics(f->db, &text, &err), BRAID_OK);
    at = strstr(text, name);
    while (at && (at == text || at[-1] != '\n')) at = strstr(at + 1, name); /* not its HELP and TYPE */
    assert_non_null(at);
    double value = strtod(strchr(at, ' '), NULL);
    braid_free(text);
    return value;
}

static void what_is_queued_is_soon_there_and_counted(void **state) {
    fixture *f = *state;
    json_t *report = queue(
        f, NULL,
        "{\"user\":\"ana\",\"item\":\"f1\",\"type\":\"like\"}\n{\"user\":\"ana\",\"item\":\"f2\",\"type\":\"skip\"}\n");
    assert_int_equal(number(report, "accepted"), 2);
    json_decref(report);
    until_known(f, "ana", 2);
    assert_true(metric(f, "braid_interactions_queued_total ") == 2);
    for (int i = 0; i < 6000 && metric(f, "braid_interactions_waiting ") > 0; i++) usleep(10000);
    assert_true(metric(f, "braid_interactions_waiting ") == 0);
    assert_true(metric(f, "braid_interactions_queued_lost_total ") == 0);
}

static void bad_lines_are_named_at_once(void **state) {
    fixture *f = *state;
    json_t *report =
        queue(f, NULL,
              "{\"user\":\"ana\",\"item\":\"nowhere\",\"type\":\"like\"}\n"
              "{\"user\":\"ana\",\"item\":\"f2\",\"type\":\"hum\"}\n"
              "{\"item\":{\"id\":\"x\",\"title\":\"X\"}}\n{\"user\":\"ana\",\"item\":\"f1\",\"type\":\"like\"}\n");
    const json_t *no = json_object_get(report, "rejected");
    static const char *const words[] = {"there is no item 'nowhere'", "type", "only interactions may be queued"};
    assert_int_equal(number(report, "accepted"), 1);
    assert_int_equal(json_array_size(no), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *line = json_array_get(no, i);
        json_int_t at = number(line, "line"); /* what cannot be read is told before what cannot be kept */
        assert_in_range(at, 1, 3);
        const char *said = json_string_value(json_object_get(line, "error"));
        if (!strstr(said, words[at - 1])) fail_msg("line %d: %s", (int)at, said);
    }
    json_decref(report);
    until_known(f, "ana", 1);
}

static void a_repeated_key_changes_nothing(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 2; i++) json_decref(queue(f, "once", "{\"user\":\"bo\",\"item\":\"f1\",\"type\":\"like\"}"));
    json_decref(queue(f, NULL, "{\"user\":\"bo\",\"item\":\"f2\",\"type\":\"like\"}")); /* written after both */
    until_known(f, "bo", 2);
}

static void more_than_may_wait_are_told_to_come_again(void **state) {
    fixture *f = *state;
    char text[120 * 60];
    size_t n = 0;
    for (int i = 0; i < 90; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "{\"user\":\"cy\",\"item\":\"f1\",\"type\":\"view\"}\n");
    json_t *report = queue(f, NULL, text);
    json_int_t accepted = number(report, "accepted");
    const json_t *no = json_object_get(report, "rejected");
    /* the writer may have been at work meanwhile */
    assert_true(accepted >= 50 && accepted + (json_int_t)json_array_size(no) == 90);
    for (size_t i = 0; i < json_array_size(no); i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(no, i), "code")), "BUSY");
    json_decref(report);
    until_known(f, "cy", (size_t)accepted);
}

static void closing_writes_what_waits(void **state) {
    fixture *f = *state;
    braid_error err = {0};
    json_decref(queue(f, NULL, "{\"user\":\"di\",\"item\":\"f1\",\"type\":\"like\"}"));
    braid_close(f->db);
    if (fixture_open(f, settings, &err)) fail_msg("%s", err.message);
    assert_int_equal(known_of(f, "di"), 1);
}

static void a_person_who_is_deleted_does_not_come_back(void **state) {
    fixture *f = *state;
    json_decref(queue(f, NULL, "{\"user\":\"ed\",\"item\":\"f1\",\"type\":\"like\"}"));
    json_decref(put(f, "{\"delete\":{\"user\":\"ed\"}}"));
    json_decref(
        queue(f, NULL, "{\"user\":\"flo\",\"item\":\"f1\",\"type\":\"like\"}")); /* written after whatever waited */
    until_known(f, "flo", 1);
    assert_int_equal(known_of(f, "ed"), 0);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_queued_is_soon_there_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_lines_are_named_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_repeated_key_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(more_than_may_wait_are_told_to_come_again, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_writes_what_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_person_who_is_deleted_does_not_come_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
