/* Documents, slates and episodes: what may be written.
 *
 * A document's body must be a JSON object, since every face of Braid will print it inside of JSON; it is parsed once
 * on the caller's thread and kept byte for byte. What it means is known to the rooms above alone. A slate's body is
 * theirs too, and is not looked at: one is written for every answer. */
#include "record/documents.h"

#include <math.h>
#include <string.h>

enum { DOCUMENT_DEPTH_MAX = 64 };
_Static_assert(RECORD_DOCUMENT_KIND_MAX == 32 && RECORD_DOCUMENT_BYTES_MAX == 1 << 20 && MODEL_ID_BYTES_MAX == 255 &&
                   RECORD_STATE_DIM_MAX == 4096,
               "the sentences of refusal say so");

bool record_document_kind_valid(const char *kind) {
    if (kind == NULL) return false;
    size_t len = strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return len > 0 && len <= RECORD_DOCUMENT_KIND_MAX && kind[len] == '\0';
}

bool record_id_valid(const char *id) {
    size_t len = id != NULL ? strlen(id) : 0;
    return len > 0 && len <= MODEL_ID_BYTES_MAX && utf8_valid(id, len);
}

static int object_check(const char *body, size_t len, const char **why) {
    static const model_limits limits = {.json_bytes_max = RECORD_DOCUMENT_BYTES_MAX,
                                        .json_depth_max = DOCUMENT_DEPTH_MAX};
    json_t *json = NULL;
    *why = "a document's body is a JSON object";
    if (memchr(body, '\0', len) != NULL) return BRAID_E_INVALID; /* a text of a store ends there */
    int code = model_json_parse(body, len, &limits, &json, NULL);
    if (code == BRAID_OK && !json_is_object(json)) code = BRAID_E_INVALID;
    json_decref(json);
    return code;
}

int record_document_check(const record_document *row, bool remove, const char **why) {
    *why = "a document's kind has 1..32 letters a-z, digits, _ or -";
    if (!record_document_kind_valid(row->kind)) return BRAID_E_INVALID;
    *why = "a document's id has 1..255 bytes of UTF-8";
    if (!record_id_valid(row->id)) return BRAID_E_INVALID;
    *why = "no document has such a version";
    if (row->expect > INT64_MAX && row->expect != RECORD_ANY_VERSION) return BRAID_E_INVALID;
    if (remove) return BRAID_OK;
    *why = "a document has at most 1048576 bytes";
    if (row->body_len > RECORD_DOCUMENT_BYTES_MAX) return BRAID_E_TOO_LARGE;
    *why = "a document's body is a JSON object";
    return row->body != NULL ? object_check(row->body, row->body_len, why) : BRAID_E_INVALID;
}

int record_slate_check(const record_slate *row, const char **why) {
    *why = "a slate's id has 1..255 bytes of UTF-8";
    if (!record_id_valid(row->id)) return BRAID_E_INVALID;
    *why = "a slate names its agent in 1..255 bytes of UTF-8";
    if (!record_id_valid(row->agent)) return BRAID_E_INVALID;
    *why = "a slate names its person in at most 255 bytes of UTF-8";
    if (row->user == NULL || (row->user[0] != '\0' && !record_id_valid(row->user))) return BRAID_E_INVALID;
    *why = "a slate says when it was shown";
    if (row->at == TIME_NONE) return BRAID_E_INVALID;
    *why = "a slate explores no more places than it has";
    if (row->explored > row->places || row->places > RECORD_SLATE_PLACES_MAX) return BRAID_E_INVALID;
    *why = "a slate has 1..1048576 bytes";
    if (row->body == NULL || row->body_len == 0) return BRAID_E_INVALID;
    return row->body_len <= RECORD_DOCUMENT_BYTES_MAX ? BRAID_OK : BRAID_E_TOO_LARGE;
}

static bool no_text(const char *text) {
    return text == NULL || text[0] == '\0';
}

int record_episode_check(const record_episode *row, const char **why) {
    *why = "an episode's reward is NaN or infinite";
    if (!isfinite(row->reward)) return BRAID_E_NOT_FINITE;
    *why = "a state vector has 1..4096 dimensions";
    if (row->vector != NULL && (row->dim < 1 || row->dim > RECORD_STATE_DIM_MAX)) return BRAID_E_INVALID;
    *why = "a state vector holds NaN or infinity";
    for (uint32_t i = 0; row->vector != NULL && i < row->dim; i++)
        if (!isfinite(row->vector[i])) return BRAID_E_NOT_FINITE;
    *why = "an episode's state has no hash";
    if (row->state_hash == NULL) return BRAID_E_INVALID;
    if (row->interaction_lsn != 0) return BRAID_OK;
    *why = "an episode names a user and an item of 1..255 bytes of UTF-8";
    if (!record_id_valid(row->user) || !record_id_valid(row->action)) return BRAID_E_INVALID;
    *why = "an episode names its agent in at most 255 bytes of UTF-8";
    if (!no_text(row->agent) && !record_id_valid(row->agent)) return BRAID_E_INVALID;
    *why = "an episode's key has at most 255 bytes of UTF-8";
    return no_text(row->key) || record_id_valid(row->key) ? BRAID_OK : BRAID_E_INVALID;
}
