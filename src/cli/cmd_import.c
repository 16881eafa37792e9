/* kvlab import: lines of kvlab export -o jsonl, of other stores or shards, into a store. */
#include "cli/cmd.h"
#include "cli/store_options.h"

#include "base/alloc.h"
#include "base/os.h"
#include "store/exchange.h"

#include <stdio.h>
#include <string.h>

static const kvl_arg table[] = {KVL_STORE_FILE_ARGS, KVL_STORE_HELP_ARG};

typedef struct counts {
    size_t n_cells, n_documents;
} counts;

/* A failed cell counts as often as it failed where it comes from. */
static kvl_status put_failed(kvl_store *store, const kvl_exchange *x, kvl_err *err) {
    size_t n = 0;
    KVL_TRY(kvl_store_count_attempts(store, x->record.key, &n, err));
    for (; n < x->n_attempts && n < KVL_STORE_MOST_ATTEMPTS; n++) {
        KVL_TRY(kvl_store_put_failed(store, &x->record, x->why, err));
    }
    return KVL_OK;
}

static kvl_status put(kvl_store *store, const kvl_exchange *x, counts *done, kvl_err *err) {
    if (x->is_document) {
        done->n_documents++;
        return kvl_store_put_document(store, &x->document, err);
    }
    done->n_cells++;
    return x->why != NULL ? put_failed(store, x, err) : kvl_store_put(store, &x->record, err);
}

/* A last line that was cut off (a process that was killed while it wrote) is left out, and said. */
static kvl_status import_lines(kvl_store *store, const char *path, const char *bytes, size_t n_bytes,
                               counts *done, kvl_err *err) {
    const char *end = bytes + n_bytes;
    size_t number = 0;
    for (const char *line = bytes; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const size_t n = (size_t)((stop != NULL ? stop : end) - line);
        char where[512];
        kvl_exchange x = {0};
        number++;
        (void)snprintf(where, sizeof where, "%.400s: line %zu", path, number);
        kvl_status status = n != 0 ? kvl_exchange_read(&x, line, n, where, err) : KVL_OK;
        if (status == KVL_OK && n != 0) {
            status = put(store, &x, done, err);
        } else if (status == KVL_E_JSON && stop == NULL) {
            fprintf(stderr, "%s: is cut off, and left out\n", where);
            status = KVL_OK;
        }
        kvl_exchange_free(&x);
        if (status == KVL_OK && kvl_is_stopping()) {
            status =
                kvl_fail(err, KVL_E_INTERRUPTED, "stopped at %s; the same command goes on from there", where);
        }
        KVL_TRY(status);
        line += n + 1;
    }
    return KVL_OK;
}

static kvl_status import(const kvl_store_options *o, kvl_store *store, kvl_str *out, kvl_err *err) {
    static const uint64_t most_bytes = (uint64_t)8 << 30;
    counts done = {0};
    for (size_t i = 0; i < o->n_operands; i++) {
        char *bytes = NULL;
        size_t n_bytes = 0;
        KVL_TRY(kvl_file_load(&bytes, &n_bytes, o->operands[i], most_bytes, err));
        const kvl_status status = import_lines(store, o->operands[i], bytes, n_bytes, &done, err);
        kvl_free(bytes);
        KVL_TRY(status);
    }
    kvl_str_printf(out, "%zu cells and %zu documents are in the store\n", done.n_cells, done.n_documents);
    return KVL_OK;
}

kvl_status kvl_cmd_import(int argc, char **argv, kvl_err *err) {
    static const kvl_store_command command = {
        .usage = "import FILE... [OPTIONS]\n\nPuts what kvlab export -o jsonl wrote into a store. Cells that "
                 "are there already "
                 "are compared: other numbers under\nthe same key end the import, and name it.",
        .table = table,
        .n_table = sizeof table / sizeof table[0],
        .least = 1,
        .most = KVL_MOST_OPERANDS,
        .operand = "files",
        .mode = KVL_STORE_WRITE,
        .run = import,
    };
    return kvl_store_command_run(&command, argc, argv, err);
}
