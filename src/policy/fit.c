/* Fitting the models from everything that people did.
 *
 *   read      every interaction once, in LSN order; people become small numbers
 *   order     per person by time, so that sequences are theirs and not the log's
 *   hold out  the latest of each person; models of the rest; the weights of the ranking from what they chose then
 *   fit       the models again, of everything
 *   write     models and weights, in slices that let acknowledged writers in between
 *
 * The whole is a function of the interactions: doing it again gives the same rows. It runs beside everything else
 * and holds nothing but memory, and that within bounds: 32 bytes an interaction, at most 48 more while it is sorted
 * or turned into a matrix, and EDGES_MAX edges a model twice. So a large catalogue has fewer edges an item than a
 * small one: at a hundred thousand items 80 of each kind instead of 300. */
#include <stdlib.h>
#include <string.h>

#include "policy/fit_private.h"

enum {
    READ_SLICE = 100000,
    KEEP = 50,
    KEEP_SEQUENCE = 300,
    KEEP_COSINE = 100,
    EDGES_MAX = 8 << 20,
    GRAM_MAX = 64 << 20
};
/* Tuned on the validation parts of MovieLens: docs/quality.md. */
static const double TOGETHER_DECAY = 40, NEXT_DECAY = 5, SEQUENCE_SHRINK = 3, COSINE_SHRINK = 50, EASE_LAMBDA = 100;

int fit_no_memory(braid_error *err) {
    return error_set(err, BRAID_E_NO_MEMORY, "policy/fit", "no memory to learn from every interaction");
}

bool fit_tell(void *ctx, uint64_t done, uint64_t total) {
    fit *f = ctx;
    return !f->progress || f->progress(f->ctx, f->phase, done, total);
}

void fit_note(fit *f, const char *name, uint64_t edges, int64_t begun) {
    f->report->models[f->report->model_count++] =
        (struct policy_fit_model){name, edges, (double)(clock_mono_ns(f->clock) - begun) / 1e9};
}

/* ---- read ---- */
static bool fit_user(fit *f, const char *name, uint32_t *out) {
    uint64_t value;
    if (map_get(f->users, name, &value)) {
        *out = (uint32_t)value;
        return true;
    }
    *out = (uint32_t)map_count(f->users);
    return map_put(f->users, name, *out);
}

static bool fit_room(fit *f) {
    if (f->count < f->cap) return true;
    size_t cap = f->cap ? f->cap * 2 : 65536;
    fit_event *grown = realloc(f->events, cap * sizeof *grown);
    if (!grown) return false;
    f->events = grown;
    f->cap = cap;
    return true;
}

static bool fit_row(void *ctx, const record_interaction *row) {
    fit *f = ctx;
    uint32_t who;
    int32_t duration = 0;
    f->last_lsn = row->lsn;
    f->report->interactions++;
    if (!fit_room(f) || !fit_user(f, row->in.user, &who)) {
        f->rc = BRAID_E_NO_MEMORY;
        return false;
    }
    if (row->in.type == INTERACTION_WATCH) catalogue_durations(f->cat, &row->item_num, 1, &duration);
    f->events[f->count] = (fit_event){.user = who,
                                      .num = row->item_num,
                                      .reward = (float)policy_reward(&row->in, duration),
                                      .order = (uint32_t)f->count,
                                      .at = row->in.at,
                                      .newer = row->lsn > f->options->head,
                                      .judged = row->in.type != INTERACTION_VIEW && row->in.type != INTERACTION_CLICK};
    f->newer += row->lsn > f->options->head;
    if (row->item_num >= f->items) f->items = row->item_num + 1;
    f->count++;
    return true;
}

static int fit_read(fit *f) {
    record_info info;
    int rc = record_get_info(f->record, &info, f->err);
    f->report->head = info.head_lsn;
    f->report->counted = info.interactions;
    f->phase = "reading";
    for (uint64_t before = UINT64_MAX; rc == BRAID_OK && f->rc == BRAID_OK && before != f->last_lsn;) {
        before = f->last_lsn;
        rc = record_scan_interactions(f->record, f->last_lsn, info.head_lsn, READ_SLICE, fit_row, f, f->err);
        if (rc == BRAID_OK && !fit_tell(f, f->report->interactions, info.interactions))
            return error_set(f->err, BRAID_E_CLOSED, "policy/fit", "stopped before the end; nothing was changed");
    }
    if (rc == BRAID_OK && f->rc != BRAID_OK) rc = fit_no_memory(f->err);
    f->report->users = map_count(f->users);
    return rc;
}

static int by_person_and_time(const void *a, const void *b) {
    const fit_event *x = a, *y = b;
    if (x->user != y->user) return x->user < y->user ? -1 : 1;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* ---- what has moved ---- */
/* Everything that somebody with a new event ever chose: the sums of no other two items have changed. (Their norms
 * may have, which a full learning sees.) False: too much, or the count is not that of then and the new ones: then it
 * is all learned anew. */
static bool moved(fit *f, bitset *items) {
    enum { PART = 4 };
    const policy_fit_options *o = f->options;
    if (!o->refresh || o->head == 0 || o->counted + f->newer != f->report->counted) return false;
    for (size_t begin = 0, end; begin < f->count; begin = end) {
        bool any = false;
        end = fit_person_end(f, begin);
        for (size_t i = begin; i < end; i++) any = any || f->events[i].newer;
        for (size_t i = begin; any && i < end; i++) bitset_set(items, f->events[i].num);
    }
    f->report->moved = bitset_count(items);
    return f->report->moved <= f->items / PART;
}

/* ---- models ---- */
/* So many of each item, or fewer, so that there are not more than `max` in all. */
static unsigned bounded(unsigned each, uint32_t items, size_t max) {
    size_t fair = items ? max / items : max;
    return fair < each ? (unsigned)(fair > 1 ? fair : 1) : each;
}

/* A film that somebody finished and rated low does not speak for its neighbours; for what comes after what it does. */
static int matrix_of(const fit *f, bool liked, bool without_held_out, learn_matrix **out) {
    learn_event *list = malloc((f->count + 1) * sizeof *list);
    if (!list) return fit_no_memory(f->err);
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++) {
        const fit_event *e = &f->events[i];
        if (!e->judged || (e->held_out && without_held_out)) continue;
        list[n++] = (learn_event){e->user, e->num, !liked || e->reward >= POLICY_LIKED ? 1.0f : 0.0f};
    }
    int rc = learn_matrix_build(list, n, (uint32_t)map_count(f->users), f->items, f->options->history_max, out, f->err);
    free(list);
    return rc;
}

/* Of the matrix of what was liked, or, for what comes after what, of what was chosen. */
static int model_make(fit *f, policy_model model, const learn_matrix *matrix, learn_edges **out) {
    learn_work work = {.threads = f->options->threads, .only = f->only, .progress = fit_tell, .ctx = f};
    learn_slim slim = learn_slim_default();
    learn_cooccurrence how = {.decay = TOGETHER_DECAY, .shrink = SEQUENCE_SHRINK, .keep = KEEP_SEQUENCE};
    how.keep = bounded(KEEP_SEQUENCE, f->items, EDGES_MAX);
    slim.keep = bounded(KEEP, f->items, EDGES_MAX);
    slim.gram_row_max = bounded((unsigned)slim.gram_row_max, f->items, GRAM_MAX);
    f->phase = policy_model_name(model);
    switch (model) {
    case POLICY_MODEL_SLIM: return learn_slim_fit(matrix, &slim, &work, out, f->err);
    case POLICY_MODEL_TOGETHER: return learn_cooccurrence_fit(matrix, &how, &work, out, f->err);
    case POLICY_MODEL_NEXT: how.decay = NEXT_DECAY; /* fall through */
    default: how.follows = true; return learn_cooccurrence_fit(matrix, &how, &work, out, f->err);
    }
}

int fit_times_make(fit *f, bool without_held_out, policy_times **out) {
    policy_time *list = malloc((f->count + 1) * sizeof *list);
    if (!list) return fit_no_memory(f->err);
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        if (!f->events[i].held_out || !without_held_out)
            list[n++] = (policy_time){f->events[i].num, f->events[i].reward, f->events[i].at};
    int rc = policy_times_make(list, n, f->items, out, f->err);
    free(list);
    return rc;
}

/* The models of one matrix: [first, last]. */
static int models_of(fit *f, bool liked, bool without_held_out, bool note, int first, int last, fit_models *out) {
    learn_matrix *matrix = NULL;
    int rc = matrix_of(f, liked, without_held_out, &matrix);
    for (int m = first; rc == BRAID_OK && m <= last; m++) {
        int64_t begun = clock_mono_ns(f->clock);
        rc = model_make(f, (policy_model)m, matrix, &out->by_target[m]);
        if (rc == BRAID_OK && note) fit_note(f, policy_model_name((policy_model)m), out->by_target[m]->count, begun);
    }
    learn_matrix_free(matrix);
    return rc;
}

int fit_models_make(fit *f, bool without_held_out, bool note, fit_models *out) {
    *out = (fit_models){0};
    int rc = models_of(f, true, without_held_out, note, POLICY_MODEL_SLIM, POLICY_MODEL_TOGETHER, out);
    if (rc == BRAID_OK) rc = models_of(f, false, without_held_out, note, POLICY_MODEL_FOLLOWS, POLICY_MODEL_NEXT, out);
    if (rc == BRAID_OK) rc = fit_times_make(f, without_held_out, &out->times);
    int64_t begun = clock_mono_ns(f->clock);
    if (rc == BRAID_OK && !without_held_out)
        rc = fit_content_all(f, out->times, &out->by_target[POLICY_MODEL_CONTENT], &out->by_target[POLICY_MODEL_RIDGE]);
    if (rc == BRAID_OK && note && out->by_target[POLICY_MODEL_CONTENT])
        fit_note(f, policy_model_name(POLICY_MODEL_CONTENT), out->by_target[POLICY_MODEL_CONTENT]->count, begun);
    if (rc != BRAID_OK) fit_models_free(out);
    return rc;
}

void fit_models_free(fit_models *m) {
    for (int i = 0; i < POLICY_MODEL_COUNT; i++) learn_edges_free(m->by_target[i]);
    policy_times_free(m->times);
    *m = (fit_models){0};
}

/* ---- what is only there to compare with ---- */
static int fit_baselines(fit *f, policy_times *times) {
    const learn_cooccurrence how = {.shrink = COSINE_SHRINK, .keep = KEEP_COSINE};
    learn_work work = {.threads = f->options->threads, .progress = fit_tell, .ctx = f};
    learn_matrix *liked = NULL;
    learn_edges *near = NULL, *from = NULL;
    learn_ease *ease = NULL;
    f->phase = "baselines";
    int64_t begun = clock_mono_ns(f->clock);
    int rc = matrix_of(f, true, false, &liked);
    if (rc == BRAID_OK) rc = learn_cooccurrence_fit(liked, &how, &work, &near, f->err);
    if (rc == BRAID_OK) rc = learn_edges_transpose(near, &from, f->err);
    if (rc == BRAID_OK) fit_note(f, "cosine", from->count, begun);
    learn_edges_free(near);
    begun = clock_mono_ns(f->clock);
    if (rc == BRAID_OK && liked->users <= LEARN_EASE_USERS_MAX) {
        rc = learn_ease_fit(liked, EASE_LAMBDA, &ease, f->err); /* keeps the matrix */
        liked = NULL;
        if (rc == BRAID_OK) fit_note(f, "ease", 0, begun);
    }
    learn_matrix_free(liked);
    if (rc == BRAID_OK) return policy_models_compare(f->models, from, ease, times, f->err);
    learn_edges_free(from);
    policy_times_free(times);
    return rc;
}

/* ---- all of it ---- */
static int fit_models_all(fit *f) {
    policy_weights weights = policy_weights_default();
    bool found = false, ranking = f->options->ranking && !f->options->refresh;
    fit_models all = {0};
    int rc = BRAID_OK;
    if (ranking) rc = fit_weights(f, &weights, &found);
    if (rc == BRAID_OK && ranking) rc = fit_fresh(f, &weights);
    found = found || weights.fresh_lists > 0;
    if (rc == BRAID_OK) rc = fit_models_make(f, false, true, &all);
    if (rc == BRAID_OK && f->options->baselines) {
        rc = fit_baselines(f, all.times);
        all.times = NULL;
    }
    f->phase = "writing";
    /* The weights first: other servers read all of it again when they hear of rows of items. */
    if (rc == BRAID_OK && found) rc = fit_write_weights(f, &weights);
    for (int m = 0; rc == BRAID_OK && m < POLICY_MODEL_COUNT; m++) rc = fit_write(f, (policy_model)m, all.by_target[m]);
    fit_models_free(&all);
    return rc == BRAID_OK ? policy_models_load(f->models, f->err) : rc;
}

static int fit_all(fit *f) {
    bitset items = {0};
    int rc = fit_read(f);
    if (rc == BRAID_OK && !bitset_init(&items, f->items)) rc = fit_no_memory(f->err);
    if (rc == BRAID_OK) {
        qsort(f->events, f->count, sizeof *f->events, by_person_and_time);
        f->report->refreshed = moved(f, &items);
        if (f->report->refreshed) f->only = &items;
        rc = fit_models_all(f);
    }
    bitset_free(&items);
    return rc;
}

int policy_fit(const policy_fit_rooms *rooms, const policy_fit_options *options, policy_fit_progress *progress,
               void *ctx, policy_fit_report *report, braid_error *err) {
    fit f = {.models = rooms->models,
             .record = rooms->record,
             .cat = rooms->catalogue,
             .vectors = rooms->vectors,
             .dim = rooms->dim,
             .clock = rooms->clock,
             .options = options,
             .progress = progress,
             .ctx = ctx,
             .report = report,
             .err = err,
             .users = map_new(0)};
    int64_t begun = clock_mono_ns(f.clock);
    *report = (policy_fit_report){0};
    int rc = f.users ? fit_all(&f) : fit_no_memory(err);
    report->items = f.items;
    report->seconds = (double)(clock_mono_ns(f.clock) - begun) / 1e9;
    free(f.events);
    if (f.users) map_free(f.users);
    return rc;
}
