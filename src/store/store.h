/* The store: records of cells and documents of runs in one SQLite file. One transaction each; what was
 * committed is there, whenever the process was killed.
 *
 * One process writes at a time: it holds a lock beside the file (PATH.lock) while the store is open for
 * writing, others wait for it. Readers do not wait. Settings, schema and rules: docs/store.md.
 */
#ifndef KVL_STORE_STORE_H
#define KVL_STORE_STORE_H

#include "base/str.h"
#include "store/record.h"

typedef struct kvl_store kvl_store;

typedef enum kvl_store_mode {
    KVL_STORE_READ,  /* must be there */
    KVL_STORE_WRITE, /* is made if it is not there */
} kvl_store_mode;

/* Called about every 200 ms while another process has the lock, with its number (0: not known); false stops
 * with E_INTERRUPTED. Where it is NULL nobody waits: E_STORE. */
typedef bool kvl_store_wait(void *ud, long pid);

/* Opens it. Errors: E_IO (no such file, no permission, a network file system that cannot lock), E_STORE for a
 * file that is none of ours, of a newer version, or damaged: says what is wrong with which file. */
kvl_status kvl_store_open(kvl_store **out, const char *path, kvl_store_mode mode, kvl_store_wait *wait,
                          void *ud, kvl_err *err) KVL_MUST_USE;
void kvl_store_close(kvl_store *s);
/* The path it was opened with, borrowed. */
const char *kvl_store_path(const kvl_store *s);

/* ---- cells ---- */

/* Adds a record in a transaction of its own; durable when it returns. A record of the same key that is there
 * already is left, if its NLLs are the same bits; otherwise E_CHECK names both. Errors: E_IO (also a full
 * disk: says how many bytes were asked for; all that was there before is still there). */
kvl_status kvl_store_put(kvl_store *s, const kvl_record *record, kvl_err *err) KVL_MUST_USE;
/* Whether a cell of this key is done; reads it whole, with its NLLs, into *out (caller's), which is checked
 * against its checksum: E_STORE naming the key. *is_there false: there is none. */
kvl_status kvl_store_get(kvl_store *s, const char *key, kvl_record *out, bool *is_there,
                         kvl_err *err) KVL_MUST_USE;
/* The first key that begins so, and how many do: 0, 1, or 2 for more. */
kvl_status kvl_store_find_key(kvl_store *s, const char *prefix, char out[KVL_KEY_TEXT], size_t *n_found,
                              kvl_err *err) KVL_MUST_USE;
/* All records of a group without NLLs and without identity and facts (NULL), baselines first, then by policy
 * in the order of arrival, then by sample. */
kvl_status kvl_store_list(kvl_store *s, const char *group, kvl_records *out, kvl_err *err) KVL_MUST_USE;

/* What was stored under one group. */
typedef struct kvl_store_group {
    char group[KVL_KEY_TEXT];
    char *model, *preset, *protocol; /* of its newest record */
    size_t n_cells, n_failed;
    char newest[21]; /* UTC */
} kvl_store_group;
typedef struct kvl_store_groups {
    kvl_store_group *items; /* [n] newest first; free with kvl_store_groups_free */
    size_t n;
} kvl_store_groups;
kvl_status kvl_store_find_groups(kvl_store *s, kvl_store_groups *out, kvl_err *err) KVL_MUST_USE;
void kvl_store_groups_free(kvl_store_groups *g);

enum { KVL_STORE_MOST_ATTEMPTS = 3 };

/* A cell that could not be computed: its identity as in a record, and why. It is listed, and tried again by
 * the next run; after KVL_STORE_MOST_ATTEMPTS no more. Leaves a cell that is done as it is. */
kvl_status kvl_store_put_failed(kvl_store *s, const kvl_record *record, const char *why,
                                kvl_err *err) KVL_MUST_USE;
/* How often a cell of this key has failed; 0 where it is done, or was never tried. */
kvl_status kvl_store_count_attempts(kvl_store *s, const char *key, size_t *n, kvl_err *err) KVL_MUST_USE;

/* ---- documents ---- */

/* What a command found, as the JSON lines it prints: explain, recommend, needle, bench, timing, portrait. */
typedef struct kvl_document {
    char *kind;
    char *model;   /* name */
    char *key;     /* SHA-256 of what the document follows from; one of the same kind and key is replaced */
    char *group;   /* of the cells it belongs to; "" */
    char *command; /* that makes it again */
    char *made;    /* UTC; NULL: now */
    char *lines;   /* [n_bytes] JSON lines, NUL behind */
    size_t n_bytes;
} kvl_document;
void kvl_document_free(kvl_document *d);
kvl_status kvl_store_put_document(kvl_store *s, const kvl_document *d, kvl_err *err) KVL_MUST_USE;
/* The newest of a kind for a model, or of any where model is NULL; *is_there false: there is none. */
kvl_status kvl_store_get_document(kvl_store *s, const char *kind, const char *model, kvl_document *out,
                                  bool *is_there, kvl_err *err) KVL_MUST_USE;

/* ---- the whole ---- */

/* Called for each cell in order of arrival, whole; a failed one says why and has no NLLs (why NULL: done). A
 * status other than KVL_OK ends the walk with it. The store must not be written to meanwhile by the same
 * handle. */
typedef kvl_status kvl_store_cell(void *ud, const kvl_record *record, const char *why, size_t n_attempts,
                                  kvl_err *err);
/* All cells of a group, or of all where group is NULL. E_STORE at the first damaged one. */
kvl_status kvl_store_each_cell(kvl_store *s, const char *group, kvl_store_cell *each, void *ud,
                               kvl_err *err) KVL_MUST_USE;
/* The same of documents, all kinds, oldest first. */
typedef kvl_status kvl_store_document(void *ud, const kvl_document *d, kvl_err *err);
kvl_status kvl_store_each_document(kvl_store *s, kvl_store_document *each, void *ud,
                                   kvl_err *err) KVL_MUST_USE;

/* Copies the store, as it is at this moment, to a file that must not be there yet; whole or not at all. The
 * store may be in use. E_IO. */
kvl_status kvl_store_backup(kvl_store *s, const char *path, kvl_err *err) KVL_MUST_USE;

/* Checks every page of the file and every checksum; calls `found` for each fault with a line that names it
 * (key, what, expected, found). *n_faults of them. */
typedef void kvl_store_found(void *ud, const char *line);
kvl_status kvl_store_verify(kvl_store *s, kvl_store_found *found, void *ud, size_t *n_faults,
                            kvl_err *err) KVL_MUST_USE;

#endif
