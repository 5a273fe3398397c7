/* embed OUT DIR FILE...: writes the files as a C source, so that the program carries its page with it.
 *
 *     embed build/release/assets_data.c web web/index.html web/app.js server/schemas.json
 *
 * A name inside DIR loses that prefix. The output goes to OUT.new and is renamed, so that an interrupted build
 * leaves no half file. A tool of our own, since the build may use nothing but a C compiler and make. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name_of(const char *path, const char *dir) {
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/' ? path + n + 1 : path;
}

static int put_name(FILE *out, const char *name) {
    for (const char *p = name; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ') return -1;
    return fprintf(out, "\"%s\"", name);
}

static int put_bytes(FILE *out, const char *path, int number, size_t *size) {
    FILE *in = fopen(path, "rb");
    if (!in) return -1;
    fprintf(out, "static const unsigned char file_%d[] = {", number);
    int c;
    for (*size = 0; (c = getc(in)) != EOF; ++*size) fprintf(out, "%s%d,", *size % 32 ? "" : "\n", c);
    fprintf(out, "0};\n"); /* a NUL after the end, for text */
    int failed = ferror(in);
    fclose(in);
    return failed ? -1 : 0;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: embed OUT DIR FILE...\n");
        return 2;
    }
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s.new", argv[1]);
    FILE *out = fopen(temporary, "wb");
    size_t *sizes = calloc((size_t)argc, sizeof *sizes);
    int failed = !out || !sizes;
    if (!failed) fprintf(out, "/* Made by tools/embed.c. */\n#include \"server/assets.h\"\n");
    for (int i = 3; i < argc && !failed; i++) {
        failed = put_bytes(out, argv[i], i, &sizes[i]) < 0;
        if (failed) perror(argv[i]);
    }
    if (!failed) fprintf(out, "const assets_file assets_built_in[] = {\n");
    for (int i = 3; i < argc && !failed; i++) {
        fprintf(out, "    {");
        failed = put_name(out, name_of(argv[i], argv[2])) < 0;
        fprintf(out, ", file_%d, %zu},\n", i, sizes[i]);
    }
    if (!failed) fprintf(out, "    {0, 0, 0}};\n");
    if (out) failed = fclose(out) != 0 || failed;
    if (!failed) failed = rename(temporary, argv[1]) != 0;
    if (failed) {
        perror(argv[1]);
        remove(temporary);
    }
    free(sizes);
    return failed;
}
