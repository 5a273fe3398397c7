/* The model of a viewer.
 *
 * What is watched: every item that the viewer may see gets a weight from taste (preferences against the item's facets),
 * popularity (a fixed, skewed draw per item) and habit (short forms for people who watch on the move); a sample without
 * replacement is taken by the method of Efraimidis and Spirakis - the n largest u^(1/w) - and one pick in ten is pure
 * chance. When: a day and one of the viewer's dayparts. What came of it: the better it fits, the more of it is watched
 * and the kinder the word. Rejected: learning the parameters from real logs, which would have to be somebody's. */
#include "simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HABITS_MAX = 8, DAY_S = 86400 };

/* ---- chance: splitmix64 ---- */

static uint64_t mix(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static double chance(uint64_t *state) { /* in (0, 1) */
    return ((double)(mix(state) >> 11) + 0.5) / 9007199254740992.0;
}

static size_t below(uint64_t *state, size_t n) {
    return (size_t)(chance(state) * (double)n);
}

/* A generator for one name: FNV-1a of it, mixed with the seed. */
static uint64_t seed_of(uint64_t seed, const char *name) {
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (; *name; name++) h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001B3);
    h ^= seed;
    return mix(&h);
}

/* ---- the catalogue ---- */

bool simulate_date(const char *text, int64_t *seconds) {
    struct tm t = {0};
    const char *end = strptime(text, "%Y-%m-%d", &t);
    if (end && *end == 'T') end = strptime(end, "T%H:%M:%S", &t);
    if (!end || (*end && *end != 'Z' && *end != '.')) return false;
    *seconds = (int64_t)timegm(&t);
    return true;
}

void simulate_add_item(simulate_world *w, const json_t *item) {
    if (w->count == w->cap) w->items = cli_grow(w->items, sizeof *w->items * (w->cap = w->cap ? w->cap * 2 : 512));
    simulate_item *it = &w->items[w->count++];
    *it = (simulate_item){
        .json = json_incref((json_t *)item), .id = cli_json_str(item, "id"), .from = INT64_MIN, .until = INT64_MAX};
    uint64_t state = seed_of(w->seed, it->id);
    double u = chance(&state);
    it->popularity = u * u * u; /* few are seen by many */
    it->duration_s = (int64_t)cli_json_num(item, "duration_s");
    simulate_date(cli_json_str(item, "available_from"), &it->from);
    simulate_date(cli_json_str(item, "available_until"), &it->until);
}

void simulate_free(simulate_world *w) {
    for (size_t i = 0; i < w->count; i++) json_decref(w->items[i].json);
    free(w->items);
    *w = (simulate_world){0};
}

/* ---- taste and rights ---- */

/* Whether the item's field holds the value: text is it, a list has it, a person has the name. */
static bool holds(const json_t *item, const char *field, const char *value) {
    const json_t *held = json_object_get(item, field), *one;
    if (json_is_string(held)) return strcmp(json_string_value(held), value) == 0;
    size_t i;
    json_array_foreach (held, i, one) {
        const char *text = json_is_object(one) ? cli_json_str(one, "name") : json_string_value(one);
        if (text && strcmp(text, value) == 0) return true;
    }
    return false;
}

static bool list_has(const json_t *list, const char *value) {
    size_t i;
    const json_t *one;
    json_array_foreach (list, i, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), value) == 0) return true;
    }
    return false;
}

/* 0..1: how well the item suits the viewer's preferences. Who has tastes expects a little less of what speaks to none
 * of them; who has none is open to anything. */
static double fit(const json_t *user, const json_t *item) {
    const char *field, *value;
    json_t *values, *weight;
    bool has_tastes = json_object_size(json_object_get(user, "preferences")) > 0;
    double sum = has_tastes ? -0.3 : 0;
    json_object_foreach (json_object_get(user, "preferences"), field, values) {
        json_object_foreach (values, value, weight) {
            if (holds(item, field, value)) sum += json_number_value(weight);
        }
    }
    return 1 / (1 + exp(-2 * sum));
}

static bool allowed(const json_t *user, const simulate_item *it) {
    const json_t *limits = json_object_get(user, "constraints"), *regions = json_object_get(it->json, "regions"),
                 *age = json_object_get(limits, "age"), *tier = json_object_get(limits, "tier"),
                 *languages = json_object_get(limits, "languages");
    const char *region = cli_json_str(limits, "region"), *field;
    json_t *values, *value;
    size_t i;
    if (json_array_size(regions) && (!*region || !list_has(regions, region))) return false;
    if (json_is_number(age) && cli_json_num(it->json, "age_rating") > json_number_value(age)) return false;
    if (cli_json_num(it->json, "tier") > (json_is_number(tier) ? json_number_value(tier) : INFINITY)) return false;
    if (json_array_size(languages) && !list_has(languages, cli_json_str(it->json, "language"))) return false;
    if (list_has(json_object_get(limits, "block"), it->id)) return false;
    json_object_foreach (json_object_get(limits, "exclude"), field, values) {
        json_array_foreach (values, i, value) {
            if (json_is_string(value) && holds(it->json, field, json_string_value(value))) return false;
        }
    }
    return true;
}

/* ---- habits ---- */

typedef struct habits {
    char text[256]; /* words are cut out of it */
    const char *word[HABITS_MAX];
    size_t count;
} habits;

/* "tv,mobile" or ["tv","mobile"] of user.attributes. */
static void read_habits(const json_t *user, const char *key, const char *usual, habits *h) {
    const json_t *value = json_object_get(json_object_get(user, "attributes"), key), *one;
    size_t i;
    *h = (habits){0};
    if (json_is_string(value)) snprintf(h->text, sizeof h->text, "%s", json_string_value(value));
    json_array_foreach (value, i, one) {
        size_t len = strlen(h->text);
        if (json_is_string(one))
            snprintf(h->text + len, sizeof h->text - len, "%s%s", len ? "," : "", json_string_value(one));
    }
    if (!h->text[0]) snprintf(h->text, sizeof h->text, "%s", usual);
    char *rest = NULL;
    for (char *word = strtok_r(h->text, ", ", &rest); word && h->count < HABITS_MAX; word = strtok_r(NULL, ", ", &rest))
        h->word[h->count++] = word;
}

/* The habit named first is the strongest: half of the rest goes to each. */
static const char *draw_habit(const habits *h, uint64_t *state) {
    size_t i = 0;
    while (i + 1 < h->count && chance(state) >= 0.5) i++;
    return h->count ? h->word[i] : "";
}

/* Seconds after midnight at which a daypart begins, and how long it lasts. */
static int64_t draw_time_of_day(const char *daypart, uint64_t *state) {
    static const struct {
        const char *name;
        int64_t begin, lasts;
    } parts[] = {{"morning", 6 * 3600, 6 * 3600},
                 {"afternoon", 12 * 3600, 6 * 3600},
                 {"evening", 18 * 3600, 4 * 3600},
                 {"night", 22 * 3600, 2 * 3600}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strcmp(parts[i].name, daypart) == 0)
            return parts[i].begin + (int64_t)(chance(state) * (double)parts[i].lasts);
    return (int64_t)(chance(state) * DAY_S);
}

static const char *daypart_of(int64_t at) {
    int64_t hour = at % DAY_S / 3600;
    return hour < 6 ? "night" : hour < 12 ? "morning" : hour < 18 ? "afternoon" : hour < 22 ? "evening" : "night";
}

/* ---- picking ---- */

typedef struct pick {
    size_t item;
    double key, fit;
    int64_t at;
} pick;

static int by_key(const void *a, const void *b) {
    const pick *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static int by_time(const void *a, const void *b) {
    const pick *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

/* Fills `picks` with all that may be seen, the chosen ones first; gives how many there are. */
static size_t rank_items(const simulate_world *w, const json_t *user, const habits *devices, pick *picks,
                         uint64_t *state) {
    bool on_the_move = devices->count && strcmp(devices->word[0], "mobile") == 0;
    size_t count = 0;
    for (size_t i = 0; i < w->count; i++) {
        const simulate_item *it = &w->items[i];
        double u = chance(state),
               lucky = chance(state); /* drawn for every item, so that one item more does not shift the others */
        if (!allowed(user, it)) continue;
        double suits = fit(user, it->json), weight = exp(5 * (suits - 0.5)) * (0.25 + it->popularity);
        if (on_the_move && it->duration_s > 6000) weight *= 0.5;
        if (lucky < 0.02) weight *= 30; /* pure chance */
        picks[count++] = (pick){.item = i, .key = log(u) / weight, .fit = suits};
    }
    qsort(picks, count, sizeof *picks, by_key);
    return count;
}

/* ---- what came of it ---- */

static void set_text(json_t *to, const char *key, const char *value) {
    if (*value) json_object_set_new(to, key, json_string(value));
}

static void set_watched(json_t *in, const simulate_item *it, double share) {
    if (it->duration_s > 0)
        json_object_set_new(in, "watch_s",
                            json_integer((json_int_t)((double)it->duration_s * (share > 1 ? 1 : share))));
}

/* `liking` 0..1 is the fit with the mood of the day in it. */
static void set_outcome(json_t *in, const simulate_item *it, double liking, uint64_t *state) {
    double what = chance(state), share = liking + 0.25 * (chance(state) - 0.5);
    const char *type;
    if (what < 0.10) {
        type = liking > 0.5 ? "like" : "dislike";
    } else if (what < 0.22) {
        type = "rate";
        double stars = round((0.5 + 4.5 * (share < 0 ? 0 : share > 1 ? 1 : share)) * 2) / 2;
        json_object_set_new(in, "rating", json_real(stars < 0.5 ? 0.5 : stars));
    } else if (what < 0.27) {
        type = chance(state) < 0.5 ? "view" : "click";
    } else if (liking < 0.4 && chance(state) < 0.6) {
        type = "skip";
        set_watched(in, it, 0.08 * chance(state));
    } else if (share > 0.8) {
        type = "complete";
        set_watched(in, it, 1);
    } else {
        type = "watch";
        set_watched(in, it, share < 0.03 ? 0.03 : share);
    }
    json_object_set_new(in, "type", json_string(type));
}

static json_t *make_interaction(const simulate_world *w, const json_t *user, const pick *p, size_t n,
                                const habits *devices, uint64_t *state) {
    char at[32];
    time_t when = (time_t)p->at;
    struct tm utc;
    gmtime_r(&when, &utc);
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &utc);
    const simulate_item *it = &w->items[p->item];
    const char *id = cli_json_str(user, "id");
    char *key = cli_format("sim-%llu-%s-%zu", (unsigned long long)w->seed, id, n),
         *session = cli_format("sim-%s-%.10s", id, at);
    double mood = p->fit + 0.5 * (chance(state) - 0.5);
    json_t *context = json_pack("{s:b}", "simulated", 1);
    set_text(context, "device", draw_habit(devices, state));
    set_text(context, "daypart", daypart_of(p->at));
    set_text(context, "region", cli_json_str(json_object_get(user, "constraints"), "region"));
    json_t *in = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "user", id, "item", it->id, "at", at, "session", session,
                           "idempotency_key", key, "context", context);
    if (in) set_outcome(in, it, mood < 0 ? 0 : mood > 1 ? 1 : mood, state);
    free(session);
    free(key);
    return in;
}

/* Gives a time to the best `wanted` picks, leaving out an item that was not to be had then, and sorts them by it. Gives
 * how many there are. */
static size_t date_picks(const simulate_world *w, pick *picks, size_t count, size_t wanted, const habits *dayparts,
                         uint64_t *state) {
    size_t dated = 0;
    for (size_t i = 0; i < count && dated < wanted; i++) {
        const simulate_item *it = &w->items[picks[i].item];
        int64_t days = (w->until - w->from) / DAY_S;
        int64_t at = w->from + (int64_t)below(state, (size_t)days) * DAY_S +
                     draw_time_of_day(draw_habit(dayparts, state), state);
        if (at < it->from || at >= it->until) continue;
        pick chosen = picks[i];
        chosen.at = at;
        picks[dated++] = chosen;
    }
    if (dated) qsort(picks, dated, sizeof *picks, by_time);
    return dated;
}

int simulate_viewer(const simulate_world *w, const json_t *user, simulate_take *take, void *ctx) {
    uint64_t state = seed_of(w->seed, cli_json_str(user, "id"));
    habits devices, dayparts;
    read_habits(user, "devices", "tv", &devices);
    read_habits(user, "dayparts", "evening", &dayparts);
    pick *picks = cli_alloc(w->count * sizeof *picks);
    size_t count = rank_items(w, user, &devices, picks, &state);
    count = date_picks(w, picks, count, w->per_viewer, &dayparts, &state);
    int rc = 0;
    for (size_t n = 0; n < count && rc == 0; n++) {
        json_t *in = make_interaction(w, user, &picks[n], n, &devices, &state);
        if (in) rc = take(ctx, in);
    }
    free(picks);
    return rc;
}
