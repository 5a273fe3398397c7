/* The canary: parsers with a planted bug, one of each sort that the fuzzing must be able to see. run.py fails if
 * one of them is not found.
 *
 * The variable BRAID_CANARY chooses: overflow (a length from the input is believed), undefined (a signed sum
 * overflows), leak (a block is forgotten on a refusal) or hang (a step of 0 is taken for ever). Each hides behind
 * a magic word, so that coverage guidance is needed to get there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile int sink;

static void overflow(const uint8_t *body, size_t size) {
    if (size == 0) return;
    char *copy = malloc(size);
    if (!copy) return;
    memcpy(copy, body, size);
    for (size_t i = 1; i <= body[0]; i++) sink += copy[i]; /* bug: body[0] may be more than there is */
    free(copy);
}

static void undefined(const uint8_t *body, size_t size) {
    int sum;
    if (size < sizeof sum) return;
    memcpy(&sum, body, sizeof sum);
    sink = sum + 0x10000000; /* bug: a large number overflows */
}

static void leak(const uint8_t *body, size_t size) {
    char *copy = malloc(size + 1);
    if (!copy) return;
    memcpy(copy, body, size);
    sink = copy[0];
    if (size > 2 && body[0] == '{' && body[size - 1] != '}') return; /* bug: the refusal forgets the block */
    free(copy);
}

static void hang(const uint8_t *body, size_t size) {
    for (size_t at = 0; at < size; at += body[at]) sink++; /* bug: a step of 0 */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct {
        const char *name;
        void (*parse)(const uint8_t *body, size_t size);
    } kinds[] = {{"overflow", overflow}, {"undefined", undefined}, {"leak", leak}, {"hang", hang}};
    const char *kind = getenv("BRAID_CANARY");
    if (size < 4 || memcmp(data, "BRD1", 4) != 0) return 0;
    for (size_t i = 0; kind && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind, kinds[i].name) == 0) kinds[i].parse(data + 4, size - 4);
    return 0;
}
