/* UTF-8.
 *
 * The decoder reads by the table of RFC 3629: the first byte gives the length and the bounds of the second one,
 * which is all that is needed to refuse overlong forms, surrogates and values above U+10FFFF.
 *
 * Folding decides what a search may confuse: case, accents, ligatures and everything that is not a letter or
 * digit. Latin letters (U+00C0..U+024F and U+1E00..U+1EFF) go through a table of at most two ASCII letters
 * each; combining marks of text in decomposed form are dropped, so that both forms of "é" meet; Greek, Cyrillic
 * and Armenian are lower-cased by arithmetic; every other letter is kept as it is. What is no letter is listed
 * as ranges. Rejected: ICU, 30 MB for one function, and towlower(), which depends on the host's locale. */
#include "utf8.h"

#include <string.h>

size_t utf8_decode(const char *text, size_t len, uint32_t *point) {
    const unsigned char *s = (const unsigned char *)text;
    if (len == 0) return 0;
    if (s[0] < 0x80) {
        *point = s[0];
        return 1;
    }
    size_t bytes = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || len < bytes) return 0;
    /* the second byte's bounds: against overlong forms (E0, F0), surrogates (ED) and what is above U+10FFFF (F4) */
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high) return 0;
    uint32_t value = s[0] & (0xffu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | (s[i] & 0x3f);
    }
    *point = value;
    return bytes;
}

bool utf8_valid(const char *text, size_t len) {
    size_t at = 0;
    while (at < len) {
        uint64_t eight;
        if (len - at >= sizeof eight) { /* mostly ASCII: eight bytes at a time */
            memcpy(&eight, text + at, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        uint32_t point;
        size_t step = utf8_decode(text + at, len - at, &point);
        if (step == 0) return false;
        at += step;
    }
    return true;
}

bool utf8_is_control(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0x2028 || point == 0x2029;
}

size_t utf8_prefix(const char *text, size_t len, size_t max) {
    if (len <= max) return len;
    size_t end = max;
    while (end > 0 && max - end < 3 && ((unsigned char)text[end] & 0xc0) == 0x80) end--;
    return ((unsigned char)text[end] & 0xc0) == 0x80 ? max : end; /* not UTF-8: there is no boundary to keep */
}

/* "" keeps the letter, " " makes it a separator. */
static const char utf8_latin[][3] = {
    "a", "a",  "a",  "a",  "a",  "a",  "ae", "c",  "e",  "e",  "e",  "e",  "i",  "i",  "i",  "i",  /* U+00C0 */
    "d", "n",  "o",  "o",  "o",  "o",  "o",  " ",  "o",  "u",  "u",  "u",  "u",  "y",  "th", "ss", /* U+00D0 */
    "a", "a",  "a",  "a",  "a",  "a",  "ae", "c",  "e",  "e",  "e",  "e",  "i",  "i",  "i",  "i",  /* U+00E0 */
    "d", "n",  "o",  "o",  "o",  "o",  "o",  " ",  "o",  "u",  "u",  "u",  "u",  "y",  "th", "y",  /* U+00F0 */
    "a", "a",  "a",  "a",  "a",  "a",  "c",  "c",  "c",  "c",  "c",  "c",  "c",  "c",  "d",  "d",  /* U+0100 */
    "d", "d",  "e",  "e",  "e",  "e",  "e",  "e",  "e",  "e",  "e",  "e",  "g",  "g",  "g",  "g",  /* U+0110 */
    "g", "g",  "g",  "g",  "h",  "h",  "h",  "h",  "i",  "i",  "i",  "i",  "i",  "i",  "i",  "i",  /* U+0120 */
    "i", "i",  "ij", "ij", "j",  "j",  "k",  "k",  "k",  "l",  "l",  "l",  "l",  "l",  "l",  "l",  /* U+0130 */
    "l", "l",  "l",  "n",  "n",  "n",  "n",  "n",  "n",  "n",  "ng", "ng", "o",  "o",  "o",  "o",  /* U+0140 */
    "o", "o",  "oe", "oe", "r",  "r",  "r",  "r",  "r",  "r",  "s",  "s",  "s",  "s",  "s",  "s",  /* U+0150 */
    "s", "s",  "t",  "t",  "t",  "t",  "t",  "t",  "u",  "u",  "u",  "u",  "u",  "u",  "u",  "u",  /* U+0160 */
    "u", "u",  "u",  "u",  "w",  "w",  "y",  "y",  "y",  "z",  "z",  "z",  "z",  "z",  "z",  "s",  /* U+0170 */
    "b", "b",  "b",  "b",  "",   "",   "o",  "c",  "c",  "d",  "d",  "d",  "d",  "",   "e",  "e",  /* U+0180 */
    "e", "f",  "f",  "g",  "",   "hv", "i",  "i",  "k",  "k",  "l",  "",   "",   "n",  "n",  "o",  /* U+0190 */
    "o", "o",  "",   "",   "p",  "p",  "",   "",   "",   "",   "",   "t",  "t",  "t",  "t",  "u",  /* U+01A0 */
    "u", "",   "v",  "y",  "y",  "z",  "z",  "",   "",   "",   "",   "",   "",   "",   "",   "",   /* U+01B0 */
    "",  "",   "",   "",   "dz", "dz", "dz", "lj", "lj", "lj", "nj", "nj", "nj", "a",  "a",  "i",  /* U+01C0 */
    "i", "o",  "o",  "u",  "u",  "u",  "u",  "u",  "u",  "u",  "u",  "u",  "u",  "e",  "a",  "a",  /* U+01D0 */
    "a", "a",  "ae", "ae", "g",  "g",  "g",  "g",  "k",  "k",  "o",  "o",  "o",  "o",  "",   "",   /* U+01E0 */
    "j", "dz", "dz", "dz", "g",  "g",  "hv", "",   "n",  "n",  "a",  "a",  "ae", "ae", "o",  "o",  /* U+01F0 */
    "a", "a",  "a",  "a",  "e",  "e",  "e",  "e",  "i",  "i",  "i",  "i",  "o",  "o",  "o",  "o",  /* U+0200 */
    "r", "r",  "r",  "r",  "u",  "u",  "u",  "u",  "s",  "s",  "t",  "t",  "",   "",   "h",  "h",  /* U+0210 */
    "n", "d",  "",   "",   "z",  "z",  "a",  "a",  "e",  "e",  "o",  "o",  "o",  "o",  "o",  "o",  /* U+0220 */
    "o", "o",  "y",  "y",  "l",  "n",  "t",  "j",  "",   "",   "a",  "c",  "c",  "l",  "t",  "s",  /* U+0230 */
    "z", "",   "",   "b",  "u",  "",   "e",  "e",  "j",  "j",  "q",  "q",  "r",  "r",  "y",  "y",  /* U+0240 */
};
static const char utf8_latin_additional[][3] = {
    "a", "a", "b", "b", "b", "b", "b", "b", "c", "c", "d",  "d",  "d", "d", "d",  "d", /* U+1E00 */
    "d", "d", "d", "d", "e", "e", "e", "e", "e", "e", "e",  "e",  "e", "e", "f",  "f", /* U+1E10 */
    "g", "g", "h", "h", "h", "h", "h", "h", "h", "h", "h",  "h",  "i", "i", "i",  "i", /* U+1E20 */
    "k", "k", "k", "k", "k", "k", "l", "l", "l", "l", "l",  "l",  "l", "l", "m",  "m", /* U+1E30 */
    "m", "m", "m", "m", "n", "n", "n", "n", "n", "n", "n",  "n",  "o", "o", "o",  "o", /* U+1E40 */
    "o", "o", "o", "o", "p", "p", "p", "p", "r", "r", "r",  "r",  "r", "r", "r",  "r", /* U+1E50 */
    "s", "s", "s", "s", "s", "s", "s", "s", "s", "s", "t",  "t",  "t", "t", "t",  "t", /* U+1E60 */
    "t", "t", "u", "u", "u", "u", "u", "u", "u", "u", "u",  "u",  "v", "v", "v",  "v", /* U+1E70 */
    "w", "w", "w", "w", "w", "w", "w", "w", "w", "w", "x",  "x",  "x", "x", "y",  "y", /* U+1E80 */
    "z", "z", "z", "z", "z", "z", "h", "t", "w", "y", "a",  "s",  "s", "s", "ss", "d", /* U+1E90 */
    "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a",  "a",  "a", "a", "a",  "a", /* U+1EA0 */
    "a", "a", "a", "a", "a", "a", "a", "a", "e", "e", "e",  "e",  "e", "e", "e",  "e", /* U+1EB0 */
    "e", "e", "e", "e", "e", "e", "e", "e", "i", "i", "i",  "i",  "o", "o", "o",  "o", /* U+1EC0 */
    "o", "o", "o", "o", "o", "o", "o", "o", "o", "o", "o",  "o",  "o", "o", "o",  "o", /* U+1ED0 */
    "o", "o", "o", "o", "u", "u", "u", "u", "u", "u", "u",  "u",  "u", "u", "u",  "u", /* U+1EE0 */
    "u", "u", "y", "y", "y", "y", "y", "y", "y", "y", "ll", "ll", "v", "v", "y",  "y", /* U+1EF0 */
};

typedef struct utf8_range {
    uint32_t first, last;
} utf8_range;

/* Marks on letters and invisible characters: they leave no trace. */
static const utf8_range utf8_dropped[] = {
    {0x00ad, 0x00ad}, {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x05bf, 0x05bf},   {0x05c1, 0x05c2},
    {0x05c4, 0x05c5}, {0x05c7, 0x05c7}, {0x0610, 0x061a}, {0x0640, 0x0640}, {0x064b, 0x065f},   {0x0670, 0x0670},
    {0x06d6, 0x06dc}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200c, 0x200f}, {0x202a, 0x202e},   {0x2060, 0x206f},
    {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0000, 0xe0fff},
};

/* What is no letter, digit or mark, above ASCII. */
static const utf8_range utf8_separators[] = {
    {0x0080, 0x00a9}, {0x00ab, 0x00b1}, {0x00b4, 0x00b4},   {0x00b6, 0x00b8},   {0x00bb, 0x00bf},    {0x01c0, 0x01c3},
    {0x02c2, 0x02c5}, {0x02d2, 0x02df}, {0x037e, 0x037e},   {0x0387, 0x0387},   {0x055a, 0x055f},    {0x0589, 0x058a},
    {0x05be, 0x05be}, {0x05c0, 0x05c0}, {0x05c3, 0x05c3},   {0x05c6, 0x05c6},   {0x05f3, 0x05f4},    {0x0600, 0x060f},
    {0x061b, 0x061f}, {0x066a, 0x066d}, {0x06d4, 0x06d4},   {0x0964, 0x0965},   {0x0970, 0x0970},    {0x0e3f, 0x0e3f},
    {0x0e4f, 0x0e4f}, {0x0e5a, 0x0e5b}, {0x0f04, 0x0f14},   {0x104a, 0x104f},   {0x10fb, 0x10fb},    {0x1360, 0x1368},
    {0x1680, 0x1680}, {0x17d4, 0x17db}, {0x1800, 0x180e},   {0x2000, 0x200b},   {0x2010, 0x2029},    {0x202f, 0x205f},
    {0x207a, 0x207e}, {0x208a, 0x208e}, {0x20a0, 0x20cf},   {0x2100, 0x245f},   {0x2500, 0x2bff},    {0x2e00, 0x2e7f},
    {0x2ff0, 0x3004}, {0x3008, 0x3020}, {0x3030, 0x3030},   {0x303d, 0x303f},   {0x30a0, 0x30a0},    {0x30fb, 0x30fb},
    {0xd800, 0xf8ff}, {0xfe10, 0xfe1f}, {0xfe30, 0xfe6f},   {0xff01, 0xff0f},   {0xff1a, 0xff20},    {0xff3b, 0xff40},
    {0xff5b, 0xff65}, {0xffe0, 0xffff}, {0x1d000, 0x1d37f}, {0x1f000, 0x1faff}, {0xf0000, 0x10ffff},
};

static bool utf8_in(uint32_t point, const utf8_range *ranges, size_t count) {
    size_t low = 0, high = count;
    while (low < high) { /* the ranges are sorted */
        size_t middle = (low + high) / 2;
        if (point > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && point >= ranges[low].first;
}

/* Lower case of the letters that keep their script: Greek (accents and final sigma folded too), Cyrillic,
 * Armenian. */
static uint32_t utf8_lower_other(uint32_t point) {
    static const struct {
        uint16_t from, to;
    } greek[] = {
        {0x0386, 0x03b1}, {0x0388, 0x03b5}, {0x0389, 0x03b7}, {0x038a, 0x03b9}, {0x038c, 0x03bf}, {0x038e, 0x03c5},
        {0x038f, 0x03c9}, {0x0390, 0x03b9}, {0x03aa, 0x03b9}, {0x03ab, 0x03c5}, {0x03ac, 0x03b1}, {0x03ad, 0x03b5},
        {0x03ae, 0x03b7}, {0x03af, 0x03b9}, {0x03b0, 0x03c5}, {0x03c2, 0x03c3}, {0x03ca, 0x03b9}, {0x03cb, 0x03c5},
        {0x03cc, 0x03bf}, {0x03cd, 0x03c5}, {0x03ce, 0x03c9},
    };
    if (point >= 0x0386 && point <= 0x03ce) {
        for (size_t i = 0; i < sizeof greek / sizeof *greek; i++)
            if (greek[i].from == point) return greek[i].to;
        bool capital = point >= 0x0391 && point <= 0x03a9 && point != 0x03a2; /* there is no capital final sigma */
        return capital ? point + 0x20 : point;
    }
    if (point >= 0x0400 && point <= 0x040f) return point + 0x50;
    if (point >= 0x0410 && point <= 0x042f) return point + 0x20;
    bool cyrillic_pair = (point >= 0x0460 && point <= 0x0481) || (point >= 0x048a && point <= 0x04bf) ||
                         (point >= 0x04d0 && point <= 0x052f);
    if (cyrillic_pair) return point | 1; /* capital even, small odd */
    return point >= 0x0531 && point <= 0x0556 ? point + 0x30 : point;
}

static size_t utf8_encode(uint32_t point, char out[4]) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t bytes = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = bytes - 1; i > 0; i--, point >>= 6) out[i] = (char)(0x80 | (point & 0x3f));
    out[0] = (char)((0xf00u >> bytes) | point); /* C0, E0, F0 in the low byte */
    return bytes;
}

/* Letters and digits that stand outside the tables: the reply is ASCII, or NULL if there is none. */
static const char *utf8_fold_odd(uint32_t point) {
    static const char digits[][2] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    static const char *const ligatures[] = {"ff", "fi", "fl", "ffi", "ffl", "st", "st"};
    if (point >= 0xfb00 && point <= 0xfb06) return ligatures[point - 0xfb00];
    if (point >= 0xff10 && point <= 0xff19) return digits[point - 0xff10];
    if (point == 0x2070 || (point >= 0x2074 && point <= 0x2079)) return digits[point - 0x2070];
    if (point >= 0x2080 && point <= 0x2089) return digits[point - 0x2080];
    switch (point) {
    case 0xaa: return "a";
    case 0xb2: return "2";
    case 0xb3: return "3";
    case 0xb9: return "1";
    case 0xba: return "o";
    default: return NULL;
    }
}

/* Folds one code point into `out` (room for 4 bytes); 0 bytes drops it, a single space separates. */
static size_t utf8_fold_point(uint32_t point, char out[4]) {
    if (point < 0x80) {
        bool upper = point >= 'A' && point <= 'Z';
        bool kept = upper || (point >= 'a' && point <= 'z') || (point >= '0' && point <= '9');
        out[0] = upper ? (char)(point + 0x20) : kept ? (char)point : ' ';
        return 1;
    }
    const char *ascii = utf8_fold_odd(point);
    if (point >= 0xc0 && point < 0x250)
        ascii = utf8_latin[point - 0xc0];
    else if (point >= 0x1e00 && point < 0x1f00)
        ascii = utf8_latin_additional[point - 0x1e00];
    if (ascii != NULL && ascii[0] != '\0') {
        size_t len = strlen(ascii);
        memcpy(out, ascii, len);
        return len;
    }
    if (utf8_in(point, utf8_dropped, sizeof utf8_dropped / sizeof *utf8_dropped)) return 0;
    if (utf8_in(point, utf8_separators, sizeof utf8_separators / sizeof *utf8_separators)) {
        out[0] = ' ';
        return 1;
    }
    return utf8_encode(utf8_lower_other(point), out);
}

void utf8_fold(const char *text, size_t len, buf *out) {
    bool gap = false, any = false;
    for (size_t at = 0; at < len;) {
        uint32_t point;
        char folded[4] = " "; /* a byte that is not UTF-8 separates */
        size_t step = utf8_decode(text + at, len - at, &point);
        size_t bytes = step > 0 ? utf8_fold_point(point, folded) : 1;
        at += step > 0 ? step : 1;
        if (bytes == 1 && folded[0] == ' ') {
            gap = any;
            continue;
        }
        if (bytes == 0) continue;
        if (gap) buf_putc(out, ' ');
        buf_add(out, folded, bytes);
        gap = false;
        any = true;
    }
}
