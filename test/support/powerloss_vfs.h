/* An SQLite VFS in memory whose power can be cut.
 *
 * A write changes what can be read at once, but survives the next power loss only if a sync came after it. At
 * powerloss_reboot() every write that was not synced is kept, dropped, or torn at 512 bytes, at random. This is what
 * kill -9 cannot show: the kernel keeps the page cache of a dead process. A failed sync drops what it should have
 * made durable, as Linux does: the next one succeeds and means nothing.
 *
 * Thread-safe. Everything is replayed by the seed (with one thread of writers). */
#ifndef POWERLOSS_VFS_H
#define POWERLOSS_VFS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct powerloss powerloss;

powerloss *powerloss_new(const char *name, uint64_t seed); /* registers the VFS; `name` must outlive it */
void powerloss_free(powerloss *p);                         /* every file must be closed */

/* An operation is a write, truncation, sync or deletion. Cuts the power at the n-th from now (1: the next one); 0:
 * never. From then on everything fails with SQLITE_IOERR. */
void powerloss_cut_at(powerloss *p, uint64_t n);
/* Lets the n-th write (truncations and deletions count as such) or sync from now fail with `code`: SQLITE_IOERR,
 * SQLITE_FULL. */
void powerloss_fail_at(powerloss *p, uint64_t n, int code, bool writes, bool syncs);
bool powerloss_failed(const powerloss *p);         /* did that happen? */
uint64_t powerloss_operations(const powerloss *p); /* since the beginning */

/* The power comes back. Every file must be closed. */
void powerloss_reboot(powerloss *p);
void powerloss_erase(powerloss *p); /* removes all files */

#endif
