/* States: the little of a situation that is worth telling apart, in a form that recurs.
 *
 * A state that never comes twice teaches nothing, so it is at most five discrete values in a fixed order and
 * spelling; which of them is configuration, and the text names them, so that states of other parts are other states.
 * A cohort is what stands between a person and everybody: the people of a region, which every question and every
 * interaction knows for nothing. The canonical text is what people read, its SHA-256 is what rows are found by; the
 * hash covers the text as it stands, so that anyone can check one against the other with sha256sum. Words are
 * lower-cased (ASCII and Latin-1, which covers French), the region is an upper-case code; blanks around a value go.
 * "%", ";" and "=" within a value are written %25, %3b and %3d: no value can look like another field. A value is cut
 * at 39 bytes, so that five of them always fit. */
/* The one-shot SHA256() of OpenSSL 3 asks for memory, and fails without; the form of old does not. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "policy/policy.h"

enum { STATE_VALUE_BYTES_MAX = 39 };
_Static_assert(sizeof "v1;daypart=;device=;mood=;region=;taste=" + 5 * STATE_VALUE_BYTES_MAX <=
                   sizeof((policy_state *)0)->text,
               "five values of full length fit in a state's text");
_Static_assert(sizeof "v1;cohort;region=" + STATE_VALUE_BYTES_MAX <= sizeof((policy_state *)0)->cohort_text,
               "and a region in a cohort's");

/* Lower case of one code point: ASCII and Latin-1. */
static uint32_t state_lower(uint32_t c) {
    bool upper = (c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7);
    return upper ? c + 0x20 : c;
}

static uint32_t state_upper(uint32_t c) {
    return c >= 'a' && c <= 'z' ? c - 0x20 : c;
}

/* Writes the code point as it stands in a canonical text; returns its length. Only ASCII and two-byte letters change,
 * so that the length of others is that of the source. */
static size_t state_encode(uint32_t c, const char *source, size_t len, char out[4]) {
    if (c == '%' || c == ';' || c == '=') {
        static const char digits[] = "0123456789abcdef";
        out[0] = '%';
        out[1] = digits[c >> 4];
        out[2] = digits[c & 15];
        return 3;
    }
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    memcpy(out, source, len);
    return len;
}

/* Appends `value` to the text, at most STATE_VALUE_BYTES_MAX bytes, whole characters only. */
static char *state_append(char *to, const char *value, uint32_t (*fold)(uint32_t)) {
    const char *at = value ? value : "", *start;
    while (*at == ' ') at++;
    size_t left = strlen(at);
    while (left && at[left - 1] == ' ') left--;
    for (start = to; left;) {
        uint32_t c;
        size_t len = utf8_decode(at, left, &c);
        if (len == 0) break; /* not UTF-8: models never let that through */
        char out[4];
        size_t n = state_encode(fold(c), at, len, out);
        if ((size_t)(to - start) + n > STATE_VALUE_BYTES_MAX) break;
        memcpy(to, out, n);
        to += n;
        at += len;
        left -= len;
    }
    return to;
}

static const char *state_daypart(int64_t at) {
    if (at == TIME_NONE) return "";
    const int64_t day_ms = INT64_C(24) * 3600 * 1000;
    int64_t ms = at % day_ms;
    int hour = (int)((ms < 0 ? ms + day_ms : ms) / (3600 * 1000));
    if (hour >= 5 && hour <= 11) return "morning";
    if (hour >= 12 && hour <= 17) return "afternoon";
    return hour >= 18 && hour <= 22 ? "evening" : "night";
}

void policy_state_hash(const char *text, char out[RECORD_HASH_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[SHA256_DIGEST_LENGTH];
    _Static_assert(2 * SHA256_DIGEST_LENGTH + 1 == RECORD_HASH_BYTES, "a hash in hex and NUL");
    SHA256_CTX sha;
    BRAID_ASSERT(SHA256_Init(&sha) && SHA256_Update(&sha, text, strlen(text)) && SHA256_Final(sum, &sha));
    for (size_t i = 0; i < sizeof sum; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    out[2 * sizeof sum] = '\0';
}

static const struct {
    const char *name;
    uint32_t (*fold)(uint32_t);
} state_parts[POLICY_STATE_PARTS] = {[POLICY_DAYPART] = {"daypart", state_lower},
                                     [POLICY_DEVICE] = {"device", state_lower},
                                     [POLICY_MOOD] = {"mood", state_lower},
                                     [POLICY_REGION] = {"region", state_upper},
                                     [POLICY_TASTE] = {"taste", state_lower}};

int policy_state_parse(const char *list, unsigned *parts, braid_error *err) {
    *parts = 0;
    for (const char *at = list + strspn(list, " ,"); *at; at += strspn(at, " ,")) {
        size_t len = strcspn(at, " ,");
        int found = -1;
        for (int i = 0; i < POLICY_STATE_PARTS; i++)
            if (strlen(state_parts[i].name) == len && memcmp(at, state_parts[i].name, len) == 0) found = i;
        if (found < 0)
            return error_set(
                err, BRAID_E_INVALID, "options",
                "policy.state: \"%.*s\" is no part of a state; daypart, device, mood, region and taste are",
                (int)(len < 40 ? len : 40), at);
        *parts |= 1u << found;
        at += len;
    }
    return BRAID_OK;
}

static char *state_field(char *to, int part, const char *value) {
    *to++ = ';';
    to = stpcpy(to, state_parts[part].name);
    *to++ = '=';
    return state_append(to, value, state_parts[part].fold);
}

/* A region apart from every state: a state's text has no such word. */
static void state_cohort(const char *region, policy_state *out) {
    char *begin = stpcpy(out->cohort_text, "v1;cohort"), *to = state_field(begin, POLICY_REGION, region);
    *to = '\0';
    *out->cohort = '\0';
    if (to[-1] == '=')
        *out->cohort_text = '\0';
    else
        policy_state_hash(out->cohort_text, out->cohort);
}

void policy_state_make(unsigned parts, const char *daypart, const char *device, const char *mood, const char *region,
                       int64_t at, policy_state *out) {
    const char *const values[POLICY_STATE_PARTS] = {[POLICY_DAYPART] =
                                                        daypart && *daypart ? daypart : state_daypart(at),
                                                    [POLICY_DEVICE] = device,
                                                    [POLICY_MOOD] = mood,
                                                    [POLICY_REGION] = region,
                                                    [POLICY_TASTE] = ""};
    char *to = stpcpy(out->text, "v1");
    for (int i = 0; i < POLICY_STATE_PARTS; i++)
        if (parts & 1u << i) to = state_field(to, i, values[i]);
    *to = '\0';
    policy_state_hash(out->text, out->hash);
    state_cohort(region, out);
}

/* Taste is the last field, and empty until now: what is known of the moment need not be kept to add it. */
void policy_state_taste(policy_state *s, const char *taste) {
    static const char empty[] = ";taste=";
    size_t n = strlen(s->text), tail = sizeof empty - 1;
    if (!*taste || n < tail || strcmp(s->text + n - tail, empty) != 0) return;
    char *to = state_append(s->text + n, taste, state_parts[POLICY_TASTE].fold);
    *to = '\0';
    policy_state_hash(s->text, s->hash);
}
