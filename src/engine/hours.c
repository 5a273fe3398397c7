/* What agents did hour by hour: rolled up by the keeper, read here.
 *
 * The record store counts (record_roll_up); this prints. A file is brought up to date before it is read: only what
 * is new is counted there. A server counts whole hours anew, so it does so once an hour and soon after the database
 * was opened, and an hour under way holds what had been done by then. */
#include <string.h>

#include "engine/db.h"

enum { HOURS_MAX = 10000, DAYS = 7, KEEP_H = 25 };
#define HOUR_MS INT64_C(3600000)

/* One hour more than a day, so that what a client sends late at night is there the night after. */
int engine_roll_up(braid_db *db, braid_error *err) {
    return record_roll_up(db->record, clock_wall_ms(&clock_system) - KEEP_H * HOUR_MS, err);
}

typedef struct hours_out {
    buf *out;
    size_t count;
} hours_out;

static void print_share(buf *out, double of, uint64_t count) {
    if (count)
        buf_json_real(out, of / (double)count);
    else
        buf_puts(out, "null");
}

static bool print_hour(void *ctx, const record_hour *h) {
    hours_out *x = ctx;
    char at[32];
    clock_format_rfc3339(h->hour, at);
    buf_printf(x->out, "%s{\"hour\":\"%s\",\"agent\":", x->count++ ? "," : "", at);
    buf_json_string(x->out, h->agent);
    buf_printf(x->out,
               ",\"slates\":%llu,\"episodes\":%llu,\"finished\":%llu,\"reward_sum\":", (unsigned long long)h->slates,
               (unsigned long long)h->episodes, (unsigned long long)h->finished);
    buf_json_real(x->out, h->reward_sum);
    buf_puts(x->out, ",\"reward_mean\":");
    print_share(x->out, h->reward_sum, h->episodes);
    buf_printf(x->out, ",\"places\":%llu,\"explored\":%llu,\"explored_share\":", (unsigned long long)h->places,
               (unsigned long long)h->explored);
    print_share(x->out, (double)h->explored, h->places);
    buf_putc(x->out, '}');
    return !x->out->failed;
}

static int read_time(const char *text, const char *name, int64_t otherwise, int64_t *out, braid_error *err) {
    *out = otherwise;
    if (!text || !*text || clock_parse_rfc3339(text, out)) return BRAID_OK;
    return error_set(err, BRAID_E_INVALID, "request", "\"%s\" wants a time, RFC 3339", name);
}

int braid_hours(braid_db *db, const char *agent, const char *from, const char *until, char **json, braid_error *err) {
    int64_t begin, end;
    *json = NULL;
    if (agent && !*agent) agent = NULL;
    int rc = agent ? model_check_id(agent, strlen(agent), "the agent", err) : BRAID_OK;
    if (rc == BRAID_OK) rc = read_time(until, "until", INT64_MAX, &end, err);
    if (rc == BRAID_OK)
        rc = read_time(from, "from", (end == INT64_MAX ? clock_wall_ms(&clock_system) : end) - DAYS * 24 * HOUR_MS,
                       &begin, err);
    bool cheap = !(record_caps_of(db->record) & RECORD_CAP_REMOTE) && !option_get_bool(db->options, "record.read_only");
    if (rc == BRAID_OK && cheap) rc = engine_roll_up(db, err);
    if (rc) return rc;
    buf b;
    buf_init(&b, 0);
    hours_out x = {.out = &b};
    buf_puts(&b, "{\"hours\":[");
    rc = record_scan_hours(db->record, agent, begin, end, HOURS_MAX, print_hour, &x, err);
    buf_puts(&b, "]}");
    if (rc == BRAID_OK) return engine_text(&b, json, err);
    buf_free(&b);
    return rc;
}
