/* Interactions that are acknowledged before they are durable. Private to the engine. */
#ifndef ENGINE_WRITE_QUEUE_H
#define ENGINE_WRITE_QUEUE_H

#include "base/base.h"
#include "braid.h"
#include "model/model.h"

typedef struct write_queue write_queue; /* thread-safe */
/* At most `room` wait. On failure *out is NULL. */
int write_queue_open(braid_db *db, size_t room, metrics *m, const logger *log, write_queue **out, braid_error *err);
/* Writes what waits first, and counts as lost what could not be written. NULL allowed. */
void write_queue_close(write_queue *q);
/* Takes a copy. BUSY when there is no room. */
int write_queue_push(write_queue *q, const interaction *in, braid_error *err);
/* Returns when everything that was pushed before is written, refused or, on closing, lost. NULL allowed. */
void write_queue_wait(write_queue *q);

#endif
