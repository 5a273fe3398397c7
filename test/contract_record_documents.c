/* The contract of documents and slates (record_document, record_slate), told as claims and run over every row of the
 * registry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/record.h"
#include "unit/record_contract.h"

/* ---- writing and seeing ---- */

static int put_document(record_store *s, const char *kind, const char *id, const char *body, uint64_t expect,
                        uint64_t *lsn) {
    record_document d = {
        .kind = kind, .id = id, .body = body, .body_len = body != NULL ? strlen(body) : 0, .expect = expect};
    record_change c = {.kind = RECORD_DOCUMENT, .document = &d};
    return write_one(s, &c, lsn);
}

static int drop_document(record_store *s, const char *kind, const char *id, uint64_t expect) {
    record_document d = {.kind = kind, .id = id, .expect = expect};
    record_change c = {.kind = RECORD_DOCUMENT, .remove = true, .document = &d};
    return write_one(s, &c, NULL);
}

static record_slate slate_of(const char *id, const char *agent, const char *user_id, int64_t at) {
    return (record_slate){.id = id, .agent = agent, .user = user_id, .at = at, .body = "b\0y", .body_len = 3};
}

static int put_slate(record_store *s, const char *id, const char *agent, const char *user_id, int64_t at, bool *again) {
    record_slate l = slate_of(id, agent, user_id, at);
    record_change c = {.kind = RECORD_SLATE, .slate = &l};
    int code = write_one(s, &c, NULL);
    assert_true(c.lsn == 0);
    if (again != NULL) *again = c.duplicate;
    return code;
}

typedef struct seen {
    char text[4096];
    unsigned count, stop_after;
    uint64_t version;
} seen;

static bool see_document(void *ctx, const record_document *row) {
    seen *s = ctx;
    size_t len = strlen(s->text);
    assert_int_equal(strlen(row->body), row->body_len);
    snprintf(s->text + len, sizeof s->text - len, "%s/%s%s ", row->kind, row->id, row->body);
    s->version = row->version;
    return ++s->count != s->stop_after;
}

static bool see_slate(void *ctx, const record_slate *row) {
    seen *s = ctx;
    size_t len = strlen(s->text);
    assert_int_equal(row->body_len, 3);
    assert_memory_equal(row->body, "b\0y", 3);
    snprintf(s->text + len, sizeof s->text - len, "%s:%s:%s@%lld ", row->id, row->agent, row->user, (long long)row->at);
    return ++s->count != s->stop_after;
}

static void expect_document(record_store *s, const char *kind, const char *id, const char *wanted) {
    seen found = {0};
    braid_error err = {0};
    int code = record_get_document(s, kind, id, see_document, &found, &err);
    assert_int_equal(code, wanted != NULL ? BRAID_OK : BRAID_E_NOT_FOUND);
    assert_string_equal(found.text, wanted != NULL ? wanted : "");
    if (wanted == NULL) assert_non_null(strstr(err.message, id));
}

static void expect_kind(record_store *s, const char *kind, const char *after, size_t limit, const char *wanted) {
    seen found = {0};
    assert_int_equal(record_list_documents(s, kind, after, limit, see_document, &found, NULL), BRAID_OK);
    assert_string_equal(found.text, wanted);
}

static void expect_slates(record_store *s, const char *agent, int64_t from, int64_t until_at, const char *wanted) {
    seen found = {0};
    assert_int_equal(record_scan_slates(s, agent, from, until_at, see_slate, &found, NULL), BRAID_OK);
    assert_string_equal(found.text, wanted);
}

static void expect_counts(record_store *s, uint64_t documents, uint64_t slates) {
    record_info info;
    assert_int_equal(record_get_info(s, &info, NULL), BRAID_OK);
    assert_int_equal(info.documents, documents);
    assert_int_equal(info.slates, slates);
}

static void expect_log(record_store *s, unsigned kinds, const char *wanted) {
    arena *a = arena_new(4096);
    record_log_entry *rows;
    size_t n;
    uint64_t upto = 0;
    char text[1024] = "";
    head_place(s);
    assert_int_equal(record_log_read(s, 0, kinds, 100, a, &rows, &n, &upto, NULL), BRAID_OK);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%llu:%s%d(%s) ", (unsigned long long)lsn_place(rows[i].lsn),
                 rows[i].remove ? "-" : "", (int)rows[i].kind, rows[i].key);
    }
    assert_string_equal(text, wanted);
    arena_free(a);
}

/* ---- documents ---- */

static void a_document_is_read_back_as_it_was_written(void **state) {
    fixture *f = *state;
    seen s = {0};
    uint64_t lsn = 0;
    assert_int_equal(put_document(f->store, "agent", "évê/1 2", " { \"b\":1,\"a\":[1e3, \"é\"] }", 0, &lsn), BRAID_OK);
    put_document(f->store, "agent-2_x", "a", "{}", RECORD_ANY_VERSION, NULL);
    for (int again = 0; again < 2; again++) {
        expect_document(f->store, "agent", "évê/1 2", "agent/évê/1 2 { \"b\":1,\"a\":[1e3, \"é\"] } ");
        expect_document(f->store, "agent", "a", NULL);
        expect_document(f->store, "agent-2_x", "a", "agent-2_x/a{} ");
        expect_counts(f->store, 2, 0);
        fixture_reopen(f);
    }
    record_get_document(f->store, "agent", "évê/1 2", see_document, &s, NULL);
    assert_int_equal(s.version, lsn);
}

static void documents_of_a_kind_are_listed_by_their_ids_in_pages(void **state) {
    fixture *f = *state;
    seen one = {.stop_after = 1};
    const char *const ids[] = {"b", "a", "d", "c"};
    for (int i = 0; i < 4; i++) put_document(f->store, "rule", ids[i], "{}", 0, NULL);
    put_document(f->store, "agent", "b", "{}", 0, NULL);
    expect_kind(f->store, "rule", NULL, 100, "rule/a{} rule/b{} rule/c{} rule/d{} ");
    expect_kind(f->store, "rule", "a", 2, "rule/b{} rule/c{} ");
    expect_kind(f->store, "rule", "d", 2, "");
    expect_kind(f->store, "none", NULL, 2, "");
    expect_kind(f->store, "rule", NULL, 0, "");
    record_list_documents(f->store, "rule", NULL, SIZE_MAX, see_document, &one, NULL);
    assert_string_equal(one.text, "rule/a{} ");
}

static void a_list_longer_than_a_page_is_whole(void **state) {
    enum { MANY = 700 };
    fixture *f = *state;
    seen s = {0};
    static record_document rows[MANY];
    static record_change c[MANY];
    static char ids[MANY][16];
    for (int i = 0; i < MANY; i++) {
        snprintf(ids[i], sizeof ids[i], "%d", i);
        rows[i] = (record_document){.kind = "k", .id = ids[i], .body = "{}", .body_len = 2, .expect = 0};
        c[i] = (record_change){.kind = RECORD_DOCUMENT, .document = &rows[i]};
    }
    assert_int_equal(write_all(f->store, c, MANY), BRAID_OK);
    for (int i = 0; i < MANY; i++) assert_int_equal(c[i].code, BRAID_OK);
    record_list_documents(f->store, "k", NULL, SIZE_MAX, see_document, &s, NULL);
    assert_int_equal(s.count, MANY);
    s.count = 0;
    record_list_documents(f->store, "k", NULL, 650, see_document, &s, NULL);
    assert_int_equal(s.count, 650);
}

static void a_writer_who_read_another_version_is_refused_and_nothing_is_lost(void **state) {
    fixture *f = *state;
    uint64_t first = 0, second = 0, third = 0;
    assert_int_equal(put_document(f->store, "agent", "a", "{\"n\":0}", 7, NULL),
                     BRAID_E_CONFLICT); /* it was never there */
    assert_int_equal(put_document(f->store, "agent", "a", "{\"n\":1}", 0, &first), BRAID_OK);
    assert_int_equal(put_document(f->store, "agent", "a", "{\"n\":2}", 0, NULL), BRAID_E_CONFLICT);
    assert_int_equal(put_document(f->store, "agent", "a", "{\"n\":2}", first, &second), BRAID_OK);
    assert_int_equal(put_document(f->store, "agent", "a", "{\"n\":3}", first, NULL), BRAID_E_CONFLICT);
    assert_int_equal(drop_document(f->store, "agent", "a", first), BRAID_E_CONFLICT);
    expect_document(f->store, "agent", "a", "agent/a{\"n\":2} ");
    assert_int_equal(put_document(f->store, "agent", "a", "{\"n\":4}", RECORD_ANY_VERSION, &third), BRAID_OK);
    assert_true(first < second && second < third);
    assert_int_equal(drop_document(f->store, "agent", "a", third), BRAID_OK);
    assert_int_equal(drop_document(f->store, "agent", "a", RECORD_ANY_VERSION), BRAID_E_NOT_FOUND);
    expect_document(f->store, "agent", "a", NULL);
    assert_int_equal(put_document(f->store, "agent", "a", "{\"n\":5}", third, NULL), BRAID_E_CONFLICT);
    assert_int_equal(put_document(f->store, "agent", "a", "{\"n\":6}", 0, NULL), BRAID_OK);
    expect_counts(f->store, 1, 0);
    expect_log(f->store, RECORD_MASK(RECORD_DOCUMENT),
               "1:10(agent/a) 2:10(agent/a) 3:10(agent/a) 4:-10(agent/a) 5:10(agent/a) ");
    expect_log(f->store, RECORD_MASK_ALL & ~RECORD_MASK(RECORD_DOCUMENT), "");
}

static void of_changes_in_one_call_each_sees_those_before_it(void **state) {
    fixture *f = *state;
    record_document d[] = {{.kind = "k", .id = "a", .body = "{}", .body_len = 2, .expect = 0},
                           {.kind = "k", .id = "a", .body = "{\"b\":1}", .body_len = 7, .expect = 0},
                           {.kind = "k", .id = "a", .body = "{\"c\":1}", .body_len = 7, .expect = RECORD_ANY_VERSION}};
    record_change c[3];
    for (int i = 0; i < 3; i++) c[i] = (record_change){.kind = RECORD_DOCUMENT, .document = &d[i]};
    assert_int_equal(write_all(f->store, c, 3), BRAID_OK);
    assert_int_equal(c[0].code, BRAID_OK);
    assert_int_equal(c[1].code, BRAID_E_CONFLICT);
    assert_true(c[1].lsn == 0 && strstr(c[1].message, "k/a") != NULL);
    assert_int_equal(c[2].code, BRAID_OK);
    expect_document(f->store, "k", "a", "k/a{\"c\":1} ");
}

static void what_is_no_document_is_refused_alone(void **state) {
    fixture *f = *state;
    char kind[RECORD_DOCUMENT_KIND_MAX + 2], id[MODEL_ID_BYTES_MAX + 2];
    memset(kind, 'k', sizeof kind - 1);
    memset(id, 'i', sizeof id - 1);
    kind[sizeof kind - 1] = id[sizeof id - 1] = '\0';
    const char *const kinds[] = {NULL, "", "Agent", "a b", "a/b", "caf\xc3\xa9", kind},
                      *const ids[] = {NULL, "", "a\xff", id},
                      *const bodies[] = {NULL,   "", "[]", "1", "null", "{", "{}x", "{\"a\":1,}", "{\"a\":\"\xff\"}",
                                         "{a:1}"};
    seen none = {0};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        assert_int_equal(put_document(f->store, kinds[i], "a", "{}", 0, NULL), BRAID_E_INVALID);
        assert_int_equal(record_get_document(f->store, kinds[i], "a", see_document, &none, NULL), BRAID_E_INVALID);
        assert_int_equal(record_list_documents(f->store, kinds[i], NULL, 1, see_document, &none, NULL),
                         BRAID_E_INVALID);
    }
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_int_equal(put_document(f->store, "agent", ids[i], "{}", 0, NULL), BRAID_E_INVALID);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        assert_true(put_document(f->store, "agent", "a", bodies[i], 0, NULL) != BRAID_OK);
    assert_int_equal(put_document(f->store, "agent", "a", "{}", (uint64_t)INT64_MAX + 1, NULL), BRAID_E_INVALID);
    char *large = malloc(RECORD_DOCUMENT_BYTES_MAX + 2);
    memset(large, ' ', RECORD_DOCUMENT_BYTES_MAX + 1);
    memcpy(large, "{}", 2);
    large[RECORD_DOCUMENT_BYTES_MAX + 1] = '\0';
    assert_int_equal(put_document(f->store, "agent", "a", large, 0, NULL), BRAID_E_TOO_LARGE);
    expect_counts(f->store, 0, 0);
    large[RECORD_DOCUMENT_BYTES_MAX] = '\0'; /* the most that fits, under names as long as may be */
    kind[RECORD_DOCUMENT_KIND_MAX] = id[MODEL_ID_BYTES_MAX] = '\0';
    assert_int_equal(put_document(f->store, kind, id, large, 0, NULL), BRAID_OK);
    assert_int_equal(drop_document(f->store, kind, id, RECORD_ANY_VERSION), BRAID_OK);
    free(large);
    assert_int_equal(record_get_document(f->store, "a", NULL, see_document, &none, NULL), BRAID_E_INVALID);
    assert_int_equal(record_get_document(f->store, "a", "a", NULL, NULL, NULL), BRAID_E_INVALID);
}

enum { ADDERS = 4, ADDS = 25 };

/* Reads a number, writes it back one higher under the version that was read, and tries again when somebody was
 * quicker. */
static bool see_number(void *ctx, const record_document *row) {
    uint64_t *out = ctx;
    out[0] = row->version;
    return sscanf(row->body, "{\"n\":%llu}", (unsigned long long *)&out[1]) == 1;
}

static void *add_up(void *arg) {
    record_store *s = arg;
    for (int done = 0; done < ADDS;) {
        uint64_t read[2] = {0};
        char body[32];
        if (record_get_document(s, "sum", "a", see_number, read, NULL) != BRAID_OK) abort();
        snprintf(body, sizeof body, "{\"n\":%llu}", (unsigned long long)read[1] + 1);
        record_document d = {.kind = "sum", .id = "a", .body = body, .body_len = strlen(body), .expect = read[0]};
        record_change c = {.kind = RECORD_DOCUMENT, .document = &d};
        if (record_write(s, &c, 1, (record_write_flags){0}, NULL) != BRAID_OK) abort();
        done += c.code == BRAID_OK;
        if (c.code != BRAID_OK && c.code != BRAID_E_CONFLICT) abort();
    }
    return NULL;
}

static void no_addition_of_many_at_once_is_lost(void **state) {
    fixture *f = *state;
    pthread_t threads[ADDERS];
    char wanted[32];
    put_document(f->store, "sum", "a", "{\"n\":0}", 0, NULL);
    for (int i = 0; i < ADDERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, add_up, f->store), 0);
    for (int i = 0; i < ADDERS; i++) pthread_join(threads[i], NULL);
    snprintf(wanted, sizeof wanted, "sum/a{\"n\":%d} ", ADDERS * ADDS);
    expect_document(f->store, "sum", "a", wanted);
}

/* ---- slates ---- */

enum { JUNE = 1780272000 }; /* s, the first of the month in 2026 */
#define AT(s) (INT64_C(1000) * (JUNE + (s)))

static void a_slate_is_read_back_and_written_once(void **state) {
    fixture *f = *state;
    seen s = {0};
    braid_error err = {0};
    bool again = true;
    char wanted[128];
    assert_int_equal(put_slate(f->store, "r1", "default", "ana", AT(1), &again), BRAID_OK);
    assert_false(again);
    assert_int_equal(put_slate(f->store, "r1", "other", "eve", AT(2), &again), BRAID_OK);
    assert_true(again);
    for (int i = 0; i < 2; i++) {
        memset(&s, 0, sizeof s);
        assert_int_equal(record_get_slate(f->store, "r1", see_slate, &s, NULL), BRAID_OK);
        snprintf(wanted, sizeof wanted, "r1:default:ana@%lld ", (long long)AT(1));
        assert_string_equal(s.text, wanted);
        expect_counts(f->store, 0, 1);
        fixture_reopen(f);
    }
    assert_int_equal(record_get_slate(f->store, "r2", see_slate, &s, &err), BRAID_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "r2"));
    assert_int_equal(drop_user(f->store, "eve"), BRAID_E_NOT_FOUND); /* a slate that was there already names nobody */
    expect_log(f->store, RECORD_MASK_ALL, "");
}

static void slates_are_scanned_in_order_of_time_and_id_within_bounds(void **state) {
    fixture *f = *state;
    seen one = {.stop_after = 1};
    put_slate(f->store, "c", "x", "ana", 2000, NULL);
    put_slate(f->store, "b", "y", "ana", 2000, NULL);
    put_slate(f->store, "a", "x", "eve", 3000, NULL);
    put_slate(f->store, "d", "x", "", -5, NULL);
    expect_slates(f->store, NULL, TIME_NONE, INT64_MAX, "d:x:@-5 b:y:ana@2000 c:x:ana@2000 a:x:eve@3000 ");
    expect_slates(f->store, "x", TIME_NONE, INT64_MAX, "d:x:@-5 c:x:ana@2000 a:x:eve@3000 ");
    expect_slates(f->store, NULL, 2000, 3000, "b:y:ana@2000 c:x:ana@2000 ");
    expect_slates(f->store, "none", 2000, 3000, "");
    expect_slates(f->store, NULL, 3000, 3000, "");
    record_scan_slates(f->store, NULL, 0, 9999, see_slate, &one, NULL);
    assert_string_equal(one.text, "b:y:ana@2000 ");
}

static void slates_go_with_their_person(void **state) {
    fixture *f = *state;
    put_slate(f->store, "a", "x", "ana", AT(1), NULL);
    put_slate(f->store, "b", "x", "eve", AT(1), NULL);
    put_slate(f->store, "c", "x", "ana", AT(86400 * 40), NULL);
    put_slate(f->store, "d", "x", "", 3, NULL);
    assert_int_equal(drop_user(f->store, "ana"), BRAID_OK);
    seen s = {0};
    record_scan_slates(f->store, NULL, TIME_NONE, INT64_MAX, see_slate, &s, NULL);
    assert_int_equal(s.count, 2);
    expect_counts(f->store, 0, 2);
    assert_int_equal(put_slate(f->store, "a", "x", "ana", AT(1), NULL), BRAID_OK); /* somebody else of that name */
    expect_counts(f->store, 0, 3);
}

static bool count_slates(void *ctx, const record_slate *row) {
    unsigned *n = ctx;
    assert_int_equal(row->at, AT(0) + (int64_t)*n / 2); /* two at a time, in order */
    return ++*n > 0;
}

static void many_slates_in_one_call_meet_the_same_judgement_as_one_by_one(void **state) {
    enum { MANY = 900 };
    fixture *f = *state;
    static record_slate rows[MANY];
    static record_change c[MANY];
    static char ids[MANY][16], people[MANY][16];
    unsigned counted = 0;
    put_slate(f->store, "0000", "x", "p0", AT(0), NULL);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(ids[i], sizeof ids[i], "%04d", i);
            snprintf(people[i], sizeof people[i], "p%d", i % 50);
            rows[i] = slate_of(ids[i], "x", people[i], AT(0) + i / 2);
            c[i] = (record_change){.kind = RECORD_SLATE, .slate = &rows[i]};
        }
        rows[7].user = NULL;
        if (round == 2) rows[8].id = rows[9].id; /* twice the same in one call */
        assert_int_equal(write_all(f->store, c, MANY), BRAID_OK);
        for (int i = 0; i < MANY; i++) {
            assert_int_equal(c[i].code, i == 7 ? BRAID_E_INVALID : BRAID_OK);
            assert_int_equal(c[i].duplicate, i != 7 && (round > 0 || i == 0));
            assert_true(c[i].lsn == 0);
        }
        expect_counts(f->store, 0, MANY - 1);
    }
    assert_int_equal(put_slate(f->store, "0007", "x", "p7", AT(0) + 3, NULL), BRAID_OK);
    assert_int_equal(record_scan_slates(f->store, "x", AT(0), AT(9), count_slates, &counted, NULL), BRAID_OK);
    assert_int_equal(counted, MANY);
    assert_int_equal(drop_user(f->store, "p49"), BRAID_OK);
    expect_counts(f->store, 0, MANY - MANY / 50);
}

static void what_is_no_slate_is_refused_alone(void **state) {
    fixture *f = *state;
    record_slate good = slate_of("a", "x", "ana", 1), bad[] = {good, good, good, good, good, good, good, good, good};
    record_change c[9];
    bad[0].id = "";
    bad[1].id = NULL;
    bad[2].agent = "";
    bad[3].agent = NULL;
    bad[4].user = "a\xff";
    bad[5].at = TIME_NONE;
    bad[6].body = NULL;
    bad[7].body_len = 0;
    for (int i = 0; i < 9; i++) c[i] = (record_change){.kind = RECORD_SLATE, .slate = &bad[i], .remove = i == 8};
    assert_int_equal(write_all(f->store, c, 9), BRAID_OK);
    for (int i = 0; i < 9; i++) assert_int_equal(c[i].code, BRAID_E_INVALID);
    char *large = calloc(1, RECORD_DOCUMENT_BYTES_MAX + 1);
    good.body = large;
    good.body_len = RECORD_DOCUMENT_BYTES_MAX + 1;
    record_change one = {.kind = RECORD_SLATE, .slate = &good};
    assert_int_equal(write_one(f->store, &one, NULL), BRAID_E_TOO_LARGE);
    good.body_len--;
    assert_int_equal(write_one(f->store, &one, NULL), BRAID_OK);
    free(large);
    expect_counts(f->store, 0, 1);
    assert_int_equal(record_get_slate(f->store, NULL, see_slate, NULL, NULL), BRAID_E_INVALID);
    assert_int_equal(record_scan_slates(f->store, NULL, 0, 1, NULL, NULL, NULL), BRAID_E_INVALID);
}

#define CLAIMS(X)                                                                                                      \
    X(a_document_is_read_back_as_it_was_written)                                                                       \
    X(documents_of_a_kind_are_listed_by_their_ids_in_pages)                                                            \
    X(a_list_longer_than_a_page_is_whole)                                                                              \
    X(a_writer_who_read_another_version_is_refused_and_nothing_is_lost)                                                \
    X(of_changes_in_one_call_each_sees_those_before_it)                                                                \
    X(what_is_no_document_is_refused_alone)                                                                            \
    X(no_addition_of_many_at_once_is_lost)                                                                             \
    X(a_slate_is_read_back_and_written_once)                                                                           \
    X(slates_are_scanned_in_order_of_time_and_id_within_bounds)                                                        \
    X(slates_go_with_their_person)                                                                                     \
    X(many_slates_in_one_call_meet_the_same_judgement_as_one_by_one)                                                   \
    X(what_is_no_slate_is_refused_alone)

int main(void) {
    int failed = 0;
    for (size_t i = 0; record_registry(i) != NULL; i++) {
        const record_ops *row = record_registry(i);
        if (!contract_can_ask(row)) continue;
        const struct CMUnitTest tests[] = {
#define CONTRACT_CLAIM(name) CLAIM(name, row),
            CLAIMS(CONTRACT_CLAIM)
#undef CONTRACT_CLAIM
        };
        printf("record store %s\n", row->name);
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
