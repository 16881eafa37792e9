/* kvlab tokenize: the ids of a text, as the model sees it. Options as llama-tokenize's. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/model_arg.h"

#include "base/alloc.h"
#include "base/os.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 1 << 30 };
enum { OPT_PROMPT, OPT_FILE, OPT_IDS, OPT_COUNT, OPT_NO_BOS, OPT_SPECIAL, OPT_HELP };

static const kvl_arg table[] = {
    KVL_MODEL_ARGS,
    {OPT_PROMPT, 'p', "prompt", "TEXT", "the text"},
    {OPT_FILE, 'f', "file", "FILE", "or a file that holds it; - is standard input"},
    {OPT_IDS, 0, "ids", NULL, "only the ids, as a list: [1, 2, 3]"},
    {OPT_COUNT, 0, "show-count", NULL, "the number of tokens behind them"},
    {OPT_NO_BOS, 0, "no-bos", NULL, "no token in front, even if the model wants one"},
    {OPT_SPECIAL, 0, "parse-special", NULL,
     "text of special tokens becomes their ids (else it is ordinary text)"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

typedef struct options {
    kvl_model_arg model;
    const char *prompt;
    const char *file;
    bool is_ids;
    bool has_count;
    bool has_no_bos;
    bool parse_special;
    bool is_help;
} options;

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    options *o = ud;
    if (kvl_model_arg_take(&o->model, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case OPT_PROMPT: o->prompt = value; return KVL_OK;
    case OPT_FILE: o->file = value; return KVL_OK;
    case OPT_IDS: o->is_ids = true; return KVL_OK;
    case OPT_COUNT: o->has_count = true; return KVL_OK;
    case OPT_NO_BOS: o->has_no_bos = true; return KVL_OK;
    case OPT_SPECIAL: o->parse_special = true; return KVL_OK;
    case OPT_HELP: o->is_help = true; return KVL_OK;
    default: break;
    }
    return kvl_fail(err, KVL_E_USAGE, "tokenize: expected options only (-p TEXT or -f FILE), found '%.80s'",
                    value);
}

static kvl_status load_stdin(kvl_str *text, kvl_err *err) {
    char block[65536];
    text->max_len = MAX_TEXT_BYTES;
    for (size_t n = 1; n != 0;) {
        n = fread(block, 1, sizeof block, stdin);
        kvl_str_append(text, block, n);
    }
    if (ferror(stdin)) {
        return kvl_fail(err, KVL_E_IO, "standard input: cannot be read");
    }
    return kvl_str_check(text, "standard input", err);
}

static kvl_status load_text(kvl_str *text, const options *o, kvl_err *err) {
    char *bytes = NULL;
    size_t n = 0;
    if ((o->prompt != NULL) == (o->file != NULL)) {
        return kvl_fail(err, KVL_E_USAGE, "tokenize: expected one of -p TEXT and -f FILE, found %s",
                        o->prompt != NULL ? "both" : "neither");
    }
    if (o->prompt != NULL) {
        kvl_str_puts(text, o->prompt);
        return kvl_str_check(text, "text", err);
    }
    if (strcmp(o->file, "-") == 0) {
        return load_stdin(text, err);
    }
    KVL_TRY(kvl_file_load(&bytes, &n, o->file, MAX_TEXT_BYTES, err));
    text->max_len = MAX_TEXT_BYTES;
    kvl_str_append(text, bytes, n);
    kvl_free(bytes);
    return kvl_str_check(text, "text", err);
}

/* The token's text between quotes; what could drive a terminal is shown as \xNN, UTF-8 as it is. */
static kvl_status put_token(kvl_str *out, const kvl_tokenizer *t, int32_t id, kvl_err *err) {
    char *text = NULL;
    size_t n = 0;
    KVL_TRY(kvl_tokenizer_decode(t, &text, &n, &id, 1, false, err));
    bool is_valid = kvl_is_utf8(text, n);
    kvl_str_printf(out, "%6d -> '", id);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_c1 = c == 0xc2 && i + 1 < n && (unsigned char)text[i + 1] < 0xa0;
        bool is_plain = c >= 0x20 && c != 0x7f && (c < 0x80 || is_valid) && !is_c1;
        if (c == '\n') {
            kvl_str_puts(out, "\\n");
        } else {
            kvl_str_printf(out, is_plain ? "%c" : "\\x%02x", c);
        }
    }
    kvl_str_puts(out, "'\n");
    kvl_free(text);
    return KVL_OK;
}

static kvl_status put_ids(kvl_str *out, const options *o, const kvl_tokenizer *t, const kvl_ids *ids,
                          kvl_err *err) {
    out->max_len = (size_t)1 << 32;
    for (size_t i = 0; i < ids->n; i++) {
        if (o->is_ids) {
            kvl_str_printf(out, "%s%d", i == 0 ? "[" : ", ", ids->ids[i]);
        } else {
            KVL_TRY(put_token(out, t, ids->ids[i], err));
        }
    }
    if (o->is_ids) {
        kvl_str_puts(out, ids->n == 0 ? "[]\n" : "]\n");
    }
    if (o->has_count) {
        kvl_str_printf(out, "Total number of tokens: %zu\n", ids->n);
    }
    return kvl_str_check(out, "ids", err);
}

static kvl_status tokenize(const options *o, kvl_err *err) {
    kvl_tokenizer *t = NULL;
    kvl_ids ids = {0};
    kvl_str path = {0};
    kvl_str text = {0};
    kvl_str out = {0};
    kvl_status status = load_text(&text, o, err);
    if (status != KVL_OK) {
        goto done;
    }
    KVL_GO(kvl_model_arg_resolve(&path, &o->model, err));
    KVL_GO(kvl_tokenizer_open(&t, kvl_str_text(&path), err));
    if (!o->has_no_bos && kvl_tokenizer_bos(t) >= 0) {
        KVL_GO(kvl_ids_push(&ids, kvl_tokenizer_bos(t), err));
    }
    KVL_GO(kvl_tokenizer_encode(t, &ids, kvl_str_text(&text), text.len, o->parse_special, err));
    KVL_GO(put_ids(&out, o, t, &ids, err));
    KVL_GO(kvl_print(kvl_str_text(&out), out.len, err));
done:
    kvl_str_free(&out);
    kvl_str_free(&text);
    kvl_str_free(&path);
    kvl_ids_free(&ids);
    kvl_tokenizer_close(t);
    return status;
}

kvl_status kvl_cmd_tokenize(int argc, char **argv, kvl_err *err) {
    options o = {0};
    KVL_TRY(kvl_args_parse(table, n_table, argc, argv, 2, set_option, &o, err));
    if (!o.is_help) {
        return tokenize(&o, err);
    }
    kvl_str help = {0};
    kvl_str_puts(&help, "usage: kvlab tokenize [-m MODEL] -p TEXT | -f FILE\n\n"
                        "The token ids of a text, one a line with the token's text. Options as "
                        "llama-tokenize's.\n\noptions:\n");
    kvl_args_help(table, n_table, &help);
    kvl_status status = kvl_print(kvl_str_text(&help), help.len, err);
    kvl_str_free(&help);
    return status;
}
