/* What the tests of src/model share: parse a text, expect a refusal, make random text. */
#ifndef MODEL_TEST_H
#define MODEL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "model/model.h"

static const model_limits test_limits = {4 << 20, 64, 0};

static inline json_t *parse(const char *text) {
    braid_error err = {0};
    json_t *json = NULL;
    if (model_json_parse(text, strlen(text), &test_limits, &json, &err)) {
        fail_msg("%s\n%s", err.message, text);
    }
    return json;
}

/* Asserts the code and that the message holds `part` (and nothing that a log line must not hold). */
static inline void assert_refused(int rc, const braid_error *err, int code, const char *part) {
    if (rc != code || err->code != code || !strstr(err->message, part)) {
        fail_msg("wanted %s with \"%s\", got %s: %s", error_name(code), part, error_name(rc), err->message);
    }
    assert_true(utf8_valid(err->message, strlen(err->message)));
    for (const char *p = err->message; *p; p++) {
        assert_true((unsigned char)*p >= 0x20);
    }
}

/* Seeded by BRAID_TEST_SEED or the clock; printed, so that a failure can be had again. */
static inline rng test_rng(const char *what) {
    const char *given = getenv("BRAID_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    rng r;
    rng_seed(&r, seed);
    print_message("%s: BRAID_TEST_SEED=%llu\n", what, (unsigned long long)seed);
    return r;
}

/* A code point of any plane; `controls`: those too (but never U+0000). */
static inline uint32_t random_point(rng *r, bool controls) {
    for (;;) {
        uint32_t p;
        switch (rng_below(r, 5)) {
        case 0: p = (uint32_t)rng_below(r, 0x80); break;
        case 1: p = (uint32_t)rng_below(r, 0x800); break;
        case 2: p = (uint32_t)rng_below(r, 0x10000); break;
        default: p = (uint32_t)(rng_below(r, 17) << 16 | rng_below(r, 0x10000)); break;
        }
        bool control = p < 0x20 || (p >= 0x7F && p < 0xA0);
        if (p != 0 && (p < 0xD800 || p > 0xDFFF) && (controls || !control)) {
            return p;
        }
    }
}

static inline size_t put_point(char *out, uint32_t p) {
    if (p < 0x80) {
        out[0] = (char)p;
        return 1;
    }
    size_t n = p < 0x800 ? 2 : p < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, p >>= 6) {
        out[i] = (char)(0x80 | (p & 0x3F));
    }
    out[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | p);
    return n;
}

/* `min`..`max` bytes of text out of all planes. */
static inline const char *random_text(rng *r, arena *a, size_t min, size_t max, bool controls) {
    size_t want = min + (size_t)rng_below(r, max - min + 1), len = 0;
    char *text = arena_alloc(a, max + 8);
    while (len < want) {
        size_t n = put_point(text + len, random_point(r, controls));
        if (len + n > max) {
            text[len] = 'x';
            n = 1;
        }
        len += n;
    }
    text[len] = '\0';
    return text;
}

#endif
