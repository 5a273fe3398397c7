/* bolt_machine, replies: each belongs to the oldest request that is pending.
 *
 * What may come is little: RECORDs while a PULL is due, then one SUCCESS, FAILURE or IGNORED per request. After a
 * FAILURE everything up to RESET must be IGNORED; while a RESET is under way anything before it may be IGNORED as well,
 * because RESET overtakes what is queued at the server. Everything else means that the two sides no longer speak of the
 * same thing, and the only safe state is DEFUNCT: a reply that is taken for another's is the worst that can happen. */
#include "bolt_machine_private.h"

#include <string.h>

enum { TAG_SUCCESS = 0x70, TAG_RECORD = 0x71, TAG_IGNORED = 0x7E, TAG_FAILURE = 0x7F };

static int break_codec(bolt_machine *m, const ps_reader *r, braid_error *err) {
    m->state = m->ahead = BOLT_DEFUNCT;
    return ps_error(r, "wire/bolt", err);
}

/* ---- the handshake ---- */

static int read_version(bolt_machine *m, bolt_reply *out, braid_error *err) {
    const uint8_t *v = bolt_inbox_take(&m->in, 4);
    if (v == NULL) return BRAID_OK;
    if (memcmp(v, "HTTP", 4) == 0)
        return bolt_machine_break(m, BRAID_E_UNAVAILABLE, err, "an HTTP server answers: Bolt's port is another, 7687");
    if (memcmp(v, "\0\0\0\0", 4) == 0)
        return bolt_machine_break(m, BRAID_E_UNAVAILABLE, err, "the server knows none of Bolt 5.0 to 5.8 and 4.4");
    bool known = v[0] == 0 && v[1] == 0 && ((v[3] == 5 && v[2] <= 8) || (v[3] == 4 && v[2] == 4));
    if (!known)
        return bolt_machine_break(m, BRAID_E_CORRUPT, err, "no Bolt server: %02x %02x %02x %02x answers the handshake",
                                  v[0], v[1], v[2], v[3]);
    m->major = v[3];
    m->minor = v[2];
    m->utc = m->major == 5;
    m->state = m->ahead = BOLT_CONNECTED;
    out->kind = BOLT_VERSION;
    return BRAID_OK;
}

/* ---- metadata ---- */

static void read_hints(bolt_machine *m, ps_reader *r, uint32_t pairs) {
    for (uint32_t i = 0; i < pairs; i++) {
        ps_text key;
        ps_value v;
        if (!ps_read_text(r, &key)) return;
        if (!ps_text_is(key, "connection.recv_timeout_seconds")) {
            ps_skip(r, NULL);
            continue;
        }
        unsigned depth = r->depth;
        if (!ps_next(r, &v)) return;
        if (v.kind == PS_INT && v.integer > 0 && v.integer <= BOLT_HINT_SECONDS_MAX)
            m->recv_timeout_s = (unsigned)v.integer;
        while (r->depth > depth && ps_leave(r)) continue;
    }
}

static void read_patches(bolt_machine *m, ps_reader *r, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        ps_text patch;
        if (!ps_read_text(r, &patch)) return;
        if (ps_text_is(patch, "utc")) m->utc = true;
    }
}

/* What HELLO's SUCCESS says of the server. */
static void read_hello_pair(bolt_machine *m, ps_text key, ps_reader *r) {
    ps_value v;
    ps_reader at = *r; /* a value of another kind than expected is passed over */
    if (!ps_next(&at, &v)) return;
    if (ps_text_is(key, "server") && v.kind == PS_STRING)
        ps_text_copy(v.text, m->agent, sizeof m->agent);
    else if (ps_text_is(key, "hints") && v.kind == PS_MAP)
        read_hints(m, &at, v.count);
    else if (ps_text_is(key, "patch_bolt") && v.kind == PS_LIST)
        read_patches(m, &at, v.count);
}

/* Keeps the columns of RUN, which are read with every row. */
static bool keep_columns(bolt_machine *m, ps_reader r) {
    ps_reader list = r;
    ps_raw raw;
    uint32_t count;
    ps_text name;
    if (!ps_read_list(&list, &count)) return false;
    for (uint32_t i = 0; i < count; i++)
        if (!ps_read_text(&list, &name)) return false;
    if (!ps_skip(&r, &raw)) return false;
    buf_reset(&m->columns);
    return buf_add(&m->columns, raw.data, raw.len);
}

/* Walks the whole map once, so that a caller finds it sound. */
static int read_metadata(bolt_machine *m, bolt_reply *out, braid_error *err) {
    ps_reader r = out->body;
    bool columns = false;
    for (uint32_t i = 0; i < out->count; i++) {
        ps_text key;
        if (!ps_read_text(&r, &key)) break;
        if (out->request == BOLT_HELLO) read_hello_pair(m, key, &r);
        if (out->request == BOLT_RUN && ps_text_is(key, "fields")) {
            columns = keep_columns(m, r);
            if (!columns) return bolt_machine_break(m, BRAID_E_CORRUPT, err, "the columns of a result are no names");
        }
        if (ps_text_is(key, "has_more")) {
            ps_reader at = r;
            ps_value v;
            out->has_more = ps_next(&at, &v) && v.kind == PS_BOOL && v.boolean;
        }
        ps_skip(&r, NULL);
    }
    if (!ps_finished(&r)) return break_codec(m, &r, err);
    if (out->request == BOLT_RUN && !columns) {
        buf_reset(&m->columns);
        ps_put_list(&m->columns, 0);
    }
    return BRAID_OK;
}

/* From 5.7 on the code's key is another; the older one is understood everywhere. */
static int read_failure(bolt_machine *m, ps_reader *r, uint32_t pairs, braid_error *err) {
    memset(&m->failure, 0, sizeof m->failure);
    for (uint32_t i = 0; i < pairs; i++) {
        ps_text key;
        ps_value v;
        if (!ps_read_text(r, &key)) break;
        ps_reader at = *r;
        if (ps_next(&at, &v) && v.kind == PS_STRING) {
            if (ps_text_is(key, "code") || ps_text_is(key, "neo4j_code"))
                ps_text_copy(v.text, m->failure.code, sizeof m->failure.code);
            if (ps_text_is(key, "message")) ps_text_copy(v.text, m->failure.message, sizeof m->failure.message);
        }
        ps_skip(r, NULL);
    }
    if (!ps_finished(r)) return break_codec(m, r, err);
    (void)bolt_failure_judge(&m->failure);
    return BRAID_OK;
}

/* ---- states ---- */

static void drop_pending(bolt_machine *m) {
    if (m->pending[m->first].message == BOLT_RESET) m->resets--;
    m->first = (m->first + 1) % BOLT_PENDING_MAX;
    m->count--;
    if (m->count == 0 && m->ahead != BOLT_DEFUNCT) m->ahead = m->state;
}

static void succeed(bolt_machine *m, const bolt_pending *p, bool has_more) {
    switch (p->message) {
    case BOLT_HELLO: m->state = bolt_machine_splits_logon(m) ? BOLT_AUTHENTICATION : BOLT_READY; break;
    case BOLT_LOGOFF: m->state = BOLT_AUTHENTICATION; break;
    case BOLT_RUN: m->state = p->in_tx ? BOLT_TX_STREAMING : BOLT_STREAMING; break;
    case BOLT_BEGIN: m->state = BOLT_TX_READY; break;
    case BOLT_PULL:
    case BOLT_DISCARD:
        if (!has_more) m->state = p->in_tx ? BOLT_TX_READY : BOLT_READY;
        break;
    default: m->state = BOLT_READY; /* LOGON, COMMIT, ROLLBACK, ROUTE, RESET */
    }
}

static int take_success(bolt_machine *m, const bolt_pending *p, bolt_reply *out, braid_error *err) {
    if (m->state == BOLT_FAILED && p->message != BOLT_RESET)
        return bolt_machine_break(m, BRAID_E_CORRUPT, err, "%s succeeds after a failure",
                                  bolt_message_name(p->message));
    out->kind = BOLT_SUCCESS;
    int code = read_metadata(m, out, err);
    if (code != BRAID_OK) return code;
    if (out->has_more && p->everything)
        return bolt_machine_break(m, BRAID_E_CORRUPT, err, "all rows were asked for, and more are said to follow");
    succeed(m, p, out->has_more);
    return BRAID_OK;
}

static int take_failure(bolt_machine *m, const bolt_pending *p, bolt_reply *out, braid_error *err) {
    if (m->state == BOLT_FAILED && p->message != BOLT_RESET)
        return bolt_machine_break(m, BRAID_E_CORRUPT, err, "%s fails after a failure", bolt_message_name(p->message));
    int code = read_failure(m, &out->body, out->count, err);
    if (code != BRAID_OK) return code;
    out->kind = BOLT_FAILURE;
    m->state = BOLT_FAILED;
    if (p->message == BOLT_HELLO || p->message == BOLT_LOGON || p->message == BOLT_LOGOFF || p->message == BOLT_RESET)
        m->state = m->ahead = BOLT_DEFUNCT; /* not let in, or beyond help */
    else if (m->resets == 0)
        m->ahead = BOLT_FAILED;
    return BRAID_OK;
}

static int take_ignored(bolt_machine *m, const bolt_pending *p, bolt_reply *out, braid_error *err) {
    bool due = p->message != BOLT_RESET && (m->state == BOLT_FAILED || m->resets > 0);
    if (!due)
        return bolt_machine_break(m, BRAID_E_CORRUPT, err, "%s is ignored without a failure",
                                  bolt_message_name(p->message));
    out->kind = BOLT_IGNORED;
    if (m->state != BOLT_FAILED) m->state = BOLT_FAILED; /* interrupted by the RESET that follows */
    return BRAID_OK;
}

static int take_record(bolt_machine *m, const bolt_pending *p, bolt_reply *out, braid_error *err) {
    if (p->message != BOLT_PULL || (m->state != BOLT_STREAMING && m->state != BOLT_TX_STREAMING))
        return bolt_machine_break(m, BRAID_E_CORRUPT, err, "a row comes although none was asked for");
    if (!ps_read_list(&out->body, &out->count)) return break_codec(m, &out->body, err);
    out->kind = BOLT_RECORD;
    return BRAID_OK;
}

int bolt_machine_next(bolt_machine *m, bolt_reply *out, braid_error *err) {
    out->kind = BOLT_NOTHING;
    out->count = 0;
    out->has_more = false;
    if (m->state == BOLT_DEFUNCT)
        return error_set(err, BRAID_E_UNAVAILABLE, "wire/bolt", "the connection is broken: close it");
    if (m->state == BOLT_NEGOTIATION) return read_version(m, out, err);
    const uint8_t *data;
    size_t len;
    if (!bolt_inbox_next(&m->in, &data, &len))
        return bolt_machine_break(m, BRAID_E_TOO_LARGE, err, "an answer is over %zu bytes", m->in.max);
    if (data == NULL) return BRAID_OK;
    if (m->count == 0) return bolt_machine_break(m, BRAID_E_CORRUPT, err, "an answer comes although none is due");
    const bolt_pending p = m->pending[m->first];
    out->request = p.message;
    ps_reader_init(&out->body, data, len);
    ps_value head;
    if (!ps_next(&out->body, &head)) return break_codec(m, &out->body, err);
    if (head.kind != PS_STRUCT || head.count > 1)
        return bolt_machine_break(m, BRAID_E_CORRUPT, err, "an answer is no Bolt message");
    if (head.count == 1 && (head.tag == TAG_SUCCESS || head.tag == TAG_FAILURE) &&
        !ps_read_map(&out->body, &out->count))
        return break_codec(m, &out->body, err);
    int code;
    if (head.tag == TAG_RECORD && head.count == 1) return take_record(m, &p, out, err);
    if (head.tag == TAG_SUCCESS && head.count == 1)
        code = take_success(m, &p, out, err);
    else if (head.tag == TAG_FAILURE && head.count == 1)
        code = take_failure(m, &p, out, err);
    else if (head.tag == TAG_IGNORED)
        code = take_ignored(m, &p, out, err);
    else
        code = bolt_machine_break(m, BRAID_E_CORRUPT, err, "an answer of an unknown kind (%02x)", head.tag);
    if (code == BRAID_OK) drop_pending(m);
    if (code != BRAID_OK) out->kind = BOLT_NOTHING;
    return code;
}
