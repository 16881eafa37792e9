/* Options of the commands on a store. */
#include "cli/store_options.h"

#include "base/alloc.h"
#include "cli/cmd.h"
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What set_option needs of both. */
typedef struct parsing {
    kvl_store_options *o;
    const kvl_store_command *command;
} parsing;

static kvl_status set_margin(kvl_store_options *o, const char *value, kvl_err *err) {
    char *end = NULL;
    o->margin = strtod(value, &end);
    return end != value && *end == '\0' && isfinite(o->margin) && o->margin > 0
               ? KVL_OK
               : kvl_fail(err, KVL_E_USAGE, "--margin: expected nats per token above 0, found '%.80s'",
                          value);
}

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    const parsing *p = ud;
    kvl_store_options *o = p->o;
    if (kvl_store_arg_take(&o->store, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case KVL_STORE_GROUP: o->group = value; return KVL_OK;
    case KVL_STORE_FORMAT:
        return kvl_args_choice(&o->format, "--output", value, p->command->formats, p->command->n_formats,
                               err);
    case KVL_STORE_OUT: o->out = value; return KVL_OK;
    case KVL_STORE_MARGIN: return set_margin(o, value, err);
    case KVL_STORE_HELP: o->is_help = true; return KVL_OK;
    default: break;
    }
    if (o->n_operands == p->command->most || o->n_operands == KVL_MOST_OPERANDS) {
        return kvl_fail(err, KVL_E_USAGE, "expected %s%zu %s, found '%.80s' too",
                        p->command->most != 0 ? "at most " : "", p->command->most, p->command->operand,
                        value);
    }
    o->operands[o->n_operands++] = value;
    return KVL_OK;
}

static kvl_status run(const kvl_store_command *c, kvl_store_options *o, kvl_str *out, kvl_err *err) {
    kvl_store *store = NULL;
    if (o->n_operands < c->least) {
        return kvl_fail(err, KVL_E_USAGE, "expected %s%zu %s, found %zu; --help tells more",
                        c->least == c->most ? "" : "at least ", c->least, c->operand, o->n_operands);
    }
    KVL_TRY(kvl_store_arg_open(&store, &o->store, NULL, c->mode, err));
    if (store == NULL) {
        return kvl_fail(err, KVL_E_USAGE, "--store: expected a file, found none");
    }
    const kvl_status status = c->run(o, store, out, err);
    kvl_store_close(store);
    return status;
}

kvl_status kvl_store_command_run(const kvl_store_command *c, int argc, char **argv, kvl_err *err) {
    kvl_str out = {0};
    kvl_store_options *o = kvl_calloc(1, sizeof *o);
    if (o == NULL) {
        return kvl_fail_nomem(err, "options");
    }
    o->margin = KVL_MARGIN_NATS;
    kvl_status status =
        kvl_args_parse(c->table, c->n_table, argc, argv, 2, set_option, &(parsing){o, c}, err);
    if (status == KVL_OK && o->is_help) {
        kvl_str_printf(&out, "usage: kvlab %s\n\noptions:\n", c->usage);
        kvl_args_help(c->table, c->n_table, &out);
    } else if (status == KVL_OK) {
        status = run(c, o, &out, err);
    }
    if (out.len != 0) {
        kvl_err ignored;
        const kvl_status printed = kvl_print(kvl_str_text(&out), out.len, status == KVL_OK ? err : &ignored);
        status = status == KVL_OK ? printed : status;
    }
    kvl_str_free(&out);
    kvl_free(o);
    return status;
}

kvl_status kvl_store_pick_group(size_t *out, const kvl_store_groups *groups, const char *prefix,
                                kvl_err *err) {
    size_t n_found = 0;
    *out = 0;
    if (groups->n == 0) {
        return kvl_fail(err, KVL_E_USAGE,
                        "expected a store with cells, found none in it; kvlab sweep makes some");
    }
    for (size_t i = 0; prefix != NULL && i < groups->n; i++) {
        if (strncmp(groups->items[i].group, prefix, strlen(prefix)) == 0) {
            n_found++;
            *out = i;
        }
    }
    return prefix == NULL || n_found == 1
               ? KVL_OK
               : kvl_fail(
                     err, KVL_E_USAGE,
                     "group: expected the beginning of one key, found '%.70s' of %zu; kvlab ls lists all",
                     prefix, n_found);
}
