/* kvlab verify: whether a store is whole. */
#include "cli/cmd.h"
#include "cli/store_options.h"

static const kvl_arg table[] = {KVL_STORE_FILE_ARGS, KVL_STORE_HELP_ARG};

static void add_fault(void *ud, const char *line) { kvl_str_printf(ud, "%s\n", line); }

static kvl_status verify(const kvl_store_options *o, kvl_store *store, kvl_str *out, kvl_err *err) {
    size_t n_faults = 0;
    size_t n_cells = 0;
    kvl_store_groups groups = {0};
    (void)o;
    KVL_TRY(kvl_store_verify(store, add_fault, out, &n_faults, err));
    if (n_faults != 0) {
        return kvl_fail(err, KVL_E_STORE, "%zu fault%s found", n_faults, n_faults == 1 ? "" : "s");
    }
    KVL_TRY(kvl_store_find_groups(store, &groups, err));
    for (size_t i = 0; i < groups.n; i++) {
        n_cells += groups.items[i].n_cells;
    }
    kvl_store_groups_free(&groups);
    kvl_str_printf(out, "whole: %zu cells, every page and every checksum\n", n_cells);
    return KVL_OK;
}

kvl_status kvl_cmd_verify(int argc, char **argv, kvl_err *err) {
    static const kvl_store_command command = {
        .usage = "verify [OPTIONS]\n\nReads every page of a store and checks every checksum; names each "
                 "fault. Exit code 7 "
                 "when there is one.",
        .table = table,
        .n_table = sizeof table / sizeof table[0],
        .operand = "operands",
        .mode = KVL_STORE_READ,
        .run = verify,
    };
    return kvl_store_command_run(&command, argc, argv, err);
}
