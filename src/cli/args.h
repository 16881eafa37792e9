/* Command-line options as a table: parsing, help and "did you mean" read the same lines. */
#ifndef KVL_CLI_ARGS_H
#define KVL_CLI_ARGS_H

#include "base/str.h"

typedef struct kvl_arg {
    int id;
    char letter;       /* short form, or 0 */
    const char *name;  /* long form without the dashes */
    const char *value; /* placeholder of the value in help, or NULL for a flag */
    const char *help; /* NULL: another name of the option with this id, as --hff or -hff (one dash will do) */
} kvl_arg;

/* Whether an option takes several values: a list (its placeholder says [,...]) or one each time
 * ("(repeatable" in its help). */
bool kvl_arg_is_list(const kvl_arg *arg);

/* Called for every option (value NULL for flags) and, with id -1, for every operand. */
typedef kvl_status kvl_arg_fn(void *ud, int id, const char *value, kvl_err *err);

/* Parses argv[first..]. Long options as --name=value or --name value, short as -x value or -xvalue; "--" ends
 * options. Errors: E_USAGE naming the option, with the nearest known name. */
kvl_status kvl_args_parse(const kvl_arg *table, size_t n, int argc, char **argv, int first, kvl_arg_fn *fn,
                          void *ud, kvl_err *err) KVL_MUST_USE;
/* The same where flags may also be given as --name=true and --name=false: fn gets that word, or NULL. */
kvl_status kvl_args_parse_words(const kvl_arg *table, size_t n, int argc, char **argv, int first,
                                kvl_arg_fn *fn, void *ud, kvl_err *err) KVL_MUST_USE;
/* Appends one help line per option, with its other name. */
void kvl_args_help(const kvl_arg *table, size_t n, kvl_str *out);
/* Calls fn for every item of a comma list; commas inside parentheses do not count. Errors: E_USAGE for an
 * empty or very long item; those of fn. */
typedef kvl_status kvl_item_text_fn(void *ud, const char *item, kvl_err *err);
kvl_status kvl_args_items(const char *list, kvl_item_text_fn *fn, void *ud, kvl_err *err) KVL_MUST_USE;

/* The same for lists of keep ratios, and of compression ratios, which are 1 less a keep ratio. fn gets the
 * keep ratio, -1 for a word that is no number, and the name of the option. */
typedef kvl_status kvl_ratio_fn(void *ud, double keep_ratio, const char *option, const char *word,
                                kvl_err *err);
kvl_status kvl_args_keep_ratios(const char *list, kvl_ratio_fn *fn, void *ud, kvl_err *err) KVL_MUST_USE;
kvl_status kvl_args_compression_ratios(const char *list, kvl_ratio_fn *fn, void *ud,
                                       kvl_err *err) KVL_MUST_USE;

/* The index of one of n words; E_USAGE naming the option and all of them. */
kvl_status kvl_args_choice(size_t *out, const char *option, const char *value, const char *const *words,
                           size_t n, kvl_err *err) KVL_MUST_USE;
/* Reads a whole number from 1 to max; E_USAGE naming the option. */
kvl_status kvl_args_count(size_t *out, const char *option, const char *value, size_t max,
                          kvl_err *err) KVL_MUST_USE;
/* Reads a size as 8GiB, 512MiB, 1.5KiB or 65536; E_USAGE naming the option. */
kvl_status kvl_args_bytes(uint64_t *out, const char *option, const char *value, kvl_err *err) KVL_MUST_USE;
/* Appends a word as a shell reads it: as it is, or between quotes. */
void kvl_args_quote(kvl_str *out, const char *word);
/* Appends the command that a shell would run again: kvlab and argv[1..]. */
void kvl_args_command(kvl_str *out, int argc, char **argv);
enum { KVL_BYTES_TEXT = 32 };
/* Three digits and a unit, as 1.5 GiB. */
void kvl_print_bytes(char text[KVL_BYTES_TEXT], uint64_t n);

#endif
