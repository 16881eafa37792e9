/* The protocol of a sweep, fitted to the model and the texts. */
#ifndef KVL_CLI_SWEEP_PROTOCOL_H
#define KVL_CLI_SWEEP_PROTOCOL_H

#include "cli/sweep_run.h"

/* Sets protocol, rule, texts and samples of *info, whose options and engine are set; every cut becomes a
 * note. `texts` get the token in front that --bos asks for; *windows are cut from them where the protocol
 * cuts any; the policies [n_policies] of a protocol in which they act once get that schedule. texts and
 * windows are borrowed by *info and remain the caller's. */
kvl_status kvl_sweep_fit(kvl_sweep_run_info *info, kvl_samples *texts, kvl_samples *windows,
                         const kvl_tokenizer *tokenizer, kvl_policy *policies, size_t n_policies,
                         kvl_err *err) KVL_MUST_USE;
/* One line: protocol, windows, what is scored, BOS, baseline, how PPL is made. */
void kvl_sweep_describe_protocol(kvl_str *out, const kvl_sweep_run_info *info);
/* Name of the protocol if it is not the preset's own, otherwise "". */
const char *kvl_sweep_other_protocol(const kvl_sweep_options *o);

#endif
