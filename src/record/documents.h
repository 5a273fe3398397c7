/* Private to src/record: what a document, a slate and an episode must be, the same in every store. */
#ifndef RECORD_DOCUMENTS_H
#define RECORD_DOCUMENTS_H

#include "record/record.h"

#define RECORD_REMOVABLE                                                                                               \
    (RECORD_MASK(RECORD_ITEM) | RECORD_MASK(RECORD_RELATION) | RECORD_MASK(RECORD_USER) |                              \
     RECORD_MASK(RECORD_NEIGHBOURS) | RECORD_MASK(RECORD_DOCUMENT))
#define RECORD_REMOVABLE_ONLY "only items, relations, users, neighbours and documents can be removed"

bool record_document_kind_valid(const char *kind); /* NULL allowed */
bool record_id_valid(const char *id);              /* 1..MODEL_ID_BYTES_MAX bytes of UTF-8; NULL allowed */
/* BRAID_OK, or why the row must not be written; *why is the sentence for it. */
int record_document_check(const record_document *row, bool remove, const char **why);
int record_slate_check(const record_slate *row, const char **why);
int record_episode_check(const record_episode *row, const char **why);

#endif
