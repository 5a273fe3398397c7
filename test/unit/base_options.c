/* base: options. One small table stands for the real one; what is asserted are values, codes and whole messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

static const option_row rows[] = {
    {"server", "listen", OPTION_STRING, "127.0.0.1:8080", 0, 0, NULL, "listen", "Address and port to serve on."},
    {"server", "workers", OPTION_INT, "4", 1, 1024, NULL, "workers", "Worker threads."},
    {"vector", "dimension", OPTION_INT, "384", 1, 4096, NULL, "dimension", "Numbers in a vector."},
    {"vector", "index", OPTION_ENUM, "hnsw", 0, 0, "hnsw|flat|pgvector", "index", "The vector store."},
    {"vector", "ef_search", OPTION_INT, "64", 8, 4096, NULL, "ef-search", "Candidates kept in a search."},
    {"policy", "exploration", OPTION_REAL, "0.1", 0, 1, NULL, "exploration", "Share of the slate left to chance."},
    {"record", "create", OPTION_BOOL, "true", 0, 0, NULL, "create", "Create the file if it is not there."},
    {"server", "title", OPTION_STRING, "", 0, 0, NULL, "title", "Shown on the page."},
    {"policy", "seed", OPTION_INT, "0", 0, 0, NULL, "seed", "Of the random numbers; any."},
    {"policy", "bias", OPTION_REAL, "0", 0, 0, NULL, "bias", "Any number."},
};
enum { ROWS = sizeof rows / sizeof *rows };

static option_set *new_set(void) {
    option_set *set;
    braid_error err = {0};
    assert_int_equal(option_set_new(rows, ROWS, &set, &err), BRAID_OK);
    return set;
}

/* ---- values ---- */

static void a_new_set_holds_the_defaults(void **state) {
    (void)state;
    option_set *set = new_set();
    assert_string_equal(option_get(set, "server.listen"), "127.0.0.1:8080");
    assert_string_equal(option_get(set, "server.title"), "");
    assert_int_equal(option_get_int(set, "vector.dimension"), 384);
    assert_true(option_get_real(set, "policy.exploration") == 0.1);
    assert_true(option_get_real(set, "server.workers") == 4);
    assert_true(option_get_bool(set, "record.create"));
    for (int i = 0; i < ROWS; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s.%s", rows[i].section, rows[i].name);
        assert_true(option_is_default(set, key));
    }
    option_set_free(set);
    option_set_free(NULL);
}

static void a_value_that_fits_is_taken(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *text;
    } good[] = {{"vector.dimension", "1", "1"},
                {"vector.dimension", "4096", "4096"},
                {"vector.dimension", "+0768", "768"},
                {"policy.seed", "-9223372036854775808", "-9223372036854775808"},
                {"policy.bias", "-1e300", "-1e300"},
                {"vector.index", "hnsw", "hnsw"},
                {"vector.index", "flat", "flat"},
                {"vector.index", "pgvector", "pgvector"},
                {"policy.exploration", "0", "0"},
                {"policy.exploration", "1e-3", "1e-3"},
                {"policy.exploration", ".5", ".5"},
                {"record.create", "off", "false"},
                {"record.create", "TRUE", "true"},
                {"record.create", "0", "false"},
                {"record.create", "Yes", "true"},
                {"server.title", "Caf\xc3\xa9 \"A\" # 1", "Caf\xc3\xa9 \"A\" # 1"},
                {"server.title", "", ""}};
    option_set *set = new_set();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        braid_error err = {0};
        assert_int_equal(option_set_value(set, good[i].key, good[i].value, &err), BRAID_OK);
        assert_int_equal(err.code, BRAID_OK);
        assert_string_equal(option_get(set, good[i].key), good[i].text);
        assert_false(option_is_default(set, good[i].key));
    }
    assert_int_equal(option_get_int(set, "vector.dimension"), 768);
    assert_true(option_get_real(set, "policy.exploration") == 0.5);
    option_set_free(set);
}

static void a_value_that_does_not_fit_changes_nothing(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *message;
    } bad[] = {
        {"vector.dimension", "0", "vector.dimension must be a whole number from 1 to 4096, not \"0\""},
        {"vector.dimension", "4097", NULL},
        {"vector.dimension", "", NULL},
        {"vector.dimension", "12x", NULL},
        {"vector.dimension", " 12", NULL},
        {"vector.dimension", "1e3", NULL},
        {"vector.dimension", "0x10", NULL},
        {"vector.dimension", "99999999999999999999", NULL},
        {"vector.dimension", "-", NULL},
        {"vector.index", "milvus", "vector.index must be one of hnsw, flat, pgvector, not \"milvus\""},
        {"vector.index", "", NULL},
        {"vector.index", "hns", NULL},
        {"vector.index", "hnsw|flat", NULL},
        {"vector.index", "|", NULL},
        {"policy.exploration", "1.01", "policy.exploration must be a number from 0 to 1, not \"1.01\""},
        {"policy.exploration", "nan", NULL},
        {"policy.exploration", "inf", NULL},
        {"policy.exploration", "0x1", NULL},
        {"policy.exploration", "", NULL},
        {"policy.exploration", "0,5", NULL},
        {"policy.exploration", "0.5.", NULL},
        {"policy.exploration", "1e999", NULL},
        {"policy.bias", "1e999", NULL},
        {"policy.bias", "-1e999", NULL},
        {"policy.seed", "9223372036854775808", "policy.seed must be a whole number, not \"9223372036854775808\""},
        {"record.create", "maybe", "record.create must be true or false, not \"maybe\""},
        {"server.listen", "a\nb", "server.listen must be one line of UTF-8 text without control characters"},
        {"server.listen", "\xff", NULL}};
    option_set *set = new_set();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        braid_error err = {0};
        if (option_set_value(set, bad[i].key, bad[i].value, &err) != BRAID_E_INVALID)
            fail_msg("%s = \"%s\" was taken", bad[i].key, bad[i].value);
        assert_int_equal(err.code, BRAID_E_INVALID);
        if (bad[i].message != NULL) assert_string_equal(err.message, bad[i].message);
        assert_true(option_is_default(set, bad[i].key));
    }
    char *huge = malloc(5001);
    assert_non_null(huge);
    memset(huge, 'x', 5000);
    huge[5000] = '\0';
    assert_int_equal(option_set_value(set, "server.title", huge, NULL), BRAID_E_TOO_LARGE);
    free(huge);
    assert_string_equal(option_get(set, "server.title"), "");
    option_set_free(set);
}

static void an_unknown_key_is_answered_with_the_nearest(void **state) {
    (void)state;
    static const struct {
        const char *key, *nearest;
    } slips[] = {{"vector.dimention", "vector.dimension"},
                 {"vectr.dimension", "vector.dimension"},
                 {"dimension", "vector.dimension"},
                 {"server.lisetn", "server.listen"},
                 {"index.ef_search", "vector.ef_search"},
                 {"vector.efsearch", "vector.ef_search"},
                 {"SERVER.WORKERS", NULL},
                 {"", NULL},
                 {".", NULL}};
    option_set *set = new_set();
    for (size_t i = 0; i < sizeof slips / sizeof *slips; i++) {
        braid_error err = {0};
        assert_int_equal(option_set_value(set, slips[i].key, "1", &err), BRAID_E_UNKNOWN_FIELD);
        if (slips[i].nearest == NULL) continue;
        char want[256];
        snprintf(want, sizeof want, "there is no option \"%s\"; the nearest is \"%s\"", slips[i].key, slips[i].nearest);
        assert_string_equal(err.message, want);
    }
    option_set_free(set);
}

static void a_copy_stands_on_its_own(void **state) {
    (void)state;
    option_set *set = new_set(), *copy;
    assert_int_equal(option_set_value(set, "server.workers", "9", NULL), BRAID_OK);
    assert_int_equal(option_set_copy(set, &copy, NULL), BRAID_OK);
    assert_int_equal(option_set_value(set, "server.workers", "5", NULL), BRAID_OK);
    option_set_free(set);
    assert_int_equal(option_get_int(copy, "server.workers"), 9);
    assert_false(option_is_default(copy, "server.workers"));
    assert_true(option_is_default(copy, "server.title"));
    option_set_free(copy);
}

/* ---- environment ---- */

static void the_environment_sets_what_bears_the_prefix(void **state) {
    (void)state;
    char *env[] = {"PATH=/bin",    "BRAID__VECTOR__EF_SEARCH=128", "BRAID__SERVER__TITLE=a=b__c",
                   "BRAID_DATA=x", "braid__server__workers=7",     NULL};
    option_set *set = new_set();
    assert_int_equal(option_set_load_env(set, env, "BRAID__", NULL), BRAID_OK);
    assert_int_equal(option_get_int(set, "vector.ef_search"), 128);
    assert_string_equal(option_get(set, "server.title"), "a=b__c");
    assert_int_equal(option_get_int(set, "server.workers"), 4);
    option_set_free(set);
}

static void a_slip_in_the_environment_is_named_and_nothing_is_set(void **state) {
    (void)state;
    static const struct {
        const char *variable, *message;
        int code;
    } bad[] = {{"BRAID__VECTOR__EF_SERCH=1",
                "BRAID__VECTOR__EF_SERCH: there is no option \"vector.ef_serch\"; the nearest is \"vector.ef_search\"",
                BRAID_E_UNKNOWN_FIELD},
               {"BRAID__SERVER__WORKERS=many",
                "BRAID__SERVER__WORKERS: server.workers must be a whole number from 1 to 1024, not \"many\"",
                BRAID_E_INVALID},
               {"BRAID__=1", NULL, BRAID_E_UNKNOWN_FIELD},
               {"BRAID____=1", NULL, BRAID_E_UNKNOWN_FIELD},
               {"BRAID__SERVER=1", NULL, BRAID_E_UNKNOWN_FIELD}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *env[] = {"BRAID__VECTOR__DIMENSION=768", (char *)bad[i].variable, NULL};
        option_set *set = new_set();
        braid_error err = {0};
        assert_int_equal(option_set_load_env(set, env, "BRAID__", &err), bad[i].code);
        if (bad[i].message != NULL) assert_string_equal(err.message, bad[i].message);
        assert_int_equal(option_get_int(set, "vector.dimension"), 384);
        option_set_free(set);
    }
}

/* ---- YAML ---- */

static char yaml_path[] = "/tmp/base_options_XXXXXX";

static int make_file(void **state) {
    (void)state;
    int fd = mkstemp(yaml_path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(yaml_path);
}

static int load_bytes(option_set *set, const char *text, size_t len, braid_error *err) {
    FILE *f = fopen(yaml_path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return option_set_load_yaml(set, yaml_path, err);
}

static int load(option_set *set, const char *text, braid_error *err) {
    return load_bytes(set, text, strlen(text), err);
}

static void a_file_of_sections_is_read(void **state) {
    (void)state;
    option_set *set = new_set();
    braid_error err = {0};
    int code = load(set,
                    "# a comment\nserver:\n  listen: 0.0.0.0:9090   # all\n  title: \"caf\\u00e9: #1\"\n"
                    "vector: {dimension: 768, index: flat}\nrecord:\n  create: no\npolicy:\n  # exploration: 0.5\n",
                    &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, BRAID_OK);
    assert_string_equal(option_get(set, "server.listen"), "0.0.0.0:9090");
    assert_string_equal(option_get(set, "server.title"), "caf\xc3\xa9: #1");
    assert_int_equal(option_get_int(set, "vector.dimension"), 768);
    assert_string_equal(option_get(set, "vector.index"), "flat");
    assert_false(option_get_bool(set, "record.create"));
    assert_true(option_is_default(set, "policy.exploration"));
    assert_int_equal(load(set, "vector:\n  ef_search: 99\n", NULL), BRAID_OK); /* a later file adds */
    assert_int_equal(option_get_int(set, "vector.dimension"), 768);
    assert_int_equal(option_get_int(set, "vector.ef_search"), 99);
    option_set_free(set);
}

static void a_file_with_nothing_in_it_is_legal(void **state) {
    (void)state;
    static const char *const empty[] = {"",
                                        "\n\n",
                                        "# only a comment\n",
                                        "---\n",
                                        "--- {}\n...\n",
                                        "null\n",
                                        "server:\nvector: ~\n",
                                        "\xef\xbb\xbfserver:\n"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        option_set *set = new_set();
        braid_error err = {0};
        load(set, empty[i], &err);
        assert_string_equal(err.message, "");
        assert_true(option_is_default(set, "server.listen"));
        option_set_free(set);
    }
}

static void a_bad_file_is_refused_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int code, line;
        const char *message;
    } bad[] = {{"server:\n  listen: x\nvector:\n  dimention: 8\n", BRAID_E_UNKNOWN_FIELD, 4,
                "there is no option \"vector.dimention\"; the nearest is \"vector.dimension\""},
               {"\n\nvectr:\n  dimension: 8\n", BRAID_E_UNKNOWN_FIELD, 3,
                "there is no section \"vectr\"; the nearest is \"vector\""},
               {"dimension: 8\n", BRAID_E_UNKNOWN_FIELD, 1,
                "there is no section \"dimension\"; the nearest is \"vector.dimension\""},
               {"vector:\n  index: hnsw\n  dimension: 9999\n", BRAID_E_INVALID, 3,
                "vector.dimension must be a whole number from 1 to 4096, not \"9999\""},
               {"vector:\n  dimension: 8\n  dimension: 9\n", BRAID_E_INVALID, 3,
                "vector.dimension is given twice, first in line 2"},
               {"vector:\n  dimension: 8\nvector:\n  ef_search: 9\n", BRAID_E_INVALID, 3,
                "section \"vector\" is given twice, first in line 1"},
               {"vector:\n  dimension:\n", BRAID_E_INVALID, 2,
                "vector.dimension has no value; remove the line, or write \"\" for an empty text"},
               {"vector:\n  dimension: [1, 2]\n", BRAID_E_INVALID, 2,
                "vector.dimension must be one plain value, not a list or a mapping"},
               {"vector:\n  dimension: {a: 1}\n", BRAID_E_INVALID, 2, NULL},
               {"vector: 8\n", BRAID_E_INVALID, 1, "section \"vector\" must hold lines of \"  name: value\""},
               {"vector:\n  - dimension: 8\n", BRAID_E_INVALID, 2, NULL},
               {"server: &s\n  title: x\nvector: *s\n", BRAID_E_INVALID, 3, NULL},
               {"server:\n  title: &t x\n  listen: *t\n", BRAID_E_INVALID, 3,
                "server.listen is an alias; aliases are not supported"},
               {"server:\n  title: \"a\\0b\"\n", BRAID_E_INVALID, 2, "server.title has a NUL character in it"},
               {"server:\n  <<: {title: x}\n", BRAID_E_UNKNOWN_FIELD, 2, NULL},
               {"server:\n  [title]: x\n", BRAID_E_INVALID, 2, NULL},
               {"? [a]\n: b\n", BRAID_E_INVALID, 1, NULL},
               {"- server\n", BRAID_E_INVALID, 1, "the file must hold sections (\"name:\")"},
               {"just text\n", BRAID_E_INVALID, 1, NULL},
               {"server:\n  title: x\n---\nserver:\n  title: y\n", BRAID_E_INVALID, 3, "a second document begins here"},
               {"server:\n  title: \"open\n", BRAID_E_INVALID, 3, NULL},
               {"server:\n\ttitle: x\n", BRAID_E_INVALID, 2, NULL},
               {"server:\n  title: x\n listen: y\n", BRAID_E_INVALID, 3, NULL},
               {"server: {title: x\n", BRAID_E_INVALID, 2, NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        option_set *set = new_set();
        assert_int_equal(option_set_value(set, "server.title", "before", NULL), BRAID_OK);
        braid_error err = {0};
        int code = load(set, bad[i].text, &err);
        char want[400];
        int n = snprintf(want, sizeof want, "%s:%d: ", yaml_path, bad[i].line);
        if (code != bad[i].code || strncmp(err.message, want, (size_t)n) != 0)
            fail_msg("case %zu: %s \"%s\", wanted line %d", i, error_name(code), err.message, bad[i].line);
        if (bad[i].message != NULL) assert_string_equal(err.message + n, bad[i].message);
        assert_string_equal(err.store, "options");
        assert_string_equal(option_get(set, "server.title"), "before"); /* all or nothing */
        assert_true(option_is_default(set, "vector.index"));
        option_set_free(set);
    }
}

static void what_is_no_yaml_file_is_refused(void **state) {
    (void)state;
    option_set *set = new_set();
    braid_error err = {0};
    assert_int_equal(option_set_load_yaml(set, "/nonexistent/braid.yaml", &err), BRAID_E_NOT_FOUND);
    assert_string_equal(err.message, "cannot open /nonexistent/braid.yaml: No such file or directory");
    error_clear(&err);
    assert_int_equal(option_set_load_yaml(set, "/tmp", &err), BRAID_E_IO);
    assert_string_equal(err.message, "reading /tmp failed: Is a directory");
    error_clear(&err);
    assert_int_equal(load(set, "server:\n  title: \xff\xfe\n", &err), BRAID_E_UTF8);
    assert_non_null(strstr(err.message, "at byte 17"));
    size_t big = 2 << 20;
    char *text = malloc(big);
    assert_non_null(text);
    memset(text, '#', big);
    error_clear(&err);
    assert_int_equal(load_bytes(set, text, big, &err), BRAID_E_TOO_LARGE);
    memset(text, '[', big);
    error_clear(&err);
    assert_int_equal(load_bytes(set, text, big, &err), BRAID_E_INVALID); /* and soon: nothing is nested */
    free(text);
    option_set_free(set);
}

/* Random damage to a good file: never a crash, and either all of it is in force or nothing. */
static void damaged_files_are_taken_whole_or_not_at_all(void **state) {
    (void)state;
    const uint64_t seed = 31;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    static const char good[] = "# a comment that may be damaged without harm, as long as it stays one line\n"
                               "server:\n  listen: \"a.host.with.a.long.name.example.org:1\"\n"
                               "  title: 'some words of a title'\n"
                               "vector: {dimension: 8, index: flat}\nrecord:\n  create: no\n";
    int refused = 0, taken = 0;
    for (int i = 0; i < 1500; i++) {
        char text[sizeof good];
        memcpy(text, good, sizeof good);
        for (uint64_t n = 1 + rng_below(&r, 3); n > 0; n--) {
            static const char marks[] = ":{}[]\"'#&*!|>-? \n\t%@`,abc012";
            uint64_t mark = rng_below(&r, sizeof marks + 3); /* beyond the end: any byte */
            text[rng_below(&r, sizeof good - 1)] = mark < sizeof marks - 1 ? marks[mark] : (char)rng_next(&r);
        }
        option_set *set = new_set();
        braid_error err = {0};
        int code = load_bytes(set, text, sizeof good - 1, &err);
        assert_int_equal(err.code, code);
        if (code != BRAID_OK) {
            assert_true(option_is_default(set, "server.listen") && option_is_default(set, "server.title"));
            assert_true(option_is_default(set, "vector.dimension") && err.message[0] != '\0');
            assert_true(utf8_valid(err.message, strlen(err.message)));
        }
        refused += code != BRAID_OK;
        taken += code == BRAID_OK;
        option_set_free(set);
    }
    print_message("%d refused, %d taken\n", refused, taken);
    assert_true(refused > 300 && taken > 300);
}

/* ---- printing ---- */

static void the_printed_file_reads_back(void **state) {
    (void)state;
    option_set *set = new_set(), *again = new_set();
    assert_int_equal(option_set_value(set, "server.title", "\"quoted\" \\ # caf\xc3\xa9: no", NULL), BRAID_OK);
    assert_int_equal(option_set_value(set, "policy.exploration", "0.25", NULL), BRAID_OK);
    assert_int_equal(option_set_value(set, "record.create", "off", NULL), BRAID_OK);
    assert_int_equal(option_set_value(set, "vector.index", "hnsw", NULL), BRAID_OK);
    buf text, twice;
    buf_init(&text, 0);
    buf_init(&twice, 0);
    option_set_print_yaml(set, &text);
    braid_error err = {0};
    load(again, text.data, &err);
    assert_string_equal(err.message, "");
    option_set_print_yaml(again, &twice);
    assert_string_equal(twice.data, text.data);
    assert_string_equal(option_get(again, "server.title"), "\"quoted\" \\ # caf\xc3\xa9: no");
    assert_false(option_is_default(again, "vector.index")); /* set, though to the default's value */
    assert_true(option_is_default(again, "vector.dimension"));
    assert_non_null(strstr(text.data, "\nvector:\n  # Numbers in a vector. (1 to 4096)\n  #dimension: 384\n"
                                      "  # The vector store. (hnsw | flat | pgvector)\n  index: hnsw\n"));
    buf_free(&text);
    buf_free(&twice);
    option_set_free(set);
    option_set_free(again);
}

/* Every line that shows a default is good as it is once the # is gone. */
static void the_defaults_in_the_sample_are_legal_when_uncommented(void **state) {
    (void)state;
    option_set *set = new_set();
    buf text;
    buf_init(&text, 0);
    option_set_print_yaml(set, &text);
    for (char *at = strstr(text.data, "\n  #"); at != NULL; at = strstr(at + 1, "\n  #"))
        if (at[4] != ' ') memmove(at + 3, at + 4, strlen(at + 4) + 1);
    braid_error err = {0};
    load(set, text.data, &err);
    assert_string_equal(err.message, "");
    for (int i = 0; i < ROWS; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s.%s", rows[i].section, rows[i].name);
        assert_false(option_is_default(set, key));
        assert_string_equal(option_get(set, key), rows[i].default_value);
    }
    buf_free(&text);
    option_set_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_set_holds_the_defaults),
        cmocka_unit_test(a_value_that_fits_is_taken),
        cmocka_unit_test(a_value_that_does_not_fit_changes_nothing),
        cmocka_unit_test(an_unknown_key_is_answered_with_the_nearest),
        cmocka_unit_test(a_copy_stands_on_its_own),
        cmocka_unit_test(the_environment_sets_what_bears_the_prefix),
        cmocka_unit_test(a_slip_in_the_environment_is_named_and_nothing_is_set),
        cmocka_unit_test(a_file_of_sections_is_read),
        cmocka_unit_test(a_file_with_nothing_in_it_is_legal),
        cmocka_unit_test(a_bad_file_is_refused_with_its_line),
        cmocka_unit_test(what_is_no_yaml_file_is_refused),
        cmocka_unit_test(damaged_files_are_taken_whole_or_not_at_all),
        cmocka_unit_test(the_printed_file_reads_back),
        cmocka_unit_test(the_defaults_in_the_sample_are_legal_when_uncommented),
    };
    return cmocka_run_group_tests_name("base_options", tests, make_file, remove_file);
}
