/* What an answer showed, as the ranking learns from it: the features of every item of the list, small enough to be kept
 * with each interaction that names the answer.
 *
 * The features are those that the answer was ranked by, so learning needs neither the models nor the histories of
 * that moment, and learning again from the record gives the same weights. 16 bits a number, in steps of 1/2000,
 * which standardised features bear easily: 34 bytes an item, base64 within the attribution's JSON. A list that was
 * made with other features (by an older program) is not learned from. */
#include <math.h>
#include <openssl/evp.h>
#include <string.h>

#include "policy/shown.h"

static const float STEPS = 2000, LIMIT = 16;

void policy_shown_pack(const float x[POLICY_FEATURE_COUNT], int16_t out[POLICY_FEATURE_COUNT]) {
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++)
        out[f] = (int16_t)lrintf((x[f] > LIMIT ? LIMIT : x[f] < -LIMIT ? -LIMIT : x[f]) * STEPS);
}

bool policy_shown_print(const int16_t *rows, size_t n, size_t chosen, buf *out) {
    size_t bytes = n * POLICY_FEATURE_COUNT * sizeof *rows;
    unsigned char text[POLICY_SHOWN_MAX * POLICY_FEATURE_COUNT * sizeof *rows * 4 / 3 + 8];
    BRAID_ASSERT(n <= POLICY_SHOWN_MAX && chosen < n);
    int len = EVP_EncodeBlock(text, (const unsigned char *)rows, (int)bytes);
    return buf_printf(out, ",\"features\":%d,\"chosen\":%zu,\"list\":\"%.*s\"", POLICY_FEATURE_COUNT, chosen, len,
                      text);
}

/* The attribution is JSON of our own making: fields in this order, no spaces. */
bool policy_shown_read(const char *attribution, arena *a, policy_shown *out) {
    const char *at = attribution ? strstr(attribution, ",\"features\":") : NULL;
    int features = 0, begin = 0;
    size_t chosen = 0;
    if (!at || sscanf(at, ",\"features\":%d,\"chosen\":%zu,\"list\":\"%n", &features, &chosen, &begin) < 2)
        return false;
    if (features != POLICY_FEATURE_COUNT || begin == 0) return false;
    const char *text = at + begin, *end = strchr(text, '"');
    size_t len = end ? (size_t)(end - text) : 0, row = POLICY_FEATURE_COUNT * sizeof(int16_t);
    unsigned char bytes[POLICY_SHOWN_MAX * POLICY_FEATURE_COUNT * sizeof(int16_t) + 8];
    if (len == 0 || len % 4 != 0 || len / 4 * 3 > sizeof bytes) return false;
    int got = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
    if (got <= 0) return false;
    for (size_t i = len; i > 0 && text[i - 1] == '='; i--) got--;
    size_t n = (size_t)got / row;
    if ((size_t)got % row != 0 || n < 2 || chosen >= n) return false;
    int16_t *rows = arena_alloc(a, n * row);
    if (!rows) return false;
    memcpy(rows, bytes, n * row);
    *out = (policy_shown){rows, n, chosen};
    return true;
}

void policy_shown_row(const policy_shown *s, size_t i, float x[POLICY_FEATURE_COUNT]) {
    for (int f = 0; f < POLICY_FEATURE_COUNT; f++) x[f] = s->rows[i * POLICY_FEATURE_COUNT + f] / STEPS;
}
