/* The lexical embedder: text as a bag of hashed words and letter groups.
 *   "Misérables"  ->  fold "miserables"  ->  the word, and of " miserables " every group of 3, 4 and 5 letters
 *                     each feature -> XXH3 -> (dimension, sign); value = weight x (1 + ln count); then length 1
 *
 * A slip of one letter spoils the word and the groups across it, the others still agree; the spaces at both ends make
 * prefixes and suffixes features of their own. Signs let collisions cancel instead of pile up (Weinberger et al.
 * 2009).
 *
 * The same text gives the same bits everywhere: features are summed in fixed-point integers (no order, no rounding),
 * the logarithm is integer arithmetic, and what floats remain are a square root and a division, which IEEE 754 rounds
 * in one way.
 *
 * Rejected: inverse document frequencies (the vector of an item would depend on the other items and on when it was
 * made); a short list of stop words in two languages does most of that work. Stemming: the letter groups do it
 * without a language. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "embed/registry.h"

/* Weights in 1/4096. */
enum {
    WEIGHT_WORD = 4096,
    WEIGHT_GROUP = 1843, /* 0.45: below, slips are lost; above, words of a synopsis */
    WEIGHT_STOP = 256,   /* 1/16; stop words have no groups */
    GROUP_MIN = 3,
    GROUP_MAX = 5,
    SEED_WORD = 1, /* GROUP_MIN..GROUP_MAX are the groups' seeds */
    FEATURES_PER_BYTE_MAX = 4
};

/* Folded: lower case, no accents, elisions cut ("l'amour" is "l amour"). Words that also carry meaning (ete, son as a
 * sound) are few and only weigh less. */
static const char *const stop_words[] = {
    /* French */
    "a",
    "ai",
    "ainsi",
    "alors",
    "apres",
    "au",
    "aussi",
    "autre",
    "autres",
    "aux",
    "avant",
    "avec",
    "c",
    "car",
    "ce",
    "cela",
    "celle",
    "celui",
    "ces",
    "cet",
    "cette",
    "ceux",
    "chaque",
    "chez",
    "comme",
    "d",
    "dans",
    "de",
    "depuis",
    "des",
    "deux",
    "donc",
    "dont",
    "du",
    "elle",
    "elles",
    "en",
    "encore",
    "entre",
    "est",
    "et",
    "etre",
    "eux",
    "fait",
    "font",
    "il",
    "ils",
    "j",
    "je",
    "jusqu",
    "l",
    "la",
    "le",
    "les",
    "leur",
    "leurs",
    "lorsque",
    "lui",
    "m",
    "ma",
    "mais",
    "me",
    "meme",
    "mes",
    "moi",
    "mon",
    "n",
    "ne",
    "ni",
    "nos",
    "notre",
    "nous",
    "on",
    "ont",
    "ou",
    "par",
    "parce",
    "pas",
    "pendant",
    "peu",
    "peut",
    "plus",
    "pour",
    "puis",
    "qu",
    "quand",
    "que",
    "qui",
    "quoi",
    "s",
    "sa",
    "sans",
    "se",
    "ses",
    "si",
    "son",
    "sont",
    "sous",
    "sur",
    "t",
    "ta",
    "te",
    "tes",
    "toi",
    "ton",
    "tous",
    "tout",
    "toute",
    "toutes",
    "tres",
    "tu",
    "un",
    "une",
    "vers",
    "vos",
    "votre",
    "vous",
    "y",
    /* English */
    "about",
    "after",
    "all",
    "also",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "between",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "for",
    "from",
    "had",
    "has",
    "have",
    "he",
    "her",
    "hers",
    "him",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "me",
    "more",
    "most",
    "my",
    "no",
    "not",
    "of",
    "off",
    "one",
    "only",
    "or",
    "other",
    "our",
    "out",
    "over",
    "she",
    "so",
    "some",
    "such",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "through",
    "to",
    "too",
    "two",
    "under",
    "until",
    "up",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "while",
    "who",
    "whom",
    "why",
    "will",
    "with",
    "would",
    "you",
    "your",
};
enum { STOP_WORDS = sizeof stop_words / sizeof stop_words[0] };

typedef struct hashing {
    uint32_t dim;
    uint64_t stop[STOP_WORDS]; /* hashes, sorted */
} hashing;

static int by_hash(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int hashing_open(uint32_t dim, void **self, braid_error *err) {
    hashing *h = calloc(1, sizeof *h);
    if (!h) {
        return error_set(err, BRAID_E_NO_MEMORY, "embed/hashing", "no memory to open the embedder");
    }
    h->dim = dim;
    for (size_t i = 0; i < STOP_WORDS; i++) {
        h->stop[i] = XXH3_64bits_withSeed(stop_words[i], strlen(stop_words[i]), SEED_WORD);
    }
    qsort(h->stop, STOP_WORDS, sizeof h->stop[0], by_hash);
    *self = h;
    return BRAID_OK;
}

static void hashing_close(void *self) {
    free(self);
}

/* ---- the bag: features with their counts, open addressing over indices ---- */

typedef struct feature {
    uint64_t hash;
    uint32_t weight, count;
} feature;

typedef struct bag {
    feature *features;
    uint32_t count;
    uint32_t *slots; /* index + 1; 0 is free */
    uint32_t mask;
} bag;

static bool bag_init(bag *b, size_t features_max) {
    size_t slots = 64;
    while (slots < 2 * features_max) {
        slots *= 2;
    }
    b->features = malloc(features_max * sizeof *b->features);
    b->slots = calloc(slots, sizeof *b->slots);
    b->mask = (uint32_t)slots - 1;
    b->count = 0;
    return b->features && b->slots;
}

static void bag_free(bag *b) {
    free(b->features);
    free(b->slots);
}

static void bag_add(bag *b, uint64_t hash, uint32_t weight) {
    uint32_t slot = (uint32_t)hash & b->mask;
    while (b->slots[slot] != 0) {
        feature *f = &b->features[b->slots[slot] - 1];
        if (f->hash == hash) {
            f->count++;
            return;
        }
        slot = (slot + 1) & b->mask;
    }
    b->features[b->count] = (feature){hash, weight, 1};
    b->slots[slot] = ++b->count;
}

/* ---- features ---- */

static const char *next_letter(const char *p) {
    do {
        p++;
    } while (((unsigned char)*p & 0xC0) == 0x80);
    return p;
}

/* Every group of GROUP_MIN..GROUP_MAX letters of [begin, end), the two spaces included. */
static void add_groups(bag *b, const char *begin, const char *end) {
    for (const char *p = begin; p < end; p = next_letter(p)) {
        const char *q = p;
        for (unsigned n = 1; n <= GROUP_MAX && q < end; n++) {
            q = next_letter(q);
            if (n >= GROUP_MIN) {
                bag_add(b, XXH3_64bits_withSeed(p, (size_t)(q - p), n), WEIGHT_GROUP);
            }
        }
    }
}

/* `text` is " word word ... word " */
static void add_words(const hashing *h, bag *b, const char *text, size_t len) {
    const char *p = text, *end = text + len;
    while (p + 1 < end) {
        const char *word = p + 1;
        const char *stop = memchr(word, ' ', (size_t)(end - word));
        uint64_t hash = XXH3_64bits_withSeed(word, (size_t)(stop - word), SEED_WORD);
        if (bsearch(&hash, h->stop, STOP_WORDS, sizeof hash, by_hash)) {
            bag_add(b, hash, WEIGHT_STOP);
        } else {
            bag_add(b, hash, WEIGHT_WORD);
            add_groups(b, p, stop + 1);
        }
        p = stop;
    }
}

/* 256 x (1 + ln count), with log2 taken as linear between powers of two: at most 6 % off, and the same everywhere. */
static int64_t sublinear(uint32_t count) {
    unsigned exponent = 31 - (unsigned)__builtin_clz(count);
    uint64_t fraction = (((uint64_t)count << 16) >> exponent) - (1 << 16);
    uint64_t log2_16 = ((uint64_t)exponent << 16) + fraction;
    return 256 + (int64_t)((log2_16 * 11629080) >> 32); /* ln 2 x 256 x 65536 = 11629080 */
}

/* Sums and normalises; exact integers up to the last step. */
static void spread(const bag *b, uint32_t dim, int64_t *sum, float *out) {
    for (uint32_t i = 0; i < b->count; i++) {
        const feature *f = &b->features[i];
        int64_t value = (int64_t)f->weight * sublinear(f->count);
        uint32_t at = (uint32_t)(((f->hash >> 32) * dim) >> 32);
        sum[at] += f->hash & 1 ? value : -value;
    }
    double square = 0;
    for (uint32_t i = 0; i < dim; i++) {
        double x = (double)sum[i];
        double xx = x * x;
        square += xx;
    }
    if (square == 0 && b->count > 0) {
        /* In a handful of dimensions all features can cancel; a text with words must still have a direction. */
        sum[((b->features[0].hash >> 32) * dim) >> 32] = 1;
        square = 1;
    }
    double length = sqrt(square);
    for (uint32_t i = 0; i < dim; i++) {
        out[i] = square > 0 ? (float)((double)sum[i] / length) : 0;
    }
}

static int hashing_text(void *self, const char *text, size_t len, float *out, braid_error *err) {
    const hashing *h = self;
    int rc = BRAID_OK;
    bag b = {0};
    buf folded;
    buf_init(&folded, 0);
    int64_t *sum = calloc(h->dim, sizeof *sum);
    buf_putc(&folded, ' ');
    utf8_fold(text, len, &folded);
    bool words = folded.len > 1;
    if (words) {
        buf_putc(&folded, ' ');
    }
    if (!sum || folded.failed || !bag_init(&b, FEATURES_PER_BYTE_MAX * folded.len)) {
        rc = error_set(err, BRAID_E_NO_MEMORY, "embed/hashing", "no memory to embed a text of %zu bytes", len);
        goto cleanup;
    }
    if (words) {
        add_words(h, &b, folded.data, folded.len);
    }
    spread(&b, h->dim, sum, out);
cleanup:
    bag_free(&b);
    free(sum);
    buf_free(&folded);
    return rc;
}

const embed_ops embed_hashing = {
    .name = "hashing",
    .semantic = false,
    .open = hashing_open,
    .text = hashing_text,
    .close = hashing_close,
};
