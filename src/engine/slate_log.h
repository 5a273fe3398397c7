/* The log of what was shown, behind a bounded queue. Private to the engine. */
#ifndef ENGINE_SLATE_LOG_H
#define ENGINE_SLATE_LOG_H

#include "judge/judge.h"
#include "record/record.h"

typedef struct slate_log slate_log; /* thread-safe */
/* `share` of the answers is kept, 0..1; at most `room` wait. On failure *out is to be closed all the same. */
int slate_log_open(record_store *record, double share, size_t room, metrics *m, const logger *log, slate_log **out,
                   braid_error *err);
void slate_log_close(slate_log *s); /* writes what waits first; NULL allowed */
/* Never waits. `shown` NULL: there is nothing to keep. Everything is copied. */
void slate_log_offer(slate_log *s, const char *id, const char *agent, const char *person, int64_t at,
                     const judge_log *shown);
/* Returns when everything offered before is written (or given up). */
void slate_log_wait(slate_log *s);

#endif
