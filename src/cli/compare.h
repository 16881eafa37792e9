/* Two lists of stored cells, compared token by token. */
#ifndef KVL_CLI_COMPARE_H
#define KVL_CLI_COMPARE_H

#include "base/str.h"
#include "store/store.h"

/* One of the two: the cells of one policy. */
typedef struct kvl_side_of_two {
    const kvl_store_group *group; /* borrowed */
    kvl_records records;          /* owned by the caller */
} kvl_side_of_two;

/* Appends the comparison: what differs in how they were made, the paired difference with its interval, what
 * can be said of it within a margin in nats per token. E_USAGE where they did not score the same tokens of
 * the same texts: names the first field that differs. Of other tokenizers bits per byte are compared, where
 * both scored whole texts of the same bytes. */
kvl_status kvl_compare_write(kvl_str *out, kvl_store *store, const kvl_side_of_two *a,
                             const kvl_side_of_two *b, double margin, kvl_err *err) KVL_MUST_USE;

#endif
