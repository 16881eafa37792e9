/* What `kvlab needle` found, counted in cells and written: grids for people, CSV of cells, JSON lines of
 * trials, cells and paired comparisons. */
#ifndef KVL_CLI_NEEDLE_REPORT_H
#define KVL_CLI_NEEDLE_REPORT_H

#include "cli/needle_options.h"
#include "cli/setup.h"

/* A policy on the prompts of one task, length and depth. */
typedef struct kvl_needle_cell {
    size_t n; /* trials */
    size_t n_right, n_right_full;
    size_t n_lost, n_gained; /* right with the full cache only; with the policy only */
    size_t n_events;         /* compressions in all */
    size_t kept_min, kept_max;
    double kept_sum, kv_bytes_sum; /* over the trials: entries of a head, live bytes */
} kvl_needle_cell;

typedef struct kvl_needle_run {
    const kvl_needle_options *options;
    const kvl_setup *setup;
    const kvl_policy *policies; /* [n_policies] the full cache first */
    size_t n_policies;
    kvl_chat chat;
    const char *command;
    kvl_needle_cell *cells; /* [n_tasks, n_policies, n_lengths, n_depths] */
    const char *left_out;   /* policies that were given and not run; "" */
} kvl_needle_run;

/* Counts the trials of a task and a length: prompts [n_depths, n_trials], results [n_policies, prompts]. */
void kvl_needle_count(const kvl_needle_run *run, size_t task, size_t length,
                      const kvl_retrieval_result *results);

/* JSON lines of these trials, then of their cells. Errors of all writers: E_NOMEM. */
kvl_status kvl_needle_write_trials(kvl_str *out, const kvl_needle_run *run, size_t task, size_t length,
                                   const kvl_retrieval_prompt *prompts, const kvl_retrieval_result *results,
                                   kvl_err *err) KVL_MUST_USE;
/* A JSON line for each policy: all cells of a task together in which the full cache passes. */
kvl_status kvl_needle_write_pairs(kvl_str *out, const kvl_needle_run *run, size_t task,
                                  kvl_err *err) KVL_MUST_USE;
/* CSV: the line of names; the cells of a task and a length. */
void kvl_needle_write_csv_head(kvl_str *out);
void kvl_needle_write_csv(kvl_str *out, const kvl_needle_run *run, size_t task, size_t length);
/* The grids of a task; and what stands below all. */
void kvl_needle_write_grids(kvl_str *out, const kvl_needle_run *run, size_t task);
void kvl_needle_write_foot(kvl_str *out, const kvl_needle_run *run);

#endif
