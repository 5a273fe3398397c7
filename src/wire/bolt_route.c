/* bolt_route: questions to the server itself: is it there, who is it, who does what in its cluster. */
#include "bolt_private.h"

#include <stdio.h>
#include <string.h>

static int route_ping(bolt_client *c, const bolt_call *call, deadline until, void *arg, bolt_attempt *a) {
    (void)call;
    bolt_server *out = arg;
    bolt_conn *n;
    int code = bolt_client_take(c, until, &n, a);
    if (code != BRAID_OK) return code;
    code = bolt_conn_reset(n, until, &a->err);
    a->lost = code != BRAID_OK;
    if (code == BRAID_OK && out != NULL) {
        bolt_machine_version(n->m, &out->major, &out->minor);
        snprintf(out->agent, sizeof out->agent, "%s", bolt_machine_agent(n->m));
        snprintf(out->address, sizeof out->address, "%s", stream_peer(n->s));
    }
    bolt_client_give(c, n, until);
    return code;
}

int bolt_ping(bolt_client *c, deadline until, bolt_server *out, braid_error *err) {
    bolt_call call = {.access = BOLT_READ, .until = until};
    bolt_kind kind = {0};
    return bolt_retry(c, &call, &kind, route_ping, out, err);
}

/* ---- ROUTE ---- */

typedef struct route_ask {
    int64_t ttl_s;
    void (*each)(void *ctx, const char *role, const char *address);
    void *ctx;
} route_ask;

/* {"addresses": [...], "role": "READ"}; the addresses may come first, hence two readings. */
static bool route_server(ps_reader *r, const route_ask *ask) {
    ps_reader addresses = *r;
    char role[16] = "", text[256];
    uint32_t pairs, count = 0;
    if (!ps_read_map(r, &pairs)) return false;
    for (uint32_t i = 0; i < pairs; i++) {
        ps_text key, value;
        if (!ps_read_text(r, &key)) return false;
        if (ps_text_is(key, "role")) {
            if (!ps_read_text(r, &value)) return false;
            ps_text_copy(value, role, sizeof role);
            continue;
        }
        if (ps_text_is(key, "addresses")) {
            addresses = *r;
            if (!ps_read_list(&addresses, &count)) return ps_refuse(r, "addresses are no list");
        }
        ps_skip(r, NULL);
    }
    for (uint32_t i = 0; i < count; i++) {
        ps_text address;
        if (!ps_read_text(&addresses, &address)) return ps_refuse(r, "an address is no text");
        if (ps_text_copy(address, text, sizeof text)) ask->each(ask->ctx, role, text);
    }
    return r->problem == NULL;
}

static bool route_table(ps_reader *r, route_ask *ask) {
    uint32_t pairs, count;
    if (!ps_read_map(r, &pairs)) return false;
    for (uint32_t i = 0; i < pairs; i++) {
        ps_text key;
        if (!ps_read_text(r, &key)) return false;
        if (ps_text_is(key, "ttl")) {
            if (!ps_read_int(r, &ask->ttl_s)) return false;
        } else if (ps_text_is(key, "servers")) {
            if (!ps_read_list(r, &count)) return false;
            for (uint32_t k = 0; k < count; k++)
                if (!route_server(r, ask)) return false;
        } else {
            ps_skip(r, NULL);
        }
    }
    return r->problem == NULL;
}

static int route_read(const bolt_reply *reply, route_ask *ask, bolt_attempt *a) {
    ps_reader r = reply->body;
    for (uint32_t i = 0; i < reply->count; i++) {
        ps_text key;
        if (!ps_read_text(&r, &key)) break;
        if (ps_text_is(key, "rt")) return route_table(&r, ask) ? BRAID_OK : ps_error(&r, "wire/bolt", &a->err);
        ps_skip(&r, NULL);
    }
    return error_set(&a->err, BRAID_E_CORRUPT, "wire/bolt", "the answer to ROUTE holds no table");
}

static int route_try(bolt_client *c, const bolt_call *call, deadline until, void *arg, bolt_attempt *a) {
    bolt_conn *n;
    bolt_reply reply;
    uint64_t marks;
    int code = bolt_client_take(c, until, &n, a);
    if (code != BRAID_OK) return code;
    bolt_begin how = bolt_client_begin(c, n, call, until, &marks);
    code = bolt_machine_route(n->m, c->remote.address, how.database, how.bookmarks, how.bookmarks_len, &a->err);
    if (code == BRAID_OK) code = bolt_conn_flush(n, until, &a->err);
    if (code == BRAID_OK) code = bolt_conn_expect(n, until, &reply, a);
    a->lost |= n->broken;
    if (code == BRAID_OK) code = route_read(&reply, arg, a);
    bolt_client_give(c, n, until);
    return code;
}

int bolt_route(bolt_client *c, const bolt_call *call, int64_t *ttl_s,
               void (*each)(void *ctx, const char *role, const char *address), void *ctx, braid_error *err) {
    route_ask ask = {.each = each, .ctx = ctx};
    bolt_call read = *call;
    read.access = BOLT_READ;
    bolt_kind kind = {0};
    int code = bolt_retry(c, &read, &kind, route_try, &ask, err);
    if (ttl_s != NULL) *ttl_s = ask.ttl_s;
    return code;
}
