/* Fuzzing of everything that reads JSON in src/model.
 *
 * Any bytes may be refused but never crash; what is accepted must survive writing and reading unchanged. A document
 * {"filter":F,"item":I} is also matched, and the negated filter must say the opposite.
 *
 * Build with clang -fsanitize=fuzzer,address,undefined together with the sources of src/base and src/model, the
 * libraries jansson, xxhash, cyaml, yaml and m; run as: fuzz_model NEW_CORPUS test/fuzz/corpus/model */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

enum { JSON_BYTES_MAX = 1 << 20, JSON_DEPTH_MAX = 64 };

static const model_limits limits = {JSON_BYTES_MAX, JSON_DEPTH_MAX, 0};

/* Reads one kind of noun and appends its canonical text; false if it was refused. */
typedef bool read_and_write(const json_t *json, arena *a, buf *out);

static void check_error(const braid_error *err) {
    if (err->code == BRAID_OK || err->message[0] == '\0' || !utf8_valid(err->message, strlen(err->message))) {
        fprintf(stderr, "refused without a proper error: %d \"%s\"\n", err->code, err->message);
        abort();
    }
}

static bool through_item(const json_t *json, arena *a, buf *out) {
    braid_error err = {0};
    item *it;
    if (item_from_json(json, &limits, a, &it, &err)) {
        check_error(&err);
        return false;
    }
    item_to_json(it, true, out);
    item_release(it);
    return true;
}

static bool through_user(const json_t *json, arena *a, buf *out) {
    braid_error err = {0};
    user *u;
    if (user_from_json(json, &limits, a, &u, &err)) {
        check_error(&err);
        return false;
    }
    user_to_json(u, out);
    user_release(u);
    return true;
}

static bool through_relation(const json_t *json, arena *a, buf *out) {
    braid_error err = {0};
    relation *r;
    if (relation_from_json(json, a, &r, &err)) {
        check_error(&err);
        return false;
    }
    return relation_to_json(r, out);
}

static bool through_interaction(const json_t *json, arena *a, buf *out) {
    braid_error err = {0};
    interaction *in;
    if (interaction_from_json(json, a, &in, &err)) {
        check_error(&err);
        return false;
    }
    return interaction_to_json(in, out);
}

static bool through_filter(const json_t *json, arena *a, buf *out) {
    braid_error err = {0};
    filter *f;
    if (filter_from_json(json, a, &f, &err)) {
        check_error(&err);
        return false;
    }
    return filter_print(f, out);
}

static void round_trip(read_and_write *through, const json_t *json, arena *a) {
    buf first, second;
    buf_init(&first, 0);
    buf_init(&second, 0);
    if (through(json, a, &first)) {
        braid_error err = {0};
        json_t *again;
        model_limits wide = {SIZE_MAX, 512, 0};
        if (model_json_parse(first.data, first.len, &wide, &again, &err) || !through(again, a, &second) ||
            strcmp(first.data, second.data) != 0) {
            fprintf(stderr, "first:  %s\nsecond: %s\n%s\n", first.data, second.data ? second.data : "", err.message);
            abort();
        }
        json_decref(again);
    }
    buf_free(&first);
    buf_free(&second);
}

static void match(const json_t *filter_json, const json_t *item_json, arena *a) {
    item *it;
    filter *yes, *no;
    json_t *negated = json_pack("{sO}", "not", filter_json);
    if (negated && filter_json && item_from_json(item_json, &limits, a, &it, NULL) == BRAID_OK) {
        if (filter_from_json(filter_json, a, &yes, NULL) == BRAID_OK &&
            filter_from_json(negated, a, &no, NULL) == BRAID_OK && filter_matches(yes, it) == filter_matches(no, it)) {
            fprintf(stderr, "a filter and its negation agree\n");
            abort();
        }
        item_release(it);
    }
    json_decref(negated);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static read_and_write *const all[] = {through_item, through_user, through_relation, through_interaction,
                                          through_filter};
    braid_error err = {0};
    json_t *json;
    if (model_json_parse((const char *)data, size, &limits, &json, &err)) {
        check_error(&err);
        return 0;
    }
    arena *a = arena_new(4096);
    for (size_t i = 0; a && i < sizeof all / sizeof all[0]; i++) {
        round_trip(all[i], json, a);
    }
    if (a && json_is_object(json_object_get(json, "item"))) {
        match(json_object_get(json, "filter"), json_object_get(json, "item"), a);
    }
    arena_free(a);
    json_decref(json);
    return 0;
}
