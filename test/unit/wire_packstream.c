/* PackStream: what is written reads back, in the shortest form; what is hostile is refused, where it is hostile.
 *
 * Bytes written by hand here follow the specification; wire_oracle.py compares with the official driver. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "wire/packstream.h"

/* The message in a block of exactly its size, so that ASan sees a read past its end. */
typedef struct message {
    uint8_t *data;
    size_t len;
} message;

static message from_hex(const char *hex) {
    message m = {.data = malloc(strlen(hex) / 2 + 1)};
    unsigned byte;
    for (const char *p = hex; *p != '\0'; p++) {
        if (*p == ' ') continue;
        assert_int_equal(sscanf(p, "%2x", &byte), 1);
        m.data[m.len++] = (uint8_t)byte;
        p++;
    }
    m.data = realloc(m.data, m.len > 0 ? m.len : 1);
    return m;
}

static void assert_hex(const buf *b, const char *hex) {
    message m = from_hex(hex);
    assert_false(b->failed);
    assert_int_equal(b->len, m.len);
    assert_memory_equal(b->data, m.data, m.len);
    free(m.data);
}

/* Reads everything; NULL if all is well, else the problem. */
static const char *read_all(const void *data, size_t len) {
    ps_reader r;
    ps_value v;
    static char text[256];
    ps_reader_init(&r, data, len);
    while (ps_next(&r, &v)) continue;
    if (ps_finished(&r)) return NULL;
    braid_error err = {0};
    assert_int_equal(ps_error(&r, "test", &err), BRAID_E_CORRUPT);
    snprintf(text, sizeof text, "%s", err.message);
    return text;
}

static void assert_refused(const char *hex, const char *problem) {
    message m = from_hex(hex);
    const char *found = read_all(m.data, m.len);
    if (found == NULL || strstr(found, problem) == NULL)
        fail_msg("%s: expected \"%s\", found \"%s\"", hex, problem, found ? found : "nothing wrong");
    free(m.data);
}

static void integers_take_the_shortest_form(void **state) {
    (void)state;
    static const struct {
        int64_t value;
        const char *hex;
    } rows[] = {{0, "00"},
                {1, "01"},
                {127, "7F"},
                {-1, "FF"},
                {-16, "F0"},
                {-17, "C8 EF"},
                {-128, "C8 80"},
                {128, "C9 0080"},
                {-129, "C9 FF7F"},
                {32767, "C9 7FFF"},
                {-32768, "C9 8000"},
                {32768, "CA 00008000"},
                {-32769, "CA FFFF7FFF"},
                {INT32_MAX, "CA 7FFFFFFF"},
                {INT32_MIN, "CA 80000000"},
                {(int64_t)INT32_MAX + 1, "CB 0000000080000000"},
                {INT64_MAX, "CB 7FFFFFFFFFFFFFFF"},
                {INT64_MIN, "CB 8000000000000000"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf b;
        int64_t back;
        ps_reader r;
        buf_init(&b, 0);
        assert_true(ps_put_int(&b, rows[i].value));
        assert_hex(&b, rows[i].hex);
        ps_reader_init(&r, b.data, b.len);
        assert_true(ps_read_int(&r, &back));
        assert_true(back == rows[i].value);
        assert_true(ps_finished(&r));
        buf_free(&b);
    }
}

static void longer_forms_of_integers_are_read_too(void **state) {
    (void)state;
    static const char *const forms[] = {"05", "C805", "C90005", "CA00000005", "CB0000000000000005"};
    for (size_t i = 0; i < 5; i++) {
        message m = from_hex(forms[i]);
        ps_reader r;
        int64_t v;
        ps_reader_init(&r, m.data, m.len);
        assert_true(ps_read_int(&r, &v));
        assert_int_equal(v, 5);
        free(m.data);
    }
}

static void lengths_take_the_shortest_form(void **state) {
    (void)state;
    static const struct {
        size_t len;
        const char *text, *list, *dict, *bytes;
    } rows[] = {{0, "80", "90", "A0", "CC 00"},
                {15, "8F", "9F", "AF", "CC 0F"},
                {16, "D0 10", "D4 10", "D8 10", "CC 10"},
                {255, "D0 FF", "D4 FF", "D8 FF", "CC FF"},
                {256, "D1 0100", "D5 0100", "D9 0100", "CD 0100"},
                {65535, "D1 FFFF", "D5 FFFF", "D9 FFFF", "CD FFFF"},
                {65536, "D2 00010000", "D6 00010000", "DA 00010000", "CE 00010000"}};
    char *text = malloc(70000);
    memset(text, 'x', 70000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf b;
        buf_init(&b, 0);
        ps_put_text(&b, text, rows[i].len);
        b.len -= rows[i].len;
        assert_hex(&b, rows[i].text);
        buf_reset(&b);
        ps_put_bytes(&b, text, rows[i].len);
        b.len -= rows[i].len;
        assert_hex(&b, rows[i].bytes);
        buf_reset(&b);
        ps_put_list(&b, rows[i].len);
        assert_hex(&b, rows[i].list);
        buf_reset(&b);
        ps_put_map(&b, rows[i].len);
        assert_hex(&b, rows[i].dict);
        buf_free(&b);
    }
    free(text);
}

static void numbers_keep_every_bit(void **state) {
    (void)state;
    static const double rows[] = {0.0, -0.0, 1.0, 0.1, -1e308, 5e-324, INFINITY, -INFINITY, NAN, 1.0 / 3};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf b;
        ps_reader r;
        double back;
        buf_init(&b, 0);
        ps_put_real(&b, rows[i]);
        assert_int_equal(b.len, 9);
        ps_reader_init(&r, b.data, b.len);
        assert_true(ps_read_real(&r, &back));
        assert_memory_equal(&back, &rows[i], 8);
        buf_free(&b);
    }
}

static void a_vector_reads_back_as_it_was_written(void **state) {
    (void)state;
    enum { DIM = 777 };
    float in[DIM], out[DIM];
    for (int i = 0; i < DIM; i++) in[i] = (float)sin(i) * 3;
    for (size_t n = 0; n <= DIM; n += n < 70 ? 1 : 101) {
        buf b;
        ps_reader r;
        size_t got;
        int64_t after;
        buf_init(&b, 0);
        ps_put_list(&b, 2);
        ps_put_floats(&b, in, n);
        ps_put_int(&b, 42);
        ps_reader_init(&r, b.data, b.len);
        assert_true(ps_read_list(&r, &(uint32_t){0}));
        assert_true(ps_read_floats(&r, out, n, &got));
        assert_int_equal(got, n);
        assert_memory_equal(in, out, n * sizeof in[0]);
        assert_true(ps_read_int(&r, &after));
        assert_int_equal(after, 42);
        assert_true(ps_finished(&r));
        if (n > 0) {
            ps_reader_init(&r, b.data, b.len);
            assert_true(ps_read_list(&r, &(uint32_t){0}));
            assert_false(ps_read_floats(&r, out, n - 1, &got));
        }
        buf_free(&b);
    }
}

static void integers_in_a_vector_count_as_numbers(void **state) {
    (void)state;
    message m = from_hex("94 C1 3FF8000000000000 02 C1 4000000000000000 FF");
    ps_reader r;
    float out[4];
    size_t n;
    ps_reader_init(&r, m.data, m.len);
    assert_true(ps_read_floats(&r, out, 4, &n));
    assert_true(n == 4 && out[0] == 1.5f && out[1] == 2 && out[2] == 2 && out[3] == -1);
    assert_true(ps_finished(&r));
    free(m.data);
}

/* {"a": [1, {}, []], "b": "x"} */
static void a_cursor_walks_skips_and_leaves(void **state) {
    (void)state;
    message m = from_hex("A2 81 61 93 01 A0 90 81 62 81 78");
    ps_reader r;
    ps_text key;
    ps_raw raw;
    uint32_t n;
    ps_reader_init(&r, m.data, m.len);
    assert_true(ps_read_map(&r, &n) && n == 2);
    assert_true(ps_read_text(&r, &key) && ps_text_is(key, "a"));
    ps_reader mark = r;
    assert_true(ps_skip(&r, &raw) && raw.len == 4);
    assert_true(ps_read_text(&r, &key) && ps_text_is(key, "b"));
    assert_true(ps_read_text(&r, &key) && ps_text_is(key, "x"));
    assert_true(ps_finished(&r));
    assert_false(ps_leave(&r)); /* nothing is open any more */

    r = mark; /* a copy of a reader is a place to come back to */
    assert_true(ps_read_list(&r, &n) && n == 3);
    assert_true(ps_leave(&r));
    assert_true(ps_read_text(&r, &key) && ps_text_is(key, "b"));
    assert_true(ps_leave(&r));
    assert_true(ps_finished(&r));
    free(m.data);
}

static void null_can_be_asked_for(void **state) {
    (void)state;
    message m = from_hex("92 C0 05");
    ps_reader r;
    bool null;
    int64_t v;
    ps_reader_init(&r, m.data, m.len);
    assert_true(ps_read_list(&r, &(uint32_t){0}));
    assert_true(ps_read_null(&r, &null) && null);
    assert_true(ps_read_null(&r, &null) && !null);
    assert_true(ps_read_int(&r, &v) && v == 5);
    assert_false(ps_read_null(&r, &null));
    assert_false(ps_finished(&r));
    free(m.data);
}

static void the_first_problem_sticks(void **state) {
    (void)state;
    message m = from_hex("92 01 02");
    ps_reader r;
    ps_text text;
    ps_value v;
    ps_reader_init(&r, m.data, m.len);
    assert_true(ps_read_list(&r, &(uint32_t){0}));
    assert_false(ps_read_text(&r, &text));
    assert_string_equal(r.problem, "wanted a string");
    assert_false(ps_next(&r, &v));
    assert_false(ps_refuse(&r, "later"));
    assert_string_equal(r.problem, "wanted a string");
    assert_false(ps_finished(&r));
    free(m.data);
}

static void hostile_bytes_are_refused(void **state) {
    (void)state;
    assert_refused("", "ends too early");
    assert_refused("C4", "no value begins so");
    assert_refused("DB", "no value begins so");
    assert_refused("E0", "no value begins so");
    assert_refused("CA 0000", "cut off");
    assert_refused("C1 00000000000000", "cut off");
    assert_refused("85 61 62", "cut off");
    assert_refused("CC 02 00", "cut off");
    assert_refused("B1", "cut off");
    assert_refused("01 02", "bytes follow");
    assert_refused("92 01", "more elements are announced");
    assert_refused("D2 FFFFFFFF", "above 2^31-1");
    assert_refused("CE 80000000 00", "above 2^31-1");
    assert_refused("D6 7FFFFFFF 01", "more elements are announced");
    assert_refused("DA 7FFFFFFF 01", "above 2^30");
    assert_refused("A1 01 01", "a key is not a string");
    assert_refused("A2 81 61 01 90 01", "a key is not a string");
    assert_refused("82 C3 28", "not UTF-8");
    assert_refused("83 ED A0 80", "not UTF-8");
    assert_refused("82 C0 80", "not UTF-8");
}

/* Every list alone has bytes enough; together they have not. */
static void what_containers_announce_is_added_up(void **state) {
    (void)state;
    assert_refused("93 93 93 01 01 01", "more elements are announced");
    message m = from_hex("93 93 93 01 01 01 01 01 01 01");
    assert_null(read_all(m.data, m.len));
    free(m.data);
}

static void nesting_is_bounded(void **state) {
    (void)state;
    uint8_t deep[100];
    for (int inner = 0x90; inner <= 0x91; inner++) {
        for (int depth = 1; depth <= 40; depth++) { /* lists around one another; the innermost empty, or [1] */
            memset(deep, 0x91, sizeof deep);
            deep[depth - 1] = (uint8_t)inner;
            deep[depth] = 1;
            const char *problem = read_all(deep, (size_t)depth + (inner == 0x91));
            if (depth <= PS_DEPTH_MAX)
                assert_null(problem);
            else
                assert_non_null(strstr(problem, "nested too deeply"));
        }
    }
    uint8_t *many = malloc(1 << 20);
    memset(many, 0x91, 1 << 20);
    assert_non_null(strstr(read_all(many, 1 << 20), "nested too deeply"));
    free(many);
}

/* Depth is what is open now, not what was ever opened: wide messages are no deep ones. */
static void siblings_do_not_add_to_the_depth(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 0);
    ps_put_list(&b, 1000);
    for (int i = 0; i < 1000; i++) {
        ps_put_list(&b, 1);
        ps_put_map(&b, 1);
        ps_put_str(&b, "k");
        ps_put_list(&b, 0);
    }
    assert_null(read_all(b.data, b.len));
    buf_free(&b);
}

static void an_open_list_is_closed_with_its_count(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 0);
    size_t at = ps_open_list(&b);
    ps_put_int(&b, 1);
    size_t inner = ps_open_map(&b);
    ps_put_str(&b, "k");
    ps_put_null(&b);
    assert_true(ps_close(&b, inner, 1));
    assert_true(ps_close(&b, at, 2));
    assert_hex(&b, "D6 00000002 01 DA 00000001 81 6B C0");
    assert_null(read_all(b.data, b.len));
    buf_free(&b);
}

static void a_full_buffer_sticks(void **state) {
    (void)state;
    buf b;
    float v[10] = {0};
    buf_init(&b, 16);
    assert_false(ps_put_floats(&b, v, 10));
    assert_true(b.failed);
    assert_false(ps_put_int(&b, 1));
    assert_false(ps_put_struct(&b, PS_NODE, 16));
    buf_free(&b);
}

/* ---- structures ---- */

static void read_struct(const buf *b, ps_struct *out) {
    ps_reader r;
    ps_value head;
    ps_reader_init(&r, b->data, b->len);
    assert_true(ps_next(&r, &head));
    if (!ps_read_struct(&r, &head, out)) fail_msg("%s", r.problem);
    assert_true(ps_finished(&r));
}

static void times_read_back(void **state) {
    (void)state;
    buf b;
    ps_struct s;
    buf_init(&b, 0);
#define AGAIN(put) (buf_reset(&b), assert_true(put), read_struct(&b, &s))
    AGAIN(ps_put_date(&b, -719162));
    assert_true(s.tag == PS_DATE && s.temporal.days == -719162);
    AGAIN(ps_put_time(&b, 86399999999999, -64800));
    assert_true(s.tag == PS_TIME && s.temporal.nanoseconds == 86399999999999 && s.temporal.offset == -64800);
    AGAIN(ps_put_local_time(&b, 0));
    assert_true(s.tag == PS_LOCAL_TIME && s.temporal.nanoseconds == 0);
    AGAIN(ps_put_date_time(&b, -1, 999999999, 3600));
    assert_true(s.tag == PS_DATE_TIME && s.temporal.seconds == -1 && s.temporal.offset == 3600);
    AGAIN(ps_put_date_time_legacy(&b, 3599, 999999999, 3600));
    assert_true(s.tag == PS_DATE_TIME_LEGACY && s.temporal.seconds == 3599);
    AGAIN(ps_put_date_time_zone(&b, 7, 8, "Europe/Paris"));
    assert_true(s.tag == PS_DATE_TIME_ZONE_ID && ps_text_is(s.temporal.zone, "Europe/Paris"));
    AGAIN(ps_put_date_time_zone_legacy(&b, 7, 8, "Europe/Paris"));
    assert_true(s.tag == PS_DATE_TIME_ZONE_ID_LEGACY && s.temporal.nanoseconds == 8);
    AGAIN(ps_put_local_date_time(&b, 1, 2));
    assert_true(s.tag == PS_LOCAL_DATE_TIME && s.temporal.seconds == 1 && s.temporal.nanoseconds == 2);
    AGAIN(ps_put_duration(&b, 1, 2, 3, 4));
    assert_true(s.tag == PS_DURATION && s.temporal.months == 1 && s.temporal.days == 2 && s.temporal.seconds == 3);
    AGAIN(ps_put_point_2d(&b, 4326, 1.5, -2));
    assert_true(s.tag == PS_POINT_2D && s.point.srid == 4326 && s.point.x == 1.5 && s.point.y == -2);
    AGAIN(ps_put_point_3d(&b, 9157, 1, 2, 3));
    assert_true(s.tag == PS_POINT_3D && s.point.z == 3);
    buf_free(&b);
}

static void put_node(buf *b, int64_t id, bool five) {
    ps_put_struct(b, PS_NODE, five ? 4 : 3);
    ps_put_int(b, id);
    ps_put_strs(b, (const char *const[]){"A", "B"}, 2);
    ps_put_map(b, 1);
    ps_put_str(b, "k");
    ps_put_int(b, id);
    if (five) ps_put_str(b, "4:x:1");
}

static void put_unbound(buf *b, int64_t id, bool five) {
    ps_put_struct(b, PS_UNBOUND_RELATIONSHIP, five ? 4 : 3);
    ps_put_int(b, id);
    ps_put_str(b, "KNOWS");
    ps_put_map(b, 0);
    if (five) ps_put_str(b, "5:x:1");
}

static void put_path(buf *b, bool five, const int64_t *indices, size_t n) {
    ps_put_struct(b, PS_PATH, 3);
    ps_put_list(b, 2);
    put_node(b, 10, five);
    put_node(b, 11, five);
    ps_put_list(b, 1);
    put_unbound(b, 20, five);
    ps_put_ints(b, indices, n);
}

static void graph_values_read_in_both_forms(void **state) {
    (void)state;
    buf b;
    ps_struct s;
    buf_init(&b, 0);
    for (int five = 0; five < 2; five++) {
        buf_reset(&b);
        put_node(&b, 10, five);
        read_struct(&b, &s);
        assert_true(s.tag == PS_NODE && s.node.id == 10 && s.node.labels.len == 5 && s.node.properties.len == 4);
        assert_true(ps_text_is(s.node.element_id, five ? "4:x:1" : ""));
        buf_reset(&b);
        ps_put_struct(&b, PS_RELATIONSHIP, five ? 8 : 5);
        for (int i = 1; i <= 3; i++) ps_put_int(&b, i);
        ps_put_str(&b, "T");
        ps_put_map(&b, 0);
        for (int i = 0; five && i < 3; i++) ps_put_str(&b, "e");
        read_struct(&b, &s);
        assert_true(s.relationship.start == 2 && s.relationship.end == 3 && ps_text_is(s.relationship.type, "T"));
        buf_reset(&b);
        put_unbound(&b, 20, five);
        read_struct(&b, &s);
        assert_true(s.relationship.id == 20 && s.relationship.start == -1);
        buf_reset(&b);
        put_path(&b, five, (const int64_t[]){-1, 1, 1, 0}, 4);
        read_struct(&b, &s);
        assert_true(s.path.nodes_count == 2 && s.path.relationships_count == 1 && s.path.indices_count == 4);
    }
    buf_free(&b);
}

static void assert_struct_refused(const buf *b, const char *problem) {
    ps_reader r;
    ps_value head;
    ps_struct s;
    ps_reader_init(&r, b->data, b->len);
    assert_true(ps_next(&r, &head));
    assert_false(ps_read_struct(&r, &head, &s));
    assert_non_null(strstr(r.problem, problem));
}

static void false_structures_are_refused(void **state) {
    (void)state;
    static const struct {
        int64_t indices[4];
        size_t n;
        const char *problem;
    } paths[] = {{{0, 1}, 2, "outside its relationships"},
                 {{2, 1}, 2, "outside its relationships"},
                 {{-2, 1}, 2, "outside its relationships"},
                 {{INT64_MIN, 1}, 2, "outside its relationships"},
                 {{1, 2}, 2, "outside its nodes"},
                 {{1, -1}, 2, "outside its nodes"},
                 {{1, 1, 1}, 3, "no pairs"}};
    buf b;
    buf_init(&b, 0);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        buf_reset(&b);
        put_path(&b, true, paths[i].indices, paths[i].n);
        assert_struct_refused(&b, paths[i].problem);
    }
    static const char *const hex[][2] = {{"B1 7A 01", "unknown kind"},
                                         {"B2 44 01 02", "wrong number of fields"},
                                         {"B1 44 C0", "wanted an integer"},
                                         {"B2 64 01 CA 3B9ACA00", "within a second"},
                                         {"B1 74 FF", "within a day"},
                                         {"B3 49 01 02 CA 0000FD21", "18 hours"},
                                         {"B3 4E 01 91 01 A0", "wanted a string"},
                                         {"B3 4E 01 90 90", "wanted a map"},
                                         {"B3 50 90 90 90", "no node"},
                                         {"B3 50 91 01 90 90", "something else"}};
    for (size_t i = 0; i < sizeof hex / sizeof hex[0]; i++) {
        message m = from_hex(hex[i][0]);
        buf_reset(&b);
        buf_add(&b, m.data, m.len);
        assert_struct_refused(&b, hex[i][1]);
        free(m.data);
    }
    buf_free(&b);
}

/* ---- trees ---- */

static void a_tree_outlives_its_message(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 0);
    ps_put_map(&b, 2);
    ps_put_str(&b, "list");
    ps_put_list(&b, 2);
    ps_put_int(&b, 7);
    ps_put_str(&b, "text");
    ps_put_str(&b, "none");
    ps_put_null(&b);
    arena *mem = arena_new(1024);
    ps_reader r;
    const ps_tree *t;
    braid_error err = {0};
    ps_reader_init(&r, b.data, b.len);
    assert_int_equal(ps_tree_read(&r, mem, 0, &t, &err), BRAID_OK);
    buf_free(&b);
    const ps_tree *list = ps_tree_get(t, "list");
    assert_true(list->v.kind == PS_LIST && list->v.count == 2 && list->items[0].v.integer == 7);
    assert_string_equal(list->items[1].v.text.data, "text");
    assert_true(ps_tree_get(t, "none")->v.kind == PS_NULL);
    assert_null(ps_tree_get(t, "nothing"));
    assert_null(ps_tree_get(list, "nothing"));
    arena_free(mem);
}

static void a_tree_keeps_to_its_budget(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 0);
    ps_put_list(&b, 10000);
    for (int i = 0; i < 10000; i++) ps_put_null(&b);
    arena *mem = arena_new(1024);
    ps_reader r;
    const ps_tree *t;
    braid_error err = {0};
    ps_reader_init(&r, b.data, b.len);
    assert_int_equal(ps_tree_read(&r, mem, 10000, &t, &err), BRAID_E_TOO_LARGE);
    assert_null(t);
    error_clear(&err);
    ps_reader_init(&r, b.data, b.len - 1);
    assert_int_equal(ps_tree_read(&r, mem, 0, &t, &err), BRAID_E_CORRUPT);
    arena_free(mem);
    buf_free(&b);
}

static void views_are_copied_at_a_character(void **state) {
    (void)state;
    char out[4];
    assert_false(ps_text_copy((ps_text){"ab\xC3\xA9", 4}, out, sizeof out));
    assert_string_equal(out, "ab");
    assert_true(ps_text_copy((ps_text){"abc", 3}, out, sizeof out));
    assert_string_equal(out, "abc");
}

/* ---- random values ---- */

static void put_random(buf *b, rng *random, unsigned depth) {
    char text[40];
    switch (rng_below(random, depth < 5 ? 9 : 6)) {
    case 0: ps_put_null(b); break;
    case 1: ps_put_bool(b, rng_below(random, 2)); break;
    case 2: ps_put_int(b, (int64_t)(rng_next(random) >> rng_below(random, 64))); break;
    case 3: ps_put_int(b, -(int64_t)(rng_next(random) >> (1 + rng_below(random, 63)))); break;
    case 4: ps_put_real(b, rng_normal(random)); break;
    case 5:
        memset(text, 'a', sizeof text);
        ps_put_text(b, text, rng_below(random, sizeof text));
        break;
    case 6: {
        size_t n = rng_below(random, 20);
        ps_put_list(b, n);
        for (size_t i = 0; i < n; i++) put_random(b, random, depth + 1);
        break;
    }
    case 7: {
        size_t n = rng_below(random, 18);
        ps_put_map(b, n);
        for (size_t i = 0; i < n; i++) {
            ps_put_str(b, "key");
            put_random(b, random, depth + 1);
        }
        break;
    }
    default: {
        unsigned n = (unsigned)rng_below(random, 5);
        ps_put_struct(b, (uint8_t)rng_below(random, 128), n);
        for (unsigned i = 0; i < n; i++) put_random(b, random, depth + 1);
    }
    }
}

static void put_tree(buf *b, const ps_tree *t) {
    size_t n = t->v.count;
    switch (t->v.kind) {
    case PS_NULL: ps_put_null(b); break;
    case PS_BOOL: ps_put_bool(b, t->v.boolean); break;
    case PS_INT: ps_put_int(b, t->v.integer); break;
    case PS_FLOAT: ps_put_real(b, t->v.real); break;
    case PS_BYTES: ps_put_bytes(b, t->v.text.data, t->v.text.len); break;
    case PS_STRING: ps_put_text(b, t->v.text.data, t->v.text.len); break;
    case PS_LIST: ps_put_list(b, n); break;
    case PS_MAP: ps_put_map(b, n), n *= 2; break;
    case PS_STRUCT: ps_put_struct(b, t->v.tag, (unsigned)n); break;
    }
    for (size_t i = 0; t->items != NULL && i < n; i++) put_tree(b, &t->items[i]);
}

/* encode(decode(x)) == x for what we wrote; every cut and no bit flip is taken for the whole. */
static void random_values_survive(void **state) {
    (void)state;
    uint64_t seed = (uint64_t)time(NULL);
    const char *given = getenv("BRAID_TEST_SEED");
    if (given != NULL) seed = strtoull(given, NULL, 10);
    print_message("seed %llu\n", (unsigned long long)seed);
    rng random;
    rng_seed(&random, seed);
    buf a, b;
    buf_init(&a, 0);
    buf_init(&b, 0);
    arena *mem = arena_new(1 << 16);
    for (int round = 0; round < 2000; round++) {
        buf_reset(&a);
        buf_reset(&b);
        arena_reset(mem);
        put_random(&a, &random, 0);
        ps_reader r;
        const ps_tree *t;
        braid_error err = {0};
        ps_reader_init(&r, a.data, a.len);
        assert_int_equal(ps_tree_read(&r, mem, 0, &t, &err), BRAID_OK);
        assert_true(ps_finished(&r));
        put_tree(&b, t);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        uint8_t *cut = malloc(a.len);
        size_t len = rng_below(&random, a.len);
        memcpy(cut, a.data, len);
        assert_non_null(read_all(cut, len)); /* a prefix is never whole */
        memcpy(cut, a.data, a.len);
        cut[rng_below(&random, a.len)] ^= (uint8_t)(1u << rng_below(&random, 8));
        (void)read_all(cut, a.len); /* whatever it says, it stays inside */
        free(cut);
    }
    arena_free(mem);
    buf_free(&a);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_take_the_shortest_form),
        cmocka_unit_test(longer_forms_of_integers_are_read_too),
        cmocka_unit_test(lengths_take_the_shortest_form),
        cmocka_unit_test(numbers_keep_every_bit),
        cmocka_unit_test(a_vector_reads_back_as_it_was_written),
        cmocka_unit_test(integers_in_a_vector_count_as_numbers),
        cmocka_unit_test(a_cursor_walks_skips_and_leaves),
        cmocka_unit_test(null_can_be_asked_for),
        cmocka_unit_test(the_first_problem_sticks),
        cmocka_unit_test(hostile_bytes_are_refused),
        cmocka_unit_test(what_containers_announce_is_added_up),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(siblings_do_not_add_to_the_depth),
        cmocka_unit_test(an_open_list_is_closed_with_its_count),
        cmocka_unit_test(a_full_buffer_sticks),
        cmocka_unit_test(times_read_back),
        cmocka_unit_test(graph_values_read_in_both_forms),
        cmocka_unit_test(false_structures_are_refused),
        cmocka_unit_test(a_tree_outlives_its_message),
        cmocka_unit_test(a_tree_keeps_to_its_budget),
        cmocka_unit_test(views_are_copied_at_a_character),
        cmocka_unit_test(random_values_survive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
