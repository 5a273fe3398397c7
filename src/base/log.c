/* Log lines.
 *
 * A line is made on the stack and written by one write(2), so lines of several threads never mix (up to
 * PIPE_BUF on a pipe) and logging needs neither a lock nor memory. What a client sent may be among the
 * arguments: control characters and bytes that are not UTF-8 are shown as \n or \x1b, so that a line is a line.
 * Longer messages are cut, with "..." to say so. Failure to write is ignored: there is nowhere left to
 * complain. Rejected: syslog and files; whoever runs the process (systemd, Docker) keeps stderr. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "utf8.h"

enum { LOG_MESSAGE_BYTES = 2048, LOG_LINE_BYTES = 4096, LOG_ESCAPE_BYTES = 4 };

/* Writes one byte as \n or \x1b; returns the bytes written, at most LOG_ESCAPE_BYTES. */
static size_t log_escape(char *out, unsigned char c) {
    static const char hex[] = "0123456789abcdef";
    const char *letters = "\n\r\t", *names = "nrt", *hit = c != '\0' ? strchr(letters, c) : NULL;
    out[0] = '\\';
    if (hit != NULL) {
        out[1] = names[hit - letters];
        return 2;
    }
    out[1] = 'x';
    out[2] = hex[c >> 4];
    out[3] = hex[c & 15];
    return LOG_ESCAPE_BYTES;
}

/* Appends `text` escaped; stops early (false) when fewer than `reserve` bytes would be left. */
static bool log_append(char *line, size_t *used, size_t size, size_t reserve, const char *text) {
    size_t len = strlen(text), at = 0;
    while (at < len) {
        uint32_t point = 0;
        size_t step = utf8_decode(text + at, len - at, &point);
        bool clean = step > 0 && !utf8_is_control(point);
        size_t bytes = step > 0 ? step : 1;
        if (*used + (clean ? bytes : bytes * LOG_ESCAPE_BYTES) + reserve > size) return false;
        if (clean) {
            memcpy(line + *used, text + at, bytes);
            *used += bytes;
        }
        for (size_t i = 0; !clean && i < bytes; i++) *used += log_escape(line + *used, (unsigned char)text[at + i]);
        at += bytes;
    }
    return true;
}

void log_write(const logger *l, log_level level, const char *room, const char *format, ...) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (l == NULL || level < l->level || level >= LOG_OFF) return;
    int saved = errno;
    static const char cut[] = "...\n";
    char message[LOG_MESSAGE_BYTES], line[LOG_LINE_BYTES], time[32];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    bool whole = n >= 0 && (size_t)n < sizeof message;
    if (n < 0)
        message[0] = '\0';
    else if (!whole) /* vsnprintf may have cut inside a character */
        message[utf8_prefix(message, sizeof message - 1, sizeof message - 2)] = '\0';
    clock_format_rfc3339(clock_wall_ms(&clock_system), time);
    size_t used = (size_t)snprintf(line, sizeof line, "%s %s ", time, names[level]);
    whole = log_append(line, &used, sizeof line, sizeof cut + 2, room) && whole;
    memcpy(line + used, ": ", 2);
    used += 2;
    whole = log_append(line, &used, sizeof line, sizeof cut, message) && whole;
    const char *end = whole ? "\n" : cut;
    memcpy(line + used, end, strlen(end));
    used += strlen(end);
    while (write(l->fd, line, used) < 0 && errno == EINTR) continue;
    errno = saved;
}
