/* Several statements in one round trip: they are gathered with their parameters and sent as one transaction. */
#include <stdlib.h>
#include <string.h>

#include "graph/graph_neo4j.h"

int graph_neo4j_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, GRAPH_NEO4J_STORE, "no memory for a request");
}

static bool request_grow(graph_neo4j_request *rq) {
    if (rq->count < rq->cap) return true;
    size_t cap = rq->cap > 0 ? rq->cap * 2 : 8;
    bolt_statement *s = realloc(rq->statements, cap * sizeof *s);
    if (s != NULL) rq->statements = s;
    buf *p = realloc(rq->parameters, cap * sizeof *p);
    if (p != NULL) rq->parameters = p;
    char **t = realloc(rq->texts, cap * sizeof *t);
    if (t != NULL) rq->texts = t;
    if (s == NULL || p == NULL || t == NULL) return false;
    rq->cap = cap;
    return true;
}

buf *graph_neo4j_ask(graph_neo4j_request *rq, const char *text, bolt_each each, void *ctx) {
    if (!request_grow(rq)) {
        rq->failed = rq->nowhere.failed = true;
        return &rq->nowhere;
    }
    size_t i = rq->count++;
    rq->statements[i] = (bolt_statement){.text = text, .each = each, .ctx = ctx};
    rq->texts[i] = NULL;
    bolt_parameters_begin(&rq->parameters[i]);
    return &rq->parameters[i];
}

buf *graph_neo4j_ask_owned(graph_neo4j_request *rq, char *text, bolt_each each, void *ctx) {
    if (text == NULL) {
        rq->failed = rq->nowhere.failed = true;
        return &rq->nowhere;
    }
    buf *b = graph_neo4j_ask(rq, text, each, ctx);
    if (b == &rq->nowhere)
        free(text);
    else
        rq->texts[rq->count - 1] = text;
    return b;
}

/* False when memory ran out on the way. */
static bool request_ready(graph_neo4j_request *rq) {
    for (size_t i = 0; i < rq->count; i++) {
        const buf *b = &rq->parameters[i];
        if (b->failed) rq->failed = true;
        rq->statements[i].parameters = b->len > 0 ? b->data : NULL;
        rq->statements[i].parameters_len = b->len;
    }
    return !rq->failed;
}

int graph_neo4j_run(graph_neo4j *g, graph_neo4j_request *rq, const bolt_call *call, braid_error *err) {
    if (!request_ready(rq)) return graph_neo4j_no_memory(err);
    if (rq->count == 0) return BRAID_OK;
    if (rq->count == 1) return bolt_run(g->bolt, call, rq->statements, err);
    return bolt_transact(g->bolt, call, rq->statements, rq->count, err);
}

int graph_neo4j_run_in(bolt_tx *tx, graph_neo4j_request *rq, braid_error *err) {
    if (!request_ready(rq)) return graph_neo4j_no_memory(err);
    return rq->count > 0 ? bolt_tx_run_many(tx, rq->statements, rq->count, err) : BRAID_OK;
}

void graph_neo4j_request_free(graph_neo4j_request *rq) {
    for (size_t i = 0; i < rq->count; i++) {
        buf_free(&rq->parameters[i]);
        free(rq->texts[i]);
    }
    free(rq->statements);
    free(rq->parameters);
    free(rq->texts);
    *rq = (graph_neo4j_request){0};
}

/* Every write is guarded by versions or ends in the same state when it is done twice. */
bolt_call graph_neo4j_write_call(const graph_neo4j *g, bolt_failure *failure) {
    return (bolt_call){.access = BOLT_WRITE,
                       .until = clock_mono_ns(g->options.clock) + (int64_t)g->write_ms * 1000000,
                       .idempotent = true,
                       .failure = failure};
}
