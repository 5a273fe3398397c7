/* The page's files. Built in, they are a table in the program and answer without touching the disk; from a folder
 * (option server.web) they are read at each request, so that a reload shows an edit.
 *
 * A name is taken apart before it meets the file system: every segment must begin with a letter, a digit, '_' or '-'
 * and hold nothing but these and '.', so that neither "..", a hidden file, nor an absolute path can be spelled. */
#include "server/assets.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/api_private.h"

enum { ASSET_BYTES_MAX = 16 * 1024 * 1024, ASSET_NAME_MAX = 200 };

static const char *type_of(const char *name) {
    static const struct {
        const char *end, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".webp", "image/webp"},
        {".woff2", "font/woff2"},
        {".txt", "text/plain; charset=utf-8"},
        {".webmanifest", "application/manifest+json"},
    };
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t n = strlen(types[i].end);
        if (len > n && strcmp(name + len - n, types[i].end) == 0) return types[i].type;
    }
    return "application/octet-stream";
}

/* FNV-1a, 64 bits: tells versions of a file apart, guards nothing. */
static void make_etag(const char *data, size_t size, char etag[20]) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
    snprintf(etag, 20, "\"%016llx\"", (unsigned long long)h);
}

static bool plain(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           (c == '.' && !first);
}

static bool name_is_safe(const char *name) {
    if (strlen(name) > ASSET_NAME_MAX) return false;
    bool first = true;
    for (const char *p = name; *p; p++) {
        if (*p == '/' && !first)
            first = true;
        else if (plain(*p, first))
            first = false;
        else
            return false;
    }
    return !first;
}

const char *assets_name(char *path) {
    static const char prefix[] = "/assets/";
    if (strcmp(path, "/") == 0) return "index.html";
    if (strncmp(path, prefix, sizeof prefix - 1) != 0) return NULL;
    char *name = path + sizeof prefix - 1;
    return api_decode(name, false) ? name : NULL;
}

static const assets_file *find_built_in(const char *name) {
    for (const assets_file *f = assets_built_in; f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

const char *assets_text(const char *name) {
    const assets_file *f = find_built_in(name);
    return f ? (const char *)f->data : NULL;
}

static char *read_file(const char *path, size_t *size) {
    struct stat st;
    char *data = NULL;
    size_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > ASSET_BYTES_MAX) goto cleanup;
    data = malloc((size_t)st.st_size + 1);
    while (data && got < (size_t)st.st_size) {
        ssize_t n = read(fd, data + got, (size_t)st.st_size - got);
        if (n <= 0) break; /* it shrank while it was read: what is there is served */
        got += (size_t)n;
    }
    *size = got;
cleanup:
    if (fd >= 0) close(fd);
    return data;
}

bool assets_open(const char *folder, const char *name, asset *out) {
    *out = (asset){0};
    if (!name_is_safe(name)) return false;
    if (*folder) {
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/%s", folder, name);
        if (n < 0 || (size_t)n >= sizeof path) return false;
        out->data = out->owned = read_file(path, &out->size);
    } else {
        const assets_file *f = find_built_in(name);
        if (f) {
            out->data = (const char *)f->data;
            out->size = f->size;
        }
    }
    if (!out->data) return false;
    out->type = type_of(name);
    make_etag(out->data, out->size, out->etag);
    return true;
}

void assets_close(asset *a) {
    free(a->owned);
    *a = (asset){0};
}

bool assets_match(const char *if_none_match, const char *etag) {
    if (!if_none_match) return false;
    return strcmp(if_none_match, "*") == 0 || strstr(if_none_match, etag) != NULL;
}
