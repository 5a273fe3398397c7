/* Many callers at once: writers, askers and deleters on one database. No dead item is shown, own writes are read
 * back, and in the end every store agrees with the record store. Run under ThreadSanitizer too, where it is the
 * engine's race test. */
#include <pthread.h>
#include <stdatomic.h>

#include "engine_test.h"

static const char *const settings[] = {"vector.dimension", "32", "query.deadline_ms", "60000", NULL};
enum { ROUNDS = 60, WRITERS = 3, ASKERS = 2 };

typedef struct worker {
    fixture *f;
    unsigned number;
    atomic_bool *stop;
    pthread_t thread;
    const char *problem;
} worker;

static json_t *ask_quietly(fixture *f, braid_question question, const char *request, worker *w) {
    braid_error err = {0};
    json_t *a = try_ask(f, question, request, &err);
    if (!a && !w->problem) w->problem = strdup(err.message);
    return a;
}

static bool write_quietly(worker *w, const char *text, char lsn[64]) {
    braid_error err = {0};
    braid_report *r;
    if (braid_write(w->f->db, text, strlen(text), NULL, &r, &err)) {
        w->problem = strdup(err.message);
        return false;
    }
    snprintf(lsn, 64, "%s", braid_report_lsn(r));
    bool ok = braid_report_rejected(r) == 0;
    if (!ok) w->problem = strdup(braid_report_json(r));
    braid_report_free(r);
    return ok;
}

/* Puts an item, asks for it with the token of that write, deletes it, asks again with the token of the delete. */
static void *put_ask_delete(void *ctx) {
    worker *w = ctx;
    for (int i = 0; i < ROUNDS && !w->problem; i++) {
        char text[300], lsn[64], request[300], id[32];
        snprintf(id, sizeof id, "w%u-%d", w->number, i);
        snprintf(text, sizeof text,
                 "{\"id\":\"%s\",\"title\":\"unique%ux%d marmotte\",\"genres\":[\"g%d\"],\"themes\":[\"t%d\"]}", id,
                 w->number, i, i % 3, i % 5);
        if (!write_quietly(w, text, lsn)) break;
        snprintf(request, sizeof request,
                 "{\"text\":\"marmotte\",\"k\":1,\"filter\":{\"id\":\"%s\"},\"min_lsn\":\"%s\"}", id, lsn);
        json_t *a = ask_quietly(w->f, BRAID_SEARCH, request, w);
        if (a && !has_result(a, id)) w->problem = "an own write is not read back";
        json_decref(a);
        if (i % 2) continue;
        snprintf(text, sizeof text, "{\"delete\":{\"item\":\"%s\"}}", id);
        if (w->problem || !write_quietly(w, text, lsn)) break;
        snprintf(request, sizeof request, "{\"text\":\"marmotte\",\"k\":200,\"min_lsn\":\"%s\"}", lsn);
        a = ask_quietly(w->f, BRAID_SEARCH, request, w);
        if (a && has_result(a, id)) w->problem = "a deleted item is shown";
        json_decref(a);
    }
    return NULL;
}

static void *ask_and_record(void *ctx) {
    worker *w = ctx;
    while (!atomic_load(w->stop) && !w->problem) {
        char request[160], text[200], lsn[64];
        snprintf(request, sizeof request, "{\"user\":\"asker%u\",\"k\":5,\"cache\":%s}", w->number,
                 w->number % 2 ? "true" : "false");
        json_t *a = ask_quietly(w->f, BRAID_RECOMMEND, request, w);
        if (!a) break;
        /* A base item, so that no writer deletes it meanwhile. */
        for (size_t i = 0; i < result_count(a) && !w->problem; i++) {
            if (result_id(a, i)[0] != 'b') continue;
            snprintf(text, sizeof text, "{\"interaction\":{\"user\":\"asker%u\",\"item\":\"%s\",\"type\":\"%s\"}}",
                     w->number, result_id(a, i), i % 2 ? "like" : "skip");
            write_quietly(w, text, lsn);
            break;
        }
        json_decref(a);
        char *info;
        braid_error err = {0};
        if (braid_metrics(w->f->db, &info, &err) == BRAID_OK) braid_free(info);
        if (braid_info(w->f->db, NULL, &info, &err) == BRAID_OK) braid_free(info);
    }
    return NULL;
}

static void writers_askers_and_deleters_agree(void **state) {
    (void)state;
    fixture f;
    fixture_start(&f, settings);
    char *text = malloc(200 * 200);
    size_t n = 0;
    for (int i = 0; i < 200; i++)
        n += (size_t)sprintf(text + n,
                             "{\"id\":\"b%d\",\"title\":\"Base %d\",\"genres\":[\"g%d\"],\"themes\":[\"t%d\"]}\n", i, i,
                             i % 3, i % 5);
    put_all(&f, text);
    free(text);
    settle(&f);
    atomic_bool stop = false;
    worker writers[WRITERS], askers[ASKERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (worker){.f = &f, .number = i, .stop = &stop};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, put_ask_delete, &writers[i]), 0);
    }
    for (unsigned i = 0; i < ASKERS; i++) {
        askers[i] = (worker){.f = &f, .number = i, .stop = &stop};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_and_record, &askers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++) pthread_join(writers[i].thread, NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < ASKERS; i++) pthread_join(askers[i].thread, NULL);
    for (unsigned i = 0; i < WRITERS; i++)
        if (writers[i].problem) fail_msg("writer %u: %s", i, writers[i].problem);
    for (unsigned i = 0; i < ASKERS; i++)
        if (askers[i].problem) fail_msg("asker %u: %s", i, askers[i].problem);
    char *json;
    braid_error err = {0};
    assert_int_equal(braid_verify(f.db, false, NULL, NULL, &json, &err), BRAID_OK);
    if (strncmp(json, "{\"ok\":true", 10) != 0) fail_msg("%s", json);
    braid_free(json);
    fixture_end(&f);
}

static void repair_mends_what_verify_finds(void **state) {
    (void)state;
    fixture f;
    fixture_start(&f, settings);
    put_all(&f, "{\"id\":\"a\",\"title\":\"A\",\"genres\":[\"x\"]}\n{\"id\":\"b\",\"title\":\"B\",\"genres\":[\"x\"]}\n"
                "{\"relation\":{\"from\":\"a\",\"to\":\"b\",\"type\":\"SEQUEL_OF\"}}");
    char *json;
    braid_error err = {0};
    assert_int_equal(braid_verify(f.db, true, NULL, NULL, &json, &err), BRAID_OK);
    assert_int_equal(strncmp(json, "{\"ok\":true", 10), 0);
    assert_non_null(strstr(json, "\"relations\":1"));
    braid_free(json);
    assert_int_equal(braid_doctor(f.db, &json, &err), BRAID_OK);
    assert_null(strstr(json, "\"fail\""));
    assert_non_null(strstr(json, "recall@10 1.000"));
    braid_free(json);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writers_askers_and_deleters_agree),
        cmocka_unit_test(repair_mends_what_verify_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
