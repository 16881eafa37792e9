/* What a sweep is told by its command line, a sweep file and a preset's file, one over the other. */
#ifndef KVL_CLI_SWEEP_CONFIG_H
#define KVL_CLI_SWEEP_CONFIG_H

#include "cli/sweep_options.h"

/* Reads the command line, the file of its -C and the preset that one of them names (default ucurve): sets
 * o->preset and hands every option in effect to fn (ud: o). o->settings has its table; `preset` is the option
 * that names one. With --help only the command line is read, and o->is_help set. Errors: E_USAGE and those of
 * fn, with FILE:LINE for what a file says. */
kvl_status kvl_sweep_config_apply(kvl_sweep_options *o, int preset, int argc, char **argv, kvl_arg_fn *fn,
                                  kvl_err *err) KVL_MUST_USE;
/* Appends what is in effect as a sweep file that gives the same run; what only the preset's file has as
 * comments. */
void kvl_sweep_config_show(const kvl_sweep_options *o, kvl_str *out);
/* Loads all presets that come with the program. Errors: those of kvl_presets_load. */
kvl_status kvl_sweep_presets_load(kvl_err *err) KVL_MUST_USE;

#endif
