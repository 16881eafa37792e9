/* Presses from shared objects, for every command that takes policies. */
#ifndef KVL_CLI_PRESS_ARG_H
#define KVL_CLI_PRESS_ARG_H

#include "base/status.h"

enum { KVL_ARG_PRESS_SO = 1100 };

/* Line for a command's option table; load its value with kvl_press_load. */
#define KVL_PRESS_ARGS                                                                                       \
    {                                                                                                        \
        KVL_ARG_PRESS_SO, 0, "press-so", "FILE",                                                             \
            "a press of your own from a shared object (repeatable; docs/write-a-press.md)"                   \
    }

/* Loads what KVL_PRESS_PATH names: shared objects and folders of them, separated by colons. Errors: those of
 * kvl_press_load. */
kvl_status kvl_press_path_load(kvl_err *err) KVL_MUST_USE;

#endif
