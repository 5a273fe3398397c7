/* A policy's row as a value of the cache, in two forms, told apart by their first byte.
 *
 *     JSON      in a cache that others can look into (Redis), for people and other programs:
 *               {"agent","user","state_hash","state","version","actions":[{"action","mean","variance","count","version"}]}
 *     packed    in this process's own: the numbers as they are in memory, texts with their NULs
 *
 * The packed form is there because a cache that is nearer must be quicker: 30 actions as JSON take 170 us to read with
 * jansson, packed ones 2. JSON just as we write it (fields in our order, no space, no escape) is read here in one pass;
 * all else, as others may write it, by jansson. What makes no sense in either is a miss. */
#include <stdlib.h>
#include <string.h>

#include "policy/policy_private.h"

enum { FORM_PACKED = 1, FORM_ACTIONS_MAX = 4096, FORM_ACTIONS_FEW = 64 };

/* ---- JSON, as anybody may write it ---- */

static void row_text(buf *b, const char *name, const char *value) {
    buf_printf(b, "\"%s\":", name);
    buf_json_string(b, value);
    buf_putc(b, ',');
}

static void row_real(buf *b, const char *name, double value) {
    buf_printf(b, ",\"%s\":", name);
    buf_json_real(b, value);
}

static bool json_write(const record_policy *row, buf *b) {
    buf_putc(b, '{');
    row_text(b, "agent", row->agent);
    row_text(b, "user", row->user);
    row_text(b, "state_hash", row->state_hash);
    row_text(b, "state", row->state ? row->state : "");
    buf_printf(b, "\"version\":%llu,\"actions\":[", (unsigned long long)row->version);
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *a = &row->actions[i];
        buf_puts(b, i ? ",{\"action\":" : "{\"action\":");
        buf_json_string(b, a->action);
        row_real(b, "mean", a->mean);
        row_real(b, "variance", a->variance);
        row_real(b, "count", a->count);
        buf_printf(b, ",\"version\":%llu}", (unsigned long long)a->version);
    }
    return buf_puts(b, "]}");
}

static bool action_read(const json_t *json, record_action *a) {
    const json_t *mean = json_object_get(json, "mean"), *variance = json_object_get(json, "variance"),
                 *count = json_object_get(json, "count"), *version = json_object_get(json, "version");
    a->action = json_string_value(json_object_get(json, "action"));
    if (!a->action || !json_is_number(mean) || !json_is_number(variance) || !json_is_number(count) ||
        !json_is_integer(version))
        return false;
    a->mean = json_number_value(mean);
    a->variance = json_number_value(variance);
    a->count = json_number_value(count);
    a->version = (uint64_t)json_integer_value(version);
    return true;
}

static bool text_is(const json_t *json, const char *name, const char *text) {
    const char *there = json_string_value(json_object_get(json, name));
    return there && strcmp(there, text) == 0;
}

static bool json_read(const char *text, size_t len, const char *agent, const record_policy_key *key, size_t which,
                      record_policy_key_fn *each, void *ctx, bool *more) {
    json_t *json = NULL;
    model_limits limits = {.json_bytes_max = len + 1, .json_depth_max = 8};
    if (model_json_parse(text, len, &limits, &json, NULL) != BRAID_OK) return false;
    const json_t *list = json_object_get(json, "actions");
    const char *state = json_string_value(json_object_get(json, "state"));
    bool theirs = text_is(json, "agent", agent) && text_is(json, "user", key->user) &&
                  text_is(json, "state_hash", key->state_hash);
    size_t n = json_array_size(list);
    record_action *actions = calloc(n + 1, sizeof *actions);
    bool ok = actions && theirs && json_is_array(list) && state && n <= FORM_ACTIONS_MAX;
    for (size_t i = 0; ok && i < n; i++) ok = action_read(json_array_get(list, i), &actions[i]);
    if (ok && n) {
        record_policy row = {.agent = agent,
                             .user = key->user,
                             .state_hash = key->state_hash,
                             .state = state,
                             .actions = actions,
                             .action_count = n,
                             .version = (uint64_t)json_integer_value(json_object_get(json, "version"))};
        *more = each(ctx, which, &row);
    }
    free(actions);
    json_decref(json);
    return ok;
}

/* ---- JSON, as we write it ---- */

/* What is being read: a text in which all strings are taken where they lie, so `text` is a copy that may be changed. */
typedef struct scan {
    char *at, *end;
    bool bad;
} scan;

static inline void scan_bytes(scan *s, const char *word, size_t len) {
    if (s->bad || (size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        s->bad = true;
    else
        s->at += len;
}
/* Of a literal, whose length the compiler knows. */
#define scan_word(s, word) scan_bytes(s, word, sizeof(word) - 1)

/* The string after an opening quote; its closing quote becomes a NUL. */
static const char *scan_text(scan *s) {
    char *begin = s->at, *at = begin;
    bool plain = true;
    for (; !s->bad && at < s->end && (unsigned char)*at >= ' ' && *at != '"' && *at != '\\'; at++)
        plain = plain && (unsigned char)*at < 0x7f;
    if (s->bad || at == s->end || *at != '"' || !(plain || utf8_valid(begin, (size_t)(at - begin)))) {
        s->bad = true;
        return "";
    }
    *at = '\0';
    s->at = at + 1;
    return begin;
}

static double scan_number(scan *s) {
    model_number n = {0};
    const char *after = s->bad ? NULL : model_read_number(s->at, s->end, &n);
    if (after == NULL)
        s->bad = true;
    else
        s->at += after - s->at;
    return n.value;
}

/* A version is an integer that no double need hold. */
static uint64_t scan_version(scan *s) {
    uint64_t value = 0;
    char *at = s->at;
    for (; at < s->end && *at >= '0' && *at <= '9' && value <= (INT64_MAX - 9) / 10; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    if (at == s->at) s->bad = true;
    s->at = at;
    return value;
}

static void scan_action(scan *s, record_action *a) {
    scan_word(s, "{\"action\":\"");
    a->action = scan_text(s);
    scan_word(s, ",\"mean\":");
    a->mean = scan_number(s);
    scan_word(s, ",\"variance\":");
    a->variance = scan_number(s);
    scan_word(s, ",\"count\":");
    a->count = scan_number(s);
    scan_word(s, ",\"version\":");
    a->version = scan_version(s);
    scan_word(s, "}");
}

/* ---- packed ---- */

typedef struct packed_head {
    uint64_t version;
    uint32_t actions, state_len;
} packed_head;
typedef struct packed_action {
    double mean, variance, count;
    uint64_t version;
    size_t name_len;
} packed_action;

static bool packed_write(const record_policy *row, buf *b) {
    const char *state = row->state ? row->state : "";
    packed_head head = {row->version, (uint32_t)row->action_count, (uint32_t)strlen(state)};
    buf_putc(b, FORM_PACKED);
    buf_add(b, &head, sizeof head);
    buf_add(b, state, head.state_len + (size_t)1);
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *a = &row->actions[i];
        packed_action p = {a->mean, a->variance, a->count, a->version, strlen(a->action)};
        buf_add(b, &p, sizeof p);
        buf_add(b, a->action, p.name_len + 1);
    }
    return !b->failed;
}

static void take(scan *s, void *out, size_t len) {
    if (s->bad || (size_t)(s->end - s->at) < len) {
        memset(out, 0, len);
        s->bad = true;
        return;
    }
    memcpy(out, s->at, len);
    s->at += len;
}

static const char *take_text(scan *s, size_t len) {
    const char *text = s->at;
    if (s->bad || len >= (size_t)(s->end - s->at) || text[len] != '\0') {
        s->bad = true;
        return "";
    }
    s->at += len + 1;
    return text;
}

static void take_action(scan *s, record_action *a) {
    packed_action p;
    take(s, &p, sizeof p);
    *a = (record_action){take_text(s, p.name_len), p.mean, p.variance, p.count, p.version};
}

/* ---- either, in one pass ---- */

/* Room for the actions, grown when there are more than a few. */
typedef struct action_list {
    record_action few[FORM_ACTIONS_FEW], *list;
    size_t count, room;
} action_list;

static record_action *list_next(action_list *l) {
    if (l->count == l->room) {
        size_t room = l->room * 4;
        record_action *more = room <= FORM_ACTIONS_MAX ? malloc(room * sizeof *more) : NULL;
        if (!more) return NULL;
        memcpy(more, l->list, l->count * sizeof *more);
        if (l->list != l->few) free(l->list);
        l->list = more;
        l->room = room;
    }
    return &l->list[l->count++];
}

static void scan_row(scan *s, const char *agent, const record_policy_key *key, record_policy *row, action_list *l) {
    scan_word(s, "{\"agent\":\"");
    bool theirs = strcmp(scan_text(s), agent) == 0;
    scan_word(s, ",\"user\":\"");
    theirs = theirs && strcmp(scan_text(s), key->user) == 0;
    scan_word(s, ",\"state_hash\":\"");
    theirs = theirs && strcmp(scan_text(s), key->state_hash) == 0;
    if (!theirs) s->bad = true;
    scan_word(s, ",\"state\":\"");
    row->state = scan_text(s);
    scan_word(s, ",\"version\":");
    row->version = scan_version(s);
    scan_word(s, ",\"actions\":[");
    for (bool first = true; !s->bad && s->at < s->end && *s->at != ']'; first = false) {
        if (!first) scan_word(s, ",");
        record_action *a = list_next(l);
        if (a)
            scan_action(s, a);
        else
            s->bad = true;
    }
    scan_word(s, "]}");
}

static void take_row(scan *s, record_policy *row, action_list *l) {
    packed_head head;
    s->at++;
    take(s, &head, sizeof head);
    row->state = take_text(s, head.state_len);
    row->version = head.version;
    for (uint32_t i = 0; !s->bad && i < head.actions; i++) {
        record_action *a = list_next(l);
        if (a)
            take_action(s, a);
        else
            s->bad = true;
    }
}

bool policy_row_write(const record_policy *row, bool packed, buf *out) {
    return packed ? packed_write(row, out) : json_write(row, out);
}

bool policy_row_read(const char *text, size_t len, bool packed, const char *agent, const record_policy_key *key,
                     size_t which, record_policy_key_fn *each, void *ctx, bool *more) {
    action_list l = {.room = FORM_ACTIONS_FEW};
    record_policy row = {.agent = agent, .user = key->user, .state_hash = key->state_hash};
    char *copy = malloc(len + 1);
    if (!copy) return false;
    memcpy(copy, text, len);
    packed = packed && len > 0 && text[0] == FORM_PACKED;
    scan s = {.at = copy, .end = copy + len};
    l.list = l.few;
    if (packed)
        take_row(&s, &row, &l);
    else
        scan_row(&s, agent, key, &row, &l);
    bool ok = !s.bad && s.at == s.end;
    row.actions = l.list;
    row.action_count = l.count;
    if (ok && l.count > 0) *more = each(ctx, which, &row);
    if (l.list != l.few) free(l.list);
    free(copy);
    return ok || (!packed && json_read(text, len, agent, key, which, each, ctx, more));
}
