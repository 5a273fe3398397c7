/* Before SQLite may touch a file: the lock, and a look at its first hundred bytes.
 *
 * A file that is not ours, or is newer, must stay as it is to the byte, without even a -wal or -shm beside it; so
 * its header is read through SQLite's VFS (never with a descriptor of our own: closing one would drop the POSIX
 * locks of every connection in the process) and judged before a connection is opened. What a hot journal or a WAL
 * may still change is left to SQLite and judged again by record_sqlite_schema_check().
 *
 * One process writes: FILE-lock holds a flock for as long as the store is open for writing. The name is removed on
 * closing; an opener that locked a file which was removed meanwhile notices by the inode and tries again. Rejected:
 * locking the database file itself (see above), and a lock file that is only created and deleted (it survives kill
 * -9 and then locks out everybody). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/record_sqlite.h"

enum { HEADER_BYTES = 100, LOCK_TRIES = 100 };

static char *record_sqlite_beside(const record_sqlite *s, const char *suffix) {
    size_t len = strlen(s->path), more = strlen(suffix);
    char *out = malloc(len + more + 1);
    if (out != NULL) {
        memcpy(out, s->path, len);
        memcpy(out + len, suffix, more + 1);
    }
    return out;
}

static int record_sqlite_no_lock(record_sqlite *s, const char *name, int cause, braid_error *err) {
    if (cause == EACCES || cause == EROFS || cause == EPERM)
        return error_set(err, BRAID_E_READ_ONLY, RECORD_SQLITE,
                         "cannot write beside '%s' (%s): make its folder writable for this user, or choose another"
                         " --db",
                         s->path, strerror(cause));
    if (cause == ENOENT || cause == ENOTDIR)
        return error_set(err, BRAID_E_NOT_FOUND, RECORD_SQLITE,
                         "the folder of '%s' does not exist: create it, or choose another --db", s->path);
    if (cause == ENOSPC || cause == EDQUOT)
        return error_set(err, BRAID_E_DISK_FULL, RECORD_SQLITE, "no space for '%s': free some and try again", name);
    return error_set(err, BRAID_E_IO, RECORD_SQLITE, "cannot create '%s': %s", name, strerror(cause));
}

static int record_sqlite_locked(record_sqlite *s, int fd, braid_error *err) {
    char pid[24] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    return error_set(err, BRAID_E_LOCKED, RECORD_SQLITE,
                     "'%s' is open in %s%s: stop it, or ask the running server (--url http://127.0.0.1:8080)", s->path,
                     pid[0] != '\0' ? "process " : "another process", pid);
}

/* The lock is worth something only if the name still leads to the file that was locked. */
static bool record_sqlite_lock_holds(int fd, const char *name) {
    struct stat mine, named;
    return fstat(fd, &mine) == 0 && stat(name, &named) == 0 && mine.st_ino == named.st_ino &&
           mine.st_dev == named.st_dev;
}

int record_sqlite_lock(record_sqlite *s, braid_error *err) {
    if (s->options.read_only || s->options.vfs != NULL) /* a reader harms nobody; a VFS of its own has its own names */
        return BRAID_OK;
    char *name = record_sqlite_beside(s, "-lock");
    if (name == NULL) return error_set(err, BRAID_E_NO_MEMORY, RECORD_SQLITE, "no memory to open '%s'", s->path);
    int code = BRAID_OK, fd = -1;
    for (int i = 0; i < LOCK_TRIES; i++) {
        fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            code = record_sqlite_no_lock(s, name, errno, err);
            break;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            code = errno == EWOULDBLOCK
                       ? record_sqlite_locked(s, fd, err)
                       : error_set(err, BRAID_E_IO, RECORD_SQLITE, "cannot lock '%s': %s", name, strerror(errno));
            break;
        }
        if (record_sqlite_lock_holds(fd, name)) break;
        close(fd);
        fd = -1;
    }
    if (code == BRAID_OK && fd < 0)
        code = error_set(err, BRAID_E_LOCKED, RECORD_SQLITE,
                         "'%s' is being opened and closed by other processes: try again", s->path);
    if (code != BRAID_OK && fd >= 0) {
        close(fd);
        fd = -1;
    }
    if (fd >= 0 && (ftruncate(fd, 0) != 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0))
        errno = 0; /* the number is a courtesy to whoever is refused; the lock holds without it */
    s->lock_fd = fd;
    free(name);
    return code;
}

void record_sqlite_unlock(record_sqlite *s) {
    if (s->lock_fd < 0) return;
    char *name = record_sqlite_beside(s, "-lock");
    if (name != NULL) unlink(name);
    free(name);
    close(s->lock_fd);
    s->lock_fd = -1;
}

/* ---- the header ---- */

typedef struct header {
    bool there;
    int64_t bytes;
    unsigned char text[HEADER_BYTES];
    bool journal, wal;
} header;

static uint32_t header_u32(const header *h, size_t at) {
    return (uint32_t)h->text[at] << 24 | (uint32_t)h->text[at + 1] << 16 | (uint32_t)h->text[at + 2] << 8 |
           h->text[at + 3];
}

static bool header_beside(sqlite3_vfs *vfs, const record_sqlite *s, const char *suffix, int *rc) {
    char *name = record_sqlite_beside(s, suffix);
    int there = 0;
    *rc = name == NULL ? SQLITE_NOMEM : vfs->xAccess(vfs, name, SQLITE_ACCESS_EXISTS, &there);
    free(name);
    return there != 0;
}

static int header_load(sqlite3_vfs *vfs, const char *name, header *h) {
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    int flags = 0;
    if (file == NULL) return SQLITE_NOMEM;
    int rc = vfs->xOpen(vfs, name, file, SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB, &flags);
    if (rc == SQLITE_OK) {
        sqlite3_int64 size = 0;
        h->there = true;
        rc = file->pMethods->xFileSize(file, &size);
        h->bytes = size;
        if (rc == SQLITE_OK && size > 0)
            rc = file->pMethods->xRead(file, h->text, size < HEADER_BYTES ? (int)size : HEADER_BYTES, 0);
    } else if ((rc & 0xff) == SQLITE_CANTOPEN) {
        rc = SQLITE_OK;
    }
    if (file->pMethods != NULL) file->pMethods->xClose(file);
    free(file);
    return rc;
}

static int header_read(record_sqlite *s, header *h, braid_error *err) {
    memset(h, 0, sizeof *h);
    sqlite3_vfs *vfs = sqlite3_vfs_find(s->options.vfs);
    if (vfs == NULL)
        return error_set(err, BRAID_E_INVALID, RECORD_SQLITE, "there is no SQLite VFS named '%s'",
                         s->options.vfs ? s->options.vfs : "");
    char *full = calloc(1, (size_t)vfs->mxPathname + 1);
    int rc = full == NULL ? SQLITE_NOMEM : vfs->xFullPathname(vfs, s->path, vfs->mxPathname + 1, full);
    if ((rc & 0xff) == SQLITE_OK || rc == SQLITE_OK_SYMLINK) {
        char *name = (char *)sqlite3_create_filename(full, "", "", 0, NULL);
        rc = name == NULL ? SQLITE_NOMEM : header_load(vfs, name, h);
        sqlite3_free_filename(name);
    }
    free(full);
    if (rc == SQLITE_OK) h->journal = header_beside(vfs, s, "-journal", &rc);
    if (rc == SQLITE_OK) h->wal = header_beside(vfs, s, "-wal", &rc);
    return rc == SQLITE_OK ? BRAID_OK : record_sqlite_fail(NULL, rc, "reading the file's header", err);
}

static bool header_blank(const header *h) {
    for (size_t i = 0; i < HEADER_BYTES; i++)
        if (h->text[i] != 0) return false;
    return true;
}

static int header_judge(const record_sqlite *s, const header *h, braid_error *err) {
    if (h->journal && (h->bytes < HEADER_BYTES || header_blank(h)))
        return BRAID_OK; /* its creation was cut short; the journal takes it back to nothing */
    if (h->bytes < HEADER_BYTES || memcmp(h->text, "SQLite format 3", 16) != 0)
        return error_set(err, BRAID_E_NOT_A_DATABASE, RECORD_SQLITE,
                         "'%s' is not a Braid database: choose another --db", s->path);
    if (header_u32(h, 68) != RECORD_APPLICATION_ID)
        return error_set(err, BRAID_E_NOT_A_DATABASE, RECORD_SQLITE,
                         "'%s' is an SQLite database of another application: choose another --db", s->path);
    if (header_u32(h, 60) > RECORD_SCHEMA_VERSION)
        return error_set(err, BRAID_E_NEWER_FORMAT, RECORD_SQLITE,
                         "'%s' has format %u, this Braid reads up to %u: use a newer Braid (the file was not touched)",
                         s->path, (unsigned)header_u32(h, 60), (unsigned)RECORD_SCHEMA_VERSION);
    uint32_t page = (uint32_t)h->text[16] << 8 | h->text[17];
    int64_t full = (int64_t)header_u32(h, 28) * (page == 1 ? 65536 : page);
    if (!h->wal && !h->journal && h->bytes < full)
        return error_set(err, BRAID_E_CORRUPT, RECORD_SQLITE,
                         "'%s' is cut short (%lld of %lld bytes): restore it from a copy", s->path, (long long)h->bytes,
                         (long long)full);
    return BRAID_OK;
}

/* Things that only a real file system can say, in words that SQLite's CANTOPEN does not have. */
static int record_sqlite_peek_path(record_sqlite *s, bool *there, braid_error *err) {
    struct stat st;
    if (stat(s->path, &st) != 0) {
        *there = false;
        return errno == ENOENT ? BRAID_OK : record_sqlite_no_lock(s, s->path, errno, err);
    }
    *there = true;
    if (!S_ISREG(st.st_mode))
        return error_set(err, BRAID_E_NOT_A_DATABASE, RECORD_SQLITE, "'%s' is not a file: choose another --db",
                         s->path);
    if (st.st_size == 1) /* SQLite takes a single byte for an empty file */
        return error_set(err, BRAID_E_NOT_A_DATABASE, RECORD_SQLITE,
                         "'%s' is not a Braid database: choose another --db", s->path);
    if (euidaccess(s->path, R_OK) != 0)
        return error_set(err, BRAID_E_IO, RECORD_SQLITE, "'%s' may not be read (%s): give this user the right", s->path,
                         strerror(errno));
    if (!s->options.read_only && euidaccess(s->path, W_OK) != 0)
        return error_set(err, BRAID_E_READ_ONLY, RECORD_SQLITE,
                         "'%s' may not be written (%s): make the file writable for this user, or copy it elsewhere",
                         s->path, strerror(errno));
    return BRAID_OK;
}

/* A database in WAL mode wants a -shm beside it even to be read; where none can be made, nobody can write either,
 * and SQLite may be told so. */
static bool record_sqlite_folder_fixed(const record_sqlite *s) {
    char *side = record_sqlite_beside(s, "-shm");
    bool fixed = side != NULL && access(side, F_OK) != 0;
    char *slash = side != NULL ? strrchr(side, '/') : NULL;
    if (slash != NULL) slash[slash == side ? 1 : 0] = '\0';
    fixed = fixed && euidaccess(slash != NULL ? side : ".", W_OK) != 0;
    free(side);
    return fixed;
}

int record_sqlite_peek(record_sqlite *s, bool *fresh, braid_error *err) {
    header h;
    bool there = false;
    int code = BRAID_OK;
    if (s->options.vfs == NULL) code = record_sqlite_peek_path(s, &there, err);
    if (code == BRAID_OK) code = header_read(s, &h, err);
    if (code != BRAID_OK) return code;
    if (there && !h.there) return error_set(err, BRAID_E_IO, RECORD_SQLITE, "'%s' cannot be opened", s->path);
    if (!h.there && (!s->options.create || s->options.read_only))
        return error_set(err, BRAID_E_NOT_FOUND, RECORD_SQLITE, "there is no database '%s'", s->path);
    *fresh = !h.there || h.bytes == 0;
    if (*fresh && s->options.read_only)
        return error_set(err, BRAID_E_NOT_A_DATABASE, RECORD_SQLITE,
                         "'%s' is empty, and it was opened for reading only", s->path);
    if (!*fresh) code = header_judge(s, &h, err);
    if (code == BRAID_OK && s->options.read_only && s->options.vfs == NULL && !h.wal)
        s->immutable = record_sqlite_folder_fixed(s);
    return code;
}

char *record_sqlite_uri(const record_sqlite *s) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~";
    buf b;
    buf_init(&b, 0);
    buf_puts(&b, "file:");
    for (const char *p = s->path; *p != '\0'; p++) {
        if (strchr(plain, *p) != NULL)
            buf_putc(&b, *p);
        else
            buf_printf(&b, "%%%02X", (unsigned)(unsigned char)*p);
    }
    if (s->immutable) buf_puts(&b, "?immutable=1");
    if (b.failed) {
        buf_free(&b);
        return NULL;
    }
    return buf_steal(&b);
}
