/* Fuzzing of the two compilers of filters: JSON -> filter -> an expression of Milvus, and SQL with its two arrays.
 *
 * A small reader of either language, written against its grammar and not against the compiler, judges the text:
 * outside of literals there is nothing but our own words, names of our fields, numbers and brackets that close; each
 * literal, decoded, is a text or a name of the filter, and there are as many as its conditions need. SQL has no
 * literal but the five constants, and refers to its arrays within their bounds. */
#include "fuzz.h"

#include "model/model.h"

#if __has_include(<grpc/grpc.h>) && __has_include(<libpq-fe.h>)
#include <ctype.h>

#include "vector/vector_milvus_filter.h"
#include "vector/vector_pgvector.h"

enum { KNOWN_MAX = 4096 };
static const model_limits limits = {1 << 16, 64, 0};

/* ---- what the filter holds ---- */

typedef struct known {
    const char *texts[KNOWN_MAX];
    size_t count;
    arena *a;
    size_t literals; /* that the Milvus expression needs when it is exact */
} known;

static void know(known *k, const char *text, size_t len) {
    char *copy = arena_strndup(k->a, text, len);
    if (!copy || k->count == KNOWN_MAX) abort();
    k->texts[k->count++] = copy;
}

static size_t parts_of(const char *path) {
    size_t n = 1;
    for (; *path; path++) n += *path == '.';
    return n;
}

static void know_stored(known *k, const char *text) {
    buf stored;
    buf_init(&stored, 0);
    if (!vector_milvus_text(text, &stored)) abort();
    know(k, stored.data ? stored.data : "", stored.len);
    buf_free(&stored);
}

static void know_values(known *k, const filter *f) {
    size_t strings = 0, filled = 0, types[VALUE_BOOL + VALUE_STRING + VALUE_NUMBER + 1] = {0}, runs = 0;
    for (size_t i = 0; i < f->values_count; i++) {
        const filter_value *v = &f->values[i];
        runs += types[v->type]++ == 0;
        if (v->type != VALUE_STRING) continue;
        know(k, v->string, strlen(v->string));
        if (f->field != FIELD_ATTRIBUTE) know_stored(k, v->string);
        strings++;
        filled += v->string[0] != '\0';
    }
    if (f->field == FIELD_ATTRIBUTE)
        k->literals += 2 * strings + 2 * runs * parts_of(f->attribute);
    else if (!filter_field_is_number(f->field))
        k->literals += filled;
}

static void learn(known *k, const filter *f) {
    for (size_t i = 0; i < f->children_count; i++) learn(k, f->children[i]);
    if (f->kind != FILTER_IN && f->kind != FILTER_RANGE && f->kind != FILTER_EXISTS) return;
    if (f->field == FIELD_ATTRIBUTE) {
        for (const char *p = f->attribute;; p++) {
            size_t len = strcspn(p, ".");
            know(k, p, len);
            p += len;
            if (!*p) break;
        }
    }
    if (f->kind == FILTER_IN) know_values(k, f);
    if (f->kind != FILTER_EXISTS) return;
    if (f->field == FIELD_ATTRIBUTE)
        k->literals += parts_of(f->attribute);
    else if (!filter_field_is_list(f->field) && !filter_field_is_number(f->field))
        k->literals++; /* title != "" */
}

static bool is_known(const known *k, const char *text) {
    if (!*text) return true;
    for (size_t i = 0; i < k->count; i++)
        if (strcmp(k->texts[i], text) == 0) return true;
    return false;
}

/* ---- the language of Milvus ---- */

static bool word_is_ours(const char *word, size_t len) {
    static const char *const words[] = {"num",
                                        "and",
                                        "or",
                                        "not",
                                        "in",
                                        "exists",
                                        "array_contains_any",
                                        "true",
                                        "false",
                                        "json_contains_any",
                                        "array_length",
                                        "attributes"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == len && memcmp(words[i], word, len) == 0) return true;
    for (filter_field f = 0; f < FIELD_ATTRIBUTE; f++)
        if (strlen(filter_field_name(f)) == len && memcmp(filter_field_name(f), word, len) == 0) return true;
    return false;
}

/* Decodes the literal at *at (past its first quote) into `out`; false: it does not end, or holds what it must not. */
static bool decode_literal(const char *text, size_t *at, char *out) {
    size_t n = 0;
    for (;; ++*at) {
        unsigned char c = (unsigned char)text[*at];
        if (c < 0x20 || c == 0x7f) return false;
        if (c == '"') break;
        if (c != '\\') {
            out[n++] = (char)c;
            continue;
        }
        c = (unsigned char)text[++*at];
        unsigned code = 0;
        if (c == '"' || c == '\\') {
            out[n++] = (char)c;
        } else if (c == 'u' && sscanf(text + *at + 1, "%4x", &code) == 1 && (code < 0x20 || code == 0x7f) && code > 0) {
            out[n++] = (char)code;
            *at += 4;
        } else {
            return false;
        }
    }
    ++*at;
    out[n] = '\0';
    return true;
}

static size_t check_expression(const known *k, const char *text, size_t len) {
    char *decoded = malloc(len + 1), open[512];
    size_t literals = 0, depth = 0;
    for (size_t at = 0; at < len;) {
        char c = text[at];
        size_t n = 0;
        if (c == '"') {
            at++;
            if (!decode_literal(text, &at, decoded)) fuzz_fail("a literal ends where it should", text);
            if (!is_known(k, decoded)) fuzz_fail("a literal is a text of the filter", decoded);
            literals++;
        } else if (isalpha((unsigned char)c) || c == '_') {
            while (isalnum((unsigned char)text[at + n]) || text[at + n] == '_') n++;
            if (!word_is_ours(text + at, n)) fuzz_fail("outside of literals only our own words stand", text + at);
            at += n;
        } else if (isdigit((unsigned char)c) || c == '-') {
            char *end;
            strtod(text + at, &end);
            if (end == text + at) fuzz_fail("a number is one", text + at);
            at += (size_t)(end - (text + at));
        } else if (c == '(' || c == '[') {
            if (depth == sizeof open) fuzz_fail("brackets are not that deep", "");
            open[depth++] = c;
            at++;
        } else if (c == ')' || c == ']') {
            if (depth == 0 || open[--depth] != (c == ')' ? '(' : '[')) fuzz_fail("brackets close", text);
            at++;
        } else {
            if (!strchr(" ,<>=!", c)) fuzz_fail("outside of literals no other sign stands", text + at);
            at++;
        }
    }
    if (depth) fuzz_fail("all brackets close", text);
    free(decoded);
    return literals;
}

/* Where the compiler must leave a condition out it says so, and then literals may be missing, never more. */
static void through_milvus(const filter *f, const known *k) {
    buf text;
    bool exact;
    buf_init(&text, 0);
    if (!vector_milvus_filter(f, &text, &exact)) abort();
    size_t literals = check_expression(k, text.data ? text.data : "", text.len);
    if (exact && literals != k->literals)
        fuzz_fail("as many literals as the conditions need", text.data ? text.data : "");
    buf_free(&text);
}

/* ---- SQL ---- */

static void check_constant(const char *text, size_t *at) {
    static const char *const constants[] = {"'{}'", "'array'", "'number'", "'string'", "'boolean'", "'null'"};
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        size_t n = strlen(constants[i]);
        if (strncmp(text + *at, constants[i], n) != 0) continue;
        *at += n;
        return;
    }
    fuzz_fail("SQL has no literal but the constants", text + *at);
}

/* "[3]" or "[3:5]" after an array. */
static void check_bounds(const char *text, size_t *at, size_t count) {
    unsigned long first = 0, last = 0;
    int n = 0;
    if (sscanf(text + *at, "[%lu:%lu]%n", &first, &last, &n) != 2) {
        n = 0;
        if (sscanf(text + *at, "[%lu]%n", &first, &n) != 1)
            fuzz_fail("an array is followed by a place in it", text + *at);
        last = first;
    }
    if (n == 0 || first < 1 || last > count || (first > last && first != last + 1))
        fuzz_fail("a place is within its array", text + *at);
    *at += (size_t)n;
}

static void check_sql(const pgv_filter *c, const char *text, size_t len) {
    size_t depth = 0;
    for (size_t at = 0; at < len;) {
        if (text[at] == '\'') {
            check_constant(text, &at);
        } else if (strncmp(text + at, "($2::text[])", 12) == 0) {
            at += 12;
            check_bounds(text, &at, c->strings_count);
        } else if (strncmp(text + at, "($3::float8[])", 14) == 0) {
            at += 14;
            check_bounds(text, &at, c->numbers_count);
        } else {
            char sign = text[at++];
            depth += sign == '(';
            if (sign == ')' && depth-- == 0) fuzz_fail("brackets close", text);
            if (!isalnum((unsigned char)sign) && !strchr(" _().,=<>:&#-", sign))
                fuzz_fail("SQL holds no other sign", text + at - 1);
            if (sign == '-' && text[at] == '-') fuzz_fail("SQL holds no comment", text + at - 1);
        }
    }
    if (depth) fuzz_fail("all brackets close", text);
}

static void through_pgvector(const filter *f, const known *k) {
    pgv_filter c;
    if (!pgv_filter_compile(f, "$2", "$3", &c)) abort();
    check_sql(&c, c.sql.data ? c.sql.data : "", c.sql.len);
    for (size_t i = 0; i < c.strings_count; i++)
        if (!is_known(k, c.strings[i])) fuzz_fail("a parameter is a text of the filter", c.strings[i]);
    pgv_filter_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_copy(data, size, true);
    braid_error err = {0};
    json_t *json = NULL;
    known *k = calloc(1, sizeof *k);
    filter *f = NULL;
    if (!k || !(k->a = arena_new(4096))) abort();
    if (model_json_parse(text, size, &limits, &json, &err) == BRAID_OK &&
        filter_from_json(json, k->a, &f, &err) == BRAID_OK) {
        learn(k, f);
        through_milvus(f, k);
        through_pgvector(f, k);
    } else if (!err.message[0]) {
        fuzz_fail("a refusal has a reason", "");
    }
    json_decref(json);
    arena_free(k->a);
    free(k);
    free(text);
    return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)data, (void)size;
    return 0;
}
#endif
