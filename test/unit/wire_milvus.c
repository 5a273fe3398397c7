/* What Milvus answers is distrusted. Every answer here is made by hand; none needs a socket. What makes no sense is
 * CORRUPT with a reason and gives nothing; what a status says decides whether it is asked again and whose fault it
 * is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifdef BRAID_HAVE_MILVUS
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "milvus.pb-c.h"
#include "wire/milvus.h"

enum { DIM = 2 };
#define STORE "vector/milvus"

static void pack(const ProtobufCMessage *m, buf *out) {
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = malloc(len + 1);
    buf_init(out, 0);
    buf_add(out, bytes, protobuf_c_message_pack(m, bytes));
    free(bytes);
}

static void assert_corrupt(int code, const braid_error *err, const char *why) {
    if (code != BRAID_E_CORRUPT || strstr(err->message, why) == NULL)
        fail_msg("wanted CORRUPT with \"%s\", got %s: %s", why, error_name(code), err->message);
    assert_string_equal(err->store, STORE);
}

/* ---- hits ---- */

typedef struct hits_case {
    int64_t ids[4];
    float scores[4];
    size_t ids_count, scores_count;
    int64_t topk, queries; /* topk -1: not said */
    const char *why;       /* NULL: it is well */
} hits_case;

static void hits_that_make_no_sense_are_refused(void **state) {
    (void)state;
    static const hits_case cases[] = {
        {{7, 3, 9}, {1, 0.5f, -1}, 3, 3, 3, 1, NULL},
        {{7, 3}, {0.5f, 0.5f}, 2, 2, -1, 1, NULL},
        {{0}, {0}, 0, 0, 0, 1, NULL},
        {{7, 3, 9}, {1, 0.5f}, 3, 2, 3, 1, "differ in number"},
        {{7, 3}, {1, 0.5f, 0}, 2, 3, 2, 1, "differ in number"},
        {{0}, {1, 0.5f}, 0, 2, 2, 1, "differ in number"},
        {{7, 3}, {1, 0.5f}, 2, 2, 3, 1, "counts its rows wrongly"},
        {{7, 3}, {1, 0.5f}, 2, 2, INT64_MIN, 1, "counts its rows wrongly"},
        {{7, 3}, {1, 0.5f}, 2, 2, 2, 2, "more than one question"},
        {{1, 2, 3, 4}, {1, 1, 1, 1}, 4, 4, 4, 1, "more rows than"},
        {{-1, 3}, {1, 0.5f}, 2, 2, 2, 1, "no item number"},
        {{7, UINT32_MAX}, {1, 0.5f}, 2, 2, 2, 1, "no item number"},
        {{7, INT64_MAX}, {1, 0.5f}, 2, 2, 2, 1, "no item number"},
        {{7, 3}, {NAN, 0.5f}, 2, 2, 2, 1, "not finite"},
        {{7, 3}, {1, -INFINITY}, 2, 2, 2, 1, "not finite"},
        {{7, 3}, {0.5f, 1}, 2, 2, 2, 1, "rise"},
        {{7, 3, 7}, {1, 0.5f, 0}, 3, 3, 3, 1, "twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const hits_case *c = &cases[i];
        Milvus__SearchResults m = MILVUS__SEARCH_RESULTS__INIT;
        Milvus__SearchResultData d = MILVUS__SEARCH_RESULT_DATA__INIT;
        Milvus__AnswerIds ids = MILVUS__ANSWER_IDS__INIT;
        Milvus__LongArray nums = MILVUS__LONG_ARRAY__INIT;
        int64_t topks[1] = {c->topk};
        nums.n_data = c->ids_count;
        nums.data = (int64_t *)(uintptr_t)c->ids;
        ids.int_id = &nums;
        d.ids = c->ids_count > 0 ? &ids : NULL;
        d.n_scores = c->scores_count;
        d.scores = (float *)(uintptr_t)c->scores;
        d.num_queries = c->queries;
        d.n_topks = c->topk != -1;
        d.topks = topks;
        m.results = &d;
        buf answer;
        pack(&m.base, &answer);
        milvus_hit out[3];
        size_t count = 99;
        braid_error err = {0};
        int code = milvus_read_hits(&answer, STORE, 3, out, &count, &err);
        if (c->why != NULL) {
            assert_corrupt(code, &err, c->why);
            assert_int_equal(count, 0);
        } else {
            assert_int_equal(code, BRAID_OK);
            assert_int_equal(count, c->ids_count);
            for (size_t h = 0; h < count; h++) assert_true(out[h].num == c->ids[h] && out[h].score == c->scores[h]);
        }
        buf_free(&answer);
    }
    buf empty;
    buf_init(&empty, 0);
    milvus_hit none[1];
    size_t count = 9;
    assert_int_equal(milvus_read_hits(&empty, STORE, 1, none, &count, NULL), BRAID_OK); /* nothing found */
    assert_int_equal(count, 0);
}

/* ---- rows ---- */

typedef struct rows_case {
    size_t nums, versions, floats; /* lengths; 99: no such column */
    int64_t num, dim;
    float value;
    const char *why;
} rows_case;

static void columns_of_different_lengths_are_refused(void **state) {
    (void)state;
    static const rows_case cases[] = {
        {3, 3, 6, 5, DIM, 0.5f, NULL},
        {0, 0, 0, 5, DIM, 0.5f, NULL},
        {99, 99, 99, 5, DIM, 0.5f, NULL}, /* no columns: no rows */
        {3, 2, 6, 5, DIM, 0.5f, "differ in length"},
        {2, 3, 4, 5, DIM, 0.5f, "differ in length"},
        {3, 3, 4, 5, DIM, 0.5f, "differ in length"},
        {3, 3, 7, 5, DIM, 0.5f, "differ in length"},
        {3, 99, 6, 5, DIM, 0.5f, "versions is missing"},
        {3, 3, 99, 5, DIM, 0.5f, "vectors is missing"},
        {99, 3, 6, 5, DIM, 0.5f, "keys is missing"},
        {99, 99, 6, 5, DIM, 0.5f, "keys is missing"},
        {0, 3, 0, 5, DIM, 0.5f, "keys is missing"},
        {3, 3, 6, -5, DIM, 0.5f, "no item number"},
        {3, 3, 6, UINT32_MAX, DIM, 0.5f, "no item number"},
        {3, 3, 6, 5, DIM + 1, 0.5f, "another dimension"},
        {3, 3, 6, 5, 0, 0.5f, "another dimension"},
        {3, 3, 6, 5, DIM, NAN, "not finite"},
        {3, 3, 6, 5, DIM, INFINITY, "not finite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const rows_case *c = &cases[i];
        int64_t nums[4] = {1, c->num, 9, 10}, versions[4] = {4, 5, 6, 7};
        float floats[8] = {1, 0, 0, 1, c->value, 0, 0, 0};
        Milvus__QueryResults m = MILVUS__QUERY_RESULTS__INIT;
        Milvus__AnswerColumn columns[3], *list[3];
        Milvus__AnswerScalars scalars[2];
        Milvus__LongArray longs[2];
        Milvus__AnswerVectors vectors = MILVUS__ANSWER_VECTORS__INIT;
        Milvus__FloatArray array = MILVUS__FLOAT_ARRAY__INIT;
        for (size_t n = 0; n < 3; n++) {
            milvus__answer_column__init(&columns[n]);
            if (n < 2) {
                milvus__answer_scalars__init(&scalars[n]);
                milvus__long_array__init(&longs[n]);
                scalars[n].long_data = &longs[n];
                columns[n].scalars = &scalars[n];
            }
        }
        columns[0].field_name = MILVUS_NUM;
        columns[1].field_name = MILVUS_VERSION;
        columns[2].field_name = MILVUS_VECTOR;
        longs[0].data = nums;
        longs[1].data = versions;
        array.data = floats;
        vectors.dim = c->dim;
        vectors.float_vector = &array;
        columns[2].vectors = &vectors;
        size_t lengths[3] = {c->nums, c->versions, c->floats};
        longs[0].n_data = c->nums % 99;
        longs[1].n_data = c->versions % 99;
        array.n_data = c->floats % 99;
        m.fields_data = list;
        for (size_t n = 0; n < 3; n++)
            if (lengths[n] != 99) list[m.n_fields_data++] = &columns[n];
        buf answer;
        pack(&m.base, &answer);
        milvus_rows rows;
        braid_error err = {0};
        int code = milvus_read_rows(&answer, STORE, true, DIM, &rows, &err);
        if (c->why != NULL) {
            assert_corrupt(code, &err, c->why);
            assert_true(rows.count == 0 && rows.nums == NULL && rows.owner == NULL);
        } else {
            assert_int_equal(code, BRAID_OK);
            assert_int_equal(rows.count, c->nums % 99);
            for (size_t r = 0; r < rows.count; r++)
                assert_true(rows.nums[r] == nums[r] && rows.versions[r] == versions[r] &&
                            rows.vectors[r * DIM] == floats[r * DIM]);
            milvus_rows_free(&rows);
        }
        buf_free(&answer);
    }
}

/* ---- the small ones ---- */

static void assert_count(const int64_t *counts, size_t n, const char *name, int64_t wanted) {
    Milvus__QueryResults m = MILVUS__QUERY_RESULTS__INIT;
    Milvus__AnswerColumn column = MILVUS__ANSWER_COLUMN__INIT, *list[1] = {&column};
    Milvus__AnswerScalars scalars = MILVUS__ANSWER_SCALARS__INIT;
    Milvus__LongArray longs = MILVUS__LONG_ARRAY__INIT;
    longs.n_data = n;
    longs.data = (int64_t *)(uintptr_t)counts;
    scalars.long_data = &longs;
    column.scalars = &scalars;
    column.field_name = (char *)(uintptr_t)name;
    m.fields_data = list;
    m.n_fields_data = 1;
    buf answer;
    pack(&m.base, &answer);
    uint64_t got = 77;
    braid_error err = {0};
    int code = milvus_read_count(&answer, STORE, &got, &err);
    if (wanted < 0)
        assert_corrupt(code, &err, "count is missing");
    else
        assert_true(code == BRAID_OK && got == (uint64_t)wanted);
    buf_free(&answer);
}

static void a_count_is_one_number_from_zero_on(void **state) {
    (void)state;
    assert_count((int64_t[]){41}, 1, MILVUS_COUNT, 41);
    assert_count((int64_t[]){0}, 1, MILVUS_COUNT, 0);
    assert_count((int64_t[]){-1}, 1, MILVUS_COUNT, -1);
    assert_count((int64_t[]){1, 2}, 2, MILVUS_COUNT, -1);
    assert_count(NULL, 0, MILVUS_COUNT, -1);
    assert_count((int64_t[]){41}, 1, "num_entities", -1);
}

/* Two bytes may ask for a struct of a hundred: memory is bounded by what came, not by what it claims. */
static void an_answer_cannot_ask_for_more_memory_than_it_is_worth(void **state) {
    (void)state;
    enum { COLUMNS = 1 << 20 };
    buf answer;
    buf_init(&answer, 0);
    for (int i = 0; i < COLUMNS; i++) buf_add(&answer, "\x12\x00", 2); /* an empty column */
    milvus_rows rows;
    braid_error err = {0};
    assert_corrupt(milvus_read_rows(&answer, STORE, true, DIM, &rows, &err), &err, "more than it can hold");
    buf_free(&answer);
}

static void bytes_that_are_no_message_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"\x12\x05\x01",
                                      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                                      "\x0a\xff\xff\xff\xff\x0f",
                                      "HTTP/1.1 200 OK",
                                      "\x0b",
                                      "\x0f"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        buf answer;
        buf_init(&answer, 0);
        buf_puts(&answer, bad[i]);
        milvus_rows rows;
        milvus_hit hits[1];
        size_t count;
        bool again = false;
        braid_error one = {0}, two = {0}, three = {0};
        assert_int_equal(milvus_read_rows(&answer, STORE, true, DIM, &rows, &one), BRAID_E_CORRUPT);
        assert_int_equal(milvus_read_hits(&answer, STORE, 1, hits, &count, &two), BRAID_E_CORRUPT);
        milvus_verdict v = {.store = STORE, .address = "127.0.0.1:1", .what = "search"};
        int code = milvus_judge(&v, &answer, &again, &three);
        assert_true(code == BRAID_E_CORRUPT && !again);
        assert_true(one.message[0] != '\0' && two.message[0] != '\0' && three.message[0] != '\0');
        buf_free(&answer);
    }
}

/* ---- statuses ---- */

static void a_status_says_whose_fault_it_is_and_whether_to_ask_again(void **state) {
    (void)state;
    static const struct {
        int32_t old, new;
        bool retriable;
        const char *reason;
        int code;
        bool again, missing, unloaded;
    } rows[] = {
        {0, 0, false, "", BRAID_OK, false, false, false},
        {49, 0, false, "rate limit", BRAID_E_UNAVAILABLE, true, false, false},
        {0, 8, false, "rate limit", BRAID_E_UNAVAILABLE, true, false, false},
        {0, 1, false, "not ready", BRAID_E_UNAVAILABLE, true, false, false},
        {55, 0, false, "time tick", BRAID_E_UNAVAILABLE, true, false, false},
        {1, 65535, true, "try again", BRAID_E_UNAVAILABLE, true, false, false},
        {1, 65535, false, "unexpected", BRAID_E_UNAVAILABLE, false, false, false},
        {48, 0, false, "deny to write", BRAID_E_UNAVAILABLE, false, false, false},
        {0, 3, false, "memory", BRAID_E_UNAVAILABLE, false, false, false},
        {0, 7, false, "disk", BRAID_E_UNAVAILABLE, false, false, false},
        {5, 0, false, "illegal", BRAID_E_INTERNAL, false, false, false},
        {0, 1100, false, "invalid parameter", BRAID_E_INTERNAL, false, false, false},
        {1, 0, false, "cannot parse expression: x", BRAID_E_INTERNAL, false, false, false},
        {3, 0, false, "permission", BRAID_E_INVALID, false, false, false},
        {4, 0, false, "no", BRAID_E_UNAVAILABLE, false, true, false},
        {0, 100, false, "no", BRAID_E_UNAVAILABLE, false, true, false},
        {1, 1, false, "can't find collection: x", BRAID_E_UNAVAILABLE, false, true, false},
        {0, 101, false, "no", BRAID_E_UNAVAILABLE, false, false, true},
        {1, 0, true, "collection not loaded", BRAID_E_UNAVAILABLE, false, false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int bare = 0; bare < 2; bare++) {
            Milvus__Status s = MILVUS__STATUS__INIT;
            Milvus__BoolResponse m = MILVUS__BOOL_RESPONSE__INIT;
            s.error_code = rows[i].old;
            s.code = rows[i].new;
            s.retriable = rows[i].retriable;
            s.reason = (char *)(uintptr_t)rows[i].reason;
            m.status = &s;
            buf answer;
            pack(bare ? &s.base : &m.base, &answer);
            milvus_verdict v = {.store = STORE, .address = "127.0.0.1:1", .what = "search", .bare = bare};
            bool again = false;
            braid_error err = {0};
            int code = milvus_judge(&v, &answer, &again, &err);
            if (code != rows[i].code || again != rows[i].again || v.missing != rows[i].missing ||
                v.unloaded != rows[i].unloaded)
                fail_msg("row %zu: %s, again %d, missing %d, unloaded %d: %s", i, error_name(code), again, v.missing,
                         v.unloaded, err.message);
            if (code != BRAID_OK) assert_non_null(strstr(err.message, "127.0.0.1:1"));
            buf_free(&answer);
        }
    }
}

/* Cut anywhere, an answer is refused or is a shorter one that makes sense; it is never read past its end. */
static void an_answer_cut_short_never_gives_more_than_it_holds(void **state) {
    (void)state;
    int64_t ids[3] = {1, 2, 3}, topks[1] = {3};
    float scores[3] = {0.9f, 0.8f, 0.7f};
    Milvus__SearchResults m = MILVUS__SEARCH_RESULTS__INIT;
    Milvus__SearchResultData d = MILVUS__SEARCH_RESULT_DATA__INIT;
    Milvus__AnswerIds key = MILVUS__ANSWER_IDS__INIT;
    Milvus__LongArray nums = MILVUS__LONG_ARRAY__INIT;
    nums.n_data = d.n_scores = 3;
    nums.data = ids;
    key.int_id = &nums;
    d.ids = &key;
    d.scores = scores;
    d.n_topks = 1;
    d.topks = topks;
    m.results = &d;
    buf whole;
    pack(&m.base, &whole);
    for (size_t len = 0; len < whole.len; len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, whole.data, len);
        buf cut = {.data = copy, .len = len};
        milvus_hit out[3];
        size_t count = 9;
        braid_error err = {0};
        int code = milvus_read_hits(&cut, STORE, 3, out, &count, &err);
        assert_true(code == BRAID_E_CORRUPT || (code == BRAID_OK && len == 0));
        assert_int_equal(count, 0);
        free(copy);
    }
    buf_free(&whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_that_make_no_sense_are_refused),
        cmocka_unit_test(columns_of_different_lengths_are_refused),
        cmocka_unit_test(a_count_is_one_number_from_zero_on),
        cmocka_unit_test(an_answer_cannot_ask_for_more_memory_than_it_is_worth),
        cmocka_unit_test(bytes_that_are_no_message_are_refused),
        cmocka_unit_test(a_status_says_whose_fault_it_is_and_whether_to_ask_again),
        cmocka_unit_test(an_answer_cut_short_never_gives_more_than_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) {
    printf("skipped: built without Milvus (gRPC and protobuf-c)\n");
    return 0;
}
#endif
