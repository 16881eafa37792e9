/* Cells of a sweep as records: what reports are made of, and what a store keeps. */
#ifndef KVL_CLI_SWEEP_RECORDS_H
#define KVL_CLI_SWEEP_RECORDS_H

#include "base/json.h"
#include "cli/sweep_run.h"
#include "store/record.h"

/* What the identities of all cells of a sweep share. */
typedef struct kvl_sweep_identity {
    json_t *common;
    char group[KVL_KEY_TEXT];
} kvl_sweep_identity;

/* Collects it; for builds whose source is not known by a commit the program's own file is hashed. Free with
 * kvl_sweep_identity_free in any case. */
kvl_status kvl_sweep_identity_make(kvl_sweep_identity *out, const kvl_sweep_run_info *info,
                                   kvl_err *err) KVL_MUST_USE;
void kvl_sweep_identity_free(kvl_sweep_identity *id);
/* Sets identity, key and group of a cell's record, of which n_tokens and first_scored must be there. */
kvl_status kvl_sweep_identify(kvl_record *out, const kvl_sweep_identity *id, const kvl_sweep_run_info *info,
                              const kvl_cell *cell, kvl_record_role role, kvl_err *err) KVL_MUST_USE;

/* The columns of a finished cell's record: all but key, group, identity, facts and NLLs. The cells of the
 * baseline must have their NLLs. *out is the caller's (kvl_record_free), also after an error. */
kvl_status kvl_sweep_record(kvl_record *out, kvl_sweep_run_info *info, const kvl_cell *cell,
                            kvl_record_role role, kvl_err *err) KVL_MUST_USE;
/* Those of all cells: the one-pass baselines if there are any, then kvl_sweep.cells in their order. */
kvl_status kvl_sweep_records(kvl_records *out, kvl_sweep_run_info *info, kvl_err *err) KVL_MUST_USE;

#endif
