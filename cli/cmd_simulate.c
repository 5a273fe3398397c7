/* braid simulate: histories for viewers that are marked as simulated, so that a new catalogue can be seen at work. */
#include <stdlib.h>
#include <string.h>

#include "simulate.h"

enum { VIEWERS_BYTES_MAX = 64 << 20, PER_VIEWER = 25, DAYS = 90, DAY_S = 86400 };
static const char until_usual[] = "2026-11-01"; /* fixed: a default must not make two runs differ */

typedef struct run_state {
    cli *c;
    simulate_world world;
    cli_stream stream;
    json_t *viewers;
    size_t made;
} run_state;

static bool add_item(void *ctx, const json_t *item) {
    simulate_add_item(&((run_state *)ctx)->world, item);
    return true;
}

static bool add_viewer(void *ctx, const json_t *user) {
    if (json_is_true(json_object_get(user, "simulated")))
        json_array_append(((run_state *)ctx)->viewers, (json_t *)user);
    return true;
}

static int take(void *ctx, json_t *interaction) {
    run_state *s = ctx;
    return cli_stream_add_json(&s->stream, interaction, ++s->made);
}

/* Loads the file's users into the database and takes them all as viewers. A user that is not marked as simulated is
 * refused: an invented history must never be mixed with a real one. */
static int read_viewers(run_state *s, const char *path) {
    char *text = NULL;
    size_t len, line = 0;
    int rc = cli_read_file(s->c, path, VIEWERS_BYTES_MAX, &text, &len);
    if (rc) return rc;
    cli_stream_source(&s->stream, "/v1/items", path);
    for (char *at = text, *end = text + len; at < end && rc == CLI_OK;) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t size = stop ? (size_t)(stop - at) : (size_t)(end - at);
        line++;
        if (strspn(at, " \t\r") < size) {
            json_t *json = json_loadb(at, size, JSON_REJECT_DUPLICATES, NULL), *user = json_object_get(json, "user");
            if (!json_is_object(user))
                cli_stream_reject(&s->stream, line, "INVALID", "a line {\"user\":{...}} is wanted");
            else if (!json_is_true(json_object_get(user, "simulated")))
                cli_stream_reject(&s->stream, line, "INVALID", "the user is not marked \"simulated\":true");
            else if ((rc = cli_stream_add(&s->stream, at, size, line)) == CLI_OK)
                json_array_append(s->viewers, user);
            json_decref(json);
        }
        at += size + 1;
    }
    if (rc == CLI_OK) rc = cli_stream_flush(&s->stream);
    free(text);
    return rc;
}

static int draw_all(run_state *s) {
    cli_progress progress;
    size_t i;
    const json_t *user;
    int rc = CLI_OK;
    cli_stream_source(&s->stream, "/v1/interactions", "simulated");
    cli_progress_begin(&progress, s->c, "simulating", "interactions", json_array_size(s->viewers));
    json_array_foreach (s->viewers, i, user) {
        if (rc != CLI_OK || cli_stop_asked()) break;
        rc = simulate_viewer(&s->world, user, take, s);
        cli_progress_to(&progress, i + 1, s->made);
    }
    if (rc == CLI_OK) rc = cli_stream_flush(&s->stream);
    cli_progress_end(&progress);
    return rc;
}

static int read_flags(const cli *c, simulate_world *w) {
    int64_t seed = 1, per_viewer = PER_VIEWER;
    const char *from = cli_flag_text(c, "from"), *until = cli_flag_text(c, "until");
    int rc = cli_words_between(c, 0, 0, "no further word");
    if (rc == CLI_OK) rc = cli_flag_int(c, "seed", 0, INT64_MAX, &seed);
    if (rc == CLI_OK) rc = cli_flag_int(c, "per-viewer", 1, 100000, &per_viewer);
    if (rc != CLI_OK) return rc;
    if (!simulate_date(until ? until : until_usual, &w->until))
        return cli_fail(c, CLI_USAGE, "--until must be a date as 2026-11-01, not \"%s\"", until);
    w->from = w->until - (int64_t)DAYS * DAY_S;
    if (from && !simulate_date(from, &w->from))
        return cli_fail(c, CLI_USAGE, "--from must be a date as 2026-08-01, not \"%s\"", from);
    if (w->until - w->from < DAY_S) return cli_fail(c, CLI_USAGE, "--from must lie at least a day before --until");
    w->seed = (uint64_t)seed;
    w->per_viewer = (unsigned)per_viewer;
    return CLI_OK;
}

static int work(run_state *s) {
    cli *c = s->c;
    const char *viewers = cli_flag_text(c, "viewers");
    int rc = viewers ? read_viewers(s, viewers) : cli_each_user(c, add_viewer, s);
    if (rc == CLI_OK && json_array_size(s->viewers) == 0)
        rc = cli_fail(c, CLI_FAILED,
                      "there are no viewers to simulate; give --viewers FILE with lines "
                      "{\"user\":{\"id\":...,\"simulated\":true,...}}");
    if (rc == CLI_OK) rc = cli_each_item(c, add_item, s);
    if (rc == CLI_OK && s->world.count == 0)
        rc = cli_fail(c, CLI_FAILED, "there are no items to watch; load a catalogue first: braid load FILE...");
    return rc == CLI_OK ? draw_all(s) : rc;
}

static int run(cli *c) {
    run_state *s = cli_alloc(sizeof *s);
    double began = cli_now();
    s->c = c;
    int rc = read_flags(c, &s->world);
    cli_stop_catch();
    if (rc == CLI_OK) rc = cli_target_open(c);
    if (rc == CLI_OK) {
        s->viewers = json_array();
        cli_stream_begin(&s->stream, c, "/v1/items", "");
        rc = work(s);
        if (s->stream.accepted || s->stream.rejected) {
            int report = cli_stream_print(&s->stream, cli_now() - began);
            if (rc == CLI_OK) rc = cli_stop_asked() ? CLI_FAILED : report;
            if (rc == CLI_OK)
                cli_note(c, "%zu interactions of %zu viewers, each marked as simulated", s->made,
                         json_array_size(s->viewers));
        }
        cli_stream_free(&s->stream);
        json_decref(s->viewers);
    }
    simulate_free(&s->world);
    free(s);
    return rc;
}

static const cli_flag flags[] = {
    {"viewers", "FILE", "load these viewers first (lines {\"user\":{...}}) and simulate only them"},
    {"per-viewer", "N", "interactions of each viewer (25)"},
    {"from", "DATE", "first day (90 days before --until)"},
    {"until", "DATE", "the day after the last (2026-11-01; fixed, so that two runs are the same)"},
    {"seed", "N", "another seed gives another history (1)"},
    {0},
};

const cli_command cmd_simulate = {
    .name = "simulate",
    .summary = "invent viewing histories for described viewers, marked as simulated",
    .usage = "braid simulate [flags]\n"
             "braid simulate --viewers FILE [flags]",
    .about = "For every user of the database with \"simulated\":true (or every one of --viewers) draws\n"
             "interactions by taste (preferences), rights and limits (constraints), devices and dayparts\n"
             "(attributes, as {\"devices\":\"tv,mobile\",\"dayparts\":\"evening,night\"}), popularity and\n"
             "chance. Each carries context.simulated and a key, so that running it twice changes nothing.",
    .examples = "braid simulate --db films.db --viewers data/viewers.ndjson\n"
                "braid simulate --url http://127.0.0.1:8080 --per-viewer 100 --seed 7",
    .flags = {flags},
    .need = CLI_NEEDS_TARGET,
    .creates = false,
    .run = run,
};
