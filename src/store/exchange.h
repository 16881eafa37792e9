/* Records and documents as JSON lines (schemas kvlab.record/1 and kvlab.document/1, docs/schemas), for other
 * stores and other programs: every field is there, numbers come back as the same bits.
 */
#ifndef KVL_STORE_EXCHANGE_H
#define KVL_STORE_EXCHANGE_H

#include "base/str.h"
#include "store/store.h"

/* Appends a line. A record that failed says why (NULL: it is done) and has no NLLs. E_NOMEM, E_JSON for texts
 * that are no JSON. */
kvl_status kvl_record_write_line(kvl_str *out, const kvl_record *r, const char *why, size_t n_attempts,
                                 kvl_err *err) KVL_MUST_USE;
kvl_status kvl_document_write_line(kvl_str *out, const kvl_document *d, kvl_err *err) KVL_MUST_USE;

/* What one line holds. */
typedef struct kvl_exchange {
    bool is_document;
    kvl_document document;
    kvl_record record;
    char *why; /* NULL: the record is done */
    size_t n_attempts;
} kvl_exchange;

/* Reads a line of n bytes; `where` names it in messages. The key must be that of the identity, the sum that
 * of the NLLs. *out is the caller's (kvl_exchange_free), also after an error. */
kvl_status kvl_exchange_read(kvl_exchange *out, const char *line, size_t n, const char *where,
                             kvl_err *err) KVL_MUST_USE;
void kvl_exchange_free(kvl_exchange *x);

#endif
