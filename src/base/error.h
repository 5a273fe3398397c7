/* Errors: a code to branch on, a store to blame, a message to read. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../include/braid_error.h"

/* Fills `err` (may be NULL) unless it already holds an error (the first cause wins), and returns `code`, so that a
 * failing function ends with `return error_set(err, BRAID_E_IO, "record/sqlite", "...")`. The message is cut at a UTF-8
 * boundary and control characters become '?', since it may end in a log line. */
int error_set(braid_error *err, int code, const char *store, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Forgets an error, to try another way. NULL is allowed. */
void error_clear(braid_error *err);

const char *error_name(int code);     /* "NOT_FOUND" */
const char *error_sentence(int code); /* "there is no such thing" */
int error_http_status(int code);
int error_exit_code(int code);

/* Assertions stay on in release builds: print the expression, its place and the message to stderr and abort. Never for
 * what a caller outside can cause. */
#define BRAID_ASSERT(expr) ((expr) ? (void)0 : error_assert_failed(#expr, __FILE__, __LINE__, __func__))
_Noreturn void error_assert_failed(const char *expr, const char *file, int line, const char *function);

#endif
