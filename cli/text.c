/* Text: memory, percent-encoding, the width of UTF-8 on a terminal, short forms of numbers, reading files.
 *
 * Width is computed here rather than by wcwidth(), whose answer hangs on a locale that a container often does not have.
 * Control characters never reach the terminal: a title may come from anywhere. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

static _Noreturn void no_memory(void) {
    fputs("braid: memory ran out; everything that was acknowledged is stored\n", stderr);
    exit(CLI_FAILED);
}

void *cli_alloc(size_t bytes) {
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) no_memory();
    return p;
}

void *cli_grow(void *old, size_t bytes) {
    void *p = realloc(old, bytes ? bytes : 1);
    if (!p) no_memory();
    return p;
}

char *cli_copy(const char *text) {
    char *copy = strdup(text);
    if (!copy) no_memory();
    return copy;
}

char *cli_format(const char *format, ...) {
    char *out = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&out, format, args);
    va_end(args);
    if (n < 0) no_memory();
    return out;
}

double cli_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- addresses ---- */

static void put_percent(FILE *out, const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text; text++) {
        if (strchr(plain, *text))
            fputc(*text, out);
        else
            fprintf(out, "%%%02X", (unsigned char)*text);
    }
}

char *cli_path(const char *prefix, const char *id, const char *suffix) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) no_memory();
    fputs(prefix, out);
    put_percent(out, id);
    fputs(suffix, out);
    if (fclose(out)) no_memory();
    return text;
}

char *cli_query(const char *name, ...) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) no_memory();
    va_list args;
    va_start(args, name);
    bool first = true;
    for (; name; name = va_arg(args, const char *)) {
        const char *value = va_arg(args, const char *);
        if (!value) continue;
        fprintf(out, "%s%s=", first ? "" : "&", name);
        put_percent(out, value);
        first = false;
    }
    va_end(args);
    if (fclose(out)) no_memory();
    return text;
}

/* ---- width ---- */

/* One character at `text`: its length in bytes (1 for a byte that is not UTF-8) and its code point (0xFFFD then). */
static size_t decode(const char *text, uint32_t *point) {
    const unsigned char *s = (const unsigned char *)text;
    size_t more = s[0] < 0x80 ? 0 : s[0] >= 0xF0 && s[0] < 0xF5 ? 3 : s[0] >= 0xE0 ? 2 : s[0] >= 0xC2 ? 1 : 4;
    *point = 0xFFFD;
    if (more == 4 || s[0] >= 0xF5) return 1;
    uint32_t value = more == 0 ? s[0] : s[0] & (0x3Fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((s[i] & 0xC0) != 0x80) return 1;
        value = value << 6 | (s[i] & 0x3F);
    }
    *point = value;
    return more + 1;
}

static bool is_control(uint32_t p) {
    return p < 0x20 || (p >= 0x7F && p < 0xA0) || p == 0x2028 || p == 0x2029 || (p >= 0x202A && p <= 0x202E) ||
           (p >= 0x2066 && p <= 0x2069);
}

static size_t width_of(uint32_t p) {
    if (is_control(p)) return 1; /* printed as '?' */
    if ((p >= 0x300 && p <= 0x36F) || (p >= 0x200B && p <= 0x200F) || (p >= 0xFE00 && p <= 0xFE0F) ||
        (p >= 0x20D0 && p <= 0x20FF) || (p >= 0x0591 && p <= 0x05BD) || (p >= 0x064B && p <= 0x065F))
        return 0;
    if ((p >= 0x1100 && p <= 0x115F) || (p >= 0x2E80 && p <= 0xA4CF) || (p >= 0xAC00 && p <= 0xD7A3) ||
        (p >= 0xF900 && p <= 0xFAFF) || (p >= 0xFE30 && p <= 0xFE6F) || (p >= 0xFF00 && p <= 0xFF60) ||
        (p >= 0xFFE0 && p <= 0xFFE6) || (p >= 0x1F300 && p <= 0x1FAFF) || (p >= 0x20000 && p <= 0x3FFFD))
        return 2;
    return 1;
}

size_t cli_width(const char *text) {
    size_t width = 0;
    while (*text) {
        uint32_t p;
        text += decode(text, &p);
        width += width_of(p);
    }
    return width;
}

size_t cli_put(FILE *out, const char *text, size_t columns) {
    bool cut = columns > 0 && cli_width(text) > columns;
    size_t room = cut ? columns - 1 : SIZE_MAX, used = 0;
    while (*text) {
        uint32_t p;
        size_t step = decode(text, &p), wide = width_of(p);
        if (used + wide > room) break;
        if (is_control(p))
            fputc('?', out);
        else if (p == 0xFFFD && step == 1)
            fputs("\xEF\xBF\xBD", out);
        else
            fwrite(text, 1, step, out);
        used += wide;
        text += step;
    }
    if (cut) {
        fputs("\xE2\x80\xA6", out);
        used++;
    }
    return used;
}

/* ---- numbers for people ---- */

const char *cli_count_text(char out[CLI_SHORT], uint64_t n) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

const char *cli_us_text(char out[CLI_SHORT], double us) {
    if (us < 1000)
        snprintf(out, CLI_SHORT, "%.0f µs", us);
    else if (us < 1e6)
        snprintf(out, CLI_SHORT, "%.*f ms", us < 1e4 ? 2 : us < 1e5 ? 1 : 0, us / 1e3);
    else
        snprintf(out, CLI_SHORT, "%.2f s", us / 1e6);
    return out;
}

/* ---- files ---- */

int cli_read_file(const cli *c, const char *path, size_t bytes_max, char **text, size_t *len) {
    bool is_stdin = strcmp(path, "-") == 0;
    *text = NULL;
    FILE *in = is_stdin ? stdin : fopen(path, "rb");
    if (!in)
        return cli_fail(c, CLI_FAILED, "%s: %s; give the path of a file that can be read, or - for the standard input",
                        path, strerror(errno));
    size_t used = 0, cap = 4096;
    char *all = cli_alloc(cap);
    size_t n;
    while ((n = fread(all + used, 1, cap - used - 1, in)) > 0) {
        used += n;
        if (used + 1 == cap) all = cli_grow(all, cap *= 2);
        if (used > bytes_max) break;
    }
    bool broken = ferror(in);
    int why = errno;
    if (!is_stdin) fclose(in);
    if (broken || used > bytes_max) {
        free(all);
        if (broken) return cli_fail(c, CLI_FAILED, "%s: %s", path, strerror(why));
        return cli_fail(c, CLI_FAILED, "%s: larger than %zu bytes; load big streams with `braid load`", path,
                        bytes_max);
    }
    all[used] = '\0';
    *text = all;
    *len = used;
    return CLI_OK;
}

/* ---- JSON ---- */

int cli_read_json(const cli *c, const char *path, size_t bytes_max, json_t **out) {
    char *text = NULL;
    size_t len;
    json_error_t where;
    *out = NULL;
    int rc = cli_read_file(c, path, bytes_max, &text, &len);
    if (rc != CLI_OK) return rc;
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    free(text);
    return *out ? CLI_OK : cli_fail(c, CLI_USAGE, "%s:%d: not valid JSON: %s", path, where.line, where.text);
}

char *cli_json_text(const json_t *value) {
    if (json_is_string(value)) return cli_copy(json_string_value(value));
    if (!value || json_is_null(value)) return cli_copy("");
    if (json_is_real(value)) return cli_format("%.6g", json_real_value(value));
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text) no_memory();
    return text;
}

const char *cli_json_str(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

double cli_json_num(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

void cli_print_json(const json_t *value) {
    json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
}
