/* See powerloss_vfs.h. One mutex guards everything; the files are few and small. */
#include "powerloss_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES = 8, NAME_BYTES = 512, SECTOR = 512, REGIONS = 16, SHM_LOCKS = SQLITE_SHM_NLOCK };

typedef struct bytes {
    unsigned char *data;
    int64_t size, room;
} bytes;
typedef struct pending {
    struct pending *next;
    int64_t at, size;
    bool truncate;
    unsigned char data[];
} pending;

typedef struct disk_file {
    char name[NAME_BYTES];
    bool there, ghost; /* ghost: deleted, but the deletion is not durable */
    unsigned handles;
    bytes now, durable;
    pending *first, **last;
    unsigned shared;
    void *reserved, *exclusive; /* SQLite's locks on the main file */
    void *regions[REGIONS];
    int region_bytes;
    unsigned shm_handles;
    unsigned shm_shared[SHM_LOCKS];
    void *shm_exclusive[SHM_LOCKS];
} disk_file;

struct powerloss {
    sqlite3_vfs vfs;
    pthread_mutex_t mutex;
    uint64_t seed, operations, cut_at, fail_at;
    int fail_code;
    bool fail_writes, fail_syncs, failed, off;
    disk_file files[FILES];
};

typedef struct handle {
    sqlite3_file base;
    powerloss *p;
    disk_file *f;
    int lock;
    unsigned shm_mask[2]; /* held: shared, exclusive */
    bool shm;
} handle;

static uint64_t dice(powerloss *p, uint64_t sides) {
    uint64_t z = (p->seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % sides;
}

static void must(bool ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "powerloss_vfs: %s\n", what);
        abort();
    }
}

static void bytes_resize(bytes *b, int64_t size) {
    if (size > b->room) {
        int64_t room = size * 2;
        b->data = realloc(b->data, (size_t)room);
        must(b->data != NULL, "no memory");
        b->room = room;
    }
    if (size > b->size) memset(b->data + b->size, 0, (size_t)(size - b->size));
    b->size = size;
}

static void bytes_write(bytes *b, int64_t at, const void *data, int64_t size) {
    if (at + size > b->size) bytes_resize(b, at + size);
    if (size > 0) memcpy(b->data + at, data, (size_t)size);
}

/* ---- power ---- */

/* Counts an operation; SQLITE_OK if it may happen. */
static int operate(powerloss *p, bool writes, bool syncs) {
    p->operations++;
    if (p->cut_at != 0 && p->operations >= p->cut_at) p->off = true;
    if (p->off) return syncs ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE;
    if (p->fail_at != 0 && ((writes && p->fail_writes) || (syncs && p->fail_syncs)) && --p->fail_at == 0) {
        p->failed = true;
        return p->fail_code == SQLITE_FULL ? SQLITE_FULL : syncs ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE;
    }
    return SQLITE_OK;
}

static void pending_free(disk_file *f) {
    while (f->first != NULL) {
        pending *next = f->first->next;
        free(f->first);
        f->first = next;
    }
    f->last = &f->first;
}

static void pending_add(disk_file *f, bool truncate, int64_t at, const void *data, int64_t size) {
    pending *w = malloc(sizeof *w + (size_t)(truncate ? 0 : size));
    must(w != NULL, "no memory");
    *w = (pending){.at = at, .size = size, .truncate = truncate};
    if (!truncate) memcpy(w->data, data, (size_t)size);
    *f->last = w;
    f->last = &w->next;
}

static void pending_settle(disk_file *f) {
    for (pending *w = f->first; w != NULL; w = w->next) {
        if (w->truncate)
            bytes_resize(&f->durable, w->size);
        else
            bytes_write(&f->durable, w->at, w->data, w->size);
    }
    pending_free(f);
}

/* What the disk holds of one file after the loss. */
static void lose(powerloss *p, disk_file *f) {
    uint64_t mood = dice(p, 4); /* all kept, all dropped, each write for itself, each sector for itself */
    for (pending *w = f->first; w != NULL; w = w->next) {
        bool keep = mood == 0 || (mood >= 2 && dice(p, 2) == 0);
        if (w->truncate) {
            if (keep) bytes_resize(&f->durable, w->size);
            continue;
        }
        if (mood < 3) {
            if (keep) bytes_write(&f->durable, w->at, w->data, w->size);
            continue;
        }
        for (int64_t at = w->at; at < w->at + w->size;) {
            int64_t end = (at / SECTOR + 1) * SECTOR;
            end = end < w->at + w->size ? end : w->at + w->size;
            if (dice(p, 2) == 0) bytes_write(&f->durable, at, w->data + (at - w->at), end - at);
            at = end;
        }
    }
    pending_free(f);
}

static void file_forget(disk_file *f) {
    pending_free(f);
    f->now.size = f->durable.size = 0;
    f->there = f->ghost = false;
}

void powerloss_reboot(powerloss *p) {
    pthread_mutex_lock(&p->mutex);
    for (int i = 0; i < FILES; i++) {
        disk_file *f = &p->files[i];
        must(f->handles == 0, "a file is open at reboot");
        if (f->ghost && dice(p, 2) == 0) file_forget(f);
        if (!f->there && !f->ghost) continue;
        lose(p, f);
        f->there = true;
        f->ghost = false;
        bytes_resize(&f->now, 0);
        bytes_write(&f->now, 0, f->durable.data, f->durable.size);
    }
    p->off = false;
    p->cut_at = p->fail_at = 0;
    p->failed = false;
    pthread_mutex_unlock(&p->mutex);
}

void powerloss_erase(powerloss *p) {
    pthread_mutex_lock(&p->mutex);
    for (int i = 0; i < FILES; i++) {
        must(p->files[i].handles == 0, "a file is open while all are erased");
        file_forget(&p->files[i]);
    }
    pthread_mutex_unlock(&p->mutex);
}

void powerloss_cut_at(powerloss *p, uint64_t n) {
    pthread_mutex_lock(&p->mutex);
    p->cut_at = n == 0 ? 0 : p->operations + n;
    pthread_mutex_unlock(&p->mutex);
}

void powerloss_fail_at(powerloss *p, uint64_t n, int code, bool writes, bool syncs) {
    pthread_mutex_lock(&p->mutex);
    p->fail_at = n;
    p->fail_code = code;
    p->fail_writes = writes;
    p->fail_syncs = syncs;
    p->failed = false;
    pthread_mutex_unlock(&p->mutex);
}

bool powerloss_failed(const powerloss *p) {
    return p->failed;
}

uint64_t powerloss_operations(const powerloss *p) {
    return p->operations;
}

/* ---- files ---- */

static disk_file *file_find(powerloss *p, const char *name, bool create) {
    disk_file *room = NULL;
    for (int i = 0; i < FILES; i++) {
        disk_file *f = &p->files[i];
        if (strcmp(f->name, name) == 0 && (f->there || create)) return f;
        if (room == NULL && !f->there && !f->ghost && f->handles == 0) room = f;
    }
    if (!create) return NULL;
    must(room != NULL && strlen(name) < NAME_BYTES, "too many files");
    strcpy(room->name, name);
    return room;
}

static int on_close(sqlite3_file *file) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    h->f->handles--;
    pthread_mutex_unlock(&h->p->mutex);
    return SQLITE_OK;
}

static int on_read(sqlite3_file *file, void *out, int size, sqlite3_int64 at) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    int rc = h->p->off ? SQLITE_IOERR_READ : SQLITE_OK;
    int64_t left = h->f->now.size - at, have = left < 0 ? 0 : left < size ? left : size;
    if (rc == SQLITE_OK && have > 0) memcpy(out, h->f->now.data + at, (size_t)have);
    if (rc == SQLITE_OK && have < size) {
        memset((char *)out + have, 0, (size_t)(size - have));
        rc = SQLITE_IOERR_SHORT_READ;
    }
    pthread_mutex_unlock(&h->p->mutex);
    return rc;
}

static int on_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 at) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    int rc = operate(h->p, true, false);
    if (rc == SQLITE_OK) bytes_write(&h->f->now, at, data, size);
    if (rc == SQLITE_OK || h->p->off) /* the write under way when the power went may be on the disk in part */
        pending_add(h->f, false, at, data, size);
    pthread_mutex_unlock(&h->p->mutex);
    return rc;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    int rc = operate(h->p, true, false);
    if (rc == SQLITE_OK) {
        bytes_resize(&h->f->now, size);
        pending_add(h->f, true, 0, NULL, size);
    }
    pthread_mutex_unlock(&h->p->mutex);
    return rc;
}

static int on_sync(sqlite3_file *file, int flags) {
    handle *h = (handle *)file;
    (void)flags;
    pthread_mutex_lock(&h->p->mutex);
    int rc = operate(h->p, false, true);
    if (rc == SQLITE_OK)
        pending_settle(h->f);
    else if (!h->p->off)
        lose(h->p, h->f); /* the pages are clean now, and some never reached the disk */
    pthread_mutex_unlock(&h->p->mutex);
    return rc;
}

static int on_size(sqlite3_file *file, sqlite3_int64 *out) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    *out = h->f->now.size;
    pthread_mutex_unlock(&h->p->mutex);
    return SQLITE_OK;
}

static bool lock_free(handle *h, int level) {
    disk_file *f = h->f;
    if (f->exclusive != NULL && f->exclusive != h) return false;
    if (level >= SQLITE_LOCK_RESERVED && f->reserved != NULL && f->reserved != h) return false;
    return level < SQLITE_LOCK_EXCLUSIVE || f->shared == (h->lock >= SQLITE_LOCK_SHARED ? 1 : 0);
}

static int on_lock(sqlite3_file *file, int level) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    bool ok = h->lock >= level || lock_free(h, level);
    if (ok && h->lock < level) {
        h->f->shared += h->lock == SQLITE_LOCK_NONE;
        h->f->reserved = level >= SQLITE_LOCK_RESERVED ? h : h->f->reserved;
        h->f->exclusive = level >= SQLITE_LOCK_EXCLUSIVE ? h : h->f->exclusive;
        h->lock = level;
    }
    pthread_mutex_unlock(&h->p->mutex);
    return ok ? SQLITE_OK : SQLITE_BUSY;
}

static int on_unlock(sqlite3_file *file, int level) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    if (h->lock > level) {
        h->f->reserved = h->f->reserved == h ? NULL : h->f->reserved;
        h->f->exclusive = h->f->exclusive == h ? NULL : h->f->exclusive;
        h->f->shared -= level == SQLITE_LOCK_NONE && h->lock >= SQLITE_LOCK_SHARED;
        h->lock = level;
    }
    pthread_mutex_unlock(&h->p->mutex);
    return SQLITE_OK;
}

static int on_check_reserved(sqlite3_file *file, int *out) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    *out = h->f->reserved != NULL;
    pthread_mutex_unlock(&h->p->mutex);
    return SQLITE_OK;
}

static int on_control(sqlite3_file *file, int op, void *arg) {
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int on_sector(sqlite3_file *file) {
    (void)file;
    return 4096; /* as the real unix VFS says */
}

static int on_character(sqlite3_file *file) {
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- shared memory of the WAL ---- */

static int on_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    must(region < REGIONS, "too much shared memory");
    if (!h->shm) {
        h->shm = true;
        h->f->shm_handles++;
    }
    if (h->f->regions[region] == NULL && extend) {
        h->f->regions[region] = calloc(1, (size_t)size);
        must(h->f->regions[region] != NULL, "no memory");
    }
    *out = h->f->regions[region];
    pthread_mutex_unlock(&h->p->mutex);
    return SQLITE_OK;
}

static bool shm_lock_one(handle *h, int i, int flags) {
    disk_file *f = h->f;
    unsigned bit = 1u << i;
    if (flags & SQLITE_SHM_UNLOCK) {
        if (h->shm_mask[1] & bit)
            f->shm_exclusive[i] = NULL;
        else if (h->shm_mask[0] & bit)
            f->shm_shared[i]--;
        h->shm_mask[0] &= ~bit;
        h->shm_mask[1] &= ~bit;
        return true;
    }
    bool mine = (h->shm_mask[0] & bit) != 0;
    if (f->shm_exclusive[i] != NULL || ((flags & SQLITE_SHM_EXCLUSIVE) && f->shm_shared[i] > (mine ? 1u : 0u)))
        return false;
    if (flags & SQLITE_SHM_EXCLUSIVE) {
        f->shm_exclusive[i] = h;
        h->shm_mask[1] |= bit;
    } else if (!mine) {
        f->shm_shared[i]++;
        h->shm_mask[0] |= bit;
    }
    return true;
}

static int on_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
    handle *h = (handle *)file;
    int done = 0;
    pthread_mutex_lock(&h->p->mutex);
    while (done < n && shm_lock_one(h, offset + done, flags)) done++;
    bool ok = done == n;
    while (!ok && done > 0) shm_lock_one(h, offset + --done, SQLITE_SHM_UNLOCK);
    pthread_mutex_unlock(&h->p->mutex);
    return ok ? SQLITE_OK : SQLITE_BUSY;
}

static void on_shm_barrier(sqlite3_file *file) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->p->mutex);
    pthread_mutex_unlock(&h->p->mutex);
}

static int on_shm_unmap(sqlite3_file *file, int drop) {
    handle *h = (handle *)file;
    (void)drop;
    pthread_mutex_lock(&h->p->mutex);
    for (int i = 0; i < SHM_LOCKS; i++) shm_lock_one(h, i, SQLITE_SHM_UNLOCK);
    if (h->shm && --h->f->shm_handles == 0)
        for (int i = 0; i < REGIONS; i++) {
            free(h->f->regions[i]);
            h->f->regions[i] = NULL;
        }
    h->shm = false;
    pthread_mutex_unlock(&h->p->mutex);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = on_close,
                                           .xRead = on_read,
                                           .xWrite = on_write,
                                           .xTruncate = on_truncate,
                                           .xSync = on_sync,
                                           .xFileSize = on_size,
                                           .xLock = on_lock,
                                           .xUnlock = on_unlock,
                                           .xCheckReservedLock = on_check_reserved,
                                           .xFileControl = on_control,
                                           .xSectorSize = on_sector,
                                           .xDeviceCharacteristics = on_character,
                                           .xShmMap = on_shm_map,
                                           .xShmLock = on_shm_lock,
                                           .xShmBarrier = on_shm_barrier,
                                           .xShmUnmap = on_shm_unmap};

/* ---- names ---- */

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags) {
    powerloss *p = vfs->pAppData;
    handle *h = (handle *)file;
    memset(h, 0, sizeof *h);
    must(name != NULL, "a temporary file is asked for");
    pthread_mutex_lock(&p->mutex);
    disk_file *f = p->off ? NULL : file_find(p, name, (flags & SQLITE_OPEN_CREATE) != 0);
    if (f != NULL) {
        if (!f->there) file_forget(f);
        f->there = true;
        f->handles++;
        h->base.pMethods = &methods;
        h->p = p;
        h->f = f;
        if (out_flags != NULL) *out_flags = flags;
    }
    pthread_mutex_unlock(&p->mutex);
    return f != NULL ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    powerloss *p = vfs->pAppData;
    pthread_mutex_lock(&p->mutex);
    int rc = operate(p, true, false);
    disk_file *f = rc == SQLITE_OK ? file_find(p, name, false) : NULL;
    if (rc == SQLITE_OK && f == NULL) rc = SQLITE_IOERR_DELETE_NOENT;
    if (f != NULL) {
        f->there = false;
        f->ghost = !sync;
        if (sync) file_forget(f);
    }
    pthread_mutex_unlock(&p->mutex);
    return rc;
}

static int on_access(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
    powerloss *p = vfs->pAppData;
    (void)flags;
    pthread_mutex_lock(&p->mutex);
    const disk_file *f = file_find(p, name, false);
    *out = f != NULL && f->now.size > 0;
    int rc = p->off ? SQLITE_IOERR_ACCESS : SQLITE_OK;
    pthread_mutex_unlock(&p->mutex);
    return rc;
}

static int on_full_name(sqlite3_vfs *vfs, const char *name, int room, char *out) {
    (void)vfs;
    sqlite3_snprintf(room, out, "%s", name);
    return SQLITE_OK;
}

static int on_random(sqlite3_vfs *vfs, int n, char *out) {
    powerloss *p = vfs->pAppData;
    pthread_mutex_lock(&p->mutex);
    for (int i = 0; i < n; i++) out[i] = (char)dice(p, 256);
    pthread_mutex_unlock(&p->mutex);
    return n;
}

static int on_sleep(sqlite3_vfs *vfs, int us) {
    sqlite3_vfs *real = sqlite3_vfs_find("unix");
    (void)vfs;
    return real->xSleep(real, us);
}

static int on_time(sqlite3_vfs *vfs, sqlite3_int64 *out) {
    sqlite3_vfs *real = sqlite3_vfs_find("unix");
    (void)vfs;
    return real->xCurrentTimeInt64(real, out);
}

static int on_last_error(sqlite3_vfs *vfs, int n, char *out) {
    (void)vfs;
    (void)n;
    (void)out;
    return 0;
}

powerloss *powerloss_new(const char *name, uint64_t seed) {
    powerloss *p = calloc(1, sizeof *p);
    must(p != NULL, "no memory");
    p->seed = seed;
    pthread_mutex_init(&p->mutex, NULL);
    for (int i = 0; i < FILES; i++) p->files[i].last = &p->files[i].first;
    p->vfs = (sqlite3_vfs){.iVersion = 2,
                           .szOsFile = sizeof(handle),
                           .mxPathname = NAME_BYTES - 16,
                           .zName = name,
                           .pAppData = p,
                           .xOpen = on_open,
                           .xDelete = on_delete,
                           .xAccess = on_access,
                           .xFullPathname = on_full_name,
                           .xRandomness = on_random,
                           .xSleep = on_sleep,
                           .xGetLastError = on_last_error,
                           .xCurrentTimeInt64 = on_time};
    must(sqlite3_vfs_register(&p->vfs, 0) == SQLITE_OK, "cannot register");
    return p;
}

void powerloss_free(powerloss *p) {
    sqlite3_vfs_unregister(&p->vfs);
    for (int i = 0; i < FILES; i++) {
        must(p->files[i].handles == 0, "a file is open at the end");
        pending_free(&p->files[i]);
        free(p->files[i].now.data);
        free(p->files[i].durable.data);
    }
    pthread_mutex_destroy(&p->mutex);
    free(p);
}
