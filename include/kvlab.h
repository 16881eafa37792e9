/* kvlab: the public C API.
 *
 * Opaque types, one status type, one error type. Functions that can fail return kvl_status, put their
 * outputs first and take a kvl_err last (which may be NULL). The library never prints, never exits and
 * never reads the environment. Destroy and close functions accept NULL.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KVLAB_H
#define KVLAB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVL_VERSION "0.1.0"

/* Every status: constant, short name in messages, exit code of the program, meaning. */
#define KVL_STATUS_LIST(X)                                                                                   \
    X(KVL_OK, "OK", 0, "success")                                                                            \
    X(KVL_E_USAGE, "E_USAGE", 2, "wrong use: an option, a policy or an argument")                            \
    X(KVL_E_TRUNC, "E_TRUNC", 3, "the input ends too early")                                                 \
    X(KVL_E_SIZE, "E_SIZE", 3, "a size does not fit its content")                                            \
    X(KVL_E_LIMIT, "E_LIMIT", 3, "a count or size is above the limit of this program")                       \
    X(KVL_E_MAGIC, "E_MAGIC", 3, "another kind of file")                                                     \
    X(KVL_E_VERSION, "E_VERSION", 3, "a version of the format that is not read here")                        \
    X(KVL_E_ENDIAN, "E_ENDIAN", 3, "a file of the other byte order")                                         \
    X(KVL_E_COUNT, "E_COUNT", 3, "a count that the file cannot hold")                                        \
    X(KVL_E_KEY, "E_KEY", 3, "an impossible metadata key")                                                   \
    X(KVL_E_NAME, "E_NAME", 3, "an impossible tensor name")                                                  \
    X(KVL_E_ALIGN, "E_ALIGN", 3, "an impossible alignment, or an unaligned offset")                          \
    X(KVL_E_JSON, "E_JSON", 3, "not valid JSON")                                                             \
    X(KVL_E_YAML, "E_YAML", 3, "not valid YAML")                                                             \
    X(KVL_E_DEPTH, "E_DEPTH", 3, "nested too deeply")                                                        \
    X(KVL_E_UTF8, "E_UTF8", 3, "not valid UTF-8")                                                            \
    X(KVL_E_DUP, "E_DUP", 3, "a name stands twice")                                                          \
    X(KVL_E_TYPE, "E_TYPE", 3, "a value of the wrong type")                                                  \
    X(KVL_E_NUM, "E_NUM", 3, "a number out of range or not whole")                                           \
    X(KVL_E_MISSING, "E_MISSING", 3, "something needed is absent")                                           \
    X(KVL_E_EXTRA, "E_EXTRA", 3, "something is there that must not be")                                      \
    X(KVL_E_OFFSET, "E_OFFSET", 3, "an offset outside the file or out of order")                             \
    X(KVL_E_OVERLAP, "E_OVERLAP", 3, "two tensors share bytes")                                              \
    X(KVL_E_HOLE, "E_HOLE", 3, "bytes that belong to no tensor")                                             \
    X(KVL_E_OVERFLOW, "E_OVERFLOW", 3, "a size beyond 64 bits")                                              \
    X(KVL_E_SHAPE, "E_SHAPE", 3, "a tensor of the wrong shape")                                              \
    X(KVL_E_CONFIG, "E_CONFIG", 3, "an impossible model configuration")                                      \
    X(KVL_E_UNSUPPORTED, "E_UNSUPPORTED", 3, "a feature this program does not have")                         \
    X(KVL_E_VOCAB, "E_VOCAB", 3, "an impossible vocabulary")                                                 \
    X(KVL_E_MERGE, "E_MERGE", 3, "an impossible merge rule")                                                 \
    X(KVL_E_REGEX, "E_REGEX", 3, "a pre-tokeniser pattern that does not compile or is unsafe")               \
    X(KVL_E_NONFINITE, "E_NONFINITE", 3, "a weight that is NaN or infinite")                                 \
    X(KVL_E_PATH, "E_PATH", 3, "a file name that leaves its folder")                                         \
    X(KVL_E_TEXT, "E_TEXT", 3, "a text that cannot be scored")                                               \
    X(KVL_E_IO, "E_IO", 4, "a file cannot be read or written")                                               \
    X(KVL_E_NET, "E_NET", 4, "a download failed")                                                            \
    X(KVL_E_NOMEM, "E_NOMEM", 5, "out of memory")                                                            \
    X(KVL_E_CHECK, "E_CHECK", 6, "a self-check failed or a result is not finite")                            \
    X(KVL_E_STORE, "E_STORE", 7, "a store of results that is damaged, or none")                              \
    X(KVL_E_INTERRUPTED, "E_INTERRUPTED", 130, "stopped on request")

typedef enum kvl_status {
#define X(id, name, exit_code, text) id,
    KVL_STATUS_LIST(X)
#undef X
        KVL_N_STATUS
} kvl_status;

/* What went wrong. msg names the object, what was expected and what was found; lower case, one line. */
typedef struct kvl_err {
    kvl_status status;
    char msg[512];
} kvl_err;

/* Short name ("E_TRUNC"), one-line meaning and program exit code of a status. */
const char *kvl_status_name(kvl_status s);
const char *kvl_status_text(kvl_status s);
int kvl_status_exit_code(kvl_status s);

#ifdef __cplusplus
}
#endif
#endif
