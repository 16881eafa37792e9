/* Options as data: a press lists its options in a table; parsing, canonical text and help read that table. */
#ifndef KVL_PRESS_OPTION_H
#define KVL_PRESS_OPTION_H

#include "base/str.h"

typedef enum kvl_option_kind {
    KVL_OPTION_COUNT,  /* whole number >= 0, stored as uint64_t */
    KVL_OPTION_NUMBER, /* finite double, or the word `choices`, stored as NAN */
    KVL_OPTION_CHOICE, /* one of `choices`, stored as uint64_t index */
    KVL_OPTION_LIST,   /* numbers as "0.9x4+0.5", stored as kvl_numbers */
} kvl_option_kind;

/* Numbers for layers; those beyond the last are as the last. */
typedef struct kvl_numbers {
    uint64_t n;
    double values[60];
} kvl_numbers;

typedef struct kvl_option {
    const char *name;
    kvl_option_kind kind;
    size_t offset;       /* of the field in the configuration struct */
    const char *initial; /* default, in the text form */
    double min, max;     /* bounds of numbers and of those of a list, inclusive */
    const char *choices; /* "low|high"; of a number: a word that may stand for it, or NULL */
    const char *help;    /* one line */
} kvl_option;

/* Sets every field to its default. */
void kvl_options_reset(const kvl_option *options, size_t n, void *conf);
/* Parses "value" (for the first option) or "name=value[,name=value...]" into conf; empty text changes
 * nothing. Errors: E_USAGE naming the option, what is allowed and what was found. */
kvl_status kvl_options_parse(const kvl_option *options, size_t n, void *conf, const char *owner,
                             const char *text, size_t n_text, kvl_err *err) KVL_MUST_USE;
/* Appends the options that differ from their defaults in canonical form: "high", "sinks=8". */
void kvl_options_text(const kvl_option *options, size_t n, const void *conf, kvl_str *out);
/* The same of all options. */
void kvl_options_whole_text(const kvl_option *options, size_t n, const void *conf, kvl_str *out);

/* Exact parsing of a whole word. */
bool kvl_parse_count(uint64_t *out, const char *text, size_t n);
bool kvl_parse_number(double *out, const char *text, size_t n);
/* A size of at least one byte, as 8GiB, 1.5KiB, 64B or 65536. */
bool kvl_parse_bytes(uint64_t *out, const char *text, size_t n);
/* Appends a size so that it parses back to itself: in the largest unit of which it is a whole number. */
void kvl_bytes_text(kvl_str *out, uint64_t n_bytes);

#endif
