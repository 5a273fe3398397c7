/* Names of keys and the header of a value.
 *
 *     braid:{9f86d081884c7d65}v<the caller's key, any bytes>
 *
 * An entry has up to three keys: its value, its tombstone and its lease. They expire at different times (a tombstone
 * outlives the value that was put over it), so they cannot be one; a script works on two of them, so in a cluster they
 * must share a slot: the hash tag in braces sees to that, whatever bytes the caller's key has.
 *
 *     B1 | run, 16 hex digits | version, 20 decimal digits | the payload
 *
 * Versions are text since Lua's numbers hold 53 bits only; digits of fixed width compare like the numbers do. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "cache/cache_redis_private.h"

bool redis_key(buf *out, const char *prefix, char kind, const void *key, size_t key_len) {
    return buf_printf(out, "%s{%016" PRIx64 "}%c", prefix, (uint64_t)XXH3_64bits(key, key_len), kind) &&
           buf_add(out, key, key_len);
}

/* CRC-16/XMODEM, as Redis Cluster defines it. */
static unsigned redis_crc16(const char *data, size_t len) {
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)(unsigned char)data[i] << 8;
        for (int bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc;
}

unsigned redis_slot(const char *key, size_t len) {
    const char *open = memchr(key, '{', len);
    if (open != NULL) {
        const char *begin = open + 1, *close = memchr(begin, '}', len - (size_t)(begin - key));
        if (close != NULL && close > begin) return redis_crc16(begin, (size_t)(close - begin)) % REDIS_SLOTS;
    }
    return redis_crc16(key, len) % REDIS_SLOTS;
}

void redis_version_text(uint64_t version, char text[21]) {
    snprintf(text, 21, "%020" PRIu64, version);
}

void redis_head_set_run(char *head, uint64_t run) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, run);
    memcpy(head + REDIS_HEAD_RUN, text, 16);
}

void redis_head_write(char head[REDIS_HEAD_BYTES], uint64_t run, uint64_t version) {
    char text[21];
    redis_version_text(version, text);
    memcpy(head, "B1", 2);
    redis_head_set_run(head, run);
    memcpy(head + REDIS_HEAD_VERSION, text, 20);
}

bool redis_head_read(const char *value, size_t len, uint64_t *run, uint64_t *version) {
    if (len < REDIS_HEAD_BYTES || memcmp(value, "B1", 2) != 0) return false;
    *run = *version = 0;
    for (int i = REDIS_HEAD_RUN; i < REDIS_HEAD_VERSION; i++) {
        char c = value[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && (c < 'a' || c > 'f')) return false;
        *run = *run << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    for (int i = REDIS_HEAD_VERSION; i < REDIS_HEAD_BYTES; i++) {
        uint64_t digit = (uint64_t)(unsigned char)value[i] - '0';
        if (digit > 9 || *version > (UINT64_MAX - digit) / 10) return false;
        *version = *version * 10 + digit;
    }
    return true;
}

bool redis_glob_literal(buf *out, const char *text) {
    bool ok = true;
    for (; *text != '\0'; text++) {
        if (strchr("*?[]\\^", *text) != NULL) ok = buf_putc(out, '\\');
        ok = ok && buf_putc(out, *text);
    }
    return ok;
}
