/* Made-up contents of a report, shaped like real ones: all that sections, charts and the analysis read.
 *
 * Nothing in them was measured. Evictions of the portrait and visible lags come from a small simulation of
 * the policies on drawn key norms, so that they agree with each other; the same on every run.
 */
#ifndef KVL_TESTS_CONTENT_FIXTURE_H
#define KVL_TESTS_CONTENT_FIXTURE_H

#include "report/content.h"

typedef enum content_kind {
    CONTENT_RICH,    /* everything was stored */
    CONTENT_LARGE,   /* the same with 30 layers of 16 heads, more policies, and long names */
    CONTENT_HOSTILE, /* the same as RICH; names, texts and pieces are markup, control characters, broken UTF-8
                      */
    CONTENT_SPARSE,  /* a sweep of one press, of few samples, and nothing else */
    CONTENT_EMPTY,   /* a group without any result */
    CONTENT_N_KINDS
} content_kind;

/* Fails the test where memory ends. Not for kvl_content_free, but for content_fixture_free. */
kvl_content *content_fixture(content_kind kind);
void content_fixture_free(kvl_content *c);

#endif
