/* The terminal: what may be coloured, bars, progress.
 *
 * A terminal is asked for, never assumed: in a pipe or a file there are no colours, no bars and no cursor movements. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

enum { BAR_CELLS = 24, REDRAW_MS = 100 };

bool cli_out_is_terminal(void) {
    return isatty(STDOUT_FILENO) == 1;
}

size_t cli_columns(void) {
    struct winsize w;
    if (!cli_out_is_terminal()) return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) return w.ws_col;
    return 80;
}

/* https://no-color.org: set and not empty means no. */
static const char *colour(const char *sequence) {
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    if ((no && *no) || (term && strcmp(term, "dumb") == 0) || !cli_out_is_terminal()) return "";
    return sequence;
}

const char *cli_bold(void) {
    return colour("\033[1m");
}
const char *cli_dim(void) {
    return colour("\033[2m");
}
const char *cli_red(void) {
    return colour("\033[31m");
}
const char *cli_yellow(void) {
    return colour("\033[33m");
}
const char *cli_green(void) {
    return colour("\033[32m");
}
const char *cli_plain(void) {
    return colour("\033[0m");
}

static void draw_bar(FILE *out, double share, unsigned cells) {
    double filled = (share < 0 ? 0 : share > 1 ? 1 : share) * cells;
    for (unsigned i = 0; i < cells; i++) fputs(i + 0.5 <= filled ? "█" : "░", out);
}

void cli_bar(FILE *out, double share, unsigned cells) {
    if (cli_out_is_terminal()) draw_bar(out, share, cells);
}

/* ---- progress ---- */

void cli_progress_begin(cli_progress *p, const cli *c, const char *what, const char *unit, uint64_t total) {
    *p = (cli_progress){.what = what, .unit = unit, .total = total, .began = cli_now()};
    p->shown = !c->quiet && isatty(STDERR_FILENO) == 1;
}

static void draw(cli_progress *p, double now) {
    char count[CLI_SHORT];
    double seconds = now - p->began, rate = seconds > 0 ? (double)p->units / seconds : 0;
    fprintf(stderr, "\r\033[K%s ", p->what);
    if (p->total > 0) {
        double share = (double)p->done / (double)p->total;
        draw_bar(stderr, share, BAR_CELLS);
        fprintf(stderr, " %3.0f %% ", share * 100);
    }
    fprintf(stderr, " %s %s", cli_count_text(count, p->units), p->unit);
    fprintf(stderr, "  %s/s", cli_count_text(count, (uint64_t)rate));
    if (p->total > p->done && p->done > 0 && seconds > 1) {
        unsigned left = (unsigned)(seconds * (double)(p->total - p->done) / (double)p->done + 0.5);
        fprintf(stderr, "  %u:%02u left", left / 60, left % 60);
    }
    fflush(stderr);
}

void cli_progress_to(cli_progress *p, uint64_t done, uint64_t units) {
    p->done = done;
    p->units = units;
    double now = cli_now();
    if (!p->shown || (now - p->drawn) * 1000 < REDRAW_MS) return;
    p->drawn = now;
    draw(p, now);
}

void cli_progress_end(cli_progress *p) {
    if (p->shown && p->drawn > 0) fputs("\r\033[K", stderr);
    p->shown = false;
}

/* A new phase begins a new bar, so that the time that is left is that of the phase. */
bool cli_phases_show(void *phases, const char *phase, uint64_t done, uint64_t total) {
    cli_phases *p = phases;
    if (!p->bar.what || strncmp(p->phase, phase, sizeof p->phase - 1) != 0) {
        cli_progress_end(&p->bar);
        snprintf(p->phase, sizeof p->phase, "%s", phase);
        snprintf(p->what, sizeof p->what, "learning: %s", p->phase);
        cli_progress_begin(&p->bar, p->c, p->what, "steps", total);
    }
    p->bar.total = total;
    cli_progress_to(&p->bar, done, done);
    return !cli_stop_asked();
}

void cli_phases_end(cli_phases *p) {
    cli_progress_end(&p->bar);
}
