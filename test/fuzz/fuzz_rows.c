/* Fuzzing of what a cache may hold where a policy's row is looked for: any bytes, as JSON or packed.
 *
 * They are a row of the key that was asked for, with numbers and texts that can be written and read back the same in
 * both forms, or they are nothing. The first byte says in which form they are looked for. */
#include <math.h>

#include "fuzz.h"

#include "policy/policy_private.h"

enum { ACTIONS_MAX = 4096 };
static const record_policy_key key = {"u1", "5f"};

/* The row, printed: two rows are the same when this is. */
static bool print_row(void *ctx, size_t which, const record_policy *row) {
    buf *out = ctx;
    if (which != 7) fuzz_fail("a row is told with the number of its key", "");
    if (strcmp(row->agent, "default") != 0 || strcmp(row->user, key.user) != 0) fuzz_fail("the row is of the key", "");
    if (row->action_count == 0 || row->action_count > ACTIONS_MAX) fuzz_fail("actions are counted and bounded", "");
    buf_printf(out, "%s %llu", row->state, (unsigned long long)row->version);
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *a = &row->actions[i];
        buf_printf(out, " %s %a %a %a %llu", a->action, a->mean, a->variance, a->count, (unsigned long long)a->version);
    }
    return true;
}

typedef struct rewritten {
    buf json, packed, row;
    bool finite;
} rewritten;

static bool rewrite_row(void *ctx, size_t which, const record_policy *row) {
    rewritten *w = ctx;
    w->finite = row->version <= INT64_MAX / 100;
    for (size_t i = 0; i < row->action_count; i++) {
        const record_action *a = &row->actions[i];
        w->finite = w->finite && isfinite(a->mean) && isfinite(a->variance) && isfinite(a->count) &&
                    a->version <= INT64_MAX / 100 && utf8_valid(a->action, strlen(a->action));
    }
    w->finite = w->finite && utf8_valid(row->state, strlen(row->state));
    policy_row_write(row, false, &w->json);
    policy_row_write(row, true, &w->packed);
    return print_row(&w->row, which, row);
}

static void reads_back(const buf *form, bool packed, const buf *row) {
    buf again;
    bool more = false;
    buf_init(&again, 0);
    if (!policy_row_read(form->data, form->len, packed, "default", &key, 7, print_row, &again, &more))
        fuzz_fail("a row that was written is read", form->data);
    if (again.len != row->len || memcmp(again.data, row->data, row->len) != 0)
        fuzz_fail("a row that was written is read the same", row->data);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    bool packed = data[0] & 1, more = false;
    rewritten w = {.finite = false};
    buf_init(&w.json, 0);
    buf_init(&w.packed, 0);
    buf_init(&w.row, 0);
    policy_row_read((const char *)data + 1, size - 1, packed, "default", &key, 7, rewrite_row, &w, &more);
    if (w.row.len > 0) reads_back(&w.packed, true, &w.row);
    if (w.row.len > 0 && w.finite) reads_back(&w.json, false, &w.row); /* JSON has no word for the others */
    buf_free(&w.json);
    buf_free(&w.packed);
    buf_free(&w.row);
    return 0;
}
