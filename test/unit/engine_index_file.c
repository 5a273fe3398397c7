/* R4 as a caller sees it: FILE-hnsw is derived. Whatever is wrong with it (a flipped bit, a cut, another database's,
 * an older one's), the answers are the same: it is brought up to date from the log or built again. */
#include "engine_disk.h"

static const char *const questions[] = {
    "{\"text\":\"film 370\",\"k\":10,\"cache\":false}",
    "{\"like\":\"i010\",\"k\":10,\"strategy\":\"vector_only\",\"cache\":false}",
    "{\"like\":\"i077\",\"k\":10,\"strategy\":\"vector_only\",\"filter\":{\"genres\":\"g1\"},\"cache\":false}"};
enum { QUESTIONS = sizeof questions / sizeof questions[0] };

static void ids_of(fixture *f, char out[QUESTIONS][128]) {
    for (size_t i = 0; i < QUESTIONS; i++) {
        json_t *a = ask(f, BRAID_SEARCH, questions[i]);
        out[i][0] = '\0';
        for (size_t r = 0; r < result_count(a); r++) sprintf(out[i] + strlen(out[i]), "%s ", result_id(a, r));
        json_decref(a);
    }
}

static void expect_origin(fixture *f, const char *wanted) {
    char *json;
    braid_error err = {0};
    assert_int_equal(braid_info(f->db, "vector", &json, &err), BRAID_OK);
    json_t *info = json_loads(json, 0, NULL);
    assert_string_equal(text_at(json_object_get(info, "vector"), "origin"), wanted);
    json_decref(info);
    braid_free(json);
}

/* The same answers and stores as before, from an index of that origin. */
static void opens_alike(fixture *f, const char *origin, char wanted[QUESTIONS][128]) {
    char now[QUESTIONS][128], *json;
    braid_error err = {0};
    open_db(f);
    expect_origin(f, origin);
    ids_of(f, now);
    for (size_t i = 0; i < QUESTIONS; i++) assert_string_equal(now[i], wanted[i]);
    assert_int_equal(braid_verify(f->db, false, NULL, NULL, &json, &err), BRAID_OK);
    if (strncmp(json, "{\"ok\":true", 10) != 0) fail_msg("%s", json);
    braid_free(json);
    shut(f);
}

static void an_index_that_is_damaged_is_built_again_with_the_same_answers(void **state) {
    fixture *f = *state;
    char wanted[QUESTIONS][128], side[128];
    name_beside(f, "-hnsw", side);
    open_db(f);
    ids_of(f, wanted);
    shut(f);
    bytes good = file_read(side);
    opens_alike(f, "snapshot", wanted); /* so that "rebuilt" says something */
    for (size_t at = 0; at < good.len; at += good.len / 16 + 1) {
        good.at[at] ^= 0x10;
        file_write(side, good.at, good.len);
        good.at[at] ^= 0x10;
        opens_alike(f, "rebuilt", wanted);
    }
    const size_t cuts[] = {0, 1, 100, good.len / 2, good.len - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        file_write(side, good.at, cuts[i]);
        opens_alike(f, "rebuilt", wanted);
    }
    unlink(side);
    opens_alike(f, "rebuilt", wanted);
    file_write(side, good.at, good.len);
    opens_alike(f, "snapshot", wanted);
    name_beside(f, "-hnsw.tmp", side); /* what a save that was killed leaves */
    file_write(side, good.at, good.len / 3);
    opens_alike(f, "snapshot", wanted);
    free(good.at);
}

static void an_index_of_another_database_is_built_again(void **state) {
    fixture *f = *state, other = {0};
    char wanted[QUESTIONS][128], side[128], foreign[128];
    open_db(f);
    ids_of(f, wanted);
    shut(f);
    make_database(&other); /* the same items, the same numbers */
    shut(&other);
    name_beside(&other, "-hnsw", foreign);
    name_beside(f, "-hnsw", side);
    bytes b = file_read(foreign);
    file_write(side, b.at, b.len);
    free(b.at);
    opens_alike(f, "rebuilt", wanted);
    fixture_end(&other);
}

/* An older index is brought up to date from the log as long as the log reaches back to it, else built again. */
static void an_older_index_is_brought_up_to_date_or_built_again(void **state) {
    fixture *f = *state;
    char wanted[QUESTIONS][128], side[128];
    braid_error err = {0};
    name_beside(f, "-hnsw", side);
    bytes older = file_read(side);
    open_db(f);
    put_all(f, "{\"id\":\"i010\",\"title\":\"Tout autre chose\",\"genres\":[\"g9\"]}\n{\"id\":\"new\",\"title\":\"Film "
               "370\",\"genres\":[\"g1\"]}\n"
               "{\"delete\":{\"item\":\"i076\"}}\n");
    settle(f);
    ids_of(f, wanted);
    shut(f);
    file_write(side, older.at, older.len);
    opens_alike(f, "snapshot", wanted);
    open_db(f);
    assert_int_equal(braid_checkpoint(f->db, &err), BRAID_OK); /* trims the log */
    shut(f);
    opens_alike(f, "snapshot", wanted);
    file_write(side, older.at, older.len);
    opens_alike(f, "rebuilt", wanted);
    free(older.at);
}

/* A folder where the index would be: it cannot be read or written, and that costs a rebuild, not the database. */
static void an_index_that_cannot_be_saved_is_no_reason_to_fail(void **state) {
    fixture *f = *state;
    char wanted[QUESTIONS][128], side[128];
    open_db(f);
    ids_of(f, wanted);
    shut(f);
    name_beside(f, "-hnsw", side);
    unlink(side);
    assert_int_equal(mkdir(side, 0755), 0);
    opens_alike(f, "rebuilt", wanted);
    open_db(f);
    put_all(f, "{\"id\":\"kept\",\"title\":\"Gardé\"}");
    shut(f);
    open_db(f);
    char *json;
    assert_int_equal(braid_get_item(f->db, "kept", &json, NULL), BRAID_OK);
    braid_free(json);
}

int main(void) {
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(an_index_that_is_damaged_is_built_again_with_the_same_answers),
        CLAIM(an_index_of_another_database_is_built_again),
        CLAIM(an_older_index_is_brought_up_to_date_or_built_again),
        CLAIM(an_index_that_cannot_be_saved_is_no_reason_to_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
