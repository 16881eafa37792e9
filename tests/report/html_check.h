/* A strict reading of a page: what a browser would mend silently is a fault here. */
#ifndef KVL_TESTS_HTML_CHECK_H
#define KVL_TESTS_HTML_CHECK_H

#include <stddef.h>

enum { HTML_MOST = 20000 };

typedef struct html_page {
    char *ids[HTML_MOST], *anchors[HTML_MOST]; /* of id="", and of href="#" without the # */
    size_t n_ids, n_anchors;
    size_t n_svg, n_tables, n_scripts, n_elements;
    char *text; /* all that is read: text nodes outside script, style, code and pre, a line each */
} html_page;

/* Fails the test for: tags that are not balanced, attributes without quotes, & that begins no entity, < in
 * text, an id twice, anything that would be loaded, a handler or style of an attribute that is not expected.
 * Free with html_free. */
void html_read(html_page *out, const char *html);
void html_free(html_page *p);

#endif
