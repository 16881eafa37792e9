/* What tests of figures and charts share: is it well-formed XML, do texts stand apart and inside. */
#ifndef KVL_TESTS_REPORT_DRAWING_H
#define KVL_TESTS_REPORT_DRAWING_H

#include "support.h"

#include "report/figure_int.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Every tag is closed in its order, attributes are quoted, < and & occur in markup only. */
static inline void check_xml(const char *xml) {
    char stack[32][32];
    size_t depth = 0;
    for (const char *s = xml; *s != '\0';) {
        if (*s == '&') {
            const size_t n = strcspn(s, ";");
            assert_true(n >= 3 && n <= 6 && s[n] == ';');
            s += n;
        } else if (*s == '<' && s[1] == '/') {
            const size_t n = strcspn(s + 2, ">");
            assert_true(depth > 0);
            depth--;
            assert_int_equal(n, strlen(stack[depth]));
            assert_memory_equal(s + 2, stack[depth], n);
            s += 2 + n + 1;
        } else if (*s == '<') {
            const size_t n = strspn(s + 1, "abcdefghijklmnopqrstuvwxyz");
            assert_true(n > 0 && n < 32 && depth < 32);
            snprintf(stack[depth++], 32, "%.*s", (int)n, s + 1);
            for (s += 1 + n; *s != '>' && *s != '/'; s++) {
                if (*s == '"') {
                    assert_true(s[-1] == '=');
                    s += 1 + strcspn(s + 1, "\"<");
                    assert_true(*s == '"');
                } else {
                    assert_true(isalnum((unsigned char)*s) || strchr(" =-:", *s) != NULL);
                }
            }
            depth -= *s == '/';
            s += *s == '/' ? 2 : 1;
            assert_true(s[-1] == '>');
        } else {
            assert_true(*s != '>' && ((unsigned char)*s >= 0x20 || *s == '\n'));
            s++;
        }
    }
    assert_int_equal(depth, 0);
}

/* No two texts overlap, and none leaves the figure; `what` is named otherwise. */
static inline void check_texts(const kvl_figure *f, const char *what) {
    const size_t n = kvli_figure_texts(f, NULL, 0);
    kvli_box *boxes = kvl_calloc(n, sizeof *boxes);
    assert_non_null(boxes);
    kvli_figure_texts(f, boxes, n);
    for (size_t i = 0; i < n; i++) {
        const kvli_box *a = &boxes[i];
        if (a->left < -0.5 || a->top < -0.5 || a->right > kvl_figure_width(f) + 0.5 ||
            a->bottom > kvl_figure_height(f) + 0.5) {
            fail_msg("%s: '%s' [%.1f, %.1f .. %.1f, %.1f] leaves %.0f x %.0f", what, a->text, a->left, a->top,
                     a->right, a->bottom, kvl_figure_width(f), kvl_figure_height(f));
        }
        for (size_t k = i + 1; k < n; k++) {
            const kvli_box *b = &boxes[k];
            if (a->left < b->right && b->left < a->right && a->top < b->bottom && b->top < a->bottom) {
                fail_msg("%s: '%s' and '%s' overlap at %.1f, %.1f", what, a->text, b->text, b->left, b->top);
            }
        }
    }
    kvl_free(boxes);
}

#endif
