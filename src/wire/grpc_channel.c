/* Calls on a channel (grpc_channel.h says what they promise).
 *
 * Each call in flight holds a slot with a completion queue of its own: gRPC lets only a handful of threads pluck from
 * one queue, and a queue is too dear to make for a call. Slots are a stack, made when they are first needed.
 *
 * Rejected: the asynchronous interface with a polling thread (two switches of threads a call, and a life of its own to
 * stop), and gRPC's own retries (they know neither our budget nor what Milvus calls a rate limit). */
#include "wire/grpc_channel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "wire/grpc_private.h"

enum {
    RPC_SLOTS_MAX = 1024,
    RPC_SLOTS = 32,
    RPC_TIMEOUT_MS = 5000,
    RPC_PAUSE_MS = 10,
    RPC_PAUSE_MS_MAX = 320,
    RPC_BUDGET_CALL = 2, /* tenths of a retry that a call pays in */
    RPC_BUDGET_RETRY = 10,
    RPC_BUDGET_MAX = 200,
    RPC_DETAILS_BYTES = 200,
    RPC_LOOK_MS = 20,    /* for a connection, before a call that would fail without one */
    RPC_NAP_NS = 2000000 /* between looks at a test's clock */
};

typedef struct rpc_slot {
    grpc_completion_queue *queue;
    struct rpc_slot *next;
} rpc_slot;

struct rpc_channel {
    grpc_channel *channel;
    char *authorization; /* NULL: none */
    char *address;
    char who[192]; /* "milvus at 127.0.0.1:19530", for messages */
    const char *store;
    const clock_ops *clock;
    unsigned timeout_ms, retries;
    size_t answer_bytes_max;

    pthread_mutex_t lock; /* guards the slots and the random numbers */
    pthread_cond_t freed;
    rpc_slot *idle;
    size_t busy, max;
    rng random;
    atomic_int budget;

    metric_counter *in_flight_metric, *calls_metric, *retries_metric;
};

/* ---- opening and closing ---- */

static void init_metrics(rpc_channel *c, metrics *m) {
    char labels[96];
    snprintf(labels, sizeof labels, "store=\"%s\"", c->store);
    c->in_flight_metric = metrics_gauge(m, "rpc_in_flight", labels, "Calls to a store that are under way");
    c->calls_metric = metrics_counter(m, "rpc_calls_total", labels, "Calls to a store, each try counted");
    c->retries_metric = metrics_counter(m, "rpc_retries_total", labels, "Calls to a store that were tried again");
}

static void init_lock(rpc_channel *c) {
    pthread_condattr_t attr;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->freed, &attr);
    pthread_condattr_destroy(&attr);
}

int rpc_open(const rpc_options *o, rpc_channel **out, braid_error *err) {
    BRAID_ASSERT(o->remote != NULL && o->clock != NULL && o->store != NULL && o->answer_bytes_max <= INT32_MAX);
    *out = NULL;
    size_t max = o->remote->connections != 0 ? o->remote->connections : RPC_SLOTS;
    if (max > RPC_SLOTS_MAX)
        return error_set(err, BRAID_E_INVALID, o->store, "%zu requests in flight were asked for; at most %d can be",
                         max, RPC_SLOTS_MAX);
    rpc_channel *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(err, BRAID_E_NO_MEMORY, o->store, "memory ran out");
    grpc_init();
    init_lock(c);
    c->store = o->store;
    c->clock = o->clock;
    c->max = max;
    c->timeout_ms = o->remote->timeout_ms != 0 ? o->remote->timeout_ms : RPC_TIMEOUT_MS;
    c->retries = o->remote->retries;
    c->answer_bytes_max = o->answer_bytes_max;
    atomic_init(&c->budget, RPC_BUDGET_MAX);
    rng_seed(&c->random, (uint64_t)clock_mono_ns(&clock_system) ^ (uint64_t)(uintptr_t)c);
    init_metrics(c, o->metrics);
    int code = rpc_authorization(o, &c->authorization, err);
    if (code == BRAID_OK && (c->channel = rpc_connect(o, err)) == NULL)
        code = err != NULL ? err->code : BRAID_E_INVALID;
    snprintf(c->who, sizeof c->who, "%.48s at %.128s", o->store, o->remote->address);
    if (code == BRAID_OK && (c->address = strdup(o->remote->address)) == NULL)
        code = error_set(err, BRAID_E_NO_MEMORY, o->store, "memory ran out");
    if (code != BRAID_OK) {
        rpc_close(c);
        return code;
    }
    *out = c;
    return BRAID_OK;
}

static void free_slot(rpc_slot *slot) {
    grpc_completion_queue_shutdown(slot->queue);
    grpc_completion_queue_pluck(slot->queue, NULL, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_completion_queue_destroy(slot->queue);
    free(slot);
}

void rpc_close(rpc_channel *c) {
    if (c == NULL) return;
    BRAID_ASSERT(c->busy == 0);
    while (c->idle != NULL) {
        rpc_slot *slot = c->idle;
        c->idle = slot->next;
        free_slot(slot);
    }
    if (c->channel != NULL) grpc_channel_destroy(c->channel);
    if (c->authorization != NULL) explicit_bzero(c->authorization, strlen(c->authorization));
    free(c->authorization);
    free(c->address);
    pthread_cond_destroy(&c->freed);
    pthread_mutex_destroy(&c->lock);
    free(c);
    grpc_shutdown_blocking();
}

const char *rpc_address(const rpc_channel *c) {
    return c->address;
}

deadline rpc_deadline(const rpc_channel *c, deadline until) {
    return until != 0 ? until : clock_mono_ns(c->clock) + (int64_t)c->timeout_ms * 1000000;
}

/* ---- slots ---- */

/* Waits for `ns` at most; a clock of a test's own is looked at again and again. */
static void wait_freed(rpc_channel *c, int64_t ns) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (c->clock != &clock_system && ns > RPC_NAP_NS) ns = RPC_NAP_NS;
    int64_t at = (int64_t)t.tv_nsec + ns;
    t.tv_sec += at / 1000000000;
    t.tv_nsec = at % 1000000000;
    pthread_cond_timedwait(&c->freed, &c->lock, &t);
}

static int take_slot(rpc_channel *c, deadline until, rpc_slot **out, braid_error *err) {
    pthread_mutex_lock(&c->lock);
    int64_t left = until - clock_mono_ns(c->clock);
    while (c->busy >= c->max && left > 0) {
        wait_freed(c, left);
        left = until - clock_mono_ns(c->clock);
    }
    if (left <= 0) {
        pthread_mutex_unlock(&c->lock);
        return error_set(err, BRAID_E_DEADLINE, c->store, "%s: %zu requests are in flight and none ended in time",
                         c->who, c->max);
    }
    rpc_slot *slot = c->idle;
    if (slot != NULL) c->idle = slot->next;
    metric_set(c->in_flight_metric, (double)++c->busy);
    pthread_mutex_unlock(&c->lock);
    if (slot == NULL && (slot = calloc(1, sizeof *slot)) != NULL)
        slot->queue = grpc_completion_queue_create_for_pluck(NULL);
    *out = slot;
    if (slot != NULL) return BRAID_OK;
    pthread_mutex_lock(&c->lock);
    c->busy--;
    pthread_cond_signal(&c->freed);
    pthread_mutex_unlock(&c->lock);
    return error_set(err, BRAID_E_NO_MEMORY, c->store, "memory ran out");
}

static void give_slot(rpc_channel *c, rpc_slot *slot) {
    pthread_mutex_lock(&c->lock);
    slot->next = c->idle;
    c->idle = slot;
    metric_set(c->in_flight_metric, (double)--c->busy);
    pthread_cond_signal(&c->freed);
    pthread_mutex_unlock(&c->lock);
}

/* ---- one try ---- */

/* gRPC moves its connections along while somebody waits in a call, and else every five seconds. A connection that it
 * begins between two calls would time out before anybody looked, and calls that find none fail without looking: a
 * server that is back would not be found again. So whoever comes after a failure looks for a moment first. */
static void look_for_connection(rpc_channel *c, grpc_completion_queue *queue, deadline until) {
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(c->channel, 1);
    if (state != GRPC_CHANNEL_TRANSIENT_FAILURE) return;
    int64_t ns = until - clock_mono_ns(c->clock);
    if (ns > RPC_LOOK_MS * INT64_C(1000000)) ns = RPC_LOOK_MS * INT64_C(1000000);
    gpr_timespec at = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(ns, GPR_TIMESPAN));
    grpc_channel_watch_connectivity_state(c->channel, state, at, queue, c);
    grpc_completion_queue_pluck(queue, c, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
}

typedef struct rpc_try {
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *request, *answer;
    grpc_status_code status;
    grpc_slice details;
} rpc_try;

/* Functions of their own, since test/tsan.supp names them: gRPC fills these on any thread that happens to poll, in an
 * order that a checker of our threads cannot see. */
static __attribute__((noinline)) void rpc_release(rpc_try *t) {
    if (t->request != NULL) grpc_byte_buffer_destroy(t->request);
    if (t->answer != NULL) grpc_byte_buffer_destroy(t->answer);
    grpc_metadata_array_destroy(&t->initial);
    grpc_metadata_array_destroy(&t->trailing);
    grpc_slice_unref(t->details);
}

static __attribute__((noinline)) void rpc_copy_answer(const rpc_channel *c, const rpc_try *t, buf *answer) {
    grpc_byte_buffer_reader reader;
    buf_reset(answer);
    if (grpc_byte_buffer_length(t->answer) > c->answer_bytes_max || !grpc_byte_buffer_reader_init(&reader, t->answer)) {
        answer->failed = true;
        return;
    }
    for (grpc_slice s; grpc_byte_buffer_reader_next(&reader, &s); grpc_slice_unref(s))
        buf_add(answer, GRPC_SLICE_START_PTR(s), GRPC_SLICE_LENGTH(s));
    grpc_byte_buffer_reader_destroy(&reader);
}

/* Starts all operations of a unary call as one batch and waits until it is complete; the call's deadline sees to it
 * that it will be. */
static bool run_batch(rpc_channel *c, grpc_completion_queue *queue, grpc_call *call, rpc_try *t) {
    grpc_metadata header = {.key = grpc_slice_from_static_string("authorization")};
    if (c->authorization != NULL) header.value = grpc_slice_from_copied_string(c->authorization);
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},  {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
                      {.op = GRPC_OP_RECV_MESSAGE},           {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    if (c->authorization != NULL) {
        ops[0].data.send_initial_metadata.count = 1;
        ops[0].data.send_initial_metadata.metadata = &header;
    }
    ops[1].data.send_message.send_message = t->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &t->initial;
    ops[4].data.recv_message.recv_message = &t->answer;
    ops[5].data.recv_status_on_client.trailing_metadata = &t->trailing;
    ops[5].data.recv_status_on_client.status = &t->status;
    ops[5].data.recv_status_on_client.status_details = &t->details;
    bool started = grpc_call_start_batch(call, ops, 6, t, NULL) == GRPC_CALL_OK;
    if (started) grpc_completion_queue_pluck(queue, t, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    if (c->authorization != NULL) grpc_slice_unref(header.value);
    return started;
}

static int try_once(rpc_channel *c, const char *method, const grpc_slice *request, bool first, deadline until,
                    buf *answer, bool *again, braid_error *err) {
    rpc_slot *slot = NULL;
    *again = false;
    int code = take_slot(c, until, &slot, err);
    if (code != BRAID_OK) return code;
    metric_add(c->calls_metric, 1);
    if (first) look_for_connection(c, slot->queue, until);
    rpc_try t = {.request = grpc_raw_byte_buffer_create((grpc_slice *)(uintptr_t)request, 1),
                 .status = GRPC_STATUS_UNKNOWN,
                 .details = grpc_empty_slice()};
    grpc_metadata_array_init(&t.initial);
    grpc_metadata_array_init(&t.trailing);
    gpr_timespec at =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(until - clock_mono_ns(c->clock), GPR_TIMESPAN));
    grpc_call *call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, slot->queue,
                                               grpc_slice_from_static_string(method), NULL, at, NULL);
    bool started = run_batch(c, slot->queue, call, &t);
    if (!started) {
        code = error_set(err, BRAID_E_INTERNAL, c->store, "%s: gRPC did not start a call", c->who);
    } else if (t.status != GRPC_STATUS_OK) {
        char *details = grpc_slice_to_c_string(t.details);
        code = rpc_status_error(c, method, t.status, details, again, err);
        gpr_free(details);
    } else if (t.answer == NULL) {
        code = error_set(err, BRAID_E_CORRUPT, c->store, "%s answered %s without a message", c->who, method);
    } else {
        rpc_copy_answer(c, &t, answer);
        if (answer->failed) code = error_set(err, BRAID_E_NO_MEMORY, c->store, "memory ran out for an answer");
    }
    grpc_call_unref(call);
    rpc_release(&t);
    give_slot(c, slot);
    return code;
}

int rpc_status_error(const rpc_channel *c, const char *method, grpc_status_code status, const char *details,
                     bool *again, braid_error *err) {
    const char *name = strrchr(method, '/') + 1;
    switch (status) {
    case GRPC_STATUS_DEADLINE_EXCEEDED:
        return error_set(err, BRAID_E_DEADLINE, c->store, "%s did not answer %s in time", c->who, name);
    case GRPC_STATUS_UNAUTHENTICATED:
    case GRPC_STATUS_PERMISSION_DENIED:
        return error_set(err, BRAID_E_INVALID, c->store, "%s refuses %s: %.*s; check user, password and token",
                         c->address, name, RPC_DETAILS_BYTES, details);
    case GRPC_STATUS_UNIMPLEMENTED:
        return error_set(err, BRAID_E_INVALID, c->store, "%s does not know %s: another version or another server",
                         c->who, name);
    case GRPC_STATUS_RESOURCE_EXHAUSTED:
        if (strstr(details, "larger than max") != NULL)
            return error_set(err, BRAID_E_TOO_LARGE, c->store, "%s: %s: %.*s", c->who, name, RPC_DETAILS_BYTES,
                             details);
        *again = true;
        return error_set(err, BRAID_E_UNAVAILABLE, c->store, "%s is overloaded: %.*s", c->who, RPC_DETAILS_BYTES,
                         details);
    case GRPC_STATUS_UNAVAILABLE: *again = true; break;
    default: break;
    }
    return error_set(err, BRAID_E_UNAVAILABLE, c->store, "%s: %s: %.*s", c->who, name, RPC_DETAILS_BYTES, details);
}

/* ---- tries ---- */

/* Pays for a retry from the budget. */
static bool budget_take(rpc_channel *c) {
    int have = atomic_load_explicit(&c->budget, memory_order_relaxed);
    while (have >= RPC_BUDGET_RETRY) {
        if (atomic_compare_exchange_weak(&c->budget, &have, have - RPC_BUDGET_RETRY)) return true;
    }
    return false;
}

static void budget_give(rpc_channel *c) {
    int have = atomic_load_explicit(&c->budget, memory_order_relaxed);
    if (have < RPC_BUDGET_MAX) atomic_fetch_add_explicit(&c->budget, RPC_BUDGET_CALL, memory_order_relaxed);
}

/* Sleeps before try `n` (1, 2, ...); false when there is no time for it. */
static bool pause_before(rpc_channel *c, unsigned n, deadline until) {
    int64_t ms = n <= 5 ? (int64_t)RPC_PAUSE_MS << n : RPC_PAUSE_MS_MAX;
    pthread_mutex_lock(&c->lock);
    int64_t ns = (int64_t)(rng_uniform(&c->random) * (double)ms * 1e6);
    pthread_mutex_unlock(&c->lock);
    if (clock_mono_ns(c->clock) + ns >= until) return false;
    nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
    return true;
}

static int call_again(rpc_channel *c, const char *method, rpc_message request, deadline until, unsigned retries,
                      rpc_judge *judge, void *ctx, buf *answer, braid_error *err) {
    grpc_slice slice = grpc_slice_new(request.data, request.len, free);
    until = rpc_deadline(c, until);
    budget_give(c);
    braid_error first = {0};
    int code = BRAID_OK;
    for (unsigned n = 1;; n++) {
        bool again = false;
        error_clear(&first);
        code = try_once(c, method, &slice, n == 1, until, answer, &again, &first);
        if (code == BRAID_OK && judge != NULL) code = judge(ctx, answer, &again, &first);
        if (code == BRAID_OK || !again || n > retries || !budget_take(c) || !pause_before(c, n, until)) break;
        metric_add(c->retries_metric, 1);
    }
    grpc_slice_unref(slice);
    if (code != BRAID_OK) error_set(err, code, first.store, "%s", first.message);
    return code;
}

int rpc_call(rpc_channel *c, const char *method, rpc_message request, deadline until, rpc_judge *judge, void *ctx,
             buf *answer, braid_error *err) {
    return call_again(c, method, request, until, c->retries, judge, ctx, answer, err);
}

int rpc_call_once(rpc_channel *c, const char *method, rpc_message request, deadline until, rpc_judge *judge, void *ctx,
                  buf *answer, braid_error *err) {
    return call_again(c, method, request, until, 0, judge, ctx, answer, err);
}
