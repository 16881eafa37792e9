/* kvlab calibrate: statistics of a model into a file, for presses that rank by them. */
#include "cli/args.h"
#include "cli/calibration_arg.h"
#include "cli/cmd.h"
#include "cli/model_arg.h"

#include "base/os.h"

#include <string.h>

enum { MAX_FILES = 256, MAX_TOKENS = 1 << 20 };
enum { OPT_FILE, OPT_OUT, OPT_MAX_TOKENS, OPT_THREADS, OPT_ISA, OPT_HELP };

static const kvl_arg table[] = {
    KVL_MODEL_ARGS,
    {OPT_FILE, 'f', "file", "TEXT", "calibration text (repeatable; default: the last five books of data/)"},
    {OPT_OUT, 'o', "output", "FILE", "where to (default: where sweep and bench look for it)"},
    {OPT_MAX_TOKENS, 0, "max-tokens", "N", "tokens of each text, at most the model's context (default 1024)"},
    {OPT_THREADS, 't', "threads", "N", "threads (default: the processors this process may use)"},
    {OPT_ISA, 0, "isa", "NAME", "force an instruction set: c, base, avx2, avx512, avx512bf16 (default auto)"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

typedef struct options {
    kvl_model_arg model;
    const char *files[MAX_FILES];
    size_t n_files;
    const char *out;
    size_t max_tokens;
    kvl_engine_options engine;
    bool is_help;
} options;

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    options *o = ud;
    size_t n = 0;
    if (kvl_model_arg_take(&o->model, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case OPT_FILE:
        if (o->n_files == MAX_FILES) {
            return kvl_fail(err, KVL_E_USAGE, "--file: expected at most %d files", MAX_FILES);
        }
        o->files[o->n_files++] = value;
        return KVL_OK;
    case OPT_OUT: o->out = value; return KVL_OK;
    case OPT_MAX_TOKENS: return kvl_args_count(&o->max_tokens, "--max-tokens", value, MAX_TOKENS, err);
    case OPT_THREADS:
        KVL_TRY(kvl_args_count(&n, "--threads", value, 256, err));
        o->engine.n_threads = (unsigned)n;
        return KVL_OK;
    case OPT_ISA: o->engine.isa = value; return KVL_OK;
    case OPT_HELP: o->is_help = true; return KVL_OK;
    default: return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    }
}

/* Where to, appended to *out; the folder of the usual place is made. */
static kvl_status find_place(kvl_str *out, const options *o, const kvl_model *model, kvl_err *err) {
    if (o->out != NULL) {
        kvl_str_puts(out, o->out);
        return kvl_str_check(out, "output", err);
    }
    KVL_TRY(kvl_calibration_path(out, model, err));
    kvl_str dir = {0};
    kvl_str_append(&dir, out->data, (size_t)(strrchr(out->data, '/') - out->data));
    kvl_status status = kvl_dir_create(kvl_str_text(&dir), err);
    kvl_str_free(&dir);
    return status;
}

static kvl_status calibrate(const options *o, kvl_str *out, kvl_err *err) {
    kvl_str path = {0};
    kvl_model *model = NULL;
    kvl_tokenizer *tokenizer = NULL;
    kvl_samples texts = {0};
    kvl_calibration *c = NULL;
    kvl_status status = KVL_OK;
    KVL_GO(kvl_model_arg_resolve(&path, &o->model, err));
    KVL_GO(kvl_model_open(&model, kvl_str_text(&path), o->engine.n_threads, err));
    KVL_GO(find_place(out, o, model, err));
    KVL_GO(kvl_tokenizer_open(&tokenizer, kvl_str_text(&path), err));
    for (size_t i = 0; i < o->n_files; i++) {
        KVL_GO(kvl_samples_add_file(&texts, o->files[i], tokenizer, err));
    }
    if (o->n_files == 0) {
        KVL_GO(kvl_calibration_samples(&texts, tokenizer, err));
    }
    KVL_GO(kvl_calibration_compute(&c, model, &o->engine, &texts, o->max_tokens, err));
    KVL_GO(kvl_calibration_save(c, kvl_str_text(out), err));
    kvl_str_puts(out, "\n");
done:
    kvl_calibration_destroy(c);
    kvl_samples_free(&texts);
    kvl_tokenizer_close(tokenizer);
    kvl_model_close(model);
    kvl_str_free(&path);
    return status;
}

kvl_status kvl_cmd_calibrate(int argc, char **argv, kvl_err *err) {
    options o = {.max_tokens = KVL_CALIBRATION_TOKENS};
    kvl_str out = {0};
    kvl_status status = kvl_args_parse(table, n_table, argc, argv, 2, set_option, &o, err);
    if (status == KVL_OK && o.is_help) {
        kvl_str_puts(&out,
                     "usage: kvlab calibrate [OPTIONS]\n\nStatistics of a model's queries and keys over "
                     "texts, for presses that rank by them (qfilter,\nexpected-attention-stats, "
                     "duo-attention). Prints the path of the file. See docs/calibration.md.\n\n");
        kvl_args_help(table, n_table, &out);
    } else if (status == KVL_OK) {
        status = calibrate(&o, &out, err);
    }
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    kvl_str_free(&out);
    return status;
}
