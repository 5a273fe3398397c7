/* bolt_machine: states, the handshake's bytes, and what becomes of the buffers. See bolt_machine.h for the idea.
 *
 * Two states are kept. `state` is where the server was when it sent the last reply that we read; `ahead` is where it
 * will be if all that is pending succeeds, and is what requests are checked against, so that they can be pipelined.
 * When nothing is pending the two are the same. */
#include "bolt_machine_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t message_max_default = (size_t)64 << 20, request_max_default = (size_t)256 << 20;
enum { BOLT_OUT_KEEP = 1 << 20 };

/* Magic, then four offers: 5.8 and the eight minors below it, 4.4, nothing, nothing. */
const uint8_t bolt_handshake[20] = {0x60, 0x60, 0xB0, 0x17, 0, 8, 8, 5, 0, 0, 4, 4};

const char *bolt_message_name(bolt_message message) {
    switch (message) {
    case BOLT_HELLO: return "HELLO";
    case BOLT_GOODBYE: return "GOODBYE";
    case BOLT_RESET: return "RESET";
    case BOLT_RUN: return "RUN";
    case BOLT_BEGIN: return "BEGIN";
    case BOLT_COMMIT: return "COMMIT";
    case BOLT_ROLLBACK: return "ROLLBACK";
    case BOLT_DISCARD: return "DISCARD";
    case BOLT_PULL: return "PULL";
    case BOLT_ROUTE: return "ROUTE";
    case BOLT_LOGON: return "LOGON";
    case BOLT_LOGOFF: return "LOGOFF";
    }
    return "nothing";
}

const char *bolt_state_name(bolt_state state) {
    static const char *const names[] = {"NEGOTIATION", "CONNECTED",    "AUTHENTICATION", "READY",  "STREAMING",
                                        "TX_READY",    "TX_STREAMING", "FAILED",         "DEFUNCT"};
    return (size_t)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

int bolt_machine_new(const bolt_machine_options *options, bolt_machine **out, braid_error *err) {
    *out = NULL;
    bolt_machine *m = calloc(1, sizeof *m);
    if (m == NULL) return error_set(err, BRAID_E_NO_MEMORY, "wire/bolt", "no memory for a connection");
    m->request_max = options->request_max > 0 ? options->request_max : request_max_default;
    /* above what the requests may take: lengths of chunks and what we put around them */
    buf_init(&m->out, m->request_max + m->request_max / 16384 + (64u << 10));
    buf_init(&m->columns, 0);
    bolt_inbox_init(&m->in, options->message_max > 0 ? options->message_max : message_max_default);
    if (!buf_add(&m->out, bolt_handshake, sizeof bolt_handshake)) {
        bolt_machine_free(m);
        return error_set(err, BRAID_E_NO_MEMORY, "wire/bolt", "no memory for a connection");
    }
    *out = m;
    return BRAID_OK;
}

void bolt_machine_free(bolt_machine *m) {
    if (m == NULL) return;
    if (m->out.cap > 0) explicit_bzero(m->out.data, m->out.len);
    buf_free(&m->out);
    buf_free(&m->columns);
    bolt_inbox_free(&m->in);
    free(m);
}

int bolt_machine_break(bolt_machine *m, int code, braid_error *err, const char *format, ...) {
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    m->state = m->ahead = BOLT_DEFUNCT;
    return error_set(err, code, "wire/bolt", "%s", text);
}

/* ---- bytes ---- */

const void *bolt_machine_output(const bolt_machine *m, size_t *len) {
    *len = m->out.len - m->sent;
    return m->out.data + m->sent;
}

void bolt_machine_sent(bolt_machine *m, size_t len) {
    BRAID_ASSERT(len <= m->out.len - m->sent);
    m->sent += len;
    if (m->sent < m->out.len) return;
    if (m->secret) explicit_bzero(m->out.data, m->out.len);
    m->secret = false;
    m->sent = 0;
    if (m->out.cap > BOLT_OUT_KEEP)
        buf_free(&m->out);
    else
        buf_reset(&m->out);
}

void *bolt_machine_room(bolt_machine *m, size_t *room, braid_error *err) {
    void *at = bolt_inbox_room(&m->in, room);
    if (at == NULL) bolt_machine_break(m, BRAID_E_NO_MEMORY, err, "no memory for an answer");
    return at;
}

void bolt_machine_fed(bolt_machine *m, size_t len) {
    bolt_inbox_fed(&m->in, len);
}

int bolt_machine_feed(bolt_machine *m, const void *data, size_t len, braid_error *err) {
    const char *at = data;
    while (len > 0) {
        size_t room;
        void *to = bolt_machine_room(m, &room, err);
        if (to == NULL) return BRAID_E_NO_MEMORY;
        size_t n = len < room ? len : room;
        memcpy(to, at, n);
        bolt_machine_fed(m, n);
        at += n;
        len -= n;
    }
    return BRAID_OK;
}

void bolt_machine_shrink(bolt_machine *m) {
    if (m->count == 0) bolt_inbox_shrink(&m->in);
}

/* ---- what is known ---- */

bolt_state bolt_machine_state(const bolt_machine *m) {
    return m->state;
}

size_t bolt_machine_pending(const bolt_machine *m) {
    return m->count;
}

bool bolt_machine_clean(const bolt_machine *m) {
    return m->state == BOLT_READY && m->ahead == BOLT_READY && m->count == 0 && m->out.len == 0 &&
           bolt_inbox_empty(&m->in);
}

void bolt_machine_version(const bolt_machine *m, unsigned *major, unsigned *minor) {
    *major = m->major;
    *minor = m->minor;
}

bool bolt_machine_splits_logon(const bolt_machine *m) {
    return m->major == 5 && m->minor >= 1;
}

const char *bolt_machine_agent(const bolt_machine *m) {
    return m->agent;
}

unsigned bolt_machine_recv_timeout_s(const bolt_machine *m) {
    return m->recv_timeout_s;
}

bool bolt_machine_utc(const bolt_machine *m) {
    return m->utc;
}

const bolt_failure *bolt_machine_failure(const bolt_machine *m) {
    return &m->failure;
}

ps_raw bolt_machine_columns(const bolt_machine *m) {
    return (ps_raw){.data = m->columns.data, .len = m->columns.len};
}
