/* Long arrays of numbers, read beside jansson (json_numbers.h).
 *
 * A vector of 768 numbers is 95 % of an item's text, and jansson, which takes a byte at a time through its decoder and
 * copies every number before strtod sees it, needs 0.3 ms for it: more than all else that is done with an item. So
 * arrays of LEAST numbers or more are read here; jansson gets the text with "[]" in their place, and they are put back
 * into what it made of it. They are found again by their place among all arrays, which is the same in the text and in
 * the value, since jansson's objects keep the order of their keys. What comes out is what jansson alone would have
 * made, and whatever is unusual in an array (a string, a bad number) leaves it to jansson; so do all errors, which name
 * places in the text.
 *
 * A number of at most 2^53 times or over at most 10^22 is exact in one multiplication or division of doubles
 * (Clinger, "How to read floating point numbers accurately", 1990). Up to 19 digits over at most 10^27, as doubles are
 * written in full, are one division of integers, rounded once: 60 such numbers take 2 us, and 15 by strtod, to which
 * all others go. */
#include "model/json_numbers.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST = 32, TEXT_LEAST = 512, EXACT_POWER = 22, QUOTIENT_POWER = 27, EXPONENT_DIGITS = 4 };

typedef model_number number;

typedef struct taken_array {
    size_t ordinal; /* among all arrays of the text */
    size_t first, count;
} taken_array;

struct json_numbers {
    char *rest;
    number *numbers;
    size_t count, cap;
    taken_array *arrays;
    size_t arrays_count, arrays_cap;
};

/* ---- reading ---- */

static const char *skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static bool digit(const char *at, const char *end) {
    return at < end && *at >= '0' && *at <= '9';
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "eight digits are read as a little-endian number");

/* Eight digits at once, two, four and eight side by side; false: they are not all digits. */
static inline bool eight_digits(const char *at, uint64_t *value) {
    const uint64_t high = UINT64_C(0xf0f0f0f0f0f0f0f0), pairs = UINT64_C(0x000000ff000000ff);
    uint64_t x;
    memcpy(&x, at, sizeof x);
    if (((x & high) | ((x + UINT64_C(0x0606060606060606)) & high) >> 4) != UINT64_C(0x3333333333333333)) return false;
    x -= UINT64_C(0x3030303030303030);
    x = x * 10 + (x >> 8);
    *value =
        ((x & pairs) * (100 + (UINT64_C(1000000) << 32)) + (x >> 16 & pairs) * (1 + (UINT64_C(10000) << 32))) >> 32;
    return true;
}

/* Digits into a mantissa; *lost when it does not hold them all. */
static const char *read_digits(const char *at, const char *end, uint64_t *mantissa, bool *lost) {
    uint64_t value = *mantissa, eight;
    for (; end - at >= 8 && value < UINT64_C(100000000000) && eight_digits(at, &eight); at += 8)
        value = value * 100000000 + eight;
    for (; digit(at, end); at++) {
        if (value > (UINT64_MAX - 9) / 10) *lost = true;
        if (!*lost) value = value * 10 + (uint64_t)(*at - '0');
    }
    *mantissa = value;
    return at;
}

static const char *read_exponent(const char *at, const char *end, int *power) {
    bool minus = at < end && *at == '-';
    int value = 0, digits = 0;
    if (at < end && (*at == '-' || *at == '+')) at++;
    for (; digit(at, end); at++, digits++)
        if (digits < EXPONENT_DIGITS) value = value * 10 + (*at - '0');
    if (digits == 0 || digits > EXPONENT_DIGITS) return NULL;
    *power = minus ? -value : value;
    return at;
}

/* mantissa / 10^power, rounded once: the quotient of two numbers whose highest bit is set has 63 or 64 bits, ten more
 * than a double, and the remainder says whether anything was lost below them. */
static double quotient(uint64_t mantissa, int power) {
    static const uint64_t fives[QUOTIENT_POWER + 1] = {UINT64_C(1),
                                                       UINT64_C(5),
                                                       UINT64_C(25),
                                                       UINT64_C(125),
                                                       UINT64_C(625),
                                                       UINT64_C(3125),
                                                       UINT64_C(15625),
                                                       UINT64_C(78125),
                                                       UINT64_C(390625),
                                                       UINT64_C(1953125),
                                                       UINT64_C(9765625),
                                                       UINT64_C(48828125),
                                                       UINT64_C(244140625),
                                                       UINT64_C(1220703125),
                                                       UINT64_C(6103515625),
                                                       UINT64_C(30517578125),
                                                       UINT64_C(152587890625),
                                                       UINT64_C(762939453125),
                                                       UINT64_C(3814697265625),
                                                       UINT64_C(19073486328125),
                                                       UINT64_C(95367431640625),
                                                       UINT64_C(476837158203125),
                                                       UINT64_C(2384185791015625),
                                                       UINT64_C(11920928955078125),
                                                       UINT64_C(59604644775390625),
                                                       UINT64_C(298023223876953125),
                                                       UINT64_C(1490116119384765625),
                                                       UINT64_C(7450580596923828125)};
    int up = __builtin_clzll(mantissa), down = __builtin_clzll(fives[power]);
    uint64_t divisor = fives[power] << down;
    unsigned __int128 dividend = (unsigned __int128)(mantissa << up) << 63;
    uint64_t q = (uint64_t)(dividend / divisor);
    bool rest = (unsigned __int128)q * divisor != dividend;
    int drop = 64 - __builtin_clzll(q) - DBL_MANT_DIG;
    uint64_t half = UINT64_C(1) << (drop - 1), below = q & (2 * half - 1);
    q >>= drop;
    if (below > half || (below == half && (rest || (q & 1) != 0))) q++;
    return ldexp((double)q, drop - 63 - power + down - up);
}

/* A point is a point, whatever the process says. */
static double by_strtod(const char *text) {
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = plain ? strtod_l(text, NULL, plain) : HUGE_VAL;
    if (plain) freelocale(plain);
    return value;
}

const char *model_read_number(const char *at, const char *end, model_number *out) {
    static const double powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *begin = at;
    bool minus = at < end && *at == '-', lost = false;
    uint64_t mantissa = 0;
    int power = 0;
    if (minus) at++;
    if (!digit(at, end)) return NULL;
    if (*at == '0' && digit(at + 1, end)) return NULL;
    at = read_digits(at, end, &mantissa, &lost);
    out->whole = true;
    if (at < end && *at == '.') {
        const char *from = ++at;
        out->whole = false;
        if (!digit(at, end)) return NULL;
        at = read_digits(at, end, &mantissa, &lost);
        power = -(int)(at - from);
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        int given = 0;
        out->whole = false;
        if ((at = read_exponent(at + 1, end, &given)) == NULL) return NULL;
        power += given;
    }
    if (at == end) return NULL; /* strtod would read on */
    bool exact = !lost && mantissa <= UINT64_C(1) << 53 && power >= -EXACT_POWER && power <= EXACT_POWER;
    if (out->whole && !exact) return NULL;
    if (exact) {
        double value = power < 0 ? (double)mantissa / powers[-power] : (double)mantissa * powers[power];
        out->value = minus ? -value : value;
    } else {
        bool near = !lost && mantissa != 0 && power >= -QUOTIENT_POWER && power < 0;
        out->value = near ? quotient(mantissa, -power) : by_strtod(begin);
        if (near && minus) out->value = -out->value;
    }
    return isfinite(out->value) ? at : NULL;
}

static number *room_for_number(json_numbers *n) {
    if (n->count == n->cap) {
        size_t cap = n->cap ? n->cap * 2 : 1024;
        number *more = realloc(n->numbers, cap * sizeof *more);
        if (!more) return NULL;
        n->numbers = more;
        n->cap = cap;
    }
    return &n->numbers[n->count];
}

static bool note_array(json_numbers *n, size_t ordinal, size_t first) {
    if (n->arrays_count == n->arrays_cap) {
        size_t cap = n->arrays_cap ? n->arrays_cap * 2 : 8;
        taken_array *more = realloc(n->arrays, cap * sizeof *more);
        if (!more) return false;
        n->arrays = more;
        n->arrays_cap = cap;
    }
    n->arrays[n->arrays_count++] = (taken_array){ordinal, first, n->count - first};
    return true;
}

/* `at` stands after a '['. The place after the ']' of a long array of numbers, which was noted; NULL: it is none. */
static const char *take_array(json_numbers *n, const char *at, const char *end, size_t ordinal) {
    size_t first = n->count;
    for (;;) {
        number *room = room_for_number(n);
        if (!room || !(at = model_read_number(skip_space(at, end), end, room))) break;
        n->count++;
        at = skip_space(at, end);
        if (at == end || (*at != ',' && *at != ']')) break;
        if (*at++ == ',') continue;
        if (n->count - first >= LEAST && note_array(n, ordinal, first)) return at;
        break;
    }
    n->count = first;
    return NULL;
}

/* ---- taking out ---- */

/* Copies the text but for what is taken; its length. */
static size_t copy_rest(json_numbers *n, const char *text, size_t len) {
    const char *end = text + len;
    size_t ordinal = 0, out = 0;
    bool in_string = false;
    for (const char *at = text; at < end;) {
        char c = *at++;
        n->rest[out++] = c;
        if (in_string) {
            if (c == '\\' && at < end)
                n->rest[out++] = *at++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[') {
            const char *after = take_array(n, at, end, ordinal++);
            if (after) {
                n->rest[out++] = ']';
                at = after;
            }
        }
    }
    return out;
}

json_numbers *json_numbers_take(const char *text, size_t len, const char **rest, size_t *rest_len) {
    if (len < TEXT_LEAST) return NULL;
    json_numbers *n = calloc(1, sizeof *n);
    if (!n) return NULL;
    n->rest = malloc(len);
    *rest_len = n->rest ? copy_rest(n, text, len) : 0;
    *rest = n->rest;
    if (n->arrays_count > 0) return n;
    json_numbers_free(n);
    return NULL;
}

void json_numbers_free(json_numbers *n) {
    if (!n) return;
    free(n->rest);
    free(n->numbers);
    free(n->arrays);
    free(n);
}

/* ---- putting back ---- */

typedef struct putting {
    const json_numbers *n;
    size_t ordinal, next; /* arrays met; of those that were taken, the next one */
} putting;

static bool fill_array(const json_numbers *n, const taken_array *a, json_t *array) {
    if (json_array_size(array) != 0) return false;
    for (size_t i = a->first; i < a->first + a->count; i++) {
        const number *x = &n->numbers[i];
        json_t *value = x->whole ? json_integer((json_int_t)x->value) : json_real(x->value);
        if (json_array_append_new(array, value) != 0) return false; /* of NULL too */
    }
    return true;
}

static bool put_value(putting *p, json_t *json) {
    if (p->next == p->n->arrays_count) return true;
    if (json_is_array(json)) {
        const taken_array *a = &p->n->arrays[p->next];
        if (p->ordinal++ == a->ordinal) {
            p->next++;
            return fill_array(p->n, a, json);
        }
        for (size_t i = 0; i < json_array_size(json); i++)
            if (!put_value(p, json_array_get(json, i))) return false;
    }
    if (!json_is_object(json)) return true;
    for (void *it = json_object_iter(json); it; it = json_object_iter_next(json, it))
        if (!put_value(p, json_object_iter_value(it))) return false;
    return true;
}

bool json_numbers_put(const json_numbers *n, json_t *json) {
    putting p = {.n = n};
    return put_value(&p, json) && p.next == n->arrays_count;
}
