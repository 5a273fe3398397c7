/* bolt_chunk: messages in chunks.
 *
 * A message travels as chunks: two bytes of length, then as many bytes, and a length of 0 at the end. A length of 0
 * where a message would begin is a NOOP. Internal to the Bolt client. */
#ifndef WIRE_BOLT_CHUNK_H
#define WIRE_BOLT_CHUNK_H

#include "base/base.h"

/* ---- outgoing: written in place ---- */

/* Room for a length; the message is then appended to `out`. Returns where it begins. */
size_t bolt_chunk_open(buf *out);
/* Fills in the lengths; a long message is spread into chunks. False when memory or the ceiling ended. */
bool bolt_chunk_close(buf *out, size_t at);

/* ---- incoming: messages are joined in place, and handed out as views ---- */

typedef struct bolt_inbox {
    uint8_t *data;
    size_t cap, max; /* max: of a message */
    size_t message;  /* where the one that is being joined begins ... */
    size_t joined;   /* ... and its bytes so far; 0: none has begun */
    size_t raw;      /* what comes next, still in chunks */
    size_t end;
} bolt_inbox;

void bolt_inbox_init(bolt_inbox *in, size_t max);
void bolt_inbox_free(bolt_inbox *in);
/* At least 4 KiB to read to; earlier views end. NULL when memory ran out. */
uint8_t *bolt_inbox_room(bolt_inbox *in, size_t *room);
void bolt_inbox_fed(bolt_inbox *in, size_t len);
/* The next whole message, or none yet (*data NULL). False when it is over the limit. */
bool bolt_inbox_next(bolt_inbox *in, const uint8_t **data, size_t *len);
/* `len` bytes without chunks (the handshake), or NULL while they are not there. */
const uint8_t *bolt_inbox_take(bolt_inbox *in, size_t len);
bool bolt_inbox_empty(const bolt_inbox *in);
void bolt_inbox_shrink(bolt_inbox *in);

#endif
