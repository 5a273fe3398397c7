/* The scripts: a compare and a set that nothing can come between.
 *
 * KEYS[1] is the value, KEYS[2] the tombstone, KEYS[3] the lease, which a put ends. Only the header of what is there
 * is read (GETRANGE), so a script costs the same over a large value. A value of another run of the server (columns 3
 * to 18) has no say: a restart may have brought it back from disk although it was invalidated since. */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "cache/cache_redis_private.h"

const char *redis_script_text(redis_script s) {
    switch (s) {
    case REDIS_SCRIPT_PUT: /* version, header and payload, milliseconds or 0, or "drop" */
        return "local floor = redis.call('GET', KEYS[2])\n"
               "if floor and ARGV[1] < floor then return 0 end\n"
               "local head = redis.call('GETRANGE', KEYS[1], 0, 37)\n"
               "if #head == 38 and string.sub(head, 1, 18) == string.sub(ARGV[2], 1, 18)\n"
               "   and ARGV[1] < string.sub(head, 19) then return 0 end\n"
               "if ARGV[3] == 'drop' then redis.call('UNLINK', KEYS[1])\n"
               "elseif ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2])\n"
               "else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end\n"
               "redis.call('UNLINK', KEYS[3])\n"
               "return 1\n";
    case REDIS_SCRIPT_INVALIDATE: /* version, milliseconds of the tombstone */
        return "local floor = redis.call('GET', KEYS[2])\n"
               "if not floor or floor < ARGV[1] then floor = ARGV[1] end\n"
               "redis.call('SET', KEYS[2], floor, 'PX', ARGV[2])\n"
               "local head = redis.call('GETRANGE', KEYS[1], 0, 37)\n"
               "if head ~= '' and (#head < 38 or string.sub(head, 1, 2) ~= 'B1' or string.sub(head, 19) <= ARGV[1]) "
               "then\n"
               "  redis.call('UNLINK', KEYS[1])\n"
               "end\n"
               "return 1\n";
    case REDIS_SCRIPT_RELEASE: /* who holds it */
        return "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end\n"
               "return 0\n";
    default: return "";
    }
}

bool redis_script_sha(redis_script s, char hex[41]) {
    unsigned char raw[20];
    unsigned len = 0;
    const char *text = redis_script_text(s);
    if (EVP_Digest(text, strlen(text), raw, &len, EVP_sha1(), NULL) != 1 || len != sizeof raw) return false;
    for (size_t i = 0; i < sizeof raw; i++) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    return true;
}
