/* bolt_result: rows as they come, straight from the input buffer to the caller's function; then the summary.
 *
 * A caller that has enough does not stop the reading: what is under way is read and dropped, and what is not is
 * discarded at the server, so that the connection stays fit to be lent. */
#include "bolt_private.h"

#include <stddef.h>
#include <string.h>

/* ---- rows ---- */

int bolt_column(const bolt_row *row, const char *name) {
    ps_reader r;
    ps_text column;
    uint32_t count;
    ps_reader_init(&r, row->columns.data, row->columns.len);
    if (!ps_read_list(&r, &count)) return -1;
    for (uint32_t i = 0; i < count && ps_read_text(&r, &column); i++)
        if (ps_text_is(column, name)) return (int)i;
    return -1;
}

bool bolt_column_name(const bolt_row *row, uint32_t place, ps_text *name) {
    ps_reader r;
    uint32_t count;
    ps_reader_init(&r, row->columns.data, row->columns.len);
    if (!ps_read_list(&r, &count) || place >= count) return false;
    for (uint32_t i = 0; i <= place; i++)
        if (!ps_read_text(&r, name)) return false;
    return true;
}

bool bolt_row_at(const bolt_row *row, uint32_t place, ps_reader *value) {
    uint32_t count;
    ps_reader_init(value, row->list.data, row->list.len);
    if (place >= row->count || !ps_read_list(value, &count)) return false;
    for (uint32_t i = 0; i < place; i++)
        if (!ps_skip(value, NULL)) return false;
    return true;
}

/* ---- summaries ---- */

static const struct {
    const char *name;
    size_t at;
} result_counters[] = {
    {"nodes-created", offsetof(bolt_summary, nodes_created)},
    {"nodes-deleted", offsetof(bolt_summary, nodes_deleted)},
    {"relationships-created", offsetof(bolt_summary, relationships_created)},
    {"relationships-deleted", offsetof(bolt_summary, relationships_deleted)},
    {"properties-set", offsetof(bolt_summary, properties_set)},
    {"labels-added", offsetof(bolt_summary, labels_added)},
    {"labels-removed", offsetof(bolt_summary, labels_removed)},
    {"indexes-added", offsetof(bolt_summary, indexes_added)},
    {"indexes-removed", offsetof(bolt_summary, indexes_removed)},
    {"constraints-added", offsetof(bolt_summary, constraints_added)},
    {"constraints-removed", offsetof(bolt_summary, constraints_removed)},
    {"system-updates", offsetof(bolt_summary, system_updates)},
};

static void result_stats(ps_reader *r, uint32_t pairs, bolt_summary *out) {
    for (uint32_t i = 0; i < pairs; i++) {
        ps_text key;
        if (!ps_read_text(r, &key)) return;
        ps_reader at = *r;
        ps_value v;
        if (ps_next(&at, &v) && v.kind == PS_INT)
            for (size_t k = 0; k < sizeof result_counters / sizeof result_counters[0]; k++)
                if (ps_text_is(key, result_counters[k].name))
                    memcpy((char *)out + result_counters[k].at, &v.integer, sizeof v.integer);
        ps_skip(r, NULL);
    }
}

/* The map was found sound by the machine; values of an unexpected kind are passed over. */
static void result_summary(const bolt_reply *reply, bolt_summary *out) {
    ps_reader r = reply->body;
    for (uint32_t i = 0; i < reply->count; i++) {
        ps_text key;
        ps_value v;
        if (!ps_read_text(&r, &key)) return;
        ps_reader at = r;
        bool there = ps_next(&at, &v);
        if (there && v.kind == PS_MAP && ps_text_is(key, "stats")) result_stats(&at, v.count, out);
        if (there && v.kind == PS_INT && ps_text_is(key, "t_first")) out->first_ms = v.integer;
        if (there && v.kind == PS_INT && ps_text_is(key, "t_last")) out->last_ms = v.integer;
        if (there && v.kind == PS_STRING && ps_text_is(key, "type")) ps_text_copy(v.text, out->type, sizeof out->type);
        if (there && v.kind == PS_STRING && ps_text_is(key, "db"))
            ps_text_copy(v.text, out->database, sizeof out->database);
        ps_skip(&r, NULL);
    }
}

void bolt_result_bookmark(const bolt_reply *reply, char out[BOLT_BOOKMARK_BYTES]) {
    ps_reader r = reply->body;
    for (uint32_t i = 0; i < reply->count; i++) {
        ps_text key;
        if (!ps_read_text(&r, &key)) return;
        if (ps_text_is(key, "bookmark")) {
            ps_text mark;
            if (!ps_read_text(&r, &mark) || !ps_text_copy(mark, out, BOLT_BOOKMARK_BYTES)) out[0] = '\0';
            return;
        }
        ps_skip(&r, NULL);
    }
}

/* ---- reading ---- */

static int result_row(bolt_conn *n, const bolt_statement *s, bolt_reply *reply, bolt_attempt *a, bool *enough) {
    bolt_row row = {.values = reply->body,
                    .count = reply->count,
                    .columns = bolt_machine_columns(n->m),
                    .list = {.data = reply->body.begin + 2, .len = (size_t)(reply->body.end - reply->body.begin) - 2}};
    a->rows = true;
    a->rows_final |= s->restart == NULL;
    if (s->summary != NULL) s->summary->rows++;
    int code = s->each(s->ctx, &row, &a->err);
    *enough = code == BOLT_ENOUGH;
    if (code == BRAID_OK || code == BOLT_ENOUGH) return BRAID_OK;
    a->foreign = true;
    return error_set(&a->err, code, "wire/bolt", "the reader of the rows gave up"), code;
}

/* Asks for what is left: some more, or nothing of it. */
static int result_more(bolt_conn *n, unsigned fetch, bool enough, deadline until, bolt_attempt *a) {
    int code = enough ? bolt_machine_discard(n->m, -1, &a->err) : bolt_machine_pull(n->m, fetch, &a->err);
    if (code == BRAID_OK) code = bolt_conn_flush(n, until, &a->err);
    if (code != BRAID_OK) a->lost = n->broken;
    return code;
}

int bolt_result_read(bolt_conn *n, const bolt_statement *s, unsigned fetch, deadline until, bolt_attempt *a) {
    bolt_reply reply;
    bool enough = s->each == NULL;
    if (s->summary != NULL) memset(s->summary, 0, sizeof *s->summary);
    int code = bolt_conn_expect(n, until, &reply, a); /* RUN */
    if (code == BRAID_OK && s->summary != NULL) result_summary(&reply, s->summary);
    while (code == BRAID_OK) {
        code = bolt_conn_next(n, until, &reply, &a->err);
        if (code != BRAID_OK) {
            a->lost = true;
        } else if (reply.kind == BOLT_RECORD) {
            if (!enough) code = result_row(n, s, &reply, a, &enough);
        } else if (reply.kind == BOLT_SUCCESS && reply.has_more) {
            code = result_more(n, fetch, enough, until, a);
        } else if (reply.kind == BOLT_SUCCESS) {
            if (s->summary != NULL) result_summary(&reply, s->summary);
            bolt_result_bookmark(&reply, a->bookmark);
            return BRAID_OK;
        } else {
            code = reply.kind == BOLT_FAILURE ? bolt_conn_failed(n, a)
                                              : error_set(&a->err, BRAID_E_CORRUPT, "wire/bolt", "a result is ignored");
        }
    }
    return code;
}
