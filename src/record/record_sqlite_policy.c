/* The actions of a policy as bytes: what the column policies.actions holds.
 *
 * For each action: the length of its name (two bytes), the name and a NUL, mean, variance and count (IEEE 754
 * doubles) and version (eight bytes), all little-endian. The NUL lets a reader point into the bytes. JSON would be
 * kinder to eyes and costs ten times as much to read on the path of every answer; `braid user` prints policies for
 * people. */
#include <stdlib.h>
#include <string.h>

#include "record/record_sqlite.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "policies are stored little-endian; swap them here");

enum { ACTION_NAME_MAX = 65534, ACTION_FIXED_BYTES = 2 + 1 + 4 * 8, ACTIONS_FIRST = 32 };

bool record_sqlite_actions_write(const record_policy *p, buf *out) {
    for (size_t i = 0; i < p->action_count; i++) {
        const record_action *a = &p->actions[i];
        size_t len = strlen(a->action);
        if (len > ACTION_NAME_MAX) len = ACTION_NAME_MAX;
        uint16_t short_len = (uint16_t)len;
        double figures[3] = {a->mean, a->variance, a->count};
        buf_add(out, &short_len, sizeof short_len);
        buf_add(out, a->action, len);
        buf_add(out, "", 1);
        buf_add(out, figures, sizeof figures);
        buf_add(out, &a->version, sizeof a->version);
    }
    return !out->failed;
}

static bool actions_room(record_action **list, size_t *room, size_t count) {
    if (count < *room) return true;
    size_t want = *room == 0 ? ACTIONS_FIRST : *room * 2;
    record_action *more = realloc(*list, want * sizeof *more);
    if (more == NULL) return false;
    *list = more;
    *room = want;
    return true;
}

bool record_sqlite_actions_read(const void *data, size_t len, record_action **list, size_t *room, size_t *count,
                                bool *no_memory) {
    const char *at = data, *end = at + len;
    *count = 0;
    while (at < end) {
        uint16_t name_len;
        double figures[3];
        if (end - at < ACTION_FIXED_BYTES) return false;
        memcpy(&name_len, at, sizeof name_len);
        if ((size_t)(end - at) < (size_t)ACTION_FIXED_BYTES + name_len || at[2 + name_len] != '\0') return false;
        if (!actions_room(list, room, *count)) {
            *no_memory = true;
            return false;
        }
        record_action *a = &(*list)[(*count)++];
        a->action = at + 2;
        if (strlen(a->action) != name_len) return false;
        at += 2 + name_len + 1;
        memcpy(figures, at, sizeof figures);
        memcpy(&a->version, at + sizeof figures, sizeof a->version);
        at += sizeof figures + sizeof a->version;
        a->mean = figures[0];
        a->variance = figures[1];
        a->count = figures[2];
    }
    return true;
}
