/* What the files of the Bolt machine share: states and queue in bolt_machine.c, requests in bolt_request.c, replies in
 * bolt_reply.c. */
#ifndef WIRE_BOLT_MACHINE_PRIVATE_H
#define WIRE_BOLT_MACHINE_PRIVATE_H

#include "bolt_chunk.h"
#include "bolt_machine.h"

enum { BOLT_AGENT_BYTES = 64, BOLT_HINT_SECONDS_MAX = 3600 };

typedef struct bolt_pending {
    bolt_message message;
    bool everything; /* PULL, DISCARD: n = -1 */
    bool in_tx;      /* RUN, PULL, DISCARD: inside of BEGIN */
} bolt_pending;

struct bolt_machine {
    bolt_state state; /* after the replies that were read */
    bolt_state ahead; /* when everything that is pending will have succeeded */
    unsigned major, minor;
    bool utc;
    unsigned recv_timeout_s;
    char agent[BOLT_AGENT_BYTES];
    buf out;
    size_t sent;        /* of `out` */
    bool secret;        /* `out` holds a password */
    size_t request_max; /* of `out` */
    bolt_inbox in;
    bolt_pending pending[BOLT_PENDING_MAX]; /* a ring */
    unsigned first, count;
    unsigned resets; /* among the pending ones */
    bolt_failure failure;
    buf columns;
};

extern const uint8_t bolt_handshake[20];

/* Makes the machine DEFUNCT and returns `code`. */
int bolt_machine_break(bolt_machine *m, int code, braid_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
