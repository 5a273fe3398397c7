/* Memory that runs out on request: included by ONE file of a test program, it replaces the program's allocator.
 *
 * The n-th request for memory, counted over all threads, gets NULL; or that one and all after it. What is allocated
 * and not yet freed is counted too, so that a test can show that a failure left nothing behind. glibc lets a program
 * define malloc and its family for itself and for the libraries it uses (SQLite, jansson, libyaml). Under gcc's
 * sanitizers, whose libraries define them as well, requests are handed on to theirs, so that a leak or a use after a
 * failure is also seen by them; elsewhere MEMORY_CAN_FAIL is 0 and such tests are skipped.
 *
 * CRoaring 0.2.66 does not look at what malloc returns and has no hook for an allocator; requests from inside its
 * library are never refused. Refusing them would test CRoaring, and crash. Nor are, under AddressSanitizer, those of
 * the C library, on which its threads depend to begin. */
#ifndef FAILING_MEMORY_H
#define FAILING_MEMORY_H

#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__GLIBC__) || defined(__SANITIZE_THREAD__) || (defined(__clang__) && defined(__SANITIZE_ADDRESS__))
#define MEMORY_CAN_FAIL 0
#else
#define MEMORY_CAN_FAIL 1
#endif

static _Atomic long memory_left;                        /* requests until the one that fails; 0: none fails */
static _Atomic bool memory_for_ever;                    /* and all after it */
static _Atomic long memory_refusals;                    /* since memory_fail_at */
static _Atomic long memory_requests;                    /* since memory_fail_at */
static _Atomic long memory_live_count;                  /* blocks allocated and not freed */
static struct { uintptr_t from, to; } memory_exempt[2]; /* code whose requests are not refused */
static unsigned memory_exempt_count;

/* AddressSanitizer's strdup and the like ask past this file, so there its leak check counts instead, and this is 0. */
static inline long memory_live(void) {
#ifdef __SANITIZE_ADDRESS__
    return 0;
#else
    return atomic_load(&memory_live_count);
#endif
}

/* From now on the n-th request fails (n >= 1), and with `ever` all after it. 0: none. */
static inline void memory_fail_at(long n, bool ever) {
    atomic_store(&memory_left, 0);
    atomic_store(&memory_for_ever, ever);
    atomic_store(&memory_refusals, 0);
    atomic_store(&memory_requests, 0);
    atomic_store(&memory_left, n);
}

/* Ends it; returns how many requests were refused. */
static inline long memory_recover(void) {
    atomic_store(&memory_left, 0);
    return atomic_load(&memory_refusals);
}

static int memory_find_exempt(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size;
    (void)unused;
    bool exempt = strstr(info->dlpi_name, "libroaring") != NULL;
#ifdef __SANITIZE_ADDRESS__
    exempt |= strstr(info->dlpi_name, "libc.so") != NULL;
#endif
    for (int i = 0; exempt && i < info->dlpi_phnum && memory_exempt_count < 2; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_X) == 0) continue;
        memory_exempt[memory_exempt_count].from = info->dlpi_addr + p->p_vaddr;
        memory_exempt[memory_exempt_count++].to = info->dlpi_addr + p->p_vaddr + p->p_memsz;
    }
    return 0;
}

/* Once, before anything is made to fail. */
static inline void memory_prepare(void) {
    memory_exempt_count = 0;
    dl_iterate_phdr(memory_find_exempt, NULL);
}

#if MEMORY_CAN_FAIL

#ifdef __SANITIZE_ADDRESS__
#define MEMORY_REAL(name) __interceptor_##name
void *__interceptor_malloc(size_t size);
void *__interceptor_calloc(size_t count, size_t size);
void *__interceptor_realloc(void *at, size_t size);
void *__interceptor_memalign(size_t alignment, size_t size);
void __interceptor_free(void *at);
#else /* glibc's own functions under their other names */
#define MEMORY_REAL(name) __libc_##name
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *at);
#endif
/* Not instrumented: the first calls come before the sanitizer has begun. */
#define MEMORY_PLAIN  __attribute__((no_sanitize("address", "undefined")))
#define MEMORY_EXPORT MEMORY_PLAIN __attribute__((visibility("default")))

MEMORY_PLAIN static bool memory_refused(const void *caller) {
    long left = atomic_load(&memory_left);
    if (left == 0) return false;
    for (unsigned i = 0; i < memory_exempt_count; i++)
        if ((uintptr_t)caller >= memory_exempt[i].from && (uintptr_t)caller < memory_exempt[i].to) return false;
    atomic_fetch_add(&memory_requests, 1);
    /* 1 stays 1 when it is for ever */
    while (!(left == 1 && atomic_load(&memory_for_ever)) &&
           !atomic_compare_exchange_weak(&memory_left, &left, left - 1))
        if (left == 0) return false;
    if (left != 1) return false;
    atomic_fetch_add(&memory_refusals, 1);
    errno = ENOMEM;
    return true;
}

MEMORY_PLAIN static void *memory_counted(void *at) {
    if (at != NULL) atomic_fetch_add_explicit(&memory_live_count, 1, memory_order_relaxed);
    return at;
}

MEMORY_EXPORT void *malloc(size_t size) {
    return memory_refused(__builtin_return_address(0)) ? NULL : memory_counted(MEMORY_REAL(malloc)(size));
}

MEMORY_EXPORT void *calloc(size_t count, size_t size) {
    return memory_refused(__builtin_return_address(0)) ? NULL : memory_counted(MEMORY_REAL(calloc)(count, size));
}

MEMORY_EXPORT void *realloc(void *at, size_t size) {
    if (memory_refused(__builtin_return_address(0))) return NULL;
    void *moved = MEMORY_REAL(realloc)(at, size);
    if (at == NULL && moved != NULL)
        memory_counted(moved);
    else if (at != NULL && size == 0 && moved == NULL)
        atomic_fetch_sub_explicit(&memory_live_count, 1, memory_order_relaxed);
    return moved;
}

MEMORY_EXPORT void *memalign(size_t alignment, size_t size) {
    return memory_refused(__builtin_return_address(0)) ? NULL : memory_counted(MEMORY_REAL(memalign)(alignment, size));
}

MEMORY_EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    return memory_refused(__builtin_return_address(0)) ? NULL : memory_counted(MEMORY_REAL(memalign)(alignment, size));
}

MEMORY_EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
    if (memory_refused(__builtin_return_address(0))) return ENOMEM;
    void *at = memory_counted(MEMORY_REAL(memalign)(alignment, size));
    if (at == NULL) return ENOMEM;
    *out = at;
    return 0;
}

MEMORY_EXPORT void free(void *at) {
    if (at != NULL) atomic_fetch_sub_explicit(&memory_live_count, 1, memory_order_relaxed);
    MEMORY_REAL(free)(at);
}

#endif
#endif
