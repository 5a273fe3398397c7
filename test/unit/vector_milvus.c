/* The Milvus store beyond the contract of vector stores: its collection and whose it is, what is seen after a write,
 * what it does when the collection goes or the server does. Needs a server (BRAID_TEST_MILVUS), some of it
 * Toxiproxy. */
#include "model_test.h"

#include "test/support/milvus.h"

#ifdef BRAID_HAVE_MILVUS
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "test/support/grpc_stub.h"
#include "test/support/toxiproxy.h"
#include "vector/vector.h"
#include "wire/milvus.h"

enum { DIM = 8, SLACK_MS = 150 };

static const vector_ops *ops;

static void must(int code, const braid_error *err) {
    if (code != BRAID_OK) fail_msg("%s", err->message);
}

static int64_t now_ns(void) {
    return clock_mono_ns(&clock_system);
}

static vector_store *open_store(const remote_options *remote, uint32_t dim) {
    braid_error err = {0};
    vector_store *s = NULL;
    must(vector_open(ops, &(vector_options){.dim = dim, .remote = remote}, &s, &err), &err);
    return s;
}

static int try_open(const remote_options *remote, uint32_t dim, braid_error *err) {
    vector_store *s = NULL;
    int code = vector_open(ops, &(vector_options){.dim = dim, .remote = remote}, &s, err);
    assert_true((code == BRAID_OK) == (s != NULL));
    vector_close(s);
    return code;
}

static void point(uint32_t num, float out[DIM]) {
    rng r;
    rng_seed(&r, num + 1);
    for (int d = 0; d < DIM; d++) out[d] = (float)rng_normal(&r);
}

static int put(vector_store *s, uint32_t num, uint64_t version, uint32_t as, braid_error *err) {
    float values[DIM];
    point(as, values);
    return vector_upsert(s, &(vector_entry){.num = num, .values = values, .version = version}, 1, err);
}

/* The nearest to the point `as`, or UINT32_MAX for none; *code of the search. */
static uint32_t nearest(vector_store *s, uint32_t as, bool fresh, deadline until, int *code) {
    float values[DIM];
    candidate out[1];
    size_t count = 0;
    braid_error err = {0};
    point(as, values);
    vector_query q = {.values = values, .k = 1, .fresh = fresh, .until = until};
    *code = vector_search(s, &q, out, &count, NULL, &err);
    return *code == BRAID_OK && count == 1 && out[0].score > 0.9999f ? out[0].num : UINT32_MAX;
}

/* A call to the server beside the store, as another program would make it. */
static int raw_call(const remote_options *remote, const char *method, rpc_message rq, buf *answer) {
    braid_error err = {0};
    rpc_channel *c;
    rpc_options o = {.remote = remote, .store = "test", .answer_bytes_max = 1 << 20, .clock = &clock_system};
    must(rpc_open(&o, &c, &err), &err);
    buf_init(answer, 0);
    int code = rpc_call(c, method, rq, 0, NULL, NULL, answer, &err);
    rpc_close(c);
    return code;
}

static const char *collection_of(const remote_options *remote) {
    static char name[200];
    snprintf(name, sizeof name, "%s_media_embeddings", remote->database);
    return name;
}

static bool holds(const buf *b, const char *text) {
    return memmem(b->data, b->len, text, strlen(text)) != NULL;
}

/* ---- the collection ---- */

static void the_collection_is_made_indexed_and_loaded(void **state) {
    (void)state;
    remote_options remote;
    assert_true(test_milvus(&remote));
    vector_store *s = open_store(&remote, DIM);
    rpc_message rq;
    buf answer;
    assert_true(milvus_pack_describe_index(collection_of(&remote), MILVUS_VECTOR, &rq));
    assert_int_equal(raw_call(&remote, MILVUS_METHOD("DescribeIndex"), rq, &answer), BRAID_OK);
    milvus_index index;
    bool found;
    braid_error err = {0};
    must(milvus_read_index(&answer, "test", &index, &found, &err), &err);
    assert_true(found);
    assert_string_equal(index.type, "HNSW");
    assert_string_equal(index.metric, "COSINE");
    assert_true(holds(&answer, "\"M\":16") && holds(&answer, "\"efConstruction\":200"));
    buf_free(&answer);
    assert_true(milvus_pack_load_state(collection_of(&remote), &rq));
    assert_int_equal(raw_call(&remote, MILVUS_METHOD("GetLoadState"), rq, &answer), BRAID_OK);
    milvus_load load;
    must(milvus_read_load_state(&answer, "test", &load, &err), &err);
    assert_int_equal(load, MILVUS_LOADED);
    buf_free(&answer);
    assert_true(milvus_pack_collection(collection_of(&remote), &rq));
    assert_int_equal(raw_call(&remote, MILVUS_METHOD("DescribeCollection"), rq, &answer), BRAID_OK);
    milvus_field fields[MILVUS_FIELDS_MAX];
    size_t n;
    must(milvus_read_schema(&answer, "test", fields, MILVUS_FIELDS_MAX, &n, &err), &err);
    for (filter_field f = 0; f < FIELD_ATTRIBUTE; f++) { /* every field that a filter can name */
        bool there = false;
        for (size_t i = 0; i < n; i++) there = there || strcmp(fields[i].name, filter_field_name(f)) == 0;
        if (!there) fail_msg("no column %s", filter_field_name(f));
    }
    bool json = false;
    for (size_t i = 0; i < n; i++)
        json = json || (strcmp(fields[i].name, "attributes") == 0 && fields[i].type == MILVUS_JSON);
    assert_true(json);
    buf_free(&answer);
    vector_close(s);
}

static void make_foreign(const remote_options *remote, const milvus_field *fields, size_t n) {
    rpc_message rq;
    buf answer;
    assert_true(milvus_pack_create(collection_of(remote), fields, n, &rq));
    assert_int_equal(raw_call(remote, MILVUS_METHOD("CreateCollection"), rq, &answer), BRAID_OK);
    buf_free(&answer);
}

static void a_collection_that_is_not_ours_is_refused_with_a_way_out(void **state) {
    (void)state;
    remote_options remote;
    braid_error err = {0};
    assert_true(test_milvus(&remote));
    vector_close(open_store(&remote, DIM));
    assert_int_equal(try_open(&remote, DIM + 1, &err), BRAID_E_DIMENSION);
    static const char *const says[] = {"dimension 8", "9", "milvus.database", "braid rebuild", "media_embeddings"};
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++)
        if (strstr(err.message, says[i]) == NULL) fail_msg("no \"%s\" in: %s", says[i], err.message);
    assert_non_null(strstr(err.message, remote.address));
    assert_int_equal(try_open(&remote, DIM, &(braid_error){0}), BRAID_OK); /* it is still there for whom it fits */

    static const milvus_field foreign[] = {
        {.name = "num", .type = MILVUS_INT64, .primary = true},
        {.name = "vector", .type = MILVUS_FLOAT_VECTOR, .size = DIM},
    };
    assert_true(test_milvus(&remote));
    make_foreign(&remote, foreign, 2);
    error_clear(&err);
    assert_int_equal(try_open(&remote, DIM, &err), BRAID_E_CONFLICT);
    assert_non_null(strstr(err.message, "lacks the field \"version\""));
    assert_non_null(strstr(err.message, "milvus.database"));

    static const milvus_field other_key[] = {
        {.name = "num", .type = MILVUS_VARCHAR, .size = 30, .primary = true},
        {.name = "vector", .type = MILVUS_FLOAT_VECTOR, .size = DIM},
    };
    assert_true(test_milvus(&remote));
    make_foreign(&remote, other_key, 2);
    error_clear(&err);
    assert_int_equal(try_open(&remote, DIM, &err), BRAID_E_CONFLICT);
    assert_non_null(strstr(err.message, "has another type for \"num\""));
}

static void names_that_could_be_something_else_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"a b", "a-b", "1a", "a\"", "a;b", "é", "a/b", "a.b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        braid_error err = {0};
        remote_options remote = {.address = "127.0.0.1:1", .database = bad[i], .timeout_ms = 100};
        assert_int_equal(try_open(&remote, DIM, &err), BRAID_E_INVALID);
        assert_non_null(strstr(err.message, "milvus.database"));
    }
}

/* ---- what is seen ---- */

static unsigned rounds(unsigned few, unsigned many) {
    return getenv("BRAID_TEST_LONG") != NULL ? many : few;
}

static void what_was_written_is_seen_by_the_next_question(void **state) {
    (void)state;
    remote_options remote;
    assert_true(test_milvus(&remote));
    vector_store *s = open_store(&remote, DIM);
    braid_error err = {0};
    int code;
    float got[DIM];
    for (unsigned i = 0; i < rounds(40, 1000); i++) {
        must(put(s, 1, 0, i, &err), &err);
        if (nearest(s, i, false, 0, &code) != 1) fail_msg("round %u: %s", i, error_name(code));
        must(vector_remove(s, (uint32_t[]){1}, 1, &err), &err);
        assert_int_equal(vector_fetch(s, 1, 0, got, &err), BRAID_E_NOT_FOUND);
        error_clear(&err);
        assert_int_equal(nearest(s, i, false, 0, &code), UINT32_MAX);
        assert_int_equal(code, BRAID_OK);
    }
    vector_close(s);
}

/* Two servers on one collection: the one that does not feed has to ask for freshness, and gets it. */
static void another_process_sees_it_when_it_asks_for_freshness(void **state) {
    (void)state;
    remote_options remote;
    assert_true(test_milvus(&remote));
    vector_store *feeder = open_store(&remote, DIM), *other = open_store(&remote, DIM);
    braid_error err = {0};
    int code;
    for (unsigned i = 0; i < rounds(25, 500); i++) {
        must(put(feeder, i % 5, i + 1, i, &err), &err);
        if (nearest(other, i, true, 0, &code) != i % 5) fail_msg("round %u: %s", i, error_name(code));
    }
    vector_close(feeder);
    vector_close(other);
}

/* ---- versions and counts ---- */

static void versions_hold_across_openings(void **state) {
    (void)state;
    remote_options remote;
    assert_true(test_milvus(&remote));
    vector_store *s = open_store(&remote, DIM);
    braid_error err = {0};
    int code;
    must(put(s, 4, 7, 700, &err), &err);
    vector_close(s);
    s = open_store(&remote, DIM); /* knows nothing of what was written before */
    must(put(s, 4, 6, 600, &err), &err);
    assert_int_equal(nearest(s, 700, true, 0, &code), 4);
    assert_int_equal(nearest(s, 600, true, 0, &code), UINT32_MAX);
    must(put(s, 4, 8, 800, &err), &err);
    assert_int_equal(nearest(s, 800, true, 0, &code), 4);
    vector_close(s);
}

static item *small_item(arena *a, uint32_t num) {
    braid_error err = {0};
    item *it = NULL;
    json_t *json = json_pack("{s:o,s:s,s:i,s:[s]}", "id", json_sprintf("m%u", num), "title", "t", "year",
                             1000 + (int)num, "genres", num % 2 ? "odd" : "even");
    if (item_from_json(json, &test_limits, a, &it, &err)) fail_msg("%s", err.message);
    json_decref(json);
    return it;
}

/* 2,500 rows go in three messages; each keeps its own fields, and written twice they are still 2,500. */
static void rows_of_many_messages_keep_their_own_fields(void **state) {
    (void)state;
    enum { N = 2500 };
    remote_options remote;
    assert_true(test_milvus(&remote));
    vector_store *s = open_store(&remote, DIM);
    arena *a = arena_new(1 << 20);
    vector_entry *entries = malloc(N * sizeof *entries);
    float(*values)[DIM] = malloc(N * sizeof *values);
    item **items = malloc(N * sizeof *items);
    braid_error err = {0};
    for (uint32_t i = 0; i < N; i++) {
        point(i, values[i]);
        items[i] = small_item(a, i);
        entries[i] = (vector_entry){.num = i, .values = values[i], .version = 1, .it = items[i]};
    }
    must(vector_upsert(s, entries, N, &err), &err);
    must(vector_upsert(s, entries, N, &err), &err); /* count(*) is exact, what Milvus calls num_entities is not */
    vector_check_report report;
    must(vector_check(s, &report, &err), &err);
    if (report.problems > 0) fail_msg("%s", report.first);
    assert_int_equal(report.checked, N);
    vector_info info;
    vector_get_info(s, &info);
    assert_int_equal(info.count, N);
    for (uint32_t i = 0; i < N; i += 313) {
        json_t *json = json_pack("{s:i}", "year", 1000 + (int)i);
        filter *f = NULL;
        must(filter_from_json(json, a, &f, &err), &err);
        json_decref(json);
        candidate out[5];
        size_t count = 0;
        vector_query q = {.values = values[0], .k = 5, .where = f};
        must(vector_search(s, &q, out, &count, NULL, &err), &err);
        assert_int_equal(count, 1);
        assert_int_equal(out[0].num, i);
    }
    for (uint32_t i = 0; i < N; i++) item_release(items[i]);
    free(items);
    free(values);
    free(entries);
    arena_free(a);
    vector_close(s);
}

/* A second row of a key, as `insert` of another program or a delete that got lost would leave it, is told by the
 * check, and is never answered twice. */
static void a_doubled_row_is_found_by_the_check(void **state) {
    (void)state;
    remote_options remote;
    assert_true(test_milvus(&remote));
    vector_store *s = open_store(&remote, DIM);
    braid_error err = {0};
    vector_check_report report;
    for (uint32_t i = 0; i < 20; i++) must(put(s, i, 2, i, &err), &err);
    must(vector_check(s, &report, &err), &err);
    assert_int_equal(report.problems, 0);
    static const char *const texts[] = {"id", "title", "original_title", "kind", "language", "synopsis"};
    static const char *const lists[] = {"countries", "genres", "themes", "moods", "contexts", "people", "regions"};
    static const char *const ints[] = {"year", "duration_s", "age_rating", "tier"};
    static const char *const longs[] = {"available_from", "available_until"};
    const char *const none[1] = {""}, *const json[1] = {"{}"};
    const milvus_list empty[1] = {{none, 0}};
    int64_t num[1] = {3}, version[1] = {1}, zero[1] = {0};
    int32_t small[1] = {0};
    float values[DIM];
    milvus_column c[32];
    size_t n = 0;
    point(777, values);
    for (size_t i = 0; i < 6; i++) c[n++] = (milvus_column){.name = texts[i], .type = MILVUS_VARCHAR, .texts = none};
    for (size_t i = 0; i < 7; i++) c[n++] = (milvus_column){.name = lists[i], .type = MILVUS_ARRAY, .lists = empty};
    for (size_t i = 0; i < 4; i++) c[n++] = (milvus_column){.name = ints[i], .type = MILVUS_INT32, .ints = small};
    for (size_t i = 0; i < 2; i++) c[n++] = (milvus_column){.name = longs[i], .type = MILVUS_INT64, .longs = zero};
    c[n++] = (milvus_column){.name = MILVUS_NUM, .type = MILVUS_INT64, .longs = num};
    c[n++] = (milvus_column){.name = MILVUS_VERSION, .type = MILVUS_INT64, .longs = version};
    c[n++] = (milvus_column){.name = "attributes", .type = MILVUS_JSON, .texts = json};
    c[n++] = (milvus_column){.name = MILVUS_VECTOR, .type = MILVUS_FLOAT_VECTOR, .floats = values, .dim = DIM};
    rpc_message rq;
    buf answer;
    uint64_t timestamp, rows;
    assert_true(milvus_pack_rows(collection_of(&remote), c, n, 1, &rq)); /* an insert has the same fields */
    assert_int_equal(raw_call(&remote, MILVUS_METHOD("Insert"), rq, &answer), BRAID_OK);
    must(milvus_read_mutation(&answer, "test", &timestamp, &rows, &err), &err);
    buf_free(&answer);
    for (int i = 0; i < 100 && report.problems == 0; i++) {
        must(vector_check(s, &report, &err), &err);
        if (report.problems == 0) usleep(100000);
    }
    assert_true(report.problems > 0);
    assert_non_null(strstr(report.first, "count(*)"));
    candidate out[30];
    size_t count = 0;
    vector_query q = {.values = values, .k = 30, .fresh = true};
    must(vector_search(s, &q, out, &count, NULL, &err), &err);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++) assert_int_not_equal(out[i].num, out[j].num);
    vector_close(s);
}

/* What is sent for the first time is inserted; when its answer was lost, the second sending takes the first one's
 * place. */
static void an_insert_whose_answer_was_lost_is_no_second_row(void **state) {
    (void)state;
    enum { ROWS = 20 };
    remote_options remote, through;
    toxiproxy p = {0};
    if (!toxiproxy_there()) {
        print_message("left out: BRAID_TEST_TOXIPROXY is not set\n");
        return;
    }
    assert_true(test_milvus(&remote));
    assert_true(toxiproxy_create(&p, "milvus", remote.address));
    through = remote;
    through.address = p.address;
    through.timeout_ms = through.write_timeout_ms = 5000;
    vector_store *s = open_store(&through, DIM), *beside = open_store(&remote, DIM);
    braid_error err = {0};
    float values[ROWS][DIM];
    vector_entry entries[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) {
        point(i, values[i]);
        entries[i] = (vector_entry){.num = i, .values = values[i], .version = 7};
    }
    must(put(s, 1000, 1, 1000, &err), &err); /* the store is ready, and its first question answered */
    assert_true(toxiproxy_toxic(&p, "timeout", false, 1, "\"timeout\":0"));
    assert_int_not_equal(vector_upsert(s, entries, ROWS, &err), BRAID_OK);
    int code;
    uint32_t got = UINT32_MAX;
    for (int i = 0; i < 600 && got != 7; i++) got = nearest(beside, 7, true, 0, &code);
    assert_int_equal(got, 7); /* it was taken all the same */
    assert_true(toxiproxy_heal(&p));
    for (int i = 0; i < 600; i++) {
        error_clear(&err);
        if ((code = vector_upsert(s, entries, ROWS, &err)) == BRAID_OK) break;
        usleep(50000);
    }
    must(code, &err);
    vector_check_report report;
    must(vector_check(s, &report, &err), &err);
    if (report.problems > 0) fail_msg("%s", report.first);
    assert_int_equal(report.checked, ROWS + 1);
    vector_close(s);
    vector_close(beside);
    toxiproxy_delete(&p);
}

/* A store that others may have written to takes no number for new, and what they wrote counts. */
static void after_others_had_the_store_nothing_counts_as_unsent(void **state) {
    (void)state;
    remote_options remote;
    assert_true(test_milvus(&remote));
    vector_store *s = open_store(&remote, DIM), *other = open_store(&remote, DIM);
    braid_error err = {0};
    int code;
    must(put(s, 1, 1, 1, &err), &err);
    must(put(other, 2, 5, 2, &err), &err);
    vector_resume(s);
    must(put(s, 2, 4, 22, &err), &err); /* older than what is there */
    must(put(s, 1, 6, 11, &err), &err);
    assert_int_equal(nearest(s, 2, true, 0, &code), 2);
    assert_int_equal(nearest(s, 11, true, 0, &code), 1);
    must(put(s, 2, 6, 23, &err), &err);
    vector_check_report report;
    must(vector_check(s, &report, &err), &err);
    if (report.problems > 0) fail_msg("%s", report.first);
    assert_int_equal(report.checked, 2);
    vector_close(s);
    vector_close(other);
}

/* ---- when it goes away ---- */

static void a_collection_that_was_dropped_is_no_empty_answer(void **state) {
    (void)state;
    remote_options remote;
    assert_true(test_milvus(&remote));
    vector_store *s = open_store(&remote, DIM);
    braid_error err = {0};
    int code;
    must(put(s, 1, 1, 1, &err), &err);
    assert_int_equal(nearest(s, 1, false, 0, &code), 1);
    assert_true(test_milvus_drop(collection_of(&remote)));
    for (int i = 0; i < 3; i++) {
        nearest(s, 1, false, now_ns() + INT64_C(3000000000), &code);
        assert_int_equal(code, BRAID_E_UNAVAILABLE);
    }
    must(put(s, 2, 1, 2, &err), &err); /* a write makes it anew */
    assert_int_equal(nearest(s, 2, true, 0, &code), 2);
    vector_close(s);
}

/* R13: whatever happens to the wire, a search ends by its deadline, and soon after the wire is whole again it is
 * answered. */
static void faults_on_the_wire_cost_no_more_than_the_deadline(void **state) {
    (void)state;
    enum { ALLOWED_MS = 300 };
    remote_options remote;
    toxiproxy p = {0};
    if (!toxiproxy_there()) {
        print_message("left out: BRAID_TEST_TOXIPROXY is not set\n");
        return;
    }
    assert_true(test_milvus(&remote));
    assert_true(toxiproxy_create(&p, "milvus", remote.address));
    remote.address = p.address;
    remote.timeout_ms = 2000;
    vector_store *s = open_store(&remote, DIM);
    braid_error err = {0};
    int code;
    must(put(s, 1, 1, 1, &err), &err);
    assert_int_equal(nearest(s, 1, true, 0, &code), 1);
    int64_t latest = 0;
    unsigned good = 0, bad = 0;
    for (size_t f = 0; f < TOXIPROXY_FAULTS; f++) {
        assert_true(toxiproxy_inflict(&p, toxiproxy_fault_at(f)));
        for (int i = 0; i < 3; i++) {
            int64_t begun = now_ns();
            uint32_t got = nearest(s, 1, false, begun + ALLOWED_MS * INT64_C(1000000), &code);
            int64_t late = (now_ns() - begun) / 1000000 - ALLOWED_MS;
            latest = late > latest ? late : latest;
            if (code == BRAID_OK) assert_int_equal(got, 1);
            if (code != BRAID_OK && code != BRAID_E_UNAVAILABLE && code != BRAID_E_DEADLINE)
                fail_msg("%s: %s", toxiproxy_fault_at(f)->name, error_name(code));
            code == BRAID_OK ? good++ : bad++;
        }
        assert_true(toxiproxy_heal(&p));
        int64_t healed = now_ns();
        do {
            nearest(s, 1, false, now_ns() + INT64_C(1000000000), &code);
            if (code != BRAID_OK) usleep(20000);
        } while (code != BRAID_OK && now_ns() - healed < INT64_C(10000000000));
        if (code != BRAID_OK) fail_msg("%s: no answer 10 s after it was healed", toxiproxy_fault_at(f)->name);
    }
    print_message("%u answered, %u not, the latest %lld ms after its deadline\n", good, bad, (long long)latest);
    assert_true(bad > 0 && latest <= SLACK_MS);
    must(put(s, 2, 1, 2, &err), &err);
    assert_int_equal(nearest(s, 2, true, 0, &code), 2);
    vector_close(s);
    toxiproxy_delete(&p);
}

static void a_server_that_is_away_is_no_reason_not_to_open(void **state) {
    (void)state;
    remote_options remote;
    toxiproxy p = {0};
    if (!toxiproxy_there()) return;
    assert_true(test_milvus(&remote));
    assert_true(toxiproxy_create(&p, "milvus", remote.address) && toxiproxy_enable(&p, false));
    remote.address = p.address;
    remote.timeout_ms = 1000;
    vector_store *s = open_store(&remote, DIM);
    braid_error err = {0};
    int code = 0;
    nearest(s, 1, false, now_ns() + INT64_C(200000000), &code);
    assert_true(code == BRAID_E_UNAVAILABLE || code == BRAID_E_DEADLINE);
    assert_true(toxiproxy_enable(&p, true));
    for (int i = 0; i < 200 && (code = put(s, 1, 1, 1, &err)) != BRAID_OK; i++) {
        error_clear(&err);
        usleep(50000);
    }
    must(code, &err);
    assert_int_equal(nearest(s, 1, true, 0, &code), 1);
    vector_close(s);
    toxiproxy_delete(&p);
}

/* The real server behind a door with TLS. */
static void milvus_is_reached_over_tls(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    print_message("left out: OpenSSL on gRPC's threads is not instrumented\n");
    skip();
#endif
    remote_options remote;
    char ca[64];
    assert_true(test_milvus(&remote));
    SSL_CTX *tls = stub_tls("127.0.0.1", ca);
    stub_server *door = grpc_stub_tls(remote.address, tls);
    remote_options over = remote;
    over.address = stub_address(door);
    over.tls = true;
    over.tls_ca = ca;
    vector_store *s = open_store(&over, DIM);
    braid_error err = {0};
    int code;
    must(put(s, 1, 1, 1, &err), &err);
    assert_int_equal(nearest(s, 1, false, 0, &code), 1);
    vector_close(s);
    over.tls = false; /* and not without */
    s = open_store(&over, DIM);
    nearest(s, 1, false, now_ns() + INT64_C(500000000), &code);
    assert_int_not_equal(code, BRAID_OK);
    vector_close(s);
    stub_stop(door);
    SSL_CTX_free(tls);
    unlink(ca);
}

static int end(void **state) {
    (void)state;
    test_milvus_end();
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_could_be_something_else_are_refused),
        cmocka_unit_test(the_collection_is_made_indexed_and_loaded),
        cmocka_unit_test(a_collection_that_is_not_ours_is_refused_with_a_way_out),
        cmocka_unit_test(what_was_written_is_seen_by_the_next_question),
        cmocka_unit_test(another_process_sees_it_when_it_asks_for_freshness),
        cmocka_unit_test(versions_hold_across_openings),
        cmocka_unit_test(rows_of_many_messages_keep_their_own_fields),
        cmocka_unit_test(a_doubled_row_is_found_by_the_check),
        cmocka_unit_test(an_insert_whose_answer_was_lost_is_no_second_row),
        cmocka_unit_test(after_others_had_the_store_nothing_counts_as_unsent),
        cmocka_unit_test(a_collection_that_was_dropped_is_no_empty_answer),
        cmocka_unit_test(faults_on_the_wire_cost_no_more_than_the_deadline),
        cmocka_unit_test(a_server_that_is_away_is_no_reason_not_to_open),
        cmocka_unit_test(milvus_is_reached_over_tls),
    };
    remote_options remote;
    ops = vector_find("milvus");
    if (!test_milvus(&remote)) {
        print_message("[  SKIPPED ] vector_milvus\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, end);
}
#else
int main(void) {
    printf("skipped: built without Milvus (gRPC and protobuf-c)\n");
    return 0;
}
#endif
