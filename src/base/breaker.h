/* breaker: stops asking a store that does not answer.
 *
 * closed      calls pass; the last `window` outcomes are remembered. When at least `volume` of them are there and the
 *             share of failures reaches `share`, it opens.
 * open        calls are refused at once (BRAID_E_UNAVAILABLE) for `open_ms`, which doubles with every failed probe up
 *             to open_ms_max.
 * half-open   one call at a time passes as a probe, under its own deadline; success closes, failure opens again. A
 *             probe that never reports (its thread died) is given up after probe_ms, so that no state is for ever.
 *
 * Besides, in either of the last two, one call a second passes that has patient_ms left or more; its success closes,
 * its failure changes nothing. A store may need longer for its first answers than anybody who waits for one can give it
 * (a Neo4j that plans each statement anew after a start): the probes of those who are in a hurry would fail for ever.
 *
 * A failure is a time-out, a broken connection, a refusal for overload, or a call slower than slow_ms; what a caller
 * did wrong (a bad request, an unknown id) is a success of the store. So the one place that judges is
 * breaker_failure(): by error code. Reads and writes of a store have a breaker each.
 *
 * Nygard, "Release It!", 2nd ed., ch. 5. Thread-safe; the closed path is one short lock. Time comes from the clock. */
#ifndef BASE_BREAKER_H
#define BASE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "error.h"
#include "metrics.h"

typedef struct breaker breaker;
typedef enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN } breaker_state;

typedef struct breaker_options {
    const char *store, *calls; /* labels: "milvus", "read" */
    unsigned window;           /* default 20, at most 64 */
    unsigned volume;           /* default 5 */
    double share;              /* default 0.5 */
    unsigned open_ms;          /* default 500 */
    unsigned open_ms_max;      /* default 4,000 */
    unsigned probe_ms;         /* default 2,000 */
    unsigned patient_ms;       /* default 5,000 */
    unsigned slow_ms;          /* default 0: slow calls are no failures */
    const clock_ops *clock;
    metrics *metrics; /* breaker_state{store,calls} 0, 1, 2; breaker_refused_total; breaker_opened_total */
} breaker_options;

int breaker_new(const breaker_options *options, breaker **out, braid_error *err);
void breaker_free(breaker *b);

/* BRAID_OK: go on, and report the outcome with breaker_done(ticket) on every path. UNAVAILABLE: the breaker is open;
 * err says since when and until when. NULL b: always passes. */
typedef struct breaker_ticket {
    int64_t begun_ns;
    uint64_t probe; /* not 0: this call is the probe of that number */
    bool patient;   /* passed a breaker that is not closed, since it has time */
} breaker_ticket;
int breaker_enter(breaker *b, breaker_ticket *ticket, braid_error *err);
/* The same for a call that says until when it may take (0: it does not say, and is not patient). */
int breaker_enter_until(breaker *b, deadline until, breaker_ticket *ticket, braid_error *err);
void breaker_done(breaker *b, breaker_ticket ticket, int code);
/* Instead of breaker_done, for a call that never reached the store (no connection came free in time): it says
 * nothing of the store. One that was the probe leaves that to the next. */
void breaker_skip(breaker *b, breaker_ticket ticket);

/* Whether a result speaks against the store. */
bool breaker_failure(int code);
breaker_state breaker_now(const breaker *b);
const char *breaker_state_name(breaker_state s); /* "closed", "open", "half-open" */

#endif
