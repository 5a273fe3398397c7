/* The status of an answer, before anything else of it is read: is it well, may it be tried again, whose fault is it?
 *
 * It is the first field of every answer. Only its bytes are unpacked: the rest may be megabytes, and protobuf-c would
 * copy what a smaller message does not know. Milvus 2.3 has two scales of codes at once; both are looked at. */
#include "wire/milvus.h"

#include <string.h>

#include "milvus.pb-c.h"

enum { REASON_BYTES = 150, VARINT_BYTES_MAX = 10, STATUS_FIELD = 1 };

/* Those of the old scale that are told apart. */
enum {
    OLD_PERMISSION_DENIED = 3,
    OLD_NO_COLLECTION = 4,
    OLD_ILLEGAL_ARGUMENT = 5,
    OLD_NOT_LEADER = 45,
    OLD_NO_REPLICA = 46,
    OLD_FORCE_DENY = 48,
    OLD_RATE_LIMIT = 49,
    OLD_MEMORY_EXHAUSTED = 53,
    OLD_DISK_EXHAUSTED = 54,
    OLD_TICK_DELAY = 55,
    OLD_NOT_READY = 56,
    OLD_COORDINATOR_ACTIVATING = 57
};
/* And of the new one. */
enum {
    NEW_NOT_READY = 1,
    NEW_UNAVAILABLE = 2,
    NEW_MEMORY_EXCEEDED = 3,
    NEW_REQUESTS_EXCEEDED = 4,
    NEW_DISK_EXCEEDED = 7,
    NEW_RATE_LIMIT = 8,
    NEW_NO_COLLECTION = 100,
    NEW_NOT_LOADED = 101,
    NEW_NOT_FULLY_LOADED = 103,
    NEW_NO_REPLICA = 401,
    NEW_INVALID_FIRST = 1100,
    NEW_INVALID_LAST = 1199
};

/* ---- finding it ---- */

static bool read_varint(const uint8_t *data, size_t len, size_t *at, uint64_t *out) {
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX && *at < len; i++) {
        uint8_t byte = data[(*at)++];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}

/* Steps over a field's value; *value and *size are those of a length-delimited one. False: no protobuf. */
static bool skip_value(const uint8_t *data, size_t len, size_t *at, unsigned wire, size_t *value, size_t *size) {
    uint64_t n = 0;
    *size = 0;
    switch (wire) {
    case 0: return read_varint(data, len, at, &n);
    case 1: n = 8; break;
    case 5: n = 4; break;
    case 2:
        if (!read_varint(data, len, at, &n)) return false;
        *value = *at;
        *size = n <= len - *at ? (size_t)n : 0;
        break;
    default: return false;
    }
    if (n > len - *at) return false;
    *at += (size_t)n;
    return true;
}

/* The bytes of field 1; *size 0 when there is none (all is well then). False: no protobuf. */
static bool find_status(const uint8_t *data, size_t len, size_t *value, size_t *size) {
    size_t at = 0;
    *value = *size = 0;
    while (at < len) {
        uint64_t tag = 0;
        size_t begin = 0, n = 0;
        if (!read_varint(data, len, &at, &tag)) return false;
        if (!skip_value(data, len, &at, (unsigned)(tag & 7), &begin, &n)) return false;
        if (tag >> 3 != STATUS_FIELD || (tag & 7) != 2) continue;
        *value = begin;
        *size = n;
        return true;
    }
    return true;
}

/* ---- judging it ---- */

static bool worth_another_try(const Milvus__Status *s) {
    switch (s->code) {
    case NEW_NOT_READY:
    case NEW_UNAVAILABLE:
    case NEW_REQUESTS_EXCEEDED:
    case NEW_RATE_LIMIT:
    case NEW_NOT_FULLY_LOADED:
    case NEW_NO_REPLICA: return true;
    default: break;
    }
    switch (s->error_code) {
    case OLD_NOT_LEADER:
    case OLD_NO_REPLICA:
    case OLD_RATE_LIMIT:
    case OLD_TICK_DELAY:
    case OLD_NOT_READY:
    case OLD_COORDINATOR_ACTIVATING: return true;
    default: return s->retriable;
    }
}

static bool says(const Milvus__Status *s, const char *words) {
    return s->reason != NULL && strstr(s->reason, words) != NULL;
}

static bool out_of_room(const Milvus__Status *s) {
    return s->code == NEW_MEMORY_EXCEEDED || s->code == NEW_DISK_EXCEEDED || s->error_code == OLD_FORCE_DENY ||
           s->error_code == OLD_MEMORY_EXHAUSTED || s->error_code == OLD_DISK_EXHAUSTED;
}

static bool is_ours(const Milvus__Status *s) {
    return s->error_code == OLD_ILLEGAL_ARGUMENT || (s->code >= NEW_INVALID_FIRST && s->code <= NEW_INVALID_LAST) ||
           says(s, "cannot parse expression");
}

static int refuse(milvus_verdict *v, const Milvus__Status *s, bool *again, braid_error *err) {
    const char *reason = s->reason != NULL ? s->reason : "";
    v->missing = s->code == NEW_NO_COLLECTION || (s->code == 0 && s->error_code == OLD_NO_COLLECTION) ||
                 says(s, "can't find collection") || says(s, "collection not found");
    v->unloaded = s->code == NEW_NOT_LOADED || says(s, "collection not loaded") || says(s, "has not been loaded");
    if (v->missing)
        return error_set(err, BRAID_E_UNAVAILABLE, v->store, "%s: %s: the collection is gone (%.*s)", v->address,
                         v->what, REASON_BYTES, reason);
    if (!v->unloaded && worth_another_try(s)) *again = true;
    if (out_of_room(s))
        return error_set(err, BRAID_E_UNAVAILABLE, v->store, "%s: %s: the server has no room left: %.*s", v->address,
                         v->what, REASON_BYTES, reason);
    if (s->code == 0 && s->error_code == OLD_PERMISSION_DENIED)
        return error_set(err, BRAID_E_INVALID, v->store, "%s refuses %s: %.*s; check the user's rights", v->address,
                         v->what, REASON_BYTES, reason);
    if (is_ours(s))
        return error_set(err, BRAID_E_INTERNAL, v->store, "%s does not take our %s: %.*s", v->address, v->what,
                         REASON_BYTES, reason);
    return error_set(err, BRAID_E_UNAVAILABLE, v->store, "%s: %s failed (%d/%d): %.*s", v->address, v->what, s->code,
                     s->error_code, REASON_BYTES, reason);
}

int milvus_judge(void *verdict, const buf *answer, bool *again, braid_error *err) {
    milvus_verdict *v = verdict;
    const uint8_t *data = (const uint8_t *)answer->data;
    size_t value = 0, size = answer->len;
    v->missing = v->unloaded = false;
    if (!v->bare && !find_status(data, answer->len, &value, &size))
        return error_set(err, BRAID_E_CORRUPT, v->store, "%s: the answer to %s is no message of Milvus", v->address,
                         v->what);
    if (size == 0) return BRAID_OK;
    Milvus__Status *s = milvus__status__unpack(NULL, size, data + value);
    if (s == NULL)
        return error_set(err, BRAID_E_CORRUPT, v->store, "%s: the answer to %s has no status that can be read",
                         v->address, v->what);
    int code = s->error_code == 0 && s->code == 0 ? BRAID_OK : refuse(v, s, again, err);
    milvus__status__free_unpacked(s, NULL);
    return code;
}
