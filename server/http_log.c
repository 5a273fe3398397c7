/* Log lines of the server, in the form of the engine's: one write(2) a line, and nobody forges a second one through an
 * address. */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "server/http_private.h"

enum { LINE_MAX_BYTES = 1024 };

void http_log(const char *level, const char *format, ...) {
    char text[LINE_MAX_BYTES / 2], line[LINE_MAX_BYTES * 2 + 64];
    time_t now = time(NULL);
    struct tm tm;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t n = strftime(line, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    n += (size_t)snprintf(line + n, 32, " %s server: ", level);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < ' ' || *p == 0x7F)
            n += (size_t)snprintf(line + n, 5, "\\x%02X", *p);
        else
            line[n++] = (char)*p;
    }
    line[n++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}
