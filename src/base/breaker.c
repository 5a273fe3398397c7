/* The circuit breaker.
 *
 * The outcomes of the last calls are the low bits of one word, newest first, so the share of failures is a popcount. A
 * result counts only in the state it was begun in: calls that were under way when the breaker opened report late, and
 * letting those close or re-open it would make its state depend on how long old calls hang. For the same reason a probe
 * carries a number; one that was given up and reports after all is ignored.
 *
 * A patient call is no probe: it may hang for seconds, and probes go on beside it. It was let in with more time than
 * others have, so only its success says something.
 *
 * Time moves the state only when somebody comes by (breaker_enter): there is no thread here. Rejected: a token
 * bucket of failures (it needs two rates that nobody can choose), and a probe by a bare TCP connect (a server that
 * accepts and does not answer would look healthy). */
#include "breaker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BREAKER_WINDOW_MAX = 64, BREAKER_NAME_BYTES = 24 };

#define BREAKER_PATIENT_EVERY_NS INT64_C(1000000000)

struct breaker {
    pthread_mutex_t lock; /* guards all below but the options */
    breaker_options o;
    char store[BREAKER_NAME_BYTES], calls[BREAKER_NAME_BYTES];
    breaker_state state;
    uint64_t outcomes; /* 1: failed; the newest in bit 0 */
    unsigned seen;     /* of them, at most o.window */
    unsigned open_ms;  /* of the present or last opening */
    int64_t since_ns, until_ns, probe_ns, patient_ns;
    uint64_t probe; /* number of the last probe */
    bool probing;
    metric_counter *state_metric, *refused_metric, *opened_metric;
};

static void breaker_defaults(breaker_options *o) {
    if (o->window == 0) o->window = 20;
    if (o->window > BREAKER_WINDOW_MAX) o->window = BREAKER_WINDOW_MAX;
    if (o->volume == 0) o->volume = 5;
    if (o->volume > o->window) o->volume = o->window;
    if (!(o->share > 0)) o->share = 0.5;
    if (o->open_ms == 0) o->open_ms = 500;
    if (o->open_ms_max == 0) o->open_ms_max = 4000;
    if (o->open_ms_max < o->open_ms) o->open_ms_max = o->open_ms;
    if (o->probe_ms == 0) o->probe_ms = 2000;
    if (o->patient_ms == 0) o->patient_ms = 5000;
}

int breaker_new(const breaker_options *options, breaker **out, braid_error *err) {
    BRAID_ASSERT(options->clock != NULL && options->store != NULL && options->calls != NULL);
    *out = NULL;
    breaker *b = calloc(1, sizeof *b);
    if (b == NULL) return error_set(err, BRAID_E_NO_MEMORY, options->store, "no memory for a circuit breaker");
    b->o = *options;
    breaker_defaults(&b->o);
    snprintf(b->store, sizeof b->store, "%s", options->store);
    snprintf(b->calls, sizeof b->calls, "%s", options->calls);
    pthread_mutex_init(&b->lock, NULL);
    b->since_ns = clock_mono_ns(b->o.clock);
    char labels[2 * BREAKER_NAME_BYTES + 32];
    snprintf(labels, sizeof labels, "store=\"%s\",calls=\"%s\"", b->store, b->calls);
    b->state_metric = metrics_gauge(b->o.metrics, "breaker_state", labels,
                                    "Circuit breaker of a store: 0 closed, 1 open, 2 half-open");
    b->refused_metric =
        metrics_counter(b->o.metrics, "breaker_refused_total", labels, "Calls refused by an open circuit breaker");
    b->opened_metric =
        metrics_counter(b->o.metrics, "breaker_opened_total", labels, "Times that a circuit breaker opened");
    *out = b;
    return BRAID_OK;
}

void breaker_free(breaker *b) {
    if (b == NULL) return;
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static void breaker_move(breaker *b, breaker_state to, int64_t now) {
    b->state = to;
    b->since_ns = now;
    b->probing = false;
    metric_set(b->state_metric, to);
}

static void breaker_open(breaker *b, unsigned open_ms, int64_t now) {
    b->open_ms = open_ms < b->o.open_ms_max ? open_ms : b->o.open_ms_max;
    b->until_ns = now + (int64_t)b->open_ms * 1000000;
    breaker_move(b, BREAKER_OPEN, now);
    metric_add(b->opened_metric, 1);
}

static void breaker_close(breaker *b, int64_t now) {
    b->outcomes = 0;
    b->seen = 0;
    breaker_move(b, BREAKER_CLOSED, now);
}

static void breaker_begin_probe(breaker *b, breaker_ticket *ticket) {
    b->probing = true;
    b->probe_ns = ticket->begun_ns;
    ticket->probe = ++b->probe;
}

static bool breaker_probe_runs(const breaker *b, int64_t now) {
    return b->probing && now - b->probe_ns < (int64_t)b->o.probe_ms * 1000000;
}

/* Under the lock, of a breaker that is not closed. */
static bool breaker_patient(breaker *b, int64_t now, int64_t left_ns) {
    if (left_ns < (int64_t)b->o.patient_ms * 1000000 || now < b->patient_ns) return false;
    b->patient_ns = now + BREAKER_PATIENT_EVERY_NS;
    return true;
}

static int breaker_admit(breaker *b, int64_t left_ns, breaker_ticket *ticket, braid_error *err) {
    int64_t now = clock_mono_ns(b->o.clock), since, left;
    bool pass = true;
    ticket->begun_ns = now;
    pthread_mutex_lock(&b->lock);
    if (b->state == BREAKER_OPEN && now >= b->until_ns) breaker_move(b, BREAKER_HALF_OPEN, now);
    if (b->state == BREAKER_HALF_OPEN && !breaker_probe_runs(b, now))
        breaker_begin_probe(b, ticket);
    else if (b->state != BREAKER_CLOSED)
        pass = ticket->patient = breaker_patient(b, now, left_ns);
    since = (now - b->since_ns) / 1000000;
    left = b->state == BREAKER_OPEN ? (b->until_ns - now) / 1000000 : 0;
    pthread_mutex_unlock(&b->lock);
    if (pass) return BRAID_OK;
    metric_add(b->refused_metric, 1);
    if (left > 0)
        return error_set(err, BRAID_E_UNAVAILABLE, b->store,
                         "%s (%s calls) is left alone for %lld ms more: it failed too often until %lld ms ago",
                         b->store, b->calls, (long long)left, (long long)since);
    return error_set(err, BRAID_E_UNAVAILABLE, b->store,
                     "%s (%s calls) is left alone: one call tries for %lld ms whether it answers again", b->store,
                     b->calls, (long long)since);
}

int breaker_enter_until(breaker *b, deadline until, breaker_ticket *ticket, braid_error *err) {
    *ticket = (breaker_ticket){0};
    if (b == NULL) return BRAID_OK;
    return breaker_admit(b, until == 0 ? 0 : until - clock_mono_ns(b->o.clock), ticket, err);
}

int breaker_enter(breaker *b, breaker_ticket *ticket, braid_error *err) {
    *ticket = (breaker_ticket){0};
    return b == NULL ? BRAID_OK : breaker_admit(b, 0, ticket, err);
}

/* A call of the closed state: remembered, and enough failures open. */
static void breaker_record(breaker *b, bool failed, int64_t now) {
    uint64_t mask = b->o.window == BREAKER_WINDOW_MAX ? UINT64_MAX : (UINT64_C(1) << b->o.window) - 1;
    b->outcomes = (b->outcomes << 1 | failed) & mask;
    if (b->seen < b->o.window) b->seen++;
    unsigned failures = (unsigned)__builtin_popcountll(b->outcomes);
    if (failed && b->seen >= b->o.volume && failures >= b->o.share * b->seen) breaker_open(b, b->o.open_ms, now);
}

void breaker_done(breaker *b, breaker_ticket ticket, int code) {
    if (b == NULL) return;
    int64_t now = clock_mono_ns(b->o.clock);
    bool slow = b->o.slow_ms != 0 && now - ticket.begun_ns > (int64_t)b->o.slow_ms * 1000000;
    bool failed = slow || breaker_failure(code);
    pthread_mutex_lock(&b->lock);
    if (ticket.patient) {
        if (!failed && b->state != BREAKER_CLOSED) breaker_close(b, now);
    } else if (ticket.probe != 0) {
        if (b->state == BREAKER_HALF_OPEN && b->probing && ticket.probe == b->probe) {
            if (failed)
                breaker_open(b, b->open_ms * 2, now);
            else
                breaker_close(b, now);
        }
    } else if (b->state == BREAKER_CLOSED && ticket.begun_ns >= b->since_ns) {
        breaker_record(b, failed, now);
    }
    pthread_mutex_unlock(&b->lock);
}

void breaker_skip(breaker *b, breaker_ticket ticket) {
    if (b == NULL || ticket.probe == 0) return;
    pthread_mutex_lock(&b->lock);
    if (b->state == BREAKER_HALF_OPEN && ticket.probe == b->probe) b->probing = false;
    pthread_mutex_unlock(&b->lock);
}

bool breaker_failure(int code) {
    switch (code) {
    case BRAID_E_DEADLINE:
    case BRAID_E_UNAVAILABLE:
    case BRAID_E_BUSY:
    case BRAID_E_CORRUPT: /* a store that answers nonsense is not to be asked again at once */
    case BRAID_E_IO: return true;
    default: return false;
    }
}

breaker_state breaker_now(const breaker *b) {
    if (b == NULL) return BREAKER_CLOSED;
    pthread_mutex_t *lock = &((breaker *)b)->lock; /* const for the caller: nothing that can be seen changes */
    pthread_mutex_lock(lock);
    breaker_state state = b->state;
    pthread_mutex_unlock(lock);
    return state;
}

const char *breaker_state_name(breaker_state s) {
    static const char *const names[] = {"closed", "open", "half-open"};
    return names[s];
}
