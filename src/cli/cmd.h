/* Commands of the program. main.c holds the list; each command is a file cmd_<name>.c. */
#ifndef KVL_CLI_CMD_H
#define KVL_CLI_CMD_H

#include "base/status.h"

typedef struct kvl_command {
    const char *name;
    const char *summary;
    kvl_status (*run)(int argc, char **argv, kvl_err *err); /* argv[2] is its first argument */
} kvl_command;

kvl_status kvl_cmd_bench(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_calibrate(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_compare(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_doctor(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_explain(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_export(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_fetch(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_import(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_inspect(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_ls(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_needle(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_plan(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_press(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_recommend(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_report(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_show(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_sweep(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_tokenize(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_trace(int argc, char **argv, kvl_err *err);
kvl_status kvl_cmd_verify(int argc, char **argv, kvl_err *err);

/* True once the user asked to stop (SIGINT, SIGTERM). */
bool kvl_is_stopping(void);
/* Folder with models/, data/ and presets/: KVL_DATA_DIR, else beside the program, else the source tree.
 * Static. */
const char *kvl_data_root(void);
/* Writes text to stdout; E_IO when it cannot be (a full disk; a closed pipe ends quietly by SIGPIPE). */
kvl_status kvl_print(const char *text, size_t n, kvl_err *err) KVL_MUST_USE;

#endif
