/* stream: NDJSON of any length through a call that takes a piece of it, in constant memory. */
#ifndef SERVER_STREAM_H
#define SERVER_STREAM_H

#include "server/api.h"

/* Writes whole lines, the first of which is number `first_line`, and answers with a report or a refusal. */
typedef void stream_write(void *ctx, const char *lines, size_t len, size_t first_line, api_response *answer);

typedef struct stream stream;

/* Pieces of about `piece` bytes; a line longer than `line_max` is rejected in the report and skipped. NULL: no
 * memory. */
stream *stream_new(size_t piece, size_t line_max, stream_write *write, void *ctx);
/* Takes any bytes; writes what has become a piece. After a refusal it swallows the rest. */
void stream_feed(stream *s, const char *data, size_t len);
/* Whether a piece was refused, so that nothing more will be written. */
bool stream_refused(const stream *s);
/* Stops with a refusal of the caller's own; takes over what `refusal` holds. */
void stream_refuse(stream *s, api_response *refusal);
/* Writes what is left and answers: the reports merged into one, or the refusal with what had been written before as
 * "written". */
void stream_finish(stream *s, api_response *answer);
/* Without stream_finish: what was written stays, the rest is dropped. NULL allowed. */
void stream_free(stream *s);

#endif
