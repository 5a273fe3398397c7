/* Streams of lines: what load, import and simulate send.
 *
 * A piece ends before it is larger than CLI_PIECE_BYTES or CLI_PIECE_LINES, so that memory stays small, a server's
 * answer comes soon and Ctrl-C is heard after at most one piece. Each piece is acknowledged as a whole; what was
 * acknowledged stays whatever comes later. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

void cli_stream_begin(cli_stream *s, cli *c, const char *path, const char *source) {
    memset(s, 0, sizeof *s);
    s->c = c;
    s->path = path;
    s->source = source;
    s->rejections = json_array();
}

void cli_stream_source(cli_stream *s, const char *path, const char *source) {
    s->path = path;
    s->source = source;
    s->acknowledged = 0;
}

void cli_stream_free(cli_stream *s) {
    free(s->text);
    free(s->lsn);
    json_decref(s->rejections);
    memset(s, 0, sizeof *s);
}

void cli_stream_reject(cli_stream *s, size_t line, const char *code, const char *why) {
    s->rejected++;
    if (json_array_size(s->rejections) < CLI_REJECTIONS_KEPT)
        json_array_append_new(s->rejections, json_pack("{s:s, s:I, s:s, s:s}", "file", s->source, "line",
                                                       (json_int_t)line, "code", code, "error", why));
    if (s->c->json || s->rejected > CLI_REJECTIONS_SHOWN) return;
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr); /* the progress bar */
    fputs("braid: ", stderr);
    cli_put(stderr, s->source, 0);
    fprintf(stderr, ":%zu: ", line);
    cli_put(stderr, why, 0);
    fputc('\n', stderr);
}

static void take_report(cli_stream *s, const json_t *report) {
    const json_t *rejected = json_object_get(report, "rejected"), *total = json_object_get(report, "rejected_total"),
                 *one;
    size_t i;
    s->accepted += (uint64_t)cli_json_num(report, "accepted");
    s->duplicates += (uint64_t)cli_json_num(report, "duplicates");
    json_array_foreach (rejected, i, one) {
        size_t at = (size_t)cli_json_num(one, "line");
        cli_stream_reject(s, at >= 1 && at <= s->lines ? s->line_of[at - 1] : at, cli_json_str(one, "code"),
                          cli_json_str(one, "error"));
    }
    if (total) s->rejected += (uint64_t)json_number_value(total) - json_array_size(rejected);
    if (!*cli_json_str(report, "lsn")) return;
    free(s->lsn);
    s->lsn = cli_copy(cli_json_str(report, "lsn"));
}

int cli_stream_flush(cli_stream *s) {
    if (s->lines == 0) return CLI_OK;
    json_t *report;
    cli_request q = {.method = "POST", .path = s->path, .body = s->text, .len = s->len, .first_line = 1};
    int rc = cli_call_json(s->c, &q, &report);
    if (rc == CLI_OK) {
        take_report(s, report);
        s->acknowledged = s->line_of[s->lines - 1];
    }
    json_decref(report);
    s->len = s->lines = 0;
    return rc;
}

int cli_stream_add(cli_stream *s, const char *text, size_t len, size_t line) {
    int rc = s->lines > 0 && s->len + len > CLI_PIECE_BYTES ? cli_stream_flush(s) : CLI_OK;
    if (rc != CLI_OK) return rc;
    if (s->len + len + 2 > s->cap) s->text = cli_grow(s->text, s->cap = (s->len + len + 2) * 2);
    memcpy(s->text + s->len, text, len);
    s->len += len;
    s->text[s->len++] = '\n';
    s->text[s->len] = '\0';
    s->line_of[s->lines++] = line;
    return s->lines == CLI_PIECE_LINES ? cli_stream_flush(s) : CLI_OK;
}

int cli_stream_add_json(cli_stream *s, json_t *value, size_t line) {
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    if (!text) {
        cli_stream_reject(s, line, "UTF8", "this cannot be written as JSON; is it UTF-8?");
        return CLI_OK;
    }
    int rc = cli_stream_add(s, text, strlen(text), line);
    free(text);
    return rc;
}

int cli_stream_print(const cli_stream *s, double seconds) {
    if (s->c->json) {
        json_t *sum = json_pack("{s:I, s:I, s:I, s:O, s:s?, s:f}", "accepted", (json_int_t)s->accepted, "duplicates",
                                (json_int_t)s->duplicates, "rejected_total", (json_int_t)s->rejected, "rejected",
                                s->rejections, "lsn", s->lsn, "seconds", seconds);
        cli_print_json(sum);
        json_decref(sum);
        return s->rejected ? CLI_FAILED : CLI_OK;
    }
    char number[CLI_SHORT];
    uint64_t all = s->accepted + s->rejected;
    printf("%s accepted", cli_count_text(number, s->accepted));
    if (s->duplicates) printf(" (%s of them there already)", cli_count_text(number, s->duplicates));
    printf(", %s%s rejected%s", s->rejected ? cli_red() : "", cli_count_text(number, s->rejected),
           s->rejected ? cli_plain() : "");
    printf(", in %.2f s", seconds);
    if (seconds > 0.01) printf(" (%s/s)", cli_count_text(number, (uint64_t)((double)all / seconds)));
    putchar('\n');
    if (s->rejected > CLI_REJECTIONS_SHOWN)
        cli_note(s->c, "the first %d rejections are shown; --json lists up to %d", CLI_REJECTIONS_SHOWN,
                 CLI_REJECTIONS_KEPT);
    return s->rejected ? CLI_FAILED : CLI_OK;
}
