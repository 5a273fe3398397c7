/* The compiler. Each node is written for one of two purposes: an upper bound (holds at least where the filter matches)
 * or a lower bound (holds at most there); NOT swaps them. Most nodes are exact and write the same for both.
 *
 * Seen on Milvus 2.3.5 and kept to: comparisons need a field, so "everything" is num >= 0; `exists` needs
 * parentheses; a whole number compared with JSON is written as 2.0, which finds 2 and 2.0 alike, in arrays as well;
 * array_length knows == only; a name with / or ~ is not escaped in its JSON pointers, one with ][ is taken apart even
 * inside its quotes (and then refused), and a name of digits reaches into arrays, where the model does not go;
 * junctions are written as balanced trees, since a long chain costs the server its square. */
#include "vector/vector_milvus_filter.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <xxhash.h>

enum { TEXT_HEAD_BYTES = 300 };

#define EVERYTHING "num >= 0"
#define NOTHING    "num < 0"
#define EXACT_MAX  9007199254740992.0        /* 2^53: whole numbers beyond it are not all doubles */
#define TIME_BOUND INT64_C(1000000000000000) /* ms: beyond the year 9999 on either side */

typedef struct compiler {
    buf *out;
    bool exact;
} compiler;

/* ---- texts ---- */

bool vector_milvus_text(const char *text, buf *out) {
    size_t len = strlen(text);
    if (len <= MILVUS_TEXT_PLAIN_BYTES) return buf_add(out, text, len);
    XXH128_hash_t h = XXH3_128bits(text, len);
    buf_add(out, text, utf8_prefix(text, len, TEXT_HEAD_BYTES));
    return buf_printf(out, "#%016" PRIx64 "%016" PRIx64, (uint64_t)h.high64, (uint64_t)h.low64);
}

bool vector_milvus_literal(const char *text, buf *out) {
    buf_putc(out, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            buf_printf(out, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            buf_printf(out, "\\u%04x", *p);
        else
            buf_putc(out, (char)*p);
    }
    return buf_putc(out, '"');
}

/* A literal of a text's stored form. */
static void stored_literal(compiler *c, const char *text) {
    buf stored;
    buf_init(&stored, 2 * MILVUS_TEXT_BYTES);
    vector_milvus_text(text, &stored);
    if (stored.failed) c->out->failed = true;
    vector_milvus_literal(stored.data != NULL ? stored.data : "", c->out);
    buf_free(&stored);
}

static void say(compiler *c, const char *words) {
    buf_puts(c->out, words);
}

/* What can be said of a node that cannot be compiled: everything from above, nothing from below. */
static void give_up(compiler *c, bool upper) {
    c->exact = false;
    say(c, upper ? EVERYTHING : NOTHING);
}

/* ---- there or not ---- */

/* Writes attributes["a"]["b"]; false when the path cannot be spelled so that it means what the model means. */
static bool path_can_be_spelled(const char *path) {
    for (const char *part = path;; part++) {
        size_t len = strcspn(part, ".");
        if (len == 0 || memchr(part, '/', len) != NULL || memchr(part, '~', len) != NULL) return false;
        if (memmem(part, len, "][", 2) != NULL) return false;
        bool index = strspn(part, "0123456789") >= len || (len == 1 && part[0] == '-');
        if (index && part != path) return false;
        part += len;
        if (*part == '\0') return true;
    }
}

static void attribute(compiler *c, const char *path) {
    say(c, "attributes");
    while (*path != '\0') {
        char name[MODEL_NAME_BYTES_MAX + 1];
        size_t len = strcspn(path, ".");
        if (len >= sizeof name) len = sizeof name - 1;
        memcpy(name, path, len);
        name[len] = '\0';
        say(c, "[");
        vector_milvus_literal(name, c->out);
        say(c, "]");
        path += len + (path[len] == '.');
    }
}

static void attribute_exists(compiler *c, const char *path) {
    say(c, "(exists ");
    attribute(c, path);
    say(c, ")");
}

static void exists(compiler *c, const filter *f, bool upper) {
    const char *name = filter_field_name(f->field);
    switch (f->field) {
    case FIELD_ATTRIBUTE:
        if (path_can_be_spelled(f->attribute))
            attribute_exists(c, f->attribute);
        else
            give_up(c, upper);
        break;
    case FIELD_YEAR:
    case FIELD_DURATION_S: buf_printf(c->out, "%s != 0", name); break;
    case FIELD_AVAILABLE_FROM:
    case FIELD_AVAILABLE_UNTIL: buf_printf(c->out, "%s >= %" PRId64, name, -TIME_BOUND); break;
    case FIELD_AGE_RATING:
    case FIELD_TIER: say(c, EVERYTHING); break;
    default:
        if (filter_field_is_list(f->field))
            buf_printf(c->out, "not (array_length(%s) == 0)", name);
        else
            buf_printf(c->out, "%s != \"\"", name);
    }
}

/* ---- one of several values ---- */

/* Stands for a list of values that cannot be written out: from above, whatever has a value. */
static void some_value(compiler *c, const filter *f, bool upper) {
    c->exact = false;
    if (upper)
        exists(c, f, true);
    else
        say(c, NOTHING);
}

static void text_in(compiler *c, const filter *f) {
    size_t written = 0;
    bool list = filter_field_is_list(f->field);
    size_t start = c->out->len;
    buf_printf(c->out, list ? "array_contains_any(%s, [" : "%s in [", filter_field_name(f->field));
    for (size_t i = 0; i < f->values_count; i++) {
        if (f->values[i].type != VALUE_STRING || f->values[i].string[0] == '\0') continue;
        if (written++ > 0) say(c, ",");
        stored_literal(c, f->values[i].string);
    }
    say(c, list ? "])" : "]");
    if (written == 0 && !c->out->failed) {
        c->out->len = start;
        say(c, NOTHING);
    }
}

static bool is_whole(double v) {
    return v == floor(v) && fabs(v) < EXACT_MAX;
}

static bool zero_is_missing(filter_field field) {
    return field == FIELD_YEAR || field == FIELD_DURATION_S;
}

/* The most that a number field holds. */
static int64_t number_bound(filter_field field) {
    return field == FIELD_AVAILABLE_FROM || field == FIELD_AVAILABLE_UNTIL ? TIME_BOUND : INT32_MAX;
}

static void number_in(compiler *c, const filter *f) {
    size_t written = 0, start = c->out->len;
    double bound = (double)number_bound(f->field);
    buf_printf(c->out, "%s in [", filter_field_name(f->field));
    for (size_t i = 0; i < f->values_count; i++) {
        double v = f->values[i].number;
        if (f->values[i].type != VALUE_NUMBER || !is_whole(v) || fabs(v) > bound) continue;
        if (v == 0 && zero_is_missing(f->field)) continue;
        buf_printf(c->out, "%s%" PRId64, written++ > 0 ? "," : "", (int64_t)v);
    }
    say(c, "]");
    if (written == 0 && !c->out->failed) {
        c->out->len = start;
        say(c, NOTHING);
    }
}

/* As JSON is compared: always with a point or an exponent. */
static void real(compiler *c, double v) {
    if (is_whole(v))
        buf_printf(c->out, "%.1f", v);
    else
        buf_printf(c->out, "%.17g", v);
}

static void attribute_value(compiler *c, const filter_value *v) {
    if (v->type == VALUE_STRING)
        vector_milvus_literal(v->string, c->out);
    else if (v->type == VALUE_NUMBER)
        real(c, v->number);
    else
        say(c, v->number != 0 ? "true" : "false");
}

/* The values of one type, which stand together since they are sorted by it: the attribute is one of them, or an array
 * that holds one. */
static void attribute_run(compiler *c, const filter *f, size_t from, size_t to) {
    say(c, "(");
    attribute(c, f->attribute);
    say(c, " in [");
    for (int again = 0; again < 2; again++) {
        for (size_t i = from; i < to; i++) {
            if (i > from) say(c, ",");
            attribute_value(c, &f->values[i]);
        }
        if (again == 0) {
            say(c, "] or json_contains_any(");
            attribute(c, f->attribute);
            say(c, ", [");
        }
    }
    say(c, "]))");
}

static bool attribute_values_can_be_spelled(const filter *f) {
    for (size_t i = 0; i < f->values_count; i++) {
        if (f->values[i].type == VALUE_NUMBER && !(fabs(f->values[i].number) < EXACT_MAX)) return false;
    }
    return true;
}

static void attribute_in(compiler *c, const filter *f, bool upper) {
    if (!path_can_be_spelled(f->attribute)) {
        give_up(c, upper);
        return;
    }
    if (!attribute_values_can_be_spelled(f)) {
        some_value(c, f, upper);
        return;
    }
    say(c, "(");
    for (size_t from = 0, to; from < f->values_count; from = to) {
        for (to = from + 1; to < f->values_count && f->values[to].type == f->values[from].type;) to++;
        if (from > 0) say(c, " or ");
        attribute_run(c, f, from, to);
    }
    say(c, ")");
}

static void in(compiler *c, const filter *f, bool upper) {
    if (f->values_count == 0)
        say(c, NOTHING);
    else if (f->values_count > MILVUS_EXPR_VALUES_MAX)
        some_value(c, f, upper);
    else if (f->field == FIELD_ATTRIBUTE)
        attribute_in(c, f, upper);
    else if (filter_field_is_number(f->field))
        number_in(c, f);
    else
        text_in(c, f);
}

/* ---- ranges ---- */

/* The whole numbers in the range, within -bound..bound; false when there is none. */
static bool whole_range(const filter *f, int64_t bound, int64_t *low, int64_t *high) {
    double lo = ceil(f->low), hi = floor(f->high);
    if (f->low_open && lo == f->low) lo += 1;
    if (f->high_open && hi == f->high) hi -= 1;
    double most = (double)bound;
    if (isnan(lo) || isnan(hi) || lo > most || hi < -most || lo > hi) return false;
    *low = lo < -most ? -bound : (int64_t)lo;
    *high = hi > most ? bound : (int64_t)hi;
    return true;
}

static void number_range(compiler *c, const filter *f) {
    int64_t low = 0, high = 0;
    const char *name = filter_field_name(f->field);
    if (!whole_range(f, number_bound(f->field), &low, &high)) {
        say(c, NOTHING);
        return;
    }
    buf_printf(c->out, "(%s >= %" PRId64 " and %s <= %" PRId64, name, low, name, high);
    if (zero_is_missing(f->field) && low <= 0 && high >= 0) buf_printf(c->out, " and %s != 0", name);
    say(c, ")");
}

static void attribute_bound(compiler *c, const filter *f, const char *operator, double v) {
    attribute(c, f->attribute);
    say(c, operator);
    real(c, v);
}

/* An array matches if one of its elements lies in the range, which cannot be asked. From above: it is there, and no
 * number outside. */
static void attribute_range(compiler *c, const filter *f, bool upper) {
    bool low = isfinite(f->low), high = isfinite(f->high);
    c->exact = false;
    if (!path_can_be_spelled(f->attribute)) {
        give_up(c, upper);
        return;
    }
    if ((!low && !high) || (low && fabs(f->low) >= EXACT_MAX) || (high && fabs(f->high) >= EXACT_MAX)) {
        some_value(c, f, upper);
        return;
    }
    say(c, "(");
    if (upper) attribute_exists(c, f->attribute);
    if (low) {
        say(c, upper ? " and not (" : "");
        attribute_bound(c, f, upper ? (f->low_open ? " <= " : " < ") : (f->low_open ? " > " : " >= "), f->low);
        say(c, upper ? ")" : high ? " and " : "");
    }
    if (high) {
        say(c, upper ? " and not (" : "");
        attribute_bound(c, f, upper ? (f->high_open ? " >= " : " > ") : (f->high_open ? " < " : " <= "), f->high);
        say(c, upper ? ")" : "");
    }
    say(c, ")");
}

/* ---- junctions ---- */

static void node(compiler *c, const filter *f, bool upper, unsigned depth);

static void junction(compiler *c, filter *const *children, size_t n, const char *word, bool upper, unsigned depth) {
    if (depth == 0) {
        give_up(c, upper);
        return;
    }
    if (n == 1) {
        node(c, children[0], upper, depth - 1);
        return;
    }
    say(c, "(");
    junction(c, children, n / 2, word, upper, depth - 1);
    say(c, word);
    junction(c, children + n / 2, n - n / 2, word, upper, depth - 1);
    say(c, ")");
}

static void node(compiler *c, const filter *f, bool upper, unsigned depth) {
    if (depth == 0) {
        give_up(c, upper);
        return;
    }
    switch (f->kind) {
    case FILTER_TRUE: say(c, EVERYTHING); break;
    case FILTER_ALL:
    case FILTER_ANY:
        if (f->children_count == 0)
            say(c, f->kind == FILTER_ALL ? EVERYTHING : NOTHING);
        else
            junction(c, f->children, f->children_count, f->kind == FILTER_ALL ? " and " : " or ", upper, depth - 1);
        break;
    case FILTER_NOT:
        say(c, "(not (");
        node(c, f->children[0], !upper, depth - 1);
        say(c, "))");
        break;
    case FILTER_IN: in(c, f, upper); break;
    case FILTER_RANGE:
        if (f->field == FIELD_ATTRIBUTE)
            attribute_range(c, f, upper);
        else
            number_range(c, f);
        break;
    case FILTER_EXISTS:
        say(c, "(");
        exists(c, f, upper);
        say(c, ")");
        break;
    }
}

bool vector_milvus_filter(const filter *f, buf *out, bool *exact) {
    *exact = true;
    if (f == NULL || f->kind == FILTER_TRUE) return true;
    buf text;
    buf_init(&text, MILVUS_EXPR_BYTES_MAX);
    compiler c = {&text, true};
    node(&c, f, true, MILVUS_EXPR_DEPTH);
    if (text.failed) {
        *exact = false; /* too long, or memory ran out: everything is an upper bound, too */
    } else {
        *exact = c.exact;
        buf_add(out, text.data, text.len);
    }
    buf_free(&text);
    return !out->failed;
}
