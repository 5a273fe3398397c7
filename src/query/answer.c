/* The answer as JSON, and the plan with estimate beside actual. docs/api.md, "An answer", shows the shape. */
#include <string.h>

#include "query/programme.h"

static void print_number(buf *out, const char *name, double value) {
    buf_printf(out, "\"%s\":%.1f", name, value);
}

static void print_text(buf *out, const char *name, const char *value) {
    buf_printf(out, "\"%s\":", name);
    if (value)
        buf_json_string(out, value);
    else
        buf_puts(out, "null");
}

void plan_print(const query_run_state *q, buf *out) {
    const query_plan *p = &q->plan;
    buf_putc(out, '{');
    print_text(out, "strategy", query_strategy_name(p->strategy));
    buf_putc(out, ',');
    print_text(out, "reason", p->reason);
    buf_puts(out, ",\"candidates\":[");
    for (int s = STRATEGY_VECTOR_ONLY; s < STRATEGY_COUNT; s++) {
        const plan_option *o = &p->options[s];
        buf_printf(out, "%s{\"strategy\":\"%s\",\"possible\":%s,\"estimate_us\":%.1f,\"chosen\":%s,",
                   s > STRATEGY_VECTOR_ONLY ? "," : "", query_strategy_name((query_strategy)s),
                   o->possible ? "true" : "false", o->estimate_us, p->strategy == (query_strategy)s ? "true" : "false");
        print_text(out, "why", o->why);
        buf_putc(out, '}');
    }
    buf_puts(out, "],\"steps\":[");
    for (size_t i = 0; i < q->step_count; i++) {
        const run_step *s = &q->steps[i];
        buf_printf(out, "%s{\"step\":\"%s\",", i ? "," : "", s->name);
        print_text(out, "method", s->method);
        buf_printf(out, ",\"estimate_us\":%.1f,\"actual_us\":%.1f,\"estimate_rows\":%.0f,\"rows\":%.0f}",
                   s->estimate_us, s->actual_us, s->estimate_rows, s->rows);
    }
    buf_printf(out, "],\"filter\":{\"matches\":%llu,\"may_be_shown\":%llu,\"left\":%llu,\"of\":%llu},\"search_near\":",
               (unsigned long long)q->filter_matches, (unsigned long long)q->rights_left,
               (unsigned long long)q->allow_count, (unsigned long long)q->total);
    if (q->vector_from)
        buf_json_string(out, q->vector_from);
    else
        buf_puts(out, "null");
    buf_printf(out, ",\"seeds\":%zu,\"fetch\":%zu,\"overlap\":%s,\"estimate_us\":%.1f", q->seed_count, p->fetch,
               p->overlap ? "true" : "false", p->estimate_us);
    if (q->us_gather > 0) buf_printf(out, ",\"actual_us\":%.1f", q->us_gather);
    buf_putc(out, '}');
}

static void print_timing(const query_run_state *q, buf *out) {
    const struct {
        const char *name;
        double us;
    } laps[] = {
        {"total", q->us_total}, {"plan", q->us_plan},      {"gather", q->us_gather}, {"vector", q->us_vector},
        {"graph", q->us_graph}, {"policy", q->us_policy},  {"fuse", q->us_fuse},     {"personalise", q->us_personalise},
        {"shape", q->us_shape}, {"explain", q->us_explain}};
    buf_puts(out, ",\"timing_us\":{");
    for (size_t i = 0; i < sizeof laps / sizeof laps[0]; i++) {
        if (i) buf_putc(out, ',');
        print_number(out, laps[i].name, laps[i].us);
    }
    buf_putc(out, '}');
}

static int print_item(const query_run_state *q, const query_item *it, buf *out) {
    catalogue_card card;
    buf_puts(out, "{\"id\":");
    buf_json_string(out, it->id);
    buf_putc(out, ',');
    print_text(out, "title", it->title);
    if (catalogue_get_card(q->rooms->catalogue, it->num, q->a, &card)) {
        buf_putc(out, ',');
        print_text(out, "kind", card.kind);
        if (card.year) buf_printf(out, ",\"year\":%d", card.year);
        if (card.language[0]) {
            buf_putc(out, ',');
            print_text(out, "language", card.language);
        }
    }
    buf_printf(out, ",\"score\":%.4f,\"strands\":{\"vector\":%.4f,\"graph\":%.4f,\"policy\":%.4f},\"because\":[",
               it->score, it->strand[STRAND_VECTOR], it->strand[STRAND_GRAPH], it->strand[STRAND_POLICY]);
    for (size_t i = 0; i < it->because_count; i++) {
        if (i) buf_putc(out, ',');
        buf_json_string(out, it->because[i]);
    }
    buf_printf(out, "],\"explored\":%s,\"propensity\":", it->explored ? "true" : "false");
    if (it->propensity > 0)
        buf_printf(out, "%.6g}", it->propensity);
    else
        buf_puts(out, "null}");
    return out->failed ? BRAID_E_NO_MEMORY : BRAID_OK;
}

static void print_list(buf *out, const char *name, const char *const *texts, size_t n) {
    buf_printf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        if (i) buf_putc(out, ',');
        buf_json_string(out, texts[i]);
    }
    buf_putc(out, ']');
}

int answer_print(query_run_state *q, const query_item *items, size_t count, uint64_t lsn, buf *out) {
    char token[40];
    query_lsn_token(q->rooms->epoch, lsn, token);
    buf_printf(out, "{\"recommendation_id\":\"%s\",\"results\":[", q->recommendation_id);
    for (size_t i = 0; i < count; i++) {
        if (i) buf_putc(out, ',');
        int rc = print_item(q, &items[i], out);
        if (rc) return rc;
    }
    buf_printf(out, "],\"strategy\":\"%s\",\"plan\":", query_strategy_name(q->plan.strategy));
    plan_print(q, out);
    print_timing(q, out);
    buf_printf(out, ",\"filled\":{\"asked\":%zu,\"returned\":%zu,", q->rq->k, count);
    print_text(out, "reason", q->unfilled);
    buf_printf(out, "},\"cold_start\":%s,\"cached\":%s", q->cold ? "true" : "false", q->cached ? "true" : "false");
    const experiment_place *e = &q->experiment;
    if (e->experiment) {
        buf_puts(out, ",\"experiment\":{");
        print_text(out, "id", e->experiment->id);
        buf_putc(out, ',');
        print_text(out, "arm", q->interleaved ? NULL : e->experiment->arms[e->arm].name);
        buf_puts(out, "}");
    }
    print_list(out, "degraded", q->degraded, q->degraded_count);
    print_list(out, "notes", q->notes, q->note_count);
    buf_printf(out, ",\"lsn\":\"%s\"}", token);
    return out->failed ? BRAID_E_NO_MEMORY : BRAID_OK;
}
