/* A sweep and its store: cells that are there are not run again, each other one goes there when it ends. */
#ifndef KVL_CLI_SWEEP_STORE_H
#define KVL_CLI_SWEEP_STORE_H

#include "cli/keep.h"
#include "cli/store_arg.h"
#include "cli/sweep_records.h"

typedef struct kvl_sweep_store {
    kvl_store *store; /* NULL: none */
    kvl_str path;
    kvl_sweep_run_info *info;
    kvl_sweep_identity identity;
    bool is_recalling;         /* false: every cell is computed, whether it is there or not */
    bool *is_finished;         /* [cells] computed, and not yet kept */
    bool *is_kept;             /* [cells] */
    size_t n_recalled, n_kept; /* cells, one-pass baselines not counted */
    size_t n_asked;
} kvl_sweep_store;

/* Refuses, before anything is computed, what needs a store where none is wanted: E_USAGE. */
kvl_status kvl_sweep_store_check(const kvl_sweep_options *o, kvl_err *err) KVL_MUST_USE;
/* Opens the store of the options, waiting for whoever writes to it; for --dry-run one that is there already,
 * for reading. Close with kvl_sweep_store_close in any case. */
kvl_status kvl_sweep_store_open(kvl_sweep_store *s, kvl_sweep_run_info *info, const kvl_store_arg *arg,
                                bool is_recalling, kvl_err *err) KVL_MUST_USE;
void kvl_sweep_store_close(kvl_sweep_store *s);

/* For kvl_sweep_config.recall, with the kvl_sweep_store as ud: sets a cell whose record is there. When the
 * last cell is asked for, a line on stderr says how many there are. */
kvl_status kvl_sweep_store_recall(void *ud, kvl_cell *cell, bool is_one_pass, bool *is_known, kvl_err *err);
/* Keeps a finished cell as a record; one whose baseline runs beside it waits for that. */
kvl_status kvl_sweep_store_keep(kvl_sweep_store *s, const kvl_cell *cell, bool is_one_pass,
                                kvl_err *err) KVL_MUST_USE;
/* Keeps what the report of the sweep says besides its rows, and the order of these. */
kvl_status kvl_sweep_store_describe(kvl_sweep_store *s, const kvl_report *report, kvl_err *err) KVL_MUST_USE;

/* Keeps lines (which it takes) as a document of the sweep's group. */
kvl_status kvl_sweep_store_document(kvl_sweep_store *s, const kvl_keep *what, kvl_str *lines,
                                    kvl_err *err) KVL_MUST_USE;

#endif
