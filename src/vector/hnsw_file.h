/* The head of a FILE-hnsw snapshot, as docs/format.md draws it. Private to hnsw_save.c and hnsw_load.c. */
#ifndef VECTOR_HNSW_FILE_H
#define VECTOR_HNSW_FILE_H

#include <stddef.h>
#include <stdint.h>

#define HNSW_FILE_MAGIC "BRAIDHNW"
#define HNSW_FILE_ORDER UINT32_C(0x01020304)

enum {
    HNSW_FILE_VERSION = 1,
    HNSW_FILE_BUFFER = 1 << 20 /* bytes read or written at a time */
};

typedef enum hnsw_section { SECTION_NODES, SECTION_LINKS, SECTION_UPPER, SECTION_VECTORS, SECTIONS } hnsw_section;

typedef struct hnsw_file_section {
    uint64_t offset, bytes, xxh3;
} hnsw_file_section;
typedef struct hnsw_file_node {
    uint32_t num, level;
} hnsw_file_node;

typedef struct hnsw_file_head {
    char magic[8];
    uint32_t version, order, head_bytes, dim, m, max_level;
    uint64_t count, lsn, epoch, inserts;
    uint32_t entry, zero;
    hnsw_file_section sections[SECTIONS];
    uint8_t reserved[80];
    uint64_t xxh3; /* of all bytes before it */
} hnsw_file_head;

_Static_assert(sizeof(hnsw_file_head) == 256 && offsetof(hnsw_file_head, xxh3) == 248,
               "the head is 256 bytes without gaps");

#endif
