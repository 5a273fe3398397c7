/* base: error, buf, utf8, log. The UTF-8 decoder is held against a slow one written from the definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

/* ---- error ---- */

static void the_first_cause_wins(void **state) {
    (void)state;
    braid_error err = {0};
    assert_int_equal(error_set(&err, BRAID_E_IO, "record/sqlite", "disk %d", 7), BRAID_E_IO);
    assert_int_equal(error_set(&err, BRAID_E_INVALID, "request", "later"), BRAID_E_INVALID);
    assert_int_equal(err.code, BRAID_E_IO);
    assert_string_equal(err.store, "record/sqlite");
    assert_string_equal(err.message, "disk 7");
    error_clear(&err);
    assert_int_equal(err.code, BRAID_OK);
    error_set(&err, BRAID_E_INVALID, "request", "later");
    assert_string_equal(err.message, "later");
}

static void an_error_may_be_ignored_by_its_caller(void **state) {
    (void)state;
    assert_int_equal(error_set(NULL, BRAID_E_BUSY, "pool", "full"), BRAID_E_BUSY);
    error_clear(NULL);
}

static void a_message_has_no_control_characters(void **state) {
    (void)state;
    braid_error err = {0};
    error_set(&err, BRAID_E_INVALID, "request", "a\nb\x1b[31m\x7f\xc2\x85 \xe2\x80\xa8 \xff caf\xc3\xa9");
    assert_string_equal(err.message, "a?b?[31m?? ? ? caf\xc3\xa9");
}

static void a_long_message_is_cut_between_characters(void **state) {
    (void)state;
    for (size_t lead = 0; lead < 4; lead++) {
        for (size_t count = 60; count < 700; count += 317) {
            char text[3000] = "";
            memset(text, 'x', lead);
            for (size_t i = 0; i < count; i++) memcpy(text + lead + 3 * i, "\xe2\x82\xac", 3);
            text[lead + 3 * count] = '\0';
            braid_error err = {0};
            error_set(&err, BRAID_E_INVALID, text, "%s", text);
            size_t len = strlen(err.message), store_len = strlen(err.store);
            assert_true(utf8_valid(err.message, len));
            assert_true(utf8_valid(err.store, store_len));
            assert_memory_equal(err.message, text, len);
            assert_null(strchr(err.message, '?'));
            if (lead + 3 * count >= sizeof err.message) assert_true(len > sizeof err.message - 4);
            assert_true(store_len > sizeof err.store - 4);
        }
    }
}

static void every_code_has_its_row(void **state) {
    (void)state;
    assert_string_equal(error_name(BRAID_E_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(error_sentence(BRAID_E_NOT_FOUND), "there is no such thing");
    assert_int_equal(error_http_status(BRAID_E_NOT_FOUND), 404);
    assert_int_equal(error_exit_code(BRAID_E_NOT_FOUND), 1);
    assert_int_equal(error_exit_code(BRAID_E_INVALID), 2);
    assert_int_equal(error_exit_code(BRAID_OK), 0);
    assert_int_equal(error_http_status(BRAID_OK), 200);
    assert_string_equal(error_name(42), "UNKNOWN");
    assert_int_equal(error_http_status(42), 500);
#define SANE(name, code, http, exit, text)                                                                             \
    assert_true((code) <= -30700 && (http) >= 400 && (exit) >= 1 && *(text) != 0);
    BRAID_ERROR_MAP(SANE)
#undef SANE
}

/* ---- buf ---- */

static void an_empty_buffer_is_an_empty_string(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 0);
    assert_string_equal(b.data, "");
    buf_reset(&b);
    assert_string_equal(b.data, "");
    char *mine = buf_steal(&b);
    assert_string_equal(mine, "");
    free(mine);
    buf_free(&b);
    buf_free(&b);
}

static void appending_keeps_every_byte(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 0);
    char want[5001] = "";
    for (int i = 0; i < 1000; i++) {
        char five[16];
        snprintf(five, sizeof five, "%04d,", i);
        memcpy(want + 5 * i, five, 6);
        if (i % 3 == 0)
            assert_true(buf_printf(&b, "%04d,", i));
        else if (i % 3 == 1)
            assert_true(buf_puts(&b, five));
        else
            assert_true(buf_add(&b, five, 4) && buf_putc(&b, ','));
        assert_int_equal(b.data[b.len], 0);
    }
    assert_string_equal(b.data, want);
    buf_reset(&b);
    assert_string_equal(b.data, "");
    assert_true(buf_add(&b, "a\0b", 3)); /* bytes, not only text */
    assert_int_equal(b.len, 3);
    char *mine = buf_steal(&b);
    assert_memory_equal(mine, "a\0b", 4);
    free(mine);
    assert_string_equal(b.data, "");
    assert_true(buf_puts(&b, "again"));
    assert_string_equal(b.data, "again");
    buf_free(&b);
}

static void the_ceiling_is_met_once_and_remembered(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        buf b;
        buf_init(&b, 10);
        assert_true(buf_puts(&b, "0123456789"));
        assert_true(buf_add(&b, "", 0));
        bool ok = way == 0 ? buf_putc(&b, 'x') : way == 1 ? buf_printf(&b, "%d", 7) : buf_add(&b, "abc", SIZE_MAX);
        assert_false(ok);
        assert_true(b.failed);
        assert_string_equal(b.data, "0123456789");
        assert_false(buf_puts(&b, ""));
        buf_reset(&b);
        assert_true(buf_puts(&b, "ok"));
        assert_false(buf_printf(&b, "%s", "123456789")); /* 9 bytes do not fit after 2, though memory is there */
        assert_string_equal(b.data, "ok");
        assert_null(buf_steal(&b));
        assert_false(b.failed);
        buf_free(&b);
    }
}

static void json_strings_escape_what_json_wants(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 0);
    buf_json_string(&b, "\"\\/\b\f\n\r\t\x01\x1f\x7f \xc3\xa9");
    assert_string_equal(b.data, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f \xc3\xa9\"");
    buf_reset(&b);
    buf_json_string(&b, "");
    assert_string_equal(b.data, "\"\"");
    buf_free(&b);
}

static void assert_real(double value, const char *want) {
    buf b;
    buf_init(&b, 0);
    assert_true(buf_json_real(&b, value));
    assert_string_equal(b.data, want);
    buf_free(&b);
}

static void numbers_are_the_shortest_text_that_reads_back(void **state) {
    (void)state;
    assert_real(1985, "1985");
    assert_real(-3, "-3");
    assert_real(0, "0");
    assert_real(-0.0, "-0.0");
    assert_real(0.1, "0.1");
    assert_real(0.1 + 0.2, "0.30000000000000004");
    assert_real(1e15, "1000000000000000");
    assert_real(9007199254740992.0, "9007199254740992");
    assert_real(1e22, "1e+22");
    assert_real(1e-7, "1e-07");
    assert_real(0.5, "0.5");
    assert_real(5e-324, "5e-324");
    assert_real(DBL_MAX, "1.7976931348623157e+308");
    assert_real(NAN, "null");
    assert_real(INFINITY, "null");
    assert_real(-INFINITY, "null");
    rng r;
    rng_seed(&r, 20);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = rng_next(&r);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        buf b;
        buf_init(&b, 0);
        buf_json_real(&b, value);
        double back = strtod(b.data, NULL);
        assert_memory_equal(&back, &value, sizeof value);
        buf_free(&b);
    }
}

static void numbers_do_not_follow_the_locale(void **state) {
    (void)state;
    if (setlocale(LC_NUMERIC, "fr_FR.UTF-8") == NULL && setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL) {
        print_message("no locale with a decimal comma is installed\n");
        skip();
    }
    assert_real(0.25, "0.25");
    assert_real(1.5e300, "1.5e+300");
    setlocale(LC_NUMERIC, "C");
}

/* ---- utf8 ---- */

static size_t encode(uint32_t point, unsigned char *out) {
    if (point < 0x80) {
        out[0] = (unsigned char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (unsigned char)(0xc0 | point >> 6);
        out[1] = (unsigned char)(0x80 | (point & 63));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (unsigned char)(0xe0 | point >> 12);
        out[1] = (unsigned char)(0x80 | (point >> 6 & 63));
        out[2] = (unsigned char)(0x80 | (point & 63));
        return 3;
    }
    out[0] = (unsigned char)(0xf0 | point >> 18);
    out[1] = (unsigned char)(0x80 | (point >> 12 & 63));
    out[2] = (unsigned char)(0x80 | (point >> 6 & 63));
    out[3] = (unsigned char)(0x80 | (point & 63));
    return 4;
}

static void every_code_point_is_read_and_no_surrogate(void **state) {
    (void)state;
    for (uint32_t point = 0; point < 0x110400; point++) {
        unsigned char text[4];
        size_t len = encode(point, text);
        uint32_t got = UINT32_MAX;
        bool legal = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        size_t step = utf8_decode((char *)text, len, &got);
        if (step != (legal ? len : 0) || (legal && got != point))
            fail_msg("U+%04X: %zu bytes, U+%04X", point, step, got);
        for (size_t cut = 0; cut < len; cut++)
            if (utf8_decode((char *)text, cut, &got) != 0) fail_msg("U+%04X was read from %zu bytes", point, cut);
    }
}

/* All there is of two, three and four bytes that can go wrong at the head: only what re-encodes to itself is valid. */
static void only_the_canonical_form_is_valid(void **state) {
    (void)state;
    for (uint32_t head = 0; head < 0x10000; head++) {
        for (uint32_t tail = 0; tail < 4; tail++) {
            static const unsigned char tails[4][2] = {{0x80, 0x80}, {0xbf, 0xbf}, {0x80, 'x'}, {'x', 0x80}};
            unsigned char text[4] = {(unsigned char)(head >> 8), (unsigned char)head, tails[tail][0], tails[tail][1]};
            unsigned char again[4];
            uint32_t point = 0;
            size_t step = utf8_decode((char *)text, 4, &point);
            if (step > 0)
                assert_true(encode(point, again) == step && memcmp(again, text, step) == 0);
            else
                assert_true(text[0] >= 0x80);
        }
    }
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xfe",
                                      "\xff",
                                      "\xe2\x82",
                                      "abcdefgh\xc3"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(utf8_valid(bad[i], strlen(bad[i])));
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("a\0b", 3));
    const char *good = "0123456789abcdef caf\xc3\xa9 \xf0\x9f\x8e\xac 01234567 "
                       "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf";
    assert_true(utf8_valid(good, strlen(good)));
}

static void a_prefix_ends_at_a_character(void **state) {
    (void)state;
    const char *text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xac.";
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11};
    for (size_t max = 0; max < sizeof want / sizeof *want; max++)
        assert_int_equal(utf8_prefix(text, strlen(text), max), want[max]);
    assert_int_equal(utf8_prefix("\x80\x80\x80\x80\x80\x80", 6, 4), 4); /* not UTF-8: cut anywhere, but cut */
}

static void assert_fold(const char *text, const char *want) {
    buf b;
    buf_init(&b, 0);
    utf8_fold(text, strlen(text), &b);
    assert_string_equal(b.data, want);
    buf_free(&b);
}

static void folding_forgets_case_accents_and_punctuation(void **state) {
    (void)state;
    assert_fold("", "");
    assert_fold(" \t ... ", "");
    assert_fold("L'\xc3\x89t\xc3\xa9, \xc3\xa0 No\xc3\xabl!", "l ete a noel");
    assert_fold("\xc5\x92uvre \xc3\x86on Stra\xc3\x9f"
                "e",
                "oeuvre aeon strasse");
    assert_fold("e\xcc\x81t\xc3\xa9", "ete"); /* decomposed and composed */
    assert_fold("\xc3\x87"
                "a \xe2\x80\x94 l\xe2\x80\x99"
                "ann\xc3\xa9"
                "e \xc2\xab"
                "2001\xc2\xbb",
                "ca l annee 2001");
    assert_fold("Alien\xc2\xb3", "alien3");
    assert_fold("\xc5\x81\xc3\xb3"
                "d\xc5\xba",
                "lodz");
    assert_fold("\xce\x9f\xce\xb4\xcf\x8d\xcf\x83\xcf\x83\xce\xb5\xce\xb9\xce\xb1\xcf\x82",
                "\xce\xbf\xce\xb4\xcf\x85\xcf\x83\xcf\x83\xce\xb5\xce\xb9\xce\xb1\xcf\x83"); /* Οδύσσειας */
    assert_fold("\xd0\x9c\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd0\xb0", "\xd0\xbc\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd0\xb0");
    assert_fold("\xe4\xb8\x83\xe4\xba\xba\xe3\x81\xae\xe4\xbe\x8d\xe3\x80\x82",
                "\xe4\xb8\x83\xe4\xba\xba\xe3\x81\xae\xe4\xbe\x8d");
    assert_fold("\xe1\xbb\x87t", "et"); /* Vietnamese */
    assert_fold("\xef\xac\x81lm \xf0\x9f\x8e\xac \xef\xbc\x92", "film 2");
    assert_fold("a\xff\xfe"
                "b",
                "a b");
    assert_fold("WALL\xc2\xb7"
                "E",
                "wall e");
}

/* Folding twice is folding once; the result is UTF-8 without double, leading or trailing spaces, whatever came in. */
static void folding_is_stable(void **state) {
    (void)state;
    const uint64_t seed = 77;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng r;
    rng_seed(&r, seed);
    for (int round = 0; round < 20000; round++) {
        char text[128];
        size_t len = 0;
        while (len < 100) {
            uint64_t kind = rng_below(&r, 8);
            uint32_t limit = kind < 3 ? 0x80 : kind < 5 ? 0x600 : kind < 7 ? 0x3100 : 0x10ffff;
            if (kind == 0)
                text[len++] = (char)rng_next(&r);
            else
                len += encode((uint32_t)rng_below(&r, limit), (unsigned char *)text + len);
        }
        buf once, twice;
        buf_init(&once, 0);
        buf_init(&twice, 0);
        utf8_fold(text, len, &once);
        utf8_fold(once.data, once.len, &twice);
        assert_true(utf8_valid(once.data, once.len));
        assert_string_equal(once.data, twice.data);
        assert_null(strstr(once.data, "  "));
        assert_true(once.len == 0 || (once.data[0] != ' ' && once.data[once.len - 1] != ' '));
        buf_free(&once);
        buf_free(&twice);
    }
}

/* ---- log ---- */

static size_t read_lines(int fd, char *out, size_t size) {
    ssize_t n = read(fd, out, size - 1);
    assert_true(n >= 0 || errno == EAGAIN);
    size_t len = n > 0 ? (size_t)n : 0;
    out[len] = '\0';
    return len;
}

static void a_log_line_cannot_be_forged(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    logger l = {.level = LOG_INFO, .fd = fds[1]};
    char line[8192];
    log_write(&l, LOG_WARN, "feed", "user \"%s\"", "x\n2026-01-01T00:00:00Z error root: \x1b[2J\xff caf\xc3\xa9");
    read_lines(fds[0], line, sizeof line);
    assert_non_null(
        strstr(line, "Z warn feed: user \"x\\n2026-01-01T00:00:00Z error root: \\x1b[2J\\xff caf\xc3\xa9\"\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    int64_t at;
    line[strcspn(line, " ")] = '\0';
    assert_true(clock_parse_rfc3339(line, &at));

    log_write(&l, LOG_DEBUG, "feed", "not wanted");
    log_write(NULL, LOG_ERROR, "feed", "nobody listens");
    assert_int_equal(read_lines(fds[0], line, sizeof line), 0);

    char *huge = malloc(10001);
    assert_non_null(huge);
    for (int control = 0; control < 2; control++) {
        memset(huge, control ? 1 : 'x', 10000);
        huge[10000] = '\0';
        log_write(&l, LOG_ERROR, "feed", "%s", huge);
        size_t len = read_lines(fds[0], line, sizeof line);
        assert_true(len > 2000 && len <= 4096);
        assert_string_equal(line + len - 4, "...\n");
    }
    free(huge);
    close(fds[0]);
    close(fds[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_cause_wins),
        cmocka_unit_test(an_error_may_be_ignored_by_its_caller),
        cmocka_unit_test(a_message_has_no_control_characters),
        cmocka_unit_test(a_long_message_is_cut_between_characters),
        cmocka_unit_test(every_code_has_its_row),
        cmocka_unit_test(an_empty_buffer_is_an_empty_string),
        cmocka_unit_test(appending_keeps_every_byte),
        cmocka_unit_test(the_ceiling_is_met_once_and_remembered),
        cmocka_unit_test(json_strings_escape_what_json_wants),
        cmocka_unit_test(numbers_are_the_shortest_text_that_reads_back),
        cmocka_unit_test(numbers_do_not_follow_the_locale),
        cmocka_unit_test(every_code_point_is_read_and_no_surrogate),
        cmocka_unit_test(only_the_canonical_form_is_valid),
        cmocka_unit_test(a_prefix_ends_at_a_character),
        cmocka_unit_test(folding_forgets_case_accents_and_punctuation),
        cmocka_unit_test(folding_is_stable),
        cmocka_unit_test(a_log_line_cannot_be_forged),
    };
    return cmocka_run_group_tests_name("base_text", tests, NULL, NULL);
}
