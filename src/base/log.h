/* Log lines for people and machines on stderr: "2026-11-21T20:15:00Z warn feed: vector/hnsw is 1,200 changes behind".
 *
 * Control bytes in arguments are escaped, so that nobody forges a line. Thread-safe; one write(2) a line. The level is
 * part of the logger handed around, not of a global. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF } log_level;

typedef struct logger {
    log_level level;
    int fd; /* 2 */
} logger;

void log_write(const logger *l, log_level level, const char *room, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
