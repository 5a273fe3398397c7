/* The one list of everything that can go wrong.
 *
 * From BRAID_ERROR_MAP come the enum, the names, the sentences, the HTTP status, the exit code of the command line and
 * the table in docs/errors.md: a new error is one row here and nowhere else. Codes are negative, in a range of their
 * own (-30700 and below), so that they clash neither with errno nor with SQLite's codes; 0 is success.
 *
 * This file stands apart from braid.h only because the lowest room (src/base) needs it; braid.h includes it. */
/* clang-format off: a table reads by columns */
#ifndef BRAID_ERROR_H
#define BRAID_ERROR_H

/* X(NAME, code, HTTP status, exit code, "sentence") */
#define BRAID_ERROR_MAP(X)                                                                                             \
    X(INVALID, -30701, 400, 2, "the request is not valid")                                                             \
    X(UNKNOWN_FIELD, -30702, 400, 2, "the request names a field that does not exist")                                  \
    X(DIMENSION, -30703, 400, 2, "the vector's dimension is not the database's")                                       \
    X(NOT_FINITE, -30704, 400, 2, "a number is NaN or infinite")                                                       \
    X(UTF8, -30705, 400, 2, "the text is not valid UTF-8")                                                             \
    X(TOO_LARGE, -30706, 413, 2, "the input is over a limit")                                                          \
    X(NOT_FOUND, -30707, 404, 1, "there is no such thing")                                                             \
    X(CONFLICT, -30708, 409, 1, "the change contradicts what is stored")                                               \
    X(DEADLINE, -30709, 504, 1, "the deadline passed")                                                                 \
    X(BUSY, -30710, 503, 1, "the server is busy; try again")                                                           \
    X(UNAVAILABLE, -30711, 503, 1, "a store is not available")                                                         \
    X(READ_ONLY, -30712, 403, 1, "the database cannot be written")                                                     \
    X(NOT_A_DATABASE, -30713, 500, 1, "the file is not a Braid database")                                              \
    X(NEWER_FORMAT, -30714, 500, 1, "the file was written by a newer version of Braid")                                \
    X(CORRUPT, -30715, 500, 1, "the file is damaged")                                                                  \
    X(DISK_FULL, -30716, 507, 1, "the disk is full")                                                                   \
    X(IO, -30717, 500, 1, "reading or writing failed")                                                                 \
    X(NO_MEMORY, -30718, 503, 1, "memory ran out")                                                                     \
    X(LOCKED, -30719, 409, 1, "another process has the database open")                                                 \
    X(METHOD, -30720, 405, 2, "the method does not exist for this address")                                            \
    X(CLOSED, -30721, 503, 1, "the database is closing")                                                               \
    X(INTERNAL, -30722, 500, 1, "a defect in Braid")

typedef enum braid_code {
    BRAID_OK = 0,
#define BRAID_ERROR_ENUM(name, code, http, exit, text) BRAID_E_##name = (code),
    BRAID_ERROR_MAP(BRAID_ERROR_ENUM)
#undef BRAID_ERROR_ENUM
} braid_code;

/* What went wrong, owned by the caller. A call that fails returns the code and fills this (where the pointer is not
 * NULL): the first cause wins, `store` names the room or store that failed ("record/sqlite", "vector/hnsw", "request"),
 * `message` says what, where and how to mend, in one line, without control characters. A call that succeeds leaves it
 * untouched. */
typedef struct braid_error {
    int code;          /* a braid_code */
    char store[32];    /* NUL-terminated */
    char message[256]; /* NUL-terminated UTF-8, cut at a character boundary */
} braid_error;

#endif
