/* Fuzzing of braid.yaml: any bytes as a file of options, and as the value of one option.
 *
 * A refusal has a reason and changes nothing; what was taken can be printed as a sample, and the sample reads back
 * as the same. */
#include "fuzz.h"

static fuzz_file file;

static char *printed(const braid_options *o) {
    char *yaml;
    braid_error err = {0};
    if (braid_options_sample(o, &yaml, &err)) fuzz_fail("options can be printed", err.message);
    return yaml;
}

static void read_back(const char *yaml) {
    braid_options *o;
    braid_error err = {0};
    if (braid_options_new(&o, &err)) abort();
    if (braid_options_load_file(o, fuzz_file_put(&file, yaml, strlen(yaml)), &err))
        fuzz_fail("what was printed can be read", err.message);
    char *again = printed(o);
    if (strcmp(again, yaml) != 0) fuzz_fail("what was printed reads back as the same", again);
    braid_free(again);
    braid_options_free(o);
}

/* "key=value" as flags and the environment give them. */
static void set_one(braid_options *o, char *text) {
    braid_error err = {0};
    char *value = strchr(text, '=');
    if (!value) return;
    *value++ = 0;
    int rc = braid_options_set(o, text, value, &err);
    if (rc) fuzz_check_refusal(rc, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    braid_options *o;
    braid_error err = {0};
    if (size < 1) return 0;
    if (braid_options_new(&o, &err)) abort();
    char *before = printed(o);
    if (data[0] == '=') {
        char *text = fuzz_copy(data + 1, size - 1, true);
        set_one(o, text);
        free(text);
    } else {
        int rc = braid_options_load_file(o, fuzz_file_put(&file, data, size), &err);
        if (rc) fuzz_check_refusal(rc, &err);
        char *after = printed(o);
        if (rc && strcmp(before, after) != 0) fuzz_fail("a refused file changes nothing", after);
        braid_free(after);
    }
    char *now = printed(o);
    read_back(now);
    braid_free(now);
    braid_free(before);
    braid_options_free(o);
    return 0;
}
