/* bolt_retry: when a call may be tried again, and what is told when it may not.
 *
 * The question is always the same: can the first attempt have had an effect that a second one would double? A refusal
 * by the server proves that the transaction was rolled back. A lost connection proves nothing once COMMIT was on its
 * way; before, the server rolls back by itself. The pause doubles and is drawn from half to one and a half of its
 * length, so that transactions that met in a deadlock do not meet again. */
#include "bolt_private.h"

#include <string.h>
#include <time.h>

enum { BOLT_PAUSE_MS = 10, BOLT_PAUSE_MS_MAX = 1000 };

static bool retry_allowed(const bolt_call *call, const bolt_kind *kind, const bolt_attempt *a, int code) {
    bool harmless = call->access == BOLT_READ || call->idempotent;
    if (a->foreign || a->rows_final || code == BRAID_E_DEADLINE) return false;
    if (a->failure.class != BOLT_CLASS_NONE) return a->failure.retriable && (harmless || !kind->auto_commit);
    return a->lost && code == BRAID_E_UNAVAILABLE && (harmless || !a->uncertain);
}

/* Sleeps for the pause before attempt `number` (from 1); false if the deadline would pass. */
static bool retry_pause(bolt_client *c, unsigned number, deadline until) {
    int64_t ms = number > 7 ? BOLT_PAUSE_MS_MAX : (int64_t)BOLT_PAUSE_MS << (number - 1);
    if (ms > BOLT_PAUSE_MS_MAX) ms = BOLT_PAUSE_MS_MAX;
    pthread_mutex_lock(&c->lock);
    double jitter = 0.5 + rng_uniform(&c->random);
    pthread_mutex_unlock(&c->lock);
    int64_t ns = (int64_t)((double)ms * 1e6 * jitter);
    if (until != 0 && clock_mono_ns(c->o.clock) + ns >= until) return false;
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (nanosleep(&t, &t) != 0) continue;
    return true;
}

static void retry_restart(const bolt_kind *kind) {
    for (size_t i = 0; i < kind->count; i++)
        if (kind->statements[i].restart != NULL) kind->statements[i].restart(kind->statements[i].ctx);
}

int bolt_tell(bolt_client *c, const bolt_call *call, const bolt_attempt *a, int code, braid_error *err) {
    bool ambiguous = a->uncertain && !a->foreign && (call == NULL || call->access == BOLT_WRITE);
    if (call != NULL && call->failure != NULL) {
        *call->failure = a->failure;
        call->failure->ambiguous = ambiguous;
    }
    if (ambiguous) metric_add(c->ambiguous, 1);
    if (a->foreign) return error_set(err, code, a->err.store, "%s", a->err.message);
    const char *address = c->remote.address;
    const char *unknown = ambiguous ? "it is unknown whether the transaction was applied (read before you write "
                                      "again): "
                                    : "";
    if (strstr(a->err.message, address) != NULL)
        return error_set(err, code, c->o.name, "%s%s", unknown, a->err.message);
    return error_set(err, code, c->o.name, "%s%s: %s", unknown, address, a->err.message);
}

int bolt_retry(bolt_client *c, const bolt_call *call, const bolt_kind *kind, bolt_try attempt, void *arg,
               braid_error *err) {
    deadline until = bolt_client_until(c, call);
    bolt_attempt a;
    if (call->failure != NULL) memset(call->failure, 0, sizeof *call->failure);
    for (unsigned number = 1;; number++) {
        memset(&a, 0, sizeof a);
        int code = attempt(c, call, until, arg, &a);
        if (code == BRAID_OK) return BRAID_OK;
        if (number > c->remote.retries || !retry_allowed(call, kind, &a, code) || !retry_pause(c, number, until))
            return bolt_tell(c, call, &a, code, err);
        if (a.rows) retry_restart(kind);
        metric_add(c->retried, 1);
    }
}
