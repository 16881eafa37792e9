/* Errors are values: fill a kvl_err where the fault is found, forward the status with KVL_TRY. */
#ifndef KVL_BASE_STATUS_H
#define KVL_BASE_STATUS_H

#include "base/compiler.h"
#include "kvlab.h"

/* Sets *err (may be NULL) and returns status. Control characters that reach the text from files are
 * printed as \xNN, so that a message can never drive a terminal. */
KVL_API_BEGIN
kvl_status kvl_fail(kvl_err *err, kvl_status status, const char *fmt, ...) KVL_PRINTF(3, 4);
KVL_API_END

#define KVL_TRY(call)                                                                                        \
    do {                                                                                                     \
        kvl_status kvl_try_status = (call);                                                                  \
        if (kvl_try_status != KVL_OK) {                                                                      \
            return kvl_try_status;                                                                           \
        }                                                                                                    \
    } while (0)

/* The same for functions with a `done:` label and a local `kvl_status status`. */
#define KVL_GO(call)                                                                                         \
    do {                                                                                                     \
        status = (call);                                                                                     \
        if (status != KVL_OK) {                                                                              \
            goto done;                                                                                       \
        }                                                                                                    \
    } while (0)

#endif
