/* bolt_bookmarks: what this client has seen committed.
 *
 * A transaction that began after bookmarks {a, b} and gave c implies a and b, so c takes their place. Others may have
 * ended meanwhile: their bookmarks stay beside it. Every bookmark has a number; a transaction remembers the highest
 * number when it began, which says exactly which ones it implies, without a copy of them. */
#include "bolt_private.h"

#include <stdlib.h>
#include <string.h>

void bolt_marks_init(bolt_marks *b) {
    memset(b, 0, sizeof *b);
    buf_init(&b->encoded, 0);
}

void bolt_marks_free(bolt_marks *b) {
    for (size_t i = 0; i < b->count; i++) free(b->marks[i].text);
    buf_free(&b->encoded);
    bolt_marks_init(b);
}

static void marks_encode(bolt_marks *b) {
    buf_reset(&b->encoded);
    ps_put_list(&b->encoded, b->count);
    for (size_t i = 0; i < b->count; i++) ps_put_str(&b->encoded, b->marks[i].text);
    if (b->encoded.failed) buf_reset(&b->encoded); /* none are sent until there is memory again */
}

static void marks_drop(bolt_marks *b, size_t i) {
    free(b->marks[i].text);
    memmove(&b->marks[i], &b->marks[i + 1], (b->count - i - 1) * sizeof b->marks[0]);
    b->count--;
}

bool bolt_marks_replace(bolt_marks *b, uint64_t number, const char *text) {
    /* nothing was written */
    if (b->count == 1 && strcmp(b->marks[0].text, text) == 0 && b->encoded.len > 0) return true;
    char *copy = strdup(text);
    if (copy == NULL) return false;
    for (size_t i = b->count; i-- > 0;)
        if (b->marks[i].number <= number || strcmp(b->marks[i].text, text) == 0) marks_drop(b, i);
    if (b->count == BOLT_BOOKMARKS) marks_drop(b, 0);
    b->marks[b->count].number = ++b->number;
    b->marks[b->count++].text = copy;
    marks_encode(b);
    return true;
}
