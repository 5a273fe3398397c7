/* Stopping on SIGINT and SIGTERM.
 *
 * The handler does two things that a handler may do: it sets a flag and wakes a pipe. Work that comes in pieces looks
 * at the flag between the pieces. A second signal ends the program at once, which is safe (the database survives kill
 * -9) but may leave the vector index to be built again. Commands that never catch signals are simply ended by the
 * first. The two objects below are the one piece of state of the whole command line that a handler must reach, hence
 * file-level. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "cli.h"

static volatile sig_atomic_t stop_asked;
static int stop_pipe[2] = {-1, -1};

static void on_signal(int number) {
    int saved = errno;
    if (stop_asked) _exit(128 + number);
    stop_asked = 1;
    ssize_t ignored = write(stop_pipe[1], "", 1);
    (void)ignored;
    errno = saved;
}

void cli_stop_catch(void) {
    if (stop_pipe[0] >= 0 || pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK)) return;
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL); /* no SA_RESTART: a read of the standard input must end */
    sigaction(SIGTERM, &action, NULL);
}

bool cli_stop_asked(void) {
    return stop_asked != 0;
}

void cli_stop_wait(void) {
    struct pollfd wake = {.fd = stop_pipe[0], .events = POLLIN};
    while (!stop_asked) poll(&wake, 1, -1);
}
