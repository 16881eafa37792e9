/* What the files of the analysis share: passages in the making, figures in words, facts of a curve.
 *
 * The rules of honesty live in few places: an estimate counts only with an interval over enough clusters
 * (kvli_is_told), a difference is only called one where that interval leaves out 0, and "no loss" is said by
 * kvl_equivalence alone. All else are point estimates, and are called so.
 */
#ifndef KVL_REPORT_ANALYSIS_INT_H
#define KVL_REPORT_ANALYSIS_INT_H

#include "report/again.h"
#include "report/page.h"
#include "report/report_int.h"
#include "report/terms.h"

/* ---- passages in the making; errors stick ---- */

typedef struct kvli_say {
    kvl_passages *out;
    const kvl_content *content;
    kvl_lang lang;
    kvl_str line;  /* of the passage that is being written */
    kvl_str cells; /* of the table, each with a NUL behind it */
    size_t n_cells;
    bool failed;
} kvli_say;

/* Ends the passage that `line` holds; nothing if it is empty. */
void kvli_say_end(kvli_say *s, kvl_passage_kind kind);
void kvli_head(kvli_say *s, const char *en, const char *zh);
/* A blank between sentences, where the language has one. */
void kvli_space(kvl_str *out, kvl_lang lang);
/* A cell of the table to come, row by row, heads first. */
void kvli_say_cell(kvli_say *s, const char *text);
/* Ends the table of these cells; `line` is its caption. */
void kvli_say_table(kvli_say *s, size_t n_columns);

/* One more sentence of the passage; of a format, and of fixed words. */
#define KVLI_SAY(s, en, zh, ...)                                                                             \
    (kvli_space(&(s)->line, (s)->lang), KVL_SAY(&(s)->line, (s)->lang, en, zh, __VA_ARGS__))
#define KVLI_PUT(s, en, zh)                                                                                  \
    (kvli_space(&(s)->line, (s)->lang), kvl_str_puts(&(s)->line, kvl_word((s)->lang, en, zh)))

/* Appends what is missing and the command that would measure it: "no curve is stored: `kvlab sweep`." */
void kvli_put_missing(kvl_str *out, const kvl_content *c, kvl_lang lang, const char *en, const char *zh,
                      const char *command);
/* The same as one more sentence of the passage. */
void kvli_missing(kvli_say *s, const char *en, const char *zh, const char *command);

/* The setting that a search chose and confirmed; NULL: none was searched, or none qualified. */
const kvl_choice_line *kvli_recommended(const kvl_content *content);

/* ---- figures in words ---- */

typedef struct kvli_words {
    char text[80];
} kvli_words;

/* Whether it has an interval over enough clusters, all of it finite. */
bool kvli_is_told(const kvl_estimate *e);
bool kvli_is_above(const kvl_estimate *e, double bound); /* the whole interval */
bool kvli_is_below(const kvl_estimate *e, double bound);
/* "+0.332 [+0.180, +0.484]", without interval where it is not told; "n/a" for NAN. */
kvli_words kvli_nats(const kvl_estimate *e);
/* A difference of NLL as a change of PPL on the same tokens: "+39.4 % [+19.7, +62.3]". */
kvli_words kvli_ppl_change(const kvl_estimate *e);
/* A share: "85 % [83, 87]". */
kvli_words kvli_share(const kvl_estimate *e);
kvli_words kvli_size(double n_bytes);
/* How often is compressed: "every token", "every 16 tokens". */
kvli_words kvli_period(kvl_lang lang, double period_tok);
/* What keeps a row apart from others of its press: "0.95", or its policy where it has no ratio. */
kvli_words kvli_keep(const kvl_report_row *row);

/* ---- facts of a curve: the rows of one press ---- */

enum { KVLI_NONE = -1 };

typedef struct kvli_curve {
    const kvl_report *report;
    size_t first, end;
    const kvl_report_row *full;                      /* the full cache's row; NULL: none */
    const kvl_report_row *lightest, *best, *worst;   /* of those that evicted, by point; NULL: none */
    const kvl_report_row *spike;                     /* highest of the explosion stage; NULL: none */
    const kvl_report_row *range_light, *range_heavy; /* ends of the best range */
    kvl_estimate gap;                                /* spike above best, on the same tokens */
    size_t n_higher, n_texts; /* texts in which the spike is above the best, of; 0: not known */
    bool is_few;              /* no interval that speaks of other texts */
    bool has_spike;           /* the explosion stage is there, and nothing told speaks against it */
} kvli_curve;

/* Whether a row can be spoken about: a policy that evicted something, and numbers that are finite. */
bool kvli_counts(const kvl_report_row *row);
/* Facts of all curves of a report: [*n], to be freed. Errors: E_NOMEM. */
kvl_status kvli_curves_find(kvli_curve **out, size_t *n, const kvl_report *r, kvl_err *err) KVL_MUST_USE;
/* The curve that the answer is about: knorm's if there is one, else the first; NULL: none. */
const kvli_curve *kvli_main_curve(const kvli_curve *curves, size_t n);

/* ---- parts, in order ---- */

typedef struct kvli_facts {
    kvli_curve *curves; /* [n] */
    size_t n;
} kvli_facts;

/* Makes passages by what `say` says of a content, with the facts of its curves. Errors: E_NOMEM. */
typedef void kvli_sayer(kvli_say *s, const kvli_facts *f);
kvl_status kvli_say_with(kvl_passages *out, const kvl_content *c, kvl_lang lang, kvli_sayer *say,
                         kvl_err *err) KVL_MUST_USE;

void kvli_say_stages(kvli_say *s, const kvli_facts *f);
void kvli_say_mechanism(kvli_say *s, const kvli_facts *f);
void kvli_say_advice(kvli_say *s, const kvli_facts *f);
void kvli_say_published(kvli_say *s, const kvli_facts *f);
void kvli_say_limits(kvli_say *s, const kvli_facts *f);

/* Index of the protection that removes the largest share. */
size_t kvli_best_protection(const kvl_cause_content *c);
/* Whether the explanation is about what this curve shows: KnormPress compressed again and again. */
bool kvli_explains(const kvli_curve *curve);

#endif
